/* MQTT for commands. The library's thread puts what happens into a struct under a lock; the
 * command's thread waits for it. What is known of the library is heeded: contexts live as long as
 * the client, the send window is our own and small, and TCP_NODELAY is set by us, as the library
 * doesn't and small windows would then wait 40 ms each. MQTT 5 is tried first; with a broker that
 * refuses it, 3.1.1 is spoken, by a new client of the library's. */
#include "cli/broker_private.h"

#include "libpith/base/clock.h"
#include "libpith/base/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SEND_WINDOW        4 /* with chunks of 64 KiB more is slower, not faster */
#define CONNECT_TIMEOUT_S  10
#define ANSWER_TIMEOUT_MS  20000 /* for an acknowledgement on a link that is up */
#define KEEP_ALIVE_S       20
#define PASSWORD_MAX_BYTES 4096

/* Waits for a change; under the lock. Returns whether the time is up. */
static bool wait_until(struct broker *broker, uint64_t until_ns)
{
    struct timespec until = {.tv_sec = (time_t) (until_ns / 1000000000u),
                             .tv_nsec = (long) (until_ns % 1000000000u)};

    return pthread_cond_timedwait(&broker->changed, &broker->lock, &until) == ETIMEDOUT;
}

static uint64_t after_ms(int64_t ms)
{
    return pith_monotonic_ns() + (uint64_t) ms * 1000000u;
}

static int connection_lost(const struct broker *broker, struct pith_error *err)
{
    return pith_fail(err, -ENOTCONN,
                     "the connection to the broker %s was lost; run the same command again: what "
                     "was done stays done",
                     broker->url);
}

/* ":1883", or none. */
static bool port_good(const char *colon)
{
    int64_t port = 1;

    return !colon || (colon[1] >= '0' && colon[1] <= '9' &&
                      pith_yaml_read_int(colon + 1, &port) == 0 && port >= 1 && port <= 65535);
}

/* mqtt://host:port as the library writes it. */
static int translate_url(const char *url, char out[256], bool *out_tls, struct pith_error *err)
{
    static const struct {
        const char *scheme;
        bool tls;
    } schemes[] = {{"mqtt://", false}, {"tcp://", false}, {"mqtts://", true}, {"ssl://", true}};

    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        size_t length = strlen(schemes[i].scheme);
        const char *host = url + length, *after = host;

        if (strncmp(url, schemes[i].scheme, length) != 0)
            continue;
        if (*host == '[')
            after = strchr(host, ']'); /* an IPv6 address has colons of its own */
        if (!*host || *host == ':' || strlen(host) > 200 || strchr(host, '/') || !after ||
            !port_good(strchr(after, ':')))
            break;
        *out_tls = schemes[i].tls;
        (void) snprintf(out, 256, "%s%s%s", schemes[i].tls ? "ssl://" : "tcp://", host,
                        strchr(after, ':') ? ""
                        : schemes[i].tls   ? ":8883"
                                           : ":1883");
        return 0;
    }
    return pith_fail(
        err, -EINVAL,
        "\"%.100s\" is no broker's URL; write mqtt://host[:port] or mqtts://host[:port]", url);
}

static int read_password(const char *path, struct pith_buffer *out, struct pith_error *err)
{
    int rc = path ? pith_file_read(path, PASSWORD_MAX_BYTES, out, err) : 0;

    if (rc == 0 && out->data)
        out->data[strcspn((char *) out->data, "\r\n")] = 0;
    return rc;
}

static int wait_connected(struct broker *broker, struct pith_error *err)
{
    uint64_t until = after_ms((CONNECT_TIMEOUT_S + 5) * 1000);
    int rc = 0;

    pthread_mutex_lock(&broker->lock);
    while (broker->connecting == REQUEST_WAITING && !wait_until(broker, until))
        ;
    if (broker->connecting == REQUEST_WAITING)
        rc = pith_fail(err, -ECONNREFUSED,
                       "the broker %s doesn't answer; is it running, and is --url right?",
                       broker->url);
    else if (broker->connecting == REQUEST_FAILED &&
             broker->connect_code >= (int) MQTTREASONCODE_UNSPECIFIED_ERROR)
        rc = pith_fail(err, -EPERM, "the broker %s refused us: %s", broker->url,
                       broker->connect_text);
    else if (broker->connecting == REQUEST_FAILED && broker->tls_text[0])
        rc = pith_fail(
            err, -ECONNREFUSED,
            "the broker %s can't be reached: TLS failed (%s); check --ca, --cert and --key",
            broker->url, broker->tls_text);
    else if (broker->connecting == REQUEST_FAILED)
        rc = pith_fail(err, -ECONNREFUSED,
                       "the broker %s can't be reached (%s); is it running, and is --url right?",
                       broker->url, broker->connect_text);
    pthread_mutex_unlock(&broker->lock);
    return rc;
}

