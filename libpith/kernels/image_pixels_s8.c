/* The walk over the pixels of an integer convolution. See image_pixels_s8.h. */
#include "libpith/kernels/image_pixels_s8.h"

void pith_pixels_s8_next(const struct pith_conv_s8 *conv, struct pith_pixels_s8_cursor *at,
                         int count, struct pith_pixels_s8 *out)
{
    int p = 0;

    while (p < count) {
        const int64_t n = conv->y.n == 1 ? 0 : at->row / conv->y.h, row = at->row - n * conv->y.h;
        const int64_t left = conv->y.w - at->col, x_step = conv->stride[1] * conv->in.pixel;
        const int end = left < count - p ? p + (int) left : count;
        int64_t x = n * conv->in.picture + (row * conv->stride[0] - conv->pad[0]) * conv->in.row +
                    at->col * x_step - conv->pad[1] * conv->in.pixel;
        int64_t y = n * conv->out.picture + row * conv->out.row + at->col * conv->out.pixel;
        int64_t added =
            n * conv->added.picture + row * conv->added.row + at->col * conv->added.pixel;

        at->col += end - p;
        for (; p < end; p++) {
            out->x[p] = x;
            out->y[p] = y;
            out->added[p] = added;
            x += x_step;
            y += conv->out.pixel;
            added += conv->added.pixel;
        }
        if (at->col == conv->y.w) {
            at->col = 0;
            at->row++;
        }
    }
}

bool pith_segments_by_row(const struct pith_conv_s8 *conv)
{
    return conv->kernel[1] == 1 || (conv->dilation[1] == 1 && conv->groups == 1 &&
                                    conv->in.pixel == conv->in_channels);
}
