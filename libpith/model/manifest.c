/* The manifest and the desired document, read and checked. Whatever passes here may be relied on:
 * names are names, digests are digests, stages refer to graphs that exist. Expressions of maps are
 * checked where they are understood, in the pipeline; stages are read in stages.c. */
#include "libpith/model/manifest_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LABELS_MAX      4096
#define LABEL_MAX_BYTES 128

int manifest_name(const json_t *object, const char *where, const char *key,
                  char out[PITH_NAME_BYTES], struct pith_error *err)
{
    char path[PITH_JSON_PATH_BYTES];
    const char *text;
    int rc = pith_json_string(object, where, key, &text, err);

    if (rc < 0)
        return rc;
    if (!pith_name_valid(text))
        return pith_fail(err, -EBADMSG, "%s: \"%.80s\" is no name; a name is " PITH_NAME_RULE,
                         pith_json_path(path, sizeof path, where, key), text);
    memcpy(out, text, strlen(text) + 1);
    return 0;
}

int pith_blob_parse(struct pith_blob *out, const json_t *object, const char *where,
                    struct pith_error *err)
{
    static const char *const known[] = {"sha256", "bytes", "encoding", "raw_bytes", NULL};
    struct pith_blob blob = {0};
    const char *sha256, *encoding;
    int rc;

    if (!json_is_object(object))
        return pith_fail(err, -EBADMSG, "%s: must be a blob: an object with sha256 and bytes",
                         where);
    if ((rc = pith_json_only(object, where, known, err)) < 0 ||
        (rc = pith_json_string(object, where, "sha256", &sha256, err)) < 0 ||
        (rc = pith_json_int(object, where, "bytes", 1, PITH_BLOB_MAX_BYTES, &blob.bytes, err)) <
            0 ||
        (rc = pith_json_string_or(object, where, "encoding", "", &encoding, err)) < 0 ||
        (rc = pith_json_int_or(object, where, "raw_bytes", 1, PITH_BLOB_MAX_BYTES, blob.bytes,
                               &blob.raw_bytes, err)) < 0)
        return rc;
    if (!pith_sha256_is_hex(sha256))
        return pith_fail(err, -EBADMSG, "%s.sha256: must be 64 lower-case hex digits", where);
    memcpy(blob.sha256, sha256, sizeof blob.sha256);
    blob.zstd = strcmp(encoding, "zstd") == 0;
    if (encoding[0] && !blob.zstd)
        return pith_fail(err, -EBADMSG, "%s.encoding: \"%.32s\" is not known; there is: zstd",
                         where, encoding);
    if (blob.zstd && !json_object_get(object, "raw_bytes"))
        return pith_fail(err, -EBADMSG,
                         "%s.raw_bytes: is missing; a packed blob says how large it is unpacked",
                         where);
    if (!blob.zstd && blob.raw_bytes != blob.bytes)
        return pith_fail(err, -EBADMSG,
                         "%s.raw_bytes: differs from bytes, though the blob is not packed", where);
    *out = blob;
    return 0;
}

json_t *pith_blob_json(const struct pith_blob *blob)
{
    json_t *json = json_pack("{ss sI}", "sha256", blob->sha256, "bytes", (json_int_t) blob->bytes);

    if (json && blob->zstd &&
        (json_object_set_new(json, "encoding", json_string("zstd")) < 0 ||
         json_object_set_new(json, "raw_bytes", json_integer(blob->raw_bytes)) < 0)) {
        json_decref(json);
        return NULL;
    }
    return json;
}

