/* Channels-last float convolution by tiles: which tiles, weights packed for them, and the walk over
 * rows. See image_conv_f32.h. */
#include <errno.h>
#include <string.h>

#include "libpith/kernels/image_narrow_f32.h"
#include "libpith/kernels/transpose.h"

#define MERGED_COLS                                                                                \
    48 /* pixels that are walked together where all of a picture are one row: a multiple of most tiles */
#define CACHED_FLOATS                                                                              \
    (64 * 1024) /* 256 KiB: what may stay in the second-level cache beside everything else */
#define NARROW_WEIGHTS (8 * 1024) /* fewer are not worth keeping narrow */
#define NARROW_PIXELS                                                                              \
    24 /* of a picture: fewer take hardly longer than making floats of the weights does */
#define CACHED_WEIGHTS 131072 /* half a second-level cache */
#define NEAR_FLOATS                                                                                \
    (12 * 1024) /* 48 KiB, of which a block of channels reads a part: rows that all blocks of a \
                   depthwise convolution walk before the next ones */

static bool is_depthwise(const struct image_conv *conv)
{
    return conv->in_channels == 1 && conv->out_channels == 1 && conv->groups > 1;
}

/* ---- the walk ---- */

/* One window element a pixel, and no gaps between rows of anything: all pixels of a picture are one
 * row. Not depthwise: those forms have no last row that is shorter. */
static bool merges(const struct pith_step *step, const struct image_conv *conv)
{
    const struct pith_sliding *w = &conv->window;

    return !is_depthwise(conv) && w->taps == 1 && w->stride[1] == 1 && w->stride[2] == 1 &&
           w->pad[1] == 0 && w->pad[2] == 0 && w->in[1] == w->out[1] && w->in[2] == w->out[2] &&
           conv->in.row == w->in[2] * conv->in.pixel &&
           conv->out.row == w->out[2] * conv->out.pixel &&
           (!step->residual.set || conv->added.row == w->out[2] * conv->added.pixel);
}

static void plan_rows(const struct pith_step *step, struct image_conv *conv)
{
    const struct pith_sliding *w = &conv->window;

    conv->pictures = conv->batch;
    conv->rows = w->out[1];
    conv->cols = w->out[2];
    conv->fold = 1;
    conv->rest = 0;
    conv->x_row = w->stride[1] * conv->in.row;
    conv->y_row = conv->out.row;
    conv->added_row = conv->added.row;
    conv->x_step = w->stride[2] * conv->in.pixel;
    conv->y_step = conv->out.pixel;
    conv->merged = !is_depthwise(conv) && merges(step, conv) && w->out_plane > 0;
    if (conv->merged) {
        conv->rows = w->out_plane;
        conv->cols = 1;
        conv->x_row = conv->in.pixel;
        conv->y_row = conv->out.pixel;
        conv->added_row = conv->added.pixel;
    }
}

/* Kernel rows whose taps lie next to each other are one run; else each tap is. */
static int plan_runs(struct pith_step *step, struct image_conv *conv, bool by_rows)
{
    const struct pith_sliding *w = &conv->window;

    conv->runs = by_rows ? w->kernel[1] : w->taps;
    conv->offset = pith_step_alloc(step, conv->runs * (int64_t) sizeof *conv->offset);
    if (!conv->offset)
        return -ENOMEM;
    for (int64_t run = 0; run < conv->runs; run++) {
        const int64_t ky = by_rows ? run : run / w->kernel[2],
                      kx = by_rows ? 0 : run % w->kernel[2];

        conv->offset[run] =
            ky * w->dilation[1] * conv->in.row + kx * w->dilation[2] * conv->in.pixel;
    }
    return 0;
}

/* ---- dense ---- */

/* Cycles of one step of all tiles that `vectors` vectors of channels take over a row:
 * multiply-adds, loads, or where both are few the time that an addition takes. */
static int64_t row_cost(const struct image_form *form, int64_t cols, int vectors)
{
    const int64_t most = form->most_pixels[vectors - 1], tiles = (cols + most - 1) / most;
    const int64_t least = form->lanes == 16 ? 4 : 8;
    int64_t cost = 0;

    for (int64_t t = 0; t < tiles; t++) {
        const int64_t pixels = cols * (t + 1) / tiles - cols * t / tiles;
        const int64_t work =
            pixels * vectors > pixels + vectors ? pixels * vectors : pixels + vectors;

        cost += work > least ? work : least;
    }
    return cost;
}

