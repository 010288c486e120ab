/* Integer products with weights of four bits, in compiler vector types, included once per
 * instruction set.
 *
 * Who includes it defines FORM(name), the name with the form's ending; TARGET, the function
 * attribute; LANES, the int32 lanes of a vector, which are output channels; VECTORS, the most of a
 * tile; APART(P, N), 1 where a tile of that size has registers for two sums; HALVES, the steps that
 * four products take: 1, or 2 with words; SPLIT(four, h), four stored bytes, the same in every lane:
 * step h's factor; MAKE_WIDE(packed, b), what eight weights of each lane are for 2 * HALVES steps;
 * DOT(sum, x, w), a sum and what a step adds; SUM(sum), what the sums are worth; NEAREST(f), floats
 * to int32, half to even; WIDEN(p), LANES bytes at p as int32; FORM(packed), PACK(f, r) and PART, as
 * requantize_x86.h has them. Where DOT adds pairs of products in 16
 * bits: NARROW_QUADS, the quads that such sums hold, and WIDE_SUM(narrow), them as int32. */
#define UNROLL _Pragma("GCC unroll 8")
#define INLINE TARGET static inline __attribute__((always_inline))

typedef int32_t FORM(words) __attribute__((vector_size(4 * LANES), may_alias));
typedef float FORM(vector) __attribute__((vector_size(4 * LANES)));
typedef int32_t FORM(loose_words) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef float FORM(loose_vector) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
#include "libpith/kernels/requantize_body.h"

