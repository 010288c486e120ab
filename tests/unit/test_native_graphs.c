/* The engine native: values on grids wider than 8 bits, and what it rewrites in a graph before it
 * builds it, against the literal execution. */
#include "libpith/kernels/isa.h"
#include "tests/unit/native_engine.h"

#include <math.h>

/* No integer kernel takes 16-bit activations: they are floats on their grids, in either layout. */
static void wider_grids_are_kept_by_words_or_by_rounding_floats(void **state)
{
    int64_t total = 0, different = 0;

    (void) state;
    for (int round = 0; round < 60; round++) {
        const enum way way = round % 4 < 2 ? CHANNELS_LAST : PLANAR;
        const struct net net = {1 + round % 9, 4 + round % 11, 1 + round % 7, true, false, true};
        const double step = 0.02 / 64.0; /* of the output's grid */
        struct pith_graph *graph = build(&net);
        struct pith_session *session = compile(graph, way), *plain = compile(graph, LITERALLY);
        struct pith_tensor x = random_input(&net), got, want;
        struct pith_error err = {0};

        assert_ok(engine->run(session, &x, 1, &got, 1, &err), &err);
        assert_ok(engine->run(plain, &x, 1, &want, 1, &err), &err);
        assert_true(has_step(session, way == PLANAR                                  ? "conv_f32"
                                      : pith_isa_includes(pith_isa(), PITH_ISA_SSE2) ? "image_conv_s16"
                                                                                     : "image_conv_f32"));
        assert_true(!has_step(session, "quantize"));
        assert_true(way != PLANAR || has_step(session, "round_to_grid"));
        for (int64_t i = 0; i < pith_shape_elements(&want.shape); i++) {
            const double q = pith_tensor_get(&got, i) / step;
            const double steps = fabs(pith_tensor_get(&got, i) - pith_tensor_get(&want, i)) / step;

            assert_true(fabs(q - nearbyint(q)) < 1e-2); /* it is on the grid */
            assert_true(steps < 2.01); /* a step at the output, or a few in the middle, averaged */
            different += steps > 0.5;
            total++;
        }
        engine->close(session);
        engine->close(plain);
        pith_graph_free(graph);
        pith_tensor_free(&x);
    }
    assert_true(different * 4 <= total);
}

/* The last layer of a net often has no grid behind it: it need not leave the layout for that. Depthwise it
 * takes floats, for which it has a form of its own. */
static void to_floats(bool depthwise)
{
    const struct pith_shape shape = {4, {1, 8, 5, 5}};
    struct pith_session *session, *plain;
    struct pith_tensor x, got, want;
    struct pith_error err = {0};
    uint32_t in[2], node, y;
    struct pith_graph *graph = begin_net(13, &shape, &in[0]);

    set_grid(graph, in[0], PITH_UINT8, 0.01F, 117, 0, 0);
    in[1] = add_constant(graph, PITH_INT8, 4,
                         depthwise ? (const int64_t[]){8, 1, 3, 3} : (const int64_t[]){6, 8, 3, 3});
    set_grid(graph, in[1], PITH_INT8, 0.004F, 0, 0, depthwise ? 8 : 6);
    y = add_node(graph, "Conv", in, 2, &node);
    assert_int_equal(pith_node_set_int(graph, node, "group", depthwise ? 8 : 1), 0);
    assert_int_equal(pith_graph_add_output(graph, y), 0);
    assert_ok(pith_graph_validate(graph, &err), &err);
    assert_ok(pith_graph_infer(graph, NULL, &err), &err);
    session = compile(graph, CHANNELS_LAST);
    plain = compile(graph, LITERALLY);
    assert_true(has_step(session, depthwise ? "image_conv_f32" : "image_conv_s8") &&
                !has_step(session, "conv_f32"));
    assert_ok(pith_tensor_alloc(&x, PITH_FLOAT32, &shape, &err), &err);
    for (int64_t i = 0; i < pith_shape_elements(&shape); i++)
        ((float *) x.data)[i] = random_float();
    assert_ok(engine->run(session, &x, 1, &got, 1, &err), &err);
    assert_ok(engine->run(plain, &x, 1, &want, 1, &err), &err);
    for (int64_t i = 0; i < pith_shape_elements(&want.shape); i++) /* 72 products, each below 0.7 */
        assert_true(fabs(pith_tensor_get(&got, i) - pith_tensor_get(&want, i)) < 72 * 0.7 * 72e-7);
    engine->close(session);
    engine->close(plain);
    pith_graph_free(graph);
    pith_tensor_free(&x);
}

