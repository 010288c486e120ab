/* Types and shapes of operators that move data: Concat, Split, Slice, Transpose, Pad, Tile, Expand
 * and their like. */
#include "libpith/graph/infer.h"

#include <string.h>

int infer_concat(struct infer *in)
{
    const struct pith_shape *first = infer_shape(in, 0);
    struct pith_shape out;
    uint32_t axis;
    int rc;

    if (!infer_attribute(in, "axis") && in->opset >= 4)
        return infer_fail(in, "attribute axis is missing");
    for (size_t i = 0; i < infer_input_count(in); i++)
        if (!infer_shape(in, i))
            return infer_set(in, 0, infer_dtype(in, 0), NULL);
    out = *first;
    rc = infer_axis(in, infer_int(in, "axis", 1), out.rank, &axis);
    if (rc < 0)
        return rc;
    for (size_t i = 1; i < infer_input_count(in); i++) {
        const struct pith_shape *shape = infer_shape(in, i);
        char one[PITH_SHAPE_TEXT_BYTES], other[PITH_SHAPE_TEXT_BYTES];

        if (shape->rank != out.rank)
            return infer_fail(in, "input %zu %s and the first %s differ in rank", i,
                              infer_text(in, i, one), infer_text(in, 0, other));
        for (uint32_t k = 0; k < out.rank; k++) {
            if (k == axis)
                continue;
            if (infer_dims_clash(shape->dim[k], out.dim[k]))
                return infer_fail(in, "input %zu %s and the first %s differ along axis %u", i,
                                  infer_text(in, i, one), infer_text(in, 0, other), k);
            if (out.dim[k] == PITH_DIM_UNKNOWN)
                out.dim[k] = shape->dim[k];
        }
        rc = infer_add(in, out.dim[axis], shape->dim[axis], &out.dim[axis]);
        if (rc < 0)
            return rc;
    }
    return infer_set(in, 0, infer_dtype(in, 0), &out);
}

/* Parts from the attribute (up to opset 12), from input 1, or equal ones with the last smaller
 * (opset 18). */
static int split_parts(struct infer *in, int64_t whole, size_t outputs, struct known *parts,
                       bool *out_known)
{
    int64_t count = infer_int(in, "num_outputs", (int64_t) outputs);
    int64_t sum = 0, each;
    bool given, known;
    int rc = infer_axes(in, "split", 1, parts, &given, &known);

    *out_known = known;
    if (rc < 0 || !known)
        return rc;
    if (!given) {
        if (count < 1 || count > KNOWN_MAX_COUNT || (size_t) count != outputs)
            return infer_fail(in, "%zu outputs for %lld parts", outputs, (long long) count);
        *out_known = whole != PITH_DIM_UNKNOWN;
        if (!*out_known)
            return 0;
        if (whole % count != 0 && in->opset < 18)
            return infer_fail(in, "%lld does not divide into %lld equal parts", (long long) whole,
                              (long long) count);
        each = (whole + count - 1) / count;
        for (int64_t i = 0; i < count; i++) {
            parts->v[i] = whole < each ? whole : each;
            whole -= parts->v[i];
        }
        parts->count = count;
        return 0;
    }
    if ((size_t) parts->count != outputs)
        return infer_fail(in, "%lld parts for %zu outputs", (long long) parts->count, outputs);
    for (int64_t i = 0; i < parts->count; i++) {
        if (parts->v[i] < 0)
            return infer_fail(in, "a part of %lld is not possible", (long long) parts->v[i]);
        rc = infer_add(in, sum, parts->v[i], &sum);
        if (rc < 0)
            return rc;
    }
    if (whole != PITH_DIM_UNKNOWN && sum != whole)
        return infer_fail(in, "the parts sum up to %lld, the input has %lld", (long long) sum,
                          (long long) whole);
    return 0;
}

int infer_split(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0);
    size_t outputs = pith_node_output_count(in->graph, in->node);
    struct known parts;
    struct pith_shape out = {0};
    uint32_t axis = 0;
    bool known = false;
    int rc = 0;

    if (x) {
        out = *x;
        rc = infer_axis(in, infer_int(in, "axis", 0), x->rank, &axis);
        if (rc == 0)
            rc = split_parts(in, x->dim[axis], outputs, &parts, &known);
    }
    for (size_t i = 0; i < outputs && rc == 0; i++) {
        if (x)
            out.dim[axis] = known ? parts.v[i] : PITH_DIM_UNKNOWN;
        rc = infer_set(in, i, infer_dtype(in, 0), x ? &out : NULL);
    }
    return rc;
}

/* How many of `dim` a slice takes. Starts and ends may lie anywhere in 64 bits; they are clamped as
 * ONNX says. */
