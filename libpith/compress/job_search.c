/* The budget: start with the coarsest forms, and while the chain decides too differently, let the
 * graph go finer that helps most. Bounded in evaluations and time; the original always remains as
 * an answer. */
#include "libpith/compress/job_parts.h"

#include "libpith/base/clock.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COARSER_TRIED 3 /* graphs that are tried for one step to fewer bytes */

struct candidate {
    size_t levels[PITH_MANIFEST_MAX_GRAPHS];
    struct pith_comparison comparison;
    struct pith_facts facts; /* of the whole chain */
};

/* ---- evaluating ---- */

json_t *job_comparison_json(const struct pith_comparison *comparison)
{
    return json_pack(
        "{s:I, s:I, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:o}", "samples",
        (json_int_t) comparison->samples, "seen", (json_int_t) comparison->seen, "beaten",
        comparison->beaten, "labelled", comparison->labelled, "right_original",
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
    if (!race->rival || best.same > race->rival->comparison.same)
        return false;
    race->beaten = best.same < race->rival->comparison.same ||
                   pith_outcomes_error(&race->job->baseline, so_far) > race->rival_error;
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

static void sum_facts(const struct job *job, const size_t *levels, struct pith_facts *out)
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

/* rival: NULL, or what the candidate must be nearer than; it may break off, then it is not. */
static int evaluate(struct job *job, struct candidate *candidate, const struct candidate *rival,
                    struct pith_error *err)
{
    char key[16 + 4 * PITH_MANIFEST_MAX_GRAPHS], rival_key[sizeof key] = "";
    json_t *record = NULL;
    int rc;

    sum_facts(job, candidate->levels, &candidate->facts);
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

/* Whether a decides more like the original than b does. */
static bool nearer(const struct candidate *a, const struct candidate *b)
{
    if (a->comparison.same != b->comparison.same)
        return a->comparison.same > b->comparison.same;
    return a->comparison.error_ratio < b->comparison.error_ratio;
}

/* Whether a is the better way on from here: what is allowed, then fewer bytes among those; else
 * nearer to allowed. */
static bool better(const struct job *job, const struct candidate *a, const struct candidate *b)
{
    bool a_allowed = job_budget_allows(job, &a->comparison),
         b_allowed = job_budget_allows(job, &b->comparison);

    if (a_allowed != b_allowed)
        return a_allowed;
    if (a_allowed)
        return a->facts.bytes < b->facts.bytes;
    return nearer(a, b);
}

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

static void add_move_step(struct job *job, const struct candidate *from, const struct candidate *to,
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
            rc = evaluate(job, &tried, NULL, err);
        --*evaluations;
        if (rc == 0 && (best_graph == SIZE_MAX || better(job, &tried, &best))) {
            best = tried;
            best_graph = i;
        }
    }
    *out_moved = rc == 0 && best_graph != SIZE_MAX;
    if (!*out_moved)
        return rc;
    add_move_step(job, at, &best, best_graph, started_ns);
    *at = best;
    return 0;
}

/* ---- bytes ---- */

static bool bytes_fit(const struct job *job, const struct candidate *candidate)
{
    size_t originals[PITH_MANIFEST_MAX_GRAPHS];
    struct pith_facts original;

    for (size_t i = 0; i < job->graph_count; i++)
        originals[i] = job->level_count - 1;
    sum_facts(job, originals, &original);
    if (job->budget.bytes_ratio > 0 &&
        candidate->facts.bytes > job->budget.bytes_ratio * original.bytes)
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
        sum_facts(job, tried.levels, &tried.facts);
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
        sum_facts(job, tried.levels, &tried.facts);
        if (chosen > 0 && !bytes_fit(job, &tried))
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
        rc = evaluate(job, &tried, best_graph == SIZE_MAX ? NULL : &best, err);
        --*evaluations;
        if (rc < 0)
            break;
        if (tried.comparison.beaten)
            continue;
        if (!job_budget_allows(job, &tried.comparison)) {
            *refused |= UINT32_C(1) << savings[i].graph;
        } else if (best_graph == SIZE_MAX || nearer(&tried, &best)) {
            best = tried;
            best_graph = savings[i].graph;
        }
    }
    if (rc == 0 && best_graph != SIZE_MAX) {
        add_move_step(job, at, &best, best_graph, started_ns);
        *at = best;
    }
    return rc;
}

/* While the bytes don't fit, a graph goes coarser, if what the chain decides still allows it. */
static int go_coarser(struct job *job, struct candidate *at, int64_t evaluations,
                      struct pith_error *err)
{
    uint32_t refused = 0; /* a bit a graph; PITH_MANIFEST_MAX_GRAPHS is 32 */
    bool left = true;
    int rc = 0;

    while (rc == 0 && left && !bytes_fit(job, at) && evaluations > 0 && !job_deadline_passed(job))
        rc = go_coarser_once(job, at, &refused, &evaluations, &left, err);
    return rc;
}

static void add_recipe_steps(struct job *job, const struct candidate *candidate,
                             uint64_t started_ns)
{
    struct pith_facts before;
    char text[160];
    size_t originals[PITH_MANIFEST_MAX_GRAPHS];

    for (size_t i = 0; i < job->graph_count; i++)
        originals[i] = job->level_count - 1;
    sum_facts(job, originals, &before);
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
        rc = evaluate(job, at, NULL, err);
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
        rc = go_coarser(job, at, evaluations, err);
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
