/* Inside of mqtt_client: what its three files share. mqtt_client.c has the thread and the loop's
 * side, mqtt_library.c the calls into paho, mqtt_callbacks.c what paho calls. Nobody else includes
 * this. */
#ifndef PITHD_MQTT_LIBRARY_H
#define PITHD_MQTT_LIBRARY_H

#include "daemon/mqtt_client.h"
#include <MQTTAsync.h>
#include <pthread.h>

#define MQTT_SUBSCRIBE_SLOTS 64 /* subscriptions whose refusal can still be told by name */

enum mqtt_command_kind {
    MQTT_COMMAND_CONNECT,
    MQTT_COMMAND_DROP,
    MQTT_COMMAND_PUBLISH,
    MQTT_COMMAND_SUBSCRIBE,
    MQTT_COMMAND_UNSUBSCRIBE,
    MQTT_COMMAND_STOP
};

struct mqtt_command {
    struct mqtt_command *next;
    enum mqtt_command_kind kind;
    const struct mqtt_publication *publication;
    unsigned slot;
    int qos;
    bool with_retained;
    char *filter; /* of MQTT_COMMAND_SUBSCRIBE and MQTT_COMMAND_UNSUBSCRIBE, which are freed when
                     done */
};

struct mqtt_slot { /* what a publish's callbacks get: lives as long as the client, whatever the
                 library does */
    struct mqtt_client *client;
    unsigned index;
    bool in_flight;
    int token;        /* 0: not known yet */
    uint64_t sending; /* counts what was sent in this slot */
    struct mqtt_command command;
};

struct mqtt_subscribe_slot {
    struct mqtt_client *client;
    uint32_t filter_id;
};

struct mqtt_client {
    struct mqtt_inbox *inbox;
    void (*wake_on_any_thread)(void *user);
    void *user;
    char *client_id, *will_topic, *will_payload;
    int64_t packet_max_bytes;

    /* Written by the loop while dropped, read by the thread between connect and drop. */
    struct mqtt_url url;
    char *ca, *cert, *key, *username, *password_file;
    int64_t keep_alive_ms;
    bool mqtt3; /* speak 3.1.1 */

    pthread_t thread;
    MQTTAsync library; /* the thread's; NULL while dropped */
    struct mqtt_subscribe_slot
        subscribes[MQTT_SUBSCRIBE_SLOTS]; /* the thread's, and the callbacks' */
    unsigned subscribe_next;

    pthread_mutex_t mutex; /* a leaf: guards what follows, never held while the library is called */
    pthread_cond_t wanted;
    struct mqtt_command *first, **last;
    struct mqtt_command connect, drop, stop;
    struct mqtt_slot slots[MQTT_WINDOW_MAX];
    struct mqtt_client_facts facts;
    char tls_error[MQTT_REASON_BYTES];
};

/* On the client's thread. */
void mqtt_library_connect(struct mqtt_client *client);
void mqtt_library_drop(struct mqtt_client *client);
void mqtt_library_publish(struct mqtt_client *client, const struct mqtt_command *command);
void mqtt_library_subscribe(struct mqtt_client *client, const struct mqtt_command *command);

/* Any thread: notes a fact and wakes the loop. */
void mqtt_note_lost(struct mqtt_client *client, bool refused, const char *reason);
void mqtt_note_answer(struct mqtt_slot *slot, int token, int status, const char *reason);

/* paho's threads, with its locks held. */
void mqtt_connack_on_library_thread(void *context, MQTTAsync_successData5 *data);
void mqtt_connected_on_library_thread(void *context, char *cause);
void mqtt_connect_failed_on_library_thread(void *context, MQTTAsync_failureData5 *data);
void mqtt_lost_on_library_thread(void *context, char *cause);
void mqtt_disconnected_on_library_thread(void *context, MQTTProperties *properties,
                                         enum MQTTReasonCodes code);
void mqtt_connack3_on_library_thread(void *context, MQTTAsync_successData *data);
void mqtt_connect3_failed_on_library_thread(void *context, MQTTAsync_failureData *data);
void mqtt_published3_on_library_thread(void *context, MQTTAsync_successData *data);
void mqtt_subscribe3_failed_on_library_thread(void *context, MQTTAsync_failureData *data);
int mqtt_tls_error_on_library_thread(const char *text, size_t bytes, void *context);
int mqtt_arrived_on_library_thread(void *context, char *topic, int topic_bytes,
                                   MQTTAsync_message *arrived);
void mqtt_published_on_library_thread(void *context, MQTTAsync_successData5 *data);
void mqtt_publish_failed_on_library_thread(void *context, MQTTAsync_failureData5 *data);
void mqtt_subscribe_failed_on_library_thread(void *context, MQTTAsync_failureData5 *data);

#endif
