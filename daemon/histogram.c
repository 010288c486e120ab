#include "daemon/histogram.h"

#include <inttypes.h>

#define SUB_COUNT (1u << HISTOGRAM_SUB_BITS)

/* Below 16 us a bucket each; above, the octave and the 4 bits after the leading one. */
static size_t bucket_of(uint64_t us)
{
    unsigned octave;

    if (us < SUB_COUNT)
        return us;
    if (us > HISTOGRAM_MAX_US)
        us = HISTOGRAM_MAX_US;
    octave = 63 - (unsigned) __builtin_clzll(us);
    return ((octave - HISTOGRAM_SUB_BITS) << HISTOGRAM_SUB_BITS) +
           (us >> (octave - HISTOGRAM_SUB_BITS));
}

static uint64_t middle_of(size_t bucket)
{
    size_t shift;

    if (bucket < 2 * SUB_COUNT)
        return bucket;
    shift = (bucket >> HISTOGRAM_SUB_BITS) - 1;
    return ((SUB_COUNT + (bucket & (SUB_COUNT - 1))) << shift) + (UINT64_C(1) << shift) / 2;
}

void histogram_add(struct histogram *histogram, uint64_t us, uint32_t count)
{
    histogram->count[bucket_of(us)] += count;
    histogram->total += count;
}

uint64_t histogram_quantile_us(const struct histogram *histogram, double share)
{
    uint64_t seen = 0;

    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->count[i];
        if (histogram->count[i] > 0 && (double) seen >= share * (double) histogram->total)
            return middle_of(i);
    }
    return 0;
}

void histogram_json(const struct histogram *histogram, struct pith_buffer *out)
{
    const char *separator = "";

    pith_buffer_text(out, "{");
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        if (histogram->count[i] == 0)
            continue;
        pith_buffer_printf(out, "%s\"%" PRIu64 "\":%" PRIu32, separator, middle_of(i),
                           histogram->count[i]);
        separator = ",";
    }
    pith_buffer_text(out, "}");
}
