/* Which chunks does a broker lack? MQTT has no question for that: one subscribes, and gets what
 * there is. Chunks are published in order over one connection, so a broker that has chunk n has
 * those before it; a binary search over n finds the end of what is there with few 64 KiB answers.
 * Should a probe be answered too late, its chunk is sent again, which does no harm. */
#include "cli/upload.h"

#include "cli/output.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PROBE_QUIET_MS 500 /* after the last answer the broker is taken to have no more */
#define PROBE_BATCH    16  /* probes under way: a MiB of answers */

struct probe { /* of one blob */
    const struct folder_blob *blob;
    int64_t count; /* of chunks */
    int64_t have;  /* chunks below it are there */
    int64_t lack;  /* this one and those after are not (as far as is known) */
    int64_t asked; /* the chunk that was asked for in this round; -1: none */
    bool answered;
};

static int64_t chunk_count(const struct folder_blob *blob)
{
    return (blob->blob.bytes + PITH_CHUNK_BYTES - 1) / PITH_CHUNK_BYTES;
}

static size_t chunk_bytes(const struct folder_blob *blob, int64_t chunk)
{
    int64_t left = blob->blob.bytes - chunk * PITH_CHUNK_BYTES;

    return (size_t) (left < PITH_CHUNK_BYTES ? left : PITH_CHUNK_BYTES);
}

static const char *chunk_topic(const struct broker *broker, char topic[TOPIC_BYTES],
                               const struct folder_blob *blob, int64_t chunk)
{
    return broker_topic(broker, topic, "blob/%s/%lld", blob->blob.sha256, (long long) chunk);
}

/* Marks the probe that this message answers, if its bytes are the right ones. */
static bool take_answer(const struct broker *broker, struct probe *probes, size_t count,
                        const struct broker_message *message)
{
    for (size_t i = 0; i < count; i++) {
        struct probe *probe = &probes[i];
        char topic[TOPIC_BYTES];

        if (probe->asked < 0 || probe->answered ||
            strcmp(chunk_topic(broker, topic, probe->blob, probe->asked), message->topic) != 0)
            continue;
        probe->answered =
            message->bytes == chunk_bytes(probe->blob, probe->asked) &&
            memcmp(message->payload, probe->blob->packed.data + probe->asked * PITH_CHUNK_BYTES,
                   message->bytes) == 0;
        return probe->answered;
    }
    return false;
}

/* Asks for each probe's chunk, and waits until all are answered or the broker is quiet. */
static int probe_round(struct broker *broker, struct probe *probes, size_t count,
                       struct pith_error *err)
{
    char topics[PROBE_BATCH][TOPIC_BYTES];
    const char *filters[PROBE_BATCH];
    size_t asked = 0, answered = 0;
    int rc;

    for (size_t i = 0; i < count; i++)
        if (probes[i].asked >= 0) {
            filters[asked] = chunk_topic(broker, topics[asked], probes[i].blob, probes[i].asked);
            asked++;
        }
    if (asked == 0)
        return 0;
    rc = broker_subscribe(broker, filters, asked, err);
    while (rc == 0 && answered < asked) {
        struct broker_message *message;

        rc = broker_next(broker, &message, PROBE_QUIET_MS, err);
        if (rc < 0)
            break;
        answered += take_answer(broker, probes, count, message);
        broker_message_free(message);
    }
    if (rc == -ETIMEDOUT)
        rc = 0;
    return rc < 0 ? rc : broker_unsubscribe(broker, filters, asked, err);
}

/* Finds `have` of up to PROBE_BATCH blobs: the first and the last chunk are asked for first, as
 * most blobs are there whole or not at all. */
static int probe_blobs(struct broker *broker, struct probe *probes, size_t count,
                       struct pith_error *err)
{
    bool more = true;

    for (int round = 0; more; round++) {
        int rc;

        more = false;
        for (size_t i = 0; i < count; i++) {
            struct probe *probe = &probes[i];

            probe->answered = false;
            probe->asked = -1;
            if (probe->have < probe->lack) {
                probe->asked = round == 0   ? probe->count - 1
                               : round == 1 ? 0
                                            : probe->have + (probe->lack - probe->have) / 2;
                more = true;
            }
        }
        rc = probe_round(broker, probes, count, err);
        if (rc < 0)
            return rc;
        for (size_t i = 0; i < count; i++) {
            struct probe *probe = &probes[i];

            if (probe->asked >= 0 && probe->answered && probe->asked + 1 > probe->have)
                probe->have = probe->asked + 1;
            else if (probe->asked >= 0 && !probe->answered && probe->asked < probe->lack)
                probe->lack = probe->asked;
        }
    }
    return 0;
}

static int send_missing(struct broker *broker, const struct probe *probe, const char *label,
                        int64_t total, struct upload_counts *counts, struct pith_error *err)
{
    for (int64_t chunk = probe->have; chunk < probe->count; chunk++) {
        char topic[TOPIC_BYTES];
        size_t bytes = chunk_bytes(probe->blob, chunk);
        int rc = broker_publish(broker, chunk_topic(broker, topic, probe->blob, chunk),
                                probe->blob->packed.data + chunk * PITH_CHUNK_BYTES, bytes, err);

        if (rc < 0)
            return rc;
        counts->sent_chunks++;
        counts->sent_bytes += (int64_t) bytes;
        progress_show(label, (double) ++counts->chunks / (double) total);
    }
    return 0;
}

int upload_blobs(struct broker *broker, const struct folder *folder, bool everything,
                 const char *label, struct upload_counts *out, struct pith_error *err)
{
    struct probe probes[FOLDER_MAX_BLOBS];
    struct upload_counts counts = {0};
    int64_t total = 0;
    int rc = 0;

    if (broker_max_packet_bytes(broker) < PITH_CHUNK_BYTES + TOPIC_BYTES)
        return pith_fail(
            err, -EPERM,
            "the broker takes messages of %u bytes at most; chunks are %d (max_packet_size)",
            broker_max_packet_bytes(broker), PITH_CHUNK_BYTES);
    for (size_t i = 0; i < folder->blob_count; i++) {
        probes[i] =
            (struct probe){.blob = &folder->blobs[i], .count = chunk_count(&folder->blobs[i])};
        probes[i].lack = probes[i].count;
        total += probes[i].count;
        counts.bytes += folder->blobs[i].blob.bytes;
    }
    for (size_t i = 0; i < folder->blob_count && !everything && rc == 0; i += PROBE_BATCH) {
        size_t left = folder->blob_count - i;

        rc = probe_blobs(broker, probes + i, left < PROBE_BATCH ? left : PROBE_BATCH, err);
    }
    for (size_t i = 0; i < folder->blob_count && rc == 0; i++) {
        counts.chunks += probes[i].have;
        progress_show(label, (double) counts.chunks / (double) total);
        rc = send_missing(broker, &probes[i], label, total, &counts, err);
    }
    if (rc == 0)
        rc = broker_flush(broker, err);
    *out = counts;
    return rc;
}
