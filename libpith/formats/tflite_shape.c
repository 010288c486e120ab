/* Operators that move elements or give them another shape. Those whose axes stay apart follow the
 * form of their input; the rest take the file's order. */
#include "libpith/formats/tflite_read.h"

#include <errno.h>
#include <string.h>

#define OPEN_END INT64_MAX

enum {
    SLICE_BEGIN_MASK = 0,
    SLICE_END_MASK = 1,
    SLICE_ELLIPSIS_MASK = 2,
    SLICE_NEW_AXIS_MASK = 3,
    SLICE_SHRINK_MASK = 4,
    SLICE_OFFSET = 5
};

/* ---- Reshape ---- */

/* Whether only what lies between the first axis and the last changes, which planar values keep
 * behind both. */
static bool keeps_ends(const struct pith_shape *in, const struct pith_shape *out)
{
    if (in->rank < 3 || out->rank < 3 || in->dim[0] != out->dim[0] ||
        in->dim[in->rank - 1] != out->dim[out->rank - 1])
        return false;
    for (uint32_t i = 1; i < out->rank; i++)
        if (out->dim[i] < 1)
            return false;
    return true;
}

/* input -> output 0 of the shape that the file says of it, keeping planar values planar where only what lies between the
 * first and the last axis changes. dims: NULL, or the shape to be (at most one -1). */
static void reshape_to(struct tflite_node *node, uint32_t i, const int64_t *dims, uint32_t rank)
{
    const struct pith_shape *in = &tflite_input(node, i)->shape;
    const struct pith_shape *out = &tflite_output(node, 0)->shape;
    int64_t planar[PITH_MAX_RANK];

    if (tflite_home(node, i) == FORM_PLANAR && keeps_ends(in, out)) {
        for (uint32_t k = 0; k < out->rank; k++)
            planar[tflite_axis_in(FORM_PLANAR, k, out->rank)] = k ? out->dim[k] : 0;
        tflite_emit2(node, "Reshape", tflite_take(node, i, FORM_PLANAR),
                     tflite_constant_ints(node, planar, out->rank),
                     tflite_result(node, 0, FORM_PLANAR));
        return;
    }
    tflite_emit2(node, "Reshape", tflite_take_in_order(node, i),
                 tflite_constant_ints(node, dims, rank), tflite_result(node, 0, FORM_PLAIN));
}

/* The output's shape as the file has it, with -1 for an open size; false where more than one is
 * open. */
static bool output_dims(const struct tflite_node *node, int64_t *dims)
{
    const struct pith_shape *out = &tflite_output(node, 0)->shape;
    uint32_t open = 0;

    for (uint32_t k = 0; k < out->rank; k++) {
        dims[k] = out->dim[k];
        open += dims[k] < 0;
    }
    return open < 2;
}

/* The shape is an input, or, in old files, an option. */
static void reshape(struct tflite_node *node)
{
    int64_t dims[PITH_MAX_RANK];
    struct flat_vector option = flat_items(node->options, 0, 4);
    uint32_t count = 0;

    if (tflite_is_constant(node, 1)) {
        count = tflite_ints(node, 1, dims, PITH_MAX_RANK);
    } else if (tflite_input(node, 1)) {
        tflite_emit2(node, "Reshape", tflite_take_in_order(node, 0),
                     tflite_cast(node, tflite_take(node, 1, FORM_PLAIN), PITH_INT64),
                     tflite_result(node, 0, FORM_PLAIN));
        return;
    } else if (option.count > PITH_MAX_RANK) {
        tflite_fail(node, -ENOTSUP, "its shape has more than %d axes", PITH_MAX_RANK);
    } else {
        for (count = 0; count < option.count; count++)
            dims[count] = flat_item_i32(option, count);
    }
    for (uint32_t k = 0; k < count; k++)
        if (dims[k] == 0)
            tflite_fail(node, -ENOTSUP, "its shape has no elements");
    reshape_to(node, 0, dims, count);
}