static int64_t slice_count(int64_t dim, int64_t start, int64_t end, int64_t step)
{
    int64_t low = step < 0 ? -1 : 0, high = step < 0 ? dim - 1 : dim;

    if (dim == 0)
        return 0;
    start = start < 0 ? start + dim : start;
    end = end < 0 ? end + dim : end;
    start = start < 0 ? 0 : start > high ? high : start;
    end = end < low ? low : end > dim ? dim : end;
    if (step > 0)
        return end > start ? (end - start - 1) / step + 1 : 0;
    /* -(step + 1) + 1 stays in range for INT64_MIN. */
    return start > end
               ? (int64_t) ((uint64_t) (start - end - 1) / ((uint64_t) - (step + 1) + 1)) + 1
               : 0;
}

struct slice {
    struct known starts, ends, axes, steps;
    bool known, has_axes, has_steps;
};

static int read_slice(struct infer *in, struct slice *slice)
{
    bool given = true, axes_known = true;
    int rc;

    if (in->opset < 10) {
        rc = infer_int_list(in, "starts", &slice->starts, &given);
        if (rc == 0)
            rc = infer_int_list(in, "ends", &slice->ends, &slice->known);
        if (rc == 0)
            rc = infer_int_list(in, "axes", &slice->axes, &slice->has_axes);
        slice->has_steps = false;
        if (rc == 0 && (!given || !slice->known))
            return infer_fail(in, "attributes starts and ends are needed");
        return rc;
    }
    slice->has_axes = infer_has(in, 3);
    slice->has_steps = infer_has(in, 4);
    slice->known = infer_known(in, 1, &slice->starts) && infer_known(in, 2, &slice->ends) &&
                   (!slice->has_steps || infer_ints(in, 4, &slice->steps));
    if (slice->has_axes)
        axes_known = infer_ints(in, 3, &slice->axes);
    slice->known = slice->known && axes_known;
    return 0;
}

int infer_slice(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0);
    struct slice slice;
    struct pith_shape out;
    uint32_t mask = 0;
    int rc = read_slice(in, &slice);

    if (rc < 0 || !x)
        return rc < 0 ? rc : infer_set(in, 0, infer_dtype(in, 0), NULL);
    out = *x;
    if (!slice.known) {
        for (uint32_t i = 0; i < out.rank; i++)
            out.dim[i] = PITH_DIM_UNKNOWN;
        return infer_set(in, 0, infer_dtype(in, 0), &out);
    }
    if (slice.starts.count != slice.ends.count ||
        (slice.has_axes && slice.axes.count != slice.starts.count) ||
        (slice.has_steps && slice.steps.count != slice.starts.count) ||
        slice.starts.count > x->rank)
        return infer_fail(in, "starts, ends, axes and steps differ in length");
    if (slice.has_axes)
        rc = infer_axis_mask(in, &slice.axes, x->rank, &mask);
    for (int64_t i = 0; i < slice.starts.count && rc == 0; i++) {
        int64_t step = slice.has_steps ? slice.steps.v[i] : 1;
        int64_t start = slice.starts.v[i], end = slice.ends.v[i];
        uint32_t axis = (uint32_t) i;

        if (slice.has_axes)
            rc = infer_axis(in, slice.axes.v[i], x->rank, &axis);
        if (rc == 0 && step == 0)
            rc = infer_fail(in, "a step of 0 never ends");
        if (rc < 0)
            return rc;
        if (start == KNOWN_NOT || end == KNOWN_NOT || x->dim[axis] == PITH_DIM_UNKNOWN)
            out.dim[axis] = PITH_DIM_UNKNOWN;
        else
            out.dim[axis] = slice_count(x->dim[axis], start, end, step);
    }
    return rc < 0 ? rc : infer_set(in, 0, infer_dtype(in, 0), &out);
}

int infer_transpose(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0);
    struct pith_shape out = {0};
    struct known perm;
    uint32_t mask;
    bool given;
    int rc = infer_int_list(in, "perm", &perm, &given);

    if (rc < 0 || !x)
        return rc < 0 ? rc : infer_set(in, 0, infer_dtype(in, 0), NULL);
    out.rank = x->rank;
    if (given) {
        if (perm.count != x->rank)
            return infer_fail(in, "attribute perm has %lld entries, the input has rank %u",
                              (long long) perm.count, x->rank);
        rc = infer_axis_mask(in, &perm, x->rank, &mask);
        if (rc < 0)
            return rc;
    }
    for (uint32_t i = 0; i < x->rank; i++) {
        uint32_t from = x->rank - 1 - i;

        if (given) {
            rc = infer_axis(in, perm.v[i], x->rank, &from);
            if (rc < 0)
                return rc;
        }
        out.dim[i] = x->dim[from];
    }
    return infer_set(in, 0, infer_dtype(in, 0), &out);
}

