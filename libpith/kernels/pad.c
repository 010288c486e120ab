/* Pad: constant, edge, reflect and wrap; a negative pad crops. Each axis has a table of where its
 * elements come from, so the modes differ in nothing but that table; what lies together along the
 * last axis is copied in one piece. */
#include "libpith/kernels/families.h"
#include "libpith/kernels/move.h"
#include "libpith/kernels/numbers.h"
#include "libpith/kernels/requantize.h"
#include "libpith/kernels/walk.h"

#include <errno.h>
#include <string.h>

struct pad {
    int64_t *from[PITH_MAX_RANK];  /* by output index: the input index, or -1 for the constant */
    int64_t stride[PITH_MAX_RANK]; /* of the input */
    int64_t first, last; /* along the last axis: the run that comes from one piece of the input */
    size_t bytes;
    double value[2]; /* the constant's bytes */
    bool is_run; /* channels-last: first and last are those along the channels, and around them is the constant alone */
};

#define PAD_MAX_COUNT ((size_t) 2 * PITH_MAX_RANK) /* a begin and an end for each axis */

enum pad_mode { PAD_CONSTANT, PAD_EDGE, PAD_REFLECT, PAD_WRAP };

/* Where the element `at` steps from the input's start comes from. dim > 0, but for PAD_CONSTANT. */
static int64_t pad_source(enum pad_mode mode, int64_t at, int64_t dim)
{
    int64_t period;

    if (at >= 0 && at < dim)
        return at;
    switch (mode) {
    case PAD_EDGE:
        return at < 0 ? 0 : dim - 1;
    case PAD_WRAP:
        at %= dim;
        return at < 0 ? at + dim : at;
    case PAD_REFLECT:
        period = dim > 1 ? 2 * (dim - 1) : 1;
        at %= period;
        at = at < 0 ? at + period : at;
        return at < dim ? at : period - at;
    default:
        return -1;
    }
}

static int pad_mode_of(struct pith_step *step, enum pad_mode *out, struct pith_error *err)
{
    static const char *const names[] = {"constant", "edge", "reflect", "wrap"};
    const char *text = pith_node_string(step->graph, step->node, "mode", "constant");

    for (int i = 0; i < 4; i++)
        if (strcmp(text, names[i]) == 0) {
            *out = (enum pad_mode) i;
            return 0;
        }
    return pith_step_fail(step, err, -EINVAL,
                          "attribute mode is \"%s\"; constant, edge, reflect and wrap are possible",
                          text);
}

/* begin[axis] and end[axis] for all axes. */
static int pad_read(struct pith_step *step, int64_t *begin, int64_t *end, struct pith_error *err)
{
    const uint32_t rank = step->input[0].shape.rank;
    int64_t pads[PAD_MAX_COUNT], axes[PITH_MAX_RANK];
    size_t count = 0, axis_count = 0;
    int rc;

    if (step->opset < 11) {
        const int64_t *list =
            pith_node_ints(step->graph, step->node, step->opset < 2 ? "paddings" : "pads", &count);

        if (!list || count > PAD_MAX_COUNT)
            return pith_step_fail(step, err, -EINVAL, "attribute pads is missing or too long");
        memcpy(pads, list, count * sizeof *list);
    } else {
        rc = pith_step_ints(step, 1, pads, PAD_MAX_COUNT, &count, err);
        if (rc == 0)
            rc = pith_step_ints(step, 3, axes, PITH_MAX_RANK, &axis_count, err);
        if (rc < 0)
            return rc;
    }
    if (!pith_step_has(step, 3) || step->opset < 11) {
        axis_count = rank;
        for (uint32_t i = 0; i < rank; i++)
            axes[i] = i;
    }
    if (count != 2 * axis_count)
        return pith_step_fail(step, err, -EINVAL, "%zu pads for %zu axes", count, axis_count);
    for (size_t i = 0; i < axis_count; i++) {
        uint32_t axis;

        rc = pith_step_axis(step, axes[i], rank, &axis, err);
        if (rc < 0)
            return rc;
        begin[axis] = pads[i];
        end[axis] = pads[i + axis_count];
    }
    return 0;
}

