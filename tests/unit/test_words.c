/* The engine native over values on grids of 16 bits with weights of 8: convolutions and products are integer, with the same
 * bits from every instruction set, and what executing Q and DQ gives. And, on grids of 8 bits too, what stands beside them. */
#include "tests/unit/each_isa.h"
#include "tests/unit/native_engine.h"

#include <math.h>

static int64_t pick(int64_t low, int64_t high)
{
    seed = seed * 1664525U + 1013904223U;
    return low + (int64_t) (seed >> 8) % (high - low + 1);
}

struct words {
    int64_t in, middle, out, size, kernel, stride;
    int32_t dtype; /* of activations */
    int64_t weight; /* the greatest magnitude */
    float bias;
};

static uint32_t add_weights(struct pith_graph *graph, int64_t out, int64_t in, int64_t kernel,
                            int64_t most)
{
    const struct pith_shape shape = {4, {out, in, kernel, kernel}};
    struct pith_error err = {0};
    struct pith_tensor w;
    float scale[256];
    int32_t zero[256] = {0};
    const struct pith_quantization q = {PITH_INT8, 0, 0, (size_t) out, scale, zero};
    uint32_t value;

    for (int64_t i = 0; i < out; i++)
        scale[i] = (float) pick(80, 120) * 0.012F / (float) (most * in * kernel);
    assert_ok(pith_tensor_alloc(&w, PITH_INT8, &shape, &err), &err);
    for (int64_t i = 0; i < pith_shape_elements(&shape); i++)
        pith_tensor_set(&w, i, (double) (pick(0, 3) ? most : pick(-most, most)));
    assert_ok(pith_graph_add_value(graph, NULL, PITH_FLOAT32, &shape, &value, &err), &err);
    assert_int_equal(pith_value_set_quantization(graph, value, &q), 0);
    assert_ok(pith_value_set_constant(graph, value, &w), &err);
    pith_tensor_free(&w);
    return value;
}

static uint32_t add_list(struct pith_graph *graph, int32_t dtype, int64_t count, const void *elements)
{
    struct pith_error err = {0};
    struct pith_tensor list;
    uint32_t value;

    assert_ok(pith_tensor_alloc(&list, dtype, &(struct pith_shape){1, {count}}, &err), &err);
    memcpy(list.data, elements, list.bytes);
    assert_ok(pith_graph_add_constant(graph, NULL, &list, &value, &err), &err);
    pith_tensor_free(&list);
    return value;
}

static uint32_t add_bias(struct pith_graph *graph, int64_t count, float size)
{
    float bias[256];

    for (int64_t i = 0; i < count; i++)
        bias[i] = (float) pick(-100, 100) * 0.01F * size;
    return add_list(graph, PITH_FLOAT32, count, bias);
}

static uint32_t conv(struct pith_graph *graph, const uint32_t *in, size_t count, int64_t pad,
                     int64_t stride, int64_t groups)
{
    uint32_t node, y = add_node(graph, "Conv", in, count, &node);

    assert_int_equal(pith_node_set_ints(graph, node, "pads", (const int64_t[]){pad, pad, pad, pad}, 4), 0);
    assert_int_equal(pith_node_set_ints(graph, node, "strides", (const int64_t[]){stride, stride}, 2), 0);
    assert_int_equal(pith_node_set_int(graph, node, "group", groups), 0);
    return y;
}

static void words_grid(struct pith_graph *graph, const struct words *n, uint32_t value, float scale, int32_t zero)
{
    if (n->dtype == PITH_UINT8 || n->dtype == PITH_INT8)
        set_grid(graph, value, n->dtype, scale * 256.0F,
                 zero / 256 + (n->dtype == PITH_UINT8 ? 128 : 0), 0, 0);
    else
        set_grid(graph, value, n->dtype, scale, n->dtype == PITH_UINT16 ? zero + 32768 : 0, 0, 0);
}

/* A convolution with Relu, a depthwise one, and a 1x1 one with a residual. */
static struct pith_graph *build_words(const struct words *n)
{
    const struct pith_shape shape = {4, {1, n->in, n->size, n->size}};
    uint32_t x, y, in[3];
    struct pith_graph *graph = begin_net(21, &shape, &x);

