/* Windows that slide over spatial dimensions: kernel, strides, dilations and pads of convolution and pooling, read from
 * a node and checked once. */
#ifndef PITH_GRAPH_WINDOW_H
#define PITH_GRAPH_WINDOW_H

#include <pith/graph.h>

#define PITH_WINDOW_MAX_RANK (PITH_MAX_RANK - 2)
#define PITH_WINDOW_MAX_SIZE INT32_MAX /* of each attribute: products of two stay in 64 bits */

struct pith_window {
    uint32_t rank;                               /* spatial dimensions */
    int64_t kernel[PITH_WINDOW_MAX_RANK];        /* >= 1 */
    int64_t stride[PITH_WINDOW_MAX_RANK];        /* >= 1 */
    int64_t dilation[PITH_WINDOW_MAX_RANK];      /* >= 1 */
    int64_t pad_begin[PITH_WINDOW_MAX_RANK];     /* >= 0 */
    int64_t pad_end[PITH_WINDOW_MAX_RANK];       /* >= 0 */
    int64_t output_padding[PITH_WINDOW_MAX_RANK]; /* ConvTranspose alone */
    int32_t auto_pad;                            /* enum pith_auto_pad: pads are filled in by pith_window_output */
    bool ceil;                                   /* the last, partial window counts */
};
enum pith_auto_pad { PITH_PAD_EXPLICIT, PITH_PAD_SAME_UPPER, PITH_PAD_SAME_LOWER, PITH_PAD_VALID };

/* Reads the attributes. kernel: as many as rank, from the weights; NULL: the attribute kernel_shape, which must be there.
 * On -EINVAL why has the sentence without the node's name. */
int pith_window_read(const struct pith_graph *graph, uint32_t node, uint32_t rank, const int64_t *kernel,
                     struct pith_window *out, struct pith_error *why) PITH_CHECKED;
/* Output size along one spatial axis of that input size (>= 0); fills in the pads of that axis where auto_pad asks.
 * -EINVAL where the window doesn't fit the padded input. */
int pith_window_output(struct pith_window *window, uint32_t axis, int64_t input, int64_t *out,
                       struct pith_error *why) PITH_CHECKED;
/* The same for the transposed convolution; target: the size that output_shape asks for, or -1. */
int pith_window_output_transposed(struct pith_window *window, uint32_t axis, int64_t input, int64_t target,
                                  int64_t *out, struct pith_error *why) PITH_CHECKED;

#endif
