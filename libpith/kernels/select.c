/* NonZero, Compress and Unique: how much comes out depends on what goes in. */
#include "libpith/kernels/families.h"
#include "libpith/kernels/numbers.h"

#include <errno.h>
#include <string.h>

/* ---- NonZero ---- */

static int non_zero_prepare(struct pith_step *step, struct pith_error *err)
{
    if (step->output[0].dtype != PITH_INT64)
        return pith_step_fail(step, err, -EINVAL, "its output must be int64");
    return 0;
}

/* Coordinates of the nonzero elements, a row a dimension of `count`; out NULL: none are written.
 * Returns how many. */
static int64_t each_non_zero(const struct pith_tensor *x, int64_t *out, int64_t count)
{
    const int64_t elements = pith_shape_elements(&x->shape),
                  bytes = (int64_t) numbers_bytes(x->dtype);
    double chunk[NUMBERS_CHUNK];
    int64_t found = 0;

    for (int64_t done = 0; done < elements; done += NUMBERS_CHUNK) {
        int64_t n = elements - done < NUMBERS_CHUNK ? elements - done : NUMBERS_CHUNK;

        numbers_load_f64(x->dtype, (const char *) x->data + done * bytes, 1, chunk, n);
        for (int64_t i = 0; i < n; i++) {
            int64_t index = done + i;

            if (chunk[i] == 0)
                continue;
            for (uint32_t k = x->shape.rank; out && k-- > 0;) {
                out[k * count + found] = index % x->shape.dim[k];
                index /= x->shape.dim[k];
            }
            found++;
        }
    }
    return found;
}

static int non_zero_run(struct pith_step *step, struct pith_error *err)
{
    const struct pith_tensor *x = &step->input[0];
    int64_t count = each_non_zero(x, NULL, 0);
    const struct pith_shape shape = {.rank = 2, .dim = {x->shape.rank, count}};
    int rc;

    if (step->output[0].dtype == PITH_DTYPE_NONE)
        return 0;
    rc = step->resize(step, 0, &shape, err);
    if (rc < 0)
        return rc;
    each_non_zero(x, step->output[0].data, count);
    return 0;
}

/* ---- Compress ---- */

struct compress {
    int64_t outer, length, inner_bytes; /* along the axis; everything where there is none */
    uint32_t axis;
    bool flat;
};

static int compress_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape;
    struct compress *c = pith_step_alloc(step, sizeof *c);
    int64_t bytes = (int64_t) numbers_bytes(step->input[0].dtype);
    int rc;

    if (!c)
        return -ENOMEM;
    c->flat = !pith_node_has(step->graph, step->node, "axis");
    if (c->flat) {
        c->outer = 1;
        c->length = pith_shape_elements(x);
        c->inner_bytes = bytes;
    } else {
        rc = pith_step_axis(step, pith_node_int(step->graph, step->node, "axis", 0), x->rank,
                            &c->axis, err);
        if (rc < 0)
            return rc;
        c->outer = pith_dims_product(x, 0, c->axis);
        c->length = x->dim[c->axis];
        c->inner_bytes = pith_dims_product(x, c->axis + 1, x->rank) * bytes;
    }
    if (step->input[1].shape.rank != 1 || step->output[0].dtype != step->input[0].dtype)
        return pith_step_fail(step, err, -EINVAL, "its condition must be a list");
    step->params = c;
    return 0;
}

static int compress_run(struct pith_step *step, struct pith_error *err)
{
    const struct compress *c = step->params;
    const uint8_t *take = step->input[1].data;
    int64_t tests =
        step->input[1].shape.dim[0] < c->length ? step->input[1].shape.dim[0] : c->length;
    struct pith_shape shape = {.rank = 1};
    int64_t count = 0;
    char *to;
    int rc;

    for (int64_t i = 0; i < tests; i++)
        count += take[i] != 0;
    if (c->flat) {
        shape.dim[0] = count;
    } else {
        shape = step->input[0].shape;
        shape.dim[c->axis] = count;
    }
    if (step->output[0].dtype == PITH_DTYPE_NONE)
        return 0;
    rc = step->resize(step, 0, &shape, err);
    if (rc < 0)
        return rc;
    to = step->output[0].data;
    for (int64_t o = 0; o < c->outer; o++)
        for (int64_t i = 0; i < tests; i++) {
            if (!take[i] || c->inner_bytes == 0)
                continue;
            memcpy(to, (const char *) step->input[0].data + (o * c->length + i) * c->inner_bytes,
                   (size_t) c->inner_bytes);
            to += c->inner_bytes;
        }
    return 0;
}

