/* Layer normalization, Gelu, biases and shuffled channels that exporters wrote out: as one node each,
 * beside the literal execution; and graphs that look like them and are not. For every instruction
 * set. */
#include "tests/unit/fused_graph.h"

/* ---- layer normalization ---- */

static uint32_t normalize(uint32_t x, int64_t axis, float epsilon, bool by_product, bool twice)
{
    const uint32_t centred = two("Sub", x, mean(x, axis)),
                   again = twice ? two("Sub", x, mean(x, axis)) : centred;
    const uint32_t square =
        by_product ? two("Mul", centred, centred) : two("Pow", centred, number(2.0F));
    const uint32_t sum = two("Add", mean(square, axis), number(epsilon));

    return two("Div", again, one("Sqrt", sum));
}

static void layer_normalization_becomes_one_step(void **state)
{
    (void) state;
    for (int round = 0; round < 6; round++) {
        const int64_t width = 1 + 13 * round;
        const uint32_t x = begin(13, 3, (const int64_t[]){2, 3, width});
        uint32_t y = normalize(x, round % 2 ? -1 : 2, 1e-3F, round % 3 == 1, round % 3 == 2);

        y = round % 2 ? two("Mul", y, row(width)) : two("Mul", row(width), y);
        if (round != 4)
            y = two("Add", y, row(width));
        check(y, "layer_norm_f32", 1, 1e-4);
    }
}

static void what_only_looks_like_layer_normalization_stays(void **state)
{
    uint32_t x, y;

    (void) state;
    x = begin(13, 3, (const int64_t[]){2, 5, 5});
    check(two("Mul", normalize(x, 1, 1e-3F, false, false), row(5)), "layer_norm_f32", 0, 1e-4);
    x = begin(13, 3, (const int64_t[]){2, 3, 1}); /* the scale makes it wider */
    check(two("Mul", normalize(x, -1, 1e-3F, false, false), row(4)), "layer_norm_f32", 0, 1e-4);
    x = begin(13, 2, (const int64_t[]){3, 6}); /* of two different values */
    y = two("Sub", x, mean(x, -1));
    y = two(
        "Div", y,
        one("Sqrt", two("Add", mean(two("Pow", one("Tanh", y), number(2.0F)), -1), number(1e-3F))));
    check(two("Mul", y, row(6)), "layer_norm_f32", 0, 1e-4);
}

/* A row far from zero: the mean's own rounding must not show. */
static void rows_far_from_zero_stay_exact(void **state)
{
    const uint32_t x = begin(17, 2, (const int64_t[]){4, 37});
    uint32_t in[2];

    (void) state;
    in[0] = two("Add", x, number(4096.0F)); /* by steps of 2^-11, which are not lost any more */
    in[1] = row(37);
    check(add_node(graph, "LayerNormalization", in, 2, NULL), "layer_norm_f32", 1, 1e-5);
}

/* ---- Gelu, biases ---- */

static void gelu_becomes_one_step(void **state)
{
    (void) state;
    for (int round = 0; round < 4; round++) {
        const uint32_t x = begin(13, 2, (const int64_t[]){3, 67});
        const uint32_t argument =
            round % 2 ? two("Div", x, number(1.41421354F)) : two("Mul", number(0.707106769F), x);
        const uint32_t moved = two("Add", one("Erf", argument), number(1.0F));
        const uint32_t y = round < 2 ? two("Mul", two("Mul", x, moved), number(0.5F))
                                     : two("Mul", moved, two("Mul", x, number(0.5F)));

        check(y, "binary", 0, 2e-6);
    }
}

/* c * (x + 0.044715 x^3), as it is written here and there. */
static uint32_t bent(uint32_t x, int way)
{
    const uint32_t c = number(0.797884583F), cubic = number(0.044715F);
    uint32_t cube;

    if (way == 0)
        return two("Mul", two("Add", x, two("Mul", two("Pow", x, number(3.0F)), cubic)), c);
    if (way == 1) {
        cube = two("Mul", two("Mul", two("Mul", cubic, x), x), x);
        return two("Mul", c, two("Add", cube, x));
    }
    cube = two("Add", two("Mul", cubic, two("Mul", x, x)), number(1.0F));
    return two("Mul", two("Mul", x, c), cube);
}

