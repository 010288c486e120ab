/* Writes a plan into a clone of its graph. Bytes follow from the plan alone: constants are added in
 * the layers' order. */
#include "plugins/techniques/quantize/write.h"

#include "plugins/techniques/quantize/far.h"
#include "plugins/techniques/quantize/range.h"
#include "plugins/techniques/quantize/restore.h"
#include "plugins/techniques/quantize/weights.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BIAS_BITS     9 /* below the first one of the greatest bias */
#define BIAS_OWN_BITS 7 /* below its own first one, that each keeps */
#define GREATEST_BIAS 536870912.0 /* steps; half of what bias_to_int32 takes */

#define AS_IT_CAME (-2) /* in the place of an axis */

struct written {    /* what a weight became, so that two nodes that share it go on sharing it */
    uint32_t value; /* of the new constant; PITH_NO_VALUE: not yet */
    enum form form;
    int32_t axis;
    double sqnr_db;
};

struct writer {
    struct plan *plan;
    struct pith_graph *graph;
    struct written *written; /* a value of the plan's graph */
};

/* A constant of integers that stands for floats; they are taken over. */
static int add_quantized(struct pith_graph *graph, struct pith_tensor *q,
                         const struct pith_quantization *quantization, uint32_t *out,
                         struct pith_error *err)
{
    int rc = pith_graph_add_value(graph, NULL, PITH_FLOAT32, &q->shape, out, err);

    if (rc == 0)
        rc = pith_value_set_quantization(graph, *out, quantization);
    if (rc == 0)
        rc = pith_value_take_constant(graph, *out, q);
    return rc;
}

static const float *bias_shift_of(const struct layer *layer)
{
    return layer->shift_bits == form_weight_bits(layer->form) ? layer->bias_shift : NULL;
}

/* A channel of tiny weights and a large bias has a grid of products that the bias overflows in 32 bits.
 * Kept in floats it is no safer: runtimes that make integers of it don't look. The channel's scale grows
 * to where it fits, and then the weights are still finer than the last place of the bias. True: one grew. */
static bool make_room_for_bias(const struct plan *plan, const struct layer *layer, float *scale,
                               size_t count)
{
    const float *shift = bias_shift_of(layer);
    struct bias_home home;
    bool grew = false;

    if (!form_is_static(layer->form) || !layer_bias_home(plan->graph, layer, &home) ||
        home.node != layer->node || !home.bias || (count != 1 && home.channels % count))
        return false;
    double step = (double) plan_grid(plan, pith_node_input(plan->graph, layer->node, 0)).scale;

    for (size_t c = 0; c < home.channels; c++) {
        float *s = &scale[count == 1 ? 0 : c % count];
        double b = pith_tensor_get(home.bias, (int64_t) c) + (shift ? (double) shift[c] : 0);
        double least = fabs(b) / (step * GREATEST_BIAS);

        if ((double) *s < least && least < (double) FLT_MAX) {
            *s = (float) least;
            grew = true;
        }
    }
    return grew;
}

static int add_integers(struct writer *writer, const struct layer *layer, struct written *written,
                        struct pith_error *err)
{
    const struct pith_tensor *w = pith_value_constant(writer->plan->graph, layer->weight);
    const struct weight_grid grid = layer_grid(layer, &writer->plan->options);
    bool repaired = layer->levels && layer->repaired_bits == grid.bits;
    size_t count = weight_scale_count(w, &grid);
    float *scale = calloc(count, sizeof *scale);
    int32_t *zero = calloc(count, sizeof *zero);
    struct pith_tensor q = {0};
    int rc = !scale || !zero ? -ENOMEM : repaired ? 0 : weight_scales(w, &grid, scale);

    if (rc == 0 && repaired)
        memcpy(scale, layer->scale, count * sizeof *scale);
    if (rc == 0 && grid.block_size == 0 &&
        make_room_for_bias(writer->plan, layer, scale, count))
        repaired = false; /* its levels are of the scales before */
    if (rc == 0)
        rc = weights_to_integers(w, &grid, scale, repaired ? layer->levels : NULL, &q,
                                 &written->sqnr_db, err);
    if (rc == 0) {
        struct pith_quantization quantization = {
            .dtype = q.dtype,
            .axis = grid.axis < 0 ? 0 : grid.axis,
            .block_size = grid.block_size,
            .count = count,
            .scale = scale,
            .zero_point = zero,
        };

        rc = add_quantized(writer->graph, &q, &quantization, &written->value, err);
    }
    pith_tensor_free(&q);
    free(scale);
    free(zero);
    return rc;
}

