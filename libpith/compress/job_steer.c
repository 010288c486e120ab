/* Budgets of time and energy: where a result takes longer than it may, the graph moves to the form
 * that saves most, if decisions and bytes stay within theirs. Measured figures differ from run to
 * run, so each is recorded before it is acted on, and a job that goes on acts on the record. */
#include "libpith/compress/job_candidates.h"
#include "libpith/compress/job_turns.h"

#include "libpith/base/clock.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define MOST_LEVELS   64   /* as many as a word has bits; ladders have some six */
#define COST_LIMIT_MS 1000 /* for timing a candidate beside the original */

struct cost { /* of one result, median and mean; NAN where nothing tells */
    double latency_us, cpu_us, original_latency_us, original_cpu_us;
};

/* ---- records ---- */

static double number_at(const json_t *record, const char *key)
{
    const json_t *number = json_object_get(record, key);

    return json_is_number(number) ? json_number_value(number) : NAN;
}

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static void cost_read(struct cost *out, const json_t *record)
{
    *out = (struct cost){.latency_us = number_at(record, "latency_p50_us"),
                         .cpu_us = number_at(record, "cpu_us"),
                         .original_latency_us = number_at(record, "original_latency_p50_us"),
                         .original_cpu_us = number_at(record, "original_cpu_us")};
}

static json_t *cost_json(const struct cost *cost)
{
    return json_pack("{so so so so}", "latency_p50_us", number(cost->latency_us), "cpu_us",
                     number(cost->cpu_us), "original_latency_p50_us",
                     number(cost->original_latency_us), "original_cpu_us",
                     number(cost->original_cpu_us));
}

/* ---- one graph ---- */

static const struct job_engine *engine_named(const struct job *job, const json_t *record,
                                             const char *key, const struct job_engine *otherwise)
{
    const char *name = json_string_value(json_object_get(record, key));

    for (size_t i = 0; name && i < job->engine_count; i++)
        if (!strcmp(job->engines[i].plugin->name, name))
            return &job->engines[i];
    return otherwise;
}

static int time_graph(struct job *job, size_t graph, size_t level, json_t **out,
                      struct pith_error *err)
{
    struct job_timing timing;
    struct cost cost;
    int rc = job_time_graph(job, graph, level, &timing, err);

    if (rc < 0)
        return rc;
    if (timing.count == 0) { /* nothing to time it with: nothing is told */
        *out = json_object();
        return *out ? 0 : -ENOMEM;
    }
    const struct pith_contender *original = &timing.contenders[timing.best[0]],
                                *form = &timing.contenders[timing.best[1]];

    cost = (struct cost){.latency_us = form->timing.latency_p50_us,
                         .cpu_us = form->timing.cpu_us,
                         .original_latency_us = original->timing.latency_p50_us,
                         .original_cpu_us = original->timing.cpu_us};
    *out = cost_json(&cost);
    if (!*out)
        return -ENOMEM;
    (void) json_object_set_new(
        *out, "engine", json_string(job->engines[timing.best[1] / timing.sides].plugin->name));
    (void) json_object_set_new(
        *out, "original_engine",
        json_string(job->engines[timing.best[0] / timing.sides].plugin->name));
    return 0;
}

/* *out: step/time-<graph>-<level>.json, a new reference; NULL on failure. */
static int graph_record(struct job *job, size_t graph, size_t level, json_t **out,
                        struct pith_error *err)
{
    char key[PITH_NAME_BYTES + 32];
    int rc;

    (void) snprintf(key, sizeof key, "time-%s-%zu", job->graphs[graph].name, level);
    rc = job_recall(job, key, out, err);
    if (rc < 0 || *out)
        return rc;
    rc = time_graph(job, graph, level, out, err);
    if (rc == 0)
        rc = job_record(job, key, *out, err);
    if (rc < 0) {
        json_decref(*out);
        *out = NULL;
    }
    return rc;
}

/* ---- the chain ---- */

/* Over the samples; without any, as long as its graphs take one after the other. */
static int measure_chain(struct job *job, const size_t *levels, struct cost *out,
                         struct pith_error *err)
{
    struct cost sum = {0}, graph;
    struct job_pair_engines engines;
    struct job_pair pair = {0};
    double p95;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < job->graph_count; i++) {
        json_t *record = NULL;

        rc = graph_record(job, i, levels[i], &record, err);
        engines.original[i] = engine_named(job, record, "original_engine", job->graphs[i].engine);
        engines.variant[i] = engine_named(job, record, "engine", engines.original[i]);
        cost_read(&graph, record);
        sum.latency_us += graph.latency_us;
        sum.cpu_us += graph.cpu_us;
        sum.original_latency_us += graph.original_latency_us;
        sum.original_cpu_us += graph.original_cpu_us;
        json_decref(record);
    }
    *out = sum;
    if (rc < 0 || job_evaluation_data(job)->count == 0)
        return rc;
    rc = job_pair_open(job, levels, &engines, &pair, err);
    if (rc == 0)
        rc = job_pair_run(job, &pair, COST_LIMIT_MS, "measuring a form beside the original", err);
    if (rc == 0) {
        pith_outcomes_latency(&pair.outcomes[0], &out->original_latency_us, &p95,
                              &out->original_cpu_us);
        pith_outcomes_latency(&pair.outcomes[1], &out->latency_us, &p95, &out->cpu_us);
    }
    job_pair_done(&pair);
    return rc;
}

