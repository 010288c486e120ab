/* Small nets for tests of compression, with weights from a fixed draw. */
#ifndef PITH_TESTS_UNIT_NETS_H
#define PITH_TESTS_UNIT_NETS_H

#include "libpith/compress/samples.h"
#include "tests/testing.h"
#include <math.h>
#include <pith/graph.h>

static struct pith_error net_err;
static uint64_t net_seed = 1;

/* -1 to 1, the same on every machine. */
static inline float net_uniform(void)
{
    return (float) (pith_random(&net_seed) >> 40) / (float) (1 << 23) - 1;
}

static inline uint32_t constant(struct pith_graph *graph, uint32_t rank, const int64_t *dims,
                                float size)
{
    struct pith_shape shape = pith_shape_of(rank, dims);
    struct pith_tensor tensor;
    uint32_t value;

    assert_ok(pith_tensor_alloc(&tensor, PITH_FLOAT32, &shape, &net_err), &net_err);
    for (int64_t i = 0; i < pith_shape_elements(&shape); i++)
        ((float *) tensor.data)[i] = net_uniform() * size;
    assert_ok(pith_graph_add_constant(graph, NULL, &tensor, &value, &net_err), &net_err);
    pith_tensor_free(&tensor);
    return value;
}
#define CONSTANT(graph, size, ...)                                                                 \
    constant(graph, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (int64_t[]){__VA_ARGS__},  \
             size)

static inline uint32_t node_of(struct pith_graph *graph, const char *op, const char *name,
                               const uint32_t *inputs, size_t count, uint32_t *out_node)
{
    uint32_t output, node;

    assert_ok(pith_graph_add_value(graph, name, PITH_FLOAT32, NULL, &output, &net_err), &net_err);
    assert_ok(pith_graph_add_node(graph, "", op, name, inputs, count, &output, 1, &node, &net_err),
              &net_err);
    if (out_node)
        *out_node = node;
    return output;
}
#define NODE(graph, op, name, out_node, ...)                                                       \
    node_of(graph, op, name, (uint32_t[]){__VA_ARGS__},                                            \
            sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t), out_node)

static inline struct pith_graph *begin(const int64_t *dims, uint32_t rank, uint32_t *out_x)
{
    struct pith_shape shape = pith_shape_of(rank, dims);
    struct pith_graph *graph;

    net_seed = 1;
    assert_ok(pith_graph_new(&graph, "net", &net_err), &net_err);
    assert_ok(pith_graph_set_opset(graph, "", 13), &net_err);
    assert_ok(pith_graph_add_value(graph, "x", PITH_FLOAT32, &shape, out_x, &net_err), &net_err);
    assert_ok(pith_graph_add_input(graph, *out_x), &net_err);
    return graph;
}

static inline void finish(struct pith_graph *graph, uint32_t y)
{
    assert_ok(pith_graph_add_output(graph, y), &net_err);
    assert_ok(pith_graph_validate(graph, &net_err), &net_err);
    assert_ok(pith_graph_infer(graph, NULL, &net_err), &net_err);
}

/* conv - batch norm - relu - pool - (conv + skip) - relu - mean - gemm */
static inline struct pith_graph *conv_net(void)
{
    uint32_t x, norm[4], conv, node;
    struct pith_graph *graph = begin((int64_t[]){1, 3, 12, 12}, 4, &x);
    uint32_t y = NODE(graph, "Conv", "conv1", &conv, x, CONSTANT(graph, 0.3f, 8, 3, 3, 3));

    for (int i = 0; i < 4; i++)
        norm[i] = CONSTANT(graph, 0.4f, 8);
    struct pith_tensor variance;

    assert_ok(pith_tensor_copy(&variance, pith_value_constant(graph, norm[3]), &net_err), &net_err);
    for (int i = 0; i < 8; i++)
        ((float *) variance.data)[i] = 0.5f + fabsf(((float *) variance.data)[i]);
    assert_ok(pith_value_set_constant(graph, norm[3], &variance), &net_err);
    pith_tensor_free(&variance);
    y = NODE(graph, "BatchNormalization", "norm1", NULL, y, norm[0], norm[1], norm[2], norm[3]);
    y = NODE(graph, "Relu", "relu1", NULL, y);
    y = NODE(graph, "MaxPool", "pool1", &node, y);
    assert_ok(pith_node_set_ints(graph, node, "kernel_shape", (int64_t[]){2, 2}, 2), &net_err);
    assert_ok(pith_node_set_ints(graph, node, "strides", (int64_t[]){2, 2}, 2), &net_err);
    uint32_t skip = y;

    y = NODE(graph, "Conv", "conv2", &node, y, CONSTANT(graph, 0.3f, 8, 8, 3, 3),
             CONSTANT(graph, 0.2f, 8));
    assert_ok(pith_node_set_ints(graph, node, "pads", (int64_t[]){1, 1, 1, 1}, 4), &net_err);
    y = NODE(graph, "Add", "add", NULL, y, skip);
    y = NODE(graph, "Relu", "relu2", NULL, y);
    y = NODE(graph, "GlobalAveragePool", "mean", NULL, y);
    y = NODE(graph, "Flatten", "flat", NULL, y);
    y = NODE(graph, "Gemm", "dense", &node, y, CONSTANT(graph, 0.5f, 5, 8),
             CONSTANT(graph, 0.1f, 5));
    assert_ok(pith_node_set_int(graph, node, "transB", 1), &net_err);
    finish(graph, y);
    return graph;
}

#endif
