/* Graphs of 16-bit floats: widened, they are what the graph of the same weights in float32 is; inputs and outputs keep name
 * and type. */
#include "tests/unit/native_engine.h"

static const int32_t types[] = {PITH_FLOAT16, PITH_BFLOAT16};

static float rounded(float x, int32_t dtype)
{
    return dtype == PITH_FLOAT16 ? pith_float16_to_float(pith_float_to_float16(x))
                                 : pith_bfloat16_to_float(pith_float_to_bfloat16(x));
}

static void set_constant(struct pith_graph *graph, uint32_t value, int32_t dtype, int32_t to)
{
    struct pith_tensor copy, tensor;
    struct pith_error err = {0};

    assert_ok(pith_tensor_copy(&copy, pith_value_constant(graph, value), &err), &err);
    assert_ok(pith_tensor_alloc(&tensor, to, &copy.shape, &err), &err);
    for (int64_t i = 0; i < pith_shape_elements(&copy.shape); i++)
        pith_tensor_set(&tensor, i, (double) rounded((float) pith_tensor_get(&copy, i), dtype));
    assert_int_equal(pith_value_take_constant(graph, value, &tensor), 0);
    pith_tensor_free(&copy);
}

/* Constants become those that dtype can hold, and with `all` each value becomes of that type. */
static void narrow(struct pith_graph *graph, int32_t dtype, bool all)
{
    for (uint32_t v = 0; v < pith_graph_value_limit(graph); v++) {
        const struct pith_shape *shape = pith_value_shape(graph, v);
        const struct pith_shape copy = shape ? *shape : (struct pith_shape){0};

        if (pith_value_dtype(graph, v) != PITH_FLOAT32)
            continue;
        if (pith_value_constant(graph, v))
            set_constant(graph, v, dtype, all ? dtype : PITH_FLOAT32);
        else if (all)
            assert_int_equal(pith_value_set_type(graph, v, dtype, shape ? &copy : NULL), 0);
    }
    for (uint32_t node = 0; node < pith_graph_node_limit(graph); node++)
        for (int body = 0; body < 2; body++) {
            struct pith_graph *inside =
                pith_node_edit_graph(graph, node, body ? "else_branch" : "then_branch");

            if (inside)
                narrow(inside, dtype, all);
        }
}

static struct pith_graph *clone(const struct pith_graph *graph)
{
    struct pith_graph *copy;
    struct pith_error err = {0};

    assert_ok(pith_graph_clone(graph, &copy, &err), &err);
    return copy;
}

static void finish(struct pith_graph *graph)
{
    struct pith_error err = {0};

    assert_ok(pith_graph_validate(graph, &err), &err);
    assert_ok(pith_graph_infer(graph, NULL, &err), &err);
}

/* y of the graph of 16 bits: x is float32, of values that dtype can hold. */
static struct pith_tensor run(const struct pith_graph *graph, const struct pith_tensor *x,
                              enum way way, int32_t dtype)
{
    struct pith_session *session = compile(graph, way);
    struct pith_tensor narrow_x, y, copy;
    struct pith_error err = {0};

    assert_ok(pith_tensor_alloc(&narrow_x, dtype, &x->shape, &err), &err);
    for (int64_t i = 0; i < pith_shape_elements(&x->shape); i++)
        pith_tensor_set(&narrow_x, i, pith_tensor_get(x, i));
    assert_ok(engine->run(session, &narrow_x, 1, &y, 1, &err), &err);
    assert_int_equal(y.dtype, dtype);
    assert_ok(pith_tensor_copy(&copy, &y, &err), &err);
    engine->close(session);
    pith_tensor_free(&narrow_x);
    return copy;
}

