/* Models for commands. A single file is given a manifest of its own, so that whatever runs chains
 * runs it too. */
#include "cli/model.h"

#include "libpith/base/file.h"
#include "libpith/base/json.h"
#include "libpith/base/names.h"
#include "libpith/formats/open.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define GRAPH_MAX_BYTES ((size_t) 1 << 31)

/* Whether the graph's first dimension counts rows: it is open, or 1. */
static bool counts_rows(const struct pith_shape *shape)
{
    return shape->rank > 0 && (shape->dim[0] < 0 || shape->dim[0] == 1);
}

/* A dimension of the row as the graph has it, or as the sample has it where the graph leaves it open; -1: neither. A sample
 * is rows or one row, so its dimensions are counted from the last. */
static int64_t row_dim(const struct model *model, const struct pith_shape *shape, uint32_t axis)
{
    const uint32_t from_last = shape->rank - axis;

    if (shape->dim[axis] >= 0)
        return shape->dim[axis];
    return from_last <= model->sample.rank ? model->sample.dim[model->sample.rank - from_last] : -1;
}

/* What one row of the graph's input is: its shape without the batch. */
static int input_row(json_t **out, const struct model *model, const struct pith_graph *graph,
                     struct pith_error *err)
{
    const struct pith_shape *shape =
        pith_graph_input_count(graph) ? pith_value_shape(graph, pith_graph_input(graph, 0)) : NULL;
    json_t *row = json_array();

    for (uint32_t i = shape && counts_rows(shape); shape && row && i < shape->rank; i++) {
        const int64_t size = row_dim(model, shape, i);

        if (size < 1) {
            json_decref(row);
            return size == 0 ? pith_fail(err, -EINVAL, "dimension %u of its input is 0: it takes no values", i)
                             : pith_fail(err, -EINVAL,
                                         "dimension %u of its input is open; give it samples, "
                                         "whose shape tells, or put it into a model's folder, "
                                         "whose manifest says what its input is",
                                         i);
        }
        if (json_array_append_new(row, json_integer(size)) < 0)
            break;
    }
    if (!row || (shape && json_array_size(row) != shape->rank - counts_rows(shape))) {
        json_decref(row);
        return pith_fail(err, -ENOMEM, "no memory for the model");
    }
    *out = row;
    return 0;
}

/* The type of rows that hold what the graph takes; a chain converts. */
static int32_t row_dtype(const struct pith_graph *graph)
{
    const int32_t dtype = pith_graph_input_count(graph)
                              ? pith_value_dtype(graph, pith_graph_input(graph, 0))
                              : PITH_DTYPE_NONE;

    switch (dtype) {
    case PITH_FLOAT16:
    case PITH_BFLOAT16:
    case PITH_FLOAT64:
        return PITH_FLOAT32;
    case PITH_BOOL:
        return PITH_UINT8;
    case PITH_UINT16:
    case PITH_UINT32:
    case PITH_INT64:
    case PITH_UINT64:
        return PITH_INT32;
    default:
        return dtype;
    }
}

/* The graph as a stage, with what it keeps from one run to the next where its file says so. */
static json_t *only_stage(const struct pith_graph *graph)
{
    const char *pairs = pith_graph_metadata(graph, "pith.state");
    json_t *stage = json_pack("{ss}", "graph", "model");
    json_t *state = pairs ? json_loads(pairs, 0, NULL) : NULL;

    if (stage && json_is_object(state) && json_object_set(stage, "state", state) < 0) {
        json_decref(stage);
        stage = NULL;
    }
    json_decref(state);
    return stage;
}

static int make_manifest(struct model *model, struct pith_error *err)
{
    static const char no_digest[] =
        "0000000000000000000000000000000000000000000000000000000000000000";
    const struct pith_graph *graph = model->graphs[0];
    const char *type = pith_dtype_name(row_dtype(graph));
    json_t *row = NULL, *json;
    char *text = NULL;
    int rc = input_row(&row, model, graph, err);

    if (rc < 0)
        return rc;
    json = json_pack("{ss ss s{s{ss sI}} s{ss so} s[o]}", "model", "model", "version", "0",
                     "graphs", "model", "sha256", no_digest, "bytes",
                     (json_int_t) model->file_bytes[0], "input", "type", type, "row", row, "stages",
                     only_stage(graph));
    text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    if (!text)
        rc = pith_fail(err, -ENOMEM, "no memory for the model");
    else
        rc = pith_manifest_parse(&model->manifest, text, strlen(text), err);
    free(text);
    json_decref(json);
    return rc;
}

static int unpacked_bytes(const char *path, int64_t *out, struct pith_error *err)
{
    struct pith_mapping file;
    uint64_t bytes;
    int rc = pith_mapping_open(&file, path, err);

    if (rc < 0)
        return rc;
    if (pith_zstd_content_bytes(file.data, file.bytes, &bytes) && bytes <= GRAPH_MAX_BYTES)
        *out = (int64_t) bytes;
    pith_mapping_close(&file);
    return 0;
}

