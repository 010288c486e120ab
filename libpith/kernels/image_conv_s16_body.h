/* Convolution of 16-bit values with weights of eight, in compiler vector types, included once per
 * instruction set.
 *
 * Who includes it defines FORM(name), the name with the form's ending; TARGET, the function attribute;
 * LANES, the int32 lanes of a vector, which are output channels; VECTORS, the most of a tile; APART(P, N),
 * 1 where a tile of that size has registers for two sums; PAIRS_OF(p), two bytes of each lane at p as
 * words; DOT(sum, x, w), a sum and the products of pairs of words; LOW16(a, b) and HIGH16(a, b), the words of
 * the lower or upper half of every 128 bits of a and b, in turns; PACK(a, b), int32 that int16 hold as these,
 * in the order that undoes it; NEAREST(f), floats to int32, half to even; BETWEEN(q, low, high), int32
 * limited; WIDE(p), LANES of int16 at p as int32; SHORTS(q), int32 that int16 hold as a vector of these. */
#define UNROLL _Pragma("GCC unroll 8")
#define INLINE TARGET static inline __attribute__((always_inline))

typedef int32_t FORM(words) __attribute__((vector_size(4 * LANES), may_alias));
typedef float FORM(vector) __attribute__((vector_size(4 * LANES)));
typedef int16_t FORM(shorts) __attribute__((vector_size(2 * LANES)));
typedef int16_t FORM(pairs) __attribute__((vector_size(4 * LANES)));
typedef int16_t FORM(loose_pairs) __attribute__((vector_size(4 * LANES), aligned(2), may_alias));
typedef int16_t FORM(loose_shorts) __attribute__((vector_size(2 * LANES), aligned(2), may_alias));
typedef int32_t FORM(loose_words) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t FORM(half_words) __attribute__((vector_size(2 * LANES)));
typedef float FORM(half_vector) __attribute__((vector_size(2 * LANES)));
typedef double FORM(half_doubles) __attribute__((vector_size(4 * LANES)));
typedef double FORM(loose_doubles) __attribute__((vector_size(4 * LANES), aligned(8), may_alias));
typedef float FORM(loose_vector) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
#include "libpith/kernels/requantize_body.h"

/* The first `count`, fewer than `all`. */
INLINE void FORM(put_first)(int16_t *y, const int16_t *from, int count, const int all)
{
    UNROLL for (int size = 16; size >= 4; size /= 2) if (all > size && count & size)
    {
        memcpy(y, from, (size_t) size * sizeof *y);
        y += size;
        from += size;
    }
    for (int i = 0; i < (count & 3); i++)
        y[i] = from[i];
}

INLINE void FORM(put_some)(int16_t *y, FORM(shorts) q, int count)
{
    FORM(put_first)(y, (const int16_t *) &q, count, LANES);
}

/* high * 2^16 + low with the bias, as floats rounded once: double holds it exactly. */
INLINE FORM(vector) FORM(long_sum)(FORM(words) high, FORM(words) low, const double *bias)
{
    FORM(vector) f = {0};

    UNROLL for (int half = 0; half < 2; half++)
    {
        FORM(half_words) h, l;
        FORM(half_vector) rounded;

        memcpy(&h, (const char *) &high + half * (int) sizeof h, sizeof h);
        memcpy(&l, (const char *) &low + half * (int) sizeof l, sizeof l);
        rounded = __builtin_convertvector(
            __builtin_convertvector(h, FORM(half_doubles)) * 65536.0 +
                __builtin_convertvector(l, FORM(half_doubles)) +
                *(const FORM(loose_doubles) *) (bias + half * (LANES / 2)),
            FORM(half_vector));
        memcpy((char *) &f + half * (int) sizeof rounded, &rounded, sizeof rounded);
    }
    return f;
}

/* Sums of P pixels by N vectors of channels. high: where sums may pass int32, with their bias or without: then they are
 * high * 2^16 + sum; else NULL. */
