/* The MQTT library and the thread that calls it: see mqtt_client.h. */
#include "daemon/mqtt_client.h"

#include "libpith/base/file.h"
#include "libpith/base/log.h"
#include <MQTTAsync.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define SESSION_EXPIRY_S   (24 * 3600) /* a gateway that was off for a day starts afresh */
#define WILL_DELAY_S       10          /* a link that is back at once is no news */
#define CONNECT_TIMEOUT_S  15
#define PASSWORD_MAX_BYTES 4096
#define RECEIVE_MAX        64 /* messages of QoS 1 that the broker sends ahead */
#define SUBSCRIBE_SLOTS    64 /* subscriptions whose refusal can still be told by name */

enum command_kind {
    COMMAND_CONNECT,
    COMMAND_DROP,
    COMMAND_PUBLISH,
    COMMAND_SUBSCRIBE,
    COMMAND_UNSUBSCRIBE,
    COMMAND_STOP
};

struct command {
    struct command *next;
    enum command_kind kind;
    const struct mqtt_publication *publication;
    unsigned slot;
    int qos;
    bool with_retained;
    char *filter; /* of COMMAND_SUBSCRIBE and COMMAND_UNSUBSCRIBE, which are freed when done */
};

struct slot { /* what a publish's callbacks get: lives as long as the client, whatever the library
                 does */
    struct mqtt_client *client;
    unsigned index;
    bool in_flight;
    int token; /* 0: not known yet */
    struct command command;
};

struct subscribe_slot {
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

    pthread_t thread;
    MQTTAsync library;                                 /* the thread's; NULL while dropped */
    struct subscribe_slot subscribes[SUBSCRIBE_SLOTS]; /* the thread's, and the callbacks' */
    unsigned subscribe_next;

    pthread_mutex_t mutex; /* a leaf: guards what follows, never held while the library is called */
    pthread_cond_t wanted;
    struct command *first, **last;
    struct command connect, drop, stop;
    struct slot slots[MQTT_WINDOW_MAX];
    struct mqtt_client_facts facts;
    char tls_error[MQTT_REASON_BYTES];
};

/* Creating and destroying touch what the library shares between its clients, and destroying the
 * last one waits for the library's threads with its lock open. */
static pthread_mutex_t library_lifecycle = PTHREAD_MUTEX_INITIALIZER;

static void wake(struct mqtt_client *client)
{
    client->wake_on_any_thread(client->user);
}

static void note_lost(struct mqtt_client *client, bool refused, const char *reason)
{
    (void) pthread_mutex_lock(&client->mutex);
    if (!client->facts.lost) { /* the first to speak knows best */
        client->facts.lost = true;
        client->facts.refused = refused;
        (void) snprintf(client->facts.reason, sizeof client->facts.reason, "%s", reason);
    }
    (void) pthread_mutex_unlock(&client->mutex);
    wake(client);
}

/* ---- callbacks: on the library's threads, with its locks held ---- */

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

/* Tells what CONNACK said. That we are connected is for connected_on_library_thread to say: this
 * one was seen missing. */
static void connack_on_library_thread(void *context, MQTTAsync_successData5 *data)
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

static void connected_on_library_thread(void *context, char *cause)
{
    struct mqtt_client *client = context;

    (void) cause;
    set_nodelay(client->url.port);
    (void) pthread_mutex_lock(&client->mutex);
    client->facts.connected = true;
    (void) pthread_mutex_unlock(&client->mutex);
    wake(client);
}

static void connect_failed_on_library_thread(void *context, MQTTAsync_failureData5 *data)
{
    struct mqtt_client *client = context;
    char reason[MQTT_REASON_BYTES];
    bool refused = false;

    (void) pthread_mutex_lock(&client->mutex);
    /* CONNACK's reason stands in either field, by where the library noticed. */
    int code = data->reasonCode >= 0x80 ? (int) data->reasonCode
               : data->code >= 0x80     ? data->code
                                        : 0;
    const char *text = code ? MQTTReasonCode_toString((enum MQTTReasonCodes) code) : NULL;

    if (code) {
        refused = true;
        (void) snprintf(reason, sizeof reason, "the broker refused the connection: %s (reason %d)",
                        text ? text : "no words for it", code);
    } else if (client->tls_error[0]) {
        (void) snprintf(reason, sizeof reason, "TLS: %.200s", client->tls_error);
    } else {
        (void) snprintf(reason, sizeof reason, "no connection to %.150s port %u%s",
                        client->url.host, client->url.port,
                        client->url.tls ? ", or its certificate was not trusted" : "");
    }
    (void) pthread_mutex_unlock(&client->mutex);
    note_lost(client, refused, reason);
}

