/* Operators of ONNX Runtime's own domain: they are read as standard ones, run, and give what ONNX Runtime gives for
 * the file as it was, where that is there (PITH_ONNXRUNTIME). */
#include "libpith/formats/onnx.h"
#include "tests/unit/native_engine.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define OWN "com.microsoft"

static struct pith_graph *graph;
static const struct pith_engine_ops *peer; /* NULL: not here */
static const char *fused; /* a step that the engine makes of the nodes; NULL: whichever there are */

/* ---- graphs ---- */

static uint32_t begin(int64_t opset, uint32_t rank, const int64_t *dims)
{
    const struct pith_shape shape = pith_shape_of(rank, dims);
    uint32_t x;

    assert_int_equal(pith_graph_new(&graph, "net", NULL), 0);
    assert_int_equal(pith_graph_set_opset(graph, "", opset), 0);
    assert_int_equal(pith_graph_set_opset(graph, OWN, 1), 0);
    assert_int_equal(pith_graph_add_value(graph, "x", PITH_FLOAT32, &shape, &x, NULL), 0);
    assert_int_equal(pith_graph_add_input(graph, x), 0);
    return x;
}

static uint32_t make(const char *domain, const char *op, const uint32_t *in, size_t count, int32_t dtype, uint32_t *node)
{
    uint32_t y;

    assert_int_equal(pith_graph_add_value(graph, NULL, dtype, NULL, &y, NULL), 0);
    assert_int_equal(pith_graph_add_node(graph, domain, op, NULL, in, count, &y, 1, node, NULL), 0);
    return y;
}

static uint32_t own(const char *op, const uint32_t *in, size_t count, uint32_t *node)
{
    return make(OWN, op, in, count, PITH_FLOAT32, node);
}

static uint32_t floats(uint32_t rank, const int64_t *dims)
{
    return add_constant(graph, PITH_FLOAT32, rank, dims);
}

static uint32_t number(float x)
{
    const struct pith_tensor tensor = {PITH_FLOAT32, {0}, &x, sizeof x};
    uint32_t value;

    assert_int_equal(pith_graph_add_constant(graph, NULL, &tensor, &value, NULL), 0);
    return value;
}

static uint32_t byte(int32_t dtype, int x)
{
    uint8_t number = (uint8_t) x;
    const struct pith_tensor tensor = {dtype, {0}, &number, 1};
    uint32_t value;

    assert_int_equal(pith_graph_add_constant(graph, NULL, &tensor, &value, NULL), 0);
    return value;
}

/* Positive ones around `middle`. */
static uint32_t scales(int64_t count, float middle)
{
    struct pith_tensor tensor;
    uint32_t value;

    assert_int_equal(pith_tensor_alloc(&tensor, PITH_FLOAT32, &(struct pith_shape){1, {count}}, NULL), 0);
    for (int64_t i = 0; i < count; i++)
        ((float *) tensor.data)[i] = middle * (1.0F + 0.5F * random_float());
    assert_int_equal(pith_graph_add_constant(graph, NULL, &tensor, &value, NULL), 0);
    pith_tensor_free(&tensor);
    return value;
}

struct grid {
    uint32_t scale, zero;
    int32_t dtype;
};

static struct grid grid_of(float scale, int zero)
{
    return (struct grid){number(scale), byte(PITH_UINT8, zero), PITH_UINT8};
}

static uint32_t quantized(uint32_t x, struct grid g)
{
    return make("", "QuantizeLinear", (uint32_t[]){x, g.scale, g.zero}, 3, g.dtype, NULL);
}

static uint32_t real(uint32_t q, struct grid g)
{
    return make("", "DequantizeLinear", (uint32_t[]){q, g.scale, g.zero}, 3, PITH_FLOAT32, NULL);
}

/* ---- comparing ---- */

static struct pith_session *session_of(const struct pith_engine_ops *ops, const struct pith_graph *g)
{
    struct pith_option_value values[8] = {{0}};
    const struct pith_engine_options options = {.size_bytes = sizeof options, .threads = 1, .options = values};
    struct pith_session *session = NULL;
    struct pith_error err = {0};

    values[1].integer = 64; /* native's memory limit, as in native_engine.h */
    assert_ok(ops->compile(NULL, g, &options, &session, &err), &err);
    return session;
}

