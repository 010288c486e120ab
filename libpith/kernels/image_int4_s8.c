/* Integer convolution with weights of four bits: packing, and the walk over pixels and channels. See
 * image_int4_s8.h. */
#include "libpith/kernels/image_int4_s8.h"

#include <errno.h>

#define FEW_PIXELS 4 /* reading the weights is most of the work */

static int64_t count_pixels(const struct pith_conv_s8 *conv)
{
    return conv->y.n * conv->y.h * conv->y.w;
}

static int64_t depth_of(const struct pith_conv_s8 *conv)
{
    return conv->kernel[0] * conv->kernel[1] * conv->in_channels;
}

static bool fits(const struct pith_conv_s8 *conv)
{
    if (conv->groups != 1)
        return false;
    for (int64_t i = 0; i < conv->out_channels * depth_of(conv); i++)
        if (conv->weights[i] < -8 || conv->weights[i] > 7)
            return false;
    return true;
}

bool pith_int4_s8_pays(const struct pith_conv_s8 *conv, const void *private)
{
    const struct pith_int4_s8_form *form = private;
    const bool pays = count_pixels(conv) <= FEW_PIXELS || (depth_of(conv) >= form->depth &&
                                                           conv->out_channels >= form->channels);

    return conv->blocks || (pays && fits(conv));
}

/* ---- packing ---- */

/* Taps that follow each other in memory are one segment; a block is one of its own. */
static int plan_segments(struct pith_step *step, struct pith_int4_s8 *s)
{
    const struct pith_conv_s8 *conv = s->conv;
    const bool by_row = !conv->blocks && pith_segments_by_row(conv);
    const int64_t taps = by_row ? conv->kernel[0] : conv->kernel[0] * conv->kernel[1],
                  across = by_row ? 1 : conv->kernel[1],
                  blocks = conv->blocks ? conv->blocks->count : 1,
                  depth = conv->in_channels * (by_row ? conv->kernel[1] : 1),
                  size = conv->blocks && conv->blocks->size < depth ? conv->blocks->size : depth;

    s->segments = taps * blocks;
    s->segment = pith_step_alloc(step, s->segments * (int64_t) sizeof *s->segment);
    if (!s->segment)
        return -ENOMEM;
    for (int64_t i = 0; i < s->segments; i++) {
        struct pith_int4_s8_segment *segment = &s->segment[i];
        const int64_t tap = i / blocks, first = i % blocks * size;

        segment->x = tap / across * conv->dilation[0] * conv->in.row +
                     tap % across * conv->dilation[1] * conv->in.pixel + first;
        segment->depth = depth - first < size ? depth - first : size;
        segment->quads = (segment->depth + 3) / 4;
        s->vector_bytes += (segment->quads + 1) / 2 * s->form->lanes * 4;
    }
    return 0;
}

static int vectors_from(const struct pith_int4_s8_form *form, int64_t channels)
{
    const int64_t vectors = (channels + form->lanes - 1) / form->lanes;

    return vectors < form->vectors ? (int) vectors : form->vectors;
}

/* Input channel k of a lane whose bytes begin at `to`. */
static void put_weight(const struct pith_int4_s8_form *form, uint8_t *to, int64_t k, int8_t w)
{
    const int place = (int) (k % 4), second = (int) (k / 4 % 2);

    if (form->order == PITH_INT4_BYTES) {
        to[place] |= (uint8_t) ((w & 15) << (second * 4));
        return;
    }
    to[place / 2 * 2 + second] |= (uint8_t) ((w & 15) << (place % 2 * 4));
}

/* One output channel; to: its lane in the first vector of its tile. */
static void pack_channel(const struct pith_int4_s8 *s, const int8_t *w, uint8_t *to, int64_t vectors)
{
    const int64_t step = vectors * s->form->lanes * 4;

    for (int64_t i = 0; i < s->segments; i++) {
        const int64_t depth = s->segment[i].depth;

        for (int64_t k = 0; k < depth; k++)
            put_weight(s->form, to + k / 8 * step, k, *w++);
        to += (depth + 7) / 8 * step;
    }
}

int pith_int4_s8_pack(struct pith_step *step, struct pith_conv_s8 *conv, const void *private)
{
    const struct pith_int4_s8_form *form = private;
    const int64_t depth = depth_of(conv), lanes = form->lanes,
                  all = (conv->out_channels + lanes - 1) / lanes;
    struct pith_int4_s8 *s;
    uint8_t *weights;

    if (!fits(conv))
        return 1;
    s = pith_step_alloc(step, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->conv = conv;
    s->form = form;
    if (plan_segments(step, s) < 0)
        return -ENOMEM;
    weights = pith_step_alloc(step, all * s->vector_bytes);
    if (!weights)
        return -ENOMEM;
    for (int64_t m = 0; m < conv->out_channels; m++) {
        const int64_t first = m / (lanes * form->vectors) * lanes * form->vectors;

        pack_channel(s, conv->weights + m * depth,
                     weights + first / lanes * s->vector_bytes + (m - first) * 4,
                     vectors_from(form, conv->out_channels - first));
    }
    s->weights = pith_step_share(step, weights);
    conv->packed = s;
    conv->form = pith_int4_s8_run;
    return 0;
}

/* ---- the walk ---- */

/* All channels of `count` pixels. Channels begin and end where tiles do. */
static void run_pixels(const struct pith_int4_s8 *s, const struct pith_conv_s8_data *data,
                       const struct pith_pixels_s8 *at, int count,
                       const struct pith_conv_s8_span *span)
{
    const struct pith_int4_s8_form *form = s->form;
    const int64_t tile_channels = (int64_t) form->vectors * form->lanes;
    const bool blocked = s->conv->blocks != NULL;

    for (int64_t channel = span->channel; channel < span->channel_end; channel += tile_channels) {
        const int64_t left = span->channel_end - channel;
        const int vectors = vectors_from(form, left);
        const int64_t lanes = left < tile_channels ? left : tile_channels;

        for (int p = 0; p < count;) {
            const int size = count - p >= 4 ? 2 : count - p >= 2 ? 1 : 0;

            form->tiles[blocked][vectors - 1][size](
                s, data, at, p, s->weights + channel / form->lanes * s->vector_bytes, channel,
                (int) (lanes - (vectors - 1) * form->lanes));
            p += 1 << size;
        }
    }
}

void pith_int4_s8_run(const struct pith_conv_s8 *conv, const struct pith_conv_s8_data *data,
                      const struct pith_conv_s8_span *span)
{
    struct pith_pixels_s8_cursor at = {span->row, 0};

    for (int64_t left = (span->row_end - span->row) * conv->y.w; left > 0;) {
        const int count = left < PITH_PIXELS_S8 ? (int) left : PITH_PIXELS_S8;
        struct pith_pixels_s8 pixels;

        pith_pixels_s8_next(conv, &at, count, &pixels);
        run_pixels(conv->packed, data, &pixels, count, span);
        left -= count;
    }
}
