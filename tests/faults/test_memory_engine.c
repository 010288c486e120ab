/* Memory runs out at every place where it can, as the engine compiles and runs graphs at random:
 * with what it makes one step of, with shapes known and open, and with two threads. */
#include "tests/faults/faults.h"
#include "tests/unit/native_plugin.h"
#include "tests/unit/random_grids.h"

#define GRAPHS  12
#define NODES   6
#define OUTPUTS 64

struct running {
    struct maker m;
    struct pith_tensor inputs[MAKER_INPUTS];
    size_t input_count, output_count;
    struct pith_engine_options options;
};

static int compile_and_run(void *user, struct pith_error *err)
{
    const struct running *r = user;
    struct pith_session *session = NULL;
    struct pith_session_description about;
    struct pith_tensor outputs[OUTPUTS];
    int rc = engine->compile(NULL, r->m.graph, &r->options, &session, err);

    if (rc < 0) {
        assert_null(session);
        return rc;
    }
    rc = engine->run(session, r->inputs, r->input_count, outputs, r->output_count, err);
    if (rc == 0)
        rc = engine->describe(session, &about);
    engine->close(session);
    return rc;
}

/* Returns how many ways it was compiled and run. */
static int with_each_shape(struct running *r)
{
    int ways = 0;
    struct pith_shape open[MAKER_INPUTS];
    struct pith_error err = {0};

    for (size_t i = 0; i < r->input_count; i++) {
        open[i] = r->inputs[i].shape;
        for (uint32_t axis = 0; axis < open[i].rank; axis++)
            open[i].dim[axis] = PITH_DIM_UNKNOWN;
    }
    for (int way = 0; way < 3; way++) {
        r->options = (struct pith_engine_options){.size_bytes = sizeof r->options,
                                                  .threads = way == 2 ? 2 : 1,
                                                  .input_shapes = way == 1 ? open : NULL};
        if (compile_and_run(r, &err) < 0)
            continue; /* it is one that the engine has no kernel for */
        faults_each(FAULTS_MEMORY, compile_and_run, NULL, r);
        ways++;
    }
    return ways;
}

static void memory_runs_out_as_graphs_are_compiled_and_run(void **state)
{
    struct pith_error err = {0};
    int ways = 0;

    (void) state;
    for (uint64_t seed = 1; seed <= GRAPHS; seed++) {
        struct running r = {0};
        double most[1024];

        maker_graph(&r.m, seed, NODES, seed % 2);
        r.output_count = pith_graph_output_count(r.m.graph);
        r.input_count = pith_graph_input_count(r.m.graph);
        assert_true(pith_graph_value_limit(r.m.graph) <= COUNT(most));
        for (size_t i = 0; i < COUNT(most); i++)
            most[i] = 4.0;
        assert_ok(pith_graph_validate(r.m.graph, &err), &err);
        assert_ok(pith_graph_infer(r.m.graph, NULL, &err), &err);
        for (size_t i = 0; i < r.input_count; i++) {
            const uint32_t value = pith_graph_input(r.m.graph, i);

            assert_ok(pith_tensor_alloc(&r.inputs[i], pith_value_dtype(r.m.graph, value),
                                        shape_of(&r.m, value), &err),
                      &err);
            fill(&r.m, &r.inputs[i]);
        }
        if (seed % 2)
            put_on_grids(&r.m, most);
        if (r.output_count > 0 && r.output_count <= OUTPUTS)
            ways += with_each_shape(&r);
        for (size_t i = 0; i < r.input_count; i++)
            pith_tensor_free(&r.inputs[i]);
        pith_graph_free(r.m.graph);
    }
    assert_true(ways > 2 * GRAPHS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_runs_out_as_graphs_are_compiled_and_run)};

    return cmocka_run_group_tests(tests, open_engine, close_engine);
}
