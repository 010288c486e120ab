/* The job's folder: what it was given, and the records of what it has done. */
#include "libpith/compress/job_parts.h"

#include "libpith/base/file.h"
#include "libpith/base/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define RECORD_MAX_BYTES (64 << 20) /* reports by layer of a large graph */

void job_path(const struct job *job, char path[PATH_MAX], const char *format, ...)
{
    va_list arguments;
    size_t used = (size_t) snprintf(path, PATH_MAX, "%s/", job->options->folder);

    if (used >= PATH_MAX)
        return;
    va_start(arguments, format);
    (void) vsnprintf(path + used, PATH_MAX - used, format, arguments);
    va_end(arguments);
}

bool job_file_exists(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

static int read_json(const char *path, size_t limit_bytes, const char *what, json_t **out,
                     struct pith_error *err)
{
    struct pith_buffer text = {0};
    int rc = pith_file_read(path, limit_bytes, &text, err);

    if (rc == 0)
        rc = pith_json_parse(out, text.data ? (const char *) text.data : "", text.bytes,
                             limit_bytes, what, err);
    pith_buffer_done(&text);
    return rc;
}

int job_recall(const struct job *job, const char *key, json_t **out, struct pith_error *err)
{
    char path[PATH_MAX];

    *out = NULL;
    job_path(job, path, "step/%s.json", key);
    return job_file_exists(path) ? read_json(path, RECORD_MAX_BYTES, path, out, err) : 0;
}

int job_record(const struct job *job, const char *key, const json_t *record, struct pith_error *err)
{
    char path[PATH_MAX], *text = pith_json_text(record);
    int rc;

    job_path(job, path, "step/%s.json", key);
    rc = text ? pith_file_write(path, text, strlen(text), 0640, err) : -ENOMEM;
    free(text);
    return rc;
}

/* ---- job.json ---- */

int job_settings_read(struct job *job, struct pith_error *err)
{
    static const char *const known[] = {"format",
                                        "recipe",
                                        "default_recipe",
                                        "recipe_path",
                                        "compress",
                                        "budget",
                                        "seed",
                                        "threads",
                                        "deadline_ms",
                                        "graph_max_bytes",
                                        "activation_max_bytes",
                                        "calibration_samples",
                                        "latency_runs",
                                        "cpu_power_mw",
                                        "evaluation_samples",
                                        NULL};
    const struct {
        const char *key;
        int64_t minimum, maximum, otherwise, *out;
    } numbers[] = {
        {"seed", 0, INT64_MAX, 1, &job->settings.seed},
        {"threads", 1, 64, 1, &job->settings.threads},
        {"deadline_ms", 0, INT64_C(1) << 40, 0, &job->settings.deadline_ms},
        {"graph_max_bytes", 1, INT64_C(1) << 40, INT64_C(1) << 30, &job->settings.graph_max_bytes},
        {"activation_max_bytes", 0, INT64_C(1) << 40, 0, &job->settings.activation_max_bytes},
        {"calibration_samples", 1, 100000, 300, &job->settings.calibration_samples},
        {"evaluation_samples", 0, INT64_MAX, 0, &job->settings.evaluation_samples},
        {"latency_runs", 3, 100000, 50, &job->settings.latency_runs},
    };
    char path[PATH_MAX];
    int64_t format;
    int rc;

    job_path(job, path, "job.json");
    rc = read_json(path, PITH_RECIPE_MAX_BYTES * 2, "job.json", &job->settings.json, err);
    json_t *object = job->settings.json;

    if (rc == 0)
        rc = pith_json_only(object, "job.json", known, err);
    if (rc == 0)
        rc = pith_json_int_or(object, "job.json", "format", 1, 1, 1, &format, err);
    for (size_t i = 0; rc == 0 && i < sizeof numbers / sizeof *numbers; i++)
        rc = pith_json_int_or(object, "job.json", numbers[i].key, numbers[i].minimum,
                              numbers[i].maximum, numbers[i].otherwise, numbers[i].out, err);
    if (rc == 0)
        rc = pith_json_bool_or(object, "job.json", "compress", true, &job->settings.compress, err);
    if (rc == 0)
        rc = pith_json_string_or(object, "job.json", "recipe_path", NULL,
                                 &job->settings.recipe_path, err);
    if (rc == 0 && !json_is_null(json_object_get(object, "cpu_power_mw")))
        rc = pith_json_number_or(object, "job.json", "cpu_power_mw", 0, 1e9, 0,
                                 &job->settings.cpu_power_mw, err);
    if (rc == 0)
        rc = pith_json_object(object, "job.json", "budget", false, &job->settings.budget, err);
    job->settings.recipe = json_object_get(object, "recipe");
    job->settings.default_recipe = json_object_get(object, "default_recipe");
    return rc;
}

/* ---- recipe and budget ---- */

/* A name, or a recipe itself. */
static int recipe_from(struct job *job, const json_t *value, const char *where,
                       struct pith_error *err)
{
    char *text;
    int rc;

    if (json_is_string(value))
        return pith_recipe_find(&job->recipe, json_string_value(value), job->settings.recipe_path,
                                job->options->plugins, err);
    text = json_dumps(value, JSON_INDENT(1)); /* lines, so that a fault's place says something */
    rc = text ? pith_recipe_parse(&job->recipe, where, text, strlen(text), job->options->plugins,
                                  err)
              : -ENOMEM;
    free(text);
    return rc;
}

static int read_recipe(struct job *job, struct pith_error *err)
{
    json_t *named = NULL;
    int rc;

    if (job->settings.recipe)
        return recipe_from(job, job->settings.recipe, "job.json: recipe", err);
    if (job->manifest->recipe_json) {
        named = json_loads(job->manifest->recipe_json, JSON_DECODE_ANY, NULL);
        rc = named ? recipe_from(job, named, "manifest: recipe", err)
                   : pith_fail(err, -EBADMSG, "manifest: recipe is neither a name nor a recipe");
        if (json_is_object(named) && rc < 0 && rc != -ENOMEM)
            job->rejected = true; /* it was signed with this fault, and keeps it */
        json_decref(named);
        return rc;
    }
    if (job->settings.default_recipe)
        return recipe_from(job, job->settings.default_recipe, "job.json: default_recipe", err);
    return pith_recipe_find(&job->recipe, "balanced", job->settings.recipe_path,
                            job->options->plugins, err);
}

/* The recipe says what is usual, the manifest what this model needs, job.json what the caller
 * insists on. */
static int settle_budget(struct job *job, struct pith_error *err)
{
    const struct pith_manifest *manifest = job->manifest;

    job->budget = job->recipe->budget;
    if (manifest->accuracy_drop_points >= 0)
        job->budget.accuracy_drop_points = manifest->accuracy_drop_points;
    if (manifest->budget_bytes > 0)
        job->budget.max_bytes = manifest->budget_bytes;
    if (manifest->budget_latency_ms > 0)
        job->budget.latency_ms = manifest->budget_latency_ms;
    if (manifest->budget_energy_ratio > 0)
        job->budget.energy_ratio = manifest->budget_energy_ratio;
    return pith_budget_override(&job->budget, job->settings.budget, "job.json: budget", err);
}

/* ---- engines ---- */

static int add_engine(struct job *job, const struct pith_plugin *plugin, struct pith_error *err)
{
    struct job_engine *engine = &job->engines[job->engine_count];
    int rc;

    if (job->engine_count == JOB_MAX_ENGINES)
        return 0;
    engine->plugin = plugin;
    engine->ops = plugin->ops;
    rc = plugin->options
             ? pith_options_from_json(&engine->options, plugin->options, NULL, plugin->name, err)
             : 0;
    if (rc == 0)
        job->engine_count++;
    return rc;
}

/* Our own engine first: the search then runs the same kernels whatever else is installed. */
static int find_engines(struct job *job, struct pith_error *err)
{
    int rc = 0;

    for (int own = 1; own >= 0; own--)
        for (size_t i = 0; rc == 0 && i < pith_plugins_count(job->options->plugins); i++) {
            const struct pith_plugin *plugin = pith_plugins_entry(job->options->plugins, i)->plugin;

            if (plugin && plugin->kind == PITH_KIND_ENGINE &&
                (strcmp(plugin->name, "native") == 0) == (own == 1))
                rc = add_engine(job, plugin, err);
        }
    if (rc == 0 && job->engine_count == 0)
        return pith_fail(
            err, -ENOTSUP,
            "no engine plugin is installed; `pith plugins` says where they are looked for");
    return rc;
}

/* ---- data ---- */

/* data/<name>.npy or .npy.zst. */
static bool find_data(const struct job *job, const char *name, char path[PATH_MAX])
{
    job_path(job, path, "data/%s.npy", name);
    if (job_file_exists(path))
        return true;
    job_path(job, path, "data/%s.npy.zst", name);
    return job_file_exists(path);
}

static int open_data(struct job *job, const char *x, const char *y, struct pith_dataset *out,
                     struct pith_error *err)
{
    char x_path[PATH_MAX], y_path[PATH_MAX];
    int rc;

    if (!find_data(job, x, x_path))
        return 0;
    struct pith_dataset_options options = {
        .data = x_path, .labels = find_data(job, y, y_path) ? y_path : NULL};

    rc = pith_dataset_open(out, &options, PITH_SPLIT_ALL, err);
    if (rc == 0 && out->labels == PITH_LABEL_VALUES)
        rc = pith_fail(err, -EBADMSG, "%s: labels must be integers, one a sample", y_path);
    if (rc == 0)
        rc = pith_dataset_check(out, job->manifest, err);
    return rc;
}

static int read_manifest(struct job *job, struct pith_error *err)
{
    struct pith_buffer text = {0};
    char path[PATH_MAX];
    int rc;

    job_path(job, path, "manifest.json");
    rc = pith_file_read(path, PITH_MANIFEST_MAX_BYTES, &text, err);
    if (rc == 0) {
        rc = pith_manifest_parse(&job->manifest, text.data ? (const char *) text.data : "",
                                 text.bytes, err);
        job->rejected = rc < 0;
    }
    pith_buffer_done(&text);
    return rc;
}

int job_inputs_read(struct job *job, struct pith_error *err)
{
    int rc = read_manifest(job, err);

    if (rc == 0)
        rc = find_engines(job, err);
    if (rc == 0)
        rc = read_recipe(job, err);
    if (rc == 0)
        rc = settle_budget(job, err);
    if (rc == 0)
        rc = open_data(job, "calibration_x", "calibration_y", &job->calibration, err);
    if (rc == 0)
        rc = open_data(job, "validation_x", "validation_y", &job->data, err);
    if (rc < 0)
        return rc;
    job->data_name = job->data.count > 0          ? "validation"
                     : job->calibration.count > 0 ? "calibration"
                                                  : "none";
    if (job->settings.evaluation_samples > 0 &&
        job->data.count > (uint64_t) job->settings.evaluation_samples)
        job->data.count = (uint64_t) job->settings.evaluation_samples;
    job->graph_count = job->manifest->graph_count;
    job->graphs = calloc(job->graph_count + 1, sizeof *job->graphs);
    return job->graphs ? 0 : -ENOMEM;
}
