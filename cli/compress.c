/* pith compress: the same job that a gateway's worker does, here and without its sandbox. */
#include "cli/data.h"
#include "cli/interrupt.h"
#include "cli/output.h"

#include "libpith/base/file.h"
#include "libpith/base/json.h"
#include "libpith/base/names.h"
#include "libpith/base/stream.h"
#include "libpith/compress/job.h"
#include "libpith/formats/onnx.h"
#include "libpith/formats/tflite.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RESULT_MAX_BYTES (64 << 20)
#define GRAPH_MAX_BYTES  ((size_t) 1 << 31)

struct compress {
    const char *input, *out, *recipe, *data, *labels, *calibration, *plugin_path;
    int64_t threads, seed;
    bool json, force;
    struct model *model;
    char folder[PATH_MAX / 4]; /* of the job; "" until it is made */
};

/* ---- the job's folder ---- */

static int copy_file(const char *from, const char *to, struct pith_error *err)
{
    struct pith_mapping file;
    int rc = pith_mapping_open(&file, from, err);

    if (rc < 0)
        return rc;
    rc = pith_file_write(to, file.data, file.bytes, 0644, err);
    pith_mapping_close(&file);
    return rc;
}

static const char *job_path(const struct compress *compress, char path[PATH_MAX],
                            const char *format, ...) PITH_PRINTF(3, 4);
static const char *job_path(const struct compress *compress, char path[PATH_MAX],
                            const char *format, ...)
{
    size_t used = (size_t) snprintf(path, PATH_MAX, "%s/", compress->folder);
    va_list arguments;

    va_start(arguments, format);
    (void) vsnprintf(path + used, PATH_MAX - used, format, arguments);
    va_end(arguments);
    return path;
}

/* What came with a model's folder lies there as a job wants it; its calibration samples not where others
 * were named. */
static int copy_own_data(const struct compress *compress, struct pith_error *err)
{
    static const char *const names[] = {"calibration_x", "calibration_y", "validation_x",
                                        "validation_y"};
    char path[PATH_MAX];
    int rc = 0;

    for (size_t i = compress->calibration ? 2 : 0; rc == 0 && !compress->model->single && i < 4; i++) {
        const char *from = compress->model->folder->data_path[i];

        if (from[0])
            rc = copy_file(from,
                           job_path(compress, path, "data/%s.npy%s", names[i],
                                    pith_ends_with(from, ".zst") ? ".zst" : ""),
                           err);
    }
    return rc;
}

static int save_split(const struct compress *compress, const struct data *data,
                      enum pith_split split, const char *name, struct pith_error *err)
{
    struct pith_dataset dataset = {.count = 0};
    char x[PATH_MAX], y[PATH_MAX];
    int rc = data_open(data, split, &dataset, err);

    if (rc == 0)
        rc = pith_dataset_save(&dataset, job_path(compress, x, "data/%s_x.npy", name),
                               job_path(compress, y, "data/%s_y.npy", name), err);
    pith_dataset_close(&dataset);
    return rc;
}

/* Splits that the description cuts are kept apart, and its test split is never looked at. Where it
 * cuts none, ranges are set by the samples that forms are judged by. */
static int write_data(const struct compress *compress, struct pith_error *err)
{
    struct data data = {.data = compress->data, .labels = compress->labels},
                calibration = {.data = compress->calibration};
    const struct pith_dataset_options *cut = &data.description.data;
    int rc;

    if (compress->data) {
        rc = data_settle(&data, compress->model, err);
    } else {
        rc = copy_own_data(compress, err);
        if (rc < 0 || !compress->calibration)
            return rc;
    }
    if (rc == 0 && compress->data)
        rc = save_split(compress, &data,
                        cut->validation > 0    ? PITH_SPLIT_VALIDATION
                        : cut->calibration > 0 ? PITH_SPLIT_CALIBRATION
                                               : PITH_SPLIT_ALL,
                        "validation", err);
    if (rc == 0 && compress->calibration)
        rc = data_settle(&calibration, NULL, err);
    if (rc == 0)
        rc = save_split(compress, compress->calibration ? &calibration : &data,
                        !compress->calibration && cut->calibration > 0 ? PITH_SPLIT_CALIBRATION
                                                                       : PITH_SPLIT_ALL,
                        "calibration", err);
    data_done(&data);
    data_done(&calibration);
    return rc;
}

