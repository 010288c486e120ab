/* Forms of a graph: what the recipe's techniques make of it, coarse to fine. A technique that has
 * an option `finer` offers the ladder itself; the last rung is the original. */
#include "libpith/compress/job_parts.h"

#include "libpith/base/clock.h"
#include "libpith/base/file.h"
#include "libpith/base/json.h"
#include "libpith/formats/onnx.h"
#include <pith/technique.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Where the step's technique keeps its ladder; -1: it has none. */
static int finer_option(const struct pith_recipe_step *step)
{
    for (int i = 0; step->technique->options && step->technique->options[i].name; i++)
        if (!strcmp(step->technique->options[i].name, "finer") &&
            step->technique->options[i].type == PITH_OPTION_INT)
            return i;
    return -1;
}

/* How far the step's ladder goes to either side of what the recipe asks. */
static void ladder(const struct pith_recipe_step *step, int64_t *coarser, int64_t *finer)
{
    int at = finer_option(step);

    *coarser = *finer = 0;
    if (at < 0)
        return;
    *coarser = step->options.values[at].integer - (int64_t) step->technique->options[at].minimum;
    *finer = (int64_t) step->technique->options[at].maximum - step->options.values[at].integer;
}

void job_count_levels(struct job *job)
{
    int64_t coarser = 0, finer = 0;

    job->level_count = 1;
    job->level_asked = 0;
    if (!job->settings.compress || job->recipe->step_count == 0)
        return;
    for (size_t i = 0; i < job->recipe->step_count; i++) {
        int64_t down, up;

        ladder(&job->recipe->steps[i], &down, &up);
        coarser = down > coarser ? down : coarser;
        finer = up > finer ? up : finer;
    }
    job->level_asked = (size_t) coarser;
    job->layered = job_layers_offered(job);
    job->level_count = (size_t) (coarser + 1 + finer + 1) + job->layered;
}

bool job_level_is_layered(const struct job *job, size_t level)
{
    return job->layered && level == job->level_asked + 1;
}

/* Steps finer (or, negative, coarser) than what the recipe asks. */
static int64_t steps_finer(const struct job *job, size_t level)
{
    return (int64_t) level - (int64_t) job->level_asked -
           (job->layered && level > job->level_asked);
}

/* The step's options with `finer` moved to the level. *out: malloc'ed, its strings are the
 * recipe's. */
static int move_options(const struct job *job, const struct pith_recipe_step *step, size_t level,
                        const struct job_rules *rules, struct pith_option_value **out)
{
    int64_t coarser, finer, move = steps_finer(job, level);
    size_t count = 0;
    int at = finer_option(step);

    while (step->technique->options && step->technique->options[count].name)
        count++;
    *out = calloc(count + 1, sizeof **out);
    if (!*out)
        return -ENOMEM;
    if (count > 0)
        memcpy(*out, step->options.values, count * sizeof **out);
    ladder(step, &coarser, &finer);
    move = move < -coarser ? -coarser : move > finer ? finer : move;
    if (at >= 0) {
        (*out)[at].integer += move;
        (*out)[at].number = (double) (*out)[at].integer;
    }
    at = job_rules_option(step->technique);
    if (at >= 0 && rules)
        job_rules_set(rules, &(*out)[at]);
    return 0;
}

/* Sentence on what is missing, or NULL. */
static const char *missing_need(const struct job_graph *graph, const struct pith_technique_ops *ops,
                                const struct pith_option_value *options)
{
    uint32_t needs = ops->needs ? ops->needs(options) : 0;

    if ((needs & PITH_NEEDS_CALIBRATION) && !graph->calibrated)
        return "it needs calibration samples, and none came with the model";
    if (needs & (PITH_NEEDS_TRAINING | PITH_NEEDS_TEACHER | PITH_NEEDS_LABELS))
        return "it needs training, which this machine's jobs don't offer";
    return NULL;
}

struct applying { /* for progress of a technique under way */
    struct job *job;
    size_t graph_index;
    const char *text;
};

static void say_technique(void *user, double done_ratio)
{
    const struct applying *applying = user;
    const struct job *job = applying->job;

    if (job->options->progress)
        job->options->progress(job->options->user, job->state,
                               job->done_from + (job->done_to - job->done_from) * done_ratio,
                               applying->text);
}

static int technique_cancelled(void *user)
{
    const struct job *job = ((const struct applying *) user)->job;

    return job->options->cancelled ? job->options->cancelled(job->options->user) : 0;
}

