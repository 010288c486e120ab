/* Loads and runs the plugins in examples/, as a daemon would. */
#include "tests/testing.h"
#include "tests/unit/folder.h"

#include "libpith/plugin/plugins.h"

#include <errno.h>
#include <math.h>
#include <pith/codec.h>
#include <pith/engine.h>
#include <pith/meter.h>
#include <pith/technique.h>
#include <utime.h>

static struct pith_plugins *plugins;

static int open_examples(void **state)
{
    const char *build = getenv("PITH_BUILD");
    struct pith_error err = {0};
    char path[512];

    (void) state;
    (void) snprintf(path, sizeof path, "%s/examples/.libs", build ? build : ".");
    return pith_plugins_open(&plugins, path, &err);
}

static int close_examples(void **state)
{
    (void) state;
    pith_plugins_free(plugins);
    return 0;
}

/* The example's functions, and its options out of YAML. */
static const void *example(uint32_t kind, const char *name, const char *yaml_text,
                           struct pith_options *options)
{
    const struct pith_plugin *plugin;
    struct pith_error err = {0};
    struct pith_yaml *yaml;

    assert_ok(pith_plugins_find(plugins, kind, name, &plugin, &err), &err);
    assert_ok(pith_yaml_parse(&yaml, "t", yaml_text, strlen(yaml_text), &err), &err);
    assert_ok(pith_options_from_yaml(options, plugin->options, yaml, pith_yaml_root(yaml), &err),
              &err);
    pith_yaml_free(yaml);
    return plugin->ops;
}

/* y = Relu(x + c) */
static struct pith_graph *make_graph(const char *op)
{
    static float c[] = {-1.0f, 0.1f, 1.00390625f};
    const int64_t dims[] = {3};
    struct pith_shape shape = pith_shape_of(1, dims);
    struct pith_tensor constant = {
        .dtype = PITH_FLOAT32, .shape = shape, .data = c, .bytes = sizeof c};
    struct pith_graph *graph;
    struct pith_error err = {0};
    uint32_t x, w, sum, y;

    assert_ok(pith_graph_new(&graph, "g", &err), &err);
    assert_int_equal(pith_graph_set_opset(graph, "", 13), 0);
    assert_ok(pith_graph_add_value(graph, "x", PITH_FLOAT32, &shape, &x, &err), &err);
    assert_ok(pith_graph_add_constant(graph, "c", &constant, &w, &err), &err);
    assert_ok(pith_graph_add_value(graph, "s", PITH_FLOAT32, &shape, &sum, &err), &err);
    assert_ok(pith_graph_add_value(graph, "y", PITH_FLOAT32, &shape, &y, &err), &err);
    assert_ok(
        pith_graph_add_node(graph, "", "Add", "n0", (uint32_t[]){x, w}, 2, &sum, 1, NULL, &err),
        &err);
    assert_ok(pith_graph_add_node(graph, "", op, "n1", &sum, 1, &y, 1, NULL, &err), &err);
    assert_int_equal(pith_graph_add_input(graph, x), 0);
    assert_int_equal(pith_graph_add_output(graph, y), 0);
    assert_ok(pith_graph_validate(graph, &err), &err);
    return graph;
}

static void example_engine_runs_and_names_what_it_cannot(void **state)
{
    static const struct pith_host host = {.size_bytes = sizeof host};
    static float x[] = {0.5f, 0.5f, 0.5f};
    const struct pith_engine_ops *ops;
    struct pith_engine_options compile_options = {.size_bytes = sizeof compile_options,
                                                  .threads = 1};
    struct pith_graph *graph = make_graph("Relu"), *other = make_graph("Sigmoid");
    struct pith_session_description description;
    struct pith_session *session;
    struct pith_options options;
    struct pith_error err = {0};
    struct pith_tensor input = {
        .dtype = PITH_FLOAT32, .shape = {.rank = 1, .dim = {3}}, .data = x, .bytes = sizeof x};
    struct pith_tensor output;

    (void) state;
    ops = example(PITH_KIND_ENGINE, "relu_add", "~", &options);
    compile_options.options = options.values;
    assert_ok(ops->compile(&host, graph, &compile_options, &session, &err), &err);
    assert_ok(ops->run(session, &input, 1, &output, 1, &err), &err);
    assert_true(((float *) output.data)[0] == 0.0f);
    assert_true(fabsf(((float *) output.data)[1] - 0.6f) < 1e-6f);
    assert_int_equal(ops->describe(session, &description), 0);
    assert_int_equal(description.step_count, 2);
    input.shape.dim[0] = 2;
    assert_int_equal(ops->run(session, &input, 1, &output, 1, &err), -EINVAL);
    ops->close(session);
    ops->close(NULL);
    assert_int_equal(ops->supports(other, NULL, NULL, &err), -ENOTSUP);
    assert_string_equal(err.text, "node \"n1\" (Sigmoid): this engine knows Relu and Add alone");
    pith_options_done(&options);
    pith_graph_free(graph);
    pith_graph_free(other);
}

