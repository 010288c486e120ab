/* Technique quantize on small nets built here: forms, grids and axes, what stays finer and why, and
 * outputs beside the float graph's. Samples are seen through the engine native, as in a job. */
#include "tests/unit/quantizing.h"

/* Two towers; the second multiplies what differs by a thousand and takes its logarithm: rounding
 * its input to 8 bits ruins the output, rounding its weights does not. */
static struct pith_graph *touchy_net(void)
{
    uint32_t x;
    struct pith_graph *graph = begin((int64_t[]){1, 64}, 2, &x);
    uint32_t own = NODE(graph, "Tanh", "own", NULL, x); /* so that its grid is not the others' */
    uint32_t y = NODE(graph, "MatMul", "calm", NULL, own, CONSTANT(graph, 0.5f, 64, 32));
    uint32_t power = NODE(graph, "Exp", "exp", NULL,
                          NODE(graph, "MatMul", "spread", NULL, x, CONSTANT(graph, 1.0f, 64, 32)));
    uint32_t mixed =
        NODE(graph, "Abs", "abs", NULL,
             NODE(graph, "MatMul", "touchy", NULL, power, CONSTANT(graph, 0.5f, 32, 32)));
    uint32_t one = CONSTANT(graph, 0.001f, 1);

    mixed = NODE(graph, "Log", "log", NULL,
                 NODE(graph, "Add", "offset", NULL, mixed, NODE(graph, "Abs", "abs2", NULL, one)));
    finish(graph, NODE(graph, "Add", "sum", NULL, y, mixed));
    return graph;
}

static void quantize_makes_every_layer_integer(void **unused)
{
    struct pith_graph *graph = conv_net();
    struct applied applied;

    (void) unused;
    assert_ok(apply_to(graph, "{}", true, &applied), &err);
    assert_string_equal(form_of(applied.report, "conv1"), "int8");
    assert_string_equal(form_of(applied.report, "conv2"), "int8");
    assert_string_equal(form_of(applied.report, "dense"), "int8");
    assert_int_equal(json_integer_value(json_object_get(applied.report, "folded_batch_norms")), 1);
    assert_true(error_of(&applied) > 0 && error_of(&applied) < 0.05);
    assert_int_equal(pith_graph_output_count(applied.graph), 1);
    assert_string_equal(pith_value_name(applied.graph, pith_graph_output(applied.graph, 0)),
                        "dense");
    done(&applied);
    pith_graph_free(graph);
}

static void quantize_puts_grids_where_integers_flow(void **unused)
{
    struct pith_graph *graph = conv_net();
    struct applied applied;

    (void) unused;
    assert_ok(apply_to(graph, "{\"activations\": \"uint8\"}", true, &applied), &err);
    const struct pith_quantization *input = grid_of(applied.graph, "x"),
                                   *relu = grid_of(applied.graph, "relu1");
    const struct pith_quantization *pool = grid_of(applied.graph, "pool1"),
                                   *sum = grid_of(applied.graph, "relu2");

    assert_non_null(input);
    assert_int_equal(input->dtype, PITH_UINT8);
    assert_non_null(relu);
    assert_int_equal(relu->zero_point[0], 0); /* a range from zero up */
    assert_non_null(pool);
    assert_true(pool->scale[0] == relu->scale[0] && pool->zero_point[0] == relu->zero_point[0]);
    assert_non_null(sum); /* goes through the mean to the last layer */
    assert_null(grid_of(applied.graph,
                        "norm1")); /* between a convolution and its activation nothing is rounded */
    assert_null(grid_of(applied.graph, "add"));
    assert_null(grid_of(applied.graph, "dense")); /* outputs stay as they were */
    done(&applied);
    pith_graph_free(graph);
}

