/* What the files of a metric share: what it keeps of each sample. */
#ifndef PITH_COMPRESS_METRIC_PARTS_H
#define PITH_COMPRESS_METRIC_PARTS_H

#include "libpith/compress/metric.h"

struct metric_row { /* a sample */
    int64_t label, predicted; /* classes; -1: none */
    double score;             /* for AUC */
    double value;             /* mean so far: squared error, PSNR, SSIM */
    uint64_t seen;            /* results */
};
struct metric_hit { /* a detection */
    float score;
    int32_t class_index;
    bool right;
    size_t sample;
};
struct metric_truth { /* a true box */
    int32_t class_index;
    size_t sample;
};

struct pith_metric {
    struct pith_metric_options options;
    enum pith_label_kind labels;
    struct metric_row *rows;      /* own */
    size_t count, capacity;
    int64_t told;                 /* classes that the model's scores tell apart */
    int64_t classes;              /* one more than the greatest that was seen, or scores of one result */
    struct pith_detections detections; /* of the sample under way */
    uint8_t *taken, *hit;         /* own; room for matching */
    size_t room;
    struct metric_hit *hits;      /* own */
    size_t hit_count, hit_capacity;
    struct metric_truth *truths;  /* own */
    size_t truth_count, truth_capacity;
};

/* order: of the hits, by class and then the surest first. */
double metric_map_of(const struct pith_metric *metric, const uint32_t *weight, const size_t *order);
/* Keeps the detections of a result beside the true boxes. */
int metric_see_boxes(struct pith_metric *metric, const struct pith_sample *sample, const struct pith_tensor *outputs,
                     size_t output_count, struct pith_error *err) PITH_CHECKED;

#endif
