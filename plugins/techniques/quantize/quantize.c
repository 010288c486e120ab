/* Technique quantize: static int8 with calibration, or integer weights alone. Folds batch
 * normalizations, plans, fits ranges to the calibration samples, and moves the layers that hurt to
 * finer forms. Accuracy of the whole model is the host's to keep: it asks for finer results by the
 * option `finer`. */
#include "plugins/techniques/quantize/fold.h"
#include "plugins/techniques/quantize/nothing.h"
#include "plugins/techniques/quantize/repair.h"
#include "plugins/techniques/quantize/report.h"
#include "plugins/techniques/quantize/resolve.h"
#include "plugins/techniques/quantize/restore.h"
#include "plugins/techniques/quantize/sensitivity.h"
#include "plugins/techniques/quantize/write.h"

#include <pith/technique.h>

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK_SAMPLES 32 /* that the ranges have not seen, of those that came */
#define CHECK_SHARE   4  /* one in so many */

static const char *const weight_choices[] = {"int8", "int4", "float16", "bfloat16", NULL};
enum { WEIGHTS_INT8, WEIGHTS_INT4, WEIGHTS_FLOAT16, WEIGHTS_BFLOAT16 };
static const char *const activation_choices[] = {"int8", "uint8", "int16", "float32", NULL};
enum { ACTIVATIONS_INT8, ACTIVATIONS_UINT8, ACTIVATIONS_INT16, ACTIVATIONS_FLOAT32 };

#define REDUCED_BITS                                                                               \
    7 /* 2 * 255 * 63 fits 16 bits, where some processors add pairs of products                    \
       */

enum {
    OPTION_WEIGHTS,
    OPTION_WEIGHT_BITS,
    OPTION_REDUCE_RANGE,
    OPTION_BLOCK_SIZE,
    OPTION_ACTIVATIONS,
    OPTION_RANGES,
    OPTION_PERCENTILE,
    OPTION_HEADROOM,
    OPTION_LEAST_SAMPLES,
    OPTION_PER_CHANNEL,
    OPTION_KEEP,
    OPTION_ONLY,
    OPTION_SCHEMES,
    OPTION_SAMPLES,
    OPTION_EQUALIZE,
    OPTION_SMOOTH,
    OPTION_SMOOTH_ALPHA,
    OPTION_ROUNDING,
    OPTION_BIAS_CORRECTION,
    OPTION_MAX_ERROR_RATIO,
    OPTION_MAX_CHECKS,
    OPTION_FINER,
};

