/* Planning how sums become what is stored: grids, activations and residuals brought to a few
 * numbers. See requantize.h. */
#include "libpith/kernels/requantize.h"

#include <errno.h>

#define BIAS_LIMIT  1073741824.0 /* 2^30 */
#define FAR_STEPS   65536.0      /* of an 8-bit output: a bias that is cut off there lies past its limits all the same */
#define DEAD_STEPS  1048576.0    /* what a bias is in sums of a channel that has no weights */
#define LONG_LIMIT  1125899906842624.0 /* 2^50: doubles hold sums with it exactly */
#define VALUE_LIMIT 1073741824.0 /* of every float that is rounded: half of what int32 holds */

bool pith_is_byte_grid(const struct pith_quantization *q)
{
    return q && q->count == 1 && q->block_size == 0 &&
           (q->dtype == PITH_INT8 || q->dtype == PITH_UINT8);
}

bool pith_is_word_grid(const struct pith_quantization *q)
{
    return q && q->count == 1 && q->block_size == 0 && q->dtype == PITH_INT16;
}

/* Activations of a step are all of 8 bits, or all of 16. */
static bool is_grid(const struct pith_step *step, const struct pith_quantization *q)
{
    return step->input[0].dtype == PITH_INT16 ? pith_is_word_grid(q) : pith_is_byte_grid(q);
}

static int32_t span_of(const struct pith_step *step)
{
    return step->input[0].dtype == PITH_INT16 ? 65535 : 255;
}

int32_t pith_stored_zero(const struct pith_quantization *q, int32_t dtype)
{
    if (q->dtype == dtype)
        return q->zero_point[0];
    return q->zero_point[0] + (dtype == PITH_UINT8 ? 128 : -128);
}

int pith_read_bias(struct pith_step *step, size_t input, int64_t channels, double *out,
                   struct pith_error *err)
{
    const struct pith_tensor *bias = &step->input[input];
    const struct pith_quantization *q = step->input_quantization[input];

    if (!bias->data)
        return pith_step_needs(step, input);
    if (pith_shape_elements(&bias->shape) != channels || (!q && bias->dtype != PITH_FLOAT32) ||
        (q && (q->block_size != 0 || (q->count != 1 && (int64_t) q->count != channels))))
        return pith_step_fail(step, err, -ENOTSUP, "this bias is not one for the integer kernel");
    for (int64_t c = 0; c < channels; c++) {
        const int64_t at = q && q->count > 1 ? c : 0;

        out[c] =
            q ? (double) (pith_tensor_get_int(bias, c) - q->zero_point[at]) * (double) q->scale[at]
              : pith_tensor_get(bias, c);
        if (isnan(out[c]))
            return pith_step_fail(step, err, -ENOTSUP, "an entry of the bias is no number");
    }
    return 0;
}

bool pith_bias_in_sums(double bias, double sum_scale, double scale, bool real, int32_t *out)
{
    const double b = nearbyint(bias / sum_scale);

    *out = (int32_t) (b > BIAS_LIMIT ? BIAS_LIMIT : b > -BIAS_LIMIT ? b : -BIAS_LIMIT);
    return fabs(b) <= BIAS_LIMIT || (!real && BIAS_LIMIT * scale >= FAR_STEPS);
}

static int32_t least_of(int32_t dtype)
{
    return dtype == PITH_INT8 ? -128 : dtype == PITH_INT16 ? -32768 : 0;
}

static float steep(float slope)
{
    return fabsf(slope) > 1.0F ? fabsf(slope) : 1.0F;
}

/* The stored integer on which a real limit in steps of the output lies; rounding keeps order, so
 * that limiting the rounded value is rounding the limited one. */
static int32_t stored_limit(const struct pith_requantize *r, float steps, int32_t least,
                            int32_t span)
{
    const float q = rintf(steps) + (float) r->zero;

    return !(q > (float) least)         ? least
           : q > (float) (least + span) ? least + span
                                        : (int32_t) q;
}

static int plan_grid(struct pith_step *step, struct pith_requantize *r, float *out_scale,
                     struct pith_error *err)
{
    const struct pith_tensor *y = &step->output[0];
    const struct pith_quantization *q = step->output_quantization[0];
    const struct pith_activation *last =
        step->residual.set ? &step->residual.after : &step->activation;
    const int32_t least = least_of(y->dtype);

    if (y->dtype == PITH_FLOAT32 && !q && !step->residual.set) {
        r->real = true;
        r->real_low = last->low;
        r->real_high = last->high;
        *out_scale = 1.0F;
        return 0;
    }
    if (!is_grid(step, q) ||
        (y->dtype != PITH_INT16 && y->dtype != PITH_INT8 && y->dtype != PITH_UINT8) ||
        (y->dtype == PITH_INT16) != (step->input[0].dtype == PITH_INT16))
        return pith_step_fail(step, err, -ENOTSUP,
                              "this output's quantization is not one for the integer kernel");
    *out_scale = q->scale[0];
    r->zero = pith_stored_zero(q, y->dtype);
    r->low = stored_limit(r, last->low / q->scale[0], least, span_of(step));
    r->high = stored_limit(r, last->high / q->scale[0], least, span_of(step));
    r->limits = r->low != 0 || r->high != 255;
    return 0;
}

