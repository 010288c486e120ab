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

static const struct pith_math_form forms[] = {
#if defined __x86_64__
    {PITH_ISA_AVX512, exp_avx512, sigmoid_avx512, tanh_avx512, erf_avx512, gelu_avx512,
     gelu_tanh_avx512},
    {PITH_ISA_AVX2, exp_avx2, sigmoid_avx2, tanh_avx2, erf_avx2, gelu_avx2, gelu_tanh_avx2},
    {PITH_ISA_SSE2, exp_128, sigmoid_128, tanh_128, erf_128, gelu_128, gelu_tanh_128},
#elif defined __aarch64__
    {PITH_ISA_NEON, exp_128, sigmoid_128, tanh_128, erf_128, gelu_128, gelu_tanh_128},
#endif
    {PITH_ISA_PLAIN, exp_plain, sigmoid_plain, tanh_plain, erf_plain, gelu_plain, gelu_tanh_plain},
};

const struct pith_math_form *pith_math_form(void)
{
    const size_t last = sizeof forms / sizeof *forms - 1;

    for (size_t f = 0; f < last; f++)
        if (pith_isa_includes(pith_isa(), forms[f].isa))
            return &forms[f];
    return &forms[last];
}
