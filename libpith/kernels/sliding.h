/* Sliding windows: what convolutions and poolings share. Kernel, stride, dilation and padding of a node, brought to three
 * spatial dimensions (a 1-D or 2-D window gets leading dimensions of 1). */
#ifndef PITH_KERNELS_SLIDING_H
#define PITH_KERNELS_SLIDING_H

#include "libpith/kernels/kernel.h"

#define PITH_SLIDING_DIMS 3

struct pith_sliding {
    uint32_t spatial; /* 1 to 3, as in the model */
    int64_t in[PITH_SLIDING_DIMS], out[PITH_SLIDING_DIMS];
    int64_t kernel[PITH_SLIDING_DIMS], stride[PITH_SLIDING_DIMS], dilation[PITH_SLIDING_DIMS];
    int64_t pad[PITH_SLIDING_DIMS];     /* before the first element */
    int64_t pad_end[PITH_SLIDING_DIMS]; /* behind the last one, as the model says; loops clip and don't need it */
    int64_t in_plane, out_plane, taps; /* products of in, out, kernel */
};

/* Reads kernel_shape, strides, dilations, pads and auto_pad of the step's node, and checks them.
 * x, y: [N, C, spatial...] of what the window slides over and of what it gives (for a transposed convolution: the other
 * way round). kernel: the weight's spatial dims, or NULL: kernel_shape must be there. */
int pith_sliding_read(struct pith_step *step, const struct pith_shape *x, const struct pith_shape *y, const int64_t *kernel,
                     struct pith_sliding *out, struct pith_error *err) PITH_CHECKED;
/* The window and the groups of a convolution from input 0 by weights of shape w [M, C/groups, kernel...] to output 0. -EINVAL
 * with the sentence where ranks, channels or sizes do not fit each other. */
int pith_sliding_read_conv(struct pith_step *step, const struct pith_shape *w, struct pith_sliding *out, int64_t *groups,
                           struct pith_error *err) PITH_CHECKED;

/* Whether a channels-last input's halo holds all that the window reaches past the picture; -EINVAL with the sentence where
 * not. */
int pith_sliding_check_halo(struct pith_step *step, const struct pith_sliding *window, const struct pith_image *image,
                            struct pith_error *err) PITH_CHECKED;

/* A 1x1 window without stride and padding sees one long row, and so does a Kx1 one that moves down by one: makes it one.
 * Taps keep their order. */
void pith_sliding_flatten(struct pith_sliding *window);

/* For step->rows: dimension 1 is rows. */
static inline struct pith_rows pith_sliding_rows(const struct pith_sliding *w)
{
    return (struct pith_rows){w->out[1], w->stride[1], -w->pad[1],
                              (w->kernel[1] - 1) * w->dilation[1] - w->pad[1]};
}

/* Where the mean of integers goes that lies half-way between two: to the even one, as QuantizeLinear rounds; or away from 0 of
 * the stored integer, as TensorFlow Lite does, where the graph's metadata says PITH_AVERAGE_TIES: "away". Means of a few
 * integers are often half-way, so that it shows in the last layers of a net. */
#define PITH_AVERAGE_TIES "pith.average_ties"
bool pith_average_ties_away(const struct pith_step *step);

/* A run of output pixels that lie in one row. */
struct pith_segment {
    int64_t z, y, x;   /* of the first */
    int64_t at, count; /* counted from where the cutting began */
};
/* Cuts `count` output pixels from `first` on into runs within a row; at most `count` of them. Returns how many. */
int pith_sliding_cut(const struct pith_sliding *window, int64_t first, int64_t count, struct pith_segment *out);

/* Along a dimension, the taps from..to-1 of an output's window that lie inside the input, and where tap 0 would lie. */
struct pith_sliding_span {
    int64_t at, from, to;
};
struct pith_sliding_span pith_sliding_span_along(const struct pith_sliding *window, int d, int64_t out);

/* Of `count` outputs along dimension d that begin at output `first`: those whose element under tap `tap` lies inside the
 * input are [*out_from, *out_to), counted from `first`. */
static inline void pith_sliding_valid(const struct pith_sliding *w, int d, int64_t tap, int64_t first, int64_t count,
                                     int64_t *out_from, int64_t *out_to)
{
    const int64_t start = first * w->stride[d] - w->pad[d] + tap * w->dilation[d];
    int64_t from = start < 0 ? (-start + w->stride[d] - 1) / w->stride[d] : 0;
    int64_t to = start >= w->in[d] ? 0 : (w->in[d] - 1 - start) / w->stride[d] + 1;

    to = to > count ? count : to;
    from = from > to ? to : from;
    *out_from = from;
    *out_to = to;
}

#endif
