/* Integer products with weights of four bits, for x86-64. With a dot product of bytes, weights meet
 * it 16 times as great as they are, in the upper half of a byte, which takes one or two
 * instructions to get; sums are exact multiples of 16 then, and within the limits of int8 weights.
 * Without one, pairs of products are added up in 16 bits, eight times, before they are made wide. SSE2
 * has no such product: words are shifted, which keeps their sign. */
#include "libpith/kernels/image_int4_s8.h"

#include <string.h>

#if defined __x86_64__
#include "libpith/kernels/requantize_x86.h"

#define ROW(name, N, isa) {name##_1_##N##_##isa, name##_2_##N##_##isa, name##_4_##N##_##isa}
#define TWO_ROWS(name, isa)  ROW(name, 1, isa), ROW(name, 2, isa)
#define FOUR_ROWS(name, isa) TWO_ROWS(name, isa), ROW(name, 3, isa), ROW(name, 4, isa)

/* [first quad: even places, odd places; second quad: the same] */
#define MAKE_WORDS(left, right, packed, b)                                                         \
    do {                                                                                           \
        (b)[0] = right(left(packed, 12));                                                          \
        (b)[1] = right(left(packed, 8));                                                           \
        (b)[2] = right(left(packed, 4));                                                           \
        (b)[3] = right(packed);                                                                    \
    } while (0)
#define SUM(sum) (sum)

#define VECTORS     2
#define HALVES      2
#define APART(P, N) ((P) * (N) <= 4)

#define FORM(name) name##_sse2
#define TARGET
#define LANES 4
typedef __m128i packed_sse2;
#define PACK(f, r) pack_128((const __m128 *) (f), r)
#define PART       part_128
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
#undef PACK
#undef PART
#undef MAKE_WIDE
#undef HALVES
#undef APART
#undef DOT
#undef NEAREST
#undef WIDEN

/* A pair of products is at most 2 * 255 * 8: 16 bits hold eight of them. */
#define NARROW_QUADS   8
#define HALVES         1
#define SPLIT(four, h) (four)

#define FORM(name) name##_avx2
#define TARGET     __attribute__((target("avx2,fma")))
#define LANES      8
#define APART(P, N) 0
typedef __m256i packed_avx2;
#define PACK(f, r) pack_256((const __m256 *) (f), r)
#define PART       part_256
/* A table makes four bits a signed byte. */
#define MAKE_WIDE(packed, b)                                                                       \
    do {                                                                                           \
        const __m256i low = _mm256_set1_epi8(15),                                                  \
                      table = _mm256_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, \
                                               -1, 0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, \
                                               -2, -1);                                            \
                                                                                                   \
        (b)[0] = (words_avx2) _mm256_shuffle_epi8(table,                                           \
                                                  _mm256_and_si256((__m256i) (packed), low));      \
        (b)[1] = (words_avx2) _mm256_shuffle_epi8(                                                 \
            table, _mm256_and_si256(_mm256_srli_epi16((__m256i) (packed), 4), low));               \
    } while (0)
#define DOT(sum, x, w)                                                                             \
    ((words_avx2) _mm256_add_epi16((__m256i) (sum),                                                \
                                   _mm256_maddubs_epi16((__m256i) (x), (__m256i) (w))))
#define WIDE_SUM(narrow)                                                                           \
    ((words_avx2) _mm256_madd_epi16((__m256i) (narrow), _mm256_set1_epi16(1)))
#define NEAREST(f) ((words_avx2) _mm256_cvtps_epi32((__m256) (f)))
#define WIDEN(p)   ((words_avx2) _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *) (p))))
#include "libpith/kernels/image_int4_s8_body.h"
#undef FORM
#undef TARGET
#undef LANES
#undef MAKE_WIDE
#undef VECTORS
#undef PACK
#undef PART
#undef DOT
#undef WIDE_SUM
#undef NEAREST
#undef WIDEN

#define LANES      16
#define VECTORS    4
#define PACK(f, r) pack_512((const __m512 *) (f), r)
#define PART       part_512
typedef __m512i packed_avx512, packed_vnni;

#define FORM(name) name##_avx512
#define TARGET     __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")))
#define MAKE_WIDE(packed, b)                                                                       \
    do {                                                                                           \
        const __m512i low = _mm512_set1_epi8(15),                                                  \
                      table = _mm512_broadcast_i32x4(_mm_setr_epi8(                                \
                          0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1));                \
                                                                                                   \
        (b)[0] = (words_avx512) _mm512_shuffle_epi8(table,                                         \
                                                    _mm512_and_si512((__m512i) (packed), low));    \
        (b)[1] = (words_avx512) _mm512_shuffle_epi8(                                               \
            table, _mm512_and_si512(_mm512_srli_epi16((__m512i) (packed), 4), low));               \
    } while (0)
#define DOT(sum, x, w)                                                                             \
    ((words_avx512) _mm512_add_epi16((__m512i) (sum),                                              \
                                     _mm512_maddubs_epi16((__m512i) (x), (__m512i) (w))))
#define WIDE_SUM(narrow)                                                                           \
    ((words_avx512) _mm512_madd_epi16((__m512i) (narrow), _mm512_set1_epi16(1)))
#define NEAREST(f) ((words_avx512) _mm512_cvtps_epi32((__m512) (f)))
#define WIDEN(p)   ((words_avx512) _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *) (p))))
#include "libpith/kernels/image_int4_s8_body.h"
#undef FORM
#undef TARGET
#undef APART
#undef MAKE_WIDE
#undef NARROW_QUADS
#undef WIDE_SUM
#undef SUM
#undef DOT
#undef NEAREST
#undef WIDEN

#define FORM(name)  name##_vnni
#define TARGET      __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))
#define APART(P, N) ((P) * (N) <= 8)
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
    16, 4, PITH_INT4_BYTES, 128, 64, {{FOUR_ROWS(tile, vnni)}, {FOUR_ROWS(blocks, vnni)}}};
const struct pith_int4_s8_form pith_int4_s8_avx512 = {
    16, 4, PITH_INT4_BYTES, 64, 1, {{FOUR_ROWS(tile, avx512)}, {FOUR_ROWS(blocks, avx512)}}};
const struct pith_int4_s8_form pith_int4_s8_avx2 = {
    8, 2, PITH_INT4_BYTES, 64, 1, {{TWO_ROWS(tile, avx2)}, {TWO_ROWS(blocks, avx2)}}};
const struct pith_int4_s8_form pith_int4_s8_sse2 = {
    4, 2, PITH_INT4_WORDS, INT64_MAX, 1, {{TWO_ROWS(tile, sse2)}, {TWO_ROWS(blocks, sse2)}}};
#endif
