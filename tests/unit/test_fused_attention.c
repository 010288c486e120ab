/* Attention that exporters wrote out, as one node beside the literal execution; and graphs that look like it and are not. For
 * every instruction set. */
#include "tests/unit/fused_graph.h"

struct sizes {
    int64_t batch, tokens, heads, each;
};

static uint32_t linear(uint32_t x, int64_t width)
{
    return two("Add", two("MatMul", x, matrix(width, width)), row(width));
}

static uint32_t split(uint32_t x, const struct sizes *z)
{
    return two("Reshape", x, ints(4, (const int64_t[]){z->batch, z->tokens, z->heads, z->each}));
}

/* (batch, tokens, heads, each), sorted by heads; scores with a mask between, or not. */
static void check_sorted_heads(const struct sizes *z, uint32_t mask_rank, const int64_t *mask_dims,
                               bool both_scaled)
{
    const int64_t width = z->heads * z->each;
    const uint32_t x = begin(14, 3, (const int64_t[]){z->batch, z->tokens, width});
    uint32_t q = transpose(split(linear(x, width), z), 4, (const int64_t[]){0, 2, 1, 3});
    uint32_t k = transpose(split(linear(x, width), z), 4, (const int64_t[]){0, 2, 3, 1});
    const uint32_t v = transpose(split(linear(x, width), z), 4, (const int64_t[]){0, 2, 1, 3});
    uint32_t scores, y;

    if (both_scaled) {
        q = two("Mul", q, number(0.6F));
        k = two("Mul", number(0.7F), k);
        scores = two("MatMul", q, k);
    } else {
        scores = two("Div", two("MatMul", q, k), number(2.5F));
    }
    if (mask_dims)
        scores = two("Add", scores, add_constant(graph, PITH_FLOAT32, mask_rank, mask_dims));
    y = transpose(two("MatMul", softmax(scores, -1), v), 4, (const int64_t[]){0, 2, 1, 3});
    y = two("Reshape", y, ints(3, (const int64_t[]){z->batch, z->tokens, width}));
    /* averages of values of some tens, by weights that err by their exponents' 1e-6 */
    check(y, "attention_f32", 1, 2e-4);
}

static void heads_that_are_sorted_become_one_step(void **state)
{
    (void) state;
    check_sorted_heads(&(struct sizes){1, 64, 4, 32}, 0, NULL, false);
    check_sorted_heads(&(struct sizes){2, 7, 3, 5}, 4, (const int64_t[]){2, 1, 1, 7}, false);
    check_sorted_heads(&(struct sizes){2, 50, 2, 9}, 2, (const int64_t[]){50, 50}, true);
    check_sorted_heads(&(struct sizes){1, 1, 2, 1}, 3, (const int64_t[]){2, 1, 1}, false);
    check_sorted_heads(&(struct sizes){1, 6, 2, 3}, 4, (const int64_t[]){1, 2, 6, 1}, true);
    check_sorted_heads(&(struct sizes){1, 101, 1, 17}, 1, (const int64_t[]){101}, true);
}

/* A bool for each query and key; no query is left without a key. */
static uint32_t bools(uint32_t rank, const int64_t *dims, bool keeps)
{
    const struct pith_shape shape = pith_shape_of(rank, dims);
    struct pith_tensor tensor;
    uint32_t value;

    assert_int_equal(pith_tensor_alloc(&tensor, PITH_BOOL, &shape, NULL), 0);
    for (int64_t i = 0; i < pith_shape_elements(&shape); i++)
        ((uint8_t *) tensor.data)[i] = (i % dims[rank - 1] == 0 || random_float() > 0.3F) == keeps;
    assert_int_equal(pith_graph_add_constant(graph, NULL, &tensor, &value, NULL), 0);
    pith_tensor_free(&tensor);
    return value;
}

/* Scores of 3 heads in place of some of which a number stands, as GPT's exports have it, or BERT's;
 * with a mask that is added too, or not. */
