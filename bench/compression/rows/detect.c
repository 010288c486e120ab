/* Detectors. Ranges and the budget come from pictures of COCO train2017 (person_coco96), the test is on 64 of
 * val2017. Where nobody has drawn boxes, those that the float model finds surely are the truth: of the
 * validation pictures, and of faces altogether. */
#include "bench/compression/rows/rows.h"

#include "libpith/base/file.h"
#include "libpith/compress/prepare.h"
#include "libpith/formats/npy.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRAIN_PICTURES 120
#define FOR_RANGES     80 /* of them; the others are for validation */
#define WIDTH          96

struct detector {
    const char *name, *file;
    int64_t width, height;
    int channels;
    double mean, scale;
    double sure; /* score from which what the float model finds is taken as true */
    struct pith_detect how;
};

static const struct detector fastestdet = {
    .name = "fastestdet",
    .file = "models/object_detection/FastestDet.onnx",
    .width = 352,
    .height = 352,
    .channels = PITH_CHANNELS_BGR,
    .scale = 1.0 / 255,
    .sure = 0.4,
    .how = {.form = PITH_DETECT_GRID,
            .centre = PITH_ACTIVATION_TANH,
            .size = PITH_ACTIVATION_SIGMOID,
            .objectness = 0,
            .first_box = 1,
            .first_class = 5,
            .objectness_power = 0.6,
            .class_power = 0.4,
            .background = -1,
            .threshold = 0.01,
            .nms = 0.45,
            .most = 100},
};
static const struct detector rfb = {
    .name = "rfb",
    .file = "models/face/version-RFB-320.onnx",
    .width = 320,
    .height = 240,
    .channels = PITH_CHANNELS_RGB,
    .mean = 127,
    .scale = 1.0 / 128,
    .sure = 0.6,
    .how = {.form = PITH_DETECT_LIST,
            .boxes = PITH_BOXES_CORNERS,
            .scores_output = 0,
            .boxes_output = 1,
            .objectness = -1,
            .objectness_power = 1,
            .class_power = 1,
            .background = 0,
            .threshold = 0.05,
            .nms = 0.3,
            .most = 100},
};

/* ---- truth by the float model ---- */

struct writing {
    const struct detector *detector;
    const char *folder;
    struct pith_detections found;
    const char *const *names; /* by sample, or NULL: numbers */
};

static void write_boxes(void *user, uint64_t index, const struct pith_sample *sample,
                        const struct pith_tensor *outputs, size_t output_count)
{
    struct writing *writing = user;
    struct pith_buffer text = {0};
    struct pith_error err = {0};
    const char *path;

    (void) sample;
    path = writing->names ? lab_path(writing->folder, "%s.txt", writing->names[index])
                          : lab_path(writing->folder, "%03d.txt", (int) index);
    lab_must(pith_detect(&writing->detector->how, outputs, output_count, &writing->found, &err), &err, "detect");
    for (size_t i = 0; i < writing->found.count; i++) {
        const struct pith_box *box = &writing->found.boxes[i];

        if ((double) box->score >= writing->detector->sure)
            pith_buffer_printf(&text, "%d %.6f %.6f %.6f %.6f\n", (int) box->class_index,
                               (double) (box->x0 + box->x1) / 2, (double) (box->y0 + box->y1) / 2,
                               (double) (box->x1 - box->x0), (double) (box->y1 - box->y0));
    }
    lab_must(pith_file_write(path, text.data ? (const void *) text.data : "", text.bytes, 0644, &err), &err, path);
    pith_buffer_done(&text);
}

static const char *fresh_folder(const struct lab *lab, const char *name)
{
    const char *folder = lab_path(lab->made, "%s", name);
    struct pith_error err = {0};

    if (!lab->made)
        lab_die("PITH_MADE names no folder for what is made: run bench/compression/ptq");
    lab_must(pith_remove_tree(folder, &err), &err, folder);
    lab_must(pith_mkdirs(folder, 0755, &err), &err, folder);
    return folder;
}

/* One picture at the detector's size, in bytes; of arrays a data set doesn't know that they are pictures. */
static void write_picture(const struct detector *detector, const uint8_t *from, float *resized,
                          uint8_t *to, const char *path)
{
    struct pith_tensor picture = {.dtype = PITH_UINT8,
                                  .shape = pith_shape_of(3, (int64_t[]){detector->height, detector->width, 3}),
                                  .data = to,
                                  .bytes = (size_t) detector->height * (size_t) detector->width * 3};
    bool reversed = detector->channels == PITH_CHANNELS_BGR;
    struct pith_error err = {0};

    pith_picture_resize(from, WIDTH, WIDTH, 3, resized, detector->height, detector->width);
    for (size_t i = 0; i < picture.bytes; i++)
        to[reversed ? i - i % 3 + 2 - i % 3 : i] = (uint8_t) (resized[i] + 0.5f);
    lab_must(pith_npy_write(path, &picture, &err), &err, path);
}

