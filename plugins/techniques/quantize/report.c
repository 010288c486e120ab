/* The report of a quantization: what each layer became and why, its noise, its range beside what
 * the other estimators would have chosen. */
#include "plugins/techniques/quantize/report.h"

#include <jansson.h>
#include <math.h>

/* Six digits: more says nothing, and would differ between machines. */
static json_t *rounded(double x)
{
    double digits = x == 0 || !isfinite(x) ? 0 : pow(10, 5 - floor(log10(fabs(x))));

    if (!isfinite(x))
        return json_null();
    return json_real(digits > 0 && isfinite(digits) ? nearbyint(x * digits) / digits : x);
}

static json_t *range_pair(struct range range)
{
    return json_pack("[o, o]", rounded(range.low), rounded(range.high));
}

static json_t *input_facts(const struct report *report, const struct layer *layer)
{
    const struct plan *plan = report->plan;
    uint32_t value = pith_node_input(plan->graph, layer->node, 0);
    const struct group *group = &plan->groups[plan->group_of[value]];
    struct grid grid = grid_of_range(group->range, report->least);
    json_t *estimates = json_object();

    for (int method = 0; method < RANGE_METHODS && !group->fixed; method++) {
        struct range range =
            range_estimate(&group->histogram, (enum range_method) method, report->percentile);

        (void) json_object_set_new(estimates, range_method_names[method],
                                   json_pack("{s:o, s:o}", "range", range_pair(range), "sqnr_db",
                                             rounded(range_sqnr_db(&group->histogram, range))));
    }
    return json_pack(
        "{s:s, s:s, s:o, s:o, s:i, s:o, s:I, s:o}", "value", pith_value_name(plan->graph, value),
        "estimator", group->fixed ? "fixed" : range_method_names[report->method], "range",
        range_pair(group->range), "scale", rounded((double) grid.scale), "zero_point",
        (int) grid.zero_point, "sqnr_db", rounded(range_sqnr_db(&group->histogram, group->range)),
        "refused_count", (json_int_t) group->histogram.refused, "estimates", estimates);
}

static json_t *layer_facts(const struct report *report, const struct layer *layer)
{
    const struct pith_graph *graph = report->plan->graph;
    const struct pith_tensor *w = pith_value_constant(graph, layer->weight);
    json_t *facts = json_pack(
        "{s:s, s:s, s:s, s:s?, s:I, s:i, s:o}", "node", pith_node_name(graph, layer->node), "op",
        pith_node_op(graph, layer->node), "form", layer_form_names[layer->form], "why", layer->why,
        "weights", (json_int_t) pith_shape_elements(&w->shape), "axis", (int) layer->axis,
        "channel_ratio", rounded(layer->channel_ratio));

    if (facts && layer->form != LAYER_FLOAT)
        (void) json_object_set_new(facts, "weight_sqnr_db", rounded(layer->weight_sqnr_db));
    if (facts && layer->output_error_ratio >= 0)
        (void) json_object_set_new(facts, "output_error_ratio", rounded(layer->output_error_ratio));
    if (facts && layer->form == LAYER_STATIC)
        (void) json_object_set_new(facts, "input", input_facts(report, layer));
    return facts;
}

/* One word for what a graph became. */
static const char *form_name(const struct plan *plan)
{
    size_t integers = plan_count(plan, LAYER_STATIC), weights = plan_count(plan, LAYER_WEIGHTS);
    size_t halves = plan_count(plan, LAYER_FLOAT16);

    if (halves > 0)
        return integers + weights > 0 ? "mixed" : layer_form_names[LAYER_FLOAT16];
    if (integers > 0)
        return weights > 0 ? "int8, some weights-int8" : layer_form_names[LAYER_STATIC];
    return weights > 0 ? layer_form_names[LAYER_WEIGHTS] : layer_form_names[LAYER_FLOAT];
}

/* What the variant is called after it: weights of 8 bits make it int8, whatever flows between. */
static const char *variant_name(const struct plan *plan)
{
    if (plan_count(plan, LAYER_FLOAT16) > 0)
        return plan_count(plan, LAYER_STATIC) + plan_count(plan, LAYER_WEIGHTS) > 0 ? "mixed"
                                                                                    : "float16";
    return plan_count(plan, LAYER_STATIC) + plan_count(plan, LAYER_WEIGHTS) > 0 ? "int8"
                                                                                : "float32";
}

char *report_text(const struct report *report)
{
    const struct plan *plan = report->plan;
    json_t *layers = json_array(), *forms = json_object();
    json_t *object;
    char *text = NULL;

    for (size_t i = 0; i < plan->layer_count; i++)
        (void) json_array_append_new(layers, layer_facts(report, &plan->layers[i]));
    for (int form = LAYER_STATIC; form <= LAYER_FLOAT; form++)
        (void) json_object_set_new(
            forms, layer_form_names[form],
            json_integer((json_int_t) plan_count(plan, (enum layer_form) form)));
    object = json_pack(
        "{s:s, s:s, s:s, s:s, s:i, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "technique", "quantize",
        "form", form_name(plan), "variant_name", variant_name(plan), "activations",
        report->calibrated ? report->activations : "float32", "weight_limit",
        (int) plan->weight_limit, "samples", (json_int_t) report->samples, "check_samples",
        (json_int_t) report->check_samples, "folded_batch_norms", (json_int_t) report->folded,
        "output_error_ratio", report->error_ratio < 0 ? json_null() : rounded(report->error_ratio),
        "max_error_ratio", rounded(report->max_error_ratio), "forms", forms, "layers", layers);
    if (object)
        text = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(object);
    return text;
}
