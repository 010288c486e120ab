/* Changes to many places of a graph at once. */
#include "libpith/graph/graph_internal.h"

#include <errno.h>
#include <stdlib.h>

/* Room in `to` for all that `from` has, so that what follows can't fail halfway. */
static int reserve_users(struct value *to, size_t more)
{
    size_t needed = to->user_count + more;
    uint32_t *users;

    if (needed <= to->user_capacity)
        return 0;
    users = realloc(to->users, needed * sizeof *users);
    if (!users)
        return -ENOMEM;
    to->users = users;
    to->user_capacity = needed;
    return 0;
}

static void replace_in_node(struct node *node, uint32_t from, uint32_t to)
{
    for (size_t i = 0; i < node->input_count; i++)
        if (node->inputs[i] == from)
            node->inputs[i] = to;
    for (size_t i = 0; i < node->attribute_count; i++) {
        struct pith_graph *inside = node->attributes[i].graph;

        if (node->attributes[i].kind != PITH_ATTRIBUTE_GRAPH)
            continue;
        for (size_t k = 0; k < inside->capture_count; k++)
            if (inside->captures[k].outer == from)
                inside->captures[k].outer = to;
    }
}

/* An output goes on being called in a file what it was. */
static void take_declaration(struct value *to, const struct value *from)
{
    if (!to->declared)
        to->declared = from->declared;
    if (!to->dim_names) {
        to->dim_names = from->dim_names;
        to->dim_names_rank = from->dim_names_rank;
    }
}

int pith_graph_replace_value(struct pith_graph *graph, uint32_t from, uint32_t to)
{
    struct value *old = graph_value(graph, from);
    struct value *fresh = graph_value(graph, to);
    int rc;

    if (from == to)
        return 0;
    rc = reserve_users(fresh, old->user_count);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < old->user_count; i++) {
        if (i == 0 || old->users[i] != old->users[i - 1])
            replace_in_node(graph->nodes[old->users[i]], from, to);
        fresh->users[fresh->user_count++] = old->users[i];
    }
    old->user_count = 0;
    if (old->output_uses)
        take_declaration(fresh, old);
    for (size_t i = 0; i < graph->output_count && old->output_uses; i++)
        if (graph->outputs[i] == from)
            pith_graph_set_output(graph, i, to);
    graph_changed(graph);
    return 0;
}

static bool node_is_used(const struct pith_graph *graph, const struct node *node)
{
    for (size_t i = 0; i < node->output_count; i++)
        if (node->outputs[i] != PITH_NO_VALUE && pith_value_use_count(graph, node->outputs[i]) > 0)
            return true;
    return false;
}

/* Inside first: a branch may be all that used a value of the graph around. */
static int prune_inside(struct pith_graph *graph)
{
    for (uint32_t i = 0; i < graph->node_count; i++) {
        struct node *node = graph->nodes[i];

        for (size_t k = 0; k < node->attribute_count; k++) {
            int rc = 0;

            if (node->attributes[k].kind == PITH_ATTRIBUTE_GRAPH)
                rc = pith_graph_prune_dead(node->attributes[k].graph);
            if (rc < 0)
                return rc;
        }
    }
    return 0;
}

static void drop_unused_captures(struct pith_graph *graph)
{
    size_t kept = 0;

    for (size_t i = 0; i < graph->capture_count; i++) {
        struct capture capture = graph->captures[i];

        if (pith_value_use_count(graph, capture.inner) > 0) {
            graph->captures[kept++] = capture;
            continue;
        }
        graph_value(graph, capture.inner)->is_captured = false;
        if (graph->around)
            value_remove_user(graph->around, capture.outer, graph->around_node);
    }
    if (kept != graph->capture_count && graph->around)
        graph_changed(graph->around);
    graph->capture_count = kept;
}

/* A node is looked at after all that could use it, so one pass is enough. */
int pith_graph_prune_dead(struct pith_graph *graph)
{
    size_t count;
    uint32_t *order;
    uint32_t cycle;
    int rc = prune_inside(graph);

    if (rc == 0)
        rc = graph_sort(graph, &order, &count, &cycle);
    if (rc < 0)
        return rc;
    while (count-- > 0)
        if (!node_is_used(graph, graph->nodes[order[count]]))
            pith_graph_remove_node(graph, order[count]);
    free(order);
    for (uint32_t i = 0; i < graph->value_count; i++) {
        struct value *value = graph->values[i];

        if (pith_value_use_count(graph, i) > 0 || value->is_input)
            continue;
        constant_clear(&value->constant);
        if (value->producer == PITH_NO_NODE) {
            free(value->quantization);
            value->quantization = NULL;
            if (!value->is_captured)
                graph_release_name(graph, i);
        }
    }
    drop_unused_captures(graph);
    return 0;
}