    words_grid(graph, n, x, 0.00004F, 501);
    in[0] = x;
    in[1] = add_weights(graph, n->middle, n->in, n->kernel, n->weight);
    in[2] = add_bias(graph, n->middle, n->bias);
    y = conv(graph, in, 3, n->kernel / 2, n->stride, 1);
    y = add_node(graph, "Relu", &y, 1, NULL);
    words_grid(graph, n, y, 0.00005F, -32768 + 32768 * (n->dtype == PITH_INT16));
    in[0] = y;
    in[1] = add_weights(graph, n->middle, 1, 3, n->weight);
    y = conv(graph, in, 2, 1, 1, n->middle);
    words_grid(graph, n, y, 0.00007F, -777);
    in[0] = y;
    in[1] = add_weights(graph, n->middle, n->middle, 1, n->weight);
    in[0] = conv(graph, in, 2, 0, 1, 1);
    words_grid(graph, n, in[0], 0.00009F, 99);
    in[1] = y;
    y = add_node(graph, "Add", in, 2, NULL);
    words_grid(graph, n, y, 0.0001F, 12);
    return end_net(graph, y);
}

static struct pith_tensor input_of(const struct words *n)
{
    const struct pith_shape shape = {4, {1, n->in, n->size, n->size}};
    struct pith_error err = {0};
    struct pith_tensor x;

    assert_ok(pith_tensor_alloc(&x, PITH_FLOAT32, &shape, &err), &err);
    for (int64_t i = 0; i < pith_shape_elements(&shape); i++)
        ((float *) x.data)[i] = (float) pick(pick(0, 2) ? 900 : -1000, 1000) * 0.0013F;
    return x;
}

static struct pith_tensor rows_of(const struct pith_shape *shape)
{
    struct pith_error err = {0};
    struct pith_tensor x;

    assert_ok(pith_tensor_alloc(&x, PITH_FLOAT32, shape, &err), &err);
    for (int64_t i = 0; i < pith_shape_elements(shape); i++)
        ((float *) x.data)[i] = (float) pick(-1000, 1000) * 0.0013F;
    return x;
}

/* A value one step off in the middle makes others so. step: of the output's grid. */
static void check_near(const struct pith_tensor *got, const struct pith_tensor *want, double step)
{
    const int64_t count = pith_shape_elements(&want->shape);
    int64_t different = 0;

    for (int64_t i = 0; i < count; i++) {
        const double steps = fabs(pith_tensor_get(got, i) - pith_tensor_get(want, i)) / step;

        assert_true(steps < 3.01);
        different += steps > 0.5;
    }
    assert_true(different * 3 <= count);
}

/* step: of the output's grid; wanted: the kernel of integers; unwanted: those of floats, NULL behind the last. */
static void check_graph(struct pith_graph *graph, struct pith_tensor *x, double step, const char *wanted,
                        const char *const *unwanted)
{
    struct pith_session *literal = compile(graph, LITERALLY);
    struct pith_tensor want, first = {0};
    struct pith_error err = {0};

    assert_ok(engine->run(literal, x, 1, &want, 1, &err), &err);
    for (struct each_isa each = {0}; each_isa(&each);) {
        struct pith_session *session = compile(graph, CHANNELS_LAST);
        struct pith_tensor got;

        assert_ok(engine->run(session, x, 1, &got, 1, &err), &err);
#if defined __x86_64__
        assert_true(has_step(session, wanted));
        for (size_t i = 0; unwanted[i]; i++)
            assert_false(has_step(session, unwanted[i]));
        if (!first.data)
            assert_ok(pith_tensor_copy(&first, &got, &err), &err);
        assert_memory_equal(first.data, got.data, got.bytes);
#else
        (void) wanted;
        (void) unwanted;
#endif
        check_near(&got, &want, step);
        engine->close(session);
    }
    pith_tensor_free(&first);
    engine->close(literal);
    pith_graph_free(graph);
    pith_tensor_free(x);
}

static void check_words(const struct words *n)
{
    struct pith_tensor x = input_of(n);

    check_graph(build_words(n), &x, 0.0001, "image_conv_s16",
                (const char *const[]){"image_conv_f32", "round_to_grid", NULL});
}

