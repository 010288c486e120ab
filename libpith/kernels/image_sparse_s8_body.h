/* Integer convolution past blocks of zeros, in compiler vector types, included
 * once per instruction set.
 *
 * Who includes it defines FORM(name), the name with the form's ending; TARGET, the function
 * attribute; LANES, the int32 lanes of a vector, which are pixels; HALVES, the steps that four
 * products take: 1, or 2 with words; DOT(sum, x, w), a sum and what a step adds, or, with HALVES 1,
 * ADD_TWO(sum, other, x, w, y, u, two), which adds what words x and, where `two`, y give with weights w and u
 * to two sums that JOIN(sum, other) makes one of; NEAREST(f), floats
 * to int32, half to even; WIDEN(p), LANES bytes at p as int32; PACK(to, q, r), four vectors of
 * int32 as bytes, with the zero point added and limited. For all sets: types sixteen (bytes) and
 * four_words, and LOW8, HIGH8, LOW32, HIGH32, which interleave the halves of two of them. */
#define UNROLL _Pragma("GCC unroll 16")
#define INLINE TARGET static inline __attribute__((always_inline))

typedef int32_t FORM(words) __attribute__((vector_size(4 * LANES), may_alias));
typedef int32_t FORM(loose_words)
    __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef float FORM(vector) __attribute__((vector_size(4 * LANES)));
#include "libpith/kernels/requantize_body.h"

/* Four pixels of sixteen channels to four vectors of one pixel each. */
INLINE void FORM(turn_words)(const four_words *row, four_words *to)
{
    const four_words a = LOW32(row[0], row[2]), b = HIGH32(row[0], row[2]),
                     c = LOW32(row[1], row[3]), d = HIGH32(row[1], row[3]);

    to[0] = LOW32(a, c);
    to[1] = HIGH32(a, c);
    to[2] = LOW32(b, d);
    to[3] = HIGH32(b, d);
}

INLINE void FORM(turn_bytes)(sixteen *row)
{
    UNROLL for (int round = 0; round < 4; round++)
    {
        sixteen next[16];

        UNROLL for (int i = 0; i < 8; i++)
        {
            next[2 * i] = LOW8(row[i], row[i + 8]);
            next[2 * i + 1] = HIGH8(row[i], row[i + 8]);
        }
        UNROLL for (int i = 0; i < 16; i++) row[i] = next[i];
    }
}

/* All channels of four pixels. column: of the first, where its first four channels go; quad_bytes to
 * the next four, half_bytes to their odd places. */
INLINE void FORM(turn_four)(int64_t quads, const uint8_t *const *from, int8_t *column,
                            int64_t quad_bytes, int64_t half_bytes)
{
    const int64_t whole = quads & ~INT64_C(3);

    for (int64_t quad = 0; quad < quads; quad += 4) {
        four_words row[4] = {{0}}, turned[4];

        if (quad < whole) {
            UNROLL for (int i = 0; i < 4; i++) memcpy(&row[i], from[i] + quad * 4, 16);
        } else {
            for (int64_t q = quad; q < quads; q++)
                UNROLL for (int i = 0; i < 4; i++)
                {
                    int32_t dword;

                    memcpy(&dword, from[i] + q * 4, sizeof dword);
                    row[i][q - quad] = dword;
                }
        }
        FORM(turn_words)(row, turned);
        UNROLL for (int j = 0; j < 4; j++)
        {
            int8_t *place = column + (quad + j) * quad_bytes;
#if HALVES == 1
            memcpy(place, &turned[j], 16);
            (void) half_bytes;
#else
            const four_words even = turned[j] & 0x00FF00FF, odd = (turned[j] >> 8) & 0x00FF00FF;

            memcpy(place, &even, 16);
            memcpy(place + half_bytes, &odd, 16);
#endif
        }
    }
}

/* to: [tap][quad][V][HALVES][pixel] of four channels each. */
INLINE void FORM(turn_input)(const struct pith_sparse_s8 *s, const uint8_t *x,
                             const struct pith_sparse_s8_pixels *at, int8_t *to, const int V)
{
    const int64_t quad_bytes = (int64_t) V * HALVES * LANES * 4;

    for (int64_t tap = 0; tap < s->taps; tap++, to += s->tap_quads * quad_bytes)
        for (int p = 0; p < V * LANES; p += 4) {
            const uint8_t *first = x + s->tap_at[tap],
                          *from[4] = {first + at->place.x[p], first + at->place.x[p + 1],
                                      first + at->place.x[p + 2], first + at->place.x[p + 3]};

            FORM(turn_four)
            (s->quads, from, to + (p / LANES * HALVES * LANES + p % LANES) * 4, quad_bytes,
             LANES * 4);
        }
}

