/* What a deployment needs of the disk, on the thread pool: the job's folder before a worker starts,
 * its result afterwards, and clearing away what no version needs. A work owns all that its thread
 * reads, so that the loop may forget it.
 *
 * A deployment's folder, <state_dir>/deployments/<id>, is the job's (libpith/compress/job.h). What
 * stays of it while the version may serve: manifest.json, variant/, and original/ as links to the
 * store's blobs. */
#include "daemon/deployment.h"

#include "daemon/reservoir.h"
#include "daemon/samples.h"

#include "daemon/pipelines.h"
#include "libpith/base/file.h"
#include "libpith/base/json.h"
#include "libpith/base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RESULT_LIMIT_BYTES (8 * 1024 * 1024)
#define COPY_BYTES         (256 * 1024)

struct disk {
    uv_work_t work;
    struct deployments *deployments; /* the loop's */
    struct model *model;             /* the same; NULL: nobody wants to hear of it */
    int (*run_on_thread)(struct disk *disk, struct pith_error *err);
    void (*done)(struct disk *disk);
    int status;
    struct pith_error error;

    /* what the thread works on */
    struct pith_store *store;
    char folder[PATH_MAX];
    struct pith_manifest *manifest; /* own while it works; then the model's again */
    char *job_text;                 /* of job.json; own */
    char samples[PATH_MAX];         /* kept ones of the model; "": none are to be used */
    json_t *result;                 /* own */
    bool result_there;
    char (*blobs)[PITH_SHA256_HEX + 1]; /* for clearing: manifests that stay; own */
    int64_t *ids;                       /* deployments that stay; own */
    size_t count;
};

static const char *join(char path[PATH_MAX], const char *folder, const char *rest)
{
    (void) snprintf(path, PATH_MAX, "%.*s/%s", PATH_MAX - 300, folder, rest);
    return path;
}

/* "original/mel.onnx.zst", "data/calibration_x.npy"; the same order as manifest_blob. NULL past the
 * end. */
static const struct pith_blob *blob_file(const struct pith_manifest *manifest, size_t index,
                                         char file[160])
{
    static const char *const names[] = {"calibration", "validation"};
    const struct pith_model_data *data[] = {&manifest->calibration, &manifest->validation};
    const struct pith_blob *blob;
    size_t i;

    if (index < manifest->graph_count) {
        blob = &manifest->graphs[index].blob;
        (void) snprintf(file, 160, "original/%s.onnx%s", manifest->graphs[index].name,
                        blob->zstd ? ".zst" : "");
        return blob;
    }
    index -= manifest->graph_count;
    for (i = 0; i < 2; i++) {
        if (!data[i]->present)
            continue;
        (void) snprintf(file, 160, "data/%s_x.npy%s", names[i], data[i]->x.zstd ? ".zst" : "");
        if (index-- == 0)
            return &data[i]->x;
        (void) snprintf(file, 160, "data/%s_y.npy%s", names[i], data[i]->y.zstd ? ".zst" : "");
        if (data[i]->labelled && index-- == 0)
            return &data[i]->y;
    }
    return NULL;
}

/* ---- preparing ---- */

static int copy_bytes(int from, int to, const char *sha256, const char *path,
                      struct pith_error *err)
{
    struct pith_sha256 *digest = NULL;
    uint8_t *bytes = malloc(COPY_BYTES), found[PITH_SHA256_BYTES];
    char hex[PITH_SHA256_HEX + 1];
    ssize_t got = 1, put, at;
    int rc = bytes ? pith_sha256_new(&digest) : -ENOMEM;

    while (rc == 0 && got > 0) {
        got = read(from, bytes, COPY_BYTES);
        if (got < 0 && errno == EINTR) {
            got = 1;
            continue;
        }
        if (got < 0)
            rc = pith_fail(err, -errno, "%s: reading the blob: %s", path, strerror(errno));
        for (at = 0; rc == 0 && at < got; at += put) {
            put = write(to, bytes + at, (size_t) (got - at));
            if (put < 0)
                rc = pith_fail(err, -errno, "%s: %s", path, strerror(errno));
        }
        if (rc == 0 && got > 0)
            rc = pith_sha256_add(digest, bytes, (size_t) got);
    }
    if (rc == 0)
        rc = pith_sha256_finish(digest, found);
    if (rc == 0) {
        pith_hex_encode(hex, found, sizeof found);
        if (strcmp(hex, sha256) != 0)
            rc = pith_fail(err, -EBADMSG, "blob %.12s... on the disk is damaged", sha256);
    }
    pith_sha256_free(digest);
    free(bytes);
    return rc;
}

