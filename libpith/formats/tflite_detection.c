/* TFLite_Detection_PostProcess, which ends TensorFlow's object detectors (SSD: Liu et al. 2016, arXiv:1512.02325): boxes from what
 * the network says of anchors, the best of those that overlap, and of these a list of fixed length, filled up with zeros.
 * tensorflow/lite/kernels/detection_postprocess.cc defines it. */
#include "libpith/formats/flexbuffer.h"
#include "libpith/formats/tflite_read.h"

#include <errno.h>
#include <math.h>

#define MOST_DETECTIONS 10000

enum { INPUT_BOXES, INPUT_SCORES, INPUT_ANCHORS, INPUTS };
enum { OUTPUT_BOXES, OUTPUT_CLASSES, OUTPUT_SCORES, OUTPUT_COUNT, OUTPUTS };

struct detection {
    int64_t most;             /* detections */
    int64_t classes_each;     /* that one box may be listed with */
    int64_t most_of_a_class;  /* with by_class */
    bool by_class;            /* boxes compete within each class; else with their best one */
    float threshold, overlap; /* of scores; of boxes, as intersection over union */
    float scale[4];           /* that boxes are given in: y, x, height, width */
    int64_t anchors, classes, first_class;
};

/* ---- options ---- */

static double option(struct tflite_node *node, const char *name, double otherwise, double low, double high)
{
    const uint8_t *data = flat_bytes(node->custom_options);
    double value = otherwise;
    int rc = data ? pith_flexbuffer_number(data, node->custom_options.count, name, &value) : 0;

    if (rc < 0)
        tflite_fail(node, -EBADMSG, "its options are no map of numbers");
    else if (!(value >= low && value <= high)) /* what is left out and needed is NAN */
        tflite_fail(node, -EBADMSG, "its option %s is %s", name, isnan(value) ? "missing" : "out of bounds");
    return node->rc < 0 ? low : value; /* which becomes an integer */
}

static void read_options(struct tflite_node *node, struct detection *d)
{
    static const char *const scales[] = {"y_scale", "x_scale", "h_scale", "w_scale"};

    d->most = (int64_t) option(node, "max_detections", NAN, 1, MOST_DETECTIONS);
    d->classes_each = (int64_t) option(node, "max_classes_per_detection", NAN, 1, MOST_DETECTIONS);
    d->most_of_a_class = (int64_t) option(node, "detections_per_class", 100, 1, MOST_DETECTIONS);
    d->by_class = option(node, "use_regular_nms", 0, 0, 1) != 0;
    d->threshold = (float) option(node, "nms_score_threshold", NAN, -1e30, 1e30);
    d->overlap = (float) option(node, "nms_iou_threshold", NAN, 0, 1);
    d->classes = (int64_t) option(node, "num_classes", NAN, 1, 1e6);
    for (int i = 0; i < 4; i++)
        d->scale[i] = (float) option(node, scales[i], NAN, 1e-30, 1e30);
}

/* boxes [1, anchors, 4 or more], scores [1, anchors, classes, and perhaps one of the background before them], anchors
 * [anchors, 4] */
static void check_shapes(struct tflite_node *node, struct detection *d)
{
    const struct pith_shape *boxes = &tflite_input(node, INPUT_BOXES)->shape,
                            *scores = &tflite_input(node, INPUT_SCORES)->shape,
                            *anchors = &tflite_input(node, INPUT_ANCHORS)->shape;

    d->anchors = anchors->dim[0];
    d->first_class = scores->dim[2] - d->classes;
    if (boxes->rank != 3 || scores->rank != 3 || anchors->rank != 2 || boxes->dim[0] != 1 || scores->dim[0] != 1 ||
        d->anchors < 1 || boxes->dim[1] != d->anchors || scores->dim[1] != d->anchors || boxes->dim[2] < 4 ||
        anchors->dim[1] != 4 || d->first_class < 0 || d->first_class > 1)
        tflite_fail(node, -EBADMSG, "its boxes, scores and anchors are not [1, n, 4], [1, n, %lld or one more] and [n, 4]",
                    (long long) d->classes);
    if (d->classes_each > d->classes)
        d->classes_each = d->classes;
}

