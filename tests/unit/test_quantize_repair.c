/* Repairs of the technique quantize: each on a net that is broken the way it mends, and none where
 * it changes what the float net computes. */
#include "tests/unit/quantizing.h"

static double repair_number(const struct applied *applied, const char *name, const char *key)
{
    const json_t *repair;
    size_t i;

    json_array_foreach(json_object_get(applied->report, "repairs"), i, repair)
    {
        if (!strcmp(json_string_value(json_object_get(repair, "repair")), name))
            return json_is_true(json_object_get(repair, key))
                       ? 1
                       : json_number_value(json_object_get(repair, key));
    }
    return -1;
}

/* Multiplies channel c of the weight's first axis by 30^(a number of the draw, -1 to 1). */
static uint32_t uneven(struct pith_graph *graph, uint32_t value)
{
    struct pith_tensor w;

    assert_ok(pith_tensor_copy(&w, pith_value_constant(graph, value), &err), &err);
    int64_t row = pith_shape_elements(&w.shape) / w.shape.dim[0];

    for (int64_t c = 0; c < w.shape.dim[0]; c++) {
        float by = powf(30, net_uniform());

        for (int64_t i = 0; i < row; i++)
            ((float *) w.data)[c * row + i] *= by;
    }
    assert_ok(pith_value_set_constant(graph, value, &w), &err);
    pith_tensor_free(&w);
    return value;
}

/* As a MobileNet has them: 1x1, depthwise, 1x1, with channels of very different sizes.
 * activation: Relu, or Clip from 0 to 6. */
static struct pith_graph *depthwise_net(const char *activation)
{
    uint32_t x, node;
    struct pith_graph *graph = begin((int64_t[]){1, 4, 10, 10}, 4, &x);
    float ends[] = {0, 6};
    uint32_t clip[2];

    for (int i = 0; i < 2; i++) {
        struct pith_tensor end = {PITH_FLOAT32, {0}, &ends[i], sizeof *ends};

        assert_ok(pith_graph_add_constant(graph, NULL, &end, &clip[i], &err), &err);
    }
    bool clips = !strcmp(activation, "Clip");
    uint32_t y = NODE(graph, "Conv", "expand", NULL, x,
                      uneven(graph, CONSTANT(graph, 0.5f, 24, 4, 1, 1)), CONSTANT(graph, 0.1f, 24));

    y = clips ? NODE(graph, "Clip", "act1", NULL, y, clip[0], clip[1])
              : NODE(graph, activation, "act1", NULL, y);
    y = NODE(graph, "Conv", "depthwise", &node, y,
             uneven(graph, CONSTANT(graph, 0.4f, 24, 1, 3, 3)), CONSTANT(graph, 0.1f, 24));
    assert_ok(pith_node_set_int(graph, node, "group", 24), &err);
    assert_ok(pith_node_set_ints(graph, node, "pads", (int64_t[]){1, 1, 1, 1}, 4), &err);
    y = clips ? NODE(graph, "Clip", "act2", NULL, y, clip[0], clip[1])
              : NODE(graph, activation, "act2", NULL, y);
    y = NODE(graph, "Conv", "project", NULL, y, CONSTANT(graph, 0.3f, 12, 24, 1, 1));
    y = NODE(graph, "GlobalAveragePool", "mean", NULL, y);
    finish(graph, y);
    return graph;
}

/* A normalization's end with channels far larger than others, and what multiplies it. */
static struct pith_graph *normed_net(void)
{
    uint32_t x;
    struct pith_graph *graph = begin((int64_t[]){1, 8, 32}, 3, &x);
    uint32_t gamma = CONSTANT(graph, 1, 32);
    struct pith_tensor outliers;

    assert_ok(pith_tensor_copy(&outliers, pith_value_constant(graph, gamma), &err), &err);
    ((float *) outliers.data)[3] *= 80;
    ((float *) outliers.data)[20] *= 50;
    assert_ok(pith_value_set_constant(graph, gamma, &outliers), &err);
    pith_tensor_free(&outliers);
    uint32_t y = NODE(graph, "Mul", "gamma", NULL, NODE(graph, "Tanh", "own", NULL, x), gamma);

    y = NODE(graph, "Add", "beta", NULL, y, CONSTANT(graph, 0.2f, 32));
    uint32_t q = NODE(graph, "MatMul", "query", NULL, y, CONSTANT(graph, 0.05f, 32, 16));
    uint32_t k = NODE(graph, "MatMul", "key", NULL, y, CONSTANT(graph, 0.05f, 32, 16));

    finish(graph, NODE(graph, "Add", "sum", NULL, q, k));
    return graph;
}

