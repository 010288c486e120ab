/* Pipelines: source topic -> codec -> chain (on a lane's thread) -> result topic, feedback and fidelity. */
#ifndef PITHD_PIPELINES_H
#define PITHD_PIPELINES_H

#include "daemon/daemon.h"
#include "libpith/model/manifest.h"

int pipelines_open(struct pipelines **out, struct daemon *daemon, struct pith_error *err) PITH_CHECKED;
/* Whether the config's pipelines could be opened: their codecs take their options. */
int pipelines_check(const struct config *config, struct pith_error *err) PITH_CHECKED;
/* The config has changed: opens, closes and rewires pipelines; those that stay the same lose nothing. After
 * pipelines_check, so that nothing is half changed. */
void pipelines_reload(struct pipelines *pipelines, const struct config *config);

/* What a model's active version is made of, as deployments hand it over: read, compiled and opened on a lane's thread, then
 * swapped in between two payloads. Strings and manifest are copied. */
struct pipelines_version {
    const char *model;
    const char *manifest_path;
    const char *version;
    const char *variant;                        /* "original", or the variant's name */
    const char *graph_path[PITH_MANIFEST_MAX_GRAPHS];    /* of the variant, in the manifest's order */
    const char *engine[PITH_MANIFEST_MAX_GRAPHS];        /* the plugin that runs each */
    const char *original_path[PITH_MANIFEST_MAX_GRAPHS]; /* for fidelity */
};
/* done: on the loop: 0 when every pipeline of the model runs it, or a negative errno with the reason; the old version then
 * goes on. */
void pipelines_activate(struct pipelines *pipelines, const struct pipelines_version *version,
                        void (*done)(void *user, int status, const struct pith_error *err), void *user);
void pipelines_remove(struct pipelines *pipelines, const char *model); /* the model is gone: its pipelines wait */
void pipelines_close(struct pipelines *pipelines, void (*closed)(void *user), void *user);

#endif
