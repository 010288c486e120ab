/* The engine native over values on grids of 16 bits with weights of 8: convolutions and products are integer, with the same
 * bits from every instruction set, and what executing Q and DQ gives. What stands beside them: test_words_moved.c. */
#include "tests/unit/words_net.h"

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
        cmocka_unit_test(products_of_words_are_exact),
        cmocka_unit_test(layers_of_two_widths_are_integer),
    };

    return cmocka_run_group_tests_name("words", tests, open_engine, close_engine);
}
