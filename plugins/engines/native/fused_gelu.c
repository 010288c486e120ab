/* Gelu that exporters wrote out in small operators: x / 2 * (1 + erf(x / sqrt(2))), and its
 * approximation x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))), Hendrycks and Gimpel 2016,
 * arXiv:1606.08415. There are many ways to write these; so what goes into erf or tanh, and what 1 plus
 * it is multiplied with, are read as polynomials of x. See fused.h. */
#include "plugins/engines/native/fused.h"

#include <math.h>
#include <string.h>

#define DEGREE     3
#define MOST_DEPTH 6 /* nodes behind each other in one polynomial */

struct polynomial {
    double c[DEGREE + 1];
};

static bool about(double x, double want)
{
    return fabs(x - want) <= 1e-6 * fabs(want);
}

static bool is(const struct polynomial *p, double c1, double c3)
{
    return p->c[0] == 0.0 && about(p->c[1], c1) && p->c[2] == 0.0 && about(p->c[3], c3);
}

static bool multiply(const struct polynomial *a, const struct polynomial *b,
                     struct polynomial *out)
{
    *out = (struct polynomial){{0}};
    for (int i = 0; i <= DEGREE; i++)
        for (int j = 0; j <= DEGREE; j++) {
            if (i + j <= DEGREE)
                out->c[i + j] += a->c[i] * b->c[j];
            else if (a->c[i] != 0.0 && b->c[j] != 0.0)
                return false;
        }
    return true;
}

/* The number that an input is, a constant on no grid. */
static bool number(const struct pith_graph *graph, uint32_t node, size_t input, double *out)
{
    const struct pith_tensor *constant = fused_constant(graph, node, input);

    if (!constant || pith_shape_elements(&constant->shape) != 1 || constant->shape.rank > 1)
        return false;
    *out = pith_tensor_get(constant, 0);
    return true;
}

static bool polynomial_of(const struct pith_graph *graph, uint32_t node, size_t input, uint32_t x,
                          int depth, struct polynomial *out);

static bool combine(const struct pith_graph *graph, uint32_t node, uint32_t x, int depth,
                    struct polynomial *out)
{
    struct polynomial a, b, square;
    double power;

    if (!polynomial_of(graph, node, 0, x, depth, &a))
        return false;
    if (fused_is(graph, node, "Pow")) {
        if (!number(graph, node, 1, &power) || (power != 2.0 && power != 3.0) ||
            !multiply(&a, &a, &square))
            return false;
        *out = square;
        return power == 2.0 || multiply(&square, &a, out);
    }
    if (!polynomial_of(graph, node, 1, x, depth, &b))
        return false;
    if (fused_is(graph, node, "Mul"))
        return multiply(&a, &b, out);
    if (fused_is(graph, node, "Div")) {
        if (b.c[1] != 0.0 || b.c[2] != 0.0 || b.c[3] != 0.0 || b.c[0] == 0.0)
            return false;
        return multiply(&a, &(struct polynomial){{1.0 / b.c[0]}}, out);
    }
    if (!fused_is(graph, node, "Add"))
        return false;
    for (int i = 0; i <= DEGREE; i++)
        out->c[i] = a.c[i] + b.c[i];
    return true;
}

/* Whether the node's input is a polynomial of the value x. */
static bool polynomial_of(const struct pith_graph *graph, uint32_t node, size_t input, uint32_t x,
                          int depth, struct polynomial *out)
{
    const uint32_t value = pith_node_input(graph, node, input);
    uint32_t from;

    *out = (struct polynomial){{0}};
    if (value == PITH_NO_VALUE)
        return false;
    if (value == x) {
        out->c[1] = 1.0;
        return true;
    }
    if (number(graph, node, input, &out->c[0]))
        return true;
    from = pith_value_quantization(graph, value) ? PITH_NO_NODE : pith_value_producer(graph, value);
    return from != PITH_NO_NODE && depth > 0 && pith_node_input_count(graph, from) == 2 &&
           pith_node_output_count(graph, from) == 1 && combine(graph, from, x, depth - 1, out);
}

