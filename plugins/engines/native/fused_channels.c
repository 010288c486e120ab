/* Channels picked or shuffled by Reshape, Transpose, Reshape (ShuffleNet: Ma et al. 2018,
 * arXiv:1807.11164, figure 3), and maybe a Gather that takes one group: one node that names the
 * channel behind each of its own. Whole planes of a picture move, so it is enough to follow one
 * number a plane. See fused.h; libpith/kernels/channels.c moves them. */
#include "plugins/engines/native/fused.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpith/kernels/kernel.h"
#include "plugins/engines/native/plan.h"

#define MOST_PLANES 4096

struct shuffle {
    uint32_t x;
    int64_t pictures, channels, plane;
    int64_t from[MOST_PLANES]; /* the plane of x behind each that the Transpose gives */
};

static const struct pith_shape *known_shape(const struct pith_graph *graph, uint32_t value)
{
    const struct pith_shape *shape = value == PITH_NO_VALUE ? NULL : pith_value_shape(graph, value);

    return shape && pith_shape_known(shape) ? shape : NULL;
}

/* What is between first and last is on no grid, or on that of x. */
static bool passes(const struct pith_graph *graph, uint32_t x, uint32_t value)
{
    const struct pith_quantization *grid = pith_value_quantization(graph, value);

    return !grid || form_same_grid(grid, pith_value_quantization(graph, x));
}

static uint32_t sole_user(const struct pith_graph *graph, uint32_t value)
{
    size_t count = 0;
    const uint32_t *users = pith_value_users(graph, value, &count);

    return count == 1 && pith_value_use_count(graph, value) == 1 &&
                   !pith_value_is_captured(graph, value)
               ? users[0]
               : PITH_NO_NODE;
}

/* Of the axes behind the Reshape, those that are not moved and hold a plane; or -1. */
static int64_t fixed_axes(const struct pith_shape *shape, const int64_t *perm, int64_t plane)
{
    int64_t product = 1, axes = 0;

    for (uint32_t i = shape->rank; i-- > 0 && product < plane && perm[i] == (int64_t) i; axes++)
        product *= shape->dim[i];
    return product == plane ? axes : -1;
}

/* Fills s->from with what the Transpose does to whole planes. */
static bool follow(const struct pith_graph *graph, uint32_t transpose, struct shuffle *s)
{
    const struct pith_shape *shape = known_shape(graph, pith_node_input(graph, transpose, 0));
    size_t count = 0;
    const int64_t *perm = pith_node_ints(graph, transpose, "perm", &count);
    int64_t fixed, moved, stride[PITH_MAX_RANK], at[PITH_MAX_RANK] = {0}, next = 1;

    if (!shape || !perm || count != shape->rank)
        return false;
    for (size_t i = 0; i < count; i++)
        if (perm[i] < 0 || perm[i] >= (int64_t) count)
            return false;
    fixed = fixed_axes(shape, perm, s->plane);
    if (fixed < 0)
        return false;
    moved = (int64_t) count - fixed;
    for (int64_t i = moved; i-- > 0;) {
        stride[i] = next;
        next *= shape->dim[i];
    }
    if (next != s->pictures * s->channels)
        return false;
    for (int64_t to = 0; to < next; to++) {
        s->from[to] = 0;
        for (int64_t i = 0; i < moved; i++)
            s->from[to] += at[i] * stride[perm[i]];
        for (int64_t i = moved; i-- > 0;) {
            if (++at[i] < shape->dim[perm[i]])
                break;
            at[i] = 0;
        }
    }
    return true;
}

