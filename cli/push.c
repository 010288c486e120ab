/* pith push: signs a model, brings it to the broker, and waits for what gateways say. */
#include "cli/broker.h"
#include "cli/folder.h"
#include "cli/output.h"
#include "cli/push_wait.h"
#include "cli/upload.h"

#include "libpith/base/json.h"
#include "libpith/model/envelope.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct push {
    struct broker_options broker_options;
    const char *to, *sign;
    bool json, everything, remove;
    int64_t generation, wait_ms;
    const char *model; /* the manifest's, or what is to be removed */
    const char *version;
    struct folder *folder; /* NULL for a removal */
    struct pith_signing_key *key;
    struct broker *broker;
    struct push_target target;
    struct upload_counts counts;
};

static int read_target(struct push *push, struct pith_error *err)
{
    const char *slash = strchr(push->to, '/');
    bool gateway = strncmp(push->to, "gw/", 3) == 0;

    if (!slash || (!gateway && strncmp(push->to, "group/", 6) != 0) || !pith_name_valid(slash + 1))
        return pith_fail(err, -EINVAL,
                         "--to %.80s: must be gw/NAME or group/NAME; a name is " PITH_NAME_RULE,
                         push->to);
    push->target.group = !gateway;
    push->target.name = slash + 1;
    return 0;
}

/* The signed document onto its retained topic: from here on gateways act. */
static int publish_desired(struct push *push, struct pith_error *err)
{
    struct pith_desired desired = {.generation = push->generation, .absent = push->remove};
    struct pith_buffer envelope = {0};
    char topic[TOPIC_BYTES];
    char *payload;
    int rc;

    (void) snprintf(desired.model, sizeof desired.model, "%s", push->model);
    if (!push->remove) {
        (void) snprintf(desired.version, sizeof desired.version, "%s", push->version);
        desired.manifest = push->folder->blobs[push->folder->blob_count - 1].blob;
    }
    payload = pith_desired_text(&desired);
    if (!payload)
        return pith_fail(err, -ENOMEM, "no memory for the desired document");
    rc = pith_envelope_seal(&envelope, "desired", payload, strlen(payload), push->key, err);
    free(payload);
    if (rc == 0)
        rc = broker_publish(
            push->broker,
            broker_topic(push->broker, topic, "%s/model/%s/desired", push->to, push->model),
            envelope.data, envelope.bytes, err);
    pith_buffer_done(&envelope);
    return rc < 0 ? rc : broker_flush(push->broker, err);
}

static int upload(struct push *push, struct pith_error *err)
{
    const struct pith_manifest *manifest = push->folder->manifest;
    char label[256], figure[FIGURE_BYTES];
    int64_t bytes = 0, chunks = 0;
    int rc;

    for (size_t i = 0; i < push->folder->blob_count; i++) {
        bytes += push->folder->blobs[i].blob.bytes;
        chunks += (push->folder->blobs[i].blob.bytes + PITH_CHUNK_BYTES - 1) / PITH_CHUNK_BYTES;
    }
    (void) snprintf(label, sizeof label, "%s %s  %zu graph%s, %s → %lld chunks", manifest->model,
                    manifest->version, manifest->graph_count, manifest->graph_count == 1 ? "" : "s",
                    figure_bytes((double) bytes, figure), (long long) chunks);
    rc = upload_blobs(push->broker, push->folder, push->everything, label, &push->counts, err);
    progress_end();
    if (rc == 0 && !push->json)
        printf("%s, %lld of them new\n", label, (long long) push->counts.sent_chunks);
    return rc;
}

static int do_push(struct push *push, const char *path, struct pith_error *err)
{
    int rc = pith_signing_key_open(&push->key, push->sign, err);

    if (rc == 0 && !push->remove)
        rc = folder_open(&push->folder, path, true, err);
    if (rc < 0)
        return rc;
    push->model = push->remove ? path : push->folder->manifest->model;
    push->version = push->remove ? "" : push->folder->manifest->version;
    rc = broker_open(&push->broker, &push->broker_options, err);
    if (rc == 0)
        broker_tell_version(push->broker);
    if (rc == 0 && push->folder)
        rc = upload(push, err);
    if (rc == 0)
        rc = push_target_learn(&push->target, push->broker, push->to, push->model, err);
    if (rc < 0)
        return rc;
    if (!push->generation)
        push->generation = push->target.newest_generation + 1;
    return publish_desired(push, err);
}

static void print_published(const struct push *push)
{
    json_t *published =
        json_pack("{ss ss sI sI sI}", "model", push->model, "version", push->version, "generation",
                  (json_int_t) push->generation, "chunk_count", (json_int_t) push->counts.chunks,
                  "sent_chunk_count", (json_int_t) push->counts.sent_chunks);

    print_json(published);
    json_decref(published);
}

static int run_push(const struct cli_command *command, int argc, char **argv)
{
    struct push push = {.wait_ms = 300000};
    const struct cli_option connection[] = {BROKER_OPTIONS(push.broker_options), {0}};
    const struct cli_option options[] = {
        {"to", CLI_TEXT, &push.to, "TARGET", "gw/NAME or group/NAME"},
        {"sign", CLI_TEXT, &push.sign, "KEY", "the private key that gateways trust (pith keygen)"},
        {"wait", CLI_SECONDS, &push.wait_ms, "SECONDS", "for the outcome; 0: don't (300)"},
        {"generation", CLI_INT, &push.generation, "NUMBER",
         "instead of one above the newest that is known", 1, INT64_MAX},
        {"upload-all", CLI_FLAG, &push.everything, NULL, "send chunks that the broker has too"},
        {"absent", CLI_FLAG, &push.remove, NULL, "DIR is a model's name; gateways should drop it"},
        {"json", CLI_FLAG, &push.json, NULL, "print JSON, one object a line"},
        {0}};
    struct cli_arguments arguments;
    struct pith_error err = {0};
    int code = cli_parse(command, (const struct cli_option *const[]){options, connection, NULL}, 1,
                         1, argc, argv, &arguments);

    if (code != CLI_GO_ON)
        return code;
    if (!push.to || !push.sign)
        return cli_usage(command, "--%s is missing", push.to ? "sign" : "to");
    if (push.remove && !pith_name_valid(arguments.given[0]))
        return cli_usage(command, "\"%.80s\" is no model's name", arguments.given[0]);
    if (broker_options_complete(&push.broker_options, &err) < 0 || read_target(&push, &err) < 0 ||
        do_push(&push, arguments.given[0], &err) < 0)
        code = cli_fail(&err);
    else {
        if (push.json)
            print_published(&push);
        code = push_wait(&push.target, push.broker, &push.broker_options, push.model,
                         push.generation, push.wait_ms, push.json);
    }
    push_target_done(&push.target);
    broker_close(push.broker);
    folder_close(push.folder);
    pith_signing_key_free(push.key);
    broker_options_done(&push.broker_options);
    return code;
}

const struct cli_command command_push = {
    .name = "push",
    .arguments = "DIR --to gw/NAME|group/NAME --sign KEY",
    .summary = "sign a model and bring it to gateways",
    .text = "DIR holds manifest.json, whose graphs and data are named by file: \"graphs\": "
            "{\"mel\": {\"file\": \"mel.onnx\"}}.\n"
            "Files are checked, compressed and uploaded to the broker in chunks, of which it gets "
            "those it lacks: after a cut,\n"
            "run the same command again. Then the signed document is published, and each gateway's "
            "outcome is shown.\n\n"
            "example: pith push wakeword/ --to group/kitchens --sign release.key --url "
            "mqtts://fleet.example.org --ca ca.pem",
    .run = run_push,
};