/* ---- pieces ---- */

static uint32_t slice(struct tflite_node *node, uint32_t x, int64_t axis, int64_t from, int64_t to, int32_t dtype)
{
    const uint32_t inputs[] = {x, tflite_constant_ints(node, &from, 1), tflite_constant_ints(node, &to, 1),
                               tflite_constant_ints(node, &axis, 1)};
    uint32_t out = tflite_temporary(node, dtype);

    (void) tflite_emit(node, "Slice", inputs, 4, &out, 1);
    return out;
}

static uint32_t concat(struct tflite_node *node, uint32_t a, uint32_t b, int64_t axis)
{
    const uint32_t inputs[] = {a, b};
    uint32_t out = tflite_temporary(node, PITH_FLOAT32);

    tflite_set_int(node, tflite_emit(node, "Concat", inputs, 2, &out, 1), "axis", axis);
    return out;
}

static uint32_t reshape(struct tflite_node *node, uint32_t x, const int64_t *dims, uint32_t rank, int32_t dtype)
{
    return tflite_chain2(node, "Reshape", x, tflite_constant_ints(node, dims, rank), dtype);
}

/* Along the first axis. */
static uint32_t gather(struct tflite_node *node, uint32_t x, uint32_t indices, int32_t dtype)
{
    return tflite_chain2(node, "Gather", x, indices, dtype);
}

/* Rows of `width` floats (0: floats), with `count` rows of zeros behind them. */
static uint32_t and_zeros(struct tflite_node *node, uint32_t rows, int64_t count, int64_t width)
{
    uint32_t shape = tflite_constant_ints(node, (int64_t[]){count, width}, width > 0 ? 2 : 1);

    return concat(node, rows, tflite_chain1(node, "ConstantOfShape", shape, PITH_FLOAT32), 0);
}

/* ---- boxes ---- */

/* A pair's y and x, or height and width, without the scales that they come in. */
static uint32_t unscaled(struct tflite_node *node, uint32_t pair, const float *scale)
{
    if (scale[0] == scale[1])
        return tflite_chain2(node, "Div", pair, tflite_constant_float(node, scale[0]), PITH_FLOAT32);
    uint32_t y = slice(node, pair, 2, 0, 1, PITH_FLOAT32), x = slice(node, pair, 2, 1, 2, PITH_FLOAT32);

    y = tflite_chain2(node, "Div", y, tflite_constant_float(node, scale[0]), PITH_FLOAT32);
    x = tflite_chain2(node, "Div", x, tflite_constant_float(node, scale[1]), PITH_FLOAT32);
    return concat(node, y, x, 2);
}

/* [1, anchors, 4]: y0, x0, y1, x1 */
static uint32_t decode(struct tflite_node *node, const struct detection *d)
{
    const uint32_t boxes = tflite_take(node, INPUT_BOXES, FORM_PLAIN),
                   anchors = tflite_take(node, INPUT_ANCHORS, FORM_PLAIN);
    const uint32_t place = slice(node, anchors, 1, 0, 2, PITH_FLOAT32),
                   size = slice(node, anchors, 1, 2, 4, PITH_FLOAT32);
    uint32_t centre = unscaled(node, slice(node, boxes, 2, 0, 2, PITH_FLOAT32), d->scale),
             half = unscaled(node, slice(node, boxes, 2, 2, 4, PITH_FLOAT32), d->scale + 2);

    centre = tflite_chain2(node, "Mul", centre, size, PITH_FLOAT32);
    centre = tflite_chain2(node, "Add", centre, place, PITH_FLOAT32);
    half = tflite_chain1(node, "Exp", half, PITH_FLOAT32);
    half = tflite_chain2(node, "Mul", tflite_constant_float(node, 0.5F), half, PITH_FLOAT32);
    half = tflite_chain2(node, "Mul", half, size, PITH_FLOAT32);
    return concat(node, tflite_chain2(node, "Sub", centre, half, PITH_FLOAT32),
                  tflite_chain2(node, "Add", centre, half, PITH_FLOAT32), 2);
}

