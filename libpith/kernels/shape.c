/* Operators about shapes: those that only look at the same bytes another way, those that say what a
 * shape is, and those that make a tensor from a few numbers. */
#include "libpith/kernels/families.h"
#include "libpith/kernels/move.h"
#include "libpith/kernels/numbers.h"

#include <errno.h>
#include <math.h>
#include <string.h>

/* Identity, Reshape, Flatten, Squeeze, Unsqueeze. */
static int view_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_tensor *from = &step->input[0], *to = &step->output[0];

    if (from->dtype != to->dtype ||
        pith_shape_elements(&from->shape) != pith_shape_elements(&to->shape))
        return pith_step_fail(step, err, -EINVAL,
                              "its output does not have the elements of its input");
    step->view = 0;
    return 0;
}

/* ---- Shape, Size ---- */

struct numbers_out {
    int64_t value[PITH_MAX_RANK];
    size_t count;
};

static int shape_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape;
    struct numbers_out *n = pith_step_alloc(step, sizeof *n);
    int64_t rank = x->rank, start = pith_node_int(step->graph, step->node, "start", 0);
    int64_t end = pith_node_int(step->graph, step->node, "end", rank);

    if (!n)
        return -ENOMEM;
    if (strcmp(step->kernel->op, "Size") == 0) {
        n->value[n->count++] = pith_shape_elements(x);
    } else {
        start = start < 0 ? start + rank : start;
        end = end < 0 ? end + rank : end;
        for (int64_t i = start < 0 ? 0 : start; i < end && i < rank; i++)
            n->value[n->count++] = x->dim[i];
    }
    if (step->output[0].dtype != PITH_INT64 ||
        pith_shape_elements(&step->output[0].shape) != (int64_t) n->count)
        return pith_step_fail(step, err, -EINVAL, "its output must be %zu int64", n->count);
    step->params = n;
    return 0;
}

static int shape_run(struct pith_step *step, struct pith_error *err)
{
    const struct numbers_out *n = step->params;

    (void) err;
    memcpy(step->output[0].data, n->value, n->count * sizeof *n->value);
    return 0;
}

/* ---- ConstantOfShape, Constant ---- */

struct fill {
    double element[2]; /* the bytes of one; large enough for complex128 */
};

static int fill_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_tensor *value = pith_node_tensor(step->graph, step->node, "value");
    struct fill *f;
    int64_t dims[PITH_MAX_RANK];
    size_t count;
    int rc = pith_step_ints(step, 0, dims, PITH_MAX_RANK, &count, err);
    struct pith_shape want = {0};

    if (rc < 0)
        return rc;
    f = pith_step_alloc(step, sizeof *f);
    if (!f)
        return -ENOMEM;
    want.rank = (uint32_t) count;
    memcpy(want.dim, dims, count * sizeof *dims);
    if (!pith_shape_equal(&want, &step->output[0].shape) ||
        step->output[0].dtype != (value ? value->dtype : PITH_FLOAT32) ||
        (value && pith_shape_elements(&value->shape) != 1))
        return pith_step_fail(step, err, -EINVAL,
                              "its output does not have the shape that is asked for");
    if (value)
        memcpy(f->element, value->data, numbers_bytes(value->dtype));
    step->params = f;
    return 0;
}

static int fill_run(struct pith_step *step, struct pith_error *err)
{
    const struct fill *f = step->params;

    (void) err;
    move_fill(step->output[0].data, f->element, pith_shape_elements(&step->output[0].shape),
              numbers_bytes(step->output[0].dtype));
    return 0;
}

struct constant {
    int32_t dtype;
    int64_t count;
    const void *data;
};

