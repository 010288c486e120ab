/* Integer products with weights of four bits, in compiler vector types, included once per
 * instruction set.
 *
 * Who includes it defines FORM(name), the name with the form's ending; TARGET, the function
 * attribute; LANES, the int32 lanes of a vector, which are output channels; VECTORS, the most of a
 * tile; HALVES, the steps that four products take: 1, or 2 with words; SPLIT(four, h), four stored
 * bytes, the same in every lane: step h's factor; MAKE_WIDE(packed, b), what eight weights of each
 * lane are for 2 * HALVES steps; DOT(sum, x, w), a sum and what a step adds; SUM(sum), what the
 * sums are worth; NEAREST(f), floats to int32, half to even; WIDEN(p), LANES bytes at p as int32.
 */
#define UNROLL _Pragma("GCC unroll 8")
#define INLINE TARGET static inline __attribute__((always_inline))

typedef int32_t FORM(words) __attribute__((vector_size(4 * LANES), may_alias));
typedef float FORM(vector) __attribute__((vector_size(4 * LANES)));
typedef uint8_t FORM(bytes) __attribute__((vector_size(LANES)));
typedef int32_t FORM(loose_words) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef float FORM(loose_vector) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
#include "libpith/kernels/requantize_body.h"

INLINE void FORM(put)(const struct pith_requantize *r, FORM(words) sum, int64_t channel,
                      const uint8_t *added, void *y, int64_t at, int count)
{
    FORM(vector)
    f = FORM(requantize_real)(r, sum + *(const FORM(loose_words) *) (r->bias + channel),
                              *(const FORM(loose_vector) *) (r->scale + channel));

    if (added) {
        uint8_t whole[LANES] = {0};

        memcpy(whole, added, (size_t) count);
        f = FORM(requantize_add)(r, f, WIDEN(whole));
    }
    if (r->real) {
        f = FORM(limit)(f, r->real_low, r->real_high);
        if (count == LANES)
            memcpy((float *) y + at, &f, sizeof f);
        else
            memcpy((float *) y + at, &f, (size_t) count * sizeof(float));
        return;
    }
    const FORM(bytes) packed = __builtin_convertvector(FORM(requantize_store)(r, f), FORM(bytes));

    if (count == LANES)
        memcpy((uint8_t *) y + at, &packed, LANES);
    else
        memcpy((uint8_t *) y + at, &packed, (size_t) count);
}

/* One quad of the input of P pixels and N vectors of channels. b: of each vector's 2 * HALVES
 * factors, those from `first` on. */
INLINE void FORM(add_quad)(FORM(words) (*sum)[4], const uint8_t *const *x, int64_t k,
                           FORM(words) (*b)[2 * HALVES], int first, const int P, const int N)
{
    UNROLL for (int p = 0; p < P; p++)
    {
        int32_t dword;
        FORM(words) four = {0};

        memcpy(&dword, x[p] + k, sizeof dword);
        four += dword;
        UNROLL for (int h = 0; h < HALVES; h++)
        {
            const FORM(words) factor = SPLIT(four, h);

            UNROLL for (int n = 0; n < N; n++) sum[p][n] = DOT(sum[p][n], factor, b[n][first + h]);
        }
    }
}

/* P pixels by N vectors of channels. Even and odd quads are summed apart where registers suffice: a
 * chain alone is as long as the instruction takes. */
INLINE void FORM(tile)(const struct pith_int4_s8 *s, const struct pith_conv_s8_data *data,
                       const struct pith_int4_s8_pixels *at, const uint8_t *weights,
                       int64_t channel, int last, const int P, const int N)
{
    const struct pith_requantize *r = &s->conv->to;
    const FORM(words) *w = (const FORM(words) *) weights;
    const int apart = P * N <= 2 * VECTORS ? 1 : 0;
    FORM(words) sum[2][4][4];
    const uint8_t *x[4];

    UNROLL for (int p = 0; p < P; p++)
    {
        x[p] = data->x + at->x[p];
        UNROLL for (int n = 0; n < N; n++) sum[0][p][n] = sum[1][p][n] = (FORM(words)){0};
    }
    for (int64_t quad = 0; quad < s->quads; quad += 2) {
        FORM(words) b[4][2 * HALVES];

        UNROLL for (int n = 0; n < N; n++) MAKE_WIDE(w[n], b[n]);
        w += N;
        FORM(add_quad)(sum[0], x, quad * 4, b, 0, P, N);
        if (quad + 1 < s->quads) /* what lies behind the last may not be there */
            FORM(add_quad)(sum[apart], x, quad * 4 + 4, b, HALVES, P, N);
    }
    UNROLL for (int p = 0; p < P; p++)
    {
        const uint8_t *added = data->added ? data->added + at->added[p] + channel : NULL;

        UNROLL for (int n = 0; n < N; n++)
        {
            if (apart)
                sum[0][p][n] += sum[1][p][n];
            FORM(put)
            (r, SUM(sum[0][p][n]), channel + n * LANES, added ? added + n * LANES : NULL, data->y,
             at->y[p] + channel + n * LANES, n == N - 1 ? last : LANES);
        }
    }
}

#define TILE_OF(P, N)                                                                              \
    TARGET static void FORM(tile_##P##_##N)(                                                       \
        const struct pith_int4_s8 *s, const struct pith_conv_s8_data *data,                        \
        const struct pith_int4_s8_pixels *at, const uint8_t *weights, int64_t channel, int last)   \
    {                                                                                              \
        FORM(tile)(s, data, at, weights, channel, last, P, N);                                     \
    }
#define TILES_OF(N) TILE_OF(1, N) TILE_OF(2, N) TILE_OF(4, N)

TILES_OF(1)
TILES_OF(2)
#if VECTORS == 4
TILES_OF(3)
TILES_OF(4)
#endif

#undef UNROLL
#undef INLINE
#undef TILE_OF
#undef TILES_OF
