/* Technique quantize on what graphs are made of beside plain layers: weights that are integers already,
 * that come through other nodes, that branches capture or two layers share, and results of branches. */
#include "tests/unit/quantizing.h"

static uint64_t written_bytes(const struct pith_graph *graph)
{
    struct pith_buffer file = {0};

    assert_ok(pith_onnx_write(graph, &file, &err), &err);
    uint64_t bytes = file.bytes;

    pith_buffer_done(&file);
    return bytes;
}

static uint32_t list(struct pith_graph *graph, const int64_t *entries, int64_t count)
{
    struct pith_tensor tensor;
    uint32_t value;

    assert_ok(pith_tensor_alloc(&tensor, PITH_INT64, &(struct pith_shape){1, {count}}, &err), &err);
    memcpy(tensor.data, entries, tensor.bytes);
    assert_ok(pith_graph_add_constant(graph, NULL, &tensor, &value, &err), &err);
    pith_tensor_free(&tensor);
    return value;
}

/* Grids on a weight and, where it is one, its layer's input. */
static void set_grid(struct pith_graph *graph, uint32_t value)
{
    const struct pith_quantization q = {.dtype = PITH_INT8,
                                        .count = 1,
                                        .scale = (const float[]){0.01f},
                                        .zero_point = (const int32_t[]){0}};

    assert_ok(pith_value_set_quantization(graph, value, &q), &err);
}

static uint32_t integers(struct pith_graph *graph, int64_t rows, int64_t columns)
{
    struct pith_tensor tensor;
    uint32_t value;

    assert_ok(pith_tensor_alloc(&tensor, PITH_INT8, &(struct pith_shape){2, {rows, columns}}, &err),
              &err);
    for (int64_t i = 0; i < rows * columns; i++)
        ((int8_t *) tensor.data)[i] = (int8_t) (net_uniform() * 100);
    assert_ok(pith_graph_add_value(graph, NULL, PITH_FLOAT32, &tensor.shape, &value, &err), &err);
    set_grid(graph, value);
    assert_ok(pith_value_take_constant(graph, value, &tensor), &err);
    return value;
}

static void quantize_says_why_nothing_was_quantized(void **unused)
{
    static const char *const told[] = {"the model is quantized already", "no layer of the model has",
                                       "stays float, \"small\" as so few weights"};

    (void) unused;
    for (int i = 0; i < 3; i++) {
        uint32_t x;
        struct pith_graph *graph = begin((int64_t[]){1, 32}, 2, &x);
        struct applied applied;

        if (i == 0) {
            set_grid(graph, x);
            x = NODE(graph, "MatMul", "dense", NULL, x, integers(graph, 32, 24));
        } else if (i == 2) {
            x = NODE(graph, "MatMul", "small", NULL, x, CONSTANT(graph, 0.5f, 32, 2));
        }
        finish(graph, NODE(graph, "Tanh", "tanh", NULL, x));
        /* The first two want no samples, as no layer would take them. */
        assert_ok(apply_to(graph, i == 2 ? "{\"activations\": \"float32\"}" : "{}", false, &applied),
                  &err);
        const char *note = json_string_value(json_object_get(applied.report, "note"));

        assert_non_null(note);
        if (!strstr(note, told[i]))
            fail_msg("told \"%s\", not \"%s\"", note, told[i]);
        done(&applied);
        pith_graph_free(graph);
    }
}

