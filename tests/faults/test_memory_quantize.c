/* Memory runs out at every place where it can, as a small net is quantized. */
#include "tests/faults/faults.h"
#include "tests/unit/quantizing.h"

struct quantizing {
    const struct pith_technique_ops *ops;
    const struct pith_graph *graph;
    struct pith_technique_job job;
};

static int apply(void *user, struct pith_error *error)
{
    const struct quantizing *q = user;
    struct pith_graph *made = NULL;
    char *text = NULL;
    int rc = q->ops->apply(&q->job, q->graph, &made, &text, error);

    if (rc < 0) {
        assert_null(made);
        assert_null(text);
    }
    free(text);
    pith_graph_free(made);
    return rc;
}

/* conv - relu - flat - dense: enough for a scale a channel, a bias and a product. */
static struct pith_graph *small_net(void)
{
    uint32_t x;
    struct pith_graph *graph = begin((int64_t[]){1, 2, 3, 3}, 4, &x);
    uint32_t y = NODE(graph, "Conv", "conv", NULL, x, CONSTANT(graph, 0.3f, 3, 2, 2, 2),
                      CONSTANT(graph, 0.2f, 3));

    y = NODE(graph, "Relu", "relu", NULL, y);
    y = NODE(graph, "Flatten", "flat", NULL, y);
    y = NODE(graph, "MatMul", "dense", NULL, y, CONSTANT(graph, 0.5f, 12, 3));
    finish(graph, y);
    return graph;
}

static void quantize_with(const char *options_json)
{
    struct pith_graph *graph = small_net();
    struct pith_samples samples;
    struct pith_options options = {0}, engine_options = {0};
    json_t *object = json_loads(options_json, 0, NULL);

    assert_non_null(object);
    assert_ok(pith_options_from_json(&options, quantize->options, object, "options", &err), &err);
    assert_ok(pith_options_from_json(&engine_options, native->options, NULL, "engine", &err), &err);
    draw_some(&samples, graph, 2);
    struct pith_technique_host host = {.engine = native->ops,
                                       .engine_options = engine_options.values,
                                       .threads = 1,
                                       .samples = &samples};
    pith_technique_host_init(&host);
    struct quantizing q = {.ops = quantize->ops,
                           .graph = graph,
                           .job = {.size_bytes = sizeof q.job,
                                   .host = &host.host,
                                   .options = options.values,
                                   .seed = 1,
                                   .accuracy_drop_points = -1}};

    faults_each(FAULTS_MEMORY, apply, NULL, &q);
    json_decref(object);
    pith_options_done(&options);
    pith_options_done(&engine_options);
    pith_samples_done(&samples);
    pith_graph_free(graph);
}

static void memory_runs_out_as_a_net_is_quantized(void **state)
{
    (void) state;
    quantize_with("{\"weights\": \"int4\", \"least_samples\": 2}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(memory_runs_out_as_a_net_is_quantized)};

    return cmocka_run_group_tests(tests, open_plugins, close_plugins);
}
