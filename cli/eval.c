/* pith eval: how often a model is right, and how often it decides as another. */
#include "cli/model.h"
#include "cli/output.h"

#include "libpith/compress/evaluate.h"
#include "libpith/compress/statistics.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>

struct contestant {
    struct model *model;
    struct model_engine engine;
    struct pith_chain *chain;
    struct pith_outcomes outcomes;
};

static int contestant_open(struct contestant *one, const char *path,
                           const struct pith_plugins *plugins, const char *engine_name,
                           uint32_t threads, struct pith_error *err)
{
    int rc = model_open(&one->model, path, err);

    if (rc == 0)
        rc = model_engine_open(&one->engine, plugins, engine_name, one->model, err);
    return rc < 0 ? rc : model_chain_open(&one->chain, one->model, &one->engine, threads, err);
}

static void contestant_close(struct contestant *one)
{
    pith_outcomes_done(&one->outcomes);
    pith_chain_close(one->chain);
    model_engine_done(&one->engine);
    model_close(one->model);
}

static int evaluate(struct contestant *one, const struct pith_dataset *dataset, const char *label,
                    struct pith_error *err)
{
    int rc = pith_dataset_check(dataset, one->model->manifest, err);

    for (uint64_t i = 0; i < dataset->count && rc == 0; i++) {
        rc =
            pith_evaluate_sample(one->chain, one->model->manifest, dataset, i, &one->outcomes, err);
        if (i % 16 == 0)
            progress_show(label, (double) i / (double) dataset->count);
    }
    progress_show(label, 1);
    progress_end();
    return rc;
}

/* One model's row, as JSON: what the table is printed from too. */
static json_t *figures(struct contestant *one, const char *path)
{
    double p50, p95, cpu, low = 0, high = 1;
    uint64_t right = 0;
    json_t *object;

    for (uint64_t i = 0; one->outcomes.labelled && i < one->outcomes.count; i++)
        right += one->outcomes.right[i] != 0;
    pith_outcomes_latency(&one->outcomes, &p50, &p95, &cpu);
    object =
        json_pack("{ss ss sI sI}", "model", path, "engine", one->engine.plugin->name, "samples",
                  (json_int_t) one->outcomes.count, "results", (json_int_t) one->outcomes.results);
    if (one->outcomes.labelled && one->outcomes.count) {
        pith_wilson(right, one->outcomes.count, &low, &high);
        (void) json_object_set_new(object, "accuracy_ratio",
                                   json_real((double) right / (double) one->outcomes.count));
        (void) json_object_set_new(object, "accuracy_low_ratio", json_real(low));
        (void) json_object_set_new(object, "accuracy_high_ratio", json_real(high));
    }
    if (isfinite(p50)) {
        (void) json_object_set_new(object, "latency_p50_us", json_real(p50));
        (void) json_object_set_new(object, "latency_p95_us", json_real(p95));
        (void) json_object_set_new(object, "cpu_us", json_real(cpu));
    }
    return object;
}

static void add_comparison(json_t *object, const struct contestant *original,
                           const struct contestant *one)
{
    struct pith_comparison comparison;

    pith_outcomes_compare(&original->outcomes, &one->outcomes, &comparison);
    if (comparison.samples)
        (void) json_object_set_new(
            object, "fidelity_ratio",
            json_real((double) comparison.same / (double) comparison.samples));
    if (isfinite(comparison.error_ratio))
        (void) json_object_set_new(object, "error_ratio", json_real(comparison.error_ratio));
    if (comparison.labelled)
        (void) json_object_set_new(object, "mcnemar_p", json_real(comparison.mcnemar_p));
}

static void print_rows(const json_t *rows)
{
    struct table *table = table_new(8);
    size_t index;
    json_t *row;

    table_row(table, (const char *const[]){"model", "engine", "samples", "accuracy",
                                           "95 % interval", "fidelity", "p50", "p95"});
    json_array_foreach(rows, index, row)
    {
        char text[6][FIGURE_BYTES], interval[2 * FIGURE_BYTES] = "-", low[FIGURE_BYTES];

        if (number_of(row, "accuracy_ratio") >= 0)
            (void) snprintf(interval, sizeof interval, "%s to %s",
                            figure_percent(number_of(row, "accuracy_low_ratio"), low),
                            figure_percent(number_of(row, "accuracy_high_ratio"), text[5]));
        (void) snprintf(text[0], FIGURE_BYTES, "%" JSON_INTEGER_FORMAT,
                        json_integer_value(json_object_get(row, "samples")));
        table_row(table, (const char *const[]){
                             json_string_value(json_object_get(row, "model")),
                             json_string_value(json_object_get(row, "engine")), text[0],
                             figure_percent(number_of(row, "accuracy_ratio"), text[1]), interval,
                             figure_percent(number_of(row, "fidelity_ratio"), text[2]),
                             figure_us(number_of(row, "latency_p50_us"), text[3]),
                             figure_us(number_of(row, "latency_p95_us"), text[4])});
    }
    table_print(table);
    table_free(table);
}

