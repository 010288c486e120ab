/* ArgMax, ArgMin, TopK and CumSum: what goes along one axis, line by line. */
#include "libpith/kernels/families.h"
#include "libpith/kernels/numbers.h"

#include <errno.h>
#include <math.h>
#include <string.h>

/* The lines along an axis: `outer` times `inner` of them, `length` long, their elements `inner`
 * apart. */
struct lines {
    int64_t outer, length, inner;
    int32_t dtype;
    int64_t bytes;
};

static int lines_of(struct pith_step *step, int64_t axis, struct lines *out, uint32_t *out_axis,
                    struct pith_error *err)
{
    const struct pith_tensor *x = &step->input[0];
    int rc = pith_step_axis(step, axis, x->shape.rank, out_axis, err);

    if (rc < 0)
        return rc;
    *out = (struct lines){.outer = pith_dims_product(&x->shape, 0, *out_axis),
                          .length = x->shape.dim[*out_axis],
                          .inner = pith_dims_product(&x->shape, *out_axis + 1, x->shape.rank),
                          .dtype = x->dtype,
                          .bytes = (int64_t) numbers_bytes(x->dtype)};
    return 0;
}

/* A key whose order as int64 is the order of the elements. NaN comes above everything. */
static int64_t key_of_real(double value)
{
    int64_t bits;

    value = isnan(value) ? NAN : value + 0.0; /* one NaN, and no -0 */
    memcpy(&bits, &value, sizeof bits);
    return bits < 0 ? bits ^ INT64_MAX : bits;
}

static void load_keys(const struct lines *lines, const char *from, int64_t *keys, int64_t n)
{
    double real[NUMBERS_CHUNK];

    if (numbers_in(PITH_INTS | PITH_BIT(BOOL), lines->dtype)) {
        numbers_load_i64(lines->dtype, from, lines->inner, keys, n);
        for (int64_t i = 0; lines->dtype == PITH_UINT64 && i < n; i++)
            keys[i] ^= INT64_MIN;
        return;
    }
    for (int64_t done = 0; done < n; done += NUMBERS_CHUNK) {
        int64_t now = n - done < NUMBERS_CHUNK ? n - done : NUMBERS_CHUNK;

        numbers_load_f64(lines->dtype, from + done * lines->inner * lines->bytes, lines->inner,
                         real, now);
        for (int64_t i = 0; i < now; i++)
            keys[done + i] = key_of_real(real[i]);
    }
}

/* ---- ArgMax, ArgMin ---- */

struct arg {
    struct lines lines;
    bool least, last;
};

static int arg_prepare(struct pith_step *step, struct pith_error *err)
{
    struct arg *a = pith_step_alloc(step, sizeof *a);
    uint32_t axis;
    int rc;

    if (!a)
        return -ENOMEM;
    rc = lines_of(step, pith_node_int(step->graph, step->node, "axis", 0), &a->lines, &axis, err);
    if (rc < 0)
        return rc;
    a->least = strcmp(step->kernel->op, "ArgMin") == 0;
    a->last = pith_node_int(step->graph, step->node, "select_last_index", 0) != 0;
    if (a->lines.length == 0 || step->output[0].dtype != PITH_INT64 ||
        pith_shape_elements(&step->output[0].shape) != a->lines.outer * a->lines.inner)
        return pith_step_fail(step, err, -EINVAL,
                              "its output does not have an index for each line along the axis");
    step->params = a;
    return 0;
}

static int64_t arg_of_line(const struct arg *a, const char *from)
{
    int64_t keys[NUMBERS_CHUNK], best = 0, top = 0;

    for (int64_t done = 0; done < a->lines.length; done += NUMBERS_CHUNK) {
        int64_t left = a->lines.length - done, n = left < NUMBERS_CHUNK ? left : NUMBERS_CHUNK;

        load_keys(&a->lines, from + done * a->lines.inner * a->lines.bytes, keys, n);
        for (int64_t i = 0; i < n; i++) {
            bool better = a->least ? keys[i] < top : keys[i] > top;

            if (done + i == 0 || better || (a->last && keys[i] == top)) {
                top = keys[i];
                best = done + i;
            }
        }
    }
    return best;
}

