/* Which layers of the technique quantize go finer, and by what: outputs before Softmax, biases that are corrected anew,
 * and what a layer costs by byte. */
#include "tests/unit/quantizing.h"

/* Scores of five classes of which the first wins by far, so that Softmax gives 1 and 0 whatever rounding does, and
 * a part that all classes share, which Softmax doesn't see. */
static struct pith_graph *scoring_net(void)
{
    float ahead[] = {40, 0, 0, 0, 0};
    struct pith_tensor tensor = {PITH_FLOAT32, {.rank = 1, .dim = {5}}, ahead, sizeof ahead};
    uint32_t x, first, node;
    struct pith_graph *graph = begin((int64_t[]){1, 64}, 2, &x);
    uint32_t hidden =
        NODE(graph, "Relu", "relu", NULL, NODE(graph, "MatMul", "hidden", NULL, x, CONSTANT(graph, 0.2f, 64, 512)));
    uint32_t scores = NODE(graph, "MatMul", "score", NULL, hidden, CONSTANT(graph, 0.6f, 512, 5));
    uint32_t shared = NODE(graph, "MatMul", "shared", NULL, hidden, CONSTANT(graph, 6, 512, 1));

    assert_ok(pith_graph_add_constant(graph, NULL, &tensor, &first, &err), &err);
    scores = NODE(graph, "Add", "ahead", NULL, NODE(graph, "Add", "sum", NULL, scores, shared), first);
    scores = NODE(graph, "Softmax", "softmax", &node, scores);
    assert_ok(pith_node_set_int(graph, node, "axis", -1), &err);
    finish(graph, scores);
    return graph;
}

#define NEAREST_INT4 "\"weights\": \"int4\", \"activations\": \"float32\", \"rounding\": \"nearest\""

static void outputs_are_compared_before_softmax(void **unused)
{
    struct pith_graph *graph = scoring_net();
    struct applied coarse, finer;
    char options[160];

    (void) unused;
    assert_ok(apply_to(graph, "{" NEAREST_INT4 ", \"bias_correction\": \"off\", \"max_error_ratio\": 0}", true, &coarse),
              &err);
    assert_string_equal(form_of(coarse.report, "shared"), "weights-int4");
    assert_true(error_of(&coarse) > 0.005); /* probabilities are all alike */
    (void) snprintf(options, sizeof options, "{" NEAREST_INT4 ", \"bias_correction\": \"off\", \"max_error_ratio\": %.6f}",
                    0.3 * error_of(&coarse));
    assert_ok(apply_to(graph, options, true, &finer), &err);
    assert_string_equal(form_of(finer.report, "score"), "weights-int8");
    assert_string_equal(form_of(finer.report, "shared"), "weights-int4"); /* errs by far the most, to no effect */
    assert_true(error_of(&finer) <= 0.3 * error_of(&coarse));
    done(&coarse);
    done(&finer);
    pith_graph_free(graph);
}

/* Where 8 bits between layers are too few in most of a net, it keeps integers of 16 bits if the engine multiplies such. */
static void words_replace_floats_in_most_of_a_net(void **unused)
{
#define ONE_LAYER "\"keep\": [\"conv1\", \"dense\"]"
    struct pith_graph *graph = conv_net();
    struct applied bytes, words, settled;
    char options[96];

    (void) unused;
    assert_ok(apply_to(graph, "{" ONE_LAYER ", \"max_error_ratio\": 0}", true, &bytes), &err);
    assert_ok(apply_to(graph, "{" ONE_LAYER ", \"activations\": \"int16\", \"max_error_ratio\": 0}", true, &words), &err);
    assert_true(error_of(&words) < 0.8 * error_of(&bytes));
    (void) snprintf(options, sizeof options, "{" ONE_LAYER ", \"max_error_ratio\": %.6f}", 1.1 * error_of(&words));
    assert_ok(apply_to(graph, options, true, &settled), &err);
#ifdef __x86_64__
    assert_string_equal(form_of(settled.report, "conv2"), "w8a16");
    assert_non_null(strstr(layer_text(settled.report, "conv2", "why"), "in most of it"));
#else
    assert_string_equal(form_of(settled.report, "conv2"), "weights-int8");
#endif
    assert_true(error_of(&settled) <= 1.1 * error_of(&words));
    done(&bytes);
    done(&words);
    done(&settled);
    pith_graph_free(graph);
}

static const struct pith_tensor *bias_of(const struct applied *applied, const char *name)
{
    return pith_value_constant(applied->graph, pith_node_input(applied->graph, find_node(applied->graph, name), 2));
}

