/* Products of float rows with int8 weights: fixed-point rows, packing, the forms. See fixed_s8.h. A
 * fixed-point number is cut into digits that an instruction multiplies with bytes: three of 8 bits
 * where there are dot products of bytes, else two of 12. Packed weights lie by tiles of columns, in
 * each by groups along the depth, in each by vectors of columns. */
#include "libpith/kernels/fixed_s8.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "libpith/kernels/isa.h"

#define TILE 8 /* vectors of columns that lie side by side */

struct fixed_form {
    enum pith_isa isa;
    int lanes, group, digits, bias;
    const char *name;
    void (*run)(const struct pith_fixed_s8 *f, const struct pith_fixed_call *call);
};

struct pith_fixed_s8 {
    const struct fixed_form *form;
    int64_t depth, cols, groups;
    const int8_t *packed;
    const int32_t *begin; /* what sums begin at, so that the digits' bias goes */
    const float *scale;   /* of columns, filled up to vectors */
};

/* A row in scratch: its unit, then a digit of every number, then the next one. */
static int64_t row_bytes(const struct pith_fixed_s8 *f)
{
    return 4 + 4 * f->groups * f->form->digits;
}

static inline const uint8_t *row_of(const struct pith_fixed_s8 *f,
                                    const struct pith_fixed_call *call, int64_t row)
{
    return (const uint8_t *) call->scratch + row * row_bytes(f) + 4;
}

static inline float unit_of(const struct pith_fixed_s8 *f, const struct pith_fixed_call *call,
                            int64_t row)
{
    float unit;

    memcpy(&unit, row_of(f, call, row) - 4, sizeof unit);
    return unit;
}

/* ---- forms ---- */

#if defined __x86_64__
#include <immintrin.h>

#define FORM(name)    name##_vnni
#define TARGET        __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))
#define LANES         16
#define DIGITS        3
#define GROUP         4
#define BIAS          128
#define ROW_VECTORS   8
#define BLOCK_ROWS    4
#define BLOCK_VECTORS 2
#define WEIGHTS       __m512i
#define LOAD(p)       _mm512_loadu_si512(p)
#define STEP(s, x, w) ((words_vnni) _mm512_dpbusd_epi32((__m512i) (s), (__m512i) (x), w))
#include "libpith/kernels/fixed_s8_body.h"

#define FORM(name)    name##_avx512
#define TARGET        __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")))
#define LANES         16
#define DIGITS        2
#define GROUP         2
#define BIAS          0
#define ROW_VECTORS   8
#define BLOCK_ROWS    4
#define BLOCK_VECTORS 2
#define WEIGHTS       __m512i
#define LOAD(p)       _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *) (p)))
#define STEP(s, x, w) ((s) + (words_avx512) _mm512_madd_epi16((__m512i) (x), w))
#include "libpith/kernels/fixed_s8_body.h"

#define FORM(name)    name##_avx2
#define TARGET        __attribute__((target("avx2,fma")))
#define LANES         8
#define DIGITS        2
#define GROUP         2
#define BIAS          0
#define ROW_VECTORS   4
#define BLOCK_ROWS    2
#define BLOCK_VECTORS 2
#define WEIGHTS       __m256i
#define LOAD(p)       _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *) (p)))
#define STEP(s, x, w) ((s) + (words_avx2) _mm256_madd_epi16((__m256i) (x), w))
#include "libpith/kernels/fixed_s8_body.h"

static inline __m128i eight_words(const int8_t *p)
{
    const __m128i x = _mm_loadl_epi64((const __m128i *) p);

    return _mm_srai_epi16(_mm_unpacklo_epi8(x, x), 8);
}

#define FORM(name) name##_sse2
#define TARGET
#define LANES         4
#define DIGITS        2
#define GROUP         2
#define BIAS          0
#define ROW_VECTORS   4
#define BLOCK_ROWS    2
#define BLOCK_VECTORS 2
#define WEIGHTS       __m128i
#define LOAD(p)       eight_words(p)
#define STEP(s, x, w) ((s) + (words_sse2) _mm_madd_epi16((__m128i) (x), w))
#include "libpith/kernels/fixed_s8_body.h"

#elif defined __aarch64__
#include <arm_neon.h>

static inline int32x4_t madd(int32x4_t s, int16x8_t x, int16x8_t w)
{
    const int32x4_t low = vmull_s16(vget_low_s16(x), vget_low_s16(w)), high = vmull_high_s16(x, w);

    return vaddq_s32(s, vpaddq_s32(low, high));
}

#define FORM(name) name##_neon
#define TARGET
#define LANES         4
#define DIGITS        2
#define GROUP         2
#define BIAS          0
#define ROW_VECTORS   8
#define BLOCK_ROWS    4
#define BLOCK_VECTORS 2
#define WEIGHTS       int16x8_t
#define LOAD(p)       vmovl_s8(vld1_s8(p))
#define STEP(s, x, w) ((words_neon) madd((int32x4_t) (s), (int16x8_t) (x), w))
#include "libpith/kernels/fixed_s8_body.h"

