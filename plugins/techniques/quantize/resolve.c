/* From the layer's input back to a constant, then forth again with its floats, a node at a time. */
#include "plugins/techniques/quantize/resolve.h"

#include <errno.h>
#include <string.h>

#define CHAIN_MAX 8
#define RESOLVED_MAX_BYTES                                                                         \
    ((size_t) 256 << 20) /* all together; what is past it is stored as far weights are */

static const char *const shaping_ops[] = {"Identity", "Reshape",   "Squeeze",
                                          "Flatten",  "Unsqueeze", NULL};

struct chain {
    uint32_t node[CHAIN_MAX]; /* the last one first */
    size_t count;
    const struct pith_tensor *from;
};

static bool is_float(int32_t dtype)
{
    return dtype == PITH_FLOAT32 || dtype == PITH_FLOAT16 || dtype == PITH_BFLOAT16;
}

/* Whether the node's result follows from input 0 and what is known. */
static bool is_link(const struct pith_graph *graph, uint32_t node)
{
    const struct pith_shape *shape;

    if (node_is(graph, node, "Cast") ? pith_node_int(graph, node, "to", 0) != PITH_FLOAT32
                                     : !node_is(graph, node, "Transpose") &&
                                           !node_is_one_of(graph, node, shaping_ops))
        return false; /* others may leave output 0 out */
    shape = pith_value_shape(graph, pith_node_output(graph, node, 0));
    return shape && pith_shape_known(shape);
}

static bool find_chain(const struct pith_graph *graph, uint32_t value, struct chain *out)
{
    *out = (struct chain){.count = 0};
    if (value == PITH_NO_VALUE || pith_value_is_output(graph, value) ||
        pith_value_dtype(graph, value) != PITH_FLOAT32)
        return false;
    while (!pith_value_constant(graph, value)) {
        uint32_t node = pith_value_producer(graph, value);

        if (node == PITH_NO_NODE || out->count == CHAIN_MAX || !is_link(graph, node) ||
            pith_value_quantization(graph, value) ||
            pith_node_input(graph, node, 0) == PITH_NO_VALUE ||
            pith_value_use_count(graph, pith_node_input(graph, node, 0)) != 1)
            return false;
        out->node[out->count++] = node;
        value = pith_node_input(graph, node, 0);
    }
    out->from = pith_value_constant(graph, value);
    return out->count > 0 && !pith_value_quantization(graph, value) && is_float(out->from->dtype);
}

static int widen(struct pith_tensor *out, const struct pith_tensor *from, struct pith_error *err)
{
    int rc = pith_tensor_alloc(out, PITH_FLOAT32, &from->shape, err);

    for (int64_t i = 0; rc == 0 && i < pith_shape_elements(&from->shape); i++)
        ((float *) out->data)[i] = (float) pith_tensor_get(from, i);
    return rc;
}

/* Axis k of the result is axis perm[k] of w; without perm they are in reverse. 1: done; 0: the list is wrong. */
static int turn(struct pith_tensor *w, const int64_t *perm, size_t perm_count,
                struct pith_error *err)
{
    const uint32_t rank = w->shape.rank;
    struct pith_shape shape = {.rank = rank};
    int64_t step[PITH_MAX_RANK] = {0}, at[PITH_MAX_RANK] = {0}, place = 0, inner = 1;
    struct pith_tensor out;
    int rc;

    if (perm && perm_count != rank)
        return 0;
    for (uint32_t k = rank; k-- > 0; inner *= w->shape.dim[k])
        for (uint32_t to = 0; to < rank; to++)
            if ((perm ? perm[to] : (int64_t) (rank - 1 - to)) == (int64_t) k) {
                step[to] = inner;
                shape.dim[to] = w->shape.dim[k];
            }
    rc = pith_tensor_alloc(&out, PITH_FLOAT32, &shape, err);
    for (int64_t i = 0; rc == 0 && i < pith_shape_elements(&shape); i++) {
        ((float *) out.data)[i] = ((const float *) w->data)[place];
        for (uint32_t k = rank; k-- > 0; at[k] = 0) {
            place += step[k];
            if (++at[k] < shape.dim[k])
                break;
            place -= step[k] * shape.dim[k];
        }
    }
    if (rc < 0)
        return rc;
    pith_tensor_free(w);
    *w = out;
    return 1;
}

/* 1: w is what the node gives; 0: it can't be told. */
static int follow(const struct pith_graph *graph, uint32_t node, struct pith_tensor *w,
                  struct pith_error *err)
{
    const struct pith_shape *shape = pith_value_shape(graph, pith_node_output(graph, node, 0));
    size_t count = 0;
    int rc = 1;

    if (node_is(graph, node, "Transpose")) {
        const int64_t *perm = pith_node_ints(graph, node, "perm", &count);

        rc = turn(w, perm, count, err);
    } else if (pith_shape_elements(shape) == pith_shape_elements(&w->shape)) {
        w->shape = *shape;
    } else {
        return 0;
    }
    return rc < 1 ? rc : pith_shape_equal(&w->shape, shape);
}

static int resolve(struct pith_graph *graph, uint32_t value, const struct chain *chain,
                   struct pith_error *err)
{
    struct pith_tensor w = {0};
    uint32_t made;
    int rc = widen(&w, chain->from, err);

    rc = rc < 0 ? rc : 1;
    for (size_t i = chain->count; rc == 1 && i-- > 0;)
        rc = follow(graph, chain->node[i], &w, err);
    if (rc == 1) {
        rc = pith_graph_add_value(graph, NULL, PITH_FLOAT32, &w.shape, &made, err);
        if (rc == 0)
            rc = pith_value_take_constant(graph, made, &w);
        if (rc == 0)
            rc = pith_graph_replace_value(graph, value, made);
    }
    pith_tensor_free(&w);
    return rc;
}

int resolve_weights(struct pith_graph *graph, const struct rules *rules, struct pith_error *err)
{
    static const char *const ops[] = {"Conv", "ConvTranspose", "Gemm", "MatMul",
                                      "LSTM", "GRU",           "RNN",  NULL};
    uint32_t limit = pith_graph_node_limit(graph);
    size_t left = RESOLVED_MAX_BYTES;

    for (uint32_t node = 0; node < limit; node++) {
        const struct layer layer = {.node = node};
        const char *why;
        enum form form;

        if (!pith_node_exists(graph, node) || !node_is_one_of(graph, node, ops))
            continue;
        form = rules_form(rules, layer_name(graph, &layer), &why);
        if (form == FORM_FLOAT)
            continue;
        for (size_t slot = 0; slot < 3 && slot < pith_node_input_count(graph, node); slot++) {
            uint32_t value = pith_node_input(graph, node, slot);
            struct chain chain;

            if (!find_chain(graph, value, &chain) || 4 * (size_t) pith_shape_elements(&chain.from->shape) > left ||
                pith_dtype_bits(chain.from->dtype) <= form_weight_bits(form))
                continue;
            left -= 4 * (size_t) pith_shape_elements(&chain.from->shape);
            int rc = resolve(graph, value, &chain, err);

            if (rc < 0)
                return rc;
        }
    }
    return 0;
}
