/* The graph: building, validating, cloning, rewriting, measuring. */
#include "tests/testing.h"

#include <errno.h>
#include <pith/graph.h>

static struct pith_graph *new_graph(void)
{
    struct pith_graph *graph = NULL;

    assert_int_equal(pith_graph_new(&graph, "test", NULL), 0);
    assert_int_equal(pith_graph_set_opset(graph, "", 17), 0);
    return graph;
}

static uint32_t add_value(struct pith_graph *graph, const char *name, uint32_t rank,
                          const int64_t *dims)
{
    struct pith_shape shape = pith_shape_of(rank, dims);
    uint32_t value = PITH_NO_VALUE;
    struct pith_error err = {0};

    assert_ok(pith_graph_add_value(graph, name, PITH_FLOAT32, &shape, &value, &err), &err);
    return value;
}

static uint32_t add_node(struct pith_graph *graph, const char *op, const char *name, uint32_t input,
                         uint32_t second, uint32_t output)
{
    uint32_t inputs[] = {input, second};
    uint32_t node = PITH_NO_NODE;
    struct pith_error err = {0};

    assert_ok(pith_graph_add_node(graph, "", op, name, inputs, second == PITH_NO_VALUE ? 1 : 2,
                                  &output, 1, &node, &err),
              &err);
    return node;
}

static uint32_t add_floats(struct pith_graph *graph, const char *name, uint32_t rank,
                           const int64_t *dims)
{
    struct pith_shape shape = pith_shape_of(rank, dims);
    struct pith_tensor tensor;
    struct pith_error err = {0};
    uint32_t value = PITH_NO_VALUE;

    assert_ok(pith_tensor_alloc(&tensor, PITH_FLOAT32, &shape, &err), &err);
    for (int64_t i = 0; i < pith_shape_elements(&shape); i++)
        pith_tensor_set(&tensor, i, (double) (i % 3));
    assert_ok(pith_graph_add_constant(graph, name, &tensor, &value, &err), &err);
    pith_tensor_free(&tensor);
    return value;
}

/* x -> Relu -> a -> Add(w) -> y */
struct chain {
    struct pith_graph *graph;
    uint32_t x, a, w, y;
    uint32_t relu, add;
};

static const int64_t four[] = {4};

static struct chain new_chain(void)
{
    struct chain c = {.graph = new_graph()};

    c.x = add_value(c.graph, "x", 1, four);
    c.a = add_value(c.graph, "a", 1, four);
    c.y = add_value(c.graph, "y", 1, four);
    c.w = add_floats(c.graph, "w", 1, four);
    assert_int_equal(pith_graph_add_input(c.graph, c.x), 0);
    assert_int_equal(pith_graph_add_output(c.graph, c.y), 0);
    c.add = add_node(c.graph, "Add", "add", c.a, c.w, c.y); /* out of order on purpose */
    c.relu = add_node(c.graph, "Relu", "relu", c.x, PITH_NO_VALUE, c.a);
    return c;
}

static void expect_refusal(struct pith_graph *graph, const char *words)
{
    struct pith_error err = {0};

    assert_int_equal(pith_graph_validate(graph, &err), -EINVAL);
    if (!strstr(err.text, words))
        fail_msg("\"%s\" is not in \"%s\"", words, err.text);
}

static void order_follows_producers(void **state)
{
    struct chain c = new_chain();
    struct pith_error err = {0};
    size_t count = 0;
    const uint32_t *order;

    (void) state;
    assert_ok(pith_graph_validate(c.graph, &err), &err);
    order = pith_graph_order(c.graph, &count);
    assert_int_equal(count, 2);
    assert_int_equal(order[0], c.relu);
    assert_int_equal(order[1], c.add);
    assert_int_equal(pith_value_use_count(c.graph, c.y), 1);
    assert_int_equal(pith_value_use_count(c.graph, c.a), 1);
    assert_int_equal(pith_value_producer(c.graph, c.a), c.relu);
    assert_int_equal(pith_graph_find_value(c.graph, "a"), c.a);
    assert_int_equal(pith_graph_find_value(c.graph, "b"), PITH_NO_VALUE);
    pith_graph_free(c.graph);
}

