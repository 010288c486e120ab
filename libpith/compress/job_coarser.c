/* Fewer bytes: while they don't fit, the graph goes a level coarser that shows it least. */
#include "libpith/compress/job_candidates.h"

#include "libpith/base/clock.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COARSER_TRIED 3 /* graphs that are tried for one step to fewer bytes */

double job_counted_bytes(const struct job *job)
{
    double bytes = 0;

    for (size_t i = 0; i < job->graph_count; i++)
        bytes += job->graphs[i].facts.bytes * (1 + job->graphs[i].half_ratio);
    return bytes;
}

bool job_bytes_fit(const struct job *job, const struct candidate *candidate)
{
    if (job->budget.bytes_ratio > 0 &&
        candidate->facts.bytes > job->budget.bytes_ratio * job_counted_bytes(job))
        return false;
    return job->budget.max_bytes == 0 || candidate->facts.bytes <= (double) job->budget.max_bytes;
}

struct saving {
    size_t graph;
    double bytes; /* less, one level coarser */
    double macs;  /* of the graph: what judging it costs, with what comes after it */
};

static int largest_first(const void *a, const void *b)
{
    const struct saving *x = a, *y = b;

    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    return x->graph < y->graph ? -1 : x->graph > y->graph;
}

static int cheapest_first(const void *a, const void *b)
{
    const struct saving *x = a, *y = b;

    if (x->macs != y->macs)
        return x->macs < y->macs ? -1 : 1;
    return largest_first(a, b);
}

/* What each graph would save, the largest saving first; those whose bit in `refused` is set are
 * left out. */
static int list_savings(struct job *job, const struct candidate *at, uint32_t refused,
                        struct saving *savings, size_t *out_count, struct pith_error *err)
{
    int rc = 0;

    *out_count = 0;
    for (size_t i = 0; rc == 0 && i < job->graph_count; i++) {
        struct candidate tried = *at;
        bool usable;

        /* What went finer for its accuracy stays there. */
        if ((refused >> i & 1) || at->levels[i] == 0 || at->levels[i] > job->level_asked)
            continue;
        tried.levels[i]--;
        rc = job_check_cancelled(job, err);
        if (rc == 0)
            rc = job_make_form(job, i, tried.levels[i], &usable, err);
        if (rc < 0 || !usable)
            continue;
        job_sum_facts(job, tried.levels, &tried.facts);
        if (tried.facts.bytes < at->facts.bytes)
            savings[(*out_count)++] = (struct saving){
                .graph = i,
                .bytes = at->facts.bytes - tried.facts.bytes,
                .macs = job->graphs[i].facts.macs > 0 ? job->graphs[i].facts.macs : HUGE_VAL};
    }
    if (rc == 0 && *out_count > 1)
        qsort(savings, *out_count, sizeof *savings, largest_first);
    return rc;
}

/* The first of the list, and a few more that alone save what is missing. The cheap ones come first:
 * one that is near ends the trial of a dear one early. */
static size_t choose_trials(const struct job *job, const struct candidate *at,
                            struct saving *savings, size_t count)
{
    size_t chosen = 0;

    while (chosen < count && chosen < COARSER_TRIED) {
        struct candidate tried = *at;

        tried.levels[savings[chosen].graph]--;
        job_sum_facts(job, tried.levels, &tried.facts);
        if (chosen > 0 && !job_bytes_fit(job, &tried))
            break;
        chosen++;
    }
    if (chosen > 1)
        qsort(savings, chosen, sizeof *savings, cheapest_first);
    return chosen;
}

/* Of the graphs that alone save what is missing, a few are tried, and the one that changes
 * decisions least goes coarser; where none saves so much, it is the one that saves most. */
static int go_coarser_once(struct job *job, struct candidate *at, uint32_t *refused,
                           int64_t *evaluations, bool *out_left, struct pith_error *err)
{
    struct saving savings[PITH_MANIFEST_MAX_GRAPHS];
    uint64_t started_ns = pith_monotonic_ns();
    struct candidate best = {0};
    size_t count, best_graph = SIZE_MAX;
    int rc = list_savings(job, at, *refused, savings, &count, err);

    *out_left = rc == 0 && count > 0;
    if (rc == 0)
        count = choose_trials(job, at, savings, count);
    for (size_t i = 0; rc == 0 && i<count && * evaluations> 0; i++) {
        struct candidate tried = *at;

        tried.levels[savings[i].graph]--;
        rc = job_evaluate(job, &tried, best_graph == SIZE_MAX ? NULL : &best, err);
        --*evaluations;
        if (rc < 0)
            break;
        if (tried.comparison.beaten)
            continue;
        if (!job_budget_allows(job, &tried.comparison)) {
            *refused |= UINT32_C(1) << savings[i].graph;
        } else if (best_graph == SIZE_MAX || job_is_nearer(&tried, &best)) {
            best = tried;
            best_graph = savings[i].graph;
        }
    }
    if (rc == 0 && best_graph != SIZE_MAX) {
        job_add_move_step(job, at, &best, best_graph, started_ns);
        *at = best;
    }
    return rc;
}

int job_go_coarser(struct job *job, struct candidate *at, int64_t evaluations,
                   struct pith_error *err)
{
    uint32_t refused = 0; /* a bit a graph; PITH_MANIFEST_MAX_GRAPHS is 32 */
    bool left = true;
    int rc = 0;

    while (rc == 0 && left && !job_bytes_fit(job, at) && evaluations > 0 &&
           !job_deadline_passed(job))
        rc = go_coarser_once(job, at, &refused, &evaluations, &left, err);
    return rc;
}