static int constant_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_graph *g = step->graph;
    const struct pith_tensor *value = pith_node_tensor(g, step->node, "value");
    struct constant *c = pith_step_alloc(step, sizeof *c);
    const void *list = NULL;
    size_t count = 1;
    void *copy;
    int64_t bytes;

    if (!c)
        return -ENOMEM;
    *c = (struct constant){.dtype = PITH_FLOAT32, .count = 1};
    if (value) {
        c->dtype = value->dtype;
        c->count = pith_shape_elements(&value->shape);
        list = value->data;
    } else if (pith_node_has(g, step->node, "value_floats")) {
        list = pith_node_floats(g, step->node, "value_floats", &count);
        c->count = (int64_t) count;
    } else if (pith_node_has(g, step->node, "value_ints")) {
        c->dtype = PITH_INT64;
        list = pith_node_ints(g, step->node, "value_ints", &count);
        c->count = (int64_t) count;
    } else if (pith_node_has(g, step->node, "value_int")) {
        c->dtype = PITH_INT64;
    } else if (!pith_node_has(g, step->node, "value_float")) {
        return pith_step_fail(step, err, -ENOTSUP, "it has no value that a tensor can hold");
    }
    bytes = c->count * (int64_t) numbers_bytes(c->dtype);
    if (step->output[0].dtype != c->dtype ||
        pith_shape_elements(&step->output[0].shape) != c->count)
        return pith_step_fail(step, err, -EINVAL, "its output is not like its value");
    copy = pith_step_alloc(step, bytes + 8);
    if (!copy)
        return -ENOMEM;
    if (list)
        memcpy(copy, list, (size_t) bytes);
    else if (c->dtype == PITH_INT64)
        *(int64_t *) copy = pith_node_int(g, step->node, "value_int", 0);
    else
        *(float *) copy = pith_node_float(g, step->node, "value_float", 0);
    c->data = pith_step_share(step, copy);
    step->params = c;
    return 0;
}

static int constant_run(struct pith_step *step, struct pith_error *err)
{
    const struct constant *c = step->params;

    (void) err;
    memcpy(step->output[0].data, c->data, (size_t) c->count * numbers_bytes(c->dtype));
    return 0;
}

/* ---- Range ---- */

static int range_prepare(struct pith_step *step, struct pith_error *err)
{
    int64_t whole[3], count;
    double real[3];

    for (size_t i = 0; i < 3; i++) {
        if (pith_shape_elements(&step->input[i].shape) != 1 ||
            step->input[i].dtype != step->output[0].dtype)
            return pith_step_fail(step, err, -EINVAL,
                                  "start, limit and delta must be a number each, of one type");
        if (!step->input[i].data)
            return pith_step_needs(step, i);
        numbers_load_i64(step->input[i].dtype, step->input[i].data, 1, &whole[i], 1);
        numbers_load_f64(step->input[i].dtype, step->input[i].data, 1, &real[i], 1);
    }
    if (numbers_in(PITH_INTS, step->output[0].dtype)) {
        /* In unsigned arithmetic the span is right for any two numbers. */
        uint64_t span = whole[2] > 0 ? (uint64_t) whole[1] - (uint64_t) whole[0]
                                     : (uint64_t) whole[0] - (uint64_t) whole[1];
        uint64_t by = whole[2] > 0 ? (uint64_t) whole[2] : 0 - (uint64_t) whole[2];
        bool empty = whole[2] > 0 ? whole[1] <= whole[0] : whole[1] >= whole[0];

        if (whole[2] == 0)
            return pith_step_fail(step, err, -EINVAL, "a delta of 0 never arrives");
        count = empty ? 0 : (int64_t) ((span - 1) / by) + 1;
    } else {
        double steps = ceil((real[1] - real[0]) / real[2]);

        if (!(steps < (double) PITH_TENSOR_MAX_BYTES))
            return pith_step_fail(step, err, -EINVAL, "the range has no end");
        count = steps > 0 ? (int64_t) steps : 0;
    }
    if (pith_shape_elements(&step->output[0].shape) != count || step->output[0].shape.rank != 1)
        return pith_step_fail(step, err, -EINVAL, "its output must have %lld elements",
                              (long long) count);
    return 0;
}

