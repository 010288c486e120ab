/* How the int32 sums of an integer step become what it stores: one definition, which plain C and every fast form give bit
 * for bit. All of it is float32 with one rounding an operation: no multiplication is fused with an addition (what includes
 * this is compiled with -ffp-contract=off), rounding is half to even, and no value passes int32 (checked when planned).
 *
 *     f = float(sum + bias) * scale;  f = f < 0 ? f * slope : f
 *     with a residual:  f = (limit(round(f)) * between_scale + float(residual - residual_zero) * residual_scale) / y_scale
 *                       f = f < 0 ? f * after_slope : f
 *     stored = limit(round(f) + zero)      or, for a float output, limit(f)
 *
 * Zero points of the activations are folded into bias: sums run over the integers as they are stored. */
#ifndef PITH_KERNELS_REQUANTIZE_H
#define PITH_KERNELS_REQUANTIZE_H

#include <math.h>

#include "libpith/kernels/kernel.h"

#define PITH_REQUANTIZE_SPARE 64 /* entries of bias and scale past the last channel: zeros, for whole vectors */

struct pith_requantize {
    int32_t *bias; /* a channel, in steps of its sums */
    /* 16-bit inputs alone: the same, whole numbers that double adds to any sum exactly; and whether sums with it may pass
     * int32, so that only this one counts */
    double *long_bias;
    bool is_long;
    float *scale;  /* a channel: from steps of its sums to steps of the output (float output: to reals) */
    float product_scale; /* what a step of the product stands for: of the output, or of the grid before a residual; 1: reals */
    float slope;   /* of what is negative; 1: as it is */
    /* the residual */
    bool adds;
    bool rounds_between;             /* whether the grid between product and addition is rounded to */
    float between_low, between_high; /* in steps of that grid, 0 being real 0 */
    float between_scale, residual_scale, y_scale; /* what a step of that grid, of the residual, of the output stands for */
    int32_t residual_zero;
    float after_slope;
    /* the store */
    bool real; /* float32 output: real_low and real_high limit it, else low and high, in stored integers */
    float real_low, real_high;
    int32_t zero, low, high;
    bool limits; /* whether low or high are others than an unsigned byte's own */
};

/* What pith_requantize_plan knows of one channel's weights. */
struct pith_weight_sums {
    int64_t sum, magnitude; /* of the weights less their zero point; of their magnitudes */
};

#define PITH_SUM_DEPTH_LIMIT 32768 /* products a sum: 255 * 128 * depth + 2^30 of bias stays below 2^31 */

/* Reads the step's output, activation and residual. sum_scale[c]: what one of channel c's sums stands for; bias[c]: real, or
 * NULL. -ENOTSUP where the output or residual has another form, or values could pass int32. */
int pith_requantize_plan(struct pith_step *step, struct pith_requantize *out, int64_t channels, const double *sum_scale,
                         const double *bias, const struct pith_weight_sums *weights, int32_t x_zero,
                         struct pith_error *err) PITH_CHECKED;

/* A grid of 8 bits with one scale; of int16. */
bool pith_is_byte_grid(const struct pith_quantization *q);
bool pith_is_word_grid(const struct pith_quantization *q);
/* The zero point of values that are stored as `dtype`, int8 or uint8; those of a grid of the other type lie 128 off. int16: of
 * a grid of that type. */
int32_t pith_stored_zero(const struct pith_quantization *q, int32_t dtype);
/* The real bias of each channel: float32, or integers with their quantization. -ENOTSUP where it has another form, or an entry
 * is no number. */
int pith_read_bias(struct pith_step *step, size_t input, int64_t channels, double *out, struct pith_error *err) PITH_CHECKED;
/* A real bias in steps of the sums, cut off at 2^30, what int32 sums have room for. sum_scale: what one of the sums stands for;
 * scale: how many steps of the output that is; real: floats come out. False where the cut would show: what is behind it must lie
 * past the output's limits all the same. */
bool pith_bias_in_sums(double bias, double sum_scale, double scale, bool real, int32_t *out);

static inline float pith_requantize_slant(const struct pith_requantize *r, float f)
{
    return f < 0.0F ? f * r->slope : f;
}

static inline float pith_requantize_real(const struct pith_requantize *r, int64_t channel, int32_t sum)
{
    return pith_requantize_slant(r, (float) (int32_t) ((uint32_t) sum + (uint32_t) r->bias[channel]) * r->scale[channel]);
}

/* residual: the stored integer. */
static inline float pith_requantize_add(const struct pith_requantize *r, float f, int32_t residual)
{
    f = r->rounds_between ? rintf(f) : f;
    f = f < r->between_low ? r->between_low : f;
    f = f > r->between_high ? r->between_high : f;
    f = (f * r->between_scale + (float) (residual - r->residual_zero) * r->residual_scale) / r->y_scale;
    return f < 0.0F ? f * r->after_slope : f;
}

static inline int32_t pith_requantize_integer(const struct pith_requantize *r, float f)
{
    const int32_t q = (int32_t) rintf(f) + r->zero;

    return q < r->low ? r->low : q > r->high ? r->high : q;
}

static inline uint8_t pith_requantize_store(const struct pith_requantize *r, float f)
{
    return (uint8_t) pith_requantize_integer(r, f);
}

static inline float pith_requantize_limit(const struct pith_requantize *r, float f)
{
    f = f < r->real_low ? r->real_low : f;
    return f > r->real_high ? r->real_high : f;
}

#endif