/* The candidate in its place, with the originals around it. */
static int technique_evaluate(void *user, const struct pith_graph *graph,
                              struct pith_evaluation *out, struct pith_error *err)
{
    const struct applying *applying = user;
    struct pith_comparison comparison;
    int rc = job_evaluate_graph(applying->job, applying->graph_index, graph, &comparison, err);

    if (rc < 0)
        return rc;
    double samples = comparison.samples > 0 ? (double) comparison.samples : 1;

    *out = (struct pith_evaluation){
        .accuracy_ratio = comparison.labelled ? (double) comparison.right_b / samples : -1,
        .fidelity_ratio = (double) comparison.same / samples,
        .error_ratio = comparison.error_ratio,
        .sample_count = comparison.samples};
    return 0;
}

/* A technique whose layers the job moves itself, with a record of each trial, is given no budget to
 * search for within one step, which a kill would take away. */
static double own_budget(const struct job *job, const struct pith_plugin *technique)
{
    return job->layered && job_rules_option(technique) >= 0 ? -1 : job->budget.accuracy_drop_points;
}

static int apply_step(struct job *job, size_t graph_index, const struct pith_recipe_step *step,
                      size_t level, const struct job_rules *rules, const struct pith_graph *from,
                      struct pith_graph **out, char **report, struct pith_error *err)
{
    const struct pith_technique_ops *ops = step->technique->ops;
    struct job_graph *graph = &job->graphs[graph_index];
    struct applying applying = {
        .job = job, .graph_index = graph_index, .text = step->technique->name};
    struct pith_technique_host host = {
        .engine = graph->engine->ops,
        .engine_options = graph->engine->options.values,
        .threads = (uint32_t) job->settings.threads,
        .samples = graph->calibrated ? &graph->samples : NULL,
        .user = &applying,
        .progress = say_technique,
        .cancelled = technique_cancelled,
        .evaluate = job_evaluation_data(job)->count > 0 ? technique_evaluate : NULL,
    };
    struct pith_technique_job work = {.size_bytes = sizeof work,
                                      .host = &host.host,
                                      .seed = (uint64_t) job->settings.seed,
                                      .accuracy_drop_points = own_budget(job, step->technique)};
    struct pith_option_value *options = NULL;
    int rc = move_options(job, step, level, rules, &options);

    if (rc < 0)
        return rc;
    const char *missing = missing_need(graph, ops, options);

    pith_technique_host_init(&host);
    work.options = options;
    rc = missing ? pith_fail(err, -ENODATA, "%s: %s", step->technique->name, missing)
                 : ops->apply(&work, from, out, report, err);
    free(options);
    return rc;
}

/* What made the file, in the file: the recipe, and the original's digest. */
static int stamp(const struct job *job, const struct job_graph *graph, struct pith_graph *made)
{
    json_t *recipe = pith_recipe_json(job->recipe, false);
    char *text = recipe ? pith_json_text(recipe) : NULL;
    int rc = text ? pith_graph_set_metadata(made, "pith.recipe", text) : -ENOMEM;

    if (rc == 0)
        rc = pith_graph_set_metadata(made, "pith.parent_sha256", graph->sha256);
    free(text);
    json_decref(recipe);
    return rc;
}

static int save_step(const struct job *job, size_t graph_index, size_t step, size_t level,
                     struct pith_graph *made, const char *report, json_t *record,
                     struct pith_error *err)
{
    const struct job_graph *graph = &job->graphs[graph_index];
    const char *technique = job->recipe->steps[step].technique->name;
    char folder[PATH_MAX], file[PATH_MAX], path[PATH_MAX], finer[32] = "";
    struct pith_facts facts;
    struct pith_buffer raw = {0};
    size_t bytes = 0;
    int rc;

    if (job_level_is_layered(job, level))
        (void) snprintf(finer, sizeof finer, ".layers");
    else if (level != job->level_asked)
        (void) snprintf(finer, sizeof finer, ".finer%+d", (int) steps_finer(job, level));
    job_path(job, folder, "step/%zu-%s", step + 1, technique);
    (void) snprintf(file, sizeof file, "step/%zu-%s/%s%s.onnx.zst", step + 1, technique,
                    graph->name, finer);
    job_path(job, path, "%s", file);
    rc = pith_mkdirs(folder, 0750, err);
    if (rc == 0)
        rc = stamp(job, graph, made);
    if (rc == 0)
        rc = pith_onnx_save(made, path, &bytes, err);
    if (rc == 0)
        rc = pith_onnx_write(made, &raw, err);
    if (rc == 0) {
        struct stat status;

        bytes = stat(path, &status) == 0 ? (size_t) status.st_size : bytes;
        pith_facts_init(&facts);
        pith_facts_of_graph(&facts, made, bytes, raw.bytes);
        job_measure_work(job, graph_index, made, &facts);
        (void) json_object_set_new(record, "file", json_string(file));
        (void) json_object_set_new(record, "facts", pith_facts_json(&facts));
        (void) json_object_set_new(record, "report",
                                   report ? json_loads(report, 0, NULL) : json_null());
    }
    pith_buffer_done(&raw);
    return rc;
}

