/* The order in which nodes can run: a depth-first walk from each node in turn to the producers of
 * what it needs, so that an order that is already right stays as it is. Each node and input is
 * looked at once. */
#include "libpith/graph/graph_internal.h"

#include <errno.h>
#include <stdlib.h>

enum state { UNSEEN = 0, OPEN = 1, DONE = 2 };

struct sorting {
    const struct pith_graph *graph;
    uint8_t *state;     /* a node */
    size_t *dependency; /* the next one to look at, a node */
    uint32_t *stack;    /* nodes that are open, from the first to the one that is looked at */
    size_t depth;
    uint32_t *order;
    size_t count;
};

/* The index-th thing that the node needs; PITH_NO_VALUE past the last. Omitted inputs are passed
 * over. */
static uint32_t dependency_at(const struct node *node, size_t *index)
{
    size_t skip;

    while (*index < node->input_count) {
        uint32_t value = node->inputs[(*index)++];

        if (value != PITH_NO_VALUE)
            return value;
    }
    skip = *index - node->input_count;
    for (size_t i = 0; i < node->attribute_count; i++) {
        const struct pith_graph *inside = node->attributes[i].graph;

        if (node->attributes[i].kind != PITH_ATTRIBUTE_GRAPH)
            continue;
        if (skip < inside->capture_count) {
            (*index)++;
            return inside->captures[skip].outer;
        }
        skip -= inside->capture_count;
    }
    return PITH_NO_VALUE;
}

/* Returns the node that closes a cycle, or PITH_NO_NODE. */
static uint32_t sort_from(struct sorting *sorting, uint32_t first)
{
    const struct pith_graph *graph = sorting->graph;

    sorting->stack[0] = first;
    sorting->depth = 1;
    sorting->state[first] = OPEN;
    while (sorting->depth) {
        uint32_t at = sorting->stack[sorting->depth - 1];
        uint32_t value = dependency_at(graph->nodes[at], &sorting->dependency[at]);
        uint32_t producer;

        if (value == PITH_NO_VALUE) {
            sorting->state[at] = DONE;
            sorting->order[sorting->count++] = at;
            sorting->depth--;
            continue;
        }
        producer = graph_value(graph, value)->producer;
        if (producer == PITH_NO_NODE || sorting->state[producer] == DONE)
            continue;
        if (sorting->state[producer] == OPEN)
            return producer;
        sorting->state[producer] = OPEN;
        sorting->stack[sorting->depth++] = producer;
    }
    return PITH_NO_NODE;
}

int graph_sort(const struct pith_graph *graph, uint32_t **out_order, size_t *out_count,
               uint32_t *out_cycle)
{
    size_t count = graph->node_count;
    struct sorting sorting = {.graph = graph};
    uint32_t cycle = PITH_NO_NODE;
    int rc = 0;

    sorting.state = calloc(count + 1, sizeof *sorting.state);
    sorting.dependency = calloc(count + 1, sizeof *sorting.dependency);
    sorting.stack = malloc((count + 1) * sizeof *sorting.stack);
    sorting.order = malloc((count + 1) * sizeof *sorting.order);
    if (!sorting.state || !sorting.dependency || !sorting.stack || !sorting.order) {
        rc = -ENOMEM;
        goto done;
    }
    for (uint32_t i = 0; i < count && cycle == PITH_NO_NODE; i++)
        if (!graph->nodes[i]->removed && sorting.state[i] == UNSEEN)
            cycle = sort_from(&sorting, i);
    *out_order = sorting.order;
    *out_count = sorting.count;
    *out_cycle = cycle;
    sorting.order = NULL;
done:
    free(sorting.state);
    free(sorting.dependency);
    free(sorting.stack);
    free(sorting.order);
    return rc;
}

/* Readers on several threads may be the first to ask. */
const uint32_t *pith_graph_order(const struct pith_graph *graph, size_t *out_count)
{
    struct pith_graph *kept = (struct pith_graph *) (uintptr_t) graph;
    uint32_t cycle = PITH_NO_NODE;
    const uint32_t *order = NULL;

    *out_count = 0;
    pthread_mutex_lock(&kept->order_lock);
    if (!kept->order_known) {
        uint32_t *fresh;
        size_t count;

        if (graph_sort(graph, &fresh, &count, &cycle) == 0) {
            free(kept->order);
            kept->order = fresh;
            kept->order_count = count;
            kept->order_known = cycle == PITH_NO_NODE;
        }
    }
    if (kept->order_known && kept->order_count) {
        order = kept->order;
        *out_count = kept->order_count;
    }
    pthread_mutex_unlock(&kept->order_lock);
    return order;
}
