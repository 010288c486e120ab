/* W' = W * gamma / sqrt(variance + epsilon) an output channel, b' = beta + (b - mean) * gamma /
 * sqrt(variance + epsilon). A normalization whose input is used elsewhere, or whose parameters are
 * computed, stays as it is. */
#include "plugins/techniques/quantize/fold.h"

#include "plugins/techniques/quantize/layer.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fold {
    struct pith_graph *graph;
    uint32_t norm, into;
    const struct pith_tensor *w, *b;        /* b: NULL where there is no bias */
    const struct pith_tensor *parameter[4]; /* gamma, beta, mean, variance */
    int64_t channels;
    uint32_t axis; /* of the output channel in w */
};

/* Where the output channel lies; false where folding into this node would not be exact. */
static bool channel_axis(const struct pith_graph *graph, uint32_t node, uint32_t *out)
{
    if (node_is(graph, node, "Conv"))
        *out = 0;
    else if (node_is(graph, node, "ConvTranspose") && pith_node_int(graph, node, "group", 1) == 1)
        *out = 1;
    else if (node_is(graph, node, "Gemm") && pith_node_float(graph, node, "alpha", 1) == 1.0f &&
             pith_node_float(graph, node, "beta", 1) == 1.0f)
        *out = pith_node_int(graph, node, "transB", 0) ? 0 : 1;
    else
        return false;
    return true;
}

/* A node may have no bias, or one constant entry a channel. */
static bool bias_fits(const struct fold *fold)
{
    uint32_t value = pith_node_input(fold->graph, fold->into, 2);

    if (value == PITH_NO_VALUE)
        return true;
    return fold->b && fold->b->shape.rank == 1 && fold->b->shape.dim[0] == fold->channels;
}

static bool foldable(struct fold *fold)
{
    const struct pith_graph *graph = fold->graph;
    uint32_t x = pith_node_input(graph, fold->norm, 0);

    if (!node_is(graph, fold->norm, "BatchNormalization") ||
        pith_node_int(graph, fold->norm, "training_mode", 0))
        return false;
    if (x == PITH_NO_VALUE || pith_value_use_count(graph, x) != 1 ||
        pith_value_quantization(graph, x))
        return false;
    fold->into = pith_value_producer(graph, x);
    if (fold->into == PITH_NO_NODE || !channel_axis(graph, fold->into, &fold->axis))
        return false;
    fold->w = float_constant(graph, pith_node_input(graph, fold->into, 1));
    fold->b = float_constant(graph, pith_node_input(graph, fold->into, 2));
    if (!fold->w || fold->w->shape.rank < 2)
        return false;
    fold->channels = fold->w->shape.dim[fold->axis];
    for (size_t i = 0; i < 4; i++) {
        fold->parameter[i] = float_constant(graph, pith_node_input(graph, fold->norm, i + 1));
        if (!fold->parameter[i] || fold->parameter[i]->shape.rank != 1 ||
            fold->parameter[i]->shape.dim[0] != fold->channels)
            return false;
    }
    return bias_fits(fold);
}

static void scale_channels(const struct fold *fold, struct pith_tensor *w, struct pith_tensor *b)
{
    float epsilon = pith_node_float(fold->graph, fold->norm, "epsilon", 1e-5f);
    int64_t inner = 1, elements = pith_shape_elements(&w->shape);
    float *weights = w->data, *bias = b->data;

    for (uint32_t i = fold->axis + 1; i < w->shape.rank; i++)
        inner *= w->shape.dim[i];
    for (int64_t c = 0; c < fold->channels; c++) {
        double gamma = pith_tensor_get(fold->parameter[0], c),
               beta = pith_tensor_get(fold->parameter[1], c);
        double mean = pith_tensor_get(fold->parameter[2], c),
               variance = pith_tensor_get(fold->parameter[3], c);
        double factor = gamma / sqrt(variance + (double) epsilon);

        for (int64_t block = c * inner; block < elements; block += fold->channels * inner)
            for (int64_t i = block; i < block + inner; i++)
                weights[i] = (float) (weights[i] * factor);
        bias[c] = (float) (beta + (bias[c] - mean) * factor);
    }
}

/* The producer takes over the normalization's output: its uses and its name. */
static int take_over(const struct fold *fold)
{
    struct pith_graph *graph = fold->graph;
    uint32_t to = pith_node_output(graph, fold->into, 0),
             from = pith_node_output(graph, fold->norm, 0);
    size_t bytes = strlen(pith_value_name(graph, from)) + 1;
    char *name = malloc(bytes), aside[48];
    int rc = name ? 0 : -ENOMEM;

    if (rc == 0) {
        memcpy(name, pith_value_name(graph, from), bytes);
        pith_graph_remove_node(graph, fold->norm);
        rc = pith_graph_replace_value(graph, from, to);
    }
    for (unsigned i = 0; rc == 0; i++) {
        (void) snprintf(aside, sizeof aside, "pith_folded_%u_%u", (unsigned) from, i);
        rc = pith_value_set_name(graph, from, aside);
        if (rc != -EEXIST) {
            if (rc == 0)
                rc = pith_value_set_name(graph, to, name);
            break;
        }
        rc = 0;
    }
    free(name);
    return rc;
}