static int connect_client(struct broker *broker, const struct broker_options *options, bool tls,
                          struct pith_error *err)
{
    const MQTTAsync_connectOptions of_3 = MQTTAsync_connectOptions_initializer;
    const MQTTAsync_connectOptions of_5 = MQTTAsync_connectOptions_initializer5;
    MQTTAsync_connectOptions connect = broker->mqtt3 ? of_3 : of_5;
    MQTTAsync_SSLOptions ssl = MQTTAsync_SSLOptions_initializer;
    struct pith_buffer password = {0};
    int rc = read_password(options->password_file, &password, err);

    if (rc < 0)
        return rc;
    ssl.trustStore = options->ca;
    ssl.keyStore = options->cert;
    ssl.privateKey = options->key;
    ssl.enableServerCertAuth = 1;
    ssl.verify = 1;
    ssl.ssl_error_cb = broker_tls_error_on_client_thread;
    ssl.ssl_error_context = broker;
    connect.ssl = tls ? &ssl : NULL;
    connect.keepAliveInterval = KEEP_ALIVE_S;
    connect.connectTimeout = CONNECT_TIMEOUT_S;
    connect.username = options->username;
    connect.password = password.data ? (const char *) password.data : NULL;
    connect.context = broker;
    if (broker->mqtt3) {
        connect.MQTTVersion = MQTTVERSION_3_1_1;
        connect.cleansession = 1;
        connect.onSuccess = broker_connected3_on_client_thread;
        connect.onFailure = broker_refused3_on_client_thread;
    } else {
        connect.cleanstart = 1;
        connect.onSuccess5 = broker_connected_on_client_thread;
        connect.onFailure5 = broker_refused_on_client_thread;
    }
    if (MQTTAsync_connect(broker->client, &connect) != MQTTASYNC_SUCCESS)
        rc = pith_fail(err, -ECONNREFUSED,
                       "the broker %s can't be reached; check --url, --ca, --cert and --key",
                       broker->url);
    else
        rc = wait_connected(broker, err);
    pith_buffer_done(&password);
    return rc;
}

static int check_readable(const char *option, const char *path, struct pith_error *err)
{
    if (path && access(path, R_OK) < 0)
        return pith_fail(err, -EINVAL, "--%s %s: %s", option, path, strerror(errno));
    return 0;
}

/* A client of the library's for the version that is to be spoken, connected. */
static int open_client(struct broker *broker, const struct broker_options *options, const char *url,
                       bool tls, struct pith_error *err)
{
    MQTTAsync_createOptions create = MQTTAsync_createOptions_initializer5;
    char id[64];

    if (broker->mqtt3)
        create.MQTTVersion = MQTTVERSION_3_1_1;
    broker->connecting = REQUEST_WAITING;
    (void) snprintf(id, sizeof id, "pith-%ld-%llx", (long) getpid(),
                    (unsigned long long) pith_monotonic_ns());
    if (MQTTAsync_createWithOptions(&broker->client, url, id, MQTTCLIENT_PERSISTENCE_NONE, NULL,
                                    &create) != MQTTASYNC_SUCCESS)
        return pith_fail(err, -EINVAL, "\"%s\" can't be used as a broker's URL", options->url);
    (void) MQTTAsync_setCallbacks(broker->client, broker, broker_lost_on_client_thread,
                                  broker_arrived_on_client_thread, NULL);
    (void) MQTTAsync_setDisconnected(broker->client, broker, broker_closed_on_client_thread);
    return connect_client(broker, options, tls, err);
}

