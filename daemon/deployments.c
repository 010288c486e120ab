/* Desired documents come in here: who signed them, whether they are new, and what is done with
 * those that aren't. Also opening and closing of all that deployments are made of. */
#include "daemon/deployments.h"

#include "daemon/deployment.h"
#include "daemon/pipelines.h"
#include "libpith/base/file.h"
#include "libpith/base/json.h"
#include "libpith/base/log.h"
#include "libpith/model/envelope.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMER_MS    1000 /* reports that waited */
#define RETRY_TICKS 5    /* and changes that could not be written */

/* ---- models ---- */

struct model *deployments_find(struct deployments *deployments, const char *name)
{
    struct model *model = deployments->models;

    while (model && strcmp(model->name, name) != 0)
        model = model->next;
    return model;
}

struct model *deployments_add(struct deployments *deployments, const char *name)
{
    struct model *model = calloc(1, sizeof *model);

    if (!model)
        return NULL;
    model->owner = deployments;
    model->reported_state = STATE_COUNT;
    (void) snprintf(model->name, sizeof model->name, "%s", name);
    model->next = deployments->models;
    deployments->models = model;
    deployments->model_count++;
    return model;
}

static void model_free(struct model *model)
{
    struct deployment *deployment;

    while ((deployment = model->list)) {
        model->list = deployment->next;
        json_decref(deployment->result);
        free(deployment);
    }
    pith_manifest_free(model->manifest);
    free(model);
}

const char *deployment_path(const struct deployments *deployments, int64_t id, const char *rest,
                            char path[PATH_MAX])
{
    (void) snprintf(path, PATH_MAX, "%s/deployments/%lld%s%s", deployments->config->state_dir,
                    (long long) id, rest ? "/" : "", rest ? rest : "");
    return path;
}

/* ---- accepting ---- */

/* The new deployment is on disk, and what it superseded is over. */
static void accepted(struct model *model)
{
    model->wanted = false; /* what the old one wanted */
    model->refusal[0] = '\0';
    deployment_stop_work(model);
    deployment_entered(model, STATE_COUNT);
}

static void take(struct model *model, const struct pith_desired *desired, const char *sha256,
                 const char *signer)
{
    struct change *change = change_new(model);
    struct deployment *deployment = calloc(1, sizeof *deployment);

    if (!change || !deployment) {
        free(change);
        free(deployment);
        log_error("deployment_not_accepted", "model=%s generation=%lld reason=\"no memory\"",
                  model->name, (long long) desired->generation);
        return;
    }
    (void) snprintf(deployment->version, sizeof deployment->version, "%s", desired->version);
    (void) snprintf(deployment->signer, sizeof deployment->signer, "%s", signer);
    deployment->generation = desired->generation;
    deployment->manifest = desired->manifest;
    deployment->absent = desired->absent;
    deployment->attempt_count = 1;
    deployment->since_ms = change->now_ms;
    change->insert = change->newest = deployment;
    change->generation = desired->generation;
    memcpy(change->desired_sha256, sha256, sizeof change->desired_sha256);
    change_state(change, deployment, STATE_ACCEPTED, "signed by key %s", signer);
    if (model->newest && !state_is_final(model->newest->state))
        change_state(change, model->newest, STATE_SUPERSEDED, "generation %lld, version %s, came",
                     (long long) desired->generation, desired->absent ? "none" : desired->version);
    change->then = accepted;
    change_submit(change);
}

void deployment_accept_waiting(struct model *model)
{
    model->desired_waiting = false;
    if (model->desired.generation > model->generation)
        take(model, &model->desired, model->desired_waiting_sha256, model->desired_waiting_signer);
}

/* After the one that is being written; of several the newest. */
static void wait_for_change(struct model *model, const struct pith_desired *desired,
                            const char *sha256, const char *signer)
{
    if (model->desired_waiting && model->desired.generation >= desired->generation)
        return;
    model->desired_waiting = true;
    model->desired = *desired;
    (void) snprintf(model->desired_waiting_sha256, sizeof model->desired_waiting_sha256, "%s",
                    sha256);
    (void) snprintf(model->desired_waiting_signer, sizeof model->desired_waiting_signer, "%s",
                    signer);
}

