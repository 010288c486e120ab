/* Reduce*: sums, means, products, extremes and norms over any axes. Reals are summed in float64,
 * integers in int64. */
#include "libpith/kernels/families.h"
#include "libpith/kernels/numbers.h"
#include "libpith/kernels/walk.h"

#include <errno.h>
#include <math.h>
#include <string.h>

enum reduce_kind {
    KIND_L1,
    KIND_L2,
    KIND_LOG_SUM,
    KIND_LOG_SUM_EXP,
    KIND_MAX,
    KIND_MEAN,
    KIND_MIN,
    KIND_PROD,
    KIND_SUM,
    KIND_SUM_SQUARE,
};

static const char *const names[] = {
    "ReduceL1",   "ReduceL2",  "ReduceLogSum", "ReduceLogSumExp", "ReduceMax",
    "ReduceMean", "ReduceMin", "ReduceProd",   "ReduceSum",       "ReduceSumSquare"};

struct reduce {
    enum reduce_kind kind;
    struct walk kept;    /* out, in: where each output's elements start */
    struct walk reduced; /* in: the elements of one output */
    int64_t count;       /* of them */
    int32_t dtype;
    size_t bytes;
    bool whole;     /* in int64 */
    int64_t flip;   /* orders uint64 as int64 */
    const char *in; /* of the run under way */
    char *out;
    const char *at; /* the output under way */
    double real;    /* its sum so far */
    double top;     /* KIND_LOG_SUM_EXP: the greatest element */
    int64_t number;
};

/* Which axes go; *all_stay where nothing is reduced. */
static int reduce_axes(struct pith_step *step, uint32_t *mask, struct pith_error *err)
{
    const uint32_t rank = step->input[0].shape.rank;
    int64_t axes[PITH_MAX_RANK];
    size_t count = 0;
    const int64_t *list = pith_node_ints(step->graph, step->node, "axes", &count);
    int rc = 0;

    *mask = 0;
    if (list && count <= PITH_MAX_RANK)
        memcpy(axes, list, count * sizeof *list);
    else
        rc = pith_step_ints(step, 1, axes, PITH_MAX_RANK, &count, err);
    if (rc < 0)
        return rc;
    if (count == 0) {
        if (pith_node_int(step->graph, step->node, "noop_with_empty_axes", 0) == 0)
            *mask = (UINT32_C(1) << rank) - 1;
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        uint32_t axis;

        rc = pith_step_axis(step, axes[i], rank, &axis, err);
        if (rc < 0)
            return rc;
        *mask |= UINT32_C(1) << axis;
    }
    return 0;
}

static int reduce_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape;
    struct pith_shape kept = {0}, reduced = {0};
    int64_t strides[PITH_MAX_RANK], out_count = 1;
    struct reduce *r;
    uint32_t mask;
    int rc = reduce_axes(step, &mask, err);

    if (rc < 0)
        return rc;
    r = pith_step_alloc(step, sizeof *r);
    if (!r)
        return -ENOMEM;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(step->kernel->op, names[i]) == 0)
            r->kind = (enum reduce_kind) i;
    walk_strides(x, strides);
    walk_init(&r->kept, 2, &kept);
    walk_init(&r->reduced, 1, &reduced);
    for (uint32_t i = 0; i < x->rank; i++) {
        struct walk *walk = mask >> i & 1 ? &r->reduced : &r->kept;

        walk_push(walk, x->dim[i]);
        walk->stride[mask >> i & 1 ? 0 : 1][walk->rank - 1] = strides[i];
        out_count *= mask >> i & 1 ? 1 : x->dim[i];
    }
    walk_dense(&r->kept, 0);
    r->count = 1;
    for (uint32_t i = 0; i < r->reduced.rank; i++)
        r->count *= r->reduced.dim[i];
    walk_collapse(&r->kept);
    walk_collapse(&r->reduced);
    r->dtype = step->input[0].dtype;
    r->bytes = numbers_bytes(r->dtype);
    r->whole = numbers_in(PITH_INTS | PITH_BIT(BOOL), r->dtype) && r->kind != KIND_L2 &&
               r->kind != KIND_LOG_SUM && r->kind != KIND_LOG_SUM_EXP;
    r->flip = r->dtype == PITH_UINT64 ? INT64_MIN : 0;
    if (step->output[0].dtype != r->dtype ||
        pith_shape_elements(&step->output[0].shape) != out_count)
        return pith_step_fail(step, err, -EINVAL, "its output must have %lld %s",
                              (long long) out_count, pith_dtype_name(r->dtype));
    step->params = r;
    return 0;
}

