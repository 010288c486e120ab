/* scale * (q - zero_point), one tensor at a time; what takes part in a quantized chain already
 * stays. */
#include "plugins/techniques/quantize/restore.h"

#include "plugins/techniques/quantize/layer.h"

#include <errno.h>
#include <stdlib.h>

static bool is_restorable(const struct pith_graph *graph, uint32_t node, const struct rules *rules)
{
    static const char *const ops[] = {"Conv", "ConvTranspose", "Gemm", "MatMul", NULL};
    const struct layer layer = {.node = node};
    uint32_t x = pith_node_input(graph, node, 0), w = pith_node_input(graph, node, 1);
    const char *why;

    return node_is_one_of(graph, node, ops) && x != PITH_NO_VALUE && w != PITH_NO_VALUE &&
           !pith_value_quantization(graph, x) && !pith_value_constant(graph, x) &&
           pith_value_quantization(graph, w) && pith_value_constant(graph, w) &&
           pith_value_dtype(graph, w) == PITH_FLOAT32 &&
           rules_form(rules, layer_name(graph, &layer), &why) != FORM_FLOAT;
}

/* Of every node that takes it as its weights. */
static int note(struct restored *restored, const struct pith_graph *graph, uint32_t came, uint32_t made)
{
    size_t count;
    const uint32_t *users = pith_value_users(graph, made, &count);
    struct restored_weight *more =
        realloc(restored->weights, (restored->count + count + 1) * sizeof *more);

    if (!more)
        return -ENOMEM;
    restored->weights = more;
    for (size_t i = 0; i < count; i++)
        if (pith_node_input(graph, users[i], 1) == made)
            more[restored->count++] = (struct restored_weight){users[i], came, made};
    restored->constants++;
    return 0;
}

void restored_done(struct restored *restored)
{
    free(restored->weights);
    *restored = (struct restored){0};
}

static int restore(struct pith_graph *graph, uint32_t value, struct restored *out,
                   struct pith_error *err)
{
    const struct pith_tensor *q = pith_value_constant(graph, value);
    const struct pith_quantization *from = pith_value_quantization(graph, value);
    struct weight_grid grid = {.axis = from->count == 1 && from->block_size == 0 ? -1 : from->axis,
                               .block_size = from->block_size};
    struct pith_tensor w = {0};
    uint32_t made;
    int rc = pith_tensor_alloc(&w, PITH_FLOAT32, &q->shape, err);

    for (int64_t i = 0; rc == 0 && i < pith_shape_elements(&q->shape); i++) {
        size_t of = weight_scale_index(q, &grid, i);

        ((float *) w.data)[i] =
            (float) (pith_tensor_get_int(q, i) - from->zero_point[of]) * from->scale[of];
    }
    if (rc == 0)
        rc = pith_graph_add_value(graph, NULL, PITH_FLOAT32, &q->shape, &made, err);
    if (rc == 0)
        rc = pith_value_take_constant(graph, made, &w);
    if (rc == 0)
        rc = pith_graph_replace_value(graph, value, made);
    if (rc == 0)
        rc = note(out, graph, value, made);
    pith_tensor_free(&w);
    return rc;
}

int restore_weights(struct pith_graph *graph, const struct pith_graph *from, const struct rules *rules,
                    struct restored *out, struct pith_error *err)
{
    uint32_t limit = pith_graph_node_limit(graph);

    *out = (struct restored){.from = from};
    for (uint32_t node = 0; node < limit; node++) {
        if (!pith_node_exists(graph, node) || !is_restorable(graph, node, rules))
            continue;
        int rc = restore(graph, pith_node_input(graph, node, 1), out, err);

        if (rc < 0)
            return rc;
    }
    return 0;
}