/* A copy and no link: a worker that was taken over must not reach what other versions use. Checks
 * the digest on the way, so that what is handed over is what was signed. */
static int copy_blob(const struct disk *disk, const struct pith_blob *blob, const char *file,
                     struct pith_error *err)
{
    char from_path[PATH_MAX], path[PATH_MAX], temporary[PATH_MAX + 8];
    struct stat status;
    int from, to = -1, rc = 0;

    join(path, disk->folder, file);
    if (stat(path, &status) == 0 && status.st_size == blob->bytes)
        return 0; /* of a run before: it was renamed only when it was whole */
    (void) snprintf(temporary, sizeof temporary, "%s.part", path);
    pith_store_path(disk->store, blob, from_path, sizeof from_path);
    from = open(from_path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (from < 0)
        return pith_fail(err, errno == ENOENT ? -ENOENT : -errno, "%s: %s", from_path,
                         strerror(errno));
    to = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (to < 0)
        rc = pith_fail(err, -errno, "%s: %s", temporary, strerror(errno));
    if (rc == 0)
        rc = copy_bytes(from, to, blob->sha256, path, err);
    if (rc == 0 && rename(temporary, path) < 0)
        rc = pith_fail(err, -errno, "%s: %s", path, strerror(errno));
    if (rc == -EBADMSG && pith_store_remove(disk->store, blob->sha256, err) < 0) /* fetched again */
        rc = -EIO;
    if (to >= 0)
        close(to);
    close(from);
    return rc;
}

/* Where the manifest brings no calibration data, what the gateway has kept. Without it a job still
 * does what needs none, so trouble is told and no more. */
static void add_kept_samples(const struct disk *disk)
{
    struct pith_error err = {0};
    char path[PATH_MAX];
    size_t count = 0;

    if (!disk->samples[0] || disk->manifest->calibration.present)
        return;
    if (reservoir_export(disk->samples, disk->manifest, join(path, disk->folder, "data"),
                         !disk->manifest->validation.present, &count, &err) < 0)
        log_warn("kept_samples_not_used", "folder=%s reason=\"%s\"", disk->samples,
                 pith_error_text(&err));
    else if (count > 0)
        log_info("kept_samples_used", "model=%s sample_count=%zu", disk->manifest->model, count);
}

static int prepare_on_thread(struct disk *disk, struct pith_error *err)
{
    char path[PATH_MAX], file[160];
    const struct pith_blob *blob;
    char *manifest_text = NULL;
    size_t i;
    int rc = pith_mkdirs(join(path, disk->folder, "original"), 0700, err);

    disk->result_there = access(join(path, disk->folder, "result.json"), R_OK) == 0;
    if (rc == 0 && disk->result_there)
        return 0; /* the worker had finished before the restart */
    if (rc == 0)
        rc = pith_mkdirs(join(path, disk->folder, "data"), 0700, err);
    for (i = 0; rc == 0 && (blob = blob_file(disk->manifest, i, file)); i++)
        rc = copy_blob(disk, blob, file, err);
    if (rc == 0)
        add_kept_samples(disk);
    manifest_text = rc == 0 ? pith_json_text(disk->manifest->json) : NULL;
    if (rc == 0 && !manifest_text)
        rc = -ENOMEM;
    if (rc == 0)
        rc = pith_file_write(join(path, disk->folder, "manifest.json"), manifest_text,
                             strlen(manifest_text), 0600, err);
    if (rc == 0)
        rc = pith_file_write(join(path, disk->folder, "job.json"), disk->job_text,
                             strlen(disk->job_text), 0600, err);
    free(manifest_text);
    return rc;
}

/* ---- the result ---- */

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
    if (rc == 0 && (lstat(join(path, disk->folder, file), &status) < 0 || !S_ISREG(status.st_mode)))
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
        const struct pith_blob *blob = blob_file(disk->manifest, i, file);

        pith_store_path(disk->store, blob, from, sizeof from);
        (void) unlink(join(path, disk->folder, file)); /* the worker's copy */
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
    int rc =
        pith_file_read(join(path, disk->folder, "result.json"), RESULT_LIMIT_BYTES, &text, err);

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
        rc = pith_remove_tree(join(path, disk->folder, scratch[i]), err);
    pith_buffer_done(&text);
    return rc;
}

/* ---- clearing ---- */

static bool stays(const struct disk *disk, const char *name)
{
    char *end;
    long long id = strtoll(name, &end, 10);
    size_t i;

    for (i = 0; i < disk->count; i++)
        if (disk->ids[i] == id && *end == '\0')
            return true;
    return false;
}

