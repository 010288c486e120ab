/* Operators that are a copy by strides: Transpose, Slice, Expand, Tile, DepthToSpace, SpaceToDepth,
 * CenterCropPad. */
#include "libpith/kernels/families.h"
#include "libpith/kernels/move.h"
#include "libpith/kernels/numbers.h"
#include "libpith/kernels/walk.h"

#include <errno.h>
#include <string.h>

struct copy {
    struct walk walk; /* out, in */
    int64_t in_start, out_start;
    size_t bytes;
    bool clear; /* zeroes first: not all of the output is copied to */
    const char *in;
    char *out;
};

static void copy_part(void *user, const int64_t *offset, const int64_t *step, int64_t n)
{
    const struct copy *c = user;
    const int64_t bytes = (int64_t) c->bytes;

    if (step[0] == 1)
        move_run(c->out + offset[0] * bytes, c->in + offset[1] * bytes, step[1], n, c->bytes);
    else
        move_blocks(c->out + offset[0] * bytes, step[0] * bytes, c->in + offset[1] * bytes,
                    step[1] * bytes, n, c->bytes);
}

static int copy_run(struct pith_step *step, struct pith_error *err)
{
    struct copy *c = step->params;

    (void) err;
    c->in = (const char *) step->input[0].data + c->in_start * (int64_t) c->bytes;
    c->out = (char *) step->output[0].data + c->out_start * (int64_t) c->bytes;
    if (c->clear)
        memset(step->output[0].data, 0, step->output[0].bytes);
    walk_each(&c->walk, copy_part, c);
    return 0;
}

static struct copy *copy_new(struct pith_step *step)
{
    struct copy *c = pith_step_alloc(step, sizeof *c);

    if (!c)
        return NULL;
    c->bytes = numbers_bytes(step->input[0].dtype);
    walk_init(&c->walk, 2, &step->output[0].shape);
    walk_dense(&c->walk, 0);
    step->params = c;
    return c;
}

/* The walk is complete: makes it short. */
static void copy_settle(struct copy *c)
{
    int64_t start[2] = {c->out_start, c->in_start};

    walk_collapse(&c->walk);
    c->bytes *= (size_t) walk_widen(&c->walk, c->bytes, start);
    c->out_start = start[0];
    c->in_start = start[1];
}

static int expect_like(struct pith_step *step, const struct pith_shape *shape,
                       struct pith_error *err)
{
    char want[PITH_SHAPE_TEXT_BYTES], got[PITH_SHAPE_TEXT_BYTES];

    if (step->output[0].dtype == step->input[0].dtype &&
        pith_shape_equal(shape, &step->output[0].shape))
        return 0;
    return pith_step_fail(step, err, -EINVAL, "its output is %s of %s, it would be %s of %s",
                          pith_shape_text(&step->output[0].shape, got, sizeof got),
                          pith_dtype_name(step->output[0].dtype),
                          pith_shape_text(shape, want, sizeof want),
                          pith_dtype_name(step->input[0].dtype));
}

/* ---- Transpose ---- */

static int transpose_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape;
    struct copy *c = copy_new(step);
    struct pith_shape out = {.rank = x->rank};
    int64_t strides[PITH_MAX_RANK];
    size_t given = 0;
    const int64_t *perm = pith_node_ints(step->graph, step->node, "perm", &given);
    uint32_t seen = 0;
    int rc;

    if (!c)
        return -ENOMEM;
    if (perm && given != x->rank)
        return pith_step_fail(step, err, -EINVAL, "attribute perm has %zu entries for rank %u",
                              given, x->rank);
    walk_strides(x, strides);
    for (uint32_t i = 0; i < x->rank; i++) {
        uint32_t from = x->rank - 1 - i;

        if (perm) {
            rc = pith_step_axis(step, perm[i], x->rank, &from, err);
            if (rc < 0)
                return rc;
        }
        if (seen >> from & 1)
            return pith_step_fail(step, err, -EINVAL, "attribute perm names axis %u twice", from);
        seen |= UINT32_C(1) << from;
        out.dim[i] = x->dim[from];
        c->walk.stride[1][i] = strides[from];
    }
    rc = expect_like(step, &out, err);
    if (rc < 0)
        return rc;
    copy_settle(c);
    if (c->walk.rank == 1 && (c->walk.stride[1][0] == 1 || c->walk.dim[0] == 1))
        step->view = 0; /* only dimensions of 1 change places */
    return 0;
}

