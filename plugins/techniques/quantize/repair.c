/* Each repair is a trial: a clone of the graph, or a filled-in plan, that is measured on the check
 * samples and dropped where it errs more. */
#include "plugins/techniques/quantize/repair.h"

#include "plugins/techniques/quantize/bias.h"
#include "plugins/techniques/quantize/equalize.h"
#include "plugins/techniques/quantize/smooth.h"
#include "plugins/techniques/quantize/write.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define TRIAL_SAMPLES   32   /* that a trial's ranges are made from */
#define WORTH_SHARE                                                                                \
    0.95 /* what gains less is a tie, which another instruction set's last bits would settle       \
            otherwise; every scale hangs on it */
#define CLIP_DIFFERENCE 0.02 /* of the float outputs, that opened Clips may make */

const char *const repair_switch_names[] = {"auto", "on", "off", NULL};
const char *const repair_names[] = {
    [REPAIR_EQUALIZE] = "equalize", [REPAIR_ABSORB] = "absorb",        [REPAIR_SMOOTH] = "smooth",
    [REPAIR_ROUNDING] = "rounding", [REPAIR_BIAS] = "bias_correction",
};

/* ---- measuring ---- */

static int plan_error(const struct repairs *repairs, struct plan *plan, double *out,
                      struct pith_error *err)
{
    struct pith_graph *graph = NULL;
    int rc = write_graph(plan, &graph, err);

    if (rc == 0)
        rc = reference_error_ratio(repairs->reference, graph, repairs->host, UINT64_MAX, out, err);
    pith_graph_free(graph);
    return rc;
}

/* The error of this graph, quantized as it is. */
static int graph_error(const struct repairs *repairs, const struct pith_graph *graph, double *out,
                       struct pith_error *err)
{
    uint64_t samples = repairs->samples < TRIAL_SAMPLES ? repairs->samples : TRIAL_SAMPLES;
    struct plan plan;
    int rc = plan_make(&plan, graph, &repairs->layers, repairs->dtype, err);

    if (rc < 0)
        return rc;
    rc = calibrate_ranges(&plan, repairs->host, samples, &repairs->ranges, err);
    if (rc == 0)
        rc = plan_error(repairs, &plan, out, err);
    plan_done(&plan);
    return rc;
}

/* ---- the graph ---- */

struct change { /* of a graph, that is tried */
    enum repair repair;
    enum repair_switch wanted;
    bool clips;   /* equalization may open them */
    double share; /* of the error before it, that it may leave to be kept unasked */
};

static int change_graph(const struct repairs *repairs, const struct change *change,
                        struct pith_graph *graph, size_t *changed, struct pith_error *err)
{
    uint64_t samples = repairs->samples < TRIAL_SAMPLES ? repairs->samples : TRIAL_SAMPLES;
    struct equalized equalized = {0};
    struct layer *layers = NULL;
    size_t count = 0;
    int rc = layers_find(graph, &repairs->layers, &layers, &count);

    if (rc < 0)
        return rc;
    if (change->repair == REPAIR_EQUALIZE) {
        rc = equalize_layers(graph, layers, count, repairs->layers.per_channel, change->clips,
                             repairs->host, samples, &equalized, err);
        *changed = equalized.pairs;
    } else if (change->repair == REPAIR_ABSORB) {
        rc = absorb_biases(graph, layers, count, repairs->host, samples, &equalized, err);
        *changed = equalized.absorbed;
    } else {
        rc = smooth_layers(graph, layers, count, repairs->host, samples, repairs->smooth_alpha,
                           changed, err);
    }
    layers_free(layers, count);
    return rc;
}

/* Tries one change; *graph becomes the changed one where that is better, or asked for. */
static int try_change(struct repairs *repairs, const struct change *change,
                      struct pith_graph **graph, struct pith_error *err)
{
    struct repair_record *record = &repairs->record[change->repair];
    struct pith_graph *tried = NULL;
    int rc = pith_graph_clone(*graph, &tried, err);

    *record = (struct repair_record){.tried = true, .before = -1, .after = -1};
    if (rc == 0)
        rc = change_graph(repairs, change, tried, &record->changed, err);
    if (rc == 0 && record->changed > 0 && repairs->reference) {
        rc = graph_error(repairs, *graph, &record->before, err);
        if (rc == 0)
            rc = graph_error(repairs, tried, &record->after, err);
    }
    record->kept = rc == 0 && record->changed > 0 &&
                   (change->wanted == REPAIR_ON || record->after <= change->share * record->before);
    if (record->kept) {
        struct pith_graph *was = *graph;

        *graph = tried;
        tried = was;
    }
    pith_graph_free(tried);
    return rc;
}

