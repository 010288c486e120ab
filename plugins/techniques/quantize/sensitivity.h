/* Which layers hurt, and the finer forms that they move to. */
#ifndef PITH_QUANTIZE_SENSITIVITY_H
#define PITH_QUANTIZE_SENSITIVITY_H

#include "plugins/techniques/quantize/calibrate.h"

struct sensitivity {
    const struct pith_host *host;
    const struct reference *reference;
    double max_error_ratio; /* that the graph's outputs may have */
    unsigned passes_left;   /* runs over the check samples that may still be made */
    /* Whether biases are corrected: then anew once layers have moved, as each makes up for those before it. */
    bool corrects_biases;
    uint64_t samples; /* [0, samples) to correct them by */
    bool biases_are_old;    /* they were too dear to correct in each trial */
    double error_ratio;     /* out: of the last graph that was kept */
    /* While a budget of accuracy is searched for. */
    bool by_accuracy;
    struct pith_evaluation float_graph; /* what the graph is held to */
};
/* Moves layers of the plan to finer forms until the outputs' error is at most max_error_ratio: rung
 * by rung, the worst layers first, twice as many each time and then back by bisection. *out: the
 * graph of the plan as it then is. What could not be reached is no failure: error_ratio tells. */
int sensitivity_settle(struct sensitivity *sensitivity, struct plan *plan, struct pith_graph **out,
                       struct pith_error *err) PITH_CHECKED;

struct kept_budget { /* what became of a budget in points */
    bool asked;
    double points, drop_points; /* drop: of the graph as it is, on the host's validation samples */
    size_t moved;               /* layers that went finer for it */
};
/* Goes on from *graph, of the plan: while it loses more points than the budget allows, by the host's
 * `evaluate`, layers move finer the same way. Decisions that differ stand in where nothing is
 * labelled. original: the float graph. A host that can't evaluate leaves all as it is. */
int sensitivity_keep_budget(struct sensitivity *sensitivity, struct plan *plan, double points,
                            const struct pith_graph *original, struct pith_graph **graph,
                            struct kept_budget *out, struct pith_error *err) PITH_CHECKED;

#endif
