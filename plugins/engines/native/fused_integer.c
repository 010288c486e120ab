/* Products of integers that graphs scale to floats themselves, as those do whose activations are
 * quantized while they run: MatMulInteger, Cast, a Mul with the scales, and an Add of a bias. See
 * fused.h; libpith/kernels/matmul_integer.c computes it. */
#include "plugins/engines/native/fused.h"

#include <errno.h>

#include "libpith/kernels/kernel.h"

/* The integer product that the node's input is, made float32; or PITH_NO_NODE. */
static uint32_t cast_product(const struct pith_graph *graph, uint32_t value)
{
    const uint32_t cast = value == PITH_NO_VALUE || pith_value_quantization(graph, value)
                              ? PITH_NO_NODE
                              : fused_producer(graph, value, "Cast");
    uint32_t sums, product;

    if (cast == PITH_NO_NODE || pith_node_int(graph, cast, "to", 0) != PITH_FLOAT32)
        return PITH_NO_NODE;
    sums = pith_node_input(graph, cast, 0);
    product = sums == PITH_NO_VALUE ? PITH_NO_NODE : fused_producer(graph, sums, "MatMulInteger");
    return product != PITH_NO_NODE && fused_only_user(graph, sums) == cast &&
                   pith_node_input(graph, product, 0) != PITH_NO_VALUE &&
                   pith_node_input(graph, product, 1) != PITH_NO_VALUE
               ? product
               : PITH_NO_NODE;
}

/* One scale, or one a column; it makes the product no larger. */
static bool scales_fit(const struct pith_graph *graph, uint32_t scale,
                       const struct pith_shape *product, int64_t columns)
{
    const struct pith_shape *shape = pith_value_shape(graph, scale);

    if (!shape || shape->rank > product->rank || pith_value_quantization(graph, scale) ||
        pith_value_dtype(graph, scale) != PITH_FLOAT32)
        return false;
    for (uint32_t i = 0; i < shape->rank; i++)
        if (shape->dim[i] != 1 &&
            (i + 1 < shape->rank || columns < 0 || shape->dim[i] != columns))
            return false;
    return true;
}

/* The row behind a node that adds it to `value`; or PITH_NO_VALUE. */
static uint32_t added_row(const struct pith_graph *graph, uint32_t add, uint32_t value,
                          int64_t columns)
{
    size_t at;
    const struct pith_tensor *row;

    if (add == PITH_NO_NODE || !fused_is(graph, add, "Add"))
        return PITH_NO_VALUE;
    at = pith_node_input(graph, add, 0) == value ? 1 : 0;
    row = fused_constant(graph, add, at);
    return row && row->shape.rank == 1 && row->shape.dim[0] == columns
               ? pith_node_input(graph, add, at)
               : PITH_NO_VALUE;
}

static int fuse_integer_product(struct pith_graph *graph, uint32_t mul)
{
    uint32_t inputs[6], product = PITH_NO_NODE, last = mul, add, node;
    const struct pith_shape *shape, *b;
    size_t at = 0;

    for (; at < 2 && product == PITH_NO_NODE; at++)
        product = fused_only_user(graph, pith_node_input(graph, mul, at)) == mul
                      ? cast_product(graph, pith_node_input(graph, mul, at))
                      : PITH_NO_NODE;
    if (product == PITH_NO_NODE)
        return 0;
    for (size_t i = 0; i < 4; i++)
        inputs[i] = pith_node_input(graph, product, i);
    inputs[4] = pith_node_input(graph, mul, at == 1 ? 1 : 0);
    inputs[5] = PITH_NO_VALUE;
    shape = pith_value_shape(graph, pith_node_output(graph, product, 0));
    b = pith_value_shape(graph, inputs[1]);
    if (inputs[4] == PITH_NO_VALUE || !shape || shape->rank < 1 || !b || b->rank != 2 ||
        !scales_fit(graph, inputs[4], shape, b->dim[1]))
        return 0;
    add = fused_only_user(graph, pith_node_output(graph, mul, 0));
    inputs[5] = added_row(graph, add, pith_node_output(graph, mul, 0), b->dim[1]);
    if (inputs[5] != PITH_NO_VALUE)
        last = add;
    return fused_replace(graph, last, PITH_FUSED_DOMAIN, "MatMulInteger", inputs, 6, &node);
}

int fuse_integer_products(struct pith_graph *graph)
{
    int rc = 0;

    for (uint32_t node = 0; node < pith_graph_node_limit(graph) && rc == 0; node++)
        if (pith_node_exists(graph, node) && fused_is(graph, node, "Mul") &&
            pith_node_input(graph, node, 0) != PITH_NO_VALUE &&
            pith_node_input(graph, node, 1) != PITH_NO_VALUE)
            rc = fuse_integer_product(graph, node);
    return rc;
}