static int arg_run(struct pith_step *step, struct pith_error *err)
{
    const struct arg *a = step->params;
    const struct lines *l = &a->lines;
    int64_t *out = step->output[0].data;

    (void) err;
    for (int64_t o = 0; o < l->outer; o++)
        for (int64_t i = 0; i < l->inner; i++)
            *out++ = arg_of_line(a, (const char *) step->input[0].data +
                                        (o * l->length * l->inner + i) * l->bytes);
    return 0;
}

/* ---- TopK: a heap of the best k so far, the last of them at its root; equal ones in the order they came ---- */

struct entry {
    int64_t key, index;
};

struct top {
    struct lines lines;
    int64_t k;
    bool least;
};

static int top_prepare(struct pith_step *step, struct pith_error *err)
{
    struct pith_shape out = step->input[0].shape;
    int64_t k[1] = {pith_node_int(step->graph, step->node, "k", -1)};
    size_t count = 1;
    struct top *t;
    uint32_t axis;
    int rc = step->opset < 10 ? 0 : pith_step_ints(step, 1, k, 1, &count, err);

    if (rc < 0)
        return rc;
    t = pith_step_alloc(step, sizeof *t);
    if (!t)
        return -ENOMEM;
    rc = lines_of(step, pith_node_int(step->graph, step->node, "axis", -1), &t->lines, &axis, err);
    if (rc < 0)
        return rc;
    if (count != 1 || k[0] < 0 || k[0] > t->lines.length)
        return pith_step_fail(step, err, -EINVAL, "k is not one of 0 to %lld",
                              (long long) t->lines.length);
    t->k = out.dim[axis] = k[0];
    t->least = pith_node_int(step->graph, step->node, "largest", 1) == 0;
    for (size_t i = 0; i < 2; i++)
        if (step->output[i].dtype != PITH_DTYPE_NONE &&
            (!pith_shape_equal(&out, &step->output[i].shape) ||
             step->output[i].dtype != (i == 0 ? t->lines.dtype : PITH_INT64)))
            return pith_step_fail(step, err, -EINVAL, "its outputs do not have k along the axis");
    if (t->lines.length > PITH_STEP_MAX_BYTES / (int64_t) (sizeof(struct entry) + sizeof(int64_t)))
        return pith_step_fail(step, err, -ENOTSUP, "a line of %lld is too long",
                              (long long) t->lines.length);
    step->scratch_bytes =
        (size_t) t->k * sizeof(struct entry) + (size_t) t->lines.length * sizeof(int64_t);
    step->params = t;
    return 0;
}

static bool comes_before(const struct entry *a, const struct entry *b, bool least)
{
    if (a->key != b->key)
        return least ? a->key < b->key : a->key > b->key;
    return a->index < b->index;
}

/* No entry of the heap comes behind those above it. */
static void sift_down(struct entry *heap, int64_t at, int64_t n, bool least)
{
    for (;;) {
        int64_t child = 2 * at + 1;
        struct entry swap;

        if (child >= n)
            return;
        if (child + 1 < n && comes_before(&heap[child], &heap[child + 1], least))
            child++;
        if (!comes_before(&heap[at], &heap[child], least))
            return;
        swap = heap[at];
        heap[at] = heap[child];
        heap[child] = swap;
        at = child;
    }
}

/* The best k of a line, into a heap. */
static void keep_best(const struct top *t, const int64_t *keys, struct entry *heap)
{
    for (int64_t n = 0; n < t->k; n++)
        heap[n] = (struct entry){keys[n], n};
    for (int64_t n = t->k / 2; n-- > 0;)
        sift_down(heap, n, t->k, t->least);
    for (int64_t n = t->k; n < t->lines.length; n++) {
        const struct entry entry = {keys[n], n};

        if (!comes_before(&entry, heap, t->least))
            continue;
        heap[0] = entry;
        sift_down(heap, 0, t->k, t->least);
    }
}

