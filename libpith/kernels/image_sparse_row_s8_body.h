/* Products of a row past blocks of zeros, in compiler vector types, included once per instruction
 * set.
 *
 * Who includes it defines FORM(name), the name with the form's ending; TARGET, the function
 * attribute; LANES, the int32 lanes of a vector, which are output channels, and the fours of a
 * window; HALVES, the steps that four products take: 1, or 2 with words; WINDOW(p, fours), a window
 * at p of which so many are there; PERMUTE(window, places), of each lane what lies at its place;
 * SPLIT(four, h), step h's factor; DOT(sum, x, w), a sum and what a step adds; NEAREST(f), floats to
 * int32, half to even; WIDEN(p), LANES bytes at p as int32. */
#define INLINE TARGET static inline __attribute__((always_inline))

typedef int32_t FORM(words) __attribute__((vector_size(4 * LANES), may_alias));
typedef float FORM(vector) __attribute__((vector_size(4 * LANES)));
typedef uint8_t FORM(bytes) __attribute__((vector_size(LANES)));
typedef int32_t FORM(loose_words) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef float FORM(loose_vector) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
#include "libpith/kernels/requantize_body.h"

INLINE FORM(words) FORM(step)(FORM(words) sum, FORM(words) window, FORM(words) places,
                              const FORM(words) * w)
{
    const FORM(words) four = PERMUTE(window, places);

    sum = DOT(sum, SPLIT(four, 0), w[0]);
#if HALVES == 2
    sum = DOT(sum, SPLIT(four, 1), w[1]);
#endif
    return sum;
}

/* Four chains: one alone is as long as the instruction takes. */
INLINE FORM(words) FORM(row_sum)(const struct pith_sparse_row_s8 *s, const uint8_t *x,
                                 int64_t vector, FORM(words) bias)
{
    const FORM(words) *w = (const FORM(words) *) s->weights + s->at[vector];
    const uint8_t *steps = s->steps + vector * s->windows;
    int64_t fours = (s->conv->in_channels + 3) / 4;
    FORM(words) sum[4] = {bias};

    for (int64_t i = 0; i < s->windows; i++, fours -= LANES, x += 4 * LANES) {
        const FORM(words) window = WINDOW(x, fours);

        for (int left = steps[i]; left > 0; left -= PITH_SPARSE_ROW_S8_STEPS) {
            int count = left < PITH_SPARSE_ROW_S8_STEPS ? left : PITH_SPARSE_ROW_S8_STEPS;
            FORM(words) places = *w++;

            for (; count >= 4; count -= 4) {
                _Pragma("GCC unroll 4") for (int j = 0; j < 4; j++) sum[j] =
                    FORM(step)(sum[j], window, places >> (4 * j), w + j * HALVES);
                places >>= 16; /* the upper bits are not looked at */
                w += 4 * HALVES;
            }
            _Pragma("GCC unroll 4") for (int j = 0; j < 3; j++) if (j < count) sum[j] =
                FORM(step)(sum[j], window, places >> (4 * j), w + j * HALVES);
            w += count * HALVES;
        }
    }
    return sum[0] + sum[1] + (sum[2] + sum[3]);
}

INLINE void FORM(put)(const struct pith_requantize *r, FORM(vector) f, void *y, int64_t at,
                      int count)
{
    if (r->real) {
        f = FORM(limit)(f, r->real_low, r->real_high);
        memcpy((float *) y + at, &f, (size_t) count * sizeof(float));
    } else {
        const FORM(bytes) packed =
            __builtin_convertvector(FORM(requantize_store)(r, f), FORM(bytes));

        if (count == LANES)
            memcpy((uint8_t *) y + at, &packed, LANES);
        else
            memcpy((uint8_t *) y + at, &packed, (size_t) count);
    }
}

TARGET static void FORM(row)(const struct pith_sparse_row_s8 *s,
                             const struct pith_conv_s8_data *data, const struct pith_pixels_s8 *at,
                             int pixel, int64_t channel, int64_t end)
{
    const struct pith_requantize *r = &s->conv->to;

    for (; channel < end; channel += LANES) {
        const FORM(words) sum = FORM(row_sum)(s, data->x + at->x[pixel], channel / LANES,
                                              *(const FORM(loose_words) *) (r->bias + channel));
        FORM(vector)
        f = FORM(requantize_real)(r, sum, *(const FORM(loose_vector) *) (r->scale + channel));

        if (data->added)
            f = FORM(requantize_add)(r, f, WIDEN(data->added + at->added[pixel] + channel));
        FORM(put)(r, f, data->y, at->y[pixel] + channel, end - channel < LANES ? (int) (end - channel) : LANES);
    }
}

#undef INLINE
