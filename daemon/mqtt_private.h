/* What the files of an MQTT connection share: the connection itself, and what one of them does for another.
 *
 *   mqtt.c           opening, publishing, closing
 *   mqtt_link.c      the link to the broker: when it is tried, what came over it
 *   mqtt_handlers.c  subscriptions, and who gets a message */
#ifndef PITHD_MQTT_PRIVATE_H
#define PITHD_MQTT_PRIVATE_H

#include "daemon/mqtt.h"
#include "daemon/mqtt_client.h"
#include "daemon/mqtt_queue.h"

_Static_assert(MQTT_QUEUE_SLOTS == MQTT_WINDOW_MAX, "queue and client count the same slots");

enum mqtt_state {
    STATE_WAITING,
    STATE_RESOLVING,
    STATE_CONNECTING,
    STATE_UP,
    STATE_DROPPING,
    STATE_CLOSING
};

struct mqtt {
    uv_loop_t *loop;
    char *name;
    void (*connected)(void *user, bool session_present);
    void (*disconnected)(void *user, const char *reason);
    void *user;
    struct mqtt_client *client;
    struct mqtt_inbox *inbox;
    struct mqtt_queue queue;
    struct mqtt_subscription *handlers; /* in the order of subscribing */
    unsigned dispatching;
    enum mqtt_state state;
    struct config_broker next_broker; /* own strings; url NULL: no change waits */
    struct mqtt_url url;
    unsigned failures;
    uint64_t up_since_ms;
    int64_t packet_max_bytes; /* of the broker; 0: none told, or not connected yet */
    int64_t keep_alive_ms;
    int version;    /* enum config_mqtt, as configured */
    bool fell_back; /* the broker does not speak MQTT 5: tried again whenever a link was up */
    char reason[MQTT_REASON_BYTES]; /* of the last loss */
    bool refused, told_down;
    bool hurries; /* the next attempt is made at once */
    uint64_t sent, refused_count, reconnects;
    void (*closed)(void *user);
    void *closed_user;
    unsigned
        open_parts; /* handles, and the look-up under way: all must be done before this is freed */
    bool resolving;
    uv_async_t woken;
    uv_timer_t timer;  /* the next attempt, or the watchdog of what is under way */
    uv_timer_t resend; /* publishes that are never answered */
    uv_getaddrinfo_t resolver;
};

/* ---- mqtt.c ---- */
void mqtt_pump(struct mqtt *mqtt); /* sends what waits, as far as the window allows */
void mqtt_finish(struct mqtt *mqtt, struct mqtt_queue_entry *entry, int status);
void mqtt_watch_answers(struct mqtt *mqtt);
void mqtt_take_answers(struct mqtt *mqtt, const struct mqtt_client_facts *facts);
void mqtt_part_closed(struct mqtt *mqtt);
void mqtt_close_dropped(struct mqtt *mqtt); /* while closing: the library refers to nothing of ours any more */

/* ---- mqtt_link.c ---- */
void mqtt_link_lost(struct mqtt *mqtt, bool refused, const char *reason);
void mqtt_attempt_due(uv_timer_t *timer);
void mqtt_watch_drop(struct mqtt *mqtt); /* the library lets go of a connection: tells where that takes too long */
void mqtt_woken(uv_async_t *async);
int mqtt_broker_copy(struct config_broker *out, const struct config_broker *broker, struct pith_error *err) PITH_CHECKED;
void mqtt_broker_free(struct config_broker *broker);

/* ---- mqtt_handlers.c ---- */
void mqtt_subscribe_all(struct mqtt *mqtt, bool session_present);
void mqtt_dispatch(struct mqtt *mqtt, const struct mqtt_inbox_message *message);
void mqtt_subscription_refused(const struct mqtt *mqtt, uint32_t filter_id, int reason_code);
void mqtt_handlers_free(struct mqtt *mqtt);

#endif
