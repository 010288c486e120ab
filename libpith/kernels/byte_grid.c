/* See byte_grid.h. */
#include "libpith/kernels/byte_grid.h"

#include <math.h>

/* Nothing depends on what another turn stores: `to` is `from`, or lies elsewhere. */
#if defined __clang__
#define IN_ANY_ORDER _Pragma("clang loop vectorize(assume_safety)")
#define TAKES_NAN    __attribute__((no_sanitize("float-cast-overflow")))
#else
#define IN_ANY_ORDER _Pragma("GCC ivdep")
#define TAKES_NAN
#endif

#define LEAST_SCALE 1e-37F /* whose reciprocal floats hold */

/* low, high: the limits, less the zero point. NaN passes both; every CPU makes an int32 of it whose lower half is 0, so that it
 * becomes the zero point without an instruction of its own. */
TAKES_NAN static inline int16_t word_of(float steps, float low, float high, uint32_t zero)
{
    float q = __builtin_rintf(steps);

    q = q < low ? low : q;
    q = q > high ? high : q;
    return (int16_t) ((uint32_t) (int32_t) q + zero);
}

#define FORM(name) name##_any
#define TARGET
#include "libpith/kernels/byte_grid_body.h"
#undef FORM
#undef TARGET

#if defined __x86_64__
#define FORM(name) name##_avx2
#define TARGET     __attribute__((target("avx2,fma")))
#include "libpith/kernels/byte_grid_body.h"
#undef FORM
#undef TARGET

#define FORM(name) name##_avx512
#define TARGET     __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")))
#include "libpith/kernels/byte_grid_body.h"
#undef FORM
#undef TARGET
#endif

static const struct pith_byte_grid_form forms[] = {
#if defined __x86_64__
    {PITH_ISA_AVX512, flip_avx512, quantize_avx512, from_u8_avx512, from_s8_avx512, scale_u8_avx512, scale_s8_avx512, round_avx512,
     words_of_avx512, from_words_avx512},
    {PITH_ISA_AVX2, flip_avx2, quantize_avx2, from_u8_avx2, from_s8_avx2, scale_u8_avx2, scale_s8_avx2, round_avx2,
     words_of_avx2, from_words_avx2},
#endif
    {PITH_ISA_PLAIN, flip_any, quantize_any, from_u8_any, from_s8_any, scale_u8_any, scale_s8_any, round_any,
     words_of_any, from_words_any},
};

const struct pith_byte_grid_form *pith_byte_grid_form(void)
{
    return PITH_ISA_BEST(forms);
}
