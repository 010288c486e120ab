/* How wide the halo around a picture must be for the windows that slide over it. */
#include "plugins/engines/native/plan.h"

#include <string.h>

#include "libpith/graph/window.h"

/* A transposed convolution's output takes as many inputs as the stride goes into the kernel: that
 * many less one in front of the picture, and at most that many behind it. */
static bool transposed_halo(const struct plan *plan, uint32_t node, struct halo *out)
{
    const struct pith_shape *weight =
        pith_value_shape(plan->graph, pith_node_input(plan->graph, node, 1));
    size_t count = 0;
    const int64_t *strides = pith_node_ints(plan->graph, node, "strides", &count);
    int64_t reach[2] = {1, 1};
    uint32_t rank;

    if (!weight || weight->rank < 3 || weight->rank > 4)
        return false;
    rank = weight->rank - 2;
    if (strides && count != rank)
        return false;
    for (uint32_t i = 0; i < rank; i++) {
        const int64_t stride = strides ? strides[i] : 1, kernel = weight->dim[2 + i];

        if (stride < 1 || kernel < 1 || kernel > INT16_MAX)
            return false;
        reach[2 - rank + i] = (kernel + stride - 1) / stride;
    }
    *out = (struct halo){0, 0, reach[1] - 1, reach[1]};
    if (rank == 2) {
        out->top = reach[0] - 1;
        out->bottom = reach[0];
    }
    return true;
}

bool image_window_halo(const struct plan *plan, uint32_t node, struct halo *out)
{
    const char *op = pith_node_op(plan->graph, node);
    const struct pith_graph *graph = plan->graph;
    const uint32_t x = pith_node_input(graph, node, 0), w = pith_node_input(graph, node, 1);
    const struct pith_shape *shape = pith_value_shape(graph, x);
    const bool is_conv = strcmp(op, "Conv") == 0;
    const struct pith_shape *weight = is_conv ? pith_value_shape(graph, w) : NULL;
    struct pith_window window;
    int64_t size;

    *out = (struct halo){0};
    if (strcmp(op, "ConvTranspose") == 0)
        return transposed_halo(plan, node, out);
    if (!is_conv && strcmp(op, "MaxPool") != 0 && strcmp(op, "AveragePool") != 0)
        return true;
    if (x == PITH_NO_VALUE || pith_value_constant(graph, x) || !shape ||
        (is_conv && (!weight || weight->rank != shape->rank)) ||
        pith_window_read(graph, node, shape->rank - 2, weight ? &weight->dim[2] : NULL, &window,
                         NULL) < 0)
        return false;
    for (uint32_t axis = 0; axis < window.rank; axis++)
        if (pith_window_output(&window, axis, shape->dim[axis + 2], &size, NULL) < 0)
            return false;
    out->left = window.pad_begin[window.rank - 1];
    out->right = window.pad_end[window.rank - 1];
    if (window.rank == 2) {
        out->top = window.pad_begin[0];
        out->bottom = window.pad_end[0];
    }
    return true;
}
