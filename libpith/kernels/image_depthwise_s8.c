/* Depthwise channels-last integer convolution: packing by blocks of channels, and the walk over
 * rows. See image_depthwise_s8.h. */
#include "libpith/kernels/image_depthwise_s8.h"

#include <errno.h>
#include <string.h>

#define WIDEST      64
#define NARROWEST   8
#define CHUNK_BYTES (INT64_C(32) << 10) /* of input that all blocks read before they go on */

struct block {
    const struct pith_depthwise_s8_width *width;
    int64_t channel, count; /* channels that it covers */
    const uint8_t *weights;
    const int32_t *bias;
    const float *scale;
};

struct depthwise {
    bool columns; /* a kernel of 3 x 3 whose columns are reused */
    /* Few channels, pixels that touch and move by one: a row is one run of bytes in which the
     * weights repeat, so that a block covers several pixels. */
    bool folded;
    int64_t groups, *tap_at; /* see image_depthwise_s8.h */
    int64_t *tap;            /* that stands at each place of the groups, or -1 */
    int64_t each;            /* taps of a group */
    int64_t vectors;         /* of int32 that hold a block's sums */
    int64_t block_count;
    struct block *blocks;
};

/* ---- packing ---- */

static bool can_fold(const struct pith_conv_s8 *conv, int width)
{
    return conv->y.c < width && width % conv->y.c == 0 && conv->stride[1] == 1 &&
           conv->in.pixel == conv->y.c && conv->out.pixel == conv->y.c &&
           conv->y.w * conv->y.c >= width;
}

/* Of a channel: of both terms, one behind the other. */
static int64_t taps_of(const struct pith_conv_s8 *conv)
{
    return pith_conv_s8_terms(conv) * conv->kernel[0] * conv->kernel[1];
}

/* The tap (row, column) that stands at place i of the groups, or -1. */
static int64_t tap_of(const struct pith_conv_s8 *conv, const struct depthwise *d, int64_t i)
{
    /* the upper two of each column, and the lower row with each of its inner pairs */
    static const int8_t pairs[10] = {0, 3, 1, 4, 2, 5, 6, 7, -1, 8};
    if (!d->columns)
        return i < taps_of(conv) ? i : -1;
    if (d->each == 2)
        return pairs[i];
    return i % 4 < 3 ? i % 4 * 3 + i / 4 : -1;
}

static int plan_taps(struct pith_step *step, const struct pith_conv_s8 *conv, struct depthwise *d)
{
    const int64_t taps = d->columns ? d->each == 4 ? 12 : 10 : taps_of(conv);

    d->groups = (taps + d->each - 1) / d->each;
    d->tap_at = pith_step_alloc(step, d->each * d->groups * (int64_t) sizeof *d->tap_at);
    d->tap = pith_step_alloc(step, d->each * d->groups * (int64_t) sizeof *d->tap);
    if (!d->tap_at || !d->tap)
        return -ENOMEM;
    for (int64_t i = 0; i < d->each * d->groups; i++) {
        const int64_t tap = d->tap[i] = tap_of(conv, d, i);

        if (tap >= 0)
            d->tap_at[i] = tap / conv->kernel[1] % conv->kernel[0] * conv->dilation[0] * conv->in.row +
                           tap % conv->kernel[1] * conv->dilation[1] * conv->in.pixel;
    }
    return 0;
}

/* Which channel of a block lane `lane` of vector i holds, after interleaving in parts of 128 bits. */
static int64_t channel_of(const struct depthwise *d, int64_t i, int64_t lane)
{
    return lane / 4 * 4 * d->vectors + i * 4 + lane % 4;
}

/* The weights of the tap that stands at place i; channel: of each lane of a block, or -1. */
static void pack_tap(const struct pith_conv_s8 *conv, const struct depthwise *d,
                     const struct pith_depthwise_s8_form *form, const struct block *b, int64_t i,
                     const int64_t *channel, uint8_t *weights)
{
    const int64_t taps = taps_of(conv), bytes = b->width->bytes;
    const int8_t *w = conv->weights + d->tap[i];

    for (int64_t at = 0; at < bytes; at++) {
        const int16_t one = channel[at] >= 0 ? w[channel[at] * taps] : 0;

        if (form->order == PITH_DEPTHWISE_PLANES)
            weights[i * bytes + at] = (uint8_t) one;
        else if (form->order == PITH_DEPTHWISE_QUADS)
            weights[(i / 4 * bytes + at) * 4 + i % 4] = (uint8_t) one;
        else
            memcpy(weights + (i / 2 * bytes + at) * 4 + i % 2 * 2, &one, sizeof one);
    }
}

static int pack_block(struct pith_step *step, const struct pith_conv_s8 *conv,
                      const struct depthwise *d, const struct pith_depthwise_s8_form *form,
                      struct block *b)
{
    const bool planes = form->order == PITH_DEPTHWISE_PLANES;
    const int64_t bytes = b->width->bytes, lanes = bytes / d->vectors;
    int64_t channel[WIDEST];
    uint8_t *weights = pith_step_alloc(step, d->groups * bytes * (planes ? d->each : 4));
    int32_t *bias = pith_step_alloc(step, bytes * (int64_t) sizeof *bias);
    float *scale = pith_step_alloc(step, bytes * (int64_t) sizeof *scale);