/* To the output's shape where that is known, and by the axes where it is not. */
static void change_rank(struct tflite_node *node, const char *op, const int64_t *axes,
                        uint32_t count)
{
    int64_t dims[PITH_MAX_RANK];

    if (output_dims(node, dims)) {
        reshape_to(node, 0, dims, tflite_output(node, 0)->shape.rank);
        return;
    }
    tflite_emit2(node, op, tflite_take(node, 0, FORM_PLAIN),
                 tflite_constant_ints(node, axes, count), tflite_result(node, 0, FORM_PLAIN));
}

static void squeeze(struct tflite_node *node)
{
    struct flat_vector option = flat_items(node->options, 0, 4);
    const struct pith_shape *in = &tflite_input(node, 0)->shape;
    int64_t axes[PITH_MAX_RANK];
    uint32_t count = 0;

    if (option.count > PITH_MAX_RANK) {
        tflite_fail(node, -EBADMSG, "it names more than %d axes", PITH_MAX_RANK);
        return;
    }
    for (uint32_t k = 0; k < option.count; k++)
        axes[count++] = tflite_axis(node, flat_item_i32(option, k), in->rank);
    for (uint32_t k = 0; option.count == 0 && k < in->rank; k++)
        if (in->dim[k] == 1)
            axes[count++] = k;
    change_rank(node, "Squeeze", axes, count);
}

static void expand_dims(struct tflite_node *node)
{
    int64_t axis = 0;

    if (tflite_ints(node, 1, &axis, 1) != 1)
        tflite_fail(node, -EBADMSG, "it names no axis");
    axis = tflite_axis(node, axis, tflite_input(node, 0)->shape.rank + 1);
    change_rank(node, "Unsqueeze", &axis, 1);
}

/* ---- Transpose ---- */

/* From the form in which the input lies straight to the order that is asked for. */
static void transpose(struct tflite_node *node)
{
    const uint32_t rank = tflite_input(node, 0)->shape.rank;
    enum tflite_form form = tflite_home(node, 0);
    int64_t wanted[PITH_MAX_RANK];
    uint32_t order[PITH_MAX_RANK];
    bool seen[PITH_MAX_RANK] = {false};

    if (tflite_ints(node, 1, wanted, PITH_MAX_RANK) != rank)
        tflite_fail(node, -EBADMSG, "its order has not %u axes", (unsigned) rank);
    for (uint32_t k = 0; k < rank && node->rc == 0; k++) {
        uint32_t axis = tflite_axis(node, wanted[k], rank);

        if (seen[axis])
            tflite_fail(node, -EBADMSG, "its order names an axis twice");
        seen[axis] = true;
        order[k] = tflite_axis_in(form, axis, rank);
    }
    if (node->rc == 0)
        (void) tflite_transpose(node, tflite_take(node, 0, form), order, rank,
                                tflite_result(node, 0, FORM_PLAIN));
}

/* ---- joining and parting ---- */

static void concatenation(struct tflite_node *node)
{
    const uint32_t rank = tflite_output(node, 0)->shape.rank;
    uint32_t axis = tflite_axis(node, flat_i32(node->options, 0, 0), rank);
    uint32_t inputs[TFLITE_MOST_PORTS], output, emitted;
    enum tflite_form form = FORM_PLAIN;

    for (uint32_t i = 0; i < node->input_count; i++)
        if (rank >= 3 && tflite_home(node, i) == FORM_PLANAR)
            form = FORM_PLANAR;
    for (uint32_t i = 0; i < node->input_count; i++)
        inputs[i] = tflite_take(node, i, form);
    output = tflite_result_activated(node, flat_i8(node->options, 1, 0), form);
    emitted = tflite_emit(node, "Concat", inputs, node->input_count, &output, 1);
    tflite_set_int(node, emitted, "axis", tflite_axis_in(form, axis, rank));
}

