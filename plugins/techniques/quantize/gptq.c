/* GPTQ over one block of columns. Everything is in doubles and in one order: the same bytes on
 * every machine, given the same Gram matrix. */
#include "plugins/techniques/quantize/gptq.h"

#include "plugins/techniques/quantize/cholesky.h"
#include "plugins/techniques/quantize/weights.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct ranked {
    float diagonal;
    size_t column;
};

static int least_first(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;

    if (x->diagonal != y->diagonal)
        return x->diagonal < y->diagonal ? -1 : 1;
    return x->column > y->column ? -1 : x->column < y->column;
}

static int choose_order(struct gptq *gptq, const float *gram, size_t leading)
{
    struct ranked *ranked = malloc(gptq->width * sizeof *ranked);

    if (!ranked)
        return -ENOMEM;
    for (size_t i = 0; i < gptq->width; i++)
        ranked[i] = (struct ranked){gram[i * leading + i], i};
    qsort(ranked, gptq->width, sizeof *ranked, least_first);
    for (size_t i = 0; i < gptq->width; i++)
        gptq->order[i] = ranked[i].column;
    free(ranked);
    return 0;
}

static void fill_factor(struct gptq *gptq, const float *gram, size_t leading)
{
    size_t width = gptq->width;
    double trace = 0;

    for (size_t i = 0; i < width; i++)
        trace += (double) gram[i * leading + i];
    double damping = trace > 0 ? GPTQ_DAMPING * trace / (double) width : 1;

    for (size_t i = 0; i < width; i++)
        for (size_t j = 0; j <= i; j++) {
            size_t a = gptq->order[i], b = gptq->order[j];

            gptq->factor[i * width + j] =
                (double) (a < b ? gram[a * leading + b] : gram[b * leading + a]) +
                (i == j ? damping : 0);
        }
}

int gptq_init(struct gptq *gptq, const float *gram, size_t leading, size_t width)
{
    *gptq = (struct gptq){.width = width,
                          .order = malloc(width * sizeof *gptq->order),
                          .factor = malloc(width * width * sizeof *gptq->factor),
                          .carry = malloc(width * sizeof *gptq->carry)};
    int rc =
        gptq->order && gptq->factor && gptq->carry ? choose_order(gptq, gram, leading) : -ENOMEM;

    if (rc == 0) {
        fill_factor(gptq, gram, leading);
        rc = cholesky(gptq->factor, width) ? 0 : -EDOM;
    }
    if (rc < 0)
        gptq_done(gptq);
    return rc;
}

void gptq_done(struct gptq *gptq)
{
    free(gptq->order);
    free(gptq->factor);
    free(gptq->carry);
    *gptq = (struct gptq){0};
}

/* What the error at place `at` adds to the squares still to come. */
static void carry_on(struct gptq *gptq, size_t at, double error)
{
    const double *restrict row = gptq->factor + at * gptq->width;
    double *restrict carry = gptq->carry;

    for (size_t i = 0; i < at; i++)
        carry[i] += row[i] * error;
}

void gptq_round(struct gptq *gptq, const float *w, const float *scale, int32_t limit,
                int8_t *levels)
{
    memset(gptq->carry, 0, gptq->width * sizeof *gptq->carry);
    for (size_t at = gptq->width; at-- > 0;) {
        size_t column = gptq->order[at];
        double wanted = (double) w[column] + gptq->carry[at] / gptq->factor[at * gptq->width + at];
        int32_t level = weight_level((float) wanted, scale[column], limit);

        levels[column] = (int8_t) level;
        carry_on(gptq, at, (double) w[column] - level * (double) scale[column]);
    }
}

double gptq_error(struct gptq *gptq, const float *w, const float *scale, const int8_t *levels)
{
    double sum = 0;

    memset(gptq->carry, 0, gptq->width * sizeof *gptq->carry);
    for (size_t at = gptq->width; at-- > 0;) {
        size_t column = gptq->order[at];
        double error = (double) w[column] - levels[column] * (double) scale[column];
        double part = gptq->factor[at * gptq->width + at] * error + gptq->carry[at];

        sum += part * part;
        carry_on(gptq, at, error);
    }
    return sum;
}
