/* Patterns whose weights are stored narrow, or whose values lie on grids: they become one step as those of floats do. */
#include "tests/unit/fused_graph.h"

/* Weights that are stored as halves, behind the Cast that makes them floats. */
static uint32_t halves(int32_t dtype, int64_t rows, int64_t cols)
{
    const uint32_t stored = add_constant(graph, dtype, 2, (const int64_t[]){rows, cols});
    uint32_t node, y = add_node(graph, "Cast", &stored, 1, &node);

    assert_int_equal(pith_node_set_int(graph, node, "to", PITH_FLOAT32), 0);
    return y;
}

static void products_with_halves_add_their_bias(void **state)
{
    (void) state;
    for (int round = 0; round < 12; round++) {
        const int64_t rows = (const int64_t[]){1, 5, 8, 23}[round / 3], cols = 16 * (round % 3) + 21;
        const uint32_t x = begin(13, 2, (const int64_t[]){rows, 40});
        const uint32_t w = halves(round % 2 ? PITH_FLOAT16 : PITH_BFLOAT16, 40, cols);
        const uint32_t y = two("Add", two("MatMul", x, w), row(cols));

        check(round % 3 ? y : one("Relu", y), "binary", 0, 1e-4);
    }
}

/* What is called an output stays one. */
static void halves_that_are_an_output_stay(void **state)
{
    (void) state;
    (void) begin(13, 2, (const int64_t[]){3, 40});
    check(halves(PITH_FLOAT16, 40, 8), "binary", 0, 0.0);
}

/* Attention whose result lies on a grid takes the transpose behind it, where that keeps the grid. */
static void attention_on_a_grid_sorts_its_heads(void **state)
{
    const int32_t types[] = {PITH_INT8, PITH_INT16};

    (void) state;
    for (int round = 0; round < 4; round++) {
        const bool same = round < 2;
        const float scale = round % 2 ? 0.0001F : 0.02F;
        const uint32_t x = begin(13, 4, (const int64_t[]){1, 9, 2, 5});
        const uint32_t q = transpose(x, 4, (const int64_t[]){0, 2, 1, 3}),
                       k = transpose(x, 4, (const int64_t[]){0, 2, 3, 1});
        uint32_t y = two("MatMul", softmax(two("MatMul", q, k), -1), q);

        set_grid(graph, y, types[round % 2], scale, 0, 0, 0);
        y = transpose(y, 4, (const int64_t[]){0, 2, 1, 3});
        set_grid(graph, y, types[round % 2], same ? scale : 1.5F * scale, 0, 0, 0);
        check(y, "copy", same ? 0 : 1, (double) scale * (same ? 1.01 : 2.51));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_with_halves_add_their_bias),
        cmocka_unit_test(halves_that_are_an_output_stay),
        cmocka_unit_test(attention_on_a_grid_sorts_its_heads),
    };

    return cmocka_run_group_tests_name("fused_narrow", tests, open_engine, close_engine);
}
