/* The graph: nodes that refer to values, with ONNX semantics (operator meaning, NCHW, attribute names).
 * Opaque: plugins read and write it through these calls, so the layout inside may change.
 *
 * Nodes and values are named by number. Numbers stay valid while the graph lives; a removed node's number is not
 * used again. Strings and arrays that a call returns belong to the graph and live until that item changes.
 * Values that a node leaves out (an omitted optional input) are PITH_NO_VALUE.
 *
 * Calls that take a number out of range are a caller's mistake and assert. Memory: calls that can fail for want of
 * it return -ENOMEM. Thread: one graph, one thread at a time for writing; any number may read. */
#ifndef PITH_GRAPH_H
#define PITH_GRAPH_H

#include <pith/tensor.h>

#define PITH_NO_VALUE UINT32_MAX
#define PITH_NO_NODE UINT32_MAX

struct pith_graph;

/* How integers in a value stand for reals: real = scale * (q - zero_point).
 * Per tensor: count 1. Per axis: count = dim[axis]. Blocks along axis: block_size > 0, and scale has the value's
 * shape with dim[axis] divided by block_size, rounded up. */
struct pith_quantization {
    int32_t dtype;             /* the stored integer type: PITH_INT8, PITH_UINT8, PITH_INT16, PITH_INT4, ... */
    int32_t axis;              /* >= 0; 0 where count is 1 */
    int64_t block_size;        /* 0: none */
    size_t count;              /* entries in scale and zero_point */
    const float *scale;        /* finite, > 0 */
    const int32_t *zero_point; /* as many as scale; never NULL */
};

/* ---- reading: the graph ---- */
PITH_PUBLIC uint32_t pith_graph_node_limit(const struct pith_graph *graph);  /* node numbers are below it */
PITH_PUBLIC uint32_t pith_graph_value_limit(const struct pith_graph *graph); /* value numbers are below it */
PITH_PUBLIC const char *pith_graph_name(const struct pith_graph *graph);
PITH_PUBLIC int64_t pith_graph_opset(const struct pith_graph *graph, const char *domain); /* 0: not imported */
PITH_PUBLIC size_t pith_graph_opset_count(const struct pith_graph *graph);
PITH_PUBLIC const char *pith_graph_opset_domain(const struct pith_graph *graph, size_t index);
PITH_PUBLIC size_t pith_graph_input_count(const struct pith_graph *graph); /* inputs with no constant behind them */
PITH_PUBLIC uint32_t pith_graph_input(const struct pith_graph *graph, size_t index);
PITH_PUBLIC size_t pith_graph_output_count(const struct pith_graph *graph);
PITH_PUBLIC uint32_t pith_graph_output(const struct pith_graph *graph, size_t index);
/* Nodes in an order in which each comes after the producers of its inputs and of what its sub-graphs capture, and else by
 * number; removed nodes are not in it. Valid until the graph changes. NULL where there is none: no nodes, a cycle (which
 * pith_graph_validate refuses), or no memory. */
PITH_PUBLIC const uint32_t *pith_graph_order(const struct pith_graph *graph, size_t *out_count);
PITH_PUBLIC uint32_t pith_graph_find_value(const struct pith_graph *graph, const char *name); /* or PITH_NO_VALUE */
PITH_PUBLIC const char *pith_graph_metadata(const struct pith_graph *graph, const char *key); /* or NULL */
PITH_PUBLIC size_t pith_graph_metadata_count(const struct pith_graph *graph);
PITH_PUBLIC const char *pith_graph_metadata_key(const struct pith_graph *graph, size_t index);
/* A sub-graph (a branch of If, a body) may use values of the graph around it. Each such use is a capture: `inner` is
 * a value of this graph that nothing here produces, `outer` its number in the graph around. */
