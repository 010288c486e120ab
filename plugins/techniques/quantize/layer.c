/* Layers, from the axis table. The classic mistake is to rely on the default axis of
 * DequantizeLinear; the table says it for each operator and slot. */
#include "plugins/techniques/quantize/layer.h"

#include "plugins/techniques/quantize/restore.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_WEIGHTS 256 /* below it, scales and nodes take what the weights give back */

bool node_is(const struct pith_graph *graph, uint32_t node, const char *op)
{
    return !strcmp(pith_node_op(graph, node), op) && !pith_node_domain(graph, node)[0];
}

bool node_is_one_of(const struct pith_graph *graph, uint32_t node, const char *const *ops)
{
    for (; *ops; ops++)
        if (node_is(graph, node, *ops))
            return true;
    return false;
}

const struct pith_tensor *float_constant(const struct pith_graph *graph, uint32_t value)
{
    const struct pith_tensor *constant =
        value == PITH_NO_VALUE ? NULL : pith_value_constant(graph, value);

    if (!constant || constant->dtype != PITH_FLOAT32 || pith_value_quantization(graph, value))
        return NULL;
    return constant;
}

const char *layer_name(const struct pith_graph *graph, const struct layer *layer)
{
    const char *name = pith_node_name(graph, layer->node);
    uint32_t output = pith_node_output(graph, layer->node, 0);

    return name[0] || output == PITH_NO_VALUE ? name : pith_value_name(graph, output);
}

/* The axes of a weight at this slot; false where the slot holds no weights. */
static bool weight_axes(const struct pith_graph *graph, uint32_t node, size_t slot, uint32_t rank,
                        int32_t *channel, int32_t *sum)
{
    static const char *const recurrent[] = {"LSTM", "GRU", "RNN", NULL};
    int32_t last = (int32_t) rank - 1;

    *channel = *sum = -1;
    if (slot == 1 && node_is(graph, node, "Conv"))
        *channel = 0, *sum = 1;
    else if (slot == 1 && node_is(graph, node, "ConvTranspose"))
        *channel = 1, *sum = 0;
    else if (slot == 1 && node_is(graph, node, "Gemm"))
        *sum = pith_node_int(graph, node, "transB", 0) ? 1 : 0, *channel = 1 - *sum;
    else if (slot == 1 && node_is(graph, node, "MatMul"))
        *channel = last, *sum = last - 1;
    else if (slot == 0 && node_is(graph, node, "MatMul"))
        *channel = last - 1, *sum = last;
    else if (slot == 0 && node_is(graph, node, "Gather"))
        *channel = 0, *sum = last;
    else if ((slot == 1 || slot == 2) && node_is_one_of(graph, node, recurrent))
        *channel = 1, *sum = last;
    return *channel >= 0;
}

static bool runs_static(const struct pith_graph *graph, uint32_t node, size_t slot)
{
    static const char *const ops[] = {"Conv", "ConvTranspose", "MatMul", NULL};

    if (slot != 1)
        return false;
    if (node_is(graph, node, "Gemm"))
        return !pith_node_int(graph, node, "transA", 0) &&
               pith_node_float(graph, node, "alpha", 1) == 1.0f;
    return node_is_one_of(graph, node, ops);
}

void layer_set_form(struct layer *layer, enum form form)
{
    const bool larger = layer->came_bits > 0 && form_weight_bits(form) > layer->came_bits;

    layer->as_it_came = larger && layer->came != PITH_NO_VALUE;
    if (layer->as_it_came)
        form = form_with(layer->came_bits, 0, form);
    else if (larger)
        form = form_with(layer->came_bits, form_activation_bits(form), form);
    layer->form = form;
}

enum form layer_form(const struct layer *layer)
{
    return layer->as_it_came ? FORM_FLOAT : layer->form;
}

static int choose_form(struct layer *layer, const struct pith_graph *graph,
                       const struct layer_options *options)
{
    struct weight_facts facts;
    int rc = weights_look(pith_value_constant(graph, layer->weight),
                          options->per_channel ? layer->channel_axis : -1, &facts);

    if (rc < 0)
        return rc;
    layer->channel_ratio = facts.channel_ratio;
    layer->form = rules_form(&options->rules, layer_name(graph, layer), &layer->why);
    if (layer->form == FORM_FLOAT)
        return 0;
    if (!facts.finite)
        layer->form = FORM_FLOAT, layer->why = "a weight is infinite or not a number";
    else if (facts.elements == 0)
        layer->form = FORM_FLOAT, layer->why = "it has no weights";
    else if (form_is_static(layer->form) && layer->can_be_static)
        layer->why = NULL;
    else if (facts.elements < LEAST_WEIGHTS)
        layer->form = FORM_FLOAT, layer->why = "so few weights that nothing is won";
    else if (form_is_static(layer->form))
        layer->form = form_without_activations(layer->form),
        layer->why = "no integer kernel exists for this operator";
    return 0;
}

