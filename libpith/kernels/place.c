/* OneHot, Trilu, ReverseSequence, Col2Im and Det: what puts elements into places of a pattern. */
#include "libpith/kernels/families.h"
#include "libpith/kernels/move.h"
#include "libpith/kernels/numbers.h"

#include <errno.h>
#include <math.h>
#include <string.h>

/* ---- OneHot ---- */

struct one_hot {
    int64_t outer, depth, inner; /* of the output around the new axis */
    int64_t bytes;
};

static int one_hot_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *indices = &step->input[0].shape, *out = &step->output[0].shape;
    struct one_hot *o;
    double depth;
    uint32_t axis;
    int rc;

    if (pith_shape_elements(&step->input[1].shape) != 1 ||
        pith_shape_elements(&step->input[2].shape) != 2)
        return pith_step_fail(step, err, -EINVAL, "depth must be one number, values two");
    if (!step->input[1].data)
        return pith_step_needs(step, 1);
    numbers_load_f64(step->input[1].dtype, step->input[1].data, 1, &depth, 1);
    o = pith_step_alloc(step, sizeof *o);
    if (!o)
        return -ENOMEM;
    rc = pith_step_axis(step, pith_node_int(step->graph, step->node, "axis", -1), indices->rank + 1,
                        &axis, err);
    if (rc < 0)
        return rc;
    if (!(depth >= 0) || out->rank != indices->rank + 1 ||
        (double) out->dim[axis] != floor(depth) || step->output[0].dtype != step->input[2].dtype)
        return pith_step_fail(step, err, -EINVAL, "its output does not have a depth of %g", depth);
    o->outer = pith_dims_product(indices, 0, axis);
    o->depth = out->dim[axis];
    o->inner = pith_dims_product(indices, axis, indices->rank);
    o->bytes = (int64_t) numbers_bytes(step->output[0].dtype);
    if (pith_shape_elements(out) != o->outer * o->depth * o->inner)
        return pith_step_fail(step, err, -EINVAL, "its output does not fit its indices");
    step->params = o;
    return 0;
}

/* Indices count from the end where negative; outside of the depth everything stays off. */
static int one_hot_run(struct pith_step *step, struct pith_error *err)
{
    const struct one_hot *o = step->params;
    const struct pith_tensor *indices = &step->input[0];
    const char *off = step->input[2].data, *on = off + o->bytes;
    char *out = step->output[0].data;

    (void) err;
    move_fill(out, off, o->outer * o->depth * o->inner, (size_t) o->bytes);
    for (int64_t i = 0; i < o->outer * o->inner; i++) {
        int64_t index;

        numbers_load_i64(indices->dtype,
                         (const char *) indices->data + i * (int64_t) numbers_bytes(indices->dtype),
                         1, &index, 1);
        if (index >= -o->depth && index < o->depth) {
            index = index < 0 ? index + o->depth : index;
            memcpy(out + ((i / o->inner * o->depth + index) * o->inner + i % o->inner) * o->bytes,
                   on, (size_t) o->bytes);
        }
    }
    return 0;
}

/* ---- Trilu ---- */

struct trilu {
    int64_t matrices, rows, cols, bytes;
    bool upper;
};

static int trilu_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape;
    struct trilu *t = pith_step_alloc(step, sizeof *t);

    if (!t)
        return -ENOMEM;
    if (x->rank < 2 || !pith_shape_equal(x, &step->output[0].shape) ||
        step->output[0].dtype != step->input[0].dtype ||
        (pith_step_has(step, 1) &&
         (step->input[1].dtype != PITH_INT64 || pith_shape_elements(&step->input[1].shape) != 1)))
        return pith_step_fail(step, err, -EINVAL, "it needs matrices, and k as one int64");
    t->matrices = pith_dims_product(x, 0, x->rank - 2);
    t->rows = x->dim[x->rank - 2];
    t->cols = x->dim[x->rank - 1];
    t->bytes = (int64_t) numbers_bytes(step->input[0].dtype);
    t->upper = pith_node_int(step->graph, step->node, "upper", 1) != 0;
    step->in_place = 1;
    step->params = t;
    return 0;
}