static void compare(const struct pith_tensor *x, const struct pith_tensor *got, double tolerance)
{
    struct pith_session *session = session_of(peer, graph);
    struct pith_tensor want;
    struct pith_error err = {0};

    assert_ok(peer->run(session, x, 1, &want, 1, &err), &err);
    assert_true(pith_shape_equal(&got->shape, &want.shape));
    for (int64_t i = 0; i < pith_shape_elements(&want.shape); i++) {
        const double g = pith_tensor_get(got, i), w = pith_tensor_get(&want, i);

        if (!(fabs(g - w) <= tolerance))
            fail_msg("[%d] is %.9g, not %.9g", (int) i, g, w);
    }
    peer->close(session);
}

/* Ends the graph, reads it back as a file, runs it. nodes: how many of that operator it has then. */
static void check(uint32_t y, const char *op, int nodes, double tolerance)
{
    struct pith_graph *read = NULL;
    struct pith_error err = {0};
    struct pith_session *session;
    struct pith_tensor x, got;
    void *data = NULL;
    size_t bytes = 0;

    assert_int_equal(pith_graph_add_output(graph, y), 0);
    assert_ok(pith_graph_validate(graph, &err), &err);
    assert_ok(pith_graph_write_onnx(graph, &data, &bytes, &err), &err);
    assert_ok(pith_graph_parse(&read, data, bytes, &err), &err);
    for (uint32_t i = 0; i < pith_graph_node_limit(read); i++)
        if (pith_node_exists(read, i)) {
            assert_string_equal(pith_node_domain(read, i), "");
            nodes -= strcmp(pith_node_op(read, i), op) == 0;
        }
    assert_int_equal(nodes, 0);
    assert_string_equal(pith_value_name(read, pith_graph_output(read, 0)), pith_value_name(graph, y));
    assert_ok(pith_tensor_alloc(&x, PITH_FLOAT32, pith_value_shape(read, pith_graph_input(read, 0)), &err), &err);
    for (int64_t i = 0; i < pith_shape_elements(&x.shape); i++)
        ((float *) x.data)[i] = 2.0F * random_float();
    session = session_of(engine, read);
    assert_true(!fused || has_step(session, fused));
    assert_ok(engine->run(session, &x, 1, &got, 1, &err), &err);
    if (peer)
        compare(&x, &got, tolerance);
    engine->close(session);
    pith_tensor_free(&x);
    free(data);
    pith_graph_free(read);
    pith_graph_free(graph);
}

/* At the end of a test that calls check. */
#define skip_where_nothing_was_compared()                                                          \
    do {                                                                                           \
        if (!peer)                                                                                 \
            skip_because("without ONNX Runtime (PITH_ONNXRUNTIME) nothing is compared");           \
    } while (0)

/* ---- branches ---- */

static struct pith_graph *branch(uint32_t outer, const char *domain, const char *op)
{
    struct pith_graph *around = graph, *inside;
    uint32_t x;

    assert_int_equal(pith_graph_new(&graph, op, NULL), 0);
    assert_int_equal(pith_graph_add_value(graph, "inner", PITH_DTYPE_NONE, NULL, &x, NULL), 0);
    assert_int_equal(pith_graph_add_capture(graph, x, outer), 0);
    assert_int_equal(pith_graph_add_output(graph, make(domain, op, &x, 1, PITH_DTYPE_NONE, NULL)), 0);
    inside = graph;
    graph = around;
    return inside;
}

/* What a branch takes from the graph around it has a type that the file does not say. */
static void operators_in_branches_dissolve(void **state)
{
    const uint32_t x = begin(13, 2, (const int64_t[]){3, 8});
    const uint32_t h = make("", "MatMul", (uint32_t[]){x, floats(2, (const int64_t[]){8, 8})}, 2, PITH_DTYPE_NONE, NULL);
    uint32_t node, sum = make("", "ReduceSum", &x, 1, PITH_FLOAT32, &node), y;

    (void) state;
    assert_int_equal(pith_node_set_int(graph, node, "keepdims", 0), 0);
    sum = make("", "Greater", (uint32_t[]){sum, number(-1e9F)}, 2, PITH_BOOL, NULL);
    y = make("", "If", &sum, 1, PITH_DTYPE_NONE, &node);
    assert_int_equal(pith_node_set_graph(graph, node, "then_branch", branch(h, OWN, "QuickGelu")), 0);
    assert_int_equal(pith_node_set_graph(graph, node, "else_branch", branch(h, "", "Neg")), 0);
    check(y, "If", 1, 1e-5);
    skip_where_nothing_was_compared();
}

