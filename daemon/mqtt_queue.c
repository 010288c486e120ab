/* The outbound queue and its window: see mqtt_queue.h. Knows nothing of the library that sends. */
#include "daemon/mqtt_queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void mqtt_queue_init(struct mqtt_queue *queue)
{
    *queue = (struct mqtt_queue){.window = 1, .window_max = 1};
    queue->last = &queue->first;
}

static struct mqtt_queue_entry *entry_new(const struct mqtt_publication *publication)
{
    size_t topic_bytes = strlen(publication->topic) + 1;
    size_t bytes = sizeof(struct mqtt_queue_entry) + topic_bytes + publication->correlation_bytes +
                   publication->bytes;
    struct mqtt_queue_entry *entry = malloc(bytes);
    char *at = NULL;

    if (!entry)
        return NULL;
    *entry = (struct mqtt_queue_entry){.publication = *publication, .block_bytes = bytes};
    at = (char *) (entry + 1);
    entry->publication.topic = memcpy(at, publication->topic, topic_bytes);
    at += topic_bytes;
    if (publication->correlation_bytes)
        memcpy(at, publication->correlation, publication->correlation_bytes);
    entry->publication.correlation = at;
    at += publication->correlation_bytes;
    if (publication->bytes)
        memcpy(at, publication->payload, publication->bytes);
    entry->publication.payload = at;
    return entry;
}

int mqtt_queue_add(struct mqtt_queue *queue, const struct mqtt_publication *publication,
                   struct pith_error *err)
{
    struct mqtt_queue_entry *entry = NULL;

    if (queue->count >= MQTT_QUEUE_MAX_COUNT ||
        queue->bytes + publication->bytes > MQTT_QUEUE_MAX_BYTES)
        return pith_fail(err, -ENOBUFS, "%zu messages of %zu bytes wait for the broker already",
                         queue->count, queue->bytes);
    entry = entry_new(publication);
    if (!entry)
        return pith_fail(err, -ENOMEM, "no memory for a message of %zu bytes", publication->bytes);
    *queue->last = entry;
    queue->last = &entry->next;
    queue->count++;
    queue->bytes += entry->block_bytes;
    return 0;
}

void mqtt_queue_connected(struct mqtt_queue *queue, int64_t receive_max)
{
    queue->window_max = receive_max < 1                  ? 1
                        : receive_max > MQTT_QUEUE_SLOTS ? MQTT_QUEUE_SLOTS
                                                         : (unsigned) receive_max;
    queue->window = 1;
}

const struct mqtt_queue_entry *mqtt_queue_next(struct mqtt_queue *queue, unsigned *out_slot)
{
    struct mqtt_queue_entry *entry = queue->first;
    unsigned slot = 0;

    if (!entry || queue->in_flight >= queue->window)
        return NULL;
    while (queue->slots[slot])
        slot++;
    queue->first = entry->next;
    if (!queue->first)
        queue->last = &queue->first;
    entry->next = NULL;
    queue->slots[slot] = entry;
    queue->order[slot] = queue->sent_count++;
    queue->in_flight++;
    *out_slot = slot;
    return entry;
}

struct mqtt_queue_entry *mqtt_queue_answered(struct mqtt_queue *queue, unsigned slot)
{
    struct mqtt_queue_entry *entry = slot < MQTT_QUEUE_SLOTS ? queue->slots[slot] : NULL;

    if (!entry)
        return NULL;
    queue->slots[slot] = NULL;
    queue->in_flight--;
    queue->count--;
    queue->bytes -= entry->block_bytes;
    if (queue->window < queue->window_max)
        queue->window++;
    return entry;
}

/* The slot of what was sent last, of those in flight. */
static unsigned latest_slot(const struct mqtt_queue *queue)
{
    unsigned latest = MQTT_QUEUE_SLOTS;

    for (unsigned i = 0; i < MQTT_QUEUE_SLOTS; i++)
        if (queue->slots[i] &&
            (latest == MQTT_QUEUE_SLOTS || queue->order[i] > queue->order[latest]))
            latest = i;
    return latest;
}

struct mqtt_queue_entry *mqtt_queue_lost(struct mqtt_queue *queue)
{
    struct mqtt_queue_entry *given_up = NULL;
    bool alone = queue->in_flight == 1; /* with company nobody knows whose fault it was */

    while (queue->in_flight) {
        unsigned slot = latest_slot(queue);
        struct mqtt_queue_entry *entry = queue->slots[slot];

        queue->slots[slot] = NULL;
        queue->in_flight--;
        if (alone && ++entry->losses >= MQTT_QUEUE_MAX_LOSSES) {
            queue->count--;
            queue->bytes -= entry->block_bytes;
            entry->next = given_up;
            given_up = entry;
            continue;
        }
        entry->next = queue->first;
        queue->first = entry;
        if (!entry->next)
            queue->last = &entry->next;
    }
    queue->window = 1;
    return given_up;
}

struct mqtt_queue_entry *mqtt_queue_take(struct mqtt_queue *queue)
{
    struct mqtt_queue_entry *entry = queue->first;

    if (!entry)
        return NULL;
    queue->first = entry->next;
    if (!queue->first)
        queue->last = &queue->first;
    queue->count--;
    queue->bytes -= entry->block_bytes;
    return entry;
}
