/* Finding, checking and loading plugins. All that can be known of a file without running it is
 * checked before dlopen (which runs a plugin's constructors, if it has any); the descriptor is
 * plain data and is checked before anything it points to is called. What users write for a plugin's
 * options is options.c. */
#include "libpith/plugin/plugins.h"

#include "libpith/base/names.h"
#include "libpith/plugin/check.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pith/engine.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PLUGINS_MAX 512 /* entries that are looked at in all; a folder of more is a mistake */

struct pith_plugins {
    struct pith_plugin_entry *entries; /* their strings are own */
    size_t count, capacity;
};

const char *pith_kind_name(uint32_t kind)
{
    switch (kind) {
    case PITH_KIND_ENGINE:
        return "engine";
    case PITH_KIND_TECHNIQUE:
        return "technique";
    case PITH_KIND_CODEC:
        return "codec";
    case PITH_KIND_METER:
        return "meter";
    default:
        return "unknown";
    }
}

/* Takes no ownership. refusal: NULL where plugin is given. */
static int add_entry(struct pith_plugins *plugins, const char *path,
                     const struct pith_plugin *plugin, const char *refusal)
{
    struct pith_plugin_entry entry = {.plugin = plugin};

    if (plugins->count == plugins->capacity) {
        size_t capacity = plugins->capacity ? plugins->capacity * 2 : 16;
        void *entries = realloc(plugins->entries, capacity * sizeof *plugins->entries);

        if (!entries)
            return -ENOMEM;
        plugins->entries = entries;
        plugins->capacity = capacity;
    }
    entry.path = strdup(path);
    entry.refusal = refusal ? strdup(refusal) : NULL;
    if (!entry.path || (refusal && !entry.refusal)) {
        free((char *) (uintptr_t) entry.path);
        free((char *) (uintptr_t) entry.refusal);
        return -ENOMEM;
    }
    plugins->entries[plugins->count++] = entry;
    return 0;
}

/* What others could have put there must not run with our rights. */
static int check_owner(const char *path, const char *what, struct pith_error *err)
{
    struct stat status;

    if (stat(path, &status) < 0)
        return pith_fail(err, -errno, "%s %s: %s", what, path, strerror(errno));
    if (status.st_uid != 0 && status.st_uid != geteuid())
        return pith_fail(
            err, -EPERM,
            "%s %s belongs to user %u; it must belong to root or to user %u, who runs this (chown)",
            what, path, (unsigned) status.st_uid, (unsigned) geteuid());
    if (status.st_mode & (S_IWGRP | S_IWOTH))
        return pith_fail(err, -EPERM,
                         "%s %s may be written by %s than its owner; run chmod go-w on it", what,
                         path, status.st_mode & S_IWOTH ? "anyone else" : "others of its group");
    return 0;
}

static int check_file(const char *path, struct pith_error *err)
{
    struct stat status;
    char folder[PATH_MAX];
    char *slash;
    int rc;

    if (stat(path, &status) < 0)
        return pith_fail(err, -errno, "%s", strerror(errno));
    if (!S_ISREG(status.st_mode))
        return pith_fail(err, -EINVAL, "it is no regular file");
    rc = check_owner(path, "the file", err);
    if (rc < 0)
        return rc;
    (void) snprintf(folder, sizeof folder, "%s", path);
    slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder ? 1 : 0] = 0;
    return check_owner(folder, "the folder", err); /* of the real file: a link may lead elsewhere */
}

/* The descriptor of the shared object at `path`, checked. name: what it must be called. */
static int load(const char *path, const char *name, const struct pith_plugin **out,
                struct pith_error *err)
{
    char real[PATH_MAX];
    void *object;
    const struct pith_plugin *plugin;
    size_t symbol_bytes;
    int rc;

