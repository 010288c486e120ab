/* Writes a plan into a clone of its graph. Bytes follow from the plan alone: constants are added in
 * the layers' order. */
#include "plugins/techniques/quantize/write.h"

#include "plugins/techniques/quantize/weights.h"

#include <errno.h>
#include <stdlib.h>

struct written {    /* what a weight became, so that two nodes that share it go on sharing it */
    uint32_t value; /* of the new constant; PITH_NO_VALUE: not yet */
    enum layer_form form;
    int32_t axis;
    double sqnr_db;
};

struct writer {
    struct plan *plan;
    struct pith_graph *graph;
    int32_t dtype;
    struct written *written; /* a value of the plan's graph */
};

static enum layer_form stored_form(enum layer_form form)
{
    return form == LAYER_STATIC ? LAYER_WEIGHTS : form;
}

/* A constant of integers that stands for floats. */
static int add_quantized(struct writer *writer, const struct pith_tensor *q,
                         const struct pith_quantization *quantization, uint32_t *out,
                         struct pith_error *err)
{
    int rc = pith_graph_add_value(writer->graph, NULL, PITH_FLOAT32, &q->shape, out, err);

    if (rc == 0)
        rc = pith_value_set_quantization(writer->graph, *out, quantization);
    if (rc == 0)
        rc = pith_value_set_constant(writer->graph, *out, q);
    return rc;
}

static int add_int8(struct writer *writer, const struct layer *layer, struct written *written,
                    struct pith_error *err)
{
    const struct pith_tensor *w = pith_value_constant(writer->plan->graph, layer->weight);
    size_t channels = layer->axis < 0 ? 1 : (size_t) w->shape.dim[layer->axis];
    float *scale = calloc(channels, sizeof *scale);
    int32_t *zero = calloc(channels, sizeof *zero);
    struct pith_tensor q = {0};
    int rc = scale && zero ? 0 : -ENOMEM;

    if (rc == 0)
        rc = weights_to_int8(w, layer->axis, writer->plan->weight_limit, &q, scale,
                             &written->sqnr_db, err);
    if (rc == 0) {
        struct pith_quantization quantization = {
            .dtype = PITH_INT8,
            .axis = layer->axis < 0 ? 0 : layer->axis,
            .count = channels,
            .scale = scale,
            .zero_point = zero,
        };

        rc = add_quantized(writer, &q, &quantization, &written->value, err);
    }
    pith_tensor_free(&q);
    free(scale);
    free(zero);
    return rc;
}

static int add_float16(struct writer *writer, const struct layer *layer, struct written *written,
                       struct pith_error *err)
{
    const struct pith_tensor *w = pith_value_constant(writer->plan->graph, layer->weight);
    struct pith_tensor half = {0};
    uint32_t stored, node;
    int rc = weights_to_float16(w, &half, &written->sqnr_db, err);

    if (rc == 0)
        rc = pith_graph_add_constant(writer->graph, NULL, &half, &stored, err);
    if (rc == 0)
        rc = pith_graph_add_value(writer->graph, NULL, PITH_FLOAT32, &w->shape, &written->value,
                                  err);
    if (rc == 0)
        rc = pith_graph_add_node(writer->graph, "", "Cast", "", &stored, 1, &written->value, 1,
                                 &node, err);
    if (rc == 0)
        rc = pith_node_set_int(writer->graph, node, "to", PITH_FLOAT32);
    pith_tensor_free(&half);
    return rc;
}

static int write_weight(struct writer *writer, struct layer *layer, struct pith_error *err)
{
    struct written *written = &writer->written[layer->weight];
    enum layer_form form = stored_form(layer->form);
    int rc = 0;

    if (written->value == PITH_NO_VALUE || written->form != form || written->axis != layer->axis) {
        *written = (struct written){.value = PITH_NO_VALUE, .form = form, .axis = layer->axis};
        rc = form == LAYER_WEIGHTS ? add_int8(writer, layer, written, err)
                                   : add_float16(writer, layer, written, err);
    }
    if (rc == -ERANGE) {
        layer->form = LAYER_FLOAT;
        layer->why = "a weight is past the greatest float16";
        *written = (struct written){.value = PITH_NO_VALUE};
        return 0;
    }
    if (rc < 0)
        return rc;
    layer->weight_sqnr_db = written->sqnr_db;
    return pith_node_set_input(writer->graph, layer->node, layer->weight_input, written->value);
}

