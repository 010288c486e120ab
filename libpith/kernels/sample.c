/* Sampling at places that data names: GridSample (2-D and 3-D) and RoiAlign, in float32. */
#include "libpith/kernels/families.h"

#include <errno.h>
#include <math.h>
#include <string.h>

/* ---- GridSample ---- */

enum sampling { SAMPLE_NEAREST, SAMPLE_LINEAR, SAMPLE_CUBIC };
enum padding { PAD_ZEROS, PAD_BORDER, PAD_REFLECTION };

#define SAMPLE_TAPS 4
#define FARTHEST_PLACE                                                                             \
    1e9 /* a place beyond is as good as there; keeps conversions to integers defined */

struct grid_sample {
    enum sampling sampling;
    enum padding padding;
    bool align;
    uint32_t spatial;
    int64_t batch, channels, in[3], points, plane; /* of a batch: places, input pixels */
};

struct taps { /* along one axis */
    int count;
    int64_t at[SAMPLE_TAPS]; /* -1: outside, and zero */
    float weight[SAMPLE_TAPS];
};

static int read_sampling(struct pith_step *step, struct grid_sample *g, struct pith_error *err)
{
    const char *mode = pith_node_string(step->graph, step->node, "mode", "linear");
    const char *padding = pith_node_string(step->graph, step->node, "padding_mode", "zeros");

    if (strcmp(mode, "nearest") == 0)
        g->sampling = SAMPLE_NEAREST;
    else if (strcmp(mode, "linear") == 0 || strcmp(mode, "bilinear") == 0)
        g->sampling = SAMPLE_LINEAR;
    else if (strcmp(mode, "cubic") == 0 || strcmp(mode, "bicubic") == 0)
        g->sampling = SAMPLE_CUBIC;
    else
        return pith_step_fail(step, err, -ENOTSUP, "mode \"%s\"", mode);
    if (strcmp(padding, "zeros") == 0)
        g->padding = PAD_ZEROS;
    else if (strcmp(padding, "border") == 0)
        g->padding = PAD_BORDER;
    else if (strcmp(padding, "reflection") == 0)
        g->padding = PAD_REFLECTION;
    else
        return pith_step_fail(step, err, -ENOTSUP, "padding_mode \"%s\"", padding);
    g->align = pith_node_int(step->graph, step->node, "align_corners", 0) != 0;
    return 0;
}

static int grid_sample_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape, *grid = &step->input[1].shape;
    struct grid_sample *g = pith_step_alloc(step, sizeof *g);

    if (!g)
        return -ENOMEM;
    if (x->rank < 3 || x->rank > 5 || grid->rank != x->rank || grid->dim[0] != x->dim[0] ||
        grid->dim[grid->rank - 1] != (int64_t) x->rank - 2)
        return pith_step_fail(step, err, x->rank > 5 ? -ENOTSUP : -EINVAL,
                              "the grid doesn't fit an input of rank %u", x->rank);
    g->spatial = x->rank - 2;
    g->batch = x->dim[0];
    g->channels = x->dim[1];
    g->in[0] = g->in[1] = g->in[2] = 1;
    for (uint32_t i = 0; i < g->spatial; i++)
        g->in[3 - g->spatial + i] = x->dim[2 + i];
    g->plane = g->in[0] * g->in[1] * g->in[2];
    g->points = pith_dims_product(grid, 1, grid->rank - 1);
    if (g->plane == 0)
        return pith_step_fail(step, err, -EINVAL, "the input has no pixels");
    step->params = g;
    return read_sampling(step, g, err);
}

static double reflect(double x, double least, double greatest)
{
    const double range = greatest - least;
    double beyond, rest;

    if (range <= 0.0)
        return least;
    if (x >= least && x <= greatest)
        return x;
    beyond = x < least ? least - x : x - greatest;
    rest = fmod(beyond, range);
    if ((fmod(floor(beyond / range), 2.0) == 0.0) == (x < least))
        return least + rest;
    return greatest - rest;
}

/* The pixel that stands at integer place x of an axis; -1: none. */
static int64_t pixel(const struct grid_sample *g, int64_t size, double x)
{
    if (g->padding == PAD_REFLECTION)
        x = reflect(x, g->align ? 0.0 : -0.5, g->align ? (double) size - 1.0 : (double) size - 0.5);
    if (g->padding != PAD_ZEROS)
        x = x < 0.0 ? 0.0 : x > (double) size - 1.0 ? (double) size - 1.0 : x;
    return x < 0.0 || x >= (double) size ? -1 : (int64_t) x;
}

static float cubic(float x)
{
    const float a = -0.75F;

    x = fabsf(x);
    if (x <= 1.0F)
        return ((a + 2.0F) * x - (a + 3.0F)) * x * x + 1.0F;
    return x < 2.0F ? ((a * x - 5.0F * a) * x + 8.0F * a) * x - 4.0F * a : 0.0F;
}

