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

void broker_connected_on_client_thread(void *context, MQTTAsync_successData5 *data)
{
    struct broker *broker = context;

    set_no_delay_on_client_thread();
    pthread_mutex_lock(&broker->lock);
    broker->connecting = REQUEST_DONE;
    broker->connected = true;
    if (MQTTProperties_hasProperty(&data->properties, MQTTPROPERTY_CODE_MAXIMUM_PACKET_SIZE))
        broker->max_packet_bytes = (uint32_t) MQTTProperties_getNumericValue(
            &data->properties, MQTTPROPERTY_CODE_MAXIMUM_PACKET_SIZE);
    wake(broker);
}

void broker_refused_on_client_thread(void *context, MQTTAsync_failureData5 *data)
{
    struct broker *broker = context;

    pthread_mutex_lock(&broker->lock);
    broker->connecting = REQUEST_FAILED;
    broker->connect_code =
        data->reasonCode >= MQTTREASONCODE_UNSPECIFIED_ERROR ? (int) data->reasonCode : data->code;
    (void) snprintf(broker->connect_text, sizeof broker->connect_text, "%s",
                    data->message ? data->message
                    : data->reasonCode >= MQTTREASONCODE_UNSPECIFIED_ERROR
                        ? MQTTReasonCode_toString(data->reasonCode)
                        : "no answer");
    wake(broker);
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

void broker_closed_by_broker_on_client_thread(void *context, MQTTProperties *properties,
                                              enum MQTTReasonCodes reason)
{
    (void) properties;
    (void) reason;
    broker_lost_on_client_thread(context, NULL);
}

void broker_answered_on_client_thread(void *context, MQTTAsync_successData5 *data)
{
    struct broker *broker = context;
    int code = (int) data->reasonCode;

    pthread_mutex_lock(&broker->lock);
    /* With one topic the code is in reasonCode alone, and the array is not one. */
    for (int i = 0; data->alt.sub.reasonCodeCount > 1 && i < data->alt.sub.reasonCodeCount; i++)
        if (data->alt.sub.reasonCodes[i] >= MQTTREASONCODE_UNSPECIFIED_ERROR)
            code = (int) data->alt.sub.reasonCodes[i];
    broker->asking = code >= (int) MQTTREASONCODE_UNSPECIFIED_ERROR ? REQUEST_FAILED : REQUEST_DONE;
    broker->ask_code = code;
    wake(broker);
}

void broker_unanswered_on_client_thread(void *context, MQTTAsync_failureData5 *data)
{
    struct broker *broker = context;

    pthread_mutex_lock(&broker->lock);
    broker->asking = REQUEST_FAILED;
    broker->ask_code = (int) data->reasonCode;
    wake(broker);
}

void broker_published_on_client_thread(void *context, MQTTAsync_successData5 *data)
{
    struct broker *broker = context;

    (void) data;
    pthread_mutex_lock(&broker->lock);
    broker->in_flight--;
    broker->acknowledged++;
    wake(broker);
}

void broker_unpublished_on_client_thread(void *context, MQTTAsync_failureData5 *data)
{
    struct broker *broker = context;

    pthread_mutex_lock(&broker->lock);
    broker->in_flight--;
    if (!broker->publish_code)
        broker->publish_code =
            data->reasonCode >= MQTTREASONCODE_UNSPECIFIED_ERROR ? (int) data->reasonCode : -1;
    wake(broker);
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
