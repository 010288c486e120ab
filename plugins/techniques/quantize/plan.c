/* The plan: layers from the axis table, activations by walking back from the layers' inputs. An
 * activation is quantized where an integer layer takes it, so nothing is rounded between a
 * convolution and the activation behind it. */
#include "plugins/techniques/quantize/plan.h"

#include "plugins/techniques/quantize/weights.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_WEIGHTS 256 /* below it, scales and nodes take what the weights give back */

const char *const layer_form_names[] = {"int8", "weights-int8", "weights-float16", "float32"};

static bool is_op(const struct pith_graph *graph, uint32_t node, const char *op)
{
    return !strcmp(pith_node_op(graph, node), op) && !pith_node_domain(graph, node)[0];
}

static bool is_one_of(const struct pith_graph *graph, uint32_t node, const char *const *ops)
{
    for (; *ops; ops++)
        if (is_op(graph, node, *ops))
            return true;
    return false;
}

/* Operators that only move or pick elements of input 0: their output lies on the same grid. */
static const char *const moving_ops[] = {
    "MaxPool", "Reshape", "Flatten",      "Transpose", "Squeeze",      "Unsqueeze",     "Identity",
    "Slice",   "Dropout", "DepthToSpace", "Split",     "SpaceToDepth", "GlobalMaxPool", NULL};
/* Operators that integer kernels run from one grid to another. */
static const char *const mixing_ops[] = {"Add", "Mul", "AveragePool", "GlobalAveragePool", NULL};

/* ---- layers ---- */

/* The output channel's axis of a weight at this slot, or -2 where the slot holds no weights. The
 * classic mistake is to rely on the default axis of DequantizeLinear. */
static int32_t weight_axis(const struct pith_graph *graph, uint32_t node, size_t slot,
                           uint32_t rank)
{
    static const char *const recurrent[] = {"LSTM", "GRU", "RNN", NULL};

    if (slot == 1 && is_op(graph, node, "Conv"))
        return 0;
    if (slot == 1 && is_op(graph, node, "ConvTranspose"))
        return 1;
    if (slot == 1 && is_op(graph, node, "Gemm"))
        return pith_node_int(graph, node, "transB", 0) ? 0 : 1;
    if (slot == 1 && is_op(graph, node, "MatMul"))
        return (int32_t) rank - 1;
    if (slot == 0 && is_op(graph, node, "MatMul"))
        return (int32_t) rank - 2;
    if (slot == 0 && is_op(graph, node, "Gather"))
        return 0;
    if ((slot == 1 || slot == 2) && is_one_of(graph, node, recurrent))
        return 1;
    return -2;
}

static bool runs_static(const struct pith_graph *graph, uint32_t node, size_t slot)
{
    static const char *const ops[] = {"Conv", "ConvTranspose", "MatMul", NULL};

    if (slot != 1)
        return false;
    if (is_op(graph, node, "Gemm"))
        return !pith_node_int(graph, node, "transA", 0) &&
               pith_node_float(graph, node, "alpha", 1) == 1.0f;
    return is_one_of(graph, node, ops);
}

static bool named(const struct plan_options *options, const char *name)
{
    for (size_t i = 0; i < options->keep_count; i++)
        if (!strcmp(options->keep[i], name))
            return true;
    return false;
}

static void choose_form(struct layer *layer, const struct plan *plan,
                        const struct plan_options *options)
{
    const struct pith_graph *graph = plan->graph;
    struct weight_facts facts;

    weights_look(pith_value_constant(graph, layer->weight), layer->axis, &facts);
    layer->channel_ratio = facts.channel_ratio;
    layer->form = options->weights;
    if (named(options, pith_node_name(graph, layer->node)))
        layer->form = LAYER_FLOAT, layer->why = "kept float by the option keep";
    else if (!facts.finite)
        layer->form = LAYER_FLOAT, layer->why = "a weight is infinite or not a number";
    else if (facts.elements == 0)
        layer->form = LAYER_FLOAT, layer->why = "it has no weights";
    else if (options->static_activations && options->weights == LAYER_WEIGHTS &&
             layer->can_be_static)
        layer->form = LAYER_STATIC;
    else if (facts.elements < LEAST_WEIGHTS)
        layer->form = LAYER_FLOAT, layer->why = "so few weights that nothing is won";
    else if (options->static_activations)
        layer->why = "no integer kernel exists for this operator";
}

