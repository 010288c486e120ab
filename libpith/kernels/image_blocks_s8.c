/* Weights with a scale for each block of input channels: planning, and the plain sum that defines
 * what fast forms give. See image_blocks_s8.h. */
#include "libpith/kernels/image_blocks_s8.h"

#include <errno.h>

static int64_t block_count(const struct pith_conv_s8 *conv, int64_t size)
{
    return (conv->in_channels + size - 1) / size;
}

static int64_t scale_at(const struct pith_blocks_s8_layout *layout, int64_t m, int64_t block,
                        int64_t tap)
{
    return m * layout->scale_out + block * layout->scale_block + tap;
}

static int64_t weight_of(const struct pith_step *step, const struct pith_blocks_s8_layout *layout,
                         int64_t m, int64_t i, int64_t tap)
{
    const struct pith_quantization *q = step->input_quantization[1];

    return pith_tensor_get_int(&step->input[1], m * layout->out + i * layout->in + tap) -
           q->zero_point[scale_at(layout, m, i / q->block_size, tap)];
}

bool pith_blocks_s8_fit(const struct pith_step *step, const struct pith_conv_s8 *conv,
                        const struct pith_blocks_s8_layout *layout)
{
    const struct pith_quantization *q = step->input_quantization[1];
    const int64_t taps = conv->kernel[0] * conv->kernel[1];

#if !defined __x86_64__
    return false; /* no fast form: floats are faster than the plain loops */
#endif
    if (!step->input[1].data || conv->groups != 1 || !q || q->block_size < 1 ||
        (int64_t) q->count != conv->y.c * block_count(conv, q->block_size) * taps)
        return false;
    for (int64_t m = 0; m < conv->y.c; m++)
        for (int64_t i = 0; i < conv->in_channels; i++)
            for (int64_t tap = 0; tap < taps; tap++) {
                const int64_t w = weight_of(step, layout, m, i, tap);

                if (w < -8 || w > 7)
                    return false;
            }
    return true;
}

/* To (out, taps, in), with the sum of each block, in bias, and the magnitudes of each channel. */
static void order_weights(const struct pith_step *step, const struct pith_conv_s8 *conv,
                          const struct pith_blocks_s8_layout *layout, struct pith_blocks_s8 *blocks,
                          int8_t *to, struct pith_weight_sums *sums)
{
    const int64_t taps = conv->kernel[0] * conv->kernel[1];

    for (int64_t m = 0; m < conv->y.c; m++)
        for (int64_t tap = 0; tap < taps; tap++)
            for (int64_t i = 0; i < conv->in_channels; i++) {
                const int8_t w = (int8_t) weight_of(step, layout, m, i, tap);

                *to++ = w;
                blocks->bias[(tap * blocks->count + i / blocks->size) * blocks->padded + m] += w;
                sums[m].magnitude += w < 0 ? -w : w;
            }
}

static int alloc_blocks(struct pith_step *step, const struct pith_conv_s8 *conv, int64_t size,
                        struct pith_blocks_s8 **out)
{
    struct pith_blocks_s8 *b = pith_step_alloc(step, sizeof *b);
    int64_t rows;

    if (!b)
        return -ENOMEM;
    b->size = size;
    b->count = block_count(conv, size);
    b->padded = conv->y.c + PITH_REQUANTIZE_SPARE;
    rows = conv->kernel[0] * conv->kernel[1] * b->count * b->padded;
    b->bias = pith_step_alloc(step, rows * (int64_t) sizeof *b->bias);
    b->scale = pith_step_alloc(step, rows * (int64_t) sizeof *b->scale);
    b->start = pith_step_alloc(step, b->padded * (int64_t) sizeof *b->start);
    *out = b;
    return b->bias && b->scale && b->start ? 0 : -ENOMEM;
}

/* What a sum of the greatest of a channel's scales stands for: the bound on what may be stored is
 * held with that. */
