/* Weights as integers or halves. Constants may lie unaligned in a mapped file, so elements are read
 * by memcpy; a tensor is read where it lies and only its integers are new memory. */
#include "plugins/techniques/quantize/weights.h"

#include "plugins/techniques/quantize/range.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_HALF_SQNR_DB 30.0 /* bfloat16 has 50, float16 70; less is what lies below its least */
#define DEAD_CHANNEL                                                                               \
    1e-9 /* of the whole's extreme: such a channel is rounding noise of whoever trained it */
#define LEAST_SCALE                                                                                \
    1e-37 /* below it a scale is no normal float; such a channel is all zero in effect */
#define CLIP_STEPS 26    /* clips tried for grids of few levels */
#define CLIP_STEP  0.02f /* the last one keeps half of the extreme */

static float element(const struct pith_tensor *w, int64_t index)
{
    float x;

    memcpy(&x, (const uint8_t *) w->data + (size_t) index * sizeof x, sizeof x);
    return x;
}

/* Runs of elements that lie together and share a scale. Element (o, a, n) of outer * along * inner
 * has scale (o, a / block, n) with blocks, and a without. */
struct runs {
    int64_t outer, along, inner; /* product: all elements */
    int64_t block;               /* 0: a scale for each of `along` */
    int64_t blocks;              /* of one line along the axis */
    int64_t length;              /* of a run, but for the last of a line of blocks */
};

static struct runs runs_of(const struct pith_tensor *w, int32_t axis, int64_t block)
{
    struct runs runs = {.outer = 1, .along = 1, .inner = 1, .block = block};

    if (axis < 0) {
        runs.inner = pith_shape_elements(&w->shape);
    } else {
        for (int32_t i = 0; i < axis; i++)
            runs.outer *= w->shape.dim[i];
        runs.along = w->shape.dim[axis];
        for (uint32_t i = (uint32_t) axis + 1; i < w->shape.rank; i++)
            runs.inner *= w->shape.dim[i];
    }
    runs.blocks = block > 0 ? runs.along / block + (runs.along % block != 0) : runs.along;
    runs.length = block == 0 ? runs.inner : runs.inner == 1 ? block : 1;
    return runs;
}

static size_t scale_of(const struct runs *runs, int64_t index)
{
    int64_t a = index / runs->inner % runs->along;

    if (runs->block == 0)
        return (size_t) a;
    return (size_t) ((index / runs->inner / runs->along * runs->blocks + a / runs->block) *
                         runs->inner +
                     index % runs->inner);
}

/* The run that begins at `index`. */
static int64_t run_length(const struct runs *runs, int64_t index)
{
    int64_t left = runs->along - index % runs->along;

    return runs->block > 0 && runs->inner == 1 && left < runs->length ? left : runs->length;
}

size_t weight_scale_count(const struct pith_tensor *w, const struct weight_grid *grid)
{
    struct runs runs = runs_of(w, grid->axis, grid->block_size);

    return (size_t) (grid->block_size > 0 ? runs.outer * runs.blocks * runs.inner : runs.along);
}

size_t weight_scale_index(const struct pith_tensor *w, const struct weight_grid *grid,
                          int64_t index)
{
    struct runs runs = runs_of(w, grid->axis, grid->block_size);

    return scale_of(&runs, index);
}

/* max|w| by scale; false where a weight is infinite or not a number. */
static bool find_extremes(const struct pith_tensor *w, const struct runs *runs, int64_t elements,
                          float *extreme)
{
    int finite = 1;

    for (int64_t at = 0; at < elements;) {
        int64_t end = at + run_length(runs, at);
        float *of = &extreme[scale_of(runs, at)];
        float most = *of;

        for (; at < end; at++) {
            float x = fabsf(element(w, at));

            finite &= x <= FLT_MAX; /* false for NaN too */
            most = x > most ? x : most;
        }
        *of = most;
    }
    return finite;
}