    if (!weights || !bias || !scale)
        return -ENOMEM;
    for (int64_t at = 0; at < bytes; at++) {
        const int64_t in_block = planes ? at : channel_of(d, at / lanes, at % lanes);

        channel[at] = d->folded              ? in_block % conv->y.c
                      : in_block < b->count ? b->channel + in_block
                                            : -1;
        if (channel[at] < 0)
            continue;
        bias[at] = conv->to.bias[channel[at]];
        scale[at] = conv->to.scale[channel[at]];
    }
    for (int64_t i = 0; i < d->each * d->groups; i++)
        if (d->tap[i] >= 0)
            pack_tap(conv, d, form, b, i, channel, weights);
    b->weights = pith_step_share(step, weights);
    b->bias = pith_step_share(step, bias);
    b->scale = pith_step_share(step, scale);
    return 0;
}

/* The narrowest block that takes all that is left, or the widest. */
static const struct pith_depthwise_s8_width *pick_width(const struct pith_depthwise_s8_form *form,
                                                        int64_t left)
{
    const struct pith_depthwise_s8_width *width = form->width;

    while (width[1].bytes && left <= width[1].bytes)
        width++;
    return width;
}

static pith_conv_s8_run depthwise_run;

int pith_depthwise_s8_pack(struct pith_step *step, struct pith_conv_s8 *conv, const void *private)
{
    const struct pith_depthwise_s8_form *form = private;
    struct depthwise *d = pith_step_alloc(step, sizeof *d);
    int rc;

    if (conv->to.adds || conv->to.real)
        return 1;
    if (form->symmetric &&
        memchr(conv->weights, -128 & 0xFF, (size_t) (conv->y.c * taps_of(conv))))
        return 1;
    if (!d)
        return -ENOMEM;
    d->folded = can_fold(conv, form->width[0].bytes);
    d->each = form->order == PITH_DEPTHWISE_QUADS ? 4 : 2;
    d->vectors = form->order == PITH_DEPTHWISE_PAIRS ? 2 : 4;
    d->columns = form->width[0].columns && conv->kernel[0] == 3 && conv->kernel[1] == 3 &&
                 conv->dilation[1] == 1 && !conv->two_terms;
    rc = plan_taps(step, conv, d);
    d->blocks = pith_step_alloc(step, (conv->y.c + NARROWEST - 1) / NARROWEST *
                                          (int64_t) sizeof *d->blocks);
    if (rc < 0 || !d->blocks)
        return -ENOMEM;
    for (int64_t channel = 0; channel < conv->y.c && rc == 0;) {
        struct block *b = &d->blocks[d->block_count++];

        b->width = d->folded ? form->width : pick_width(form, conv->y.c - channel);
        b->channel = channel;
        b->count = conv->y.c - channel < b->width->bytes ? conv->y.c - channel : b->width->bytes;
        channel += b->count;
        rc = pack_block(step, conv, d, form, b);
    }
    if (rc < 0)
        return rc;
    conv->packed = d;
    conv->form = depthwise_run;
    return 0;
}

/* ---- the walk ---- */

static void run_row(const struct pith_conv_s8 *conv, const struct depthwise *d,
                    const struct block *b, const uint8_t *x, uint8_t *y)
{
    struct pith_depthwise_s8_row row = {.x = x + b->channel,
                                        .y = y + b->channel,
                                        .x_step = conv->stride[1] * conv->in.pixel,
                                        .y_step = conv->out.pixel,
                                        .count = conv->y.w,
                                        .width = (int) b->count,
                                        .last = (int) b->count,
                                        .groups = d->groups,
                                        .tap_at = d->tap_at,
                                        .column = conv->in.pixel,
                                        .weights = b->weights,
                                        .bias = b->bias,
                                        .scale = b->scale,
                                        .to = &conv->to};
    int64_t stride = conv->stride[1];

    if (d->folded) {
        const int64_t bytes = conv->y.w * conv->y.c;

        row.width = b->width->bytes;
        row.x_step = row.y_step = row.width;
        row.count = (bytes + row.width - 1) / row.width;
        row.last = (int) (bytes - (row.count - 1) * row.width);
        stride = row.width / conv->y.c;
    }
    if (d->columns)
        b->width->columns(&row, (int) stride);
    else
        b->width->taps(&row);
}

/* Rows are walked some at a time: blocks share lines of the cache, which so many leave in the second level. */
static void depthwise_run(const struct pith_conv_s8 *conv, const struct pith_conv_s8_data *data,
                          const struct pith_conv_s8_span *span)
{
    const struct depthwise *d = conv->packed;
    const int64_t row_bytes = conv->in.row * conv->stride[0],
                  rows = row_bytes < CHUNK_BYTES ? CHUNK_BYTES / row_bytes : 1;

    if (conv->y.w == 0)
        return;
    for (int64_t first = span->row; first < span->row_end; first += rows)
        for (int64_t i = 0; i < d->block_count; i++)
            for (int64_t at = first; at < first + rows && at < span->row_end; at++) {
                const int64_t n = at / conv->y.h, row = at % conv->y.h;

                run_row(conv, d, &d->blocks[i],
                        data->x + n * conv->in.picture +
                            (row * conv->stride[0] - conv->pad[0]) * conv->in.row -
                            conv->pad[1] * conv->in.pixel,
                        (uint8_t *) data->y + n * conv->out.picture + row * conv->out.row);
            }
}
