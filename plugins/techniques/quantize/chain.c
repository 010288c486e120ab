/* From a layer's output forward, as long as one node alone uses it and lets factors through. */
#include "plugins/techniques/quantize/chain.h"

#include "plugins/techniques/quantize/function.h"

#include <errno.h>
#include <stdlib.h>

/* f(s x) = s f(x) for each channel and s > 0. Pools pad with what doesn't count or with 0. */
static const char *const homogeneous_ops[] = {
    "Relu",          "LeakyRelu", "PRelu",   "MaxPool", "AveragePool", "GlobalAveragePool",
    "GlobalMaxPool", "Identity",  "Dropout", NULL};
static const char *const flattening_ops[] = {"Flatten", "Reshape", "Squeeze", NULL};

/* A Clip whose low end is 0. */
static bool is_clip(const struct pith_graph *graph, uint32_t node)
{
    return node_is(graph, node, "Clip") && function_limits(graph, pith_node_output(graph, node, 0)).low == 0;
}

/* [n, c, ...] to [n, c * ...], so that a channel's values stay side by side. */
static bool flattens(const struct pith_graph *graph, uint32_t node)
{
    const struct pith_shape *x, *y;
    int64_t inner = 1;

    if (!node_is_one_of(graph, node, flattening_ops)) /* others may leave output 0 out */
        return false;
    x = pith_value_shape(graph, pith_node_input(graph, node, 0));
    y = pith_value_shape(graph, pith_node_output(graph, node, 0));
    if (!x || !y || x->rank < 2 || y->rank != 2 ||
        x->dim[0] != y->dim[0])
        return false;
    for (uint32_t i = 1; i < x->rank; i++) {
        if (x->dim[i] < 0)
            return false;
        inner *= x->dim[i];
    }
    return y->dim[1] == inner;
}

static bool only_use(const struct pith_graph *graph, uint32_t value, uint32_t *out_node)
{
    size_t uses;
    const uint32_t *users = pith_value_users(graph, value, &uses);

    if (uses != 1 || pith_value_is_output(graph, value) || pith_value_use_count(graph, value) != 1)
        return false;
    *out_node = users[0];
    return pith_node_input(graph, users[0], 0) == value;
}

static bool fits(const struct pith_graph *graph, const struct layer *second,
                 const struct linear *linear, struct chain *chain)
{
    int64_t inputs = linear->groups * linear->columns;

    if (linear->spatial > 0) {
        chain->taps = 1;
        for (size_t i = 0; i < linear->spatial; i++)
            chain->taps *= linear->kernel[i];
    } else {
        chain->taps = chain->channels > 0 ? inputs / chain->channels : 0;
    }
    return pith_value_use_count(graph, second->weight) == 1 &&
           chain->channels * chain->taps == inputs;
}

static bool can_be_first(const struct pith_graph *graph, const struct layer *layer,
                         struct bias_home *home)
{
    struct linear linear;

    return (node_is(graph, layer->node, "Conv") || node_is(graph, layer->node, "Gemm")) &&
           linear_of(graph, layer, &linear) && layer_bias_home(graph, layer, home) &&
           pith_value_use_count(graph, layer->weight) == 1 &&
           (!home->bias ||
            pith_value_use_count(graph, pith_node_input(graph, layer->node, 2)) == 1);
}

static bool find_second(const struct pith_graph *graph, const struct layer *layers, size_t count,
                        bool clips, struct chain *chain)
{
    uint32_t value = pith_node_output(graph, layers[chain->first].node, 0), node;
    size_t between = 0, relus = 0;

    while (only_use(graph, value, &node)) {
        for (size_t i = 0; i < count; i++) {
            struct linear linear;

            if (layers[i].node != node)
                continue;
            chain->second = i;
            chain->relu_alone = between == 1 && relus == 1;
            return linear_of(graph, &layers[i], &linear) && fits(graph, &layers[i], &linear, chain);
        }
        if (clips && chain->clip == PITH_NO_NODE && is_clip(graph, node))
            chain->clip = node;
        else if (!node_is_one_of(graph, node, homogeneous_ops) && !flattens(graph, node))
            return false;
        relus += node_is(graph, node, "Relu");
        between++;
        value = pith_node_output(graph, node, 0);
    }
    return false;
}

int chains_find(const struct pith_graph *graph, const struct layer *layers, size_t layer_count,
                bool clips, struct chain **out, size_t *out_count)
{
    struct chain *chains = calloc(layer_count + 1, sizeof *chains);
    size_t count = 0;

    if (!chains)
        return -ENOMEM;
    for (size_t i = 0; i < layer_count; i++) {
        struct bias_home home;

        if (!can_be_first(graph, &layers[i], &home))
            continue;
        chains[count] =
            (struct chain){.first = i, .clip = PITH_NO_NODE, .channels = (int64_t) home.channels};
        if (find_second(graph, layers, layer_count, clips, &chains[count]))
            count++;
    }
    *out = chains;
    *out_count = count;
    return 0;
}
