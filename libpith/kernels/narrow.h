/* Products of float rows with a constant matrix that is kept narrower than float: in four or eight
 * bits with scales, or as float16 or bfloat16. Its elements are made floats in registers, so that a
 * product, which reads each of them once, reads less. */
#ifndef PITH_KERNELS_NARROW_H
#define PITH_KERNELS_NARROW_H

#include "libpith/kernels/kernel.h"

struct pith_narrow;

#define PITH_NARROW_CUT 64 /* columns are cut at multiples of that */
#define PITH_NARROW_ROWS                                                                           \
    8 /* more make every element wide so often that a matrix of floats is faster */

/* c[i,j] = activation(col_bias[j] + sum over p of a[i * depth + p] * b[p,j]) for columns col to
 * col_end - 1; col_bias NULL: none. */
struct pith_narrow_call {
    int64_t rows, col, col_end;
    const float *a, *col_bias;
    float *c;
    struct pith_activation activation;
};

/* Packs input 1 of the step, whose element (p,j) is at p * b_depth + j * b_col: float32 where
 * float16 or bfloat16 holds every one of them exactly; or integers with a quantization: one scale,
 * or one a column (axis `col_axis`), or one for so many along the depth in each column. Sets *out
 * and step->form. 1 where this isn't one for it; 0, -ENOMEM. */
int pith_narrow_plan(struct pith_step *step, int64_t depth, int64_t cols, int64_t b_depth,
                     int64_t b_col, int32_t col_axis, struct pith_narrow **out) PITH_CHECKED;
void pith_narrow_run(const struct pith_narrow *n, const struct pith_narrow_call *call);

/* ---- rows ---- */

/* What an element is kept as: a signed integer of four or eight bits, float16 or bfloat16. */
enum narrow_kind { NARROW_FOURTHS, NARROW_BYTES, NARROW_FLOAT16, NARROW_BFLOAT16 };

/* Rows of `width` elements, a multiple of 4, that are made floats all together. */
int64_t pith_narrow_rows_bytes(enum narrow_kind kind, int64_t rows, int64_t width);
/* Sets element (row,col) of packed rows that were zeroed. value: an integer, or a float that the kind holds. */
void pith_narrow_rows_put(enum narrow_kind kind, uint8_t *packed, int64_t width, int64_t row, int64_t col, float value);
/* to[row * width + col] = element * scale[col]; scale NULL: the element. One rounding. */
void pith_narrow_rows_expand(enum narrow_kind kind, const uint8_t *packed, int64_t rows, int64_t width,
                             const float *scale, float *to);
const char *pith_narrow_name(enum narrow_kind kind); /* "int8 weights" */

/* ---- for tests ---- */
/* Uses the index-th form that this CPU has, from the best on, for what is planned from now on; -1:
 * the one for pith_isa(). False: there is none such. */
bool pith_narrow_force(int index);

#endif
