/* Padding, gathering, and what else takes places from a list of numbers. */
#include "libpith/formats/tflite_read.h"

#include <errno.h>

#define MOST_MIRRORED 65536 /* places of an axis that is padded with its own mirror image */

/* A list of integers as ONNX takes it: int64. */
static uint32_t take_int64(struct tflite_node *node, uint32_t i)
{
    int64_t list[PITH_MAX_RANK];

    if (tflite_is_constant(node, i) && tflite_input(node, i)->shape.rank == 1) {
        uint32_t count = tflite_ints(node, i, list, PITH_MAX_RANK);

        return tflite_constant_ints(node, list, count);
    }
    return tflite_cast(node, tflite_take(node, i, FORM_PLAIN), PITH_INT64);
}

/* ---- padding ---- */

/* Input 1: before and after, for each axis of input 0 in the file's order. */
static bool read_pads(struct tflite_node *node, int64_t before[PITH_MAX_RANK],
                      int64_t after[PITH_MAX_RANK])
{
    const uint32_t rank = tflite_input(node, 0)->shape.rank;
    int64_t list[2 * PITH_MAX_RANK];

    if (tflite_ints(node, 1, list, 2 * PITH_MAX_RANK) != 2 * rank)
        tflite_fail(node, -EBADMSG, "its list of pads has not two entries for each axis");
    for (uint32_t k = 0; k < rank && node->rc == 0; k++) {
        before[k] = list[2 * k];
        after[k] = list[2 * k + 1];
        if (before[k] < 0 || after[k] < 0 || before[k] > INT32_MAX || after[k] > INT32_MAX)
            tflite_fail(node, -EBADMSG, "it pads by a number that can't be right");
    }
    return node->rc == 0;
}

static void emit_pad(struct tflite_node *node, const char *mode, const int64_t *before,
                     const int64_t *after, uint32_t value)
{
    const uint32_t rank = tflite_input(node, 0)->shape.rank;
    enum tflite_form form = tflite_home(node, 0);
    int64_t pads[2 * PITH_MAX_RANK];
    uint32_t inputs[3], output, emitted;

    for (uint32_t k = 0; k < rank; k++) {
        pads[tflite_axis_in(form, k, rank)] = before[k];
        pads[rank + tflite_axis_in(form, k, rank)] = after[k];
    }
    inputs[0] = tflite_take(node, 0, form);
    inputs[1] = tflite_constant_ints(node, pads, 2 * rank);
    inputs[2] = value;
    output = tflite_result(node, 0, form);
    emitted = tflite_emit(node, "Pad", inputs, value == PITH_NO_VALUE ? 2 : 3, &output, 1);
    tflite_set_string(node, emitted, "mode", mode);
}

/* A quantized tensor is padded with its zero point, which stands for 0. */
static void pad(struct tflite_node *node)
{
    const struct tflite_tensor *value = tflite_input(node, 2);
    int64_t before[PITH_MAX_RANK], after[PITH_MAX_RANK];
    uint32_t with = PITH_NO_VALUE;

    if (!read_pads(node, before, after))
        return;
    if (value && tflite_on_grid(value))
        with = tflite_constant_float(node, tflite_real(node, 2));
    else if (value)
        with = tflite_take(node, 2, FORM_PLAIN);
    emit_pad(node, "constant", before, after, with);
}

/* One axis of x with its mirror image on both sides, its border repeated: the places are listed. */
static uint32_t mirror_axis(struct tflite_node *node, uint32_t x, uint32_t axis, int64_t size,
                            int64_t before, int64_t after, uint32_t output)
{
    int64_t count = before + size + after;
    struct pith_shape shape = {1, {count}};
    struct pith_tensor places;
    uint32_t list = tflite_temporary(node, PITH_INT64);
    const uint32_t inputs[] = {x, list};
    uint32_t emitted;

    if (node->rc < 0)
        return PITH_NO_VALUE;
    if (size < 1 || before > size || after > size || count > MOST_MIRRORED) {
        tflite_fail(node, -ENOTSUP, "it mirrors more places than axis %u has, or too many",
                    (unsigned) axis);
        return PITH_NO_VALUE;
    }
    node->rc = pith_tensor_alloc(&places, PITH_INT64, &shape, node->err);
    for (int64_t i = 0; i < count && node->rc == 0; i++) {
        int64_t at = i - before;

        ((int64_t *) places.data)[i] = at < 0 ? -1 - at : at < size ? at : 2 * size - 1 - at;
    }
    if (node->rc == 0) {
        node->rc = pith_value_take_constant(node->reader->graph, list, &places);
        pith_tensor_free(&places); /* where it was not taken */
    }
    emitted = tflite_emit(node, "Gather", inputs, 2, &output, 1);
    tflite_set_int(node, emitted, "axis", axis);
    return output;
}

