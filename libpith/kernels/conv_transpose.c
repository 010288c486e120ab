/* ConvTranspose in float32: every input pixel is spread over the output by the kernel. Tap by tap
 * and row by row, so that the inner loop is a scaled addition of a row. */
#include "libpith/kernels/conv_transpose.h"

#include <errno.h>
#include <string.h>

#include "libpith/kernels/families.h"

/* Where the model gives the output's shape, or asks for SAME, padding is what is left over. */
static int plan_pads(struct pith_step *step, struct pith_sliding *w, struct pith_error *err)
{
    const char *auto_pad = pith_node_string(step->graph, step->node, "auto_pad", "NOTSET");
    size_t shape_count = 0, extra_count = 0;
    const int64_t *shape = pith_node_ints(step->graph, step->node, "output_shape", &shape_count);
    const int64_t *extra = pith_node_ints(step->graph, step->node, "output_padding", &extra_count);

    if (extra && extra_count != 0 && extra_count != w->spatial)
        return pith_step_fail(step, err, -EINVAL,
                              "output_padding has %zu entries for %u spatial dimensions",
                              extra_count, w->spatial);
    if (!(shape && shape_count) && strncmp(auto_pad, "SAME", 4) != 0)
        return 0;
    for (uint32_t i = 0; i < w->spatial; i++) {
        const uint32_t d = PITH_SLIDING_DIMS - w->spatial + i;
        const int64_t more = extra && extra_count ? extra[i] : 0;
        int64_t total = (w->out[d] - 1) * w->stride[d] + more +
                        (w->kernel[d] - 1) * w->dilation[d] + 1 - w->in[d];

        total = total < 0 ? 0 : total;
        w->pad[d] = strcmp(auto_pad, "SAME_UPPER") == 0 ? total / 2 : total - total / 2;
    }
    return 0;
}

int pith_conv_transpose_read(struct pith_step *step, struct conv_transpose *conv,
                             struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape, *w = &step->input[1].shape,
                            *y = &step->output[0].shape;
    int rc;

    if (x->rank < 3 || w->rank != x->rank || y->rank != x->rank)
        return pith_step_fail(step, err, -EINVAL, "input of rank %u, weights of rank %u", x->rank,
                              w->rank);
    rc = pith_sliding_read(step, y, x, &w->dim[2], &conv->window, err);
    if (rc == 0)
        rc = plan_pads(step, &conv->window, err);
    if (rc < 0)
        return rc;
    conv->batch = x->dim[0];
    conv->groups = pith_node_int(step->graph, step->node, "group", 1);
    if (conv->groups < 1 || x->dim[1] != w->dim[0] || x->dim[1] % conv->groups != 0 ||
        y->dim[0] != x->dim[0] || y->dim[1] / conv->groups != w->dim[1] ||
        y->dim[1] % conv->groups != 0)
        return pith_step_fail(step, err, -EINVAL,
                              "%lld channels in %lld groups don't fit weights for %lld -> %lld",
                              (long long) x->dim[1], (long long) conv->groups,
                              (long long) w->dim[0], (long long) w->dim[1]);
    if (pith_step_has(step, 2) && pith_shape_elements(&step->input[2].shape) != y->dim[1])
        return pith_step_fail(step, err, -EINVAL, "the bias needs %lld entries",
                              (long long) y->dim[1]);
    conv->in_channels = x->dim[1] / conv->groups;
    conv->out_channels = w->dim[1];
    step->macs = (uint64_t) (conv->batch * x->dim[1] * w->dim[1] * conv->window.taps *
                             conv->window.out_plane);
    return 0;
}

static int conv_transpose_prepare(struct pith_step *step, struct pith_error *err)
{
    struct conv_transpose *conv = pith_step_alloc(step, sizeof *conv);

    step->params = conv;
    return conv ? pith_conv_transpose_read(step, conv, err) : -ENOMEM;
}

static void spread_row(float *restrict y, const float *restrict x, int64_t stride, float w,
                       int64_t count)
{
    if (stride == 1)
        for (int64_t i = 0; i < count; i++)
            y[i] += w * x[i];
    else
        for (int64_t i = 0; i < count; i++)
            y[i * stride] += w * x[i];
}

static void spread_channel(const struct pith_sliding *w, float *y, const float *x,
                           const float *weights)
{
    for (int64_t tap = 0; tap < w->taps; tap++) {
        const int64_t k[3] = {tap / (w->kernel[2] * w->kernel[1]),
                              tap / w->kernel[2] % w->kernel[1], tap % w->kernel[2]};
        int64_t from[3], to[3];

        for (int d = 0; d < 3; d++)
            pith_sliding_valid(w, d, k[d], 0, w->out[d], &from[d], &to[d]);
        for (int64_t z = from[0]; z < to[0] && to[2] > from[2]; z++)
            for (int64_t row = from[1]; row < to[1]; row++) {
                const int64_t at_z = z * w->stride[0] - w->pad[0] + k[0] * w->dilation[0];
                const int64_t at_y = row * w->stride[1] - w->pad[1] + k[1] * w->dilation[1];
                const int64_t at_x = from[2] * w->stride[2] - w->pad[2] + k[2] * w->dilation[2];

                spread_row(y + (at_z * w->in[1] + at_y) * w->in[2] + at_x,
                           x + (z * w->out[1] + row) * w->out[2] + from[2], w->stride[2],
                           weights[tap], to[2] - from[2]);
            }
    }
}

