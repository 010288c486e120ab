/* The plan's activations, by walking back from the layers' inputs. An activation is quantized where
 * an integer layer takes it, so nothing is rounded between a convolution and the activation behind
 * it. */
#include "plugins/techniques/quantize/function.h"
#include "plugins/techniques/quantize/plan.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Operators that only move or pick elements of input 0: their output lies on the same grid. */
static const char *const moving_ops[] = {
    "MaxPool", "Reshape", "Flatten",      "Transpose", "Squeeze",      "Unsqueeze",     "Identity",
    "Slice",   "Dropout", "DepthToSpace", "Split",     "SpaceToDepth", "GlobalMaxPool",
    "Gather",  NULL};
/* Whether the node moves or picks elements of input 0, with nothing around them but zeros. */
static bool moves_elements(const struct pith_graph *graph, uint32_t node)
{
    const struct pith_tensor *value;

    if (!node_is(graph, node, "Pad"))
        return node_is_one_of(graph, node, moving_ops);
    if (pith_graph_opset(graph, "") < 11)
        return pith_node_float(graph, node, "value", 0.0F) == 0.0F;
    if (pith_node_input(graph, node, 2) == PITH_NO_VALUE)
        return true;
    value = float_constant(graph, pith_node_input(graph, node, 2));
    return value && pith_shape_elements(&value->shape) == 1 && pith_tensor_get(value, 0) == 0.0;
}

/* Operators that integer kernels run from one grid to another. */
static const char *const mixing_ops[] = {"Add", "Mul", "AveragePool", "GlobalAveragePool", NULL};

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
    uint32_t *stack; /* values to walk back from: each is pushed once for 8 bits and once for 16 */
    size_t depth;
};

static bool push(struct walk *walk, uint32_t value, uint8_t bits)
{
    if (!can_quantize(walk->plan->graph, value))
        return false;
    if (walk->plan->bits[value] < bits) {
        walk->plan->bits[value] = bits;
        walk->stack[walk->depth++] = value;
    }
    return true;
}

static void push_sharing(struct walk *walk, uint32_t input, uint32_t output)
{
    if (push(walk, input, walk->plan->bits[output]) && walk->share) {
        uint32_t a = root(walk->share, input), b = root(walk->share, output);

        walk->share[a > b ? a : b] = a > b ? b : a;
    }
}

static bool is_static_layer(const struct plan *plan, uint32_t node)
{
    for (size_t i = 0; i < plan->layer_count; i++)
        if (plan->layers[i].node == node)
            return form_is_static(plan->layers[i].form);
    return false;
}

/* Whether a layer gives the value, or an Add behind one that has no bias of its own, or what integers are added or averaged in:
 * then a grid in front of the function behind it lets that be integers. 16 bits: convolutions alone give them. */
static bool comes_as_integers(const struct plan *plan, uint32_t value, uint8_t bits)
{
    const struct pith_graph *graph = plan->graph;
    const uint32_t node = pith_value_producer(graph, value);

    if (node == PITH_NO_NODE)
        return false;
    if (is_static_layer(plan, node))
        return bits == 8 || node_is(graph, node, "Conv");
    if (bits != 8 || !node_is_one_of(graph, node, mixing_ops))
        return false;
    for (size_t i = 0; i < pith_node_input_count(graph, node); i++) {
        const uint32_t input = pith_node_input(graph, node, i);
        const uint32_t from = pith_value_constant(graph, input) ? PITH_NO_NODE : pith_value_producer(graph, input);

        if (pith_value_constant(graph, input) ? !node_is(graph, node, "Add")
                                              : from == PITH_NO_NODE && !can_quantize(graph, input))
            return false;
        if (pith_value_constant(graph, input)) { /* a bias, then */
            const uint32_t other = pith_node_input(graph, node, 1 - i);

            return i < 2 && other != PITH_NO_VALUE && pith_value_producer(graph, other) != PITH_NO_NODE &&
                   is_static_layer(plan, pith_value_producer(graph, other));
        }
    }
    return true;
}

/* A layer may add to its sums what lies on a grid, and round once, behind the Relu that follows. What an Add takes there that was
 * only moved (a pooled and padded shortcut) is put on its grid, or all of it would go through floats. */
