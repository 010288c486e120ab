/* A payload from codec to result, on a lane's thread: see stream.h. */
#include "daemon/stream.h"

#include "daemon/recents.h"
#include "daemon/sampler.h"
#include "daemon/shadow.h"
#include "libpith/base/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUIET_PAYLOADS 32 /* payloads without a result that are told together */

struct stream {
    const struct pith_codec_ops *codec_ops;
    struct pith_codec *codec;
    struct lane_stream *lane;
    void *owner;
    struct pith_chain *chain; /* NULL: nothing to run */
    struct version *version;
    struct thread_meter *meter; /* NULL: energy per thread is unknown */
    struct shadow *shadow;
    struct recents recents;
    struct sampler sampler;
    char id_prefix[16];
    uint64_t sequence;
    /* The payload under way: */
    const struct lane_payload *payload;
    uint64_t started_ns;
    uint64_t energy_from_uj; /* UINT64_MAX: unknown */
    struct stream_event batch;
    struct pith_error *err;
};

int stream_open(struct stream **out, const struct stream_options *options,
                struct pith_codec_stream *out_stream, struct pith_error *err)
{
    struct stream *stream = calloc(1, sizeof *stream);
    static const struct pith_host no_host = {.size_bytes = sizeof no_host};
    int rc;

    if (!stream)
        return pith_fail(err, -ENOMEM, "pipeline: out of memory");
    stream->shadow = shadow_new(options->shadow_ratio);
    if (!stream->shadow) {
        free(stream);
        return pith_fail(err, -ENOMEM, "pipeline: out of memory");
    }
    sampler_set(&stream->sampler, options->sample_every_ns);
    stream->codec_ops = options->codec->ops;
    rc = stream->codec_ops->open(&no_host, options->codec_values, &stream->codec, out_stream, err);
    if (rc < 0) {
        stream_close(stream);
        return rc;
    }
    stream->meter = thread_meter_open(options->meters);
    (void) snprintf(stream->id_prefix, sizeof stream->id_prefix, "%s", options->id_prefix);
    *out = stream;
    return 0;
}

void stream_attach(struct stream *stream, struct lane_stream *lane, void *owner)
{
    stream->lane = lane;
    stream->owner = owner;
}

void *stream_owner(const struct stream *stream)
{
    return stream->owner;
}

void stream_close(struct stream *stream)
{
    if (!stream)
        return;
    if (stream->codec)
        stream->codec_ops->close(stream->codec);
    thread_meter_close(stream->meter);
    shadow_free(stream->shadow);
    sampler_done(&stream->sampler);
    free(stream);
}

static void post(struct stream *stream, struct stream_event *event)
{
    event->version = stream->version;
    lane_post_on_lane(stream->lane, event, sizeof *event);
}

/* ---- results ---- */

/* The greatest scores, in falling order, for a result that names at most STREAM_MAX_SCORES of them.
 */
static size_t greatest_scores(struct stream_score *out, const struct pith_result *result)
{
    size_t count = 0;

    for (size_t i = 0; i < result->score_count; i++) {
        size_t at = count < STREAM_MAX_SCORES ? count++ : STREAM_MAX_SCORES - 1;
        if (count == STREAM_MAX_SCORES && at == STREAM_MAX_SCORES - 1 && i >= STREAM_MAX_SCORES &&
            out[at].score >= result->scores[i].score)
            continue;
        for (; at > 0 && out[at - 1].score < result->scores[i].score; at--)
            out[at] = out[at - 1];
        out[at] = (struct stream_score){result->scores[i].label, result->scores[i].score};
    }
    return count;
}

