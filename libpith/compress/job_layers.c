/* The budget within a graph: layers are ranked by what they add to the error, and the worst 1, 2,
 * 4, ... of them go finer until the budget holds; bisection then takes back what was not needed.
 * Each trial is a small record, so that a job that was killed goes on with the next. */
#include "libpith/compress/job_parts.h"

#include "libpith/base/names.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_LAYERS 4096
#define RUNGS       2 /* one step finer, then float */
#define FLOAT_FORM                                                                                 \
    "weights-float16" /* computes in float; halves are as good as exact, and half the bytes */

struct layer {
    char *name; /* own */
    char *form; /* own; as asked */
    double cost;
};

struct layers {
    struct job *job;
    size_t graph;
    struct layer *layers; /* own; the dearest first */
    size_t count;
    const struct pith_option_value *asked; /* the recipe's own rules; borrowed */
    int64_t trials_left;
};

bool job_layers_offered(const struct job *job)
{
    for (size_t i = 0; i < job->recipe->step_count; i++)
        if (job_rules_option(job->recipe->steps[i].technique) >= 0)
            return job->budget.accuracy_drop_points >= 0 || job->manifest->min_fidelity_ratio > 0;
    return false;
}

/* ---- ranking ---- */

static double noise_of(const json_t *object, const char *key)
{
    const json_t *sqnr = json_object_get(object, key);

    return json_is_number(sqnr) ? pow(10, -json_number_value(sqnr) / 10) : 0;
}

/* What was measured with the layer alone, where the technique did; else the noise that its weights
 * and its input bring, relative to their signal. */
static double cost_of(const json_t *layer)
{
    const json_t *measured = json_object_get(layer, "output_error_ratio");

    return json_is_number(measured) ? json_number_value(measured)
                                    : sqrt(noise_of(layer, "weight_sqnr_db") +
                                           noise_of(json_object_get(layer, "input"), "sqnr_db"));
}

static int dearest_first(const void *a, const void *b)
{
    const struct layer *x = a, *y = b;

    if (x->cost != y->cost)
        return x->cost > y->cost ? -1 : 1;
    return strcmp(x->name, y->name);
}

static void layers_done(struct layers *layers)
{
    for (size_t i = 0; i < layers->count; i++) {
        free(layers->layers[i].name);
        free(layers->layers[i].form);
    }
    free(layers->layers);
}

/* From the report of the form that was asked for. */
static int take_layers(struct layers *layers, const json_t *report, struct pith_error *err)
{
    const json_t *list = json_object_get(report, "layers"), *layer;
    size_t i, most = json_array_size(list);

    if (most == 0 || most > MOST_LAYERS)
        return pith_fail(err, -ENODATA, "the technique doesn't report its layers");
    layers->layers = calloc(most, sizeof *layers->layers);
    if (!layers->layers)
        return -ENOMEM;
    json_array_foreach(list, i, layer)
    {
        const char *name = json_string_value(json_object_get(layer, "node"));
        const char *form = json_string_value(json_object_get(layer, "form"));
        struct layer *to = &layers->layers[layers->count];

        if (!name || !name[0] || !form || !strcmp(form, "float32"))
            continue;
        *to = (struct layer){.name = strdup(name), .form = strdup(form), .cost = cost_of(layer)};
        layers->count++;
        if (!to->name || !to->form)
            return -ENOMEM;
    }
    if (layers->count > 0)
        qsort(layers->layers, layers->count, sizeof *layers->layers, dearest_first);
    return layers->count > 0 ? 0 : pith_fail(err, -ENODATA, "no layer could go finer");
}

/* ---- rules ---- */

static const char *finer_form(const char *form)
{
    static const char *const steps[][2] = {{"int8", "w8a16"},
                                           {"int4", "int8"},
                                           {"w4a16", "w8a16"},
                                           {"weights-int4", "weights-int8"},
                                           {"weights-int8", FLOAT_FORM}};

    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        if (!strcmp(form, steps[i][0]))
            return steps[i][1];
    return strcmp(form, FLOAT_FORM) != 0 ? FLOAT_FORM : "float32";
}