static int add_halves(struct writer *writer, const struct layer *layer, struct written *written,
                      struct pith_error *err)
{
    const struct pith_tensor *w = pith_value_constant(writer->plan->graph, layer->weight);
    int32_t dtype = layer->form == FORM_BFLOAT16 ? PITH_BFLOAT16 : PITH_FLOAT16;
    struct pith_tensor half = {0};
    uint32_t stored, node;
    int rc = weights_to_halves(w, dtype, &half, &written->sqnr_db, err);

    if (rc == 0)
        rc = pith_graph_add_value(writer->graph, NULL, dtype, &half.shape, &stored, err);
    if (rc == 0)
        rc = pith_value_take_constant(writer->graph, stored, &half);
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

static int add_as_it_came(struct writer *writer, const struct layer *layer, struct written *written,
                          struct pith_error *err)
{
    const struct pith_graph *from = writer->plan->options.restored->from;
    struct pith_tensor q = {0};
    int rc = pith_tensor_copy(&q, pith_value_constant(from, layer->came), err);

    if (rc == 0)
        rc = add_quantized(writer->graph, &q, pith_value_quantization(from, layer->came),
                           &written->value, err);
    written->sqnr_db = sqnr_db(1, 0);
    pith_tensor_free(&q);
    return rc;
}

static int write_weight(struct writer *writer, struct layer *layer, struct pith_error *err)
{
    struct written *written = &writer->written[layer->weight];
    enum form form = form_without_activations(layer->form);
    /* Halves, and integers on one scale, are the same along every axis. */
    int32_t axis = layer->as_it_came       ? AS_IT_CAME
                   : form_is_integer(form) ? layer_grid(layer, &writer->plan->options).axis
                                           : -1;
    int rc = 0;

    if (written->value == PITH_NO_VALUE || written->form != form || written->axis != axis) {
        *written = (struct written){.value = PITH_NO_VALUE, .form = form, .axis = axis};
        rc = layer->as_it_came       ? add_as_it_came(writer, layer, written, err)
             : form_is_integer(form) ? add_integers(writer, layer, written, err)
                                     : add_halves(writer, layer, written, err);
    }
    if (rc == -ERANGE) {
        layer->form = FORM_FLOAT;
        layer->why = "its weights are too large or too small for float16";
        *written = (struct written){.value = PITH_NO_VALUE};
        return 0;
    }
    if (rc < 0)
        return rc;
    layer->weight_sqnr_db = written->sqnr_db;
    return pith_node_set_input(writer->graph, layer->node, layer->weight_input, written->value);
}

/* The bias of a static layer lies on the grid of the products, so that the sum needs no conversion.
 * 1: written; 0: it can't be, and stays float, which is right everywhere and slower in places. */
static int write_integer_bias(const struct plan *plan, struct pith_graph *graph,
                              const struct layer *layer, const struct pith_tensor *b,
                              const float *shift, struct pith_error *err)
{
    const struct pith_quantization *w =
        pith_value_quantization(graph, pith_node_input(graph, layer->node, layer->weight_input));
    struct grid input = plan_grid(plan, pith_node_input(plan->graph, layer->node, 0));
    size_t count = (size_t) b->shape.dim[0];
    struct pith_tensor q = {0};
    uint32_t made;

    if (count == 0 || w->block_size > 0 || (w->count != 1 && count % w->count))
        return 0;
    float *scale = calloc(count, sizeof *scale);
    int32_t *zero = calloc(count, sizeof *zero);
    int rc = !scale || !zero
                 ? -ENOMEM
                 : bias_to_int32(b, shift, input.scale, w->scale, w->count, &q, scale, err);

    if (rc == 0) {
        struct pith_quantization quantization = {.dtype = PITH_INT32,
                                                 .count = w->count == 1 ? 1 : count,
                                                 .scale = scale,
                                                 .zero_point = zero};

        rc = add_quantized(graph, &q, &quantization, &made, err);
        if (rc == 0)
            rc = pith_node_set_input(graph, layer->node, 2, made);
        rc = rc < 0 ? rc : 1;
    }
    pith_tensor_free(&q);
    free(scale);
    free(zero);
    return rc == -ERANGE ? 0 : rc;
}

/* Biases beside 4-bit weights: what lies nine bits below the greatest is far below what the weights err by,
 * and made 8 % of a small file. */
static void round_biases(float *bias, int64_t count)
{
    float most = 0;

    for (int64_t i = 0; i < count; i++)
        most = fmaxf(most, fabsf(bias[i]));
    if (!(most > FLT_MIN) || most > FLT_MAX)
        return;
    for (int64_t i = 0; i < count; i++) {
        if (!(fabsf(bias[i]) >= FLT_MIN)) /* NaN too */
            continue;
        int of_greatest = ilogbf(most) - BIAS_BITS, own = ilogbf(bias[i]) - BIAS_OWN_BITS;
        int step = own < of_greatest ? own : of_greatest;

        bias[i] = ldexpf(nearbyintf(ldexpf(bias[i], -step)), step);
    }
}

/* b, or zeros where there is none, plus the shift of a bias correction, where there is one. */
static int write_float_bias(struct pith_graph *graph, const struct layer *layer,
                            const struct bias_home *home, const float *shift,
                            struct pith_error *err)
{
    struct pith_shape shape = pith_shape_of(1, (int64_t[]){(int64_t) home->channels});
    struct pith_tensor sum = {0};
    uint32_t made;
    int rc = pith_tensor_alloc(&sum, PITH_FLOAT32, &shape, err);

