/* The report of a quantization: what each layer became and why, its noise, its range beside what
 * the other estimators would have chosen. */
#include "plugins/techniques/quantize/report.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

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
    struct grid grid = plan_grid(plan, value);
    json_t *estimates = json_object();

    for (int method = 0; method < RANGE_METHODS && !group->fixed; method++) {
        struct range range =
            range_estimate(&group->histogram, (enum range_method) method, report->ranges.percentile);

        (void) json_object_set_new(estimates, range_method_names[method],
                                   json_pack("{s:o, s:o}", "range", range_pair(range), "sqnr_db",
                                             rounded(range_sqnr_db(&group->histogram, range))));
    }
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:i, s:o, s:I, s:o}", "value",
                     pith_value_name(plan->graph, value), "type",
                     pith_dtype_name(plan_dtype(plan, value)), "estimator",
                     group->fixed              ? "fixed"
                     : plan->bits[value] == 16 ? range_method_names[RANGE_MINMAX]
                                               : range_method_names[report->ranges.method],
                     "range", range_pair(group->range), "scale", rounded((double) grid.scale),
                     "zero_point", (int) grid.zero_point, "sqnr_db",
                     rounded(range_sqnr_db(&group->histogram, group->range)), "refused_count",
                     (json_int_t) group->histogram.refused, "estimates", estimates);
}

/* What was tried, and what came of it. */
static json_t *repair_facts(const struct report *report)
{
    json_t *list = json_array();

    for (int i = 0; i < REPAIRS; i++) {
        const struct repair_record *record = &report->repairs[i];

        if (record->tried)
            (void) json_array_append_new(
                list, json_pack("{s:s, s:b, s:I, s:o, s:o}", "repair", repair_names[i], "kept",
                                (int) record->kept, "changed_count", (json_int_t) record->changed,
                                "error_ratio_before",
                                record->before < 0 ? json_null() : rounded(record->before),
                                "error_ratio_after",
                                record->after < 0 ? json_null() : rounded(record->after)));
    }
    return list;
}

/* What repairs changed of a layer, while its form still takes it. */
static void add_repairs(const struct layer *layer, json_t *facts)
{
    double sum = 0;

    unsigned bits = form_weight_bits(layer->form);

    if (layer->levels && layer->repaired_bits == bits)
        (void) json_object_set_new(facts, "rounding_gain_db",
                                   rounded(10 * log10(fmax(layer->rounding_gain, 1e-20))));
    if (!layer->bias_shift || layer->shift_bits != bits)
        return;
    for (size_t c = 0; c < layer->channels; c++)
        sum += (double) layer->bias_shift[c] * (double) layer->bias_shift[c];
    (void) json_object_set_new(facts, "bias_shift_rms",
                               rounded(sqrt(sum / (double) layer->channels)));
}

static json_t *layer_facts(const struct report *report, const struct layer *layer)
{
    const struct pith_graph *graph = report->plan->graph;
    const struct pith_tensor *w = pith_value_constant(graph, layer->weight);
    json_t *facts =
        json_pack("{s:s, s:s, s:s, s:s?, s:I, s:i, s:o}", "node", layer_name(graph, layer), "op",
                  pith_node_op(graph, layer->node), "form", form_names[layer->form], "why",
                  layer->why, "weights", (json_int_t) pith_shape_elements(&w->shape), "axis",
                  (int) layer->channel_axis, "channel_ratio", rounded(layer->channel_ratio));

    if (facts && layer->form != FORM_FLOAT)
        (void) json_object_set_new(facts, "weight_sqnr_db", rounded(layer->weight_sqnr_db));
    if (facts && layer->output_error_ratio >= 0)
        (void) json_object_set_new(facts, "output_error_ratio", rounded(layer->output_error_ratio));
    if (facts && form_is_static(layer->form))
        (void) json_object_set_new(facts, "input", input_facts(report, layer));
    if (facts)
        add_repairs(layer, facts);
    return facts;
}

/* One word for what a graph became: its layers' form, or the coarsest of them and that there are
 * others. */