static int read_graphs(struct pith_manifest *manifest, struct pith_error *err)
{
    const char *name;
    json_t *graphs, *graph;
    int rc = pith_json_object(manifest->json, MANIFEST, "graphs", true, &graphs, err);

    if (rc < 0)
        return rc;
    if (json_object_size(graphs) < 1 || json_object_size(graphs) > PITH_MANIFEST_MAX_GRAPHS)
        return pith_fail(err, -EBADMSG, MANIFEST ": graphs: %zu of them; there must be 1 to %d",
                         json_object_size(graphs), PITH_MANIFEST_MAX_GRAPHS);
    json_object_foreach(graphs, name, graph)
    {
        struct pith_model_graph *to = &manifest->graphs[manifest->graph_count];
        char where[PITH_JSON_PATH_BYTES];

        if (!pith_name_valid(name))
            return pith_fail(err, -EBADMSG,
                             MANIFEST ": graphs: \"%.80s\" is no name; a name is " PITH_NAME_RULE,
                             name);
        memcpy(to->name, name, strlen(name) + 1);
        (void) snprintf(where, sizeof where, MANIFEST ": graphs.%s", name);
        rc = pith_blob_parse(&to->blob, graph, where, err);
        if (rc < 0)
            return rc;
        manifest->graph_count++;
    }
    return 0;
}

static int read_row(struct pith_shape *row, const json_t *list, struct pith_error *err)
{
    const char *where = MANIFEST ": input.row";
    int64_t elements = 1;

    if (json_array_size(list) > PITH_MAX_RANK - 1) /* rows have one dimension more: how many */
        return pith_fail(err, -EBADMSG, "%s: more than %d dimensions", where, PITH_MAX_RANK - 1);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *dim = json_array_get(list, i);
        int64_t size = json_integer_value(dim);

        if (!json_is_integer(dim) || size < 1 || size > MANIFEST_MAX_ROW_ELEMENTS)
            return pith_fail(err, -EBADMSG, "%s[%zu]: must be a whole number between 1 and %d",
                             where, i, MANIFEST_MAX_ROW_ELEMENTS);
        elements *= size;
        if (elements > MANIFEST_MAX_ROW_ELEMENTS)
            return pith_fail(err, -EBADMSG, "%s: a row of more than %d elements", where,
                             MANIFEST_MAX_ROW_ELEMENTS);
        row->dim[row->rank++] = size;
    }
    return 0;
}

static int read_input(struct pith_manifest *manifest, struct pith_error *err)
{
    static const char *const known[] = {"type", "rate_hz", "row", NULL};
    const char *where = MANIFEST ": input", *type;
    json_t *input, *row;
    int rc;

    if ((rc = pith_json_object(manifest->json, MANIFEST, "input", true, &input, err)) < 0 ||
        (rc = pith_json_only(input, where, known, err)) < 0 ||
        (rc = pith_json_string(input, where, "type", &type, err)) < 0 ||
        (rc = pith_json_number_or(input, where, "rate_hz", 0, 1e9, 0, &manifest->input_rate_hz,
                                  err)) < 0 ||
        (rc = pith_json_array(input, where, "row", false, &row, err)) < 0)
        return rc;
    manifest->input_dtype = pith_dtype_of_name(type);
    switch (manifest->input_dtype) {
    case PITH_FLOAT32:
    case PITH_UINT8:
    case PITH_INT8:
    case PITH_INT16:
    case PITH_INT32:
        break;
    default:
        return pith_fail(
            err, -EBADMSG,
            "%s.type: \"%.32s\" is not right; it must be float32, uint8, int8, int16 or int32",
            where, type);
    }
    return row ? read_row(&manifest->input_row, row, err) : 0;
}

static int read_labels(struct pith_manifest *manifest, struct pith_error *err)
{
    json_t *list;
    int rc = pith_json_array(manifest->json, MANIFEST, "labels", false, &list, err);

    if (rc < 0 || !list)
        return rc;
    if (json_array_size(list) < 1 || json_array_size(list) > LABELS_MAX)
        return pith_fail(err, -EBADMSG, MANIFEST ": labels: %zu of them; there must be 1 to %d",
                         json_array_size(list), LABELS_MAX);
    manifest->labels = calloc(json_array_size(list), sizeof *manifest->labels);
    if (!manifest->labels)
        return manifest_no_memory(err);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *label = json_string_value(json_array_get(list, i));

        if (!label || !label[0] || strlen(label) > LABEL_MAX_BYTES)
            return pith_fail(err, -EBADMSG,
                             MANIFEST ": labels[%zu]: must be a string of 1 to %d bytes", i,
                             LABEL_MAX_BYTES);
        for (size_t before = 0; before < i; before++)
            if (strcmp(manifest->labels[before], label) == 0)
                return pith_fail(err, -EBADMSG, MANIFEST ": labels[%zu]: \"%s\" is there already",
                                 i, label);
        manifest->labels[i] = strdup(label);
        if (!manifest->labels[i])
            return manifest_no_memory(err);
        manifest->label_count++;
    }
    return 0;
}