/* Of weights that came as small as they were asked for. */
static void quantize_says_what_stays_as_it_came(void **unused)
{
    static const char *const came[] = {"{\"activations\": \"float32\"}", "{\"weights\": \"float16\"}"},
                             *const told[] = {"weights of 1 of its layers are integers", "are floats of 16 bits already"};

    (void) unused;
    for (int i = 0; i < 2; i++) {
        uint32_t x;
        struct pith_graph *graph = begin((int64_t[]){1, 32}, 2, &x);
        struct applied first, again;

        finish(graph, NODE(graph, "MatMul", "dense", NULL, x, CONSTANT(graph, 0.5f, 32, 24)));
        assert_ok(apply_to(graph, came[i], false, &first), &err);
        assert_null(json_object_get(first.report, "note"));
        assert_ok(apply_to(first.graph, "{\"weights\": \"float16\"}", false, &again), &err);
        const char *note = json_string_value(json_object_get(again.report, "note"));

        assert_non_null(note);
        if (!strstr(note, told[i]))
            fail_msg("told \"%s\", not \"%s\"", note, told[i]);
        done(&again);
        done(&first);
        pith_graph_free(graph);
    }
}

/* What is left in floats is quantized all the same, and then there is no note. */
static void quantize_goes_on_where_some_layers_are_integers(void **unused)
{
    uint32_t x;
    struct pith_graph *graph = begin((int64_t[]){1, 32}, 2, &x);
    struct applied applied;

    (void) unused;
    set_grid(graph, x);
    uint32_t y = NODE(graph, "MatMul", "whole", NULL, x, integers(graph, 32, 24));

    finish(graph, NODE(graph, "MatMul", "dense", NULL, NODE(graph, "Relu", "relu", NULL, y),
                       CONSTANT(graph, 0.5f, 24, 16)));
    assert_ok(apply_to(graph, "{}", true, &applied), &err);
    assert_string_equal(form_of(applied.report, "dense"), "int8");
    assert_null(json_object_get(applied.report, "note"));
    done(&applied);
    pith_graph_free(graph);
}

/* What a layer gives goes into a node whose first output is left out, and what that gives into a layer. */
static void quantize_passes_nodes_that_leave_their_first_output_out(void **unused)
{
    uint32_t x, node;
    struct pith_graph *graph = begin((int64_t[]){4, 3, 8}, 3, &x);
    uint32_t in[3] = {NODE(graph, "Conv", "conv", NULL, x, CONSTANT(graph, 0.5f, 6, 3, 1)),
                      CONSTANT(graph, 0.5f, 1, 20, 8), CONSTANT(graph, 0.5f, 1, 20, 5)},
             out[2] = {PITH_NO_VALUE};
    struct applied applied;

    (void) unused;
    assert_ok(pith_graph_add_value(graph, "state", PITH_FLOAT32, NULL, &out[1], &err), &err);
    assert_ok(pith_graph_add_node(graph, "", "LSTM", "lstm", in, 3, out, 2, &node, &err), &err);
    assert_int_equal(pith_node_set_int(graph, node, "hidden_size", 5), 0);
    finish(graph, NODE(graph, "MatMul", "dense", NULL, out[1], CONSTANT(graph, 0.5f, 5, 16)));
    assert_ok(apply_to(graph, "{\"equalize\": \"on\"}", true, &applied), &err);
    assert_string_equal(form_of(applied.report, "conv"), "int8");
    assert_true(error_of(&applied) < 0.1);
    done(&applied);
    pith_graph_free(graph);
}

