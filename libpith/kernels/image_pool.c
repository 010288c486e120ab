/* Poolings of channels-last values: their geometry, and the walk over it. See image_pool.h. */
#include "libpith/kernels/image_pool.h"

#include <errno.h>
#include <string.h>

static void whole_picture(const struct pith_shape *x, struct pith_sliding *w)
{
    for (int d = 0; d < PITH_SLIDING_DIMS; d++)
        w->in[d] = w->out[d] = w->kernel[d] = w->stride[d] = w->dilation[d] = 1;
    w->in[2] = w->kernel[2] = x->dim[x->rank - 1];
    if (x->rank == 4)
        w->in[1] = w->kernel[1] = x->dim[2];
    w->taps = w->kernel[1] * w->kernel[2];
}

static int read_window(struct pith_step *step, struct pith_image_pool *out, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape, *y = &step->output[0].shape;

    if (strncmp(step->kernel->op, "Global", 6) != 0) {
        if (pith_step_gives(step, 1))
            return pith_step_fail(step, err, -ENOTSUP, "indices of channels-last values");
        out->include_pad = pith_node_int(step->graph, step->node, "count_include_pad", 0) != 0;
        return pith_sliding_read(step, x, y, NULL, &out->window, err);
    }
    for (uint32_t d = 2; d < y->rank; d++)
        if (y->dim[d] != 1)
            return pith_step_fail(step, err, -EINVAL, "global pooling gives one pixel");
    whole_picture(x, &out->window);
    return 0;
}

int pith_image_pool_read(struct pith_step *step, struct pith_image_pool *out,
                         struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape, *y = &step->output[0].shape;
    int rc;

    if (x->rank < 3 || x->rank > 4 || y->rank != x->rank)
        return pith_step_fail(step, err, -EINVAL, "pooling from rank %u to rank %u", x->rank,
                              y->rank);
    if (x->dim[0] != y->dim[0] || x->dim[1] != y->dim[1])
        return pith_step_fail(step, err, -EINVAL, "pooling keeps batch and channels");
    rc = read_window(step, out, err);
    if (rc < 0)
        return rc;
    out->batch = x->dim[0];
    out->channels = x->dim[1];
    out->in = step->input_image[0];
    out->out = step->output_image[0];
    step->parts = pith_parts_of(out->batch * out->window.out[1]);
    return 0;
}

void pith_image_pool_part(struct pith_step *step, const struct pith_image_pool *pool,
                          size_t element_bytes, pith_image_pool_pixel *pixel, uint32_t part,
                          uint32_t count)
{
    const struct pith_sliding *w = &pool->window;
    const int64_t rows = pool->batch * w->out[1], end = pith_part_begin(rows, part + 1, count);

    for (int64_t i = pith_part_begin(rows, part, count); i < end; i++) {
        const int64_t n = i / w->out[1], row = i % w->out[1];
        const struct pith_sliding_span down = pith_sliding_span_along(w, 1, row);
        struct pith_image_taps taps = {.rows = down.to - down.from,
                                       .row = w->dilation[1] * pool->in.row,
                                       .col = w->dilation[2] * pool->in.pixel};
        const int64_t x =
            n * pool->in.picture + (down.at + down.from * w->dilation[1]) * pool->in.row;
        int64_t y = n * pool->out.picture + row * pool->out.row;

        for (int64_t col = 0; col < w->out[2]; col++, y += pool->out.pixel) {
            const struct pith_sliding_span along = pith_sliding_span_along(w, 2, col);
            const int64_t first = x + (along.at + along.from * w->dilation[2]) * pool->in.pixel;

            taps.cols = along.to - along.from;
            pixel(step, &taps, (const char *) step->input[0].data + first * (int64_t) element_bytes,
                  (char *) step->output[0].data + y * (int64_t) element_bytes,
                  pool->include_pad ? w->taps : taps.rows * taps.cols);
        }
    }
}
