/* Convolution of 16-bit values with weights of eight, for x86-64: products of pairs of words, which are
 * exact. */
#include "libpith/kernels/image_conv_s16.h"

#include <string.h>

#if defined __x86_64__
#include <immintrin.h>

#define ROW(name, N, isa)    {name##_1_##N##_##isa, name##_2_##N##_##isa, name##_4_##N##_##isa}
#define TWO_ROWS(name, isa)  ROW(name, 1, isa), ROW(name, 2, isa)
#define FOUR_ROWS(name, isa) TWO_ROWS(name, isa), ROW(name, 3, isa), ROW(name, 4, isa)
#define TAPS(isa)                                                                                  \
    {                                                                                              \
        {taps_1_##isa, taps_2_##isa, taps_4_##isa},                                                \
        {                                                                                          \
            ordered_taps_1_##isa, ordered_taps_2_##isa, ordered_taps_4_##isa                       \
        }                                                                                          \
    }

#define VECTORS     2
#define APART(P, N) ((P) * (N) <= 4)

#define FORM(name) name##_sse2
#define TARGET
#define LANES 4
static inline __attribute__((always_inline)) __m128i pairs_of_sse2(const uint8_t *p)
{
    const __m128i bytes = _mm_loadl_epi64((const __m128i *) (const void *) p);

    return _mm_srai_epi16(_mm_unpacklo_epi8(bytes, bytes), 8);
}
#define PAIRS_OF(p)    ((words_sse2) pairs_of_sse2(p))
#define DOT(sum, x, w) ((sum) + (words_sse2) _mm_madd_epi16((__m128i) (x), (__m128i) (w)))
#define NEAREST(f)     ((words_sse2) _mm_cvtps_epi32((__m128) (f)))
#define SHORTS(q)      __builtin_convertvector(q, shorts_sse2)
#define LOW16(a, b)    ((words_sse2) _mm_unpacklo_epi16((__m128i) (a), (__m128i) (b)))
#define HIGH16(a, b)   ((words_sse2) _mm_unpackhi_epi16((__m128i) (a), (__m128i) (b)))
#define PACK(a, b)     ((pairs_sse2) _mm_packs_epi32((__m128i) (a), (__m128i) (b)))
#define WIDE(p)        __builtin_convertvector(*(const loose_shorts_sse2 *) (p), words_sse2)
#define BETWEEN(q, low, high)                                                                      \
    between_sse2((__m128i) (q), _mm_set1_epi32(low), _mm_set1_epi32(high))
static inline __attribute__((always_inline)) __m128i least_sse2(__m128i a, __m128i b)
{
    const __m128i less = _mm_cmplt_epi32(a, b);

    return _mm_or_si128(_mm_and_si128(less, a), _mm_andnot_si128(less, b));
}
typedef int32_t four_words __attribute__((vector_size(16), may_alias));
static inline __attribute__((always_inline)) four_words between_sse2(__m128i q, __m128i low,
                                                                     __m128i high)
{
    const __m128i less = _mm_cmplt_epi32(q, low);

    q = _mm_or_si128(_mm_and_si128(less, low), _mm_andnot_si128(less, q));
    return (four_words) least_sse2(q, high);
}
#include "libpith/kernels/image_conv_s16_body.h"
#undef FORM
#undef TARGET
#undef LANES
#undef PAIRS_OF
#undef DOT
#undef NEAREST
#undef SHORTS
#undef LOW16
#undef HIGH16
#undef PACK
#undef WIDE
#undef BETWEEN

#define FORM(name) name##_avx2
#define TARGET     __attribute__((target("avx2,fma")))
#define LANES      8
#define PAIRS_OF(p)                                                                                \
    ((words_avx2) _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *) (const void *) (p))))
#define DOT(sum, x, w) ((sum) + (words_avx2) _mm256_madd_epi16((__m256i) (x), (__m256i) (w)))
#define NEAREST(f)     ((words_avx2) _mm256_cvtps_epi32((__m256) (f)))
TARGET static inline __attribute__((always_inline)) __m128i shorts_of_avx2(__m256i q)
{
    return _mm_packs_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1));
}
#define SHORTS(q)      ((shorts_avx2) shorts_of_avx2((__m256i) (q)))
#define LOW16(a, b)    ((words_avx2) _mm256_unpacklo_epi16((__m256i) (a), (__m256i) (b)))
#define HIGH16(a, b)   ((words_avx2) _mm256_unpackhi_epi16((__m256i) (a), (__m256i) (b)))
#define PACK(a, b)     ((pairs_avx2) _mm256_packs_epi32((__m256i) (a), (__m256i) (b)))
#define WIDE(p)                                                                                    \
    ((words_avx2) _mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *) (const void *) (p))))