static int fold_one(const struct fold *fold, struct pith_error *err)
{
    struct pith_shape channels = pith_shape_of(1, &fold->channels);
    struct pith_tensor w = {0}, b = {0};
    uint32_t new_w, new_b;
    int rc = pith_tensor_copy(&w, fold->w, err);

    if (rc == 0)
        rc = fold->b ? pith_tensor_copy(&b, fold->b, err)
                     : pith_tensor_alloc(&b, PITH_FLOAT32, &channels, err);
    if (rc < 0)
        goto done;
    scale_channels(fold, &w, &b);
    rc = pith_graph_add_constant(fold->graph, NULL, &w, &new_w, err);
    if (rc == 0)
        rc = pith_graph_add_constant(fold->graph, NULL, &b, &new_b, err);
    if (rc == 0)
        rc = pith_node_set_input(fold->graph, fold->into, 1, new_w);
    if (rc == 0)
        rc = pith_node_set_input(fold->graph, fold->into, 2, new_b);
    if (rc == 0)
        rc = take_over(fold);
done:
    pith_tensor_free(&w);
    pith_tensor_free(&b);
    return rc;
}

int fold_batch_norms(struct pith_graph *graph, size_t *out_count, struct pith_error *err)
{
    uint32_t limit = pith_graph_node_limit(graph);

    *out_count = 0;
    for (uint32_t node = 0; node < limit; node++) {
        struct fold fold = {.graph = graph, .norm = node};

        if (!pith_node_exists(graph, node) || !foldable(&fold))
            continue;
        int rc = fold_one(&fold, err);

        if (rc < 0)
            return rc;
        (*out_count)++;
    }
    return 0;
}

/* ---- added biases ---- */

/* Whether c, added to what the node gives, adds one number a channel: [C,1,1], [1,C,1,1] or one for all. */
static bool adds_channels(const struct pith_tensor *c, uint32_t rank, int64_t channels)
{
    const int64_t elements = pith_shape_elements(&c->shape);

    if (elements == 1 && c->shape.rank <= rank)
        return true;
    if (c->shape.rank + 1 < rank || c->shape.rank > rank || elements != channels)
        return false;
    return c->shape.dim[c->shape.rank - (rank - 1)] == channels;
}

/* An Add behind a convolution as its bias, as exporters that know no other write it. */
static bool is_added_bias(struct fold *fold, const struct pith_tensor **out)
{
    const struct pith_graph *graph = fold->graph;

    if (!node_is(graph, fold->norm, "Add"))
        return false;
    for (size_t i = 0; i < 2; i++) {
        uint32_t x = pith_node_input(graph, fold->norm, i);
        const struct pith_tensor *w;

        *out = float_constant(graph, pith_node_input(graph, fold->norm, 1 - i));
        if (!*out || x == PITH_NO_VALUE || pith_value_use_count(graph, x) != 1 ||
            pith_value_is_output(graph, x) || pith_value_quantization(graph, x))
            continue;
        fold->into = pith_value_producer(graph, x);
        if (fold->into == PITH_NO_NODE ||
            !(node_is(graph, fold->into, "Conv") || node_is(graph, fold->into, "ConvTranspose")))
            continue;
        w = float_constant(graph, pith_node_input(graph, fold->into, 1));
        fold->b = float_constant(graph, pith_node_input(graph, fold->into, 2));
        if (!w || w->shape.rank < 3)
            continue;
        fold->channels = node_is(graph, fold->into, "Conv")
                             ? w->shape.dim[0]
                             : w->shape.dim[1] * pith_node_int(graph, fold->into, "group", 1);
        if (bias_fits(fold) && adds_channels(*out, w->shape.rank, fold->channels))
            return true;
    }
    return false;
}

static int fold_added(const struct fold *fold, const struct pith_tensor *added,
                      struct pith_error *err)
{
    struct pith_shape channels = pith_shape_of(1, &fold->channels);
    struct pith_tensor b = {0};
    uint32_t made;
    int rc = pith_tensor_alloc(&b, PITH_FLOAT32, &channels, err);

    for (int64_t i = 0; rc == 0 && i < fold->channels; i++)
        ((float *) b.data)[i] =
            (float) ((fold->b ? pith_tensor_get(fold->b, i) : 0) +
                     pith_tensor_get(added, pith_shape_elements(&added->shape) == 1 ? 0 : i));
    if (rc == 0)
        rc = pith_graph_add_constant(fold->graph, NULL, &b, &made, err);
    if (rc == 0)
        rc = pith_node_set_input(fold->graph, fold->into, 2, made);
    if (rc == 0)
        rc = take_over(fold);
    pith_tensor_free(&b);
    return rc;
}

int fold_added_biases(struct pith_graph *graph, size_t *count, struct pith_error *err)
{
    uint32_t limit = pith_graph_node_limit(graph);

    for (uint32_t node = 0; node < limit; node++) {
        struct fold fold = {.graph = graph, .norm = node};
        const struct pith_tensor *added;

        if (!pith_node_exists(graph, node) || !is_added_bias(&fold, &added))
            continue;
        int rc = fold_added(&fold, added, err);

        if (rc < 0)
            return rc;
        (*count)++;
    }
    return 0;
}