static int clear_folders(const struct disk *disk, struct pith_error *err)
{
    char path[PATH_MAX];
    struct dirent *entry;
    DIR *folder = opendir(disk->folder);
    int rc = 0;

    if (!folder)
        return errno == ENOENT ? 0
                               : pith_fail(err, -errno, "%s: %s", disk->folder, strerror(errno));
    while (rc == 0 && (entry = readdir(folder)))
        if (entry->d_name[0] != '.' && !stays(disk, entry->d_name))
            rc = pith_remove_tree(join(path, disk->folder, entry->d_name), err);
    closedir(folder);
    return rc;
}

/* The digests that a manifest in the store names, appended. */
static size_t named_blobs(const struct disk *disk, const char *sha256, const char **keep,
                          size_t count, struct pith_manifest **out)
{
    struct pith_blob blob = {0};
    struct pith_buffer text = {0};
    char path[PATH_MAX], file[160];
    const struct pith_blob *named;
    size_t i;

    (void) snprintf(blob.sha256, sizeof blob.sha256, "%s", sha256);
    pith_store_path(disk->store, &blob, path, sizeof path);
    keep[count++] = sha256;
    if (pith_file_read(path, PITH_MANIFEST_MAX_BYTES, &text, NULL) == 0 &&
        pith_manifest_parse(out, text.data, text.bytes, NULL) == 0)
        for (i = 0; (named = blob_file(*out, i, file)); i++)
            if (i < (*out)->graph_count) /* data is of no use once the variant is made */
                keep[count++] = named->sha256;
    pith_buffer_done(&text);
    return count;
}

static int clear_on_thread(struct disk *disk, struct pith_error *err)
{
    size_t count = 0, i;
    const char **keep = calloc(disk->count * (PITH_MANIFEST_MAX_GRAPHS + 1) + 1, sizeof *keep);
    struct pith_manifest **manifests = calloc(disk->count + 1, sizeof *manifests);
    int rc = keep && manifests ? clear_folders(disk, err) : -ENOMEM;

    for (i = 0; rc == 0 && i < disk->count; i++)
        count = named_blobs(disk, disk->blobs[i], keep, count, &manifests[i]);
    if (rc == 0)
        rc = pith_store_sweep(disk->store, keep, count, err);
    for (i = 0; manifests && i < disk->count; i++)
        pith_manifest_free(manifests[i]);
    free(manifests);
    free(keep);
    return rc;
}

/* ---- on the loop ---- */

static void run_on_thread(uv_work_t *work)
{
    struct disk *disk = work->data;

    disk->status = disk->run_on_thread(disk, &disk->error);
}

static void disk_free(struct disk *disk)
{
    pith_manifest_free(disk->manifest);
    json_decref(disk->result);
    free(disk->job_text);
    free(disk->blobs);
    free(disk->ids);
    free(disk);
}

static void on_done(uv_work_t *work, int status)
{
    struct disk *disk = work->data;
    struct deployments *deployments = disk->deployments;

    (void) status; /* never cancelled */
    if (disk->model) {
        disk->model->disk = NULL;
        disk->model->manifest = disk->manifest;
        disk->manifest = NULL;
    }
    if (!deployments->closing && (disk->model || disk->run_on_thread == clear_on_thread))
        disk->done(disk);
    disk_free(disk);
    deployments_end_busy(deployments);
}

static void start(struct disk *disk)
{
    disk->work.data = disk;
    deployments_begin_busy(disk->deployments);
    (void) uv_queue_work(disk->deployments->daemon->loop, &disk->work, run_on_thread, on_done);
}

/* A work on the model's newest deployment, which has the manifest meanwhile. NULL: failed already.
 */
static struct disk *disk_new(struct model *model, int (*run)(struct disk *, struct pith_error *),
                             void (*done)(struct disk *))
{
    struct disk *disk = calloc(1, sizeof *disk);

    if (!disk) {
        deployment_go(model, STATE_FAILED, "no memory");
        return NULL;
    }
    disk->deployments = model->owner;
    disk->model = model;
    disk->run_on_thread = run;
    disk->done = done;
    disk->store = model->owner->store;
    (void) deployment_path(model->owner, model->newest->id, NULL, disk->folder);
    disk->manifest = model->manifest;
    model->manifest = NULL;
    model->disk = disk;
    return disk;
}

void disk_stop(struct disk *disk)
{
    if (disk)
        disk->model = NULL;
}

