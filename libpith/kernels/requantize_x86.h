/* The store of requantize.h on x86-64: four vectors of int32 or of floats become one vector of
 * bytes, with the zero point added and limited. Saturating to 16 bits on the way loses nothing:
 * what is so far off lies past both limits, zero point and all. */
#ifndef PITH_KERNELS_REQUANTIZE_X86_H
#define PITH_KERNELS_REQUANTIZE_X86_H

#include <immintrin.h>
#include <string.h>

#include "libpith/kernels/requantize.h"

#define STORE     static inline __attribute__((always_inline, unused))
#define STORE_256 __attribute__((target("avx2,fma"))) STORE
#define STORE_512 __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq"))) STORE

/* The first `count` bytes, fewer than a vector has lanes; out of the way of the loop. */
static __attribute__((noinline, unused)) void put_some(uint8_t *to, uint64_t bytes, int count)
{
    for (int i = 0; i < count; i++, bytes >>= 8)
        to[i] = (uint8_t) bytes;
}

/* narrow_*: in the order in which packing leaves them, which works in parts of 128 bits: fours from
 * every vector in turn. pack_*: floats, rounded half to even, in their own order. */
#define NARROW(width, mm, target)                                                                  \
    target __m##width##i narrow_##width(const __m##width##i *q, const struct pith_requantize *r)   \
    {                                                                                              \
        const __m##width##i zero = mm##_set1_epi16((int16_t) r->zero),                             \
                            low = mm##_set1_epi8((char) r->low),                                   \
                            high = mm##_set1_epi8((char) r->high);                                 \
        __m##width##i a = mm##_packs_epi32(q[0], q[1]), b = mm##_packs_epi32(q[2], q[3]);          \
                                                                                                   \
        if (r->zero != 0) {                                                                        \
            a = mm##_adds_epi16(a, zero);                                                          \
            b = mm##_adds_epi16(b, zero);                                                          \
        }                                                                                          \
        a = mm##_packus_epi16(a, b);                                                               \
        return r->limits ? mm##_min_epu8(mm##_max_epu8(a, low), high) : a;                         \
    }                                                                                              \
                                                                                                   \
    target __m##width##i pack_##width(const __m##width *f, const struct pith_requantize *r)        \
    {                                                                                              \
        const __m##width##i q[4] = {mm##_cvtps_epi32(f[0]), mm##_cvtps_epi32(f[1]),                \
                                    mm##_cvtps_epi32(f[2]), mm##_cvtps_epi32(f[3])};               \
                                                                                                   \
        return in_order_##width(narrow_##width(q, r));                                             \
    }

STORE __m128i in_order_128(__m128i narrowed)
{
    return narrowed;
}

STORE_256 __m256i in_order_256(__m256i narrowed)
{
    return _mm256_permutevar8x32_epi32(narrowed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

STORE_512 __m512i in_order_512(__m512i narrowed)
{
    return _mm512_permutexvar_epi32(
        _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), narrowed);
}

NARROW(128, _mm, STORE)
NARROW(256, _mm256, STORE_256)
NARROW(512, _mm512, STORE_512)

/* part_*: the first `count` bytes, at most a vector's lanes, of vector i of a packed four. */
STORE void part_128(uint8_t *to, __m128i q, int i, int count)
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
STORE_256 void part_256(uint8_t *to, __m256i q, int i, int count)
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

STORE_512 void part_512(uint8_t *to, __m512i q, int i, int count)
{
    const __m128i bytes = i == 0   ? _mm512_castsi512_si128(q)
                          : i == 1 ? _mm512_extracti32x4_epi32(q, 1)
                          : i == 2 ? _mm512_extracti32x4_epi32(q, 2)
                                   : _mm512_extracti32x4_epi32(q, 3);

    _mm_mask_storeu_epi8(to, (__mmask16) (0xFFFFU >> (16 - count)), bytes);
}

/* Four vectors divided by one number, to what rounds to the same bytes: by multiplying with a
 * reciprocal, which is off by two units in the last place at most. That changes the nearest integer
 * only close to the middle between two; divides where a quotient is there. Quotients past 512, where
 * a unit is more than the distance, end at the limits of bytes. */
#define FROM_MIDDLE 0x1p-13F
#define UNROLL_4    _Pragma("GCC unroll 4")

STORE_256 void quotients_256(__m256 *f, float by)
{
    const __m256 reciprocal = _mm256_set1_ps(1.0F / by), most = _mm256_set1_ps(0.5F - FROM_MIDDLE),
                 sign = _mm256_set1_ps(-0.0F);
    __m256 close = _mm256_setzero_ps();
    __m256 q[4];

    UNROLL_4 for (int i = 0; i < 4; i++)
    {
        q[i] = _mm256_mul_ps(f[i], reciprocal);
        const __m256 off = _mm256_sub_ps(
            q[i], _mm256_round_ps(q[i], _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));

        close = _mm256_or_ps(close, _mm256_cmp_ps(_mm256_andnot_ps(sign, off), most, _CMP_NLE_UQ));
    }
    if (__builtin_expect(_mm256_movemask_ps(close) != 0, 0)) {
        UNROLL_4 for (int i = 0; i < 4; i++) q[i] = _mm256_div_ps(f[i], _mm256_set1_ps(by));
        __asm__ volatile(""); /* or both would be computed each time */
    }
    UNROLL_4 for (int i = 0; i < 4; i++) f[i] = q[i];
}

STORE_512 void quotients_512(__m512 *f, float by)
{
    const __m512 reciprocal = _mm512_set1_ps(1.0F / by), most = _mm512_set1_ps(0.5F - FROM_MIDDLE);
    __mmask16 close = 0;
    __m512 q[4];

    UNROLL_4 for (int i = 0; i < 4; i++)
    {
        q[i] = _mm512_mul_ps(f[i], reciprocal);
        close |= _mm512_cmp_ps_mask(
            _mm512_abs_ps(_mm512_reduce_ps(q[i], _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)),
            most, _CMP_NLE_UQ);
    }
    if (__builtin_expect(close != 0, 0)) {
        UNROLL_4 for (int i = 0; i < 4; i++) q[i] = _mm512_div_ps(f[i], _mm512_set1_ps(by));
        __asm__ volatile("");
    }
    UNROLL_4 for (int i = 0; i < 4; i++) f[i] = q[i];
}

#undef NARROW
#undef STORE
#undef STORE_256
#undef STORE_512
#undef FROM_MIDDLE
#undef UNROLL_4
#endif
