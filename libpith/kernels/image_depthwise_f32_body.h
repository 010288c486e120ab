/* Depthwise convolution of channels-last floats for one instruction set, one vector of channels at
 * a time. Included by image_conv_f32_body.h.
 *
 * A call goes over rows of pixels, with the weights of all taps in registers where the kernel is
 * 3x3 (and 5x5 where there are 32 of them). Pixels do not wait for each other, so the CPU works on
 * several at once by itself; they are taken four at a time where they share elements. */

#define GROUP 4

/* `pixels` pixels from column `col` of row `row` on: activation, residual, store. */
TARGET __attribute__((noinline)) static void FORM(depthwise_finish)(const struct image_tile *t,
                                                                    const FORM(vector) * acc,
                                                                    int64_t row, int64_t col,
                                                                    int64_t pixels, int last)
{
    for (int64_t p = 0; p < pixels; p++)
        FORM(finish)
        (t, &acc[p], 1, t->y + row * t->y_row + (col + p) * t->y_step,
         t->residual ? t->residual + row * t->residual_row + (col + p) * t->residual_step : NULL,
         last);
}

/* width x width taps, not dilated; line: where rows of taps begin. */
INLINE void FORM(depthwise_group)(const float *const *line, int64_t at, int64_t tap_step,
                                  const FORM(vector) * w, FORM(vector) bias, const int width,
                                  const int stride, const int pixels, FORM(vector) * acc)
{
#pragma GCC unroll 4
    for (int p = 0; p < pixels; p++)
        acc[p] = bias;
#pragma GCC unroll 5
    for (int ky = 0; ky < width; ky++) {
#pragma GCC unroll 16
        for (int i = 0; i < (pixels - 1) * stride + width; i++) {
            const FORM(vector) a = FORM(load)(line[ky] + at + i * tap_step);

#pragma GCC unroll 4
            for (int p = 0; p < pixels; p++)
                if (i - p * stride >= 0 && i - p * stride < width)
                    acc[p] += a * w[ky * width + i - p * stride];
        }
    }
}

struct FORM(depthwise_line) { /* what the pixels of a row share */
    const float *const *line;
    const FORM(vector) * w;
    FORM(vector) bias, low, high;
    int64_t row, x_step, tap_step, y_step;
    float *y;
};

/* `pixels` pixels from column `col` on. simple: see finishes_simply. */
INLINE void FORM(depthwise_pixels_of)(const struct image_tile *t,
                                      const struct FORM(depthwise_line) * l, int64_t col,
                                      const int width, const int stride, const bool simple,
                                      const int pixels)
{
    FORM(vector) acc[GROUP];

    FORM(depthwise_group)
    (l->line, col * l->x_step, l->tap_step, l->w, l->bias, width, stride, pixels, acc);
    if (!simple)
        FORM(depthwise_finish)(t, acc, l->row, col, pixels, t->last);
#pragma GCC unroll 4
    for (int p = 0; simple && p < pixels; p++)
        FORM(store)
        (l->y + (col + p) * l->y_step, FORM(at_most)(l->high, FORM(at_least)(l->low, acc[p])));
}

/* One row, with what the rows share in registers. */
INLINE void FORM(depthwise_row)(const struct image_tile *t, int64_t row, const int width,
                                const int stride, const bool simple)
{
    const int64_t cols = t->cols;
    const float *line[5];
    FORM(vector) w[25];
    const struct FORM(depthwise_line) l = {.line = line,
                                           .w = w,
                                           .bias = FORM(load)(t->bias),
                                           .low = FORM(spread)(t->activation.low),
                                           .high = FORM(spread)(t->activation.high),
                                           .row = row,
                                           .x_step = t->x_step,
                                           .tap_step = t->tap_step,
                                           .y_step = t->y_step,
                                           .y = t->y + row * t->y_row};
    int64_t col = 0;

#pragma GCC unroll 5
    for (int ky = 0; ky < width; ky++)
        line[ky] = t->x + row * t->x_row + t->offset[ky];
#pragma GCC unroll 25
    for (int k = 0; k < width * width; k++)
        w[k] = FORM(load)(t->w + k * LANES);
    for (; col + GROUP <= cols; col += GROUP)
        FORM(depthwise_pixels_of)(t, &l, col, width, stride, simple, GROUP);
    if (cols - col == 3)
        FORM(depthwise_pixels_of)(t, &l, col, width, stride, simple, 3);
    else if (cols - col == 2)
        FORM(depthwise_pixels_of)(t, &l, col, width, stride, simple, 2);
    else if (cols - col == 1)
        FORM(depthwise_pixels_of)(t, &l, col, width, stride, simple, 1);
    if (t->rest > 0) {
        FORM(vector) acc[GROUP];

        FORM(depthwise_group)(line, cols * l.x_step, l.tap_step, w, l.bias, width, stride, 1, acc);
        FORM(depthwise_finish)(t, acc, row, cols, 1, t->rest);
    }
}

INLINE void FORM(depthwise)(const struct image_tile *t, const int width, const int stride)
{
    const int64_t rows = t->rows;

    if (FORM(finishes_simply)(t))
        for (int64_t row = 0; row < rows; row++)
            FORM(depthwise_row)(t, row, width, stride, true);
    else
        for (int64_t row = 0; row < rows; row++)
            FORM(depthwise_row)(t, row, width, stride, false);
}

/* Any window: every pixel's taps by themselves. */
INLINE void FORM(depthwise_pixels)(const struct image_tile *t, int64_t row, int64_t col,
                                   const int pixels, int last)
{
    FORM(vector) acc[GROUP];
    const float *w = t->w;

#pragma GCC unroll 4
    for (int p = 0; p < pixels; p++)
        acc[p] = FORM(load)(t->bias);
    for (int64_t run = 0; run < t->runs; run++) {
        const float *x = t->x + row * t->x_row + col * t->x_step + t->offset[run];

        for (int64_t k = 0; k < t->length; k++, x += t->tap_step, w += LANES) {
            const FORM(vector) b = FORM(load)(w);

#pragma GCC unroll 4
            for (int p = 0; p < pixels; p++)
                acc[p] += FORM(load)(x + p * t->x_step) * b;
        }
    }
    FORM(depthwise_finish)(t, acc, row, col, pixels, last);
}

TARGET static void FORM(depthwise_any)(const struct image_tile *t)
{
    for (int64_t row = 0; row < t->rows; row++) {
        int64_t col = 0;

        for (; col + GROUP <= t->cols; col += GROUP)
            FORM(depthwise_pixels)(t, row, col, GROUP, t->last);
        for (; col < t->cols; col++)
            FORM(depthwise_pixels)(t, row, col, 1, t->last);
        if (t->rest > 0)
            FORM(depthwise_pixels)(t, row, col, 1, t->rest);
    }
}

#define DEPTHWISE(W, S)                                                                            \
    TARGET static void FORM(depthwise_##W##_##S)(const struct image_tile *t)                       \
    {                                                                                              \
        FORM(depthwise)(t, W, S);                                                                  \
    }
DEPTHWISE(3, 1)
DEPTHWISE(3, 2)
DEPTHWISE(5, 1)
DEPTHWISE(5, 2)
#undef DEPTHWISE
#undef GROUP
