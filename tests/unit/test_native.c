/* The engine native: that running allocates nothing and asks nothing of the system, and that
 * integer kernels give what executing Q and DQ literally gives. */
#include "libpith/graph/graph_internal.h"
#include "tests/unit/native_engine.h"

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
/* In strict mode the kernel kills a process that makes any call but read, write and _exit. Not every kernel has the mode;
 * emulators of another CPU have none. */
static bool strict_mode(void)
{
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) == 0;
}

static bool has_strict_mode(void)
{
    int status = 0;
    pid_t child = fork();

    if (child == 0)
        (void) syscall(SYS_exit, !strict_mode());
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

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
        int rc = strict_mode() ? engine->run(session, &x, 1, &y, 1, NULL) : -ENOTSUP;

        (void) syscall(SYS_exit, rc < 0); /* _exit is exit_group, which strict mode kills for */
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    engine->close(session);
    pith_graph_free(graph);
    pith_tensor_free(&x);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

#endif

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

static const struct pith_shape choice_x = {2, {3, 16}}, choice_w = {2, {16, 64}};

/* Y = X W, X and Y being values of the graph around and of this one, W at `at` of the block. */
static struct pith_graph *branch_of_block(struct pith_backing *backing, float *at, uint32_t outer_x)
{
    struct pith_tensor w = {
        .dtype = PITH_FLOAT32, .shape = choice_w, .data = at, .bytes = 16 * 64 * sizeof(float)};
    struct pith_graph *graph;
    struct pith_error err = {0};
    uint32_t in[2];

    assert_ok(pith_graph_new(&graph, "branch", &err), &err);
    assert_ok(pith_graph_set_opset(graph, "", 17), &err);
    assert_ok(pith_graph_add_value(graph, "x", PITH_FLOAT32, &choice_x, &in[0], &err), &err);
    assert_ok(pith_graph_add_capture(graph, in[0], outer_x), &err);
    assert_ok(pith_graph_add_value(graph, "w", PITH_FLOAT32, &choice_w, &in[1], &err), &err);
    assert_ok(pith_value_adopt_constant(graph, in[1], &w, backing), &err);
    assert_ok(pith_graph_add_output(graph, add_node(graph, "MatMul", in, 2, NULL)), &err);
    return graph;
}

/* An If over two branches with weights in one block of memory. */
static struct pith_graph *graph_of_choice(void)
{
    const size_t floats = 2 * 16 * 64;
    float *block = malloc(floats * sizeof *block);
    struct pith_backing *backing;
    struct pith_graph *graph;
    struct pith_error err = {0};
    uint32_t condition, x, node, y;

    assert_non_null(block);
    for (size_t i = 0; i < floats; i++)
        block[i] = random_float();
    assert_ok(pith_backing_new(&backing, block, floats * sizeof *block, release_block), &err);
    released = false;
    assert_ok(pith_graph_new(&graph, "choice", &err), &err);
    assert_ok(pith_graph_set_opset(graph, "", 17), &err);
    assert_ok(pith_graph_add_value(graph, "condition", PITH_BOOL, &(struct pith_shape){0},
                                   &condition, &err),
              &err);
    assert_ok(pith_graph_add_value(graph, "x", PITH_FLOAT32, &choice_x, &x, &err), &err);
    assert_ok(pith_graph_add_input(graph, condition), &err);
    assert_ok(pith_graph_add_input(graph, x), &err);
    y = add_node(graph, "If", &condition, 1, &node);
    assert_ok(pith_node_set_graph(graph, node, "then_branch", branch_of_block(backing, block, x)),
              &err);
    assert_ok(pith_node_set_graph(graph, node, "else_branch",
                                  branch_of_block(backing, block + floats / 2, x)),
              &err);
    pith_backing_drop(backing);
    assert_ok(pith_graph_add_output(graph, y), &err);
    assert_ok(pith_graph_validate(graph, &err), &err);
    assert_ok(pith_graph_infer(graph, NULL, &err), &err);
    return graph;
}

/* Branches that are compiled need their graphs no more, nor the model's memory. */
static void packed_weights_are_all_that_stays_of_branches(void **state)
{
    struct pith_graph *graph = graph_of_choice();
    struct pith_engine_options how = {.threads = 1};
    struct pith_session *session = NULL;
    struct pith_error err = {0};
    struct pith_session_description about;
    bool condition;
    struct pith_tensor in[2] = {{.dtype = PITH_BOOL, .data = &condition, .bytes = 1}}, y;
    float before[2][3 * 64];

    (void) state;
    assert_ok(pith_tensor_alloc(&in[1], PITH_FLOAT32, &choice_x, &err), &err);
    for (int64_t i = 0; i < 3 * 16; i++)
        pith_tensor_set(&in[1], i, (double) random_float());
    assert_ok(engine->compile(NULL, graph, &how, &session, &err), &err);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 2; i++) {
            condition = i == 1;
            assert_ok(engine->run(session, in, 2, &y, 1, &err), &err);
            assert_int_equal(y.bytes, sizeof before[i]);
            if (round == 0)
                memcpy(before[i], y.data, sizeof before[i]);
            assert_memory_equal(before[i], y.data, sizeof before[i]);
        }
        assert_memory_not_equal(before[0], before[1], sizeof before[0]);
        if (round == 0) { /* a matrix of each branch, and rows that fill vectors up */
            assert_int_equal(engine->describe(session, &about), 0);
            assert_true(about.weight_bytes >= 2 * 16 * 64 * sizeof(float));
            assert_false(released);
            pith_graph_free(graph);
            assert_true(released);
        }
    }
    engine->close(session);
    pith_tensor_free(&in[1]);
}