#if PITH_ARM_DOTS
#define FORM(name)    name##_dotprod
#define TARGET        __attribute__((target("arch=armv8.2-a+dotprod")))
#define LANES         4
#define DIGITS        3
#define GROUP         4
#define BIAS          0
#define ROW_VECTORS   8
#define BLOCK_ROWS    4
#define BLOCK_VECTORS 2
#define WEIGHTS       int8x16_t
#define LOAD(p)       vld1q_s8(p)
#define STEP(s, x, w) ((words_dotprod) vdotq_s32((int32x4_t) (s), (int8x16_t) (x), w))
#include "libpith/kernels/fixed_s8_body.h"
#endif
#endif

/* The definition: numbers whole, one column after the other. */
static void run_plain(const struct pith_fixed_s8 *f, const struct pith_fixed_call *call)
{
    for (int64_t row = 0; row < call->rows; row++) {
        const uint8_t *x = row_of(f, call, row);
        const float unit = unit_of(f, call, row);

        for (int64_t j = 0; j < f->cols; j++) {
            const int64_t first = j / TILE * TILE, left = f->cols - first,
                          side = left < TILE ? left : TILE;
            const int8_t *w = f->packed + first * f->depth;
            int64_t sum = 0;
            float result;

            for (int64_t p = 0; p < f->depth; p++) {
                int32_t q;

                memcpy(&q, x + 4 * p, sizeof q);
                sum += (int64_t) q * w[p * side + j - first];
            }
            result = (float) sum * (unit * f->scale[j]);
            call->c[row * call->c_row + j] = call->bias ? result + call->bias[j] : result;
        }
    }
}

static const struct fixed_form forms[] = {
#if defined __x86_64__
    {PITH_ISA_AVX512_VNNI, 16, 4, 3, 128, "int8 weights avx512vnni", run_vnni},
    {PITH_ISA_AVX512, 16, 2, 2, 0, "int8 weights avx512", run_avx512},
    {PITH_ISA_AVX2, 8, 2, 2, 0, "int8 weights avx2", run_avx2},
    {PITH_ISA_SSE2, 4, 2, 2, 0, "int8 weights sse2", run_sse2},
#elif defined __aarch64__
#if PITH_ARM_DOTS
    {PITH_ISA_NEON_DOTPROD, 4, 4, 3, 0, "int8 weights dotprod", run_dotprod},
#endif
    {PITH_ISA_NEON, 4, 2, 2, 0, "int8 weights neon", run_neon},
#endif
    {PITH_ISA_PLAIN, 1, 1, 1, 0, "int8 weights plain", run_plain},
};

const char *pith_fixed_s8_name(const struct pith_fixed_s8 *f)
{
    return f->form->name;
}

/* ---- packing ---- */

/* Whether all weights, less their zero points, fit a signed byte. */
static bool fits(const struct pith_fixed_weights *from)
{
    for (int64_t j = 0; j < from->cols; j++) {
        const int64_t zero = from->grid->zero_point[from->scale_first + j * from->scale_step];

        for (int64_t p = 0; p < from->depth; p++) {
            const int64_t w =
                pith_tensor_get_int(from->weights, from->first + j * from->depth + p) - zero;

            if (w < -128 || w > 127)
                return false;
        }
    }
    return true;
}

static void pack_column(const struct pith_fixed_s8 *f, const struct pith_fixed_weights *from,
                        int64_t j, int8_t *packed, int32_t *begin)
{
    const int64_t lanes = f->form->lanes, group = f->form->group;
    const int64_t vectors = (f->cols + lanes - 1) / lanes, first = j / lanes / TILE * TILE;
    const int64_t side = vectors - first < TILE ? vectors - first : TILE;
    const int64_t scale = from->scale_first + j * from->scale_step;
    int8_t *tile = packed + first * lanes * group * f->groups;
    int32_t sum = 0;

    for (int64_t p = 0; p < f->depth; p++) {
        const int32_t w =
            (int32_t) (pith_tensor_get_int(from->weights, from->first + j * f->depth + p) -
                       from->grid->zero_point[scale]);

        tile[((p / group * side + j / lanes - first) * lanes + j % lanes) * group + p % group] =
            (int8_t) w;
        sum += w;
    }
    begin[j] = -f->form->bias * sum;
}

int pith_fixed_s8_plan(struct pith_step *step, const struct pith_fixed_weights *from,
                       struct pith_fixed_s8 **out)
{
    struct pith_fixed_s8 *f;
    int64_t padded;
    int8_t *packed;
    int32_t *begin;
    float *scale;