int broker_open(struct broker **out, const struct broker_options *options, struct pith_error *err)
{
    pthread_condattr_t monotonic;
    struct pith_error first = {0};
    struct broker *broker;
    char url[256];
    bool tls = false;
    int rc;

    if (!options->url)
        return pith_fail(err, -EINVAL,
                         "no broker was named; give --url mqtt://host[:port], or set PITH_URL");
    if ((rc = translate_url(options->url, url, &tls, err)) < 0 ||
        (rc = check_readable("ca", options->ca, err)) < 0 ||
        (rc = check_readable("cert", options->cert, err)) < 0 ||
        (rc = check_readable("key", options->key, err)) < 0)
        return rc;
    broker = calloc(1, sizeof *broker);
    if (!broker)
        return pith_fail(err, -ENOMEM, "no memory for a connection");
    (void) snprintf(broker->root, sizeof broker->root, "%s", options->root);
    (void) snprintf(broker->url, sizeof broker->url, "%s", options->url);
    broker->max_packet_bytes = UINT32_MAX;
    broker->last = &broker->first;
    pthread_mutex_init(&broker->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&broker->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    broker->mqtt3 = strcmp(options->mqtt, "3.1.1") == 0;
    rc = open_client(broker, options, url, tls, &first);
    if (rc < 0 && broker->version_refused && strcmp(options->mqtt, "auto") == 0) {
        MQTTAsync_destroy(&broker->client);
        broker->mqtt3 = true;
        broker->lost = false;
        rc = open_client(broker, options, url, tls, &first);
    }
    if (rc < 0) {
        broker_close(broker);
        return pith_fail(err, rc, "%s", pith_error_text(&first));
    }
    *out = broker;
    return 0;
}

void broker_close(struct broker *broker)
{
    const MQTTAsync_disconnectOptions of_3 = MQTTAsync_disconnectOptions_initializer;
    const MQTTAsync_disconnectOptions of_5 = MQTTAsync_disconnectOptions_initializer5;
    MQTTAsync_disconnectOptions disconnect;

    if (!broker)
        return;
    disconnect = broker->mqtt3 ? of_3 : of_5;
    if (broker->client) {
        disconnect.timeout = 500;
        (void) MQTTAsync_disconnect(broker->client, &disconnect);
        for (int i = 0; i < 1000 && MQTTAsync_isConnected(broker->client); i++)
            (void) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        MQTTAsync_destroy(&broker->client);
    }
    for (struct broker_message *message = broker->first, *next; message; message = next) {
        next = message->next;
        broker_message_free(message);
    }
    pthread_cond_destroy(&broker->changed);
    pthread_mutex_destroy(&broker->lock);
    free(broker);
}

void broker_tell_version(const struct broker *broker)
{
    if (broker->mqtt3)
        fprintf(
            stderr,
            "pith: with the broker %s MQTT 3.1.1 is spoken, which has no word for refusing what "
            "we publish: if nothing comes of it, look at the broker's access rules\n",
            broker->url);
}

uint32_t broker_max_packet_bytes(const struct broker *broker)
{
    return broker->max_packet_bytes;
}

static void begin_request(struct broker *broker, size_t count)
{
    pthread_mutex_lock(&broker->lock);
    broker->ask_count = count;
    broker->asking = REQUEST_WAITING;
    pthread_mutex_unlock(&broker->lock);
}

static int wait_request(struct broker *broker, int sent, const char *what, struct pith_error *err)
{
    uint64_t until = after_ms(ANSWER_TIMEOUT_MS);
    int rc = 0;

    if (sent != MQTTASYNC_SUCCESS)
        return connection_lost(broker, err);
    pthread_mutex_lock(&broker->lock);
    while (broker->asking == REQUEST_WAITING && !broker->lost && !wait_until(broker, until))
        ;
    if (broker->asking == REQUEST_WAITING)
        rc = connection_lost(broker, err);
    else if (broker->asking == REQUEST_FAILED)
        rc = pith_fail(err, -EPERM, "the broker %s doesn't let us %s: %s", broker->url, what,
                       broker->ask_code >= (int) MQTTREASONCODE_UNSPECIFIED_ERROR
                           ? MQTTReasonCode_toString((enum MQTTReasonCodes) broker->ask_code)
                           : "no reason given");
    pthread_mutex_unlock(&broker->lock);
    return rc;
}

#define REQUEST_MAX_FILTERS 64

int broker_subscribe(struct broker *broker, const char *const *filters, size_t count,
                     struct pith_error *err)
{
    MQTTAsync_responseOptions response = MQTTAsync_responseOptions_initializer;
    int qos[REQUEST_MAX_FILTERS];
    MQTTSubscribe_options options[REQUEST_MAX_FILTERS];
    char what[TOPIC_BYTES + 16];

    if (count == 0 || count > REQUEST_MAX_FILTERS)
        return pith_fail(err, -EINVAL, "%zu topics can't be asked for at once", count);
    for (size_t i = 0; i < count; i++) {
        qos[i] = 1;
        options[i] = (MQTTSubscribe_options) MQTTSubscribe_options_initializer;
        options[i].retainAsPublished = 1;
    }
    response.context = broker;
    if (broker->mqtt3) {
        response.onSuccess = broker_subscribed3_on_client_thread;
        response.onFailure = broker_unanswered3_on_client_thread;
    } else {
        response.onSuccess5 = broker_answered_on_client_thread;
        response.onFailure5 = broker_unanswered_on_client_thread;
        response.subscribeOptionsCount = (int) count;
        response.subscribeOptionsList = options;
    }
    (void) snprintf(what, sizeof what, "read %s", filters[0]);
    begin_request(broker, count);
    return wait_request(broker,
                        MQTTAsync_subscribeMany(broker->client, (int) count,
                                                (char *const *) (uintptr_t) filters, qos,
                                                &response),
                        what, err);
}

int broker_unsubscribe(struct broker *broker, const char *const *filters, size_t count,
                       struct pith_error *err)
{
    MQTTAsync_responseOptions response = MQTTAsync_responseOptions_initializer;

    response.context = broker;
    if (broker->mqtt3) {
        response.onSuccess = broker_unsubscribed3_on_client_thread;
        response.onFailure = broker_unanswered3_on_client_thread;
    } else {
        response.onSuccess5 = broker_answered_on_client_thread;
        response.onFailure5 = broker_unanswered_on_client_thread;
    }
    begin_request(broker, count);
    return wait_request(broker,
                        MQTTAsync_unsubscribeMany(broker->client, (int) count,
                                                  (char *const *) (uintptr_t) filters, &response),
                        "end a subscription", err);
}

/* Waits until fewer than `limit` publications are under way. */
static int wait_window(struct broker *broker, unsigned limit, struct pith_error *err)
{
    uint64_t until = after_ms(ANSWER_TIMEOUT_MS), seen;
    int rc = 0;

    pthread_mutex_lock(&broker->lock);
    seen = broker->acknowledged;
    while (broker->in_flight >= limit && !broker->lost && !broker->publish_code) {
        if (wait_until(broker, until) && broker->acknowledged == seen)
            break;
        if (broker->acknowledged != seen) { /* slow, but it moves */
            seen = broker->acknowledged;
            until = after_ms(ANSWER_TIMEOUT_MS);
        }
    }
    if (broker->publish_code > 0)
        rc = pith_fail(err, -EPERM, "the broker %s refused what we published: %s", broker->url,
                       MQTTReasonCode_toString((enum MQTTReasonCodes) broker->publish_code));
    else if (broker->lost || broker->publish_code || broker->in_flight >= limit)
        rc = connection_lost(broker, err);
    pthread_mutex_unlock(&broker->lock);
    return rc;
}

int broker_publish(struct broker *broker, const char *topic, const void *payload, size_t bytes,
                   struct pith_error *err)
{
    MQTTAsync_responseOptions response = MQTTAsync_responseOptions_initializer;
    int rc = wait_window(broker, SEND_WINDOW, err);

    if (rc < 0)
        return rc;
    response.context = broker;
    if (broker->mqtt3) {
        response.onSuccess = broker_published3_on_client_thread;
        response.onFailure = broker_unpublished3_on_client_thread;
    } else {
        response.onSuccess5 = broker_published_on_client_thread;
        response.onFailure5 = broker_unpublished_on_client_thread;
    }
    pthread_mutex_lock(&broker->lock);
    broker->in_flight++;
    pthread_mutex_unlock(&broker->lock);
    if (MQTTAsync_send(broker->client, topic, (int) bytes, payload, 1, 1, &response) ==
        MQTTASYNC_SUCCESS)
        return 0;
    pthread_mutex_lock(&broker->lock);
    broker->in_flight--;
    pthread_mutex_unlock(&broker->lock);
    return connection_lost(broker, err);
}

int broker_flush(struct broker *broker, struct pith_error *err)
{
    return wait_window(broker, 1, err);
}

int broker_next(struct broker *broker, struct broker_message **out, int64_t timeout_ms,
                struct pith_error *err)
{
    uint64_t until = after_ms(timeout_ms);
    struct broker_message *message;
    int rc = 0;

    pthread_mutex_lock(&broker->lock);
    while (!broker->first && !broker->lost && !wait_until(broker, until))
        ;
    message = broker->first;
    if (message) {
        broker->first = message->next;
        if (!broker->first)
            broker->last = &broker->first;
        *out = message;
    } else if (broker->lost) {
        rc = connection_lost(broker, err);
    } else {
        rc = pith_fail(err, -ETIMEDOUT, "nothing arrived within %lld ms", (long long) timeout_ms);
    }
    pthread_mutex_unlock(&broker->lock);
    return rc;
}

void broker_message_free(struct broker_message *message)
{
    if (!message)
        return;
    free(message->topic);
    free(message->payload);
    free(message);
}

const char *broker_topic(const struct broker *broker, char topic[TOPIC_BYTES], const char *format,
                         ...)
{
    size_t used = (size_t) snprintf(topic, TOPIC_BYTES, "%s/", broker->root);
    va_list arguments;

    va_start(arguments, format);
    (void) vsnprintf(topic + used, TOPIC_BYTES - used, format, arguments);
    va_end(arguments);
    return topic;
}

bool topic_level(const struct broker *broker, const char *topic, size_t n, char *level,
                 size_t level_bytes)
{
    size_t root_bytes = strlen(broker->root);

    if (strncmp(topic, broker->root, root_bytes) != 0 || topic[root_bytes] != '/')
        return false;
    topic += root_bytes + 1;
    for (; n > 0; n--) {
        topic = strchr(topic, '/');
        if (!topic)
            return false;
        topic++;
    }
    return (size_t) snprintf(level, level_bytes, "%.*s", (int) strcspn(topic, "/"), topic) <
           level_bytes;
}
