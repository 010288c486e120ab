/* One streaming histogram a tensor: what every range estimator reads. One pass, bounded memory, no
 * second look at the data. Bins are anchored at zero and their width is a power of two, so widening
 * merges neighbours exactly. */
#ifndef PITH_QUANTIZE_HISTOGRAM_H
#define PITH_QUANTIZE_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_BINS 2048 /* 8 KiB a tensor: eight bins a level of an 8-bit grid */

struct histogram {
    uint32_t count[HISTOGRAM_BINS]; /* bin i holds values in [first + i, first + i + 1) * width */
    int64_t first;                  /* index of bin 0, counted from zero on the value axis */
    int exponent;                   /* width = 2^exponent; only meaningful once `any` */
    int any;                        /* some value that is not zero has come */
    uint64_t zeros;                 /* exact zeros: they cost nothing on a grid that has zero */
    uint64_t values;                /* all finite values, zeros included */
    uint64_t refused;               /* NaN and infinities, left out */
    float minimum, maximum;         /* of the finite values and 0, which every grid has */
    float low, high;                /* as minimum and maximum, of the last values that were added */
    double squares;                 /* sum of squares */
};

void histogram_init(struct histogram *histogram);
void histogram_add(struct histogram *histogram, const float *x, size_t count);
double histogram_width(const struct histogram *histogram);
/* The middle of bin i. */
double histogram_centre(const struct histogram *histogram, size_t bin);

#endif
