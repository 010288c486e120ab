/* A job from its folder to its result. Everything here is a walk that is the same each time; what
 * took work is recalled from the folder, so that a job that was killed goes on where it was, to the
 * same bytes. */
#include "libpith/compress/job_parts.h"

#include "libpith/base/clock.h"
#include "libpith/base/file.h"
#include "libpith/base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void job_say(struct job *job, const char *state, double from, double to, const char *text)
{
    job->state = state;
    job->done_from = from;
    job->done_to = to;
    if (job->options->progress)
        job->options->progress(job->options->user, state, from, text);
}

int job_check_cancelled(struct job *job, struct pith_error *err)
{
    if (job->options->cancelled && job->options->cancelled(job->options->user))
        return pith_fail(err, -ECANCELED, "cancelled");
    return 0;
}

bool job_deadline_passed(const struct job *job)
{
    return job->settings.deadline_ms > 0 && (pith_monotonic_ns() - job->started_ns) / 1000000 >=
                                                (uint64_t) job->settings.deadline_ms;
}

void job_add_step(struct job *job, const char *name, const char *text,
                  const struct pith_facts *before, const struct pith_facts *after,
                  uint64_t started_ns)
{
    (void) json_array_append_new(
        job->steps, json_pack("{s:s, s:s, s:o, s:o, s:I}", "name", name, "text", text, "before",
                              before ? pith_facts_json(before) : json_null(), "after",
                              after ? pith_facts_json(after) : json_null(), "time_ms",
                              (json_int_t) ((pith_monotonic_ns() - started_ns) / 1000000)));
}

static int take_forms(struct job *job)
{
    job_count_levels(job);
    if (job->level_count > 1) {
        job->memo = pith_memo_new(JOB_MEMO_BYTES);
        if (!job->memo)
            return -ENOMEM;
    }
    for (size_t i = 0; i < job->graph_count; i++) {
        job->graphs[i].forms = calloc(job->level_count, sizeof *job->graphs[i].forms);
        if (!job->graphs[i].forms)
            return -ENOMEM;
        job->graphs[i].level = job->level_count - 1;
    }
    return 0;
}

static int run_job(struct job *job, struct pith_error *err)
{
    char folder[PATH_MAX];
    int rc;

    job_path(job, folder, "step");
    rc = pith_mkdirs(folder, 0750, err);
    if (rc == 0)
        rc = job_settings_read(job, err);
    if (rc == 0)
        rc = job_inputs_read(job, err);
    if (rc == 0)
        rc = job_vet(job, err);
    if (rc == 0)
        rc = take_forms(job);
    if (rc == 0)
        rc = job_calibrate(job, err);
    if (rc == 0)
        rc = job_search(job, err);
    if (rc == 0)
        rc = job_finish(job, err);
    return rc;
}

static void job_done(struct job *job)
{
    for (size_t i = 0; job->graphs && i < job->graph_count; i++) {
        struct job_graph *graph = &job->graphs[i];

        for (size_t level = 0; graph->forms && level < job->level_count; level++) {
            pith_graph_free(graph->forms[level].graph);
            json_decref(graph->forms[level].record);
        }
        free(graph->forms);
        pith_samples_done(&graph->samples);
        pith_graph_free(graph->original);
    }
    free(job->graphs);
    pith_memo_free(job->memo);
    for (size_t i = 0; i < job->engine_count; i++)
        pith_options_done(&job->engines[i].options);
    pith_outcomes_done(&job->baseline);
    pith_dataset_close(&job->calibration);
    pith_dataset_close(&job->data);
    pith_recipe_free(job->recipe);
    pith_manifest_free(job->manifest);
    json_decref(job->settings.json);
    json_decref(job->steps);
}

int pith_job_run(const struct pith_job_options *options, struct pith_error *err)
{
    struct job job = {.options = options,
                      .started_ns = pith_monotonic_ns(),
                      .steps = json_array(),
                      .state = "vetting"};
    struct pith_error why = {0};
    char result[PATH_MAX];
    int rc;

    job_path(&job, result, "result.json");
    if (job_file_exists(result)) {
        job_done(&job);
        return 0;
    }
    rc = job.steps ? run_job(&job, &why) : -ENOMEM;
    if (rc < 0) {
        why.code = rc;
        /* A cancelled job may be run again, and one for which memory or disk were short too. */
        if (rc != -ECANCELED && rc != -ENOMEM && rc != -ENOSPC && rc != -EIO && rc != -EDQUOT &&
            job_write_refusal(&job, pith_error_text(&why), err) < 0)
            log_warn("result_not_written", "folder=%s", options->folder);
        (void) pith_fail(err, rc, "%s", pith_error_text(&why));
    }
    job_done(&job);
    return rc;
}
