/* The engine native over weights that compression has made: it finds zeros and four bits by itself,
 * and gives what it gives for any others. */
#include "tests/unit/each_isa.h"
#include "tests/unit/native_plugin.h"

#include <math.h>

static struct pith_error err;
static uint32_t seed = 3;

static int64_t pick(int64_t low, int64_t high)
{
    seed = seed * 1664525U + 1013904223U;
    return low + (int64_t) (seed >> 8) % (high - low + 1);
}

static void set_grid(struct pith_graph *graph, uint32_t value, int32_t dtype, float scale,
                     int32_t zero)
{
    const struct pith_quantization q = {
        .dtype = dtype, .count = 1, .scale = &scale, .zero_point = &zero};

    assert_int_equal(pith_value_set_quantization(graph, value, &q), 0);
}

/* Which weights are 0: none; four in five runs of four inputs; two in each run. */
enum zeros { NO_ZEROS, MOST_RUNS, TWO_OF_FOUR };

/* (out, in, 1, 1) for convolutions, else (out, in). */
static uint32_t add_weights(struct pith_graph *graph, int32_t dtype, int64_t out, int64_t in,
                            bool conv, enum zeros zeros)
{
    const struct pith_shape shape = {conv ? 4 : 2, {out, in, conv, conv}};
    const int64_t most = dtype == PITH_INT4 ? 7 : 127;
    struct pith_tensor w;
    uint32_t value;

    assert_ok(pith_tensor_alloc(&w, dtype, &shape, &err), &err);
    for (int64_t i = 0; i < out * in; i += 4) {
        const bool holds = zeros != MOST_RUNS || pick(0, 4) == 0;

        for (int64_t k = i; k < i + 4 && k < out * in; k++)
            pith_tensor_set(&w, k, holds ? (double) pick(-most, most) : 0.0);
    }
    for (int64_t o = 0; zeros == TWO_OF_FOUR && o < out; o++)
        for (int64_t k = 0; k < in; k++)
            if ((o + k + k / 4 * (o % 3)) % 4 > 1)
                pith_tensor_set(&w, o * in + k, 0.0);
    assert_ok(pith_graph_add_value(graph, NULL, PITH_FLOAT32, &shape, &value, &err), &err);
    set_grid(graph, value, dtype, dtype == PITH_INT4 ? 0.0811F : 0.00507F, 0);
    assert_ok(pith_value_set_constant(graph, value, &w), &err);
    pith_tensor_free(&w);
    return value;
}

static uint32_t add_gridded(struct pith_graph *graph, const char *op, const uint32_t *inputs,
                         size_t count, float scale, int32_t zero)
{
    uint32_t out, node;

    assert_int_equal(pith_graph_add_value(graph, NULL, PITH_FLOAT32, NULL, &out, NULL), 0);
    assert_int_equal(pith_graph_add_node(graph, "", op, op, inputs, count, &out, 1, &node, NULL),
                     0);
    if (strcmp(op, "Gemm") == 0)
        assert_int_equal(pith_node_set_int(graph, node, "transB", 1), 0);
    set_grid(graph, out, PITH_UINT8, scale, zero);
    return out;
}

struct net {
    int64_t in, middle, out, size;
    int32_t dtype; /* of the last product's weights */
    enum zeros convs, product; /* of their weights */
};

/* Two convolutions of single pixels with a residual, their mean, and a product. Outputs: the sum,
 * and the product. */
static struct pith_graph *build(const struct net *net)
{
    const struct pith_shape shape = {4, {1, net->in, net->size, net->size}};
    struct pith_graph *graph;
    uint32_t x, in[2], first, sum;

    assert_ok(pith_graph_new(&graph, "net", &err), &err);
    assert_int_equal(pith_graph_set_opset(graph, "", 21), 0);
    assert_int_equal(pith_graph_add_value(graph, "x", PITH_FLOAT32, &shape, &x, NULL), 0);
    assert_int_equal(pith_graph_add_input(graph, x), 0);
    set_grid(graph, x, PITH_UINT8, 0.0107F, 128);
    in[0] = x;
    in[1] = add_weights(graph, PITH_INT8, net->middle, net->in, true, net->convs);
    first = add_gridded(graph, "Conv", in, 2, 0.0213F, 120);
    in[0] = first;
    in[1] = add_weights(graph, PITH_INT8, net->middle, net->middle, true, net->convs);
    in[0] = add_gridded(graph, "Conv", in, 2, 0.0317F, 131);
    in[1] = first;
    sum = add_gridded(graph, "Add", in, 2, 0.0431F, 127);
    assert_int_equal(pith_graph_add_output(graph, sum), 0);
    in[0] = sum;
    in[0] = add_gridded(graph, "GlobalAveragePool", in, 1, 0.0229F, 128);
    in[0] = add_gridded(graph, "Flatten", in, 1, 0.0229F, 128);
    in[1] = add_weights(graph, net->dtype, net->out, net->middle, false, net->product);
    assert_int_equal(pith_graph_add_output(graph, add_gridded(graph, "Gemm", in, 2, 0.0203F, 125)), 0);
    assert_ok(pith_graph_validate(graph, &err), &err);
    assert_ok(pith_graph_infer(graph, NULL, &err), &err);
    return graph;
}

static struct pith_session *compile(const struct pith_graph *graph, bool literally)
{
    const struct pith_option_value values[3] = {{.integer = literally}, {.integer = 64}, {0}};
    const struct pith_engine_options how = {
        .size_bytes = sizeof how, .threads = 1, .options = values};
    struct pith_session *session = NULL;

    assert_ok(engine->compile(NULL, graph, &how, &session, &err), &err);
    return session;
}

