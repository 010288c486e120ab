/* The calls into paho, each made on the client's own thread. See mqtt_client.h. */
#include "daemon/mqtt_library.h"

#include "libpith/base/file.h"
#include "libpith/base/log.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SESSION_EXPIRY_S   (24 * 3600) /* a gateway that was off for a day starts afresh */
#define WILL_DELAY_S       10          /* a link that is back at once is no news */
#define CONNECT_TIMEOUT_S  15
#define PASSWORD_MAX_BYTES 4096
#define RECEIVE_MAX        64 /* messages of QoS 1 that the broker sends ahead */

/* Creating and destroying touch what the library shares between its clients. */
static pthread_mutex_t library_lifecycle = PTHREAD_MUTEX_INITIALIZER;
/* A handle that never connects and is never destroyed. With its last one the library (1.3.12) frees what its tracing writes
 * to, and its receiving thread, which says that it has stopped before it has, may still write there: a crash. */
static MQTTAsync keeper;

static void add_number(MQTTProperties *properties, enum MQTTPropertyCodes code, int64_t value)
{
    MQTTProperty property = {.identifier = code};

    if (code == MQTTPROPERTY_CODE_RECEIVE_MAXIMUM)
        property.value.integer2 = (unsigned short) value;
    else
        property.value.integer4 = (unsigned) value;
    (void) MQTTProperties_add(
        properties, &property); /* fails for want of memory: then the broker's default holds */
}

/* The first line of the file; NULL and a log line where it can't be read. Cleared and freed by the
 * caller. */
static int read_password(const struct mqtt_client *client, struct pith_buffer *out)
{
    struct pith_error err = {0};

    if (!client->password_file)
        return 0;
    int rc = pith_file_read(client->password_file, PASSWORD_MAX_BYTES, out, &err);

    if (rc < 0) {
        log_error("mqtt_password_unreadable", "reason=\"%s\"", pith_error_text(&err));
        return rc;
    }
    while (out->bytes && (out->data[out->bytes - 1] == '\n' || out->data[out->bytes - 1] == '\r'))
        out->data[--out->bytes] = 0;
    return 0;
}

static int library_create(struct mqtt_client *client)
{
    MQTTAsync_createOptions options = MQTTAsync_createOptions_initializer5;
    char uri[sizeof client->url.host + 32];
    bool ipv6 = strchr(client->url.host, ':') != NULL;
    int rc = keeper ? MQTTASYNC_SUCCESS
                    : MQTTAsync_create(&keeper, "tcp://127.0.0.1:1883", "keeper",
                                       MQTTCLIENT_PERSISTENCE_NONE, NULL);

    if (rc != MQTTASYNC_SUCCESS)
        return rc;
    if (client->mqtt3)
        options.MQTTVersion = MQTTVERSION_3_1_1;
    options.maxBufferedMessages = MQTT_WINDOW_MAX * 2; /* never reached: our window is narrower */
    (void) snprintf(uri, sizeof uri, "%s://%s%s%s:%u", client->url.tls ? "ssl" : "tcp",
                    ipv6 ? "[" : "", client->url.host, ipv6 ? "]" : "", client->url.port);
    rc = MQTTAsync_createWithOptions(&client->library, uri, client->client_id,
                                     MQTTCLIENT_PERSISTENCE_NONE, NULL, &options);
    if (rc != MQTTASYNC_SUCCESS)
        return rc;
    rc = MQTTAsync_setCallbacks(client->library, client, mqtt_lost_on_library_thread,
                                mqtt_arrived_on_library_thread, NULL);
    if (rc == MQTTASYNC_SUCCESS)
        rc = MQTTAsync_setConnected(client->library, client, mqtt_connected_on_library_thread);
    if (rc == MQTTASYNC_SUCCESS)
        rc =
            MQTTAsync_setDisconnected(client->library, client, mqtt_disconnected_on_library_thread);
    return rc;
}

