/* Who is asked, and what came of it: retained documents of gateways, followed until each has ended.
 */
#include "cli/push_wait.h"

#include "cli/output.h"
#include "cli/report.h"
#include "libpith/base/clock.h"
#include "libpith/base/json.h"
#include "libpith/model/envelope.h"
#include "libpith/model/manifest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LEARN_QUIET_MS     700 /* after the last retained document that the broker sent */
#define DOCUMENT_MAX_BYTES (1024 * 1024)
#define RECONNECT_MS       2000

static struct push_gateway *gateway_of(struct push_target *target, const char *name)
{
    for (size_t i = 0; i < target->count; i++)
        if (strcmp(target->gateways[i].name, name) == 0)
            return &target->gateways[i];
    if (!pith_name_valid(name))
        return NULL;
    if (target->count == target->capacity) {
        size_t capacity = target->capacity ? 2 * target->capacity : 16;
        void *gateways = realloc(target->gateways, capacity * sizeof *target->gateways);

        if (!gateways)
            return NULL;
        target->gateways = gateways;
        target->capacity = capacity;
    }
    target->gateways[target->count] = (struct push_gateway){.offline = true};
    (void) snprintf(target->gateways[target->count].name, PITH_NAME_BYTES, "%s", name);
    target->gateways[target->count].member = !target->group && strcmp(target->name, name) == 0;
    return &target->gateways[target->count++];
}

static void take_info(struct push_target *target, struct push_gateway *gateway, const json_t *info)
{
    size_t index;
    json_t *group;

    json_array_foreach(json_object_get(info, "groups"), index,
                       group) if (target->group && json_is_string(group) &&
                                  strcmp(json_string_value(group), target->name) == 0)
        gateway->member = true;
}

static int64_t max_of(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* The generation within a desired document. Whose signature it has is for gateways to judge: we
 * only go above it. */
static int64_t desired_generation(const struct broker_message *message)
{
    struct pith_buffer payload = {0};
    struct pith_desired desired = {.generation = 0};
    json_t *envelope = NULL;
    const char *text;

    if (pith_json_parse(&envelope, message->payload, message->bytes, PITH_ENVELOPE_MAX_BYTES,
                        "desired", NULL) == 0 &&
        (text = json_string_value(json_object_get(envelope, "payload"))) &&
        pith_base64_decode(&payload, text, strlen(text)) == 0 &&
        pith_desired_parse(&desired, payload.data, payload.bytes, NULL) < 0)
        desired.generation = 0;
    pith_buffer_done(&payload);
    json_decref(envelope);
    return desired.generation;
}

/* Takes one document into what is known. Returns the gateway that it is about, or NULL. */
static struct push_gateway *take_message(struct push_target *target, const struct broker *broker,
                                         const struct broker_message *message)
{
    char kind[8], name[PITH_NAME_BYTES + 1], what[32], last[32] = "";
    struct push_gateway *gateway;
    json_t *document = NULL;

    if (!topic_level(broker, message->topic, 0, kind, sizeof kind) ||
        !topic_level(broker, message->topic, 1, name, sizeof name) ||
        !topic_level(broker, message->topic, 2, what, sizeof what))
        return NULL;
    (void) topic_level(broker, message->topic, 4, last, sizeof last);
    if (strcmp(last, "desired") == 0) {
        target->newest_generation = max_of(target->newest_generation, desired_generation(message));
        return NULL;
    }
    gateway = gateway_of(target, name);
    if (!gateway)
        return NULL;
    if (strcmp(what, "availability") == 0) {
        gateway->offline = strcmp((const char *) message->payload, "online") != 0;
        return gateway;
    }
    if (pith_json_parse(&document, message->payload, message->bytes, DOCUMENT_MAX_BYTES, what,
                        NULL) < 0)
        return NULL;
    if (strcmp(what, "info") == 0) {
        take_info(target, gateway, document);
        json_decref(document);
    } else {
        json_decref(gateway->reported);
        gateway->reported = document;
    }
    return gateway;
}

static int subscribe_to_target(struct broker *broker, const char *to, const char *model,
                               struct pith_error *err)
{
    char topics[4][TOPIC_BYTES];
    const char *filters[] = {
        broker_topic(broker, topics[0], "gw/+/info"),
        broker_topic(broker, topics[1], "gw/+/availability"),
        broker_topic(broker, topics[2], "gw/+/model/%s/reported", model),
        broker_topic(broker, topics[3], "%s/model/%s/desired", to, model),
    };

    return broker_subscribe(broker, filters, 4, err);
}

int push_target_learn(struct push_target *target, struct broker *broker, const char *to,
                      const char *model, struct pith_error *err)
{
    int rc;

    if (!target->group && !gateway_of(target, target->name))
        return pith_fail(err, -ENOMEM, "no memory for the target");
    rc = subscribe_to_target(broker, to, model, err);
    while (rc == 0) {
        struct broker_message *message;

        rc = broker_next(broker, &message, LEARN_QUIET_MS, err);
        if (rc == 0) {
            (void) take_message(target, broker, message);
            broker_message_free(message);
        }
    }
    if (rc != -ETIMEDOUT)
        return rc;
    for (size_t i = 0; i < target->count; i++) {
        const json_t *reported = target->gateways[i].reported;

        if (target->gateways[i].member)
            target->newest_generation =
                max_of(target->newest_generation,
                       json_integer_value(json_object_get(reported, "generation")));
    }
    return 0;
}

void push_target_done(struct push_target *target)
{
    for (size_t i = 0; i < target->count; i++)
        json_decref(target->gateways[i].reported);
    free(target->gateways);
    *target = (struct push_target){.count = 0};
}

/* ---- waiting ---- */

static void print_gateway(struct push_gateway *gateway, const struct report *report, bool json)
{
    char line[REPORT_LINE_BYTES];

    if (json) {
        json_t *object =
            json_pack("{ss sO}", "gateway", gateway->name, "reported", gateway->reported);

        print_json(object);
        json_decref(object);
    } else {
        printf("%-16s %s\n", gateway->name, report_line(report, line));
    }
    (void) fflush(stdout);
}

/* What the gateway says of this generation. That it has a later one, which was there before, is no outcome: it will refuse. */
static bool read_report(const struct push_target *target, const struct push_gateway *gateway,
                        int64_t generation, struct report *out)
{
    const int64_t said = json_integer_value(json_object_get(gateway->reported, "generation"));

    return report_read(gateway->reported, generation, out) &&
           (out->end == REPORT_REFUSED || said <= generation || said > target->passed_generation);
}

/* Shows what changed: a bar for progress where there is a terminal, a line for each new state. */
static void show(const struct push_target *target, struct push_gateway *gateway, int64_t generation,
                 bool json)
{
    struct report report;
    char label[128];

    if (gateway->ended || !read_report(target, gateway, generation, &report))
        return;
    gateway->ended = report.end != REPORT_UNDER_WAY;
    if (!gateway->ended && report.done_ratio >= 0 && !json && isatty(STDERR_FILENO)) {
        (void) snprintf(label, sizeof label, "%-16s %-11s", gateway->name, report.state);
        progress_show(label, report.done_ratio);
        return;
    }
    if (strcmp(gateway->shown, report.state) == 0 && !gateway->ended)
        return;
    (void) snprintf(gateway->shown, sizeof gateway->shown, "%s", report.state);
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr); /* the bar gives way */
    print_gateway(gateway, &report, json);
}

