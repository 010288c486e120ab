/* Values of the subgraph, and the walk over the graph. What an operator becomes is nodes.c. */
#include "plugins/engines/xnnpack/subgraph.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int subgraph_status(enum xnn_status status, const char **why)
{
    switch (status) {
    case xnn_status_success:
        return 0;
    case xnn_status_out_of_memory:
        return -ENOMEM;
    case xnn_status_unsupported_hardware:
        *why = "XNNPACK does not know this CPU";
        return -ENOTSUP;
    default:
        *why = "XNNPACK does not take these types, scales or parameters";
        return -ENOTSUP;
    }
}

/* ---- values ---- */

/* Unsigned integers become signed ones: 128 less in integer and zero point is the same number. */
static struct xnn_value grid_of(float scale, int32_t zero_point, int32_t dtype)
{
    return (struct xnn_value){.quantized = true,
                              .scale = scale,
                              .zero_point = zero_point - (dtype == PITH_UINT8 ? 128 : 0)};
}

bool subgraph_grid(const struct subgraph *s, uint32_t value, struct xnn_value *out)
{
    const struct pith_quantization *q = pith_value_quantization(s->graph, value);

    if (!q || q->count != 1 || q->block_size || (q->dtype != PITH_INT8 && q->dtype != PITH_UINT8))
        return false;
    *out = grid_of(q->scale[0], q->zero_point[0], q->dtype);
    return true;
}

bool subgraph_stated_grid(const struct subgraph *s, uint32_t node, struct xnn_value *out)
{
    const bool dequantizes = strcmp(pith_node_op(s->graph, node), "DequantizeLinear") == 0;
    const uint32_t integer =
        dequantizes ? pith_node_input(s->graph, node, 0) : pith_node_output(s->graph, node, 0);
    const uint32_t values[2] = {pith_node_input(s->graph, node, 1),
                                pith_node_input(s->graph, node, 2)};
    const int32_t dtype = pith_value_dtype(s->graph, integer);
    double numbers[2] = {0, 0};

    if (dtype != PITH_INT8 && dtype != PITH_UINT8)
        return false;
    for (int i = 0; i < 2; i++) {
        const struct pith_tensor *tensor =
            values[i] == PITH_NO_VALUE ? NULL : pith_value_constant(s->graph, values[i]);

        if ((!tensor && values[i] != PITH_NO_VALUE) ||
            (tensor && pith_shape_elements(&tensor->shape) != 1))
            return false;
        if (tensor)
            numbers[i] = pith_tensor_get(tensor, 0);
    }
    *out = grid_of((float) numbers[0], (int32_t) numbers[1], dtype);
    return numbers[0] > 0;
}

static bool same_grid(const struct xnn_value *a, const struct xnn_value *b)
{
    return a->quantized == b->quantized &&
           (!a->quantized || (a->scale == b->scale && a->zero_point == b->zero_point));
}

/* Dimensions as stored. -ENOTSUP where XNNPACK has no such tensor. */
static int dims_of(const struct subgraph *s, uint32_t value, bool channels_last, size_t *dims,
                   size_t *out_rank, const char **why)
{
    static const int order[4] = {0, 2, 3, 1};
    const struct pith_shape *shape = pith_value_shape(s->graph, value);

    if (!shape || !pith_shape_known(shape) || shape->rank > XNN_MAX_TENSOR_DIMS) {
        *why = "a value of it has no shape that is known, or too many dimensions";
        return -ENOTSUP;
    }
    for (uint32_t i = 0; i < shape->rank; i++) {
        dims[i] = (size_t) shape->dim[channels_last ? order[i] : (int) i];
        if (dims[i] == 0) {
            *why = "a value of it is empty";
            return -ENOTSUP;
        }
    }
    *out_rank = shape->rank;
    return 0;
}

/* A tensor like *like, of the graph's value's dimensions; its id goes there. */
static int define(struct subgraph *s, uint32_t value, struct xnn_value *like, uint32_t external,
                  uint32_t flags, const char **why)
{
    size_t dims[XNN_MAX_TENSOR_DIMS], rank;
    int rc = dims_of(s, value, like->channels_last, dims, &rank, why);

    if (rc < 0)
        return rc;
    if (!like->quantized)
        return subgraph_status(xnnpack.define_tensor_value(s->made, xnn_datatype_fp32, rank, dims, NULL,
                                                       external, flags, &like->id),
                               why);
    return subgraph_status(xnnpack.define_quantized_tensor_value(
                               s->made, xnn_datatype_qint8, like->zero_point, like->scale, rank,
                               dims, NULL, external, flags, &like->id),
                           why);
}

