/* Making steps, preparing them as far as is possible, and binding them to their slots. See plan.h. */
#include "plugins/engines/native/plan.h"

#include "libpith/graph/operator.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MOST_OPERANDS ((size_t) 1 << 24) /* of a step; no graph that fits memory has so many */

/* Entries that a kernel may look at: of an operator that is known, as many as it can have. */
static size_t port_count(size_t count, size_t most)
{
    const size_t least = most < PITH_STEP_PORTS ? most : PITH_STEP_PORTS;

    return (count > least ? count : least) + 1;
}

int plan_step_new(const struct plan *plan, const struct pith_operator *operator, size_t in_count,
                  size_t out_count, struct plan_step **out)
{
    const size_t ins = port_count(in_count, operator ? operator->max_inputs : PITH_STEP_PORTS),
                 outs = port_count(out_count, operator ? operator->max_outputs : PITH_STEP_PORTS);
    const size_t operands = (ins + outs) * sizeof(struct pith_tensor),
                 grids = (ins + outs) * sizeof(struct pith_quantization *),
                 slots = (ins + outs) * sizeof *(*out)->in;
    struct plan_step *step;

    if (in_count > MOST_OPERANDS || out_count > MOST_OPERANDS)
        return -ENOMEM;
    step = calloc(1, sizeof *step + operands + grids + slots);
    if (!step)
        return -ENOMEM;
    step->step.input = (struct pith_tensor *) (step + 1);
    step->step.output = step->step.input + ins;
    step->in_quantization = (const struct pith_quantization **) (step->step.output + outs);
    step->out_quantization = step->in_quantization + ins;
    step->in = (uint32_t *) (step->out_quantization + outs);
    step->out = step->in + ins;
    step->step.input_count = in_count;
    step->step.output_count = out_count;
    step->in_ports = ins - 1;
    step->out_ports = outs - 1;
    step->step.input_quantization = step->in_quantization;
    step->step.output_quantization = step->out_quantization;
    step->step.view = -1;
    step->step.threads = plan->options.threads;
    step->step.activation = PITH_ACTIVATION_NONE;
    *out = step;
    return 0;
}

void plan_step_free(struct plan_step *step)
{
    if (!step)
        return;
    control_free(step->control);
    pith_step_done(&step->step);
    free(step->late_shapes);
    free(step->in_image);
    free(step->out_image);
    free(step);
}

int plan_push_step(struct plan *plan, struct plan_step *step)
{
    int rc =
        plan_grow(&plan->steps, sizeof *plan->steps, plan->step_count, &plan->step_capacity);

    if (rc < 0)
        return rc;
    plan->steps[plan->step_count++] = step;
    plan->has_late = plan->has_late || step->late;
    plan->weight_bytes += step->step.blocks.bytes;
    return 0;
}

void plan_bind(struct plan *plan, struct plan_step *step)
{
    for (size_t i = 0; i < step->step.input_count; i++)
        if (step->in[i] != PLAN_NO_SLOT)
            step->step.input[i] = plan->slots[step->in[i]].tensor;
    for (size_t i = 0; i < step->step.output_count; i++)
        if (step->out[i] != PLAN_NO_SLOT)
            step->step.output[i] = plan->slots[step->out[i]].tensor;
    if (step->form == STEP_BLINDLY)
        blind_bind(plan, step);
}

/* Whether all shapes are known that a kernel may rely on in prepare. */
static bool shapes_known(const struct plan *plan, const struct plan_step *step)
{
    for (size_t i = 0; i < step->step.input_count; i++)
        if (step->in[i] != PLAN_NO_SLOT && !plan->slots[step->in[i]].known)
            return false;
    for (size_t i = 0; i < step->step.output_count; i++)
        if (step->out[i] != PLAN_NO_SLOT && !plan->slots[step->out[i]].known)
            return false;
    return true;
}

static void describe_call(struct plan *plan, const struct plan_call *call, struct plan_step *step)
{
    struct pith_step *s = &step->step;

    s->kernel = call->kernel;
    s->graph = plan->graph;
    s->node = call->node;
    s->activation = call->activation;
    s->residual = call->residual;
    s->name = call->node == PITH_NO_NODE ? "" : pith_node_name(plan->graph, call->node);
    s->opset = call->node == PITH_NO_NODE
                   ? 0
                   : pith_graph_opset(plan->graph, pith_node_domain(plan->graph, call->node));
    step->kernel_name = call->kernel->name;
    for (size_t i = 0; i < call->in_count; i++) {
        step->in[i] = call->in[i];
        if (call->in[i] != PLAN_NO_SLOT)
            step->in_quantization[i] = plan->slots[call->in[i]].quantization;
    }
    for (size_t i = 0; i < call->out_count; i++) {
        step->out[i] = call->out[i];
        if (call->out[i] != PLAN_NO_SLOT)
            step->out_quantization[i] = plan->slots[call->out[i]].quantization;
    }
}

