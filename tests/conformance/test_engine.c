/* Every engine plugin that is built: what the ABI promises, with small graphs made here. */
#include "libpith/plugin/plugins.h"
#include "tests/testing.h"

#include <errno.h>
#include <math.h>
#include <pith/engine.h>

static struct pith_plugins *plugins;

/* Runs the test for each engine found. */
#define EACH_ENGINE(engine)                                                                        \
    for (size_t plugin_index = 0; plugin_index < pith_plugins_count(plugins); plugin_index++)      \
        for (const struct pith_engine_ops *engine = engine_at(plugin_index); engine; engine = NULL)

static const struct pith_engine_ops *engine_at(size_t index)
{
    const struct pith_plugin_entry *entry = pith_plugins_entry(plugins, index);

    return entry->plugin && entry->plugin->kind == PITH_KIND_ENGINE ? entry->plugin->ops : NULL;
}

static uint32_t add_node(struct pith_graph *graph, const char *op, const char *name,
                         const uint32_t *inputs, size_t count, int32_t dtype)
{
    uint32_t out, node;

    assert_ok(pith_graph_add_value(graph, NULL, dtype, NULL, &out, NULL), NULL);
    assert_int_equal(pith_graph_add_node(graph, "", op, name, inputs, count, &out, 1, &node, NULL),
                     0);
    return out;
}

static struct pith_graph *new_graph(void)
{
    struct pith_graph *graph;

    assert_int_equal(pith_graph_new(&graph, "test", NULL), 0);
    assert_int_equal(pith_graph_set_opset(graph, "", 17), 0);
    return graph;
}

static void finish(struct pith_graph *graph, uint32_t output)
{
    struct pith_error err = {0};

    assert_int_equal(pith_graph_add_output(graph, output), 0);
    assert_ok(pith_graph_validate(graph, &err), &err);
    assert_ok(pith_graph_infer(graph, NULL, &err), &err);
}

static uint32_t add_input(struct pith_graph *graph, const char *name, int32_t dtype, uint32_t rank,
                          const int64_t *dims)
{
    const struct pith_shape shape = pith_shape_of(rank, dims);
    uint32_t value;

    assert_int_equal(pith_graph_add_value(graph, name, dtype, &shape, &value, NULL), 0);
    assert_int_equal(pith_graph_add_input(graph, value), 0);
    return value;
}

/* y = relu(a + b), of shape [batch, 3] */
static struct pith_graph *sum_graph(int64_t batch)
{
    struct pith_graph *graph = new_graph();
    const uint32_t in[2] = {add_input(graph, "a", PITH_FLOAT32, 2, (const int64_t[]){batch, 3}),
                            add_input(graph, "b", PITH_FLOAT32, 2, (const int64_t[]){batch, 3})};
    const uint32_t sum = add_node(graph, "Add", "sum", in, 2, PITH_FLOAT32);

    finish(graph, add_node(graph, "Relu", "rectify", &sum, 1, PITH_FLOAT32));
    return graph;
}

/* y = table[index] for index [2]: an index out of range shows only in a run */
static struct pith_graph *gather_graph(void)
{
    struct pith_graph *graph = new_graph();
    const uint32_t in[2] = {add_input(graph, "table", PITH_FLOAT32, 2, (const int64_t[]){4, 3}),
                            add_input(graph, "index", PITH_INT64, 1, (const int64_t[]){2})};

    finish(graph, add_node(graph, "Gather", "look_up", in, 2, PITH_FLOAT32));
    return graph;
}

static struct pith_tensor view(int32_t dtype, uint32_t rank, const int64_t *dims, void *data,
                               size_t bytes)
{
    return (struct pith_tensor){dtype, pith_shape_of(rank, dims), data, bytes};
}

