/* What each operator becomes. Values of rank 4 that operators on pictures touch are channels-last;
 * a node is computed on integers where its inputs and its output are on a grid, else in float32. */
#include "plugins/engines/xnnpack/subgraph.h"

#include <errno.h>
#include <math.h>
#include <string.h>

struct work { /* one node under way */
    struct subgraph *s;
    const struct pith_graph *graph;
    uint32_t node;
    uint32_t x, y;   /* first input and output */
    float low, high; /* of an activation that is taken in */
    const char **why;
};

static int not_here(const struct work *w, const char *why)
{
    *w->why = why;
    return -ENOTSUP;
}

static bool constant_number(const struct pith_graph *graph, uint32_t value, float *out)
{
    const struct pith_tensor *tensor =
        value == PITH_NO_VALUE ? NULL : pith_value_constant(graph, value);

    if (value == PITH_NO_VALUE)
        return true; /* left out: no bound */
    if (!tensor || tensor->dtype != PITH_FLOAT32 || pith_value_quantization(graph, value) ||
        pith_shape_elements(&tensor->shape) != 1)
        return false;
    *out = (float) pith_tensor_get(tensor, 0);
    return true;
}

/* Bounds of Relu or Clip. */
static bool bounds_of(const struct pith_graph *graph, uint32_t node, float *low, float *high)
{
    const char *op = pith_node_op(graph, node);

    *low = -INFINITY;
    *high = INFINITY;
    if (strcmp(op, "Relu") == 0) {
        *low = 0;
        return true;
    }
    if (strcmp(op, "Clip") != 0)
        return false;
    *low = pith_node_float(graph, node, "min", *low);
    *high = pith_node_float(graph, node, "max", *high);
    return constant_number(graph, pith_node_input(graph, node, 1), low) &&
           constant_number(graph, pith_node_input(graph, node, 2), high) && *low < *high;
}

/* An activation that alone uses the output, unrounded, becomes a part of this node. */
static void take_activation(struct work *w)
{
    size_t count = 0;
    const uint32_t *users = pith_value_users(w->graph, w->y, &count);
    float low, high;

    if (count != 1 || users[0] == PITH_NO_NODE || pith_value_use_count(w->graph, w->y) != 1 ||
        pith_value_is_output(w->graph, w->y) || pith_value_quantization(w->graph, w->y) ||
        !bounds_of(w->graph, users[0], &low, &high) ||
        pith_node_input(w->graph, users[0], 0) != w->y)
        return;
    w->low = low;
    w->high = high;
    w->y = pith_node_output(w->graph, users[0], 0);
    w->s->skip = users[0];
}

static bool is_quantized(const struct work *w, uint32_t value)
{
    return value != PITH_NO_VALUE && w->s->values[value].id != XNN_INVALID_VALUE_ID &&
           w->s->values[value].quantized;
}

/* Integers in and out; else the node is computed in float32. */
static bool on_integers(const struct work *w)
{
    struct xnn_value grid;

    return is_quantized(w, w->x) && subgraph_grid(w->s, w->y, &grid);
}

/* Input and output of a node that computes on integers or in float32, before it is defined. */
static int open_ports(struct work *w, bool channels_last, bool integers, uint32_t *x, uint32_t *y)
{
    int rc = subgraph_read(w->s, w->x, channels_last, integers, x, w->why);

    if (rc < 0)
        return rc;
    return integers ? subgraph_write(w->s, w->y, channels_last, y, w->why)
                    : subgraph_write_float(w->s, w->y, channels_last, y, w->why);
}

/* ---- windows ---- */

struct window {
    uint32_t kernel[2], strides[2], dilations[2], pads[4]; /* top, left, bottom, right */
};

