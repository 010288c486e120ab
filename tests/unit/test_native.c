/* The engine native: that running allocates nothing and asks nothing of the system, and that
 * integer kernels give what executing Q and DQ literally gives. */
#include "libpith/graph/graph_internal.h"
#include "libpith/plugin/plugins.h"
#include "tests/testing.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <math.h>
#include <pith/engine.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define SANITIZED 1
#elif defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static struct pith_plugins *plugins;
static const struct pith_plugin *native;
static const struct pith_engine_ops *engine;

/* ---- counting allocations ---- */

static volatile long allocation_count;

#if !SANITIZED
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *memory, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);

void *malloc(size_t bytes)
{
    allocation_count++;
    return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
    allocation_count++;
    return __libc_calloc(count, bytes);
}

void *realloc(void *memory, size_t bytes)
{
    allocation_count++;
    return __libc_realloc(memory, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    allocation_count++;
    return __libc_memalign(alignment, bytes);
}
#endif

/* ---- graphs ---- */

static uint32_t seed = 1;

static float random_float(void)
{
    seed = seed * 1664525U + 1013904223U;
    return (float) (seed >> 8) / (float) (1 << 23) - 1.0F;
}

static uint32_t add_constant(struct pith_graph *graph, int32_t dtype, uint32_t rank,
                             const int64_t *dims)
{
    const struct pith_shape shape = pith_shape_of(rank, dims);
    struct pith_tensor tensor;
    struct pith_error err = {0};
    uint32_t value;

    assert_ok(pith_tensor_alloc(&tensor, dtype, &shape, &err), &err);
    for (int64_t i = 0; i < pith_shape_elements(&shape); i++)
        pith_tensor_set(&tensor, i, (double) random_float() * (dtype == PITH_INT8 ? 120.0 : 0.5));
    assert_ok(pith_graph_add_constant(graph, NULL, &tensor, &value, &err), &err);
    pith_tensor_free(&tensor);
    return value;
}

/* One grid for all, or one a channel where channels > 0. */
static void set_grid(struct pith_graph *graph, uint32_t value, int32_t dtype, float scale,
                     int32_t zero, int32_t axis, size_t channels)
{
    float scales[64];
    int32_t zeros[64];
    const struct pith_quantization q = {dtype, axis, 0, channels ? channels : 1, scales, zeros};

    for (size_t i = 0; i < q.count; i++) {
        scales[i] = scale * (1.0F + 0.1F * (float) i);
        zeros[i] = zero;
    }
    assert_int_equal(pith_value_set_quantization(graph, value, &q), 0);
}

static uint32_t add_node(struct pith_graph *graph, const char *op, const uint32_t *inputs,
                         size_t count, uint32_t *out_node)
{
    uint32_t out, node;

    assert_int_equal(pith_graph_add_value(graph, NULL, PITH_FLOAT32, NULL, &out, NULL), 0);
    assert_int_equal(pith_graph_add_node(graph, "", op, op, inputs, count, &out, 1, &node, NULL),
                     0);
    if (out_node)
        *out_node = node;
    return out;
}

struct net {
    int64_t channels, size, features;
    bool quantized, is_signed,
        sixteen; /* sixteen: activations on grids of int16, as fine as those of 8 bits or finer */
};

static void grid(struct pith_graph *graph, const struct net *net, uint32_t value, float scale,
                 int32_t zero)
{
    if (net->sixteen)
        set_grid(graph, value, PITH_INT16, scale / 64.0F, 0, 0, 0);
    else if (net->quantized)
        set_grid(graph, value, net->is_signed ? PITH_INT8 : PITH_UINT8, scale,
                 net->is_signed ? zero - 128 : zero, 0, 0);
}

/* A small net with what real ones have: convolutions (3x3 with padding and Relu, depthwise with
 * stride, 1x1), a residual addition, Sigmoid, pooling, and a product at the end. */
static struct pith_graph *build(const struct net *net)
{
    const int32_t weight = net->quantized ? PITH_INT8 : PITH_FLOAT32;
    const int64_t c = net->channels;
    const struct pith_shape shape = {4, {1, 3, net->size, net->size}};
    struct pith_graph *graph;
    struct pith_error err = {0};
    uint32_t x, y, z, node, in[3];

    assert_ok(pith_graph_new(&graph, "net", &err), &err);
    assert_int_equal(pith_graph_set_opset(graph, "", 13), 0);
    assert_int_equal(pith_graph_add_value(graph, "x", PITH_FLOAT32, &shape, &x, NULL), 0);
    assert_int_equal(pith_graph_add_input(graph, x), 0);
    grid(graph, net, x, 0.01F, 117);

    in[0] = x;
    in[1] = add_constant(graph, weight, 4, (const int64_t[]){c, 3, 3, 3});
    in[2] = add_constant(graph, PITH_FLOAT32, 1, (const int64_t[]){c});
    if (net->quantized)
        set_grid(graph, in[1], PITH_INT8, 0.004F, 0, 0, (size_t) c);
    y = add_node(graph, "Conv", in, 3, &node);
    assert_int_equal(pith_node_set_ints(graph, node, "pads", (const int64_t[]){1, 1, 1, 1}, 4), 0);
    y = add_node(graph, "Relu", &y, 1, NULL);
    grid(graph, net, y, 0.02F, 0);

    in[0] = y;
    in[1] = add_constant(graph, weight, 4, (const int64_t[]){c, 1, 3, 3});
    if (net->quantized)
        set_grid(graph, in[1], PITH_INT8, 0.005F, 0, 0, (size_t) c);
    z = add_node(graph, "Conv", in, 2, &node);
    assert_int_equal(pith_node_set_int(graph, node, "group", c), 0);
    assert_int_equal(pith_node_set_ints(graph, node, "pads", (const int64_t[]){1, 1, 1, 1}, 4), 0);
    grid(graph, net, z, 0.05F, 99);
    in[0] = z;
    z = add_node(graph, "Sigmoid", in, 1, NULL);
    grid(graph, net, z, 1.0F / 256.0F, 0);
    in[0] = y;
    in[1] = z;
    y = add_node(graph, "Add", in, 2, NULL);
    grid(graph, net, y, 0.025F, 3);
    in[0] = y;
    y = add_node(graph, "MaxPool", in, 1, &node);
    assert_int_equal(pith_node_set_ints(graph, node, "kernel_shape", (const int64_t[]){2, 2}, 2),
                     0);
    assert_int_equal(pith_node_set_ints(graph, node, "strides", (const int64_t[]){2, 2}, 2), 0);
    grid(graph, net, y, 0.025F, 3);
    in[0] = y;
    y = add_node(graph, "GlobalAveragePool", in, 1, NULL);
    grid(graph, net, y, 0.01F, 3);
    in[0] = y;
    y = add_node(graph, "Flatten", in, 1, NULL);
    grid(graph, net, y, 0.01F, 3);
    in[0] = y;
    in[1] = add_constant(graph, weight, 2, (const int64_t[]){net->features, c});
    in[2] = add_constant(graph, PITH_FLOAT32, 1, (const int64_t[]){net->features});
    if (net->quantized)
        set_grid(graph, in[1], PITH_INT8, 0.003F, 0, 0, (size_t) net->features);
    y = add_node(graph, "Gemm", in, 3, &node);
    assert_int_equal(pith_node_set_int(graph, node, "transB", 1), 0);
    grid(graph, net, y, 0.02F, 128);
    assert_int_equal(pith_graph_add_output(graph, y), 0);
    assert_ok(pith_graph_validate(graph, &err), &err);
    assert_ok(pith_graph_infer(graph, NULL, &err), &err);
    return graph;
}

enum way { CHANNELS_LAST, PLANAR, LITERALLY };

static struct pith_session *compile_threads(const struct pith_graph *graph, enum way way,
                                            uint32_t threads)
{
    struct pith_option_value values[3] = {
        {.integer = way == LITERALLY}, {.integer = 64}, {.integer = way == PLANAR}};
    const struct pith_engine_options options = {
        .size_bytes = sizeof options, .threads = threads, .options = values};
    struct pith_session *session = NULL;
    struct pith_error err = {0};

    assert_ok(engine->compile(NULL, graph, &options, &session, &err), &err);
    return session;
}

static struct pith_session *compile(const struct pith_graph *graph, enum way way)
{
    return compile_threads(graph, way, 1);
}

static struct pith_tensor random_input(const struct net *net)
{
    const struct pith_shape shape = {4, {1, 3, net->size, net->size}};
    struct pith_tensor x;
    struct pith_error err = {0};

    assert_ok(pith_tensor_alloc(&x, PITH_FLOAT32, &shape, &err), &err);
    for (int64_t i = 0; i < pith_shape_elements(&shape); i++)
        ((float *) x.data)[i] = random_float();
    return x;
}

/* ---- tests ---- */

static void running_allocates_nothing(void **state)
{
    (void) state;
    for (int quantized = 0; quantized < 2; quantized++) {
        const struct net net = {8, 13, 5, quantized, false};
        struct pith_graph *graph = build(&net);
        struct pith_session *session = compile(graph, CHANNELS_LAST);
        struct pith_tensor x = random_input(&net), y;
        struct pith_error err = {0};
        long before;

        assert_ok(engine->run(session, &x, 1, &y, 1, &err), &err);
        before = allocation_count;
        for (int i = 0; i < 10; i++)
            if (engine->run(session, &x, 1, &y, 1, &err) < 0)
                break;
        assert_int_equal(allocation_count, before);
        if (!SANITIZED)
            assert_true(before > 0); /* they are counted */
        engine->close(session);
        pith_graph_free(graph);
        pith_tensor_free(&x);
    }
}

#if !SANITIZED /* a sanitizer's own calls would be caught */
/* In strict mode the kernel kills a process that makes any call but read, write and _exit. */
static void running_makes_no_system_call(void **state)
{
    const struct net net = {8, 13, 5, true, true};
    struct pith_graph *graph = build(&net);
    struct pith_session *session = compile(graph, CHANNELS_LAST);
    struct pith_tensor x = random_input(&net), y;
    int status = 0;
    pid_t child;

    (void) state;
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int rc;

        if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0)
            _exit(77);
        rc = engine->run(session, &x, 1, &y, 1, NULL);
        (void) syscall(SYS_exit, rc < 0); /* _exit is exit_group, which strict mode kills for */
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    engine->close(session);
    pith_graph_free(graph);
    pith_tensor_free(&x);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip(); /* emulators of another CPU have no such mode */
    assert_int_equal(WEXITSTATUS(status), 0);
}

