/* The door: what passes here may be relied on by everything behind it. Operators' own rules (how
 * many inputs, which types, which shapes) are checked against the operator table by inference. */
#include "libpith/graph/graph_internal.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CYCLE_NODES_TOLD 6 /* enough to find it in a file; the rest is cut */

/* "Conv_3" or, where it has no name, "node 17 (Conv)". */
static const char *node_text(const struct pith_graph *graph, uint32_t node, char *text,
                             size_t bytes)
{
    const char *name = graph->nodes[node]->name;

    if (name[0])
        (void) snprintf(text, bytes, "node \"%s\" (%s)", name, graph->nodes[node]->op);
    else
        (void) snprintf(text, bytes, "node %lu (%s)", (unsigned long) node, graph->nodes[node]->op);
    return text;
}
#define NODE_TEXT_BYTES 160

/* ---- values ---- */

static int check_shape(const struct value *value, struct pith_error *err)
{
    char text[PITH_SHAPE_TEXT_BYTES];

    if (value->shape.rank > PITH_MAX_RANK)
        return pith_fail(err, -EINVAL, "value \"%s\" has rank %u; %d is the most", value->name,
                         (unsigned) value->shape.rank, PITH_MAX_RANK);
    for (uint32_t i = 0; i < value->shape.rank; i++)
        if (value->shape.dim[i] < PITH_DIM_UNKNOWN)
            return pith_fail(err, -EINVAL, "value \"%s\": dimension %u is %lld", value->name,
                             (unsigned) i, (long long) value->shape.dim[i]);
    if (pith_shape_known(&value->shape) && pith_shape_elements(&value->shape) < 0)
        return pith_fail(err, -EINVAL, "value \"%s\" of shape %s is larger than %lld bytes",
                         value->name, pith_shape_text(&value->shape, text, sizeof text),
                         (long long) PITH_TENSOR_MAX_BYTES);
    return 0;
}

static int check_constant(const struct value *value, struct pith_error *err)
{
    const struct pith_tensor *tensor = &value->constant.tensor;
    const struct pith_quantization *quantization = value->quantization;
    int64_t bytes = pith_tensor_bytes(tensor->dtype, &tensor->shape);
    char text[PITH_SHAPE_TEXT_BYTES];

    if (bytes < 0 || (size_t) bytes != tensor->bytes)
        return pith_fail(err, -EINVAL,
                         "constant \"%s\" holds %zu bytes, but %s of shape %s takes %lld",
                         value->name, tensor->bytes, pith_dtype_name(tensor->dtype),
                         pith_shape_text(&tensor->shape, text, sizeof text), (long long) bytes);
    if (!value->has_shape || !pith_shape_equal(&value->shape, &tensor->shape))
        return pith_fail(err, -EINVAL,
                         "constant \"%s\" is of shape %s, which is not what its value says",
                         value->name, pith_shape_text(&tensor->shape, text, sizeof text));
    if (quantization && quantization->dtype != tensor->dtype)
        return pith_fail(err, -EINVAL, "constant \"%s\" is quantized to %s but holds %s",
                         value->name, pith_dtype_name(quantization->dtype),
                         pith_dtype_name(tensor->dtype));
    if (!quantization && value->dtype != tensor->dtype)
        return pith_fail(err, -EINVAL, "constant \"%s\" holds %s where %s is said", value->name,
                         pith_dtype_name(tensor->dtype), pith_dtype_name(value->dtype));
    return 0;
}

/* The range of zero points. int32 has none but 0: it is for biases, whose range is that of an
 * accumulator. */
static bool zero_point_range(int32_t dtype, int32_t *out_least, int32_t *out_most)
{
    int32_t bits = (int32_t) pith_dtype_bits(dtype);

    switch (dtype) {
    case PITH_INT4:
    case PITH_INT8:
    case PITH_INT16:
        *out_least = -(1 << (bits - 1));
        *out_most = (1 << (bits - 1)) - 1;
        return true;
    case PITH_UINT4:
    case PITH_UINT8:
    case PITH_UINT16:
        *out_least = 0;
        *out_most = (1 << bits) - 1;
        return true;
    case PITH_INT32:
        *out_least = *out_most = 0;
        return true;
    default:
        return false;
    }
}

/* How many scales there must be; -1 where the value's shape doesn't say. */
static int64_t scale_count(const struct value *value, const struct pith_quantization *quantization)
{
    struct pith_shape shape = value->shape;
    int64_t *along = &shape.dim[quantization->axis];

    if (value->has_shape && shape.rank == 0)
        return 1;
    if (!value->has_shape)
        return -1;
    if (!quantization->block_size)
        return *along;
    if (*along >= 0)
        *along = *along / quantization->block_size + (*along % quantization->block_size != 0);
    return pith_shape_elements(&shape);
}

