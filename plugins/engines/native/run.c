/* Running a plan. Where all shapes are known that is one call a step; a plan with late steps also
 * moves shapes and heap memory along, infers and prepares again what data decides, and may
 * allocate. */
#include "plugins/engines/native/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpith/base/clock.h"
#include "libpith/graph/operator.h"

#define LATE_CONSTANT_ELEMENTS                                                                     \
    4096 /* inputs up to this size are shown to inference: shapes, axes, scales, never images */

static int size_heap(struct plan *plan, struct slot *slot, size_t bytes, struct pith_error *err)
{
    void *memory;

    if (slot->heap && bytes <= slot->heap_bytes)
        return 0;
    if (plan->heap_bytes - slot->heap_bytes + bytes + plan->arena_bytes > plan->options.limit_bytes)
        return pith_fail(err, -ENOMEM,
                         "a value of %zu bytes passes the engine's memory limit of %llu", bytes,
                         (unsigned long long) plan->options.limit_bytes);
    memory =
        aligned_alloc(PLAN_ALIGNMENT, (bytes + PLAN_ALIGNMENT) / PLAN_ALIGNMENT * PLAN_ALIGNMENT);
    if (!memory)
        return pith_fail(err, -ENOMEM, "no memory for a value of %zu bytes", bytes);
    free(slot->heap);
    plan->heap_bytes = plan->heap_bytes - slot->heap_bytes + bytes;
    slot->heap = memory;
    slot->heap_bytes = bytes;
    return 0;
}

int plan_size_slot(struct plan *plan, uint32_t slot_number, const struct pith_shape *shape,
                   struct pith_error *err)
{
    struct slot *slot = &plan->slots[slot_number];
    const int64_t bytes = pith_tensor_bytes(slot->tensor.dtype, shape);
    int rc;

    if (bytes < 0)
        return pith_fail(err, -EINVAL, "a value's shape is not known, or too large");
    slot->tensor.shape = *shape;
    slot->tensor.bytes = (size_t) bytes;
    rc = size_heap(plan, slot, (size_t) bytes, err);
    slot->tensor.data = slot->heap;
    return rc;
}

struct late { /* what a kernel's resize needs to find its slot again */
    struct plan *plan;
    struct plan_step *step;
};

static int resize_output(struct pith_step *step, size_t index, const struct pith_shape *shape,
                         struct pith_error *err)
{
    struct late *late = step->owner;
    int rc = plan_size_slot(late->plan, late->step->out[index], shape, err);

    if (rc < 0)
        return rc;
    step->output[index] = late->plan->slots[late->step->out[index]].tensor;
    return 0;
}

/* ---- late steps ---- */

/* Shows inference this run's inputs: types, shapes, and the values of small ones. Quantized values are
 * floats to inference, however they are stored. */
