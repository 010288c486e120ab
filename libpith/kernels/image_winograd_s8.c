/* Integer convolution by Winograd's F(2x2, 3x3) and F(4x4, 3x3): packing, and the walk over patches.
 * Patches are transformed a chunk at a time, multiplied with transformed weights as one matrix
 * product for each element of a patch, and transformed back. See image_winograd_s8.h. */
#include "libpith/kernels/image_winograd_s8.h"

#include <errno.h>
#include <string.h>

#define MOST_IN       6 /* pixels of a patch's edge */
#define MOST_BYTES    (INT64_C(32) << 20) /* of transformed weights */
#define CHUNK_BYTES   (INT64_C(64) << 10) /* of transformed values */
#define MOST_PARTS    4                   /* each needs scratch of its own */
#define CACHE_BYTES   (INT64_C(1) << 20)  /* from where on reading weights takes time of its own */
#define LEAST_PATCHES 4

/* Sums are taken modulo 2^32, so only what they come to must fit: with F(2x2) four times as much as
 * those of the direct form; with F(4x4) 64 times, as the rest of 576 is divided out before. */
static int64_t most_sum(const struct pith_winograd_s8_form *form)
{
    return (INT64_C(1) << (form->out_edge == 2 ? 29 : 25)) - 1;
}

/* The farthest from 0 that a sum can come to with these weights. */
static int64_t farthest_sum(const int8_t *w, int64_t count)
{
    int64_t above = 0, below = 0;

    for (int64_t i = 0; i < count; i++) {
        above += w[i] > 0 ? w[i] : 0;
        below -= w[i] < 0 ? w[i] : 0;
    }
    return pith_image_integer_dtype() == PITH_INT8 ? 128 * (above + below)
           : above > below                         ? 255 * above
                                                   : 255 * below;
}

struct winograd {
    struct pith_dense_s8 dense; /* what the store of a tile reads */
    const struct pith_winograd_s8_form *form;
    int64_t channels;      /* of a transformed patch: in_channels, rounded up to whole vectors */
    int64_t pairs;         /* of channels that have weights */
    int64_t vectors;       /* of output channels */
    int64_t chunk;         /* patches at a time */
    const int16_t *weights; /* [block][element][tile of vectors][pair][vector][two of each lane] */
    int64_t block_weights; /* of a whole block */
};

static int64_t round_up(int64_t count, int64_t each)
{
    return (count + each - 1) / each * each;
}

