/* Time and memory, on networks with random weights, where what weights say doesn't matter. Each is
 * a process of its own, so that its peak is its own. Pictures of MobileNetV2 stream from the data
 * set: 200 of them would be 120 MB. */
#include "bench/compression/rows/rows.h"

#include "libpith/formats/onnx.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHUNK  32 /* samples in memory at a time */
#define MIB    (1024.0 * 1024.0)
#define WIDTH  224

/* ---- a host whose samples stream ---- */

struct stream {
    struct pith_host host; /* what the technique gets */
    struct pith_technique_host inner; /* runs a chunk */
    struct pith_samples samples;      /* the chunk */
    struct subject *subject;
    struct pith_dataset dataset;
    uint64_t first;
    pith_observer *observer;
    void *user;
};

static uint64_t stream_count(void *context)
{
    return ((struct stream *) context)->dataset.count;
}

static void load_chunk(struct stream *stream, uint64_t first, uint64_t count)
{
    struct pith_tensor input = {0};
    struct pith_error err = {0};

    pith_samples_done(&stream->samples);
    pith_samples_init(&stream->samples, count, 1);
    for (uint64_t i = first; i < first + count; i++) {
        const struct pith_sample *sample;

        lab_must(pith_dataset_read(&stream->dataset, i, &sample, &err), &err, "samples");
        sample_as_input(&sample->x, stream->subject->graph, &input);
        lab_must(pith_samples_offer(&stream->samples, &input, 1, &err), &err, "samples");
    }
    pith_tensor_free(&input);
    stream->first = first;
}

static int observe_shifted(void *user, size_t index, uint64_t sample, const struct pith_tensor *tensor)
{
    struct stream *stream = user;

    return stream->observer(stream->user, index, stream->first + sample, tensor);
}

static int stream_observe(void *context, const struct pith_graph *graph, uint64_t first, uint64_t count,
                          const uint32_t *values, size_t value_count, pith_observer *observer,
                          void *user, struct pith_error *err)
{
    struct stream *stream = context;
    int rc = 0;

    for (uint64_t at = first; rc == 0 && at < first + count; at += CHUNK) {
        uint64_t many = first + count - at < CHUNK ? first + count - at : CHUNK;

        if (stream->first != at || stream->samples.count < many || many > CHUNK)
            load_chunk(stream, at, many);
        stream->observer = observer;
        stream->user = user;
        rc = stream->inner.host.observe(stream->inner.host.context, graph, 0, many, values,
                                        value_count, observe_shifted, stream, err);
    }
    return rc;
}

static void stream_open(struct stream *stream, struct subject *subject)
{
    const struct lab *lab = subject->lab;
    struct pith_error err = {0};

    *stream = (struct stream){.inner = {.engine = lab->native->ops,
                                        .engine_options = lab->engine_options.values,
                                        .threads = lab->threads},
                              .subject = subject,
                              .first = UINT64_MAX};
    stream->inner.samples = &stream->samples;
    lab_must(pith_dataset_open(&stream->dataset, &subject->calibration.options,
                               subject->calibration.split, &err),
             &err, "calibration");
    pith_technique_host_init(&stream->inner);
    stream->host = stream->inner.host;
    stream->host.context = stream;
    stream->host.progress = NULL;
    stream->host.cancelled = NULL;
    stream->host.evaluate = NULL;
    stream->host.sample_count = stream_count;
    stream->host.observe = stream_observe;
}

/* ---- inside the process that is measured ---- */

static void print_repairs(const char *report)
{
    json_t *facts = json_loads(report, 0, NULL);
    char *text = json_dumps(json_object_get(facts, "repairs"), JSON_COMPACT | JSON_SORT_KEYS);

    (void) fprintf(stderr, "%s\n", text ? text : "");
    free(text);
    json_decref(facts);
}

/* MODEL SAMPLES THREADS OPTIONS FILE|-: quantizes, saves, and says how many seconds that took. */
static void inside(const struct lab *shared, char **argv)
{
    struct lab lab = *shared;
    struct subject subject = {.lab = &lab, .graph = lab_graph(argv[0])};
    struct stream stream = {0};
    struct pith_options given = {0};
    struct pith_error err = {0};
    struct pith_graph *made;
    json_t *object = json_loads(argv[3], 0, NULL);
    char *report = NULL;

    lab.threads = (uint32_t) strtoul(argv[2], NULL, 10);
    subject.calibration.options = (struct pith_dataset_options){
        .data = lab_path(lab.data, "images_cifar10/test_jpeg.tar.zst"),
        .classes = lab_path(lab.data, "images_cifar10/classes.txt"),
        .prepare = {.width = WIDTH,
                    .height = WIDTH,
                    .layout = PITH_LAYOUT_NCHW,
                    .mean = {127.5},
                    .mean_count = 1,
                    .scale = {1 / 127.5},
                    .scale_count = 1},
        .limit = strtoull(argv[1], NULL, 10)};
    if (subject.calibration.options.limit > 0)
        stream_open(&stream, &subject);
    else
        stream.host = (struct pith_host){.size_bytes = sizeof stream.host};
    lab_must(pith_options_from_json(&given, lab.quantize->options, object, "options", &err), &err,
             argv[3]);
    struct pith_technique_job job = {.size_bytes = sizeof job,
                                     .host = &stream.host,
                                     .options = given.values,
                                     .seed = 1,
                                     .accuracy_drop_points = -1};
    double from = lab_now_s();

    lab_must(((const struct pith_technique_ops *) lab.quantize->ops)
                 ->apply(&job, subject.graph, &made, &report, &err),
             &err, "quantize");
    if (strcmp(argv[4], "-") != 0)
        lab_must(pith_onnx_save(made, argv[4], NULL, &err), &err, argv[4]);
    (void) printf("%.3f\n", lab_now_s() - from);
    if (getenv("PTQ_REPAIRS"))
        print_repairs(report);
    free(report);
    json_decref(object);
    pith_options_done(&given);
    pith_graph_free(made);
    pith_samples_done(&stream.samples);
    if (subject.calibration.options.limit > 0)
        pith_dataset_close(&stream.dataset);
    pith_graph_free(subject.graph);
}

