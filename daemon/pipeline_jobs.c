/* Versions on their way to the streams: read and compiled on a thread of libuv's pool, one job
 * after the other, then handed to the lanes, which swap between two payloads. */
#include "daemon/pipelines_private.h"

#include "daemon/samples.h"

#include "libpith/base/clock.h"
#include "libpith/base/log.h"

#include <errno.h>
#include <malloc.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum job_kind { JOB_ACTIVATE, JOB_CATCH_UP, JOB_ORIGINAL };

struct part { /* what the job makes for one instance */
    struct instance *instance;
    const char *pipeline_name;
    struct pith_codec_stream codec_stream;
    struct pith_chain *chain;
};

struct job {
    uv_work_t work;
    struct job *next;
    struct pipelines *pipelines;
    enum job_kind kind;
    struct version *version;   /* counted */
    struct instance *instance; /* of JOB_ORIGINAL */
    struct part *parts;
    size_t part_count;
    struct pith_chain *original;
    int64_t max_bytes;
    uint64_t started_ns;
    int rc;
    struct pith_error err;
    /* JOB_ACTIVATE: who is told, once each stream has swapped. */
    void (*done)(void *user, int status, const struct pith_error *err);
    void *user;
    size_t swap_count; /* that are not through yet */
};

static void start_first(struct pipelines *pipelines);

/* ---- on the thread ---- */

/* Whether the codec gives what the model takes. */
static int check_fit(const struct part *part, const struct pith_manifest *manifest,
                     struct pith_error *err)
{
    char gives[PITH_SHAPE_TEXT_BYTES], takes[PITH_SHAPE_TEXT_BYTES];
    const struct pith_codec_stream *stream = &part->codec_stream;
    int64_t elements = pith_shape_elements(&stream->shape);

    if (elements >= 0 && elements != pith_shape_elements(&manifest->input_row))
        return pith_fail(err, -EINVAL,
                         "pipeline %s: the codec gives rows of shape %s, the model takes %s",
                         part->pipeline_name, pith_shape_text(&stream->shape, gives, sizeof gives),
                         pith_shape_text(&manifest->input_row, takes, sizeof takes));
    if (stream->rate_hz > 0 && manifest->input_rate_hz > 0 &&
        fabs(stream->rate_hz - manifest->input_rate_hz) > manifest->input_rate_hz * 1e-3)
        return pith_fail(err, -EINVAL,
                         "pipeline %s: the codec gives %g rows a second, the model takes %g",
                         part->pipeline_name, stream->rate_hz, manifest->input_rate_hz);
    return 0;
}

static int open_chains(struct job *job)
{
    struct version_graphs graphs = {0};
    int rc = version_open_graphs_on_thread(job->version, VERSION_ACTIVE, job->max_bytes, &graphs,
                                           &job->err);

    for (size_t i = 0; i < job->part_count && rc == 0; i++) {
        rc = check_fit(&job->parts[i], job->version->manifest, &job->err);
        if (rc == 0)
            rc = version_open_chain_on_thread(job->version, &graphs, &job->parts[i].chain,
                                              &job->err);
    }
    if (rc == 0 &&
        job->part_count == 0) { /* no stream yet; whether it would run is told all the same */
        struct pith_chain *tried = NULL;
        rc = version_open_chain_on_thread(job->version, &graphs, &tried, &job->err);
        pith_chain_close(tried);
    }
    version_close_graphs(&graphs);
    return rc;
}

static int open_original(struct job *job)
{
    struct version_graphs graphs = {0};
    int rc = version_open_graphs_on_thread(job->version, VERSION_ORIGINAL, job->max_bytes, &graphs,
                                           &job->err);

    if (rc == 0)
        rc = version_open_chain_on_thread(job->version, &graphs, &job->original, &job->err);
    version_close_graphs(&graphs);
    return rc;
}

static void run_on_thread(uv_work_t *work)
{
    struct job *job = (struct job *) work;

    if (job->kind == JOB_ACTIVATE)
        job->rc = version_load_on_thread(job->version, job->pipelines->daemon->plugins, &job->err);
    if (job->rc == 0)
        job->rc = job->kind == JOB_ORIGINAL ? open_original(job) : open_chains(job);
    (void) malloc_trim(0); /* reading a model takes memory that serving it doesn't */
}

/* ---- back on the loop ---- */

void instance_swap(struct instance *instance, struct pith_chain *chain, struct version *version,
                   void *user)
{
    struct stream_message *message = calloc(1, sizeof *message);

    if (!message) { /* nothing can be undone from here: the service is started anew, and resumes */
        log_error("out_of_memory", "where=pipelines");
        abort();
    }
    message->lane.hold = chain ? LANE_RELEASE : LANE_HOLD;
    message->kind = STREAM_SWAP;
    message->chain = chain;
    message->version = version;
    message->user = user;
    if (version) {
        version_keep(version); /* the stream's, until it is swapped out */
        version_keep(version); /* the instance's */
    }
    version_drop(instance->version);
    instance->version = version;
    lane_stream_send(instance->lane, &message->lane);
}

