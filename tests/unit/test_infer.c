/* The operator table and inference: what follows, and what is refused with which sentence. */
#include "tests/testing.h"

#include <errno.h>
#include <pith/graph.h>

#include "libpith/graph/operator.h"

#define UNKNOWN   PITH_DIM_UNKNOWN
#define DIMS(...) (const int64_t[]){__VA_ARGS__}, (uint32_t) (sizeof((int64_t[]){__VA_ARGS__}) / 8)

/* One node after the other is built into it; values are named "v0", "v1", ... */
struct bench {
    struct pith_graph *graph;
    uint32_t inputs[8];
    size_t count;
    struct pith_error err;
};

static void bench_init(struct bench *bench, int64_t opset)
{
    *bench = (struct bench){0};
    assert_int_equal(pith_graph_new(&bench->graph, "test", NULL), 0);
    assert_int_equal(pith_graph_set_opset(bench->graph, "", opset), 0);
}

static uint32_t bench_input(struct bench *bench, int32_t dtype, const int64_t *dims, uint32_t rank)
{
    struct pith_shape shape = {.rank = rank};
    uint32_t value;

    memcpy(shape.dim, dims, rank * sizeof *dims);
    assert_ok(pith_graph_add_value(bench->graph, NULL, dtype, &shape, &value, &bench->err),
              &bench->err);
    assert_int_equal(pith_graph_add_input(bench->graph, value), 0);
    bench->inputs[bench->count++] = value;
    return value;
}

static uint32_t bench_ints(struct bench *bench, const int64_t *ints, uint32_t count)
{
    struct pith_tensor tensor = {.dtype = PITH_INT64,
                                 .shape = {.rank = 1, .dim = {count}},
                                 .data = (void *) ints,
                                 .bytes = count * sizeof *ints};
    uint32_t value;

    assert_ok(pith_graph_add_constant(bench->graph, NULL, &tensor, &value, &bench->err),
              &bench->err);
    bench->inputs[bench->count++] = value;
    return value;
}

static uint32_t bench_floats(struct bench *bench, const float *floats, uint32_t count)
{
    struct pith_tensor tensor = {.dtype = PITH_FLOAT32,
                                 .shape = {.rank = 1, .dim = {count}},
                                 .data = (void *) floats,
                                 .bytes = count * sizeof *floats};
    uint32_t value;

    assert_ok(pith_graph_add_constant(bench->graph, NULL, &tensor, &value, &bench->err),
              &bench->err);
    bench->inputs[bench->count++] = value;
    return value;
}

/* Takes the inputs collected so far; returns the node. */
static uint32_t bench_node(struct bench *bench, const char *op, const char *name, uint32_t *out)
{
    uint32_t node;

    assert_ok(pith_graph_add_value(bench->graph, NULL, PITH_DTYPE_NONE, NULL, out, &bench->err),
              &bench->err);
    assert_ok(pith_graph_add_node(bench->graph, "", op, name, bench->inputs, bench->count, out, 1,
                                  &node, &bench->err),
              &bench->err);
    bench->count = 0;
    return node;
}

static void bench_push(struct bench *bench, uint32_t value)
{
    bench->inputs[bench->count++] = value;
}

static void bench_set_ints(struct bench *bench, uint32_t node, const char *name,
                           const int64_t *ints, uint32_t count)
{
    assert_int_equal(pith_node_set_ints(bench->graph, node, name, ints, count), 0);
}

static void expect_shape(struct bench *bench, uint32_t value, const char *text)
{
    const struct pith_shape *shape;
    char got[PITH_SHAPE_TEXT_BYTES];

    assert_int_equal(pith_graph_add_output(bench->graph, value), 0);
    assert_ok(pith_graph_infer(bench->graph, NULL, &bench->err), &bench->err);
    shape = pith_value_shape(bench->graph, value);
    assert_string_equal(shape ? pith_shape_text(shape, got, sizeof got) : "none", text);
    pith_graph_free(bench->graph);
}