static void gelu_by_tanh_becomes_one_step(void **state)
{
    (void) state;
    for (int round = 0; round < 9; round++) {
        const uint32_t input = begin(13, 2, (const int64_t[]){3, 67});
        const uint32_t x = round % 2 ? two("Mul", input, row(67)) : input;
        const uint32_t moved = two("Add", number(1.0F), one("Tanh", bent(x, round / 3)));
        const uint32_t y = round % 3 == 0   ? two("Mul", two("Mul", number(0.5F), moved), x)
                           : round % 3 == 1 ? two("Mul", two("Mul", x, number(0.5F)), moved)
                                            : two("Div", two("Mul", x, moved), number(2.0F));

        check(y, "binary", round % 2, 2e-6);
    }
}

static void gelu_may_end_on_a_grid(void **state)
{
    const uint32_t x = begin(13, 2, (const int64_t[]){3, 67});
    const uint32_t moved =
        two("Add", one("Erf", two("Div", x, number(1.41421354F))), number(1.0F));
    const uint32_t y = two("Mul", two("Mul", x, moved), number(0.5F));

    (void) state;
    set_grid(graph, y, PITH_UINT8, 0.01F, 20, 0, 0);
    check(y, "binary", 0, 0.0101);
}

static void what_only_looks_like_gelu_stays(void **state)
{
    uint32_t x, moved;

    (void) state;
    x = begin(13, 2, (const int64_t[]){3, 17});
    moved = two("Add", one("Erf", two("Div", x, number(1.5F))), number(1.0F));
    check(two("Mul", two("Mul", x, moved), number(0.5F)), "binary", 4, 2e-6);
    x = begin(13, 2, (const int64_t[]){3, 17});
    moved = two("Add", one("Erf", two("Div", x, number(1.41421354F))), number(1.0F));
    check(two("Mul", two("Mul", x, moved), number(0.25F)), "binary", 4, 2e-6);
    x = begin(13, 2, (const int64_t[]){3, 17}); /* of two different values */
    moved = two("Add", one("Tanh", bent(one("Abs", x), 0)), number(1.0F));
    check(two("Mul", two("Mul", x, moved), number(0.5F)), "binary", 6, 2e-6);
    x = begin(13, 2, (const int64_t[]){3, 17});
    moved = two("Add", one("Tanh", two("Mul", x, number(0.797884583F))), number(1.0F));
    check(two("Mul", two("Mul", x, moved), number(0.5F)), "binary", 4, 2e-6);
    x = begin(13, 2, (const int64_t[]){3, 17}); /* rounded on the way */
    moved = two("Mul", x, number(0.707106769F));
    set_grid(graph, moved, PITH_UINT8, 0.05F, 128, 0, 0);
    moved = two("Add", one("Erf", moved), number(1.0F));
    check(two("Mul", two("Mul", x, moved), number(0.5F)), "binary", 4, 0.2);
}

static void biases_are_added_by_the_product(void **state)
{
    uint32_t x, y;

    (void) state;
    x = begin(13, 3, (const int64_t[]){2, 9, 11});
    y = one("Relu", two("Add", row(35), two("MatMul", x, matrix(11, 35))));
    check(y, "binary", 0, 1e-4);
    x = begin(13, 3,
              (const int64_t[]){2, 9, 1}); /* a product of one column, widened by what is added */
    check(two("Add", two("MatMul", x, matrix(1, 1)), row(5)), "binary", 1, 1e-4);
}