static int64_t least_of(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* From an element of all patches to the next one, in bytes. Powers of two would bring all elements
 * of a patch to the same few places of a first-level cache. */
static int64_t plane_bytes(int64_t patches, int64_t patch_bytes)
{
    return round_up(patches * patch_bytes, 64) + 64;
}

static int in_edge(const struct pith_winograd_s8_form *form)
{
    return form->out_edge + 2;
}

static int elements_of(const struct pith_winograd_s8_form *form)
{
    return in_edge(form) * in_edge(form);
}

static int64_t patches_along(const struct pith_winograd_s8_form *form, int64_t pixels)
{
    return (pixels + form->out_edge - 1) / form->out_edge;
}

/* In so many rows of the output. */
static int64_t patches_of(const struct pith_conv_s8 *conv, const struct pith_winograd_s8_form *form,
                          int64_t rows)
{
    return patches_along(form, rows) * patches_along(form, conv->y.w);
}

/* ---- packing ---- */

static bool fits(const struct pith_conv_s8 *conv, const struct pith_winograd_s8_form *form)
{
    const int64_t depth = 9 * conv->in_channels;

    if (conv->groups != 1 || conv->y.h < 1 || conv->y.w < 1)
        return false;
    for (int d = 0; d < 2; d++)
        if (conv->kernel[d] != 3 || conv->stride[d] != 1 || conv->dilation[d] != 1)
            return false;
    if (conv->in_channels * conv->out_channels > MOST_BYTES / (2 * elements_of(form)))
        return false;
    for (int64_t m = 0; m < conv->out_channels; m++)
        if (farthest_sum(conv->weights + m * depth, depth) > most_sum(form))
            return false;
    return true;
}

/* Weights of TOGETHER input channels are transformed at once. */
#define TOGETHER 16
typedef int16_t several __attribute__((vector_size(2 * TOGETHER)));
typedef int8_t several_bytes __attribute__((vector_size(TOGETHER)));

/* 2 G g of F(2x2): four values from three. Of F(4x4): six, which lack factors of 2, 4, 4, 1, 1 and 8
 * (they are made up for behind the products) to be 24 G g. */
static inline void transform_three(const several *g, several *out, int step, int out_edge)
{
    const several ends = g[0] + g[2 * step], far = g[0] + 4 * g[2 * step];

    if (out_edge == 2) {
        out[0] = 2 * g[0];
        out[step] = ends + g[step];
        out[2 * step] = ends - g[step];
        out[3 * step] = 2 * g[2 * step];
        return;
    }
    out[0] = 3 * g[0];
    out[step] = -ends - g[step];
    out[2 * step] = g[step] - ends;
    out[3 * step] = far + 2 * g[step];
    out[4 * step] = far - 2 * g[step];
    out[5 * step] = 3 * g[2 * step];
}

/* w: the first of nine weights, `step` apart, of `count` channels; the rest is 0. */
static void transform_weights(const int8_t *w, int64_t step, int64_t count, int out_edge,
                              several out[MOST_IN * MOST_IN])
{
    const int in = out_edge + 2;
    several g[9], half[MOST_IN * 3];

    for (int i = 0; i < 9; i++) {
        several_bytes bytes = {0};

        memcpy(&bytes, w + i * step, (size_t) count);
        g[i] = __builtin_convertvector(bytes, several);
    }
    for (int j = 0; j < 3; j++)
        transform_three(g + j, half + j, 3, out_edge);
    for (int i = 0; i < in; i++)
        transform_three(half + i * 3, out + i * in, 1, out_edge);
}

/* Pairs of one element of so many channels, each pair `step` further. planes: from the first of a
 * pair to the second. */
static inline void put_pairs(const several *u, int64_t count, int16_t *to, int64_t step,
                             int64_t planes)
{
    for (int64_t c = 0; c < count; c += 2, to += step) {
        to[0] = (*u)[c];
        to[planes] = (*u)[c + 1]; /* 0 behind the last channel */
    }
}

/* The same of TOGETHER channels, each pair as one. */
static inline void put_all_pairs(const several *u, int16_t *to, int64_t step)
{
    uint32_t pair[TOGETHER / 2];

    memcpy(pair, u, sizeof pair);
    for (int i = 0; i < TOGETHER / 2; i++, to += step)
        memcpy(to, &pair[i], sizeof pair[i]);
}

/* The weights of output channel m, for input channels c and up to TOGETHER - 1 behind it. all: those of all channels. */
static void pack_channel(const struct winograd *p, int64_t m, int64_t c, int16_t *all)
{
    const struct pith_winograd_s8_form *form = p->form;
    const int64_t c_count = p->dense.conv->in_channels;
    const int64_t vector = m / form->lanes, lane = m % form->lanes;
    const int64_t in_block = vector % PITH_WINOGRAD_S8_VECTORS, first = vector - in_block,
                  block = least_of(PITH_WINOGRAD_S8_VECTORS, p->vectors - first);
    const int64_t in_tile = in_block % form->tile,
                  tile = least_of(form->tile, block - in_block + in_tile);
    const int64_t each = 2 * form->lanes, plane = p->pairs * block * each;
    const int64_t count = least_of(TOGETHER, c_count - c);
    int16_t *to = all + first / PITH_WINOGRAD_S8_VECTORS * p->block_weights +
                  (in_block - in_tile) * p->pairs * each + in_tile * each +
                  (form->planes ? lane : 2 * lane) + c / 2 * tile * each;
    several u[MOST_IN * MOST_IN];

    transform_weights(p->dense.conv->weights + m * 9 * c_count + c, c_count, count, form->out_edge, u);
    for (int e = 0; e < elements_of(form); e++, to += plane)
        if (count == TOGETHER && !form->planes)
            put_all_pairs(&u[e], to, tile * each);
        else
            put_pairs(&u[e], count, to, tile * each, form->planes ? form->lanes : 1);
}

/* A vector of output channels at a time, whose cache lines are filled before the next ones are begun. */
static void pack_channels(const struct winograd *p, int16_t *all)
{
    const struct pith_conv_s8 *conv = p->dense.conv;

    for (int64_t first = 0; first < conv->out_channels; first += p->form->lanes)
        for (int64_t c = 0; c < conv->in_channels; c += TOGETHER)
            for (int64_t m = first; m < conv->out_channels && m < first + p->form->lanes; m++)
                pack_channel(p, m, c, all);
}

static void plan_scratch(const struct pith_step *step, struct pith_conv_s8 *conv, struct winograd *p)
{
    const int64_t lanes = p->form->lanes, elements = elements_of(p->form),
                  wide = least_of(p->vectors, PITH_WINOGRAD_S8_VECTORS) * lanes,
                  each = elements * (2 * p->channels + 4 * wide),
                  weight_bytes = 2 * elements * p->channels * p->vectors * lanes;
    const int64_t patches = patches_of(conv, p->form, conv->y.h),
                  budget = weight_bytes / 2 > CHUNK_BYTES ? weight_bytes / 2 : CHUNK_BYTES;

    p->chunk = budget / each / PITH_WINOGRAD_S8_PATCHES * PITH_WINOGRAD_S8_PATCHES;
    p->chunk = p->chunk < PITH_WINOGRAD_S8_PATCHES ? PITH_WINOGRAD_S8_PATCHES : p->chunk;
    p->chunk = least_of(p->chunk, patches);
    conv->part_bytes =
        elements * (plane_bytes(p->chunk, 2 * p->channels) + plane_bytes(p->chunk, 4 * wide));
    conv->parts = pith_parts_with_scratch(step, conv->y.n * conv->y.h, MOST_PARTS);
}

static pith_conv_s8_run winograd_run;

int pith_winograd_s8_pack(struct pith_step *step, struct pith_conv_s8 *conv, const void *private)
{
    const struct pith_winograd_s8_form *form = private;
    struct winograd *p;
    int16_t *weights;

    if (!fits(conv, form))
        return 1;
    p = pith_step_alloc(step, sizeof *p);
    if (!p)
        return -ENOMEM;
    p->form = form;
    p->dense = (struct pith_dense_s8){.conv = conv,
                                      .y_step = conv->out.pixel,
                                      .added_step = conv->added.pixel,
                                      .store = pith_dense_s8_store_of(&conv->to)};
    p->channels = round_up(conv->in_channels, 2 * form->lanes);
    p->pairs = (conv->in_channels + 1) / 2;
    p->vectors = (conv->out_channels + form->lanes - 1) / form->lanes;
    p->block_weights = elements_of(form) * p->pairs * PITH_WINOGRAD_S8_VECTORS * 2 * form->lanes;
    weights = pith_step_alloc(step, elements_of(form) * p->pairs * p->vectors * 2 * form->lanes *
                                           (int64_t) sizeof *weights);
    if (!weights)
        return -ENOMEM;
    pack_channels(p, weights);
    p->weights = pith_step_share(step, weights);
    plan_scratch(step, conv, p);
    conv->packed = p;
    conv->form = winograd_run;
    return 0;
}

/* Half cycles, counted as one a vector of products of 256 bits: what each way takes. The constants
 * were set by hand from layers timed on Zen 4. */
static int64_t estimate(const struct pith_conv_s8 *conv, const struct pith_winograd_s8_form *form)
{
    const int64_t lanes = form->lanes, elements = elements_of(form),
                  pairs = (conv->in_channels + 1) / 2,
                  vectors = (conv->out_channels + lanes - 1) / lanes,
                  in_vectors = (conv->in_channels + 2 * lanes - 1) / (2 * lanes);
    const int64_t patches = conv->y.n * patches_of(conv, form, conv->y.h),
                  weight_bytes = 4 * elements * pairs * vectors * lanes;
    const int64_t in = form->out_edge == 2 ? 50 : 160, out = form->out_edge == 2 ? 60 : 200;
    int64_t cost = patches * ((elements * (pairs + 4) + out) * vectors + in * in_vectors);

    if (lanes > 8 && pith_isa_halves_512())
        cost *= 2;
    if (weight_bytes > CACHE_BYTES)
        cost += weight_bytes / 5;
    return cost;
}

bool pith_winograd_s8_pays(const struct pith_conv_s8 *conv, const void *private)
{
    const struct pith_winograd_s8_form *form = private;
    const int64_t lanes = form->lanes, pixels = conv->y.n * conv->y.h * conv->y.w,
                  vectors = (conv->out_channels + lanes - 1) / lanes;
    const int64_t cost = estimate(conv, form);
    int64_t direct = pixels * 3 * round_up(3 * conv->in_channels, 4) / 2 * vectors *
                     form->direct / 10;

    if (lanes > 8 && pith_isa_halves_512())
        direct *= 2;
    return conv->y.n * patches_of(conv, form, conv->y.h) >= LEAST_PATCHES &&
           cost < direct - direct / 10 && (!form->rival || cost < estimate(conv, form->rival));
}

/* ---- the walk ---- */

/* Rows of one picture, from row `top` on. */
struct band {
    int64_t n, top, rows;
};

struct place { /* of a patch's first output pixel */
    int64_t row, col;
};

static struct place place_of(const struct winograd *p, const struct band *band, int64_t patch)
{
    const int64_t across = patches_along(p->form, p->dense.conv->y.w), edge = p->form->out_edge;

    return (struct place){band->top + patch / across * edge, patch % across * edge};
}

static void move_on(const struct winograd *p, struct place *at)
{
    at->col += p->form->out_edge;
    if (at->col >= p->dense.conv->y.w)
        *at = (struct place){at->row + p->form->out_edge, 0};
}

/* At the right and bottom edge a patch may reach past the halo; what is there changes no pixel that
 * is wanted, so the last one inside is read again. */
static void transform_in(const struct winograd *p, const struct pith_conv_s8_data *data,
                         const struct band *band, int64_t first, int64_t count, int16_t *to)
{
    const struct pith_conv_s8 *conv = p->dense.conv;
    const uint8_t *picture = data->x + band->n * conv->in.picture;
    struct place at = place_of(p, band, first);

    for (int64_t i = 0; i < count; i++, move_on(p, &at)) {
        const int64_t last_row = band->top + band->rows + 1 - at.row,
                      last_col = conv->y.w + 1 - at.col;
        int64_t row[MOST_IN], col[MOST_IN];

        for (int k = 0; k < in_edge(p->form); k++) {
            row[k] = least_of(k, last_row) * conv->in.row;
            col[k] = least_of(k, last_col) * conv->in.pixel;
        }
        p->form->in(picture + (at.row - conv->pad[0]) * conv->in.row +
                        (at.col - conv->pad[1]) * conv->in.pixel,
                    row, col, to + i * p->channels, plane_bytes(count, 2 * p->channels) / 2,
                    p->channels);
    }
}

/* All elements of `count` patches, in the channels of a block of `block` vectors. */
static void multiply(const struct winograd *p, const int16_t *v, int64_t count,
                     const int16_t *weights, int block, int32_t *m)
{
    const struct pith_winograd_s8_form *form = p->form;
    const int64_t wide = (int64_t) block * form->lanes,
                  in_plane = plane_bytes(count, 2 * p->channels) / 2,
                  out_plane = plane_bytes(count, 4 * wide) / 4;

    for (int e = 0; e < elements_of(form); e++)
        for (int n = 0; n < block; n += form->tile) {
            const int tile = block - n < form->tile ? block - n : form->tile;

            form->product[tile - 1](v + e * in_plane, p->channels, count, weights, p->pairs,
                                    m + e * out_plane + n * form->lanes, wide);
            weights += p->pairs * tile * 2 * form->lanes;
        }
}

static void transform_out(const struct winograd *p, const struct pith_conv_s8_data *data,
                          const struct band *band, int64_t first, int64_t count, int64_t vector,
                          int block, const int32_t *m)
{
    const struct pith_conv_s8 *conv = p->dense.conv;
    const int64_t lanes = p->form->lanes, channel = vector * lanes, wide = block * lanes;
    const int edge = p->form->out_edge,
              last = (int) least_of(lanes, conv->out_channels - (vector + block - 1) * lanes);
    pith_winograd_s8_out *out = p->form->out[p->dense.store][block - 1];

    struct place at = place_of(p, band, first);

    for (int64_t i = 0; i < count; i++, move_on(p, &at)) {
        const int rows = (int) least_of(edge, band->top + band->rows - at.row),
                  cols = (int) least_of(edge, conv->y.w - at.col);
        const struct pith_dense_s8_pixels pixels = {
            .y = band->n * conv->out.picture + at.row * conv->out.row + at.col * conv->out.pixel,
            .added = band->n * conv->added.picture + at.row * conv->added.row +
                     at.col * conv->added.pixel,
            .split = edge,
            .y_jump = conv->out.row - edge * conv->out.pixel,
            .added_jump = conv->added.row - edge * conv->added.pixel};

        out(&p->dense, data, &pixels, m + i * wide, plane_bytes(count, 4 * wide) / 4, channel, last,
            rows, cols, block);
    }
}

static void run_band(const struct winograd *p, const struct pith_conv_s8_data *data,
                     const struct band *band)
{
    const struct pith_conv_s8 *conv = p->dense.conv;
    const int64_t patches = patches_of(conv, p->form, band->rows);
    int16_t *v = data->scratch;
    int32_t *m =
        (int32_t *) (void *) (v + elements_of(p->form) * (plane_bytes(p->chunk, 2 * p->channels) / 2));

    for (int64_t first = 0; first < patches; first += p->chunk) {
        const int64_t count = least_of(p->chunk, patches - first);

        transform_in(p, data, band, first, count, v);
        for (int64_t vector = 0; vector < p->vectors; vector += PITH_WINOGRAD_S8_VECTORS) {
            const int block = (int) least_of(PITH_WINOGRAD_S8_VECTORS, p->vectors - vector);

            multiply(p, v, count, p->weights + vector / PITH_WINOGRAD_S8_VECTORS * p->block_weights,
                     block, m);
            transform_out(p, data, band, first, count, vector, block, m);
        }
    }
}

static void winograd_run(const struct pith_conv_s8 *conv, const struct pith_conv_s8_data *data,
                         const struct pith_conv_s8_span *span)
{
    for (int64_t row = span->row; row < span->row_end;) {
        const int64_t n = row / conv->y.h, top = row - n * conv->y.h;
        const struct band band = {n, top, least_of(conv->y.h - top, span->row_end - row)};

        run_band(conv->packed, data, &band);
        row += band.rows;
    }
}
