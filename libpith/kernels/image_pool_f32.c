/* Pooling of channels-last float32 values: MaxPool, AveragePool, and their Global forms. Windows
 * are clipped to the picture, so no halo is read; loops run along the channels of one pixel. Planar
 * pooling, and MaxPool with indices, are in pool.c. */
#include <errno.h>
#include <math.h>

#include "libpith/kernels/families.h"
#include "libpith/kernels/isa.h"
#include "libpith/kernels/sliding.h"

#define IMAGE_POOL_BLOCK 64 /* channels whose sums are held on the stack */

struct image_pool;
struct span;
/* One pixel of the output, from the window of taps rows x cols. */
typedef void pool_pixel(const struct image_pool *pool, const float *x, struct span rows,
                        struct span cols, float *y);

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

static struct span span_along(const struct pith_sliding *w, int d, int64_t out)
{
    const int64_t at = out * w->stride[d] - w->pad[d], dilation = w->dilation[d];
    struct span span = {.at = at, .from = at < 0 ? (-at + dilation - 1) / dilation : 0};

    span.to = at >= w->in[d] ? 0 : (w->in[d] - 1 - at) / dilation + 1;
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

static inline const float *tap_at(const struct image_pool *pool, const float *x, struct span rows,
                                  struct span cols, int64_t ky, int64_t kx)
{
    const struct pith_sliding *w = &pool->window;

    return x + (rows.at + ky * w->dilation[1]) * pool->in.row +
           (cols.at + kx * w->dilation[2]) * pool->in.pixel;
}

/* What a sum is multiplied by. */
static inline float average_by(const struct image_pool *pool, struct span rows, struct span cols)
{
    const int64_t seen = (rows.to - rows.from) * (cols.to - cols.from);
    const int64_t count = pool->include_pad ? pool->window.taps : seen;

    return count > 0 ? 1.0F / (float) count : 0.0F;
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

static void max_pixel_plain(const struct image_pool *pool, const float *x, struct span rows,
                            struct span cols, float *y)
{
    for (int64_t c = 0; c < pool->channels; c++)
        y[c] = -INFINITY;
    for (int64_t ky = rows.from; ky < rows.to; ky++)
        for (int64_t kx = cols.from; kx < cols.to; kx++)
            greater(y, tap_at(pool, x, rows, cols, ky, kx), pool->channels);
}

/* Sums of a row of taps are made by themselves and then added: the error of a long sum grows with
 * the square root of its length only. */
static void average_pixel_plain(const struct image_pool *pool, const float *x, struct span rows,
                                struct span cols, float *y)
{
    const float by = average_by(pool, rows, cols);

    for (int64_t from = 0; from < pool->channels; from += IMAGE_POOL_BLOCK) {
        float row[IMAGE_POOL_BLOCK], sum[IMAGE_POOL_BLOCK] = {0};
        const int64_t left = pool->channels - from;
        const int64_t n = left < IMAGE_POOL_BLOCK ? left : IMAGE_POOL_BLOCK;

        for (int64_t ky = rows.from; ky < rows.to; ky++) {
            for (int64_t c = 0; c < n; c++)
                row[c] = 0.0F;
            for (int64_t kx = cols.from; kx < cols.to; kx++)
                add(row, tap_at(pool, x, rows, cols, ky, kx) + from, n);
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

static void pool_part(struct pith_step *step, pool_pixel *pixel, uint32_t part, uint32_t count)
{
    const struct image_pool *pool = step->params;
    const struct pith_sliding *w = &pool->window;
    const int64_t rows = pool->batch * w->out[1];

    for (int64_t i = pith_part_begin(rows, part, count); i < pith_part_begin(rows, part + 1, count);
         i++) {
        const int64_t n = i / w->out[1], row = i % w->out[1];
        const float *x = (const float *) step->input[0].data + n * pool->in.picture;
        float *y = (float *) step->output[0].data + n * pool->out.picture + row * pool->out.row;

        for (int64_t col = 0; col < w->out[2]; col++)
            pixel(pool, x, span_along(w, 1, row), span_along(w, 2, col), y + col * pool->out.pixel);
    }
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