/* to: [quad][HALVES][pixel] of four channels each. */
TARGET static void FORM(turn)(const struct pith_sparse_s8 *s, const uint8_t *x,
                              const uint8_t *last, int8_t *to)
{
    const int64_t step = s->conv->in.pixel;

    for (int64_t p = 0; p < s->turned; p += 4, x += 4 * step) {
        const uint8_t *from[4];

        UNROLL for (int i = 0; i < 4; i++) from[i] = x + i * step < last ? x + i * step : last;
        FORM(turn_four)
        (s->quads, from, to + p * 4, s->turned * HALVES * 4, s->turned * 4);
    }
}

/* Where the input that block i meets lies. x: of a line, of its pixel that is the first lane's. */
INLINE const int8_t *FORM(input_of)(const struct pith_sparse_s8 *s, uint32_t i, const int8_t *x,
                                    const int V, const bool line)
{
    return x + 4 * (line ? (size_t) s->at[i] : (size_t) s->quad[i] * (size_t) (V * HALVES * LANES));
}

INLINE FORM(words) FORM(words_at)(const int8_t *from, const bool line)
{
    return line ? (FORM(words)) * (const FORM(loose_words) *) from : *(const FORM(words) *) from;
}

#ifndef ADD_TWO
/* What block i adds to the sums. */
INLINE void FORM(add_block)(const struct pith_sparse_s8 *s, uint32_t i, const int8_t *x,
                            FORM(words) * sum, const int V, const bool line)
{
    const int64_t half = line ? s->turned : LANES, vector = line ? LANES : HALVES * LANES;
    const int8_t *a = FORM(input_of)(s, i, x, V, line);

    UNROLL for (int h = 0; h < HALVES; h++)
    {
        const FORM(words) w = (FORM(words)){0} + s->weights[i * HALVES + h];

        UNROLL for (int v = 0; v < V; v++) sum[v] =
            DOT(sum[v], FORM(words_at)(a + 4 * (h * half + v * vector), line), w);
    }
}

/* What blocks i and, where there are two, i + 1 add. Two chains a vector: one alone is as long as the
 * instruction takes. */
INLINE void FORM(add_blocks)(const struct pith_sparse_s8 *s, uint32_t i, const int8_t *x,
                             FORM(words) * sum, FORM(words) * other, const int V, const bool line,
                             const bool two)
{
    FORM(add_block)(s, i, x, sum, V, line);
    if (two)
        FORM(add_block)(s, i + 1, x, other, V, line);
}

#define JOIN(sum, other) ((sum) + (other))
#else
INLINE void FORM(add_blocks)(const struct pith_sparse_s8 *s, uint32_t i, const int8_t *x,
                             FORM(words) * sum, FORM(words) * other, const int V, const bool line,
                             const bool two)
{
    const int8_t *a = FORM(input_of)(s, i, x, V, line), *b = two ? FORM(input_of)(s, i + 1, x, V, line) : a;
    const FORM(words) w = (FORM(words)){0} + s->weights[i], u = (FORM(words)){0} + s->weights[two ? i + 1 : i];

    UNROLL for (int v = 0; v < V; v++) ADD_TWO(&sum[v], &other[v], FORM(words_at)(a + 4 * v * LANES, line), w,
                                              FORM(words_at)(b + 4 * v * LANES, line), u, two);
}
#endif

/* The sums of one output channel. */
INLINE void FORM(sum)(const struct pith_sparse_s8 *s, int64_t channel, const int8_t *x,
                      FORM(words) * sum, const int V, const bool line)
{
    const FORM(words) bias = (FORM(words)){0} + s->conv->to.bias[channel];
    const uint32_t end = s->first[channel + 1];
    FORM(words) other[4];
    uint32_t i = s->first[channel];

    UNROLL for (int v = 0; v < V; v++) sum[v] = other[v] = (FORM(words)){0};
    for (; i + 1 < end; i += 2)
        FORM(add_blocks)(s, i, x, sum, other, V, line, true);
    if (i < end)
        FORM(add_blocks)(s, i, x, sum, other, V, line, false);
    UNROLL for (int v = 0; v < V; v++) sum[v] = JOIN(sum[v], other[v]) + bias;
}

/* What is stored of a channel's pixels, but for zero point and limits. added: their residuals, or
 * NULL. */
INLINE FORM(words) FORM(finish)(const struct pith_requantize *r, FORM(words) sum, int64_t channel,
                                const uint8_t *added)
{
    FORM(vector) f = FORM(requantize_real)(r, sum, FORM(spread)(r->scale[channel]));

    if (added)
        f = FORM(requantize_add)(r, f, WIDEN(added));
    return NEAREST(f);
}