static void desired_arrived(struct deployments *deployments, const struct pith_desired *desired,
                            const char *sha256, const char *signer)
{
    struct model *model = deployments_find(deployments, desired->model);
    char reason[PITH_ERROR_TEXT_BYTES];

    if (model && desired->generation < model->generation) {
        (void) snprintf(reason, sizeof reason,
                        "generation %lld is older than %lld, which this gateway has accepted: push "
                        "it again to give it a "
                        "new one",
                        (long long) desired->generation, (long long) model->generation);
        deployment_refused(deployments, model, desired->model, desired->generation, "replayed",
                           reason);
        return;
    }
    if (model && desired->generation == model->generation) {
        if (strcmp(sha256, model->desired_sha256) != 0) {
            (void) snprintf(reason, sizeof reason,
                            "generation %lld has come before with other content: somebody signs "
                            "two documents with one "
                            "number",
                            (long long) desired->generation);
            deployment_refused(deployments, model, desired->model, desired->generation,
                               "equivocation", reason);
        } else if (!model->newest &&
                   !model->change) { /* known from the guard alone: the database was lost */
            take(model, desired, sha256, signer);
        } else {
            deployment_report(model);
        }
        return;
    }
    if (!model && deployments->model_count >= DEPLOYMENT_MODELS_MAX) {
        (void) snprintf(reason, sizeof reason,
                        "this gateway has %d models already: remove one (pith push --absent)",
                        DEPLOYMENT_MODELS_MAX);
        deployment_refused(deployments, NULL, desired->model, desired->generation, "too-many",
                           reason);
        return;
    }
    if (!model)
        model = deployments_add(deployments, desired->model);
    if (!model)
        log_error("deployment_not_accepted", "model=%s reason=\"no memory\"", desired->model);
    else if (model->change)
        wait_for_change(model, desired, sha256, signer);
    else
        take(model, desired, sha256, signer);
}

/* The model's name in ".../model/<model>/desired". */
static int model_of_topic(const char *topic, char name[PITH_NAME_BYTES])
{
    static const char ending[] = "/desired", before[] = "/model/";
    size_t length = strlen(topic);
    const char *end, *start;

    if (length < sizeof ending)
        return -EINVAL;
    end = topic + length - (sizeof ending - 1);
    for (start = end; start > topic && start[-1] != '/'; start--)
        ;
    if (strcmp(end, ending) != 0 || end - start >= PITH_NAME_BYTES ||
        start - topic < (int) sizeof before - 1 ||
        strncmp(start - (sizeof before - 1), before, sizeof before - 1) != 0)
        return -EINVAL;
    (void) snprintf(name, PITH_NAME_BYTES, "%.*s", (int) (end - start), start);
    return pith_name_valid(name) ? 0 : -EINVAL;
}

static int read_desired(const struct config *config, const struct mqtt_message *message,
                        const char *name, struct pith_desired *out,
                        char sha256[PITH_SHA256_HEX + 1], char signer[17], struct pith_error *err)
{
    struct pith_buffer payload = {0};
    uint8_t digest[PITH_SHA256_BYTES];
    int rc = pith_envelope_open(&payload, signer, "desired", message->payload, message->bytes,
                                config->trust, config->trust_count, err);

    if (rc == 0)
        rc = pith_desired_parse(out, payload.data, payload.bytes, err);
    if (rc == 0 && strcmp(out->model, name) != 0)
        rc = pith_fail(err, -EBADMSG, "the document is of model %s, and was published as one of %s",
                       out->model, name);
    if (rc == 0 && !out->absent && out->manifest.bytes > PITH_MANIFEST_MAX_BYTES)
        rc = pith_fail(err, -EBADMSG, "its manifest is %lld bytes, and %d is the most",
                       (long long) out->manifest.bytes, PITH_MANIFEST_MAX_BYTES);
    if (rc == 0)
        rc = pith_sha256(payload.data, payload.bytes, digest);
    if (rc == 0)
        pith_hex_encode(sha256, digest, sizeof digest);
    pith_buffer_done(&payload);
    return rc;
}

/* What a document that nobody trusts says of itself, so that whoever pushed it can tell which one
 * was refused. 0: nothing that can be read. */
static int64_t claimed_generation(const struct mqtt_message *message)
{
    struct pith_buffer payload = {0};
    struct pith_desired desired = {.generation = 0};
    json_t *envelope = NULL;
    const char *text;

    if (pith_json_parse(&envelope, message->payload, message->bytes, PITH_ENVELOPE_MAX_BYTES,
                        "envelope", NULL) == 0 &&
        pith_json_string(envelope, "envelope", "payload", &text, NULL) == 0 &&
        pith_base64_decode(&payload, text, strlen(text)) == 0 &&
        pith_desired_parse(&desired, payload.data, payload.bytes, NULL) < 0)
        desired.generation = 0;
    pith_buffer_done(&payload);
    json_decref(envelope);
    return desired.generation;
}