static void validate_names_the_cycle(void **state)
{
    struct chain c = new_chain();

    (void) state;
    assert_int_equal(pith_node_set_input(c.graph, c.relu, 0, c.y), 0);
    expect_refusal(c.graph,
                   "cycle: node \"add\" (Add) needs node \"relu\" (Relu) needs node \"add\"");
    pith_graph_free(c.graph);
}

static void validate_refuses_what_nothing_makes(void **state)
{
    struct chain c = new_chain();

    (void) state;
    pith_graph_remove_node(c.graph, c.relu);
    assert_false(pith_node_exists(c.graph, c.relu));
    expect_refusal(c.graph, "node \"add\" (Add) takes value \"a\", which nothing makes");
    pith_graph_remove_node(c.graph, c.add);
    expect_refusal(c.graph, "output \"y\" is made by nothing");
    pith_graph_free(c.graph);
}

static void a_value_has_one_producer(void **state)
{
    struct chain c = new_chain();
    struct pith_error err = {0};
    uint32_t outputs[] = {c.a};
    uint32_t twice[2];

    (void) state;
    assert_int_equal(
        pith_graph_add_node(c.graph, "", "Abs", "abs", &c.x, 1, outputs, 1, NULL, &err), -EEXIST);
    assert_non_null(strstr(err.text, "\"a\" is made twice: by node \"relu\" and by \"abs\""));
    assert_int_equal(pith_graph_add_node(c.graph, "", "Abs", "abs", &c.x, 1, &c.w, 1, NULL, &err),
                     -EEXIST);
    twice[0] = twice[1] = add_value(c.graph, "t", 1, four);
    assert_int_equal(
        pith_graph_add_node(c.graph, "", "Split", "split", &c.x, 1, twice, 2, NULL, &err), -EEXIST);
    assert_int_equal(pith_graph_add_value(c.graph, "a", PITH_FLOAT32, NULL, &twice[0], &err),
                     -EEXIST);
    assert_ok(pith_graph_validate(c.graph, &err), &err);
    pith_graph_free(c.graph);
}

static void quantization_is_checked(void **state)
{
    struct chain c = new_chain();
    struct pith_error err = {0};
    float scale[4] = {0.5f, 0.25f, 1, 2};
    int32_t zero[4] = {0, 1, 127, -128};
    struct pith_quantization q = {PITH_INT8, 0, 0, 4, scale, zero};

    (void) state;
    assert_int_equal(pith_value_set_quantization(c.graph, c.a, &q), 0);
    assert_ok(pith_graph_validate(c.graph, &err), &err);
    q.count = 3;
    assert_int_equal(pith_value_set_quantization(c.graph, c.a, &q), 0);
    expect_refusal(c.graph, "value \"a\" has 3 scales where 4 are needed");
    q.count = 4;
    q.axis = 1;
    assert_int_equal(pith_value_set_quantization(c.graph, c.a, &q), 0);
    expect_refusal(c.graph, "axis 1");
    q.axis = 0;
    zero[2] = 128;
    assert_int_equal(pith_value_set_quantization(c.graph, c.a, &q), 0);
    expect_refusal(c.graph, "zero point 2 is 128, outside of int8");
    zero[2] = 0;
    scale[1] = 0;
    assert_int_equal(pith_value_set_quantization(c.graph, c.a, &q), 0);
    expect_refusal(c.graph, "scale 1 is 0");
    scale[1] = 1;
    q.dtype = PITH_FLOAT32;
    assert_int_equal(pith_value_set_quantization(c.graph, c.a, &q), 0);
    expect_refusal(c.graph, "quantized to float32");
    q.dtype = PITH_INT8;
    q.block_size = 3;
    q.count = 2;
    assert_int_equal(pith_value_set_quantization(c.graph, c.a, &q), 0);
    assert_ok(pith_graph_validate(c.graph, &err), &err);
    /* A constant that is quantized holds the integers. */
    assert_int_equal(pith_value_set_quantization(c.graph, c.a, NULL), 0);
    assert_int_equal(pith_value_set_quantization(c.graph, c.w, &q), 0);
    expect_refusal(c.graph, "is quantized to int8 but holds float32");
    pith_graph_free(c.graph);
}

