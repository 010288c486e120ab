/* Graphs with seeded random weights, while they grow: what bench/engines/make_model's networks are
 * made with. The first fault stays in rc; behind it every call does nothing. */
#ifndef BENCH_ENGINES_NET_H
#define BENCH_ENGINES_NET_H

#include <pith/graph.h>

struct net {
    struct pith_graph *graph;
    uint64_t random;
    bool causal; /* tokens look at those before them, and Gelu is written with tanh */
    bool dynamic; /* products are of integers, with activations quantized in the run */
    int rc;
    struct pith_error err;
};

double net_uniform(struct net *net); /* -1 to 1 */
/* Floats between -bound and bound. */
uint32_t net_constant(struct net *net, uint32_t rank, const int64_t *dims, double bound);
/* int8, from -127 to 127. */
uint32_t net_bytes(struct net *net, uint32_t rank, const int64_t *dims);
uint32_t net_scalar(struct net *net, float number);
/* A list of int64. */
uint32_t net_ints(struct net *net, size_t count, const int64_t *list);
/* A node with one float output, which is returned. out_node: may be NULL. */
uint32_t net_node(struct net *net, const char *op, const uint32_t *inputs, size_t count,
                  uint32_t *out_node);
/* A node with outputs of these types. */
void net_outputs(struct net *net, const char *op, const uint32_t *inputs, size_t count, const int32_t *types, size_t output_count,
                 uint32_t *out);
uint32_t net_input(struct net *net, uint32_t rank, const int64_t *dims);
void net_set_int(struct net *net, uint32_t node, const char *name, int64_t number);
void net_set_float(struct net *net, uint32_t node, const char *name, float number);
void net_set_ints(struct net *net, uint32_t node, const char *name, const int64_t *list,
                  size_t count);

/* A network by its name: the value that it gives. NULL: there is none such. */
typedef uint32_t net_make(struct net *net);
net_make *net_pictures(const char *name);  /* picture_nets.c */
net_make *net_sequences(const char *name); /* sequence_nets.c */

#endif