static void lost_on_library_thread(void *context, char *cause)
{
    (void) cause; /* always NULL in this version */
    note_lost(context, false, "the connection broke off");
}

static void disconnected_on_library_thread(void *context, MQTTProperties *properties,
                                           enum MQTTReasonCodes code)
{
    char reason[MQTT_REASON_BYTES];
    const char *text = MQTTReasonCode_toString(code);

    (void) properties;
    (void) snprintf(reason, sizeof reason, "the broker disconnected us: %s (reason %d)",
                    text ? text : "no words for it", (int) code);
    note_lost(context, code >= MQTTREASONCODE_UNSPECIFIED_ERROR, reason);
}

static int tls_error_on_library_thread(const char *text, size_t bytes, void *context)
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

static int arrived_on_library_thread(void *context, char *topic, int topic_bytes,
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
        wake(client);
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

static void note_answer(struct slot *slot, int token, int status, const char *reason)
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
        wake(client);
}

static void published_on_library_thread(void *context, MQTTAsync_successData5 *data)
{
    note_answer(context, data->token, 0, "");
}

static void publish_failed_on_library_thread(void *context, MQTTAsync_failureData5 *data)
{
    char reason[MQTT_REASON_BYTES];
    const char *text = MQTTReasonCode_toString(data->reasonCode);

    if (data->reasonCode < MQTTREASONCODE_UNSPECIFIED_ERROR) /* not the broker's word: the link
                                                                went, and will be told */
        return;
    (void) snprintf(reason, sizeof reason, "the broker refused it: %s (reason %d)",
                    text ? text : "no words for it", (int) data->reasonCode);
    note_answer(context, data->token, status_of_reason((int) data->reasonCode), reason);
}

static void subscribe_failed_on_library_thread(void *context, MQTTAsync_failureData5 *data)
{
    const struct subscribe_slot *slot = context;
    struct mqtt_client *client = slot->client;

    if (data->reasonCode < MQTTREASONCODE_UNSPECIFIED_ERROR)
        return;
    (void) pthread_mutex_lock(&client->mutex);
    client->facts.refused_filter_id = slot->filter_id;
    client->facts.refused_filter_reason = (int) data->reasonCode;
    (void) pthread_mutex_unlock(&client->mutex);
    wake(client);
}

/* ---- the thread ---- */

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
    int rc = 0;

    options.maxBufferedMessages = MQTT_WINDOW_MAX * 2; /* never reached: our window is narrower */
    (void) snprintf(uri, sizeof uri, "%s://%s%s%s:%u", client->url.tls ? "ssl" : "tcp",
                    ipv6 ? "[" : "", client->url.host, ipv6 ? "]" : "", client->url.port);
    rc = MQTTAsync_createWithOptions(&client->library, uri, client->client_id,
                                     MQTTCLIENT_PERSISTENCE_NONE, NULL, &options);
    if (rc != MQTTASYNC_SUCCESS)
        return rc;
    rc = MQTTAsync_setCallbacks(client->library, client, lost_on_library_thread,
                                arrived_on_library_thread, NULL);
    if (rc == MQTTASYNC_SUCCESS)
        rc = MQTTAsync_setConnected(client->library, client, connected_on_library_thread);
    if (rc == MQTTASYNC_SUCCESS)
        rc = MQTTAsync_setDisconnected(client->library, client, disconnected_on_library_thread);
    return rc;
}

