/* Integer convolution past blocks of zeros, for x86-64. */
#include "libpith/kernels/image_sparse_s8.h"

#include <string.h>

#if defined __x86_64__
#include <immintrin.h>

#include "libpith/kernels/requantize_x86.h"

typedef uint8_t sixteen __attribute__((vector_size(16)));
typedef int32_t four_words __attribute__((vector_size(16)));

#define LOW8(a, b)   ((sixteen) _mm_unpacklo_epi8((__m128i) (a), (__m128i) (b)))
#define HIGH8(a, b)  ((sixteen) _mm_unpackhi_epi8((__m128i) (a), (__m128i) (b)))
#define LOW32(a, b)  ((four_words) _mm_unpacklo_epi32((__m128i) (a), (__m128i) (b)))
#define HIGH32(a, b) ((four_words) _mm_unpackhi_epi32((__m128i) (a), (__m128i) (b)))

#define FORM(name) name##_sse2
#define TARGET
#define LANES          4
#define HALVES         2
#define DOT(sum, x, w) ((sum) + (words_sse2) _mm_madd_epi16((__m128i) (x), (__m128i) (w)))
#define WIDEN(p)       __builtin_convertvector(*(const loose_bytes_sse2 *) (p), words_sse2)
#define NEAREST(f)     ((words_sse2) _mm_cvtps_epi32((__m128) (f)))
#define PACK(to, q, r) _mm_storeu_si128((__m128i *) (to), narrow_128((const __m128i *) (q), r))
typedef uint8_t loose_bytes_sse2 __attribute__((vector_size(4), aligned(1), may_alias));
#include "libpith/kernels/image_sparse_s8_body.h"
#undef FORM
#undef TARGET
#undef LANES
#undef DOT
#undef NEAREST
#undef WIDEN
#undef PACK

#define FORM(name)     name##_avx2
#define TARGET         __attribute__((target("avx2,fma")))
#define LANES          8
#define DOT(sum, x, w) ((sum) + (words_avx2) _mm256_madd_epi16((__m256i) (x), (__m256i) (w)))
#define WIDEN(p)       ((words_avx2) _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *) (p))))
#define NEAREST(f)     ((words_avx2) _mm256_cvtps_epi32((__m256) (f)))
#define PACK(to, q, r)                                                                             \
    _mm256_storeu_si256((__m256i *) (to), in_order_256(narrow_256((const __m256i *) (q), r)))
#include "libpith/kernels/image_sparse_s8_body.h"
#undef FORM
#undef TARGET
#undef LANES
#undef DOT
#undef NEAREST
#undef WIDEN
#undef PACK

#define LANES          16
#define PACK(to, q, r) _mm512_storeu_si512(to, in_order_512(narrow_512((const __m512i *) (q), r)))

#define FORM(name)     name##_avx512
#define TARGET         __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")))
#define DOT(sum, x, w) ((sum) + (words_avx512) _mm512_madd_epi16((__m512i) (x), (__m512i) (w)))
#define WIDEN(p)       ((words_avx512) _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *) (p))))
#define NEAREST(f)     ((words_avx512) _mm512_cvtps_epi32((__m512) (f)))
#include "libpith/kernels/image_sparse_s8_body.h"
#undef FORM
#undef TARGET
#undef HALVES
#undef DOT
#undef NEAREST
#undef WIDEN

#define FORM(name) name##_vnni
#define TARGET     __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))
#define HALVES     1
#define DOT(sum, x, w)                                                                             \
    ((words_vnni) _mm512_dpbusd_epi32((__m512i) (sum), (__m512i) (x), (__m512i) (w)))
#define WIDEN(p)   ((words_vnni) _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *) (p))))
#define NEAREST(f) ((words_vnni) _mm512_cvtps_epi32((__m512) (f)))
#include "libpith/kernels/image_sparse_s8_body.h"

const struct pith_sparse_s8_form pith_sparse_s8_vnni = {
    16, 1, {chunk_1_vnni, chunk_2_vnni, chunk_3_vnni, chunk_4_vnni},
    turn_vnni, {part_1_vnni, part_2_vnni, part_3_vnni, part_4_vnni},
    1.1, 1.4, 2.5, 8, &pith_winograd_s8_large_vnni, 0.68, false};
const struct pith_sparse_s8_form pith_sparse_s8_avx512 = {
    16, 2, {chunk_1_avx512, chunk_2_avx512, chunk_3_avx512, chunk_4_avx512},
    turn_avx512, {part_1_avx512, part_2_avx512, part_3_avx512, part_4_avx512},
    4.4, 5.6, 8, 8, &pith_winograd_s8_large_avx512, 0.37, false};
const struct pith_sparse_s8_form pith_sparse_s8_avx2 = {
    8, 2, {chunk_1_avx2, chunk_2_avx2, chunk_3_avx2, chunk_4_avx2},
    turn_avx2, {part_1_avx2, part_2_avx2, part_3_avx2, part_4_avx2},
    4.4, 5.6, 8, 8, &pith_winograd_s8_large_avx2, 0.35, false};
const struct pith_sparse_s8_form pith_sparse_s8_sse2 = {
    4, 2, {chunk_1_sse2, chunk_2_sse2, chunk_3_sse2, chunk_4_sse2},
    turn_sse2, {part_1_sse2, part_2_sse2, part_3_sse2, part_4_sse2},
    4.4, 5.6, 8, 8, &pith_winograd_s8_large_sse2, 0.4, false};
#endif
