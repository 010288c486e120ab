/* Softmax and layer normalization of rows: the forms for each instruction set. See rows_f32.h. */
#include "libpith/kernels/rows_f32.h"

#include <stddef.h>

#if defined __x86_64__
#include <immintrin.h>

static inline float sum_of_four(__m128 x)
{
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps(x, x, 1)));
}

static inline float most_of_four(__m128 x)
{
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_shuffle_ps(x, x, 1)));
}

#define VECTORS 512
#include "libpith/kernels/rows_f32_body.h"
#define VECTORS 256
#include "libpith/kernels/rows_f32_body.h"
#endif
#define VECTORS 128
#include "libpith/kernels/rows_f32_body.h"

static const struct pith_rows_form forms[] = {
#if defined __x86_64__
    {PITH_ISA_AVX512, 16, exponentials_avx512, multiply_avx512, normalize_avx512},
    {PITH_ISA_AVX2, 8, exponentials_avx2, multiply_avx2, normalize_avx2},
    {PITH_ISA_SSE2, 4, exponentials_128, multiply_128, normalize_128},
#else
    {PITH_ISA_NEON, 4, exponentials_128, multiply_128, normalize_128},
#endif
};

const struct pith_rows_form *pith_rows_form(void)
{
    return PITH_ISA_BEST(forms);
}