static void quantized_constant_stays_float_in_type(void **state)
{
    struct chain c = new_chain();
    struct pith_error err = {0};
    float scale = 0.5f;
    int32_t zero = 0;
    struct pith_quantization q = {PITH_INT8, 0, 0, 1, &scale, &zero};
    struct pith_shape shape = pith_shape_of(1, four);
    struct pith_tensor integers;

    (void) state;
    assert_ok(pith_tensor_alloc(&integers, PITH_INT8, &shape, &err), &err);
    assert_int_equal(pith_value_take_constant(c.graph, c.w, &integers), 0);
    assert_null(integers.data);
    assert_int_equal(pith_value_dtype(c.graph, c.w), PITH_INT8);
    assert_int_equal(pith_value_set_quantization(c.graph, c.w, &q), 0);
    assert_int_equal(pith_value_dtype(c.graph, c.w), PITH_FLOAT32);
    assert_int_equal(pith_value_constant(c.graph, c.w)->dtype, PITH_INT8);
    assert_ok(pith_graph_validate(c.graph, &err), &err);
    assert_int_equal(pith_value_set_quantization(c.graph, c.w, NULL), 0);
    assert_int_equal(pith_value_dtype(c.graph, c.w), PITH_INT8);
    pith_graph_free(c.graph);
}

static void clone_shares_constants_and_outlives(void **state)
{
    struct chain c = new_chain();
    struct pith_graph *clone = NULL;
    struct pith_error err = {0};
    const void *data;

    (void) state;
    pith_graph_remove_node(c.graph, add_node(c.graph, "Abs", "gone", c.x, PITH_NO_VALUE,
                                             add_value(c.graph, "unused", 1, four)));
    assert_int_equal(pith_node_set_int(c.graph, c.add, "axis", 3), 0);
    assert_int_equal(pith_graph_set_metadata(c.graph, "pith.recipe", "balanced"), 0);
    assert_ok(pith_graph_clone(c.graph, &clone, &err), &err);
    data = pith_value_constant(c.graph, c.w)->data;
    assert_ptr_equal(pith_value_constant(clone, c.w)->data, data);
    pith_graph_free(c.graph);
    assert_float_equal(pith_tensor_get(pith_value_constant(clone, c.w), 2), 2, 0);
    assert_ok(pith_graph_validate(clone, &err), &err);
    assert_int_equal(pith_node_int(clone, c.add, "axis", 0), 3);
    assert_string_equal(pith_graph_metadata(clone, "pith.recipe"), "balanced");
    assert_int_equal(pith_graph_opset(clone, "ai.onnx"), 17);
    assert_int_equal(pith_value_use_count(clone, c.y), 1);
    assert_int_equal(pith_graph_input(clone, 0), c.x);
    assert_int_equal(pith_graph_node_limit(clone), 3);
    pith_graph_free(clone);
}

static void attributes_are_typed(void **state)
{
    struct chain c = new_chain();
    const int64_t pads[] = {1, 2, 3, 4};
    const char *const words[] = {"Tanh", "Relu"};
    size_t count = 9;

    (void) state;
    assert_int_equal(pith_node_set_ints(c.graph, c.add, "pads", pads, 4), 0);
    assert_int_equal(pith_node_set_float(c.graph, c.add, "alpha", 0.5f), 0);
    assert_int_equal(pith_node_set_strings(c.graph, c.add, "activations", words, 2), 0);
    assert_int_equal(pith_node_set_string(c.graph, c.add, "mode", "linear"), 0);
    assert_int_equal(
        pith_node_set_tensor(c.graph, c.add, "value", pith_value_constant(c.graph, c.w)), 0);
    assert_int_equal(pith_node_ints(c.graph, c.add, "pads", &count)[3], 4);
    assert_int_equal(count, 4);
    assert_null(pith_node_floats(c.graph, c.add, "pads", &count));
    assert_int_equal(count, 0);
    assert_int_equal(pith_node_int(c.graph, c.add, "alpha", 7), 7); /* of another type */
    assert_string_equal(pith_node_strings(c.graph, c.add, "activations", &count)[1], "Relu");
    assert_string_equal(pith_node_string(c.graph, c.add, "mode", ""), "linear");
    assert_int_equal(pith_node_attribute_count(c.graph, c.add), 5);
    assert_int_equal(pith_node_set_int(c.graph, c.add, "value", 1), 0); /* replaces the tensor */
    assert_null(pith_node_tensor(c.graph, c.add, "value"));
    pith_node_remove_attribute(c.graph, c.add, "pads");
    assert_false(pith_node_has(c.graph, c.add, "pads"));
    assert_int_equal(pith_node_attribute_count(c.graph, c.add), 4);
    pith_graph_free(c.graph);
}

