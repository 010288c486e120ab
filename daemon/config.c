/* Reads the config file: defaults, the tables of config_schema.c, then what a table can't say (a
 * codec that exists, a key that can be read). Every fault goes to the document, so that all are
 * told at once. */
#include "daemon/config.h"

#include "daemon/config_schema.h"
#include "daemon/mqtt_rules.h"
#include "libpith/base/digest.h"
#include "libpith/base/file.h"
#include "libpith/base/names.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define MACHINE_ID "/etc/machine-id"
#define MIB        (INT64_C(1) << 20)

static const struct config defaults = {
    .topic_root = "pith/1",
    .home = {.url = "mqtt://127.0.0.1", .keep_alive_ms = 60000, .inbox_bytes = 8 * MIB},
    .fleet = {.keep_alive_ms = 60000, .inbox_bytes = 8 * MIB},
    .compression = {.recipe = "balanced",
                    .when = CONFIG_WHEN_IDLE,
                    .deadline_ms = 2 * 3600 * 1000,
                    .sample_every_ms = 60 * 1000,
                    .shadow_ratio = 0.02,
                    .memory_bytes = 1024 * MIB},
    .telemetry = {.keep_ms = INT64_C(90) * 24 * 3600 * 1000,
                  .max_size_bytes = 200000000,
                  .commit_every_ms = 10000},
    .model_max_bytes = 256 * MIB,
    .lane_count = 1,
    .state_dir = PITH_STATE_DIR,
    .run_dir = PITH_RUN_DIR,
    .plugin_path = "", /* $PITH_PLUGIN_PATH, or where they were installed */
    .recipe_path = PITH_CONF_DIR "/recipes:" PITH_DATA_DIR "/recipes",
    .worker = PITH_LIBEXEC_DIR "/pith-worker",
};

/* The node to point at for a key: its value, or the map where it is missing. */
static const struct pith_yaml_node *place_of(const struct pith_yaml_node *map, const char *key)
{
    const struct pith_yaml_node *node = pith_yaml_find(map, key);

    return node ? node : map;
}

static const char *scalar_item(struct config *config, const struct pith_yaml_node *list,
                               size_t index, const char *what)
{
    const struct pith_yaml_node *item = pith_yaml_item(list, index);
    const char *text = pith_yaml_scalar(item);

    if (!text || pith_yaml_is_null(item)) {
        pith_yaml_fault(config->yaml, item, "here must be %s", what);
        return NULL;
    }
    return text;
}

/* ---- brokers ---- */

static void check_file(struct config *config, const struct pith_yaml_node *map, const char *key,
                       const char *path)
{
    struct stat about;

    if (!path)
        return;
    if (stat(path, &about) < 0 || access(path, R_OK) < 0)
        pith_yaml_fault(config->yaml, place_of(map, key), "%s: %s can't be read: %s", key, path,
                        strerror(errno));
    else if (!S_ISREG(about.st_mode))
        pith_yaml_fault(config->yaml, place_of(map, key), "%s: %s is no file", key, path);
}

static void check_secret(struct config *config, const struct pith_yaml_node *map, const char *key,
                         const char *path)
{
    struct stat about;

    check_file(config, map, key, path);
    if (path && stat(path, &about) == 0 && (about.st_mode & (S_IROTH | S_IWOTH)))
        pith_yaml_fault(config->yaml, place_of(map, key),
                        "%s: %s is open to everyone on this machine; chmod o-rwx %s", key, path,
                        path);
}

static void read_broker(struct config *config, const struct pith_yaml_node *map,
                        struct config_broker *broker)
{
    struct mqtt_url url = {0};
    struct pith_error err = {0};

    if (!map)
        return;
    broker->given = true;
    pith_yaml_read(config->yaml, map, config_broker_fields, broker);
    if (!broker->url)
        return;
    if (mqtt_url_parse(&url, broker->url, &err) < 0) {
        pith_yaml_fault(config->yaml, place_of(map, "url"), "url: %s", pith_error_text(&err));
        return;
    }
    const char *tls_key = broker->ca ? "ca" : broker->cert ? "cert" : broker->key ? "key" : NULL;

    if (tls_key && !url.tls)
        pith_yaml_fault(config->yaml, place_of(map, tls_key),
                        "%s: there is no TLS with mqtt://; write mqtts:// in `url`, or "
                        "leave it out",
                        tls_key);
    if (!broker->cert != !broker->key)
        pith_yaml_fault(config->yaml, place_of(map, broker->cert ? "cert" : "key"),
                        "cert and key go together: %s is missing", broker->cert ? "key" : "cert");
    if (broker->password_file && !broker->username)
        pith_yaml_fault(config->yaml, place_of(map, "password_file"),
                        "password_file: `username` is missing");
    check_file(config, map, "ca", broker->ca);
    check_file(config, map, "cert", broker->cert);
    check_secret(config, map, "key", broker->key);
    check_secret(config, map, "password_file", broker->password_file);
}

