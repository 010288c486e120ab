/* The end of a job: the chosen forms become variant/, are measured beside the original on every
 * engine and in the chain, and result.json says all of it. */
#include "libpith/compress/job_candidates.h"
#include "libpith/compress/job_turns.h"

#include "libpith/base/clock.h"
#include "libpith/base/file.h"
#include "libpith/base/json.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CHAIN_LIMIT_MS 2000 /* for timing the whole chain, where its decisions are known */

struct outcome { /* what is known of one graph in the end */
    char file[PATH_MAX];
    char sha256[PITH_SHA256_HEX + 1];
    struct pith_facts original, variant;
    const struct job_engine *original_engine, *variant_engine;
    json_t *engines; /* own */
};

/* ---- variant/ ---- */

static bool is_original(const struct job *job, size_t graph)
{
    return job->graphs[graph].level + 1 >= job->level_count;
}

/* The bytes of the chosen form, packed as variants are. */
static int packed_form(const struct job *job, size_t index, struct pith_buffer *out,
                       struct pith_error *err)
{
    const struct job_graph *graph = &job->graphs[index];
    size_t limit = (size_t) job->settings.graph_max_bytes;
    struct pith_buffer file = {0}, raw = {0};
    bool zstd = strlen(graph->file) > 4 && !strcmp(graph->file + strlen(graph->file) - 4, ".zst");
    char path[PATH_MAX];
    int rc;

    if (!is_original(job, index)) {
        job_path(job, path, "%s",
                 json_string_value(json_object_get(graph->forms[graph->level].record, "file")));
        return pith_file_read(path, limit, out, err);
    }
    rc = pith_file_read(graph->file, limit, &file, err);
    if (rc == 0 && zstd)
        rc = pith_zstd_decompress(file.data, file.bytes, limit, &raw, err);
    if (rc == 0)
        rc = pith_zstd_compress(zstd ? raw.data : file.data, zstd ? raw.bytes : file.bytes,
                                PITH_ZSTD_LEVEL, out, err);
    pith_buffer_done(&file);
    pith_buffer_done(&raw);
    return rc;
}

static int write_variant(const struct job *job, size_t index, struct outcome *outcome,
                         struct pith_error *err)
{
    struct pith_buffer packed = {0};
    uint8_t digest[PITH_SHA256_BYTES];
    char path[PATH_MAX];
    int rc = packed_form(job, index, &packed, err);

    (void) snprintf(outcome->file, sizeof outcome->file, "variant/%s.onnx.zst",
                    job->graphs[index].name);
    job_path(job, path, "%s", outcome->file);
    if (rc == 0)
        rc = pith_file_write(path, packed.data, packed.bytes, 0640, err);
    if (rc == 0)
        rc = pith_sha256(packed.data, packed.bytes, digest);
    if (rc == 0)
        pith_hex_encode(outcome->sha256, digest, sizeof digest);
    outcome->original = job->graphs[index].facts;
    job_form_facts(job, index, job->graphs[index].level, &outcome->variant);
    outcome->variant.bytes = (double) packed.bytes;
    pith_buffer_done(&packed);
    return rc;
}

/* ---- engines ---- */

static json_t *engine_row(const struct job_engine *engine, const char *form,
                          const struct pith_timing *timing, bool chosen)
{
    struct pith_facts facts; /* borrowed for its way with unknown numbers */
    json_t *row, *numbers;

    pith_facts_init(&facts);
    facts.latency_p50_us = timing->latency_p50_us;
    facts.latency_p95_us = timing->latency_p95_us;
    facts.arena_bytes = timing->arena_bytes;
    facts.cpu_us = timing->compile_us;
    numbers = pith_facts_json(&facts);
    row = json_pack("{s:s, s:s, s:b, s:s?, s:O, s:O, s:O, s:O, s:b}", "engine",
                    engine->plugin->name, "form", form, "supported", timing->supported, "reason",
                    timing->supported ? NULL : timing->reason, "compile_us",
                    json_object_get(numbers, "cpu_us"), "latency_p50_us",
                    json_object_get(numbers, "latency_p50_us"), "latency_p95_us",
                    json_object_get(numbers, "latency_p95_us"), "arena_bytes",
                    json_object_get(numbers, "arena_bytes"), "chosen", chosen);
    json_decref(numbers);
    return row;
}

