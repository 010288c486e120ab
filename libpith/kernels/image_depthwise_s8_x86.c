/* Depthwise channels-last integer convolution: the loops for x86-64. */
#include "libpith/kernels/image_depthwise_s8.h"

#include <string.h>

#if defined __x86_64__
#include <immintrin.h>

#define AVX512 "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq"

#define FORM(name) name##_sse2
#define TARGET
#define LANES   4
#define OPERAND __m128i
#define HALVES  2
#define LOW8    _mm_unpacklo_epi8
#define HIGH8   _mm_unpackhi_epi8
#define LOW16   _mm_unpacklo_epi16
#define HIGH16  _mm_unpackhi_epi16
#define SPLIT(four, h)                                                                             \
    ((h) == 0 ? _mm_and_si128((OPERAND) (four), _mm_set1_epi16(0xFF))                              \
              : _mm_srli_epi16((OPERAND) (four), 8))
#define DOT(sum, x, w) ((sum) + (words_sse2) _mm_madd_epi16(x, w))
#define NEAREST(f)     ((words_sse2) _mm_cvtps_epi32((__m128) (f)))
#define NARROW         narrow_sse2
/* Saturating to 16 bits loses nothing: what is so far off lies past both limits, zero point and
 * all. */
TARGET static inline __attribute__((always_inline)) void
narrow_sse2(uint8_t *to, const void *words, int32_t zero, int32_t low, int32_t high, int count)
{
    const OPERAND *q = words, add = _mm_set1_epi16((int16_t) zero);
    OPERAND bytes = _mm_packus_epi16(_mm_adds_epi16(_mm_packs_epi32(q[0], q[1]), add),
                                     _mm_adds_epi16(_mm_packs_epi32(q[2], q[3]), add));

    bytes = _mm_max_epu8(bytes, _mm_set1_epi8((char) low));
    bytes = _mm_min_epu8(bytes, _mm_set1_epi8((char) high));
    if (count == (int) sizeof bytes)
        _mm_storeu_si128((OPERAND *) to, bytes);
    else
        memcpy(to, &bytes, (size_t) count);
}
#include "libpith/kernels/image_depthwise_s8_body.h"

#undef FORM
#undef TARGET
#undef LANES
#undef OPERAND
#undef HALVES
#undef LOW8
#undef HIGH8
#undef LOW16
#undef HIGH16
#undef SPLIT
#undef DOT
#undef NEAREST
#undef NARROW

#define FORM(name) name##_avx2
#define TARGET     __attribute__((target("avx2,fma")))
#define LANES      8
#define OPERAND    __m256i
#define HALVES     2
#define LOW8       _mm256_unpacklo_epi8
#define HIGH8      _mm256_unpackhi_epi8
#define LOW16      _mm256_unpacklo_epi16
#define HIGH16     _mm256_unpackhi_epi16
#define SPLIT(four, h)                                                                             \
    ((h) == 0 ? _mm256_and_si256((OPERAND) (four), _mm256_set1_epi16(0xFF))                        \
              : _mm256_srli_epi16((OPERAND) (four), 8))
#define DOT(sum, x, w) ((sum) + (words_avx2) _mm256_madd_epi16(x, w))
#define NEAREST(f)     ((words_avx2) _mm256_cvtps_epi32((__m256) (f)))
#define NARROW         narrow_avx2
/* Saturating to 16 bits loses nothing: what is so far off lies past both limits, zero point and
 * all. */
TARGET static inline __attribute__((always_inline)) void
narrow_avx2(uint8_t *to, const void *words, int32_t zero, int32_t low, int32_t high, int count)
{
    const OPERAND *q = words, add = _mm256_set1_epi16((int16_t) zero);
    OPERAND bytes = _mm256_packus_epi16(_mm256_adds_epi16(_mm256_packs_epi32(q[0], q[1]), add),
                                        _mm256_adds_epi16(_mm256_packs_epi32(q[2], q[3]), add));

    bytes = _mm256_max_epu8(bytes, _mm256_set1_epi8((char) low));
    bytes = _mm256_min_epu8(bytes, _mm256_set1_epi8((char) high));
    if (count == (int) sizeof bytes)
        _mm256_storeu_si256((OPERAND *) to, bytes);
    else
        memcpy(to, &bytes, (size_t) count);
}
#include "libpith/kernels/image_depthwise_s8_body.h"

#undef FORM
#undef TARGET
#undef LANES
#undef OPERAND
#undef HALVES
#undef LOW8
#undef HIGH8
#undef LOW16
#undef HIGH16
#undef SPLIT
#undef DOT
#undef NEAREST
#undef NARROW

