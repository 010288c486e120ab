/* Weights as integers or halves. Constants may lie unaligned in a mapped file, so elements are read
 * by memcpy. */
#include "plugins/techniques/quantize/weights.h"

#include "plugins/techniques/quantize/range.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define DEAD_CHANNEL                                                                               \
    1e-9 /* of the whole's extreme: such a channel is rounding noise of whoever trained it */
#define LEAST_SCALE                                                                                \
    1e-37 /* below it a scale is no normal float; such a channel is all zero in effect */

static float element(const struct pith_tensor *w, int64_t index)
{
    float x;

    memcpy(&x, (const uint8_t *) w->data + (size_t) index * sizeof x, sizeof x);
    return x;
}

/* Element i lies in channel (i / inner) % channels. */
static void layout(const struct pith_tensor *w, int32_t axis, int64_t *channels, int64_t *inner)
{
    *channels = 1;
    *inner = 1;
    if (axis < 0)
        return;
    *channels = w->shape.dim[axis];
    for (uint32_t i = (uint32_t) axis + 1; i < w->shape.rank; i++)
        *inner *= w->shape.dim[i];
}

/* max|w| of one channel. */
static float channel_extreme(const struct pith_tensor *w, int64_t elements, int64_t channels,
                             int64_t inner, int64_t channel)
{
    float extreme = 0;

    for (int64_t block = channel * inner; block < elements; block += channels * inner)
        for (int64_t i = block; i < block + inner; i++)
            extreme = fmaxf(extreme, fabsf(element(w, i)));
    return extreme;
}

void weights_look(const struct pith_tensor *w, int32_t axis, struct weight_facts *out)
{
    int64_t elements = pith_shape_elements(&w->shape), channels, inner;
    float least = INFINITY, greatest = 0;

    layout(w, axis, &channels, &inner);
    *out = (struct weight_facts){.elements = elements, .channels = (size_t) channels, .finite = 1};
    for (int64_t i = 0; i < elements; i++)
        if (!isfinite(element(w, i)))
            out->finite = 0;
    if (axis < 0)
        inner = elements;
    for (int64_t c = 0; c < channels && elements > 0; c++) {
        float extreme = channel_extreme(w, elements, channels, inner, c);

        if (extreme > 0)
            least = fminf(least, extreme);
        greatest = fmaxf(greatest, extreme);
    }
    out->channel_ratio = greatest > 0 ? (double) greatest / (double) least : 1;
}

/* The scale of each channel. One that is dead takes the whole's, and so becomes zeros. */
static void choose_scales(const struct pith_tensor *w, int64_t elements, int64_t channels,
                          int64_t inner, int32_t limit, float *scale)
{
    float whole = 0;

    for (int64_t c = 0; c < channels; c++) {
        scale[c] = channel_extreme(w, elements, channels, inner, c);
        whole = fmaxf(whole, scale[c]);
    }
    for (int64_t c = 0; c < channels; c++) {
        double s = (double) scale[c] / limit;

        if (s < (double) whole / limit * DEAD_CHANNEL)
            s = (double) whole / limit;
        scale[c] = s >= LEAST_SCALE ? (float) s : 1.0f;
    }
}

int weights_to_int8(const struct pith_tensor *w, int32_t axis, int32_t limit,
                    struct pith_tensor *out, float *scale, double *out_sqnr_db,
                    struct pith_error *err)
{
    int64_t elements = pith_shape_elements(&w->shape), channels, inner;
    double signal = 0, noise = 0;
    int rc = pith_tensor_alloc(out, PITH_INT8, &w->shape, err);

    if (rc < 0)
        return rc;
    int8_t *q = out->data;

    layout(w, axis, &channels, &inner);
    if (axis < 0)
        inner = elements;
    choose_scales(w, elements, channels, inner, limit, scale);
    for (int64_t c = 0; c < channels; c++)
        for (int64_t block = c * inner; block < elements; block += channels * inner)
            for (int64_t i = block; i < block + inner; i++) {
                double x = element(w, i);
                double level = nearbyint(x / (double) scale[c]);

                level = fmin(fmax(level, -limit), limit);
                q[i] = (int8_t) level;
                signal += x * x;
                noise += (x - level * (double) scale[c]) * (x - level * (double) scale[c]);
            }
    *out_sqnr_db = sqnr_db(signal, noise);
    return 0;
}

int weights_to_float16(const struct pith_tensor *w, struct pith_tensor *out, double *out_sqnr_db,
                       struct pith_error *err)
{
    int64_t elements = pith_shape_elements(&w->shape);
    double signal = 0, noise = 0;
    int rc = pith_tensor_alloc(out, PITH_FLOAT16, &w->shape, err);

    if (rc < 0)
        return rc;
    uint16_t *half = out->data;

    for (int64_t i = 0; i < elements; i++) {
        float x = element(w, i);

        half[i] = pith_float_to_float16(x);
        double e = (double) x - (double) pith_float16_to_float(half[i]);

        signal += (double) x * (double) x;
        noise += e * e;
    }
    *out_sqnr_db = sqnr_db(signal, noise);
    if (!isfinite(noise)) {
        pith_tensor_free(out);
        return pith_fail(err, -ERANGE, "a weight is past 65504, the greatest float16");
    }
    return 0;
}

int bias_to_int32(const struct pith_tensor *b, float input_scale, const float *scale,
                  size_t scale_count, struct pith_tensor *out, float *out_scale,
                  struct pith_error *err)
{
    int64_t elements = pith_shape_elements(&b->shape);
    int rc = pith_tensor_alloc(out, PITH_INT32, &b->shape, err);

    if (rc < 0)
        return rc;
    int32_t *q = out->data;

    for (int64_t i = 0; i < elements; i++) {
        float s = input_scale * scale[scale_count == 1 ? 0 : (size_t) i % scale_count];
        double level = nearbyint((double) element(b, i) / (double) s);

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
