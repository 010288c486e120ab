/* Subscriptions of an MQTT connection, in the order in which they were asked for, and who gets a
 * message. The broker is asked anew at each connection. */
#include "daemon/mqtt_private.h"

#include "libpith/base/log.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct mqtt_subscription {
    struct mqtt_subscription *next;
    mqtt_handler *call;
    void *user;
    uint32_t filter_id;
    int qos;
    bool may_drop;
    bool gone; /* unsubscribed while messages were handled: freed afterwards */
    char filter[];
};

static void handlers_sweep(struct mqtt *mqtt)
{
    for (struct mqtt_subscription **at = &mqtt->handlers; *at;) {
        struct mqtt_subscription *handler = *at;

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
    for (const struct mqtt_subscription *handler = mqtt->handlers; handler; handler = handler->next)
        if (!handler->gone && strcmp(handler->filter, filter) == 0)
            return true;
    return false;
}

int mqtt_subscribe(struct mqtt *mqtt, const char *filter, int qos, bool may_drop,
                   mqtt_handler *handler, void *user, struct pith_error *err)
{
    struct mqtt_subscription *entry = NULL;
    struct mqtt_subscription **at = &mqtt->handlers;
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
    for (struct mqtt_subscription *entry = mqtt->handlers; entry; entry = entry->next) {
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
void mqtt_subscribe_all(struct mqtt *mqtt, bool session_present)
{
    for (const struct mqtt_subscription *handler = mqtt->handlers; handler; handler = handler->next)
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
void mqtt_dispatch(struct mqtt *mqtt, const struct mqtt_inbox_message *message)
{
    bool known = false;

    for (const struct mqtt_subscription *handler = mqtt->handlers; handler && !known;
         handler = handler->next)
        known = !handler->gone && ids_name(message, handler->filter_id);
    mqtt->dispatching++;
    for (struct mqtt_subscription *handler = mqtt->handlers; handler; handler = handler->next) {
        if (handler->gone || (known && !ids_name(message, handler->filter_id)) ||
            !mqtt_topic_matches(handler->filter, message->message.topic))
            continue;
        handler->call(handler->user, &message->message);
    }
    if (--mqtt->dispatching == 0)
        handlers_sweep(mqtt);
}

void mqtt_subscription_refused(const struct mqtt *mqtt, uint32_t filter_id, int reason_code)
{
    for (const struct mqtt_subscription *handler = mqtt->handlers; handler; handler = handler->next)
        if (handler->filter_id == filter_id)
            log_error("mqtt_subscription_refused",
                      "link=%s filter=%s reason_code=%d reason=\"the broker refused it: look "
                      "at its access rules\"",
                      mqtt->name, handler->filter, reason_code);
}

void mqtt_handlers_free(struct mqtt *mqtt)
{
    for (struct mqtt_subscription *handler = mqtt->handlers; handler; handler = handler->next)
        handler->gone = true;
    handlers_sweep(mqtt);
}
