/* Inside a compression job: what its files share. Each outcome that took work is a small JSON file under step/, written
 * whole; a job that goes on finds it there and does not do the work again, and walks the same path to the same bytes. */
#ifndef PITH_COMPRESS_JOB_PARTS_H
#define PITH_COMPRESS_JOB_PARTS_H

#include "libpith/compress/evaluate.h"
#include "libpith/compress/host.h"
#include "libpith/compress/job.h"
#include "libpith/compress/measure.h"
#include "libpith/compress/memo.h"
#include "libpith/compress/recipe.h"

#include <limits.h>

#define JOB_MAX_ENGINES 16
#define JOB_MEMO_BYTES  ((size_t) 64 << 20) /* most that evaluation remembers of what graphs gave */

struct job_engine {
    const struct pith_plugin *plugin;
    const struct pith_engine_ops *ops;
    struct pith_options options; /* all defaults */
};

struct job_form { /* one graph at one level of the ladder */
    struct pith_graph *graph; /* own; NULL: not loaded */
    const struct job_engine *engine; /* that runs it in the search */
    json_t *record;           /* own; what was written of it: ok, reason, file, bytes, raw_bytes, form, reports */
    char sha256[PITH_SHA256_HEX + 1]; /* of that file, once loaded: forms of equal bytes are one form */
};

struct job_graph {
    const char *name;             /* the manifest's */
    struct pith_graph *original;  /* own */
    char file[PATH_MAX];          /* of the original, in the folder */
    char sha256[PITH_SHA256_HEX + 1]; /* of that file */
    struct pith_facts facts;      /* of the original */
    double half_ratio;            /* of its weights' bytes, those of 16-bit floats */
    struct pith_samples samples;  /* inputs for calibration; from the chain where data came, else noise for timing */
    bool calibrated;              /* samples are real */
    struct job_form *forms;       /* own; one a level, of job.level_count */
    const struct job_engine *engine; /* that vetting, calibration and the search run it with: always the same */
    size_t level;                 /* of the candidate that was kept */
};

struct job_settings { /* job.json */
    json_t *json;         /* own */
    json_t *recipe, *default_recipe, *budget; /* borrowed; NULL: not there */
    const char *recipe_path;
    bool compress;
    int64_t seed, threads, deadline_ms, graph_max_bytes, activation_max_bytes;
    int64_t calibration_samples, evaluation_samples, latency_runs;
    double cpu_power_mw;  /* 0: unknown */
};

struct job {
    const struct pith_job_options *options;
    struct job_settings settings;
    struct pith_manifest *manifest;
    struct pith_recipe *recipe;    /* NULL until read */
    struct pith_budget budget;     /* recipe's, manifest's, job.json's: the later wins */
    struct job_engine engines[JOB_MAX_ENGINES];
    size_t engine_count;
    struct job_graph *graphs;      /* as the manifest's */
    size_t graph_count;
    size_t level_count;            /* forms a graph may take, coarse to fine; the last one is the original */
    size_t level_asked;            /* the one that is as the recipe asks */
    bool layered;                  /* the level after it is as asked, but for layers that hurt */
    struct pith_dataset calibration, data; /* data: what is evaluated; count 0 where there is none */
    const char *data_name;         /* "validation", "calibration" or "none" */
    struct pith_outcomes baseline; /* of the original on what is evaluated; job_baseline makes it */
    struct pith_memo *memo;        /* what graphs gave while forms were judged; NULL where nothing is searched */
    struct pith_comparison chosen; /* of the levels that were kept, with the engines of the search */
    uint64_t started_ns;
    json_t *steps;                 /* for the result */
    bool given_up;                 /* the deadline or the evaluations ran out */
    bool rejected;                 /* the model as delivered is at fault */
    const char *state;             /* what progress says now */
    double done_from, done_to;     /* share of the whole job that the step under way covers */
};

/* ---- the folder ---- */
void job_path(const struct job *job, char path[PATH_MAX], const char *format, ...) PITH_PRINTF(3, 4);
bool job_file_exists(const char *path);
/* step/<key>.json. *out: a new reference, or NULL where there is none yet. */
int job_recall(const struct job *job, const char *key, json_t **out, struct pith_error *err) PITH_CHECKED;
int job_record(const struct job *job, const char *key, const json_t *record, struct pith_error *err) PITH_CHECKED;
int job_settings_read(struct job *job, struct pith_error *err) PITH_CHECKED;
/* Manifest, recipe, budget, engines, data. */
int job_inputs_read(struct job *job, struct pith_error *err) PITH_CHECKED;

