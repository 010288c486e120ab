/* The MQTT library, kept at arm's length: a thread that makes every call into it, and what its
 * callbacks leave behind.
 *
 * paho's calls wait for locks that its own threads hold (4 to 60 ms were measured for a publish, a
 * second and more for destroying a client), so the loop never makes one. Its callbacks may come
 * twice, late or with a stale context, so they carry only pointers into memory that lives as long
 * as the struct, and all they do is to note a fact and wake the loop. A link that was lost is never
 * mended: the library's client is destroyed and the next attempt makes a new one, which leaves
 * nothing of the library's own queue, retries and timers to rely on. */
#ifndef PITHD_MQTT_CLIENT_H
#define PITHD_MQTT_CLIENT_H

#include "daemon/mqtt_inbox.h"
#include "daemon/mqtt_rules.h"

#define MQTT_WINDOW_MAX   16 /* publishes in flight; more gains nothing with TCP_NODELAY set */
#define MQTT_REASON_BYTES 256

struct mqtt_client;

struct mqtt_client_options {
    const char *client_id;
    const char *will_topic, *will_payload; /* NULL: no will */
    int64_t packet_max_bytes;              /* of what may arrive; told to the broker */
    struct mqtt_inbox *inbox;
    void (*wake_on_any_thread)(void *user); /* there is something in the facts or the inbox */
    void *user;
};

struct mqtt_client_facts { /* since they were last read */
    bool connected;        /* the broker took us; what follows holds then */
    bool session_present;
    int64_t receive_max;      /* publishes that the broker takes in flight */
    int64_t packet_max_bytes; /* of a packet that the broker takes; 0: no limit told */
    bool retain_refused;      /* the broker keeps no retained messages */
    bool lost;                /* not connected, or no longer */
    bool refused;             /* by the broker: waiting longer is wiser than trying again at once */
    bool version_refused;     /* it does not speak MQTT 5 */
    char reason[MQTT_REASON_BYTES];
    bool dropped;                        /* what mqtt_client_drop asked for is done */
    uint32_t answered;                   /* a bit a slot: the publish in it has been answered */
    int status[MQTT_WINDOW_MAX];         /* 0, or a negative errno */
    char slot_reason[MQTT_REASON_BYTES]; /* of the last negative one */
    uint32_t refused_filter_id;          /* of a subscription that the broker refused; 0: none */
    int refused_filter_reason;
};

int mqtt_client_open(struct mqtt_client **out, const struct mqtt_client_options *options,
                     struct pith_error *err) PITH_CHECKED;
/* Only while dropped. */
int mqtt_client_set_broker(struct mqtt_client *client, const struct config_broker *broker,
                           struct pith_error *err) PITH_CHECKED;
/* mqtt3: in MQTT 3.1.1, which has no response topics, subscription identifiers, limits or reasons of refusal. */
void mqtt_client_connect(struct mqtt_client *client, bool mqtt3);
/* Disconnects and forgets all that is under way. Once `dropped` is told no publication is referred
 * to. */
void mqtt_client_drop(struct mqtt_client *client);
/* slot: 0 to MQTT_WINDOW_MAX - 1, not in flight. publication: stays until its slot is answered or
 * the client dropped. */
void mqtt_client_publish(struct mqtt_client *client, unsigned slot,
                         const struct mqtt_publication *publication);
/* with_retained: the broker sends what it retains even where it knew the subscription. */
int mqtt_client_subscribe(struct mqtt_client *client, const char *filter, int qos,
                          bool with_retained) PITH_CHECKED;
int mqtt_client_unsubscribe(struct mqtt_client *client, const char *filter) PITH_CHECKED;
void mqtt_client_take_facts(struct mqtt_client *client, struct mqtt_client_facts *out);
/* Dropped before. Joins the thread, which has nothing left to do. */
void mqtt_client_close(struct mqtt_client *client);

#endif
