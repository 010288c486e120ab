/* Tests of libpith/pipeline: chains over an engine of three operators, so that every number can be
 * checked by hand. */
#include "libpith/pipeline/chain.h"
#include "tests/testing.h"

#include <errno.h>
#include <math.h>

/* What a graph does is said by its name: "copy", "mean" (one value), "pairs" (halves the values, as
 * rows of 2). */
struct pith_session {
    const char *name;
    struct pith_shape input, output;
    float values[4096];
};

static int test_compile(const struct pith_host *host, const struct pith_graph *graph,
                        const struct pith_engine_options *options, struct pith_session **out,
                        struct pith_error *err)
{
    struct pith_session *session = calloc(1, sizeof *session);

    (void) host;
    (void) err;
    assert_non_null(session);
    session->name = pith_graph_name(graph);
    session->input = options->input_shapes[0];
    session->output = session->input;
    if (strcmp(session->name, "mean") == 0)
        session->output = pith_shape_of(2, (const int64_t[]){1, 1});
    if (strcmp(session->name, "pairs") == 0)
        session->output =
            pith_shape_of(4, (const int64_t[]){1, 1, pith_shape_elements(&session->input) / 4, 2});
    *out = session;
    return 0;
}

static int test_run(struct pith_session *session, const struct pith_tensor *inputs,
                    size_t input_count, struct pith_tensor *outputs, size_t output_count,
                    struct pith_error *err)
{
    int64_t count = pith_shape_elements(&session->input);
    int64_t out_count = pith_shape_elements(&session->output);
    double sum = 0;

    (void) err;
    assert_int_equal(input_count, 1);
    assert_int_equal(output_count, 1);
    assert_true(pith_shape_equal(&inputs[0].shape, &session->input));
    for (int64_t i = 0; i < count; i++) {
        double value = pith_tensor_get(&inputs[0], i);
        sum += value;
        if (i < out_count)
            session->values[i] = (float) value;
    }
    if (strcmp(session->name, "mean") == 0)
        session->values[0] = (float) (sum / (double) count);
    outputs[0] = (struct pith_tensor){PITH_FLOAT32, session->output, session->values,
                                      4 * (size_t) out_count};
    return 0;
}

static void test_close(struct pith_session *session)
{
    free(session);
}

static const struct pith_engine_ops engine = {
    .size_bytes = sizeof engine, .compile = test_compile, .run = test_run, .close = test_close};

struct fixture {
    struct pith_manifest manifest;
    const struct pith_graph *graphs[4];
    struct pith_graph *own[4];
};

static size_t add_graph(struct fixture *f, const char *does, const char *name, int32_t dtype,
                        uint32_t rank, const int64_t *dims)
{
    struct pith_error err = {0};
    struct pith_shape shape = pith_shape_of(rank, dims);
    size_t at = f->manifest.graph_count++;
    uint32_t value;

    assert_ok(pith_graph_new(&f->own[at], does, &err), &err);
    assert_ok(pith_graph_add_value(f->own[at], "in", dtype, &shape, &value, &err), &err);
    assert_ok(pith_graph_add_input(f->own[at], value), &err);
    assert_ok(pith_graph_add_value(f->own[at], "out", PITH_FLOAT32, NULL, &value, &err), &err);
    assert_ok(pith_graph_add_output(f->own[at], value), &err);
    f->graphs[at] = f->own[at];
    (void) snprintf(f->manifest.graphs[at].name, PITH_NAME_BYTES, "%s", name);
    return at;
}

static void add_stage(struct fixture *f, struct pith_stage stage)
{
    f->manifest.stages[f->manifest.stage_count++] = stage;
}

#define WINDOW(rows, step)                                                                         \
    ((struct pith_stage){.kind = PITH_STAGE_WINDOW, .size = (rows), .hop = (step)})
#define MAP(text)                                                                                  \
    ((struct pith_stage){.kind = PITH_STAGE_MAP, .expression = (char *) (uintptr_t) (text)})