/* ---- Slice ---- */

struct slice_lists {
    int64_t starts[PITH_MAX_RANK], ends[PITH_MAX_RANK], axes[PITH_MAX_RANK], steps[PITH_MAX_RANK];
    size_t count, end_count, axis_count, step_count;
};

static int slice_attribute(struct pith_step *step, const char *name, int64_t *out,
                           size_t *out_count, struct pith_error *err)
{
    const int64_t *ints = pith_node_ints(step->graph, step->node, name, out_count);

    if (!ints)
        *out_count = 0;
    if (*out_count > PITH_MAX_RANK)
        return pith_step_fail(step, err, -EINVAL, "attribute %s is too long", name);
    if (ints)
        memcpy(out, ints, *out_count * sizeof *ints);
    return 0;
}

static int slice_read(struct pith_step *step, struct slice_lists *s, struct pith_error *err)
{
    int rc;

    s->step_count = 0;
    if (step->opset < 10) {
        rc = slice_attribute(step, "starts", s->starts, &s->count, err);
        if (rc == 0)
            rc = slice_attribute(step, "ends", s->ends, &s->end_count, err);
        if (rc == 0)
            rc = slice_attribute(step, "axes", s->axes, &s->axis_count, err);
    } else {
        rc = pith_step_ints(step, 1, s->starts, PITH_MAX_RANK, &s->count, err);
        if (rc == 0)
            rc = pith_step_ints(step, 2, s->ends, PITH_MAX_RANK, &s->end_count, err);
        if (rc == 0)
            rc = pith_step_ints(step, 3, s->axes, PITH_MAX_RANK, &s->axis_count, err);
        if (rc == 0)
            rc = pith_step_ints(step, 4, s->steps, PITH_MAX_RANK, &s->step_count, err);
    }
    if (rc < 0)
        return rc;
    if (s->end_count != s->count || (s->axis_count && s->axis_count != s->count) ||
        (s->step_count && s->step_count != s->count) || s->count > step->input[0].shape.rank)
        return pith_step_fail(step, err, -EINVAL, "starts, ends, axes and steps differ in length");
    return 0;
}

/* The first element taken and how many, as ONNX clamps them. */
static void slice_range(int64_t dim, int64_t start, int64_t end, int64_t by, int64_t *first,
                        int64_t *count)
{
    int64_t low = by < 0 ? -1 : 0, high = by < 0 ? dim - 1 : dim;

    start = start < 0 ? start + dim : start;
    end = end < 0 ? end + dim : end;
    start = start < 0 ? 0 : start > high ? high : start;
    end = end < low ? low : end > dim ? dim : end;
    *first = start;
    *count = 0;
    if (dim == 0)
        return;
    if (by > 0)
        *count = end > start ? (end - start - 1) / by + 1 : 0;
    else if (start > end)
        *count = (int64_t) ((uint64_t) (start - end - 1) / ((uint64_t) - (by + 1) + 1)) + 1;
}

static int slice_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape;
    struct pith_shape out = *x;
    struct slice_lists s;
    struct copy *c;
    int64_t strides[PITH_MAX_RANK];
    uint32_t seen = 0;
    int rc = slice_read(step, &s, err);

    if (rc < 0)
        return rc;
    c = copy_new(step);
    if (!c)
        return -ENOMEM;
    walk_strides(x, strides);
    memcpy(c->walk.stride[1], strides, sizeof strides);
    for (size_t i = 0; i < s.count; i++) {
        int64_t by = s.step_count ? s.steps[i] : 1, first;
        uint32_t axis;

        rc = pith_step_axis(step, s.axis_count ? s.axes[i] : (int64_t) i, x->rank, &axis, err);
        if (rc < 0)
            return rc;
        if (seen >> axis & 1 || by == 0)
            return pith_step_fail(step, err, -EINVAL,
                                  by ? "axis %u is named twice" : "the step of axis %u is 0", axis);
        seen |= UINT32_C(1) << axis;
        slice_range(x->dim[axis], s.starts[i], s.ends[i], by, &first, &out.dim[axis]);
        if (out.dim[axis] == 0)
            continue;
        c->in_start += first * strides[axis];
        /* With a single element there is nothing to step to, and the step may be any number. */
        c->walk.stride[1][axis] = out.dim[axis] > 1 ? by * strides[axis] : 0;
    }
    rc = expect_like(step, &out, err);
    if (rc < 0)
        return rc;
    if (pith_shape_elements(&out) == 0)
        c->in_start = 0;
    if (pith_shape_equal(&out, x) && c->in_start == 0)
        step->view = 0;
    copy_settle(c);
    return 0;
}

