/* Dense channels-last integer convolution, blocked: packing, and the walk over pixels and channels.
 * See image_dense_s8.h. */
#include "libpith/kernels/image_dense_s8.h"
#include "libpith/kernels/image_pixels_s8.h"
#include "libpith/kernels/image_two_of_four_s8.h"

#include <errno.h>
#include <string.h>

#define CHUNK_BYTES                                                                                \
    24576 /* of input that one pass over the weights reads: it stays in a first-level cache */

/* Depth, in fours of bytes, from which on reading the weights less often wins more than finding
 * pixels in two rows costs. */
#define ACROSS_QUADS 128

/* ---- packing ---- */

static int plan_runs(struct pith_step *step, struct pith_dense_s8 *d)
{
    const struct pith_conv_s8 *conv = d->conv;
    const bool by_row = pith_segments_by_row(conv) && (!pith_is_two_of_four(d->form) ||
                                                conv->in_channels % 4 == 0); /* fours of a tap */
    const int64_t across = by_row ? 1 : conv->kernel[1], runs = conv->kernel[0] * across;

    d->runs = pith_conv_s8_terms(conv) * runs;
    d->run_bytes = (conv->in_channels * (by_row ? conv->kernel[1] : 1) + 3) / 4 * 4;
    d->run_at = pith_step_alloc(step, d->runs * (int64_t) sizeof *d->run_at);
    if (!d->run_at)
        return -ENOMEM;
    for (int64_t run = 0; run < d->runs; run++)
        d->run_at[run] = run % runs / across * conv->dilation[0] * conv->in.row +
                         run % across * conv->dilation[1] * conv->in.pixel;
    return 0;
}

/* Bytes of a run that meet their weights at once, and how often a run takes so many. */
static int64_t step_bytes(const struct pith_dense_s8_form *form)
{
    switch (form->order) {
    case PITH_DENSE_TWO_OF_FOUR:
    case PITH_DENSE_TWO_OF_FOUR_PAIRS:
        return 16;
    case PITH_DENSE_TWO_OF_FOUR_WORDS:
        return 8;
    default:
        return form->eights ? 8 : 4;
    }
}

static int64_t steps_of(const struct pith_dense_s8 *d)
{
    return (d->run_bytes + step_bytes(d->form) - 1) / step_bytes(d->form);
}

/* Of packed weights: what a vector of channels takes in a run. */
static int64_t run_weight_bytes(const struct pith_dense_s8 *d)
{
    const struct pith_dense_s8_form *form = d->form;

    if (pith_is_two_of_four(form))
        return pith_two_of_four_bytes(form, d->run_bytes);
    return steps_of(d) * form->lanes *
           (form->order == PITH_DENSE_PAIRS_OF_WORDS ? 8 : step_bytes(form));
}

static uint32_t joined(int16_t low, int16_t high)
{
    return (uint16_t) low | (uint32_t) (uint16_t) high << 16;
}

/* The weights of a lane for a step of `each` bytes, where they lie in what a vector of channels
 * takes. */