static void find_origin(struct layer *layer, const struct restored *restored)
{
    layer->came = PITH_NO_VALUE;
    for (size_t i = 0; restored && i < restored->count; i++) {
        const struct restored_weight *weight = &restored->weights[i];

        if (weight->made == layer->weight)
            layer->came = weight->came;
        else if (weight->node != layer->node || layer->weight_input != 1)
            continue;
        layer->came_bits = pith_dtype_bits(pith_value_constant(restored->from, weight->came)->dtype);
    }
}

static int add_layer(const struct pith_graph *graph, uint32_t node, size_t slot,
                     const struct layer_options *options, struct layer *layers, size_t *count)
{
    uint32_t value = pith_node_input(graph, node, slot);
    const struct pith_tensor *w = float_constant(graph, value);
    int32_t channel, sum;

    if (!w || w->shape.rank < 2 || !weight_axes(graph, node, slot, w->shape.rank, &channel, &sum))
        return 0;
    struct layer *layer = &layers[(*count)++];

    *layer = (struct layer){
        .node = node,
        .weight = value,
        .weight_input = slot,
        .channel_axis = channel,
        .sum_axis = sum,
        .sum_length = w->shape.dim[sum],
        .can_be_static = runs_static(graph, node, slot),
        .output_error_ratio = -1,
    };
    find_origin(layer, options->restored);
    int rc = choose_form(layer, graph, options);

    layer_set_form(layer, layer->form);
    if (layer->as_it_came && !layer->why)
        layer->why = "the integers that it came with are smaller";
    return rc;
}

int layers_find(const struct pith_graph *graph, const struct layer_options *options,
                struct layer **out, size_t *out_count)
{
    size_t count = 0, found = 0;
    const uint32_t *order = pith_graph_order(graph, &count);
    /* No operator has more than two weights. */
    struct layer *layers = calloc(2 * count + 1, sizeof *layers);
    int rc = layers ? 0 : -ENOMEM;

    for (size_t i = 0; rc == 0 && i < count; i++)
        for (size_t slot = 0; rc == 0 && slot < 3; slot++)
            rc = add_layer(graph, order[i], slot, options, layers, &found);
    if (rc < 0) {
        free(layers);
        return rc;
    }
    *out = layers;
    *out_count = found;
    return 0;
}

void layer_forget_repairs(struct layer *layer)
{
    free(layer->levels);
    free(layer->scale);
    free(layer->bias_shift);
    layer->levels = NULL;
    layer->scale = layer->bias_shift = NULL;
    layer->repaired_bits = layer->shift_bits = 0;
    layer->rounding_gain = 0;
}

void layers_free(struct layer *layers, size_t count)
{
    for (size_t i = 0; i < count && layers; i++)
        layer_forget_repairs(&layers[i]);
    free(layers);
}

/* MatMul has no bias of its own; the Add behind it does as well. */
static bool added_bias(const struct pith_graph *graph, const struct layer *layer,
                       struct bias_home *out)
{
    uint32_t y = pith_node_output(graph, layer->node, 0);
    size_t uses;
    const uint32_t *users = pith_value_users(graph, y, &uses);

    if (uses != 1 || pith_value_is_output(graph, y) || !node_is(graph, users[0], "Add"))
        return false;
    out->node = users[0];
    out->slot = pith_node_input(graph, users[0], 0) == y ? 1 : 0;
    out->bias = float_constant(graph, pith_node_input(graph, users[0], out->slot));
    return out->bias && out->bias->shape.rank == 1 &&
           out->bias->shape.dim[0] == (int64_t) out->channels;
}

bool layer_bias_home(const struct pith_graph *graph, const struct layer *layer,
                     struct bias_home *out)
{
    const struct pith_tensor *w = pith_value_constant(graph, layer->weight);
    uint32_t value = pith_node_input(graph, layer->node, 2);
    size_t groups = (size_t) pith_node_int(graph, layer->node, "group", 1);

    if (layer->weight_input != 1)
        return false;
    *out = (struct bias_home){
        .node = layer->node, .slot = 2, .channels = (size_t) w->shape.dim[layer->channel_axis]};
    if (node_is(graph, layer->node, "MatMul"))
        return added_bias(graph, layer, out);
    if (node_is(graph, layer->node, "ConvTranspose"))
        out->channels *= groups;
    else if (node_is(graph, layer->node, "Gemm")
                 ? pith_node_float(graph, layer->node, "beta", 1) != 1.0f
                 : !node_is(graph, layer->node, "Conv"))
        return false;
    out->bias = float_constant(graph, value);
    if (value == PITH_NO_VALUE)
        return true;
    return out->bias && out->bias->shape.rank == 1 &&
           out->bias->shape.dim[0] == (int64_t) out->channels;
}

struct weight_grid layer_grid(const struct layer *layer, const struct layer_options *options)
{
    unsigned bits = form_weight_bits(layer->form);
    struct weight_grid grid = {.bits = bits,
                               .limit = bits == 4 ? 7 : options->weight_limit,
                               .axis = options->per_channel ? layer->channel_axis : -1};

    /* Where the axis is shorter, as in convolutions by groups, blocks would be single weights with a scale each. */
    if (bits == 4 && options->block_size > 0 && layer->sum_length >= options->block_size) {
        grid.axis = layer->sum_axis;
        grid.block_size = options->block_size;
    }
    return grid;
}