PITH_PUBLIC size_t pith_graph_capture_count(const struct pith_graph *graph);
PITH_PUBLIC void pith_graph_capture(const struct pith_graph *graph, size_t index, uint32_t *out_inner,
                                    uint32_t *out_outer);

/* ---- reading: nodes ---- */
PITH_PUBLIC bool pith_node_exists(const struct pith_graph *graph, uint32_t node); /* false once removed */
PITH_PUBLIC const char *pith_node_name(const struct pith_graph *graph, uint32_t node);   /* "" where it has none */
PITH_PUBLIC const char *pith_node_op(const struct pith_graph *graph, uint32_t node);     /* "Conv" */
PITH_PUBLIC const char *pith_node_domain(const struct pith_graph *graph, uint32_t node); /* "" for ONNX's own */
PITH_PUBLIC size_t pith_node_input_count(const struct pith_graph *graph, uint32_t node);
/* PITH_NO_VALUE where omitted, and where index is past the count. */
PITH_PUBLIC uint32_t pith_node_input(const struct pith_graph *graph, uint32_t node, size_t index);
PITH_PUBLIC size_t pith_node_output_count(const struct pith_graph *graph, uint32_t node);
PITH_PUBLIC uint32_t pith_node_output(const struct pith_graph *graph, uint32_t node, size_t index);
/* Attributes: the value, or `otherwise` / NULL where the node has none of that name and type. */
PITH_PUBLIC bool pith_node_has(const struct pith_graph *graph, uint32_t node, const char *attribute);
PITH_PUBLIC int64_t pith_node_int(const struct pith_graph *graph, uint32_t node, const char *attribute,
                                  int64_t otherwise);
PITH_PUBLIC float pith_node_float(const struct pith_graph *graph, uint32_t node, const char *attribute,
                                  float otherwise);
PITH_PUBLIC const char *pith_node_string(const struct pith_graph *graph, uint32_t node, const char *attribute,
                                         const char *otherwise);
PITH_PUBLIC const int64_t *pith_node_ints(const struct pith_graph *graph, uint32_t node, const char *attribute,
                                          size_t *out_count);
PITH_PUBLIC const float *pith_node_floats(const struct pith_graph *graph, uint32_t node, const char *attribute,
                                          size_t *out_count);
PITH_PUBLIC const char *const *pith_node_strings(const struct pith_graph *graph, uint32_t node,
                                                 const char *attribute, size_t *out_count);
PITH_PUBLIC const struct pith_tensor *pith_node_tensor(const struct pith_graph *graph, uint32_t node,
                                                       const char *attribute);
PITH_PUBLIC const struct pith_graph *pith_node_graph(const struct pith_graph *graph, uint32_t node,
                                                     const char *attribute);
/* To go through them all. The numbers are those of AttributeProto.AttributeType in ONNX. */
enum pith_attribute_kind {
    PITH_ATTRIBUTE_NONE = 0,
    PITH_ATTRIBUTE_FLOAT = 1,
    PITH_ATTRIBUTE_INT = 2,
    PITH_ATTRIBUTE_STRING = 3,
    PITH_ATTRIBUTE_TENSOR = 4,
    PITH_ATTRIBUTE_GRAPH = 5,
    PITH_ATTRIBUTE_FLOATS = 6,
    PITH_ATTRIBUTE_INTS = 7,
    PITH_ATTRIBUTE_STRINGS = 8,
};
PITH_PUBLIC size_t pith_node_attribute_count(const struct pith_graph *graph, uint32_t node);
PITH_PUBLIC const char *pith_node_attribute_name(const struct pith_graph *graph, uint32_t node, size_t index);
PITH_PUBLIC enum pith_attribute_kind pith_node_attribute_kind(const struct pith_graph *graph, uint32_t node,
                                                              size_t index);