/* ---- integers ---- */

static void quantized_layers_become_floats_on_grids(void **state)
{
    const int64_t five = 5;
    struct grid gx, gw, gy;
    struct pith_tensor bias;
    uint32_t in[9], node, y;
    struct pith_error err = {0};

    (void) state;
    for (int columns = 0; columns < 2; columns++) {
        y = begin(13, 4, (const int64_t[]){1, 3, 7, 6});
        gx = grid_of(0.02F, 121);
        gy = grid_of(0.04F, 110);
        gw = (struct grid){columns ? scales(5, 0.01F) : number(0.01F), 0, PITH_INT8};
        if (columns) {
            const struct pith_tensor zeros = {PITH_INT8, {1, {5}}, (int8_t[5]){0}, 5};

            assert_int_equal(pith_graph_add_constant(graph, NULL, &zeros, &gw.zero, NULL), 0);
        } else {
            gw.zero = byte(PITH_INT8, 0);
        }
        assert_ok(pith_tensor_alloc(&bias, PITH_INT32, &(struct pith_shape){1, {five}}, &err), &err);
        for (int64_t i = 0; i < five; i++)
            pith_tensor_set(&bias, i, (double) (500 * i - 900));
        assert_int_equal(pith_graph_add_constant(graph, NULL, &bias, &in[8], NULL), 0);
        pith_tensor_free(&bias);
        in[0] = quantized(y, gx);
        in[1] = gx.scale;
        in[2] = gx.zero;
        in[3] = add_constant(graph, PITH_INT8, 4, (const int64_t[]){5, 3, 3, 3});
        in[4] = gw.scale;
        in[5] = gw.zero;
        in[6] = gy.scale;
        in[7] = gy.zero;
        y = make("", "QLinearConv", in, columns ? 9 : 8, PITH_UINT8, &node);
        assert_int_equal(pith_node_set_ints(graph, node, "pads", (const int64_t[]){1, 1, 1, 1}, 4), 0);
        check(real(y, gy), "Conv", 1, 0.0401);
    }
    for (int floating = 0; floating < 2; floating++) {
        y = begin(13, 2, (const int64_t[]){3, 11});
        gx = grid_of(0.02F, 121);
        gy = grid_of(0.05F, 130);
        memcpy(in, (const uint32_t[]){quantized(y, gx), gx.scale, gx.zero,
                                      add_constant(graph, PITH_INT8, 2, (const int64_t[]){11, 5}), number(0.01F),
                                      byte(PITH_INT8, 0), PITH_NO_VALUE, gy.scale, gy.zero},
               sizeof in);
        y = make(OWN, "QGemm", in, floating ? 6 : 9, floating ? PITH_FLOAT32 : PITH_UINT8, &node);
        check(floating ? y : real(y, gy), "Gemm", 1, floating ? 1e-4 : 0.0501);
    }
    y = begin(13, 3, (const int64_t[]){2, 3, 11});
    gx = grid_of(0.02F, 121);
    gy = grid_of(0.05F, 130);
    memcpy(in, (const uint32_t[]){quantized(y, gx), gx.scale, gx.zero,
                                  add_constant(graph, PITH_INT8, 2, (const int64_t[]){11, 5}), number(0.01F),
                                  byte(PITH_INT8, 0), gy.scale, gy.zero, 0},
           sizeof in);
    check(real(make("", "QLinearMatMul", in, 8, PITH_UINT8, NULL), gy), "MatMul", 1, 0.0501);
    skip_where_nothing_was_compared();
}

