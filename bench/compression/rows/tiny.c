/* MLPerf Tiny's networks on the data at hand. Splits share no sample: of the keyword maps 100 are for ranges,
 * 100 for validation and 800 for the test by one fixed shuffle; of the pictures the train folders are for
 * ranges and the test folders for the test. Where the test can't tell, what is left decides with it: keywords
 * that are in no map, and of the small pictures those 49 500 of the train folder that ranges don't take, which
 * the network was trained with but quantizing has not seen. */
#include "bench/compression/rows/rows.h"

#include "libpith/formats/npy.h"

#include <stdio.h>
#include <string.h>

#define SHUFFLE_SEED 1

/* What ONNX Runtime's quantize_static does unless told otherwise, as far as options of ours say it: weights
 * symmetric and nearest, activations int8 over all that was seen, one scale a tensor (per_channel is false
 * there), nothing repaired. Its entropy calibration has as many bins as levels by default, so that the one
 * clip it tries is the whole range: min-max again; "entropy" here searches 2048 bins, which is kinder. */
#define AS_OTHERS                                                                                        \
    "\"equalize\":\"off\",\"smooth\":\"off\",\"rounding\":\"nearest\",\"bias_correction\":\"off\","      \
    "\"max_error_ratio\":0,\"headroom\":false,\"least_samples\":1"
const struct other_setting other_settings[OTHER_SETTINGS] = {
    {"ORT settings, min-max", "{\"ranges\":\"minmax\",\"per_channel\":false," AS_OTHERS "}"},
    {"ORT min-max, per channel", "{\"ranges\":\"minmax\"," AS_OTHERS "}"},
    {"ORT settings, entropy", "{\"ranges\":\"entropy\",\"per_channel\":false," AS_OTHERS "}"},
    {"ORT entropy, per channel", "{\"ranges\":\"entropy\"," AS_OTHERS "}"},
};

static void keywords(struct subject *subject, const struct lab *lab)
{
    struct pith_dataset_options maps = {
        .data = lab_path(lab->data, "kws_mlperf_features/x_i8.npy"),
        .labels = lab_path(lab->data, "kws_mlperf_features/y.npy"),
        .prepare = {.mean = {83}, .mean_count = 1, .scale = {0.584703}, .scale_count = 1},
        .seed = SHUFFLE_SEED,
        .calibration = 100,
        .validation = 100,
    };

    subject->calibration = (struct part){maps, PITH_SPLIT_CALIBRATION};
    subject->validation = (struct part){maps, PITH_SPLIT_VALIDATION};
    subject->test = (struct part){maps, PITH_SPLIT_TEST};
    maps.calibration = maps.validation = 0;
    maps.data = lab_path(lab->made, "kws_more_x.npy");
    maps.labels = lab_path(lab->made, "kws_more_y.npy");
    make_keyword_maps(lab, maps.data, maps.labels);
    subject->more = (struct part){maps, PITH_SPLIT_ALL};
}

static void persons(struct subject *subject, const struct lab *lab)
{
    struct pith_dataset_options pictures = {
        .data = lab_path(lab->data, "person_coco96/x_train.npy.zst"),
        .labels = lab_path(lab->data, "person_coco96/y_train.npy"),
        .prepare = {.scale = {1.0 / 255}, .scale_count = 1},
        .seed = SHUFFLE_SEED,
    };

    subject->calibration = (struct part){pictures, PITH_SPLIT_ALL};
    pictures.data = lab_path(lab->data, "person_coco96/x_test.npy");
    pictures.labels = lab_path(lab->data, "person_coco96/y_test.npy");
    subject->test = (struct part){pictures, PITH_SPLIT_ALL};
}

static void pictures_of_ten(struct subject *subject, const struct lab *lab)
{
    struct pith_dataset_options pictures = {
        .data = lab_path(lab->data, "images_cifar10/train_jpeg.tar.zst"),
        .classes = lab_path(lab->data, "images_cifar10/classes.txt"),
        .seed = SHUFFLE_SEED,
        .calibration = 500,
    };

    subject->calibration = (struct part){pictures, PITH_SPLIT_CALIBRATION};
    subject->more = (struct part){pictures, PITH_SPLIT_TEST};
    pictures.data = lab_path(lab->data, "images_cifar10/test_jpeg.tar.zst");
    pictures.calibration = 0;
    subject->test = (struct part){pictures, PITH_SPLIT_ALL};
}

