/* Handing a work to a thread of the pool, and its end: see deployment_work.h. */
#include "daemon/deployment_work.h"

#include <stdio.h>
#include <stdlib.h>

const char *disk_join(char path[PATH_MAX], const char *folder, const char *rest)
{
    (void) snprintf(path, PATH_MAX, "%.*s/%s", PATH_MAX - 300, folder, rest);
    return path;
}

const struct pith_blob *disk_blob_file(const struct pith_manifest *manifest, size_t index,
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

static void run_on_thread(uv_work_t *work)
{
    struct disk *disk = work->data;

    disk->status = disk->run_on_thread(disk, &disk->error);
}

void disk_free(struct disk *disk)
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
    if (!deployments->closing && (disk->model || disk->without_model))
        disk->done(disk);
    disk_free(disk);
    deployments_end_busy(deployments);
}

void disk_start(struct disk *disk)
{
    disk->work.data = disk;
    deployments_begin_busy(disk->deployments);
    (void) uv_queue_work(disk->deployments->daemon->loop, &disk->work, run_on_thread, on_done);
}

struct disk *disk_new(struct model *model, int (*run)(struct disk *, struct pith_error *),
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