static struct pith_session *compile(const struct pith_engine_ops *engine,
                                    const struct pith_graph *graph, uint32_t profile)
{
    const struct pith_engine_options options = {
        .size_bytes = sizeof options, .threads = 1, .profile = profile};
    struct pith_session *session = NULL;
    struct pith_error err = {0};

    assert_ok(engine->supports(graph, NULL, NULL, &err), &err);
    assert_ok(engine->compile(NULL, graph, &options, &session, &err), &err);
    assert_non_null(session);
    return session;
}

static void runs_a_graph_and_tells_its_outputs(void **state)
{
    (void) state;
    EACH_ENGINE(engine)
    {
        struct pith_graph *graph = sum_graph(1);
        struct pith_session *session = compile(engine, graph, 0);
        float a[3] = {1.0F, -2.0F, 3.0F}, b[3] = {0.5F, 0.5F, 0.5F};
        const struct pith_tensor in[2] = {
            view(PITH_FLOAT32, 2, (const int64_t[]){1, 3}, a, sizeof a),
            view(PITH_FLOAT32, 2, (const int64_t[]){1, 3}, b, sizeof b)};
        struct pith_tensor out = {0};
        struct pith_error err = {0};

        assert_ok(engine->run(session, in, 2, &out, 1, &err), &err);
        assert_int_equal(out.dtype, PITH_FLOAT32);
        assert_true(pith_shape_equal(&out.shape, &in[0].shape));
        assert_int_equal(out.bytes, sizeof a);
        assert_true(pith_tensor_get(&out, 0) == 1.5 && pith_tensor_get(&out, 1) == 0.0 &&
                    pith_tensor_get(&out, 2) == 3.5);
        assert_true(out.data != a && out.data != b);
        engine->close(session);
        pith_graph_free(graph);
    }
}

/* y = relu(a + constant) */
/* An output may be an input, or a constant. */
static void gives_what_no_node_makes(void **state)
{
    static float numbers[3] = {1.5F, -2.0F, 0.25F};
    const int64_t three[] = {3};
    struct pith_graph *graph = new_graph();
    const uint32_t a = add_input(graph, "a", PITH_FLOAT32, 1, three);
    const struct pith_tensor constant = view(PITH_FLOAT32, 1, three, numbers, sizeof numbers);
    uint32_t c;

    (void) state;
    assert_int_equal(pith_graph_add_value(graph, "c", PITH_FLOAT32, NULL, &c, NULL), 0);
    assert_int_equal(pith_value_set_constant(graph, c, &constant), 0);
    assert_int_equal(pith_graph_add_output(graph, a), 0);
    assert_int_equal(pith_graph_add_output(graph, c), 0);
    finish(graph, add_node(graph, "Relu", "rectify", &a, 1, PITH_FLOAT32));
    EACH_ENGINE(engine)
    {
        float x[3] = {-1.0F, 2.0F, -3.0F};
        struct pith_session *session;
        struct pith_tensor in = view(PITH_FLOAT32, 1, three, x, sizeof x), out[3];
        struct pith_error err = {0};

        if (engine->supports(graph, NULL, NULL, NULL) < 0)
            continue; /* that is allowed; a wrong answer is not */
        session = compile(engine, graph, 0);
        for (int run = 0; run < 2; run++) {
            x[0] = (float) run;
            assert_ok(engine->run(session, &in, 1, out, 3, &err), &err);
            assert_memory_equal(out[0].data, x, sizeof x);
            assert_memory_equal(out[1].data, numbers, sizeof numbers);
            assert_float_equal(((const float *) out[2].data)[1], 2.0F, 0.0F);
        }
        engine->close(session);
    }
    pith_graph_free(graph);
}

