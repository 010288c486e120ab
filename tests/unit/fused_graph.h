/* Graphs of what exporters wrote out in small operators, and the comparison of what the engine makes of them with the
 * literal execution, for every instruction set. */
#ifndef PITH_TESTS_FUSED_GRAPH_H
#define PITH_TESTS_FUSED_GRAPH_H

#include "tests/unit/native_engine.h"

#include <math.h>

#include "tests/unit/each_isa.h"

static struct pith_graph *graph;

static inline uint32_t two(const char *op, uint32_t a, uint32_t b)
{
    return add_node(graph, op, (uint32_t[]){a, b}, 2, NULL);
}

static inline uint32_t one(const char *op, uint32_t a)
{
    return add_node(graph, op, &a, 1, NULL);
}

static inline uint32_t number(float x)
{
    const struct pith_tensor tensor = {PITH_FLOAT32, {0}, &x, sizeof x};
    uint32_t value;

    assert_int_equal(pith_graph_add_constant(graph, NULL, &tensor, &value, NULL), 0);
    return value;
}

static inline uint32_t ints(uint32_t count, const int64_t *list)
{
    const struct pith_tensor tensor = {
        PITH_INT64, {1, {count}}, (void *) (uintptr_t) list, count * sizeof *list};
    uint32_t value;

    assert_int_equal(pith_graph_add_constant(graph, NULL, &tensor, &value, NULL), 0);
    return value;
}

static inline uint32_t row(int64_t count)
{
    return add_constant(graph, PITH_FLOAT32, 1, &count);
}

static inline uint32_t matrix(int64_t rows, int64_t cols)
{
    return add_constant(graph, PITH_FLOAT32, 2, (const int64_t[]){rows, cols});
}

static inline uint32_t transpose(uint32_t x, uint32_t rank, const int64_t *perm)
{
    uint32_t node, y = add_node(graph, "Transpose", &x, 1, &node);

    assert_int_equal(pith_node_set_ints(graph, node, "perm", perm, rank), 0);
    return y;
}

static inline uint32_t softmax(uint32_t x, int64_t axis)
{
    uint32_t node, y = add_node(graph, "Softmax", &x, 1, &node);

    assert_int_equal(pith_node_set_int(graph, node, "axis", axis), 0);
    return y;
}

static inline uint32_t mean(uint32_t x, int64_t axis)
{
    uint32_t node, y = add_node(graph, "ReduceMean", &x, 1, &node);

    assert_int_equal(pith_node_set_ints(graph, node, "axes", &axis, 1), 0);
    return y;
}

static inline uint32_t begin(int64_t opset, uint32_t rank, const int64_t *dims)
{
    const struct pith_shape shape = pith_shape_of(rank, dims);
    uint32_t x;

    assert_int_equal(pith_graph_new(&graph, "net", NULL), 0);
    assert_int_equal(pith_graph_set_opset(graph, "", opset), 0);
    assert_int_equal(pith_graph_add_value(graph, "x", PITH_FLOAT32, &shape, &x, NULL), 0);
    assert_int_equal(pith_graph_add_input(graph, x), 0);
    return x;
}

static inline int steps_of(struct pith_session *session, const char *name)
{
    struct pith_session_description about;
    int found = 0;

    assert_int_equal(engine->describe(session, &about), 0);
    for (size_t i = 0; i < about.step_count; i++)
        found += strncmp(about.steps[i].kernel, name, strlen(name)) == 0;
    return found;
}

/* Ends the graph, and compares its outputs with those of the literal execution; `step`: a kernel
 * that is there `count` times. */
static inline void check(uint32_t y, const char *step, int count, double tolerance)
{
    struct pith_error err = {0};
    struct pith_session *plain;
    struct pith_tensor x, got, want;

    assert_int_equal(pith_graph_add_output(graph, y), 0);
    assert_ok(pith_graph_validate(graph, &err), &err);
    assert_ok(pith_graph_infer(graph, NULL, &err), &err);
    assert_ok(pith_tensor_alloc(&x, PITH_FLOAT32,
                                pith_value_shape(graph, pith_graph_input(graph, 0)), &err),
              &err);
    for (int64_t i = 0; i < pith_shape_elements(&x.shape); i++)
        ((float *) x.data)[i] = 2.0F * random_float();
    plain = compile(graph, LITERALLY);
    assert_ok(engine->run(plain, &x, 1, &want, 1, &err), &err);
    for (struct each_isa each = {0}; each_isa(&each);) {
        struct pith_session *session = compile(graph, CHANNELS_LAST);

        assert_int_equal(steps_of(session, step), count);
        assert_ok(engine->run(session, &x, 1, &got, 1, &err), &err);
        assert_true(pith_shape_equal(&got.shape, &want.shape));
        for (int64_t i = 0; i < pith_shape_elements(&want.shape); i++) {
            const double g = pith_tensor_get(&got, i), w = pith_tensor_get(&want, i);

            if (!(fabs(g - w) <= tolerance))
                fail_msg("%s: [%d] is %.9g, not %.9g", pith_isa_name(pith_isa()), (int) i, g, w);
        }
        engine->close(session);
    }
    engine->close(plain);
    pith_tensor_free(&x);
    pith_graph_free(graph);
}

#endif
