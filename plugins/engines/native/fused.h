/* Nodes that stand for several, in domain PITH_FUSED_DOMAIN: which patterns become one, and what
 * comes out of them. Private to the native engine. */
#ifndef PITH_NATIVE_FUSED_H
#define PITH_NATIVE_FUSED_H

#include <pith/graph.h>

/* ---- fused.c: looking at patterns ---- */
bool fused_is(const struct pith_graph *graph, uint32_t node, const char *op);
/* The node that alone uses the value, which is no output, no capture and on no grid; or
 * PITH_NO_NODE. */
uint32_t fused_only_user(const struct pith_graph *graph, uint32_t value);
/* The node that makes the value, where it is that operator with one output; or PITH_NO_NODE. */
uint32_t fused_producer(const struct pith_graph *graph, uint32_t value, const char *op);
/* The constant float behind an input, on no grid; or NULL. */
const struct pith_tensor *fused_constant(const struct pith_graph *graph, uint32_t node,
                                         size_t input);
/* Whether one of the node's two inputs is a constant of one element; *out_other: the other input.
 */
bool fused_scalar(const struct pith_graph *graph, uint32_t node, float *out, uint32_t *out_other);
/* `last` goes and what it gives comes from a new node; so do all before it that nothing uses now.
 */
int fused_replace(struct pith_graph *graph, uint32_t last, const char *domain, const char *op,
                  const uint32_t *inputs, size_t count, uint32_t *out_node);

/* Types and shapes of what a node gives, as pith_graph_infer_node, for these nodes too. */
int fused_infer_node(struct pith_graph *graph, uint32_t node, struct pith_error *err);

/* ---- what becomes one node; each looks at all nodes of the graph ---- */
int fuse_layer_norms(struct pith_graph *graph); /* fused_norm.c */
int fuse_gelus(struct pith_graph *graph);       /* fused_gelu.c */
int fuse_hard_swishes(struct pith_graph *graph); /* fused_swish.c */
int fuse_biases(struct pith_graph *graph);      /* fused_norm.c */
int fuse_integer_products(struct pith_graph *graph); /* fused_integer.c */
int fuse_attentions(struct pith_graph *graph); /* fused_attention.c */
int fuse_shuffles(struct pith_graph *graph);   /* fused_channels.c */

#endif