/* A branch that takes `a` of the graph around and gives it out. */
static struct pith_graph *new_branch(uint32_t outer)
{
    struct pith_graph *branch = new_graph();
    uint32_t inner = add_value(branch, "a", 1, four);
    uint32_t out = add_value(branch, "branch_out", 1, four);

    assert_int_equal(pith_graph_add_capture(branch, inner, outer), 0);
    (void) add_node(branch, "Abs", "abs", inner, PITH_NO_VALUE, out);
    assert_int_equal(pith_graph_add_output(branch, out), 0);
    return branch;
}

static void captures_are_uses_and_order_the_graph(void **state)
{
    struct pith_graph *graph = new_graph();
    struct pith_error err = {0};
    uint32_t x = add_value(graph, "x", 1, four);
    uint32_t a = add_value(graph, "a", 1, four);
    uint32_t b = add_value(graph, "b", 1, four);
    uint32_t y = add_value(graph, "y", 1, four);
    uint32_t branching = add_node(graph, "If", "if", x, PITH_NO_VALUE, y);
    uint32_t relu = add_node(graph, "Relu", "relu", x, PITH_NO_VALUE, a);
    struct pith_graph *clone = NULL;
    size_t count = 0;
    uint32_t inner;
    uint32_t outer;

    (void) state;
    assert_int_equal(pith_graph_add_input(graph, x), 0);
    assert_int_equal(pith_graph_add_output(graph, y), 0);
    assert_int_equal(pith_node_set_graph(graph, branching, "then_branch", new_branch(a)), 0);
    assert_ok(pith_graph_validate(graph, &err), &err);
    assert_int_equal(pith_graph_order(graph, &count)[0], relu);
    assert_int_equal(pith_value_use_count(graph, a), 1);
    assert_int_equal(pith_graph_prune_dead(graph), 0);
    assert_true(pith_node_exists(graph, relu));

    assert_ok(pith_graph_clone(graph, &clone, &err), &err);
    assert_int_equal(pith_value_use_count(clone, a), 1);
    pith_node_remove_attribute(clone, branching, "then_branch");
    assert_int_equal(pith_value_use_count(clone, a), 0);
    assert_int_equal(pith_graph_prune_dead(clone), 0);
    assert_false(pith_node_exists(clone, relu));
    pith_graph_free(clone);

    (void) add_node(graph, "Neg", "neg", x, PITH_NO_VALUE, b);
    assert_int_equal(pith_graph_replace_value(graph, a, b), 0);
    pith_graph_capture(pith_node_graph(graph, branching, "then_branch"), 0, &inner, &outer);
    assert_int_equal(outer, b);
    assert_int_equal(pith_value_use_count(graph, a), 0);
    assert_int_equal(pith_value_use_count(graph, b), 1);
    /* What the branch needs comes from the node itself. */
    assert_int_equal(pith_graph_replace_value(graph, b, y), 0);
    expect_refusal(graph, "cycle: node \"if\" (If) needs node \"if\" (If)");
    pith_graph_free(graph);
}