INLINE void FORM(put)(const struct pith_requantize *r, const struct pith_conv_s16_data *data,
                      const struct pith_pixels_s8 *at, int first, FORM(words) (*high)[4],
                      FORM(words) (*sum)[4], int64_t channel, int last, const int P, const int N)
{
    UNROLL for (int p = 0; p < P; p++) UNROLL for (int n = 0; n < N; n++)
    {
        const int64_t c = channel + n * LANES;
        const FORM(vector) scale = *(const FORM(loose_vector) *) (r->scale + c);
        const int count = n == N - 1 ? last : LANES;
        int16_t *y = (int16_t *) data->y + at->y[first + p] + c;
        FORM(vector) f;

        if (high)
            f = FORM(requantize_slant)(
                r, FORM(long_sum)(high[p][n], sum[p][n], r->long_bias + c) * scale);
        else
            f = FORM(requantize_real)(
                r, sum[p][n] + *(const FORM(loose_words) *) (r->bias + c), scale);
        if (data->added) /* it may be read past its end */
            f = FORM(requantize_add)(r, f, WIDE(data->added + at->added[first + p] + c));
        if (r->real) {
            float *real = (float *) data->y + at->y[first + p] + c;

            f = FORM(limit)(f, r->real_low, r->real_high);
            if (count == LANES)
                memcpy(real, &f, sizeof f);
            else
                memcpy(real, &f, (size_t) count * sizeof *real);
            continue;
        }
        const FORM(shorts) packed = SHORTS(BETWEEN(NEAREST(f) + r->zero, r->low, r->high));

        if (count == LANES)
            memcpy(y, &packed, sizeof packed);
        else
            FORM(put_some)(y, packed, count);
    }
}

INLINE void FORM(add_pair)(FORM(words) (*sum)[4], const int16_t *const *x, int64_t k,
                           const uint8_t *w, const int P, const int N)
{
    FORM(words) b[4];

    UNROLL for (int n = 0; n < N; n++) b[n] = PAIRS_OF(w + n * LANES * 2);
    UNROLL for (int p = 0; p < P; p++)
    {
        int32_t pair;
        FORM(words) spread = {0};

        memcpy(&pair, x[p] + 2 * k, sizeof pair);
        spread += pair;
        UNROLL for (int n = 0; n < N; n++) sum[p][n] = DOT(sum[p][n], spread, b[n]);
    }
}

/* Pairs from..end-1 of a segment. */
INLINE const uint8_t *FORM(add_pairs)(FORM(words) (*sum)[4][4], const int16_t *const *x,
                                      int64_t from, int64_t end, const uint8_t *w, const int apart,
                                      const int P, const int N)
{
    int64_t k = from;

    for (; apart && k + 1 < end; k += 2) {
        FORM(add_pair)(sum[0], x, k, w, P, N);
        FORM(add_pair)(sum[apart], x, k + 1, w + N * LANES * 2, P, N);
        w += 2 * N * LANES * 2;
    }
    for (; k < end; k++) {
        FORM(add_pair)(sum[0], x, k, w, P, N);
        w += N * LANES * 2;
    }
    return w;
}

INLINE void FORM(clear)(FORM(words) (*sum)[4], const int P, const int N)
{
    UNROLL for (int p = 0; p < P; p++) UNROLL for (int n = 0; n < N; n++) sum[p][n] =
        (FORM(words)){0};
}

INLINE void FORM(join)(FORM(words) (*sum)[4][4], const int P, const int N)
{
    UNROLL for (int p = 0; p < P; p++) UNROLL for (int n = 0; n < N; n++) sum[0][p][n] +=
        sum[1][p][n];
}

