/* Integer products of few pixels with weights of four bits: packing, and the walk over pixels and
 * channels. See image_int4_s8.h. */
#include "libpith/kernels/image_int4_s8.h"

#include <errno.h>

#define FEW_PIXELS 4 /* more meet weights that have been made wide before (image_dense_s8.c) */

static int64_t count_pixels(const struct pith_conv_s8 *conv)
{
    return conv->y.n * conv->y.h * conv->y.w;
}

static bool fits(const struct pith_conv_s8 *conv)
{
    if (conv->groups != 1 || conv->kernel[0] != 1 || conv->kernel[1] != 1)
        return false;
    for (int64_t i = 0; i < conv->out_channels * conv->in_channels; i++)
        if (conv->weights[i] < -8 || conv->weights[i] > 7)
            return false;
    return true;
}

bool pith_int4_s8_pays(const struct pith_conv_s8 *conv, const void *private)
{
    (void) private;
    return count_pixels(conv) <= FEW_PIXELS && fits(conv);
}

/* ---- packing ---- */

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

int pith_int4_s8_pack(struct pith_step *step, struct pith_conv_s8 *conv, const void *private)
{
    const struct pith_int4_s8_form *form = private;
    const int64_t depth = conv->in_channels, lanes = form->lanes,
                  all = (conv->out_channels + lanes - 1) / lanes;
    struct pith_int4_s8 *s;

    if (!fits(conv))
        return 1;
    s = pith_step_alloc(step, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->conv = conv;
    s->form = form;
    s->quads = (depth + 3) / 4;
    s->vector_bytes = (s->quads + 1) / 2 * lanes * 4;
    s->weights = pith_step_alloc(step, all * s->vector_bytes);
    if (!s->weights)
        return -ENOMEM;
    for (int64_t m = 0; m < conv->out_channels; m++) {
        const int64_t first = m / (lanes * form->vectors) * lanes * form->vectors,
                      n = (m - first) / lanes,
                      vectors = vectors_from(form, conv->out_channels - first);
        uint8_t *tile = s->weights + first / lanes * s->vector_bytes;

        for (int64_t k = 0; k < depth; k++)
            put_weight(form, tile + ((k / 8 * vectors + n) * lanes + m % lanes) * 4, k,
                       conv->weights[m * depth + k]);
    }
    conv->packed = s;
    conv->form = pith_int4_s8_run;
    return 0;
}

/* ---- the walk ---- */

/* Pixel `index` of the output, counted through. */
static void set_pixel(const struct pith_conv_s8 *conv, int64_t index,
                      struct pith_int4_s8_pixels *at, int place)
{
    const int64_t col = index % conv->y.w, row = index / conv->y.w % conv->y.h,
                  n = index / conv->y.w / conv->y.h;

    at->x[place] = n * conv->in.picture + (row * conv->stride[0] - conv->pad[0]) * conv->in.row +
                   (col * conv->stride[1] - conv->pad[1]) * conv->in.pixel;
    at->y[place] = n * conv->out.picture + row * conv->out.row + col * conv->out.pixel;
    at->added[place] = n * conv->added.picture + row * conv->added.row + col * conv->added.pixel;
}

/* All channels of 1 << size pixels. Channels begin and end where tiles do. */
static void run_pixels(const struct pith_int4_s8 *s, const struct pith_conv_s8_data *data,
                       const struct pith_int4_s8_pixels *at, int size,
                       const struct pith_conv_s8_span *span)
{
    const struct pith_int4_s8_form *form = s->form;
    const int64_t tile_channels = (int64_t) form->vectors * form->lanes;

    for (int64_t channel = span->channel; channel < span->channel_end; channel += tile_channels) {
        const int64_t left = span->channel_end - channel;
        const int vectors = vectors_from(form, left);
        const int64_t lanes = left < tile_channels ? left : tile_channels;

        form->tiles[vectors - 1][size](s, data, at,
                                       s->weights + channel / form->lanes * s->vector_bytes,
                                       channel, (int) (lanes - (vectors - 1) * form->lanes));
    }
}

void pith_int4_s8_run(const struct pith_conv_s8 *conv, const struct pith_conv_s8_data *data,
                      const struct pith_conv_s8_span *span)
{
    const struct pith_int4_s8 *s = conv->packed;
    const int64_t end = span->row_end * conv->y.w;
    int64_t pixel = span->row * conv->y.w;

    while (pixel < end) {
        const int size = end - pixel >= 4 ? 2 : end - pixel >= 2 ? 1 : 0;
        struct pith_int4_s8_pixels at = {{0}};

        for (int p = 0; p < 1 << size; p++)
            set_pixel(conv, pixel + p, &at, p);
        run_pixels(s, data, &at, size, span);
        pixel += 1 << size;
    }
}