static int library_connect(struct mqtt_client *client, const struct pith_buffer *password)
{
    MQTTAsync_connectOptions options = MQTTAsync_connectOptions_initializer5;
    MQTTAsync_SSLOptions tls = MQTTAsync_SSLOptions_initializer;
    MQTTAsync_willOptions will = MQTTAsync_willOptions_initializer;
    MQTTProperties properties = MQTTProperties_initializer,
                   will_properties = MQTTProperties_initializer;
    int rc = 0;

    add_number(&properties, MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL, SESSION_EXPIRY_S);
    add_number(&properties, MQTTPROPERTY_CODE_RECEIVE_MAXIMUM, RECEIVE_MAX);
    add_number(&properties, MQTTPROPERTY_CODE_MAXIMUM_PACKET_SIZE, client->packet_max_bytes);
    options.cleanstart = 0;
    options.keepAliveInterval = (int) (client->keep_alive_ms / 1000);
    options.connectTimeout = CONNECT_TIMEOUT_S;
    options.maxInflight =
        MQTT_WINDOW_MAX + 4; /* above our window, where the library's sender would fall asleep */
    options.automaticReconnect = 0;
    options.connectProperties = &properties;
    options.context = client;
    options.onSuccess5 = connack_on_library_thread;
    options.onFailure5 = connect_failed_on_library_thread;
    options.username = client->username;
    if (client->password_file) {
        options.binarypwd.len = (int) password->bytes;
        options.binarypwd.data = password->data;
    }
    if (client->will_topic) {
        add_number(&will_properties, MQTTPROPERTY_CODE_WILL_DELAY_INTERVAL, WILL_DELAY_S);
        will.topicName = client->will_topic;
        will.payload.len = (int) strlen(client->will_payload);
        will.payload.data = client->will_payload;
        will.retained = 1;
        will.qos = 1;
        options.will = &will;
        options.willProperties = &will_properties;
    }
    if (client->url.tls) {
        tls.trustStore = client->ca;
        tls.keyStore = client->cert;
        tls.privateKey = client->key;
        tls.verify = 1; /* the certificate must be for this host */
        tls.ssl_error_cb = tls_error_on_library_thread;
        tls.ssl_error_context = client;
        options.ssl = &tls;
    }
    rc = MQTTAsync_connect(client->library, &options);
    MQTTProperties_free(&properties);
    MQTTProperties_free(&will_properties);
    return rc;
}

static void run_connect(struct mqtt_client *client)
{
    struct pith_buffer password = {0};
    int rc = 0;

    (void) pthread_mutex_lock(&client->mutex);
    client->tls_error[0] = 0;
    (void) pthread_mutex_unlock(&client->mutex);
    if (read_password(client, &password) < 0) {
        note_lost(client, true, "the password file can't be read");
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
        note_lost(client, false, reason);
    }
done:
    if (password.data)
        explicit_bzero(password.data, password.bytes);
    pith_buffer_done(&password);
}

static void run_drop(struct mqtt_client *client)
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
    wake(client);
}

static void run_publish(struct mqtt_client *client, const struct command *command)
{
    const struct mqtt_publication *publication = command->publication;
    struct slot *slot = &client->slots[command->slot];
    MQTTAsync_message message = MQTTAsync_message_initializer;
    MQTTAsync_responseOptions response = MQTTAsync_responseOptions_initializer;
    int rc = MQTTASYNC_DISCONNECTED;

    message.payload = (void *) (uintptr_t) publication->payload; /* only read */
    message.payloadlen = (int) publication->bytes;
    message.qos = publication->qos;
    message.retained = publication->retain;
    if (publication->correlation_bytes) {
        MQTTProperty property = {.identifier = MQTTPROPERTY_CODE_CORRELATION_DATA};

        property.value.data.data = (char *) (uintptr_t) publication->correlation;
        property.value.data.len = (int) publication->correlation_bytes;
        (void) MQTTProperties_add(&message.properties, &property);
    }
    response.onSuccess5 = published_on_library_thread;
    response.onFailure5 = publish_failed_on_library_thread;
    response.context = slot;
    if (client->library)
        rc = MQTTAsync_sendMessage(client->library, publication->topic, &message, &response);
    MQTTProperties_free(&message.properties);
    (void) pthread_mutex_lock(&client->mutex);
    if (rc == MQTTASYNC_SUCCESS && slot->in_flight)
        slot->token = response.token;
    (void) pthread_mutex_unlock(&client->mutex);
    if (rc != MQTTASYNC_SUCCESS &&
        rc != MQTTASYNC_DISCONNECTED) /* a link that went is told by its own callback */
        note_answer(slot, 0, rc == MQTTASYNC_BAD_UTF8_STRING ? -EINVAL : -EIO,
                    MQTTAsync_strerror(rc));
}