/* "balanced" is a recipe's name; a path is split into its folder and its name. */
static int write_settings(const struct compress *compress, struct pith_error *err)
{
    const char *slash = strrchr(compress->recipe, '/');
    char name[256], folder[PATH_MAX] = ".", path[PATH_MAX];
    bool is_file = slash || pith_ends_with(compress->recipe, ".yaml");
    json_t *settings;
    char *text;
    int rc;

    (void) snprintf(name, sizeof name, "%s", slash ? slash + 1 : compress->recipe);
    if (pith_ends_with(name, ".yaml"))
        name[strlen(name) - strlen(".yaml")] = 0;
    if (slash)
        (void) snprintf(folder, sizeof folder, "%.*s",
                        slash == compress->recipe ? 1 : (int) (slash - compress->recipe),
                        compress->recipe);
    settings = json_pack("{si ss sI sI}", "format", 1, "recipe", name, "seed",
                         (json_int_t) compress->seed, "threads", (json_int_t) compress->threads);
    if (settings && is_file)
        (void) json_object_set_new(settings, "recipe_path", json_string(folder));
    text = settings ? pith_json_text(settings) : NULL;
    rc = text ? pith_file_write(job_path(compress, path, "job.json"), text, strlen(text), 0644, err)
              : pith_fail(err, -ENOMEM, "no memory for the job");
    free(text);
    json_decref(settings);
    return rc;
}

static int write_manifest(const struct compress *compress, struct pith_error *err)
{
    const struct pith_manifest *manifest = compress->model->manifest;
    char path[PATH_MAX];
    char *text = pith_json_text(manifest->json);
    int rc = text ? pith_file_write(job_path(compress, path, "manifest.json"), text, strlen(text),
                                    0644, err)
                  : pith_fail(err, -ENOMEM, "no memory for the job");

    free(text);
    for (size_t i = 0; i < manifest->graph_count && rc == 0; i++) {
        const char *from = model_graph_path(compress->model, i);

        rc = copy_file(from,
                       job_path(compress, path, "original/%s.onnx%s", manifest->graphs[i].name,
                                pith_ends_with(from, ".zst") ? ".zst" : ""),
                       err);
    }
    return rc;
}

static int make_job(struct compress *compress, struct pith_error *err)
{
    const char *temporary = getenv("TMPDIR");
    char path[PATH_MAX];
    int rc;

    bool fits = snprintf(compress->folder, sizeof compress->folder, "%s/pith-XXXXXX",
                         temporary && *temporary ? temporary : "/tmp") < (int) sizeof compress->folder;

    if (!fits || !mkdtemp(compress->folder)) {
        int code = fits ? errno : ENAMETOOLONG;

        rc = pith_fail(err, -code, "%s: no folder for the job can be made: %s", compress->folder,
                       strerror(code));
        compress->folder[0] = 0;
        return rc;
    }
    if ((rc = pith_mkdirs(job_path(compress, path, "original"), 0755, err)) < 0 ||
        (rc = pith_mkdirs(job_path(compress, path, "data"), 0755, err)) < 0 ||
        (rc = write_manifest(compress, err)) < 0 || (rc = write_data(compress, err)) < 0)
        return rc;
    return write_settings(compress, err);
}

/* ---- what came out ---- */

static int is_tflite(const char *path, bool *out, struct pith_error *err)
{
    struct pith_stream *stream = NULL;
    uint8_t start[16];
    size_t got = 0;
    int rc = pith_stream_open(&stream, path, err);

    if (rc == 0)
        rc = pith_stream_read(stream, 0, start, sizeof start, &got, err);
    pith_stream_close(stream);
    *out = rc == 0 && pith_is_tflite(start, got);
    return rc;
}

static int save_as_onnx(const char *from, const char *to, struct pith_error *err)
{
    struct pith_graph *graph = NULL;
    int rc = pith_graph_open(&graph, from, GRAPH_MAX_BYTES, err);

    if (rc == 0)
        rc = pith_onnx_save(graph, to, NULL, err);
    pith_graph_free(graph);
    return rc;
}

/* One graph of the variant as a file; unpacked where the name asks for that. An original that stays may be of another
 * format than its new name says. */
static int save_graph(const char *from, const char *to, struct pith_error *err)
{
    struct pith_buffer raw = {0};
    struct pith_mapping file;
    bool tflite;
    int rc = is_tflite(from, &tflite, err);

    if (rc < 0)
        return rc;
    if (tflite)
        return save_as_onnx(from, to, err);
    if (pith_ends_with(to, ".zst"))
        return copy_file(from, to, err);
    rc = pith_mapping_open(&file, from, err);
    if (rc < 0)
        return rc;
    rc = pith_zstd_decompress(file.data, file.bytes, GRAPH_MAX_BYTES, &raw, err);
    if (rc == 0)
        rc = pith_file_write(to, raw.data, raw.bytes, 0644, err);
    pith_buffer_done(&raw);
    pith_mapping_close(&file);
    return rc;
}

