/* pith telemetry: what pipelines measured, as the daemon keeps it. */
#include "cli/broker.h"
#include "cli/daemon_call.h"
#include "cli/output.h"

#include "libpith/base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static json_t *make_params(const char *period, const char *pipeline, int64_t since_ms,
                           int64_t limit)
{
    json_t *params = json_pack("{ss sI}", "period", period, "limit", (json_int_t) limit);

    if (params && pipeline)
        (void) json_object_set_new(params, "pipeline", json_string(pipeline));
    if (params && since_ms)
        (void) json_object_set_new(params, "since_ms", json_integer(pith_wall_ms() - since_ms));
    return params;
}

/* The columns that fit a terminal; --json has all. */
static void print_rows(const json_t *rows)
{
    struct table *table = table_new(12);
    size_t index;
    json_t *row;

    table_row(table, (const char *const[]){"time", "pipeline", "version", "variant", "results",
                                           "fired", "p50", "p99", "energy each", "accuracy",
                                           "fidelity", "dropped"});
    json_array_foreach(rows, index, row)
    {
        const char *time = json_string_value(json_object_get(row, "time"));
        char text[8][FIGURE_BYTES], energy[2 * FIGURE_BYTES] = "-";
        double energy_uj = number_of(row, "energy_uj_each");

        if (energy_uj >= 0)
            (void) snprintf(energy, sizeof energy, "%.1f µJ (%s)", energy_uj,
                            json_string_value(json_object_get(row, "energy_source")));
        table_row(table, (const char *const[]){
                             time ? time : json_string_value(json_object_get(row, "last_day")),
                             json_string_value(json_object_get(row, "pipeline")),
                             json_string_value(json_object_get(row, "version")),
                             json_string_value(json_object_get(row, "variant")),
                             figure_count(number_of(row, "inference_count"), text[0]),
                             figure_count(number_of(row, "fired_count"), text[1]),
                             figure_us(number_of(row, "p50_us"), text[2]),
                             figure_us(number_of(row, "p99_us"), text[3]), energy,
                             figure_percent(number_of(row, "accuracy_ratio"), text[4]),
                             figure_percent(number_of(row, "fidelity_ratio"), text[5]),
                             figure_count(number_of(row, "dropped_count"), text[6])});
    }
    table_print(table);
    table_free(table);
}

static int run_telemetry(const struct cli_command *command, int argc, char **argv)
{
    struct broker_options broker = {0};
    const char *period = "summary", *pipeline = NULL;
    int64_t limit = 100, since_ms = 0;
    bool json = false;
    const struct cli_option options[] = {
        {"period", CLI_TEXT, &period, "PERIOD", "summary, minute, hour or day (summary)"},
        {"pipeline", CLI_TEXT, &pipeline, "NAME", "of this pipeline alone"},
        {"since", CLI_SECONDS, &since_ms, "TIME", "not older than that: 90m, 24h, 7d"},
        {"limit", CLI_INT, &limit, "COUNT", "rows at most (100)", 1, 10000},
        {"json", CLI_FLAG, &json, NULL, "print JSON"},
        {"socket", CLI_TEXT, &broker.socket, "PATH",
         "of the daemon (PITH_SOCKET; " PITH_RUN_DIR "/control.sock)"},
        {"settings", CLI_TEXT, &broker.settings, "FILE",
         "YAML with a socket (PITH_SETTINGS; ~/.config/pith/pith.yaml)"},
        {0}};
    struct cli_arguments arguments;
    struct daemon_link *link = NULL;
    struct pith_error err = {0};
    json_t *params, *answer = NULL;
    int code = cli_parse(command, (const struct cli_option *const[]){options, NULL}, 0, 0, argc,
                         argv, &arguments);

    if (code != CLI_GO_ON)
        return code;
    params = make_params(period, pipeline, since_ms, limit);
    if (broker_options_complete(&broker, &err) < 0 || daemon_open(&link, broker.socket, &err) < 0 ||
        daemon_call(link, "telemetry", params, &answer, &err) < 0) {
        code = cli_fail(&err);
    } else {
        if (json)
            print_json(answer);
        else
            print_rows(json_object_get(answer, "rows"));
        code = CLI_OK;
    }
    json_decref(params);
    json_decref(answer);
    daemon_close(link);
    broker_options_done(&broker);
    return code;
}

const struct cli_command command_telemetry = {
    .name = "telemetry",
    .arguments = "[--period PERIOD] [--pipeline NAME]",
    .summary = "show counts, latency, accuracy and energy as they were measured",
    .text = "Asks the daemon through its socket. The same rows are in its SQLite database, which "
            "may be read while it runs.\n\n"
            "example: pith telemetry --period hour --pipeline kitchen-wakeword --since 24h",
    .run = run_telemetry,
};
