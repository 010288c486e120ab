/* pithd from start to end: which parts there are, in which order they are opened, and that they are
 * closed in reverse. Also what belongs to no part: signals, systemd. */
#include "daemon/daemon.h"

#include "daemon/control.h"
#include "daemon/deployments.h"
#include "daemon/links.h"
#include "daemon/memory.h"
#include "daemon/meters.h"
#include "daemon/notify.h"
#include "daemon/pipelines.h"
#include "daemon/samples.h"
#include "daemon/telemetry.h"
#include "libpith/base/clock.h"
#include "libpith/base/file.h"
#include "libpith/base/json.h"
#include "libpith/base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define SETTLE_MS        10000 /* after which a start, or a model's first samples, are through */
#define STOP_DEADLINE_MS 20000 /* systemd would kill us after 30 s, without a word */

struct running {
    struct daemon daemon; /* first: parts know only this */
    uv_signal_t term, interrupt, hangup, child, resumed;
    uv_timer_t watchdog, deadline, settle;
    uv_work_t settle_work;
    bool settling;     /* it is under way */
    size_t open_count; /* parts that are open */
    int lock_fd;
    bool failed; /* stopping because the start did not succeed */
};

static void close_next(struct running *running);

/* ---- the parts ---- */

static int open_database(struct daemon *daemon, struct pith_error *err)
{
    char path[4096];

    (void) snprintf(path, sizeof path, "%s/pith.db", daemon->config->state_dir);
    return database_open(
        &daemon->database, daemon->loop,
        &(struct database_options){.path = path,
                                   .commit_every_ms = daemon->config->telemetry.commit_every_ms,
                                   .max_size_bytes = daemon->config->telemetry.max_size_bytes,
                                   .keep_ms = daemon->config->telemetry.keep_ms},
        err);
}

static void part_closed(struct daemon *daemon)
{
    close_next((struct running *) daemon);
}

static void part_closed_user(void *user)
{
    close_next(user);
}

static void close_database(struct daemon *daemon)
{
    database_close(daemon->database);
    daemon->database = NULL;
    part_closed(daemon);
}

static void close_links(struct daemon *daemon)
{
    links_close(daemon, part_closed);
}

static int open_meters(struct daemon *daemon, struct pith_error *err)
{
    return meters_open(&daemon->meters, daemon, err);
}

static void close_meters(struct daemon *daemon)
{
    meters_close(daemon->meters);
    daemon->meters = NULL;
    part_closed(daemon);
}

static int open_telemetry(struct daemon *daemon, struct pith_error *err)
{
    return telemetry_open(&daemon->telemetry, daemon, err);
}

static void close_telemetry(struct daemon *daemon)
{
    telemetry_close(daemon->telemetry, part_closed_user, daemon);
    daemon->telemetry = NULL;
}

static int open_samples(struct daemon *daemon, struct pith_error *err)
{
    return samples_open(&daemon->samples, daemon, err);
}

static void close_samples(struct daemon *daemon)
{
    struct samples *samples = daemon->samples;

    daemon->samples = NULL;
    samples_close(samples, part_closed_user, daemon);
}

static int open_pipelines(struct daemon *daemon, struct pith_error *err)
{
    return pipelines_open(&daemon->pipelines, daemon, err);
}

static void close_pipelines(struct daemon *daemon)
{
    pipelines_close(daemon->pipelines, part_closed_user, daemon);
    daemon->pipelines = NULL;
}

static int open_deployments(struct daemon *daemon, struct pith_error *err)
{
    return deployments_open(&daemon->deployments, daemon, err);
}

static void close_deployments(struct daemon *daemon)
{
    struct deployments *deployments = daemon->deployments;

    daemon->deployments = NULL;
    deployments_close(deployments, part_closed_user, daemon);
}

static int open_control(struct daemon *daemon, struct pith_error *err)
{
    return control_open(&daemon->control, daemon, err);
}

static void close_control(struct daemon *daemon)
{
    control_close(daemon->control, part_closed_user, daemon);
    daemon->control = NULL;
}

/* Opened in this order, closed in reverse. close leads to part_closed, at once or later. Connecting
 * to the brokers begins when the loop runs, so pipelines are ready before the first message. */
static const struct part {
    const char *name;
    int (*open)(struct daemon *daemon, struct pith_error *err);
    void (*close)(struct daemon *daemon);
} parts[] = {
    {"database", open_database, close_database},
    {"meters", open_meters, close_meters},
    {"links", links_open, close_links},
    {"telemetry", open_telemetry, close_telemetry},
    {"samples", open_samples, close_samples},
    {"pipelines", open_pipelines, close_pipelines},
    {"deployments", open_deployments, close_deployments},
    {"control", open_control, close_control},
};
#define PART_COUNT (sizeof parts / sizeof *parts)

