/* What is quantized, and how: the layers with weights, and the activations that become integers
 * between them. The plan is made once for the most that the options allow; layers then move to
 * finer forms, and which activations are quantized follows from the layers' forms. */
#ifndef PITH_QUANTIZE_PLAN_H
#define PITH_QUANTIZE_PLAN_H

#include "plugins/techniques/quantize/lattice.h"
#include "plugins/techniques/quantize/layer.h"
#include "plugins/techniques/quantize/range.h"
#include "plugins/techniques/quantize/unseen.h"

#define NO_GROUP UINT32_MAX

struct group {      /* activations that share one grid */
    uint32_t value; /* the first of them */
    bool fixed;     /* the range follows from the operator (Sigmoid, Softmax, Tanh) */
    uint8_t bits;   /* 8 or 16; 0: no layer's form wants it quantized */
    double floor; /* of a single value: nothing below it makes a difference; 0 at most; else -INFINITY */
    struct range limits; /* what those that make its values keep them between */
    struct range range;
    struct range wide; /* of a 16-bit grid */
    struct histogram histogram;
    struct lattice lattice;
    struct unseen unseen;
};

struct plan {
    const struct pith_graph *graph; /* borrowed */
    struct layer_options options;   /* strings are borrowed */
    int32_t dtype;                  /* of 8-bit activations: PITH_INT8 or PITH_UINT8 */
    struct layer *layers;
    size_t layer_count;
    uint32_t *group_of; /* a value: its group, or NO_GROUP */
    uint8_t *bits; /* a value: 8 or 16 where it is quantized, given the layers' forms; else 0 */
    struct group *groups;
    size_t group_count;
    bool far_stay;    /* weights that no layer here holds (see far.h) stay as they are */
    size_t far_count; /* filled when written: how many of them became integers */
    uint32_t *observed; /* values that calibration looks at */
    size_t observed_count;
};

int plan_make(struct plan *out, const struct pith_graph *graph, const struct layer_options *options,
              int32_t dtype, struct pith_error *err) PITH_CHECKED;
/* Which activations are quantized, after layers changed their form. */
int plan_mark(struct plan *plan) PITH_CHECKED;
void plan_done(struct plan *plan);
size_t plan_count(const struct plan *plan, enum form form);
/* The layers' forms as they are now (layer_form); malloc'ed, NULL: no memory. */
enum form *plan_forms(const struct plan *plan);
/* Type and grid of an activation that is quantized. */
int32_t plan_dtype(const struct plan *plan, uint32_t value);
struct grid plan_grid(const struct plan *plan, uint32_t value);

#endif