static void a_session_outlives_its_graph(void **state)
{
    (void) state;
    EACH_ENGINE(engine)
    {
        struct pith_graph *graph = new_graph();
        float a[3] = {1.0F, -2.0F, 3.0F}, b[3] = {0.5F, 0.5F, 0.5F};
        const struct pith_tensor in = view(PITH_FLOAT32, 2, (const int64_t[]){1, 3}, a, sizeof a),
                                 constant =
                                     view(PITH_FLOAT32, 2, (const int64_t[]){1, 3}, b, sizeof b);
        uint32_t terms[2] = {add_input(graph, "a", PITH_FLOAT32, 2, (const int64_t[]){1, 3})};
        struct pith_session *session;
        struct pith_session_description described;
        struct pith_tensor out = {0};
        struct pith_error err = {0};
        uint32_t sum;

        assert_ok(pith_graph_add_constant(graph, "b", &constant, &terms[1], &err), &err);
        sum = add_node(graph, "Add", "sum", terms, 2, PITH_FLOAT32);
        finish(graph, add_node(graph, "Relu", "rectify", &sum, 1, PITH_FLOAT32));
        if (engine->supports(graph, NULL, NULL, &err) == -ENOTSUP) { /* no such constants, say */
            pith_graph_free(graph);
            continue;
        }
        session = compile(engine, graph, 0);
        pith_graph_free(graph);
        assert_ok(engine->run(session, &in, 1, &out, 1, &err), &err);
        assert_true(pith_tensor_get(&out, 0) == 1.5 && pith_tensor_get(&out, 1) == 0.0);
        if (engine->describe) {
            assert_int_equal(engine->describe(session, &described), 0);
            for (size_t i = 0; i < described.step_count; i++)
                assert_true(strlen(described.steps[i].name) < 100);
        }
        engine->close(session);
    }
}

static void names_each_node_that_it_cannot_run(void **state)
{
    (void) state;
    EACH_ENGINE(engine)
    {
        struct pith_graph *graph = new_graph();
        const uint32_t in = add_input(graph, "a", PITH_FLOAT32, 1, (const int64_t[]){3});
        const uint32_t out = add_node(graph, "NoSuchOperator", "strange", &in, 1, PITH_FLOAT32);
        struct pith_error err = {0};

        assert_int_equal(pith_graph_add_output(graph, out), 0);
        if (pith_graph_validate(graph, &err) == 0) {
            assert_int_equal(engine->supports(graph, NULL, NULL, &err), -ENOTSUP);
            assert_non_null(strstr(err.text, "strange"));
        }
        pith_graph_free(graph);
    }
}

/* The only output that is there is the second: [1,1,2,2] -> where the greatest of each pooling
 * window lies. */
static void takes_a_node_whose_first_output_is_left_out(void **state)
{
    (void) state;
    EACH_ENGINE(engine)
    {
        struct pith_graph *graph = new_graph();
        const uint32_t in = add_input(graph, "a", PITH_FLOAT32, 4, (const int64_t[]){1, 1, 2, 2});
        uint32_t outputs[2] = {PITH_NO_VALUE}, node;
        struct pith_error err = {0};

        assert_int_equal(
            pith_graph_add_value(graph, "indices", PITH_INT64, NULL, &outputs[1], NULL), 0);
        assert_int_equal(
            pith_graph_add_node(graph, "", "MaxPool", "pool", &in, 1, outputs, 2, &node, NULL), 0);
        assert_int_equal(
            pith_node_set_ints(graph, node, "kernel_shape", (const int64_t[]){2, 2}, 2), 0);
        assert_int_equal(pith_graph_add_output(graph, outputs[1]), 0);
        if (pith_graph_validate(graph, &err) == 0 && pith_graph_infer(graph, NULL, &err) == 0) {
            const int rc = engine->supports(graph, NULL, NULL, &err);

            assert_true(rc == 0 || rc == -ENOTSUP);
        }
        pith_graph_free(graph);
    }
}

