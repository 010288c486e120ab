/* 3x3 convolution of channels-last floats by Winograd's F(4x4, 3x3): 36 products for 16 outputs
 * where a direct one takes 144. Patches of 6x6 input pixels are transformed, multiplied with
 * transformed weights as 36 matrix products (by the tiles of direct convolution), and transformed
 * back. Sums differ from direct ones by more roundings: within some ten times their error bound.
 * Lavin and Gray 2016, arXiv:1509.09308. */
#include <errno.h>
#include <string.h>

#include "libpith/kernels/image_conv_f32.h"

#define ELEMENTS 36 /* of a transformed patch */
#define OUT      4  /* pixels of a patch's edge that come out */
#define IN       6
#define MOST_BYTES                                                                                 \
    (INT64_C(16)                                                                                   \
     << 20) /* transformed weights are four times as large: past this, reading them costs more */
#define CHUNK_BYTES (INT64_C(192) << 10) /* of transformed values: in the second-level cache */
#define MOST_PARTS  4                    /* each needs scratch of its own */

/* Cycles, counted as if every instruction took one: 36 products a patch; the transforms take about
 * 150 instructions in and out a vector of channels, measured on Zen 4. */
static bool is_faster(const struct image_conv *conv, int64_t patches)
{
    const int64_t lanes = conv->form->lanes, c = conv->in_channels,
                  m = (conv->out_channels + lanes - 1) / lanes;
    const int64_t direct = conv->window.out_plane * 9 * c * m;
    const int64_t fast = patches * (ELEMENTS * c * m + 150 * ((c + lanes - 1) / lanes + m));

    return fast < direct - direct / 8;
}

bool pith_image_winograd_fits(const struct image_conv *conv)
{
    const struct pith_sliding *w = &conv->window;
    const int64_t patches = ((w->out[1] + OUT - 1) / OUT) * ((w->out[2] + OUT - 1) / OUT);

    return conv->groups == 1 && w->kernel[1] == 3 && w->kernel[2] == 3 && w->stride[1] == 1 &&
           w->stride[2] == 1 && w->dilation[1] == 1 && w->dilation[2] == 1 && w->out_plane > 0 &&
           w->out_plane < 1 << 24 &&
           conv->in_channels * conv->out_channels <=
               MOST_BYTES / (ELEMENTS * (int64_t) sizeof(float)) &&
           is_faster(conv, patches);
}

#define KERNELS 4  /* that are transformed side by side */
#define GROUP   16 /* output channels: a cache line of each transformed element */

#define INLINE static inline __attribute__((always_inline))

typedef double kernels __attribute__((vector_size(8 * KERNELS)));
typedef float narrow_kernels __attribute__((vector_size(4 * KERNELS)));

/* G g for three values that lie `step` apart, the six `step` apart too. The rows of G are
 * (1/4, 0, 0), (-1, -1, -1)/6, (-1, 1, -1)/6, (1, 2, 4)/24, (1, -2, 4)/24, (0, 0, 1). */
INLINE void transform_three(const kernels *g, kernels *out, int step)
{
    const kernels even = g[0] + g[2 * step], quarters = g[0] * (1.0 / 24) + g[2 * step] * (1.0 / 6),
                  twelfths = g[step] * (1.0 / 12);

    out[0] = g[0] * (1.0 / 4);
    out[step] = (even + g[step]) * (-1.0 / 6);
    out[2 * step] = (even - g[step]) * (-1.0 / 6);
    out[3 * step] = quarters + twelfths;
    out[4 * step] = quarters - twelfths;
    out[5 * step] = g[2 * step];
}

/* G g G^T of one 3x3 kernel in each lane, in double: it is done once. */
INLINE void transform_weights(const kernels g[9], kernels out[ELEMENTS])
{
    kernels half[IN * 3];

    for (int j = 0; j < 3; j++)
        transform_three(g + j, half + j, 3);
    for (int i = 0; i < IN; i++)
        transform_three(half + i * 3, out + i * IN, 1);
}

/* The transformed kernels of one input channel and up to GROUP output channels: a line of each element. */
INLINE void transform_group(const float *w, int64_t step, int64_t count, float lines[ELEMENTS][GROUP])
{
    for (int64_t m = 0; m < count; m += KERNELS) {
        const int lanes = count - m < KERNELS ? (int) (count - m) : KERNELS;
        kernels g[9] = {{0}}, u[ELEMENTS];

        for (int lane = 0; lane < lanes; lane++)
            for (int e = 0; e < 9; e++)
                g[e][lane] = (double) w[(m + lane) * step + e];
        transform_weights(g, u);
        for (int e = 0; e < ELEMENTS; e++) {
            const narrow_kernels rounded = __builtin_convertvector(u[e], narrow_kernels);

            memcpy(&lines[e][m], &rounded, sizeof rounded);
        }
    }
}

