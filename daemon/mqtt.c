/* One MQTT connection on the loop: see mqtt.h. Opening and closing it, and what is published: a
 * queue, and a window of what the broker has not acknowledged. */
#include "daemon/mqtt_private.h"

#include "libpith/base/clock.h"
#include "libpith/base/log.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PACKET_OVERHEAD_BYTES                                                                      \
    64 /* fixed header, packet id and properties of a publish, less topic and correlation */

/* ---- publishing ---- */

static int64_t packet_bytes(const struct mqtt_publication *publication)
{
    return (int64_t) (publication->bytes + strlen(publication->topic) +
                      publication->correlation_bytes) +
           PACKET_OVERHEAD_BYTES;
}

static int check_size(const struct mqtt *mqtt, const struct mqtt_publication *publication,
                      struct pith_error *err)
{
    if (mqtt->packet_max_bytes && packet_bytes(publication) > mqtt->packet_max_bytes)
        return pith_fail(
            err, -EMSGSIZE,
            "%zu bytes on %s are more than the broker takes: it allows packets of %lld bytes",
            publication->bytes, publication->topic, (long long) mqtt->packet_max_bytes);
    return 0;
}

void mqtt_finish(struct mqtt *mqtt, struct mqtt_queue_entry *entry, int status)
{
    if (status == 0)
        mqtt->sent++;
    else if (status != -ECANCELED)
        mqtt->refused_count++;
    if (entry->publication.done)
        entry->publication.done(entry->publication.user, status);
    free(entry);
}

/* Fills the window. Each answer comes back here, so the library is never given more than it sends
 * at once. */
void mqtt_pump(struct mqtt *mqtt)
{
    const struct mqtt_queue_entry *entry = NULL;
    unsigned slot = 0;

    while (mqtt->state == STATE_UP && (entry = mqtt_queue_next(&mqtt->queue, &slot)) != NULL) {
        struct pith_error err = {0};

        if (check_size(mqtt, &entry->publication, &err) <
            0) { /* queued before the broker's limit was known */
            log_error("mqtt_publish_refused", "link=%s reason=\"%s\"", mqtt->name, err.text);
            mqtt_finish(mqtt, mqtt_queue_answered(&mqtt->queue, slot), -EMSGSIZE);
            continue;
        }
        mqtt_client_publish(mqtt->client, slot, &entry->publication);
    }
    if (mqtt->queue.in_flight == 0)
        (void) uv_timer_stop(&mqtt->resend);
}

static void resend_due(uv_timer_t *timer)
{
    struct mqtt *mqtt = timer->data;

    mqtt_link_lost(mqtt, false,
                   "the broker has not acknowledged a message for two keep-alive periods");
}

void mqtt_watch_answers(struct mqtt *mqtt)
{
    if (mqtt->queue.in_flight)
        (void) uv_timer_start(&mqtt->resend, resend_due, (uint64_t) mqtt->keep_alive_ms * 2 + 5000,
                              0);
}

int mqtt_publish(struct mqtt *mqtt, const struct mqtt_publication *publication,
                 struct pith_error *err)
{
    int rc = 0;

    if (!mqtt_topic_valid(publication->topic))
        rc = pith_fail(err, -EINVAL, "\"%s\" is no topic to publish on", publication->topic);
    if (rc == 0)
        rc = check_size(mqtt, publication, err);
    if (rc == 0 && mqtt->state == STATE_CLOSING)
        rc = pith_fail(err, -ESHUTDOWN, "the connection is being closed");
    if (rc == 0)
        rc = mqtt_queue_add(&mqtt->queue, publication, err);
    if (rc < 0) {
        mqtt->refused_count++;
        return rc;
    }
    bool idle = mqtt->queue.in_flight == 0;

    mqtt_pump(mqtt);
    if (idle)
        mqtt_watch_answers(mqtt);
    return 0;
}

void mqtt_take_answers(struct mqtt *mqtt, const struct mqtt_client_facts *facts)
{
    for (unsigned slot = 0; slot < MQTT_WINDOW_MAX; slot++) {
        if (!(facts->answered & 1u << slot))
            continue;
        struct mqtt_queue_entry *entry = mqtt_queue_answered(&mqtt->queue, slot);

        if (!entry)
            continue;
        if (facts->status[slot] < 0)
            log_error("mqtt_publish_refused", "link=%s topic=%s reason=\"%s\"", mqtt->name,
                      entry->publication.topic, facts->slot_reason);
        mqtt_finish(mqtt, entry, facts->status[slot]);
    }
    if (facts->answered) {
        mqtt_pump(mqtt);
        mqtt_watch_answers(mqtt);
    }
}

static void wake_on_any_thread(void *user)
{
    struct mqtt *mqtt = user;

    (void) uv_async_send(&mqtt->woken);
}

bool mqtt_is_connected(const struct mqtt *mqtt)
{
    return mqtt->state == STATE_UP;
}