static int pad_table(struct pith_step *step, struct pad *p, uint32_t axis, int64_t begin,
                     int64_t end, enum pad_mode mode, struct pith_error *err)
{
    const int64_t dim = step->input[0].shape.dim[axis], out = step->output[0].shape.dim[axis];
    int64_t size;

    if (__builtin_add_overflow(dim, begin, &size) || __builtin_add_overflow(size, end, &size) ||
        size != out)
        return pith_step_fail(step, err, -EINVAL,
                              "its output has %lld along axis %u, which its pads do not give",
                              (long long) out, axis);
    if (dim == 0 && out > 0 && mode != PAD_CONSTANT)
        return pith_step_fail(step, err, -EINVAL, "nothing lies along axis %u to pad with", axis);
    p->from[axis] = pith_step_alloc(step, out * (int64_t) sizeof(int64_t));
    if (!p->from[axis])
        return -ENOMEM;
    for (int64_t i = 0; i < out; i++)
        p->from[axis][i] = pad_source(mode, i - begin, dim);
    return 0;
}

/* Integers that stand for reals; what the model says of the constant is real. */
static bool is_stored(const struct pith_step *step)
{
    return step->kernel->flags & PITH_KERNEL_QUANTIZED;
}

static int pad_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape, *out = &step->output[0].shape;
    int64_t begin[PITH_MAX_RANK] = {0}, end[PITH_MAX_RANK] = {0};
    enum pad_mode mode = PAD_CONSTANT;
    struct pad *p;
    int rc = pad_mode_of(step, &mode, err);

    if (rc == 0)
        rc = pad_read(step, begin, end, err);
    if (rc < 0)
        return rc;
    p = pith_step_alloc(step, sizeof *p);
    if (!p)
        return -ENOMEM;
    p->bytes = numbers_bytes(step->input[0].dtype);
    if (out->rank != x->rank || step->output[0].dtype != step->input[0].dtype)
        return pith_step_fail(step, err, -EINVAL, "its output is not like its input");
    walk_strides(x, p->stride);
    for (uint32_t i = 0; i < x->rank && rc == 0; i++)
        rc = pad_table(step, p, i, begin[i], end[i], mode, err);
    if (rc < 0)
        return rc;
    if (pith_shape_equal(x, out) && pith_shape_elements(x) > 0 && (x->rank == 0 || begin[0] == 0)) {
        bool none = true;

        for (uint32_t i = 0; i < x->rank; i++)
            none = none && begin[i] == 0 && end[i] == 0;
        step->view = none ? 0 : -1;
    }
    if (x->rank > 0) {
        const int64_t dim = x->dim[x->rank - 1], size = out->dim[x->rank - 1],
                      at = begin[x->rank - 1];

        p->first = at < 0 ? 0 : at < size ? at : size;
        p->last = dim + at < size ? dim + at : size;
        p->last = p->last < p->first ? p->first : p->last;
    }
    if (step->opset < 11) {
        double value = pith_node_float(step->graph, step->node, "value", 0);

        numbers_store_f64(step->input[0].dtype, p->value, &value, 1);
    } else if (pith_step_has(step, 2) && (pith_shape_elements(&step->input[2].shape) != 1 ||
                                          (step->input[2].dtype != step->input[0].dtype &&
                                           !is_stored(step)))) {
        return pith_step_fail(step, err, -EINVAL, "the constant must be one %s",
                              pith_dtype_name(step->input[0].dtype));
    }
    step->params = p;
    return 0;
}

/* A few elements before and behind the run. */
static void pad_elements(const struct pad *p, const int64_t *from, const char *row, char *out,
                         const void *value, int64_t first, int64_t last)
{
    for (int64_t i = first; i < last; i++)
        memcpy(out + i * (int64_t) p->bytes,
               from[i] < 0 ? value : row + from[i] * (int64_t) p->bytes, p->bytes);
}

