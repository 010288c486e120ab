/* Float convolutions whose weights stay narrow in memory: the bits that the same weights give as floats, less memory. */
#include "tests/unit/each_isa.h"
#include "tests/unit/native_plugin.h"


static struct pith_error err;
static uint32_t seed = 5;

static int64_t pick(int64_t low, int64_t high)
{
    seed = seed * 1664525U + 1013904223U;
    return low + (int64_t) (seed >> 8) % (high - low + 1);
}

struct layer {
    int64_t in, out, size, kernel, groups;
    int32_t dtype; /* of the weights: integers, or float16 or bfloat16 for floats that these hold */
    int64_t block; /* 0: a scale a channel */
};

/* Integers of the type, or floats that it holds. */
static struct pith_tensor random_weights(const struct layer *l)
{
    const struct pith_shape shape = {4, {l->out, l->in / l->groups, l->kernel, l->kernel}};
    struct pith_tensor w;

    assert_ok(pith_tensor_alloc(&w, l->dtype, &shape, &err), &err);
    for (int64_t i = 0; i < pith_shape_elements(&shape); i++)
        pith_tensor_set(&w, i,
                        l->dtype == PITH_INT4    ? (double) pick(-8, 7)
                        : l->dtype == PITH_INT8  ? (double) pick(-128, 127)
                        : l->dtype == PITH_UINT8 ? (double) pick(3, 130)
                                                 : (double) pick(-9999, 9999) * 0.0003);
    return w;
}

struct grid {
    size_t count;
    float scale[32768];
    int32_t zero[32768];
};

static void fill_grid(const struct layer *l, struct grid *g)
{
    const int64_t in = l->in / l->groups;

    g->count = (size_t) (l->block ? l->out * ((in + l->block - 1) / l->block) * l->kernel * l->kernel
                                  : l->out);
    assert_true(g->count <= sizeof g->scale / sizeof *g->scale);
    for (size_t i = 0; i < g->count; i++) {
        g->scale[i] = (float) pick(50, 150) * 0.0001F;
        g->zero[i] = l->dtype == PITH_UINT8 ? 3 + (int32_t) (i % 50) : 0;
    }
}

/* What the integers stand for, element by element. */
static struct pith_tensor as_floats(const struct layer *l, const struct pith_tensor *w,
                                    const struct grid *g)
{
    const int64_t taps = l->kernel * l->kernel, in = l->in / l->groups,
                  blocks = l->block ? (in + l->block - 1) / l->block : 0;
    const bool integers = l->dtype == PITH_INT4 || l->dtype == PITH_INT8 || l->dtype == PITH_UINT8;
    struct pith_tensor f;

    assert_ok(pith_tensor_alloc(&f, PITH_FLOAT32, &w->shape, &err), &err);
    for (int64_t i = 0; i < pith_shape_elements(&w->shape); i++) {
        const int64_t m = i / taps / in,
                      at = l->block ? (m * blocks + i / taps % in / l->block) * taps + i % taps : m;

        ((float *) f.data)[i] =
            integers ? (float) (pith_tensor_get_int(w, i) - g->zero[at]) * g->scale[at]
                     : (float) pith_tensor_get(w, i);
    }
    return f;
}

/* grid NULL: w is floats. */
static struct pith_graph *build(const struct layer *l, const struct pith_tensor *w,
                                const struct grid *g)
{
    const struct pith_shape shape = {4, {1, l->in, l->size, l->size}};
    struct pith_graph *graph;
    uint32_t in[2], out, node;

    assert_ok(pith_graph_new(&graph, "net", &err), &err);
    assert_int_equal(pith_graph_set_opset(graph, "", 21), 0);
    assert_int_equal(pith_graph_add_value(graph, "x", PITH_FLOAT32, &shape, &in[0], NULL), 0);
    assert_int_equal(pith_graph_add_input(graph, in[0]), 0);
    assert_ok(pith_graph_add_value(graph, NULL, PITH_FLOAT32, &w->shape, &in[1], &err), &err);
    if (g) {
        const struct pith_quantization q = {
            l->dtype, l->block ? 1 : 0, l->block, g->count, g->scale, g->zero};

        assert_int_equal(pith_value_set_quantization(graph, in[1], &q), 0);
    }
    assert_ok(pith_value_set_constant(graph, in[1], w), &err);
    assert_int_equal(pith_graph_add_value(graph, NULL, PITH_FLOAT32, NULL, &out, NULL), 0);
    assert_int_equal(pith_graph_add_node(graph, "", "Conv", "conv", in, 2, &out, 1, &node, NULL), 0);
    assert_int_equal(pith_node_set_int(graph, node, "group", l->groups), 0);
    if (l->kernel == 3)
        assert_int_equal(pith_node_set_ints(graph, node, "pads", (const int64_t[]){1, 1, 1, 1}, 4),
                         0);
    if (l->size % 2)
        assert_int_equal(pith_node_set_ints(graph, node, "strides", (const int64_t[]){2, 2}, 2), 0);
    assert_int_equal(pith_graph_add_output(graph, out), 0);
    assert_ok(pith_graph_validate(graph, &err), &err);
    assert_ok(pith_graph_infer(graph, NULL, &err), &err);
    return graph;
}

