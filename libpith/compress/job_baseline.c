/* What the original decides on the samples that forms are judged by: run once a job, and kept in
 * the folder. */
#include "libpith/compress/job_parts.h"

#include "libpith/formats/npy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct pith_dataset *job_evaluation_data(struct job *job)
{
    return job->data.count > 0 ? &job->data : &job->calibration;
}

/* ---- the folder ---- */

static void array_path(const struct job *job, const char *name, char path[PATH_MAX])
{
    job_path(job, path, "step/baseline-%s.npy", name);
}

static int save_array(const struct job *job, const char *name, int32_t dtype, const void *data,
                      size_t count, struct pith_error *err)
{
    struct pith_shape shape = pith_shape_of(1, (int64_t[]){(int64_t) count});
    char path[PATH_MAX];

    array_path(job, name, path);
    if (count == 0)
        return 0;
    /* The tensor is only read. */
    const struct pith_tensor tensor = {.dtype = dtype,
                                       .shape = shape,
                                       .data = (void *) (uintptr_t) data,
                                       .bytes = (size_t) pith_tensor_bytes(dtype, &shape)};

    return pith_npy_write(path, &tensor, err);
}

static int load_array(const struct job *job, const char *name, int32_t dtype, size_t count,
                      void **out, struct pith_error *err)
{
    struct pith_tensor tensor = {0};
    char path[PATH_MAX];
    int rc;

    if (count == 0)
        return 0;
    array_path(job, name, path);
    rc = pith_npy_read(&tensor, path, err);
    if (rc == 0 && (tensor.dtype != dtype || tensor.shape.rank != 1 ||
                    (uint64_t) tensor.shape.dim[0] != count))
        rc = pith_fail(err, -EBADMSG, "%s doesn't hold what its record says", path);
    if (rc == 0) {
        *out = malloc(tensor.bytes);
        if (*out)
            memcpy(*out, tensor.data, tensor.bytes);
        else
            rc = -ENOMEM;
    }
    pith_tensor_free(&tensor);
    return rc;
}

static int save(struct job *job, struct pith_error *err)
{
    const struct pith_outcomes *made = &job->baseline;
    json_t *record =
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:b}", "samples", (json_int_t) made->count, "trace",
                  (json_int_t) made->trace_count, "latencies", (json_int_t) made->latency_count,
                  "results", (json_int_t) made->results, "cpu_ns", (json_int_t) made->cpu_ns,
                  "labelled", made->labelled);
    int rc = record ? 0 : -ENOMEM;

    if (rc == 0)
        rc = save_array(job, "decisions", PITH_INT64, made->decisions, made->count, err);
    if (rc == 0)
        rc = save_array(job, "right", PITH_INT64, made->right, made->count, err);
    if (rc == 0)
        rc = save_array(job, "trace", PITH_FLOAT32, made->trace, made->trace_count, err);
    if (rc == 0)
        rc = save_array(job, "latencies", PITH_INT64, made->latencies_ns, made->latency_count, err);
    if (rc == 0)
        rc = job_record(job, "baseline", record, err);
    json_decref(record);
    return rc;
}

static uint64_t whole(const json_t *record, const char *key)
{
    return (uint64_t) json_integer_value(json_object_get(record, key));
}

static int load(struct job *job, const json_t *record, struct pith_error *err)
{
    struct pith_outcomes loaded = {
        .count = whole(record, "samples"),
        .trace_count = whole(record, "trace"),
        .latency_count = whole(record, "latencies"),
        .results = whole(record, "results"),
        .cpu_ns = whole(record, "cpu_ns"),
        .labelled = json_is_true(json_object_get(record, "labelled")),
    };
    int rc =
        load_array(job, "decisions", PITH_INT64, loaded.count, (void **) &loaded.decisions, err);

    if (rc == 0)
        rc = load_array(job, "right", PITH_INT64, loaded.count, (void **) &loaded.right, err);
    if (rc == 0)
        rc = load_array(job, "trace", PITH_FLOAT32, loaded.trace_count, (void **) &loaded.trace,
                        err);
    if (rc == 0)
        rc = load_array(job, "latencies", PITH_INT64, loaded.latency_count,
                        (void **) &loaded.latencies_ns, err);
    loaded.trace_capacity = loaded.trace_count;
    loaded.latency_capacity = loaded.latency_count;
    if (rc == 0)
        job->baseline = loaded;
    else
        pith_outcomes_done(&loaded);
    return rc;
}

/* ---- running ---- */

int job_run_chain(struct job *job, const size_t *levels, struct pith_outcomes *outcomes,
                  job_enough *enough, void *user, const char *text, struct pith_error *err)
{
    struct pith_dataset *data = job_evaluation_data(job);
    struct pith_chain *chain = NULL;
    int rc = job_open_chain(job, levels, NULL, true, &chain, err);

    for (uint64_t i = 0; rc == 0 && i < data->count; i++) {
        rc = job_check_cancelled(job, err);
        if (rc == 0)
            rc = pith_evaluate_sample(chain, job->manifest, data, i, outcomes, NULL, err);
        if (job->options->progress)
            job->options->progress(job->options->user, job->state,
                                   job->done_from + (job->done_to - job->done_from) *
                                                        (double) (i + 1) / (double) data->count,
                                   text);
        if (rc == 0 && enough && enough(user, outcomes))
            break;
    }
    pith_chain_close(chain);
    return rc;
}

int job_baseline(struct job *job, struct pith_error *err)
{
    json_t *record = NULL;
    int rc;

    if (job->baseline.count > 0 || job_evaluation_data(job)->count == 0)
        return 0;
    rc = job_recall(job, "baseline", &record, err);
    if (rc == 0 && record) {
        rc = load(job, record, err);
    } else if (rc == 0) {
        rc = job_run_chain(job, NULL, &job->baseline, NULL, NULL, "running the original", err);
        if (rc == 0)
            rc = save(job, err);
    }
    json_decref(record);
    return rc;
}