/* `node` gives planes `first` and further of what the Transpose gives, as pictures like x's. */
static int replace(struct pith_graph *graph, uint32_t node, const struct shuffle *s, int64_t first)
{
    const struct pith_shape *x = known_shape(graph, s->x),
                            *y = known_shape(graph, pith_node_output(graph, node, 0));
    int64_t channels[MOST_PLANES];
    uint32_t made;
    int rc;

    if (!y || y->rank != x->rank || y->dim[0] != s->pictures)
        return 0;
    for (uint32_t i = 2; i < x->rank; i++)
        if (y->dim[i] != x->dim[i])
            return 0;
    for (int64_t i = 0; i < s->pictures * y->dim[1]; i++) {
        const int64_t n = i / y->dim[1], c = i % y->dim[1],
                      from = s->from[first + i] - n * s->channels;

        if (from < 0 || from >= s->channels || (n > 0 && from != channels[c]))
            return 0;
        channels[c] = from;
    }
    rc = fused_replace(graph, node, PITH_FUSED_DOMAIN, "Channels", &s->x, 1, &made);
    return rc < 0 ? rc : pith_node_set_ints(graph, made, "channels", channels, (size_t) y->dim[1]);
}

/* Each Gather takes one entry of the first axis: so many planes that lie together. */
static int replace_gathers(struct pith_graph *graph, uint32_t value, const struct shuffle *s)
{
    const struct pith_shape *shape = known_shape(graph, value);
    size_t count = 0;
    const uint32_t *users = pith_value_users(graph, value, &count);
    uint32_t nodes[16];
    int rc = 0;

    if (!shape || shape->rank < 1 || shape->dim[0] < 1 || count > 16)
        return 0;
    memcpy(nodes, users, count * sizeof *nodes);
    const int64_t groups = shape->dim[0], planes = s->pictures * s->channels / groups;

    for (size_t i = 0; i < count && rc == 0; i++) {
        const uint32_t at = fused_is(graph, nodes[i], "Gather")
                                ? pith_node_input(graph, nodes[i], 1)
                                : PITH_NO_VALUE;
        const struct pith_tensor *index =
            at == PITH_NO_VALUE ? NULL : pith_value_constant(graph, at);
        int64_t group;

        if (!index || index->shape.rank != 0 || s->pictures * s->channels % groups != 0 ||
            pith_node_int(graph, nodes[i], "axis", 0) != 0 ||
            pith_node_input(graph, nodes[i], 0) != value ||
            !passes(graph, s->x, pith_node_output(graph, nodes[i], 0)))
            continue;
        group = pith_tensor_get_int(index, 0);
        group += group < 0 ? groups : 0;
        if (group >= 0 && group < groups)
            rc = replace(graph, nodes[i], s, group * planes);
    }
    return rc;
}

static int fuse_shuffle(struct pith_graph *graph, uint32_t transpose, struct shuffle *s)
{
    const uint32_t before = fused_producer(graph, pith_node_input(graph, transpose, 0), "Reshape"),
                   after = sole_user(graph, pith_node_output(graph, transpose, 0));
    const struct pith_shape *x;
    uint32_t result;

    if (before == PITH_NO_NODE || after == PITH_NO_NODE || !fused_is(graph, after, "Reshape"))
        return 0;
    s->x = pith_node_input(graph, before, 0);
    x = known_shape(graph, s->x);
    result = pith_node_output(graph, after, 0);
    if (!x || x->rank < 3 || x->rank > 4 || x->dim[0] * x->dim[1] > MOST_PLANES ||
        pith_shape_elements(x) < 1 || pith_value_dtype(graph, s->x) != PITH_FLOAT32 ||
        !passes(graph, s->x, pith_node_output(graph, before, 0)) ||
        !passes(graph, s->x, pith_node_output(graph, transpose, 0)) || !passes(graph, s->x, result))
        return 0;
    s->pictures = x->dim[0];
    s->channels = x->dim[1];
    s->plane = x->dim[2] * (x->rank == 4 ? x->dim[3] : 1);
    if (!follow(graph, transpose, s))
        return 0;
    if (known_shape(graph, result) && known_shape(graph, result)->rank == x->rank)
        return replace(graph, after, s, 0);
    return replace_gathers(graph, result, s);
}

int fuse_shuffles(struct pith_graph *graph)
{
    struct shuffle *s = malloc(sizeof *s);
    int rc = s ? 0 : -ENOMEM;

    for (uint32_t node = 0; node < pith_graph_node_limit(graph) && rc == 0; node++)
        if (pith_node_exists(graph, node) && fused_is(graph, node, "Transpose"))
            rc = fuse_shuffle(graph, node, s);
    free(s);
    return rc;
}
