/* pith run: a model over recorded input; what it decides, as it would live. */
#include "cli/model.h"
#include "cli/output.h"

#include "libpith/base/json.h"
#include "libpith/base/names.h"
#include "libpith/formats/flac.h"
#include "libpith/formats/npy.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

struct run {
    const struct model *model;
    struct pith_chain *chain;
    bool json, all;
    const char *input;   /* the file under way */
    int64_t sample;      /* in it; -1: the file is one recording */
    uint64_t row_before; /* rows fed before this recording */
    uint64_t results, fired;
};

static json_t *result_json(const struct run *run, const struct pith_result *result, double time_s,
                           int32_t label)
{
    json_t *object = json_object(), *scores = json_object();

    (void) json_object_set_new(object, "input", json_string(run->input));
    if (run->sample >= 0)
        (void) json_object_set_new(object, "sample", json_integer(run->sample));
    if (isfinite(time_s))
        (void) json_object_set_new(object, "time_s", json_real(time_s));
    for (size_t i = 0; i < result->score_count; i++)
        (void) json_object_set_new(scores, result->scores[i].label,
                                   json_real((double) result->scores[i].score));
    (void) json_object_set_new(object, "label",
                               label < 0 ? json_null() : json_string(result->scores[label].label));
    (void) json_object_set_new(object, "scores", scores);
    (void) json_object_set_new(object, "latency_us", json_real((double) result->latency_ns / 1e3));
    return object;
}

static int32_t greatest(const struct pith_result *result)
{
    int32_t best = result->score_count ? 0 : -1;

    for (size_t i = 1; i < result->score_count; i++)
        if (result->scores[i].score > result->scores[best].score)
            best = (int32_t) i;
    return best;
}

static bool decides(const struct model *model)
{
    return model->manifest->stages[model->manifest->stage_count - 1].kind == PITH_STAGE_DECIDE;
}

/* A result that nothing fired in is shown with --all; where nothing decides, each is, with its
 * greatest score. */
static int take_result(void *user, const struct pith_result *result)
{
    struct run *run = user;
    double rate = run->model->manifest->input_rate_hz;
    double time_s = rate > 0 ? (double) (result->row - run->row_before) / rate : NAN;
    bool decided = decides(run->model);
    int32_t label = decided ? result->fired : greatest(result);
    char latency[FIGURE_BYTES], where[64] = "";

    run->results++;
    run->fired += label >= 0;
    if (label < 0 && !run->all)
        return 0;
    if (run->json) {
        json_t *object = result_json(run, result, time_s, label);

        print_json(object);
        json_decref(object);
        return 0;
    }
    if (run->sample >= 0)
        (void) snprintf(where, sizeof where, "[%lld]", (long long) run->sample);
    printf("%s%s", run->input, where);
    if (isfinite(time_s))
        printf("  %7.2f s", time_s);
    if (label < 0)
        label = greatest(result);
    if (label >= 0)
        printf("  %-16s %.3f", result->fired < 0 && decided ? "-" : result->scores[label].label,
               (double) result->scores[label].score);
    printf("  %s\n", figure_us((double) result->latency_ns / 1e3, latency));
    return 0;
}

static int read_flac(struct pith_tensor *out, double *rate_hz, const char *path,
                     struct pith_error *err)
{
    struct pith_mapping mapping;
    int rc = pith_mapping_open(&mapping, path, err);

    if (rc < 0)
        return rc;
    rc = pith_flac_decode(out, rate_hz, mapping.data, mapping.bytes, err);
    pith_mapping_close(&mapping);
    return rc < 0 ? pith_fail_in(err, rc, "%s", path) : 0;
}

static int read_input(struct pith_tensor *out, const char *path,
                      const struct pith_manifest *manifest, struct pith_error *err)
{
    double rate_hz = 0;
    int rc;

    if (!pith_ends_with(path, ".wav") && !pith_ends_with(path, ".flac"))
        return pith_npy_read(out, path, err);
    rc = pith_ends_with(path, ".wav") ? pith_wav_read(out, &rate_hz, path, err)
                               : read_flac(out, &rate_hz, path, err);
    if (rc == 0 && manifest->input_rate_hz > 0 && rate_hz != manifest->input_rate_hz) {
        pith_tensor_free(out);
        return pith_fail(
            err, -EINVAL,
            "%s: has %g samples a second, the model takes %g; sox %s -r %g other.wav makes them",
            path, rate_hz, manifest->input_rate_hz, path, manifest->input_rate_hz);
    }
    return rc;
}

