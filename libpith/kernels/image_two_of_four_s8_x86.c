/* Dense tiles for weights of which two in four are not 0, for x86-64. Every lane of a vector holds
 * the same input, and a shuffle picks for each output channel what its weights meet. */
#include "libpith/kernels/image_two_of_four_s8.h"

#include <string.h>

#if defined __x86_64__
#include "libpith/kernels/requantize_x86.h"

#define AVX512 "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq"

static inline int32_t four_at(const uint8_t *p)
{
    int32_t four;

    memcpy(&four, p, sizeof four);
    return four;
}

static inline int64_t eight_at(const uint8_t *p)
{
    int64_t eight;

    memcpy(&eight, p, sizeof eight);
    return eight;
}

/* ---- 256 bits ---- */

#define FORM(name) name##_avx2
#define TARGET     __attribute__((target("avx2,fma")))
#define LANES      8
#define TILE       2
#define OPERAND    __m256i
#define PICK(places, h)                                                                            \
    _mm256_or_si256((h) == 0 ? (places) : _mm256_srli_epi16(places, 8),                            \
                    _mm256_set1_epi16((int16_t) 0xFF00)) /* a byte of 0 behind each */
#define INPUT(p, h)      _mm256_set1_epi32(four_at((p) + 4 * (h)))
#define CHOOSE(x, pick)  _mm256_shuffle_epi8(x, pick)
#define DOT(sum, x, w)   ((sum) + (words_avx2) _mm256_madd_epi16(x, w))
#define NEAREST(f)       ((words_avx2) _mm256_cvtps_epi32((__m256) (f)))
#define WIDEN(p)         ((words_avx2) _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *) (p))))
#define LEAST(a, b)      ((vector_avx2) _mm256_min_ps((__m256) (b), (__m256) (a)))
#define MOST(a, b)       ((vector_avx2) _mm256_max_ps((__m256) (b), (__m256) (a)))
#define QUOTIENTS(f, by) quotients_256((__m256 *) (f), by)
#define PACK(f, r)       pack_256((const __m256 *) (f), r)
#define PART             part_256
#define HALF(to, q, i)   _mm_storeu_si128((__m128i *) (to), _mm256_extracti128_si256(q, i))
#include "libpith/kernels/image_dense_s8_body.h"
#undef FORM
#undef TARGET
#undef LANES
#undef TILE
#undef OPERAND
#undef PICK
#undef INPUT
#undef CHOOSE
#undef DOT
#undef NEAREST
#undef WIDEN
#undef PACK
#undef PART
#undef HALF

/* ---- 512 bits ---- */

#define LANES          16
#define TILE           4
#define OPERAND        __m512i
#define PACK(f, r)     pack_512((const __m512 *) (f), r)
#define PART           part_512
#define HALF(to, q, i) _mm256_storeu_si256((__m256i *) (to), _mm512_extracti64x4_epi64(q, i))
#define CHOOSE(x, pick) _mm512_shuffle_epi8(x, pick)

#define FORM(name) name##_avx512
#define TARGET     __attribute__((target(AVX512)))
#define PICK(places, h)                                                                            \
    _mm512_or_si512((h) == 0 ? (places) : _mm512_srli_epi16(places, 8),                            \
                    _mm512_set1_epi16((int16_t) 0xFF00))
#define INPUT(p, h)      _mm512_set1_epi32(four_at((p) + 4 * (h)))
#define DOT(sum, x, w)   ((sum) + (words_avx512) _mm512_madd_epi16(x, w))
#define NEAREST(f)       ((words_avx512) _mm512_cvtps_epi32((__m512) (f)))
#define WIDEN(p)         ((words_avx512) _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *) (p))))
#define LEAST(a, b)      ((vector_avx512) _mm512_min_ps((__m512) (b), (__m512) (a)))
#define MOST(a, b)       ((vector_avx512) _mm512_max_ps((__m512) (b), (__m512) (a)))
#define QUOTIENTS(f, by) quotients_512((__m512 *) (f), by)
#include "libpith/kernels/image_dense_s8_body.h"
#undef FORM
#undef TARGET
#undef PICK
#undef INPUT
#undef DOT
#undef NEAREST
#undef WIDEN

/* Places are below 8 and the fourth bit of each is 0, which is the eighth of the byte: where it is
 * set, a shuffle gives 0. The other upper bits it doesn't look at. */
#define FORM(name)       name##_vnni
#define TARGET           __attribute__((target(AVX512 ",avx512vnni")))
#define PICK(places, h)  ((h) == 0 ? (places) : _mm512_srli_epi16(places, 4))
#define INPUT(p, h)      _mm512_set1_epi64(eight_at((p) + 8 * (h)))
#define DOT(sum, x, w)   ((words_vnni) _mm512_dpbusd_epi32((__m512i) (sum), x, w))
#define NEAREST(f)       ((words_vnni) _mm512_cvtps_epi32((__m512) (f)))
#define WIDEN(p)         ((words_vnni) _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *) (p))))
#define LEAST(a, b)      ((vector_vnni) _mm512_min_ps((__m512) (b), (__m512) (a)))
#define MOST(a, b)       ((vector_vnni) _mm512_max_ps((__m512) (b), (__m512) (a)))
#define QUOTIENTS(f, by) quotients_512((__m512 *) (f), by)
#include "libpith/kernels/image_dense_s8_body.h"

const struct pith_dense_s8_form pith_two_of_four_s8_vnni = {16, 4, PITH_DENSE_TWO_OF_FOUR,
                                                            tiles_vnni, 0};
const struct pith_dense_s8_form pith_two_of_four_s8_avx512 = {16, 4, PITH_DENSE_TWO_OF_FOUR_WORDS,
                                                              tiles_avx512, 0};
const struct pith_dense_s8_form pith_two_of_four_s8_avx2 = {8, 2, PITH_DENSE_TWO_OF_FOUR_WORDS,
                                                            tiles_avx2, 0};
#endif
