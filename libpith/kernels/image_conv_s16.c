/* Channels-last Conv between values on grids of 16 bits: planning, the plain loops that define the answer,
 * packing, and the walk. See image_conv_s16.h. */
#include "libpith/kernels/image_conv_s16.h"

#include <errno.h>
#include <string.h>

#include "libpith/kernels/families.h"

/* ---- planning ---- */

static int check_types(struct pith_step *step, struct pith_error *err)
{
    const struct pith_quantization *wq = step->input_quantization[1];
    const int64_t groups = pith_node_int(step->graph, step->node, "group", 1);

    if (!step->input[1].data)
        return pith_step_needs(step, 1);
    if (!pith_is_word_grid(step->input_quantization[0]) || !wq || wq->block_size != 0 ||
        (wq->count > 1 && (wq->axis != 0 || (int64_t) wq->count != step->input[1].shape.dim[0])) ||
        (step->output[0].dtype != PITH_INT16 && step->output[0].dtype != PITH_FLOAT32) ||
        (step->residual.set && step->input[step->residual.input].dtype != PITH_INT16))
        return pith_step_fail(step, err, -ENOTSUP,
                              "this quantization is not one for 16-bit integers");
    if (!pith_conv_s16_forms[0])
        return pith_step_fail(step, err, -ENOTSUP, "floats are as fast on this CPU");
    if (groups != 1 &&
        (groups != step->input[0].shape.dim[1] || groups != step->input[1].shape.dim[0]))
        return pith_step_fail(step, err, -ENOTSUP, "groups of 16-bit values are for floats");
    return 0;
}

static int plan_values(struct pith_step *step, struct pith_conv_s8 *conv, struct pith_error *err)
{
    const struct pith_quantization *xq = step->input_quantization[0],
                                   *wq = step->input_quantization[1];
    const int64_t channels = conv->y.c;
    struct pith_weight_sums *sums = pith_step_alloc(step, channels * (int64_t) sizeof *sums);
    double *scale = pith_step_alloc(step, channels * (int64_t) sizeof *scale), *bias = NULL;
    int rc = sums && scale ? 0 : -ENOMEM;

    if (rc == 0 && pith_step_has_bias(step)) {
        bias = pith_step_alloc(step, channels * (int64_t) sizeof *bias);
        rc = bias ? pith_read_bias(step, 2, channels, bias, err) : -ENOMEM;
    }
    if (rc == 0)
        rc = pith_conv_s8_order(step, conv, sums, err);
    if (rc == 0 && conv->two_terms)
        rc = pith_step_fail(step, err, -ENOTSUP, "such weights are for activations of bytes");
    for (int64_t m = 0; rc == 0 && m < channels; m++)
        scale[m] = (double) xq->scale[0] * (double) wq->scale[wq->count > 1 ? m : 0];
    if (rc == 0)
        rc = pith_requantize_plan(step, &conv->to, channels, scale, bias, sums, xq->zero_point[0],
                                  err);
    pith_step_release(step, sums);
    pith_step_release(step, scale);
    pith_step_release(step, bias);
    return rc;
}

/* ---- packing ---- */

static int plan_segments(struct pith_step *step, struct pith_conv_s16 *s)
{
    const struct pith_conv_s8 *conv = &s->conv;
    const bool by_row = !s->depthwise && pith_segments_by_row(conv);
    const int64_t across = by_row ? 1 : conv->kernel[1];

    s->segments = conv->kernel[0] * across;
    s->segment = pith_step_alloc(step, (s->segments + 1) * (int64_t) sizeof *s->segment);
    if (!s->segment)
        return -ENOMEM;
    for (int64_t i = 0; i < s->segments; i++)
        s->segment[i] = (struct pith_segment_s8){
            .x = i / across * conv->dilation[0] * conv->in.row +
                 i % across * conv->dilation[1] * conv->in.pixel,
            .depth = conv->in_channels * (by_row ? conv->kernel[1] : 1)};
    s->segment[s->segments] = s->segment[s->segments - 1];
    return 0;
}

static int vectors_from(const struct pith_conv_s16_form *form, int64_t channels)
{
    const int64_t vectors = (channels + form->lanes - 1) / form->lanes;

    return vectors < form->vectors ? (int) vectors : form->vectors;
}

