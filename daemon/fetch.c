/* One blob on its way: a window of subscriptions on the loop, one piece of disk work at a time on
 * the thread pool. The loop keeps its own list of what is there, as the store's may be in use by
 * the thread. */
#include "daemon/fetch.h"

#include "libpith/base/clock.h"
#include "libpith/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW_COUNT     8     /* subscriptions in flight: fills a link of 100 ms and 5 MB/s */
#define ANSWER_MS        5000  /* a chunk that the broker has comes within milliseconds */
#define ANSWER_LIMIT_MS  60000 /* how far silence stretches that */
#define SILENCE_LIMIT_MS (INT64_C(24) * 3600 * 1000)
#define DAMAGED_LIMIT    3   /* whole fetches whose digest was wrong */
#define WRONG_SIZE_LIMIT 16  /* chunks of a wrong length since the last good one */
#define SYNC_CHUNKS      16  /* 1 MiB: what a power cut may cost */
#define BUSY_RETRY_MS    500 /* another model is fetching the same blob */
#define FILTER_BYTES     256

enum chunk { CHUNK_MISSING, CHUNK_ASKED, CHUNK_HERE };

struct slot {
    struct fetch *fetch;
    int64_t chunk;        /* -1: the slot is free */
    uint64_t deadline_ms; /* of the loop's clock */
    bool arrived;         /* waits for the disk */
    size_t bytes;
    uint8_t *data; /* PITH_CHUNK_BYTES, own */
};

enum work { WORK_OPEN, WORK_STORE, WORK_FINISH };

struct fetch {
    struct fetch_options options;
    char root[128], what[160];
    struct slot slots[WINDOW_COUNT];
    uint8_t *chunks; /* enum chunk, one a chunk */
    int64_t chunk_count, missing_count;
    int64_t cursor;         /* where to look for the next missing one */
    int64_t waiting_for;    /* told in progress */
    unsigned silent_rounds; /* windows in a row that nobody answered */
    unsigned damaged_count, wrong_size_count;
    uint64_t last_arrival_ms;
    uv_timer_t timer; /* the memory of this struct is freed in its close callback */
    bool stopped, finished;

    uv_work_t work;
    bool working;
    enum work work_kind;
    struct pith_fetch *blob;            /* the thread's while working */
    struct slot *storing[WINDOW_COUNT]; /* the same */
    size_t storing_count;
    int64_t unsynced_count;
    uint8_t *found; /* by WORK_OPEN: the new `chunks` */
    int64_t found_missing, found_count;
    int work_status;
    struct pith_error work_error;
};

static void pump(struct fetch *fetch);
static void work_start(struct fetch *fetch, enum work kind);

static void filter_of(const struct fetch *fetch, int64_t chunk, char filter[FILTER_BYTES])
{
    (void) snprintf(filter, FILTER_BYTES, "%s/blob/%s/%lld", fetch->root,
                    fetch->options.blob.sha256, (long long) chunk);
}

static size_t bytes_of(const struct fetch *fetch, int64_t chunk)
{
    int64_t left = fetch->options.blob.bytes - chunk * PITH_CHUNK_BYTES;

    return (size_t) (left < PITH_CHUNK_BYTES ? left : PITH_CHUNK_BYTES);
}

/* ---- the end ---- */

static void freed_on_loop(uv_handle_t *handle)
{
    struct fetch *fetch = handle->data;
    void (*ended)(void *) = fetch->options.ended;
    void *owner = fetch->options.owner;
    size_t i;

    pith_fetch_close(fetch->blob);
    for (i = 0; i < WINDOW_COUNT; i++)
        free(fetch->slots[i].data);
    free(fetch->chunks);
    free(fetch->found);
    free(fetch);
    if (ended)
        ended(owner);
}

static void free_when_idle(struct fetch *fetch)
{
    if (fetch->stopped && !fetch->working && !uv_is_closing((uv_handle_t *) &fetch->timer))
        uv_close((uv_handle_t *) &fetch->timer, freed_on_loop);
}

static void on_chunk(void *user, const struct mqtt_message *message);

static void slot_release(struct slot *slot)
{
    char filter[FILTER_BYTES];

    if (slot->chunk < 0)
        return;
    if (!slot->arrived) {
        filter_of(slot->fetch, slot->chunk, filter);
        mqtt_unsubscribe(slot->fetch->options.mqtt, filter, on_chunk, slot);
    }
    slot->chunk = -1;
    slot->arrived = false;
}