INLINE void FORM(tile)(const struct pith_conv_s16 *s, const struct pith_conv_s16_data *data,
                       const struct pith_pixels_s8 *at, int first,
                       const struct pith_requantize *r, const uint8_t *w, int64_t channel,
                       int last, const int P, const int N)
{
    const int apart = APART(P, N);
    FORM(words) sum[2][4][4];

    FORM(clear)(sum[0], P, N);
    FORM(clear)(sum[1], P, N);
    for (int64_t i = 0; i < s->segments; i++) {
        const int16_t *x[4];

        UNROLL for (int p = 0; p < P; p++) x[p] = data->x + at->x[first + p] + s->segment[i].x;
        w = FORM(add_pairs)(sum, x, 0, (s->segment[i].depth + 1) / 2, w, apart, P, N);
    }
    if (apart)
        FORM(join)(sum, P, N);
    FORM(put)(r, data, at, first, NULL, sum[0], channel, last, P, N);
}

/* The same where sums may pass int32: they are cut as often as must be. */
INLINE void FORM(long_tile)(const struct pith_conv_s16 *s, const struct pith_conv_s16_data *data,
                            const struct pith_pixels_s8 *at, int first,
                            const struct pith_requantize *r, const uint8_t *w, int64_t channel,
                            int last, const int P, const int N)
{
    FORM(words) high[4][4], low[4][4], sum[2][4][4];

    FORM(clear)(high, P, N);
    FORM(clear)(low, P, N);
    for (int64_t i = 0; i < s->segments; i++) {
        const int64_t pairs = (s->segment[i].depth + 1) / 2;
        const int16_t *x[4];

        UNROLL for (int p = 0; p < P; p++) x[p] = data->x + at->x[first + p] + s->segment[i].x;
        for (int64_t k = 0; k < pairs; k += PITH_CONV_S16_CUT / 2) {
            FORM(clear)(sum[0], P, N);
            w = FORM(add_pairs)(sum, x, k,
                                pairs - k < PITH_CONV_S16_CUT / 2 ? pairs
                                                                  : k + PITH_CONV_S16_CUT / 2,
                                w, 0, P, N);
            UNROLL for (int p = 0; p < P; p++) UNROLL for (int n = 0; n < N; n++)
            {
                high[p][n] += sum[0][p][n] >> 16;
                low[p][n] += sum[0][p][n] & 0xFFFF;
            }
        }
    }
    FORM(put)(r, data, at, first, high, low, channel, last, P, N);
}

/* A block of channels of depthwise convolution: its weights, then what brings its sums to the output, all in the order in
 * which interleaved taps lie. */
INLINE void FORM(put_block)(const struct pith_requantize *r, int16_t *y, const FORM(words) *sum,
                            const FORM(words) *behind, int count)
{
    FORM(words) q[2];

    UNROLL for (int h = 0; h < 2; h++)
    {
        const FORM(vector) f = FORM(requantize_real)(r, sum[h] + behind[h],
                                                     ((const FORM(vector) *) behind)[2 + h]);

        q[h] = BETWEEN(NEAREST(f) + r->zero, r->low, r->high);
    }
    const FORM(pairs) all = PACK(q[0], q[1]);

    if (count == 2 * LANES)
        memcpy(y, &all, sizeof all);
    else
#if LANES == 16
        _mm512_mask_storeu_epi16(y, (UINT32_C(1) << count) - 1, (__m512i) all);
#else
        FORM(put_first)(y, (const int16_t *) &all, count, 2 * LANES);
#endif
}

/* The same by way of sums in the order of the channels: with a residual, to floats, or where sums with their bias may pass
 * int32. */
