/* The store of requantize.h on x86-64: four vectors of floats become one vector of bytes. Packing
 * works in parts of 128 bits, so that they come in fours from every vector in turn; a permutation
 * puts them in order. Saturating to 16 bits on the way loses nothing: what is so far off lies past
 * both limits, zero point and all. */
#ifndef PITH_KERNELS_REQUANTIZE_X86_H
#define PITH_KERNELS_REQUANTIZE_X86_H

#include <immintrin.h>
#include <string.h>

#include "libpith/kernels/requantize.h"

#define STORE        static inline __attribute__((always_inline, unused))
#define STORE_256    __attribute__((target("avx2,fma"))) STORE
#define STORE_512    __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq"))) STORE

/* The first `count` bytes, fewer than a vector has lanes; out of the way of the loop. */
static __attribute__((noinline, unused)) void put_some(uint8_t *to, uint64_t bytes, int count)
{
    for (int i = 0; i < count; i++, bytes >>= 8)
        to[i] = (uint8_t) bytes;
}

/* part_*: the first `count` bytes, at most a vector's lanes, of vector i of a packed four. */

STORE __m128i pack_sse2(const __m128 *f,
                                                               const struct pith_requantize *r)
{
    const __m128i zero = _mm_set1_epi16((int16_t) r->zero);
    const __m128i a = _mm_packs_epi32(_mm_cvtps_epi32(f[0]), _mm_cvtps_epi32(f[1])),
                  b = _mm_packs_epi32(_mm_cvtps_epi32(f[2]), _mm_cvtps_epi32(f[3]));
    const __m128i q = _mm_packus_epi16(_mm_adds_epi16(a, zero), _mm_adds_epi16(b, zero));

    return _mm_min_epu8(_mm_max_epu8(q, _mm_set1_epi8((char) r->low)),
                        _mm_set1_epi8((char) r->high));
}

STORE void part_sse2(uint8_t *to, __m128i q, int i,
                                                            int count)
{
    const __m128i at = i == 0   ? q
                       : i == 1 ? _mm_srli_si128(q, 4)
                       : i == 2 ? _mm_srli_si128(q, 8)
                                : _mm_srli_si128(q, 12);
    const int32_t bytes = _mm_cvtsi128_si32(at);

    if (count == 4)
        memcpy(to, &bytes, 4);
    else
        put_some(to, (uint32_t) bytes, count);
}
STORE_256 __m256i
pack_256(const __m256 *f, const struct pith_requantize *r)
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i zero = _mm256_set1_epi16((int16_t) r->zero);
    const __m256i a = _mm256_packs_epi32(_mm256_cvtps_epi32(f[0]), _mm256_cvtps_epi32(f[1])),
                  b = _mm256_packs_epi32(_mm256_cvtps_epi32(f[2]), _mm256_cvtps_epi32(f[3]));
    __m256i q = _mm256_packus_epi16(_mm256_adds_epi16(a, zero), _mm256_adds_epi16(b, zero));

    q = _mm256_max_epu8(q, _mm256_set1_epi8((char) r->low));
    q = _mm256_min_epu8(q, _mm256_set1_epi8((char) r->high));
    return _mm256_permutevar8x32_epi32(q, order);
}

STORE_256 void part_256(uint8_t *to, __m256i q, int i,
                                                                  int count)
{
    const int64_t bytes = i == 0   ? _mm256_extract_epi64(q, 0)
                          : i == 1 ? _mm256_extract_epi64(q, 1)
                          : i == 2 ? _mm256_extract_epi64(q, 2)
                                   : _mm256_extract_epi64(q, 3);

    if (count == 8)
        memcpy(to, &bytes, 8);
    else
        put_some(to, (uint64_t) bytes, count);
}

STORE_512 __m512i
pack_512(const __m512 *f, const struct pith_requantize *r)
{
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i zero = _mm512_set1_epi16((int16_t) r->zero);
    const __m512i a = _mm512_packs_epi32(_mm512_cvtps_epi32(f[0]), _mm512_cvtps_epi32(f[1])),
                  b = _mm512_packs_epi32(_mm512_cvtps_epi32(f[2]), _mm512_cvtps_epi32(f[3]));
    __m512i q = _mm512_packus_epi16(_mm512_adds_epi16(a, zero), _mm512_adds_epi16(b, zero));

    q = _mm512_max_epu8(q, _mm512_set1_epi8((char) r->low));
    q = _mm512_min_epu8(q, _mm512_set1_epi8((char) r->high));
    return _mm512_permutexvar_epi32(order, q);
}

STORE_512 void part_512(uint8_t *to, __m512i q, int i,
                                                                  int count)
{
    const __m128i bytes = i == 0   ? _mm512_castsi512_si128(q)
                          : i == 1 ? _mm512_extracti32x4_epi32(q, 1)
                          : i == 2 ? _mm512_extracti32x4_epi32(q, 2)
                                   : _mm512_extracti32x4_epi32(q, 3);

    _mm_mask_storeu_epi8(to, (__mmask16) (0xFFFFU >> (16 - count)), bytes);
}

#undef STORE
#undef STORE_256
#undef STORE_512
#endif
