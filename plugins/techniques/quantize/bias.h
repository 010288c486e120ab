/* Bias correction: rounding weights shifts the mean of what a layer makes, and a bias can take that
 * back for nothing. */
#ifndef PITH_QUANTIZE_BIAS_H
#define PITH_QUANTIZE_BIAS_H

#include "plugins/techniques/quantize/plan.h"
#include <pith/plugin.h>

/* Fills the layers' bias_shift. The empirical form of Nagel et al. 2019, arXiv:1906.04721, section
 * 4.2.1 and appendix D: from the input on, layer by layer, the mean of each output channel of the
 * quantized graph so far is brought to that of the float graph. Each layer is seen through the
 * graph cut at it; of the samples [0, count) as many are used as a bounded number of
 * multiplications allows. Layers that have no place for a bias, or of whose outputs the channel is
 * unknown, stay as they are. again: for one trial of many; with more than a small part of those
 * multiplications to do, nothing is done. *out_done: whether anything was; NULL is fine. */
int correct_biases(struct plan *plan, const struct pith_host *host, uint64_t count, bool again,
                   bool *out_done, struct pith_error *err) PITH_CHECKED;

#endif
