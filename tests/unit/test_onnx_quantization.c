/* QuantizeLinear and DequantizeLinear into values' quantization and back: what folds, what stays,
 * which names stay. */
#include "tests/testing.h"

#include "libpith/formats/onnx.h"
#include "tests/unit/onnx_build.h"
#include <errno.h>

static const int64_t shape_2x3[] = {2, 3};
static const int64_t two[] = {2};

static void put_scalar(struct pith_buffer *out, const char *name, float value)
{
    put_raw(out, name, PITH_FLOAT32, NULL, 0, &value, sizeof value);
}

static void put_byte(struct pith_buffer *out, const char *name, int32_t dtype, int value)
{
    const uint8_t byte = (uint8_t) value;

    put_raw(out, name, dtype, NULL, 0, &byte, 1);
}

static void put_pair(struct pith_buffer *out, const char *x, const char *q, const char *y,
                     const char *grid)
{
    char inputs[64];

    (void) snprintf(inputs, sizeof inputs, "%s,%s_s,%s_z", x, grid, grid);
    put_node(out, "QuantizeLinear", "quantize", inputs, q);
    (void) snprintf(inputs, sizeof inputs, "%s,%s_s,%s_z", q, grid, grid);
    put_node(out, "DequantizeLinear", "dequantize", inputs, y);
}

static void put_grids(struct pith_buffer *out)
{
    put_scalar(out, "a_s", 0.5f);
    put_byte(out, "a_z", PITH_UINT8, 128);
    put_scalar(out, "b_s", 0.25f);
    put_byte(out, "b_z", PITH_UINT8, 100);
}

static void put_ends(struct pith_buffer *out)
{
    put_value(out, GRAPH_INPUT, "x", PITH_FLOAT32, shape_2x3, 2);
    put_value(out, GRAPH_OUTPUT, "y", PITH_FLOAT32, shape_2x3, 2);
}

static struct pith_graph *read_file(struct pith_buffer *file)
{
    struct pith_graph *graph = NULL;
    struct pith_error err = {0};

    assert_ok(pith_graph_parse(&graph, file->data, file->bytes, &err), &err);
    return graph;
}

static struct pith_graph *read_graph(void (*fill)(struct pith_buffer *out), int64_t opset)
{
    struct pith_buffer file = {0};
    size_t begun = begin_model(&file);
    struct pith_graph *graph;

    put_grids(&file);
    fill(&file);
    put_ends(&file);
    end_model(&file, begun, opset);
    graph = read_file(&file);
    pith_buffer_done(&file);
    return graph;
}

static size_t count_op(const struct pith_graph *graph, const char *op)
{
    size_t count = 0;

    for (uint32_t i = 0; i < pith_graph_node_limit(graph); i++)
        count += pith_node_exists(graph, i) && !strcmp(pith_node_op(graph, i), op);
    return count;
}

static const struct pith_quantization *quantization_of(const struct pith_graph *graph,
                                                       const char *name)
{
    uint32_t value = pith_graph_find_value(graph, name);

    assert_int_not_equal(value, PITH_NO_VALUE);
    return pith_value_quantization(graph, value);
}

/* Written, read and written again: the same bytes, and as many nodes of each kind. */
static void expect_round_trip(struct pith_graph *graph)
{
    struct pith_buffer first = {0};
    struct pith_buffer second = {0};
    struct pith_graph *back;
    struct pith_error err = {0};

    assert_ok(pith_onnx_write(graph, &first, &err), &err);
    back = read_file(&first);
    assert_int_equal(count_op(back, "QuantizeLinear"), count_op(graph, "QuantizeLinear"));
    assert_int_equal(count_op(back, "DequantizeLinear"), count_op(graph, "DequantizeLinear"));
    assert_int_equal(count_op(back, "Identity"), count_op(graph, "Identity"));
    assert_ok(pith_onnx_write(back, &second, &err), &err);
    assert_int_equal(second.bytes, first.bytes);
    assert_memory_equal(second.data, first.data, first.bytes);
    pith_graph_free(back);
    pith_graph_free(graph);
    pith_buffer_done(&first);
    pith_buffer_done(&second);
}

