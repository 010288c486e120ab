/* Pooling of channels-last float32 values: MaxPool, AveragePool, and their Global forms. Windows
 * are clipped to the picture, so no halo is read; loops run along the channels of one pixel. Planar
 * pooling, and MaxPool with indices, are in pool.c. */
#include <errno.h>
#include <math.h>

#include "libpith/kernels/families.h"
#include "libpith/kernels/image_pool.h"
#include "libpith/kernels/isa.h"

#define IMAGE_POOL_BLOCK 64 /* channels whose sums are held on the stack */

/* One pixel of the output, from the taps from x on. by: what an average's sum is multiplied by. */
typedef void pool_pixel(const struct pith_image_taps *taps, const float *x, float *y,
                        int64_t channels, float by);

struct pool_form {
    enum pith_isa isa;
    pool_pixel *max, *average;
};

struct image_pool {
    const struct pool_form *form;
    struct pith_image_pool common;
};

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

static void max_pixel_plain(const struct pith_image_taps *taps, const float *x, float *y,
                            int64_t channels, float by)
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
static void average_pixel_plain(const struct pith_image_taps *taps, const float *x, float *y,
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

static int pool_prepare(struct pith_step *step, struct pith_error *err)
{
    struct image_pool *pool = pith_step_alloc(step, sizeof *pool);

    if (!pool)
        return -ENOMEM;
    pool->form = PITH_ISA_BEST(forms);
    step->params = pool;
    return pith_image_pool_read(step, &pool->common, err);
}

/* ---- running ---- */

#define LOOP(loop)                                                                                 \
    static void loop##_pixel(const struct pith_step *step, const struct pith_image_taps *taps,     \
                             const void *x, void *y, int64_t divisor)                              \
    {                                                                                              \
        const struct image_pool *pool = step->params;                                              \
                                                                                                   \
        pool->form->loop(taps, x, y, pool->common.channels,                                        \
                         divisor > 0 ? 1.0F / (float) divisor : 0.0F);                             \
    }                                                                                              \
                                                                                                   \
    static void loop##_part(struct pith_step *step, uint32_t part, uint32_t count)                 \
    {                                                                                              \
        const struct image_pool *pool = step->params;                                              \
                                                                                                   \
        pith_image_pool_part(step, &pool->common, sizeof(float), loop##_pixel, part, count);       \
        if (part == 0)                                                                             \
            pith_image_zero_halo(step, 0);                                                         \
    }                                                                                              \
                                                                                                   \
    static int loop##_run(struct pith_step *step, struct pith_error *err)                          \
    {                                                                                              \
        (void) err;                                                                                \
        loop##_part(step, 0, 1);                                                                   \
        return 0;                                                                                  \
    }

LOOP(max)
LOOP(average)

#define ENTRY(operator, loop)                                                                      \
    {                                                                                              \
        .op = operator, .name = "image_" #loop "_pool_f32", .types = {PITH_BIT(FLOAT32)},          \
        .flags = PITH_KERNEL_CHANNELS_LAST, .prepare = pool_prepare, .run = loop##_run,            \
        .run_part = loop##_part                                                                    \
    }

const struct pith_kernel pith_kernels_image_pool_f32[] = {
    ENTRY("MaxPool", max),
    ENTRY("AveragePool", average),
    ENTRY("GlobalMaxPool", max),
    ENTRY("GlobalAveragePool", average),
    {0},
};
