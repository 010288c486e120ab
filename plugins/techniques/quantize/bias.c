/* Sequential bias correction. One pass shows all means of the float graph; then one cut graph a
 * layer, as later layers see what was corrected before them. */
#include "plugins/techniques/quantize/bias.h"

#include "plugins/techniques/quantize/write.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLES_MOST  64
#define SAMPLES_LEAST 4
#define WORK_MACS                                                                                  \
    1.2e11 /* multiplications of all cut graphs together, while samples are enough                 \
            */

#define WORK_AGAIN 2e10 /* the same in each trial of a search */

struct target { /* one layer's output */
    size_t layer;
    uint32_t value;
    size_t channels;
    double *real;  /* own: mean a channel of the float graph */
    double *sum;   /* own: of the values seen in the pass under way */
    uint64_t seen; /* values of each channel */
    bool bad;      /* some output was not finite, or had another shape */
};

struct correction {
    struct plan *plan;
    const struct pith_host *host;
    struct target *targets;
    size_t count;
    size_t only; /* the target that a cut graph shows; SIZE_MAX: all */
};

/* The channel lies on axis 1 behind a convolution, on the last one behind a product. */
static void add_sums(struct target *target, const struct pith_tensor *tensor, bool last)
{
    const float *x = tensor->data;
    int64_t all = pith_shape_elements(&tensor->shape), channels = (int64_t) target->channels;
    uint32_t axis = last ? tensor->shape.rank - 1 : 1;
    int64_t inner = 1;

    if (tensor->dtype != PITH_FLOAT32 || tensor->shape.rank <= axis ||
        tensor->shape.dim[axis] != channels || all < channels) {
        target->bad = true;
        return;
    }
    for (uint32_t i = axis + 1; i < tensor->shape.rank; i++)
        inner *= tensor->shape.dim[i];
    for (int64_t at = 0; at < all; at += inner) {
        double sum = 0;

        for (int64_t i = at; i < at + inner; i++)
            sum += (double) x[i];
        target->sum[at / inner % channels] += sum;
    }
    target->seen += (uint64_t) (all / channels);
}

static int see(void *user, size_t index, uint64_t sample, const struct pith_tensor *tensor)
{
    struct correction *correction = user;
    struct target *target =
        &correction->targets[correction->only == SIZE_MAX ? index : correction->only];
    const struct layer *layer = &correction->plan->layers[target->layer];

    (void) sample;
    add_sums(target, tensor,
             !node_is(correction->plan->graph, layer->node, "Conv") &&
                 !node_is(correction->plan->graph, layer->node, "ConvTranspose"));
    if (correction->host->cancelled && correction->host->cancelled(correction->host->context))
        return -ECANCELED;
    return 0;
}

static bool is_target(const struct plan *plan, const struct layer *layer, struct bias_home *out_home)
{
    return form_is_integer(layer->form) && layer_bias_home(plan->graph, layer, out_home) &&
           out_home->channels > 0;
}

static int add_target(struct correction *correction, size_t index)
{
    const struct pith_graph *graph = correction->plan->graph;
    struct layer *layer = &correction->plan->layers[index];
    struct bias_home home;

    free(layer->bias_shift);
    layer->bias_shift = NULL;
    if (!is_target(correction->plan, layer, &home))
        return 0;
    struct target *target = &correction->targets[correction->count];

    *target = (struct target){.layer = index,
                              .value = pith_node_output(graph, layer->node, 0),
                              .channels = home.channels,
                              .real = calloc(home.channels, sizeof(double)),
                              .sum = calloc(home.channels, sizeof(double))};
    correction->count++;
    layer->channels = home.channels;
    layer->bias_shift = calloc(home.channels, sizeof *layer->bias_shift);
    if (!target->real || !target->sum || !layer->bias_shift)
        return -ENOMEM;
    layer->shift_bits = form_weight_bits(layer->form);
    return 0;
}

/* Moves what a pass summed up to *out, as means. */
static bool take_means(struct target *target, double *out)
{
    bool good = !target->bad && target->seen > 0;

    for (size_t c = 0; c < target->channels; c++) {
        out[c] = good ? target->sum[c] / (double) target->seen : 0;
        good = good && isfinite(out[c]);
        target->sum[c] = 0;
    }
    target->seen = 0;
    target->bad = !good;
    return good;
}

/* A clone of the graph whose one output is `value`. */
static int cut(const struct pith_graph *graph, uint32_t value, struct pith_graph **out,
               struct pith_error *err)
{
    struct pith_graph *made = NULL;
    int rc = pith_graph_clone(graph, &made, err);