/* x -> pair -> Relu -> pair -> y */
static void put_plain(struct pith_buffer *out)
{
    put_pair(out, "x", "x_q", "x_dq", "a");
    put_node(out, "Relu", "relu", "x_dq", "r");
    put_pair(out, "r", "r_q", "y", "b");
}

static void pairs_fold_and_keep_the_names_at_the_ends(void **state)
{
    struct pith_graph *graph = read_graph(put_plain, 13);
    const struct pith_quantization *q = quantization_of(graph, "x");

    (void) state;
    assert_int_equal(count_op(graph, "QuantizeLinear") + count_op(graph, "DequantizeLinear"), 0);
    assert_non_null(q);
    assert_int_equal(q->dtype, PITH_UINT8);
    assert_float_equal(q->scale[0], 0.5f, 0);
    assert_int_equal(q->zero_point[0], 128);
    assert_float_equal(quantization_of(graph, "y")->scale[0], 0.25f, 0);
    assert_string_equal(pith_value_name(graph, pith_graph_output(graph, 0)), "y");
    assert_string_equal(pith_value_name(graph, pith_graph_input(graph, 0)), "x");
    assert_int_equal(pith_value_dtype(graph, pith_graph_find_value(graph, "y")), PITH_FLOAT32);
    expect_round_trip(graph);
}

/* The same grid for two users of r, each with a pair of its own. */
static void put_dedicated(struct pith_buffer *out)
{
    put_node(out, "Relu", "relu", "x", "r");
    put_pair(out, "r", "q1", "d1", "a");
    put_pair(out, "r", "q2", "d2", "a");
    put_node(out, "Add", "add", "d1,d2", "y");
}

/* One QuantizeLinear, two DequantizeLinear. */
static void put_shared(struct pith_buffer *out)
{
    put_node(out, "Relu", "relu", "x", "r");
    put_pair(out, "r", "q1", "d1", "a");
    put_node(out, "DequantizeLinear", "another", "q1,a_s,a_z", "d2");
    put_node(out, "Add", "add", "d1,d2", "y");
}

static void pairs_of_several_users_fold_into_one(void **state)
{
    struct pith_graph *graph = read_graph(put_dedicated, 13);

    (void) state;
    assert_int_equal(count_op(graph, "QuantizeLinear") + count_op(graph, "DequantizeLinear"), 0);
    assert_non_null(quantization_of(graph, "d1"));
    expect_round_trip(graph);
    graph = read_graph(put_shared, 13);
    assert_int_equal(count_op(graph, "QuantizeLinear") + count_op(graph, "DequantizeLinear"), 0);
    expect_round_trip(graph);
}

static void put_mixed(struct pith_buffer *out) /* Add sees r unrounded too */
{
    put_node(out, "Relu", "relu", "x", "r");
    put_pair(out, "r", "q1", "d1", "a");
    put_node(out, "Add", "add", "d1,r", "y");
}

static void put_two_grids(struct pith_buffer *out)
{
    put_node(out, "Relu", "relu", "x", "r");
    put_pair(out, "r", "q1", "d1", "a");
    put_pair(out, "r", "q2", "d2", "b");
    put_node(out, "Add", "add", "d1,d2", "y");
}

static void put_between_input_and_output(struct pith_buffer *out)
{
    put_pair(out, "x", "q", "y", "a");
}

static void
put_other_grid_behind(struct pith_buffer *out) /* QuantizeLinear on a, DequantizeLinear on b */
{
    put_node(out, "Relu", "relu", "x", "r");
    put_node(out, "QuantizeLinear", "quantize", "r,a_s,a_z", "q");
    put_node(out, "DequantizeLinear", "dequantize", "q,b_s,a_z", "y");
}

