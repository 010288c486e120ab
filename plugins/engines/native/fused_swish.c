/* Hardswish that exporters wrote out in small operators: x * clip(x + 3, 0, 6) / 6, Howard et al. 2019, arXiv:1905.02244,
 * section 5.2. The clipped part may be a HardSigmoid, and what divides by 6 may stand on either side of the product. See
 * fused.h. */
#include "plugins/engines/native/fused.h"

#include <math.h>

#define SIXTH (1.0 / 6.0)

static bool about(double x, double want)
{
    return fabs(x - want) <= 1e-5 * fabs(want);
}

/* A limit of a Clip is the number `want`: an attribute before opset 11, an input since. */
static bool is_limit(const struct pith_graph *graph, uint32_t clip, size_t input, const char *name, double want)
{
    const struct pith_tensor *constant;

    if (pith_graph_opset(graph, "") < 11)
        return pith_node_has(graph, clip, name) && (double) pith_node_float(graph, clip, name, 0) == want;
    constant = fused_constant(graph, clip, input);
    return constant && pith_shape_elements(&constant->shape) == 1 && pith_tensor_get(constant, 0) == want;
}

/* Whether the value is *factor * clip(x + 3, 0, 6), and nothing else uses it. */
static bool is_gate(const struct pith_graph *graph, uint32_t value, uint32_t *x, double *factor)
{
    const uint32_t node = value == PITH_NO_VALUE || fused_only_user(graph, value) == PITH_NO_NODE
                              ? PITH_NO_NODE
                              : pith_value_producer(graph, value);
    uint32_t add, other;
    float number;

    if (node == PITH_NO_NODE || pith_node_output_count(graph, node) != 1)
        return false;
    if (fused_is(graph, node, "HardSigmoid")) {
        *x = pith_node_input(graph, node, 0);
        *factor = SIXTH;
        return about((double) pith_node_float(graph, node, "alpha", 0.2F), SIXTH) &&
               pith_node_float(graph, node, "beta", 0.5F) == 0.5F;
    }
    if (fused_is(graph, node, "Clip")) {
        add = fused_producer(graph, pith_node_input(graph, node, 0), "Add");
        *factor = 1.0;
        return add != PITH_NO_NODE && fused_only_user(graph, pith_node_input(graph, node, 0)) == node &&
               fused_scalar(graph, add, &number, x) && number == 3.0F && is_limit(graph, node, 1, "min", 0.0) &&
               is_limit(graph, node, 2, "max", 6.0);
    }
    if ((!fused_is(graph, node, "Div") && !fused_is(graph, node, "Mul")) || !fused_scalar(graph, node, &number, &other) ||
        (fused_is(graph, node, "Div") && other != pith_node_input(graph, node, 0)) || !is_gate(graph, other, x, factor))
        return false;
    *factor *= fused_is(graph, node, "Div") ? 1.0 / (double) number : (double) number;
    return true;
}

/* The node behind the product that makes its factor a sixth; the product itself where it is one; or PITH_NO_NODE. */
static uint32_t last_node(const struct pith_graph *graph, uint32_t product, double factor)
{
    const uint32_t value = pith_node_output(graph, product, 0), user = fused_only_user(graph, value);
    uint32_t other;
    float number;

    if (about(factor, SIXTH))
        return product;
    if (user == PITH_NO_NODE || (!fused_is(graph, user, "Div") && !fused_is(graph, user, "Mul")) ||
        pith_node_output_count(graph, user) != 1 || !fused_scalar(graph, user, &number, &other) || other != value ||
        (fused_is(graph, user, "Div") && pith_node_input(graph, user, 0) != value))
        return PITH_NO_NODE;
    factor *= fused_is(graph, user, "Div") ? 1.0 / (double) number : (double) number;
    return about(factor, SIXTH) ? user : PITH_NO_NODE;
}

static int fuse_hard_swish(struct pith_graph *graph, uint32_t product)
{
    for (size_t i = 0; i < 2; i++) {
        const uint32_t other = pith_node_input(graph, product, 1 - i);
        const struct pith_shape *shape = other == PITH_NO_VALUE ? NULL : pith_value_shape(graph, other);
        uint32_t x = PITH_NO_VALUE, last, node;
        double factor;

        if (!is_gate(graph, pith_node_input(graph, product, i), &x, &factor) || x != other || !shape || shape->rank < 1 ||
            pith_value_dtype(graph, x) != PITH_FLOAT32)
            continue;
        last = last_node(graph, product, factor);
        if (last != PITH_NO_NODE)
            return fused_replace(graph, last, "", "HardSwish", &x, 1, &node);
    }
    return 0;
}

int fuse_hard_swishes(struct pith_graph *graph)
{
    int rc = 0;

    for (uint32_t node = 0; node < pith_graph_node_limit(graph) && rc == 0; node++)
        if (pith_node_exists(graph, node) && fused_is(graph, node, "Mul") && pith_node_input_count(graph, node) == 2 &&
            pith_node_output_count(graph, node) == 1 && pith_node_output(graph, node, 0) != PITH_NO_VALUE)
            rc = fuse_hard_swish(graph, node);
    return rc;
}