/* One gateway that was named is waited for, wherever it is; of a group those that are there. */
static size_t waited_for(const struct push_target *target)
{
    size_t count = 0;

    for (size_t i = 0; i < target->count; i++)
        count += target->gateways[i].member && !target->gateways[i].ended &&
                 (!target->group || !target->gateways[i].offline);
    return count;
}

/* What the whole comes to: a refusal weighs most, as it will not mend itself. */
static int outcome(const struct push_target *target, int64_t generation, bool json)
{
    size_t refused = 0, failed = 0, open = 0, members = 0;

    for (size_t i = 0; i < target->count; i++) {
        const struct push_gateway *gateway = &target->gateways[i];
        struct report report;

        if (!gateway->member)
            continue;
        members++;
        if (gateway->ended && read_report(target, gateway, generation, &report)) {
            refused += report.end == REPORT_REFUSED;
            failed += report.end == REPORT_FAILED;
        } else {
            open++;
            if (!json)
                printf("%-16s %s\n", gateway->name,
                       gateway->offline ? "offline     it takes this when it is back"
                                        : "no outcome yet");
        }
    }
    if (members == 0) {
        fprintf(stderr,
                "pith: no gateway is known in group %s; those that join it will take this\n",
                target->name);
        return CLI_TIMED_OUT;
    }
    return refused ? CLI_REFUSED : failed ? CLI_FAILED : open ? CLI_TIMED_OUT : CLI_OK;
}

/* A link that broke while waiting is opened again: retained documents tell what was missed. */
static int wait_again(struct push_target *target, struct broker **broker,
                      const struct broker_options *options, const char *model,
                      struct pith_error *err)
{
    struct broker *again = NULL;
    char to[PITH_NAME_BYTES + 8];
    int rc;

    (void) snprintf(to, sizeof to, "%s/%s", target->group ? "group" : "gw", target->name);
    (void) usleep(RECONNECT_MS * 1000);
    rc = broker_open(&again, options, err);
    if (rc == 0)
        rc = subscribe_to_target(again, to, model, err);
    if (rc < 0) {
        broker_close(again);
        return rc;
    }
    *broker = again;
    return 0;
}

int push_wait(struct push_target *target, struct broker *broker,
              const struct broker_options *options, const char *model, int64_t generation,
              int64_t wait_ms, bool json)
{
    uint64_t until = pith_monotonic_ns() + (uint64_t) wait_ms * 1000000u;
    struct broker *link = broker, *own = NULL;
    struct pith_error err = {0};

    target->passed_generation = target->newest_generation;
    if (wait_ms == 0) {
        if (!json)
            printf("generation %lld is published; pith watch follows it\n", (long long) generation);
        return CLI_OK;
    }
    while (waited_for(target) && pith_monotonic_ns() < until) {
        int64_t left_ms = (int64_t) ((until - pith_monotonic_ns()) / 1000000u) + 1;
        struct broker_message *message;
        struct push_gateway *gateway;
        int rc = broker_next(link, &message, left_ms, &err);

        if (rc == -ETIMEDOUT)
            break;
        if (rc < 0) {
            broker_close(own);
            own = NULL;
            if (wait_again(target, &own, options, model, &err) < 0)
                return cli_fail(&err);
            link = own;
            continue;
        }
        gateway = take_message(target, link, message);
        broker_message_free(message);
        if (gateway && gateway->member)
            show(target, gateway, generation, json);
    }
    broker_close(own);
    return outcome(target, generation, json);
}
