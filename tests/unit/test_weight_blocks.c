/* The engine native over weights that have a scale for each block of inputs: with 8-bit activations
 * in integer kernels, the same bits from every instruction set, and what executing Q and DQ gives. */
#include "tests/unit/each_isa.h"
#include "tests/unit/native_plugin.h"

#include <math.h>

static struct pith_error err;
static uint32_t seed = 11;

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

/* Random weights of the shape, with blocks of `block` along `axis`. UINT4 ones have zero points of
 * their own. */
static uint32_t add_weights(struct pith_graph *graph, int32_t dtype, const struct pith_shape *shape,
                            int32_t axis, int64_t block, float scale)
{
    struct pith_shape scales_shape = *shape;
    struct pith_tensor w;
    struct pith_quantization q = {.dtype = dtype, .axis = axis, .block_size = block};
    float *scales;
    int32_t *zeros;
    uint32_t value;

    scales_shape.dim[axis] = (shape->dim[axis] + block - 1) / block;
    q.count = (size_t) pith_shape_elements(&scales_shape);
    scales = calloc(q.count, sizeof *scales);
    zeros = calloc(q.count, sizeof *zeros);
    assert_true(scales && zeros);
    for (size_t i = 0; i < q.count; i++) {
        scales[i] = scale * (float) pick(50, 150) * 0.01F;
        zeros[i] = dtype == PITH_UINT4 ? 8 : 0;
    }
    q.scale = scales;
    q.zero_point = zeros;
    assert_ok(pith_tensor_alloc(&w, dtype, shape, &err), &err);
    for (int64_t i = 0; i < pith_shape_elements(shape); i++)
        pith_tensor_set(&w, i,
                        (double) (dtype == PITH_UINT4  ? pick(0, 15)
                                  : dtype == PITH_INT4 ? pick(-8, 7)
                                                       : pick(-127, 127)));
    assert_ok(pith_graph_add_value(graph, NULL, PITH_FLOAT32, shape, &value, &err), &err);
    assert_int_equal(pith_value_set_quantization(graph, value, &q), 0);
    assert_ok(pith_value_set_constant(graph, value, &w), &err);
    pith_tensor_free(&w);
    free(scales);
    free(zeros);
    return value;
}

static uint32_t add_bias(struct pith_graph *graph, int64_t count)
{
    const struct pith_shape shape = {1, {count}};
    struct pith_tensor bias;
    uint32_t value;

    assert_ok(pith_tensor_alloc(&bias, PITH_FLOAT32, &shape, &err), &err);
    for (int64_t i = 0; i < count; i++)
        ((float *) bias.data)[i] = (float) pick(-50, 50) * 0.01F;
    assert_ok(pith_graph_add_constant(graph, NULL, &bias, &value, &err), &err);
    pith_tensor_free(&bias);
    return value;
}

struct net {
    int64_t in, middle, out, size, block, stride;
    int32_t dtype;
    bool turned; /* the product's weights: Gemm with transB, or MatMul */
};

/* A 3x3 convolution, a 1x1 one with a residual, their mean, and a product. */
static struct pith_graph *build(const struct net *net)
{
    const struct pith_shape shape = {4, {1, net->in, net->size, net->size}},
                            first = {4, {net->middle, net->in, 3, 3}},
                            second = {4, {net->middle, net->middle, 1, 1}},
                            last = {2, {net->turned ? net->out : net->middle,
                                        net->turned ? net->middle : net->out}};
    const float size = 1.0F / (float) net->middle, step = net->dtype == PITH_INT8 ? 0.06F : 1.0F;
    struct pith_graph *graph;
    uint32_t x, y, in[3], node;