static int define_inside(struct subgraph *s, uint32_t value, struct xnn_value *like,
                         const char **why)
{
    return define(s, value, like, XNN_INVALID_VALUE_ID, 0, why);
}

static int keep_value(struct subgraph *s, uint32_t value, struct xnn_value made, uint32_t *out_id,
                      const char **why)
{
    int rc = define_inside(s, value, &made, why);

    if (rc == 0) {
        s->values[value] = made;
        *out_id = made.id;
    }
    return rc;
}

int subgraph_write(struct subgraph *s, uint32_t value, bool channels_last, uint32_t *out_id,
                   const char **why)
{
    struct xnn_value made = {0};

    if (pith_value_quantization(s->graph, value) && !subgraph_grid(s, value, &made)) {
        *why = "its output is quantized in a way that XNNPACK has not";
        return -ENOTSUP;
    }
    made.channels_last = channels_last;
    return keep_value(s, value, made, out_id, why);
}

int subgraph_write_float(struct subgraph *s, uint32_t value, bool channels_last, uint32_t *out_id,
                         const char **why)
{
    return keep_value(s, value, (struct xnn_value){.channels_last = channels_last}, out_id, why);
}

int subgraph_convert(struct subgraph *s, uint32_t value, const struct xnn_value *grid,
                     const char **why)
{
    struct xnn_value *of = &s->values[value], made = *grid;
    int rc;

    if (same_grid(of, grid))
        return 0;
    if (of->quantized && grid->quantized) {
        *why = "it goes from one grid of integers to another";
        return -ENOTSUP;
    }
    made.channels_last = of->channels_last;
    rc = define_inside(s, value, &made, why);
    if (rc == 0)
        rc = subgraph_status(xnnpack.define_convert(s->made, of->id, made.id, 0), why);
    if (rc == 0)
        *of = made;
    return rc;
}

int subgraph_written(struct subgraph *s, uint32_t value, const char **why)
{
    struct xnn_value grid;

    if (!pith_value_quantization(s->graph, value))
        return 0;
    if (subgraph_grid(s, value, &grid))
        return subgraph_convert(s, value, &grid, why);
    *why = "its output is quantized in a way that XNNPACK has not";
    return -ENOTSUP;
}

int subgraph_write_like(struct subgraph *s, uint32_t value, uint32_t from, bool channels_last,
                        uint32_t *out_id, const char **why)
{
    struct xnn_value made = s->values[from], grid = {0};

    if (pith_value_quantization(s->graph, value) &&
        (!subgraph_grid(s, value, &grid) || !same_grid(&grid, &made))) {
        *why = "it goes from one grid of integers to another";
        return -ENOTSUP;
    }
    made.channels_last = channels_last;
    if (out_id)
        return keep_value(s, value, made, out_id, why);
    s->values[value] = made;
    return 0;
}

/* One element a channel or one channel: both orders are the same bytes. */
static bool orders_agree(const struct pith_shape *shape)
{
    return shape->rank != 4 || shape->dim[1] == 1 || (shape->dim[2] == 1 && shape->dim[3] == 1);
}