#define FORM(name) name##_avx512
#define TARGET     __attribute__((target(AVX512)))
#define LANES      16
#define OPERAND    __m512i
#define HALVES     2
#define LOW8       _mm512_unpacklo_epi8
#define HIGH8      _mm512_unpackhi_epi8
#define LOW16      _mm512_unpacklo_epi16
#define HIGH16     _mm512_unpackhi_epi16
#define SPLIT(four, h)                                                                             \
    ((h) == 0 ? _mm512_and_si512((OPERAND) (four), _mm512_set1_epi16(0xFF))                        \
              : _mm512_srli_epi16((OPERAND) (four), 8))
#define DOT(sum, x, w) ((sum) + (words_avx512) _mm512_madd_epi16(x, w))
#define NEAREST(f)     ((words_avx512) _mm512_cvtps_epi32((__m512) (f)))
#define NARROW         narrow_avx512
/* Saturating to 16 bits loses nothing: what is so far off lies past both limits, zero point and
 * all. */
TARGET static inline __attribute__((always_inline)) void
narrow_avx512(uint8_t *to, const void *words, int32_t zero, int32_t low, int32_t high, int count)
{
    const OPERAND *q = words, add = _mm512_set1_epi16((int16_t) zero);
    OPERAND bytes = _mm512_packus_epi16(_mm512_adds_epi16(_mm512_packs_epi32(q[0], q[1]), add),
                                        _mm512_adds_epi16(_mm512_packs_epi32(q[2], q[3]), add));

    bytes = _mm512_max_epu8(bytes, _mm512_set1_epi8((char) low));
    bytes = _mm512_min_epu8(bytes, _mm512_set1_epi8((char) high));
    _mm512_mask_storeu_epi8(to, UINT64_MAX >> (64 - count), bytes);
}
#include "libpith/kernels/image_depthwise_s8_body.h"

#undef FORM
#undef TARGET
#undef LANES
#undef OPERAND
#undef HALVES
#undef LOW8
#undef HIGH8
#undef LOW16
#undef HIGH16
#undef SPLIT
#undef DOT
#undef NEAREST
#undef NARROW

#define FORM(name)     name##_vnni128
#define TARGET         __attribute__((target(AVX512 ",avx512vnni")))
#define LANES          4
#define OPERAND        __m128i
#define HALVES         1
#define LOW8           _mm_unpacklo_epi8
#define HIGH8          _mm_unpackhi_epi8
#define LOW16          _mm_unpacklo_epi16
#define HIGH16         _mm_unpackhi_epi16
#define SPLIT(four, h) ((OPERAND) (four))
#define DOT(sum, x, w) ((words_vnni128) _mm_dpbusd_epi32((OPERAND) (sum), x, w))
#define NEAREST(f)     ((words_vnni128) _mm_cvtps_epi32((__m128) (f)))
#define NARROW         narrow_vnni128
/* Saturating to 16 bits loses nothing: what is so far off lies past both limits, zero point and
 * all. */
TARGET static inline __attribute__((always_inline)) void
narrow_vnni128(uint8_t *to, const void *words, int32_t zero, int32_t low, int32_t high, int count)
{
    const OPERAND *q = words, add = _mm_set1_epi16((int16_t) zero);
    OPERAND bytes = _mm_packus_epi16(_mm_adds_epi16(_mm_packs_epi32(q[0], q[1]), add),
                                     _mm_adds_epi16(_mm_packs_epi32(q[2], q[3]), add));

    bytes = _mm_max_epu8(bytes, _mm_set1_epi8((char) low));
    bytes = _mm_min_epu8(bytes, _mm_set1_epi8((char) high));
    _mm_mask_storeu_epi8(to, (__mmask16) (UINT32_MAX >> (32 - count)), bytes);
}
#include "libpith/kernels/image_depthwise_s8_body.h"

#undef FORM
#undef TARGET
#undef LANES
#undef OPERAND
#undef HALVES
#undef LOW8
#undef HIGH8
#undef LOW16
#undef HIGH16
#undef SPLIT
#undef DOT
#undef NEAREST
#undef NARROW

