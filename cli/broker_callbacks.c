/* What paho calls: each callback puts what happened into the connection, and wakes the command. */
#include "cli/broker_private.h"

#include <dirent.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* MQTT 3.1.1, sections 3.2.2.3 and 3.9.3 */
#define CONNACK3_VERSION 1    /* "unacceptable protocol version" */
#define SUBACK3_FAILURE  0x80 /* the only one there is */

static void wake(struct broker *broker)
{
    pthread_cond_broadcast(&broker->changed);
    pthread_mutex_unlock(&broker->lock);
}

static void set_no_delay_on_client_thread(void)
{
    DIR *folder = opendir("/proc/self/fd");
    struct dirent *entry;
    int on = 1;

    while (folder && (entry = readdir(folder))) {
        int fd = atoi(entry->d_name), type = 0;
        socklen_t length = sizeof type;

        if (fd > STDERR_FILENO && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 &&
            type == SOCK_STREAM)
            (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on,
                              sizeof on); /* fails on what is not TCP: fine */
    }
    if (folder)
        closedir(folder);
}

static void note_connected(struct broker *broker, uint32_t max_packet_bytes)
{
    set_no_delay_on_client_thread();
    pthread_mutex_lock(&broker->lock);
    broker->connecting = REQUEST_DONE;
    broker->connected = true;
    broker->max_packet_bytes = max_packet_bytes;
    wake(broker);
}

void broker_connected_on_client_thread(void *context, MQTTAsync_successData5 *data)
{
    uint32_t max_packet_bytes = UINT32_MAX;

    if (MQTTProperties_hasProperty(&data->properties, MQTTPROPERTY_CODE_MAXIMUM_PACKET_SIZE))
        max_packet_bytes = (uint32_t) MQTTProperties_getNumericValue(
            &data->properties, MQTTPROPERTY_CODE_MAXIMUM_PACKET_SIZE);
    note_connected(context, max_packet_bytes);
}

void broker_connected3_on_client_thread(void *context, MQTTAsync_successData *data)
{
    (void) data;
    note_connected(context, UINT32_MAX); /* it tells no limit */
}

static void note_refused(struct broker *broker, int code, const char *text, bool version)
{
    pthread_mutex_lock(&broker->lock);
    broker->connecting = REQUEST_FAILED;
    broker->connect_code = code;
    broker->version_refused = version;
    (void) snprintf(broker->connect_text, sizeof broker->connect_text, "%s", text);
    wake(broker);
}

void broker_refused_on_client_thread(void *context, MQTTAsync_failureData5 *data)
{
    bool said = data->reasonCode >= MQTTREASONCODE_UNSPECIFIED_ERROR;

    /* A broker of 3.1.1 answers in its own words, and the library passes them on. */
    if (data->reasonCode == MQTTREASONCODE_UNSUPPORTED_PROTOCOL_VERSION ||
        data->code == MQTTREASONCODE_UNSUPPORTED_PROTOCOL_VERSION || data->code == CONNACK3_VERSION)
        note_refused(context, MQTTREASONCODE_UNSUPPORTED_PROTOCOL_VERSION,
                     "it does not speak MQTT 5", true);
    else
        note_refused(context, said ? (int) data->reasonCode : data->code,
                     data->message ? data->message
                     : said        ? MQTTReasonCode_toString(data->reasonCode)
                                   : "no answer",
                     false);
}

void broker_refused3_on_client_thread(void *context, MQTTAsync_failureData *data)
{
    static const char *const words[] = {
        NULL,
        "it does not speak MQTT 3.1.1",
        "it does not like the client's id",
        "it is not available",
        "bad user name or password",
        "not authorized",
    };
    bool said = data->code > 0 && data->code < (int) (sizeof words / sizeof *words);

    note_refused(context, said ? (int) MQTTREASONCODE_UNSPECIFIED_ERROR : data->code,
                 said            ? words[data->code]
                 : data->message ? data->message
                                 : "no answer",
                 false);
}

int broker_tls_error_on_client_thread(const char *text, size_t length, void *context)
{
    struct broker *broker = context;

    pthread_mutex_lock(&broker->lock);
    (void) snprintf(broker->tls_text, sizeof broker->tls_text, "%.*s", (int) strcspn(text, "\n"),
                    text);
    pthread_mutex_unlock(&broker->lock);
    return length > 0;
}