static int check_quantization(const struct value *value, struct pith_error *err)
{
    const struct pith_quantization *q = value->quantization;
    int32_t rank = value->has_shape ? (int32_t) value->shape.rank : PITH_MAX_RANK;
    int32_t least;
    int32_t most;
    int64_t count;

    if (!zero_point_range(q->dtype, &least, &most))
        return pith_fail(err, -EINVAL, "value \"%s\" is quantized to %s, which is no type for it",
                         value->name, pith_dtype_name(q->dtype));
    if (q->count == 0 || q->block_size < 0)
        return pith_fail(err, -EINVAL,
                         "value \"%s\" is quantized with %zu scales in blocks of %lld", value->name,
                         q->count, (long long) q->block_size);
    if (q->axis < 0 || (q->axis > 0 && q->axis >= rank) || q->axis >= PITH_MAX_RANK)
        return pith_fail(err, -EINVAL, "value \"%s\" is quantized along axis %d, which it lacks",
                         value->name, (int) q->axis);
    if (q->count > 1 || q->block_size > 0) {
        count = scale_count(value, q);
        if (count >= 0 && (uint64_t) count != q->count)
            return pith_fail(err, -EINVAL, "value \"%s\" has %zu scales where %lld are needed",
                             value->name, q->count, (long long) count);
    }
    for (size_t i = 0; i < q->count; i++) {
        if (!isfinite(q->scale[i]) || q->scale[i] <= 0)
            return pith_fail(err, -EINVAL,
                             "value \"%s\": scale %zu is %g; it must be finite and above 0",
                             value->name, i, (double) q->scale[i]);
        if (q->zero_point[i] < least || q->zero_point[i] > most)
            return pith_fail(err, -EINVAL, "value \"%s\": zero point %zu is %ld, outside of %s",
                             value->name, i, (long) q->zero_point[i], pith_dtype_name(q->dtype));
    }
    return 0;
}

static int check_value(const struct value *value, struct pith_error *err)
{
    int rc = value->has_shape ? check_shape(value, err) : 0;

    if (rc == 0 && value->constant.backing) {
        if (value->producer != PITH_NO_NODE)
            return pith_fail(err, -EINVAL, "value \"%s\" is a constant, and made by a node too",
                             value->name);
        rc = check_constant(value, err);
    }
    if (rc == 0 && value->quantization)
        rc = check_quantization(value, err);
    return rc;
}

/* ---- uses ---- */

static bool is_defined(const struct value *value)
{
    return value->producer != PITH_NO_NODE || value->constant.backing || value->is_input ||
           value->is_captured;
}

static int check_captures(const struct pith_graph *graph, uint32_t node,
                          const struct pith_graph *inside, struct pith_error *err)
{
    char text[NODE_TEXT_BYTES];

    for (size_t i = 0; i < inside->capture_count; i++) {
        const struct value *inner = graph_value(inside, inside->captures[i].inner);
        const struct value *outer;

        if (inside->captures[i].outer >= graph->value_count)
            return pith_fail(err, -EINVAL, "%s: its sub-graph takes a value that isn't there",
                             node_text(graph, node, text, sizeof text));
        outer = graph->values[inside->captures[i].outer];
        if (!is_defined(outer))
            return pith_fail(err, -EINVAL,
                             "%s: its sub-graph takes value \"%s\", which nothing makes",
                             node_text(graph, node, text, sizeof text), outer->name);
        if (inner->dtype && outer->dtype && inner->dtype != outer->dtype)
            return pith_fail(err, -EINVAL,
                             "%s: its sub-graph takes value \"%s\" as %s, which is %s",
                             node_text(graph, node, text, sizeof text), outer->name,
                             pith_dtype_name(inner->dtype), pith_dtype_name(outer->dtype));
    }
    return 0;
}

static bool is_if(const struct node *node)
{
    return node->domain[0] == 0 && strcmp(node->op, "If") == 0;
}

static int validate_at(struct pith_graph *graph, int depth, struct pith_error *err);

static int check_node(struct pith_graph *graph, uint32_t number, int depth, struct pith_error *err)
{
    const struct node *node = graph->nodes[number];
    char text[NODE_TEXT_BYTES];

    for (size_t i = 0; i < node->input_count; i++)
        if (node->inputs[i] != PITH_NO_VALUE && !is_defined(graph_value(graph, node->inputs[i])))
            return pith_fail(err, -EINVAL, "%s takes value \"%s\", which nothing makes",
                             node_text(graph, number, text, sizeof text),
                             graph->values[node->inputs[i]]->name);
    for (size_t i = 0; i < node->attribute_count; i++) {
        struct pith_graph *inside = node->attributes[i].graph;
        int rc;

        if (node->attributes[i].kind != PITH_ATTRIBUTE_GRAPH)
            continue;
        if (depth >= GRAPH_MAX_DEPTH)
            return pith_fail(err, -EINVAL, "%s: sub-graphs are nested deeper than %d",
                             node_text(graph, number, text, sizeof text), GRAPH_MAX_DEPTH);
        rc = check_captures(graph, number, inside, err);
        if (rc == 0)
            rc = validate_at(inside, depth + 1, err);
        if (rc == 0 && inside->input_count && is_if(node))
            rc = pith_fail(err, -EINVAL,
                           "%s: its %s declares inputs; a branch takes what it needs from the "
                           "graph around it, by name",
                           node_text(graph, number, text, sizeof text), node->attributes[i].name);
        if (rc < 0)
            return rc;
    }
    return 0;
}