/* Sums in eight lanes, which the compiler keeps in vectors. */
static double sum_f32(const float *x, int64_t n, bool squares)
{
    double lane[8] = {0}, sum = 0;
    int64_t i = 0;

    if (squares)
        for (; i + 8 <= n; i += 8)
            for (int k = 0; k < 8; k++)
                lane[k] += (double) x[i + k] * (double) x[i + k];
    else
        for (; i + 8 <= n; i += 8)
            for (int k = 0; k < 8; k++)
                lane[k] += (double) x[i + k];
    for (; i < n; i++)
        sum += squares ? (double) x[i] * (double) x[i] : (double) x[i];
    for (int k = 0; k < 8; k++)
        sum += lane[k];
    return sum;
}

static void take_reals(struct reduce *r, const double *x, int64_t n)
{
    double sum = r->real;

    switch (r->kind) {
    case KIND_L1:
        for (int64_t i = 0; i < n; i++)
            sum += fabs(x[i]);
        break;
    case KIND_L2:
    case KIND_SUM_SQUARE:
        for (int64_t i = 0; i < n; i++)
            sum += x[i] * x[i];
        break;
    case KIND_LOG_SUM_EXP:
        for (int64_t i = 0; i < n; i++)
            sum += exp(x[i] - r->top);
        break;
    case KIND_MAX:
        for (int64_t i = 0; i < n; i++)
            sum = x[i] > sum || isnan(x[i]) ? x[i] : sum;
        break;
    case KIND_MIN:
        for (int64_t i = 0; i < n; i++)
            sum = x[i] < sum || isnan(x[i]) ? x[i] : sum;
        break;
    case KIND_PROD:
        for (int64_t i = 0; i < n; i++)
            sum *= x[i];
        break;
    default:
        for (int64_t i = 0; i < n; i++)
            sum += x[i];
    }
    r->real = sum;
}

static void take_wholes(struct reduce *r, const int64_t *x, int64_t n)
{
    uint64_t sum = (uint64_t) r->number;

    for (int64_t i = 0; i < n; i++)
        switch (r->kind) {
        case KIND_L1:
            sum += x[i] < 0 && r->flip == 0 ? 0 - (uint64_t) x[i] : (uint64_t) x[i];
            break;
        case KIND_SUM_SQUARE:
            sum += (uint64_t) x[i] * (uint64_t) x[i];
            break;
        case KIND_MAX:
            sum = (x[i] ^ r->flip) > ((int64_t) sum ^ r->flip) ? (uint64_t) x[i] : sum;
            break;
        case KIND_MIN:
            sum = (x[i] ^ r->flip) < ((int64_t) sum ^ r->flip) ? (uint64_t) x[i] : sum;
            break;
        case KIND_PROD:
            sum *= (uint64_t) x[i];
            break;
        default:
            sum += (uint64_t) x[i];
        }
    r->number = (int64_t) sum;
}

static void take_run(void *user, const int64_t *offset, const int64_t *step, int64_t n)
{
    struct reduce *r = user;
    const char *from = r->at + offset[0] * (int64_t) r->bytes;
    double real[NUMBERS_CHUNK];
    int64_t whole[NUMBERS_CHUNK];

    if (r->dtype == PITH_FLOAT32 && step[0] == 1 &&
        (r->kind == KIND_SUM || r->kind == KIND_MEAN || r->kind == KIND_SUM_SQUARE ||
         r->kind == KIND_L2)) {
        r->real +=
            sum_f32((const float *) from, n, r->kind == KIND_SUM_SQUARE || r->kind == KIND_L2);
        return;
    }
    for (int64_t done = 0; done < n; done += NUMBERS_CHUNK) {
        int64_t now = n - done < NUMBERS_CHUNK ? n - done : NUMBERS_CHUNK;
        const char *part = from + done * step[0] * (int64_t) r->bytes;

        if (r->whole) {
            numbers_load_i64(r->dtype, part, step[0], whole, now);
            take_wholes(r, whole, now);
        } else {
            numbers_load_f64(r->dtype, part, step[0], real, now);
            take_reals(r, real, now);
        }
    }
}

