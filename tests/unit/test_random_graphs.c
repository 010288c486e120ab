/* Graphs made at random (random_graph.h), each run in many ways that must agree: as the engine
 * likes it best and node by node with every value kept, channels last and planar, with one thread
 * and two, by each instruction set, with shapes known and open, from the graph and from the file
 * that it is written to. PITH_TEST_SEED, PITH_TEST_GRAPHS: which, and how many. */
#include "tests/unit/native_plugin.h"
#include "tests/unit/random_grids.h"

#include <inttypes.h>

#include "libpith/formats/onnx.h"
#include "libpith/formats/open.h"
#include "libpith/kernels/isa.h"

#define GRAPHS      600
#define NODES       12 /* at most, less one */
#define OUTPUTS     64
#define MOST_NUMBER 1e5 /* beyond it floats have no room for small ones beside it */
/* Rounding in another order: of the greatest number in any value, and on top of it; of the coarsest
 * grid, a step a node, which those behind it pass on. */
#define SHARE_OF_MOST 2e-5
#define LEAST_ERROR   2e-5
#define STEPS         6.0

struct trial {
    struct maker m;
    struct pith_tensor inputs[MAKER_INPUTS];
    struct pith_tensor want[OUTPUTS]; /* copies of the outputs */
    size_t input_count, output_count;
    double most;           /* the greatest number in any value */
    double of_value[1024]; /* and in each; negative: not known */
    double step;           /* of the coarsest grid; 0: there are none */
    uint64_t seed;
};

struct way {
    const char *name;
    enum pith_isa isa;
    uint32_t threads;
    bool literally, planar, open;
};

/* ---- telling of a graph ---- */

static void tell_value(const struct pith_graph *graph, uint32_t value)
{
    char text[PITH_SHAPE_TEXT_BYTES];
    const struct pith_quantization *q =
        value == PITH_NO_VALUE ? NULL : pith_value_quantization(graph, value);

    if (value == PITH_NO_VALUE) {
        print_message(" -");
        return;
    }
    print_message(" %s%u %s", pith_value_constant(graph, value) ? "c" : "v", value,
                  pith_shape_text(pith_value_shape(graph, value), text, sizeof text));
    if (q)
        print_message(" of %s, %zu times %.6g%+d", pith_dtype_name(q->dtype), q->count,
                      (double) q->scale[0], q->zero_point[0]);
}

static void tell_node(const struct pith_graph *graph, uint32_t node)
{
    print_message("#");
    for (size_t i = 0; i < pith_node_output_count(graph, node); i++)
        tell_value(graph, pith_node_output(graph, node, i));
    print_message(" = %s(", pith_node_op(graph, node));
    for (size_t i = 0; i < pith_node_input_count(graph, node); i++)
        tell_value(graph, pith_node_input(graph, node, i));
    print_message(" )");
    for (size_t i = 0; i < pith_node_attribute_count(graph, node); i++) {
        const char *name = pith_node_attribute_name(graph, node, i);
        size_t count = 0;
        const int64_t *list = pith_node_ints(graph, node, name, &count);

        print_message(" %s:", name);
        for (size_t k = 0; k < count; k++)
            print_message(" %" PRId64, list[k]);
        if (pith_node_attribute_kind(graph, node, i) == PITH_ATTRIBUTE_INT)
            print_message(" %" PRId64, pith_node_int(graph, node, name, 0));
        print_message(" %s", pith_node_string(graph, node, name, ""));
    }
    print_message("\n");
}

static void tell(const struct trial *t)
{
    size_t count;
    const uint32_t *order = pith_graph_order(t->m.graph, &count);

    print_message("# PITH_TEST_SEED=%" PRIu64 " PITH_TEST_GRAPHS=1, opset %d\n", t->seed,
                  (int) t->m.opset);
    for (size_t i = 0; i < count; i++)
        tell_node(t->m.graph, order[i]);
}

#define fail_telling(t, ...)                                                                       \
    do {                                                                                           \
        tell(t);                                                                                   \
        fail_msg(__VA_ARGS__);                                                                     \
    } while (0)

/* ---- running it ---- */

/* NULL where it is refused. */
static struct pith_session *session_of(const struct pith_graph *graph, const struct way *way,
                                       struct pith_error *err)
{
    const struct pith_option_value values[3] = {
        {.integer = way->literally}, {.integer = 64}, {.integer = way->planar}};
    struct pith_shape shapes[MAKER_INPUTS];
    const struct pith_engine_options options = {.size_bytes = sizeof options,
                                                .threads = way->threads,
                                                .input_shapes = way->open ? shapes : NULL,
                                                .options = values};
    struct pith_session *session = NULL;

