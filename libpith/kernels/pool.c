/* Pooling: MaxPool (with indices), AveragePool, LpPool over windows, and their Global forms over
 * whole planes. Windows are clipped to the input, so padding costs nothing; max and moving forms
 * also work on stored 8-bit integers. */
#include "libpith/kernels/families.h"
#include "libpith/kernels/sliding.h"

#include <errno.h>
#include <math.h>

struct pool {
    struct pith_sliding window;
    int64_t planes;
    bool include_pad;  /* AveragePool: padding counts as zeros */
    bool column_major; /* MaxPool: how indices count */
    bool by_rows; /* MaxPool: no more taps than elements, so that few of them see only padding */
    int64_t p;    /* LpPool */
};

struct span { /* the part of a window that lies inside the input */
    int64_t from[PITH_SLIDING_DIMS], to[PITH_SLIDING_DIMS]; /* taps */
    int64_t at[PITH_SLIDING_DIMS];                          /* input coordinate under tap 0 */
};

static int pool_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape, *y = &step->output[0].shape;
    struct pool *pool = pith_step_alloc(step, sizeof *pool);
    int rc;

    if (!pool)
        return -ENOMEM;
    rc = pith_sliding_read(step, x, y, NULL, &pool->window, err);
    if (rc < 0)
        return rc;
    if (x->dim[0] != y->dim[0] || x->dim[1] != y->dim[1])
        return pith_step_fail(step, err, -EINVAL, "pooling keeps batch and channels");
    pool->planes = x->dim[0] * x->dim[1];
    pool->include_pad = pith_node_int(step->graph, step->node, "count_include_pad", 0) != 0;
    pool->column_major = pith_node_int(step->graph, step->node, "storage_order", 0) != 0;
    pool->by_rows = pool->window.kernel[2] <= pool->window.in[2];
    pool->p = pith_node_int(step->graph, step->node, "p", 2);
    if (pool->p < 1 || pool->p > 1024)
        return pith_step_fail(step, err, -EINVAL, "p is %lld", (long long) pool->p);
    step->params = pool;
    return 0;
}

static void span_along(const struct pith_sliding *w, int d, int64_t out, struct span *span)
{
    const int64_t at = out * w->stride[d] - w->pad[d], dilation = w->dilation[d];
    int64_t from = at < 0 ? (-at + dilation - 1) / dilation : 0;
    int64_t to = at >= w->in[d] ? 0 : (w->in[d] - 1 - at) / dilation + 1;

    to = to > w->kernel[d] ? w->kernel[d] : to;
    span->at[d] = at;
    span->from[d] = from > to ? to : from;
    span->to[d] = to;
}

static void span_of(const struct pith_sliding *w, int64_t out, struct span *span)
{
    span_along(w, 2, out % w->out[2], span);
    span_along(w, 1, out / w->out[2] % w->out[1], span);
    span_along(w, 0, out / (w->out[2] * w->out[1]), span);
}

static int64_t index_in(const struct pith_sliding *w, const struct span *s, int64_t kz, int64_t ky,
                        int64_t kx)
{
    return ((s->at[0] + kz * w->dilation[0]) * w->in[1] + s->at[1] + ky * w->dilation[1]) *
               w->in[2] +
           s->at[2] + kx * w->dilation[2];
}

#define EACH_TAP(s)                                                                                \
    for (int64_t kz = (s)->from[0]; kz < (s)->to[0]; kz++)                                         \
        for (int64_t ky = (s)->from[1]; ky < (s)->to[1]; ky++)                                     \
            for (int64_t kx = (s)->from[2]; kx < (s)->to[2]; kx++)

/* ---- max ---- */

static int64_t as_column_major(const struct pith_sliding *w, int64_t index)
{
    const int64_t x = index % w->in[2], y = index / w->in[2] % w->in[1],
                  z = index / (w->in[2] * w->in[1]);

    return z + (y + x * w->in[1]) * w->in[0];
}

/* NaN wins over any number, and stays: only then neither comparison holds. Two selections and an
 * addition, so that the compiler makes vectors of it. */
#define GREATER(type, a, b) (type)((b) <= (a) ? (a) : (b) > (a) ? (b) : (a) + (b))

