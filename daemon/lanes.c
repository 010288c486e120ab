/* Threads that run models, a bounded queue a stream: see lanes.h. */
#include "daemon/lanes.h"

#include "libpith/base/clock.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define OUTBOX_EVENTS 64
#define READY_SLOTS   4 /* unused ones that keep their memory: a steady stream takes no more */

struct slot { /* a payload's memory; grows to the largest that it held */
    struct slot *next;
    uint8_t *data;
    size_t bytes, capacity;
    uint64_t arrived_ns;
    uint64_t place; /* in the order of payloads and messages together */
};

struct lane;

struct lane_stream {
    struct lane *lane;
    struct lane_stream *next; /* of the lane; under its lock */
    const struct lane_stream_ops *ops;
    void *user;
    struct slot *slots; /* own; all of them */
    size_t slot_count;
    /* Under the lane's lock: */
    struct slot *ready; /* unused, with memory: at most READY_SLOTS */
    size_t ready_count;
    struct slot *bare; /* unused, without */
    struct slot *first, **end;
    size_t waiting_count;
    struct lane_message *messages, **messages_end;
    uint64_t next_place;
    bool holds, closing;
    /* The lane's thread alone: */
    bool idle_left; /* idle_on_lane has not said yet that nothing is left */
};

struct event {
    struct lane_stream *stream;
    bool is_end;
    max_align_t data[(LANE_EVENT_BYTES + sizeof(max_align_t) - 1) / sizeof(max_align_t)];
};

struct lane {
    struct lanes *lanes;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work; /* something waits, or closing */
    pthread_cond_t room; /* in the outbox */
    struct lane_stream *streams;
    size_t stream_count;
    bool closing;
    struct event outbox[OUTBOX_EVENTS];
    size_t outbox_at, outbox_count;
};

struct lanes {
    uv_async_t async; /* this struct is freed in its close callback */
    struct lanes_options options;
    void (*closed)(void *user);
    void *closed_user;
    size_t lane_count;
    struct lane lane[];
};

/* ---- the lane's thread ---- */

static void post(struct lane_stream *stream, const void *data, size_t bytes, bool is_end)
{
    struct lane *lane = stream->lane;
    struct event *event;

    assert(bytes <= LANE_EVENT_BYTES);
    pthread_mutex_lock(&lane->lock);
    while (lane->outbox_count == OUTBOX_EVENTS)
        pthread_cond_wait(&lane->room, &lane->lock);
    event = &lane->outbox[(lane->outbox_at + lane->outbox_count) % OUTBOX_EVENTS];
    event->stream = stream;
    event->is_end = is_end;
    if (bytes > 0)
        memcpy(event->data, data, bytes);
    lane->outbox_count++;
    pthread_mutex_unlock(&lane->lock);
    (void) uv_async_send(&lane->lanes->async);
}

void lane_post_on_lane(struct lane_stream *stream, const void *event, size_t bytes)
{
    post(stream, event, bytes, false);
}

static struct slot *take_slot(struct lane_stream *stream)
{
    struct slot *slot = stream->first;

    stream->first = slot->next;
    if (!stream->first)
        stream->end = &stream->first;
    stream->waiting_count--;
    return slot;
}

/* With the lock: the slot is unused. What a burst took beyond a few goes when it is through: a queue may be as long as a
 * burst that comes once a day. */
static void put_slot_back(struct lane_stream *stream, struct slot *slot)
{
    struct slot **list = &stream->ready;

    if (stream->ready_count < READY_SLOTS && slot->data) {
        stream->ready_count++;
    } else {
        free(slot->data);
        slot->data = NULL;
        slot->capacity = 0;
        list = &stream->bare;
    }
    slot->next = *list;
    *list = slot;
}

static void drop_waiting(struct lane_stream *stream)
{
    while (stream->first)
        put_slot_back(stream, take_slot(stream));
}

/* Runs the oldest of what the stream has, if there is any. With the lock held, which it gives up
 * meanwhile. */
static bool run_one(struct lane *lane, struct lane_stream *stream)
{
    struct lane_message *message = stream->messages;

    if (message && (stream->holds || !stream->first || message->place < stream->first->place)) {
        if (message->hold != LANE_HOLD_KEEP)
            stream->holds = message->hold == LANE_HOLD;
        if (message->hold == LANE_HOLD)
            drop_waiting(stream);
        stream->messages = message->next;
        if (!stream->messages)
            stream->messages_end = &stream->messages;
        pthread_mutex_unlock(&lane->lock);
        stream->ops->message_on_lane(stream->user, message);
        pthread_mutex_lock(&lane->lock);
    } else if (stream->first && !stream->holds) {
        struct slot *slot = take_slot(stream);
        struct lane_payload payload = {slot->data, slot->bytes, slot->arrived_ns};
        pthread_mutex_unlock(&lane->lock);
        stream->ops->payload_on_lane(stream->user, &payload);
        pthread_mutex_lock(&lane->lock);
        put_slot_back(stream, slot);
    } else {
        return false;
    }
    stream->idle_left = true;
    return true;
}