static const struct pith_option options[] = {
    [OPTION_WEIGHTS] = {.name = "weights",
                        .type = PITH_OPTION_CHOICE,
                        .otherwise = "int8",
                        .choices = weight_choices,
                        .help = "how weights are stored: int8 or int4 with a scale a channel, or "
                                "float16 or bfloat16. What comes as integers of fewer bits stays "
                                "as it is"},
    [OPTION_WEIGHT_BITS] = {.name = "weight_bits",
                            .type = PITH_OPTION_INT,
                            .minimum = 4,
                            .maximum = 8,
                            .otherwise = "8",
                            .help =
                                "bits that int8 weights make use of; fewer pack better at rest, "
                                "and cost a little accuracy"},
    [OPTION_REDUCE_RANGE] =
        {.name = "reduce_range",
         .type = PITH_OPTION_BOOL,
         .otherwise = "false",
         .help = "int8 weights make use of 7 bits at most, for runtimes that add pairs of products "
                 "of uint8 and int8 in 16 bits (x86 without VNNI) and would saturate; ours don't"},
    [OPTION_BLOCK_SIZE] =
        {.name = "block_size",
         .type = PITH_OPTION_INT,
         .minimum = 0,
         .maximum = 65536,
         .otherwise = "0",
         .help = "int4 weights have a scale for each block of so many inputs instead of one a "
                 "channel, where a layer has as many; 0: a channel. 32 suits large products"},
    [OPTION_ACTIVATIONS] =
        {.name = "activations",
         .type = PITH_OPTION_CHOICE,
         .otherwise = "int8",
         .choices = activation_choices,
         .help = "what flows between layers: int8, uint8 or int16 (want calibration samples), or "
                 "float32, where only weights get smaller"},
    [OPTION_RANGES] = {.name = "ranges",
                       .type = PITH_OPTION_CHOICE,
                       .otherwise = "mse",
                       .choices = range_method_names,
                       .help = "how an activation's range follows from the samples: all of it, all "
                               "but the rarest, where the squared error is least, or where the "
                               "distribution changes least"},
    [OPTION_PERCENTILE] =
        {.name = "percentile",
         .type = PITH_OPTION_FLOAT,
         .minimum = 50,
         .maximum = 100,
         .otherwise = "99.99",
         .help = "share of values inside the range on each side, for ranges: percentile"},
    [OPTION_HEADROOM] =
        {.name = "headroom",
         .type = PITH_OPTION_BOOL,
         .otherwise = "true",
         .help = "ranges from fewer than 50 samples reach as far as the next sample is likely to, "
                 "and those of int16 four times as far as what was seen, but none past the limits of a "
                 "Clip or Relu"},
    [OPTION_LEAST_SAMPLES] =
        {.name = "least_samples",
         .type = PITH_OPTION_INT,
         .minimum = 1,
         .maximum = 1000000,
         .otherwise = "10",
         .help = "with fewer calibration samples, whose ranges say too little, 8-bit activations "
                 "stay float and only weights get smaller; 1: whatever came is enough"},
    [OPTION_PER_CHANNEL] =
        {.name = "per_channel",
         .type = PITH_OPTION_BOOL,
         .otherwise = "true",
         .help = "a scale for each output channel; false where the target can't (some NPUs)"},
    [OPTION_KEEP] = {.name = "keep",
                     .type = PITH_OPTION_STRINGS,
                     .otherwise = "[]",
                     .help = "names of nodes that stay float, or patterns as a shell has them"},
    [OPTION_ONLY] = {.name = "only",
                     .type = PITH_OPTION_STRINGS,
                     .otherwise = "[]",
                     .help = "names or patterns of the only nodes that don't stay float; []: all"},
    [OPTION_SCHEMES] =
        {.name = "schemes",
         .type = PITH_OPTION_STRINGS,
         .otherwise = "[]",
         .choices = form_names,
         .help = "forms of single layers, each a name or pattern, = and a form: int8, int4, w8a16, "
                 "w4a16, weights-int8, weights-int4, weights-float16, weights-bfloat16 or float32. "
                 "The first that matches counts"},
    [OPTION_SAMPLES] = {.name = "samples",
                        .type = PITH_OPTION_INT,
                        .minimum = 0,
                        .maximum = 1000000,
                        .otherwise = "0",
                        .help = "most calibration samples to use; 0: all there are"},
    [OPTION_EQUALIZE] =
        {.name = "equalize",
         .type = PITH_OPTION_CHOICE,
         .otherwise = "auto",
         .choices = repair_switch_names,
         .help = "bring the channels of neighbouring layers to one size, so that one scale suits "
                 "them all, and give high biases to the next layer. auto: where weights have one "
                 "scale a tensor, and of 8-bit layers, only if the outputs err less"},
    [OPTION_SMOOTH] = {.name = "smooth",
                       .type = PITH_OPTION_CHOICE,
                       .otherwise = "auto",
                       .choices = repair_switch_names,
                       .help = "move outliers of normalized activations into the weights behind "
                               "them. auto: only if the outputs err less"},
    [OPTION_SMOOTH_ALPHA] = {.name = "smooth_alpha",
                             .type = PITH_OPTION_FLOAT,
                             .minimum = 0,
                             .maximum = 1,
                             .otherwise = "0.5",
                             .help = "how much of an outlier moves, 0 to 1"},
    [OPTION_ROUNDING] = {.name = "rounding",
                         .type = PITH_OPTION_CHOICE,
                         .otherwise = "auto",
                         .choices = rounding_method_names,
                         .help = "which integer a weight becomes: the nearest, the one that gptq "
                                 "finds best for the layer's outputs, or the one that adaround "
                                 "learns for them. auto: gptq where that takes seconds, if the "
                                 "outputs err less, and else the nearest"},
    [OPTION_BIAS_CORRECTION] =
        {.name = "bias_correction",
         .type = PITH_OPTION_CHOICE,
         .otherwise = "auto",
         .choices = repair_switch_names,
         .help =
             "bring the mean of each layer's channels back to what it was. auto: with integer "
             "activations or int4 weights, and only if the outputs err less"},
    [OPTION_MAX_ERROR_RATIO] =
        {.name = "max_error_ratio",
         .type = PITH_OPTION_FLOAT,
         .minimum = 0,
         .maximum = 1e9,
         .otherwise = "0.1",
         .help = "greatest root mean square error of the graph's outputs (before Softmax), relative "
                 "to their deviation; layers that push it higher are kept finer. 0: no check"},
    [OPTION_MAX_CHECKS] = {.name = "max_checks",
                           .type = PITH_OPTION_INT,
                           .minimum = 4,
                           .maximum = 10000,
                           .otherwise = "96",
                           .help = "most runs over the check samples in search of those layers"},
    [OPTION_FINER] = {.name = "finer",
                      .type = PITH_OPTION_INT,
                      .minimum = -2,
                      .maximum = 2,
                      .otherwise = "0",
                      .help = "steps finer than asked for: 1 leaves activations float, 2 stores "
                              "weights as float16 too; from int4 weights, 1 makes them int8 and 2 "
                              "leaves activations float. -1 and -2 take bits from int8 weights. A "
                              "budget moves it where a graph needs it"},
    {.name = NULL},
};