static void quantize_scales_each_output_channel(void **unused)
{
    struct pith_graph *graph = conv_net();
    struct applied applied;

    (void) unused;
    assert_ok(apply_to(graph, "{}", true, &applied), &err);
    static const struct {
        const char *node;
        int32_t axis;
        size_t channels;
    } known[] = {{"conv1", 0, 8}, {"conv2", 0, 8}, {"dense", 0, 5}};

    for (size_t i = 0; i < 3; i++) {
        uint32_t node = find_node(applied.graph, known[i].node);
        uint32_t weight = pith_node_input(applied.graph, node, 1),
                 bias = pith_node_input(applied.graph, node, 2);
        const struct pith_quantization *w = pith_value_quantization(applied.graph, weight);
        const struct pith_quantization *b = pith_value_quantization(applied.graph, bias);
        const struct pith_quantization *x =
            pith_value_quantization(applied.graph, pith_node_input(applied.graph, node, 0));

        assert_non_null(w);
        assert_int_equal(w->dtype, PITH_INT8);
        assert_int_equal(w->axis, known[i].axis);
        assert_int_equal(w->count, known[i].channels);
        assert_non_null(b);
        assert_int_equal(b->dtype, PITH_INT32);
        for (size_t c = 0; c < w->count; c++) {
            assert_int_equal(w->zero_point[c], 0);
            assert_true(fabsf(b->scale[c] - w->scale[c] * x->scale[0]) <= 1e-6f * b->scale[c]);
        }
    }
    done(&applied);
    pith_graph_free(graph);
}

static void quantize_keeps_what_it_is_told_to(void **unused)
{
    struct pith_graph *graph = conv_net();
    struct applied applied;

    (void) unused;
    assert_ok(apply_to(graph, "{\"keep\": [\"conv2\"], \"per_channel\": false}", true, &applied),
              &err);
    assert_string_equal(form_of(applied.report, "conv2"), "float32");
    assert_string_equal(form_of(applied.report, "conv1"), "int8");
    uint32_t w = pith_node_input(applied.graph, find_node(applied.graph, "conv1"), 1);

    assert_int_equal(pith_value_quantization(applied.graph, w)->count, 1);
    assert_null(pith_value_quantization(
        applied.graph, pith_node_input(applied.graph, find_node(applied.graph, "conv2"), 1)));
    done(&applied);
    pith_graph_free(graph);
}

static void quantize_without_samples_rounds_weights_alone(void **unused)
{
    struct pith_graph *graph = conv_net();
    struct applied applied;

    (void) unused;
    assert_int_equal(apply_to(graph, "{}", false, &applied), -EINVAL);
    assert_non_null(strstr(err.text, "calibration"));
    done(&applied);
    assert_ok(apply_to(graph, "{\"activations\": \"float32\"}", false, &applied), &err);
    assert_string_equal(form_of(applied.report, "conv2"), "weights-int8");
    assert_string_equal(form_of(applied.report, "dense"),
                        "float32"); /* 40 weights: nothing to win */
    assert_null(grid_of(applied.graph, "x"));
    done(&applied);
    assert_ok(apply_to(graph, "{\"finer\": 2}", false, &applied), &err);
    assert_string_equal(form_of(applied.report, "conv2"), "weights-float16");
    done(&applied);
    pith_graph_free(graph);
}

/* What is written and read again holds the same integers on the same grid. */
static void assert_same_weights(const struct pith_graph *graph, const struct pith_graph *back,
                                const char *name)
{
    uint32_t a = pith_node_input(graph, find_node(graph, name), 1),
             b = pith_node_input(back, find_node(back, name), 1);
    const struct pith_tensor *wa = pith_value_constant(graph, a),
                             *wb = pith_value_constant(back, b);
    const struct pith_quantization *qa = pith_value_quantization(graph, a),
                                   *qb = pith_value_quantization(back, b);

    if (!qa) { /* halves behind a Cast */
        assert_string_equal(pith_node_op(back, pith_value_producer(back, b)), "Cast");
        return;
    }
    assert_int_equal(wa->dtype, wb->dtype);
    assert_memory_equal(wa->data, wb->data, wa->bytes);
    assert_int_equal(qa->block_size, qb->block_size);
    assert_int_equal(qa->axis, qb->axis);
    assert_int_equal(qa->count, qb->count);
    assert_memory_equal(qa->scale, qb->scale, qa->count * sizeof *qa->scale);
}