int weights_look(const struct pith_tensor *w, int32_t axis, struct weight_facts *out)
{
    int64_t elements = pith_shape_elements(&w->shape);
    struct runs runs = runs_of(w, axis, 0);
    float *extreme = calloc((size_t) runs.along + 1, sizeof *extreme);
    float least = INFINITY, greatest = 0;

    if (!extreme)
        return -ENOMEM;
    *out = (struct weight_facts){.elements = elements, .channels = (size_t) runs.along};
    out->finite = find_extremes(w, &runs, elements, extreme);
    for (int64_t c = 0; c < runs.along && elements > 0; c++) {
        if (extreme[c] > 0)
            least = fminf(least, extreme[c]);
        greatest = fmaxf(greatest, extreme[c]);
    }
    out->channel_ratio = greatest > 0 ? (double) greatest / (double) least : 1;
    free(extreme);
    return 0;
}

/* Adding and taking away 1.5 * 2^23 rounds to even, as a processor does it for vectors too; x is
 * limited first, so that nothing is lost. */
static inline float rounded(float x, float limit)
{
    x = x > limit ? limit : x;
    x = x < -limit ? -limit : x;
    return (x + 12582912.0f) - 12582912.0f;
}

int32_t weight_level(float x, float scale, int32_t limit)
{
    return (int32_t) rounded(x / scale, (float) limit);
}

/* Squared errors of all scales at once, with each taken as `share` of its extreme. */
static void clip_errors(const struct pith_tensor *w, const struct runs *runs, int64_t elements,
                        const float *extreme, float share, int32_t limit, double *error)
{
    for (int64_t at = 0; at < elements;) {
        int64_t end = at + run_length(runs, at);
        size_t of = scale_of(runs, at);
        float scale = extreme[of] * share / (float) limit;
        float inverse = scale > (float) LEAST_SCALE ? 1 / scale : 0;
        float sum = 0;

        for (; at < end; at++) {
            float x = element(w, at), e = x - rounded(x * inverse, (float) limit) * scale;

            sum += e * e;
        }
        error[of] += (double) sum;
    }
}

/* Moves each scale's extreme to the clip that errs least. */
static int clip_extremes(const struct pith_tensor *w, const struct runs *runs, int64_t elements,
                         int32_t limit, size_t count, float *extreme)
{
    double *least = malloc(2 * count * sizeof *least + 1), *error = least ? least + count : NULL;
    float *best = malloc(count * sizeof *best + 1);

    for (int step = 0; step < CLIP_STEPS && least && best; step++) {
        float share = 1 - CLIP_STEP * (float) step;

        memset(error, 0, count * sizeof *error);
        clip_errors(w, runs, elements, extreme, share, limit, error);
        for (size_t i = 0; i < count; i++)
            if (step == 0 || error[i] < least[i]) {
                least[i] = error[i];
                best[i] = extreme[i] * share;
            }
    }
    if (least && best)
        memcpy(extreme, best, count * sizeof *best);
    int rc = least && best ? 0 : -ENOMEM;

    free(least);
    free(best);
    return rc;
}

float weight_scale_rounded(float scale)
{
    return pith_bfloat16_to_float(pith_float_to_bfloat16(scale));
}

int weight_scales(const struct pith_tensor *w, const struct weight_grid *grid, float *scale)
{
    int64_t elements = pith_shape_elements(&w->shape);
    struct runs runs = runs_of(w, grid->axis, grid->block_size);
    size_t count = weight_scale_count(w, grid);
    float whole = 0;
    int rc = 0;

    memset(scale, 0, count * sizeof *scale);
    (void) find_extremes(w, &runs, elements, scale); /* only finite weights come here */
    for (size_t i = 0; i < count; i++)
        whole = fmaxf(whole, scale[i]);
    for (size_t i = 0; i < count; i++)
        if ((double) scale[i] < (double) whole * DEAD_CHANNEL)
            scale[i] = whole;
    if (grid->bits < 8)
        rc = clip_extremes(w, &runs, elements, grid->limit, count, scale);
    for (size_t i = 0; i < count; i++) {
        double s = (double) scale[i] / grid->limit;

        scale[i] = s >= LEAST_SCALE ? (float) s : 1.0f;
        if (grid->bits < 8)
            scale[i] = weight_scale_rounded(scale[i]);
    }
    return rc;
}

