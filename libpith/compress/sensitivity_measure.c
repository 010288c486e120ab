/* What is measured of a form: the chain's decisions, one layer's own output, a graph's time. */
#include "libpith/compress/sensitivity_parts.h"

#include "libpith/base/clock.h"
#include "libpith/base/names.h"
#include "libpith/compress/divergence.h"
#include "libpith/compress/host.h"
#include "libpith/compress/measure.h"
#include "libpith/plugin/plugins.h"
#include <pith/technique.h>

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LOCAL_MAX_BYTES ((size_t) 16 << 20) /* of one layer's float output, while it is compared   \
                                             */
#define LOCAL_SAMPLES 64
#define TIME_LIMIT_MS 1000 /* for the forms of one layer, past the least that says something */

const char *const pith_sensitivity_forms[] = {
    "int8", "int4", "w8a16", "w4a16", "weights-int8", "weights-int4", "float16", "bfloat16", NULL};

/* ---- forms ---- */

/* As the technique's options have it, by form. */
static json_t *options_of(const struct sensitivity *run, const char *option, const char *pattern)
{
    static const char *const words[][2] = {
        {"int8", "int8"},    {"int4", "int8"},    {"int8", "int16"},      {"int4", "int16"},
        {"int8", "float32"}, {"int4", "float32"}, {"float16", "float32"}, {"bfloat16", "float32"}};
    const char *const *form = words[run->options->form];
    json_t *object = json_pack("{ss ss si}", "weights", form[0], "activations", form[1],
                               "max_error_ratio", 0); /* a form as asked, whatever it does */

    if (object && !run->options->repairs)
        (void) json_object_update_new(object,
                                      json_pack("{ss ss ss ss}", "equalize", "off", "smooth", "off",
                                                "rounding", "nearest", "bias_correction", "off"));
    if (object && option && json_object_set_new(object, option, json_pack("[s]", pattern)) < 0) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static int apply(const struct sensitivity *run, size_t graph, const struct pith_options *options,
                 struct pith_graph **out, json_t **out_report, struct pith_error *err)
{
    const struct pith_technique_ops *ops = run->options->technique->ops;
    struct pith_technique_host host = {.engine = run->options->engine,
                                       .engine_options = run->options->engine_options,
                                       .threads = run->options->threads,
                                       .samples = &run->samples[graph]};
    struct pith_technique_job job = {.size_bytes = sizeof job,
                                     .host = &host.host,
                                     .options = options->values,
                                     .seed = run->options->seed,
                                     .accuracy_drop_points = -1};
    char *text = NULL;
    int rc;

    pith_technique_host_init(&host);
    host.host.log = NULL; /* of rules that match nothing */
    rc = ops->apply(&job, run->options->graphs[graph], out, out_report ? &text : NULL, err);
    if (rc == 0 && out_report) {
        *out_report = text ? json_loads(text, 0, NULL) : NULL;
        if (!*out_report) {
            pith_graph_free(*out);
            *out = NULL;
            rc = pith_fail(err, -EPROTO, "%s doesn't report its layers",
                           run->options->technique->name);
        }
    }
    free(text);
    return rc;
}

int sensitivity_quantize(const struct sensitivity *run, size_t graph, const char *option,
                         const char *layer, struct pith_graph **out, json_t **out_report,
                         struct pith_error *err)
{
    char *pattern = layer ? pith_name_pattern(layer) : strdup("*");
    json_t *object = pattern ? options_of(run, option, pattern) : NULL;
    struct pith_options options = {0};
    int rc = object ? pith_options_from_json(&options, run->options->technique->options, object,
                                             run->options->technique->name, err)
                    : -ENOMEM;

    if (rc == 0)
        rc = apply(run, graph, &options, out, out_report, err);
    pith_options_done(&options);
    json_decref(object);
    free(pattern);
    return rc;
}

/* ---- the chain ---- */

static int open_chain(const struct sensitivity *run, const struct pith_graph *const *graphs,
                      struct pith_chain **out, struct pith_error *err)
{
    struct pith_chain_options options = {.engine = run->options->engine,
                                         .engine_options = run->options->engine_options,
                                         .threads = run->options->threads};

    return pith_chain_open(out, run->options->manifest, graphs, &options, err);
}

static void say(const struct sensitivity *run, double within, const char *text)
{
    if (run->options->progress && run->todo > 0)
        run->options->progress(run->options->user, (run->done + within) / run->todo, text);
}

struct drawing {
    struct sensitivity *run;
    struct pith_error *err;
};

static int offer(void *user, size_t graph, const struct pith_tensor *inputs, size_t count)
{
    struct drawing *drawing = user;

    return pith_samples_offer(&drawing->run->samples[graph], inputs, count, drawing->err);
}

static int no_result(void *user, const struct pith_result *result)
{
    (void) user;
    (void) result;
    return 0;
}

int sensitivity_draw(struct sensitivity *run, struct pith_error *err)
{
    const struct pith_sensitivity_options *options = run->options;
    struct drawing drawing = {.run = run, .err = err};
    struct pith_chain *chain = NULL;
    int rc = open_chain(run, options->graphs, &chain, err);

    for (size_t i = 0; i < run->graph_count; i++)
        pith_samples_init(&run->samples[i], options->calibration_samples, options->seed + i);
    if (rc == 0)
        pith_chain_set_tap(chain, offer, &drawing);
    for (uint64_t i = 0; rc == 0 && i < options->calibration->count; i++) {
        const struct pith_sample *sample;
        struct pith_tensor rows;

        rc = pith_dataset_read(options->calibration, i, &sample, err);
        if (rc == 0)
            rc = pith_sample_rows(sample, options->manifest, &rows, err);
        pith_chain_reset(chain);
        if (rc == 0)
            rc = pith_chain_feed(chain, &rows, no_result, NULL, err);
        if (rc < 0)
            rc = pith_fail_in(err, rc, "calibration sample %llu", (unsigned long long) i);
    }
    pith_chain_close(chain);
    return rc;
}

static int run_chain(struct sensitivity *run, const struct pith_graph *const *graphs,
                     const char *text, struct pith_outcomes *outcomes, struct pith_metric **metric,
                     struct pith_error *err)
{
    const struct pith_sensitivity_options *options = run->options;
    struct pith_chain *chain = NULL;
    int rc = open_chain(run, graphs, &chain, err);

    if (rc == 0 && options->metric)
        rc = pith_metric_new(metric, options->metric, options->data->labels, err);
    for (uint64_t i = 0; rc == 0 && i < options->data->count; i++) {
        if (run->deadline_ns > 0 && pith_monotonic_ns() > run->deadline_ns)
            rc = pith_fail(err, -ETIME, "the time is over");
        else
            rc = pith_evaluate_sample(chain, options->manifest, options->data, i, outcomes, *metric,
                                      err);
        if (i % 8 == 0)
            say(run, (double) i / (double) options->data->count, text);
    }
    run->done++;
    pith_chain_close(chain);
    return rc;
}

int sensitivity_baseline(struct sensitivity *run, struct pith_error *err)
{
    struct pith_measurement measured = {.value = NAN};
    int rc = run_chain(run, run->options->graphs, "the original", &run->baseline,
                       &run->baseline_metric, err);

    if (rc == 0 && run->baseline_metric)
        rc = pith_metric_measure(run->baseline_metric, &measured, err);
    run->original = (struct effect){.measured = true,
                                    .metric = measured.value,
                                    .metric_change = run->baseline_metric ? 0 : NAN,
                                    .p = NAN,
                                    .fidelity_ratio = 1,
                                    .error_ratio = run->baseline.trace_count ? 0 : NAN};
    return rc;
}

int sensitivity_effect(struct sensitivity *run, const struct pith_graph *const *graphs,
                       const char *text, struct effect *out, struct pith_error *err)
{
    struct pith_difference difference = {.value = NAN, .p = NAN};
    struct pith_outcomes outcomes = {0};
    struct pith_metric *metric = NULL;
    struct pith_comparison comparison;
    int rc = run_chain(run, graphs, text, &outcomes, &metric, err);

    if (rc == 0 && metric)
        rc = pith_metric_compare(run->baseline_metric, metric, &difference, err);
    if (rc == 0) {
        pith_outcomes_compare(&run->baseline, &outcomes, &comparison);
        *out = (struct effect){.measured = true,
                               .metric = run->original.metric + difference.value,
                               .metric_change = difference.value,
                               .p = difference.p,
                               .fidelity_ratio =
                                   (double) comparison.same / (double) comparison.samples,
                               .error_ratio = comparison.error_ratio};
    }
    pith_metric_free(metric);
    pith_outcomes_done(&outcomes);
    return rc;
}

/* ---- one layer's own output ---- */

/* The node that goes by this name: its own, or its first output's. */
static uint32_t output_of(const struct pith_graph *graph, const char *name)
{
    for (uint32_t node = 0; node < pith_graph_node_limit(graph); node++) {
        uint32_t first =
            pith_node_exists(graph, node) ? pith_node_output(graph, node, 0) : PITH_NO_VALUE;
        const char *own = pith_node_exists(graph, node) ? pith_node_name(graph, node) : "";

        if (own[0] ? strcmp(own, name) != 0
                   : first == PITH_NO_VALUE || strcmp(pith_value_name(graph, first), name) != 0)
            continue;
        for (size_t i = 0; pith_node_exists(graph, node) && i < pith_node_output_count(graph, node);
             i++)
            if (pith_node_output(graph, node, i) != PITH_NO_VALUE)
                return pith_node_output(graph, node, i);
    }
    return PITH_NO_VALUE;
}

struct listening {   /* to a layer: first as it is in floats, then as it became */
    float *kept;     /* own; the float outputs of all samples */
    size_t elements; /* of one sample */
    size_t room;
    bool comparing, differs;
    struct pith_divergence divergence;
};

static int listen(void *user, size_t value, uint64_t sample, const struct pith_tensor *tensor)
{
    struct listening *listening = user;

    (void) value;
    if (tensor->dtype != PITH_FLOAT32 || tensor->bytes != listening->elements * sizeof(float) ||
        (sample + 1) * listening->elements > listening->room) {
        listening->differs = true; /* a shape that depends on what flows: nothing to compare */
        return 0;
    }
    float *at = listening->kept + sample * listening->elements;

    if (listening->comparing)
        pith_divergence_add(&listening->divergence, at, tensor->data, listening->elements);
    else
        memcpy(at, tensor->data, tensor->bytes);
    return 0;
}

static int first_size(void *user, size_t value, uint64_t sample, const struct pith_tensor *tensor)
{
    struct listening *listening = user;

    (void) value;
    (void) sample;
    listening->elements = tensor->dtype == PITH_FLOAT32 ? tensor->bytes / sizeof(float) : 0;
    return 0;
}

static int compare_outputs(struct sensitivity *run, const struct suspect *suspect,
                           const struct pith_graph *alone, uint32_t before, uint32_t after,
                           struct listening *listening, struct pith_error *err)
{
    const struct pith_samples *samples = &run->samples[suspect->graph];
    struct pith_technique_host host = {.engine = run->options->engine,
                                       .engine_options = run->options->engine_options,
                                       .threads = run->options->threads,
                                       .samples = samples};
    const struct pith_graph *prepared = run->prepared[suspect->graph];
    uint64_t count = samples->count < LOCAL_SAMPLES ? samples->count : LOCAL_SAMPLES;
    int rc;

    pith_technique_host_init(&host);
    if (count == 0)
        return 0;
    rc = host.host.observe(&host, prepared, 0, 1, &before, 1, first_size, listening, err);
    if (rc < 0 || listening->elements == 0)
        return rc;
    if (count > LOCAL_MAX_BYTES / sizeof(float) / listening->elements)
        count = LOCAL_MAX_BYTES / sizeof(float) / listening->elements;
    count = count > 0 ? count : 1;
    listening->room = listening->elements * count;
    listening->kept = calloc(listening->room, sizeof *listening->kept);
    if (!listening->kept)
        return -ENOMEM;
    rc = host.host.observe(&host, prepared, 0, count, &before, 1, listen, listening, err);
    listening->comparing = true;
    if (rc == 0)
        rc = host.host.observe(&host, alone, 0, count, &after, 1, listen, listening, err);
    return rc;
}

int sensitivity_local(struct sensitivity *run, struct suspect *suspect,
                      const struct pith_graph *alone, struct pith_error *err)
{
    uint32_t before = output_of(run->prepared[suspect->graph], suspect->name),
             after = output_of(alone, suspect->name);
    struct listening listening = {.kept = NULL};
    int rc = 0;

    if (before != PITH_NO_VALUE && after != PITH_NO_VALUE)
        rc = compare_outputs(run, suspect, alone, before, after, &listening, err);
    if (rc == 0 && !listening.differs) {
        suspect->output_error_ratio = pith_divergence_error_ratio(&listening.divergence);
        suspect->output_sqnr_db = pith_divergence_sqnr_db(&listening.divergence);
        suspect->output_cosine = pith_divergence_cosine(&listening.divergence);
    }
    free(listening.kept);
    return rc;
}

/* ---- time ---- */

#define MOST_FORMS 4

int sensitivity_time(const struct sensitivity *run, size_t graph,
                     const struct pith_graph *const *forms, size_t count, double *out_us,
                     struct pith_error *err)
{
    static const struct pith_host no_host = {.size_bytes = sizeof no_host};
    const struct pith_samples *samples = &run->samples[graph];
    struct pith_contender contenders[MOST_FORMS] = {0};
    struct pith_tensor inputs[PITH_SAMPLES_MAX_INPUTS];
    int rc;

    for (size_t i = 0; i < count; i++)
        out_us[i] = NAN;
    if (run->options->runs == 0 || samples->count == 0)
        return 0;
    for (size_t i = 0; i < samples->input_count; i++)
        pith_samples_get(samples, 0, i, &inputs[i]);
    for (size_t i = 0; i < count; i++)
        contenders[i] = (struct pith_contender){.engine = run->options->engine,
                                                .options = run->options->engine_options,
                                                .graph = forms[i]};
    rc = pith_measure_latency(&no_host, contenders, count, inputs, samples->input_count,
                              run->options->threads, run->options->runs, TIME_LIMIT_MS, err);
    for (size_t i = 0; rc == 0 && i < count; i++)
        if (contenders[i].timing.supported)
            out_us[i] = contenders[i].timing.latency_p50_us;
    return rc;
}