static void post_result(struct stream *stream, const struct pith_result *result)
{
    struct stream_event event = {.kind = STREAM_RESULT};
    const char *fired = result->fired >= 0 ? result->scores[result->fired].label : NULL;
    struct recent recent = {
        .sequence = ++stream->sequence,
        .row = result->row,
        .at_ns = pith_monotonic_ns(),
        .label = recents_label(fired),
    };

    recents_add(&stream->recents, &recent);
    (void) snprintf(event.result.id, sizeof event.result.id, "%s-%" PRIu64, stream->id_prefix,
                    recent.sequence);
    event.result.score_count = greatest_scores(event.result.scores, result);
    event.result.fired = -1;
    for (size_t i = 0; fired && i < event.result.score_count; i++)
        if (event.result.scores[i].label == fired)
            event.result.fired = (int32_t) i;
    if (fired && event.result.fired < 0) { /* held-off labels may rank before it */
        event.result.fired = STREAM_MAX_SCORES - 1;
        event.result.scores[STREAM_MAX_SCORES - 1] =
            (struct stream_score){fired, result->scores[result->fired].score};
    }
    event.result.wall_ms = pith_wall_ms();
    event.result.latency_ns = result->latency_ns;
    event.result.wait_ns = stream->started_ns - stream->payload->arrived_ns;
    post(stream, &event);
}

static uint64_t read_energy(struct stream *stream)
{
    return thread_meter_read_on_thread(stream->meter, &stream->batch.batch.energy_source);
}

/* What the thread's meter counted since it was last read goes to the batch. */
static void add_energy(struct stream *stream)
{
    uint64_t now_uj = read_energy(stream);

    if (now_uj == UINT64_MAX || stream->energy_from_uj == UINT64_MAX)
        stream->batch.batch.energy_uj = UINT64_MAX;
    else if (stream->batch.batch.energy_uj != UINT64_MAX)
        stream->batch.batch.energy_uj += now_uj - stream->energy_from_uj;
    stream->energy_from_uj = now_uj;
}

static void post_batch(struct stream *stream)
{
    post(stream, &stream->batch);
    stream->batch = (struct stream_event){.kind = STREAM_BATCH};
}

static int on_result(void *user, const struct pith_result *result)
{
    struct stream *stream = user;
    uint64_t latency_us = result->latency_ns / 1000;

    if (stream->batch.batch.inference_count == STREAM_BATCH_COUNT) {
        add_energy(stream);
        post_batch(stream);
    }
    stream->batch.batch.latency_us[stream->batch.batch.inference_count++] =
        latency_us < UINT32_MAX ? (uint32_t) latency_us : UINT32_MAX;
    stream->batch.batch.cpu_ns += result->cpu_ns;
    stream->batch.batch.fired_count += result->fired >= 0;
    shadow_result(stream->shadow, result);
    sampler_result(&stream->sampler, result->row, result->own);
    if (result->fired >= 0 || stream->version->every)
        post_result(stream, result);
    return 0;
}

/* ---- payloads ---- */

static int on_rows(void *user, const struct pith_tensor *rows)
{
    struct stream *stream = user;
    struct stream_event sample = {.kind = STREAM_SAMPLE};
    int rc;

    if (shadow_begin(stream->shadow, stream->chain)) {
        struct stream_event event = {.kind = STREAM_ORIGINAL_WANTED};
        post(stream, &event);
    }
    shadow_rows(stream->shadow, rows);
    rc = pith_chain_feed(stream->chain, rows, on_result, stream, stream->err);
    if (rc < 0) {
        shadow_spoil(stream->shadow);
        sampler_spoil(&stream->sampler);
    } else if (sampler_rows(&stream->sampler, rows, stream->started_ns, &sample.sample.rows)) {
        post(stream, &sample);
    }
    return rc;
}

static void refuse(struct stream *stream, int rc, const struct pith_error *err)
{
    struct stream_event event = {.kind = STREAM_REFUSED};

    (void) snprintf(event.refused.reason, sizeof event.refused.reason, "%.399s",
                    err->text[0] ? err->text : strerror(-rc));
    post(stream, &event);
}

static void payload_on_lane(void *user, const struct lane_payload *payload)
{
    struct stream *stream = user;
    struct pith_error err = {0};
    int rc;

    stream->payload = payload;
    stream->started_ns = pith_monotonic_ns();
    stream->err = &err;
    stream->batch.kind = STREAM_BATCH;
    stream->energy_from_uj = read_energy(stream);
    rc = stream->codec_ops->feed(stream->codec, payload->data, payload->bytes, on_rows, stream,
                                 &err);
    if (rc < 0)
        refuse(stream, rc, &err);
    else
        stream->batch.batch.payload_count++;
    add_energy(stream);
    if (stream->batch.batch.inference_count > 0 ||
        stream->batch.batch.payload_count >= QUIET_PAYLOADS)
        post_batch(stream);
}