#define GRAPH(at) ((struct pith_stage){.kind = PITH_STAGE_GRAPH, .graph = {(at)}, .graph_count = 1})
#define HEADS(a, b)                                                                                \
    ((struct pith_stage){.kind = PITH_STAGE_HEADS, .graph = {(a), (b)}, .graph_count = 2})

static void fixture_done(struct fixture *f)
{
    for (size_t i = 0; i < f->manifest.graph_count; i++)
        pith_graph_free(f->own[i]);
    free(f);
}

static struct fixture *fixture_new(void)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->manifest.input_dtype = PITH_FLOAT32;
    return f;
}

static struct pith_chain *open_chain(struct fixture *f)
{
    struct pith_chain_options options = {.engine = &engine, .threads = 1};
    struct pith_error err = {0};
    struct pith_chain *chain;

    assert_ok(pith_chain_open(&chain, &f->manifest, f->graphs, &options, &err), &err);
    return chain;
}

static void refused(struct fixture *f, const char *with)
{
    struct pith_chain_options options = {.engine = &engine};
    struct pith_error err = {0};
    struct pith_chain *chain;

    assert_true(pith_chain_open(&chain, &f->manifest, f->graphs, &options, &err) < 0);
    assert_null(chain);
    if (!strstr(err.text, with))
        fail_msg("\"%s\" is not in: %s", with, err.text);
}

struct seen {
    size_t count;
    float score[256][2];
    int32_t fired[256];
    uint64_t row[256];
};

static int count_own(void *user, const struct pith_result *result)
{
    ((size_t *) user)[result->own]++;
    return 0;
}

static int keep(void *user, const struct pith_result *result)
{
    struct seen *seen = user;

    assert_true(seen->count < 256);
    for (size_t i = 0; i < result->score_count && i < 2; i++)
        seen->score[seen->count][i] = result->scores[i].score;
    seen->fired[seen->count] = result->fired;
    seen->row[seen->count++] = result->row;
    return 0;
}

static struct pith_tensor rows_of(float *values, int64_t count)
{
    return (struct pith_tensor){PITH_FLOAT32, pith_shape_of(1, &count), values, (size_t) count * 4};
}

static void feed(struct pith_chain *chain, float *values, int64_t count, struct seen *seen)
{
    struct pith_tensor rows = rows_of(values, count);
    struct pith_error err = {0};

    assert_ok(pith_chain_feed(chain, &rows, keep, seen, &err), &err);
}

/* 8 samples, hop 4 -> 2 rows of 2 -> windows of 3 rows, hop 1 -> mean. */
static struct fixture *two_windows(void)
{
    struct fixture *f = fixture_new();

    add_stage(f, WINDOW(8, 4));
    add_stage(f, GRAPH(add_graph(f, "pairs", "first", PITH_FLOAT32, 2, (const int64_t[]){-1, -1})));
    add_stage(f, MAP("x * 2"));
    add_stage(f, WINDOW(3, 1));
    add_stage(f,
              GRAPH(add_graph(f, "mean", "second", PITH_FLOAT32, 3, (const int64_t[]){1, 3, 2})));
    return f;
}

static void chain_hands_rows_through_windows(void **state)
{
    struct fixture *f = two_windows();
    struct pith_chain *chain = open_chain(f);
    struct seen seen = {0}, again = {0};
    float samples[24];

    (void) state;
    for (int i = 0; i < 24; i++)
        samples[i] = (float) i;
    feed(chain, samples, 24, &seen);
    /* "pairs" passes the first 4 of its 8 samples on, as 2 rows: 0 1 | 2 3, then 4 5 | 6 7, ... */
    assert_int_equal(seen.count, 8);
    for (size_t i = 0; i < seen.count; i++)
        assert_float_equal(seen.score[i][0], 2 * (2.5f + 2 * (float) i), 1e-6);
    assert_int_equal(seen.row[0], 12);
    assert_int_equal(seen.row[1], 12);
    assert_int_equal(seen.row[2], 16);
    assert_string_equal(pith_chain_label(chain, 0), "second");
    /* The same one by one, after a reset. */
    pith_chain_reset(chain);
    for (int i = 0; i < 24; i++)
        feed(chain, samples + i, 1, &again);
    assert_memory_equal(&seen, &again, sizeof seen);
    assert_true(pith_chain_memory_bytes(chain) > 0);
    pith_chain_close(chain);
    fixture_done(f);
}

