/* Making and freeing plans: slots, and the walk over the graph's order. See plan.h. */
#include "plugins/engines/native/plan.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUILD_ATTEMPTS 4

bool plan_is_one_of(const char *op, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(op, *list) == 0)
            return true;
    return false;
}

bool plan_is_varying(const struct plan *plan, uint32_t slot)
{
    const enum slot_place place = plan->slots[plan->slots[slot].root].place;

    return plan->slots[slot].known && place != SLOT_CONSTANT && place != SLOT_HEAP;
}

int plan_grow(void *table, size_t item_bytes, size_t count, size_t *capacity)
{
    void **items = table;
    size_t more = *capacity ? *capacity * 2 : 32;
    void *grown;

    if (count < *capacity)
        return 0;
    grown = realloc(*items, more * item_bytes);
    if (!grown)
        return -ENOMEM;
    *items = grown;
    *capacity = more;
    return 0;
}

void *plan_alloc(struct plan *plan, size_t bytes)
{
    return bytes > PITH_TENSOR_MAX_BYTES ? NULL : pith_blocks_alloc(&plan->blocks, bytes);
}

/* ---- slots ---- */

int plan_add_slot(struct plan *plan, int32_t dtype, const struct pith_shape *shape, uint32_t *out)
{
    size_t capacity = plan->slot_capacity;
    /* A copy: it may be a slot's, and those move as the table grows. */
    const struct pith_shape own = shape ? *shape : (struct pith_shape){0};
    struct slot *slot;

    if (plan_grow(&plan->slots, sizeof *plan->slots, plan->slot_count, &capacity) < 0)
        return -ENOMEM;
    plan->slot_capacity = (uint32_t) capacity;
    slot = &plan->slots[plan->slot_count];
    *slot = (struct slot){.root = plan->slot_count,
                          .next_form = plan->slot_count,
                          .unrounded = PLAN_NO_SLOT,
                          .wide = PLAN_NO_SLOT};
    slot->tensor.dtype = dtype;
    slot->known = shape && pith_shape_known(&own);
    slot->tensor.shape = own;
    if (slot->known) {
        const int64_t bytes = pith_tensor_bytes(dtype, &own);

        if (bytes < 0)
            return -EFBIG;
        slot->tensor.bytes = (size_t) bytes;
    }
    *out = plan->slot_count++;
    return 0;
}

int plan_add_constant(struct plan *plan, int32_t dtype, const struct pith_shape *shape,
                      uint32_t *out)
{
    int rc = plan_add_slot(plan, dtype, shape, out);
    struct slot *slot;

    if (rc < 0)
        return rc;
    slot = &plan->slots[*out];
    slot->place = SLOT_CONSTANT;
    slot->tensor.data = plan_alloc(plan, slot->tensor.bytes);
    plan->weight_bytes += slot->tensor.bytes;
    return slot->tensor.data ? 0 : -ENOMEM;
}

/* Kernels read through pointers to elements; what lies unaligned in a file is copied. */
static int constant_slot(struct plan *plan, uint32_t value, const struct pith_tensor *constant,
                         uint32_t *out)
{
    int rc;

    if (!pith_tensor_aligned(constant)) {
        rc = plan_add_constant(plan, constant->dtype, &constant->shape, out);
        if (rc == 0)
            memcpy(plan->slots[*out].tensor.data, constant->data, constant->bytes);
    } else {
        rc = plan_add_slot(plan, constant->dtype, &constant->shape, out);
        if (rc == 0) {
            plan->slots[*out].place = SLOT_CONSTANT;
            plan->slots[*out].tensor.data = constant->data;
        }
    }
    if (rc == 0)
        plan->slots[*out].quantization = pith_value_quantization(plan->graph, value);
    return rc;
}

static bool is_real(const struct plan *plan, uint32_t slot)
{
    return plan->slots[slot].tensor.dtype == PITH_FLOAT32;
}

int plan_slot(struct plan *plan, uint32_t value, uint32_t *out)
{
    const struct pith_tensor *constant;
    int rc;

    if (plan->slot_of_value[value] == PLAN_NO_SLOT) {
        constant = pith_value_constant(plan->graph, value);
        if (!constant)
            return -EINVAL;
        rc = constant_slot(plan, value, constant, &plan->slot_of_value[value]);
        if (rc < 0) {
            plan->slot_of_value[value] = PLAN_NO_SLOT;
            return rc;
        }
    }
    return form_of_slot(plan, plan->slot_of_value[value],
                        &(struct form){.real = is_real(plan, plan->slot_of_value[value])}, out,
                        NULL);
}

int plan_plain_slot(struct plan *plan, uint32_t value, uint32_t *out, struct pith_error *err)
{
    uint32_t slot = plan->slot_of_value[value];
    int rc;

    if (slot != PLAN_NO_SLOT && plan->slots[slot].image.channels_last)
        return form_of_slot(plan, slot, &(struct form){.real = true}, out, err);
    rc = plan_slot(plan, value, out);
    if (rc < 0)
        return pith_fail(err, rc, "value \"%s\" is used before anything gives it",
                         pith_value_name(plan->graph, value));
    return integer_dequantize(plan, *out, out, err);
}

