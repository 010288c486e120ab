/* A version of a model, opened for streams: see version.h. */
#include "daemon/version.h"

#include "libpith/base/file.h"
#include "libpith/formats/onnx.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static char *copy(const char *text, bool *failed)
{
    char *own = text ? strdup(text) : NULL;

    *failed |= text && !own;
    return own;
}

struct version *version_new(const struct pipelines_version *from)
{
    struct version *version = calloc(1, sizeof *version);
    bool failed = false;

    if (!version)
        return NULL;
    version->references = 1;
    version->model = copy(from->model, &failed);
    version->manifest_path = copy(from->manifest_path, &failed);
    version->name = copy(from->version, &failed);
    version->variant = copy(from->variant, &failed);
    for (size_t i = 0; i < PITH_MANIFEST_MAX_GRAPHS; i++) {
        version->graph_path[i] = copy(from->graph_path[i], &failed);
        version->engine[i] = copy(from->engine[i], &failed);
        version->original_path[i] = copy(from->original_path[i], &failed);
    }
    if (failed) {
        version_drop(version);
        return NULL;
    }
    return version;
}

void version_keep(struct version *version)
{
    version->references++;
}

void version_drop(struct version *version)
{
    if (!version || --version->references > 0)
        return;
    for (size_t i = 0; i < PITH_MANIFEST_MAX_GRAPHS; i++) {
        free(version->graph_path[i]);
        free(version->engine[i]);
        free(version->original_path[i]);
        pith_options_done(&version->engine_options[i]);
    }
    pith_manifest_free(version->manifest);
    free(version->model);
    free(version->manifest_path);
    free(version->name);
    free(version->variant);
    free(version);
}

bool version_has_original(const struct version *version)
{
    bool differs = false;

    for (size_t i = 0; version->manifest && i < version->manifest->graph_count; i++) {
        if (!version->original_path[i])
            return false;
        differs |= strcmp(version->original_path[i], version->graph_path[i]) != 0;
    }
    return differs;
}

static int load_manifest(struct version *version, struct pith_error *err)
{
    struct pith_buffer text = {0};
    int rc = pith_file_read(version->manifest_path, PITH_MANIFEST_MAX_BYTES, &text, err);

    if (rc == 0)
        rc = pith_manifest_parse(&version->manifest, text.data, text.bytes, err);
    pith_buffer_done(&text);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < version->manifest->stage_count; i++)
        if (version->manifest->stages[i].kind == PITH_STAGE_DECIDE)
            version->every = version->manifest->stages[i].every;
    if (version->manifest->stage_count == 0 ||
        version->manifest->stages[version->manifest->stage_count - 1].kind != PITH_STAGE_DECIDE)
        version->every = true; /* nothing decides, so every pass is a result */
    return 0;
}

static int load_engine(struct version *version, size_t i, const struct pith_plugins *plugins,
                       struct pith_error *err)
{
    const struct pith_plugin *plugin = NULL;
    int rc;

    if (!version->graph_path[i] || !version->engine[i])
        return pith_fail(err, -EINVAL, "no file or no engine was given");
    rc = pith_plugins_find(plugins, PITH_KIND_ENGINE, version->engine[i], &plugin, err);
    if (rc == 0)
        rc = pith_options_from_json(&version->engine_options[i], plugin->options, NULL,
                                    plugin->name, err);
    if (rc < 0)
        return rc;
    version->engines[i] = plugin->ops;
    version->engine_values[i] = version->engine_options[i].values;
    return 0;
}

int version_load_on_thread(struct version *version, const struct pith_plugins *plugins,
                           struct pith_error *err)
{
    int rc = load_manifest(version, err);

    for (size_t i = 0; rc == 0 && i < version->manifest->graph_count; i++) {
        rc = load_engine(version, i, plugins, err);
        if (rc < 0)
            (void) pith_fail_in(err, rc, "graph \"%s\"", version->manifest->graphs[i].name);
    }
    return rc;
}

int version_open_graphs_on_thread(const struct version *version, enum version_form form,
                                  int64_t max_bytes, struct version_graphs *out,
                                  struct pith_error *err)
{
    char *const *paths = form == VERSION_ORIGINAL ? version->original_path : version->graph_path;
    struct version_graphs graphs = {0};
    int rc = 0;

    for (; rc == 0 && graphs.count < version->manifest->graph_count; graphs.count++) {
        rc = pith_graph_open(&graphs.graph[graphs.count], paths[graphs.count], (size_t) max_bytes,
                            err);
        if (rc < 0)
            (void) pith_fail_in(err, rc, "graph \"%s\"",
                                version->manifest->graphs[graphs.count].name);
    }
    if (rc < 0)
        version_close_graphs(&graphs);
    else
        *out = graphs;
    return rc;
}

void version_close_graphs(struct version_graphs *graphs)
{
    for (size_t i = 0; i < graphs->count; i++)
        pith_graph_free(graphs->graph[i]);
    *graphs = (struct version_graphs){0};
}

int version_open_chain_on_thread(const struct version *version, const struct version_graphs *graphs,
                                 struct pith_chain **out, struct pith_error *err)
{
    const struct pith_chain_options options = {
        .engines = version->engines,
        .graph_options = version->engine_values,
        .threads = 1,
    };

    return pith_chain_open(out, version->manifest, (const struct pith_graph *const *) graphs->graph,
                           &options, err);
}
