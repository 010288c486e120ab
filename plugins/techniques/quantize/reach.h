/* How far what flows between two layers reaches, by channel. */
#ifndef PITH_QUANTIZE_REACH_H
#define PITH_QUANTIZE_REACH_H

#include "plugins/techniques/quantize/chain.h"
#include <pith/plugin.h>

struct reach {
    double *most; /* own; greatest magnitude by channel over the samples; NULL: nothing was seen */
};
/* One entry a chain, of the input of its second layer, over the samples [0, count). *out: malloc'ed,
 * freed with reach_free. */
int reach_observe(const struct pith_graph *graph, const struct layer *layers, const struct chain *chains,
                  size_t chain_count, const struct pith_host *host, uint64_t count, struct reach **out,
                  struct pith_error *err) PITH_CHECKED;
void reach_free(struct reach *reach, size_t chain_count);

#endif