/* Takes the graph, which is one of float32. */
static void check(struct pith_graph *graph, int32_t dtype)
{
    struct pith_graph *wide, *narrowed = clone(graph);
    const struct pith_shape *shape = pith_value_shape(graph, pith_graph_input(graph, 0));
    struct pith_tensor x, want, got;
    struct pith_error err = {0};

    narrow(graph, dtype, false);
    narrow(narrowed, dtype, true);
    finish(narrowed);
    assert_false(pith_graph_has_halves(graph));
    assert_true(pith_graph_has_halves(narrowed));
    assert_int_equal(pith_value_dtype(narrowed, pith_graph_output(narrowed, 0)), dtype);
    assert_ok(engine->supports(narrowed, NULL, NULL, &err), &err);

    assert_ok(pith_tensor_alloc(&x, PITH_FLOAT32, shape, &err), &err);
    for (int64_t i = 0; i < pith_shape_elements(shape); i++)
        ((float *) x.data)[i] = rounded(random_float(), dtype);
    for (enum way way = CHANNELS_LAST; way <= LITERALLY; way++) {
        want = run(graph, &x, way, PITH_FLOAT32);
        got = run(narrowed, &x, way, dtype);
        assert_true(pith_shape_equal(&want.shape, &got.shape));
        for (int64_t i = 0; i < pith_shape_elements(&want.shape); i++)
            assert_float_equal(pith_tensor_get(&got, i),
                               (double) rounded((float) pith_tensor_get(&want, i), dtype), 0.0);
        pith_tensor_free(&want);
        pith_tensor_free(&got);
    }
    pith_tensor_free(&x);

    wide = clone(narrowed);
    assert_ok(pith_graph_widen(wide, &err), &err);
    finish(wide);
    assert_string_equal(pith_value_name(wide, pith_graph_input(wide, 0)),
                        pith_value_name(narrowed, pith_graph_input(narrowed, 0)));
    assert_string_equal(pith_value_name(wide, pith_graph_output(wide, 0)),
                        pith_value_name(narrowed, pith_graph_output(narrowed, 0)));
    assert_int_equal(pith_value_dtype(wide, pith_graph_input(wide, 0)), dtype);
    assert_int_equal(pith_value_dtype(wide, pith_graph_output(wide, 0)), dtype);
    pith_graph_free(wide);
    pith_graph_free(narrowed);
    pith_graph_free(graph);
}

static void a_net_of_16_bits_is_run_in_float32(void **state)
{
    (void) state;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        check(build(&(struct net){.channels = 8, .size = 12, .features = 5}), types[i]);
        check(build(&(struct net){.channels = 48, .size = 9, .features = 40}), types[i]); /* weights behind a Cast */
    }
}

/* ---- sub-graphs, and what nodes are asked to give ---- */

static struct pith_graph *branch(uint32_t outer, const char *op)
{
    const struct pith_shape one = {1, {1}};
    struct pith_graph *graph;
    struct pith_tensor three;
    struct pith_error err = {0};
    uint32_t in[2], node;

    assert_ok(pith_graph_new(&graph, op, &err), &err);
    assert_int_equal(pith_graph_add_value(graph, "inner", PITH_FLOAT32, NULL, &in[0], NULL), 0);
    assert_int_equal(pith_graph_add_capture(graph, in[0], outer), 0);
    in[1] = add_constant(graph, PITH_INT64, 1, (const int64_t[]){1});
    assert_int_equal(pith_value_set_constant(
                         graph, in[1], &(struct pith_tensor){PITH_INT64, {1, {1}}, &(int64_t){16}, 8}),
                     0);
    in[1] = add_node(graph, "ConstantOfShape", &in[1], 1, &node);
    assert_ok(pith_tensor_alloc(&three, PITH_FLOAT32, &one, &err), &err);
    ((float *) three.data)[0] = 3.0F;
    assert_int_equal(pith_node_set_tensor(graph, node, "value", &three), 0);
    pith_tensor_free(&three);
    assert_int_equal(pith_graph_add_output(graph, add_node(graph, op, in, 2, NULL)), 0);
    return graph;
}

/* x above 0 on average: x * 3, else x - 3, through a Cast to the graph's own type. */
static struct pith_graph *branching(void)
{
    const struct pith_shape row = {2, {1, 16}};
    uint32_t x, in[2], y, node;
    struct pith_graph *graph = begin_net(13, &row, &x);