static void expect_refusal(struct bench *bench, const char *sentence)
{
    int rc = pith_graph_infer(bench->graph, NULL, &bench->err);

    assert_int_equal(rc, bench->err.code);
    assert_string_equal(pith_error_text(&bench->err), sentence);
    assert_true(rc < 0);
    pith_graph_free(bench->graph);
}

/* ---- the table ---- */

static void table_is_sorted_and_its_rows_do_not_overlap(void **state)
{
    const struct pith_operator *last = pith_operator_at(0), *row;

    (void) state;
    for (size_t i = 1; (row = pith_operator_at(i)); last = row, i++) {
        int order = strcmp(last->name, row->name);

        assert_true(order < 0 || (order == 0 && last->until < row->since));
        assert_true(row->min_inputs <= row->max_inputs && row->min_outputs <= row->max_outputs);
        assert_ptr_equal(pith_operator_find("", row->name, row->since), row);
    }
}

static void table_finds_the_row_of_an_opset(void **state)
{
    (void) state;
    assert_int_equal(pith_operator_find("", "Slice", 9)->max_inputs, 1);
    assert_int_equal(pith_operator_find("ai.onnx", "Slice", 10)->max_inputs, 5);
    assert_null(pith_operator_find("", "Gelu2", 20));
    assert_null(pith_operator_find("com.microsoft", "Conv", 20));
    assert_null(pith_operator_find("", "LayerNormalization", 16));
    assert_true(pith_operator_exists("", "LayerNormalization"));
}

/* ---- refusals ---- */

static void conv_refuses_channels_that_differ(void **state)
{
    struct bench b;
    uint32_t y;

    (void) state;
    bench_init(&b, 13);
    bench_input(&b, PITH_FLOAT32, DIMS(1, 4, 8, 8));
    bench_input(&b, PITH_FLOAT32, DIMS(64, 3, 3, 3));
    bench_node(&b, "Conv", "conv1", &y);
    expect_refusal(
        &b,
        "node \"conv1\" (Conv): weight [64,3,3,3] has 3 input channels, the input [1,4,8,8] has 4");
}

static void conv_refuses_hostile_windows(void **state)
{
    static const struct {
        const char *attribute;
        int64_t values[4];
        uint32_t count;
        const char *sentence;
    } cases[] = {
        {"strides", {0, 1}, 2, "attribute strides has 0, which is outside 1 to 2147483647"},
        {"strides", {1}, 1, "attribute strides has 1 entries, 2 are needed"},
        {"dilations",
         {INT64_MAX, 1},
         2,
         "attribute dilations has 9223372036854775807, which is outside 1 to 2147483647"},
        {"dilations", {4, 1}, 2, "the kernel spans 9 along spatial axis 0, the padded input has 8"},
        {"pads", {-1, 0, 0, 0}, 4, "attribute pads has -1, which is outside 0 to 2147483647"},
        {"kernel_shape", {5, 3}, 2, "attribute kernel_shape has 5 where the weight has 3"},
    };

    (void) state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bench b;
        char sentence[256];
        uint32_t y, node;

        bench_init(&b, 13);
        bench_input(&b, PITH_FLOAT32, DIMS(1, 3, 8, 8));
        bench_input(&b, PITH_FLOAT32, DIMS(64, 3, 3, 3));
        node = bench_node(&b, "Conv", "c", &y);
        bench_set_ints(&b, node, cases[i].attribute, cases[i].values, cases[i].count);
        (void) snprintf(sentence, sizeof sentence, "node \"c\" (Conv): %s", cases[i].sentence);
        expect_refusal(&b, sentence);
    }
}

