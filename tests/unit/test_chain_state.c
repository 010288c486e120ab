/* Graphs with several inputs in a chain: state that goes from run to run, and inputs that are
 * fixed. The engine adds up, so that every number can be checked by hand. */
#include "libpith/model/manifest.h"
#include "libpith/pipeline/chain.h"
#include "tests/testing.h"

#include <errno.h>
#include <math.h>

/* inputs: gain (int64, a scalar), x (1, 2), state (1, open); outputs: gain * (state + sum of x),
 * state + sum of x. */
struct pith_session {
    float y, state;
    int64_t state_elements;
};

static int sum_compile(const struct pith_host *host, const struct pith_graph *graph,
                       const struct pith_engine_options *options, struct pith_session **out,
                       struct pith_error *err)
{
    (void) host;
    (void) graph;
    (void) err;
    *out = calloc(1, sizeof **out);
    assert_non_null(*out);
    (*out)->state_elements = pith_shape_elements(&options->input_shapes[2]);
    return 0;
}

static int sum_run(struct pith_session *session, const struct pith_tensor *inputs,
                   size_t input_count, struct pith_tensor *outputs, size_t output_count,
                   struct pith_error *err)
{
    (void) err;
    assert_int_equal(input_count, 3);
    assert_int_equal(output_count, 2);
    assert_int_equal(inputs[0].dtype, PITH_INT64);
    assert_int_equal(session->state_elements, 1);
    session->state = (float) (pith_tensor_get(&inputs[2], 0) + pith_tensor_get(&inputs[1], 0) +
                              pith_tensor_get(&inputs[1], 1));
    session->y =
        session->state > 1000 ? 0 : session->state * (float) pith_tensor_get(&inputs[0], 0);
    if (session->state > 1000)
        session->state = NAN;
    outputs[0] = (struct pith_tensor){PITH_FLOAT32, pith_shape_of(2, (const int64_t[]){1, 1}),
                                      &session->y, sizeof session->y};
    outputs[1] = outputs[0];
    outputs[1].data = &session->state;
    return 0;
}

static void sum_close(struct pith_session *session)
{
    free(session);
}

static const struct pith_engine_ops engine = {
    .size_bytes = sizeof engine, .compile = sum_compile, .run = sum_run, .close = sum_close};

static uint32_t add_value(struct pith_graph *graph, const char *name, int32_t dtype, uint32_t rank,
                          const int64_t *dims)
{
    const struct pith_shape shape = pith_shape_of(rank, dims);
    uint32_t value;

    assert_int_equal(pith_graph_add_value(graph, name, dtype, &shape, &value, NULL), 0);
    return value;
}

static struct pith_graph *sum_graph(void)
{
    struct pith_graph *graph;

    assert_int_equal(pith_graph_new(&graph, "sum", NULL), 0);
    assert_int_equal(pith_graph_add_input(graph, add_value(graph, "gain", PITH_INT64, 0, NULL)), 0);
    assert_int_equal(pith_graph_add_input(
                         graph, add_value(graph, "x", PITH_FLOAT32, 2, (const int64_t[]){1, 2})),
                     0);
    assert_int_equal(pith_graph_add_input(graph, add_value(graph, "state", PITH_FLOAT32, 2,
                                                           (const int64_t[]){1, -1})),
                     0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(
            pith_graph_add_output(graph, add_value(graph, i ? "next" : "y", PITH_FLOAT32, 2,
                                                   (const int64_t[]){1, 1})),
            0);
    return graph;
}

#define MANIFEST(stage)                                                                            \
    "{\"model\": \"m\", \"version\": \"1\", \"graphs\": {\"sum\": {\"sha256\": "                   \
    "\"0000000000000000000000000000000000000000000000000000000000000000\", \"bytes\": 1}}, "       \
    "\"input\": {\"type\": \"float32\"}, \"stages\": [{\"window\": {\"size\": 2, \"hop\": 1, "     \
    "\"before\": 1}}, " stage "]}"
#define SUM                                                                                        \
    MANIFEST("{\"graph\": \"sum\", \"state\": {\"state\": \"next\"}, \"inputs\": {\"gain\": 3}}")

static struct pith_manifest *read_manifest(const char *text)
{
    struct pith_manifest *manifest;
    struct pith_error err = {0};