static void convolutions_of_words_are_exact(void **state)
{
    (void) state;
    for (int round = 0; round < 12; round++)
        check_words(&(struct words){.in = 1 + pick(0, 40),
                                    .middle = 1 + pick(0, 70),
                                    .size = 2 + pick(0, 9),
                                    .kernel = round % 2 ? 3 : 1,
                                    .stride = 1 + round % 3 / 2,
                                    .dtype = round % 2 ? PITH_INT16 : PITH_UINT16,
                                    .weight = pick(7, 127),
                                    .bias = 0.5F});
}

/* Great weights over a great depth, and biases that are far greater than a step of the sums. */
static void sums_past_int32_are_exact_too(void **state)
{
    (void) state;
    check_words(&(struct words){130, 67, 0, 5, 3, 1, PITH_INT16, 127, 0.1F});
    check_words(&(struct words){600, 33, 0, 3, 1, 1, PITH_UINT16, 127, 0.1F});
    check_words(&(struct words){3, 40, 0, 6, 3, 2, PITH_INT16, 127, 3000.0F});
}

/* Depthwise ones over windows with odd and even numbers of taps, to words, with a residual, and to floats. */
static void depthwise_windows_of_words_are_exact(void **state)
{
    (void) state;
    for (int round = 0; round < 45; round++) {
        const int64_t kernel = 1 + round % 5, stride = 1 + round % 3, dilation = 1 + round % 2;
        const int kind = round / 5 % 3; /* of output */
        const struct words n = {.in = round % 4 ? pick(2, 70) : 32 * pick(1, 2),
                                .size = (kernel - 1) * dilation + 1 + pick(0, 6),
                                .dtype = round % 2 ? PITH_INT16 : PITH_UINT16,
                                .weight = pick(7, 127)};
        const struct pith_shape shape = {4, {1, n.in, n.size, n.size}};
        uint32_t x, in[3];
        struct pith_graph *graph = begin_net(21, &shape, &x);
        struct pith_tensor from = input_of(&n);

        words_grid(graph, &n, x, 0.00004F, 501);
        in[0] = x;
        in[1] = add_weights(graph, n.in, 1, kernel, n.weight);
        in[2] = add_bias(graph, n.in, 0.5F);
        in[0] = conv(graph, in, 3, kind == 1 ? kernel / 2 : 0, kind == 1 ? 1 : stride, n.in);
        assert_int_equal(pith_node_set_ints(graph, pith_value_producer(graph, in[0]), "dilations",
                                            (const int64_t[]){kind == 1 ? 1 : dilation, kind == 1 ? 1 : dilation}, 2),
                         0);
        if (kind < 2)
            words_grid(graph, &n, in[0], 0.00005F, -777);
        in[1] = x;
        if (kind == 1 && kernel % 2) {
            in[0] = add_node(graph, "Add", in, 2, NULL);
            words_grid(graph, &n, in[0], 0.0001F, 12);
        }
        check_graph(end_net(graph, in[0]), &from, kind == 0 ? 0.00005 : 0.0001, "image_conv_s16",
                    (const char *const[]){"image_conv_f32", NULL});
    }
}

/* What some quantizer may give a value that is always 0: the least scale that a float has in full. A bias passes what sums of
 * such a step hold, and then floats are computed. */
static void values_of_the_least_scale_are_taken(void **state)
{
    static const struct {
        float x, y, bias;
    } rounds[] = {{0.00004F, 0.0001F, 0.5F}, {0x1p-126F, 0x1p-126F, 0.0F}, {0x1p-126F, 0.0001F, 0.5F}};
    const struct pith_shape shape = {4, {1, 3, 6, 6}};

    (void) state;
    for (int round = 0; round < 3; round++) {
        const struct words n = {.in = 3, .size = 6, .dtype = PITH_INT16, .weight = 127};
        const bool floats = round == 2;
        const float step = rounds[round].y;
        uint32_t x, y, in[3];
        struct pith_graph *graph = begin_net(21, &shape, &x);
        struct pith_tensor from = input_of(&n);

        words_grid(graph, &n, x, rounds[round].x, 0);
        in[0] = x;
        in[1] = add_weights(graph, 5, 3, 3, n.weight);
        in[2] = add_bias(graph, 5, rounds[round].bias);
        y = conv(graph, in, 3, 1, 1, 1);
        words_grid(graph, &n, y, step, 0);
        y = add_node(graph, "HardSwish", &y, 1, NULL);
        words_grid(graph, &n, y, step, 0);
        check_graph(end_net(graph, y), &from, (double) step, floats ? "image_conv_f32" : "image_unary_s16",
                    floats ? (const char *const[]){"image_conv_s16", NULL}
                           : (const char *const[]){"image_conv_f32", "round_to_grid", NULL});
    }
}

