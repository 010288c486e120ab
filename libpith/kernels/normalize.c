/* Normalizations: BatchNormalization (inference and training form), InstanceNormalization,
 * GroupNormalization, LayerNormalization, LRN, LpNormalization, MeanVarianceNormalization. Means
 * and variances are summed in double (LayerNormalization: in vectors of floats, these in double),
 * which costs little next to reading the data and keeps long rows exact. */
#include "libpith/kernels/families.h"
#include "libpith/kernels/rows_f32.h"

#include <errno.h>
#include <math.h>
#include <string.h>

static int need_channels(struct pith_step *step, size_t input, int64_t channels,
                         struct pith_error *err)
{
    if (!pith_step_has(step, input) || pith_shape_elements(&step->input[input].shape) != channels)
        return pith_step_fail(step, err, -EINVAL, "input %zu needs %lld entries", input,
                              (long long) channels);
    return 0;
}

static void moments(const float *x, int64_t count, double *mean, double *variance)
{
    double sum = 0.0, squares = 0.0;

    for (int64_t i = 0; i < count; i++)
        sum += (double) x[i];
    *mean = count ? sum / (double) count : 0.0;
    for (int64_t i = 0; i < count; i++)
        squares += ((double) x[i] - *mean) * ((double) x[i] - *mean);
    *variance = count ? squares / (double) count : 0.0;
}

/* ---- BatchNormalization ---- */

struct batch_norm {
    int64_t batch, channels, plane;
    float epsilon, momentum;
    bool training;
};

static int batch_norm_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape;
    struct batch_norm *bn = pith_step_alloc(step, sizeof *bn);
    int rc = 0;

    if (!bn)
        return -ENOMEM;
    if (x->rank < 1)
        return pith_step_fail(step, err, -EINVAL, "a scalar has no channels");
    bn->batch = x->rank > 1 ? x->dim[0] : 1;
    bn->channels = x->rank > 1 ? x->dim[1] : x->dim[0];
    bn->plane = x->rank > 2 ? pith_dims_product(x, 2, x->rank) : 1;
    bn->epsilon = pith_node_float(step->graph, step->node, "epsilon", 1e-5F);
    bn->momentum = pith_node_float(step->graph, step->node, "momentum", 0.9F);
    bn->training = pith_node_int(step->graph, step->node, "training_mode", 0) != 0;
    if (x->rank == 1 && bn->training)
        return pith_step_fail(step, err, -ENOTSUP, "training_mode on rank 1");
    for (size_t i = 1; i <= 4 && rc == 0; i++)
        rc = need_channels(step, i, bn->channels, err);
    for (size_t i = 1; i < step->output_count && rc == 0 && bn->training; i++)
        if (pith_step_gives(step, i) && pith_shape_elements(&step->output[i].shape) != bn->channels)
            rc = pith_step_fail(step, err, -EINVAL, "output %zu has one entry a channel", i);
    for (size_t i = 1; i < step->output_count && rc == 0 && !bn->training; i++)
        if (pith_step_gives(step, i))
            rc = pith_step_fail(step, err, -ENOTSUP,
                                "running statistics are an output of training_mode only");
    step->in_place = bn->training ? 0 : 1;
    step->params = bn;
    return rc;
}

static void channel_moments(const struct pith_step *step, const struct batch_norm *bn, int64_t c,
                            double *mean, double *variance)
{
    const float *x = step->input[0].data;
    const double count = (double) (bn->batch * bn->plane);
    double sum = 0.0, squares = 0.0;

    for (int64_t n = 0; n < bn->batch; n++)
        for (int64_t i = 0; i < bn->plane; i++)
            sum += (double) x[(n * bn->channels + c) * bn->plane + i];
    *mean = sum / count;
    for (int64_t n = 0; n < bn->batch; n++)
        for (int64_t i = 0; i < bn->plane; i++) {
            const double d = (double) x[(n * bn->channels + c) * bn->plane + i] - *mean;

            squares += d * d;
        }
    *variance = squares / count;
}

