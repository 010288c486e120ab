/* Ranges by entropy: the clip that changes the distribution least. */
#ifndef PITH_QUANTIZE_ENTROPY_H
#define PITH_QUANTIZE_ENTROPY_H

#include "plugins/techniques/quantize/range.h"

/* The range whose quantized distribution has the least Kullback-Leibler divergence from the
 * histogram's (Migacz, 8-bit inference with TensorRT, GTC 2017). Magnitudes are compared, so that
 * both ends are cut at the same distance. Exact zeros are left out: behind a ReLU they are most of
 * the values, are exact on any grid, and would outweigh all others. The histogram has some value
 * that is not zero. */
struct range range_by_entropy(const struct histogram *histogram);

#endif
