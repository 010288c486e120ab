/* A model's version as the daemon runs it: manifest, graphs, engines. Loaded on a thread of its own, shared by the chains
 * of all streams that run it; counted on the loop alone. */
#ifndef PITHD_VERSION_H
#define PITHD_VERSION_H

#include "daemon/pipelines.h"
#include "libpith/pipeline/chain.h"

struct version {
    unsigned references; /* loop */
    char *model, *manifest_path, *name, *variant;
    char *graph_path[PITH_MANIFEST_MAX_GRAPHS], *engine[PITH_MANIFEST_MAX_GRAPHS];
    char *original_path[PITH_MANIFEST_MAX_GRAPHS]; /* NULL where none was given */
    /* Of the manifest's decide stage: whether each inference is reported. */
    bool every;
    struct pith_manifest *manifest;
    const struct pith_engine_ops *engines[PITH_MANIFEST_MAX_GRAPHS];
    struct pith_options engine_options[PITH_MANIFEST_MAX_GRAPHS];
    const struct pith_option_value *engine_values[PITH_MANIFEST_MAX_GRAPHS];
};

/* Copies the texts; one reference. NULL: out of memory. */
struct version *version_new(const struct pipelines_version *from);
void version_keep(struct version *version);
void version_drop(struct version *version); /* NULL is fine */
bool version_has_original(const struct version *version); /* that is another than what runs */

/* The manifest and the engines. */
int version_load_on_thread(struct version *version, const struct pith_plugins *plugins, struct pith_error *err) PITH_CHECKED;

/* The graphs are there only while chains are opened from them: sessions have packed what they need. */
enum version_form { VERSION_ACTIVE, VERSION_ORIGINAL }; /* what runs; what fidelity is measured against */
struct version_graphs {
    struct pith_graph *graph[PITH_MANIFEST_MAX_GRAPHS];
    size_t count;
};
int version_open_graphs_on_thread(const struct version *version, enum version_form form, int64_t max_bytes,
                                  struct version_graphs *out, struct pith_error *err) PITH_CHECKED;
void version_close_graphs(struct version_graphs *graphs); /* any thread; zeroed is fine */
int version_open_chain_on_thread(const struct version *version, const struct version_graphs *graphs,
                                 struct pith_chain **out, struct pith_error *err) PITH_CHECKED;

#endif