static void push_shortcut(struct walk *walk, uint32_t value)
{
    static const char *const limits[] = {"Relu", "Clip", "LeakyRelu", NULL};
    const struct pith_graph *graph = walk->plan->graph;
    uint32_t node = pith_value_producer(graph, value), sum;

    if (!node_is_one_of(graph, node, limits))
        return;
    sum = pith_node_input(graph, node, 0);
    node = pith_value_producer(graph, sum);
    if (node == PITH_NO_NODE || !node_is(graph, node, "Add"))
        return;
    for (size_t i = 0; i < 2; i++) {
        const uint32_t input = pith_node_input(graph, node, i);
        const uint32_t from = pith_value_producer(graph, input),
                       other = pith_value_producer(graph, pith_node_input(graph, node, 1 - i));

        if (from != PITH_NO_NODE && moves_elements(graph, from) && other != PITH_NO_NODE &&
            is_static_layer(walk->plan, other))
            (void) push(walk, input, walk->plan->bits[value]);
    }
}

/* From a quantized value to the inputs of what made it. */
static void walk_back(struct walk *walk, uint32_t value)
{
    const struct pith_graph *graph = walk->plan->graph;
    uint32_t node = pith_value_producer(graph, value), source;

    if (node == PITH_NO_NODE)
        return;
    source = function_source(graph, value);
    if (source != PITH_NO_VALUE) {
        if (comes_as_integers(walk->plan, source, walk->plan->bits[value]))
            (void) push(walk, source, walk->plan->bits[value]);
        return;
    }
    if (moves_elements(graph, node)) {
        push_sharing(walk, pith_node_input(graph, node, 0), value);
    } else if (node_is(graph, node, "Concat")) {
        for (size_t i = 0; i < pith_node_input_count(graph, node); i++)
            push_sharing(walk, pith_node_input(graph, node, i), value);
    } else if (node_is_one_of(graph, node, mixing_ops)) {
        uint32_t a = pith_node_input(graph, node, 0), b = pith_node_input(graph, node, 1);

        /* Both or none: an Add of integers and floats runs as float anyway. */
        if (pith_node_input_count(graph, node) == 1 ||
            (can_quantize(graph, a) && can_quantize(graph, b))) {
            (void) push(walk, a, walk->plan->bits[value]);
            (void) push(walk, b, walk->plan->bits[value]);
        }
    } else {
        push_shortcut(walk, value);
    }
}

/* Values of a group go together: the finest that some layer wants. */
static void mark_groups(struct plan *plan)
{
    uint32_t limit = pith_graph_value_limit(plan->graph);

    for (size_t i = 0; i < plan->group_count; i++)
        plan->groups[i].bits = 0;
    for (uint32_t value = 0; value < limit; value++)
        if (plan->bits[value] > 0 && plan->bits[value] > plan->groups[plan->group_of[value]].bits)
            plan->groups[plan->group_of[value]].bits = plan->bits[value];
    for (uint32_t value = 0; value < limit; value++)
        if (plan->bits[value] > 0)
            plan->bits[value] = plan->groups[plan->group_of[value]].bits;
}

static void mark(struct walk *walk)
{
    struct plan *plan = walk->plan;

    memset(plan->bits, 0, pith_graph_value_limit(plan->graph) * sizeof *plan->bits);
    for (size_t i = 0; i < plan->layer_count; i++) {
        struct layer *layer = &plan->layers[i];

        if (form_is_static(layer->form) && !push(walk, pith_node_input(plan->graph, layer->node, 0),
                                                 (uint8_t) form_activation_bits(layer->form))) {
            layer->form = form_without_activations(layer->form);
            layer->why = "its input is an output of the graph, a constant, or no float";
        }
    }
    while (walk->depth > 0)
        walk_back(walk, walk->stack[--walk->depth]);
}

static uint32_t *new_stack(const struct pith_graph *graph)
{
    return calloc(2 * (size_t) pith_graph_value_limit(graph) + 1, sizeof(uint32_t));
}

int plan_mark(struct plan *plan)
{
    struct walk walk = {.plan = plan, .stack = new_stack(plan->graph)};

    if (!walk.stack)
        return -ENOMEM;
    mark(&walk);
    mark_groups(plan);
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
    if (node_is_one_of(graph, node, unit))
        *out = (struct range){0, 255.0 / 256};
    else if (node_is(graph, node, "Tanh"))
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
    if (moves_elements(plan->graph, node))
        return !plan->bits[pith_node_input(plan->graph, node, 0)];
    if (!node_is(plan->graph, node, "Concat"))
        return true;
    for (size_t i = 0; i < pith_node_input_count(plan->graph, node); i++) {
        uint32_t input = pith_node_input(plan->graph, node, i);

        if (input == PITH_NO_VALUE || !plan->bits[input])
            return true;
    }
    return false;
}