static void check_selected(int64_t tokens, uint32_t mask_rank, const int64_t *mask_dims, bool keeps,
                           float fill, bool added)
{
    const uint32_t x = begin(14, 4, (const int64_t[]){2, 3, tokens, 7});
    const uint32_t k = transpose(x, 4, (const int64_t[]){0, 1, 3, 2}),
                   mask = bools(mask_rank, mask_dims, keeps);
    uint32_t scores = two("Mul", two("MatMul", x, k), number(0.4F));

    scores = keeps ? add_node(graph, "Where", (uint32_t[]){mask, scores, number(fill)}, 3, NULL)
                   : add_node(graph, "Where", (uint32_t[]){mask, number(fill), scores}, 3, NULL);
    if (added)
        scores = two("Add", row(tokens), scores);
    check(two("MatMul", softmax(scores, -1), x), "attention_f32", 1, 2e-5);
}

static void scores_that_are_replaced_belong_to_the_step(void **state)
{
    (void) state;
    check_selected(21, 2, (const int64_t[]){21, 21}, true, -INFINITY, false);
    check_selected(64, 4, (const int64_t[]){2, 1, 1, 64}, false, -INFINITY, false);
    check_selected(50, 4, (const int64_t[]){1, 1, 50, 50}, true, -3.4e38F, true);
    check_selected(5, 3, (const int64_t[]){3, 5, 1}, false, -2.0F, true);
    check_selected(9, 1, (const int64_t[]){1}, false, 1.5F, false);
}

static void a_mask_that_makes_scores_larger_is_left_alone(void **state)
{
    const uint32_t x = begin(14, 3, (const int64_t[]){1, 6, 6});
    const uint32_t scores = two("MatMul", x, x),
                   mask = bools(3, (const int64_t[]){3, 6, 6}, true);
    const uint32_t some = add_node(graph, "Where", (uint32_t[]){mask, scores, number(-9.0F)}, 3, NULL);

    (void) state;
    check(two("MatMul", softmax(some, -1), x), "attention_f32", 0, 1e-4);
}

/* (tokens, batch * heads, each), as torch.nn.MultiheadAttention is exported; softmax of opset 11.
 */
static void heads_beside_each_other_become_one_step(void **state)
{
    for (int64_t tokens = 5; tokens < 60; tokens += 22) {
        const int64_t width = 12;
        const uint32_t x = begin(11, 3, (const int64_t[]){tokens, 2, width});
        uint32_t part[3], scores, y;

        (void) state;
        for (int i = 0; i < 3; i++)
            part[i] = two("Reshape", linear(x, width), ints(3, (const int64_t[]){tokens, 6, 4}));
        part[0] = transpose(two("Mul", part[0], number(0.5F)), 3, (const int64_t[]){1, 0, 2});
        part[1] = transpose(part[1], 3, (const int64_t[]){1, 2, 0});
        part[2] = transpose(part[2], 3, (const int64_t[]){1, 0, 2});
        scores = two("MatMul", part[0], part[1]);
        y = transpose(two("MatMul", softmax(scores, 2), part[2]), 3, (const int64_t[]){1, 0, 2});
        check(two("Reshape", y, ints(3, (const int64_t[]){tokens, 2, width})), "attention_f32", 1,
              2e-4);
    }
}

/* Without transposes; the softmax over another axis, the weights used twice, scores that broadcast.
 */
static void what_only_looks_like_attention_stays(void **state)
{
    uint32_t x, weights, y;

    (void) state;
    x = begin(13, 3, (const int64_t[]){2, 6, 6});
    check(two("MatMul", softmax(two("MatMul", x, x), -1), x), "attention_f32", 1, 1e-5);
    x = begin(13, 3, (const int64_t[]){2, 6, 6});
    check(two("MatMul", softmax(two("MatMul", x, x), 1), x), "attention_f32", 0, 1e-4);
    x = begin(13, 3, (const int64_t[]){2, 6, 6});
    weights = softmax(two("MatMul", x, x), -1);
    check(two("Add", two("MatMul", weights, x), weights), "attention_f32", 0, 1e-4);
    x = begin(13, 3, (const int64_t[]){1, 6, 6});
    y = two("Add", two("MatMul", x, x),
            add_constant(graph, PITH_FLOAT32, 3, (const int64_t[]){3, 6, 6}));
    check(two("MatMul", softmax(y, -1), x), "attention_f32", 0, 1e-4);
}

