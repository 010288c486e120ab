/* Quantized values: stored as integers between steps, computed with integer kernels where there is
 * one, else by way of floats. Whatever the way, a value equals what executing its Q and DQ
 * literally gives, to one step of its scale. */
#include "plugins/engines/native/plan.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NO_ACTIVATION PITH_ACTIVATION_NONE

const struct pith_kernel *plan_own_kernel(const char *op, int32_t in_dtype, int32_t out_dtype)
{
    return pith_kernel_find("pith", op, 0, &in_dtype, 1, out_dtype, 0, NULL);
}

/* Between floats and one grid of bytes the layout's loops do it, which are vectors. */
static bool is_for_layout(const struct plan *plan, const char *op, uint32_t in, uint32_t out)
{
    const bool from_grid = strcmp(op, "Dequantize") == 0;
    const uint32_t stored = from_grid ? in : out;

    return (from_grid || strcmp(op, "Quantize") == 0) && plan->slots[in].known &&
           plan->slots[out].known &&
           (form_is_eight_bits(plan->slots[stored].quantization) ||
            plan->slots[stored].tensor.dtype == PITH_INT16);
}

static int own_step(struct plan *plan, const char *op, uint32_t in, uint32_t out,
                    struct pith_error *err)
{
    const bool layout = is_for_layout(plan, op, in, out);
    const struct pith_kernel *kernel = plan_own_kernel(
        layout ? "ToPlanar" : op, plan->slots[in].tensor.dtype, plan->slots[out].tensor.dtype);

    if (!kernel)
        return pith_fail(err, -ENOTSUP, "no kernel between %s and %s",
                         pith_dtype_name(plan->slots[in].tensor.dtype),
                         pith_dtype_name(plan->slots[out].tensor.dtype));
    return plan_add_step(plan,
                         &(struct plan_call){.kernel = kernel,
                                             .node = PITH_NO_NODE,
                                             .in = &in,
                                             .out = &out,
                                             .in_count = 1,
                                             .out_count = 1,
                                             .activation = NO_ACTIVATION,
                                             .form = layout ? STEP_IMAGE : STEP_PLANAR},
                         err);
}

/* Runs a kernel of the engine's own now, from one constant into another. */
static int dequantize_constant(struct plan *plan, uint32_t from, uint32_t to,
                               struct pith_error *err)
{
    struct pith_tensor in[PITH_STEP_PORTS + 1] = {plan->slots[from].tensor},
                                            out[PITH_STEP_PORTS + 1] = {plan->slots[to].tensor};
    const struct pith_quantization *quantization[PITH_STEP_PORTS + 1] = {
        plan->slots[from].quantization};
    struct pith_step step = {.kernel = plan_own_kernel("Dequantize", in[0].dtype, PITH_FLOAT32),
                             .input_count = 1,
                             .output_count = 1,
                             .input = in,
                             .output = out,
                             .name = "",
                             .input_quantization = quantization,
                             .output_quantization = quantization};
    int rc;

    if (!step.kernel)
        return pith_fail(err, -ENOTSUP, "constants quantized to %s", pith_dtype_name(in[0].dtype));
    rc = pith_step_prepare(&step, err);
    if (rc == 0)
        rc = step.kernel->run(&step, err);
    pith_step_done(&step);
    return rc;
}

int integer_dequantize(struct plan *plan, uint32_t slot, uint32_t *out, struct pith_error *err)
{
    struct pith_shape shape;
    uint32_t copy;
    int rc;

    *out = slot;
    if (!plan->slots[slot].quantization || plan->slots[slot].tensor.dtype == PITH_FLOAT32)
        return 0;
    for (uint32_t at = plan->slots[slot].next_form; at != slot; at = plan->slots[at].next_form)
        if (plan->slots[at].tensor.dtype == PITH_FLOAT32 && !plan->slots[at].image.channels_last) {
            *out = at;
            return 0;
        }
    shape = plan->slots[slot].tensor.shape;
    if (plan->slots[slot].place == SLOT_CONSTANT) {
        rc = plan_add_constant(plan, PITH_FLOAT32, &shape, &copy);
        if (rc == 0)
            rc = dequantize_constant(plan, slot, copy, err);
    } else {
        rc = plan_add_slot(plan, PITH_FLOAT32, &shape, &copy);
        if (rc == 0)
            rc = own_step(plan, "Dequantize", slot, copy, err);
    }
    if (rc < 0)
        return rc;
    form_join(plan, slot, copy);
    *out = copy;
    return 0;
}