/* Weights of [32,48] behind nodes that fold to them. */
static void quantize_takes_weights_through_nodes_that_turn_them(void **unused)
{
    uint32_t x, node;
    struct pith_graph *graph = begin((int64_t[]){1, 32}, 2, &x);
    struct applied applied;

    (void) unused;
    uint32_t w = NODE(graph, "Transpose", "turned", NULL, CONSTANT(graph, 0.3f, 48, 32));
    uint32_t y = NODE(graph, "Tanh", "tanh", NULL, NODE(graph, "MatMul", "first", NULL, x, w));

    w = NODE(graph, "Reshape", "shaped", NULL, CONSTANT(graph, 0.3f, 48 * 20), /* then turned */
             list(graph, (int64_t[]){4, 20, 12}, 3));
    w = NODE(graph, "Transpose", "shaped_turned", &node, w);
    assert_ok(pith_node_set_ints(graph, node, "perm", (int64_t[]){0, 2, 1}, 3), &err);
    w = NODE(graph, "Reshape", "flat", NULL, w, list(graph, (int64_t[]){48, 20}, 2));
    y = NODE(graph, "MatMul", "second", NULL, y, w);
    finish(graph, y);
    assert_ok(apply_to(graph, "{}", true, &applied), &err);
    assert_string_equal(form_of(applied.report, "first"), "int8");
    assert_string_equal(form_of(applied.report, "second"), "int8");
    assert_true(error_of(&applied) > 0 && error_of(&applied) < 0.05); /* of the right elements */
    for (uint32_t i = 0; i < pith_graph_node_limit(applied.graph); i++)
        assert_true(!pith_node_exists(applied.graph, i) ||
                    (strcmp(pith_node_op(applied.graph, i), "Transpose") != 0 &&
                     strcmp(pith_node_op(applied.graph, i), "Reshape") != 0));
    done(&applied);
    assert_ok(apply_to(graph, "{\"keep\": [\"first\"]}", true, &applied), &err);
    (void) find_node(applied.graph, "turned");
    done(&applied);
    pith_graph_free(graph);
}

/* An embedding that is the last layer's weights too, turned, is in the file once. */
static void quantize_stores_tied_weights_once(void **unused)
{
    static const char *const options[] = {"{}", "{\"weights\": \"float16\"}"};
    const double ratios[] = {0.4, 0.6};
    uint32_t x, node;
    struct pith_graph *graph = begin((int64_t[]){1, 6}, 2, &x);
    struct pith_tensor limits;

    (void) unused;
    assert_ok(pith_tensor_alloc(&limits, PITH_FLOAT32, &(struct pith_shape){0}, &err), &err);
    *(float *) limits.data = 40;
    uint32_t table = CONSTANT(graph, 0.5f, 64, 32), ids, scale;

    assert_ok(pith_graph_add_constant(graph, NULL, &limits, &scale, &err), &err);
    ids = NODE(graph, "Cast", "ids", &node,
               NODE(graph, "Mul", "scaled", NULL, NODE(graph, "Abs", "abs", NULL, x), scale));
    assert_ok(pith_node_set_int(graph, node, "to", PITH_INT64), &err);
    assert_ok(pith_value_set_type(graph, ids, PITH_INT64, NULL), &err);
    uint32_t y = NODE(graph, "Gather", "embedding", NULL, table, ids);

    y = NODE(graph, "Tanh", "tanh", NULL, y);
    finish(graph, NODE(graph, "MatMul", "last", NULL, y, NODE(graph, "Transpose", "tied", NULL, table)));
    for (int i = 0; i < 2; i++) {
        struct applied applied;

        assert_ok(apply_to(graph, options[i], true, &applied), &err);
        assert_true((double) written_bytes(applied.graph) < ratios[i] * (double) written_bytes(graph));
        done(&applied);
    }
    pith_tensor_free(&limits);
    pith_graph_free(graph);
}

/* One weight, two layers, two axes: halves are the same along both. */
static void quantize_stores_shared_halves_once(void **unused)
{
    uint32_t x, node;
    struct pith_graph *graph = begin((int64_t[]){1, 32}, 2, &x);
    uint32_t w = CONSTANT(graph, 0.3f, 32, 32);
    struct applied applied;

    (void) unused;
    uint32_t y = NODE(graph, "Gemm", "there", NULL, x, w);

    y = NODE(graph, "Gemm", "back", &node, NODE(graph, "Tanh", "tanh", NULL, y), w);
    assert_ok(pith_node_set_int(graph, node, "transB", 1), &err);
    finish(graph, y);
    assert_ok(apply_to(graph, "{\"weights\": \"float16\"}", true, &applied), &err);
    assert_int_equal(pith_node_input(applied.graph, find_node(applied.graph, "there"), 1),
                     pith_node_input(applied.graph, find_node(applied.graph, "back"), 1));
    done(&applied);
    assert_ok(apply_to(graph, "{}", true, &applied), &err); /* scales lie along one axis each */
    for (int i = 0; i < 2; i++) {
        uint32_t used = pith_node_input(
            applied.graph, find_node(applied.graph, i ? "back" : "there"), 1);

        assert_int_equal(pith_value_quantization(applied.graph, used)->axis, i ? 0 : 1);
    }
    done(&applied);
    pith_graph_free(graph);
}

