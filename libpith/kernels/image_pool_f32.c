/* Pooling of channels-last float32 values: MaxPool, AveragePool, and their Global forms. Windows
 * are clipped to the picture, so no halo is read; loops run along the channels of one pixel. Planar
 * pooling, and MaxPool with indices, are in pool.c. */
#include <errno.h>
#include <math.h>

#include "libpith/kernels/families.h"
#include "libpith/kernels/isa.h"
#include "libpith/kernels/sliding.h"

#define IMAGE_POOL_BLOCK 64 /* channels whose sums are held on the stack */

/* The taps of a window that lie inside the picture; strides in floats. */
struct taps {
    int64_t rows, cols, row, col;
};
/* One pixel of the output, from the taps from x on. by: what an average's sum is multiplied by. */
typedef void pool_pixel(const struct taps *taps, const float *x, float *y, int64_t channels,
                        float by);

struct pool_form {
    enum pith_isa isa;
    pool_pixel *max, *average;
};
static const struct pool_form *best_form(void);

struct image_pool {
    const struct pool_form *form;
    struct pith_sliding window; /* Global forms: one window, the whole picture */
    int64_t batch, channels;
    struct pith_image in, out;
    bool include_pad; /* AveragePool: padding counts as zeros */
};

/* The taps from..to-1 of a window that lie inside the picture, and where tap 0 lies. */
struct span {
    int64_t at, from, to;
};

/* distance / dilation, without a division where it is 1 */
static int64_t steps(int64_t distance, int64_t dilation)
{
    return dilation == 1 ? distance : distance / dilation;
}

static struct span span_along(const struct pith_sliding *w, int d, int64_t out)
{
    const int64_t at = out * w->stride[d] - w->pad[d], dilation = w->dilation[d];
    struct span span = {.at = at, .from = at < 0 ? steps(-at + dilation - 1, dilation) : 0};

    span.to = at >= w->in[d] ? 0 : steps(w->in[d] - 1 - at, dilation) + 1;
    span.to = span.to > w->kernel[d] ? w->kernel[d] : span.to;
    span.from = span.from > span.to ? span.to : span.from;
    return span;
}

static int common_prepare(struct pith_step *step, struct image_pool *pool, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape, *y = &step->output[0].shape;

    if (x->rank < 3 || x->rank > 4 || y->rank != x->rank)
        return pith_step_fail(step, err, -EINVAL, "pooling from rank %u to rank %u", x->rank,
                              y->rank);
    if (x->dim[0] != y->dim[0] || x->dim[1] != y->dim[1])
        return pith_step_fail(step, err, -EINVAL, "pooling keeps batch and channels");
    pool->form = best_form();
    pool->batch = x->dim[0];
    pool->channels = x->dim[1];
    pool->in = step->input_image[0];
    pool->out = step->output_image[0];
    step->parts = pith_parts_of(pool->batch * pool->window.out[1]);
    step->params = pool;
    return 0;
}