int subgraph_read(struct subgraph *s, uint32_t value, bool channels_last, bool quantized,
                  uint32_t *out_id, const char **why)
{
    struct xnn_value of = {.id = XNN_INVALID_VALUE_ID}, made;
    size_t dims[XNN_MAX_TENSOR_DIMS], rank;
    int rc = 0;

    if (value != PITH_NO_VALUE)
        of = s->values[value];
    if (of.id == XNN_INVALID_VALUE_ID) {
        *why = "an input of it is missing, or a constant";
        return -ENOTSUP;
    }
    if (of.channels_last !=
        channels_last) { /* the same bytes with other dimensions, or not at all */
        if (!orders_agree(pith_value_shape(s->graph, value))) {
            *why = channels_last ? "its input is no picture that XNNPACK keeps channels-last"
                                 : "it takes a picture apart, which XNNPACK keeps channels-last";
            return -ENOTSUP;
        }
        made = of;
        made.channels_last = channels_last;
        rc = dims_of(s, value, channels_last, dims, &rank, why);
        if (rc == 0)
            rc = define_inside(s, value, &made, why);
        if (rc == 0)
            rc = subgraph_status(xnnpack.define_static_reshape(s->made, rank, dims, of.id, made.id, 0),
                                 why);
        of = made;
    }
    if (rc == 0 && of.quantized && !quantized) {
        made = (struct xnn_value){.channels_last = of.channels_last};
        rc = define_inside(s, value, &made, why);
        if (rc == 0)
            rc = subgraph_status(xnnpack.define_convert(s->made, of.id, made.id, 0), why);
        of = made;
    }
    *out_id = of.id;
    return rc;
}

/* ---- inputs and outputs ---- */

/* A picture comes in channels-last where an operator on pictures takes it first. */
static bool is_picture_input(const struct pith_graph *graph, uint32_t value)
{
    static const char *const on_pictures[] = {"Conv", "MaxPool", "AveragePool",
                                              "GlobalAveragePool"};
    const struct pith_shape *shape = pith_value_shape(graph, value);
    const uint32_t *users;
    size_t count = 0;

    if (!shape || shape->rank != 4)
        return false;
    users = pith_value_users(graph, value, &count);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0;
             users[i] != PITH_NO_NODE && k < sizeof on_pictures / sizeof on_pictures[0]; k++)
            if (strcmp(pith_node_op(graph, users[i]), on_pictures[k]) == 0)
                return true;
    return false;
}

/* Integers come in as they are where one DequantizeLinear says what they mean. */
static bool integer_input(const struct subgraph *s, uint32_t value, struct xnn_value *out)
{
    size_t count = 0;
    const uint32_t *users = pith_value_users(s->graph, value, &count);

    return count == 1 && users[0] != PITH_NO_NODE &&
           strcmp(pith_node_op(s->graph, users[0]), "DequantizeLinear") == 0 &&
           subgraph_stated_grid(s, users[0], out);
}

static int add_input(struct subgraph *s, size_t index, const char **why)
{
    const uint32_t value = pith_graph_input(s->graph, index);
    struct xnn_port *port = &s->inputs[index];
    struct xnn_value made = {0}, grid;
    int rc;

    *port = (struct xnn_port){(uint32_t) index, is_picture_input(s->graph, value),
                              pith_value_dtype(s->graph, value)};
    if (port->dtype != PITH_FLOAT32 && !integer_input(s, value, &made)) {
        *why = "an input is neither float32 nor 8-bit integers with one DequantizeLinear";
        return -ENOTSUP;
    }
    made.channels_last = port->channels_last;
    rc = define(s, value, &made, port->id, XNN_VALUE_FLAG_EXTERNAL_INPUT, why);
    s->values[value] = made;
    if (rc == 0 && pith_value_quantization(s->graph, value)) { /* every user sees it rounded */
        if (!subgraph_grid(s, value, &grid)) {
            *why = "an input is quantized in a way that XNNPACK has not";
            return -ENOTSUP;
        }
        rc = subgraph_convert(s, value, &grid, why);
    }
    return rc;
}

/* A node of its own copies into the external value, so that one value may be several outputs, or an
 * output and used on. */
static int add_output(struct subgraph *s, size_t index, const char **why)
{
    const uint32_t value = pith_graph_output(s->graph, index);
    const struct xnn_value of = s->values[value];
    struct xnn_port *port = &s->outputs[index];
    struct xnn_value made = of;
    size_t dims[XNN_MAX_TENSOR_DIMS], rank;
    int rc;

    *port = (struct xnn_port){(uint32_t) (pith_graph_input_count(s->graph) + index),
                              of.channels_last, pith_value_dtype(s->graph, value)};
    if (of.id == XNN_INVALID_VALUE_ID) {
        *why = "an output is a constant";
        return -ENOTSUP;
    }
    made.quantized = port->dtype != PITH_FLOAT32;
    rc = define(s, value, &made, port->id, XNN_VALUE_FLAG_EXTERNAL_OUTPUT, why);
    if (rc == 0 && of.quantized != made.quantized)
        return subgraph_status(xnnpack.define_convert(s->made, of.id, made.id, 0), why);
    if (rc == 0)
        rc = dims_of(s, value, of.channels_last, dims, &rank, why);
    if (rc == 0)
        rc =
            subgraph_status(xnnpack.define_static_reshape(s->made, rank, dims, of.id, made.id, 0), why);
    return rc;
}

