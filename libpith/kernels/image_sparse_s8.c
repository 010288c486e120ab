/* Channels-last integer convolution that passes over zeros: packing, the estimate
 * of what it costs, and the walk over pixels. See image_sparse_s8.h. */
#include "libpith/kernels/image_sparse_s8.h"

#include <errno.h>
#include <string.h>

/* ---- packing ---- */

#define LINE_BYTES (INT64_C(64) << 10)  /* of a turned line, where it may be so short */
#define MOST_BYTES (INT64_C(512) << 10) /* else it is none for this form */
#define MOST_PARTS 4 /* of lines: each needs one of its own */

static int64_t count_taps(const struct pith_conv_s8 *conv)
{
    return conv->kernel[0] * conv->kernel[1];
}

static int64_t count_quads(const struct pith_conv_s8 *conv)
{
    return (conv->in_channels + 3) / 4;
}

/* Every convolution's weights are counted when it is planned, so the usual case is a loop over
 * words. */
int64_t pith_sparse_s8_blocks(const struct pith_conv_s8 *conv)
{
    const int64_t depth = conv->in_channels, rows = conv->out_channels * count_taps(conv),
                  words = rows * depth / 4;
    int64_t blocks = 0;

    if (depth % 4 == 0) {
        for (int64_t i = 0; i < words;) {
            const int64_t end = words - i < INT32_MAX ? words : i + INT32_MAX;
            uint32_t some = 0; /* as wide as what is compared, for vectors */

            for (; i < end; i++)
                some += pith_sparse_s8_four(conv->weights + 4 * i, 4) != 0;
            blocks += some;
        }
        return blocks;
    }
    for (int64_t row = 0; row < rows; row++)
        for (int64_t k = 0; k < depth; k += 4)
            blocks += pith_sparse_s8_four(conv->weights + row * depth + k, depth - k) != 0;
    return blocks;
}

/* What a tap takes where it is turned, in quads. */
static int64_t tap_quads(const struct pith_conv_s8 *conv)
{
    return (count_quads(conv) + 3) / 4 * 4;
}

/* The most vectors of pixels whose turned input fits, all taps of it; 0 where not even one does. */
static int choose_width(const struct pith_conv_s8 *conv, const struct pith_sparse_s8_form *form)
{
    const int64_t vector = (int64_t) form->lanes * 4 * form->halves, bytes = tap_quads(conv) * vector,
                  most = count_taps(conv) > PITH_SPARSE_S8_BYTES / bytes
                             ? 0
                             : PITH_SPARSE_S8_BYTES / (bytes * count_taps(conv));

    return most < 4 ? (int) most : 4;
}

/* Bytes that one pixel of a turned line takes. */
static int64_t turned_bytes(const struct pith_conv_s8 *conv, const struct pith_sparse_s8_form *form)
{
    return tap_quads(conv) * form->halves * 4;
}

/* What a line is: pixels from one row to the next, output pixels, input pixels (a multiple of 4). */
struct line {
    int64_t row, count, turned;
};

static int64_t output_line(const struct pith_conv_s8 *conv, int64_t row)
{
    return (conv->y.h - 1) * row + conv->y.w; /* of a picture */
}

static bool choose_line(const struct pith_conv_s8 *conv, const struct pith_sparse_s8_form *form,
                        struct line *line)
{
    const int64_t bytes = turned_bytes(conv, form), most = 4 * form->lanes;
    int64_t reach, whole;

    if (count_taps(conv) == 1 || conv->stride[0] != 1 || conv->stride[1] != 1 || conv->in.row % conv->in.pixel != 0 ||
        conv->in.row / conv->in.pixel >= INT32_MAX)
        return false;
    line->row = conv->in.row / conv->in.pixel;
    reach = (conv->kernel[0] - 1) * conv->dilation[0] * line->row +
            (conv->kernel[1] - 1) * conv->dilation[1];
    whole = (output_line(conv, line->row) + most - 1) / most * most;
    line->count = (LINE_BYTES / bytes - reach) / most * most;
    line->count = line->count < 2 * most ? 2 * most : line->count;
    line->count = line->count < whole ? line->count : whole;
    line->turned = (line->count + reach + 3) / 4 * 4;
    return line->turned <= MOST_BYTES / bytes;
}