static uint32_t byte_matrix(int64_t rows, int64_t cols, bool columns)
{
    const uint32_t w = add_constant(graph, PITH_INT8, 2, (const int64_t[]){rows, cols});

    set_grid(graph, w, PITH_INT8, 0.004F, 0, 1, columns ? (size_t) cols : 0);
    return w;
}

/* The sum is exact, and so is what becomes of it, but for the bias, which is rounded to one of its
 * steps. */
static void products_of_bytes_give_floats(void **state)
{
    (void) state;
    for (int round = 0; round < 12; round++) {
        const int64_t rows = 1 + round * 3 % 11, depth = 5 + 7 * round, cols = 1 + 5 * round;
        const bool biased = round % 2, gemm = round % 3 == 0;
        uint32_t x, y, in[3];

        x = gemm ? begin(13, 2, (const int64_t[]){rows, depth})
                 : begin(13, 3, (const int64_t[]){2, rows, depth});
        set_grid(graph, x, round & 1 ? PITH_INT8 : PITH_UINT8, 0.015F, round & 1 ? -3 : 127, 0, 0);
        in[0] = x;
        in[1] = byte_matrix(depth, cols, round % 4 < 2);
        in[2] = row(cols);
        if (gemm)
            y = add_node(graph, "Gemm", in, biased ? 3 : 2, NULL);
        else if (biased)
            y = two("Add", in[2], two("MatMul", x, in[1]));
        else
            y = two("MatMul", x, in[1]);
        if (round % 5 == 4)
            y = one("Relu", y);
        check(y, gemm ? "gemm_s8" : "matmul_s8", 1, 2e-4);
    }
}

/* A sum of nothing is 0, to which the bias is added. */
static void products_of_bytes_over_nothing_are_their_bias(void **state)
{
    (void) state;
    for (int gemm = 0; gemm < 2; gemm++) {
        const uint32_t x = begin(13, 2, (const int64_t[]){3, 0});
        uint32_t in[3], y;

        set_grid(graph, x, PITH_UINT8, 0.015F, 127, 0, 0);
        in[0] = x;
        in[1] = byte_matrix(0, 5, false);
        in[2] = row(5);
        y = add_node(graph, gemm ? "Gemm" : "MatMul", in, gemm ? 3 : 2, NULL);
        check(y, gemm ? "gemm_s8" : "matmul_s8", 1, 1e-4); /* a step of the sums, at most */
    }
}

/* Each step of these sums is so small that the bias takes more of them than int32 holds. */
static void a_bias_far_past_the_sums_is_added_to_floats(void **state)
{
    uint32_t x, w, y;

    (void) state;
    for (int round = 0; round < 2; round++) {
        x = begin(13, 2, (const int64_t[]){9, 24});
        set_grid(graph, x, PITH_UINT8, 1e-6F, 0, 0, 0);
        w = add_constant(graph, PITH_INT8, 2, (const int64_t[]){24, 17});
        set_grid(graph, w, PITH_INT8, 1e-6F, 0, 0, 0);
        y = two("Add", two("MatMul", x, w), row(17));
        if (round)
            set_grid(graph, y, PITH_UINT8, 0.005F, 128, 0, 0);
        check(y, "matmul_s8", 0, 1e-6);
    }
}