static void quantize_writes_every_form_to_files_that_say_the_same(void **unused)
{
    static const struct {
        const char *options, *form;
        int32_t weight, activation;
        double most_error;
    } cases[] = {
        {"{}", "int8", PITH_INT8, PITH_INT8, 0.05},
        {"{\"weights\": \"int4\"}", "int4", PITH_INT4, PITH_INT8, 0.4},
        {"{\"weights\": \"int4\", \"block_size\": 3}", "int4", PITH_INT4, PITH_INT8, 0.4},
        {"{\"activations\": \"int16\"}", "w8a16", PITH_INT8, PITH_INT16, 0.02},
        {"{\"activations\": \"float32\", \"weights\": \"int4\", \"block_size\": 16}",
         "weights-int4", PITH_INT4, 0, 0.4},
        {"{\"activations\": \"float32\"}", "weights-int8", PITH_INT8, 0, 0.02},
        {"{\"weights\": \"float16\"}", "weights-float16", 0, 0, 0.001},
        {"{\"weights\": \"bfloat16\"}", "weights-bfloat16", 0, 0, 0.01},
    };
    struct pith_graph *graph = conv_net();

    (void) unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pith_buffer file = {0};
        struct pith_graph *back;
        struct applied applied;

        assert_ok(apply_to(graph, cases[i].options, true, &applied), &err);
        assert_string_equal(form_of(applied.report, "conv2"), cases[i].form);
        assert_true(error_of(&applied) > 0 && error_of(&applied) < cases[i].most_error);
        assert_ok(pith_onnx_write(applied.graph, &file, &err), &err);
        assert_ok(pith_graph_parse(&back, file.data, file.bytes, &err), &err);
        assert_same_weights(applied.graph, back, "conv2");
        const struct pith_quantization *x = grid_of(back, "x");

        assert_int_equal(x ? x->dtype : 0, cases[i].activation);
        if (cases[i].activation == PITH_INT16)
            assert_int_equal(x->zero_point[0], 0);
        pith_graph_free(back);
        pith_buffer_done(&file);
        done(&applied);
    }
    pith_graph_free(graph);
}

static void quantize_gives_single_layers_their_own_form(void **unused)
{
    struct pith_graph *graph = conv_net();
    struct applied applied;

    (void) unused;
    assert_ok(apply_to(graph,
                       "{\"schemes\": [\"conv2=w8a16\", \"conv*=weights-int8\"], "
                       "\"keep\": [\"den?e\"]}",
                       true, &applied),
              &err);
    assert_string_equal(form_of(applied.report, "conv2"), "w8a16");   /* the first that matches */
    assert_string_equal(form_of(applied.report, "conv1"), "float32"); /* 216 weights */
    assert_string_equal(form_of(applied.report, "dense"), "float32");
    assert_int_equal(grid_of(applied.graph, "pool1")->dtype, PITH_INT16);
    assert_null(grid_of(applied.graph, "x"));
    done(&applied);
    assert_ok(apply_to(graph, "{\"only\": [\"conv2\"]}", true, &applied), &err);
    assert_string_equal(form_of(applied.report, "conv2"), "int8");
    assert_string_equal(form_of(applied.report, "conv1"), "float32");
    assert_string_equal(form_of(applied.report, "dense"), "float32");
    done(&applied);
    /* Weights alone, but one layer that wants samples. */
    assert_int_equal(apply_to(graph,
                              "{\"activations\": \"float32\", \"schemes\": [\"conv2=int8\"]}",
                              false, &applied),
                     -EINVAL);
    done(&applied);
    pith_graph_free(graph);
}