static int pack_dense(struct pith_step *step, struct pith_conv_s16 *s)
{
    const struct pith_conv_s8 *conv = &s->conv;
    const int64_t lanes = s->form->lanes, all = (conv->y.c + lanes - 1) / lanes,
                  pairs = (s->segment[0].depth + 1) / 2;
    const int8_t *w = conv->weights;
    uint8_t *weights;

    s->vector_bytes = s->segments * pairs * lanes * 2;
    weights = pith_step_alloc(step, all * s->vector_bytes);
    if (!weights)
        return -ENOMEM;
    for (int64_t m = 0; m < conv->y.c; m++) {
        const int64_t first = m / (lanes * s->form->vectors) * lanes * s->form->vectors,
                      step_bytes = vectors_from(s->form, conv->y.c - first) * lanes * 2;
        uint8_t *to = weights + first / lanes * s->vector_bytes + (m - first) * 2;

        for (int64_t i = 0; i < s->segments; i++, to += pairs * step_bytes)
            for (int64_t k = 0; k < s->segment[i].depth; k++)
                to[k / 2 * step_bytes + k % 2] = (uint8_t) *w++;
    }
    s->weights = pith_step_share(step, weights);
    return 0;
}

/* Where a channel of a block lies among its lanes. */
static int64_t lane_of(int64_t channel, int64_t lanes)
{
    return channel / 4 % 2 * lanes + channel / 8 * 4 + channel % 4;
}

static int pack_depthwise(struct pith_step *step, struct pith_conv_s16 *s)
{
    const struct pith_conv_s8 *conv = &s->conv;
    const int64_t lanes = s->form->lanes, block = 2 * lanes,
                  blocks = (conv->y.c + block - 1) / block, pairs = (s->segments + 1) / 2;
    int32_t *all;

    s->vector_bytes = (pairs + 2) * block * (int64_t) sizeof *all;
    all = pith_step_alloc(step, blocks * s->vector_bytes);
    if (!all)
        return -ENOMEM;
    for (int64_t m = 0; m < conv->y.c; m++) {
        int32_t *to = all + m / block * (pairs + 2) * block + lane_of(m % block, lanes);
        const int8_t *w = conv->weights + m * s->segments;

        for (int64_t tap = 0; tap < s->segments; tap++)
            to[tap / 2 * block] |=
                (int32_t) ((uint32_t) (uint16_t) w[tap] << (tap % 2 ? 16 : 0));
        to[pairs * block] = conv->to.bias[m];
        memcpy(&to[(pairs + 1) * block], &conv->to.scale[m], sizeof(float));
    }
    s->weights = pith_step_share(step, all);
    return 0;
}

static const struct pith_conv_s16_form *choose_form(const struct pith_conv_s16 *s)
{
    if (s->depthwise && s->segments > PITH_CONV_S16_CUT)
        return NULL;
    for (size_t f = 0; pith_conv_s16_forms[f]; f++)
        if (pith_isa_includes(pith_isa(), pith_conv_s16_forms[f]->isa))
            return pith_conv_s16_forms[f];
    return NULL;
}

int pith_conv_s16_pack(struct pith_step *step, struct pith_conv_s16 *s)
{
    int rc;

    s->depthwise = s->conv.groups > 1;
    rc = plan_segments(step, s);
    if (rc < 0)
        return rc;
    s->form = choose_form(s);
    step->form = !s->form ? "plain" : s->depthwise ? s->form->depthwise_name : s->form->name;
    if (!s->form)
        return pith_conv_s8_keep_weights(step, &s->conv);
    rc = s->depthwise ? pack_depthwise(step, s) : pack_dense(step, s);
    pith_step_release(step, s->conv.weights);
    s->conv.weights = NULL;
    return rc;
}

static int conv_prepare(struct pith_step *step, struct pith_error *err)
{
    struct pith_conv_s16 *s = pith_step_alloc(step, sizeof *s);
    int rc = s ? check_types(step, err) : -ENOMEM;

    if (rc == 0)
        rc = pith_conv_s8_geometry(step, &s->conv, err);
    if (rc == 0)
        rc = plan_values(step, &s->conv, err);
    if (rc < 0)
        return rc;
    rc = pith_conv_s16_pack(step, s);
    step->parts = pith_parts_of(s->conv.y.n * s->conv.y.h);
    step->taken_in = UINT32_C(1) << 1 | (pith_step_has_bias(step) ? UINT32_C(1) << 2 : 0);
    if (s->conv.to.adds && pith_image_equal(&s->conv.added, &s->conv.out))
        step->in_place = UINT32_C(1) << step->residual.input;
    step->params = s;
    return rc;
}

/* ---- the definition ---- */

/* x: the first tap of the output pixel, first channel of its group. */
static int64_t plain_sum(const struct pith_conv_s8 *conv, const int16_t *x, int64_t channel)
{
    const int8_t *w =
        conv->weights + channel * conv->kernel[0] * conv->kernel[1] * conv->in_channels;
    int64_t sum = 0;

    for (int64_t i = 0; i < conv->kernel[0]; i++)
        for (int64_t j = 0; j < conv->kernel[1]; j++) {
            const int16_t *tap =
                x + i * conv->dilation[0] * conv->in.row + j * conv->dilation[1] * conv->in.pixel;

            for (int64_t c = 0; c < conv->in_channels; c++)
                sum += tap[c] * *w++;
        }
    return sum;
}

