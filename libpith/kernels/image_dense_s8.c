/* Dense channels-last integer convolution, blocked: packing, and the walk over pixels and channels.
 * See image_dense_s8.h. */
#include "libpith/kernels/image_dense_s8.h"

#include <errno.h>
#include <string.h>

#define CHUNK_BYTES                                                                                \
    24576 /* of input that one pass over the weights reads: it stays in a first-level cache */

/* ---- packing ---- */

static bool is_run_by_row(const struct pith_conv_s8 *conv)
{
    return conv->kernel[1] == 1 ||
           (conv->dilation[1] == 1 && conv->groups == 1 && conv->in.pixel == conv->in_channels);
}

static int plan_runs(struct pith_step *step, struct pith_dense_s8 *d)
{
    const struct pith_conv_s8 *conv = d->conv;
    const bool by_row = is_run_by_row(conv);
    const int64_t across = by_row ? 1 : conv->kernel[1];

    d->runs = conv->kernel[0] * across;
    d->run_bytes = (conv->in_channels * (by_row ? conv->kernel[1] : 1) + 3) / 4 * 4;
    d->run_at = pith_step_alloc(step, d->runs * (int64_t) sizeof *d->run_at);
    if (!d->run_at)
        return -ENOMEM;
    for (int64_t run = 0; run < d->runs; run++)
        d->run_at[run] = run / across * conv->dilation[0] * conv->in.row +
                         run % across * conv->dilation[1] * conv->in.pixel;
    return 0;
}

/* Where weight `place` (0 to 3) of a lane lies in what a vector of channels takes for four bytes of
 * input. */
static void put_weight(const struct pith_dense_s8_form *form, uint8_t *to, int lane, int place,
                       int8_t w)
{
    const int16_t wide = w;

    switch (form->order) {
    case PITH_DENSE_DOTS:
        to[lane * 4 + place] = (uint8_t) w;
        break;
    case PITH_DENSE_PAIRS_OF_WORDS:
        memcpy(to + ((place % 2 * form->lanes + lane) * 2 + place / 2) * 2, &wide, sizeof wide);
        break;
    case PITH_DENSE_PAIRS_OF_BYTES:
        to[(place / 2 * form->lanes + lane) * 2 + place % 2] = (uint8_t) w;
        break;
    }
}

static int vectors_from(const struct pith_dense_s8_form *form, int64_t channels)
{
    const int64_t vectors = (channels + form->lanes - 1) / form->lanes;

    return vectors < form->tile ? (int) vectors : form->tile;
}

/* The weights of a tile of `vectors` vectors, of which `count` lanes are channels. */
static void pack_tile(const struct pith_dense_s8 *d, const int8_t *from, int64_t count, int vectors,
                      uint8_t *to)
{
    const struct pith_conv_s8 *conv = d->conv;
    const int64_t depth = conv->kernel[0] * conv->kernel[1] * conv->in_channels,
                  run_depth = depth / d->runs,
                  quad = d->vector_bytes / (d->runs * d->run_bytes / 4);

    for (int64_t channel = 0; channel < count; channel++) {
        const int n = (int) (channel / d->form->lanes), lane = (int) (channel % d->form->lanes);

        for (int64_t run = 0; run < d->runs; run++)
            for (int64_t k = 0; k < run_depth; k++) {
                const int64_t quads = run * (d->run_bytes / 4) + k / 4;

                put_weight(d->form, to + (quads * vectors + n) * quad, lane, (int) (k % 4),
                           from[channel * depth + run * run_depth + k]);
            }
    }
}

int pith_dense_s8_pack(struct pith_step *step, struct pith_conv_s8 *conv, const void *private)
{
    const struct pith_dense_s8_form *form = private;
    struct pith_dense_s8 *d = pith_step_alloc(step, sizeof *d);
    const int64_t vectors = (conv->out_channels + form->lanes - 1) / form->lanes,
                  tile_channels = (int64_t) form->tile * form->lanes;
    const int quad = form->lanes * (form->order == PITH_DENSE_PAIRS_OF_WORDS ? 8 : 4);
    const int64_t depth = conv->kernel[0] * conv->kernel[1] * conv->in_channels;
    int rc;

    if (!d)
        return -ENOMEM;
    d->conv = conv;
    d->form = form;
    d->one_pixel = conv->groups == 1 && conv->y.n == 1 && conv->y.h == 1 && conv->y.w == 1;
    rc = plan_runs(step, d);
    if (rc < 0)
        return rc;
    d->vector_bytes = d->runs * (d->run_bytes / 4) * quad;
    d->group_bytes = vectors * d->vector_bytes;
    d->weights = pith_step_alloc(step, conv->groups * d->group_bytes);
    if (!d->weights)
        return -ENOMEM;
    for (int64_t g = 0; g < conv->groups; g++)
        for (int64_t channel = 0; channel < conv->out_channels; channel += tile_channels) {
            const int64_t left = conv->out_channels - channel;

            pack_tile(d, conv->weights + (g * conv->out_channels + channel) * depth,
                      left < tile_channels ? left : tile_channels, vectors_from(form, left),
                      d->weights + g * d->group_bytes + channel / form->lanes * d->vector_bytes);
        }
    conv->packed = d;
    conv->form = pith_dense_s8_run;
    return 0;
}