static float blend(float old, double now, float momentum)
{
    return (float) ((double) old * (double) momentum + now * (1.0 - (double) momentum));
}

static int batch_norm_run(struct pith_step *step, struct pith_error *err)
{
    const struct batch_norm *bn = step->params;
    const float *scale = step->input[1].data, *bias = step->input[2].data;
    const float *mean = step->input[3].data, *variance = step->input[4].data;

    (void) err;
    for (int64_t c = 0; c < bn->channels; c++) {
        double m = (double) mean[c], v = (double) variance[c], factor;

        if (bn->training) {
            channel_moments(step, bn, c, &m, &v);
            if (pith_step_gives(step, 1))
                ((float *) step->output[1].data)[c] = blend(mean[c], m, bn->momentum);
            if (pith_step_gives(step, 2))
                ((float *) step->output[2].data)[c] = blend(variance[c], v, bn->momentum);
        }
        factor = (double) scale[c] / sqrt(v + (double) bn->epsilon);
        for (int64_t n = 0; n < bn->batch; n++) {
            const float *x =
                (const float *) step->input[0].data + (n * bn->channels + c) * bn->plane;
            float *y = (float *) step->output[0].data + (n * bn->channels + c) * bn->plane;
            const float by = (float) factor, plus = (float) ((double) bias[c] - m * factor);

            for (int64_t i = 0; i < bn->plane; i++)
                y[i] = x[i] * by + plus;
        }
    }
    return 0;
}

/* ---- Instance-, Group- and LayerNormalization: rows that are normalized on their own ---- */

struct rows {
    int64_t count, length; /* rows, elements of each */
    float epsilon;
    int64_t channels, groups,
        plane; /* Group, Instance: scale and bias are per channel (per group before opset 21) */
    bool per_group;
    int64_t scale_count, bias_count; /* Layer: over the row, repeating */
};

static int group_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape;
    const bool instance = strcmp(step->kernel->op, "InstanceNormalization") == 0;
    struct rows *r = pith_step_alloc(step, sizeof *r);
    int rc;

    if (!r)
        return -ENOMEM;
    if (x->rank < 2)
        return pith_step_fail(step, err, -EINVAL, "wants [N,C,...], and has rank %u", x->rank);
    r->channels = x->dim[1];
    r->groups = instance ? r->channels : pith_node_int(step->graph, step->node, "num_groups", 0);
    if (r->channels && (r->groups < 1 || r->channels % r->groups != 0))
        return pith_step_fail(step, err, -EINVAL, "%lld channels in %lld groups",
                              (long long) r->channels, (long long) r->groups);
    r->plane = pith_dims_product(x, 2, x->rank);
    r->count = x->dim[0] * r->groups;
    r->length = r->groups ? r->channels / r->groups * r->plane : 0;
    r->per_group = !instance && step->opset < 21;
    r->epsilon = pith_node_float(step->graph, step->node, "epsilon", 1e-5F);
    rc = need_channels(step, 1, r->per_group ? r->groups : r->channels, err);
    if (rc == 0)
        rc = need_channels(step, 2, r->per_group ? r->groups : r->channels, err);
    step->in_place = 1;
    step->params = r;
    return rc;
}

static int group_run(struct pith_step *step, struct pith_error *err)
{
    const struct rows *r = step->params;
    const float *scale = step->input[1].data, *bias = step->input[2].data;

    (void) err;
    for (int64_t row = 0; row < r->count; row++) {
        const float *x = (const float *) step->input[0].data + row * r->length;
        float *y = (float *) step->output[0].data + row * r->length;
        const int64_t group = row % r->groups, each = r->channels / r->groups;
        double mean, variance, factor;

        moments(x, r->length, &mean, &variance);
        factor = 1.0 / sqrt(variance + (double) r->epsilon);
        for (int64_t c = 0; c < each; c++) {
            const int64_t at = r->per_group ? group : group * each + c;
            const float by = (float) ((double) scale[at] * factor);
            const float plus = (float) ((double) bias[at] - mean * (double) scale[at] * factor);

            for (int64_t i = c * r->plane; i < (c + 1) * r->plane; i++)
                y[i] = x[i] * by + plus;
        }
    }
    return 0;
}

