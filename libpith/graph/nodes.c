/* Nodes: operator, inputs and outputs. Attributes are in attributes.c. */
#include "libpith/graph/graph_internal.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

struct node *graph_node(const struct pith_graph *graph, uint32_t node)
{
    assert(node < graph->node_count);
    return graph->nodes[node];
}

/* ---- reading ---- */

bool pith_node_exists(const struct pith_graph *graph, uint32_t node)
{
    return !graph_node(graph, node)->removed;
}

const char *pith_node_name(const struct pith_graph *graph, uint32_t node)
{
    return graph_node(graph, node)->name;
}

const char *pith_node_op(const struct pith_graph *graph, uint32_t node)
{
    return graph_node(graph, node)->op;
}

const char *pith_node_domain(const struct pith_graph *graph, uint32_t node)
{
    return graph_node(graph, node)->domain;
}

size_t pith_node_input_count(const struct pith_graph *graph, uint32_t node)
{
    return graph_node(graph, node)->input_count;
}

uint32_t pith_node_input(const struct pith_graph *graph, uint32_t node, size_t index)
{
    const struct node *of = graph_node(graph, node);

    return index < of->input_count ? of->inputs[index] : PITH_NO_VALUE;
}

size_t pith_node_output_count(const struct pith_graph *graph, uint32_t node)
{
    return graph_node(graph, node)->output_count;
}

uint32_t pith_node_output(const struct pith_graph *graph, uint32_t node, size_t index)
{
    const struct node *of = graph_node(graph, node);

    return index < of->output_count ? of->outputs[index] : PITH_NO_VALUE;
}

/* ---- writing ---- */

static int check_outputs(const struct pith_graph *graph, const char *what, const uint32_t *outputs,
                         size_t count, struct pith_error *err)
{
    for (size_t i = 0; i < count; i++) {
        const struct value *value;

        if (outputs[i] == PITH_NO_VALUE)
            continue;
        value = graph_value(graph, outputs[i]);
        if (value->producer != PITH_NO_NODE)
            return pith_fail(err, -EEXIST,
                             "value \"%s\" is made twice: by node \"%s\" and by \"%s\"",
                             value->name, graph_node(graph, value->producer)->name, what);
        if (value->constant.backing || value->is_input || value->is_captured)
            return pith_fail(err, -EEXIST, "node \"%s\" makes value \"%s\", which is already %s",
                             what, value->name,
                             value->constant.backing ? "a constant"
                             : value->is_input       ? "an input"
                                                     : "taken from the graph around");
        for (size_t k = 0; k < i; k++)
            if (outputs[k] == outputs[i])
                return pith_fail(err, -EEXIST, "node \"%s\" makes value \"%s\" twice", what,
                                 value->name);
    }
    return 0;
}

static struct node *make_node(struct pith_graph *graph, const char *domain, const char *op,
                              const char *name, size_t input_count, size_t output_count)
{
    struct node *node = arena_alloc(&graph->arena, sizeof *node);

    if (!node)
        return NULL;
    node->domain = arena_text(&graph->arena, domain && strcmp(domain, "ai.onnx") ? domain : "");
    node->op = arena_text(&graph->arena, op);
    node->name = arena_text(&graph->arena, name ? name : "");
    node->inputs = arena_alloc(&graph->arena, input_count * sizeof *node->inputs);
    node->outputs = arena_alloc(&graph->arena, output_count * sizeof *node->outputs);
    if (!node->domain || !node->op || !node->name || !node->inputs || !node->outputs)
        return NULL;
    node->input_capacity = input_count;
    return node;
}

/* Takes back what the first `count` inputs have been told. */
static void leave_inputs(struct pith_graph *graph, uint32_t node, const uint32_t *inputs,
                         size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (inputs[i] != PITH_NO_VALUE)
            value_remove_user(graph, inputs[i], node);
}

int pith_graph_add_node(struct pith_graph *graph, const char *domain, const char *op,
                        const char *name, const uint32_t *inputs, size_t input_count,
                        const uint32_t *outputs, size_t output_count, uint32_t *out_node,
                        struct pith_error *err)
{
    uint32_t number = graph->node_count;
    size_t capacity = graph->node_capacity;
    struct node *node;
    int rc = check_outputs(graph, name && name[0] ? name : op, outputs, output_count, err);