static void on_desired(void *user, const struct mqtt_message *message)
{
    struct deployments *deployments = user;
    char name[PITH_NAME_BYTES], sha256[PITH_SHA256_HEX + 1], signer[17] = "", quoted[256];
    struct pith_desired desired;
    struct pith_error err = {0};
    int rc;

    if (deployments->closing || message->bytes == 0)
        return; /* a retained document that was cleared says nothing: `absent` removes a model */
    if (model_of_topic(message->topic, name) < 0) {
        log_warn("deployment_refused", "topic=%s kind=name reason=\"it names no model: %s\"",
                 pith_log_quote(message->topic, quoted, sizeof quoted), PITH_NAME_RULE);
        return;
    }
    rc = read_desired(deployments->config, message, name, &desired, sha256, signer, &err);
    if (rc < 0)
        deployment_refused(deployments, deployments_find(deployments, name), name,
                           claimed_generation(message),
                           rc == -EKEYREJECTED ? "untrusted" : "invalid", pith_error_text(&err));
    else
        desired_arrived(deployments, &desired, sha256, signer);
}

/* ---- subscriptions ---- */

static int subscribe_one(struct deployments *deployments, const char *filter,
                         struct pith_error *err)
{
    char *copy = strdup(filter);
    int rc = copy ? mqtt_subscribe(deployments->daemon->fleet, copy, 1, false, on_desired,
                                   deployments, err)
                  : -ENOMEM;

    if (rc < 0)
        free(copy);
    else
        deployments->filters[deployments->filter_count++] = copy;
    return rc;
}

static void group_filter(const struct config *config, size_t group, char filter[DAEMON_TOPIC_BYTES])
{
    (void) snprintf(filter, DAEMON_TOPIC_BYTES, "%s/group/%s/model/+/desired", config->topic_root,
                    config->groups[group]);
}

static bool has_filter(const struct deployments *deployments, const char *filter)
{
    size_t i;

    for (i = 0; i < deployments->filter_count; i++)
        if (strcmp(deployments->filters[i], filter) == 0)
            return true;
    return false;
}

/* Filters that the config does not name any more are left, but for the first, which is our own. */
static void leave_groups(struct deployments *deployments, const struct config *config)
{
    char filter[DAEMON_TOPIC_BYTES];
    size_t i = 1, group;

    while (i < deployments->filter_count) {
        bool named = false;

        for (group = 0; group < config->group_count && !named; group++) {
            group_filter(config, group, filter);
            named = strcmp(filter, deployments->filters[i]) == 0;
        }
        if (named) {
            i++;
            continue;
        }
        mqtt_unsubscribe(deployments->daemon->fleet, deployments->filters[i], on_desired,
                         deployments);
        free(deployments->filters[i]);
        deployments->filters[i] = deployments->filters[--deployments->filter_count];
    }
}

static int join_groups(struct deployments *deployments, const struct config *config,
                       struct pith_error *err)
{
    char filter[DAEMON_TOPIC_BYTES];
    size_t group;
    int rc = 0;

    for (group = 0; rc == 0 && group < config->group_count; group++) {
        group_filter(config, group, filter);
        if (!has_filter(deployments, filter))
            rc = subscribe_one(deployments, filter, err);
    }
    return rc;
}

static void leave_all(struct deployments *deployments)
{
    while (deployments->filter_count > 0) {
        char *filter = deployments->filters[--deployments->filter_count];

        mqtt_unsubscribe(deployments->daemon->fleet, filter, on_desired, deployments);
        free(filter);
    }
}

int deployments_reload(struct deployments *deployments, const struct config *config,
                       struct pith_error *err)
{
    int rc;

    leave_groups(deployments, config); /* first, so that the list has room */
    rc = join_groups(deployments, config, err);
    if (rc < 0)
        return rc;
    deployments->config = config;
    for (struct model *model = deployments->models; model; model = model->next)
        if (config->compression.keep_samples_count == 0 && model->holds_samples)
            deployment_forget_samples(model);
    return 0;
}

void deployments_connected(struct deployments *deployments, bool session_present)
{
    struct model *model;

    (void) session_present; /* a broker that lost its retained messages looks the same */
    for (model = deployments->models; model; model = model->next) {
        model->report_due = true;
        deployment_report_due(model);
    }
}

/* ---- open and close ---- */

static void on_timer(uv_timer_t *timer)
{
    struct deployments *deployments = timer->data;
    struct model *model;

    deployments->ticks++;
    for (model = deployments->models; model; model = model->next) {
        if (mqtt_is_connected(deployments->daemon->fleet))
            deployment_report_due(model);
        if (deployments->ticks % RETRY_TICKS == 0)
            change_retry(model);
    }
    deployments_watch_timer(deployments);
}