static void job_free(struct job *job)
{
    version_drop(job->version);
    free(job->parts);
    free(job);
}

static void tell_done(struct job *job)
{
    if (job->done)
        job->done(job->user, job->rc, &job->err);
    job_free(job);
}

void pipelines_swapped(struct instance *instance, void *user)
{
    struct job *job = user;

    (void) instance;
    if (job && --job->swap_count == 0)
        tell_done(job);
}

/* The chains go to those instances that are still there; the rest is closed. */
static void hand_out(struct job *job)
{
    bool keep = job->rc == 0;

    for (size_t i = 0; i < job->part_count; i++) {
        struct part *part = &job->parts[i];
        struct instance *instance = part->instance;
        instance->job_count--;
        instance->opening = false;
        if (keep && !instance->closing) {
            job->swap_count++;
            instance_swap(instance, part->chain, job->version,
                          job->kind == JOB_ACTIVATE ? job : NULL);
        } else {
            pith_chain_close(part->chain);
        }
        instance_drop_if_done(instance);
    }
}

static void finish_activate(struct job *job)
{
    struct pipelines *pipelines = job->pipelines;
    struct model *model = model_get(pipelines, job->version->model);

    if (job->rc == 0 && !model)
        job->rc = -ENOMEM;
    hand_out(job);
    if (job->rc == 0) {
        version_keep(job->version);
        version_drop(model->current);
        model->current = job->version;
        log_notice("model_active", "model=%s version=%s variant=%s streams=%zu took_ms=%llu",
                   job->version->model, job->version->name, job->version->variant, job->part_count,
                   (unsigned long long) (pith_monotonic_ns() - job->started_ns) / 1000000);
        pipelines_listen(pipelines, model);
        pipelines_catch_up(pipelines, model);
    }
    if (job->swap_count == 0)
        tell_done(job);
}

static void finish_catch_up(struct job *job)
{
    struct model *model = model_find(job->pipelines, job->version->model);
    bool failed = job->rc < 0;

    if (!failed && model->current != job->version)
        job->rc = -ESTALE; /* another came meanwhile: it is opened in turn */
    if (failed && job->part_count > 0)
        log_error("pipeline_not_running", "pipeline=%s model=%s reason=\"%s\"",
                  job->parts[0].pipeline_name, job->version->model, pith_error_text(&job->err));
    hand_out(job);
    if (!failed)
        pipelines_catch_up(job->pipelines, model);
    job_free(job);
}

static void finish_original(struct job *job)
{
    struct instance *instance = job->instance;
    struct stream_message *message = instance->closing ? NULL : calloc(1, sizeof *message);

    if (job->rc < 0)
        log_warn("original_not_opened",
                 "pipeline=%s model=%s reason=\"%s\" effect=\"fidelity is not measured\"",
                 instance->pipeline->name, job->version->model, pith_error_text(&job->err));
    if (message) {
        message->lane.hold = LANE_HOLD_KEEP;
        message->kind = STREAM_ORIGINAL;
        message->original = job->original;
        lane_stream_send(instance->lane, &message->lane);
    } else {
        pith_chain_close(job->original);
    }
    instance->job_count--;
    instance_drop_if_done(instance);
    job_free(job);
}

static void run_done(uv_work_t *work, int status)
{
    struct job *job = (struct job *) work;
    struct pipelines *pipelines = job->pipelines;

    if (status < 0 && job->rc == 0)
        job->rc = status;
    pipelines->job_runs = false;
    pipelines->jobs = job->next;
    if (!pipelines->jobs)
        pipelines->jobs_end = &pipelines->jobs;
    switch (job->kind) {
    case JOB_ACTIVATE:
        finish_activate(job);
        break;
    case JOB_CATCH_UP:
        finish_catch_up(job);
        break;
    case JOB_ORIGINAL:
        finish_original(job);
        break;
    }
    daemon_settle(pipelines->daemon);
    start_first(pipelines);
    pipelines_close_if_done(pipelines);
}

/* ---- making jobs ---- */

static void finish_unrun(struct job *job, int rc)
{
    job->rc = pith_fail(&job->err, rc, "the daemon is stopping");
    if (job->kind == JOB_ORIGINAL)
        finish_original(job);
    else if (job->kind == JOB_ACTIVATE)
        tell_done(job);
    else
        job_free(job);
}

/* Those of the model's instances that don't run the version; each counts the job as one that points
 * to it. */
