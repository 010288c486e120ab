/* Dense channels-last integer convolution: the tiles for x86-64. Without a dot product of bytes,
 * activations are split into 16-bit pairs and meet weights made 16 bits wide: pmaddwd is exact,
 * where pmaddubsw would limit its sums. */
#include "libpith/kernels/image_dense_s8.h"
#include "libpith/kernels/image_winograd_s8.h"

#include <string.h>

#if defined __x86_64__
#include "libpith/kernels/requantize_x86.h"

#define AVX512 "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq"

/* For Winograd's form: with unsigned sums, as they may wrap. */
#define STORED uint8_t
#define PLANES false
#define DIRECT 13
#define ADD_PRODUCTS(sum, x, w)                                                                    \
    ((FORM(sums)) (sum) + (FORM(sums)) DOT(((FORM(words)){0}), (OPERAND) (x), w))

#define ADD_PAIR ADD_PRODUCTS

#define FORM(name) name##_sse2
#define TARGET
#define LANES   4
#define TILE    2
#define HALVES  2
#define OPERAND __m128i
#define SPLIT(four, h)                                                                             \
    ((h) == 0 ? _mm_and_si128((__m128i) (four), _mm_set1_epi16(0xFF))                              \
              : _mm_srli_epi16((__m128i) (four), 8))
#define DOT(sum, x, w) ((sum) + (words_sse2) _mm_madd_epi16(x, w))
#define NEAREST(f)     ((words_sse2) _mm_cvtps_epi32((__m128) (f)))
#define WIDEN(p)       __builtin_convertvector(*(const loose_bytes_sse2 *) (p), words_sse2)
#define LEAST(a, b)    ((vector_sse2) _mm_min_ps((__m128) (b), (__m128) (a)))
#define MOST(a, b)     ((vector_sse2) _mm_max_ps((__m128) (b), (__m128) (a)))
#define PACK(f, r)     pack_128((const __m128 *) (f), r)
#define PART           part_128
#define NARROWS_BY_PACK
typedef uint8_t loose_bytes_sse2 __attribute__((vector_size(4), aligned(1), may_alias));

#define RIVAL          &pith_winograd_s8_sse2
#include "libpith/kernels/image_dense_s8_body.h"
#include "libpith/kernels/image_winograd_s8_body.h"
#undef RIVAL
#undef FORM
#undef TARGET
#undef LANES
#undef TILE
#undef OPERAND
#undef SPLIT
#undef DOT
#undef NEAREST
#undef WIDEN
#undef PACK
#undef PART

/* ---- 256 bits ---- */

#define TARGET  __attribute__((target("avx2,fma")))
#define LANES   8
#define OPERAND __m256i

#define FORM(name) name##_avx2
#define TILE       2
#define SPLIT(four, h)                                                                             \
    ((h) == 0 ? _mm256_and_si256((__m256i) (four), _mm256_set1_epi16(0xFF))                        \
              : _mm256_srli_epi16((__m256i) (four), 8))
#define DOT(sum, x, w)   ((sum) + (words_avx2) _mm256_madd_epi16(x, w))
#define NEAREST(f)       ((words_avx2) _mm256_cvtps_epi32((__m256) (f)))
#define WIDEN(p)         ((words_avx2) _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *) (p))))
#define LEAST(a, b)      ((vector_avx2) _mm256_min_ps((__m256) (b), (__m256) (a)))
#define MOST(a, b)       ((vector_avx2) _mm256_max_ps((__m256) (b), (__m256) (a)))
#define QUOTIENTS(f, by) quotients_256((__m256 *) (f), by)
#define PACK(f, r)       pack_256((const __m256 *) (f), r)
#define PART             part_256
#define HALF(to, q, i)   _mm_storeu_si128((__m128i *) (to), _mm256_extracti128_si256(q, i))
#define RIVAL          &pith_winograd_s8_avx2
#include "libpith/kernels/image_dense_s8_body.h"
#include "libpith/kernels/image_winograd_s8_body.h"
#undef RIVAL
#undef FORM
#undef TARGET
#undef NARROWS_BY_PACK
#undef TILE
#undef HALVES
#undef SPLIT
#undef DOT
#undef NEAREST
#undef WIDEN

