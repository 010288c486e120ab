/* Which layers hurt, and the finer forms that they move to. */
#ifndef PITH_QUANTIZE_SENSITIVITY_H
#define PITH_QUANTIZE_SENSITIVITY_H

#include "plugins/techniques/quantize/calibrate.h"

struct sensitivity {
    const struct pith_host *host;
    const struct reference *reference;
    double max_error_ratio; /* that the graph's outputs may have */
    unsigned passes_left;   /* runs over the check samples that may still be made */
    double error_ratio;     /* out: of the last graph that was kept */
};
/* Moves layers of the plan to finer forms until the outputs' error is at most max_error_ratio: rung
 * by rung, the worst layers first, twice as many each time and then back by bisection. *out: the
 * graph of the plan as it then is. What could not be reached is no failure: error_ratio tells. */
int sensitivity_settle(struct sensitivity *sensitivity, struct plan *plan, struct pith_graph **out,
                       struct pith_error *err) PITH_CHECKED;

#endif
