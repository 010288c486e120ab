/* Pipelines as the config has them: their topics, their instances, payloads on their way to the
 * lanes. */
#include "daemon/pipelines_private.h"

#include "libpith/base/clock.h"
#include "libpith/base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static void payload_arrived(void *user, const struct mqtt_message *message);

/* ---- models ---- */

struct model *model_find(struct pipelines *pipelines, const char *name)
{
    for (struct model *model = pipelines->models; model; model = model->next)
        if (strcmp(model->name, name) == 0)
            return model;
    return NULL;
}

struct model *model_get(struct pipelines *pipelines, const char *name)
{
    struct model *model = model_find(pipelines, name);

    if (model)
        return model;
    model = calloc(1, sizeof *model);
    if (!model)
        return NULL;
    (void) snprintf(model->name, sizeof model->name, "%s", name);
    model->next = pipelines->models;
    pipelines->models = model;
    return model;
}

/* ---- topics ---- */

static const char *feedback_topic(const struct pipeline *pipeline, char *topic, size_t topic_bytes)
{
    return daemon_topic(pipeline->pipelines->daemon, topic, topic_bytes, "feedback/%s",
                        pipeline->name);
}

/* The source is listened to while there is something to run on it. */
static void listen_to(struct pipeline *pipeline, bool wanted)
{
    struct mqtt *home = pipeline->pipelines->daemon->home;
    struct pith_error err = {0};

    if (pipeline->subscribed == wanted)
        return;
    pipeline->subscribed = wanted;
    if (!wanted)
        mqtt_unsubscribe(home, pipeline->source, payload_arrived, pipeline);
    else if (mqtt_subscribe(home, pipeline->source, 0, true, payload_arrived, pipeline, &err) < 0)
        log_error("pipeline_not_subscribed", "pipeline=%s source=\"%s\" reason=\"%s\"",
                  pipeline->name, pipeline->source, pith_error_text(&err));
}

void pipelines_listen(struct pipelines *pipelines, const struct model *model)
{
    for (struct pipeline *pipeline = pipelines->list; pipeline; pipeline = pipeline->next)
        if (!pipeline->closing && strcmp(pipeline->model, model->name) == 0)
            listen_to(pipeline, model->current != NULL);
}

/* ---- instances ---- */

struct telemetry_key instance_key(const struct instance *instance, const struct version *version)
{
    return (struct telemetry_key){
        .pipeline = instance->pipeline->name,
        .model = instance->pipeline->model,
        .version = version ? version->name : "",
        .variant = version ? version->variant : "",
    };
}

bool trouble_tell(struct trouble *trouble, uint64_t *out_count)
{
    uint64_t now_ns = pith_monotonic_ns();

    trouble->count++;
    if (trouble->told_ns > 0 && now_ns - trouble->told_ns < PIPELINE_TELL_NS)
        return false;
    *out_count = trouble->count;
    trouble->count = 0;
    trouble->told_ns = now_ns;
    return true;
}

static void make_id_prefix(char *prefix, size_t prefix_bytes)
{
    uint64_t bits = pith_monotonic_ns();

    (void) !getrandom(&bits, sizeof bits,
                      0); /* the time will do where there is no randomness yet */
    (void) snprintf(prefix, prefix_bytes, "%010llx", (unsigned long long) (bits & 0xffffffffff));
}

/* 0: the config does not consent. */
static uint64_t sample_every_ns(const struct config *config)
{
    return config->compression.keep_samples_count > 0
               ? (uint64_t) config->compression.sample_every_ms * 1000000
               : 0;
}

static int instance_open(struct pipeline *pipeline, const char *topic, struct instance **out,
                         struct pith_error *err)
{
    struct pipelines *pipelines = pipeline->pipelines;
    const struct config *config = pipelines->daemon->config;
    struct instance *instance = calloc(1, sizeof *instance);
    struct stream_options options = {
        .codec = pipeline->config->codec,
        .codec_values = pipeline->config->codec_options.values,
        .meters = pipelines->daemon->meters,
        .shadow_ratio = config->compression.shadow_ratio,
        .sample_every_ns = sample_every_ns(config),
    };
    int rc = -ENOMEM;