/* 16 channels of the pixels, as [channel][pixel]; what lies behind the last channel may be read. */
INLINE void FORM(get_added)(const uint8_t *from, const struct pith_sparse_s8_pixels *at,
                            int64_t channel, uint8_t (*to)[PITH_PIXELS_S8], const int V)
{
    for (int p = 0; p < V * LANES; p += 16) {
        sixteen row[16];

        UNROLL for (int i = 0; i < 16; i++)
        {
            const int pixel = p + i < V * LANES ? p + i : p;

            memcpy(&row[i], from + at->place.added[pixel] + channel, 16);
        }
        FORM(turn_bytes)(row);
        UNROLL for (int i = 0; i < 16; i++) memcpy(&to[i][p], &row[i], 16);
    }
}

/* `count` bytes, less than 16. */
INLINE void FORM(put_part)(uint8_t *to, const uint8_t *from, int count)
{
    if (count & 8) {
        memcpy(to, from, 8);
        to += 8;
        from += 8;
    }
    if (count & 4) {
        memcpy(to, from, 4);
        to += 4;
        from += 4;
    }
    for (int i = 0; i < (count & 3); i++)
        to[i] = from[i];
}

INLINE void FORM(put)(uint8_t *y, const struct pith_sparse_s8_pixels *at, int64_t channel,
                      int count, uint8_t (*from)[PITH_PIXELS_S8], const int V, const bool gaps)
{
    for (int p = 0; p < V * LANES && p < at->count; p += 16) {
        const int pixels = at->count - p < 16 ? at->count - p : 16;
        sixteen row[16];

        UNROLL for (int i = 0; i < 16; i++) memcpy(&row[i], &from[i][p], 16);
        FORM(turn_bytes)(row);
        if (count == 16 && pixels == 16 && !gaps) {
            UNROLL for (int i = 0; i < 16; i++)
                memcpy(y + at->place.y[p + i] + channel, &row[i], 16);
            continue;
        }
        for (int i = 0; i < pixels; i++)
            if (at->place.y[p + i] < 0)
                continue;
            else if (count == 16)
                memcpy(y + at->place.y[p + i] + channel, &row[i], 16);
            else
                FORM(put_part)(y + at->place.y[p + i] + channel, (const uint8_t *) &row[i], count);
    }
}

INLINE void FORM(channels)(const struct pith_sparse_s8 *s, const struct pith_conv_s8_data *data,
                           const struct pith_sparse_s8_pixels *at, const int8_t *x, int64_t first,
                           int64_t end, const int V, const bool line)
{
    const struct pith_requantize r = s->conv->to; /* what is stored can't change it */
    uint8_t out[16][PITH_PIXELS_S8], added[16][PITH_PIXELS_S8];

    for (int64_t channel = first; channel < end; channel += 16) {
        const int count = end - channel < 16 ? (int) (end - channel) : 16;

        if (data->added)
            FORM(get_added)(data->added, at, channel, added, V);
        for (int m = 0; m < count; m++) {
            FORM(words) sum[4] = {{0}};

            FORM(sum)(s, channel + m, x, sum, V, line);
            UNROLL for (int v = 0; v < V; v++) sum[v] =
                FORM(finish)(&r, sum[v], channel + m, data->added ? &added[m][v * LANES] : NULL);
            PACK(out[m], sum, &r);
        }
        FORM(put)(data->y, at, channel, count, out, V, line);
    }
}

#define CHUNK_OF(V)                                                                                \
    TARGET static void FORM(chunk_##V)(                                                            \
        const struct pith_sparse_s8 *s, const struct pith_conv_s8_data *data,                      \
        const struct pith_sparse_s8_pixels *at, int64_t first, int64_t end)                        \
    {                                                                                              \
        int8_t x[PITH_SPARSE_S8_BYTES] __attribute__((aligned(64)));                               \
                                                                                                   \
        FORM(turn_input)(s, data->x, at, x, V);                                                    \
        FORM(channels)(s, data, at, x, first, end, V, false);                                      \
    }                                                                                              \
    TARGET static void FORM(part_##V)(                                                             \
        const struct pith_sparse_s8 *s, const struct pith_conv_s8_data *data,                      \
        const struct pith_sparse_s8_pixels *at, const int8_t *turned, int64_t first, int64_t end)  \
    {                                                                                              \
        FORM(channels)(s, data, at, turned, first, end, V, true);                                  \
    }

CHUNK_OF(1)
CHUNK_OF(2)
CHUNK_OF(3)
CHUNK_OF(4)

#undef UNROLL
#undef INLINE
#undef CHUNK_OF
#undef JOIN