/* One item of each stream that has any, so that none starves another. */
static bool run_round(struct lane *lane)
{
    bool ran = false;

    for (struct lane_stream **at = &lane->streams; *at;) {
        struct lane_stream *stream = *at;
        if (run_one(lane, stream)) {
            ran = true;
        } else if (stream->closing) {
            *at = stream->next;
            lane->stream_count--;
            pthread_mutex_unlock(&lane->lock);
            post(stream, NULL, 0, true);
            pthread_mutex_lock(&lane->lock);
            return true; /* the list may have grown at its front meanwhile */
        }
        /* New streams are put in front, so this one is still where it was. */
        while (*at != stream)
            at = &(*at)->next;
        at = &stream->next;
    }
    return ran;
}

static bool run_idle(struct lane *lane)
{
    for (struct lane_stream *stream = lane->streams; stream; stream = stream->next) {
        bool left;
        if (!stream->idle_left || stream->closing)
            continue;
        pthread_mutex_unlock(&lane->lock);
        left = stream->ops->idle_on_lane(stream->user);
        pthread_mutex_lock(&lane->lock);
        stream->idle_left = left;
        return true;
    }
    return false;
}

static void *lane_run_on_thread(void *user)
{
    struct lane *lane = user;

    pthread_mutex_lock(&lane->lock);
    for (;;) {
        if (run_round(lane) || run_idle(lane))
            continue;
        if (lane->closing)
            break;
        pthread_cond_wait(&lane->work, &lane->lock);
    }
    pthread_mutex_unlock(&lane->lock);
    return NULL;
}

/* ---- the loop ---- */

static void stream_free(struct lane_stream *stream)
{
    for (size_t i = 0; i < stream->slot_count; i++)
        free(stream->slots[i].data);
    free(stream->slots);
    free(stream);
}

static bool take_event(struct lane *lane, struct event *out)
{
    bool any;

    pthread_mutex_lock(&lane->lock);
    any = lane->outbox_count > 0;
    if (any) {
        *out = lane->outbox[lane->outbox_at];
        lane->outbox_at = (lane->outbox_at + 1) % OUTBOX_EVENTS;
        lane->outbox_count--;
        pthread_cond_signal(&lane->room);
    }
    pthread_mutex_unlock(&lane->lock);
    return any;
}

static void drain(uv_async_t *async)
{
    struct lanes *lanes = async->data;
    struct event event;

    for (size_t i = 0; i < lanes->lane_count; i++) {
        size_t left = OUTBOX_EVENTS;
        while (left > 0 && take_event(&lanes->lane[i], &event)) {
            void *user = event.stream->user;
            if (event.is_end)
                stream_free(event.stream);
            lanes->options.event(lanes->options.user, user, event.is_end ? NULL : event.data);
            left--;
        }
        if (left == 0 && !uv_is_closing((uv_handle_t *) async)) /* a lane that never stops must not
                                                                   keep the loop from the rest */
            (void) uv_async_send(async);
    }
}

static int lane_start(struct lane *lane, struct lanes *lanes, size_t index)
{
    char name[16];
    int rc;

    lane->lanes = lanes;
    pthread_mutex_init(&lane->lock, NULL);
    pthread_cond_init(&lane->work, NULL);
    pthread_cond_init(&lane->room, NULL);
    rc = pthread_create(&lane->thread, NULL, lane_run_on_thread, lane);
    if (rc != 0)
        return -rc;
    (void) snprintf(name, sizeof name, "pith-lane-%u", (unsigned) (index & 0xff));
    (void) pthread_setname_np(lane->thread, name); /* for top -H; nothing depends on it */
    return 0;
}

static void lane_stop(struct lane *lane)
{
    pthread_mutex_lock(&lane->lock);
    lane->closing = true;
    pthread_cond_signal(&lane->work);
    pthread_mutex_unlock(&lane->lock);
    pthread_join(lane->thread, NULL);
}

static void async_closed(uv_handle_t *handle)
{
    struct lanes *lanes = handle->data;
    void (*closed)(void *user) = lanes->closed;
    void *user = lanes->closed_user;

    for (size_t i = 0; i < lanes->lane_count; i++) {
        pthread_cond_destroy(&lanes->lane[i].work);
        pthread_cond_destroy(&lanes->lane[i].room);
        pthread_mutex_destroy(&lanes->lane[i].lock);
    }
    free(lanes);
    if (closed)
        closed(user);
}

int lanes_open(struct lanes **out, uv_loop_t *loop, const struct lanes_options *options,
               struct pith_error *err)
{
    size_t count = options->lane_count > 0 ? options->lane_count : 1;
    struct lanes *lanes = calloc(1, sizeof *lanes + count * sizeof *lanes->lane);
    int rc;

