/* One MQTT connection on the loop: see mqtt.h. A state machine over mqtt_client.c, which makes the
 * library's calls on a thread of its own; here are the subscriptions, the queue, and the decision
 * when to try again.
 *
 * WAITING --timer--> RESOLVING --address--> CONNECTING --CONNACK--> UP --loss--> DROPPING -->
 * WAITING Any failure leads to DROPPING, so each attempt begins with a new client of the library.
 */
#include "daemon/mqtt.h"

#include "daemon/mqtt_client.h"
#include "daemon/mqtt_queue.h"
#include "libpith/base/clock.h"
#include "libpith/base/log.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_WATCHDOG_MS 30000 /* the library's own time-out is 15 s */
#define DROP_WATCHDOG_MS    30000 /* destroying a client of the library takes about a second */
#define STABLE_MS           60000 /* a link that held so long begins counting failures anew */
#define REFUSED_FAILURES                                                                           \
    5 /* a broker that says no is asked again after 0 to 32 s at first, and less often later */
#define TURN_NS 3000000 /* what handling messages may take of one turn of the loop */
#define PACKET_OVERHEAD_BYTES                                                                      \
    64 /* fixed header, packet id and properties of a publish, less topic and correlation */

_Static_assert(MQTT_QUEUE_SLOTS == MQTT_WINDOW_MAX, "queue and client count the same slots");

enum state {
    STATE_WAITING,
    STATE_RESOLVING,
    STATE_CONNECTING,
    STATE_UP,
    STATE_DROPPING,
    STATE_CLOSING
};