static int read_pair(const struct work *w, const char *name, uint32_t *out, size_t wanted,
                     uint32_t otherwise)
{
    size_t count = 0;
    const int64_t *ints = pith_node_ints(w->graph, w->node, name, &count);

    for (size_t i = 0; i < wanted; i++) {
        if (ints && (count != wanted || ints[i] < 0 || ints[i] > INT32_MAX))
            return not_here(w, "its window is not two-dimensional");
        out[i] = ints ? (uint32_t) ints[i] : otherwise;
    }
    return 0;
}

static int read_window(const struct work *w, struct window *out)
{
    const char *auto_pad = pith_node_string(w->graph, w->node, "auto_pad", "NOTSET");
    int rc = read_pair(w, "strides", out->strides, 2, 1);

    if (rc == 0)
        rc = read_pair(w, "dilations", out->dilations, 2, 1);
    if (rc == 0)
        rc = read_pair(w, "pads", out->pads, 4, 0);
    if (rc == 0 && strcmp(auto_pad, "NOTSET") != 0 && strcmp(auto_pad, "VALID") != 0)
        rc = not_here(w, "auto_pad asks for padding by itself");
    if (rc == 0 && pith_node_int(w->graph, w->node, "ceil_mode", 0) != 0)
        rc = not_here(w, "ceil_mode is not 0");
    return rc;
}

static int define_conv(struct work *w, const struct window *win,
                       const struct weights_wanted *weights, uint32_t groups, bool depthwise)
{
    uint32_t x, y, filter, bias;
    const size_t channels = (size_t) pith_value_shape(w->graph, w->x)->dim[1];
    int rc = subgraph_weights(w->s, weights, &filter, &bias, w->why);

    if (rc == 0)
        rc = open_ports(w, true, weights->quantized, &x, &y);
    if (rc < 0)
        return rc;
    if (depthwise)
        rc = subgraph_status(xnnpack.define_depthwise_convolution_2d(
                                 w->s->made, win->pads[0], win->pads[3], win->pads[2], win->pads[1],
                                 win->kernel[0], win->kernel[1], win->strides[0], win->strides[1],
                                 win->dilations[0], win->dilations[1],
                                 (uint32_t) (weights->channels / channels), channels, w->low,
                                 w->high, x, filter, bias, y, 0),
                             w->why);
    else
        rc =
            subgraph_status(xnnpack.define_convolution_2d(
                                w->s->made, win->pads[0], win->pads[3], win->pads[2], win->pads[1],
                                win->kernel[0], win->kernel[1], win->strides[0], win->strides[1],
                                win->dilations[0], win->dilations[1], groups, channels / groups,
                                weights->channels / groups, w->low, w->high, x, filter, bias, y, 0),
                            w->why);
    return rc == 0 ? subgraph_written(w->s, w->y, w->why) : rc;
}

static int node_conv(struct work *w)
{
    const uint32_t filter = pith_node_input(w->graph, w->node, 1);
    const struct pith_shape *in = pith_value_shape(w->graph, w->x),
                            *shape = pith_value_shape(w->graph, filter);
    const int64_t groups = pith_node_int(w->graph, w->node, "group", 1);
    struct window win;
    int rc;

    if (!shape || shape->rank != 4 || !in || in->rank != 4)
        return not_here(w, "it is not two-dimensional");
    rc = read_window(w, &win);
    if (rc < 0)
        return rc;
    take_activation(w);
    const size_t out = (size_t) shape->dim[0], per_group = (size_t) shape->dim[1],
                 height = (size_t) shape->dim[2], width = (size_t) shape->dim[3];
    const int64_t taps = (int64_t) (height * width);
    const bool depthwise = groups > 1 && groups == in->dim[1] && per_group == 1;
    struct weights_wanted weights = {
        .value = filter,
        .bias = pith_node_input(w->graph, w->node, 2),
        .input = w->x,
        .quantized = on_integers(w),
        .rank = 4,
        .channels = out,
        .dims = {out, height, width, per_group},
        .strides = {(int64_t) per_group * taps, (int64_t) width, 1, taps}};

    if (depthwise)
        weights = (struct weights_wanted){weights.value,
                                          weights.bias,
                                          weights.input,
                                          weights.quantized,
                                          4,
                                          {1, height, width, out},
                                          {0, (int64_t) width, 1, taps},
                                          3,
                                          out};
    win.kernel[0] = (uint32_t) height;
    win.kernel[1] = (uint32_t) width;
    return define_conv(w, &win, &weights, (uint32_t) groups, depthwise);
}