static int pool_prepare(struct pith_step *step, struct pith_error *err)
{
    struct image_pool *pool = pith_step_alloc(step, sizeof *pool);
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
    struct image_pool *pool = pith_step_alloc(step, sizeof *pool);
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

/* ---- the definition ---- */

/* NaN wins over any number, and stays: only then neither comparison holds. */
static void greater(float *restrict y, const float *restrict x, int64_t count)
{
    for (int64_t c = 0; c < count; c++)
        y[c] = x[c] <= y[c] ? y[c] : x[c] > y[c] ? x[c] : y[c] + x[c];
}

static void add(float *restrict y, const float *restrict x, int64_t count)
{
    for (int64_t c = 0; c < count; c++)
        y[c] += x[c];
}

static void max_pixel_plain(const struct taps *taps, const float *x, float *y, int64_t channels,
                            float by)
{
    (void) by;
    for (int64_t c = 0; c < channels; c++)
        y[c] = -INFINITY;
    for (int64_t ky = 0; ky < taps->rows; ky++)
        for (int64_t kx = 0; kx < taps->cols; kx++)
            greater(y, x + ky * taps->row + kx * taps->col, channels);
}

/* Sums of a row of taps are made by themselves and then added: the error of a long sum grows with
 * the square root of its length only. */
static void average_pixel_plain(const struct taps *taps, const float *x, float *y,
                                int64_t channels, float by)
{
    for (int64_t from = 0; from < channels; from += IMAGE_POOL_BLOCK) {
        float row[IMAGE_POOL_BLOCK], sum[IMAGE_POOL_BLOCK] = {0};
        const int64_t left = channels - from;
        const int64_t n = left < IMAGE_POOL_BLOCK ? left : IMAGE_POOL_BLOCK;

        for (int64_t ky = 0; ky < taps->rows; ky++) {
            for (int64_t c = 0; c < n; c++)
                row[c] = 0.0F;
            for (int64_t kx = 0; kx < taps->cols; kx++)
                add(row, x + ky * taps->row + kx * taps->col + from, n);
            add(sum, row, n);
        }
        for (int64_t c = 0; c < n; c++)
            y[from + c] = sum[c] * by;
    }
}

/* ---- forms ---- */

#if defined __x86_64__
#define VECTORS 512
#include "libpith/kernels/image_pool_f32_body.h"
#define VECTORS 256
#include "libpith/kernels/image_pool_f32_body.h"
#endif
#if defined __x86_64__ || defined __aarch64__
#define VECTORS 128
#include "libpith/kernels/image_pool_f32_body.h"
#endif

static const struct pool_form forms[] = {
#if defined __x86_64__
    {PITH_ISA_AVX512, max_pixel_avx512, average_pixel_avx512},
    {PITH_ISA_AVX2, max_pixel_avx2, average_pixel_avx2},
    {PITH_ISA_SSE2, max_pixel_128, average_pixel_128},
#elif defined __aarch64__
    {PITH_ISA_NEON, max_pixel_128, average_pixel_128},
#endif
    {PITH_ISA_PLAIN, max_pixel_plain, average_pixel_plain},
};

static const struct pool_form *best_form(void)
{
    const struct pool_form *form = forms;

    while (!pith_isa_includes(pith_isa(), form->isa))
        form++;
    return form;
}

/* ---- running ---- */

static void pool_row(const struct image_pool *pool, pool_pixel *pixel, const float *x, float *y,
                     int64_t row)
{
    const struct pith_sliding *w = &pool->window;
    const struct span rows = span_along(w, 1, row);
    struct taps taps = {.rows = rows.to - rows.from,
                        .row = w->dilation[1] * pool->in.row,
                        .col = w->dilation[2] * pool->in.pixel};

    x += (rows.at + rows.from * w->dilation[1]) * pool->in.row;
    for (int64_t col = 0; col < w->out[2]; col++, y += pool->out.pixel) {
        const struct span cols = span_along(w, 2, col);
        int64_t count;

        taps.cols = cols.to - cols.from;
        count = pool->include_pad ? w->taps : taps.rows * taps.cols;
        pixel(&taps, x + (cols.at + cols.from * w->dilation[2]) * pool->in.pixel, y,
              pool->channels, count > 0 ? 1.0F / (float) count : 0.0F);
    }
}

static void pool_part(struct pith_step *step, pool_pixel *pixel, uint32_t part, uint32_t count)
{
    const struct image_pool *pool = step->params;
    const int64_t out = pool->window.out[1], rows = pool->batch * out;

    for (int64_t i = pith_part_begin(rows, part, count); i < pith_part_begin(rows, part + 1, count);
         i++)
        pool_row(pool, pixel, (const float *) step->input[0].data + i / out * pool->in.picture,
                 (float *) step->output[0].data + i / out * pool->out.picture +
                     i % out * pool->out.row,
                 i % out);
    if (part == 0)
        pith_image_zero_halo(step, 0);
}

static void max_part(struct pith_step *step, uint32_t part, uint32_t count)
{
    const struct image_pool *pool = step->params;

    pool_part(step, pool->form->max, part, count);
}

static int max_run(struct pith_step *step, struct pith_error *err)
{
    (void) err;
    max_part(step, 0, 1);
    return 0;
}

static void average_part(struct pith_step *step, uint32_t part, uint32_t count)
{
    const struct image_pool *pool = step->params;

    pool_part(step, pool->form->average, part, count);
}

static int average_run(struct pith_step *step, struct pith_error *err)
{
    (void) err;
    average_part(step, 0, 1);
    return 0;
}

#define ENTRY(operator, made, loop)                                                                \
    {                                                                                              \
        .op = operator, .name = "image_" #loop "_pool_f32", .types = {PITH_BIT(FLOAT32)},          \
        .flags = PITH_KERNEL_CHANNELS_LAST, .prepare = made, .run = loop##_run,                    \
        .run_part = loop##_part                                                                    \
    }

const struct pith_kernel pith_kernels_image_pool_f32[] = {
    ENTRY("MaxPool", pool_prepare, max),
    ENTRY("AveragePool", pool_prepare, average),
    ENTRY("GlobalMaxPool", global_prepare, max),
    ENTRY("GlobalAveragePool", global_prepare, average),
    {0},
};