int integer_quantize(struct plan *plan, uint32_t float_slot, uint32_t stored_slot,
                     struct pith_error *err)
{
    if (form_is_eight_bits(plan->slots[stored_slot].quantization) ||
        form_is_sixteen_bits(plan->slots[stored_slot].quantization))
        plan->slots[stored_slot].unrounded = float_slot;
    return own_step(plan,
                    plan->slots[stored_slot].tensor.dtype == PITH_FLOAT32 ? "Round" : "Quantize",
                    float_slot, stored_slot, err);
}

/* ---- integers that come from outside ---- */

static bool is_scalar(const struct pith_graph *graph, uint32_t value, double expected)
{
    const struct pith_tensor *constant =
        value == PITH_NO_VALUE || pith_value_quantization(graph, value)
            ? NULL
            : pith_value_constant(graph, value);

    return constant && pith_shape_elements(&constant->shape) == 1 &&
           pith_tensor_get(constant, 0) == expected;
}

/* A DequantizeLinear of integers that lie on the grid of what it gives: they are that value as it
 * is stored. Models made for integer interfaces begin so. */
static int build_dequantize(struct plan *plan, uint32_t node)
{
    const uint32_t x = pith_node_input(plan->graph, node, 0),
                   zero = pith_node_input(plan->graph, node, 2),
                   y = pith_node_output(plan->graph, node, 0);
    const uint32_t from = x == PITH_NO_VALUE ? PLAN_NO_SLOT : plan->slot_of_value[x];
    const struct pith_quantization *grid =
        y == PITH_NO_VALUE ? NULL : pith_value_quantization(plan->graph, y);
    uint32_t alias;
    int rc;

    if (from == PLAN_NO_SLOT || !form_is_eight_bits(grid) || !plan_is_varying(plan, from) ||
        plan->slots[from].quantization || plan->slots[from].image.channels_last ||
        plan->slots[from].tensor.dtype != grid->dtype ||
        !is_scalar(plan->graph, pith_node_input(plan->graph, node, 1), (double) grid->scale[0]) ||
        (zero == PITH_NO_VALUE ? grid->zero_point[0] != 0
                               : !is_scalar(plan->graph, zero, grid->zero_point[0])))
        return 0;
    const struct pith_shape shape = plan->slots[from].tensor.shape; /* slots may move */

    rc = plan_add_alias(plan, from, &shape, false, &alias);
    if (rc < 0)
        return rc;
    plan->slots[alias].quantization = grid;
    plan->slot_of_value[y] = alias;
    return 1;
}

/* ---- which nodes ---- */

/* Move elements without computing: what goes in on a grid comes out on it. data_inputs: how many
 * lead with data. */
bool integer_moves(const char *op)
{
    static const char *const list[] = {"Reshape",   "Flatten", "Squeeze",       "Unsqueeze",
                                       "Transpose", "Slice",   "Split",         "Gather",
                                       "Tile",      "Expand",  "DepthToSpace",  "SpaceToDepth",
                                       "Identity",  "MaxPool", "GlobalMaxPool", "Concat",
                                       NULL};

    return plan_is_one_of(op, list);
}

uint32_t integer_stored_input(struct plan *plan, uint32_t node, size_t index)
{
    const uint32_t value = pith_node_input(plan->graph, node, index);
    uint32_t slot = value == PITH_NO_VALUE ? PLAN_NO_SLOT : plan->slot_of_value[value];

    if (slot == PLAN_NO_SLOT || plan->slots[slot].place == SLOT_CONSTANT ||
        !form_is_eight_bits(plan->slots[slot].quantization) ||
        plan->slots[slot].tensor.dtype == PITH_FLOAT32 || plan_slot(plan, value, &slot) < 0)
        return PLAN_NO_SLOT;
    return slot;
}

/* An output on the given grid, where the value has no grid of its own. */
static int grid_output(struct plan *plan, uint32_t value, const struct pith_quantization *grid,
                       uint32_t *out)
{
    int rc = plan_add_slot(plan, grid->dtype, pith_value_shape(plan->graph, value), out);

    if (rc == 0) {
        plan->slots[*out].quantization = grid;
        plan->slot_of_value[value] = *out;
    }
    return rc;
}

/* ---- moving ---- */

static size_t data_inputs(const struct plan *plan, uint32_t node)
{
    return strcmp(pith_node_op(plan->graph, node), "Concat") == 0
               ? pith_node_input_count(plan->graph, node)
               : 1;
}