static void prepared(struct disk *disk)
{
    struct model *model = disk->model;

    if (disk->status == -ENOENT || disk->status == -EBADMSG)
        deployment_go(model, STATE_FETCHING, "%s: fetched again", pith_error_text(&disk->error));
    else if (disk->status < 0)
        deployment_go(model, STATE_FAILED, "%s", pith_error_text(&disk->error));
    else {
        model->job_done = disk->result_there;
        deployment_go(model, STATE_VETTING, "%s", "");
    }
}

/* What a busy core takes, as the cputime meter is told, so that a job's energy is an estimate like
 * that of running. null: no such meter is used. */
static json_t *cpu_power_mw(const struct config *config)
{
    for (size_t i = 0; i < config->meter_count; i++) {
        const struct pith_plugin *plugin = config->meters[i].plugin;

        if (strcmp(plugin->name, "cputime") != 0 || !plugin->options)
            continue;
        for (size_t k = 0; plugin->options[k].name; k++)
            if (!strcmp(plugin->options[k].name, "watts"))
                return json_real(config->meters[i].options.values[k].number * 1000);
    }
    return json_null();
}

static char *job_text(const struct config *config)
{
    json_t *job =
        json_pack("{s:i, s:s, s:s, s:b, s:I, s:I, s:I, s:o}", "format", 1, "default_recipe",
                  config->compression.recipe, "recipe_path", config->recipe_path, "compress",
                  config->compression.when != CONFIG_WHEN_NEVER, "deadline_ms",
                  (json_int_t) (config->compression.deadline_ms / 10 *
                                9), /* it then ends by itself, with what it has */
                  "graph_max_bytes", (json_int_t) config->model_max_bytes, "activation_max_bytes",
                  (json_int_t) config->compression.memory_bytes, "cpu_power_mw",
                  cpu_power_mw(config));
    char *text = job ? pith_json_text(job) : NULL;

    json_decref(job);
    return text;
}

void disk_prepare(struct model *model)
{
    struct disk *disk = disk_new(model, prepare_on_thread, prepared);

    if (!disk)
        return;
    disk->job_text = job_text(model->owner->config);
    if (model->owner->config->compression.keep_samples_count > 0)
        (void) samples_folder(model->owner->config, model->name, disk->samples,
                              sizeof disk->samples);
    start(disk);
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
        start(disk);
}

static void cleared(struct disk *disk)
{
    struct deployments *deployments = disk->deployments;
    struct model *model;

    deployments->sweeping = false;
    if (disk->status < 0)
        log_warn("deployments_not_cleared", "reason=\"%s\"", pith_error_text(&disk->error));
    for (model = deployments->models; model; model = model->next)
        if (model->held)
            deployment_fetch(model);
}

static void keep(struct disk *disk, const struct deployment *deployment)
{
    if (!deployment || deployment->absent)
        return;
    disk->ids[disk->count] = deployment->id;
    memcpy(disk->blobs[disk->count++], deployment->manifest.sha256, PITH_SHA256_HEX + 1);
}

/* Only while no deployment is under way: those use the store and folders without telling. */
static bool quiet(const struct deployments *deployments)
{
    const struct model *model;

    for (model = deployments->models; model; model = model->next)
        if (model->change || model->fetch || model->disk || model->job ||
            (model->newest && !state_is_final(model->newest->state)) ||
            (model->active && !model->serving))
            return false;
    return !deployments->sweeping && !deployments->closing;
}

void disk_clear(struct deployments *deployments)
{
    struct disk *disk;
    struct model *model;

    if (!quiet(deployments))
        return;
    disk = calloc(1, sizeof *disk);
    if (disk) {
        disk->ids = calloc(deployments->model_count * 2 + 1, sizeof *disk->ids);
        disk->blobs = calloc(deployments->model_count * 2 + 1, sizeof *disk->blobs);
    }
    if (!disk || !disk->ids || !disk->blobs) {
        if (disk)
            disk_free(disk);
        return; /* the next deployment's end clears up */
    }
    disk->deployments = deployments;
    disk->run_on_thread = clear_on_thread;
    disk->done = cleared;
    disk->store = deployments->store;
    (void) snprintf(disk->folder, sizeof disk->folder, "%s/deployments",
                    deployments->config->state_dir);
    for (model = deployments->models; model; model = model->next) {
        keep(disk, model->active);
        keep(disk, model->previous);
    }
    deployments->sweeping = true;
    start(disk);
}

/* ---- what serves ---- */

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
        (void) blob_file(*manifest, i, file);
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
