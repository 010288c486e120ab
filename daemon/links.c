/* The MQTT connections and what the gateway says of itself: see links.h. */
#include "daemon/links.h"

#include <config.h>

#include "daemon/deployments.h"
#include "daemon/machine.h"
#include "libpith/base/clock.h"
#include "libpith/base/json.h"
#include "libpith/base/log.h"
#include "libpith/model/manifest.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OFFLINE_WAIT_MS                                                                            \
    1000 /* a broker that is away is not waited for longer: its will says the same */

static void publish_retained(struct mqtt *mqtt, const char *topic, const char *payload)
{
    struct pith_error err = {0};

    if (mqtt_publish(mqtt,
                     &(struct mqtt_publication){.topic = topic,
                                                .payload = payload,
                                                .bytes = strlen(payload),
                                                .qos = 1,
                                                .retain = true},
                     &err) < 0)
        log_warn("mqtt_publish_failed", "topic=%s reason=\"%s\"", topic, pith_error_text(&err));
}

static json_t *describe_plugins(const struct pith_plugins *plugins)
{
    json_t *list = json_array();

    for (size_t i = 0; i < pith_plugins_count(plugins); i++) {
        const struct pith_plugin *plugin = pith_plugins_entry(plugins, i)->plugin;

        if (plugin)
            (void) json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "kind",
                                                         pith_kind_name(plugin->kind), "name",
                                                         plugin->name, "version", plugin->version));
    }
    return list;
}

static char *info_text(const struct daemon *daemon)
{
    const struct config *config = daemon->config;
    json_t *groups = json_array(), *pipelines = json_array();
    json_t *info = NULL;
    char *text = NULL;

    for (size_t i = 0; i < config->group_count; i++)
        (void) json_array_append_new(groups, json_string(config->groups[i]));
    for (size_t i = 0; i < config->pipeline_count; i++)
        (void) json_array_append_new(pipelines,
                                     json_pack("{s:s, s:s}", "name", config->pipelines[i].name,
                                               "model", config->pipelines[i].model));
    info = json_pack("{s:i, s:s, s:s, s:o, s:o, s:o, s:o, s:{s:I, s:I, s:I, s:I}}", "v", 1,
                     "gateway", config->gateway, "version", PACKAGE_VERSION, "machine",
                     machine_describe(), "plugins", describe_plugins(daemon->plugins), "groups",
                     groups, "pipelines", pipelines, "limits", "model_max_bytes",
                     (json_int_t) config->model_max_bytes, "worker_memory_bytes",
                     (json_int_t) config->compression.memory_bytes, "chunk_bytes",
                     (json_int_t) PITH_CHUNK_BYTES, "lane_count", (json_int_t) config->lane_count);
    text = info ? pith_json_text(info) : NULL;
    json_decref(info);
    return text;
}

static void say_info_on(struct daemon *daemon, struct mqtt *mqtt)
{
    char topic[DAEMON_TOPIC_BYTES];
    char *text = info_text(daemon);

    if (text)
        publish_retained(mqtt, daemon_topic(daemon, topic, sizeof topic, "info"), text);
    free(text);
}

void links_say_info(struct daemon *daemon)
{
    say_info_on(daemon, daemon->home);
    if (daemon->fleet != daemon->home)
        say_info_on(daemon, daemon->fleet);
}

static void say_online(struct daemon *daemon, struct mqtt *mqtt)
{
    char topic[DAEMON_TOPIC_BYTES];

    publish_retained(mqtt, daemon_topic(daemon, topic, sizeof topic, "availability"), "online");
}

/* The broker may publish the will of an earlier connection after this one said `online`. */
static void availability_arrived(struct daemon *daemon, struct mqtt *mqtt,
                                 const struct mqtt_message *message)
{
    if (!daemon->stopping && mqtt_is_connected(mqtt) &&
        (message->bytes != 6 || memcmp(message->payload, "online", 6) != 0))
        say_online(daemon, mqtt);
}

static void home_availability(void *user, const struct mqtt_message *message)
{
    struct daemon *daemon = user;

    availability_arrived(daemon, daemon->home, message);
}

static void fleet_availability(void *user, const struct mqtt_message *message)
{
    struct daemon *daemon = user;

    availability_arrived(daemon, daemon->fleet, message);
}

static void home_connected(void *user, bool session_present)
{
    struct daemon *daemon = user;

    say_online(daemon, daemon->home);
    say_info_on(daemon, daemon->home);
    daemon_settle(daemon);
    (void) session_present;
}

static void fleet_connected(void *user, bool session_present)
{
    struct daemon *daemon = user;

    say_online(daemon, daemon->fleet);
    say_info_on(daemon, daemon->fleet);
    daemon_settle(daemon);
    if (daemon->deployments)
        deployments_connected(daemon->deployments, session_present);
}

static int open_one(struct daemon *daemon, struct mqtt **out, const char *name,
                    const struct config_broker *broker,
                    void (*connected)(void *user, bool session_present), mqtt_handler *availability,
                    struct pith_error *err)
{
    char topic[DAEMON_TOPIC_BYTES], client_id[128];
    int rc = 0;

    (void) snprintf(client_id, sizeof client_id, "pith-%s-%s", daemon->config->gateway, name);
    (void) daemon_topic(daemon, topic, sizeof topic, "availability");
    rc = mqtt_open(out, daemon->loop,
                   &(struct mqtt_options){.broker = broker,
                                          .name = name,
                                          .client_id = client_id,
                                          .will_topic = topic,
                                          .will_payload = "offline",
                                          .inbox_bytes = broker->inbox_bytes,
                                          .connected = connected,
                                          .user = daemon},
                   err);
    if (rc == 0)
        rc = mqtt_subscribe(*out, topic, 1, false, availability, daemon, err);
    return rc;
}

