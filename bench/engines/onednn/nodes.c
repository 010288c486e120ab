/* What each operator becomes, but for those that have weights (products.c). Quantized activations
 * are unsigned bytes. */
#include "bench/engines/onednn/work.h"

#include <errno.h>
#include <float.h>
#include <string.h>

int not_here(const struct work *w, const char *why)
{
    *w->why = why;
    return -ENOTSUP;
}

/* ---- grids ---- */

bool grid_of(const struct pith_graph *graph, uint32_t value, struct grid *out)
{
    const struct pith_quantization *q = pith_value_quantization(graph, value);

    *out = (struct grid){0};
    if (!q || q->count != 1 || q->block_size || (q->dtype != PITH_INT8 && q->dtype != PITH_UINT8))
        return false;
    *out = (struct grid){true, q->scale[0], q->zero_point[0] + (q->dtype == PITH_INT8 ? 128 : 0)};
    return true;
}

/* What the value is, as unsigned bytes: signed ones are 128 less. */
bool as_bytes(const struct net *net, uint32_t value, struct grid *out)
{
    const struct value *v = &net->values[value];

    *out = v->grid;
    out->zero_point += v->desc.data_type == dnnl_s8 ? 128 : 0;
    return v->made && v->grid.quantized;
}

/* A value that its primitive made in float32 and that the graph has on a grid. */
int onto_grid(const struct work *w)
{
    struct grid grid;
    dnnl_memory_desc_t desc = w->net->values[w->y].desc;
    dnnl_memory_t memory;

    if (!pith_value_quantization(w->graph, w->y))
        return 0;
    if (!grid_of(w->graph, w->y, &grid))
        return not_here(w, "its output is quantized in a way that oneDNN has not");
    desc.data_type = dnnl_u8;
    return net_read(w->net, w->y, &desc, &grid, &memory, w->why);
}

/* ---- activations ---- */

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

/* Whether the node is an activation of its first input that oneDNN has. */
bool is_activation(const struct pith_graph *graph, uint32_t node, struct post *out)
{
    const char *op = pith_node_op(graph, node);

    *out = (struct post){dnnl_eltwise_clip, -FLT_MAX, FLT_MAX};
    if (strcmp(op, "Relu") == 0)
        *out = (struct post){dnnl_eltwise_relu, 0, 0};
    else if (strcmp(op, "LeakyRelu") == 0)
        *out = (struct post){dnnl_eltwise_relu, pith_node_float(graph, node, "alpha", 0.01F), 0};
    else if (strcmp(op, "Sigmoid") == 0)
        *out = (struct post){dnnl_eltwise_logistic, 0, 0};
    else if (strcmp(op, "Tanh") == 0)
        *out = (struct post){dnnl_eltwise_tanh, 0, 0};
    else if (strcmp(op, "Max") == 0 || strcmp(op, "Min") == 0)
        return pith_node_input_count(graph, node) == 2 &&
               pith_value_constant(graph, pith_node_input(graph, node, 1)) &&
               constant_number(graph, pith_node_input(graph, node, 1),
                               op[1] == 'a' ? &out->alpha : &out->beta);
    else if (strcmp(op, "Clip") == 0) {
        out->alpha = pith_node_float(graph, node, "min", out->alpha);
        out->beta = pith_node_float(graph, node, "max", out->beta);
        return constant_number(graph, pith_node_input(graph, node, 1), &out->alpha) &&
               constant_number(graph, pith_node_input(graph, node, 2), &out->beta) &&
               out->alpha < out->beta;
    } else
        return false;
    return true;
}

bool clips(const struct post *post)
{
    return post->kind == dnnl_eltwise_clip || (post->kind == dnnl_eltwise_relu && post->alpha == 0);
}

/* ---- windows ---- */

static int read_ints(const struct work *w, const char *name, int64_t *out, size_t wanted,
              int64_t otherwise)
{
    size_t count = 0;
    const int64_t *ints = pith_node_ints(w->graph, w->node, name, &count);

    for (size_t i = 0; i < wanted; i++) {
        if (ints && (count != wanted || ints[i] < 0 || ints[i] > INT32_MAX))
            return not_here(w, "its window is not two-dimensional");
        out[i] = ints ? ints[i] : otherwise;
    }
    return 0;
}