/* Rows on a grid of their own, found in the run; weights with their zero points; scales; a bias. */
static void products_of_rows_quantized_in_the_run_are_one_step(void **state)
{
    (void) state;
    for (int round = 0; round < 24; round++) {
        const int64_t rows = 1 + round * 5 % 13, depth = 3 + 5 * round, cols = 1 + 7 * round % 90;
        const bool columns = round % 2, flat = round % 6 == 5, is_signed = round % 4 < 2;
        const int64_t width[] = {cols};
        const uint32_t x = flat ? begin(13, 1, (const int64_t[]){depth})
                                : begin(13, 3, (const int64_t[]){2, rows, depth});
        const struct pith_tensor one_zero = {PITH_INT8, {1, {1}}, (int8_t[]){is_signed ? -7 : 0}, 1};
        uint32_t q[3], in[4], sums, node, y;

        for (int i = 0; i < 3; i++)
            assert_int_equal(pith_graph_add_value(graph, NULL, PITH_DTYPE_NONE, NULL, &q[i], NULL), 0);
        assert_int_equal(pith_graph_add_node(graph, "", "DynamicQuantizeLinear", NULL, &x, 1, q, 3,
                                             NULL, NULL),
                         0);
        in[0] = q[0];
        in[1] = add_constant(graph, PITH_INT8, 2, (const int64_t[]){depth, cols});
        in[2] = q[2];
        if (columns)
            in[3] = add_constant(graph, PITH_INT8, 1, width);
        else
            assert_int_equal(pith_graph_add_constant(graph, NULL, &one_zero, &in[3], NULL), 0);
        assert_int_equal(pith_graph_add_value(graph, NULL, PITH_INT32, NULL, &sums, NULL), 0);
        assert_int_equal(
            pith_graph_add_node(graph, "", "MatMulInteger", NULL, in, 4, &sums, 1, NULL, NULL), 0);
        y = add_node(graph, "Cast", &sums, 1, &node);
        assert_int_equal(pith_node_set_int(graph, node, "to", PITH_FLOAT32), 0);
        in[3] = columns ? add_constant(graph, PITH_FLOAT32, 1, width) : number(0.01F);
        in[3] = round % 3 == 2 ? in[3] : two("Mul", q[1], in[3]);
        y = round % 3 ? two("Mul", y, in[3]) : two("Mul", in[3], y);
        if (round % 3 == 1)
            y = two("Add", y, row(cols));
        check(y, "matmul_integer_f32", 1, 0.0);
    }
}

/* Few rows of floats: weights stay as they are, and the bias is added where the product is. */
static void products_with_narrow_weights_add_their_bias(void **state)
{
    const uint32_t x = begin(13, 2, (const int64_t[]){3, 40});

    (void) state;
    check(two("Add", two("MatMul", x, byte_matrix(40, 21, true)), row(21)), "binary", 0, 1e-4);
}

/* ---- channels ---- */

/* Weights on a grid where the values are. */
static uint32_t conv(uint32_t x, int64_t in, int64_t out, bool quantized)
{
    const uint32_t w = add_constant(graph, quantized ? PITH_INT8 : PITH_FLOAT32, 4,
                                    (const int64_t[]){out, in, 1, 1});

    if (quantized)
        set_grid(graph, w, PITH_INT8, 0.004F, 0, 0, (size_t) out);
    return two("Conv", x, w);
}

/* A grid for what was just made, or none: the same for all. */
static uint32_t on_grid(uint32_t value, bool quantized)
{
    if (quantized)
        set_grid(graph, value, PITH_UINT8, 0.03125F, 100, 0, 0);
    return value;
}

static uint32_t reshaped(uint32_t x, uint32_t count, const int64_t *list, bool quantized)
{
    return on_grid(two("Reshape", x, ints(count, list)), quantized);
}

static uint32_t shuffle(uint32_t x, int64_t pictures, int64_t groups, bool quantized)
{
    x = reshaped(x, 5, (const int64_t[]){pictures, groups, 12 / groups, 6, 5}, quantized);
    x = on_grid(transpose(x, 5, (const int64_t[]){0, 2, 1, 3, 4}), quantized);
    return reshaped(x, 4, (const int64_t[]){pictures, 12, 6, 5}, quantized);
}

static void shuffled_channels_become_one_step(void **state)
{
    (void) state;
    for (int round = 0; round < 6; round++) {
        const bool quantized = round >= 3;
        const int64_t pictures = 1 + round % 2, groups[] = {2, 3, 4};
        uint32_t x = begin(13, 4, (const int64_t[]){pictures, 3, 6, 5});

        x = on_grid(conv(on_grid(x, quantized), 3, 12, quantized), quantized);
        x = conv(shuffle(x, pictures, groups[round % 3], quantized), 12, 8, quantized);
        /* on grids, a convolution of ours may round a value the other way: one step, times weights
         * below 0.7, of which twelve are summed */
        check(x, quantized ? "image_channels_s8" : "image_channels_f32", 1,
              quantized ? 12 * 0.7 * 0.03125 : 1e-4);
    }
}

