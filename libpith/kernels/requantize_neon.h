/* How sums become what is stored (requantize.h), four lanes at a time with NEON: the same operations in the same order. For
 * files that are compiled with -ffp-contract=off. Stored integers are int8 here. */
#ifndef PITH_KERNELS_REQUANTIZE_NEON_H
#define PITH_KERNELS_REQUANTIZE_NEON_H

#include <arm_neon.h>
#include <string.h>

#include "libpith/kernels/requantize.h"

#define PITH_NEON_INLINE static inline __attribute__((always_inline, unused))

/* x < low ? low : x > high ? high : x, which keeps the sign of a zero that vmaxq would lose */
PITH_NEON_INLINE float32x4_t pith_neon_limit(float32x4_t x, float low, float high)
{
    const float32x4_t least = vdupq_n_f32(low), most = vdupq_n_f32(high);

    x = vbslq_f32(vcltq_f32(x, least), least, x);
    return vbslq_f32(vcgtq_f32(x, most), most, x);
}

PITH_NEON_INLINE float32x4_t pith_neon_slant(float32x4_t f, float slope)
{
    return slope == 1.0F ? f : vbslq_f32(vcltzq_f32(f), vmulq_n_f32(f, slope), f);
}

/* Four stored integers, of which `count` are there. */
PITH_NEON_INLINE int32x4_t pith_neon_widen(const uint8_t *from, int count)
{
    int32_t four = 0;

    if (count == 4)
        memcpy(&four, from, sizeof four);
    else
        memcpy(&four, from, (size_t) count);
    return vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(four)))));
}

/* pith_requantize_real and, where there is a residual (added: its first of `count` lanes), pith_requantize_add.
 * adds: whether it is looked for. */
PITH_NEON_INLINE float32x4_t pith_neon_finish(const struct pith_requantize *r, int32x4_t sum, const float *scale,
                                              const uint8_t *added, const bool adds, int count)
{
    float32x4_t f = vmulq_f32(vcvtq_f32_s32(sum), vld1q_f32(scale)), residual;

    f = pith_neon_slant(f, r->slope);
    if (!adds || !added)
        return f;
    residual = vcvtq_f32_s32(vsubq_s32(pith_neon_widen(added, count), vdupq_n_s32(r->residual_zero)));
    f = r->rounds_between ? vrndnq_f32(f) : f;
    f = pith_neon_limit(f, r->between_low, r->between_high);
    f = vaddq_f32(vmulq_n_f32(f, r->between_scale), vmulq_n_f32(residual, r->residual_scale));
    return pith_neon_slant(vdivq_f32(f, vdupq_n_f32(r->y_scale)), r->after_slope);
}

/* pith_requantize_store of sixteen lanes that are rounded already. Saturating to 16 and 8 bits on the way loses nothing: what
 * is so far off lies past both limits, zero point and all. */
PITH_NEON_INLINE int8x16_t pith_neon_narrow(const int32x4_t *q, int32_t zero, int32_t low, int32_t high)
{
    const int16x8_t add = vdupq_n_s16((int16_t) zero);
    const int16x8_t a = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(q[0]), q[1]), add),
                    b = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(q[2]), q[3]), add);
    const int8x16_t bytes = vqmovn_high_s16(vqmovn_s16(a), b);

    return vminq_s8(vmaxq_s8(bytes, vdupq_n_s8((int8_t) low)), vdupq_n_s8((int8_t) high));
}

/* The first `count` of sixteen bytes. */
PITH_NEON_INLINE void pith_neon_store(uint8_t *to, int8x16_t q, int count)
{
    if (count == 16)
        vst1q_s8((int8_t *) to, q);
    else
        memcpy(to, &q, (size_t) count);
}

#endif