/* A folder like the one that was given, to be run, evaluated or pushed: the variant's graphs, and
 * no data. */
static int save_folder(const struct compress *compress, struct pith_error *err)
{
    const struct pith_manifest *manifest = compress->model->manifest;
    json_t *json = json_deep_copy(manifest->json), *graphs = json_object_get(json, "graphs");
    char from[PATH_MAX], to[PATH_MAX];
    char *text;
    int rc = pith_mkdirs(compress->out, 0755, err);

    for (size_t i = 0; i < manifest->graph_count && rc == 0; i++) {
        char file[PITH_NAME_BYTES + 16];

        (void) snprintf(file, sizeof file, "%s.onnx.zst", manifest->graphs[i].name);
        (void) snprintf(to, sizeof to, "%s/%s", compress->out, file);
        rc = save_graph(job_path(compress, from, "variant/%s", file), to, err);
        if (rc == 0 && json_object_set_new(graphs, manifest->graphs[i].name,
                                           json_pack("{ss}", "file", file)) < 0)
            rc = pith_fail(err, -ENOMEM, "no memory for the manifest");
    }
    (void) json_object_del(json, "data");
    text = rc == 0 ? json_dumps(json, JSON_INDENT(2)) : NULL;
    (void) snprintf(to, sizeof to, "%s/manifest.json", compress->out);
    if (text)
        rc = pith_file_write(to, text, strlen(text), 0644, err);
    free(text);
    json_decref(json);
    return rc;
}

static int save(const struct compress *compress, struct pith_error *err)
{
    char from[PATH_MAX];

    if (!compress->model->single)
        return save_folder(compress, err);
    return save_graph(
        job_path(compress, from, "variant/%s.onnx.zst", compress->model->manifest->graphs[0].name),
        compress->out, err);
}

static void print_facts(const json_t *result)
{
    static const struct {
        const char *key, *name;
        const char *(*figure)(double number, char text[FIGURE_BYTES]);
    } rows[] = {
        {"bytes", "bytes at rest", figure_bytes},
        {"parameters", "parameters", figure_count},
        {"macs", "MACs", figure_count},
        {"accuracy_ratio", "accuracy", figure_percent},
        {"fidelity_ratio", "fidelity", figure_percent},
        {"latency_p50_us", "latency p50", figure_us},
        {"cpu_us", "CPU a result", figure_us},
        {"arena_bytes", "arena", figure_bytes},
    };
    const json_t *total = json_object_get(result, "total");
    const json_t *original = json_object_get(total, "original"),
                 *variant = json_object_get(total, "variant");
    struct table *table = table_new(4);

    table_row(table, (const char *const[]){"", "original", "variant", "ratio"});
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double before = number_of(original, rows[i].key), after = number_of(variant, rows[i].key);
        char text[3][FIGURE_BYTES];

        table_row(table, (const char *const[]){rows[i].name, rows[i].figure(before, text[0]),
                                               rows[i].figure(after, text[1]),
                                               figure_times(after / before, text[2])});
    }
    table_print(table);
    table_free(table);
    printf("%s\n", json_string_value(json_object_get(result, "reason")));
}

static void show_progress(void *user, const char *state, double done_ratio, const char *text)
{
    char label[160];

    (void) user;
    (void) snprintf(label, sizeof label, "%-12s %.100s", state, text ? text : "");
    progress_show(label, done_ratio);
}

static int read_result(const struct compress *compress, json_t **out, struct pith_error *err)
{
    struct pith_buffer text = {0};
    char path[PATH_MAX];
    int rc = pith_file_read(job_path(compress, path, "result.json"), RESULT_MAX_BYTES, &text, err);

    if (rc == 0)
        rc = pith_json_parse(out, text.data, text.bytes, RESULT_MAX_BYTES, "result", err);
    pith_buffer_done(&text);
    return rc;
}

static int is_cancelled(void *user)
{
    (void) user;
    return interrupt_seen();
}

