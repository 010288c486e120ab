/* The table of the config file: see config_schema.h. A new key is a line here, a member in
 * config.h, and its paragraph in pithd.yaml(5), the sample and the JSON Schema; a test compares the
 * four. */
#include "daemon/config_schema.h"

#include <pith/plugin.h>
#include <stdio.h>

#define SECOND_MS 1000.0
#define HOUR_MS   (3600 * SECOND_MS)
#define DAY_MS    (24 * HOUR_MS)
#define KIB       1024.0
#define MIB       (1024 * KIB)
#define GIB       (1024 * MIB)

#define IN(struct_name, member) offsetof(struct struct_name, member)

static const char *const log_names[] = {"error", "warning", "notice", "info", "debug", NULL};
const uint32_t config_log_levels[] = {PITH_LOG_ERROR, PITH_LOG_WARNING, PITH_LOG_NOTICE,
                                      PITH_LOG_INFO, PITH_LOG_DEBUG};
static const char *const version_names[] = {"auto", "5", "3.1.1", NULL};   /* enum config_mqtt */
static const char *const when_names[] = {"idle", "always", "never", NULL}; /* enum config_when */

/* help completes the sentence "<key>: ... is not right; it must be ...". */
const struct pith_yaml_field config_root_fields[] = {
    {.key = "gateway", .type = PITH_YAML_NAME, .offset = IN(config_reading, config.gateway)},
    {.key = "topic_root",
     .type = PITH_YAML_TEXT,
     .offset = IN(config_reading, config.topic_root),
     .help = "an MQTT topic such as pith/1"},
    {.key = "home",
     .type = PITH_YAML_MAP_NODE,
     .offset = IN(config_reading, home),
     .help = "a map such as {url: mqtt://127.0.0.1}"},
    {.key = "fleet",
     .type = PITH_YAML_MAP_NODE,
     .offset = IN(config_reading, fleet),
     .help = "a map such as {url: mqtts://fleet.example.org}"},
    {.key = "trust",
     .type = PITH_YAML_LIST_NODE,
     .offset = IN(config_reading, trust),
     .required = true,
     .help = "a list of public key files, as `pith keygen` makes them"},
    {.key = "groups",
     .type = PITH_YAML_LIST_NODE,
     .offset = IN(config_reading, groups),
     .help = "a list of names such as [beta, kitchens]"},
    {.key = "pipelines",
     .type = PITH_YAML_MAP_NODE,
     .offset = IN(config_reading, pipelines),
     .help = "a map of pipelines by name"},
    {.key = "compression", .type = PITH_YAML_MAP_NODE, .offset = IN(config_reading, compression)},
    {.key = "meters",
     .type = PITH_YAML_LIST_NODE,
     .offset = IN(config_reading, meters),
     .help = "a list of meters such as [rapl, cputime]"},
    {.key = "telemetry", .type = PITH_YAML_MAP_NODE, .offset = IN(config_reading, telemetry)},
    {.key = "model_max_size",
     .type = PITH_YAML_SIZE_BYTES,
     .offset = IN(config_reading, config.model_max_bytes),
     .minimum = 1,
     .maximum = 64 * GIB},
    {.key = "lanes",
     .type = PITH_YAML_INT,
     .offset = IN(config_reading, config.lane_count),
     .minimum = 1,
     .maximum = 64},
    {.key = "remote_changes",
     .type = PITH_YAML_BOOL,
     .offset = IN(config_reading, config.remote_changes)},
    {.key = "log",
     .type = PITH_YAML_CHOICE,
     .offset = IN(config_reading, log_choice),
     .choices = log_names},
    {.key = "state_dir",
     .type = PITH_YAML_TEXT,
     .offset = IN(config_reading, config.state_dir),
     .help = "an absolute path"},
    {.key = "run_dir",
     .type = PITH_YAML_TEXT,
     .offset = IN(config_reading, config.run_dir),
     .help = "an absolute path"},
    {.key = "plugin_path",
     .type = PITH_YAML_TEXT,
     .offset = IN(config_reading, config.plugin_path),
     .help = "folders with ':' between them"},
    {.key = "recipe_path",
     .type = PITH_YAML_TEXT,
     .offset = IN(config_reading, config.recipe_path),
     .help = "folders with ':' between them"},
    {.key = "worker",
     .type = PITH_YAML_TEXT,
     .offset = IN(config_reading, config.worker),
     .help = "the path of pith-worker"},
    {.key = NULL},
};

