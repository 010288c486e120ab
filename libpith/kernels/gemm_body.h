/* The loops of gemm.h for one instruction set. Included by gemm.c with
 *   FORM(name)  the function's name in this form
 *   TARGET      the function attribute that allows the instructions
 *   LANES       floats in a vector register
 *   TILE        rows of C that are kept in registers, with 2 * LANES columns: TILE * 2 accumulators
 *   MADD(a, b)  int32 lanes: a.low16 * b.low16 + a.high16 * b.high16
 * No include guard: it is included several times. */

typedef float FORM(vector) __attribute__((vector_size(LANES * 4)));
typedef float FORM(loose) __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int32_t FORM(words) __attribute__((vector_size(LANES * 4)));
typedef uint8_t FORM(bytes) __attribute__((vector_size(LANES)));
typedef int32_t FORM(loose_words) __attribute__((vector_size(LANES * 4), aligned(2), may_alias));

#define UNROLL _Pragma("GCC unroll 16")
#define INLINE static inline __attribute__((always_inline)) TARGET

#include "libpith/kernels/select_body.h"

INLINE FORM(vector) FORM(activate)(const struct pith_activation *act, FORM(vector) x)
{
    const FORM(vector) low = FORM(spread)(act->low), high = FORM(spread)(act->high);

    x = FORM(select)(x < 0.0F, x * act->slope, x);
    x = FORM(select)(x < low, low, x);
    return FORM(select)(x > high, high, x);
}

/* What happens to a tile after its sums: bias, activation, store of the first `cols` columns. */
INLINE void FORM(finish_f32)(const struct pith_gemm_f32 *g, int64_t row, int64_t col, int64_t cols,
                             int rows, FORM(vector) (*acc)[2])
{
    FORM(vector) col_bias[2] = {{0}};

    if (g->col_bias)
        memcpy(col_bias, g->col_bias + col, (size_t) cols * sizeof(float));
    UNROLL for (int i = 0; i < rows; i++)
    {
        float *c = g->c + (row + i) * g->c_row + col;
        const float row_bias = g->row_bias ? g->row_bias[row + i] : 0.0F;
        FORM(vector) x[2];

        for (int j = 0; j < 2; j++) {
            x[j] = acc[i][j] + (col_bias[j] + row_bias);
            if (g->activation.set)
                x[j] = FORM(activate)(&g->activation, x[j]);
        }
        if (cols == 2 * LANES) {
            ((FORM(loose) *) c)[0] = x[0];
            ((FORM(loose) *) c)[1] = x[1];
        } else {
            memcpy(c, x, (size_t) cols * sizeof(float));
        }
    }
}

INLINE void FORM(tile_f32)(const struct pith_gemm_f32 *g, int64_t row, int64_t col, int64_t cols,
                           const float *b, int rows)
{
    FORM(vector) acc[TILE][2];
    const float *a = g->a + row * g->a_row;
    const int64_t a_row = g->a_row, a_depth = g->a_depth, depth = g->depth;

    UNROLL for (int i = 0; i < rows; i++) acc[i][0] = acc[i][1] = (FORM(vector)){0};
    for (int64_t p = 0; p < depth; p++) {
        const FORM(vector) b0 = *(const FORM(loose) *) b, b1 = *(const FORM(loose) *) (b + LANES);

        UNROLL for (int i = 0; i < rows; i++)
        {
            const float x = a[i * a_row];

            acc[i][0] += x * b0;
            acc[i][1] += x * b1;
        }
        a += a_depth;
        b += 2 * LANES;
    }
    FORM(finish_f32)(g, row, col, cols, rows, acc);
}

/* One row alone would wait for each addition: four partial sums hide that. */
INLINE void FORM(row_f32)(const struct pith_gemm_f32 *g, int64_t row, int64_t col, int64_t cols,
                          const float *b)
{
    FORM(vector) acc[4][2];
    const float *a = g->a + row * g->a_row;
    const int64_t a_depth = g->a_depth, depth = g->depth;
    int64_t p = 0;

    UNROLL for (int i = 0; i < 4; i++) acc[i][0] = acc[i][1] = (FORM(vector)){0};
    for (; p + 4 <= depth; p += 4) {
        UNROLL for (int i = 0; i < 4; i++)
        {
            acc[i][0] += a[i * a_depth] * *(const FORM(loose) *) (b + 2 * LANES * i);
            acc[i][1] += a[i * a_depth] * *(const FORM(loose) *) (b + 2 * LANES * i + LANES);
        }
        a += 4 * a_depth;
        b += 8 * LANES;
    }
    for (; p < depth; p++) {
        acc[0][0] += *a * *(const FORM(loose) *) b;
        acc[0][1] += *a * *(const FORM(loose) *) (b + LANES);
        a += a_depth;
        b += 2 * LANES;
    }
    for (int j = 0; j < 2; j++)
        acc[0][j] = (acc[0][j] + acc[1][j]) + (acc[2][j] + acc[3][j]);
    FORM(finish_f32)(g, row, col, cols, 1, acc);
}

