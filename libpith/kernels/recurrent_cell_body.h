/* The loops of recurrent_cell.h for one instruction set (vectors_begin.h). */
#include "libpith/kernels/vectors_begin.h"

#include "libpith/kernels/math_f32_inline.h"

/* `count` lanes, all but in the last vector. */
INLINE FORM(vector) FORM(some)(const float *from, int count)
{
    return count == LANES ? FORM(load)(from) : FORM(load_some)(from, count);
}

INLINE void FORM(keep)(float *to, FORM(vector) x, int count)
{
    if (count == LANES)
        FORM(store)(to, x);
    else
        FORM(store_some)(to, x, count);
}

INLINE FORM(vector) FORM(sum)(const float *x, const float *g, int count)
{
    return FORM(some)(x, count) + FORM(some)(g, count);
}

INLINE void FORM(lstm_at)(int64_t n, const float *x, const float *g, float *c, float *h, int count)
{
    const FORM(vector) i = FORM(sigmoid_of)(FORM(sum)(x, g, count)),
                       o = FORM(sigmoid_of)(FORM(sum)(x + n, g + n, count)),
                       f = FORM(sigmoid_of)(FORM(sum)(x + 2 * n, g + 2 * n, count)),
                       candidate = FORM(tanh_of)(FORM(sum)(x + 3 * n, g + 3 * n, count)),
                       next = f * FORM(some)(c, count) + i * candidate;

    FORM(keep)(c, next, count);
    FORM(keep)(h, o * FORM(tanh_of)(next), count);
}

TARGET static void FORM(lstm)(int64_t n, const float *x, const float *g, float *c, float *h)
{
    int64_t k = 0;

    for (; k + LANES <= n; k += LANES)
        FORM(lstm_at)(n, x + k, g + k, c + k, h + k, LANES);
    if (k < n)
        FORM(lstm_at)(n, x + k, g + k, c + k, h + k, (int) (n - k));
}

INLINE void FORM(gru_at)(FORM(vector) z, FORM(vector) candidate, float *h, int count)
{
    FORM(keep)(h, (1.0F - z) * candidate + z * FORM(some)(h, count), count);
}

INLINE void FORM(gru_after_at)(int64_t n, const float *x, const float *g, const float *bias,
                               float *h, int count)
{
    const FORM(vector) z = FORM(sigmoid_of)(FORM(sum)(x, g, count)),
                       reset = FORM(sigmoid_of)(FORM(sum)(x + n, g + n, count));
    FORM(vector) share = FORM(some)(g + 2 * n, count);

    if (bias)
        share += FORM(some)(bias, count);
    FORM(gru_at)(z, FORM(tanh_of)(FORM(some)(x + 2 * n, count) + reset * share), h, count);
}

TARGET static void FORM(gru_after)(int64_t n, const float *x, const float *g, const float *bias,
                                   float *h)
{
    int64_t k = 0;

    for (; k + LANES <= n; k += LANES)
        FORM(gru_after_at)(n, x + k, g + k, bias ? bias + k : NULL, h + k, LANES);
    if (k < n)
        FORM(gru_after_at)(n, x + k, g + k, bias ? bias + k : NULL, h + k, (int) (n - k));
}

INLINE void FORM(gru_before_at)(int64_t n, const float *x, const float *g, float *h, int count)
{
    FORM(gru_at)
    (FORM(sigmoid_of)(FORM(sum)(x, g, count)),
     FORM(tanh_of)(FORM(sum)(x + 2 * n, g + 2 * n, count)), h, count);
}

TARGET static void FORM(gru_before)(int64_t n, const float *x, const float *g, float *h)
{
    int64_t k = 0;

    for (; k + LANES <= n; k += LANES)
        FORM(gru_before_at)(n, x + k, g + k, h + k, LANES);
    if (k < n)
        FORM(gru_before_at)(n, x + k, g + k, h + k, (int) (n - k));
}

TARGET static void FORM(gru_reset)(int64_t n, const float *x, const float *g, const float *h,
                                   float *reset)
{
    int64_t k = 0;

    for (; k < n; k += LANES) {
        const int count = n - k < LANES ? (int) (n - k) : LANES;

        FORM(keep)
        (reset + k, FORM(sigmoid_of)(FORM(sum)(x + k, g + k, count)) * FORM(some)(h + k, count),
         count);
    }
}

INLINE void FORM(tile)(int64_t depth, int64_t cols, const float *b, const float *a, float *c,
                       const int N)
{
    FORM(vector) sum[CELL_TILE];

    UNROLL for (int n = 0; n < N; n++) sum[n] = FORM(spread)(0.0F);
    for (int64_t p = 0; p < depth; p++) {
        const FORM(vector) x = FORM(spread)(a[p]);

        UNROLL for (int n = 0; n < N; n++) sum[n] += x * FORM(load)(b + n * LANES);
        b += N * LANES;
    }
    UNROLL for (int n = 0; n < N; n++)
        FORM(keep)(c + n * LANES, sum[n], n == N - 1 ? (int) (cols - n * LANES) : LANES);
}

/* The last tile has any number of vectors. */
TARGET static void FORM(rest)(int64_t depth, int64_t cols, const float *b, const float *a, float *c)
{
    const int64_t side = (cols + LANES - 1) / LANES;

    for (int64_t n = 0; n < side; n++) {
        FORM(vector) sum[2] = {FORM(spread)(0.0F), FORM(spread)(0.0F)};

        for (int64_t p = 0; p < depth; p++)
            sum[p % 2] += FORM(spread)(a[p]) * FORM(load)(b + (p * side + n) * LANES);
        FORM(keep)
        (c + n * LANES, sum[0] + sum[1], n == side - 1 ? (int) (cols - n * LANES) : LANES);
    }
}

TARGET static void FORM(product)(int64_t depth, int64_t cols, const float *b, const float *a,
                                 float *c)
{
    const int64_t tile = CELL_TILE * LANES;

    for (; cols >= tile; cols -= tile) {
        FORM(tile)(depth, tile, b, a, c, CELL_TILE);
        b += depth * tile;
        c += tile;
    }
    switch ((cols + LANES - 1) / LANES) {
    case 0:
        break;
    case CELL_TILE:
        FORM(tile)(depth, cols, b, a, c, CELL_TILE);
        break;
    case CELL_TILE / 2:
        FORM(tile)(depth, cols, b, a, c, CELL_TILE / 2);
        break;
    default:
        FORM(rest)(depth, cols, b, a, c);
    }
}

#include "libpith/kernels/vectors_end.h"
