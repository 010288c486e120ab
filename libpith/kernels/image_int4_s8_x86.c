/* Integer products with weights of four bits, for x86-64. With a dot product of bytes, weights meet
 * it 16 times as great as they are, in the upper half of a byte, which takes one or two
 * instructions to get; sums are exact multiples of 16 then, and within the limits of int8 weights.
 * Words are shifted, which keeps their sign. */
#include "libpith/kernels/image_int4_s8.h"

#include <string.h>

#if defined __x86_64__
#include <immintrin.h>

#define TILE_ROW(N, isa)                                                                           \
    {                                                                                              \
        tile_1_##N##_##isa, tile_2_##N##_##isa, tile_4_##N##_##isa                                 \
    }

/* [first quad: even places, odd places; second quad: the same] */
#define MAKE_WORDS(left, right, packed, b)                                                         \
    do {                                                                                           \
        (b)[0] = right(left(packed, 12));                                                          \
        (b)[1] = right(left(packed, 8));                                                           \
        (b)[2] = right(left(packed, 4));                                                           \
        (b)[3] = right(packed);                                                                    \
    } while (0)
#define SUM(sum) (sum)

#define VECTORS 2
#define HALVES  2

#define FORM(name) name##_sse2
#define TARGET
#define LANES 4
#define SPLIT(four, h)                                                                             \
    ((h) == 0 ? (words_sse2) _mm_and_si128((__m128i) (four), _mm_set1_epi16(0xFF))                 \
              : (words_sse2) _mm_srli_epi16((__m128i) (four), 8))
#define LEFT(v, by)          _mm_slli_epi16((__m128i) (v), by)
#define RIGHT(v)             ((words_sse2) _mm_srai_epi16((__m128i) (v), 12))
#define MAKE_WIDE(packed, b) MAKE_WORDS(LEFT, RIGHT, packed, b)
#define DOT(sum, x, w)       ((sum) + (words_sse2) _mm_madd_epi16((__m128i) (x), (__m128i) (w)))
#define NEAREST(f)           ((words_sse2) _mm_cvtps_epi32((__m128) (f)))
#define WIDEN(p)             __builtin_convertvector(*(const loose_bytes_sse2 *) (p), words_sse2)
typedef uint8_t loose_bytes_sse2 __attribute__((vector_size(4), aligned(1), may_alias));
#include "libpith/kernels/image_int4_s8_body.h"
#undef FORM
#undef TARGET
#undef LANES
#undef SPLIT
#undef LEFT
#undef RIGHT
#undef DOT
#undef NEAREST
#undef WIDEN

#define FORM(name) name##_avx2
#define TARGET     __attribute__((target("avx2,fma")))
#define LANES      8
#define SPLIT(four, h)                                                                             \
    ((h) == 0 ? (words_avx2) _mm256_and_si256((__m256i) (four), _mm256_set1_epi16(0xFF))           \
              : (words_avx2) _mm256_srli_epi16((__m256i) (four), 8))
#define LEFT(v, by)    _mm256_slli_epi16((__m256i) (v), by)
#define RIGHT(v)       ((words_avx2) _mm256_srai_epi16((__m256i) (v), 12))
#define DOT(sum, x, w) ((sum) + (words_avx2) _mm256_madd_epi16((__m256i) (x), (__m256i) (w)))
#define NEAREST(f)     ((words_avx2) _mm256_cvtps_epi32((__m256) (f)))
#define WIDEN(p)       ((words_avx2) _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *) (p))))
#include "libpith/kernels/image_int4_s8_body.h"
#undef FORM
#undef TARGET
#undef LANES
#undef SPLIT
#undef LEFT
#undef RIGHT
#undef VECTORS
#undef DOT
#undef NEAREST
#undef WIDEN

#define LANES   16
#define VECTORS 4

#define FORM(name) name##_avx512
#define TARGET     __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")))
#define SPLIT(four, h)                                                                             \
    ((h) == 0 ? (words_avx512) _mm512_and_si512((__m512i) (four), _mm512_set1_epi16(0xFF))         \
              : (words_avx512) _mm512_srli_epi16((__m512i) (four), 8))
#define LEFT(v, by)    _mm512_slli_epi16((__m512i) (v), by)
#define RIGHT(v)       ((words_avx512) _mm512_srai_epi16((__m512i) (v), 12))
#define DOT(sum, x, w) ((sum) + (words_avx512) _mm512_madd_epi16((__m512i) (x), (__m512i) (w)))
#define NEAREST(f)     ((words_avx512) _mm512_cvtps_epi32((__m512) (f)))
#define WIDEN(p)       ((words_avx512) _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *) (p))))
#include "libpith/kernels/image_int4_s8_body.h"
#undef FORM
#undef TARGET
#undef SPLIT
#undef LEFT
#undef RIGHT
#undef MAKE_WIDE
#undef HALVES
#undef SUM
#undef DOT
#undef NEAREST
#undef WIDEN

#define FORM(name)     name##_vnni
#define TARGET         __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))
#define HALVES         1
#define SPLIT(four, h) (four)
#define MAKE_WIDE(packed, b)                                                                       \
    do {                                                                                           \
        const __m512i upper = _mm512_set1_epi8((char) 0xF0);                                       \
                                                                                                   \
        (b)[0] = (words_vnni) _mm512_and_si512(_mm512_slli_epi16((__m512i) (packed), 4), upper);   \
        (b)[1] = (words_vnni) _mm512_and_si512((__m512i) (packed), upper);                         \
    } while (0)
#define SUM(sum) ((sum) >> 4)
#define DOT(sum, x, w)                                                                             \
    ((words_vnni) _mm512_dpbusd_epi32((__m512i) (sum), (__m512i) (x), (__m512i) (w)))
#define NEAREST(f) ((words_vnni) _mm512_cvtps_epi32((__m512) (f)))
#define WIDEN(p)   ((words_vnni) _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *) (p))))
#include "libpith/kernels/image_int4_s8_body.h"

const struct pith_int4_s8_form pith_int4_s8_vnni = {
    16,
    4,
    PITH_INT4_BYTES,
    {TILE_ROW(1, vnni), TILE_ROW(2, vnni), TILE_ROW(3, vnni), TILE_ROW(4, vnni)}};
const struct pith_int4_s8_form pith_int4_s8_avx512 = {
    16,
    4,
    PITH_INT4_WORDS,
    {TILE_ROW(1, avx512), TILE_ROW(2, avx512), TILE_ROW(3, avx512), TILE_ROW(4, avx512)}};
const struct pith_int4_s8_form pith_int4_s8_avx2 = {
    8, 2, PITH_INT4_WORDS, {TILE_ROW(1, avx2), TILE_ROW(2, avx2)}};
const struct pith_int4_s8_form pith_int4_s8_sse2 = {
    4, 2, PITH_INT4_WORDS, {TILE_ROW(1, sse2), TILE_ROW(2, sse2)}};
#endif