#define MAX_POOL(name, type, lowest)                                                               \
    static void name##_plane(const struct pool *pool, const type *x, type *y, int64_t *indices,    \
                             int64_t base)                                                         \
    {                                                                                              \
        const struct pith_sliding *w = &pool->window;                                              \
                                                                                                   \
        for (int64_t out = 0; out < w->out_plane; out++) {                                         \
            struct span s;                                                                         \
            type best = (lowest);                                                                  \
            int64_t at = -1;                                                                       \
                                                                                                   \
            span_of(w, out, &s);                                                                   \
            EACH_TAP(&s)                                                                           \
            {                                                                                      \
                const int64_t i = index_in(w, &s, kz, ky, kx);                                     \
                                                                                                   \
                if (at < 0 || (!(x[i] <= best) && best == best)) {                                 \
                    best = x[i];                                                                   \
                    at = i;                                                                        \
                }                                                                                  \
            }                                                                                      \
            y[out] = best;                                                                         \
            if (indices)                                                                           \
                indices[out] = base + (at < 0               ? 0                                    \
                                       : pool->column_major ? as_column_major(w, at)               \
                                                            : at);                                 \
        }                                                                                          \
    }                                                                                              \
    /* Tap by tap along a row of the output. */                                                    \
    static void name##_row(const struct pith_sliding *w, const struct span *s, const type *x,      \
                           type *restrict y)                                                       \
    {                                                                                              \
        for (int64_t i = 0; i < w->out[2]; i++)                                                    \
            y[i] = (lowest);                                                                       \
        for (int64_t kz = s->from[0]; kz < s->to[0]; kz++)                                         \
            for (int64_t ky = s->from[1]; ky < s->to[1]; ky++)                                     \
                for (int64_t kx = 0; kx < w->kernel[2]; kx++) {                                    \
                    const int64_t left = index_in(w, s, kz, ky, kx);                               \
                    int64_t from, to;                                                              \
                                                                                                   \
                    pith_sliding_valid(w, 2, kx, 0, w->out[2], &from, &to);                        \
                    if (w->stride[2] == 1)                                                         \
                        for (int64_t i = from; i < to; i++)                                        \
                            y[i] = GREATER(type, y[i], x[left + i]);                               \
                    else if (w->stride[2] == 2)                                                    \
                        for (int64_t i = from; i < to; i++)                                        \
                            y[i] = GREATER(type, y[i], x[left + 2 * i]);                           \
                    else                                                                           \
                        for (int64_t i = from; i < to; i++)                                        \
                            y[i] = GREATER(type, y[i], x[left + i * w->stride[2]]);                \
                }                                                                                  \
    }                                                                                              \
    static void name##_rows(const struct pool *pool, const type *x, type *y)                       \
    {                                                                                              \
        const struct pith_sliding *w = &pool->window;                                              \
                                                                                                   \
        for (int64_t row = 0; w->out[2] && row < w->out_plane / w->out[2]; row++) {                \
            struct span s;                                                                         \
                                                                                                   \
            span_of(w, row * w->out[2], &s);                                                       \
            name##_row(w, &s, x, y + row * w->out[2]);                                             \
        }                                                                                          \
    }                                                                                              \
    static int name(struct pith_step *step, struct pith_error *err)                                \
    {                                                                                              \
        const struct pool *pool = step->params;                                                    \
        const bool indexed = pith_step_gives(step, 1);   \
                                                                                                   \
        (void) err;                                                                                \
        for (int64_t p = 0; p < pool->planes; p++) {                                               \
            const type *x = (const type *) step->input[0].data + p * pool->window.in_plane;        \
            type *y = (type *) step->output[0].data + p * pool->window.out_plane;                  \
                                                                                                   \
            if (indexed || !pool->by_rows)                                                         \
                name##_plane(pool, x, y,                                                           \
                             indexed                                                               \
                                 ? (int64_t *) step->output[1].data + p * pool->window.out_plane   \
                                 : NULL,                                                           \
                             p * pool->window.in_plane);                                           \
            else                                                                                   \
                name##_rows(pool, x, y);                                                           \
        }                                                                                          \
        return 0;                                                                                  \
    }

MAX_POOL(max_pool_f32, float, -INFINITY)
MAX_POOL(max_pool_f64, double, -INFINITY)
MAX_POOL(max_pool_s8, int8_t, INT8_MIN)
MAX_POOL(max_pool_u8, uint8_t, 0)

/* ---- average and Lp ---- */

static int average_pool_f32(struct pith_step *step, struct pith_error *err)
{
    const struct pool *pool = step->params;
    const struct pith_sliding *w = &pool->window;

    (void) err;
    for (int64_t p = 0; p < pool->planes; p++) {
        const float *x = (const float *) step->input[0].data + p * w->in_plane;
        float *y = (float *) step->output[0].data + p * w->out_plane;

        for (int64_t out = 0; out < w->out_plane; out++) {
            struct span s;
            int64_t count = 1;
            float sum = 0.0F;

            span_of(w, out, &s);
            EACH_TAP(&s)
            sum += x[index_in(w, &s, kz, ky, kx)];
            for (int d = 0; d < PITH_SLIDING_DIMS; d++)
                count *= s.to[d] - s.from[d];
            if (pool->include_pad) /* all of the window, as the standard's reference has it, also
                                      past what is padded */
                count = w->taps;
            y[out] = count > 0 ? sum / (float) count : 0.0F;
        }
    }
    return 0;
}