/* Into [element][block][in][channels of the block], which is how tiles read them; blocks are padded with zeros to whole
 * vectors. Elements lie so far apart that their lines meet in one set of a cache: each is written once, whole. */
INLINE void pack(const struct image_conv *conv, float *to)
{
    const struct image_winograd *p = &conv->winograd;
    const int64_t c_count = conv->in_channels, m_count = conv->out_channels,
                  wide = p->vectors * conv->form->lanes;
    float lines[ELEMENTS][GROUP];

    for (int64_t first = 0; first < m_count; first += wide) {
        const int64_t width = p->padded - first < wide ? p->padded - first : wide;

        for (int64_t c = 0; c < c_count; c++)
            for (int64_t m = first; m < m_count && m < first + wide; m += GROUP) {
                const int64_t left = first + width - m, stored = left < GROUP ? left : GROUP,
                              valid = m_count - m < stored ? m_count - m : stored;
                float *at = to + first * c_count + c * width + m - first;

                if (valid < stored)
                    memset(lines, 0, sizeof lines);
                transform_group(conv->weights + (m * c_count + c) * 9, c_count * 9, valid, lines);
                for (int e = 0; e < ELEMENTS; e++, at += c_count * p->padded)
                    if (stored == GROUP) /* the usual case, told apart for a size that is known */
                        memcpy(at, lines[e], sizeof lines[e]);
                    else
                        memcpy(at, lines[e], (size_t) stored * sizeof *at);
            }
    }
}

static void pack_any(const struct image_conv *conv, float *to)
{
    pack(conv, to);
}

#if defined __x86_64__
/* Without FMA, so that the same bits come out. */
__attribute__((target("avx2"))) static void pack_avx2(const struct image_conv *conv, float *to)
{
    pack(conv, to);
}
#endif

static void pack_weights(const struct image_conv *conv, float *to)
{
#if defined __x86_64__
    if (pith_isa_includes(pith_isa(), PITH_ISA_AVX2)) {
        pack_avx2(conv, to);
        return;
    }
#endif
    pack_any(conv, to);
}

int pith_image_winograd_pack(struct pith_step *step, struct image_conv *conv)
{
    const int64_t lanes = conv->form->lanes;
    struct image_winograd *p = &conv->winograd;
    const int64_t weight_bytes =
        ELEMENTS * conv->in_channels * conv->out_channels * (int64_t) sizeof(float);
    const int64_t budget = weight_bytes / 3 > CHUNK_BYTES ? weight_bytes / 3 : CHUNK_BYTES;
    int64_t chunk, patches;
    float *weights, *bias;

    p->down = (conv->window.out[1] + OUT - 1) / OUT;
    p->across = (conv->window.out[2] + OUT - 1) / OUT;
    p->padded = (conv->out_channels + lanes - 1) / lanes * lanes;
    patches = conv->batch * p->down * p->across;
    chunk = budget / (ELEMENTS * (conv->in_channels + p->padded) * (int64_t) sizeof(float));
    chunk = chunk < IMAGE_TILE_PIXELS ? IMAGE_TILE_PIXELS : chunk;
    p->chunks = (patches + chunk - 1) / chunk;
    p->chunk = p->chunks ? (patches + p->chunks - 1) / p->chunks : 0;
    p->vectors = pith_image_best_vectors(conv->form, p->chunk, p->padded / lanes);
    weights =
        pith_step_alloc(step, ELEMENTS * conv->in_channels * p->padded * (int64_t) sizeof(float));
    bias = pith_step_alloc(step, 2 * p->padded * (int64_t) sizeof(float));
    if (!weights || !bias)
        return -ENOMEM;
    pack_weights(conv, weights);
    if (conv->bias)
        memcpy(bias, conv->bias, (size_t) conv->out_channels * sizeof *bias);
    p->weights = pith_step_share(step, weights);
    p->bias = pith_step_share(step, bias);
    p->zeros = p->bias + p->padded;
    p->part_floats = ELEMENTS * p->chunk * (conv->in_channels + p->padded) +
                     16; /* vectors may read past the end */
    p->part_floats = (p->part_floats + 15) / 16 * 16;
    step->parts = pith_parts_with_scratch(step, p->chunks, MOST_PARTS);
    step->scratch_bytes = (size_t) (step->parts * p->part_floats) * sizeof(float);
    return 0;
}

/* ---- run ---- */

struct place {       /* of a patch */
    int64_t n, y, x; /* picture, and its first output pixel */
};

static struct place place_of(const struct image_winograd *p, int64_t patch)
{
    return (struct place){patch / (p->down * p->across), patch / p->across % p->down * OUT,
                          patch % p->across * OUT};
}

