/* One pass over the calibration samples fills every histogram; the check of a candidate compares
 * outputs only. */
#include "plugins/techniques/quantize/calibrate.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define REFERENCE_MAX_BYTES                                                                        \
    (16 << 20) /* of kept outputs; fewer samples are kept of a graph with large ones */

#define WIDE_ROOM 4 /* 16 bits can spare two for values that no sample showed */

/* ---- ranges ---- */

struct collector {
    struct plan *plan;
    const struct pith_host *host;
    uint64_t count;
};

static int collect(void *user, size_t index, uint64_t sample, const struct pith_tensor *tensor)
{
    struct collector *collector = user;
    struct plan *plan = collector->plan;
    struct group *group = &plan->groups[plan->group_of[plan->observed[index]]];
    int64_t elements = pith_shape_elements(&tensor->shape);

    if (tensor->dtype != PITH_FLOAT32 || elements < 0)
        return -EINVAL;
    histogram_add(&group->histogram, tensor->data, (size_t) elements);
    lattice_add(&group->lattice, tensor->data, (size_t) elements);
    unseen_add(&group->unseen, sample, (double) group->histogram.low, (double) group->histogram.high);
    if (index == 0 && collector->host->progress)
        collector->host->progress(collector->host->context,
                                  0.6 * (double) sample / (double) collector->count);
    if (index == 0 && collector->host->cancelled &&
        collector->host->cancelled(collector->host->context))
        return -ECANCELED;
    return 0;
}

/* A last step that rounding put past a limit would keep runtimes from leaving the Clip out that a grid stands for. */
#define INSIDE (1 - 0x1p-22)

/* Headroom for what no value can be is a waste. */
static struct range keep_between(struct range range, const struct group *group, double inside)
{
    range.low = fmax(range.low, group->floor);
    if (group->limits.low <= group->limits.high) {
        range.low = fmax(range.low, fmin(group->limits.low * inside, 0));
        range.high = fmin(range.high, fmax(group->limits.high * inside, 0));
    }
    return range;
}

static void choose_range(struct group *group, const struct range_options *options)
{
    struct range exact, whole = range_estimate(&group->histogram, RANGE_MINMAX, 0);

    group->range = range_estimate(&group->histogram, options->method, options->percentile);
    group->wide = whole;
    if (options->headroom) {
        group->range = unseen_widen(&group->unseen, group->range);
        group->wide.low *= WIDE_ROOM;
        group->wide.high *= WIDE_ROOM;
        whole = unseen_widen(&group->unseen, whole);
    }
    group->range = keep_between(group->range, group, INSIDE);
    group->wide = keep_between(group->wide, group, INSIDE);
    whole = keep_between(whole, group, 1);
    /* No other grid has as little squared error as one that has none. */
    if (options->method == RANGE_MSE && lattice_range(&group->lattice, whole, &exact))
        group->range = exact;
}

int calibrate_ranges(struct plan *plan, const struct pith_host *host, uint64_t count,
                     const struct range_options *options, struct pith_error *err)
{
    struct collector collector = {.plan = plan, .host = host, .count = count};
    int rc = 0;

    for (size_t i = 0; i < plan->group_count; i++) {
        histogram_init(&plan->groups[i].histogram);
        lattice_init(&plan->groups[i].lattice);
        plan->groups[i].unseen = (struct unseen){0};
    }
    if (plan->observed_count > 0)
        rc = host->observe(host->context, plan->graph, 0, count, plan->observed,
                           plan->observed_count, collect, &collector, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < plan->group_count; i++)
        if (!plan->groups[i].fixed)
            choose_range(&plan->groups[i], options);
    return 0;
}

/* ---- how far outputs are from the float graph's ---- */

/* Scores less their mean over the classes, which Softmax doesn't see. */
static void centre(float *scores, const struct reference_output *output)
{
    if (output->classes == 0 || output->elements % output->classes != 0)
        return;
    for (size_t at = 0; at < output->elements; at += output->classes) {
        double sum = 0;

        for (size_t i = at; i < at + output->classes; i++)
            sum += (double) scores[i];
        for (size_t i = at; i < at + output->classes; i++)
            scores[i] -= (float) (sum / (double) output->classes);
    }
}

static int keep_output(void *user, size_t index, uint64_t sample, const struct pith_tensor *tensor)
{
    struct reference *reference = user;
    struct reference_output *output = &reference->outputs[index];
    int64_t elements = pith_shape_elements(&tensor->shape);

    if (tensor->dtype != PITH_FLOAT32 || elements <= 0)
        return 0;
    if (!output->data) {
        size_t fits =
            REFERENCE_MAX_BYTES / sizeof(float) / reference->output_count / (size_t) elements;

        if (fits < reference->count)
            reference->count = fits > 0 ? fits : 1;
        output->data = calloc((size_t) elements * reference->count, sizeof(float));
        if (!output->data)
            return -ENOMEM;
        output->elements = (size_t) elements;
        output->real = true;
    }
    if ((size_t) elements != output->elements || sample - reference->first >= reference->count)
        return 0; /* a shape that varies from sample to sample is not compared */
    memcpy(output->data + (sample - reference->first) * output->elements, tensor->data,
           output->elements * sizeof(float));
    centre(output->data + (sample - reference->first) * output->elements, output);
    output->filled++;
    return 0;
}

