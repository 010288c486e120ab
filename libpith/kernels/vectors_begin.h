/* Vectors of floats for one instruction set, under names that differ between sets. Loops are
 * written once against these, in a file <what>_body.h, and compiled once per set:
 *
 *     #define VECTORS 512              512: AVX-512, 256: AVX2 and FMA, 128: SSE2 or what else has 128 bits (NEON);
 *                                      257: 256 bits with AVX-512's registers, for what half a vector holds
 *     #include "<what>_body.h"         which begins with this file and ends with vectors_end.h
 *
 * LANES is the floats of a vector, REGISTERS how many vectors the CPU holds, FORM(name) a
 * function's name in this set, TARGET its attribute, INLINE what helpers of a body are declared
 * with. No include guard: it is included several times. */

#include <stdint.h>
#include <string.h>

#include "libpith/kernels/kernel.h"

#if defined __x86_64__
#include <immintrin.h>
#elif defined __aarch64__
#include <arm_neon.h>
#endif

#if VECTORS == 512
#define FORM(name) name##_avx512
#define TARGET     __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")))
#define LANES      16
#define REGISTERS  32
#elif VECTORS == 257
#define FORM(name) name##_avx512vl
#define TARGET     __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")))
#define LANES      8
#define REGISTERS  32
#elif VECTORS == 256
#define FORM(name) name##_avx2
#define TARGET     __attribute__((target("avx2,fma")))
#define LANES      8
#define REGISTERS  16
#else
#define FORM(name) name##_128
#define TARGET
#define LANES 4
#if defined __aarch64__
#define REGISTERS 32
#else
#define REGISTERS 16
#endif
#endif

#define INLINE static inline __attribute__((always_inline, unused)) TARGET

typedef float FORM(vector) __attribute__((vector_size(LANES * 4)));
typedef float FORM(loose) __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int32_t FORM(words) __attribute__((vector_size(LANES * 4)));

INLINE FORM(vector) FORM(load)(const float *from)
{
    return *(const FORM(loose) *) from;
}

INLINE void FORM(store)(float *to, FORM(vector) x)
{
    *(FORM(loose) *) to = x;
}

INLINE FORM(vector) FORM(spread)(float x)
{
#if LANES == 16
    return (FORM(vector)) _mm512_set1_ps(x);
#elif LANES == 8
    return (FORM(vector)) _mm256_set1_ps(x);
#else
    return (FORM(vector)){x, x, x, x};
#endif
}

/* The first `count` lanes, 1 to LANES; memory past them is not touched. */
INLINE void FORM(store_some)(float *to, FORM(vector) x, int count)
{
#if LANES == 16
    _mm512_mask_storeu_ps(to, (__mmask16) ((1U << count) - 1), (__m512) x);
#elif LANES == 8
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);

    _mm256_maskstore_ps(to, _mm256_cmpgt_epi32(_mm256_set1_epi32(count), lane), (__m256) x);
#else
    if (count == LANES) {
        FORM(store)(to, x);
        return;
    }
    to[0] = x[0];
    if (count > 1)
        to[1] = x[1];
    if (count > 2)
        to[2] = x[2];
#endif
}

/* The others are 0. */
INLINE FORM(vector) FORM(load_some)(const float *from, int count)
{
#if LANES == 16
    return (FORM(vector)) _mm512_maskz_loadu_ps((__mmask16) ((1U << count) - 1), from);
#elif LANES == 8
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);

    return (FORM(vector)) _mm256_maskload_ps(from,
                                             _mm256_cmpgt_epi32(_mm256_set1_epi32(count), lane));
#else
    FORM(vector) x = {0};

    if (count == LANES)
        return FORM(load)(from);
    x[0] = from[0];
    if (count > 1)
        x[1] = from[1];
    if (count > 2)
        x[2] = from[2];
    return x;
#endif
}

INLINE FORM(vector) FORM(select)(FORM(words) mask, FORM(vector) yes, FORM(vector) no)
{
    return (FORM(vector))(((FORM(words)) yes & mask) | ((FORM(words)) no & ~mask));
}

/* limit > x ? limit : x, which leaves a NaN in x as it is; and limit < x ? limit : x */
INLINE FORM(vector) FORM(at_least)(FORM(vector) limit, FORM(vector) x)
{
#if LANES == 16
    return (FORM(vector)) _mm512_max_ps((__m512) limit, (__m512) x);
#elif LANES == 8
    return (FORM(vector)) _mm256_max_ps((__m256) limit, (__m256) x);
#elif defined __x86_64__
    return (FORM(vector)) _mm_max_ps((__m128) limit, (__m128) x);
#elif defined __aarch64__
    return (FORM(vector)) vmaxq_f32((float32x4_t) limit, (float32x4_t) x);
#else
    return FORM(select)(limit > x, limit, x);
#endif
}

INLINE FORM(vector) FORM(at_most)(FORM(vector) limit, FORM(vector) x)
{
#if LANES == 16
    return (FORM(vector)) _mm512_min_ps((__m512) limit, (__m512) x);
#elif LANES == 8
    return (FORM(vector)) _mm256_min_ps((__m256) limit, (__m256) x);
#elif defined __x86_64__
    return (FORM(vector)) _mm_min_ps((__m128) limit, (__m128) x);
#elif defined __aarch64__
    return (FORM(vector)) vminq_f32((float32x4_t) limit, (float32x4_t) x);
#else
    return FORM(select)(limit < x, limit, x);
#endif
}

/* pith_activate in every lane */
INLINE FORM(vector) FORM(activate)(const struct pith_activation *a, FORM(vector) x)
{
    if (!a->set)
        return x;
    if (a->slope != 1.0F)
        x = FORM(select)(x < 0.0F, x * a->slope, x);
    x = FORM(at_least)(FORM(spread)(a->low), x);
    return FORM(at_most)(FORM(spread)(a->high), x);
}