static void take_timing(struct pith_facts *facts, const struct pith_timing *timing,
                        const struct job *job)
{
    facts->latency_p50_us = timing->latency_p50_us;
    facts->latency_p95_us = timing->latency_p95_us;
    facts->latency_runs = (double) timing->runs;
    facts->cpu_us = timing->cpu_us;
    facts->arena_bytes = timing->arena_bytes;
    pith_facts_estimate_energy(facts, job->settings.cpu_power_mw);
}

/* Every engine, with the original and the variant in turn. */
static int measure_engines(struct job *job, size_t index, struct outcome *outcome,
                           struct pith_error *err)
{
    const struct job_graph *graph = &job->graphs[index];
    struct job_timing timing;
    int rc = job_time_graph(job, index, graph->level, &timing, err);

    if (rc < 0)
        return rc;
    outcome->engines = json_array();
    outcome->original_engine = outcome->variant_engine = graph->engine;
    if (!is_original(job, index))
        outcome->variant_engine = graph->forms[graph->level].engine;
    if (timing.count == 0)
        return 0;
    for (size_t i = 0; i < timing.count; i++)
        (void) json_array_append_new(
            outcome->engines,
            engine_row(&job->engines[i / timing.sides], i % timing.sides ? "variant" : "original",
                       &timing.contenders[i].timing, i == timing.best[i % timing.sides]));
    outcome->original_engine = &job->engines[timing.best[0] / timing.sides];
    outcome->variant_engine = &job->engines[timing.best[1] / timing.sides];
    take_timing(&outcome->original, &timing.contenders[timing.best[0]].timing, job);
    take_timing(&outcome->variant, &timing.contenders[timing.best[1]].timing, job);
    return 0;
}

/* ---- the chain, original and variant in turn ---- */

struct both {
    struct job_pair pair;
    struct pith_comparison comparison;
    struct pith_facts total[2];
};

/* Whether the fastest engines are those of the search: then what it found need not be run again. */
static bool decided_alike(const struct job *job, const struct outcome *outcomes)
{
    for (size_t i = 0; i < job->graph_count; i++)
        if (outcomes[i].original_engine != job->graphs[i].engine ||
            (!is_original(job, i) &&
             outcomes[i].variant_engine != job->graphs[i].forms[job->graphs[i].level].engine))
            return false;
    return true;
}

static int open_both(struct job *job, const struct outcome *outcomes, struct both *both,
                     struct pith_error *err)
{
    struct job_pair_engines engines;
    size_t levels[PITH_MANIFEST_MAX_GRAPHS];

    for (size_t i = 0; i < job->graph_count; i++) {
        engines.original[i] = outcomes[i].original_engine;
        engines.variant[i] = outcomes[i].variant_engine;
        levels[i] = job->graphs[i].level;
    }
    return job_pair_open(job, levels, &engines, &both->pair, err);
}

/* An original that stays was timed when it ran over the samples. */
static int run_both(struct job *job, const struct outcome *outcomes, struct both *both,
                    struct pith_error *err)
{
    bool alike = decided_alike(job, outcomes);
    int rc;

    job_say(job, "evaluating", 0.8, 1, "measuring original and variant in turn");
    both->comparison = job->chosen;
    pith_comparison_complete(&both->comparison);
    if (job_evaluation_data(job)->count == 0 || (alike && !job->memo))
        return 0;
    rc = open_both(job, outcomes, both, err);
    if (rc == 0)
        rc = job_pair_run(job, &both->pair, alike ? CHAIN_LIMIT_MS : 0,
                          "measuring original and variant in turn", err);
    if (rc == 0 && !alike)
        pith_outcomes_compare(&both->pair.outcomes[0], &both->pair.outcomes[1], &both->comparison);
    return rc;
}

/* Those of the run in turn, where there was one. */
static struct pith_outcomes *timed(struct job *job, struct both *both, int side)
{
    return both->pair.outcomes[side].results > 0 ? &both->pair.outcomes[side] : &job->baseline;
}