    if (!instance)
        return pith_fail(err, -ENOMEM, "pipeline: out of memory");
    instance->pipeline = pipeline;
    instance->topic = strdup(topic);
    make_id_prefix(instance->id_prefix, sizeof instance->id_prefix);
    memcpy(options.id_prefix, instance->id_prefix, sizeof options.id_prefix);
    if (instance->topic)
        rc = stream_open(&instance->stream, &options, &instance->codec_stream, err);
    if (rc == 0)
        rc = lane_stream_open(&instance->lane, pipelines->lanes, &stream_ops,
                              (size_t) pipeline->config->queue_count, instance->stream, err);
    if (rc < 0) {
        stream_close(instance->stream);
        free(instance->topic);
        free(instance);
        return rc;
    }
    stream_attach(instance->stream, instance->lane, instance);
    instance->next = pipeline->instances;
    pipeline->instances = instance;
    pipeline->instance_count++;
    if (out)
        *out = instance;
    return 0;
}

static void instance_close(struct instance *instance)
{
    if (instance->closing)
        return;
    instance->closing = true;
    instance_swap(instance, NULL, NULL, NULL);
    lane_stream_close(instance->lane);
}

static void pipeline_drop_if_done(struct pipeline *pipeline)
{
    struct pipelines *pipelines = pipeline->pipelines;
    struct pipeline **at = &pipelines->list;

    if (!pipeline->closing || pipeline->instances)
        return;
    while (*at != pipeline)
        at = &(*at)->next;
    *at = pipeline->next;
    free(pipeline->source);
    free(pipeline);
    pipelines_close_if_done(pipelines);
}

void instance_drop_if_done(struct instance *instance)
{
    struct pipeline *pipeline = instance->pipeline;
    struct instance **at = &pipeline->instances;

    if (instance->lane || instance->job_count > 0)
        return;
    while (*at != instance)
        at = &(*at)->next;
    *at = instance->next;
    pipeline->instance_count--;
    version_drop(instance->version);
    stream_close(instance->stream);
    free(instance->topic);
    free(instance);
    pipeline_drop_if_done(pipeline);
}

/* ---- payloads ---- */

static struct instance *instance_of(struct pipeline *pipeline, const char *topic)
{
    struct instance *instance;
    struct pith_error err = {0};
    uint64_t count;

    for (instance = pipeline->instances; instance; instance = instance->next)
        if (!instance->closing && strcmp(instance->topic, topic) == 0)
            return instance;
    if (pipeline->instance_count >= PIPELINE_MAX_INSTANCES) {
        if (trouble_tell(&pipeline->crowded, &count))
            log_warn("pipeline_crowded",
                     "pipeline=%s topic=\"%s\" instances=%d reason=\"no more are made\"",
                     pipeline->name, topic, PIPELINE_MAX_INSTANCES);
        return NULL;
    }
    if (instance_open(pipeline, topic, &instance, &err) < 0) {
        if (trouble_tell(&pipeline->crowded, &count))
            log_error("pipeline_not_opened", "pipeline=%s topic=\"%s\" reason=\"%s\"",
                      pipeline->name, topic, pith_error_text(&err));
        return NULL;
    }
    log_info("pipeline_instance", "pipeline=%s topic=\"%s\"", pipeline->name, topic);
    pipelines_catch_up(pipeline->pipelines, model_find(pipeline->pipelines, pipeline->model));
    return instance;
}

static void payload_arrived(void *user, const struct mqtt_message *message)
{
    struct pipeline *pipeline = user;
    struct daemon *daemon = pipeline->pipelines->daemon;
    struct instance *instance = instance_of(pipeline, message->topic);
    struct telemetry_key key;
    uint64_t count;
    int dropped;

    if (!instance)
        return;
    instance->payload_count++;
    dropped = lane_stream_put(instance->lane, message->payload, message->bytes);
    if (dropped == 0)
        return;
    instance->dropped_count++;
    key = instance_key(instance, instance->version);
    telemetry_dropped(daemon->telemetry, &key, TELEMETRY_DROP_QUEUE, 1);
    if (trouble_tell(&instance->dropped, &count)) {
        log_warn(
            "queue_overflow",
            "pipeline=%s topic=\"%s\" dropped=%llu reason=\"payloads arrive faster than they are "
            "run; the oldest gave way\"",
            pipeline->name, instance->topic, (unsigned long long) count);
        daemon_event(daemon, "queue-overflow",
                     json_pack("{s:s, s:s, s:I}", "pipeline", pipeline->name, "source",
                               instance->topic, "dropped_count", (json_int_t) count));
    }
}