static void example_technique_rounds_weights(void **state)
{
    const struct pith_technique_ops *ops;
    struct pith_graph *graph = make_graph("Relu"), *rounded;
    struct pith_technique_job job = {.size_bytes = sizeof job};
    const struct pith_tensor *c;
    struct pith_options options;
    struct pith_error err = {0};
    char *report = NULL;

    (void) state;
    ops = example(PITH_KIND_TECHNIQUE, "bf16_round", "min_elements: 1", &options);
    job.options = options.values;
    assert_int_equal(ops->needs(options.values), 0);
    assert_ok(ops->apply(&job, graph, &rounded, &report, &err), &err);
    c = pith_value_constant(rounded, pith_graph_find_value(rounded, "c"));
    assert_true(pith_tensor_get(c, 0) == -1.0);
    assert_true(pith_tensor_get(c, 1) == 0.10009765625); /* 0.1 to 8 bits */
    assert_true(pith_tensor_get(c, 2) == 1.0);           /* 1 + 2^-8 lies halfway: to the even */
    assert_string_equal(report, "{\"constants\":1,\"changed\":2}");
    c = pith_value_constant(graph, pith_graph_find_value(graph, "c"));
    assert_true(pith_tensor_get(c, 2) == 1.00390625); /* the input is as it was */
    free(report);
    pith_options_done(&options);
    pith_graph_free(graph);
    pith_graph_free(rounded);
}

struct rows {
    size_t count;
    float first, last;
};

static int take_rows(void *user, const struct pith_tensor *tensor)
{
    struct rows *rows = user;

    assert_int_equal(tensor->shape.rank, 2);
    rows->count += (size_t) tensor->shape.dim[0];
    rows->first = ((float *) tensor->data)[0];
    rows->last = ((float *) tensor->data)[tensor->bytes / sizeof(float) - 1];
    return 0;
}

static void example_codec_reads_lines_or_nothing(void **state)
{
    static const char *const wrong[] = {"",        "1,2",        "1,2,3,4", "1,2,x",
                                        "1,2,nan", "1,2,3\n4,5", "1,,3",    "1,2,3\n\n",
                                        ",,",      "1,2,inf",    "1,2,1e99"};
    struct pith_codec_stream stream;
    const struct pith_codec_ops *ops;
    struct pith_codec *codec;
    struct pith_options options;
    struct pith_error err = {0};
    struct rows rows = {0};

    (void) state;
    ops = example(PITH_KIND_CODEC, "csv_lines", "columns: 3", &options);
    assert_ok(ops->open(NULL, options.values, &codec, &stream, &err), &err);
    assert_int_equal(stream.shape.dim[0], 3);
    assert_ok(ops->feed(codec, "1,2,3\r\n4, 5 ,-6e1\n", 18, take_rows, &rows, &err), &err);
    assert_int_equal(rows.count, 2);
    assert_true(rows.first == 1 && rows.last == -60);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(ops->feed(codec, wrong[i], strlen(wrong[i]), take_rows, &rows, &err),
                         -EBADMSG);
    assert_int_equal(ops->feed(codec, "1,2,3\0", 6, take_rows, &rows, &err), -EBADMSG);
    assert_int_equal(rows.count, 2);
    ops->close(codec);
    ops->close(NULL);
    pith_options_done(&options);
}

static void example_meter_believes_only_what_is_fresh(void **state)
{
    const struct folder *folder = *state;
    const struct pith_meter_ops *ops;
    struct pith_meter_reading reading;
    struct utimbuf old = {1000, 1000};
    struct pith_options options;
    struct pith_meter *meter;
    struct pith_error err = {0};
    char path[512], yaml[600];

    folder_path(folder, path, "power");
    (void) snprintf(yaml, sizeof yaml, "path: %s", path);
    ops = example(PITH_KIND_METER, "file_power", yaml, &options);
    assert_int_equal(ops->open(NULL, options.values, &meter, &err), -ENODEV);
    assert_ok(pith_file_write(path, "2500 mW\n", 8, 0644, &err), &err);
    assert_ok(ops->open(NULL, options.values, &meter, &err), &err);
    assert_ok(ops->read(meter, &reading, &err), &err);
    assert_int_equal(reading.power_mw, 2500);
    assert_int_equal(reading.source, PITH_ENERGY_MEASURED);
    assert_ok(ops->read(meter, &reading, &err), &err);
    assert_true(reading.energy_uj < 1000000000);
    assert_int_equal(utime(path, &old), 0);
    assert_ok(ops->read(meter, &reading, &err), &err);
    assert_true(reading.power_mw == UINT64_MAX && reading.source == PITH_ENERGY_UNKNOWN);
    assert_ok(pith_file_write(path, "-5", 2, 0644, &err), &err);
    assert_ok(ops->read(meter, &reading, &err), &err);
    assert_true(reading.power_mw == UINT64_MAX);
    ops->close(meter);
    ops->close(NULL);
    pith_options_done(&options);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(example_engine_runs_and_names_what_it_cannot),
        cmocka_unit_test(example_technique_rounds_weights),
        cmocka_unit_test(example_codec_reads_lines_or_nothing),
        folder_test(example_meter_believes_only_what_is_fresh),
    };

    return cmocka_run_group_tests(tests, open_examples, close_examples);
}
