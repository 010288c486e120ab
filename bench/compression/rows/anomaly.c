/* MLPerf Tiny's autoencoder. Ten golden windows are at hand; MLPerf's recordings, of machines that run well and of
 * broken ones, where PITH_AD01 names a folder of them, as they may not be passed on. */
#include "bench/compression/rows/rows.h"

#include "libpith/base/buffer.h"
#include "libpith/base/file.h"
#include "libpith/formats/npy.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHUFFLE_SEED 1
#define WINDOWS      10
#define WINDOW       640 /* five frames */
#define FRAME        128

/* ---- ten windows ---- */

static void keep_output(void *user, uint64_t index, const struct pith_sample *sample,
                        const struct pith_tensor *outputs, size_t output_count)
{
    struct pith_tensor *kept = user;

    (void) sample;
    (void) output_count;
    memcpy((uint8_t *) kept->data + index * outputs[0].bytes, outputs[0].data, outputs[0].bytes);
}

/* What the float model says of all windows, as labels: how far a form is from it is then its error. */
static const char *float_outputs(const struct subject *subject, const struct pith_dataset_options *windows)
{
    const char *path = lab_path(subject->lab->made, "ad01_float.npy");
    struct part all = {*windows, PITH_SPLIT_ALL};
    struct pith_shape shape = pith_shape_of(2, (int64_t[]){WINDOWS, WINDOW});
    struct pith_tensor kept = {0};
    struct pith_error err = {0};

    lab_must(pith_tensor_alloc(&kept, PITH_FLOAT32, &shape, &err), &err, "outputs");
    subject_run(subject, subject->graph, &all, keep_output, &kept);
    lab_must(pith_npy_write(path, &kept, &err), &err, path);
    pith_tensor_free(&kept);
    return path;
}

/* One half is for ranges and the other for the test. against_float: labels are what the float model says. */
static void ad01_half(const struct lab *lab, bool second, bool against_float, double *out_ours, double *out_shipped,
                      double *out_float)
{
    struct pith_dataset_options windows = {.data = lab_path(lab->data, "models/mlperf_tiny/golden/ad01_int8_in.npy"),
                                           .seed = SHUFFLE_SEED,
                                           .calibration = WINDOWS / 2};
    struct subject subject = {.metric = {.kind = PITH_METRIC_MSE}, .points = 1};

    subject.calibration = (struct part){windows, second ? PITH_SPLIT_TEST : PITH_SPLIT_CALIBRATION};
    subject_open(&subject, lab, lab_path(lab->data, "models/mlperf_tiny/ad01_float32.tflite"));
    if (against_float)
        windows.labels = float_outputs(&subject, &windows);
    subject.test = (struct part){windows, second ? PITH_SPLIT_CALIBRATION : PITH_SPLIT_TEST};
    table_note("%s half: %s", second ? "second" : "first",
               against_float ? "squared distance from the float model's outputs" : "the anomaly score itself");
    struct outcome base = row_float(&subject);
    struct outcome ours = row_form(&subject, "int8", "{}", -1, &base);
    struct pith_graph *graph = lab_graph(lab_path(lab->data, "models/mlperf_tiny/ad01_int8.tflite"));
    struct outcome shipped = {.seconds = -1, .bytes = lab_packed_bytes(graph)};

    subject_measure(&subject, graph, &subject.test, &shipped);
    table_form(&subject, "MLPerf's int8", &shipped, &base);
    for (size_t i = 0; i < OTHER_SETTINGS; i++) {
        struct outcome other = row_form(&subject, other_settings[i].name, other_settings[i].options, -1, &base);

        outcome_done(&other);
    }
    *out_float += base.value.value / 2;
    *out_ours += ours.value.value / 2;
    *out_shipped += shipped.value.value / 2;
    pith_graph_free(graph);
    outcome_done(&base);
    outcome_done(&ours);
    outcome_done(&shipped);
    subject_close(&subject);
}

/* ---- recordings ---- */

#define RECORDING_MAX_BYTES (1 << 20)
#define BOOTSTRAPS          1000
#define CALIBRATION_EVERY   28 /* windows: neighbours share four frames of five */

struct recordings {
    char **paths; /* own, sorted: the calibration's first */
    size_t count, calibration, normal, windows; /* windows: of one of them */
};

static int is_recording(const struct dirent *entry)
{
    const char *end = strrchr(entry->d_name, '.');

    return end && !strcmp(end, ".bin") &&
           (!strncmp(entry->d_name, "normal_", 7) || !strncmp(entry->d_name, "anomaly_", 8));
}

static int normal_first(const struct dirent **a, const struct dirent **b)
{
    return -strcmp((*a)->d_name, (*b)->d_name);
}