static bool moves_on_one_grid(struct plan *plan, uint32_t node,
                              const struct pith_quantization *grid)
{
    for (size_t i = 0; i < data_inputs(plan, node); i++) {
        const uint32_t slot = integer_stored_input(plan, node, i);

        if (slot == PLAN_NO_SLOT || !form_same_grid(plan->slots[slot].quantization, grid))
            return false;
    }
    for (size_t i = 0; i < pith_node_output_count(plan->graph, node); i++) {
        const uint32_t value = pith_node_output(plan->graph, node, i);
        const struct pith_quantization *q =
            value == PITH_NO_VALUE ? NULL : pith_value_quantization(plan->graph, value);

        if (q && !form_same_grid(q, grid))
            return false;
    }
    return true;
}

/* The element-moving kernel for the stored type, with the values as they lie. */
static int build_move(struct plan *plan, uint32_t node, const struct pith_quantization *grid,
                      struct pith_error *err)
{
    const size_t in_count = pith_node_input_count(plan->graph, node),
                 out_count = pith_node_output_count(plan->graph, node);
    const struct pith_kernel *kernel =
        pith_kernel_find("", pith_node_op(plan->graph, node), pith_graph_opset(plan->graph, ""),
                         &grid->dtype, 1, grid->dtype, 0, NULL);
    uint32_t *in = calloc(in_count + 1, sizeof *in), *out = calloc(out_count + 1, sizeof *out);
    int rc = in && out ? 0 : -ENOMEM;

    if (rc == 0 && (!kernel || (strcmp(kernel->op, "MaxPool") == 0 && out_count > 1)))
        goto done; /* 0: not one of ours */
    for (size_t i = 0; i < in_count && rc == 0; i++) {
        const uint32_t value = pith_node_input(plan->graph, node, i);

        in[i] = PLAN_NO_SLOT;
        if (value != PITH_NO_VALUE)
            rc = i < data_inputs(plan, node)
                     ? form_of_slot(plan, plan->slot_of_value[value],
                                    &(struct form){.dtype = grid->dtype}, &in[i], err)
                     : plan_plain_slot(plan, value, &in[i], err);
    }
    for (size_t i = 0; i < out_count && rc == 0; i++) {
        const uint32_t value = pith_node_output(plan->graph, node, i);

        out[i] = PLAN_NO_SLOT;
        if (value != PITH_NO_VALUE)
            rc = grid_output(plan, value, grid, &out[i]);
    }
    if (rc == 0)
        rc = plan_add_step(plan,
                           &(struct plan_call){.kernel = kernel,
                                               .node = node,
                                               .in = in,
                                               .out = out,
                                               .in_count = in_count,
                                               .out_count = out_count,
                                               .activation = NO_ACTIVATION},
                           err);
    rc = rc < 0 ? rc : 1;
done:
    free(in);
    free(out);
    return rc;
}

/* ---- computing ---- */

/* A product with a constant matrix of what lies on a grid of 16 bits. */
static bool takes_words(const struct plan *plan, uint32_t node)
{
    const char *op = pith_node_op(plan->graph, node);
    const uint32_t x = pith_node_input(plan->graph, node, 0),
                   w = pith_node_input(plan->graph, node, 1);
    const uint32_t slot = x == PITH_NO_VALUE ? PLAN_NO_SLOT : plan->slot_of_value[x];

    return (strcmp(op, "MatMul") == 0 || strcmp(op, "Gemm") == 0) && slot != PLAN_NO_SLOT &&
           plan_is_varying(plan, slot) && form_is_sixteen_bits(plan->slots[slot].quantization) &&
           w != PITH_NO_VALUE && pith_value_constant(plan->graph, w);
}

/* first: the type of the first input, where it is not the one that its slot has. */
static bool find_integer_kernel(struct plan *plan, uint32_t node, uint32_t *in, size_t in_count,
                                int32_t first, const struct pith_kernel **out)
{
    int32_t types[4] = {0};

    for (size_t i = 0; i < in_count; i++) {
        const uint32_t value = pith_node_input(plan->graph, node, i);

        in[i] = PLAN_NO_SLOT;
        if (value == PITH_NO_VALUE)
            continue;
        if (plan_slot(plan, value, &in[i]) < 0)
            return false;
        if (i < 4)
            types[i] = i == 0 && first != PITH_DTYPE_NONE ? first : plan->slots[in[i]].tensor.dtype;
    }
    *out = pith_kernel_find(pith_node_domain(plan->graph, node), pith_node_op(plan->graph, node),
                            pith_graph_opset(plan->graph, ""), types, in_count < 4 ? in_count : 4,
                            PITH_DTYPE_NONE, PITH_KERNEL_QUANTIZED, NULL);
    return *out != NULL;
}

/* Whether a product gives the value as it is stored; else floats come, that are brought onto its grid. */
static bool product_is_stored(const struct plan *plan, uint32_t value, bool words)
{
    const struct pith_quantization *grid = pith_value_quantization(plan->graph, value);

    return words ? form_is_sixteen_bits(grid) : form_is_eight_bits(grid);
}