    if (!lanes)
        return pith_fail(err, -ENOMEM, "lanes: out of memory");
    lanes->options = *options;
    rc = uv_async_init(loop, &lanes->async, drain);
    if (rc < 0) {
        free(lanes);
        return pith_fail(err, rc, "lanes: %s", uv_strerror(rc));
    }
    lanes->async.data = lanes;
    for (; lanes->lane_count < count; lanes->lane_count++) {
        rc = lane_start(&lanes->lane[lanes->lane_count], lanes, lanes->lane_count);
        if (rc < 0) {
            lanes_close(lanes, NULL, NULL);
            return pith_fail(err, rc, "lanes: starting a thread: %s", strerror(-rc));
        }
    }
    *out = lanes;
    return 0;
}

void lanes_close(struct lanes *lanes, void (*closed)(void *user), void *user)
{
    lanes->closed = closed;
    lanes->closed_user = user;
    /* An event may lead here, so what the outboxes are locked with lives until the close callback.
     */
    for (size_t i = 0; i < lanes->lane_count; i++)
        lane_stop(&lanes->lane[i]);
    uv_close((uv_handle_t *) &lanes->async, async_closed);
}

static size_t count_streams(struct lane *lane)
{
    size_t count;

    pthread_mutex_lock(&lane->lock);
    count = lane->stream_count;
    pthread_mutex_unlock(&lane->lock);
    return count;
}

int lane_stream_open(struct lane_stream **out, struct lanes *lanes,
                     const struct lane_stream_ops *ops, size_t queue_count, void *user,
                     struct pith_error *err)
{
    struct lane_stream *stream = calloc(1, sizeof *stream);
    struct lane *least = &lanes->lane[0];

    if (!stream)
        return pith_fail(err, -ENOMEM, "lanes: out of memory");
    stream->slot_count = queue_count + 1; /* one is with the lane */
    stream->slots = calloc(stream->slot_count, sizeof *stream->slots);
    if (!stream->slots) {
        free(stream);
        return pith_fail(err, -ENOMEM, "lanes: out of memory");
    }
    for (size_t i = 0; i < stream->slot_count; i++)
        put_slot_back(stream, &stream->slots[i]);
    stream->end = &stream->first;
    stream->messages_end = &stream->messages;
    stream->ops = ops;
    stream->user = user;
    stream->holds = true;
    for (size_t i = 1; i < lanes->lane_count; i++)
        if (count_streams(&lanes->lane[i]) < count_streams(least))
            least = &lanes->lane[i];
    stream->lane = least;
    pthread_mutex_lock(&least->lock);
    stream->next = least->streams;
    least->streams = stream;
    least->stream_count++;
    pthread_mutex_unlock(&least->lock);
    *out = stream;
    return 0;
}

/* An unused slot, or the oldest payload's. */
static struct slot *reserve_slot(struct lane_stream *stream, int *out_dropped)
{
    struct slot *slot = NULL;

    pthread_mutex_lock(&stream->lane->lock);
    *out_dropped = stream->waiting_count + 1 >= stream->slot_count && stream->first;
    if (*out_dropped) {
        slot = take_slot(stream);
    } else if (stream->ready) {
        slot = stream->ready;
        stream->ready = slot->next;
        stream->ready_count--;
    } else {
        slot = stream->bare;
        stream->bare = slot->next;
    }
    pthread_mutex_unlock(&stream->lane->lock);
    return slot;
}

int lane_stream_put(struct lane_stream *stream, const void *data, size_t bytes)
{
    int dropped;
    struct slot *slot = reserve_slot(stream, &dropped);
    int rc = 0;

    if (bytes > slot->capacity) {
        uint8_t *grown = realloc(slot->data, bytes);
        if (grown) {
            slot->data = grown;
            slot->capacity = bytes;
        } else {
            rc = -ENOMEM;
        }
    }
    if (rc == 0 && bytes > 0)
        memcpy(slot->data, data, bytes);
    slot->bytes = bytes;
    slot->arrived_ns = pith_monotonic_ns();
    slot->next = NULL;
    pthread_mutex_lock(&stream->lane->lock);
    if (rc < 0) {
        put_slot_back(stream, slot);
    } else {
        slot->place = stream->next_place++;
        *stream->end = slot;
        stream->end = &slot->next;
        stream->waiting_count++;
        pthread_cond_signal(&stream->lane->work);
    }
    pthread_mutex_unlock(&stream->lane->lock);
    return rc < 0 ? rc : dropped;
}

void lane_stream_send(struct lane_stream *stream, struct lane_message *message)
{
    message->next = NULL;
    pthread_mutex_lock(&stream->lane->lock);
    message->place = stream->next_place++;
    *stream->messages_end = message;
    stream->messages_end = &message->next;
    pthread_cond_signal(&stream->lane->work);
    pthread_mutex_unlock(&stream->lane->lock);
}

size_t lane_stream_waiting(struct lane_stream *stream)
{
    size_t count;

    pthread_mutex_lock(&stream->lane->lock);
    count = stream->waiting_count;
    pthread_mutex_unlock(&stream->lane->lock);
    return count;
}

void lane_stream_close(struct lane_stream *stream)
{
    pthread_mutex_lock(&stream->lane->lock);
    drop_waiting(stream);
    stream->closing = true;
    pthread_cond_signal(&stream->lane->work);
    pthread_mutex_unlock(&stream->lane->lock);
}
