/* Products of a row past blocks of zeros, for x86-64. */
#include "libpith/kernels/image_sparse_row_s8.h"

#if defined __x86_64__
#include <immintrin.h>

#define FORM(name) name##_avx2
#define TARGET     __attribute__((target("avx2,fma")))
#define LANES      8
#define HALVES     2
#define WINDOW(p, fours)                                                                           \
    ((words_avx2) _mm256_maskload_epi32(                                                           \
        (const int *) (p),                                                                         \
        _mm256_cmpgt_epi32(_mm256_set1_epi32((fours) < LANES ? (int) (fours) : LANES),             \
                           _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))))
#define PERMUTE(window, places)                                                                    \
    ((words_avx2) _mm256_permutevar8x32_epi32((__m256i) (window), (__m256i) (places)))
#define SPLIT(four, h)                                                                             \
    ((h) == 0 ? _mm256_and_si256((__m256i) (four), _mm256_set1_epi16(0xFF))                        \
              : _mm256_srli_epi16((__m256i) (four), 8))
#define DOT(sum, x, w) ((sum) + (words_avx2) _mm256_madd_epi16(x, (__m256i) (w)))
#define NEAREST(f)     ((words_avx2) _mm256_cvtps_epi32((__m256) (f)))
#define WIDEN(p)       ((words_avx2) _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *) (p))))
#include "libpith/kernels/image_sparse_row_s8_body.h"
#undef FORM
#undef TARGET
#undef LANES
#undef WINDOW
#undef PERMUTE
#undef SPLIT
#undef DOT
#undef NEAREST
#undef WIDEN

#define LANES 16
#define WINDOW(p, fours)                                                                           \
    ((FORM(words)) _mm512_maskz_loadu_epi32(                                                       \
        (__mmask16) ((fours) < LANES ? (1U << (fours)) - 1 : 0xFFFFU), p))
#define PERMUTE(window, places)                                                                    \
    ((FORM(words)) _mm512_permutexvar_epi32((__m512i) (places), (__m512i) (window)))
#define NEAREST(f) ((FORM(words)) _mm512_cvtps_epi32((__m512) (f)))
#define WIDEN(p)   ((FORM(words)) _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *) (p))))

#define FORM(name) name##_avx512
#define TARGET     __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")))
#define SPLIT(four, h)                                                                             \
    ((h) == 0 ? _mm512_and_si512((__m512i) (four), _mm512_set1_epi16(0xFF))                        \
              : _mm512_srli_epi16((__m512i) (four), 8))
#define DOT(sum, x, w) ((sum) + (words_avx512) _mm512_madd_epi16(x, (__m512i) (w)))
#include "libpith/kernels/image_sparse_row_s8_body.h"
#undef FORM
#undef TARGET
#undef HALVES
#undef SPLIT
#undef DOT

#define FORM(name) name##_vnni
#define TARGET     __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))
#define HALVES     1
#define SPLIT(four, h) ((__m512i) (four))
#define DOT(sum, x, w)                                                                             \
    ((words_vnni) _mm512_dpbusd_epi32((__m512i) (sum), x, (__m512i) (w)))
#include "libpith/kernels/image_sparse_row_s8_body.h"

const struct pith_sparse_row_s8_form pith_sparse_row_s8_vnni = {16, 1, row_vnni};
const struct pith_sparse_row_s8_form pith_sparse_row_s8_avx512 = {16, 2, row_avx512};
const struct pith_sparse_row_s8_form pith_sparse_row_s8_avx2 = {8, 2, row_avx2};
#endif
