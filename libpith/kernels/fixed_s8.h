/* Products of float rows with a constant matrix of int8, in integers. Each row is made fixed-point
 * numbers of 23 bits, its unit a power of two of its own; these are multiplied with the weights and
 * summed without any rounding. So a product reads a quarter of the bytes that floats take, errs no
 * more than a float product would, and has the same bits in every form. */
#ifndef PITH_KERNELS_FIXED_S8_H
#define PITH_KERNELS_FIXED_S8_H

#include "libpith/kernels/kernel.h"

#define PITH_FIXED_MAX_DEPTH 4096 /* sums stay within 32 bits */

struct pith_fixed_s8;

/* Weights as integers behind a quantization: element (p,j) is number first + j * depth + p of
 * `weights`, and its scale number scale_first + j * scale_step. */
struct pith_fixed_weights {
    const struct pith_tensor *weights;
    const struct pith_quantization *grid;
    int64_t depth, cols, first, scale_first, scale_step;
};

/* c[i * c_row + j] = bias[j] + float(sum over p of q[i,p] * w[p,j]) * (unit[i] * scale[j]), where
 *   w is the stored integer less its zero point,
 *   unit[i] = 2^(e - 21) with 2^e <= max |a[i,p]| < 2^(e+1), e no less than -100,
 *   q[i,p] = a[i,p] / unit[i], rounded half to even.
 * A row that holds an infinite or NaN gives NaN. */
struct pith_fixed_call {
    int64_t rows;
    const float *a;
    int64_t a_row;
    const float *bias; /* NULL: none */
    float *c;
    int64_t c_row;
    void *scratch; /* pith_fixed_s8_scratch bytes, aligned to 4 */
};

/* Packs into the step's memory. 1: these weights don't fit (8 bits less a zero point that fit no
 * int8, too deep); 0, -ENOMEM. */
int pith_fixed_s8_plan(struct pith_step *step, const struct pith_fixed_weights *from,
                       struct pith_fixed_s8 **out) PITH_CHECKED;
int64_t pith_fixed_s8_scratch(const struct pith_fixed_s8 *f, int64_t rows);
void pith_fixed_s8_run(const struct pith_fixed_s8 *f, const struct pith_fixed_call *call);
/* "int8 weights avx512vnni" */
const char *pith_fixed_s8_name(const struct pith_fixed_s8 *f);

#endif
