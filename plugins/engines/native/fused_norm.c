/* Layer normalization that exporters wrote out in small operators, and products with a bias. See
 * fused.h. */
#include "plugins/engines/native/fused.h"

#include <errno.h>
#include <string.h>

#include "libpith/kernels/kernel.h"

/* ---- layer normalization: (x - mean) / sqrt(mean of squares + epsilon) * scale + bias ---- */

/* Over the last axis alone, which stays. *out_x: of what. */
static bool is_mean(const struct pith_graph *graph, uint32_t node, uint32_t *out_x)
{
    const struct pith_shape *shape;
    const struct pith_tensor *list;
    const int64_t *axes;
    int64_t axis;
    size_t count = 0;

    if (node == PITH_NO_NODE || !fused_is(graph, node, "ReduceMean") ||
        pith_node_int(graph, node, "keepdims", 1) != 1)
        return false;
    *out_x = pith_node_input(graph, node, 0);
    shape = *out_x == PITH_NO_VALUE ? NULL : pith_value_shape(graph, *out_x);
    axes = pith_node_ints(graph, node, "axes", &count);
    if (axes && count == 1) {
        axis = axes[0];
    } else {
        const uint32_t value = pith_node_input(graph, node, 1);

        list = value == PITH_NO_VALUE ? NULL : pith_value_constant(graph, value);
        if (!list || pith_shape_elements(&list->shape) != 1)
            return false;
        axis = pith_tensor_get_int(list, 0);
    }
    return axis == -1 || (shape && axis == (int64_t) shape->rank - 1);
}

/* The value that is squared by the node, or PITH_NO_VALUE. */
static uint32_t squared(const struct pith_graph *graph, uint32_t node)
{
    const struct pith_tensor *exponent;

    if (node == PITH_NO_NODE)
        return PITH_NO_VALUE;
    if (fused_is(graph, node, "Mul") &&
        pith_node_input(graph, node, 0) == pith_node_input(graph, node, 1))
        return pith_node_input(graph, node, 0);
    exponent = fused_is(graph, node, "Pow") ? fused_constant(graph, node, 1) : NULL;
    if (!exponent || pith_shape_elements(&exponent->shape) != 1 ||
        pith_tensor_get(exponent, 0) != 2.0)
        return PITH_NO_VALUE;
    return pith_node_input(graph, node, 0);
}

static uint32_t producer_of(const struct pith_graph *graph, uint32_t value)
{
    return value == PITH_NO_VALUE || pith_value_quantization(graph, value)
               ? PITH_NO_NODE
               : pith_value_producer(graph, value);
}

/* Whether `value` is x less its mean; exporters may have written that twice. */
static bool is_centred(const struct pith_graph *graph, uint32_t value, uint32_t *x)
{
    const uint32_t node = producer_of(graph, value);
    uint32_t of;

    if (node == PITH_NO_NODE || !fused_is(graph, node, "Sub") ||
        !is_mean(graph, producer_of(graph, pith_node_input(graph, node, 1)), &of) ||
        of != pith_node_input(graph, node, 0) || (*x != PITH_NO_VALUE && *x != of))
        return false;
    *x = of;
    return true;
}

/* The value that the Div gives is x, normalized; *x and *epsilon. */
static bool is_normalized(const struct pith_graph *graph, uint32_t div, uint32_t *x, float *epsilon)
{
    const uint32_t root = fused_producer(graph, pith_node_input(graph, div, 1), "Sqrt");
    uint32_t sum, variance, square;

    *x = PITH_NO_VALUE;
    if (root == PITH_NO_NODE || !is_centred(graph, pith_node_input(graph, div, 0), x))
        return false;
    sum = producer_of(graph, pith_node_input(graph, root, 0));
    if (sum == PITH_NO_NODE || !fused_is(graph, sum, "Add") ||
        !fused_scalar(graph, sum, epsilon, &variance) ||
        !is_mean(graph, producer_of(graph, variance), &square))
        return false;
    return is_centred(graph, squared(graph, producer_of(graph, square)), x);
}