static int gather_parts(struct job *job)
{
    size_t capacity = 0;

    for (struct pipeline *pipeline = job->pipelines->list; pipeline; pipeline = pipeline->next)
        capacity += pipeline->instance_count;
    job->parts = calloc(capacity + 1, sizeof *job->parts);
    if (!job->parts)
        return -ENOMEM;
    for (struct pipeline *pipeline = job->pipelines->list; pipeline; pipeline = pipeline->next) {
        if (pipeline->closing || strcmp(pipeline->model, job->version->model) != 0)
            continue;
        for (struct instance *instance = pipeline->instances; instance; instance = instance->next) {
            if (instance->closing || instance->opening || instance->version == job->version)
                continue;
            instance->opening = true;
            instance->job_count++;
            job->parts[job->part_count++] = (struct part){.instance = instance,
                                                          .pipeline_name = pipeline->name,
                                                          .codec_stream = instance->codec_stream};
        }
    }
    return 0;
}

static void start_first(struct pipelines *pipelines)
{
    struct job *job = pipelines->jobs;
    int rc;

    if (!job || pipelines->job_runs || pipelines->closing)
        return;
    pipelines->job_runs = true;
    job->started_ns = pith_monotonic_ns();
    job->max_bytes = pipelines->daemon->config->model_max_bytes;
    rc = job->kind == JOB_ORIGINAL ? 0 : gather_parts(job);
    if (rc < 0)
        job->rc = rc;
    rc = uv_queue_work(pipelines->daemon->loop, &job->work, run_on_thread, run_done);
    if (rc < 0) /* only where the callback is missing: our own mistake */
        abort();
}

static struct job *add_job(struct pipelines *pipelines, enum job_kind kind, struct version *version)
{
    struct job *job = calloc(1, sizeof *job);

    if (!job)
        return NULL;
    job->pipelines = pipelines;
    job->kind = kind;
    job->version = version;
    version_keep(version);
    *pipelines->jobs_end = job;
    pipelines->jobs_end = &job->next;
    return job;
}

void pipelines_activate(struct pipelines *pipelines, const struct pipelines_version *from,
                        void (*done)(void *user, int status, const struct pith_error *err),
                        void *user)
{
    struct version *version = pipelines->closing ? NULL : version_new(from);
    struct job *job = version ? add_job(pipelines, JOB_ACTIVATE, version) : NULL;
    struct pith_error err = {0};

    version_drop(version); /* the job has its own reference */
    if (!job) {
        int rc = pipelines->closing ? pith_fail(&err, -ECANCELED, "the daemon is stopping")
                                    : pith_fail(&err, -ENOMEM, "out of memory");
        done(user, rc, &err);
        return;
    }
    job->done = done;
    job->user = user;
    start_first(pipelines);
}

void pipelines_catch_up(struct pipelines *pipelines, const struct model *model)
{
    bool behind = false;
    struct job *job;

    if (!model || !model->current || pipelines->closing)
        return;
    for (struct pipeline *pipeline = pipelines->list; pipeline; pipeline = pipeline->next)
        for (struct instance *instance = pipeline->instances; instance; instance = instance->next)
            behind |= !pipeline->closing && !instance->closing && !instance->opening &&
                      strcmp(pipeline->model, model->name) == 0 &&
                      instance->version != model->current;
    if (!behind)
        return;
    job = add_job(pipelines, JOB_CATCH_UP, model->current);
    if (job)
        start_first(pipelines);
}

void pipelines_open_original(struct instance *instance)
{
    struct pipelines *pipelines = instance->pipeline->pipelines;
    struct job *job;

    if (pipelines->closing || instance->closing || !instance->version)
        return;
    job = add_job(pipelines, JOB_ORIGINAL, instance->version);
    if (!job)
        return;
    job->instance = instance;
    instance->job_count++;
    start_first(pipelines);
}

void pipelines_remove(struct pipelines *pipelines, const char *name)
{
    struct model *model = model_find(pipelines, name);

    if (!model || !model->current)
        return;
    version_drop(model->current);
    model->current = NULL;
    pipelines_listen(pipelines, model);
    for (struct pipeline *pipeline = pipelines->list; pipeline; pipeline = pipeline->next)
        for (struct instance *instance = pipeline->instances; instance; instance = instance->next)
            if (!instance->closing && strcmp(pipeline->model, name) == 0)
                instance_swap(instance, NULL, NULL, NULL);
    samples_forget(pipelines->daemon->samples, name);
    log_notice("model_removed", "model=%s", name);
}

void pipelines_cancel_jobs(struct pipelines *pipelines)
{
    struct job *job = pipelines->jobs, *rest;

    if (!job)
        return;
    rest = job->next; /* the first is on its thread: it ends by itself */
    job->next = NULL;
    pipelines->jobs_end = &job->next;
    while (rest) {
        struct job *next = rest->next;
        finish_unrun(rest, -ECANCELED);
        rest = next;
    }
}