/* data: the input that is parted, along the file's axis. */
static void part(struct tflite_node *node, uint32_t data, uint32_t axis)
{
    const uint32_t rank = tflite_input(node, data)->shape.rank;
    enum tflite_form form = tflite_home(node, data);
    int64_t sizes[TFLITE_MOST_PORTS];
    uint32_t outputs[TFLITE_MOST_PORTS], inputs[2], emitted;

    for (uint32_t i = 0; i < node->output_count && node->rc == 0; i++) {
        const struct pith_shape *shape = &tflite_output(node, i)->shape;

        if (shape->rank != rank || shape->dim[axis] < 0)
            tflite_fail(node, -ENOTSUP, "the size of its output %u along axis %u is open",
                        (unsigned) i, (unsigned) axis);
        sizes[i] = shape->dim[axis];
        outputs[i] = tflite_result(node, i, form);
    }
    inputs[0] = tflite_take(node, data, form);
    inputs[1] = tflite_constant_ints(node, sizes, node->output_count);
    emitted = tflite_emit(node, "Split", inputs, 2, outputs, node->output_count);
    tflite_set_int(node, emitted, "axis", tflite_axis_in(form, axis, rank));
}

static void split(struct tflite_node *node)
{
    int64_t axis = 0;

    if (tflite_ints(node, 0, &axis, 1) != 1)
        tflite_fail(node, -EBADMSG, "it names no axis");
    axis = tflite_axis(node, axis, tflite_input(node, 1)->shape.rank);
    if (node->rc == 0)
        part(node, 1, (uint32_t) axis);
}

static void split_v(struct tflite_node *node)
{
    int64_t axis = 0;

    if (tflite_ints(node, 2, &axis, 1) != 1)
        tflite_fail(node, -EBADMSG, "it names no axis");
    axis = tflite_axis(node, axis, tflite_input(node, 0)->shape.rank);
    if (node->rc == 0)
        part(node, 0, (uint32_t) axis);
}

static void pack(struct tflite_node *node)
{
    int64_t axis =
        tflite_axis(node, flat_i32(node->options, 1, 0), tflite_output(node, 0)->shape.rank);
    uint32_t axes = tflite_constant_ints(node, &axis, 1);
    uint32_t inputs[TFLITE_MOST_PORTS], output, emitted;

    for (uint32_t i = 0; i < node->input_count; i++)
        inputs[i] = tflite_emit2(node, "Unsqueeze", tflite_take(node, i, FORM_PLAIN), axes,
                                 tflite_moved(node, i));
    output = tflite_result(node, 0, FORM_PLAIN);
    emitted = tflite_emit(node, "Concat", inputs, node->input_count, &output, 1);
    tflite_set_int(node, emitted, "axis", axis);
}

static void unpack(struct tflite_node *node)
{
    const uint32_t rank = tflite_input(node, 0)->shape.rank;
    int64_t axis = tflite_axis(node, flat_i32(node->options, 1, 0), rank);
    int64_t sizes[TFLITE_MOST_PORTS];
    uint32_t outputs[TFLITE_MOST_PORTS], inputs[2], axes, emitted;

    for (uint32_t i = 0; i < node->output_count; i++) {
        sizes[i] = 1;
        outputs[i] = tflite_moved(node, 0);
    }
    inputs[0] = tflite_take(node, 0, FORM_PLAIN);
    inputs[1] = tflite_constant_ints(node, sizes, node->output_count);
    emitted = tflite_emit(node, "Split", inputs, 2, outputs, node->output_count);
    tflite_set_int(node, emitted, "axis", axis);
    axes = tflite_constant_ints(node, &axis, 1);
    for (uint32_t i = 0; i < node->output_count; i++)
        tflite_emit2(node, "Squeeze", outputs[i], axes, tflite_result(node, i, FORM_PLAIN));
}

/* ---- Slice ---- */

struct slice { /* axes as in the file */
    int64_t begin[PITH_MAX_RANK], end[PITH_MAX_RANK], step[PITH_MAX_RANK];
    uint32_t rank;
};

