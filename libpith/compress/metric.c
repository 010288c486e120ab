/* What each kind keeps of a sample, and how its value comes from samples that count once, several
 * times or not at all: the form that bootstrap needs. */
#include "libpith/compress/metric.h"

#include "libpith/compress/metric_parts.h"
#include "libpith/compress/samples.h"
#include "libpith/compress/statistics.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DRAWS         1000
#define INTERVAL_LOW  0.025
#define INTERVAL_HIGH 0.975

const char *const pith_metric_names[] = {"top1",  "f1",   "auc",  "mse", "anomaly_auc",
                                         "map50", "psnr", "ssim", NULL};

bool pith_metric_grows(enum pith_metric_kind kind)
{
    return kind != PITH_METRIC_MSE;
}

int pith_metric_for(enum pith_label_kind labels)
{
    switch (labels) {
    case PITH_LABEL_CLASS:
        return PITH_METRIC_TOP1;
    case PITH_LABEL_VALUES:
        return PITH_METRIC_MSE;
    case PITH_LABEL_BOXES:
        return PITH_METRIC_MAP50;
    default:
        return -1;
    }
}

static const char *missing_labels(enum pith_metric_kind kind, enum pith_label_kind labels)
{
    switch (kind) {
    case PITH_METRIC_MSE:
        return labels == PITH_LABEL_BOXES ? "numbers as labels, or none" : NULL;
    case PITH_METRIC_MAP50:
        return labels == PITH_LABEL_BOXES ? NULL : "boxes as labels";
    case PITH_METRIC_PSNR:
    case PITH_METRIC_SSIM:
        return labels == PITH_LABEL_VALUES ? NULL : "pictures (arrays of numbers) as labels";
    default: /* whole numbers may be stored as others; pith_metric_see looks at each */
        return labels == PITH_LABEL_CLASS || labels == PITH_LABEL_VALUES ? NULL
                                                                         : "a class a sample as labels";
    }
}

int pith_metric_new(struct pith_metric **out, const struct pith_metric_options *options,
                    enum pith_label_kind labels, struct pith_error *err)
{
    const char *missing = missing_labels((enum pith_metric_kind) options->kind, labels);
    struct pith_metric *metric;

    if (missing)
        return pith_fail(err, -EINVAL, "metric %s wants %s", pith_metric_names[options->kind],
                         missing);
    metric = calloc(1, sizeof *metric);
    if (!metric)
        return pith_fail(err, -ENOMEM, "no memory for a metric");
    metric->options = *options;
    metric->labels = labels;
    *out = metric;
    return 0;
}

void pith_metric_free(struct pith_metric *metric)
{
    if (!metric)
        return;
    free(metric->rows);
    free(metric->hits);
    free(metric->truths);
    free(metric->taken);
    free(metric->hit);
    pith_detections_done(&metric->detections);
    free(metric);
}

int pith_metric_begin(struct pith_metric *metric)
{
    if (metric->count == metric->capacity) {
        size_t capacity = metric->capacity ? 2 * metric->capacity : 256;
        struct metric_row *grown = realloc(metric->rows, capacity * sizeof *grown);

        if (!grown)
            return -ENOMEM;
        metric->rows = grown;
        metric->capacity = capacity;
    }
    metric->rows[metric->count++] =
        (struct metric_row){.label = -1, .predicted = -1, .score = -HUGE_VAL};
    return 0;
}

bool pith_metric_right(const struct pith_metric *metric, uint64_t sample)
{
    return sample < metric->count && metric->rows[sample].seen > 0 &&
           metric->rows[sample].predicted == metric->rows[sample].label;
}

/* ---- values of samples by weight ---- */

static double mean_of(const struct pith_metric *metric, const uint32_t *weight)
{
    double sum = 0, count = 0;

    for (size_t i = 0; i < metric->count; i++) {
        sum += weight[i] * metric->rows[i].value;
        count += weight[i];
    }
    return count > 0 ? sum / count : NAN;
}

static double top1_of(const struct pith_metric *metric, const uint32_t *weight)
{
    double right = 0, count = 0;

    for (size_t i = 0; i < metric->count; i++) {
        right += pith_metric_right(metric, i) ? weight[i] : 0;
        count += weight[i];
    }
    return count > 0 ? right / count : NAN;
}

struct tally { /* of a class */
    double both, predicted, labelled;
};

static double f1(const struct tally *tally)
{
    double all = tally->predicted + tally->labelled;

    return all > 0 ? 2 * tally->both / all : NAN;
}

