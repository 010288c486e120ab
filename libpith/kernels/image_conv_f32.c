/* Conv in float32 over channels-last values: x (N,H,W,C) with a halo of zeros as wide as the
 * padding, w (M,C/groups,Kh,Kw) constant, in one or two spatial dimensions. The halo makes every
 * tap of every pixel readable, so there is no branch for borders. Planar convolution is in conv.c.
 */
#include "libpith/kernels/image_conv_f32.h"

#include <errno.h>

#include "libpith/kernels/families.h"
#include "libpith/kernels/image_narrow_f32.h"

static int check_shapes(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *w = &step->input[1].shape, *y = &step->output[0].shape;

    if (pith_step_has_bias(step) &&
        (step->input[2].shape.rank != 1 || step->input[2].shape.dim[0] != w->dim[0]))
        return pith_step_fail(step, err, -EINVAL, "the bias needs %lld entries",
                              (long long) w->dim[0]);
    if (step->residual.set && !pith_shape_equal(&step->input[step->residual.input].shape, y))
        return pith_step_fail(step, err, -EINVAL, "what is added must have the output's shape");
    if (!step->input[1].data || (pith_step_has_bias(step) && !step->input[2].data))
        return pith_step_fail(step, err, -ENOTSUP, "weights that are not constant");
    return pith_image_check_weights(step, err);
}

static int image_conv_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape, *w = &step->input[1].shape;
    struct image_conv *conv = pith_step_alloc(step, sizeof *conv);
    int rc;

    if (!conv)
        return -ENOMEM;
    if (x->rank > 4)
        return pith_step_fail(step, err, -EINVAL, "input of rank %u", x->rank);
    rc = pith_sliding_read_conv(step, w, &conv->window, &conv->groups, err);
    if (rc == 0)
        rc = pith_sliding_check_halo(step, &conv->window, &step->input_image[0], err);
    if (rc == 0)
        rc = check_shapes(step, err);
    if (rc < 0)
        return rc;
    conv->batch = x->dim[0];
    conv->in_channels = w->dim[1];
    conv->out_channels = w->dim[0] / conv->groups;
    conv->in = step->input_image[0];
    conv->out = step->output_image[0];
    step->macs = (uint64_t) (conv->batch * w->dim[0] * conv->in_channels * conv->window.taps *
                             conv->window.out_plane);
    if (step->residual.set)
        conv->added = step->input_image[step->residual.input];
    if (pith_step_has_bias(step))
        conv->bias = step->input[2].data;
    step->params = conv;
    conv->form = pith_image_form();
    if (conv->form) {
        step->taken_in = UINT32_C(1) << 1 | (pith_step_has_bias(step) ? UINT32_C(1) << 2 : 0);
        rc = pith_image_conv_pack(step, conv);
        if (rc == 0 && !conv->winograd.weights && !conv->narrow)
            step->rows = pith_sliding_rows(&conv->window);
        return rc;
    }
    if (step->input[1].dtype != PITH_FLOAT32) {
        conv->weights = pith_image_float_weights(step);
        if (!conv->weights)
            return -ENOMEM;
        step->taken_in = UINT32_C(1) << 1;
    }
    conv->rows = conv->window.out[1];
    conv->pictures = conv->batch;
    step->parts = pith_parts_of(conv->pictures * conv->rows);
    step->rows = pith_sliding_rows(&conv->window);
    return 0;
}

/* The sum of one output channel at the pixel whose window begins at x. */
static float window_sum(const struct image_conv *conv, const float *x, const float *w)
{
    const struct pith_sliding *s = &conv->window;
    float sum = 0.0F;

    for (int64_t ky = 0; ky < s->kernel[1]; ky++)
        for (int64_t kx = 0; kx < s->kernel[2]; kx++) {
            const float *pixel =
                x + ky * s->dilation[1] * conv->in.row + kx * s->dilation[2] * conv->in.pixel;

            for (int64_t c = 0; c < conv->in_channels; c++)
                sum += pixel[c] * w[c * s->taps + ky * s->kernel[2] + kx];
        }
    return sum;
}