    assert_ok(pith_manifest_parse(&manifest, text, strlen(text), &err), &err);
    return manifest;
}

static struct pith_chain *open_chain(const struct pith_manifest *manifest,
                                     const struct pith_graph *graph)
{
    struct pith_chain_options options = {.engine = &engine};
    struct pith_error err = {0};
    struct pith_chain *chain;

    assert_ok(pith_chain_open(&chain, manifest, &graph, &options, &err), &err);
    return chain;
}

struct seen {
    size_t count;
    float score[16];
};

static int keep(void *user, const struct pith_result *result)
{
    struct seen *seen = user;

    assert_true(seen->count < 16);
    seen->score[seen->count++] = result->scores[0].score;
    return 0;
}

static int feed(struct pith_chain *chain, float *values, int64_t count, struct seen *seen)
{
    struct pith_tensor rows = {PITH_FLOAT32, pith_shape_of(1, &count), values, (size_t) count * 4};

    return pith_chain_feed(chain, &rows, keep, seen, NULL);
}

static void state_goes_from_run_to_run_until_a_reset(void **unused)
{
    struct pith_manifest *manifest = read_manifest(SUM);
    struct pith_graph *graph = sum_graph();
    struct pith_chain *chain = open_chain(manifest, graph);
    float values[] = {1, 2, 4};
    /* Windows: (0, 1), (1, 2), (2, 4): the first begins with a row of zeros. */
    static const float wanted[] = {3 * 1, 3 * (1 + 3), 3 * (1 + 3 + 6)};

    (void) unused;
    for (int again = 0; again < 2; again++) {
        struct seen seen = {0};

        assert_int_equal(feed(chain, values, 3, &seen), 0);
        assert_int_equal(seen.count, 3);
        assert_memory_equal(seen.score, wanted, sizeof wanted);
        pith_chain_reset(chain);
    }
    pith_chain_close(chain);
    pith_graph_free(graph);
    pith_manifest_free(manifest);
}

static void state_is_taken_over_in_a_swap(void **unused)
{
    struct pith_manifest *manifest = read_manifest(SUM);
    struct pith_graph *graph = sum_graph();
    struct pith_chain *one = open_chain(manifest, graph), *two = open_chain(manifest, graph);
    float values[] = {1, 2, 4};
    struct seen seen = {0};

    (void) unused;
    assert_int_equal(feed(one, values, 2, &seen), 0);
    assert_int_equal(pith_chain_take_state(two, one, NULL), 0);
    assert_int_equal(feed(two, values + 2, 1, &seen), 0);
    assert_int_equal(seen.count, 3);
    assert_true(seen.score[2] == 3 * (1 + 3 + 6));
    pith_chain_close(one);
    pith_chain_close(two);
    pith_graph_free(graph);
    pith_manifest_free(manifest);
}

static void state_that_is_no_number_begins_anew(void **unused)
{
    struct pith_manifest *manifest = read_manifest(SUM);
    struct pith_graph *graph = sum_graph();
    struct pith_chain *chain = open_chain(manifest, graph);
    float values[] = {1, 2000, 0, 0, 5};
    struct seen seen = {0};

    (void) unused;
    assert_int_equal(feed(chain, values, 2, &seen), -EBADMSG);
    pith_chain_reset(chain); /* of the window; the state was zeroed by then */
    seen.count = 0;
    assert_int_equal(feed(chain, values + 2, 3, &seen), 0);
    assert_true(seen.score[0] == 0 && seen.score[2] == 15);
    pith_chain_close(chain);
    pith_graph_free(graph);
    pith_manifest_free(manifest);
}

static void what_does_not_fit_is_told(void **unused)
{
    static const struct {
        const char *manifest, *said;
    } cases[] = {
        {MANIFEST("{\"graph\": \"sum\"}"), "has 3 inputs; a stage gives one"},
        {MANIFEST(
             "{\"graph\": \"sum\", \"state\": {\"state\": \"nxt\"}, \"inputs\": {\"gain\": 1}}"),
         "has no output \"nxt\" for its input \"state\""},
        {MANIFEST("{\"graph\": \"sum\", \"state\": {\"state\": \"y\"}, \"inputs\": {\"gain\": 1}}"),
         "carries its first output"},
        {MANIFEST(
             "{\"graph\": \"sum\", \"state\": {\"state\": \"next\"}, \"inputs\": {\"gian\": 1}}"),
         "has no input of some name"},
        {MANIFEST(
             "{\"graph\": \"sum\", \"state\": {\"gain\": \"next\"}, \"inputs\": {\"state\": 1}}"),
         "carries an output of 4 bytes of float32 to an input of 8 of int64"},
        {MANIFEST(
             "{\"graph\": \"sum\", \"state\": {\"state\": \"next\"}, \"inputs\": {\"gain\": [1, "
             "2]}}"),
         "input \"gain\" takes 1 numbers; 2 are given"},
    };

    (void) unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pith_manifest *manifest = read_manifest(cases[i].manifest);
        struct pith_chain_options options = {.engine = &engine};
        struct pith_graph *graph = sum_graph();
        const struct pith_graph *graphs[] = {graph};
        struct pith_error err = {0};
        struct pith_chain *chain;

        assert_true(pith_chain_open(&chain, manifest, graphs, &options, &err) < 0);
        if (!strstr(err.text, cases[i].said))
            fail_msg("\"%s\" is not in: %s", cases[i].said, err.text);
        pith_graph_free(graph);
        pith_manifest_free(manifest);
    }
}

