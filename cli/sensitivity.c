/* pith sensitivity: which layer hurts when it is quantized, and what each one brings. */
#include "libpith/compress/sensitivity.h"
#include "cli/data.h"
#include "cli/output.h"
#include "cli/sensitivity_plot.h"

#include "libpith/base/file.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_PATTERNS       64
#define CALIBRATION_SAMPLES 128 /* of each graph's inputs */

struct sensitivity { /* the command line */
    const char *engine, *plugin_path, *form, *layers, *svg, *calibration;
    struct data data;
    int64_t threads, runs, time_ms;
    bool json, repairs;
    char *words; /* own: layers, cut at its commas */
    const char *patterns[MOST_PATTERNS];
    size_t pattern_count;
};

/* ---- the table ---- */

static const char *figure_db(double x, char text[FIGURE_BYTES])
{
    (void) snprintf(text, FIGURE_BYTES, isfinite(x) ? "%.1f" : "-", x);
    return text;
}

static const char *figure_change(double x, bool share, char text[FIGURE_BYTES])
{
    if (!isfinite(x))
        (void) snprintf(text, FIGURE_BYTES, "-");
    else
        (void) snprintf(text, FIGURE_BYTES, share ? "%+.2f" : "%+.4g", share ? 100 * x : x);
    return text;
}

static const char *figure_gain(double us, char text[FIGURE_BYTES])
{
    if (isfinite(us))
        (void) snprintf(text, FIGURE_BYTES, "%+.1f µs", us);
    else
        (void) snprintf(text, FIGURE_BYTES, "-");
    return text;
}

/* A long name's end tells more than its beginning. */
static const char *short_name(const char *name, char text[48])
{
    size_t bytes = strlen(name);

    (void) snprintf(text, 48, "%s%s", bytes > 40 ? ".." : "",
                    bytes > 40 ? name + bytes - 38 : name);
    return text;
}

static void print_row(struct table *table, const json_t *layer, bool several, bool share)
{
    const json_t *alone = json_object_get(layer, "alone"),
                 *others = json_object_get(layer, "others");
    char name[48], qualified[128], text[10][FIGURE_BYTES];

    (void) snprintf(qualified, sizeof qualified, "%s%s%s", several ? text_of(layer, "graph") : "",
                    several ? ": " : "", short_name(text_of(layer, "layer"), name));
    table_row(table, (const char *const[]){
                         qualified, text_of(layer, "form"),
                         figure_db(number_of(layer, "weight_sqnr_db"), text[0]),
                         figure_db(number_of(layer, "input_sqnr_db"), text[1]),
                         figure_percent(number_of(layer, "output_error_ratio"), text[2]),
                         figure_percent(number_of(alone, "error_ratio"), text[3]),
                         figure_percent(number_of(others, "error_ratio"), text[4]),
                         figure_percent(number_of(alone, "fidelity_ratio"), text[5]),
                         figure_percent(number_of(others, "fidelity_ratio"), text[6]),
                         figure_change(number_of(alone, "metric_change"), share, text[7]),
                         figure_change(number_of(others, "metric_change"), share, text[8]),
                         figure_gain(number_of(layer, "time_gained_us"), text[9])});
}

static void print_whole(const json_t *report, bool share)
{
    const json_t *whole = json_object_get(report, "whole");
    const char *metric = json_string_value(json_object_get(report, "metric"));
    char text[2][FIGURE_BYTES];

    printf("\nall layers quantized: outputs err by %s of their deviation, the same decision on %s "
           "of samples",
           figure_percent(number_of(whole, "error_ratio"), text[0]),
           figure_percent(number_of(whole, "fidelity_ratio"), text[1]));
    if (metric)
        printf(", %s %s%s (p %.3g)", metric,
               figure_change(number_of(whole, "metric_change"), share, text[0]),
               share ? " points" : "", number_of(whole, "p_value"));
    printf("\n%s\n", text_of(report, "text"));
}

static void print_reasons(const json_t *report)
{
    const json_t *layer;
    size_t i;

    json_array_foreach(json_object_get(report, "layers"), i, layer) if (text_of(layer, "reason")[0])
        printf("%s: not measured: %s\n", text_of(layer, "layer"), text_of(layer, "reason"));
}

static void print_report(const json_t *report)
{
    static const char *const head[] = {"layer",         "form",           "weights dB",
                                       "input dB",      "own error",      "error only",
                                       "error all but", "same only",      "same all but",
                                       "metric only",   "metric all but", "time gained"};
    const char *metric = text_of(report, "metric");
    bool several = json_array_size(json_object_get(report, "graphs")) > 1,
         share = strcmp(metric, "mse") != 0 && strcmp(metric, "psnr") != 0;
    struct table *table = table_new(sizeof head / sizeof *head);
    const json_t *layer;
    size_t i;

    table_row(table, head);
    json_array_foreach(json_object_get(report, "layers"), i, layer)
        print_row(table, layer, several, share);
    table_print(table);
    table_free(table);
    print_whole(report, share);
    print_reasons(report);
}