/* ---- the walk ---- */

/* A place in the output, row by row of all pictures. */
struct cursor {
    int64_t row, col;
};

/* Finds the next `count` pixels: run by run of those that lie in one row. */
static void next_pixels(const struct pith_conv_s8 *conv, struct cursor *at, int count,
                        struct pith_dense_s8_pixels *out)
{
    const int64_t x_step = conv->stride[1] * conv->in.pixel;

    for (int p = 0; p < count;) {
        const int64_t n = conv->y.n == 1 ? 0 : at->row / conv->y.h, row = at->row - n * conv->y.h;
        const int64_t room = conv->y.w - at->col;
        const int end = room < count - p ? p + (int) room : count;
        int64_t x = n * conv->in.picture + (row * conv->stride[0] - conv->pad[0]) * conv->in.row +
                    at->col * x_step - conv->pad[1] * conv->in.pixel;
        int64_t y = n * conv->out.picture + row * conv->out.row + at->col * conv->out.pixel;
        int64_t added =
            n * conv->added.picture + row * conv->added.row + at->col * conv->added.pixel;

        at->col += end - p;
        for (; p < end; p++) {
            out->x[p] = x;
            out->y[p] = y;
            out->added[p] = added;
            x += x_step;
            y += conv->out.pixel;
            added += conv->added.pixel;
        }
        if (at->col == conv->y.w) {
            at->col = 0;
            at->row++;
        }
    }
}

/* `pixels` of them from `from` on, one tile of channels after the other. Channels begin and end
 * where tiles do. */
static void run_chunk(const struct pith_dense_s8 *d, const struct pith_conv_s8_data *data,
                      struct cursor from, int64_t pixels, int64_t group, int64_t first, int64_t end)
{
    const struct pith_conv_s8 *conv = d->conv;
    const struct pith_dense_s8_form *form = d->form;
    const int64_t tile_channels = (int64_t) form->tile * form->lanes;

    for (int64_t channel = first; channel < end; channel += tile_channels) {
        const int vectors = vectors_from(form, end - channel);
        const int64_t lanes = end - channel < tile_channels ? end - channel : tile_channels;
        const int last = (int) (lanes - (vectors - 1) * form->lanes);
        const uint8_t *weights =
            d->weights + group * d->group_bytes + channel / form->lanes * d->vector_bytes;
        const struct pith_dense_s8_tile *tile = form->tiles[vectors - 1];
        struct cursor at = from;

        for (int64_t left = pixels; left > 0; left -= tile->pixels) {
            struct pith_dense_s8_pixels list;

            while (tile->pixels > left)
                tile++;
            next_pixels(conv, &at, tile->pixels, &list);
            tile->run(d, data, &list, weights, group * conv->in_channels,
                      group * conv->out_channels + channel, last);
        }
    }
}

/* Without the walk, which takes longer than the product of a small layer. */
static void run_one_pixel(const struct pith_dense_s8 *d, const struct pith_conv_s8_data *data,
                          int64_t first, int64_t end)
{
    const struct pith_dense_s8_form *form = d->form;
    const int64_t tile_channels = (int64_t) form->tile * form->lanes;
    const struct pith_dense_s8_pixels at = {
        .x = {-d->conv->pad[0] * d->conv->in.row - d->conv->pad[1] * d->conv->in.pixel}};

    for (int64_t channel = first; channel < end; channel += tile_channels) {
        const int vectors = vectors_from(form, end - channel);
        const int64_t lanes = end - channel < tile_channels ? end - channel : tile_channels;
        const struct pith_dense_s8_tile *tile = form->tiles[vectors - 1];

        while (tile->pixels > 1)
            tile++;
        tile->run(d, data, &at, d->weights + channel / form->lanes * d->vector_bytes, 0, channel,
                  (int) (lanes - (vectors - 1) * form->lanes));
    }
}

void pith_dense_s8_run(const struct pith_conv_s8 *conv, const struct pith_conv_s8_data *data,
                       const struct pith_conv_s8_span *span)
{
    const struct pith_dense_s8 *d = conv->packed;
    const int64_t row_bytes = conv->in.row * conv->stride[0];
    int64_t rows;

    if (d->one_pixel && span->row < span->row_end) {
        run_one_pixel(d, data, span->channel, span->channel_end);
        return;
    }
    rows = row_bytes < CHUNK_BYTES ? CHUNK_BYTES / row_bytes : 1;
    for (int64_t row = span->row; row < span->row_end; row += rows) {
        const int64_t count = span->row_end - row < rows ? span->row_end - row : rows;
        const struct cursor from = {row, 0};

        for (int64_t g = span->channel / conv->out_channels;
             g * conv->out_channels < span->channel_end; g++) {
            const int64_t base = g * conv->out_channels;
            const int64_t end = span->channel_end - base;

            run_chunk(d, data, from, count * conv->y.w, g,
                      span->channel > base ? span->channel - base : 0,
                      end < conv->out_channels ? end : conv->out_channels);
        }
    }
}