    for (size_t i = 0; i < pith_graph_input_count(graph); i++) {
        shapes[i] = *pith_value_shape(graph, pith_graph_input(graph, i));
        for (uint32_t axis = 0; axis < shapes[i].rank; axis++)
            shapes[i].dim[axis] = PITH_DIM_UNKNOWN;
    }
    pith_isa_set(way->isa);
    return engine->compile(NULL, graph, &options, &session, err) < 0 ? NULL : session;
}

static bool differs(double got, double want, double tolerance)
{
    if (isnan(got) || isnan(want))
        return !(isnan(got) && isnan(want));
    return got != want && !(fabs(got - want) <= tolerance);
}

/* exactly: to the same numbers, else to what rounding in another order makes of them. */
static void compare(const struct trial *t, const struct pith_tensor *got, const struct way *way,
                    bool exactly)
{
    const double tolerance =
        exactly ? 0.0 : LEAST_ERROR + SHARE_OF_MOST * t->most + STEPS * t->step;

    for (size_t i = 0; i < t->output_count; i++) {
        const struct pith_tensor *want = &t->want[i];

        if (got[i].dtype != want->dtype || !pith_shape_equal(&got[i].shape, &want->shape))
            fail_telling(t, "%s: output %zu has another type or shape", way->name, i);
        for (int64_t k = 0; k < pith_shape_elements(&want->shape); k++)
            if (differs(pith_tensor_get(&got[i], k), pith_tensor_get(want, k), tolerance))
                fail_telling(t, "%s: v%u, element %d is %.9g, not %.9g", way->name,
                             pith_graph_output(t->m.graph, i), (int) k, pith_tensor_get(&got[i], k),
                             pith_tensor_get(want, k));
    }
}

static void keep_wanted(struct trial *t, const struct pith_tensor *outputs)
{
    struct pith_error err = {0};

    for (size_t i = 0; i < t->output_count; i++) {
        pith_tensor_free(&t->want[i]);
        assert_ok(pith_tensor_copy(&t->want[i], &outputs[i], &err), &err);
    }
}

/* Runs it twice. keep: the others are held to what comes out. */
static void run_way(struct trial *t, const struct pith_graph *graph, const struct way *way,
                    bool keep, bool exactly)
{
    struct pith_error err = {0};
    struct pith_session *session = session_of(graph, way, &err);
    struct pith_tensor got[OUTPUTS];

    if (!session)
        fail_telling(t, "%s: refused: %s", way->name, pith_error_text(&err));
    for (int run = 0; run < 2; run++) {
        if (engine->run(session, t->inputs, t->input_count, got, t->output_count, &err) < 0)
            fail_telling(t, "%s: run %d: %s", way->name, run, pith_error_text(&err));
        compare(t, got, way, exactly || (keep && run == 1));
        if (keep && run == 0)
            keep_wanted(t, got);
    }
    engine->close(session);
}

/* The greatest magnitude, or infinity, or what is no number. */
static double greatest(const struct pith_tensor *tensor)
{
    double most = 0.0;

    for (int64_t i = 0; i < pith_shape_elements(&tensor->shape); i++) {
        const double x = fabs(pith_tensor_get(tensor, i));

        if (!(x <= most))
            most = x;
        if (isnan(x))
            break;
    }
    return most;
}

/* Node by node: every value is an output of the graph, so nothing is done in passing. False where
 * it is refused, or numbers come out that are too large, or none. */
static bool run_reference(struct trial *t)
{
    const struct way way = {"node by node", PITH_ISA_PLAIN, 1, true, true, false};
    struct pith_tensor got[OUTPUTS + MAKER_VALUES];
    struct pith_graph *graph;
    struct pith_session *session;
    struct pith_error err = {0};
    size_t count;
    bool good;

    assert_ok(pith_graph_clone(t->m.graph, &graph, &err), &err);
    for (size_t i = MAKER_INPUTS; i < t->m.count; i++)
        if (!pith_value_is_output(graph, t->m.value[i]))
            assert_int_equal(pith_graph_add_output(graph, t->m.value[i]), 0);
    assert_ok(pith_graph_validate(graph, &err), &err);
    count = pith_graph_output_count(graph);
    session = session_of(graph, &way, &err);
    good = session && engine->run(session, t->inputs, t->input_count, got, count, &err) == 0;
    t->most = 0.0;
    for (size_t i = 0; i < count && good; i++) {
        const double most = t->of_value[pith_graph_output(graph, i)] = greatest(&got[i]);

        good = most < MOST_NUMBER;
        t->most = most > t->most ? most : t->most;
    }
    if (good)
        keep_wanted(t, got);
    if (session)
        engine->close(session);
    pith_graph_free(graph);
    return good;
}