/* What the two versions say differently; properties are of 5 alone, and stay with the caller. */
static MQTTAsync_connectOptions connect_options(struct mqtt_client *client,
                                                MQTTProperties *properties)
{
    const MQTTAsync_connectOptions of_3 = MQTTAsync_connectOptions_initializer;
    const MQTTAsync_connectOptions of_5 = MQTTAsync_connectOptions_initializer5;
    MQTTAsync_connectOptions options = client->mqtt3 ? of_3 : of_5;

    if (client->mqtt3) {
        options.MQTTVersion = MQTTVERSION_3_1_1;
        options.cleansession = 0;
        options.onSuccess = mqtt_connack3_on_library_thread;
        options.onFailure = mqtt_connect3_failed_on_library_thread;
        return options;
    }
    add_number(properties, MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL, SESSION_EXPIRY_S);
    add_number(properties, MQTTPROPERTY_CODE_RECEIVE_MAXIMUM, RECEIVE_MAX);
    add_number(properties, MQTTPROPERTY_CODE_MAXIMUM_PACKET_SIZE, client->packet_max_bytes);
    options.cleanstart = 0;
    options.connectProperties = properties;
    options.onSuccess5 = mqtt_connack_on_library_thread;
    options.onFailure5 = mqtt_connect_failed_on_library_thread;
    return options;
}

static int library_connect(struct mqtt_client *client, const struct pith_buffer *password)
{
    MQTTAsync_SSLOptions tls = MQTTAsync_SSLOptions_initializer;
    MQTTAsync_willOptions will = MQTTAsync_willOptions_initializer;
    MQTTProperties properties = MQTTProperties_initializer,
                   will_properties = MQTTProperties_initializer;
    MQTTAsync_connectOptions options = connect_options(client, &properties);
    int rc = 0;

    options.keepAliveInterval = (int) (client->keep_alive_ms / 1000);
    options.connectTimeout = CONNECT_TIMEOUT_S;
    options.maxInflight =
        MQTT_WINDOW_MAX + 4; /* above our window, where the library's sender would fall asleep */
    options.automaticReconnect = 0;
    options.context = client;
    options.username = client->username;
    if (client->password_file) {
        options.binarypwd.len = (int) password->bytes;
        options.binarypwd.data = password->data;
    }
    if (client->will_topic) {
        will.topicName = client->will_topic;
        will.payload.len = (int) strlen(client->will_payload);
        will.payload.data = client->will_payload;
        will.retained = 1;
        will.qos = 1;
        options.will = &will;
        if (!client->mqtt3) {
            add_number(&will_properties, MQTTPROPERTY_CODE_WILL_DELAY_INTERVAL, WILL_DELAY_S);
            options.willProperties = &will_properties;
        }
    }
    if (client->url.tls) {
        tls.trustStore = client->ca;
        tls.keyStore = client->cert;
        tls.privateKey = client->key;
        tls.verify = 1; /* the certificate must be for this host */
        tls.ssl_error_cb = mqtt_tls_error_on_library_thread;
        tls.ssl_error_context = client;
        options.ssl = &tls;
    }
    rc = MQTTAsync_connect(client->library, &options);
    MQTTProperties_free(&properties);
    MQTTProperties_free(&will_properties);
    return rc;
}

void mqtt_library_connect(struct mqtt_client *client)
{
    struct pith_buffer password = {0};
    int rc = 0;

    (void) pthread_mutex_lock(&client->mutex);
    client->tls_error[0] = 0;
    (void) pthread_mutex_unlock(&client->mutex);
    if (read_password(client, &password) < 0) {
        mqtt_note_lost(client, true, "the password file can't be read");
        goto done;
    }
    (void) pthread_mutex_lock(&library_lifecycle);
    rc = library_create(client);
    if (rc == MQTTASYNC_SUCCESS)
        rc = library_connect(client, &password);
    (void) pthread_mutex_unlock(&library_lifecycle);
    if (rc != MQTTASYNC_SUCCESS) {
        char reason[MQTT_REASON_BYTES];

        (void) snprintf(reason, sizeof reason, "the MQTT library can't connect: %s",
                        MQTTAsync_strerror(rc));
        mqtt_note_lost(client, false, reason);
    }
done:
    if (password.data)
        explicit_bzero(password.data, password.bytes);
    pith_buffer_done(&password);
}