/* ---- lists ---- */

static void read_trust(struct config *config, const struct pith_yaml_node *list)
{
    if (!list)
        return;
    if (pith_yaml_count(list) == 0)
        pith_yaml_fault(
            config->yaml, list,
            "trust: without a public key no deployment is ever accepted; make a pair with "
            "`pith keygen`");
    for (size_t i = 0; i < pith_yaml_count(list); i++) {
        const char *path = scalar_item(config, list, i, "the path of a public key file");
        struct pith_error err = {0};

        if (config->trust_count == CONFIG_MAX_TRUST) {
            pith_yaml_fault(config->yaml, pith_yaml_item(list, i), "trust: at most %d keys",
                            CONFIG_MAX_TRUST);
            return;
        }
        if (!path)
            continue;
        if (pith_public_key_open(&config->trust[config->trust_count], path, &err) < 0)
            pith_yaml_fault(config->yaml, pith_yaml_item(list, i), "trust: %s",
                            pith_error_text(&err));
        else
            config->trust_count++;
    }
}

static void read_groups(struct config *config, const struct pith_yaml_node *list)
{
    for (size_t i = 0; list && i < pith_yaml_count(list); i++) {
        const char *name = scalar_item(config, list, i, "a group's name");

        if (config->group_count == CONFIG_MAX_GROUPS) {
            pith_yaml_fault(config->yaml, pith_yaml_item(list, i), "groups: at most %d groups",
                            CONFIG_MAX_GROUPS);
            return;
        }
        if (!name)
            continue;
        if (!pith_name_valid(name))
            pith_yaml_fault(config->yaml, pith_yaml_item(list, i),
                            "groups: \"%.80s\" is no name; it must be %s", name, PITH_NAME_RULE);
        for (size_t k = 0; k < config->group_count; k++)
            if (strcmp(config->groups[k], name) == 0)
                pith_yaml_fault(config->yaml, pith_yaml_item(list, i),
                                "groups: %s is in the list twice", name);
        config->groups[config->group_count++] = name;
    }
}

/* "name", or a map with one key, {name: {options}}. */
static const struct pith_plugin *read_plugin(struct config *config,
                                             const struct pith_yaml_node *node, uint32_t kind,
                                             const struct pith_plugins *plugins,
                                             struct pith_options *out_options)
{
    const struct pith_plugin *plugin = NULL;
    const struct pith_yaml_node *options = NULL;
    const char *name = pith_yaml_scalar(node);
    struct pith_error err = {0};
    size_t faults = pith_yaml_fault_count(config->yaml);

    if (!name && pith_yaml_kind(node) == PITH_YAML_MAP && pith_yaml_count(node) == 1) {
        name = pith_yaml_key(node, 0);
        options = pith_yaml_item(node, 0);
        if (pith_yaml_is_null(options))
            options = NULL;
        else if (pith_yaml_kind(options) != PITH_YAML_MAP) {
            pith_yaml_fault(config->yaml, options, "%s: here must be a map of the %s's options",
                            name, pith_kind_name(kind));
            return NULL;
        }
    }
    if (!name) {
        pith_yaml_fault(config->yaml, node,
                        "here must be a %s's name, or {name: {option: value}} with one name",
                        pith_kind_name(kind));
        return NULL;
    }
    if (pith_plugins_find(plugins, kind, name, &plugin, &err) < 0) {
        pith_yaml_fault(config->yaml, node, "%s", pith_error_text(&err));
        return NULL;
    }
    if (pith_options_from_yaml(out_options, plugin->options, config->yaml, options, &err) < 0) {
        if (pith_yaml_fault_count(config->yaml) ==
            faults) /* a required option that has no place of its own */
            pith_yaml_fault(config->yaml, node, "%s", pith_error_text(&err));
        return NULL;
    }
    return plugin;
}

static void read_meters(struct config *config, const struct pith_yaml_node *list,
                        const struct pith_plugins *plugins)
{
    for (size_t i = 0; list && i < pith_yaml_count(list); i++) {
        struct config_meter *meter = &config->meters[config->meter_count];

        if (config->meter_count == CONFIG_MAX_METERS) {
            pith_yaml_fault(config->yaml, pith_yaml_item(list, i), "meters: at most %d meters",
                            CONFIG_MAX_METERS);
            return;
        }
        meter->plugin =
            read_plugin(config, pith_yaml_item(list, i), PITH_KIND_METER, plugins, &meter->options);
        if (meter->plugin)
            config->meter_count++;
    }
}

