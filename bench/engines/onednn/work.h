/* One node on its way to become primitives: what nodes.c and products.c share. */
#ifndef PITH_BENCH_ONEDNN_WORK_H
#define PITH_BENCH_ONEDNN_WORK_H

#include "bench/engines/onednn/net.h"

#define POST_MAX 4

struct post { /* an eltwise post-operation, in real numbers */
    dnnl_alg_kind_t kind;
    float alpha, beta;
};

struct work { /* one node under way */
    struct net *net;
    const struct pith_graph *graph;
    uint32_t node;
    uint32_t x, y;       /* first input, and the output with all that is taken in */
    uint32_t residual;   /* added to the sum; or PITH_NO_VALUE */
    bool residual_dies;
    struct post posts[POST_MAX];
    int post_count;
    const char **why;
};

struct window {
    dnnl_dims_t kernel, strides, dilations, begin, end;
    bool padded;
};

int not_here(const struct work *w, const char *why); /* -ENOTSUP */
/* The graph's grid of a value, as unsigned bytes have it: signed ones are 128 less. False where it has none of 8 bits. */
bool grid_of(const struct pith_graph *graph, uint32_t value, struct grid *out);
/* The grid of what the value is by now, likewise. */
bool as_bytes(const struct net *net, uint32_t value, struct grid *out);
/* After a primitive that made the output in float32: to where the graph has it on a grid. */
int onto_grid(const struct work *w);
/* Whether the node is an activation of its first input that oneDNN has. */
bool is_activation(const struct pith_graph *graph, uint32_t node, struct post *out);
bool clips(const struct post *post);
int read_window(const struct work *w, struct window *out); /* all but the kernel */

/* products.c */
int node_conv(struct work *w);
int node_dense(struct work *w);

#endif