static int show_inputs(struct plan *plan, struct plan_step *step)
{
    for (size_t i = 0; i < step->step.input_count; i++) {
        const uint32_t value = pith_node_input(plan->graph, step->step.node, i);
        const struct pith_tensor *tensor = &step->step.input[i];
        int rc;

        if (value == PITH_NO_VALUE ||
            plan->slots[plan->slots[step->in[i]].root].place == SLOT_CONSTANT)
            continue;
        if (pith_value_quantization(plan->graph, value)) {
            rc = pith_value_set_type(plan->graph, value, PITH_FLOAT32, &tensor->shape);
            if (rc < 0)
                return rc;
            continue;
        }
        rc = pith_value_set_type(plan->graph, value, tensor->dtype, &tensor->shape);
        if (rc == 0 && pith_shape_elements(&tensor->shape) <= LATE_CONSTANT_ELEMENTS)
            rc = pith_value_set_constant(plan->graph, value, tensor);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int hide_inputs(struct plan *plan, const struct plan_step *step)
{
    int rc = 0;

    for (size_t i = 0; i < step->step.input_count; i++) {
        const uint32_t value = pith_node_input(plan->graph, step->step.node, i);

        if (value != PITH_NO_VALUE &&
            plan->slots[plan->slots[step->in[i]].root].place != SLOT_CONSTANT)
            rc = pith_value_set_constant(plan->graph, value, NULL);
    }
    return rc;
}

static int infer_late(struct plan *plan, struct plan_step *step, struct pith_error *err)
{
    const uint32_t node = step->step.node;
    int rc = 0;

    for (size_t i = 0; i < step->step.output_count && rc == 0; i++) {
        const uint32_t value = pith_node_output(plan->graph, node, i);

        if (value != PITH_NO_VALUE)
            rc =
                pith_value_set_type(plan->graph, value, pith_value_dtype(plan->graph, value), NULL);
    }
    if (rc == 0)
        rc = show_inputs(plan, step);
    if (rc == 0)
        rc = fused_infer_node(plan->graph, node, err);
    if (hide_inputs(plan, step) < 0 && rc == 0)
        rc = -EINVAL; /* clearing can't fail */
    return rc;
}

/* The engine's own steps keep the shape. */
static const struct pith_shape *late_shape(struct plan *plan, struct plan_step *step, size_t index)
{
    uint32_t value;

    if (step->step.node == PITH_NO_NODE ||
        strcmp(step->step.kernel->domain ? step->step.kernel->domain : "", "pith") == 0)
        return &step->step.input[0].shape;
    value = pith_node_output(plan->graph, step->step.node, index);
    return value == PITH_NO_VALUE ? NULL : pith_value_shape(plan->graph, value);
}

static int size_outputs(struct plan *plan, struct plan_step *step, struct pith_error *err)
{
    const bool sized_in_run = step->step.kernel->flags & PITH_KERNEL_SIZES_OUTPUT;

    for (size_t i = 0; i < step->step.output_count; i++) {
        const struct pith_shape *shape =
            step->out[i] == PLAN_NO_SLOT ? NULL : late_shape(plan, step, i);
        int rc;

        if (step->out[i] == PLAN_NO_SLOT)
            continue;
        if (sized_in_run) {
            step->step.output[i].dtype = plan->slots[step->out[i]].tensor.dtype;
            step->step.output[i].shape = shape ? *shape : (struct pith_shape){0};
            continue;
        }
        if (!shape || !pith_shape_known(shape))
            return pith_step_fail(&step->step, err, -EINVAL,
                                  "the shape of output %zu can't be told from the inputs", i);
        rc = plan_size_slot(plan, step->out[i], shape, err);
        if (rc < 0)
            return rc;
        step->step.output[i] = plan->slots[step->out[i]].tensor;
    }
    return 0;
}

static bool shapes_changed(struct plan_step *step)
{
    bool changed = !step->prepared;

    for (size_t i = 0; i < step->step.input_count; i++) {
        changed = changed || !pith_shape_equal(&step->late_shapes[i], &step->step.input[i].shape);
        step->late_shapes[i] = step->step.input[i].shape;
    }
    return changed;
}

/* With constants alone first, so that packed weights stay right for all data; with all data only
 * where that is asked for. */
static int prepare_late(struct plan *plan, struct plan_step *step, struct pith_error *err)
{
    void *data[PITH_STEP_PORTS];
    int rc = -EAGAIN;

    pith_step_done(&step->step);
    step->prepared = false;
    if (!step->late_data && step->step.input_count <= PITH_STEP_PORTS) {
        for (size_t i = 0; i < step->step.input_count; i++) {
            data[i] = step->step.input[i].data;
            if (step->in[i] != PLAN_NO_SLOT &&
                plan->slots[plan->slots[step->in[i]].root].place != SLOT_CONSTANT)
                step->step.input[i].data = NULL;
        }
        rc = pith_step_prepare(&step->step, err);
        for (size_t i = 0; i < step->step.input_count; i++)
            step->step.input[i].data = data[i];
    }
    if (rc == -EAGAIN) {
        step->late_data = true;
        rc = pith_step_prepare(&step->step, err);
    }
    step->prepared = rc == 0;
    return rc;
}

static int run_late(struct plan *plan, struct plan_step *step, struct pith_error *err)
{
    struct late late = {plan, step};
    struct slot scratch = {0};
    int rc = 0;

    if (!step->late_shapes)
        step->late_shapes = calloc(step->step.input_count + 1, sizeof *step->late_shapes);
    if (!step->late_shapes)
        return pith_fail(err, -ENOMEM, "no memory for the shapes of a step");
    if (shapes_changed(step) || step->late_data) {
        if (step->step.node != PITH_NO_NODE &&
            late_shape(plan, step, 0) != &step->step.input[0].shape)
            rc = infer_late(plan, step, err);
        if (rc == 0)
            rc = size_outputs(plan, step, err);
        if (rc == 0)
            rc = prepare_late(plan, step, err);
    } else {
        rc = size_outputs(plan, step, err);
    }
    if (rc < 0)
        return rc;
    if (step->step.view >= 0) {
        const struct pith_tensor *from = &step->step.input[step->step.view];

        if (step->step.output[0].bytes)
            memcpy(step->step.output[0].data, from->data, step->step.output[0].bytes);
        return 0;
    }
    step->step.owner = &late;
    step->step.resize = resize_output;
    rc = size_heap(plan, &scratch, step->step.scratch_bytes, err);
    step->step.scratch = scratch.heap;
    if (rc == 0)
        rc = step->step.kernel->run(&step->step, err);
    plan->heap_bytes -= scratch.heap_bytes;
    free(scratch.heap);
    step->step.scratch = NULL;
    return rc;
}

/* ---- the loop ---- */

/* A row group runs in the place of its last link. */
static int run_group(struct plan *plan, const struct plan_step *link, struct pith_error *err)
{
    struct pith_step *step = row_group_step(link->group);

    if (plan->steps[row_group_last(link->group)] != link)
        return 0;
    if (!plan->team || link->shared == SHARED_NEVER)
        return step->kernel->run(step, err);
    team_run(plan->team, step);
    return 0;
}

static int run_step(struct plan *plan, struct plan_step *step, struct pith_error *err)
{
    if (step->control)
        return control_run(plan, step, err);
    if (step->late)
        return run_late(plan, step, err);
    if (step->group)
        return run_group(plan, step, err);
    if (plan->team && step->shared > SHARED_NEVER) {
        team_run(plan->team, &step->step);
        return 0;
    }
    return step->run ? step->run(&step->step, err) : 0;
}

static int run_profiled(struct plan *plan, struct plan_step *step, struct pith_error *err)
{
    const uint64_t start_ns = pith_monotonic_ns();
    int rc = run_step(plan, step, err);

    step->time_ns += pith_monotonic_ns() - start_ns;
    step->run_count++;
    return rc;
}

/* In a plan with late steps, shapes and addresses may be new: every operand is read from its slot
 * again. */
static int run_moving(struct plan *plan, const struct pith_tensor *inputs, struct pith_error *err)
{
    for (uint32_t i = 0; i < plan->slot_count; i++)
        if (plan->slots[plan->slots[i].root].place == SLOT_INPUT)
            plan->slots[i].tensor.data = inputs[plan->slots[plan->slots[i].root].input].data;
    for (size_t s = 0; s < plan->step_count; s++) {
        struct plan_step *step = plan->steps[s];
        int rc;

        plan_bind(plan, step);
        rc = plan->options.profile ? run_profiled(plan, step, err) : run_step(plan, step, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int run_all_profiled(struct plan *plan, struct pith_error *err)
{
    for (size_t s = 0; s < plan->step_count; s++) {
        int rc = run_profiled(plan, plan->steps[s], err);

        if (rc < 0)
            return rc;
    }
    return 0;
}

int plan_run_entries(struct plan *plan, enum plan_shared least, struct pith_error *err)
{
    for (const struct plan_entry *e = plan->entries, *end = e + plan->entry_count; e < end; e++) {
        int rc = 0;

        if (e->shared >= least)
            team_run(plan->team, e->step);
        else if (e->run)
            rc = e->run(e->step, err);
        else
            rc = control_run(plan, (struct plan_step *) (void *) e->step, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int plan_run(struct plan *plan, const struct pith_tensor *inputs, size_t input_count,
             struct pith_error *err)
{
    (void) input_count;
    if (plan->has_late)
        return run_moving(plan, inputs, err);
    for (size_t i = 0; i < plan->fixup_count; i++)
        plan->fixups[i].operand->data = inputs[plan->fixups[i].input].data;
    if (plan->options.profile)
        return run_all_profiled(plan, err);
    return plan->team ? plan_run_shared(plan, err) : plan_run_entries(plan, SHARED_NONE, err);
}

void plan_output(const struct plan *plan, size_t index, struct pith_tensor *out)
{
    *out = plan->slots[plan->output_slots[index]].tensor;
}