static void total_facts(struct job *job, const struct outcome *outcomes, struct both *both)
{
    const struct pith_comparison *comparison = &both->comparison;

    for (int side = 0; side < 2; side++) {
        struct pith_facts *total = &both->total[side];

        *total = side ? outcomes[0].variant : outcomes[0].original;
        for (size_t i = 1; i < job->graph_count; i++)
            pith_facts_sum(total, side ? &outcomes[i].variant : &outcomes[i].original);
        if (job->graph_count > 1 || comparison->samples > 0) {
            total->energy_uj = NAN;
            total->energy_source = PITH_ENERGY_UNKNOWN;
            struct pith_outcomes *outcomes_of_side = timed(job, both, side);

            pith_outcomes_latency(outcomes_of_side, &total->latency_p50_us, &total->latency_p95_us,
                                  &total->cpu_us);
            total->latency_runs =
                comparison->samples > 0 ? (double) outcomes_of_side->results : NAN;
            pith_facts_estimate_energy(total, job->settings.cpu_power_mw);
        }
    }
    if (comparison->samples == 0)
        return;
    both->total[0].fidelity_ratio = comparison->scoreless ? NAN : 1;
    both->total[0].error_ratio = 0;
    both->total[1].fidelity_ratio =
        comparison->scoreless ? NAN : (double) comparison->same / (double) comparison->samples;
    both->total[1].error_ratio = comparison->error_ratio;
    if (!comparison->labelled)
        return;
    both->total[0].accuracy_ratio = (double) comparison->right_a / (double) comparison->samples;
    both->total[0].accuracy_low_ratio = comparison->accuracy_low_a;
    both->total[0].accuracy_high_ratio = comparison->accuracy_high_a;
    both->total[1].accuracy_ratio = (double) comparison->right_b / (double) comparison->samples;
    both->total[1].accuracy_low_ratio = comparison->accuracy_low_b;
    both->total[1].accuracy_high_ratio = comparison->accuracy_high_b;
    both->total[0].accuracy_samples = both->total[1].accuracy_samples =
        (double) comparison->samples;
}

/* ---- the result ---- */

static void add_missed(json_t *missed, const char *format, ...) PITH_PRINTF(2, 3);
static void add_missed(json_t *missed, const char *format, ...)
{
    char text[200];
    va_list arguments;

    va_start(arguments, format);
    (void) vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    (void) json_array_append_new(missed, json_string(text));
}

static json_t *budget_outcome(const struct job *job, const struct both *both)
{
    const struct pith_budget *budget = &job->budget;
    const struct pith_facts *original = &both->total[0], *variant = &both->total[1];
    const double counted = job_counted_bytes(job);
    json_t *missed = json_array();

    if (!job_budget_allows(job, &both->comparison))
        add_missed(missed, "decisions differ by more than the budget or the fidelity gate allows");
    if (budget->bytes_ratio > 0 && variant->bytes > budget->bytes_ratio * counted)
        add_missed(missed, "%.0f bytes at rest are %.3f of the original's%s; the budget is %.3f",
                   variant->bytes, variant->bytes / counted,
                   counted > original->bytes ? " in float32" : "", budget->bytes_ratio);
    if (budget->max_bytes > 0 && variant->bytes > (double) budget->max_bytes)
        add_missed(missed, "%.0f bytes at rest; the budget is %lld", variant->bytes,
                   (long long) budget->max_bytes);
    if (budget->latency_ms > 0 && variant->latency_p50_us > budget->latency_ms * 1000)
        add_missed(missed, "median latency is %.3g ms; the budget is %.3g ms",
                   variant->latency_p50_us / 1000, budget->latency_ms);
    /* Estimated energy is CPU time by a factor that both share, so its ratio is known without it.
     */
    if (budget->energy_ratio > 0 && variant->cpu_us > budget->energy_ratio * original->cpu_us)
        add_missed(missed, "energy, by CPU time, is %.2f of the original's; the budget is %.2f",
                   variant->cpu_us / original->cpu_us, budget->energy_ratio);
    return json_pack("{s:b, s:o, s:o}", "kept", json_array_size(missed) == 0, "limits",
                     pith_budget_json(budget), "missed", missed);
}

static const json_t *form_report(const struct job *job, size_t index)
{
    const struct job_graph *graph = &job->graphs[index];

    return is_original(job, index) ? NULL
                                   : json_object_get(graph->forms[graph->level].record, "report");
}

