/* Turning rows of weights into columns, as packing does. */
#ifndef PITH_KERNELS_TRANSPOSE_H
#define PITH_KERNELS_TRANSPOSE_H

#include <stdint.h>

/* to[at(k) * to_step + m] = from[m * from_step + k] for m < rows and k < depth. With one tap at(k) is k; else k counts taps
 * fastest, as a convolution's weights do, and at(k) counts them slowest: at(c * taps + t) = t * (depth / taps) + c.
 * Steps in elements. No bit of an element changes. */
void pith_transpose_f32(const float *from, int64_t from_step, int64_t rows, int64_t depth,
                        int64_t taps, float *to, int64_t to_step);

#endif
