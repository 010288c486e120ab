/* One pass over the samples shows the inputs of all second layers. */
#include "plugins/techniques/quantize/reach.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

struct looking {
    const struct chain *chains;
    struct reach *reach;
};

static int look(void *user, size_t index, uint64_t sample, const struct pith_tensor *tensor)
{
    const struct looking *looking = user;
    const struct chain *chain = &looking->chains[index];
    const float *x = tensor->data;
    int64_t all = pith_shape_elements(&tensor->shape), inner = 1, wide;

    (void) sample;
    if (tensor->dtype != PITH_FLOAT32 || tensor->shape.rank < 2)
        return 0;
    wide = tensor->shape.dim[1];
    for (uint32_t i = 2; i < tensor->shape.rank; i++)
        inner *= tensor->shape.dim[i];
    /* Flattened, the values of a channel lie side by side. */
    if (wide != chain->channels && tensor->shape.rank == 2 && wide == chain->channels * chain->taps)
        inner = chain->taps;
    else if (wide != chain->channels)
        return 0;
    for (int64_t at = 0; at < all; at++) {
        double *most = &looking->reach[index].most[at / inner % chain->channels];

        *most = fmax(*most, (double) fabsf(x[at]));
    }
    return 0;
}

int reach_observe(const struct pith_graph *graph, const struct layer *layers, const struct chain *chains,
                  size_t chain_count, const struct pith_host *host, uint64_t count, struct reach **out,
                  struct pith_error *err)
{
    struct reach *reach = calloc(chain_count + 1, sizeof *reach);
    uint32_t *values = calloc(chain_count + 1, sizeof *values);
    struct looking looking = {chains, reach};
    int rc = reach && values ? 0 : -ENOMEM;

    for (size_t i = 0; rc == 0 && i < chain_count; i++) {
        reach[i].most = calloc((size_t) chains[i].channels + 1, sizeof *reach[i].most);
        values[i] = pith_node_input(graph, layers[chains[i].second].node, 0);
        rc = reach[i].most ? 0 : -ENOMEM;
    }
    if (rc == 0 && chain_count > 0 && count > 0 && host->observe)
        rc = host->observe(host->context, graph, 0, count, values, chain_count, look, &looking, err);
    free(values);
    if (rc < 0) {
        reach_free(reach, chain_count);
        return rc;
    }
    *out = reach;
    return 0;
}

void reach_free(struct reach *reach, size_t chain_count)
{
    for (size_t i = 0; i < chain_count && reach; i++)
        free(reach[i].most);
    free(reach);
}