static void manifests_that_name_inputs_badly_are_refused(void **unused)
{
    static const struct {
        const char *manifest, *said;
    } cases[] = {
        {MANIFEST("{\"graph\": \"sum\", \"state\": {\"state\": 3}}"),
         "names the output that it gets"},
        {MANIFEST("{\"graph\": \"sum\", \"inputs\": {\"gain\": \"3\"}}"), "must be a number"},
        {MANIFEST("{\"graph\": \"sum\", \"inputs\": {\"gain\": []}}"), "must be a number"},
        {MANIFEST("{\"graph\": \"sum\", \"inputs\": {\"\": 1}}"), "1 to 256 bytes"},
        {MANIFEST("{\"graph\": \"sum\", \"state\": {\"a\": \"b\"}, \"inputs\": {\"a\": 1}}"),
         "is there already"},
        {MANIFEST("{\"graph\": \"sum\", \"input\": {\"gain\": 1}}"), "input"},
        {MANIFEST("{\"window\": {\"size\": 4, \"before\": 4}}, {\"graph\": \"sum\"}"), "before: 4"},
    };

    (void) unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pith_manifest *manifest = NULL;
        struct pith_error err = {0};

        assert_true(
            pith_manifest_parse(&manifest, cases[i].manifest, strlen(cases[i].manifest), &err) < 0);
        assert_null(manifest);
        if (!strstr(err.text, cases[i].said))
            fail_msg("\"%s\" is not in: %s", cases[i].said, err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(state_goes_from_run_to_run_until_a_reset),
        cmocka_unit_test(state_is_taken_over_in_a_swap),
        cmocka_unit_test(state_that_is_no_number_begins_anew),
        cmocka_unit_test(what_does_not_fit_is_told),
        cmocka_unit_test(manifests_that_name_inputs_badly_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
