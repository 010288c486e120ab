/* Weights as int8. A model's load is mostly this and packing, so the usual case (int8, zero point
 * 0, one behind the other) is a copy, or none, and sums are of vectors. See narrow_s8.h. */
#include "libpith/kernels/narrow_s8.h"

#include <string.h>

#if defined __SSE2__
#include <emmintrin.h>
#endif

#if defined __SSE2__
#define STEP  16
#define AHEAD 1024 /* bytes, across the page to which the CPU looks ahead itself: weights come from far */

/* Sums of bytes that differ, as `psadbw` gives them: two of 64 bits, which are added up behind the loop. */
static int64_t add_vectors(const int8_t *w, int64_t count, struct pith_weight_sums *sums)
{
    const __m128i zero = _mm_setzero_si128(), flip = _mm_set1_epi8(-128);
    __m128i all = zero, magnitudes = zero;
    int64_t i = 0, both[2][2];

    for (; i + STEP <= count; i += STEP) {
        if (i % 64 == 0)
            _mm_prefetch((const char *) w + i + AHEAD, _MM_HINT_T0);
        const __m128i x = _mm_loadu_si128((const __m128i *) (const void *) (w + i)), sign = _mm_cmpgt_epi8(zero, x);

        all = _mm_add_epi64(all, _mm_sad_epu8(_mm_xor_si128(x, flip), zero));
        magnitudes =
            _mm_add_epi64(magnitudes, _mm_sad_epu8(_mm_sub_epi8(_mm_xor_si128(x, sign), sign), zero));
    }
    _mm_storeu_si128((__m128i *) (void *) both[0], all);
    _mm_storeu_si128((__m128i *) (void *) both[1], magnitudes);
    sums->sum += both[0][0] + both[0][1] - 128 * i;
    sums->magnitude += both[1][0] + both[1][1];
    return i;
}
#else
#define LANES 8
#define STEP  (2 * LANES)
#define BATCH 64 /* vectors of 16 weights; then a lane of 16 bits holds at most 64 * 256 */

typedef int16_t word_lanes __attribute__((vector_size(2 * LANES)));

static word_lanes magnitude_of(word_lanes x)
{
    const word_lanes sign = x >> 15;

    return (x ^ sign) - sign;
}

static int64_t add_vectors(const int8_t *w, int64_t count, struct pith_weight_sums *sums)
{
    int64_t i = 0;

    while (i + STEP <= count) {
        word_lanes sum = {0}, magnitude = {0};

        for (int n = 0; n < BATCH && i + STEP <= count; n++, i += STEP) {
            word_lanes pairs, first, second;

            memcpy(&pairs, w + i, sizeof pairs);
            first = pairs << 8 >> 8;
            second = pairs >> 8;
            sum += first + second;
            magnitude += magnitude_of(first) + magnitude_of(second);
        }
        for (int lane = 0; lane < LANES; lane++) {
            sums->sum += sum[lane];
            sums->magnitude += magnitude[lane];
        }
    }
    return i;
}
#endif

void pith_sum_weights(const int8_t *w, int64_t count, struct pith_weight_sums *sums)
{
    int64_t i = add_vectors(w, count, sums);

    for (; i < count; i++) {
        sums->sum += w[i];
        sums->magnitude += w[i] < 0 ? -w[i] : w[i];
    }
}

bool pith_weights_are_narrow(const struct pith_tensor *w, const int32_t *zeros, size_t zero_count)
{
    for (size_t i = 0; i < zero_count; i++)
        if (zeros[i] != 0)
            return false;
    return w->dtype == PITH_INT8;
}

static inline int64_t weight_at(const struct pith_tensor *w, int64_t at)
{
    return w->dtype == PITH_INT8    ? ((const int8_t *) w->data)[at]
           : w->dtype == PITH_UINT8 ? ((const uint8_t *) w->data)[at]
                                    : pith_tensor_get_int(w, at);
}

static bool narrow_each(const struct pith_tensor *w, int64_t at, int64_t stride, int64_t count,
                        int32_t zero, int8_t *to)
{
    for (int64_t i = 0; i < count; i++) {
        const int64_t v = weight_at(w, at + i * stride) - zero;

        if (v < INT8_MIN || v > INT8_MAX)
            return false;
        to[i] = (int8_t) v;
    }
    return true;
}

bool pith_weights_fit(const struct pith_tensor *w, int64_t at, int64_t count, int32_t zero)
{
    int64_t low = 0, high = 0;

    for (int64_t i = 0; i < count; i++) {
        const int64_t v = weight_at(w, at + i) - zero;

        low = v < low ? v : low;
        high = v > high ? v : high;
    }
    return low >= INT8_MIN && high <= INT8_MAX;
}

bool pith_split_weights(const struct pith_tensor *w, int64_t at, int64_t count, int32_t zero,
                        int8_t *first, int8_t *second)
{
    for (int64_t i = 0; i < count; i++) {
        const int64_t v = weight_at(w, at + i) - zero,
                      a = v < INT8_MIN ? INT8_MIN : v > INT8_MAX ? INT8_MAX : v;

        if (v - a < INT8_MIN || v - a > INT8_MAX)
            return false;
        first[i] = (int8_t) a;
        second[i] = (int8_t) (v - a);
    }
    return true;
}

bool pith_narrow_weights(const struct pith_tensor *w, int64_t at, int64_t stride, int64_t count,
                         int32_t zero, int8_t *to, struct pith_weight_sums *sums)
{
    if (w->dtype == PITH_INT8 && stride == 1 && zero == 0)
        memcpy(to, (const int8_t *) w->data + at, (size_t) count);
    else if (!narrow_each(w, at, stride, count, zero, to))
        return false;
    if (sums)
        pith_sum_weights(to, count, sums);
    return true;
}