/* scores: [1, classes, anchors]. Returns [chosen, 3]: image, class, anchor; those of a class by falling score. */
static uint32_t suppress(struct tflite_node *node, const struct detection *d, uint32_t boxes, uint32_t scores, int64_t most)
{
    /* here a score must lie above the threshold, there it may be equal */
    const uint32_t inputs[] = {boxes, scores, tflite_constant_int(node, most), tflite_constant_float(node, d->overlap),
                               tflite_constant_float(node, nextafterf(d->threshold, -INFINITY))};
    uint32_t chosen = tflite_temporary(node, PITH_INT64);

    (void) tflite_emit(node, "NonMaxSuppression", inputs, 5, &chosen, 1);
    return chosen;
}

static uint32_t column(struct tflite_node *node, uint32_t chosen, int64_t which)
{
    return reshape(node, slice(node, chosen, 1, which, which + 1, PITH_INT64), (int64_t[]){-1}, 1, PITH_INT64);
}

static uint32_t largest(struct tflite_node *node, uint32_t x, int64_t count, uint32_t *indices)
{
    const uint32_t inputs[] = {x, tflite_constant_ints(node, &count, 1)};
    uint32_t out[] = {tflite_temporary(node, PITH_FLOAT32), tflite_temporary(node, PITH_INT64)};

    (void) tflite_emit(node, "TopK", inputs, 2, out, 2);
    *indices = out[1];
    return out[0];
}

/* ---- lists ---- */

/* All `rows` of them, of which `filled` (or `rows`, where these are fewer) are no zeros. */
struct listed {
    uint32_t boxes, classes, scores; /* [rows, 4], [rows], [rows] */
    uint32_t filled;                 /* [1], int64 */
    int64_t rows;
};

static void finish(struct tflite_node *node, const struct listed *list)
{
    const int64_t rows = list->rows;
    const uint32_t most = tflite_constant_ints(node, &rows, 1),
                   count = tflite_chain2(node, "Min", list->filled, most, PITH_INT64);

    (void) tflite_emit2(node, "Reshape", list->boxes, tflite_constant_ints(node, (int64_t[]){1, rows, 4}, 3),
                        tflite_result(node, OUTPUT_BOXES, FORM_PLAIN));
    (void) tflite_emit2(node, "Reshape", list->classes, tflite_constant_ints(node, (int64_t[]){1, rows}, 2),
                        tflite_result(node, OUTPUT_CLASSES, FORM_PLAIN));
    (void) tflite_emit2(node, "Reshape", list->scores, tflite_constant_ints(node, (int64_t[]){1, rows}, 2),
                        tflite_result(node, OUTPUT_SCORES, FORM_PLAIN));
    tflite_set_int(node, tflite_emit1(node, "Cast", count, tflite_result(node, OUTPUT_COUNT, FORM_PLAIN)), "to",
                   PITH_FLOAT32);
}