static int read_samples(struct pith_model_data *out, const json_t *data, const char *key,
                        struct pith_error *err)
{
    static const char *const known[] = {"x", "y", NULL};
    char where[PITH_JSON_PATH_BYTES], part[PITH_JSON_PATH_BYTES];
    json_t *samples;
    int rc = pith_json_object(data, MANIFEST ": data", key, false, &samples, err);

    if (rc < 0 || !samples)
        return rc;
    pith_json_path(where, sizeof where, MANIFEST ": data", key);
    rc = pith_json_only(samples, where, known, err);
    if (rc < 0)
        return rc;
    rc = pith_blob_parse(&out->x, json_object_get(samples, "x"),
                         pith_json_path(part, sizeof part, where, "x"), err);
    if (rc == 0 && json_object_get(samples, "y")) {
        rc = pith_blob_parse(&out->y, json_object_get(samples, "y"),
                             pith_json_path(part, sizeof part, where, "y"), err);
        out->labelled = rc == 0;
    }
    out->present = rc == 0;
    return rc;
}

static int read_data(struct pith_manifest *manifest, struct pith_error *err)
{
    static const char *const known[] = {"calibration", "validation", NULL};
    json_t *data;
    int rc = pith_json_object(manifest->json, MANIFEST, "data", false, &data, err);

    if (rc < 0 || !data)
        return rc;
    if ((rc = pith_json_only(data, MANIFEST ": data", known, err)) < 0 ||
        (rc = read_samples(&manifest->calibration, data, "calibration", err)) < 0)
        return rc;
    return read_samples(&manifest->validation, data, "validation", err);
}

static int read_recipe(struct pith_manifest *manifest, struct pith_error *err)
{
    const json_t *recipe = json_object_get(manifest->json, "recipe");

    if (!recipe)
        return 0;
    if (json_is_string(recipe) ? !pith_name_valid(json_string_value(recipe))
                               : !json_is_object(recipe))
        return pith_fail(err, -EBADMSG,
                         MANIFEST ": recipe: must be a recipe's name, or an object with its steps");
    manifest->recipe_json = pith_json_text(recipe);
    return manifest->recipe_json ? 0 : manifest_no_memory(err);
}

static int read_budget(struct pith_manifest *manifest, struct pith_error *err)
{
    static const char *const known[] = {"accuracy_drop_points", "bytes", "latency_ms",
                                        "energy_ratio", NULL};
    const char *where = MANIFEST ": budget";
    json_t *budget;
    int rc = pith_json_object(manifest->json, MANIFEST, "budget", false, &budget, err);

    manifest->accuracy_drop_points = -1;
    if (rc < 0 || !budget)
        return rc;
    if ((rc = pith_json_only(budget, where, known, err)) < 0 ||
        (rc = pith_json_number_or(budget, where, "accuracy_drop_points", 0, 100, -1,
                                  &manifest->accuracy_drop_points, err)) < 0 ||
        (rc = pith_json_int_or(budget, where, "bytes", 1, PITH_BLOB_MAX_BYTES, 0,
                               &manifest->budget_bytes, err)) < 0 ||
        (rc = pith_json_number_or(budget, where, "latency_ms", 1e-6, 1e9, 0,
                                  &manifest->budget_latency_ms, err)) < 0)
        return rc;
    return pith_json_number_or(budget, where, "energy_ratio", 1e-6, 1000, 0,
                               &manifest->budget_energy_ratio, err);
}

