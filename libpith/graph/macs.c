/* Multiply-accumulates of a node, from the shapes of its values. */
#include "libpith/graph/measure.h"

#include <ctype.h>
#include <string.h>

static const struct pith_shape *input_shape(const struct pith_graph *graph, uint32_t node,
                                            size_t index)
{
    uint32_t value = pith_node_input(graph, node, index);

    return value == PITH_NO_VALUE ? NULL : pith_value_shape(graph, value);
}

static int64_t elements(const struct pith_shape *shape)
{
    return shape ? pith_shape_elements(shape) : -1;
}

static int64_t macs_times(int64_t a, int64_t b)
{
    int64_t product;

    if (a < 0 || b < 0 || __builtin_mul_overflow(a, b, &product))
        return -1;
    return product;
}

static int64_t macs_plus(int64_t a, int64_t b)
{
    int64_t sum;

    if (a < 0 || b < 0 || __builtin_add_overflow(a, b, &sum))
        return -1;
    return sum;
}

static int64_t output_elements(const struct pith_graph *graph, uint32_t node)
{
    uint32_t value = pith_node_output(graph, node, 0);

    return value == PITH_NO_VALUE ? -1 : elements(pith_value_shape(graph, value));
}

/* Weights [out, in / group, kernel...]: each output element takes all but the first dimension.
 * Transposed, weights [in, out / group, kernel...]: each input element does. */
static int64_t conv_macs(const struct pith_graph *graph, uint32_t node, size_t weights_at,
                         bool transposed)
{
    const struct pith_shape *weights = input_shape(graph, node, weights_at);
    struct pith_shape rest = {0};

    if (!weights || weights->rank < 2)
        return -1;
    rest = pith_shape_of(weights->rank - 1, weights->dim + 1);
    return macs_times(transposed ? elements(input_shape(graph, node, 0))
                                 : output_elements(graph, node),
                      pith_shape_elements(&rest));
}

static int64_t matmul_macs(const struct pith_graph *graph, uint32_t node)
{
    const struct pith_shape *a = input_shape(graph, node, 0);

    if (!a || a->rank == 0)
        return -1;
    return macs_times(output_elements(graph, node), a->dim[a->rank - 1]);
}

static int64_t gemm_macs(const struct pith_graph *graph, uint32_t node)
{
    const struct pith_shape *a = input_shape(graph, node, 0);

    if (!a || a->rank != 2)
        return -1;
    return macs_times(output_elements(graph, node),
                      a->dim[pith_node_int(graph, node, "transA", 0) ? 0 : 1]);
}

/* X [steps, batch, in], W [directions, gates * hidden, in], R [directions, gates * hidden, hidden]:
 * each step of each sequence takes all of W and R once. With layout 1, X is [batch, steps, in]: the
 * same product. */
static int64_t recurrent_macs(const struct pith_graph *graph, uint32_t node)
{
    const struct pith_shape *x = input_shape(graph, node, 0);
    int64_t weights =
        macs_plus(elements(input_shape(graph, node, 1)), elements(input_shape(graph, node, 2)));

    if (!x || x->rank != 3)
        return -1;
    return macs_times(macs_times(x->dim[0], x->dim[1]), weights);
}

/* The product of the sizes of all its letters: what two operands take without a cleverer order. */
static int64_t einsum_macs(const struct pith_graph *graph, uint32_t node)
{
    const char *equation = pith_node_string(graph, node, "equation", "");
    int64_t size_of[256];
    size_t operand = 0;
    uint32_t axis = 0;
    int64_t product = 1;

    memset(size_of, 0xff, sizeof size_of); /* -1 each: not seen */
    for (; *equation && *equation != '-'; equation++) {
        const struct pith_shape *shape = input_shape(graph, node, operand);

        if (*equation == ',') {
            operand++;
            axis = 0;
        } else if (isalpha((unsigned char) *equation)) {
            if (!shape || axis >= shape->rank)
                return -1;
            size_of[(unsigned char) *equation] = shape->dim[axis++];
            if (shape->dim[axis - 1] < 0)
                return -1;
        } else if (*equation != ' ') {
            return -1; /* an ellipsis */
        }
    }
    if (operand == 0)
        return 0; /* one operand: sums and transposes */
    for (size_t i = 0; i < sizeof size_of / sizeof size_of[0]; i++)
        if (size_of[i] >= 0)
            product = macs_times(product, size_of[i]);
    return product;
}

/* What runs of the node's sub-graphs: the costlier branch of an If; the body of a Loop or Scan once
 * a step where the number of steps is known, and once where it depends on data. */
static int64_t inside_macs(const struct pith_graph *graph, uint32_t node)
{
    const char *op = pith_node_op(graph, node);
    int64_t most = 0;
    int64_t steps = 1;

    for (size_t i = 0; i < pith_node_attribute_count(graph, node); i++) {
        const struct pith_graph *inside =
            pith_node_graph(graph, node, pith_node_attribute_name(graph, node, i));
        int64_t macs = inside ? graph_macs(inside) : 0;

        if (macs < 0)
            return -1;
        if (macs > most)
            most = macs;
    }
    if (!strcmp(op, "Loop")) {
        uint32_t limit = pith_node_input(graph, node, 0);
        const struct pith_tensor *constant =
            limit == PITH_NO_VALUE ? NULL : pith_value_constant(graph, limit);

        if (constant && pith_shape_elements(&constant->shape) == 1)
            steps = pith_tensor_get_int(constant, 0);
    } else if (!strcmp(op, "Scan")) {
        size_t last = pith_node_input_count(graph, node);
        const struct pith_shape *scanned = last ? input_shape(graph, node, last - 1) : NULL;

        if (scanned && scanned->rank && scanned->dim[0] > 0)
            steps = scanned->dim[0];
    }
    return macs_times(most, steps > 0 ? steps : 1);
}

static int64_t node_macs(const struct pith_graph *graph, uint32_t node)
{
    const char *op = pith_node_op(graph, node);

    if (!strcmp(op, "Conv") || !strcmp(op, "ConvInteger"))
        return conv_macs(graph, node, 1, false);
    if (!strcmp(op, "ConvTranspose"))
        return conv_macs(graph, node, 1, true);
    if (!strcmp(op, "QLinearConv"))
        return conv_macs(graph, node, 3, false);
    if (!strcmp(op, "MatMul") || !strcmp(op, "MatMulInteger") || !strcmp(op, "QLinearMatMul"))
        return matmul_macs(graph, node);
    if (!strcmp(op, "Gemm"))
        return gemm_macs(graph, node);
    if (!strcmp(op, "LSTM") || !strcmp(op, "GRU") || !strcmp(op, "RNN"))
        return recurrent_macs(graph, node);
    if (!strcmp(op, "Einsum"))
        return einsum_macs(graph, node);
    return inside_macs(graph, node);
}

int64_t graph_macs(const struct pith_graph *graph)
{
    int64_t total = 0;

    for (uint32_t i = 0; i < pith_graph_node_limit(graph) && total >= 0; i++)
        if (pith_node_exists(graph, i))
            total = macs_plus(total, node_macs(graph, i));
    return total;
}

uint64_t pith_node_macs(const struct pith_graph *graph, uint32_t node)
{
    int64_t macs = node_macs(graph, node);

    return macs > 0 ? (uint64_t) macs : 0;
}