static struct pith_session *compile(const struct pith_graph *graph, uint32_t threads)
{
    const struct pith_option_value values[3] = {{0}, {.integer = 64}, {0}};
    const struct pith_engine_options how = {
        .size_bytes = sizeof how, .threads = threads, .options = values};
    struct pith_session *session = NULL;

    assert_ok(engine->compile(NULL, graph, &how, &session, &err), &err);
    return session;
}

static struct pith_session_description about(struct pith_session *session)
{
    struct pith_session_description d;

    assert_int_equal(engine->describe(session, &d), 0);
    return d;
}

static struct pith_tensor random_input(const struct layer *l)
{
    const struct pith_shape shape = {4, {1, l->in, l->size, l->size}};
    struct pith_tensor x;

    assert_ok(pith_tensor_alloc(&x, PITH_FLOAT32, &shape, &err), &err);
    for (int64_t i = 0; i < pith_shape_elements(&shape); i++)
        ((float *) x.data)[i] = (float) pick(-999, 999) * 0.0017F;
    return x;
}

/* Both graphs give the same bits in channels `from` on; the first is smaller by `ratio` at least, where it may be. */
static void compare(const struct pith_graph *narrow, const struct pith_graph *wide, const struct pith_tensor *x,
                    int64_t first_elements, double ratio)
{
    const enum pith_isa best = pith_isa();

    for (struct each_isa each = {0}; each_isa(&each);) {
        struct pith_session *a = compile(narrow, pith_isa() == best ? 2 : 1), *b = compile(wide, 1);
        struct pith_tensor got, want;

        assert_ok(engine->run(a, x, 1, &got, 1, &err), &err);
        assert_ok(engine->run(b, x, 1, &want, 1, &err), &err);
        assert_memory_equal(got.data, want.data, (size_t) first_elements * sizeof(float));
        if (pith_isa() != PITH_ISA_PLAIN)
            assert_true((double) about(a).weight_bytes * ratio <= (double) about(b).weight_bytes);
        engine->close(a);
        engine->close(b);
    }
}

static void integers_are_exactly_their_floats(void **state)
{
    const int32_t types[] = {PITH_INT8, PITH_INT4, PITH_UINT8};
    static struct grid g;

    (void) state;
    for (int round = 0; round < 9; round++) {
        const struct layer l = {.in = 2 * pick(40, 70),
                                .out = 2 * pick(60, 80),
                                .size = round % 2 ? 7 : 11,
                                .kernel = round % 2 ? 1 : 3,
                                .groups = round == 4 ? 2 : 1,
                                .dtype = types[round % 3],
                                .block = round / 3 == 1 ? 32 : 0};
        struct pith_tensor w = random_weights(&l), f, x = random_input(&l);
        struct pith_graph *narrow, *wide;

        fill_grid(&l, &g);
        f = as_floats(&l, &w, &g);
        narrow = build(&l, &w, &g);
        wide = build(&l, &f, NULL);
        compare(narrow, wide, &x, l.out * ((l.size + 1) / 2) * ((l.size + 1) / 2),
                l.size == 11 && !l.block ? 3.0 : 1.0);
        pith_graph_free(narrow);
        pith_graph_free(wide);
        pith_tensor_free(&w);
        pith_tensor_free(&f);
        pith_tensor_free(&x);
    }
}

/* One weight that needs 32 bits makes all stay floats; it touches the last channel alone. */
static void halves_are_exactly_their_floats(void **state)
{
    const int32_t types[] = {PITH_FLOAT16, PITH_BFLOAT16};

    (void) state;
    for (int round = 0; round < 4; round++) {
        const struct layer l = {
            pick(90, 110), pick(100, 130), 11, round / 2 ? 1 : 3, 1, types[round % 2], 0};
        struct pith_tensor w = random_weights(&l), f = as_floats(&l, &w, NULL),
                           x = random_input(&l);
        struct pith_graph *narrow = build(&l, &f, NULL), *wide;

        ((float *) f.data)[pith_shape_elements(&f.shape) - 1] = 1.0F / 3.0F;
        wide = build(&l, &f, NULL);
        compare(narrow, wide, &x, (l.out - 1) * 36, 1.6);
        pith_graph_free(narrow);
        pith_graph_free(wide);
        pith_tensor_free(&w);
        pith_tensor_free(&f);
        pith_tensor_free(&x);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_exactly_their_floats),
        cmocka_unit_test(halves_are_exactly_their_floats),
    };

    return cmocka_run_group_tests(tests, open_engine, close_engine);
}
