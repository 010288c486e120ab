/* The engine native: what Loop and Scan collect, of some rounds and of none. */
#include "tests/unit/native_plugin.h"

static const struct pith_shape cell = {2, {2, 3}};

static uint32_t add_value(struct pith_graph *graph, const char *name, int32_t dtype,
                          const struct pith_shape *shape)
{
    struct pith_error err = {0};
    uint32_t value;

    assert_ok(pith_graph_add_value(graph, name, dtype, shape, &value, &err), &err);
    return value;
}

static uint32_t add_input(struct pith_graph *graph, const char *name, int32_t dtype,
                          const struct pith_shape *shape)
{
    const uint32_t value = add_value(graph, name, dtype, shape);

    assert_int_equal(pith_graph_add_input(graph, value), 0);
    return value;
}

static void give(struct pith_graph *graph, uint32_t value)
{
    assert_int_equal(pith_graph_add_output(graph, value), 0);
}

/* state + x, or twice the state where there is no x; what comes out is collected too. */
static struct pith_graph *body(bool loop)
{
    struct pith_graph *graph;
    struct pith_error err = {0};
    uint32_t again = PITH_NO_VALUE, in[2], sum;

    assert_ok(pith_graph_new(&graph, "body", &err), &err);
    if (loop) {
        (void) add_input(graph, "round", PITH_INT64, &(struct pith_shape){0});
        again = add_input(graph, "again", PITH_BOOL, &(struct pith_shape){0});
    }
    in[0] = add_input(graph, "state", PITH_FLOAT32, NULL);
    in[1] = loop ? in[0] : add_input(graph, "slice", PITH_FLOAT32, NULL);
    sum = add_node(graph, "Add", in, 2, NULL);
    if (loop) {
        again = add_node(graph, "Identity", &again, 1, NULL);
        assert_int_equal(pith_value_set_type(graph, again, PITH_BOOL, NULL), 0);
        give(graph, again);
    }
    give(graph, sum);
    give(graph, add_node(graph, "Identity", &sum, 1, NULL));
    return graph;
}

/* Outputs: the state in the end, and what was collected. `slices`: Scan's input; NULL: a Loop, whose rounds are input 0. */
static struct pith_graph *net(const struct pith_shape *slices)
{
    struct pith_graph *graph;
    struct pith_error err = {0};
    uint32_t in[3], out[2], node;

    assert_ok(pith_graph_new(&graph, "net", &err), &err);
    assert_int_equal(pith_graph_set_opset(graph, "", 13), 0);
    in[0] = slices ? PITH_NO_VALUE : add_input(graph, "rounds", PITH_INT64, &(struct pith_shape){0});
    in[1] = PITH_NO_VALUE;
    in[2] = add_input(graph, "first", PITH_FLOAT32, &cell);
    if (slices) {
        in[0] = in[2];
        in[1] = add_input(graph, "x", PITH_FLOAT32, slices);
    }
    for (int i = 0; i < 2; i++)
        out[i] = add_value(graph, NULL, PITH_FLOAT32, NULL);
    assert_ok(pith_graph_add_node(graph, "", slices ? "Scan" : "Loop", "rounds", in, slices ? 2 : 3, out, 2, &node, &err), &err);
    assert_int_equal(pith_node_set_graph(graph, node, "body", body(!slices)), 0);
    if (slices) {
        assert_int_equal(pith_node_set_int(graph, node, "num_scan_inputs", 1), 0);
        assert_int_equal(pith_node_set_ints(graph, node, "scan_output_axes", (const int64_t[]){1}, 1), 0);
    }
    for (int i = 0; i < 2; i++)
        give(graph, out[i]);
    assert_ok(pith_graph_validate(graph, &err), &err);
    assert_ok(pith_graph_infer(graph, NULL, &err), &err);
    return graph;
}

static void run(const struct pith_graph *graph, const struct pith_tensor *in, const struct pith_shape *shape,
                double last)
{
    const struct pith_engine_options options = {.size_bytes = sizeof options, .threads = 1};
    struct pith_session *session;
    struct pith_tensor out[2];
    struct pith_error err = {0};

    assert_ok(engine->compile(NULL, graph, &options, &session, &err), &err);
    assert_ok(engine->run(session, in, 2, out, 2, &err), &err);
    assert_true(pith_shape_equal(&out[0].shape, &cell));
    assert_true(pith_tensor_get(&out[0], 0) == last);
    assert_true(pith_shape_equal(&out[1].shape, shape));
    engine->close(session);
}

static void a_loop_of_no_round_collects_nothing_of_a_known_shape(void **state)
{
    float first[6] = {1, 2, 3, 4, 5, 6};
    struct pith_graph *graph = net(NULL);

    (void) state;
    for (int64_t rounds = 0; rounds < 3; rounds++) {
        const struct pith_tensor in[2] = {{PITH_INT64, {0}, &rounds, sizeof rounds},
                                          {PITH_FLOAT32, cell, first, sizeof first}};

        run(graph, in, &(struct pith_shape){3, {rounds, 2, 3}}, (double) (1 << rounds));
    }
    pith_graph_free(graph);
}

static void a_scan_of_no_slice_collects_nothing_of_a_known_shape(void **state)
{
    float first[6] = {1, 2, 3, 4, 5, 6}, x[12] = {7, 0, 0, 0, 0, 0, 1};

    (void) state;
    for (int64_t rounds = 0; rounds < 3; rounds++) {
        const struct pith_shape slices = {3, {rounds, 2, 3}};
        const struct pith_tensor in[2] = {{PITH_FLOAT32, cell, first, sizeof first},
                                          {PITH_FLOAT32, slices, x, (size_t) rounds * sizeof first}};
        struct pith_graph *graph = net(&slices);

        run(graph, in, &(struct pith_shape){3, {2, rounds, 3}}, (const double[]){1, 8, 9}[rounds]);
        pith_graph_free(graph);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loop_of_no_round_collects_nothing_of_a_known_shape),
        cmocka_unit_test(a_scan_of_no_slice_collects_nothing_of_a_known_shape),
    };

    return cmocka_run_group_tests_name("native loops", tests, open_engine, close_engine);
}