static int node_pool(struct work *w)
{
    const bool max = strcmp(pith_node_op(w->graph, w->node), "MaxPool") == 0;
    const struct pith_shape *in = pith_value_shape(w->graph, w->x);
    struct window win;
    uint32_t x, y;
    int rc = read_window(w, &win);

    if (rc == 0)
        rc = read_pair(w, "kernel_shape", win.kernel, 2, 1);
    if (rc == 0 && (!in || in->rank != 4))
        rc = not_here(w, "it is not two-dimensional");
    if (rc < 0)
        return rc;
    if (max) {
        if (pith_node_output_count(w->graph, w->node) > 1)
            return not_here(w, "its indices are asked for");
        rc = subgraph_read(w->s, w->x, true, is_quantized(w, w->x), &x, w->why);
        if (rc == 0)
            rc = subgraph_write_like(w->s, w->y, w->x, true, &y, w->why);
        return rc < 0 ? rc
                      : subgraph_status(xnnpack.define_max_pooling_2d(
                                            w->s->made, win.pads[0], win.pads[3], win.pads[2],
                                            win.pads[1], win.kernel[0], win.kernel[1],
                                            win.strides[0], win.strides[1], win.dilations[0],
                                            win.dilations[1], w->low, w->high, x, y, 0),
                                        w->why);
    }
    if (win.pads[0] | win.pads[1] | win.pads[2] | win.pads[3])
        return not_here(w, "it averages over padding");
    const bool whole = win.kernel[0] == in->dim[2] && win.kernel[1] == in->dim[3];
    const bool integers = whole && on_integers(w); /* windows of integers it has not */

    rc = open_ports(w, true, integers, &x, &y);
    if (rc < 0)
        return rc;
    rc = subgraph_status(
        whole ? xnnpack.define_global_average_pooling_2d(w->s->made, w->low, w->high, x, y, 0)
              : xnnpack.define_average_pooling_2d(w->s->made, 0, 0, 0, 0, win.kernel[0], win.kernel[1],
                                              win.strides[0], win.strides[1], w->low, w->high, x, y,
                                              0),
        w->why);
    return rc == 0 ? subgraph_written(w->s, w->y, w->why) : rc;
}

static int node_global_average(struct work *w)
{
    const struct pith_shape *in = pith_value_shape(w->graph, w->x);
    uint32_t x, y;
    int rc;

    if (!in || in->rank != 4)
        return not_here(w, "it is not two-dimensional");
    rc = open_ports(w, true, on_integers(w), &x, &y);
    if (rc == 0)
        rc = subgraph_status(
            xnnpack.define_global_average_pooling_2d(w->s->made, w->low, w->high, x, y, 0), w->why);
    return rc == 0 ? subgraph_written(w->s, w->y, w->why) : rc;
}

/* ---- dense ---- */

static int define_rows(struct work *w, const struct xnn_value *grid, size_t rows, size_t channels,
                       uint32_t *out)
{
    const size_t dims[4] = {rows, 1, 1, channels};

    return subgraph_status(xnnpack.define_quantized_tensor_value(w->s->made, xnn_datatype_qint8,
                                                             grid->zero_point, grid->scale, 4, dims,
                                                             NULL, XNN_INVALID_VALUE_ID, 0, out),
                           w->why);
}

/* Its dense layers of integers have one scale for all weights; its convolutions one a channel, and
 * each row of the input is a picture of one point. */
