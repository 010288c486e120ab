/* The engine native, and small graphs for it: nets with what real ones have, in floats or on grids.
 */
#ifndef PITH_TESTS_NATIVE_ENGINE_H
#define PITH_TESTS_NATIVE_ENGINE_H

#include "tests/unit/native_plugin.h"

/* ---- graphs ---- */

static uint32_t seed = 1;

static inline float random_float(void)
{
    seed = seed * 1664525U + 1013904223U;
    return (float) (seed >> 8) / (float) (1 << 23) - 1.0F;
}

static inline uint32_t add_constant(struct pith_graph *graph, int32_t dtype, uint32_t rank,
                                    const int64_t *dims)
{
    const struct pith_shape shape = pith_shape_of(rank, dims);
    struct pith_tensor tensor;
    struct pith_error err = {0};
    uint32_t value;

    assert_ok(pith_tensor_alloc(&tensor, dtype, &shape, &err), &err);
    for (int64_t i = 0; i < pith_shape_elements(&shape); i++)
        pith_tensor_set(&tensor, i, (double) random_float() * (dtype == PITH_INT8 ? 120.0 : 0.5));
    assert_ok(pith_graph_add_constant(graph, NULL, &tensor, &value, &err), &err);
    pith_tensor_free(&tensor);
    return value;
}

/* One grid for all, or one a channel where channels > 0. */
static inline void set_grid(struct pith_graph *graph, uint32_t value, int32_t dtype, float scale,
                            int32_t zero, int32_t axis, size_t channels)
{
    float scales[64];
    int32_t zeros[64];
    const struct pith_quantization q = {dtype, axis, 0, channels ? channels : 1, scales, zeros};

    for (size_t i = 0; i < q.count; i++) {
        scales[i] = scale * (1.0F + 0.1F * (float) i);
        zeros[i] = zero;
    }
    assert_int_equal(pith_value_set_quantization(graph, value, &q), 0);
}

/* A graph of one input, x; the caller's. */
static inline struct pith_graph *begin_net(int64_t opset, const struct pith_shape *shape,
                                           uint32_t *out_x)
{
    struct pith_graph *graph;
    struct pith_error err = {0};

    assert_ok(pith_graph_new(&graph, "net", &err), &err);
    assert_int_equal(pith_graph_set_opset(graph, "", opset), 0);
    assert_int_equal(pith_graph_add_value(graph, "x", PITH_FLOAT32, shape, out_x, NULL), 0);
    assert_int_equal(pith_graph_add_input(graph, *out_x), 0);
    return graph;
}

/* The same with its output, checked, its shapes known. */
static inline struct pith_graph *end_net(struct pith_graph *graph, uint32_t y)
{
    struct pith_error err = {0};

    assert_int_equal(pith_graph_add_output(graph, y), 0);
    assert_ok(pith_graph_validate(graph, &err), &err);
    assert_ok(pith_graph_infer(graph, NULL, &err), &err);
    return graph;
}

struct net {
    int64_t channels, size, features;
    bool quantized, is_signed,
        sixteen; /* sixteen: activations on grids of int16, as fine as those of 8 bits or finer */
};

static inline void grid(struct pith_graph *graph, const struct net *net, uint32_t value,
                        float scale, int32_t zero)
{
    if (net->sixteen)
        set_grid(graph, value, PITH_INT16, scale / 64.0F, 0, 0, 0);
    else if (net->quantized)
        set_grid(graph, value, net->is_signed ? PITH_INT8 : PITH_UINT8, scale,
                 net->is_signed ? zero - 128 : zero, 0, 0);
}

/* A small net with what real ones have: convolutions (3x3 with padding and Relu, depthwise with
 * stride, 1x1), a residual addition, Sigmoid, pooling, and a product at the end. */
