/* Likeness of pictures. */
#include "libpith/compress/metric.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define MOST_DB 100

double pith_psnr(const float *a, const float *b, size_t count, double peak)
{
    double sum = 0;

    for (size_t i = 0; i < count; i++) {
        double difference = (double) a[i] - (double) b[i];

        sum += difference * difference;
    }
    if (sum == 0 || count == 0)
        return MOST_DB;
    return fmin(10 * log10(peak * peak * (double) count / sum), MOST_DB);
}

#define WINDOW 11
#define SIGMA  1.5

static void gaussian(double weights[WINDOW])
{
    double sum = 0;

    for (int i = 0; i < WINDOW; i++) {
        double x = i - (WINDOW - 1) / 2;

        weights[i] = exp(-x * x / (2 * SIGMA * SIGMA));
        sum += weights[i];
    }
    for (int i = 0; i < WINDOW; i++)
        weights[i] /= sum;
}

struct moments { /* weighted sums of one window */
    double a, b, aa, bb, ab;
};

/* Wang, Bovik, Sheikh, Simoncelli 2004, equation 13. */
static double likeness(const struct moments *m, double peak)
{
    double c1 = 0.01 * peak * 0.01 * peak, c2 = 0.03 * peak * 0.03 * peak;
    double var_a = m->aa - m->a * m->a, var_b = m->bb - m->b * m->b, cov = m->ab - m->a * m->b;

    return (2 * m->a * m->b + c1) * (2 * cov + c2) /
           ((m->a * m->a + m->b * m->b + c1) * (var_a + var_b + c2));
}

static void gather(const float *a, const float *b, int64_t width, int64_t rows, int64_t columns,
                   const double *weights, struct moments *out)
{
    *out = (struct moments){0};
    for (int64_t y = 0; y < rows; y++)
        for (int64_t x = 0; x < columns; x++) {
            double w = weights ? weights[y] * weights[x] : 1.0 / (double) (rows * columns);
            double va = a[y * width + x], vb = b[y * width + x];

            out->a += w * va;
            out->b += w * vb;
            out->aa += w * va * va;
            out->bb += w * vb * vb;
            out->ab += w * va * vb;
        }
}

int pith_ssim(const float *a, const float *b, int64_t planes, int64_t height, int64_t width,
              double peak, double *out)
{
    bool small = height < WINDOW || width < WINDOW;
    int64_t rows = small ? height : WINDOW, columns = small ? width : WINDOW;
    double weights[WINDOW], sum = 0, count = 0;

    if (planes < 1 || height < 1 || width < 1)
        return -EINVAL;
    gaussian(weights);
    for (int64_t p = 0; p < planes; p++)
        for (int64_t y = 0; y + rows <= height; y++)
            for (int64_t x = 0; x + columns <= width; x++) {
                int64_t at = (p * height + y) * width + x;
                struct moments moments;

                gather(a + at, b + at, width, rows, columns, small ? NULL : weights, &moments);
                sum += likeness(&moments, peak);
                count++;
            }
    *out = sum / count;
    return 0;
}
