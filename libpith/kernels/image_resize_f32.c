/* Resize and Upsample of channels-last float32 values along rows and columns: a pixel is a sum of pixels,
 * so loops run along its channels. Tables: resize.h. Planar values of all types are in resize.c. */
#include "libpith/kernels/families.h"
#include "libpith/kernels/resize.h"

#include <errno.h>
#include <string.h>

struct image_resize {
    struct pith_resize resize;
    const struct pith_resize_pass *rows, *cols; /* NULL: as many as before, each from itself */
    struct pith_image_dims in, out;
    struct pith_image in_image, out_image;
};

static int image_resize_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape, *y = &step->output[0].shape;
    struct image_resize *r = pith_step_alloc(step, sizeof *r);
    int rc;

    if (!r)
        return -ENOMEM;
    if (x->rank < 3 || x->rank > 4 || y->rank != x->rank)
        return pith_step_fail(step, err, -EINVAL, "resizing from rank %u to rank %u", x->rank,
                              y->rank);
    rc = pith_resize_read(step, &r->resize, err);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < r->resize.pass_count; i++) {
        const struct pith_resize_pass *pass = &r->resize.pass[i];

        if (pass->axis < 2)
            return pith_step_fail(step, err, -ENOTSUP, "resizing axis %u of channels-last values",
                                  pass->axis);
        if (pass->axis + 1 == x->rank)
            r->cols = pass;
        else
            r->rows = pass;
    }
    r->in = pith_image_dims(x);
    r->out = pith_image_dims(y);
    if (r->in.n != r->out.n || r->in.c != r->out.c || (!r->rows && r->in.h != r->out.h) ||
        (!r->cols && r->in.w != r->out.w))
        return pith_step_fail(step, err, -EINVAL, "its scales don't give its output's shape");
    r->in_image = step->input_image[0];
    r->out_image = step->output_image[0];
    for (uint32_t i = 1; i < step->input_count && i < 32; i++)
        step->taken_in |= UINT32_C(1) << i;
    step->parts = pith_parts_of(r->out.n * r->out.h);
    step->params = r;
    return 0;
}

/* Tap `tap` of output `at` along an axis. */
static int64_t tap_from(const struct pith_resize_pass *pass, int64_t at, int64_t tap)
{
    return pass ? pass->from[at * pass->taps + tap] : at;
}

static float tap_weight(const struct image_resize *r, const struct pith_resize_pass *pass,
                        int64_t at, int64_t tap)
{
    return pass && r->resize.mode != PITH_RESIZE_NEAREST ? pass->weight[at * pass->taps + tap]
                                                         : 1.0F;
}

static void add_pixel(float *restrict y, const float *restrict x, float weight, int64_t channels,
                      bool first)
{
    if (first)
        for (int64_t c = 0; c < channels; c++)
            y[c] = weight * x[c];
    else
        for (int64_t c = 0; c < channels; c++)
            y[c] += weight * x[c];
}

/* x: the picture; y: the output pixel (row, col). A tap without weight is not read, so that an infinity
 * in it is no NaN. */
static void interpolate(const struct image_resize *r, const float *x, float *y, int64_t row,
                        int64_t col)
{
    const int64_t row_taps = r->rows ? r->rows->taps : 1, col_taps = r->cols ? r->cols->taps : 1;
    bool first = true;

    for (int64_t i = 0; i < row_taps; i++) {
        const float row_weight = tap_weight(r, r->rows, row, i);
        const float *line = x + tap_from(r->rows, row, i) * r->in_image.row;

        for (int64_t j = 0; j < col_taps; j++) {
            const float weight = row_weight * tap_weight(r, r->cols, col, j);

            if (weight == 0.0F)
                continue;
            add_pixel(y, line + tap_from(r->cols, col, j) * r->in_image.pixel, weight, r->out.c,
                      first);
            first = false;
        }
    }
    if (first)
        memset(y, 0, (size_t) r->out.c * sizeof *y);
}

static void resize_row(const struct image_resize *r, const float *x, float *y, int64_t row)
{
    const size_t bytes = (size_t) r->out.c * sizeof *y;
    const int64_t from = tap_from(r->rows, row, 0);

    for (int64_t col = 0; col < r->out.w; col++, y += r->out_image.pixel) {
        const int64_t at = tap_from(r->cols, col, 0);

        if (from < 0 || at < 0)
            for (int64_t c = 0; c < r->out.c; c++)
                y[c] = r->resize.extrapolation;
        else if (r->resize.mode == PITH_RESIZE_NEAREST)
            memcpy(y, x + from * r->in_image.row + at * r->in_image.pixel, bytes);
        else
            interpolate(r, x, y, row, col);
    }
}

static void image_resize_part(struct pith_step *step, uint32_t part, uint32_t count)
{
    const struct image_resize *r = step->params;
    const int64_t rows = r->out.n * r->out.h;

    for (int64_t i = pith_part_begin(rows, part, count); i < pith_part_begin(rows, part + 1, count);
         i++) {
        const int64_t n = i / r->out.h, row = i % r->out.h;

        resize_row(r, (const float *) step->input[0].data + n * r->in_image.picture,
                   (float *) step->output[0].data + n * r->out_image.picture +
                       row * r->out_image.row,
                   row);
    }
    if (part == 0)
        pith_image_zero_halo(step, 0);
}

static int image_resize_run(struct pith_step *step, struct pith_error *err)
{
    (void) err;
    image_resize_part(step, 0, 1);
    return 0;
}

#define ENTRY(operator)                                                                            \
    {                                                                                              \
        .op = operator, .name = "image_resize_f32", .types = {PITH_BIT(FLOAT32)},                  \
        .flags = PITH_KERNEL_CHANNELS_LAST, .prepare = image_resize_prepare,                       \
        .run = image_resize_run, .run_part = image_resize_part                                     \
    }

const struct pith_kernel pith_kernels_image_resize_f32[] = {
    ENTRY("Resize"),
    ENTRY("Upsample"),
    {0},
};