static bool fits(const struct pith_conv_s8 *conv, const struct pith_sparse_s8_form *form)
{
    struct line line;

    if (conv->groups != 1 || conv->to.real ||
        (!choose_line(conv, form, &line) && choose_width(conv, form) < 1))
        return false;
    return !form->symmetric || !memchr(conv->weights, -128 & 0xFF,
                                       (size_t) (conv->y.c * count_taps(conv) * conv->in_channels));
}

/* The blocks of one tap of an output channel, from number `at` on, as many quads from `first` on; returns the number behind
 * them. Each is stored, and those of zeros are stored over: a branch would be guessed wrong half of the time. */
static uint32_t pack_fours(const int8_t *w, int64_t depth, int64_t first, uint32_t at, uint16_t *quad,
                           int32_t *weights)
{
    for (int64_t k = 0; k < depth; k += 4) {
        const uint32_t four = depth - k >= 4 ? pith_sparse_s8_four(w + k, 4) : pith_sparse_s8_four(w + k, depth - k);

        quad[at] = (uint16_t) (first + k / 4);
        memcpy(&weights[at], &four, sizeof four);
        at += four != 0;
    }
    return at;
}

/* The same of a line. */
static uint32_t pack_tap(const struct pith_sparse_s8 *s, const int8_t *w, int64_t tap, uint32_t at,
                         uint32_t *place, int32_t *weights)
{
    const struct pith_conv_s8 *conv = s->conv;
    const int64_t pixel = tap / conv->kernel[1] * conv->dilation[0] * s->row +
                          tap % conv->kernel[1] * conv->dilation[1];

    for (int64_t k = 0; k < conv->in_channels; k += 4) {
        const uint32_t four = pith_sparse_s8_four(w + k, conv->in_channels - k);

        place[at] = (uint32_t) (k / 4 * s->form->halves * s->turned + pixel);
        memcpy(&weights[at], &four, sizeof four);
        at += four != 0;
    }
    return at;
}

static int pack_weights(struct pith_step *step, struct pith_sparse_s8 *s, int64_t blocks)
{
    const struct pith_conv_s8 *conv = s->conv;
    const int64_t taps = count_taps(conv), count = blocks + 1;
    uint32_t *first = pith_step_alloc(step, (conv->out_channels + 1) * (int64_t) sizeof *first),
             *place = NULL, at = 0;
    uint16_t *quad = NULL;
    int32_t *weights = pith_step_alloc(step, count * s->form->halves * (int64_t) sizeof *weights);

    if (s->line)
        place = pith_step_alloc(step, count * (int64_t) sizeof *place);
    else
        quad = pith_step_alloc(step, count * (int64_t) sizeof *quad);
    if (!first || !weights || !(s->line ? (void *) place : (void *) quad))
        return -ENOMEM;
    for (int64_t m = 0; m < conv->out_channels; m++) {
        first[m] = at;
        for (int64_t tap = 0; tap < taps; tap++) {
            const int8_t *w = conv->weights + (m * taps + tap) * conv->in_channels;

            at = quad ? pack_fours(w, conv->in_channels, tap * s->tap_quads, at, quad, weights)
                      : pack_tap(s, w, tap, at, place, weights);
        }
    }
    first[conv->out_channels] = at;
    weights[at] = 0;
    for (uint32_t i = s->form->halves > 1 ? at : 0; i-- > 0;) /* where they lie, the last one first */
        pith_sparse_s8_put(s->form->halves, (uint32_t) weights[i],
                           weights + (int64_t) i * s->form->halves);
    if (quad)
        quad[at] = 0;
    if (place)
        place[at] = 0;
    s->first = pith_step_share(step, first);
    if (quad)
        s->quad = pith_step_share(step, quad);
    if (place)
        s->at = pith_step_share(step, place);
    s->weights = pith_step_share(step, weights);
    return 0;
}

static int plan_taps(struct pith_step *step, struct pith_sparse_s8 *s)
{
    const struct pith_conv_s8 *conv = s->conv;
    int64_t *at = pith_step_alloc(step, count_taps(conv) * (int64_t) sizeof *at);

    if (!at)
        return -ENOMEM;
    for (int64_t tap = 0; tap < count_taps(conv); tap++)
        at[tap] = tap / conv->kernel[1] * conv->dilation[0] * conv->in.row +
                  tap % conv->kernel[1] * conv->dilation[1] * conv->in.pixel;
    s->taps = count_taps(conv);
    s->tap_at = at;
    s->width = choose_width(conv, s->form);
    return 0;
}