/* Beside 4-bit weights a bias has no more bits than matter: 8 of its own, 11 below the greatest. */
static void quantize_rounds_biases_beside_four_bits(void **unused)
{
    struct pith_graph *graph = conv_net();

    (void) unused;
    for (int bits = 4; bits <= 8; bits += 4) {
        struct applied applied;
        float greatest = 0, worst = 0;
        bool short_ones = true;

        assert_ok(apply_to(graph,
                           bits == 4 ? "{\"weights\": \"int4\", \"activations\": \"float32\"}"
                                     : "{\"activations\": \"float32\"}",
                           false, &applied),
                  &err);
        const struct pith_tensor *was =
            pith_value_constant(graph, pith_node_input(graph, find_node(graph, "conv2"), 2));
        const struct pith_tensor *is = pith_value_constant(
            applied.graph, pith_node_input(applied.graph, find_node(applied.graph, "conv2"), 2));

        assert_non_null(was);
        assert_int_equal(is->dtype, PITH_FLOAT32);
        for (int64_t i = 0; i < pith_shape_elements(&was->shape); i++) {
            float a = ((const float *) was->data)[i], b = ((const float *) is->data)[i];
            uint32_t word;

            memcpy(&word, &b, sizeof word);
            short_ones = short_ones && !(word & 0xff);
            greatest = fmaxf(greatest, fabsf(a));
            worst = fmaxf(worst, fabsf(a - b));
            assert_true(fabsf(a - b) <= fabsf(a) / 256);
        }
        assert_true(worst <= greatest / 512);
        assert_int_equal(short_ones, bits == 4);
        done(&applied);
    }
    pith_graph_free(graph);
}

/* conv1 sums over 3 inputs, conv2 over 8 or more: a block of 8 suits the second alone. */
static void quantize_makes_no_block_longer_than_a_sum(void **unused)
{
    struct pith_graph *graph = conv_net();
    struct applied applied;

    (void) unused;
    assert_ok(apply_to(graph,
                       "{\"weights\": \"int4\", \"activations\": \"float32\", \"block_size\": 8, "
                       "\"max_error_ratio\": 0}",
                       false, &applied),
              &err);
    for (uint32_t value = 0; value < pith_graph_value_limit(applied.graph); value++) {
        const struct pith_quantization *grid = pith_value_quantization(applied.graph, value);
        const struct pith_tensor *w = pith_value_constant(applied.graph, value);

        if (!grid || !w || grid->dtype != PITH_INT4)
            continue;
        if (grid->block_size > 0)
            assert_true(w->shape.dim[grid->axis] >= grid->block_size);
        else
            assert_int_equal(grid->count, w->shape.dim[grid->axis]);
    }
    done(&applied);
    assert_ok(apply_to(graph,
                       "{\"weights\": \"int4\", \"activations\": \"float32\", \"block_size\": 1024, "
                       "\"max_error_ratio\": 0}",
                       false, &applied),
              &err);
    uint32_t weight = pith_node_input(applied.graph, find_node(applied.graph, "conv2"), 1);
    const struct pith_quantization *grid = pith_value_quantization(applied.graph, weight);

    assert_int_equal(grid->dtype, PITH_INT4);
    assert_int_equal(grid->block_size, 0);
    assert_int_equal(grid->axis, 0);
    done(&applied);
    pith_graph_free(graph);
}