int links_open(struct daemon *daemon, struct pith_error *err)
{
    const struct config *config = daemon->config;
    int rc = 0;

    if (!config->fleet.given) {
        rc = open_one(daemon, &daemon->home, "home", &config->home, fleet_connected,
                      home_availability, err);
        daemon->fleet = daemon->home;
        return rc;
    }
    rc = open_one(daemon, &daemon->home, "home", &config->home, home_connected, home_availability,
                  err);
    if (rc == 0)
        rc = open_one(daemon, &daemon->fleet, "fleet", &config->fleet, fleet_connected,
                      fleet_availability, err);
    return rc;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_broker(const struct config_broker *a, const struct config_broker *b)
{
    return same_text(a->url, b->url) && same_text(a->ca, b->ca) && same_text(a->cert, b->cert) &&
           same_text(a->key, b->key) && same_text(a->username, b->username) &&
           same_text(a->password_file, b->password_file) && a->version == b->version &&
           a->keep_alive_ms == b->keep_alive_ms;
}

int links_reload(struct daemon *daemon, const struct config *config, struct pith_error *err)
{
    int rc = 0;

    if (!same_broker(&config->home, &daemon->config->home))
        rc = mqtt_set_broker(daemon->home, &config->home, err);
    if (rc == 0 && config->fleet.given && !same_broker(&config->fleet, &daemon->config->fleet))
        rc = mqtt_set_broker(daemon->fleet, &config->fleet, err);
    return rc;
}

json_t *links_status(const struct daemon *daemon)
{
    json_t *links = json_object();
    const struct {
        const char *name;
        const struct mqtt *mqtt;
        const char *url;
    } list[] = {
        {"home", daemon->home, daemon->config->home.url},
        {"fleet", daemon->fleet, daemon->config->fleet.url},
    };

    for (size_t i = 0; i < (daemon->fleet == daemon->home ? 1 : 2); i++) {
        struct mqtt_counts counts;

        mqtt_counts(list[i].mqtt, &counts);
        (void) json_object_set_new(
            links, list[i].name,
            json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I}", "url", list[i].url, "connected",
                      mqtt_is_connected(list[i].mqtt), "received_count",
                      (json_int_t) counts.received, "received_bytes",
                      (json_int_t) counts.received_bytes, "dropped_count",
                      (json_int_t) counts.dropped, "sent_count", (json_int_t) counts.sent,
                      "refused_count", (json_int_t) counts.refused, "reconnect_count",
                      (json_int_t) counts.reconnects));
    }
    return links;
}

/* ---- closing ---- */

struct farewell {
    struct daemon *daemon;
    void (*closed)(struct daemon *daemon);
    uv_timer_t timer;
    unsigned unsaid; /* `offline` that no broker has acknowledged yet */
    unsigned open;   /* links, and the timer */
    bool closing;
};

static void farewell_done(struct farewell *farewell)
{
    if (--farewell->open > 0)
        return;
    farewell->daemon->home = farewell->daemon->fleet = NULL;
    farewell->closed(farewell->daemon);
    free(farewell);
}

static void link_closed(void *user)
{
    farewell_done(user);
}

static void farewell_timer_closed(uv_handle_t *handle)
{
    farewell_done(handle->data);
}

static void close_links(struct farewell *farewell)
{
    struct daemon *daemon = farewell->daemon;

    if (farewell->closing)
        return;
    farewell->closing = true;
    farewell->open = 2;
    uv_close((uv_handle_t *) &farewell->timer, farewell_timer_closed);
    if (daemon->fleet && daemon->fleet != daemon->home) {
        farewell->open++;
        mqtt_close(daemon->fleet, link_closed, farewell);
    }
    mqtt_close(daemon->home, link_closed, farewell);
}

static void offline_said(void *user, int status)
{
    struct farewell *farewell = user;

    (void) status; /* refused or cancelled: then the will must do */
    if (--farewell->unsaid == 0)
        close_links(farewell);
}

static void farewell_due(uv_timer_t *timer)
{
    close_links(timer->data);
}

static void say_offline(struct farewell *farewell, struct mqtt *mqtt)
{
    char topic[DAEMON_TOPIC_BYTES];

    if (!mqtt_is_connected(mqtt))
        return;
    if (mqtt_publish(mqtt,
                     &(struct mqtt_publication){.topic = daemon_topic(farewell->daemon, topic,
                                                                      sizeof topic, "availability"),
                                                .payload = "offline",
                                                .bytes = 7,
                                                .qos = 1,
                                                .retain = true,
                                                .done = offline_said,
                                                .user = farewell},
                     NULL) == 0)
        farewell->unsaid++;
}

void links_close(struct daemon *daemon, void (*closed)(struct daemon *daemon))
{
    struct farewell *farewell = daemon->home ? calloc(1, sizeof *farewell) : NULL;

    if (!farewell) { /* nothing was opened, or no memory to do it well: the wills speak for us */
        closed(daemon);
        return;
    }
    farewell->daemon = daemon;
    farewell->closed = closed;
    farewell->timer.data = farewell;
    (void) uv_timer_init(daemon->loop, &farewell->timer);
    (void) uv_timer_start(&farewell->timer, farewell_due, OFFLINE_WAIT_MS, 0);
    farewell->unsaid =
        1; /* so that an answer that comes at once doesn't close before the second was asked */
    say_offline(farewell, daemon->home);
    if (daemon->fleet && daemon->fleet != daemon->home)
        say_offline(farewell, daemon->fleet);
    offline_said(farewell, 0);
}