/* Whether the form for blocks of zeros is expected to be faster than dense tiles with as few channels as there are here: where
 * aarch64 has dot products, that is a close call. */
static bool passes_over_zeros(void)
{
    return pith_isa() != PITH_ISA_PLAIN && pith_isa() <= PITH_ISA_NEON;
}

/* Weights of four bits have forms for x86-64 alone. */
static bool has_int4(void)
{
    return pith_isa_includes(pith_isa(), PITH_ISA_SSE2) && pith_isa() != PITH_ISA_PLAIN;
}

static bool has_step(struct pith_session *session, const char *kernel)
{
    struct pith_session_description about;

    assert_int_equal(engine->describe(session, &about), 0);
    for (size_t i = 0; i < about.step_count; i++)
        if (strncmp(about.steps[i].kernel, kernel, strlen(kernel)) == 0)
            return true;
    return false;
}

static uint64_t weight_bytes(struct pith_session *session)
{
    struct pith_session_description about;

    assert_int_equal(engine->describe(session, &about), 0);
    return about.weight_bytes;
}

/* A value that is one step off makes others behind it so: two at most here, and few. */
static void check_close(const struct pith_tensor *got, const struct pith_tensor *want, double scale)
{
    const int64_t count = pith_shape_elements(&want->shape);
    int64_t different = 0;

    for (int64_t i = 0; i < count; i++) {
        const double off = fabs(pith_tensor_get(got, i) - pith_tensor_get(want, i));

        assert_true(off < 2.01 * scale);
        different += off > 0.5 * scale;
    }
    assert_true(different <= count / 50 + 1);
}

static struct pith_tensor random_input(const struct net *net)
{
    const struct pith_shape shape = {4, {1, net->in, net->size, net->size}};
    struct pith_tensor x;

    assert_ok(pith_tensor_alloc(&x, PITH_FLOAT32, &shape, &err), &err);
    for (int64_t i = 0; i < pith_shape_elements(&shape); i++)
        ((float *) x.data)[i] = (float) pick(-128, 127) * 0.01F;
    return x;
}

/* The same bits from the best form, from every lower instruction set and from plain C; and what
 * executing Q and DQ gives, but for single steps. */
static void check_zeros(const struct net *net, const char *kernel)
{
    struct pith_graph *graph = build(net);
    struct pith_session *fast = compile(graph, false), *literal = compile(graph, true);
    struct pith_tensor x = random_input(net), got[2], want[2];

    assert_ok(engine->run(fast, &x, 1, got, 2, &err), &err);
    assert_ok(engine->run(literal, &x, 1, want, 2, &err), &err);
    check_close(&got[0], &want[0], 0.0431);
    check_close(&got[1], &want[1], 0.0203);
    assert_true(!kernel || has_step(fast, kernel));
    for (struct each_isa each = {0}; each_isa(&each);) {
        struct pith_session *other = compile(graph, false);

        assert_ok(engine->run(other, &x, 1, want, 2, &err), &err);
        assert_memory_equal(got[0].data, want[0].data, want[0].bytes);
        assert_memory_equal(got[1].data, want[1].data, want[1].bytes);
        engine->close(other);
    }
    engine->close(fast);
    engine->close(literal);
    pith_graph_free(graph);
    pith_tensor_free(&x);
}

static void zeros_change_no_bit(void **state)
{
    const bool wide = pith_isa_includes(pith_isa(), PITH_ISA_AVX2) || pith_isa() == PITH_ISA_NEON;

    (void) state;
    for (int round = 0; round < 12; round++) {
        struct net net = {96 + pick(0, 90), 80 + pick(0, 90), 1 + pick(0, 70), 7 + pick(0, 9),
                          PITH_INT8,        MOST_RUNS,        NO_ZEROS};

        check_zeros(&net, passes_over_zeros() ? "image_conv_s8 sparse" : NULL);
        net.convs = net.product = TWO_OF_FOUR;
        check_zeros(&net, wide ? "image_conv_s8 2:4" : NULL);
    }
}

/* A product of one row, of which vectors of outputs have about as many blocks. */
static void zeros_of_rows_change_no_bit(void **state)
{
    const struct net net = {8, 640, 131, 2, PITH_INT8, NO_ZEROS, MOST_RUNS};
    const bool wide = pith_isa_includes(pith_isa(), PITH_ISA_AVX2);

    (void) state;
    check_zeros(&net, wide ? "gemm_s8 sparse row" : NULL);
}

static void four_bits_stay_four_bits(void **state)
{
    const struct net net = {8, 128, 256, 5, PITH_INT4, NO_ZEROS, NO_ZEROS};
    struct net wide = net;
    struct pith_graph *graph = build(&net), *eight;
    struct pith_session *fast = compile(graph, false), *literal = compile(graph, true), *other;
    struct pith_tensor x = random_input(&net), got[2], want[2];

    (void) state;
    assert_ok(engine->run(fast, &x, 1, got, 2, &err), &err);
    assert_ok(engine->run(literal, &x, 1, want, 2, &err), &err);
    check_close(&got[1], &want[1], 0.0203);
    wide.dtype = PITH_INT8;
    eight = build(&wide);
    other = compile(eight, false);
    if (has_int4()) {
        assert_true(has_step(fast, "gemm_s8 int4"));
        assert_true(weight_bytes(fast) + 128 * 256 / 2 <= weight_bytes(other));
    }
    engine->close(fast);
    engine->close(literal);
    engine->close(other);
    pith_graph_free(graph);
    pith_graph_free(eight);
    pith_tensor_free(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zeros_change_no_bit),
        cmocka_unit_test(zeros_of_rows_change_no_bit),
        cmocka_unit_test(four_bits_stay_four_bits),
    };

    return cmocka_run_group_tests(tests, open_engine, close_engine);
}
