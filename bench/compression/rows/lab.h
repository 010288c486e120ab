/* What the rows share: the plugins, a model with its three splits of samples, quantizing it, and
 * measuring what came out. Whatever fails ends the program with a sentence. */
#ifndef PITH_BENCH_ROWS_LAB_H
#define PITH_BENCH_ROWS_LAB_H

#include "libpith/compress/host.h"
#include "libpith/compress/metric.h"
#include "libpith/plugin/plugins.h"
#include <pith/technique.h>

#include <jansson.h>
#include <stdbool.h>

struct lab {
    struct pith_plugins *plugins;
    const struct pith_plugin *quantize, *native;
    struct pith_options engine_options;
    const char *data, *made; /* folders: of the data, and of what this bench makes */
    uint32_t threads;        /* for techniques; samples run on one */
};
void lab_open(struct lab *lab);
void lab_close(struct lab *lab);
_Noreturn void lab_die(const char *format, ...) PITH_PRINTF(1, 2);
void lab_must(int rc, const struct pith_error *err, const char *what);
double lab_now_s(void);
/* FOLDER/name, in a buffer that lives on: a few a run. */
const char *lab_path(const char *folder, const char *format, ...) PITH_PRINTF(2, 3);
struct pith_graph *lab_graph(const char *path);
size_t lab_packed_bytes(const struct pith_graph *graph);

/* Samples of one part of a data set. */
struct part {
    struct pith_dataset_options options;
    enum pith_split split;
};

struct subject {
    const struct lab *lab;
    struct pith_graph *graph; /* own; float */
    struct part calibration, validation, test;
    struct part more; /* further samples, that quantizing has not seen; no data: none */
    struct pith_metric_options metric;
    struct pith_samples samples; /* own; of calibration, as the graph takes them */
    double points;               /* what one unit of the metric counts: 100 for shares */
    size_t bytes;                /* at rest, of the float graph */
    double weight_bytes;         /* of its parameters as float32: what ratios are of, as some files that are
                                    called float have fewer bits already */
};
/* Reads the calibration samples. calibration and validation may share samples with nothing else:
 * the caller's parts see to it. */
void subject_open(struct subject *subject, const struct lab *lab, const char *model);
void subject_close(struct subject *subject);

struct outcome {
    struct pith_metric *metric; /* own */
    struct pith_metric *wider;  /* own; of the test samples and of `more`; NULL: there are none */
    struct pith_measurement value;
    size_t bytes;
    double error_ratio;    /* what the technique measured on samples of its own; NAN: nothing */
    double seconds;        /* of quantizing; negative: none was done */
    json_t *report;        /* own; of the technique, or NULL */
    char digest[65];       /* of the file */
};
void outcome_done(struct outcome *outcome);
/* What `visit` is called with: a sample, and the graph's outputs, in floats. */
typedef void part_visitor(void *user, uint64_t index, const struct pith_sample *sample,
                          const struct pith_tensor *outputs, size_t output_count);
/* Runs the graph over a part. */
void subject_run(const struct subject *subject, const struct pith_graph *graph, const struct part *part,
                 part_visitor *visit, void *user);
/* The graph's metric over a part; over the test, `wider` as well. One that takes or gives integers gets them by its own grids. */
void subject_measure(const struct subject *subject, const struct pith_graph *graph,
                     const struct part *part, struct outcome *out);
/* Runs the technique with these options (JSON), and fills bytes, seconds, report and digest. With a
 * budget, in points, the technique may measure candidates on the validation part. */
struct pith_graph *subject_quantize(struct subject *subject, const char *options, double budget_points,
                                    struct outcome *out);
/* One sample's input in the graph's own shape and type; *out: allocated once, filled each time. */
void sample_as_input(const struct pith_tensor *x, const struct pith_graph *graph,
                     struct pith_tensor *out);

#endif
