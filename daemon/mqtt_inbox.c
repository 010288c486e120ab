/* Messages that wait for the loop: see mqtt_inbox.h. One leaf mutex, held for a list operation and
 * never while the MQTT library is called; two lists in order of arrival, so that dropping the
 * oldest sensor message is one step. */
#include "daemon/mqtt_inbox.h"

#include "daemon/mqtt_rules.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct filter {
    struct filter *next;
    bool may_drop;
    char text[];
};

struct list {
    struct mqtt_inbox_message *first, **last;
    int64_t bytes;
};

struct mqtt_inbox {
    pthread_mutex_t mutex; /* guards all below */
    struct list droppable, kept;
    int64_t limit_bytes;
    uint64_t arrived; /* gives each message its place, across both lists */
    struct filter *filters;
    struct mqtt_inbox_counts counts;
    bool overflowed;
};

struct block { /* what is behind a struct mqtt_inbox_message */
    struct mqtt_inbox_message public;
    uint64_t place;
    uint8_t bytes[];
};

int mqtt_inbox_new(struct mqtt_inbox **out, int64_t limit_bytes)
{
    struct mqtt_inbox *inbox = calloc(1, sizeof *inbox);

    if (!inbox)
        return -ENOMEM;
    if (pthread_mutex_init(&inbox->mutex, NULL) != 0) {
        free(inbox);
        return -ENOMEM;
    }
    inbox->limit_bytes = limit_bytes;
    inbox->droppable.last = &inbox->droppable.first;
    inbox->kept.last = &inbox->kept.first;
    *out = inbox;
    return 0;
}

static void list_free(struct list *list)
{
    while (list->first) {
        struct mqtt_inbox_message *message = list->first;

        list->first = message->next;
        free(message);
    }
}

void mqtt_inbox_free(struct mqtt_inbox *inbox)
{
    if (!inbox)
        return;
    list_free(&inbox->droppable);
    list_free(&inbox->kept);
    while (inbox->filters) {
        struct filter *filter = inbox->filters;

        inbox->filters = filter->next;
        free(filter);
    }
    (void) pthread_mutex_destroy(&inbox->mutex);
    free(inbox);
}

int mqtt_inbox_add_filter(struct mqtt_inbox *inbox, const char *filter, bool may_drop)
{
    struct filter *entry = malloc(sizeof *entry + strlen(filter) + 1);

    if (!entry)
        return -ENOMEM;
    entry->may_drop = may_drop;
    memcpy(entry->text, filter, strlen(filter) + 1);
    (void) pthread_mutex_lock(&inbox->mutex);
    entry->next = inbox->filters;
    inbox->filters = entry;
    (void) pthread_mutex_unlock(&inbox->mutex);
    return 0;
}

void mqtt_inbox_remove_filter(struct mqtt_inbox *inbox, const char *filter, bool may_drop)
{
    (void) pthread_mutex_lock(&inbox->mutex);
    for (struct filter **at = &inbox->filters; *at; at = &(*at)->next) {
        struct filter *entry = *at;

        if (entry->may_drop == may_drop && strcmp(entry->text, filter) == 0) {
            *at = entry->next;
            free(entry);
            break;
        }
    }
    (void) pthread_mutex_unlock(&inbox->mutex);
}

/* A topic that no filter matches may be dropped: its subscription has gone in the meantime. */
static bool topic_may_drop(const struct mqtt_inbox *inbox, const char *topic)
{
    for (const struct filter *filter = inbox->filters; filter; filter = filter->next)
        if (!filter->may_drop && mqtt_topic_matches(filter->text, topic))
            return false;
    return true;
}

static struct block *block_new(const struct mqtt_message *message, const uint32_t *ids,
                               size_t id_count)
{
    size_t topic_bytes = strlen(message->topic) + 1;
    size_t response_bytes = message->response_topic ? strlen(message->response_topic) + 1 : 0;
    size_t bytes = sizeof(struct block) + topic_bytes + response_bytes +
                   message->correlation_bytes + message->bytes + 1;
    struct block *block = malloc(bytes);
    uint8_t *at = NULL;

    if (!block)
        return NULL;
    *block = (struct block){.public = {.message = *message, .block_bytes = bytes}};
    at = block->bytes;
    block->public.message.topic = memcpy(at, message->topic, topic_bytes);
    at += topic_bytes;
    if (response_bytes) {
        block->public.message.response_topic = memcpy(at, message->response_topic, response_bytes);
        at += response_bytes;
    }
    if (message->correlation_bytes)
        memcpy(at, message->correlation, message->correlation_bytes);
    block->public.message.correlation = at;
    at += message->correlation_bytes;
    if (message->bytes)
        memcpy(at, message->payload, message->bytes);
    block->public.message.payload = at;
    at[message->bytes] = 0; /* so that text may be read as a string */
    while (block->public.id_count < id_count && block->public.id_count < MQTT_MESSAGE_MAX_IDS) {
        block->public.ids[block->public.id_count] = ids[block->public.id_count];
        block->public.id_count++;
    }
    return block;
}