/* The operator whose kernel is called; NULL where it is no node's own: one of the engine's, or a fused one. */
static const struct pith_operator *operator_of(const struct plan *plan,
                                               const struct plan_call *call)
{
    const char *domain = call->kernel->domain ? call->kernel->domain : "";

    if (call->node == PITH_NO_NODE ||
        strcmp(call->kernel->op, pith_node_op(plan->graph, call->node)) != 0)
        return NULL;
    return pith_operator_find(domain, call->kernel->op, pith_graph_opset(plan->graph, domain));
}

/* A step over channels-last values waits with its preparation until halos and strides are known. */
static int add_pending_step(struct plan *plan, struct plan_step *step, enum step_form form,
                            struct pith_error *err)
{
    int rc;

    if (!shapes_known(plan, step))
        return pith_step_fail(&step->step, err, -EINVAL, "a channels-last value of unknown shape");
    step->form = form;
    step->pending = true;
    if (form == STEP_IMAGE) {
        step->in_image = calloc(step->in_ports, sizeof *step->in_image);
        step->out_image = calloc(step->out_ports, sizeof *step->out_image);
        if (!step->in_image || !step->out_image)
            return -ENOMEM;
        step->step.input_image = step->in_image;
        step->step.output_image = step->out_image;
    }
    rc = plan_push_step(plan, step);
    for (size_t i = 0; i < step->step.output_count && rc == 0; i++)
        if (step->out[i] != PLAN_NO_SLOT)
            plan->slots[step->out[i]].place = SLOT_ARENA;
    return rc;
}

/* The outputs take their places: heap behind a late step, the memory of an input behind a view,
 * else the arena. */
static void place_outputs(struct plan *plan, struct plan_step *step)
{
    for (size_t i = 0; i < step->step.output_count; i++) {
        struct slot *slot;

        if (step->out[i] == PLAN_NO_SLOT)
            continue;
        slot = &plan->slots[step->out[i]];
        slot->place = step->late ? SLOT_HEAP : SLOT_ARENA;
        if (!step->late && step->step.view >= 0 && i == 0)
            slot->root = plan->slots[step->in[step->step.view]].root;
    }
}

/* What can't be kept in any run is refused before a kernel makes tables for it. A view is as large as an input, and may lie
 * in the file. */
static int check_outputs(const struct plan *plan, const struct plan_step *step, const char *op,
                         struct pith_error *err)
{
    uint64_t most = plan->options.limit_bytes;

    for (size_t i = 0; i < step->step.input_count; i++)
        if (step->step.input[i].bytes > most)
            most = step->step.input[i].bytes;
    for (size_t i = 0; i < step->step.output_count; i++)
        if (step->step.output[i].bytes > most)
            return pith_fail(err, -EFBIG, "%s \"%s\" gives %zu bytes, more than the engine's limit",
                             op, step->step.name, step->step.output[i].bytes);
    return 0;
}

int plan_add_step(struct plan *plan, const struct plan_call *call, struct pith_error *err)
{
    struct plan_step *step;
    int rc = plan_step_new(plan, operator_of(plan, call), call->in_count, call->out_count, &step);

    if (rc < 0)
        return rc;
    describe_call(plan, call, step);
    if (call->form != STEP_PLANAR) {
        rc = add_pending_step(plan, step, call->form, err);
        if (rc < 0)
            plan_step_free(step);
        return rc;
    }
    plan_bind(plan, step);
    step->late = (call->kernel->flags & PITH_KERNEL_SIZES_OUTPUT) || !shapes_known(plan, step);
    if (!step->late) {
        rc = check_outputs(plan, step, call->kernel->op, err);
        if (rc == 0)
            rc = pith_step_prepare(&step->step, err);
        step->prepared = rc == 0;
        if (rc == -EAGAIN) {
            step->late = step->late_data = true;
            rc = 0;
        }
    }
    if (rc == 0 && step->step.scratch_bytes > plan->options.limit_bytes)
        rc = pith_fail(err, -EFBIG,
                       "%s \"%s\" needs %zu bytes of scratch, more than the engine's limit",
                       call->kernel->op, step->step.name, step->step.scratch_bytes);
    if (rc == 0 && !step->late && step->step.view >= 0) {
        const struct slot *from = &plan->slots[step->in[step->step.view]];

        /* what lies on the heap may move in each run, so a view of it is made in each run too */
        if (plan->slots[from->root].place == SLOT_HEAP)
            step->late = true;
        step->kernel_name = "view";
    }
    if (rc == 0)
        rc = plan_push_step(plan, step);
    if (rc < 0) {
        plan_step_free(step);
        return rc;
    }
    place_outputs(plan, step);
    return 0;
}