    for (size_t i = 0; rc == 0 && i < pith_graph_output_count(made); i++)
        pith_graph_set_output(made, i, value);
    if (rc == 0)
        rc = pith_graph_prune_dead(made);
    if (rc == 0)
        rc = pith_graph_validate(made, err);
    if (rc < 0) {
        pith_graph_free(made);
        return rc;
    }
    *out = made;
    return 0;
}

/* Multiplications of the graph cut at each layer, summed up. */
static int count_work(const struct plan *plan, double *out, struct pith_error *err)
{
    struct bias_home home;

    *out = 0;
    for (size_t i = 0; i < plan->layer_count; i++) {
        struct pith_graph *graph;
        struct pith_graph_size size;

        if (!is_target(plan, &plan->layers[i], &home))
            continue;
        int rc = cut(plan->graph, pith_node_output(plan->graph, plan->layers[i].node, 0), &graph, err);

        if (rc < 0)
            return rc;
        pith_graph_measure(graph, &size);
        *out += (double) size.macs;
        pith_graph_free(graph);
    }
    return 0;
}

static int correct_one(struct correction *correction, struct pith_graph *graph, size_t index,
                       uint64_t samples, struct pith_error *err)
{
    struct target *target = &correction->targets[index];
    struct layer *layer = &correction->plan->layers[target->layer];
    struct pith_graph *shown = NULL;
    double *mean = calloc(target->channels, sizeof *mean);
    int rc = mean ? cut(graph, target->value, &shown, err) : -ENOMEM;

    correction->only = index;
    if (rc == 0)
        rc = correction->host->observe(correction->host->context, shown, 0, samples, &target->value,
                                       1, see, correction, err);
    if (rc == 0 && take_means(target, mean)) {
        for (size_t c = 0; c < target->channels; c++)
            layer->bias_shift[c] = (float) (target->real[c] - mean[c]);
        rc = write_layer_bias(correction->plan, graph, layer, err);
    }
    pith_graph_free(shown);
    free(mean);
    return rc;
}

static int correct_all(struct correction *correction, uint64_t samples, struct pith_error *err)
{
    struct pith_graph *graph = NULL;
    uint32_t *values = calloc(correction->count + 1, sizeof *values);
    int rc = values ? 0 : -ENOMEM;

    for (size_t i = 0; rc == 0 && i < correction->count; i++)
        values[i] = correction->targets[i].value;
    correction->only = SIZE_MAX;
    if (rc == 0)
        rc = correction->host->observe(correction->host->context, correction->plan->graph, 0,
                                       samples, values, correction->count, see, correction, err);
    free(values);
    if (rc == 0)
        rc = write_graph(correction->plan, &graph, err);
    for (size_t i = 0; rc == 0 && i < correction->count; i++) {
        struct target *target = &correction->targets[i];

        if (take_means(target, target->real)) {
            rc = correct_one(correction, graph, i, samples, err);
        } else {
            free(correction->plan->layers[target->layer].bias_shift);
            correction->plan->layers[target->layer].bias_shift = NULL;
        }
    }
    pith_graph_free(graph);
    return rc;
}

int correct_biases(struct plan *plan, const struct pith_host *host, uint64_t count, bool again,
                   bool *out_done, struct pith_error *err)
{
    struct correction correction = {.plan = plan, .host = host};
    uint64_t samples = count < SAMPLES_MOST ? count : SAMPLES_MOST;
    double work;
    int rc = count_work(plan, &work, err);

    if (rc < 0)
        return rc;
    double fit = work > 0 ? fmax(WORK_MACS / work, SAMPLES_LEAST) : SAMPLES_MOST;

    samples = (double) samples > fit ? (uint64_t) fit : samples;
    if (out_done)
        *out_done = !again || work * (double) samples <= WORK_AGAIN;
    if (again && work * (double) samples > WORK_AGAIN)
        return 0;
    correction.targets = calloc(plan->layer_count + 1, sizeof *correction.targets);
    if (!correction.targets)
        return -ENOMEM;
    for (size_t i = 0; rc == 0 && i < plan->layer_count; i++)
        rc = add_target(&correction, i);
    if (rc == 0 && correction.count > 0)
        rc = correct_all(&correction, samples, err);
    for (size_t i = 0; i < correction.count; i++) {
        free(correction.targets[i].real);
        free(correction.targets[i].sum);
    }
    free(correction.targets);
    return rc;
}