/* *out_scale: the grid that the product is brought to before the addition. */
static int plan_residual(struct pith_step *step, struct pith_requantize *r, float y_scale,
                         float *out_scale, struct pith_error *err)
{
    const struct pith_residual *residual = &step->residual;
    const struct pith_quantization *q = step->input_quantization[residual->input],
                                   *between = residual->between;
    const struct pith_activation *first = &step->activation;
    float low = first->low, high = first->high;

    *out_scale = y_scale;
    r->after_slope = 1.0F;
    if (!residual->set)
        return 0;
    if (!is_grid(step, q) || (between && !is_grid(step, between)))
        return pith_step_fail(step, err, -ENOTSUP,
                              "this residual's quantization is not one for the integer kernel");
    r->adds = true;
    r->residual_zero = pith_stored_zero(q, step->input[residual->input].dtype);
    r->residual_scale = q->scale[0];
    r->y_scale = y_scale;
    r->after_slope = residual->after.slope;
    r->between_scale = 1.0F;
    *out_scale = 1.0F;
    if (between) {
        const float least = (float) (least_of(between->dtype) - between->zero_point[0]);

        *out_scale = between->scale[0];
        r->rounds_between = true;
        r->between_scale = between->scale[0];
        low = rintf(low / between->scale[0]);
        high = rintf(high / between->scale[0]);
        low = low > least ? low : least;
        high = high < least + (float) span_of(step) ? high : least + (float) span_of(step);
    }
    r->between_low = low;
    r->between_high = high > low ? high : low;
    return 0;
}

/* The greatest magnitude of anything that is rounded, given that of the product. */
static bool stays_in_range(const struct pith_requantize *r, double product, double span)
{
    double sum;

    product *= (double) steep(r->slope);
    if (!(product < VALUE_LIMIT))
        return false;
    if (!r->adds)
        return true;
    sum = product * (double) r->between_scale + span * (double) r->residual_scale;
    return sum / (double) r->y_scale * (double) steep(r->after_slope) < VALUE_LIMIT;
}

static int alloc_channels(struct pith_step *step, struct pith_requantize *r, int64_t channels)
{
    const int64_t padded = channels + PITH_REQUANTIZE_SPARE;

    r->bias = pith_step_alloc(step, padded * (int64_t) sizeof *r->bias);
    r->scale = pith_step_alloc(step, padded * (int64_t) sizeof *r->scale);
    if (step->input[0].dtype == PITH_INT16)
        r->long_bias = pith_step_alloc(step, padded * (int64_t) sizeof *r->long_bias);
    return r->bias && r->scale && (r->long_bias || step->input[0].dtype != PITH_INT16) ? 0
                                                                                      : -ENOMEM;
}

/* Of a channel, in steps of its sums: the model's bias, and what the zero point adds to every sum. Of words in int32 too, where
 * all sums with it fit. False where it passes what sums hold. */
static bool set_bias(struct pith_requantize *r, int64_t channel, double bias, double sum_scale,
                     const struct pith_weight_sums *w, int32_t x_zero)
{
    const double steps = nearbyint(bias / sum_scale), all = steps - (double) (x_zero * w->sum);

    if (!r->long_bias) {
        if (!pith_bias_in_sums(bias, sum_scale, (double) r->scale[channel], r->real,
                               &r->bias[channel]))
            return false;
        r->bias[channel] = (int32_t) (r->bias[channel] - x_zero * w->sum); /* sums wrap, too */
        return true;
    }
    r->long_bias[channel] = all;
    if (fabs(all) + 32768.0 * (double) w->magnitude <= (double) INT32_MAX)
        r->bias[channel] = (int32_t) all;
    else
        r->is_long = true;
    return fabs(steps) <= LONG_LIMIT;
}

/* The greatest magnitude of a sum with its bias, the input's zero point taken off. */
static double greatest_sum(const struct pith_step *step, double bias,
                           const struct pith_weight_sums *w)
{
    const double most = (double) span_of(step) * (double) w->magnitude + bias;

    if (step->input[0].dtype == PITH_INT16)
        return most;
    return most < BIAS_LIMIT ? most : 2.0 * BIAS_LIMIT;
}

/* What one of a channel's sums stands for. Where no weight is there but 0, it is the bias alone, and any scale will do in which
 * that is not cut off: quantizers give such channels the least scale that they know. */
static double scale_of_sums(double scale, double bias, const struct pith_weight_sums *weights)
{
    return weights->magnitude == 0 && fabs(bias) > BIAS_LIMIT * scale ? fabs(bias) / DEAD_STEPS : scale;
}

int pith_requantize_plan(struct pith_step *step, struct pith_requantize *out, int64_t channels,
                         const double *sum_scale, const double *bias,
                         const struct pith_weight_sums *weights, int32_t x_zero,
                         struct pith_error *err)
{
    struct pith_requantize r = {.slope = step->activation.slope};
    float y_scale = 1.0F, product_scale = 1.0F;
    int rc = plan_grid(step, &r, &y_scale, err);

    if (rc == 0)
        rc = plan_residual(step, &r, y_scale, &product_scale, err);
    if (rc < 0)
        return rc;
    r.product_scale = product_scale;
    rc = alloc_channels(step, &r, channels);
    for (int64_t c = 0; rc == 0 && c < channels; c++) {
        const double real = bias ? bias[c] : 0.0,
                     one = scale_of_sums(sum_scale[c], real, &weights[c]);

        r.scale[c] = (float) (one / (double) product_scale);
        if (!set_bias(&r, c, real, one, &weights[c], x_zero))
            return pith_step_fail(step, err, -ENOTSUP, "this bias passes what sums hold");
        if (!r.real && !stays_in_range(&r,
                                       greatest_sum(step, fabs(real / one), &weights[c]) *
                                           (double) r.scale[c],
                                       span_of(step)))
            return pith_step_fail(step, err, -ENOTSUP,
                                  "scales so far apart are not for the integer kernel");
    }
    *out = r;
    return rc;
}
