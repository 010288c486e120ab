/* Candidates judged: the chain runs over the samples with one form of each graph, and its decisions
 * are compared with the original's. One that can't be allowed any more, or that another one surely
 * beats, is left early. */
#include "libpith/compress/job_candidates.h"

#include "libpith/compress/statistics.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- evaluating ---- */

json_t *job_comparison_json(const struct pith_comparison *comparison)
{
    return json_pack(
        "{s:I, s:I, s:b, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:o}", "samples",
        (json_int_t) comparison->samples, "seen", (json_int_t) comparison->seen, "beaten",
        comparison->beaten, "labelled", comparison->labelled, "scoreless", comparison->scoreless, "right_original",
        (json_int_t) comparison->right_a, "right_variant", (json_int_t) comparison->right_b, "same",
        (json_int_t) comparison->same, "only_original", (json_int_t) comparison->only_a,
        "only_variant", (json_int_t) comparison->only_b, "error_ratio",
        isfinite(comparison->error_ratio) ? json_real(comparison->error_ratio) : json_null());
}

void job_comparison_read(struct pith_comparison *out, const json_t *object)
{
    const json_t *error = json_object_get(object, "error_ratio");

    *out = (struct pith_comparison){
        .samples = (uint64_t) json_integer_value(json_object_get(object, "samples")),
        .seen = (uint64_t) json_integer_value(json_object_get(object, "seen")),
        .beaten = json_is_true(json_object_get(object, "beaten")),
        .labelled = json_is_true(json_object_get(object, "labelled")),
        .scoreless = json_is_true(json_object_get(object, "scoreless")),
        .right_a = (uint64_t) json_integer_value(json_object_get(object, "right_original")),
        .right_b = (uint64_t) json_integer_value(json_object_get(object, "right_variant")),
        .same = (uint64_t) json_integer_value(json_object_get(object, "same")),
        .only_a = (uint64_t) json_integer_value(json_object_get(object, "only_original")),
        .only_b = (uint64_t) json_integer_value(json_object_get(object, "only_variant")),
        .error_ratio = json_is_number(error) ? json_number_value(error) : NAN,
    };
}

static void key_of(const struct job *job, const size_t *levels, char *key, size_t key_bytes)
{
    size_t used = (size_t) snprintf(key, key_bytes, "evaluation");

    for (size_t i = 0; i < job->graph_count && used < key_bytes; i++)
        used += (size_t) snprintf(key + used, key_bytes - used, "-%zu", levels[i]);
}

struct race { /* of a form that is under evaluation */
    const struct job *job;
    const struct candidate *rival; /* what it must be nearer than to be of use; NULL: none yet */
    double rival_error;            /* sum of squares that it may not pass; HUGE_VAL: any */
    bool beaten;
};

/* The best that can still come of it: all that is left decides as the original does. */
static void hope(const struct job *job, const struct pith_outcomes *so_far,
                 struct pith_comparison *out)
{
    pith_outcomes_compare(&job->baseline, so_far, out);
    uint64_t left = job->baseline.count - out->samples;

    for (uint64_t i = out->samples; i < job->baseline.count; i++) {
        out->right_a += job->baseline.right[i];
        out->right_b += job->baseline.right[i];
    }
    out->same += left;
    out->samples += left;
}

/* Whether the budget can't be met any more, or the rival not beaten. */
static bool race_is_lost(void *user, const struct pith_outcomes *so_far)
{
    struct race *race = user;
    struct pith_comparison best;

    hope(race->job, so_far, &best);
    if (!job_budget_allows(race->job, &best))
        return true;
    if (!race->rival)
        return false;
    int ahead = isfinite(race->rival_error)
                    ? pith_surely_more(best.same, race->rival->comparison.same)
                    : (best.same > race->rival->comparison.same) - (best.same < race->rival->comparison.same);

    race->beaten =
        ahead < 0 ||
        (ahead == 0 && pith_outcomes_error(&race->job->baseline, so_far) > race->rival_error);
    return race->beaten;
}

static void enter_race(struct race *race, const struct job *job, const struct candidate *rival)
{
    double ratio = rival ? rival->comparison.error_ratio : HUGE_VAL;

    *race = (struct race){.job = job, .rival = rival, .rival_error = HUGE_VAL};
    if (isfinite(ratio))
        race->rival_error =
            ratio * ratio * pith_outcomes_spread(&job->baseline, job->baseline.trace_count);
}

/* What was left out counts as decided otherwise: it is at least as far from allowed as it looks,
 * and of two that broke off the one that came further is nearer. */
static void take_outcomes(const struct job *job, const struct pith_outcomes *outcomes,
                          struct pith_comparison *out)
{
    pith_outcomes_compare(&job->baseline, outcomes, out);
    for (uint64_t i = out->seen; i < job->baseline.count; i++)
        out->right_a += job->baseline.right[i];
    out->samples = job->baseline.count;
}

static bool is_original(const struct job *job, const size_t *levels)
{
    for (size_t i = 0; i < job->graph_count; i++)
        if (strcmp(job_form_sha256(job, i, levels[i]), job->graphs[i].sha256) != 0)
            return false;
    return true;
}

