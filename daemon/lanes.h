/* Lanes: threads that run inference. Each has streams of its own; each stream a bounded queue in which payloads wait, the
 * oldest giving way, and messages (swaps, feedback), which never do and keep their place among the payloads. A lane
 * sleeps while its queues are empty. What it found out goes back to the loop through a bounded outbox: a lane waits for
 * room there, the loop never waits for a lane. */
#ifndef PITHD_LANES_H
#define PITHD_LANES_H

#include <pith/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define LANE_EVENT_BYTES 640 /* what stream.h puts into an event */

struct lanes;
struct lane_stream;

struct lane_payload { /* borrowed for the call */
    const void *data;
    size_t bytes;
    uint64_t arrived_ns; /* monotonic */
};

enum lane_hold { LANE_HOLD_KEEP, LANE_RELEASE, LANE_HOLD };

/* First in what the loop hands over; the lane doesn't touch it once message_on_lane is called. */
struct lane_message {
    struct lane_message *next; /* the lane's */
    uint64_t place;            /* the lane's: in the order of payloads and messages together */
    enum lane_hold hold;       /* what it does to the payloads behind it; LANE_HOLD also drops those that wait */
};

struct lane_stream_ops { /* all on the lane's thread */
    void (*payload_on_lane)(void *user, const struct lane_payload *payload);
    void (*message_on_lane)(void *user, struct lane_message *message);
    /* A small piece of work that can wait; called while no queue of the lane holds anything. False: there is none left,
     * and none until the next payload or message. */
    bool (*idle_on_lane)(void *user);
};

struct lanes_options {
    size_t lane_count;
    /* On the loop: an event that a stream posted; NULL once the stream is closed, and its user may be freed. */
    void (*event)(void *user, void *stream_user, const void *event);
    void *user;
};
int lanes_open(struct lanes **out, uv_loop_t *loop, const struct lanes_options *options, struct pith_error *err) PITH_CHECKED;
/* Every stream is closed and said so. Joins the threads, which sleep by then; closed is called from the loop. */
void lanes_close(struct lanes *lanes, void (*closed)(void *user), void *user);

/* On the lane with the fewest streams. It begins on hold: payloads wait until a message releases them. */
int lane_stream_open(struct lane_stream **out, struct lanes *lanes, const struct lane_stream_ops *ops, size_t queue_count,
                     void *user, struct pith_error *err) PITH_CHECKED;
/* Copies the payload. Returns how many older ones it took the place of (0 or 1), or -ENOMEM. */
int lane_stream_put(struct lane_stream *stream, const void *data, size_t bytes);
void lane_stream_send(struct lane_stream *stream, struct lane_message *message);
size_t lane_stream_waiting(struct lane_stream *stream); /* payloads */
/* Drops the payloads that wait, handles the messages, then says so by a NULL event. */
void lane_stream_close(struct lane_stream *stream);

/* On the lane's thread, by the stream that runs: copies bytes (at most LANE_EVENT_BYTES) to the loop. */
void lane_post_on_lane(struct lane_stream *stream, const void *event, size_t bytes);

#endif
