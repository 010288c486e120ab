/* What the patterns of fused nodes are recognized with, and inference of fused nodes. See fused.h.
 */
#include "plugins/engines/native/fused.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpith/graph/operator.h"
#include "libpith/kernels/kernel.h"

bool fused_is(const struct pith_graph *graph, uint32_t node, const char *op)
{
    return pith_node_domain(graph, node)[0] == 0 && strcmp(pith_node_op(graph, node), op) == 0;
}

uint32_t fused_only_user(const struct pith_graph *graph, uint32_t value)
{
    size_t count = 0;
    const uint32_t *users = pith_value_users(graph, value, &count);

    if (count != 1 || pith_value_use_count(graph, value) != 1 ||
        pith_value_is_captured(graph, value) || pith_value_quantization(graph, value))
        return PITH_NO_NODE;
    return users[0];
}

uint32_t fused_producer(const struct pith_graph *graph, uint32_t value, const char *op)
{
    const uint32_t node = value == PITH_NO_VALUE ? PITH_NO_NODE : pith_value_producer(graph, value);

    if (node == PITH_NO_NODE || !fused_is(graph, node, op) ||
        pith_node_output_count(graph, node) != 1)
        return PITH_NO_NODE;
    return node;
}

const struct pith_tensor *fused_constant(const struct pith_graph *graph, uint32_t node,
                                         size_t input)
{
    const uint32_t value = pith_node_input(graph, node, input);
    const struct pith_tensor *constant =
        value == PITH_NO_VALUE || pith_value_quantization(graph, value)
            ? NULL
            : pith_value_constant(graph, value);

    return constant && constant->dtype == PITH_FLOAT32 ? constant : NULL;
}

bool fused_scalar(const struct pith_graph *graph, uint32_t node, float *out, uint32_t *out_other)
{
    for (size_t i = 0; i < 2; i++) {
        const struct pith_tensor *constant = fused_constant(graph, node, i);

        if (!constant || pith_shape_elements(&constant->shape) != 1 || constant->shape.rank > 1)
            continue;
        *out = (float) pith_tensor_get(constant, 0);
        *out_other = pith_node_input(graph, node, 1 - i);
        return *out_other != PITH_NO_VALUE;
    }
    return false;
}

/* Removes the node that makes the value, if nothing uses what it gives, and then those before it.
 */
static void drop_unused(struct pith_graph *graph, uint32_t value)
{
    const uint32_t node = value == PITH_NO_VALUE ? PITH_NO_NODE : pith_value_producer(graph, value);
    uint32_t inputs[4];
    const size_t count = node == PITH_NO_NODE ? 0 : pith_node_input_count(graph, node);

    if (node == PITH_NO_NODE || count > 4)
        return;
    for (size_t i = 0; i < pith_node_output_count(graph, node); i++) {
        const uint32_t output = pith_node_output(graph, node, i);

        if (output != PITH_NO_VALUE &&
            (pith_value_use_count(graph, output) > 0 || pith_value_is_captured(graph, output)))
            return;
    }
    for (size_t i = 0; i < count; i++)
        inputs[i] = pith_node_input(graph, node, i);
    pith_graph_remove_node(graph, node);
    for (size_t i = 0; i < count; i++)
        drop_unused(graph, inputs[i]);
}

int fused_replace(struct pith_graph *graph, uint32_t last, const char *domain, const char *op,
                  const uint32_t *inputs, size_t count, uint32_t *out_node)
{
    const uint32_t output = pith_node_output(graph, last, 0);
    const size_t before = pith_node_input_count(graph, last);
    uint32_t were[4] = {PITH_NO_VALUE, PITH_NO_VALUE, PITH_NO_VALUE, PITH_NO_VALUE};
    int rc;

    for (size_t i = 0; i < before && i < 4; i++)
        were[i] = pith_node_input(graph, last, i);
    pith_graph_remove_node(graph, last);
    rc = pith_graph_add_node(graph, domain, op, NULL, inputs, count, &output, 1, out_node, NULL);
    for (size_t i = 0; i < 4 && rc == 0; i++)
        drop_unused(graph, were[i]);
    return rc;
}

/* ---- inference ---- */

static int set(struct pith_graph *graph, uint32_t node, const struct pith_shape *shape)
{
    return pith_value_set_type(graph, pith_node_output(graph, node, 0), PITH_FLOAT32, shape);
}

/* The dimension of a perm's operand that is axis `axis` of what it stands for. */
static int64_t permuted(const struct pith_graph *graph, uint32_t node, const char *name,
                        const struct pith_shape *shape, uint32_t axis)
{
    size_t count = 0;
    const int64_t *perm = pith_node_ints(graph, node, name, &count);
    const int64_t at = perm && axis < count ? perm[axis] : axis;

    return at >= 0 && at < (int64_t) shape->rank ? shape->dim[at] : PITH_DIM_UNKNOWN;
}