/* "24h" -> ms, with the words of the configuration's durations. */
static int read_watch(struct pith_manifest *manifest, const json_t *gates, const char *where,
                      struct pith_error *err)
{
    const char *text;
    double watch_ms = 0;
    int rc = pith_json_string_or(gates, where, "watch", "0", &text, err);

    if (rc < 0)
        return rc;
    if (pith_yaml_read_duration_ms(text, &watch_ms) < 0 || watch_ms < 0 ||
        watch_ms > MANIFEST_MAX_WATCH_MS)
        return pith_fail(
            err, -EBADMSG,
            "%s.watch: \"%.32s\" is not right; it must be a duration up to 90d, such as 24h", where,
            text);
    manifest->watch_ms = (int64_t) watch_ms;
    return 0;
}

static int read_gates(struct pith_manifest *manifest, struct pith_error *err)
{
    static const char *const known[] = {"min_fidelity", "max_energy_ratio", "watch", NULL};
    const char *where = MANIFEST ": gates";
    json_t *gates;
    int rc = pith_json_object(manifest->json, MANIFEST, "gates", false, &gates, err);

    if (rc < 0 || !gates)
        return rc;
    if ((rc = pith_json_only(gates, where, known, err)) < 0 ||
        (rc = pith_json_number_or(gates, where, "min_fidelity", 0, 1, 0,
                                  &manifest->min_fidelity_ratio, err)) < 0 ||
        (rc = pith_json_number_or(gates, where, "max_energy_ratio", 1e-6, 1000, 0,
                                  &manifest->max_energy_ratio, err)) < 0)
        return rc;
    return read_watch(manifest, gates, where, err);
}

static int read_manifest(struct pith_manifest *manifest, struct pith_error *err)
{
    static const char *const known[] = {"model",  "version", "generation", "graphs",
                                        "input",  "stages",  "labels",     "data",
                                        "recipe", "budget",  "gates",      NULL};
    int64_t generation; /* the desired document's is the one that counts; this one is for people */
    int rc;

    if (!json_is_object(manifest->json))
        return pith_fail(err, -EBADMSG, MANIFEST ": must be an object");
    if ((rc = pith_json_only(manifest->json, MANIFEST, known, err)) < 0 ||
        (rc = manifest_name(manifest->json, MANIFEST, "model", manifest->model, err)) < 0 ||
        (rc = manifest_name(manifest->json, MANIFEST, "version", manifest->version, err)) < 0 ||
        (rc = pith_json_int_or(manifest->json, MANIFEST, "generation", 1, INT64_MAX, 1, &generation,
                               err)) < 0 ||
        (rc = read_graphs(manifest, err)) < 0 || (rc = read_input(manifest, err)) < 0 ||
        (rc = read_labels(manifest, err)) < 0 || (rc = manifest_stages(manifest, err)) < 0 ||
        (rc = read_data(manifest, err)) < 0 || (rc = read_recipe(manifest, err)) < 0 ||
        (rc = read_budget(manifest, err)) < 0)
        return rc;
    return read_gates(manifest, err);
}

int pith_manifest_parse(struct pith_manifest **out, const void *text, size_t bytes,
                        struct pith_error *err)
{
    struct pith_manifest *manifest = calloc(1, sizeof *manifest);
    int rc;

    if (!manifest)
        return manifest_no_memory(err);
    rc = pith_json_parse(&manifest->json, text, bytes, PITH_MANIFEST_MAX_BYTES, MANIFEST, err);
    if (rc == 0)
        rc = read_manifest(manifest, err);
    if (rc < 0) {
        pith_manifest_free(manifest);
        return rc;
    }
    *out = manifest;
    return 0;
}

void pith_manifest_free(struct pith_manifest *manifest)
{
    if (!manifest)
        return;
    for (size_t i = 0; i < PITH_MANIFEST_MAX_STAGES; i++)
        manifest_stage_done(&manifest->stages[i]);
    for (size_t i = 0; i < manifest->label_count; i++)
        free(manifest->labels[i]);
    free(manifest->labels);
    free(manifest->recipe_json);
    json_decref(manifest->json);
    free(manifest);
}