static int cost_of(struct job *job, const size_t *levels, struct cost *out, struct pith_error *err)
{
    char key[16 + 4 * PITH_MANIFEST_MAX_GRAPHS];
    size_t used = (size_t) snprintf(key, sizeof key, "cost");
    json_t *record = NULL;
    int rc;

    for (size_t i = 0; i < job->graph_count && used < sizeof key; i++)
        used += (size_t) snprintf(key + used, sizeof key - used, "-%zu", levels[i]);
    rc = job_recall(job, key, &record, err);
    if (rc == 0 && !record) {
        struct cost measured;

        rc = measure_chain(job, levels, &measured, err);
        record = rc == 0 ? cost_json(&measured) : NULL;
        if (rc == 0)
            rc = record ? job_record(job, key, record, err) : -ENOMEM;
    }
    if (rc == 0)
        cost_read(out, record);
    json_decref(record);
    return rc;
}

/* ---- moving ---- */

static bool latency_fits(const struct job *job, const struct cost *cost)
{
    return !(job->budget.latency_ms > 0 && cost->latency_us > job->budget.latency_ms * 1000);
}

static bool energy_fits(const struct job *job, const struct cost *cost)
{
    return !(job->budget.energy_ratio > 0 &&
             cost->cpu_us > job->budget.energy_ratio * cost->original_cpu_us);
}

/* What is over its limit; the time, where both are. */
static double what_counts(const struct job *job, const struct cost *limited_by,
                          const struct cost *cost)
{
    return latency_fits(job, limited_by) ? cost->cpu_us : cost->latency_us;
}

struct move {
    size_t graph, level;
    double saved_us;
};

/* Which finer form of a graph would save most. Coarser ones are weights of fewer bits, which take
 * as long. */
static int best_of_graph(struct job *job, const struct candidate *at, const struct cost *cost,
                         size_t graph, uint64_t refused, struct move *best, struct pith_error *err)
{
    json_t *record = NULL;
    struct cost now, then;
    int rc = graph_record(job, graph, at->levels[graph], &record, err);

    cost_read(&now, record);
    json_decref(record);
    for (size_t level = at->levels[graph] + 1;
         rc == 0 && level < job->level_count && level < MOST_LEVELS; level++) {
        bool usable = false;

        if (refused >> level & 1 ||
            (job_level_is_layered(job, level) && !job->graphs[graph].forms[level].record))
            continue; /* made only where decisions ask for it: it takes evaluations of its own */
        rc = job_check_cancelled(job, err);
        if (rc == 0)
            rc = job_make_form(job, graph, level, &usable, err);
        if (rc < 0 || !usable)
            continue;
        record = NULL;
        rc = graph_record(job, graph, level, &record, err);
        cost_read(&then, record);
        json_decref(record);
        double saved_us = what_counts(job, cost, &now) - what_counts(job, cost, &then);

        if (rc == 0 && saved_us > best->saved_us)
            *best = (struct move){.graph = graph, .level = level, .saved_us = saved_us};
    }
    return rc;
}

/* One step: the move that promises most is judged, and kept where decisions and bytes allow it and
 * the chain is measured to be faster. */
static int move_once(struct job *job, struct candidate *at, struct cost *cost, uint64_t *refused,
                     bool *out_left, struct pith_error *err)
{
    uint64_t started_ns = pith_monotonic_ns();
    struct move best = {.saved_us = 0};
    struct candidate tried = *at;
    struct cost measured;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < job->graph_count; i++)
        rc = best_of_graph(job, at, cost, i, refused[i], &best, err);
    *out_left = rc == 0 && best.saved_us > 0;
    if (!*out_left)
        return rc;
    tried.levels[best.graph] = best.level;
    refused[best.graph] |= UINT64_C(1)
                           << best.level; /* unless it is taken, and then it is passed */
    rc = job_evaluate(job, &tried, NULL, err);
    if (rc < 0 || !job_budget_allows(job, &tried.comparison) ||
        (job_bytes_fit(job, at) && !job_bytes_fit(job, &tried)))
        return rc;
    rc = cost_of(job, tried.levels, &measured, err);
    if (rc < 0 || !(what_counts(job, cost, &measured) < what_counts(job, cost, cost)))
        return rc;
    tried.facts.latency_p50_us = measured.latency_us;
    tried.facts.cpu_us = measured.cpu_us;
    job_add_move_step(job, at, &tried, best.graph, started_ns);
    *at = tried;
    *cost = measured;
    return 0;
}

int job_steer(struct job *job, struct candidate *at, int64_t evaluations, struct pith_error *err)
{
    uint64_t refused[PITH_MANIFEST_MAX_GRAPHS] = {0}; /* a bit a level */
    struct cost cost;
    bool left = true;
    int rc;

    if (job->budget.latency_ms <= 0 && job->budget.energy_ratio <= 0)
        return 0;
    job_say(job, "evaluating", 0.65, 0.7, "measuring a form beside the original");
    rc = cost_of(job, at->levels, &cost, err);
    if (rc == 0) {
        at->facts.latency_p50_us = cost.latency_us;
        at->facts.cpu_us = cost.cpu_us;
    }
    for (; rc == 0 && left && evaluations > 0 && !job_deadline_passed(job) &&
           !(latency_fits(job, &cost) && energy_fits(job, &cost));
         evaluations--)
        rc = move_once(job, at, &cost, refused, &left, err);
    return rc;
}