INLINE void FORM(put_real)(const struct pith_requantize *r, FORM(vector) f, float *y, int count)
{
    f = FORM(limit)(f, r->real_low, r->real_high);
    if (count == LANES)
        memcpy(y, &f, sizeof f);
    else
        memcpy(y, &f, (size_t) count * sizeof(float));
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

/* `quads` quads from the k-th on; returns where the weights go on. Even and odd quads are summed
 * apart where `apart` is 1: a chain alone is as long as the instruction takes. */
INLINE const FORM(words) *FORM(add_quads)(FORM(words) (*sum)[4][4], const uint8_t *const *x,
                                          int64_t k, int64_t quads, const FORM(words) * w,
                                          const int apart, const int P, const int N)
{
    FORM(words) b[4][2 * HALVES];

    for (; quads >= 2; quads -= 2, k += 2) {
        UNROLL for (int n = 0; n < N; n++) MAKE_WIDE(w[n], b[n]);
        w += N;
        FORM(add_quad)(sum[0], x, k * 4, b, 0, P, N);
        FORM(add_quad)(sum[apart], x, k * 4 + 4, b, HALVES, P, N);
    }
    if (quads > 0) { /* what lies behind the last may not be there */
        UNROLL for (int n = 0; n < N; n++) MAKE_WIDE(w[n], b[n]);
        w += N;
        FORM(add_quad)(sum[0], x, k * 4, b, 0, P, N);
    }
    return w;
}

INLINE void FORM(clear)(FORM(words) (*sum)[4], const int P, const int N)
{
    UNROLL for (int p = 0; p < P; p++) UNROLL for (int n = 0; n < N; n++) sum[p][n] =
        (FORM(words)){0};
}

/* What a segment adds to the sums. */
INLINE const FORM(words) *FORM(add_segment)(FORM(words) (*sum)[4][4], const uint8_t *const *x,
                                            int64_t quads, const FORM(words) * w, const int apart,
                                            const int P, const int N)
{
#ifdef NARROW_QUADS
    for (int64_t k = 0; k < quads; k += NARROW_QUADS) {
        FORM(words) narrow[1][4][4];

        FORM(clear)(narrow[0], P, N);
        if (quads - k >= NARROW_QUADS) /* a count that the compiler knows */
            w = FORM(add_quads)(narrow, x, k, NARROW_QUADS, w, 0, P, N);
        else
            w = FORM(add_quads)(narrow, x, k, quads - k, w, 0, P, N);
        UNROLL for (int p = 0; p < P; p++) UNROLL for (int n = 0; n < N; n++) sum[0][p][n] +=
            WIDE_SUM(narrow[0][p][n]);
    }
    (void) apart;
    return w;
#else
    return FORM(add_quads)(sum, x, 0, quads, w, apart, P, N);
#endif
}

/* Four vectors at a time. */
INLINE void FORM(put)(const struct pith_requantize *r, FORM(vector) (*f)[4], void *y,
                      const int64_t *at, int64_t channel, int last, const int P, const int N)
{
    if (r->real) {
        UNROLL for (int p = 0; p < P; p++) UNROLL for (int n = 0; n < N; n++) FORM(put_real)(
            r, f[p][n], (float *) y + at[p] + channel + n * LANES, n == N - 1 ? last : LANES);
        return;
    }
    UNROLL for (int i = 0; i < P * N; i += 4)
    {
        FORM(vector) four[4];

        UNROLL for (int j = 0; j < 4; j++) four[j] =
            i + j < P * N ? f[(i + j) / N][(i + j) % N] : f[i / N][i % N];
        const FORM(packed) q = (FORM(packed)) PACK(four, r);

        UNROLL for (int j = 0; j < 4; j++)
        {
            const int p = (i + j) / N, n = (i + j) % N;

            if (i + j < P * N)
                PART((uint8_t *) y + at[p] + channel + n * LANES, q, j,
                     n == N - 1 ? last : LANES);
        }
    }
}

/* P pixels by N vectors of channels. f: where BLOCKED, what has been summed up so far, in steps of the
 * output. */
INLINE void FORM(tile)(const struct pith_int4_s8 *s, const struct pith_conv_s8_data *data,
                       const struct pith_pixels_s8 *at, int first, const uint8_t *weights,
                       int64_t channel, int last, const int P, const int N, const bool BLOCKED)
{
    const struct pith_requantize r = s->conv->to; /* or each byte stored might change it */
    const struct pith_blocks_s8 *blocks = s->conv->blocks;
    const FORM(words) *w = (const FORM(words) *) weights;
    const int apart = APART(P, N);
    FORM(words) sum[2][4][4];
    FORM(vector) f[4][4];

    FORM(clear)(sum[0], P, N);
    FORM(clear)(sum[1], P, N);
    if (BLOCKED)
        UNROLL for (int n = 0; n < N; n++) UNROLL for (int p = 0; p < P; p++) f[p][n] =
            *(const FORM(loose_vector) *) (blocks->start + channel + n * LANES);
    for (int64_t i = 0; i < s->segments; i++) {
        const uint8_t *x[4];

        UNROLL for (int p = 0; p < P; p++) x[p] = data->x + at->x[first + p] + s->segment[i].x;
        w = FORM(add_segment)(sum, x, s->segment[i].quads, w, apart, P, N);
        if (!BLOCKED)
            continue;
        UNROLL for (int n = 0; n < N; n++)
        {
            const int64_t place = i * blocks->padded + channel + n * LANES;
            const FORM(vector) scale = *(const FORM(loose_vector) *) (blocks->scale + place);
            const FORM(words) bias = *(const FORM(loose_words) *) (blocks->bias + place);

            UNROLL for (int p = 0; p < P; p++)
            {
                FORM(words) all = sum[0][p][n];

                if (apart)
                    all += sum[1][p][n];
                f[p][n] += __builtin_convertvector(SUM(all) + bias, FORM(vector)) * scale;
            }
        }
        FORM(clear)(sum[0], P, N);
        if (apart)
            FORM(clear)(sum[1], P, N);
    }
    UNROLL for (int p = 0; p < P; p++) UNROLL for (int n = 0; n < N; n++)
    {
        const int64_t c = channel + n * LANES;

        if (BLOCKED) {
            f[p][n] = FORM(requantize_slant)(&r, f[p][n]);
            continue;
        }
        if (apart)
            sum[0][p][n] += sum[1][p][n];
        f[p][n] = FORM(requantize_real)(
            &r, SUM(sum[0][p][n]) + *(const FORM(loose_words) *) (r.bias + c),
            *(const FORM(loose_vector) *) (r.scale + c));
    }
    if (data->added) /* it may be read past its end */
        UNROLL for (int p = 0; p < P; p++) UNROLL for (int n = 0; n < N; n++) f[p][n] =
            FORM(requantize_add)(&r, f[p][n],
                                 WIDEN(data->added + at->added[first + p] + channel + n * LANES));
    FORM(put)(&r, f, data->y, &at->y[first], channel, last, P, N);
}

#define TILE_OF(name, P, N, BLOCKED)                                                               \
    TARGET static void FORM(name##_##P##_##N)(                                                     \
        const struct pith_int4_s8 *s, const struct pith_conv_s8_data *data,                        \
        const struct pith_pixels_s8 *at, int first, const uint8_t *weights, int64_t channel,  \
        int last)                                                                                  \
    {                                                                                              \
        FORM(tile)(s, data, at, first, weights, channel, last, P, N, BLOCKED);                     \
    }
#define TILES_OF(N)                                                                                \
    TILE_OF(tile, 1, N, false)                                                                     \
    TILE_OF(tile, 2, N, false)                                                                     \
    TILE_OF(tile, 4, N, false)                                                                     \
    TILE_OF(blocks, 1, N, true)                                                                    \
    TILE_OF(blocks, 2, N, true)                                                                    \
    TILE_OF(blocks, 4, N, true)

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