static const char *form_name(const struct plan *plan)
{
    int coarsest = FORM_FLOAT;
    size_t others = 0;

    for (int form = FORM_FLOAT; form >= 0; form--)
        if (plan_count(plan, (enum form) form) > 0 && form != FORM_FLOAT) {
            others += coarsest != FORM_FLOAT;
            coarsest = form;
        }
    if (coarsest == FORM_FLOAT && plan->far_count > 0)
        coarsest = FORM_W8;
    if (others == 0)
        return form_names[coarsest];
    if (others == 1 && coarsest == FORM_W8A8 && plan_count(plan, FORM_W8) > 0)
        return "int8, some weights-int8";
    return "mixed";
}

/* What the variant is called after it: the bits of its weights, whatever flows between. */
static const char *variant_name(const struct plan *plan)
{
    static const char *const names[] = {
        [FORM_W4A8] = "int4",       [FORM_W8A8] = "int8",         [FORM_W4A16] = "int4",
        [FORM_W8A16] = "int8",      [FORM_W4] = "int4",           [FORM_W8] = "int8",
        [FORM_FLOAT16] = "float16", [FORM_BFLOAT16] = "bfloat16", [FORM_FLOAT] = "float32",
    };
    const char *name = names[plan->far_count > 0 ? FORM_W8 : FORM_FLOAT]; /* far weights are int8 */

    for (int form = 0; form < FORM_FLOAT; form++) {
        if (plan_count(plan, (enum form) form) == 0)
            continue;
        if (strcmp(name, names[FORM_FLOAT]) && strcmp(name, names[form]))
            return "mixed";
        name = names[form];
    }
    return name;
}

/* Layers whose weights stay the integers that they came as. */
static size_t count_kept(const struct plan *plan)
{
    size_t count = 0;

    for (size_t i = 0; i < plan->layer_count; i++)
        count += plan->layers[i].as_it_came;
    return count;
}

static json_t *budget_facts(const struct kept_budget *budget)
{
    return json_pack("{s:o, s:o, s:b, s:I}", "accuracy_drop_points", rounded(budget->points),
                     "drop_points", rounded(budget->drop_points), "kept",
                     (int) (budget->drop_points <= budget->points), "moved_count",
                     (json_int_t) budget->moved);
}

char *report_text(const struct report *report)
{
    const struct plan *plan = report->plan;
    json_t *layers = json_array(), *forms = json_object();
    json_t *object;
    char *text = NULL;

    for (size_t i = 0; i < plan->layer_count; i++)
        (void) json_array_append_new(layers, layer_facts(report, &plan->layers[i]));
    for (int form = 0; form < FORMS; form++)
        if (plan_count(plan, (enum form) form) > 0)
            (void) json_object_set_new(
                forms, form_names[form],
                json_integer((json_int_t) plan_count(plan, (enum form) form)));
    object = json_pack(
        "{s:s, s:s, s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o}", "technique",
        "quantize", "form", form_name(plan), "variant_name", variant_name(plan), "activations",
        report->calibrated ? report->activations : "float32", "weight_limit",
        (int) plan->options.weight_limit, "samples", (json_int_t) report->samples, "check_samples",
        (json_int_t) report->check_samples, "folded_batch_norms", (json_int_t) report->folded,
        "folded_biases", (json_int_t) report->added,
        "restored_weights", (json_int_t) report->restored, "kept_integers",
        (json_int_t) count_kept(plan), "far_weights", (json_int_t) plan->far_count, "output_error_ratio",
        report->error_ratio < 0 ? json_null() : rounded(report->error_ratio), "max_error_ratio",
        rounded(report->max_error_ratio), "repairs", repair_facts(report), "forms", forms, "layers",
        layers);
    if (object && report->note[0])
        (void) json_object_set_new(object, "note", json_string(report->note));
    if (object && report->budget.asked)
        (void) json_object_set_new(object, "budget", budget_facts(&report->budget));
    if (object)
        text = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(object);
    return text;
}