/* The form of layers that no rule names. */
static enum form asked_form(const struct pith_option_value *values)
{
    static const enum form by_activations[2][4] = {
        [WEIGHTS_INT8] = {FORM_W8A8, FORM_W8A8, FORM_W8A16, FORM_W8},
        [WEIGHTS_INT4] = {FORM_W4A8, FORM_W4A8, FORM_W4A16, FORM_W4},
    };
    int64_t weights = values[OPTION_WEIGHTS].integer, finer = values[OPTION_FINER].integer;

    if (weights == WEIGHTS_FLOAT16)
        return FORM_FLOAT16;
    if (weights == WEIGHTS_BFLOAT16)
        return FORM_BFLOAT16;
    if (weights == WEIGHTS_INT4 && finer > 0)
        weights = WEIGHTS_INT8, finer--;
    if (finer > 1)
        return FORM_FLOAT16;
    return by_activations[weights]
                         [finer > 0 ? ACTIVATIONS_FLOAT32 : values[OPTION_ACTIVATIONS].integer];
}

static struct rules rules_of(const struct pith_option_value *values)
{
    return (struct rules){
        .form = asked_form(values),
        .keep = values[OPTION_KEEP].texts,
        .keep_count = values[OPTION_KEEP].text_count,
        .only = values[OPTION_ONLY].texts,
        .only_count = values[OPTION_ONLY].text_count,
        .schemes = values[OPTION_SCHEMES].texts,
        .scheme_count = values[OPTION_SCHEMES].text_count,
    };
}

struct run { /* one call of apply */
    const struct pith_technique_job *job;
    const struct pith_option_value *values;
    struct rules rules;
    struct pith_graph *folded; /* the float graph that everything is compared with */
    struct restored restored;
    struct plan plan;
    struct reference reference;
    struct repairs repairs;
    struct report report;
    uint64_t check_first; /* sample */
};

static void say_progress(const struct run *run, double done_ratio)
{
    if (run->job->host->progress)
        run->job->host->progress(run->job->host->context, done_ratio);
}

/* Samples for ranges come first, those for the check last; with few, the same serve both. */
static void share_samples(struct run *run)
{
    const struct pith_host *host = run->job->host;
    uint64_t count = host->observe && host->sample_count ? host->sample_count(host->context) : 0;
    uint64_t most = (uint64_t) run->values[OPTION_SAMPLES].integer;

    if (most > 0 && count > most)
        count = most;
    uint64_t check = count / CHECK_SHARE < CHECK_SAMPLES ? count / CHECK_SHARE : CHECK_SAMPLES;

    run->report.samples = count - check;
    run->check_first = check > 0 ? run->report.samples : 0;
    run->report.check_samples = check > 0 ? check : count;
}