static struct mqtt_inbox_message *list_take(struct list *list)
{
    struct mqtt_inbox_message *message = list->first;

    if (message) {
        list->first = message->next;
        if (!list->first)
            list->last = &list->first;
        list->bytes -= (int64_t) message->block_bytes;
    }
    return message;
}

static void list_append(struct list *list, struct mqtt_inbox_message *message)
{
    message->next = NULL;
    *list->last = message;
    list->last = &message->next;
    list->bytes += (int64_t) message->block_bytes;
}

/* Puts the block where it belongs; returns a list of those that gave way, the block itself among
 * them where it is too big. */
static struct mqtt_inbox_message *put_locked(struct mqtt_inbox *inbox, struct block *block)
{
    struct mqtt_inbox_message *gone = NULL;

    block->place = inbox->arrived++;
    block->public.may_drop = topic_may_drop(inbox, block->public.message.topic);
    if (!block->public.may_drop) {
        if (inbox->kept.bytes + (int64_t) block->public.block_bytes >
            inbox->limit_bytes * MQTT_INBOX_KEEP_FACTOR) {
            inbox->counts.dropped++;
            inbox->overflowed = true;
            block->public.next = NULL;
            return &block->public;
        }
        list_append(&inbox->kept, &block->public);
        return NULL;
    }
    list_append(&inbox->droppable, &block->public);
    while (inbox->droppable.bytes > inbox->limit_bytes) {
        struct mqtt_inbox_message *oldest = list_take(&inbox->droppable);

        oldest->next = gone;
        gone = oldest;
        inbox->counts.dropped++;
    }
    return gone;
}

bool mqtt_inbox_put_on_any_thread(struct mqtt_inbox *inbox, const struct mqtt_message *message,
                                  const uint32_t *ids, size_t id_count)
{
    struct block *block = block_new(message, ids, id_count);
    struct list gone = {0};
    bool was_empty = false;

    (void) pthread_mutex_lock(&inbox->mutex);
    was_empty = !inbox->droppable.first && !inbox->kept.first;
    inbox->counts.received++;
    inbox->counts.received_bytes += message->bytes;
    if (block)
        gone.first = put_locked(inbox, block);
    else
        inbox->counts.dropped++;
    (void) pthread_mutex_unlock(&inbox->mutex);
    list_free(&gone);
    return was_empty;
}

void mqtt_inbox_refuse_on_any_thread(struct mqtt_inbox *inbox, size_t bytes)
{
    (void) pthread_mutex_lock(&inbox->mutex);
    inbox->counts.received++;
    inbox->counts.received_bytes += bytes;
    inbox->counts.dropped++;
    (void) pthread_mutex_unlock(&inbox->mutex);
}

struct mqtt_inbox_message *mqtt_inbox_take(struct mqtt_inbox *inbox)
{
    struct mqtt_inbox_message *message = NULL;

    (void) pthread_mutex_lock(&inbox->mutex);
    const struct block *droppable = (const struct block *) inbox->droppable.first;
    const struct block *kept = (const struct block *) inbox->kept.first;

    if (droppable && (!kept || droppable->place < kept->place))
        message = list_take(&inbox->droppable);
    else
        message = list_take(&inbox->kept);
    (void) pthread_mutex_unlock(&inbox->mutex);
    return message;
}

void mqtt_inbox_counts(struct mqtt_inbox *inbox, struct mqtt_inbox_counts *out)
{
    (void) pthread_mutex_lock(&inbox->mutex);
    *out = inbox->counts;
    (void) pthread_mutex_unlock(&inbox->mutex);
}

bool mqtt_inbox_take_overflow(struct mqtt_inbox *inbox)
{
    bool overflowed = false;

    (void) pthread_mutex_lock(&inbox->mutex);
    overflowed = inbox->overflowed;
    inbox->overflowed = false;
    (void) pthread_mutex_unlock(&inbox->mutex);
    return overflowed;
}
