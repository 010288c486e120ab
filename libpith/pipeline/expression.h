/* The map stage's expressions in one variable, such as `x / 10 + 2`: compiled once, evaluated over whole blocks.
 *
 * + - * / with the usual binding, unary minus, parentheses, decimal numbers, the constant pi, the variable x, and
 * abs exp log log2 log10 sqrt tanh sigmoid sin cos floor round relu (one argument), min max pow (two), clip (x, low, high).
 * Text comes from a manifest, thus from outside: length, depth and program size have limits. */
#ifndef PITH_PIPELINE_EXPRESSION_H
#define PITH_PIPELINE_EXPRESSION_H

#include <pith/error.h>
#include <stddef.h>

#define PITH_EXPRESSION_MAX_BYTES 1024

struct pith_expression;

/* -EBADMSG names the character at fault, counted from 1. */
int pith_expression_compile(struct pith_expression **out, const char *text, struct pith_error *err) PITH_CHECKED;
/* y may be x. Arithmetic is float32, IEEE: what overflows or has no answer becomes inf or NaN. Thread: any. */
void pith_expression_run(const struct pith_expression *expression, const float *x, float *y, size_t count);
void pith_expression_free(struct pith_expression *expression);

#endif
