/* If, and the compiling of sub-graphs. A branch or body is a plan of its own; what it captures are
 * further inputs of it and of the step. An If whose branches give the same known shapes is an
 * ordinary step; everything else here is a late one. */
#include "plugins/engines/native/control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpith/graph/operator.h"

bool control_is(const struct pith_graph *graph, uint32_t node)
{
    const char *op = pith_node_op(graph, node);

    if (pith_node_domain(graph, node)[0] != 0)
        return false;
    if (strcmp(op, "If") == 0 || strcmp(op, "Loop") == 0)
        return true;
    return strcmp(op, "Scan") == 0 &&
           pith_graph_opset(graph, "") >= 9; /* opset 8's had a batch and lengths */
}

void control_free(struct control *control)
{
    if (!control)
        return;
    for (size_t i = 0; i < control->body_count; i++) {
        plans_done(&control->body[i].plans);
        free(control->body[i].inputs);
        free(control->body[i].constant);
    }
    free(control->given);
    free(control->axes);
    free(control->backward);
    free(control);
}

uint64_t control_weight_bytes(const struct control *control)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < control->body_count; i++)
        bytes += plans_weight_bytes(&control->body[i].plans);
    return bytes;
}

uint64_t control_arena_bytes(const struct control *control)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < control->body_count; i++)
        bytes += plans_arena_bytes(&control->body[i].plans);
    return bytes;
}

/* ---- bodies ---- */

int body_compile(struct body *body, const struct plan_options *options, struct pith_error *err)
{
    const struct plans_request request = {.graph = body->graph,
                                          .inputs = body->inputs,
                                          .own_count = body->own_count,
                                          .capture_count = body->capture_count,
                                          .constant = body->constant,
                                          .options = options};

    body->plan = NULL;
    return plans_find(&body->plans, &request, &body->plan, err);
}

void body_capture(struct body *body, const struct plan_step *step)
{
    for (size_t i = 0; i < body->capture_count; i++)
        body->inputs[body->own_count + i] = step->step.input[body->capture_first + i];
}

int body_run(struct body *body, struct pith_error *err)
{
    return plan_run(body->plan, body->inputs, body->own_count + body->capture_count, err);
}

static int body_init(struct body *body, const struct pith_graph *graph, size_t capture_first)
{
    size_t count;

    body->graph = graph;
    body->own_count = pith_graph_input_count(graph);
    body->capture_count = pith_graph_capture_count(graph);
    body->capture_first = capture_first;
    count = body->own_count + body->capture_count;
    body->inputs = calloc(count + 1, sizeof *body->inputs);
    body->constant = calloc(body->capture_count + 1, sizeof *body->constant);
    return body->inputs && body->constant ? 0 : -ENOMEM;
}

/* ---- building ---- */

static const char *const if_names[] = {"else_branch", "then_branch"};

static int find_bodies(struct plan *plan, uint32_t node, struct control *control,
                       struct pith_error *err)
{
    size_t first = pith_node_input_count(plan->graph, node);

    for (size_t i = 0; i < (control->kind == CONTROL_IF ? 2 : 1); i++) {
        const char *attribute = control->kind == CONTROL_IF ? if_names[i] : "body";
        const struct pith_graph *graph = pith_node_graph(plan->graph, node, attribute);
        int rc;

        if (!graph)
            return pith_fail(err, -EINVAL, "%s \"%s\" has no %s", pith_node_op(plan->graph, node),
                             pith_node_name(plan->graph, node), attribute);
        control->body_count = i + 1;
        rc = body_init(&control->body[i], graph, first);
        if (rc < 0)
            return rc;
        first += control->body[i].capture_count;
    }
    return 0;
}

/* The node's inputs, then the captures. */
static int gather_operands(struct plan *plan, uint32_t node, struct control *control,
                           struct plan_step *step, struct pith_error *err)
{
    for (size_t i = 0; i < pith_node_input_count(plan->graph, node); i++) {
        const uint32_t value = pith_node_input(plan->graph, node, i);
        int rc;

        step->in[i] = PLAN_NO_SLOT;
        rc = value == PITH_NO_VALUE ? 0 : plan_plain_slot(plan, value, &step->in[i], err);
        if (rc < 0)
            return rc;
    }
    for (size_t b = 0; b < control->body_count; b++)
        for (size_t i = 0; i < control->body[b].capture_count; i++) {
            uint32_t inner, outer;
            int rc;

            pith_graph_capture(control->body[b].graph, i, &inner, &outer);
            rc = plan_plain_slot(plan, outer, &step->in[control->body[b].capture_first + i], err);
            if (rc < 0)
                return rc;
            control->body[b].constant[i] =
                plan->slots[step->in[control->body[b].capture_first + i]].place == SLOT_CONSTANT;
        }
    return 0;
}

