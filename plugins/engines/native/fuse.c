/* Fusing: activations into the producer's last step, batch normalization into a convolution's
 * weights. */
#include "plugins/engines/native/plan.h"

#include <math.h>
#include <string.h>

static bool is_op(const struct pith_graph *graph, uint32_t node, const char *op)
{
    return pith_node_domain(graph, node)[0] == 0 && strcmp(pith_node_op(graph, node), op) == 0;
}

/* A constant float with one element behind input `index`. */
static bool scalar_input(const struct pith_graph *graph, uint32_t node, size_t index, float *out)
{
    const uint32_t value = pith_node_input(graph, node, index);
    const struct pith_tensor *constant =
        value == PITH_NO_VALUE ? NULL : pith_value_constant(graph, value);

    if (!constant || constant->dtype != PITH_FLOAT32 || pith_value_quantization(graph, value) ||
        pith_shape_elements(&constant->shape) != 1)
        return false;
    *out = (float) pith_tensor_get(constant, 0);
    return !isnan(*out);
}

/* The lower and upper limits that the node puts on its input `from`; false where it is no such
 * node. */
static bool limits_of(const struct pith_graph *graph, uint32_t node, uint32_t from, float *low,
                      float *high)
{
    *low = -INFINITY;
    *high = INFINITY;
    if (is_op(graph, node, "Relu")) {
        *low = 0.0F;
        return true;
    }
    if (is_op(graph, node, "Clip")) {
        if (pith_node_input(graph, node, 0) != from)
            return false;
        *low = pith_node_float(graph, node, "min", -INFINITY);
        *high = pith_node_float(graph, node, "max", INFINITY);
        return (pith_node_input(graph, node, 1) == PITH_NO_VALUE ||
                scalar_input(graph, node, 1, low)) &&
               (pith_node_input(graph, node, 2) == PITH_NO_VALUE ||
                scalar_input(graph, node, 2, high)) &&
               *low <= *high;
    }
    if ((is_op(graph, node, "Max") || is_op(graph, node, "Min")) &&
        pith_node_input_count(graph, node) == 2) {
        const size_t other = pith_node_input(graph, node, 0) == from ? 1 : 0;

        return scalar_input(graph, node, other, is_op(graph, node, "Max") ? low : high);
    }
    return false;
}

/* Max and Min broadcast: a scalar of higher rank would change the output's rank. */
static bool shape_stays(const struct pith_graph *graph, uint32_t node, uint32_t value)
{
    const struct pith_shape *shape = pith_value_shape(graph, value);

    for (size_t i = 0; shape && i < pith_node_input_count(graph, node); i++) {
        const uint32_t input = pith_node_input(graph, node, i);
        const struct pith_tensor *constant =
            input == PITH_NO_VALUE ? NULL : pith_value_constant(graph, input);

        if (constant && constant->shape.rank > shape->rank)
            return false;
    }
    return shape && pith_shape_known(shape);
}

static bool take_limits(struct pith_activation *act, float low, float high)
{
    if (low > act->high || high < act->low)
        return false;
    act->low = low > act->low ? low : act->low;
    act->high = high < act->high ? high : act->high;
    return true;
}

void fuse_activation(struct plan *plan, uint32_t *value, struct pith_activation *out)
{
    struct pith_activation act = PITH_ACTIVATION_NONE;

    while (*value != PITH_NO_VALUE && plan->user[*value] != PITH_NO_NODE &&
           !pith_value_quantization(plan->graph, *value) &&
           shape_stays(plan->graph, plan->user[*value], *value)) {
        const uint32_t node = plan->user[*value], next = pith_node_output(plan->graph, node, 0);
        float low, high;

        if (pith_node_output_count(plan->graph, node) != 1 || next == PITH_NO_VALUE)
            break;
        if (is_op(plan->graph, node, "LeakyRelu") && !act.set)
            act.slope = pith_node_float(plan->graph, node, "alpha", 0.01F);
        else if (!limits_of(plan->graph, node, *value, &low, &high) ||
                 !take_limits(&act, low, high))
            break;
        if (pith_value_set_type(plan->graph, next, PITH_FLOAT32,
                                pith_value_shape(plan->graph, *value)) < 0)
            break;
        act.set = true;
        plan->absorbed[node] = true;
        *value = next;
    }
    *out = act;
}

