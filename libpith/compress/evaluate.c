/* Evaluation. The chain is the one that runs live, so windows, hold-off and smoothing are part of
 * what is judged. */
#include "libpith/compress/evaluate.h"

#include "libpith/compress/statistics.h"
#include "libpith/formats/npy.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TRACE_MAX     (4 << 20) /* scores, 16 MiB: what comes later is not compared */
#define LATENCIES_MAX (1 << 17)

/* ---- data ---- */

static bool is_integer(int32_t dtype)
{
    return dtype == PITH_INT8 || dtype == PITH_UINT8 || dtype == PITH_INT16 ||
           dtype == PITH_UINT16 || dtype == PITH_INT32 || dtype == PITH_UINT32 ||
           dtype == PITH_INT64 || dtype == PITH_BOOL;
}

int pith_dataset_open(struct pith_dataset *out, const char *x_path, const char *y_path,
                      struct pith_error *err)
{
    struct pith_dataset made = {0};
    int rc = pith_npy_read(&made.x, x_path, err);

    if (rc == 0 && (made.x.shape.rank < 1 || made.x.shape.dim[0] < 1))
        rc = pith_fail(err, -EBADMSG, "%s: holds no samples; its first dimension must count them",
                       x_path);
    if (rc == 0 && y_path)
        rc = pith_npy_read(&made.y, y_path, err);
    if (rc == 0 && y_path &&
        (made.y.shape.rank != 1 || made.y.shape.dim[0] != made.x.shape.dim[0] ||
         !is_integer(made.y.dtype)))
        rc = pith_fail(err, -EBADMSG, "%s: labels must be %lld integers, one a sample", y_path,
                       (long long) made.x.shape.dim[0]);
    if (rc < 0) {
        pith_dataset_close(&made);
        return rc;
    }
    made.count = (uint64_t) made.x.shape.dim[0];
    made.labelled = y_path != NULL;
    *out = made;
    return 0;
}

void pith_dataset_close(struct pith_dataset *dataset)
{
    pith_tensor_free(&dataset->x);
    pith_tensor_free(&dataset->y);
    *dataset = (struct pith_dataset){0};
}

/* Dimensions between the sample's and the row's: 0 or 1. */
static bool row_fits(const struct pith_shape *x, const struct pith_shape *row, uint32_t between)
{
    if (x->rank != 1 + between + row->rank)
        return false;
    for (uint32_t i = 0; i < row->rank; i++)
        if (x->dim[1 + between + i] != row->dim[i])
            return false;
    return true;
}

int pith_dataset_check(const struct pith_dataset *dataset, const struct pith_manifest *manifest,
                       struct pith_error *err)
{
    char x[PITH_SHAPE_TEXT_BYTES], row[PITH_SHAPE_TEXT_BYTES];

    if (row_fits(&dataset->x.shape, &manifest->input_row, 0) ||
        row_fits(&dataset->x.shape, &manifest->input_row, 1))
        return 0;
    return pith_fail(err, -EBADMSG,
                     "data of shape %s doesn't hold samples of rows %s, which the model takes: "
                     "it must be [samples, rows, ...row] or [samples, ...row]",
                     pith_shape_text(&dataset->x.shape, x, sizeof x),
                     pith_shape_text(&manifest->input_row, row, sizeof row));
}

void pith_dataset_rows(const struct pith_dataset *dataset, const struct pith_manifest *manifest,
                       uint64_t index, struct pith_tensor *out)
{
    const struct pith_tensor *x = &dataset->x;
    uint32_t between = row_fits(&x->shape, &manifest->input_row, 1) ? 1 : 0;
    size_t bytes = x->bytes / (size_t) x->shape.dim[0];
    int64_t dims[PITH_MAX_RANK] = {1};

    for (uint32_t i = 1; i < x->shape.rank; i++)
        dims[i - between] = x->shape.dim[i];
    *out = (struct pith_tensor){
        .dtype = x->dtype,
        .shape = pith_shape_of(x->shape.rank - between, dims),
        .data = (uint8_t *) x->data + index * bytes,
        .bytes = bytes,
    };
}