/* Of groups of one value. Every grid holds 0. */
static void set_floors(struct plan *plan)
{
    uint32_t limit = pith_graph_value_limit(plan->graph);

    for (size_t i = 0; i < plan->group_count; i++)
        plan->groups[i].floor = fmin(function_floor(plan->graph, plan->groups[i].value), 0);
    for (uint32_t value = 0; value < limit; value++)
        if (plan->group_of[value] != NO_GROUP && plan->groups[plan->group_of[value]].value != value)
            plan->groups[plan->group_of[value]].floor = -INFINITY;
}

static void add_limits(struct group *group, struct range limits)
{
    group->limits.low = fmin(group->limits.low, limits.low);
    group->limits.high = fmax(group->limits.high, limits.high);
}

static int make_groups(struct plan *plan, uint32_t *share)
{
    uint32_t limit = pith_graph_value_limit(plan->graph);

    for (uint32_t value = 0; value < limit; value++)
        if (plan->bits[value] && root(share, value) == value)
            plan->group_of[value] = (uint32_t) plan->group_count++;
    plan->groups = calloc(plan->group_count + 1, sizeof *plan->groups);
    plan->observed = calloc((size_t) limit + 1, sizeof *plan->observed);
    if (!plan->groups || !plan->observed)
        return -ENOMEM;
    for (uint32_t value = 0; value < limit; value++) {
        if (!plan->bits[value])
            continue;
        plan->group_of[value] = plan->group_of[root(share, value)];
        struct group *group = &plan->groups[plan->group_of[value]];
        bool first = root(share, value) == value;
        struct range range;
        bool fixed = fixed_range(plan->graph, value, &range);

        if (first) {
            group->limits = (struct range){INFINITY, -INFINITY};
            group->value = value;
            group->fixed = fixed;
            group->range = group->wide = fixed ? range : group->range;
        } else if (fixed) {
            group->range.low = range.low < group->range.low ? range.low : group->range.low;
            group->range.high = range.high > group->range.high ? range.high : group->range.high;
            group->wide = group->range;
        } else if (is_source(plan, value)) {
            group->fixed = false;
        }
        if (is_source(plan, value)) {
            plan->observed[plan->observed_count++] = value;
            add_limits(group, function_limits(plan->graph, value));
        }
    }
    set_floors(plan);
    mark_groups(plan);
    return 0;
}

static int find_activations(struct plan *plan)
{
    uint32_t limit = pith_graph_value_limit(plan->graph);
    struct walk walk = {.plan = plan};
    int rc = -ENOMEM;

    plan->group_of = malloc(((size_t) limit + 1) * sizeof *plan->group_of);
    plan->bits = calloc((size_t) limit + 1, sizeof *plan->bits);
    walk.share = malloc(((size_t) limit + 1) * sizeof *walk.share);
    walk.stack = new_stack(plan->graph);
    if (plan->group_of && plan->bits && walk.share && walk.stack) {
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

int plan_make(struct plan *out, const struct pith_graph *graph, const struct layer_options *options,
              int32_t dtype, struct pith_error *err)
{
    int rc;

    *out = (struct plan){.graph = graph, .options = *options, .dtype = dtype};
    rc = layers_find(graph, options, &out->layers, &out->layer_count);
    if (rc == 0)
        rc = find_activations(out);
    if (rc < 0) {
        plan_done(out);
        return pith_fail(err, rc, "quantize: no memory for a plan of %u values",
                         (unsigned) pith_graph_value_limit(graph));
    }
    return 0;
}

size_t plan_count(const struct plan *plan, enum form form)
{
    size_t count = 0;

    for (size_t i = 0; i < plan->layer_count; i++)
        count += plan->layers[i].form == form;
    return count;
}

enum form *plan_forms(const struct plan *plan)
{
    enum form *forms = calloc(plan->layer_count + 1, sizeof *forms);

    for (size_t i = 0; i < plan->layer_count && forms; i++)
        forms[i] = layer_form(&plan->layers[i]);
    return forms;
}

int32_t plan_dtype(const struct plan *plan, uint32_t value)
{
    return plan->bits[value] == 16 ? PITH_INT16 : plan->dtype;
}

struct grid plan_grid(const struct plan *plan, uint32_t value)
{
    const struct group *group = &plan->groups[plan->group_of[value]];

    return grid_of_range(plan->bits[value] == 16 ? group->wide : group->range,
                         plan_dtype(plan, value));
}

void plan_done(struct plan *plan)
{
    layers_free(plan->layers, plan->layer_count);
    free(plan->group_of);
    free(plan->bits);
    free(plan->groups);
    free(plan->observed);
    *plan = (struct plan){0};
}