void mqtt_library_drop(struct mqtt_client *client)
{
    (void) pthread_mutex_lock(&library_lifecycle);
    if (client->library)
        MQTTAsync_destroy(
            &client->library); /* disconnects, and calls none of the callbacks any more */
    client->library = NULL;
    (void) pthread_mutex_unlock(&library_lifecycle);
    (void) pthread_mutex_lock(&client->mutex);
    for (unsigned i = 0; i < MQTT_WINDOW_MAX; i++)
        client->slots[i].in_flight = false;
    client->facts = (struct mqtt_client_facts){.dropped = true};
    (void) pthread_mutex_unlock(&client->mutex);
    client->wake_on_any_thread(client->user);
}

void mqtt_library_publish(struct mqtt_client *client, const struct mqtt_command *command)
{
    const struct mqtt_publication *publication = command->publication;
    struct mqtt_slot *slot = &client->slots[command->slot];
    MQTTAsync_message message = MQTTAsync_message_initializer;
    MQTTAsync_responseOptions response = MQTTAsync_responseOptions_initializer;
    uint64_t sending = 0;
    int rc = MQTTASYNC_DISCONNECTED;

    (void) pthread_mutex_lock(&client->mutex);
    sending = slot->sending;
    (void) pthread_mutex_unlock(&client->mutex);
    message.payload = (void *) (uintptr_t) publication->payload; /* only read */
    message.payloadlen = (int) publication->bytes;
    message.qos = publication->qos;
    message.retained = publication->retain;
    if (publication->correlation_bytes && !client->mqtt3) {
        MQTTProperty property = {.identifier = MQTTPROPERTY_CODE_CORRELATION_DATA};

        property.value.data.data = (char *) (uintptr_t) publication->correlation;
        property.value.data.len = (int) publication->correlation_bytes;
        (void) MQTTProperties_add(&message.properties, &property);
    }
    if (client->mqtt3) { /* which has no word for a refusal */
        response.onSuccess = mqtt_published3_on_library_thread;
    } else {
        response.onSuccess5 = mqtt_published_on_library_thread;
        response.onFailure5 = mqtt_publish_failed_on_library_thread;
    }
    response.context = slot;
    if (client->library)
        rc = MQTTAsync_sendMessage(client->library, publication->topic, &message, &response);
    MQTTProperties_free(&message.properties);
    (void) pthread_mutex_lock(&client->mutex);
    /* The answer may have come already, and the slot may hold the next publish. */
    if (rc == MQTTASYNC_SUCCESS && slot->in_flight && slot->sending == sending)
        slot->token = response.token;
    (void) pthread_mutex_unlock(&client->mutex);
    if (rc != MQTTASYNC_SUCCESS &&
        rc != MQTTASYNC_DISCONNECTED) /* a link that went is told by its own callback */
        mqtt_note_answer(slot, 0, rc == MQTTASYNC_BAD_UTF8_STRING ? -EINVAL : -EIO,
                         MQTTAsync_strerror(rc));
}

void mqtt_library_subscribe(struct mqtt_client *client, const struct mqtt_command *command)
{
    MQTTAsync_responseOptions response = MQTTAsync_responseOptions_initializer;
    struct mqtt_subscribe_slot *slot =
        &client->subscribes[client->subscribe_next++ % MQTT_SUBSCRIBE_SLOTS];

    if (!client->library)
        return; /* the next connection subscribes anew */
    if (command->kind == MQTT_COMMAND_UNSUBSCRIBE) {
        (void) MQTTAsync_unsubscribe(client->library, command->filter, NULL);
        return;
    }
    slot->client = client;
    slot->filter_id = mqtt_filter_id(command->filter);
    if (client->mqtt3) { /* what is retained comes each time */
        response.onFailure = mqtt_subscribe3_failed_on_library_thread;
    } else {
        add_number(&response.properties, MQTTPROPERTY_CODE_SUBSCRIPTION_IDENTIFIER,
                   slot->filter_id);
        response.subscribeOptions.retainHandling = command->with_retained ? 0 : 1;
        response.onFailure5 = mqtt_subscribe_failed_on_library_thread;
    }
    response.context = slot;
    int rc = MQTTAsync_subscribe(client->library, command->filter, command->qos, &response);

    MQTTProperties_free(&response.properties);
    if (rc != MQTTASYNC_SUCCESS && rc != MQTTASYNC_DISCONNECTED)
        log_error("mqtt_subscribe_failed", "filter=%s reason=\"%s\"", command->filter,
                  MQTTAsync_strerror(rc));
}