static void plain_pixel(const struct pith_step *step, const struct image_conv *conv, float *y,
                        const float *x, const float *residual)
{
    const float *w = conv->weights ? conv->weights : step->input[1].data;
    const float *bias = pith_step_has_bias(step) ? step->input[2].data : NULL;

    for (int64_t m = 0; m < conv->groups * conv->out_channels; m++) {
        const int64_t group = m / conv->out_channels;
        float sum = window_sum(conv, x + group * conv->in_channels,
                               w + m * conv->in_channels * conv->window.taps);

        sum = pith_activate(&step->activation, sum + (bias ? bias[m] : 0.0F));
        y[m] = residual ? pith_activate(&step->residual.after, sum + residual[m]) : sum;
    }
}

static void plain_rows(const struct pith_step *step, const struct image_conv *conv, int64_t from,
                       int64_t to)
{
    const struct pith_sliding *s = &conv->window;
    const size_t added = step->residual.input;

    for (int64_t i = from; i < to; i++) {
        const int64_t n = i / s->out[1], row = i % s->out[1];
        const float *x = (const float *) step->input[0].data + n * conv->in.picture +
                         (row * s->stride[1] - s->pad[1]) * conv->in.row -
                         s->pad[2] * conv->in.pixel;
        float *y = (float *) step->output[0].data + n * conv->out.picture + row * conv->out.row;
        const float *residual = NULL;

        if (step->residual.set)
            residual = (const float *) step->input[added].data +
                       n * step->input_image[added].picture + row * step->input_image[added].row;
        for (int64_t col = 0; col < s->out[2]; col++)
            plain_pixel(step, conv, y + col * conv->out.pixel,
                        x + col * s->stride[2] * conv->in.pixel,
                        residual ? residual + col * step->input_image[added].pixel : NULL);
    }
}

static void image_conv_part(struct pith_step *step, uint32_t part, uint32_t count)
{
    const struct image_conv *conv = step->params;
    const int64_t rows = conv->pictures * conv->rows;

    if (conv->winograd.weights)
        pith_image_winograd_run(step, conv, part, count);
    else if (conv->form)
        pith_image_conv_fast(step, conv, part, count);
    else
        plain_rows(step, conv, pith_part_begin(rows, part, count),
                   pith_part_begin(rows, part + 1, count));
    pith_image_zero_halo_part(step, 0, part, count);
}

static void image_conv_rows(struct pith_step *step, int64_t from, int64_t to)
{
    const struct image_conv *conv = step->params;

    if (conv->form)
        pith_image_conv_fast_rows(step, conv, from, to);
    else
        plain_rows(step, conv, from, to);
    pith_image_zero_halo_rows(step, 0, from, to);
}

static int image_conv_run(struct pith_step *step, struct pith_error *err)
{
    (void) err;
    image_conv_part(step, 0, 1);
    return 0;
}

const struct pith_kernel pith_kernels_image_conv_f32[] = {
    {.op = "Conv",
     .name = "image_conv_f32",
     .types = {PITH_BIT(FLOAT32),
               PITH_BIT(FLOAT32) | PITH_BIT(INT8) | PITH_BIT(UINT8) | PITH_BIT(INT4) |
                   PITH_BIT(UINT4),
               PITH_BIT(FLOAT32)},
     .flags = PITH_KERNEL_CHANNELS_LAST | PITH_KERNEL_FUSES_ACTIVATION |
              PITH_KERNEL_FUSES_RESIDUAL | PITH_KERNEL_NARROW_WEIGHTS,
     .prepare = image_conv_prepare,
     .run = image_conv_run,
     .run_part = image_conv_part,
     .run_rows = image_conv_rows},
    {0},
};
