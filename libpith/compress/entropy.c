/* One histogram of 256 symbols a place. */
#include "libpith/compress/entropy.h"

#include <math.h>
#include <string.h>

static double entropy_of(const uint64_t count[256])
{
    uint64_t all = 0;
    double bits = 0;

    for (int i = 0; i < 256; i++)
        all += count[i];
    for (int i = 0; i < 256; i++)
        if (count[i] > 0)
            bits -= (double) count[i] * log2((double) count[i] / (double) all);
    return bits / 8;
}

static double tensor_entropy(const struct pith_tensor *tensor)
{
    const uint8_t *data = tensor->data;
    unsigned bits = pith_dtype_bits(tensor->dtype);
    size_t width = bits <= 8 ? 1 : bits / 8;
    double sum = 0;

    for (size_t place = 0; place < width; place++) {
        uint64_t count[256] = {0};

        if (bits == 4) {
            int64_t elements = pith_shape_elements(&tensor->shape);

            for (int64_t i = 0; i < elements; i++)
                count[data[i / 2] >> (i % 2 * 4) & 15]++;
        } else {
            for (size_t i = place; i < tensor->bytes; i += width)
                count[data[i]]++;
        }
        sum += entropy_of(count);
    }
    return sum;
}

double pith_graph_entropy_bytes(const struct pith_graph *graph)
{
    double sum = 0;

    for (uint32_t i = 0; i < pith_graph_value_limit(graph); i++) {
        const struct pith_tensor *constant = pith_value_constant(graph, i);

        if (constant && constant->shape.rank > 0 && pith_dtype_bits(constant->dtype) > 0)
            sum += tensor_entropy(constant);
    }
    for (uint32_t i = 0; i < pith_graph_node_limit(graph); i++) {
        if (!pith_node_exists(graph, i))
            continue;
        for (size_t k = 0; k < pith_node_attribute_count(graph, i); k++) {
            const struct pith_graph *inside =
                pith_node_graph(graph, i, pith_node_attribute_name(graph, i, k));

            if (inside)
                sum += pith_graph_entropy_bytes(inside);
        }
    }
    return sum;
}
