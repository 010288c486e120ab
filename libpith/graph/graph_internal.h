/* The layout of a graph, for the files of this room alone, and what the readers in formats/ may do that a plugin may
 * not. Everybody else uses include/pith/graph.h.
 *
 * Memory: nodes, values, names and attributes lie in the graph's arena and die with it, at addresses that don't change;
 * the tables of pointers to them grow by realloc. Constants lie in backings, which are reference counted and never
 * written once they are in a graph, so that clones share them. */
#ifndef PITH_GRAPH_INTERNAL_H
#define PITH_GRAPH_INTERNAL_H

#include "libpith/graph/arena.h"
#include <pith/graph.h>
#include <pthread.h>

#define GRAPH_MAX_DEPTH 16 /* of sub-graphs within sub-graphs; real models have 3 */

/* Bytes that constants point into: a mapped file, or memory of their own. Freed with its last user. Thread: any. */
struct pith_backing;
typedef void pith_backing_release(const void *data, size_t bytes);
/* The caller holds it once, and drops it when it is done. On failure data is still the caller's. */
PITH_PUBLIC int pith_backing_new(struct pith_backing **out, const void *data, size_t bytes,
                                 pith_backing_release *release) PITH_CHECKED;
/* For bytes that can be had again, before others hold it: `forget` takes their pages out of the process. */
PITH_PUBLIC void pith_backing_may_forget(struct pith_backing *backing, pith_backing_release *forget);
PITH_PUBLIC struct pith_backing *pith_backing_hold(struct pith_backing *backing);
PITH_PUBLIC void pith_backing_drop(struct pith_backing *backing); /* NULL is fine */

/* Gives the value (the attribute) a constant that lies inside the backing, without copying it. */
PITH_PUBLIC int pith_value_adopt_constant(struct pith_graph *graph, uint32_t value,
                                          const struct pith_tensor *constant,
                                          struct pith_backing *backing) PITH_CHECKED;
PITH_PUBLIC int pith_node_adopt_tensor(struct pith_graph *graph, uint32_t node,
                                       const char *attribute, const struct pith_tensor *tensor,
                                       struct pith_backing *backing) PITH_CHECKED;

/* What a file calls a size that is not known ("batch"): kept for files that are written, and told from nothing else. Copied.
 * They are the shape's that the value has now, and those of any other one of its rank. */
PITH_PUBLIC int pith_value_set_dim_name(struct pith_graph *graph, uint32_t value, uint32_t axis,
                                        const char *name) PITH_CHECKED;
PITH_PUBLIC const char *pith_value_dim_name(const struct pith_graph *graph, uint32_t value,
                                            uint32_t axis); /* NULL: none */

/* What a file says of an output's shape. Files that are written say it again where inference knows less (branches of an
 * If that differ); nothing else relies on it. Copied. NULL: it says nothing. */
PITH_PUBLIC int pith_value_set_declared(struct pith_graph *graph, uint32_t value,
                                        const struct pith_shape *shape) PITH_CHECKED;
PITH_PUBLIC const struct pith_shape *pith_value_declared(const struct pith_graph *graph, uint32_t value);

struct constant {
    struct pith_tensor tensor;
    struct pith_backing *backing; /* NULL: there is no constant */
};

struct attribute {
    const char *name;
    enum pith_attribute_kind kind;
    size_t count; /* of ints, floats, strings */
    union {
        int64_t integer;
        float number;
        const char *text;
        int64_t *integers;
        float *numbers;
        const char **texts;
        struct constant *tensor;  /* in the arena; its backing is dropped with the graph */
        struct pith_graph *graph; /* own */
    };
};

struct node {
    const char *domain;
    const char *op;
    const char *name;
    bool removed;
    uint32_t *inputs;
    uint32_t *outputs;
    size_t input_count;
    size_t input_capacity;
    size_t output_count;
    struct attribute *attributes;
    size_t attribute_count;
    size_t attribute_capacity;
};

