/* DeformConv in float32, 2-D: each tap of the kernel reads its input at a place of its own, which data moves, between four
 * pixels. A panel of output pixels is gathered at a time, in the form in which products take their right side; the rest
 * is a product with the weights. Zhu et al. 2018, arXiv:1811.11168, section 3.2. */
#include "libpith/kernels/families.h"
#include "libpith/kernels/gemm.h"
#include "libpith/kernels/sliding.h"

#include <errno.h>
#include <math.h>

#define MOST_PARTS 16

struct deform_conv {
    const struct pith_gemm_form *form;
    struct pith_sliding window; /* down and across are dimensions 1 and 2 */
    int64_t batch, groups, in_channels, out_channels; /* channels: of a group */
    int64_t offset_groups, group_channels;            /* channels that share their places */
    int64_t panels, columns_floats;                   /* of a picture; of a part's scratch */
};

/* Where one tap of one output pixel reads: four pixels of a plane, and what each counts. */
struct places {
    int64_t at[4]; /* 0 where it is outside, and counts nothing */
    float weight[4];
    unsigned inside; /* bit i: pixel i is */
};

static bool has_shape(const struct pith_tensor *tensor, int64_t n, int64_t c, int64_t h, int64_t w)
{
    return tensor->dtype == PITH_FLOAT32 && tensor->shape.rank == 4 && tensor->shape.dim[0] == n &&
           tensor->shape.dim[1] == c && tensor->shape.dim[2] == h && tensor->shape.dim[3] == w;
}

static int check_inputs(struct pith_step *step, const struct deform_conv *d, struct pith_error *err)
{
    const int64_t taps = d->window.taps, h = d->window.out[1], w = d->window.out[2];
    const int64_t channels = d->groups * d->in_channels;

    if (d->offset_groups < 1 || channels % d->offset_groups != 0)
        return pith_step_fail(step, err, -EINVAL, "offset_group %lld does not divide %lld channels",
                              (long long) d->offset_groups, (long long) channels);
    if (!has_shape(&step->input[2], d->batch, d->offset_groups * taps * 2, h, w))
        return pith_step_fail(step, err, -EINVAL, "the offsets don't fit the output");
    if (pith_step_has(step, 3) &&
        pith_shape_elements(&step->input[3].shape) != d->groups * d->out_channels)
        return pith_step_fail(step, err, -EINVAL, "the bias must have %lld entries",
                              (long long) (d->groups * d->out_channels));
    if (pith_step_has(step, 4) &&
        !has_shape(&step->input[4], d->batch, d->offset_groups * taps, h, w))
        return pith_step_fail(step, err, -EINVAL, "the mask doesn't fit the output");
    if (d->window.in_plane == 0)
        return pith_step_fail(step, err, -EINVAL, "the input has no pixels");
    return 0;
}

static int deform_conv_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape, *w = &step->input[1].shape;
    struct deform_conv *d = pith_step_alloc(step, sizeof *d);
    int rc;

    if (!d)
        return -ENOMEM;
    step->params = d;
    if (x->rank != 4)
        return pith_step_fail(step, err, -ENOTSUP, "an input of rank %u, not of 4", x->rank);
    rc = pith_sliding_read_conv(step, w, &d->window, &d->groups, err);
    if (rc < 0)
        return rc;
    d->form = pith_gemm_form();
    d->batch = x->dim[0];
    d->in_channels = w->dim[1];
    d->out_channels = w->dim[0] / d->groups;
    d->offset_groups = pith_node_int(step->graph, step->node, "offset_group", 1);
    rc = check_inputs(step, d, err);
    if (rc < 0)
        return rc;
    d->group_channels = d->groups * d->in_channels / d->offset_groups;
    d->panels = (d->window.out_plane + d->form->panel - 1) / d->form->panel;
    if (d->window.taps > PITH_STEP_MAX_BYTES ||
        __builtin_mul_overflow(d->groups * d->in_channels * d->form->panel, d->window.taps,
                               &d->columns_floats) ||
        d->columns_floats > PITH_STEP_MAX_BYTES / 4 / MOST_PARTS)
        return pith_step_fail(step, err, -ENOTSUP, "the kernel is too large");
    d->columns_floats = (d->columns_floats + 15) / 16 * 16;
    step->parts = pith_parts_with_scratch(step, d->batch * d->panels, MOST_PARTS);
    step->scratch_bytes =
        (size_t) (d->columns_floats * (step->parts ? step->parts : 1)) * sizeof(float);
    step->macs = (uint64_t) (d->batch * d->groups * d->out_channels * d->window.out_plane *
                             d->in_channels * d->window.taps);
    return 0;
}

/* Between the pixels around (y, x), all outside being 0; `by`: what the mask says. */
static struct places places_of(const struct deform_conv *d, float y, float x, float by)
{
    const int64_t h = d->window.in[1], w = d->window.in[2];
    struct places p = {{0}, {0}, 0};
    float fy, fx;
    int64_t top, left;

    if (!(y > -1.0F && y < (float) h && x > -1.0F && x < (float) w)) /* NaN, too */
        return p;
    fy = floorf(y);
    fx = floorf(x);
    top = (int64_t) fy;
    left = (int64_t) fx;
    fy = y - fy;
    fx = x - fx;
    for (int i = 0; i < 4; i++) {
        const int64_t row = top + i / 2, col = left + i % 2;

        if (row < 0 || row >= h || col < 0 || col >= w)
            continue;
        p.inside |= 1U << i;
        p.at[i] = row * w + col;
        p.weight[i] = (i / 2 ? fy : 1.0F - fy) * (i % 2 ? fx : 1.0F - fx) * by;
    }
    return p;
}

