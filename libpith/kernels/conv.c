/* Conv in float32: x (N,C,D,H,W), w (M,C/groups,Kd,Kh,Kw), in 1, 2 or 3 spatial dimensions.
 * A panel of output pixels at a time is gathered into columns (im2col) and multiplied with the
 * weights where they lie; the panel stays in the cache, so no column matrix of the whole image is
 * ever made. Depthwise convolutions add tap by tap along rows instead. Integer convolutions are in
 * conv_quantized.c. */
#include "libpith/kernels/families.h"
#include "libpith/kernels/gemm.h"
#include "libpith/kernels/sliding.h"

#include <errno.h>
#include <string.h>

struct conv {
    const struct pith_gemm_form *form;
    struct pith_sliding window;
    int64_t batch, groups;
    int64_t in_channels, out_channels; /* of a group */
    int64_t depth;                     /* in_channels * taps */
    bool depthwise;                    /* one input channel a group */
};

static int conv_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape, *w = &step->input[1].shape;
    struct conv *conv = pith_step_alloc(step, sizeof *conv);
    int rc;

    if (!conv)
        return -ENOMEM;
    rc = pith_sliding_read_conv(step, w, &conv->window, &conv->groups, err);
    if (rc < 0)
        return rc;
    conv->form = pith_gemm_form();
    conv->batch = x->dim[0];
    if (pith_step_has(step, 2) &&
        (step->input[2].shape.rank != 1 || step->input[2].shape.dim[0] != w->dim[0]))
        return pith_step_fail(step, err, -EINVAL, "the bias needs %lld entries",
                              (long long) w->dim[0]);
    pith_sliding_flatten(&conv->window);
    conv->in_channels = w->dim[1];
    conv->out_channels = w->dim[0] / conv->groups;
    conv->depth = conv->in_channels * conv->window.taps;
    conv->depthwise = conv->in_channels == 1 && conv->groups > 1;
    if (!conv->depthwise) {
        const int64_t packed =
            pith_gemm_packed(conv->form, conv->depth, conv->form->panel) * (int64_t) sizeof(float);

        if (packed > PITH_STEP_MAX_BYTES)
            return pith_step_fail(step, err, -EINVAL, "the window needs %lld bytes of scratch",
                                  (long long) packed);
        step->scratch_bytes = (size_t) packed;
    }
    step->macs = (uint64_t) (conv->batch * w->dim[0] * conv->depth * conv->window.out_plane);
    step->params = conv;
    return 0;
}

/* to[j] = row[left + j * stride] for j in [before, inside), 0 elsewhere. */
static void gather_run(float *restrict to, const float *restrict row, int64_t left, int64_t stride,
                       int64_t before, int64_t inside, int64_t count)
{
    for (int64_t j = 0; j < before; j++)
        to[j] = 0.0F;
    if (stride == 1) {
        for (int64_t j = before; j < inside; j++)
            to[j] = row[left + j];
    } else {
        for (int64_t j = before; j < inside; j++)
            to[j] = row[left + j * stride];
    }
    for (int64_t j = inside; j < count; j++)
        to[j] = 0.0F;
}

/* What one tap sees of one segment, in all channels. */
static void gather_tap(const struct conv *conv, float *packed, const float *x,
                       const struct pith_segment *s, int64_t tap)
{
    const struct pith_sliding *w = &conv->window;
    const int64_t kx = tap % w->kernel[2], ky = tap / w->kernel[2] % w->kernel[1],
                  kz = tap / (w->kernel[2] * w->kernel[1]);
    const int64_t z = s->z * w->stride[0] - w->pad[0] + kz * w->dilation[0];
    const int64_t y = s->y * w->stride[1] - w->pad[1] + ky * w->dilation[1];
    const int64_t left = s->x * w->stride[2] - w->pad[2] + kx * w->dilation[2];
    const int64_t panel = conv->form->panel;
    const bool outside = z < 0 || z >= w->in[0] || y < 0 || y >= w->in[1];
    int64_t from = 0, to = 0;

    if (!outside)
        pith_sliding_valid(w, 2, kx, s->x, s->count, &from, &to);
    for (int64_t c = 0; c < conv->in_channels; c++) {
        float *column = packed + (c * w->taps + tap) * panel + s->at;

        if (to <= from)
            memset(column, 0, (size_t) s->count * sizeof *column);
        else
            gather_run(column, x + c * w->in_plane + (z * w->in[1] + y) * w->in[2], left,
                       w->stride[2], from, to, s->count);
    }
}