/* ONNX has TensorFlow's REFLECT, and nothing for SYMMETRIC. */
static void mirror_pad(struct tflite_node *node)
{
    const struct pith_shape *shape = &tflite_input(node, 0)->shape;
    enum tflite_form form = tflite_home(node, 0);
    int64_t before[PITH_MAX_RANK], after[PITH_MAX_RANK];
    uint32_t last = 0, x;

    if (!read_pads(node, before, after))
        return;
    if (flat_i8(node->options, 0, 0) == 0) {
        emit_pad(node, "reflect", before, after, PITH_NO_VALUE);
        return;
    }
    for (uint32_t k = 0; k < shape->rank; k++)
        last = before[k] || after[k] ? k : last;
    x = tflite_take(node, 0, form);
    for (uint32_t k = 0; k <= last && shape->rank; k++)
        if (before[k] || after[k] || k == last)
            x = mirror_axis(node, x, tflite_axis_in(form, k, shape->rank), shape->dim[k], before[k],
                            after[k],
                            k == last ? tflite_result(node, 0, form) : tflite_moved(node, 0));
}

/* ---- gathering ---- */

static void gather(struct tflite_node *node)
{
    const struct tflite_tensor *x = tflite_input(node, 0);
    uint32_t inputs[2], output, emitted, axis;

    if (flat_i32(node->options, 1, 0))
        tflite_fail(node, -ENOTSUP, "it gathers for each batch apart");
    axis = tflite_axis(node, flat_i32(node->options, 0, 0), x->shape.rank);
    inputs[0] = tflite_take(node, 0, FORM_PLAIN);
    inputs[1] = tflite_take(node, 1, FORM_PLAIN);
    output = tflite_result(node, 0, FORM_PLAIN);
    emitted = tflite_emit(node, "Gather", inputs, 2, &output, 1);
    tflite_set_int(node, emitted, "axis", axis);
}

/* The indices come first. */
static void embedding_lookup(struct tflite_node *node)
{
    tflite_emit2(node, "Gather", tflite_take(node, 1, FORM_PLAIN), tflite_take(node, 0, FORM_PLAIN),
                 tflite_result(node, 0, FORM_PLAIN));
}

static void gather_nd(struct tflite_node *node)
{
    tflite_emit2(node, "GatherND", tflite_take(node, 0, FORM_PLAIN), take_int64(node, 1),
                 tflite_result(node, 0, FORM_PLAIN));
}

/* Adds what falls on one place, as TensorFlow does. */
static void scatter_nd(struct tflite_node *node)
{
    const struct tflite_tensor *updates = tflite_input(node, 1);
    int32_t dtype = tflite_on_grid(updates) ? PITH_FLOAT32 : updates->dtype;
    uint32_t zero = tflite_cast(node, tflite_constant_float(node, 0), dtype);
    uint32_t inputs[3], output, emitted;

    inputs[0] = tflite_chain2(node, "Expand", zero, take_int64(node, 2), dtype);
    inputs[1] = take_int64(node, 0);
    inputs[2] = tflite_take(node, 1, FORM_PLAIN);
    output = tflite_result(node, 0, FORM_PLAIN);
    emitted = tflite_emit(node, "ScatterND", inputs, 3, &output, 1);
    tflite_set_string(node, emitted, "reduction", "add");
}