static bool captures_known(const struct plan *plan, const struct plan_step *step,
                           const struct body *body)
{
    for (size_t i = 0; i < body->capture_count; i++)
        if (!plan->slots[step->in[body->capture_first + i]].known)
            return false;
    return true;
}

/* A branch whose outputs are what the node gives, whichever is taken: both agree, or the other one
 * can't be run. NULL where that is not so. */
static const struct plan *settled_branch(const struct control *control, size_t output_count)
{
    const struct plan *a = control->body[0].plan, *b = control->body[1].plan;

    if (!a && control->body[0].refusal.code)
        a = b;
    if (!b && control->body[1].refusal.code)
        b = a;
    if (!a || !b || a->output_count != output_count || b->output_count != output_count)
        return NULL;
    for (size_t i = 0; i < output_count; i++) {
        const struct slot *x = &a->slots[a->output_slots[i]], *y = &b->slots[b->output_slots[i]];

        if (!x->known || !y->known || x->tensor.dtype != y->tensor.dtype ||
            !pith_shape_equal(&x->tensor.shape, &y->tensor.shape))
            return NULL;
    }
    return a;
}

static int compile_branches(struct plan *plan, struct plan_step *step, struct pith_error *err)
{
    struct control *control = step->control;

    for (size_t b = 0; b < control->body_count; b++) {
        struct body *body = &control->body[b];
        int rc;

        if (!captures_known(plan, step, body))
            continue;
        body_capture(body, step);
        rc = body_compile(body, &control->options, &body->refusal);
        if (rc == -ENOMEM)
            return pith_fail(err, rc, "%s", pith_error_text(&body->refusal));
        body->refusal.code = rc;
    }
    if (control->body[0].refusal.code && control->body[1].refusal.code) {
        if (err)
            *err = control->body[1].refusal;
        return control->body[1].refusal.code;
    }
    return 0;
}

/* Types of what the node gives. Loop and Scan: inference knows the types; the shapes come with the
 * run. */
static int add_output_slots(struct plan *plan, uint32_t node, struct plan_step *step,
                            struct pith_error *err)
{
    const struct plan *settled = step->control->kind == CONTROL_IF
                                     ? settled_branch(step->control, step->step.output_count)
                                     : NULL;

    for (size_t i = 0; i < step->step.output_count; i++) {
        const uint32_t value = pith_node_output(plan->graph, node, i);
        int rc;

        step->out[i] = PLAN_NO_SLOT;
        if (value == PITH_NO_VALUE)
            continue;
        if (settled) {
            const struct pith_tensor *tensor = &settled->slots[settled->output_slots[i]].tensor;

            rc = pith_value_set_type(plan->graph, value, tensor->dtype, &tensor->shape);
        } else {
            const struct pith_shape *shape = pith_value_shape(plan->graph, value);

            step->control->given[i] = shape ? *shape : (struct pith_shape){0};
            rc =
                pith_value_set_type(plan->graph, value, pith_value_dtype(plan->graph, value), NULL);
        }
        if (rc == 0 && pith_value_quantization(plan->graph, value))
            rc = plan_add_slot(plan, PITH_FLOAT32, pith_value_shape(plan->graph, value),
                               &step->out[i]); /* brought onto the grid behind the step */
        else if (rc == 0)
            rc = plan_output_slot(plan, value, &step->out[i]);
        if (rc < 0)
            return rc;
        plan->slots[step->out[i]].place = settled ? SLOT_ARENA : SLOT_HEAP;
        if (pith_value_dtype(plan->graph, value) == PITH_DTYPE_NONE)
            return pith_fail(err, -ENOTSUP, "the type of output %zu of %s \"%s\" can't be told", i,
                             pith_node_op(plan->graph, node), pith_node_name(plan->graph, node));
    }
    step->late = !settled;
    return 0;
}

static int fill_step(struct plan *plan, uint32_t node, struct plan_step *step,
                     struct pith_error *err)
{
    int rc;

    step->step.graph = plan->graph;
    step->step.node = node;
    step->step.name = pith_node_name(plan->graph, node);
    step->kernel_name = pith_node_op(plan->graph, node);
    rc = gather_operands(plan, node, step->control, step, err);
    if (rc == 0 && step->control->kind != CONTROL_IF) /* branches tell it themselves, if they fit */
        rc = pith_graph_infer_node(plan->graph, node, err);
    if (rc < 0)
        return rc;
    plan_bind(plan, step);
    if (step->control->kind == CONTROL_IF)
        rc = compile_branches(plan, step, err);
    else if (step->control->kind == CONTROL_SCAN)
        rc = scan_read(plan->graph, node, step->control, err);
    return rc < 0 ? rc : add_output_slots(plan, node, step, err);
}