/* ---- what moves words ---- */

static uint32_t reshape(struct pith_graph *graph, uint32_t x, size_t rank, const int64_t *dims)
{
    const uint32_t in[] = {x, add_list(graph, PITH_INT64, (int64_t) rank, dims)};

    return add_node(graph, "Reshape", in, 2, NULL);
}

/* A channel shuffle, all of whose values are on the grid of y. */
static uint32_t shuffle(struct pith_graph *graph, const struct words *n, uint32_t y, int64_t size, float scale)
{
    const int64_t apart[] = {1, 2, n->middle, size, size}, joined[] = {1, 2 * n->middle, size, size};
    uint32_t node;

    y = reshape(graph, y, 5, apart);
    words_grid(graph, n, y, scale, -777);
    y = add_node(graph, "Transpose", &y, 1, &node);
    assert_int_equal(pith_node_set_ints(graph, node, "perm", (const int64_t[]){0, 2, 1, 3, 4}, 5), 0);
    words_grid(graph, n, y, scale, -777);
    y = reshape(graph, y, 4, joined);
    words_grid(graph, n, y, scale, -777);
    return y;
}

/* A convolution, a function, a pooling, padding, two branches side by side, shuffled; a depthwise convolution with a residual. */
static struct pith_graph *build_moves(const struct words *n)
{
    const struct pith_shape shape = {4, {1, n->in, n->size, n->size}};
    const float scale = 0.00005F;
    uint32_t x, y, in[3], node;
    struct pith_graph *graph = begin_net(21, &shape, &x);

    words_grid(graph, n, x, 0.00004F, 501);
    in[0] = x;
    in[1] = add_weights(graph, n->middle, n->in, n->kernel, n->weight);
    y = conv(graph, in, 2, n->kernel / 2, 1, 1);
    words_grid(graph, n, y, 0.00004F, 99);
    y = add_node(graph, "HardSwish", &y, 1, NULL);
    words_grid(graph, n, y, scale, -777);
    y = add_node(graph, "MaxPool", &y, 1, &node);
    assert_int_equal(pith_node_set_ints(graph, node, "kernel_shape", (const int64_t[]){3, 3}, 2), 0);
    assert_int_equal(pith_node_set_ints(graph, node, "pads", (const int64_t[]){1, 1, 1, 1}, 4), 0);
    words_grid(graph, n, y, scale, -777);
    in[0] = y;
    in[1] = add_list(graph, PITH_INT64, 8, (const int64_t[]){0, 0, 1, 0, 0, 0, 0, 1});
    y = add_node(graph, "Pad", in, 2, NULL);
    words_grid(graph, n, y, scale, -777);
    in[0] = y;
    in[1] = add_weights(graph, n->middle, n->middle, 1, n->weight);
    in[1] = conv(graph, in, 2, 0, 1, 1);
    words_grid(graph, n, in[1], scale, -777);
    y = add_node(graph, "Concat", in, 2, &node);
    assert_int_equal(pith_node_set_int(graph, node, "axis", 1), 0);
    words_grid(graph, n, y, scale, -777);
    y = shuffle(graph, n, y, n->size + 1, scale);
    in[0] = y;
    in[1] = add_weights(graph, 2 * n->middle, 1, 3, n->weight);
    in[2] = add_bias(graph, 2 * n->middle, n->bias);
    in[0] = conv(graph, in, 3, 1, 1, 2 * n->middle);
    words_grid(graph, n, in[0], 0.00009F, 99);
    in[1] = y;
    y = add_node(graph, "Add", in, 2, NULL);
    words_grid(graph, n, y, 0.0001F, 12);
    return end_net(graph, y);
}