static void a_convolution_from_integers_to_floats_stays_channels_last(void **state)
{
    (void) state;
    to_floats(false);
    to_floats(true);
}

/* A convolution to a grid, with a grid for the weights of each channel; those of channel 2 have a scale of their own. */
static struct pith_graph *net_with_bias(float scale, bool dead, float bias)
{
    float scales[6] = {0.004F, 0.004F, scale, 0.004F, 0.004F, 0.004F};
    int32_t zeros[6] = {0};
    const struct pith_quantization q = {PITH_INT8, 0, 0, 6, scales, zeros};
    uint32_t in[3], y;
    struct pith_graph *graph = begin_net(13, &(struct pith_shape){4, {1, 4, 5, 5}}, &in[0]);

    set_grid(graph, in[0], PITH_UINT8, 0.01F, 117, 0, 0);
    in[1] = add_constant(graph, PITH_INT8, 4, (const int64_t[]){6, 4, 3, 3});
    assert_int_equal(pith_value_set_quantization(graph, in[1], &q), 0);
    if (dead)
        memset((int8_t *) pith_value_constant(graph, in[1])->data + 2 * 36, 0, 36);
    in[2] = add_constant(graph, PITH_FLOAT32, 1, (const int64_t[]){6});
    ((float *) pith_value_constant(graph, in[2])->data)[2] = bias;
    y = add_node(graph, "Conv", in, 3, NULL);
    set_grid(graph, y, PITH_UINT8, 0.02F, 128, 0, 0);
    return end_net(graph, y);
}

/* Compares with the literal execution, but for channel 2 where its bias is no number. integers: whether the convolution is
 * one of those. */
static void check_bias(float scale, bool dead, float bias, enum way way, bool integers)
{
    struct pith_graph *graph = net_with_bias(scale, dead, bias);
    struct pith_session *session = compile(graph, way), *plain = compile(graph, LITERALLY);
    struct pith_tensor x, got, want;
    struct pith_error err = {0};

    assert_int_equal(has_step(session, way == PLANAR ? "conv_s8" : "image_conv_s8"), integers);
    assert_ok(pith_tensor_alloc(&x, PITH_FLOAT32, &(struct pith_shape){4, {1, 4, 5, 5}}, &err), &err);
    for (int64_t i = 0; i < pith_shape_elements(&x.shape); i++)
        ((float *) x.data)[i] = random_float();
    assert_ok(engine->run(session, &x, 1, &got, 1, &err), &err);
    assert_ok(engine->run(plain, &x, 1, &want, 1, &err), &err);
    for (int64_t i = 0; i < pith_shape_elements(&want.shape); i++)
        assert_true((isnan(bias) && i / 9 == 2) ||
                    fabs(pith_tensor_get(&got, i) - pith_tensor_get(&want, i)) < 0.021);
    if (dead)
        assert_true(fabs(pith_tensor_get(&got, 2 * 9) - (double) bias) < 0.011);
    engine->close(session);
    engine->close(plain);
    pith_graph_free(graph);
    pith_tensor_free(&x);
}

/* A channel without weights is its bias, however small a step of its sums was made. */
static void a_channel_without_weights_gives_its_bias(void **state)
{
    (void) state;
    check_bias(1e-14F, true, 0.5F, CHANNELS_LAST, true);
    check_bias(1e-14F, true, 0.5F, PLANAR, false); /* in floats, which is slower and right */
}

/* One that takes more steps of the sums than int32 holds, within the output's limits and far past them; and NaN. */
static void a_bias_that_no_sum_holds_is_added_to_floats(void **state)
{
    (void) state;
    for (int planar = 0; planar < 2; planar++) {
        check_bias(1e-14F, false, 0.5F, planar ? PLANAR : CHANNELS_LAST, false);
        check_bias(0.004F, false, -1e9F, planar ? PLANAR : CHANNELS_LAST, true);
        check_bias(0.004F, false, NAN, planar ? PLANAR : CHANNELS_LAST, false);
    }
}

