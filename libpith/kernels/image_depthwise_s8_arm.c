/* Depthwise channels-last integer convolution: the loops for aarch64. With dot products taps are interleaved as on x86-64;
 * without them products of bytes go into int16, two at a time, which weights of -128 would overflow: such layers have a form
 * of their own. */
#include "libpith/kernels/image_depthwise_s8.h"

#if defined __aarch64__
#include "libpith/kernels/requantize_neon.h"

/* ---- NEON ---- */

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 4")

/* Sums of four vectors of channels, and what two vectors of products add to them. */
INLINE void add_products(int32x4_t *sum, int16x8_t low, int16x8_t high)
{
    sum[0] = vaddw_s16(sum[0], vget_low_s16(low));
    sum[1] = vaddw_high_s16(sum[1], low);
    sum[2] = vaddw_s16(sum[2], vget_low_s16(high));
    sum[3] = vaddw_high_s16(sum[3], high);
}

INLINE int8x16_t load(const uint8_t *from)
{
    return vld1q_s8((const int8_t *) from);
}

INLINE void pairs_of_taps(const struct pith_depthwise_s8_row *row, const bool wide)
{
    const struct pith_requantize *r = row->to;

    for (int64_t p = 0; p < row->count; p++) {
        const uint8_t *x = row->x + p * row->x_step, *w = row->weights;
        int32x4_t sum[4];

        UNROLL for (int i = 0; i < 4; i++) sum[i] = vld1q_s32(row->bias + 4 * i);
        for (int64_t g = 0; g < row->groups; g++, w += 32) {
            const int8x16_t a = load(x + row->tap_at[2 * g]), b = load(x + row->tap_at[2 * g + 1]), v = load(w),
                            u = load(w + 16);
            int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(v)), high = vmull_high_s8(a, v);

            if (wide) {
                add_products(sum, low, high);
                low = vmull_s8(vget_low_s8(b), vget_low_s8(u));
                high = vmull_high_s8(b, u);
            } else {
                low = vmlal_s8(low, vget_low_s8(b), vget_low_s8(u));
                high = vmlal_high_s8(high, b, u);
            }
            add_products(sum, low, high);
        }
        UNROLL for (int i = 0; i < 4; i++) sum[i] = vcvtnq_s32_f32(
            pith_neon_slant(vmulq_f32(vcvtq_f32_s32(sum[i]), vld1q_f32(row->scale + 4 * i)), r->slope));
        pith_neon_store(row->y + p * row->y_step, pith_neon_narrow(sum, r->zero, r->low, r->high),
                        p == row->count - 1 ? row->last : row->width);
    }
}

static void taps_neon(const struct pith_depthwise_s8_row *row)
{
    pairs_of_taps(row, false);
}

static void taps_neon_wide(const struct pith_depthwise_s8_row *row)
{
    pairs_of_taps(row, true);
}

const struct pith_depthwise_s8_form pith_depthwise_s8_neon = {
    PITH_DEPTHWISE_PLANES, {{16, taps_neon, NULL}}, .symmetric = true};
const struct pith_depthwise_s8_form pith_depthwise_s8_neon_wide = {PITH_DEPTHWISE_PLANES,
                                                                     {{16, taps_neon_wide, NULL}}};

#undef INLINE
#undef UNROLL

/* ---- dot products ---- */

#if PITH_ARM_DOTS

#define FORM(name)         name##_dotprod
#define TARGET             __attribute__((target("arch=armv8.2-a+dotprod")))
#define LANES              4
#define OPERAND            int8x16_t
#define PAIRS              0
#define LOW8               vzip1q_s8
#define HIGH8              vzip2q_s8
#define WORDS(a)           vreinterpretq_s16_s8(a)
#define LOW16(a, b)        vreinterpretq_s8_s16(vzip1q_s16(WORDS(a), WORDS(b)))
#define HIGH16(a, b)       vreinterpretq_s8_s16(vzip2q_s16(WORDS(a), WORDS(b)))
#define DOT(sum, x, w)     ((words_dotprod) vdotq_s32((int32x4_t) (sum), x, w))
#define NEAREST(f)         vcvtnq_s32_f32((float32x4_t) (f))
#define NARROW(q, r)       pith_neon_narrow((const int32x4_t *) (q), (r)->zero, (r)->low, (r)->high)
#define put_dotprod        pith_neon_store
#include "libpith/kernels/image_depthwise_s8_body.h"

const struct pith_depthwise_s8_form pith_depthwise_s8_dotprod = {PITH_DEPTHWISE_QUADS,
                                                                   {{16, taps_dotprod, columns_dotprod}}};
#endif
#endif