static void bound_scales(const struct pith_step *step, const struct pith_conv_s8 *conv,
                         const struct pith_blocks_s8_layout *layout,
                         const struct pith_blocks_s8 *blocks, double *most)
{
    const struct pith_quantization *q = step->input_quantization[1];
    const int64_t taps = conv->kernel[0] * conv->kernel[1];

    for (int64_t m = 0; m < conv->y.c; m++)
        for (int64_t b = 0; b < blocks->count; b++)
            for (int64_t tap = 0; tap < taps; tap++) {
                const double scale = (double) step->input_quantization[0]->scale[0] *
                                     (double) q->scale[scale_at(layout, m, b, tap)];

                most[m] = scale > most[m] ? scale : most[m];
            }
}

static void set_scales(const struct pith_step *step, const struct pith_conv_s8 *conv,
                       const struct pith_blocks_s8_layout *layout, const struct pith_blocks_s8 *b,
                       const double *bias, int32_t x_zero)
{
    const struct pith_quantization *q = step->input_quantization[1];
    const int64_t taps = conv->kernel[0] * conv->kernel[1];
    const double x_scale = (double) step->input_quantization[0]->scale[0],
                 y_scale = (double) conv->to.product_scale;

    for (int64_t m = 0; m < conv->y.c; m++) {
        for (int64_t tap = 0; tap < taps; tap++)
            for (int64_t block = 0; block < b->count; block++) {
                const int64_t at = (tap * b->count + block) * b->padded + m;

                b->scale[at] =
                    (float) (x_scale * (double) q->scale[scale_at(layout, m, block, tap)] /
                             y_scale);
                b->bias[at] *= -x_zero;
            }
        b->start[m] = bias ? (float) (bias[m] / y_scale) : 0.0F;
    }
}

int pith_blocks_s8_plan(struct pith_step *step, struct pith_conv_s8 *conv,
                        const struct pith_blocks_s8_layout *layout, const double *bias, int32_t x_zero,
                        struct pith_error *err)
{
    const int64_t channels = conv->y.c;
    struct pith_weight_sums *sums = pith_step_alloc(step, channels * (int64_t) sizeof *sums);
    double *most = pith_step_alloc(step, channels * (int64_t) sizeof *most);
    int8_t *weights = pith_step_alloc(step, channels * conv->kernel[0] * conv->kernel[1] *
                                                conv->in_channels);
    struct pith_blocks_s8 *blocks = NULL;
    int rc = sums && most && weights
                 ? alloc_blocks(step, conv, step->input_quantization[1]->block_size, &blocks)
                 : -ENOMEM;

    conv->weights = weights;
    conv->blocks = blocks;
    if (rc == 0) {
        order_weights(step, conv, layout, blocks, weights, sums);
        bound_scales(step, conv, layout, blocks, most);
        rc = pith_requantize_plan(step, &conv->to, channels, most, bias, sums, 0, err);
    }
    if (rc == 0)
        set_scales(step, conv, layout, blocks, bias, x_zero);
    pith_step_release(step, sums);
    pith_step_release(step, most);
    return rc;
}

/* ---- the definition ---- */

float pith_blocks_s8_plain(const struct pith_conv_s8 *conv, const uint8_t *x, int64_t channel)
{
    const struct pith_blocks_s8 *b = conv->blocks;
    const int64_t taps = conv->kernel[0] * conv->kernel[1];
    const int8_t *w = conv->weights + channel * taps * conv->in_channels;
    float f = b->start[channel];

    for (int64_t tap = 0; tap < taps; tap++) {
        const uint8_t *from = x + tap / conv->kernel[1] * conv->dilation[0] * conv->in.row +
                              tap % conv->kernel[1] * conv->dilation[1] * conv->in.pixel;

        for (int64_t block = 0; block < b->count; block++) {
            const int64_t at = (tap * b->count + block) * b->padded + channel,
                          end = (block + 1) * b->size < conv->in_channels ? (block + 1) * b->size
                                                                          : conv->in_channels;
            int32_t sum = b->bias[at];

            for (int64_t i = block * b->size; i < end; i++)
                sum += pith_image_integer(from[i]) * *w++;
            f = f + (float) sum * b->scale[at];
        }
    }
    return f;
}
