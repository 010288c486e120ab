/* What was done, by layer, as one JSON object. */
#ifndef PITH_QUANTIZE_REPORT_H
#define PITH_QUANTIZE_REPORT_H

#include "plugins/techniques/quantize/repair.h"
#include "plugins/techniques/quantize/sensitivity.h"

struct report {
    const struct plan *plan;
    const struct repair_record *repairs; /* REPAIRS of them */
    const char *activations;             /* as asked for */
    struct range_options ranges;
    bool calibrated;
    uint64_t samples, check_samples;
    size_t folded;      /* batch normalizations */
    size_t added;       /* biases that an Add of their own added */
    size_t restored;    /* weights that came as integers, and were looked at as floats */
    double error_ratio; /* negative: not measured */
    struct kept_budget budget;
    char note[240]; /* why nothing was quantized; "" where something was */
    double max_error_ratio;
};
/* Freed with free(). NULL: out of memory. */
char *report_text(const struct report *report);

#endif
