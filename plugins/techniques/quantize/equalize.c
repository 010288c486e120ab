/* Equalization works on copies of the weights that it changes, and puts them into the graph at the
 * end: an error leaves the graph as it was. */
#include "plugins/techniques/quantize/equalize.h"

#include "plugins/techniques/quantize/reach.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SWEEPS      10
#define SETTLED     1e-3 /* greatest relative change of a sweep that ends it */
#define SCALE_LIMIT 1e3  /* of a channel in all: beyond it, a channel is as good as dead */

struct work { /* one layer's constants, copied when they are first changed */
    struct linear linear;
    struct pith_tensor w, b; /* b: empty where there is no bias */
};

static int open_work(const struct pith_graph *graph, const struct layer *layer, struct work *work,
                     struct pith_error *err)
{
    struct bias_home home;
    int rc;

    if (work->w.data || !linear_of(graph, layer, &work->linear))
        return 0;
    rc = pith_tensor_copy(&work->w, pith_value_constant(graph, layer->weight), err);
    if (rc == 0 && layer_bias_home(graph, layer, &home) && home.node == layer->node && home.bias)
        rc = pith_tensor_copy(&work->b, home.bias, err);
    return rc;
}

static int put(struct pith_graph *graph, uint32_t node, size_t slot, struct pith_tensor *taken,
               struct pith_error *err)
{
    uint32_t value;
    int rc = pith_graph_add_value(graph, NULL, PITH_FLOAT32, &taken->shape, &value, err);

    if (rc == 0)
        rc = pith_value_take_constant(graph, value, taken);
    return rc == 0 ? pith_node_set_input(graph, node, slot, value) : rc;
}

/* ---- scales ---- */

struct span { /* weights of one channel */
    float *w;
    int64_t rows, row_stride; /* rows that have it, from w on */
    int64_t columns, column_stride;
};

static float extreme(const struct span *span)
{
    float most = 0;

    for (int64_t r = 0; r < span->rows; r++)
        for (int64_t c = 0; c < span->columns; c++)
            most = fmaxf(most, fabsf(span->w[r * span->row_stride + c * span->column_stride]));
    return most;
}

static void multiply(const struct span *span, float by)
{
    for (int64_t r = 0; r < span->rows; r++)
        for (int64_t c = 0; c < span->columns; c++)
            span->w[r * span->row_stride + c * span->column_stride] *= by;
}

/* What makes channel i. */
static struct span makers(const struct work *work, int64_t i)
{
    const struct linear *linear = &work->linear;

    return (struct span){.w = (float *) work->w.data + linear_index(linear, i, 0),
                         .rows = 1,
                         .columns = linear->columns,
                         .column_stride = linear->column_stride};
}

/* What sees channel i: `taps` columns of each row of its group. */
static struct span seers(const struct work *work, const struct chain *chain, int64_t i)
{
    const struct linear *linear = &work->linear;
    int64_t column = i * chain->taps;
    int64_t group = column / linear->columns;

    return (struct span){.w = (float *) work->w.data +
                              linear_index(linear, group * linear->rows, column % linear->columns),
                         .rows = linear->rows,
                         .row_stride = linear->row_stride,
                         .columns = chain->taps,
                         .column_stride = linear->column_stride};
}

struct extremes { /* of a pair's channels, and the greatest of each */
    double first, second, between;
};

static struct extremes find_extremes(const struct chain *chain, const struct work *works,
                                     const double *total, const double *reach)
{
    struct extremes most = {0};

    for (int64_t i = 0; i < chain->channels; i++) {
        struct span out = makers(&works[chain->first], i), in = seers(&works[chain->second], chain, i);

        most.first = fmax(most.first, (double) extreme(&out));
        most.second = fmax(most.second, (double) extreme(&in));
        most.between = fmax(most.between, reach[i] / total[i]);
    }
    return most;
}

/* From a channel of the first to the second, and the same in the bias. */
static void move_factor(const struct chain *chain, struct work *works, int64_t i, double factor)
{
    struct work *first = &works[chain->first];
    struct span out = makers(first, i), in = seers(&works[chain->second], chain, i);

    multiply(&out, (float) (1 / factor));
    multiply(&in, (float) factor);
    if (first->b.data)
        ((float *) first->b.data)[i] /= (float) factor;
}

/* reach: of what flows between, before anything was changed. Returns the greatest relative change. */
static double equalize_pair(const struct chain *chain, struct work *works, double *total,
                            const double *reach)
{
    struct work *first = &works[chain->first], *second = &works[chain->second];
    struct extremes most = find_extremes(chain, works, total, reach);
    double change = 0;

    if (!(most.first > 0) || !(most.second > 0))
        return 0;
    for (int64_t i = 0; i < chain->channels; i++) {
        struct span out = makers(first, i), in = seers(second, chain, i);
        double p = (double) extreme(&out) / most.first, q = (double) extreme(&in) / most.second;

        if (most.between > 0)
            p = fmax(p, reach[i] / total[i] / most.between);
        if (!(p > 0) || !(q > 0)) /* a dead channel has no scale to share */
            continue;
        double limited =
            fmin(fmax(total[i] * sqrt(p / q), 1 / SCALE_LIMIT), SCALE_LIMIT) / total[i];

        total[i] *= limited;
        move_factor(chain, works, i, limited);
        change = fmax(change, fabs(limited - 1));
    }
    return change;
}

