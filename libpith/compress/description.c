/* The tables that a description is read by. */
#include "libpith/compress/description.h"

#include "libpith/base/yaml.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct description_fields {
    const char *data, *labels, *index, *classes, *where;
    const struct pith_yaml_node *prepare, *splits, *detect;
    int metric;
    double peak;
};

static const struct pith_yaml_field description_table[] = {
    {.key = "data",
     .type = PITH_YAML_TEXT,
     .offset = offsetof(struct description_fields, data),
     .required = true,
     .help = "a .npy, .csv or .tar file or a folder"},
    {.key = "labels",
     .type = PITH_YAML_TEXT,
     .offset = offsetof(struct description_fields, labels),
     .help = "a .npy file, a column's name or a folder of boxes"},
    {.key = "index",
     .type = PITH_YAML_TEXT,
     .offset = offsetof(struct description_fields, index),
     .help = "a .csv file with a column path"},
    {.key = "classes",
     .type = PITH_YAML_TEXT,
     .offset = offsetof(struct description_fields, classes),
     .help = "a file with a class a line"},
    {.key = "where",
     .type = PITH_YAML_TEXT,
     .offset = offsetof(struct description_fields, where),
     .help = "column=value, such as split=test"},
    {.key = "prepare",
     .type = PITH_YAML_MAP_NODE,
     .offset = offsetof(struct description_fields, prepare),
     .help = "a map such as {resize: [32, 32], layout: nchw}"},
    {.key = "splits",
     .type = PITH_YAML_MAP_NODE,
     .offset = offsetof(struct description_fields, splits),
     .help = "a map such as {seed: 1, calibration: 100, validation: 100}"},
    {.key = "metric",
     .type = PITH_YAML_CHOICE,
     .offset = offsetof(struct description_fields, metric),
     .choices = pith_metric_names,
     .help = "top1, f1, auc, mse, anomaly_auc, map50, psnr or ssim"},
    {.key = "peak",
     .type = PITH_YAML_NUMBER,
     .offset = offsetof(struct description_fields, peak),
     .minimum = 1e-9,
     .maximum = 1e9,
     .help = "the greatest value of a picture's elements, above 0"},
    {.key = "detect",
     .type = PITH_YAML_MAP_NODE,
     .offset = offsetof(struct description_fields, detect),
     .help = "a map that says how the outputs of a detector are meant"},
    {.key = NULL},
};

static const char *const layout_names[] = {"as_is", "nchw", "nhwc", NULL};
static const char *const channel_names[] = {"rgb", "bgr", "grey", NULL};

struct prepare_fields {
    const struct pith_yaml_node *resize, *mean, *scale;
    int channels, layout;
};

static const struct pith_yaml_field prepare_table[] = {
    {.key = "resize",
     .type = PITH_YAML_LIST_NODE,
     .offset = offsetof(struct prepare_fields, resize),
     .help = "a list [width, height]"},
    {.key = "channels",
     .type = PITH_YAML_CHOICE,
     .offset = offsetof(struct prepare_fields, channels),
     .choices = channel_names,
     .help = "rgb, bgr or grey"},
    {.key = "layout",
     .type = PITH_YAML_CHOICE,
     .offset = offsetof(struct prepare_fields, layout),
     .choices = layout_names,
     .help = "nchw (channels come first) or nhwc (they come last)"},
    {.key = "mean",
     .type = PITH_YAML_LIST_NODE,
     .offset = offsetof(struct prepare_fields, mean),
     .help = "a list of one number, or one a channel"},
    {.key = "scale",
     .type = PITH_YAML_LIST_NODE,
     .offset = offsetof(struct prepare_fields, scale),
     .help = "a list of one number, or one a channel"},
    {.key = NULL},
};

struct split_fields {
    int64_t seed, calibration, validation, limit;
};

#define MOST_SAMPLES 1e15

static const struct pith_yaml_field split_table[] = {
    {.key = "seed",
     .type = PITH_YAML_INT,
     .offset = offsetof(struct split_fields, seed),
     .minimum = 0,
     .maximum = MOST_SAMPLES,
     .help = "a whole number, 0 or more"},
    {.key = "calibration",
     .type = PITH_YAML_INT,
     .offset = offsetof(struct split_fields, calibration),
     .minimum = 0,
     .maximum = MOST_SAMPLES,
     .help = "a number of samples"},
    {.key = "validation",
     .type = PITH_YAML_INT,
     .offset = offsetof(struct split_fields, validation),
     .minimum = 0,
     .maximum = MOST_SAMPLES,
     .help = "a number of samples"},
    {.key = "limit",
     .type = PITH_YAML_INT,
     .offset = offsetof(struct split_fields, limit),
     .minimum = 0,
     .maximum = MOST_SAMPLES,
     .help = "a number of samples; 0: all"},
    {.key = NULL},
};