/* The data that were named, or else those that came with the model. */
static int open_data(struct pith_dataset *out, const struct model *model, const char *data,
                     const char *labels, struct pith_error *err)
{
    if (!data && !model->single && model->folder->data_path[2][0]) {
        data = model->folder->data_path[2];
        if (!labels && model->folder->data_path[3][0])
            labels = model->folder->data_path[3];
    }
    if (!data)
        return pith_fail(
            err, -EINVAL,
            "no data: name a .npy file with --data, as the model brings no validation data");
    return pith_dataset_open(out, data, labels, err);
}

static int run_eval(const struct cli_command *command, int argc, char **argv)
{
    const char *engine_name = NULL, *plugin_path = NULL, *data = NULL, *labels = NULL,
               *against = NULL;
    int64_t threads = 1;
    bool json = false;
    const struct cli_option common[] = {MODEL_OPTIONS(engine_name, plugin_path, threads), {0}};
    const struct cli_option options[] = {
        {"data", CLI_TEXT, &data, "X.npy",
         "samples, first dimension (the model's own validation data)"},
        {"labels", CLI_TEXT, &labels, "Y.npy", "their labels: integers, one a sample"},
        {"against", CLI_TEXT, &against, "MODEL", "the original, for fidelity"},
        {"json", CLI_FLAG, &json, NULL, "print JSON"},
        {0}};
    struct contestant one = {.model = NULL}, original = {.model = NULL};
    struct cli_arguments arguments;
    struct pith_dataset dataset = {.count = 0};
    struct pith_plugins *plugins = NULL;
    struct pith_error err = {0};
    json_t *rows = json_array(), *row;
    int rc, code = cli_parse(command, (const struct cli_option *const[]){options, common, NULL}, 1,
                             1, argc, argv, &arguments);

    if (code != CLI_GO_ON) {
        json_decref(rows);
        return code;
    }
    if ((rc = pith_plugins_open(&plugins, plugin_path, &err)) == 0 &&
        (rc = contestant_open(&one, arguments.given[0], plugins, engine_name, (uint32_t) threads,
                              &err)) == 0 &&
        (rc = open_data(&dataset, one.model, data, labels, &err)) == 0 && against)
        rc = contestant_open(&original, against, plugins, engine_name, (uint32_t) threads, &err);
    if (rc == 0 && against && (rc = evaluate(&original, &dataset, against, &err)) == 0)
        (void) json_array_append_new(rows, figures(&original, against));
    if (rc == 0 && (rc = evaluate(&one, &dataset, arguments.given[0], &err)) == 0) {
        row = figures(&one, arguments.given[0]);
        if (against)
            add_comparison(row, &original, &one);
        (void) json_array_append_new(rows, row);
        if (json)
            print_json(rows);
        else
            print_rows(rows);
    }
    code = rc < 0 ? cli_fail(&err) : CLI_OK;
    json_decref(rows);
    pith_dataset_close(&dataset);
    contestant_close(&one);
    contestant_close(&original);
    pith_plugins_free(plugins);
    return code;
}

const struct cli_command command_eval = {
    .name = "eval",
    .arguments = "MODEL [--data X.npy [--labels Y.npy]] [--against ORIGINAL]",
    .summary = "measure accuracy over labelled data, and fidelity to another model",
    .text = "Runs each sample through the whole chain, as it would live. Accuracy comes with its "
            "95 % interval (Wilson), as few\n"
            "samples say little. Fidelity is the share of samples on which both decide alike; it "
            "needs no labels.\n\n"
            "example: pith eval small.onnx --data x.npy --labels y.npy --against model.onnx",
    .run = run_eval,
};
