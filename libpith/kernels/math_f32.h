/* exp, sigmoid, tanh, erf, Gelu, Hardswish and activations of many floats at once, for each instruction set. Against the
 * exact value: exp within 2 units in the last place (also subnormal ones), sigmoid within 4 or
 * 2^-126, tanh within 4, erf within 4. Gelu is x / 2 * (1 + erf(x / sqrt(2))), or the form with
 * tanh, evaluated so: towards -inf it keeps an error of 4 units of 1, times x. exp(-inf) = 0,
 * exp(x) = inf past 88.7228, NaN stays NaN, tanh keeps the sign of zero. The plain form is the C
 * library's functions. */
#ifndef PITH_KERNELS_MATH_F32_H
#define PITH_KERNELS_MATH_F32_H

#include <stdint.h>

#include "libpith/kernels/isa.h"
#include "libpith/kernels/kernel.h"

/* y[i] = f(x[i]) for i < count; y may be x. */
typedef void pith_math_run(float *y, const float *x, int64_t count);

struct pith_math_form {
    enum pith_isa isa;
    pith_math_run *exp, *sigmoid, *tanh, *erf, *gelu, *gelu_tanh, *hard_swish;
    /* pith_activate of each, in place */
    void (*activate)(const struct pith_activation *a, float *y, int64_t count);
};

/* The form for pith_isa(). Thread: any. */
const struct pith_math_form *pith_math_form(void);

#endif