static const char *const form_names[] = {"grid", "list", NULL};
static const char *const activation_names[] = {"none", "sigmoid", "tanh", "exp", NULL};
static const char *const box_names[] = {"corners", "centre", NULL};

#define DETECT(member) offsetof(struct pith_detect, member)
#define MOST_CHANNELS  100000

static const struct pith_yaml_field detect_table[] = {
    {.key = "form",
     .type = PITH_YAML_CHOICE,
     .offset = DETECT(form),
     .required = true,
     .choices = form_names,
     .help = "grid (cells with boxes) or list (scores and boxes)"},
    {.key = "centre",
     .type = PITH_YAML_CHOICE,
     .offset = DETECT(centre),
     .choices = activation_names,
     .help = "none, sigmoid, tanh or exp"},
    {.key = "size",
     .type = PITH_YAML_CHOICE,
     .offset = DETECT(size),
     .choices = activation_names,
     .help = "none, sigmoid, tanh or exp"},
    {.key = "boxes",
     .type = PITH_YAML_CHOICE,
     .offset = DETECT(boxes),
     .choices = box_names,
     .help = "corners (x0 y0 x1 y1) or centre (x y width height)"},
    {.key = "scores_output",
     .type = PITH_YAML_INT,
     .offset = DETECT(scores_output),
     .maximum = 63,
     .help = "the number of an output, from 0"},
    {.key = "boxes_output",
     .type = PITH_YAML_INT,
     .offset = DETECT(boxes_output),
     .maximum = 63,
     .help = "the number of an output, from 0"},
    {.key = "objectness",
     .type = PITH_YAML_INT,
     .offset = DETECT(objectness),
     .minimum = -1,
     .maximum = MOST_CHANNELS,
     .help = "a channel, or -1"},
    {.key = "first_box",
     .type = PITH_YAML_INT,
     .offset = DETECT(first_box),
     .maximum = MOST_CHANNELS,
     .help = "a channel"},
    {.key = "first_class",
     .type = PITH_YAML_INT,
     .offset = DETECT(first_class),
     .maximum = MOST_CHANNELS,
     .help = "a channel"},
    {.key = "objectness_power",
     .type = PITH_YAML_NUMBER,
     .offset = DETECT(objectness_power),
     .maximum = 10,
     .help = "0 to 10"},
    {.key = "class_power",
     .type = PITH_YAML_NUMBER,
     .offset = DETECT(class_power),
     .maximum = 10,
     .help = "0 to 10"},
    {.key = "background",
     .type = PITH_YAML_INT,
     .offset = DETECT(background),
     .minimum = -1,
     .maximum = MOST_CHANNELS,
     .help = "a class that is none, or -1"},
    {.key = "threshold",
     .type = PITH_YAML_NUMBER,
     .offset = DETECT(threshold),
     .maximum = 1,
     .help = "0 to 1"},
    {.key = "nms", .type = PITH_YAML_NUMBER, .offset = DETECT(nms), .maximum = 1, .help = "0 to 1"},
    {.key = "most",
     .type = PITH_YAML_INT,
     .offset = DETECT(most),
     .minimum = 1,
     .maximum = 10000,
     .help = "1 to 10000 detections"},
    {.key = NULL},
};

void pith_description_init(struct pith_description *description)
{
    *description =
        (struct pith_description){.metric = {.kind = -1, .peak = 1, .detect = PITH_DETECT_DEFAULT}};
}

static size_t read_numbers(struct pith_yaml *yaml, const struct pith_yaml_node *list, double *out)
{
    size_t count = list ? pith_yaml_count(list) : 0;

    if (count > PITH_PREPARE_MAX_CHANNELS) {
        pith_yaml_fault(yaml, list, "%zu numbers; %d are allowed", count,
                        PITH_PREPARE_MAX_CHANNELS);
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        const char *text = pith_yaml_scalar(pith_yaml_item(list, i));

        if (!text || pith_yaml_read_number(text, &out[i]) < 0)
            pith_yaml_fault(yaml, pith_yaml_item(list, i), "this is no number");
    }
    return count;
}

#define MOST_SIDE 16384

static void read_resize(struct pith_yaml *yaml, const struct pith_yaml_node *list,
                        struct pith_prepare *out)
{
    int64_t *sides[2] = {&out->width, &out->height};

