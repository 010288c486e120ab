/* Values' quantization -> QuantizeLinear and DequantizeLinear nodes, as ONNX Runtime's own
 * quantizer lays them out: integers -> DequantizeLinear -> constant; producer -> QuantizeLinear ->
 * DequantizeLinear -> activation. */
#include "libpith/formats/onnx_quantization.h"
#include "libpith/graph/graph_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_BYTES 40 /* a value with a longer name gives those made for it a number instead */

/* A value named after another: "conv_out" and "_raw". Where that name is taken it gets a new one.
 */
static int add_named(struct pith_graph *graph, const char *name, const char *suffix, int32_t dtype,
                     const struct pith_shape *shape, uint32_t *out)
{
    size_t bytes = strlen(name) + strlen(suffix) + 1;
    char *full = malloc(bytes);
    int rc;

    if (!full)
        return -ENOMEM;
    memcpy(full, name, strlen(name));
    memcpy(full + strlen(name), suffix, strlen(suffix) + 1);
    rc = pith_graph_add_value(graph,
                              pith_graph_find_value(graph, full) == PITH_NO_VALUE ? full : NULL,
                              dtype, shape, out, NULL);
    free(full);
    return rc;
}

/* Scale and zero point are scalars per tensor, lists per axis, and of the value's rank in blocks.
 */
static struct pith_shape grid_shape(const struct pith_quantization *q,
                                    const struct pith_shape *value)
{
    struct pith_shape shape = {0};

    if (q->block_size) {
        shape = *value;
        shape.dim[q->axis] = (value->dim[q->axis] + q->block_size - 1) / q->block_size;
    } else if (q->count > 1) {
        shape.rank = 1;
        shape.dim[0] = (int64_t) q->count;
    }
    return shape;
}

static int add_list(struct pith_graph *graph, const char *name, const char *suffix, int32_t dtype,
                    const struct pith_shape *shape, const struct pith_quantization *q, bool scales,
                    uint32_t *out)
{
    struct pith_tensor tensor;
    int rc = pith_tensor_alloc(&tensor, dtype, shape, NULL);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < q->count; i++)
        pith_tensor_set(&tensor, (int64_t) i, scales ? (double) q->scale[i] : q->zero_point[i]);
    rc = add_named(graph, name, suffix, dtype, shape, out);
    if (rc == 0)
        rc = pith_value_take_constant(graph, *out, &tensor);
    pith_tensor_free(&tensor); /* where it was not taken */
    return rc;
}

struct unfolding { /* of one value */
    struct pith_graph *graph;
    struct pith_quantization *q; /* taken off the value; own */
    char *name;                  /* own: what values made for it are called after */
    int32_t real;
    uint32_t scale, zero_point; /* constants that were made; zero_point may be PITH_NO_VALUE */
};

/* These nodes have no names: they go by what they make, and there are more of them than of all others. */
static int add_linear(struct unfolding *of, const char *op, uint32_t from, uint32_t to)
{
    const uint32_t inputs[] = {from, of->scale, of->zero_point};
    uint32_t node;
    int rc = pith_graph_add_node(of->graph, "", op, "", inputs,
                                 of->zero_point == PITH_NO_VALUE ? 2 : 3, &to, 1, &node, NULL);

    if (rc == 0 && (of->q->count > 1 || of->q->block_size))
        rc = pith_node_set_int(of->graph, node, "axis", of->q->axis);
    if (rc == 0 && of->q->block_size)
        rc = pith_node_set_int(of->graph, node, "block_size", of->q->block_size);
    return rc;
}

/* The value's integers move to a constant of their own, and it is made from them. */
static int unfold_constant(struct unfolding *of, uint32_t value)
{
    struct constant *from = &graph_value(of->graph, value)->constant;
    struct pith_tensor tensor = from->tensor;
    struct pith_backing *backing = pith_backing_hold(from->backing);
    uint32_t integers;
    int rc = add_named(of->graph, of->name, "_quantized", tensor.dtype, &tensor.shape, &integers);

    if (rc == 0)
        rc = pith_value_adopt_constant(of->graph, integers, &tensor, backing);
    pith_backing_drop(backing);
    if (rc < 0)
        return rc;
    constant_clear(from);
    return add_linear(of, "DequantizeLinear", integers, value);
}

static int unfold_pair(struct unfolding *of, uint32_t from, uint32_t to)
{
    uint32_t integers;
    int rc = add_named(of->graph, of->name, "_quantized", of->q->dtype,
                       pith_value_shape(of->graph, from), &integers);

    if (rc == 0)
        rc = add_linear(of, "QuantizeLinear", from, integers);
    if (rc == 0)
        rc = add_linear(of, "DequantizeLinear", integers, to);
    return rc;
}

