/* With e = w - s q and g = h e, moving level j by d changes the error by s^2 h_jj - 2 d s g_j: a row
 * of h is read only where a level moves. */
#include "plugins/techniques/quantize/descend.h"

#include "plugins/techniques/quantize/weights.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SWEEPS 16   /* at most; most rows are done after three */
#define FITS   3    /* of the scale to the levels, a start */
#define LEAST  1e-7 /* of the error, that a move must win: less is rounding */

/* Shares of the scale that a row starts from: heavy tails are cut, flat rows keep their ends. */
static const float starts[] = {1.0f, 0.72f, 0.86f, 1.16f};

int descent_init(struct descent *descent, const float *gram, size_t leading, size_t width)
{
    double trace = 0;

    *descent = (struct descent){.width = width,
                                .h = malloc(width * width * sizeof *descent->h),
                                .gradient = malloc(width * sizeof *descent->gradient),
                                .levels = malloc(width),
                                .scale = malloc(width * sizeof *descent->scale)};
    if (!descent->h || !descent->gradient || !descent->levels || !descent->scale) {
        descent_done(descent);
        return -ENOMEM;
    }
    for (size_t i = 0; i < width; i++)
        trace += (double) gram[i * leading + i];
    double damping = trace > 0 ? GPTQ_DAMPING * trace / (double) width : 1;

    for (size_t i = 0; i < width; i++)
        for (size_t j = 0; j <= i; j++) {
            double x = (double) gram[j * leading + i] + (i == j ? damping : 0);

            descent->h[i * width + j] = x;
            descent->h[j * width + i] = x;
        }
    return 0;
}

void descent_done(struct descent *descent)
{
    free(descent->h);
    free(descent->gradient);
    free(descent->levels);
    free(descent->scale);
    *descent = (struct descent){0};
}

static void add_row(struct descent *descent, size_t j, double times)
{
    const double *restrict row = descent->h + j * descent->width;
    double *restrict gradient = descent->gradient;

    for (size_t i = 0; i < descent->width; i++)
        gradient[i] += times * row[i];
}

/* The error, and its gradient anew. */
static double look(struct descent *descent, const float *w, double scale, const int8_t *levels)
{
    double sum = 0;

    memset(descent->gradient, 0, descent->width * sizeof *descent->gradient);
    for (size_t j = 0; j < descent->width; j++)
        add_row(descent, j, (double) w[j] - scale * levels[j]);
    for (size_t j = 0; j < descent->width; j++)
        sum += descent->gradient[j] * ((double) w[j] - scale * levels[j]);
    return sum;
}

double descend(struct descent *descent, const float *w, float scale, int32_t limit, int8_t *levels)
{
    double s = (double) scale, error = look(descent, w, s, levels);
    bool moved = true;

    for (int sweep = 0; sweep < SWEEPS && moved; sweep++) {
        moved = false;
        for (size_t j = 0; j < descent->width; j++) {
            int d = descent->gradient[j] > 0 ? 1 : -1;
            double won = 2 * s * fabs(descent->gradient[j]) - s * s * descent->h[j * descent->width + j];

            if (won <= LEAST * error || levels[j] + d > limit || levels[j] + d < -limit)
                continue;
            levels[j] = (int8_t) (levels[j] + d);
            add_row(descent, j, -d * s);
            error -= won;
            moved = true;
        }
    }
    return error;
}

/* The scale that errs least with these levels: q'hw / q'hq. 0 where there is none. */
static double fit_scale(struct descent *descent, const float *w, const int8_t *levels)
{
    double with_w = 0, with_q = 0;

    (void) look(descent, w, 0, levels); /* the gradient is h w */
    for (size_t j = 0; j < descent->width; j++)
        with_w += levels[j] * descent->gradient[j];
    memset(descent->gradient, 0, descent->width * sizeof *descent->gradient);
    for (size_t j = 0; j < descent->width; j++)
        if (levels[j] != 0)
            add_row(descent, j, levels[j]);
    for (size_t j = 0; j < descent->width; j++)
        with_q += levels[j] * descent->gradient[j];
    return with_q > 0 && with_w > 0 ? with_w / with_q : 0;
}

double descend_with_scale(struct descent *descent, struct gptq *gptq, const float *w, int32_t limit,
                          float *scale, int8_t *levels)
{
    const float first = *scale;
    int8_t *tried = descent->levels;
    double best = descend(descent, w, first, limit, levels);

    for (size_t k = 0; k < sizeof starts / sizeof *starts; k++) {
        float s = weight_scale_rounded(first * starts[k]);

        for (size_t j = 0; j < descent->width; j++)
            descent->scale[j] = s;
        gptq_round(gptq, w, descent->scale, limit, tried);
        for (int fit = 0; fit <= FITS; fit++) {
            double error = descend(descent, w, s, limit, tried);

            if (!(error < best * (1 - LEAST)) && fit > 0)
                break;
            if (error < best) {
                best = error;
                *scale = s;
                memcpy(levels, tried, descent->width);
            }
            double fitted = fit_scale(descent, w, tried);

            if (!(fitted > 0) || !isfinite((float) fitted))
                break;
            s = weight_scale_rounded((float) fitted);
        }
    }
    return best;
}