const struct pith_yaml_field config_broker_fields[] = {
    {.key = "url",
     .type = PITH_YAML_TEXT,
     .offset = IN(config_broker, url),
     .required = true,
     .help = "an MQTT URL such as mqtt://127.0.0.1 or mqtts://fleet.example.org:8883"},
    {.key = "ca",
     .type = PITH_YAML_TEXT,
     .offset = IN(config_broker, ca),
     .help = "the path of a PEM file"},
    {.key = "cert",
     .type = PITH_YAML_TEXT,
     .offset = IN(config_broker, cert),
     .help = "the path of a PEM file"},
    {.key = "key",
     .type = PITH_YAML_TEXT,
     .offset = IN(config_broker, key),
     .help = "the path of a PEM file"},
    {.key = "username",
     .type = PITH_YAML_TEXT,
     .offset = IN(config_broker, username),
     .help = "a text"},
    {.key = "password_file",
     .type = PITH_YAML_TEXT,
     .offset = IN(config_broker, password_file),
     .help = "the path of a file that holds the password alone"},
    {.key = "version",
     .type = PITH_YAML_CHOICE,
     .offset = IN(config_broker, version),
     .choices = version_names},
    {.key = "keep_alive",
     .type = PITH_YAML_DURATION_MS,
     .offset = IN(config_broker, keep_alive_ms),
     .minimum = 5 * SECOND_MS,
     .maximum = HOUR_MS},
    {.key = "inbox_size",
     .type = PITH_YAML_SIZE_BYTES,
     .offset = IN(config_broker, inbox_bytes),
     .minimum = 256 * KIB,
     .maximum = 256 * MIB},
    {.key = NULL},
};

const struct pith_yaml_field config_pipeline_fields[] = {
    {.key = "source",
     .type = PITH_YAML_TEXT,
     .offset = IN(config_pipeline_reading, pipeline.source),
     .required = true,
     .help = "an MQTT topic or filter on `home`, such as hub/kitchen/mic"},
    {.key = "codec",
     .type = PITH_YAML_NODE,
     .offset = IN(config_pipeline_reading, codec),
     .required = true,
     .help = "a codec's name, or {name: {option: value}}, such as {pcm: {rate_hz: 16000}}"},
    {.key = "model",
     .type = PITH_YAML_NAME,
     .offset = IN(config_pipeline_reading, pipeline.model),
     .required = true},
    {.key = "retain_results",
     .type = PITH_YAML_BOOL,
     .offset = IN(config_pipeline_reading, pipeline.retain_results)},
    {.key = "queue",
     .type = PITH_YAML_INT,
     .offset = IN(config_pipeline_reading, pipeline.queue_count),
     .minimum = 1,
     .maximum = 100000},
    {.key = NULL},
};

const struct pith_yaml_field config_compression_fields[] = {
    {.key = "recipe",
     .type = PITH_YAML_NAME,
     .offset = IN(config_reading, config.compression.recipe)},
    {.key = "when",
     .type = PITH_YAML_CHOICE,
     .offset = IN(config_reading, config.compression.when),
     .choices = when_names},
    {.key = "deadline",
     .type = PITH_YAML_DURATION_MS,
     .offset = IN(config_reading, config.compression.deadline_ms),
     .minimum = SECOND_MS,
     .maximum = 7 * DAY_MS},
    {.key = "keep_samples",
     .type = PITH_YAML_INT,
     .offset = IN(config_reading, config.compression.keep_samples_count),
     .minimum = 0,
     .maximum = 1000000},
    {.key = "sample_every",
     .type = PITH_YAML_DURATION_MS,
     .offset = IN(config_reading, config.compression.sample_every_ms),
     .minimum = 10,
     .maximum = 7 * DAY_MS},
    {.key = "shadow_ratio",
     .type = PITH_YAML_NUMBER,
     .offset = IN(config_reading, config.compression.shadow_ratio),
     .minimum = 0,
     .maximum = 1},
    {.key = "memory",
     .type = PITH_YAML_SIZE_BYTES,
     .offset = IN(config_reading, config.compression.memory_bytes),
     .minimum = 64 * MIB,
     .maximum = 1024 * GIB},
    {.key = NULL},
};

const struct pith_yaml_field config_telemetry_fields[] = {
    {.key = "keep",
     .type = PITH_YAML_DURATION_MS,
     .offset = IN(config_reading, config.telemetry.keep_ms),
     .minimum = HOUR_MS,
     .maximum = 3660 * DAY_MS},
    {.key = "max_size",
     .type = PITH_YAML_SIZE_BYTES,
     .offset = IN(config_reading, config.telemetry.max_size_bytes),
     .minimum = MIB,
     .maximum = 1024 * GIB},
    {.key = "commit_every",
     .type = PITH_YAML_DURATION_MS,
     .offset = IN(config_reading, config.telemetry.commit_every_ms),
     .minimum = 100,
     .maximum = HOUR_MS},
    {.key = NULL},
};

static void each_of(const char *prefix, const struct pith_yaml_field *fields,
                    void (*each)(void *user, const char *path, const struct pith_yaml_field *field),
                    void *user)
{
    for (; fields->key; fields++) {
        char path[128];

        (void) snprintf(path, sizeof path, "%s%s", prefix, fields->key);
        each(user, path, fields);
    }
}

void config_each_key(void (*each)(void *user, const char *path,
                                  const struct pith_yaml_field *field),
                     void *user)
{
    each_of("", config_root_fields, each, user);
    each_of("home.", config_broker_fields, each, user);
    each_of("fleet.", config_broker_fields, each, user);
    each_of("pipelines.*.", config_pipeline_fields, each, user);
    each_of("compression.", config_compression_fields, each, user);
    each_of("telemetry.", config_telemetry_fields, each, user);
}