static void conv_group(const struct pith_step *step, const struct conv *conv, int64_t n,
                       int64_t group)
{
    const struct pith_sliding *w = &conv->window;
    const float *x = (const float *) step->input[0].data +
                     (n * conv->groups + group) * conv->in_channels * w->in_plane;
    float *y = (float *) step->output[0].data +
               (n * conv->groups + group) * conv->out_channels * w->out_plane;
    const float *bias = pith_step_has(step, 2)
                            ? (const float *) step->input[2].data + group * conv->out_channels
                            : NULL;
    const int64_t panel = conv->form->panel;
    struct pith_segment segments[PITH_GEMM_MAX_PANEL];
    float *packed = step->scratch;

    for (int64_t pixel = 0; pixel < w->out_plane; pixel += panel) {
        const int64_t count = w->out_plane - pixel < panel ? w->out_plane - pixel : panel;
        const int used = pith_sliding_cut(w, pixel, count, segments);

        for (int64_t tap = 0; tap < w->taps; tap++)
            for (int s = 0; s < used; s++)
                gather_tap(conv, packed, x, &segments[s], tap);
        conv->form->f32(&(struct pith_gemm_f32){
            .rows = conv->out_channels,
            .cols = count,
            .depth = conv->depth,
            .a = (const float *) step->input[1].data + group * conv->out_channels * conv->depth,
            .a_row = conv->depth,
            .a_depth = 1,
            .b = packed,
            .c = y + pixel,
            .c_row = w->out_plane,
            .row_bias = bias,
            .activation = step->activation,
        });
    }
}

/* One output channel over its only input channel. */
static void conv_channel(const struct conv *conv, float *y, const float *x, const float *weights)
{
    const struct pith_sliding *w = &conv->window;

    for (int64_t tap = 0; tap < w->taps; tap++) {
        const int64_t kx = tap % w->kernel[2], ky = tap / w->kernel[2] % w->kernel[1],
                      kz = tap / (w->kernel[2] * w->kernel[1]);
        int64_t z0, z1, y0, y1, x0, x1;

        pith_sliding_valid(w, 0, kz, 0, w->out[0], &z0, &z1);
        pith_sliding_valid(w, 1, ky, 0, w->out[1], &y0, &y1);
        pith_sliding_valid(w, 2, kx, 0, w->out[2], &x0, &x1);
        for (int64_t z = z0; z < z1 && x1 > x0; z++) {
            for (int64_t row = y0; row < y1; row++) {
                const int64_t from_z = z * w->stride[0] - w->pad[0] + kz * w->dilation[0];
                const int64_t from_y = row * w->stride[1] - w->pad[1] + ky * w->dilation[1];
                const int64_t from_x = x0 * w->stride[2] - w->pad[2] + kx * w->dilation[2];

                conv->form->tap_f32(y + (z * w->out[1] + row) * w->out[2] + x0,
                                    x + (from_z * w->in[1] + from_y) * w->in[2] + from_x,
                                    w->stride[2], weights[tap], x1 - x0);
            }
        }
    }
}

static void conv_depthwise(const struct pith_step *step, const struct conv *conv)
{
    const struct pith_sliding *w = &conv->window;
    const float *bias = pith_step_has(step, 2) ? step->input[2].data : NULL;
    const int64_t channels = conv->groups * conv->out_channels;

    for (int64_t i = 0; i < conv->batch * channels; i++) {
        const int64_t channel = i % channels;
        const float *x = (const float *) step->input[0].data +
                         (i / channels * conv->groups + channel / conv->out_channels) * w->in_plane;
        float *y = (float *) step->output[0].data + i * w->out_plane;

        for (int64_t p = 0; p < w->out_plane; p++)
            y[p] = bias ? bias[channel] : 0.0F;
        conv_channel(conv, y, x, (const float *) step->input[1].data + channel * w->taps);
        if (step->activation.set)
            for (int64_t p = 0; p < w->out_plane; p++)
                y[p] = pith_activate(&step->activation, y[p]);
    }
}

static int conv_run(struct pith_step *step, struct pith_error *err)
{
    const struct conv *conv = step->params;

    (void) err;
    if (conv->depthwise) {
        conv_depthwise(step, conv);
        return 0;
    }
    for (int64_t n = 0; n < conv->batch; n++)
        for (int64_t group = 0; group < conv->groups; group++)
            conv_group(step, conv, n, group);
    return 0;
}

const struct pith_kernel pith_kernels_conv[] = {
    {.op = "Conv",
     .name = "conv_f32",
     .types = {PITH_BIT(FLOAT32), PITH_BIT(FLOAT32), PITH_BIT(FLOAT32)},
     .flags = PITH_KERNEL_FUSES_ACTIVATION,
     .prepare = conv_prepare,
     .run = conv_run},
    {0},
};