static void refuses_inputs_of_another_shape_type_or_number(void **state)
{
    (void) state;
    EACH_ENGINE(engine)
    {
        struct pith_graph *graph = sum_graph(2);
        struct pith_session *session = compile(engine, graph, 0);
        float data[12] = {0};
        const struct pith_tensor good = view(PITH_FLOAT32, 2, (const int64_t[]){2, 3}, data, 24);
        const struct pith_tensor bad[] = {view(PITH_FLOAT32, 2, (const int64_t[]){1, 3}, data, 12),
                                          view(PITH_FLOAT32, 2, (const int64_t[]){3, 2}, data, 24),
                                          view(PITH_FLOAT32, 1, (const int64_t[]){6}, data, 24),
                                          view(PITH_INT32, 2, (const int64_t[]){2, 3}, data, 24),
                                          view(PITH_FLOAT32, 2, (const int64_t[]){2, 3}, data, 20)};
        struct pith_tensor out[2] = {{0}};
        struct pith_error err = {0};

        for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
            const struct pith_tensor in[2] = {good, bad[i]};

            assert_int_equal(engine->run(session, in, 2, out, 1, &err), -EINVAL);
            assert_true(err.text[0] != 0);
        }
        assert_int_equal(engine->run(session, &good, 1, out, 1, &err), -EINVAL);
        assert_int_equal(
            engine->run(session, (const struct pith_tensor[]){good, good}, 2, out, 2, &err),
            -EINVAL);
        assert_ok(engine->run(session, (const struct pith_tensor[]){good, good}, 2, out, 1, &err),
                  &err);
        engine->close(session);
        pith_graph_free(graph);
    }
}

/* y of a session that was compiled without knowing the batch, for one and then another. */
static void check_open_batch(const struct pith_engine_ops *engine, struct pith_session *session)
{
    for (int64_t batch = 1; batch <= 3; batch++) {
        const int64_t dims[] = {batch, 3};
        float a[9], b[9];
        const struct pith_tensor in[2] = {view(PITH_FLOAT32, 2, dims, a, (size_t) batch * 12),
                                          view(PITH_FLOAT32, 2, dims, b, (size_t) batch * 12)};
        struct pith_tensor out = {0};
        struct pith_error err = {0};

        for (int i = 0; i < 9; i++) {
            a[i] = (float) i;
            b[i] = -4.0F;
        }
        assert_ok(engine->run(session, in, 2, &out, 1, &err), &err);
        assert_true(pith_shape_equal(&out.shape, &in[0].shape));
        for (int64_t i = 0; i < 3 * batch; i++)
            assert_true(pith_tensor_get(&out, i) == (i > 4 ? (double) i - 4.0 : 0.0));
    }
}

static void an_unknown_shape_is_refused_or_waited_for(void **state)
{
    (void) state;
    EACH_ENGINE(engine)
    {
        struct pith_graph *graph = sum_graph(PITH_DIM_UNKNOWN);
        const struct pith_shape shapes[2] = {{2, {5, 3}}, {2, {5, 3}}};
        struct pith_engine_options options = {.size_bytes = sizeof options, .threads = 1};
        struct pith_session *session = NULL;
        struct pith_error err = {0};

        if (engine->compile(NULL, graph, &options, &session, &err) == 0) {
            check_open_batch(engine, session);
            engine->close(session);
            session = NULL;
        } else {
            assert_non_null(strstr(err.text, "\"a\""));
            assert_null(session);
        }
        options.input_shapes = shapes;
        assert_ok(engine->compile(NULL, graph, &options, &session, &err), &err);
        engine->close(session);
        pith_graph_free(graph);
    }
}