int pith_image_best_vectors(const struct image_form *form, int64_t cols, int64_t total)
{
    int64_t best_cost = INT64_MAX;
    int best = 1;

    cols = cols > 1024 ? 1024 : cols;
    for (int v = 1; v <= form->most_vectors && v <= total; v++) {
        const int64_t cost = total / v * row_cost(form, cols, v) +
                             (total % v ? row_cost(form, cols, (int) (total % v)) : 0);

        if (cost < best_cost) {
            best_cost = cost;
            best = v;
        }
    }
    return best;
}

static void fill_block(struct image_conv *conv, struct image_block *b, int64_t channel,
                       int64_t valid, int vectors, float *bias)
{
    const int64_t lanes = conv->form->lanes;

    b->y_at = channel;
    b->last = (int) (valid - (vectors - 1) * lanes);
    b->bias = bias;
    for (int64_t m = 0; m < valid && conv->bias; m++)
        bias[m] = conv->bias[channel + m];
}

/* Weights that are narrow stay so where making them floats is little beside what is done with them. */
static int plan_narrow(struct pith_step *step, struct image_conv *conv)
{
    struct image_narrow narrow;

    if (conv->is_phase || pith_shape_elements(&step->input[1].shape) < NARROW_WEIGHTS ||
        conv->batch * conv->window.out_plane < NARROW_PIXELS ||
        !pith_image_narrow_find(step, &narrow))
        return 0;
    conv->narrow = pith_step_alloc(step, sizeof *conv->narrow);
    if (!conv->narrow)
        return -ENOMEM;
    *conv->narrow = narrow;
    step->form = pith_narrow_name(narrow.kind);
    return 0;
}

/* w[run][k][channel], channels past `valid` zero */
static int pack_block(struct pith_step *step, struct image_conv *conv, struct image_block *b,
                      int64_t channel, int64_t valid, int64_t width, float *packed)
{
    const int64_t depth = conv->in_channels * conv->window.taps;

    if (conv->narrow) {
        if (conv->narrow->floats < depth * width)
            conv->narrow->floats = depth * width;
        return pith_image_narrow_pack(step, conv->narrow, b, channel, valid, width);
    }
    pith_transpose_f32(conv->weights + channel * depth, depth, valid, depth, conv->window.taps,
                       packed, width);
    return 0;
}

/* One run of memory for all blocks; NULL: there is none for it, or weights stay narrow. */
static int alloc_packed(struct pith_step *step, struct image_conv *conv, int64_t channels, float **out)
{
    *out = NULL;
    if (conv->narrow)
        return 0;
    if (!conv->weights)
        conv->weights = pith_image_float_weights(step);
    *out = pith_step_alloc(step, conv->in_channels * conv->window.taps * channels * (int64_t) sizeof **out);
    return conv->weights && *out ? 0 : -ENOMEM;
}

static int plan_dense(struct pith_step *step, struct image_conv *conv)
{
    const struct pith_sliding *w = &conv->window;
    const struct image_form *form = conv->form;
    const int64_t lanes = form->lanes, total = (conv->out_channels + lanes - 1) / lanes,
                  depth = conv->in_channels * w->taps;
    const bool by_rows =
        conv->groups == 1 && w->dilation[2] == 1 && conv->in.pixel == conv->in_channels;
    const int vectors =
        pith_image_best_vectors(form, conv->merged ? MERGED_COLS : conv->cols, total);
    const int64_t a_group = (total + vectors - 1) / vectors;
    const float *shared;
    float *bias, *packed;

    conv->length = by_rows ? w->kernel[2] * conv->in_channels : conv->in_channels;
    conv->block_count = conv->groups * a_group;
    conv->block = pith_step_alloc(step, conv->block_count * (int64_t) sizeof *conv->block);
    bias = pith_step_alloc(step, conv->groups * total * lanes * (int64_t) sizeof(float));
    if (!conv->block || !bias || plan_narrow(step, conv) < 0 || plan_runs(step, conv, by_rows) < 0 ||
        alloc_packed(step, conv, conv->groups * total * lanes, &packed) < 0)
        return -ENOMEM;
    for (int64_t i = 0, at = 0; i < conv->block_count; i++) {
        struct image_block *b = &conv->block[i];
        const int64_t group = i / a_group, first = i % a_group * vectors;
        const int now = (int) (total - first < vectors ? total - first : vectors);
        const int64_t left = conv->out_channels - first * lanes,
                      valid = left < now * lanes ? left : now * lanes;
        const int64_t channel = group * conv->out_channels + first * lanes;

        fill_block(conv, b, channel, valid, now, bias);
        b->x_at = group * conv->in_channels;
        b->tile = form->tile[now - 1];
        b->pixels = form->most_pixels[now - 1];
        if (pack_block(step, conv, b, channel, valid, now * lanes, packed ? packed + at : NULL) < 0)
            return -ENOMEM;
        bias += now * lanes;
        at += depth * now * lanes;
    }
    shared = pith_step_share(step, packed);
    for (int64_t i = 0, at = 0; shared && i < conv->block_count; i++) {
        const int64_t first = i % a_group * vectors;

        conv->block[i].w = shared + at;
        at += depth * lanes * (total - first < vectors ? total - first : vectors);
    }
    return 0;
}