static void add_layer(struct plan *plan, uint32_t node, size_t slot,
                      const struct plan_options *options)
{
    const struct pith_graph *graph = plan->graph;
    uint32_t value = pith_node_input(graph, node, slot);
    const struct pith_tensor *w = value == PITH_NO_VALUE ? NULL : pith_value_constant(graph, value);

    if (!w || w->dtype != PITH_FLOAT32 || w->shape.rank < 2 ||
        pith_value_quantization(graph, value))
        return;
    int32_t axis = weight_axis(graph, node, slot, w->shape.rank);

    if (axis == -2)
        return;
    struct layer *layer = &plan->layers[plan->layer_count++];

    *layer = (struct layer){
        .node = node,
        .weight = value,
        .weight_input = slot,
        .axis = options->per_channel ? axis : -1,
        .can_be_static = runs_static(graph, node, slot),
        .output_error_ratio = -1,
    };
    choose_form(layer, plan, options);
}

static int find_layers(struct plan *plan, const struct plan_options *options)
{
    size_t count = 0;
    const uint32_t *order = pith_graph_order(plan->graph, &count);

    plan->layers =
        calloc(2 * count + 1, sizeof *plan->layers); /* no operator has more than two weights */
    if (!plan->layers)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        for (size_t slot = 0; slot < 3; slot++)
            add_layer(plan, order[i], slot, options);
    return 0;
}

/* ---- activations ---- */

static uint32_t root(uint32_t *group, uint32_t value)
{
    while (group[value] != value) {
        group[value] = group[group[value]];
        value = group[value];
    }
    return value;
}

/* Whether an activation may be rounded at all. */
static bool can_quantize(const struct pith_graph *graph, uint32_t value)
{
    return value != PITH_NO_VALUE && !pith_value_constant(graph, value) &&
           pith_value_dtype(graph, value) == PITH_FLOAT32 && !pith_value_is_output(graph, value) &&
           !pith_value_quantization(graph, value);
}

struct walk {
    struct plan *plan;
    uint32_t *share; /* union of values on one grid; NULL where groups are made already */
    uint32_t *stack; /* values to walk back from: each value is pushed once */
    size_t depth;
};

static bool push(struct walk *walk, uint32_t value)
{
    if (!can_quantize(walk->plan->graph, value))
        return false;
    if (!walk->plan->quantized[value]) {
        walk->plan->quantized[value] = true;
        walk->stack[walk->depth++] = value;
    }
    return true;
}

static void push_sharing(struct walk *walk, uint32_t input, uint32_t output)
{
    if (push(walk, input) && walk->share) {
        uint32_t a = root(walk->share, input), b = root(walk->share, output);

        walk->share[a > b ? a : b] = a > b ? b : a;
    }
}

/* From a quantized value to the inputs of what made it. */
static void walk_back(struct walk *walk, uint32_t value)
{
    const struct pith_graph *graph = walk->plan->graph;
    uint32_t node = pith_value_producer(graph, value);

    if (node == PITH_NO_NODE)
        return;
    if (is_one_of(graph, node, moving_ops)) {
        push_sharing(walk, pith_node_input(graph, node, 0), value);
    } else if (is_op(graph, node, "Concat")) {
        for (size_t i = 0; i < pith_node_input_count(graph, node); i++)
            push_sharing(walk, pith_node_input(graph, node, i), value);
    } else if (is_one_of(graph, node, mixing_ops)) {
        uint32_t a = pith_node_input(graph, node, 0), b = pith_node_input(graph, node, 1);

        /* Both or none: an Add of integers and floats runs as float anyway. */
        if (pith_node_input_count(graph, node) == 1 ||
            (can_quantize(graph, a) && can_quantize(graph, b))) {
            (void) push(walk, a);
            (void) push(walk, b);
        }
    }
}

static void mark(struct walk *walk)
{
    struct plan *plan = walk->plan;

    memset(plan->quantized, 0, pith_graph_value_limit(plan->graph) * sizeof *plan->quantized);
    for (size_t i = 0; i < plan->layer_count; i++) {
        struct layer *layer = &plan->layers[i];

        if (layer->form == LAYER_STATIC &&
            !push(walk, pith_node_input(plan->graph, layer->node, 0))) {
            layer->form = LAYER_WEIGHTS;
            layer->why = "its input is an output of the graph, a constant, or no float";
        }
    }
    while (walk->depth > 0)
        walk_back(walk, walk->stack[--walk->depth]);
}

int plan_mark(struct plan *plan)
{
    struct walk walk = {.plan = plan};

    walk.stack = calloc((size_t) pith_graph_value_limit(plan->graph) + 1, sizeof *walk.stack);
    if (!walk.stack)
        return -ENOMEM;
    mark(&walk);
    free(walk.stack);
    return 0;
}