static int top_run(struct pith_step *step, struct pith_error *err)
{
    const struct top *t = step->params;
    const struct lines *l = &t->lines;
    struct entry *heap = step->scratch;
    int64_t *keys = (int64_t *) (heap + t->k);
    char *values = step->output[0].dtype != PITH_DTYPE_NONE ? step->output[0].data : NULL;
    int64_t *indices = step->output[1].dtype != PITH_DTYPE_NONE ? step->output[1].data : NULL;

    (void) err;
    for (int64_t line = 0; line < l->outer * l->inner && t->k > 0; line++) {
        int64_t o = line / l->inner, i = line % l->inner;
        const char *from =
            (const char *) step->input[0].data + (o * l->length * l->inner + i) * l->bytes;

        load_keys(l, from, keys, l->length);
        keep_best(t, keys, heap);
        for (int64_t n = t->k; n-- > 0;) {
            int64_t to = (o * t->k + n) * l->inner + i;

            if (values)
                memcpy(values + to * l->bytes, from + heap[0].index * l->inner * l->bytes,
                       (size_t) l->bytes);
            if (indices)
                indices[to] = heap[0].index;
            heap[0] = heap[n];
            sift_down(heap, 0, n, t->least);
        }
    }
    return 0;
}

/* ---- CumSum ---- */

struct cumsum {
    struct lines lines;
    bool exclusive, reverse;
};

static int cumsum_prepare(struct pith_step *step, struct pith_error *err)
{
    int64_t axis[1];
    size_t count;
    struct cumsum *c;
    uint32_t at;
    int rc = pith_step_ints(step, 1, axis, 1, &count, err);

    if (rc < 0)
        return rc;
    c = pith_step_alloc(step, sizeof *c);
    if (!c)
        return -ENOMEM;
    if (count != 1)
        return pith_step_fail(step, err, -EINVAL, "axis must be one number");
    rc = lines_of(step, axis[0], &c->lines, &at, err);
    if (rc < 0)
        return rc;
    c->exclusive = pith_node_int(step->graph, step->node, "exclusive", 0) != 0;
    c->reverse = pith_node_int(step->graph, step->node, "reverse", 0) != 0;
    if (step->output[0].dtype != c->lines.dtype ||
        !pith_shape_equal(&step->input[0].shape, &step->output[0].shape))
        return pith_step_fail(step, err, -EINVAL, "its output must be like its input");
    step->in_place = 1;
    step->params = c;
    return 0;
}

static void sum_line(const struct cumsum *c, const char *from, char *to)
{
    const struct lines *l = &c->lines;
    const bool whole = numbers_in(PITH_INTS, l->dtype);
    double real = 0, next_real;
    int64_t number = 0, next;

    for (int64_t n = 0; n < l->length; n++) {
        int64_t at = (c->reverse ? l->length - 1 - n : n) * l->inner * l->bytes;

        if (whole) {
            numbers_load_i64(l->dtype, from + at, 1, &next, 1);
            next = (int64_t) ((uint64_t) number + (uint64_t) next);
            numbers_store_i64(l->dtype, to + at, c->exclusive ? &number : &next, 1);
            number = next;
        } else {
            numbers_load_f64(l->dtype, from + at, 1, &next_real, 1);
            next_real += real;
            numbers_store_f64(l->dtype, to + at, c->exclusive ? &real : &next_real, 1);
            real = next_real;
        }
    }
}

static int cumsum_run(struct pith_step *step, struct pith_error *err)
{
    const struct cumsum *c = step->params;
    const struct lines *l = &c->lines;

    (void) err;
    for (int64_t o = 0; o < l->outer; o++)
        for (int64_t i = 0; i < l->inner; i++) {
            int64_t at = (o * l->length * l->inner + i) * l->bytes;

            sum_line(c, (const char *) step->input[0].data + at,
                     (char *) step->output[0].data + at);
        }
    return 0;
}

#define REALS   (PITH_FLOATS | PITH_BIT(BFLOAT16))
#define NUMERIC (REALS | PITH_INTS)

const struct pith_kernel pith_kernels_order[] = {
    {.op = "ArgMax", .name = "arg", .types = {NUMERIC}, .prepare = arg_prepare, .run = arg_run},
    {.op = "ArgMin", .name = "arg", .types = {NUMERIC}, .prepare = arg_prepare, .run = arg_run},
    {.op = "TopK", .name = "top_k", .types = {NUMERIC}, .prepare = top_prepare, .run = top_run},
    {.op = "CumSum",
     .name = "cumsum",
     .types = {NUMERIC},
     .prepare = cumsum_prepare,
     .run = cumsum_run},
    {0},
};