static void node_refuses_counts_types_and_unknown_operators(void **state)
{
    struct bench b;
    uint32_t y;

    (void) state;
    bench_init(&b, 13);
    bench_input(&b, PITH_FLOAT32, DIMS(2));
    bench_node(&b, "Add", "a", &y);
    expect_refusal(&b, "node \"a\" (Add): it has 1 inputs, at opset 13 it takes 2 to 2");

    bench_init(&b, 13);
    bench_input(&b, PITH_BOOL, DIMS(2));
    bench_node(&b, "Relu", "r", &y);
    expect_refusal(&b, "node \"r\" (Relu): it takes no input of type bool");

    bench_init(&b, 13);
    bench_input(&b, PITH_FLOAT32, DIMS(2));
    bench_input(&b, PITH_INT64, DIMS(2));
    bench_node(&b, "Add", "a", &y);
    expect_refusal(
        &b, "node \"a\" (Add): input 1 is int64 and the first is float32, they must be the same");

    bench_init(&b, 13);
    bench_input(&b, PITH_FLOAT32, DIMS(2));
    bench_node(&b, "Frobnicate", "f", &y);
    expect_refusal(&b, "node \"f\" (Frobnicate): the operator Frobnicate is not known");

    bench_init(&b, 13);
    bench_input(&b, PITH_FLOAT32, DIMS(2));
    bench_node(&b, "Gelu", "", &y);
    assert_true(pith_graph_infer(b.graph, NULL, &b.err) ==
                0); /* older models may use what came later */
    pith_graph_free(b.graph);
}

static void shapes_that_contradict_are_refused(void **state)
{
    struct bench b;
    uint32_t y, node;

    (void) state;
    bench_init(&b, 13);
    bench_input(&b, PITH_FLOAT32, DIMS(2, 3));
    bench_input(&b, PITH_FLOAT32, DIMS(2, 4));
    bench_node(&b, "Add", "a", &y);
    expect_refusal(&b, "node \"a\" (Add): shapes [2,3] and [2,4] do not broadcast");

    bench_init(&b, 13);
    bench_input(&b, PITH_FLOAT32, DIMS(2, 3));
    bench_input(&b, PITH_FLOAT32, DIMS(4, 5));
    bench_node(&b, "MatMul", "m", &y);
    expect_refusal(&b,
                   "node \"m\" (MatMul): [2,3] times [4,5]: the inner dimensions 3 and 4 differ");

    bench_init(&b, 13);
    bench_input(&b, PITH_FLOAT32, DIMS(2, 3));
    bench_ints(&b, DIMS(4, -1));
    bench_node(&b, "Reshape", "r", &y);
    expect_refusal(&b,
                   "node \"r\" (Reshape): [2,3] has 6 elements, which do not fit the shape [4,?]");

    bench_init(&b, 13);
    bench_input(&b, PITH_FLOAT32, DIMS(2, 3));
    bench_ints(&b, DIMS(5));
    node = bench_node(&b, "Gather", "g", &y);
    assert_int_equal(pith_node_set_int(b.graph, node, "axis", 1), 0);
    expect_refusal(&b, "node \"g\" (Gather): index 5 is outside the 3 there are");

    bench_init(&b, 13);
    bench_input(&b, PITH_FLOAT32, DIMS(2, 3));
    bench_input(&b, PITH_FLOAT32, DIMS(3, 3));
    node = bench_node(&b, "Concat", "c", &y);
    assert_int_equal(pith_node_set_int(b.graph, node, "axis", 1), 0);
    expect_refusal(&b,
                   "node \"c\" (Concat): input 1 [3,3] and the first [2,3] differ along axis 0");
}