/* As a file, and read again. */
static void run_written(struct trial *t, const struct way *way)
{
    struct pith_buffer file = {0};
    struct pith_graph *graph = NULL;
    struct pith_error err = {0};

    if (pith_onnx_write(t->m.graph, &file, &err) < 0 ||
        pith_graph_parse(&graph, file.data, file.bytes, &err) < 0)
        fail_telling(t, "%s: %s", way->name, pith_error_text(&err));
    run_way(t, graph, way, false, true);
    pith_graph_free(graph);
    pith_buffer_done(&file);
}

static void run_all(struct trial *t, enum pith_isa best)
{
    const struct pith_graph *graph = t->m.graph;

    for (int isa = 0; isa < PITH_ISA_COUNT; isa++)
        if (pith_isa_runs((enum pith_isa) isa))
            run_way(t, graph,
                    &(struct way){pith_isa_name((enum pith_isa) isa), (enum pith_isa) isa, 1},
                    false, false);
    run_way(t, graph, &(struct way){"planar", best, 1, .planar = true}, false, false);
    run_way(t, graph, &(struct way){"the best", best, 1}, true, false);
    run_way(t, graph, &(struct way){"two threads", best, 2}, false, true);
    run_way(t, graph, &(struct way){"open shapes", best, 1, .open = true}, false, true);
    run_written(t, &(struct way){"written and read", best, 1});
}

/* ---- making it ---- */

static void fill_inputs(struct trial *t)
{
    struct pith_error err = {0};

    t->input_count = pith_graph_input_count(t->m.graph);
    for (size_t i = 0; i < t->input_count; i++) {
        const uint32_t value = pith_graph_input(t->m.graph, i);

        assert_ok(pith_tensor_alloc(&t->inputs[i], pith_value_dtype(t->m.graph, value),
                                    pith_value_shape(t->m.graph, value), &err),
                  &err);
        fill(&t->m, &t->inputs[i]);
        t->of_value[value] = greatest(&t->inputs[i]);
    }
}

static bool quantize(struct trial *t)
{
    struct pith_error err = {0};

    put_on_grids(&t->m, t->of_value);
    assert_ok(pith_graph_validate(t->m.graph, &err), &err);
    for (uint32_t value = 0; value < pith_graph_value_limit(t->m.graph); value++) {
        const struct pith_quantization *q = pith_value_quantization(t->m.graph, value);

        if (q && !pith_value_constant(t->m.graph, value) && (double) q->scale[0] > t->step)
            t->step = (double) q->scale[0];
    }
    return run_reference(t);
}

static bool one_graph(uint64_t seed, bool grids, enum pith_isa best)
{
    static struct trial t;
    struct pith_error err = {0};
    bool compared = false;

    t = (struct trial){.seed = seed};
    for (size_t i = 0; i < COUNT(t.of_value); i++)
        t.of_value[i] = -1.0;
    maker_graph(&t.m, seed, 2 + (int) (seed % (grids ? 3 : NODES)), grids);
    t.output_count = pith_graph_output_count(t.m.graph);
    assert_true(pith_graph_value_limit(t.m.graph) <= COUNT(t.of_value));
    if (t.output_count > 0 && t.output_count <= OUTPUTS) {
        assert_ok(pith_graph_validate(t.m.graph, &err), &err);
        assert_ok(pith_graph_infer(t.m.graph, NULL, &err), &err);
        fill_inputs(&t);
        compared = run_reference(&t) && (!grids || quantize(&t));
    }
    if (compared)
        run_all(&t, best);
    for (size_t i = 0; i < MAKER_INPUTS; i++)
        pith_tensor_free(&t.inputs[i]);
    for (size_t i = 0; i < OUTPUTS; i++)
        pith_tensor_free(&t.want[i]);
    pith_graph_free(t.m.graph);
    return compared;
}

static void all_ways_give_the_same(void **state)
{
    const enum pith_isa best = pith_isa();
    const char *from = getenv("PITH_TEST_SEED"), *graphs = getenv("PITH_TEST_GRAPHS");
    const uint64_t first = from ? strtoull(from, NULL, 0) : 1;
    const int count = graphs ? atoi(graphs) : GRAPHS;
    int compared = 0;

    for (int i = 0; i < count; i++)
        compared += one_graph(first + (uint64_t) i, *(const bool *) *state, best);
    pith_isa_set(best);
    print_message("# %d of %d graphs compared\n", compared, count);
    assert_true(count < GRAPHS || compared > count / 2); /* or they are too wild to tell anything */
}

int main(void)
{
    static bool plain = false, grids = true;
    const struct CMUnitTest tests[] = {
        {"graphs_give_the_same_in_all_ways", all_ways_give_the_same, NULL, NULL, &plain},
        {"graphs_on_grids_give_the_same_in_all_ways", all_ways_give_the_same, NULL, NULL, &grids},
    };

    return cmocka_run_group_tests(tests, open_engine, close_engine);
}