static int infer_attention(struct pith_graph *graph, uint32_t node)
{
    const struct pith_shape *q = pith_value_shape(graph, pith_node_input(graph, node, 0)),
                            *v = pith_value_shape(graph, pith_node_input(graph, node, 2));
    struct pith_shape y = {0};
    const int64_t *perm;
    size_t count = 0;

    if (!q || !v || q->rank != v->rank || q->rank < 2)
        return set(graph, node, NULL);
    perm = pith_node_ints(graph, node, "y_perm", &count);
    y.rank = q->rank;
    for (uint32_t i = 0; i < y.rank; i++) {
        const int64_t at = perm && i < count ? perm[i] : i;

        if (at < 0 || at >= (int64_t) y.rank)
            return set(graph, node, NULL);
        y.dim[at] = i == y.rank - 1 ? permuted(graph, node, "v_perm", v, i)
                                    : permuted(graph, node, "q_perm", q, i);
    }
    return set(graph, node, &y);
}

static int infer_matmul(struct pith_graph *graph, uint32_t node)
{
    const struct pith_shape *a = pith_value_shape(graph, pith_node_input(graph, node, 0)),
                            *bias = pith_value_shape(graph, pith_node_input(graph, node, 2));
    struct pith_shape y;

    if (!a || !bias || bias->rank != 1 || a->rank < 1)
        return set(graph, node, NULL);
    y = *a;
    y.dim[y.rank - 1] = bias->dim[0];
    return set(graph, node, &y);
}

static int infer_matmul_integer(struct pith_graph *graph, uint32_t node)
{
    const struct pith_shape *a = pith_value_shape(graph, pith_node_input(graph, node, 0)),
                            *b = pith_value_shape(graph, pith_node_input(graph, node, 1));
    struct pith_shape y;

    if (!a || !b || a->rank < 1 || b->rank != 2)
        return set(graph, node, NULL);
    y = *a;
    y.dim[y.rank - 1] = b->dim[1];
    return set(graph, node, &y);
}

static int infer_channels(struct pith_graph *graph, uint32_t node)
{
    const struct pith_shape *x = pith_value_shape(graph, pith_node_input(graph, node, 0));
    struct pith_shape y;
    size_t count = 0;

    if (!x || x->rank < 2)
        return set(graph, node, NULL);
    y = *x;
    (void) pith_node_ints(graph, node, "channels", &count);
    y.dim[1] = (int64_t) count;
    return set(graph, node, &y);
}

int fused_infer_node(struct pith_graph *graph, uint32_t node, struct pith_error *err)
{
    const char *op = pith_node_op(graph, node);

    if (strcmp(pith_node_domain(graph, node), PITH_FUSED_DOMAIN) != 0)
        return pith_graph_infer_node(graph, node, err);
    if (strcmp(op, "Channels") == 0 && pith_node_input_count(graph, node) == 1 &&
        pith_node_output_count(graph, node) == 1 &&
        pith_node_output(graph, node, 0) != PITH_NO_VALUE &&
        pith_node_input(graph, node, 0) != PITH_NO_VALUE)
        return infer_channels(graph, node);
    if (pith_node_output_count(graph, node) != 1 ||
        pith_node_output(graph, node, 0) == PITH_NO_VALUE || pith_node_input_count(graph, node) < 2)
        return pith_fail(err, -EINVAL, "node %u (%s): inputs or outputs are missing", node, op);
    for (size_t i = 0; i < 3 && i < pith_node_input_count(graph, node); i++)
        if (pith_node_input(graph, node, i) == PITH_NO_VALUE &&
            (i < 2 || (strcmp(op, "LayerNormalization") != 0 && strcmp(op, "MatMulInteger") != 0)))
            return pith_fail(err, -EINVAL, "node %u (%s): input %zu is missing", node, op, i);
    if (strcmp(op, "Attention") == 0 && pith_node_input_count(graph, node) >= 3)
        return infer_attention(graph, node);
    if (strcmp(op, "MatMul") == 0 && pith_node_input_count(graph, node) == 3)
        return infer_matmul(graph, node);
    if (strcmp(op, "MatMulInteger") == 0 && pith_node_input_count(graph, node) == 6 &&
        pith_node_input(graph, node, 4) != PITH_NO_VALUE)
        return infer_matmul_integer(graph, node);
    if (strcmp(op, "LayerNormalization") == 0)
        return set(graph, node, pith_value_shape(graph, pith_node_input(graph, node, 0)));
    return pith_fail(err, -ENOTSUP, "node %u (%s): the operator is not known", node, op);
}