/* ---- pipelines ---- */

static void check_source(struct config *config, const struct pith_yaml_node *map,
                         const struct config_pipeline *pipeline)
{
    char own[MQTT_TOPIC_MAX_BYTES];

    if (!pipeline->source)
        return;
    if (!mqtt_filter_valid(pipeline->source)) {
        pith_yaml_fault(config->yaml, place_of(map, "source"),
                        "source: \"%.80s\" is no MQTT topic filter; '+' stands alone between "
                        "slashes, '#' alone at the end",
                        pipeline->source);
        return;
    }
    (void) snprintf(own, sizeof own, "%s/gw/%s/result/%s", config->topic_root,
                    config->gateway ? config->gateway : "", pipeline->name);
    if (mqtt_topic_matches(pipeline->source, own))
        pith_yaml_fault(
            config->yaml, place_of(map, "source"),
            "source: \"%.80s\" would feed this pipeline its own results; name the sensor's topic",
            pipeline->source);
}

static void read_pipelines(struct config *config, const struct pith_yaml_node *map,
                           const struct pith_plugins *plugins)
{
    for (size_t i = 0; map && i < pith_yaml_count(map); i++) {
        const struct pith_yaml_node *node = pith_yaml_item(map, i);
        struct config_pipeline_reading reading = {
            .pipeline = {.name = pith_yaml_key(map, i), .queue_count = 64},
        };

        if (config->pipeline_count == CONFIG_MAX_PIPELINES) {
            pith_yaml_fault(config->yaml, node, "pipelines: at most %d pipelines",
                            CONFIG_MAX_PIPELINES);
            return;
        }
        if (!pith_name_valid(reading.pipeline.name))
            pith_yaml_fault(config->yaml, node,
                            "\"%.80s\" is no name for a pipeline; it must be %s",
                            reading.pipeline.name, PITH_NAME_RULE);
        pith_yaml_read(config->yaml, node, config_pipeline_fields, &reading);
        check_source(config, node, &reading.pipeline);
        if (reading.codec)
            reading.pipeline.codec = read_plugin(config, reading.codec, PITH_KIND_CODEC, plugins,
                                                 &reading.pipeline.codec_options);
        config->pipelines[config->pipeline_count++] = reading.pipeline;
    }
}

/* ---- the rest ---- */

static bool recipe_exists(const struct config *config)
{
    const char *at = config->recipe_path;

    while (*at) {
        size_t bytes = strcspn(at, ":");
        char path[4096];

        (void) snprintf(path, sizeof path, "%.*s/%s.yaml", (int) bytes, at,
                        config->compression.recipe);
        if (bytes && access(path, R_OK) == 0)
            return true;
        at += bytes + (at[bytes] == ':');
    }
    return false;
}

static void check_folder(struct config *config, const struct pith_yaml_node *root, const char *key,
                         const char *path)
{
    if (path[0] != '/')
        pith_yaml_fault(config->yaml, place_of(root, key),
                        "%s: \"%.200s\" must be an absolute path", key, path);
}

static void check_rest(struct config *config, const struct config_reading *reading)
{
    const struct pith_yaml_node *root = pith_yaml_root(config->yaml);
    const size_t socket_room = sizeof((struct sockaddr_un *) 0)->sun_path - sizeof "/control.sock";

    if (!mqtt_topic_valid(config->topic_root) || config->topic_root[0] == '/' ||
        config->topic_root[0] == '$' || config->topic_root[strlen(config->topic_root) - 1] == '/' ||
        strlen(config->topic_root) > 64)
        pith_yaml_fault(config->yaml, place_of(root, "topic_root"),
                        "topic_root: \"%.80s\" is not right; it must be an MQTT topic of at most "
                        "64 bytes without wildcards, such "
                        "as pith/1",
                        config->topic_root);
    check_folder(config, root, "state_dir", config->state_dir);
    check_folder(config, root, "run_dir", config->run_dir);
    if (strlen(config->run_dir) > socket_room)
        pith_yaml_fault(config->yaml, place_of(root, "run_dir"),
                        "run_dir: the control socket's path would be too long; at most %zu bytes",
                        socket_room);
    if (access(config->worker, X_OK) < 0)
        pith_yaml_fault(config->yaml, place_of(root, "worker"), "worker: %.200s can't be run: %s",
                        config->worker, strerror(errno));
    if (config->compression.when != CONFIG_WHEN_NEVER && !recipe_exists(config))
        pith_yaml_fault(config->yaml,
                        reading->compression ? place_of(reading->compression, "recipe") : root,
                        "recipe: there is no %s.yaml in %.200s", config->compression.recipe,
                        config->recipe_path);
}