struct handler {
    struct handler *next;
    mqtt_handler *call;
    void *user;
    uint32_t filter_id;
    int qos;
    bool may_drop;
    bool gone; /* unsubscribed while messages were handled: freed afterwards */
    char filter[];
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
    struct handler *handlers; /* in the order of subscribing */
    unsigned dispatching;
    enum state state;
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

static void attempt(struct mqtt *mqtt);
static void pump(struct mqtt *mqtt);

/* ---- handlers ---- */

static void handlers_sweep(struct mqtt *mqtt)
{
    for (struct handler **at = &mqtt->handlers; *at;) {
        struct handler *handler = *at;

        if (handler->gone) {
            *at = handler->next;
            free(handler);
        } else {
            at = &handler->next;
        }
    }
}

static bool filter_in_use(const struct mqtt *mqtt, const char *filter)
{
    for (const struct handler *handler = mqtt->handlers; handler; handler = handler->next)
        if (!handler->gone && strcmp(handler->filter, filter) == 0)
            return true;
    return false;
}

int mqtt_subscribe(struct mqtt *mqtt, const char *filter, int qos, bool may_drop,
                   mqtt_handler *handler, void *user, struct pith_error *err)
{
    struct handler *entry = NULL;
    struct handler **at = &mqtt->handlers;
    int rc = 0;

    if (!mqtt_filter_valid(filter))
        return pith_fail(err, -EINVAL, "\"%s\" is no MQTT topic filter", filter);
    entry = calloc(1, sizeof *entry + strlen(filter) + 1);
    if (!entry)
        return pith_fail(err, -ENOMEM, "no memory for a subscription");
    memcpy(entry->filter, filter, strlen(filter) + 1);
    entry->filter_id = mqtt_filter_id(filter);
    entry->qos = qos;
    entry->may_drop = may_drop;
    entry->call = handler;
    entry->user = user;
    rc = mqtt_inbox_add_filter(mqtt->inbox, filter, may_drop);
    /* Even where another handler has the filter: the newcomer wants what is retained. */
    if (rc == 0 && mqtt->state == STATE_UP)
        rc = mqtt_client_subscribe(mqtt->client, filter, qos, true);
    if (rc < 0) {
        mqtt_inbox_remove_filter(mqtt->inbox, filter, may_drop);
        free(entry);
        return pith_fail(err, rc, "no memory for a subscription");
    }
    while (*at)
        at = &(*at)->next;
    *at = entry;
    return 0;
}

void mqtt_unsubscribe(struct mqtt *mqtt, const char *filter, mqtt_handler *handler, void *user)
{
    for (struct handler *entry = mqtt->handlers; entry; entry = entry->next) {
        if (entry->gone || entry->call != handler || entry->user != user ||
            strcmp(entry->filter, filter) != 0)
            continue;
        entry->gone = true;
        mqtt_inbox_remove_filter(mqtt->inbox, filter, entry->may_drop);
        if (!filter_in_use(mqtt, filter) && mqtt->state == STATE_UP &&
            mqtt_client_unsubscribe(mqtt->client, filter) < 0)
            log_warn("mqtt_unsubscribe_failed", "link=%s filter=%s reason=\"no memory\"",
                     mqtt->name, filter);
        break;
    }
    if (!mqtt->dispatching)
        handlers_sweep(mqtt);
}

/* With a session kept by the broker, sensor topics don't repeat what they retain; all else wants to
 * see it again, as it may have changed. */
static void subscribe_all(struct mqtt *mqtt, bool session_present)
{
    for (const struct handler *handler = mqtt->handlers; handler; handler = handler->next)
        if (!handler->gone && mqtt_client_subscribe(mqtt->client, handler->filter, handler->qos,
                                                    !session_present || !handler->may_drop) < 0)
            log_error("mqtt_subscribe_failed", "link=%s filter=%s reason=\"no memory\"", mqtt->name,
                      handler->filter);
}

static bool ids_name(const struct mqtt_inbox_message *message, uint32_t filter_id)
{
    for (uint32_t i = 0; i < message->id_count; i++)
        if (message->ids[i] == filter_id)
            return true;
    return false;
}

/* The broker says which subscription a message came for; where filters overlap it may send one copy
 * for each. Without an id that we know (an older session's) every filter that matches gets it. */
static void dispatch(struct mqtt *mqtt, const struct mqtt_inbox_message *message)
{
    bool known = false;

    for (const struct handler *handler = mqtt->handlers; handler && !known; handler = handler->next)
        known = !handler->gone && ids_name(message, handler->filter_id);
    mqtt->dispatching++;
    for (struct handler *handler = mqtt->handlers; handler; handler = handler->next) {
        if (handler->gone || (known && !ids_name(message, handler->filter_id)) ||
            !mqtt_topic_matches(handler->filter, message->message.topic))
            continue;
        handler->call(handler->user, &message->message);
    }
    if (--mqtt->dispatching == 0)
        handlers_sweep(mqtt);
}

/* ---- publishing ---- */

static int64_t packet_bytes(const struct mqtt_publication *publication)
{
    return (int64_t) (publication->bytes + strlen(publication->topic) +
                      publication->correlation_bytes) +
           PACKET_OVERHEAD_BYTES;
}

static int check_size(const struct mqtt *mqtt, const struct mqtt_publication *publication,
                      struct pith_error *err)
{
    if (mqtt->packet_max_bytes && packet_bytes(publication) > mqtt->packet_max_bytes)
        return pith_fail(
            err, -EMSGSIZE,
            "%zu bytes on %s are more than the broker takes: it allows packets of %lld bytes",
            publication->bytes, publication->topic, (long long) mqtt->packet_max_bytes);
    return 0;
}

static void finish(struct mqtt *mqtt, struct mqtt_queue_entry *entry, int status)
{
    if (status == 0)
        mqtt->sent++;
    else if (status != -ECANCELED)
        mqtt->refused_count++;
    if (entry->publication.done)
        entry->publication.done(entry->publication.user, status);
    free(entry);
}

/* Fills the window. Each answer comes back here, so the library is never given more than it sends
 * at once. */
static void pump(struct mqtt *mqtt)
{
    const struct mqtt_queue_entry *entry = NULL;
    unsigned slot = 0;

    while (mqtt->state == STATE_UP && (entry = mqtt_queue_next(&mqtt->queue, &slot)) != NULL) {
        struct pith_error err = {0};

        if (check_size(mqtt, &entry->publication, &err) <
            0) { /* queued before the broker's limit was known */
            log_error("mqtt_publish_refused", "link=%s reason=\"%s\"", mqtt->name, err.text);
            finish(mqtt, mqtt_queue_answered(&mqtt->queue, slot), -EMSGSIZE);
            continue;
        }
        mqtt_client_publish(mqtt->client, slot, &entry->publication);
    }
    if (mqtt->queue.in_flight == 0)
        (void) uv_timer_stop(&mqtt->resend);
}

static void link_lost(struct mqtt *mqtt, bool refused, const char *reason);

static void resend_due(uv_timer_t *timer)
{
    struct mqtt *mqtt = timer->data;

    link_lost(mqtt, false, "the broker has not acknowledged a message for two keep-alive periods");
}

static void watch_answers(struct mqtt *mqtt)
{
    if (mqtt->queue.in_flight)
        (void) uv_timer_start(&mqtt->resend, resend_due, (uint64_t) mqtt->keep_alive_ms * 2 + 5000,
                              0);
}

int mqtt_publish(struct mqtt *mqtt, const struct mqtt_publication *publication,
                 struct pith_error *err)
{
    int rc = 0;