static void words_are_moved_as_they_are(void **state)
{
    (void) state;
    for (int round = 0; round < 12; round++) {
        const struct words n = {.in = 1 + pick(0, 40),
                                .middle = 2 + pick(0, 40),
                                .size = 3 + pick(0, 9),
                                .kernel = 3,
                                .dtype = round % 2 ? PITH_INT16 : PITH_UINT16,
                                .weight = pick(7, 127),
                                .bias = round % 3 ? 0.5F : 5.0F};
        static const char *const moves[] = {"image_max_pool_s16", "image_pad_s16", "image_channels_s16",
                                            "image_unary_s16"};
        struct pith_tensor x = input_of(&n);

        check_graph(build_moves(&n), &x, 0.0001, moves[round % 4],
                    (const char *const[]){"image_conv_f32", "round_to_grid", "image_channels_f32",
                                          "image_unary_f32", NULL});
    }
}

/* ---- residuals that are moved ---- */

/* A block of a face detector: depthwise with a stride, 1x1 to more channels; beside it a pooling and channels of zeros, which
 * are on no grid of their own; their sum. What is added comes behind the product in the graph's order. */
static struct pith_graph *build_block(const struct words *n)
{
    const struct pith_shape shape = {4, {1, n->in, n->size, n->size}};
    uint32_t x, sum[2], in[3], node;
    struct pith_graph *graph = begin_net(21, &shape, &x);

    words_grid(graph, n, x, 0.00004F, 501);
    in[0] = x;
    in[1] = add_weights(graph, n->in, n->in, 1, n->weight);
    x = conv(graph, in, 2, 0, 1, 1);
    words_grid(graph, n, x, 0.00005F, 256);
    in[0] = x;
    in[1] = add_weights(graph, n->in, 1, 3, n->weight);
    in[2] = add_bias(graph, n->in, n->bias);
    in[0] = conv(graph, in, 3, 1, 2, n->in);
    words_grid(graph, n, in[0], 0.00007F, -777);
    in[1] = add_weights(graph, n->in + n->middle, n->in, 1, n->weight);
    sum[0] = conv(graph, in, 2, 0, 1, 1);
    in[0] = add_node(graph, "MaxPool", &x, 1, &node);
    assert_int_equal(pith_node_set_ints(graph, node, "kernel_shape", (const int64_t[]){2, 2}, 2), 0);
    assert_int_equal(pith_node_set_ints(graph, node, "strides", (const int64_t[]){2, 2}, 2), 0);
    in[1] = add_list(graph, PITH_INT64, 8, (const int64_t[]){0, 0, 0, 0, 0, n->middle, 0, 0});
    sum[1] = add_node(graph, "Pad", in, 2, NULL);
    x = add_node(graph, "Add", sum, 2, NULL);
    x = add_node(graph, "Relu", &x, 1, NULL);
    words_grid(graph, n, x, 0.0001F, -32768 + 32768 * (n->dtype == PITH_INT16));
    return end_net(graph, x);
}

static void moved_residuals_stay_integers(void **state)
{
    (void) state;
    for (int round = 0; round < 16; round++) {
        static const int32_t dtypes[] = {PITH_INT16, PITH_UINT16, PITH_INT8, PITH_UINT8};
        const struct words n = {.in = 2 + pick(0, 40),
                                .middle = 1 + pick(0, 20),
                                .size = 2 * pick(2, 6),
                                .dtype = dtypes[round % 4],
                                .weight = pick(7, 127),
                                .bias = 0.5F};
        const bool bytes = round % 4 > 1;
        static const char *const moves[] = {"image_max_pool_s16", "image_pad_s16", "image_max_pool_s8",
                                            "image_pad_s8"};
        struct pith_tensor x = input_of(&n);

        check_graph(build_block(&n), &x, bytes ? 0.0001 * 256 : 0.0001, moves[2 * bytes + round / 4 % 2],
                    (const char *const[]){"image_conv_f32", "image_pair_f32", "round_to_grid", "pad", "binary", NULL});
    }
}

/* Branches on grids of their own, or on none, side by side; then a Resize, which has no kernel of integers. */
static struct pith_graph *build_branches(const struct words *n, bool second_has_grid)
{
    const struct pith_shape shape = {4, {1, n->in, n->size, n->size}};
    uint32_t x, y[2], in[3], node;
    struct pith_graph *graph = begin_net(21, &shape, &x);