/* "gw-" and 12 hex digits of a digest: the machine's id itself is not to be shown around. */
static int default_gateway(struct config *config)
{
    struct pith_buffer id = {0};
    uint8_t digest[PITH_SHA256_BYTES];
    char hex[PITH_SHA256_HEX + 1];
    int rc = pith_file_read(MACHINE_ID, 4096, &id, NULL);

    if (rc == 0) {
        pith_buffer_text(&id, "pith gateway");
        rc = id.failed ? -ENOMEM : pith_sha256(id.data, id.bytes, digest);
    }
    if (rc == 0) {
        pith_hex_encode(hex, digest, sizeof digest);
        rc = asprintf(&config->memory, "gw-%.12s", hex) < 0 ? -ENOMEM : 0;
    }
    if (rc < 0) {
        config->memory = NULL;
        pith_yaml_fault(config->yaml, pith_yaml_root(config->yaml),
                        "gateway: %s can't be read, so this gateway needs a name here", MACHINE_ID);
    } else {
        config->gateway = config->memory;
    }
    pith_buffer_done(&id);
    return rc;
}

static void read_all(struct config_reading *reading, const struct pith_plugins *plugins)
{
    struct config *config = &reading->config;

    reading->log_choice = 3; /* info */
    pith_yaml_read(config->yaml, pith_yaml_root(config->yaml), config_root_fields, reading);
    config->log_level = config_log_levels[reading->log_choice];
    if (!config->gateway)
        (void) default_gateway(config); /* told as a fault */
    if (reading->compression)
        pith_yaml_read(config->yaml, reading->compression, config_compression_fields, reading);
    if (reading->telemetry)
        pith_yaml_read(config->yaml, reading->telemetry, config_telemetry_fields, reading);
    read_broker(config, reading->home, &config->home);
    read_broker(config, reading->fleet, &config->fleet);
    config->home.given = true; /* by default at least */
    read_trust(config, reading->trust);
    read_groups(config, reading->groups);
    check_rest(config, reading);
    read_pipelines(config, reading->pipelines, plugins);
    read_meters(config, reading->meters, plugins);
}

int config_load(struct config **out, const char *path, const struct pith_plugins *plugins,
                char **faults, struct pith_error *err)
{
    struct config_reading *reading = calloc(1, sizeof *reading);
    int rc = 0;

    *faults = NULL;
    if (!reading)
        return pith_fail(err, -ENOMEM, "no memory for the config");
    reading->config = defaults;
    rc = pith_yaml_open(&reading->config.yaml, path, err);
    if (rc < 0)
        goto failed;
    read_all(reading, plugins);
    if (pith_yaml_fault_count(reading->config.yaml) > 0) {
        *faults = strdup(pith_yaml_faults(reading->config.yaml));
        rc = pith_fail(err, -EINVAL, "%s has %zu fault%s", path,
                       pith_yaml_fault_count(reading->config.yaml),
                       pith_yaml_fault_count(reading->config.yaml) == 1 ? "" : "s");
        goto failed;
    }
    *out = &reading->config;
    return 0;
failed:
    config_free(&reading->config);
    return rc;
}

void config_free(struct config *config)
{
    if (!config)
        return;
    for (size_t i = 0; i < config->pipeline_count; i++)
        pith_options_done(&config->pipelines[i].codec_options);
    for (size_t i = 0; i < config->meter_count; i++)
        pith_options_done(&config->meters[i].options);
    pith_yaml_free(config->yaml);
    free(config->memory);
    free(config); /* the first member of struct config_reading */
}

int config_plugin_path(const char *path, char **out, struct pith_error *err)
{
    struct pith_yaml *yaml = NULL;
    const struct pith_yaml_node *node = NULL;
    int rc = pith_yaml_open(&yaml, path, err);

    if (rc < 0)
        return rc;
    if (pith_yaml_kind(pith_yaml_root(yaml)) == PITH_YAML_MAP)
        node = pith_yaml_find(pith_yaml_root(yaml), "plugin_path");
    *out = strdup(node && pith_yaml_scalar(node) ? pith_yaml_scalar(node) : "");
    pith_yaml_free(yaml);
    return *out ? 0 : pith_fail(err, -ENOMEM, "no memory for the config");
}