    if (!mqtt_topic_valid(publication->topic))
        rc = pith_fail(err, -EINVAL, "\"%s\" is no topic to publish on", publication->topic);
    if (rc == 0)
        rc = check_size(mqtt, publication, err);
    if (rc == 0 && mqtt->state == STATE_CLOSING)
        rc = pith_fail(err, -ESHUTDOWN, "the connection is being closed");
    if (rc == 0)
        rc = mqtt_queue_add(&mqtt->queue, publication, err);
    if (rc < 0) {
        mqtt->refused_count++;
        return rc;
    }
    bool idle = mqtt->queue.in_flight == 0;

    pump(mqtt);
    if (idle)
        watch_answers(mqtt);
    return 0;
}

static void take_answers(struct mqtt *mqtt, const struct mqtt_client_facts *facts)
{
    for (unsigned slot = 0; slot < MQTT_WINDOW_MAX; slot++) {
        if (!(facts->answered & 1u << slot))
            continue;
        struct mqtt_queue_entry *entry = mqtt_queue_answered(&mqtt->queue, slot);

        if (!entry)
            continue;
        if (facts->status[slot] < 0)
            log_error("mqtt_publish_refused", "link=%s topic=%s reason=\"%s\"", mqtt->name,
                      entry->publication.topic, facts->slot_reason);
        finish(mqtt, entry, facts->status[slot]);
    }
    if (facts->answered) {
        pump(mqtt);
        watch_answers(mqtt);
    }
}

/* ---- the link ---- */

static uint32_t random_bits(void)
{
    uint32_t bits = 0;

    if (uv_random(NULL, NULL, &bits, sizeof bits, 0, NULL) < 0)
        bits = (uint32_t) (pith_monotonic_ns() * 2654435761u); /* spreads a fleet well enough */
    return bits;
}

static void drop_watchdog_due(uv_timer_t *timer)
{
    struct mqtt *mqtt = timer->data;

    log_error("mqtt_stuck",
              "link=%s reason=\"the MQTT library has not let go of a connection for %d s; restart "
              "pithd if this "
              "is not followed by a new connection\"",
              mqtt->name, DROP_WATCHDOG_MS / 1000);
}

static void link_lost(struct mqtt *mqtt, bool refused, const char *reason)
{
    bool was_up = mqtt->state == STATE_UP;

    if (mqtt->state == STATE_DROPPING || mqtt->state == STATE_CLOSING)
        return;
    (void) snprintf(mqtt->reason, sizeof mqtt->reason, "%s", reason);
    mqtt->refused = refused;
    mqtt->state = STATE_DROPPING;
    if (was_up && uv_now(mqtt->loop) - mqtt->up_since_ms >= STABLE_MS)
        mqtt->failures = 0;
    if (was_up)
        mqtt->fell_back = false; /* a broker that was away may have been upgraded */
    (void) uv_timer_stop(&mqtt->resend);
    (void) uv_timer_start(&mqtt->timer, drop_watchdog_due, DROP_WATCHDOG_MS, 0);
    mqtt_client_drop(mqtt->client);
    if (was_up || !mqtt->told_down) {
        mqtt->told_down = true;
        if (mqtt->disconnected)
            mqtt->disconnected(mqtt->user, mqtt->reason);
    }
}

static void attempt_due(uv_timer_t *timer)
{
    attempt(timer->data);
}

/* In STATE_DROPPING, nothing under way any more: picks the time of the next attempt. */
static void wait_for_next(struct mqtt *mqtt)
{
    struct mqtt_queue_entry *given_up = mqtt_queue_lost(&mqtt->queue);
    uint64_t delay_ms = 0;

    if (mqtt->refused && mqtt->failures < REFUSED_FAILURES)
        mqtt->failures = REFUSED_FAILURES;
    delay_ms = mqtt_backoff_ms(mqtt->failures, random_bits());
    if ((mqtt->next_broker.url && mqtt->failures == 0) || mqtt->hurries)
        delay_ms = 0; /* a person waits for it, or the broker for another version */
    mqtt->hurries = false;
    pith_log(mqtt->failures < 3 ? PITH_LOG_NOTICE : PITH_LOG_INFO, "mqtt_down",
             "link=%s reason=\"%s\" next_try_ms=%llu failures=%u", mqtt->name, mqtt->reason,
             (unsigned long long) delay_ms, mqtt->failures);
    if (mqtt->failures < 64)
        mqtt->failures++;
    mqtt->state = STATE_WAITING;
    (void) uv_timer_start(&mqtt->timer, attempt_due, delay_ms, 0);
    while (given_up) {
        struct mqtt_queue_entry *entry = given_up;

        given_up = entry->next;
        log_error("mqtt_publish_given_up",
                  "link=%s topic=%s bytes=%zu reason=\"the connection broke each of the %d times "
                  "that it was sent\"",
                  mqtt->name, entry->publication.topic, entry->publication.bytes,
                  MQTT_QUEUE_MAX_LOSSES);
        finish(mqtt, entry, -EIO);
    }
}

static void connect_watchdog_due(uv_timer_t *timer)
{
    link_lost(timer->data, false, "no answer to the connection request");
}

static void broker_free(struct config_broker *broker)
{
    free((void *) (uintptr_t) broker->url);
    free((void *) (uintptr_t) broker->ca);
    free((void *) (uintptr_t) broker->cert);
    free((void *) (uintptr_t) broker->key);
    free((void *) (uintptr_t) broker->username);
    free((void *) (uintptr_t) broker->password_file);
    *broker = (struct config_broker){0};
}

static int use_next_broker(struct mqtt *mqtt, struct pith_error *err)
{
    int rc = mqtt_url_parse(&mqtt->url, mqtt->next_broker.url, err);

    if (rc == 0)
        rc = mqtt_client_set_broker(mqtt->client, &mqtt->next_broker, err);
    if (rc == 0) {
        mqtt->keep_alive_ms = mqtt->next_broker.keep_alive_ms;
        mqtt->version = mqtt->next_broker.version;
        mqtt->fell_back = false;
        mqtt->failures = 0;
        broker_free(&mqtt->next_broker);
    }
    return rc;
}

static void part_closed(struct mqtt *mqtt);
static void close_dropped(struct mqtt *mqtt);

static bool speaks_3(const struct mqtt *mqtt)
{
    return mqtt->version == CONFIG_MQTT_3_1_1 || mqtt->fell_back;
}

static void resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses)
{
    struct mqtt *mqtt = request->data;

    mqtt->resolving = false;
    uv_freeaddrinfo(addresses);
    if (mqtt->state == STATE_CLOSING) {
        part_closed(mqtt);
        return;
    }
    mqtt->open_parts--;
    if (mqtt->next_broker.url) { /* changed meanwhile */
        attempt(mqtt);
        return;
    }
    if (status < 0) {
        char reason[MQTT_REASON_BYTES];

        (void) snprintf(reason, sizeof reason, "host %.150s: %s", mqtt->url.host,
                        uv_strerror(status));
        link_lost(mqtt, false, reason);
        return;
    }
    mqtt->state = STATE_CONNECTING;
    (void) uv_timer_start(&mqtt->timer, connect_watchdog_due, CONNECT_WATCHDOG_MS, 0);
    mqtt_client_connect(mqtt->client, speaks_3(mqtt));
}

