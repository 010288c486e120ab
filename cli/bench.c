/* pith bench: a model's graphs on every engine that runs them, in turn, on this machine. */
#include "cli/bench_steps.h"
#include "cli/model.h"
#include "cli/output.h"

#include "libpith/compress/measure.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENGINES_MAX 16
#define INPUTS_MAX  16

struct bench {
    const struct pith_plugins *plugins;
    const char *engine_name;
    int64_t threads, runs, dim;
    bool steps;
};

/* Inputs of the declared shapes: the same small numbers each time. Open dimensions become `dim`. */
static int make_inputs(const struct pith_graph *graph, int64_t dim, struct pith_tensor *inputs,
                       struct pith_error *err)
{
    uint32_t seed = 1;

    for (size_t i = 0; i < pith_graph_input_count(graph); i++) {
        uint32_t value = pith_graph_input(graph, i);
        const struct pith_shape *declared = pith_value_shape(graph, value);
        struct pith_shape shape;
        int rc;

        if (!declared)
            return pith_fail(err, -ENOTSUP, "input \"%s\" has a shape that is not known",
                             pith_value_name(graph, value));
        shape = *declared;
        for (uint32_t axis = 0; axis < shape.rank; axis++)
            if (shape.dim[axis] < 0)
                shape.dim[axis] = axis == 0 && shape.rank > 1 ? 1 : dim;
        rc = pith_tensor_alloc(&inputs[i], pith_value_dtype(graph, value), &shape, err);
        if (rc < 0)
            return rc;
        for (int64_t at = 0; at < pith_shape_elements(&shape) && inputs[i].dtype == PITH_FLOAT32;
             at++) {
            seed =
                seed * 1664525u + 1013904223u; /* any sequence does: it is the time that counts */
            ((float *) inputs[i].data)[at] = (float) (seed >> 8) / (float) (1 << 24);
        }
    }
    return 0;
}

static json_t *figure_or_null(double number)
{
    return isfinite(number) ? json_real(number) : json_null();
}

static json_t *describe(const char *file, const char *engine, const struct pith_timing *timing)
{
    if (!timing->supported)
        return json_pack("{ss ss sb ss}", "file", file, "engine", engine, "supported", 0, "reason",
                         timing->reason);
    return json_pack("{ss ss sb so so so so so}", "file", file, "engine", engine, "supported", 1,
                     "latency_p50_us", figure_or_null(timing->latency_p50_us), "latency_p95_us",
                     figure_or_null(timing->latency_p95_us), "cpu_us",
                     figure_or_null(timing->cpu_us), "arena_bytes",
                     figure_or_null(timing->arena_bytes), "compile_us",
                     figure_or_null(timing->compile_us));
}

static int bench_graph(const struct bench *bench, const struct pith_graph *graph, const char *file,
                       json_t *rows, struct pith_error *err)
{
    static const struct pith_host no_host = {.size_bytes = sizeof no_host};
    struct pith_contender contenders[ENGINES_MAX];
    struct pith_options options[ENGINES_MAX];
    const char *names[ENGINES_MAX];
    struct pith_tensor inputs[INPUTS_MAX];
    size_t count = 0, input_count = pith_graph_input_count(graph);
    int rc;

    if (input_count > INPUTS_MAX)
        return pith_fail(err, -ENOTSUP, "%s: more than %d inputs", file, INPUTS_MAX);
    memset(inputs, 0, sizeof inputs);
    for (size_t i = 0; i < pith_plugins_count(bench->plugins) && count < ENGINES_MAX; i++) {
        const struct pith_plugin *plugin = pith_plugins_entry(bench->plugins, i)->plugin;

        if (!plugin || plugin->kind != PITH_KIND_ENGINE ||
            (bench->engine_name && strcmp(plugin->name, bench->engine_name) != 0) ||
            pith_options_from_json(&options[count], plugin->options, NULL, plugin->name, err) < 0)
            continue;
        names[count] = plugin->name;
        contenders[count] = (struct pith_contender){
            .engine = plugin->ops, .graph = graph, .options = options[count].values};
        count++;
    }
    if (count == 0)
        return pith_fail(err, -ENOENT, "there is no engine%s%s; pith plugins lists what there is",
                         bench->engine_name ? " " : "",
                         bench->engine_name ? bench->engine_name : "");
    rc = make_inputs(graph, bench->dim, inputs, err);
    if (rc == 0)
        rc = pith_measure_latency(&no_host, contenders, count, inputs, input_count,
                                  (uint32_t) bench->threads, (uint32_t) bench->runs, 0, err);
    for (size_t i = 0; i < count; i++) {
        json_t *row = rc == 0 ? describe(file, names[i], &contenders[i].timing) : NULL,
               *steps = NULL;

        if (row && bench->steps && contenders[i].timing.supported)
            rc = bench_steps(&contenders[i], inputs, input_count, (uint32_t) bench->threads,
                             (uint32_t) bench->runs, &steps, err);
        if (steps)
            (void) json_object_set_new(row, "steps", steps);
        if (row)
            (void) json_array_append_new(rows, row);
        pith_options_done(&options[i]);
    }
    for (size_t i = 0; i < input_count; i++)
        pith_tensor_free(&inputs[i]);
    return rc < 0 ? pith_fail_in(err, rc, "%s", file) : 0;
}