static double f1_of(const struct pith_metric *metric, const uint32_t *weight)
{
    struct tally *tallies = calloc(PITH_DATASET_MAX_CLASSES, sizeof *tallies);
    int64_t classes = metric->classes > 0 ? metric->classes : 1;
    double sum = 0, count = 0;

    for (size_t i = 0; tallies && i < metric->count; i++) {
        const struct metric_row *row = &metric->rows[i];

        if (row->predicted >= 0 && row->predicted < classes)
            tallies[row->predicted].predicted += weight[i];
        if (row->label >= 0 && row->label < classes)
            tallies[row->label].labelled += weight[i];
        if (row->label == row->predicted && row->label >= 0 && row->label < classes)
            tallies[row->label].both += weight[i];
    }
    double value = tallies && classes == 2 ? f1(&tallies[1]) : NAN;

    for (int64_t c = 0; tallies && classes != 2 && c < classes; c++) {
        double one = f1(&tallies[c]);

        if (isnan(one))
            continue;
        sum += one;
        count++;
    }
    free(tallies);
    return classes == 2 ? value : count > 0 ? sum / count : NAN;
}

/* The share of pairs (positive, negative) that the score puts in order; ties count half. */
static double auc_of(const struct pith_metric *metric, const uint32_t *weight, const size_t *order)
{
    double below = 0, pairs = 0, positives = 0, negatives = 0;

    for (size_t i = 0; i < metric->count;) {
        double tied_positives = 0, tied_negatives = 0, score = metric->rows[order[i]].score;

        for (; i < metric->count && metric->rows[order[i]].score == score; i++) {
            bool positive = metric->rows[order[i]].label == 1;

            tied_positives += positive ? weight[order[i]] : 0;
            tied_negatives += positive ? 0 : weight[order[i]];
        }
        pairs += tied_positives * (below + tied_negatives / 2);
        below += tied_negatives;
        positives += tied_positives;
        negatives += tied_negatives;
    }
    return positives > 0 && negatives > 0 ? pairs / (positives * negatives) : NAN;
}

static double value_of(const struct pith_metric *metric, const uint32_t *weight,
                       const size_t *order)
{
    switch (metric->options.kind) {
    case PITH_METRIC_TOP1:
        return top1_of(metric, weight);
    case PITH_METRIC_F1:
        return f1_of(metric, weight);
    case PITH_METRIC_AUC:
    case PITH_METRIC_ANOMALY_AUC:
        return auc_of(metric, weight, order);
    case PITH_METRIC_MAP50:
        return metric_map_of(metric, weight, order);
    default:
        return mean_of(metric, weight);
    }
}

/* ---- orders ---- */

struct ordered {
    double key;
    int64_t group;
    size_t index;
};

static int in_order(const void *a, const void *b)
{
    const struct ordered *x = a, *y = b;

    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* The order that a kind walks its rows or detections in, once for all draws. */
static int make_order(const struct pith_metric *metric, size_t **out)
{
    bool detections = metric->options.kind == PITH_METRIC_MAP50;
    size_t count = detections ? metric->hit_count : metric->count;
    struct ordered *ordered = calloc(count + 1, sizeof *ordered);
    size_t *order = calloc(count + 1, sizeof *order);

    if (!ordered || !order) {
        free(ordered);
        free(order);
        return -ENOMEM;
    }
    for (size_t i = 0; i < count; i++)
        ordered[i] = detections ? (struct ordered){-(double) metric->hits[i].score,
                                                   metric->hits[i].class_index, i}
                                : (struct ordered){metric->rows[i].score, 0, i};
    if (count > 0)
        qsort(ordered, count, sizeof *ordered, in_order);
    for (size_t i = 0; i < count; i++)
        order[i] = ordered[i].index;
    free(ordered);
    *out = order;
    return 0;
}

/* ---- bootstrap ---- */

static void draw(uint32_t *weight, size_t count, uint64_t *random)
{
    memset(weight, 0, count * sizeof *weight);
    for (size_t i = 0; i < count; i++)
        weight[pith_random(random) % count]++;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *) a, y = *(const double *) b;

    return x < y ? -1 : x > y;
}

/* Percentiles of what the draws gave; draws that tell nothing are left out. */
static void take_interval(double *values, size_t count, double *low, double *high)
{
    *low = *high = NAN;
    if (count == 0)
        return;
    qsort(values, count, sizeof *values, by_value);
    *low = values[(size_t) (INTERVAL_LOW * (double) (count - 1))];
    *high = values[(size_t) ceil(INTERVAL_HIGH * (double) (count - 1))];
}

struct drawing {                     /* one metric, or the difference of two */
    const struct pith_metric *a, *b; /* b: NULL for one */
    size_t *order_a, *order_b;
    uint32_t *weight;
    double values[DRAWS];
    size_t value_count;
};

static double drawn_value(const struct drawing *drawing)
{
    double value = value_of(drawing->a, drawing->weight, drawing->order_a);

    return drawing->b ? value_of(drawing->b, drawing->weight, drawing->order_b) - value : value;
}

static void drawing_done(struct drawing *drawing)
{
    if (!drawing)
        return;
    free(drawing->order_a);
    free(drawing->order_b);
    free(drawing->weight);
    free(drawing);
}