static void add_pad(struct pith_graph *graph, uint32_t x, const int64_t *pads, double value,
                    uint32_t *out)
{
    uint32_t in[3] = {x};

    in[1] = add_constant(graph, PITH_INT64, 1, (const int64_t[]){8});
    in[2] = add_constant(graph, PITH_FLOAT32, 0, NULL);
    for (int i = 0; i < 8; i++)
        ((int64_t *) pith_value_constant(graph, in[1])->data)[i] = pads[i];
    *(float *) pith_value_constant(graph, in[2])->data = (float) value;
    *out = add_node(graph, "Pad", in, 3, NULL);
}

/* pads: of the Pad; value: that it writes. A strided convolution follows, and where `shared`
 * something else too. */
static struct pith_graph *padded_net(bool quantized, const int64_t *pads, double value, bool shared)
{
    const struct pith_shape shape = {4, {1, 5, 9, 8}};
    uint32_t in[2], node, y, padded;
    struct pith_graph *graph = begin_net(13, &shape, &y);

    if (quantized)
        set_grid(graph, y, PITH_UINT8, 0.01F, 117, 0, 0);
    add_pad(graph, y, pads, value, &padded);
    if (quantized)
        set_grid(graph, padded, PITH_UINT8, 0.01F, 117, 0, 0);
    in[0] = padded;
    in[1] =
        add_constant(graph, quantized ? PITH_INT8 : PITH_FLOAT32, 4, (const int64_t[]){6, 5, 3, 3});
    if (quantized)
        set_grid(graph, in[1], PITH_INT8, 0.004F, 0, 0, 6);
    y = add_node(graph, "Conv", in, 2, &node);
    assert_int_equal(pith_node_set_ints(graph, node, "strides", (const int64_t[]){2, 2}, 2), 0);
    assert_int_equal(pith_node_set_ints(graph, node, "pads", (const int64_t[]){0, 1, 0, 0}, 4), 0);
    if (quantized)
        set_grid(graph, y, PITH_UINT8, 0.02F, 100, 0, 0);
    if (shared)
        assert_int_equal(pith_graph_add_output(graph, add_node(graph, "Abs", &padded, 1, NULL)), 0);
    return end_net(graph, y);
}

static void check_padded(struct pith_graph *graph, enum way way, bool taken_out)
{
    const struct pith_shape shape = {4, {1, 5, 9, 8}};
    const size_t outputs = pith_graph_output_count(graph);
    struct pith_session *session = compile(graph, way), *plain = compile(graph, LITERALLY);
    struct pith_tensor x, got[2], want[2];
    struct pith_error err = {0};

    assert_int_equal(has_step(session, "pad"), !taken_out);
    assert_true(has_step(plain, "pad"));
    assert_ok(pith_tensor_alloc(&x, PITH_FLOAT32, &shape, &err), &err);
    for (int64_t i = 0; i < pith_shape_elements(&shape); i++)
        ((float *) x.data)[i] = random_float();
    assert_ok(engine->run(session, &x, 1, got, outputs, &err), &err);
    assert_ok(engine->run(plain, &x, 1, want, outputs, &err), &err);
    for (size_t k = 0; k < outputs; k++) {
        assert_true(pith_shape_equal(&got[k].shape, &want[k].shape));
        for (int64_t i = 0; i < pith_shape_elements(&want[k].shape);
             i++) /* a step of the grid, or 45 roundings */
            assert_true(fabs(pith_tensor_get(&got[k], i) - pith_tensor_get(&want[k], i)) < 0.0201);
    }
    engine->close(session);
    engine->close(plain);
    pith_graph_free(graph);
    pith_tensor_free(&x);
}

static void a_pad_with_zeros_becomes_the_convolutions_own(void **state)
{
    static const int64_t spatial[] = {0, 0, 0, 1, 0, 0, 1, 2},
                         channels[] = {0, 1, 0, 0, 0, -1, 0, 0}, cut[] = {0, 0, -1, 1, 0, 0, 1, 1};

    (void) state;
    for (int round = 0; round < 4; round++) {
        const enum way way = round % 2 ? PLANAR : CHANNELS_LAST;
        const bool quantized = round / 2;

        check_padded(padded_net(quantized, spatial, 0.0, false), way, true);
        check_padded(padded_net(quantized, spatial, 0.25, false), way, false);
        check_padded(padded_net(quantized, spatial, 0.0, true), way, false);
        check_padded(padded_net(quantized, channels, 0.0, false), way, false);
        check_padded(padded_net(quantized, cut, 0.0, false), way, false);
    }
}

