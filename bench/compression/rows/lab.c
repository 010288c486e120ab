/* Everything here runs through the doors that the product uses: data sets, metrics, plugins. */
#include "bench/compression/rows/lab.h"

#include "libpith/base/digest.h"
#include "libpith/base/file.h"
#include "libpith/compress/measure.h"
#include "libpith/formats/onnx.h"
#include "libpith/formats/open.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MODEL_BYTES ((size_t) 1 << 31)
#define OUTPUTS     16

_Noreturn void lab_die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void) fputs("ptq: ", stderr);
    (void) vfprintf(stderr, format, args);
    va_end(args);
    (void) fputc('\n', stderr);
    exit(1);
}

void lab_must(int rc, const struct pith_error *err, const char *what)
{
    if (rc < 0)
        lab_die("%s: %s", what, err && err->text[0] ? pith_error_text(err) : strerror(-rc));
}

double lab_now_s(void)
{
    struct timespec t;

    (void) clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

const char *lab_path(const char *folder, const char *format, ...)
{
    char name[2048], *path;
    va_list args;

    va_start(args, format);
    (void) vsnprintf(name, sizeof name, format, args);
    va_end(args);
    if (asprintf(&path, "%s/%s", folder, name) < 0)
        lab_die("no memory");
    return path; /* the program ends before they matter */
}

void lab_open(struct lab *lab)
{
    struct pith_error err = {0};

    lab_must(pith_plugins_open(&lab->plugins, NULL, &err), &err, "plugins");
    lab_must(pith_plugins_find(lab->plugins, PITH_KIND_TECHNIQUE, "quantize", &lab->quantize, &err),
             &err, "plugin");
    lab_must(pith_plugins_find(lab->plugins, PITH_KIND_ENGINE, "native", &lab->native, &err), &err,
             "plugin");
    lab_must(pith_options_from_json(&lab->engine_options, lab->native->options, NULL, "engine", &err),
             &err, "engine");
}

void lab_close(struct lab *lab)
{
    pith_options_done(&lab->engine_options);
    pith_plugins_free(lab->plugins);
}

struct pith_graph *lab_graph(const char *path)
{
    struct pith_error err = {0};
    struct pith_graph *graph;

    lab_must(pith_graph_open(&graph, path, MODEL_BYTES, &err), &err, path);
    return graph;
}

static size_t pack(const struct pith_graph *graph, char digest[65])
{
    const char *folder = getenv("TMPDIR");
    char path[4096];
    struct pith_error err = {0};
    struct pith_buffer file = {0};
    uint8_t sum[32];
    size_t bytes = 0;

    (void) snprintf(path, sizeof path, "%s/pith-ptq-XXXXXX.onnx.zst", folder ? folder : "/tmp");
    int fd = mkstemps(path, 9);

    if (fd < 0)
        lab_die("%s: %s", path, strerror(errno));
    (void) close(fd);
    lab_must(pith_onnx_save(graph, path, &bytes, &err), &err, path);
    if (digest) {
        lab_must(pith_file_read(path, MODEL_BYTES, &file, &err), &err, path);
        lab_must(pith_sha256(file.data, file.bytes, sum), NULL, path);
        pith_hex_encode(digest, sum, sizeof sum);
        pith_buffer_done(&file);
    }
    (void) remove(path);
    return bytes;
}

size_t lab_packed_bytes(const struct pith_graph *graph)
{
    return pack(graph, NULL);
}

/* ---- one sample ---- */

/* The grid of an input that is stored as integers: that of the node which unfolds it. */
static const struct pith_quantization *input_grid(const struct pith_graph *graph)
{
    size_t count;
    const uint32_t *users = pith_value_users(graph, pith_graph_input(graph, 0), &count);

    return count ? pith_value_quantization(graph, pith_node_output(graph, users[0], 0)) : NULL;
}

static const struct pith_quantization *output_grid(const struct pith_graph *graph, size_t output)
{
    uint32_t node = pith_value_producer(graph, pith_graph_output(graph, output));

    return pith_value_quantization(graph, pith_node_input(graph, node, 0));
}

static struct pith_shape input_shape(const struct pith_graph *graph, const struct pith_tensor *x)
{
    struct pith_shape shape = *pith_value_shape(graph, pith_graph_input(graph, 0));

    if (shape.rank > 0 && shape.dim[0] < 1)
        shape.dim[0] = 1;
    if (pith_shape_elements(&shape) != pith_shape_elements(&x->shape))
        lab_die("a sample has %lld elements, the model takes %lld",
                (long long) pith_shape_elements(&x->shape), (long long) pith_shape_elements(&shape));
    return shape;
}

void sample_as_input(const struct pith_tensor *x, const struct pith_graph *graph,
                     struct pith_tensor *out)
{
    int32_t dtype = pith_value_dtype(graph, pith_graph_input(graph, 0));
    const struct pith_quantization *grid = dtype == PITH_INT8 ? input_grid(graph) : NULL;
    const struct pith_shape shape = input_shape(graph, x);
    int64_t elements = pith_shape_elements(&shape);
    struct pith_error err = {0};

    if (dtype != PITH_FLOAT32 && !grid)
        lab_die("the model takes %s", pith_dtype_name(dtype));
    if (!out->data)
        lab_must(pith_tensor_alloc(out, dtype, &shape, &err), &err, "sample");
    if (!grid && x->dtype == PITH_FLOAT32) {
        memcpy(out->data, x->data, out->bytes);
        return;
    }
    for (int64_t i = 0; i < elements; i++) {
        double value = pith_tensor_get(x, i);

        if (grid) {
            double q = nearbyint(value / (double) grid->scale[0]) + grid->zero_point[0];

            ((int8_t *) out->data)[i] = (int8_t) fmin(fmax(q, -128), 127);
        } else {
            ((float *) out->data)[i] = (float) value;
        }
    }
}

/* Integers that came out, as the floats that they stand for. */
static void unfold(struct pith_tensor *y, const struct pith_graph *graph, size_t output,
                   struct pith_tensor *buffer)
{
    const struct pith_quantization *grid;
    struct pith_error err = {0};

    if (y->dtype != PITH_INT8 || !(grid = output_grid(graph, output)))
        return;
    if (!buffer->data)
        lab_must(pith_tensor_alloc(buffer, PITH_FLOAT32, &y->shape, &err), &err, "output");
    for (int64_t i = 0; i < pith_shape_elements(&y->shape); i++)
        ((float *) buffer->data)[i] =
            (float) ((pith_tensor_get(y, i) - grid->zero_point[0]) * (double) grid->scale[0]);
    *y = *buffer;
}

/* ---- a subject ---- */

static void read_calibration(struct subject *subject)
{
    struct pith_dataset dataset;
    struct pith_tensor input = {0};
    struct pith_error err = {0};

    lab_must(pith_dataset_open(&dataset, &subject->calibration.options, subject->calibration.split,
                               &err),
             &err, "calibration");
    pith_samples_init(&subject->samples, dataset.count, 1);
    for (uint64_t i = 0; i < dataset.count; i++) {
        const struct pith_sample *sample;

        lab_must(pith_dataset_read(&dataset, i, &sample, &err), &err, "calibration");
        sample_as_input(&sample->x, subject->graph, &input);
        lab_must(pith_samples_offer(&subject->samples, &input, 1, &err), &err, "calibration");
    }
    pith_tensor_free(&input);
    pith_dataset_close(&dataset);
}

void subject_open(struct subject *subject, const struct lab *lab, const char *model)
{
    subject->lab = lab;
    subject->graph = lab_graph(model);
    subject->bytes = lab_packed_bytes(subject->graph);
    struct pith_facts facts;

    pith_facts_init(&facts);
    pith_facts_of_graph(&facts, subject->graph, 0, 0);
    subject->weight_bytes = 4 * facts.parameters;
    if (subject->points == 0)
        subject->points = 100;
    if (subject->calibration.options.data)
        read_calibration(subject);
}

void subject_close(struct subject *subject)
{
    pith_samples_done(&subject->samples);
    pith_graph_free(subject->graph);
    subject->graph = NULL;
}

void outcome_done(struct outcome *outcome)
{
    pith_metric_free(outcome->metric);
    pith_metric_free(outcome->wider);
    json_decref(outcome->report);
    *outcome = (struct outcome){0};
}

void subject_run(const struct subject *subject, const struct pith_graph *graph, const struct part *part,
                 part_visitor *visit, void *user)
{
    const struct pith_engine_ops *engine = subject->lab->native->ops;
    const size_t output_count = pith_graph_output_count(graph);
    struct pith_tensor input = {0}, outputs[OUTPUTS] = {0}, unfolded[OUTPUTS] = {0};
    struct pith_technique_host host = {.engine = engine};
    struct pith_session *session = NULL;
    struct pith_dataset dataset;
    struct pith_error err = {0};

    pith_technique_host_init(&host);
    lab_must(pith_dataset_open(&dataset, &part->options, part->split, &err), &err, "samples");
    for (uint64_t i = 0; i < dataset.count; i++) {
        const struct pith_sample *sample;

        lab_must(pith_dataset_read(&dataset, i, &sample, &err), &err, "samples");
        sample_as_input(&sample->x, graph, &input);
        if (!session) {
            struct pith_engine_options options = {.size_bytes = sizeof options,
                                                  .threads = 1,
                                                  .input_shapes = &input.shape,
                                                  .options = subject->lab->engine_options.values};

            lab_must(engine->compile(&host.host, graph, &options, &session, &err), &err, "compile");
        }
        lab_must(engine->run(session, &input, 1, outputs, output_count, &err), &err, "run");
        for (size_t k = 0; k < output_count; k++)
            unfold(&outputs[k], graph, k, &unfolded[k]);
        visit(user, i, sample, outputs, output_count);
    }
    engine->close(session);
    pith_dataset_close(&dataset);
    pith_tensor_free(&input);
    for (size_t k = 0; k < OUTPUTS; k++)
        pith_tensor_free(&unfolded[k]);
}

#define METRICS 2 /* that see a part in one run; NULL: fewer */

static void count_in(void *user, uint64_t index, const struct pith_sample *sample,
                     const struct pith_tensor *outputs, size_t output_count)
{
    struct pith_metric **metrics = user;
    struct pith_error err = {0};

    (void) index;
    for (size_t i = 0; i < METRICS; i++) {
        if (!metrics[i])
            continue;
        lab_must(pith_metric_begin(metrics[i]), NULL, "metric");
        lab_must(pith_metric_see(metrics[i], sample, outputs, output_count, &err), &err, "metric");
    }
}

static struct pith_metric *new_metric(const struct subject *subject, const struct part *part)
{
    struct pith_metric *metric;
    struct pith_dataset dataset;
    struct pith_error err = {0};

    lab_must(pith_dataset_open(&dataset, &part->options, part->split, &err), &err, "samples");
    lab_must(pith_metric_new(&metric, &subject->metric, dataset.labels, &err), &err, "metric");
    pith_dataset_close(&dataset);
    return metric;
}

void subject_measure(const struct subject *subject, const struct pith_graph *graph,
                     const struct part *part, struct outcome *out)
{
    const bool has_more = part == &subject->test && subject->more.options.data;
    struct pith_error err = {0};

    out->metric = new_metric(subject, part);
    out->wider = has_more ? new_metric(subject, part) : NULL;
    subject_run(subject, graph, part, count_in, (struct pith_metric *[METRICS]){out->metric, out->wider});
    if (has_more)
        subject_run(subject, graph, &subject->more, count_in, (struct pith_metric *[METRICS]){out->wider});
    lab_must(pith_metric_measure(out->metric, &out->value, &err), &err, "metric");
}

/* ---- quantizing ---- */

static int evaluate_on_validation(void *user, const struct pith_graph *graph,
                                  struct pith_evaluation *out, struct pith_error *err)
{
    const struct subject *subject = user;
    struct outcome outcome = {0};

    (void) err;
    subject_measure(subject, graph, &subject->validation, &outcome);
    *out = (struct pith_evaluation){.accuracy_ratio = outcome.value.value,
                                    .fidelity_ratio = -1,
                                    .error_ratio = -1,
                                    .sample_count = outcome.value.samples};
    outcome_done(&outcome);
    return 0;
}

struct pith_graph *subject_quantize(struct subject *subject, const char *options, double budget_points,
                                    struct outcome *out)
{
    const struct lab *lab = subject->lab;
    const struct pith_technique_ops *ops = lab->quantize->ops;
    struct pith_technique_host host = {.engine = lab->native->ops,
                                       .engine_options = lab->engine_options.values,
                                       .threads = lab->threads,
                                       .samples = subject->samples.count ? &subject->samples : NULL,
                                       .user = subject,
                                       .evaluate = budget_points >= 0 ? evaluate_on_validation : NULL};
    struct pith_options given = {0};
    struct pith_error err = {0};
    struct pith_graph *made;
    json_t *object = json_loads(options, 0, NULL);
    char *report = NULL;

    pith_technique_host_init(&host);
    lab_must(object ? pith_options_from_json(&given, lab->quantize->options, object, "options", &err)
                    : -EINVAL,
             &err, options);
    struct pith_technique_job job = {.size_bytes = sizeof job,
                                     .host = &host.host,
                                     .options = given.values,
                                     .seed = 1,
                                     .accuracy_drop_points = budget_points};
    double from = lab_now_s();

    lab_must(ops->apply(&job, subject->graph, &made, &report, &err), &err, options);
    out->seconds = lab_now_s() - from;
    out->report = report ? json_loads(report, 0, NULL) : NULL;
    json_t *error = json_object_get(out->report, "output_error_ratio");

    out->error_ratio = json_is_number(error) ? json_number_value(error) : NAN;
    out->bytes = pack(made, out->digest);
    free(report);
    json_decref(object);
    pith_options_done(&given);
    return made;
}
