/* Matrix products, blocked in registers: what convolution, MatMul, Gemm and the recurrent operators stand on.
 * The loops are written once in compiler vector types (gemm_body.h) and compiled once per instruction set; the plain C
 * functions here with `plain` in their name define the answer. B is packed in panels of `panel` columns; A is read where
 * it lies, through two strides. */
#ifndef PITH_KERNELS_GEMM_H
#define PITH_KERNELS_GEMM_H

#include "libpith/kernels/isa.h"
#include "libpith/kernels/kernel.h"

#define PITH_GEMM_MAX_PANEL 32 /* the greatest panel of any form */

/* c[i,j] = activation(row_bias[i] + col_bias[j] + sum over p of a[i * a_row + p * a_depth] * b[p,j]) */
struct pith_gemm_f32 {
    int64_t rows, cols, depth;
    const float *a;
    int64_t a_row, a_depth; /* strides, in elements */
    const float *b;         /* packed by pith_gemm_pack_f32 */
    float *c;
    int64_t c_row;
    const float *row_bias, *col_bias; /* NULL: none */
    struct pith_activation activation;
};

/* acc[i,j] = sum over p of a[i * a_row + p] * b[p,j] in int32, which holds while depth * max|a| * max|b| < 2^31; then
 * either stored in `sums`, or made an 8-bit integer: activation((acc + bias) * scale), rounded half to even, plus
 * zero_point, limited to least..greatest. Low and high of the activation are in steps of the output's scale. */
struct pith_gemm_s16 {
    int64_t rows, cols, depth; /* depth even: an odd one is padded with zeros in a and b */
    const int16_t *a;
    int64_t a_row;
    const int16_t *b; /* packed by pith_gemm_pack_s16 */
    int32_t *sums;    /* not NULL: raw sums go here, and what follows is not used */
    void *out;        /* uint8 or int8 */
    int64_t out_row;  /* of sums, or of out */
    const int32_t *row_bias, *col_bias; /* NULL: none */
    const float *row_scale, *col_scale; /* one of both */
    int32_t zero_point, least, greatest;
    struct pith_activation activation;
};

struct pith_gemm_form {
    enum pith_isa isa;
    int panel;
    void (*f32)(const struct pith_gemm_f32 *g);
    void (*s16)(const struct pith_gemm_s16 *g);
    /* y[i] += w * x[i * stride]: a tap of a depthwise convolution along a row */
    void (*tap_f32)(float *y, const float *x, int64_t stride, float w, int64_t count);
};

/* The fastest form for pith_isa(); the same for the life of the process. */
const struct pith_gemm_form *pith_gemm_form(void);
/* All forms that this CPU runs, for tests; NULL past the last. */
const struct pith_gemm_form *pith_gemm_form_at(size_t index);

/* Elements that packed B takes. s16: depth is rounded up to even. */
int64_t pith_gemm_packed(const struct pith_gemm_form *form, int64_t depth, int64_t cols);
/* Packs b[p * b_depth + j * b_col] into panels: [cols / panel][depth][panel], the last one filled up with zeros. */
void pith_gemm_pack_f32(const struct pith_gemm_form *form, float *packed, const float *b, int64_t b_depth, int64_t b_col,
                        int64_t depth, int64_t cols);
/* Pairs along depth side by side: [cols / panel][depth / 2][panel][2]. b: 8-bit integers, made wide less zero_point[j] (or
 * zero_point[0] where one_zero). */
void pith_gemm_pack_s16(const struct pith_gemm_form *form, int16_t *packed, const void *b, bool is_signed, int64_t b_depth,
                        int64_t b_col, int64_t depth, int64_t cols, const int32_t *zero_point, bool one_zero);

/* The definition, for tests: unpacked b with strides, sums in double. */
void pith_gemm_plain_f32(const struct pith_gemm_f32 *g, int64_t b_depth, int64_t b_col);

#endif
