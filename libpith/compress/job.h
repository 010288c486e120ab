/* A compression job: one model version in a folder -> a variant in that folder, with its measured facts.
 * pith-worker runs it in its sandbox, `pith compress` runs it directly. Each step's outcome is on disk before the next
 * begins, so a job that was killed goes on from its last finished step.
 *
 *   job.json            what to do (written by whoever starts it, see schemas/job.json)
 *   manifest.json       as verified
 *   original/<graph>.onnx or .onnx.zst   the graphs as delivered
 *   data/calibration_x.npy[.zst] ...     as delivered, or windows kept by the gateway
 *   step/<n>-<technique>/<graph>.onnx.zst  after each technique
 *   variant/<graph>.onnx.zst             the outcome
 *   result.json         facts, or why there is none; written last (schemas/job_result.json) */
#ifndef PITH_COMPRESS_JOB_H
#define PITH_COMPRESS_JOB_H

#include "libpith/plugin/plugins.h"
#include <jansson.h>

/* state: "vetting", "compressing", "evaluating"; done_ratio 0..1 of the whole job; text: for people. */
typedef void pith_job_progress(void *user, const char *state, double done_ratio, const char *text);
typedef int pith_job_cancelled(void *user);

struct pith_job_options {
    const char *folder;
    const struct pith_plugins *plugins;
    pith_job_progress *progress;   /* may be NULL */
    pith_job_cancelled *cancelled; /* may be NULL */
    void *user;
};
/* 0: result.json is written, and says "ok" true or false: a model that can't be compressed within its budget still ends
 * with the best form that was verified, at worst the original, and a sentence. Negative: nothing usable, *err says why
 * (an original that does not parse, compile or run: -EBADMSG, -ENOTSUP). */
int pith_job_run(const struct pith_job_options *options, struct pith_error *err) PITH_CHECKED;

#endif