void size_inside(const struct lab *lab, char **argv)
{
    inside(lab, argv);
}

/* ---- outside ---- */

struct spent {
    double seconds, peak_bytes;
};

static struct spent run_inside(const char *model, const char *samples, const char *threads,
                               const char *options, const char *file)
{
    struct spent spent = {0};
    struct rusage usage;
    int ends[2], status;
    char text[64] = "";

    if (pipe(ends) < 0)
        lab_die("pipe: %s", strerror(errno));
    pid_t child = fork();

    if (child == 0) {
        (void) dup2(ends[1], STDOUT_FILENO);
        (void) close(ends[0]);
        (void) close(ends[1]);
        (void) execl("/proc/self/exe", "rows", "--inside", model, samples, threads, options, file,
                     (char *) NULL);
        _exit(127);
    }
    (void) close(ends[1]);
    ssize_t got = read(ends[0], text, sizeof text - 1);

    if (child < 0 || wait4(child, &status, 0, &usage) < 0 || got <= 0 || status != 0)
        lab_die("%s %s failed", model, options);
    (void) close(ends[0]);
    spent.seconds = strtod(text, NULL);
    spent.peak_bytes = (double) usage.ru_maxrss * 1024;
    return spent;
}

static double file_bytes(const char *path)
{
    struct stat status;

    if (stat(path, &status) < 0)
        lab_die("%s: %s", path, strerror(errno));
    return (double) status.st_size;
}

static const char *made_model(const struct lab *lab, const char *name)
{
    if (!lab->made)
        lab_die("PITH_MADE names no folder with made models: run bench/compression/ptq");
    return lab_path(lab->made, "%s_float32.onnx", name);
}

static void show(const char *what, struct spent spent)
{
    char text[128];

    (void) snprintf(text, sizeof text, "%s, with saving", what);
    table_figure(text, spent.seconds, "s");
    (void) snprintf(text, sizeof text, "%s, peak resident", what);
    table_figure(text, spent.peak_bytes / MIB, "MiB");
}

void row_mobilenetv2(const struct lab *lab)
{
    const char *model = made_model(lab, "mobilenetv2");
    double bytes = file_bytes(model);

    table_row("mobilenetv2", "224x224, 200 pictures, every repair but AdaRound, 2 threads");
    struct spent spent = run_inside(
        model, "200", "2",
        "{\"equalize\":\"on\",\"smooth\":\"on\",\"rounding\":\"gptq\",\"bias_correction\":\"on\"}",
        lab_path(lab->made, "mobilenetv2_ptq.onnx"));

    show("int8", spent);
    table_figure("the model", bytes / MIB, "MiB");
    table_hold(spent.seconds <= 90 ? HELD : MISSED, "%.1f s, at most 90", spent.seconds);
    table_hold(spent.peak_bytes <= 6 * bytes + 100e6 ? HELD : MISSED,
               "%.0f MB resident, at most 6 models + 100 MB = %.0f",
               spent.peak_bytes / 1e6, (6 * bytes + 100e6) / 1e6);
}

void row_ranges(const struct lab *lab)
{
    table_row("ranges", "MobileNetV2 224x224, 500 pictures, one thread: ranges and writing alone");
    struct spent spent = run_inside(made_model(lab, "mobilenetv2"), "500", "1",
                                    "{\"equalize\":\"off\",\"smooth\":\"off\",\"rounding\":\"nearest\","
                                    "\"bias_correction\":\"off\",\"max_error_ratio\":0}",
                                    "-");

    show("ranges", spent);
    table_hold(spent.seconds <= 60 ? HELD : MISSED, "%.1f s, at most 60", spent.seconds);
}

void row_vgg16(const struct lab *lab)
{
    const char *model = made_model(lab, "vgg16");
    static const struct {
        const char *name, *options;
        double most_mb, most_seconds;
    } forms[] = {
        {"int8", "{\"activations\":\"float32\"}", 700, 300},
        {"int4", "{\"weights\":\"int4\",\"activations\":\"float32\"}", 1200, 300},
        {"int4 in blocks of 32", "{\"weights\":\"int4\",\"block_size\":32,\"activations\":\"float32\"}", 1200,
         300},
    };

    table_row("vgg16", "recipe fast: weights alone, no samples");
    table_figure("the model", file_bytes(model) / MIB, "MiB");
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct spent spent =
            run_inside(model, "0", "2", forms[i].options, lab_path(lab->made, "vgg16_ptq.onnx"));

        show(forms[i].name, spent);
        table_hold(spent.seconds <= forms[i].most_seconds ? HELD : MISSED, "%s: %.1f s, at most %.0f", forms[i].name,
                   spent.seconds, forms[i].most_seconds);
        table_hold(spent.peak_bytes <= forms[i].most_mb * 1e6 ? HELD : MISSED, "%s: %.0f MB resident, at most %.0f",
                   forms[i].name, spent.peak_bytes / 1e6, forms[i].most_mb);
    }
}