/* ---- the walk ---- */

struct refusals {
    subgraph_refusal *refused;
    void *user;
    int rc;
    struct pith_error *err;
};

static void refuse(struct refusals *refusals, const struct pith_graph *graph, uint32_t node,
                   const char *why)
{
    if (refusals->refused)
        refusals->refused(refusals->user, node, why);
    if (refusals->rc == 0)
        refusals->rc = pith_fail(refusals->err, -ENOTSUP, "node %u \"%s\" (%s): %s", node,
                                 pith_node_name(graph, node), pith_node_op(graph, node), why);
}

static int walk(struct subgraph *s, struct refusals *refusals)
{
    size_t count = 0;
    const uint32_t *order = pith_graph_order(s->graph, &count);
    int rc = 0;

    s->skip = PITH_NO_NODE;
    for (size_t i = 0; i < count && rc != -ENOMEM; i++) {
        const char *why = "";

        if (order[i] == s->skip)
            continue;
        rc = subgraph_node(s, order[i], &why);
        if (rc != -ENOTSUP)
            continue;
        refuse(refusals, s->graph, order[i], why);
        /* Its users are looked at as if it were there. */
        for (size_t k = 0; k < pith_node_output_count(s->graph, order[i]); k++) {
            const uint32_t value = pith_node_output(s->graph, order[i], k);
            const struct pith_shape *shape = value == PITH_NO_VALUE /* an output that is left out */
                                                 ? NULL
                                                 : pith_value_shape(s->graph, value);
            uint32_t id;

            if (shape)
                (void) subgraph_write(s, value, shape->rank == 4, &id, &why);
        }
    }
    return rc == -ENOMEM ? rc : refusals->rc;
}

static int make_tables(struct subgraph *s, struct pith_error *err)
{
    const size_t inputs = pith_graph_input_count(s->graph),
                 outputs = pith_graph_output_count(s->graph);
    const uint32_t limit = pith_graph_value_limit(s->graph);

    s->values = calloc((size_t) limit + 1, sizeof *s->values);
    s->inputs = calloc(inputs + 1, sizeof *s->inputs);
    s->outputs = calloc(outputs + 1, sizeof *s->outputs);
    if (!s->values || !s->inputs || !s->outputs ||
        xnnpack.create_subgraph((uint32_t) (inputs + outputs), 0, &s->made) != xnn_status_success)
        return pith_fail(err, -ENOMEM, "no memory for a subgraph");
    for (uint32_t i = 0; i < limit; i++)
        s->values[i].id = XNN_INVALID_VALUE_ID;
    return 0;
}

int subgraph_make(struct subgraph *out, const struct pith_graph *graph, subgraph_refusal *refused,
                  void *user, struct pith_error *err)
{
    struct refusals refusals = {refused, user, 0, err};
    const char *why = "";
    int rc;

    *out = (struct subgraph){.graph = graph, .err = err};
    rc = make_tables(out, err);
    for (size_t i = 0; rc == 0 && i < pith_graph_input_count(graph); i++)
        rc = add_input(out, i, &why);
    if (rc == 0)
        rc = walk(out, &refusals);
    for (size_t i = 0; rc == 0 && i < pith_graph_output_count(graph); i++)
        rc = add_output(out, i, &why);
    if (rc < 0 && refusals.rc == 0)
        rc = rc == -ENOMEM ? pith_fail(err, rc, "no memory for a subgraph")
                           : pith_fail(err, rc, "XNNPACK: %s", why);
    if (rc < 0)
        subgraph_done(out);
    return rc;
}

void subgraph_done(struct subgraph *s)
{
    if (s->made)
        (void) xnnpack.delete_subgraph(s->made);
    for (size_t i = 0; i < s->constant_count; i++)
        free(s->constants[i]);
    free(s->constants);
    free(s->values);
    free(s->inputs);
    free(s->outputs);
    *s = (struct subgraph){0};
}