int read_window(const struct work *w, struct window *out)
{
    const char *auto_pad = pith_node_string(w->graph, w->node, "auto_pad", "NOTSET");
    const struct pith_shape *in = pith_value_shape(w->graph, w->x);
    int64_t pads[4] = {0};
    int rc = read_ints(w, "strides", out->strides, 2, 1);

    if (rc == 0)
        rc = read_ints(w, "dilations", out->dilations, 2, 1);
    if (rc == 0)
        rc = read_ints(w, "pads", pads, 4, 0);
    if (rc == 0 && (!in || in->rank != 4))
        rc = not_here(w, "it is not two-dimensional");
    if (rc == 0 && strcmp(auto_pad, "NOTSET") != 0 && strcmp(auto_pad, "VALID") != 0)
        rc = not_here(w, "auto_pad asks for padding by itself");
    if (rc == 0 && pith_node_int(w->graph, w->node, "ceil_mode", 0) != 0)
        rc = not_here(w, "ceil_mode is not 0");
    for (int i = 0; i < 2; i++) {
        out->dilations[i]--; /* none is 0 there */
        out->begin[i] = pads[i];
        out->end[i] = pads[2 + i];
    }
    out->padded = pads[0] | pads[1] | pads[2] | pads[3];
    return rc;
}

/* ---- the rest ---- */

/* The value in float32, in the layout it has. */
static int read_float(struct work *w, uint32_t value, dnnl_memory_desc_t *desc, dnnl_memory_t *out)
{
    *desc = w->net->values[value].desc;
    desc->data_type = dnnl_f32;
    return net_read(w->net, value, desc, &(struct grid){0}, out, w->why);
}

/* A primitive of one input and one output in float32, both of one layout. */
static int step_like(struct work *w, const void *op_desc, dnnl_memory_t x,
                     const dnnl_memory_desc_t *desc)
{
    struct net_argument arguments[2] = {{DNNL_ARG_SRC, x}, {.which = DNNL_ARG_DST}};
    dnnl_primitive_desc_t pd = NULL;
    int rc =
        net_status(dnnl_primitive_desc_create(&pd, op_desc, NULL, w->net->engine, NULL), w->why);

    if (rc == 0)
        rc = net_write(w->net, w->y, desc, &(struct grid){0}, &arguments[1].memory, w->why);
    if (rc < 0)
        return rc;
    rc = net_step(w->net, pd, arguments, 2, w->why);
    return rc == 0 ? onto_grid(w) : rc;
}

static int node_activation(struct work *w)
{
    struct post post;
    dnnl_memory_desc_t desc;
    dnnl_memory_t x;
    dnnl_eltwise_desc_t eltwise;
    int rc;

    if (!is_activation(w->graph, w->node, &post))
        return not_here(w, "its bounds are no constants");
    rc = read_float(w, w->x, &desc, &x);
    if (rc == 0)
        rc = net_status(dnnl_eltwise_forward_desc_init(&eltwise, dnnl_forward_inference, post.kind,
                                                       &desc, post.alpha, post.beta),
                        w->why);
    return rc == 0 ? step_like(w, &eltwise, x, &desc) : rc;
}

static int node_softmax(struct work *w)
{
    const struct pith_shape *shape = pith_value_shape(w->graph, w->x);
    int64_t axis = pith_node_int(w->graph, w->node, "axis", -1);
    dnnl_memory_desc_t desc;
    dnnl_memory_t x;
    dnnl_softmax_desc_t softmax;
    int rc = read_float(w, w->x, &desc, &x);

    axis += shape && axis < 0 ? shape->rank : 0;
    if (rc == 0)
        rc = net_status(
            dnnl_softmax_forward_desc_init(&softmax, dnnl_forward_inference, &desc, (int) axis),
            w->why);
    return rc == 0 ? step_like(w, &softmax, x, &desc) : rc;
}

static int node_binary(struct work *w)
{
    const uint32_t second = pith_node_input(w->graph, w->node, 1);
    struct net_argument arguments[3] = {
        {.which = DNNL_ARG_SRC_0}, {.which = DNNL_ARG_SRC_1}, {.which = DNNL_ARG_DST}};
    dnnl_memory_desc_t desc;
    dnnl_binary_desc_t binary;
    dnnl_primitive_desc_t pd = NULL;
    int rc;

    if (!w->net->values[w->x].made || !w->net->values[second].made ||
        !pith_shape_equal(pith_value_shape(w->graph, w->x), pith_value_shape(w->graph, second)))
        return not_here(w, "its operands are not two activations of one shape");
    rc = read_float(w, w->x, &desc, &arguments[0].memory);
    if (rc == 0)
        rc = net_read(w->net, second, &desc, &(struct grid){0}, &arguments[1].memory, w->why);
    if (rc == 0)
        rc = net_status(dnnl_binary_desc_init(&binary,
                                              strcmp(pith_node_op(w->graph, w->node), "Add") == 0
                                                  ? dnnl_binary_add
                                                  : dnnl_binary_mul,
                                              &desc, &desc, &desc),
                        w->why);
    if (rc == 0)
        rc = net_status(dnnl_primitive_desc_create(&pd, &binary, NULL, w->net->engine, NULL),
                        w->why);
    if (rc == 0)
        rc = net_write(w->net, w->y, &desc, &(struct grid){0}, &arguments[2].memory, w->why);
    if (rc == 0)
        rc = net_step(w->net, pd, arguments, 3, w->why);
    return rc == 0 ? onto_grid(w) : rc;
}

