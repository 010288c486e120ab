/* Pooling of channels-last 8-bit values: MaxPool, AveragePool and their Global forms. Windows are
 * clipped to the picture, so no halo is read; loops run along the channels of one pixel. An average
 * is float(sum of x - zero) * (x scale / y scale) / float(count), rounded half to even (or away
 * from 0: pith_average_ties_away): in every form the same three operations. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "libpith/kernels/families.h"
#include "libpith/kernels/requantize.h"
#include "libpith/kernels/sliding.h"

#define BLOCK      256       /* channels whose sums are held on the stack */
#define TAPS_LIMIT (1 << 22) /* 255 * taps stays inside int32 */

struct image_pool_s8 {
    struct pith_sliding window; /* Global forms: one window, the whole picture */
    int64_t batch, channels;
    struct pith_image in, out;
    bool include_pad, ties_away;
    uint8_t zero_byte;
    int32_t x_zero, zero, least; /* stored integers */
    int32_t moved; /* what a stored integer of y lies above the one that its grid means */
    float ratio;   /* a step of x in steps of y */
};

/* The taps from..to-1 of a window that lie inside the picture, and where tap 0 lies. */
struct span {
    int64_t at, from, to;
};

static struct span span_along(const struct pith_sliding *w, int d, int64_t out)
{
    const int64_t at = out * w->stride[d] - w->pad[d], dilation = w->dilation[d];
    struct span span = {.at = at, .from = at < 0 ? (-at + dilation - 1) / dilation : 0};

    span.to = at >= w->in[d] ? 0 : (w->in[d] - 1 - at) / dilation + 1;
    span.to = span.to > w->kernel[d] ? w->kernel[d] : span.to;
    span.from = span.from > span.to ? span.to : span.from;
    return span;
}

/* ---- planning ---- */

/* The zero point that the model gives the output: the step's own grid may be that of the other byte
 * type. */
static int32_t own_zero(const struct pith_step *step, const struct pith_quantization *otherwise)
{
    const uint32_t value = pith_node_output(step->graph, step->node, 0);
    const struct pith_quantization *q =
        value == PITH_NO_VALUE ? NULL : pith_value_quantization(step->graph, value);

    return q && q->count == 1 ? q->zero_point[0] : otherwise->zero_point[0];
}

static int plan_grids(struct pith_step *step, struct image_pool_s8 *pool, bool max,
                      struct pith_error *err)
{
    const struct pith_quantization *xq = step->input_quantization[0],
                                   *yq = step->output_quantization[0];
    const int32_t stored = pith_image_integer_dtype();

    if (!pith_is_byte_grid(xq) || !pith_is_byte_grid(yq) || step->input[0].dtype != stored ||
        step->output[0].dtype != stored)
        return pith_step_fail(step, err, -ENOTSUP,
                              "this quantization is not one for the channels-last kernel");
    pool->x_zero = pith_stored_zero(xq, stored);
    pool->zero = pith_stored_zero(yq, stored);
    pool->ties_away = pith_average_ties_away(step);
    pool->moved = pool->zero - own_zero(step, yq);
    pool->zero_byte = (uint8_t) pool->zero;
    pool->least = stored == PITH_INT8 ? -128 : 0;
    pool->ratio = xq->scale[0] / yq->scale[0];
    if (max && (pool->x_zero != pool->zero || xq->scale[0] != yq->scale[0]))
        return pith_step_fail(step, err, -ENOTSUP, "MaxPool from one grid to another");
    if (!(pool->ratio < 1e6F)) /* an average is at most 255 steps: far from int32's end */
        return pith_step_fail(step, err, -ENOTSUP,
                              "scales so far apart are not for the integer kernel");
    return 0;
}

static int common_prepare(struct pith_step *step, struct image_pool_s8 *pool,
                          struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape, *y = &step->output[0].shape;

    if (x->rank < 3 || x->rank > 4 || y->rank != x->rank)
        return pith_step_fail(step, err, -EINVAL, "pooling from rank %u to rank %u", x->rank,
                              y->rank);
    if (x->dim[0] != y->dim[0] || x->dim[1] != y->dim[1])
        return pith_step_fail(step, err, -EINVAL, "pooling keeps batch and channels");
    if (pool->window.taps > TAPS_LIMIT)
        return pith_step_fail(step, err, -ENOTSUP, "a window of %lld elements",
                              (long long) pool->window.taps);
    pool->batch = x->dim[0];
    pool->channels = x->dim[1];
    pool->in = step->input_image[0];
    pool->out = step->output_image[0];
    step->parts = pith_parts_of(pool->batch * pool->window.out[1]);
    step->params = pool;
    return plan_grids(step, pool, strstr(step->kernel->op, "Max") != NULL, err);
}

