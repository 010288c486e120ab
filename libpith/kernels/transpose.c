/* Turning rows of weights into columns, four by four in registers: see transpose.h. A column at a
 * time would read, or write, another cache line for each element. */
#include "libpith/kernels/transpose.h"

#include <string.h>

#define SIDE  4
#define BLOCK 64 /* of a row's elements, whose columns stay in the first-level cache */

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

void pith_transpose_f32(const float *from, int64_t from_step, int64_t rows, int64_t depth,
                        int64_t taps, float *to, int64_t to_step)
{
    const int64_t groups = depth / (taps > 0 ? taps : 1), whole = rows / SIDE * SIDE;

    for (int64_t block = 0; block < depth; block += BLOCK) {
        const int64_t end = depth - block < BLOCK ? depth : block + BLOCK;
        int64_t k = block;

        for (; k + SIDE <= end; k += SIDE) {
            float *column[SIDE];

            for (int i = 0; i < SIDE; i++)
                column[i] = to + place(k + i, taps, groups) * to_step;
            for (int64_t m = 0; m < whole; m += SIDE) {
                turn(from + m * from_step + k, from_step, column);
                for (int i = 0; i < SIDE; i++)
                    column[i] += SIDE;
            }
            for (int64_t m = whole; m < rows; m++)
                for (int i = 0; i < SIDE; i++)
                    *column[i]++ = from[m * from_step + k + i];
        }
        for (; k < end; k++) {
            float *column = to + place(k, taps, groups) * to_step;

            for (int64_t m = 0; m < rows; m++)
                column[m] = from[m * from_step + k];
        }
    }
}
