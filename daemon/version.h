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
    const struct pith_graph *graphs[PITH_MANIFEST_MAX_GRAPHS];
    struct pith_graph *own_graphs[PITH_MANIFEST_MAX_GRAPHS];
    const struct pith_engine_ops *engines[PITH_MANIFEST_MAX_GRAPHS];
    struct pith_options engine_options[PITH_MANIFEST_MAX_GRAPHS];
    const struct pith_option_value *engine_values[PITH_MANIFEST_MAX_GRAPHS];
};

/* Copies the texts; one reference. NULL: out of memory. */
struct version *version_new(const struct pipelines_version *from);
void version_keep(struct version *version);
void version_drop(struct version *version); /* NULL is fine */
bool version_has_original(const struct version *version); /* that is another than what runs */

int version_load_on_thread(struct version *version, const struct pith_plugins *plugins, int64_t max_bytes,
                           struct pith_error *err) PITH_CHECKED;
int version_open_chain_on_thread(const struct version *version, struct pith_chain **out, struct pith_error *err) PITH_CHECKED;

/* Gives back the memory of what the chains have copied. */
void version_page_out_on_thread(const struct version *version);

struct original { /* a chain of the original, with graphs of its own: for fidelity */
    struct pith_chain *chain;
    struct pith_graph *graphs[PITH_MANIFEST_MAX_GRAPHS];
    size_t graph_count;
};
int version_open_original_on_thread(const struct version *version, int64_t max_bytes, struct original **out,
                                    struct pith_error *err) PITH_CHECKED;
void original_close(struct original *original); /* NULL is fine */

#endif