/* ---- Unique: slices along an axis, sorted by their elements ---- */

struct unique {
    int64_t outer, length, inner; /* slice i is the elements [o][i][n] */
    uint32_t axis;
    bool flat, sorted;
    int32_t dtype;
    int64_t bytes;
    const char *data; /* of the run under way */
};

static int unique_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape;
    struct unique *u = pith_step_alloc(step, sizeof *u);
    int rc;

    if (!u)
        return -ENOMEM;
    u->dtype = step->input[0].dtype;
    u->bytes = (int64_t) numbers_bytes(u->dtype);
    u->sorted = pith_node_int(step->graph, step->node, "sorted", 1) != 0;
    u->flat = !pith_node_has(step->graph, step->node, "axis");
    u->outer = u->inner = 1;
    u->length = pith_shape_elements(x);
    if (!u->flat) {
        rc = pith_step_axis(step, pith_node_int(step->graph, step->node, "axis", 0), x->rank,
                            &u->axis, err);
        if (rc < 0)
            return rc;
        u->outer = pith_dims_product(x, 0, u->axis);
        u->length = x->dim[u->axis];
        u->inner = pith_dims_product(x, u->axis + 1, x->rank);
    }
    if (u->length > PITH_STEP_MAX_BYTES / (4 * (int64_t) sizeof(int64_t)))
        return pith_step_fail(step, err, -ENOTSUP, "%lld are too many to sort",
                              (long long) u->length);
    step->scratch_bytes = (size_t) u->length * 4 * sizeof(int64_t) + 64;
    step->params = u;
    return 0;
}

static int compare_elements(const struct unique *u, const char *a, const char *b)
{
    if (numbers_in(PITH_INTS | PITH_BIT(BOOL), u->dtype)) {
        const int64_t flip = u->dtype == PITH_UINT64 ? INT64_MIN : 0;
        int64_t x, y;

        numbers_load_i64(u->dtype, a, 1, &x, 1);
        numbers_load_i64(u->dtype, b, 1, &y, 1);
        return ((x ^ flip) > (y ^ flip)) - ((x ^ flip) < (y ^ flip));
    } else {
        double x, y;

        numbers_load_f64(u->dtype, a, 1, &x, 1);
        numbers_load_f64(u->dtype, b, 1, &y, 1);
        if (x != x || y != y) /* NaN comes last, each its own: bytes tell them apart no further */
            return (x != x) - (y != y);
        return (x > y) - (x < y);
    }
}

static int compare_slices(const struct unique *u, int64_t a, int64_t b)
{
    for (int64_t o = 0; o < u->outer; o++)
        for (int64_t i = 0; i < u->inner; i++) {
            int order =
                compare_elements(u, u->data + ((o * u->length + a) * u->inner + i) * u->bytes,
                                 u->data + ((o * u->length + b) * u->inner + i) * u->bytes);

            if (order != 0)
                return order;
        }
    return 0;
}

/* Merge sort, which keeps equal slices in their order. */
static void sort_slices(const struct unique *u, int64_t *order, int64_t *spare)
{
    for (int64_t width = 1; width < u->length; width *= 2) {
        for (int64_t from = 0; from < u->length; from += 2 * width) {
            int64_t middle = from + width < u->length ? from + width : u->length;
            int64_t end = from + 2 * width < u->length ? from + 2 * width : u->length;
            int64_t a = from, b = middle;

            for (int64_t to = from; to < end; to++)
                spare[to] = b >= end || (a < middle && compare_slices(u, order[a], order[b]) <= 0)
                                ? order[a++]
                                : order[b++];
        }
        memcpy(order, spare, (size_t) u->length * sizeof *order);
    }
}