static int open_graph(struct model *model, size_t index, const char *path, struct pith_error *err)
{
    struct stat status;
    int rc = pith_graph_open(&model->graphs[index], path, GRAPH_MAX_BYTES, err);

    if (rc == 0 && stat(path, &status) == 0)
        model->file_bytes[index] = model->raw_bytes[index] = status.st_size;
    if (rc == 0 && pith_name_matches(path, "*.zst"))
        rc = unpacked_bytes(path, &model->raw_bytes[index], err);
    return rc;
}

/* A file of one graph; anything else is a model's folder. What is in it is told by its bytes. */
static bool is_graph_file(const char *path)
{
    static const char *const endings[] = {".onnx", ".onnx.zst", ".tflite", ".tflite.zst"};

    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (pith_ends_with(path, endings[i]))
            return true;
    return false;
}

int model_open(struct model **out, const char *path, struct pith_error *err)
{
    struct model *model = calloc(1, sizeof *model);
    int rc = 0;

    if (!model)
        return pith_fail(err, -ENOMEM, "no memory for the model");
    model->single = is_graph_file(path);
    (void) snprintf(model->path, sizeof model->path, "%s", path);
    if (model->single) {
        rc = open_graph(model, 0, path, err);
    } else {
        rc = folder_open(&model->folder, path, false, err);
        if (rc == 0)
            model->manifest = model->folder->manifest;
        for (size_t i = 0; rc == 0 && i < model->manifest->graph_count; i++)
            rc = open_graph(model, i, model->folder->graph_path[i], err);
    }
    if (rc < 0) {
        model_close(model);
        return rc;
    }
    *out = model;
    return 0;
}

void model_close(struct model *model)
{
    if (!model)
        return;
    for (size_t i = 0; i < PITH_MANIFEST_MAX_GRAPHS; i++)
        pith_graph_free(model->graphs[i]);
    if (model->single)
        pith_manifest_free(model->manifest);
    folder_close(model->folder);
    free(model);
}

bool model_wants_sample(const struct model *model)
{
    const struct pith_graph *graph = model->graphs[0];
    const struct pith_shape *shape =
        model->single && !model->manifest && pith_graph_input_count(graph)
            ? pith_value_shape(graph, pith_graph_input(graph, 0))
            : NULL;

    for (uint32_t i = shape && counts_rows(shape); shape && i < shape->rank; i++)
        if (shape->dim[i] < 0)
            return true;
    return false;
}

int model_manifest(struct model *model, struct pith_error *err)
{
    int rc = model->manifest ? 0 : make_manifest(model, err);

    return rc < 0 ? pith_fail_in(err, rc, "%s", model->path) : 0;
}

const char *model_graph_path(const struct model *model, size_t index)
{
    return model->single ? model->path : model->folder->graph_path[index];
}

static bool supports_all(const struct pith_engine_ops *ops, const struct model *model,
                         struct pith_error *err)
{
    for (size_t i = 0; i < PITH_MANIFEST_MAX_GRAPHS && model->graphs[i]; i++)
        if (ops->supports(model->graphs[i], NULL, NULL, err) < 0)
            return false;
    return true;
}

int model_engine_open(struct model_engine *out, const struct pith_plugins *plugins,
                      const char *name, const struct model *model, struct pith_error *err)
{
    struct model_engine engine = {.plugin = NULL};
    int rc;

    if (name || pith_plugins_find(plugins, PITH_KIND_ENGINE, "native", &engine.plugin, err) < 0) {
        rc = pith_plugins_find(plugins, PITH_KIND_ENGINE, name ? name : "native", &engine.plugin,
                               err);
        if (rc < 0)
            return rc;
    }
    for (size_t i = 0;
         !name && !supports_all(engine.plugin->ops, model, err) && i < pith_plugins_count(plugins);
         i++) {
        const struct pith_plugin *other = pith_plugins_entry(plugins, i)->plugin;

        if (other && other->kind == PITH_KIND_ENGINE && supports_all(other->ops, model, err))
            engine.plugin = other;
    }
    engine.ops = engine.plugin->ops;
    if (!supports_all(engine.ops, model, err))
        return pith_fail_in(err, -ENOTSUP, "engine %s", engine.plugin->name);
    rc = pith_options_from_json(&engine.options, engine.plugin->options, NULL, engine.plugin->name,
                                err);
    if (rc == 0)
        *out = engine;
    return rc;
}

void model_engine_done(struct model_engine *engine)
{
    pith_options_done(&engine->options);
}

int model_chain_open(struct pith_chain **out, struct model *model,
                     const struct model_engine *engine, uint32_t threads, struct pith_error *err)
{
    struct pith_chain_options options = {
        .engine = engine->ops, .engine_options = engine->options.values, .threads = threads};
    int rc = model_manifest(model, err);

    if (rc < 0)
        return rc;
    rc = pith_chain_open(out, model->manifest, (const struct pith_graph *const *) model->graphs,
                         &options, err);
    return rc < 0 ? pith_fail_in(err, rc, "%s", model->path) : 0;
}