void broker_lost_on_client_thread(void *context, char *cause)
{
    struct broker *broker = context;

    (void) cause;
    pthread_mutex_lock(&broker->lock);
    broker->connected = false;
    broker->lost = true;
    wake(broker);
}

void broker_closed_on_client_thread(void *context, MQTTProperties *properties,
                                    enum MQTTReasonCodes reason)
{
    (void) properties;
    (void) reason;
    broker_lost_on_client_thread(context, NULL);
}

static void note_answer(struct broker *broker, enum request_state state, int code)
{
    pthread_mutex_lock(&broker->lock);
    broker->asking = state;
    broker->ask_code = code;
    wake(broker);
}

void broker_answered_on_client_thread(void *context, MQTTAsync_successData5 *data)
{
    int code = (int) data->reasonCode;

    /* With one topic the code is in reasonCode alone, and the array is not one. */
    for (int i = 0; data->alt.sub.reasonCodeCount > 1 && i < data->alt.sub.reasonCodeCount; i++)
        if (data->alt.sub.reasonCodes[i] >= MQTTREASONCODE_UNSPECIFIED_ERROR)
            code = (int) data->alt.sub.reasonCodes[i];
    note_answer(context,
                code >= (int) MQTTREASONCODE_UNSPECIFIED_ERROR ? REQUEST_FAILED : REQUEST_DONE,
                code);
}

/* Of one topic a refusal is a failure; of more they are told here, and how many there are is known
 * to who asked. */
void broker_subscribed3_on_client_thread(void *context, MQTTAsync_successData *data)
{
    struct broker *broker = context;
    bool refused = false;

    for (size_t i = 0; broker->ask_count > 1 && i < broker->ask_count; i++)
        refused = refused || data->alt.qosList[i] == SUBACK3_FAILURE;
    note_answer(broker, refused ? REQUEST_FAILED : REQUEST_DONE, 0);
}

void broker_unsubscribed3_on_client_thread(void *context, MQTTAsync_successData *data)
{
    (void) data;
    note_answer(context, REQUEST_DONE, 0);
}

void broker_unanswered_on_client_thread(void *context, MQTTAsync_failureData5 *data)
{
    note_answer(context, REQUEST_FAILED, (int) data->reasonCode);
}

void broker_unanswered3_on_client_thread(void *context, MQTTAsync_failureData *data)
{
    (void) data;
    note_answer(context, REQUEST_FAILED, 0);
}

/* code: 0, or why it was refused; -1: it did not say. */
static void note_published(struct broker *broker, int code)
{
    pthread_mutex_lock(&broker->lock);
    broker->in_flight--;
    if (code == 0)
        broker->acknowledged++;
    else if (!broker->publish_code)
        broker->publish_code = code;
    wake(broker);
}

void broker_published_on_client_thread(void *context, MQTTAsync_successData5 *data)
{
    (void) data;
    note_published(context, 0);
}

void broker_published3_on_client_thread(void *context, MQTTAsync_successData *data)
{
    (void) data;
    note_published(context, 0);
}

void broker_unpublished_on_client_thread(void *context, MQTTAsync_failureData5 *data)
{
    note_published(context, data->reasonCode >= MQTTREASONCODE_UNSPECIFIED_ERROR
                                ? (int) data->reasonCode
                                : -1);
}

void broker_unpublished3_on_client_thread(void *context, MQTTAsync_failureData *data)
{
    (void) data;
    note_published(context, -1);
}

int broker_arrived_on_client_thread(void *context, char *topic, int topic_bytes,
                                    MQTTAsync_message *arrived)
{
    struct broker *broker = context;
    struct broker_message *message = calloc(1, sizeof *message);
    size_t bytes = arrived->payloadlen > 0 ? (size_t) arrived->payloadlen : 0;
    bool good;

    (void) topic_bytes; /* topics hold no NUL: MQTT forbids it */
    if (message) {
        message->topic = strdup(topic);
        message->payload = malloc(bytes + 1);
        message->bytes = bytes;
        message->retained = arrived->retained;
    }
    good = message && message->topic && message->payload;
    if (good) {
        memcpy(message->payload, arrived->payload, bytes);
        message->payload[bytes] = 0;
        pthread_mutex_lock(&broker->lock);
        *broker->last = message;
        broker->last = &message->next;
        wake(broker);
    } else {
        broker_message_free(message);
    }
    if (!good)
        return 0; /* out of memory: the library offers it again */
    MQTTAsync_freeMessage(&arrived);
    MQTTAsync_free(topic);
    return 1;
}