static void what_works_on_quantized_elements_dissolves(void **state)
{
    static const char *const binary[] = {"QLinearAdd", "QLinearMul"}, *const single[] = {"QLinearSigmoid", "QLinearLeakyRelu",
                                                                                         "QLinearGlobalAveragePool",
                                                                                         "QLinearAveragePool", "QLinearSoftmax",
                                                                                         "QLinearSoftmax"},
                      *const plain[] = {"Sigmoid", "LeakyRelu", "GlobalAveragePool", "AveragePool", "Softmax", "Softmax"};
    uint32_t x, node, q, y;
    struct grid gx, gy;

    (void) state;
    for (int i = 0; i < 2; i++) {
        x = begin(13, 4, (const int64_t[]){1, 3, 5, 4});
        gx = grid_of(0.02F, 121);
        gy = grid_of(0.04F, 110);
        q = quantized(x, gx);
        y = own(binary[i], (uint32_t[]){q, gx.scale, gx.zero, q, gx.scale, gx.zero, gy.scale, gy.zero}, 8, &node);
        assert_int_equal(pith_value_set_type(graph, y, PITH_UINT8, NULL), 0);
        check(real(y, gy), i ? "Mul" : "Add", 1, 0.0401);
    }
    for (int i = 0; i < 6; i++) {
        const bool shares = i == 0 || i >= 4; /* what comes out is 0 to 1 */

        x = begin(i == 5 ? 12 : 13, 4, (const int64_t[]){1, 3, 5, 4});
        gx = grid_of(0.02F, 121);
        gy = grid_of(shares ? 1.0F / 256.0F : 0.02F, shares ? 0 : 100);
        y = own(single[i], (uint32_t[]){quantized(x, gx), gx.scale, gx.zero, gy.scale, gy.zero}, 5, &node);
        assert_int_equal(pith_value_set_type(graph, y, PITH_UINT8, NULL), 0);
        if (i == 3)
            assert_int_equal(pith_node_set_ints(graph, node, "kernel_shape", (const int64_t[]){2, 3}, 2), 0);
        if (i == 5) /* without an axis */
            assert_int_equal(pith_node_set_int(graph, node, "opset", 12), 0);
        if (i == 4) {
            assert_int_equal(pith_node_set_int(graph, node, "opset", 13), 0);
            assert_int_equal(pith_node_set_int(graph, node, "axis", -1), 0);
        }
        check(real(y, gy), plain[i], 1, shares ? 0.00391 : 0.0201);
    }
    x = begin(13, 4, (const int64_t[]){1, 3, 5, 4});
    gx = grid_of(0.02F, 121);
    gy = grid_of(0.03F, 110);
    q = quantized(x, gx);
    y = own("QLinearConcat", (uint32_t[]){gy.scale, gy.zero, q, gx.scale, gx.zero, q, gx.scale, gx.zero}, 8, &node);
    assert_int_equal(pith_value_set_type(graph, y, PITH_UINT8, NULL), 0);
    assert_int_equal(pith_node_set_int(graph, node, "axis", 1), 0);
    check(real(y, gy), "Concat", 1, 0.0301);
    skip_where_nothing_was_compared();
}

/* ---- floats ---- */

static void fused_products_dissolve(void **state)
{
    static const char *const kinds[] = {"Relu", "LeakyRelu", "Clip", "HardSigmoid", "Tanh"};
    const int64_t five = 5;
    uint32_t x, y, node;

    (void) state;
    for (int i = 0; i < 5; i++) {
        x = begin(i % 2 ? 13 : 9, 4, (const int64_t[]){1, 3, 5, 4});
        y = own("FusedConv", (uint32_t[]){x, floats(4, (const int64_t[]){5, 3, 1, 1}), floats(1, &five), floats(4, (const int64_t[]){1, 5, 5, 4})},
                i == 4 ? 4 : 3, &node);
        assert_int_equal(pith_node_set_string(graph, node, "activation", kinds[i]), 0);
        assert_int_equal(pith_node_set_floats(graph, node, "activation_params", (const float[]){-0.1F, 0.7F}, i == 1 ? 1 : i == 2 || i == 3 ? 2 : 0), 0);
        check(y, kinds[i], 1, 1e-5);
    }
    x = begin(13, 2, (const int64_t[]){3, 6});
    y = own("FusedGemm", (uint32_t[]){x, floats(2, (const int64_t[]){5, 6}), floats(1, &five)}, 3, &node);
    assert_int_equal(pith_node_set_int(graph, node, "transB", 1), 0);
    assert_int_equal(pith_node_set_string(graph, node, "activation", "LeakyRelu"), 0);
    assert_int_equal(pith_node_set_float(graph, node, "activation_alpha", 0.2F), 0);
    check(y, "Gemm", 1, 1e-5);
    x = begin(13, 3, (const int64_t[]){2, 3, 6});
    y = own("FusedMatMul", (uint32_t[]){x, floats(3, (const int64_t[]){2, 3, 4})}, 2, &node);
    assert_int_equal(pith_node_set_int(graph, node, "transA", 1), 0);
    assert_int_equal(pith_node_set_float(graph, node, "alpha", 0.3F), 0);
    check(y, "Transpose", 1, 1e-5);
    skip_where_nothing_was_compared();
}

