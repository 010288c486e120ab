/* Pooling of channels-last 8-bit values: MaxPool, AveragePool and their Global forms. Windows are
 * clipped to the picture, so no halo is read; loops run along the channels of one pixel. An average
 * is float(sum of x - zero) * (x scale / y scale) / float(count), rounded half to even (or away
 * from 0: pith_average_ties_away): in every form the same three operations. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "libpith/kernels/families.h"
#include "libpith/kernels/image_pool.h"
#include "libpith/kernels/requantize.h"

#define BLOCK      256       /* channels whose sums are held on the stack */
#define TAPS_LIMIT (1 << 22) /* 255 * taps stays inside int32 */

struct image_pool_s8 {
    struct pith_image_pool common;
    bool ties_away;
    uint8_t zero_byte;
    int32_t x_zero, zero, least; /* stored integers */
    int32_t moved; /* what a stored integer of y lies above the one that its grid means */
    float ratio;   /* a step of x in steps of y */
};

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

static int pool_prepare(struct pith_step *step, struct pith_error *err)
{
    struct image_pool_s8 *pool = pith_step_alloc(step, sizeof *pool);
    int rc;

    if (!pool)
        return -ENOMEM;
    step->params = pool;
    rc = pith_image_pool_read(step, &pool->common, err);
    if (rc < 0)
        return rc;
    if (pool->common.window.taps > TAPS_LIMIT)
        return pith_step_fail(step, err, -ENOTSUP, "a window of %lld elements",
                              (long long) pool->common.window.taps);
    return plan_grids(step, pool, strstr(step->kernel->op, "Max") != NULL, err);
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

static void max_pixel(const struct pith_step *step, const struct pith_image_taps *taps,
                      const void *from, void *y, int64_t divisor)
{
    const struct image_pool_s8 *pool = step->params;
    const stored *x = from;

    (void) divisor;
    memset(y, (uint8_t) pool->least, (size_t) pool->common.channels);
    for (int64_t ky = 0; ky < taps->rows; ky++)
        for (int64_t kx = 0; kx < taps->cols; kx++)
            greater(y, x + ky * taps->row + kx * taps->col, pool->common.channels);
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

static void average_pixel(const struct pith_step *step, const struct pith_image_taps *taps,
                          const void *first, void *to, int64_t divisor)
{
    const struct image_pool_s8 *pool = step->params;
    const stored *x = first;
    stored *y = to;

    for (int64_t from = 0; from < pool->common.channels; from += BLOCK) {
        int32_t sum[BLOCK] = {0};
        const int64_t left = pool->common.channels - from, n = left < BLOCK ? left : BLOCK;

        for (int64_t ky = 0; ky < taps->rows; ky++)
            for (int64_t kx = 0; kx < taps->cols; kx++)
                add(sum, x + ky * taps->row + kx * taps->col + from, n);
        (pool->ties_away ? store_averages_away : store_averages)(
            pool, sum, (int32_t) (taps->rows * taps->cols), divisor, y + from, n);
    }
}

static void pool_part(struct pith_step *step, pith_image_pool_pixel *pixel, uint32_t part,
                      uint32_t count)
{
    const struct image_pool_s8 *pool = step->params;
    const struct pith_image_dims dims = pith_image_dims(&step->output[0].shape);

    pith_image_pool_part(step, &pool->common, 1, pixel, part, count);
    if (part == 0)
        pith_image_fill_halo(&pool->common.out, &dims, step->output[0].data, 1, &pool->zero_byte);
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

#define ENTRY(operator, loop)                                                                      \
    {                                                                                              \
        .op = operator, .name = "image_" #loop "_pool_s8",                                         \
        .types = {PITH_BIT(INT8) | PITH_BIT(UINT8)},                                               \
        .flags = PITH_KERNEL_QUANTIZED | PITH_KERNEL_CHANNELS_LAST, .prepare = pool_prepare,       \
        .run = loop##_run, .run_part = loop##_part                                                 \
    }

const struct pith_kernel pith_kernels_image_pool_s8[] = {
    ENTRY("MaxPool", max),
    ENTRY("AveragePool", average),
    ENTRY("GlobalMaxPool", max),
    ENTRY("GlobalAveragePool", average),
    {0},
};