static void find_taps(const struct grid_sample *g, int64_t size, float place, struct taps *taps)
{
    double x = g->align ? ((double) place + 1.0) / 2.0 * ((double) size - 1.0)
                        : (((double) place + 1.0) * (double) size - 1.0) / 2.0;
    double left;

    x = !(x > -FARTHEST_PLACE) ? -FARTHEST_PLACE : x > FARTHEST_PLACE ? FARTHEST_PLACE : x;
    if (g->sampling == SAMPLE_NEAREST)
        x = nearbyint(x);
    if (g->padding == PAD_BORDER)
        x = x < 0.0 ? 0.0 : x > (double) size - 1.0 ? (double) size - 1.0 : x;
    else if (g->padding == PAD_REFLECTION)
        x = reflect(x, g->align ? 0.0 : -0.5, g->align ? (double) size - 1.0 : (double) size - 0.5);
    taps->count = g->sampling == SAMPLE_NEAREST ? 1 : g->sampling == SAMPLE_LINEAR ? 2 : 4;
    left = g->sampling == SAMPLE_NEAREST ? x : floor(x);
    for (int t = 0; t < taps->count; t++) {
        const double at = left + (double) (taps->count == 4 ? t - 1 : t);
        const float distance = (float) (at - x);

        taps->at[t] = pixel(g, size, at);
        taps->weight[t] = taps->count == 1   ? 1.0F
                          : taps->count == 2 ? 1.0F - fabsf(distance)
                                             : cubic(distance);
    }
}

static float sum_taps(const struct grid_sample *g, const float *x, const struct taps taps[3])
{
    float sum = 0.0F;

    for (int z = 0; z < taps[0].count; z++)
        for (int y = 0; y < taps[1].count; y++)
            for (int c = 0; c < taps[2].count; c++)
                if (taps[0].at[z] >= 0 && taps[1].at[y] >= 0 && taps[2].at[c] >= 0)
                    sum += taps[0].weight[z] * taps[1].weight[y] * taps[2].weight[c] *
                           x[(taps[0].at[z] * g->in[1] + taps[1].at[y]) * g->in[2] + taps[2].at[c]];
    return sum;
}

static int grid_sample_run(struct pith_step *step, struct pith_error *err)
{
    const struct grid_sample *g = step->params;

    (void) err;
    for (int64_t n = 0; n < g->batch; n++)
        for (int64_t p = 0; p < g->points; p++) {
            const float *place =
                (const float *) step->input[1].data + (n * g->points + p) * g->spatial;
            struct taps taps[3];

            for (int d = 0; d < 3; d++)
                taps[d] = (struct taps){1, {0}, {1.0F}};
            for (uint32_t i = 0; i < g->spatial; i++) /* the grid names x first */
                find_taps(g, g->in[2 - i], place[i], &taps[2 - i]);
            for (int64_t c = 0; c < g->channels; c++)
                ((float *) step->output[0].data)[(n * g->channels + c) * g->points + p] = sum_taps(
                    g, (const float *) step->input[0].data + (n * g->channels + c) * g->plane,
                    taps);
        }
    return 0;
}

/* ---- RoiAlign ---- */

#define MAX_SAMPLES 4096 /* along one side of a bin: far past what a real region needs */

struct roi_align {
    int64_t batch, channels, height, width, rois, out_height, out_width, sampling;
    float scale, offset;
    bool greatest; /* mode max */
};

static int roi_align_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape, *rois = &step->input[1].shape,
                            *y = &step->output[0].shape;
    const char *mode = pith_node_string(step->graph, step->node, "mode", "avg");
    const char *transform =
        pith_node_string(step->graph, step->node, "coordinate_transformation_mode",
                         step->opset >= 16 ? "half_pixel" : "output_half_pixel");
    struct roi_align *r = pith_step_alloc(step, sizeof *r);

    if (!r)
        return -ENOMEM;
    if (x->rank != 4 || rois->rank != 2 || rois->dim[1] != 4 || y->rank != 4 ||
        pith_shape_elements(&step->input[2].shape) != rois->dim[0] || y->dim[0] != rois->dim[0] ||
        y->dim[1] != x->dim[1])
        return pith_step_fail(step, err, -EINVAL,
                              "X must be [N,C,H,W], rois [n,4] and batch_indices [n]");
    *r = (struct roi_align){x->dim[0],
                            x->dim[1],
                            x->dim[2],
                            x->dim[3],
                            rois->dim[0],
                            y->dim[2],
                            y->dim[3],
                            pith_node_int(step->graph, step->node, "sampling_ratio", 0),
                            pith_node_float(step->graph, step->node, "spatial_scale", 1.0F),
                            strcmp(transform, "half_pixel") == 0 ? 0.5F : 0.0F,
                            strcmp(mode, "max") == 0};
    if (r->sampling < 0 || r->sampling > MAX_SAMPLES)
        return pith_step_fail(step, err, -EINVAL, "sampling_ratio is %lld",
                              (long long) r->sampling);
    step->params = r;
    return 0;
}