static int conv_transpose_run(struct pith_step *step, struct pith_error *err)
{
    const struct conv_transpose *conv = step->params;
    const struct pith_sliding *w = &conv->window;
    const float *bias = pith_step_has(step, 2) ? step->input[2].data : NULL;
    const int64_t outs = conv->groups * conv->out_channels, ins = conv->groups * conv->in_channels;

    (void) err;
    for (int64_t i = 0; i < conv->batch * outs; i++) {
        const int64_t n = i / outs, m = i % outs, group = m / conv->out_channels;
        float *y = (float *) step->output[0].data + i * w->in_plane;

        for (int64_t p = 0; p < w->in_plane; p++)
            y[p] = bias ? bias[m] : 0.0F;
        for (int64_t c = group * conv->in_channels; c < (group + 1) * conv->in_channels; c++)
            spread_channel(w, y, (const float *) step->input[0].data + (n * ins + c) * w->out_plane,
                           (const float *) step->input[1].data +
                               (c * conv->out_channels + m % conv->out_channels) * w->taps);
    }
    return 0;
}

/* ---- phases, for channels-last values ---- */

bool pith_conv_transpose_has_phases(const struct pith_step *step, const struct conv_transpose *conv)
{
    const struct pith_sliding *w = &conv->window;

    return step->input[0].shape.rank <= 4 && w->dilation[1] == 1 && w->dilation[2] == 1 &&
           w->stride[1] <= PITH_MOST_PHASES && w->stride[2] <= PITH_MOST_PHASES &&
           w->stride[1] * w->stride[2] <= PITH_MOST_PHASES && w->pad[1] >= 0 && w->pad[2] >= 0 &&
           step->input[1].data && (!pith_step_has(step, 2) || step->input[2].data);
}

/* Output y = first + m * stride takes input m - pad + t with tap (taps - 1 - t) of the phase's. */
static struct pith_phase phase_of(const struct pith_sliding *w, int d, int64_t first)
{
    const int64_t shifted = first + w->pad[d], tap = shifted % w->stride[d];
    struct pith_phase a = {.first = first, .tap = tap};

    a.count = first < w->in[d] ? (w->in[d] - 1 - first) / w->stride[d] + 1 : 0;
    a.taps = tap < w->kernel[d] ? (w->kernel[d] - 1 - tap) / w->stride[d] + 1 : 0;
    a.pad = a.taps - 1 - shifted / w->stride[d];
    if (a.taps == 0) { /* the kernel is smaller than the stride: nothing but the bias */
        a.taps = 1;
        a.tap = -1;
        a.pad = 0;
    }
    return a;
}

/* Whether the input's halo holds what the phase reads. */
static bool phase_fits(const struct pith_phase *a, int64_t in, int32_t before, int32_t behind)
{
    return a->pad <= before && a->count - 1 - a->pad + a->taps <= in + behind;
}

int pith_conv_transpose_phase(struct pith_step *step, const struct conv_transpose *conv, int64_t i,
                              struct pith_phase *down, struct pith_phase *across,
                              struct pith_error *err)
{
    const struct pith_sliding *w = &conv->window;
    const struct pith_image *x = &step->input_image[0];

    *down = phase_of(w, 1, i / w->stride[2]);
    *across = phase_of(w, 2, i % w->stride[2]);
    if (down->count == 0 || across->count == 0)
        return 1;
    if (!phase_fits(down, w->out[1], x->top, x->bottom) ||
        !phase_fits(across, w->out[2], x->left, x->right))
        return pith_step_fail(step, err, -ENOTSUP, "its window reaches past the halo");
    return 0;
}

int64_t pith_phase_weight(const struct conv_transpose *t, const struct pith_phase *down,
                          const struct pith_phase *across, int64_t m, int64_t c, int64_t i)
{
    const struct pith_sliding *w = &t->window;
    const int64_t ky = down->tap + (down->taps - 1 - i / across->taps) * w->stride[1],
                  kx = across->tap + (across->taps - 1 - i % across->taps) * w->stride[2];

    if (down->tap < 0 || across->tap < 0)
        return -1;
    return ((m / t->out_channels * t->in_channels + c) * t->out_channels + m % t->out_channels) *
               w->taps +
           ky * w->kernel[2] + kx;
}

const struct pith_kernel pith_kernels_conv_transpose[] = {
    {.op = "ConvTranspose",
     .name = "conv_transpose_f32",
     .types = {PITH_BIT(FLOAT32), PITH_BIT(FLOAT32), PITH_BIT(FLOAT32)},
     .prepare = conv_transpose_prepare,
     .run = conv_transpose_run},
    {0},
};