void fetch_stop(struct fetch *fetch)
{
    size_t i;

    if (!fetch || fetch->stopped)
        return;
    fetch->stopped = true;
    (void) uv_timer_stop(&fetch->timer);
    for (i = 0; i < WINDOW_COUNT; i++)
        if (!fetch->slots[i].arrived) /* the thread may be writing the others */
            slot_release(&fetch->slots[i]);
    free_when_idle(fetch);
}

static void finish(struct fetch *fetch, int status, const struct pith_error *err)
{
    void (*done)(void *, int, const struct pith_error *) = fetch->options.done;
    void *user = fetch->options.user;
    struct pith_error copy = err ? *err : (struct pith_error){0};

    fetch_stop(fetch);
    done(user, status, &copy);
}

/* ---- disk work ---- */

static int open_on_thread(struct fetch *fetch, struct pith_error *err)
{
    int64_t chunk = 0, next;
    int rc;

    pith_fetch_close(fetch->blob); /* a start over reads the list again */
    fetch->blob = NULL;
    rc = pith_fetch_open(&fetch->blob, fetch->options.store, &fetch->options.blob, err);
    if (rc < 0)
        return rc;
    fetch->found_count = pith_fetch_chunk_count(fetch->blob);
    fetch->found_missing = pith_fetch_missing_count(fetch->blob);
    fetch->found = malloc((size_t) fetch->found_count);
    if (!fetch->found)
        return pith_fail(err, -ENOMEM, "%s: no memory to fetch it", fetch->what);
    memset(fetch->found, CHUNK_HERE, (size_t) fetch->found_count);
    while ((next = pith_fetch_missing(fetch->blob, chunk)) >= chunk) {
        fetch->found[next] = CHUNK_MISSING;
        chunk = next + 1;
        if (chunk == fetch->found_count)
            break;
    }
    return 0;
}

static int store_on_thread(struct fetch *fetch, struct pith_error *err)
{
    int rc = 0;
    size_t i;

    for (i = 0; rc == 0 && i < fetch->storing_count; i++)
        rc = pith_fetch_put(fetch->blob, fetch->storing[i]->chunk, fetch->storing[i]->data,
                            fetch->storing[i]->bytes, err);
    fetch->unsynced_count += (int64_t) fetch->storing_count;
    if (rc == 0 && fetch->unsynced_count >= SYNC_CHUNKS) {
        rc = pith_fetch_sync(fetch->blob, err);
        fetch->unsynced_count = 0;
    }
    return rc;
}

static void work_on_thread(uv_work_t *work)
{
    struct fetch *fetch = work->data;
    struct pith_error *err = &fetch->work_error;
    int rc = 0;

    switch (fetch->work_kind) {
    case WORK_OPEN:
        rc = open_on_thread(fetch, err);
        break;
    case WORK_STORE:
        rc = store_on_thread(fetch, err);
        break;
    case WORK_FINISH:
        rc = pith_fetch_sync(fetch->blob, err);
        if (rc == 0)
            rc = pith_fetch_finish(fetch->blob, err);
        break;
    }
    fetch->work_status = rc;
}

static void tell_progress(struct fetch *fetch)
{
    const struct fetch_progress progress = {
        .chunk_count = fetch->chunk_count,
        .missing_count = fetch->missing_count,
        .waiting_for = fetch->waiting_for,
    };

    if (fetch->options.progress)
        fetch->options.progress(fetch->options.user, &progress);
}

static void retry_open(uv_timer_t *timer)
{
    work_start(timer->data, WORK_OPEN);
}

static void opened(struct fetch *fetch)
{
    if (fetch->work_status == -EBUSY) { /* it may be there when the other is done */
        (void) uv_timer_start(&fetch->timer, retry_open, BUSY_RETRY_MS, 0);
        return;
    }
    if (fetch->work_status < 0) {
        finish(fetch, fetch->work_status, &fetch->work_error);
        return;
    }
    free(fetch->chunks);
    fetch->chunks = fetch->found;
    fetch->found = NULL;
    fetch->chunk_count = fetch->found_count;
    fetch->missing_count = fetch->found_missing;
    fetch->cursor = 0;
    fetch->last_arrival_ms = uv_now(fetch->options.loop);
    tell_progress(fetch);
    pump(fetch);
}

static void stored(struct fetch *fetch)
{
    size_t i;

    if (fetch->work_status < 0) {
        finish(fetch, fetch->work_status, &fetch->work_error);
        return;
    }
    for (i = 0; i < fetch->storing_count; i++) {
        fetch->chunks[fetch->storing[i]->chunk] = CHUNK_HERE;
        fetch->missing_count--;
        slot_release(fetch->storing[i]);
    }
    tell_progress(fetch);
    pump(fetch);
}