static int finish_product(struct plan *plan, uint32_t value, uint32_t slot, struct pith_error *err)
{
    uint32_t stored;
    int rc;

    if (!pith_value_quantization(plan->graph, value) || plan->slot_of_value[value] == slot)
        return 0;
    rc = plan_output_slot(plan, value, &stored);
    return rc < 0 ? rc : integer_quantize(plan, slot, stored, err);
}

/* A product of integers with a constant matrix takes and gives them as channels-last kernels store
 * theirs: then nothing between two products has to turn one signedness into the other. */
static int store_as_images(struct plan *plan, const struct pith_kernel *kernel, uint32_t value,
                           bool words, uint32_t *in, uint32_t *out, struct pith_error *err)
{
    const struct form form = {.dtype = words ? PITH_INT16 : pith_image_integer_dtype()};
    const struct pith_quantization *grid;
    int rc;

    if ((strcmp(kernel->op, "MatMul") != 0 && strcmp(kernel->op, "Gemm") != 0) ||
        plan->slots[in[1]].place != SLOT_CONSTANT || !plan->slots[in[0]].known)
        return plan_output_slot(plan, value, out);
    rc = form_of_slot(plan, in[0], &form, &in[0], err);
    if (rc < 0)
        return rc;
    if (!product_is_stored(plan, value, words))
        return pith_value_quantization(plan->graph, value)
                   ? plan_add_slot(plan, PITH_FLOAT32, pith_value_shape(plan->graph, value), out)
                   : plan_output_slot(plan, value, out);
    grid = form_grid(plan, pith_value_quantization(plan->graph, value), form.dtype);
    return grid ? grid_output(plan, value, grid, out) : -ENOMEM;
}

static int build_integer(struct plan *plan, uint32_t node, struct pith_error *err)
{
    const size_t in_count = pith_node_input_count(plan->graph, node);
    uint32_t value = pith_node_output(plan->graph, node, 0);
    uint32_t *in = calloc(in_count + 1, sizeof *in), out;
    struct plan_call call = {.node = node,
                             .in = in,
                             .out = &out,
                             .in_count = in_count,
                             .out_count = 1,
                             .activation = NO_ACTIVATION};
    const bool words = takes_words(plan, node);
    struct slot was;
    int rc = 0;

    if (!in)
        return -ENOMEM;
    if (pith_node_output_count(plan->graph, node) != 1 ||
        (!words && integer_stored_input(plan, node, 0) == PLAN_NO_SLOT))
        goto done;
    if (!find_integer_kernel(plan, node, in, in_count, words ? PITH_INT16 : PITH_DTYPE_NONE,
                             &call.kernel))
        goto done;
    if (call.kernel->flags & PITH_KERNEL_FUSES_ACTIVATION)
        fuse_activation(plan, &value, &call.activation);
    if (product_is_stored(plan, value, words) || call.kernel->flags & PITH_KERNEL_GIVES_FLOATS) {
        rc = store_as_images(plan, call.kernel, value, words, in, &out, err);
        if (rc < 0)
            goto done;
        was = plan->slots[out];
        rc = plan_add_step(plan, &call, err);
        if (rc == 0) {
            rc = finish_product(plan, value, out, err);
            rc = rc < 0 ? rc : 1;
            goto done;
        }
        plan->slots[out] = was;
        plan->slot_of_value[value] = PLAN_NO_SLOT;
    }
    /* In float after all, with what was taken in kept: the activation is fused there just as well.
     */
    rc = rc == 0 || rc == -ENOTSUP ? 0 : rc;
    if (rc == 0)
        fuse_undo(plan, pith_node_output(plan->graph, node, 0), value);
done:
    free(in);
    return rc;
}

int integer_build_node(struct plan *plan, uint32_t node, struct pith_error *err)
{
    const char *op = pith_node_op(plan->graph, node);
    const uint32_t first = integer_stored_input(plan, node, 0);
    int rc = 0;

    if (strcmp(pith_node_domain(plan->graph, node), PITH_FUSED_DOMAIN) == 0)
        return build_integer(plan, node, err);
    if (pith_node_domain(plan->graph, node)[0] != 0)
        return 0;
    if (strcmp(op, "DequantizeLinear") == 0)
        return build_dequantize(plan, node);
    if (first != PLAN_NO_SLOT && integer_moves(op) &&
        moves_on_one_grid(plan, node, plan->slots[first].quantization))
        rc = build_move(plan, node, plan->slots[first].quantization, err);
    if (rc == 0)
        rc = table_build_node(plan, node, err);
    if (rc == 0)
        rc = build_integer(plan, node, err);
    return rc;
}
