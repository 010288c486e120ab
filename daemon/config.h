/* The daemon's configuration: one YAML file, described by one table (config.c) and documented in
 * pithd.yaml(5). A loaded config is never changed: reload loads another and swaps. */
#ifndef PITHD_CONFIG_H
#define PITHD_CONFIG_H

#include "libpith/base/digest.h"
#include "libpith/base/yaml.h"
#include "libpith/plugin/plugins.h"

#define CONFIG_MAX_TRUST     16
#define CONFIG_MAX_GROUPS    32
#define CONFIG_MAX_PIPELINES 64
#define CONFIG_MAX_METERS    8

enum config_mqtt { CONFIG_MQTT_AUTO, CONFIG_MQTT_5, CONFIG_MQTT_3_1_1 };

struct config_broker {
    bool given;
    const char *url;                      /* mqtt://host[:port] or mqtts://host[:port] */
    const char *ca, *cert, *key;          /* PEM files; NULL: none */
    const char *username, *password_file; /* NULL: none */
    int version;                          /* enum config_mqtt; auto: 5, or 3.1.1 where that is refused */
    int64_t keep_alive_ms;
    int64_t inbox_bytes; /* messages that may wait for the loop */
};

struct config_pipeline {
    const char *name;
    const char *source; /* topic filter on `home` */
    const struct pith_plugin *codec;
    struct pith_options codec_options;
    const char *model;
    bool retain_results;
    int64_t queue_count; /* payloads that may wait; the oldest is dropped */
};

struct config_meter {
    const struct pith_plugin *plugin;
    struct pith_options options;
};

enum config_when { CONFIG_WHEN_IDLE, CONFIG_WHEN_ALWAYS, CONFIG_WHEN_NEVER };

struct config {
    struct pith_yaml *yaml; /* own: all strings point into it or into `memory` */
    const char *gateway;    /* default: "gw-" and 12 hex digits of a digest of /etc/machine-id */
    const char *topic_root; /* "pith/1" */
    struct config_broker home, fleet; /* fleet not given: deployments arrive on home */
    struct pith_public_key trust[CONFIG_MAX_TRUST];
    size_t trust_count;
    const char *groups[CONFIG_MAX_GROUPS];
    size_t group_count;
    struct config_pipeline pipelines[CONFIG_MAX_PIPELINES];
    size_t pipeline_count;
    struct config_meter meters[CONFIG_MAX_METERS];
    size_t meter_count;
    struct {
        const char *recipe; /* a name in recipe_path, used where a manifest names none */
        int when;           /* enum config_when */
        int64_t deadline_ms;
        int64_t keep_samples_count; /* of each model's inputs; 0: no consent */
        int64_t sample_every_ms;
        double shadow_ratio;  /* share of inputs that the original runs too, in idle time, for
                                 fidelity */
        int64_t memory_bytes; /* limit of a pith-worker */
    } compression;
    struct {
        int64_t keep_ms, max_size_bytes, commit_every_ms;
    } telemetry;
    int64_t model_max_bytes; /* greatest sum of a model's unpacked graphs that is accepted */
    int64_t lane_count;
    const char *state_dir, *run_dir, *plugin_path, *recipe_path,
        *worker; /* with defaults from configure */
    uint32_t log_level;
    bool remote_changes; /* control methods that change state are open on MQTT too */
    char *memory;        /* own: what defaults were made in */
};

/* Reads and checks the whole file; all faults at once in *faults (lines), which is freed with
 * free(). plugins: to check codecs, meters and their options. -EINVAL where there were faults. */
int config_load(struct config **out, const char *path, const struct pith_plugins *plugins,
                char **faults, struct pith_error *err) PITH_CHECKED;
void config_free(struct config *config);
/* What the file says of plugin_path alone, as plugins must be found before the rest can be checked;
 * "" where it says nothing that can be used, which config_load then tells. *out is freed with
 * free(). */
int config_plugin_path(const char *path, char **out, struct pith_error *err) PITH_CHECKED;

#endif
