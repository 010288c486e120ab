/* ConvTranspose in float32 over channels-last values, by phases (conv_transpose.h): on the tiles of
 * ordinary convolutions, with weights sorted by phase, and no product is made with a zero. Planar,
 * and dilated, ones are in conv_transpose.c. */
#include <errno.h>
#include <string.h>

#include "libpith/kernels/conv_transpose.h"
#include "libpith/kernels/families.h"
#include "libpith/kernels/image_conv_f32.h"

struct phase {
    struct image_conv conv;
    int64_t at; /* of its first pixel in the output, in elements */
};

struct phases {
    int64_t count;
    struct phase *phase;
};

/* (M, C of a group, taps) of the phase, from (C, M of a group, taps). */
static float *sort_weights(struct pith_step *step, const struct conv_transpose *t,
                           const struct pith_phase *down, const struct pith_phase *across)
{
    const int64_t taps = down->taps * across->taps, outs = t->groups * t->out_channels;
    float *to = pith_step_alloc(step, outs * t->in_channels * taps * (int64_t) sizeof *to),
          *at = to;

    for (int64_t m = 0; to && m < outs; m++)
        for (int64_t c = 0; c < t->in_channels; c++)
            for (int64_t i = 0; i < taps; i++) {
                const int64_t from = pith_phase_weight(t, down, across, m, c, i);

                *at++ = from < 0 ? 0.0F : ((const float *) step->input[1].data)[from];
            }
    return to;
}

static void set_window(struct image_conv *conv, const struct conv_transpose *t,
                       const struct pith_phase *down, const struct pith_phase *across)
{
    struct pith_sliding *w = &conv->window;
    const struct pith_phase *axes[2] = {down, across};

    *w = (struct pith_sliding){.spatial = 2};
    w->in[0] = w->out[0] = w->kernel[0] = w->stride[0] = w->dilation[0] = 1;
    for (int i = 0; i < 2; i++) {
        w->in[i + 1] = t->window.out[i + 1];
        w->out[i + 1] = axes[i]->count;
        w->kernel[i + 1] = axes[i]->taps;
        w->stride[i + 1] = w->dilation[i + 1] = 1;
        w->pad[i + 1] = axes[i]->pad;
    }
    w->in_plane = w->in[1] * w->in[2];
    w->out_plane = w->out[1] * w->out[2];
    w->taps = w->kernel[1] * w->kernel[2];
}

static int plan_phase(struct pith_step *step, const struct conv_transpose *t,
                      const struct pith_phase *down, const struct pith_phase *across, struct phase *phase)
{
    const struct pith_image *y = &step->output_image[0];
    struct image_conv *conv = &phase->conv;
    float *weights = sort_weights(step, t, down, across);
    int rc;

    if (!weights)
        return -ENOMEM;
    set_window(conv, t, down, across);
    conv->form = pith_image_form();
    conv->is_phase = true;
    conv->batch = t->batch;
    conv->groups = t->groups;
    conv->in_channels = t->in_channels;
    conv->out_channels = t->out_channels;
    conv->in = step->input_image[0];
    conv->out = (struct pith_image){.channels_last = true,
                                    .pixel = y->pixel * t->window.stride[2],
                                    .row = y->row * t->window.stride[1],
                                    .picture = y->picture};
    conv->bias = pith_step_has(step, 2) ? step->input[2].data : NULL;
    conv->weights = weights;
    phase->at = down->first * y->row + across->first * y->pixel;
    rc = pith_image_conv_pack(step, conv);
    pith_step_release(step, weights);
    return rc;
}

/* In as many parts as the phase has that has the fewest. */
static int plan_phases(struct pith_step *step, const struct conv_transpose *t, struct phases *p,
                       struct pith_error *err)
{
    const int64_t most = t->window.stride[1] * t->window.stride[2];
    uint32_t parts = UINT32_MAX;

    for (int64_t i = 0; i < most; i++) {
        struct pith_phase down, across;
        int rc = pith_conv_transpose_phase(step, t, i, &down, &across, err);

        if (rc == 1)
            continue;
        if (rc == 0)
            rc = plan_phase(step, t, &down, &across, &p->phase[p->count++]);
        if (rc < 0)
            return rc;
        parts = step->parts < parts ? step->parts : parts;
    }
    step->parts = p->count > 0 ? parts : 0;
    return 0;
}

static int image_conv_transpose_prepare(struct pith_step *step, struct pith_error *err)
{
    struct phases *p = pith_step_alloc(step, sizeof *p);
    struct conv_transpose t;
    const struct pith_sliding *w = &t.window;
    int64_t most;
    int rc = p ? pith_conv_transpose_read(step, &t, err) : -ENOMEM;

    if (rc < 0)
        return rc;
    step->params = p;
    most = w->stride[1] * w->stride[2];
    if (!pith_image_form() || !pith_conv_transpose_has_phases(step, &t))
        return pith_step_fail(step, err, -ENOTSUP, "this form has no channels-last kernel");
    p->phase = pith_step_alloc(step, most * (int64_t) sizeof *p->phase);
    if (!p->phase)
        return -ENOMEM;
    step->taken_in = UINT32_C(1) << 1 | (pith_step_has(step, 2) ? UINT32_C(1) << 2 : 0);
    return plan_phases(step, &t, p, err);
}

static void image_conv_transpose_part(struct pith_step *step, uint32_t part, uint32_t count)
{
    const struct phases *p = step->params;

    for (int64_t i = 0; i < p->count; i++) {
        const struct phase *phase = &p->phase[i];
        struct pith_tensor y = step->output[0];
        struct pith_step now = *step;

        y.data = (float *) y.data + phase->at;
        now.output = &y;
        pith_image_conv_fast(&now, &phase->conv, part, count);
    }
    if (part == 0)
        pith_image_zero_halo(step, 0);
}

static int image_conv_transpose_run(struct pith_step *step, struct pith_error *err)
{
    (void) err;
    image_conv_transpose_part(step, 0, 1);
    return 0;
}

const struct pith_kernel pith_kernels_image_conv_transpose_f32[] = {
    {.op = "ConvTranspose",
     .name = "image_conv_transpose_f32",
     .types = {PITH_BIT(FLOAT32), PITH_BIT(FLOAT32), PITH_BIT(FLOAT32)},
     .flags = PITH_KERNEL_CHANNELS_LAST | PITH_KERNEL_FUSES_ACTIVATION,
     .prepare = image_conv_transpose_prepare,
     .run = image_conv_transpose_run,
     .run_part = image_conv_transpose_part},
    {0},
};