TARGET static void FORM(gemm_f32)(const struct pith_gemm_f32 *g)
{
    for (int64_t col = 0; col < g->cols; col += 2 * LANES) {
        const float *b = g->b + col * g->depth;
        const int64_t left = g->cols - col, cols = left < 2 * LANES ? left : 2 * LANES;
        int64_t row = 0;

        for (; row + TILE <= g->rows; row += TILE)
            FORM(tile_f32)(g, row, col, cols, b, TILE);
        if (TILE > 8 && row + 8 <= g->rows) {
            FORM(tile_f32)(g, row, col, cols, b, TILE > 8 ? 8 : 1);
            row += 8;
        }
        if (row + 4 <= g->rows) {
            FORM(tile_f32)(g, row, col, cols, b, 4);
            row += 4;
        }
        if (row + 2 <= g->rows) {
            FORM(tile_f32)(g, row, col, cols, b, 2);
            row += 2;
        }
        if (row < g->rows)
            FORM(row_f32)(g, row, col, cols, b);
    }
}

/* (sum + bias) * scale, activation, limits; then an addition that leaves the rounded integer in the
 * low bits of the float: 1.5 * 2^23 has a unit of 1, and the addition rounds half to even. */
INLINE FORM(words)
    FORM(requantize)(const struct pith_gemm_s16 *g, FORM(words) sum, FORM(vector) scale)
{
    const FORM(vector) low = FORM(spread)((float) (g->least - g->zero_point));
    const FORM(vector) high = FORM(spread)((float) (g->greatest - g->zero_point));
    FORM(vector) x = __builtin_convertvector(sum, FORM(vector)) * scale;

    if (g->activation.set)
        x = FORM(activate)(&g->activation, x);
    x = FORM(select)(x < low, low, x);
    x = FORM(select)(x > high, high, x);
    x += FORM(spread)(12582912.0F);
    return (FORM(words)) x - (0x4B400000 - g->zero_point);
}

INLINE void FORM(finish_s16)(const struct pith_gemm_s16 *g, int64_t row, int64_t col, int64_t cols,
                             int rows, FORM(words) (*acc)[2])
{
    FORM(words) col_bias[2] = {{0}};
    FORM(vector) col_scale[2] = {{0}};

    if (!g->sums && g->col_bias)
        memcpy(col_bias, g->col_bias + col, (size_t) cols * sizeof(int32_t));
    if (!g->sums && g->col_scale)
        memcpy(col_scale, g->col_scale + col, (size_t) cols * sizeof(float));
    UNROLL for (int i = 0; i < rows; i++)
    {
        const int32_t row_bias = !g->sums && g->row_bias ? g->row_bias[row + i] : 0;
        FORM(bytes) x[2];

        if (g->sums) {
            memcpy(g->sums + (row + i) * g->out_row + col, acc[i], (size_t) cols * sizeof(int32_t));
            continue;
        }
        for (int j = 0; j < 2; j++)
            x[j] = __builtin_convertvector(
                FORM(requantize)(g, acc[i][j] + (col_bias[j] + row_bias),
                                 g->col_scale ? col_scale[j] : FORM(spread)(g->row_scale[row + i])),
                FORM(bytes));
        memcpy((uint8_t *) g->out + (row + i) * g->out_row + col, x, (size_t) cols);
    }
}

INLINE void FORM(tile_s16)(const struct pith_gemm_s16 *g, int64_t row, int64_t col, int64_t cols,
                           const int16_t *b, int rows)
{
    FORM(words) acc[TILE][2];
    const int16_t *a = g->a + row * g->a_row;
    const int64_t a_row = g->a_row, depth = g->depth;

    UNROLL for (int i = 0; i < rows; i++) acc[i][0] = acc[i][1] = (FORM(words)){0};
    for (int64_t p = 0; p < depth; p += 2) {
        const FORM(words) b0 = *(const FORM(loose_words) *) b,
                          b1 = *(const FORM(loose_words) *) (b + 2 * LANES);

        UNROLL for (int i = 0; i < rows; i++)
        {
            FORM(words) pair = {0};
            int32_t x;

            memcpy(&x, a + i * a_row, sizeof x);
            pair += x;
            acc[i][0] += MADD(pair, b0);
            acc[i][1] += MADD(pair, b1);
        }
        a += 2;
        b += 4 * LANES;
    }
    FORM(finish_s16)(g, row, col, cols, rows, acc);
}

TARGET static void FORM(gemm_s16)(const struct pith_gemm_s16 *g)
{
    for (int64_t col = 0; col < g->cols; col += 2 * LANES) {
        const int16_t *b = g->b + col * g->depth;
        const int64_t left = g->cols - col, cols = left < 2 * LANES ? left : 2 * LANES;
        int64_t row = 0;

        for (; row + TILE <= g->rows; row += TILE)
            FORM(tile_s16)(g, row, col, cols, b, TILE);
        for (; row + 4 <= g->rows; row += 4)
            FORM(tile_s16)(g, row, col, cols, b, 4);
        for (; row < g->rows; row++)
            FORM(tile_s16)(g, row, col, cols, b, 1);
    }
}

TARGET static void FORM(tap_f32)(float *restrict y, const float *restrict x, int64_t stride,
                                 float w, int64_t count)
{
    if (stride == 1) {
        for (int64_t i = 0; i < count; i++)
            y[i] += w * x[i];
        return;
    }
    for (int64_t i = 0; i < count; i++)
        y[i] += w * x[i * stride];
}

#undef INLINE
#undef UNROLL
#undef FORM
#undef TARGET
#undef LANES
#undef TILE
#undef MADD
