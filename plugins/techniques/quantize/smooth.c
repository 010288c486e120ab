/* SmoothQuant on graphs as exporters write them: one operator for the normalization, or its parts.
 */
#include "plugins/techniques/quantize/smooth.h"

#include "plugins/techniques/quantize/linear.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SCALE_LIMIT 1e3 /* of a channel, either way */

struct place { /* of a constant that ends a normalization */
    uint32_t node;
    size_t slot;
};

struct norm {
    uint32_t value; /* what the layers take */
    int64_t channels;
    struct place places[2]; /* gamma, beta */
    size_t place_count;
    float *greatest; /* own: max|x| a channel */
};

/* A constant of one entry a channel at this slot, that nothing else uses. */
static bool is_affine(const struct pith_graph *graph, uint32_t node, size_t slot, int64_t channels)
{
    uint32_t value = pith_node_input(graph, node, slot);
    const struct pith_tensor *constant = float_constant(graph, value);

    return constant && constant->shape.rank == 1 && constant->shape.dim[0] == channels &&
           pith_value_use_count(graph, value) == 1;
}

static void add_place(struct norm *norm, uint32_t node, size_t slot)
{
    norm->places[norm->place_count++] = (struct place){node, slot};
}

/* Which slot of a Mul or Add holds the constant; 2: none. */
static size_t affine_slot(const struct pith_graph *graph, uint32_t node, int64_t channels)
{
    for (size_t slot = 0; slot < 2; slot++)
        if (is_affine(graph, node, slot, channels))
            return slot;
    return 2;
}

/* Add(Mul(x, gamma), beta), or Mul(x, gamma) alone. */
static bool find_parts(const struct pith_graph *graph, uint32_t node, struct norm *norm)
{
    if (node_is(graph, node, "Add")) {
        size_t slot = affine_slot(graph, node, norm->channels);
        uint32_t x = slot < 2 ? pith_node_input(graph, node, 1 - slot) : PITH_NO_VALUE;

        if (x == PITH_NO_VALUE || pith_value_use_count(graph, x) != 1 ||
            pith_value_is_output(graph, x))
            return false;
        add_place(norm, node, slot);
        node = pith_value_producer(graph, x);
    }
    if (node == PITH_NO_NODE || !node_is(graph, node, "Mul"))
        return false;
    size_t slot = affine_slot(graph, node, norm->channels);

    if (slot == 2)
        return false;
    add_place(norm, node, slot);
    return true;
}

static bool find_affine(const struct pith_graph *graph, struct norm *norm)
{
    uint32_t node = pith_value_producer(graph, norm->value);

    if (node == PITH_NO_NODE)
        return false;
    if (!node_is(graph, node, "LayerNormalization"))
        return find_parts(graph, node, norm);
    if (!is_affine(graph, node, 1, norm->channels))
        return false;
    add_place(norm, node, 1);
    if (pith_node_input(graph, node, 2) == PITH_NO_VALUE)
        return true;
    add_place(norm, node, 2);
    return is_affine(graph, node, 2, norm->channels);
}

/* Whether the layer multiplies what the value holds, and may be changed. */
static bool is_behind(const struct pith_graph *graph, const struct layer *layer, uint32_t value,
                      struct linear *linear)
{
    return pith_node_input(graph, layer->node, 0) == value && form_is_static(layer->form) &&
           linear_of(graph, layer, linear) && linear->spatial == 0 &&
           pith_value_use_count(graph, layer->weight) == 1;
}

static bool find_norm(const struct pith_graph *graph, const struct layer *layers, size_t count,
                      size_t index, struct norm *out)
{
    uint32_t value = pith_node_input(graph, layers[index].node, 0);
    struct linear linear;
    size_t behind = 0;

    if (value == PITH_NO_VALUE || !is_behind(graph, &layers[index], value, &linear) ||
        pith_value_is_output(graph, value))
        return false;
    *out = (struct norm){.value = value, .channels = linear.columns};
    for (size_t i = 0; i < count; i++)
        if (is_behind(graph, &layers[i], value, &linear)) {
            if (i < index)
                return false; /* found with that layer */
            behind++;
        }
    return behind == pith_value_use_count(graph, value) && find_affine(graph, out);
}

static int look(void *user, size_t index, uint64_t sample, const struct pith_tensor *tensor)
{
    struct norm *norm = &((struct norm *) user)[index];
    int64_t all = pith_shape_elements(&tensor->shape);
    const float *x = tensor->data;

    (void) sample;
    if (tensor->dtype != PITH_FLOAT32 || all % norm->channels)
        return 0;
    for (int64_t at = 0; at < all; at += norm->channels)
        for (int64_t c = 0; c < norm->channels; c++) {
            float size = fabsf(x[at + c]);

            norm->greatest[c] = size > norm->greatest[c] ? size : norm->greatest[c];
        }
    return 0;
}