static int evaluate_fresh(struct job *job, struct candidate *candidate,
                          const struct candidate *rival, struct pith_error *err)
{
    struct pith_outcomes outcomes = {0};
    struct pith_error why = {0};
    struct race race;
    int rc = job_baseline(job, err);

    if (rc < 0)
        return rc;
    if (is_original(job, candidate->levels)) {
        pith_outcomes_compare(&job->baseline, &job->baseline, &candidate->comparison);
        return 0;
    }
    enter_race(&race, job, rival);
    rc = job_run_chain(job, candidate->levels, &outcomes, race_is_lost, &race,
                       "running a compressed form", &why);
    if (rc == 0) {
        take_outcomes(job, &outcomes, &candidate->comparison);
        candidate->comparison.beaten = race.beaten;
    } else if (rc == -EBADMSG || rc == -EINVAL || rc == -ENOTSUP) {
        /* It can't be run to the end: as different as can be, and so the search goes on to finer
         * forms. */
        candidate->comparison = (struct pith_comparison){.samples = job->baseline.count,
                                                         .seen = job->baseline.count,
                                                         .labelled = job->baseline.labelled,
                                                         .error_ratio = HUGE_VAL};
        rc = 0;
    } else {
        rc = pith_fail(err, rc, "%s", pith_error_text(&why));
    }
    pith_outcomes_done(&outcomes);
    return rc;
}

void job_sum_facts(const struct job *job, const size_t *levels, struct pith_facts *out)
{
    job_form_facts(job, 0, levels[0], out);
    for (size_t i = 1; i < job->graph_count; i++) {
        struct pith_facts part;

        job_form_facts(job, i, levels[i], &part);
        pith_facts_sum(out, &part);
    }
}

static void take_comparison(struct pith_facts *facts, const struct pith_comparison *comparison)
{
    if (comparison->samples == 0)
        return;
    if (comparison->seen > 0)
        facts->fidelity_ratio = (double) comparison->same / (double) comparison->seen;
    facts->error_ratio = comparison->error_ratio;
    if (comparison->labelled && comparison->seen == comparison->samples)
        facts->accuracy_ratio = (double) comparison->right_b / (double) comparison->samples;
}

/* What broke off against a rival says nothing where there is another one. */
static bool is_of_this_race(const json_t *record, const char *rival_key)
{
    const char *was = json_string_value(json_object_get(record, "rival"));

    return strcmp(was ? was : "", rival_key) == 0;
}

int job_evaluate(struct job *job, struct candidate *candidate, const struct candidate *rival,
                 struct pith_error *err)
{
    char key[16 + 4 * PITH_MANIFEST_MAX_GRAPHS], rival_key[sizeof key] = "";
    json_t *record = NULL;
    int rc;

    job_sum_facts(job, candidate->levels, &candidate->facts);
    if (job_evaluation_data(job)->count == 0)
        return 0;
    key_of(job, candidate->levels, key, sizeof key);
    if (rival)
        key_of(job, rival->levels, rival_key, sizeof rival_key);
    rc = job_recall(job, key, &record, err);
    if (rc == 0 && record) {
        job_comparison_read(&candidate->comparison, record);
        if (candidate->comparison.beaten && !is_of_this_race(record, rival_key)) {
            json_decref(record);
            record = NULL;
        }
    }
    if (rc == 0 && !record) {
        rc = evaluate_fresh(job, candidate, rival, err);
        record = rc == 0 ? job_comparison_json(&candidate->comparison) : NULL;
        if (rc == 0 && (!record || (rival && json_object_set_new(record, "rival",
                                                                 json_string(rival_key)) < 0)))
            rc = -ENOMEM;
        if (rc == 0)
            rc = job_record(job, key, record, err);
    }
    json_decref(record);
    if (rc == 0)
        take_comparison(&candidate->facts, &candidate->comparison);
    return rc;
}

/* ---- judging ---- */

/* Points of accuracy lost; without labels, of fidelity. */
static double drop_points(const struct pith_comparison *comparison)
{
    double samples = (double) comparison->samples;

    if (comparison->samples == 0)
        return 0;
    if (comparison->labelled)
        return 100 * ((double) comparison->right_a - (double) comparison->right_b) / samples;
    return 100 * (samples - (double) comparison->same) / samples;
}

bool job_budget_allows(const struct job *job, const struct pith_comparison *comparison)
{
    double fidelity =
        comparison->samples > 0 ? (double) comparison->same / (double) comparison->samples : 1;

    if (comparison->samples > 0 && comparison->error_ratio == HUGE_VAL)
        return false;
    if (job->budget.accuracy_drop_points >= 0 &&
        drop_points(comparison) > job->budget.accuracy_drop_points + 1e-9)
        return false;
    return fidelity >= job->manifest->min_fidelity_ratio - 1e-9;
}

bool job_is_nearer(const struct candidate *a, const struct candidate *b)
{
    return pith_comparison_is_nearer(&a->comparison, &b->comparison);
}

bool job_is_better(const struct job *job, const struct candidate *a, const struct candidate *b)
{
    bool a_allowed = job_budget_allows(job, &a->comparison),
         b_allowed = job_budget_allows(job, &b->comparison);

    if (a_allowed != b_allowed)
        return a_allowed;
    if (a_allowed)
        return a->facts.bytes < b->facts.bytes;
    return job_is_nearer(a, b);
}