/* Every other one of the machines that run well is for ranges, all others are for the test. */
static void find_recordings(struct recordings *out, const char *folder)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, is_recording, normal_first);

    *out = (struct recordings){0};
    if (count < 1)
        lab_die("%s: no recordings normal_*.bin and anomaly_*.bin of MLPerf Tiny's ad01", folder);
    out->paths = calloc((size_t) count, sizeof *out->paths);
    if (!out->paths)
        lab_die("no memory");
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < count; i++) {
            bool normal = entries[i]->d_name[0] == 'n', ranges = normal && i % 2 == 0;

            if (ranges != (round == 0))
                continue;
            out->paths[out->count++] = (char *) lab_path(folder, "%s", entries[i]->d_name);
            out->calibration += ranges;
            out->normal += normal;
        }
    for (int i = 0; i < count; i++)
        free(entries[i]);
    free(entries);
    if (out->calibration < 2 || out->normal == out->count || out->normal == out->calibration)
        lab_die("%s: recordings of one kind only", folder);
}

/* Windows of recordings [first, end), every `step`th, as one array. */
static const char *write_windows(const struct lab *lab, struct recordings *recordings, size_t first, size_t end,
                                 size_t step, const char *name)
{
    const char *path = lab_path(lab->made, "%s", name);
    struct pith_tensor all = {0};
    struct pith_error err = {0};
    float *to = NULL;

    for (size_t i = first; i < end; i++) {
        struct pith_buffer file = {0};

        lab_must(pith_file_read(recordings->paths[i], RECORDING_MAX_BYTES, &file, &err), &err, recordings->paths[i]);
        size_t frames = file.bytes / sizeof(float) / FRAME;

        if (i == first) {
            recordings->windows = frames >= 5 ? (frames - 5) / step + 1 : 0;
            struct pith_shape shape =
                pith_shape_of(2, (int64_t[]){(int64_t) ((end - first) * recordings->windows), WINDOW});

            lab_must(pith_tensor_alloc(&all, PITH_FLOAT32, &shape, &err), &err, "windows");
            to = all.data;
        }
        if (frames < 5 || (frames - 5) / step + 1 != recordings->windows)
            lab_die("%s: not as long as the others", recordings->paths[i]);
        for (size_t k = 0; k < recordings->windows; k++, to += WINDOW)
            memcpy(to, file.data + k * step * FRAME * sizeof(float), WINDOW * sizeof(float));
        pith_buffer_done(&file);
    }
    lab_must(pith_npy_write(path, &all, &err), &err, path);
    pith_tensor_free(&all);
    return path;
}

struct scores {
    const struct recordings *recordings;
    double *of; /* by recording of the test: the mean over its windows */
};

static void add_score(void *user, uint64_t index, const struct pith_sample *sample, const struct pith_tensor *outputs,
                      size_t output_count)
{
    struct scores *scores = user;
    double sum = 0;

    (void) output_count;
    for (int64_t i = 0; i < WINDOW; i++) {
        double e = pith_tensor_get(&sample->x, i) - pith_tensor_get(&outputs[0], i);

        sum += e * e;
    }
    scores->of[index / scores->recordings->windows] += sum / WINDOW / (double) scores->recordings->windows;
}

/* Scores of the test's recordings: malloc'ed. */
static double *score(const struct subject *subject, const struct recordings *recordings, const struct pith_graph *graph)
{
    struct scores scores = {recordings, calloc(recordings->count, sizeof(double))};

    if (!scores.of)
        lab_die("no memory");
    subject_run(subject, graph, &subject->test, add_score, &scores);
    return scores.of;
}

static double *score_form(struct subject *subject, const struct recordings *recordings, const char *options)
{
    struct outcome outcome = {0};
    struct pith_graph *graph = subject_quantize(subject, options, -1, &outcome);
    double *scores = score(subject, recordings, graph);

    pith_graph_free(graph);
    outcome_done(&outcome);
    return scores;
}

/* The area under the curve, in points: how often a broken machine has the higher score. times: how often each
 * recording counts, or NULL. */
static double area(const struct recordings *recordings, const double *score, const unsigned *times)
{
    size_t tested = recordings->count - recordings->calibration, normal = recordings->normal - recordings->calibration;
    double won = 0, all = 0;

    for (size_t i = 0; i < normal; i++)
        for (size_t k = normal; k < tested; k++) {
            double weight = times ? (double) times[i] * times[k] : 1;

            won += weight * (score[k] > score[i] ? 1 : score[k] == score[i] ? 0.5 : 0);
            all += weight;
        }
    return all > 0 ? 100 * won / all : 50;
}