/* Bodies give floats; what is quantized is rounded behind them. */
static int round_outputs(struct plan *plan, uint32_t node, const struct plan_step *step,
                         struct pith_error *err)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < step->step.output_count; i++) {
        const uint32_t value = pith_node_output(plan->graph, node, i);
        uint32_t stored;

        if (value == PITH_NO_VALUE || !pith_value_quantization(plan->graph, value))
            continue;
        rc = plan_output_slot(plan, value, &stored);
        if (rc == 0)
            rc = integer_quantize(plan, step->out[i], stored, err);
    }
    return rc;
}

int control_build(struct plan *plan, uint32_t node, struct pith_error *err)
{
    const char *op = pith_node_op(plan->graph, node);
    struct control *control = calloc(1, sizeof *control);
    struct plan_step *step = NULL;
    int rc;

    if (!control)
        return -ENOMEM;
    control->kind = strcmp(op, "If") == 0     ? CONTROL_IF
                    : strcmp(op, "Loop") == 0 ? CONTROL_LOOP
                                              : CONTROL_SCAN;
    control->options = plan->options;
    control->options.depth++;
    control->options.threads = 1; /* what bodies do is too small to share */
    rc = find_bodies(plan, node, control, err);
    if (rc == 0) {
        size_t captures = 0;

        for (size_t b = 0; b < control->body_count; b++)
            captures += control->body[b].capture_count;
        rc = plan_step_new(plan, NULL, pith_node_input_count(plan->graph, node) + captures,
                           pith_node_output_count(plan->graph, node), &step);
    }
    if (rc < 0) {
        control_free(control);
        return rc;
    }
    step->control = control;
    control->given = calloc(step->step.output_count + 1, sizeof *control->given);
    rc = control->given ? fill_step(plan, node, step, err) : -ENOMEM;
    if (rc == 0)
        rc = plan_push_step(plan, step);
    if (rc < 0)
        plan_step_free(step);
    return rc < 0 ? rc : round_outputs(plan, node, step, err);
}

/* ---- letting go of what is compiled ---- */

bool control_has_settled(const struct plan_step *step)
{
    return step->control->kind == CONTROL_IF && !step->late;
}

void control_drop_graphs(struct plan *plan, struct plan_step *step)
{
    for (size_t b = 0; b < step->control->body_count; b++) {
        pith_node_remove_attribute(plan->graph, step->step.node, if_names[b]);
        step->control->body[b].graph = NULL;
    }
}

/* ---- running ---- */

static int if_run(struct plan *plan, struct plan_step *step, struct pith_error *err)
{
    const struct pith_tensor *condition = &step->step.input[0];
    struct body *body;
    int rc;

    if (condition->bytes < 1 || condition->dtype != PITH_BOOL)
        return pith_fail(err, -EINVAL, "If \"%s\": the condition is no boolean", step->step.name);
    body = &step->control->body[*(const uint8_t *) condition->data != 0];
    if (body->refusal.code && !step->late) {
        if (err)
            *err = body->refusal;
        return body->refusal.code;
    }
    body_capture(body, step);
    rc = step->late ? body_compile(body, &step->control->options, err) : 0;
    if (rc == 0)
        rc = body_run(body, err);
    for (size_t i = 0; i < step->step.output_count && rc == 0; i++) {
        struct pith_tensor from;

        if (step->out[i] == PLAN_NO_SLOT)
            continue;
        if (i >= body->plan->output_count)
            return pith_fail(err, -EINVAL, "If \"%s\": a branch gives %zu outputs of %zu",
                             step->step.name, body->plan->output_count, step->step.output_count);
        plan_output(body->plan, i, &from);
        if (from.dtype != plan->slots[step->out[i]].tensor.dtype)
            return pith_fail(err, -EINVAL, "If \"%s\": the branches give different types",
                             step->step.name);
        if (step->late)
            rc = plan_size_slot(plan, step->out[i], &from.shape, err);
        if (rc == 0 && from.bytes)
            memcpy(plan->slots[step->out[i]].tensor.data, from.data, from.bytes);
    }
    return rc;
}

int control_run(struct plan *plan, struct plan_step *step, struct pith_error *err)
{
    switch (step->control->kind) {
    case CONTROL_IF:
        return if_run(plan, step, err);
    case CONTROL_LOOP:
        return loop_run(plan, step, err);
    default:
        return scan_run(plan, step, err);
    }
}