static int pool_prepare(struct pith_step *step, struct pith_error *err)
{
    struct image_pool_s8 *pool = pith_step_alloc(step, sizeof *pool);
    int rc;

    if (!pool)
        return -ENOMEM;
    rc = pith_sliding_read(step, &step->input[0].shape, &step->output[0].shape, NULL, &pool->window,
                           err);
    if (rc < 0)
        return rc;
    if (step->output_count > 1 && step->output[1].dtype != PITH_DTYPE_NONE)
        return pith_step_fail(step, err, -ENOTSUP, "indices of channels-last values");
    pool->include_pad = pith_node_int(step->graph, step->node, "count_include_pad", 0) != 0;
    return common_prepare(step, pool, err);
}

static int global_prepare(struct pith_step *step, struct pith_error *err)
{
    struct image_pool_s8 *pool = pith_step_alloc(step, sizeof *pool);
    const struct pith_shape *x = &step->input[0].shape;
    struct pith_sliding *w;

    if (!pool)
        return -ENOMEM;
    w = &pool->window;
    for (int d = 0; d < PITH_SLIDING_DIMS; d++)
        w->in[d] = w->out[d] = w->kernel[d] = w->stride[d] = w->dilation[d] = 1;
    if (x->rank >= 3)
        w->in[2] = w->kernel[2] = x->dim[x->rank - 1];
    if (x->rank == 4)
        w->in[1] = w->kernel[1] = x->dim[2];
    w->taps = w->kernel[1] * w->kernel[2];
    for (uint32_t d = 2; d < step->output[0].shape.rank; d++)
        if (step->output[0].shape.dim[d] != 1)
            return pith_step_fail(step, err, -EINVAL, "global pooling gives one pixel");
    return common_prepare(step, pool, err);
}

/* ---- loops ---- */

#if defined __aarch64__
typedef int8_t stored;
#else
typedef uint8_t stored;
#endif

static void greater(stored *restrict y, const stored *restrict x, int64_t count)
{
    for (int64_t c = 0; c < count; c++)
        y[c] = x[c] > y[c] ? x[c] : y[c];
}

static void max_pixel(const struct image_pool_s8 *pool, const stored *x, struct span rows,
                      struct span cols, stored *y)
{
    const struct pith_sliding *w = &pool->window;

    memset(y, (uint8_t) pool->least, (size_t) pool->channels);
    for (int64_t ky = rows.from; ky < rows.to; ky++)
        for (int64_t kx = cols.from; kx < cols.to; kx++)
            greater(y,
                    x + (rows.at + ky * w->dilation[1]) * pool->in.row +
                        (cols.at + kx * w->dilation[2]) * pool->in.pixel,
                    pool->channels);
}

static void add(int32_t *restrict sum, const stored *restrict x, int64_t count)
{
    for (int64_t c = 0; c < count; c++)
        sum[c] += x[c];
}

/* Sums of `taps` stored integers each, divided by `divisor`. */
static void store_averages(const struct image_pool_s8 *pool, const int32_t *restrict sum,
                           int32_t taps, int64_t divisor, stored *restrict y, int64_t count)
{
    const float by = divisor > 0 ? (float) divisor : 1.0F, ratio = pool->ratio;
    const int32_t shift = taps * pool->x_zero, zero = pool->zero, least = pool->least;

    for (int64_t c = 0; c < count; c++) {
        const int32_t q = (int32_t) rintf((float) (sum[c] - shift) * ratio / by) + zero;

        y[c] = (stored) (q < least ? least : q > least + 255 ? least + 255 : q);
    }
}

/* The same with ties away from 0 of the integer that the grid means, which stored ones lie `moved`
 * above. */