    words_grid(graph, n, x, 0.00004F, 501);
    for (int i = 0; i < 2; i++) {
        in[0] = x;
        in[1] = add_weights(graph, n->middle + i, n->in, 1, n->weight);
        y[i] = conv(graph, in, 2, 0, 1, 1);
        if (i == 0 || second_has_grid)
            words_grid(graph, n, y[i], i ? 0.00006F : 0.00005F, 256);
    }
    y[0] = add_node(graph, "Concat", y, 2, &node);
    assert_int_equal(pith_node_set_int(graph, node, "axis", 1), 0);
    if (second_has_grid)
        words_grid(graph, n, y[0], 0.00007F, -777);
    in[0] = y[0];
    in[1] = PITH_NO_VALUE;
    in[2] = add_list(graph, PITH_FLOAT32, 4, (const float[]){1, 1, 2, 2});
    in[0] = add_node(graph, "Resize", in, 3, &node);
    assert_int_equal(pith_node_set_string(graph, node, "mode", "linear"), 0);
    words_grid(graph, n, in[0], 0.00007F, -777);
    in[1] = add_weights(graph, n->out, 2 * n->middle + 1, 3, n->weight);
    x = conv(graph, in, 2, 1, 1, 1);
    words_grid(graph, n, x, 0.0001F, 99);
    return end_net(graph, x);
}

static void several_grids_meet_channels_last(void **state)
{
    (void) state;
    for (int round = 0; round < 16; round++) {
        static const int32_t dtypes[] = {PITH_INT16, PITH_UINT16, PITH_INT8, PITH_UINT8};
        const bool bytes = round % 4 > 1;
        const struct words n = {.in = 2 + pick(0, 40),
                                .middle = 1 + pick(0, 40),
                                .out = 1 + pick(0, 20),
                                .size = pick(2, 6),
                                .dtype = dtypes[round % 4],
                                .weight = pick(7, 127)};
        struct pith_tensor x = input_of(&n);

        check_graph(build_branches(&n, round / 4 % 2), &x, bytes ? 0.0001 * 256 : 0.0001, "image_resize_f32",
                    (const char *const[]){"image_conv_f32", "concat", "resize", NULL});
    }
}

/* Branches on no grid of their own, joined on one with a scale a channel. */
static void a_grid_a_channel_is_kept_behind_concat(void **state)
{
    const struct pith_shape shape = {4, {1, 4, 5, 5}};

    (void) state;
    for (int round = 0; round < 4; round++) {
        const struct words n = {.in = 4, .size = 5};
        uint32_t x, y[2], in[2], node;
        struct pith_graph *graph = begin_net(21, &shape, &x);
        struct pith_tensor from = input_of(&n);

        for (int i = 0; i < 2; i++) {
            in[0] = x;
            in[1] = add_constant(graph, PITH_FLOAT32, 4, (const int64_t[]){3 + i, 4, 1, 1});
            y[i] = conv(graph, in, 2, 0, 1, 1);
        }
        y[0] = add_node(graph, "Concat", y, 2, &node);
        assert_int_equal(pith_node_set_int(graph, node, "axis", 1), 0);
        set_grid(graph, y[0], round % 2 ? PITH_INT16 : PITH_INT8, round % 2 ? 0.0001F : 0.02F, 0, 1, 7);
        if (round / 2)
            y[0] = add_node(graph, "Relu", y, 1, NULL);
        check_graph(end_net(graph, y[0]), &from, round % 2 ? 0.0001 : 0.02, "image_conv_f32",
                    (const char *const[]){NULL});
    }
}

/* ---- products ---- */

static uint32_t add_matrix(struct pith_graph *graph, int64_t depth, int64_t cols)
{
    const uint32_t w = add_constant(graph, PITH_INT8, 2, (const int64_t[]){depth, cols});

    set_grid(graph, w, PITH_INT8, 0.002F, 0, 1, (size_t) cols);
    return w;
}

/* Two layers with a bias each, as exporters write them, the first with Relu; the last may be on no grid. */
static struct pith_graph *build_products(const struct words *n, bool ends_in_floats)
{
    const struct pith_shape shape = {3, {1, n->size, n->in}};
    uint32_t x, in[2];
    struct pith_graph *graph = begin_net(21, &shape, &x);

