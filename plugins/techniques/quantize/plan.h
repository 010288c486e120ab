/* What is quantized, and how: the layers with weights, and the activations that become integers
 * between them. The plan is made once for the most that the options allow; layers then move to
 * finer forms, and which activations are quantized follows from the layers' forms. */
#ifndef PITH_QUANTIZE_PLAN_H
#define PITH_QUANTIZE_PLAN_H

#include "plugins/techniques/quantize/range.h"
#include <pith/graph.h>

#define NO_GROUP UINT32_MAX

enum layer_form {                /* from coarse to fine */
                  LAYER_STATIC,  /* int8 weights, 8-bit activations */
                  LAYER_WEIGHTS, /* int8 weights, float activations */
                  LAYER_FLOAT16, /* weights stored as float16, computed as float32 */
                  LAYER_FLOAT,   /* as it was */
};
extern const char *const layer_form_names[];

struct layer { /* one constant of weights of one node */
    uint32_t node;
    uint32_t weight;     /* value */
    size_t weight_input; /* slot of node */
    int32_t axis;        /* of the output channel in the weight; -1: one scale for all */
    bool can_be_static;  /* Conv, ConvTranspose, Gemm, MatMul with the weight at slot 1 */
    enum layer_form form;
    const char *why;       /* why it is finer than asked for; NULL where it is as asked */
    double channel_ratio;  /* greatest over least channel extreme */
    double weight_sqnr_db; /* filled when written */
    double
        output_error_ratio; /* of the graph with only this layer static; negative: not measured */
};

struct group {      /* activations that share one grid */
    uint32_t value; /* the first of them */
    bool fixed;     /* the range follows from the operator (Sigmoid, Softmax, Tanh) */
    struct range range;
    struct histogram histogram;
};

struct plan {
    const struct pith_graph *graph; /* borrowed */
    struct layer *layers;
    size_t layer_count;
    uint32_t *group_of; /* a value: its group, or NO_GROUP */
    bool *quantized;    /* a value: whether it is quantized, given the layers' forms */
    struct group *groups;
    size_t group_count;
    uint32_t *observed; /* values that calibration looks at */
    size_t observed_count;
    int32_t weight_limit; /* greatest integer of int8 weights: 127, or less */
};

struct plan_options {
    bool static_activations;
    bool per_channel;
    enum layer_form weights; /* LAYER_WEIGHTS for int8, LAYER_FLOAT16 */
    int32_t weight_limit;    /* as in the plan */
    const char *const *keep; /* node names that stay float */
    size_t keep_count;
};

int plan_make(struct plan *out, const struct pith_graph *graph, const struct plan_options *options,
              struct pith_error *err) PITH_CHECKED;
/* Which activations are quantized, after layers changed their form. */
int plan_mark(struct plan *plan) PITH_CHECKED;
void plan_done(struct plan *plan);
size_t plan_count(const struct plan *plan, enum layer_form form);

#endif
