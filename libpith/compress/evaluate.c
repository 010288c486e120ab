/* Evaluation. The chain is the one that runs live, so windows, hold-off and smoothing are part of
 * what is judged. */
#include "libpith/compress/evaluate.h"

#include "libpith/compress/statistics.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TRACE_MAX     (4 << 20) /* scores, 16 MiB: what comes later is not compared */
#define LATENCIES_MAX (1 << 17)
#define SINGLE_LIMIT  0.5f      /* a model of one score says class 1 from here on, as metrics have it */

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
    uint64_t best;              /* 1 + the class that the last result's scores say */
    struct pith_metric *metric; /* NULL: none */
    const struct pith_sample *sample;
    struct pith_error *err;
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

/* A metric sees the last graph's outputs, or the heads' scores as one. */
static int show_metric(const struct listening *listening, const struct pith_result *result)
{
    float scores[PITH_MANIFEST_MAX_GRAPHS];
    size_t count = result->score_count < PITH_MANIFEST_MAX_GRAPHS ? result->score_count
                                                                  : PITH_MANIFEST_MAX_GRAPHS;
    struct pith_shape shape = pith_shape_of(1, (int64_t[]){(int64_t) count});
    struct pith_tensor heads = {
        .dtype = PITH_FLOAT32, .shape = shape, .data = scores, .bytes = count * sizeof *scores};

    if (!listening->metric)
        return 0;
    if (result->output)
        return pith_metric_see(listening->metric, listening->sample, result->output,
                               result->output_count, listening->err);
    for (size_t i = 0; i < count; i++)
        scores[i] = result->scores[i].score;
    return pith_metric_see(listening->metric, listening->sample, &heads, 1, listening->err);
}

/* 1 + the class that has the greatest score; of one score, whether it is class 0 or 1. */
static uint64_t best_of(const struct pith_score *scores, size_t count)
{
    uint64_t best = 0;

    if (count == 1)
        return 1 + (scores[0].score >= SINGLE_LIMIT);
    for (size_t i = 0; i < count; i++)
        if (best == 0 || scores[i].score > scores[best - 1].score)
            best = i + 1;
    return best;
}

static int listen(void *user, const struct pith_result *result)
{
    struct listening *listening = user;
    struct pith_outcomes *outcomes = listening->outcomes;
    int rc = 0;

    if (result->fired >= 0)
        listening->fired |= UINT64_C(1) << (result->fired < 63 ? result->fired : 63);
    listening->best = best_of(result->scores, result->score_count);
    if (result->output && result->output->dtype == PITH_FLOAT32)
        rc = keep_scores(outcomes, result->output->data, result->output->bytes / sizeof(float),
                         sizeof(float));
    else if (result->score_count > 0)
        rc = keep_scores(outcomes, &result->scores[0].score, result->score_count,
                         sizeof *result->scores);
    if (rc == 0)
        rc = show_metric(listening, result);
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

static uint64_t expected_decision(int64_t label, size_t scores, bool decides)
{
    size_t labels = scores == 1 && !decides ? 2 : scores;

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
                         struct pith_dataset *dataset, uint64_t index,
                         struct pith_outcomes *outcomes, struct pith_metric *metric,
                         struct pith_error *err)
{
    struct listening listening = {.outcomes = outcomes, .metric = metric, .err = err};
    struct pith_tensor rows;
    int rc;

    listening.decides = manifest->stage_count > 0 &&
                        manifest->stages[manifest->stage_count - 1].kind == PITH_STAGE_DECIDE;
    rc = pith_dataset_read(dataset, index, &listening.sample, err);
    if (rc == 0)
        rc = pith_sample_rows(listening.sample, manifest, &rows, err);
    if (rc == 0 && metric && pith_metric_begin(metric) < 0)
        rc = pith_fail(err, -ENOMEM, "no memory for a metric");
    if (rc == 0) {
        pith_chain_reset(chain);
        rc = pith_chain_feed(chain, &rows, listen, &listening, err);
    }
    if (rc < 0)
        return pith_fail_in(err, rc, "sample %llu", (unsigned long long) index);
    bool labelled = dataset->labels == PITH_LABEL_CLASS;
    outcomes->scoreless = pith_chain_score_count(chain) == 0;
    uint64_t decision = listening.decides ? listening.fired : listening.best;
    bool right =
        labelled && decision == expected_decision(listening.sample->class_index,
                                                  pith_chain_score_count(chain), listening.decides);

    return append(outcomes, decision, labelled, right);
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
                                    .labelled = a->labelled && b->labelled,
                                    .scoreless = b->scoreless};
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

static bool has_error(const struct pith_comparison *comparison)
{
    return comparison->seen == comparison->samples && isfinite(comparison->error_ratio);
}

bool pith_comparison_is_nearer(const struct pith_comparison *a, const struct pith_comparison *b)
{
    int ahead = has_error(a) && has_error(b) ? pith_surely_more(a->same, b->same)
                                             : (a->same > b->same) - (a->same < b->same);

    return ahead != 0 ? ahead > 0 : a->error_ratio < b->error_ratio;
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