static void gelus_dissolve(void **state)
{
    static const char *const ops[] = {"Gelu", "BiasGelu", "FastGelu", "FastGelu", "QuickGelu"},
                      *const inside[] = {"Erf", "Erf", "Tanh", "Tanh", "Sigmoid"};

    (void) state;
    for (int i = 0; i < 5; i++) {
        const uint32_t x = begin(13, 2, (const int64_t[]){3, 6});
        const int64_t six = 6;

        check(own(ops[i], (uint32_t[]){x, floats(1, &six)}, i == 1 || i == 2 ? 2 : 1, NULL), inside[i], 1, 1e-5);
    }
    for (int i = 0; i < 2; i++) {
        const uint32_t x = begin(24, 2, (const int64_t[]){3, 6});
        uint32_t node, y = make("", "Swish", &x, 1, PITH_FLOAT32, &node);

        if (i)
            assert_int_equal(pith_node_set_float(graph, node, "alpha", 0.3F), 0);
        check(y, "Sigmoid", 1, 1e-5);
    }
    skip_where_nothing_was_compared();
}

static void layer_normalizations_dissolve(void **state)
{
    const int64_t eight = 8;

    (void) state;
    for (int i = 0; i < 6; i++) {
        const int64_t opset = i % 3 == 0 ? 12 : i % 3 == 1 ? 17 : 18;
        const uint32_t x = begin(opset, 3, (const int64_t[]){2, 3, 8}), skip = floats(3, (const int64_t[]){2, 3, 8});
        uint32_t y, node, sum;

        if (i < 3) {
            y = own("SkipLayerNormalization", (uint32_t[]){x, skip, floats(1, &eight), floats(1, &eight), floats(1, &eight)}, 5, &node);
        } else {
            const uint32_t in[4] = {x, skip, floats(1, &eight), floats(1, &eight)};
            uint32_t out[4] = {PITH_NO_VALUE, PITH_NO_VALUE, PITH_NO_VALUE, PITH_NO_VALUE};

            assert_int_equal(pith_graph_add_value(graph, NULL, PITH_FLOAT32, NULL, &out[0], NULL), 0);
            assert_int_equal(pith_graph_add_value(graph, NULL, PITH_FLOAT32, NULL, &out[3], NULL), 0);
            assert_int_equal(pith_graph_add_node(graph, OWN, "SkipSimplifiedLayerNormalization", NULL, in, 4, out, 4, &node, NULL), 0);
            sum = out[3];
            y = make("", "Add", (uint32_t[]){out[0], sum}, 2, PITH_FLOAT32, NULL);
        }
        assert_int_equal(pith_node_set_float(graph, node, "epsilon", 1e-4F), 0);
        check(y, "LayerNormalization", i == 1 || i == 2, 1e-4);
    }
    {
        const uint32_t x = begin(12, 3, (const int64_t[]){2, 3, 8});

        check(make("", "LayerNormalization", (uint32_t[]){x, floats(1, &eight)}, 2, PITH_FLOAT32, NULL), "Sqrt", 1, 1e-4);
    }
    {
        const uint32_t x = begin(23, 3, (const int64_t[]){2, 3, 8});

        check(make("", "RMSNormalization", (uint32_t[]){x, floats(1, &eight)}, 2, PITH_FLOAT32, NULL), "Sqrt", 1, 1e-4);
    }
    skip_where_nothing_was_compared();
}