    in[0] = add_node(graph, "ReduceSum", &x, 1, &node);
    assert_int_equal(pith_node_set_int(graph, node, "keepdims", 0), 0);
    in[1] = add_constant(graph, PITH_FLOAT32, 0, NULL);
    y = add_node(graph, "Greater", in, 2, NULL);
    assert_int_equal(pith_value_set_type(graph, y, PITH_BOOL, NULL), 0);
    y = add_node(graph, "If", &y, 1, &node);
    assert_int_equal(pith_node_set_graph(graph, node, "then_branch", branch(x, "Mul")), 0);
    assert_int_equal(pith_node_set_graph(graph, node, "else_branch", branch(x, "Sub")), 0);
    y = add_node(graph, "Cast", &y, 1, &node);
    assert_int_equal(pith_node_set_int(graph, node, "to", PITH_FLOAT32), 0);
    in[0] = y;
    in[1] = add_constant(graph, PITH_FLOAT32, 2, (const int64_t[]){16, 8});
    assert_int_equal(pith_graph_add_output(graph, add_node(graph, "MatMul", in, 2, NULL)), 0);
    finish(graph);
    return graph;
}

static void set_asked(struct pith_graph *graph, int32_t dtype)
{
    for (uint32_t node = 0; node < pith_graph_node_limit(graph); node++) {
        if (pith_node_int(graph, node, "to", 0) == PITH_FLOAT32)
            assert_int_equal(pith_node_set_int(graph, node, "to", dtype), 0);
        for (int body = 0; body < 2; body++) {
            struct pith_graph *inside =
                pith_node_edit_graph(graph, node, body ? "else_branch" : "then_branch");
            const uint16_t three = dtype == PITH_FLOAT16 ? pith_float_to_float16(3.0F)
                                                         : pith_float_to_bfloat16(3.0F);
            uint16_t held = three;
            const struct pith_tensor tensor = {dtype, {1, {1}}, &held, sizeof held};

            for (uint32_t i = 0; inside && i < pith_graph_node_limit(inside); i++)
                if (pith_node_tensor(inside, i, "value"))
                    assert_int_equal(pith_node_set_tensor(inside, i, "value", &tensor), 0);
        }
    }
}

static void branches_and_casts_follow(void **state)
{
    struct pith_error err = {0};

    (void) state;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct pith_graph *graph = branching(), *narrowed = clone(graph);
        const struct pith_shape *shape = pith_value_shape(graph, pith_graph_input(graph, 0));

        narrow(graph, types[i], false);
        narrow(narrowed, types[i], true);
        set_asked(narrowed, types[i]);
        finish(narrowed);
        for (int sign = -1; sign <= 1; sign += 2) {
            struct pith_tensor x, want, got;

            assert_ok(pith_tensor_alloc(&x, PITH_FLOAT32, shape, &err), &err);
            for (int64_t k = 0; k < 16; k++)
                ((float *) x.data)[k] = rounded(random_float() + 2.0F * (float) sign, types[i]);
            want = run(graph, &x, CHANNELS_LAST, PITH_FLOAT32);
            got = run(narrowed, &x, CHANNELS_LAST, types[i]);
            for (int64_t k = 0; k < 8; k++)
                assert_float_equal(pith_tensor_get(&got, k),
                                   (double) rounded((float) pith_tensor_get(&want, k), types[i]), 0.0);
            pith_tensor_free(&x);
            pith_tensor_free(&want);
            pith_tensor_free(&got);
        }
        pith_graph_free(narrowed);
        pith_graph_free(graph);
    }
}