static void verified(struct fetch *fetch)
{
    if (fetch->work_status != -EBADMSG) {
        finish(fetch, fetch->work_status, &fetch->work_error);
        return;
    }
    fetch->damaged_count++;
    log_warn("blob_damaged", "what=\"%s\" sha256=%s try=%u of=%d", fetch->what,
             fetch->options.blob.sha256, fetch->damaged_count, DAMAGED_LIMIT);
    if (fetch->damaged_count < DAMAGED_LIMIT) {
        work_start(fetch, WORK_OPEN);
        return;
    }
    (void) pith_fail(
        &fetch->work_error, -EBADMSG,
        "%s: what the broker holds does not have the digest %.12s..., %d times in a row: "
        "push the model again",
        fetch->what, fetch->options.blob.sha256, DAMAGED_LIMIT);
    finish(fetch, -EBADMSG, &fetch->work_error);
}

static void work_done(uv_work_t *work, int status)
{
    struct fetch *fetch = work->data;

    (void) status; /* never cancelled */
    fetch->working = false;
    if (fetch->stopped) {
        free_when_idle(fetch);
        return;
    }
    switch (fetch->work_kind) {
    case WORK_OPEN:
        opened(fetch);
        break;
    case WORK_STORE:
        stored(fetch);
        break;
    case WORK_FINISH:
        verified(fetch);
        break;
    }
}

static void work_start(struct fetch *fetch, enum work kind)
{
    fetch->work_kind = kind;
    fetch->work_error = (struct pith_error){0};
    fetch->working = true;
    (void) uv_queue_work(fetch->options.loop, &fetch->work, work_on_thread, work_done);
}

/* ---- the window ---- */

static void on_chunk(void *user, const struct mqtt_message *message)
{
    struct slot *slot = user;
    struct fetch *fetch = slot->fetch;
    char filter[FILTER_BYTES];

    if (slot->chunk < 0 || slot->arrived || fetch->stopped)
        return; /* came twice */
    if (message->bytes != bytes_of(fetch, slot->chunk)) {
        struct pith_error err;

        if (++fetch->wrong_size_count < WRONG_SIZE_LIMIT)
            return; /* waited for like one that has not come: a new push may put it right */
        (void) pith_fail(
            &err, -EBADMSG,
            "%s: chunk %lld on the broker has %zu bytes, and must have %zu: push the model again",
            fetch->what, (long long) slot->chunk, message->bytes, bytes_of(fetch, slot->chunk));
        finish(fetch, -EBADMSG, &err);
        return;
    }
    if (!slot->data)
        slot->data = malloc(PITH_CHUNK_BYTES);
    if (!slot->data)
        return; /* asked for again when its time is over */
    memcpy(slot->data, message->payload, message->bytes);
    slot->bytes = message->bytes;
    slot->arrived = true;
    filter_of(fetch, slot->chunk, filter);
    mqtt_unsubscribe(fetch->options.mqtt, filter, on_chunk, slot);
    fetch->silent_rounds = 0;
    fetch->wrong_size_count = 0;
    fetch->waiting_for = -1;
    fetch->last_arrival_ms = uv_now(fetch->options.loop);
    pump(fetch);
}

static int64_t next_missing(struct fetch *fetch)
{
    int64_t i, chunk;

    for (i = 0; i < fetch->chunk_count; i++) {
        chunk = (fetch->cursor + i) % fetch->chunk_count;
        if (fetch->chunks[chunk] == CHUNK_MISSING) {
            fetch->cursor = (chunk + 1) % fetch->chunk_count;
            return chunk;
        }
    }
    return -1;
}

/* How long to wait for an answer: doubles with each window that stayed silent, less up to a quarter
 * at random, so that gateways that lost the same broker don't ask in step. */
static uint64_t patience_ms(const struct fetch *fetch)
{
    unsigned doublings = fetch->silent_rounds < 5 ? fetch->silent_rounds : 5;
    uint64_t ms = (uint64_t) ANSWER_MS << doublings;

    if (ms > ANSWER_LIMIT_MS)
        ms = ANSWER_LIMIT_MS;
    return ms -
           (pith_monotonic_ns() / 1000 % (ms / 4)); /* the clock's low digits are random enough */
}