uint32_t fuse_residual(struct plan *plan, uint32_t *value)
{
    const uint32_t node = plan->user[*value];
    const struct pith_shape *shape = pith_value_shape(plan->graph, *value);
    uint32_t other, next;

    if (node == PITH_NO_NODE || !is_op(plan->graph, node, "Add") || !shape ||
        !pith_shape_known(shape))
        return PITH_NO_VALUE;
    other = pith_node_input(plan->graph, node, pith_node_input(plan->graph, node, 0) == *value);
    next = pith_node_output(plan->graph, node, 0);
    if (other == PITH_NO_VALUE || next == PITH_NO_VALUE ||
        plan->slot_of_value[other] == PLAN_NO_SLOT || pith_value_constant(plan->graph, other) ||
        !pith_shape_equal(&plan->slots[plan->slot_of_value[other]].tensor.shape, shape) ||
        pith_value_set_type(plan->graph, next, PITH_FLOAT32, shape) < 0)
        return PITH_NO_VALUE;
    plan->absorbed[node] = true;
    *value = next;
    return other;
}

/* The Add behind a product, with at most a normalization and an activation between. */
static uint32_t find_sum(const struct plan *plan, uint32_t node, uint32_t *out_value)
{
    static const char *const between[] = {"BatchNormalization", "Relu", "Clip", "LeakyRelu", NULL};
    uint32_t value = pith_node_output(plan->graph, node, 0);

    for (int steps = 0; steps < 3 && value != PITH_NO_VALUE; steps++) {
        const uint32_t user = plan->user[value];

        if (user == PITH_NO_NODE)
            break;
        if (is_op(plan->graph, user, "Add")) {
            *out_value = value;
            return user;
        }
        if (!plan_is_one_of(pith_node_op(plan->graph, user), between))
            break;
        value = pith_node_output(plan->graph, user, 0);
    }
    return PITH_NO_NODE;
}

static bool is_shortcut_op(const struct plan *plan, uint32_t node)
{
    static const char *const ops[] = {"Pad",    "MaxPool",  "AveragePool",
                                      "Resize", "Upsample", "Identity", NULL};

    return plan_is_one_of(pith_node_op(plan->graph, node), ops) &&
           pith_node_output_count(plan->graph, node) == 1;
}

size_t fuse_shortcut(const struct plan *plan, uint32_t node, uint32_t out[FUSE_SHORTCUT_NODES])
{
    const struct pith_graph *graph = plan->graph;
    uint32_t value, sum, chain[FUSE_SHORTCUT_NODES];
    size_t count = 0;

    if (!is_op(graph, node, "Conv") && !is_op(graph, node, "ConvTranspose"))
        return 0;
    sum = find_sum(plan, node, &value);
    if (sum == PITH_NO_NODE)
        return 0;
    value = pith_node_input(graph, sum, pith_node_input(graph, sum, 0) == value);
    while (value != PITH_NO_VALUE && !pith_value_constant(graph, value) &&
           plan->slot_of_value[value] == PLAN_NO_SLOT) {
        const uint32_t from = pith_value_producer(graph, value);

        if (from == PITH_NO_NODE || count == FUSE_SHORTCUT_NODES || !is_shortcut_op(plan, from))
            return 0;
        for (size_t i = 1; i < pith_node_input_count(graph, from); i++)
            if (pith_node_input(graph, from, i) != PITH_NO_VALUE &&
                !pith_value_constant(graph, pith_node_input(graph, from, i)))
                return 0;
        chain[count++] = from;
        value = pith_node_input(graph, from, 0);
    }
    if (value == PITH_NO_VALUE || pith_value_constant(graph, value))
        return 0;
    for (size_t i = 0; i < count; i++)
        out[i] = chain[count - 1 - i];
    return count;
}

void fuse_undo(struct plan *plan, uint32_t from, uint32_t to)
{
    while (from != to) {
        const uint32_t node = plan->user[from];

        plan->absorbed[node] = false;
        from = pith_node_output(plan->graph, node, 0);
    }
}

/* ---- batch normalization ---- */

struct batch_norm {
    const struct pith_tensor *scale, *bias, *mean, *variance;
    float epsilon;
};

