/* High-bias absorption: Relu(x + b) = Relu(x + b - c) + c as long as x + b stays above c, and what
 * follows takes the c into its own bias. Nagel et al. 2019, section 4.1.3, with the channels'
 * distribution seen on samples, so that it works on graphs whose normalizations are gone too. */
#include "plugins/techniques/quantize/equalize.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEVIATIONS 3 /* below the mean: 99.9 % of a bell lies above */

struct moments {          /* of one pair's first layer, by channel */
    double *sum, *square; /* own: one block */
    int64_t channels;
    uint64_t seen;
};

struct looking {
    struct moments *moments;
    size_t *chain_of; /* index of the chain that a shown value belongs to */
};

static int look(void *user, size_t index, uint64_t sample, const struct pith_tensor *tensor)
{
    struct looking *looking = user;
    struct moments *of = &looking->moments[looking->chain_of[index]];
    int64_t all = pith_shape_elements(&tensor->shape), inner = 1;
    const float *x = tensor->data;

    (void) sample;
    if (tensor->dtype != PITH_FLOAT32 || tensor->shape.rank < 2 ||
        tensor->shape.dim[1] != of->channels || all < of->channels)
        return 0;
    for (uint32_t i = 2; i < tensor->shape.rank; i++)
        inner *= tensor->shape.dim[i];
    for (int64_t at = 0; at < all; at++) {
        int64_t c = at / inner % of->channels;

        of->sum[c] += (double) x[at];
        of->square[c] += (double) x[at] * (double) x[at];
    }
    of->seen += (uint64_t) (all / of->channels);
    return 0;
}

static bool pads(const struct linear *linear)
{
    bool some = linear->same != 0;

    for (size_t i = 0; i < linear->spatial; i++)
        some |= linear->pad[i][0] > 0 || linear->pad[i][1] > 0;
    return some;
}

/* Whether all that the pair needs is there: a bias to take from, and a place to give it to. */
static bool can_absorb(const struct pith_graph *graph, const struct layer *layers,
                       const struct chain *chain)
{
    struct linear second;
    struct bias_home from, to;

    return chain->relu_alone && linear_of(graph, &layers[chain->second], &second) &&
           !pads(&second) && layer_bias_home(graph, &layers[chain->first], &from) && from.bias &&
           layer_bias_home(graph, &layers[chain->second], &to) &&
           to.node == layers[chain->second].node;
}

/* How much each channel gives; false where none does. */
static bool choose(const struct moments *of, double *given, size_t *absorbed)
{
    size_t some = 0;

    for (int64_t c = 0; c < of->channels; c++) {
        double mean = of->sum[c] / (double) of->seen;
        double variance = of->square[c] / (double) of->seen - mean * mean;
        double low = mean - DEVIATIONS * sqrt(fmax(variance, 0));

        given[c] = low > 0 && isfinite(low) ? low : 0;
        some += given[c] > 0;
    }
    *absorbed += some;
    return some > 0;
}

static int put_bias(struct pith_graph *graph, uint32_t node, struct pith_tensor *taken,
                    struct pith_error *err)
{
    uint32_t value;
    int rc = pith_graph_add_value(graph, NULL, PITH_FLOAT32, &taken->shape, &value, err);

    if (rc == 0)
        rc = pith_value_take_constant(graph, value, taken);
    return rc == 0 ? pith_node_set_input(graph, node, 2, value) : rc;
}

static int move_bias(struct pith_graph *graph, const struct layer *layers,
                     const struct chain *chain, const double *given, struct pith_error *err)
{
    const struct layer *first = &layers[chain->first], *second = &layers[chain->second];
    const struct pith_tensor *w = pith_value_constant(graph, second->weight);
    struct pith_tensor from = {0}, to = {0};
    struct bias_home homes[2];
    struct linear linear;
    int rc;

    if (!layer_bias_home(graph, first, &homes[0]) || !layer_bias_home(graph, second, &homes[1]) ||
        !linear_of(graph, second, &linear))
        return 0;
    struct pith_shape shape = pith_shape_of(1, (int64_t[]){(int64_t) homes[1].channels});

    rc = pith_tensor_copy(&from, homes[0].bias, err);
    if (rc == 0)
        rc = homes[1].bias ? pith_tensor_copy(&to, homes[1].bias, err)
                           : pith_tensor_alloc(&to, PITH_FLOAT32, &shape, err);
    for (int64_t c = 0; rc == 0 && c < chain->channels; c++)
        ((float *) from.data)[c] -= (float) given[c];
    for (int64_t r = 0; rc == 0 && r < shape.dim[0]; r++) {
        double sum = 0;

        for (int64_t k = 0; k < linear.columns; k++)
            sum += pith_tensor_get(w, linear_index(&linear, r, k)) *
                   given[(r / linear.rows * linear.columns + k) / chain->taps];
        ((float *) to.data)[r] += (float) sum;
    }
    if (rc == 0)
        rc = put_bias(graph, first->node, &from, err);
    if (rc == 0)
        rc = put_bias(graph, second->node, &to, err);
    pith_tensor_free(&from);
    pith_tensor_free(&to);
    return rc;
}

static int absorb_all(struct pith_graph *graph, const struct layer *layers,
                      const struct chain *chains, size_t count, const struct pith_host *host,
                      uint64_t samples, struct equalized *out, struct pith_error *err)
{
    struct moments *moments = calloc(count + 1, sizeof *moments);
    uint32_t *values = calloc(count + 1, sizeof *values);
    size_t *chain_of = calloc(count + 1, sizeof *chain_of), shown = 0;
    struct looking looking = {moments, chain_of};
    int rc = moments && values && chain_of ? 0 : -ENOMEM;

    for (size_t i = 0; rc == 0 && i < count; i++) {
        if (!can_absorb(graph, layers, &chains[i]))
            continue;
        moments[i] =
            (struct moments){.sum = calloc(3 * (size_t) chains[i].channels + 1, sizeof(double)),
                             .channels = chains[i].channels};
        if (!moments[i].sum)
            rc = -ENOMEM;
        else
            moments[i].square = moments[i].sum + chains[i].channels;
        chain_of[shown] = i;
        values[shown++] = pith_node_output(graph, layers[chains[i].first].node, 0);
    }
    if (rc == 0 && shown > 0)
        rc = host->observe(host->context, graph, 0, samples, values, shown, look, &looking, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        double *given = moments[i].sum ? moments[i].square + moments[i].channels : NULL;

        if (moments[i].seen > 0 && choose(&moments[i], given, &out->absorbed))
            rc = move_bias(graph, layers, &chains[i], given, err);
    }
    for (size_t i = 0; i < count && moments; i++)
        free(moments[i].sum);
    free(moments);
    free(values);
    free(chain_of);
    return rc;
}

int absorb_biases(struct pith_graph *graph, const struct layer *layers, size_t layer_count,
                  const struct pith_host *host, uint64_t count, struct equalized *out,
                  struct pith_error *err)
{
    struct chain *chains = NULL;
    size_t found = 0;
    int rc = chains_find(graph, layers, layer_count, false, &chains, &found);

    out->absorbed = 0;
    if (rc == 0 && found > 0 && count > 0)
        rc = absorb_all(graph, layers, chains, found, host, count, out, err);
    if (rc == 0 && out->absorbed > 0)
        rc = pith_graph_prune_dead(graph);
    if (rc == 0 && out->absorbed > 0)
        rc = pith_graph_validate(graph, err);
    free(chains);
    return rc;
}