/* The pictures of the train folder as files, so that boxes can lie beside them. */
static const char *unpack_train(const struct lab *lab, const struct detector *detector)
{
    const char *pack = lab_path(lab->data, "person_coco96/x_train.npy.zst");
    const char *folder = fresh_folder(lab, detector->name);
    size_t elements = (size_t) detector->height * (size_t) detector->width * 3;
    float *resized = malloc(elements * sizeof *resized);
    uint8_t *bytes = malloc(elements);
    struct pith_tensor x = {0};
    struct pith_error err = {0};

    lab_must(pith_npy_read(&x, pack, &err), &err, pack);
    if (!resized || !bytes || x.shape.rank != 4 || x.shape.dim[0] < TRAIN_PICTURES)
        lab_die("%s: no memory, or not the pictures that it was made for", pack);
    for (int i = 0; i < TRAIN_PICTURES; i++)
        write_picture(detector, (const uint8_t *) x.data + (size_t) i * WIDTH * WIDTH * 3, resized, bytes,
                      lab_path(folder, "%03d.npy", i));
    free(resized);
    free(bytes);
    pith_tensor_free(&x);
    return folder;
}

static void open_detector(struct subject *subject, const struct lab *lab, const struct detector *detector)
{
    struct pith_dataset_options train = {
        .data = unpack_train(lab, detector),
        .prepare = {.width = detector->width,
                    .height = detector->height,
                    .channels = detector->channels,
                    .layout = PITH_LAYOUT_NCHW,
                    .mean = {detector->mean},
                    .mean_count = 1,
                    .scale = {detector->scale},
                    .scale_count = 1},
        .seed = 1};
    struct pith_dataset_options test = train;

    *subject = (struct subject){.metric = {.kind = PITH_METRIC_MAP50, .detect = detector->how}};
    train.calibration = FOR_RANGES;
    subject->calibration = (struct part){train, PITH_SPLIT_CALIBRATION};
    subject_open(subject, lab, lab_path(lab->data, "%s", detector->file));

    struct writing writing = {.detector = detector, .folder = train.data};
    struct part all = {train, PITH_SPLIT_ALL};

    subject_run(subject, subject->graph, &all, write_boxes, &writing);
    pith_detections_done(&writing.found);
    train.labels = train.data;
    subject->validation = (struct part){train, PITH_SPLIT_TEST}; /* what ranges don't see */
    test.data = lab_path(lab->data, "detection_coco64/images");
    test.labels = lab_path(lab->data, "detection_coco64/labels");
    subject->test = (struct part){test, PITH_SPLIT_ALL};
}

static void row_detector(struct subject *subject)
{
    struct outcome base = row_float(subject);
    struct outcome plain = row_form(subject, "int8", "{}", -1, &base);
    /* What is held to a point has a budget of one. On the validation split float32 has all of its own boxes right: a point of
     * those is far less than one of the test's. */
    struct outcome ours = row_form(subject, "int8, 1 point of its boxes", "{}", 1, &base);

    table_hold_not_below(subject, &ours, &base, 1, "float32");
    table_hold_bytes(subject, &ours, 0.30);
    outcome_done(&base);
    outcome_done(&plain);
    outcome_done(&ours);
    subject_close(subject);
}

void row_fastestdet(const struct lab *lab)
{
    struct subject subject;

    table_row("fastestdet", "mean average precision on 64 pictures of COCO val2017");
    open_detector(&subject, lab, &fastestdet);
    row_detector(&subject);
}

static int is_jpeg(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);

    return length > 4 && !strcmp(entry->d_name + length - 4, ".jpg");
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* Nobody has marked the faces in these pictures: the float model's own are the truth. */
static void find_faces(struct subject *subject)
{
    const char *folder = fresh_folder(subject->lab, "rfb_test"), *names[256] = {0};
    struct dirent **entries;
    int count = scandir(subject->test.options.data, &entries, is_jpeg, by_bytes);
    struct writing writing = {.detector = &rfb, .folder = folder, .names = names};
    struct part test = subject->test;

    if (count < 1 || count > 256)
        lab_die("%s: no pictures", subject->test.options.data);
    for (int i = 0; i < count; i++) { /* in the order that the data set has */
        entries[i]->d_name[strlen(entries[i]->d_name) - 4] = 0;
        names[i] = entries[i]->d_name;
    }
    test.options.labels = NULL;
    subject_run(subject, subject->graph, &test, write_boxes, &writing);
    pith_detections_done(&writing.found);
    for (int i = 0; i < count; i++)
        free(entries[i]);
    free(entries);
    subject->test.options.labels = folder;
}

void row_rfb(const struct lab *lab)
{
    struct subject subject;

    table_row("rfb", "faces in 64 pictures of COCO val2017, against those that the float model finds surely");
    open_detector(&subject, lab, &rfb);
    find_faces(&subject);
    row_detector(&subject);
}