/* Whether a's area is at least b's less `most`; CHANCE where more than one bootstrap in twenty says so. */
static void hold_area(const struct recordings *recordings, const double *a, const double *b, double most,
                      const char *what)
{
    size_t tested = recordings->count - recordings->calibration, normal = recordings->normal - recordings->calibration;
    double below = area(recordings, b, NULL) - area(recordings, a, NULL);
    unsigned *times = calloc(tested, sizeof *times), within = 0;
    uint64_t state = SHUFFLE_SEED;

    if (!times)
        lab_die("no memory");
    for (int draw = 0; draw < BOOTSTRAPS; draw++) {
        memset(times, 0, tested * sizeof *times);
        for (size_t i = 0; i < normal; i++)
            times[pith_random(&state) % normal]++;
        for (size_t i = normal; i < tested; i++)
            times[normal + pith_random(&state) % (tested - normal)]++;
        within += area(recordings, b, times) - area(recordings, a, times) <= most;
    }
    double p = (double) within / BOOTSTRAPS;

    table_hold(below <= most ? HELD : p > 0.05 ? CHANCE : MISSED, "%+.2f points from %s, at most %g below (p %.3f)",
               -below, what, most, p);
    free(times);
}

static void ad01_recordings(const struct lab *lab, const char *folder)
{
    struct recordings recordings;

    find_recordings(&recordings, folder);
    struct pith_dataset_options windows = {.seed = SHUFFLE_SEED};
    struct subject subject = {.metric = {.kind = PITH_METRIC_MSE}};

    windows.data = write_windows(lab, &recordings, 0, recordings.calibration, CALIBRATION_EVERY, "ad01_calibration.npy");
    subject.calibration = (struct part){windows, PITH_SPLIT_ALL};
    windows.data = write_windows(lab, &recordings, recordings.calibration, recordings.count, 1, "ad01_test.npy");
    subject.test = (struct part){windows, PITH_SPLIT_ALL};
    subject_open(&subject, lab, lab_path(lab->data, "models/mlperf_tiny/ad01_float32.tflite"));
    struct pith_graph *shipped = lab_graph(lab_path(lab->data, "models/mlperf_tiny/ad01_int8.tflite"));
    double *base = score(&subject, &recordings, subject.graph), *theirs = score(&subject, &recordings, shipped);
    double *ours = score_form(&subject, &recordings, "{}"), *other[OTHER_SETTINGS];

    table_note("area under the curve over %zu recordings of machines that run well and %zu of broken ones",
               recordings.normal - recordings.calibration, recordings.count - recordings.normal);
    table_figure("float32", area(&recordings, base, NULL), "points");
    table_figure("int8", area(&recordings, ours, NULL), "points");
    table_figure("MLPerf's int8", area(&recordings, theirs, NULL), "points");
    for (size_t i = 0; i < OTHER_SETTINGS; i++) {
        other[i] = score_form(&subject, &recordings, other_settings[i].options);
        table_figure(other_settings[i].name, area(&recordings, other[i], NULL), "points");
    }
    hold_area(&recordings, ours, base, 0.5, "float32");
    hold_area(&recordings, ours, theirs, 0, "MLPerf's int8");
    for (size_t i = 0; i < OTHER_SETTINGS; i++) {
        hold_area(&recordings, ours, other[i], 0.2, other_settings[i].name);
        free(other[i]);
    }
    free(base);
    free(theirs);
    free(ours);
    pith_graph_free(shipped);
    subject_close(&subject);
    free(recordings.paths);
}

void row_ad01(const struct lab *lab)
{
    double score[3] = {0}, distance[3] = {0}; /* ours, MLPerf's, float */

    table_row("ad01", "anomaly score (mean squared error) of the ten golden windows; ranges from the other five each time");
    for (int second = 0; second < 2; second++)
        ad01_half(lab, second, false, &score[0], &score[1], &score[2]);
    for (int second = 0; second < 2; second++)
        ad01_half(lab, second, true, &distance[0], &distance[1], &distance[2]);
    table_hold(fabs(score[0] / score[2] - 1) <= 0.005 ? HELD : MISSED,
               "the score is %+.2f %% from float32's, at most 0.5; MLPerf's int8 %+.2f %%",
               100 * (score[0] / score[2] - 1), 100 * (score[1] / score[2] - 1));
    table_hold(distance[0] <= distance[1] ? HELD : MISSED, "%.4f dB^2 from the float model's outputs, MLPerf's int8 %.4f",
               distance[0], distance[1]);
    if (getenv("PITH_AD01"))
        ad01_recordings(lab, getenv("PITH_AD01"));
    else
        table_note("PITH_AD01 names no recordings, so there is no area under the curve; scores that stay keep it");
}
