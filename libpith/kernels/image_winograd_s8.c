/* Integer convolution by Winograd's F(2x2, 3x3): packing, and the walk over patches. Patches are
 * transformed a chunk at a time, multiplied with transformed weights as 16 matrix products, and
 * transformed back. See image_winograd_s8.h. */
#include "libpith/kernels/image_winograd_s8.h"

#include <errno.h>
#include <stdlib.h>

#define ELEMENTS      PITH_WINOGRAD_S8_ELEMENTS
#define IN            4 /* pixels of a patch's edge; half as many come out */
#define OUT           2
#define MOST_BYTES    (INT64_C(32) << 20) /* of transformed weights */
#define CHUNK_BYTES   (INT64_C(64) << 10) /* of transformed values */
#define MOST_PARTS    4                   /* each needs scratch of its own */
#define CACHE_BYTES   (INT64_C(1) << 20)  /* from where on reading weights takes time of its own */
#define LEAST_PATCHES 4

/* Sums are taken modulo 2^32, so only what they come to must fit: four times as much as those of
 * the direct form. */
#define MOST_MAGNITUDE ((INT64_C(1) << 29) / 255)

struct winograd {
    struct pith_dense_s8 dense; /* what the store of a tile reads */
    const struct pith_winograd_s8_form *form;
    int64_t channels;      /* of a transformed patch: in_channels, rounded up to whole vectors */
    int64_t pairs;         /* of channels that have weights */
    int64_t vectors;       /* of output channels */
    int64_t chunk;         /* patches at a time */
    int16_t *weights;      /* [block][element][tile of vectors][pair][vector][two of each lane] */
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

/* In so many rows of the output. */
static int64_t patches_of(const struct pith_conv_s8 *conv, int64_t rows)
{
    return (rows + 1) / OUT * ((conv->y.w + 1) / OUT);
}

/* ---- packing ---- */

static bool fits(const struct pith_conv_s8 *conv)
{
    const int64_t depth = 9 * conv->in_channels;

    if (conv->groups != 1 || conv->y.h < 1 || conv->y.w < 1)
        return false;
    for (int d = 0; d < 2; d++)
        if (conv->kernel[d] != 3 || conv->stride[d] != 1 || conv->dilation[d] != 1)
            return false;
    if (conv->in_channels * conv->out_channels > MOST_BYTES / (2 * ELEMENTS))
        return false;
    for (int64_t m = 0; m < conv->out_channels; m++) {
        int64_t magnitude = 0;

        for (int64_t i = 0; i < depth; i++)
            magnitude += abs(conv->weights[m * depth + i]);
        if (magnitude > MOST_MAGNITUDE)
            return false;
    }
    return true;
}

/* 2 G g: four values from three. */
static inline void transform_three(const int16_t *g, int16_t *out, int step)
{
    const int16_t ends = (int16_t) (g[0] + g[2 * step]);

    out[0] = (int16_t) (2 * g[0]);
    out[step] = (int16_t) (ends + g[step]);
    out[2 * step] = (int16_t) (ends - g[step]);
    out[3 * step] = (int16_t) (2 * g[2 * step]);
}

/* w: nine weights, `step` apart. */
static void transform_weights(const int8_t *w, int64_t step, int16_t out[ELEMENTS])
{
    int16_t g[9], half[IN * 3];

    for (int i = 0; i < 9; i++)
        g[i] = w[i * step];
    for (int j = 0; j < 3; j++)
        transform_three(g + j, half + j, 3);
    for (int i = 0; i < IN; i++)
        transform_three(half + i * 3, out + i * IN, 1);
}

/* The weights of output channel m, for all input channels. */
static void pack_channel(const struct winograd *p, int64_t m)
{
    const struct pith_winograd_s8_form *form = p->form;
    const int64_t c_count = p->dense.conv->in_channels;
    const int64_t vector = m / form->lanes, lane = m % form->lanes;
    const int64_t in_block = vector % PITH_WINOGRAD_S8_VECTORS, first = vector - in_block,
                  block = least_of(PITH_WINOGRAD_S8_VECTORS, p->vectors - first);
    const int64_t in_tile = in_block % form->tile,
                  tile = least_of(form->tile, block - in_block + in_tile);
    const int64_t each = 2 * form->lanes, plane = p->pairs * block * each;
    int16_t *to = p->weights + first / PITH_WINOGRAD_S8_VECTORS * p->block_weights +
                  (in_block - in_tile) * p->pairs * each + in_tile * each;

    for (int64_t c = 0; c < c_count; c++) {
        int16_t u[ELEMENTS];
        int16_t *at = to + c / 2 * tile * each +
                      (form->planes ? c % 2 * form->lanes + lane : lane * 2 + c % 2);

        transform_weights(p->dense.conv->weights + m * 9 * c_count + c, c_count, u);
        for (int e = 0; e < ELEMENTS; e++)
            at[e * plane] = u[e];
    }
}

static void plan_scratch(struct pith_conv_s8 *conv, struct winograd *p)
{
    const int64_t lanes = p->form->lanes,
                  wide = least_of(p->vectors, PITH_WINOGRAD_S8_VECTORS) * lanes,
                  each = ELEMENTS * (2 * p->channels + 4 * wide),
                  parts = least_of(conv->y.n * conv->y.h, MOST_PARTS),
                  weight_bytes = 2 * ELEMENTS * p->channels * p->vectors * lanes;
    const int64_t patches = patches_of(conv, conv->y.h),
                  budget = weight_bytes / 2 > CHUNK_BYTES ? weight_bytes / 2 : CHUNK_BYTES;

    p->chunk = budget / each / PITH_WINOGRAD_S8_PATCHES * PITH_WINOGRAD_S8_PATCHES;
    p->chunk = p->chunk < PITH_WINOGRAD_S8_PATCHES ? PITH_WINOGRAD_S8_PATCHES : p->chunk;
    p->chunk = least_of(p->chunk, patches);
    conv->part_bytes =
        ELEMENTS * (plane_bytes(p->chunk, 2 * p->channels) + plane_bytes(p->chunk, 4 * wide));
    conv->parts = (uint32_t) parts;
}

static pith_conv_s8_run winograd_run;

int pith_winograd_s8_pack(struct pith_step *step, struct pith_conv_s8 *conv, const void *private)
{
    const struct pith_winograd_s8_form *form = private;
    struct winograd *p;

    if (!fits(conv))
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
    p->block_weights = ELEMENTS * p->pairs * PITH_WINOGRAD_S8_VECTORS * 2 * form->lanes;
    p->weights = pith_step_alloc(step, ELEMENTS * p->pairs * p->vectors * 2 * form->lanes *
                                           (int64_t) sizeof *p->weights);
    if (!p->weights)
        return -ENOMEM;
    for (int64_t m = 0; m < conv->out_channels; m++)
        pack_channel(p, m);
    plan_scratch(conv, p);
    conv->packed = p;
    conv->form = winograd_run;
    return 0;
}

/* Half cycles, counted as one a vector of products: what each way takes. The constants were set by hand
 * from layers timed with AVX2 on Zen 4. Ratios so estimated, beside those measured: 0.74 and 0.70 for 16
 * channels, 0.54 and 0.54 for 32, 0.44 and 0.48 for 64; 1.9 and 1.5 for 3, where it isn't taken. Other
 * instruction sets use the same ones. */
bool pith_winograd_s8_pays(const struct pith_conv_s8 *conv, const void *private)
{
    const struct pith_winograd_s8_form *form = private;
    const int64_t lanes = form->lanes, pairs = (conv->in_channels + 1) / 2,
                  vectors = (conv->out_channels + lanes - 1) / lanes,
                  in_vectors = (conv->in_channels + 2 * lanes - 1) / (2 * lanes);
    const int64_t patches = conv->y.n * patches_of(conv, conv->y.h),
                  pixels = conv->y.n * conv->y.h * conv->y.w;
    const int64_t weight_bytes = 4 * ELEMENTS * pairs * vectors * lanes;
    const int64_t direct = pixels * 3 * round_up(3 * conv->in_channels, 4) / 2 * vectors *
                           form->direct / 10;
    int64_t fast = patches * ((ELEMENTS * (pairs + 4) + 60) * vectors + 50 * in_vectors);

    if (weight_bytes > CACHE_BYTES)
        fast += weight_bytes / 5;
    return patches >= LEAST_PATCHES && fast < direct - direct / 10;
}

/* ---- the walk ---- */

/* Rows of one picture, from row `top` on. */
struct band {
    int64_t n, top, rows;
};

struct place { /* of a patch's first output pixel */
    int64_t row, col;
};

static struct place place_of(const struct pith_conv_s8 *conv, const struct band *band,
                             int64_t patch)
{
    const int64_t across = (conv->y.w + 1) / OUT;

    return (struct place){band->top + patch / across * OUT, patch % across * OUT};
}

static void move_on(const struct pith_conv_s8 *conv, struct place *at)
{
    at->col += OUT;
    if (at->col >= conv->y.w)
        *at = (struct place){at->row + OUT, 0};
}

/* At the right and bottom edge a patch may reach past the halo; what is there changes no pixel that
 * is wanted, so the last one inside is read again. */
static void transform_in(const struct winograd *p, const struct pith_conv_s8_data *data,
                         const struct band *band, int64_t first, int64_t count, int16_t *to)
{
    const struct pith_conv_s8 *conv = p->dense.conv;
    const uint8_t *picture = data->x + band->n * conv->in.picture;
    struct place at = place_of(conv, band, first);

    for (int64_t i = 0; i < count; i++, move_on(conv, &at)) {
        const int64_t last_row = band->top + band->rows + 1 - at.row,
                      last_col = conv->y.w + 1 - at.col;
        int64_t row[IN], col[IN];

        for (int k = 0; k < IN; k++) {
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

    for (int e = 0; e < ELEMENTS; e++)
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
    const int last = (int) least_of(lanes, conv->out_channels - (vector + block - 1) * lanes);
    pith_winograd_s8_out *out = p->form->out[p->dense.store][block - 1];

    struct place at = place_of(conv, band, first);

    for (int64_t i = 0; i < count; i++, move_on(conv, &at)) {
        const int rows = (int) least_of(OUT, band->top + band->rows - at.row),
                  cols = (int) least_of(OUT, conv->y.w - at.col);
        const struct pith_dense_s8_pixels pixels = {
            .y = band->n * conv->out.picture + at.row * conv->out.row + at.col * conv->out.pixel,
            .added = band->n * conv->added.picture + at.row * conv->added.row +
                     at.col * conv->added.pixel,
            .split = OUT,
            .y_jump = conv->out.row - OUT * conv->out.pixel,
            .added_jump = conv->added.row - OUT * conv->added.pixel};

        out(&p->dense, data, &pixels, m + i * wide, plane_bytes(count, 4 * wide) / 4, channel, last,
            rows, cols);
    }
}

static void run_band(const struct winograd *p, const struct pith_conv_s8_data *data,
                     const struct band *band)
{
    const struct pith_conv_s8 *conv = p->dense.conv;
    const int64_t patches = patches_of(conv, band->rows);
    int16_t *v = data->scratch;
    int32_t *m = (int32_t *) (void *) (v + ELEMENTS * (plane_bytes(p->chunk, 2 * p->channels) / 2));

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
