/* Compiling one node: inference with constants folded so far, then a constant, integer kernels or
 * float kernels. */
#include "plugins/engines/native/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpith/graph/operator.h"

#define FOLD_MAX_BYTES                                                                             \
    (INT64_C(64)                                                                                   \
     << 20) /* a constant larger than that is cheaper to make in each run than to keep */

/* The type of what a kernel is handed for the value. */
static int32_t kernel_dtype(const struct pith_graph *graph, uint32_t value, bool widened)
{
    const int32_t dtype = pith_value_quantization(graph, value) ? PITH_FLOAT32
                                                                : pith_value_dtype(graph, value);

    return widened && (dtype == PITH_FLOAT16 || dtype == PITH_BFLOAT16) ? PITH_FLOAT32 : dtype;
}

const struct pith_kernel *plan_find_kernel(const struct pith_graph *graph, uint32_t node,
                                           bool widened, const char **out_why)
{
    const char *domain = pith_node_domain(graph, node);
    int32_t types[4], output_type = PITH_DTYPE_NONE;

    if (strcmp(domain, "pith") == 0) { /* the engine's own steps rely on what it alone sets up */
        if (out_why)
            *out_why = "this domain is the engine's own";
        return NULL;
    }
    for (size_t i = 0; i < 4; i++) {
        const uint32_t value = pith_node_input(graph, node, i);

        types[i] = value == PITH_NO_VALUE ? PITH_DTYPE_NONE : kernel_dtype(graph, value, widened);
    }
    if (pith_node_output_count(graph, node) > 0 &&
        pith_node_output(graph, node, 0) != PITH_NO_VALUE)
        output_type = kernel_dtype(graph, pith_node_output(graph, node, 0), widened);
    return pith_kernel_find(domain, pith_node_op(graph, node), pith_graph_opset(graph, domain),
                            types, 4, output_type, 0, out_why);
}

/* Values on 8-bit grids are stored as the integers. On wider ones they stay floats that are rounded
 * to the grid: no kernel takes such integers, and floats hold them exactly. */
int plan_output_slot(struct plan *plan, uint32_t value, uint32_t *out)
{
    const struct pith_quantization *quantization = pith_value_quantization(plan->graph, value);
    const bool stored = form_is_eight_bits(quantization) && !plan->options.plain;
    int rc = plan_add_slot(plan,
                           quantization ? stored ? quantization->dtype : PITH_FLOAT32
                                        : pith_value_dtype(plan->graph, value),
                           pith_value_shape(plan->graph, value), out);

    if (rc < 0)
        return rc;
    plan->slots[*out].quantization = quantization;
    plan->slot_of_value[value] = *out;
    return 0;
}

/* ---- constants ---- */

/* Shape and Size need only their input's shape. */
static bool input_decided(struct plan *plan, uint32_t node, uint32_t value)
{
    const char *op = pith_node_op(plan->graph, node);
    const struct pith_shape *shape;

    if (pith_value_constant(plan->graph, value))
        return true;
    shape = pith_value_shape(plan->graph, value);
    return (strcmp(op, "Shape") == 0 || strcmp(op, "Size") == 0) && shape &&
           pith_shape_known(shape);
}

static bool may_fold(struct plan *plan, uint32_t node, const struct pith_kernel *kernel)
{
    if (kernel->flags & (PITH_KERNEL_NOT_FOLDED | PITH_KERNEL_SIZES_OUTPUT))
        return false;
    for (size_t i = 0; i < pith_node_input_count(plan->graph, node); i++) {
        const uint32_t value = pith_node_input(plan->graph, node, i);

        if (value != PITH_NO_VALUE && !input_decided(plan, node, value))
            return false;
    }
    for (size_t i = 0; i < pith_node_output_count(plan->graph, node); i++) {
        const uint32_t value = pith_node_output(plan->graph, node, i);
        const struct pith_shape *shape =
            value == PITH_NO_VALUE ? NULL : pith_value_shape(plan->graph, value);
        int64_t bytes;

        if (value == PITH_NO_VALUE)
            continue;
        if (!shape || pith_value_quantization(plan->graph, value))
            return false;
        bytes = pith_tensor_bytes(pith_value_dtype(plan->graph, value), shape);
        if (bytes < 0 || bytes > FOLD_MAX_BYTES)
            return false;
    }
    return true;
}

