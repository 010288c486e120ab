/* Small graphs at random: a few nodes of all kinds, over odd shapes, with the patterns that an
 * engine makes one step of. Every node is inferred as it is added, and left out where it makes no
 * sense, so what comes out is valid.
 *
 * Numbers are quarters of small integers, so that sums and products are exact; a value made by what
 * rounds is `rough`, and goes into no operator that jumps (Floor, comparisons) or that magnifies
 * (Reciprocal, Log). */
#ifndef PITH_TESTS_RANDOM_GRAPH_H
#define PITH_TESTS_RANDOM_GRAPH_H

#include "tests/testing.h"

#include <pith/graph.h>

#include "libpith/graph/operator.h"

#define MAKER_VALUES       96
#define MAKER_INPUTS       3
#define MAKER_MOST_NUMBERS 20000 /* elements of one value */

struct maker {
    struct pith_graph *graph;
    uint64_t state;
    int64_t opset;
    uint32_t value[MAKER_VALUES]; /* those that a node may take */
    bool rough[MAKER_VALUES];
    size_t count;
    bool made_rough; /* what the next maker_end() gives */
    bool calm;       /* values will be on grids, so all are rough to what jumps */
};

static inline uint32_t roll(struct maker *m, uint32_t below) /* xorshift64* */
{
    m->state ^= m->state >> 12;
    m->state ^= m->state << 25;
    m->state ^= m->state >> 27;
    return (uint32_t) ((m->state * UINT64_C(2685821657736338717)) >> 33) % below;
}

static inline int64_t between(struct maker *m, int64_t low, int64_t high)
{
    return low + (int64_t) roll(m, (uint32_t) (high - low + 1));
}

static inline const struct pith_shape *shape_of(const struct maker *m, uint32_t value)
{
    return pith_value_shape(m->graph, value);
}

/* ---- values ---- */

static inline int64_t odd_size(struct maker *m)
{
    static const int64_t sizes[] = {1, 1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 31, 33, 64};

    return roll(m, 60) == 0 ? 0 : sizes[roll(m, roll(m, 4) ? 9 : 15)];
}

static inline struct pith_shape some_shape(struct maker *m, uint32_t rank)
{
    struct pith_shape shape = {.rank = rank};

    do {
        for (uint32_t i = 0; i < rank; i++)
            shape.dim[i] = rank > 2 && i == 0 ? between(m, 1, 2) : odd_size(m);
    } while (pith_shape_elements(&shape) > 4000);
    return shape;
}

static inline double some_number(struct maker *m, int32_t dtype)
{
    const bool real = dtype == PITH_FLOAT32 || dtype == PITH_FLOAT64 || dtype == PITH_FLOAT16;

    if (dtype == PITH_BOOL)
        return roll(m, 2);
    if (dtype == PITH_UINT8)
        return roll(m, 12);
    return real ? (double) between(m, -8, 8) / 4.0 : (double) between(m, -5, 5);
}

static inline void fill(struct maker *m, struct pith_tensor *tensor)
{
    for (int64_t i = 0; i < pith_shape_elements(&tensor->shape); i++)
        pith_tensor_set(tensor, i, some_number(m, tensor->dtype));
}

static inline uint32_t constant(struct maker *m, int32_t dtype, const struct pith_shape *shape)
{
    struct pith_tensor tensor;
    struct pith_error err = {0};
    uint32_t value;

    assert_ok(pith_tensor_alloc(&tensor, dtype, shape, &err), &err);
    fill(m, &tensor);
    assert_ok(pith_graph_add_constant(m->graph, NULL, &tensor, &value, &err), &err);
    pith_tensor_free(&tensor);
    return value;
}

static inline uint32_t row(struct maker *m, int64_t count)
{
    return constant(m, PITH_FLOAT32, &(struct pith_shape){1, {count}});
}

static inline uint32_t number(struct maker *m, float x)
{
    const struct pith_tensor tensor = {PITH_FLOAT32, {0}, &x, sizeof x};
    uint32_t value;

    assert_int_equal(pith_graph_add_constant(m->graph, NULL, &tensor, &value, NULL), 0);
    return value;
}

static inline uint32_t integers(struct maker *m, const int64_t *list, size_t count)
{
    const struct pith_tensor tensor = {
        PITH_INT64, {1, {(int64_t) count}}, (void *) (uintptr_t) list, count * sizeof *list};
    uint32_t value;

    assert_int_equal(pith_graph_add_constant(m->graph, NULL, &tensor, &value, NULL), 0);
    return value;
}

static inline bool is_rough(const struct maker *m, uint32_t value)
{
    for (size_t i = 0; i < m->count; i++)
        if (m->value[i] == value)
            return m->rough[i];
    return false;
}

/* A value of the type (0: any) and of a rank between the two; PITH_NO_VALUE where there is none.
 * The latest more often. */
static inline uint32_t pick(struct maker *m, int32_t dtype, uint32_t least, uint32_t most)
{
    for (int tries = 0; tries < 30; tries++) {
        const size_t at = roll(m, 2)
                              ? m->count - 1 - roll(m, m->count > 3 ? 3 : (uint32_t) m->count)
                              : roll(m, (uint32_t) m->count);
        const uint32_t value = m->value[at];

        if ((dtype == 0 || pith_value_dtype(m->graph, value) == dtype) &&
            shape_of(m, value)->rank >= least && shape_of(m, value)->rank <= most)
            return value;
    }
    return PITH_NO_VALUE;
}

/* ---- nodes ---- */

