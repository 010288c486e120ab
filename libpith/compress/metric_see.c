/* From a result to the numbers that a metric keeps of it. */
#include "libpith/compress/metric_parts.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

static int64_t elements_of(const struct pith_tensor *tensor)
{
    return pith_shape_elements(&tensor->shape);
}

/* Labels that are stored as floats are classes where they are whole. */
static int class_of(const struct pith_sample *sample, int64_t *out, struct pith_error *err)
{
    double number;

    *out = sample->class_index;
    if (!sample->values.data)
        return 0;
    if (elements_of(&sample->values) != 1)
        return pith_fail(err, -EINVAL, "its label has %lld numbers; a class is one, the place of its score",
                         (long long) elements_of(&sample->values));
    number = pith_tensor_get(&sample->values, 0);
    if (!(number >= -1 && number < PITH_DATASET_MAX_CLASSES && number == floor(number)))
        return pith_fail(err, -EINVAL, "its label %g is no class, which is a whole number below %d", number,
                         PITH_DATASET_MAX_CLASSES);
    *out = (int64_t) number;
    return 0;
}

static int see_classes(struct pith_metric *metric, struct metric_row *row,
                       const struct pith_sample *sample, const struct pith_tensor *output,
                       struct pith_error *err)
{
    int64_t count = elements_of(output), best = 0;
    double most = -HUGE_VAL;
    int rc = class_of(sample, &row->label, err);

    if (rc < 0)
        return rc;

    for (int64_t i = 0; i < count; i++) {
        double score = pith_tensor_get(output, i);

        if (score > most) {
            most = score;
            best = i;
        }
    }
    if (count == 1)
        best = most >= 0.5;
    row->predicted = best;
    row->score = fmax(row->score, pith_tensor_get(output, count > 1 ? 1 : 0));
    int64_t classes = count > 1 ? count : 2;

    metric->told = classes > metric->told ? classes : metric->told;
    classes = row->label >= classes ? row->label + 1 : classes;
    if (classes > metric->classes)
        metric->classes = classes < PITH_DATASET_MAX_CLASSES ? classes : PITH_DATASET_MAX_CLASSES;
    return 0;
}

/* What the output should be: the labels' numbers, or the input. */
static int target_of(const struct pith_sample *sample, const struct pith_tensor *output,
                     const struct pith_tensor **out, struct pith_error *err)
{
    char have[PITH_SHAPE_TEXT_BYTES], want[PITH_SHAPE_TEXT_BYTES];

    *out = sample->values.data ? &sample->values : &sample->x;
    if (elements_of(*out) == elements_of(output))
        return 0;
    return pith_fail(err, -EINVAL, "the output has shape %s, %s to compare it with %s%s",
                     pith_shape_text(&output->shape, have, sizeof have),
                     sample->values.data ? "the labels" : "the input",
                     pith_shape_text(&(*out)->shape, want, sizeof want),
                     sample->values.data && elements_of(*out) == 1
                         ? "; where they are classes, name such a metric (top1)"
                         : "");
}

static double squared_error(const struct pith_tensor *a, const struct pith_tensor *b)
{
    int64_t count = elements_of(a);
    double sum = 0;

    for (int64_t i = 0; i < count; i++) {
        double difference = pith_tensor_get(a, i) - pith_tensor_get(b, i);

        sum += difference * difference;
    }
    return count > 0 ? sum / (double) count : 0;
}

/* Pictures of rank 2 to 4; channels are last where that dimension is 1, 3 or 4 and the one in their
 * usual place is not. As planes of floats. */