/* All steps of the recipe, each from what the one before made. record: what was made is saved and
 * told there; NULL: it is only handed out. out: NULL where it is only saved. */
int job_apply_recipe(struct job *job, size_t graph_index, size_t level,
                     const struct job_rules *rules, json_t *record, struct pith_graph **out,
                     struct pith_error *err)
{
    struct pith_graph *made = NULL;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < job->recipe->step_count; i++) {
        const struct pith_graph *from = made ? made : job->graphs[graph_index].original;
        struct pith_graph *next = NULL;
        char *report = NULL;

        rc = apply_step(job, graph_index, &job->recipe->steps[i], level, rules, from, &next,
                        &report, err);
        if (rc == 0 && record)
            rc = save_step(job, graph_index, i, level, next, report, record, err);
        free(report);
        pith_graph_free(made);
        made = next;
    }
    if (rc == 0 && out) {
        *out = made;
        made = NULL;
    }
    pith_graph_free(made);
    return rc;
}

/* A form that is no smaller is not worth its rounding. The last technique may have told why it did
 * nothing, as "note" in its report. text: room for a sentence. */
static const char *refusal_of_form(const struct job *job, const struct job_graph *graph,
                                   const json_t *record, char *text, size_t bytes)
{
    const char *note =
        json_string_value(json_object_get(json_object_get(record, "report"), "note"));
    struct pith_facts facts;

    pith_facts_read(&facts, json_object_get(record, "facts"));
    if (facts.bytes < graph->facts.bytes)
        return NULL;
    if (!note)
        return "it is not smaller than the original";
    (void) snprintf(text, bytes, "%s: %.300s",
                    job->recipe->steps[job->recipe->step_count - 1].technique->name, note);
    return text;
}

/* Faults of one form are no faults of the job: the next finer one is tried. */
bool job_is_fault_of_form(int rc)
{
    return rc < 0 && rc != -ECANCELED && rc != -ENOMEM && rc != -ENOSPC && rc != -EIO &&
           rc != -EROFS && rc != -EDQUOT;
}

static int make(struct job *job, size_t graph_index, size_t level, const char *key, json_t **out,
                struct pith_error *err)
{
    json_t *record = json_object();
    struct pith_error why = {0};
    const char *refusal = NULL;
    struct job_rules rules = {.count = 0};
    char text[400];
    int rc = 0;

    if (job_level_is_layered(job, level))
        rc = job_layers_choose(job, graph_index, &rules, &why);
    if (rc == 0)
        rc = job_apply_recipe(job, graph_index, level, &rules, record, NULL, &why);
    if (rc == 0 && rules.text)
        (void) json_object_set_new(record, "given_up", json_string(rules.text));
    job_rules_done(&rules);

    if (rc < 0 && !job_is_fault_of_form(rc)) {
        json_decref(record);
        return pith_fail(err, rc, "%s", pith_error_text(&why));
    }
    why.code = rc;
    if (rc < 0)
        refusal = pith_error_text(&why);
    else
        refusal = refusal_of_form(job, &job->graphs[graph_index], record, text, sizeof text);
    (void) json_object_set_new(record, "ok", json_boolean(!refusal));
    (void) json_object_set_new(record, "reason", refusal ? json_string(refusal) : json_null());
    rc = job_record(job, key, record, err);
    if (rc < 0) {
        json_decref(record);
        return rc;
    }
    *out = record;
    return 0;
}

/* What was written is what is read back, run and judged from here on. */
static int load_form(struct job *job, struct job_form *form, struct pith_error *err)
{
    struct pith_buffer file = {0};
    uint8_t digest[PITH_SHA256_BYTES];
    char path[PATH_MAX];
    int rc;

    job_path(job, path, "%s", json_string_value(json_object_get(form->record, "file")));
    rc = pith_graph_open(&form->graph, path, (size_t) job->settings.graph_max_bytes, err);
    if (rc == 0)
        rc = pith_file_read(path, (size_t) job->settings.graph_max_bytes, &file, err);
    if (rc == 0)
        rc = pith_sha256(file.data, file.bytes, digest);
    if (rc == 0) {
        pith_hex_encode(form->sha256, digest, sizeof digest);
        rc = job_pick_engine(job, form->graph, &form->engine, err);
    }
    pith_buffer_done(&file);
    return rc;
}

