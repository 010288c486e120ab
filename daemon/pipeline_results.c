/* What the lanes tell: results to publish, counts, trouble. What people tell: feedback. And the
 * control methods. */
#include "daemon/pipelines_private.h"

#include "daemon/recents.h"
#include "daemon/samples.h"

#include "libpith/base/clock.h"
#include "libpith/base/json.h"
#include "libpith/base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FEEDBACK_MAX_BYTES 4096
#define WINDOW_MAX_MS      (10 * 60 * 1000)

/* ---- results ---- */

static json_t *result_json(const struct instance *instance, const struct stream_event *event)
{
    char time[25];
    json_t *scores = json_object();
    const struct stream_score *fired =
        event->result.fired >= 0 ? &event->result.scores[event->result.fired] : NULL;

    for (size_t i = 0; i < event->result.score_count; i++)
        (void) json_object_set_new(scores, event->result.scores[i].label,
                                   json_real((double) event->result.scores[i].score));
    return json_pack("{s:s, s:s?, s:o, s:o, s:s, s:I, s:I, s:s, s:s, s:s, s:s, s:s}", "id",
                     event->result.id, "label", fired ? fired->label : NULL, "score",
                     fired ? json_real((double) fired->score) : json_null(), "scores", scores,
                     "time", pith_wall_text(event->result.wall_ms, time), "latency_us",
                     (json_int_t) (event->result.latency_ns / 1000), "wait_us",
                     (json_int_t) (event->result.wait_ns / 1000), "model",
                     instance->pipeline->model, "version", event->version->name, "variant",
                     event->version->variant, "pipeline", instance->pipeline->name, "source",
                     instance->topic);
}

static void publish_result(struct instance *instance, const struct stream_event *event)
{
    struct daemon *daemon = instance->pipeline->pipelines->daemon;
    char topic[DAEMON_TOPIC_BYTES];
    json_t *result = result_json(instance, event);
    char *text = result ? pith_json_text(result) : NULL;
    struct pith_error err = {0};
    struct mqtt_publication publication = {
        .topic = daemon_topic(daemon, topic, sizeof topic, "result/%s", instance->pipeline->name),
        .payload = text,
        .bytes = text ? strlen(text) : 0,
        .qos = 1,
        .retain = instance->pipeline->config && instance->pipeline->config->retain_results,
    };
    uint64_t count;

    json_decref(result);
    instance->result_count++;
    if ((!text || mqtt_publish(daemon->home, &publication, &err) < 0) &&
        trouble_tell(&instance->dropped, &count))
        log_warn("result_lost", "pipeline=%s count=%llu reason=\"%s\"", instance->pipeline->name,
                 (unsigned long long) count, text ? pith_error_text(&err) : "out of memory");
    free(text);
}

/* ---- what else a stream tells ---- */

static void count_batch(const struct instance *instance, const struct stream_event *event)
{
    struct telemetry_key key = instance_key(instance, event->version);
    const struct telemetry_batch batch = {
        .payload_count = event->batch.payload_count,
        .inference_count = event->batch.inference_count,
        .fired_count = event->batch.fired_count,
        .latency_us = event->batch.latency_us,
        .cpu_ns = event->batch.cpu_ns,
        .energy_uj = event->batch.energy_uj,
        .energy_source = event->batch.energy_source,
    };

    telemetry_add(instance->pipeline->pipelines->daemon->telemetry, &key, &batch);
}

static void count_refused(struct instance *instance, const struct stream_event *event)
{
    struct daemon *daemon = instance->pipeline->pipelines->daemon;
    struct telemetry_key key = instance_key(instance, event->version);
    char quoted[2 * sizeof event->refused.reason];
    uint64_t count;

    instance->refused_count++;
    telemetry_dropped(daemon->telemetry, &key, TELEMETRY_DROP_REFUSED, 1);
    if (!trouble_tell(&instance->refused, &count))
        return;
    log_warn("payload_refused", "pipeline=%s topic=\"%s\" count=%llu reason=%s",
             instance->pipeline->name, instance->topic, (unsigned long long) count,
             pith_log_quote(event->refused.reason, quoted, sizeof quoted));
    daemon_event(daemon, "payload-refused",
                 json_pack("{s:s, s:s, s:I, s:s}", "pipeline", instance->pipeline->name, "source",
                           instance->topic, "refused_count", (json_int_t) count, "reason",
                           event->refused.reason));
}

/* It counts for the version that gave the result, which another may have replaced since. */
static void count_judged(const struct instance *instance, const struct stream_event *event)
{
    struct telemetry_key key = instance_key(instance, NULL);

    key.version = event->judged.version;
    key.variant = event->judged.variant;
    if (event->judged.found)
        telemetry_feedback(instance->pipeline->pipelines->daemon->telemetry, &key,
                           event->judged.correct);
    else
        log_debug("feedback_unmatched", "pipeline=%s", instance->pipeline->name);
    if (!event->judged.call)
        return;
    if (event->judged.found)
        control_reply(event->judged.call, json_pack("{s:b}", "correct", event->judged.correct));
    else
        control_refuse(event->judged.call, -ENOENT,
                       "no such result among the last %d of this pipeline, or nothing runs on it",
                       RECENTS_COUNT);
}

