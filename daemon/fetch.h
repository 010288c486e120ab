/* Fetching one blob from the broker: subscribing to a chunk is the request, the retained message the answer. A window of
 * chunks at a time; what arrives is written, and at last verified, on the thread pool. What is on disk already is not
 * asked for again. A chunk that does not come is waited for, with growing pauses, while others are tried. */
#ifndef PITHD_FETCH_H
#define PITHD_FETCH_H

#include "daemon/mqtt.h"
#include "libpith/model/store.h"

struct fetch;

struct fetch_progress {
    int64_t chunk_count;
    int64_t missing_count;
    int64_t waiting_for; /* a chunk that did not come when it was asked for; -1: none */
};

struct fetch_options {
    uv_loop_t *loop;
    struct mqtt *mqtt;
    struct pith_store *store;
    const char *topic_root; /* copied */
    struct pith_blob blob;
    const char *what;       /* for sentences: "graph mel"; copied */
    void (*progress)(void *user, const struct fetch_progress *progress); /* NULL: not told */
    /* 0: the blob is in the store, verified. -EBADMSG: what the broker has is damaged, however often it is fetched.
     * -ETIMEDOUT: nothing has come for a day. Others: the disk's. Not called after fetch_stop. */
    void (*done)(void *user, int status, const struct pith_error *err);
    void (*ended)(void *owner); /* the last of it: memory is freed and no thread uses the store any more */
    void *user;
    void *owner;
};

int fetch_start(struct fetch **out, const struct fetch_options *options, struct pith_error *err) PITH_CHECKED;
void fetch_stop(struct fetch *fetch); /* what is on disk stays; NULL is fine; not after done was called */

#endif
