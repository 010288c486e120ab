/* Choosing the integers of weights by what the layers' outputs become, not by what is nearest. */
#ifndef PITH_QUANTIZE_ROUNDING_H
#define PITH_QUANTIZE_ROUNDING_H

#include "plugins/techniques/quantize/plan.h"
#include <pith/plugin.h>

enum rounding_method { ROUNDING_AUTO, ROUNDING_NEAREST, ROUNDING_GPTQ, ROUNDING_ADAROUND };
extern const char *const rounding_method_names[]; /* ends with NULL */

/* Whether the method changes anything of some layer. */
bool rounding_applies(const struct plan *plan, enum rounding_method method);
/* Fills the layers' levels and scales. Inputs are those of the plan's float graph, samples
 * [0, count); Gram matrices of as many layers as fit a bounded memory are gathered in one pass.
 * Layers that are no product of matrices, share their weights, or get inputs that are not finite,
 * stay with the nearest; so do, with auto, those of 8-bit weights that would take long. -ECANCELED where the host says so. */
int round_layers(struct plan *plan, const struct pith_host *host, uint64_t count,
                 enum rounding_method method, struct pith_error *err) PITH_CHECKED;

#endif
