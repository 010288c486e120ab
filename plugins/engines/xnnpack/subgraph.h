/* A graph as an XNNPACK subgraph. XNNPACK wants pictures channels-last; our graphs have them as N, C, H, W. So each value
 * has an order of its own: plain (as the graph says), or channels-last, which operators on pictures read and write.
 * A Transpose between the two costs nothing; inputs and outputs of the graph are turned by the session, once a run. */
#ifndef PITH_XNNPACK_SUBGRAPH_H
#define PITH_XNNPACK_SUBGRAPH_H

#include <pith/graph.h>

#include "plugins/engines/xnnpack/library.h"

struct xnn_value { /* one of the graph's values in the subgraph */
    uint32_t id;        /* XNN_INVALID_VALUE_ID: not made yet */
    bool channels_last; /* of rank 4, and stored as N, H, W, C */
    bool quantized;     /* stored as int8, on the grid below; else float32 */
    float scale;
    int32_t zero_point;
};

struct xnn_port { /* an input or output of the graph: external */
    uint32_t id;
    bool channels_last;
    int32_t dtype; /* the graph's: PITH_FLOAT32, or PITH_INT8 or PITH_UINT8, which is int8 here, 128 less */
};

struct subgraph {
    const struct pith_graph *graph; /* with all shapes known */
    xnn_subgraph_t made;
    struct xnn_value *values; /* one for each of the graph's */
    struct xnn_port *inputs, *outputs;
    void **constants; /* converted weights, which XNNPACK reads until the runtime is made */
    size_t constant_count, constant_capacity;
    uint64_t weight_bytes;
    uint32_t skip; /* node that the one before has taken in: an activation */
    struct pith_error *err;
};

/* Called for each node that can't be had; then the rest is looked at too. */
typedef void subgraph_refusal(void *user, uint32_t node, const char *why);

/* Fills *out, which is empty. Where a node can't be had: -ENOTSUP with *err naming the first, after all have been told. */
int subgraph_make(struct subgraph *out, const struct pith_graph *graph, subgraph_refusal *refused, void *user,
                  struct pith_error *err);
void subgraph_done(struct subgraph *subgraph);

/* ---- for the nodes ---- */

/* The graph's value, made by a node before; as float32 where `quantized` is false. -ENOTSUP where it is none that we hold. */
int subgraph_read(struct subgraph *s, uint32_t value, bool channels_last, bool quantized, uint32_t *out_id,
                  const char **why);
/* A new internal value to hold the graph's value, on the graph's grid where it has one. */
int subgraph_write(struct subgraph *s, uint32_t value, bool channels_last, uint32_t *out_id, const char **why);
/* The same for a node that computes in float32; subgraph_written brings the value to its grid after the node. */
int subgraph_write_float(struct subgraph *s, uint32_t value, bool channels_last, uint32_t *out_id, const char **why);
int subgraph_written(struct subgraph *s, uint32_t value, const char **why);
/* The same for a node that only moves or picks what `from` holds: on from's grid. id NULL: the very same bytes. */
int subgraph_write_like(struct subgraph *s, uint32_t value, uint32_t from, bool channels_last, uint32_t *out_id,
                        const char **why);
/* The grid of a value that XNNPACK can hold as int8, as *out's scale and zero point; else false. */
bool subgraph_grid(const struct subgraph *s, uint32_t value, struct xnn_value *out);
/* The grid that QuantizeLinear or DequantizeLinear states with constants. */
bool subgraph_stated_grid(const struct subgraph *s, uint32_t node, struct xnn_value *out);
int subgraph_convert(struct subgraph *s, uint32_t value, const struct xnn_value *grid, const char **why);

/* Defines one node; 0, or -ENOTSUP with *why, -ENOMEM. */
int subgraph_node(struct subgraph *s, uint32_t node, const char **why);
/* 0, or -ENOTSUP with *why. */
int subgraph_status(enum xnn_status status, const char **why);

/* ---- weights ---- */

/* Weights as XNNPACK wants them, as int8 with a scale for each output channel, or as float32. Order of dims: that of dims,
 * each element taken from the constant at sum of index times stride. input: the value they are multiplied with.
 * bias: PITH_NO_VALUE where there is none. */
struct weights_wanted {
    uint32_t value, bias, input;
    bool quantized;
    uint32_t rank;
    size_t dims[4];
    int64_t strides[4];
    uint32_t channel_axis; /* of the output channels, in dims */
    size_t channels;
};
int subgraph_weights(struct subgraph *s, const struct weights_wanted *wanted, uint32_t *out_filter, uint32_t *out_bias,
                     const char **why);

#endif
