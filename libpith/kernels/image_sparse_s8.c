/* Channels-last integer convolution of single pixels that passes over zeros: packing, the estimate
 * of what it costs, and the walk over pixels. See image_sparse_s8.h. */
#include "libpith/kernels/image_sparse_s8.h"

#include <errno.h>
#include <string.h>

/* ---- packing ---- */

static bool fits(const struct pith_conv_s8 *conv)
{
    return conv->groups == 1 && conv->kernel[0] == 1 && conv->kernel[1] == 1 && !conv->to.real;
}

static int64_t count_quads(const struct pith_conv_s8 *conv)
{
    return (conv->in_channels + 3) / 4;
}

/* Four weights, or what is left of them and zeros. */
static uint32_t quad_at(const int8_t *w, int64_t left)
{
    uint32_t quad = 0;

    if (left >= 4)
        memcpy(&quad, w, sizeof quad);
    else
        memcpy(&quad, w, (size_t) left);
    return quad;
}

/* Every 1x1 convolution's weights are counted when it is planned, so the usual case is a loop over
 * words. */
static int64_t count_blocks(const struct pith_conv_s8 *conv)
{
    const int64_t depth = conv->in_channels, words = conv->out_channels * depth / 4;
    int64_t blocks = 0;

    if (depth % 4 == 0) {
        for (int64_t i = 0; i < words;) {
            const int64_t end = words - i < INT32_MAX ? words : i + INT32_MAX;
            uint32_t some = 0; /* as wide as what is compared, for vectors */

            for (; i < end; i++)
                some += quad_at(conv->weights + 4 * i, 4) != 0;
            blocks += some;
        }
        return blocks;
    }
    for (int64_t m = 0; m < conv->out_channels; m++)
        for (int64_t k = 0; k < depth; k += 4)
            blocks += quad_at(conv->weights + m * depth + k, depth - k) != 0;
    return blocks;
}

/* The most vectors of pixels whose turned input fits; 0 where not even one does. */
static int choose_width(const struct pith_conv_s8 *conv, const struct pith_sparse_s8_form *form)
{
    const int64_t quads = (count_quads(conv) + 3) / 4 * 4,
                  most = PITH_SPARSE_S8_BYTES / (quads * form->lanes * 4 * form->halves);

    return most < 4 ? (int) most : 4;
}

static void pack_block(const struct pith_sparse_s8 *s, uint32_t quad, int32_t *to)
{
    int8_t four[4];
    int16_t pairs[4];

    memcpy(four, &quad, sizeof four);
    if (s->form->halves == 1) {
        memcpy(to, four, sizeof four);
        return;
    }
    pairs[0] = four[0];
    pairs[1] = four[2];
    pairs[2] = four[1];
    pairs[3] = four[3];
    memcpy(to, pairs, sizeof pairs);
}

int pith_sparse_s8_pack(struct pith_step *step, struct pith_conv_s8 *conv, const void *private)
{
    const struct pith_sparse_s8_form *form = private;
    const int64_t blocks = fits(conv) ? count_blocks(conv) : 0;
    const int width = fits(conv) ? choose_width(conv, form) : 0;
    struct pith_sparse_s8 *s;
    uint32_t *first, at = 0;
    uint16_t *quad;
    int32_t *weights;

    if (width == 0)
        return 1;
    s = pith_step_alloc(step, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->conv = conv;
    s->form = form;
    s->quads = count_quads(conv);
    s->width = width;
    first = pith_step_alloc(step, (conv->out_channels + 1) * (int64_t) sizeof *first);
    quad = pith_step_alloc(step, (blocks + 1) * (int64_t) sizeof *quad);
    weights = pith_step_alloc(step, (blocks + 1) * form->halves * (int64_t) sizeof *weights);
    if (!first || !quad || !weights)
        return -ENOMEM;
    for (int64_t m = 0; m < conv->out_channels; m++) {
        const int8_t *w = conv->weights + m * conv->in_channels;

        first[m] = at;
        for (int64_t k = 0; k < conv->in_channels; k += 4) {
            const uint32_t four = quad_at(w + k, conv->in_channels - k);

            /* Each is stored, and those of zeros are stored over: a branch would be guessed wrong half of the time. */
            quad[at] = (uint16_t) (k / 4);
            pack_block(s, four, weights + at * (uint32_t) form->halves);
            at += four != 0;
        }
    }
    first[conv->out_channels] = at;
    quad[at] = 0;
    memset(weights + at * (uint32_t) form->halves, 0, (size_t) form->halves * sizeof *weights);
    s->first = pith_step_share(step, first);
    s->quad = pith_step_share(step, quad);
    s->weights = pith_step_share(step, weights);
    conv->packed = s;
    conv->form = pith_sparse_s8_run;
    return 0;
}

/* ---- the estimate ---- */

/* In instructions that multiply; the factors fit what layers of MobileNetV2 took with VNNI
 * (bench/compressed_weights). A block is one load more than a product; what is stored costs more
 * than in dense tiles, as bytes are turned back, 16 channels at a time; and so does a pixel's
 * input. Dense tiles come in vectors of half the width too. Where a product takes two instructions
 * and as many additions, that part of both weighs four times as much. */
bool pith_sparse_s8_pays(const struct pith_conv_s8 *conv, const void *private)
{
    const struct pith_sparse_s8_form *form = private;
    const double pixels = (double) (conv->y.n * conv->y.h * conv->y.w), lanes = form->lanes,
                 out = (double) conv->out_channels, quads = (double) count_quads(conv),
                 product = form->halves == 1 ? 1 : 4;
    double dense, sparse;

    if (!fits(conv) || choose_width(conv, form) == 0)
        return false;
    dense = pixels * (ceil(2 * out / lanes) / 2 * quads * product * 1.1 + out * 3.2 / lanes);
    sparse = ceil(pixels / lanes) * lanes *
             ((double) count_blocks(conv) / lanes * product * 1.4 + quads * 8 / lanes +
              ceil(out / 16) * 16 * 8 / lanes);
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

void pith_sparse_s8_run(const struct pith_conv_s8 *conv, const struct pith_conv_s8_data *data,
                        const struct pith_conv_s8_span *span)
{
    const struct pith_sparse_s8 *s = conv->packed;
    const int lanes = s->form->lanes;
    int64_t left = (span->row_end - span->row) * conv->y.w;
    struct pith_pixels_s8_cursor at = {span->row, 0};
    struct pith_sparse_s8_pixels pixels;

    while (left > 0 && span->channel < span->channel_end) {
        const int64_t wanted = (left + lanes - 1) / lanes;
        const int vectors = wanted < s->width ? (int) wanted : s->width, padded = lanes * vectors;

        next_pixels(conv, &at, left < padded ? (int) left : padded, padded, &pixels);
        s->form->chunk[vectors - 1](s, data, &pixels, span->channel, span->channel_end);
        left -= pixels.count;
    }
}
