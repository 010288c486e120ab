/* What a gateway says of its models: a retained `reported` document each, and an event for each
 * step. Saying it may fail or be late; what is done does not depend on it. */
#include "daemon/deployment.h"

#include "libpith/base/clock.h"
#include "libpith/base/json.h"
#include "libpith/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPORT_EVERY_MS 500 /* progress; a change of state is told at once */

/* Sentences may have been cut within a character: JSON would not take them. */
static json_t *text_of(const char *text)
{
    char clean[PITH_ERROR_TEXT_BYTES];
    json_t *string = json_string(text);
    char *at;

    if (string)
        return string;
    (void) snprintf(clean, sizeof clean, "%s", text);
    for (at = clean; *at; at++)
        if ((unsigned char) *at >= 0x80)
            *at = '?';
    return json_string(clean);
}

static json_t *text_or_null(const char *text)
{
    return text && text[0] ? text_of(text) : json_null();
}

/* One version for the document. */
static json_t *version_of(const struct deployment *deployment)
{
    json_t *total, *object;
    char time[25];

    if (!deployment)
        return json_null();
    total = json_object_get(deployment->result, "total");
    object = json_pack("{s:s, s:I, s:s, s:s}", "version", deployment->version, "generation",
                       (json_int_t) deployment->generation, "state", state_name(deployment->state),
                       "since", pith_wall_text(deployment->since_ms, time));
    (void) json_object_set_new(
        object, "variant",
        text_or_null(json_string_value(json_object_get(deployment->result, "variant_name"))));
    if (total)
        (void) json_object_set(object, "total", total);
    return object;
}

/* As the newest version's outcome has them; while there is none, those of the one that serves. */
static json_t *gates_of(const struct model *model)
{
    json_t *gates = json_object_get(model->newest ? model->newest->result : NULL, "gates");

    if (!gates && model->active)
        gates = json_object_get(model->active->result, "gates");
    return gates ? json_incref(gates) : json_array();
}

/* How far the state under way is. */
static void add_progress(json_t *document, const struct model *model)
{
    if (state_is_final(model->newest->state) || model->newest->state == STATE_ACCEPTED)
        return;
    (void) json_object_set_new(document, "done_ratio", json_real(model->done_ratio));
    (void) json_object_set_new(document, "progress", text_of(model->progress));
    if (model->newest->state == STATE_FETCHING && model->chunk_count > 0) {
        (void) json_object_set_new(document, "chunk_count", json_integer(model->chunk_count));
        (void) json_object_set_new(document, "missing_count", json_integer(model->missing_count));
    }
}

static void add_newest(json_t *document, const struct model *model)
{
    const struct deployment *newest = model->newest;
    json_t *total = json_object_get(newest->result, "total");

    (void) json_object_set_new(document, "version", text_or_null(newest->version));
    (void) json_object_set_new(document, "attempt_count", json_integer(newest->attempt_count));
    if (total)
        (void) json_object_set(document, "total", total);
    add_progress(document, model);
}

json_t *deployment_document(const struct model *model)
{
    const struct deployment *newest = model->newest;
    const struct deployment *candidate = newest && !state_is_final(newest->state) ? newest : NULL;
    /* Recorded, and not yet served: those who wait for it are told when it is. */
    bool starting = newest && newest->state == STATE_ACTIVE && newest == model->active &&
                    model->trial_count > 0;
    const char *state = !newest    ? "absent"
                        : starting ? state_name(STATE_EVALUATING)
                                   : state_name(newest->state);
    char time[25];
    json_t *document =
        json_pack("{s:s, s:I, s:s, s:o, s:s, s:o, s:o, s:o, s:o, s:b}", "model", model->name,
                  "generation", (json_int_t) model->generation, "state", state, "reason",
                  text_or_null(newest ? newest->reason : NULL), "since",
                  pith_wall_text(newest ? newest->since_ms : pith_wall_ms(), time), "active",
                  version_of(model->active), "previous", version_of(model->previous), "candidate",
                  version_of(candidate), "gates", gates_of(model), "serving", model->serving);

    if (!document)
        return NULL;
    if (newest)
        add_newest(document, model);
    if (model->refusal[0])
        (void) json_object_set_new(document, "refused",
                                   json_pack("{s:I, s:o}", "generation",
                                             (json_int_t) model->refused_generation, "reason",
                                             text_of(model->refusal)));
    return document;
}

