/* What a plan keeps of its constants and of its graph. Most kernels pack their weights in prepare, so that the
 * model's own copy of them is never read again: for a model that fits a gateway barely, half of the
 * memory. What is still read is copied out of the model's bytes, where that is little, and those
 * are let go. */
#include "plugins/engines/native/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_constant(const struct plan *plan, uint32_t slot)
{
    return slot != PLAN_NO_SLOT && plan->slots[plan->slots[slot].root].place == SLOT_CONSTANT;
}

/* needed[i]: a run reads the constant slot i, or it is an output. */
static void find_needed(const struct plan *plan, bool *needed)
{
    for (size_t s = 0; s < plan->step_count; s++) {
        const struct plan_step *step = plan->steps[s];

        for (size_t i = 0; i < step->step.input_count; i++)
            if (is_constant(plan, step->in[i]) && pith_step_reads(&step->step, i))
                needed[plan->slots[step->in[i]].root] = true;
    }
    for (size_t i = 0; i < plan->output_count; i++)
        if (is_constant(plan, plan->output_slots[i]))
            needed[plan->slots[plan->output_slots[i]].root] = true;
}

/* Whether the slot's bytes are a block of the plan's, and not the graph's. */
static bool is_own(const struct plan *plan, uint32_t slot)
{
    return pith_blocks_have(&plan->blocks, plan->slots[slot].tensor.data);
}

static void free_block(struct plan *plan, uint32_t slot)
{
    if (!is_own(plan, slot))
        return;
    pith_blocks_free(&plan->blocks, plan->slots[slot].tensor.data);
    plan->weight_bytes -= plan->slots[slot].tensor.bytes;
}

static size_t held_by(const struct pith_graph *graph)
{
    size_t held = 0;

    for (uint32_t v = 0; v < pith_graph_value_limit(graph); v++) {
        const struct pith_tensor *constant = pith_value_constant(graph, v);

        held += constant ? constant->bytes : 0;
    }
    for (uint32_t n = 0; n < pith_graph_node_limit(graph); n++)
        for (size_t i = 0; pith_node_exists(graph, n) && i < pith_node_attribute_count(graph, n);
             i++)
            if (pith_node_attribute_kind(graph, n, i) == PITH_ATTRIBUTE_GRAPH)
                held += held_by(
                    pith_node_graph(graph, n, pith_node_attribute_name(graph, n, i)));
    return held;
}

/* The bytes of constants that the graph and its sub-graphs hold, and of those that runs read of its own. */
static void weigh(const struct plan *plan, const bool *needed, size_t *out_held, size_t *out_read)
{
    *out_held = held_by(plan->graph);
    *out_read = 0;
    for (uint32_t i = 0; i < plan->slot_count; i++)
        if (needed[i] && !is_own(plan, i))
            *out_read += plan->slots[i].tensor.bytes;
}

static int copy_needed(struct plan *plan, const bool *needed)
{
    for (uint32_t i = 0; i < plan->slot_count; i++) {
        struct pith_tensor *tensor = &plan->slots[i].tensor;
        void *copy;

        if (!needed[i] || is_own(plan, i))
            continue;
        copy = plan_alloc(plan, tensor->bytes);
        if (!copy)
            return -ENOMEM;
        if (tensor->bytes)
            memcpy(copy, tensor->data, tensor->bytes);
        tensor->data = copy;
        plan->weight_bytes += tensor->bytes;
    }
    return 0;
}

/* What runs read and the plan has made is made by other sessions of the graph too. */
static void share_needed(struct plan *plan, const bool *needed)
{
    for (uint32_t i = 0; i < plan->slot_count; i++)
        if (needed[i] && is_own(plan, i))
            plan->slots[i].tensor.data = (void *) (uintptr_t) pith_blocks_share(
                &plan->blocks, plan->slots[i].tensor.data); /* constants are not written */
}

static void strip_node(struct pith_graph *graph, uint32_t node)
{
    for (size_t i = pith_node_attribute_count(graph, node); i-- > 0;)
        if (pith_node_attribute_kind(graph, node, i) == PITH_ATTRIBUTE_TENSOR)
            pith_node_remove_attribute(graph, node, pith_node_attribute_name(graph, node, i));
}

