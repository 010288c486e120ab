/* A layer as a product of matrices: rows of weights times columns of its input, by groups. */
#ifndef PITH_QUANTIZE_LINEAR_H
#define PITH_QUANTIZE_LINEAR_H

#include "plugins/techniques/quantize/layer.h"

#define LINEAR_SPATIAL (PITH_MAX_RANK - 2)

struct linear {
    int64_t groups, rows, columns;     /* rows and columns of one group's weights */
    int64_t row_stride, column_stride; /* of weight (row, column) in its tensor; rows go on through
                                          the groups */
    /* Of a convolution; spatial 0: a product over the input's last axis. */
    size_t spatial;
    int64_t kernel[LINEAR_SPATIAL], stride[LINEAR_SPATIAL], dilation[LINEAR_SPATIAL];
    int64_t pad[LINEAR_SPATIAL][2];
    int same; /* auto_pad: 1 SAME_UPPER, -1 SAME_LOWER; 0: as in pad */
};

/* False where the layer is no Conv, Gemm or MatMul of two axes, or its attributes don't fit. */
bool linear_of(const struct pith_graph *graph, const struct layer *layer, struct linear *out);
/* Index of weight (row of all groups, column). */
int64_t linear_index(const struct linear *linear, int64_t row, int64_t column);

/* Where the columns of an input of this shape are. */
struct linear_view {
    const struct linear *linear;
    int64_t batch, channels; /* of all groups */
    int64_t in[LINEAR_SPATIAL], out[LINEAR_SPATIAL], before[LINEAR_SPATIAL];
    int64_t positions; /* columns that the input has, a batch included */
};
/* False where the shape is not that of an input of the layer. */
bool linear_look(const struct linear *linear, const struct pith_shape *shape,
                 struct linear_view *out);
/* What position `at` multiplies in a group: `columns` values. x: the input's float32 data. */
void linear_gather(const struct linear_view *view, const float *x, int64_t at, int64_t group,
                   float *out);

#endif