static void run_plain(const struct pith_conv_s16 *s, const struct pith_conv_s16_data *data,
                      const struct pith_pixels_s8 *at, int count, int64_t from, int64_t end)
{
    const struct pith_conv_s8 *conv = &s->conv;

    for (int p = 0; p < count; p++)
        for (int64_t m = from; m < end; m++) {
            const int16_t *x = data->x + at->x[p] + m / conv->out_channels * conv->in_channels;
            const float f = pith_conv_s16_real(&conv->to, m, plain_sum(conv, x, m),
                                               conv->to.adds ? data->added[at->added[p] + m] : 0);

            if (conv->to.real)
                ((float *) data->y)[at->y[p] + m] = pith_requantize_limit(&conv->to, f);
            else
                ((int16_t *) data->y)[at->y[p] + m] =
                    (int16_t) pith_requantize_integer(&conv->to, f);
        }
}

/* ---- running ---- */

/* Channels from..end-1 of `count` pixels. */
static void run_pixels(const struct pith_conv_s16 *s, const struct pith_conv_s16_data *data,
                       const struct pith_pixels_s8 *at, int count, int64_t from, int64_t end)
{
    const struct pith_conv_s16_form *form = s->form;
    const int64_t unit = s->depthwise ? 2 * form->lanes : form->lanes; /* of packed weights */
    const int64_t tile_channels = s->depthwise ? unit : form->vectors * unit;
    const bool is_long = s->conv.to.is_long,
               in_order = is_long || s->conv.to.adds || s->conv.to.real;

    for (int64_t channel = from; channel < end; channel += tile_channels) {
        const int64_t left = end - channel, lanes = left < tile_channels ? left : tile_channels;
        const int vectors = s->depthwise ? 1 : vectors_from(form, left);
        pith_conv_s16_tile *const *tiles = s->depthwise
                                               ? form->depthwise[in_order]
                                               : form->tiles[is_long][vectors - 1];
        int p = 0;

        for (int size = 2; size >= 0; size--)
            p = tiles[size](s, data, at, p, count, s->weights + channel / unit * s->vector_bytes,
                            channel, (int) (lanes - (vectors - 1) * unit));
    }
}

void pith_conv_s16_run(const struct pith_conv_s16 *s, const struct pith_conv_s16_data *data,
                       const struct pith_conv_s8_span *span)
{
    struct pith_pixels_s8_cursor at = {span->row, 0};

    for (int64_t left = (span->row_end - span->row) * s->conv.y.w; left > 0;) {
        const int now = left < PITH_PIXELS_S8 ? (int) left : PITH_PIXELS_S8;
        struct pith_pixels_s8 pixels;

        pith_pixels_s8_next(&s->conv, &at, now, &pixels);
        (s->form ? run_pixels : run_plain)(s, data, &pixels, now, span->channel, span->channel_end);
        left -= now;
    }
}

static void conv_part(struct pith_step *step, uint32_t part, uint32_t count)
{
    const struct pith_conv_s16 *s = step->params;
    const struct pith_conv_s16_data data = {
        .x = step->input[0].data,
        .added = s->conv.to.adds ? step->input[step->residual.input].data : NULL,
        .y = step->output[0].data};
    const int64_t rows = s->conv.y.n * s->conv.y.h;

    if (part == 0)
        pith_image_zero_halo(step, 0);
    pith_conv_s16_run(s, &data,
                      &(struct pith_conv_s8_span){pith_part_begin(rows, part, count),
                                                  pith_part_begin(rows, part + 1, count), 0,
                                                  s->conv.y.c});
}

static int conv_run(struct pith_step *step, struct pith_error *err)
{
    (void) err;
    conv_part(step, 0, 1);
    return 0;
}

const struct pith_kernel pith_kernels_image_conv_s16[] = {
    {.op = "Conv",
     .name = "image_conv_s16",
     .types = {PITH_BIT(INT16),
               PITH_BIT(INT8) | PITH_BIT(UINT8) | PITH_BIT(INT4) | PITH_BIT(UINT4)},
     .output_type = PITH_BIT(INT16),
     .flags = PITH_KERNEL_QUANTIZED | PITH_KERNEL_CHANNELS_LAST | PITH_KERNEL_FUSES_ACTIVATION |
              PITH_KERNEL_FUSES_RESIDUAL | PITH_KERNEL_GIVES_FLOATS,
     .prepare = conv_prepare,
     .run = conv_run,
     .run_part = conv_part},
    {0},
};