static void two_sessions_do_not_disturb_each_other(void **state)
{
    (void) state;
    EACH_ENGINE(engine)
    {
        struct pith_graph *graph = sum_graph(1);
        struct pith_session *first = compile(engine, graph, 0), *second = compile(engine, graph, 0);
        float a[3] = {1, 2, 3}, b[3] = {10, 20, 30};
        const struct pith_tensor x = view(PITH_FLOAT32, 2, (const int64_t[]){1, 3}, a, sizeof a),
                                 y = view(PITH_FLOAT32, 2, (const int64_t[]){1, 3}, b, sizeof b);
        struct pith_tensor out[2];
        struct pith_error err = {0};

        for (int round = 0; round < 3; round++) {
            assert_ok(engine->run(first, (const struct pith_tensor[]){x, x}, 2, &out[0], 1, &err),
                      &err);
            assert_ok(engine->run(second, (const struct pith_tensor[]){y, y}, 2, &out[1], 1, &err),
                      &err);
            assert_true(pith_tensor_get(&out[0], 2) == 6.0 && pith_tensor_get(&out[1], 2) == 60.0);
        }
        engine->close(first);
        assert_ok(engine->run(second, (const struct pith_tensor[]){x, y}, 2, &out[1], 1, &err),
                  &err);
        assert_true(pith_tensor_get(&out[1], 0) == 11.0);
        engine->close(second);
        pith_graph_free(graph);
    }
}

