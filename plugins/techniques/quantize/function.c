/* See function.h. */
#include "plugins/techniques/quantize/function.h"

#include <math.h>
#include <string.h>

#include "plugins/techniques/quantize/layer.h"

#define MOST_NODES 12 /* of one function */

/* With what a layer's own store does. */
static const char *const limiting_ops[] = {"Relu", "Clip", "LeakyRelu", "Max", "Min", "Identity", "Dropout", NULL};
static const char *const ops[] = {
    "Relu",     "LeakyRelu", "Clip", "Sigmoid",    "Tanh", "HardSigmoid", "HardSwish", "Elu",  "Selu",  "Celu",
    "Softplus", "Softsign",  "Abs",  "Neg",        "Exp",  "Log",         "Sqrt",      "Erf",  "Gelu",  "Mish",
    "Max",      "Min",       "Add",  "Sub",        "Mul",  "Div",         "Pow",       "PRelu", "Reciprocal",
    "Identity", NULL};

static bool is_number(const struct pith_graph *graph, uint32_t value)
{
    const struct pith_tensor *constant = pith_value_constant(graph, value);

    return constant && pith_shape_elements(&constant->shape) == 1;
}

struct walk {
    const struct pith_graph *graph;
    uint32_t source; /* PITH_NO_VALUE: not found yet */
    size_t count;    /* of nodes that were passed */
    bool bends;      /* not limits and slopes alone */
};

static bool is_operation(const struct pith_graph *graph, uint32_t node)
{
    return node != PITH_NO_NODE && node_is_one_of(graph, node, ops) && pith_node_output_count(graph, node) == 1;
}

/* Whether the node takes one value that is no number, so that it may be where a function begins. */
static uint32_t only_operand(const struct pith_graph *graph, uint32_t node)
{
    uint32_t found = PITH_NO_VALUE;

    for (size_t i = 0; i < pith_node_input_count(graph, node); i++) {
        const uint32_t value = pith_node_input(graph, node, i);

        if (value == PITH_NO_VALUE || is_number(graph, value))
            continue;
        if (pith_value_constant(graph, value) || (found != PITH_NO_VALUE && found != value))
            return PITH_NO_VALUE;
        found = value;
    }
    return found;
}

/* Back from a value to the source; false where anything else goes in. */
static bool go_back(struct walk *walk, uint32_t value)
{
    const struct pith_graph *graph = walk->graph;
    const uint32_t node = pith_value_producer(graph, value);

    if (value == walk->source)
        return true;
    if (!is_operation(graph, node) || ++walk->count > MOST_NODES || pith_value_is_output(graph, value) ||
        pith_value_is_captured(graph, value))
        return false;
    walk->bends = walk->bends || !node_is_one_of(graph, node, limiting_ops);
    for (size_t i = 0; i < pith_node_input_count(graph, node); i++) {
        const uint32_t input = pith_node_input(graph, node, i);

        if (input != PITH_NO_VALUE && !is_number(graph, input) && !go_back(walk, input))
            return false;
    }
    return true;
}

/* Tries every value on one way back as the source, the nearest first: the first to which all ways lead, and that comes from no
 * such operator itself, is it. */
uint32_t function_source(const struct pith_graph *graph, uint32_t value)
{
    uint32_t at = value, found = PITH_NO_VALUE;

    for (int i = 0; i < MOST_NODES; i++) {
        const uint32_t node = pith_value_producer(graph, at);
        struct walk walk = {.graph = graph};
        uint32_t next = PITH_NO_VALUE;

        if (!is_operation(graph, node))
            break;
        for (size_t k = 0; k < pith_node_input_count(graph, node) && next == PITH_NO_VALUE; k++) {
            const uint32_t input = pith_node_input(graph, node, k);

            if (input != PITH_NO_VALUE && !pith_value_constant(graph, input))
                next = input;
        }
        if (next == PITH_NO_VALUE)
            break;
        walk.source = at = next;
        if (go_back(&walk, value))
            found = walk.bends ? at : PITH_NO_VALUE;
    }
    return found;
}

/* ---- floors ---- */

/* Of a Clip: an attribute, or an input; `otherwise` where there is none or it is not known. */
static double clip_limit(const struct pith_graph *graph, uint32_t node, const char *name, size_t input, double otherwise)
{
    const struct pith_tensor *limit = float_constant(graph, pith_node_input(graph, node, input));

    if (pith_graph_opset(graph, "") < 11)
        return pith_node_has(graph, node, name) ? (double) pith_node_float(graph, node, name, 0) : otherwise;
    return limit && pith_shape_elements(&limit->shape) == 1 ? pith_tensor_get(limit, 0) : otherwise;
}