static int dense_by_conv(struct work *w, uint32_t x, uint32_t filter, uint32_t bias, uint32_t y,
                         size_t taps, size_t out)
{
    const struct pith_shape *shape = pith_value_shape(w->graph, w->y);
    const size_t rows = (size_t) pith_shape_elements(shape) / out;
    const struct xnn_value from = w->s->values[w->x], to = w->s->values[w->y];
    const size_t in_dims[4] = {rows, 1, 1, taps};
    size_t out_dims[PITH_MAX_RANK];
    uint32_t picture, result;
    int rc = define_rows(w, &from, rows, taps, &picture);

    for (uint32_t i = 0; i < shape->rank; i++)
        out_dims[i] = (size_t) shape->dim[i];
    if (rc == 0)
        rc = define_rows(w, &to, rows, out, &result);
    if (rc == 0)
        rc = subgraph_status(xnnpack.define_static_reshape(w->s->made, 4, in_dims, x, picture, 0),
                             w->why);
    if (rc == 0)
        rc = subgraph_status(xnnpack.define_convolution_2d(w->s->made, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1,
                                                       taps, out, w->low, w->high, picture, filter,
                                                       bias, result, 0),
                             w->why);
    return rc < 0 ? rc
                  : subgraph_status(
                        xnnpack.define_static_reshape(w->s->made, shape->rank, out_dims, result, y, 0),
                        w->why);
}

static int node_dense(struct work *w)
{
    const bool gemm = strcmp(pith_node_op(w->graph, w->node), "Gemm") == 0;
    const bool transposed = gemm && pith_node_int(w->graph, w->node, "transB", 0) != 0;
    const uint32_t filter = pith_node_input(w->graph, w->node, 1),
                   bias = gemm ? pith_node_input(w->graph, w->node, 2) : PITH_NO_VALUE;
    const struct pith_shape *shape = pith_value_shape(w->graph, filter),
                            *in = pith_value_shape(w->graph, w->x),
                            *bias_shape =
                                bias == PITH_NO_VALUE ? NULL : pith_value_shape(w->graph, bias);
    uint32_t x, y, filter_id, bias_id;
    int rc;

    if (gemm && (pith_node_int(w->graph, w->node, "transA", 0) != 0 ||
                 pith_node_float(w->graph, w->node, "alpha", 1) != 1 ||
                 (bias != PITH_NO_VALUE && pith_node_float(w->graph, w->node, "beta", 1) != 1)))
        return not_here(w, "it has transA, alpha or beta");
    if (!shape || shape->rank != 2 || !in || in->rank < 1)
        return not_here(w, "its weights are no matrix");
    const int64_t out = shape->dim[transposed ? 0 : 1], taps = shape->dim[transposed ? 1 : 0];

    if (bias_shape && pith_shape_elements(bias_shape) != out)
        return not_here(w, "its bias is not one number an output");
    take_activation(w);
    struct weights_wanted weights = {.value = filter,
                                     .bias = bias,
                                     .input = w->x,
                                     .quantized = on_integers(w),
                                     .rank = 2,
                                     .channels = (size_t) out,
                                     .dims = {(size_t) out, (size_t) taps},
                                     .strides = {transposed ? taps : 1, transposed ? 1 : out}};

    if (weights.quantized) { /* as a convolution's */
        weights.rank = 4;
        weights.dims[1] = weights.dims[2] = 1;
        weights.dims[3] = (size_t) taps;
        weights.strides[3] = weights.strides[1];
        weights.strides[1] = weights.strides[2] = 0;
    }
    rc = subgraph_weights(w->s, &weights, &filter_id, &bias_id, w->why);
    if (rc == 0)
        rc = open_ports(w, false, weights.quantized, &x, &y);
    if (rc == 0 && weights.quantized)
        return dense_by_conv(w, x, filter_id, bias_id, y, (size_t) taps, (size_t) out);
    if (rc == 0)
        rc = subgraph_status(
            xnnpack.define_fully_connected(w->s->made, w->low, w->high, x, filter_id, bias_id, y, 0),
            w->why);
    return rc == 0 ? subgraph_written(w->s, w->y, w->why) : rc;
}

/* ---- element by element ---- */