/* ---- depthwise ---- */

/* Few channels and steps of one pixel: a vector holds several pixels, whose elements are one run.
 */
static void fold_pixels(const struct pith_step *step, struct image_conv *conv)
{
    const int64_t channels = conv->groups, lanes = conv->form->lanes, cols = conv->cols;

    if (channels >= lanes || lanes % channels != 0 || conv->window.stride[2] != 1 ||
        conv->in.pixel != channels || conv->out.pixel != channels ||
        (step->residual.set && conv->added.pixel != channels))
        return;
    conv->fold = lanes / channels;
    conv->rest = cols % conv->fold;
    conv->cols = cols / conv->fold;
    conv->x_step = conv->y_step = lanes;
}

static image_tile_run *pick_depthwise(const struct image_conv *conv)
{
    const struct pith_sliding *w = &conv->window;
    const int64_t width = w->kernel[2];
    const bool known = (width == 3 || width == 5) && w->kernel[1] == width && w->stride[2] <= 2 &&
                       w->dilation[2] == 1;

    return known && conv->fold == 1 ? conv->form->depthwise[width / 2 - 1][w->stride[2] - 1]
                                    : conv->form->depthwise_any;
}

static int plan_depthwise(struct pith_step *step, struct image_conv *conv)
{
    const struct pith_sliding *w = &conv->window;
    const int64_t lanes = conv->form->lanes, channels = conv->groups, taps = w->taps;
    const float *from = conv->is_phase ? conv->weights : pith_image_float_weights(step);
    const float *shared;
    float *packed, *bias;

    if (!from)
        return -ENOMEM;
    conv->weights = from;
    fold_pixels(step, conv);
    conv->length = w->kernel[2];
    conv->tap_step = w->dilation[2] * conv->in.pixel;
    conv->block_count = (channels + lanes - 1) / lanes;
    conv->block = pith_step_alloc(step, conv->block_count * (int64_t) sizeof *conv->block);
    packed = pith_step_alloc(step, conv->block_count * lanes * taps * (int64_t) sizeof(float));
    bias = pith_step_alloc(step, conv->block_count * lanes * (int64_t) sizeof(float));
    if (!conv->block || !packed || !bias || plan_runs(step, conv, true) < 0)
        return -ENOMEM;
    for (int64_t i = 0; i < conv->block_count; i++) {
        struct image_block *b = &conv->block[i];
        const int64_t first = i * lanes,
                      valid = channels - first < lanes ? channels - first : lanes;

        fill_block(conv, b, first, valid, 1, bias);
        b->x_at = first;
        b->depthwise = pick_depthwise(conv);
        for (int64_t m = 0; m < valid * conv->fold; m++) {
            bias[m] = bias[m % valid];
            for (int64_t tap = 0; tap < taps; tap++)
                packed[(i * taps + tap) * lanes + m] = from[(first + m % valid) * taps + tap];
        }
        if (conv->fold > 1)
            b->last = (int) lanes;
        bias += lanes;
    }
    shared = pith_step_share(step, packed);
    for (int64_t i = 0; i < conv->block_count; i++)
        conv->block[i].w = shared + i * lanes * taps;
    return 0;
}

/* Half as wide vectors where whole ones would be half empty in the end. They cost nothing where the CPU
 * does 512 bits as two halves, as AMD's do; where it does not, they would cost more with 24 and more. */
