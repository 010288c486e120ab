/* exp, sigmoid, tanh, erf and Gelu: the forms for each instruction set. See math_f32.h. */
#include "libpith/kernels/math_f32.h"

#include <math.h>
#include <stddef.h>

#if defined __x86_64__
#define VECTORS 512
#include "libpith/kernels/math_f32_body.h"
#define VECTORS 256
#include "libpith/kernels/math_f32_body.h"
#endif
#define VECTORS 128
#include "libpith/kernels/math_f32_body.h"

static void exp_plain(float *y, const float *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        y[i] = expf(x[i]);
}

static void sigmoid_plain(float *y, const float *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        y[i] = 1.0F / (1.0F + expf(-x[i]));
}

static void tanh_plain(float *y, const float *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        y[i] = tanhf(x[i]);
}

static void erf_plain(float *y, const float *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        y[i] = erff(x[i]);
}

static void gelu_plain(float *y, const float *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        y[i] = 0.5F * x[i] * (1.0F + erff(x[i] * 0.707106781F));
}

static void gelu_tanh_plain(float *y, const float *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        y[i] = 0.5F * x[i] * (1.0F + tanhf(0.797884561F * (x[i] + 0.044715F * x[i] * x[i] * x[i])));
}

static void hard_swish_plain(float *y, const float *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        y[i] = x[i] * fmaxf(0.0F, fminf(1.0F, x[i] * (1.0F / 6.0F) + 0.5F));
}

static void activate_many_plain(const struct pith_activation *a, float *y, int64_t count)
{
    for (int64_t i = 0; a->set && i < count; i++)
        y[i] = pith_activate(a, y[i]);
}

#define FUNCTIONS(form)                                                                            \
    exp_##form, sigmoid_##form, tanh_##form, erf_##form, gelu_##form, gelu_tanh_##form,            \
        hard_swish_##form, activate_many_##form

static const struct pith_math_form forms[] = {
#if defined __x86_64__
    {PITH_ISA_AVX512, FUNCTIONS(avx512)},
    {PITH_ISA_AVX2, FUNCTIONS(avx2)},
    {PITH_ISA_SSE2, FUNCTIONS(128)},
#elif defined __aarch64__
    {PITH_ISA_NEON, FUNCTIONS(128)},
#endif
    {PITH_ISA_PLAIN, FUNCTIONS(plain)},
};

const struct pith_math_form *pith_math_form(void)
{
    return PITH_ISA_BEST(forms);
}
