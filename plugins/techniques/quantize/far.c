/* Constants become integers where they lie, so that whoever captures them goes on doing so. */
#include "plugins/techniques/quantize/far.h"

#include <errno.h>
#include <stdlib.h>

#define LEAST_WEIGHTS 1024 /* below it, scales and nodes take what the weights give back */

static const char *const moving_ops[] = {"Slice",   "Split",     "Concat",  "Unsqueeze", "Squeeze",
                                         "Reshape", "Transpose", "Flatten", "Identity",  "Gather",
                                         NULL};
static const char *const layer_ops[] = {"Conv", "ConvTranspose", "Gemm", "MatMul",
                                        "LSTM", "GRU",           "RNN",  NULL};

static struct pith_graph *branch(struct pith_graph *graph, uint32_t node, size_t attribute)
{
    return pith_node_edit_graph(graph, node, pith_node_attribute_name(graph, node, attribute));
}

static bool has_branches(struct pith_graph *graph, uint32_t node)
{
    for (size_t k = 0; k < pith_node_attribute_count(graph, node); k++)
        if (branch(graph, node, k))
            return true;
    return false;
}

/* Whether all that use it here move it about, hold branches that capture it, or, in a branch, multiply
 * by it. */
static bool is_far(struct pith_graph *graph, uint32_t value, bool in_branch)
{
    size_t count;
    const uint32_t *users = pith_value_users(graph, value, &count);

    if (pith_value_use_count(graph, value) == 0 || pith_value_is_output(graph, value))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!node_is_one_of(graph, users[i], moving_ops) &&
            !(in_branch && node_is_one_of(graph, users[i], layer_ops)) &&
            !has_branches(graph, users[i]))
            return false;
    return true;
}

bool far_is_moved(struct pith_graph *graph, uint32_t value)
{
    return is_far(graph, value, false);
}

static int store(struct pith_graph *graph, uint32_t value, const struct weight_grid *grid,
                 struct pith_error *err)
{
    const struct pith_tensor *w = pith_value_constant(graph, value);
    size_t count = weight_scale_count(w, grid);
    float *scale = calloc(count, sizeof *scale);
    int32_t *zero = calloc(count, sizeof *zero);
    struct pith_tensor q = {0};
    double sqnr_db;
    int rc = scale && zero ? weight_scales(w, grid, scale) : -ENOMEM;

    if (rc == 0)
        rc = weights_to_integers(w, grid, scale, NULL, &q, &sqnr_db, err);
    if (rc == 0) {
        struct pith_quantization quantization = {.dtype = q.dtype,
                                                 .axis = grid->axis < 0 ? 0 : grid->axis,
                                                 .count = count,
                                                 .scale = scale,
                                                 .zero_point = zero};

        rc = pith_value_set_quantization(graph, value, &quantization);
    }
    if (rc == 0)
        rc = pith_value_take_constant(graph, value, &q);
    pith_tensor_free(&q);
    free(scale);
    free(zero);
    return rc;
}

static int write_one(struct plan *plan, struct pith_graph *graph, uint32_t value, bool in_branch,
                     struct pith_error *err)
{
    const struct pith_tensor *w = float_constant(graph, value);
    struct weight_grid grid = {.bits = 8,
                               .limit = plan->options.weight_limit,
                               .axis = plan->options.per_channel ? 0 : -1};
    struct weight_facts facts;
    const char *why;

    if (!w || w->shape.rank < 2 || pith_shape_elements(&w->shape) < LEAST_WEIGHTS ||
        !form_is_integer(rules_form(&plan->options.rules, pith_value_name(graph, value), &why)) ||
        !is_far(graph, value, in_branch))
        return 0;
    int rc = weights_look(w, grid.axis, &facts);

    /* Rows of fewer weights than a scale is worth. */
    if (rc < 0 || !facts.finite || facts.elements < 16 * (int64_t) facts.channels)
        return rc;
    rc = store(graph, value, &grid, err);
    plan->far_count += rc == 0;
    return rc;
}

static int write_level(struct plan *plan, struct pith_graph *graph, bool in_branch, struct pith_error *err)
{
    uint32_t values = pith_graph_value_limit(graph);
    int rc = 0;

    for (uint32_t value = 0; rc == 0 && value < values; value++)
        rc = write_one(plan, graph, value, in_branch, err);
    for (uint32_t node = 0; rc == 0 && node < pith_graph_node_limit(graph); node++)
        for (size_t k = 0; rc == 0 && k < pith_node_attribute_count(graph, node); k++) {
            struct pith_graph *inside = branch(graph, node, k);

            if (inside)
                rc = write_level(plan, inside, true, err);
        }
    return rc;
}

int write_far_weights(struct plan *plan, struct pith_graph *graph, struct pith_error *err)
{
    return write_level(plan, graph, false, err);
}
