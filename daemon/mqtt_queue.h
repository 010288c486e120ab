/* What waits to be published, and what is in flight. Bounded in messages and bytes; sends no more
 * at a time than the window, which follows the broker's receive maximum and starts at one after
 * each loss of the link: a message that the broker hangs up on is then the only one in flight, and
 * is given up after a few times instead of breaking every connection. */
#ifndef PITHD_MQTT_QUEUE_H
#define PITHD_MQTT_QUEUE_H

#include "daemon/mqtt.h"

#define MQTT_QUEUE_MAX_COUNT  4096
#define MQTT_QUEUE_MAX_BYTES  (8 * 1024 * 1024)
#define MQTT_QUEUE_SLOTS      16
#define MQTT_QUEUE_MAX_LOSSES 4 /* links that may break with the same message in flight */

struct mqtt_queue_entry {
    struct mqtt_queue_entry *next;       /* the queue's */
    struct mqtt_publication publication; /* with copies of what it points to, behind this struct */
    size_t block_bytes;
    unsigned losses;
};

struct mqtt_queue {
    struct mqtt_queue_entry *first, **last;           /* wait */
    struct mqtt_queue_entry *slots[MQTT_QUEUE_SLOTS]; /* in flight */
    uint64_t order[MQTT_QUEUE_SLOTS];                 /* in which they were sent */
    uint64_t sent_count;
    unsigned in_flight, window, window_max;
    size_t count, bytes; /* waiting and in flight */
};

void mqtt_queue_init(struct mqtt_queue *queue);
/* Copies. -ENOBUFS where it is full, with what that means in *err. */
int mqtt_queue_add(struct mqtt_queue *queue, const struct mqtt_publication *publication,
                   struct pith_error *err) PITH_CHECKED;
/* Takes the broker's receive maximum as the bound of the window. */
void mqtt_queue_connected(struct mqtt_queue *queue, int64_t receive_max);
/* The next to be sent, now in flight in *out_slot; NULL where nothing waits or the window is full.
 */
const struct mqtt_queue_entry *mqtt_queue_next(struct mqtt_queue *queue, unsigned *out_slot);
/* The one in the slot is answered: taken out, and freed by the caller with free(). NULL for an
 * empty slot. */
struct mqtt_queue_entry *mqtt_queue_answered(struct mqtt_queue *queue, unsigned slot);
/* The link is gone: what was in flight waits again, in front and in order. Returns a list of those
 * that are given up. */
struct mqtt_queue_entry *mqtt_queue_lost(struct mqtt_queue *queue);
/* Takes the first that waits, sent or not; for the end. NULL: none. */
struct mqtt_queue_entry *mqtt_queue_take(struct mqtt_queue *queue);

#endif
