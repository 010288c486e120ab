/* What a technique gets from us: calibration samples of its graph, seen through an engine. */
#ifndef PITH_COMPRESS_HOST_H
#define PITH_COMPRESS_HOST_H

#include "libpith/compress/samples.h"
#include <pith/engine.h>
#include <pith/plugin.h>

struct pith_technique_host {
    struct pith_host host;                /* what is handed to the technique; host.context is this struct */
    const struct pith_engine_ops *engine; /* runs graphs for observe */
    const struct pith_option_value *engine_options;
    uint32_t threads;
    const struct pith_samples *samples;   /* NULL: none */
    /* Of whoever runs the technique; each may be NULL. */
    void *user;
    void (*progress)(void *user, double done_ratio);
    int (*cancelled)(void *user);
    int (*evaluate)(void *user, const struct pith_graph *graph, struct pith_evaluation *out,
                    struct pith_error *err); /* NULL: not offered */
};
/* Fills host; the other members are the caller's: evaluate is set before, the others before or after. */
void pith_technique_host_init(struct pith_technique_host *host);

#endif