/* Readings of a converter lose nothing on a grid of their own step, though they don't reach its ends. */
static void quantize_gives_integers_of_a_sensor_their_own_grid(void **unused)
{
    static const char *const ranges[] = {"mse", "minmax"};
    struct pith_graph *graph = conv_net();
    const struct pith_shape *shape = pith_value_shape(graph, pith_graph_input(graph, 0));

    (void) unused;
    for (size_t i = 0; i < 2; i++) {
        struct pith_samples samples;
        struct pith_tensor x;
        struct applied applied;
        char options[64];

        net_seed = 99;
        pith_samples_init(&samples, 60, 1);
        assert_ok(pith_tensor_alloc(&x, PITH_FLOAT32, shape, &err), &err);
        for (int k = 0; k < 60; k++) {
            for (int64_t at = 0; at < pith_shape_elements(shape); at++)
                ((float *) x.data)[at] = 0.0123f * nearbyintf(90 * net_uniform());
            assert_ok(pith_samples_offer(&samples, &x, 1, &err), &err);
        }
        pith_tensor_free(&x);
        (void) snprintf(options, sizeof options, "{\"ranges\": \"%s\"}", ranges[i]);
        assert_ok(apply_with(graph, options, &samples, true, &applied), &err);
        float scale = grid_of(applied.graph, "x")->scale[0];

        if (i == 0)
            assert_true(fabsf(scale - 0.0123f) < 1e-6f);
        else /* which says what it is: 180 steps on 255 */
            assert_true(scale < 0.009f);
        done(&applied);
    }
    pith_graph_free(graph);
}

/* Ranges that a handful of samples shows are none to rely on. 16 bits have room, and who names a
 * layer or a least count knows better. */
static void quantize_leaves_activations_float_where_samples_are_few(void **unused)
{
    static const struct {
        int samples;
        const char *options, *form;
    } cases[] = {
        {6, "{}", "weights-int8"},
        {6, "{\"weights\": \"int4\", \"max_error_ratio\": 0}", "weights-int4"},
        {6, "{\"least_samples\": 6}", "int8"},
        {6, "{\"activations\": \"int16\"}", "w8a16"},
        {6, "{\"schemes\": [\"conv2=int8\"]}", "int8"},
        {10, "{}", "int8"},
    };
    struct pith_graph *graph = conv_net();

    (void) unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pith_samples samples;
        struct applied applied;

        draw_some(&samples, graph, cases[i].samples);
        assert_ok(apply_with(graph, cases[i].options, &samples, true, &applied), &err);
        assert_string_equal(form_of(applied.report, "conv2"), cases[i].form);
        if (i == 0)
            assert_non_null(strstr(layer_text(applied.report, "conv2", "why"), "too few"));
        done(&applied);
    }
    pith_graph_free(graph);
}

/* Two products of uint8 and int8 are added in 16 bits by processors without VNNI. */
static void quantize_leaves_room_for_pairs_of_products(void **unused)
{
    struct pith_graph *graph = conv_net();

    (void) unused;
    for (int reduced = 0; reduced < 2; reduced++) {
        int32_t most = 0;
        struct applied applied;

        assert_ok(apply_to(graph,
                           reduced ? "{\"activations\": \"uint8\", \"reduce_range\": true}"
                                   : "{\"activations\": \"uint8\"}",
                           true, &applied),
                  &err);
        const struct pith_tensor *w = pith_value_constant(
            applied.graph, pith_node_input(applied.graph, find_node(applied.graph, "conv2"), 1));

        for (int64_t i = 0; i + 1 < pith_shape_elements(&w->shape); i++) {
            int32_t pair = 255 * abs((int) pith_tensor_get_int(w, i)) +
                           255 * abs((int) pith_tensor_get_int(w, i + 1));

            most = pair > most ? pair : most;
        }
        assert_int_equal(most <= INT16_MAX, reduced);
        done(&applied);
    }
    pith_graph_free(graph);
}

