/* Technique quantize: static int8 with calibration, or integer weights alone. Folds batch
 * normalizations, plans, fits ranges to the calibration samples, and moves the layers that hurt to
 * finer forms. Accuracy of the whole model is the host's to keep: it asks for finer results by the
 * option `finer`. */
#include "plugins/techniques/quantize/fold.h"
#include "plugins/techniques/quantize/report.h"
#include "plugins/techniques/quantize/sensitivity.h"
#include "plugins/techniques/quantize/write.h"

#include <pith/technique.h>

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK_SAMPLES 32 /* that the ranges have not seen, of those that came */
#define CHECK_SHARE   4  /* one in so many */

static const char *const weight_choices[] = {"int8", "float16", NULL};
static const char *const activation_choices[] = {"int8", "uint8", "float32", NULL};
enum { ACTIVATIONS_INT8, ACTIVATIONS_UINT8, ACTIVATIONS_FLOAT32 };

enum {
    OPTION_WEIGHTS,
    OPTION_WEIGHT_BITS,
    OPTION_ACTIVATIONS,
    OPTION_RANGES,
    OPTION_PERCENTILE,
    OPTION_PER_CHANNEL,
    OPTION_KEEP,
    OPTION_SAMPLES,
    OPTION_MAX_ERROR_RATIO,
    OPTION_MAX_CHECKS,
    OPTION_FINER,
};

static const struct pith_option options[] = {
    [OPTION_WEIGHTS] = {.name = "weights",
                        .type = PITH_OPTION_CHOICE,
                        .otherwise = "int8",
                        .choices = weight_choices,
                        .help = "how weights are stored: int8 with a scale a channel, or float16"},
    [OPTION_WEIGHT_BITS] = {.name = "weight_bits",
                            .type = PITH_OPTION_INT,
                            .minimum = 4,
                            .maximum = 8,
                            .otherwise = "8",
                            .help =
                                "bits that int8 weights make use of; fewer pack better at rest, "
                                "and cost a little accuracy"},
    [OPTION_ACTIVATIONS] =
        {.name = "activations",
         .type = PITH_OPTION_CHOICE,
         .otherwise = "int8",
         .choices = activation_choices,
         .help =
             "what flows between layers: int8 or uint8 (wants calibration samples), or float32, "
             "where only weights get smaller"},
    [OPTION_RANGES] = {.name = "ranges",
                       .type = PITH_OPTION_CHOICE,
                       .otherwise = "mse",
                       .choices = range_method_names,
                       .help = "how an activation's range follows from the samples: all of it, all "
                               "but the rarest, or "
                               "where the squared error is least"},
    [OPTION_PERCENTILE] =
        {.name = "percentile",
         .type = PITH_OPTION_FLOAT,
         .minimum = 50,
         .maximum = 100,
         .otherwise = "99.99",
         .help = "share of values inside the range on each side, for ranges: percentile"},
    [OPTION_PER_CHANNEL] =
        {.name = "per_channel",
         .type = PITH_OPTION_BOOL,
         .otherwise = "true",
         .help = "a scale for each output channel; false where the target can't (some NPUs)"},
    [OPTION_KEEP] = {.name = "keep",
                     .type = PITH_OPTION_STRINGS,
                     .otherwise = "[]",
                     .help = "names of nodes that stay float"},
    [OPTION_SAMPLES] = {.name = "samples",
                        .type = PITH_OPTION_INT,
                        .minimum = 0,
                        .maximum = 1000000,
                        .otherwise = "0",
                        .help = "most calibration samples to use; 0: all there are"},
    [OPTION_MAX_ERROR_RATIO] =
        {.name = "max_error_ratio",
         .type = PITH_OPTION_FLOAT,
         .minimum = 0,
         .maximum = 1e9,
         .otherwise = "0.1",
         .help = "greatest root mean square error of the graph's outputs, relative to their "
                 "deviation; layers that push it higher are kept finer. 0: no check"},
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
                              "weights as float16 too; -1 and -2 take bits from int8 weights. A "
                              "budget moves it where a graph needs it"},
    {.name = NULL},
};

static bool wants_static(const struct pith_option_value *values)
{
    return values[OPTION_ACTIVATIONS].integer != ACTIVATIONS_FLOAT32 &&
           values[OPTION_FINER].integer <= 0 && values[OPTION_WEIGHTS].integer == 0;
}

static uint32_t quantize_needs(const struct pith_option_value *values)
{
    return wants_static(values) ? PITH_NEEDS_CALIBRATION : 0;
}