static void share_reach(const struct chain *chain, struct work *works, const double *reach)
{
    double most = 0;

    for (int64_t i = 0; i < chain->channels; i++)
        most = fmax(most, reach[i]);
    for (int64_t i = 0; i < chain->channels; i++)
        if (reach[i] > 0) /* else it is dead, or was not seen */
            move_factor(chain, works, i, fmax(sqrt(reach[i] / most), 1 / SCALE_LIMIT));
}

static void sweep_all(const struct chain *chains, size_t count, struct work *works, double **totals,
                      const struct reach *reach)
{
    for (int sweep = 0; sweep < SWEEPS; sweep++) {
        double most = 0;

        for (size_t i = 0; i < count; i++)
            most = fmax(most, equalize_pair(&chains[i], works, totals[i], reach[i].most));
        if (most < SETTLED)
            break;
    }
}

/* ---- the graph ---- */

static int clip_to_relu(struct pith_graph *graph, uint32_t node, struct pith_error *err)
{
    uint32_t x = pith_node_input(graph, node, 0), y = pith_node_output(graph, node, 0), relu;
    size_t bytes = strlen(pith_node_name(graph, node)) + 1;
    char *name = malloc(bytes);

    if (!name)
        return -ENOMEM;
    memcpy(name, pith_node_name(graph, node), bytes);
    pith_graph_remove_node(graph, node);
    int rc = pith_graph_add_node(graph, "", "Relu", name, &x, 1, &y, 1, &relu, err);

    free(name);
    return rc;
}

static int write_back(struct pith_graph *graph, const struct layer *layers, size_t layer_count,
                      struct work *works, struct pith_error *err)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < layer_count; i++) {
        if (works[i].w.data)
            rc = put(graph, layers[i].node, layers[i].weight_input, &works[i].w, err);
        if (rc == 0 && works[i].b.data)
            rc = put(graph, layers[i].node, 2, &works[i].b, err);
    }
    return rc;
}

static int equalize_chains(struct pith_graph *graph, const struct layer *layers, size_t layer_count,
                           const struct chain *chains, size_t count, bool per_channel,
                           struct work *works, double **totals, const struct reach *reach,
                           struct pith_error *err)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < count; i++) {
        totals[i] = malloc((size_t) chains[i].channels * sizeof *totals[i] + 1);
        if (!totals[i])
            return -ENOMEM;
        for (int64_t c = 0; c < chains[i].channels; c++)
            totals[i][c] = 1;
        rc = open_work(graph, &layers[chains[i].first], &works[chains[i].first], err);
        if (rc == 0)
            rc = open_work(graph, &layers[chains[i].second], &works[chains[i].second], err);
    }
    if (rc < 0)
        return rc;
    if (per_channel)
        for (size_t i = 0; i < count; i++)
            share_reach(&chains[i], works, reach[i].most);
    else
        sweep_all(chains, count, works, totals, reach);
    for (size_t i = 0; rc == 0 && i < count; i++)
        if (chains[i].clip != PITH_NO_NODE)
            rc = clip_to_relu(graph, chains[i].clip, err);
    if (rc == 0)
        rc = write_back(graph, layers, layer_count, works, err);
    return rc;
}

int equalize_layers(struct pith_graph *graph, const struct layer *layers, size_t layer_count,
                    bool per_channel, bool clips, const struct pith_host *host, uint64_t samples,
                    struct equalized *out, struct pith_error *err)
{
    struct work *works = calloc(layer_count + 1, sizeof *works);
    double **totals = calloc(layer_count + 1, sizeof *totals);
    struct chain *chains = NULL;
    struct reach *reach = NULL;
    size_t count = 0;
    int rc =
        works && totals ? chains_find(graph, layers, layer_count, clips, &chains, &count) : -ENOMEM;

    if (rc == 0)
        rc = reach_observe(graph, layers, chains, count, host, samples, &reach, err);
    if (rc == 0 && count > 0)
        rc = equalize_chains(graph, layers, layer_count, chains, count, per_channel, works, totals,
                             reach, err);
    if (rc == 0 && count > 0)
        rc = pith_graph_prune_dead(graph);
    if (rc == 0 && count > 0)
        rc = pith_graph_validate(graph, err);
    out->pairs = count;
    out->clips = 0;
    for (size_t i = 0; i < count; i++)
        out->clips += chains[i].clip != PITH_NO_NODE;
    for (size_t i = 0; i < layer_count && works && totals; i++) {
        pith_tensor_free(&works[i].w);
        pith_tensor_free(&works[i].b);
        free(totals[i]);
    }
    free(works);
    free(totals);
    reach_free(reach, count);
    free(chains);
    return rc;
}