/* Half as wide as it could be, for as few channels as would leave lanes idle. */
#define FORM(name) name##_vnni256
#define WIDE_TILE
#define TARGET           __attribute__((target(AVX512 ",avx512vnni")))
#define TILE             4
#define HALVES           1
#define SPLIT(four, h)   ((__m256i) (four))
#define DOT(sum, x, w)   ((words_vnni256) _mm256_dpbusd_epi32((__m256i) (sum), x, w))
#define NEAREST(f)       ((words_vnni256) _mm256_cvtps_epi32((__m256) (f)))
#define WIDEN(p)         ((words_vnni256) _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *) (p))))
#define LEAST(a, b)      ((vector_vnni256) _mm256_min_ps((__m256) (b), (__m256) (a)))
#define MOST(a, b)       ((vector_vnni256) _mm256_max_ps((__m256) (b), (__m256) (a)))
#define QUOTIENTS(f, by) quotients_256((__m256 *) (f), by)
#undef DIRECT
#undef ADD_PAIR
#define DIRECT 5
#define ADD_PAIR(sum, x, w) _mm256_dpwssd_epi32((__m256i) (sum), (__m256i) (x), w)
#define LARGE_ONLY
#define RIVAL &pith_winograd_s8_large_vnni
#include "libpith/kernels/image_dense_s8_body.h"
#include "libpith/kernels/image_winograd_s8_body.h"
#undef LARGE_ONLY
#undef RIVAL
#undef DIRECT
#undef ADD_PAIR
#define DIRECT 13
#define ADD_PAIR ADD_PRODUCTS
#undef FORM
#undef TARGET
#undef LANES
#undef TILE
#undef HALVES
#undef OPERAND
#undef SPLIT
#undef DOT
#undef NEAREST
#undef WIDEN
#undef PACK
#undef PART
#undef HALF

#undef WIDE_TILE

/* ---- 512 bits ---- */

#define TARGET  __attribute__((target(AVX512)))
#define LANES   16
#define TILE    4
#define OPERAND __m512i

#define PACK(f, r)     pack_512((const __m512 *) (f), r)
#define PART           part_512
#define HALF(to, q, i) _mm256_storeu_si256((__m256i *) (to), _mm512_extracti64x4_epi64(q, i))

#define FORM(name) name##_avx512
#define HALVES     2
#define SPLIT(four, h)                                                                             \
    ((h) == 0 ? _mm512_and_si512((__m512i) (four), _mm512_set1_epi16(0xFF))                        \
              : _mm512_srli_epi16((__m512i) (four), 8))
#define DOT(sum, x, w)   ((sum) + (words_avx512) _mm512_madd_epi16(x, w))
#define NEAREST(f)       ((words_avx512) _mm512_cvtps_epi32((__m512) (f)))
#define WIDEN(p)         ((words_avx512) _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *) (p))))
#define LEAST(a, b)      ((vector_avx512) _mm512_min_ps((__m512) (b), (__m512) (a)))
#define MOST(a, b)       ((vector_avx512) _mm512_max_ps((__m512) (b), (__m512) (a)))
#define QUOTIENTS(f, by) quotients_512((__m512 *) (f), by)
#define RIVAL          &pith_winograd_s8_avx512
#include "libpith/kernels/image_dense_s8_body.h"
#include "libpith/kernels/image_winograd_s8_body.h"
#undef RIVAL
#undef FORM
#undef TARGET
#undef HALVES
#undef SPLIT
#undef DOT
#undef NEAREST
#undef WIDEN

#define FORM(name) name##_vnni
#define WIDE_TILE
#define TARGET           __attribute__((target(AVX512 ",avx512vnni")))
#define HALVES           1
#define SPLIT(four, h)   ((__m512i) (four))
#define DOT(sum, x, w)   ((words_vnni) _mm512_dpbusd_epi32((__m512i) (sum), x, w))
#define NEAREST(f)       ((words_vnni) _mm512_cvtps_epi32((__m512) (f)))
#define WIDEN(p)         ((words_vnni) _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *) (p))))
#define LEAST(a, b)      ((vector_vnni) _mm512_min_ps((__m512) (b), (__m512) (a)))
#define MOST(a, b)       ((vector_vnni) _mm512_max_ps((__m512) (b), (__m512) (a)))
#define QUOTIENTS(f, by) quotients_512((__m512 *) (f), by)
#undef DIRECT
#undef ADD_PAIR
#define DIRECT 5
#define ADD_PAIR(sum, x, w) _mm512_dpwssd_epi32((__m512i) (sum), (__m512i) (x), w)
#define LARGE_ONLY
#define RIVAL NULL
#include "libpith/kernels/image_dense_s8_body.h"
#include "libpith/kernels/image_winograd_s8_body.h"

const struct pith_dense_s8_form pith_dense_s8_vnni = {16, 4, PITH_DENSE_DOTS, tiles_vnni, 0};
const struct pith_dense_s8_form pith_dense_s8_vnni_narrow = {8, 4, PITH_DENSE_DOTS, tiles_vnni256,
                                                             16};
const struct pith_dense_s8_form pith_dense_s8_avx512 = {16, 4, PITH_DENSE_PAIRS_OF_WORDS,
                                                        tiles_avx512, 0};
const struct pith_dense_s8_form pith_dense_s8_avx2 = {8, 2, PITH_DENSE_PAIRS_OF_WORDS, tiles_avx2,
                                                      0};
const struct pith_dense_s8_form pith_dense_s8_sse2 = {4, 2, PITH_DENSE_PAIRS_OF_WORDS, tiles_sse2,
                                                      0};
#endif