    if (!list)
        return;
    if (pith_yaml_count(list) != 2) {
        pith_yaml_fault(yaml, list, "resize is [width, height]");
        return;
    }
    for (size_t i = 0; i < 2; i++) {
        const char *text = pith_yaml_scalar(pith_yaml_item(list, i));

        if (!text || pith_yaml_read_int(text, sides[i]) < 0 || *sides[i] < 1 ||
            *sides[i] > MOST_SIDE)
            pith_yaml_fault(yaml, pith_yaml_item(list, i), "a side is 1 to %d pixels", MOST_SIDE);
    }
}

static void read_prepare(struct pith_yaml *yaml, const struct pith_yaml_node *node,
                         struct pith_prepare *out)
{
    struct prepare_fields fields = {0};

    if (!node)
        return;
    pith_yaml_read(yaml, node, prepare_table, &fields);
    out->channels = fields.channels;
    out->layout = fields.layout;
    read_resize(yaml, fields.resize, out);
    out->mean_count = read_numbers(yaml, fields.mean, out->mean);
    out->scale_count = read_numbers(yaml, fields.scale, out->scale);
}

static void read_splits(struct pith_yaml *yaml, const struct pith_yaml_node *node,
                        struct pith_dataset_options *out)
{
    struct split_fields fields = {0};

    if (!node)
        return;
    pith_yaml_read(yaml, node, split_table, &fields);
    out->seed = (uint64_t) fields.seed;
    out->calibration = (uint64_t) fields.calibration;
    out->validation = (uint64_t) fields.validation;
    out->limit = (uint64_t) fields.limit;
}

/* Beside the description, unless it begins at the root. */
static int place(char **out, const char *description, const char *path)
{
    const char *slash = strrchr(description, '/');

    if (!path)
        return 0;
    if (path[0] == '/' || !slash)
        *out = strdup(path);
    else if (asprintf(out, "%.*s/%s", (int) (slash - description), description, path) < 0)
        *out = NULL;
    return *out ? 0 : -ENOMEM;
}

/* Labels are a file or folder where one of that name is there, and else a column. */
static int place_all(struct pith_description *made, const char *path,
                     const struct description_fields *fields)
{
    struct stat status;
    int rc = place(&made->paths[0], path, fields->data);

    if (rc == 0)
        rc = place(&made->paths[1], path, fields->labels);
    if (rc == 0)
        rc = place(&made->paths[2], path, fields->index);
    if (rc == 0)
        rc = place(&made->paths[3], path, fields->classes);
    made->data.data = made->paths[0];
    made->data.labels =
        made->paths[1] && stat(made->paths[1], &status) == 0 ? made->paths[1] : fields->labels;
    made->data.index = made->paths[2];
    made->data.classes = made->paths[3];
    made->data.where = fields->where;
    return rc;
}

int pith_description_read(struct pith_description *out, const char *path, struct pith_error *err)
{
    struct description_fields fields = {.metric = -1, .peak = 1};
    struct pith_description made;
    int rc;

    pith_description_init(&made);
    rc = pith_yaml_open(&made.yaml, path, err);
    if (rc < 0)
        return rc;
    pith_yaml_read(made.yaml, pith_yaml_root(made.yaml), description_table, &fields);
    read_prepare(made.yaml, fields.prepare, &made.data.prepare);
    read_splits(made.yaml, fields.splits, &made.data);
    if (fields.detect)
        pith_yaml_read(made.yaml, fields.detect, detect_table, &made.metric.detect);
    made.metric.kind = fields.metric;
    made.metric.peak = fields.peak;
    if (fields.metric == PITH_METRIC_MAP50 && !fields.detect)
        pith_yaml_fault(made.yaml, pith_yaml_root(made.yaml),
                        "map50 wants detect, which says how the outputs are meant");
    if (pith_yaml_fault_count(made.yaml) > 0)
        rc = pith_fail(err, -EINVAL, "%s", pith_yaml_faults(made.yaml));
    else if (place_all(&made, path, &fields) < 0)
        rc = pith_fail(err, -ENOMEM, "no memory for a description");
    if (rc < 0) {
        pith_description_done(&made);
        return rc;
    }
    *out = made;
    return 0;
}

void pith_description_done(struct pith_description *description)
{
    for (size_t i = 0; i < sizeof description->paths / sizeof *description->paths; i++)
        free(description->paths[i]);
    pith_yaml_free(description->yaml);
    *description = (struct pith_description){0};
}