/* ---- running ---- */

void pith_outcomes_done(struct pith_outcomes *outcomes)
{
    free(outcomes->decisions);
    free(outcomes->right);
    free(outcomes->trace);
    free(outcomes->latencies_ns);
    *outcomes = (struct pith_outcomes){0};
}

/* Room for `more` entries; doubles. */
static int make_room(void **items, size_t item_bytes, size_t count, size_t more, size_t *capacity)
{
    size_t wanted = *capacity ? *capacity : 256;
    void *moved;

    if (count + more <= *capacity)
        return 0;
    while (wanted < count + more)
        wanted *= 2;
    moved = realloc(*items, wanted * item_bytes);
    if (!moved)
        return -ENOMEM;
    *items = moved;
    *capacity = wanted;
    return 0;
}

struct listening { /* to the results of one sample */
    struct pith_outcomes *outcomes;
    bool decides;
    uint64_t fired;
    uint64_t best; /* 1 + the label of the greatest score of the last result */
};

static int keep_scores(struct pith_outcomes *outcomes, const float *scores, size_t count,
                       size_t stride)
{
    int rc;

    if (outcomes->trace_count + count > TRACE_MAX)
        return 0;
    rc = make_room((void **) &outcomes->trace, sizeof *outcomes->trace, outcomes->trace_count,
                   count, &outcomes->trace_capacity);
    for (size_t i = 0; rc == 0 && i < count; i++)
        memcpy(&outcomes->trace[outcomes->trace_count++], (const char *) scores + i * stride,
               sizeof(float));
    return rc;
}

static int listen(void *user, const struct pith_result *result)
{
    struct listening *listening = user;
    struct pith_outcomes *outcomes = listening->outcomes;
    int rc = 0;

    if (result->fired >= 0)
        listening->fired |= UINT64_C(1) << (result->fired < 63 ? result->fired : 63);
    listening->best = 0;
    for (size_t i = 0; i < result->score_count; i++)
        if (listening->best == 0 ||
            result->scores[i].score > result->scores[listening->best - 1].score)
            listening->best = i + 1;
    if (result->output && result->output->dtype == PITH_FLOAT32)
        rc = keep_scores(outcomes, result->output->data, result->output->bytes / sizeof(float),
                         sizeof(float));
    else if (result->score_count > 0)
        rc = keep_scores(outcomes, &result->scores[0].score, result->score_count,
                         sizeof *result->scores);
    if (rc == 0 && outcomes->latency_count < LATENCIES_MAX)
        rc = make_room((void **) &outcomes->latencies_ns, sizeof *outcomes->latencies_ns,
                       outcomes->latency_count, 1, &outcomes->latency_capacity);
    if (rc < 0)
        return rc;
    if (outcomes->latency_count < LATENCIES_MAX)
        outcomes->latencies_ns[outcomes->latency_count++] = result->latency_ns;
    outcomes->cpu_ns += result->cpu_ns;
    outcomes->results++;
    return 0;
}

static uint64_t expected_decision(int64_t label, size_t labels, bool decides)
{
    if (label < 0 || (uint64_t) label >= labels)
        return 0;
    return decides ? UINT64_C(1) << (label < 63 ? label : 63) : (uint64_t) label + 1;
}

static int append(struct pith_outcomes *outcomes, uint64_t decision, bool labelled, bool right)
{
    size_t bytes = (outcomes->count + 1) * sizeof *outcomes->decisions;
    uint64_t *decisions = realloc(outcomes->decisions, bytes), *rights;

    if (!decisions)
        return -ENOMEM;
    outcomes->decisions = decisions;
    rights = realloc(outcomes->right, bytes);
    if (!rights)
        return -ENOMEM;
    outcomes->right = rights;
    outcomes->labelled = labelled;
    decisions[outcomes->count] = decision;
    rights[outcomes->count] = right;
    outcomes->count++;
    return 0;
}