static void pad_row(const struct pad *p, uint32_t last_axis, const char *row, char *out,
                    const void *value, int64_t n)
{
    const int64_t *from = p->from[last_axis];

    if (!row) {
        move_fill(out, value, n, p->bytes);
        return;
    }
    pad_elements(p, from, row, out, value, 0, p->first);
    if (p->last > p->first)
        memcpy(out + p->first * (int64_t) p->bytes, row + from[p->first] * (int64_t) p->bytes,
               (size_t) (p->last - p->first) * p->bytes);
    pad_elements(p, from, row, out, value, p->last, n);
}

static int pad_run(struct pith_step *step, struct pith_error *err)
{
    const struct pad *p = step->params;
    const struct pith_shape *out = &step->output[0].shape;
    const void *value =
        step->opset >= 11 && pith_step_has(step, 2) ? step->input[2].data : (const void *) p->value;
    const uint32_t last = out->rank - 1;
    int64_t at[PITH_MAX_RANK] = {0};
    char *to = step->output[0].data;

    (void) err;
    if (out->rank == 0) {
        memcpy(to, step->input[0].data, p->bytes);
        return 0;
    }
    if (pith_shape_elements(out) == 0)
        return 0;
    for (;;) {
        int64_t offset = 0;
        bool constant = false;
        uint32_t i = last;

        for (uint32_t k = 0; k < last; k++) {
            constant = constant || p->from[k][at[k]] < 0;
            offset += p->from[k][at[k]] * p->stride[k];
        }
        pad_row(p, last,
                constant ? NULL : (const char *) step->input[0].data + offset * (int64_t) p->bytes,
                to, value, out->dim[last]);
        to += out->dim[last] * (int64_t) p->bytes;
        while (i-- > 0) {
            if (++at[i] < out->dim[i])
                break;
            at[i] = 0;
        }
        if (i == UINT32_MAX)
            return 0;
    }
}

/* ---- channels-last values: float32, and bytes on one grid ---- */

/* Where the channels that an input's pixel gives are one run: first..last-1 of the output's. */
static void find_run(struct pad *p, int64_t channels)
{
    const int64_t *from = p->from[1];

    p->first = 0;
    while (p->first < channels && from[p->first] < 0)
        p->first++;
    p->last = p->first;
    while (p->last < channels && from[p->last] >= 0 &&
           from[p->last] == from[p->first] + p->last - p->first)
        p->last++;
    p->is_run = true;
    for (int64_t c = p->last; c < channels; c++)
        p->is_run = p->is_run && from[c] < 0;
}

static int read_value(struct pith_step *step, struct pad *p, struct pith_error *err)
{
    if (step->opset < 11 || !pith_step_has(step, 2))
        return 0;
    if (!step->input[2].data)
        return pith_step_fail(step, err, -ENOTSUP, "a constant that is not known");
    p->value[0] = 0.0;
    memcpy(p->value, step->input[2].data, sizeof(float));
    return 0;
}

/* What is moved keeps its grid, whose zero point is all that can be written around it. */
static int read_zero(struct pith_step *step, struct pad *p, struct pith_error *err)
{
    const struct pith_quantization *xq = step->input_quantization[0],
                                   *yq = step->output_quantization[0];
    const int32_t dtype = step->input[0].dtype;
    const bool given = step->opset >= 11 && pith_step_has(step, 2);
    bool (*const fits)(const struct pith_quantization *) =
        dtype == PITH_INT16 ? pith_is_word_grid : pith_is_byte_grid;
    int32_t zero;

    if (given && !step->input[2].data)
        return pith_step_fail(step, err, -ENOTSUP, "a constant that is not known");
    if (!fits(xq) || !fits(yq) || xq->scale[0] != yq->scale[0] ||
        pith_stored_zero(xq, dtype) != pith_stored_zero(yq, dtype) ||
        (given ? pith_tensor_get(&step->input[2], 0) != 0.0
               : step->opset < 11 && pith_node_float(step->graph, step->node, "value", 0) != 0.0F))
        return pith_step_fail(step, err, -ENOTSUP, "the integers of one grid, and zeros, are moved");
    zero = pith_stored_zero(xq, dtype); /* its lowest bytes come first */
    memcpy(p->value, &zero, p->bytes);
    return 0;
}