/* ---- opening, reloading, closing ---- */

static bool is_wildcard(const char *filter)
{
    return strpbrk(filter, "+#") != NULL;
}

static int pipeline_open(struct pipelines *pipelines, const struct config_pipeline *config,
                         struct pith_error *err)
{
    struct pipeline *pipeline = calloc(1, sizeof *pipeline);
    struct model *model = model_get(pipelines, config->model);
    char topic[DAEMON_TOPIC_BYTES];
    int rc = 0;

    if (!pipeline || !model || !(pipeline->source = strdup(config->source))) {
        free(pipeline);
        return pith_fail(err, -ENOMEM, "pipeline %s: out of memory", config->name);
    }
    pipeline->pipelines = pipelines;
    pipeline->config = config;
    (void) snprintf(pipeline->name, sizeof pipeline->name, "%s", config->name);
    (void) snprintf(pipeline->model, sizeof pipeline->model, "%s", config->model);
    if (!is_wildcard(pipeline->source))
        rc = instance_open(pipeline, pipeline->source, NULL, err);
    if (rc == 0)
        rc = mqtt_subscribe(pipelines->daemon->home, feedback_topic(pipeline, topic, sizeof topic),
                            1, false, pipelines_feedback, pipeline, err);
    pipeline->next = pipelines->list;
    pipelines->list = pipeline;
    if (rc < 0)
        return pith_fail_in(err, rc, "pipeline %s", config->name);
    listen_to(pipeline, model->current != NULL);
    pipelines_catch_up(pipelines, model);
    return 0;
}

static void pipeline_close(struct pipeline *pipeline)
{
    char topic[DAEMON_TOPIC_BYTES];
    struct instance *instance, *next;

    if (pipeline->closing)
        return;
    listen_to(pipeline, false);
    mqtt_unsubscribe(pipeline->pipelines->daemon->home,
                     feedback_topic(pipeline, topic, sizeof topic), pipelines_feedback, pipeline);
    pipeline->closing = true;
    for (instance = pipeline->instances; instance; instance = next) {
        next = instance->next;
        instance_close(instance);
    }
    pipeline_drop_if_done(pipeline);
}

/* Whether the codec takes its options: what can fail is tried before anything is changed. */
static int try_codec(const struct config_pipeline *config, struct pith_error *err)
{
    const struct stream_options options = {.codec = config->codec,
                                           .codec_values = config->codec_options.values};
    struct pith_codec_stream ignored;
    struct stream *stream;
    int rc = stream_open(&stream, &options, &ignored, err);

    if (rc < 0)
        return pith_fail_in(err, rc, "pipeline %s", config->name);
    stream_close(stream);
    return 0;
}

int pipelines_check(const struct config *config, struct pith_error *err)
{
    int rc = 0;

    for (size_t i = 0; i < config->pipeline_count && rc == 0; i++)
        rc = try_codec(&config->pipelines[i], err);
    return rc;
}

int pipelines_open(struct pipelines **out, struct daemon *daemon, struct pith_error *err)
{
    const struct lanes_options options = {.lane_count = (size_t) daemon->config->lane_count,
                                          .event = pipelines_event};
    struct pipelines *pipelines;
    int rc;

    rc = pipelines_check(daemon->config, err);
    if (rc < 0)
        return rc;
    pipelines = calloc(1, sizeof *pipelines);
    if (!pipelines)
        return pith_fail(err, -ENOMEM, "pipelines: out of memory");
    pipelines->daemon = daemon;
    pipelines->jobs_end = &pipelines->jobs;
    rc = lanes_open(&pipelines->lanes, daemon->loop, &options, err);
    if (rc < 0) {
        free(pipelines);
        return rc;
    }
    for (size_t i = 0; i < daemon->config->pipeline_count; i++)
        if (pipeline_open(pipelines, &daemon->config->pipelines[i], err) < 0)
            log_error("pipeline_not_opened", "pipeline=%s reason=\"%s\"",
                      daemon->config->pipelines[i].name, pith_error_text(err));
    *out = pipelines;
    return 0;
}