static float *planes_of(const struct pith_tensor *x, const struct pith_shape *shape,
                        int64_t *planes, int64_t *height, int64_t *width)
{
    uint32_t rank = shape->rank;
    int64_t c = rank > 2 ? shape->dim[rank - 3] : 1, h = rank > 1 ? shape->dim[rank - 2] : 1,
            w = rank > 0 ? shape->dim[rank - 1] : 1;
    bool last = rank > 2 && (w == 1 || w == 3 || w == 4) && c != 1 && c != 3 && c != 4;
    int64_t count = elements_of(x);
    float *out = malloc(((size_t) count + 1) * sizeof *out);

    *height = last ? c : h;
    *width = last ? h : w;
    int64_t channels = last ? w : c, plane = *height * *width;

    *planes = plane > 0 ? count / plane : 0;
    for (int64_t i = 0; out && i < count; i++) {
        int64_t picture = i / (plane * channels), inside = i % (plane * channels);
        int64_t at = last ? (inside % channels) * plane + inside / channels : inside;

        out[picture * plane * channels + at] = (float) pith_tensor_get(x, i);
    }
    return out;
}

static int compare_pictures(const struct pith_metric *metric, const struct pith_tensor *output,
                            const struct pith_tensor *target, double *out)
{
    int64_t planes, height, width;
    float *a = planes_of(output, &output->shape, &planes, &height, &width);
    float *b = planes_of(target, &output->shape, &planes, &height, &width);
    int rc = a && b ? 0 : -ENOMEM;

    if (rc == 0 && metric->options.kind == PITH_METRIC_PSNR)
        *out = pith_psnr(a, b, (size_t) elements_of(output), metric->options.peak);
    else if (rc == 0)
        rc = pith_ssim(a, b, planes, height, width, metric->options.peak, out);
    free(a);
    free(b);
    return rc;
}

static int see_numbers(struct pith_metric *metric, struct metric_row *row,
                       const struct pith_sample *sample, const struct pith_tensor *output,
                       struct pith_error *err)
{
    const struct pith_tensor *target;
    struct pith_sample labelled = *sample;
    float number = (float) sample->class_index;
    double value = 0;
    int rc = 0;

    /* Whole numbers are what is to be predicted where the metric says so. */
    if (metric->options.kind == PITH_METRIC_MSE && metric->labels == PITH_LABEL_CLASS &&
        elements_of(output) == 1)
        labelled.values = (struct pith_tensor){
            .dtype = PITH_FLOAT32, .data = &number, .bytes = sizeof number};
    if (metric->options.kind == PITH_METRIC_ANOMALY_AUC) { /* the labels are of another kind */
        rc = class_of(sample, &row->label, err);
        labelled.values = (struct pith_tensor){0};
    }
    if (rc == 0)
        rc = target_of(&labelled, output, &target, err);

    if (rc == 0 &&
        (metric->options.kind == PITH_METRIC_PSNR || metric->options.kind == PITH_METRIC_SSIM)) {
        rc = compare_pictures(metric, output, target, &value);
        if (rc < 0)
            return pith_fail(err, rc, "no memory to compare pictures");
    } else if (rc == 0) {
        value = squared_error(output, target);
    }
    if (rc < 0)
        return rc;
    row->value += (value - row->value) / (double) (row->seen + 1);
    row->score = row->value; /* of an anomaly */
    return 0;
}

int pith_metric_see(struct pith_metric *metric, const struct pith_sample *sample,
                    const struct pith_tensor *outputs, size_t output_count, struct pith_error *err)
{
    struct metric_row *row = &metric->rows[metric->count - 1];
    int rc = 0;

    if (output_count == 0 || elements_of(&outputs[0]) < 1)
        return pith_fail(err, -EINVAL, "the model gives nothing to measure");
    switch (metric->options.kind) {
    case PITH_METRIC_TOP1:
    case PITH_METRIC_F1:
    case PITH_METRIC_AUC:
        rc = see_classes(metric, row, sample, &outputs[0], err);
        break;
    case PITH_METRIC_MAP50:
        rc = row->seen > 0 ? pith_fail(err, -EINVAL, "map50 wants one result a sample")
                           : metric_see_boxes(metric, sample, outputs, output_count, err);
        break;
    default:
        rc = see_numbers(metric, row, sample, &outputs[0], err);
        break;
    }
    row->seen++;
    return rc;
}