/* A convolution adds the pad that stands behind it in the graph: that one is made first. */
static void a_shortcut_that_comes_later_is_added_in_passing(void **state)
{
    (void) state;
    for (int quantized = 0; quantized < 2; quantized++) {
        const struct net net = {.channels = 5, .size = 9, .features = 3, .quantized = quantized};
        struct pith_graph *graph = build(&net);
        struct pith_error err = {0};
        uint32_t in[2] = {pith_graph_input(graph, 0)}, padded, y;
        struct pith_session *session;
        struct pith_session_description about;
        int sums = 0;

        in[1] = add_constant(graph, quantized ? PITH_INT8 : PITH_FLOAT32, 4, (const int64_t[]){5, 3, 1, 1});
        if (quantized)
            set_grid(graph, in[1], PITH_INT8, 0.004F, 0, 0, 5);
        y = add_node(graph, "Conv", in, 2, NULL);
        add_pad(graph, in[0], (const int64_t[]){0, 1, 0, 0, 0, 1, 0, 0}, 0.0, &padded);
        grid(graph, &net, padded, 0.01F, 117);
        y = add_node(graph, "Add", (const uint32_t[]){y, padded}, 2, NULL);
        grid(graph, &net, y, 0.02F, 100);
        assert_int_equal(pith_graph_add_output(graph, y), 0);
        assert_ok(pith_graph_infer(graph, NULL, &err), &err);
        session = compile(graph, CHANNELS_LAST);
        assert_true(has_step(session, "image_pad"));
        assert_int_equal(engine->describe(session, &about), 0);
        for (size_t i = 0; i < about.step_count; i++)
            sums += strcmp(about.steps[i].name, "Add") == 0;
        assert_int_equal(sums, 1); /* the net's own, which is behind no convolution */
        engine->close(session);
        pith_graph_free(graph);
    }
}

/* Integers from outside, as TensorFlow Lite's models take them. zero: of the DequantizeLinear, 0 on
 * the grid behind it. */
static struct pith_graph *net_of_integers(int32_t dtype, int32_t zero)
{
    const struct pith_shape shape = {4, {1, 5, 9, 8}};
    struct pith_graph *graph;
    struct pith_error err = {0};
    uint32_t in[3], y;

    assert_ok(pith_graph_new(&graph, "net", &err), &err);
    assert_int_equal(pith_graph_set_opset(graph, "", 13), 0);
    assert_int_equal(pith_graph_add_value(graph, "x", dtype, &shape, &in[0], NULL), 0);
    assert_int_equal(pith_graph_add_input(graph, in[0]), 0);
    in[1] = add_constant(graph, PITH_FLOAT32, 0, NULL);
    in[2] = add_constant(graph, dtype, 0, NULL);
    *(float *) pith_value_constant(graph, in[1])->data = 0.01F;
    *(int8_t *) pith_value_constant(graph, in[2])->data = (int8_t) zero;
    y = add_node(graph, "DequantizeLinear", in, 3, NULL);
    set_grid(graph, y, dtype, 0.01F, 0, 0, 0);
    in[0] = y;
    in[1] = add_constant(graph, PITH_INT8, 4, (const int64_t[]){6, 5, 3, 3});
    set_grid(graph, in[1], PITH_INT8, 0.004F, 0, 0, 6);
    y = add_node(graph, "Conv", in, 2, NULL);
    set_grid(graph, y, PITH_UINT8, 0.02F, 100, 0, 0);
    return end_net(graph, y);
}

