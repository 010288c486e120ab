/* Depthwise channels-last integer convolution: the loops for x86-64. */
#include "libpith/kernels/image_depthwise_s8.h"

#include <string.h>

#if defined __x86_64__
#include "libpith/kernels/requantize_x86.h"

#define AVX512 "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq"

#define FORM(name)      name##_sse2
#define TARGET
#define MM              _mm
#define WIDTH           128
#define PAIRS           1
#define WIDEN(p)        _mm_unpacklo_epi8(_mm_loadl_epi64((const __m128i *) (p)), _mm_setzero_si128())
#define BYTES_OF(words) _mm_packus_epi16(words, words)
#include "libpith/kernels/image_depthwise_s8_x86.h"

#define FORM(name)      name##_avx2
#define TARGET          __attribute__((target("avx2,fma")))
#define MM              _mm256
#define WIDTH           256
#define PAIRS           1
#define WIDEN(p)        _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *) (p)))
#define BYTES_OF(words) _mm256_permute4x64_epi64(_mm256_packus_epi16(words, words), 0x08)
#include "libpith/kernels/image_depthwise_s8_x86.h"

#define FORM(name) name##_avx512
#define TARGET     __attribute__((target(AVX512)))
#define MM         _mm512
#define WIDTH      512
#define PAIRS      1
#define WIDEN(p)   _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *) (p)))
#define BYTES_OF(words)                                                                            \
    _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 0, 2, 4, 6),                            \
                             _mm512_packus_epi16(words, words))
#include "libpith/kernels/image_depthwise_s8_x86.h"

#define FORM(name) name##_vnni128
#define TARGET     __attribute__((target(AVX512 ",avx512vnni")))
#define MM         _mm
#define WIDTH      128
#define PAIRS      0
#include "libpith/kernels/image_depthwise_s8_x86.h"

#define FORM(name) name##_vnni256
#define TARGET     __attribute__((target(AVX512 ",avx512vnni")))
#define MM         _mm256
#define WIDTH      256
#define PAIRS      0
#include "libpith/kernels/image_depthwise_s8_x86.h"

#define FORM(name) name##_vnni512
#define TARGET     __attribute__((target(AVX512 ",avx512vnni")))
#define MM         _mm512
#define WIDTH      512
#define PAIRS      0
#include "libpith/kernels/image_depthwise_s8_x86.h"

#define TAPS_AND_COLUMNS(bytes, name)                                                              \
    {                                                                                              \
        bytes, taps_##name, columns_##name                                                         \
    }

const struct pith_depthwise_s8_form pith_depthwise_s8_vnni = {
    PITH_DEPTHWISE_QUADS,
    {TAPS_AND_COLUMNS(64, vnni512), TAPS_AND_COLUMNS(32, vnni256), TAPS_AND_COLUMNS(16, vnni128)}};
const struct pith_depthwise_s8_form pith_depthwise_s8_avx512 = {
    PITH_DEPTHWISE_PAIRS,
    {TAPS_AND_COLUMNS(32, avx512), TAPS_AND_COLUMNS(16, avx2), TAPS_AND_COLUMNS(8, sse2)}};
const struct pith_depthwise_s8_form pith_depthwise_s8_avx2 = {
    PITH_DEPTHWISE_PAIRS, {TAPS_AND_COLUMNS(16, avx2), TAPS_AND_COLUMNS(8, sse2)}};
const struct pith_depthwise_s8_form pith_depthwise_s8_sse2 = {PITH_DEPTHWISE_PAIRS,
                                                              {TAPS_AND_COLUMNS(8, sse2)}};
#endif