/* ---- reading: values ---- */
PITH_PUBLIC const char *pith_value_name(const struct pith_graph *graph, uint32_t value);
PITH_PUBLIC int32_t pith_value_dtype(const struct pith_graph *graph, uint32_t value); /* NONE where not known yet */
/* NULL where not even the rank is known yet. */
PITH_PUBLIC const struct pith_shape *pith_value_shape(const struct pith_graph *graph, uint32_t value);
/* The constant behind the value, or NULL. Its data may lie in a mapped file, so it may be unaligned. */
PITH_PUBLIC const struct pith_tensor *pith_value_constant(const struct pith_graph *graph, uint32_t value);
/* NULL where the value is not quantized. Whether quantized or not, pith_value_dtype says what operators see: float32 (the
 * type that DequantizeLinear gives). A quantized activation is the real number rounded to that grid (its producer's
 * result after Q and DQ). A quantized constant stands for scale * (q - zero_point), and pith_value_constant holds the
 * integers q, of quantization->dtype. */
PITH_PUBLIC const struct pith_quantization *pith_value_quantization(const struct pith_graph *graph, uint32_t value);
PITH_PUBLIC uint32_t pith_value_producer(const struct pith_graph *graph, uint32_t value); /* or PITH_NO_NODE */
PITH_PUBLIC size_t pith_value_use_count(const struct pith_graph *graph, uint32_t value); /* by nodes and outputs */
/* The nodes that use the value: one entry a use, so a node that takes it twice is listed twice; a node whose sub-graphs
 * capture it uses it too. */
PITH_PUBLIC const uint32_t *pith_value_users(const struct pith_graph *graph, uint32_t value, size_t *out_count);
PITH_PUBLIC bool pith_value_is_input(const struct pith_graph *graph, uint32_t value);
PITH_PUBLIC bool pith_value_is_output(const struct pith_graph *graph, uint32_t value);
PITH_PUBLIC bool pith_value_is_captured(const struct pith_graph *graph, uint32_t value);

/* ---- writing ---- */
PITH_PUBLIC int pith_graph_new(struct pith_graph **out, const char *name, struct pith_error *err) PITH_CHECKED;
/* Constants that lie in a mapped file stay shared with `graph`, which keeps the mapping alive: reference counted
 * inside, so either may be freed first. */
PITH_PUBLIC int pith_graph_clone(const struct pith_graph *graph, struct pith_graph **out,
                                 struct pith_error *err) PITH_CHECKED;
PITH_PUBLIC void pith_graph_free(struct pith_graph *graph);
PITH_PUBLIC int pith_graph_set_opset(struct pith_graph *graph, const char *domain, int64_t version) PITH_CHECKED;
PITH_PUBLIC int pith_graph_set_metadata(struct pith_graph *graph, const char *key, const char *text) PITH_CHECKED;
/* name: NULL makes one that is new; a name that is taken is -EEXIST. shape: NULL where unknown. */
PITH_PUBLIC int pith_graph_add_value(struct pith_graph *graph, const char *name, int32_t dtype,
                                     const struct pith_shape *shape, uint32_t *out_value,
                                     struct pith_error *err) PITH_CHECKED;
/* Copies the tensor. */
PITH_PUBLIC int pith_graph_add_constant(struct pith_graph *graph, const char *name,
                                        const struct pith_tensor *constant, uint32_t *out_value,
                                        struct pith_error *err) PITH_CHECKED;
PITH_PUBLIC int pith_graph_add_node(struct pith_graph *graph, const char *domain, const char *op, const char *name,
                                    const uint32_t *inputs, size_t input_count, const uint32_t *outputs,
                                    size_t output_count, uint32_t *out_node, struct pith_error *err) PITH_CHECKED;
PITH_PUBLIC void pith_graph_remove_node(struct pith_graph *graph, uint32_t node); /* its outputs lose their producer */
/* `inner`, a value of this sub-graph, stands for `outer`, a value of the graph around. -EEXIST where inner has a producer,
 * a constant or is an input. */