/* Ranges that the operator itself promises. */
static bool fixed_range(const struct pith_graph *graph, uint32_t value, struct range *out)
{
    static const char *const unit[] = {"Sigmoid", "Softmax", "HardSigmoid", NULL};
    uint32_t node = pith_value_producer(graph, value);

    if (node == PITH_NO_NODE)
        return false;
    /* 255/256, so that the scale is a power of two as other converters write it. */
    if (is_one_of(graph, node, unit))
        *out = (struct range){0, 255.0 / 256};
    else if (is_op(graph, node, "Tanh"))
        *out = (struct range){-1, 127.0 / 128};
    else
        return false;
    return true;
}

/* A value is looked at unless it only repeats elements of another one of its group. */
static bool is_source(const struct plan *plan, uint32_t value)
{
    uint32_t node = pith_value_producer(plan->graph, value);

    if (node == PITH_NO_NODE)
        return true;
    if (is_one_of(plan->graph, node, moving_ops))
        return !plan->quantized[pith_node_input(plan->graph, node, 0)];
    if (!is_op(plan->graph, node, "Concat"))
        return true;
    for (size_t i = 0; i < pith_node_input_count(plan->graph, node); i++) {
        uint32_t input = pith_node_input(plan->graph, node, i);

        if (input == PITH_NO_VALUE || !plan->quantized[input])
            return true;
    }
    return false;
}

static int make_groups(struct plan *plan, uint32_t *share)
{
    uint32_t limit = pith_graph_value_limit(plan->graph);

    for (uint32_t value = 0; value < limit; value++)
        if (plan->quantized[value] && root(share, value) == value)
            plan->group_of[value] = (uint32_t) plan->group_count++;
    plan->groups = calloc(plan->group_count + 1, sizeof *plan->groups);
    plan->observed = calloc((size_t) limit + 1, sizeof *plan->observed);
    if (!plan->groups || !plan->observed)
        return -ENOMEM;
    for (uint32_t value = 0; value < limit; value++) {
        if (!plan->quantized[value])
            continue;
        plan->group_of[value] = plan->group_of[root(share, value)];
        struct group *group = &plan->groups[plan->group_of[value]];
        bool first = root(share, value) == value;
        struct range range;
        bool fixed = fixed_range(plan->graph, value, &range);

        if (first) {
            group->value = value;
            group->fixed = fixed;
            group->range = fixed ? range : group->range;
        } else if (fixed) {
            group->range.low = range.low < group->range.low ? range.low : group->range.low;
            group->range.high = range.high > group->range.high ? range.high : group->range.high;
        } else if (is_source(plan, value)) {
            group->fixed = false;
        }
        if (is_source(plan, value))
            plan->observed[plan->observed_count++] = value;
    }
    return 0;
}

static int find_activations(struct plan *plan)
{
    uint32_t limit = pith_graph_value_limit(plan->graph);
    struct walk walk = {.plan = plan};
    int rc = -ENOMEM;

    plan->group_of = malloc(((size_t) limit + 1) * sizeof *plan->group_of);
    plan->quantized = calloc((size_t) limit + 1, sizeof *plan->quantized);
    walk.share = malloc(((size_t) limit + 1) * sizeof *walk.share);
    walk.stack = calloc((size_t) limit + 1, sizeof *walk.stack);
    if (plan->group_of && plan->quantized && walk.share && walk.stack) {
        for (uint32_t value = 0; value < limit; value++) {
            plan->group_of[value] = NO_GROUP;
            walk.share[value] = value;
        }
        mark(&walk);
        rc = make_groups(plan, walk.share);
    }
    free(walk.share);
    free(walk.stack);
    return rc;
}

int plan_make(struct plan *out, const struct pith_graph *graph, const struct plan_options *options,
              struct pith_error *err)
{
    int rc;

    *out = (struct plan){.graph = graph, .weight_limit = options->weight_limit};
    rc = find_layers(out, options);
    if (rc == 0)
        rc = find_activations(out);
    if (rc < 0) {
        plan_done(out);
        return pith_fail(err, rc, "quantize: no memory for a plan of %u values",
                         (unsigned) pith_graph_value_limit(graph));
    }
    return 0;
}

size_t plan_count(const struct plan *plan, enum layer_form form)
{
    size_t count = 0;

    for (size_t i = 0; i < plan->layer_count; i++)
        count += plan->layers[i].form == form;
    return count;
}

void plan_done(struct plan *plan)
{
    free(plan->layers);
    free(plan->group_of);
    free(plan->quantized);
    free(plan->groups);
    free(plan->observed);
    *plan = (struct plan){0};
}