static void sub_graphs_have_a_depth_limit(void **state)
{
    struct pith_graph *inside = NULL;

    (void) state;
    for (int depth = 0; depth < 40; depth++) {
        struct pith_graph *graph = new_graph();
        uint32_t x = add_value(graph, "x", 1, four);
        uint32_t y = add_value(graph, "y", 1, four);
        uint32_t node;

        assert_int_equal(pith_graph_add_input(graph, x), 0);
        assert_int_equal(pith_graph_add_output(graph, y), 0);
        node = add_node(graph, "If", "if", x, PITH_NO_VALUE, y);
        if (inside)
            assert_int_equal(pith_node_set_graph(graph, node, "then_branch", inside), 0);
        inside = graph;
    }
    expect_refusal(inside, "nested deeper than 16");
    pith_graph_free(inside);
}

/* Nobody would give them a value. */
static void branches_declare_no_inputs(void **state)
{
    struct pith_graph *graph = new_graph();
    struct pith_graph *branch;
    uint32_t x = add_value(graph, "x", 1, four);
    uint32_t y = add_value(graph, "y", 1, four);
    uint32_t node = add_node(graph, "If", "if", x, PITH_NO_VALUE, y);

    (void) state;
    assert_int_equal(pith_graph_add_input(graph, x), 0);
    assert_int_equal(pith_graph_add_output(graph, y), 0);
    branch = new_branch(x);
    assert_int_equal(pith_graph_add_input(branch, add_value(branch, "own", 1, four)), 0);
    assert_int_equal(pith_node_set_graph(graph, node, "then_branch", branch), 0);
    expect_refusal(graph, "its then_branch declares inputs");
    pith_graph_free(graph);
}

static void replace_moves_outputs_and_every_use(void **state)
{
    struct chain c = new_chain();
    struct pith_error err = {0};
    uint32_t square = add_value(c.graph, "square", 1, four);
    size_t count = 0;

    (void) state;
    (void) add_node(c.graph, "Mul", "mul", c.a, c.a, square);
    assert_int_equal(pith_value_use_count(c.graph, c.a), 3);
    assert_int_equal(pith_graph_replace_value(c.graph, c.a, c.x), 0);
    assert_int_equal(pith_value_use_count(c.graph, c.a), 0);
    (void) pith_value_users(c.graph, c.x, &count);
    assert_int_equal(count, 4);
    assert_int_equal(pith_graph_replace_value(c.graph, c.y, square), 0);
    assert_int_equal(pith_graph_output(c.graph, 0), square);
    assert_int_equal(pith_graph_prune_dead(c.graph), 0);
    assert_false(pith_node_exists(c.graph, c.add));
    assert_false(pith_node_exists(c.graph, c.relu));
    assert_null(pith_value_constant(c.graph, c.w));
    assert_ok(pith_graph_validate(c.graph, &err), &err);
    pith_graph_free(c.graph);
}

static void names_can_change_hands(void **state)
{
    struct chain c = new_chain();
    uint32_t made = PITH_NO_VALUE;
    struct pith_error err = {0};

    (void) state;
    assert_int_equal(pith_value_set_name(c.graph, c.a, "y"), -EEXIST);
    assert_int_equal(pith_value_set_name(c.graph, c.y, "old_y"), 0);
    assert_int_equal(pith_value_set_name(c.graph, c.a, "y"), 0);
    assert_int_equal(pith_graph_find_value(c.graph, "y"), c.a);
    assert_int_equal(pith_graph_find_value(c.graph, "a"), PITH_NO_VALUE);
    assert_ok(pith_graph_add_value(c.graph, NULL, PITH_FLOAT32, NULL, &made, &err), &err);
    assert_true(strlen(pith_value_name(c.graph, made)) > 0);
    assert_null(pith_value_shape(c.graph, made));
    pith_graph_free(c.graph);
}

static void an_input_with_a_constant_is_no_input(void **state)
{
    struct chain c = new_chain();

    (void) state;
    assert_int_equal(pith_value_set_constant(c.graph, c.x, pith_value_constant(c.graph, c.w)), 0);
    assert_int_equal(pith_graph_input_count(c.graph), 0);
    assert_int_equal(pith_graph_add_input(c.graph, c.x), -EEXIST);
    pith_graph_free(c.graph);
}

