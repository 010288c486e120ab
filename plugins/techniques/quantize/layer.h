/* Layers: the constants of weights of a graph, where their channels lie, and what form each can
 * have. */
#ifndef PITH_QUANTIZE_LAYER_H
#define PITH_QUANTIZE_LAYER_H

#include "plugins/techniques/quantize/form.h"
#include "plugins/techniques/quantize/weights.h"
#include <pith/graph.h>

struct layer { /* one constant of weights of one node */
    uint32_t node;
    uint32_t weight;      /* value */
    size_t weight_input;  /* slot of node */
    int32_t channel_axis; /* of the output channel in the weight */
    int32_t sum_axis;     /* of what is summed over; blocks lie along it */
    int64_t sum_length;   /* weights along it */
    bool can_be_static;   /* Conv, ConvTranspose, Gemm, MatMul with the weight at slot 1 */
    enum form form;
    const char *why;    /* why it is finer than asked for; NULL where it is as asked */
    unsigned came_bits; /* of the integers that its weights came as; 0: they came as floats */
    uint32_t came;      /* those integers, in the graph that was given; PITH_NO_VALUE where the weights changed since */
    bool as_it_came;    /* they stay as they are, as `form` names them: another form would be larger */
    double channel_ratio;  /* greatest over least channel extreme */
    double weight_sqnr_db; /* filled when written */
    double
        output_error_ratio; /* of the graph with only this layer static; negative: not measured */
    /* What repairs found; each counts only while the weights have as many bits as then. */
    unsigned repaired_bits; /* of the levels; 0: none */
    unsigned shift_bits;    /* of the weights that bias_shift goes with */
    int8_t *levels;         /* own: chosen integers, one a weight; NULL: the nearest */
    float *scale;           /* own: their scales */
    float *bias_shift;      /* own: added to the bias, one a channel; NULL: none */
    size_t channels;        /* entries of bias_shift */
    double rounding_gain;   /* squared output error of nearest over that of `levels`; 0: none */
};

struct restored;

struct layer_options {
    struct rules rules;
    const struct restored *restored; /* what weights came as (restore.h); NULL: all as floats */
    bool per_channel;
    int64_t block_size;   /* of 4-bit weights, where a sum is as long; 0: a scale a channel */
    int32_t weight_limit; /* greatest integer of int8 weights: 127, or less */
};

/* The node's name, or where it has none the name of what it makes. */
const char *layer_name(const struct pith_graph *graph, const struct layer *layer);
/* All layers in the graph's order. *out: malloc'ed; freed with layers_free. -ENOMEM. */
int layers_find(const struct pith_graph *graph, const struct layer_options *options,
                struct layer **out, size_t *out_count) PITH_CHECKED;
void layers_free(struct layer *layers, size_t count);
/* Gives the layer that form; or, where its weights came as fewer bits, the form that they came in. */
void layer_set_form(struct layer *layer, enum form form);
/* FORM_FLOAT, which is as it was, where its weights stay as they came. */
enum form layer_form(const struct layer *layer);
/* Drops what repairs found. */
void layer_forget_repairs(struct layer *layer);
/* Where a constant may be added to each channel of what the layer makes. */
struct bias_home {
    uint32_t node; /* the layer's, or the Add that alone uses a MatMul */
    size_t slot;
    const struct pith_tensor *bias; /* float32, an entry a channel; NULL: none yet */
    size_t channels;
};
bool layer_bias_home(const struct pith_graph *graph, const struct layer *layer,
                     struct bias_home *out);
struct weight_grid layer_grid(const struct layer *layer, const struct layer_options *options);
/* Whether the node is this operator of ONNX's own. */
bool node_is(const struct pith_graph *graph, uint32_t node, const char *op);
bool node_is_one_of(const struct pith_graph *graph, uint32_t node, const char *const *ops);
/* The constant float32 behind a node's input, unquantized; NULL where there is none. */
const struct pith_tensor *float_constant(const struct pith_graph *graph, uint32_t value);

#endif
