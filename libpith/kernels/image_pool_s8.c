/* Pooling of channels-last 8-bit values: MaxPool, AveragePool and their Global forms; and the first of
 * them for 16-bit values. Windows are clipped to the picture, so no halo is read; loops run along the
 * channels of one pixel. An average is float(sum of x - zero) * (x scale / y scale) / float(count),
 * rounded half to even (or away from 0: pith_average_ties_away): in every form the same three
 * operations. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "libpith/kernels/families.h"
#include "libpith/kernels/image_pool.h"
#include "libpith/kernels/isa.h"
#include "libpith/kernels/requantize.h"

#if defined __x86_64__
#include <immintrin.h>
#elif defined __aarch64__
#include <arm_neon.h>
#endif

#define BLOCK      256       /* channels whose sums are held on the stack */
#define TAPS_LIMIT (1 << 22) /* 255 * taps stays inside int32 */

/* ---- the greatest ---- */

/* The greatest of each channel of the taps, of which there is one at least. bytes: of a pixel. */
typedef void max_taps(const struct pith_image_taps *taps, const char *x, char *y, int64_t bytes);

#if defined __aarch64__
typedef int8_t stored_byte;
#else
typedef uint8_t stored_byte;
#endif

#define MAX_PLAIN(name, type)                                                                      \
    static void name(const struct pith_image_taps *taps, const char *from, char *to, int64_t bytes) \
    {                                                                                              \
        const type *x = (const type *) (const void *) from;                                        \
        type *y = (type *) (void *) to;                                                            \
                                                                                                   \
        for (int64_t c = 0; c < bytes / (int64_t) sizeof(type); c++) {                             \
            type most = x[c];                                                                      \
                                                                                                   \
            for (int64_t ky = 0; ky < taps->rows; ky++)                                            \
                for (int64_t kx = 0; kx < taps->cols; kx++) {                                      \
                    const type tap = x[ky * taps->row + kx * taps->col + c];                       \
                                                                                                   \
                    most = tap > most ? tap : most;                                                \
                }                                                                                  \
            y[c] = most;                                                                           \
        }                                                                                          \
    }
MAX_PLAIN(max_bytes_plain, stored_byte)
MAX_PLAIN(max_words_plain, int16_t)

/* Vectors, of which the last one may cover what the one before it did; with fewer bytes than one has: `next`. */
#define MAX_VECTORS(name, type, target, vector, load, store, greater, next)                        \
    target static void name(const struct pith_image_taps *taps, const char *x, char *y,            \
                            int64_t bytes)                                                         \
    {                                                                                              \
        const int64_t size = sizeof(vector), row = taps->row * (int64_t) sizeof(type),             \
                      col = taps->col * (int64_t) sizeof(type);                                    \
                                                                                                   \
        if (bytes < size) {                                                                        \
            next(taps, x, y, bytes);                                                               \
            return;                                                                                \
        }                                                                                          \
        for (int64_t from = 0; from < bytes; from += size) {                                       \
            const int64_t at = from + size <= bytes ? from : bytes - size;                         \
            vector most = load((const void *) (x + at));                                           \
                                                                                                   \
            for (int64_t ky = 0; ky < taps->rows; ky++)                                            \
                for (int64_t kx = 0; kx < taps->cols; kx++)                                        \
                    most = greater(most, load((const void *) (x + at + ky * row + kx * col)));     \
            store((void *) (y + at), most);                                                        \
        }                                                                                          \
    }

#if defined __x86_64__
#define TARGET_AVX2 __attribute__((target("avx2,fma")))
MAX_VECTORS(max_bytes_sse2, stored_byte, , __m128i, _mm_loadu_si128, _mm_storeu_si128, _mm_max_epu8,
            max_bytes_plain)
MAX_VECTORS(max_words_sse2, int16_t, , __m128i, _mm_loadu_si128, _mm_storeu_si128, _mm_max_epi16,
            max_words_plain)
MAX_VECTORS(max_bytes_avx2, stored_byte, TARGET_AVX2, __m256i, _mm256_loadu_si256, _mm256_storeu_si256,
            _mm256_max_epu8, max_bytes_sse2)
MAX_VECTORS(max_words_avx2, int16_t, TARGET_AVX2, __m256i, _mm256_loadu_si256, _mm256_storeu_si256,
            _mm256_max_epi16, max_words_sse2)
#elif defined __aarch64__
MAX_VECTORS(max_bytes_neon, stored_byte, , int8x16_t, vld1q_s8, vst1q_s8, vmaxq_s8, max_bytes_plain)
MAX_VECTORS(max_words_neon, int16_t, , int16x8_t, vld1q_s16, vst1q_s16, vmaxq_s16, max_words_plain)
#endif

static const struct max_form {
    enum pith_isa isa;
    max_taps *of_bytes, *of_words;
} max_forms[] = {
#if defined __x86_64__
    {PITH_ISA_AVX2, max_bytes_avx2, max_words_avx2},
    {PITH_ISA_SSE2, max_bytes_sse2, max_words_sse2},
#elif defined __aarch64__
    {PITH_ISA_NEON, max_bytes_neon, max_words_neon},
#endif
    {PITH_ISA_PLAIN, max_bytes_plain, max_words_plain},
};

