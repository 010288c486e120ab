/* pith watch: follows what gateways say, a line an event. */
#include "cli/broker.h"
#include "cli/output.h"
#include "cli/report.h"

#include "libpith/base/clock.h"
#include "libpith/base/json.h"
#include "libpith/base/names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DOCUMENT_MAX_BYTES (1024 * 1024)

/* The members of an event that are plain values, as key=value. */
static void print_members(const json_t *event)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *) (uintptr_t) event, key, value)
    {
        char *text;

        if (strcmp(key, "kind") == 0 || strcmp(key, "time") == 0 || strcmp(key, "time_ms") == 0 ||
            json_is_object(value) || json_is_array(value))
            continue;
        text = json_is_string(value) ? NULL : pith_json_text(value);
        printf(" %s=%s%s%s", key, text ? "" : "\"", text ? text : json_string_value(value),
               text ? "" : "\"");
        free(text);
    }
}

static void print_message(const struct broker *broker, const struct broker_message *message,
                          bool json)
{
    char gateway[128] = "", what[64] = "", third[128] = "", now[25], line[REPORT_LINE_BYTES];
    json_t *document = NULL;
    struct report report;

    if (pith_json_parse(&document, message->payload, message->bytes, DOCUMENT_MAX_BYTES, "message",
                        NULL) < 0)
        return; /* not one of ours: nothing that a person could use */
    (void) topic_level(broker, message->topic, 1, gateway, sizeof gateway);
    (void) topic_level(broker, message->topic, 2, what, sizeof what);
    (void) topic_level(broker, message->topic, 3, third, sizeof third);
    if (json) {
        json_t *object = json_pack("{ss ss sO}", "topic", message->topic, "time",
                                   pith_wall_text(pith_wall_ms(), now), "payload", document);

        print_json(object);
        json_decref(object);
    } else if (strcmp(what, "model") == 0 && report_read(document, 0, &report)) {
        printf("%s  %-16s %-16s %s\n", pith_wall_text(pith_wall_ms(), now), gateway, third,
               report_line(&report, line));
    } else {
        printf("%s  %-16s %s", pith_wall_text(pith_wall_ms(), now), gateway, third);
        print_members(document);
        putchar('\n');
    }
    (void) fflush(stdout);
    json_decref(document);
}

static int watch(struct broker *broker, const char *gateway, bool results, int64_t for_ms,
                 int64_t count, bool json, struct pith_error *err)
{
    char topics[3][TOPIC_BYTES];
    const char *filters[] = {
        broker_topic(broker, topics[0], "gw/%s/event/+", gateway),
        broker_topic(broker, topics[1], "gw/%s/model/+/reported", gateway),
        broker_topic(broker, topics[2], "gw/%s/result/+", gateway),
    };
    uint64_t until = for_ms ? pith_monotonic_ns() + (uint64_t) for_ms * 1000000u : UINT64_MAX;
    int rc = broker_subscribe(broker, filters, results ? 3 : 2, err);

    /* Where nobody reads what is printed any more, there is nothing left to watch for. */
    while (rc == 0 && pith_monotonic_ns() < until && count != 0 && !ferror(stdout)) {
        int64_t left_ms = until == UINT64_MAX
                              ? 3600000
                              : (int64_t) ((until - pith_monotonic_ns()) / 1000000u) + 1;
        struct broker_message *message;

        rc = broker_next(broker, &message, left_ms, err);
        if (rc == -ETIMEDOUT) {
            rc = 0;
        } else if (rc == 0) {
            print_message(broker, message, json);
            broker_message_free(message);
            count -= count > 0;
        }
    }
    return rc;
}

static int run_watch(const struct cli_command *command, int argc, char **argv)
{
    struct broker_options broker_options = {0};
    const char *gateway = "+";
    int64_t for_ms = 0, count = -1;
    bool json = false, results = false;
    const struct cli_option connection[] = {BROKER_OPTIONS(broker_options), {0}};
    const struct cli_option options[] = {
        {"gateway", CLI_TEXT, &gateway, "NAME", "this one alone"},
        {"results", CLI_FLAG, &results, NULL, "results of pipelines too"},
        {"for", CLI_SECONDS, &for_ms, "TIME", "stop after that; else on Ctrl-C"},
        {"count", CLI_INT, &count, "COUNT", "stop after so many lines", 1, INT64_MAX},
        {"json", CLI_FLAG, &json, NULL, "print JSON, one object a line"},
        {0}};
    struct cli_arguments arguments;
    struct broker *broker = NULL;
    struct pith_error err = {0};
    int code = cli_parse(command, (const struct cli_option *const[]){options, connection, NULL}, 0,
                         0, argc, argv, &arguments);

    if (code != CLI_GO_ON)
        return code;
    if (strcmp(gateway, "+") != 0 && !pith_name_valid(gateway))
        return cli_usage(command, "--gateway: \"%.80s\" is no gateway's name", gateway);
    code = CLI_OK;
    if (broker_options_complete(&broker_options, &err) < 0 ||
        broker_open(&broker, &broker_options, &err) < 0 ||
        watch(broker, gateway, results, for_ms, count, json, &err) < 0)
        code = cli_fail(&err);
    broker_close(broker);
    broker_options_done(&broker_options);
    return code;
}

const struct cli_command command_watch = {
    .name = "watch",
    .arguments = "[--gateway NAME]",
    .summary = "follow deployments and events of the fleet",
    .text = "Prints what is known of each model first, then each change as it comes.\n\n"
            "example: pith watch --gateway hub-kitchen --results --for 10m",
    .run = run_watch,
};