static uint32_t group_of(uint32_t x, int64_t index)
{
    const struct pith_tensor tensor = {PITH_INT64, {0}, &index, sizeof index};
    uint32_t in[2] = {x};

    assert_int_equal(pith_graph_add_constant(graph, NULL, &tensor, &in[1], NULL), 0);
    return add_node(graph, "Gather", in, 2, NULL);
}

/* As ShuffleNet V2 is exported: both halves of the shuffled channels. */
static void halves_of_shuffled_channels_become_one_step_each(void **state)
{
    uint32_t x, a, b;

    (void) state;
    x = conv(begin(13, 4, (const int64_t[]){1, 3, 6, 5}), 3, 12, false);
    x = two("Reshape", x, ints(3, (const int64_t[]){6, 2, 30}));
    x = transpose(x, 3, (const int64_t[]){1, 0, 2});
    x = two("Reshape", x, ints(5, (const int64_t[]){2, -1, 6, 6, 5}));
    a = group_of(x, 0);
    b = group_of(x, -1);
    check(two("Add", conv(a, 6, 7, false), conv(b, 6, 7, false)), "image_channels_f32", 2, 1e-4);
}

/* Planes that are turned, pictures that are mixed, and what lies planar. */
static void what_only_looks_like_a_shuffle_stays(void **state)
{
    uint32_t x;

    (void) state;
    x = conv(begin(13, 4, (const int64_t[]){1, 3, 6, 5}), 3, 12, false);
    x = two("Reshape", x, ints(5, (const int64_t[]){1, 2, 6, 6, 5}));
    x = transpose(x, 5, (const int64_t[]){0, 1, 3, 2, 4});
    check(two("Reshape", x, ints(4, (const int64_t[]){1, 12, 6, 5})), "image_channels", 0, 1e-4);
    x = conv(begin(13, 4, (const int64_t[]){2, 3, 6, 5}), 3, 12, false);
    x = two("Reshape", x, ints(3, (const int64_t[]){2, 12, 30}));
    x = transpose(x, 3, (const int64_t[]){1, 0, 2});
    check(two("Reshape", x, ints(4, (const int64_t[]){2, 12, 6, 5})), "image_channels", 0, 1e-4);
    x = begin(13, 4, (const int64_t[]){2, 12, 6, 5});
    check(shuffle(x, 2, 3, false), "channels_f32", 1, 0.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layer_normalization_becomes_one_step),
        cmocka_unit_test(what_only_looks_like_layer_normalization_stays),
        cmocka_unit_test(rows_far_from_zero_stay_exact),
        cmocka_unit_test(gelu_becomes_one_step),
        cmocka_unit_test(gelu_by_tanh_becomes_one_step),
        cmocka_unit_test(gelu_may_end_on_a_grid),
        cmocka_unit_test(what_only_looks_like_gelu_stays),
        cmocka_unit_test(products_of_bytes_give_floats),
        cmocka_unit_test(products_of_bytes_over_nothing_are_their_bias),
        cmocka_unit_test(a_bias_far_past_the_sums_is_added_to_floats),
        cmocka_unit_test(products_of_rows_quantized_in_the_run_are_one_step),
        cmocka_unit_test(products_with_narrow_weights_add_their_bias),
        cmocka_unit_test(biases_are_added_by_the_product),
        cmocka_unit_test(shuffled_channels_become_one_step),
        cmocka_unit_test(halves_of_shuffled_channels_become_one_step_each),
        cmocka_unit_test(what_only_looks_like_a_shuffle_stays),
    };

    return cmocka_run_group_tests_name("fused", tests, open_engine, close_engine);
}
