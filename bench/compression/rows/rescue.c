/* The depthwise collapse, on a network that people use: vww_96 (MobileNetV1) with its channels at
 * uneven sizes. What folding batch normalizations makes of trained networks is made here on purpose:
 * each channel between two layers is multiplied by a factor of its own and divided out of the next
 * layer, through Relu, which lets factors pass; the function stays what it was. One scale a tensor then
 * serves the greatest channels alone. */
#include "bench/compression/rows/rows.h"

#include <math.h>
#include <string.h>

#define SPREAD 30.0 /* factors from 1 / SPREAD to SPREAD, even in their logarithm */

static uint32_t node_after(const struct pith_graph *graph, uint32_t node)
{
    uint32_t value = pith_node_output(graph, node, 0);
    size_t count;
    const uint32_t *users = pith_value_users(graph, value, &count);

    return count == 1 && !pith_value_is_output(graph, value) ? users[0] : PITH_NO_NODE;
}

static bool is(const struct pith_graph *graph, uint32_t node, const char *op)
{
    return node != PITH_NO_NODE && !strcmp(pith_node_op(graph, node), op);
}

/* Multiplies what belongs to channel c of a constant by factor[c]. Its channels: `outer` of them follow
 * one another each time, `inner` elements each. */
static void scale_channels(struct pith_graph *graph, uint32_t value, const double *factor, int64_t channels,
                           int64_t inner, bool divide)
{
    struct pith_tensor copy = {0};
    struct pith_error err = {0};

    lab_must(pith_tensor_copy(&copy, pith_value_constant(graph, value), &err), &err, "weights");
    for (int64_t i = 0; i < pith_shape_elements(&copy.shape); i++) {
        double f = factor[i / inner % channels];

        ((float *) copy.data)[i] = (float) ((double) ((float *) copy.data)[i] * (divide ? 1 / f : f));
    }
    lab_must(pith_value_take_constant(graph, value, &copy), NULL, "weights");
}

/* Between a convolution and the one behind its Relu. False where there is no such pair. */
static bool spread_pair(struct pith_graph *graph, uint32_t first, uint64_t *random)
{
    uint32_t relu = node_after(graph, first);
    uint32_t second = is(graph, relu, "Relu") ? node_after(graph, relu) : PITH_NO_NODE;
    double factor[1024];

    if (!is(graph, second, "Conv"))
        return false;
    const struct pith_tensor *a = pith_value_constant(graph, pith_node_input(graph, first, 1));
    const struct pith_tensor *b = pith_value_constant(graph, pith_node_input(graph, second, 1));

    if (!a || !b || a->dtype != PITH_FLOAT32 || b->dtype != PITH_FLOAT32 || a->shape.dim[0] > 1024)
        return false;
    int64_t channels = a->shape.dim[0];
    bool depthwise = pith_node_int(graph, second, "group", 1) == channels && b->shape.dim[1] == 1;

    if (!depthwise && b->shape.dim[1] != channels)
        return false;
    for (int64_t c = 0; c < channels; c++)
        factor[c] = exp(log(SPREAD) * ((double) (pith_random(random) >> 11) / 4503599627370496.0 - 1));
    int64_t taps = b->shape.dim[2] * b->shape.dim[3];

    scale_channels(graph, pith_node_input(graph, first, 1), factor, channels,
                   pith_shape_elements(&a->shape) / channels, false);
    if (pith_node_input(graph, first, 2) != PITH_NO_VALUE)
        scale_channels(graph, pith_node_input(graph, first, 2), factor, channels, 1, false);
    scale_channels(graph, pith_node_input(graph, second, 1), factor, channels, taps, true);
    return true;
}

static int spread_channels(struct pith_graph *graph)
{
    uint64_t random = 20190611;
    int pairs = 0;

    for (uint32_t node = 0; node < pith_graph_node_limit(graph); node++)
        if (pith_node_op(graph, node) && is(graph, node, "Conv"))
            pairs += spread_pair(graph, node, &random);
    return pairs;
}

#define PER_TENSOR "\"per_channel\":false,\"rounding\":\"nearest\""

void row_rescue(const struct lab *lab)
{
    struct subject subject;

    table_row("rescue", "int8 with one scale a tensor: vww with channels at uneven sizes, the same function");
    open_tiny(&subject, lab, "vww");
    table_note("%d pairs of layers have their channels multiplied by 1/%g to %g, and divided again", spread_channels(subject.graph),
               SPREAD, SPREAD);
    struct outcome base = row_float(&subject);
    struct outcome plain =
        row_form(&subject, "per tensor, as it is",
                 "{" PER_TENSOR ",\"equalize\":\"off\",\"bias_correction\":\"off\",\"max_error_ratio\":0}", -1, &base);
    struct outcome equalized =
        row_form(&subject, "per tensor, equalized",
                 "{" PER_TENSOR ",\"equalize\":\"on\",\"bias_correction\":\"off\",\"max_error_ratio\":0}", -1, &base);
    struct outcome ours = row_form(&subject, "per tensor, + biases",
                                   "{" PER_TENSOR ",\"equalize\":\"on\",\"bias_correction\":\"on\",\"max_error_ratio\":0}",
                                   -1, &base);
    struct outcome otherwise = row_form(&subject, "per tensor, as by default", "{\"per_channel\":false}", -1, &base);

    table_hold(points_below(&subject, &plain, &base) >= 10 ? HELD : MISSED, "it collapses: %.2f points below float",
               points_below(&subject, &plain, &base));
    table_hold_not_below(&subject, &ours, &base, 1, "float32");
    outcome_done(&base);
    outcome_done(&plain);
    outcome_done(&equalized);
    outcome_done(&ours);
    outcome_done(&otherwise);
    subject_close(&subject);
}