/* "layer=form", with what means something in a pattern made to mean itself. */
static char *rule_of(const char *name, const char *form)
{
    char *pattern = pith_name_pattern(name), *text = NULL;
    size_t bytes = pattern ? strlen(pattern) + strlen(form) + 2 : 0;

    if (pattern)
        text = malloc(bytes);
    if (text)
        (void) snprintf(text, bytes, "%s=%s", pattern, form);
    free(pattern);
    return text;
}

/* rung 0: the first `moved` layers one step finer. rung 1: they become float, all others are one
 * step finer. */
static int make_rules(const struct layers *layers, int rung, size_t moved, struct job_rules *out)
{
    size_t own = rung == 0 ? moved : layers->count, room = own + layers->asked->text_count;
    struct job_rules made = {.texts = calloc(room + 1, sizeof *made.texts)};

    if (!made.texts)
        return -ENOMEM;
    for (size_t i = 0; i < room; i++) {
        const struct layer *layer = i < own ? &layers->layers[i] : NULL;

        made.texts[i] = layer
                            ? rule_of(layer->name,
                                      rung == 1 && i < moved ? FLOAT_FORM : finer_form(layer->form))
                            : strdup(layers->asked->texts[i - own]);
        made.count = i + 1;
        if (!made.texts[i]) {
            job_rules_done(&made);
            return -ENOMEM;
        }
    }
    *out = made;
    return 0;
}

/* ---- trials ---- */

static int run_trial(struct layers *layers, int rung, size_t moved, struct pith_comparison *out,
                     struct pith_error *err)
{
    struct pith_graph *graph = NULL;
    struct job_rules rules = {.count = 0};
    struct pith_error why = {0};
    int rc = make_rules(layers, rung, moved, &rules);

    if (rc == 0)
        rc = job_apply_recipe(layers->job, layers->graph, layers->job->level_asked, &rules, NULL,
                              &graph, &why);
    if (rc == 0)
        rc = job_evaluate_graph(layers->job, layers->graph, graph, out, &why);
    pith_graph_free(graph);
    job_rules_done(&rules);
    if (rc < 0 && job_is_fault_of_form(rc)) { /* as far from the original as can be */
        const struct pith_outcomes *baseline = &layers->job->baseline;

        *out = (struct pith_comparison){.samples = baseline->count,
                                        .seen = baseline->count,
                                        .labelled = baseline->labelled,
                                        .error_ratio = HUGE_VAL};
        rc = 0;
    }
    return rc < 0 ? pith_fail(err, rc, "%s", pith_error_text(&why)) : 0;
}

/* *out: whether the budget holds with so many layers moved. */
static int try_moved(struct layers *layers, int rung, size_t moved, bool *out,
                     struct pith_error *err)
{
    struct job *job = layers->job;
    struct pith_comparison comparison;
    char key[PITH_NAME_BYTES + 64];
    json_t *record = NULL;
    int rc;

    (void) snprintf(key, sizeof key, "layers-%s-%d-%zu", job->graphs[layers->graph].name, rung,
                    moved);
    rc = job_recall(job, key, &record, err);
    if (rc == 0 && record) {
        job_comparison_read(&comparison, record);
    } else if (rc == 0) {
        rc = job_check_cancelled(job, err);
        if (rc == 0)
            rc = run_trial(layers, rung, moved, &comparison, err);
        record = rc == 0 ? job_comparison_json(&comparison) : NULL;
        if (rc == 0)
            rc = record ? job_record(job, key, record, err) : -ENOMEM;
    }
    json_decref(record);
    layers->trials_left--;
    if (rc == 0)
        *out = job_budget_allows(job, &comparison);
    return rc;
}

/* The fewest layers that one rung needs, or SIZE_MAX where all are not enough. */
static int search_rung(struct layers *layers, int rung, size_t *out_moved, struct pith_error *err)
{
    size_t below = 0, at = SIZE_MAX; /* `below` misses the budget, `at` keeps it */
    bool kept = false;
    int rc = 0;

    for (size_t moved = 1; rc == 0 && !kept && below < layers->count; moved *= 2) {
        size_t tried = moved < layers->count ? moved : layers->count;

        if (layers->trials_left < 2 || job_deadline_passed(layers->job))
            tried = layers->count; /* the last look is at the finest */
        rc = try_moved(layers, rung, tried, &kept, err);
        if (kept)
            at = tried;
        else
            below = tried;
    }
    while (rc == 0 && kept && at > below + 1 && layers->trials_left > 0 &&
           !job_deadline_passed(layers->job)) {
        size_t middle = below + (at - below) / 2;
        bool enough;

        rc = try_moved(layers, rung, middle, &enough, err);
        if (rc == 0 && enough)
            at = middle;
        else
            below = middle;
    }
    *out_moved = at;
    return rc;
}