static void one_hot(struct tflite_node *node)
{
    static const int64_t one[] = {1};
    const struct tflite_tensor *on = tflite_input(node, 2);
    int32_t dtype = tflite_on_grid(on) ? PITH_FLOAT32 : on->dtype;
    uint32_t shape = tflite_constant_ints(node, one, 1);
    uint32_t values[2], inputs[3], output, emitted;

    for (uint32_t i = 0; i < 2; i++) /* off, then on */
        values[i] =
            tflite_chain2(node, "Reshape", tflite_take(node, 3 - i, FORM_PLAIN), shape, dtype);
    inputs[2] = tflite_temporary(node, dtype);
    emitted = tflite_emit(node, "Concat", values, 2, &inputs[2], 1);
    tflite_set_int(node, emitted, "axis", 0);
    inputs[0] = tflite_take(node, 0, FORM_PLAIN);
    inputs[1] = tflite_take(node, 1, FORM_PLAIN);
    output = tflite_result(node, 0, FORM_PLAIN);
    emitted = tflite_emit(node, "OneHot", inputs, 3, &output, 1);
    tflite_set_int(node, emitted, "axis", flat_i32(node->options, 0, 0));
}

/* The places of what is true, a row each. */
static void where(struct tflite_node *node)
{
    static const uint32_t order[] = {1, 0};
    uint32_t places = tflite_chain1(node, "NonZero", tflite_take(node, 0, FORM_PLAIN), PITH_INT64);

    (void) tflite_transpose(node, places, order, 2, tflite_result(node, 0, FORM_PLAIN));
}

static void reverse(struct tflite_node *node)
{
    const uint32_t rank = tflite_input(node, 0)->shape.rank;
    enum tflite_form form = tflite_home(node, 0);
    int64_t axes[PITH_MAX_RANK], begin[PITH_MAX_RANK], end[PITH_MAX_RANK], step[PITH_MAX_RANK];
    uint32_t count = tflite_ints(node, 1, axes, PITH_MAX_RANK);
    uint32_t inputs[5], output;

    for (uint32_t k = 0; k < count; k++) {
        axes[k] = tflite_axis_in(form, tflite_axis(node, axes[k], rank), rank);
        begin[k] = -1;
        end[k] = -INT64_MAX;
        step[k] = -1;
    }
    inputs[0] = tflite_take(node, 0, form);
    inputs[1] = tflite_constant_ints(node, begin, count);
    inputs[2] = tflite_constant_ints(node, end, count);
    inputs[3] = tflite_constant_ints(node, axes, count);
    inputs[4] = tflite_constant_ints(node, step, count);
    output = tflite_result(node, 0, form);
    (void) tflite_emit(node, "Slice", inputs, 5, &output, 1);
}

/* ---- from shapes ---- */

/* The second input is a shape or a number of times. */
static void by_list(struct tflite_node *node)
{
    tflite_emit2(node, node->row->op, tflite_take(node, 0, FORM_PLAIN), take_int64(node, 1),
                 tflite_result(node, 0, FORM_PLAIN));
}

static void fill(struct tflite_node *node)
{
    tflite_emit2(node, "Expand", tflite_take(node, 1, FORM_PLAIN), take_int64(node, 0),
                 tflite_result(node, 0, FORM_PLAIN));
}

static void range(struct tflite_node *node)
{
    uint32_t inputs[3], output;

    for (uint32_t i = 0; i < 3; i++)
        inputs[i] = tflite_take(node, i, FORM_PLAIN);
    output = tflite_result(node, 0, FORM_PLAIN);
    (void) tflite_emit(node, "Range", inputs, 3, &output, 1);
}

/* ONNX gives int64; the file says what it wants. */
static void cast_result(struct tflite_node *node, uint32_t value)
{
    uint32_t emitted = tflite_emit1(node, "Cast", value, tflite_result(node, 0, FORM_PLAIN));

    tflite_set_int(node, emitted, "to", tflite_output(node, 0)->dtype);
}

static void shape(struct tflite_node *node)
{
    const uint32_t rank = tflite_input(node, 0)->shape.rank;
    enum tflite_form form = tflite_home(node, 0);
    uint32_t sizes = tflite_chain1(node, "Shape", tflite_take(node, 0, form), PITH_INT64);
    int64_t places[PITH_MAX_RANK];

    for (uint32_t k = 0; k < rank; k++)
        places[k] = tflite_axis_in(form, k, rank);
    if (form == FORM_PLANAR)
        sizes = tflite_chain2(node, "Gather", sizes, tflite_constant_ints(node, places, rank),
                              PITH_INT64);
    cast_result(node, sizes);
}

