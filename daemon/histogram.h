/* Durations in logarithmic buckets: 16 an octave, so a quantile is right to 3 %. Two histograms add up bucket by bucket,
 * in memory and in SQL. */
#ifndef PITHD_HISTOGRAM_H
#define PITHD_HISTOGRAM_H

#include "libpith/base/buffer.h"

#define HISTOGRAM_SUB_BITS 4 /* 16 buckets an octave */
#define HISTOGRAM_MAX_US   (UINT64_C(1) << 36) /* 19 hours; what is longer counts as that */
#define HISTOGRAM_BUCKETS  (((36 - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS) + 1)

struct histogram {
    uint64_t total;
    uint32_t count[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *histogram, uint64_t us, uint32_t count);
/* The least duration that at least `share` (0..1) of all don't exceed, as its bucket's middle; 0 where it is empty. */
uint64_t histogram_quantile_us(const struct histogram *histogram, double share);
/* {"<middle in us>": count, ...} with the buckets that hold something. */
void histogram_json(const struct histogram *histogram, struct pith_buffer *out);

#endif