/* Whether some layer's input would become integers, as the rules are. */
static int has_static_layers(const struct run *run, bool *out, struct pith_error *err)
{
    const struct layer_options all = {
        .rules = run->rules, .restored = &run->restored, .per_channel = true};
    struct layer *layers = NULL;
    size_t count = 0;
    int rc = layers_find(run->folded, &all, &layers, &count);

    *out = false;
    for (size_t i = 0; i < count; i++)
        *out |= form_is_static(layers[i].form);
    layers_free(layers, count);
    return rc < 0 ? pith_fail(err, rc, "quantize: no memory to look at the layers") : 0;
}

/* Whether integer activations have samples to get their ranges from. A graph without layers that want
 * them, as one whose weights are integers already, goes without. Those that a layer is given by
 * name, and those of 16 bits, which have room, take what there is. */
static int want_samples(struct run *run, struct pith_error *err)
{
    const struct pith_host *host = run->job->host;
    uint64_t count = run->report.samples + (run->check_first > 0 ? run->report.check_samples : 0);
    uint64_t least = (uint64_t) run->values[OPTION_LEAST_SAMPLES].integer;
    char text[160];

    run->report.calibrated = rules_want_samples(&run->rules);
    if (!run->report.calibrated)
        return 0;
    if (count == 0) {
        int rc = has_static_layers(run, &run->report.calibrated, err);

        if (rc < 0 || !run->report.calibrated)
            return rc;
        return pith_fail(
            err, -EINVAL,
            "quantize: integer activations want calibration samples, and there are none; "
            "give some, or set activations: float32");
    }
    if (count >= least || form_activation_bits(run->rules.form) != 8)
        return 0;
    run->rules.form = form_without_activations(run->rules.form);
    run->rules.why = "too few calibration samples for the ranges of 8-bit activations";
    run->report.calibrated = rules_want_samples(&run->rules);
    (void) snprintf(text, sizeof text,
                    "%" PRIu64 " calibration samples are too few for the ranges of 8-bit "
                    "activations: they stay float (least_samples is %" PRIu64 ")",
                    count, least);
    if (host->log)
        host->log(host->context, PITH_LOG_WARNING, "quantize_samples_few", text);
    return 0;
}

static int32_t weight_limit(const struct pith_option_value *values)
{
    int64_t bits = values[OPTION_WEIGHT_BITS].integer;

    if (values[OPTION_REDUCE_RANGE].integer && bits > REDUCED_BITS)
        bits = REDUCED_BITS;
    if (values[OPTION_FINER].integer < 0)
        bits += values[OPTION_FINER].integer;
    return (1 << ((bits < 4 ? 4 : bits) - 1)) - 1;
}

/* What repairs are asked for, and what they have to work with. */
static void describe_repairs(struct run *run)
{
    const struct pith_option_value *values = run->values;

    run->repairs = (struct repairs){
        .equalize = (enum repair_switch) values[OPTION_EQUALIZE].integer,
        .smooth = (enum repair_switch) values[OPTION_SMOOTH].integer,
        .bias = (enum repair_switch) values[OPTION_BIAS_CORRECTION].integer,
        .rounding = (enum rounding_method) values[OPTION_ROUNDING].integer,
        .smooth_alpha = values[OPTION_SMOOTH_ALPHA].number,
        .host = run->job->host,
        .reference = run->reference.outputs ? &run->reference : NULL,
        .samples = run->report.samples,
        .layers = {.rules = run->rules,
                   .restored = &run->restored,
                   .per_channel = values[OPTION_PER_CHANNEL].integer,
                   .block_size = values[OPTION_BLOCK_SIZE].integer,
                   .weight_limit = weight_limit(values)},
        .dtype = values[OPTION_ACTIVATIONS].integer == ACTIVATIONS_UINT8 ? PITH_UINT8 : PITH_INT8,
        .ranges = run->report.ranges,
    };
}