/* One recording: [rows, ...row]. */
static int feed(struct run *run, const struct pith_tensor *rows, struct pith_error *err)
{
    int rc;

    pith_chain_reset(run->chain);
    rc = pith_chain_feed(run->chain, rows, take_result, run, err);
    run->row_before += rows->shape.rank ? (uint64_t) rows->shape.dim[0] : 0;
    return rc;
}

/* A file holds one recording, or with one dimension more many: [samples, rows, ...row]. */
static int run_file(struct run *run, struct pith_error *err)
{
    const struct pith_manifest *manifest = run->model->manifest;
    struct pith_tensor input = {0};
    int rc = read_input(&input, run->input, manifest, err);

    run->sample = -1;
    if (rc == 0 && input.shape.rank == manifest->input_row.rank + 2) {
        struct pith_tensor part = {.dtype = input.dtype, .shape = {.rank = input.shape.rank - 1}};

        part.bytes = input.bytes / (size_t) (input.shape.dim[0] > 0 ? input.shape.dim[0] : 1);
        memcpy(part.shape.dim, input.shape.dim + 1, part.shape.rank * sizeof *part.shape.dim);
        for (int64_t i = 0; i < input.shape.dim[0] && rc == 0; i++) {
            part.data = (uint8_t *) input.data + (size_t) i * part.bytes;
            run->sample = i;
            rc = feed(run, &part, err);
        }
    } else if (rc == 0) {
        rc = feed(run, &input, err);
    }
    pith_tensor_free(&input);
    return rc < 0 ? pith_fail_in(err, rc, "%s", run->input) : 0;
}

/* Where the model's file leaves more open than the batch, the first input says it. */
static int show_input(struct model *model, const char *path, struct pith_error *err)
{
    struct pith_tensor input;
    int rc;

    if (!model_wants_sample(model) || pith_ends_with(path, ".wav") || pith_ends_with(path, ".flac"))
        return 0;
    rc = pith_npy_read(&input, path, err);
    if (rc < 0)
        return rc;
    model->sample = input.shape;
    pith_tensor_free(&input);
    return 0;
}

static int run_run(const struct cli_command *command, int argc, char **argv)
{
    struct run run = {.sample = -1};
    const char *engine_name = NULL, *plugin_path = NULL;
    int64_t threads = 1;
    const struct cli_option common[] = {MODEL_OPTIONS(engine_name, plugin_path, threads), {0}};
    const struct cli_option options[] = {
        {"all", CLI_FLAG, &run.all, NULL, "results that nothing fired in too"},
        {"json", CLI_FLAG, &run.json, NULL, "print JSON, one object a result"},
        {0}};
    struct cli_arguments arguments;
    struct model_engine engine = {.plugin = NULL};
    struct pith_plugins *plugins = NULL;
    struct model *model = NULL;
    struct pith_error err = {0};
    int rc, code = cli_parse(command, (const struct cli_option *const[]){options, common, NULL}, 2,
                             CLI_MAX_ARGUMENTS, argc, argv, &arguments);

    if (code != CLI_GO_ON)
        return code;
    if ((rc = model_open(&model, arguments.given[0], &err)) == 0 &&
        (rc = show_input(model, arguments.given[1], &err)) == 0 &&
        (rc = pith_plugins_open(&plugins, plugin_path, &err)) == 0 &&
        (rc = model_engine_open(&engine, plugins, engine_name, model, &err)) == 0)
        rc = model_chain_open(&run.chain, model, &engine, (uint32_t) threads, &err);
    run.model = model;
    for (size_t i = 1; i < arguments.count && rc == 0; i++) {
        run.input = arguments.given[i];
        rc = run_file(&run, &err);
    }
    if (rc == 0 && !run.json)
        fprintf(stderr, "%llu results, %llu of them with a label\n",
                (unsigned long long) run.results, (unsigned long long) run.fired);
    code = rc < 0 ? cli_fail(&err) : CLI_OK;
    pith_chain_close(run.chain);
    model_engine_done(&engine);
    model_close(model);
    pith_plugins_free(plugins);
    return code;
}

const struct cli_command command_run = {
    .name = "run",
    .arguments = "MODEL INPUT...",
    .summary = "run a model over recorded input",
    .text = "MODEL is a model's folder or an ONNX or TensorFlow Lite file with one input.\n"
            "Each INPUT is a WAV or FLAC file, or a .npy file with rows as the model takes them; with one "
            "dimension more, with many recordings.\n\n"
            "example: pith run wakeword/ alexa.wav",
    .run = run_run,
};