static void chain_swapped_midway_gives_the_same(void **state)
{
    struct fixture *f = two_windows();
    struct pith_chain *chain = open_chain(f), *other = open_chain(f);
    struct pith_error err = {0};
    struct seen whole = {0}, halves = {0};
    float samples[100];

    (void) state;
    for (int i = 0; i < 100; i++)
        samples[i] = (float) ((i * 37) % 11);
    feed(chain, samples, 100, &whole);
    pith_chain_reset(chain);
    feed(chain, samples, 31, &halves);
    assert_ok(pith_chain_take_state(other, chain, &err), &err);
    pith_chain_close(chain);
    feed(other, samples + 31, 69, &halves);
    assert_memory_equal(&whole, &halves, sizeof whole);
    pith_chain_close(other);
    fixture_done(f);
}

static void chain_tells_results_of_its_own_from_those_taken_over(void **state)
{
    struct fixture *f = two_windows();
    struct pith_chain *chain = open_chain(f), *other = open_chain(f);
    struct pith_error err = {0};
    struct seen seen = {0};
    size_t own[2] = {0};
    float samples[24] = {0};
    struct pith_tensor rows = rows_of(samples, 24);

    (void) state;
    feed(chain, samples, 15, &seen); /* 2 blocks of 2 rows; the window of 3 rows holds the last 2 */
    assert_ok(pith_chain_take_state(other, chain, &err), &err);
    assert_ok(pith_chain_feed(other, &rows, count_own, own, &err), &err);
    assert_int_equal(own[false], 2);
    assert_int_equal(own[true], 10);
    pith_chain_close(chain);
    pith_chain_close(other);
    fixture_done(f);
}

static void chain_refuses_state_of_other_stages(void **state)
{
    struct fixture *f = two_windows(), *g = two_windows();
    struct pith_chain *a, *b;
    struct pith_error err = {0};

    (void) state;
    g->manifest.stages[3].hop = 2;
    a = open_chain(f);
    b = open_chain(g);
    assert_int_equal(pith_chain_take_state(a, b, &err), -EINVAL);
    pith_chain_close(a);
    pith_chain_close(b);
    fixture_done(f);
    fixture_done(g);
}

static void chain_skips_rows_where_the_hop_is_longer(void **state)
{
    struct fixture *f = fixture_new();
    struct pith_chain *chain;
    struct seen seen = {0};
    float samples[20];

    (void) state;
    add_stage(f, MAP("x + 1"));
    add_stage(f, WINDOW(2, 5));
    add_stage(f, GRAPH(add_graph(f, "mean", "m", PITH_FLOAT32, 1, (const int64_t[]){-1})));
    chain = open_chain(f);
    for (int i = 0; i < 20; i++)
        samples[i] = (float) i;
    for (int i = 0; i < 20; i += 4)
        feed(chain, samples + i, 4, &seen);
    assert_int_equal(seen.count, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_float_equal(seen.score[i][0], 1.5f + 5 * (float) i, 0);
        assert_int_equal(seen.row[i], 2 + 5 * i);
    }
    pith_chain_close(chain);
    fixture_done(f);
}

