/* Finding, checking and loading plugins. A folder is scanned once; each .so is checked before anything of it runs:
 * owner and mode of file and folder, the descriptor's size, ABI, kind, name. What was refused is kept with its reason. */
#ifndef PITH_PLUGIN_PLUGINS_H
#define PITH_PLUGIN_PLUGINS_H

#include "libpith/base/yaml.h"
#include <jansson.h>
#include <pith/plugin.h>
#include <stdbool.h>

struct pith_plugins;

struct pith_plugin_entry {
    const char *path;
    const struct pith_plugin *plugin; /* NULL where refused */
    const char *refusal;              /* one sentence; NULL where loaded */
};

/* path: folders with ':' between them; NULL or "": $PITH_PLUGIN_PATH, or the installed folder. The first plugin of a
 * kind and name wins; a later one is refused and says so. A refused plugin is no error. */
int pith_plugins_open(struct pith_plugins **out, const char *path, struct pith_error *err) PITH_CHECKED;
void pith_plugins_free(struct pith_plugins *plugins); /* the shared objects stay mapped */
size_t pith_plugins_count(const struct pith_plugins *plugins);
const struct pith_plugin_entry *pith_plugins_entry(const struct pith_plugins *plugins, size_t index);
/* -ENOENT, with what there is in *err. */
int pith_plugins_find(const struct pith_plugins *plugins, uint32_t kind, const char *name,
                      const struct pith_plugin **out, struct pith_error *err) PITH_CHECKED;
/* Lets each engine open what it needs from outside itself (pith/engine.h, prepare). One that can't is refused from here
 * on, with its reason. For a process that is about to give up the right to open files, and to list what would run. */
int pith_plugins_prepare(struct pith_plugins *plugins, struct pith_error *err) PITH_CHECKED;
const char *pith_kind_name(uint32_t kind); /* "engine", ... */

/* The user's options checked against the plugin's table. */
struct pith_options {
    struct pith_option_value *values; /* as many as the table has entries; own */
    void *memory;                     /* what the values' strings point into; own */
};
/* map: NULL for all defaults. Faults go to the document, with place and suggestion; -EINVAL where there was one, and
 * *err has the first of them. */
int pith_options_from_yaml(struct pith_options *out, const struct pith_option *table, struct pith_yaml *yaml,
                           const struct pith_yaml_node *map, struct pith_error *err) PITH_CHECKED;
/* object: NULL for all defaults. */
int pith_options_from_json(struct pith_options *out, const struct pith_option *table, const json_t *object,
                           const char *where, struct pith_error *err) PITH_CHECKED;
void pith_options_done(struct pith_options *options);
/* Whether both, checked against this table, mean the same; a default that is written out is the same as one left out. */
bool pith_options_equal(const struct pith_option *table, const struct pith_options *a, const struct pith_options *b);

#endif
