/* Nets over values on grids of 16 bits, or of 8, with weights of 8; and what such a net must give. */
#ifndef PITH_TESTS_WORDS_NET_H
#define PITH_TESTS_WORDS_NET_H

#include "tests/unit/each_isa.h"
#include "tests/unit/native_engine.h"

#include <math.h>

static inline int64_t pick(int64_t low, int64_t high)
{
    seed = seed * 1664525U + 1013904223U;
    return low + (int64_t) (seed >> 8) % (high - low + 1);
}

struct words {
    int64_t in, middle, out, size, kernel, stride;
    int32_t dtype; /* of activations */
    int64_t weight; /* the greatest magnitude */
    float bias;
};

static inline uint32_t add_weights(struct pith_graph *graph, int64_t out, int64_t in, int64_t kernel,
                                   int64_t most)
{
    const struct pith_shape shape = {4, {out, in, kernel, kernel}};
    struct pith_error err = {0};
    struct pith_tensor w;
    float scale[256];
    int32_t zero[256] = {0};
    const struct pith_quantization q = {PITH_INT8, 0, 0, (size_t) out, scale, zero};
    uint32_t value;

    for (int64_t i = 0; i < out; i++)
        scale[i] = (float) pick(80, 120) * 0.012F / (float) (most * in * kernel);
    assert_ok(pith_tensor_alloc(&w, PITH_INT8, &shape, &err), &err);
    for (int64_t i = 0; i < pith_shape_elements(&shape); i++)
        pith_tensor_set(&w, i, (double) (pick(0, 3) ? most : pick(-most, most)));
    assert_ok(pith_graph_add_value(graph, NULL, PITH_FLOAT32, &shape, &value, &err), &err);
    assert_int_equal(pith_value_set_quantization(graph, value, &q), 0);
    assert_ok(pith_value_set_constant(graph, value, &w), &err);
    pith_tensor_free(&w);
    return value;
}

static inline uint32_t add_list(struct pith_graph *graph, int32_t dtype, int64_t count, const void *elements)
{
    struct pith_error err = {0};
    struct pith_tensor list;
    uint32_t value;

    assert_ok(pith_tensor_alloc(&list, dtype, &(struct pith_shape){1, {count}}, &err), &err);
    memcpy(list.data, elements, list.bytes);
    assert_ok(pith_graph_add_constant(graph, NULL, &list, &value, &err), &err);
    pith_tensor_free(&list);
    return value;
}

static inline uint32_t add_bias(struct pith_graph *graph, int64_t count, float size)
{
    float bias[256];

    for (int64_t i = 0; i < count; i++)
        bias[i] = (float) pick(-100, 100) * 0.01F * size;
    return add_list(graph, PITH_FLOAT32, count, bias);
}

static inline uint32_t conv(struct pith_graph *graph, const uint32_t *in, size_t count, int64_t pad,
                            int64_t stride, int64_t groups)
{
    uint32_t node, y = add_node(graph, "Conv", in, count, &node);

    assert_int_equal(pith_node_set_ints(graph, node, "pads", (const int64_t[]){pad, pad, pad, pad}, 4), 0);
    assert_int_equal(pith_node_set_ints(graph, node, "strides", (const int64_t[]){stride, stride}, 2), 0);
    assert_int_equal(pith_node_set_int(graph, node, "group", groups), 0);
    return y;
}

static inline void words_grid(struct pith_graph *graph, const struct words *n, uint32_t value, float scale, int32_t zero)
{
    if (n->dtype == PITH_UINT8 || n->dtype == PITH_INT8)
        set_grid(graph, value, n->dtype, scale * 256.0F,
                 zero / 256 + (n->dtype == PITH_UINT8 ? 128 : 0), 0, 0);
    else
        set_grid(graph, value, n->dtype, scale, n->dtype == PITH_UINT16 ? zero + 32768 : 0, 0, 0);
}

static inline struct pith_tensor input_of(const struct words *n)
{
    const struct pith_shape shape = {4, {1, n->in, n->size, n->size}};
    struct pith_error err = {0};
    struct pith_tensor x;

    assert_ok(pith_tensor_alloc(&x, PITH_FLOAT32, &shape, &err), &err);
    for (int64_t i = 0; i < pith_shape_elements(&shape); i++)
        ((float *) x.data)[i] = (float) pick(pick(0, 2) ? 900 : -1000, 1000) * 0.0013F;
    return x;
}

static inline struct pith_tensor rows_of(const struct pith_shape *shape)
{
    struct pith_error err = {0};
    struct pith_tensor x;

    assert_ok(pith_tensor_alloc(&x, PITH_FLOAT32, shape, &err), &err);
    for (int64_t i = 0; i < pith_shape_elements(shape); i++)
        ((float *) x.data)[i] = (float) pick(-1000, 1000) * 0.0013F;
    return x;
}

/* A value one step off in the middle makes others so. step: of the output's grid. */
static inline void check_near(const struct pith_tensor *got, const struct pith_tensor *want, double step)
{
    const int64_t count = pith_shape_elements(&want->shape);
    int64_t different = 0;

    for (int64_t i = 0; i < count; i++) {
        const double steps = fabs(pith_tensor_get(got, i) - pith_tensor_get(want, i)) / step;

        assert_true(steps < 3.01);
        different += steps > 0.5;
    }
    assert_true(different * 3 <= count);
}

/* step: of the output's grid; wanted: the kernel of integers; unwanted: those of floats, NULL behind the last. */
static inline void check_graph(struct pith_graph *graph, struct pith_tensor *x, double step, const char *wanted,
                               const char *const *unwanted)
{
    struct pith_session *literal = compile(graph, LITERALLY);
    struct pith_tensor want, first = {0};
    struct pith_error err = {0};

    assert_ok(engine->run(literal, x, 1, &want, 1, &err), &err);
    for (struct each_isa each = {0}; each_isa(&each);) {
        struct pith_session *session = compile(graph, CHANNELS_LAST);
        struct pith_tensor got;

        assert_ok(engine->run(session, x, 1, &got, 1, &err), &err);
#if defined __x86_64__
        assert_true(has_step(session, wanted));
        for (size_t i = 0; unwanted[i]; i++)
            assert_false(has_step(session, unwanted[i]));
        if (!first.data)
            assert_ok(pith_tensor_copy(&first, &got, &err), &err);
        assert_memory_equal(first.data, got.data, got.bytes);
#else
        (void) wanted;
        (void) unwanted;
#endif
        check_near(&got, &want, step);
        engine->close(session);
    }
    pith_tensor_free(&first);
    engine->close(literal);
    pith_graph_free(graph);
    pith_tensor_free(x);
}

#endif