/* ---- Expand, Tile ---- */

static int expand_prepare(struct pith_step *step, struct pith_error *err)
{
    int64_t dims[PITH_MAX_RANK];
    size_t count;
    struct copy *c;
    int rc = pith_step_ints(step, 1, dims, PITH_MAX_RANK, &count, err);

    if (rc < 0)
        return rc;
    c = copy_new(step);
    if (!c)
        return -ENOMEM;
    if (step->output[0].dtype != step->input[0].dtype ||
        !walk_broadcast(&c->walk, 1, &step->input[0].shape))
        return pith_step_fail(step, err, -EINVAL, "its input does not broadcast to its output");
    if (pith_shape_elements(&step->input[0].shape) == pith_shape_elements(&step->output[0].shape))
        step->view = 0;
    copy_settle(c);
    return 0;
}

static int tile_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape;
    struct pith_shape out = *x;
    int64_t repeats[PITH_MAX_RANK], strides[PITH_MAX_RANK];
    size_t count;
    struct copy *c;
    int rc = pith_step_ints(step, 1, repeats, PITH_MAX_RANK, &count, err);

    if (rc < 0)
        return rc;
    c = copy_new(step);
    if (!c)
        return -ENOMEM;
    if (count != x->rank)
        return pith_step_fail(step, err, -EINVAL, "%zu repeats for rank %u", count, x->rank);
    walk_strides(x, strides);
    c->walk.rank = 0;
    for (uint32_t i = 0; i < x->rank; i++) {
        if (repeats[i] < 0 || __builtin_mul_overflow(x->dim[i], repeats[i], &out.dim[i]))
            return pith_step_fail(step, err, -EINVAL, "repeating %lld times is not possible",
                                  (long long) repeats[i]);
        walk_push(&c->walk, repeats[i]);
        c->walk.stride[1][c->walk.rank - 1] = 0;
        walk_push(&c->walk, x->dim[i]);
        c->walk.stride[1][c->walk.rank - 1] = strides[i];
    }
    rc = expect_like(step, &out, err);
    if (rc < 0)
        return rc;
    walk_dense(&c->walk, 0);
    copy_settle(c);
    return 0;
}

/* ---- DepthToSpace, SpaceToDepth: six dimensions change places ---- */

static int block_of(struct pith_step *step, int64_t *out, struct pith_error *err)
{
    *out = pith_node_int(step->graph, step->node, "blocksize", 0);
    if (step->input[0].shape.rank != 4 || *out < 1 || *out > INT32_MAX)
        return pith_step_fail(step, err, -EINVAL, "it needs rank 4 and a blocksize of 1 or more");
    return 0;
}

/* The walk is over out's six dimensions; from[i] is the place of out's dimension i among the
 * input's six. */
static void walk_six(struct copy *c, const int64_t *in_dims, const uint32_t *from)
{
    int64_t strides[6], stride = 1;

    for (uint32_t i = 6; i-- > 0;) {
        strides[i] = stride;
        stride *= in_dims[i];
    }
    c->walk.rank = 0;
    for (uint32_t i = 0; i < 6; i++) {
        walk_push(&c->walk, in_dims[from[i]]);
        c->walk.stride[1][i] = strides[from[i]];
    }
    walk_dense(&c->walk, 0);
    copy_settle(c);
}