static int open_parts(struct running *running, struct pith_error *err)
{
    for (; running->open_count < PART_COUNT; running->open_count++) {
        const struct part *part = &parts[running->open_count];
        uint64_t began_ns = pith_monotonic_ns();
        int rc = part->open(&running->daemon, err);

        if (rc < 0)
            return rc;
        log_debug("part_open", "part=%s took_us=%llu", part->name,
                  (unsigned long long) (pith_monotonic_ns() - began_ns) / 1000);
    }
    return 0;
}

static void close_handle(uv_handle_t *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void close_next(struct running *running)
{
    if (running->open_count > 0) {
        running->open_count--;
        parts[running->open_count].close(&running->daemon);
        return;
    }
    close_handle((uv_handle_t *) &running->term);
    close_handle((uv_handle_t *) &running->interrupt);
    close_handle((uv_handle_t *) &running->hangup);
    close_handle((uv_handle_t *) &running->child);
    close_handle((uv_handle_t *) &running->resumed);
    close_handle((uv_handle_t *) &running->watchdog);
    close_handle((uv_handle_t *) &running->deadline);
    close_handle((uv_handle_t *) &running->settle);
    loop_watch_close(&running->daemon.watch);
}

/* ---- stopping ---- */

static void deadline_due(uv_timer_t *timer)
{
    const struct running *running = timer->data;

    log_error("stop_overdue", "part=%s reason=\"it has not closed within %d s; ending without it\"",
              running->open_count < PART_COUNT ? parts[running->open_count].name : "none",
              STOP_DEADLINE_MS / 1000);
    _exit(EXIT_FAILURE); /* all that matters is on disk: the database commits before anything is
                            acted on */
}

static void daemon_stop(struct daemon *daemon)
{
    struct running *running = (struct running *) daemon;

    if (daemon->stopping)
        return;
    daemon->stopping = true;
    loop_watch_end(&daemon->watch);
    log_notice("stopping", "uptime_s=%llu",
               (unsigned long long) (pith_monotonic_ns() - daemon->started_ns) / 1000000000);
    notify("STOPPING=1\nSTATUS=Stopping");
    (void) uv_timer_start(&running->deadline, deadline_due, STOP_DEADLINE_MS, 0);
    close_next(running);
}

/* ---- memory ---- */

static void settle_on_thread(uv_work_t *work)
{
    (void) work;
    memory_give_back();
}

static void settled(uv_work_t *work, int status)
{
    struct running *running = work->data;

    (void) status;
    running->settling = false;
}

static void settle_due(uv_timer_t *timer)
{
    struct running *running = timer->data;

    if (running->settling)
        return;
    running->settle_work.data = running;
    running->settling =
        uv_queue_work(running->daemon.loop, &running->settle_work, settle_on_thread, settled) == 0;
}

void daemon_settle(struct daemon *daemon)
{
    if (daemon->settle && !daemon->stopping)
        (void) uv_timer_start(daemon->settle, settle_due, SETTLE_MS, 0);
}

/* ---- signals, systemd ---- */

static void stop_signal(uv_signal_t *signal, int number)
{
    struct running *running = signal->data;

    loop_watch_interrupted(&running->daemon.watch);
    log_info("signal", "name=%s", strsignal(number));
    daemon_stop(&running->daemon);
}

static void reload_signal(uv_signal_t *signal, int number)
{
    struct running *running = signal->data;

    (void) number;
    loop_watch_interrupted(&running->daemon.watch);
    if (!running->daemon.stopping && daemon_reload(&running->daemon, NULL) < 0)
        return; /* told already, where it can be acted on */
}

static void noticed_signal(uv_signal_t *signal, int number)
{
    struct running *running = signal->data;

    (void) number;
    loop_watch_interrupted(&running->daemon.watch);
}

static void watchdog_due(uv_timer_t *timer)
{
    (void) timer;
    notify("WATCHDOG=1");
}

static int watch_signals(struct running *running, struct pith_error *err)
{
    const struct {
        uv_signal_t *handle;
        int number;
        uv_signal_cb call;
    } list[] = {
        {&running->term, SIGTERM, stop_signal},       {&running->interrupt, SIGINT, stop_signal},
        {&running->hangup, SIGHUP, reload_signal},    {&running->child, SIGCHLD, noticed_signal},
        {&running->resumed, SIGCONT, noticed_signal},
    };

    (void) signal(SIGPIPE, SIG_IGN); /* a peer that went away is told by write */
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        int rc = uv_signal_start(list[i].handle, list[i].call, list[i].number);

        if (rc < 0)
            return pith_fail(err, rc, "signal %s: %s", strsignal(list[i].number), uv_strerror(rc));
    }
    return 0;
}

static void init_handles(struct running *running)
{
    uv_loop_t *loop = running->daemon.loop;

    (void) uv_signal_init(loop, &running->term);
    (void) uv_signal_init(loop, &running->interrupt);
    (void) uv_signal_init(loop, &running->hangup);
    (void) uv_signal_init(loop, &running->child);
    (void) uv_signal_init(loop, &running->resumed);
    (void) uv_timer_init(loop, &running->watchdog);
    (void) uv_timer_init(loop, &running->deadline);
    (void) uv_timer_init(loop, &running->settle);
    running->daemon.settle = &running->settle;
    running->term.data = running->interrupt.data = running->hangup.data = running;
    running->child.data = running->resumed.data = running;
    running->watchdog.data = running->deadline.data = running->settle.data = running;
    loop_watch_start(&running->daemon.watch, loop);
}