/* ---- the whole ---- */

/* Who uses each value, where it is one alone; outputs and captures of sub-graphs count as further
 * uses. */
static int find_users(struct plan *plan)
{
    const uint32_t values = pith_graph_value_limit(plan->graph);
    size_t count = 0;
    const uint32_t *order = pith_graph_order(plan->graph, &count);

    plan->user = malloc((values + (size_t) 1) * sizeof *plan->user);
    plan->absorbed =
        calloc(pith_graph_node_limit(plan->graph) + (size_t) 1, sizeof *plan->absorbed);
    plan->slot_of_value = malloc((values + (size_t) 1) * sizeof *plan->slot_of_value);
    if (!plan->user || !plan->absorbed || !plan->slot_of_value)
        return -ENOMEM;
    for (uint32_t v = 0; v < values; v++) {
        plan->user[v] = PITH_NO_NODE;
        plan->slot_of_value[v] = PLAN_NO_SLOT;
    }
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < pith_node_input_count(plan->graph, order[i]); j++) {
            const uint32_t value = pith_node_input(plan->graph, order[i], j);

            if (value != PITH_NO_VALUE && pith_value_use_count(plan->graph, value) == 1)
                plan->user[value] = order[i];
        }
    return 0;
}

static int add_input(struct plan *plan, uint32_t value, size_t index, int32_t dtype,
                     const struct pith_shape *declared, struct pith_error *err)
{
    const struct pith_shape copy = *declared,
                            *shape = &copy; /* it may be the value's own, which is set here */
    const struct pith_quantization *quantization = pith_value_quantization(plan->graph, value);
    uint32_t slot;
    int rc = pith_value_set_type(plan->graph, value, dtype, shape);

    if (rc == 0)
        rc = plan_add_slot(plan, quantization ? PITH_FLOAT32 : dtype, shape, &slot);
    if (rc < 0)
        return pith_fail(err, rc, "input \"%s\" of the graph \"%s\" is too large",
                         pith_value_name(plan->graph, value), plan->name);
    plan->slots[slot].place = SLOT_INPUT;
    plan->slots[slot].input = index;
    plan->input_slots[index] = slot;
    plan->slot_of_value[value] = slot;
    if (quantization) { /* arrives as floats, and is rounded to its grid */
        rc = plan_output_slot(plan, value, &plan->slot_of_value[value]);
        if (rc == 0)
            rc = integer_quantize(plan, slot, plan->slot_of_value[value], err);
    }
    return rc;
}

static int add_inputs(struct plan *plan, const struct pith_shape *input_shapes,
                      struct pith_error *err)
{
    const size_t count = pith_graph_input_count(plan->graph);
    uint32_t *values = calloc(count + 1, sizeof *values);
    int rc = values ? 0 : -ENOMEM;

    for (size_t i = 0; i < count && rc == 0; i++)
        values[i] = pith_graph_input(plan->graph, i);
    for (size_t i = 0; i < count && rc == 0; i++) {
        const struct pith_shape *shape =
            input_shapes ? &input_shapes[i] : pith_value_shape(plan->graph, values[i]);
        char text[PITH_SHAPE_TEXT_BYTES];

        if (!shape || !pith_shape_known(shape))
            rc = pith_fail(err, -EINVAL, "the shape of input \"%s\" is %s: name all of it",
                           pith_value_name(plan->graph, values[i]),
                           shape ? pith_shape_text(shape, text, sizeof text) : "not known");
        else
            rc =
                add_input(plan, values[i], i, pith_value_dtype(plan->graph, values[i]), shape, err);
    }
    free(values);
    return rc;
}

static int add_captures(struct plan *plan, const struct pith_tensor *captures,
                        struct pith_error *err)
{
    const size_t first = plan->input_count - plan->capture_count;
    int rc = 0;

    for (size_t i = 0; i < plan->capture_count && rc == 0; i++) {
        uint32_t inner;

        pith_graph_capture(plan->graph, i, &inner, &plan->capture_outer[i]);
        if (captures[i].data) {
            plan->input_slots[first + i] = PLAN_NO_SLOT;
            rc = pith_value_set_constant(plan->graph, inner, &captures[i]);
        } else {
            rc = add_input(plan, inner, first + i, captures[i].dtype, &captures[i].shape, err);
        }
    }
    return rc;
}

static int add_outputs(struct plan *plan, struct pith_error *err)
{
    plan->output_count = pith_graph_output_count(plan->graph);
    plan->output_slots = calloc(plan->output_count + 1, sizeof *plan->output_slots);
    if (!plan->output_slots)
        return -ENOMEM;
    for (size_t i = 0; i < plan->output_count; i++) {
        int rc =
            plan_plain_slot(plan, pith_graph_output(plan->graph, i), &plan->output_slots[i], err);

        if (rc < 0)
            return rc;
    }
    return 0;
}

/* A step takes in the Add behind it only where the other operand is there: a pool or pad that leads
 * to that comes first, wherever the graph has it. */
