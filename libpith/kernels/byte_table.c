/* See byte_table.h. A permutation of bytes looks at four to seven bits of each; so a table is cut into as many parts as
 * that takes, and each byte picks the part that it means. */
#include "libpith/kernels/byte_table.h"

#include <stddef.h>

#include "libpith/kernels/isa.h"

static void look_up_plain(const uint8_t *table, const uint8_t *from, uint8_t *to, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        to[i] = table[from[i]];
}

#if defined __x86_64__
#include <immintrin.h>

#define AVX512 "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq"

/* A shuffle gives 0 where an index's highest bit is set: that is where it lies past the part. */
__attribute__((target("avx2"))) static void look_up_avx2(const uint8_t *table, const uint8_t *from, uint8_t *to,
                                                         int64_t count)
{
    int64_t i = 0;

    for (; i + 32 <= count; i += 32) {
        __m256i at = _mm256_loadu_si256((const __m256i *) (const void *) (from + i)), y = _mm256_setzero_si256();

        for (int part = 0; part < 16; part++) {
            const __m256i some = _mm256_broadcastsi128_si256(
                _mm_loadu_si128((const __m128i *) (const void *) (table + 16 * part)));

            y = _mm256_or_si256(y, _mm256_shuffle_epi8(some, _mm256_adds_epu8(at, _mm256_set1_epi8(0x70))));
            at = _mm256_sub_epi8(at, _mm256_set1_epi8(16));
        }
        _mm256_storeu_si256((__m256i *) (void *) (to + i), y);
    }
    look_up_plain(table, from + i, to + i, count - i);
}

__attribute__((target(AVX512))) static void look_up_avx512(const uint8_t *table, const uint8_t *from, uint8_t *to,
                                                           int64_t count)
{
    for (int64_t i = 0; i < count; i += 64) {
        const __mmask64 there = count - i < 64 ? (UINT64_C(1) << (count - i)) - 1 : ~UINT64_C(0);
        const __m512i at = _mm512_maskz_loadu_epi8(there, from + i),
                      part_of = _mm512_and_si512(at, _mm512_set1_epi8((char) 0xF0));
        __m512i y = _mm512_setzero_si512();

        for (int part = 0; part < 16; part++) {
            const __m512i some = _mm512_broadcast_i32x4(
                _mm_loadu_si128((const __m128i *) (const void *) (table + 16 * part)));

            /* bits 4 to 6 of an index are not looked at; bit 7 would give 0 */
            y = _mm512_mask_shuffle_epi8(y, _mm512_cmpeq_epi8_mask(part_of, _mm512_set1_epi8((char) (16 * part))), some,
                                         _mm512_and_si512(at, _mm512_set1_epi8(15)));
        }
        _mm512_mask_storeu_epi8(to + i, there, y);
    }
}

__attribute__((target(AVX512 ",avx512vbmi"))) static void look_up_vbmi(const uint8_t *table, const uint8_t *from,
                                                                       uint8_t *to, int64_t count)
{
    const __m512i a = _mm512_loadu_si512(table), b = _mm512_loadu_si512(table + 64),
                  c = _mm512_loadu_si512(table + 128), d = _mm512_loadu_si512(table + 192);

    for (int64_t i = 0; i < count; i += 64) {
        const __mmask64 there = count - i < 64 ? (UINT64_C(1) << (count - i)) - 1 : ~UINT64_C(0);
        const __m512i at = _mm512_maskz_loadu_epi8(there, from + i);
        const __m512i y = _mm512_mask_blend_epi8(_mm512_movepi8_mask(at), _mm512_permutex2var_epi8(a, at, b),
                                                 _mm512_permutex2var_epi8(c, at, d));

        _mm512_mask_storeu_epi8(to + i, there, y);
    }
}

static bool has_vbmi(void)
{
    return __builtin_cpu_supports("avx512vbmi");
}
#elif defined __aarch64__
#include <arm_neon.h>

static void look_up_neon(const uint8_t *table, const uint8_t *from, uint8_t *to, int64_t count)
{
    uint8x16x4_t parts[4];
    int64_t i = 0;

    for (int part = 0; part < 4; part++)
        parts[part] = vld1q_u8_x4(table + 64 * part);
    for (; i + 16 <= count; i += 16) {
        const uint8x16_t at = vld1q_u8(from + i);
        uint8x16_t y = vqtbl4q_u8(parts[0], at); /* 0 past a part; then what was there */

        y = vqtbx4q_u8(y, parts[1], vsubq_u8(at, vdupq_n_u8(64)));
        y = vqtbx4q_u8(y, parts[2], vsubq_u8(at, vdupq_n_u8(128)));
        y = vqtbx4q_u8(y, parts[3], vsubq_u8(at, vdupq_n_u8(192)));
        vst1q_u8(to + i, y);
    }
    look_up_plain(table, from + i, to + i, count - i);
}
#endif

static const struct {
    enum pith_isa isa;
    pith_byte_table_run *run;
    bool (*has)(void); /* what else the CPU must have; NULL: nothing */
} forms[] = {
    {PITH_ISA_PLAIN, look_up_plain, NULL},
#if defined __x86_64__
    {PITH_ISA_AVX2, look_up_avx2, NULL},
    {PITH_ISA_AVX512, look_up_avx512, NULL},
    {PITH_ISA_AVX512, look_up_vbmi, has_vbmi},
#elif defined __aarch64__
    {PITH_ISA_NEON, look_up_neon, NULL},
#endif
};

#define FORM_COUNT (sizeof forms / sizeof *forms)

pith_byte_table_run *pith_byte_table(void)
{
    size_t f = FORM_COUNT - 1;

    while (!pith_isa_includes(pith_isa(), forms[f].isa) || (forms[f].has && !forms[f].has()))
        f--;
    return forms[f].run;
}

pith_byte_table_run *pith_byte_table_form(int index)
{
    for (size_t f = 0; f < FORM_COUNT; f++)
        if (pith_isa_runs(forms[f].isa) && (!forms[f].has || forms[f].has()) && index-- == 0)
            return forms[f].run;
    return NULL;
}