static void rank_of(struct tflite_node *node)
{
    uint32_t sizes =
        tflite_chain1(node, "Shape", tflite_take(node, 0, tflite_home(node, 0)), PITH_INT64);

    cast_result(node, tflite_chain1(node, "Size", sizes, PITH_INT64));
}

/* ---- batches and space ---- */

struct blocks {
    uint32_t count, rank;
    int64_t size[PITH_MAX_RANK]; /* of the block along each axis behind the batch */
    int64_t before[PITH_MAX_RANK], after[PITH_MAX_RANK]; /* padded or cropped there */
    int64_t all;                                         /* places of a block */
};

static bool read_blocks(struct tflite_node *node, struct blocks *b)
{
    int64_t list[2 * PITH_MAX_RANK] = {0};

    b->rank = tflite_input(node, 0)->shape.rank;
    b->count = tflite_ints(node, 1, b->size, PITH_MAX_RANK);
    b->all = 1;
    if (b->count == 0 || b->count >= b->rank || b->rank + b->count > PITH_MAX_RANK ||
        tflite_ints(node, 2, list, 2 * PITH_MAX_RANK) != 2 * b->count)
        tflite_fail(node, -EBADMSG, "its blocks don't fit an input with %u axes",
                    (unsigned) b->rank);
    for (uint32_t k = 0; k < b->count && node->rc == 0; k++) {
        b->before[k] = list[2 * k];
        b->after[k] = list[2 * k + 1];
        if (b->size[k] < 1 || b->size[k] > 1 << 10 || b->before[k] < 0 || b->after[k] < 0 ||
            b->before[k] > INT32_MAX || b->after[k] > INT32_MAX || b->all > 1 << 20)
            tflite_fail(node, -EBADMSG, "its blocks or pads can't be right");
        b->all *= b->size[k];
    }
    for (uint32_t k = 1; k < b->rank && node->rc == 0; k++)
        if (tflite_input(node, 0)->shape.dim[k] < 1)
            tflite_fail(node, -ENOTSUP, "a size of its input is open");
    return node->rc == 0;
}

static uint32_t reshape_to(struct tflite_node *node, uint32_t x, const int64_t *dims, uint32_t rank,
                           uint32_t output)
{
    return tflite_emit2(node, "Reshape", x, tflite_constant_ints(node, dims, rank), output);
}

/* (N, P1, ..) -> (N, P1/b1, b1, ..) -> (b1, .., N, P1/b1, ..) -> (b1*..*N, P1/b1, ..) */
static void space_to_batch(struct tflite_node *node)
{
    const struct pith_shape *in = &tflite_input(node, 0)->shape;
    int64_t pads[2 * PITH_MAX_RANK] = {0}, parted[PITH_MAX_RANK], joined[PITH_MAX_RANK];
    uint32_t order[PITH_MAX_RANK], x, at = 0;
    struct blocks b;

    if (!read_blocks(node, &b))
        return;
    parted[at++] = in->dim[0] > 0 ? in->dim[0] : -1;
    joined[0] = -1;
    for (uint32_t k = 0; k < b.count; k++) {
        int64_t size = in->dim[k + 1] + b.before[k] + b.after[k];

        if (size % b.size[k])
            tflite_fail(node, -EBADMSG, "axis %u is no whole number of blocks", (unsigned) k + 1);
        pads[k + 1] = b.before[k];
        pads[b.rank + k + 1] = b.after[k];
        order[k] = at + 1;
        order[b.count + 1 + k] = at;
        parted[at++] = joined[k + 1] = size / b.size[k];
        parted[at++] = b.size[k];
    }
    order[b.count] = 0;
    for (uint32_t k = b.count + 1; k < b.rank; k++) {
        joined[k] = parted[at] = in->dim[k];
        order[at] = at;
        at++;
    }
    x = tflite_emit2(node, "Pad", tflite_take(node, 0, FORM_PLAIN),
                     tflite_constant_ints(node, pads, 2 * b.rank), tflite_moved(node, 0));
    x = reshape_to(node, x, parted, at, tflite_moved(node, 0));
    x = tflite_transpose(node, x, order, at, tflite_moved(node, 0));
    (void) reshape_to(node, x, joined, b.rank, tflite_result(node, 0, FORM_PLAIN));
}