/* Pictures of any size, in a batch of any: the row says which. */
static void chain_takes_open_dimensions_from_the_row(void **state)
{
    const int64_t fits[][4] = {{-1, 3, -1, -1}, {1, 3, -1, -1}, {-1, -1, -1, -1}};
    const int64_t differs[][4] = {{-1, 4, -1, -1}, {2, 3, -1, -1}};
    const int64_t row[] = {3, 2, 5};
    float samples[30] = {[29] = 30};

    (void) state;
    for (size_t i = 0; i < sizeof fits / sizeof *fits + sizeof differs / sizeof *differs; i++) {
        const bool right = i < sizeof fits / sizeof *fits;
        struct fixture *f = fixture_new();
        struct seen seen = {0};

        f->manifest.input_row = pith_shape_of(3, row);
        add_stage(f, MAP("x + 1"));
        add_stage(f, GRAPH(add_graph(f, "mean", "m", PITH_FLOAT32, 4,
                                     right ? fits[i] : differs[i - sizeof fits / sizeof *fits])));
        if (right) {
            struct pith_chain *chain = open_chain(f);
            struct pith_tensor rows = {PITH_FLOAT32, {4, {1, 3, 2, 5}}, samples, sizeof samples};
            struct pith_error err = {0};

            assert_ok(pith_chain_feed(chain, &rows, keep, &seen, &err), &err);
            assert_int_equal(seen.count, 1);
            assert_float_equal(seen.score[0][0], 2, 1e-6);
            pith_chain_close(chain);
        } else {
            refused(f, "are open, and what comes before it does not say them");
        }
        fixture_done(f);
    }
}

static void chain_decides_with_hold_off_in_input_time(void **state)
{
    struct fixture *f = fixture_new();
    struct pith_chain *chain;
    struct seen seen = {0};
    float samples[10] = {0, 0.9f, 0.9f, 0.9f, 0.9f, 0.9f, 0, 0.9f, 0, 0};

    (void) state;
    f->manifest.input_rate_hz = 10;
    add_stage(f, GRAPH(add_graph(f, "mean", "alexa", PITH_FLOAT32, 2, (const int64_t[]){1, 1})));
    add_stage(f,
              (struct pith_stage){.kind = PITH_STAGE_DECIDE, .threshold = 0.5, .hold_off_ms = 300});
    chain = open_chain(f);
    feed(chain, samples, 10, &seen);
    assert_int_equal(seen.count, 10);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(seen.fired[i], i == 1 || i == 4 || i == 7 ? 0 : -1);
    pith_chain_close(chain);
    fixture_done(f);
}

static void chain_smooths_over_the_last_scores(void **state)
{
    struct fixture *f = fixture_new();
    struct pith_chain *chain;
    struct seen seen = {0};
    float samples[5] = {0, 0.8f, 0, 0.8f, 0.8f};
    const float expected[5] = {0, 0.4f, 0.4f, 0.4f, 0.8f};

    (void) state;
    add_stage(f, GRAPH(add_graph(f, "mean", "alexa", PITH_FLOAT32, 2, (const int64_t[]){1, 1})));
    add_stage(f,
              (struct pith_stage){.kind = PITH_STAGE_DECIDE, .threshold = 0.5, .smooth_count = 2});
    chain = open_chain(f);
    feed(chain, samples, 5, &seen);
    for (size_t i = 0; i < 5; i++) {
        assert_float_equal(seen.score[i][0], expected[i], 1e-6);
        assert_int_equal(seen.fired[i], i == 4 ? 0 : -1);
    }
    pith_chain_close(chain);
    fixture_done(f);
}