/* What the technique calls what it made; any technique's result has at least its name. */
static const char *form_text(const struct job *job, size_t index, const char *key)
{
    const char *text = json_string_value(json_object_get(form_report(job, index), key));

    if (is_original(job, index))
        return "original";
    return text ? text : job->recipe->steps[job->recipe->step_count - 1].technique->name;
}

static json_t *graph_json(const struct job *job, size_t index, struct outcome *outcome)
{
    const json_t *report = form_report(job, index);

    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:O, s:o}", "name", job->graphs[index].name,
        "file", outcome->file, "sha256", outcome->sha256, "form", form_text(job, index, "form"),
        "engine", outcome->variant_engine->plugin->name, "original_engine",
        outcome->original_engine->plugin->name, "original", pith_facts_json(&outcome->original),
        "variant", pith_facts_json(&outcome->variant), "engines", outcome->engines, "report",
        report ? json_deep_copy(report) : json_null());
}

static bool all_original(const struct job *job)
{
    for (size_t i = 0; i < job->graph_count; i++)
        if (!is_original(job, i))
            return false;
    return true;
}

/* One name where all compressed graphs have it. */
static const char *variant_name(const struct job *job)
{
    const char *name = NULL;

    if (all_original(job))
        return "original";
    for (size_t i = 0; i < job->graph_count; i++) {
        const char *of = form_text(job, i, "variant_name");

        if (is_original(job, i))
            continue;
        if (name && strcmp(name, of) != 0)
            return "mixed";
        name = of;
    }
    return name;
}

/* The first reason why a form of some graph was not to be had. */
static const char *form_refusal(const struct job *job)
{
    for (size_t i = 0; i < job->graph_count; i++)
        for (size_t level = 0; level + 1 < job->level_count; level++) {
            const json_t *record = job->graphs[i].forms[level].record;

            if (record && !json_is_true(json_object_get(record, "ok")))
                return json_string_value(json_object_get(record, "reason"));
        }
    return NULL;
}

static void reason_text(const struct job *job, const struct both *both, char *text, size_t bytes)
{
    const struct pith_comparison *comparison = &both->comparison;
    double ratio = both->total[1].bytes / both->total[0].bytes;
    const char *refusal = form_refusal(job);
    size_t used, kept = 0;

    if (all_original(job)) {
        if (!job->settings.compress)
            (void) snprintf(text, bytes, "the original is used as it is, as was asked for");
        else if (job->recipe->step_count == 0)
            (void) snprintf(text, bytes,
                            "the original is used as it is: the recipe changes nothing");
        else if (job->given_up)
            (void) snprintf(
                text, bytes,
                "the original stays: no compressed form within the budget was found before the "
                "evaluations or the time ran out");
        else
            (void) snprintf(text, bytes,
                            "the original stays: no compressed form keeps the budget%s%s",
                            refusal ? "; " : "", refusal ? refusal : "");
        return;
    }
    used = (size_t) snprintf(text, bytes, "%s: %.0f bytes at rest, %.2f of the original's",
                             variant_name(job), both->total[1].bytes, ratio);
    if (comparison->samples > 0 && comparison->scoreless && used < bytes)
        used += (size_t) snprintf(text + used, bytes - used,
                                  "; its outputs are no scores, so no decisions were compared: they "
                                  "err by %.2g of their deviation",
                                  comparison->error_ratio);
    else if (comparison->samples > 0 && used < bytes)
        used += (size_t) snprintf(
            text + used, bytes - used, "; the same decision on %llu of %llu samples",
            (unsigned long long) comparison->same, (unsigned long long) comparison->samples);
    else if (used < bytes)
        used +=
            (size_t) snprintf(text + used, bytes - used,
                              "; no samples came with the model, so its accuracy was not measured");
    for (size_t i = 0; i < job->graph_count; i++)
        if (is_original(job, i) && used < bytes)
            used += (size_t) snprintf(text + used, bytes - used, "%s%s",
                                      kept++ ? ", " : "; kept as delivered: ", job->graphs[i].name);
}

static json_t *evaluation_json(const struct job *job, const struct both *both)
{
    const struct pith_comparison *comparison = &both->comparison;
    json_t *mcnemar = json_null();

    if (comparison->samples == 0)
        return json_pack("{s:i, s:b, s:s, s:o}", "samples", 0, "labelled", 0, "data", "none",
                         "mcnemar", mcnemar);
    if (comparison->labelled)
        mcnemar = json_pack("{s:I, s:I, s:f}", "only_original", (json_int_t) comparison->only_a,
                            "only_variant", (json_int_t) comparison->only_b, "p_value",
                            comparison->mcnemar_p);
    return json_pack("{s:I, s:b, s:s, s:o}", "samples", (json_int_t) comparison->samples,
                     "labelled", comparison->labelled, "data", job->data_name, "mcnemar", mcnemar);
}