static void store_averages_away(const struct image_pool_s8 *pool, const int32_t *restrict sum,
                                int32_t taps, int64_t divisor, stored *restrict y, int64_t count)
{
    const float by = divisor > 0 ? (float) divisor : 1.0F, ratio = pool->ratio;
    const int32_t shift = taps * pool->x_zero, moved = pool->moved, least = pool->least;
    const float zero = (float) (pool->zero - moved);

    for (int64_t c = 0; c < count; c++) {
        const float x = (float) (sum[c] - shift) * ratio / by + zero;
        const int32_t q = (int32_t) (x + (x < 0.0F ? -0.5F : 0.5F)) + moved;

        y[c] = (stored) (q < least ? least : q > least + 255 ? least + 255 : q);
    }
}

static void average_pixel(const struct image_pool_s8 *pool, const stored *x, struct span rows,
                          struct span cols, stored *y)
{
    const struct pith_sliding *w = &pool->window;
    const int64_t seen = (rows.to - rows.from) * (cols.to - cols.from);

    for (int64_t from = 0; from < pool->channels; from += BLOCK) {
        int32_t sum[BLOCK] = {0};
        const int64_t left = pool->channels - from, n = left < BLOCK ? left : BLOCK;

        for (int64_t ky = rows.from; ky < rows.to; ky++)
            for (int64_t kx = cols.from; kx < cols.to; kx++)
                add(sum,
                    x + (rows.at + ky * w->dilation[1]) * pool->in.row +
                        (cols.at + kx * w->dilation[2]) * pool->in.pixel + from,
                    n);
        (pool->ties_away ? store_averages_away : store_averages)(
            pool, sum, (int32_t) seen, pool->include_pad ? w->taps : seen, y + from, n);
    }
}

typedef void pixel_loop(const struct image_pool_s8 *pool, const stored *x, struct span rows,
                        struct span cols, stored *y);

static void pool_part(struct pith_step *step, pixel_loop *loop, uint32_t part, uint32_t count)
{
    const struct image_pool_s8 *pool = step->params;
    const struct pith_sliding *w = &pool->window;
    const struct pith_image_dims dims = {pool->batch, pool->channels, w->out[1], w->out[2]};
    const int64_t rows = pool->batch * w->out[1], end = pith_part_begin(rows, part + 1, count);

    for (int64_t i = pith_part_begin(rows, part, count); i < end; i++) {
        const int64_t n = i / w->out[1], row = i % w->out[1];
        const stored *x = (const stored *) step->input[0].data + n * pool->in.picture;
        stored *y = (stored *) step->output[0].data + n * pool->out.picture + row * pool->out.row;

        for (int64_t col = 0; col < w->out[2]; col++)
            loop(pool, x, span_along(w, 1, row), span_along(w, 2, col), y + col * pool->out.pixel);
    }
    if (part == 0)
        pith_image_fill_halo(&pool->out, &dims, step->output[0].data, 1, &pool->zero_byte);
}

static void max_part(struct pith_step *step, uint32_t part, uint32_t count)
{
    pool_part(step, max_pixel, part, count);
}

static int max_run(struct pith_step *step, struct pith_error *err)
{
    (void) err;
    max_part(step, 0, 1);
    return 0;
}

static void average_part(struct pith_step *step, uint32_t part, uint32_t count)
{
    pool_part(step, average_pixel, part, count);
}

static int average_run(struct pith_step *step, struct pith_error *err)
{
    (void) err;
    average_part(step, 0, 1);
    return 0;
}

#define ENTRY(operator, made, loop)                                                                \
    {                                                                                              \
        .op = operator, .name = "image_" #loop "_pool_s8",                                         \
        .types = {PITH_BIT(INT8) | PITH_BIT(UINT8)},                                               \
        .flags = PITH_KERNEL_QUANTIZED | PITH_KERNEL_CHANNELS_LAST, .prepare = made,               \
        .run = loop##_run, .run_part = loop##_part                                                 \
    }

const struct pith_kernel pith_kernels_image_pool_s8[] = {
    ENTRY("MaxPool", pool_prepare, max),
    ENTRY("AveragePool", pool_prepare, average),
    ENTRY("GlobalMaxPool", global_prepare, max),
    ENTRY("GlobalAveragePool", global_prepare, average),
    {0},
};