/* Bytes stay bytes on their grid: a maximum or a mean of them is on it, but for rounding. */
static int node_pool(struct work *w)
{
    const char *op = pith_node_op(w->graph, w->node);
    const bool whole = strcmp(op, "GlobalAveragePool") == 0, max = strcmp(op, "MaxPool") == 0;
    const struct pith_shape *in = pith_value_shape(w->graph, w->x);
    struct net_argument arguments[2] = {{.which = DNNL_ARG_SRC}, {.which = DNNL_ARG_DST}};
    struct window win = {0};
    struct grid grid;
    dnnl_memory_desc_t x, y;
    dnnl_pooling_v2_desc_t pool;
    dnnl_primitive_desc_t pd = NULL;
    int rc = read_window(w, &win);

    if (rc == 0 && !whole)
        rc = read_ints(w, "kernel_shape", win.kernel, 2, 1);
    if (rc < 0)
        return rc;
    if (pith_node_output_count(w->graph, w->node) > 1)
        return not_here(w, "its indices are asked for");
    for (int i = 0; whole && i < 2; i++)
        win.kernel[i] = in->dim[2 + i];
    x = w->net->values[w->x].desc;
    if (as_bytes(w->net, w->x, &grid))
        x.data_type = dnnl_u8;
    rc = net_any(&y, pith_value_shape(w->graph, w->y), x.data_type, w->why);
    if (rc == 0)
        rc = net_status(dnnl_pooling_v2_forward_desc_init(
                            &pool, dnnl_forward_inference,
                            max ? dnnl_pooling_max
                            : pith_node_int(w->graph, w->node, "count_include_pad", 0)
                                ? dnnl_pooling_avg_include_padding
                                : dnnl_pooling_avg_exclude_padding,
                            &x, &y, win.strides, win.kernel, win.dilations, win.begin, win.end),
                        w->why);
    if (rc == 0)
        rc = net_status(dnnl_primitive_desc_create(&pd, &pool, NULL, w->net->engine, NULL), w->why);
    if (rc < 0)
        return rc;
    rc = net_read(w->net, w->x, dnnl_primitive_desc_query_md(pd, dnnl_query_src_md, 0), &grid,
                  &arguments[0].memory, w->why);
    if (rc == 0)
        rc = net_write(w->net, w->y, dnnl_primitive_desc_query_md(pd, dnnl_query_dst_md, 0), &grid,
                       &arguments[1].memory, w->why);
    if (rc == 0)
        rc = net_step(w->net, pd, arguments, 2, w->why);
    else
        (void) dnnl_primitive_desc_destroy(pd);
    return rc == 0 && !grid.quantized ? onto_grid(w) : rc;
}

/* The same bytes under another shape, where the layout lets it be; else row-major first. */
static int node_reshape(struct work *w)
{
    struct value *x = &w->net->values[w->x], *y = &w->net->values[w->y];
    const struct pith_shape *shape = pith_value_shape(w->graph, w->y);
    dnnl_memory_desc_t desc, wanted, plain;
    dnnl_memory_t memory;
    int rc = net_any(&wanted, shape, x->desc.data_type, w->why);

    if (rc < 0)
        return rc;
    if (dnnl_memory_desc_reshape(&desc, &x->desc, wanted.ndims, wanted.dims) != dnnl_success) {
        rc = net_plain(&plain, pith_value_shape(w->graph, w->x), x->desc.data_type, w->why);
        if (rc == 0)
            rc = net_read(w->net, w->x, &plain, &x->grid, &memory, w->why);
        if (rc == 0)
            rc = net_plain(&desc, shape, x->desc.data_type, w->why);
    }
    if (rc < 0)
        return rc;
    x->shared = true;
    *y = *x;
    y->desc = desc;
    return 0;
}