static void quantize_keeps_weights_float_that_halves_cannot_hold(void **unused)
{
    const float sizes[] = {1e-30f, 1e30f, 0.1f};

    (void) unused;
    for (int i = 0; i < 3; i++) {
        uint32_t x;
        struct pith_graph *graph = begin((int64_t[]){1, 32}, 2, &x);
        struct applied applied;

        finish(graph, NODE(graph, "MatMul", "dense", NULL, x, CONSTANT(graph, sizes[i], 32, 16)));
        assert_ok(apply_to(graph, "{\"weights\": \"float16\"}", true, &applied), &err);
        assert_string_equal(form_of(applied.report, "dense"), i < 2 ? "float32" : "weights-float16");
        done(&applied);
        pith_graph_free(graph);
    }
}

/* A layer computed in 16-bit floats is one like any other, its weights turned or not. */
static void quantize_takes_layers_of_halves(void **unused)
{
    const struct pith_shape shape = {2, {16, 32}};
    uint32_t x, node, w;
    struct pith_graph *graph = begin((int64_t[]){1, 32}, 2, &x);
    struct pith_tensor halves;
    struct applied applied;

    (void) unused;
    assert_ok(pith_tensor_alloc(&halves, PITH_FLOAT16, &shape, &err), &err);
    for (int64_t i = 0; i < 16 * 32; i++)
        pith_tensor_set(&halves, i, (double) ((i * 7) % 15 - 7) / 16);
    assert_ok(pith_graph_add_constant(graph, NULL, &halves, &w, &err), &err);
    pith_tensor_free(&halves);
    uint32_t narrow = NODE(graph, "Cast", "narrow", &node, x);

    assert_ok(pith_node_set_int(graph, node, "to", PITH_FLOAT16), &err);
    uint32_t turned = NODE(graph, "Transpose", "turned", NULL, w),
             y = NODE(graph, "MatMul", "dense", NULL, narrow, turned);

    assert_ok(pith_value_set_type(graph, narrow, PITH_FLOAT16, NULL), &err);
    assert_ok(pith_value_set_type(graph, turned, PITH_FLOAT16, NULL), &err);
    assert_ok(pith_value_set_type(graph, y, PITH_FLOAT16, NULL), &err);
    y = NODE(graph, "Cast", "wide", &node, y);
    assert_ok(pith_node_set_int(graph, node, "to", PITH_FLOAT32), &err);
    finish(graph, y);
    assert_ok(apply_to(graph, "{\"activations\": \"float32\"}", false, &applied), &err);
    assert_string_equal(form_of(applied.report, "dense"), "weights-int8");
    assert_int_equal(pith_value_dtype(applied.graph, pith_graph_output(applied.graph, 0)),
                     PITH_FLOAT32);
    done(&applied);
    assert_ok(apply_to(graph, "{}", true, &applied), &err);
    assert_string_equal(form_of(applied.report, "dense"), "int8");
    assert_true(error_of(&applied) > 0 && error_of(&applied) < 0.05);
    done(&applied);
    pith_graph_free(graph);
}

/* conv, Add, Relu, transposed conv in two groups, Add; what is added fits channels, or doesn't. */
static struct pith_graph *added_net(bool fits)
{
    uint32_t x, node;
    struct pith_graph *graph = begin((int64_t[]){1, 3, 6, 6}, 4, &x);
    uint32_t y = NODE(graph, "Conv", "conv", NULL, x, CONSTANT(graph, 0.3f, 8, 3, 3, 3));

