/* A technique to copy: rounds float32 weights to what bfloat16 can hold, so that half of their bits
 * are zero and the file compresses to about half. The graph stays float32 and runs everywhere.
 * Measures what it did to the outputs where the host offers that, and leaves to the host to judge
 * whether the accuracy budget is kept. */
#include <pith/technique.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPTION_MIN_ELEMENTS }; /* in the order of the table below */

static const struct pith_option options[] = {
    {"min_elements", PITH_OPTION_INT, 1, 1e9, "64", NULL, "smaller constants are left as they are"},
    {0},
};

static uint32_t technique_needs(const struct pith_option_value *values)
{
    (void) values;
    return 0; /* neither samples nor labels */
}

/* Rounds one constant. *out_changed: elements that are another value now. */
static int round_constant(struct pith_graph *graph, uint32_t value, uint64_t *out_changed,
                          struct pith_error *err)
{
    const struct pith_tensor *constant = pith_value_constant(graph, value);
    struct pith_tensor rounded;
    float *elements;
    int rc = pith_tensor_copy(&rounded, constant, err); /* ours: aligned, and not the mapped file */

    if (rc < 0)
        return rc;
    elements = rounded.data;
    for (size_t i = 0; i < rounded.bytes / sizeof(float); i++) {
        float before = elements[i];

        elements[i] = pith_bfloat16_to_float(pith_float_to_bfloat16(before));
        *out_changed += elements[i] != before;
    }
    rc = pith_value_set_constant(graph, value, &rounded);
    pith_tensor_free(&rounded);
    return rc < 0 ? pith_fail(err, rc, "constant \"%s\" can't be replaced",
                              pith_value_name(graph, value))
                  : 0;
}

/* Offered by hosts with samples; the figure goes into the report. */
static double error_of(const struct pith_host *host, const struct pith_graph *graph)
{
    struct pith_evaluation evaluation;

    if (!host || !host->evaluate || !host->sample_count || host->sample_count(host->context) == 0 ||
        host->evaluate(host->context, graph, &evaluation, NULL) < 0)
        return -1;
    return evaluation.error_ratio;
}

static int round_all(const struct pith_technique_job *job, struct pith_graph *graph,
                     uint64_t *out_constants, uint64_t *out_changed, struct pith_error *err)
{
    const struct pith_host *host = job->host;
    uint32_t limit = pith_graph_value_limit(graph);

    for (uint32_t value = 0; value < limit; value++) {
        const struct pith_tensor *constant = pith_value_constant(graph, value);
        int rc;

        if (host && host->cancelled && host->cancelled(host->context))
            return pith_fail(err, -ECANCELED, "it was cancelled");
        if (!constant || constant->dtype != PITH_FLOAT32 ||
            pith_shape_elements(&constant->shape) < job->options[OPTION_MIN_ELEMENTS].integer)
            continue;
        rc = round_constant(graph, value, out_changed, err);
        if (rc < 0)
            return rc;
        ++*out_constants;
        if (host && host->progress)
            host->progress(host->context, (double) value / (double) limit);
    }
    return 0;
}

static int technique_apply(const struct pith_technique_job *job, const struct pith_graph *graph,
                           struct pith_graph **out, char **report_json, struct pith_error *err)
{
    uint64_t constants = 0, changed = 0;
    struct pith_graph *rounded = NULL;
    int rc = pith_graph_clone(graph, &rounded, err);

    if (rc == 0)
        rc = round_all(job, rounded, &constants, &changed, err);
    if (rc == 0)
        rc = pith_graph_validate(rounded, err);
    if (rc < 0) {
        pith_graph_free(rounded);
        return rc;
    }
    if (report_json) {
        char text[160];
        double error_ratio = error_of(job->host, rounded);
        int used = snprintf(text, sizeof text, "{\"constants\":%llu,\"changed\":%llu",
                            (unsigned long long) constants, (unsigned long long) changed);

        (void) snprintf(text + used, sizeof text - (size_t) used,
                        error_ratio < 0 ? "}" : ",\"error_ratio\":%g}", error_ratio);
        *report_json = strdup(text); /* the host frees it; without memory there is no report */
    }
    *out = rounded;
    return 0;
}

static const struct pith_technique_ops ops = {
    .size_bytes = sizeof ops,
    .needs = technique_needs,
    .apply = technique_apply,
};

const struct pith_plugin pith_plugin = {
    .size_bytes = sizeof pith_plugin,
    .abi_major = PITH_ABI_MAJOR,
    .abi_minor = PITH_ABI_MINOR,
    .kind = PITH_KIND_TECHNIQUE,
    .name = "bf16_round",
    .version = "1.0",
    .summary = "example: rounds float32 weights to bfloat16's grid",
    .ops = &ops,
    .options = options,
};