struct value {
    const char *name;
    uint32_t hash; /* of name */
    int32_t dtype;
    bool has_shape;
    bool indexed; /* in the table of names */
    bool is_input;
    bool is_captured; /* stands for a value of the graph around */
    struct pith_shape shape;
    const char **dim_names; /* arena: PITH_MAX_RANK, NULL where an axis has none; or NULL */
    uint32_t dim_names_rank; /* they are of a shape of that rank */
    struct pith_shape *declared; /* arena; or NULL */
    struct constant constant;
    struct pith_quantization *quantization; /* one block of malloc with its arrays, or NULL */
    uint32_t producer;
    uint32_t *users; /* malloc: a node for each input slot, and for each capture of its sub-graphs */
    size_t user_count;
    size_t user_capacity;
    size_t output_uses; /* times it is an output of the graph */
};

struct pair { /* of texts: metadata */
    const char *key;
    const char *text;
};
struct opset {
    const char *domain;
    int64_t version;
};
struct capture {
    uint32_t inner;
    uint32_t outer;
};

struct pith_graph {
    struct arena arena;
    const char *name;
    struct node **nodes;
    struct value **values;
    uint32_t node_count, node_capacity;
    uint32_t value_count, value_capacity;

    uint32_t *slots; /* names: open addressing, value + 1, 0 where free, SLOT_GONE where removed */
    uint32_t slot_count, slots_used;
    uint32_t hash_seed;
    uint32_t next_name; /* for values without a name */

    uint32_t *inputs, *outputs;
    size_t input_count, input_capacity;
    size_t output_count, output_capacity;
    struct opset *opsets;
    size_t opset_count, opset_capacity;
    struct pair *metadata;
    size_t metadata_count, metadata_capacity;
    struct capture *captures;
    size_t capture_count, capture_capacity;

    struct pith_graph *around; /* where this is a sub-graph: the graph and the node that own it */
    uint32_t around_node;

    pthread_mutex_t order_lock; /* readers make the order when they first ask for it */
    uint32_t *order;
    size_t order_count;
    bool order_known;
};

struct node *graph_node(const struct pith_graph *graph, uint32_t node);     /* asserts that it exists */
struct value *graph_value(const struct pith_graph *graph, uint32_t value);  /* asserts the range */
void graph_changed(struct pith_graph *graph);                               /* forgets the order */

/* Makes room for one more of *items. */
int grow(void *items, size_t item_bytes, size_t count, size_t *capacity);

int value_add_user(struct pith_graph *graph, uint32_t value, uint32_t node);
void value_remove_user(struct pith_graph *graph, uint32_t value, uint32_t node);
/* Into the table of names, and out of it again. */
int graph_index_name(struct pith_graph *graph, uint32_t value);
void graph_unindex_name(struct pith_graph *graph, uint32_t value);
/* For a value that nothing makes or uses any more: its name becomes "" and free for another. */
void graph_release_name(struct pith_graph *graph, uint32_t value);
void graph_forget_input(struct pith_graph *graph, uint32_t value);

/* The last three replace what *out holds: by a copy, by the tensor's own memory (from pith_tensor_alloc; on failure
 * it stays the caller's), by a reference. */
void constant_clear(struct constant *constant);
int constant_copy(struct constant *out, const struct pith_tensor *tensor) PITH_CHECKED;
int constant_take(struct constant *out, const struct pith_tensor *tensor) PITH_CHECKED;
void constant_share(struct constant *out, const struct pith_tensor *tensor,
                    struct pith_backing *backing);
/* One block of malloc; NULL: no memory. */
struct pith_quantization *quantization_copy(const struct pith_quantization *from);

void attribute_clear(struct attribute *attribute);
/* The node no longer uses what the attribute, where it is a sub-graph, captures. */
void node_leave_captures(struct pith_graph *graph, uint32_t node,
                         const struct attribute *attribute);

/* What a node needs before it can run: its inputs, then what its sub-graphs capture. Calls back for each that isn't
 * omitted, until one returns other than 0, and returns that. */
typedef int dependency_visit(void *user, uint32_t value);
int node_each_dependency(const struct pith_graph *graph, uint32_t node, dependency_visit *visit,
                         void *user);

/* Nodes in order, malloc'ed; *out_cycle is a node on a cycle where there is one, else PITH_NO_NODE. */
int graph_sort(const struct pith_graph *graph, uint32_t **out_order, size_t *out_count,
               uint32_t *out_cycle);

#endif
