/* Two forms in turn: of one graph on every engine, and of the whole chain over the samples. So a
 * machine that warms up or is shared treats both alike. */
#include "libpith/compress/job_turns.h"

#include "libpith/base/clock.h"

#include <string.h>

#define GRAPH_LIMIT_MS 500 /* for timing one graph on all engines */

/* The fastest of every `step`th contender, from `first`. */
static size_t fastest(const struct pith_contender *contenders, size_t count, size_t first,
                      size_t step)
{
    size_t best = first;

    for (size_t i = first; i < count; i += step)
        if (contenders[i].timing.supported &&
            (!contenders[best].timing.supported ||
             contenders[i].timing.latency_p50_us < contenders[best].timing.latency_p50_us))
            best = i;
    return best;
}

int job_time_graph(const struct job *job, size_t index, size_t level, struct job_timing *out,
                   struct pith_error *err)
{
    const struct job_graph *graph = &job->graphs[index];
    struct pith_tensor inputs[PITH_SAMPLES_MAX_INPUTS];
    struct pith_technique_host host = {0};
    int rc;

    *out = (struct job_timing){.sides = level + 1 >= job->level_count ? 1 : 2};
    if (graph->samples.count == 0)
        return 0; /* no stage reaches this graph, so there is nothing to time it with */
    pith_technique_host_init(&host);
    out->count = out->sides * job->engine_count;
    for (size_t i = 0; i < graph->samples.input_count; i++)
        pith_samples_get(&graph->samples, 0, i, &inputs[i]);
    for (size_t i = 0; i < out->count; i++)
        out->contenders[i] = (struct pith_contender){
            .engine = job->engines[i / out->sides].ops,
            .options = job->engines[i / out->sides].options.values,
            .graph = i % out->sides ? job_form_graph(job, index, level) : graph->original,
        };
    rc = pith_measure_latency(&host.host, out->contenders, out->count, inputs,
                              graph->samples.input_count, (uint32_t) job->settings.threads,
                              (uint32_t) job->settings.latency_runs, GRAPH_LIMIT_MS, err);
    if (rc < 0)
        return rc;
    out->best[0] = fastest(out->contenders, out->count, 0, out->sides);
    out->best[1] = fastest(out->contenders, out->count, out->sides - 1, out->sides);
    return 0;
}

int job_pair_open(struct job *job, const size_t *levels, const struct job_pair_engines *engines,
                  struct job_pair *out, struct pith_error *err)
{
    int rc = job_open_chain(job, NULL, engines->original, false, &out->chain[0], err);

    return rc < 0 ? rc : job_open_chain(job, levels, engines->variant, false, &out->chain[1], err);
}

int job_pair_run(struct job *job, struct job_pair *pair, uint64_t limit_ms, const char *text,
                 struct pith_error *err)
{
    struct pith_dataset *data = job_evaluation_data(job);
    uint64_t start = pith_monotonic_ns();
    int rc = 0;

    for (uint64_t i = 0; rc == 0 && i < data->count; i++) {
        if (i > 0 && limit_ms > 0 && pith_monotonic_ns() - start > limit_ms * 1000000)
            break;
        rc = job_check_cancelled(job, err);
        for (uint64_t side = 0; rc == 0 && side < 2; side++)
            rc = pith_evaluate_sample(pair->chain[(i + side) % 2], job->manifest, data, i,
                                      &pair->outcomes[(i + side) % 2], NULL, err);
        if (job->options->progress)
            job->options->progress(job->options->user, job->state,
                                   job->done_from + (job->done_to - job->done_from) *
                                                        (double) (i + 1) / (double) data->count,
                                   text);
    }
    return rc;
}

void job_pair_done(struct job_pair *pair)
{
    for (int side = 0; side < 2; side++) {
        pith_chain_close(pair->chain[side]);
        pith_outcomes_done(&pair->outcomes[side]);
    }
    *pair = (struct job_pair){0};
}