    words_grid(graph, n, x, 0.00004F, 501);
    in[0] = x;
    in[1] = add_matrix(graph, n->in, n->middle);
    in[0] = add_node(graph, "MatMul", in, 2, NULL);
    in[1] = add_bias(graph, n->middle, n->bias);
    in[0] = add_node(graph, "Add", in, 2, NULL);
    in[0] = add_node(graph, "Relu", in, 1, NULL);
    words_grid(graph, n, in[0], 0.0002F, -32768 + 32768 * (n->dtype == PITH_INT16));
    in[1] = add_matrix(graph, n->middle, n->out);
    in[0] = add_node(graph, "MatMul", in, 2, NULL);
    in[1] = add_bias(graph, n->out, n->bias);
    in[0] = add_node(graph, "Add", in, 2, NULL);
    if (!ends_in_floats)
        words_grid(graph, n, in[0], 0.001F, -777);
    return end_net(graph, in[0]);
}

static void products_of_words_are_exact(void **state)
{
    (void) state;
    for (int round = 0; round < 12; round++) {
        const struct words n = {.in = 1 + pick(0, round % 4 ? 60 : 700),
                                .middle = 2 + pick(0, 62),
                                .out = 1 + pick(0, 63),
                                .size = 1 + pick(0, 9),
                                .dtype = round % 2 ? PITH_INT16 : PITH_UINT16,
                                .bias = 0.5F};
        struct pith_tensor x = rows_of(&(struct pith_shape){3, {1, n.size, n.in}});

        check_graph(build_products(&n, round % 3 == 2), &x, 0.001, "matmul_s16",
                    (const char *const[]){"matmul_f32", "round_to_grid", "dequantize", NULL});
    }
}

/* ---- layers of two widths ---- */

/* From 8 bits to 16, on with those, and back: convolutions (one depthwise), or products. */
static struct pith_graph *build_widths(const struct words *n, bool products)
{
    const struct words bytes = {.dtype = PITH_INT8}, words = {.dtype = n->dtype};
    const struct pith_shape picture = {4, {1, n->in, n->size, n->size}}, rows = {2, {n->size, n->in}};
    uint32_t x, in[3];
    struct pith_graph *graph = begin_net(21, products ? &rows : &picture, &x);

    words_grid(graph, &bytes, x, 0.00004F, 512);
    for (int layer = 0; layer < 4; layer++) {
        const bool wide = layer == 0 || layer == 1, depthwise = layer == 2;
        const int64_t from = layer == 0 ? n->in : n->middle;

        in[0] = x;
        in[1] = products ? add_matrix(graph, from, n->middle)
                         : add_weights(graph, n->middle, depthwise ? 1 : from, depthwise ? 3 : 1, n->weight);
        x = products ? add_node(graph, "MatMul", in, 2, NULL)
                     : conv(graph, in, 2, depthwise, 1, depthwise ? n->middle : 1);
        words_grid(graph, wide ? &words : &bytes, x, products ? 0.0002F * (float) (layer + 1) : 0.00006F, 256);
    }
    return end_net(graph, x);
}

static void layers_of_two_widths_are_integer(void **state)
{
    (void) state;
    for (int round = 0; round < 16; round++) {
        const bool products = round % 2;
        const struct words n = {.in = 2 + pick(0, 40),
                                .middle = 1 + pick(0, 40),
                                .size = pick(2, 6),
                                .dtype = round % 4 < 2 ? PITH_INT16 : PITH_UINT16,
                                .weight = pick(7, 127)};
        const struct pith_shape rows = {2, {n.size, n.in}};
        struct pith_tensor x = products ? rows_of(&rows) : input_of(&n);

        check_graph(build_widths(&n, products), &x, (products ? 0.0008 : 0.00006) * 256,
                    products ? "matmul_s16" : "image_conv_s16",
                    (const char *const[]){"image_conv_f32", "matmul_f32", NULL});
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_of_words_are_exact),
        cmocka_unit_test(sums_past_int32_are_exact_too),
        cmocka_unit_test(depthwise_windows_of_words_are_exact),
        cmocka_unit_test(values_of_the_least_scale_are_taken),
        cmocka_unit_test(words_are_moved_as_they_are),
        cmocka_unit_test(moved_residuals_stay_integers),
        cmocka_unit_test(several_grids_meet_channels_last),
        cmocka_unit_test(a_grid_a_channel_is_kept_behind_concat),
        cmocka_unit_test(products_of_words_are_exact),
        cmocka_unit_test(layers_of_two_widths_are_integer),
    };

    return cmocka_run_group_tests_name("words", tests, open_engine, close_engine);
}