static const struct image_form *best_width(const struct image_conv *conv)
{
    const struct image_form *narrow = conv->form->narrow;
    const int64_t channels = is_depthwise(conv) ? conv->groups : conv->out_channels;
    const int64_t over = channels % conv->form->lanes;

    return narrow && over > 0 && over <= narrow->lanes &&
                   (channels <= narrow->lanes || pith_isa_halves_512())
               ? narrow
               : conv->form;
}

/* Rows that all blocks walk before the next ones: what they read stays in the cache, and narrow weights
 * are made floats once for them. */
static int64_t count_rows_a_turn(const struct image_conv *conv, int64_t weights)
{
    const int64_t most = is_depthwise(conv)                             ? NEAR_FLOATS
                         : conv->narrow || weights > CACHED_FLOATS / 2 ? CACHED_FLOATS
                                                                        : 0;
    const int64_t unit = conv->merged ? MERGED_COLS : 1;

    return conv->x_row > 0 && most / conv->x_row > unit ? most / conv->x_row : unit;
}

static int pack_winograd(struct pith_step *step, struct image_conv *conv)
{
    conv->weights = pith_image_float_weights(step);
    return conv->weights ? pith_image_winograd_pack(step, conv) : -ENOMEM;
}

/* Where threads that each read all weights would wait for them. */
static bool reads_weights_most(const struct pith_step *step, const struct image_conv *conv)
{
    const int64_t weights = pith_shape_elements(&step->input[1].shape);

    return !is_depthwise(conv) && weights > CACHED_WEIGHTS &&
           weights > 4 * pith_shape_elements(&step->input[0].shape) && conv->block_count > 1;
}

/* How much more the thread with the most of `units` has than if all had the same. */
static double unevenness(int64_t units, uint32_t threads)
{
    return units > 0 ? (double) ((units + threads - 1) / threads * threads) / (double) units : 1e9;
}

/* Channels, where a picture has so few rows that some threads would have one more than others. */
static bool cuts_unevenly(const struct pith_step *step, const struct image_conv *conv)
{
    const uint32_t threads = step->threads ? step->threads : 1;

    return is_depthwise(conv) && unevenness(conv->pictures * conv->rows, threads) >
                                     1.05 * unevenness(conv->block_count, threads);
}

/* Of what parts are made. */
static int64_t count_units(const struct image_conv *conv)
{
    return conv->cut_by_blocks ? conv->block_count : conv->pictures * conv->rows;
}

static int pack_direct(struct pith_step *step, struct image_conv *conv)
{
    int rc;

    conv->form = best_width(conv);
    plan_rows(step, conv);
    rc = is_depthwise(conv) ? plan_depthwise(step, conv) : plan_dense(step, conv);
    conv->rows_a_turn = count_rows_a_turn(conv, pith_shape_elements(&step->input[1].shape));
    conv->cut_by_blocks = reads_weights_most(step, conv) || cuts_unevenly(step, conv);
    step->parts = pith_parts_of(count_units(conv));
    if (conv->narrow) {
        step->parts = pith_parts_with_scratch(step, count_units(conv), IMAGE_NARROW_PARTS);
        step->scratch_bytes = (size_t) (step->parts * conv->narrow->floats) * sizeof(float);
    }
    return rc;
}

int pith_image_conv_pack(struct pith_step *step, struct image_conv *conv)
{
    const int rc = !conv->is_phase && pith_image_winograd_fits(conv) ? pack_winograd(step, conv)
                                                                     : pack_direct(step, conv);

    if (step->input[1].dtype != PITH_FLOAT32)
        pith_step_release(step, conv->weights);
    conv->weights = NULL;
    return rc;
}

/* ---- run ---- */

/* `tiles` tiles along a row of `cols` pixels, as alike as can be: those with a pixel more come first. */
void pith_image_run_tiles(image_tile_run *const *tile, int64_t most, struct image_tile *t,
                          int64_t cols)
{
    const int64_t tiles = (cols + most - 1) / most, pixels = tiles ? cols / tiles : 0;
    const int64_t wider = tiles ? cols % tiles : 0;

    t->tiles = wider;
    if (wider > 0) {
        tile[pixels](t);
        t->x += wider * (pixels + 1) * t->x_step;
        t->y += wider * (pixels + 1) * t->y_step;
        if (t->residual)
            t->residual += wider * (pixels + 1) * t->residual_step;
    }
    t->tiles = tiles - wider;
    if (t->tiles > 0)
        tile[pixels - 1](t);
}

