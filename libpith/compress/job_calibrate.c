/* Calibration: the chain runs over the samples that came, and each graph's inputs are drawn from
 * what passes it. */
#include "libpith/compress/job_parts.h"

#include "libpith/base/clock.h"
#include "libpith/base/file.h"

#include <errno.h>
#include <string.h>

struct drawing {
    struct job *job;
    struct pith_samples samples[PITH_MANIFEST_MAX_GRAPHS];
    struct pith_error *err;
};

static int offer(void *user, size_t graph_index, const struct pith_tensor *inputs,
                 size_t input_count)
{
    struct drawing *drawing = user;

    return pith_samples_offer(&drawing->samples[graph_index], inputs, input_count, drawing->err);
}

static int no_result(void *user, const struct pith_result *result)
{
    (void) user;
    (void) result;
    return 0;
}

static int run_samples(struct job *job, struct drawing *drawing, struct pith_error *err)
{
    struct pith_chain *chain = NULL;
    int rc = job_open_chain(job, NULL, NULL, true, &chain, err);

    if (rc < 0)
        return rc;
    pith_chain_set_tap(chain, offer, drawing);
    for (uint64_t i = 0; rc == 0 && i < job->calibration.count; i++) {
        const struct pith_sample *sample;
        struct pith_tensor rows;

        rc = pith_dataset_read(&job->calibration, i, &sample, err);
        if (rc == 0)
            rc = pith_sample_rows(sample, job->manifest, &rows, err);
        pith_chain_reset(chain);
        if (rc == 0)
            rc = pith_chain_feed(chain, &rows, no_result, NULL, err);
        if (rc < 0)
            rc = pith_fail_in(err, rc, "calibration sample %llu", (unsigned long long) i);
        if (rc == 0)
            rc = job_check_cancelled(job, err);
        if (job->options->progress)
            job->options->progress(job->options->user, job->state,
                                   job->done_from + (job->done_to - job->done_from) *
                                                        (double) (i + 1) /
                                                        (double) job->calibration.count,
                                   "drawing calibration samples");
    }
    pith_chain_close(chain);
    return rc;
}

static void prefix_of(const struct job *job, size_t graph, char prefix[PATH_MAX])
{
    job_path(job, prefix, "step/calibration/%s", job->graphs[graph].name);
}

/* Samples go to disk before the record that says that they are there. */
static int draw(struct job *job, json_t **out_record, struct pith_error *err)
{
    struct drawing drawing = {.job = job, .err = err};
    json_t *record = json_object();
    char folder[PATH_MAX];
    int rc;

    for (size_t i = 0; i < job->graph_count; i++)
        pith_samples_init(&drawing.samples[i], (uint64_t) job->settings.calibration_samples,
                          (uint64_t) job->settings.seed + i);
    job_path(job, folder, "step/calibration");
    rc = pith_mkdirs(folder, 0750, err);
    if (rc == 0)
        rc = run_samples(job, &drawing, err);
    for (size_t i = 0; rc == 0 && i < job->graph_count; i++) {
        char prefix[PATH_MAX];

        prefix_of(job, i, prefix);
        rc = pith_samples_save(&drawing.samples[i], prefix, err);
        (void) json_object_set_new(record, job->graphs[i].name,
                                   json_pack("{s:I, s:I, s:I}", "samples",
                                             (json_int_t) drawing.samples[i].count, "seen",
                                             (json_int_t) drawing.samples[i].seen, "inputs",
                                             (json_int_t) drawing.samples[i].input_count));
    }
    if (rc == 0)
        rc = job_record(job, "calibrate", record, err);
    for (size_t i = 0; i < job->graph_count; i++)
        pith_samples_done(&drawing.samples[i]);
    if (rc == 0)
        *out_record = record;
    else
        json_decref(record);
    return rc;
}

static int load(struct job *job, const json_t *record, struct pith_error *err)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < job->graph_count; i++) {
        struct job_graph *graph = &job->graphs[i];
        const json_t *drawn = json_object_get(record, graph->name);
        json_int_t inputs = json_integer_value(json_object_get(drawn, "inputs"));
        struct pith_samples samples;
        char prefix[PATH_MAX];

        if (json_integer_value(json_object_get(drawn, "samples")) < 1 || inputs < 1)
            continue; /* no stage reached this graph; the noise of the first run stays */
        prefix_of(job, i, prefix);
        rc = pith_samples_load(&samples, prefix, (size_t) inputs, err);
        if (rc == 0) {
            pith_samples_done(&graph->samples);
            graph->samples = samples;
            graph->calibrated = true;
        }
    }
    return rc;
}

int job_calibrate(struct job *job, struct pith_error *err)
{
    json_t *record = NULL;
    int rc;

    if (job->calibration.count == 0 || job->level_count == 1)
        return 0; /* nothing came, or nothing will be made that wants it */
    job_say(job, "compressing", 0.05, 0.15, "drawing calibration samples");
    rc = job_recall(job, "calibrate", &record, err);
    if (rc == 0 && !record)
        rc = draw(job, &record, err);
    if (rc == 0)
        rc = load(job, record, err);
    json_decref(record);
    return rc;
}
