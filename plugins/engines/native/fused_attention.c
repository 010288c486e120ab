/* Attention, as exporters write it: MatMul, a scale, a number where a mask says so, a mask that is
 * added, Softmax, MatMul, with transposes around that only sort heads. See fused.h;
 * libpith/kernels/attention.c computes it. */
#include "plugins/engines/native/fused.h"

#include <errno.h>
#include <string.h>

#include "libpith/kernels/kernel.h"
#include "plugins/engines/native/plan.h"

#define MOST_RANK 4

struct side { /* an operand, and which of its axes is which */
    uint32_t value;
    int64_t perm[MOST_RANK];
};

struct pattern {
    uint32_t rank;
    struct side q, k, v, y;
    uint32_t mask; /* or PITH_NO_VALUE */
    uint32_t keep; /* which scores stay; or PITH_NO_VALUE: all */
    bool keeps_true;
    float fill; /* in place of the others */
    float scale;
};

static const struct pith_shape *shape_of(const struct pith_graph *graph, uint32_t value)
{
    return value == PITH_NO_VALUE ? NULL : pith_value_shape(graph, value);
}

/* The value behind multiplications with constants, which go into *scale. */
static uint32_t behind_scales(const struct pith_graph *graph, uint32_t value, float *scale)
{
    for (;;) {
        const uint32_t node = pith_value_quantization(graph, value)
                                  ? PITH_NO_NODE
                                  : pith_value_producer(graph, value);
        uint32_t other;
        float factor;

        if (node == PITH_NO_NODE || pith_value_use_count(graph, value) != 1 ||
            (!fused_is(graph, node, "Mul") && !fused_is(graph, node, "Div")) ||
            !fused_scalar(graph, node, &factor, &other))
            return value;
        if (fused_is(graph, node, "Mul"))
            *scale *= factor;
        else if (other == pith_node_input(graph, node, 0))
            *scale /= factor;
        else
            return value;
        value = other;
    }
}

/* Whether the node's perm is one of this rank; copied. */
static bool read_perm(const struct pith_graph *graph, uint32_t node, uint32_t rank,
                      int64_t perm[MOST_RANK])
{
    size_t count = 0;
    const int64_t *list = pith_node_ints(graph, node, "perm", &count);

    if (!list || count != rank)
        return false;
    for (uint32_t i = 0; i < rank; i++) {
        if (list[i] < 0 || list[i] >= (int64_t) rank)
            return false;
        perm[i] = list[i];
    }
    return true;
}

/* An operand, with the transpose in front of it, and scales on both sides of that, taken in. */
static struct side side_of(const struct pith_graph *graph, uint32_t value, uint32_t rank,
                           float *scale)
{
    struct side side = {.value = value};
    uint32_t node;

    for (uint32_t i = 0; i < rank; i++)
        side.perm[i] = i;
    if (scale)
        side.value = behind_scales(graph, side.value, scale);
    node = pith_value_quantization(graph, side.value)
               ? PITH_NO_NODE
               : fused_producer(graph, side.value, "Transpose");
    if (node == PITH_NO_NODE || pith_node_input(graph, node, 0) == PITH_NO_VALUE ||
        !read_perm(graph, node, rank, side.perm))
        return side;
    side.value = pith_node_input(graph, node, 0);
    if (scale)
        side.value = behind_scales(graph, side.value, scale);
    return side;
}

/* Elements of one query, key or value must lie together where kernels want that. */
static bool innermost_stays(const struct side *side, uint32_t rank)
{
    return side->perm[rank - 1] == (int64_t) rank - 1;
}

static void take_as_is(struct side *side, uint32_t value, uint32_t rank)
{
    side->value = value;
    for (uint32_t i = 0; i < rank; i++)
        side->perm[i] = i;
}

/* Leading dimensions are known to be the same: a product that broadcasts is left alone. */
static bool same_heads(const struct pith_shape *a, const struct pith_shape *b)
{
    for (uint32_t i = 0; i + 2 < a->rank; i++)
        if (a->dim[i] != b->dim[i] || a->dim[i] < 0)
            return false;
    return true;
}

/* The mask is known not to make the scores larger. */
static bool mask_fits(const struct pith_shape *mask, const struct pith_shape *scores)
{
    if (!mask || mask->rank > scores->rank)
        return false;
    for (uint32_t i = 1; i <= mask->rank; i++) {
        const int64_t m = mask->dim[mask->rank - i], s = scores->dim[scores->rank - i];

        if (m != 1 && (m != s || m < 0))
            return false;
    }
    return true;
}

