/* What has arrived and waits for the loop: filled by the MQTT library's threads, emptied by the
 * loop. Bounded in bytes. Of sensor messages the oldest give way; what may not be lost is refused
 * at a second, higher bound, and the connection is then set up again so that the broker sends what
 * it retains once more. */
#ifndef PITHD_MQTT_INBOX_H
#define PITHD_MQTT_INBOX_H

#include "daemon/mqtt.h"

#define MQTT_INBOX_KEEP_FACTOR                                                                     \
    4 /* messages that may not be dropped may fill so many times inbox_bytes */
#define MQTT_MESSAGE_MAX_IDS 8 /* subscription identifiers that are kept of one message */

struct mqtt_inbox_message {
    struct mqtt_inbox_message *next; /* the inbox's */
    struct mqtt_message message;     /* points into this block */
    bool may_drop;
    size_t block_bytes; /* of this struct and what follows it */
    uint32_t id_count;
    uint32_t ids[MQTT_MESSAGE_MAX_IDS];
};

struct mqtt_inbox;
struct mqtt_inbox_counts {
    uint64_t received, received_bytes, dropped; /* handled = received - dropped - what waits */
};

int mqtt_inbox_new(struct mqtt_inbox **out, int64_t limit_bytes) PITH_CHECKED;
void mqtt_inbox_free(struct mqtt_inbox *inbox);
/* Loop: a filter whose messages may, or may not, be dropped. Where both match a topic, it may not.
 */
int mqtt_inbox_add_filter(struct mqtt_inbox *inbox, const char *filter, bool may_drop) PITH_CHECKED;
void mqtt_inbox_remove_filter(struct mqtt_inbox *inbox, const char *filter, bool may_drop);
/* Any thread: copies the message. Returns whether the loop has to be woken. */
bool mqtt_inbox_put_on_any_thread(struct mqtt_inbox *inbox, const struct mqtt_message *message,
                                  const uint32_t *ids, size_t id_count);
/* Any thread: counts a message that could not even be looked at. */
void mqtt_inbox_refuse_on_any_thread(struct mqtt_inbox *inbox, size_t bytes);
/* Loop: the oldest, or NULL. The caller frees it with free(). */
struct mqtt_inbox_message *mqtt_inbox_take(struct mqtt_inbox *inbox);
void mqtt_inbox_counts(struct mqtt_inbox *inbox, struct mqtt_inbox_counts *out);
/* Whether a message that may not be dropped had to be, since this was last asked. */
bool mqtt_inbox_take_overflow(struct mqtt_inbox *inbox);

#endif