/* Scores, masked or with a number in place of some, on a coarse grid that a factor of exactly 1 hides. */
static void scores_on_a_grid_are_rounded(void **state)
{
    (void) state;
    for (int form = 0; form < 3; form++) {
        const uint32_t x = begin(14, 3, (const int64_t[]){1, 6, 6});
        uint32_t scores = two("MatMul", x, x);

        if (form == 1)
            scores = two("Add", scores, row(6));
        else if (form == 2)
            scores = add_node(graph, "Where",
                              (uint32_t[]){bools(2, (const int64_t[]){6, 6}, true), scores,
                                           number(-4.0F)},
                              3, NULL);
        set_grid(graph, scores, PITH_UINT8, 4.0F, 128, 0, 0);
        check(two("MatMul", softmax(two("Mul", scores, number(1.0F)), -1), x), "attention_f32", 0,
              1e-5);
    }
}

/* A product with no columns, and one over none: sums of nothing are 0. */
static void attention_to_no_keys_gives_zeros(void **state)
{
    const uint32_t x = begin(13, 3, (const int64_t[]){1, 4, 6});
    const uint32_t keys = add_constant(graph, PITH_FLOAT32, 3, (const int64_t[]){1, 6, 0}),
                   values = add_constant(graph, PITH_FLOAT32, 3, (const int64_t[]){1, 0, 5});

    (void) state;
    check(two("MatMul", softmax(two("MatMul", x, keys), -1), values), "attention_f32", 1, 0);
}

/* Those of three matrices whose number is below `most`, which only a run tells. */
static uint32_t some_of(uint32_t x, float most)
{
    const float numbers[3] = {0, 1, 2};
    const struct pith_tensor tensor = {
        PITH_FLOAT32, {1, {3}}, (void *) (uintptr_t) numbers, sizeof numbers};
    uint32_t means, node, list, below, some;

    means = add_node(graph, "ReduceMean", &x, 1, &node);
    assert_int_equal(pith_node_set_ints(graph, node, "axes", (const int64_t[]){1, 2}, 2), 0);
    assert_int_equal(pith_node_set_int(graph, node, "keepdims", 0), 0);
    assert_int_equal(pith_graph_add_constant(graph, NULL, &tensor, &list, NULL), 0);
    list = two("Add", list, two("Mul", means, number(0.0F)));
    assert_int_equal(pith_graph_add_value(graph, NULL, PITH_BOOL, NULL, &below, NULL), 0);
    assert_int_equal(pith_graph_add_node(graph, "", "Less", "Less",
                                         (uint32_t[]){list, number(most)}, 2, &below, 1, &node,
                                         NULL),
                     0);
    some = add_node(graph, "Compress", (uint32_t[]){x, below}, 2, &node);
    assert_int_equal(pith_node_set_int(graph, node, "axis", 0), 0);
    return some;
}

static void a_mask_of_unknown_size_may_be_larger_than_the_scores(void **state)
{
    const uint32_t x = begin(13, 3, (const int64_t[]){3, 6, 6});
    const uint32_t first = some_of(x, 0.5F), masks = some_of(x, 10.0F);

    (void) state;
    check(two("MatMul", softmax(two("Add", two("MatMul", first, first), masks), -1), first),
          "attention_f32", 0, 1e-4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_that_are_sorted_become_one_step),
        cmocka_unit_test(scores_that_are_replaced_belong_to_the_step),
        cmocka_unit_test(a_mask_that_makes_scores_larger_is_left_alone),
        cmocka_unit_test(heads_beside_each_other_become_one_step),
        cmocka_unit_test(what_only_looks_like_attention_stays),
        cmocka_unit_test(scores_on_a_grid_are_rounded),
        cmocka_unit_test(attention_to_no_keys_gives_zeros),
        cmocka_unit_test(a_mask_of_unknown_size_may_be_larger_than_the_scores),
    };

    return cmocka_run_group_tests_name("fused_attention", tests, open_engine, close_engine);
}