static void print_rows(const json_t *rows)
{
    struct table *table = table_new(7);
    size_t index;
    json_t *row;

    table_row(table,
              (const char *const[]){"file", "engine", "p50", "p95", "CPU", "arena", "compile"});
    json_array_foreach(rows, index, row)
    {
        const char *file = json_string_value(json_object_get(row, "file"));
        const char *engine = json_string_value(json_object_get(row, "engine"));
        char text[5][FIGURE_BYTES];

        if (json_is_false(json_object_get(row, "supported")))
            continue;
        table_row(table, (const char *const[]){file, engine,
                                               figure_us(number_of(row, "latency_p50_us"), text[0]),
                                               figure_us(number_of(row, "latency_p95_us"), text[1]),
                                               figure_us(number_of(row, "cpu_us"), text[2]),
                                               figure_bytes(number_of(row, "arena_bytes"), text[3]),
                                               figure_us(number_of(row, "compile_us"), text[4])});
    }
    table_print(table);
    table_free(table);
    json_array_foreach(rows, index, row) if (json_is_false(json_object_get(row, "supported")))
        printf("%s  %s can't: %s\n", json_string_value(json_object_get(row, "file")),
               json_string_value(json_object_get(row, "engine")),
               json_string_value(json_object_get(row, "reason")));
}

static int run_bench(const struct cli_command *command, int argc, char **argv)
{
    struct bench bench = {.threads = 1, .runs = 100, .dim = 1};
    const char *plugin_path = NULL;
    bool json = false;
    const struct cli_option common[] = {
        MODEL_OPTIONS(bench.engine_name, plugin_path, bench.threads), {0}};
    const struct cli_option options[] = {
        {"runs", CLI_INT, &bench.runs, "COUNT", "timed runs of each engine (100)", 3, 100000},
        {"open-dim", CLI_INT, &bench.dim, "SIZE",
         "for dimensions that the model leaves open, but the batch (1)", 1, 1 << 24},
        {"steps", CLI_FLAG, &bench.steps, NULL,
         "what each step takes, where the engine tells: its kernel, time and speed"},
        {"json", CLI_FLAG, &json, NULL, "print JSON"},
        {0}};
    struct cli_arguments arguments;
    struct pith_plugins *plugins = NULL;
    struct model *model = NULL;
    struct pith_error err = {0};
    json_t *rows = json_array();
    int rc, code = cli_parse(command, (const struct cli_option *const[]){options, common, NULL}, 1,
                             1, argc, argv, &arguments);

    if (code != CLI_GO_ON) {
        json_decref(rows);
        return code;
    }
    rc = model_open(&model, arguments.given[0], &err);
    if (rc == 0)
        rc = pith_plugins_open(&plugins, plugin_path, &err);
    bench.plugins = plugins;
    for (size_t i = 0; rc == 0 && i < PITH_MANIFEST_MAX_GRAPHS && model->graphs[i]; i++)
        rc = bench_graph(&bench, model->graphs[i], model_graph_path(model, i), rows, &err);
    code = rc < 0 ? cli_fail(&err) : CLI_OK;
    if (rc == 0 && json)
        print_json(rows);
    else if (rc == 0)
        print_rows(rows);
    if (rc == 0 && !json)
        bench_steps_print(rows);
    json_decref(rows);
    model_close(model);
    pith_plugins_free(plugins);
    return code;
}

const struct cli_command command_bench = {
    .name = "bench",
    .arguments = "MODEL",
    .summary = "time a model on every engine that runs it",
    .text = "Engines take turns, run by run, so that a machine that is warm or busy treats them "
            "alike. Median, 95th percentile,\n"
            "CPU time of a run, memory for activations, and time to compile.\n\n"
            "example: pith bench wakeword/mel.onnx --open-dim 1760 --runs 500",
    .run = run_bench,
};