static int depth_to_space_prepare(struct pith_step *step, struct pith_error *err)
{
    static const uint32_t dcr[6] = {0, 3, 4, 1, 5, 2}, crd[6] = {0, 1, 4, 2, 5, 3};
    const int64_t *d = step->input[0].shape.dim;
    bool is_crd = strcmp(pith_node_string(step->graph, step->node, "mode", "DCR"), "CRD") == 0;
    struct copy *c = copy_new(step);
    int64_t b, depth;
    int rc;

    if (!c)
        return -ENOMEM;
    rc = block_of(step, &b, err);
    if (rc < 0)
        return rc;
    depth = d[1] / (b * b);
    if (depth * b * b != d[1])
        return pith_step_fail(step, err, -EINVAL, "the channels do not divide into blocks");
    rc = expect_like(
        step, &(struct pith_shape){.rank = 4, .dim = {d[0], depth, d[2] * b, d[3] * b}}, err);
    if (rc < 0)
        return rc;
    if (is_crd)
        walk_six(c, (int64_t[6]){d[0], depth, b, b, d[2], d[3]}, crd);
    else
        walk_six(c, (int64_t[6]){d[0], b, b, depth, d[2], d[3]}, dcr);
    return 0;
}

static int space_to_depth_prepare(struct pith_step *step, struct pith_error *err)
{
    static const uint32_t from[6] = {0, 3, 5, 1, 2, 4};
    const int64_t *d = step->input[0].shape.dim;
    struct copy *c = copy_new(step);
    int64_t b;
    int rc;

    if (!c)
        return -ENOMEM;
    rc = block_of(step, &b, err);
    if (rc < 0)
        return rc;
    if (d[2] % b || d[3] % b)
        return pith_step_fail(step, err, -EINVAL, "height and width do not divide into blocks");
    rc = expect_like(
        step, &(struct pith_shape){.rank = 4, .dim = {d[0], d[1] * b * b, d[2] / b, d[3] / b}},
        err);
    if (rc < 0)
        return rc;
    walk_six(c, (int64_t[6]){d[0], d[1], d[2] / b, b, d[3] / b, b}, from);
    return 0;
}

/* ---- CenterCropPad: the middle of the input in the middle of the output ---- */

static int crop_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape;
    struct pith_shape out = *x, region = *x;
    int64_t sizes[PITH_MAX_RANK], in_strides[PITH_MAX_RANK], out_strides[PITH_MAX_RANK];
    size_t count, given = 0;
    const int64_t *axes = pith_node_ints(step->graph, step->node, "axes", &given);
    struct copy *c;
    int rc = pith_step_ints(step, 1, sizes, PITH_MAX_RANK, &count, err);

    if (rc < 0)
        return rc;
    c = copy_new(step);
    if (!c)
        return -ENOMEM;
    if (count != (axes ? given : x->rank))
        return pith_step_fail(step, err, -EINVAL, "%zu sizes for %zu axes", count,
                              axes ? given : x->rank);
    for (size_t i = 0; i < count; i++) {
        uint32_t axis;

        rc = pith_step_axis(step, axes ? axes[i] : (int64_t) i, x->rank, &axis, err);
        if (rc < 0)
            return rc;
        out.dim[axis] = sizes[i];
    }
    rc = expect_like(step, &out, err);
    if (rc < 0)
        return rc;
    walk_strides(x, in_strides);
    walk_strides(&out, out_strides);
    for (uint32_t i = 0; i < x->rank; i++) {
        int64_t more = out.dim[i] - x->dim[i];

        if (more >= 0) {
            c->out_start += more / 2 * out_strides[i];
            c->clear = c->clear || more > 0;
        } else {
            c->in_start += -more / 2 * in_strides[i];
            region.dim[i] = out.dim[i];
        }
    }
    walk_init(&c->walk, 2, &region);
    memcpy(c->walk.stride[0], out_strides, sizeof out_strides);
    memcpy(c->walk.stride[1], in_strides, sizeof in_strides);
    if (pith_shape_elements(&region) == 0)
        c->in_start = c->out_start = 0;
    copy_settle(c);
    return 0;
}

#define COPY(operator, prepare_it)                                                                 \
    {                                                                                              \
        .op = operator, .name = "copy", .types = {NUMBERS_MOVED}, .prepare = prepare_it,           \
        .run = copy_run                                                                            \
    }

const struct pith_kernel pith_kernels_copy[] = {
    COPY("Transpose", transpose_prepare),
    COPY("Slice", slice_prepare),
    COPY("Expand", expand_prepare),
    COPY("Tile", tile_prepare),
    COPY("DepthToSpace", depth_to_space_prepare),
    COPY("SpaceToDepth", space_to_depth_prepare),
    COPY("CenterCropPad", crop_prepare),
    {0},
};