/* "4 of 28 layers stay a step finer: conv1, dense, conv7 and 1 more" */
static char *given_up(const struct layers *layers, int rung, size_t moved)
{
    struct pith_buffer text = {0};

    pith_buffer_printf(&text, "%zu of %zu layers stay %s: ", moved, layers->count,
                       rung == 0 ? "a step finer" : "float and the others a step finer");
    for (size_t i = 0; i < moved && i < 3; i++)
        pith_buffer_printf(&text, "%s%.60s", i ? ", " : "", layers->layers[i].name);
    if (moved > 3)
        pith_buffer_printf(&text, " and %zu more", moved - 3);
    if (text.failed) {
        pith_buffer_done(&text);
        return NULL;
    }
    return (char *) text.data; /* malloc'ed, the caller's */
}

static int choose(struct layers *layers, struct job_rules *out, struct pith_error *err)
{
    size_t moved = SIZE_MAX;
    int rung, rc = 0;

    for (rung = 0; rc == 0 && rung < RUNGS; rung++) {
        rc = search_rung(layers, rung, &moved, err);
        if (rc == 0 && moved != SIZE_MAX)
            break;
    }
    if (rc == 0 && moved == SIZE_MAX)
        rc = pith_fail(err, -ENODATA, "no number of layers that go finer keeps the budget");
    if (rc == 0)
        rc = make_rules(layers, rung, moved, out);
    if (rc == 0 && !(out->text = given_up(layers, rung, moved)))
        rc = -ENOMEM;
    return rc;
}

static const struct pith_option_value *asked_rules(const struct job *job)
{
    for (size_t i = 0; i < job->recipe->step_count; i++) {
        int at = job_rules_option(job->recipe->steps[i].technique);

        if (at >= 0)
            return &job->recipe->steps[i].options.values[at];
    }
    return NULL;
}

int job_layers_choose(struct job *job, size_t graph, struct job_rules *out, struct pith_error *err)
{
    struct layers layers = {.job = job,
                            .graph = graph,
                            .asked = asked_rules(job),
                            .trials_left = job->budget.evaluations};
    bool usable;
    int rc;

    if (job_evaluation_data(job)->count == 0)
        return pith_fail(err, -ENODATA, "there are no samples to judge layers by");
    rc = job_make_form(job, graph, job->level_asked, &usable, err);
    if (rc == 0 && !usable)
        rc = pith_fail(err, -ENODATA, "what the recipe asks for could not be made");
    if (rc == 0)
        rc = job_baseline(job, err);
    if (rc == 0)
        rc = take_layers(
            &layers, json_object_get(job->graphs[graph].forms[job->level_asked].record, "report"),
            err);
    if (rc == 0)
        rc = choose(&layers, out, err);
    layers_done(&layers);
    return rc;
}

int job_evaluate_graph(struct job *job, size_t graph_index, const struct pith_graph *graph,
                       struct pith_comparison *out, struct pith_error *err)
{
    struct job_graph *at = &job->graphs[graph_index];
    struct job_form *forms = at->forms, form = {.graph = (struct pith_graph *) (uintptr_t) graph};
    size_t levels[PITH_MANIFEST_MAX_GRAPHS];
    struct pith_outcomes outcomes = {0};
    int rc = job_baseline(job, err);

    if (rc == 0)
        rc = job_pick_engine(job, graph, &form.engine, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < job->graph_count; i++)
        levels[i] = job->level_count - 1;
    /* It stands in for a form while it runs; what ran is not to be remembered under its name. */
    struct pith_memo *memo = job->memo;
    struct job_form kept = forms[0];

    forms[0] = form;
    levels[graph_index] = 0;
    job->memo = NULL;
    rc = job_run_chain(job, levels, &outcomes, NULL, NULL, "judging layers", err);
    job->memo = memo;
    forms[0] = kept;
    if (rc == 0)
        pith_outcomes_compare(&job->baseline, &outcomes, out);
    pith_outcomes_done(&outcomes);
    return rc;
}