/* The biases of layers that have moved one by one are those of layers that were told their forms at once. */
static void biases_are_corrected_anew_when_layers_move(void **unused)
{
    static const char *const layers[] = {"conv1", "conv2", "dense"};
    struct pith_graph *graph = conv_net();
    struct applied coarse, moved, told;
    char options[320];
    size_t finer = 0, at;

    (void) unused;
    assert_ok(apply_to(graph, "{\"weights\": \"int4\", \"rounding\": \"nearest\", \"max_error_ratio\": 0}", true, &coarse),
              &err);
    (void) snprintf(options, sizeof options,
                    "{\"weights\": \"int4\", \"rounding\": \"nearest\", \"max_error_ratio\": %.6f}",
                    0.8 * error_of(&coarse));
    assert_ok(apply_to(graph, options, true, &moved), &err);
    at = (size_t) snprintf(options, sizeof options,
                           "{\"weights\": \"int4\", \"rounding\": \"nearest\", \"max_error_ratio\": 0, \"schemes\": [");
    for (size_t i = 0; i < 3; i++) {
        const char *form = form_of(moved.report, layers[i]);

        finer += !strcmp(form, "int8");
        at += (size_t) snprintf(options + at, sizeof options - at, "%s\"%s=%s\"", i ? ", " : "", layers[i], form);
    }
    (void) snprintf(options + at, sizeof options - at, "]}");
    assert_in_range(finer, 1, 2);
    assert_ok(apply_to(graph, options, true, &told), &err);
    assert_true(error_of(&moved) == error_of(&told));
    for (size_t i = 0; i < 3; i++) {
        const struct pith_tensor *a = bias_of(&moved, layers[i]), *b = bias_of(&told, layers[i]);

        assert_int_equal(a->bytes, b->bytes);
        assert_memory_equal(a->data, b->data, a->bytes);
    }
    done(&coarse);
    done(&moved);
    done(&told);
    pith_graph_free(graph);
}

/* Two layers side by side: one of few weights, and one of ten times as many. */
static struct pith_graph *two_sizes(float few, float many)
{
    uint32_t x, node;
    struct pith_graph *graph = begin((int64_t[]){1, 64}, 2, &x);
    uint32_t y = NODE(graph, "Concat", "both", &node,
                      NODE(graph, "MatMul", "few", NULL, x, CONSTANT(graph, few, 64, 16)),
                      NODE(graph, "MatMul", "many", NULL, x, CONSTANT(graph, many, 64, 160)));

    assert_ok(pith_node_set_int(graph, node, "axis", 1), &err);
    finish(graph, y);
    return graph;
}

/* Squared errors are by weight as the squares of weights are: those with the greater weights go first, though all of
 * `many` errs more than all of `few` in the first net, and less for each of its weights in the second. */
static void layers_are_ranked_by_squares_a_byte(void **unused)
{
    static const struct {
        float few, many;
        const char *form_few, *form_many;
    } cases[] = {{0.15f, 0.1f, "weights-int8", "weights-int4"}, {0.05f, 0.1f, "weights-int4", "weights-int8"}};

    (void) unused;
    for (size_t i = 0; i < 2; i++) {
        struct pith_graph *graph = two_sizes(cases[i].few, cases[i].many);
        struct applied coarse, finer;
        char options[160];

        assert_ok(apply_to(graph, "{" NEAREST_INT4 ", \"bias_correction\": \"off\", \"max_error_ratio\": 0}", true,
                           &coarse),
                  &err);
        (void) snprintf(options, sizeof options,
                        "{" NEAREST_INT4 ", \"bias_correction\": \"off\", \"max_error_ratio\": %.6f}",
                        0.95 * error_of(&coarse));
        assert_ok(apply_to(graph, options, true, &finer), &err);
        assert_string_equal(form_of(finer.report, "few"), cases[i].form_few);
        assert_string_equal(form_of(finer.report, "many"), cases[i].form_many);
        done(&coarse);
        done(&finer);
        pith_graph_free(graph);
    }
}

static double alone_error(const struct applied *applied, const char *name)
{
    const json_t *layer;
    size_t i;

    json_array_foreach(json_object_get(applied->report, "layers"), i, layer)
        if (!strcmp(json_string_value(json_object_get(layer, "node")), name))
            return json_number_value(json_object_get(layer, "output_error_ratio"));
    return -1;
}

/* What a layer is ranked by is what the graph errs by with it alone so: without a bias that makes up for others. */
static void a_layer_alone_has_no_bias_for_others(void **unused)
{
    static const char *const layers[] = {"conv1", "conv2", "dense"};
    struct pith_graph *graph = conv_net();
    struct applied coarse, ranked;
    char options[200];

    (void) unused;
    assert_ok(apply_to(graph, "{\"weights\": \"int4\", \"rounding\": \"nearest\", \"max_error_ratio\": 0}", true, &coarse),
              &err);
    (void) snprintf(options, sizeof options,
                    "{\"weights\": \"int4\", \"rounding\": \"nearest\", \"max_error_ratio\": %.6f}",
                    0.8 * error_of(&coarse)); /* which the first rung reaches: later ones measure layers of 8 bits */
    assert_ok(apply_to(graph, options, true, &ranked), &err);
    for (size_t i = 0; i < 3; i++) {
        struct applied alone;

        (void) snprintf(options, sizeof options,
                        "{\"weights\": \"int4\", \"rounding\": \"nearest\", \"bias_correction\": \"off\", "
                        "\"max_error_ratio\": 0, \"only\": [\"%s\"]}",
                        layers[i]);
        assert_ok(apply_to(graph, options, true, &alone), &err);
        assert_true(fabs(error_of(&alone) - alone_error(&ranked, layers[i])) < 1e-3 * error_of(&alone));
        done(&alone);
    }
    done(&coarse);
    done(&ranked);
    pith_graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outputs_are_compared_before_softmax),
        cmocka_unit_test(words_replace_floats_in_most_of_a_net),
        cmocka_unit_test(biases_are_corrected_anew_when_layers_move),
        cmocka_unit_test(layers_are_ranked_by_squares_a_byte),
        cmocka_unit_test(a_layer_alone_has_no_bias_for_others),
    };

    return cmocka_run_group_tests(tests, open_plugins, close_plugins);
}