/* A copy of the constant at this slot takes its place. */
static int replace(struct pith_graph *graph, uint32_t node, size_t slot, struct pith_tensor *taken,
                   struct pith_error *err)
{
    uint32_t value;
    int rc = pith_graph_add_value(graph, NULL, PITH_FLOAT32, &taken->shape, &value, err);

    if (rc == 0)
        rc = pith_value_take_constant(graph, value, taken);
    if (rc == 0)
        rc = pith_node_set_input(graph, node, slot, value);
    pith_tensor_free(taken);
    return rc;
}

static int scale_affine(struct pith_graph *graph, const struct norm *norm, const float *s,
                        struct pith_error *err)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < norm->place_count; i++) {
        const struct place *place = &norm->places[i];
        struct pith_tensor copy = {0};

        rc = pith_tensor_copy(
            &copy, pith_value_constant(graph, pith_node_input(graph, place->node, place->slot)),
            err);
        for (int64_t c = 0; rc == 0 && c < norm->channels; c++)
            ((float *) copy.data)[c] /= s[c];
        if (rc == 0)
            rc = replace(graph, place->node, place->slot, &copy, err);
    }
    return rc;
}

static int scale_weights(struct pith_graph *graph, const struct layer *layer,
                         const struct linear *linear, const float *s, struct pith_error *err)
{
    struct pith_tensor copy = {0};
    int rc = pith_tensor_copy(&copy, pith_value_constant(graph, layer->weight), err);

    for (int64_t r = 0; rc == 0 && r < linear->rows; r++)
        for (int64_t c = 0; c < linear->columns; c++)
            ((float *) copy.data)[linear_index(linear, r, c)] *= s[c];
    return rc == 0 ? replace(graph, layer->node, layer->weight_input, &copy, err) : rc;
}

static int smooth_one(struct pith_graph *graph, const struct layer *layers, size_t layer_count,
                      const struct norm *norm, double alpha, struct pith_error *err)
{
    float *s = calloc((size_t) norm->channels + 1, sizeof *s);
    struct linear linear;
    int rc = s ? 0 : -ENOMEM;

    for (size_t i = 0; rc == 0 && i < layer_count; i++) {
        if (!is_behind(graph, &layers[i], norm->value, &linear))
            continue;
        const struct pith_tensor *w = pith_value_constant(graph, layers[i].weight);

        for (int64_t r = 0; r < linear.rows; r++)
            for (int64_t c = 0; c < linear.columns; c++)
                s[c] = fmaxf(s[c], (float) fabs(pith_tensor_get(w, linear_index(&linear, r, c))));
    }
    for (int64_t c = 0; rc == 0 && c < norm->channels; c++) {
        double x = (double) norm->greatest[c], w = (double) s[c];
        double factor = x > 0 && w > 0 ? pow(x, alpha) / pow(w, 1 - alpha) : 1;

        s[c] = (float) fmin(fmax(factor, 1 / SCALE_LIMIT), SCALE_LIMIT);
    }
    /* Weights first: they are found by what they take, which stays. */
    for (size_t i = 0; rc == 0 && i < layer_count; i++)
        if (is_behind(graph, &layers[i], norm->value, &linear))
            rc = scale_weights(graph, &layers[i], &linear, s, err);
    if (rc == 0)
        rc = scale_affine(graph, norm, s, err);
    free(s);
    return rc;
}

int smooth_layers(struct pith_graph *graph, const struct layer *layers, size_t layer_count,
                  const struct pith_host *host, uint64_t count, double alpha, size_t *out_count,
                  struct pith_error *err)
{
    struct norm *norms = calloc(layer_count + 1, sizeof *norms);
    uint32_t *values = calloc(layer_count + 1, sizeof *values);
    size_t found = 0;
    int rc = norms && values ? 0 : -ENOMEM;

    for (size_t i = 0; rc == 0 && i < layer_count; i++) {
        if (!find_norm(graph, layers, layer_count, i, &norms[found]))
            continue;
        norms[found].greatest = calloc((size_t) norms[found].channels + 1, sizeof(float));
        rc = norms[found].greatest ? 0 : -ENOMEM;
        values[found] = norms[found].value;
        found++;
    }
    if (rc == 0 && found > 0)
        rc = host->observe(host->context, graph, 0, count, values, found, look, norms, err);
    for (size_t i = 0; rc == 0 && i < found; i++)
        rc = smooth_one(graph, layers, layer_count, &norms[i], alpha, err);
    if (rc == 0 && found > 0)
        rc = pith_graph_prune_dead(graph);
    if (rc == 0 && found > 0)
        rc = pith_graph_validate(graph, err);
    for (size_t i = 0; i < found; i++)
        free(norms[i].greatest);
    free(norms);
    free(values);
    *out_count = found;
    return rc;
}
