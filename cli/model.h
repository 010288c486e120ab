/* What the commands that run models take: a model's folder, or one ONNX or TensorFlow Lite file, which is then a chain of one graph. */
#ifndef PITH_CLI_MODEL_H
#define PITH_CLI_MODEL_H

#include "cli/folder.h"
#include "libpith/pipeline/chain.h"
#include "libpith/plugin/plugins.h"

struct model {
    bool single;                      /* one file */
    struct pith_manifest *manifest;   /* own where single, else the folder's */
    struct folder *folder;            /* own; NULL where single */
    char path[512];                   /* of the single file */
    struct pith_graph *graphs[PITH_MANIFEST_MAX_GRAPHS]; /* own; in the manifest's order */
    int64_t file_bytes[PITH_MANIFEST_MAX_GRAPHS]; /* as they lie */
    int64_t raw_bytes[PITH_MANIFEST_MAX_GRAPHS];  /* unpacked */
    struct pith_shape sample; /* of what will be fed, where the single file leaves more open than the batch; rank 0: not told */
};

int model_open(struct model **out, const char *path, struct pith_error *err) PITH_CHECKED;
void model_close(struct model *model);
/* Whether a single file leaves more of its input open than the batch, so that model->sample must say it. */
bool model_wants_sample(const struct model *model);
/* Makes the manifest of a single file, where there is none yet: of its input's shape all but the batch must be known, or
 * follow from model->sample. */
int model_manifest(struct model *model, struct pith_error *err) PITH_CHECKED;
const char *model_graph_path(const struct model *model, size_t index);

/* An engine with its default options. */
struct model_engine {
    const struct pith_plugin *plugin;
    const struct pith_engine_ops *ops;
    struct pith_options options;
};
/* name: NULL: the first that supports all graphs, native before others. */
int model_engine_open(struct model_engine *out, const struct pith_plugins *plugins, const char *name,
                      const struct model *model, struct pith_error *err) PITH_CHECKED;
void model_engine_done(struct model_engine *engine);
int model_chain_open(struct pith_chain **out, struct model *model, const struct model_engine *engine,
                     uint32_t threads, struct pith_error *err) PITH_CHECKED;

/* Initializers for a command's table of options. */
#define MODEL_OPTIONS(engine_name, plugin_path, threads)                                                                \
    {"engine", CLI_TEXT, &(engine_name), "NAME", "the engine that runs it (the first that can)"},                       \
        {"threads", CLI_INT, &(threads), "COUNT", "for the engine (1)", 1, 64},                                         \
        {"plugin-path", CLI_TEXT, &(plugin_path), "FOLDERS", "where plugins are (PITH_PLUGIN_PATH; " PITH_PLUGIN_DIR ")"}

#endif