int job_make_form(struct job *job, size_t graph_index, size_t level, bool *out_usable,
                  struct pith_error *err)
{
    struct job_form *form = &job->graphs[graph_index].forms[level];
    char key[PITH_NAME_BYTES + 40];
    int rc = 0;

    *out_usable = true;
    if (level + 1 == job->level_count)
        return 0; /* the original */
    (void) snprintf(key, sizeof key, "form-%s-%zu", job->graphs[graph_index].name, level);
    if (!form->record)
        rc = job_recall(job, key, &form->record, err);
    if (rc == 0 && !form->record)
        rc = make(job, graph_index, level, key, &form->record, err);
    if (rc < 0)
        return rc;
    *out_usable = json_is_true(json_object_get(form->record, "ok"));
    if (*out_usable && !form->graph) {
        struct pith_error why = {0};

        rc = load_form(job, form, &why);
        if (rc < 0 && !job_is_fault_of_form(rc))
            return pith_fail(err, rc, "%s", pith_error_text(&why));
        if (rc < 0) { /* no engine runs it, or it doesn't read back: this form is out, whenever we
                         look */
            why.code = rc;
            (void) json_object_set_new(form->record, "ok", json_false());
            (void) json_object_set_new(form->record, "reason", json_string(pith_error_text(&why)));
            pith_graph_free(form->graph);
            form->graph = NULL;
            *out_usable = false;
        }
    }
    return 0;
}

const struct pith_graph *job_form_graph(const struct job *job, size_t graph_index, size_t level)
{
    const struct job_graph *graph = &job->graphs[graph_index];

    return level + 1 >= job->level_count || !graph->forms[level].graph ? graph->original
                                                                       : graph->forms[level].graph;
}

void job_form_facts(const struct job *job, size_t graph_index, size_t level, struct pith_facts *out)
{
    const struct job_graph *graph = &job->graphs[graph_index];

    if (level + 1 >= job->level_count || !graph->forms[level].record)
        *out = graph->facts;
    else
        pith_facts_read(out, json_object_get(graph->forms[level].record, "facts"));
}

const char *job_form_sha256(const struct job *job, size_t graph_index, size_t level)
{
    const struct job_graph *graph = &job->graphs[graph_index];

    return level + 1 >= job->level_count || !graph->forms[level].graph ? graph->sha256
                                                                       : graph->forms[level].sha256;
}

/* The engine that the search runs a form with. */
static const struct job_engine *engine_of_search(const struct job *job, size_t graph, size_t level)
{
    const struct job_graph *of = &job->graphs[graph];

    return level + 1 >= job->level_count || !of->forms[level].graph ? of->engine
                                                                    : of->forms[level].engine;
}

int job_open_chain(struct job *job, const size_t *levels, const struct job_engine *const *engines,
                   bool remember, struct pith_chain **out, struct pith_error *err)
{
    const struct pith_graph *graphs[PITH_MANIFEST_MAX_GRAPHS];
    const struct pith_engine_ops *ops[PITH_MANIFEST_MAX_GRAPHS];
    const struct pith_option_value *values[PITH_MANIFEST_MAX_GRAPHS];
    struct pith_memo_engine memos[PITH_MANIFEST_MAX_GRAPHS];
    /* `engine` stands for none of the graphs: each has its own entry, with its own options. */
    struct pith_chain_options options = {
        .engines = ops, .graph_options = values, .threads = (uint32_t) job->settings.threads};

    for (size_t i = 0; i < job->graph_count; i++) {
        size_t level = levels ? levels[i] : job->level_count;
        const struct job_engine *engine = engines ? engines[i] : engine_of_search(job, i, level);

        graphs[i] = job->graphs[i].forms ? job_form_graph(job, i, level) : job->graphs[i].original;
        ops[i] = engine->ops;
        values[i] = engine->options.values;
        if (!remember || !job->memo)
            continue;
        memos[i] = (struct pith_memo_engine){.memo = job->memo,
                                             .inner = engine->ops,
                                             .inner_options = engine->options.values,
                                             .graph_id = job_form_sha256(job, i, level)};
        ops[i] = &pith_memo_ops;
        values[i] = &memos[i].options;
    }
    return pith_chain_open(out, job->manifest, graphs, &options, err);
}