/* Where row i of all pictures begins, in and out. */
static void begin_row(const struct pith_step *step, const struct image_conv *conv,
                      const struct image_block *b, struct image_tile *t, int64_t i)
{
    const struct pith_sliding *w = &conv->window;
    const int64_t n = i / conv->rows, row = i % conv->rows;

    t->x = (const float *) step->input[0].data + n * conv->in.picture + row * conv->x_row -
           w->pad[1] * conv->in.row - w->pad[2] * conv->in.pixel + b->x_at;
    t->y = (float *) step->output[0].data + n * conv->out.picture + row * conv->y_row + b->y_at;
    if (step->residual.set)
        t->residual = (const float *) step->input[step->residual.input].data +
                      n * conv->added.picture + row * conv->added_row + b->y_at;
}

static void run_block(const struct pith_step *step, const struct image_conv *conv,
                      const struct image_block *b, struct image_tile *t, int64_t from, int64_t to)
{
    int64_t rows;

    t->bias = b->bias;
    t->last = b->last;
    for (int64_t i = from; i < to; i += rows) {
        const int64_t left = conv->rows - i % conv->rows; /* of this picture */

        rows = to - i < left ? to - i : left;
        begin_row(step, conv, b, t, i);
        if (b->depthwise) {
            t->rows = rows;
            b->depthwise(t);
        } else if (conv->merged) {
            pith_image_run_tiles(b->tile, b->pixels, t, rows);
        } else {
            pith_image_run_tiles(b->tile, b->pixels, t, conv->cols);
            rows = 1;
        }
    }
}

/* How many of `left` rows the next turn takes. What is left behind it is no less than half a turn where pixels are walked
 * together, since tiles of few pixels cost as much as those of many. */
static int64_t rows_of_turn(const struct image_conv *conv, int64_t left)
{
    const int64_t turn = conv->rows_a_turn;

    if (left <= turn || (conv->merged && left <= turn + turn / 2))
        return left;
    return conv->merged && left < 2 * turn ? left / 2 : turn;
}

/* Blocks first..end_block-1 over rows from..to-1 of all pictures. */
static void walk(const struct pith_step *step, const struct image_conv *conv, int64_t first,
                 int64_t end_block, int64_t from, int64_t to, float *floats)
{
    struct image_tile t = {.x_step = conv->x_step,
                           .offset = conv->offset,
                           .runs = conv->runs,
                           .length = conv->length,
                           .tap_step = conv->tap_step,
                           .cols = conv->cols,
                           .x_row = conv->x_row,
                           .y_row = conv->y_row,
                           .residual_row = conv->added_row,
                           .rest = (int) (conv->rest * conv->groups),
                           .y_step = conv->y_step,
                           .residual_step = conv->fold > 1 ? conv->y_step : conv->added.pixel,
                           .activation = step->activation,
                           .after = step->residual.after};

    for (int64_t row = from, end; row < to; row = end) {
        end = row + rows_of_turn(conv, to - row);
        for (int64_t i = first; i < end_block; i++) {
            const struct image_block *b = &conv->block[i];

            t.w = b->w;
            if (b->narrow) {
                pith_image_narrow_expand(conv->narrow, b, floats);
                t.w = floats;
            }
            run_block(step, conv, b, &t, row, end);
        }
    }
}

void pith_image_conv_fast(const struct pith_step *step, const struct image_conv *conv, uint32_t part,
                          uint32_t parts)
{
    const int64_t units = count_units(conv), begin = pith_part_begin(units, part, parts),
                  end = pith_part_begin(units, part + 1, parts);
    float *floats =
        conv->narrow ? (float *) step->scratch + part * conv->narrow->floats : NULL;

    if (conv->cut_by_blocks)
        walk(step, conv, begin, end, 0, conv->pictures * conv->rows, floats);
    else
        walk(step, conv, 0, conv->block_count, begin, end, floats);
}

void pith_image_conv_fast_rows(const struct pith_step *step, const struct image_conv *conv,
                               int64_t from, int64_t to)
{
    const int64_t each = conv->merged ? conv->window.out[2] : 1;

    walk(step, conv, 0, conv->block_count, from * each, to * each, NULL);
}