static void first_value(struct reduce *r)
{
    const bool least = r->kind == KIND_MAX;
    int64_t bits = pith_dtype_bits(r->dtype);
    bool is_unsigned = numbers_in(PITH_UNSIGNED_INTS, r->dtype) || r->dtype == PITH_BOOL;

    r->real = 0;
    r->number = 0;
    if (r->kind == KIND_PROD) {
        r->real = 1;
        r->number = 1;
    }
    if (r->kind == KIND_MAX || r->kind == KIND_MIN) {
        r->real = least ? -INFINITY : INFINITY;
        if (is_unsigned)
            r->number = least ? 0 : (int64_t) (UINT64_MAX >> (64 - bits));
        else
            r->number = least ? INT64_MIN >> (64 - bits) : INT64_MAX >> (64 - bits);
    }
}

static void store_result(struct reduce *r, char *to)
{
    if (r->whole) {
        if (r->kind == KIND_MEAN && r->count > 0)
            r->number = r->flip ? (int64_t) ((uint64_t) r->number / (uint64_t) r->count)
                                : r->number / r->count;
        numbers_store_i64(r->dtype, to, &r->number, 1);
        return;
    }
    if (r->kind == KIND_MEAN)
        r->real /= (double) r->count;
    else if (r->kind == KIND_L2)
        r->real = sqrt(r->real);
    else if (r->kind == KIND_LOG_SUM)
        r->real = log(r->real);
    else if (r->kind == KIND_LOG_SUM_EXP)
        r->real = r->top + log(r->real);
    numbers_store_f64(r->dtype, to, &r->real, 1);
}

/* log(sum(exp(x))) = top + log(sum(exp(x - top))), which does not overflow. */
static void find_top(struct reduce *r)
{
    r->kind = KIND_MAX;
    first_value(r);
    walk_each(&r->reduced, take_run, r);
    r->top = isfinite(r->real) ? r->real : 0;
    r->kind = KIND_LOG_SUM_EXP;
}

static void each_output(void *user, const int64_t *offset, const int64_t *step, int64_t n)
{
    struct reduce *r = user;

    for (int64_t i = 0; i < n; i++) {
        r->at = r->in + (offset[1] + i * step[1]) * (int64_t) r->bytes;
        if (r->kind == KIND_LOG_SUM_EXP)
            find_top(r);
        first_value(r);
        walk_each(&r->reduced, take_run, r);
        store_result(r, r->out + (offset[0] + i) * (int64_t) r->bytes);
    }
}

static int reduce_run(struct pith_step *step, struct pith_error *err)
{
    struct reduce *r = step->params;

    (void) err;
    r->in = step->input[0].data;
    r->out = step->output[0].data;
    walk_each(&r->kept, each_output, r);
    return 0;
}

#define REALS (PITH_FLOATS | PITH_BIT(BFLOAT16))
#define ENTRY(operator, t)                                                                         \
    {                                                                                              \
        .op = operator, .name = "reduce", .types = {t}, .prepare = reduce_prepare,                 \
        .run = reduce_run                                                                          \
    }

const struct pith_kernel pith_kernels_reduce[] = {
    ENTRY("ReduceL1", REALS | PITH_INTS),
    ENTRY("ReduceL2", REALS | PITH_INTS),
    ENTRY("ReduceLogSum", REALS | PITH_INTS),
    ENTRY("ReduceLogSumExp", REALS | PITH_INTS),
    ENTRY("ReduceMax", REALS | PITH_INTS | PITH_BIT(BOOL)),
    ENTRY("ReduceMean", REALS | PITH_INTS),
    ENTRY("ReduceMin", REALS | PITH_INTS | PITH_BIT(BOOL)),
    ENTRY("ReduceProd", REALS | PITH_INTS),
    ENTRY("ReduceSum", REALS | PITH_INTS),
    ENTRY("ReduceSumSquare", REALS | PITH_INTS),
    {0},
};
