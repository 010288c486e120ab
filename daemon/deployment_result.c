/* What a worker has left: its result is read and checked, and what serves later is found by it. */
#include "daemon/deployment_work.h"

#include "daemon/pipelines.h"
#include "libpith/base/file.h"
#include "libpith/base/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RESULT_LIMIT_BYTES (8 * 1024 * 1024)

/* What a worker says is checked as if it came from outside. */
static int check_graph(const struct disk *disk, const char *name, const json_t *graph,
                       struct pith_error *err)
{
    const char *engine, *original_engine;
    char file[160], path[PATH_MAX];
    struct stat status;
    int rc = pith_json_string(graph, "result.json: graph", "engine", &engine, err);

    if (rc == 0)
        rc = pith_json_string_or(graph, "result.json: graph", "original_engine", engine,
                                 &original_engine, err);
    if (rc == 0 && (!pith_name_valid(engine) || !pith_name_valid(original_engine)))
        rc = pith_fail(err, -EBADMSG, "result.json: graph %s: its engine has no valid name", name);
    (void) snprintf(file, sizeof file, "variant/%s.onnx.zst", name);
    if (rc == 0 &&
        (lstat(disk_join(path, disk->folder, file), &status) < 0 || !S_ISREG(status.st_mode)))
        rc = pith_fail(err, -EBADMSG, "result.json says ok, and %s is not there", file);
    return rc;
}

static const json_t *find_graph(const json_t *graphs, const char *name)
{
    const json_t *graph;
    size_t i;

    json_array_foreach(graphs, i, graph)
    {
        const char *found = json_string_value(json_object_get(graph, "name"));

        if (found && strcmp(found, name) == 0)
            return graph;
    }
    return NULL;
}

static int check_result(const struct disk *disk, struct pith_error *err)
{
    const char *text;
    json_t *graphs = NULL;
    bool ok = false;
    size_t i;
    int rc = pith_json_bool_or(disk->result, "result.json", "ok", false, &ok, err);

    if (rc == 0)
        rc = pith_json_string(disk->result, "result.json", "reason", &text, err);
    if (rc == 0)
        rc = pith_json_string(disk->result, "result.json", "outcome", &text, err);
    if (rc < 0 || !ok)
        return rc;
    rc = pith_json_string(disk->result, "result.json", "variant_name", &text, err);
    if (rc == 0 && !pith_name_valid(text))
        rc = pith_fail(err, -EBADMSG, "result.json: variant_name is no valid name");
    if (rc == 0)
        rc = pith_json_array(disk->result, "result.json", "graphs", true, &graphs, err);
    for (i = 0; rc == 0 && i < disk->manifest->graph_count; i++) {
        const char *name = disk->manifest->graphs[i].name;

        rc = check_graph(disk, name, find_graph(graphs, name), err);
    }
    return rc;
}

/* The originals that fidelity is measured against: the store's own bytes under the job's names. */
static int link_originals(const struct disk *disk, struct pith_error *err)
{
    char from[PATH_MAX], path[PATH_MAX], file[160];
    size_t i;

    for (i = 0; i < disk->manifest->graph_count; i++) {
        const struct pith_blob *blob = disk_blob_file(disk->manifest, i, file);

        pith_store_path(disk->store, blob, from, sizeof from);
        (void) unlink(disk_join(path, disk->folder, file)); /* the worker's copy */
        if (link(from, path) < 0)
            return pith_fail(err, -errno, "%s: %s", path, strerror(errno));
    }
    return 0;
}

static int read_result_on_thread(struct disk *disk, struct pith_error *err)
{
    static const char *const scratch[] = {"data", "step"};
    struct pith_buffer text = {0};
    char path[PATH_MAX];
    size_t i;
    int rc = pith_file_read(disk_join(path, disk->folder, "result.json"), RESULT_LIMIT_BYTES, &text,
                            err);

    if (rc == -ENOENT)
        rc = pith_fail(err, -EBADMSG, "the worker ended well and left no result.json");
    if (rc == 0)
        rc = pith_json_parse(&disk->result, text.data, text.bytes, RESULT_LIMIT_BYTES,
                             "result.json", err);
    if (rc == 0)
        rc = check_result(disk, err);
    if (rc == 0 && json_is_true(json_object_get(disk->result, "ok")))
        rc = link_originals(disk, err);
    for (i = 0; rc == 0 && i < sizeof scratch / sizeof scratch[0]; i++)
        rc = pith_remove_tree(disk_join(path, disk->folder, scratch[i]), err);
    pith_buffer_done(&text);
    return rc;
}

static void result_read(struct disk *disk)
{
    struct model *model = disk->model;
    json_t *result = disk->result;

    if (disk->status < 0) {
        deployment_go(model, STATE_FAILED, "%s", pith_error_text(&disk->error));
        return;
    }
    disk->result = NULL;
    deployment_judge(model, result);
}

void disk_read_result(struct model *model)
{
    struct disk *disk = disk_new(model, read_result_on_thread, result_read);

    if (disk)
        disk_start(disk);
}

int deployment_version(struct deployments *deployments, const struct model *model,
                       const struct deployment *deployment, struct pipelines_version *out,
                       struct pith_manifest **manifest, char **paths, struct pith_error *err)
{
    const json_t *graphs = json_object_get(deployment->result, "graphs");
    struct pith_buffer text = {0};
    char file[160];
    size_t i;
    char *at = calloc(2 * PITH_MANIFEST_MAX_GRAPHS + 1, PATH_MAX);
    int rc = at ? 0 : pith_fail(err, -ENOMEM, "no memory");

    *paths = at;
    if (rc == 0) {
        (void) deployment_path(deployments, deployment->id, "manifest.json", at);
        rc = pith_file_read(at, PITH_MANIFEST_MAX_BYTES * 2, &text, err);
    }
    if (rc == 0)
        rc = pith_manifest_parse(manifest, text.data, text.bytes, err);
    pith_buffer_done(&text);
    if (rc < 0)
        return rc;
    out->model = model->name;
    out->manifest_path = at;
    out->version = deployment->version;
    out->variant = json_string_value(json_object_get(deployment->result, "variant_name"));
    for (i = 0; i < (*manifest)->graph_count; i++) {
        const json_t *graph = find_graph(graphs, (*manifest)->graphs[i].name);

        at += PATH_MAX;
        (void) snprintf(file, sizeof file, "variant/%s.onnx.zst", (*manifest)->graphs[i].name);
        out->graph_path[i] = deployment_path(deployments, deployment->id, file, at);
        at += PATH_MAX;
        (void) disk_blob_file(*manifest, i, file);
        out->original_path[i] = deployment_path(deployments, deployment->id, file, at);
        out->engine[i] = json_string_value(json_object_get(graph, "engine"));
        if (!out->engine[i])
            return pith_fail(err, -EBADMSG, "version %s: no result is kept for its graph %s",
                             deployment->version, (*manifest)->graphs[i].name);
    }
    if (!out->variant)
        out->variant = "original";
    return 0;
}