    if (!realpath(path, real))
        return pith_fail(err, -errno, "%s", strerror(errno));
    rc = check_file(real, err);
    if (rc < 0)
        return rc;
    object = dlopen(real, RTLD_NOW | RTLD_LOCAL);
    if (!object)
        return pith_fail(err, -ENOEXEC, "it can't be loaded: %s", dlerror());
    plugin = dlsym(object, "pith_plugin");
    if (!plugin) /* the object stays mapped: a plugin is never unloaded */
        return pith_fail(err, -ENOEXEC,
                         "it exports no symbol pith_plugin; see examples/ for one to copy");
    symbol_bytes = pith_plugin_symbol_bytes(plugin);
    rc = pith_plugin_check(plugin, symbol_bytes, name, err);
    if (rc == 0)
        *out = plugin;
    return rc;
}

static const struct pith_plugin_entry *find_entry(const struct pith_plugins *plugins, uint32_t kind,
                                                  const char *name)
{
    for (size_t i = 0; i < plugins->count; i++) {
        const struct pith_plugin *plugin = plugins->entries[i].plugin;

        if (plugin && plugin->kind == kind && strcmp(plugin->name, name) == 0)
            return &plugins->entries[i];
    }
    return NULL;
}

static int add_file(struct pith_plugins *plugins, const char *folder, const char *file)
{
    const struct pith_plugin *plugin = NULL;
    const struct pith_plugin_entry *earlier;
    struct pith_error err = {0};
    char path[PATH_MAX], name[NAME_MAX + 1];
    int rc = 0;

    (void) snprintf(name, sizeof name, "%.*s", (int) (strlen(file) - strlen(".so")), file);
    if ((size_t) snprintf(path, sizeof path, "%s/%s", folder, file) >= sizeof path)
        rc = pith_fail(&err, -ENAMETOOLONG, "the path is too long");
    if (rc == 0)
        rc = load(path, name, &plugin, &err);
    earlier = rc == 0 ? find_entry(plugins, plugin->kind, plugin->name) : NULL;
    if (earlier) {
        plugin = NULL;
        rc = pith_fail(&err, -EEXIST,
                       "%s was found first, and is the same kind of plugin with the same name",
                       earlier->path);
    }
    return add_entry(plugins, path, plugin, rc < 0 ? pith_error_text(&err) : NULL);
}

static int is_plugin_file(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && pith_ends_with(entry->d_name, ".so");
}

static int add_folder(struct pith_plugins *plugins, const char *folder)
{
    struct dirent **files = NULL;
    struct pith_error err = {0};
    int count, rc = 0;

    if (check_owner(folder, "the folder", &err) < 0)
        return add_entry(plugins, folder, NULL, pith_error_text(&err));
    count = scandir(folder, &files, is_plugin_file,
                    alphasort); /* in the order of names, so that runs are alike */
    if (count < 0) {
        (void) pith_fail(&err, -errno, "the folder can't be read: %s", strerror(errno));
        return errno == ENOMEM ? -ENOMEM : add_entry(plugins, folder, NULL, pith_error_text(&err));
    }
    for (int i = 0; i < count; i++) {
        if (rc == 0 && plugins->count < PLUGINS_MAX)
            rc = add_file(plugins, folder, files[i]->d_name);
        free(files[i]);
    }
    free(files);
    return rc;
}

int pith_plugins_open(struct pith_plugins **out, const char *path, struct pith_error *err)
{
    const char *given = getenv("PITH_PLUGIN_PATH");
    const char *folders = path && *path ? path : given && *given ? given : PITH_PLUGIN_DIR;
    struct pith_plugins *plugins = calloc(1, sizeof *plugins);
    int rc = plugins ? 0 : -ENOMEM;

    while (rc == 0 && *folders) {
        size_t length = strcspn(folders, ":");
        char folder[PATH_MAX];

        if (length >= sizeof folder) {
            pith_plugins_free(plugins);
            return pith_fail(err, -ENAMETOOLONG,
                             "the plugin path has a folder with too long a name");
        }
        (void) snprintf(folder, sizeof folder, "%.*s", (int) length, folders);
        if (length)
            rc = add_folder(plugins, folder);
        folders += length + (folders[length] == ':');
    }
    if (rc < 0) {
        pith_plugins_free(plugins);
        return pith_fail(err, rc, "no memory to list the plugins");
    }
    *out = plugins;
    return 0;
}