/* The producer makes a value of another name, and the pair makes this one. */
static int unfold_produced(struct unfolding *of, uint32_t value)
{
    uint32_t node = pith_value_producer(of->graph, value);
    uint32_t raw;
    int rc =
        add_named(of->graph, of->name, "_raw", of->real, pith_value_shape(of->graph, value), &raw);

    for (size_t i = 0; i < pith_node_output_count(of->graph, node) && rc == 0; i++)
        if (pith_node_output(of->graph, node, i) == value) {
            rc = pith_node_set_output(of->graph, node, i, raw);
            break;
        }
    return rc == 0 ? unfold_pair(of, raw, value) : rc;
}

/* An input keeps its name; what used it uses the pair's result. */
static int unfold_input(struct unfolding *of, uint32_t value)
{
    uint32_t rounded;
    int rc = add_named(of->graph, of->name, "_rounded", of->real,
                       pith_value_shape(of->graph, value), &rounded);

    if (rc == 0)
        rc = pith_graph_replace_value(of->graph, value, rounded);
    return rc == 0 ? unfold_pair(of, value, rounded) : rc;
}

/* int32 has none. 4-bit constants on a symmetric grid leave theirs out, which means the same; 8-bit ones
 * keep theirs, as runtimes look for it when they make integer operators. */
static bool goes_without_zero_point(const struct unfolding *of, uint32_t value)
{
    if (of->q->dtype != PITH_INT4 || !pith_value_constant(of->graph, value))
        return of->q->dtype == PITH_INT32;
    for (size_t i = 0; i < of->q->count; i++)
        if (of->q->zero_point[i])
            return false;
    return true;
}

static int unfold_as_it_is(struct unfolding *of, uint32_t value)
{
    const struct pith_shape *shape = pith_value_shape(of->graph, value);
    struct pith_shape grid;
    int rc;

    if (of->q->block_size && (!shape || !pith_shape_known(shape)))
        return -EINVAL;
    grid = grid_shape(of->q, shape);
    rc = add_list(of->graph, of->name, "_scale", of->real, &grid, of->q, true, &of->scale);
    if (rc == 0 && !goes_without_zero_point(of, value))
        rc = add_list(of->graph, of->name, "_zero_point", of->q->dtype, &grid, of->q, false,
                      &of->zero_point);
    if (rc < 0)
        return rc;
    if (pith_value_constant(of->graph, value))
        return unfold_constant(of, value);
    if (pith_value_is_input(of->graph, value))
        return unfold_input(of, value);
    return unfold_produced(of, value);
}

static char *name_base(const char *name, uint32_t value)
{
    char *number = NULL;

    if (strlen(name) <= NAME_BYTES)
        return strdup(name);
    return asprintf(&number, "value_%u", (unsigned) value) < 0 ? NULL : number;
}

static int unfold_value(struct pith_graph *graph, uint32_t value, struct pith_error *err)
{
    struct value *folded = graph_value(graph, value);
    struct unfolding of = {.graph = graph,
                           .q = folded->quantization,
                           .real = folded->dtype ? folded->dtype : PITH_FLOAT32,
                           .zero_point = PITH_NO_VALUE};
    int rc = -ENOMEM;

    folded->quantization = NULL;
    if (folded->is_captured || pith_value_use_count(graph, value) == 0) {
        free(of.q); /* the graph around rounds it; nobody sees it */
        return 0;
    }
    if (folded->is_input && folded->output_uses) {
        rc = pith_fail(
            err, -ENOTSUP,
            "value \"%s\" is an input, quantized, and an output too: ONNX has no form for "
            "that",
            folded->name);
    } else {
        of.name = name_base(folded->name, value);
        if (of.name)
            rc = unfold_as_it_is(&of, value);
        if (rc < 0)
            (void) pith_fail(err, rc, "value \"%s\": its quantization can't be written: %s",
                             folded->name, rc == -EINVAL ? "its shape is unknown" : "no memory");
    }
    free(of.name);
    free(of.q);
    return rc;
}

int onnx_unfold_quantization(struct pith_graph *graph, struct pith_error *err)
{
    uint32_t values = pith_graph_value_limit(graph); /* those that are added need none */
    uint32_t nodes = pith_graph_node_limit(graph);
    int rc = 0;

    for (uint32_t i = 0; i < values && rc == 0; i++)
        if (pith_value_quantization(graph, i))
            rc = unfold_value(graph, i, err);
    for (uint32_t i = 0; i < nodes && rc == 0; i++)
        for (size_t k = 0; k < pith_node_attribute_count(graph, i) && rc == 0; k++) {
            struct pith_graph *inside =
                pith_node_edit_graph(graph, i, pith_node_attribute_name(graph, i, k));

            if (inside)
                rc = onnx_unfold_quantization(inside, err);
        }
    return rc;
}