static inline void put_weights(const struct pith_dense_s8_form *form, int64_t each, uint8_t *to,
                               int lane, const int8_t *w)
{
    const int lanes = form->lanes;
    uint32_t even, odd;

    switch (form->order) {
    case PITH_DENSE_DOTS:
        if (each == 8)
            memcpy(to + lane * 8, w, 8);
        else
            memcpy(to + lane * 4, w, 4);
        break;
    case PITH_DENSE_PAIRS_OF_WORDS:
        even = joined(w[0], w[2]);
        odd = joined(w[1], w[3]);
        memcpy(to + lane * 4, &even, 4);
        memcpy(to + (lanes + lane) * 4, &odd, 4);
        break;
    case PITH_DENSE_PAIRS_OF_BYTES:
        memcpy(to + lane * 2, w, 2);
        memcpy(to + (lanes + lane) * 2, w + 2, 2);
        break;
    case PITH_DENSE_TWO_OF_FOUR:
    case PITH_DENSE_TWO_OF_FOUR_PAIRS:
    case PITH_DENSE_TWO_OF_FOUR_WORDS: /* pith_two_of_four_put's */
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
    const int64_t depth = pith_conv_s8_terms(conv) * conv->kernel[0] * conv->kernel[1] * conv->in_channels,
                  run_depth = depth / d->runs, each = step_bytes(d->form),
                  steps = steps_of(d), quad = d->vector_bytes / (d->runs * steps);

    for (int64_t channel = 0; channel < count; channel++) {
        const int n = (int) (channel / d->form->lanes), lane = (int) (channel % d->form->lanes);
        const int8_t *w = from + channel * depth;

        for (int64_t run = 0; run < d->runs; run++) {
            if (pith_is_two_of_four(d->form)) {
                pith_two_of_four_put(d->form, w + run * run_depth, run_depth, lane, n, vectors,
                                     to + run * vectors * run_weight_bytes(d));
                continue;
            }
            uint8_t *place = to + (run * steps * vectors + n) * quad;
            int8_t last[8] = {0};
            int64_t k = 0;

            for (; k + each <= run_depth; k += each, place += vectors * quad)
                put_weights(d->form, each, place, lane, w + k);
            if (k < run_depth) {
                memcpy(last, w + k, (size_t) (run_depth - k));
                put_weights(d->form, each, place, lane, last);
            }
            w += run_depth;
        }
    }
}

static int64_t round_up(int64_t count, int64_t each)
{
    return (count + each - 1) / each * each;
}

/* Whether sums of what the two scales stand for, divided by the third, are neither so great nor so
 * small that estimates of the quotient leave float's normal numbers. */
static bool divides_well(const struct pith_requantize *to)
{
    const float most = 0x1p40F, least = 0x1p-40F;

    return to->between_scale > least && to->between_scale < most && to->residual_scale > least &&
           to->residual_scale < most && to->y_scale > least && to->y_scale < most;
}

enum pith_dense_s8_store pith_dense_s8_store_of(const struct pith_requantize *to)
{
    if (to->real)
        return PITH_DENSE_ANY;
    if (!to->adds)
        return PITH_DENSE_PLAIN;
    return to->slope == 1.0F && to->after_slope == 1.0F && divides_well(to) ? PITH_DENSE_ADDS : PITH_DENSE_ANY;
}

static bool is_one_line(const struct pith_image *image, const struct pith_image_dims *dims)
{
    return image->row == dims->w * image->pixel &&
           (dims->n == 1 || image->picture == dims->h * image->row);
}

/* Of channels, in a group. */
static int64_t tiles_of(const struct pith_dense_s8 *d)
{
    const int64_t each = (int64_t) d->form->tile * d->form->lanes;

    return (d->conv->out_channels + each - 1) / each;
}

static void plan_walk(struct pith_dense_s8 *d)
{
    const struct pith_conv_s8 *conv = d->conv;

    d->one_pixel = conv->groups == 1 && conv->y.n == 1 && conv->y.h == 1 && conv->y.w == 1;
    d->one_line = conv->kernel[0] == 1 && conv->kernel[1] == 1 && conv->stride[0] == 1 &&
                  conv->stride[1] == 1 && conv->pad[0] == 0 && conv->pad[1] == 0 &&
                  conv->x.h == conv->y.h && conv->x.w == conv->y.w &&
                  is_one_line(&conv->in, &conv->x) && is_one_line(&conv->out, &conv->y) &&
                  (!conv->to.adds || is_one_line(&conv->added, &conv->y));
    d->x_step = conv->stride[1] * conv->in.pixel;
    d->y_step = conv->out.pixel;
    d->added_step = conv->added.pixel;
    d->store = pith_dense_s8_store_of(&conv->to);
}

/* Runs of four bytes that lie evenly are one run of so many fours. */
static void plan_steps(struct pith_dense_s8 *d)
{
    d->step_bytes = step_bytes(d->form);
    d->half_step = d->form->order == PITH_DENSE_TWO_OF_FOUR && (d->run_bytes + 7) / 8 % 2 != 0;
    d->steps = d->half_step ? d->run_bytes / d->step_bytes : steps_of(d);
    if (d->run_bytes != 4 || d->step_bytes != 4 || d->runs < 2 || d->form->whole_runs)
        return;
    for (int64_t run = 2; run < d->runs; run++)
        if (d->run_at[run] != run * d->run_at[1])
            return;
    d->steps = d->runs;
    d->step_bytes = d->run_at[1];
    d->runs = 1;
}

/* Whether wide vectors would leave more lanes idle than narrow ones, by a sixteenth of the channels: fewer cost less than
 * the loop that walks twice as many vectors. */
static bool wide_lanes_idle(int64_t channels, const struct pith_dense_s8_form *form)
{
    return round_up(channels, form->wide_lanes) - round_up(channels, form->lanes) > channels / 16;
}

static bool all_zero(const int8_t *w, int64_t count)
{
    while (count > 0 && w[count - 1] == 0)
        count--;
    return count == 0;
}

/* Few channels of a layer have weights that pass int8. */
static int find_terms(struct pith_step *step, struct pith_dense_s8 *d)
{
    const struct pith_conv_s8 *conv = d->conv;
    const int64_t tiles = tiles_of(d), each = conv->kernel[0] * conv->kernel[1] * conv->in_channels,
                  tile_channels = (int64_t) d->form->tile * d->form->lanes;
    struct pith_dense_s8 *first = pith_step_alloc(step, sizeof *first);

    d->has_one_term = pith_step_alloc(step, conv->groups * tiles);
    if (!first || !d->has_one_term)
        return -ENOMEM;
    memset(d->has_one_term, true, (size_t) (conv->groups * tiles));
    for (int64_t m = 0; m < conv->y.c; m++) {
        bool *one = d->has_one_term + m / conv->out_channels * tiles + m % conv->out_channels / tile_channels;

        *one = *one && all_zero(conv->weights + m * 2 * each + each, each);
    }
    *first = *d;
    first->runs /= 2;
    plan_steps(first);
    d->first_term = first;
    return 0;
}

int pith_dense_s8_pack(struct pith_step *step, struct pith_conv_s8 *conv, const void *private)
{
    const struct pith_dense_s8_form *form = private;
    struct pith_dense_s8 *d;
    const int64_t vectors = (conv->out_channels + form->lanes - 1) / form->lanes,
                  tile_channels = (int64_t) form->tile * form->lanes;
    const int64_t depth = pith_conv_s8_terms(conv) * conv->kernel[0] * conv->kernel[1] * conv->in_channels;
    uint8_t *weights;
    int rc;

    if (form->symmetric && memchr(conv->weights, -128 & 0xFF, (size_t) (conv->y.c * depth)))
        return 1;
    if (pith_is_two_of_four(form) && !pith_two_of_four_fits(conv))
        return 1;
    if (form->wide_lanes && !wide_lanes_idle(conv->out_channels, form))
        return 1;
    d = pith_step_alloc(step, sizeof *d);
    if (!d)
        return -ENOMEM;
    d->conv = conv;
    d->form = form;
    plan_walk(d);
    rc = plan_runs(step, d);
    if (rc < 0)
        return rc;
    d->vector_bytes = d->runs * run_weight_bytes(d);
    d->group_bytes = vectors * d->vector_bytes;
    weights = pith_step_alloc(step, conv->groups * d->group_bytes);
    if (!weights)
        return -ENOMEM;
    for (int64_t g = 0; g < conv->groups; g++)
        for (int64_t channel = 0; channel < conv->out_channels; channel += tile_channels) {
            const int64_t left = conv->out_channels - channel;

            pack_tile(d, conv->weights + (g * conv->out_channels + channel) * depth,
                      left < tile_channels ? left : tile_channels, vectors_from(form, left),
                      weights + g * d->group_bytes + channel / form->lanes * d->vector_bytes);
        }
    d->weights = pith_step_share(step, weights);
    d->goes_across = d->runs * d->run_bytes / 4 >= ACROSS_QUADS;
    if (conv->two_terms && find_terms(step, d) < 0)
        return -ENOMEM;
    plan_steps(d);
    conv->reads = pith_is_two_of_four(form) ? 8 : 4;
    conv->packed = d;
    conv->form = pith_dense_s8_run;
    return 0;
}

/* ---- the walk ---- */

/* Lines of pixels, counted through all pictures: rows of the output, or one line that is all of it.
 */
struct lines {
    int64_t first, width, pixels; /* first: row; all from its first pixel on */
};

/* Where a row of the output begins. */
static struct pith_dense_s8_pixels begin_of(const struct pith_conv_s8 *conv, int64_t row)
{
    const int64_t n = conv->y.n == 1 ? 0 : row / conv->y.h;

    row -= n * conv->y.h;
    return (struct pith_dense_s8_pixels){
        .x = n * conv->in.picture + (row * conv->stride[0] - conv->pad[0]) * conv->in.row -
             conv->pad[1] * conv->in.pixel,
        .y = n * conv->out.picture + row * conv->out.row,
        .added = n * conv->added.picture + row * conv->added.row};
}

/* Sets how far on the next row is, for a tile of which `split` pixels are in this one. */
static void jump(const struct pith_dense_s8 *d, struct pith_dense_s8_pixels *at, int64_t next_row,
                 int64_t split)
{
    const struct pith_dense_s8_pixels next = begin_of(d->conv, next_row);

    at->split = (int) split;
    at->x_jump = next.x - at->x - split * d->x_step;
    at->y_jump = next.y - at->y - split * d->y_step;
    at->added_jump = next.added - at->added - split * d->added_step;
}

static void move(const struct pith_dense_s8 *d, struct pith_dense_s8_pixels *at, int64_t pixels)
{
    at->x += pixels * d->x_step;
    at->y += pixels * d->y_step;
    at->added += pixels * d->added_step;
}

/* Tiles that follow each other in a row. */
static void step_by(const struct pith_dense_s8 *d, struct pith_dense_s8_pixels *at, int64_t pixels)
{
    at->x_next = pixels * d->x_step;
    at->y_next = pixels * d->y_step;
    at->added_next = pixels * d->added_step;
}

/* Rows of one picture, each of which is one tile. */
static void run_rows(const struct pith_dense_s8 *d, const struct pith_conv_s8_data *data,
                     int64_t first, int64_t rows, const struct pith_dense_s8_tile *tile,
                     const uint8_t *weights, int64_t x_channel, int64_t channel, int last)
{
    const struct pith_conv_s8 *conv = d->conv;

    while (rows > 0) {
        const int64_t in_picture = conv->y.h - first % conv->y.h,
                      count = in_picture < rows ? in_picture : rows;
        struct pith_dense_s8_pixels at = begin_of(conv, first);

        at.x_next = conv->stride[0] * conv->in.row;
        at.y_next = conv->out.row;
        at.added_next = conv->added.row;
        tile->run(d, data, &at, weights, x_channel, channel, last, count);
        first += count;
        rows -= count;
    }
}

/* What the tile of channels is to be walked by. */
static const struct pith_dense_s8 *for_tile(const struct pith_dense_s8 *d, int64_t group, int64_t tile)
{
    return d->has_one_term && d->has_one_term[group * tiles_of(d) + tile] ? d->first_term : d;
}

/* One tile of channels over all the lines: of the largest tile as many as fit in a row, then one
 * that goes on in the next, where that pays; at the end smaller ones. */
static void run_lines(const struct pith_dense_s8 *d, const struct pith_conv_s8_data *data,
                      const struct lines *lines, const struct pith_dense_s8_tile *tiles,
                      const uint8_t *weights, int64_t x_channel, int64_t channel, int last)
{
    const bool across = d->goes_across && tiles->across;
    struct pith_dense_s8_pixels at;
    int64_t row = lines->first, room = lines->width;

    for (const struct pith_dense_s8_tile *tile = tiles; !across && tile->pixels; tile++)
        if (tile->pixels == lines->width && !d->one_line) {
            run_rows(d, data, row, lines->pixels / lines->width, tile, weights, x_channel, channel,
                     last);
            return;
        }
    at = begin_of(d->conv, row);
    for (int64_t left = lines->pixels; left > 0;) {
        const struct pith_dense_s8_tile *tile = tiles;

        if (across && tile->pixels > room && tile->pixels <= left &&
            tile->pixels <= room + lines->width) {
            jump(d, &at, ++row, room);
            tile->across(d, data, &at, weights, x_channel, channel, last, 1);
            left -= tile->pixels;
            room += lines->width - tile->pixels;
            at = begin_of(d->conv, row);
            move(d, &at, lines->width - room);
        } else {
            while (tile->pixels > room)
                tile++;
            const int64_t count = room / tile->pixels;

            step_by(d, &at, tile->pixels);
            tile->run(d, data, &at, weights, x_channel, channel, last, count);
            left -= count * tile->pixels;
            room -= count * tile->pixels;
            move(d, &at, count * tile->pixels);
        }
        if (room == 0 && left > 0) {
            at = begin_of(d->conv, ++row);
            room = lines->width;
        }
    }
}

/* One tile of channels after the other. Channels begin and end where tiles do. */
static void run_channels(const struct pith_dense_s8 *d, const struct pith_conv_s8_data *data,
                         const struct lines *lines, int64_t group, int64_t first, int64_t end)
{
    const struct pith_conv_s8 *conv = d->conv;
    const struct pith_dense_s8_form *form = d->form;
    const int64_t tile_channels = (int64_t) form->tile * form->lanes;

    for (int64_t channel = first; channel < end; channel += tile_channels) {
        const int vectors = vectors_from(form, end - channel);
        const int64_t lanes = end - channel < tile_channels ? end - channel : tile_channels;

        run_lines(for_tile(d, group, channel / tile_channels), data, lines, form->tiles[d->store][vectors - 1],
                  d->weights + group * d->group_bytes + channel / form->lanes * d->vector_bytes,
                  group * conv->in_channels, group * conv->out_channels + channel,
                  (int) (lanes - (vectors - 1) * form->lanes));
    }
}

/* Without the walk, which takes longer than the product of a small layer. */
static void run_one_pixel(const struct pith_dense_s8 *d, const struct pith_conv_s8_data *data,
                          int64_t first, int64_t end)
{
    const struct pith_dense_s8_form *form = d->form;
    const int64_t tile_channels = (int64_t) form->tile * form->lanes;
    const struct pith_dense_s8_pixels at = {
        .x = -d->conv->pad[0] * d->conv->in.row - d->conv->pad[1] * d->conv->in.pixel, .split = 1};

    for (int64_t channel = first; channel < end; channel += tile_channels) {
        const int vectors = vectors_from(form, end - channel);
        const int64_t lanes = end - channel < tile_channels ? end - channel : tile_channels;
        const struct pith_dense_s8_tile *tile = form->tiles[d->store][vectors - 1];

        while (tile->pixels > 1)
            tile++;
        tile->run(for_tile(d, 0, channel / tile_channels), data, &at,
                  d->weights + channel / form->lanes * d->vector_bytes, 0, channel,
                  (int) (lanes - (vectors - 1) * form->lanes), 1);
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
        const struct lines lines = {row, d->one_line ? count * conv->y.w : conv->y.w,
                                    count * conv->y.w};

        for (int64_t g = span->channel / conv->out_channels;
             g * conv->out_channels < span->channel_end; g++) {
            const int64_t base = g * conv->out_channels;
            const int64_t end = span->channel_end - base;

            run_channels(d, data, &lines, g, span->channel > base ? span->channel - base : 0,
                         end < conv->out_channels ? end : conv->out_channels);
        }
    }
}
