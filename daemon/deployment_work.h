/* The works on the disk that deployments need, on the thread pool. A work owns all that its thread reads, so that the loop
 * may forget it. What the files share that do them:
 *
 *   deployment_work.c   handing a work to its thread, and its end
 *   deployment_folder.c the job's folder before a worker starts
 *   deployment_result.c its result afterwards, and what serves
 *   deployment_clear.c  clearing away what no version needs
 *
 * A deployment's folder, <state_dir>/deployments/<id>, is the job's (libpith/compress/job.h). What stays of it while the
 * version may serve: manifest.json, variant/, and original/ as links to the store's blobs. */
#ifndef PITHD_DEPLOYMENT_WORK_H
#define PITHD_DEPLOYMENT_WORK_H

#include "daemon/deployment.h"

struct disk {
    uv_work_t work;
    struct deployments *deployments; /* the loop's */
    struct model *model;             /* the same; NULL: nobody wants to hear of it */
    bool without_model;              /* it never had one */
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
    bool holds_samples; /* the job has kept ones among its data */
    char (*blobs)[PITH_SHA256_HEX + 1]; /* for clearing: manifests that stay; own */
    int64_t *ids;                       /* deployments that stay; own */
    size_t count;
};

/* A work on the model's newest deployment, which has the manifest meanwhile. NULL: failed already. */
struct disk *disk_new(struct model *model, int (*run)(struct disk *, struct pith_error *), void (*done)(struct disk *));
void disk_start(struct disk *disk);
void disk_free(struct disk *disk); /* one that was not started */

/* On any thread: "<folder>/<rest>" into path; returns path. */
const char *disk_join(char path[PATH_MAX], const char *folder, const char *rest);
/* "original/mel.onnx.zst", "data/calibration_x.npy"; the same order as manifest_blob. NULL past the end. */
const struct pith_blob *disk_blob_file(const struct pith_manifest *manifest, size_t index, char file[160]);

#endif