static int layer_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape;
    struct rows *r = pith_step_alloc(step, sizeof *r);
    uint32_t axis;
    int rc;

    if (!r)
        return -ENOMEM;
    rc = pith_step_axis(step, pith_node_int(step->graph, step->node, "axis", -1), x->rank, &axis,
                        err);
    if (rc < 0)
        return rc;
    r->count = pith_dims_product(x, 0, axis);
    r->length = pith_dims_product(x, axis, x->rank);
    r->epsilon = pith_node_float(step->graph, step->node, "epsilon", 1e-5F);
    r->scale_count = pith_shape_elements(&step->input[1].shape);
    r->bias_count = pith_step_has(step, 2) ? pith_shape_elements(&step->input[2].shape) : 1;
    if (r->scale_count < 1 || r->bias_count < 1 || r->length % r->scale_count != 0 ||
        r->length % r->bias_count != 0)
        if (r->length != 0) /* over nothing, anything repeats */
            return pith_step_fail(step, err, -EINVAL, "scale and bias must repeat over %lld elements",
                                  (long long) r->length);
    for (size_t i = 1; i < 3; i++)
        if (pith_step_gives(step, i) && pith_shape_elements(&step->output[i].shape) != r->count)
            return pith_step_fail(step, err, -EINVAL, "output %zu has one entry a row", i);
    step->in_place = 1;
    step->params = r;
    return 0;
}

static void layer_row(const struct rows *r, const float *x, float *y, const float *scale,
                      const float *bias, float out[2])
{
    double mean, variance, factor;

    moments(x, r->length, &mean, &variance);
    factor = 1.0 / sqrt(variance + (double) r->epsilon);
    for (int64_t i = 0; i < r->length; i++)
        y[i] = (float) (((double) x[i] - mean) * factor) * scale[i % r->scale_count] +
               (bias ? bias[i % r->bias_count] : 0.0F);
    out[0] = (float) mean;
    out[1] = (float) factor;
}

static int layer_run(struct pith_step *step, struct pith_error *err)
{
    const struct rows *r = step->params;
    const float *scale = step->input[1].data,
                *bias = pith_step_has(step, 2) ? step->input[2].data : NULL;
    const struct pith_rows_form *form = pith_rows_form();

    (void) err;
    if (r->scale_count != r->length || (bias && r->bias_count != r->length) || r->length < 1)
        form = NULL;
    for (int64_t row = 0; row < r->count; row++) {
        const float *x = (const float *) step->input[0].data + row * r->length;
        float *y = (float *) step->output[0].data + row * r->length, out[2];

        if (form)
            form->normalize(y, x, r->length, scale, bias, r->epsilon, out);
        else
            layer_row(r, x, y, scale, bias, out);
        if (pith_step_gives(step, 1))
            ((float *) step->output[1].data)[row] = out[0];
        if (pith_step_gives(step, 2))
            ((float *) step->output[2].data)[row] = out[1];
    }
    return 0;
}

/* ---- LRN: across neighbouring channels ---- */

struct lrn {
    int64_t batch, channels, plane, before, behind;
    float alpha, beta, bias;
    int64_t size;
};

static int lrn_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape;
    struct lrn *l = pith_step_alloc(step, sizeof *l);

    if (!l)
        return -ENOMEM;
    l->size = pith_node_int(step->graph, step->node, "size", 0);
    if (x->rank < 2 || l->size < 1 || l->size > INT32_MAX)
        return pith_step_fail(step, err, -EINVAL, "size %lld on rank %u", (long long) l->size,
                              x->rank);
    l->batch = x->dim[0];
    l->channels = x->dim[1];
    l->plane = pith_dims_product(x, 2, x->rank);
    l->before = (l->size - 1) / 2;
    l->behind = l->size - 1 - l->before;
    l->alpha = pith_node_float(step->graph, step->node, "alpha", 1e-4F);
    l->beta = pith_node_float(step->graph, step->node, "beta", 0.75F);
    l->bias = pith_node_float(step->graph, step->node, "bias", 1.0F);
    step->params = l;
    return 0;
}