/* ---- messages ---- */

static void swap(struct stream *stream, struct stream_message *message)
{
    struct stream_event event = {.kind = STREAM_SWAPPED};
    struct pith_error err = {0};

    /* Another version's stages may differ; then its windows begin empty, and rows are counted anew.
     */
    bool continues = stream->chain && message->chain &&
                     pith_chain_take_state(message->chain, stream->chain, &err) == 0;

    if (message->version)
        recents_begin_run(&stream->recents, message->version->name, message->version->variant,
                          continues);
    if (stream->batch.batch.payload_count > 0)
        post_batch(stream);
    event.swapped.chain = stream->chain;
    event.swapped.old_version = stream->version;
    event.swapped.original =
        shadow_restart(stream->shadow, message->version && version_has_original(message->version));
    event.swapped.user = message->user;
    stream->chain = message->chain;
    stream->version = message->version;
    sampler_begin_version(&stream->sampler, stream->chain ? pith_chain_row(stream->chain) : 0);
    post(stream, &event);
}

static uint64_t sequence_of(const struct stream *stream, const char *id)
{
    size_t length = strlen(stream->id_prefix);

    if (strncmp(id, stream->id_prefix, length) != 0 || id[length] != '-')
        return 0;
    return strtoull(id + length + 1, NULL, 10);
}

static void judge(struct stream *stream, const struct stream_message *message)
{
    struct stream_event event = {.kind = STREAM_JUDGED, .judged.call = message->call};
    struct judgement judgement = {0};
    uint64_t label = recents_label(message->label);

    if (message->id[0]) {
        event.judged.found = recents_judge_one(&stream->recents, sequence_of(stream, message->id),
                                               label, &judgement);
    } else if (stream->chain) {
        double rate_hz = stream->version->manifest->input_rate_hz;
        uint64_t now = pith_chain_row(stream->chain);
        uint64_t rows = (uint64_t) (rate_hz * (double) message->window_ms / 1e3);
        uint64_t now_ns = pith_monotonic_ns(), window_ns = (uint64_t) message->window_ms * 1000000;
        event.judged.found =
            recents_judge_window(&stream->recents, rate_hz > 0, now > rows ? now - rows : 0,
                                 now_ns > window_ns ? now_ns - window_ns : 0, label, &judgement);
    }
    if (event.judged.found) {
        event.judged.correct = judgement.correct;
        (void) snprintf(event.judged.version, sizeof event.judged.version, "%s",
                        judgement.run->version);
        (void) snprintf(event.judged.variant, sizeof event.judged.variant, "%s",
                        judgement.run->variant);
    }
    post(stream, &event);
}

static void message_on_lane(void *user, struct lane_message *lane_message)
{
    struct stream *stream = user;
    struct stream_message *message = (struct stream_message *) lane_message;

    switch (message->kind) {
    case STREAM_SWAP:
        swap(stream, message);
        break;
    case STREAM_FEEDBACK:
        judge(stream, message);
        break;
    case STREAM_ORIGINAL:
        shadow_give(stream->shadow, message->original);
        break;
    case STREAM_SAMPLING:
        sampler_set(&stream->sampler, message->sample_every_ns);
        break;
    }
    free(message);
}

static bool idle_on_lane(void *user)
{
    struct stream *stream = user;
    struct shadow_outcome outcome;
    struct stream_event event = {.kind = STREAM_COMPARED};
    bool done;

    if (!shadow_run(stream->shadow, &done, &outcome))
        return false;
    if (!done)
        return true;
    event.compared.agreed_count = outcome.agreed_count;
    event.compared.compared_count = outcome.compared_count;
    event.compared.original = outcome.original;
    post(stream, &event);
    return true;
}

const struct lane_stream_ops stream_ops = {
    .payload_on_lane = payload_on_lane,
    .message_on_lane = message_on_lane,
    .idle_on_lane = idle_on_lane,
};