/* ---- shapes that vary ---- */

/* A convolution and what it is on average, over pictures of any number and size. */
static struct pith_graph *build_open(void)
{
    const struct pith_shape shape = {4, {PITH_DIM_UNKNOWN, 3, PITH_DIM_UNKNOWN, PITH_DIM_UNKNOWN}};
    struct pith_graph *graph;
    struct pith_error err = {0};
    uint32_t x, y, node, in[3];

    assert_ok(pith_graph_new(&graph, "open", &err), &err);
    assert_int_equal(pith_graph_set_opset(graph, "", 13), 0);
    assert_int_equal(pith_graph_add_value(graph, "x", PITH_FLOAT32, &shape, &x, NULL), 0);
    assert_int_equal(pith_graph_add_input(graph, x), 0);
    in[0] = x;
    in[1] = add_constant(graph, PITH_FLOAT32, 4, (const int64_t[]){5, 3, 3, 3});
    in[2] = add_constant(graph, PITH_FLOAT32, 1, (const int64_t[]){5});
    y = add_node(graph, "Conv", in, 3, &node);
    assert_int_equal(pith_node_set_ints(graph, node, "pads", (const int64_t[]){1, 1, 1, 1}, 4), 0);
    y = add_node(graph, "Relu", &y, 1, NULL);
    y = add_node(graph, "GlobalAveragePool", &y, 1, NULL);
    assert_int_equal(pith_graph_add_output(graph, y), 0);
    assert_ok(pith_graph_validate(graph, &err), &err);
    return graph;
}

static struct pith_session *compile_for(const struct pith_graph *graph,
                                        const struct pith_shape *shape)
{
    const struct pith_engine_options options = {
        .size_bytes = sizeof options, .threads = 1, .input_shapes = shape};
    struct pith_session *session;
    struct pith_error err = {0};

    assert_ok(engine->compile(NULL, graph, &options, &session, &err), &err);
    return session;
}

/* Runs it in the open session, and in one for its shape alone. Returns what the first allocated. */
static long run_both(const struct pith_graph *graph, struct pith_session *open, int64_t n,
                     int64_t h, int64_t w)
{
    const struct pith_shape shape = {4, {n, 3, h, w}};
    struct pith_session *fixed = compile_for(graph, &shape);
    struct pith_tensor x, y, want;
    struct pith_error err = {0};
    long before, allocated;

    assert_ok(pith_tensor_alloc(&x, PITH_FLOAT32, &shape, &err), &err);
    for (int64_t i = 0; i < pith_shape_elements(&shape); i++)
        ((float *) x.data)[i] = random_float();
    before = allocation_count;
    assert_ok(engine->run(open, &x, 1, &y, 1, &err), &err);
    allocated = allocation_count - before;
    assert_ok(engine->run(fixed, &x, 1, &want, 1, &err), &err);
    assert_true(pith_shape_equal(&y.shape, &want.shape));
    assert_int_equal(y.shape.dim[0], n);
    assert_memory_equal(y.data, want.data, want.bytes);
    pith_tensor_free(&x);
    engine->close(fixed);
    return allocated;
}

static void a_shape_that_was_seen_allocates_nothing(void **state)
{
    struct pith_graph *graph = build_open();
    struct pith_session *session = compile_for(graph, NULL);
    struct pith_session_description about;

    (void) state;
    assert_int_equal(engine->describe(session, &about), 0);
    assert_int_equal(about.step_count, 0); /* none is known yet */
    (void) run_both(graph, session, 1, 7, 9);
    (void) run_both(graph, session, 3, 7, 9);
    (void) run_both(graph, session, 1, 16, 4);
    assert_int_equal(run_both(graph, session, 1, 7, 9), 0);
    assert_int_equal(run_both(graph, session, 3, 7, 9), 0);
    assert_int_equal(run_both(graph, session, 1, 16, 4), 0);
    assert_int_equal(engine->describe(session, &about), 0);
    assert_true(about.step_count > 0 && about.arena_bytes > 0);
    engine->close(session);
    pith_graph_free(graph);
}

