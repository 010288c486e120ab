/* One MQTT connection on the loop, over paho's MQTTAsync. The library's threads only copy a message
 * into a bounded inbox and wake the loop; all that is declared here runs on the loop. Own send
 * window (never more in flight than the broker's receive maximum or 16), own bounded queue,
 * TCP_NODELAY, full-jitter reconnect, resubscribing when the broker has no session. */
#ifndef PITHD_MQTT_H
#define PITHD_MQTT_H

#include "daemon/config.h"
#include "daemon/mqtt_rules.h"
#include <uv.h>

struct mqtt;

struct mqtt_message { /* borrowed for the handler's call */
    const char *topic;
    const uint8_t *payload;
    size_t bytes;
    bool retained;
    const char *response_topic; /* NULL: none */
    const uint8_t *correlation;
    size_t correlation_bytes;
};
typedef void mqtt_handler(void *user, const struct mqtt_message *message);

struct mqtt_options {
    const struct config_broker *broker;
    const char *name; /* "home" or "fleet": for the log */
    const char *client_id;
    const char *will_topic; /* retained will; NULL: none */
    const char *will_payload;
    int64_t inbox_bytes; /* what may wait for the loop; sensor messages are then dropped oldest
                          * first, and counted. Also the largest packet that the broker may send */
    void (*connected)(void *user, bool session_present); /* NULL: none */
    void (*disconnected)(void *user, const char *reason);
    void *user;
};

int mqtt_open(struct mqtt **out, uv_loop_t *loop, const struct mqtt_options *options,
              struct pith_error *err) PITH_CHECKED;
/* Subscriptions are remembered and renewed whenever the broker has lost them. may_drop: for sensor
 * data, where the oldest gives way when the inbox is full; others are never dropped (their topics
 * are read in a small window). */
int mqtt_subscribe(struct mqtt *mqtt, const char *filter, int qos, bool may_drop,
                   mqtt_handler *handler, void *user, struct pith_error *err) PITH_CHECKED;
/* Takes back that one: several handlers may share a filter. */
void mqtt_unsubscribe(struct mqtt *mqtt, const char *filter, mqtt_handler *handler, void *user);
/* Queues a copy. done: may be NULL; called on the loop with 0 when the broker has acknowledged (qos
 * 1) or it was sent (qos 0), or a negative errno when it was given up. -ENOBUFS where the queue is
 * full, -EMSGSIZE where it is more than the broker takes, -EINVAL for a bad topic: nothing was
 * queued, and done is not called. */
struct mqtt_publication {
    const char *topic;
    const void *payload;
    size_t bytes;
    int qos;
    bool retain;
    const void *correlation; /* with a response */
    size_t correlation_bytes;
    void (*done)(void *user, int status);
    void *user;
};
int mqtt_publish(struct mqtt *mqtt, const struct mqtt_publication *publication,
                 struct pith_error *err) PITH_CHECKED;
bool mqtt_is_connected(const struct mqtt *mqtt);
struct mqtt_counts {
    uint64_t received, received_bytes, dropped, sent, refused, reconnects;
};
void mqtt_counts(const struct mqtt *mqtt, struct mqtt_counts *out);
/* Another broker, or other credentials: connects anew, keeping subscriptions and what waits. Copies
 * *broker. */
int mqtt_set_broker(struct mqtt *mqtt, const struct config_broker *broker,
                    struct pith_error *err) PITH_CHECKED;
/* Publishes nothing more (each `done` that is left is called with -ECANCELED), disconnects, and
 * calls closed on the loop when the library is done with it. */
void mqtt_close(struct mqtt *mqtt, void (*closed)(void *user), void *user);

#endif
