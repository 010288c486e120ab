/* What is done to whole rows of floats, for each instruction set: softmax and layer normalization.
 */
#ifndef PITH_KERNELS_ROWS_F32_H
#define PITH_KERNELS_ROWS_F32_H

#include <stdint.h>

#include "libpith/kernels/isa.h"

struct pith_rows_form {
    enum pith_isa isa;
    int lanes;
    /* y[i] = exp(v[i] - max v) with v[i] = scale * x[i] + (mask ? mask[i] : 0); returns their sum.
     * y may be x. A NaN anywhere, or -inf everywhere, makes the sum NaN. */
    float (*exponentials)(float *y, const float *x, int64_t count, float scale, const float *mask);
    /* y[i] *= by */
    void (*multiply)(float *y, int64_t count, float by);
    /* y[i] = (x[i] - mean) / sqrt(variance + epsilon) * scale[i] + bias[i]; bias NULL: none. y may
     * be x. Sums of up to 64 vectors are added in double. out: the mean, and 1 / sqrt(...). */
    void (*normalize)(float *y, const float *x, int64_t count, const float *scale,
                      const float *bias, float epsilon, float out[2]);
};

/* The form for pith_isa(); NULL where it is plain C. Thread: any. */
const struct pith_rows_form *pith_rows_form(void);

#endif