static void count_compared(struct instance *instance, const struct stream_event *event)
{
    struct telemetry_key key = instance_key(instance, event->version);

    pith_chain_close(event->compared.original);
    instance->agreed_count += event->compared.agreed_count;
    instance->compared_count += event->compared.compared_count;
    if (event->compared.compared_count > 0)
        telemetry_fidelity(instance->pipeline->pipelines->daemon->telemetry, &key,
                           event->compared.agreed_count, event->compared.compared_count);
}

static void keep_sample(const struct instance *instance, const struct stream_event *event)
{
    struct pith_tensor rows = event->sample.rows;

    samples_take(instance->pipeline->pipelines->daemon->samples, instance->pipeline->model, &rows);
}

/* What ran before is closed here: the lane has no more use for it, and each of its results has been
 * handled. */
static void take_back(struct instance *instance, const struct stream_event *event)
{
    pith_chain_close(event->swapped.chain);
    pith_chain_close(event->swapped.original);
    version_drop(event->swapped.old_version);
    pipelines_swapped(instance, event->swapped.user);
}

void pipelines_event(void *user, void *stream_user, const void *data)
{
    struct instance *instance = stream_owner(stream_user);
    const struct stream_event *event = data;

    (void) user;
    if (!event) {
        instance->lane = NULL;
        instance_drop_if_done(instance);
        return;
    }
    switch (event->kind) {
    case STREAM_RESULT:
        publish_result(instance, event);
        break;
    case STREAM_BATCH:
        count_batch(instance, event);
        break;
    case STREAM_JUDGED:
        count_judged(instance, event);
        break;
    case STREAM_REFUSED:
        count_refused(instance, event);
        break;
    case STREAM_SWAPPED:
        take_back(instance, event);
        break;
    case STREAM_ORIGINAL_WANTED:
        pipelines_open_original(instance);
        break;
    case STREAM_COMPARED:
        count_compared(instance, event);
        break;
    case STREAM_SAMPLE:
        keep_sample(instance, event);
        break;
    }
}

/* ---- feedback ---- */

static struct instance *instance_of_id(const struct pipeline *pipeline, const char *id)
{
    for (struct instance *instance = pipeline->instances; instance; instance = instance->next) {
        size_t length = strlen(instance->id_prefix);
        if (!instance->closing && strncmp(instance->id_prefix, id, length) == 0 &&
            id[length] == '-')
            return instance;
    }
    return NULL;
}

static struct instance *instance_of_source(const struct pipeline *pipeline, const char *source)
{
    struct instance *only = NULL;

    for (struct instance *instance = pipeline->instances; instance; instance = instance->next) {
        if (instance->closing)
            continue;
        if (source && strcmp(instance->topic, source) == 0)
            return instance;
        if (!source && only)
            return NULL; /* more than one: it has to be named */
        only = instance;
    }
    return source ? NULL : only;
}

/* *out: a message that is ready to be sent to *out_instance. */
static int read_feedback(const struct pipeline *pipeline, const json_t *object,
                         struct stream_message **out, struct instance **out_instance,
                         struct pith_error *err)
{
    const char *id = NULL, *label = NULL, *source = NULL;
    int64_t window_ms = 0;
    const json_t *given = json_object_get(object, "label");
    int rc = 0;

    if (!given)
        return pith_fail(err, -EBADMSG,
                         "feedback: \"label\" is missing; null says that no label was right");
    if (!json_is_null(given))
        rc = pith_json_string(object, "feedback", "label", &label, err);
    if (rc == 0)
        rc = pith_json_string_or(object, "feedback", "id", NULL, &id, err);
    if (rc == 0)
        rc = pith_json_string_or(object, "feedback", "source", NULL, &source, err);
    if (rc == 0)
        rc =
            pith_json_int_or(object, "feedback", "window_ms", 1, WINDOW_MAX_MS, 0, &window_ms, err);
    if (rc < 0)
        return rc;
    if (!id == !window_ms)
        return pith_fail(
            err, -EBADMSG,
            "feedback: give either \"id\", of a result, or \"window_ms\", of the input "
            "before this message");
    if (label && strlen(label) >= STREAM_LABEL_BYTES)
        return pith_fail(err, -EBADMSG, "feedback: a label has at most %d bytes",
                         STREAM_LABEL_BYTES - 1);
    *out_instance = id ? instance_of_id(pipeline, id) : instance_of_source(pipeline, source);
    if (!*out_instance)
        return pith_fail(
            err, -ENOENT,
            id ? "feedback: no result of that id is known; they are kept for a while only"
               : "feedback: name the \"source\" topic that it is of, out of those that have "
                 "sent something");
    *out = calloc(1, sizeof **out);
    if (!*out)
        return -ENOMEM;
    (*out)->kind = STREAM_FEEDBACK;
    (*out)->lane.hold = LANE_HOLD_KEEP;
    (*out)->window_ms = window_ms;
    (void) snprintf((*out)->id, sizeof(*out)->id, "%s", id ? id : "");
    (void) snprintf((*out)->label, sizeof(*out)->label, "%s", label ? label : "");
    return 0;
}