static int image_pad_prepare(struct pith_step *step, struct pith_error *err)
{
    const uint32_t rank = step->input[0].shape.rank;
    struct pad *p;
    int rc;

    if (rank < 3 || rank > 4 || step->output[0].shape.rank != rank)
        return pith_step_fail(step, err, -EINVAL, "a channels-last value of rank %u", rank);
    rc = pad_prepare(step, err);
    if (rc < 0)
        return rc;
    p = step->params;
    rc = is_stored(step) ? read_zero(step, p, err) : read_value(step, p, err);
    find_run(p, step->output[0].shape.dim[1]);
    step->view = -1; /* the halo is another one */
    step->taken_in = 0xE;
    step->parts = pith_parts_of(pith_image_dims(&step->output[0].shape).h);
    return rc;
}

/* x: the pixel it is made of; NULL: none. */
static void image_pad_pixel(const struct pad *p, const char *x, char *y, int64_t channels)
{
    const int64_t bytes = (int64_t) p->bytes, first = x ? p->first : channels,
                  last = x ? p->last : channels;

    if (x && !p->is_run) {
        pad_elements(p, p->from[1], x, y, p->value, 0, channels);
        return;
    }
    if (first > 0)
        move_fill(y, p->value, first, p->bytes);
    if (last > first)
        memcpy(y + first * bytes, x + p->from[1][first] * bytes, (size_t) ((last - first) * bytes));
    if (last < channels)
        move_fill(y + last * bytes, p->value, channels - last, p->bytes);
}

static void image_pad_part(struct pith_step *step, uint32_t part, uint32_t count)
{
    const struct pad *p = step->params;
    const struct pith_image_dims d = pith_image_dims(&step->output[0].shape);
    const struct pith_image *in = &step->input_image[0], *out = &step->output_image[0];
    const uint32_t rank = step->output[0].shape.rank;
    const int64_t *cols = p->from[rank - 1], *rows = rank == 4 ? p->from[2] : NULL;
    const int64_t bytes = (int64_t) p->bytes;

    for (int64_t n = 0; n < d.n; n++)
        for (int64_t h = pith_part_begin(d.h, part, count);
             h < pith_part_begin(d.h, part + 1, count); h++) {
            const int64_t picture = p->from[0][n], row = rows ? rows[h] : 0;
            const char *line = picture < 0 || row < 0
                                   ? NULL
                                   : (const char *) step->input[0].data +
                                         (picture * in->picture + row * in->row) * bytes;
            char *y = (char *) step->output[0].data + (n * out->picture + h * out->row) * bytes;

            for (int64_t w = 0; w < d.w; w++, y += out->pixel * bytes)
                image_pad_pixel(p, line && cols[w] >= 0 ? line + cols[w] * in->pixel * bytes : NULL,
                                y, d.c);
        }
    if (part == 0)
        pith_image_zero_halo(step, 0);
}

static int image_pad_run(struct pith_step *step, struct pith_error *err)
{
    (void) err;
    image_pad_part(step, 0, 1);
    return 0;
}

#define IMAGE_PAD(text, t, more)                                                                   \
    {                                                                                              \
        .op = "Pad", .name = text, .types = {t}, .output_type = t,                                 \
        .flags = PITH_KERNEL_CHANNELS_LAST | (more), .prepare = image_pad_prepare,                 \
        .run = image_pad_run, .run_part = image_pad_part                                           \
    }

const struct pith_kernel pith_kernels_pad[] = {
    IMAGE_PAD("image_pad_f32", PITH_BIT(FLOAT32), 0),
    IMAGE_PAD("image_pad_s8", PITH_BIT(UINT8) | PITH_BIT(INT8), PITH_KERNEL_QUANTIZED),
    IMAGE_PAD("image_pad_s16", PITH_BIT(INT16), PITH_KERNEL_QUANTIZED),
    {.op = "Pad", .name = "pad", .types = {NUMBERS_MOVED}, .prepare = pad_prepare, .run = pad_run},
    {0},
};