/* The product that the value is, scales between; or PITH_NO_NODE. */
static uint32_t scaled_product(const struct pith_graph *graph, uint32_t value, struct pattern *p)
{
    value = behind_scales(graph, value, &p->scale);
    return fused_only_user(graph, value) == PITH_NO_NODE ? PITH_NO_NODE
                                                         : fused_producer(graph, value, "MatMul");
}

/* One number, which makes nothing larger. */
static bool is_fill(const struct pith_graph *graph, uint32_t node, size_t input, uint32_t rank,
                    float *out)
{
    const struct pith_tensor *constant = fused_constant(graph, node, input);

    if (!constant || pith_shape_elements(&constant->shape) != 1 || constant->shape.rank > rank)
        return false;
    *out = (float) pith_tensor_get(constant, 0);
    return true;
}

/* The same, where a Where may have put a number in place of some scores. */
static uint32_t selected_product(const struct pith_graph *graph, uint32_t value, struct pattern *p)
{
    const uint32_t where = fused_producer(graph, value, "Where");
    const uint32_t keep = where == PITH_NO_NODE ? PITH_NO_VALUE : pith_node_input(graph, where, 0);
    const struct pith_shape *scores = shape_of(graph, value);

    if (where == PITH_NO_NODE)
        return scaled_product(graph, value, p);
    if (p->scale != 1.0F || keep == PITH_NO_VALUE || !scores ||
        pith_value_dtype(graph, keep) != PITH_BOOL)
        return PITH_NO_NODE;
    for (size_t i = 1; i < 3; i++) {
        const uint32_t inner = pith_node_input(graph, where, i);
        const struct pith_shape *shape = shape_of(graph, inner);

        if (!shape || fused_only_user(graph, inner) != where ||
            !is_fill(graph, where, 3 - i, shape->rank, &p->fill) ||
            !mask_fits(shape_of(graph, keep), shape))
            continue;
        p->keep = keep;
        p->keeps_true = i == 1;
        return scaled_product(graph, inner, p);
    }
    return PITH_NO_NODE;
}

/* The same, with a mask that is added to it or not. What is on a grid behind a scale would lose its
 * rounding. */
static uint32_t masked_product(const struct pith_graph *graph, uint32_t value, struct pattern *p)
{
    const uint32_t add = fused_producer(graph, value, "Add");
    const struct pattern before = *p;

    if (fused_only_user(graph, value) == PITH_NO_NODE)
        return PITH_NO_NODE;
    if (add == PITH_NO_NODE)
        return selected_product(graph, value, p);
    for (size_t i = 0; i < 2 && p->scale == 1.0F; i++) {
        const uint32_t inner = pith_node_input(graph, add, i);
        uint32_t product;

        if (inner == PITH_NO_VALUE || fused_only_user(graph, inner) != add)
            continue;
        p->mask = pith_node_input(graph, add, 1 - i);
        product = selected_product(graph, inner, p);
        if (product != PITH_NO_NODE && shape_of(graph, inner) &&
            mask_fits(shape_of(graph, p->mask), shape_of(graph, inner)))
            return product;
        *p = before;
    }
    return PITH_NO_NODE;
}

/* From the softmax up: scores are what is kept of scale * product, and fill elsewhere, + mask. */
static bool find_product(const struct pith_graph *graph, uint32_t softmax, struct pattern *p,
                         uint32_t *out_product)
{
    uint32_t value = pith_node_input(graph, softmax, 0);
    const struct pith_shape *scores = shape_of(graph, value);

    *p = (struct pattern){.mask = PITH_NO_VALUE, .keep = PITH_NO_VALUE, .scale = 1.0F};
    if (!scores || fused_only_user(graph, value) != softmax)
        return false;
    p->rank = scores->rank;
    value = behind_scales(graph, value, &p->scale);
    *out_product = masked_product(graph, value, p);
    return *out_product != PITH_NO_NODE;
}

static bool over_last_axis(const struct pith_graph *graph, uint32_t softmax, uint32_t rank)
{
    const int64_t otherwise = pith_graph_opset(graph, "") >= 13 ? -1 : 1;
    const int64_t axis = pith_node_int(graph, softmax, "axis", otherwise);

    return axis == -1 || axis == (int64_t) rank - 1;
}

static bool find_sides(const struct pith_graph *graph, uint32_t first, uint32_t second,
                       struct pattern *p)
{
    const uint32_t q = pith_node_input(graph, first, 0), k = pith_node_input(graph, first, 1),
                   v = pith_node_input(graph, second, 1);
    const struct pith_shape *qs = shape_of(graph, q), *ks = shape_of(graph, k),
                            *vs = shape_of(graph, v);
    int64_t swapped;