void mqtt_counts(const struct mqtt *mqtt, struct mqtt_counts *out)
{
    struct mqtt_inbox_counts inbox;

    mqtt_inbox_counts(mqtt->inbox, &inbox);
    *out = (struct mqtt_counts){
        .received = inbox.received,
        .received_bytes = inbox.received_bytes,
        .dropped = inbox.dropped,
        .sent = mqtt->sent,
        .refused = mqtt->refused_count,
        .reconnects = mqtt->reconnects ? mqtt->reconnects - 1 : 0,
    };
}

/* ---- opening and closing ---- */

static void mqtt_free(struct mqtt *mqtt)
{
    mqtt_client_close(mqtt->client);
    mqtt_inbox_free(mqtt->inbox);
    mqtt_broker_free(&mqtt->next_broker);
    mqtt_handlers_free(mqtt);
    free(mqtt->name);
    free(mqtt);
}

int mqtt_open(struct mqtt **out, uv_loop_t *loop, const struct mqtt_options *options,
              struct pith_error *err)
{
    struct mqtt *mqtt = calloc(1, sizeof *mqtt);
    struct mqtt_url url;
    int rc = 0;

    if (!mqtt)
        return pith_fail(err, -ENOMEM, "no memory for an MQTT connection");
    mqtt->loop = loop;
    mqtt->connected = options->connected;
    mqtt->disconnected = options->disconnected;
    mqtt->user = options->user;
    mqtt->name = strdup(options->name);
    mqtt_queue_init(&mqtt->queue);
    if (!mqtt->name || mqtt_inbox_new(&mqtt->inbox, options->inbox_bytes) < 0) {
        rc = pith_fail(err, -ENOMEM, "no memory for an MQTT connection");
        goto failed;
    }
    rc = mqtt_url_parse(&url, options->broker->url, err);
    if (rc == 0)
        rc = mqtt_broker_copy(&mqtt->next_broker, options->broker, err);
    if (rc == 0)
        rc =
            mqtt_client_open(&mqtt->client,
                             &(struct mqtt_client_options){.client_id = options->client_id,
                                                           .will_topic = options->will_topic,
                                                           .will_payload = options->will_payload,
                                                           .packet_max_bytes = options->inbox_bytes,
                                                           .inbox = mqtt->inbox,
                                                           .wake_on_any_thread = wake_on_any_thread,
                                                           .user = mqtt},
                             err);
    if (rc == 0) {
        rc = uv_async_init(loop, &mqtt->woken, mqtt_woken);
        if (rc < 0)
            rc = pith_fail(err, rc, "no MQTT connection: %s", uv_strerror(rc));
    }
    if (rc < 0)
        goto failed;
    (void) uv_timer_init(loop, &mqtt->timer); /* these two can't fail */
    (void) uv_timer_init(loop, &mqtt->resend);
    mqtt->woken.data = mqtt->timer.data = mqtt->resend.data = mqtt;
    mqtt->open_parts = 3;
    mqtt->told_down = false;
    (void) uv_timer_start(&mqtt->timer, mqtt_attempt_due, 0, 0);
    *out = mqtt;
    return 0;
failed:
    mqtt_free(mqtt);
    return rc;
}

void mqtt_part_closed(struct mqtt *mqtt)
{
    void (*closed)(void *user) = mqtt->closed;
    void *user = mqtt->closed_user;

    if (--mqtt->open_parts > 0)
        return;
    mqtt_free(mqtt);
    if (closed)
        closed(user);
}

static void handle_closed(uv_handle_t *handle)
{
    mqtt_part_closed(handle->data);
}

/* The library refers to nothing of ours any more. */
void mqtt_close_dropped(struct mqtt *mqtt)
{
    struct mqtt_queue_entry *entry = mqtt_queue_lost(&mqtt->queue);

    while (entry) {
        struct mqtt_queue_entry *next = entry->next;

        mqtt_finish(mqtt, entry, -ECANCELED);
        entry = next;
    }
    while ((entry = mqtt_queue_take(&mqtt->queue)) != NULL)
        mqtt_finish(mqtt, entry, -ECANCELED);
    uv_close((uv_handle_t *) &mqtt->woken, handle_closed);
    uv_close((uv_handle_t *) &mqtt->timer, handle_closed);
    uv_close((uv_handle_t *) &mqtt->resend, handle_closed);
}

void mqtt_close(struct mqtt *mqtt, void (*closed)(void *user), void *user)
{
    bool dropping = mqtt->state == STATE_DROPPING;

    mqtt->closed = closed;
    mqtt->closed_user = user;
    mqtt->state = STATE_CLOSING;
    (void) uv_timer_stop(&mqtt->resend);
    mqtt_watch_drop(mqtt);
    if (mqtt->resolving)
        (void) uv_cancel(
            (uv_req_t *) &mqtt->resolver); /* where it runs already, its end is waited for */
    if (!dropping)
        mqtt_client_drop(mqtt->client);
}