static void expect_left_alone(void (*fill)(struct pith_buffer *out), size_t quantizers,
                              size_t dequantizers)
{
    struct pith_graph *graph = read_graph(fill, 13);

    assert_int_equal(count_op(graph, "QuantizeLinear"), quantizers);
    assert_int_equal(count_op(graph, "DequantizeLinear"), dequantizers);
    expect_round_trip(graph);
}

static void put_quantize_only(struct pith_buffer *out) /* the integers go out */
{
    put_node(out, "QuantizeLinear", "quantize", "x,a_s,a_z", "q");
    put_node(out, "Identity", "same", "x", "y");
    put_value(out, GRAPH_OUTPUT, "q", PITH_UINT8, shape_2x3, 2);
}

static void what_would_change_stays_as_it_is(void **state)
{
    (void) state;
    expect_left_alone(put_mixed, 1, 1);
    expect_left_alone(put_two_grids, 2, 2);
    expect_left_alone(put_between_input_and_output, 1, 1);
    expect_left_alone(put_quantize_only, 1, 0);
    expect_left_alone(put_other_grid_behind, 1, 1);
}

/* A grid behind another: the first folds, the second stays; the same grid again changes nothing and
 * goes. */
static void put_chain(struct pith_buffer *out)
{
    put_node(out, "Relu", "relu", "x", "r");
    put_pair(out, "r", "q1", "d1", "a");
    put_pair(out, "d1", "q2", "d2", "b");
    put_node(out, "Neg", "neg", "d2", "y");
}

static void put_same_again(struct pith_buffer *out)
{
    put_node(out, "Relu", "relu", "x", "r");
    put_pair(out, "r", "q1", "d1", "a");
    put_pair(out, "d1", "q2", "d2", "a");
    put_node(out, "Neg", "neg", "d2", "y");
}

static void chains_fold_as_far_as_they_mean_the_same(void **state)
{
    struct pith_graph *graph;

    (void) state;
    expect_left_alone(put_chain, 1, 1);
    graph = read_graph(put_same_again, 13);
    assert_int_equal(count_op(graph, "QuantizeLinear"), 0);
    expect_round_trip(graph);
}

/* ---- constants ---- */

static void put_per_axis(struct pith_buffer *out)
{
    const float scales[] = {0.5f, 0.125f};
    const int8_t zeros[] = {0, 3};
    const int8_t integers[] = {1, -2, 3, -128, 127, 0};
    size_t node;

    put_raw(out, "w_q", PITH_INT8, shape_2x3, 2, integers, sizeof integers);
    put_raw(out, "w_s", PITH_FLOAT32, two, 1, scales, sizeof scales);
    put_raw(out, "w_z", PITH_INT8, two, 1, zeros, sizeof zeros);
    node = begin_node(out, "DequantizeLinear", "weights", "w_q,w_s,w_z", "w");
    put_int_attribute(out, "axis", -2);
    proto_end(out, GRAPH_NODE, node);
    put_node(out, "Add", "add", "x,w", "y");
}

static void integer_constants_fold_per_axis(void **state)
{
    struct pith_graph *graph = read_graph(put_per_axis, 13);
    uint32_t w = pith_graph_find_value(graph, "w");
    const struct pith_quantization *q = pith_value_quantization(graph, w);

    (void) state;
    assert_non_null(q);
    assert_int_equal(q->axis, 0);
    assert_int_equal(q->count, 2);
    assert_int_equal(q->zero_point[1], 3);
    assert_int_equal(pith_value_dtype(graph, w), PITH_FLOAT32);
    assert_int_equal(pith_value_constant(graph, w)->dtype, PITH_INT8);
    assert_int_equal(pith_tensor_get_int(pith_value_constant(graph, w), 3), -128);
    assert_int_equal(pith_graph_opset(graph, ""), 13);
    expect_round_trip(graph);
}

static void put_float_weights(struct pith_buffer *out)
{
    const float weights[] = {0.25f, 0.75f, -0.25f, 1000, -1000, 0.1f};

    put_raw(out, "w_f", PITH_FLOAT32, shape_2x3, 2, weights, sizeof weights);
    put_pair(out, "w_f", "w_q", "w", "a"); /* scale 0.5, zero point 128 */
    put_node(out, "Add", "add", "x,w", "y");
}