/* Files whose weights alone were quantized, TensorFlow's hybrid ones say, are no dead end. */
static void quantize_goes_on_from_weights_that_are_integers(void **unused)
{
    struct pith_graph *graph = conv_net();
    struct applied weights, both, kept;

    (void) unused;
    assert_ok(apply_to(graph, "{\"activations\": \"float32\"}", false, &weights), &err);
    assert_ok(apply_to(weights.graph, "{}", true, &both), &err);
    assert_string_equal(form_of(both.report, "conv2"), "int8");
    assert_int_equal(json_integer_value(json_object_get(both.report, "restored_weights")), 1);
    assert_same_weights(weights.graph, both.graph, "conv2"); /* not rounded twice */
    assert_ok(apply_to(weights.graph, "{\"keep\": [\"conv2\"]}", true, &kept), &err);
    assert_same_weights(weights.graph, kept.graph, "conv2");
    done(&weights);
    done(&both);
    done(&kept);
    pith_graph_free(graph);
}

/* What came smaller than what is asked for stays as it is, and the report says so; whatever is asked or found to err. */
static void quantize_makes_no_constant_larger(void **unused)
{
    static const struct {
        const char *came, *asked, *form;
    } cases[] = {
        {"int8", "\"weights\": \"float16\"", "weights-int8"},
        {"int8", "\"weights\": \"bfloat16\"", "weights-int8"},
        {"int4", "\"weights\": \"int8\"", "weights-int4"},
        {"int4", "\"weights\": \"int8\", \"activations\": \"float32\"", "weights-int4"},
        {"int4", "\"weights\": \"float16\"", "weights-int4"},
        {"int8", "\"max_error_ratio\": 1e-6", "weights-int8"},
        {"int4", "\"weights\": \"int4\", \"max_error_ratio\": 1e-6", "weights-int4"},
    };
    struct pith_graph *graph = conv_net();

    (void) unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct applied weights, again;
        char options[160];

        (void) snprintf(options, sizeof options, "{\"weights\": \"%s\", \"activations\": \"float32\", \"only\": [\"conv2\"]}",
                        cases[i].came);
        assert_ok(apply_to(graph, options, true, &weights), &err);
        (void) snprintf(options, sizeof options, "{%s}", cases[i].asked);
        assert_ok(apply_to(weights.graph, options, true, &again), &err);
        assert_string_equal(form_of(again.report, "conv2"), cases[i].form);
        assert_int_equal(json_integer_value(json_object_get(again.report, "kept_integers")), 1);
        assert_string_not_equal(layer_text(again.report, "conv2", "why"), "");
        assert_same_weights(weights.graph, again.graph, "conv2");
        done(&again);
        done(&weights);
    }
    pith_graph_free(graph);
}

/* An embedding is looked up in the weights of the last layer, which alone would be restored. */
static void quantize_keeps_integers_that_a_lookup_shares(void **unused)
{
    const struct pith_shape few = {1, {3}};
    uint32_t x, rows;
    struct pith_graph *graph = begin((int64_t[]){3, 32}, 2, &x);
    uint32_t table = CONSTANT(graph, 0.5f, 32, 40);
    struct pith_graph_size before, after;
    struct applied weights, again;

    (void) unused;
    assert_ok(pith_graph_add_constant(graph, NULL, &(struct pith_tensor){PITH_INT64, few, (int64_t[]){5, 0, 7}, 24}, &rows, &err), &err);
    finish(graph, NODE(graph, "Add", "sum", NULL, NODE(graph, "Gather", "lookup", NULL, table, rows),
                       NODE(graph, "MatMul", "product", NULL, x, table)));
    assert_ok(apply_to(graph, "{\"activations\": \"float32\", \"per_channel\": false, \"rounding\": \"nearest\"}", true, &weights), &err);
    assert_ok(apply_to(weights.graph, "{\"weights\": \"float16\"}", true, &again), &err);
    assert_string_equal(form_of(again.report, "product"), "weights-int8");
    assert_string_equal(form_of(again.report, "lookup"), "weights-int8");
    pith_graph_measure(weights.graph, &before);
    pith_graph_measure(again.graph, &after);
    assert_int_equal(after.weight_bytes, before.weight_bytes);
    done(&again);
    done(&weights);
    pith_graph_free(graph);
}

