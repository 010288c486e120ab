/* A reload of the config: it is read and checked whole, then every part takes its share, or none
 * does and the old one stays. What parts have built upon since the start may not change. */
#include "daemon/daemon.h"

#include "daemon/deployments.h"
#include "daemon/links.h"
#include "daemon/meters.h"
#include "daemon/notify.h"
#include "daemon/pipelines.h"
#include "daemon/samples.h"
#include "libpith/base/clock.h"
#include "libpith/base/log.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool same(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

/* Meters are open while lanes read them, and their energy must not change its source midway. */
static bool same_meters(const struct config *from, const struct config *to)
{
    bool equal = from->meter_count == to->meter_count;

    for (size_t i = 0; equal && i < from->meter_count; i++)
        equal = from->meters[i].plugin == to->meters[i].plugin &&
                pith_options_equal(from->meters[i].plugin->options, &from->meters[i].options,
                                   &to->meters[i].options);
    return equal;
}

/* What the parts have built upon since the start. */
static int check_unchanged(const struct config *from, const struct config *to,
                           struct pith_error *err)
{
    const char *key =
        !same(from->gateway, to->gateway)                                     ? "gateway"
        : !same(from->topic_root, to->topic_root)                             ? "topic_root"
        : from->fleet.given != to->fleet.given                                ? "fleet"
        : !same(from->state_dir, to->state_dir)                               ? "state_dir"
        : !same(from->run_dir, to->run_dir)                                   ? "run_dir"
        : !same(from->plugin_path, to->plugin_path)                           ? "plugin_path"
        : from->lane_count != to->lane_count                                  ? "lanes"
        : memcmp(&from->telemetry, &to->telemetry, sizeof from->telemetry)    ? "telemetry"
        : !same_meters(from, to)                                              ? "meters"
        : from->home.inbox_bytes != to->home.inbox_bytes                      ? "home.inbox_size"
        : to->fleet.given && from->fleet.inbox_bytes != to->fleet.inbox_bytes ? "fleet.inbox_size"
                                                                              : NULL;

    if (key)
        return pith_fail(
            err, -EINVAL,
            "%s has changed, which takes effect only at a start: systemctl restart pithd", key);
    return 0;
}

static int swap_config(struct daemon *daemon, struct config *config, struct pith_error *err)
{
    int rc = check_unchanged(daemon->config, config, err);

    if (rc == 0)
        rc = pipelines_check(config, err);
    if (rc == 0)
        rc = links_reload(daemon, config, err);
    if (rc == 0)
        rc = deployments_reload(daemon->deployments, config, err);
    if (rc < 0)
        return rc;
    meters_reload(daemon->meters, config);
    samples_reload(daemon->samples, config);
    pipelines_reload(daemon->pipelines, config);
    return 0;
}

static void log_faults(char *faults)
{
    char *rest = faults;

    for (char *line = faults ? strsep(&rest, "\n") : NULL; line; line = strsep(&rest, "\n")) {
        char quoted[1024];

        log_error("config_fault", "at=%s", pith_log_quote(line, quoted, sizeof quoted));
    }
}

int daemon_reload(struct daemon *daemon, struct pith_error *err)
{
    struct pith_error own = {0};
    struct config *config = NULL;
    char *faults = NULL;
    int rc = 0;

    notify("RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long) pith_monotonic_ns() / 1000);
    rc = config_load(&config, daemon->config_path, daemon->plugins, &faults, &own);
    if (rc == 0)
        rc = swap_config(daemon, config, &own);
    if (rc == 0) {
        config_free(daemon->config);
        daemon->config = config;
        pith_log_set_level(config->log_level);
        log_notice("reloaded", "pipelines=%zu trusted_keys=%zu", config->pipeline_count,
                   config->trust_count);
        links_say_info(daemon);
        daemon_event(daemon, "reloaded", json_object());
    } else {
        const char *first = faults ? faults : own.text;

        if (err)
            (void) pith_fail(err, rc, "the config stays as it was: %.*s",
                             (int) strcspn(first, "\n"), first);
        daemon_event(daemon, "reload-refused", json_pack("{s:s}", "reason", first));
        log_faults(faults);
        log_error("reload_refused", "reason=\"%s\" kept=\"the config that was loaded before\"",
                  own.text);
        config_free(config);
    }
    free(faults);
    daemon_settle(daemon);
    notify("READY=1\nSTATUS=%s",
           rc == 0 ? "Serving" : "Serving; the last reload was refused, see the journal");
    return rc;
}