/* Rules that match no layer are a mistake that would otherwise pass unseen. */
static void warn_of_unknown_names(const struct run *run, int option)
{
    const struct pith_option_value *rules = &run->values[option];
    const struct pith_host *host = run->job->host;

    for (size_t i = 0; i < rules->text_count && host->log; i++) {
        char text[256];
        bool found = false;

        for (size_t j = 0; j < run->plan.layer_count && !found; j++)
            found = rule_matches(rules->texts[i], option == OPTION_SCHEMES,
                                 layer_name(run->folded, &run->plan.layers[j]));
        if (found)
            continue;
        (void) snprintf(text, sizeof text, "%s has \"%.150s\", which no layer with weights matches",
                        options[option].name, rules->texts[i]);
        host->log(host->context, PITH_LOG_WARNING, "quantize_rule_unknown", text);
    }
}

static int settle(struct run *run, struct pith_graph **out, struct pith_error *err)
{
    struct sensitivity sensitivity = {
        .host = run->job->host,
        .reference = &run->reference,
        .max_error_ratio = run->report.max_error_ratio,
        .passes_left = (unsigned) run->values[OPTION_MAX_CHECKS].integer,
        .corrects_biases = run->repairs.record[REPAIR_BIAS].kept,
        .samples = run->report.samples,
    };
    struct pith_graph *graph = NULL;
    int rc;

    if (sensitivity.max_error_ratio == 0)
        sensitivity.max_error_ratio = HUGE_VAL;
    if (!run->reference.outputs) {
        rc = write_graph(&run->plan, &graph, err);
    } else {
        rc = sensitivity_settle(&sensitivity, &run->plan, &graph, err);
        run->report.error_ratio = sensitivity.error_ratio;
    }
    if (rc == 0)
        rc = sensitivity_keep_budget(&sensitivity, &run->plan, run->job->accuracy_drop_points,
                                     run->folded, &graph, &run->report.budget, err);
    if (rc == 0 && run->report.budget.moved > 0 && run->reference.outputs)
        rc = reference_error_ratio(&run->reference, graph, run->job->host, UINT64_MAX,
                                   &run->report.error_ratio, err);
    if (rc == 0)
        *out = graph;
    else
        pith_graph_free(graph);
    return rc;
}

static int run_through(struct run *run, const struct pith_graph *graph, struct pith_graph **out,
                       struct pith_error *err)
{
    const struct pith_host *host = run->job->host;
    int rc;

    run->rules = rules_of(run->values);
    rc = rules_check(&run->rules, err);
    share_samples(run);
    if (rc == 0)
        rc = restore_weights(run->folded, graph, &run->rules, &run->restored, err);
    run->report.restored = run->restored.constants;
    if (rc == 0)
        rc = resolve_weights(run->folded, &run->rules, err);
    if (rc == 0)
        rc = fold_added_biases(run->folded, &run->report.added, err);
    if (rc == 0)
        rc = fold_batch_norms(run->folded, &run->report.folded, err);
    if (rc == 0) /* those behind normalizations */
        rc = fold_added_biases(run->folded, &run->report.added, err);
    if (rc == 0)
        rc = pith_graph_prune_dead(run->folded);
    if (rc == 0)
        rc = pith_graph_validate(run->folded, err);
    if (rc == 0)
        rc = want_samples(run, err);
    if (rc < 0)
        return rc;
    if (run->report.check_samples > 0)
        rc = reference_make(&run->reference, run->folded, host, run->check_first,
                            run->report.check_samples, err);
    run->report.check_samples = run->reference.count;
    describe_repairs(run);
    if (rc == 0)
        rc = repair_graph(&run->repairs, &run->folded, err);
    if (rc == 0)
        rc = plan_make(&run->plan, run->folded, &run->repairs.layers, run->repairs.dtype, err);
    if (rc < 0)
        return rc;
    warn_of_unknown_names(run, OPTION_KEEP);
    warn_of_unknown_names(run, OPTION_ONLY);
    warn_of_unknown_names(run, OPTION_SCHEMES);
    if (run->report.calibrated)
        rc = calibrate_ranges(&run->plan, host, run->report.samples, &run->report.ranges, err);
    say_progress(run, 0.6);
    if (rc == 0)
        rc = repair_plan(&run->repairs, &run->plan, err);
    say_progress(run, 0.8);
    if (rc == 0)
        rc = settle(run, out, err);
    if (rc == 0)
        nothing_say(&run->plan, run->report.note, sizeof run->report.note);
    say_progress(run, 1);
    return rc;
}

