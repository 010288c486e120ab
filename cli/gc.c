/* pith gc: clears chunks from the broker that no desired document names any more. */
#include "cli/broker.h"
#include "cli/output.h"

#include "libpith/base/json.h"
#include "libpith/model/envelope.h"
#include "libpith/model/manifest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUIET_MS      1000
#define MAX_DOCUMENTS 100000 /* desired documents and blobs on one broker */

struct names { /* of blobs: hex digests */
    char (*list)[PITH_SHA256_HEX + 1];
    size_t count, capacity;
};

struct gc {
    struct broker *broker;
    struct names live, found;
    size_t documents;
    int64_t removed_chunks;
};

static bool has_name(const struct names *names, const char *sha256)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->list[i], sha256) == 0)
            return true;
    return false;
}

static int add_name(struct names *names, const char *sha256, struct pith_error *err)
{
    if (has_name(names, sha256))
        return 0;
    if (names->count == names->capacity) {
        size_t capacity = names->capacity ? names->capacity * 2 : 64;
        void *list =
            capacity > MAX_DOCUMENTS ? NULL : realloc(names->list, capacity * sizeof *names->list);

        if (!list)
            return pith_fail(err, -ENOMEM, "no memory for so many blobs");
        names->list = list;
        names->capacity = capacity;
    }
    (void) snprintf(names->list[names->count++], sizeof *names->list, "%.64s", sha256);
    return 0;
}

/* Hands each message that the filters bring to `take`, until the broker is quiet. */
static int collect(struct gc *gc, const char *const *filters, size_t count,
                   int (*take)(struct gc *gc, const struct broker_message *message, void *user,
                               struct pith_error *err),
                   void *user, struct pith_error *err)
{
    int rc = broker_subscribe(gc->broker, filters, count, err);

    while (rc == 0) {
        struct broker_message *message;

        rc = broker_next(gc->broker, &message, QUIET_MS, err);
        if (rc == -ETIMEDOUT)
            return broker_unsubscribe(gc->broker, filters, count, err);
        if (rc == 0) {
            rc = message->bytes ? take(gc, message, user, err) : 0;
            broker_message_free(message);
        }
    }
    return rc;
}

static int take_chunk(struct gc *gc, const struct broker_message *message, void *user,
                      struct pith_error *err)
{
    struct pith_buffer *out = user;

    (void) gc;
    pith_buffer_append(out, message->payload, message->bytes);
    return out->failed ? pith_fail(err, -ENOMEM, "no memory for a manifest") : 0;
}

/* A manifest out of its chunks. */
static int read_blob(struct gc *gc, const struct pith_blob *blob, struct pith_buffer *out,
                     struct pith_error *err)
{
    int64_t count = (blob->bytes + PITH_CHUNK_BYTES - 1) / PITH_CHUNK_BYTES;
    uint8_t digest[PITH_SHA256_BYTES];
    char hex[PITH_SHA256_HEX + 1] = "";
    int rc = 0;

    for (int64_t chunk = 0; chunk < count && rc == 0; chunk++) {
        char topic[TOPIC_BYTES];
        const char *filter =
            broker_topic(gc->broker, topic, "blob/%s/%lld", blob->sha256, (long long) chunk);

        rc = collect(gc, &filter, 1, take_chunk, out, err);
    }
    if (rc == 0 && pith_sha256(out->data, out->bytes, digest) == 0)
        pith_hex_encode(hex, digest, sizeof digest);
    if (rc == 0 && strcmp(hex, blob->sha256) != 0)
        rc = pith_fail(err, -EBADMSG, "the broker's copy of manifest %.16s... is not whole",
                       blob->sha256);
    return rc;
}