void pith_plugins_free(struct pith_plugins *plugins)
{
    if (!plugins)
        return;
    for (size_t i = 0; i < plugins->count; i++) {
        free((char *) (uintptr_t) plugins->entries[i].path);
        free((char *) (uintptr_t) plugins->entries[i].refusal);
    }
    free(plugins->entries);
    free(plugins);
}

int pith_plugins_prepare(struct pith_plugins *plugins, struct pith_error *err)
{
    const size_t least = offsetof(struct pith_engine_ops, prepare) + sizeof(void (*)(void));

    for (size_t i = 0; i < plugins->count; i++) {
        struct pith_plugin_entry *entry = &plugins->entries[i];
        const struct pith_engine_ops *ops =
            entry->plugin && entry->plugin->kind == PITH_KIND_ENGINE ? entry->plugin->ops : NULL;
        struct pith_error why = {0};

        if (!ops || ops->size_bytes < least || !ops->prepare || ops->prepare(&why) == 0)
            continue;
        entry->refusal = strdup(pith_error_text(&why));
        if (!entry->refusal)
            return pith_fail(err, -ENOMEM, "no memory for the list of plugins");
        entry->plugin = NULL;
    }
    return 0;
}

size_t pith_plugins_count(const struct pith_plugins *plugins)
{
    return plugins->count;
}

const struct pith_plugin_entry *pith_plugins_entry(const struct pith_plugins *plugins, size_t index)
{
    return index < plugins->count ? &plugins->entries[index] : NULL;
}

/* The refused file of that name, so that a person hears why instead of that there is none. */
static const struct pith_plugin_entry *find_refused(const struct pith_plugins *plugins,
                                                    const char *name)
{
    for (size_t i = 0; i < plugins->count; i++) {
        const char *slash = strrchr(plugins->entries[i].path, '/');
        const char *file = slash ? slash + 1 : plugins->entries[i].path;
        size_t length = strlen(name);

        if (plugins->entries[i].refusal && strncmp(file, name, length) == 0 &&
            strcmp(file + length, ".so") == 0)
            return &plugins->entries[i];
    }
    return NULL;
}

int pith_plugins_find(const struct pith_plugins *plugins, uint32_t kind, const char *name,
                      const struct pith_plugin **out, struct pith_error *err)
{
    const struct pith_plugin_entry *entry = find_entry(plugins, kind, name);
    const char *known[PLUGINS_MAX + 1] = {0};
    const char *nearest;
    char list[300] = "";
    size_t used = 0, count = 0;

    if (entry) {
        *out = entry->plugin;
        return 0;
    }
    entry = find_refused(plugins, name);
    if (entry)
        return pith_fail(err, -ENOENT, "%s %.64s: %s was refused: %s", pith_kind_name(kind), name,
                         entry->path, entry->refusal);
    for (size_t i = 0; i < plugins->count; i++) {
        const struct pith_plugin *plugin = plugins->entries[i].plugin;

        if (!plugin || plugin->kind != kind || count == PLUGINS_MAX)
            continue;
        known[count++] = plugin->name;
        if (used < sizeof list)
            used += (size_t) snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "",
                                      plugin->name);
    }
    nearest = pith_nearest_name(name, known);
    if (nearest)
        return pith_fail(err, -ENOENT, "there is no %s \"%.64s\"; did you mean \"%s\"?",
                         pith_kind_name(kind), name, nearest);
    return pith_fail(err, -ENOENT, "there is no %s \"%.64s\"; there is: %s", pith_kind_name(kind),
                     name, count ? list : "none (see pith plugins)");
}
