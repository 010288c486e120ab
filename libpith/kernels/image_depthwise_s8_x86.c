/* Depthwise channels-last integer convolution: the loops for x86-64. */
#include "libpith/kernels/image_depthwise_s8.h"

#include <string.h>

#if defined __x86_64__
#include "libpith/kernels/requantize_x86.h"

#define AVX512 "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq"

#define FORM(name) name##_sse2
#define TARGET
#define MM     _mm
#define WIDTH  128
#define HALVES 2
#define MASKED 0
#include "libpith/kernels/image_depthwise_s8_x86.h"

#define FORM(name) name##_avx2
#define TARGET     __attribute__((target("avx2,fma")))
#define MM         _mm256
#define WIDTH      256
#define HALVES     2
#define MASKED     0
#include "libpith/kernels/image_depthwise_s8_x86.h"

#define FORM(name) name##_avx512
#define TARGET     __attribute__((target(AVX512)))
#define MM         _mm512
#define WIDTH      512
#define HALVES     2
#define MASKED     1
#include "libpith/kernels/image_depthwise_s8_x86.h"

#define FORM(name) name##_vnni128
#define TARGET     __attribute__((target(AVX512 ",avx512vnni")))
#define MM         _mm
#define WIDTH      128
#define HALVES     1
#define MASKED     1
#include "libpith/kernels/image_depthwise_s8_x86.h"

#define FORM(name) name##_vnni256
#define TARGET     __attribute__((target(AVX512 ",avx512vnni")))
#define MM         _mm256
#define WIDTH      256
#define HALVES     1
#define MASKED     1
#include "libpith/kernels/image_depthwise_s8_x86.h"

#define FORM(name) name##_vnni512
#define TARGET     __attribute__((target(AVX512 ",avx512vnni")))
#define MM         _mm512
#define WIDTH      512
#define HALVES     1
#define MASKED     1
#include "libpith/kernels/image_depthwise_s8_x86.h"

#define TAPS_AND_COLUMNS(bytes, name)                                                              \
    {                                                                                              \
        bytes, taps_##name, columns_##name                                                         \
    }

const struct pith_depthwise_s8_form pith_depthwise_s8_vnni = {
    false,
    {TAPS_AND_COLUMNS(64, vnni512), TAPS_AND_COLUMNS(32, vnni256), TAPS_AND_COLUMNS(16, vnni128)}};
const struct pith_depthwise_s8_form pith_depthwise_s8_avx512 = {
    true, {TAPS_AND_COLUMNS(64, avx512), TAPS_AND_COLUMNS(32, avx2), TAPS_AND_COLUMNS(16, sse2)}};
const struct pith_depthwise_s8_form pith_depthwise_s8_avx2 = {
    true, {TAPS_AND_COLUMNS(32, avx2), TAPS_AND_COLUMNS(16, sse2)}};
const struct pith_depthwise_s8_form pith_depthwise_s8_sse2 = {true, {TAPS_AND_COLUMNS(16, sse2)}};
#endif
