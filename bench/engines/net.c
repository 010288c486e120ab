/* See net.h. */
#include "bench/engines/net.h"

#include "libpith/compress/host.h"

#include <string.h>

double net_uniform(struct net *net) /* -1 to 1 */
{
    return (double) (pith_random(&net->random) >> 11) / 4503599627370496.0 - 1;
}

uint32_t net_constant(struct net *net, uint32_t rank, const int64_t *dims, double bound)
{
    const struct pith_shape shape = pith_shape_of(rank, dims);
    struct pith_tensor tensor = {0};
    uint32_t value = PITH_NO_VALUE;

    if (net->rc == 0)
        net->rc = pith_tensor_alloc(&tensor, PITH_FLOAT32, &shape, &net->err);
    for (int64_t i = 0; net->rc == 0 && i < pith_shape_elements(&shape); i++)
        ((float *) tensor.data)[i] = (float) (bound * net_uniform(net));
    if (net->rc == 0)
        net->rc = pith_graph_add_constant(net->graph, NULL, &tensor, &value, &net->err);
    pith_tensor_free(&tensor);
    return value;
}

uint32_t net_bytes(struct net *net, uint32_t rank, const int64_t *dims)
{
    const struct pith_shape shape = pith_shape_of(rank, dims);
    struct pith_tensor tensor = {0};
    uint32_t value = PITH_NO_VALUE;

    if (net->rc == 0)
        net->rc = pith_tensor_alloc(&tensor, PITH_INT8, &shape, &net->err);
    for (int64_t i = 0; net->rc == 0 && i < pith_shape_elements(&shape); i++)
        ((int8_t *) tensor.data)[i] = (int8_t) (127 * net_uniform(net));
    if (net->rc == 0)
        net->rc = pith_graph_add_constant(net->graph, NULL, &tensor, &value, &net->err);
    pith_tensor_free(&tensor);
    return value;
}

uint32_t net_scalar(struct net *net, float number)
{
    struct pith_tensor tensor = {PITH_FLOAT32, {0}, &number, sizeof number};
    uint32_t value = PITH_NO_VALUE;

    if (net->rc == 0)
        net->rc = pith_graph_add_constant(net->graph, NULL, &tensor, &value, &net->err);
    return value;
}

uint32_t net_node(struct net *net, const char *op, const uint32_t *inputs, size_t count,
                  uint32_t *out_node)
{
    uint32_t out = PITH_NO_VALUE, node = PITH_NO_NODE;

    if (net->rc == 0)
        net->rc = pith_graph_add_value(net->graph, NULL, PITH_FLOAT32, NULL, &out, &net->err);
    if (net->rc == 0)
        net->rc =
            pith_graph_add_node(net->graph, "", op, NULL, inputs, count, &out, 1, &node, &net->err);
    if (out_node)
        *out_node = node;
    return out;
}

void net_outputs(struct net *net, const char *op, const uint32_t *inputs, size_t count,
                 const int32_t *types, size_t output_count, uint32_t *out)
{
    for (size_t i = 0; i < output_count; i++) {
        out[i] = PITH_NO_VALUE;
        if (net->rc == 0)
            net->rc = pith_graph_add_value(net->graph, NULL, types[i], NULL, &out[i], &net->err);
    }
    if (net->rc == 0)
        net->rc = pith_graph_add_node(net->graph, "", op, NULL, inputs, count, out, output_count,
                                      NULL, &net->err);
}

uint32_t net_input(struct net *net, uint32_t rank, const int64_t *dims)
{
    const struct pith_shape shape = pith_shape_of(rank, dims);
    uint32_t value = PITH_NO_VALUE;

    if (net->rc == 0)
        net->rc =
            pith_graph_add_value(net->graph, "input", PITH_FLOAT32, &shape, &value, &net->err);
    if (net->rc == 0)
        net->rc = pith_graph_add_input(net->graph, value);
    return value;
}

uint32_t net_ints(struct net *net, size_t count, const int64_t *list)
{
    const int64_t dims = (int64_t) count;
    const struct pith_shape shape = pith_shape_of(1, &dims);
    struct pith_tensor tensor = {0};
    uint32_t value = PITH_NO_VALUE;

    if (net->rc == 0)
        net->rc = pith_tensor_alloc(&tensor, PITH_INT64, &shape, &net->err);
    if (net->rc == 0)
        memcpy(tensor.data, list, count * sizeof *list);
    if (net->rc == 0)
        net->rc = pith_graph_add_constant(net->graph, NULL, &tensor, &value, &net->err);
    pith_tensor_free(&tensor);
    return value;
}

void net_set_int(struct net *net, uint32_t node, const char *name, int64_t number)
{
    if (net->rc == 0)
        net->rc = pith_node_set_int(net->graph, node, name, number);
}

void net_set_float(struct net *net, uint32_t node, const char *name, float number)
{
    if (net->rc == 0)
        net->rc = pith_node_set_float(net->graph, node, name, number);
}

void net_set_ints(struct net *net, uint32_t node, const char *name, const int64_t *list,
                  size_t count)
{
    if (net->rc == 0)
        net->rc = pith_node_set_ints(net->graph, node, name, list, count);
}