static int build_with_shortcut(struct plan *plan, uint32_t node, struct pith_error *err)
{
    uint32_t before[FUSE_SHORTCUT_NODES];
    const size_t count =
        plan->options.plain || plan->absorbed[node] ? 0 : fuse_shortcut(plan, node, before);
    int rc = 0;

    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = plan_build_node(plan, before[i], err);
        plan->absorbed[before[i]] = true;
    }
    return rc < 0 ? rc : plan_build_node(plan, node, err);
}

static int build(struct plan *plan, const struct pith_shape *input_shapes,
                 const struct pith_tensor *captures, bool *out_refused, struct pith_error *err)
{
    size_t count = 0;
    const uint32_t *order;
    int rc = find_users(plan);

    plan->capture_count = pith_graph_capture_count(plan->graph);
    plan->input_count = pith_graph_input_count(plan->graph) + plan->capture_count;
    plan->input_slots = calloc(plan->input_count + 1, sizeof *plan->input_slots);
    plan->capture_outer = calloc(plan->capture_count + 1, sizeof *plan->capture_outer);
    if (rc < 0 || !plan->input_slots || !plan->capture_outer)
        return -ENOMEM;
    rc = add_inputs(plan, input_shapes, err);
    if (rc == 0)
        rc = add_captures(plan, captures, err);
    order = pith_graph_order(plan->graph, &count);
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = build_with_shortcut(plan, order[i], err);
    if (rc == 0)
        rc = add_outputs(plan, err);
    if (rc == 0)
        rc = plan_settle(plan, out_refused, err);
    if (rc == 0 && !*out_refused)
        rc = plan_release_constants(plan);
    if (rc == 0 && !*out_refused)
        rc = plan_lay_out(plan, err);
    if (rc == 0 && !*out_refused)
        rc = plan_release_graph(plan);
    return rc;
}

/* One attempt. refused: what is known of nodes from attempts before. */
static int try_build(struct plan **out, const struct pith_graph *graph,
                     const struct pith_shape *input_shapes, const struct pith_tensor *captures,
                     const struct plan_options *options, uint8_t **refused, bool *out_refused,
                     struct pith_error *err)
{
    struct plan *plan = calloc(1, sizeof *plan);
    int rc;

    if (!plan)
        return -ENOMEM;
    plan->options = *options;
    *out_refused = false;
    rc = pith_graph_clone(graph, &plan->graph, err);
    if (rc == 0) {
        plan->name = pith_graph_name(plan->graph);
        rc = options->plain ? 0 : rewrite_graph(plan->graph);
    }
    /* as many as there are behind the rewriting, which adds nodes: the same in each attempt */
    if (rc == 0 && !*refused)
        *refused = calloc(pith_graph_node_limit(plan->graph) + (size_t) 1, sizeof **refused);
    plan->refused = *refused;
    if (rc == 0 && !*refused)
        rc = -ENOMEM;
    if (rc == 0) {
        rc = build(plan, input_shapes, captures, out_refused, err);
    }
    plan->refused = NULL;
    if (rc < 0 || *out_refused) {
        plan_free(plan);
        return rc;
    }
    *out = plan;
    return 0;
}

int plan_new(struct plan **out, const struct pith_graph *graph,
             const struct pith_shape *input_shapes, const struct pith_tensor *captures,
             const struct plan_options *options, struct pith_error *err)
{
    struct plan_options how = *options;
    uint8_t *refused = NULL;
    bool again = false;
    int rc = 0;

    if (options->depth > PLAN_MAX_DEPTH)
        return pith_fail(err, -ENOTSUP, "sub-graphs are nested more than %d deep", PLAN_MAX_DEPTH);
    /* Kernels say late, with halos and strides before them, that a form has no kernel. What they
     * refuse is built with floats or planar in the next attempt, and after some attempts everything
     * is planar. */
    for (int attempt = 1; rc == 0 && (attempt == 1 || again); attempt++) {
        how.planar = how.planar || attempt > BUILD_ATTEMPTS;
        rc = try_build(out, graph, input_shapes, captures, &how, &refused, &again, err);
    }
    free(refused);
    return rc == -ENOMEM
               ? pith_fail(err, rc, "no memory to compile the graph \"%s\"", pith_graph_name(graph))
               : rc;
}

void plan_free(struct plan *plan)
{
    if (!plan)
        return;
    for (size_t i = 0; i < plan->step_count; i++)
        plan_step_free(plan->steps[i]);
    for (uint32_t i = 0; i < plan->slot_count; i++)
        free(plan->slots[i].heap);
    for (size_t i = 0; i < plan->row_group_count; i++)
        row_group_free(plan->row_groups[i]);
    pith_blocks_done(&plan->blocks);
    free(plan->row_groups);
    free(plan->steps);
    free(plan->slots);
    free(plan->slot_of_value);
    free(plan->user);
    free(plan->absorbed);
    free(plan->input_slots);
    free(plan->capture_outer);
    free(plan->output_slots);
    team_close(plan->team);
    free(plan->entries);
    free(plan->fixups);
    pith_graph_free(plan->graph);
    pith_grids_done(&plan->grids);
    free(plan->step_names);
    free(plan);
}
