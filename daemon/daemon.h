/* What the parts of pithd share: one struct, owned by the loop, made in daemon.c and taken apart in
 * reverse. */
#ifndef PITHD_DAEMON_H
#define PITHD_DAEMON_H

#include "daemon/config.h"
#include "daemon/database.h"
#include "daemon/loop_watch.h"
#include "daemon/mqtt.h"

struct control;
struct deployments;
struct meters;
struct pipelines;
struct samples;
struct telemetry;

struct daemon {
    uv_loop_t *loop;
    const char *config_path;
    struct config *config; /* replaced by a reload */
    struct pith_plugins *plugins;
    struct database *database;
    struct mqtt *home, *fleet; /* fleet == home where only one is configured */
    struct telemetry *telemetry;
    struct meters *meters;
    struct samples *samples; /* NULL: none are kept */
    struct pipelines *pipelines;
    struct deployments *deployments;
    struct control *control;
    uv_timer_t *settle; /* see daemon_settle; NULL: memory is not given back */
    struct loop_watch watch;
    uint64_t started_ns; /* monotonic */
    bool stopping;
};

/* Runs until SIGTERM or SIGINT. 0, or a negative errno where it could not start. */
int daemon_run(const char *config_path, struct config *taken_config,
               struct pith_plugins *taken_plugins, struct pith_error *err) PITH_CHECKED;
/* Reads the config again. Takes it whole, or keeps the old one: -EINVAL with all faults logged, the
 * first in *err. */
int daemon_reload(struct daemon *daemon, struct pith_error *err) PITH_CHECKED;

/* Something has just happened that took memory for a while (a start, a connection, a model, the last minute of sensor data
 * before silence): a few seconds later, what is not needed any more is given back. */
void daemon_settle(struct daemon *daemon);

/* Topics: "<root>/gw/<gateway>/<rest>" into topic; returns topic. */
const char *daemon_topic(const struct daemon *daemon, char *topic, size_t topic_bytes,
                         const char *format, ...) PITH_PRINTF(4, 5);
#define DAEMON_TOPIC_BYTES 512
/* Publishes a JSON object on <root>/gw/<gateway>/event/<kind> on `fleet`, with time and kind added;
 * takes the reference. */
void daemon_event(struct daemon *daemon, const char *kind, json_t *taken);

#endif