static int publish(struct deployments *deployments, const char *name, const json_t *document)
{
    char topic[DAEMON_TOPIC_BYTES];
    char *text = document ? pith_json_text(document) : NULL;
    struct mqtt_publication publication = {.qos = 1, .retain = true};
    struct pith_error err = {0};
    int rc = -ENOMEM;

    if (text) {
        publication.topic =
            daemon_topic(deployments->daemon, topic, sizeof topic, "model/%s/reported", name);
        publication.payload = text;
        publication.bytes = strlen(text);
        rc = mqtt_publish(deployments->daemon->fleet, &publication, &err);
    }
    if (rc < 0 && rc != -ENOBUFS)
        log_warn("report_failed", "model=%s reason=\"%s\"", name, err.text);
    free(text);
    return rc;
}

void deployment_report_due(struct model *model)
{
    struct deployments *deployments = model->owner;
    json_t *document;

    if (!model->report_due)
        return;
    document = deployment_document(model);
    /* A full queue is tried again by the timer; whatever else is wrong would be wrong again. */
    model->report_due = publish(deployments, model->name, document) == -ENOBUFS;
    model->reported_ms = uv_now(deployments->daemon->loop);
    json_decref(document);
}

void deployment_report(struct model *model)
{
    bool state_is_new = !model->newest || model->newest->state != model->reported_state;

    model->report_due = true;
    if (model->owner->opening) /* the pipelines and links are told when all is read */
        return;
    if (state_is_new ||
        uv_now(model->owner->daemon->loop) - model->reported_ms >= REPORT_EVERY_MS ||
        (model->newest && state_is_final(model->newest->state))) {
        if (model->newest)
            model->reported_state = model->newest->state;
        deployment_report_due(model);
    }
    if (model->report_due)
        deployments_watch_timer(model->owner);
}

void deployment_event(struct model *model, const struct deployment *deployment)
{
    char quoted[PITH_ERROR_TEXT_BYTES * 2];

    log_info("deployment", "model=%s version=%s generation=%lld state=%s reason=%s", model->name,
             deployment->version[0] ? deployment->version : "-", (long long) deployment->generation,
             state_name(deployment->state),
             pith_log_quote(deployment->reason, quoted, sizeof quoted));
    if (model->owner->opening)
        return;
    daemon_event(model->owner->daemon, "deployment",
                 json_pack("{s:s, s:s, s:I, s:s, s:o}", "model", model->name, "version",
                           deployment->version, "generation", (json_int_t) deployment->generation,
                           "state", state_name(deployment->state), "reason",
                           text_of(deployment->reason)));
}

void deployment_refused(struct deployments *deployments, struct model *model, const char *name,
                        int64_t generation, const char *kind, const char *reason)
{
    char quoted[PITH_ERROR_TEXT_BYTES * 2], time[25];
    json_t *document;

    log_warn("deployment_refused", "model=%s generation=%lld kind=%s reason=%s", name,
             (long long) generation, kind, pith_log_quote(reason, quoted, sizeof quoted));
    daemon_event(deployments->daemon, "refused",
                 json_pack("{s:s, s:I, s:s, s:o}", "model", name, "generation",
                           (json_int_t) generation, "refusal", kind, "reason", text_of(reason)));
    if (model) { /* what it does goes on; the document says what it did not take */
        (void) snprintf(model->refusal, sizeof model->refusal, "%s", reason);
        model->refused_generation = generation;
        model->report_due = true;
        deployment_report_due(model);
        return;
    }
    document = json_pack("{s:s, s:I, s:s, s:o, s:s, s:n, s:n, s:n, s:b}", "model", name,
                         "generation", (json_int_t) generation, "state", state_name(STATE_REJECTED),
                         "reason", text_of(reason), "since", pith_wall_text(pith_wall_ms(), time),
                         "active", "previous", "candidate", "serving", 0);
    (void) publish(deployments, name, document); /* the operator sees the event, too */
    json_decref(document);
}