/* As recurrent nets come from PyTorch: what the product takes is cut, joined and turned first. */
static void quantize_stores_weights_that_are_moved_first(void **unused)
{
    uint32_t x, node;
    struct pith_graph *graph = begin((int64_t[]){1, 64}, 2, &x);
    uint32_t w = NODE(graph, "Concat", "join", &node, CONSTANT(graph, 0.5f, 24, 64),
                      CONSTANT(graph, 0.5f, 24, 64));
    uint32_t turned = NODE(graph, "Transpose", "turn", NULL, w);
    uint32_t y = NODE(graph, "MatMul", "product", NULL, NODE(graph, "Tanh", "own", NULL, x), turned);
    struct applied applied, kept, floats;

    (void) unused;
    assert_ok(pith_node_set_int(graph, node, "axis", 0), &err);
    finish(graph, y);
    assert_ok(apply_to(graph, "{\"activations\": \"float32\"}", true, &applied), &err);
    assert_int_equal(json_integer_value(json_object_get(applied.report, "far_weights")), 2);
    assert_string_equal(json_string_value(json_object_get(applied.report, "variant_name")), "int8");
    assert_string_equal(json_string_value(json_object_get(applied.report, "form")), "weights-int8");
    uint32_t stored = pith_node_input(applied.graph, find_node(applied.graph, "join"), 0);

    assert_int_equal(pith_value_constant(applied.graph, stored)->dtype, PITH_INT8);
    assert_int_equal(pith_value_quantization(applied.graph, stored)->count, 24);
    assert_true(error_of(&applied) > 0 && error_of(&applied) < 0.02);
    /* Where outputs may not err so far, they stay; and where the options keep them. */
    assert_ok(apply_to(graph, "{\"activations\": \"float32\", \"max_error_ratio\": 0.0001}", true, &floats),
              &err);
    assert_int_equal(json_integer_value(json_object_get(floats.report, "far_weights")), 0);
    assert_ok(apply_to(graph, "{\"weights\": \"float16\"}", true, &kept), &err);
    assert_int_equal(json_integer_value(json_object_get(kept.report, "far_weights")), 0);
    done(&applied);
    done(&floats);
    done(&kept);
    pith_graph_free(graph);
}

static void quantize_keeps_layers_that_hurt_finer(void **unused)
{
    struct pith_graph *graph = touchy_net();
    struct applied all, checked;

    (void) unused;
    assert_ok(apply_to(graph, "{\"max_error_ratio\": 0}", true, &all), &err);
    assert_string_equal(form_of(all.report, "touchy"), "int8");
    assert_ok(apply_to(graph, "{\"max_error_ratio\": 0.2}", true, &checked), &err);
    assert_true(error_of(&all) > 0.2);
    assert_true(error_of(&checked) <= 0.2);
    assert_string_not_equal(form_of(checked.report, "touchy"), "int8");
    assert_string_equal(form_of(checked.report, "calm"), "int8");
    done(&all);
    done(&checked);
    pith_graph_free(graph);
}

static void quantize_leaves_broken_weights_float(void **unused)
{
    struct pith_graph *graph = conv_net();
    uint32_t value = pith_node_input(graph, find_node(graph, "conv2"), 1);
    struct pith_tensor w;
    struct applied applied;

    (void) unused;
    assert_ok(pith_tensor_copy(&w, pith_value_constant(graph, value), &err), &err);
    ((float *) w.data)[7] = NAN;
    assert_ok(pith_value_set_constant(graph, value, &w), &err);
    pith_tensor_free(&w);
    assert_ok(apply_to(graph, "{\"activations\": \"float32\"}", false, &applied), &err);
    assert_string_equal(form_of(applied.report, "conv2"), "float32");
    done(&applied);
    pith_graph_free(graph);
}

