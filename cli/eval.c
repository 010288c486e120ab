/* pith eval: how good a model is on data, and what it costs. */
#include "cli/contest.h"
#include "cli/output.h"

#include <errno.h>
#include <stdio.h>

struct eval { /* the command line */
    const char *engine, *plugin_path, *against;
    struct data data;
    int64_t threads, cpu_power_mw;
    bool json;
};

/* The model's row says how it and the original differ: whole in "against", and its two figures where a row has them. */
static int add_difference(json_t *row, json_t *difference)
{
    static const char *const figures[] = {"fidelity_ratio", "error_ratio"};
    int rc = json_object_set(row, "against", difference);

    for (size_t i = 0; i < sizeof figures / sizeof *figures && rc == 0; i++)
        rc = json_object_set(row, figures[i], json_object_get(difference, figures[i]));
    return rc < 0 ? -ENOMEM : 0;
}

/* Rows of the original, where there is one, and of the model. */
static int tell(struct contestant *ones, size_t count, const struct eval *eval,
                struct pith_error *err)
{
    json_t *rows = json_array(), *difference = NULL;
    int rc = 0;

    for (size_t k = 0; rc == 0 && k < count; k++) {
        json_t *row = contestant_json(&ones[k], (double) eval->cpu_power_mw, err);

        rc = row ? json_array_append_new(rows, row) : -ENOMEM;
    }
    if (rc == 0 && count > 1) {
        difference = contest_difference(&ones[0], &ones[1], err);
        rc = difference ? add_difference(json_array_get(rows, 1), difference) : -ENOMEM;
    }
    if (rc == 0 && eval->json)
        print_json(rows);
    else if (rc == 0)
        contest_print(rows, difference);
    json_decref(difference);
    json_decref(rows);
    return rc;
}

static int evaluate(struct eval *eval, const char *path, struct pith_error *err)
{
    struct contestant ones[2] = {{.path = NULL}};
    struct pith_dataset dataset = {.count = 0};
    struct pith_plugins *plugins = NULL;
    size_t count = eval->against ? 2 : 1;
    const char *paths[2] = {eval->against ? eval->against : path, path};
    int rc = pith_plugins_open(&plugins, eval->plugin_path, err);

    for (size_t k = 0; rc == 0 && k < count; k++)
        rc = contestant_open(&ones[k], paths[k], plugins, eval->engine, (uint32_t) eval->threads,
                             &eval->data, err);
    if (rc == 0)
        rc = data_settle(&eval->data, ones[count - 1].model, err);
    if (rc == 0)
        rc = data_open(&eval->data, PITH_SPLIT_ALL, &dataset, err);
    if (rc == 0)
        rc = contest_run(ones, count, &eval->data, &dataset, err);
    if (rc == 0)
        rc = contest_meter(ones, count, plugins, &dataset, err);
    if (rc == 0)
        rc = tell(ones, count, eval, err);
    pith_dataset_close(&dataset);
    for (size_t k = 0; k < count; k++)
        contestant_close(&ones[k]);
    pith_plugins_free(plugins);
    return rc;
}

static int run_eval(const struct cli_command *command, int argc, char **argv)
{
    struct eval eval = {.threads = 1};
    const struct cli_option common[] = {MODEL_OPTIONS(eval.engine, eval.plugin_path, eval.threads),
                                        {0}};
    const struct cli_option options[] = {
        DATA_OPTIONS(eval.data),
        {"against", CLI_TEXT, &eval.against, "MODEL", "the original: fidelity, and what differs"},
        {"cpu-power-mw", CLI_INT, &eval.cpu_power_mw, "MW",
         "what a busy core takes over an idle one, to estimate energy", 0, 1000000},
        {"json", CLI_FLAG, &eval.json, NULL, "print JSON"},
        {0}};
    struct cli_arguments arguments;
    struct pith_error err = {0};
    int rc, code = cli_parse(command, (const struct cli_option *const[]){options, common, NULL}, 1,
                             1, argc, argv, &arguments);

    if (code != CLI_GO_ON)
        return code;
    rc = evaluate(&eval, arguments.given[0], &err);
    data_done(&eval.data);
    return rc < 0 ? cli_fail(&err) : CLI_OK;
}

const struct cli_command command_eval = {
    .name = "eval",
    .arguments = "MODEL [--data DATA [--labels LABELS]] [--metric NAME] [--against ORIGINAL]",
    .summary = "measure accuracy over labelled data, cost, and fidelity to another model",
    .text = "Runs each sample through the whole chain, as it would live. A metric comes with its "
            "95 % interval (Wilson for\n"
            "top1, else bootstrap), as few samples say little. Fidelity is the share of samples on "
            "which both decide alike; it\n"
            "needs no labels. pith-data(5) says how data are described.\n\n"
            "example: pith eval small.onnx --data x.npy --labels y.npy --against model.onnx",
    .run = run_eval,
};
