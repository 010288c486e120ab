/* From a histogram to a range, and from a range to a grid. */
#ifndef PITH_QUANTIZE_RANGE_H
#define PITH_QUANTIZE_RANGE_H

#include "plugins/techniques/quantize/histogram.h"
#include <pith/tensor.h>

enum range_method { RANGE_MINMAX, RANGE_PERCENTILE, RANGE_MSE, RANGE_ENTROPY, RANGE_METHODS };
extern const char *const range_method_names[]; /* ends with NULL */

struct range {
    double low, high; /* low <= 0 <= high: zero must be exact, padding relies on it */
};

/* real = scale * (q - zero_point), q in [least, greatest]. With 8 bits the range's ends are the
 * grid's; with 16 it is symmetric, as one bit of so many is worth less than kernels without a zero
 * point. */
struct grid {
    float scale;
    int32_t zero_point;
    int32_t least, greatest;
};

/* percentile: 50..100, of the values on each side that stay inside. */
struct range range_estimate(const struct histogram *histogram, enum range_method method,
                            double percentile);
/* dtype: PITH_UINT8, PITH_INT8 or PITH_INT16. */
struct grid grid_of_range(struct range range, int32_t dtype);
/* Signal to quantization noise on that grid, in dB; 200 where there is no noise. */
double range_sqnr_db(const struct histogram *histogram, struct range range);
double sqnr_db(double signal, double noise);

#endif