    y = NODE(graph, "Add", "plus", NULL,
             fits ? CONSTANT(graph, 0.5f, 8, 1, 1) : CONSTANT(graph, 0.5f, 4, 4), y);
    y = NODE(graph, "Relu", "relu", NULL, y);
    y = NODE(graph, "ConvTranspose", "wider", &node, y, CONSTANT(graph, 0.3f, 8, 3, 2, 2),
             CONSTANT(graph, 0.3f, 6));
    assert_ok(pith_node_set_int(graph, node, "group", 2), &err);
    finish(graph, NODE(graph, "Add", "more", NULL, y,
                       fits ? CONSTANT(graph, 0.5f, 1, 6, 1, 1) : CONSTANT(graph, 0.5f, 1, 1, 5, 5)));
    return graph;
}

static void quantize_makes_biases_of_what_is_added_to_channels(void **unused)
{
    (void) unused;
    for (int fits = 0; fits < 2; fits++) {
        struct pith_graph *graph = added_net(fits);
        struct applied applied;

        assert_ok(apply_to(graph, "{}", true, &applied), &err);
        assert_int_equal(json_integer_value(json_object_get(applied.report, "folded_biases")),
                         fits ? 2 : 0);
        assert_true(error_of(&applied) > 0 && error_of(&applied) < 0.05);
        assert_string_equal(pith_value_name(applied.graph, pith_graph_output(applied.graph, 0)),
                            "more");
        if (fits)
            assert_int_equal(pith_value_quantization(
                                 applied.graph,
                                 pith_node_input(applied.graph, find_node(applied.graph, "conv"), 2))
                                 ->dtype,
                             PITH_INT32);
        done(&applied);
        pith_graph_free(graph);
    }
}

/* A dead channel with a bias: 0.5 are 5e13 steps of the grid that its weights alone would have. */
static void quantize_leaves_room_for_biases_of_tiny_weights(void **unused)
{
    static const char *const options[] = {"{\"activations\": \"int16\"}",
                                          "{\"activations\": \"int16\", \"per_channel\": false}"};
    uint32_t x;
    struct pith_graph *graph = begin((int64_t[]){1, 32}, 2, &x);
    uint32_t w = CONSTANT(graph, 0.3f, 32, 16), b = CONSTANT(graph, 0.5f, 16);
    struct pith_tensor tiny;

    (void) unused;
    assert_ok(pith_tensor_copy(&tiny, pith_value_constant(graph, w), &err), &err);
    for (int64_t i = 0; i < 32; i++)
        ((float *) tiny.data)[16 * i + 3] *= 1e-8f;
    assert_ok(pith_value_set_constant(graph, w, &tiny), &err);
    pith_tensor_free(&tiny);
    finish(graph, NODE(graph, "Gemm", "dense", NULL, x, w, b));
    for (int i = 0; i < 2; i++) {
        struct applied applied;

        assert_ok(apply_to(graph, options[i], true, &applied), &err);
        assert_string_equal(form_of(applied.report, "dense"), "w8a16");
        const struct pith_quantization *q = pith_value_quantization(
            applied.graph,
            pith_node_input(applied.graph, find_node(applied.graph, "dense"), 2));

        assert_non_null(q);
        assert_int_equal(q->dtype, PITH_INT32);
        assert_true(error_of(&applied) < 0.02);
        done(&applied);
    }
    pith_graph_free(graph);
}

static void add_branch(struct pith_graph *graph, uint32_t node, const char *name, const char *op)
{
    struct pith_graph *inside;
    uint32_t x = pith_graph_input(graph, 0), taken;

    assert_ok(pith_graph_new(&inside, op, &err), &err);
    assert_ok(pith_node_set_graph(graph, node, name, inside), &err);
    inside = pith_node_edit_graph(graph, node, name);
    assert_ok(pith_graph_add_value(inside, pith_value_name(graph, x), PITH_FLOAT32,
                                   pith_value_shape(graph, x), &taken, &err),
              &err);
    assert_ok(pith_graph_add_capture(inside, taken, x), &err);
    assert_ok(pith_graph_add_output(inside, NODE(inside, op, "given", NULL, taken)), &err);
}

