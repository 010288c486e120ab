/* The engine native over values on grids of 16 bits, and of 8 too: what stands beside convolutions moves and joins them as they
 * are stored, and gives what executing Q and DQ does. */
#include "tests/unit/words_net.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_moved_as_they_are),
        cmocka_unit_test(moved_residuals_stay_integers),
        cmocka_unit_test(several_grids_meet_channels_last),
        cmocka_unit_test(a_grid_a_channel_is_kept_behind_concat),
    };

    return cmocka_run_group_tests_name("words moved", tests, open_engine, close_engine);
}