/* The node behind `moved` that gives x / 2 times it, other factors in between; or PITH_NO_NODE. */
static uint32_t halved_product(const struct pith_graph *graph, uint32_t moved, uint32_t x)
{
    struct polynomial factor = {{1.0}}, other, product;

    for (int i = 0; i < 2; i++) {
        const uint32_t user = fused_only_user(graph, moved);
        const bool mul = user != PITH_NO_NODE && fused_is(graph, user, "Mul");
        const size_t at = mul && pith_node_input(graph, user, 0) == moved ? 1 : 0;

        if (user == PITH_NO_NODE || (!mul && !fused_is(graph, user, "Div")) ||
            pith_node_input(graph, user, mul ? 1 - at : 0) != moved ||
            !polynomial_of(graph, user, mul ? at : 1, x, 1, &other))
            return PITH_NO_NODE;
        if (!mul && (other.c[1] != 0.0 || other.c[0] == 0.0))
            return PITH_NO_NODE;
        if (!mul)
            other.c[0] = 1.0 / other.c[0];
        if (!multiply(&factor, &other, &product))
            return PITH_NO_NODE;
        factor = product;
        if (is(&factor, 0.5, 0.0))
            return user;
        moved = pith_node_output(graph, user, 0);
    }
    return PITH_NO_NODE;
}

/* What x may be: an operand of the products behind `moved`, or what that is a multiple of. */
static size_t candidates(const struct pith_graph *graph, uint32_t moved, uint32_t out[4])
{
    size_t count = 0;

    for (int i = 0; i < 2; i++) {
        const uint32_t user = fused_only_user(graph, moved);
        uint32_t other, multiple, of;
        float factor;

        if (user == PITH_NO_NODE || pith_node_input_count(graph, user) != 2)
            break;
        other = pith_node_input(graph, user, pith_node_input(graph, user, 0) == moved ? 1 : 0);
        multiple = other == PITH_NO_VALUE || pith_value_constant(graph, other)
                       ? PITH_NO_NODE
                       : pith_value_producer(graph, other);
        if (other != PITH_NO_VALUE && !pith_value_constant(graph, other))
            out[count++] = other;
        if (multiple != PITH_NO_NODE && pith_node_input_count(graph, multiple) == 2 &&
            fused_scalar(graph, multiple, &factor, &of))
            out[count++] = of;
        moved = pith_node_output(graph, user, 0);
    }
    return count;
}

static int fuse_gelu(struct pith_graph *graph, uint32_t function)
{
    const bool tanh = fused_is(graph, function, "Tanh");
    const double c1 = tanh ? M_2_SQRTPI * M_SQRT1_2 : M_SQRT1_2, c3 = tanh ? c1 * 0.044715 : 0.0;
    const uint32_t add = fused_only_user(graph, pith_node_output(graph, function, 0));
    uint32_t xs[4], other, node;
    size_t count;
    float one;

    if (add == PITH_NO_NODE || !fused_is(graph, add, "Add") ||
        !fused_scalar(graph, add, &one, &other) || one != 1.0F)
        return 0;
    count = candidates(graph, pith_node_output(graph, add, 0), xs);
    for (size_t i = 0; i < count; i++) {
        const struct pith_shape *shape = pith_value_shape(graph, xs[i]);
        const uint32_t last = halved_product(graph, pith_node_output(graph, add, 0), xs[i]);
        struct polynomial argument;
        int rc;

        if (last == PITH_NO_NODE || !shape || shape->rank < 1 ||
            pith_value_dtype(graph, xs[i]) != PITH_FLOAT32 ||
            !polynomial_of(graph, function, 0, xs[i], MOST_DEPTH, &argument) ||
            !is(&argument, c1, c3))
            continue;
        rc = fused_replace(graph, last, "", "Gelu", &xs[i], 1, &node);
        return rc == 0 && tanh ? pith_node_set_string(graph, node, "approximate", "tanh") : rc;
    }
    return 0;
}

int fuse_gelus(struct pith_graph *graph)
{
    int rc = 0;

    for (uint32_t node = 0; node < pith_graph_node_limit(graph) && rc == 0; node++)
        if (pith_node_exists(graph, node) &&
            (fused_is(graph, node, "Erf") || fused_is(graph, node, "Tanh")))
            rc = fuse_gelu(graph, node);
    return rc;
}