static void measure_counts_conv_and_liveness(void **state)
{
    const int64_t image[] = {1, 4, 8, 8};
    const int64_t weights[] = {6, 2, 3, 3}; /* two groups */
    const int64_t result[] = {1, 6, 8, 8};
    struct pith_graph *graph = new_graph();
    struct pith_error err = {0};
    uint32_t x = add_value(graph, "x", 4, image);
    uint32_t w = add_floats(graph, "w", 4, weights);
    uint32_t a = add_value(graph, "a", 4, result);
    uint32_t b = add_value(graph, "b", 4, result);
    uint32_t y = add_value(graph, "y", 4, result);
    uint32_t conv = add_node(graph, "Conv", "conv", x, w, a);
    struct pith_graph_size size;

    (void) state;
    (void) add_node(graph, "Relu", "relu", a, PITH_NO_VALUE, b);
    (void) add_node(graph, "Add", "add", a, b, y);
    assert_int_equal(pith_graph_add_input(graph, x), 0);
    assert_int_equal(pith_graph_add_output(graph, y), 0);
    assert_ok(pith_graph_validate(graph, &err), &err);
    pith_graph_measure(graph, &size);
    assert_int_equal(pith_node_macs(graph, conv), 384 * 2 * 9);
    assert_int_equal(size.macs, 384 * 2 * 9);
    assert_int_equal(size.parameters, 108);
    assert_int_equal(size.nonzero, 72);
    assert_int_equal(size.weight_bytes, 432);
    assert_int_equal(size.nodes, 3);
    assert_int_equal(size.peak_activation_bytes, 3 * 384 * 4); /* a, b and y while Add runs */
    assert_int_equal(pith_value_set_type(graph, b, PITH_FLOAT32, NULL), 0);
    pith_graph_measure(graph, &size);
    assert_int_equal(size.peak_activation_bytes, 0);
    pith_graph_free(graph);
}

/* Nothing may walk all nodes for each node: 50,000 nodes take a moment, not minutes. */
static void big_graphs_stay_workable(void **state)
{
    struct pith_graph *graph = new_graph();
    struct pith_graph *clone = NULL;
    struct pith_graph_size size;
    struct pith_error err = {0};
    uint32_t last = add_value(graph, "x", 1, four);

    (void) state;
    assert_int_equal(pith_graph_add_input(graph, last), 0);
    for (int i = 0; i < 50000; i++) {
        char name[32];
        uint32_t next;

        (void) snprintf(name, sizeof name, "layer_%d", i);
        next = add_value(graph, name, 1, four);
        (void) add_node(graph, "Relu", name, last, PITH_NO_VALUE, next);
        last = next;
    }
    assert_int_equal(pith_graph_add_output(graph, last), 0);
    assert_ok(pith_graph_validate(graph, &err), &err);
    assert_ok(pith_graph_clone(graph, &clone, &err), &err);
    assert_int_equal(pith_graph_prune_dead(clone), 0);
    pith_graph_measure(clone, &size);
    assert_int_equal(size.nodes, 50000);
    assert_int_equal(size.peak_activation_bytes, 32);
    pith_graph_free(graph);
    pith_graph_free(clone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_follows_producers),
        cmocka_unit_test(validate_names_the_cycle),
        cmocka_unit_test(validate_refuses_what_nothing_makes),
        cmocka_unit_test(a_value_has_one_producer),
        cmocka_unit_test(quantization_is_checked),
        cmocka_unit_test(quantized_constant_stays_float_in_type),
        cmocka_unit_test(clone_shares_constants_and_outlives),
        cmocka_unit_test(attributes_are_typed),
        cmocka_unit_test(captures_are_uses_and_order_the_graph),
        cmocka_unit_test(sub_graphs_have_a_depth_limit),
        cmocka_unit_test(branches_declare_no_inputs),
        cmocka_unit_test(replace_moves_outputs_and_every_use),
        cmocka_unit_test(names_can_change_hands),
        cmocka_unit_test(an_input_with_a_constant_is_no_input),
        cmocka_unit_test(measure_counts_conv_and_liveness),
        cmocka_unit_test(big_graphs_stay_workable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
