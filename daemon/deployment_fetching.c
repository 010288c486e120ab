/* The manifest, then what it names, into the store: one blob after the other. What can be refused
 * is refused before its bytes are fetched: another model's manifest, too large a model, too little
 * room. */
#include "daemon/deployment.h"

#include "libpith/base/file.h"
#include "libpith/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#define SPARE_BYTES (INT64_C(16) << 20) /* left for the database and logs */

static void next_blob(struct model *model);

const struct pith_blob *manifest_blob(const struct pith_manifest *manifest, size_t index,
                                      char what[160])
{
    const struct pith_model_data *data[] = {&manifest->calibration, &manifest->validation};
    static const char *const names[] = {"calibration", "validation"};
    size_t i;

    if (index < manifest->graph_count) {
        (void) snprintf(what, 160, "graph %s", manifest->graphs[index].name);
        return &manifest->graphs[index].blob;
    }
    index -= manifest->graph_count;
    for (i = 0; i < 2; i++) {
        if (!data[i]->present)
            continue;
        (void) snprintf(what, 160, "%s data", names[i]);
        if (index-- == 0)
            return &data[i]->x;
        (void) snprintf(what, 160, "%s labels", names[i]);
        if (data[i]->labelled && index-- == 0)
            return &data[i]->y;
    }
    return NULL;
}

int deployment_load_manifest(struct model *model, struct pith_error *err)
{
    struct pith_buffer text = {0};
    char path[PATH_MAX];
    int rc = -ENOENT;

    if (!pith_store_has(model->owner->store, &model->newest->manifest))
        return pith_fail(err, -ENOENT, "the manifest is not in the store any more");
    pith_store_path(model->owner->store, &model->newest->manifest, path, sizeof path);
    rc = pith_file_read(path, PITH_MANIFEST_MAX_BYTES, &text, err);
    if (rc == 0)
        rc = pith_manifest_parse(&model->manifest, text.data, text.bytes, err);
    pith_buffer_done(&text);
    return rc;
}

/* What is wanted, and whether it fits. -EBADMSG: not acceptable. -ENOSPC: not now. */
static int check_manifest(struct model *model, struct pith_error *err)
{
    const struct pith_manifest *manifest = model->manifest;
    const struct deployment *newest = model->newest;
    int64_t limit_bytes = model->owner->config->model_max_bytes, raw_bytes = 0, missing_bytes = 0;
    const struct pith_blob *blob;
    struct statvfs disk;
    char what[160];
    size_t i;

    if (strcmp(manifest->model, model->name) != 0 ||
        strcmp(manifest->version, newest->version) != 0)
        return pith_fail(err, -EBADMSG,
                         "the manifest is of %s %s, and the desired document asks for %s %s",
                         manifest->model, manifest->version, model->name, newest->version);
    for (i = 0; (blob = manifest_blob(manifest, i, what)); i++) {
        if (blob->raw_bytes > limit_bytes - raw_bytes)
            return pith_fail(err, -EBADMSG,
                             "it unpacks to more than %lld MB, which is this gateway's limit "
                             "(model_max_size): %s alone "
                             "to %lld MB",
                             (long long) (limit_bytes / 1000000), what,
                             (long long) (blob->raw_bytes / 1000000));
        raw_bytes += blob->raw_bytes;
        if (!pith_store_has(model->owner->store, blob))
            missing_bytes += blob->bytes;
    }
    if (statvfs(model->owner->config->state_dir, &disk) < 0)
        return pith_fail(err, -errno, "%s: %s", model->owner->config->state_dir, strerror(errno));
    /* Each blob once in the store and once in the job's folder; variants and steps take at most as
     * much again. */
    if ((int64_t) disk.f_bavail <
        (missing_bytes * 2 + raw_bytes * 2 + SPARE_BYTES) / (int64_t) disk.f_frsize)
        return pith_fail(err, -ENOSPC,
                         "%s has %lld MB free, and this model needs %lld MB while it is compressed",
                         model->owner->config->state_dir,
                         (long long) ((int64_t) disk.f_bavail * (int64_t) disk.f_frsize / 1000000),
                         (long long) ((missing_bytes * 2 + raw_bytes * 2 + SPARE_BYTES) / 1000000));
    return 0;
}