/* Ties go to the even integer, and what is outside is kept within the type. */
static void float_weights_fold_to_the_integers_of_quantize_linear(void **state)
{
    const int64_t wanted[] = {128, 130, 128, 255, 0, 128};
    struct pith_graph *graph = read_graph(put_float_weights, 13);
    const struct pith_tensor *w = pith_value_constant(graph, pith_graph_find_value(graph, "w"));

    (void) state;
    assert_non_null(w);
    for (int64_t i = 0; i < 6; i++)
        assert_int_equal(pith_tensor_get_int(w, i), wanted[i]);
    expect_round_trip(graph);
}

static void put_bad_scale(struct pith_buffer *out)
{
    put_scalar(out, "n_s", -1);
    put_byte(out, "n_z", PITH_UINT8, 0);
    put_node(out, "Relu", "relu", "x", "r");
    put_pair(out, "r", "q", "y", "n");
}

static void a_scale_that_is_none_stays_in_its_nodes(void **state)
{
    (void) state;
    expect_left_alone(put_bad_scale, 1, 1);
}

/* ---- what a technique makes ---- */

static void put_relu(struct pith_buffer *out)
{
    put_node(out, "Relu", "relu", "x", "y");
}

static void quantization_raises_the_opset_as_far_as_needed(void **state)
{
    const float scales[] = {1, 2, 3};
    const int32_t zeros[] = {0, 0, 0};
    const struct {
        struct pith_quantization q;
        int64_t opset;
    } cases[] = {
        {{PITH_UINT8, 0, 0, 1, scales, zeros}, 13},
        {{PITH_INT8, 1, 0, 3, scales, zeros}, 13},
        {{PITH_INT16, 0, 0, 1, scales, zeros}, 21},
        {{PITH_INT4, 0, 0, 1, scales, zeros}, 21},
    };

    (void) state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pith_graph *graph = read_graph(put_relu, 11);
        struct pith_buffer file = {0};
        struct pith_graph *back;
        struct pith_error err = {0};
        uint32_t y = pith_graph_output(graph, 0);

        assert_int_equal(pith_value_set_quantization(graph, y, &cases[i].q), 0);
        assert_ok(pith_graph_validate(graph, &err), &err);
        assert_ok(pith_onnx_write(graph, &file, &err), &err);
        assert_int_equal(pith_graph_opset(graph, ""), 11); /* the graph itself stays as it was */
        back = read_file(&file);
        assert_int_equal(pith_graph_opset(back, ""), cases[i].opset);
        assert_int_equal(quantization_of(back, "y")->dtype, cases[i].q.dtype);
        assert_int_equal(quantization_of(back, "y")->count, cases[i].q.count);
        pith_graph_free(back);
        pith_graph_free(graph);
        pith_buffer_done(&file);
    }
}

/* bfloat16 weights behind a Cast, which takes them from opset 13 on. */
static void bfloat16_raises_the_opset(void **state)
{
    struct pith_graph *graph = read_graph(put_relu, 11), *back;
    struct pith_buffer file = {0};
    struct pith_error err = {0};
    struct pith_tensor half;
    uint32_t in[2], sum, node;

    (void) state;
    assert_ok(pith_tensor_alloc(&half, PITH_BFLOAT16, &(struct pith_shape){1, {3}}, &err), &err);
    assert_ok(pith_graph_add_constant(graph, "w", &half, &in[1], &err), &err);
    assert_ok(pith_graph_add_value(graph, "wide", PITH_FLOAT32, NULL, &sum, &err), &err);
    assert_ok(pith_graph_add_node(graph, "", "Cast", "", &in[1], 1, &sum, 1, &node, &err), &err);
    assert_int_equal(pith_node_set_int(graph, node, "to", PITH_FLOAT32), 0);
    in[0] = pith_graph_output(graph, 0);
    in[1] = sum;
    assert_ok(pith_graph_add_value(graph, "sum", PITH_FLOAT32, NULL, &sum, &err), &err);
    assert_ok(pith_graph_add_node(graph, "", "Add", "", in, 2, &sum, 1, &node, &err), &err);
    assert_int_equal(pith_graph_add_output(graph, sum), 0);
    assert_ok(pith_graph_validate(graph, &err), &err);
    assert_ok(pith_onnx_write(graph, &file, &err), &err);
    back = read_file(&file);
    assert_int_equal(pith_graph_opset(back, ""), 13);
    pith_graph_free(back);
    pith_graph_free(graph);
    pith_tensor_free(&half);
    pith_buffer_done(&file);
}