static int node_binary(struct work *w)
{
    const uint32_t b = pith_node_input(w->graph, w->node, 1);
    const struct pith_shape *shape = pith_value_shape(w->graph, w->x),
                            *other = b == PITH_NO_VALUE ? NULL : pith_value_shape(w->graph, b);
    const bool adds = strcmp(pith_node_op(w->graph, w->node), "Add") == 0;
    uint32_t x, y, second;
    int rc;

    if (!shape || !other || !pith_shape_equal(shape, other))
        return not_here(w, "its inputs differ in shape");
    take_activation(w);
    const bool integers = on_integers(w) && is_quantized(w, b),
               channels_last = w->s->values[w->x].channels_last;

    rc = subgraph_read(w->s, b, channels_last, integers, &second, w->why);
    if (rc == 0)
        rc = open_ports(w, channels_last, integers, &x, &y);
    if (rc == 0)
        rc = subgraph_status(
            adds ? xnnpack.define_add2(w->s->made, w->low, w->high, x, second, y, 0)
                 : xnnpack.define_multiply2(w->s->made, w->low, w->high, x, second, y, 0),
            w->why);
    return rc == 0 ? subgraph_written(w->s, w->y, w->why) : rc;
}

static int node_unary(struct work *w) /* in float32, whatever comes */
{
    const char *op = pith_node_op(w->graph, w->node);
    const struct pith_shape *shape = pith_value_shape(w->graph, w->x);
    const bool softmax = strcmp(op, "Softmax") == 0;
    const bool channels_last = w->s->values[w->x].channels_last && !softmax;
    uint32_t x, y;
    int rc;

    if (!bounds_of(w->graph, w->node, &w->low, &w->high) &&
        (strcmp(op, "Relu") == 0 || strcmp(op, "Clip") == 0))
        return not_here(w, "its bounds are no constants");
    if (softmax && shape) {
        const int64_t axis =
            pith_node_int(w->graph, w->node, "axis", pith_graph_opset(w->graph, "") >= 13 ? -1 : 1);

        if ((axis < 0 ? axis + shape->rank : axis) != (int64_t) shape->rank - 1)
            return not_here(w, "its axis is not the last");
    }
    rc = open_ports(w, channels_last, false, &x, &y);
    if (rc < 0)
        return rc;
    if (softmax)
        rc = subgraph_status(xnnpack.define_softmax(w->s->made, x, y, 0), w->why);
    else if (strcmp(op, "Sigmoid") == 0)
        rc = subgraph_status(xnnpack.define_sigmoid(w->s->made, x, y, 0), w->why);
    else if (strcmp(op, "LeakyRelu") == 0)
        rc = subgraph_status(
            xnnpack.define_leaky_relu(w->s->made, pith_node_float(w->graph, w->node, "alpha", 0.01F), x,
                                  y, 0),
            w->why);
    else
        rc = subgraph_status(xnnpack.define_clamp(w->s->made, w->low, w->high, x, y, 0), w->why);
    return rc == 0 ? subgraph_written(w->s, w->y, w->why) : rc;
}

/* ---- what only moves ---- */

static int node_reshape(struct work *w)
{
    const struct pith_shape *shape = pith_value_shape(w->graph, w->y);
    size_t dims[PITH_MAX_RANK];
    uint32_t x, y;
    int rc;

    if (!shape || !pith_shape_known(shape) || shape->rank > XNN_MAX_TENSOR_DIMS)
        return not_here(w, "its shape is not known, or has too many dimensions");
    for (uint32_t i = 0; i < shape->rank; i++)
        dims[i] = (size_t) shape->dim[i];
    rc = subgraph_read(w->s, w->x, false, is_quantized(w, w->x), &x, w->why);
    if (rc == 0)
        rc = subgraph_write_like(w->s, w->y, w->x, false, &y, w->why);
    return rc < 0 ? rc
                  : subgraph_status(
                        xnnpack.define_static_reshape(w->s->made, shape->rank, dims, x, y, 0), w->why);
}

