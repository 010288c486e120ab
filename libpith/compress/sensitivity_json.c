/* The report as JSON; schemas/sensitivity.json says what its members mean. */
#include "libpith/compress/sensitivity_parts.h"

#include "libpith/base/json.h"

#include <math.h>
#include <string.h>

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *effect_json(const struct effect *effect)
{
    if (!effect->measured)
        return json_null();
    return json_pack("{so so so so so}", "metric", number(effect->metric), "metric_change",
                     number(effect->metric_change), "p_value", number(effect->p), "fidelity_ratio",
                     number(effect->fidelity_ratio), "error_ratio", number(effect->error_ratio));
}

static json_t *fact(const struct suspect *suspect, const char *key)
{
    const json_t *found = json_object_get(suspect->fact, key);

    return found ? json_deep_copy(found) : json_null();
}

static const char *reason_of(const struct suspect *suspect)
{
    const char *why = json_string_value(json_object_get(suspect->fact, "why"));

    if (suspect->measured)
        return NULL;
    if (!suspect->quantized)
        return why ? why : "the technique leaves it as it is";
    return suspect->reason[0] ? suspect->reason : "the time was over";
}

static json_t *layer_json(const struct sensitivity *run, const struct suspect *suspect)
{
    const json_t *sqnr = json_object_get(json_object_get(suspect->fact, "input"), "sqnr_db");
    json_t *layer = json_pack(
        "{ss ss so so so so so so so so}", "graph",
        run->options->manifest->graphs[suspect->graph].name, "layer", suspect->name, "op",
        fact(suspect, "op"), "form", fact(suspect, "form"), "why", fact(suspect, "why"), "weights",
        fact(suspect, "weights"), "channel_ratio", fact(suspect, "channel_ratio"), "weight_sqnr_db",
        fact(suspect, "weight_sqnr_db"), "input_sqnr_db", sqnr ? json_deep_copy(sqnr) : json_null(),
        "output_error_ratio", number(suspect->output_error_ratio));

    if (!layer)
        return NULL;
    (void) json_object_set_new(layer, "output_sqnr_db", number(suspect->output_sqnr_db));
    (void) json_object_set_new(layer, "output_cosine", number(suspect->output_cosine));
    (void) json_object_set_new(layer, "alone", effect_json(&suspect->alone));
    (void) json_object_set_new(layer, "others", effect_json(&suspect->others));
    (void) json_object_set_new(layer, "time_gained_us", number(suspect->time_gained_us));
    (void) json_object_set_new(layer, "time_gained_alone_us",
                               number(suspect->time_gained_alone_us));
    (void) json_object_set_new(layer, "measured", json_boolean(suspect->measured));
    (void) json_object_set_new(layer, "reason",
                               reason_of(suspect) ? json_string(reason_of(suspect)) : json_null());
    return layer;
}

static json_t *graphs_json(const struct sensitivity *run)
{
    json_t *list = json_array();

    for (size_t i = 0; i < run->graph_count; i++)
        (void) json_array_append_new(
            list,
            json_pack("{ss sI so so}", "graph", run->options->manifest->graphs[i].name,
                      "calibration_samples", (json_int_t) run->samples[i].count, "original_us",
                      number(run->original_us[i]), "whole_us", number(run->whole_us[i])));
    return list;
}

/* By how much the outputs' error shrinks where this layer stays as it is. */
static double relief(const struct sensitivity *run, const struct suspect *suspect)
{
    double left = run->all.error_ratio - suspect->others.error_ratio;

    return suspect->measured && isfinite(left) ? left : -HUGE_VAL;
}

/* The layer that hurts most, in a sentence. */
static json_t *sentence(const struct sensitivity *run, size_t wanted, size_t measured)
{
    const struct suspect *worst = NULL;
    char text[640], left[96] = "";

    for (size_t i = 0; i < run->count; i++)
        if (run->suspects[i].measured &&
            (!worst || relief(run, &run->suspects[i]) > relief(run, worst)))
            worst = &run->suspects[i];
    if (measured < wanted)
        (void) snprintf(left, sizeof left, "; %zu of %zu layers were measured", measured, wanted);
    if (!worst || !isfinite(relief(run, worst)))
        (void) snprintf(text, sizeof text, "nothing tells which layer hurts most%s", left);
    else if (relief(run, worst) <= 0)
        (void) snprintf(text, sizeof text,
                        "the outputs' error is %.4f of their deviation, and no layer alone would "
                        "lower it by staying float%s",
                        run->all.error_ratio, left);
    else
        (void) snprintf(text, sizeof text,
                        "%.200s hurts most: were it float, the outputs' error would fall from %.4f "
                        "to %.4f of their deviation%s",
                        worst->name, run->all.error_ratio, worst->others.error_ratio, left);
    return json_string(text);
}

json_t *sensitivity_json(const struct sensitivity *run)
{
    const struct pith_sensitivity_options *options = run->options;
    size_t wanted = 0, measured = 0;
    json_t *layers = json_array(), *object;

    for (size_t i = 0; i < run->count; i++) {
        const struct suspect *suspect = &run->suspects[i];
        json_t *layer = suspect->chosen ? layer_json(run, suspect) : NULL;

        wanted += suspect->chosen && suspect->quantized;
        measured += suspect->measured;
        if (suspect->chosen && (!layer || json_array_append_new(layers, layer) < 0)) {
            json_decref(layers);
            return NULL;
        }
    }
    object = json_pack(
        "{si ss ss sb so sI sI si so so so sb so so}", "format", 1, "technique",
        options->technique->name, "form", pith_sensitivity_forms[options->form], "repairs",
        options->repairs, "metric",
        options->metric ? json_string(pith_metric_names[options->metric->kind]) : json_null(),
        "samples", (json_int_t) options->data->count, "layers_wanted", (json_int_t) wanted,
        "latency_runs", (int) options->runs, "original", effect_json(&run->original), "whole",
        effect_json(&run->all), "graphs", graphs_json(run), "complete", measured == wanted, "text",
        sentence(run, wanted, measured), "layers", layers);
    return object;
}