static const struct pith_tensor *channel_constant(struct plan *plan, uint32_t node, size_t index,
                                                  int64_t channels)
{
    const uint32_t value = pith_node_input(plan->graph, node, index);
    const struct pith_tensor *constant =
        value == PITH_NO_VALUE ? NULL : pith_value_constant(plan->graph, value);

    if (!constant || constant->dtype != PITH_FLOAT32 ||
        pith_value_quantization(plan->graph, value) || constant->shape.rank != 1 ||
        constant->shape.dim[0] != channels)
        return NULL;
    return constant;
}

static bool read_batch_norm(struct plan *plan, uint32_t node, int64_t channels,
                            struct batch_norm *out)
{
    if (!is_op(plan->graph, node, "BatchNormalization") ||
        pith_node_int(plan->graph, node, "training_mode", 0) != 0)
        return false;
    for (size_t i = 1; i < pith_node_output_count(plan->graph, node); i++)
        if (pith_node_output(plan->graph, node, i) != PITH_NO_VALUE)
            return false;
    out->scale = channel_constant(plan, node, 1, channels);
    out->bias = channel_constant(plan, node, 2, channels);
    out->mean = channel_constant(plan, node, 3, channels);
    out->variance = channel_constant(plan, node, 4, channels);
    out->epsilon = pith_node_float(plan->graph, node, "epsilon", 1e-5F);
    return out->scale && out->bias && out->mean && out->variance;
}

/* y = (conv(x, w) + b - mean) * f + bias with f = scale / sqrt(variance + epsilon): w * f, and (b -
 * mean) * f + bias. In double, so that folding costs one rounding. */
static int fold_weights(struct plan *plan, const struct batch_norm *bn, uint32_t in[3])
{
    const struct pith_shape shape = plan->slots[in[1]].tensor.shape;
    const int64_t channels = shape.dim[0];
    const int64_t each = channels ? pith_shape_elements(&shape) / channels : 0;
    const float *old_bias = in[2] == PLAN_NO_SLOT ? NULL : plan->slots[in[2]].tensor.data;
    uint32_t weight, bias;
    int rc = plan_add_constant(plan, PITH_FLOAT32, &shape, &weight);

    if (rc == 0)
        rc = plan_add_constant(plan, PITH_FLOAT32, &(struct pith_shape){1, {channels}}, &bias);
    if (rc < 0)
        return rc;
    for (int64_t c = 0; c < channels; c++) {
        const double f = pith_tensor_get(bn->scale, c) /
                         sqrt(pith_tensor_get(bn->variance, c) + (double) bn->epsilon);
        const float *from = (const float *) plan->slots[in[1]].tensor.data + c * each;
        float *to = (float *) plan->slots[weight].tensor.data + c * each;

        for (int64_t i = 0; i < each; i++)
            to[i] = (float) ((double) from[i] * f);
        ((float *) plan->slots[bias].tensor.data)[c] =
            (float) (((old_bias ? (double) old_bias[c] : 0.0) - pith_tensor_get(bn->mean, c)) * f +
                     pith_tensor_get(bn->bias, c));
    }
    in[1] = weight;
    in[2] = bias;
    return 0;
}

int fuse_batch_norm(struct plan *plan, uint32_t node, uint32_t *value, uint32_t in[3],
                    bool *out_fused)
{
    const uint32_t user = plan->user[*value];
    const struct slot *weight = in[1] == PLAN_NO_SLOT ? NULL : &plan->slots[in[1]];
    struct batch_norm bn;
    int rc;

    *out_fused = false;
    if (pith_node_input_count(plan->graph, node) < 3)
        in[2] = PLAN_NO_SLOT;
    if (user == PITH_NO_NODE || pith_value_quantization(plan->graph, *value) || !weight ||
        !weight->tensor.data || weight->tensor.dtype != PITH_FLOAT32 ||
        (in[2] != PLAN_NO_SLOT && !plan->slots[in[2]].tensor.data) ||
        pith_node_input(plan->graph, user, 0) != *value ||
        !read_batch_norm(plan, user, weight->tensor.shape.dim[0], &bn) ||
        !pith_value_shape(plan->graph, *value))
        return 0;
    rc = fold_weights(plan, &bn, in);
    if (rc < 0)
        return rc;
    rc = pith_value_set_type(plan->graph, pith_node_output(plan->graph, user, 0), PITH_FLOAT32,
                             pith_value_shape(plan->graph, *value));
    plan->absorbed[user] = true;
    *value = pith_node_output(plan->graph, user, 0);
    *out_fused = true;
    return rc;
}
