/* Metrics: what one model's results over labelled samples come to, with an interval, and how two models on the same samples
 * differ. A metric keeps a few numbers a sample, so that any of them can be drawn again (bootstrap).
 *
 *   top1           share of samples whose greatest score is the label's (one score: at least 0.5 means class 1)
 *   f1             of class 1 where there are two classes, else the mean over classes (macro)
 *   auc            area under the ROC curve of class 1's score, ties counted half (Hanley, McNeil 1982)
 *   mse            mean squared error against the labels' numbers, or against the input where there are none
 *   anomaly_auc    AUC of the reconstruction's squared error as a score: label 1 is an anomaly
 *   map50          mean average precision at an overlap of 0.5, 101-point (COCO), over classes that occur
 *   psnr, ssim     of pictures against the labels' numbers, in dB and 0..1 (Wang et al. 2004: 11 x 11 Gaussian of 1.5)
 *
 * Intervals are of 95 %: Wilson's for top1, else percentiles of 1000 bootstrap draws of samples (Efron 1979), seeded. */
#ifndef PITH_COMPRESS_METRIC_H
#define PITH_COMPRESS_METRIC_H

#include "libpith/compress/detect.h"

enum pith_metric_kind {
    PITH_METRIC_TOP1,
    PITH_METRIC_F1,
    PITH_METRIC_AUC,
    PITH_METRIC_MSE,
    PITH_METRIC_ANOMALY_AUC,
    PITH_METRIC_MAP50,
    PITH_METRIC_PSNR,
    PITH_METRIC_SSIM,
};
extern const char *const pith_metric_names[]; /* by kind; ends with NULL */
bool pith_metric_grows(enum pith_metric_kind kind); /* whether more is better */
/* What fits such labels: top1, mse or map50. -1 without labels. */
int pith_metric_for(enum pith_label_kind labels);

struct pith_metric_options {
    int kind;                  /* enum pith_metric_kind */
    double peak;               /* greatest value of a picture's elements, for psnr and ssim */
    struct pith_detect detect; /* for map50 */
};

struct pith_metric;
/* -EINVAL where the kind wants other labels than these. */
int pith_metric_new(struct pith_metric **out, const struct pith_metric_options *options, enum pith_label_kind labels,
                    struct pith_error *err) PITH_CHECKED;
void pith_metric_free(struct pith_metric *metric);
/* A sample begins; then its results, in order (of several, scores count by their greatest, errors by their mean and classes
 * by the last); then it ends. */
int pith_metric_begin(struct pith_metric *metric) PITH_CHECKED;
int pith_metric_see(struct pith_metric *metric, const struct pith_sample *sample, const struct pith_tensor *outputs,
                    size_t output_count, struct pith_error *err) PITH_CHECKED;
/* 1 where the class was right. For top1. */
bool pith_metric_right(const struct pith_metric *metric, uint64_t sample);

struct pith_measurement {
    const char *name;
    double value, low, high;  /* NAN where the samples don't tell (AUC of one class) */
    const char *interval;     /* "wilson" or "bootstrap" */
    uint64_t samples;
};
int pith_metric_measure(const struct pith_metric *metric, struct pith_measurement *out, struct pith_error *err) PITH_CHECKED;

struct pith_difference { /* b - a, on the same samples */
    double value, low, high; /* interval by bootstrap of pairs */
    double p;                /* McNemar's for top1 (exact); else twice the share of draws past zero, at least 1/1000 */
    const char *test;        /* "mcnemar" or "bootstrap" */
    uint64_t only_a, only_b; /* right in one of them; top1 */
};
/* -EINVAL where they aren't of one kind and as many samples. */
int pith_metric_compare(const struct pith_metric *a, const struct pith_metric *b, struct pith_difference *out,
                        struct pith_error *err) PITH_CHECKED;

/* ---- of one picture ---- */
double pith_psnr(const float *a, const float *b, size_t count, double peak); /* dB; 100 where they are equal */
/* Planes of height x width; either side at least 11, else the whole plane is one window. */
int pith_ssim(const float *a, const float *b, int64_t planes, int64_t height, int64_t width, double peak, double *out);

#endif
