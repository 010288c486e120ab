/* pith compare: two models side by side on the same samples. */
#include "cli/contest.h"
#include "cli/output.h"

#include <errno.h>
#include <stdio.h>

struct compare { /* the command line */
    const char *engine, *plugin_path;
    struct data data;
    int64_t threads, cpu_power_mw;
    bool json;
};

static int tell(struct contestant ones[2], const struct compare *compare, struct pith_error *err)
{
    json_t *rows = json_array(), *difference = contest_difference(&ones[0], &ones[1], err), *all;
    int rc = difference ? 0 : -ENOMEM;

    for (size_t k = 0; rc == 0 && k < 2; k++) {
        json_t *row = contestant_json(&ones[k], (double) compare->cpu_power_mw, err);

        rc = row ? json_array_append_new(rows, row) : -ENOMEM;
    }
    if (rc == 0 && compare->json) {
        all = json_pack("{sO sO}", "models", rows, "comparison", difference);
        if (all)
            print_json(all);
        else
            rc = -ENOMEM;
        json_decref(all);
    } else if (rc == 0) {
        contest_print(rows, difference);
    }
    json_decref(difference);
    json_decref(rows);
    return rc;
}

static int compare_models(struct compare *compare, const char *const paths[2],
                          struct pith_error *err)
{
    struct contestant ones[2] = {{.path = NULL}};
    struct pith_dataset dataset = {.count = 0};
    struct pith_plugins *plugins = NULL;
    int rc = pith_plugins_open(&plugins, compare->plugin_path, err);

    for (size_t k = 0; rc == 0 && k < 2; k++)
        rc = contestant_open(&ones[k], paths[k], plugins, compare->engine,
                             (uint32_t) compare->threads,
                             &compare->data, err);
    if (rc == 0)
        rc = data_settle(&compare->data, ones[0].model, err);
    if (rc == 0)
        rc = data_open(&compare->data, PITH_SPLIT_ALL, &dataset, err);
    if (rc == 0)
        rc = contest_run(ones, 2, &compare->data, &dataset, err);
    if (rc == 0)
        rc = contest_meter(ones, 2, plugins, &dataset, err);
    if (rc == 0)
        rc = tell(ones, compare, err);
    pith_dataset_close(&dataset);
    contestant_close(&ones[0]);
    contestant_close(&ones[1]);
    pith_plugins_free(plugins);
    return rc;
}

static int run_compare(const struct cli_command *command, int argc, char **argv)
{
    struct compare compare = {.threads = 1};
    const struct cli_option common[] = {
        MODEL_OPTIONS(compare.engine, compare.plugin_path, compare.threads), {0}};
    const struct cli_option options[] = {
        DATA_OPTIONS(compare.data),
        {"cpu-power-mw", CLI_INT, &compare.cpu_power_mw, "MW",
         "what a busy core takes over an idle one, to estimate energy", 0, 1000000},
        {"json", CLI_FLAG, &compare.json, NULL, "print JSON"},
        {0}};
    struct cli_arguments arguments;
    struct pith_error err = {0};
    int rc, code = cli_parse(command, (const struct cli_option *const[]){options, common, NULL}, 2,
                             2, argc, argv, &arguments);

    if (code != CLI_GO_ON)
        return code;
    rc = compare_models(&compare, arguments.given, &err);
    data_done(&compare.data);
    return rc < 0 ? cli_fail(&err) : CLI_OK;
}

const struct cli_command command_compare = {
    .name = "compare",
    .arguments = "A B [--data DATA [--labels LABELS]] [--metric NAME]",
    .summary = "put two models side by side on the same samples: quality, size, time, energy",
    .text =
        "Both run over each sample in turn, so that they are timed alike. Whether one is better "
        "or it is chance is told by\n"
        "McNemar's test on the samples that only one of them gets right (top1), else by a "
        "bootstrap over pairs of samples.\n\n"
        "example: pith compare model.onnx small.onnx --data data.yaml --split test",
    .run = run_compare,
};