/* The name is looked up first, on libuv's threads, as the library would look it up with all its
 * locks held: a name server that doesn't answer would then stop the other connection too. */
static void attempt(struct mqtt *mqtt)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct pith_error err = {0};
    int rc = 0;

    mqtt->state = STATE_RESOLVING;
    if (mqtt->next_broker.url && use_next_broker(mqtt, &err) < 0) {
        link_lost(mqtt, true, pith_error_text(&err));
        return;
    }
    mqtt->resolver.data = mqtt;
    rc = uv_getaddrinfo(mqtt->loop, &mqtt->resolver, resolved, mqtt->url.host, NULL, &hints);
    if (rc < 0)
        link_lost(mqtt, false, uv_strerror(rc));
    else
        mqtt->resolving = mqtt->open_parts++ > 0;
}

static void link_up(struct mqtt *mqtt, const struct mqtt_client_facts *facts)
{
    (void) uv_timer_stop(&mqtt->timer);
    mqtt->state = STATE_UP;
    mqtt->up_since_ms = uv_now(mqtt->loop);
    mqtt->packet_max_bytes = facts->packet_max_bytes;
    mqtt->told_down = false;
    mqtt->reconnects++;
    mqtt_queue_connected(&mqtt->queue, facts->receive_max);
    log_notice("mqtt_up",
               "link=%s host=%s port=%u tls=%d mqtt=%s session_present=%d receive_max=%lld "
               "packet_max_bytes=%lld",
               mqtt->name, mqtt->url.host, mqtt->url.port, mqtt->url.tls,
               speaks_3(mqtt) ? "3.1.1" : "5", facts->session_present,
               (long long) facts->receive_max, (long long) facts->packet_max_bytes);
    if (facts->retain_refused)
        log_error(
            "mqtt_no_retain",
            "link=%s reason=\"this broker keeps no retained messages: models can't be deployed "
            "through it, and states are not seen by who comes later\"",
            mqtt->name);
    subscribe_all(mqtt, facts->session_present);
    if (mqtt->connected)
        mqtt->connected(mqtt->user, facts->session_present);
    pump(mqtt);
    watch_answers(mqtt);
}

