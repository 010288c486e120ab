/* A graph as a list of oneDNN primitives: what a program that is built on oneDNN would run. Each value has the layout that
 * the primitive which made it chose (format_tag any), reorders stand where two of them disagree, weights are reordered once,
 * and all activations lie in one arena. */
#ifndef PITH_BENCH_ONEDNN_NET_H
#define PITH_BENCH_ONEDNN_NET_H

#include <oneapi/dnnl/dnnl.h>
#include <pith/graph.h>

#define NET_STEP_ARGUMENTS 6

struct grid { /* real = scale * (stored - zero_point) */
    bool quantized;
    float scale;
    int32_t zero_point; /* of the type that is stored */
};

struct value { /* one of the graph's */
    bool made;
    bool shared; /* another value is the same buffer: not to be written over */
    dnnl_memory_desc_t desc; /* type and layout as stored */
    struct grid grid;
    uint32_t buffer;
};

struct buffer {
    size_t bytes, offset;
    int input;       /* of the graph's inputs: not in the arena; -1: none */
    int first, last; /* steps that touch it */
};

struct placed { /* a memory object, and where its data is */
    dnnl_memory_t memory;
    uint32_t buffer; /* UINT32_MAX: a constant's own */
};

struct step {
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t arguments[NET_STEP_ARGUMENTS];
    int argument_count;
};

struct net {
    const struct pith_graph *graph; /* all shapes known; needed while it is made */
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    struct value *values; /* one for each of the graph's */
    bool *done;           /* nodes */
    struct buffer *buffers;
    struct placed *placed;
    struct step *steps;
    size_t buffer_count, placed_count, step_count;
    size_t buffer_room, placed_room, step_room;
    size_t input_count; /* the first so many of `placed` are the caller's inputs */
    void *arena;
    size_t arena_bytes, weight_bytes;
};

/* Called for each node that oneDNN has not, while the rest is looked at. */
typedef void net_refusal(void *user, uint32_t node, const char *why);

/* graph: borrowed until net_make returns. -ENOTSUP with *err naming the first node that can't be had. */
int net_make(struct net *out, const struct pith_graph *graph, net_refusal *refused, void *user, struct pith_error *err);
void net_done(struct net *net);
int net_run(struct net *net, const struct pith_tensor *inputs, size_t input_count);
/* Where an output lies, plain and of the graph's type, until the next run. */
void *net_output(const struct net *net, uint32_t value);

/* ---- for nodes.c: 0, -ENOMEM, or -ENOTSUP with *why ---- */

struct net_argument {
    int which; /* DNNL_ARG_... */
    dnnl_memory_t memory;
};

/* Row-major. */
int net_plain(dnnl_memory_desc_t *out, const struct pith_shape *shape, dnnl_data_type_t type, const char **why);
int net_any(dnnl_memory_desc_t *out, const struct pith_shape *shape, dnnl_data_type_t type, const char **why);
/* The value in this layout, type and grid; a reorder where it is otherwise, which then is what the value is. */
int net_read(struct net *net, uint32_t value, const dnnl_memory_desc_t *desc, const struct grid *grid, dnnl_memory_t *out,
             const char **why);
/* A new buffer for the value. */
int net_write(struct net *net, uint32_t value, const dnnl_memory_desc_t *desc, const struct grid *grid, dnnl_memory_t *out,
              const char **why);
/* The value's buffer, which `from` has been, to be written over: a copy of it where others still read it. */
int net_take_over(struct net *net, uint32_t value, uint32_t from, bool from_dies, const dnnl_memory_desc_t *desc,
                  const struct grid *grid, dnnl_memory_t *out, const char **why);
/* A constant, from plain bytes to the layout that is wanted. */
int net_constant(struct net *net, const dnnl_memory_desc_t *plain, const void *data, const dnnl_memory_desc_t *desc,
                 dnnl_memory_t *out, const char **why);
/* Appends a primitive; takes *pd over, whether it succeeds or not. */
int net_step(struct net *net, dnnl_primitive_desc_t pd, const struct net_argument *arguments, int count, const char **why);
/* Status of a call of oneDNN. */
int net_status(dnnl_status_t status, const char **why);

/* Makes one node, and those after it that it takes in (net->done). */
int node_make(struct net *net, uint32_t node, const char **why);

#endif