    for (int64_t i = 0; rc == 0 && i < shape.dim[0]; i++)
        ((float *) sum.data)[i] =
            (float) ((home->bias ? pith_tensor_get(home->bias, i) : 0) + (shift ? (double) shift[i] : 0));
    if (rc == 0 && form_weight_bits(layer->form) == 4)
        round_biases(sum.data, shape.dim[0]);
    if (rc == 0)
        rc = pith_graph_add_value(graph, NULL, PITH_FLOAT32, &shape, &made, err);
    if (rc == 0)
        rc = pith_value_take_constant(graph, made, &sum);
    if (rc == 0)
        rc = pith_node_set_input(graph, home->node, home->slot, made);
    pith_tensor_free(&sum);
    return rc;
}

int write_layer_bias(const struct plan *plan, struct pith_graph *graph, const struct layer *layer,
                     struct pith_error *err)
{
    const float *shift = bias_shift_of(layer);
    struct bias_home home;

    if (!layer_bias_home(plan->graph, layer, &home))
        return 0;
    /* 4-bit weights go with a float bias: no runtime has integer kernels that want it otherwise,
     * and its scales would take as much room again. */
    if (form_is_static(layer->form) && form_weight_bits(layer->form) == 8 &&
        home.node == layer->node && home.bias) {
        int rc = write_integer_bias(plan, graph, layer, home.bias, shift, err);

        if (rc != 0)
            return rc < 0 ? rc : 0;
    }
    bool rounded = form_weight_bits(layer->form) == 4 && !layer->as_it_came && home.bias && home.channels > 0;

    return shift || rounded ? write_float_bias(graph, layer, &home, shift, err) : 0;
}

static int write_activations(struct writer *writer)
{
    const struct plan *plan = writer->plan;
    uint32_t limit = pith_graph_value_limit(plan->graph);

    for (uint32_t value = 0; value < limit; value++) {
        if (!plan->bits[value])
            continue;
        struct grid grid = plan_grid(plan, value);
        struct pith_quantization quantization = {.dtype = plan_dtype(plan, value),
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
        int rc = layer->form == FORM_FLOAT ? 0 : write_weight(writer, layer, err);

        if (rc == 0 && form_is_integer(layer->form))
            rc = write_layer_bias(plan, writer->graph, layer, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* What a layer's weight is used for besides (an embedding that is turned into the last layer's weights, a
 * branch that captures it) takes what was written for the layer, so that it is in the file once. */
static int share_written(struct writer *writer)
{
    uint32_t limit = pith_graph_value_limit(writer->plan->graph);
    int rc = 0;

    for (uint32_t value = 0; rc == 0 && value < limit; value++)
        if (writer->written[value].value != PITH_NO_VALUE && far_is_moved(writer->graph, value))
            rc = pith_graph_replace_value(writer->graph, value, writer->written[value].value);
    return rc;
}

int write_graph(struct plan *plan, struct pith_graph **out, struct pith_error *err)
{
    struct writer writer = {.plan = plan};
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
        rc = share_written(&writer);
    plan->far_count = 0;
    if (rc == 0 && !plan->far_stay)
        rc = write_far_weights(plan, writer.graph, err);
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
