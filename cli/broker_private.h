/* What the two halves of a command's connection share: broker.c, on the command's thread, and broker_callbacks.c, on the
 * library's. */
#ifndef PITH_CLI_BROKER_PRIVATE_H
#define PITH_CLI_BROKER_PRIVATE_H

#include "cli/broker.h"

#include <MQTTAsync.h>
#include <pthread.h>

enum request_state { REQUEST_WAITING, REQUEST_DONE, REQUEST_FAILED };

struct broker {
    MQTTAsync client;
    char root[129];
    char url[256]; /* as it was given, for sentences */
    bool mqtt3;    /* 3.1.1 is spoken */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Under the lock: */
    bool connected, lost;
    enum request_state connecting, asking;
    int connect_code, ask_code;
    size_t ask_count;     /* topic filters that were asked for */
    bool version_refused; /* the broker does not speak MQTT 5 */
    char connect_text[200], tls_text[200], ask_text[160];
    uint32_t max_packet_bytes;
    unsigned in_flight;
    uint64_t acknowledged;
    int publish_code; /* of the first publication that was refused; 0: none */
    struct broker_message *first, **last;
};

/* ---- broker_callbacks.c ---- */
void broker_connected_on_client_thread(void *context, MQTTAsync_successData5 *data);
void broker_refused_on_client_thread(void *context, MQTTAsync_failureData5 *data);
void broker_connected3_on_client_thread(void *context, MQTTAsync_successData *data);
void broker_refused3_on_client_thread(void *context, MQTTAsync_failureData *data);
void broker_subscribed3_on_client_thread(void *context, MQTTAsync_successData *data);
void broker_unsubscribed3_on_client_thread(void *context, MQTTAsync_successData *data);
void broker_unanswered3_on_client_thread(void *context, MQTTAsync_failureData *data);
void broker_published3_on_client_thread(void *context, MQTTAsync_successData *data);
void broker_unpublished3_on_client_thread(void *context, MQTTAsync_failureData *data);
int broker_tls_error_on_client_thread(const char *text, size_t length, void *context);
void broker_lost_on_client_thread(void *context, char *cause);
void broker_closed_on_client_thread(void *context, MQTTProperties *properties, enum MQTTReasonCodes reason);
void broker_answered_on_client_thread(void *context, MQTTAsync_successData5 *data);
void broker_unanswered_on_client_thread(void *context, MQTTAsync_failureData5 *data);
void broker_published_on_client_thread(void *context, MQTTAsync_successData5 *data);
void broker_unpublished_on_client_thread(void *context, MQTTAsync_failureData5 *data);
int broker_arrived_on_client_thread(void *context, char *topic, int topic_bytes, MQTTAsync_message *arrived);

#endif