static int add_manifest(struct gc *gc, const struct pith_blob *blob, struct pith_error *err)
{
    struct pith_manifest *manifest = NULL;
    struct pith_buffer text = {0};
    int rc;

    if (has_name(&gc->live, blob->sha256))
        return 0;
    rc = read_blob(gc, blob, &text, err);
    if (rc == 0)
        rc = pith_manifest_parse(&manifest, text.data, text.bytes, err);
    if (rc == 0)
        rc = add_name(&gc->live, blob->sha256, err);
    for (size_t i = 0; rc == 0 && i < manifest->graph_count; i++)
        rc = add_name(&gc->live, manifest->graphs[i].blob.sha256, err);
    if (rc == 0) {
        const struct pith_model_data *const sets[] = {&manifest->calibration,
                                                      &manifest->validation};

        for (size_t i = 0; i < 2 && rc == 0; i++) {
            if (sets[i]->present)
                rc = add_name(&gc->live, sets[i]->x.sha256, err);
            if (rc == 0 && sets[i]->labelled)
                rc = add_name(&gc->live, sets[i]->y.sha256, err);
        }
    }
    pith_manifest_free(manifest);
    pith_buffer_done(&text);
    return rc;
}

struct desired_list {
    struct pith_desired *list;
    size_t count;
};

/* A desired document, whoever signed it: what a stranger wants kept is kept. */
static int take_desired(struct gc *gc, const struct broker_message *message, void *user,
                        struct pith_error *err)
{
    struct desired_list *desired = user;
    struct pith_buffer payload = {0};
    json_t *envelope = NULL;
    const char *text;
    void *list = realloc(desired->list, (desired->count + 1) * sizeof *desired->list);
    int rc = list ? 0 : pith_fail(err, -ENOMEM, "no memory for so many documents");

    if (list)
        desired->list = list;
    if (rc == 0)
        rc = pith_json_parse(&envelope, message->payload, message->bytes, PITH_ENVELOPE_MAX_BYTES,
                             "desired", err);
    text = json_string_value(json_object_get(envelope, "payload"));
    if (rc == 0 && (!text || pith_base64_decode(&payload, text, strlen(text)) < 0))
        rc = pith_fail(err, -EBADMSG, "it is no envelope");
    if (rc == 0)
        rc = pith_desired_parse(&desired->list[desired->count], payload.data, payload.bytes, err);
    if (rc == 0)
        desired->count++;
    pith_buffer_done(&payload);
    json_decref(envelope);
    gc->documents++;
    if (rc < 0)
        return pith_fail_in(
            err, rc,
            "%s can't be read, so nothing is removed; clear that topic or push the model again",
            message->topic);
    return 0;
}

static int find_live(struct gc *gc, struct pith_error *err)
{
    char topics[2][TOPIC_BYTES];
    const char *filters[] = {broker_topic(gc->broker, topics[0], "gw/+/model/+/desired"),
                             broker_topic(gc->broker, topics[1], "group/+/model/+/desired")};
    struct desired_list desired = {0};
    int rc = collect(gc, filters, 2, take_desired, &desired, err);

    for (size_t i = 0; i < desired.count && rc == 0; i++)
        if (!desired.list[i].absent) {
            rc = add_manifest(gc, &desired.list[i].manifest, err);
            if (rc < 0)
                rc = pith_fail_in(err, rc, "model %s %s: nothing is removed", desired.list[i].model,
                                  desired.list[i].version);
        }
    free(desired.list);
    return rc;
}

static int take_found(struct gc *gc, const struct broker_message *message, void *user,
                      struct pith_error *err)
{
    char sha256[PITH_SHA256_HEX + 2];

    (void) user;
    if (!topic_level(gc->broker, message->topic, 1, sha256, sizeof sha256) ||
        !pith_sha256_is_hex(sha256))
        return 0; /* not ours */
    return add_name(&gc->found, sha256, err);
}

static int take_last(struct gc *gc, const struct broker_message *message, void *user,
                     struct pith_error *err)
{
    int64_t *last = user;
    char number[24];
    char *end;
    long long chunk;