static int trilu_run(struct pith_step *step, struct pith_error *err)
{
    const struct trilu *t = step->params;
    const int64_t k = pith_step_has(step, 1) ? *(const int64_t *) step->input[1].data : 0;
    char *out = step->output[0].data;

    (void) err;
    if (out != step->input[0].data)
        memcpy(out, step->input[0].data, (size_t) (t->matrices * t->rows * t->cols * t->bytes));
    for (int64_t row = 0; row < t->matrices * t->rows; row++) {
        int64_t i = row % t->rows;
        /* The first column of the upper triangle, or of what lies above the lower one, within 0 ..
         * cols. */
        int64_t edge = k > t->cols ? t->cols : k < -t->rows ? -t->rows : k;

        edge += t->upper ? i : i + 1;
        edge = edge < 0 ? 0 : edge > t->cols ? t->cols : edge;
        if (t->upper)
            memset(out + row * t->cols * t->bytes, 0, (size_t) (edge * t->bytes));
        else
            memset(out + (row * t->cols + edge) * t->bytes, 0,
                   (size_t) ((t->cols - edge) * t->bytes));
    }
    return 0;
}

/* ---- ReverseSequence ---- */

struct reverse {
    bool batch_first;
    int64_t dim[2], inner_bytes;
};

static int reverse_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape;
    int64_t batch = pith_node_int(step->graph, step->node, "batch_axis", 1);
    int64_t time = pith_node_int(step->graph, step->node, "time_axis", 0);
    struct reverse *r = pith_step_alloc(step, sizeof *r);

    if (!r)
        return -ENOMEM;
    if (x->rank < 2 || batch + time != 1 || batch < 0 || time < 0 ||
        !pith_shape_equal(x, &step->output[0].shape) ||
        step->output[0].dtype != step->input[0].dtype || step->input[1].shape.rank != 1 ||
        step->input[1].shape.dim[0] != x->dim[batch])
        return pith_step_fail(step, err, -EINVAL, "the lengths do not fit the batch");
    r->batch_first = batch == 0;
    r->dim[0] = x->dim[0];
    r->dim[1] = x->dim[1];
    r->inner_bytes =
        pith_dims_product(x, 2, x->rank) * (int64_t) numbers_bytes(step->input[0].dtype);
    step->params = r;
    return 0;
}

static int reverse_run(struct pith_step *step, struct pith_error *err)
{
    const struct reverse *r = step->params;
    const int64_t *lengths = step->input[1].data, steps = r->dim[r->batch_first ? 1 : 0];

    for (int64_t i = 0; i < r->dim[0]; i++)
        for (int64_t j = 0; j < r->dim[1]; j++) {
            int64_t time = r->batch_first ? j : i, length = lengths[r->batch_first ? i : j], from;

            if (length < 0 || length > steps)
                return pith_step_fail(step, err, -EINVAL, "a length of %lld of %lld steps",
                                      (long long) length, (long long) steps);
            from = time < length ? length - 1 - time : time;
            from = r->batch_first ? i * r->dim[1] + from : from * r->dim[1] + j;
            if (r->inner_bytes > 0)
                memcpy((char *) step->output[0].data + (i * r->dim[1] + j) * r->inner_bytes,
                       (const char *) step->input[0].data + from * r->inner_bytes,
                       (size_t) r->inner_bytes);
        }
    return 0;
}

/* ---- Col2Im: columns are added where their blocks lay in the image ---- */

#define SPATIAL (PITH_MAX_RANK - 2)

struct col2im {
    uint32_t rank;
    int64_t image[SPATIAL], block[SPATIAL], stride[SPATIAL], dilation[SPATIAL], begin[SPATIAL];
    int64_t count[SPATIAL]; /* of blocks along each axis */
    int64_t planes, area, columns,
        pixels; /* N * C, elements of a block, blocks, elements of an image */
};

