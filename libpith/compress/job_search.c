/* The budget: start with the coarsest forms, and while the chain decides too differently, let the
 * graph go finer that helps most. Bounded in evaluations and time; the original always remains as
 * an answer. */
#include "libpith/compress/job_candidates.h"

#include "libpith/base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- searching ---- */

/* The next form of a graph at or past `level` that exists; the original always does. */
static int usable_level(struct job *job, size_t graph, size_t *level, struct pith_error *err)
{
    bool usable = false;
    int rc = 0;

    while (rc == 0) {
        rc = job_check_cancelled(job, err);
        if (rc == 0)
            rc = job_make_form(job, graph, *level, &usable, err);
        if (usable)
            break;
        ++*level;
    }
    return rc;
}

static int as_asked(struct job *job, struct candidate *out, struct pith_error *err)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < job->graph_count; i++) {
        char text[PITH_NAME_BYTES + 32];
        double share = 0.35 / (double) job->graph_count;

        (void) snprintf(text, sizeof text, "compressing %s", job->graphs[i].name);
        job_say(job, "compressing", 0.15 + share * (double) i, 0.15 + share * (double) (i + 1),
                text);
        out->levels[i] = job->level_asked;
        rc = usable_level(job, i, &out->levels[i], err);
    }
    return rc;
}

void job_add_move_step(struct job *job, const struct candidate *from, const struct candidate *to,
                       size_t graph, uint64_t started_ns)
{
    const struct job_graph *moved = &job->graphs[graph];
    size_t level = to->levels[graph];
    const json_t *record = level + 1 < job->level_count ? moved->forms[level].record : NULL;
    const char *form =
        json_string_value(json_object_get(json_object_get(record, "report"), "form"));
    bool finer = level > from->levels[graph];
    char text[PITH_NAME_BYTES + 320];
    const char *given_up = json_string_value(json_object_get(record, "given_up"));

    if (given_up)
        (void) snprintf(text, sizeof text, "%s: %s", moved->name, given_up);
    else
        (void) snprintf(text, sizeof text, "%s goes a level %s: %s", moved->name,
                        finer ? "finer" : "coarser",
                        form     ? form
                        : record ? "compressed"
                                 : "original");
    job_add_step(job, finer ? "finer" : "coarser", text, &from->facts, &to->facts, started_ns);
}

/* The next finer form that is not the same bytes again. */
static int next_other_form(struct job *job, size_t graph, size_t *level, struct pith_error *err)
{
    const char *from = job_form_sha256(job, graph, *level);
    int rc;

    do {
        ++*level;
        rc = usable_level(job, graph, level, err);
    } while (rc == 0 && *level + 1 < job->level_count &&
             !strcmp(job_form_sha256(job, graph, *level), from));
    return rc;
}

/* One round: each graph that can go finer is tried alone, and the best step is taken. *out_moved:
 * false where there is none left to take. */
static int go_finer(struct job *job, struct candidate *at, int64_t *evaluations, bool *out_moved,
                    struct pith_error *err)
{
    struct candidate best = {0};
    size_t best_graph = SIZE_MAX;
    uint64_t started_ns = pith_monotonic_ns();
    int rc = 0;

    for (size_t i = 0; rc == 0 && i<job->graph_count && * evaluations> 0; i++) {
        struct candidate tried = *at;

        if (at->levels[i] + 1 >= job->level_count)
            continue;
        if (job_deadline_passed(job))
            break;
        rc = next_other_form(job, i, &tried.levels[i], err);
        if (rc == 0)
            rc = job_evaluate(job, &tried, NULL, err);
        --*evaluations;
        if (rc == 0 && (best_graph == SIZE_MAX || job_is_better(job, &tried, &best))) {
            best = tried;
            best_graph = i;
        }
    }
    *out_moved = rc == 0 && best_graph != SIZE_MAX;
    if (!*out_moved)
        return rc;
    job_add_move_step(job, at, &best, best_graph, started_ns);
    *at = best;
    return 0;
}

static void add_recipe_steps(struct job *job, const struct candidate *candidate,
                             uint64_t started_ns)
{
    struct pith_facts before;
    char text[160];
    size_t originals[PITH_MANIFEST_MAX_GRAPHS];

    for (size_t i = 0; i < job->graph_count; i++)
        originals[i] = job->level_count - 1;
    job_sum_facts(job, originals, &before);
    for (size_t i = 0; i < job->recipe->step_count; i++) {
        (void) snprintf(text, sizeof text, "%s over %zu graph%s",
                        job->recipe->steps[i].technique->name, job->graph_count,
                        job->graph_count == 1 ? "" : "s");
        /* Sizes between two techniques are in their records; what counts is where the recipe began
         * and ended. */
        job_add_step(job, job->recipe->steps[i].technique->name, text, i == 0 ? &before : NULL,
                     i + 1 == job->recipe->step_count ? &candidate->facts : NULL, started_ns);
    }
}

/* Nothing is made: what the original decides is all there is to know. */
static int keep_original(struct job *job, struct pith_error *err)
{
    int rc;

    job_say(job, "evaluating", 0.1, 0.8, "running the original");
    rc = job_baseline(job, err);
    if (rc == 0)
        pith_outcomes_compare(&job->baseline, &job->baseline, &job->chosen);
    return rc;
}

static int search(struct job *job, struct candidate *at, struct pith_error *err)
{
    int64_t evaluations = job->budget.evaluations;
    uint64_t started_ns = pith_monotonic_ns();
    bool moved = true;
    int rc = as_asked(job, at, err);

    if (rc == 0) {
        job_say(job, "evaluating", 0.5, 0.7, "running both over the samples");
        rc = job_evaluate(job, at, NULL, err);
        evaluations--;
    }
    if (rc == 0)
        add_recipe_steps(job, at, started_ns);
    while (rc == 0 && moved && !job_budget_allows(job, &at->comparison)) {
        job->given_up = evaluations <= 0 || job_deadline_passed(job);
        if (job->given_up)
            break;
        rc = go_finer(job, at, &evaluations, &moved, err);
    }
    if (rc == 0 && job_budget_allows(job, &at->comparison))
        rc = job_go_coarser(job, at, evaluations, err);
    if (rc == 0 && job_budget_allows(job, &at->comparison))
        rc = job_steer(job, at, evaluations, err);
    return rc;
}

int job_search(struct job *job, struct pith_error *err)
{
    struct candidate at = {0};
    int rc;

    if (job->level_count == 1)
        return keep_original(job, err);
    rc = search(job, &at, err);
    if (rc == 0)
        rc = job_baseline(job, err); /* what was recalled has not run it */
    if (rc < 0)
        return rc;
    job->chosen = at.comparison;
    if (!job_budget_allows(job, &at.comparison)) {
        pith_outcomes_compare(&job->baseline, &job->baseline, &job->chosen);
        for (size_t i = 0; i < job->graph_count; i++)
            at.levels[i] = job->level_count - 1;
    }
    for (size_t i = 0; i < job->graph_count; i++)
        job->graphs[i].level = at.levels[i];
    return 0;
}