/* Those of tap `tap` of offset group `group` for `count` output pixels from `first` on. */
static void find_places(const struct pith_step *step, const struct deform_conv *d, int64_t n,
                        int64_t group, int64_t tap, int64_t first, int64_t count,
                        struct places *out)
{
    const struct pith_sliding *w = &d->window;
    const int64_t at = (n * d->offset_groups + group) * w->taps + tap;
    const float *down = (const float *) step->input[2].data + 2 * at * w->out_plane,
                *across = down + w->out_plane,
                *mask = pith_step_has(step, 4)
                            ? (const float *) step->input[4].data + at * w->out_plane
                            : NULL;
    const int64_t ky = tap / w->kernel[2] * w->dilation[1] - w->pad[1],
                  kx = tap % w->kernel[2] * w->dilation[2] - w->pad[2];

    for (int64_t i = 0; i < count; i++) {
        const int64_t pixel = first + i, oy = pixel / w->out[2], ox = pixel % w->out[2];

        out[i] = places_of(d, (float) (oy * w->stride[1] + ky) + down[pixel],
                           (float) (ox * w->stride[2] + kx) + across[pixel],
                           mask ? mask[pixel] : 1.0F);
    }
}

/* Without place 0 where that stands for what is outside. */
static float read_inside(const float *x, const struct places *p)
{
    float sum = 0.0F;

    for (int i = 0; i < 4; i++)
        sum += p->inside >> i & 1 ? x[p->at[i]] * p->weight[i] : 0.0F;
    return sum;
}

static inline float read_places(const float *x, const struct places *p)
{
    const float sum = x[p->at[0]] * p->weight[0] + x[p->at[1]] * p->weight[1] +
                      x[p->at[2]] * p->weight[2] + x[p->at[3]] * p->weight[3];

    return isfinite(sum) ? sum : read_inside(x, p); /* 0 times infinity is no 0 */
}

/* Row c * taps + tap: what `count` output pixels read of channel c. */
static void gather(const struct pith_step *step, const struct deform_conv *d, int64_t n,
                   int64_t first, int64_t count, float *columns)
{
    const int64_t taps = d->window.taps, panel = d->form->panel, plane = d->window.in_plane;
    struct places places[PITH_GEMM_MAX_PANEL];

    for (int64_t group = 0; group < d->offset_groups; group++)
        for (int64_t tap = 0; tap < taps; tap++) {
            find_places(step, d, n, group, tap, first, count, places);
            for (int64_t c = group * d->group_channels; c < (group + 1) * d->group_channels; c++) {
                const float *x = (const float *) step->input[0].data +
                                 (n * d->groups * d->in_channels + c) * plane;
                float *to = columns + (c * taps + tap) * panel;

                for (int64_t i = 0; i < count; i++)
                    to[i] = read_places(x, &places[i]);
                for (int64_t i = count; i < panel; i++)
                    to[i] = 0.0F;
            }
        }
}

static void run_panel(const struct pith_step *step, const struct deform_conv *d, int64_t n,
                      int64_t first, float *columns)
{
    const int64_t left = d->window.out_plane - first, panel = d->form->panel,
                  count = left < panel ? left : panel, depth = d->in_channels * d->window.taps;
    const float *bias = pith_step_has(step, 3) ? step->input[3].data : NULL;

    gather(step, d, n, first, count, columns);
    for (int64_t g = 0; g < d->groups; g++)
        d->form->f32(&(struct pith_gemm_f32){
            .rows = d->out_channels,
            .cols = count,
            .depth = depth,
            .a = (const float *) step->input[1].data + g * d->out_channels * depth,
            .a_row = depth,
            .a_depth = 1,
            .b = columns + g * depth * panel,
            .c = (float *) step->output[0].data +
                 (n * d->groups + g) * d->out_channels * d->window.out_plane + first,
            .c_row = d->window.out_plane,
            .row_bias = bias ? bias + g * d->out_channels : NULL,
            .activation = step->activation});
}

static void deform_conv_part(struct pith_step *step, uint32_t part, uint32_t count)
{
    const struct deform_conv *d = step->params;
    const int64_t units = d->batch * d->panels;
    float *columns = (float *) step->scratch + part * d->columns_floats;

    for (int64_t unit = pith_part_begin(units, part, count);
         unit < pith_part_begin(units, part + 1, count); unit++)
        run_panel(step, d, unit / d->panels, unit % d->panels * d->form->panel, columns);
}

static int deform_conv_run(struct pith_step *step, struct pith_error *err)
{
    (void) err;
    deform_conv_part(step, 0, 1);
    return 0;
}

const struct pith_kernel pith_kernels_deform_conv[] = {
    {.op = "DeformConv",
     .name = "deform_conv_f32",
     .types = {PITH_BIT(FLOAT32), PITH_BIT(FLOAT32), PITH_BIT(FLOAT32), PITH_BIT(FLOAT32)},
     .flags = PITH_KERNEL_FUSES_ACTIVATION,
     .prepare = deform_conv_prepare,
     .run = deform_conv_run,
     .run_part = deform_conv_part},
    {0},
};
