/* The memo: outputs as of the engine within, fewer runs, a bound in bytes. */
#include "libpith/compress/memo.h"

#include "tests/testing.h"

#include <stdlib.h>
#include <string.h>

struct pith_session {
    float factor;
    float output[4];
};
static int runs;

static int compile_times(const struct pith_host *host, const struct pith_graph *graph,
                         const struct pith_engine_options *options, struct pith_session **out,
                         struct pith_error *err)
{
    (void) host;
    (void) graph;
    (void) err;
    *out = calloc(1, sizeof **out);
    (*out)->factor = (float) options->options->number;
    return 0;
}

static int run_times(struct pith_session *session, const struct pith_tensor *inputs,
                     size_t input_count, struct pith_tensor *outputs, size_t output_count,
                     struct pith_error *err)
{
    (void) input_count;
    (void) output_count;
    (void) err;
    for (int i = 0; i < 4; i++)
        session->output[i] = session->factor * ((const float *) inputs[0].data)[i];
    outputs[0] = inputs[0];
    outputs[0].data = session->output;
    runs++;
    return 0;
}

static void close_times(struct pith_session *session)
{
    free(session);
}

static const struct pith_engine_ops times = {
    .size_bytes = sizeof times, .compile = compile_times, .run = run_times, .close = close_times};

static struct pith_session *open_session(struct pith_memo *memo, const char *id, double factor)
{
    struct pith_option_value inner = {.number = factor};
    struct pith_memo_engine engine = {
        .memo = memo, .inner = &times, .inner_options = &inner, .graph_id = id};
    struct pith_engine_options options = {.size_bytes = sizeof options, .options = &engine.options};
    struct pith_session *session = NULL;

    assert_int_equal(pith_memo_ops.compile(NULL, NULL, &options, &session, NULL), 0);
    return session;
}

static float run_on(struct pith_session *session, float x)
{
    float data[4] = {x, 1, 2, 3};
    struct pith_tensor output, input = {.dtype = PITH_FLOAT32,
                                        .shape = pith_shape_of(1, (int64_t[]){4}),
                                        .data = data,
                                        .bytes = sizeof data};

    assert_int_equal(pith_memo_ops.run(session, &input, 1, &output, 1, NULL), 0);
    assert_int_equal(output.bytes, sizeof data);
    return ((const float *) output.data)[0];
}

static void memo_runs_a_graph_once_for_equal_inputs(void **unused)
{
    struct pith_memo *memo = pith_memo_new(1 << 20);
    struct pith_session *twice = open_session(memo, "a", 2), *again = open_session(memo, "a", 2);
    struct pith_session *thrice = open_session(memo, "b", 3);

    (void) unused;
    runs = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < 3000; i++)
            assert_true(run_on(pass ? again : twice, (float) i) == 2 * (float) i);
    assert_int_equal(runs, 3000);
    assert_int_equal(pith_memo_hits(memo), 3000);
    assert_true(run_on(thrice, 5) == 15);
    assert_int_equal(runs, 3001);
    pith_memo_ops.close(twice);
    pith_memo_ops.close(again);
    pith_memo_ops.close(thrice);
    pith_memo_free(memo);
}

static void memo_keeps_its_bound_and_still_answers(void **unused)
{
    struct pith_memo *memo = pith_memo_new(4096);
    struct pith_session *session = open_session(memo, "a", 2);

    (void) unused;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < 500; i++)
            assert_true(run_on(session, (float) i) == 2 * (float) i);
    assert_true(pith_memo_bytes(memo) <= 4096);
    assert_true(pith_memo_hits(memo) > 0);
    pith_memo_ops.close(session);
    pith_memo_free(memo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memo_runs_a_graph_once_for_equal_inputs),
        cmocka_unit_test(memo_keeps_its_bound_and_still_answers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