/* output: of the sliced shape, in the same form. */
static void emit_slice(struct tflite_node *node, const struct slice *slice, enum tflite_form form,
                       uint32_t output)
{
    int64_t axes[PITH_MAX_RANK];
    uint32_t inputs[5];

    for (uint32_t k = 0; k < slice->rank; k++)
        axes[k] = tflite_axis_in(form, k, slice->rank);
    inputs[0] = tflite_take(node, 0, form);
    inputs[1] = tflite_constant_ints(node, slice->begin, slice->rank);
    inputs[2] = tflite_constant_ints(node, slice->end, slice->rank);
    inputs[3] = tflite_constant_ints(node, axes, slice->rank);
    inputs[4] = tflite_constant_ints(node, slice->step, slice->rank);
    (void) tflite_emit(node, "Slice", inputs, 5, &output, 1);
}

static void slice(struct tflite_node *node)
{
    struct slice s = {.rank = tflite_input(node, 0)->shape.rank};
    enum tflite_form form = tflite_home(node, 0);
    int64_t size[PITH_MAX_RANK];

    if (tflite_ints(node, 1, s.begin, PITH_MAX_RANK) != s.rank ||
        tflite_ints(node, 2, size, PITH_MAX_RANK) != s.rank) {
        tflite_fail(node, -EBADMSG, "its begin and size have not one entry for each axis");
        return;
    }
    for (uint32_t k = 0; k < s.rank; k++) {
        s.step[k] = 1;
        if (s.begin[k] < 0 || s.begin[k] > INT32_MAX || size[k] < -1 || size[k] > INT32_MAX)
            tflite_fail(node, -EBADMSG, "its begin or size is out of range");
        else
            s.end[k] = size[k] < 0 ? OPEN_END : s.begin[k] + size[k];
    }
    emit_slice(node, &s, form, tflite_result(node, 0, form));
}

/* Entries of begin, end and stride become one a true axis; new and shrunk axes are told apart. */
struct strided {
    struct slice slice;
    int64_t new_axes[PITH_MAX_RANK],
        shrunk[PITH_MAX_RANK]; /* new: as in the result; shrunk: as in the input */
    uint32_t new_count, shrunk_count, result_rank;
    int64_t begin[PITH_MAX_RANK], end[PITH_MAX_RANK], stride[PITH_MAX_RANK];
    uint32_t count;
};

static void whole_axis(struct slice *slice)
{
    slice->begin[slice->rank] = 0;
    slice->end[slice->rank] = OPEN_END;
    slice->step[slice->rank++] = 1;
}

static void one_entry(struct tflite_node *node, struct strided *s, uint32_t i)
{
    const uint32_t bit = UINT32_C(1) << i;
    const uint32_t axis = s->slice.rank;
    int64_t step = s->stride[i];

    if ((uint32_t) flat_i32(node->options, SLICE_SHRINK_MASK, 0) & bit) {
        s->slice.begin[axis] = s->begin[i];
        s->slice.end[axis] = s->begin[i] == -1 ? OPEN_END : s->begin[i] + 1;
        s->slice.step[axis] = 1;
        s->shrunk[s->shrunk_count++] = axis;
    } else {
        bool from_end = (uint32_t) flat_i32(node->options, SLICE_BEGIN_MASK, 0) & bit;
        bool to_end = (uint32_t) flat_i32(node->options, SLICE_END_MASK, 0) & bit;

        s->slice.begin[axis] = !from_end ? s->begin[i] : step > 0 ? 0 : OPEN_END;
        s->slice.end[axis] = !to_end ? s->end[i] : step > 0 ? OPEN_END : -OPEN_END;
        s->slice.step[axis] = step;
        s->result_rank++;
    }
    s->slice.rank++;
}