/* What the engine can run in 16 bits it runs in them, and an input that is given out goes through untouched. */
static void moving_elements_needs_no_float32(void **state)
{
    const struct pith_shape shape = {2, {3, 5}};
    struct pith_graph *graph;
    struct pith_error err = {0};
    uint32_t x;

    (void) state;
    assert_ok(pith_graph_new(&graph, "net", &err), &err);
    assert_int_equal(pith_graph_set_opset(graph, "", 13), 0);
    assert_int_equal(pith_graph_add_value(graph, "x", PITH_FLOAT16, &shape, &x, NULL), 0);
    assert_int_equal(pith_graph_add_input(graph, x), 0);
    assert_int_equal(pith_graph_add_output(graph, add_node(graph, "Transpose", &x, 1, NULL)), 0);
    assert_int_equal(pith_value_set_type(graph, pith_graph_output(graph, 0), PITH_FLOAT16, NULL), 0);
    assert_int_equal(pith_graph_add_output(graph, x), 0);
    finish(graph);

    struct pith_session *session = compile(graph, CHANNELS_LAST);

    assert_false(has_step(session, "Cast"));
    engine->close(session);
    assert_ok(pith_graph_widen(graph, &err), &err);
    finish(graph);
    assert_int_equal(pith_graph_output(graph, 1), x);
    assert_int_equal(pith_value_dtype(graph, x), PITH_FLOAT16);
    pith_graph_free(graph);
}

/* Rows of a table of halves, as floats, through two Gathers. */
static struct pith_graph *looking_up(const struct pith_tensor *table)
{
    const struct pith_shape few = {1, {3}};
    struct pith_graph *graph;
    struct pith_error err = {0};
    uint32_t in[2], sum[2], node;

    assert_ok(pith_graph_new(&graph, "net", &err), &err);
    assert_int_equal(pith_graph_set_opset(graph, "", 13), 0);
    assert_ok(pith_graph_add_constant(graph, NULL, table, &in[0], &err), &err);
    in[0] = add_node(graph, "Cast", in, 1, &node);
    assert_int_equal(pith_node_set_int(graph, node, "to", PITH_FLOAT32), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pith_graph_add_value(graph, NULL, PITH_INT64, &few, &in[1], NULL), 0);
        assert_int_equal(pith_graph_add_input(graph, in[1]), 0);
        sum[i] = add_node(graph, "Gather", in, 2, NULL);
    }
    assert_int_equal(pith_graph_add_output(graph, sum[1]), 0);
    assert_int_equal(pith_graph_add_output(graph, add_node(graph, "Add", sum, 2, NULL)), 0);
    finish(graph);
    return graph;
}

static uint64_t weight_bytes(struct pith_session *session)
{
    struct pith_session_description about;

    engine->describe(session, &about);
    return about.weight_bytes;
}

static void large_tables_stay_halves(void **state)
{
    int64_t first[3] = {1, 0, 7}, second[3] = {3, 3, 19};
    const struct pith_tensor in[2] = {{PITH_INT64, {1, {3}}, first, sizeof first},
                                      {PITH_INT64, {1, {3}}, second, sizeof second}};

    (void) state;
    for (int i = 0; i < 4; i++) { /* 20 rows, then 9000 */
        const struct pith_shape shape = {2, {i < 2 ? 20 : 9000, 64}};
        struct pith_tensor table, out[2];
        struct pith_error err = {0};

        assert_ok(pith_tensor_alloc(&table, types[i % 2], &shape, &err), &err);
        for (int64_t k = 0; k < pith_shape_elements(&shape); k++)
            pith_tensor_set(&table, k, (double) random_float());
        struct pith_graph *graph = looking_up(&table);
        struct pith_session *session = compile(graph, CHANNELS_LAST);

        assert_true(i < 2 || weight_bytes(session) <= table.bytes);
        assert_int_equal(has_step(session, "cast"), i >= 2);
        assert_ok(engine->run(session, in, 2, out, 2, &err), &err);
        for (int64_t k = 0; k < 3 * 64; k++) {
            const double a = pith_tensor_get(&table, first[k / 64] * 64 + k % 64),
                         b = pith_tensor_get(&table, second[k / 64] * 64 + k % 64);

            assert_float_equal(pith_tensor_get(&out[0], k), b, 0.0);
            assert_float_equal(pith_tensor_get(&out[1], k), (double) ((float) a + (float) b), 0.0);
        }
        engine->close(session);
        pith_graph_free(graph);
        pith_tensor_free(&table);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_net_of_16_bits_is_run_in_float32),
        cmocka_unit_test(branches_and_casts_follow),
        cmocka_unit_test(moving_elements_needs_no_float32),
        cmocka_unit_test(large_tables_stay_halves),
    };

    return cmocka_run_group_tests(tests, open_engine, close_engine);
}