static int fold_inputs(struct plan *plan, uint32_t node, struct plan_step *step,
                       struct pith_error *err)
{
    for (size_t i = 0; i < step->step.input_count; i++) {
        const uint32_t value = pith_node_input(plan->graph, node, i);
        uint32_t slot;
        int rc;

        if (value == PITH_NO_VALUE)
            continue;
        if (!pith_value_constant(plan->graph, value)) { /* of Shape: no data */
            step->step.input[i].dtype = pith_value_dtype(plan->graph, value);
            step->step.input[i].shape = *pith_value_shape(plan->graph, value);
            continue;
        }
        rc = plan_plain_slot(plan, value, &slot, err);
        if (rc < 0)
            return rc;
        step->step.input[i] = plan->slots[slot].tensor;
    }
    return 0;
}

static int fold_outputs(struct plan *plan, uint32_t node, struct plan_step *step,
                        struct pith_error *err)
{
    for (size_t i = 0; i < step->step.output_count; i++) {
        const uint32_t value = pith_node_output(plan->graph, node, i);
        int rc;

        if (value == PITH_NO_VALUE)
            continue;
        rc = pith_tensor_alloc(&step->step.output[i], pith_value_dtype(plan->graph, value),
                               pith_value_shape(plan->graph, value), err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int fold_run(struct plan_step *step, struct pith_error *err)
{
    struct pith_step *s = &step->step;
    int rc = pith_step_prepare(s, err);

    if (rc < 0)
        return rc;
    if (s->view >= 0) {
        memcpy(s->output[0].data, s->input[s->view].data, s->output[0].bytes);
        return 0;
    }
    s->scratch = aligned_alloc(PLAN_ALIGNMENT, (s->scratch_bytes + PLAN_ALIGNMENT) /
                                                   PLAN_ALIGNMENT * PLAN_ALIGNMENT);
    rc = s->scratch ? s->kernel->run(s, err) : -ENOMEM;
    free(s->scratch);
    return rc;
}

/* Runs the node now, and makes its outputs constants. */
static int fold(struct plan *plan, uint32_t node, const struct pith_kernel *kernel,
                struct pith_error *err)
{
    struct plan_step *step;
    int rc = plan_step_new(plan, NULL, pith_node_input_count(plan->graph, node),
                           pith_node_output_count(plan->graph, node), &step);

    if (rc < 0)
        return rc;
    step->step.kernel = kernel;
    step->step.graph = plan->graph;
    step->step.node = node;
    step->step.name = pith_node_name(plan->graph, node);
    step->step.opset = pith_graph_opset(plan->graph, pith_node_domain(plan->graph, node));
    rc = fold_inputs(plan, node, step, err);
    if (rc == 0)
        rc = fold_outputs(plan, node, step, err);
    if (rc == 0)
        rc = fold_run(step, err);
    for (size_t i = 0; i < step->step.output_count; i++) {
        const uint32_t value = pith_node_output(plan->graph, node, i);

        if (rc == 0 && value != PITH_NO_VALUE)
            rc = pith_value_set_constant(plan->graph, value, &step->step.output[i]);
        pith_tensor_free(&step->step.output[i]);
    }
    plan_step_free(step);
    return rc;
}

/* ---- float kernels ---- */

/* The inputs, a bit each, that are constant weights of the operator. */
static uint32_t weight_inputs(const char *op)
{
    if (strcmp(op, "MatMul") == 0 || strcmp(op, "Gemm") == 0)
        return 1U << 1;
    if (strcmp(op, "LSTM") == 0 || strcmp(op, "GRU") == 0 || strcmp(op, "RNN") == 0)
        return 1U << 1 | 1U << 2;
    return 0;
}

/* The kernel that takes the node's weights as they are stored, while all else is floats; or NULL.
 */
static const struct pith_kernel *find_narrow(struct plan *plan, uint32_t node)
{
    const uint32_t x = pith_node_input(plan->graph, node, 0);
    const char *op = pith_node_op(plan->graph, node), *domain = pith_node_domain(plan->graph, node);
    const uint32_t weights = weight_inputs(op);
    int32_t types[4] = {PITH_FLOAT32, PITH_FLOAT32, PITH_FLOAT32, PITH_FLOAT32};

    if (plan->options.plain || !weights ||
        (domain[0] != 0 && strcmp(domain, PITH_FUSED_DOMAIN) != 0) ||
        x == PITH_NO_VALUE || plan->slot_of_value[x] == PLAN_NO_SLOT ||
        !plan->slots[plan->slot_of_value[x]].known)
        return NULL;
    for (size_t i = 1; i < 4; i++) {
        const uint32_t w = pith_node_input(plan->graph, node, i);
        const struct pith_quantization *q;

        if (!(weights >> i & 1))
            continue;
        q = w == PITH_NO_VALUE || !pith_value_constant(plan->graph, w)
                ? NULL
                : pith_value_quantization(plan->graph, w);
        if (!q)
            return NULL;
        types[i] = q->dtype;
    }
    return pith_kernel_find(domain, op, pith_graph_opset(plan->graph, ""), types, 4, PITH_FLOAT32,
                            PITH_KERNEL_QUANTIZED, NULL);
}

static int gather_inputs(struct plan *plan, uint32_t node, bool narrow, uint32_t *in, size_t count,
                         struct pith_error *err)
{
    const uint32_t stored = narrow ? weight_inputs(pith_node_op(plan->graph, node)) : 0;

    for (size_t i = 0; i < count; i++) {
        const uint32_t value = pith_node_input(plan->graph, node, i);
        int rc;

        in[i] = PLAN_NO_SLOT;
        rc = value == PITH_NO_VALUE      ? 0
             : i < 32 && stored >> i & 1 ? plan_slot(plan, value, &in[i])
                                         : plan_plain_slot(plan, value, &in[i], err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* What the node gives comes in on the value's grid, and needs no rounding to it. */
static bool arrives_on_grid(const struct plan *plan, uint32_t node, uint32_t value)
{
    const uint32_t from = pith_node_input(plan->graph, node, 0);
    const bool one = strcmp(pith_node_op(plan->graph, node), "Concat") != 0;

    return one && integer_moves(pith_node_op(plan->graph, node)) && from != PITH_NO_VALUE &&
           form_same_grid(pith_value_quantization(plan->graph, from),
                          pith_value_quantization(plan->graph, value));
}

/* A slot for what the kernel gives: the value's own, or a float that is then brought onto the
 * value's grid. */
static int plain_output(struct plan *plan, uint32_t node, uint32_t value, uint32_t *out)
{
    int rc;

    if (value == PITH_NO_VALUE) {
        *out = PLAN_NO_SLOT;
        return 0;
    }
    if (!pith_value_quantization(plan->graph, value))
        return plan_output_slot(plan, value, out);
    rc = plan_add_slot(plan, PITH_FLOAT32, pith_value_shape(plan->graph, value), out);
    if (rc < 0 || !arrives_on_grid(plan, node, value))
        return rc;
    plan->slots[*out].quantization = pith_value_quantization(plan->graph, value);
    plan->slot_of_value[value] = *out;
    return 0;
}

static int finish_output(struct plan *plan, uint32_t node, uint32_t value, uint32_t slot,
                         struct pith_error *err)
{
    uint32_t stored;
    int rc;

    if (value == PITH_NO_VALUE || !pith_value_quantization(plan->graph, value) ||
        arrives_on_grid(plan, node, value))
        return 0;
    rc = plan_output_slot(plan, value, &stored);
    return rc < 0 ? rc : integer_quantize(plan, slot, stored, err);
}

static int build_plain(struct plan *plan, uint32_t node, const struct pith_kernel *kernel,
                       struct pith_error *err)
{
    const size_t in_count = pith_node_input_count(plan->graph, node),
                 out_count = pith_node_output_count(plan->graph, node);
    uint32_t *in = calloc(in_count + 3, sizeof *in), *out = calloc(out_count + 1, sizeof *out),
             *values = calloc(out_count + 1, sizeof *values);
    struct plan_call call = {.kernel = kernel,
                             .node = node,
                             .in = in,
                             .out = out,
                             .in_count = in_count,
                             .out_count = out_count,
                             .activation = PITH_ACTIVATION_NONE};
    bool folded = false;
    const struct pith_kernel *narrow = find_narrow(plan, node);
    int rc = in && out && values ? gather_inputs(plan, node, narrow != NULL, in, in_count, err)
                                 : -ENOMEM;

    for (size_t i = 0; i < out_count && rc == 0; i++)
        values[i] = pith_node_output(plan->graph, node, i);
    if (rc == 0 && out_count > 0 && values[0] != PITH_NO_VALUE &&
        strcmp(pith_node_op(plan->graph, node), "Conv") == 0) {
        rc = fuse_batch_norm(plan, node, &values[0], in, &folded);
        if (folded)
            call.in_count = 3;
    }
    if (rc == 0 && (kernel->flags & PITH_KERNEL_FUSES_ACTIVATION))
        fuse_activation(plan, &values[0], &call.activation);
    for (size_t i = 0; i < out_count && rc == 0; i++)
        rc = plain_output(plan, node, values[i], &out[i]);
    if (rc == 0 && narrow) {
        call.kernel = narrow;
        rc = plan_add_step(plan, &call, err);
        call.kernel = kernel;
        narrow = rc == -ENOTSUP ? NULL : narrow;
        if (rc == -ENOTSUP)
            rc = gather_inputs(plan, node, false, in, in_count, err);
    }
    if (rc == 0 && !narrow)
        rc = plan_add_step(plan, &call, err);
    for (size_t i = 0; i < out_count && rc == 0; i++)
        rc = finish_output(plan, node, values[i], out[i], err);
    free(in);
    free(out);
    free(values);
    return rc;
}

static int node_fail(const struct plan *plan, uint32_t node, int code, const char *why,
                     struct pith_error *err)
{
    return pith_fail(err, code, "node %u \"%s\" (%s, opset %lld): %s", node,
                     pith_node_name(plan->graph, node), pith_node_op(plan->graph, node),
                     (long long) pith_graph_opset(plan->graph, pith_node_domain(plan->graph, node)),
                     why);
}

/* What inference found before, with other shapes or fewer constants, must not get in the way. */
static int forget_outputs(struct plan *plan, uint32_t node)
{
    for (size_t i = 0; i < pith_node_output_count(plan->graph, node); i++) {
        const uint32_t value = pith_node_output(plan->graph, node, i);
        int rc = value == PITH_NO_VALUE
                     ? 0
                     : pith_value_set_type(plan->graph, value, pith_value_dtype(plan->graph, value),
                                           NULL);

        if (rc < 0)
            return rc;
    }
    return 0;
}

int plan_build_node(struct plan *plan, uint32_t node, struct pith_error *err)
{
    const struct pith_kernel *kernel;
    const char *why = NULL;
    int rc;

    if (plan->absorbed[node])
        return 0;
    rc = forget_outputs(plan, node);
    if (rc < 0)
        return rc;
    if (control_is(plan->graph, node))
        return control_build(plan, node, err);
    rc = fused_infer_node(plan->graph, node, err);
    if (rc < 0)
        return rc;
    kernel = plan_find_kernel(plan->graph, node, false, &why);
    if (kernel && may_fold(plan, node, kernel))
        return fold(plan, node, kernel, err);
    rc = image_build_node(plan, node, err);
    if (rc == 0 && !plan->options.plain)
        rc = integer_build_node(plan, node, err);
    if (rc == 0)
        rc = image_build_floats(plan, node, err);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    if (!kernel)
        return node_fail(plan, node, -ENOTSUP, why, err);
    return build_plain(plan, node, kernel, err);
}