/* What was given up, behind what was done. */
static void append_missed(const json_t *budget, char *text, size_t bytes)
{
    const json_t *missed;
    size_t i, used = strlen(text);

    json_array_foreach(json_object_get(budget, "missed"), i, missed) if (used < bytes) used +=
        (size_t) snprintf(text + used, bytes - used, "%s%s", i == 0 ? "; not kept: " : "; ",
                          json_string_value(missed));
}

static int write_result(const struct job *job, const json_t *result, struct pith_error *err)
{
    char path[PATH_MAX],
        *text = result ? json_dumps(result, JSON_INDENT(1) | JSON_SORT_KEYS) : NULL;
    int rc;

    job_path(job, path, "result.json");
    rc = text ? pith_file_write(path, text, strlen(text), 0640, err) : -ENOMEM;
    free(text);
    return rc;
}

static int tell(struct job *job, struct outcome *outcomes, struct both *both,
                struct pith_error *err)
{
    json_t *graphs = json_array(), *budget = budget_outcome(job, both), *result;
    char reason[640];
    int rc;

    reason_text(job, both, reason, sizeof reason);
    append_missed(budget, reason, sizeof reason);
    for (size_t i = 0; i < job->graph_count; i++)
        (void) json_array_append_new(graphs, graph_json(job, i, &outcomes[i]));
    result = json_pack("{s:i, s:b, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:{s:o, s:o}, s:O, s:o}",
                       "format", 1, "ok", 1, "outcome",
                       all_original(job) ? "original" : "compressed", "reason", reason, "model",
                       job->manifest->model, "version", job->manifest->version, "variant_name",
                       variant_name(job), "recipe", pith_recipe_json(job->recipe, true), "budget", budget,
                       "graphs", graphs, "total", "original", pith_facts_json(&both->total[0]),
                       "variant", pith_facts_json(&both->total[1]), "steps", job->steps,
                       "evaluation", evaluation_json(job, both));
    rc = write_result(job, result, err);
    json_decref(result);
    return rc;
}

int job_finish(struct job *job, struct pith_error *err)
{
    struct outcome *outcomes = calloc(job->graph_count + 1, sizeof *outcomes);
    uint64_t started_ns = pith_monotonic_ns();
    struct both both = {0};
    char folder[PATH_MAX];
    int rc = outcomes ? 0 : -ENOMEM;

    job_say(job, "evaluating", 0.7, 0.8, "measuring every engine");
    job_path(job, folder, "variant");
    if (rc == 0)
        rc = pith_mkdirs(folder, 0750, err);
    for (size_t i = 0; rc == 0 && i < job->graph_count; i++) {
        rc = write_variant(job, i, &outcomes[i], err);
        if (rc == 0)
            rc = measure_engines(job, i, &outcomes[i], err);
    }
    if (rc == 0)
        rc = run_both(job, outcomes, &both, err);
    if (rc == 0) {
        total_facts(job, outcomes, &both);
        job_add_step(job, "measure",
                     "original and variant run in turn on the engines that were fastest",
                     &both.total[0], &both.total[1], started_ns);
        rc = tell(job, outcomes, &both, err);
    }
    job_pair_done(&both.pair);
    for (size_t i = 0; outcomes && i < job->graph_count; i++)
        json_decref(outcomes[i].engines);
    free(outcomes);
    return rc;
}

int job_write_refusal(struct job *job, const char *reason, struct pith_error *err)
{
    json_t *result =
        json_pack("{s:i, s:b, s:s, s:s, s:s, s:s, s:n, s:O}", "format", 1, "ok", 0, "outcome",
                  job->rejected ? "rejected" : "failed", "reason", reason, "model",
                  job->manifest ? job->manifest->model : "", "version",
                  job->manifest ? job->manifest->version : "", "variant_name", "steps", job->steps);
    int rc = write_result(job, result, err);

    json_decref(result);
    return rc;
}