    if (rc < 0)
        return rc;
    node = make_node(graph, domain, op, name, input_count, output_count);
    if (!node || number >= PITH_NO_NODE - 1 ||
        grow(&graph->nodes, sizeof(struct node *), number, &capacity) < 0)
        return pith_fail(err, -ENOMEM, "no memory for node \"%s\" (%s)", name ? name : "", op);
    graph->node_capacity = (uint32_t) capacity;
    for (size_t i = 0; i < input_count; i++) {
        rc = inputs[i] == PITH_NO_VALUE ? 0 : value_add_user(graph, inputs[i], number);
        if (rc < 0) {
            leave_inputs(graph, number, inputs, i);
            return pith_fail(err, rc, "no memory for node \"%s\" (%s)", name ? name : "", op);
        }
    }
    if (input_count)
        memcpy(node->inputs, inputs, input_count * sizeof *inputs);
    if (output_count)
        memcpy(node->outputs, outputs, output_count * sizeof *outputs);
    node->input_count = input_count;
    node->output_count = output_count;
    for (size_t i = 0; i < output_count; i++)
        if (outputs[i] != PITH_NO_VALUE)
            graph->values[outputs[i]]->producer = number;
    graph->nodes[graph->node_count++] = node;
    graph_changed(graph);
    if (out_node)
        *out_node = number;
    return 0;
}

void pith_graph_remove_node(struct pith_graph *graph, uint32_t node)
{
    struct node *of = graph_node(graph, node);

    if (of->removed)
        return;
    leave_inputs(graph, node, of->inputs, of->input_count);
    for (size_t i = 0; i < of->output_count; i++)
        if (of->outputs[i] != PITH_NO_VALUE)
            graph->values[of->outputs[i]]->producer = PITH_NO_NODE;
    for (size_t i = 0; i < of->attribute_count; i++) {
        node_leave_captures(graph, node, &of->attributes[i]);
        attribute_clear(&of->attributes[i]);
    }
    of->attribute_count = 0;
    of->input_count = 0;
    of->output_count = 0;
    of->removed = true;
    graph_changed(graph);
}

int pith_node_set_input(struct pith_graph *graph, uint32_t node, size_t index, uint32_t value)
{
    struct node *of = graph_node(graph, node);
    int rc = 0;

    if (index >= of->input_capacity) { /* inputs in between are omitted */
        size_t capacity = index + 1;
        uint32_t *inputs =
            index < PITH_NO_NODE ? arena_alloc(&graph->arena, capacity * sizeof *inputs) : NULL;

        if (!inputs)
            return -ENOMEM;
        if (of->input_count)
            memcpy(inputs, of->inputs, of->input_count * sizeof *inputs);
        of->inputs = inputs;
        of->input_capacity = capacity;
    }
    if (value != PITH_NO_VALUE)
        rc = value_add_user(graph, value, node);
    if (rc < 0)
        return rc;
    while (of->input_count <= index)
        of->inputs[of->input_count++] = PITH_NO_VALUE;
    if (of->inputs[index] != PITH_NO_VALUE)
        value_remove_user(graph, of->inputs[index], node);
    of->inputs[index] = value;
    graph_changed(graph);
    return 0;
}

int pith_node_set_output(struct pith_graph *graph, uint32_t node, size_t index, uint32_t value)
{
    struct node *of = graph_node(graph, node);

    assert(index < of->output_count);
    if (value != PITH_NO_VALUE) {
        struct value *made = graph_value(graph, value);

        if (made->producer != PITH_NO_NODE || made->constant.backing || made->is_input ||
            made->is_captured)
            return -EEXIST;
        made->producer = node;
    }
    if (of->outputs[index] != PITH_NO_VALUE)
        graph->values[of->outputs[index]]->producer = PITH_NO_NODE;
    of->outputs[index] = value;
    graph_changed(graph);
    return 0;
}

int pith_node_set_op(struct pith_graph *graph, uint32_t node, const char *op)
{
    char *copy = arena_text(&graph->arena, op);

    if (!copy)
        return -ENOMEM;
    graph_node(graph, node)->op = copy;
    return 0;
}

int node_each_dependency(const struct pith_graph *graph, uint32_t node, dependency_visit *visit,
                         void *user)
{
    const struct node *of = graph_node(graph, node);
    int rc = 0;

    for (size_t i = 0; i < of->input_count && rc == 0; i++)
        if (of->inputs[i] != PITH_NO_VALUE)
            rc = visit(user, of->inputs[i]);
    for (size_t i = 0; i < of->attribute_count && rc == 0; i++) {
        const struct pith_graph *inside = of->attributes[i].graph;

        if (of->attributes[i].kind != PITH_ATTRIBUTE_GRAPH)
            continue;
        for (size_t k = 0; k < inside->capture_count && rc == 0; k++)
            rc = visit(user, inside->captures[k].outer);
    }
    return rc;
}
