/* A technique that takes its process down: the worker's end must be one failed job and no more. */
#include <pith/technique.h>

#include <stdlib.h>

static int technique_apply(const struct pith_technique_job *job, const struct pith_graph *graph,
                           struct pith_graph **out, char **report_json, struct pith_error *err)
{
    (void) job, (void) graph, (void) out, (void) report_json, (void) err;
    abort();
}

static uint32_t technique_needs(const struct pith_option_value *values)
{
    (void) values;
    return 0;
}

static const struct pith_technique_ops ops = {
    .size_bytes = sizeof ops, .needs = technique_needs, .apply = technique_apply};

const struct pith_plugin pith_plugin = {
    .size_bytes = sizeof pith_plugin,
    .abi_major = PITH_ABI_MAJOR,
    .abi_minor = PITH_ABI_MINOR,
    .kind = PITH_KIND_TECHNIQUE,
    .name = "crashing",
    .version = "1.0",
    .summary = "ends its process",
    .ops = &ops,
};
