/* The loops of fixed_s8.h for one instruction set. Who includes it defines
 *   FORM(name), TARGET, LANES
 *   DIGITS         numbers that a fixed-point number is cut into
 *   GROUP          steps along the depth in 32 bits of a row
 *   BIAS           by which much digits are stored too large
 *   ROW_VECTORS    the most vectors of columns for one row, and BLOCK_ROWS by BLOCK_VECTORS for
 * more WEIGHTS        type of a vector's weights in registers, LOAD(p): them at p STEP(s, x, w)  s
 * + the products of `x`, 32 bits of a row in each lane, and w, lane by lane No include guard: it is
 * included several times. */
#define UNROLL _Pragma("GCC unroll 8")
#define INLINE TARGET static inline __attribute__((always_inline))

typedef int32_t FORM(words) __attribute__((vector_size(4 * LANES)));
typedef int32_t FORM(loose_words) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

INLINE FORM(words) FORM(four)(const uint8_t *from)
{
    int32_t x;

    memcpy(&x, from, sizeof x);
    return (FORM(words)){0} + x;
}

INLINE void FORM(finish)(const struct pith_fixed_s8 *f, const struct pith_fixed_call *call,
                         int64_t row, int64_t col, const FORM(words) * digits)
{
    const int64_t left = f->cols - col, count = left < LANES ? left : LANES;
    const float unit = unit_of(f, call, row);
    const float *scale = f->scale + col;
    float *c = call->c + row * call->c_row + col, result[LANES];
    int32_t sums[DIGITS][LANES];

    memcpy(sums, digits, sizeof sums);
    /* All sums are integers that a double holds: it is rounded once, when it becomes a float. */
    for (int j = 0; j < LANES; j++) {
#if DIGITS == 3
        const double sum = (sums[0][j] * 256.0 + sums[1][j]) * 256.0 + sums[2][j];
#else
        const double sum = sums[0][j] * 4096.0 + sums[1][j];
#endif
        result[j] = (float) sum * (unit * scale[j]);
    }
    for (int64_t j = 0; j < count && call->bias; j++)
        result[j] += call->bias[col + j];
    if (count == LANES)
        memcpy(c, result, sizeof result);
    else
        memcpy(c, result, (size_t) count * sizeof *c);
}

/* R rows by N vectors of columns. tile: the vectors that lie side by side. */
INLINE void FORM(block)(const struct pith_fixed_s8 *f, const struct pith_fixed_call *call,
                        int64_t row, int64_t col, const int8_t *w, int64_t tile, const int R,
                        const int N)
{
    const uint8_t *x[BLOCK_ROWS];
    FORM(words) sum[BLOCK_ROWS][ROW_VECTORS][DIGITS];

    UNROLL for (int r = 0; r < R; r++)
    {
        x[r] = row_of(f, call, row + r);
        UNROLL for (int n = 0; n < N; n++)
        {
            FORM(words) begin = {0};

            if (BIAS)
                begin = *(const FORM(loose_words) *) (f->begin + col + n * LANES);
            UNROLL for (int d = 0; d < DIGITS; d++) sum[r][n][d] = begin;
        }
    }
    for (int64_t g = 0; g < f->groups; g++) {
        UNROLL for (int r = 0; r < R; r++)
        {
            FORM(words) digit[DIGITS];

            UNROLL for (int d = 0; d < DIGITS; d++) digit[d] =
                FORM(four)(x[r] + 4 * (g + d * f->groups));
            UNROLL for (int n = 0; n < N; n++)
            {
                const WEIGHTS v = LOAD(w + n * GROUP * LANES);

                UNROLL for (int d = 0; d < DIGITS; d++) sum[r][n][d] =
                    STEP(sum[r][n][d], digit[d], v);
            }
        }
        w += tile * GROUP * LANES;
    }
    UNROLL for (int r = 0; r < R; r++) UNROLL for (int n = 0; n < N; n++)
        FORM(finish)(f, call, row + r, col + n * LANES, sum[r][n]);
}

INLINE void FORM(rows)(const struct pith_fixed_s8 *f, const struct pith_fixed_call *call,
                       int64_t row, int64_t col, const int8_t *w, int64_t tile, const int R,
                       const int most)
{
    int64_t at = 0;

    for (; at + most <= tile; at += most)
        FORM(block)(f, call, row, col + at * LANES, w + at * GROUP * LANES, tile, R, most);
    for (; at < tile; at++)
        FORM(block)(f, call, row, col + at * LANES, w + at * GROUP * LANES, tile, R, 1);
}

TARGET static void FORM(run)(const struct pith_fixed_s8 *f, const struct pith_fixed_call *call)
{
    const int8_t *w = f->packed;

    for (int64_t col = 0; col < f->cols; col += TILE * LANES) {
        const int64_t vectors = (f->cols - col + LANES - 1) / LANES,
                      tile = vectors < TILE ? vectors : TILE;
        int64_t row = 0;

        for (; row + BLOCK_ROWS <= call->rows; row += BLOCK_ROWS)
            FORM(rows)(f, call, row, col, w, tile, BLOCK_ROWS, BLOCK_VECTORS);
        for (; row < call->rows; row++)
            FORM(rows)(f, call, row, col, w, tile, 1, ROW_VECTORS);
        w += tile * f->groups * GROUP * LANES;
    }
}

#undef UNROLL
#undef INLINE
#undef FORM
#undef TARGET
#undef LANES
#undef DIGITS
#undef GROUP
#undef BIAS
#undef ROW_VECTORS
#undef BLOCK_ROWS
#undef BLOCK_VECTORS
#undef WEIGHTS
#undef LOAD
#undef STEP