static void an_index_from_data_that_is_wrong_names_the_node_and_harms_nothing(void **state)
{
    (void) state;
    EACH_ENGINE(engine)
    {
        struct pith_graph *graph = gather_graph();
        struct pith_session *session;
        float table[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
        int64_t index[2] = {3, 99};
        const struct pith_tensor in[2] = {
            view(PITH_FLOAT32, 2, (const int64_t[]){4, 3}, table, sizeof table),
            view(PITH_INT64, 1, (const int64_t[]){2}, index, sizeof index)};
        struct pith_tensor out = {0};
        struct pith_error err = {0};

        if (engine->supports(graph, NULL, NULL, &err) == -ENOTSUP) { /* for pictures alone, say */
            pith_graph_free(graph);
            continue;
        }
        session = compile(engine, graph, 0);
        assert_int_equal(engine->run(session, in, 2, &out, 1, &err), -EINVAL);
        assert_non_null(strstr(err.text, "look_up"));
        index[1] = -1;
        assert_ok(engine->run(session, in, 2, &out, 1, &err), &err);
        assert_true(pith_tensor_get(&out, 0) == 9.0 && pith_tensor_get(&out, 5) == 11.0);
        engine->close(session);
        pith_graph_free(graph);
    }
}

static void describes_its_steps(void **state)
{
    (void) state;
    EACH_ENGINE(engine)
    {
        struct pith_graph *graph = sum_graph(1);
        struct pith_session *session = compile(engine, graph, 1);
        struct pith_session_description about;
        float a[3] = {1, 2, 3};
        const struct pith_tensor x = view(PITH_FLOAT32, 2, (const int64_t[]){1, 3}, a, sizeof a);
        struct pith_tensor out;
        struct pith_error err = {0};

        assert_ok(engine->run(session, (const struct pith_tensor[]){x, x}, 2, &out, 1, &err), &err);
        if (engine->describe) {
            assert_int_equal(engine->describe(session, &about), 0);
            assert_true(about.step_count >= 1 && about.arena_bytes >= sizeof a);
            assert_non_null(about.steps[0].kernel);
            assert_int_equal(about.steps[0].run_count, 1);
        }
        engine->close(session);
        engine->close(NULL);
        pith_graph_free(graph);
    }
}

/* ---- agreement ---- */

static uint32_t seed;

static float noise(void) /* -1 to 1 */
{
    seed = seed * 1664525u + 1013904223u;
    return (float) (seed >> 8) / (float) (1 << 23) - 1;
}

/* Random weights, as float32, or as int8 with a scale for each output channel. */
static uint32_t add_weights(struct pith_graph *graph, uint32_t rank, const int64_t *dims,
                            bool integers)
{
    const struct pith_shape shape = pith_shape_of(rank, dims);
    struct pith_tensor tensor;
    float scales[16];
    int32_t zeros[16] = {0};
    const struct pith_quantization grid = {
        .dtype = PITH_INT8, .count = (size_t) dims[0], .scale = scales, .zero_point = zeros};
    uint32_t value;

    assert_ok(pith_tensor_alloc(&tensor, integers ? PITH_INT8 : PITH_FLOAT32, &shape, NULL), NULL);
    for (int64_t i = 0; i < pith_shape_elements(&shape); i++)
        pith_tensor_set(&tensor, i, integers ? (double) (int) (127 * noise()) : 0.5 * noise());
    for (int64_t i = 0; i < dims[0]; i++)
        scales[i] = 0.003F + 0.0001F * (float) i;
    assert_ok(pith_graph_add_value(graph, NULL, PITH_FLOAT32, &shape, &value, NULL), NULL);
    if (integers)
        assert_int_equal(pith_value_set_quantization(graph, value, &grid), 0);
    assert_int_equal(pith_value_set_constant(graph, value, &tensor), 0);
    pith_tensor_free(&tensor);
    return value;
}

static uint32_t on_grid(struct pith_graph *graph, uint32_t value, float scale, int32_t zero_point,
                        int32_t dtype)
{
    const struct pith_quantization grid = {
        .dtype = dtype, .count = 1, .scale = &scale, .zero_point = &zero_point};

    if (dtype != PITH_FLOAT32)
        assert_int_equal(pith_value_set_quantization(graph, value, &grid), 0);
    return value;
}

static uint32_t add_conv(struct pith_graph *graph, const char *name, uint32_t x,
                         const int64_t *dims, int64_t group, int64_t stride, bool integers)
{
    const uint32_t in[3] = {x, add_weights(graph, 4, dims, integers),
                            add_weights(graph, 1, dims, false)};
    const uint32_t y = add_node(graph, "Conv", name, in, 3, PITH_FLOAT32);
    const uint32_t node = pith_value_producer(graph, y);

    assert_int_equal(pith_node_set_int(graph, node, "group", group), 0);
    assert_int_equal(pith_node_set_ints(graph, node, "strides", (int64_t[]){stride, stride}, 2), 0);
    assert_int_equal(pith_node_set_ints(graph, node, "pads", (int64_t[]){0, 1, 1, 1}, 4), 0);
    return y;
}

/* All that a small network has: a stem with odd padding, depthwise, a residual, pooling, a dense
 * layer. dtype: of activations; PITH_FLOAT32: nothing is quantized. */
static struct pith_graph *picture_graph(int32_t dtype)
{
    const bool integers = dtype != PITH_FLOAT32;
    const int32_t zero = dtype == PITH_UINT8 ? 128 : 0, lowest = dtype == PITH_UINT8 ? 0 : -128;
    struct pith_graph *graph = new_graph();
    uint32_t x, y, pair[2], dense[3];

    seed = 1;
    x = on_grid(graph, add_input(graph, "picture", PITH_FLOAT32, 4, (const int64_t[]){1, 3, 11, 9}),
                1.0F / 127, zero, dtype);
    x = add_conv(graph, "stem", x, (const int64_t[]){7, 3, 3, 3}, 1, 2, integers);
    x = on_grid(graph, add_node(graph, "Relu", "rectify", &x, 1, PITH_FLOAT32), 0.02F, lowest,
                dtype);
    y = on_grid(graph,
                add_conv(graph, "depthwise", x, (const int64_t[]){7, 1, 2, 3}, 7, 1, integers),
                0.02F, zero, dtype);
    pair[0] = x;
    pair[1] = y;
    x = on_grid(graph, add_node(graph, "Add", "residual", pair, 2, PITH_FLOAT32), 0.03F, zero,
                dtype);
    x = on_grid(graph, add_node(graph, "GlobalAveragePool", "pool", &x, 1, PITH_FLOAT32), 0.02F,
                zero, dtype);
    x = on_grid(graph, add_node(graph, "Flatten", "flatten", &x, 1, PITH_FLOAT32), 0.02F, zero,
                dtype);
    dense[0] = x;
    dense[1] = add_weights(graph, 2, (const int64_t[]){5, 7}, integers);
    dense[2] = add_weights(graph, 1, (const int64_t[]){5}, false);
    x = add_node(graph, "Gemm", "dense", dense, 3, PITH_FLOAT32);
    assert_int_equal(pith_node_set_int(graph, pith_value_producer(graph, x), "transB", 1), 0);
    finish(graph, on_grid(graph, x, 0.02F, zero, dtype));
    return graph;
}

/* With our own engine, which has tests of its own. A float differs by rounding; an integer by a
 * step of the last grid, or of one before it that a sum of weights has carried on. */
static void engines_agree_on_a_small_network(void **state)
{
    static const int32_t types[] = {PITH_FLOAT32, PITH_INT8, PITH_UINT8};

    (void) state;
    for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
        struct pith_graph *graph = picture_graph(types[t]);
        const double most = types[t] == PITH_FLOAT32 ? 1e-5 : 2 * 0.02 + 1e-6;
        float picture[3 * 11 * 9], first[5] = {0};
        const struct pith_tensor in =
            view(PITH_FLOAT32, 4, (const int64_t[]){1, 3, 11, 9}, picture, sizeof picture);
        const struct pith_engine_ops *before = NULL;

        for (size_t i = 0; i < sizeof picture / sizeof *picture; i++)
            picture[i] = noise();
        EACH_ENGINE(engine)
        {
            struct pith_session *session = compile(engine, graph, 0);
            struct pith_tensor out = {0};
            struct pith_error err = {0};

            for (int run = 0; run < 2; run++)
                assert_ok(engine->run(session, &in, 1, &out, 1, &err), &err);
            for (int i = 0; i < 5; i++) {
                const double value = pith_tensor_get(&out, i);

                if (before && !(fabs(value - first[i]) <= most))
                    fail_msg("engine %zu, %s, output %d: %f, and %f by the first engine",
                             plugin_index, pith_dtype_name(types[t]), i, value, (double) first[i]);
                if (!before)
                    first[i] = (float) value;
            }
            before = engine;
            engine->close(session);
        }
        pith_graph_free(graph);
    }
}