/* Whether opened Clips leave the float graph's outputs as they were: nets trained with Relu6 rarely
 * reach the 6. */
static int clips_may_open(const struct repairs *repairs, const struct pith_graph *graph, bool *out,
                          struct pith_error *err)
{
    struct change change = {.repair = REPAIR_EQUALIZE, .clips = true};
    struct pith_graph *tried = NULL;
    double difference = HUGE_VAL;
    size_t pairs;
    int rc;

    *out = false;
    if (!repairs->reference)
        return 0;
    rc = pith_graph_clone(graph, &tried, err);
    if (rc == 0)
        rc = change_graph(repairs, &change, tried, &pairs, err);
    if (rc == 0)
        rc = reference_error_ratio(repairs->reference, tried, repairs->host, UINT64_MAX,
                                   &difference, err);
    *out = difference <= CLIP_DIFFERENCE;
    pith_graph_free(tried);
    return rc;
}

static bool some_static(const struct repairs *repairs)
{
    return rules_want_samples(&repairs->layers.rules);
}

int repair_graph(struct repairs *repairs, struct pith_graph **graph, struct pith_error *err)
{
    struct change equalize = {.repair = REPAIR_EQUALIZE, .wanted = repairs->equalize, .share = 1};
    struct change absorb = {.repair = REPAIR_ABSORB, .wanted = repairs->equalize, .share = 1};
    struct change smooth = {.repair = REPAIR_SMOOTH, .wanted = repairs->smooth, .share = 1};
    bool per_tensor = !repairs->layers.per_channel, flows = some_static(repairs) && repairs->samples > 0;
    enum form form = repairs->layers.rules.form;
    /* Beside a scale a channel it is for what one grid holds of 8-bit activations; with 4-bit weights those err by far more. */
    bool helps = per_tensor || (flows && form_activation_bits(form) == 8 && form_weight_bits(form) == 8);
    int rc = 0;

    if (repairs->equalize == REPAIR_ON || (repairs->equalize == REPAIR_AUTO && helps)) {
        if (per_tensor)
            rc = clips_may_open(repairs, *graph, &equalize.clips, err);
        else
            equalize.share = WORTH_SHARE;
        if (rc == 0)
            rc = try_change(repairs, &equalize, graph, err);
        if (rc == 0 && flows && (per_tensor || repairs->equalize == REPAIR_ON))
            rc = try_change(repairs, &absorb, graph, err);
    }
    if (rc == 0 && repairs->smooth != REPAIR_OFF && flows)
        rc = try_change(repairs, &smooth, graph, err);
    return rc;
}

/* ---- the plan ---- */

static int apply(struct repairs *repairs, enum repair repair, struct plan *plan,
                 struct pith_error *err)
{
    if (repair == REPAIR_ROUNDING)
        return round_layers(plan, repairs->host, repairs->samples, repairs->rounding, err);
    return correct_biases(plan, repairs->host, repairs->samples, false, NULL, err);
}

static void drop(enum repair repair, struct plan *plan)
{
    for (size_t i = 0; i < plan->layer_count; i++) {
        struct layer *layer = &plan->layers[i];

        if (repair == REPAIR_ROUNDING) {
            layer_forget_repairs(layer);
        } else {
            free(layer->bias_shift);
            layer->bias_shift = NULL;
        }
    }
}

static size_t count_changed(enum repair repair, const struct plan *plan)
{
    size_t count = 0;

    for (size_t i = 0; i < plan->layer_count; i++)
        count += repair == REPAIR_ROUNDING ? plan->layers[i].levels != NULL
                                           : plan->layers[i].bias_shift != NULL;
    return count;
}