/* Two daemons on one state folder would undo each other's work. */
static int lock_state(struct running *running, struct pith_error *err)
{
    char path[4096];
    int rc = pith_mkdirs(running->daemon.config->state_dir, 0750, err);

    if (rc < 0)
        return rc;
    (void) snprintf(path, sizeof path, "%s/pithd.lock", running->daemon.config->state_dir);
    running->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (running->lock_fd < 0)
        return pith_fail(err, -errno, "%s: %s", path, strerror(errno));
    if (flock(running->lock_fd, LOCK_EX | LOCK_NB) < 0)
        return pith_fail(err, -EBUSY, "another pithd works in %s",
                         running->daemon.config->state_dir);
    return 0;
}

static int start(struct running *running, struct pith_error *err)
{
    uint64_t period_ms = notify_watchdog_ms();
    int rc = lock_state(running, err);

    if (rc == 0)
        rc = watch_signals(running, err);
    if (rc == 0)
        rc = open_parts(running, err);
    if (rc < 0)
        return rc;
    if (period_ms)
        (void) uv_timer_start(&running->watchdog, watchdog_due, period_ms, period_ms);
    daemon_settle(&running->daemon);
    log_notice("started", "gateway=%s home=%s fleet=%s pipelines=%zu took_ms=%llu",
               running->daemon.config->gateway, running->daemon.config->home.url,
               running->daemon.config->fleet.given ? running->daemon.config->fleet.url : "home",
               running->daemon.config->pipeline_count,
               (unsigned long long) (pith_monotonic_ns() - running->daemon.started_ns) / 1000000);
    notify("READY=1\nSTATUS=Serving");
    return 0;
}

int daemon_run(const char *config_path, struct config *taken_config,
               struct pith_plugins *taken_plugins, struct pith_error *err)
{
    struct running *running = calloc(1, sizeof *running);
    uv_loop_t loop;
    int rc = uv_loop_init(&loop);

    if (!running || rc < 0) {
        config_free(taken_config);
        pith_plugins_free(taken_plugins);
        free(running);
        return pith_fail(err, running ? rc : -ENOMEM, "no event loop: %s",
                         running ? uv_strerror(rc) : "out of memory");
    }
    (void) uv_loop_configure(&loop, UV_METRICS_IDLE_TIME);
    running->daemon = (struct daemon){
        .loop = &loop,
        .config_path = config_path,
        .config = taken_config,
        .plugins = taken_plugins,
        .started_ns = pith_monotonic_ns(),
    };
    running->lock_fd = -1;
    init_handles(running);
    rc = start(running, err);
    if (rc < 0)
        daemon_stop(&running->daemon);
    (void) uv_run(&loop, UV_RUN_DEFAULT);
    (void) uv_loop_close(&loop);
    if (rc == 0)
        log_notice("stopped", "gateway=%s", running->daemon.config->gateway);
    config_free(running->daemon.config);
    pith_plugins_free(running->daemon.plugins);
    if (running->lock_fd >= 0)
        close(running->lock_fd);
    free(running);
    return rc;
}

/* ---- what parts share ---- */

const char *daemon_topic(const struct daemon *daemon, char *topic, size_t topic_bytes,
                         const char *format, ...)
{
    va_list arguments;
    int used = snprintf(topic, topic_bytes, "%s/gw/%s/", daemon->config->topic_root,
                        daemon->config->gateway);

    va_start(arguments, format);
    if (used > 0 && (size_t) used < topic_bytes)
        (void) vsnprintf(topic + used, topic_bytes - (size_t) used, format, arguments);
    va_end(arguments);
    return topic;
}

void daemon_event(struct daemon *daemon, const char *kind, json_t *taken)
{
    char topic[DAEMON_TOPIC_BYTES], when[25];
    struct pith_error err = {0};
    char *text = NULL;
    int rc = 0;

    if (taken) {
        (void) json_object_set_new(taken, "v", json_integer(1));
        (void) json_object_set_new(taken, "kind", json_string(kind));
        (void) json_object_set_new(taken, "time",
                                   json_string(pith_wall_text(pith_wall_ms(), when)));
        text = pith_json_text(taken);
    }
    if (!text || !daemon->fleet)
        rc = pith_fail(&err, -ENOMEM, "there is no memory, or no connection");
    else
        rc = mqtt_publish(daemon->fleet,
                          &(struct mqtt_publication){
                              .topic = daemon_topic(daemon, topic, sizeof topic, "event/%s", kind),
                              .payload = text,
                              .bytes = strlen(text),
                              .qos = 1},
                          &err);
    if (rc < 0)
        log_warn("event_lost", "kind=%s reason=\"%s\"", kind, pith_error_text(&err));
    free(text);
    json_decref(taken);
}