static inline uint32_t maker_node(struct maker *m, const char *op, const uint32_t *inputs,
                                  size_t count, size_t outputs)
{
    uint32_t out[4], node;

    m->made_rough = false;
    for (size_t i = 0; i < count; i++)
        m->made_rough = m->made_rough || (inputs[i] != PITH_NO_VALUE && is_rough(m, inputs[i]));
    for (size_t i = 0; i < outputs; i++)
        assert_int_equal(pith_graph_add_value(m->graph, NULL, PITH_DTYPE_NONE, NULL, &out[i], NULL),
                         0);
    assert_int_equal(
        pith_graph_add_node(m->graph, "", op, NULL, inputs, count, out, outputs, &node, NULL), 0);
    return node;
}

/* A list that became an input with opset `since`. */
static inline void maker_list(struct maker *m, uint32_t node, const char *name, int64_t since,
                              size_t input, const int64_t *list, size_t count)
{
    if (m->opset < since)
        assert_int_equal(pith_node_set_ints(m->graph, node, name, list, count), 0);
    else
        assert_int_equal(pith_node_set_input(m->graph, node, input, integers(m, list, count)), 0);
}

static inline void set_int(struct maker *m, uint32_t node, const char *name, int64_t value)
{
    assert_int_equal(pith_node_set_int(m->graph, node, name, value), 0);
}

static inline void set_ints(struct maker *m, uint32_t node, const char *name, const int64_t *list,
                            size_t count)
{
    assert_int_equal(pith_node_set_ints(m->graph, node, name, list, count), 0);
}

/* Infers it, and drops it where it makes no sense, or more than is wanted. Its first output, or
 * PITH_NO_VALUE. */
static inline uint32_t maker_end(struct maker *m, uint32_t node)
{
    const size_t outputs = pith_node_output_count(m->graph, node);
    struct pith_error err = {0};
    bool good = pith_graph_infer_node(m->graph, node, &err) == 0;

    for (size_t i = 0; i < outputs && good; i++) {
        const uint32_t value = pith_node_output(m->graph, node, i);
        const struct pith_shape *shape = shape_of(m, value);

        good = shape && pith_shape_known(shape) &&
               pith_shape_elements(shape) <= MAKER_MOST_NUMBERS &&
               pith_value_dtype(m->graph, value) != PITH_DTYPE_NONE &&
               m->count + outputs <= MAKER_VALUES;
    }
    if (!good) {
        pith_graph_remove_node(m->graph, node);
        return PITH_NO_VALUE;
    }
    for (size_t i = 0; i < outputs; i++) {
        m->rough[m->count] = m->made_rough;
        m->value[m->count++] = pith_node_output(m->graph, node, i);
    }
    return pith_node_output(m->graph, node, 0);
}

static inline uint32_t one(struct maker *m, const char *op, uint32_t x)
{
    return x == PITH_NO_VALUE ? x : maker_end(m, maker_node(m, op, &x, 1, 1));
}

static inline uint32_t two(struct maker *m, const char *op, uint32_t a, uint32_t b)
{
    return a == PITH_NO_VALUE || b == PITH_NO_VALUE
               ? PITH_NO_VALUE
               : maker_end(m, maker_node(m, op, (uint32_t[]){a, b}, 2, 1));
}

static inline uint32_t rough(struct maker *m, uint32_t value)
{
    if (value != PITH_NO_VALUE)
        m->rough[m->count - 1] = true;
    return value;
}

#include "tests/unit/random_nodes.h"
/* they stand on those */
#include "tests/unit/random_moves.h"
/* and these on both */
#include "tests/unit/random_patterns.h"

/* ---- graphs ---- */

/* A graph of up to `nodes` steps of the table, from MAKER_INPUTS inputs. The values that nothing
 * takes are its outputs. */
static inline void maker_graph(struct maker *m, uint64_t seed, int nodes, bool calm)
{
    static const int64_t opsets[] = {9, 11, 13, 13, 17, 18, 21};
    static const int32_t types[] = {PITH_FLOAT32, PITH_FLOAT32, PITH_FLOAT32, PITH_INT64,
                                    PITH_INT32,   PITH_UINT8,   PITH_INT8,    PITH_BOOL,
                                    PITH_FLOAT64, PITH_FLOAT16};

    *m = (struct maker){.state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1, .calm = calm};
    for (int i = 0; i < 8; i++)
        (void) roll(m, 2);
    m->opset = opsets[roll(m, sizeof opsets / sizeof *opsets)];
    assert_int_equal(pith_graph_new(&m->graph, "random", NULL), 0);
    assert_int_equal(pith_graph_set_opset(m->graph, "", m->opset), 0);
    for (int i = 0; i < MAKER_INPUTS; i++) {
        const int32_t dtype = i < 2 ? PITH_FLOAT32 : types[roll(m, sizeof types / sizeof *types)];
        const struct pith_shape shape = some_shape(m, i == 0 ? 3 + roll(m, 2) : roll(m, 7));
        uint32_t value;

        assert_int_equal(pith_graph_add_value(m->graph, NULL, dtype, &shape, &value, NULL), 0);
        assert_int_equal(pith_graph_add_input(m->graph, value), 0);
        m->value[m->count++] = value;
    }
    for (int i = 0; i < nodes; i++)
        makers[roll(m, sizeof makers / sizeof *makers)](m);
    for (uint32_t value = 0; value < pith_graph_value_limit(m->graph); value++)
        if (pith_value_producer(m->graph, value) != PITH_NO_NODE &&
            pith_value_use_count(m->graph, value) == 0)
            assert_int_equal(pith_graph_add_output(m->graph, value), 0);
}

#endif