static void equalization_mends_uneven_channels_with_one_scale(void **unused)
{
    struct pith_graph *graph = depthwise_net("Relu");
    struct applied off, on;

    (void) unused;
    assert_ok(apply_to(graph,
                       "{\"per_channel\": false, \"max_error_ratio\": 0, \"equalize\": \"off\", "
                       "\"bias_correction\": \"off\"}",
                       true, &off),
              &err);
    assert_ok(apply_to(graph, "{\"per_channel\": false, \"max_error_ratio\": 0}", true, &on), &err);
    assert_true(repair_number(&on, "equalize", "kept") == 1);
    assert_true(repair_number(&on, "equalize", "changed_count") == 2);
    assert_true(error_of(&on) < 0.5 * error_of(&off));
    done(&off);
    done(&on);
    pith_graph_free(graph);
}

/* A channel that training has left hardly any weights and a bias: brought to the size of the others by
 * its weights alone, its bias would be hundreds of times what they are. */
static void equalization_leaves_constant_channels_where_they_are(void **unused)
{
    struct pith_graph *graph = depthwise_net("Relu");
    struct pith_tensor w, b;
    struct applied off, on;

    (void) unused;
    for (uint32_t node = 0; node < pith_graph_node_limit(graph); node++) {
        if (strcmp(pith_node_op(graph, node), "Conv") != 0 || pith_node_int(graph, node, "group", 1) == 1)
            continue;
        uint32_t values[] = {pith_node_input(graph, node, 1), pith_node_input(graph, node, 2)};

        assert_ok(pith_tensor_copy(&w, pith_value_constant(graph, values[0]), &err), &err);
        assert_ok(pith_tensor_copy(&b, pith_value_constant(graph, values[1]), &err), &err);
        for (int c = 0; c < 24; c += 5) {
            for (int k = 0; k < 9; k++)
                ((float *) w.data)[9 * c + k] *= 1e-6f;
            ((float *) b.data)[c] = 0.5f;
        }
        assert_ok(pith_value_take_constant(graph, values[0], &w), &err);
        assert_ok(pith_value_take_constant(graph, values[1], &b), &err);
    }
    assert_ok(apply_to(graph,
                       "{\"per_channel\": false, \"max_error_ratio\": 0, \"equalize\": \"off\", "
                       "\"bias_correction\": \"off\"}",
                       true, &off),
              &err);
    assert_ok(apply_to(graph,
                       "{\"per_channel\": false, \"max_error_ratio\": 0, \"equalize\": \"on\", "
                       "\"bias_correction\": \"off\"}",
                       true, &on),
              &err);
    assert_true(error_of(&on) < 0.5 * error_of(&off));
    done(&off);
    done(&on);
    pith_graph_free(graph);
}

/* Halves round by 2^-11 and nothing else is rounded: what is left would be a change of function. */
static void equalization_leaves_the_function_as_it_was(void **unused)
{
    static const char *const activations[] = {"Relu", "Clip"};

    (void) unused;
    for (size_t i = 0; i < 2; i++) {
        struct pith_graph *graph = depthwise_net(activations[i]);
        struct applied applied;

        assert_ok(
            apply_to(graph, "{\"weights\": \"float16\", \"equalize\": \"on\"}", true, &applied),
            &err);
        assert_true(repair_number(&applied, "equalize", "kept") == (i == 0));
        assert_true(error_of(&applied) < 0.002);
        done(&applied);
        pith_graph_free(graph);
    }
}

static void smoothing_mends_outliers_and_leaves_the_function(void **unused)
{
    struct pith_graph *graph = normed_net();
    struct applied off, on, same;

    (void) unused;
    assert_ok(apply_to(graph, "{\"max_error_ratio\": 0, \"smooth\": \"off\"}", true, &off), &err);
    assert_ok(apply_to(graph, "{\"max_error_ratio\": 0}", true, &on), &err);
    assert_true(repair_number(&on, "smooth", "kept") == 1);
    assert_true(repair_number(&on, "smooth", "changed_count") == 1);
    assert_true(error_of(&on) < 0.8 * error_of(&off));
    /* One layer in 16 bits stands for "hardly rounded". */
    assert_ok(apply_to(graph, "{\"smooth\": \"on\", \"activations\": \"int16\"}", true, &same),
              &err);
    assert_true(repair_number(&same, "smooth", "kept") == 1);
    assert_true(error_of(&same) < 0.02);
    done(&off);
    done(&on);
    done(&same);
    pith_graph_free(graph);
}