int pith_evaluate_sample(struct pith_chain *chain, const struct pith_manifest *manifest,
                         const struct pith_dataset *dataset, uint64_t index,
                         struct pith_outcomes *outcomes, struct pith_error *err)
{
    struct listening listening = {.outcomes = outcomes};
    struct pith_tensor rows;
    int rc;

    listening.decides = manifest->stage_count > 0 &&
                        manifest->stages[manifest->stage_count - 1].kind == PITH_STAGE_DECIDE;
    pith_dataset_rows(dataset, manifest, index, &rows);
    pith_chain_reset(chain);
    rc = pith_chain_feed(chain, &rows, listen, &listening, err);
    if (rc < 0)
        return pith_fail_in(err, rc, "sample %llu", (unsigned long long) index);
    uint64_t decision = listening.decides ? listening.fired : listening.best;
    bool right = dataset->labelled &&
                 decision == expected_decision(pith_tensor_get_int(&dataset->y, (int64_t) index),
                                               pith_chain_score_count(chain), listening.decides);

    return append(outcomes, decision, dataset->labelled, right);
}

/* ---- comparing ---- */

double pith_outcomes_error(const struct pith_outcomes *a, const struct pith_outcomes *b)
{
    size_t count = a->trace_count < b->trace_count ? a->trace_count : b->trace_count;
    double sum = 0;

    for (size_t i = 0; i < count; i++) {
        double difference = (double) b->trace[i] - (double) a->trace[i];

        sum += difference * difference;
    }
    return sum;
}

double pith_outcomes_spread(const struct pith_outcomes *a, size_t count)
{
    double sum = 0, squares = 0;

    for (size_t i = 0; i < count; i++) {
        double x = (double) a->trace[i];

        sum += x;
        squares += x * x;
    }
    return count == 0 ? 0 : fmax(fmax(squares - sum * sum / (double) count, 1e-6 * squares), 1e-30);
}

static double trace_error(const struct pith_outcomes *a, const struct pith_outcomes *b)
{
    size_t count = a->trace_count < b->trace_count ? a->trace_count : b->trace_count;
    double differences = pith_outcomes_error(a, b);

    if (count == 0)
        return NAN;
    return differences == 0 ? 0 : sqrt(differences / pith_outcomes_spread(a, count));
}

void pith_comparison_complete(struct pith_comparison *comparison)
{
    pith_wilson(comparison->right_a, comparison->samples, &comparison->accuracy_low_a,
                &comparison->accuracy_high_a);
    pith_wilson(comparison->right_b, comparison->samples, &comparison->accuracy_low_b,
                &comparison->accuracy_high_b);
    comparison->mcnemar_p = pith_mcnemar(comparison->only_a, comparison->only_b);
}

void pith_outcomes_compare(const struct pith_outcomes *a, const struct pith_outcomes *b,
                           struct pith_comparison *out)
{
    *out = (struct pith_comparison){.samples = a->count < b->count ? a->count : b->count,
                                    .labelled = a->labelled && b->labelled};
    out->seen = out->samples;
    for (uint64_t i = 0; i < out->samples; i++) {
        out->same += a->decisions[i] == b->decisions[i];
        out->right_a += a->right[i];
        out->right_b += b->right[i];
        out->only_a += a->right[i] && !b->right[i];
        out->only_b += b->right[i] && !a->right[i];
    }
    pith_comparison_complete(out);
    out->error_ratio = trace_error(a, b);
}

void pith_outcomes_latency(struct pith_outcomes *outcomes, double *out_p50_us, double *out_p95_us,
                           double *out_cpu_us)
{
    *out_p50_us = *out_p95_us = *out_cpu_us = NAN;
    if (outcomes->results == 0 || outcomes->latency_count == 0)
        return;
    *out_p50_us = pith_quantile(outcomes->latencies_ns, outcomes->latency_count, 0.5) / 1000;
    *out_p95_us = pith_quantile(outcomes->latencies_ns, outcomes->latency_count, 0.95) / 1000;
    *out_cpu_us = (double) outcomes->cpu_ns / (double) outcomes->results / 1000;
}
