/* Turning rows of weights into columns, four by four in registers: see transpose.h. Sixteen by sixteen
 * are turned together, so that each cache line is read and written whole while it is near. */
#include "libpith/kernels/transpose.h"

#include <string.h>

#define SIDE  4
#define BLOCK 16 /* elements of a row, and rows: a cache line of floats each */

typedef float four __attribute__((vector_size(SIDE * sizeof(float))));

static inline four load(const float *from)
{
    four x;

    memcpy(&x, from, sizeof x);
    return x;
}

static inline void store(float *to, four x)
{
    memcpy(to, &x, sizeof x);
}

static inline int64_t place(int64_t k, int64_t taps, int64_t groups)
{
    return taps == 1 ? k : k % taps * groups + k / taps;
}

/* SIDE rows, elements k to k + SIDE. */
static inline void turn(const float *from, int64_t from_step, float *const to[SIDE])
{
    const four a = load(from), b = load(from + from_step), c = load(from + 2 * from_step),
               d = load(from + 3 * from_step);
    const four ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5),
               ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7),
               cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5),
               cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);

    store(to[0], __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5));
    store(to[1], __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7));
    store(to[2], __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5));
    store(to[3], __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7));
}

/* `rows` rows, elements k to k + SIDE, to those columns. */
static inline void turn_rows(const float *from, int64_t from_step, int64_t rows, float *to[SIDE])
{
    int64_t m = 0;

    for (; m + SIDE <= rows; m += SIDE) {
        turn(from + m * from_step, from_step, to);
        for (int i = 0; i < SIDE; i++)
            to[i] += SIDE;
    }
    for (; m < rows; m++)
        for (int i = 0; i < SIDE; i++)
            *to[i]++ = from[m * from_step + i];
}

/* Elements k to `end` of `rows` rows. */
static void turn_block(const float *from, int64_t from_step, int64_t rows, int64_t k, int64_t end,
                       int64_t taps, int64_t groups, float *to, int64_t to_step)
{
    for (; k + SIDE <= end; k += SIDE) {
        float *column[SIDE];

        for (int i = 0; i < SIDE; i++)
            column[i] = to + place(k + i, taps, groups) * to_step;
        turn_rows(from + k, from_step, rows, column);
    }
    for (; k < end; k++) {
        float *column = to + place(k, taps, groups) * to_step;

        for (int64_t m = 0; m < rows; m++)
            column[m] = from[m * from_step + k];
    }
}

void pith_transpose_f32(const float *from, int64_t from_step, int64_t rows, int64_t depth,
                        int64_t taps, float *to, int64_t to_step)
{
    const int64_t groups = depth / (taps > 0 ? taps : 1);

    for (int64_t m = 0; m < rows; m += BLOCK) {
        const int64_t now = rows - m < BLOCK ? rows - m : BLOCK;

        for (int64_t k = 0; k < depth; k += BLOCK) {
            const int64_t end = depth - k < BLOCK ? depth : k + BLOCK;

            for (int64_t i = 0; i < BLOCK; i++) /* the next rows: weights come from far */
                if (m + BLOCK + i < rows)
                    __builtin_prefetch(from + (m + BLOCK + i) * from_step + k);
            turn_block(from + m * from_step, from_step, now, k, end, taps, groups, to + m, to_step);
        }
    }
}