/* ---- running ---- */
void job_say(struct job *job, const char *state, double from, double to, const char *text);
int job_check_cancelled(struct job *job, struct pith_error *err) PITH_CHECKED;
bool job_deadline_passed(const struct job *job);
/* A step of the result. before, after: NULL where unknown. */
void job_add_step(struct job *job, const char *name, const char *text, const struct pith_facts *before,
                  const struct pith_facts *after, uint64_t started_ns);
/* The engine that runs a graph, by name first "native", then in the order found. -ENOTSUP with each engine's reason. */
int job_pick_engine(const struct job *job, const struct pith_graph *graph, const struct job_engine **out,
                    struct pith_error *err) PITH_CHECKED;

/* ---- steps ---- */
/* Reads, checks, sizes and first runs of all originals. Sets job->rejected where the model is at fault. */
int job_vet(struct job *job, struct pith_error *err) PITH_CHECKED;
int job_calibrate(struct job *job, struct pith_error *err) PITH_CHECKED;
/* Sets level_count and level_asked. */
void job_count_levels(struct job *job);
/* Makes form `level` of a graph, or finds it made. *out_usable: false where there is no such form (the record says why). */
int job_make_form(struct job *job, size_t graph, size_t level, bool *out_usable, struct pith_error *err) PITH_CHECKED;
bool job_is_fault_of_form(int rc); /* else of the machine, or a wish to stop */
/* Which layers take another form, as a technique's option `schemes` has it. */
struct job_rules {
    char **texts;  /* own; "layer=form" */
    size_t count;
    char *text;    /* own; what was given up, as a sentence; NULL: nothing was */
};
void job_rules_done(struct job_rules *rules);
int job_rules_option(const struct pith_plugin *technique); /* its place, or -1 */
void job_rules_set(const struct job_rules *rules, struct pith_option_value *value);
bool job_layers_offered(const struct job *job);
bool job_level_is_layered(const struct job *job, size_t level);
/* The fewest layers that must go finer for the budget to hold with this graph alone changed. -ENODATA where nothing tells,
 * or no number of layers is enough. */
int job_layers_choose(struct job *job, size_t graph, struct job_rules *out, struct pith_error *err) PITH_CHECKED;
int job_apply_recipe(struct job *job, size_t graph, size_t level, const struct job_rules *rules, json_t *record,
                     struct pith_graph **out, struct pith_error *err) PITH_CHECKED;
/* Runs the samples with this graph changed and the others original. */
int job_evaluate_graph(struct job *job, size_t graph_index, const struct pith_graph *graph,
                       struct pith_comparison *out, struct pith_error *err) PITH_CHECKED;
const struct pith_graph *job_form_graph(const struct job *job, size_t graph, size_t level);
/* Adds MACs and activations of a form of the graph, for the shapes that the chain gives it. */
void job_measure_work(const struct job *job, size_t graph, const struct pith_graph *form, struct pith_facts *facts);
/* Sizes of a form, from its record. */
void job_form_facts(const struct job *job, size_t graph, size_t level, struct pith_facts *out);
/* Chooses each graph's level so that the budget is kept with the fewest bytes found. */
int job_search(struct job *job, struct pith_error *err) PITH_CHECKED;
/* Opens a chain over one form a graph; levels NULL: the originals. engines: one a graph; NULL: those of the search.
 * remember: through job->memo, where there is one. */
int job_open_chain(struct job *job, const size_t *levels, const struct job_engine *const *engines, bool remember,
                   struct pith_chain **out, struct pith_error *err) PITH_CHECKED;
/* What equal bytes have in common. */
const char *job_form_sha256(const struct job *job, size_t graph, size_t level);
struct pith_dataset *job_evaluation_data(struct job *job); /* count 0: there is none */
/* Makes job->baseline, or reads it back. */
int job_baseline(struct job *job, struct pith_error *err) PITH_CHECKED;
/* After each sample: whether the rest can be left out. */
typedef bool job_enough(void *user, const struct pith_outcomes *so_far);
/* Runs the samples through the forms at `levels` (NULL: the originals). enough: NULL runs all of them. */
int job_run_chain(struct job *job, const size_t *levels, struct pith_outcomes *outcomes, job_enough *enough,
                  void *user, const char *text, struct pith_error *err) PITH_CHECKED;
bool job_budget_allows(const struct job *job, const struct pith_comparison *comparison);
json_t *job_comparison_json(const struct pith_comparison *comparison);
void job_comparison_read(struct pith_comparison *out, const json_t *object);
/* Writes variant/, measures it beside the original, writes result.json. */
int job_finish(struct job *job, struct pith_error *err) PITH_CHECKED;
int job_write_refusal(struct job *job, const char *reason, struct pith_error *err) PITH_CHECKED;

#endif