/* Boxes compete with the score of their best class, and are listed with their best few. */
static void list_boxes(struct tflite_node *node, const struct detection *d, uint32_t boxes, uint32_t scores)
{
    const int64_t each = d->classes_each, rows = d->most * each;
    uint32_t classes;
    const uint32_t best = largest(node, scores, each, &classes); /* [1, anchors, each] */
    const uint32_t first = reshape(node, slice(node, best, 2, 0, 1, PITH_FLOAT32), (int64_t[]){1, 1, d->anchors}, 3,
                                   PITH_FLOAT32);
    const uint32_t anchor = column(node, suppress(node, d, boxes, first, d->most), 2);
    const int64_t pair[] = {d->anchors, each}, flat = -1;
    struct listed list = {.filled = tflite_chain1(node, "Shape", anchor, PITH_INT64), .rows = rows};

    list.scores = reshape(node, gather(node, reshape(node, best, pair, 2, PITH_FLOAT32), anchor, PITH_FLOAT32), &flat, 1,
                          PITH_FLOAT32);
    classes = tflite_cast(node, reshape(node, classes, pair, 2, PITH_INT64), PITH_FLOAT32);
    list.classes = reshape(node, gather(node, classes, anchor, PITH_FLOAT32), &flat, 1, PITH_FLOAT32);
    /* Its box once for each of its classes, side by side. */
    list.boxes = reshape(node, boxes, (int64_t[]){d->anchors, 4}, 2, PITH_FLOAT32);
    list.boxes = gather(node, list.boxes, anchor, PITH_FLOAT32);
    if (each > 1)
        list.boxes = tflite_chain2(node, "Tile", list.boxes, tflite_constant_ints(node, (int64_t[]){1, each}, 2), PITH_FLOAT32);
    list.boxes = reshape(node, list.boxes, (int64_t[]){-1, 4}, 2, PITH_FLOAT32);

    list.boxes = slice(node, and_zeros(node, list.boxes, rows, 4), 0, 0, rows, PITH_FLOAT32);
    list.classes = slice(node, and_zeros(node, list.classes, rows, 0), 0, 0, rows, PITH_FLOAT32);
    list.scores = slice(node, and_zeros(node, list.scores, rows, 0), 0, 0, rows, PITH_FLOAT32);
    finish(node, &list);
}

/* Boxes compete within each class; of all that are left those with the greatest scores are listed. */
static void list_classes(struct tflite_node *node, const struct detection *d, uint32_t boxes, uint32_t scores)
{
    const int64_t all = -1;
    const uint32_t by_class = tflite_transpose(node, scores, (uint32_t[]){0, 2, 1}, 3, tflite_temporary(node, PITH_FLOAT32)),
                   chosen = suppress(node, d, boxes, by_class, d->most_of_a_class), anchor = column(node, chosen, 2),
                   class_index = column(node, chosen, 1);
    uint32_t order, at = tflite_chain2(node, "Mul", class_index, tflite_constant_int(node, d->anchors), PITH_INT64);
    struct listed list = {.filled = tflite_chain1(node, "Shape", anchor, PITH_INT64), .rows = d->most};

    at = tflite_chain2(node, "Add", at, anchor, PITH_INT64);
    list.scores = gather(node, reshape(node, by_class, &all, 1, PITH_FLOAT32), at, PITH_FLOAT32);
    list.scores = largest(node, and_zeros(node, list.scores, d->most, 0), d->most, &order);
    list.boxes = reshape(node, boxes, (int64_t[]){d->anchors, 4}, 2, PITH_FLOAT32);
    list.boxes = and_zeros(node, gather(node, list.boxes, anchor, PITH_FLOAT32), d->most, 4);
    list.boxes = gather(node, list.boxes, order, PITH_FLOAT32);
    list.classes = and_zeros(node, tflite_cast(node, class_index, PITH_FLOAT32), d->most, 0);
    list.classes = gather(node, list.classes, order, PITH_FLOAT32);
    finish(node, &list);
}

static void detection(struct tflite_node *node)
{
    struct detection d = {0};

    read_options(node, &d);
    check_shapes(node, &d);
    if (node->rc < 0)
        return;
    const uint32_t boxes = decode(node, &d);
    uint32_t scores = tflite_take(node, INPUT_SCORES, FORM_PLAIN);

    if (d.first_class > 0)
        scores = slice(node, scores, 2, d.first_class, d.first_class + d.classes, PITH_FLOAT32);
    if (d.by_class)
        list_classes(node, &d, boxes, scores);
    else
        list_boxes(node, &d, boxes, scores);
}

const struct tflite_operator tflite_detection_operators[] = {
    {TFLITE_CUSTOM, "TFLite_Detection_PostProcess", detection, OPTIONS_NONE, INPUTS, OUTPUTS, NULL}, {0}};