static int write_metadata(const struct run *run, struct pith_graph *graph)
{
    char text[320] = "";
    size_t at = 0;

    for (int form = 0; form < FORMS; form++)
        if (plan_count(&run->plan, (enum form) form) > 0)
            at += (size_t) snprintf(text + at, sizeof text - at, "%s %zu, ", form_names[form],
                                    plan_count(&run->plan, (enum form) form));
    (void) snprintf(text + at, sizeof text - at, "activations %s",
                    run->report.calibrated ? run->report.activations : "float32");
    return pith_graph_set_metadata(graph, "pith.quantize", text);
}

/* Layers of 16-bit floats are layers of float32; weights of those that stay such stay stored as they were. */
static int widen(struct pith_graph *graph, struct pith_error *err)
{
    int rc = pith_graph_widen(graph, err);

    if (rc == 0)
        rc = pith_graph_validate(graph, err);
    return rc < 0 ? rc : pith_graph_infer(graph, NULL, err);
}

static int quantize_apply(const struct pith_technique_job *job, const struct pith_graph *graph,
                          struct pith_graph **out, char **report_json, struct pith_error *err)
{
    const struct pith_option_value *values = job->options;
    struct run run = {.job = job, .values = values};
    struct pith_graph *made = NULL;
    char *text = NULL;
    int rc = pith_graph_clone(graph, &run.folded, err);

    if (rc == 0 && pith_graph_has_halves(run.folded))
        rc = widen(run.folded, err);
    if (rc < 0) {
        pith_graph_free(run.folded);
        return rc;
    }
    run.report = (struct report){
        .plan = &run.plan,
        .repairs = run.repairs.record,
        .activations = values[OPTION_ACTIVATIONS].text,
        .ranges = {.method = (enum range_method) values[OPTION_RANGES].integer,
                   .percentile = values[OPTION_PERCENTILE].number,
                   .headroom = values[OPTION_HEADROOM].integer},
        .max_error_ratio = values[OPTION_MAX_ERROR_RATIO].number,
        .error_ratio = -1,
    };
    rc = run_through(&run, graph, &made, err);
    if (rc == 0)
        rc = write_metadata(&run, made);
    if (rc == 0 && report_json) {
        text = report_text(&run.report);
        rc = text ? 0 : -ENOMEM;
    }
    if (rc == 0) {
        *out = made;
        made = NULL;
        if (report_json)
            *report_json = text;
    }
    pith_graph_free(made);
    reference_done(&run.reference);
    plan_done(&run.plan);
    restored_done(&run.restored);
    pith_graph_free(run.folded);
    return rc;
}

/* Whether samples are needed depends on the graph's layers too, so it is apply that asks for them. */
static uint32_t quantize_needs(const struct pith_option_value *values)
{
    (void) values;
    return 0;
}

static const struct pith_technique_ops ops = {
    .size_bytes = sizeof ops,
    .needs = quantize_needs,
    .apply = quantize_apply,
};

const struct pith_plugin pith_plugin = {
    .size_bytes = sizeof pith_plugin,
    .abi_major = PITH_ABI_MAJOR,
    .abi_minor = PITH_ABI_MINOR,
    .kind = PITH_KIND_TECHNIQUE,
    .name = "quantize",
    .version = "1.0",
    .summary = "integers for weights and activations, or for weights alone; layers that hurt stay "
               "finer",
    .ops = &ops,
    .options = options,
};
