/* For benchmarks: quantizes a model with each set of options, and prints what became of its bytes,
 * its top-1 accuracy, its outputs' error, and what it took.
 *
 *   quantize MODEL X.npy Y.npy|- CALIBRATE SCALE OFFSET OPTIONS...
 *
 * x: [samples, ...], any type; the model gets x * SCALE + OFFSET. y: a label a sample; -: none. The
 * first CALIBRATE samples of a fixed shuffle are for calibration, the others are the test. OPTIONS:
 * a JSON object each, as in a recipe. PITH_PLUGINS as for all programs. */
#include "libpith/compress/host.h"
#include "libpith/formats/npy.h"
#include "libpith/formats/onnx.h"
#include "libpith/plugin/plugins.h"
#include <pith/technique.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define MODEL_BYTES ((size_t) 1 << 31)

static struct pith_error err;

static void must(int rc, const char *what)
{
    if (rc >= 0)
        return;
    (void) fprintf(stderr, "quantize: %s: %s\n", what, pith_error_text(&err));
    exit(1);
}

static double now_s(void)
{
    struct timespec t;

    (void) clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

struct bench {
    struct pith_plugins *plugins;
    const struct pith_plugin *quantize, *native;
    struct pith_graph *graph;
    struct pith_tensor x, y, sample; /* sample: as the model takes one */
    int64_t count, calibrate, elements;
    int64_t *order;
    double scale, offset;
    int32_t *decisions; /* of the model as it is, by sample */
    struct pith_technique_host host;
    struct pith_options engine_options;
};

static void load_sample(struct bench *bench, int64_t index)
{
    for (int64_t i = 0; i < bench->elements; i++)
        ((float *) bench->sample.data)[i] =
            (float) (pith_tensor_get(&bench->x, bench->order[index] * bench->elements + i) *
                         bench->scale +
                     bench->offset);
}

static void open_data(struct bench *bench, char **argv)
{
    const struct pith_shape *declared;
    struct pith_shape shape;
    uint64_t state = 7;

    must(pith_onnx_open(&bench->graph, argv[1], MODEL_BYTES, &err), argv[1]);
    must(pith_npy_read(&bench->x, argv[2], &err), argv[2]);
    if (strcmp(argv[3], "-") != 0)
        must(pith_npy_read(&bench->y, argv[3], &err), argv[3]);
    bench->count = bench->x.shape.dim[0];
    bench->calibrate = strtol(argv[4], NULL, 10);
    bench->scale = strtod(argv[5], NULL);
    bench->offset = strtod(argv[6], NULL);
    bench->elements = pith_shape_elements(&bench->x.shape) / bench->count;
    declared = pith_value_shape(bench->graph, pith_graph_input(bench->graph, 0));
    shape = *declared;
    if (shape.rank > 0 && shape.dim[0] < 1)
        shape.dim[0] = 1;
    must(pith_tensor_alloc(&bench->sample, PITH_FLOAT32, &shape, &err), "sample");
    if (pith_shape_elements(&shape) != bench->elements) {
        (void) fprintf(stderr, "quantize: a sample has %lld elements, the model takes %lld\n",
                       (long long) bench->elements, (long long) pith_shape_elements(&shape));
        exit(1);
    }
    bench->order = calloc((size_t) bench->count, sizeof *bench->order);
    bench->decisions = calloc((size_t) bench->count, sizeof *bench->decisions);
    must(bench->order && bench->decisions ? 0 : -1, "memory");
    for (int64_t i = 0; i < bench->count; i++)
        bench->order[i] = i;
    for (int64_t i = bench->count - 1; i > 0; i--) {
        int64_t k = (int64_t) (pith_random(&state) % (uint64_t) (i + 1)), was = bench->order[i];

        bench->order[i] = bench->order[k];
        bench->order[k] = was;
    }
}

static void open_host(struct bench *bench, struct pith_samples *samples)
{
    must(pith_plugins_open(&bench->plugins, NULL, &err), "plugins");
    must(pith_plugins_find(bench->plugins, PITH_KIND_TECHNIQUE, "quantize", &bench->quantize, &err),
         "plugin");
    must(pith_plugins_find(bench->plugins, PITH_KIND_ENGINE, "native", &bench->native, &err),
         "plugin");
    must(pith_options_from_json(&bench->engine_options, bench->native->options, NULL, "engine",
                                &err),
         "engine");
    pith_samples_init(samples, (uint64_t) bench->calibrate, 1);
    for (int64_t i = 0; i < bench->calibrate; i++) {
        load_sample(bench, i);
        must(pith_samples_offer(samples, &bench->sample, 1, &err), "samples");
    }
    bench->host = (struct pith_technique_host){.engine = bench->native->ops,
                                               .engine_options = bench->engine_options.values,
                                               .threads = 2,
                                               .samples = bench->calibrate > 0 ? samples : NULL};
    pith_technique_host_init(&bench->host);
}

struct outcome {
    double accuracy, agreement; /* of decisions, with labels and with the model as it is */
};

/* Runs the test samples. first: the model as it is, whose decisions are kept. */
static struct outcome evaluate(struct bench *bench, const struct pith_graph *graph, bool first)
{
    const struct pith_engine_ops *engine = bench->native->ops;
    struct pith_engine_options options = {.size_bytes = sizeof options,
                                          .threads = 2,
                                          .input_shapes = &bench->sample.shape,
                                          .options = bench->engine_options.values};
    struct pith_session *session;
    struct pith_tensor outputs[16] = {0};
    struct outcome out = {0};
    int64_t tested = bench->count - bench->calibrate;

    must(engine->compile(&bench->host.host, graph, &options, &session, &err), "compile");
    for (int64_t i = bench->calibrate; i < bench->count; i++) {
        int32_t best = 0;

        load_sample(bench, i);
        must(engine->run(session, &bench->sample, 1, outputs, pith_graph_output_count(graph), &err),
             "run");
        for (int64_t k = 1; k < pith_shape_elements(&outputs[0].shape); k++)
            if (pith_tensor_get(&outputs[0], k) > pith_tensor_get(&outputs[0], best))
                best = (int32_t) k;
        if (first)
            bench->decisions[i] = best;
        out.agreement += bench->decisions[i] == best;
        if (bench->y.data)
            out.accuracy += pith_tensor_get_int(&bench->y, bench->order[i]) == best;
    }
    engine->close(session);
    out.agreement *= 100.0 / (double) tested;
    out.accuracy *= 100.0 / (double) tested;
    return out;
}

static size_t packed_bytes(const struct pith_graph *graph)
{
    char path[] = "/tmp/pith-quantize-XXXXXX.onnx.zst";
    int fd = mkstemps(path, 9);
    size_t bytes = 0;

    must(fd, path);
    must(pith_onnx_save(graph, path, &bytes, &err), path);
    (void) remove(path);
    return bytes;
}

static void print_row(const char *name, struct outcome outcome, size_t bytes, size_t original,
                      double error, double seconds)
{
    struct rusage usage;

    (void) getrusage(RUSAGE_SELF, &usage);
    (void) printf("%9zu %6.3f %8.2f %8.2f %9.4f %7.1f %7ld  %s\n", bytes,
                  (double) bytes / (double) original, outcome.accuracy, outcome.agreement, error,
                  seconds, usage.ru_maxrss / 1024, name);
    (void) fflush(stdout);
}

static void try_options(struct bench *bench, const char *text, size_t original)
{
    const struct pith_technique_ops *ops = bench->quantize->ops;
    json_t *object = json_loads(text, 0, NULL);
    struct pith_options options = {0};
    struct pith_graph *made;
    char *report = NULL;

    must(pith_options_from_json(&options, bench->quantize->options, object, "options", &err), text);
    struct pith_technique_job job = {.size_bytes = sizeof job,
                                     .host = &bench->host.host,
                                     .options = options.values,
                                     .seed = 1,
                                     .accuracy_drop_points = -1};
    double from = now_s();

    must(ops->apply(&job, bench->graph, &made, &report, &err), text);
    double seconds = now_s() - from;
    json_t *facts = json_loads(report, 0, NULL), *repair;
    size_t i;

    print_row(text, evaluate(bench, made, false), packed_bytes(made), original,
              json_number_value(json_object_get(facts, "output_error_ratio")), seconds);
    json_array_foreach(json_object_get(facts, "repairs"), i, repair)
    {
        char *line = json_dumps(repair, JSON_COMPACT | JSON_SORT_KEYS);

        (void) printf("%60s%s\n", "", line ? line : "");
        free(line);
    }
    free(report);
    json_decref(facts);
    json_decref(object);
    pith_options_done(&options);
    pith_graph_free(made);
}

int main(int argc, char **argv)
{
    struct bench bench = {0};
    struct pith_samples samples;

    if (argc < 8) {
        (void) fprintf(stderr,
                       "usage: quantize MODEL X.npy Y.npy|- CALIBRATE SCALE OFFSET OPTIONS...\n");
        return 2;
    }
    open_data(&bench, argv);
    open_host(&bench, &samples);
    size_t original = packed_bytes(bench.graph);

    (void) printf("%9s %6s %8s %8s %9s %7s %7s\n", "bytes", "ratio", "top-1 %", "same %", "error",
                  "seconds", "MB peak");
    print_row("as it is", evaluate(&bench, bench.graph, true), original, original, 0, 0);
    for (int i = 7; i < argc; i++)
        try_options(&bench, argv[i], original);
    pith_samples_done(&samples);
    pith_tensor_free(&bench.x);
    pith_tensor_free(&bench.y);
    pith_tensor_free(&bench.sample);
    free(bench.order);
    free(bench.decisions);
    pith_options_done(&bench.engine_options);
    pith_graph_free(bench.graph);
    pith_plugins_free(bench.plugins);
    return 0;
}
