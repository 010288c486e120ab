/* The job's folder before a worker starts: copies of the blobs, of the samples that were kept, and
 * what is asked of the worker. */
#include "daemon/deployment_work.h"

#include "daemon/reservoir.h"
#include "daemon/samples.h"

#include "libpith/base/file.h"
#include "libpith/base/json.h"
#include "libpith/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY_BYTES (256 * 1024)

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

    disk_join(path, disk->folder, file);
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
static void add_kept_samples(struct disk *disk)
{
    struct pith_error err = {0};
    char path[PATH_MAX];
    size_t count = 0;

    if (reservoir_export(disk->samples, disk->manifest, disk_join(path, disk->folder, "data"),
                         !disk->manifest->validation.present, &count, &err) < 0)
        log_warn("kept_samples_not_used", "folder=%s reason=\"%s\"", disk->samples,
                 pith_error_text(&err));
    else if (count > 0)
        log_info("kept_samples_used", "model=%s sample_count=%zu", disk->manifest->model, count);
    disk->holds_samples =
        access(disk_join(path, disk->folder, "data/calibration_x.npy"), F_OK) == 0;
}

/* Copies that a run before has left, where the config does not consent any more; and the steps that
 * were made with them. */
static int drop_kept_samples(const struct disk *disk, struct pith_error *err)
{
    char path[PATH_MAX];
    bool there = false;
    int rc = reservoir_unexport(disk_join(path, disk->folder, "data"),
                                !disk->manifest->validation.present, &there, err);

    return rc < 0 || !there ? rc : pith_remove_tree(disk_join(path, disk->folder, "step"), err);
}

static int settle_samples(struct disk *disk, struct pith_error *err)
{
    if (disk->manifest->calibration.present)
        return 0;
    if (!disk->samples[0])
        return drop_kept_samples(disk, err);
    add_kept_samples(disk);
    return 0;
}

static int prepare_on_thread(struct disk *disk, struct pith_error *err)
{
    char path[PATH_MAX], file[160];
    const struct pith_blob *blob;
    char *manifest_text = NULL;
    size_t i;
    int rc = pith_mkdirs(disk_join(path, disk->folder, "original"), 0700, err);

    disk->result_there = access(disk_join(path, disk->folder, "result.json"), R_OK) == 0;
    if (rc == 0 && disk->result_there)
        return 0; /* the worker had finished before the restart */
    if (rc == 0)
        rc = pith_mkdirs(disk_join(path, disk->folder, "data"), 0700, err);
    for (i = 0; rc == 0 && (blob = disk_blob_file(disk->manifest, i, file)); i++)
        rc = copy_blob(disk, blob, file, err);
    if (rc == 0)
        rc = settle_samples(disk, err);
    manifest_text = rc == 0 ? pith_json_text(disk->manifest->json) : NULL;
    if (rc == 0 && !manifest_text)
        rc = -ENOMEM;
    if (rc == 0)
        rc = pith_file_write(disk_join(path, disk->folder, "manifest.json"), manifest_text,
                             strlen(manifest_text), 0600, err);
    if (rc == 0)
        rc = pith_file_write(disk_join(path, disk->folder, "job.json"), disk->job_text,
                             strlen(disk->job_text), 0600, err);
    free(manifest_text);
    return rc;
}

static bool consents(const struct config *config)
{
    return config->compression.keep_samples_count > 0;
}

static void prepared(struct disk *disk)
{
    struct model *model = disk->model;

    if (disk->status == -ENOENT || disk->status == -EBADMSG)
        deployment_go(model, STATE_FETCHING, "%s: fetched again", pith_error_text(&disk->error));
    else if (disk->status < 0)
        deployment_go(model, STATE_FAILED, "%s", pith_error_text(&disk->error));
    else if (disk->holds_samples && !consents(model->owner->config)) {
        deployment_forget_samples(model); /* withdrawn while they were copied */
    } else {
        model->job_done = disk->result_there;
        model->holds_samples = disk->holds_samples;
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
    json_t *job = json_pack(
        "{s:i, s:s, s:s, s:b, s:I, s:I, s:I, s:o}", "format", 1, "default_recipe",
        config->compression.recipe, "recipe_path", config->recipe_path, "compress",
        config->compression.when != CONFIG_WHEN_NEVER, "deadline_ms",
        (json_int_t) (config->compression.deadline_ms / 10 *
                      9), /* it then ends by itself, with what it has */
        "graph_max_bytes", (json_int_t) config->model_max_bytes, "activation_max_bytes",
        (json_int_t) config->compression.memory_bytes, "cpu_power_mw", cpu_power_mw(config));
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
    if (consents(model->owner->config))
        (void) samples_folder(model->owner->config, model->name, disk->samples,
                              sizeof disk->samples);
    disk_start(disk);
}