static int lrn_run(struct pith_step *step, struct pith_error *err)
{
    const struct lrn *l = step->params;

    (void) err;
    for (int64_t n = 0; n < l->batch; n++) {
        const float *x = (const float *) step->input[0].data + n * l->channels * l->plane;
        float *y = (float *) step->output[0].data + n * l->channels * l->plane;

        for (int64_t c = 0; c < l->channels; c++) {
            const int64_t from = c - l->before < 0 ? 0 : c - l->before;
            const int64_t to = c + l->behind >= l->channels ? l->channels - 1 : c + l->behind;

            for (int64_t i = 0; i < l->plane; i++) {
                float squares = 0.0F;

                for (int64_t k = from; k <= to; k++)
                    squares += x[k * l->plane + i] * x[k * l->plane + i];
                y[c * l->plane + i] = x[c * l->plane + i] /
                                      powf(l->bias + l->alpha / (float) l->size * squares, l->beta);
            }
        }
    }
    return 0;
}

/* ---- LpNormalization ---- */

struct lp {
    int64_t outer, count, inner, p;
};

static int lp_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape;
    struct lp *l = pith_step_alloc(step, sizeof *l);
    uint32_t axis;
    int rc;

    if (!l)
        return -ENOMEM;
    rc = pith_step_axis(step, pith_node_int(step->graph, step->node, "axis", -1), x->rank, &axis,
                        err);
    if (rc < 0)
        return rc;
    l->p = pith_node_int(step->graph, step->node, "p", 2);
    if (l->p != 1 && l->p != 2)
        return pith_step_fail(step, err, -EINVAL, "p is %lld, and may be 1 or 2", (long long) l->p);
    l->outer = pith_dims_product(x, 0, axis);
    l->count = x->dim[axis];
    l->inner = pith_dims_product(x, axis + 1, x->rank);
    step->in_place = 1;
    step->params = l;
    return 0;
}

static int lp_run(struct pith_step *step, struct pith_error *err)
{
    const struct lp *l = step->params;

    (void) err;
    for (int64_t o = 0; o < l->outer; o++)
        for (int64_t i = 0; i < l->inner; i++) {
            const float *x = (const float *) step->input[0].data + o * l->count * l->inner + i;
            float *y = (float *) step->output[0].data + o * l->count * l->inner + i;
            double sum = 0.0;

            for (int64_t k = 0; k < l->count; k++)
                sum += l->p == 1 ? fabs((double) x[k * l->inner])
                                 : (double) x[k * l->inner] * (double) x[k * l->inner];
            sum = l->p == 1 ? sum : sqrt(sum);
            for (int64_t k = 0; k < l->count; k++)
                y[k * l->inner] = sum > 0.0 ? (float) ((double) x[k * l->inner] / sum) : 0.0F;
        }
    return 0;
}

/* ---- MeanVarianceNormalization ---- */

struct mvn {
    uint32_t mask; /* axes that are normalized over */
    int64_t kept;  /* combinations of the other axes */
};