static void run_subscribe(struct mqtt_client *client, const struct command *command)
{
    MQTTAsync_responseOptions response = MQTTAsync_responseOptions_initializer;
    struct subscribe_slot *slot = &client->subscribes[client->subscribe_next++ % SUBSCRIBE_SLOTS];

    if (!client->library)
        return; /* the next connection subscribes anew */
    if (command->kind == COMMAND_UNSUBSCRIBE) {
        (void) MQTTAsync_unsubscribe(client->library, command->filter, NULL);
        return;
    }
    slot->client = client;
    slot->filter_id = mqtt_filter_id(command->filter);
    add_number(&response.properties, MQTTPROPERTY_CODE_SUBSCRIPTION_IDENTIFIER, slot->filter_id);
    response.subscribeOptions.retainHandling = command->with_retained ? 0 : 1;
    response.onFailure5 = subscribe_failed_on_library_thread;
    response.context = slot;
    int rc = MQTTAsync_subscribe(client->library, command->filter, command->qos, &response);

    MQTTProperties_free(&response.properties);
    if (rc != MQTTASYNC_SUCCESS && rc != MQTTASYNC_DISCONNECTED)
        log_error("mqtt_subscribe_failed", "filter=%s reason=\"%s\"", command->filter,
                  MQTTAsync_strerror(rc));
}

static void *client_thread(void *context)
{
    struct mqtt_client *client = context;

    for (;;) {
        (void) pthread_mutex_lock(&client->mutex);
        while (!client->first)
            (void) pthread_cond_wait(&client->wanted, &client->mutex);
        struct command *command = client->first;

        client->first = command->next;
        if (!client->first)
            client->last = &client->first;
        (void) pthread_mutex_unlock(&client->mutex);
        switch (command->kind) {
        case COMMAND_CONNECT:
            run_connect(client);
            break;
        case COMMAND_DROP:
            run_drop(client);
            break;
        case COMMAND_PUBLISH:
            run_publish(client, command);
            break;
        case COMMAND_SUBSCRIBE:
        case COMMAND_UNSUBSCRIBE:
            run_subscribe(client, command);
            free(command);
            break;
        case COMMAND_STOP:
            return NULL;
        }
    }
}

/* ---- the loop's side ---- */

static void enqueue(struct mqtt_client *client, struct command *command)
{
    (void) pthread_mutex_lock(&client->mutex);
    command->next = NULL;
    *client->last = command;
    client->last = &command->next;
    (void) pthread_cond_signal(&client->wanted);
    (void) pthread_mutex_unlock(&client->mutex);
}

static void client_free(struct mqtt_client *client)
{
    free(client->client_id);
    free(client->will_topic);
    free(client->will_payload);
    free(client->ca);
    free(client->cert);
    free(client->key);
    free(client->username);
    free(client->password_file);
    free(client);
}

int mqtt_client_open(struct mqtt_client **out, const struct mqtt_client_options *options,
                     struct pith_error *err)
{
    struct mqtt_client *client = calloc(1, sizeof *client);
    pthread_attr_t small_stack;
    int rc = 0;

    if (!client)
        return pith_fail(err, -ENOMEM, "no memory for an MQTT connection");
    client->inbox = options->inbox;
    client->wake_on_any_thread = options->wake_on_any_thread;
    client->user = options->user;
    client->packet_max_bytes = options->packet_max_bytes;
    client->client_id = strdup(options->client_id);
    client->will_topic = options->will_topic ? strdup(options->will_topic) : NULL;
    client->will_payload = options->will_topic ? strdup(options->will_payload) : NULL;
    if (!client->client_id ||
        (options->will_topic && (!client->will_topic || !client->will_payload))) {
        client_free(client);
        return pith_fail(err, -ENOMEM, "no memory for an MQTT connection");
    }
    client->last = &client->first;
    client->connect.kind = COMMAND_CONNECT;
    client->drop.kind = COMMAND_DROP;
    client->stop.kind = COMMAND_STOP;
    for (unsigned i = 0; i < MQTT_WINDOW_MAX; i++)
        client->slots[i] = (struct slot){.client = client, .index = i};
    (void) pthread_mutex_init(&client->mutex, NULL); /* with default attributes glibc can't fail */
    (void) pthread_cond_init(&client->wanted, NULL);
    (void) pthread_attr_init(&small_stack);
    (void) pthread_attr_setstacksize(
        &small_stack, 256 * 1024); /* TLS set-up with certificates is the deepest call */
    rc = -pthread_create(&client->thread, &small_stack, client_thread, client);
    (void) pthread_attr_destroy(&small_stack);
    if (rc < 0) {
        client_free(client);
        return pith_fail(err, rc, "no thread for an MQTT connection: %s", strerror(-rc));
    }
    *out = client;
    return 0;
}