/* The bias of a static layer lies on the grid of the products, so that the sum needs no conversion.
 */
static int write_bias(struct writer *writer, const struct layer *layer, const struct grid *input,
                      struct pith_error *err)
{
    const struct pith_graph *from = writer->plan->graph;
    uint32_t value = pith_node_input(from, layer->node, 2),
             weight = pith_node_input(writer->graph, layer->node, 1);
    const struct pith_tensor *b = value == PITH_NO_VALUE ? NULL : pith_value_constant(from, value);
    const struct pith_quantization *w = pith_value_quantization(writer->graph, weight);
    struct pith_tensor q = {0};
    uint32_t made;

    if (!b || b->dtype != PITH_FLOAT32 || b->shape.rank != 1 ||
        pith_value_quantization(from, value) ||
        pith_node_float(from, layer->node, "beta", 1) != 1.0f ||
        (w->count != 1 && b->shape.dim[0] % (int64_t) w->count))
        return 0;
    size_t count = (size_t) b->shape.dim[0];
    float *scale = calloc(count + 1, sizeof *scale);
    int32_t *zero = calloc(count + 1, sizeof *zero);
    int rc = scale && zero ? bias_to_int32(b, input->scale, w->scale, w->count, &q, scale, err)
                           : -ENOMEM;

    if (rc == 0 && count > 0) {
        struct pith_quantization quantization = {.dtype = PITH_INT32,
                                                 .count = w->count == 1 ? 1 : count,
                                                 .scale = scale,
                                                 .zero_point = zero};

        rc = add_quantized(writer, &q, &quantization, &made, err);
        if (rc == 0)
            rc = pith_node_set_input(writer->graph, layer->node, 2, made);
    }
    pith_tensor_free(&q);
    free(scale);
    free(zero);
    return rc == -ERANGE ? 0
                         : rc; /* it stays float, which is right everywhere and slower in places */
}

static int write_activations(struct writer *writer)
{
    const struct plan *plan = writer->plan;
    uint32_t limit = pith_graph_value_limit(plan->graph);

    for (uint32_t value = 0; value < limit; value++) {
        if (!plan->quantized[value])
            continue;
        struct grid grid = grid_of_range(plan->groups[plan->group_of[value]].range,
                                         writer->dtype == PITH_INT8 ? -128 : 0);
        struct pith_quantization quantization = {.dtype = writer->dtype,
                                                 .count = 1,
                                                 .scale = &grid.scale,
                                                 .zero_point = &grid.zero_point};
        int rc = pith_value_set_quantization(writer->graph, value, &quantization);

        if (rc < 0)
            return rc;
    }
    return 0;
}

static int write_layers(struct writer *writer, struct pith_error *err)
{
    struct plan *plan = writer->plan;

    for (size_t i = 0; i < plan->layer_count; i++) {
        struct layer *layer = &plan->layers[i];
        int rc = layer->form == LAYER_FLOAT ? 0 : write_weight(writer, layer, err);

        if (rc == 0 && layer->form == LAYER_STATIC) {
            uint32_t input = pith_node_input(plan->graph, layer->node, 0);
            struct grid grid = grid_of_range(plan->groups[plan->group_of[input]].range, 0);

            rc = write_bias(writer, layer, &grid, err);
        }
        if (rc < 0)
            return rc;
    }
    return 0;
}

int write_graph(struct plan *plan, int32_t dtype, struct pith_graph **out, struct pith_error *err)
{
    struct writer writer = {.plan = plan, .dtype = dtype};
    uint32_t limit = pith_graph_value_limit(plan->graph);
    int rc = pith_graph_clone(plan->graph, &writer.graph, err);

    if (rc < 0)
        return rc;
    writer.written = calloc((size_t) limit + 1, sizeof *writer.written);
    if (!writer.written) {
        rc = -ENOMEM;
        goto done;
    }
    for (uint32_t value = 0; value < limit; value++)
        writer.written[value].value = PITH_NO_VALUE;
    rc = write_layers(&writer, err);
    if (rc == 0)
        rc = write_activations(&writer);
    if (rc == 0)
        rc = pith_graph_prune_dead(writer.graph);
    if (rc == 0)
        rc = pith_graph_validate(writer.graph, err);
    if (rc == 0) {
        *out = writer.graph;
        writer.graph = NULL;
    }
done:
    pith_graph_free(writer.graph);
    free(writer.written);
    return rc;
}