/* The node gives 0 for all that lies below *out. */
static bool has_floor(const struct pith_graph *graph, uint32_t node, double *out)
{
    const uint32_t y = pith_node_output(graph, node, 0);
    const struct pith_tensor *number;
    const uint32_t *users;
    size_t count = 0;

    if (y == PITH_NO_VALUE)
        return false;
    users = pith_value_users(graph, y, &count);
    if (node_is(graph, node, "HardSwish")) {
        *out = -3.0;
        return true;
    }
    if (node_is(graph, node, "HardSigmoid")) {
        const double alpha = (double) pith_node_float(graph, node, "alpha", 0.2F);

        *out = alpha > 0 ? -(double) pith_node_float(graph, node, "beta", 0.5F) / alpha : 0;
        return alpha > 0;
    }
    number = node_is(graph, node, "Add") ? float_constant(graph, pith_node_input(graph, node, 1)) : NULL;
    if (!number || pith_shape_elements(&number->shape) != 1 || count != 1 || !node_is(graph, users[0], "Clip"))
        return false;
    *out = -pith_tensor_get(number, 0);
    return clip_limit(graph, users[0], "min", 1, -INFINITY) == 0.0;
}

/* A value that is 0 where x is at the floor that a HardSigmoid, or an Add and a Clip, of x itself has. */
static bool vanishes(const struct pith_graph *graph, uint32_t value, uint32_t x, int depth)
{
    const uint32_t node = value == PITH_NO_VALUE ? PITH_NO_NODE : pith_value_producer(graph, value);
    uint32_t from;

    if (node == PITH_NO_NODE || depth == 0)
        return false;
    from = pith_node_input(graph, node, 0);
    if (node_is(graph, node, "HardSigmoid"))
        return from == x;
    if (node_is(graph, node, "Clip"))
        return from != PITH_NO_VALUE && pith_value_producer(graph, from) != PITH_NO_NODE &&
               pith_node_input(graph, pith_value_producer(graph, from), 0) == x;
    if (node_is(graph, node, "Mul") && is_number(graph, from))
        return vanishes(graph, pith_node_input(graph, node, 1), x, depth - 1);
    return (node_is(graph, node, "Mul") || node_is(graph, node, "Div")) &&
           is_number(graph, pith_node_input(graph, node, 1)) && vanishes(graph, from, x, depth - 1);
}

/* The node multiplies x by what vanishes where x is at its floor. */
static bool is_gated(const struct pith_graph *graph, uint32_t node, uint32_t x)
{
    const uint32_t a = pith_node_input(graph, node, 0), b = pith_node_input(graph, node, 1),
                   y = pith_node_output(graph, node, 0);
    struct walk walk = {.graph = graph, .source = x};

    return node_is(graph, node, "Mul") && y != PITH_NO_VALUE && go_back(&walk, y) &&
           vanishes(graph, a == x ? b : a, x, 3);
}

double function_floor(const struct pith_graph *graph, uint32_t value)
{
    size_t count = 0;
    const uint32_t *users = pith_value_users(graph, value, &count);
    double floor = -INFINITY;
    bool ends = true;

    if (pith_value_is_output(graph, value) || pith_value_is_captured(graph, value))
        return -INFINITY;
    for (size_t i = 0; i < count && floor == -INFINITY; i++)
        if (only_operand(graph, users[i]) == value && !has_floor(graph, users[i], &floor))
            floor = -INFINITY;
    for (size_t i = 0; i < count && ends; i++) { /* and else it only meets what is 0 there */
        double own;

        if (only_operand(graph, users[i]) == value)
            ends = has_floor(graph, users[i], &own) && own == floor;
        else
            ends = is_gated(graph, users[i], value);
    }
    return ends ? floor : -INFINITY;
}

/* ---- limits ---- */

struct range function_limits(const struct pith_graph *graph, uint32_t value)
{
    struct range limits = {-INFINITY, INFINITY};
    const uint32_t node = pith_value_producer(graph, value);

    if (node == PITH_NO_NODE)
        return limits;
    if (node_is(graph, node, "Relu")) {
        limits.low = 0;
    } else if (node_is(graph, node, "Clip")) {
        limits.low = clip_limit(graph, node, "min", 1, -INFINITY);
        limits.high = clip_limit(graph, node, "max", 2, INFINITY);
    }
    return limits;
}