static void plans_for_many_shapes_are_bounded(void **state)
{
    struct pith_graph *graph = build_open();
    struct pith_session *session = compile_for(graph, NULL);
    struct pith_session_description about;
    uint64_t most = 0;

    (void) state;
    for (int64_t n = 1; n <= 24; n++) {
        (void) run_both(graph, session, 1 + n % 12, 8, 8);
        assert_int_equal(engine->describe(session, &about), 0);
        if (n == 12)
            most = about.arena_bytes;
    }
    assert_true(about.arena_bytes <= 2 * most);
    assert_int_equal(run_both(graph, session, 1 + 24 % 12, 8, 8), 0); /* the last is there still */
    if (!SANITIZED)
        assert_true(run_both(graph, session, 1 + 13 % 12, 8, 8) >
                    0); /* and twelve before it is not */
    engine->close(session);
    pith_graph_free(graph);
}

static void a_shape_that_contradicts_the_graph_is_refused(void **state)
{
    const struct pith_shape wrong = {4, {1, 4, 5, 5}};
    struct pith_graph *graph = build_open();
    struct pith_session *session = compile_for(graph, NULL);
    struct pith_tensor x, y;
    struct pith_error err = {0};

    (void) state;
    assert_ok(pith_tensor_alloc(&x, PITH_FLOAT32, &wrong, &err), &err);
    assert_int_equal(engine->run(session, &x, 1, &y, 1, &err), -EINVAL);
    assert_non_null(strstr(pith_error_text(&err), "compiled for"));
    x.shape.dim[1] = 3;
    x.dtype = PITH_INT32;
    assert_int_equal(engine->run(session, &x, 1, &y, 1, &err), -EINVAL);
    assert_int_equal(engine->run(session, &x, 0, &y, 1, &err), -EINVAL);
    x.dtype = PITH_FLOAT32;
    assert_ok(engine->run(session, &x, 1, &y, 1, &err), &err);
    pith_tensor_free(&x);
    engine->close(session);
    pith_graph_free(graph);
}

/* Before a kernel makes a table of as many entries, which nothing counts. */
static void what_passes_the_memory_limit_is_refused_at_once(void **state)
{
    const struct pith_shape shape = {3, {1, 2, 3}};
    const struct pith_option_value values[3] = {{.integer = 0}, {.integer = 1}, {.integer = 1}};
    const struct pith_engine_options options = {
        .size_bytes = sizeof options, .threads = 1, .options = values};
    struct pith_session *session = NULL;
    struct pith_graph *graph;
    struct pith_error err = {0};
    uint32_t x, y, node;

    (void) state;
    assert_ok(pith_graph_new(&graph, "net", &err), &err);
    assert_int_equal(pith_graph_set_opset(graph, "", 10), 0);
    assert_ok(pith_graph_add_value(graph, "x", PITH_FLOAT32, &shape, &x, &err), &err);
    assert_int_equal(pith_graph_add_input(graph, x), 0);
    y = add_node(graph, "Pad", &x, 1, &node);
    assert_int_equal(pith_node_set_string(graph, node, "mode", "edge"), 0);
    assert_int_equal(
        pith_node_set_ints(graph, node, "pads", (const int64_t[]){0, 0, 0, 0, 0, 999997}, 6), 0);
    assert_int_equal(pith_graph_add_output(graph, y), 0);
    assert_ok(pith_graph_validate(graph, &err), &err);
    assert_ok(pith_graph_infer(graph, NULL, &err), &err);
    assert_int_equal(engine->compile(NULL, graph, &options, &session, &err), -EFBIG);
    assert_string_equal(pith_error_text(&err),
                        "Pad \"Pad\" gives 8000000 bytes, more than the engine's limit");
    pith_graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_passes_the_memory_limit_is_refused_at_once),
        cmocka_unit_test(running_allocates_nothing),
        cmocka_unit_test(integer_kernels_give_what_q_and_dq_give),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(a_graph_past_the_memory_limit_is_refused),
        cmocka_unit_test(packed_weights_are_all_that_stays),
        cmocka_unit_test(packed_weights_are_all_that_stays_of_branches),
        cmocka_unit_test(a_shape_that_was_seen_allocates_nothing),
        cmocka_unit_test(plans_for_many_shapes_are_bounded),
        cmocka_unit_test(a_shape_that_contradicts_the_graph_is_refused),
#if !SANITIZED
        cmocka_unit_test(running_makes_no_system_call),
#endif
    };
    size_t count = sizeof tests / sizeof *tests;

#if !SANITIZED
    if (!has_strict_mode()) {
        (void) printf("# not tested, as this kernel has no strict mode: running_makes_no_system_call\n");
        count--; /* it is the last */
    }
#endif
    return _cmocka_run_group_tests("native", tests, count, open_engine, close_engine);
}