static void chain_lets_classes_compete_and_heads_not(void **state)
{
    struct fixture *f = fixture_new();
    char *labels[] = {(char *) (uintptr_t) "no", (char *) (uintptr_t) "yes"};
    struct pith_chain *chain;
    struct seen seen = {0};
    float samples[4] = {0.4f, 0.6f, 0.4f, 0.6f};

    (void) state;
    f->manifest.labels = labels;
    f->manifest.label_count = 2;
    f->manifest.input_rate_hz = 1;
    add_stage(f, WINDOW(2, 2));
    add_stage(f, GRAPH(add_graph(f, "copy", "class", PITH_FLOAT32, 2, (const int64_t[]){1, 2})));
    add_stage(
        f, (struct pith_stage){.kind = PITH_STAGE_DECIDE, .threshold = 0.3, .hold_off_ms = 60000});
    chain = open_chain(f);
    feed(chain, samples, 4, &seen);
    assert_int_equal(seen.fired[0], 1);
    assert_int_equal(seen.fired[1], -1); /* "yes" is held off, and "no" is no better for it */
    pith_chain_close(chain);

    f->manifest.stage_count = 1;
    f->manifest.label_count = 0;
    add_stage(f, HEADS(add_graph(f, "mean", "a", PITH_FLOAT32, 2, (const int64_t[]){1, 2}),
                       add_graph(f, "mean", "b", PITH_FLOAT32, 1, (const int64_t[]){2})));
    add_stage(
        f, (struct pith_stage){.kind = PITH_STAGE_DECIDE, .threshold = 0.3, .hold_off_ms = 60000});
    chain = open_chain(f);
    memset(&seen, 0, sizeof seen);
    feed(chain, samples, 4, &seen);
    assert_int_equal(pith_chain_score_count(chain), 2);
    assert_string_equal(pith_chain_label(chain, 1), "b");
    assert_int_equal(seen.fired[0], 0);
    assert_int_equal(seen.fired[1], 1);
    pith_chain_close(chain);
    fixture_done(f);
}

static void chain_converts_to_what_a_graph_takes(void **state)
{
    struct fixture *f = fixture_new();
    struct pith_chain *chain;
    struct pith_error err = {0};
    struct seen seen = {0};
    int16_t samples[4] = {-300, 7, 8, 300};
    struct pith_tensor rows = {PITH_INT16, pith_shape_of(1, (const int64_t[]){4}), samples,
                               sizeof samples};

    (void) state;
    add_stage(f, GRAPH(add_graph(f, "mean", "m", PITH_INT8, 2, (const int64_t[]){-1, 1})));
    chain = open_chain(f);
    assert_ok(pith_chain_feed(chain, &rows, keep, &seen, &err), &err);
    assert_int_equal(seen.count, 4);
    assert_float_equal(seen.score[0][0], -128, 0);
    assert_float_equal(seen.score[1][0], 7, 0);
    assert_float_equal(seen.score[3][0], 127, 0);
    pith_chain_close(chain);
    fixture_done(f);
}

static void chain_refuses_bad_rows_and_goes_on(void **state)
{
    struct fixture *f = two_windows();
    struct pith_chain *chain = open_chain(f);
    struct pith_error err = {0};
    struct seen whole = {0}, seen = {0};
    float samples[24];
    float bad[3] = {0, NAN, INFINITY};
    struct pith_tensor rows = rows_of(bad, 3);

    (void) state;
    for (int i = 0; i < 24; i++)
        samples[i] = (float) i;
    feed(chain, samples, 24, &whole);
    pith_chain_reset(chain);
    feed(chain, samples, 10, &seen);
    assert_int_equal(pith_chain_feed(chain, &rows, keep, &seen, &err), -EBADMSG);
    rows = rows_of(bad + 2, 1);
    assert_int_equal(pith_chain_feed(chain, &rows, keep, &seen, &err), -EBADMSG);
    rows.shape = pith_shape_of(2, (const int64_t[]){1, 2});
    assert_int_equal(pith_chain_feed(chain, &rows, keep, &seen, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "[1,2]"));
    rows.shape = pith_shape_of(0, NULL);
    assert_int_equal(pith_chain_feed(chain, &rows, keep, &seen, &err), -EBADMSG);
    rows.shape = pith_shape_of(2, (const int64_t[]){INT64_MAX, 0});
    assert_int_equal(pith_chain_feed(chain, &rows, keep, &seen, &err), -EBADMSG);
    rows = rows_of(samples, 24);
    rows.bytes = 8;
    assert_int_equal(pith_chain_feed(chain, &rows, keep, &seen, &err), -EBADMSG);
    feed(chain, samples + 10, 14, &seen);
    assert_memory_equal(&whole, &seen, sizeof whole);
    pith_chain_close(chain);
    fixture_done(f);
}