/* first: the first slice of each group; group_of: by slice; count_of: by group. In the order of
 * values, or of first appearance. Returns the number of groups. */
static int64_t group_slices(const struct unique *u, int64_t *order, int64_t *first,
                            int64_t *group_of, int64_t *count_of)
{
    int64_t groups = 0;

    sort_slices(u, order, first);
    for (int64_t i = 0; i < u->length; i++) {
        if (i == 0 || compare_slices(u, order[i - 1], order[i]) != 0) {
            first[groups] = order[i];
            count_of[groups++] = 0;
        }
        group_of[order[i]] = groups - 1;
        count_of[groups - 1]++;
    }
    if (u->sorted)
        return groups;
    /* By first appearance: order[] takes each sorted group's new number. */
    for (int64_t i = 0; i < groups; i++)
        order[i] = -1;
    groups = 0;
    for (int64_t i = 0; i < u->length; i++) {
        int64_t *number = &order[group_of[i]];

        if (*number < 0) {
            *number = groups;
            first[groups] = i;
            count_of[groups++] = 0;
        }
        group_of[i] = *number;
        count_of[group_of[i]]++;
    }
    return groups;
}

static int unique_list(struct pith_step *step, size_t output, const int64_t *from, int64_t n,
                       struct pith_error *err)
{
    const struct pith_shape shape = {.rank = 1, .dim = {n}};
    int rc;

    if (step->output[output].dtype == PITH_DTYPE_NONE)
        return 0;
    rc = step->resize(step, output, &shape, err);
    if (rc == 0)
        memcpy(step->output[output].data, from, (size_t) n * sizeof *from);
    return rc;
}

static int unique_run(struct pith_step *step, struct pith_error *err)
{
    struct unique *u = step->params;
    int64_t *order = step->scratch, *first = order + u->length, *group_of = first + u->length;
    int64_t *count_of = group_of + u->length, groups;
    struct pith_shape shape = step->input[0].shape;
    int rc = 0;

    u->data = step->input[0].data;
    for (int64_t i = 0; i < u->length; i++)
        order[i] = i;
    groups = group_slices(u, order, first, group_of, count_of);
    if (u->flat)
        shape = (struct pith_shape){.rank = 1};
    shape.dim[u->axis] = groups;
    if (step->output[0].dtype != PITH_DTYPE_NONE)
        rc = step->resize(step, 0, &shape, err);
    for (int64_t o = 0; rc == 0 && step->output[0].dtype != PITH_DTYPE_NONE && o < u->outer; o++)
        for (int64_t i = 0; i < groups; i++)
            memcpy((char *) step->output[0].data + (o * groups + i) * u->inner * u->bytes,
                   u->data + (o * u->length + first[i]) * u->inner * u->bytes,
                   (size_t) (u->inner * u->bytes));
    if (rc == 0)
        rc = unique_list(step, 1, first, groups, err);
    if (rc == 0)
        rc = unique_list(step, 2, group_of, u->length, err);
    return rc < 0 ? rc : unique_list(step, 3, count_of, groups, err);
}

#define NUMERIC (NUMBERS_REAL | PITH_INTS | PITH_BIT(BOOL))

const struct pith_kernel pith_kernels_select[] = {
    {.op = "NonZero",
     .name = "non_zero",
     .types = {NUMERIC},
     .flags = PITH_KERNEL_SIZES_OUTPUT,
     .prepare = non_zero_prepare,
     .run = non_zero_run},
    {.op = "Compress",
     .name = "compress",
     .types = {NUMBERS_MOVED, PITH_BIT(BOOL)},
     .flags = PITH_KERNEL_SIZES_OUTPUT,
     .prepare = compress_prepare,
     .run = compress_run},
    {.op = "Unique",
     .name = "unique",
     .types = {NUMERIC},
     .flags = PITH_KERNEL_SIZES_OUTPUT,
     .prepare = unique_prepare,
     .run = unique_run},
    {0},
};