/* A layer behind an If takes integers, which the file and the engine round behind the node. */
static void quantize_rounds_what_branches_give(void **unused)
{
    uint32_t x, node;
    struct pith_graph *graph = begin((int64_t[]){1, 32}, 2, &x);
    struct applied applied;
    struct pith_graph *back;
    struct pith_buffer file = {0};

    (void) unused;
    uint32_t sum = NODE(graph, "ReduceSum", "sum", &node, x), no = CONSTANT(graph, 0, 1), more;

    assert_ok(pith_node_set_int(graph, node, "keepdims", 0), &err);
    more = NODE(graph, "Greater", "more", NULL, sum, NODE(graph, "Squeeze", "none", NULL, no));
    assert_ok(pith_value_set_type(graph, more, PITH_BOOL, NULL), &err);
    uint32_t y = NODE(graph, "If", "if", &node, more);

    add_branch(graph, node, "then_branch", "Tanh");
    add_branch(graph, node, "else_branch", "Sigmoid");
    finish(graph, NODE(graph, "MatMul", "dense", NULL, y, CONSTANT(graph, 0.5f, 32, 16)));
    assert_ok(apply_to(graph, "{}", true, &applied), &err);
    assert_string_equal(form_of(applied.report, "dense"), "int8");
    assert_non_null(grid_of(applied.graph, "if"));
    assert_true(error_of(&applied) > 0 && error_of(&applied) < 0.05);
    assert_ok(pith_onnx_write(applied.graph, &file, &err), &err);
    assert_ok(pith_graph_parse(&back, file.data, file.bytes, &err), &err);
    assert_non_null(grid_of(back, "if"));
    pith_graph_free(back);
    pith_buffer_done(&file);
    done(&applied);
    pith_graph_free(graph);
}

/* A few samples come near to the limit, and room for further ones ends there: a grid that reached past it would not stand for the
 * Clip any more, which runtimes then leave out. Of a group each member's limits count. */
static void quantize_leaves_no_room_past_limits(void **unused)
{
    static const char *const activations[] = {"int8", "uint8", "int16"};

    (void) unused;
    for (int i = 0; i < 6; i++) {
        uint32_t x, y, limits[2];
        struct pith_graph *graph = begin((int64_t[]){1, 4, 6, 6}, 4, &x);
        struct applied applied;
        const struct pith_quantization *q;
        char options[64];

        for (int k = 0; k < 2; k++)
            assert_ok(pith_graph_add_constant(graph, NULL,
                                              &(struct pith_tensor){PITH_FLOAT32, {0}, &(float){6.0f * (float) k}, sizeof(float)},
                                              &limits[k], &err), &err);
        x = NODE(graph, "Conv", "a", NULL, x, CONSTANT(graph, i < 3 ? 2.5f : 6.0f, 8, 4, 1, 1));
        y = NODE(graph, "Clip", "clip", NULL, x, limits[0], limits[1]);
        if (i >= 3)
            y = NODE(graph, "Concat", "both", NULL, y, NODE(graph, "Relu", "relu", NULL, x));
        if (i >= 3)
            assert_ok(pith_node_set_int(graph, pith_value_producer(graph, y), "axis", 1), &err);
        finish(graph, NODE(graph, "Conv", "b", NULL, y, CONSTANT(graph, 0.5f, 8, i < 3 ? 8 : 16, 1, 1)));
        snprintf(options, sizeof options, "{\"activations\": \"%s\", \"max_error_ratio\": 0}", activations[i % 3]);
        assert_ok(apply_to(graph, options, true, &applied), &err);
        q = grid_of(applied.graph, "clip");
        assert_non_null(q);
        if (i % 3 < 2)
            assert_int_equal(q->zero_point[0], i % 3 ? 0 : -128);
        assert_int_equal((i % 3 < 2 ? 255.0F : 32767.0F) * q->scale[0] <= 6.0F, i < 3);
        assert_true((i % 3 < 2 ? 255.0F : 32767.0F) * q->scale[0] > 4.0F);
        done(&applied);
        pith_graph_free(graph);
    }
}