struct net {
    const char *name, *float_file, *int8_file;
    void (*samples)(struct subject *subject, const struct lab *lab);
};
static const struct net nets[] = {
    {"kws", "kws_ref_model_float32.tflite", "kws_ref_model_int8.tflite", keywords},
    {"resnet8", "resnet8_float32.tflite", "resnet8_int8.tflite", pictures_of_ten},
    {"vww", "vww_96_float.tflite", "vww_96_int8.tflite", persons},
};

static const struct net *open_net(struct subject *subject, const struct lab *lab, const char *name)
{
    size_t at = 0;

    while (strcmp(nets[at].name, name))
        at++;
    *subject = (struct subject){.metric = {.kind = PITH_METRIC_TOP1}};
    nets[at].samples(subject, lab);
    subject_open(subject, lab, lab_path(lab->data, "models/mlperf_tiny/%s", nets[at].float_file));
    return &nets[at];
}

void open_tiny(struct subject *subject, const struct lab *lab, const char *name)
{
    (void) open_net(subject, lab, name);
}

static void row_int8(const struct lab *lab, const char *name)
{
    struct subject subject;
    const struct net *net = open_net(&subject, lab, name);

    table_row(name, "int8, beside MLPerf's int8 file and the settings of ONNX Runtime's quantizer");
    struct outcome base = row_float(&subject);
    struct outcome ours = row_form(&subject, "int8", "{}", -1, &base);
    const char *shipped_path = lab_path(lab->data, "models/mlperf_tiny/%s", net->int8_file);
    struct pith_graph *graph = lab_graph(shipped_path);
    struct outcome shipped = {.seconds = -1, .bytes = lab_packed_bytes(graph)};
    struct outcome other[OTHER_SETTINGS] = {0};

    subject_measure(&subject, graph, &subject.test, &shipped);
    table_form(&subject, "MLPerf's int8", &shipped, &base);
    pith_graph_free(graph);
    for (size_t i = 0; i < OTHER_SETTINGS; i++)
        other[i] = row_form(&subject, other_settings[i].name, other_settings[i].options, -1, &base);
    table_hold_not_below(&subject, &ours, &base, 0.5, "float32");
    table_hold_not_below(&subject, &ours, &shipped, 0, "MLPerf's int8");
    for (size_t i = 0; i < OTHER_SETTINGS; i++) {
        table_hold_not_below(&subject, &ours, &other[i], 0.2, other_settings[i].name);
        outcome_done(&other[i]);
    }
    outcome_done(&base);
    outcome_done(&ours);
    outcome_done(&shipped);
    subject_close(&subject);
}

static void row_int4(const struct lab *lab, const char *name)
{
    struct subject subject;

    (void) open_net(&subject, lab, name);
    char title[64];

    (void) snprintf(title, sizeof title, "%s_int4", name);
    table_row(title, "4-bit weights, 8-bit activations");
    struct outcome base = row_float(&subject);
    struct outcome nearest = row_form(
        &subject, "int4, nearest",
        "{\"weights\":\"int4\",\"rounding\":\"nearest\",\"bias_correction\":\"off\",\"max_error_ratio\":0}", -1, &base);
    struct outcome ours = row_form(&subject, "int4", "{\"weights\":\"int4\"}", -1, &base);
    struct outcome learned = row_form(
        &subject, "int4, adaround", "{\"weights\":\"int4\",\"rounding\":\"adaround\"}", -1, &base);
    double lost = points_below(&subject, &ours, &base), lost_by_nearest = points_below(&subject, &nearest, &base);

    table_hold_not_below(&subject, &ours, &base, 1, "float32");
    table_hold(lost_by_nearest >= 2 * lost ? HELD : MISSED,
               "%.2f points are lost, %.2f by round-to-nearest, at least twice as much", lost, lost_by_nearest);
    table_hold_bytes(&subject, &ours, 0.16);
    outcome_done(&base);
    outcome_done(&nearest);
    outcome_done(&ours);
    outcome_done(&learned);
    subject_close(&subject);
}

void row_kws(const struct lab *lab)
{
    row_int8(lab, "kws");
}

void row_resnet8(const struct lab *lab)
{
    row_int8(lab, "resnet8");
}

void row_vww(const struct lab *lab)
{
    row_int8(lab, "vww");
}

void row_kws_int4(const struct lab *lab)
{
    row_int4(lab, "kws");
}

void row_resnet8_int4(const struct lab *lab)
{
    row_int4(lab, "resnet8");
}

void row_vww_int4(const struct lab *lab)
{
    row_int4(lab, "vww");
}