/* Connects anew at once, in MQTT 3.1.1. */
static void fall_back(struct mqtt *mqtt)
{
    log_notice(
        "mqtt_fallback",
        "link=%s reason=\"this broker does not speak MQTT 5\" effect=\"3.1.1 is spoken: calls "
        "over MQTT get no answers, and refused publishes are not told\"",
        mqtt->name);
    mqtt->fell_back = true;
    mqtt->hurries = true;
    link_lost(mqtt, false, "the broker does not speak MQTT 5");
}

/* Handles what has arrived, for a bounded time: the loop has other work. */
static void drain(struct mqtt *mqtt)
{
    uint64_t until_ns = pith_monotonic_ns() + TURN_NS;
    struct mqtt_inbox_message *message = NULL;

    while (mqtt->state != STATE_CLOSING && (message = mqtt_inbox_take(mqtt->inbox)) != NULL) {
        dispatch(mqtt, message);
        free(message);
        if (pith_monotonic_ns() >= until_ns) {
            (void) uv_async_send(&mqtt->woken);
            return;
        }
    }
}

static void woken(uv_async_t *async)
{
    struct mqtt *mqtt = async->data;
    struct mqtt_client_facts facts;

    mqtt_client_take_facts(mqtt->client, &facts);
    if (facts.dropped && mqtt->state == STATE_CLOSING) {
        close_dropped(mqtt);
        return;
    }
    if (facts.dropped && mqtt->state == STATE_DROPPING)
        wait_for_next(mqtt);
    if (facts.connected && mqtt->state == STATE_CONNECTING)
        link_up(mqtt, &facts);
    if (facts.refused_filter_id)
        for (const struct handler *handler = mqtt->handlers; handler; handler = handler->next)
            if (handler->filter_id == facts.refused_filter_id)
                log_error("mqtt_subscription_refused",
                          "link=%s filter=%s reason_code=%d reason=\"the broker refused it: look "
                          "at its access rules\"",
                          mqtt->name, handler->filter, facts.refused_filter_reason);
    if (mqtt->state == STATE_UP)
        take_answers(mqtt, &facts);
    if (facts.lost && mqtt->state == STATE_CONNECTING && facts.version_refused &&
        mqtt->version == CONFIG_MQTT_AUTO && !mqtt->fell_back)
        fall_back(mqtt);
    else if (facts.lost && (mqtt->state == STATE_CONNECTING || mqtt->state == STATE_UP))
        link_lost(mqtt, facts.refused, facts.reason);
    if (mqtt_inbox_take_overflow(mqtt->inbox) && mqtt->state == STATE_UP)
        link_lost(mqtt, false,
                  "more arrived than may wait; connecting anew so that the broker sends what it "
                  "retains again");
    drain(mqtt);
}