#define LONG_NAME "a/name/that/is/longer/than/any/that/others/should/be/made/of"

/* Before opset 13 Softmax is one over a matrix, so it is written between two reshapes; to those a 0 means
 * another thing. */
static void softmax_over_nothing_is_written(void **state)
{
    const struct pith_shape shape = {3, {2, 3, 0}};
    const float scale = 1.0F / 256.0F;
    const int32_t zero = 0;
    const struct pith_quantization grid = {PITH_UINT8, 0, 0, 1, &scale, &zero};
    struct pith_buffer out = {0};
    struct pith_graph *graph, *back;
    struct pith_error err = {0};
    uint32_t x, y, node;

    (void) state;
    assert_ok(pith_graph_new(&graph, "empty", &err), &err);
    assert_int_equal(pith_graph_set_opset(graph, "", 11), 0);
    assert_ok(pith_graph_add_value(graph, "x", PITH_FLOAT32, &shape, &x, &err), &err);
    assert_int_equal(pith_graph_add_input(graph, x), 0);
    assert_int_equal(pith_value_set_quantization(graph, x, &grid), 0);
    assert_ok(pith_graph_add_value(graph, "y", PITH_FLOAT32, &shape, &y, &err), &err);
    assert_ok(pith_graph_add_node(graph, "", "Softmax", "s", &x, 1, &y, 1, &node, &err), &err);
    assert_int_equal(pith_graph_add_output(graph, y), 0);
    assert_ok(pith_graph_validate(graph, &err), &err);
    assert_ok(pith_onnx_write(graph, &out, &err), &err);
    back = read_file(&out);
    assert_true(pith_graph_opset(back, "") >= 13);
    pith_graph_free(back);
    pith_graph_free(graph);
    pith_buffer_done(&out);
}

static void put_long_name(struct pith_buffer *out)
{
    put_node(out, "Relu", "relu", "x", LONG_NAME);
    put_node(out, "Relu", "again", LONG_NAME, "y");
}

/* What is made for a value is called after it, or after its number, and pairs have no names. */
static void long_names_are_written_once(void **state)
{
    const float scale = 0.5f;
    const int32_t zero = 3;
    const struct pith_quantization q = {PITH_UINT8, 0, 0, 1, &scale, &zero};
    struct pith_graph *graph = read_graph(put_long_name, 13);
    struct pith_buffer file = {0};
    struct pith_error err = {0};
    size_t times = 0;

    (void) state;
    assert_int_equal(pith_value_set_quantization(graph, pith_graph_find_value(graph, LONG_NAME), &q), 0);
    assert_ok(pith_onnx_write(graph, &file, &err), &err);
    for (size_t at = 0; at + strlen(LONG_NAME) <= file.bytes; at++)
        times += !memcmp(file.data + at, LONG_NAME, strlen(LONG_NAME));
    assert_int_equal(times, 2); /* where it is made, and where it is used */
    struct pith_graph *back = read_file(&file);

    assert_int_equal(quantization_of(back, LONG_NAME)->zero_point[0], 3);
    assert_int_equal(count_op(back, "QuantizeLinear"), 0);
    pith_graph_free(back);
    pith_graph_free(graph);
    pith_buffer_done(&file);
}