/* A shortcut that is pooled and given more channels, as detectors of faces have it: it comes on a grid to the layer that it is
 * added to. What lies between that layer and its Relu stays unrounded. */
static void quantize_lets_moved_shortcuts_stay_integers(void **unused)
{
    const int64_t pads[8] = {0, 0, 0, 0, 0, 4, 0, 0}, dims = 8;
    const struct pith_tensor list = {PITH_INT64, {1, {dims}}, (void *) (uintptr_t) pads, sizeof pads};
    uint32_t x, y, pool, conv, amounts;
    struct pith_graph *graph = begin((int64_t[]){1, 3, 8, 8}, 4, &x);
    struct applied applied;

    (void) unused;
    assert_ok(pith_graph_add_constant(graph, NULL, &list, &amounts, &err), &err);
    x = NODE(graph, "Conv", "first", NULL, x, CONSTANT(graph, 0.5f, 4, 3, 1, 1));
    x = NODE(graph, "Relu", "relu", NULL, x);
    y = NODE(graph, "Conv", "second", &conv, x, CONSTANT(graph, 0.5f, 8, 4, 2, 2));
    assert_ok(pith_node_set_ints(graph, conv, "strides", (int64_t[]){2, 2}, 2), &err);
    x = NODE(graph, "MaxPool", "pooled", &pool, x);
    assert_ok(pith_node_set_ints(graph, pool, "kernel_shape", (int64_t[]){2, 2}, 2), &err);
    assert_ok(pith_node_set_ints(graph, pool, "strides", (int64_t[]){2, 2}, 2), &err);
    x = NODE(graph, "Pad", "padded", NULL, x, amounts);
    x = NODE(graph, "Relu", "sum", NULL, NODE(graph, "Add", "added", NULL, y, x));
    finish(graph, NODE(graph, "Conv", "third", NULL, x, CONSTANT(graph, 0.5f, 4, 8, 1, 1)));
    assert_ok(apply_to(graph, "{\"max_error_ratio\": 0}", true, &applied), &err);
    assert_non_null(grid_of(applied.graph, "padded"));
    assert_non_null(grid_of(applied.graph, "pooled"));
    assert_null(grid_of(applied.graph, "second"));
    assert_null(grid_of(applied.graph, "added"));
    done(&applied);
    pith_graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantize_says_why_nothing_was_quantized),
        cmocka_unit_test(quantize_says_what_stays_as_it_came),
        cmocka_unit_test(quantize_goes_on_where_some_layers_are_integers),
        cmocka_unit_test(quantize_passes_nodes_that_leave_their_first_output_out),
        cmocka_unit_test(quantize_takes_weights_through_nodes_that_turn_them),
        cmocka_unit_test(quantize_stores_tied_weights_once),
        cmocka_unit_test(quantize_stores_shared_halves_once),
        cmocka_unit_test(quantize_keeps_weights_float_that_halves_cannot_hold),
        cmocka_unit_test(quantize_takes_layers_of_halves),
        cmocka_unit_test(quantize_rounds_what_branches_give),
        cmocka_unit_test(quantize_makes_biases_of_what_is_added_to_channels),
        cmocka_unit_test(quantize_leaves_room_for_biases_of_tiny_weights),
        cmocka_unit_test(quantize_lets_moved_shortcuts_stay_integers),
        cmocka_unit_test(quantize_leaves_no_room_past_limits),
    };

    return cmocka_run_group_tests_name("quantize", tests, open_plugins, close_plugins);
}
