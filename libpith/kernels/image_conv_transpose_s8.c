/* ConvTranspose between quantized values that lie channels-last, by phases (conv_transpose.h): each
 * is an ordinary integer convolution with weights, sums and biases of its own, so that all its forms
 * do for it, and give the bits of its plain loops. */
#include <errno.h>

#include "libpith/kernels/conv_transpose.h"
#include "libpith/kernels/families.h"
#include "libpith/kernels/image_conv_s8.h"

#define MOST_PARTS 16 /* where each wants scratch of its own */

struct phase {
    struct pith_conv_s8 conv;
    int64_t at; /* of its first pixel in the output, in elements */
};

struct phases {
    int64_t count;
    struct phase *phase;
    int64_t part_bytes; /* of scratch, the most that a phase wants */
    int64_t rows;       /* of all pictures, in the phase that has the fewest */
};

static int check_types(struct pith_step *step, const struct conv_transpose *t,
                       struct pith_error *err)
{
    const struct pith_quantization *wq = step->input_quantization[1];
    const int32_t stored = pith_image_integer_dtype();
    const struct pith_tensor *y = &step->output[0];

    if (!step->input[1].data)
        return pith_step_needs(step, 1);
    if (!pith_conv_transpose_has_phases(step, t) ||
        !pith_is_byte_grid(step->input_quantization[0]) || step->input[0].dtype != stored || !wq ||
        wq->block_size != 0 ||
        (wq->count > 1 && (wq->axis != 1 || (int64_t) wq->count != t->out_channels)) ||
        (y->dtype != PITH_FLOAT32 && y->dtype != stored))
        return pith_step_fail(step, err, -ENOTSUP,
                              "this form has no channels-last kernel for integers");
    if (t->in_channels * t->window.taps > PITH_SUM_DEPTH_LIMIT)
        return pith_step_fail(step, err, -ENOTSUP, "sums of so many products may pass int32");
    return 0;
}

/* (M, taps, C of a group) of the phase, less the zero point; sums: of each M. */
static int order_weights(struct pith_step *step, const struct conv_transpose *t,
                         const struct pith_phase *down, const struct pith_phase *across,
                         struct pith_conv_s8 *conv, struct pith_weight_sums *sums,
                         struct pith_error *err)
{
    const struct pith_quantization *wq = step->input_quantization[1];
    const int64_t taps = down->taps * across->taps;
    int8_t *to = pith_step_alloc(step, conv->y.c * t->in_channels * taps);

    if (!to)
        return -ENOMEM;
    conv->weights = to;
    for (int64_t m = 0; m < conv->y.c; m++)
        for (int64_t i = 0; i < taps; i++)
            for (int64_t c = 0; c < t->in_channels; c++) {
                const int64_t from = pith_phase_weight(t, down, across, m, c, i);
                const int64_t w =
                    from < 0 ? 0
                             : pith_tensor_get_int(&step->input[1], from) -
                                   wq->zero_point[wq->count > 1 ? m % t->out_channels : 0];

                if (w < INT8_MIN || w > INT8_MAX)
                    return pith_step_fail(step, err, -ENOTSUP,
                                          "weights less their zero point don't fit int8");
                sums[m].sum += w;
                sums[m].magnitude += w < 0 ? -w : w;
                *to++ = (int8_t) w;
            }
    return 0;
}

static void set_geometry(const struct pith_step *step, const struct conv_transpose *t,
                         const struct pith_phase *down, const struct pith_phase *across,
                         struct pith_conv_s8 *conv)
{
    const struct pith_image *y = &step->output_image[0];

    *conv = (struct pith_conv_s8){
        .x = pith_image_dims(&step->input[0].shape),
        .y = pith_image_dims(&step->output[0].shape),
        .in = step->input_image[0],
        .out = {true, y->pixel * t->window.stride[2], y->row * t->window.stride[1], y->picture, 0, 0, 0,
                0},
        .groups = t->groups,
        .in_channels = t->in_channels,
        .out_channels = t->out_channels,
        .kernel = {down->taps, across->taps},
        .stride = {1, 1},
        .dilation = {1, 1},
        .pad = {down->pad, across->pad}};
    conv->y.h = down->count;
    conv->y.w = across->count;
}

/* scale, bias: of every channel's sums, and real. */
static int plan_phase(struct pith_step *step, const struct conv_transpose *t,
                      const struct pith_phase *down, const struct pith_phase *across,
                      const double *scale, const double *bias, struct phase *phase,
                      struct pith_error *err)
{
    const int32_t x_zero = pith_stored_zero(step->input_quantization[0], step->input[0].dtype);
    struct pith_conv_s8 *conv = &phase->conv;
    struct pith_weight_sums *sums;
    int rc;

    set_geometry(step, t, down, across, conv);
    phase->at = down->first * step->output_image[0].row + across->first * step->output_image[0].pixel;
    sums = pith_step_alloc(step, conv->y.c * (int64_t) sizeof *sums);
    rc = sums ? order_weights(step, t, down, across, conv, sums, err) : -ENOMEM;
    if (rc == 0)
        rc = pith_requantize_plan(step, &conv->to, conv->y.c, scale, bias, sums, x_zero, err);
    conv->in_zero = (uint8_t) x_zero;
    pith_step_release(step, sums);
    return rc < 0 ? rc : pith_conv_s8_choose(step, conv);
}

