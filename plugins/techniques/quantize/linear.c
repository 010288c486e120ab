/* Convolutions and products in one form, so that what looks at a layer's inputs is written once. */
#include "plugins/techniques/quantize/linear.h"

#include <string.h>

static void read_list(const struct pith_graph *graph, uint32_t node, const char *attribute,
                      size_t count, int64_t otherwise, int64_t *out)
{
    size_t given = 0;
    const int64_t *list = pith_node_ints(graph, node, attribute, &given);

    for (size_t i = 0; i < count; i++)
        out[i] = list && given == count ? list[i] : otherwise;
}

static bool conv_of(const struct pith_graph *graph, uint32_t node, const struct pith_tensor *w,
                    struct linear *out)
{
    const char *auto_pad = pith_node_string(graph, node, "auto_pad", "NOTSET");
    int64_t pads[2 * LINEAR_SPATIAL];

    out->spatial = w->shape.rank - 2;
    out->groups = pith_node_int(graph, node, "group", 1);
    if (out->spatial < 1 || out->spatial > LINEAR_SPATIAL || out->groups < 1 ||
        w->shape.dim[0] % out->groups)
        return false;
    read_list(graph, node, "strides", out->spatial, 1, out->stride);
    read_list(graph, node, "dilations", out->spatial, 1, out->dilation);
    read_list(graph, node, "pads", 2 * out->spatial, 0, pads);
    out->same = !strcmp(auto_pad, "SAME_UPPER") ? 1 : !strcmp(auto_pad, "SAME_LOWER") ? -1 : 0;
    out->rows = w->shape.dim[0] / out->groups;
    out->columns = w->shape.dim[1];
    for (size_t i = 0; i < out->spatial; i++) {
        out->kernel[i] = w->shape.dim[2 + i];
        out->columns *= out->kernel[i];
        out->pad[i][0] = strcmp(auto_pad, "VALID") ? pads[i] : 0;
        out->pad[i][1] = strcmp(auto_pad, "VALID") ? pads[out->spatial + i] : 0;
        if (out->stride[i] < 1 || out->dilation[i] < 1 || out->pad[i][0] < 0 || out->pad[i][1] < 0)
            return false;
    }
    out->row_stride = out->columns;
    out->column_stride = 1;
    return true;
}

bool linear_of(const struct pith_graph *graph, const struct layer *layer, struct linear *out)
{
    const struct pith_tensor *w = pith_value_constant(graph, layer->weight);

    *out = (struct linear){.groups = 1};
    if (!w || layer->weight_input != 1 || pith_shape_elements(&w->shape) < 1)
        return false;
    if (node_is(graph, layer->node, "Conv"))
        return conv_of(graph, layer->node, w, out);
    if (w->shape.rank != 2 ||
        (!node_is(graph, layer->node, "MatMul") &&
         (!node_is(graph, layer->node, "Gemm") || pith_node_int(graph, layer->node, "transA", 0))))
        return false;
    out->rows = w->shape.dim[layer->channel_axis];
    out->columns = w->shape.dim[layer->sum_axis];
    out->row_stride = layer->channel_axis == 0 ? out->columns : 1;
    out->column_stride = layer->channel_axis == 0 ? 1 : out->rows;
    return true;
}

int64_t linear_index(const struct linear *linear, int64_t row, int64_t column)
{
    return row * linear->row_stride + column * linear->column_stride;
}

static bool look_at_axis(const struct linear *linear, size_t i, int64_t in, struct linear_view *out)
{
    int64_t reach = (linear->kernel[i] - 1) * linear->dilation[i] + 1;

    out->in[i] = in;
    if (linear->same) {
        out->out[i] = (in + linear->stride[i] - 1) / linear->stride[i];
        int64_t pad = (out->out[i] - 1) * linear->stride[i] + reach - in;

        pad = pad > 0 ? pad : 0;
        out->before[i] = linear->same > 0 ? pad / 2 : pad - pad / 2;
    } else {
        int64_t room = in + linear->pad[i][0] + linear->pad[i][1] - reach;

        out->out[i] = room < 0 ? 0 : room / linear->stride[i] + 1;
        out->before[i] = linear->pad[i][0];
    }
    return out->out[i] > 0;
}

bool linear_look(const struct linear *linear, const struct pith_shape *shape,
                 struct linear_view *out)
{
    *out = (struct linear_view){.linear = linear, .positions = 1};
    if (linear->spatial == 0) {
        if (shape->rank < 1 || shape->dim[shape->rank - 1] != linear->columns)
            return false;
        for (uint32_t i = 0; i + 1 < shape->rank; i++)
            out->positions *= shape->dim[i];
        return out->positions > 0;
    }
    int64_t taps = 1;

    for (size_t i = 0; i < linear->spatial; i++)
        taps *= linear->kernel[i];
    if (shape->rank != linear->spatial + 2 ||
        shape->dim[1] != linear->groups * (linear->columns / taps))
        return false;
    out->batch = out->positions = shape->dim[0];
    out->channels = shape->dim[1];
    for (size_t i = 0; i < linear->spatial; i++) {
        if (!look_at_axis(linear, i, shape->dim[2 + i], out))
            return false;
        out->positions *= out->out[i];
    }
    return out->positions > 0;
}

/* Walks the kernel's taps in order, last axis fastest; where a tap lies outside, it is 0. */
static void gather_taps(const struct linear_view *view, const float *channel, const int64_t *origin,
                        size_t axis, int64_t offset, bool inside, float **out)
{
    const struct linear *linear = view->linear;

    for (int64_t k = 0; k < linear->kernel[axis]; k++) {
        int64_t at = origin[axis] + k * linear->dilation[axis];
        bool in = inside && at >= 0 && at < view->in[axis];
        int64_t index = offset * view->in[axis] + at;

        if (axis + 1 < linear->spatial)
            gather_taps(view, channel, origin, axis + 1, in ? index : 0, in, out);
        else
            *(*out)++ = in ? channel[index] : 0;
    }
}

void linear_gather(const struct linear_view *view, const float *x, int64_t at, int64_t group,
                   float *out)
{
    const struct linear *linear = view->linear;
    int64_t origin[LINEAR_SPATIAL], plane = 1, inputs = view->channels / linear->groups;

    if (linear->spatial == 0) {
        memcpy(out, x + at * linear->columns, (size_t) linear->columns * sizeof *out);
        return;
    }
    for (size_t i = linear->spatial; i-- > 0;) {
        origin[i] = at % view->out[i] * linear->stride[i] - view->before[i];
        at /= view->out[i];
        plane *= view->in[i];
    }
    for (int64_t c = 0; c < inputs; c++)
        gather_taps(view, x + (at * view->channels + group * inputs + c) * plane, origin, 0, 0,
                    true, &out);
}