/* The four pixels around a place and their weights; false outside of the image. */
static bool corners(const struct roi_align *r, float y, float x, int64_t at[4], float weight[4])
{
    int64_t top, left, bottom, right;
    float down, across;

    if (!(y >= -1.0F && y <= (float) r->height && x >= -1.0F && x <= (float) r->width) ||
        r->height == 0 || r->width == 0)
        return false;
    y = y < 0.0F ? 0.0F : y;
    x = x < 0.0F ? 0.0F : x;
    top = (int64_t) y;
    left = (int64_t) x;
    bottom = top + 1;
    right = left + 1;
    if (top >= r->height - 1) {
        top = bottom = r->height - 1;
        y = (float) top;
    }
    if (left >= r->width - 1) {
        left = right = r->width - 1;
        x = (float) left;
    }
    down = y - (float) top;
    across = x - (float) left;
    at[0] = top * r->width + left;
    at[1] = top * r->width + right;
    at[2] = bottom * r->width + left;
    at[3] = bottom * r->width + right;
    weight[0] = (1.0F - down) * (1.0F - across);
    weight[1] = (1.0F - down) * across;
    weight[2] = down * (1.0F - across);
    weight[3] = down * across;
    return true;
}

struct bin {
    float y, x, height, width; /* corner and size, in pixels */
    int64_t rows, cols;        /* samples */
};

static float pool_bin(const struct roi_align *r, const float *plane, const struct bin *bin)
{
    float sum = 0.0F, best = 0.0F;
    bool any = false;

    for (int64_t i = 0; i < bin->rows; i++)
        for (int64_t j = 0; j < bin->cols; j++) {
            const float y = bin->y + ((float) i + 0.5F) * bin->height / (float) bin->rows;
            const float x = bin->x + ((float) j + 0.5F) * bin->width / (float) bin->cols;
            int64_t at[4];
            float weight[4];

            if (!corners(r, y, x, at, weight))
                continue;
            for (int k = 0; k < 4; k++) {
                const float part = weight[k] * plane[at[k]];

                sum += part;
                best = !any || part > best ? part : best;
                any = true;
            }
        }
    if (r->greatest)
        return best;
    return bin->rows > 0 && bin->cols > 0 ? sum / (float) (bin->rows * bin->cols) : 0.0F;
}

static int64_t samples(const struct roi_align *r, float length, int64_t bins)
{
    const float each = ceilf(length / (float) bins);

    if (r->sampling > 0)
        return r->sampling;
    return !(each >= 0.0F) ? 0 : each > (float) MAX_SAMPLES ? MAX_SAMPLES : (int64_t) each;
}

static void align_roi(const struct pith_step *step, const struct roi_align *r, int64_t roi,
                      int64_t batch)
{
    const float *box = (const float *) step->input[1].data + roi * 4;
    const float x = box[0] * r->scale - r->offset, y = box[1] * r->scale - r->offset;
    float width = box[2] * r->scale - r->offset - x, height = box[3] * r->scale - r->offset - y;

    if (r->offset == 0.0F) { /* the older form keeps regions from vanishing */
        width = width < 1.0F ? 1.0F : width;
        height = height < 1.0F ? 1.0F : height;
    }
    for (int64_t c = 0; c < r->channels; c++) {
        const float *plane =
            (const float *) step->input[0].data + (batch * r->channels + c) * r->height * r->width;
        float *out =
            (float *) step->output[0].data + (roi * r->channels + c) * r->out_height * r->out_width;

        for (int64_t i = 0; i < r->out_height; i++)
            for (int64_t j = 0; j < r->out_width; j++) {
                struct bin bin = {0,
                                  0,
                                  height / (float) r->out_height,
                                  width / (float) r->out_width,
                                  samples(r, height, r->out_height),
                                  samples(r, width, r->out_width)};

                bin.y = y + (float) i * bin.height;
                bin.x = x + (float) j * bin.width;
                out[i * r->out_width + j] = pool_bin(r, plane, &bin);
            }
    }
}

static int roi_align_run(struct pith_step *step, struct pith_error *err)
{
    const struct roi_align *r = step->params;

    for (int64_t roi = 0; roi < r->rois; roi++) {
        const int64_t batch = pith_tensor_get_int(&step->input[2], roi);

        if (batch < 0 || batch >= r->batch)
            return pith_step_fail(step, err, -EINVAL, "region %lld is of image %lld, of %lld",
                                  (long long) roi, (long long) batch, (long long) r->batch);
        align_roi(step, r, roi, batch);
    }
    return 0;
}

const struct pith_kernel pith_kernels_sample[] = {
    {.op = "GridSample",
     .name = "grid_sample_f32",
     .types = {PITH_BIT(FLOAT32), PITH_BIT(FLOAT32)},
     .prepare = grid_sample_prepare,
     .run = grid_sample_run},
    {.op = "RoiAlign",
     .name = "roi_align_f32",
     .types = {PITH_BIT(FLOAT32), PITH_BIT(FLOAT32), PITH_BIT(INT64)},
     .prepare = roi_align_prepare,
     .run = roi_align_run},
    {0},
};