static int range_run(struct pith_step *step, struct pith_error *err)
{
    const int32_t dtype = step->output[0].dtype;
    const int64_t count = pith_shape_elements(&step->output[0].shape);
    int64_t start, delta, whole[NUMBERS_CHUNK];
    double first, by, real[NUMBERS_CHUNK];
    char *to = step->output[0].data;

    (void) err;
    numbers_load_i64(dtype, step->input[0].data, 1, &start, 1);
    numbers_load_i64(dtype, step->input[2].data, 1, &delta, 1);
    numbers_load_f64(dtype, step->input[0].data, 1, &first, 1);
    numbers_load_f64(dtype, step->input[2].data, 1, &by, 1);
    for (int64_t done = 0; done < count; done += NUMBERS_CHUNK) {
        int64_t n = count - done < NUMBERS_CHUNK ? count - done : NUMBERS_CHUNK;

        if (numbers_in(PITH_INTS, dtype)) {
            for (int64_t i = 0; i < n; i++)
                whole[i] = (int64_t) ((uint64_t) start + (uint64_t) (done + i) * (uint64_t) delta);
            numbers_store_i64(dtype, to, whole, n);
        } else {
            for (int64_t i = 0; i < n; i++)
                real[i] = first + (double) (done + i) * by;
            numbers_store_f64(dtype, to, real, n);
        }
        to += n * (int64_t) numbers_bytes(dtype);
    }
    return 0;
}

/* ---- EyeLike ---- */

struct eye {
    int64_t diagonal;
};

static int eye_prepare(struct pith_step *step, struct pith_error *err)
{
    struct eye *e = pith_step_alloc(step, sizeof *e);

    if (!e)
        return -ENOMEM;
    if (step->output[0].shape.rank != 2 ||
        !pith_shape_equal(&step->input[0].shape, &step->output[0].shape))
        return pith_step_fail(step, err, -EINVAL,
                              "its output must have its input's shape, of rank 2");
    e->diagonal = pith_node_int(step->graph, step->node, "k", 0);
    step->params = e;
    return 0;
}

static int eye_run(struct pith_step *step, struct pith_error *err)
{
    const struct eye *e = step->params;
    struct pith_tensor *out = &step->output[0];
    const int64_t rows = out->shape.dim[0], cols = out->shape.dim[1],
                  bytes = (int64_t) numbers_bytes(out->dtype);
    const double one = 1;

    (void) err;
    memset(out->data, 0, (size_t) (rows * cols * bytes));
    for (int64_t i = 0; i < rows; i++)
        if (e->diagonal >= -i && e->diagonal < cols - i)
            numbers_store_f64(out->dtype, (char *) out->data + (i * cols + i + e->diagonal) * bytes,
                              &one, 1);
    return 0;
}

#define VIEW(operator)                                                                             \
    {                                                                                              \
        .op = operator, .name = "view", .types = {NUMBERS_MOVED | SMALL}, .prepare = view_prepare  \
    }
#define SMALL   (PITH_BIT(INT4) | PITH_BIT(UINT4))
#define NUMERIC (NUMBERS_REAL | PITH_INTS | PITH_BIT(BOOL))

const struct pith_kernel pith_kernels_shape[] = {
    VIEW("Identity"),
    VIEW("Reshape"),
    VIEW("Flatten"),
    VIEW("Squeeze"),
    VIEW("Unsqueeze"),
    {.op = "Shape", .name = "shape", .prepare = shape_prepare, .run = shape_run},
    {.op = "Size", .name = "shape", .prepare = shape_prepare, .run = shape_run},
    {.op = "ConstantOfShape",
     .name = "fill",
     .output_type = NUMBERS_MOVED,
     .prepare = fill_prepare,
     .run = fill_run},
    {.op = "Constant",
     .name = "constant",
     .output_type = NUMBERS_MOVED,
     .prepare = constant_prepare,
     .run = constant_run},
    {.op = "Range",
     .name = "range",
     .types = {NUMBERS_REAL | PITH_INTS},
     .prepare = range_prepare,
     .run = range_run},
    {.op = "EyeLike",
     .name = "eye",
     .output_type = NUMERIC,
     .prepare = eye_prepare,
     .run = eye_run},
    {0},
};