/* Numbers of rows of a table, for 2 times 5 tokens. */
static uint32_t tokens_of(int32_t rows)
{
    int32_t numbers[10];
    const struct pith_tensor tensor = {PITH_INT32, {2, {2, 5}}, numbers, sizeof numbers};
    uint32_t value;

    for (int32_t i = 0; i < 10; i++)
        numbers[i] = i * 7 % rows;
    assert_int_equal(pith_graph_add_constant(graph, NULL, &tensor, &value, NULL), 0);
    return value;
}

static void embeddings_dissolve(void **state)
{
    const int64_t width = 8;

    (void) state;
    for (int i = 0; i < 3; i++) {
        const uint32_t x = begin(i ? 17 : 12, 2, (const int64_t[]){11, width});
        uint32_t in[9] = {tokens_of(11), PITH_NO_VALUE, x, floats(2, (const int64_t[]){6, width}), PITH_NO_VALUE,
                          floats(1, &width), floats(1, &width), PITH_NO_VALUE, PITH_NO_VALUE};
        uint32_t out[2], node;

        if (i < 2) {
            in[1] = tokens_of(2);
            in[4] = floats(2, (const int64_t[]){2, width});
        }
        if (i == 1)
            in[8] = tokens_of(6);
        assert_int_equal(pith_graph_add_value(graph, NULL, PITH_FLOAT32, NULL, &out[0], NULL), 0);
        assert_int_equal(pith_graph_add_value(graph, NULL, PITH_INT32, NULL, &out[1], NULL), 0);
        assert_int_equal(pith_graph_add_node(graph, OWN, "EmbedLayerNormalization", NULL, in, i == 1 ? 9 : 7, out, 2, &node, NULL), 0);
        assert_int_equal(pith_node_set_float(graph, node, "epsilon", 1e-5F), 0);
        check(out[0], "Gather", i < 2 ? 3 : 2, 1e-4);
    }
    skip_where_nothing_was_compared();
}

/* Keys 0..3 of 5 count in the first row, 1..4 in the second: whatever is above 0. */
static uint32_t keys_mask(void)
{
    const int32_t keys[10] = {1, 2, 1, 1, 0, -1, 1, 1, 7, 1};
    const struct pith_tensor tensor = {PITH_INT32, {2, {2, 5}}, (void *) (uintptr_t) keys, sizeof keys};
    uint32_t value;

    assert_int_equal(pith_graph_add_constant(graph, NULL, &tensor, &value, NULL), 0);
    return value;
}

/* A mask of 2000 x 2000 would be 16 MB in each layer. */
static void causal_masks_take_no_room(void **state)
{
    const uint32_t x = begin(23, 4, (const int64_t[]){1, 2, 2000, 4});
    struct pith_graph *read = NULL;
    struct pith_graph_size size;
    struct pith_error err = {0};
    uint32_t node, y = make("", "Attention", (uint32_t[]){x, x, x}, 3, PITH_FLOAT32, &node);
    void *data = NULL;
    size_t bytes = 0;

    (void) state;
    assert_int_equal(pith_node_set_int(graph, node, "is_causal", 1), 0);
    assert_int_equal(pith_graph_add_output(graph, y), 0);
    assert_ok(pith_graph_validate(graph, &err), &err);
    assert_ok(pith_graph_write_onnx(graph, &data, &bytes, &err), &err);
    assert_ok(pith_graph_parse(&read, data, bytes, &err), &err);
    pith_graph_measure(read, &size);
    assert_true(size.weight_bytes < 1000);
    free(data);
    pith_graph_free(read);
    pith_graph_free(graph);
}