static int save_plot(const json_t *report, const struct sensitivity *sensitivity, const char *model,
                     struct pith_error *err)
{
    const char *slash = strrchr(model, '/');
    struct pith_buffer svg = {0};
    int rc;

    sensitivity_plot(report, slash && slash[1] ? slash + 1 : model, &svg);
    rc = svg.failed ? pith_fail(err, -ENOMEM, "no memory for the plot")
                    : pith_file_write(sensitivity->svg, svg.data, svg.bytes, 0644, err);
    pith_buffer_done(&svg);
    return rc;
}

/* ---- running ---- */

static int take_patterns(struct sensitivity *sensitivity, struct pith_error *err)
{
    char *rest = NULL;

    if (!sensitivity->layers)
        return 0;
    sensitivity->words = strdup(sensitivity->layers);
    if (!sensitivity->words)
        return -ENOMEM;
    for (char *word = strtok_r(sensitivity->words, ",", &rest); word;
         word = strtok_r(NULL, ",", &rest)) {
        if (sensitivity->pattern_count == MOST_PATTERNS)
            return pith_fail(err, -EINVAL, "--layers: at most %d patterns", MOST_PATTERNS);
        sensitivity->patterns[sensitivity->pattern_count++] = word;
    }
    return 0;
}

static int choose_form(const struct sensitivity *sensitivity, int *out, struct pith_error *err)
{
    char known[256] = "";
    size_t used = 0;

    for (int i = 0; pith_sensitivity_forms[i]; i++) {
        if (!strcmp(sensitivity->form, pith_sensitivity_forms[i])) {
            *out = i;
            return 0;
        }
        used += (size_t) snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "",
                                  pith_sensitivity_forms[i]);
    }
    return pith_fail(err, -EINVAL, "--form %s: it must be one of %s", sensitivity->form, known);
}

/* As pith compress does: splits that were cut are kept apart, and the test split is not looked at.
 */
static int open_data(struct sensitivity *sensitivity, const struct model *model,
                     struct data *own_calibration, struct pith_dataset *calibration,
                     struct pith_dataset *data, struct pith_error *err)
{
    const struct pith_dataset_options *cut = &sensitivity->data.description.data;
    int rc = data_settle(&sensitivity->data, model, err);

    if (rc == 0)
        rc = data_open(&sensitivity->data,
                       cut->validation > 0    ? PITH_SPLIT_VALIDATION
                       : cut->calibration > 0 ? PITH_SPLIT_CALIBRATION
                                              : PITH_SPLIT_ALL,
                       data, err);
    if (rc == 0 && sensitivity->calibration) {
        own_calibration->data = sensitivity->calibration;
        rc = data_settle(own_calibration, NULL, err);
        if (rc == 0)
            rc = data_open(own_calibration, PITH_SPLIT_ALL, calibration, err);
    } else if (rc == 0) {
        rc = pith_dataset_open(calibration, cut,
                               cut->calibration > 0 ? PITH_SPLIT_CALIBRATION : PITH_SPLIT_ALL, err);
    }
    if (rc == 0)
        rc = pith_dataset_check(data, model->manifest, err);
    if (rc == 0)
        rc = pith_dataset_check(calibration, model->manifest, err);
    return rc;
}

static void show_progress(void *user, double done_ratio, const char *text)
{
    (void) user;
    progress_show(text, done_ratio);
}

static int measure(struct sensitivity *sensitivity, struct model *model,
                   const struct model_engine *engine, const struct pith_plugins *plugins,
                   json_t **out, struct pith_error *err)
{
    struct pith_dataset calibration = {.count = 0}, data = {.count = 0};
    struct data own_calibration = {.data = NULL};
    struct pith_metric_options metric;
    struct pith_sensitivity_options options = {
        .manifest = model->manifest,
        .graphs = (const struct pith_graph *const *) model->graphs,
        .engine = engine->ops,
        .engine_options = engine->options.values,
        .threads = (uint32_t) sensitivity->threads,
        .repairs = sensitivity->repairs,
        .calibration = &calibration,
        .data = &data,
        .calibration_samples = CALIBRATION_SAMPLES,
        .seed = 1,
        .time_ms = (uint64_t) sensitivity->time_ms,
        .runs = (uint32_t) sensitivity->runs,
        .progress = show_progress,
    };
    int rc = choose_form(sensitivity, &options.form, err);

    if (rc == 0)
        rc = take_patterns(sensitivity, err);
    options.patterns = sensitivity->patterns;
    options.pattern_count = sensitivity->pattern_count;
    if (rc == 0)
        rc = pith_plugins_find(plugins, PITH_KIND_TECHNIQUE, "quantize", &options.technique, err);
    if (rc == 0)
        rc = open_data(sensitivity, model, &own_calibration, &calibration, &data, err);
    if (rc == 0) {
        metric = sensitivity->data.description.metric;
        if (metric.kind < 0)
            metric.kind = pith_metric_for(data.labels);
        options.metric = metric.kind < 0 ? NULL : &metric;
        rc = pith_sensitivity(&options, out, err);
        progress_end();
    }
    pith_dataset_close(&calibration);
    pith_dataset_close(&data);
    data_done(&own_calibration);
    return rc;
}

