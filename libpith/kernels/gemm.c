/* Matrix products: the forms for each instruction set, the choice between them, and packing. See
 * gemm.h. */
#include "libpith/kernels/gemm.h"

#include <string.h>

#include "libpith/kernels/transpose.h"

#if defined __x86_64__
#include <immintrin.h>

#define FORM(name) name##_sse
#define TARGET
#define LANES      4
#define TILE       6
#define MADD(a, b) ((words_sse) _mm_madd_epi16((__m128i) (a), (__m128i) (b)))
#include "libpith/kernels/gemm_body.h"

#define FORM(name) name##_avx2
#define TARGET     __attribute__((target("avx2,fma")))
#define LANES      8
#define TILE       6
#define MADD(a, b) ((words_avx2) _mm256_madd_epi16((__m256i) (a), (__m256i) (b)))
#include "libpith/kernels/gemm_body.h"

#define FORM(name) name##_avx512
#define TARGET     __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")))
#define LANES      16
#define TILE       12
#define MADD(a, b) ((words_avx512) _mm512_madd_epi16((__m512i) (a), (__m512i) (b)))
#include "libpith/kernels/gemm_body.h"
#else
#define FORM(name) name##_plain
#define TARGET
#define LANES      4
#define TILE       6
#define MADD(a, b) (((a) << 16 >> 16) * ((b) << 16 >> 16) + ((a) >> 16) * ((b) >> 16))
#include "libpith/kernels/gemm_body.h"
#endif

static const struct pith_gemm_form forms[] = {
#if defined __x86_64__
    {PITH_ISA_AVX512, 32, gemm_f32_avx512, gemm_s16_avx512, tap_f32_avx512},
    {PITH_ISA_AVX2, 16, gemm_f32_avx2, gemm_s16_avx2, tap_f32_avx2},
    {PITH_ISA_SSE2, 8, gemm_f32_sse, gemm_s16_sse, tap_f32_sse},
#else
    {PITH_ISA_PLAIN, 8, gemm_f32_plain, gemm_s16_plain, tap_f32_plain},
#endif
};

#define FORM_COUNT (sizeof forms / sizeof forms[0])

const struct pith_gemm_form *pith_gemm_form_at(size_t index)
{
    for (size_t f = 0; f < FORM_COUNT; f++)
        if (pith_isa_runs(forms[f].isa) && index-- == 0)
            return &forms[f];
    return NULL;
}

const struct pith_gemm_form *pith_gemm_form(void)
{
    const struct pith_gemm_form *best = PITH_ISA_BEST(forms);

    return best ? best : &forms[FORM_COUNT - 1]; /* vector types of 128 bits, which every CPU has */
}

int64_t pith_gemm_packed(const struct pith_gemm_form *form, int64_t depth, int64_t cols)
{
    return (cols + form->panel - 1) / form->panel * form->panel * ((depth + 1) / 2 * 2);
}

/* One panel of `width` columns; read along whichever side lies together. */
static void pack_panel(float *packed, int64_t panel, const float *b, int64_t b_depth, int64_t b_col,
                       int64_t depth, int64_t width)
{
    if (width < panel)
        memset(packed, 0, (size_t) (depth * panel) * sizeof *packed);
    if (b_depth == 1 && b_col != 1) {
        pith_transpose_f32(b, b_col, width, depth, 1, packed, panel);
        return;
    }
    for (int64_t p = 0; p < depth; p++, b += b_depth, packed += panel)
        if (b_col == 1)
            memcpy(packed, b, (size_t) width * sizeof *packed);
        else
            for (int64_t j = 0; j < width; j++)
                packed[j] = b[j * b_col];
}

void pith_gemm_pack_f32(const struct pith_gemm_form *form, float *packed, const float *b,
                        int64_t b_depth, int64_t b_col, int64_t depth, int64_t cols)
{
    const int64_t panel = form->panel;

    for (int64_t col = 0; col < cols; col += panel)
        pack_panel(packed + col * depth, panel, b + col * b_col, b_depth, b_col, depth,
                   cols - col < panel ? cols - col : panel);
}

void pith_gemm_pack_s16(const struct pith_gemm_form *form, int16_t *packed, const void *b,
                        bool is_signed, int64_t b_depth, int64_t b_col, int64_t depth, int64_t cols,
                        const int32_t *zero_point, bool one_zero)
{
    const int64_t panel = form->panel;
    const uint8_t *bytes = b;

    for (int64_t col = 0; col < cols; col += panel) {
        const int64_t width = cols - col < panel ? cols - col : panel;

        for (int64_t p = 0; p < depth; p += 2) {
            memset(packed, 0, (size_t) panel * 2 * sizeof *packed);
            for (int64_t half = 0; half < 2 && p + half < depth; half++) {
                const uint8_t *from = bytes + (p + half) * b_depth + col * b_col;

                for (int64_t j = 0; j < width; j++) {
                    const uint8_t x = from[j * b_col];
                    const int32_t zero = zero_point[one_zero ? 0 : col + j];

                    packed[2 * j + half] = (int16_t) ((is_signed ? (int8_t) x : x) - zero);
                }
            }
            packed += 2 * panel;
        }
    }
}

void pith_gemm_plain_f32(const struct pith_gemm_f32 *g, int64_t b_depth, int64_t b_col)
{
    for (int64_t i = 0; i < g->rows; i++) {
        for (int64_t j = 0; j < g->cols; j++) {
            double sum =
                (g->row_bias ? g->row_bias[i] : 0.0) + (g->col_bias ? g->col_bias[j] : 0.0);

            for (int64_t p = 0; p < g->depth; p++)
                sum += (double) g->a[i * g->a_row + p * g->a_depth] * g->b[p * b_depth + j * b_col];
            g->c[i * g->c_row + j] = pith_activate(&g->activation, (float) sum);
        }
    }
}