static float lp_norm(double sum, int64_t p)
{
    return (float) (p == 1 ? sum : p == 2 ? sqrt(sum) : pow(sum, 1.0 / (double) p));
}

static double lp_term(float x, int64_t p)
{
    const double magnitude = fabs((double) x);

    return p == 1 ? magnitude : p == 2 ? magnitude * magnitude : pow(magnitude, (double) p);
}

static int lp_pool_f32(struct pith_step *step, struct pith_error *err)
{
    const struct pool *pool = step->params;
    const struct pith_sliding *w = &pool->window;

    (void) err;
    for (int64_t p = 0; p < pool->planes; p++) {
        const float *x = (const float *) step->input[0].data + p * w->in_plane;
        float *y = (float *) step->output[0].data + p * w->out_plane;

        for (int64_t out = 0; out < w->out_plane; out++) {
            struct span s;
            double sum = 0.0;

            span_of(w, out, &s);
            EACH_TAP(&s)
            sum += lp_term(x[index_in(w, &s, kz, ky, kx)], pool->p);
            y[out] = lp_norm(sum, pool->p);
        }
    }
    return 0;
}

/* ---- whole planes ---- */

struct global {
    int64_t planes, plane;
    int64_t p;
};

static int global_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape;
    struct global *global = pith_step_alloc(step, sizeof *global);

    if (!global)
        return -ENOMEM;
    if (x->rank < 2)
        return pith_step_fail(step, err, -EINVAL,
                              "global pooling wants [N,C,spatial...], and has rank %u", x->rank);
    global->planes = x->dim[0] * x->dim[1];
    global->plane = pith_dims_product(x, 2, x->rank);
    global->p = pith_node_int(step->graph, step->node, "p", 2);
    if (global->p < 1 || global->p > 1024)
        return pith_step_fail(step, err, -EINVAL, "p is %lld", (long long) global->p);
    if (pith_shape_elements(&step->output[0].shape) != global->planes)
        return pith_step_fail(step, err, -EINVAL, "global pooling gives one element a channel");
    step->params = global;
    return 0;
}

static int global_average_f32(struct pith_step *step, struct pith_error *err)
{
    const struct global *global = step->params;

    (void) err;
    for (int64_t p = 0; p < global->planes; p++) {
        const float *x = (const float *) step->input[0].data + p * global->plane;
        double sum = 0.0;

        for (int64_t i = 0; i < global->plane; i++)
            sum += (double) x[i];
        ((float *) step->output[0].data)[p] = (float) (sum / (double) global->plane);
    }
    return 0;
}

static int global_lp_f32(struct pith_step *step, struct pith_error *err)
{
    const struct global *global = step->params;

    (void) err;
    for (int64_t p = 0; p < global->planes; p++) {
        const float *x = (const float *) step->input[0].data + p * global->plane;
        double sum = 0.0;

        for (int64_t i = 0; i < global->plane; i++)
            sum += lp_term(x[i], global->p);
        ((float *) step->output[0].data)[p] = lp_norm(sum, global->p);
    }
    return 0;
}

#define GLOBAL_MAX(name, type, lowest)                                                             \
    static int name(struct pith_step *step, struct pith_error *err)                                \
    {                                                                                              \
        const struct global *global = step->params;                                                \
                                                                                                   \
        (void) err;                                                                                \
        for (int64_t p = 0; p < global->planes; p++) {                                             \
            const type *x = (const type *) step->input[0].data + p * global->plane;                \
            type best = (lowest);                                                                  \
                                                                                                   \
            for (int64_t i = 0; i < global->plane; i++)                                            \
                best = GREATER(type, best, x[i]);                                                  \
            ((type *) step->output[0].data)[p] = best;                                             \
        }                                                                                          \
        return 0;                                                                                  \
    }

GLOBAL_MAX(global_max_f32, float, -INFINITY)
GLOBAL_MAX(global_max_s8, int8_t, INT8_MIN)
GLOBAL_MAX(global_max_u8, uint8_t, 0)

/* ---- MaxUnpool ---- */

struct unpool {
    struct pith_shape pooled; /* the tensor that the indices count in */
};