int pith_sparse_s8_pack(struct pith_step *step, struct pith_conv_s8 *conv, const void *private)
{
    const struct pith_sparse_s8_form *form = private;
    struct pith_sparse_s8 *s;
    struct line line;
    int rc = 0;

    if (!fits(conv, form))
        return 1;
    s = pith_step_alloc(step, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->conv = conv;
    s->form = form;
    s->quads = count_quads(conv);
    s->tap_quads = tap_quads(conv);
    if (choose_line(conv, form, &line)) {
        s->row = line.row;
        s->line = line.count;
        s->turned = line.turned;
        conv->part_bytes = turned_bytes(conv, form) * line.turned;
        conv->parts = pith_parts_with_scratch(step, conv->y.n * conv->y.h, MOST_PARTS);
    } else {
        rc = plan_taps(step, s);
    }
    if (rc == 0)
        rc = pack_weights(step, s, pith_sparse_s8_blocks(conv));
    if (rc < 0)
        return rc;
    conv->packed = s;
    conv->form = pith_sparse_s8_run;
    return 0;
}

/* ---- the estimate ---- */

static bool is_winograds(const struct pith_conv_s8 *conv)
{
    return conv->kernel[0] == 3 && conv->kernel[1] == 3 && conv->stride[0] == 1 &&
           conv->stride[1] == 1 && conv->dilation[0] == 1 &&
           conv->dilation[1] == 1;
}

/* Quads are turned by fours; what is left is turned one by one, which costs as much as twelve. */
static double turned_quads(const struct pith_conv_s8 *conv)
{
    const int64_t quads = count_quads(conv), whole = quads / 4 * 4;

    return (double) (whole + (quads > whole ? 12 : 0));
}

/* In instructions that multiply; the factors fit what layers of MobileNetV2 took with VNNI
 * (bench/compressed_weights). A block is one load more than a product; what is stored costs more
 * than in dense tiles, as bytes are turned back, 16 channels at a time; and so does a pixel's
 * input. Dense tiles come in vectors of half the width too. */
bool pith_sparse_s8_pays(const struct pith_conv_s8 *conv, const void *private)
{
    const struct pith_sparse_s8_form *form = private;
    const double lanes = form->lanes, out = (double) conv->out_channels,
                 pixels = (double) (conv->y.n * conv->y.h * conv->y.w),
                 quads = (double) count_quads(conv), turned = turned_quads(conv),
                 stored = ceil(out / 16) * 16 * form->stored / lanes;
    double taps = 1, dense, sparse, blocks;
    struct line line;

    if (!fits(conv, form))
        return false;
    if (count_taps(conv) > 1) /* dense tiles join taps of few channels */
        taps = ceil((double) (count_taps(conv) * conv->in_channels) / 4) / quads;
    dense = pixels * (ceil(2 * out / lanes) / 2 * taps * quads * form->dense + out * 3.2 / lanes);
    blocks = (double) pith_sparse_s8_blocks(conv) / lanes;
    if (form->rival && is_winograds(conv) && pith_winograd_s8_pays(conv, form->rival))
        dense *= form->rival_share;
    if (!choose_line(conv, form, &line)) {
        sparse = ceil(pixels / lanes) * lanes *
                 (blocks * form->block + (double) count_taps(conv) * turned * 8 / lanes + stored);
    } else {
        sparse = (double) conv->y.n * ceil((double) output_line(conv, line.row) / lanes) * lanes *
                 (blocks * form->line_block + turned * 8 / lanes * (double) line.turned / (double) line.count +
                  stored);
    }
    return sparse < dense;
}

/* ---- the walk ---- */

/* The next pixels, and the last of them again up to whole vectors. */
static void next_pixels(const struct pith_conv_s8 *conv, struct pith_pixels_s8_cursor *at,
                        int count, int padded, struct pith_sparse_s8_pixels *out)
{
    struct pith_pixels_s8 *place = &out->place;

    pith_pixels_s8_next(conv, at, count, place);
    out->count = count;
    for (int p = count; p < padded; p++) {
        place->x[p] = place->x[p - 1];
        place->y[p] = place->y[p - 1];
        place->added[p] = place->added[p - 1];
    }
}

/* Output pixels `first` to first + count - 1 of a picture's line; those between two rows have no
 * place. */
static void line_pixels(const struct pith_sparse_s8 *s, int64_t n, int64_t first, int count,
                        int padded, struct pith_sparse_s8_pixels *out)
{
    const struct pith_conv_s8 *conv = s->conv;
    int64_t row = first / s->row, col = first % s->row;

    for (int p = 0; p < padded; p++) {
        const bool is_one = p < count && col < conv->y.w;

        out->place.y[p] =
            is_one ? n * conv->out.picture + row * conv->out.row + col * conv->out.pixel : -1;
        out->place.added[p] =
            is_one ? n * conv->added.picture + row * conv->added.row + col * conv->added.pixel : 0;
        if (++col == s->row) {
            col = 0;
            row++;
        }
    }
    out->count = count;
}

/* Rows `row` to end - 1 of picture n. */
static void run_picture(const struct pith_sparse_s8 *s, const struct pith_conv_s8_data *data,
                        const struct pith_conv_s8_span *span, int64_t n, int64_t row, int64_t end)
{
    const struct pith_conv_s8 *conv = s->conv;
    const int lanes = s->form->lanes;
    const int64_t line_end = (end - 1) * s->row + conv->y.w,
                  reach = (conv->kernel[0] - 1) * conv->dilation[0] * s->row +
                          (conv->kernel[1] - 1) * conv->dilation[1];
    const uint8_t *x = data->x + n * conv->in.picture - conv->pad[0] * conv->in.row -
                       conv->pad[1] * conv->in.pixel,
                  *last = x + (line_end - 1 + reach) * conv->in.pixel;
    struct pith_sparse_s8_pixels pixels;

    for (int64_t first = row * s->row; first < line_end; first += s->line) {
        const int64_t next = first + s->line < line_end ? first + s->line : line_end;

        s->form->turn(s, x + first * conv->in.pixel, last, data->scratch);
        for (int64_t at = first; at < next;) {
            const int64_t left = next - at, wanted = (left + lanes - 1) / lanes;
            const int vectors = wanted < 4 ? (int) wanted : 4, padded = vectors * lanes;
            const int count = left < padded ? (int) left : padded;

            line_pixels(s, n, at, count, padded, &pixels);
            s->form->part[vectors - 1](s, data, &pixels,
                                       (const int8_t *) data->scratch + (at - first) * 4,
                                       span->channel, span->channel_end);
            at += count;
        }
    }
}

static void run_lines(const struct pith_sparse_s8 *s, const struct pith_conv_s8_data *data,
                      const struct pith_conv_s8_span *span)
{
    const int64_t height = s->conv->y.h;

    for (int64_t row = span->row; row < span->row_end;) {
        const int64_t n = row / height, picture_end = (n + 1) * height,
                      end = span->row_end < picture_end ? span->row_end : picture_end;

        run_picture(s, data, span, n, row - n * height, end - n * height);
        row = end;
    }
}

void pith_sparse_s8_run(const struct pith_conv_s8 *conv, const struct pith_conv_s8_data *data,
                        const struct pith_conv_s8_span *span)
{
    const struct pith_sparse_s8 *s = conv->packed;
    const int lanes = s->form->lanes;
    int64_t left = (span->row_end - span->row) * conv->y.w;
    struct pith_pixels_s8_cursor at = {span->row, 0};
    struct pith_sparse_s8_pixels pixels;

    if (s->line && span->channel < span->channel_end) {
        run_lines(s, data, span);
        return;
    }
    while (left > 0 && span->channel < span->channel_end) {
        const int64_t wanted = (left + lanes - 1) / lanes;
        const int vectors = wanted < s->width ? (int) wanted : s->width, padded = lanes * vectors;

        next_pixels(conv, &at, left < padded ? (int) left : padded, padded, &pixels);
        s->form->chunk[vectors - 1](s, data, &pixels, span->channel, span->channel_end);
        left -= pixels.count;
    }
}