static void integers_from_outside_are_taken_as_they_lie(void **state)
{
    (void) state;
    for (int round = 0; round < 8; round++) {
        const int32_t dtype = round % 2 ? PITH_INT8 : PITH_UINT8, zero = round / 2 % 2;
        const struct pith_shape shape = {4, {1, 5, 9, 8}};
        struct pith_graph *graph = net_of_integers(dtype, zero);
        struct pith_session *session = compile(graph, round / 4 ? PLANAR : CHANNELS_LAST),
                            *plain = compile(graph, LITERALLY);
        struct pith_tensor x, got, want;
        struct pith_error err = {0};

        assert_int_equal(has_step(session, "dequantize"), zero != 0);
        assert_ok(pith_tensor_alloc(&x, dtype, &shape, &err), &err);
        for (int64_t i = 0; i < pith_shape_elements(&shape); i++)
            ((uint8_t *) x.data)[i] = (uint8_t) (int) (128.0F * (random_float() + 1.0F));
        for (int run = 0; run < 2; run++) {
            assert_ok(engine->run(session, &x, 1, &got, 1, &err), &err);
            assert_ok(engine->run(plain, &x, 1, &want, 1, &err), &err);
            for (int64_t i = 0; i < pith_shape_elements(&want.shape); i++)
                assert_true(fabs(pith_tensor_get(&got, i) - pith_tensor_get(&want, i)) < 0.0201);
            ((uint8_t *) x.data)[run] ^= 0x55;
        }
        engine->close(session);
        engine->close(plain);
        pith_graph_free(graph);
        pith_tensor_free(&x);
    }
}

/* x there and back, in the middle of a net; perm: of the way back. */
static struct pith_graph *turned_net(const int64_t *perm)
{
    const struct pith_shape shape = {4, {1, 6, 6, 6}};
    uint32_t y, node;
    struct pith_graph *graph = begin_net(13, &shape, &y);

    y = add_node(graph, "Transpose", &y, 1, &node);
    assert_int_equal(pith_node_set_ints(graph, node, "perm", (const int64_t[]){0, 2, 3, 1}, 4), 0);
    y = add_node(graph, "Transpose", &y, 1, &node);
    assert_int_equal(pith_node_set_ints(graph, node, "perm", perm, 4), 0);
    return end_net(graph, add_node(graph, "Abs", &y, 1, NULL));
}

static void transposing_there_and_back_is_nothing(void **state)
{
    static const int64_t back[] = {0, 3, 1, 2}, again[] = {0, 2, 3, 1};

    (void) state;
    for (int round = 0; round < 4; round++) {
        const enum way way = round % 2 ? PLANAR : CHANNELS_LAST;
        struct pith_graph *graph = turned_net(round / 2 ? again : back);
        struct pith_session *session = compile(graph, way), *plain = compile(graph, LITERALLY);
        struct pith_tensor x, got, want;
        struct pith_error err = {0};

        assert_ok(pith_tensor_alloc(&x, PITH_FLOAT32, &(struct pith_shape){4, {1, 6, 6, 6}}, &err),
                  &err);
        for (int64_t i = 0; i < 216; i++)
            ((float *) x.data)[i] = random_float();
        assert_ok(engine->run(session, &x, 1, &got, 1, &err), &err);
        assert_ok(engine->run(plain, &x, 1, &want, 1, &err), &err);
        assert_true(pith_shape_equal(&got.shape, &want.shape));
        assert_memory_equal(got.data, want.data, want.bytes);
        if (round < 2)
            assert_int_equal(count_steps(session), 1);
        engine->close(session);
        engine->close(plain);
        pith_graph_free(graph);
        pith_tensor_free(&x);
    }
}

static struct pith_graph *graph_of_row(uint32_t *x)
{
    const struct pith_shape row = {2, {1, 16}};
    struct pith_graph *graph = begin_net(13, &row, x);

    return graph;
}

/* A product by integers of what lies on a grid; its rows come as they are. */
static void finish_by_product(struct pith_graph *graph, uint32_t x, int64_t inputs)
{
    struct pith_error err = {0};
    uint32_t in[2] = {x};

    set_grid(graph, x, PITH_INT8, 0.05F, 0, 0, 0);
    in[1] = add_constant(graph, PITH_INT8, 2, (const int64_t[]){inputs, 8});
    set_grid(graph, in[1], PITH_INT8, 0.01F, 0, 1, 8);
    assert_int_equal(pith_graph_add_output(graph, add_node(graph, "MatMul", in, 2, NULL)), 0);
    assert_ok(pith_graph_validate(graph, &err), &err);
    assert_ok(pith_graph_infer(graph, NULL, &err), &err);
}