INLINE void FORM(put_in_order)(const struct pith_requantize *r,
                               const struct pith_conv_s16_data *data,
                               const struct pith_pixels_s8 *at, int pixel, const FORM(words) *sum,
                               int64_t channel, int count)
{
    FORM(words) ordered[2][1][4], high[1][4] = {{{0}}};

    for (int i = 0; i < LANES / 2; i++) /* four lanes at a time */
        memcpy((int32_t *) &ordered[i / (LANES / 4)][0][0] + i % (LANES / 4) * 4,
               (const int32_t *) &sum[i % 2] + i / 2 * 4, 4 * sizeof(int32_t));
    for (int h = 0; h < 2 && count > h * LANES; h++)
        FORM(put)(r, data, at, pixel, r->is_long ? high : NULL, ordered[h], channel + h * LANES,
                  count - h * LANES < LANES ? count - h * LANES : LANES, 1, 1);
}

/* Two taps of one channel are a pair of words. */
INLINE void FORM(taps)(const struct pith_conv_s16 *s, const struct pith_conv_s16_data *data,
                       const struct pith_pixels_s8 *at, int first,
                       const struct pith_requantize *r, const uint8_t *weights, int64_t channel,
                       int last, const int P, const bool IN_ORDER)
{
    const FORM(words) *w = (const FORM(words) *) weights;
    FORM(words) sum[4][2];

    UNROLL for (int p = 0; p < P; p++) sum[p][0] = sum[p][1] = (FORM(words)){0};
    for (int64_t i = 0; i < s->segments; i += 2, w += 2)
        UNROLL for (int p = 0; p < P; p++)
        {
            const int16_t *x = data->x + at->x[first + p] + channel;
            FORM(pairs) a = *(const FORM(loose_pairs) *) (x + s->segment[i].x),
                        b = *(const FORM(loose_pairs) *) (x + s->segment[i + 1].x);

            __asm__("" : "+v"(a), "+v"(b)); /* each is used twice: else compilers load it twice */
            sum[p][0] = DOT(sum[p][0], LOW16(a, b), w[0]);
            sum[p][1] = DOT(sum[p][1], HIGH16(a, b), w[1]);
        }
    UNROLL for (int p = 0; p < P; p++)
    {
        if (IN_ORDER)
            FORM(put_in_order)(r, data, at, first + p, sum[p], channel, last);
        else
            FORM(put_block)(r, (int16_t *) data->y + at->y[first + p] + channel, sum[p], w, last);
    }
}

#define ALL_OF(name, P, call)                                                                      \
    TARGET static int FORM(name)(                                                                  \
        const struct pith_conv_s16 *s, const struct pith_conv_s16_data *data,                      \
        const struct pith_pixels_s8 *at, int first, int end, const uint8_t *weights,               \
        int64_t channel, int last)                                                                 \
    {                                                                                              \
        const struct pith_requantize r = s->conv.to;                                               \
                                                                                                   \
        for (; first + P <= end; first += P)                                                       \
            call;                                                                                  \
        return first;                                                                              \
    }
#define TILES_OF(P, N)                                                                             \
    ALL_OF(tile_##P##_##N, P,                                                                      \
           FORM(tile)(s, data, at, first, &r, weights, channel, last, P, N))                       \
    ALL_OF(long_##P##_##N, P,                                                                      \
           FORM(long_tile)(s, data, at, first, &r, weights, channel, last, P, N))
#define TAPS_OF(P)                                                                                 \
    ALL_OF(taps_##P, P, FORM(taps)(s, data, at, first, &r, weights, channel, last, P, false))      \
    ALL_OF(ordered_taps_##P, P,                                                                    \
           FORM(taps)(s, data, at, first, &r, weights, channel, last, P, true))
#define TILES_OF_ALL(N) TILES_OF(1, N) TILES_OF(2, N) TILES_OF(4, N)

TAPS_OF(1)
TAPS_OF(2)
TAPS_OF(4)
TILES_OF_ALL(1)
TILES_OF_ALL(2)
#if VECTORS == 4
TILES_OF_ALL(3)
TILES_OF_ALL(4)
#endif

#undef UNROLL
#undef INLINE
#undef ALL_OF
#undef TILES_OF
#undef TAPS_OF
#undef TILES_OF_ALL
