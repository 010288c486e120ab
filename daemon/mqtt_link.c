/* The link of an MQTT connection: a state machine over mqtt_client.c, which makes the library's
 * calls on a thread of its own; here is the decision when to try again, and what becomes of all
 * that the library has told.
 *
 * WAITING --timer--> RESOLVING --address--> CONNECTING --CONNACK--> UP --loss--> DROPPING -->
 * WAITING Any failure leads to DROPPING, so each attempt begins with a new client of the library.
 */
#include "daemon/mqtt_private.h"

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

static void attempt(struct mqtt *mqtt);

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

void mqtt_watch_drop(struct mqtt *mqtt)
{
    (void) uv_timer_start(&mqtt->timer, drop_watchdog_due, DROP_WATCHDOG_MS, 0);
}

void mqtt_link_lost(struct mqtt *mqtt, bool refused, const char *reason)
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
    mqtt_watch_drop(mqtt);
    mqtt_client_drop(mqtt->client);
    if (was_up || !mqtt->told_down) {
        mqtt->told_down = true;
        if (mqtt->disconnected)
            mqtt->disconnected(mqtt->user, mqtt->reason);
    }
}

void mqtt_attempt_due(uv_timer_t *timer)
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
    (void) uv_timer_start(&mqtt->timer, mqtt_attempt_due, delay_ms, 0);
    while (given_up) {
        struct mqtt_queue_entry *entry = given_up;

        given_up = entry->next;
        log_error("mqtt_publish_given_up",
                  "link=%s topic=%s bytes=%zu reason=\"the connection broke each of the %d times "
                  "that it was sent\"",
                  mqtt->name, entry->publication.topic, entry->publication.bytes,
                  MQTT_QUEUE_MAX_LOSSES);
        mqtt_finish(mqtt, entry, -EIO);
    }
}

static void connect_watchdog_due(uv_timer_t *timer)
{
    mqtt_link_lost(timer->data, false, "no answer to the connection request");
}

void mqtt_broker_free(struct config_broker *broker)
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
        mqtt_broker_free(&mqtt->next_broker);
    }
    return rc;
}

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
        mqtt_part_closed(mqtt);
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
        mqtt_link_lost(mqtt, false, reason);
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
        mqtt_link_lost(mqtt, true, pith_error_text(&err));
        return;
    }
    mqtt->resolver.data = mqtt;
    rc = uv_getaddrinfo(mqtt->loop, &mqtt->resolver, resolved, mqtt->url.host, NULL, &hints);
    if (rc < 0)
        mqtt_link_lost(mqtt, false, uv_strerror(rc));
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
    mqtt_subscribe_all(mqtt, facts->session_present);
    if (mqtt->connected)
        mqtt->connected(mqtt->user, facts->session_present);
    mqtt_pump(mqtt);
    mqtt_watch_answers(mqtt);
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
    mqtt_link_lost(mqtt, false, "the broker does not speak MQTT 5");
}

/* Handles what has arrived, for a bounded time: the loop has other work. */
static void drain(struct mqtt *mqtt)
{
    uint64_t until_ns = pith_monotonic_ns() + TURN_NS;
    struct mqtt_inbox_message *message = NULL;

    while (mqtt->state != STATE_CLOSING && (message = mqtt_inbox_take(mqtt->inbox)) != NULL) {
        mqtt_dispatch(mqtt, message);
        free(message);
        if (pith_monotonic_ns() >= until_ns) {
            (void) uv_async_send(&mqtt->woken);
            return;
        }
    }
}

void mqtt_woken(uv_async_t *async)
{
    struct mqtt *mqtt = async->data;
    struct mqtt_client_facts facts;

    mqtt_client_take_facts(mqtt->client, &facts);
    if (facts.dropped && mqtt->state == STATE_CLOSING) {
        mqtt_close_dropped(mqtt);
        return;
    }
    if (facts.dropped && mqtt->state == STATE_DROPPING)
        wait_for_next(mqtt);
    if (facts.connected && mqtt->state == STATE_CONNECTING)
        link_up(mqtt, &facts);
    if (facts.refused_filter_id)
        mqtt_subscription_refused(mqtt, facts.refused_filter_id, facts.refused_filter_reason);
    if (mqtt->state == STATE_UP)
        mqtt_take_answers(mqtt, &facts);
    if (facts.lost && mqtt->state == STATE_CONNECTING && facts.version_refused &&
        mqtt->version == CONFIG_MQTT_AUTO && !mqtt->fell_back)
        fall_back(mqtt);
    else if (facts.lost && (mqtt->state == STATE_CONNECTING || mqtt->state == STATE_UP))
        mqtt_link_lost(mqtt, facts.refused, facts.reason);
    if (mqtt_inbox_take_overflow(mqtt->inbox) && mqtt->state == STATE_UP)
        mqtt_link_lost(
            mqtt, false,
            "more arrived than may wait; connecting anew so that the broker sends what it "
            "retains again");
    drain(mqtt);
}

static int copy_text(const char **out, const char *text)
{
    *out = text ? strdup(text) : NULL;
    return text && !*out ? -ENOMEM : 0;
}

int mqtt_broker_copy(struct config_broker *out, const struct config_broker *broker,
                     struct pith_error *err)
{
    struct config_broker copy = {
        .given = true, .version = broker->version, .keep_alive_ms = broker->keep_alive_ms};

    if (copy_text(&copy.url, broker->url) < 0 || copy_text(&copy.ca, broker->ca) < 0 ||
        copy_text(&copy.cert, broker->cert) < 0 || copy_text(&copy.key, broker->key) < 0 ||
        copy_text(&copy.username, broker->username) < 0 ||
        copy_text(&copy.password_file, broker->password_file) < 0) {
        mqtt_broker_free(&copy);
        return pith_fail(err, -ENOMEM, "no memory for an MQTT connection");
    }
    mqtt_broker_free(out);
    *out = copy;
    return 0;
}

int mqtt_set_broker(struct mqtt *mqtt, const struct config_broker *broker, struct pith_error *err)
{
    struct mqtt_url url;
    int rc = mqtt_url_parse(&url, broker->url, err);

    if (rc == 0)
        rc = mqtt_broker_copy(&mqtt->next_broker, broker, err);
    if (rc < 0)
        return rc;
    mqtt->failures = 0;
    if (mqtt->state == STATE_WAITING)
        (void) uv_timer_start(&mqtt->timer, mqtt_attempt_due, 0, 0);
    else if (mqtt->state != STATE_RESOLVING)
        mqtt_link_lost(mqtt, false, "the config names another broker");
    return 0;
}