static int col2im_list(struct pith_step *step, const char *name, uint32_t count, int64_t least,
                       int64_t otherwise, int64_t *out, struct pith_error *err)
{
    size_t given = 0;
    const int64_t *list = pith_node_ints(step->graph, step->node, name, &given);

    for (uint32_t i = 0; i < count; i++) {
        out[i] = list ? (given == count ? list[i] : -1) : otherwise;
        if (out[i] < least || out[i] > INT32_MAX)
            return pith_step_fail(step, err, -EINVAL, "attribute %s does not fit", name);
    }
    return 0;
}

static int col2im_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape;
    struct pith_shape out = {0};
    struct col2im *c = pith_step_alloc(step, sizeof *c);
    int64_t pads[2 * SPATIAL], blocks = 1;
    size_t count, block_count;
    int rc;

    if (!c)
        return -ENOMEM;
    rc = pith_step_ints(step, 1, c->image, SPATIAL, &count, err);
    if (rc == 0)
        rc = pith_step_ints(step, 2, c->block, SPATIAL, &block_count, err);
    if (rc < 0)
        return rc;
    if (count < 1 || count != block_count || x->rank != 3)
        return pith_step_fail(step, err, -EINVAL, "image and block shape do not fit each other");
    c->rank = (uint32_t) count;
    rc = col2im_list(step, "strides", c->rank, 1, 1, c->stride, err);
    if (rc == 0)
        rc = col2im_list(step, "dilations", c->rank, 1, 1, c->dilation, err);
    if (rc == 0)
        rc = col2im_list(step, "pads", 2 * c->rank, 0, 0, pads, err);
    if (rc < 0)
        return rc;
    c->area = c->pixels = 1;
    out.rank = c->rank + 2;
    for (uint32_t i = 0; i < c->rank; i++) {
        int64_t span, room;

        if (c->block[i] < 1 || c->block[i] > INT32_MAX || c->image[i] < 0 ||
            c->image[i] > INT32_MAX || __builtin_mul_overflow(c->area, c->block[i], &c->area))
            return pith_step_fail(step, err, -EINVAL, "image and block shape are not possible");
        span = (c->block[i] - 1) * c->dilation[i] + 1;
        room = c->image[i] + pads[i] + pads[c->rank + i] - span;
        c->begin[i] = pads[i];
        c->count[i] = room < 0 ? 0 : room / c->stride[i] + 1;
        if (__builtin_mul_overflow(blocks, c->count[i], &blocks))
            return pith_step_fail(step, err, -EINVAL, "there are too many blocks");
        out.dim[2 + i] = c->image[i];
    }
    c->columns = x->dim[2];
    out.dim[0] = x->dim[0];
    out.dim[1] = x->dim[1] / c->area;
    if (blocks != c->columns || x->dim[1] % c->area != 0 || step->output[0].dtype != PITH_FLOAT32 ||
        !pith_shape_equal(&out, &step->output[0].shape))
        return pith_step_fail(step, err, -EINVAL, "%lld columns do not fit %lld blocks",
                              (long long) c->columns, (long long) blocks);
    c->planes = out.dim[0] * out.dim[1];
    c->pixels = pith_dims_product(&out, 2, out.rank);
    step->params = c;
    return 0;
}

/* The pixel that element `inside` of block `column` lay at, or -1 in the padding. */
static int64_t col2im_pixel(const struct col2im *c, int64_t inside, int64_t column)
{
    int64_t pixel = 0, scale = 1;

    for (uint32_t i = c->rank; i-- > 0;) {
        int64_t at = column % c->count[i] * c->stride[i] + inside % c->block[i] * c->dilation[i] -
                     c->begin[i];

        if (at < 0 || at >= c->image[i])
            return -1;
        column /= c->count[i];
        inside /= c->block[i];
        pixel += at * scale;
        scale *= c->image[i];
    }
    return pixel;
}