static void quantize_gives_the_same_report_twice(void **unused)
{
    struct pith_graph *graph = touchy_net();
    struct applied first, second;

    (void) unused;
    assert_ok(apply_to(graph, "{\"max_error_ratio\": 0.05}", true, &first), &err);
    assert_ok(apply_to(graph, "{\"max_error_ratio\": 0.05}", true, &second), &err);
    assert_true(json_equal(first.report, second.report));
    done(&first);
    done(&second);
    pith_graph_free(graph);
}

static void quantize_keeps_a_real_embedding_near(void **unused)
{
    struct pith_samples samples;
    struct pith_graph *graph;
    struct pith_tensor all;
    struct applied applied;
    char path[4096];

    (void) unused;
    skip_without_data();
    (void) snprintf(path, sizeof path, "%s/models/openwakeword/embedding_model.onnx",
                    testing_data());
    assert_ok(pith_graph_open(&graph, path, 1 << 24, &err), &err);
    (void) snprintf(path, sizeof path, "%s/models/openwakeword/golden/embedding_in.npy",
                    testing_data());
    assert_ok(pith_npy_read(&all, path, &err), &err);
    pith_samples_init(&samples, SAMPLES, 1);
    size_t bytes = all.bytes / (size_t) all.shape.dim[0];

    for (int64_t i = 0; i < all.shape.dim[0]; i++) {
        struct pith_tensor one = {.dtype = all.dtype,
                                  .shape = all.shape,
                                  .data = (uint8_t *) all.data + (size_t) i * bytes,
                                  .bytes = bytes};

        one.shape.dim[0] = 1;
        assert_ok(pith_samples_offer(&samples, &one, 1, &err), &err);
    }
    pith_tensor_free(&all);
    assert_ok(apply_with(graph, "{}", &samples, true, &applied), &err);
    /* Rounding for a layer's outputs moves weights further, from 40 dB to 38, and its outputs by 7 to 18 dB less. */
    assert_true(error_of(&applied) < 0.06);
    const json_t *layer;
    size_t i;

    json_array_foreach(json_object_get(applied.report, "layers"), i, layer)
        assert_true(json_number_value(json_object_get(layer, "weight_sqnr_db")) > 36);
    struct pith_graph_size before, after;

    pith_graph_measure(graph, &before);
    pith_graph_measure(applied.graph, &after);
    assert_true((double) after.weight_bytes < 0.27 * (double) before.weight_bytes);
    done(&applied);
    pith_graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantize_makes_every_layer_integer),
        cmocka_unit_test(quantize_puts_grids_where_integers_flow),
        cmocka_unit_test(quantize_scales_each_output_channel),
        cmocka_unit_test(quantize_keeps_what_it_is_told_to),
        cmocka_unit_test(quantize_without_samples_rounds_weights_alone),
        cmocka_unit_test(quantize_writes_every_form_to_files_that_say_the_same),
        cmocka_unit_test(quantize_gives_single_layers_their_own_form),
        cmocka_unit_test(quantize_rounds_biases_beside_four_bits),
        cmocka_unit_test(quantize_makes_no_block_longer_than_a_sum),
        cmocka_unit_test(quantize_gives_integers_of_a_sensor_their_own_grid),
        cmocka_unit_test(quantize_leaves_activations_float_where_samples_are_few),
        cmocka_unit_test(quantize_leaves_room_for_pairs_of_products),
        cmocka_unit_test(quantize_goes_on_from_weights_that_are_integers),
        cmocka_unit_test(quantize_makes_no_constant_larger),
        cmocka_unit_test(quantize_keeps_integers_that_a_lookup_shares),
        cmocka_unit_test(quantize_stores_weights_that_are_moved_first),
        cmocka_unit_test(quantize_keeps_layers_that_hurt_finer),
        cmocka_unit_test(quantize_leaves_broken_weights_float),
        cmocka_unit_test(quantize_gives_the_same_report_twice),
        cmocka_unit_test(quantize_keeps_a_real_embedding_near),
    };

    return cmocka_run_group_tests(tests, open_plugins, close_plugins);
}