static int strip_graph(struct plan *plan)
{
    struct pith_graph *graph = plan->graph;
    int rc = 0;

    for (size_t s = 0; s < plan->step_count; s++)
        if (plan->steps[s]->control)
            control_drop_graphs(plan, plan->steps[s]);
    for (uint32_t v = 0; v < pith_graph_value_limit(graph) && rc == 0; v++)
        rc = pith_value_set_constant(graph, v, NULL);
    for (uint32_t n = 0; n < pith_graph_node_limit(graph); n++)
        if (pith_node_exists(graph, n))
            strip_node(graph, n);
    return rc;
}

/* Runs of late steps infer shapes from the graph's constants, and what isn't an If whose branches are compiled compiles
 * bodies for the shapes that come. */
static bool runs_read_graph(const struct plan *plan)
{
    bool read = plan->has_late;

    for (size_t s = 0; s < plan->step_count; s++)
        read = read || plan->steps[s]->late ||
               (plan->steps[s]->control && !control_has_settled(plan->steps[s]));
    return read;
}

int plan_release_constants(struct plan *plan)
{
    bool *needed;
    size_t held, read;
    int rc = 0;

    plan->reads_graph = true;
    if (runs_read_graph(plan))
        return 0;
    needed = calloc(plan->slot_count + (size_t) 1, sizeof *needed);
    if (!needed)
        return -ENOMEM;
    find_needed(plan, needed);
    for (uint32_t i = 0; i < plan->slot_count; i++)
        if (plan->slots[i].place == SLOT_CONSTANT && plan->slots[i].root == i && !needed[i])
            free_block(plan, i);
    weigh(plan, needed, &held, &read);
    if (read <= held / 2) {
        rc = copy_needed(plan, needed);
        if (rc == 0)
            rc = strip_graph(plan);
        plan->reads_graph = false;
    }
    share_needed(plan, needed);
    for (uint32_t i = 0; i < plan->slot_count; i++)
        if (plan->slots[i].place == SLOT_CONSTANT && plan->slots[i].root == i && !needed[i])
            plan->slots[i].tensor.data = NULL;
    free(needed);
    return rc;
}

/* ---- the graph ---- */

static int keep_step_names(struct plan *plan)
{
    size_t bytes = 1;
    char *at;

    for (size_t s = 0; s < plan->step_count; s++)
        bytes += strlen(plan->steps[s]->step.name) + 1; /* "" where the engine made it */
    at = plan->step_names = malloc(bytes);
    if (!at)
        return -ENOMEM;
    for (size_t s = 0; s < plan->step_count; s++) {
        struct pith_step *step = &plan->steps[s]->step;

        step->name = strcpy(at, step->name);
        at += strlen(at) + 1;
    }
    return 0;
}

/* Bodies of control flow have names, operators and captures in it. */
static bool has_control(const struct plan *plan)
{
    for (size_t s = 0; s < plan->step_count; s++)
        if (plan->steps[s]->control)
            return true;
    return false;
}

int plan_release_graph(struct plan *plan)
{
    struct slot *fewer;

    if (plan->reads_graph || has_control(plan))
        return 0;
    if (keep_step_names(plan) < 0 || pith_graph_take_grids(plan->graph, &plan->grids) < 0)
        return -ENOMEM;
    for (size_t s = 0; s < plan->step_count; s++)
        plan->steps[s]->step.graph = NULL;
    pith_graph_free(plan->graph);
    plan->graph = NULL;
    plan->name = "";
    free(plan->slot_of_value);
    free(plan->user);
    free(plan->absorbed);
    plan->slot_of_value = NULL;
    plan->user = NULL;
    plan->absorbed = NULL;
    fewer = realloc(plan->slots, (plan->slot_count + (size_t) 1) * sizeof *plan->slots);
    if (fewer) { /* else it stays as large as it is */
        plan->slots = fewer;
        plan->slot_capacity = plan->slot_count + 1;
    }
    return 0;
}