PITH_PUBLIC int pith_graph_add_capture(struct pith_graph *graph, uint32_t inner, uint32_t outer) PITH_CHECKED;
/* Every use of `from` (by nodes, by their sub-graphs and as an output) becomes one of `to`. */
PITH_PUBLIC int pith_graph_replace_value(struct pith_graph *graph, uint32_t from, uint32_t to) PITH_CHECKED;
/* Removes the nodes that no output needs, and frees constants, quantizations and names that nothing uses. */
PITH_PUBLIC int pith_graph_prune_dead(struct pith_graph *graph) PITH_CHECKED;
PITH_PUBLIC int pith_graph_add_input(struct pith_graph *graph, uint32_t value) PITH_CHECKED;
PITH_PUBLIC int pith_graph_add_output(struct pith_graph *graph, uint32_t value) PITH_CHECKED;
PITH_PUBLIC void pith_graph_set_output(struct pith_graph *graph, size_t index, uint32_t value);
PITH_PUBLIC int pith_node_set_input(struct pith_graph *graph, uint32_t node, size_t index, uint32_t value) PITH_CHECKED;
/* index: of an output that the node has. -EEXIST where value has a producer, a constant or is an input. */
PITH_PUBLIC int pith_node_set_output(struct pith_graph *graph, uint32_t node, size_t index, uint32_t value) PITH_CHECKED;
/* Another operator on the same inputs and outputs. */
PITH_PUBLIC int pith_node_set_op(struct pith_graph *graph, uint32_t node, const char *op) PITH_CHECKED;
PITH_PUBLIC int pith_node_set_int(struct pith_graph *graph, uint32_t node, const char *attribute,
                                  int64_t value) PITH_CHECKED;
PITH_PUBLIC int pith_node_set_float(struct pith_graph *graph, uint32_t node, const char *attribute,
                                    float value) PITH_CHECKED;
PITH_PUBLIC int pith_node_set_string(struct pith_graph *graph, uint32_t node, const char *attribute,
                                     const char *value) PITH_CHECKED;
PITH_PUBLIC int pith_node_set_ints(struct pith_graph *graph, uint32_t node, const char *attribute,
                                   const int64_t *values, size_t count) PITH_CHECKED;
PITH_PUBLIC int pith_node_set_floats(struct pith_graph *graph, uint32_t node, const char *attribute,
                                     const float *values, size_t count) PITH_CHECKED;
PITH_PUBLIC int pith_node_set_strings(struct pith_graph *graph, uint32_t node, const char *attribute,
                                      const char *const *values, size_t count) PITH_CHECKED;
PITH_PUBLIC int pith_node_set_tensor(struct pith_graph *graph, uint32_t node, const char *attribute,
                                     const struct pith_tensor *value) PITH_CHECKED; /* copied */
PITH_PUBLIC int pith_node_set_graph(struct pith_graph *graph, uint32_t node, const char *attribute,
                                    struct pith_graph *taken) PITH_CHECKED; /* the node's from here on */
PITH_PUBLIC void pith_node_remove_attribute(struct pith_graph *graph, uint32_t node, const char *attribute);
/* The node's sub-graph, to be changed in place. NULL where there is none. */
PITH_PUBLIC struct pith_graph *pith_node_edit_graph(struct pith_graph *graph, uint32_t node, const char *attribute);
/* -EEXIST where another value has that name. */
PITH_PUBLIC int pith_value_set_name(struct pith_graph *graph, uint32_t value, const char *name) PITH_CHECKED;
/* For a value that takes another's place and must keep its name: an output of the graph, say. */
PITH_PUBLIC void pith_value_swap_names(struct pith_graph *graph, uint32_t a, uint32_t b);
PITH_PUBLIC int pith_value_set_type(struct pith_graph *graph, uint32_t value, int32_t dtype,
                                    const struct pith_shape *shape) PITH_CHECKED;