int infer_tile(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0);
    struct pith_shape out;
    struct known repeats;
    int rc = 0;

    if (!x)
        return infer_set(in, 0, infer_dtype(in, 0), NULL);
    out = *x;
    if (!infer_ints(in, 1, &repeats)) {
        for (uint32_t i = 0; i < out.rank; i++)
            out.dim[i] = PITH_DIM_UNKNOWN;
        return infer_set(in, 0, infer_dtype(in, 0), &out);
    }
    if (repeats.count != x->rank)
        return infer_fail(in, "%lld repeats for an input of rank %u", (long long) repeats.count,
                          x->rank);
    for (uint32_t i = 0; i < out.rank && rc == 0; i++) {
        if (repeats.v[i] < 0)
            return infer_fail(in, "repeating %lld times is not possible", (long long) repeats.v[i]);
        rc = infer_multiply(in, x->dim[i], repeats.v[i], &out.dim[i]);
    }
    return rc < 0 ? rc : infer_set(in, 0, infer_dtype(in, 0), &out);
}

/* A shape from integers of which some may be unknown; false where even their number is. */
static int shape_of_known(struct infer *in, size_t input, struct pith_shape *out, bool *out_known)
{
    struct known dims;
    const struct pith_shape *shape = infer_shape(in, input);

    *out = (struct pith_shape){0};
    *out_known = true;
    if (!infer_known(in, input, &dims)) {
        if (!shape || shape->rank != 1 || shape->dim[0] == PITH_DIM_UNKNOWN) {
            *out_known = false;
            return 0;
        }
        dims.count = shape->dim[0];
        for (int64_t i = 0; i < dims.count && i < KNOWN_MAX_COUNT; i++)
            dims.v[i] = KNOWN_NOT;
    }
    if (dims.count > PITH_MAX_RANK)
        return infer_fail(in, "a shape of %lld dimensions; at most %d are possible",
                          (long long) dims.count, PITH_MAX_RANK);
    out->rank = (uint32_t) dims.count;
    for (uint32_t i = 0; i < out->rank; i++) {
        if (dims.v[i] != KNOWN_NOT && dims.v[i] < 0)
            return infer_fail(in, "a dimension of %lld is not possible", (long long) dims.v[i]);
        out->dim[i] = dims.v[i] == KNOWN_NOT ? PITH_DIM_UNKNOWN : dims.v[i];
    }
    return 0;
}

int infer_expand(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0);
    struct pith_shape out;
    bool known;
    int rc = shape_of_known(in, 1, &out, &known);

    if (rc < 0)
        return rc;
    if (!x || !known)
        return infer_set(in, 0, infer_dtype(in, 0), NULL);
    rc = infer_broadcast_shape(in, x, &out);
    return rc < 0 ? rc : infer_set(in, 0, infer_dtype(in, 0), &out);
}

int infer_pad(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0);
    struct known pads, axes;
    struct pith_shape out;
    bool given = true, axes_given = false, axes_known = true;
    uint32_t mask;
    int rc;

    if (in->opset < 11)
        rc = infer_int_list(in, in->opset < 2 ? "paddings" : "pads", &pads, &given);
    else {
        rc = infer_axes(in, "axes", 3, &axes, &axes_given, &axes_known);
        given = infer_ints(in, 1, &pads) && axes_known;
    }
    if (rc < 0 || !x)
        return rc < 0 ? rc : infer_set(in, 0, infer_dtype(in, 0), NULL);
    out = *x;
    if (!given) {
        if (in->opset < 11)
            return infer_fail(in, "attribute pads is missing");
        for (uint32_t i = 0; i < out.rank; i++)
            out.dim[i] = PITH_DIM_UNKNOWN;
        return infer_set(in, 0, infer_dtype(in, 0), &out);
    }
    if (!axes_given) {
        axes.count = x->rank;
        for (uint32_t i = 0; i < x->rank; i++)
            axes.v[i] = i;
    }
    if (pads.count != 2 * axes.count)
        return infer_fail(in, "%lld pads for %lld axes; a begin and an end each are needed",
                          (long long) pads.count, (long long) axes.count);
    rc = infer_axis_mask(in, &axes, x->rank, &mask);
    for (int64_t i = 0; i < axes.count && rc == 0; i++) {
        int64_t dim;
        uint32_t axis;

        rc = infer_axis(in, axes.v[i], x->rank, &axis);
        if (rc < 0 || x->dim[axis] == PITH_DIM_UNKNOWN)
            continue;
        dim = x->dim[axis];
        if (__builtin_add_overflow(dim, pads.v[i], &dim) ||
            __builtin_add_overflow(dim, pads.v[i + axes.count], &dim) || dim < 0)
            return infer_fail(in, "pads of %lld and %lld leave nothing of %lld along axis %u",
                              (long long) pads.v[i], (long long) pads.v[i + axes.count],
                              (long long) x->dim[axis], axis);
        out.dim[axis] = dim;
    }
    return rc < 0 ? rc : infer_set(in, 0, infer_dtype(in, 0), &out);
}