    if (from->depth > PITH_FIXED_MAX_DEPTH || from->depth < 1 || from->cols < 1 || !fits(from))
        return 1;
    f = pith_step_alloc(step, sizeof *f);
    if (!f)
        return -ENOMEM;
    f->form = PITH_ISA_BEST(forms);
    f->depth = from->depth;
    f->cols = from->cols;
    f->groups = (f->depth + f->form->group - 1) / f->form->group;
    padded = (f->cols + f->form->lanes - 1) / f->form->lanes * f->form->lanes;
    packed = pith_step_alloc(step, padded * f->groups * f->form->group);
    begin = pith_step_alloc(step, padded * (int64_t) sizeof *begin);
    scale = pith_step_alloc(step, padded * (int64_t) sizeof *scale);
    if (!packed || !begin || !scale)
        return -ENOMEM;
    for (int64_t j = 0; j < f->cols; j++) {
        pack_column(f, from, j, packed, begin);
        scale[j] = from->grid->scale[from->scale_first + j * from->scale_step];
    }
    f->packed = pith_step_share(step, packed);
    f->begin = pith_step_share(step, begin);
    f->scale = pith_step_share(step, scale);
    *out = f;
    return 0;
}

/* ---- rows ---- */

static float power_of_two(int32_t exponent)
{
    const int32_t bits = (exponent + 127) << 23;
    float power;

    memcpy(&power, &bits, sizeof power);
    return power;
}

/* 2^(21 - e), and the unit. Exponents are in the bits, as are infinities. */
static float factor_of(const float *a, int64_t depth, float *unit)
{
    int32_t most = 0, exponent;

    for (int64_t p = 0; p < depth; p++) {
        int32_t bits;

        memcpy(&bits, a + p, sizeof bits);
        bits &= INT32_MAX;
        most = bits > most ? bits : most;
    }
    exponent = (most >> 23) - 127;
    if (exponent == 128) {
        *unit = NAN;
        return 0.0F;
    }
    exponent = exponent < -100 ? -100 : exponent;
    *unit = power_of_two(exponent - 21);
    return power_of_two(21 - exponent);
}

/* No number passes 2^22, so that adding 1.5 * 2^23, whose unit is 1, rounds it. */
static inline int32_t fixed_of(float a, float factor)
{
    const float moved = a * factor + 12582912.0F;
    int32_t bits;

    memcpy(&bits, &moved, sizeof bits);
    return bits - 0x4B400000;
}

static void digits_of_8(uint8_t *to, int64_t plane, const float *a, int64_t depth, float factor,
                        uint8_t flip)
{
    uint8_t *restrict high = to, *restrict middle = to + plane, *restrict low = to + 2 * plane;

    for (int64_t p = 0; p < depth; p++) {
        const uint32_t biased = (uint32_t) fixed_of(a[p], factor) + 0x808080U;

        high[p] = (uint8_t) (biased >> 16) ^ flip;
        middle[p] = (uint8_t) (biased >> 8) ^ flip;
        low[p] = (uint8_t) biased ^ flip;
    }
}

static void digits_of_12(int16_t *to, int64_t plane, const float *a, int64_t depth, float factor)
{
    int16_t *restrict high = to, *restrict low = to + plane;

    for (int64_t p = 0; p < depth; p++) {
        const int32_t q = fixed_of(a[p], factor);

        high[p] = (int16_t) (q >> 12);
        low[p] = (int16_t) (q & 4095);
    }
}

static void make_row(const struct pith_fixed_s8 *f, const float *a, uint8_t *to)
{
    const int64_t plane = f->groups * f->form->group;
    float unit, factor = factor_of(a, f->depth, &unit);

    memcpy(to, &unit, sizeof unit);
    to += sizeof unit;
    if (isnan(unit)) {
        memset(to, 0, (size_t) row_bytes(f) - sizeof unit);
        return;
    }
    if (f->form->digits == 3) {
        digits_of_8(to, plane, a, f->depth, factor, f->form->bias ? 0 : 128);
    } else if (f->form->digits == 2) {
        digits_of_12((int16_t *) (void *) to, plane, a, f->depth, factor);
    } else {
        for (int64_t p = 0; p < f->depth; p++) {
            const int32_t q = fixed_of(a[p], factor);

            memcpy(to + 4 * p, &q, sizeof q);
        }
    }
}

int64_t pith_fixed_s8_scratch(const struct pith_fixed_s8 *f, int64_t rows)
{
    return rows * row_bytes(f);
}

void pith_fixed_s8_run(const struct pith_fixed_s8 *f, const struct pith_fixed_call *call)
{
    for (int64_t row = 0; row < call->rows; row++)
        make_row(f, call->a + row * call->a_row, (uint8_t *) call->scratch + row * row_bytes(f));
    f->form->run(f, call);
}
