/* AdaRound, a row at a time: rows share the matrix and nothing else. The error is measured in
 * levels, and the matrix is divided by its mean diagonal, so that one lambda and one rate suit
 * every layer. */
#include "plugins/techniques/quantize/adaround.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ZETA        1.1f /* h reaches past 0 and 1, so that it can stay there */
#define GAMMA       -0.1f
#define WARM_SHARE  0.2 /* of the steps, without the second term */
#define BETA_FIRST  20.0
#define BETA_LAST   2.0
#define ADAM_MEAN   0.9f
#define ADAM_SQUARE 0.999f
#define ADAM_LEAST  1e-8f

struct row { /* of one block; arrays have `width` entries, scratch twice as many */
    size_t width;
    float *low;  /* floor(w / s) */
    float *part; /* w / s - low: 0..1, or beyond where the scale cuts the weight off */
    float *v;    /* what is learned */
    float *gradient, *mean, *square, *scratch;
    float *gram; /* width x width, whole and divided by its mean diagonal; shared by the rows */
};

/* gradient = gram e; returns e' gram e. */
static double multiply(const float *gram, size_t width, const float *e, float *restrict gradient)
{
    double sum = 0;

    memset(gradient, 0, width * sizeof *gradient);
    for (size_t i = 0; i < width; i++) {
        const float *restrict line = gram + i * width;

        for (size_t j = 0; j < width; j++)
            gradient[j] += e[i] * line[j];
    }
    for (size_t i = 0; i < width; i++)
        sum += (double) e[i] * (double) gradient[i];
    return sum;
}

static float sigmoid(float x)
{
    return 1 / (1 + expf(-x));
}

double adaround_objective(const float *gram, size_t width, const float *part, const float *v,
                          float beta, float *scratch, float *gradient)
{
    float *h = scratch, *error = scratch + width;
    double sum;

    for (size_t i = 0; i < width; i++) {
        h[i] = fminf(fmaxf(sigmoid(v[i]) * (ZETA - GAMMA) + GAMMA, 0), 1);
        error[i] = h[i] - part[i];
    }
    sum = multiply(gram, width, error, gradient);
    for (size_t i = 0; i < width; i++) {
        float s = sigmoid(v[i]), by_h = 2 * gradient[i], far = 2 * h[i] - 1;

        if (beta > 0) {
            float steep = powf(fabsf(far), beta - 1);

            sum += ADAROUND_LAMBDA * (1 - (double) (steep * fabsf(far)));
            by_h -= (float) ADAROUND_LAMBDA * 2 * beta * copysignf(steep, far);
        }
        gradient[i] = h[i] > 0 && h[i] < 1 ? by_h * s * (1 - s) * (ZETA - GAMMA) : 0;
    }
    return sum;
}

static void begin(struct row *row, const float *w, const float *scale, int32_t limit)
{
    for (size_t i = 0; i < row->width; i++) {
        float x = w[i] / scale[i];

        /* Up and down are both levels. What lies past the last of them errs by as much more, which the
         * others of the row have to make up for. */
        row->low[i] = fminf(fmaxf(floorf(x), (float) -limit), (float) limit - 1);
        row->part[i] = x - row->low[i];
        /* h(v) is the fraction, so that learning starts at the weights as they are. */
        float h = fminf(fmaxf(row->part[i], 0.001f), 0.999f), s = (h - GAMMA) / (ZETA - GAMMA);

        row->v[i] = logf(s / (1 - s));
    }
    memset(row->mean, 0, row->width * sizeof *row->mean);
    memset(row->square, 0, row->width * sizeof *row->square);
}

/* Adam, Kingma and Ba 2015, arXiv:1412.6980. */
static void step_once(struct row *row, unsigned step, unsigned steps)
{
    double done = ((double) step / steps - WARM_SHARE) / (1 - WARM_SHARE);
    float beta = (float) (BETA_LAST + (BETA_FIRST - BETA_LAST) * 0.5 * (1 + cos(M_PI * done)));
    float first = 1 - powf(ADAM_MEAN, (float) step + 1);
    float second = 1 - powf(ADAM_SQUARE, (float) step + 1);

    (void) adaround_objective(row->gram, row->width, row->part, row->v, done > 0 ? beta : 0,
                              row->scratch, row->gradient);
    for (size_t i = 0; i < row->width; i++) {
        float gradient = row->gradient[i];

        row->mean[i] = ADAM_MEAN * row->mean[i] + (1 - ADAM_MEAN) * gradient;
        row->square[i] = ADAM_SQUARE * row->square[i] + (1 - ADAM_SQUARE) * gradient * gradient;
        row->v[i] -= (float) ADAROUND_RATE * (row->mean[i] / first) /
                     (sqrtf(row->square[i] / second) + ADAM_LEAST);
    }
}

/* The learned levels where they err less than those that came. */
static void take_better(struct row *row, int8_t *levels)
{
    float *error = row->scratch;
    double came;

    for (size_t i = 0; i < row->width; i++)
        error[i] = (float) levels[i] - row->low[i] - row->part[i];
    came = multiply(row->gram, row->width, error, row->gradient);
    for (size_t i = 0; i < row->width; i++)
        error[i] = (row->v[i] >= 0 ? 1.0f : 0.0f) - row->part[i];
    if (multiply(row->gram, row->width, error, row->gradient) < came)
        for (size_t i = 0; i < row->width; i++)
            levels[i] = (int8_t) (row->low[i] + (row->v[i] >= 0 ? 1.0f : 0.0f));
}

static void fill_gram(struct row *row, const float *gram, size_t leading, const float *scale)
{
    double trace = 0;

    for (size_t i = 0; i < row->width; i++)
        trace += (double) gram[i * leading + i] * (double) scale[i] * (double) scale[i];
    float factor = trace > 0 ? (float) ((double) row->width / trace) : 0;

    for (size_t i = 0; i < row->width; i++)
        for (size_t j = 0; j < row->width; j++)
            row->gram[i * row->width + j] =
                (j < i ? gram[j * leading + i] : gram[i * leading + j]) * scale[i] * scale[j] *
                factor;
}

int adaround(const float *gram, size_t leading, size_t width, const float *w, const float *scale,
             size_t rows, int32_t limit, unsigned steps, int8_t *levels)
{
    float *memory = malloc((8 * width + width * width) * sizeof *memory);
    struct row row = {.width = width};

    if (!memory)
        return -ENOMEM;
    float **const parts[] = {&row.low,  &row.part,   &row.v,      &row.gradient,
                             &row.mean, &row.square, &row.scratch};

    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        *parts[i] = memory + i * width;
    row.gram = memory + 8 * width;
    for (size_t r = 0; r < rows; r++) {
        /* Scales differ from row to row, within a row only with blocks: the matrix is in levels. */
        if (r == 0 || memcmp(scale + r * width, scale + (r - 1) * width, width * sizeof *scale))
            fill_gram(&row, gram, leading, scale + r * width);
        begin(&row, w + r * width, scale + r * width, limit);
        for (unsigned step = 0; step < steps; step++)
            step_once(&row, step, steps);
        take_better(&row, levels + r * width);
    }
    free(memory);
    return 0;
}