/* *out_value: over each sample once. */
static int run_draws(const struct pith_metric *a, const struct pith_metric *b, bool draws,
                     struct drawing **out, double *out_value)
{
    struct drawing *drawing = calloc(1, sizeof *drawing);
    uint64_t random = 0x2545f4914f6cdd1d;
    int rc = drawing ? 0 : -ENOMEM;

    if (rc == 0) {
        drawing->a = a;
        drawing->b = b;
        drawing->weight = calloc(a->count + 1, sizeof *drawing->weight);
        rc = drawing->weight ? make_order(a, &drawing->order_a) : -ENOMEM;
    }
    if (rc == 0 && b)
        rc = make_order(b, &drawing->order_b);
    if (rc < 0) {
        drawing_done(drawing);
        return rc;
    }
    for (size_t i = 0; i < a->count; i++)
        drawing->weight[i] = 1;
    *out_value = drawn_value(drawing);
    for (size_t i = 0; draws && a->count > 0 && i < DRAWS; i++) {
        draw(drawing->weight, a->count, &random);
        double value = drawn_value(drawing);

        if (!isnan(value))
            drawing->values[drawing->value_count++] = value;
    }
    *out = drawing;
    return 0;
}

/* A figure over labels that can't say anything is told as that, and not as one that looks bad. */
static int check_classes(const struct pith_metric *metric, const struct pith_measurement *made,
                         struct pith_error *err)
{
    size_t known = 0;
    bool by_class = metric->options.kind == PITH_METRIC_TOP1 || metric->options.kind == PITH_METRIC_F1;
    bool by_pairs = metric->options.kind == PITH_METRIC_AUC || metric->options.kind == PITH_METRIC_ANOMALY_AUC;

    if (by_pairs && metric->count > 0 && isnan(made->value))
        return pith_fail(err, -EINVAL, "%s compares samples of class 1 with others, and all %zu are of one kind",
                         made->name, metric->count);
    for (size_t i = 0; by_class && i < metric->count; i++)
        known += metric->rows[i].seen == 0 || (metric->rows[i].label >= 0 && metric->rows[i].label < metric->told);
    if (by_class && metric->count > 0 && known == 0)
        return pith_fail(err, -EINVAL, "none of the %zu labels is one of the %lld classes that the model tells, 0 to %lld",
                         metric->count, (long long) metric->told, (long long) metric->told - 1);
    return 0;
}

int pith_metric_measure(const struct pith_metric *metric, struct pith_measurement *out,
                        struct pith_error *err)
{
    bool wilson = metric->options.kind == PITH_METRIC_TOP1;
    struct pith_measurement made = {.name = pith_metric_names[metric->options.kind],
                                    .interval = wilson ? "wilson" : "bootstrap",
                                    .samples = metric->count};
    struct drawing *drawing = NULL;
    int rc = run_draws(metric, NULL, !wilson, &drawing, &made.value);

    if (rc < 0)
        return pith_fail(err, rc, "no memory for the interval of a metric");
    if (wilson) {
        uint64_t right = 0;

        for (size_t i = 0; i < metric->count; i++)
            right += pith_metric_right(metric, i);
        pith_wilson(right, metric->count, &made.low, &made.high);
    } else {
        take_interval(drawing->values, drawing->value_count, &made.low, &made.high);
    }
    drawing_done(drawing);
    rc = check_classes(metric, &made, err);
    if (rc < 0)
        return rc;
    *out = made;
    return 0;
}

/* Twice the share of draws on the far side of zero. */
static double bootstrap_p(const double *values, size_t count)
{
    size_t below = 0, above = 0;

    for (size_t i = 0; i < count; i++) {
        below += values[i] <= 0;
        above += values[i] >= 0;
    }
    double share = count > 0 ? (double) (below < above ? below : above) / (double) count : 1;

    return fmax(fmin(2 * share, 1), 1.0 / DRAWS);
}

int pith_metric_compare(const struct pith_metric *a, const struct pith_metric *b,
                        struct pith_difference *out, struct pith_error *err)
{
    struct pith_difference made = {.test = "bootstrap"};
    struct drawing *drawing = NULL;
    int rc;

    if (a->options.kind != b->options.kind || a->count != b->count)
        return pith_fail(err, -EINVAL, "only one metric over the same samples can be compared");
    rc = run_draws(a, b, true, &drawing, &made.value);
    if (rc < 0)
        return pith_fail(err, rc, "no memory to compare two models");
    take_interval(drawing->values, drawing->value_count, &made.low, &made.high);
    made.p = bootstrap_p(drawing->values, drawing->value_count);
    drawing_done(drawing);
    if (a->options.kind == PITH_METRIC_TOP1) {
        for (size_t i = 0; i < a->count; i++) {
            made.only_a += pith_metric_right(a, i) && !pith_metric_right(b, i);
            made.only_b += pith_metric_right(b, i) && !pith_metric_right(a, i);
        }
        made.test = "mcnemar";
        made.p = pith_mcnemar(made.only_a, made.only_b);
    }
    *out = made;
    return 0;
}