static void there_is_an_engine(void **state)
{
    size_t count = 0;

    (void) state;
    EACH_ENGINE(engine)
    count++;
    assert_true(count >= 1);
}

static int open_plugins(void **state)
{
    struct pith_error err = {0};
    int rc = pith_plugins_open(&plugins, NULL, &err);

    (void) state;
    if (rc == 0) /* engines whose library is not here have nothing to show */
        rc = pith_plugins_prepare(plugins, &err);
    for (size_t i = 0; rc == 0 && i < pith_plugins_count(plugins); i++) {
        const struct pith_plugin_entry *entry = pith_plugins_entry(plugins, i);

        if (engine_at(i))
            print_message("# engine %s\n", entry->plugin->name);
        else if (entry->refusal)
            print_message("# refused: %s\n", entry->refusal);
    }
    return rc;
}

static int close_plugins(void **state)
{
    (void) state;
    pith_plugins_free(plugins);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_is_an_engine),
        cmocka_unit_test(runs_a_graph_and_tells_its_outputs),
        cmocka_unit_test(gives_what_no_node_makes),
        cmocka_unit_test(a_session_outlives_its_graph),
        cmocka_unit_test(names_each_node_that_it_cannot_run),
        cmocka_unit_test(takes_a_node_whose_first_output_is_left_out),
        cmocka_unit_test(refuses_inputs_of_another_shape_type_or_number),
        cmocka_unit_test(an_unknown_shape_is_refused_or_waited_for),
        cmocka_unit_test(two_sessions_do_not_disturb_each_other),
        cmocka_unit_test(an_index_from_data_that_is_wrong_names_the_node_and_harms_nothing),
        cmocka_unit_test(describes_its_steps),
        cmocka_unit_test(engines_agree_on_a_small_network),
    };

    return cmocka_run_group_tests_name("engine", tests, open_plugins, close_plugins);
}