static bool same_value(const struct pith_option_value *a, const struct pith_option_value *b)
{
    if (a->integer != b->integer || a->number < b->number || a->number > b->number ||
        !a->text != !b->text || a->text_count != b->text_count ||
        (a->text && strcmp(a->text, b->text) != 0))
        return false;
    for (size_t i = 0; i < a->text_count; i++)
        if (strcmp(a->texts[i], b->texts[i]) != 0)
            return false;
    return true;
}

static bool same_config(const struct config_pipeline *a, const struct config_pipeline *b)
{
    if (strcmp(a->name, b->name) != 0 || strcmp(a->source, b->source) != 0 ||
        strcmp(a->model, b->model) != 0 || a->codec != b->codec || a->queue_count != b->queue_count)
        return false;
    for (size_t i = 0; a->codec->options && a->codec->options[i].name; i++)
        if (!same_value(&a->codec_options.values[i], &b->codec_options.values[i]))
            return false;
    return true;
}

/* What the config says of samples now; without memory for it the loop still drops what comes. */
static void tell_sampling(const struct instance *instance, const struct config *config)
{
    struct stream_message *message = calloc(1, sizeof *message);

    if (!message)
        return;
    message->lane.hold = LANE_HOLD_KEEP;
    message->kind = STREAM_SAMPLING;
    message->sample_every_ns = sample_every_ns(config);
    lane_stream_send(instance->lane, &message->lane);
}

void pipelines_reload(struct pipelines *pipelines, const struct config *config)
{
    struct pipeline *pipeline, *next;
    bool kept[CONFIG_MAX_PIPELINES] = {false};
    struct pith_error err = {0};

    for (pipeline = pipelines->list; pipeline; pipeline = next) {
        const struct config_pipeline *same = NULL;
        next = pipeline->next;
        for (size_t i = 0; i < config->pipeline_count && !same && !pipeline->closing; i++)
            if (same_config(pipeline->config, &config->pipelines[i])) {
                same = &config->pipelines[i];
                kept[i] = true;
            }
        pipeline->config = same; /* the old one is about to be freed; one that closes needs none */
        for (struct instance *instance = pipeline->instances; same && instance;
             instance = instance->next)
            if (!instance->closing)
                tell_sampling(instance, config);
        if (!same)
            pipeline_close(pipeline);
    }
    for (size_t i = 0; i < config->pipeline_count; i++)
        if (!kept[i] && pipeline_open(pipelines, &config->pipelines[i], &err) < 0)
            log_error("pipeline_not_opened", "pipeline=%s reason=\"%s\"", config->pipelines[i].name,
                      pith_error_text(&err));
}

static void lanes_closed(void *user)
{
    struct pipelines *pipelines = user;
    void (*closed)(void *user) = pipelines->closed;
    void *closed_user = pipelines->closed_user;

    while (pipelines->models) {
        struct model *next = pipelines->models->next;
        version_drop(pipelines->models->current);
        free(pipelines->models);
        pipelines->models = next;
    }
    free(pipelines);
    closed(closed_user);
}

void pipelines_close_if_done(struct pipelines *pipelines)
{
    if (!pipelines->closing || pipelines->list || pipelines->jobs || !pipelines->lanes)
        return;
    lanes_close(pipelines->lanes, lanes_closed, pipelines);
    pipelines->lanes = NULL;
}

void pipelines_close(struct pipelines *pipelines, void (*closed)(void *user), void *user)
{
    struct pipeline *pipeline, *next;

    if (!pipelines) {
        closed(user);
        return;
    }
    pipelines->closed = closed;
    pipelines->closed_user = user;
    for (pipeline = pipelines->list; pipeline; pipeline = next) {
        next = pipeline->next;
        pipeline_close(pipeline);
    }
    pipelines->closing = true;
    pipelines_cancel_jobs(pipelines);
    pipelines_close_if_done(pipelines);
}