    (void) err;
    if (!topic_level(gc->broker, message->topic, 2, number, sizeof number))
        return 0;
    chunk = strtoll(number, &end, 10);
    if (!*end && end != number && chunk > *last && chunk <= PITH_BLOB_MAX_BYTES / PITH_CHUNK_BYTES)
        *last = chunk;
    return 0;
}

/* From the last chunk to the first, so that one that is broken off leaves what an upload can go on
 * from. */
static int remove_blob(struct gc *gc, const char *sha256, bool dry, struct pith_error *err)
{
    char topic[TOPIC_BYTES];
    const char *filter = broker_topic(gc->broker, topic, "blob/%s/+", sha256);
    int64_t last = -1;
    int rc = collect(gc, &filter, 1, take_last, &last, err);

    for (int64_t chunk = last; chunk >= 0 && rc == 0 && !dry; chunk--)
        rc = broker_publish(
            gc->broker, broker_topic(gc->broker, topic, "blob/%s/%lld", sha256, (long long) chunk),
            "", 0, err);
    gc->removed_chunks += last + 1;
    return rc < 0 ? rc : broker_flush(gc->broker, err);
}

static int collect_garbage(struct gc *gc, bool dry, size_t *out_removed, struct pith_error *err)
{
    char topic[TOPIC_BYTES];
    const char *filter = broker_topic(gc->broker, topic, "blob/+/0"); /* one answer a blob */
    size_t removed = 0;
    int rc;

    if (!dry)
        broker_tell_version(gc->broker);
    rc = find_live(gc, err);
    if (rc == 0)
        rc = collect(gc, &filter, 1, take_found, NULL, err);
    for (size_t i = 0; i < gc->found.count && rc == 0; i++) {
        if (has_name(&gc->live, gc->found.list[i]))
            continue;
        rc = remove_blob(gc, gc->found.list[i], dry, err);
        removed += rc == 0;
    }
    *out_removed = removed;
    return rc;
}

static int run_gc(const struct cli_command *command, int argc, char **argv)
{
    struct broker_options broker_options = {0};
    bool json = false, dry = false;
    const struct cli_option connection[] = {BROKER_OPTIONS(broker_options), {0}};
    const struct cli_option options[] = {
        {"dry-run", CLI_FLAG, &dry, NULL, "say what would be removed"},
        {"json", CLI_FLAG, &json, NULL, "print JSON"},
        {0}};
    struct cli_arguments arguments;
    struct gc gc = {.documents = 0};
    struct pith_error err = {0};
    size_t removed = 0;
    int code = cli_parse(command, (const struct cli_option *const[]){options, connection, NULL}, 0,
                         0, argc, argv, &arguments);

    if (code != CLI_GO_ON)
        return code;
    if (broker_options_complete(&broker_options, &err) < 0 ||
        broker_open(&gc.broker, &broker_options, &err) < 0 ||
        collect_garbage(&gc, dry, &removed, &err) < 0) {
        code = cli_fail(&err);
    } else {
        printf(json ? "{\"documents\":%zu,\"blobs\":%zu,\"removed_blobs\":%zu,\"removed_chunks\":%"
                      "lld,\"dry_run\":%s}\n"
                    : "%zu documents, %zu blobs; %zu blobs in %lld chunks %s\n",
               gc.documents, gc.found.count, removed, (long long) gc.removed_chunks,
               json ? (dry ? "true" : "false") : (dry ? "would be removed" : "removed"));
        code = CLI_OK;
    }
    free(gc.live.list);
    free(gc.found.list);
    broker_close(gc.broker);
    broker_options_done(&broker_options);
    return code;
}

const struct cli_command command_gc = {
    .name = "gc",
    .arguments = "[--dry-run]",
    .summary = "clear blobs from the broker that no model needs",
    .text = "A blob stays as long as a desired document names it through its manifest. Don't run "
            "it while a push is under way:\n"
            "what that uploaded is named only at its end.\n\n"
            "example: pith gc --dry-run",
    .run = run_gc,
};
