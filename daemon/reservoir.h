/* Samples of a model's input that a gateway keeps in a folder, to compress the model's next version with: an even draw of
 * all that were offered (Vitter, "Random sampling with a reservoir", 1985, algorithm R), bounded in number and bytes.
 *
 * A sample is a file, <number>.npy, [rows, ...row]; its number counts what was offered before it, so that a draw goes on
 * after a restart. Each change is one rename or one unlink: whatever instant the power goes, what is there is whole. */
#ifndef PITHD_RESERVOIR_H
#define PITHD_RESERVOIR_H

#include "libpith/model/manifest.h"
#include <pith/tensor.h>

#define RESERVOIR_MAX_BYTES INT64_C(33554432) /* of one model */

struct reservoir_limits {
    int64_t count; /* 0: nothing is kept */
    int64_t bytes;
};

/* Offers one sample. *seen: how many were offered, as far as the caller knows (0 after a start); counted on here. random:
 * 64 random bits. Samples of another shape or type than those that are there replace them all: the model's input has
 * changed. Thread: any, one at a time a folder. */
int reservoir_offer(const char *folder, const struct reservoir_limits *limits, const struct pith_tensor *sample,
                    uint64_t *seen, uint64_t random, struct pith_error *err) PITH_CHECKED;
/* Removes what is beyond the limit. */
int reservoir_trim(const char *folder, int64_t count, struct pith_error *err) PITH_CHECKED;
/* Writes <data>/calibration_x.npy, and <data>/validation_x.npy of every third sample where `validates` and there are enough, as
 * a job reads them. What is there already stays, so that a job that goes on sees the same data. Samples that don't fit the
 * manifest's input are left out. *out_count: how many were written; 0: there is no file. */
int reservoir_export(const char *folder, const struct pith_manifest *manifest, const char *data, bool validates,
                     size_t *out_count, struct pith_error *err) PITH_CHECKED;
/* Removes what that wrote, or began to write. *out_there: whether there was something. */
int reservoir_unexport(const char *data, bool validates, bool *out_there, struct pith_error *err) PITH_CHECKED;

#endif