#endif

static bool has_step(struct pith_session *session, const char *kernel)
{
    struct pith_session_description about;

    assert_int_equal(engine->describe(session, &about), 0);
    for (size_t i = 0; i < about.step_count; i++)
        if (strncmp(about.steps[i].kernel, kernel, strlen(kernel)) == 0)
            return true;
    return false;
}

/* At most one step of the output's grid off, and nearly always none: both forms round the same
 * reals, but for the order of a few float operations. */
static void integer_kernels_give_what_q_and_dq_give(void **state)
{
    int64_t total = 0, different = 0;

    (void) state;
    for (int round = 0; round < 120; round++) {
        const enum way way = round % 4 < 2 ? CHANNELS_LAST : PLANAR;
        const struct net net = {1 + round % 9, 4 + round % 11, 1 + round % 7, true, round % 2};
        struct pith_graph *graph = build(&net);
        struct pith_session *integer = compile(graph, way), *plain = compile(graph, LITERALLY);
        struct pith_tensor x = random_input(&net), got, want;
        struct pith_error err = {0};

        assert_ok(engine->run(integer, &x, 1, &got, 1, &err), &err);
        assert_ok(engine->run(plain, &x, 1, &want, 1, &err), &err);
        assert_true(has_step(integer, way == PLANAR ? "conv_s8" : "image_conv_s8"));
        assert_true(has_step(integer, "table_8") && !has_step(integer, "conv_f32"));
        assert_false(has_step(plain, "conv_s8"));
        for (int64_t i = 0; i < pith_shape_elements(&want.shape); i++) {
            const double steps = fabs(pith_tensor_get(&got, i) - pith_tensor_get(&want, i)) / 0.02;

            assert_true(steps < 1.01);
            different += steps > 0.5;
            total++;
        }
        engine->close(integer);
        engine->close(plain);
        pith_graph_free(graph);
        pith_tensor_free(&x);
    }
    assert_true(different * 100 <= total);
}