    if (!qs || !ks || !vs || qs->rank != p->rank || ks->rank != p->rank || vs->rank != p->rank ||
        !same_heads(qs, ks) || !same_heads(qs, vs))
        return false;
    p->q = side_of(graph, q, p->rank, &p->scale);
    p->k = side_of(graph, k, p->rank, &p->scale);
    p->v = side_of(graph, v, p->rank, NULL);
    if (!innermost_stays(&p->v, p->rank))
        take_as_is(&p->v, v, p->rank);
    /* what the product takes is turned already */
    swapped = p->k.perm[p->rank - 1];
    p->k.perm[p->rank - 1] = p->k.perm[p->rank - 2];
    p->k.perm[p->rank - 2] = swapped;
    return true;
}

/* The node that alone uses the value, where that lies on no grid, or on that of what the node gives. */
static uint32_t only_user_on_grid(const struct pith_graph *graph, uint32_t value)
{
    size_t count = 0;
    const uint32_t *users = pith_value_users(graph, value, &count);
    const struct pith_quantization *grid = pith_value_quantization(graph, value);

    if (count != 1 || pith_value_use_count(graph, value) != 1 ||
        pith_value_is_captured(graph, value) || pith_node_output(graph, users[0], 0) == PITH_NO_VALUE ||
        (grid &&
         !form_same_grid(grid, pith_value_quantization(graph, pith_node_output(graph, users[0], 0)))))
        return PITH_NO_NODE;
    return users[0];
}

/* The transpose behind it, where it leaves values of a head together; *last: what gives the result.
 */
static void find_result(const struct pith_graph *graph, uint32_t *last, struct pattern *p)
{
    const uint32_t user = only_user_on_grid(graph, pith_node_output(graph, *last, 0));
    int64_t perm[MOST_RANK];

    take_as_is(&p->y, PITH_NO_VALUE, p->rank);
    if (user == PITH_NO_NODE || !fused_is(graph, user, "Transpose") ||
        !read_perm(graph, user, p->rank, perm) || perm[p->rank - 1] != (int64_t) p->rank - 1)
        return;
    for (uint32_t i = 0; i < p->rank; i++)
        p->y.perm[perm[i]] = i;
    *last = user;
}

static int write_node(struct pith_graph *graph, uint32_t last, const struct pattern *p)
{
    const uint32_t inputs[5] = {p->q.value, p->k.value, p->v.value, p->mask, p->keep};
    const struct {
        const char *name;
        const struct side *side;
    } perms[] = {{"q_perm", &p->q}, {"k_perm", &p->k}, {"v_perm", &p->v}, {"y_perm", &p->y}};
    uint32_t node;
    int rc = fused_replace(graph, last, PITH_FUSED_DOMAIN, "Attention", inputs,
                           p->keep != PITH_NO_VALUE   ? 5
                           : p->mask != PITH_NO_VALUE ? 4
                                                      : 3,
                           &node);

    if (rc == 0)
        rc = pith_node_set_float(graph, node, "scale", p->scale);
    if (rc == 0 && p->keep != PITH_NO_VALUE)
        rc = pith_node_set_int(graph, node, "keeps_true", p->keeps_true);
    if (rc == 0 && p->keep != PITH_NO_VALUE)
        rc = pith_node_set_float(graph, node, "fill", p->fill);
    for (size_t i = 0; i < 4 && rc == 0; i++)
        rc = pith_node_set_ints(graph, node, perms[i].name, perms[i].side->perm, p->rank);
    return rc;
}

static int fuse_attention(struct pith_graph *graph, uint32_t softmax)
{
    const uint32_t weights = pith_node_output(graph, softmax, 0);
    uint32_t last = fused_only_user(graph, weights), first;
    struct pattern p;

    if (last == PITH_NO_NODE || !fused_is(graph, last, "MatMul") ||
        pith_node_input(graph, last, 0) != weights || !find_product(graph, softmax, &p, &first) ||
        p.rank < 3 || p.rank > MOST_RANK || !over_last_axis(graph, softmax, p.rank) ||
        pith_node_input(graph, first, 0) == PITH_NO_VALUE || !find_sides(graph, first, last, &p) ||
        pith_value_dtype(graph, weights) != PITH_FLOAT32)
        return 0;
    find_result(graph, &last, &p);
    return write_node(graph, last, &p);
}

int fuse_attentions(struct pith_graph *graph)
{
    int rc = 0;

    for (uint32_t node = 0; node < pith_graph_node_limit(graph) && rc == 0; node++)
        if (pith_node_exists(graph, node) && fused_is(graph, node, "Softmax") &&
            pith_node_input(graph, node, 0) != PITH_NO_VALUE)
            rc = fuse_attention(graph, node);
    return rc;
}