/* The same bytes with their axes named otherwise. */
static int node_transpose(struct work *w)
{
    struct value *x = &w->net->values[w->x], *y = &w->net->values[w->y];
    size_t count = 0;
    const int64_t *perm = pith_node_ints(w->graph, w->node, "perm", &count);
    const int rank = x->desc.ndims;
    int places[DNNL_MAX_NDIMS];
    dnnl_memory_desc_t desc;
    int rc;

    for (int i = 0; i < rank; i++)
        places[perm ? perm[i] : rank - 1 - i] = i;
    rc = net_status(dnnl_memory_desc_permute_axes(&desc, &x->desc, places), w->why);
    if (rc < 0)
        return rc;
    x->shared = true;
    *y = *x;
    y->desc = desc;
    return 0;
}

/* QuantizeLinear and DequantizeLinear: bytes on a grid that is stated. */
static int node_grid(struct work *w)
{
    const bool dequantizes = strcmp(pith_node_op(w->graph, w->node), "DequantizeLinear") == 0;
    const int32_t dtype = pith_value_dtype(w->graph, dequantizes ? w->x : w->y);
    const uint32_t numbers[2] = {pith_node_input(w->graph, w->node, 1),
                                 pith_node_input(w->graph, w->node, 2)};
    double read[2] = {0, 0};
    dnnl_memory_desc_t desc = w->net->values[w->x].desc;
    dnnl_memory_t memory;
    struct grid grid;
    int rc = 0;

    if (dtype != PITH_INT8 && dtype != PITH_UINT8)
        return not_here(w, "its integers have not 8 bits");
    for (int i = 0; i < 2; i++) {
        const struct pith_tensor *tensor =
            numbers[i] == PITH_NO_VALUE ? NULL : pith_value_constant(w->graph, numbers[i]);

        if ((!tensor && numbers[i] != PITH_NO_VALUE) ||
            (tensor && pith_shape_elements(&tensor->shape) != 1))
            return not_here(w, "its scale or zero point is no constant number");
        if (tensor)
            read[i] = pith_tensor_get(tensor, 0);
    }
    grid = (struct grid){true, (float) read[0], (int32_t) read[1]};
    if (!dequantizes) {
        grid.zero_point += dtype == PITH_INT8 ? 128 : 0;
        desc.data_type = dnnl_u8;
        rc = net_read(w->net, w->x, &desc, &grid, &memory, w->why);
    }
    w->net->values[w->x].shared = true;
    w->net->values[w->y] = w->net->values[w->x];
    w->net->values[w->y].grid = grid;
    return rc;
}

static const struct {
    const char *op;
    int (*make)(struct work *w);
} makers[] = {
    {"Conv", node_conv},
    {"Gemm", node_dense},
    {"MatMul", node_dense},
    {"MaxPool", node_pool},
    {"AveragePool", node_pool},
    {"GlobalAveragePool", node_pool},
    {"Relu", node_activation},
    {"Clip", node_activation},
    {"LeakyRelu", node_activation},
    {"Max", node_activation},
    {"Min", node_activation},
    {"Sigmoid", node_activation},
    {"Tanh", node_activation},
    {"Softmax", node_softmax},
    {"Add", node_binary},
    {"Mul", node_binary},
    {"Reshape", node_reshape},
    {"Flatten", node_reshape},
    {"Squeeze", node_reshape},
    {"Unsqueeze", node_reshape},
    {"Identity", node_reshape},
    {"Transpose", node_transpose},
    {"DequantizeLinear", node_grid},
    {"QuantizeLinear", node_grid},
};

int node_make(struct net *net, uint32_t node, const char **why)
{
    struct work w = {.net = net,
                     .graph = net->graph,
                     .node = node,
                     .x = pith_node_input(net->graph, node, 0),
                     .y = pith_node_output(net->graph, node, 0),
                     .residual = PITH_NO_VALUE,
                     .why = why};

    for (size_t i = 0; i < sizeof makers / sizeof makers[0]; i++)
        if (strcmp(makers[i].op, pith_node_op(net->graph, node)) == 0 &&
            pith_node_domain(net->graph, node)[0] == '\0') {
            if (w.x == PITH_NO_VALUE || !net->values[w.x].made)
                return not_here(&w, "its first input is a constant");
            return makers[i].make(&w);
        }
    return not_here(&w, "there is no such operator in this contestant");
}
