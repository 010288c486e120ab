/* GPTQ: rounds the weights of a row one after the other, each making up for the errors of those
 * before it, as far as the layer's inputs let it. */
#ifndef PITH_QUANTIZE_GPTQ_H
#define PITH_QUANTIZE_GPTQ_H

#include <stddef.h>
#include <stdint.h>

#include <pith/error.h>

#define GPTQ_DAMPING 0.01 /* of the mean diagonal, added to it: the paper's */

/* What is known of one block of columns: h = sum of x x' + damping, permuted and factored. */
struct gptq {
    size_t width;
    size_t *order; /* own: the column at each place of the factor; rounded from the last place on */
    double *factor; /* own: lower, width x width */
    double *carry;  /* own: scratch of a row */
};
/* gram: symmetric, of which the upper half is read; `leading` floats a row. Columns of the greatest
 * diagonal are rounded first. -ENOMEM; -EDOM where it is not positive definite even so (inputs that
 * are not finite). */
int gptq_init(struct gptq *gptq, const float *gram, size_t leading, size_t width) PITH_CHECKED;
void gptq_done(struct gptq *gptq);
/* w, scale, levels: of the block's columns. Frantar et al. 2022, arXiv:2210.17323, in the form of
 * successive interference cancellation, which needs no inverse of h: with h = l l', the error
 * (w - q)' h (w - q) is a sum of squares, of which each depends on the columns rounded so far. */
void gptq_round(struct gptq *gptq, const float *w, const float *scale, int32_t limit,
                int8_t *levels);
/* (w - q)' h (w - q). */
double gptq_error(struct gptq *gptq, const float *w, const float *scale, const int8_t *levels);

#endif