static void attentions_dissolve(void **state)
{
    const int64_t width = 12, three = 36;

    (void) state;
    fused = "attention_f32";
    for (int i = 0; i < 6; i++) {
        const uint32_t x = begin(14 + i, 3, (const int64_t[]){2, 5, width});
        const bool masked = i % 3 == 1, biased = i % 3 != 2;
        uint32_t in[6] = {x, x, x, PITH_NO_VALUE, PITH_NO_VALUE, PITH_NO_VALUE}, node, y;

        if (i < 3) { /* ONNX Runtime wants its bias */
            in[1] = floats(2, (const int64_t[]){width, three});
            in[2] = floats(1, &three);
            in[3] = masked ? keys_mask() : PITH_NO_VALUE;
            in[5] = i == 2 ? floats(4, (const int64_t[]){2, 3, 5, 5}) : PITH_NO_VALUE;
        } else {
            in[3] = biased ? floats(1, &three) : PITH_NO_VALUE;
            in[4] = masked ? keys_mask() : PITH_NO_VALUE;
            in[5] = i == 5 ? floats(4, (const int64_t[]){2, 3, 5, 5}) : PITH_NO_VALUE;
        }
        y = own(i < 3 ? "Attention" : "MultiHeadAttention", in, in[5] != PITH_NO_VALUE ? 6 : in[4] != PITH_NO_VALUE ? 5 : 4, &node);
        assert_int_equal(pith_node_set_int(graph, node, "num_heads", 3), 0);
        if (i == 4)
            assert_int_equal(pith_node_set_float(graph, node, "scale", 0.3F), 0);
        check(y, "Softmax", 1, 1e-4);
    }
    for (int i = 0; i < 4; i++) { /* ONNX's own, of a value whose shape the file does not say */
        const uint32_t x = begin(23, 3, (const int64_t[]){2, 5, width}), mask = floats(2, (const int64_t[]){5, 5});
        const uint32_t w = floats(2, (const int64_t[]){width, width}),
                       q = make("", "MatMul", (uint32_t[]){x, w}, 2, PITH_FLOAT32, NULL);
        uint32_t node, y = make("", "Attention", (uint32_t[]){q, x, q, mask}, i == 2 ? 4 : 3, PITH_FLOAT32, &node);

        assert_int_equal(pith_node_set_int(graph, node, "q_num_heads", 3), 0);
        assert_int_equal(pith_node_set_int(graph, node, "kv_num_heads", 3), 0);
        if (i == 1)
            assert_int_equal(pith_node_set_int(graph, node, "is_causal", 1), 0);
        if (i == 3)
            assert_int_equal(pith_node_set_float(graph, node, "scale", 0.3F), 0);
        check(y, "Softmax", 1, 1e-4);
    }
    fused = NULL;
    skip_where_nothing_was_compared();
}

/* ---- weights alone are integers ---- */

static void products_with_integer_weights_dissolve(void **state)
{
    const int64_t five = 5;
    uint32_t x, y, node, w;

    (void) state;
    x = begin(13, 3, (const int64_t[]){2, 3, 12});
    w = add_constant(graph, PITH_INT8, 2, (const int64_t[]){12, 5});
    y = own("DynamicQuantizeMatMul", (uint32_t[]){x, w, number(0.01F), byte(PITH_INT8, 3), floats(1, &five)}, 5, NULL);
    check(y, "MatMulInteger", 1, 1e-4);
    for (int zeros = 0; zeros < 2; zeros++) {
        const int64_t depth = zeros ? 64 : 50, blocks = zeros ? 4 : 4; /* of 16; the last is not full */
        const int64_t shapes[3][3] = {{5, blocks, 8}, {5, blocks, 1}, {5, (blocks + 1) / 2, 1}};
        struct pith_tensor bytes;
        uint32_t in[4];

        x = begin(13, 3, (const int64_t[]){2, zeros ? 3 : 20, depth});
        in[0] = x;
        for (int i = 0; i < 2; i++) {
            assert_int_equal(pith_tensor_alloc(&bytes, PITH_UINT8, &(struct pith_shape){i ? 1 : 3, {i ? 5 * shapes[2][1] : 5, blocks, 8}}, NULL), 0);
            for (size_t k = 0; k < bytes.bytes; k++)
                ((uint8_t *) bytes.data)[k] = (uint8_t) (128.0F + 127.0F * random_float());
            assert_int_equal(pith_graph_add_constant(graph, NULL, &bytes, &in[i ? 3 : 1], NULL), 0);
            pith_tensor_free(&bytes);
        }
        in[2] = scales(5 * blocks, 0.02F);
        y = own("MatMulNBits", in, zeros ? 4 : 3, &node);
        assert_int_equal(pith_node_set_int(graph, node, "K", depth), 0);
        assert_int_equal(pith_node_set_int(graph, node, "N", 5), 0);
        assert_int_equal(pith_node_set_int(graph, node, "bits", 4), 0);
        assert_int_equal(pith_node_set_int(graph, node, "block_size", 16), 0);
        check(y, "MatMul", 1, 2e-4);
    }
    skip_where_nothing_was_compared();
}

