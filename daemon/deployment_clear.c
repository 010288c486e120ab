/* Clearing away folders and blobs that no version needs, when all is quiet. */
#include "daemon/deployment_work.h"

#include "libpith/base/file.h"
#include "libpith/base/log.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
            rc = pith_remove_tree(disk_join(path, disk->folder, entry->d_name), err);
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
        for (i = 0; (named = disk_blob_file(*out, i, file)); i++)
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
    disk->without_model = true;
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
    disk_start(disk);
}