static int max_unpool_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape, *y = &step->output[0].shape;
    struct unpool *unpool = pith_step_alloc(step, sizeof *unpool);
    struct pith_sliding w;
    int rc;

    if (!unpool)
        return -ENOMEM;
    if (!pith_shape_equal(x, &step->input[1].shape))
        return pith_step_fail(step, err, -EINVAL, "values and indices must have one shape");
    rc = pith_sliding_read(step, y, x, NULL, &w, err);
    if (rc < 0)
        return rc;
    unpool->pooled = *y;
    for (uint32_t i = 0; i < w.spatial;
         i++) { /* an output_shape may be larger than what was pooled */
        const uint32_t d = PITH_SLIDING_DIMS - w.spatial + i;

        unpool->pooled.dim[i + 2] =
            (w.out[d] - 1) * w.stride[d] + w.kernel[d] - w.pad[d] - w.pad_end[d];
        if (unpool->pooled.dim[i + 2] < 1)
            return pith_step_fail(step, err, -EINVAL, "dimension %u was pooled from nothing",
                                  i + 2);
    }
    step->params = unpool;
    return 0;
}

/* The place in `to` of an element that has index `i` in `from`; -1 where it lies outside. */
static int64_t reindex(const struct pith_shape *from, const struct pith_shape *to, int64_t i)
{
    int64_t at = 0, factor = 1;

    if (i < 0)
        return -1;
    for (uint32_t d = from->rank; d-- > 0;) {
        const int64_t along = i % from->dim[d];

        if (along >= to->dim[d])
            return -1;
        at += along * factor;
        factor *= to->dim[d];
        i /= from->dim[d];
    }
    return i == 0 ? at : -1;
}

static int max_unpool_f32(struct pith_step *step, struct pith_error *err)
{
    const struct unpool *unpool = step->params;
    const float *x = step->input[0].data;
    const int64_t *indices = step->input[1].data;
    float *y = step->output[0].data;
    const int64_t count = pith_shape_elements(&step->input[0].shape),
                  total = pith_shape_elements(&step->output[0].shape);

    for (int64_t i = 0; i < total; i++)
        y[i] = 0.0F;
    for (int64_t i = 0; i < count; i++) {
        const int64_t at = reindex(&unpool->pooled, &step->output[0].shape, indices[i]);

        if (at < 0)
            return pith_step_fail(step, err, -EINVAL, "index %lld is outside of what was pooled",
                                  (long long) indices[i]);
        y[at] = x[i];
    }
    return 0;
}

#define F32                                                                                        \
    {                                                                                              \
        PITH_BIT(FLOAT32)                                                                          \
    }

const struct pith_kernel pith_kernels_pool[] = {
    {.op = "MaxPool",
     .name = "max_pool_f32",
     .types = F32,
     .prepare = pool_prepare,
     .run = max_pool_f32},
    {.op = "MaxPool",
     .name = "max_pool_f64",
     .types = {PITH_BIT(FLOAT64)},
     .prepare = pool_prepare,
     .run = max_pool_f64},
    {.op = "MaxPool",
     .name = "max_pool_s8",
     .types = {PITH_BIT(INT8)},
     .prepare = pool_prepare,
     .run = max_pool_s8},
    {.op = "MaxPool",
     .name = "max_pool_u8",
     .types = {PITH_BIT(UINT8)},
     .prepare = pool_prepare,
     .run = max_pool_u8},
    {.op = "AveragePool",
     .name = "average_pool_f32",
     .types = F32,
     .prepare = pool_prepare,
     .run = average_pool_f32},
    {.op = "LpPool",
     .name = "lp_pool_f32",
     .types = F32,
     .prepare = pool_prepare,
     .run = lp_pool_f32},
    {.op = "GlobalAveragePool",
     .name = "global_average_f32",
     .types = F32,
     .prepare = global_prepare,
     .run = global_average_f32},
    {.op = "GlobalLpPool",
     .name = "global_lp_f32",
     .types = F32,
     .prepare = global_prepare,
     .run = global_lp_f32},
    {.op = "GlobalMaxPool",
     .name = "global_max_f32",
     .types = F32,
     .prepare = global_prepare,
     .run = global_max_f32},
    {.op = "GlobalMaxPool",
     .name = "global_max_s8",
     .types = {PITH_BIT(INT8)},
     .prepare = global_prepare,
     .run = global_max_s8},
    {.op = "GlobalMaxPool",
     .name = "global_max_u8",
     .types = {PITH_BIT(UINT8)},
     .prepare = global_prepare,
     .run = global_max_u8},
    {.op = "MaxUnpool",
     .name = "max_unpool_f32",
     .types = {PITH_BIT(FLOAT32), PITH_BIT(INT64)},
     .prepare = max_unpool_prepare,
     .run = max_unpool_f32},
    {0},
};