static void rounding_and_biases_mend_four_bits(void **unused)
{
    struct pith_graph *graph = conv_net();
    struct applied plain, mended, learned;

    (void) unused;
    assert_ok(apply_to(graph,
                       "{\"weights\": \"int4\", \"max_error_ratio\": 0, \"rounding\": "
                       "\"nearest\", \"bias_correction\": \"off\"}",
                       true, &plain),
              &err);
    assert_ok(apply_to(graph, "{\"weights\": \"int4\", \"max_error_ratio\": 0}", true, &mended),
              &err);
    assert_ok(apply_to(graph,
                       "{\"weights\": \"int4\", \"max_error_ratio\": 0, \"rounding\": "
                       "\"adaround\"}",
                       true, &learned),
              &err);
    assert_true(error_of(&mended) < 0.8 * error_of(&plain));
    assert_true(error_of(&learned) < error_of(&plain));
    /* The report says what each layer gained. */
    const json_t *layer = json_array_get(json_object_get(learned.report, "layers"), 1);

    assert_true(json_number_value(json_object_get(layer, "rounding_gain_db")) > 0);
    done(&plain);
    done(&mended);
    done(&learned);
    pith_graph_free(graph);
}

/* With a scale a channel weights want no equalization, but what flows between two layers has one grid. */
static void equalization_gives_quiet_channels_levels(void **unused)
{
    struct pith_graph *graph = depthwise_net("Relu");
    struct applied off, on, wide;

    (void) unused;
    assert_ok(apply_to(graph,
                       "{\"max_error_ratio\": 0, \"equalize\": \"off\", \"bias_correction\": \"off\"}", true,
                       &off),
              &err);
    assert_ok(apply_to(graph, "{\"max_error_ratio\": 0, \"bias_correction\": \"off\"}", true, &on), &err);
    assert_true(repair_number(&on, "equalize", "kept") == 1);
    assert_true(repair_number(&on, "equalize", "changed_count") == 2);
    assert_true(error_of(&on) < 0.7 * error_of(&off));
    /* 16 bits have levels for all. */
    assert_ok(apply_to(graph, "{\"max_error_ratio\": 0, \"activations\": \"int16\"}", true, &wide), &err);
    assert_true(repair_number(&wide, "equalize", "kept") <= 0);
    done(&off);
    done(&on);
    done(&wide);
    pith_graph_free(graph);
}

/* Weights alone are rounded here, so that nothing else moves the outputs. */
static void rounding_mends_eight_bits(void **unused)
{
    struct pith_graph *graph = conv_net();
    struct applied nearest, mended;

    (void) unused;
    assert_ok(apply_to(graph,
                       "{\"activations\": \"float32\", \"max_error_ratio\": 0, \"rounding\": \"nearest\"}",
                       true, &nearest),
              &err);
    assert_ok(apply_to(graph, "{\"activations\": \"float32\", \"max_error_ratio\": 0}", true, &mended), &err);
    assert_true(repair_number(&nearest, "rounding", "kept") <= 0);
    assert_true(repair_number(&mended, "rounding", "kept") == 1);
    assert_true(error_of(&mended) < 0.8 * error_of(&nearest));
    done(&nearest);
    done(&mended);
    pith_graph_free(graph);
}

static void repairs_are_dropped_where_they_do_not_help(void **unused)
{
    struct pith_graph *nets[] = {conv_net(), depthwise_net("Relu"), normed_net()};

    (void) unused;
    for (size_t i = 0; i < 6; i++) {
        struct applied applied;
        const json_t *repair;
        size_t k;

        assert_ok(apply_to(nets[i / 2],
                           i % 2 ? "{}" : "{\"per_channel\": false, \"weights\": \"int4\"}", true, &applied),
                  &err);
        json_array_foreach(json_object_get(applied.report, "repairs"), k, repair)
        {
            double before = json_number_value(json_object_get(repair, "error_ratio_before"));
            double after = json_number_value(json_object_get(repair, "error_ratio_after"));

            if (json_is_true(json_object_get(repair, "kept")))
                assert_true(after <= before);
        }
        done(&applied);
        if (i % 2)
            pith_graph_free(nets[i / 2]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equalization_mends_uneven_channels_with_one_scale),
        cmocka_unit_test(equalization_leaves_constant_channels_where_they_are),
        cmocka_unit_test(equalization_leaves_the_function_as_it_was),
        cmocka_unit_test(smoothing_mends_outliers_and_leaves_the_function),
        cmocka_unit_test(equalization_gives_quiet_channels_levels),
        cmocka_unit_test(rounding_and_biases_mend_four_bits),
        cmocka_unit_test(rounding_mends_eight_bits),
        cmocka_unit_test(repairs_are_dropped_where_they_do_not_help),
    };

    return cmocka_run_group_tests(tests, open_plugins, close_plugins);
}
