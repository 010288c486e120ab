/* The technique quantize around functions of one element, in however many operators they are written. */
#include "tests/unit/quantizing.h"

static uint32_t number(struct pith_graph *graph, float x)
{
    const struct pith_tensor tensor = {PITH_FLOAT32, {0}, &x, sizeof x};
    uint32_t value;

    assert_ok(pith_graph_add_constant(graph, NULL, &tensor, &value, &err), &err);
    return value;
}

/* The least that the grid of the value named so holds; NAN: it has none. */
static double least_of(const struct pith_graph *graph, const char *name)
{
    const struct pith_quantization *q = grid_of(graph, name);
    const int32_t least = q && q->dtype == PITH_INT8 ? -128 : q && q->dtype == PITH_INT16 ? -32768 : 0;

    return q ? (double) (least - q->zero_point[0]) * (double) q->scale[0] : (double) NAN;
}

/* Hardswish in small operators and x * sigmoid(x): what goes in and what comes out lie on grids, nothing between; and no grid
 * reaches below -3, where the first of them is 0. What a convolution limits itself stays unrounded. */
static void quantize_puts_grids_around_functions(void **unused)
{
    static const char *const activations[] = {"int8", "uint8", "int16"};

    (void) unused;
    for (int i = 0; i < 3; i++) {
        char options[64];
        uint32_t x, y, gate;
        struct pith_graph *graph = begin((int64_t[]){1, 4, 6, 6}, 4, &x);
        struct applied applied;

        x = NODE(graph, "Conv", "a", NULL, x, CONSTANT(graph, 6.0f, 8, 4, 1, 1));
        gate = NODE(graph, "Add", "moved", NULL, x, number(graph, 3.0f));
        gate = NODE(graph, "Clip", "gate", NULL, gate, number(graph, 0.0f), number(graph, 6.0f));
        y = NODE(graph, "Mul", "product", NULL, x, gate);
        y = NODE(graph, "Div", "swish", NULL, y, number(graph, 6.0f));
        x = NODE(graph, "Conv", "b", NULL, y, CONSTANT(graph, 0.5f, 8, 8, 1, 1));
        gate = NODE(graph, "Sigmoid", "sigmoid", NULL, x);
        y = NODE(graph, "Mul", "silu", NULL, x, gate);
        x = NODE(graph, "Conv", "c", NULL, y, CONSTANT(graph, 0.5f, 8, 8, 1, 1));
        x = NODE(graph, "Relu", "relu", NULL, x);
        finish(graph, NODE(graph, "Conv", "d", NULL, x, CONSTANT(graph, 0.5f, 8, 8, 1, 1)));
        snprintf(options, sizeof options, "{\"activations\": \"%s\", \"max_error_ratio\": 0}", activations[i]);
        assert_ok(apply_to(graph, options, true, &applied), &err);
        for (size_t v = 0; v < 4; v++)
            assert_true(isnan(least_of(applied.graph, (const char *const[]){"moved", "gate", "product", "sigmoid"}[v])));
        assert_true(isnan(least_of(applied.graph, "c")));
        assert_true(i == 2 || least_of(applied.graph, "a") > -3.1);
        assert_true(least_of(applied.graph, "a") < -2.5);
        for (size_t v = 0; v < 4; v++)
            assert_false(isnan(least_of(applied.graph, (const char *const[]){"swish", "b", "silu", "relu"}[v])));
        done(&applied);
        pith_graph_free(graph);
    }
}

/* A floor is the function's own, never above 0, which every grid holds; and there is none where something else sees what lies
 * below it. */
static void quantize_cuts_off_what_makes_no_difference_alone(void **unused)
{
    (void) unused;
    for (int i = 0; i < 2; i++) {
        uint32_t x, y, node;
        struct pith_graph *graph = begin((int64_t[]){1, 4, 6, 6}, 4, &x);
        struct applied applied;

        x = NODE(graph, "Conv", "a", NULL, x, CONSTANT(graph, 6.0f, 8, 4, 1, 1));
        if (i == 0) { /* 0 below 4 */
            y = NODE(graph, "HardSigmoid", "gate", &node, x);
            assert_ok(pith_node_set_float(graph, node, "alpha", 0.05f), &err);
            assert_ok(pith_node_set_float(graph, node, "beta", -0.2f), &err);
        } else { /* x / 2 below -3, as the gate is of what is 0 there */
            y = NODE(graph, "HardSwish", "swish", NULL, x);
            y = NODE(graph, "Mul", "product", NULL, x, NODE(graph, "HardSigmoid", "gate", NULL, y));
        }
        y = NODE(graph, "Conv", "b", NULL, y, CONSTANT(graph, 0.5f, 8, 8, 1, 1));
        finish(graph, y);
        assert_ok(apply_to(graph, "{\"max_error_ratio\": 0}", true, &applied), &err);
        if (i == 0)
            assert_true(least_of(applied.graph, "a") == 0.0);
        else
            assert_true(least_of(applied.graph, "a") < -5.0);
        assert_true(error_of(&applied) < 0.02);
        done(&applied);
        pith_graph_free(graph);
    }
}

/* Two of a value's users read it alone; of one the first output is left out. */
static void quantize_looks_past_outputs_that_are_left_out(void **unused)
{
    const struct pith_tensor two = {PITH_INT64, {1, {1}}, &(int64_t){2}, sizeof(int64_t)};
    uint32_t x, node, in[2], out[2] = {PITH_NO_VALUE};
    struct pith_graph *graph = begin((int64_t[]){1, 32}, 2, &x);
    struct applied applied;

    (void) unused;
    in[0] = NODE(graph, "MatMul", "a", NULL, x, CONSTANT(graph, 0.5f, 32, 16));
    assert_ok(pith_graph_add_constant(graph, NULL, &two, &in[1], &err), &err);
    assert_ok(pith_graph_add_value(graph, "places", PITH_INT64, NULL, &out[1], &err), &err);
    assert_ok(pith_graph_add_node(graph, "", "TopK", "best", in, 2, out, 2, &node, &err), &err);
    finish(graph, NODE(graph, "MatMul", "b", NULL, in[0], CONSTANT(graph, 0.5f, 16, 8)));
    assert_ok(pith_graph_add_output(graph, out[1]), &err);
    assert_ok(apply_to(graph, "{}", true, &applied), &err);
    assert_string_equal(form_of(applied.report, "b"), "int8");
    done(&applied);
    pith_graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantize_puts_grids_around_functions),
        cmocka_unit_test(quantize_cuts_off_what_makes_no_difference_alone),
        cmocka_unit_test(quantize_looks_past_outputs_that_are_left_out),
    };

    return cmocka_run_group_tests_name("quantize functions", tests, open_plugins, close_plugins);
}