/* ---- planning ---- */

struct image_pool_s8 {
    struct pith_image_pool common;
    size_t element_bytes;
    max_taps *max;
    bool ties_away;
    int32_t x_zero, zero, least; /* stored integers */
    int32_t moved; /* what a stored integer of y lies above the one that its grid means */
    float ratio;   /* a step of x in steps of y */
};

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
    const struct max_form *form = PITH_ISA_BEST(max_forms);
    const bool words = step->input[0].dtype == PITH_INT16;
    const int32_t stored = words ? PITH_INT16 : pith_image_integer_dtype();

    if (!(words ? pith_is_word_grid(xq) && pith_is_word_grid(yq)
                : pith_is_byte_grid(xq) && pith_is_byte_grid(yq)) ||
        step->input[0].dtype != stored || step->output[0].dtype != stored)
        return pith_step_fail(step, err, -ENOTSUP,
                              "this quantization is not one for the channels-last kernel");
    pool->x_zero = pith_stored_zero(xq, stored);
    pool->zero = pith_stored_zero(yq, stored);
    pool->ties_away = pith_average_ties_away(step);
    pool->moved = pool->zero - own_zero(step, yq);
    pool->element_bytes = words ? sizeof(int16_t) : 1;
    pool->max = words ? form->of_words : form->of_bytes;
    pool->least = words ? -32768 : stored == PITH_INT8 ? -128 : 0;
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

static void max_pixel(const struct pith_step *step, const struct pith_image_taps *taps,
                      const void *x, void *y, int64_t divisor)
{
    const struct image_pool_s8 *pool = step->params;
    const int64_t channels = pool->common.channels;
    int16_t *words = y;

    (void) divisor;
    if (taps->rows > 0 && taps->cols > 0)
        pool->max(taps, x, y, channels * (int64_t) pool->element_bytes);
    else if (pool->element_bytes == 1)
        memset(y, (uint8_t) pool->least, (size_t) channels);
    else
        for (int64_t c = 0; c < channels; c++)
            words[c] = (int16_t) pool->least;
}

static void add(int32_t *restrict sum, const stored_byte *restrict x, int64_t count)
{
    for (int64_t c = 0; c < count; c++)
        sum[c] += x[c];
}

/* Sums of `taps` stored integers each, divided by `divisor`. */
static void store_averages(const struct image_pool_s8 *pool, const int32_t *restrict sum,
                           int32_t taps, int64_t divisor, stored_byte *restrict y, int64_t count)
{
    const float by = divisor > 0 ? (float) divisor : 1.0F, ratio = pool->ratio;
    const int32_t shift = taps * pool->x_zero, zero = pool->zero, least = pool->least;

    for (int64_t c = 0; c < count; c++) {
        const int32_t q = (int32_t) rintf((float) (sum[c] - shift) * ratio / by) + zero;

        y[c] = (stored_byte) (q < least ? least : q > least + 255 ? least + 255 : q);
    }
}

/* The same with ties away from 0 of the integer that the grid means, which stored ones lie `moved`
 * above. */
static void store_averages_away(const struct image_pool_s8 *pool, const int32_t *restrict sum,
                                int32_t taps, int64_t divisor, stored_byte *restrict y, int64_t count)
{
    const float by = divisor > 0 ? (float) divisor : 1.0F, ratio = pool->ratio;
    const int32_t shift = taps * pool->x_zero, moved = pool->moved, least = pool->least;
    const float zero = (float) (pool->zero - moved);

    for (int64_t c = 0; c < count; c++) {
        const float x = (float) (sum[c] - shift) * ratio / by + zero;
        const int32_t q = (int32_t) (x + (x < 0.0F ? -0.5F : 0.5F)) + moved;

        y[c] = (stored_byte) (q < least ? least : q > least + 255 ? least + 255 : q);
    }
}

static void average_pixel(const struct pith_step *step, const struct pith_image_taps *taps,
                          const void *first, void *to, int64_t divisor)
{
    const struct image_pool_s8 *pool = step->params;
    const stored_byte *x = first;
    stored_byte *y = to;

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

    pith_image_pool_part(step, &pool->common, pool->element_bytes, pixel, part, count);
    if (part == 0)
        pith_image_zero_halo(step, 0);
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

#define BYTES (PITH_BIT(INT8) | PITH_BIT(UINT8))
#define ENTRY(operator, loop, ending, type)                                                        \
    {                                                                                              \
        .op = operator, .name = "image_" #loop "_pool_" ending, .types = {type},                   \
        .flags = PITH_KERNEL_QUANTIZED | PITH_KERNEL_CHANNELS_LAST, .prepare = pool_prepare,       \
        .run = loop##_run, .run_part = loop##_part                                                 \
    }

const struct pith_kernel pith_kernels_image_pool_s8[] = {
    ENTRY("MaxPool", max, "s8", BYTES),
    ENTRY("AveragePool", average, "s8", BYTES),
    ENTRY("GlobalMaxPool", max, "s8", BYTES),
    ENTRY("GlobalAveragePool", average, "s8", BYTES),
    ENTRY("MaxPool", max, "s16", PITH_BIT(INT16)),
    ENTRY("GlobalMaxPool", max, "s16", PITH_BIT(INT16)),
    {0},
};
