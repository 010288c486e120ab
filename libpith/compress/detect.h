/* Detections: from the outputs of a detector, by a description of them, to boxes; and boxes matched with the true ones. */
#ifndef PITH_COMPRESS_DETECT_H
#define PITH_COMPRESS_DETECT_H

#include "libpith/compress/dataset.h"

/* How a detector's outputs are meant. Two forms:
 *   grid   one output (1, K, H, W): a cell holds an objectness (one channel, or none), four box values, class scores; the
 *          centre is (activation(v) + cell) / size, width and height are activation(v), as FastestDet and YOLO heads give them
 *   list   one output (1, N, classes) of scores, one (1, N, 4) of boxes, as shares of the picture, as SSD-like nets give them */
enum pith_detect_form { PITH_DETECT_GRID, PITH_DETECT_LIST };
enum pith_detect_activation { PITH_ACTIVATION_NONE, PITH_ACTIVATION_SIGMOID, PITH_ACTIVATION_TANH, PITH_ACTIVATION_EXP };
enum pith_detect_boxes { PITH_BOXES_CORNERS, PITH_BOXES_CENTRE };
struct pith_detect {
    int form, centre, size, boxes;    /* of the enums above; centre, size: of grid; boxes: of list */
    int64_t scores_output, boxes_output; /* which outputs, from 0; a grid is scores_output */
    int64_t objectness;               /* its channel, or -1 */
    int64_t first_box, first_class;   /* channels of a grid */
    double objectness_power, class_power; /* score = objectness^a * class^b */
    int64_t background;               /* a class of a list that is none, or -1; those after it move down by one */
    double threshold;                 /* least score that is kept */
    double nms;                       /* of two boxes of a class that overlap by more (IoU), the lesser goes */
    int64_t most;                     /* detections of one picture */
};
#define PITH_DETECT_DEFAULT                                                                                             \
    ((struct pith_detect){.form = PITH_DETECT_LIST, .boxes_output = 1, .objectness = -1, .background = -1,              \
                          .objectness_power = 1, .class_power = 1, .threshold = 0.01, .nms = 0.5, .most = 100})

struct pith_detections { /* of one picture, the surest first; grows and stays */
    struct pith_box *boxes; /* own */
    size_t count, capacity;
};
void pith_detections_done(struct pith_detections *detections);
/* outputs: of the graph, as it gave them. -EINVAL where they don't have the described form. */
int pith_detect(const struct pith_detect *how, const struct pith_tensor *outputs, size_t output_count,
                struct pith_detections *out, struct pith_error *err) PITH_CHECKED;

double pith_box_overlap(const struct pith_box *a, const struct pith_box *b); /* intersection over union */
/* Each detection, the surest first, takes the free true box of its class that it overlaps most, by 0.5 at least.
 * hit: one a detection, set to 1 where it took one. */
void pith_detections_match(const struct pith_detections *detections, const struct pith_box *boxes, size_t box_count,
                           uint8_t *taken, uint8_t *hit);

#endif
