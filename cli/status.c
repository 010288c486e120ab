/* pith status: the gateway on this machine: its links, models and pipelines. */
#include "cli/broker.h"
#include "cli/daemon_call.h"
#include "cli/output.h"
#include "cli/report.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const asked[] = {"status", "deployments", "pipelines"};

static int ask_all(struct daemon_link *link, json_t *answers, struct pith_error *err)
{
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        json_t *answer = NULL;
        int rc = daemon_call(link, asked[i], NULL, &answer, err);

        if (rc < 0)
            return rc;
        if (json_object_set_new(answers, asked[i], answer) < 0)
            return pith_fail(err, -ENOMEM, "no memory for the answer");
    }
    return 0;
}

static void print_models(const json_t *models)
{
    size_t index;
    json_t *document;

    json_array_foreach(models, index, document)
    {
        const json_t *active = json_object_get(document, "active");
        const char *serves = json_string_value(json_object_get(active, "version"));
        const char *variant = json_string_value(json_object_get(active, "variant"));
        char line[REPORT_LINE_BYTES];
        struct report report;

        if (report_read(document, 0, &report))
            printf("  %-16s %-10s %s\n", json_string_value(json_object_get(document, "model")),
                   report.version, report_line(&report, line));
        if (serves)
            printf("  %-16s serves %s%s%s\n", "", serves, variant ? ", variant " : "",
                   variant ? variant : "");
    }
}

static void print_pipelines(const json_t *pipelines)
{
    size_t index;
    json_t *pipeline;

    json_array_foreach(pipelines, index, pipeline)
        printf("  %-16s %-8s %s -> %s\n", json_string_value(json_object_get(pipeline, "name")),
               json_string_value(json_object_get(pipeline, "state")),
               json_string_value(json_object_get(pipeline, "source")),
               json_string_value(json_object_get(pipeline, "model")));
}

static int run_status(const struct cli_command *command, int argc, char **argv)
{
    struct broker_options broker = {0};
    bool json = false;
    const struct cli_option options[] = {
        {"json", CLI_FLAG, &json, NULL, "print JSON"},
        {"socket", CLI_TEXT, &broker.socket, "PATH",
         "of the daemon (PITH_SOCKET; " PITH_RUN_DIR "/control.sock)"},
        {"settings", CLI_TEXT, &broker.settings, "FILE",
         "YAML with a socket (PITH_SETTINGS; ~/.config/pith/pith.yaml)"},
        {0}};
    struct cli_arguments arguments;
    struct daemon_link *link = NULL;
    struct pith_error err = {0};
    json_t *answers;
    int code = cli_parse(command, (const struct cli_option *const[]){options, NULL}, 0, 0, argc,
                         argv, &arguments);

    if (code != CLI_GO_ON)
        return code;
    answers = json_object();
    if (broker_options_complete(&broker, &err) < 0 || daemon_open(&link, broker.socket, &err) < 0 ||
        ask_all(link, answers, &err) < 0) {
        code = cli_fail(&err);
    } else if (json) {
        print_json(answers);
        code = CLI_OK;
    } else {
        print_value(json_object_get(answers, "status"), 0);
        puts("models:");
        print_models(json_object_get(json_object_get(answers, "deployments"), "models"));
        puts("pipelines:");
        print_pipelines(json_object_get(json_object_get(answers, "pipelines"), "pipelines"));
        code = CLI_OK;
    }
    json_decref(answers);
    daemon_close(link);
    broker_options_done(&broker);
    return code;
}

const struct cli_command command_status = {
    .name = "status",
    .arguments = "[--json]",
    .summary = "show what the gateway on this machine is doing",
    .text = "Asks the daemon through its socket: links to brokers, models and their deployments, "
            "pipelines.\n\n"
            "example: pith status --json | jq .deployments",
    .run = run_status,
};
