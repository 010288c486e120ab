/* A budget that the host gives, and keeps by evaluating whole graphs. */
#include "tests/unit/quantizing.h"

static int evaluations;

static size_t integer_input; /* of dense: what is lost is in its activations, else in its weights */

/* 10 points are lost with integers in dense, and half a point with those in conv2. */
static int evaluate_by_layers(void *user, const struct pith_graph *graph, struct pith_evaluation *out,
                              struct pith_error *error)
{
    static const struct {
        const char *node;
        double lost;
    } layers[] = {{"dense", 0.1}, {"conv2", 0.005}};

    (void) user;
    (void) error;
    evaluations++;
    *out = (struct pith_evaluation){.accuracy_ratio = 0.9, .fidelity_ratio = 1, .sample_count = 200};
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
        if (pith_value_quantization(graph, pith_node_input(graph, find_node(graph, layers[i].node),
                                                           integer_input ? 0 : 1)))
            out->accuracy_ratio -= layers[i].lost;
    return 0;
}

static int evaluate_by_decisions(void *user, const struct pith_graph *graph, struct pith_evaluation *out,
                                 struct pith_error *error)
{
    int rc = evaluate_by_layers(user, graph, out, error);

    out->fidelity_ratio = 1 - (0.9 - out->accuracy_ratio);
    out->accuracy_ratio = -1; /* nothing is labelled */
    return rc;
}

static int evaluate_nothing(void *user, const struct pith_graph *graph, struct pith_evaluation *out,
                            struct pith_error *error)
{
    (void) user;
    (void) graph;
    (void) out;
    return pith_fail(error, -EIO, "the samples are gone");
}

/* In points, by what the host measures; the layer that doesn't hurt by that measure stays as it was. */
static void quantize_keeps_a_budget_that_the_host_gives(void **unused)
{
    struct pith_graph *graph = conv_net();
    struct applied applied;

    (void) unused;
    for (int labelled = 0; labelled < 4; labelled++) {
        integer_input = (size_t) labelled / 2;
        host_evaluates = labelled % 2 ? evaluate_by_layers : evaluate_by_decisions;
        host_budget = 1;
        evaluations = 0;
        assert_ok(apply_to(graph, "{}", true, &applied), &err);
        const json_t *budget = json_object_get(applied.report, "budget");

        assert_string_equal(form_of(applied.report, "dense"),
                            integer_input ? "weights-int8" : "weights-float16");
        if (integer_input) /* what doesn't hurt stays as it was */
            assert_string_equal(form_of(applied.report, "conv2"), "int8");
        assert_non_null(strstr(layer_text(applied.report, "dense", "why"), "budget"));
        assert_true(json_is_true(json_object_get(budget, "kept")));
        assert_true(json_number_value(json_object_get(budget, "drop_points")) <= 0.5 + 1e-3);
        assert_in_range(evaluations, 3, 20);
        done(&applied);
    }
    host_budget = -1; /* none: nobody is asked */
    evaluations = 0;
    assert_ok(apply_to(graph, "{}", true, &applied), &err);
    assert_string_equal(form_of(applied.report, "conv2"), "int8");
    assert_int_equal(evaluations, 0);
    assert_null(json_object_get(applied.report, "budget"));
    done(&applied);
    host_budget = 1;
    host_evaluates = evaluate_nothing;
    assert_int_equal(apply_to(graph, "{}", true, &applied), -EIO);
    assert_string_equal(err.text, "the samples are gone");
    done(&applied);
    host_budget = -1;
    host_evaluates = NULL;
    pith_graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantize_keeps_a_budget_that_the_host_gives),
    };

    return cmocka_run_group_tests(tests, open_plugins, close_plugins);
}