    assert_ok(pith_graph_new(&graph, "net", &err), &err);
    assert_int_equal(pith_graph_set_opset(graph, "", 21), 0);
    assert_int_equal(pith_graph_add_value(graph, "x", PITH_FLOAT32, &shape, &x, NULL), 0);
    assert_int_equal(pith_graph_add_input(graph, x), 0);
    set_grid(graph, x, PITH_UINT8, 0.0107F, 121);
    in[0] = x;
    in[1] = add_weights(graph, net->dtype, &first, 1, net->block, step * 0.8F / (float) net->in);
    in[2] = add_bias(graph, net->middle);
    y = add_node(graph, "Conv", in, 3, &node);
    assert_int_equal(pith_node_set_ints(graph, node, "pads", (const int64_t[]){1, 1, 1, 1}, 4), 0);
    assert_int_equal(
        pith_node_set_ints(graph, node, "strides", (const int64_t[]){net->stride, net->stride}, 2),
        0);
    y = add_node(graph, "Relu", &y, 1, NULL);
    set_grid(graph, y, PITH_UINT8, 0.0313F, 0);
    in[0] = y;
    in[1] = add_weights(graph, net->dtype, &second, 1, net->block, step * 4.1F * size);
    in[0] = add_node(graph, "Conv", in, 2, NULL);
    set_grid(graph, in[0], PITH_UINT8, 0.0517F, 131);
    in[1] = y;
    y = add_node(graph, "Add", in, 2, NULL);
    set_grid(graph, y, PITH_UINT8, 0.0631F, 117);
    assert_int_equal(pith_graph_add_output(graph, y), 0);
    y = add_node(graph, "GlobalAveragePool", &y, 1, NULL);
    set_grid(graph, y, PITH_UINT8, 0.0229F, 128);
    y = add_node(graph, "Flatten", &y, 1, NULL);
    set_grid(graph, y, PITH_UINT8, 0.0229F, 128);
    in[0] = y;
    in[1] = add_weights(graph, net->dtype, &last, net->turned ? 1 : 0, net->block,
                        step * 4.3F * size);
    y = add_node(graph, net->turned ? "Gemm" : "MatMul", in, 2, &node);
    if (net->turned)
        assert_int_equal(pith_node_set_int(graph, node, "transB", 1), 0);
    set_grid(graph, y, PITH_UINT8, 0.0403F, 125);
    assert_int_equal(pith_graph_add_output(graph, y), 0);
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

static int count_steps(struct pith_session *session, const char *kernel)
{
    struct pith_session_description about;
    int count = 0;

    assert_int_equal(engine->describe(session, &about), 0);
    for (size_t i = 0; i < about.step_count; i++)
        count += strncmp(about.steps[i].kernel, kernel, strlen(kernel)) == 0;
    return count;
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

/* Every instruction set's bits are those of plain C. */
static void check_all_sets(const struct pith_graph *graph, const struct pith_tensor *x,
                           const struct pith_tensor *got)
{
    struct pith_tensor other[2];

    for (struct each_isa each = {0}; each_isa(&each);) {
        struct pith_session *session = compile(graph, false);

        assert_ok(engine->run(session, x, 1, other, 2, &err), &err);
        assert_memory_equal(got[0].data, other[0].data, other[0].bytes);
        assert_memory_equal(got[1].data, other[1].data, other[1].bytes);
        engine->close(session);
    }
}

static void check(const struct net *net, bool integers)
{
    struct pith_graph *graph = build(net);
    struct pith_session *fast = compile(graph, false), *literal = compile(graph, true);
    struct pith_tensor x = random_input(net), got[2], want[2];

    assert_ok(engine->run(fast, &x, 1, got, 2, &err), &err);
    assert_ok(engine->run(literal, &x, 1, want, 2, &err), &err);
    check_close(&got[0], &want[0], 0.0631);
    check_close(&got[1], &want[1], 0.0403);
    if (integers && pith_isa_includes(pith_isa(), PITH_ISA_SSE2)) {
        assert_int_equal(count_steps(fast, "image_conv_s8 int4"), 2);
        assert_int_equal(
            count_steps(fast, net->turned ? "gemm_s8 int4" : "matmul_s8 int4"), 1);
        check_all_sets(graph, &x, got);
    }
    engine->close(fast);
    engine->close(literal);
    pith_graph_free(graph);
    pith_tensor_free(&x);
}

static void blocks_are_computed_as_integers(void **state)
{
    (void) state;
    for (int round = 0; round < 10; round++) {
        const int64_t sizes[] = {8, 16, 32, 17};
        const struct net net = {.in = 1 + pick(0, 70),
                                .middle = 1 + pick(0, 150),
                                .out = 1 + pick(0, 90),
                                .size = 3 + pick(0, 9),
                                .block = sizes[round % 4],
                                .stride = 1 + round % 2,
                                .dtype = round % 3 == 2 ? PITH_UINT4 : PITH_INT4,
                                .turned = round % 2 == 0};

        check(&net, true);
    }
}

/* What no integer kernel takes is done with floats, channels-last all the same. */
static void wider_blocks_are_computed_as_floats(void **state)
{
    const struct net net = {20, 40, 9, 8, 16, 1, PITH_INT8, true};

    (void) state;
    check(&net, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_computed_as_integers),
        cmocka_unit_test(wider_blocks_are_computed_as_floats),
    };

    return cmocka_run_group_tests(tests, open_engine, close_engine);
}