struct cycle_step {
    const struct pith_graph *graph;
    const uint8_t *reaches; /* a node: whether it is on the way back to where the cycle began */
    uint32_t next;
};

static int step_to_cycle(void *user, uint32_t value)
{
    struct cycle_step *step = user;
    uint32_t producer = step->graph->values[value]->producer;

    if (producer == PITH_NO_NODE || !step->reaches[producer])
        return 0;
    step->next = producer;
    return 1;
}

/* Marks the nodes that `from` leads to, by walking users. */
static void mark_reached(const struct pith_graph *graph, uint32_t from, uint8_t *reached,
                         uint32_t *stack)
{
    size_t depth = 1;

    stack[0] = from;
    reached[from] = 1;
    while (depth) {
        const struct node *node = graph->nodes[stack[--depth]];

        for (size_t i = 0; i < node->output_count; i++) {
            const struct value *value;

            if (node->outputs[i] == PITH_NO_VALUE)
                continue;
            value = graph->values[node->outputs[i]];
            for (size_t k = 0; k < value->user_count; k++)
                if (!reached[value->users[k]]) {
                    reached[value->users[k]] = 1;
                    stack[depth++] = value->users[k];
                }
        }
    }
}

/* Names the nodes of the cycle, walking back from one of them through producers that it leads to.
 */
static int refuse_cycle(const struct pith_graph *graph, uint32_t start, struct pith_error *err)
{
    uint8_t *reached = calloc(graph->node_count, 1);
    uint32_t *stack = malloc(graph->node_count * sizeof *stack);
    struct cycle_step step = {graph, reached, PITH_NO_NODE};
    char list[PITH_ERROR_TEXT_BYTES - 64];
    char text[NODE_TEXT_BYTES];
    size_t used = 0;
    uint32_t at = start;

    list[0] = 0;
    if (reached && stack) {
        mark_reached(graph, start, reached, stack);
        for (int told = 0; told < CYCLE_NODES_TOLD && used < sizeof list; told++) {
            used += (size_t) snprintf(list + used, sizeof list - used, "%s needs ",
                                      node_text(graph, at, text, sizeof text));
            if (node_each_dependency(graph, at, step_to_cycle, &step) != 1)
                break;
            /* A node once told is not gone through again, unless it closes the cycle. */
            reached[at] = at == start;
            at = step.next;
            if (at == start)
                break;
        }
        if (used < sizeof list)
            (void) snprintf(list + used, sizeof list - used, "%s",
                            at == start ? node_text(graph, at, text, sizeof text) : "...");
    }
    free(reached);
    free(stack);
    return pith_fail(err, -EINVAL, "the graph has a cycle: %s",
                     list[0] ? list : node_text(graph, start, text, sizeof text));
}

static int check_outputs(const struct pith_graph *graph, struct pith_error *err)
{
    for (size_t i = 0; i < graph->output_count; i++)
        if (!is_defined(graph_value(graph, graph->outputs[i])))
            return pith_fail(err, -EINVAL, "output \"%s\" is made by nothing",
                             graph->values[graph->outputs[i]]->name);
    return 0;
}

static int validate_at(struct pith_graph *graph, int depth, struct pith_error *err)
{
    uint32_t *order = NULL;
    size_t count = 0;
    uint32_t cycle = PITH_NO_NODE;
    int rc = check_outputs(graph, err);

    for (uint32_t i = 0; i < graph->value_count && rc == 0; i++)
        rc = check_value(graph->values[i], err);
    for (uint32_t i = 0; i < graph->node_count && rc == 0; i++)
        if (!graph->nodes[i]->removed)
            rc = check_node(graph, i, depth, err);
    if (rc < 0)
        return rc;
    rc = graph_sort(graph, &order, &count, &cycle);
    if (rc < 0)
        return pith_fail(err, rc, "no memory to put %lu nodes in order",
                         (unsigned long) graph->node_count);
    if (cycle != PITH_NO_NODE) {
        free(order);
        return refuse_cycle(graph, cycle, err);
    }
    pthread_mutex_lock(&graph->order_lock);
    free(graph->order);
    graph->order = order;
    graph->order_count = count;
    graph->order_known = true;
    pthread_mutex_unlock(&graph->order_lock);
    return 0;
}

int pith_graph_validate(struct pith_graph *graph, struct pith_error *err)
{
    return validate_at(graph, 0, err);
}