static struct pith_graph *branch(const char *op)
{
    struct pith_graph *graph;
    struct pith_error err = {0};
    uint32_t row;

    assert_ok(pith_graph_new(&graph, "branch", &err), &err);
    row = add_constant(graph, PITH_FLOAT32, 2, (const int64_t[]){1, 16});
    assert_int_equal(pith_graph_add_output(graph, add_node(graph, op, &row, 1, NULL)), 0);
    return graph;
}

/* What a branch gives lies on a grid behind it. */
static struct pith_graph *net_with_branches(void)
{
    uint32_t x, in[2], y, node;
    struct pith_graph *graph = graph_of_row(&x);

    in[0] = add_node(graph, "ReduceSum", &x, 1, &node);
    assert_int_equal(pith_node_set_int(graph, node, "keepdims", 0), 0);
    in[1] = add_constant(graph, PITH_FLOAT32, 0, NULL);
    y = add_node(graph, "Greater", in, 2, NULL);
    assert_int_equal(pith_value_set_type(graph, y, PITH_BOOL, NULL), 0);
    y = add_node(graph, "If", &y, 1, &node);
    assert_int_equal(pith_node_set_graph(graph, node, "then_branch", branch("Abs")), 0);
    assert_int_equal(pith_node_set_graph(graph, node, "else_branch", branch("Neg")), 0);
    finish_by_product(graph, y, 16);
    return graph;
}

/* How many there are is known in the run alone. */
static struct pith_graph *net_of_found_values(void)
{
    uint32_t x, in[2], y, node;
    struct pith_graph *graph = graph_of_row(&x);

    in[1] = add_node(graph, "Relu", &x, 1, NULL);
    y = add_node(graph, "NonZero", &in[1], 1, NULL);
    assert_int_equal(pith_value_set_type(graph, y, PITH_INT64, NULL), 0);
    y = add_node(graph, "Transpose", &y, 1, &node);
    assert_int_equal(pith_value_set_type(graph, y, PITH_INT64, NULL), 0);
    in[0] = x;
    in[1] = y;
    in[0] = add_node(graph, "GatherND", in, 2, NULL);
    set_grid(graph, in[0], PITH_INT8, 0.05F, 0, 0, 0);
    in[1] = add_constant(graph, PITH_INT64, 1, (const int64_t[]){1});
    *(int64_t *) pith_value_constant(graph, in[1])->data = 1;
    finish_by_product(graph, add_node(graph, "Unsqueeze", in, 2, NULL), 1);
    return graph;
}

static void values_that_branches_and_late_steps_give_lie_on_their_grids(void **state)
{
    (void) state;
    for (int round = 0; round < 8; round++) {
        const enum way way = round % 2 ? PLANAR : CHANNELS_LAST;
        struct pith_graph *graph = round / 2 % 2 ? net_of_found_values() : net_with_branches();
        struct pith_session *session = compile(graph, way), *plain = compile(graph, LITERALLY);
        struct pith_tensor x, got, want;
        struct pith_error err = {0};

        assert_ok(pith_tensor_alloc(&x, PITH_FLOAT32, &(struct pith_shape){2, {1, 16}}, &err), &err);
        for (int run = 0; run < 4; run++) { /* other branches, other counts */
            for (int64_t i = 0; i < 16; i++)
                ((float *) x.data)[i] = random_float() + (run % 2 ? 0.5F : -0.5F);
            assert_ok(engine->run(session, &x, 1, &got, 1, &err), &err);
            assert_ok(engine->run(plain, &x, 1, &want, 1, &err), &err);
            assert_true(pith_shape_equal(&got.shape, &want.shape));
            for (int64_t i = 0; i < pith_shape_elements(&want.shape); i++)
                assert_true(fabs(pith_tensor_get(&got, i) - pith_tensor_get(&want, i)) < 1e-4);
        }
        engine->close(session);
        engine->close(plain);
        pith_graph_free(graph);
        pith_tensor_free(&x);
    }
}

