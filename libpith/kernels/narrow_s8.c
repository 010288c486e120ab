/* Weights as int8. A model's load is mostly this and packing, so the usual case (int8, zero point
 * 0, one behind the other) is a copy, and sums are of vectors. See narrow_s8.h. */
#include "libpith/kernels/narrow_s8.h"

#include <string.h>

#define LANES 8
#define BATCH 64 /* vectors of 16 weights; then a lane of 16 bits holds at most 64 * 256 */

typedef int16_t word_lanes __attribute__((vector_size(2 * LANES)));

static word_lanes magnitude_of(word_lanes x)
{
    const word_lanes sign = x >> 15;

    return (x ^ sign) - sign;
}

static void add_sums(const int8_t *w, int64_t count, struct pith_weight_sums *sums)
{
    int64_t i = 0;

    while (i + 2 * LANES <= count) {
        word_lanes sum = {0}, magnitude = {0};

        for (int n = 0; n < BATCH && i + 2 * LANES <= count; n++, i += 2 * LANES) {
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
    for (; i < count; i++) {
        sums->sum += w[i];
        sums->magnitude += w[i] < 0 ? -w[i] : w[i];
    }
}

static bool narrow_each(const struct pith_tensor *w, int64_t at, int64_t stride, int64_t count,
                        int32_t zero, int8_t *to)
{
    for (int64_t i = 0; i < count; i++) {
        const int64_t from = at + i * stride;
        const int64_t v = (w->dtype == PITH_INT8    ? ((const int8_t *) w->data)[from]
                           : w->dtype == PITH_UINT8 ? ((const uint8_t *) w->data)[from]
                                                    : pith_tensor_get_int(w, from)) -
                          zero;

        if (v < -128 || v > 127)
            return false;
        to[i] = (int8_t) v;
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
        add_sums(to, count, sums);
    return true;
}
