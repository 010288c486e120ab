/* Constant weights as int8, less their zero point, and what they add up to: what packing integer weights begins with. */
#ifndef PITH_KERNELS_NARROW_S8_H
#define PITH_KERNELS_NARROW_S8_H

#include "libpith/kernels/requantize.h"

/* to[i] = w[at + i * stride] - zero for i < count; adds to *sums (may be NULL). false: one of them does not fit int8, and `to`
 * holds nothing. w: any integer type. */
bool pith_narrow_weights(const struct pith_tensor *w, int64_t at, int64_t stride, int64_t count, int32_t zero, int8_t *to,
                         struct pith_weight_sums *sums);

/* Whether all of w[at] to w[at + count - 1], less the zero point, fit int8. */
bool pith_weights_fit(const struct pith_tensor *w, int64_t at, int64_t count, int32_t zero);

/* first[i] + second[i] = w[at + i] - zero; second[i] is 0 where that fits int8 alone. false: it does not even fit the two. */
bool pith_split_weights(const struct pith_tensor *w, int64_t at, int64_t count, int32_t zero, int8_t *first, int8_t *second);

/* Adds to *sums. */
void pith_sum_weights(const int8_t *w, int64_t count, struct pith_weight_sums *sums);

/* Whether the weights are what they would be made: int8, less zero points of 0. Who only packs them need not copy them then. */
bool pith_weights_are_narrow(const struct pith_tensor *w, const int32_t *zeros, size_t zero_count);

#endif