static int try_on_plan(struct repairs *repairs, enum repair repair, bool asked, struct plan *plan,
                       double *error, struct pith_error *err)
{
    struct repair_record *record = &repairs->record[repair];
    int rc = 0;

    *record = (struct repair_record){.tried = true, .before = *error, .after = -1};
    if (repairs->reference && *error < 0) {
        rc = plan_error(repairs, plan, error, err);
        record->before = *error;
    }
    if (rc == 0)
        rc = apply(repairs, repair, plan, err);
    record->changed = count_changed(repair, plan);
    if (rc == 0 && repairs->reference && record->changed > 0)
        rc = plan_error(repairs, plan, &record->after, err);
    record->kept = rc == 0 && record->changed > 0 && (asked || record->after <= record->before);
    if (record->kept && repairs->reference)
        *error = record->after;
    else if (!record->kept && repair == REPAIR_BIAS) /* levels may yet be better with biases */
        drop(repair, plan);
    return rc;
}

/* What repairs of the plan found, layer by layer, set aside. */
struct aside {
    unsigned repaired_bits, shift_bits;
    int8_t *levels;
    float *scale, *bias_shift;
    size_t channels;
    double rounding_gain;
};

static void change_places(struct plan *plan, struct aside *aside)
{
    for (size_t i = 0; i < plan->layer_count; i++) {
        struct layer *layer = &plan->layers[i];
        struct aside was = {layer->repaired_bits, layer->shift_bits, layer->levels,       layer->scale,
                            layer->bias_shift,    layer->channels,   layer->rounding_gain};

        layer->repaired_bits = aside[i].repaired_bits;
        layer->shift_bits = aside[i].shift_bits;
        layer->levels = aside[i].levels;
        layer->scale = aside[i].scale;
        layer->bias_shift = aside[i].bias_shift;
        layer->channels = aside[i].channels;
        layer->rounding_gain = aside[i].rounding_gain;
        aside[i] = was;
    }
}

static void aside_free(struct aside *aside, size_t count)
{
    for (size_t i = 0; i < count && aside; i++) {
        free(aside[i].levels);
        free(aside[i].scale);
        free(aside[i].bias_shift);
    }
    free(aside);
}

/* Weights of 8 bits a channel alone shift no mean that is worth a pass. */
static bool shifts_means(const struct plan *plan)
{
    for (size_t i = 0; i < plan->layer_count; i++)
        if (form_is_static(plan->layers[i].form) || form_weight_bits(plan->layers[i].form) == 4)
            return true;
    return false;
}

/* Rounding moves means, which biases can take back: where it gains little without them, it is compared with the nearest once
 * both have their biases. */
static int try_both(struct repairs *repairs, struct plan *plan, struct pith_error *err)
{
    struct repair_record *rounding = &repairs->record[REPAIR_ROUNDING], *bias = &repairs->record[REPAIR_BIAS];
    double rounded = rounding->after, nearest = rounding->before;
    bool asked = repairs->bias == REPAIR_ON;
    struct aside *aside = calloc(plan->layer_count + 1, sizeof *aside);
    int rc = aside ? try_on_plan(repairs, REPAIR_BIAS, asked, plan, &rounded, err) : -ENOMEM;
    struct repair_record beside_rounding = *bias;

    if (rc == 0) {
        change_places(plan, aside);
        rc = try_on_plan(repairs, REPAIR_BIAS, asked, plan, &nearest, err);
    }
    rounding->before = nearest;
    rounding->after = rounded;
    rounding->kept = rc == 0 && rounded < nearest;
    if (rounding->kept) {
        change_places(plan, aside);
        *bias = beside_rounding;
    }
    aside_free(aside, plan->layer_count);
    return rc;
}

int repair_plan(struct repairs *repairs, struct plan *plan, struct pith_error *err)
{
    bool biases = repairs->bias == REPAIR_ON || (repairs->bias == REPAIR_AUTO && shifts_means(plan));
    struct repair_record *rounding = &repairs->record[REPAIR_ROUNDING];
    double error = -1;
    int rc = 0;

    if (repairs->samples == 0)
        return 0;
    if (rounding_applies(plan, repairs->rounding)) {
        rc = try_on_plan(repairs, REPAIR_ROUNDING, repairs->rounding != ROUNDING_AUTO, plan, &error, err);
        if (rc == 0 && repairs->rounding == ROUNDING_AUTO && rounding->changed > 0 && biases &&
            rounding->after > WORTH_SHARE * rounding->before)
            return try_both(repairs, plan, err);
        if (!rounding->kept)
            drop(REPAIR_ROUNDING, plan);
    }
    /* Rounding for the layer's outputs moves means as well, whatever the method: it is measured. */
    return rc == 0 && biases ? try_on_plan(repairs, REPAIR_BIAS, repairs->bias == REPAIR_ON, plan, &error, err) : rc;
}