static int replace_text(char **at, const char *text)
{
    char *copy = text ? strdup(text) : NULL;

    if (text && !copy)
        return -ENOMEM;
    free(*at);
    *at = copy;
    return 0;
}

int mqtt_client_set_broker(struct mqtt_client *client, const struct config_broker *broker,
                           struct pith_error *err)
{
    int rc = mqtt_url_parse(&client->url, broker->url, err);

    if (rc < 0)
        return rc;
    client->keep_alive_ms = broker->keep_alive_ms;
    if (replace_text(&client->ca, broker->ca) < 0 ||
        replace_text(&client->cert, broker->cert) < 0 ||
        replace_text(&client->key, broker->key) < 0 ||
        replace_text(&client->username, broker->username) < 0 ||
        replace_text(&client->password_file, broker->password_file) < 0)
        return pith_fail(err, -ENOMEM, "no memory for an MQTT connection");
    return 0;
}

void mqtt_client_connect(struct mqtt_client *client)
{
    (void) pthread_mutex_lock(&client->mutex);
    client->facts = (struct mqtt_client_facts){.receive_max = 65535};
    (void) pthread_mutex_unlock(&client->mutex);
    enqueue(client, &client->connect);
}

void mqtt_client_drop(struct mqtt_client *client)
{
    enqueue(client, &client->drop);
}

void mqtt_client_publish(struct mqtt_client *client, unsigned slot,
                         const struct mqtt_publication *publication)
{
    struct slot *into = &client->slots[slot];

    (void) pthread_mutex_lock(&client->mutex);
    into->in_flight = true;
    into->token = 0;
    (void) pthread_mutex_unlock(&client->mutex);
    into->command =
        (struct command){.kind = COMMAND_PUBLISH, .publication = publication, .slot = slot};
    enqueue(client, &into->command);
}

static int enqueue_filter(struct mqtt_client *client, enum command_kind kind, const char *filter,
                          int qos, bool with_retained)
{
    struct command *command = calloc(1, sizeof *command + strlen(filter) + 1);

    if (!command)
        return -ENOMEM;
    command->kind = kind;
    command->qos = qos;
    command->with_retained = with_retained;
    command->filter = memcpy(command + 1, filter, strlen(filter) + 1);
    enqueue(client, command);
    return 0;
}

int mqtt_client_subscribe(struct mqtt_client *client, const char *filter, int qos,
                          bool with_retained)
{
    return enqueue_filter(client, COMMAND_SUBSCRIBE, filter, qos, with_retained);
}

int mqtt_client_unsubscribe(struct mqtt_client *client, const char *filter)
{
    return enqueue_filter(client, COMMAND_UNSUBSCRIBE, filter, 0, false);
}

void mqtt_client_take_facts(struct mqtt_client *client, struct mqtt_client_facts *out)
{
    (void) pthread_mutex_lock(&client->mutex);
    *out = client->facts;
    client->facts.connected = false;
    client->facts.dropped = false;
    client->facts.answered = 0;
    client->facts.refused_filter_id = 0;
    /* `lost` stays until the drop: what is said after it isn't news. */
    (void) pthread_mutex_unlock(&client->mutex);
}

void mqtt_client_close(struct mqtt_client *client)
{
    if (!client)
        return;
    enqueue(client, &client->stop);
    (void) pthread_join(client->thread, NULL);
    (void) pthread_cond_destroy(&client->wanted);
    (void) pthread_mutex_destroy(&client->mutex);
    client_free(client);
}