static void an_lstm_with_integer_weights_dissolves(void **state)
{
    const int64_t width = 6, hidden = 5;
    const uint32_t x = begin(13, 3, (const int64_t[]){4, 1, width});
    uint32_t in[12], y, node;

    (void) state;
    for (int i = 0; i < 12; i++)
        in[i] = PITH_NO_VALUE;
    in[0] = x;
    in[1] = add_constant(graph, PITH_INT8, 3, (const int64_t[]){1, width, 4 * hidden});
    in[2] = add_constant(graph, PITH_INT8, 3, (const int64_t[]){1, hidden, 4 * hidden});
    in[3] = floats(2, (const int64_t[]){1, 8 * hidden});
    in[8] = scales(1, 0.004F);
    in[10] = scales(1, 0.004F);
    for (int i = 0; i < 2; i++) {
        const struct pith_tensor zero = {PITH_INT8, {1, {1}}, (int8_t[]){0}, 1};

        assert_int_equal(pith_graph_add_constant(graph, NULL, &zero, &in[9 + 2 * i], NULL), 0);
    }
    y = own("DynamicQuantizeLSTM", in, 12, &node);
    assert_int_equal(pith_node_set_int(graph, node, "hidden_size", hidden), 0);
    check(y, "LSTM", 1, 0.02); /* there inputs and states are rounded to 8 bits */
    skip_where_nothing_was_compared();
}

/* ---- what has no standard form is refused by its name ---- */

static void what_has_no_standard_form_is_refused(void **state)
{
    const uint32_t x = begin(13, 4, (const int64_t[]){1, 3, 5, 4});
    struct grid gx = grid_of(0.02F, 121), gy = grid_of(0.02F, 100);
    struct pith_graph *read = NULL;
    struct pith_error err = {0};
    void *data = NULL;
    size_t bytes = 0;
    uint32_t node, y;

    (void) state;
    y = own("QLinearGlobalAveragePool", (uint32_t[]){quantized(x, gx), gx.scale, gx.zero, gy.scale, gy.zero}, 5, &node);
    assert_int_equal(pith_value_set_type(graph, y, PITH_UINT8, NULL), 0);
    assert_int_equal(pith_node_set_int(graph, node, "channels_last", 1), 0);
    assert_int_equal(pith_graph_add_output(graph, real(y, gy)), 0);
    assert_ok(pith_graph_validate(graph, &err), &err);
    assert_ok(pith_graph_write_onnx(graph, &data, &bytes, &err), &err);
    assert_int_equal(pith_graph_parse(&read, data, bytes, &err), -ENOTSUP);
    assert_non_null(strstr(pith_error_text(&err), "QLinearGlobalAveragePool"));
    free(data);
    pith_graph_free(graph);
}

static int open_engines(void **state)
{
    const struct pith_plugin *plugin;
    struct pith_error err = {0};

    if (open_engine(state) < 0)
        return -1;
    if (pith_plugins_find(plugins, PITH_KIND_ENGINE, "onnxruntime", &plugin, &err) == 0 &&
        ((const struct pith_engine_ops *) plugin->ops)->prepare(&err) == 0)
        peer = plugin->ops; /* tests/integration/engines.sh sees to it that it is there */
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operators_in_branches_dissolve),
        cmocka_unit_test(quantized_layers_become_floats_on_grids),
        cmocka_unit_test(what_works_on_quantized_elements_dissolves),
        cmocka_unit_test(fused_products_dissolve),
        cmocka_unit_test(gelus_dissolve),
        cmocka_unit_test(layer_normalizations_dissolve),
        cmocka_unit_test(embeddings_dissolve),
        cmocka_unit_test(attentions_dissolve),
        cmocka_unit_test(causal_masks_take_no_room),
        cmocka_unit_test(products_with_integer_weights_dissolve),
        cmocka_unit_test(an_lstm_with_integer_weights_dissolves),
        cmocka_unit_test(what_has_no_standard_form_is_refused),
    };

    return cmocka_run_group_tests_name("onnx_dissolve", tests, open_engines, close_engine);
}
