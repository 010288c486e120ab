/* What paho calls: each callback notes a fact in the client and wakes the loop. See mqtt_client.h.
 */
#include "daemon/mqtt_library.h"
#include "libpith/base/clock.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

/* MQTT 3.1.1, sections 3.2.2.3 and 3.9.3 */
#define CONNACK3_VERSION 1    /* "unacceptable protocol version" */
#define SUBACK3_FAILURE  0x80 /* the only one there is */

void mqtt_note_lost(struct mqtt_client *client, bool refused, const char *reason)
{
    (void) pthread_mutex_lock(&client->mutex);
    if (!client->facts.lost) { /* the first to speak knows best */
        client->facts.lost = true;
        client->facts.refused = refused;
        (void) snprintf(client->facts.reason, sizeof client->facts.reason, "%s", reason);
    }
    (void) pthread_mutex_unlock(&client->mutex);
    client->wake_on_any_thread(client->user);
}

/* paho 1.3.12 leaves Nagle's algorithm on, which costs 44 ms a window of publishes, and tells no
 * one its socket. So every TCP socket that is connected to the broker's port gets the option; that
 * does no harm to another one. */
static void set_nodelay(uint16_t port)
{
    struct rlimit limit = {.rlim_cur = 1024};

    (void) getrlimit(RLIMIT_NOFILE, &limit);
    for (int fd = 0; fd < (int) (limit.rlim_cur < 4096 ? limit.rlim_cur : 4096); fd++) {
        struct sockaddr_storage peer;
        socklen_t bytes = sizeof peer;
        int on = 1;

        if (getpeername(fd, (struct sockaddr *) &peer, &bytes) != 0)
            continue;
        if ((peer.ss_family == AF_INET &&
             ((struct sockaddr_in *) &peer)->sin_port == htons(port)) ||
            (peer.ss_family == AF_INET6 &&
             ((struct sockaddr_in6 *) &peer)->sin6_port == htons(port)))
            (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
}

static int64_t number_or(const MQTTProperties *properties, enum MQTTPropertyCodes code,
                         int64_t otherwise)
{
    MQTTProperties *readable =
        (MQTTProperties *) (uintptr_t) properties; /* the library's getters take no const */

    if (!MQTTProperties_hasProperty(readable, code))
        return otherwise;
    return (uint32_t) MQTTProperties_getNumericValue(readable, code);
}

/* Tells what CONNACK said. That we are connected is for mqtt_connected_on_library_thread to say:
 * this one was seen missing. */
void mqtt_connack_on_library_thread(void *context, MQTTAsync_successData5 *data)
{
    struct mqtt_client *client = context;

    (void) pthread_mutex_lock(&client->mutex);
    client->facts.session_present = data->alt.connect.sessionPresent != 0;
    client->facts.receive_max =
        number_or(&data->properties, MQTTPROPERTY_CODE_RECEIVE_MAXIMUM, 65535);
    client->facts.packet_max_bytes =
        number_or(&data->properties, MQTTPROPERTY_CODE_MAXIMUM_PACKET_SIZE, 0);
    client->facts.retain_refused =
        number_or(&data->properties, MQTTPROPERTY_CODE_RETAIN_AVAILABLE, 1) == 0;
    (void) pthread_mutex_unlock(&client->mutex);
}

void mqtt_connected_on_library_thread(void *context, char *cause)
{
    struct mqtt_client *client = context;

    (void) cause;
    set_nodelay(client->url.port);
    (void) pthread_mutex_lock(&client->mutex);
    client->facts.connected = true;
    (void) pthread_mutex_unlock(&client->mutex);
    client->wake_on_any_thread(client->user);
}

void mqtt_connack3_on_library_thread(void *context, MQTTAsync_successData *data)
{
    struct mqtt_client *client = context;

    (void) pthread_mutex_lock(&client->mutex);
    client->facts.session_present = data->alt.connect.sessionPresent != 0;
    (void) pthread_mutex_unlock(&client->mutex);
}

/* code: CONNACK's where the broker refused us, 0 where there was none. text: in words. */
static void connect_failed(struct mqtt_client *client, int code, const char *text)
{
    char reason[MQTT_REASON_BYTES];

    (void) pthread_mutex_lock(&client->mutex);
    if (code) {
        (void) snprintf(reason, sizeof reason, "the broker refused the connection: %s (reason %d)",
                        text ? text : "no words for it", code);
    } else if (client->tls_error[0]) {
        mqtt_tls_reason(reason, sizeof reason, client->tls_error, pith_wall_ms());
    } else {
        (void) snprintf(reason, sizeof reason, "no connection to %.150s port %u%s",
                        client->url.host, client->url.port,
                        client->url.tls ? ", or its certificate was not trusted" : "");
    }
    (void) pthread_mutex_unlock(&client->mutex);
    mqtt_note_lost(client, code != 0, reason);
}

void mqtt_connect_failed_on_library_thread(void *context, MQTTAsync_failureData5 *data)
{
    struct mqtt_client *client = context;
    /* CONNACK's reason stands in either field, by where the library noticed. */
    int code = data->reasonCode >= 0x80 ? (int) data->reasonCode
               : data->code >= 0x80     ? data->code
                                        : 0;

    /* A broker of 3.1.1 answers in its own words, and the library passes them on. */
    if (code == MQTTREASONCODE_UNSUPPORTED_PROTOCOL_VERSION || data->code == CONNACK3_VERSION) {
        code = MQTTREASONCODE_UNSUPPORTED_PROTOCOL_VERSION;
        (void) pthread_mutex_lock(&client->mutex);
        client->facts.version_refused = true;
        (void) pthread_mutex_unlock(&client->mutex);
    }
    connect_failed(client, code,
                   code ? MQTTReasonCode_toString((enum MQTTReasonCodes) code) : NULL);
}

void mqtt_connect3_failed_on_library_thread(void *context, MQTTAsync_failureData *data)
{
    static const char *const words[] = {
        NULL,
        "it does not speak MQTT 3.1.1",
        "it does not like the client's id",
        "it is not available",
        "bad user name or password",
        "not authorized",
    };
    bool refused = data->code > 0 && data->code < (int) (sizeof words / sizeof *words);

    connect_failed(context, refused ? data->code : 0, refused ? words[data->code] : NULL);
}

void mqtt_lost_on_library_thread(void *context, char *cause)
{
    (void) cause; /* always NULL in this version */
    mqtt_note_lost(context, false, "the connection broke off");
}

void mqtt_disconnected_on_library_thread(void *context, MQTTProperties *properties,
                                         enum MQTTReasonCodes code)
{
    char reason[MQTT_REASON_BYTES];
    const char *text = MQTTReasonCode_toString(code);

    (void) properties;
    (void) snprintf(reason, sizeof reason, "the broker disconnected us: %s (reason %d)",
                    text ? text : "no words for it", (int) code);
    mqtt_note_lost(context, code >= MQTTREASONCODE_UNSPECIFIED_ERROR, reason);
}

int mqtt_tls_error_on_library_thread(const char *text, size_t bytes, void *context)
{
    struct mqtt_client *client = context;

    (void) pthread_mutex_lock(&client->mutex);
    if (!client->tls_error[0]) { /* the first of OpenSSL's queue is the cause */
        char line[MQTT_REASON_BYTES];
        const char *word = line;

        (void) snprintf(line, sizeof line, "%.*s", (int) bytes, text);
        /* "thread:error:number:library:function:reason:file:line:data": people need the reason. */
        for (int i = 0; word && i < 5; i++)
            word = strchr(word, ':') ? strchr(word, ':') + 1 : NULL;
        if (word)
            line[(size_t) (word - line) + strcspn(word, ":\r\n")] = 0;
        (void) snprintf(client->tls_error, sizeof client->tls_error, "%s", word ? word : line);
    }
    (void) pthread_mutex_unlock(&client->mutex);
    return 1;
}

static void collect_properties(const MQTTProperties *properties, struct mqtt_message *message,
                               char *response, size_t response_bytes, uint32_t *ids,
                               size_t *id_count)
{
    for (int i = 0; i < properties->count; i++) {
        const MQTTProperty *property = &properties->array[i];

        if (property->identifier == MQTTPROPERTY_CODE_RESPONSE_TOPIC) {
            if (property->value.data.len > 0 &&
                (size_t) property->value.data.len < response_bytes) {
                memcpy(response, property->value.data.data, (size_t) property->value.data.len);
                response[property->value.data.len] = 0;
                message->response_topic = response;
            }
        } else if (property->identifier == MQTTPROPERTY_CODE_CORRELATION_DATA) {
            message->correlation = (const uint8_t *) property->value.data.data;
            message->correlation_bytes = (size_t) property->value.data.len;
        } else if (property->identifier == MQTTPROPERTY_CODE_SUBSCRIPTION_IDENTIFIER &&
                   *id_count < MQTT_MESSAGE_MAX_IDS) {
            ids[(*id_count)++] = property->value.integer4;
        }
    }
}

int mqtt_arrived_on_library_thread(void *context, char *topic, int topic_bytes,
                                   MQTTAsync_message *arrived)
{
    struct mqtt_client *client = context;
    char response[MQTT_TOPIC_MAX_BYTES + 1];
    uint32_t ids[MQTT_MESSAGE_MAX_IDS];
    size_t id_count = 0;
    struct mqtt_message message = {
        .topic = topic,
        .payload = arrived->payload,
        .bytes = arrived->payloadlen > 0 ? (size_t) arrived->payloadlen : 0,
        .retained = arrived->retained != 0,
    };

    collect_properties(&arrived->properties, &message, response, sizeof response, ids, &id_count);
    /* The length differs where the topic has a 0 in it, which none of ours has. */
    if ((topic_bytes != 0 && strlen(topic) != (size_t) topic_bytes) || !mqtt_topic_valid(topic))
        mqtt_inbox_refuse_on_any_thread(client->inbox, message.bytes);
    else if (mqtt_inbox_put_on_any_thread(client->inbox, &message, ids, id_count))
        client->wake_on_any_thread(client->user);
    MQTTAsync_freeMessage(&arrived);
    MQTTAsync_free(topic);
    return 1; /* 0 would be no backpressure: the library then queues without a bound */
}

static int status_of_reason(int code)
{
    switch (code) {
    case MQTTREASONCODE_NOT_AUTHORIZED:
        return -EACCES;
    case MQTTREASONCODE_PACKET_TOO_LARGE:
        return -EMSGSIZE;
    case MQTTREASONCODE_QUOTA_EXCEEDED:
        return -EDQUOT;
    case MQTTREASONCODE_TOPIC_NAME_INVALID:
        return -EINVAL;
    default:
        return -EIO;
    }
}

void mqtt_note_answer(struct mqtt_slot *slot, int token, int status, const char *reason)
{
    struct mqtt_client *client = slot->client;
    bool counts = false;

    (void) pthread_mutex_lock(&client->mutex);
    if (slot->in_flight && (token == 0 || slot->token == 0 ||
                            token == slot->token)) { /* else: an old one, told twice */
        slot->in_flight = false;
        client->facts.answered |= 1u << slot->index;
        client->facts.status[slot->index] = status;
        if (status < 0)
            (void) snprintf(client->facts.slot_reason, sizeof client->facts.slot_reason, "%s",
                            reason);
        counts = true;
    }
    (void) pthread_mutex_unlock(&client->mutex);
    if (counts)
        client->wake_on_any_thread(client->user);
}

void mqtt_published_on_library_thread(void *context, MQTTAsync_successData5 *data)
{
    mqtt_note_answer(context, data->token, 0, "");
}

void mqtt_published3_on_library_thread(void *context, MQTTAsync_successData *data)
{
    mqtt_note_answer(context, data->token, 0, "");
}

void mqtt_publish_failed_on_library_thread(void *context, MQTTAsync_failureData5 *data)
{
    char reason[MQTT_REASON_BYTES];
    const char *text = MQTTReasonCode_toString(data->reasonCode);

    if (data->reasonCode < MQTTREASONCODE_UNSPECIFIED_ERROR) /* not the broker's word: the link
                                                                went, and will be told */
        return;
    (void) snprintf(reason, sizeof reason, "the broker refused it: %s (reason %d)",
                    text ? text : "no words for it", (int) data->reasonCode);
    mqtt_note_answer(context, data->token, status_of_reason((int) data->reasonCode), reason);
}

static void note_refused_filter(const struct mqtt_subscribe_slot *slot, int reason)
{
    struct mqtt_client *client = slot->client;

    (void) pthread_mutex_lock(&client->mutex);
    client->facts.refused_filter_id = slot->filter_id;
    client->facts.refused_filter_reason = reason;
    (void) pthread_mutex_unlock(&client->mutex);
    client->wake_on_any_thread(client->user);
}

void mqtt_subscribe_failed_on_library_thread(void *context, MQTTAsync_failureData5 *data)
{
    if (data->reasonCode >= MQTTREASONCODE_UNSPECIFIED_ERROR)
        note_refused_filter(context, (int) data->reasonCode);
}

void mqtt_subscribe3_failed_on_library_thread(void *context, MQTTAsync_failureData *data)
{
    if (data->code == SUBACK3_FAILURE)
        note_refused_filter(context, data->code);
}