void pipelines_feedback(void *user, const struct mqtt_message *message)
{
    struct pipeline *pipeline = user;
    struct stream_message *feedback;
    struct instance *instance;
    struct pith_error err = {0};
    char quoted[2 * PITH_ERROR_TEXT_BYTES];
    json_t *object = NULL;
    int rc = pith_json_parse(&object, message->payload, message->bytes, FEEDBACK_MAX_BYTES,
                             "feedback", &err);

    if (rc == 0)
        rc = read_feedback(pipeline, object, &feedback, &instance, &err);
    if (rc == 0)
        lane_stream_send(instance->lane, &feedback->lane);
    else
        log_warn("feedback_refused", "pipeline=%s reason=%s", pipeline->name,
                 pith_log_quote(pith_error_text(&err), quoted, sizeof quoted));
    json_decref(object);
}

/* ---- control ---- */

static json_t *pipeline_json(const struct pipeline *pipeline)
{
    const struct model *model = model_find(pipeline->pipelines, pipeline->model);
    const struct version *current = model ? model->current : NULL;
    json_t *streams = json_array();

    for (const struct instance *instance = pipeline->instances; instance;
         instance = instance->next) {
        if (instance->closing)
            continue;
        (void) json_array_append_new(
            streams, json_pack("{s:s, s:s?, s:s?, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "source",
                               instance->topic, "version",
                               instance->version ? instance->version->name : NULL, "variant",
                               instance->version ? instance->version->variant : NULL,
                               "payload_count", (json_int_t) instance->payload_count,
                               "result_count", (json_int_t) instance->result_count, "dropped_count",
                               (json_int_t) instance->dropped_count, "refused_count",
                               (json_int_t) instance->refused_count, "agreed_count",
                               (json_int_t) instance->agreed_count, "compared_count",
                               (json_int_t) instance->compared_count, "waiting_count",
                               (json_int_t) lane_stream_waiting(instance->lane)));
    }
    return json_pack("{s:s, s:s, s:s, s:s, s:s?, s:s?, s:o}", "name", pipeline->name, "source",
                     pipeline->source, "model", pipeline->model, "state",
                     current ? "serving" : "waiting", "version", current ? current->name : NULL,
                     "variant", current ? current->variant : NULL, "streams", streams);
}

static void run_pipelines(struct daemon *daemon, const json_t *params, struct control_call *call)
{
    json_t *list = json_array();

    (void) params;
    for (const struct pipeline *pipeline = daemon->pipelines->list; pipeline;
         pipeline = pipeline->next)
        if (!pipeline->closing)
            (void) json_array_append_new(list, pipeline_json(pipeline));
    control_reply(call, json_pack("{s:o}", "pipelines", list));
}

static void run_label(struct daemon *daemon, const json_t *params, struct control_call *call)
{
    static const char *const known[] = {"pipeline", "id", "label", "window_ms", "source", NULL};
    const char *name = NULL;
    const struct pipeline *pipeline;
    struct stream_message *feedback = NULL;
    struct instance *instance = NULL;
    struct pith_error err = {0};
    int rc = pith_json_only(params, "params", known, &err);

    if (rc == 0)
        rc = pith_json_string(params, "params", "pipeline", &name, &err);
    if (rc < 0) {
        control_refuse(call, rc, "%s", pith_error_text(&err));
        return;
    }
    for (pipeline = daemon->pipelines->list; pipeline; pipeline = pipeline->next)
        if (!pipeline->closing && strcmp(pipeline->name, name) == 0)
            break;
    rc = pipeline ? read_feedback(pipeline, params, &feedback, &instance, &err)
                  : pith_fail(&err, -ENOENT, "there is no pipeline \"%s\"; `pipelines` lists them",
                              name);
    if (rc < 0) {
        control_refuse(call, rc, "%s", pith_error_text(&err));
        return;
    }
    feedback->call = call;
    lane_stream_send(instance->lane, &feedback->lane);
}

const struct control_method pipelines_methods[] = {
    {.name = "pipelines",
     .help = "the pipelines, what they run, and their counts",
     .run = run_pipelines},
    {.name = "label",
     .help = "the right answer for a result: pipeline, label, and id, or window_ms (and source)",
     .changes = true,
     .run = run_label},
    {0},
};