static int col2im_run(struct pith_step *step, struct pith_error *err)
{
    const struct col2im *c = step->params;
    const float *from = step->input[0].data;
    float *out = step->output[0].data;

    (void) err;
    memset(out, 0, (size_t) (c->planes * c->pixels) * sizeof *out);
    for (int64_t plane = 0; plane < c->planes; plane++)
        for (int64_t inside = 0; inside < c->area; inside++)
            for (int64_t column = 0; column < c->columns; column++, from++) {
                int64_t pixel = col2im_pixel(c, inside, column);

                if (pixel >= 0)
                    out[plane * c->pixels + pixel] += *from;
            }
    return 0;
}

/* ---- Det: by elimination with the greatest pivot, in float64 ---- */

static int det_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape;
    int64_t n = x->rank >= 2 ? x->dim[x->rank - 1] : 0;

    if (x->rank < 2 || x->dim[x->rank - 2] != n || n > (1 << 14) ||
        step->output[0].dtype != step->input[0].dtype ||
        pith_shape_elements(&step->output[0].shape) != pith_dims_product(x, 0, x->rank - 2))
        return pith_step_fail(step, err, -EINVAL, "it needs square matrices of at most 16384");
    step->scratch_bytes = (size_t) (n * n) * sizeof(double);
    return 0;
}

static double determinant(double *m, int64_t n)
{
    double det = 1;

    for (int64_t k = 0; k < n; k++) {
        int64_t pivot = k;

        for (int64_t i = k + 1; i < n; i++)
            pivot = fabs(m[i * n + k]) > fabs(m[pivot * n + k]) ? i : pivot;
        if (m[pivot * n + k] == 0)
            return 0;
        for (int64_t j = 0; pivot != k && j < n; j++) {
            double swap = m[k * n + j];

            m[k * n + j] = m[pivot * n + j];
            m[pivot * n + j] = swap;
        }
        det *= pivot != k ? -m[k * n + k] : m[k * n + k];
        for (int64_t i = k + 1; i < n; i++) {
            double factor = m[i * n + k] / m[k * n + k];

            for (int64_t j = k; j < n; j++)
                m[i * n + j] -= factor * m[k * n + j];
        }
    }
    return det;
}

static int det_run(struct pith_step *step, struct pith_error *err)
{
    const struct pith_tensor *x = &step->input[0];
    const int64_t n = x->shape.dim[x->shape.rank - 1],
                  count = pith_shape_elements(&step->output[0].shape);
    const int64_t bytes = (int64_t) numbers_bytes(x->dtype);

    (void) err;
    for (int64_t i = 0; i < count; i++) {
        double det;

        numbers_load_f64(x->dtype, (const char *) x->data + i * n * n * bytes, 1, step->scratch,
                         n * n);
        det = determinant(step->scratch, n);
        numbers_store_f64(x->dtype, (char *) step->output[0].data + i * bytes, &det, 1);
    }
    return 0;
}

#define NUMERIC (NUMBERS_REAL | PITH_INTS)

const struct pith_kernel pith_kernels_place[] = {
    {.op = "OneHot",
     .name = "one_hot",
     .types = {NUMERIC, NUMERIC, NUMBERS_MOVED},
     .prepare = one_hot_prepare,
     .run = one_hot_run},
    {.op = "Trilu",
     .name = "trilu",
     .types = {NUMBERS_MOVED},
     .prepare = trilu_prepare,
     .run = trilu_run},
    {.op = "ReverseSequence",
     .name = "reverse_sequence",
     .types = {NUMBERS_MOVED, PITH_BIT(INT64)},
     .prepare = reverse_prepare,
     .run = reverse_run},
    {.op = "Col2Im",
     .name = "col2im",
     .types = {PITH_BIT(FLOAT32)},
     .prepare = col2im_prepare,
     .run = col2im_run},
    {.op = "Det", .name = "det", .types = {PITH_FLOATS}, .prepare = det_prepare, .run = det_run},
    {0},
};