static void fetched_one(void *user, int status, const struct pith_error *err)
{
    struct model *model = user;
    struct pith_error why = {0};
    int rc;

    model->fetch = NULL;
    if (status < 0) {
        deployment_go(model, status == -ETIMEDOUT ? STATE_EXPIRED : STATE_FAILED, "%s",
                      pith_error_text(err));
        return;
    }
    if (!model->manifest) {
        rc = deployment_load_manifest(model, &why);
        if (rc == 0)
            rc = check_manifest(model, &why);
        if (rc < 0) {
            deployment_go(model, rc == -EBADMSG || rc == -EFBIG ? STATE_REJECTED : STATE_FAILED,
                          "%s", pith_error_text(&why));
            return;
        }
    } else {
        model->fetch_index++;
    }
    next_blob(model);
}

static void progressed(void *user, const struct fetch_progress *progress)
{
    struct model *model = user;
    int64_t done_bytes = 0, total_bytes = 0, here_bytes;
    const struct pith_blob *blob;
    char what[160] = "manifest";
    size_t i;

    model->chunk_count = progress->chunk_count;
    model->missing_count = progress->missing_count;
    if (model->manifest) {
        for (i = 0; (blob = manifest_blob(model->manifest, i, what)); i++) {
            here_bytes = (progress->chunk_count - progress->missing_count) * PITH_CHUNK_BYTES;
            if (i < model->fetch_index)
                done_bytes += blob->bytes;
            else if (i == model->fetch_index)
                done_bytes += here_bytes < blob->bytes ? here_bytes : blob->bytes;
            total_bytes += blob->bytes;
        }
        (void) manifest_blob(model->manifest, model->fetch_index, what);
        model->done_ratio = total_bytes ? (double) done_bytes / (double) total_bytes : 0;
    }
    if (progress->waiting_for >= 0)
        (void) snprintf(model->progress, sizeof model->progress, "%s: waits for chunk %lld of %lld",
                        what, (long long) progress->waiting_for, (long long) progress->chunk_count);
    else
        (void) snprintf(model->progress, sizeof model->progress, "%s", what);
    deployment_report(model);
}

static void fetch_blob(struct model *model, const struct pith_blob *blob, const char *what)
{
    struct deployments *deployments = model->owner;
    const struct fetch_options options = {
        .loop = deployments->daemon->loop,
        .mqtt = deployments->daemon->fleet,
        .store = deployments->store,
        .topic_root = deployments->config->topic_root,
        .blob = *blob,
        .what = what,
        .progress = progressed,
        .done = fetched_one,
        .ended = deployments_end_busy,
        .user = model,
        .owner = deployments,
    };
    struct pith_error err = {0};

    if (fetch_start(&model->fetch, &options, &err) < 0)
        deployment_go(model, STATE_FAILED, "%s", pith_error_text(&err));
    else
        deployments_begin_busy(deployments);
}

static void next_blob(struct model *model)
{
    const struct pith_blob *blob;
    char what[160];

    for (; (blob = manifest_blob(model->manifest, model->fetch_index, what));
         model->fetch_index++) {
        if (!pith_store_has(model->owner->store, blob)) {
            fetch_blob(model, blob, what);
            return;
        }
    }
    deployment_go(model, STATE_VERIFYING, "%s", "");
}

void deployment_fetch(struct model *model)
{
    if (model->owner->sweeping) { /* it would remove what we fetch */
        model->held = true;
        return;
    }
    model->held = false;
    model->fetch_index = 0;
    pith_manifest_free(model->manifest);
    model->manifest = NULL;
    fetch_blob(model, &model->newest->manifest, "manifest");
}
