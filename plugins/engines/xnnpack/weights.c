/* Constants in the order and type that XNNPACK wants: int8 with a scale a channel, int32 biases on
 * the grid of input times weight, or float32. */
#include "plugins/engines/xnnpack/subgraph.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Memory that lives until the runtime is made. */
static void *keep(struct subgraph *s, size_t bytes)
{
    void *memory;

    if (s->constant_count == s->constant_capacity) {
        const size_t capacity = s->constant_capacity ? 2 * s->constant_capacity : 64;
        void *grown = realloc(s->constants, capacity * sizeof *s->constants);

        if (!grown)
            return NULL;
        s->constants = grown;
        s->constant_capacity = capacity;
    }
    memory = calloc(1, bytes + XNN_EXTRA_BYTES); /* it may read past the end */
    if (memory)
        s->constants[s->constant_count++] = memory;
    return memory;
}

/* The scale and zero point of one element, given its index on the quantization's axis. */
static double real_of(const struct pith_tensor *tensor, const struct pith_quantization *q,
                      int64_t at, size_t channel)
{
    const double stored = pith_tensor_get(tensor, at);

    if (!q)
        return stored;
    return q->scale[q->count > 1 ? channel : 0] *
           (stored - q->zero_point[q->count > 1 ? channel : 0]);
}

/* Whether int8 weights are as XNNPACK computes with them: symmetric, no blocks, scales along the
 * output channels. */
static const char *integer_fault(const struct subgraph *s, const struct weights_wanted *w)
{
    const struct pith_quantization *q = pith_value_quantization(s->graph, w->value);

    if (!q || q->dtype != PITH_INT8 || q->block_size)
        return "its input is quantized and its weights are not int8";
    if (q->count > 1 && q->count != w->channels)
        return "its weights' scales are not those of output channels";
    for (size_t i = 0; i < q->count; i++)
        if (q->zero_point[i] != 0)
            return "its weights have a zero point";
    return NULL;
}

static int64_t element_at(const struct weights_wanted *w, size_t index, size_t *out_channel)
{
    int64_t at = 0;

    for (uint32_t axis = w->rank; axis-- > 0;) {
        const size_t i = index % w->dims[axis];

        index /= w->dims[axis];
        at += (int64_t) i * w->strides[axis];
        if (axis == w->channel_axis)
            *out_channel = i;
    }
    return at;
}

static size_t element_count(const struct weights_wanted *w)
{
    size_t count = 1;

    for (uint32_t axis = 0; axis < w->rank; axis++)
        count *= w->dims[axis];
    return count;
}

static int float_weights(struct subgraph *s, const struct weights_wanted *w, uint32_t *out,
                         const char **why)
{
    const struct pith_tensor *tensor = pith_value_constant(s->graph, w->value);
    const struct pith_quantization *q = pith_value_quantization(s->graph, w->value);
    const size_t count = element_count(w);
    float *data = keep(s, count * sizeof *data);

    if (!data)
        return -ENOMEM;
    if (q && (q->block_size || (q->count > 1 && q->count != w->channels))) {
        *why = "its weights' scales are not those of output channels";
        return -ENOTSUP;
    }
    for (size_t i = 0; i < count; i++) {
        size_t channel = 0;
        const int64_t at = element_at(w, i, &channel);

        data[i] = (float) real_of(tensor, q, at, channel);
    }
    s->weight_bytes += count * sizeof *data;
    return subgraph_status(xnnpack.define_tensor_value(s->made, xnn_datatype_fp32, w->rank, w->dims,
                                                   data, XNN_INVALID_VALUE_ID, 0, out),
                           why);
}

/* scales: one for each output channel. */
static int integer_weights(struct subgraph *s, const struct weights_wanted *w, const float *scales,
                           uint32_t *out, const char **why)
{
    const struct pith_tensor *tensor = pith_value_constant(s->graph, w->value);
    const size_t count = element_count(w);
    int8_t *data = keep(s, count);

    if (!data)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        size_t channel = 0;

        data[i] = ((const int8_t *) tensor->data)[element_at(w, i, &channel)];
    }
    s->weight_bytes += count;
    return subgraph_status(xnnpack.define_channelwise_quantized_tensor_value(
                               s->made, xnn_datatype_qcint8, scales, w->rank, w->channel_axis,
                               w->dims, data, XNN_INVALID_VALUE_ID, 0, out),
                           why);
}

static double bias_at(const struct subgraph *s, uint32_t bias, size_t channel)
{
    if (bias == PITH_NO_VALUE)
        return 0;
    return real_of(pith_value_constant(s->graph, bias), pith_value_quantization(s->graph, bias),
                   (int64_t) channel, channel);
}

static int float_bias(struct subgraph *s, const struct weights_wanted *w, uint32_t *out,
                      const char **why)
{
    float *data = keep(s, w->channels * sizeof *data);

    if (!data)
        return -ENOMEM;
    for (size_t i = 0; i < w->channels; i++)
        data[i] = (float) bias_at(s, w->bias, i);
    return subgraph_status(xnnpack.define_tensor_value(s->made, xnn_datatype_fp32, 1, &w->channels,
                                                   data, XNN_INVALID_VALUE_ID, 0, out),
                           why);
}

/* scales: of input times weight, one for each output channel. */
static int integer_bias(struct subgraph *s, const struct weights_wanted *w, const float *scales,
                        uint32_t *out, const char **why)
{
    int32_t *data = keep(s, w->channels * sizeof *data);

    if (!data)
        return -ENOMEM;
    for (size_t i = 0; i < w->channels; i++)
        data[i] =
            (int32_t) fmax(INT32_MIN, fmin(INT32_MAX, rint(bias_at(s, w->bias, i) / scales[i])));
    return subgraph_status(xnnpack.define_channelwise_quantized_tensor_value(
                               s->made, xnn_datatype_qcint32, scales, 1, 0, &w->channels, data,
                               XNN_INVALID_VALUE_ID, 0, out),
                           why);
}

static int integers(struct subgraph *s, const struct weights_wanted *w, uint32_t *out_filter,
                    uint32_t *out_bias, const char **why)
{
    const struct pith_quantization *of_weights = pith_value_quantization(s->graph, w->value);
    float *scales, *products;
    int rc;

    *why = integer_fault(s, w);
    if (*why)
        return -ENOTSUP;
    scales = keep(s, w->channels * sizeof *scales);
    products = keep(s, w->channels * sizeof *products);
    if (!scales || !products)
        return -ENOMEM;
    for (size_t i = 0; i < w->channels; i++) {
        scales[i] = of_weights->scale[of_weights->count > 1 ? i : 0];
        products[i] = scales[i] * s->values[w->input].scale;
    }
    rc = integer_weights(s, w, scales, out_filter, why);
    return rc < 0 ? rc : integer_bias(s, w, products, out_bias, why);
}

int subgraph_weights(struct subgraph *s, const struct weights_wanted *w, uint32_t *out_filter,
                     uint32_t *out_bias, const char **why)
{
    int rc;

    if (!pith_value_constant(s->graph, w->value) ||
        (w->bias != PITH_NO_VALUE && !pith_value_constant(s->graph, w->bias))) {
        *why = "its weights or bias are no constants";
        return -ENOTSUP;
    }
    if (w->quantized)
        return integers(s, w, out_filter, out_bias, why);
    rc = float_weights(s, w, out_filter, why);
    return rc < 0 ? rc : float_bias(s, w, out_bias, why);
}
