/* A second graph with the same numbers. Constants are shared, not copied. */
#include "libpith/graph/graph_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A table of malloc, copied with room for nothing more. */
static int copy_table(void *out, size_t *out_capacity, const void *from, size_t count,
                      size_t item_bytes)
{
    void **table = out;

    if (!count)
        return 0;
    *table = malloc(count * item_bytes);
    if (!*table)
        return -ENOMEM;
    memcpy(*table, from, count * item_bytes);
    *out_capacity = count;
    return 0;
}

static int clone_attribute(struct pith_graph *to, uint32_t node, const struct attribute *from)
{
    struct pith_graph *inside;
    int rc;

    switch (from->kind) {
    case PITH_ATTRIBUTE_INT:
        return pith_node_set_int(to, node, from->name, from->integer);
    case PITH_ATTRIBUTE_FLOAT:
        return pith_node_set_float(to, node, from->name, from->number);
    case PITH_ATTRIBUTE_STRING:
        return pith_node_set_string(to, node, from->name, from->text);
    case PITH_ATTRIBUTE_INTS:
        return pith_node_set_ints(to, node, from->name, from->integers, from->count);
    case PITH_ATTRIBUTE_FLOATS:
        return pith_node_set_floats(to, node, from->name, from->numbers, from->count);
    case PITH_ATTRIBUTE_STRINGS:
        return pith_node_set_strings(to, node, from->name, from->texts, from->count);
    case PITH_ATTRIBUTE_TENSOR:
        return pith_node_adopt_tensor(to, node, from->name, &from->tensor->tensor,
                                      from->tensor->backing);
    case PITH_ATTRIBUTE_GRAPH:
        rc = pith_graph_clone(from->graph, &inside, NULL);
        if (rc == 0) {
            rc = pith_node_set_graph(to, node, from->name, inside);
            if (rc < 0)
                pith_graph_free(inside);
        }
        return rc;
    default:
        return 0;
    }
}

static int clone_name(struct pith_graph *to, const struct value *from)
{
    uint32_t number;
    int rc = pith_graph_add_value(to, from->indexed ? from->name : NULL, from->dtype,
                                  from->has_shape ? &from->shape : NULL, &number, NULL);

    if (rc == 0 && !from->indexed)
        graph_release_name(to, number);
    for (uint32_t axis = 0; rc == 0 && from->dim_names && axis < PITH_MAX_RANK; axis++)
        if (from->dim_names[axis])
            rc = pith_value_set_dim_name(to, number, axis, from->dim_names[axis]);
    if (rc == 0 && from->declared)
        rc = pith_value_set_declared(to, number, from->declared);
    if (rc == 0)
        to->values[number]->dim_names_rank = from->dim_names_rank;
    return rc;
}

static int clone_contents(struct value *to, const struct value *from)
{
    if (from->constant.backing)
        constant_share(&to->constant, &from->constant.tensor, from->constant.backing);
    if (from->quantization) {
        to->quantization = quantization_copy(from->quantization);
        if (!to->quantization)
            return -ENOMEM;
    }
    to->is_input = from->is_input;
    to->is_captured = from->is_captured;
    to->output_uses = from->output_uses;
    return 0;
}

static int clone_node(struct pith_graph *to, const struct node *from)
{
    uint32_t number;
    int rc =
        pith_graph_add_node(to, from->domain, from->op, from->name, from->inputs, from->input_count,
                            from->outputs, from->output_count, &number, NULL);

    if (rc < 0)
        return rc;
    to->nodes[number]->removed = from->removed; /* its number stays taken */
    for (size_t i = 0; i < from->attribute_count && rc == 0; i++)
        rc = clone_attribute(to, number, &from->attributes[i]);
    return rc;
}

static int clone_lists(struct pith_graph *to, const struct pith_graph *from)
{
    int rc = copy_table(&to->inputs, &to->input_capacity, from->inputs, from->input_count,
                        sizeof *to->inputs);

    if (rc == 0)
        rc = copy_table(&to->outputs, &to->output_capacity, from->outputs, from->output_count,
                        sizeof *to->outputs);
    if (rc == 0)
        rc = copy_table(&to->captures, &to->capture_capacity, from->captures, from->capture_count,
                        sizeof *to->captures);
    if (rc < 0)
        return rc;
    to->input_count = from->input_count;
    to->output_count = from->output_count;
    to->capture_count = from->capture_count;
    to->next_name = from->next_name;
    for (size_t i = 0; i < from->opset_count && rc == 0; i++)
        rc = pith_graph_set_opset(to, from->opsets[i].domain, from->opsets[i].version);
    for (size_t i = 0; i < from->metadata_count && rc == 0; i++)
        rc = pith_graph_set_metadata(to, from->metadata[i].key, from->metadata[i].text);
    return rc;
}

int pith_graph_clone(const struct pith_graph *graph, struct pith_graph **out,
                     struct pith_error *err)
{
    struct pith_graph *clone;
    int rc = pith_graph_new(&clone, graph->name, err);

    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < graph->value_count && rc == 0; i++)
        rc = clone_name(clone, graph->values[i]);
    if (rc == 0)
        rc = clone_lists(clone, graph);
    for (uint32_t i = 0; i < graph->node_count && rc == 0; i++)
        rc = clone_node(clone, graph->nodes[i]);
    for (uint32_t i = 0; i < graph->value_count && rc == 0; i++)
        rc = clone_contents(clone->values[i], graph->values[i]);
    if (rc < 0) {
        pith_graph_free(clone);
        return pith_fail(err, rc, "no memory to copy the graph \"%s\"", graph->name);
    }
    *out = clone;
    return 0;
}