static int64_t least_of(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* One patch in all channels. At the right and bottom edge it may reach past the halo: what lies
 * there is taken as 0. */
static void patch_in(const struct image_conv *conv, const float *x, const struct place *at,
                     float *to, int64_t plane)
{
    const struct pith_sliding *w = &conv->window;
    const int64_t rows = least_of(IN, w->out[1] + 2 - at->y),
                  cols = least_of(IN, w->out[2] + 2 - at->x);
    const int lanes = conv->form->lanes;

    for (int64_t c = 0; c < conv->in_channels; c += lanes) {
        const int count = (int) least_of(lanes, conv->in_channels - c);
        float edge[ELEMENTS * 16] = {0};

        if (rows == IN && cols == IN) {
            conv->form->winograd_in(x + c, conv->in.row, conv->in.pixel, to + c, plane, count);
            continue;
        }
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < cols; j++)
                memcpy(edge + (i * IN + j) * lanes, x + c + i * conv->in.row + j * conv->in.pixel,
                       (size_t) count * sizeof *edge);
        conv->form->winograd_in(edge, IN * lanes, lanes, to + c, plane, count);
    }
}

static void transform_in(const struct pith_step *step, const struct image_conv *conv, int64_t first,
                         int64_t count, float *to)
{
    const struct pith_sliding *w = &conv->window;

    for (int64_t i = 0; i < count; i++) {
        const struct place at = place_of(&conv->winograd, first + i);
        const float *x = (const float *) step->input[0].data + at.n * conv->in.picture +
                         (at.y - w->pad[1]) * conv->in.row + (at.x - w->pad[2]) * conv->in.pixel;

        patch_in(conv, x, &at, to + i * conv->in_channels, count * conv->in_channels);
    }
}

/* [element][patch][in] times [element][in][out] is [element][patch][out]. */
static void multiply(const struct image_conv *conv, const float *in, int64_t count, float *out)
{
    const struct image_winograd *p = &conv->winograd;
    const int64_t zero = 0, lanes = conv->form->lanes, wide = p->vectors * lanes;
    struct image_tile t = {.x_step = conv->in_channels,
                           .offset = &zero,
                           .runs = 1,
                           .length = conv->in_channels,
                           .bias = p->zeros,
                           .y_step = p->padded,
                           .last = (int) lanes,
                           .activation = PITH_ACTIVATION_NONE};

    for (int64_t e = 0; e < ELEMENTS; e++)
        for (int64_t m = 0; m < p->padded; m += wide) {
            const int vectors = (int) (least_of(wide, p->padded - m) / lanes);

            t.w = p->weights + (e * p->padded + m) * conv->in_channels;
            t.x = in + e * count * conv->in_channels;
            t.y = out + e * count * p->padded + m;
            pith_image_run_tiles(conv->form->tile[vectors - 1],
                                 conv->form->most_pixels[vectors - 1], &t, count);
        }
}

static void transform_out(const struct pith_step *step, const struct image_conv *conv,
                          int64_t first, int64_t count, const float *from)
{
    const struct image_winograd *p = &conv->winograd;
    const struct pith_sliding *w = &conv->window;
    const int lanes = conv->form->lanes;
    struct image_tile t = {.y_step = conv->out.pixel,
                           .residual_step = conv->added.pixel,
                           .activation = step->activation,
                           .after = step->residual.after};

    for (int64_t i = 0; i < count; i++) {
        const struct place at = place_of(p, first + i);
        const int rows = (int) least_of(OUT, w->out[1] - at.y),
                  cols = (int) least_of(OUT, w->out[2] - at.x);

        for (int64_t m = 0; m < p->padded; m += lanes) {
            t.y = (float *) step->output[0].data + at.n * conv->out.picture + at.y * conv->out.row +
                  at.x * conv->out.pixel + m;
            if (step->residual.set)
                t.residual = (const float *) step->input[step->residual.input].data +
                             at.n * conv->added.picture + at.y * conv->added.row +
                             at.x * conv->added.pixel + m;
            t.bias = p->bias + m;
            t.last = (int) least_of(lanes, conv->out_channels - m);
            conv->form->winograd_out(&t, from + i * p->padded + m, count * p->padded, rows, cols,
                                     conv->out.row, conv->added.row);
        }
    }
}

void pith_image_winograd_run(const struct pith_step *step, const struct image_conv *conv,
                             uint32_t part, uint32_t parts)
{
    const struct image_winograd *p = &conv->winograd;
    const int64_t patches = conv->batch * p->down * p->across;
    float *in = (float *) step->scratch + part * p->part_floats;
    float *out = in + ELEMENTS * p->chunk * conv->in_channels;

    for (int64_t i = pith_part_begin(p->chunks, part, parts);
         i < pith_part_begin(p->chunks, part + 1, parts); i++) {
        const int64_t first = i * p->chunk, count = least_of(p->chunk, patches - first);

        if (count <= 0)
            break;
        transform_in(step, conv, first, count, in);
        multiply(conv, in, count, out);
        transform_out(step, conv, first, count, out);
    }
}