static void read_entries(struct tflite_node *node, struct strided *s, uint32_t rank)
{
    uint32_t ellipsis = (uint32_t) flat_i32(node->options, SLICE_ELLIPSIS_MASK, 0);
    uint32_t fresh = (uint32_t) flat_i32(node->options, SLICE_NEW_AXIS_MASK, 0) & ~ellipsis;
    uint32_t given = 0;

    for (uint32_t i = 0; i < s->count; i++)
        given += !((ellipsis | fresh) >> i & 1);
    if (given > rank) {
        tflite_fail(node, -EBADMSG, "it slices more axes than its input has");
        return;
    }
    for (uint32_t i = 0; i < s->count && node->rc == 0; i++) {
        if (s->stride[i] == 0 || s->stride[i] < INT32_MIN || s->stride[i] > INT32_MAX ||
            s->begin[i] < INT32_MIN || s->begin[i] > INT32_MAX)
            tflite_fail(node, -EBADMSG, "its begin or stride is out of range");
        else if (ellipsis >> i & 1)
            for (uint32_t more = rank - given; more; more--, given++, s->result_rank++)
                whole_axis(&s->slice);
        else if (fresh >> i & 1)
            s->new_axes[s->new_count++] = s->result_rank++;
        else
            one_entry(node, s, i);
    }
    while (node->rc == 0 && s->slice.rank < rank) {
        whole_axis(&s->slice);
        s->result_rank++;
    }
    if (node->rc == 0 && s->result_rank > PITH_MAX_RANK)
        tflite_fail(node, -ENOTSUP, "its result has more than %d axes", PITH_MAX_RANK);
}

static void strided_slice(struct tflite_node *node)
{
    const uint32_t rank = tflite_input(node, 0)->shape.rank;
    enum tflite_form form = tflite_home(node, 0);
    struct strided s = {0};
    uint32_t sliced, squeezed;

    s.count = tflite_ints(node, 1, s.begin, PITH_MAX_RANK);
    if (tflite_ints(node, 2, s.end, PITH_MAX_RANK) != s.count ||
        tflite_ints(node, 3, s.stride, PITH_MAX_RANK) != s.count)
        tflite_fail(node, -EBADMSG, "its begin, end and strides differ in length");
    for (uint32_t i = 0; i < s.count && flat_u8(node->options, SLICE_OFFSET, 0); i++)
        if (__builtin_add_overflow(s.end[i], s.begin[i], &s.end[i]))
            tflite_fail(node, -EBADMSG, "its end is out of range");
    if (node->rc == 0)
        read_entries(node, &s, rank);
    if (node->rc < 0)
        return;
    if (s.new_count == 0 && s.shrunk_count == 0) {
        emit_slice(node, &s.slice, form, tflite_result(node, 0, form));
        return;
    }
    sliced = tflite_moved_result(node);
    emit_slice(node, &s.slice, FORM_PLAIN, sliced);
    squeezed = s.shrunk_count == 0 ? sliced
               : s.new_count == 0  ? tflite_result(node, 0, FORM_PLAIN)
                                   : tflite_moved_result(node);
    if (s.shrunk_count)
        tflite_emit2(node, "Squeeze", sliced, tflite_constant_ints(node, s.shrunk, s.shrunk_count),
                     squeezed);
    if (s.new_count)
        tflite_emit2(node, "Unsqueeze", squeezed,
                     tflite_constant_ints(node, s.new_axes, s.new_count),
                     tflite_result(node, 0, FORM_PLAIN));
}

const struct tflite_operator tflite_shape_operators[] = {
    {22, "RESHAPE", reshape, OPTIONS_RESHAPE, 1, 1, "Reshape"},
    {43, "SQUEEZE", squeeze, OPTIONS_SQUEEZE, 1, 1, "Squeeze"},
    {70, "EXPAND_DIMS", expand_dims, OPTIONS_NONE, 2, 1, "Unsqueeze"},
    {39, "TRANSPOSE", transpose, OPTIONS_NONE, 2, 1, "Transpose"},
    {2, "CONCATENATION", concatenation, OPTIONS_CONCATENATION, TFLITE_EVERY_INPUT, 1, "Concat"},
    {49, "SPLIT", split, OPTIONS_SPLIT, 2, 1, "Split"},
    {102, "SPLIT_V", split_v, OPTIONS_SPLIT_V, 3, 1, "Split"},
    {83, "PACK", pack, OPTIONS_PACK, TFLITE_EVERY_INPUT, 1, "Concat"},
    {88, "UNPACK", unpack, OPTIONS_UNPACK, 1, 1, "Split"},
    {65, "SLICE", slice, OPTIONS_NONE, 3, 1, "Slice"},
    {45, "STRIDED_SLICE", strided_slice, OPTIONS_STRIDED_SLICE, 4, 1, "Slice"},
    {0},
};