#define BETWEEN(q, low, high)                                                                      \
    ((words_avx2) _mm256_min_epi32(                                                                \
        _mm256_max_epi32((__m256i) (q), _mm256_set1_epi32(low)), _mm256_set1_epi32(high)))
#include "libpith/kernels/image_conv_s16_body.h"
#undef FORM
#undef TARGET
#undef LANES
#undef VECTORS
#undef APART
#undef PAIRS_OF
#undef DOT
#undef NEAREST
#undef SHORTS
#undef LOW16
#undef HIGH16
#undef PACK
#undef WIDE
#undef BETWEEN

#define LANES       16
#define VECTORS     4
#define APART(P, N) ((P) * (N) <= 8)
#define AVX512      "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq"
#define PAIRS_OF(p)                                                                                \
    ((words_512) _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *) (const void *) (p))))
#define SHORTS(q)    ((shorts_512) _mm512_cvtepi32_epi16((__m512i) (q)))
#define LOW16(a, b)  ((words_512) _mm512_unpacklo_epi16((__m512i) (a), (__m512i) (b)))
#define HIGH16(a, b) ((words_512) _mm512_unpackhi_epi16((__m512i) (a), (__m512i) (b)))
#define PACK(a, b)   ((pairs_512) _mm512_packs_epi32((__m512i) (a), (__m512i) (b)))
#define WIDE(p)                                                                                    \
    ((words_512) _mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i *) (const void *) (p))))
#define BETWEEN(q, low, high)                                                                      \
    ((words_512) _mm512_min_epi32(                                                                 \
        _mm512_max_epi32((__m512i) (q), _mm512_set1_epi32(low)), _mm512_set1_epi32(high)))
typedef int32_t words_512 __attribute__((vector_size(64), may_alias));
typedef int16_t shorts_512 __attribute__((vector_size(32)));
typedef int16_t pairs_512 __attribute__((vector_size(64)));

#define FORM(name)     name##_avx512
#define TARGET         __attribute__((target(AVX512)))
#define DOT(sum, x, w) ((sum) + (words_avx512) _mm512_madd_epi16((__m512i) (x), (__m512i) (w)))
#define NEAREST(f)     ((words_avx512) _mm512_cvtps_epi32((__m512) (f)))
#include "libpith/kernels/image_conv_s16_body.h"
#undef FORM
#undef TARGET
#undef DOT
#undef NEAREST

#define FORM(name) name##_vnni
#define TARGET     __attribute__((target(AVX512 ",avx512vnni")))
#define DOT(sum, x, w)                                                                             \
    ((words_vnni) _mm512_dpwssd_epi32((__m512i) (sum), (__m512i) (x), (__m512i) (w)))
#define NEAREST(f) ((words_vnni) _mm512_cvtps_epi32((__m512) (f)))
#include "libpith/kernels/image_conv_s16_body.h"

static const struct pith_conv_s16_form
    vnni = {"words avx512vnni", "depthwise words avx512vnni", PITH_ISA_AVX512_VNNI, 16, 4,
            {{FOUR_ROWS(tile, vnni)}, {FOUR_ROWS(long, vnni)}}, TAPS(vnni)},
    avx512 = {"words avx512", "depthwise words avx512", PITH_ISA_AVX512, 16, 4,
              {{FOUR_ROWS(tile, avx512)}, {FOUR_ROWS(long, avx512)}}, TAPS(avx512)},
    avx2 = {"words avx2", "depthwise words avx2", PITH_ISA_AVX2, 8, 2,
            {{TWO_ROWS(tile, avx2)}, {TWO_ROWS(long, avx2)}}, TAPS(avx2)},
    sse2 = {"words sse2", "depthwise words sse2", PITH_ISA_SSE2, 4, 2,
            {{TWO_ROWS(tile, sse2)}, {TWO_ROWS(long, sse2)}}, TAPS(sse2)};

const struct pith_conv_s16_form *const pith_conv_s16_forms[] = {&vnni, &avx512, &avx2, &sse2, NULL};
#else
const struct pith_conv_s16_form *const pith_conv_s16_forms[] = {NULL};
#endif
