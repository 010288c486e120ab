/* Where the broker is and how to be known there: command line first, then the environment, then a
 * settings file. */
#include "cli/broker.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct pith_yaml_field settings_fields[] = {
    {"url", PITH_YAML_TEXT, offsetof(struct broker_options, url)},
    {"ca", PITH_YAML_TEXT, offsetof(struct broker_options, ca)},
    {"cert", PITH_YAML_TEXT, offsetof(struct broker_options, cert)},
    {"key", PITH_YAML_TEXT, offsetof(struct broker_options, key)},
    {"username", PITH_YAML_TEXT, offsetof(struct broker_options, username)},
    {"password_file", PITH_YAML_TEXT, offsetof(struct broker_options, password_file)},
    {"mqtt", PITH_YAML_TEXT, offsetof(struct broker_options, mqtt)},
    {"root", PITH_YAML_TEXT, offsetof(struct broker_options, root)},
    {"socket", PITH_YAML_TEXT, offsetof(struct broker_options, socket)},
    {0},
};

static const struct {
    const char *variable;
    size_t offset;
} variables[] = {
    {"PITH_URL", offsetof(struct broker_options, url)},
    {"PITH_CA", offsetof(struct broker_options, ca)},
    {"PITH_CERT", offsetof(struct broker_options, cert)},
    {"PITH_KEY", offsetof(struct broker_options, key)},
    {"PITH_USERNAME", offsetof(struct broker_options, username)},
    {"PITH_PASSWORD_FILE", offsetof(struct broker_options, password_file)},
    {"PITH_MQTT", offsetof(struct broker_options, mqtt)},
    {"PITH_ROOT", offsetof(struct broker_options, root)},
    {"PITH_SOCKET", offsetof(struct broker_options, socket)},
    {"PITH_SETTINGS", offsetof(struct broker_options, settings)},
};

static const char **member(struct broker_options *options, size_t offset)
{
    return (const char **) (void *) ((char *) options + offset);
}

/* The settings file that was named, or the user's own if there is one. */
static int read_settings(struct broker_options *from_file, const char *named,
                         struct pith_error *err)
{
    const char *home = getenv("HOME");
    char path[PATH_MAX];
    int rc;

    if (named)
        (void) snprintf(path, sizeof path, "%s", named);
    else
        (void) snprintf(path, sizeof path, "%s/.config/pith/pith.yaml", home ? home : "");
    if (!named && (!home || access(path, F_OK) < 0))
        return 0;
    rc = pith_yaml_open(&from_file->yaml, path, err);
    if (rc < 0)
        return rc;
    pith_yaml_read(from_file->yaml, pith_yaml_root(from_file->yaml), settings_fields, from_file);
    if (pith_yaml_fault_count(from_file->yaml))
        rc = pith_fail(err, -EINVAL, "%s", pith_yaml_faults(from_file->yaml));
    return rc;
}

int broker_options_complete(struct broker_options *options, struct pith_error *err)
{
    struct broker_options from_file = {0};
    int rc;

    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        const char **to = member(options, variables[i].offset);
        const char *value = getenv(variables[i].variable);

        if (!*to && value && *value)
            *to = value;
    }
    rc = read_settings(&from_file, options->settings, err);
    options->yaml = from_file.yaml;
    if (rc < 0)
        return rc;
    for (const struct pith_yaml_field *field = settings_fields; field->key; field++)
        if (!*member(options, field->offset))
            *member(options, field->offset) = *member(&from_file, field->offset);
    if (!options->root)
        options->root = "pith/1";
    if (!options->mqtt)
        options->mqtt = "auto";
    if (strcmp(options->mqtt, "auto") != 0 && strcmp(options->mqtt, "5") != 0 &&
        strcmp(options->mqtt, "3.1.1") != 0)
        return pith_fail(err, -EINVAL, "--mqtt: \"%.64s\" is none of auto, 5 and 3.1.1",
                         options->mqtt);
    if (!options->socket)
        options->socket = PITH_RUN_DIR "/control.sock";
    if (strlen(options->root) > 128 || strpbrk(options->root, "+#") || !options->root[0])
        return pith_fail(err, -EINVAL, "--root: \"%.64s\" can't begin a topic", options->root);
    return 0;
}

void broker_options_done(struct broker_options *options)
{
    pith_yaml_free(options->yaml);
    options->yaml = NULL;
}