static inline struct pith_graph *build(const struct net *net)
{
    const int32_t weight = net->quantized ? PITH_INT8 : PITH_FLOAT32;
    const int64_t c = net->channels;
    const struct pith_shape shape = {4, {1, 3, net->size, net->size}};
    uint32_t x, y, z, node, in[3];
    struct pith_graph *graph = begin_net(13, &shape, &x);

    grid(graph, net, x, 0.01F, 117);

    in[0] = x;
    in[1] = add_constant(graph, weight, 4, (const int64_t[]){c, 3, 3, 3});
    in[2] = add_constant(graph, PITH_FLOAT32, 1, (const int64_t[]){c});
    if (net->quantized)
        set_grid(graph, in[1], PITH_INT8, 0.004F, 0, 0, (size_t) c);
    y = add_node(graph, "Conv", in, 3, &node);
    assert_int_equal(pith_node_set_ints(graph, node, "pads", (const int64_t[]){1, 1, 1, 1}, 4), 0);
    y = add_node(graph, "Relu", &y, 1, NULL);
    grid(graph, net, y, 0.02F, 0);

    in[0] = y;
    in[1] = add_constant(graph, weight, 4, (const int64_t[]){c, 1, 3, 3});
    if (net->quantized)
        set_grid(graph, in[1], PITH_INT8, 0.005F, 0, 0, (size_t) c);
    z = add_node(graph, "Conv", in, 2, &node);
    assert_int_equal(pith_node_set_int(graph, node, "group", c), 0);
    assert_int_equal(pith_node_set_ints(graph, node, "pads", (const int64_t[]){1, 1, 1, 1}, 4), 0);
    grid(graph, net, z, 0.05F, 99);
    in[0] = z;
    z = add_node(graph, "Sigmoid", in, 1, NULL);
    grid(graph, net, z, 1.0F / 256.0F, 0);
    in[0] = y;
    in[1] = z;
    y = add_node(graph, "Add", in, 2, NULL);
    grid(graph, net, y, 0.025F, 3);
    in[0] = y;
    y = add_node(graph, "MaxPool", in, 1, &node);
    assert_int_equal(pith_node_set_ints(graph, node, "kernel_shape", (const int64_t[]){2, 2}, 2),
                     0);
    assert_int_equal(pith_node_set_ints(graph, node, "strides", (const int64_t[]){2, 2}, 2), 0);
    grid(graph, net, y, 0.025F, 3);
    in[0] = y;
    y = add_node(graph, "GlobalAveragePool", in, 1, NULL);
    grid(graph, net, y, 0.01F, 3);
    in[0] = y;
    y = add_node(graph, "Flatten", in, 1, NULL);
    grid(graph, net, y, 0.01F, 3);
    in[0] = y;
    in[1] = add_constant(graph, weight, 2, (const int64_t[]){net->features, c});
    in[2] = add_constant(graph, PITH_FLOAT32, 1, (const int64_t[]){net->features});
    if (net->quantized)
        set_grid(graph, in[1], PITH_INT8, 0.003F, 0, 0, (size_t) net->features);
    y = add_node(graph, "Gemm", in, 3, &node);
    assert_int_equal(pith_node_set_int(graph, node, "transB", 1), 0);
    grid(graph, net, y, 0.02F, 128);
    return end_net(graph, y);
}

enum way { CHANNELS_LAST, PLANAR, LITERALLY };

static inline struct pith_session *compile_threads(const struct pith_graph *graph, enum way way,
                                                   uint32_t threads)
{
    struct pith_option_value values[3] = {
        {.integer = way == LITERALLY}, {.integer = 64}, {.integer = way == PLANAR}};
    const struct pith_engine_options options = {
        .size_bytes = sizeof options, .threads = threads, .options = values};
    struct pith_session *session = NULL;
    struct pith_error err = {0};

    assert_ok(engine->compile(NULL, graph, &options, &session, &err), &err);
    return session;
}

static inline struct pith_session *compile(const struct pith_graph *graph, enum way way)
{
    return compile_threads(graph, way, 1);
}

static inline struct pith_tensor random_input(const struct net *net)
{
    const struct pith_shape shape = {4, {1, 3, net->size, net->size}};
    struct pith_tensor x;
    struct pith_error err = {0};

    assert_ok(pith_tensor_alloc(&x, PITH_FLOAT32, &shape, &err), &err);
    for (int64_t i = 0; i < pith_shape_elements(&shape); i++)
        ((float *) x.data)[i] = random_float();
    return x;
}

static inline bool has_step(struct pith_session *session, const char *kernel)
{
    struct pith_session_description about;

    assert_int_equal(engine->describe(session, &about), 0);
    for (size_t i = 0; i < about.step_count; i++)
        if (strncmp(about.steps[i].kernel, kernel, strlen(kernel)) == 0)
            return true;
    return false;
}

static inline size_t count_steps(struct pith_session *session)
{
    struct pith_session_description about;

    assert_int_equal(engine->describe(session, &about), 0);
    return about.step_count;
}

#endif