static void wake_on_any_thread(void *user)
{
    struct mqtt *mqtt = user;

    (void) uv_async_send(&mqtt->woken);
}

bool mqtt_is_connected(const struct mqtt *mqtt)
{
    return mqtt->state == STATE_UP;
}

void mqtt_counts(const struct mqtt *mqtt, struct mqtt_counts *out)
{
    struct mqtt_inbox_counts inbox;

    mqtt_inbox_counts(mqtt->inbox, &inbox);
    *out = (struct mqtt_counts){
        .received = inbox.received,
        .received_bytes = inbox.received_bytes,
        .dropped = inbox.dropped,
        .sent = mqtt->sent,
        .refused = mqtt->refused_count,
        .reconnects = mqtt->reconnects ? mqtt->reconnects - 1 : 0,
    };
}

/* ---- opening and closing ---- */

static int copy_text(const char **out, const char *text)
{
    *out = text ? strdup(text) : NULL;
    return text && !*out ? -ENOMEM : 0;
}

static int broker_copy(struct config_broker *out, const struct config_broker *broker,
                       struct pith_error *err)
{
    struct config_broker copy = {
        .given = true, .version = broker->version, .keep_alive_ms = broker->keep_alive_ms};

    if (copy_text(&copy.url, broker->url) < 0 || copy_text(&copy.ca, broker->ca) < 0 ||
        copy_text(&copy.cert, broker->cert) < 0 || copy_text(&copy.key, broker->key) < 0 ||
        copy_text(&copy.username, broker->username) < 0 ||
        copy_text(&copy.password_file, broker->password_file) < 0) {
        broker_free(&copy);
        return pith_fail(err, -ENOMEM, "no memory for an MQTT connection");
    }
    broker_free(out);
    *out = copy;
    return 0;
}

int mqtt_set_broker(struct mqtt *mqtt, const struct config_broker *broker, struct pith_error *err)
{
    struct mqtt_url url;
    int rc = mqtt_url_parse(&url, broker->url, err);

    if (rc == 0)
        rc = broker_copy(&mqtt->next_broker, broker, err);
    if (rc < 0)
        return rc;
    mqtt->failures = 0;
    if (mqtt->state == STATE_WAITING)
        (void) uv_timer_start(&mqtt->timer, attempt_due, 0, 0);
    else if (mqtt->state != STATE_RESOLVING)
        link_lost(mqtt, false, "the config names another broker");
    return 0;
}

static void mqtt_free(struct mqtt *mqtt)
{
    mqtt_client_close(mqtt->client);
    mqtt_inbox_free(mqtt->inbox);
    broker_free(&mqtt->next_broker);
    for (struct handler *handler = mqtt->handlers; handler; handler = handler->next)
        handler->gone = true;
    handlers_sweep(mqtt);
    free(mqtt->name);
    free(mqtt);
}

