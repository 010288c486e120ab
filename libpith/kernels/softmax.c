/* Softmax, LogSoftmax and Hardmax. From opset 13 on along one axis; before, over all dimensions
 * from `axis` on. */
#include "libpith/kernels/families.h"
#include "libpith/kernels/math_f32.h"
#include "libpith/kernels/rows_f32.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define LANES        16 /* partial maxima and sums of a line: the compiler makes vectors of them */
#define BLOCK_FLOATS 2048 /* short lines that are taken together, and columns */

struct softmax {
    int64_t outer, count, inner; /* x as (outer, count, inner), normalized along count */
};

static int softmax_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape;
    const bool one_axis = step->opset >= 13;
    struct softmax *s = pith_step_alloc(step, sizeof *s);
    const int64_t axis_given = pith_node_int(step->graph, step->node, "axis", one_axis ? -1 : 1);
    uint32_t axis = 0;
    int rc;

    if (!s)
        return -ENOMEM;
    if (!one_axis && axis_given == (int64_t) x->rank) {
        axis = x->rank; /* nothing behind it: each element alone */
    } else if (x->rank > 0) {
        rc = pith_step_axis(step, axis_given, x->rank, &axis, err);
        if (rc < 0)
            return rc;
    }
    s->outer = pith_dims_product(x, 0, axis);
    s->count = axis == x->rank ? 1 : one_axis ? x->dim[axis] : pith_dims_product(x, axis, x->rank);
    s->inner = axis < x->rank && one_axis ? pith_dims_product(x, axis + 1, x->rank) : 1;
    step->in_place = 1;
    step->params = s;
    return 0;
}

static float greatest(const float *x, int64_t count, int64_t stride)
{
    float best = -INFINITY;

    for (int64_t i = 0; i < count; i++)
        best = x[i * stride] > best ? x[i * stride] : best;
    return best;
}

static float greatest_of_line(const float *x, int64_t count)
{
    float best[LANES];
    int64_t i = LANES;

    if (count < LANES)
        return greatest(x, count, 1);
    memcpy(best, x, sizeof best);
    for (; i + LANES <= count; i += LANES)
        for (int l = 0; l < LANES; l++)
            best[l] = x[i + l] > best[l] ? x[i + l] : best[l];
    return fmaxf(greatest(best, LANES, 1), greatest(x + i, count - i, 1));
}

static float sum_of_line(const float *x, int64_t count)
{
    float part[LANES] = {0}, sum = 0.0F;
    int64_t i = 0;

    for (; i + LANES <= count; i += LANES)
        for (int l = 0; l < LANES; l++)
            part[l] += x[i + l];
    for (; i < count; i++)
        sum += x[i];
    for (int l = 0; l < LANES && count >= LANES; l++)
        sum += part[l];
    return sum;
}

/* `lines` lines of `count`, one behind the other. Exponentials of all are made in one go, so that
 * short lines fill vectors too. */
static void softmax_lines(const float *x, float *y, int64_t lines, int64_t count)
{
    for (int64_t l = 0; l < lines; l++) {
        const float *from = x + l * count;
        const float best = greatest_of_line(from, count);

        for (int64_t i = 0; i < count; i++)
            y[l * count + i] = from[i] - best;
    }
    pith_math_form()->exp(y, y, lines * count);
    for (int64_t l = 0; l < lines; l++) {
        const float sum = sum_of_line(y + l * count, count);

        for (int64_t i = 0; i < count; i++)
            y[l * count + i] /= sum;
    }
}

/* `columns` columns of `count`, whose entries are `stride` apart. */
static void softmax_columns(const float *x, float *y, int64_t columns, int64_t count,
                            int64_t stride)
{
    float best[BLOCK_FLOATS], sum[BLOCK_FLOATS];

    for (int64_t c = 0; c < columns; c++) {
        best[c] = -INFINITY;
        sum[c] = 0.0F;
    }
    for (int64_t i = 0; i < count; i++)
        for (int64_t c = 0; c < columns; c++)
            best[c] = x[i * stride + c] > best[c] ? x[i * stride + c] : best[c];
    for (int64_t i = 0; i < count; i++) {
        float *to = y + i * stride;

        for (int64_t c = 0; c < columns; c++)
            to[c] = x[i * stride + c] - best[c];
        pith_math_form()->exp(to, to, columns);
        for (int64_t c = 0; c < columns; c++)
            sum[c] += to[c];
    }
    for (int64_t i = 0; i < count; i++)
        for (int64_t c = 0; c < columns; c++)
            y[i * stride + c] /= sum[c];
}