/* More operands than a word has bits, on two threads. */
static void many_operands_are_joined(void **state)
{
    const struct pith_shape shape = {2, {64, 50}};
    struct pith_session *session;
    struct pith_graph *graph;
    struct pith_tensor x, got;
    struct pith_error err = {0};
    uint32_t in[40], y, node;

    (void) state;
    graph = begin_net(13, &shape, &in[0]);
    for (int i = 1; i < 40; i++)
        in[i] = add_node(graph, i % 2 ? "Neg" : "Abs", &in[i - 1], 1, NULL);
    y = add_node(graph, "Concat", in, 40, &node);
    assert_int_equal(pith_node_set_int(graph, node, "axis", 1), 0);
    assert_int_equal(pith_graph_add_output(graph, y), 0);
    assert_ok(pith_graph_validate(graph, &err), &err);
    session = compile_threads(graph, CHANNELS_LAST, 2);
    assert_ok(pith_tensor_alloc(&x, PITH_FLOAT32, &shape, &err), &err);
    for (int64_t i = 0; i < 64 * 50; i++)
        ((float *) x.data)[i] = random_float();
    assert_ok(engine->run(session, &x, 1, &got, 1, &err), &err);
    for (int64_t i = 0; i < pith_shape_elements(&got.shape); i++) {
        const int64_t part = i / 50 % 40;
        const float of = ((const float *) x.data)[i / 2000 * 50 + i % 50];

        assert_true(pith_tensor_get(&got, i) ==
                    (double) (part == 0 ? of : part == 1 ? -of : part % 2 ? -fabsf(of) : fabsf(of)));
    }
    engine->close(session);
    pith_graph_free(graph);
    pith_tensor_free(&x);
}

/* What goes in leaves too: its copy is one more slot, however many there are already, of a shape that
 * lies among them. */
static void inputs_that_leave_are_copied_whatever_else_there_is(void **state)
{
    const struct pith_shape shape = {2, {2, 3}};
    struct pith_error err = {0};
    float numbers[6] = {1, -2, 3, -4, 5, -6};
    const struct pith_tensor input = {PITH_FLOAT32, shape, numbers, sizeof numbers};

    (void) state;
    for (int nodes = 1; nodes < 70; nodes++) {
        struct pith_session *session;
        struct pith_tensor out[2];
        struct pith_graph *graph;
        uint32_t x, y;

        assert_ok(pith_graph_new(&graph, "net", &err), &err);
        assert_int_equal(pith_graph_set_opset(graph, "", 13), 0);
        assert_ok(pith_graph_add_value(graph, "x", PITH_FLOAT32, &shape, &x, &err), &err);
        assert_int_equal(pith_graph_add_input(graph, x), 0);
        y = x;
        for (int i = 0; i < nodes; i++)
            y = add_node(graph, "Abs", &y, 1, NULL);
        assert_int_equal(pith_graph_add_output(graph, x), 0);
        assert_int_equal(pith_graph_add_output(graph, y), 0);
        assert_ok(pith_graph_validate(graph, &err), &err);
        assert_ok(pith_graph_infer(graph, NULL, &err), &err);
        session = compile(graph, PLANAR);
        assert_ok(engine->run(session, &input, 1, out, 2, &err), &err);
        assert_true(pith_shape_equal(&out[0].shape, &shape));
        assert_memory_equal(out[0].data, numbers, sizeof numbers);
        assert_true(((const float *) out[1].data)[5] == 6.0F);
        engine->close(session);
        pith_graph_free(graph);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wider_grids_are_kept_by_words_or_by_rounding_floats),
        cmocka_unit_test(a_convolution_from_integers_to_floats_stays_channels_last),
        cmocka_unit_test(a_channel_without_weights_gives_its_bias),
        cmocka_unit_test(a_bias_that_no_sum_holds_is_added_to_floats),
        cmocka_unit_test(a_pad_with_zeros_becomes_the_convolutions_own),
        cmocka_unit_test(a_shortcut_that_comes_later_is_added_in_passing),
        cmocka_unit_test(transposing_there_and_back_is_nothing),
        cmocka_unit_test(integers_from_outside_are_taken_as_they_lie),
        cmocka_unit_test(many_operands_are_joined),
        cmocka_unit_test(inputs_that_leave_are_copied_whatever_else_there_is),
        cmocka_unit_test(values_that_branches_and_late_steps_give_lie_on_their_grids),
    };

    return cmocka_run_group_tests_name("native", tests, open_engine, close_engine);
}