static int mvn_prepare(struct pith_step *step, struct pith_error *err)
{
    static const int64_t otherwise[] = {0, 2, 3};
    const struct pith_shape *x = &step->input[0].shape;
    struct mvn *m = pith_step_alloc(step, sizeof *m);
    size_t count = 0;
    const int64_t *axes = pith_node_ints(step->graph, step->node, "axes", &count);

    if (!m)
        return -ENOMEM;
    if (!axes) {
        axes = otherwise;
        count = 3;
    }
    for (size_t i = 0; i < count; i++) {
        uint32_t axis;
        int rc = pith_step_axis(step, axes[i], x->rank, &axis, err);

        if (rc < 0)
            return rc;
        m->mask |= UINT32_C(1) << axis;
    }
    m->kept = 1;
    for (uint32_t i = 0; i < x->rank; i++)
        m->kept *= m->mask >> i & 1 ? 1 : x->dim[i];
    if (m->kept > PITH_STEP_MAX_BYTES / (int64_t) (2 * sizeof(double)))
        return pith_step_fail(step, err, -EINVAL, "too many rows");
    step->scratch_bytes = (size_t) m->kept * 2 * sizeof(double);
    step->in_place = 1;
    step->params = m;
    return 0;
}

/* Which kept combination element i belongs to. */
static int64_t kept_index(const struct pith_shape *x, uint32_t mask, int64_t i)
{
    int64_t index = 0, factor = 1;

    for (uint32_t d = x->rank; d-- > 0;) {
        if (!(mask >> d & 1)) {
            index += i % x->dim[d] * factor;
            factor *= x->dim[d];
        }
        i /= x->dim[d];
    }
    return index;
}

static int mvn_run(struct pith_step *step, struct pith_error *err)
{
    const struct mvn *m = step->params;
    const struct pith_shape *shape = &step->input[0].shape;
    const float *x = step->input[0].data;
    float *y = step->output[0].data;
    double *mean = step->scratch, *squares = mean + m->kept;
    const int64_t count = pith_shape_elements(shape);
    const double each = m->kept ? (double) count / (double) m->kept : 1.0;

    (void) err;
    for (int64_t k = 0; k < m->kept; k++)
        mean[k] = squares[k] = 0.0;
    for (int64_t i = 0; i < count; i++)
        mean[kept_index(shape, m->mask, i)] += (double) x[i] / each;
    for (int64_t i = 0; i < count; i++) {
        const int64_t k = kept_index(shape, m->mask, i);

        squares[k] += ((double) x[i] - mean[k]) * ((double) x[i] - mean[k]) / each;
    }
    for (int64_t i = 0; i < count; i++) {
        const int64_t k = kept_index(shape, m->mask, i);

        y[i] = (float) (((double) x[i] - mean[k]) / (sqrt(squares[k]) + 1e-9));
    }
    return 0;
}

#define F32                                                                                        \
    {                                                                                              \
        PITH_BIT(FLOAT32), PITH_BIT(FLOAT32), PITH_BIT(FLOAT32)                                    \
    }

const struct pith_kernel pith_kernels_normalize[] = {
    {.op = "BatchNormalization",
     .name = "batch_norm_f32",
     .types = F32,
     .prepare = batch_norm_prepare,
     .run = batch_norm_run},
    {.op = "InstanceNormalization",
     .name = "instance_norm_f32",
     .types = F32,
     .prepare = group_prepare,
     .run = group_run},
    {.op = "GroupNormalization",
     .name = "group_norm_f32",
     .types = F32,
     .prepare = group_prepare,
     .run = group_run},
    {.op = "LayerNormalization",
     .name = "layer_norm_f32",
     .types = F32,
     .prepare = layer_prepare,
     .run = layer_run},
    {.op = "LayerNormalization",
     .domain = PITH_FUSED_DOMAIN,
     .name = "layer_norm_f32",
     .types = F32,
     .prepare = layer_prepare,
     .run = layer_run},
    {.op = "LRN", .name = "lrn_f32", .types = F32, .prepare = lrn_prepare, .run = lrn_run},
    {.op = "LpNormalization",
     .name = "lp_norm_f32",
     .types = F32,
     .prepare = lp_prepare,
     .run = lp_run},
    {.op = "MeanVarianceNormalization",
     .name = "mean_variance_norm_f32",
     .types = F32,
     .prepare = mvn_prepare,
     .run = mvn_run},
    {0},
};