static int slot_ask(struct fetch *fetch, struct slot *slot, int64_t chunk, struct pith_error *err)
{
    char filter[FILTER_BYTES];
    int rc;

    filter_of(fetch, chunk, filter);
    slot->chunk = chunk;
    slot->arrived = false;
    slot->deadline_ms = uv_now(fetch->options.loop) + patience_ms(fetch);
    rc = mqtt_subscribe(fetch->options.mqtt, filter, 1, false, on_chunk, slot, err);
    if (rc < 0)
        slot->chunk = -1;
    else
        fetch->chunks[chunk] = CHUNK_ASKED;
    return rc;
}

static void on_timer(uv_timer_t *timer);

static void timer_restart(struct fetch *fetch)
{
    uint64_t now_ms = uv_now(fetch->options.loop), first_ms = UINT64_MAX;
    size_t i;

    for (i = 0; i < WINDOW_COUNT; i++)
        if (fetch->slots[i].chunk >= 0 && !fetch->slots[i].arrived &&
            fetch->slots[i].deadline_ms < first_ms)
            first_ms = fetch->slots[i].deadline_ms;
    if (first_ms == UINT64_MAX)
        (void) uv_timer_stop(&fetch->timer);
    else
        (void) uv_timer_start(&fetch->timer, on_timer, first_ms > now_ms ? first_ms - now_ms : 1,
                              0);
}

/* Hands what has arrived to the disk, and asks for more. */
static void pump(struct fetch *fetch)
{
    struct pith_error err = {0};
    int64_t chunk;
    size_t i;

    if (fetch->stopped)
        return;
    if (!fetch->working && fetch->missing_count == 0) {
        work_start(fetch, WORK_FINISH);
        return;
    }
    if (!fetch->working) {
        fetch->storing_count = 0;
        for (i = 0; i < WINDOW_COUNT; i++)
            if (fetch->slots[i].chunk >= 0 && fetch->slots[i].arrived)
                fetch->storing[fetch->storing_count++] = &fetch->slots[i];
        if (fetch->storing_count > 0)
            work_start(fetch, WORK_STORE);
    }
    for (i = 0; i < WINDOW_COUNT; i++) {
        if (fetch->slots[i].chunk >= 0)
            continue;
        chunk = next_missing(fetch);
        if (chunk < 0)
            break;
        if (slot_ask(fetch, &fetch->slots[i], chunk, &err) < 0) {
            finish(fetch, err.code, &err);
            return;
        }
    }
    timer_restart(fetch);
}

/* Chunks that nobody answered for go to the end of the queue. */
static void on_timer(uv_timer_t *timer)
{
    struct fetch *fetch = timer->data;
    uint64_t now_ms = uv_now(fetch->options.loop);
    struct pith_error err;
    bool silent = false;
    size_t i;

    for (i = 0; i < WINDOW_COUNT; i++) {
        struct slot *slot = &fetch->slots[i];

        if (slot->chunk < 0 || slot->arrived || slot->deadline_ms > now_ms)
            continue;
        silent = true;
        fetch->waiting_for = slot->chunk;
        fetch->chunks[slot->chunk] = CHUNK_MISSING;
        slot_release(slot);
    }
    if (silent && mqtt_is_connected(fetch->options.mqtt)) {
        fetch->silent_rounds++;
        tell_progress(fetch);
    }
    if (now_ms - fetch->last_arrival_ms > SILENCE_LIMIT_MS) {
        (void) pith_fail(
            &err, -ETIMEDOUT,
            "%s: chunk %lld has not come for 24 h: is it on the broker? push the model again",
            fetch->what, (long long) fetch->waiting_for);
        finish(fetch, -ETIMEDOUT, &err);
        return;
    }
    pump(fetch);
}

int fetch_start(struct fetch **out, const struct fetch_options *options, struct pith_error *err)
{
    struct fetch *fetch = calloc(1, sizeof *fetch);
    size_t i;
    int rc;

    if (!fetch)
        return pith_fail(err, -ENOMEM, "%s: no memory to fetch it", options->what);
    fetch->options = *options;
    (void) snprintf(fetch->root, sizeof fetch->root, "%s", options->topic_root);
    (void) snprintf(fetch->what, sizeof fetch->what, "%s", options->what);
    fetch->waiting_for = -1;
    for (i = 0; i < WINDOW_COUNT; i++)
        fetch->slots[i] = (struct slot){.fetch = fetch, .chunk = -1};
    rc = uv_timer_init(options->loop, &fetch->timer);
    if (rc < 0) {
        free(fetch);
        return pith_fail(err, rc, "%s: %s", options->what, uv_strerror(rc));
    }
    fetch->timer.data = fetch;
    fetch->work.data = fetch;
    work_start(fetch, WORK_OPEN);
    *out = fetch;
    return 0;
}