/* Between the two orders of a picture: nothing moves. */
static int node_transpose(struct work *w)
{
    static const int64_t to_last[4] = {0, 2, 3, 1}, to_first[4] = {0, 3, 1, 2};
    size_t count = 0;
    const int64_t *perm = pith_node_ints(w->graph, w->node, "perm", &count);
    const struct xnn_value *from = w->x == PITH_NO_VALUE ? NULL : &w->s->values[w->x];

    if (from && from->id != XNN_INVALID_VALUE_ID && perm && count == 4) {
        if (from->channels_last && memcmp(perm, to_last, sizeof to_last) == 0)
            return subgraph_write_like(w->s, w->y, w->x, false, NULL, w->why);
        if (!from->channels_last && memcmp(perm, to_first, sizeof to_first) == 0)
            return subgraph_write_like(w->s, w->y, w->x, true, NULL, w->why);
    }
    return not_here(w, "it is not between the two orders of a picture");
}

static int node_dequantize(struct work *w)
{
    if (w->x == PITH_NO_VALUE || !pith_value_is_input(w->graph, w->x) || !is_quantized(w, w->x))
        return not_here(w, "its integers are no input of the graph");
    return subgraph_write_like(w->s, w->y, w->x, w->s->values[w->x].channels_last, NULL, w->why);
}

static int node_quantize(struct work *w)
{
    struct xnn_value grid;
    uint32_t x;
    int rc;

    if (!pith_value_is_output(w->graph, w->y) || !subgraph_stated_grid(w->s, w->node, &grid))
        return not_here(w, "its integers are no output of the graph, or not of 8 bits");
    if (w->x == PITH_NO_VALUE || w->s->values[w->x].id == XNN_INVALID_VALUE_ID)
        return not_here(w, "its input is a constant");
    w->s->values[w->y] = w->s->values[w->x];
    if (w->s->values[w->x].quantized) {
        struct xnn_value held = w->s->values[w->x];

        if (held.scale == grid.scale && held.zero_point == grid.zero_point)
            return 0;
        rc = subgraph_read(w->s, w->x, held.channels_last, false, &x, w->why);
        if (rc < 0)
            return rc;
        w->s->values[w->y] = (struct xnn_value){.id = x, .channels_last = held.channels_last};
    }
    return subgraph_convert(w->s, w->y, &grid, w->why);
}

static const struct {
    const char *op;
    int (*define)(struct work *w);
} operators[] = {
    {"Conv", node_conv},
    {"Gemm", node_dense},
    {"MatMul", node_dense},
    {"MaxPool", node_pool},
    {"AveragePool", node_pool},
    {"GlobalAveragePool", node_global_average},
    {"Add", node_binary},
    {"Mul", node_binary},
    {"Relu", node_unary},
    {"Clip", node_unary},
    {"LeakyRelu", node_unary},
    {"Sigmoid", node_unary},
    {"Softmax", node_unary},
    {"Reshape", node_reshape},
    {"Flatten", node_reshape},
    {"Squeeze", node_reshape},
    {"Unsqueeze", node_reshape},
    {"Transpose", node_transpose},
    {"DequantizeLinear", node_dequantize},
    {"QuantizeLinear", node_quantize},
};

int subgraph_node(struct subgraph *s, uint32_t node, const char **why)
{
    struct work w = {.s = s,
                     .graph = s->graph,
                     .node = node,
                     .x = pith_node_input(s->graph, node, 0),
                     .y = pith_node_output(s->graph, node, 0),
                     .low = -INFINITY,
                     .high = INFINITY,
                     .why = why};

    for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++)
        if (pith_node_domain(s->graph, node)[0] == 0 && w.x != PITH_NO_VALUE &&
            w.y != PITH_NO_VALUE &&
            strcmp(pith_node_op(s->graph, node), operators[i].op) == 0)
            return operators[i].define(&w);
    return not_here(&w, "this engine has no such operator");
}