static int plan_phases(struct pith_step *step, const struct conv_transpose *t, struct phases *p,
                       const double *scale, const double *bias, struct pith_error *err)
{
    const int64_t most = t->window.stride[1] * t->window.stride[2];

    for (int64_t i = 0; i < most; i++) {
        const struct pith_conv_s8 *conv = &p->phase[p->count].conv;
        struct pith_phase down, across;
        int64_t rows;
        int rc = pith_conv_transpose_phase(step, t, i, &down, &across, err);

        if (rc == 1)
            continue;
        if (rc == 0)
            rc = plan_phase(step, t, &down, &across, scale, bias, &p->phase[p->count], err);
        if (rc < 0)
            return rc;
        rows = conv->y.n * conv->y.h;
        p->rows = p->count == 0 || rows < p->rows ? rows : p->rows;
        p->part_bytes = conv->part_bytes > p->part_bytes ? conv->part_bytes : p->part_bytes;
        p->count++;
    }
    step->parts = p->part_bytes ? pith_parts_with_scratch(step, p->rows, MOST_PARTS)
                                : pith_parts_of(p->rows);
    step->scratch_bytes = (size_t) (p->part_bytes * (step->parts ? step->parts : 1));
    return 0;
}

static int conv_transpose_prepare(struct pith_step *step, struct pith_error *err)
{
    struct phases *p = pith_step_alloc(step, sizeof *p);
    const struct pith_quantization *xq = step->input_quantization[0],
                                   *wq = step->input_quantization[1];
    struct conv_transpose t;
    double *scale, *bias = NULL;
    int64_t channels;
    int rc = p ? pith_conv_transpose_read(step, &t, err) : -ENOMEM;

    if (rc == 0)
        rc = check_types(step, &t, err);
    if (rc < 0)
        return rc;
    step->params = p;
    channels = t.groups * t.out_channels;
    p->phase = pith_step_alloc(step, t.window.stride[1] * t.window.stride[2] *
                                         (int64_t) sizeof *p->phase);
    scale = pith_step_alloc(step, channels * (int64_t) sizeof *scale);
    if (!p->phase || !scale)
        return -ENOMEM;
    for (int64_t m = 0; m < channels; m++)
        scale[m] = (double) xq->scale[0] *
                   (double) wq->scale[wq->count > 1 ? m % t.out_channels : 0];
    if (pith_step_has(step, 2)) {
        bias = pith_step_alloc(step, channels * (int64_t) sizeof *bias);
        rc = bias ? pith_read_bias(step, 2, channels, bias, err) : -ENOMEM;
    }
    if (rc == 0)
        rc = plan_phases(step, &t, p, scale, bias, err);
    pith_step_release(step, scale);
    pith_step_release(step, bias);
    step->taken_in = UINT32_C(1) << 1 | (pith_step_has(step, 2) ? UINT32_C(1) << 2 : 0);
    return rc;
}

static void conv_transpose_part(struct pith_step *step, uint32_t part, uint32_t count)
{
    const struct phases *p = step->params;
    const bool real = step->output[0].dtype == PITH_FLOAT32;

    for (int64_t i = 0; i < p->count; i++) {
        const struct pith_conv_s8 *conv = &p->phase[i].conv;
        const int64_t rows = conv->y.n * conv->y.h;
        const struct pith_conv_s8_span span = {pith_part_begin(rows, part, count),
                                               pith_part_begin(rows, part + 1, count), 0, conv->y.c};
        const struct pith_conv_s8_data data = {
            .x = step->input[0].data,
            .y = (uint8_t *) step->output[0].data + p->phase[i].at * (real ? 4 : 1),
            .scratch = p->part_bytes ? (uint8_t *) step->scratch + part * p->part_bytes : NULL};

        if (span.row < span.row_end)
            conv->form(conv, &data, &span);
    }
    if (part == 0)
        pith_image_zero_halo(step, 0);
}

static int conv_transpose_run(struct pith_step *step, struct pith_error *err)
{
    (void) err;
    conv_transpose_part(step, 0, 1);
    return 0;
}

#define EIGHT_BITS (PITH_BIT(INT8) | PITH_BIT(UINT8))

const struct pith_kernel pith_kernels_image_conv_transpose_s8[] = {
    {.op = "ConvTranspose",
     .name = "image_conv_transpose_s8",
     .types = {EIGHT_BITS, EIGHT_BITS | PITH_BIT(INT4) | PITH_BIT(UINT4)},
     .flags = PITH_KERNEL_QUANTIZED | PITH_KERNEL_CHANNELS_LAST | PITH_KERNEL_FUSES_ACTIVATION |
              PITH_KERNEL_GIVES_FLOATS,
     .prepare = conv_transpose_prepare,
     .run = conv_transpose_run,
     .run_part = conv_transpose_part},
    {0},
};
