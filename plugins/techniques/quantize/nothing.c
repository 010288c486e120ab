/* Counts what the graph has instead of float32 weights: layers that are integers or halves already, and
 * weights of other types. */
#include "plugins/techniques/quantize/nothing.h"

#include <stdio.h>

struct other_layers {
    size_t integers, halves, other_floats;
};

static bool is_constant(const struct pith_graph *graph, uint32_t value)
{
    return value != PITH_NO_VALUE && pith_value_constant(graph, value);
}

/* Stored so, and made float32 by a Cast. */
static bool is_of_halves(const struct pith_graph *graph, uint32_t value)
{
    const uint32_t node = value == PITH_NO_VALUE ? PITH_NO_NODE : pith_value_producer(graph, value);
    const uint32_t from = node != PITH_NO_NODE && node_is(graph, node, "Cast") ? pith_node_input(graph, node, 0)
                                                                              : PITH_NO_VALUE;

    return is_constant(graph, from) && pith_dtype_bits(pith_value_dtype(graph, from)) == 16;
}

static void count_layer(const struct pith_graph *graph, uint32_t node, struct other_layers *out)
{
    static const char *const integer_ops[] = {"QLinearConv", "QLinearMatMul", "ConvInteger",
                                              "MatMulInteger", NULL};
    static const char *const ops[] = {"Conv", "ConvTranspose", "Gemm", "MatMul",
                                      "LSTM", "GRU",           "RNN",  NULL};
    uint32_t w = pith_node_input(graph, node, 1);

    if (node_is_one_of(graph, node, integer_ops)) {
        out->integers++;
    } else if (node_is_one_of(graph, node, ops) && is_constant(graph, w)) {
        const int32_t dtype = pith_value_dtype(graph, w);

        out->integers += pith_value_quantization(graph, w) != NULL;
        out->other_floats +=
            dtype == PITH_FLOAT16 || dtype == PITH_BFLOAT16 || dtype == PITH_FLOAT64;
    } else if (node_is_one_of(graph, node, ops)) {
        out->halves += is_of_halves(graph, w);
    }
}

static void count_layers(const struct pith_graph *graph, struct other_layers *out)
{
    for (uint32_t node = 0; node < pith_graph_node_limit(graph); node++) {
        if (!pith_node_exists(graph, node))
            continue;
        count_layer(graph, node, out);
        for (size_t k = 0; k < pith_node_attribute_count(graph, node); k++) {
            const struct pith_graph *inside =
                pith_node_graph(graph, node, pith_node_attribute_name(graph, node, k));

            if (inside)
                count_layers(inside, out);
        }
    }
}

void nothing_say(const struct plan *plan, char *text, size_t bytes)
{
    const struct layer *first = NULL;
    struct other_layers other = {0};
    size_t floats = 0;

    text[0] = 0;
    if (plan->far_count > 0)
        return;
    for (size_t i = 0; i < plan->layer_count; i++) {
        const struct layer *layer = &plan->layers[i];

        if (layer->as_it_came) {
            other.integers++;
        } else if (layer->form == FORM_FLOAT) {
            first = first ? first : layer;
            floats++;
        } else {
            return;
        }
    }
    count_layers(plan->graph, &other);
    if (other.halves > 0)
        (void) snprintf(text, bytes, "the weights of %zu of its layers are floats of 16 bits already", other.halves);
    else if (floats > 0)
        (void) snprintf(text, bytes, "%zu layer%s with float weights stay%s float, \"%.80s\" as %s",
                        floats, floats == 1 ? "" : "s", floats == 1 ? "s" : "",
                        layer_name(plan->graph, first), first->why ? first->why : "it was asked for");
    else if (other.integers > 0)
        (void) snprintf(text, bytes,
                        "the model is quantized already: the weights of %zu of its layers are "
                        "integers, and none are floats",
                        other.integers);
    else if (other.other_floats > 0)
        (void) snprintf(text, bytes,
                        "the weights of %zu of its layers are floats of another width; float32 is what "
                        "is quantized, so convert the model again with that",
                        other.other_floats);
    else
        (void) snprintf(text, bytes, "no layer of the model has constant weights");
}