/* (b1*..*N, D1, ..) -> (b1, .., N, D1, ..) -> (N, D1, b1, ..) -> (N, D1*b1, ..), less what is
 * cropped */
static void batch_to_space(struct tflite_node *node)
{
    const struct pith_shape *in = &tflite_input(node, 0)->shape;
    int64_t parted[PITH_MAX_RANK], joined[PITH_MAX_RANK], end[PITH_MAX_RANK], axes[PITH_MAX_RANK];
    uint32_t order[PITH_MAX_RANK], x, at, inputs[4], output;
    struct blocks b;

    if (!read_blocks(node, &b))
        return;
    at = b.count;
    parted[at++] = in->dim[0] > 0 ? in->dim[0] / b.all : -1;
    joined[0] = parted[b.count];
    order[0] = b.count;
    for (uint32_t k = 0; k < b.count; k++) {
        parted[k] = b.size[k];
        order[2 * k + 1] = at;
        order[2 * k + 2] = k;
        parted[at++] = in->dim[k + 1];
        joined[k + 1] = in->dim[k + 1] * b.size[k];
        axes[k] = k + 1;
        end[k] = joined[k + 1] - b.after[k];
    }
    for (uint32_t k = b.count + 1; k < b.rank; k++) {
        joined[k] = parted[at] = in->dim[k];
        order[at] = at;
        at++;
    }
    x = reshape_to(node, tflite_take(node, 0, FORM_PLAIN), parted, at, tflite_moved(node, 0));
    x = tflite_transpose(node, x, order, at, tflite_moved(node, 0));
    inputs[0] = reshape_to(node, x, joined, b.rank, tflite_moved(node, 0));
    inputs[1] = tflite_constant_ints(node, b.before, b.count);
    inputs[2] = tflite_constant_ints(node, end, b.count);
    inputs[3] = tflite_constant_ints(node, axes, b.count);
    output = tflite_result(node, 0, FORM_PLAIN);
    (void) tflite_emit(node, "Slice", inputs, 4, &output, 1);
}

const struct tflite_operator tflite_index_operators[] = {
    {34, "PAD", pad, OPTIONS_NONE, 2, 1, "Pad"},
    {60, "PADV2", pad, OPTIONS_NONE, 3, 1, "Pad"},
    {100, "MIRROR_PAD", mirror_pad, OPTIONS_MIRROR_PAD, 2, 1, "Pad"},
    {36, "GATHER", gather, OPTIONS_GATHER, 2, 1, "Gather"},
    {7, "EMBEDDING_LOOKUP", embedding_lookup, OPTIONS_NONE, 2, 1, "Gather"},
    {107, "GATHER_ND", gather_nd, OPTIONS_NONE, 2, 1, "GatherND"},
    {122, "SCATTER_ND", scatter_nd, OPTIONS_NONE, 3, 1, "ScatterND"},
    {85, "ONE_HOT", one_hot, OPTIONS_ONE_HOT, 4, 1, "OneHot"},
    {109, "WHERE", where, OPTIONS_NONE, 1, 1, "NonZero"},
    {105, "REVERSE_V2", reverse, OPTIONS_NONE, 2, 1, "Slice"},
    {69, "TILE", by_list, OPTIONS_NONE, 2, 1, "Tile"},
    {130, "BROADCAST_TO", by_list, OPTIONS_NONE, 2, 1, "Expand"},
    {94, "FILL", fill, OPTIONS_NONE, 2, 1, "Expand"},
    {96, "RANGE", range, OPTIONS_NONE, 3, 1, "Range"},
    {77, "SHAPE", shape, OPTIONS_NONE, 1, 1, "Shape"},
    {110, "RANK", rank_of, OPTIONS_NONE, 1, 1, NULL},
    {38, "SPACE_TO_BATCH_ND", space_to_batch, OPTIONS_NONE, 3, 1, NULL},
    {37, "BATCH_TO_SPACE_ND", batch_to_space, OPTIONS_NONE, 3, 1, NULL},
    {0},
};
