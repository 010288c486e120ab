/* Concat, Split: along an axis a tensor is blocks behind one another, each of which lies in one piece. */
#include "libpith/kernels/families.h"
#include "libpith/kernels/move.h"
#include "libpith/kernels/numbers.h"

#include <errno.h>
#include <string.h>

struct blocks {
    int64_t outer;       /* before the axis */
    int64_t inner_bytes; /* of one along the axis */
    uint32_t axis;
};

static struct blocks *blocks_of(struct pith_step *step, const struct pith_tensor *whole,
                                int64_t axis, struct pith_error *err, int *rc)
{
    struct blocks *b = pith_step_alloc(step, sizeof *b);

    if (!b) {
        *rc = -ENOMEM;
        return NULL;
    }
    *rc = pith_step_axis(step, axis, whole->shape.rank, &b->axis, err);
    if (*rc < 0)
        return NULL;
    b->outer = pith_dims_product(&whole->shape, 0, b->axis);
    b->inner_bytes = pith_dims_product(&whole->shape, b->axis + 1, whole->shape.rank) *
                     (int64_t) numbers_bytes(whole->dtype);
    step->params = b;
    return b;
}

/* The parts sum up to the whole along the axis, and are like it elsewhere. */
static int check_parts(struct pith_step *step, const struct pith_tensor *whole,
                       const struct pith_tensor *parts, size_t count, uint32_t axis,
                       struct pith_error *err)
{
    int64_t sum = 0;

    for (size_t i = 0; i < count; i++) {
        struct pith_shape part = parts[i].shape;

        if (parts[i].dtype == PITH_DTYPE_NONE)
            continue;
        sum += part.rank == whole->shape.rank ? part.dim[axis] : 0;
        part.dim[axis] = whole->shape.dim[axis];
        if (parts[i].dtype != whole->dtype || !pith_shape_equal(&part, &whole->shape))
            return pith_step_fail(step, err, -EINVAL, "part %zu does not fit the whole", i);
    }
    if (sum > whole->shape.dim[axis])
        return pith_step_fail(step, err, -EINVAL, "the parts are longer than the whole");
    return 0;
}

static int concat_prepare(struct pith_step *step, struct pith_error *err)
{
    int rc;
    struct blocks *b = blocks_of(step, &step->output[0],
                                 pith_node_int(step->graph, step->node, "axis", 1), err, &rc);
    int64_t sum = 0;

    if (!b)
        return rc;
    rc = check_parts(step, &step->output[0], step->input, step->input_count, b->axis, err);
    for (size_t i = 0; i < step->input_count && rc == 0; i++)
        sum += pith_step_has(step, i) ? step->input[i].shape.dim[b->axis] : 0;
    if (rc == 0 && sum != step->output[0].shape.dim[b->axis])
        return pith_step_fail(step, err, -EINVAL, "its inputs do not fill its output");
    if (rc == 0 && step->input_count == 1)
        step->view = 0;
    return rc;
}

static int concat_run(struct pith_step *step, struct pith_error *err)
{
    const struct blocks *b = step->params;
    const int64_t whole = step->output[0].shape.dim[b->axis] * b->inner_bytes;
    int64_t at = 0;

    (void) err;
    for (size_t i = 0; i < step->input_count; i++) {
        int64_t part;

        if (!pith_step_has(step, i))
            continue;
        part = step->input[i].shape.dim[b->axis] * b->inner_bytes;
        if (part > 0)
            move_blocks((char *) step->output[0].data + at, whole, step->input[i].data, part,
                        b->outer, (size_t) part);
        at += part;
    }
    return 0;
}

/* Where each part starts, outputs that nobody takes included. */
struct split {
    struct blocks *blocks;
    int64_t *start; /* along the axis */
};

static int split_starts(struct pith_step *step, struct split *s, int64_t whole,
                        struct pith_error *err)
{
    int64_t *sizes = pith_step_alloc(step, (int64_t) ((step->output_count + 1) * sizeof *sizes));
    int64_t count = (int64_t) step->output_count, at = 0;
    size_t given = 0;
    const int64_t *list = pith_node_ints(step->graph, step->node, "split", &given);
    int rc = 0;

    if (!sizes)
        return -ENOMEM;
    if (list && given == step->output_count)
        memcpy(sizes, list, given * sizeof *list);
    else if (pith_step_has(step, 1))
        rc = pith_step_ints(step, 1, sizes, step->output_count, &given, err);
    if (rc < 0)
        return rc;
    for (int64_t i = 0; i < count; i++) {
        int64_t each = (whole + count - 1) / count, left = whole - at;

        if (!given)
            sizes[i] = left < each ? left : each;
        if (sizes[i] < 0 || sizes[i] > left)
            return pith_step_fail(step, err, -EINVAL, "the parts do not sum up to %lld",
                                  (long long) whole);
        s->start[i] = at;
        at += sizes[i];
        if (step->output[i].dtype != PITH_DTYPE_NONE &&
            step->output[i].shape.dim[s->blocks->axis] != sizes[i])
            return pith_step_fail(step, err, -EINVAL, "output %lld is not its part's size",
                                  (long long) i);
    }
    return 0;
}

static int split_prepare(struct pith_step *step, struct pith_error *err)
{
    int rc;
    struct split *s = pith_step_alloc(step, sizeof *s);
    struct blocks *b = blocks_of(step, &step->input[0],
                                 pith_node_int(step->graph, step->node, "axis", 0), err, &rc);

    if (!s || !b)
        return s ? rc : -ENOMEM;
    s->blocks = b;
    s->start = pith_step_alloc(step, (int64_t) ((step->output_count + 1) * sizeof *s->start));
    if (!s->start)
        return -ENOMEM;
    step->params = s;
    rc = check_parts(step, &step->input[0], step->output, step->output_count, b->axis, err);
    return rc < 0 ? rc : split_starts(step, s, step->input[0].shape.dim[b->axis], err);
}

static int split_run(struct pith_step *step, struct pith_error *err)
{
    const struct split *s = step->params;
    const struct blocks *b = s->blocks;
    const int64_t whole = step->input[0].shape.dim[b->axis] * b->inner_bytes;

    (void) err;
    for (size_t i = 0; i < step->output_count; i++) {
        int64_t part;

        if (step->output[i].dtype == PITH_DTYPE_NONE)
            continue;
        part = step->output[i].shape.dim[b->axis] * b->inner_bytes;
        if (part > 0)
            move_blocks(step->output[i].data, part,
                        (const char *) step->input[0].data + s->start[i] * b->inner_bytes, whole,
                        b->outer, (size_t) part);
    }
    return 0;
}

const struct pith_kernel pith_kernels_concat[] = {
    {.op = "Concat",
     .name = "concat",
     .types = {NUMBERS_MOVED},
     .prepare = concat_prepare,
     .run = concat_run},
    {.op = "Split",
     .name = "split",
     .types = {NUMBERS_MOVED},
     .prepare = split_prepare,
     .run = split_run},
    {0},
};