/* The timer runs only while something waits for it: an idle daemon sleeps. */
void deployments_watch_timer(struct deployments *deployments)
{
    const struct model *model;
    bool needed = false;

    for (model = deployments->models; model && !needed; model = model->next)
        needed = model->report_due || (model->change && model->change->told);
    if (!needed || deployments->closing)
        (void) uv_timer_stop(&deployments->timer);
    else if (!uv_is_active((uv_handle_t *) &deployments->timer))
        (void) uv_timer_start(&deployments->timer, on_timer, TIMER_MS, TIMER_MS);
}

/* A version whose start took the daemon down again and again gives way to the one before. */
static int count_trial(struct model *model, struct pith_error *err)
{
    struct change *change;

    if (!model->active || model->trial_count == 0)
        return 0;
    change = change_new(model);
    if (!change)
        return -ENOMEM;
    if (model->trial_count < DEPLOYMENT_TRIALS || !model->previous) {
        change->trial_count++;
        return change_now(change, err);
    }
    change_state(change, model->active, STATE_ROLLED_BACK,
                 "pithd ended %lld times while it began to serve this version",
                 (long long) model->trial_count);
    change_state(change, model->previous, STATE_ACTIVE, "serves again");
    change->active = model->previous;
    change->previous = NULL;
    change->trial_count = 1;
    return change_now(change, err);
}

static int start_models(struct deployments *deployments, struct pith_error *err)
{
    struct model *model;
    int rc = 0;

    for (model = deployments->models; model && rc == 0; model = model->next)
        rc = count_trial(model, err);
    if (rc < 0)
        return rc;
    for (model = deployments->models; model; model = model->next)
        if (model->active)
            deployment_serve(model);
    for (model = deployments->models; model; model = model->next)
        if (model->newest && !model->change)
            deployment_resume(model);
    return 0;
}

static int open_folders(struct deployments *deployments, struct pith_error *err)
{
    char path[PATH_MAX];
    int rc;

    (void) snprintf(path, sizeof path, "%s/deployments", deployments->config->state_dir);
    rc = pith_mkdirs(path, 0700, err);
    (void) snprintf(path, sizeof path, "%s/blobs", deployments->config->state_dir);
    if (rc == 0)
        rc = pith_store_open(&deployments->store, path, err);
    return rc;
}

static void free_all(struct deployments *deployments)
{
    struct model *model;

    while ((model = deployments->models)) {
        deployments->models = model->next;
        model_free(model);
    }
    pith_store_close(deployments->store);
    free(deployments);
}

static void timer_closed(uv_handle_t *handle)
{
    struct deployments *deployments = handle->data;
    void (*closed)(void *) = deployments->closed;
    void *user = deployments->closed_user;

    free_all(deployments);
    if (closed)
        closed(user);
}

static void close_when_idle(struct deployments *deployments)
{
    if (deployments->closing && deployments->busy == 0 &&
        !uv_is_closing((uv_handle_t *) &deployments->timer))
        uv_close((uv_handle_t *) &deployments->timer, timer_closed);
}

void deployments_begin_busy(struct deployments *deployments)
{
    deployments->busy++;
}

void deployments_end_busy(void *user)
{
    struct deployments *deployments = user;

    deployments->busy--;
    close_when_idle(deployments);
}

int deployments_open(struct deployments **out, struct daemon *daemon, struct pith_error *err)
{
    struct deployments *deployments = calloc(1, sizeof *deployments);
    char filter[DAEMON_TOPIC_BYTES];
    int rc;

    if (!deployments)
        return -ENOMEM;
    deployments->daemon = daemon;
    deployments->config = daemon->config;
    deployments->opening = true;
    (void) uv_timer_init(daemon->loop, &deployments->timer);
    deployments->timer.data = deployments;
    rc = open_folders(deployments, err);
    if (rc == 0)
        rc = deployments_load(deployments, err);
    if (rc == 0)
        rc = subscribe_one(deployments,
                           daemon_topic(daemon, filter, sizeof filter, "model/+/desired"), err);
    if (rc == 0)
        rc = join_groups(deployments, daemon->config, err);
    if (rc == 0)
        rc = start_models(deployments, err);
    if (rc < 0) {
        deployments_close(deployments, NULL, NULL);
        return rc;
    }
    deployments->opening = false;
    disk_clear(deployments); /* what a kill left behind, where nothing goes on */
    *out = deployments;
    return 0;
}

void deployments_close(struct deployments *deployments, void (*closed)(void *user), void *user)
{
    struct model *model;

    if (!deployments) {
        if (closed)
            closed(user);
        return;
    }
    deployments->closing = true;
    deployments->closed = closed;
    deployments->closed_user = user;
    leave_all(deployments);
    (void) uv_timer_stop(&deployments->timer);
    for (model = deployments->models; model; model = model->next) {
        deployment_stop_work(model);
        change_give_up(model);
    }
    close_when_idle(deployments);
}