static void put_level(void *out, unsigned bits, int64_t index, int32_t level)
{
    if (bits == 8)
        ((int8_t *) out)[index] = (int8_t) level;
    else /* two a byte, the first in the low half; memory came zeroed */
        ((uint8_t *) out)[index / 2] |= (uint8_t) ((level & 15) << (index % 2 ? 4 : 0));
}

int weights_to_integers(const struct pith_tensor *w, const struct weight_grid *grid,
                        const float *scale, const int8_t *levels, struct pith_tensor *out,
                        double *out_sqnr_db, struct pith_error *err)
{
    int64_t elements = pith_shape_elements(&w->shape);
    struct runs runs = runs_of(w, grid->axis, grid->block_size);
    double signal = 0, noise = 0;
    int rc = pith_tensor_alloc(out, grid->bits == 4 ? PITH_INT4 : PITH_INT8, &w->shape, err);

    if (rc < 0)
        return rc;
    for (int64_t at = 0; at < elements;) {
        int64_t end = at + run_length(&runs, at);
        float s = scale[scale_of(&runs, at)];
        double run_signal = 0, run_noise = 0;

        for (; at < end; at++) {
            float x = element(w, at);
            int32_t level = levels ? levels[at] : weight_level(x, s, grid->limit);
            double e = (double) x - (double) level * (double) s;

            put_level(out->data, grid->bits, at, level);
            run_signal += (double) x * (double) x;
            run_noise += e * e;
        }
        signal += run_signal;
        noise += run_noise;
    }
    *out_sqnr_db = sqnr_db(signal, noise);
    return 0;
}

int weights_to_halves(const struct pith_tensor *w, int32_t dtype, struct pith_tensor *out,
                      double *out_sqnr_db, struct pith_error *err)
{
    int64_t elements = pith_shape_elements(&w->shape);
    double signal = 0, noise = 0;
    int rc = pith_tensor_alloc(out, dtype, &w->shape, err);

    if (rc < 0)
        return rc;
    uint16_t *half = out->data;

    for (int64_t i = 0; i < elements; i++) {
        float x = element(w, i);

        half[i] = dtype == PITH_FLOAT16 ? pith_float_to_float16(x) : pith_float_to_bfloat16(x);
        float stored = dtype == PITH_FLOAT16 ? pith_float16_to_float(half[i])
                                             : pith_bfloat16_to_float(half[i]);
        double e = (double) x - (double) stored;

        signal += (double) x * (double) x;
        noise += e * e;
    }
    *out_sqnr_db = sqnr_db(signal, noise);
    if (!isfinite(noise) || *out_sqnr_db < LEAST_HALF_SQNR_DB) {
        pith_tensor_free(out);
        return pith_fail(err, -ERANGE, "the weights are too large or too small for %s",
                         pith_dtype_name(dtype));
    }
    return 0;
}

int bias_to_int32(const struct pith_tensor *b, const float *shift, float input_scale,
                  const float *scale, size_t scale_count, struct pith_tensor *out, float *out_scale,
                  struct pith_error *err)
{
    int64_t elements = pith_shape_elements(&b->shape);
    int rc = pith_tensor_alloc(out, PITH_INT32, &b->shape, err);

    if (rc < 0)
        return rc;
    int32_t *q = out->data;

    for (int64_t i = 0; i < elements; i++) {
        float s = input_scale * scale[scale_count == 1 ? 0 : (size_t) i % scale_count];
        double x = (double) element(b, i) + (shift ? (double) shift[i] : 0);
        double level = nearbyint(x / (double) s);

        /* Half of int32: the sum of products needs room beside it. */
        if (!(fabs(level) < 1073741824.0) || s < (float) LEAST_SCALE) {
            pith_tensor_free(out);
            return pith_fail(err, -ERANGE, "bias %lld does not fit 32 bits", (long long) i);
        }
        q[i] = (int32_t) level;
        out_scale[i] = s;
    }
    return 0;
}