#define FORM(name)     name##_vnni256
#define TARGET         __attribute__((target(AVX512 ",avx512vnni")))
#define LANES          8
#define OPERAND        __m256i
#define HALVES         1
#define LOW8           _mm256_unpacklo_epi8
#define HIGH8          _mm256_unpackhi_epi8
#define LOW16          _mm256_unpacklo_epi16
#define HIGH16         _mm256_unpackhi_epi16
#define SPLIT(four, h) ((OPERAND) (four))
#define DOT(sum, x, w) ((words_vnni256) _mm256_dpbusd_epi32((OPERAND) (sum), x, w))
#define NEAREST(f)     ((words_vnni256) _mm256_cvtps_epi32((__m256) (f)))
#define NARROW         narrow_vnni256
/* Saturating to 16 bits loses nothing: what is so far off lies past both limits, zero point and
 * all. */
TARGET static inline __attribute__((always_inline)) void
narrow_vnni256(uint8_t *to, const void *words, int32_t zero, int32_t low, int32_t high, int count)
{
    const OPERAND *q = words, add = _mm256_set1_epi16((int16_t) zero);
    OPERAND bytes = _mm256_packus_epi16(_mm256_adds_epi16(_mm256_packs_epi32(q[0], q[1]), add),
                                        _mm256_adds_epi16(_mm256_packs_epi32(q[2], q[3]), add));

    bytes = _mm256_max_epu8(bytes, _mm256_set1_epi8((char) low));
    bytes = _mm256_min_epu8(bytes, _mm256_set1_epi8((char) high));
    _mm256_mask_storeu_epi8(to, (__mmask32) (UINT32_MAX >> (32 - count)), bytes);
}
#include "libpith/kernels/image_depthwise_s8_body.h"

#undef FORM
#undef TARGET
#undef LANES
#undef OPERAND
#undef HALVES
#undef LOW8
#undef HIGH8
#undef LOW16
#undef HIGH16
#undef SPLIT
#undef DOT
#undef NEAREST
#undef NARROW

#define FORM(name)     name##_vnni512
#define TARGET         __attribute__((target(AVX512 ",avx512vnni")))
#define LANES          16
#define OPERAND        __m512i
#define HALVES         1
#define LOW8           _mm512_unpacklo_epi8
#define HIGH8          _mm512_unpackhi_epi8
#define LOW16          _mm512_unpacklo_epi16
#define HIGH16         _mm512_unpackhi_epi16
#define SPLIT(four, h) ((OPERAND) (four))
#define DOT(sum, x, w) ((words_vnni512) _mm512_dpbusd_epi32((OPERAND) (sum), x, w))
#define NEAREST(f)     ((words_vnni512) _mm512_cvtps_epi32((__m512) (f)))
#define NARROW         narrow_vnni512
/* Saturating to 16 bits loses nothing: what is so far off lies past both limits, zero point and
 * all. */
TARGET static inline __attribute__((always_inline)) void
narrow_vnni512(uint8_t *to, const void *words, int32_t zero, int32_t low, int32_t high, int count)
{
    const OPERAND *q = words, add = _mm512_set1_epi16((int16_t) zero);
    OPERAND bytes = _mm512_packus_epi16(_mm512_adds_epi16(_mm512_packs_epi32(q[0], q[1]), add),
                                        _mm512_adds_epi16(_mm512_packs_epi32(q[2], q[3]), add));

    bytes = _mm512_max_epu8(bytes, _mm512_set1_epi8((char) low));
    bytes = _mm512_min_epu8(bytes, _mm512_set1_epi8((char) high));
    _mm512_mask_storeu_epi8(to, UINT64_MAX >> (64 - count), bytes);
}
#include "libpith/kernels/image_depthwise_s8_body.h"

#undef FORM
#undef TARGET
#undef LANES
#undef OPERAND
#undef HALVES
#undef LOW8
#undef HIGH8
#undef LOW16
#undef HIGH16
#undef SPLIT
#undef DOT
#undef NEAREST
#undef NARROW

#define WIDTH(bytes, name)                                                                         \
    {                                                                                              \
        bytes, taps_##name, columns_##name                                                         \
    }

const struct pith_depthwise_s8_form pith_depthwise_s8_vnni = {
    false, {WIDTH(64, vnni512), WIDTH(32, vnni256), WIDTH(16, vnni128)}};
const struct pith_depthwise_s8_form pith_depthwise_s8_avx512 = {
    true, {WIDTH(64, avx512), WIDTH(32, avx2), WIDTH(16, sse2)}};
const struct pith_depthwise_s8_form pith_depthwise_s8_avx2 = {true,
                                                              {WIDTH(32, avx2), WIDTH(16, sse2)}};
const struct pith_depthwise_s8_form pith_depthwise_s8_sse2 = {true, {WIDTH(16, sse2)}};
#endif