struct run { /* one call of apply */
    const struct pith_technique_job *job;
    const struct pith_option_value *values;
    struct pith_graph *folded; /* the float graph that everything is compared with */
    struct plan plan;
    struct reference reference;
    struct report report;
    uint64_t check_first; /* sample */
    int32_t dtype;        /* of quantized activations */
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

static int32_t weight_limit(const struct pith_option_value *values)
{
    int64_t bits = values[OPTION_WEIGHT_BITS].integer;

    if (values[OPTION_FINER].integer < 0)
        bits += values[OPTION_FINER].integer;
    return (1 << ((bits < 4 ? 4 : bits) - 1)) - 1;
}

static int plan_layers(struct run *run, bool calibrated, struct pith_error *err)
{
    const struct pith_option_value *values = run->values;
    struct plan_options wanted = {
        .static_activations = calibrated && wants_static(values),
        .per_channel = values[OPTION_PER_CHANNEL].integer,
        .weights = values[OPTION_WEIGHTS].integer || values[OPTION_FINER].integer > 1
                       ? LAYER_FLOAT16
                       : LAYER_WEIGHTS,
        .weight_limit = weight_limit(values),
        .keep = values[OPTION_KEEP].texts,
        .keep_count = values[OPTION_KEEP].text_count,
    };

    return plan_make(&run->plan, run->folded, &wanted, err);
}

/* Names in `keep` that no layer has are a mistake that would otherwise pass unseen. */
static void warn_of_unknown_names(const struct run *run)
{
    const struct pith_option_value *keep = &run->values[OPTION_KEEP];
    const struct pith_host *host = run->job->host;

    for (size_t i = 0; i < keep->text_count && host->log; i++) {
        char text[256];
        bool found = false;

        for (size_t j = 0; j < run->plan.layer_count && !found; j++)
            found = !strcmp(pith_node_name(run->folded, run->plan.layers[j].node), keep->texts[i]);
        if (found)
            continue;
        (void) snprintf(text, sizeof text,
                        "keep names \"%.150s\", which no layer with weights is called",
                        keep->texts[i]);
        host->log(host->context, PITH_LOG_WARNING, "quantize_keep_unknown", text);
    }
}

static int settle(struct run *run, struct pith_graph **out, struct pith_error *err)
{
    struct sensitivity sensitivity = {
        .host = run->job->host,
        .reference = &run->reference,
        .dtype = run->dtype,
        .max_error_ratio = run->values[OPTION_MAX_ERROR_RATIO].number,
        .passes_left = (unsigned) run->values[OPTION_MAX_CHECKS].integer,
    };
    int rc;

    if (run->report.check_samples == 0)
        return write_graph(&run->plan, run->dtype, out, err);
    if (sensitivity.max_error_ratio == 0)
        sensitivity.max_error_ratio = HUGE_VAL;
    rc = reference_make(&run->reference, run->folded, run->job->host, run->check_first,
                        run->report.check_samples, err);
    if (rc == 0)
        rc = sensitivity_settle(&sensitivity, &run->plan, out, err);
    run->report.error_ratio = sensitivity.error_ratio;
    run->report.check_samples = run->reference.count;
    return rc;
}

static int run_through(struct run *run, struct pith_graph **out, struct pith_error *err)
{
    const struct pith_host *host = run->job->host;
    int rc = fold_batch_norms(run->folded, &run->report.folded, err);

    if (rc == 0)
        rc = pith_graph_prune_dead(run->folded);
    if (rc == 0)
        rc = pith_graph_validate(run->folded, err);
    if (rc < 0)
        return rc;
    share_samples(run);
    run->report.calibrated = wants_static(run->values);
    if (run->report.calibrated && run->report.samples == 0)
        return pith_fail(
            err, -EINVAL,
            "quantize: integer activations want calibration samples, and there are none; "
            "give some, or set activations: float32");
    rc = plan_layers(run, run->report.calibrated, err);
    if (rc < 0)
        return rc;
    warn_of_unknown_names(run);
    if (run->report.calibrated)
        rc = calibrate_ranges(&run->plan, host, run->report.samples, run->report.method,
                              run->report.percentile, err);
    say_progress(run, 0.6);
    if (rc == 0)
        rc = settle(run, out, err);
    say_progress(run, 1);
    return rc;
}

static int write_metadata(const struct run *run, struct pith_graph *graph)
{
    char text[160];

    (void) snprintf(
        text, sizeof text,
        "int8 %zu, weights-int8 %zu, weights-float16 %zu, float32 %zu layers; activations %s",
        plan_count(&run->plan, LAYER_STATIC), plan_count(&run->plan, LAYER_WEIGHTS),
        plan_count(&run->plan, LAYER_FLOAT16), plan_count(&run->plan, LAYER_FLOAT),
        run->report.calibrated ? run->report.activations : "float32");
    return pith_graph_set_metadata(graph, "pith.quantize", text);
}

static int quantize_apply(const struct pith_technique_job *job, const struct pith_graph *graph,
                          struct pith_graph **out, char **report_json, struct pith_error *err)
{
    const struct pith_option_value *values = job->options;
    struct run run = {.job = job, .values = values};
    struct pith_graph *made = NULL;
    char *text = NULL;
    int rc = pith_graph_clone(graph, &run.folded, err);

    if (rc < 0)
        return rc;
    run.dtype = values[OPTION_ACTIVATIONS].integer == ACTIVATIONS_UINT8 ? PITH_UINT8 : PITH_INT8;
    run.report = (struct report){
        .plan = &run.plan,
        .activations = values[OPTION_ACTIVATIONS].text,
        .least = run.dtype == PITH_INT8 ? -128 : 0,
        .method = (enum range_method) values[OPTION_RANGES].integer,
        .percentile = values[OPTION_PERCENTILE].number,
        .max_error_ratio = values[OPTION_MAX_ERROR_RATIO].number,
        .error_ratio = -1,
    };
    rc = run_through(&run, &made, err);
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
    pith_graph_free(run.folded);
    return rc;
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
    .summary = "8-bit integers for weights and activations, or for weights alone; layers that hurt "
               "stay finer",
    .ops = &ops,
    .options = options,
};