static void sizes_past_the_limit_are_refused(void **state)
{
    struct bench b;
    uint32_t y;

    (void) state;
    bench_init(&b, 13);
    bench_input(&b, PITH_FLOAT32, DIMS(1, 1));
    bench_ints(&b, DIMS(INT64_MAX, INT64_MAX));
    bench_node(&b, "Tile", "t", &y);
    expect_refusal(&b, "node \"t\" (Tile): a size of 1 times 9223372036854775807 is too large");

    bench_init(&b, 13);
    bench_ints(&b, DIMS(1 << 20, 1 << 20, 1 << 20));
    bench_node(&b, "ConstantOfShape", "c", &y);
    expect_refusal(
        &b,
        "node \"c\" (ConstantOfShape): output 0 of shape [1048576,1048576,1048576] is too large");

    bench_init(&b, 13);
    bench_input(&b, PITH_FLOAT32, DIMS(4, 4));
    bench_ints(&b, DIMS(INT64_MAX, 0, INT64_MAX, 0));
    bench_node(&b, "Pad", "p", &y);
    expect_refusal(&b,
                   "node \"p\" (Pad): pads of 9223372036854775807 and 9223372036854775807 leave "
                   "nothing of 4 along axis 0");

    bench_init(&b, 13);
    bench_input(&b, PITH_FLOAT32, DIMS(1, 1, 4, 4));
    bench_floats(&b, (const float[]){0}, 0);
    bench_floats(&b, (const float[]){1, 1, 1e30f, 1}, 4);
    bench_node(&b, "Resize", "r", &y);
    expect_refusal(&b, "node \"r\" (Resize): 4 scaled by 1e+30 is too large");
}

/* ---- what follows ---- */

static void slice_clamps_as_onnx_says(void **state)
{
    static const struct {
        int64_t start, end, step;
        const char *shape;
    } cases[] = {
        {0, INT64_MAX, 1, "[10]"},
        {-3, INT64_MAX, 1, "[3]"},
        {INT64_MIN, 4, 1, "[4]"},
        {9, INT64_MIN, -1, "[10]"},
        {-1, -11, -3, "[4]"},
        {5, 5, 1, "[0]"},
        {8, 2, 1, "[0]"},
        {0, 10, INT64_MAX, "[1]"},
        {9, 0, INT64_MIN, "[1]"},
        {100, 200, 1, "[0]"},
        {INT64_MAX, INT64_MIN, -2, "[5]"},
    };

    (void) state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bench b;
        uint32_t y;

        bench_init(&b, 13);
        bench_input(&b, PITH_FLOAT32, DIMS(10));
        bench_ints(&b, &cases[i].start, 1);
        bench_ints(&b, &cases[i].end, 1);
        bench_ints(&b, DIMS(0));
        bench_ints(&b, &cases[i].step, 1);
        bench_node(&b, "Slice", "s", &y);
        expect_shape(&b, y, cases[i].shape);
    }
}

static void conv_and_pool_follow_their_windows(void **state)
{
    struct bench b;
    uint32_t y, node;

    (void) state;
    bench_init(&b, 13);
    bench_input(&b, PITH_FLOAT32, DIMS(UNKNOWN, 3, 9, 8));
    bench_input(&b, PITH_FLOAT32, DIMS(16, 3, 3, 3));
    node = bench_node(&b, "Conv", "c", &y);
    bench_set_ints(&b, node, "pads", DIMS(1, 1, 1, 1));
    bench_set_ints(&b, node, "strides", DIMS(2, 2));
    expect_shape(&b, y, "[?,16,5,4]");

    bench_init(&b, 13);
    bench_input(&b, PITH_FLOAT32, DIMS(1, 3, 7, 7));
    node = bench_node(&b, "MaxPool", "p", &y);
    bench_set_ints(&b, node, "kernel_shape", DIMS(2, 2));
    bench_set_ints(&b, node, "strides", DIMS(2, 2));
    assert_int_equal(pith_node_set_int(b.graph, node, "ceil_mode", 1), 0);
    expect_shape(&b, y, "[1,3,4,4]");

    bench_init(&b, 13);
    bench_input(&b, PITH_FLOAT32, DIMS(1, 3, 4, 4));
    bench_input(&b, PITH_FLOAT32, DIMS(3, 2, 3, 3));
    node = bench_node(&b, "ConvTranspose", "t", &y);
    bench_set_ints(&b, node, "strides", DIMS(2, 2));
    bench_set_ints(&b, node, "output_padding", DIMS(1, 1));
    expect_shape(&b, y, "[1,2,10,10]");
}

