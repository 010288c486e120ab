/* Mean average precision. Matching happens once a picture; what is drawn again is which pictures
 * count. */
#include "libpith/compress/metric_parts.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define RECALL_POINTS 101 /* 0, 0.01, ... 1, as COCO's evaluation takes them */

static int grow(void **items, size_t item_bytes, size_t *capacity, size_t wanted)
{
    size_t room = *capacity ? *capacity : 256;
    void *grown;

    if (wanted <= *capacity)
        return 0;
    while (room < wanted)
        room *= 2;
    grown = realloc(*items, room * item_bytes);
    if (!grown)
        return -ENOMEM;
    *items = grown;
    *capacity = room;
    return 0;
}

static int make_room(struct pith_metric *metric, size_t boxes)
{
    size_t wanted = metric->detections.count > boxes ? metric->detections.count : boxes;
    size_t taken_room = metric->room;
    int rc = grow((void **) &metric->taken, 1, &taken_room, wanted);

    if (rc == 0)
        rc = grow((void **) &metric->hit, 1, &metric->room, wanted);
    if (rc == 0)
        rc = grow((void **) &metric->hits, sizeof *metric->hits, &metric->hit_capacity,
                  metric->hit_count + metric->detections.count);
    if (rc == 0)
        rc = grow((void **) &metric->truths, sizeof *metric->truths, &metric->truth_capacity,
                  metric->truth_count + boxes);
    return rc;
}

int metric_see_boxes(struct pith_metric *metric, const struct pith_sample *sample,
                     const struct pith_tensor *outputs, size_t output_count, struct pith_error *err)
{
    struct pith_detections *detections = &metric->detections;
    size_t at = metric->count - 1;
    int rc = pith_detect(&metric->options.detect, outputs, output_count, detections, err);

    if (rc < 0)
        return rc;
    if (make_room(metric, sample->box_count) < 0)
        return pith_fail(err, -ENOMEM, "no memory for detections");
    pith_detections_match(detections, sample->boxes, sample->box_count, metric->taken, metric->hit);
    for (size_t i = 0; i < detections->count; i++)
        metric->hits[metric->hit_count++] =
            (struct metric_hit){.score = detections->boxes[i].score,
                                .class_index = detections->boxes[i].class_index,
                                .right = metric->hit[i],
                                .sample = at};
    for (size_t i = 0; i < sample->box_count; i++)
        metric->truths[metric->truth_count++] =
            (struct metric_truth){sample->boxes[i].class_index, at};
    return 0;
}

struct curve { /* of a class: precision after each detection, the surest first */
    double *precision, *recall;
    size_t count;
};

/* The mean over recall points of the best precision at that recall or more. */
static double average_precision(struct curve *curve)
{
    double sum = 0;
    size_t at = 0;

    for (size_t i = curve->count; i > 1; i--)
        curve->precision[i - 2] = fmax(curve->precision[i - 2], curve->precision[i - 1]);
    for (int point = 0; point < RECALL_POINTS; point++) {
        double recall = (double) point / (RECALL_POINTS - 1);

        while (at < curve->count && curve->recall[at] < recall - 1e-12)
            at++;
        sum += at < curve->count ? curve->precision[at] : 0;
    }
    return sum / RECALL_POINTS;
}

static void trace_class(const struct pith_metric *metric, const uint32_t *weight,
                        const size_t *order, size_t from, size_t to, double truths,
                        struct curve *curve)
{
    double right = 0, all = 0;

    curve->count = 0;
    for (size_t i = from; i < to; i++) {
        const struct metric_hit *hit = &metric->hits[order[i]];

        if (weight[hit->sample] == 0)
            continue;
        right += hit->right ? weight[hit->sample] : 0;
        all += weight[hit->sample];
        curve->precision[curve->count] = right / all;
        curve->recall[curve->count++] = right / truths;
    }
}

double metric_map_of(const struct pith_metric *metric, const uint32_t *weight, const size_t *order)
{
    double *truths = calloc(PITH_DATASET_MAX_CLASSES, sizeof *truths), sum = 0, classes = 0;
    struct curve curve = {.precision = calloc(metric->hit_count + 1, sizeof(double)),
                          .recall = calloc(metric->hit_count + 1, sizeof(double))};
    bool fine = truths && curve.precision && curve.recall;
    size_t at = 0;

    for (size_t i = 0; fine && i < metric->truth_count; i++)
        if (metric->truths[i].class_index < PITH_DATASET_MAX_CLASSES)
            truths[metric->truths[i].class_index] += weight[metric->truths[i].sample];
    for (int32_t c = 0; fine && c < PITH_DATASET_MAX_CLASSES; c++) {
        size_t from = at;

        while (at < metric->hit_count && metric->hits[order[at]].class_index == c)
            at++;
        if (truths[c] <= 0)
            continue;
        trace_class(metric, weight, order, from, at, truths[c], &curve);
        sum += average_precision(&curve);
        classes++;
    }
    free(truths);
    free(curve.precision);
    free(curve.recall);
    return classes > 0 ? sum / classes : NAN;
}