static void log_softmax_line(const float *x, float *y, int64_t count, int64_t stride)
{
    const float best = greatest(x, count, stride);
    float sum = 0.0F;

    for (int64_t i = 0; i < count; i++)
        sum += expf(x[i * stride] - best);
    sum = logf(sum);
    for (int64_t i = 0; i < count; i++)
        y[i * stride] = x[i * stride] - best - sum;
}

static void hardmax_line(const float *x, float *y, int64_t count, int64_t stride)
{
    int64_t best = 0;

    for (int64_t i = 1; i < count; i++)
        best = x[i * stride] > x[best * stride] ? i : best;
    for (int64_t i = 0; i < count; i++)
        y[i * stride] = i == best ? 1.0F : 0.0F;
}

typedef void line_function(const float *x, float *y, int64_t count, int64_t stride);

static void each_line(struct pith_step *step, line_function *line)
{
    const struct softmax *s = step->params;

    for (int64_t o = 0; o < s->outer; o++)
        for (int64_t i = 0; i < s->inner; i++) {
            const int64_t at = o * s->count * s->inner + i;

            line((const float *) step->input[0].data + at, (float *) step->output[0].data + at,
                 s->count, s->inner);
        }
}

static int softmax_run(struct pith_step *step, struct pith_error *err)
{
    const struct softmax *s = step->params;
    const float *x = step->input[0].data;
    float *y = step->output[0].data;
    const struct pith_rows_form *rows = pith_rows_form();
    const int64_t together = s->count > 0 && s->count < BLOCK_FLOATS ? BLOCK_FLOATS / s->count : 1;

    (void) err;
    if (s->inner == 1 && rows && s->count >= rows->lanes) {
        for (int64_t o = 0; o < s->outer; o++) {
            float *line = y + o * s->count;

            rows->multiply(line, s->count,
                           1.0F / rows->exponentials(line, x + o * s->count, s->count, 1.0F, NULL));
        }
        return 0;
    }
    if (s->inner == 1) {
        for (int64_t o = 0; o < s->outer; o += together)
            softmax_lines(x + o * s->count, y + o * s->count,
                          s->outer - o < together ? s->outer - o : together, s->count);
        return 0;
    }
    for (int64_t o = 0; o < s->outer; o++)
        for (int64_t i = 0; i < s->inner; i += BLOCK_FLOATS) {
            const int64_t at = o * s->count * s->inner + i, left = s->inner - i;

            softmax_columns(x + at, y + at, left < BLOCK_FLOATS ? left : BLOCK_FLOATS, s->count,
                            s->inner);
        }
    return 0;
}

static int log_softmax_run(struct pith_step *step, struct pith_error *err)
{
    (void) err;
    each_line(step, log_softmax_line);
    return 0;
}

static int hardmax_run(struct pith_step *step, struct pith_error *err)
{
    (void) err;
    each_line(step, hardmax_line);
    return 0;
}

const struct pith_kernel pith_kernels_softmax[] = {
    {.op = "Softmax",
     .name = "softmax_f32",
     .types = {PITH_BIT(FLOAT32)},
     .prepare = softmax_prepare,
     .run = softmax_run},
    {.op = "LogSoftmax",
     .name = "log_softmax_f32",
     .types = {PITH_BIT(FLOAT32)},
     .prepare = softmax_prepare,
     .run = log_softmax_run},
    {.op = "Hardmax",
     .name = "hardmax_f32",
     .types = {PITH_BIT(FLOAT32)},
     .prepare = softmax_prepare,
     .run = hardmax_run},
    {0},
};
