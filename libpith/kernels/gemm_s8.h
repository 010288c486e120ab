/* Products of quantized rows with a constant matrix, on the tiles of the dense convolution: the rows are the pixels of a
 * picture one pixel high. */
#ifndef PITH_KERNELS_GEMM_S8_H
#define PITH_KERNELS_GEMM_S8_H

#include "libpith/kernels/kernel.h"

struct pith_gemm_s8;

/* y[i,j] = activation(bias[j] + sum over p of a[i,p] * b[p * b_depth + j * b_col]) for input 0 (any rank; rows of `depth`),
 * constant input 1 and output 0, planar. Input 0 is of 8 bits, and output 0 too or float32; on x86-64 input 0 may be int16, and
 * output 0 int16 or float32 (image_conv_s16.h). sum_scale[j]: what one of column j's sums stands for. bias: real, or NULL. Sets
 * step->scratch_bytes, parts and *out. 1 where this isn't one for it (b is no constant, or is wider than int8; no such
 * instruction set; scales far apart); 0, -ENOMEM. */
int pith_gemm_s8_plan(struct pith_step *step, int64_t rows, int64_t cols, int64_t depth, int64_t b_depth, int64_t b_col,
                      const double *sum_scale, const double *bias, struct pith_gemm_s8 **out) PITH_CHECKED;
/* The same for sums that become floats with what only a run knows: y[i,j] = float(sum over p of (a[i,p] - a_zero) * (b[p,j] -
 * zeros[j])) * scale[j], b lying row by row. step->input_quantization is not looked at. */
int pith_gemm_s8_plan_late(struct pith_step *step, int64_t rows, int64_t cols, int64_t depth, const int32_t *zeros,
                           struct pith_gemm_s8 **out) PITH_CHECKED;
/* Before the parts that compute columns from..to-1 in a run. scale: one (`one`), or one a column. */
void pith_gemm_s8_set(struct pith_gemm_s8 *gemm, int64_t from, int64_t to, int32_t a_zero, const float *scale, bool one);
/* The columns of a part. */
void pith_gemm_s8_cut(const struct pith_gemm_s8 *gemm, uint32_t part, uint32_t count, int64_t *out_from, int64_t *out_to);

/* Part `part` of `count` of the product; 0 of 1 is all of it. */
void pith_gemm_s8_part(const struct pith_gemm_s8 *gemm, struct pith_step *step, uint32_t part, uint32_t count);

#endif