/* Runs the job and keeps what came out. *out: its result. */
static int do_compress(struct compress *compress, json_t **out, struct pith_error *err)
{
    struct pith_job_options options = {
        .folder = compress->folder, .progress = show_progress, .cancelled = is_cancelled};
    struct pith_plugins *plugins = NULL;
    int rc = make_job(compress, err);

    if (rc == 0)
        rc = pith_plugins_open(&plugins, compress->plugin_path, err);
    options.plugins = plugins;
    if (rc == 0) {
        rc = pith_job_run(&options, err);
        progress_end();
    }
    if (rc == 0)
        rc = read_result(compress, out, err);
    if (rc == 0 && !json_is_true(json_object_get(*out, "ok")))
        rc = pith_fail(err, -EPROTO, "%s", json_string_value(json_object_get(*out, "reason")));
    if (rc == 0)
        rc = save(compress, err);
    pith_plugins_free(plugins);
    return rc;
}

static int run_compress(const struct cli_command *command, int argc, char **argv)
{
    struct compress compress = {.recipe = "balanced", .threads = 1, .seed = 1};
    const struct cli_option options[] = {
        {"out", CLI_TEXT, &compress.out, "OUT",
         "also -o: a .onnx or .onnx.zst file, or a folder for a model's folder"},
        {"recipe", CLI_TEXT, &compress.recipe, "RECIPE",
         "a recipe's name, or a YAML file (balanced)"},
        {"data", CLI_TEXT, &compress.data, "DATA",
         "samples to judge by, or a description of them: pith-data(5) (what came with the model)"},
        {"labels", CLI_TEXT, &compress.labels, "LABELS", "their labels"},
        {"calibration", CLI_TEXT, &compress.calibration, "DATA",
         "samples to set ranges by (the calibration split of --data, or all)"},
        {"threads", CLI_INT, &compress.threads, "COUNT", "for engines (1)", 1, 64},
        {"seed", CLI_INT, &compress.seed, "NUMBER", "the same seed gives the same bytes (1)", 0,
         INT64_MAX},
        {"force", CLI_FLAG, &compress.force, NULL, "write over OUT"},
        {"plugin-path", CLI_TEXT, &compress.plugin_path, "FOLDERS",
         "where plugins are (PITH_PLUGIN_PATH; " PITH_PLUGIN_DIR ")"},
        {"json", CLI_FLAG, &compress.json, NULL, "print JSON: the job's whole result"},
        {0}};
    struct cli_arguments arguments;
    struct pith_error err = {0};
    json_t *result = NULL;
    int rc, code = cli_parse(command, (const struct cli_option *const[]){options, NULL}, 1, 1, argc,
                             argv, &arguments);

    if (code != CLI_GO_ON)
        return code;
    compress.input = arguments.given[0];
    if (!compress.out)
        return cli_usage(command, "-o is missing");
    if (access(compress.out, F_OK) == 0 && !compress.force)
        return cli_usage(command, "%s is there already; --force writes over it", compress.out);
    rc = model_open(&compress.model, compress.input, &err);
    if (rc == 0 && compress.model->single !=
                       (pith_ends_with(compress.out, ".onnx") || pith_ends_with(compress.out, ".onnx.zst")))
        rc = pith_fail(&err, -EINVAL, "-o %s: must be %s, as %s is one", compress.out,
                       compress.model->single ? "a .onnx or .onnx.zst file" : "a folder",
                       compress.input);
    if (rc == 0)
        rc = data_show(&(struct data){.data = compress.data ? compress.data : compress.calibration},
                       compress.model, &err);
    if (rc == 0)
        rc = model_manifest(compress.model, &err);
    interrupt_watch();
    if (rc == 0)
        rc = do_compress(&compress, &result, &err);
    if (rc == 0 && compress.json)
        print_json(result);
    else if (rc == 0)
        print_facts(result);
    code = rc < 0 ? cli_fail(&err) : CLI_OK;
    json_decref(result);
    if (compress.folder[0] && pith_remove_tree(compress.folder, &err) < 0)
        fprintf(stderr, "pith: warning: %s\n", pith_error_text(&err));
    model_close(compress.model);
    interrupt_pass_on();
    return code;
}

const struct cli_command command_compress = {
    .name = "compress",
    .arguments = "MODEL -o OUT [--recipe RECIPE] [--data DATA [--labels LABELS]]",
    .summary = "make a model smaller and cheaper, within its budget",
    .text = "MODEL is an ONNX or TensorFlow Lite file, or a model's folder. What comes out is "
            "standard ONNX.\n"
            "Steps and limits come from the recipe; "
            "layers that hurt stay finer, and where nothing keeps the budget the original comes "
            "out, and why.\n\n"
            "example: pith compress model.onnx --recipe balanced --data x.npy --labels y.npy -o "
            "small.onnx",
    .run = run_compress,
};