PITH_PUBLIC int pith_value_set_constant(struct pith_graph *graph, uint32_t value,
                                        const struct pith_tensor *constant) PITH_CHECKED; /* copied; NULL clears.
    Sets type and shape (a quantized value given integers of its quantization's type stays float); an input that is given
    a constant is an input no more. */
/* The same without a copy: the graph owns the tensor's memory from here on, and *taken is zeroed. It must have come from
 * pith_tensor_alloc or pith_tensor_copy. On failure it stays the caller's. */
PITH_PUBLIC int pith_value_take_constant(struct pith_graph *graph, uint32_t value,
                                         struct pith_tensor *taken) PITH_CHECKED;
PITH_PUBLIC int pith_value_set_quantization(struct pith_graph *graph, uint32_t value,
                                            const struct pith_quantization *quantization)
    PITH_CHECKED; /* copied; NULL clears. An integer value becomes float32, and integer again where it is cleared. */

/* ---- whole graphs ---- */
/* Everything behind this door relies on it: acyclic, one producer a value, every input produced or constant or an
 * input, types and shapes consistent, quantizations well formed, sub-graphs too. The graph's order is made here. */
PITH_PUBLIC int pith_graph_validate(struct pith_graph *graph, struct pith_error *err) PITH_CHECKED;

/* Fills in the type and shape of every value, from the inputs' shapes and the constants.
 * input_shapes: as many as the graph has inputs, all known; or NULL for those that the graph declares.
 * What depends on data keeps PITH_DIM_UNKNOWN. */
PITH_PUBLIC int pith_graph_infer(struct pith_graph *graph, const struct pith_shape *input_shapes,
                                 struct pith_error *err) PITH_CHECKED;

/* Whether something is computed in a 16-bit float type (float16, bfloat16), in the graph or a sub-graph. Weights that are
 * stored so, with a Cast behind them, don't count. Since ABI 1.2. */
PITH_PUBLIC bool pith_graph_has_halves(const struct pith_graph *graph);
/* Makes each value of a 16-bit float type float32, here and in sub-graphs: small constants by value, large ones by a Cast
 * behind them, Cast and its like by what they are asked to give. Inputs and outputs of the graph keep name and type, by a
 * Cast behind or before them. Results are not rounded to 16 bits between nodes any more, so they differ from such a run's by
 * what its rounding did. Nodes keep their numbers, and those that are added come behind; a Cast that would change nothing
 * goes. To be validated again. On failure (-ENOMEM) the graph is good for freeing alone. Since ABI 1.2. */
PITH_PUBLIC int pith_graph_widen(struct pith_graph *graph, struct pith_error *err) PITH_CHECKED;

/* The graph as the bytes of an ONNX file, quantization as QuantizeLinear and DequantizeLinear: for engines that read
 * files. Values and nodes keep their names. *out_data: *out_bytes long, the caller's, freed with free(). The same graph
 * gives the same bytes. Since ABI 1.1. */
PITH_PUBLIC int pith_graph_write_onnx(const struct pith_graph *graph, void **out_data, size_t *out_bytes,
                                      struct pith_error *err) PITH_CHECKED;

struct pith_graph_size {
    uint64_t parameters;        /* elements of constants of rank >= 1 that weigh: floats and quantized integers */
    uint64_t nonzero;           /* of them */
    uint64_t weight_bytes;      /* as stored */
    uint64_t macs;              /* multiply-accumulates of one run; 0 where a shape is unknown */
    uint64_t peak_activation_bytes; /* greatest sum of live activations in the graph's order; 0 where unknown */
    uint32_t nodes;             /* sub-graphs included */
};
PITH_PUBLIC void pith_graph_measure(const struct pith_graph *graph, struct pith_graph_size *out);
/* Multiply-accumulates of one node; 0 for one that has none, or unknown shapes. */
PITH_PUBLIC uint64_t pith_node_macs(const struct pith_graph *graph, uint32_t node);

#endif