static int stop_it(void *user, const struct pith_result *result)
{
    (void) user;
    (void) result;
    return -ECANCELED;
}

static int count_taps(void *user, size_t graph_index, const struct pith_tensor *inputs,
                      size_t input_count)
{
    assert_int_equal(input_count, 1);
    assert_true(pith_shape_known(&inputs->shape));
    ((size_t *) user)[graph_index]++;
    return 0;
}

static void chain_stops_where_asked_and_shows_inputs(void **state)
{
    struct fixture *f = two_windows();
    struct pith_chain *chain = open_chain(f);
    struct pith_error err = {0};
    struct seen seen = {0};
    size_t taps[2] = {0};
    float samples[24] = {0};
    struct pith_tensor rows = rows_of(samples, 24);

    (void) state;
    pith_chain_set_tap(chain, count_taps, taps);
    feed(chain, samples, 24, &seen);
    assert_int_equal(taps[0], 5);
    assert_int_equal(taps[1], 8);
    assert_int_equal(pith_chain_feed(chain, &rows, stop_it, NULL, &err), -ECANCELED);
    pith_chain_close(chain);
    fixture_done(f);
}

static void chain_names_the_stage_that_does_not_fit(void **state)
{
    struct fixture *f = two_windows();

    (void) state;
    f->manifest.stages[3].size = 4;
    refused(f, "stages[4] (graph): graph \"second\": takes [1,3,2], 6 values, which a window of 4");
    f->manifest.stages[3].size = 2;
    refused(
        f,
        "stages[4] (graph): takes rows of 3 values, but what comes before the window of 2 gives 4");
    f->manifest.stages[3].size = 3;
    f->manifest.stages[2].expression = (char *) (uintptr_t) "x *";
    refused(f, "stages[2] (map): character 4");
    f->manifest.stages[2] = WINDOW(3, 1);
    refused(f, "stages[3] (window): two windows");
    f->manifest.stages[2] = MAP("x");
    f->manifest.stages[3] = MAP("x");
    refused(f, "stages[4] (graph): graph \"second\": takes [1,3,2], 6 values, but the stage before "
               "gives 4");
    f->manifest.stages[3] = (struct pith_stage){.kind = PITH_STAGE_DECIDE};
    refused(f, "stages[4] comes after decide");
    f->manifest.stages[0].size = 0;
    refused(f, "stages[0] (window): size and hop");
    f->manifest.stages[0].size = INT64_MAX;
    refused(f, "stages[0] (window): size and hop");
    f->manifest.stages[0].size = 1 << 28;
    f->manifest.input_row = pith_shape_of(1, (const int64_t[]){1 << 20});
    refused(f, "stages[1] (graph)");
    f->manifest.input_row = pith_shape_of(1, (const int64_t[]){-1});
    refused(f, "input: rows of shape [?]");
    fixture_done(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chain_hands_rows_through_windows),
        cmocka_unit_test(chain_swapped_midway_gives_the_same),
        cmocka_unit_test(chain_tells_results_of_its_own_from_those_taken_over),
        cmocka_unit_test(chain_refuses_state_of_other_stages),
        cmocka_unit_test(chain_skips_rows_where_the_hop_is_longer),
        cmocka_unit_test(chain_takes_open_dimensions_from_the_row),
        cmocka_unit_test(chain_decides_with_hold_off_in_input_time),
        cmocka_unit_test(chain_smooths_over_the_last_scores),
        cmocka_unit_test(chain_lets_classes_compete_and_heads_not),
        cmocka_unit_test(chain_converts_to_what_a_graph_takes),
        cmocka_unit_test(chain_refuses_bad_rows_and_goes_on),
        cmocka_unit_test(chain_stops_where_asked_and_shows_inputs),
        cmocka_unit_test(chain_names_the_stage_that_does_not_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