/* Shape -> Gather -> Concat with -1 -> Reshape, as exporters write a flatten. */
static void reshape_follows_shape_arithmetic(void **state)
{
    struct bench b;
    uint32_t x, shape, batch, target, y, node;

    (void) state;
    bench_init(&b, 13);
    x = bench_input(&b, PITH_FLOAT32, DIMS(UNKNOWN, 3, 4, 5));
    bench_node(&b, "Shape", "", &shape);
    bench_push(&b, shape);
    bench_ints(&b, DIMS(0));
    bench_node(&b, "Gather", "", &batch);
    bench_push(&b, batch);
    bench_ints(&b, DIMS(12, -1));
    node = bench_node(&b, "Concat", "", &target);
    assert_int_equal(pith_node_set_int(b.graph, node, "axis", 0), 0);
    bench_push(&b, x);
    bench_push(&b, target);
    bench_node(&b, "Reshape", "", &y);
    expect_shape(&b, y, "[?,12,?]");
}

static void reshape_cancels_what_is_copied(void **state)
{
    struct bench b;
    uint32_t y;

    (void) state;
    bench_init(&b, 13);
    bench_input(&b, PITH_FLOAT32, DIMS(UNKNOWN, 3, 4, 5));
    bench_ints(&b, DIMS(0, 12, -1));
    bench_node(&b, "Reshape", "", &y);
    expect_shape(&b, y, "[?,12,5]");
}

static void input_shapes_replace_the_declared_ones(void **state)
{
    struct bench b;
    struct pith_shape shape = pith_shape_of(2, (const int64_t[]){7, 3});
    uint32_t y;

    (void) state;
    bench_init(&b, 13);
    bench_input(&b, PITH_FLOAT32, DIMS(UNKNOWN, 3));
    bench_node(&b, "Relu", "", &y);
    assert_int_equal(pith_graph_add_output(b.graph, y), 0);
    assert_ok(pith_graph_infer(b.graph, &shape, &b.err), &b.err);
    assert_int_equal(pith_value_shape(b.graph, y)->dim[0], 7);
    shape.dim[0] = UNKNOWN;
    assert_int_equal(pith_graph_infer(b.graph, &shape, &b.err), -EINVAL);
    pith_graph_free(b.graph);
}

static void division_by_zero_in_shapes_is_just_not_known(void **state)
{
    struct bench b;
    uint32_t shape, y;

    (void) state;
    bench_init(&b, 13);
    bench_ints(&b, DIMS(INT64_MIN + 1, 6, 5));
    bench_ints(&b, DIMS(-1, 0, 2));
    bench_node(&b, "Div", "", &shape);
    bench_push(&b, shape);
    bench_node(&b, "Identity", "", &y);
    expect_shape(&b, y, "[3]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_is_sorted_and_its_rows_do_not_overlap),
        cmocka_unit_test(table_finds_the_row_of_an_opset),
        cmocka_unit_test(conv_refuses_channels_that_differ),
        cmocka_unit_test(conv_refuses_hostile_windows),
        cmocka_unit_test(node_refuses_counts_types_and_unknown_operators),
        cmocka_unit_test(shapes_that_contradict_are_refused),
        cmocka_unit_test(sizes_past_the_limit_are_refused),
        cmocka_unit_test(slice_clamps_as_onnx_says),
        cmocka_unit_test(conv_and_pool_follow_their_windows),
        cmocka_unit_test(reshape_follows_shape_arithmetic),
        cmocka_unit_test(reshape_cancels_what_is_copied),
        cmocka_unit_test(input_shapes_replace_the_declared_ones),
        cmocka_unit_test(division_by_zero_in_shapes_is_just_not_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