int mqtt_open(struct mqtt **out, uv_loop_t *loop, const struct mqtt_options *options,
              struct pith_error *err)
{
    struct mqtt *mqtt = calloc(1, sizeof *mqtt);
    struct mqtt_url url;
    int rc = 0;

    if (!mqtt)
        return pith_fail(err, -ENOMEM, "no memory for an MQTT connection");
    mqtt->loop = loop;
    mqtt->connected = options->connected;
    mqtt->disconnected = options->disconnected;
    mqtt->user = options->user;
    mqtt->name = strdup(options->name);
    mqtt_queue_init(&mqtt->queue);
    if (!mqtt->name || mqtt_inbox_new(&mqtt->inbox, options->inbox_bytes) < 0) {
        rc = pith_fail(err, -ENOMEM, "no memory for an MQTT connection");
        goto failed;
    }
    rc = mqtt_url_parse(&url, options->broker->url, err);
    if (rc == 0)
        rc = broker_copy(&mqtt->next_broker, options->broker, err);
    if (rc == 0)
        rc =
            mqtt_client_open(&mqtt->client,
                             &(struct mqtt_client_options){.client_id = options->client_id,
                                                           .will_topic = options->will_topic,
                                                           .will_payload = options->will_payload,
                                                           .packet_max_bytes = options->inbox_bytes,
                                                           .inbox = mqtt->inbox,
                                                           .wake_on_any_thread = wake_on_any_thread,
                                                           .user = mqtt},
                             err);
    if (rc == 0) {
        rc = uv_async_init(loop, &mqtt->woken, woken);
        if (rc < 0)
            rc = pith_fail(err, rc, "no MQTT connection: %s", uv_strerror(rc));
    }
    if (rc < 0)
        goto failed;
    (void) uv_timer_init(loop, &mqtt->timer); /* these two can't fail */
    (void) uv_timer_init(loop, &mqtt->resend);
    mqtt->woken.data = mqtt->timer.data = mqtt->resend.data = mqtt;
    mqtt->open_parts = 3;
    mqtt->told_down = false;
    (void) uv_timer_start(&mqtt->timer, attempt_due, 0, 0);
    *out = mqtt;
    return 0;
failed:
    mqtt_free(mqtt);
    return rc;
}

static void part_closed(struct mqtt *mqtt)
{
    void (*closed)(void *user) = mqtt->closed;
    void *user = mqtt->closed_user;

    if (--mqtt->open_parts > 0)
        return;
    mqtt_free(mqtt);
    if (closed)
        closed(user);
}

static void handle_closed(uv_handle_t *handle)
{
    part_closed(handle->data);
}

/* The library refers to nothing of ours any more. */
static void close_dropped(struct mqtt *mqtt)
{
    struct mqtt_queue_entry *entry = mqtt_queue_lost(&mqtt->queue);

    while (entry) {
        struct mqtt_queue_entry *next = entry->next;

        finish(mqtt, entry, -ECANCELED);
        entry = next;
    }
    while ((entry = mqtt_queue_take(&mqtt->queue)) != NULL)
        finish(mqtt, entry, -ECANCELED);
    uv_close((uv_handle_t *) &mqtt->woken, handle_closed);
    uv_close((uv_handle_t *) &mqtt->timer, handle_closed);
    uv_close((uv_handle_t *) &mqtt->resend, handle_closed);
}

void mqtt_close(struct mqtt *mqtt, void (*closed)(void *user), void *user)
{
    bool dropping = mqtt->state == STATE_DROPPING;

    mqtt->closed = closed;
    mqtt->closed_user = user;
    mqtt->state = STATE_CLOSING;
    (void) uv_timer_stop(&mqtt->resend);
    (void) uv_timer_start(&mqtt->timer, drop_watchdog_due, DROP_WATCHDOG_MS, 0);
    if (mqtt->resolving)
        (void) uv_cancel(
            (uv_req_t *) &mqtt->resolver); /* where it runs already, its end is waited for */
    if (!dropping)
        mqtt_client_drop(mqtt->client);
}