/* Of a symmetric grid of 4-bit constants it says nothing that would not go without saying. */
static void zero_points_of_zero_are_left_out_beside_four_bits(void **state)
{
    (void) state;
    for (int shifted = 0; shifted < 2; shifted++)
        for (int wide = 0; wide < 2; wide++) {
            const float scale = 0.5f;
            const struct pith_quantization q = {wide ? PITH_INT8 : PITH_INT4, 0, 0, 1, &scale, &shifted};
            struct pith_shape shape = pith_shape_of(1, (int64_t[]){4});
            struct pith_graph *graph = read_graph(put_relu, 21);
            struct pith_buffer file = {0};
            struct pith_tensor w;
            struct pith_error err = {0};
            uint32_t value, sum, node;
            bool found = false;

            assert_ok(pith_tensor_alloc(&w, q.dtype, &shape, &err), &err);
            pith_tensor_set(&w, 1, -7);
            assert_ok(pith_graph_add_value(graph, "w", PITH_FLOAT32, &shape, &value, &err), &err);
            assert_ok(pith_value_set_quantization(graph, value, &q), &err);
            assert_ok(pith_value_take_constant(graph, value, &w), &err);
            assert_ok(pith_graph_add_value(graph, "sum", PITH_FLOAT32, NULL, &sum, &err), &err);
            assert_ok(pith_graph_add_node(graph, "", "Add", "add", (uint32_t[]){value, value}, 2, &sum, 1, &node, &err),
                      &err);
            assert_int_equal(pith_graph_add_output(graph, sum), 0);
            assert_ok(pith_graph_validate(graph, &err), &err);
            assert_ok(pith_onnx_write(graph, &file, &err), &err);
            for (size_t at = 0; at + 12 <= file.bytes; at++)
                found = found || !memcmp(file.data + at, "w_zero_point", 12);
            assert_int_equal(found, shifted || wide);
            struct pith_graph *back = read_file(&file);

            assert_int_equal(quantization_of(back, "w")->zero_point[0], shifted);
            assert_int_equal(pith_tensor_get_int(pith_value_constant(back, pith_graph_find_value(back, "w")), 1), -7);
            pith_graph_free(back);
            pith_graph_free(graph);
            pith_buffer_done(&file);
        }
}

static void a_value_that_is_both_ends_cannot_be_rounded(void **state)
{
    const float scale = 1;
    const int32_t zero = 0;
    const struct pith_quantization q = {PITH_UINT8, 0, 0, 1, &scale, &zero};
    struct pith_graph *graph = read_graph(put_relu, 13);
    struct pith_buffer file = {0};
    struct pith_error err = {0};
    uint32_t x = pith_graph_input(graph, 0);

    (void) state;
    assert_int_equal(pith_graph_add_output(graph, x), 0);
    assert_int_equal(pith_value_set_quantization(graph, x, &q), 0);
    assert_int_equal(pith_onnx_write(graph, &file, &err), -ENOTSUP);
    assert_non_null(strstr(err.text, "\"x\" is an input, quantized, and an output too"));
    assert_int_equal(file.bytes, 0);
    pith_graph_free(graph);
    pith_buffer_done(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_fold_and_keep_the_names_at_the_ends),
        cmocka_unit_test(pairs_of_several_users_fold_into_one),
        cmocka_unit_test(what_would_change_stays_as_it_is),
        cmocka_unit_test(chains_fold_as_far_as_they_mean_the_same),
        cmocka_unit_test(integer_constants_fold_per_axis),
        cmocka_unit_test(float_weights_fold_to_the_integers_of_quantize_linear),
        cmocka_unit_test(a_scale_that_is_none_stays_in_its_nodes),
        cmocka_unit_test(quantization_raises_the_opset_as_far_as_needed),
        cmocka_unit_test(bfloat16_raises_the_opset),
        cmocka_unit_test(softmax_over_nothing_is_written),
        cmocka_unit_test(long_names_are_written_once),
        cmocka_unit_test(zero_points_of_zero_are_left_out_beside_four_bits),
        cmocka_unit_test(a_value_that_is_both_ends_cannot_be_rounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