/* No integer kernel takes 16-bit activations: they are floats on their grids, in either layout. */
static void wider_grids_are_kept_by_rounding_floats(void **state)
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
        assert_true(has_step(session, way == PLANAR ? "conv_f32" : "image_conv_f32"));
        assert_true(has_step(session, "round_to_grid") && !has_step(session, "quantize"));
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

/* The last layer of a net often has no grid behind it: it need not leave the layout for that. */
static void a_convolution_from_integers_to_floats_stays_channels_last(void **state)
{
    const struct pith_shape shape = {4, {1, 8, 5, 5}};
    struct pith_session *session, *plain;
    struct pith_tensor x, got, want;
    struct pith_graph *graph;
    struct pith_error err = {0};
    uint32_t in[2], node, y;

    (void) state;
    assert_ok(pith_graph_new(&graph, "net", &err), &err);
    assert_int_equal(pith_graph_set_opset(graph, "", 13), 0);
    assert_int_equal(pith_graph_add_value(graph, "x", PITH_FLOAT32, &shape, &in[0], NULL), 0);
    assert_int_equal(pith_graph_add_input(graph, in[0]), 0);
    set_grid(graph, in[0], PITH_UINT8, 0.01F, 117, 0, 0);
    in[1] = add_constant(graph, PITH_INT8, 4, (const int64_t[]){6, 8, 3, 3});
    set_grid(graph, in[1], PITH_INT8, 0.004F, 0, 0, 6);
    y = add_node(graph, "Conv", in, 2, &node);
    assert_int_equal(pith_graph_add_output(graph, y), 0);
    assert_ok(pith_graph_validate(graph, &err), &err);
    assert_ok(pith_graph_infer(graph, NULL, &err), &err);
    session = compile(graph, CHANNELS_LAST);
    plain = compile(graph, LITERALLY);
    assert_true(has_step(session, "image_conv_f32") && !has_step(session, "conv_f32"));
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
    struct pith_graph *graph;
    struct pith_error err = {0};
    uint32_t in[2], node, y, padded;

    assert_ok(pith_graph_new(&graph, "net", &err), &err);
    assert_int_equal(pith_graph_set_opset(graph, "", 13), 0);
    assert_int_equal(pith_graph_add_value(graph, "x", PITH_FLOAT32, &shape, &y, NULL), 0);
    assert_int_equal(pith_graph_add_input(graph, y), 0);
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
    assert_int_equal(pith_graph_add_output(graph, y), 0);
    if (shared)
        assert_int_equal(pith_graph_add_output(graph, add_node(graph, "Abs", &padded, 1, NULL)), 0);
    assert_ok(pith_graph_validate(graph, &err), &err);
    assert_ok(pith_graph_infer(graph, NULL, &err), &err);
    return graph;
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

/* x there and back, in the middle of a net; perm: of the way back. */
static struct pith_graph *turned_net(const int64_t *perm)
{
    const struct pith_shape shape = {4, {1, 6, 6, 6}};
    struct pith_graph *graph;
    struct pith_error err = {0};
    uint32_t y, node;

    assert_ok(pith_graph_new(&graph, "net", &err), &err);
    assert_int_equal(pith_graph_set_opset(graph, "", 13), 0);
    assert_int_equal(pith_graph_add_value(graph, "x", PITH_FLOAT32, &shape, &y, NULL), 0);
    assert_int_equal(pith_graph_add_input(graph, y), 0);
    y = add_node(graph, "Transpose", &y, 1, &node);
    assert_int_equal(pith_node_set_ints(graph, node, "perm", (const int64_t[]){0, 2, 3, 1}, 4), 0);
    y = add_node(graph, "Transpose", &y, 1, &node);
    assert_int_equal(pith_node_set_ints(graph, node, "perm", perm, 4), 0);
    assert_int_equal(pith_graph_add_output(graph, add_node(graph, "Abs", &y, 1, NULL)), 0);
    assert_ok(pith_graph_validate(graph, &err), &err);
    assert_ok(pith_graph_infer(graph, NULL, &err), &err);
    return graph;
}

static size_t count_steps(struct pith_session *session)
{
    struct pith_session_description about;

    assert_int_equal(engine->describe(session, &about), 0);
    return about.step_count;
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

/* Parts write what the whole writes, bit by bit; pauses let the team fall asleep and be woken. */
static void threads_change_no_bit(void **state)
{
    (void) state;
    for (int round = 0; round < 8; round++) {
        const struct net net = {16, 40 + round, 5, round % 2, false};
        struct pith_graph *graph = build(&net);
        struct pith_session *alone = compile_threads(graph, CHANNELS_LAST, 1),
                            *together =
                                compile_threads(graph, CHANNELS_LAST, 2 + (uint32_t) round % 3);
        struct pith_error err = {0};

        for (int run = 0; run < 20; run++) {
            struct pith_tensor x = random_input(&net), got, want;

            assert_ok(engine->run(alone, &x, 1, &want, 1, &err), &err);
            assert_ok(engine->run(together, &x, 1, &got, 1, &err), &err);
            assert_memory_equal(got.data, want.data, want.bytes);
            pith_tensor_free(&x);
            if (run % 5 == 4)
                usleep(2000);
        }
        engine->close(alone);
        engine->close(together);
        pith_graph_free(graph);
    }
}

static void a_graph_past_the_memory_limit_is_refused(void **state)
{
    const struct net net = {8, 1500, 5, false, false};
    struct pith_graph *graph = build(&net);
    struct pith_option_value values[3] = {{.integer = 0}, {.integer = 1}, {0}};
    const struct pith_engine_options options = {
        .size_bytes = sizeof options, .threads = 1, .options = values};
    struct pith_session *session = NULL;
    struct pith_error err = {0};

    (void) state;
    assert_int_equal(engine->compile(NULL, graph, &options, &session, &err), -EFBIG);
    assert_non_null(strstr(err.text, "limit"));
    assert_null(session);
    pith_graph_free(graph);
}

/* ---- what a session keeps ---- */

static bool released;

static void release_block(const void *data, size_t bytes)
{
    (void) bytes;
    free((void *) (uintptr_t) data);
    released = true;
}

/* Y = relu(X W) + c, with W and c in one block of memory, as in a model's file. */
static struct pith_graph *graph_of_one_block(bool on_grids)
{
    const int64_t dims[3][2] = {{3, 16}, {16, 64}, {1, 64}};
    const struct pith_shape x_shape = pith_shape_of(2, dims[0]),
                            w_shape = pith_shape_of(2, dims[1]),
                            c_shape = pith_shape_of(2, dims[2]);
    const size_t w_bytes = 16 * 64 * (on_grids ? 1 : 4);
    uint8_t *block = malloc(w_bytes + 64 * 4);
    struct pith_tensor w = {.dtype = on_grids ? PITH_INT8 : PITH_FLOAT32,
                            .shape = w_shape,
                            .data = block,
                            .bytes = w_bytes},
                       c = {.dtype = PITH_FLOAT32,
                            .shape = c_shape,
                            .data = block + w_bytes,
                            .bytes = 64 * 4};
    struct pith_graph *graph;
    struct pith_backing *backing;
    struct pith_error err = {0};
    uint32_t x, values[2], product, sum;

    assert_non_null(block);
    assert_ok(pith_graph_new(&graph, "one block", &err), &err);
    assert_ok(pith_graph_set_opset(graph, "", 17), &err);
    for (int64_t i = 0; i < 16 * 64; i++)
        pith_tensor_set(&w, i, (double) random_float() * (on_grids ? 120.0 : 0.5));
    for (int64_t i = 0; i < 64; i++)
        pith_tensor_set(&c, i, (double) random_float());
    assert_ok(pith_backing_new(&backing, block, w_bytes + 64 * 4, release_block), &err);
    released = false;
    assert_ok(pith_graph_add_value(graph, "x", PITH_FLOAT32, &x_shape, &x, &err), &err);
    assert_ok(pith_graph_add_input(graph, x), &err);
    assert_ok(pith_graph_add_value(graph, "w", w.dtype, &w_shape, &values[0], &err), &err);
    assert_ok(pith_value_adopt_constant(graph, values[0], &w, backing), &err);
    assert_ok(pith_graph_add_value(graph, "c", PITH_FLOAT32, &c_shape, &values[1], &err), &err);
    assert_ok(pith_value_adopt_constant(graph, values[1], &c, backing), &err);
    pith_backing_drop(backing);
    product = add_node(graph, "MatMul", (uint32_t[]){x, values[0]}, 2, NULL);
    sum = add_node(graph, "Add", (uint32_t[]){product, values[1]}, 2, NULL);
    if (on_grids) {
        set_grid(graph, x, PITH_INT8, 0.01F, 3, 0, 0);
        set_grid(graph, values[0], PITH_INT8, 0.004F, 0, 0, 0);
        set_grid(graph, product, PITH_INT8, 0.05F, -7, 0, 0);
    }
    assert_ok(pith_graph_add_output(graph, sum), &err);
    assert_ok(pith_graph_infer(graph, NULL, &err), &err);
    return graph;
}

/* The model's memory goes once nobody but the session has the graph, and what the session still
 * reads of it is kept. */
static void packed_weights_are_all_that_stays(void **state)
{
    (void) state;
    for (int on_grids = 0; on_grids < 2; on_grids++) {
        struct pith_graph *graph = graph_of_one_block(on_grids);
        struct pith_session *session[2] = {NULL, NULL};
        struct pith_engine_options how = {.threads = 1};
        struct pith_error err = {0};
        const int64_t dims[2] = {3, 16};
        const struct pith_shape shape = pith_shape_of(2, dims);
        struct pith_tensor x, y[2];

        assert_ok(pith_tensor_alloc(&x, PITH_FLOAT32, &shape, &err), &err);
        for (int64_t i = 0; i < 3 * 16; i++)
            pith_tensor_set(&x, i, (double) random_float());
        for (int i = 0; i < 2; i++)
            assert_ok(engine->compile(NULL, graph, &how, &session[i], &err), &err);
        assert_ok(engine->run(session[0], &x, 1, &y[0], 1, &err), &err);
        assert_false(released);
        pith_graph_free(graph);
        assert_true(released);
        assert_ok(engine->run(session[1], &x, 1, &y[1], 1, &err), &err);
        assert_int_equal(y[0].bytes, 3 * 64 * 4);
        assert_memory_equal(y[0].data, y[1].data, y[0].bytes);
        for (int i = 0; i < 2; i++)
            engine->close(session[i]);
        pith_tensor_free(&x);
    }
}

static int open_engine(void **state)
{
    struct pith_error err = {0};

    (void) state;
    if (pith_plugins_open(&plugins, NULL, &err) < 0 ||
        pith_plugins_find(plugins, PITH_KIND_ENGINE, "native", &native, &err) < 0) {
        print_message("# %s\n", pith_error_text(&err));
        return -1;
    }
    engine = native->ops;
    return 0;
}

static int close_engine(void **state)
{
    (void) state;
    pith_plugins_free(plugins);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(running_allocates_nothing),
#if !SANITIZED
        cmocka_unit_test(running_makes_no_system_call),
#endif
        cmocka_unit_test(integer_kernels_give_what_q_and_dq_give),
        cmocka_unit_test(wider_grids_are_kept_by_rounding_floats),
        cmocka_unit_test(a_pad_with_zeros_becomes_the_convolutions_own),
        cmocka_unit_test(transposing_there_and_back_is_nothing),
        cmocka_unit_test(a_convolution_from_integers_to_floats_stays_channels_last),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(a_graph_past_the_memory_limit_is_refused),
        cmocka_unit_test(packed_weights_are_all_that_stays),
    };

    return cmocka_run_group_tests_name("native", tests, open_engine, close_engine);
}