/* The node is `op` of a value and a constant row; *out_row: that constant. */
static bool takes_row(const struct pith_graph *graph, uint32_t node, const char *op, uint32_t value,
                      uint32_t *out_row)
{
    size_t at;
    const struct pith_tensor *row;

    if (node == PITH_NO_NODE || !fused_is(graph, node, op))
        return false;
    at = pith_node_input(graph, node, 0) == value ? 1 : 0;
    row = fused_constant(graph, node, at);
    *out_row = pith_node_input(graph, node, at);
    return row && row->shape.rank == 1;
}

static int fuse_layer_norm(struct pith_graph *graph, uint32_t div)
{
    const uint32_t normalized = pith_node_output(graph, div, 0);
    const uint32_t mul = fused_only_user(graph, normalized);
    const struct pith_shape *shape;
    uint32_t inputs[3], add, scaled, last = mul, node;
    size_t count = 2;
    float epsilon;
    int rc;

    if (!is_normalized(graph, div, &inputs[0], &epsilon) ||
        !takes_row(graph, mul, "Mul", normalized, &inputs[1]))
        return 0;
    shape =
        pith_value_shape(graph, inputs[0]); /* the scale must not broadcast what is normalized */
    if (!shape || shape->rank < 1 ||
        shape->dim[shape->rank - 1] != pith_value_shape(graph, inputs[1])->dim[0])
        return 0;
    scaled = pith_node_output(graph, mul, 0);
    add = fused_only_user(graph, scaled);
    if (takes_row(graph, add, "Add", scaled, &inputs[2]) &&
        pith_value_shape(graph, inputs[2])->dim[0] == shape->dim[shape->rank - 1]) {
        last = add;
        count = 3;
    }
    rc = fused_replace(graph, last, PITH_FUSED_DOMAIN, "LayerNormalization", inputs, count, &node);
    if (rc == 0)
        rc = pith_node_set_int(graph, node, "axis", -1);
    return rc < 0 ? rc : pith_node_set_float(graph, node, "epsilon", epsilon);
}

int fuse_layer_norms(struct pith_graph *graph)
{
    int rc = 0;

    for (uint32_t node = 0; node < pith_graph_node_limit(graph) && rc == 0; node++)
        if (pith_node_exists(graph, node) && fused_is(graph, node, "Div"))
            rc = fuse_layer_norm(graph, node);
    return rc;
}

/* ---- a product with a bias ---- */

/* A constant matrix of floats, or of integers that stand for some: its columns; else -1. */
static int64_t matrix_columns(const struct pith_graph *graph, uint32_t value)
{
    const struct pith_tensor *w =
        value == PITH_NO_VALUE ? NULL : pith_value_constant(graph, value);

    return w && w->shape.rank == 2 &&
                   (w->dtype == PITH_FLOAT32 || pith_value_quantization(graph, value))
               ? w->shape.dim[1]
               : -1;
}

static int fuse_bias(struct pith_graph *graph, uint32_t matmul)
{
    const uint32_t product = pith_node_output(graph, matmul, 0);
    const uint32_t add = fused_only_user(graph, product),
                   inputs[2] = {pith_node_input(graph, matmul, 0),
                                pith_node_input(graph, matmul, 1)};
    const int64_t columns = matrix_columns(graph, inputs[1]);
    const struct pith_shape *a =
        inputs[0] == PITH_NO_VALUE ? NULL : pith_value_shape(graph, inputs[0]);
    uint32_t bias, node;

    if (columns < 0 || !a || a->rank < 2 || !takes_row(graph, add, "Add", product, &bias) ||
        pith_value_shape(graph, bias)->dim[0] != columns)
        return 0;
    return fused_replace(graph, add, PITH_FUSED_DOMAIN, "MatMul",
                         (uint32_t[]){inputs[0], inputs[1], bias}, 3, &node);
}

int fuse_biases(struct pith_graph *graph)
{
    int rc = 0;

    for (uint32_t node = 0; node < pith_graph_node_limit(graph) && rc == 0; node++)
        if (pith_node_exists(graph, node) && fused_is(graph, node, "MatMul"))
            rc = fuse_bias(graph, node);
    return rc;
}
