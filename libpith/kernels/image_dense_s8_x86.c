/* Dense channels-last integer convolution: the tiles for x86-64. Without a dot product of bytes,
 * activations are split into 16-bit pairs and meet weights made 16 bits wide: pmaddwd is exact,
 * where pmaddubsw would limit its sums. */
#include "libpith/kernels/image_dense_s8.h"

#include <string.h>

#if defined __x86_64__
#include <immintrin.h>

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
typedef uint8_t loose_bytes_sse2 __attribute__((vector_size(4), aligned(1), may_alias));
#include "libpith/kernels/image_dense_s8_body.h"
#undef FORM
#undef TARGET
#undef LANES
#undef TILE
#undef OPERAND
#undef SPLIT
#undef DOT
#undef NEAREST
#undef WIDEN

#define FORM(name) name##_avx2
#define TARGET     __attribute__((target("avx2,fma")))
#define LANES      8
#define TILE       2
#define OPERAND    __m256i
#define SPLIT(four, h)                                                                             \
    ((h) == 0 ? _mm256_and_si256((__m256i) (four), _mm256_set1_epi16(0xFF))                        \
              : _mm256_srli_epi16((__m256i) (four), 8))
#define DOT(sum, x, w) ((sum) + (words_avx2) _mm256_madd_epi16(x, w))
#define NEAREST(f)     ((words_avx2) _mm256_cvtps_epi32((__m256) (f)))
#define WIDEN(p)       ((words_avx2) _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *) (p))))
#include "libpith/kernels/image_dense_s8_body.h"
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

/* From here on vectors of 512 bits: four of them, packed, are the bytes of 64 channels of a pixel.
 * Packing works in parts of 128 bits, so the bytes come in fours from every vector in turn; a
 * permutation puts them in order. */
#define LANES   16
#define TILE    4
#define OPERAND __m512i
#define PACK64(name, attribute)                                                                    \
    attribute static inline __attribute__((always_inline)) void name(                              \
        uint8_t *to, const __m512 *f, const struct pith_requantize *r)                             \
    {                                                                                              \
        const __m512i order =                                                                      \
            _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);               \
        const __m512i zero = _mm512_set1_epi16((int16_t) r->zero);                                 \
        const __m512i a = _mm512_packs_epi32(_mm512_cvtps_epi32(f[0]), _mm512_cvtps_epi32(f[1]));  \
        const __m512i b = _mm512_packs_epi32(_mm512_cvtps_epi32(f[2]), _mm512_cvtps_epi32(f[3]));  \
        __m512i q = _mm512_packus_epi16(_mm512_adds_epi16(a, zero), _mm512_adds_epi16(b, zero));   \
                                                                                                   \
        q = _mm512_max_epu8(q, _mm512_set1_epi8((char) r->low));                                   \
        q = _mm512_min_epu8(q, _mm512_set1_epi8((char) r->high));                                  \
        _mm512_storeu_si512(to, _mm512_permutexvar_epi32(order, q));                               \
    }

#define STORE(to, q, count)                                                                        \
    _mm512_mask_cvtepi32_storeu_epi8(to, (__mmask16) (0xFFFFU >> (16 - (count))), (__m512i) (q))

#define FORM(name) name##_avx512
#define TARGET     __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")))
#define HALVES     2
#define SPLIT(four, h)                                                                             \
    ((h) == 0 ? _mm512_and_si512((__m512i) (four), _mm512_set1_epi16(0xFF))                        \
              : _mm512_srli_epi16((__m512i) (four), 8))
#define DOT(sum, x, w) ((sum) + (words_avx512) _mm512_madd_epi16(x, w))
#define NEAREST(f)     ((words_avx512) _mm512_cvtps_epi32((__m512) (f)))
#define WIDEN(p)       ((words_avx512) _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *) (p))))
#define PACK(to, f, r) pack_avx512(to, (const __m512 *) (f), r)
PACK64(pack_avx512, TARGET)
#include "libpith/kernels/image_dense_s8_body.h"
#undef FORM
#undef TARGET
#undef HALVES
#undef SPLIT
#undef DOT
#undef NEAREST
#undef WIDEN
#undef PACK

#define FORM(name)     name##_vnni
#define TARGET         __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))
#define HALVES         1
#define SPLIT(four, h) ((__m512i) (four))
#define DOT(sum, x, w) ((words_vnni) _mm512_dpbusd_epi32((__m512i) (sum), x, w))
#define NEAREST(f)     ((words_vnni) _mm512_cvtps_epi32((__m512) (f)))
#define WIDEN(p)       ((words_vnni) _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *) (p))))
#define PACK(to, f, r) pack_vnni(to, (const __m512 *) (f), r)
PACK64(pack_vnni, TARGET)
#include "libpith/kernels/image_dense_s8_body.h"

const struct pith_dense_s8_form pith_dense_s8_vnni = {16, 4, PITH_DENSE_DOTS, tiles_vnni};
const struct pith_dense_s8_form pith_dense_s8_avx512 = {16, 4, PITH_DENSE_PAIRS_OF_WORDS,
                                                        tiles_avx512};
const struct pith_dense_s8_form pith_dense_s8_avx2 = {8, 2, PITH_DENSE_PAIRS_OF_WORDS, tiles_avx2};
const struct pith_dense_s8_form pith_dense_s8_sse2 = {4, 2, PITH_DENSE_PAIRS_OF_WORDS, tiles_sse2};
#endif