static int report(struct sensitivity *sensitivity, const char *path, struct pith_error *err)
{
    struct model_engine engine = {.plugin = NULL};
    struct pith_plugins *plugins = NULL;
    struct model *model = NULL;
    json_t *made = NULL;
    int rc = pith_plugins_open(&plugins, sensitivity->plugin_path, err);

    if (rc == 0)
        rc = model_open(&model, path, err);
    if (rc == 0)
        rc = data_show(&sensitivity->data, model, err);
    if (rc == 0)
        rc = model_manifest(model, err);
    if (rc == 0)
        rc = model_engine_open(&engine, plugins, sensitivity->engine, model, err);
    if (rc == 0)
        rc = measure(sensitivity, model, &engine, plugins, &made, err);
    if (rc == 0) {
        (void) json_object_set_new(made, "model", json_string(path));
        (void) json_object_set_new(made, "engine", json_string(engine.plugin->name));
    }
    if (rc == 0 && sensitivity->svg)
        rc = save_plot(made, sensitivity, path, err);
    if (rc == 0 && sensitivity->json)
        print_json(made);
    else if (rc == 0)
        print_report(made);
    json_decref(made);
    model_engine_done(&engine);
    model_close(model);
    pith_plugins_free(plugins);
    return rc;
}

static int run_sensitivity(const struct cli_command *command, int argc, char **argv)
{
    struct sensitivity sensitivity = {.threads = 1, .form = "int8", .runs = 50};
    const struct cli_option common[] = {
        MODEL_OPTIONS(sensitivity.engine, sensitivity.plugin_path, sensitivity.threads), {0}};
    const struct cli_option data[] = {DATA_OPTIONS(sensitivity.data), {0}};
    const struct cli_option options[] = {
        {"form", CLI_TEXT, &sensitivity.form, "FORM",
         "what layers become: int8, int4, w8a16, w4a16, weights-int8, weights-int4, float16 or "
         "bfloat16 (int8)"},
        {"layers", CLI_TEXT, &sensitivity.layers, "PATTERN[,PATTERN...]",
         "names of layers, or patterns as a shell has them (all)"},
        {"calibration-data", CLI_TEXT, &sensitivity.calibration, "DATA",
         "samples that ranges are taken from (those of --data)"},
        {"repairs", CLI_FLAG, &sensitivity.repairs, NULL,
         "with the technique's repairs and roundings (plain rounding)"},
        {"time", CLI_SECONDS, &sensitivity.time_ms, "SECONDS",
         "no further layer after that; the noisiest come first (no limit)"},
        {"runs", CLI_INT, &sensitivity.runs, "COUNT",
         "runs in turn for the time gained; 0: none (50)", 0, 100000},
        {"svg", CLI_TEXT, &sensitivity.svg, "FILE", "draw a chart, too"},
        {"json", CLI_FLAG, &sensitivity.json, NULL, "print JSON"},
        {0}};
    struct cli_arguments arguments;
    struct pith_error err = {0};
    int rc,
        code = cli_parse(command, (const struct cli_option *const[]){options, data, common, NULL},
                         1, 1, argc, argv, &arguments);

    if (code != CLI_GO_ON)
        return code;
    rc = report(&sensitivity, arguments.given[0], &err);
    free(sensitivity.words);
    data_done(&sensitivity.data);
    return rc < 0 ? cli_fail(&err) : CLI_OK;
}

const struct cli_command command_sensitivity = {
    .name = "sensitivity",
    .arguments = "MODEL --data DATA [--labels LABELS] [--form FORM] [--svg FILE]",
    .summary = "tell which layers quantization hurts, and what each one gains",
    .text =
        "Quantizes each layer alone, and all layers but it. Tells for each: the signal to noise of "
        "its weights and its input,\n"
        "the error of its own output, what becomes of the model's outputs, decisions and metric, "
        "and the time that it gains,\n"
        "all forms of a layer run in turn. pith-data(5) says how data are described; a "
        "calibration and a validation split\n"
        "keep ranges and judgement apart, and --limit bounds the samples.\n\n"
        "example: pith sensitivity model.onnx --data x.npy --labels y.npy --limit 200 --svg "
        "layers.svg",
    .run = run_sensitivity,
};