/* What Softmax makes an output of; its last axis in *out_classes. PITH_NO_VALUE where the output is something else. */
static uint32_t scores_behind(const struct pith_graph *graph, uint32_t output, int64_t *out_classes)
{
    static const char *const ops[] = {"Softmax", "LogSoftmax", NULL};
    uint32_t node = pith_value_producer(graph, output);
    const struct pith_shape *shape = pith_value_shape(graph, output);

    if (node == PITH_NO_NODE || !node_is_one_of(graph, node, ops) || shape->rank < 1)
        return PITH_NO_VALUE;
    int64_t last = (int64_t) shape->rank - 1, axis = pith_node_int(graph, node, "axis", -1);

    *out_classes = shape->dim[last];
    return (axis < 0 ? axis + last + 1 : axis) == last && *out_classes > 1
               ? pith_node_input(graph, node, 0)
               : PITH_NO_VALUE;
}

static uint32_t *output_values(const struct pith_graph *graph)
{
    size_t count = pith_graph_output_count(graph);
    uint32_t *values = calloc(count + 1, sizeof *values);
    int64_t classes;

    for (size_t i = 0; values && i < count; i++) {
        uint32_t output = pith_graph_output(graph, i), scores = scores_behind(graph, output, &classes);

        values[i] = scores == PITH_NO_VALUE ? output : scores;
    }
    return values;
}

int reference_make(struct reference *out, const struct pith_graph *graph,
                   const struct pith_host *host, uint64_t first, uint64_t count,
                   struct pith_error *err)
{
    uint32_t *values = output_values(graph);
    int rc = -ENOMEM;

    *out = (struct reference){
        .first = first, .count = count, .output_count = pith_graph_output_count(graph)};
    out->outputs = calloc(out->output_count + 1, sizeof *out->outputs);
    for (size_t i = 0; i < out->output_count && out->outputs; i++) {
        int64_t classes = 0;

        if (scores_behind(graph, pith_graph_output(graph, i), &classes) != PITH_NO_VALUE)
            out->outputs[i].classes = (size_t) classes;
    }
    if (values && out->outputs)
        rc = host->observe(host->context, graph, first, count, values, out->output_count,
                           keep_output, out, err);
    for (size_t i = 0; i < out->output_count && out->outputs; i++)
        if (out->outputs[i].filled < out->count)
            out->outputs[i].real = false;
    if (rc < 0)
        reference_done(out);
    free(values);
    return rc;
}

void reference_done(struct reference *reference)
{
    for (size_t i = 0; i < reference->output_count && reference->outputs; i++)
        free(reference->outputs[i].data);
    free(reference->outputs);
    *reference = (struct reference){0};
}

struct comparison {
    const struct reference *reference;
    double *squares; /* of the differences, an output */
};

/* Where scores go through Softmax, what is added to all of a sample's makes no difference. */
static double squared_difference(const float *is, const float *was, const struct reference_output *output)
{
    size_t classes = output->classes > 0 && output->elements % output->classes == 0 ? output->classes : 0;
    double all = 0;

    for (size_t at = 0; at < output->elements; at += classes > 0 ? classes : output->elements) {
        size_t end = classes > 0 ? at + classes : output->elements;
        double sum = 0, squares = 0;

        for (size_t i = at; i < end; i++) {
            double difference = (double) is[i] - (double) was[i];

            sum += difference;
            squares += difference * difference;
        }
        all += squares - (classes > 0 ? sum * sum / (double) classes : 0);
    }
    return fmax(all, 0);
}

static int compare_output(void *user, size_t index, uint64_t sample,
                          const struct pith_tensor *tensor)
{
    struct comparison *comparison = user;
    const struct reference_output *output = &comparison->reference->outputs[index];

    if (!output->real)
        return 0;
    if (tensor->dtype != PITH_FLOAT32 ||
        pith_shape_elements(&tensor->shape) != (int64_t) output->elements)
        return -EINVAL;
    const float *was = output->data + (sample - comparison->reference->first) * output->elements;
    comparison->squares[index] += squared_difference(tensor->data, was, output);
    return 0;
}

/* Sum of squares about the mean. An output that hardly varies is held to a thousandth of its size
 * instead. */
static double spread(const struct reference_output *output, uint64_t samples)
{
    size_t count = (size_t) samples * output->elements;
    double sum = 0, squares = 0;

    for (size_t i = 0; i < count; i++) {
        sum += (double) output->data[i];
        squares += (double) output->data[i] * (double) output->data[i];
    }
    double about_mean = squares - sum * sum / (double) count;

    return fmax(about_mean, 1e-6 * squares);
}

int reference_error_ratio(const struct reference *reference, const struct pith_graph *graph,
                          const struct pith_host *host, uint64_t samples, double *out,
                          struct pith_error *err)
{
    struct comparison comparison = {.reference = reference};
    uint32_t *values = output_values(graph);
    double worst = 0;
    int rc = -ENOMEM;

    samples = samples < reference->count ? samples : reference->count;
    comparison.squares = calloc(reference->output_count + 1, sizeof *comparison.squares);
    if (values && comparison.squares)
        rc = host->observe(host->context, graph, reference->first, samples, values,
                           reference->output_count, compare_output, &comparison, err);
    for (size_t i = 0; rc == 0 && i < reference->output_count; i++) {
        if (!reference->outputs[i].real)
            continue;
        double whole = spread(&reference->outputs[i], samples);
        double ratio =
            comparison.squares[i] == 0 ? 0 : sqrt(comparison.squares[i] / fmax(whole, 1e-30));

        worst = isfinite(ratio) ? fmax(worst, ratio) : HUGE_VAL;
    }
    if (rc == 0)
        *out = worst;
    free(comparison.squares);
    free(values);
    return rc;
}
