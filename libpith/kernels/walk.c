/* Walking over operands by strides. See walk.h. */
#include "libpith/kernels/walk.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

void walk_init(struct walk *walk, uint32_t operand_count, const struct pith_shape *shape)
{
    assert(operand_count <= WALK_MAX_OPERANDS);
    memset(walk, 0, sizeof *walk);
    walk->operand_count = operand_count;
    walk->rank = shape->rank;
    memcpy(walk->dim, shape->dim, shape->rank * sizeof *shape->dim);
}

void walk_strides(const struct pith_shape *shape, int64_t *out)
{
    int64_t stride = 1;

    for (uint32_t i = shape->rank; i-- > 0;) {
        out[i] = stride;
        stride *= shape->dim[i];
    }
}

void walk_dense(struct walk *walk, uint32_t k)
{
    int64_t stride = 1;

    for (uint32_t i = walk->rank; i-- > 0;) {
        walk->stride[k][i] = stride;
        stride *= walk->dim[i];
    }
}

bool walk_broadcast(struct walk *walk, uint32_t k, const struct pith_shape *shape)
{
    int64_t stride = 1;

    if (shape->rank > walk->rank)
        return false;
    memset(walk->stride[k], 0, sizeof walk->stride[k]);
    for (uint32_t i = 0; i < shape->rank; i++) {
        uint32_t at = walk->rank - 1 - i;
        int64_t dim = shape->dim[shape->rank - 1 - i];

        if (dim != walk->dim[at] && dim != 1)
            return false;
        walk->stride[k][at] = dim == 1 ? 0 : stride;
        stride *= dim;
    }
    return true;
}

void walk_push(struct walk *walk, int64_t dim)
{
    assert(walk->rank < WALK_MAX_RANK);
    walk->dim[walk->rank++] = dim;
}

static bool joins(const struct walk *walk, uint32_t outer, uint32_t inner)
{
    for (uint32_t k = 0; k < walk->operand_count; k++)
        if (walk->stride[k][outer] != walk->stride[k][inner] * walk->dim[inner])
            return false;
    return true;
}

void walk_collapse(struct walk *walk)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < walk->rank; i++) {
        bool joined;

        if (walk->dim[i] == 1)
            continue;
        joined = kept > 0 && joins(walk, kept - 1, i);
        if (!joined)
            kept++;
        walk->dim[kept - 1] = joined ? walk->dim[kept - 1] * walk->dim[i] : walk->dim[i];
        for (uint32_t k = 0; k < walk->operand_count; k++)
            walk->stride[k][kept - 1] = walk->stride[k][i];
    }
    if (kept == 0) {
        walk->dim[0] = 1;
        for (uint32_t k = 0; k < walk->operand_count; k++)
            walk->stride[k][0] = 0;
        kept = 1;
    }
    walk->rank = kept;
}

int64_t walk_widen(struct walk *walk, size_t bytes, int64_t *start)
{
    const uint32_t inner = walk->rank - 1;
    const int64_t by = walk->dim[inner];

    if (walk->rank < 2 || (by != 2 && by != 4 && by != 8) || by * (int64_t) bytes > 8)
        return 1;
    for (uint32_t k = 0; k < walk->operand_count; k++) {
        if (walk->stride[k][inner] != 1 || start[k] % by != 0)
            return 1;
        for (uint32_t i = 0; i < inner; i++)
            if (walk->stride[k][i] % by != 0)
                return 1;
    }
    for (uint32_t k = 0; k < walk->operand_count; k++) {
        start[k] /= by;
        for (uint32_t i = 0; i < inner; i++)
            walk->stride[k][i] /= by;
    }
    walk->rank = inner;
    return by;
}

void walk_each(const struct walk *walk, walk_run *run, void *user)
{
    int64_t at[WALK_MAX_RANK] = {0}, offset[WALK_MAX_OPERANDS] = {0}, step[WALK_MAX_OPERANDS];
    const uint32_t inner = walk->rank - 1;

    for (uint32_t i = 0; i < walk->rank; i++)
        if (walk->dim[i] == 0)
            return;
    for (uint32_t k = 0; k < walk->operand_count; k++)
        step[k] = walk->stride[k][inner];
    for (;;) {
        uint32_t i = inner;

        run(user, offset, step, walk->dim[inner]);
        while (i-- > 0) {
            for (uint32_t k = 0; k < walk->operand_count; k++)
                offset[k] += walk->stride[k][i];
            if (++at[i] < walk->dim[i])
                break;
            for (uint32_t k = 0; k < walk->operand_count; k++)
                offset[k] -= walk->stride[k][i] * walk->dim[i];
            at[i] = 0;
        }
        if (i == UINT32_MAX)
            return;
    }
}

/* Before opset 7, with `broadcast`, b lies over a from `axis` on. */
static void old_broadcast(const struct pith_step *step, struct pith_shape *b)
{
    const struct pith_shape *a = &step->input[0].shape;
    int64_t axis = pith_node_int(step->graph, step->node, "axis", (int64_t) a->rank - b->rank);

    if (step->opset >= 7 || pith_node_int(step->graph, step->node, "broadcast", 0) == 0)
        return;
    while (axis >= 0 && b->rank < PITH_MAX_RANK && axis + b->rank < (int64_t) a->rank)
        b->dim[b->rank++] = 1;
}

int walk_pair(const struct pith_step *step, size_t a, size_t b, struct walk *walk, struct pith_error *err)
{
    const struct pith_shape *out = &step->output[0].shape;
    struct pith_shape right = step->input[b].shape;

    old_broadcast(step, &right);
    walk_init(walk, 3, out);
    walk_dense(walk, 0);
    if (!walk_broadcast(walk, 1, &step->input[a].shape) || !walk_broadcast(walk, 2, &right))
        return pith_step_fail(step, err, -EINVAL, "its inputs do not broadcast to its output");
    walk_collapse(walk);
    return 0;
}