static int block_size(struct infer *in, int64_t *out)
{
    int64_t block = infer_int(in, "blocksize", 0);
    int rc = infer_rank(in, 0, "input", 4, 4);

    if (rc < 0)
        return rc;
    if (block < 1 || block > INT32_MAX)
        return infer_fail(in, "attribute blocksize is %lld, it must be 1 or more",
                          (long long) block);
    *out = block;
    return 0;
}

int infer_depth_to_space(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0);
    struct pith_shape out;
    int64_t block;
    int rc = block_size(in, &block);

    if (rc < 0 || !x)
        return rc < 0 ? rc : infer_set(in, 0, infer_dtype(in, 0), NULL);
    out = *x;
    if (x->dim[1] != PITH_DIM_UNKNOWN && x->dim[1] % (block * block) != 0)
        return infer_fail(in, "%lld channels do not divide into blocks of %lld by %lld",
                          (long long) x->dim[1], (long long) block, (long long) block);
    if (x->dim[1] != PITH_DIM_UNKNOWN)
        out.dim[1] = x->dim[1] / (block * block);
    rc = infer_multiply(in, x->dim[2], block, &out.dim[2]);
    if (rc == 0)
        rc = infer_multiply(in, x->dim[3], block, &out.dim[3]);
    return rc < 0 ? rc : infer_set(in, 0, infer_dtype(in, 0), &out);
}

int infer_space_to_depth(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0);
    struct pith_shape out;
    int64_t block;
    int rc = block_size(in, &block);

    if (rc < 0 || !x)
        return rc < 0 ? rc : infer_set(in, 0, infer_dtype(in, 0), NULL);
    out = *x;
    for (uint32_t i = 2; i < 4; i++) {
        if (x->dim[i] == PITH_DIM_UNKNOWN)
            continue;
        if (x->dim[i] % block != 0)
            return infer_fail(in, "%lld does not divide into blocks of %lld", (long long) x->dim[i],
                              (long long) block);
        out.dim[i] = x->dim[i] / block;
    }
    rc = infer_multiply(in, x->dim[1], block * block, &out.dim[1]);
    return rc < 0 ? rc : infer_set(in, 0, infer_dtype(in, 0), &out);
}

int infer_reverse_sequence(struct infer *in)
{
    int64_t batch = infer_int(in, "batch_axis", 1), time = infer_int(in, "time_axis", 0);
    const struct pith_shape *x = infer_shape(in, 0), *lengths = infer_shape(in, 1);
    int rc = infer_rank(in, 0, "input", 2, PITH_MAX_RANK);

    if (rc == 0)
        rc = infer_rank(in, 1, "sequence_lens", 1, 1);
    if (rc < 0)
        return rc;
    if (batch == time || batch < 0 || batch > 1 || time < 0 || time > 1)
        return infer_fail(in, "batch_axis %lld and time_axis %lld must be 0 and 1, or 1 and 0",
                          (long long) batch, (long long) time);
    if (x && lengths && infer_dims_clash(x->dim[batch], lengths->dim[0]))
        return infer_fail(in, "%lld lengths for a batch of %lld", (long long) lengths->dim[0],
                          (long long) x->dim[batch]);
    return infer_set(in, 0, infer_dtype(in, 0), x);
}

int infer_center_crop_pad(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0);
    struct known axes;
    struct pith_shape out, target;
    bool given, known;
    uint32_t mask;
    int rc = infer_int_list(in, "axes", &axes, &given);

    if (rc == 0)
        rc = shape_of_known(in, 1, &target, &known);
    if (rc < 0 || !x)
        return rc < 0 ? rc : infer_set(in, 0, infer_dtype(in, 0), NULL);
    out = *x;
    if (!given) {
        axes.count = x->rank;
        for (uint32_t i = 0; i < x->rank; i++)
            axes.v[i] = i;
    }
    if (known && (int64_t) target.rank != axes.count)
        return infer_fail(in, "%u sizes for %lld axes", target.rank, (long long) axes.count);
    rc = infer_axis_mask(in, &axes, x->rank, &mask);
    for (int64_t i = 0; i < axes.count && rc == 0; i++) {
        uint32_t axis;

        rc = infer_axis(in, axes.v[i], x->rank, &axis);
        if (rc == 0)
            out.dim[axis] = known ? target.dim[i] : PITH_DIM_UNKNOWN;
    }
    return rc < 0 ? rc : infer_set(in, 0, infer_dtype(in, 0), &out);
}

int infer_trilu(struct infer *in)
{
    int rc = infer_rank(in, 0, "input", 2, PITH_MAX_RANK);

    return rc < 0 ? rc : infer_set(in, 0, infer_dtype(in, 0), infer_shape(in, 0));
}
