/* The walk over the layers: all are quantized once, which tells which there are and how noisy each
 * is; then the noisiest comes first, alone and left out. */
#include "libpith/compress/sensitivity_parts.h"

#include "libpith/base/clock.h"
#include "libpith/base/names.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_LAYERS 65536

static bool is_fault_of_form(int rc)
{
    return rc < 0 && rc != -ENOMEM && rc != -ECANCELED && rc != -ETIME;
}

/* ---- which layers there are ---- */

static double noise_of(const json_t *object)
{
    const json_t *sqnr = json_object_get(object, "weight_sqnr_db");
    const json_t *input = json_object_get(json_object_get(object, "input"), "sqnr_db");

    return (json_is_number(sqnr) ? pow(10, -json_number_value(sqnr) / 10) : 0) +
           (json_is_number(input) ? pow(10, -json_number_value(input) / 10) : 0);
}

static bool is_chosen(const struct pith_sensitivity_options *options, const char *name)
{
    for (size_t i = 0; i < options->pattern_count; i++)
        if (pith_name_matches(name, options->patterns[i]))
            return true;
    return options->pattern_count == 0;
}

static int add_layers(struct sensitivity *run, size_t graph, struct pith_error *err)
{
    const json_t *list = json_object_get(run->reports[graph], "layers"), *fact;
    size_t i, count = json_array_size(list);
    struct suspect *grown;

    if (run->count + count > MOST_LAYERS)
        return pith_fail(err, -E2BIG, "more than %d layers", MOST_LAYERS);
    grown = realloc(run->suspects, (run->count + count + 1) * sizeof *grown);
    if (!grown)
        return -ENOMEM;
    run->suspects = grown;
    json_array_foreach(list, i, fact)
    {
        const char *name = json_string_value(json_object_get(fact, "node"));
        const char *form = json_string_value(json_object_get(fact, "form"));
        struct suspect *to = &run->suspects[run->count];

        if (!name || !form)
            continue;
        *to = (struct suspect){.graph = graph,
                               .name = strdup(name),
                               .fact = fact,
                               .chosen = is_chosen(run->options, name),
                               .quantized = strcmp(form, "float32") != 0,
                               .noise = noise_of(fact),
                               .output_error_ratio = NAN,
                               .output_sqnr_db = NAN,
                               .output_cosine = NAN,
                               .time_gained_us = NAN,
                               .time_gained_alone_us = NAN};
        if (!to->name)
            return -ENOMEM;
        run->count++;
    }
    return 0;
}

static int make_whole(struct sensitivity *run, struct pith_error *err)
{
    const struct pith_sensitivity_options *options = run->options;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < run->graph_count; i++) {
        rc = sensitivity_quantize(run, i, NULL, NULL, &run->whole[i], &run->reports[i], err);
        if (rc == 0)
            rc = sensitivity_quantize(run, i, "keep", NULL, &run->prepared[i], NULL, err);
        if (rc == 0)
            rc = add_layers(run, i, err);
        if (rc < 0)
            rc = pith_fail_in(err, rc, "graph %s", options->manifest->graphs[i].name);
    }
    return rc;
}

static size_t count_wanted(const struct sensitivity *run, bool quantized)
{
    size_t count = 0;

    for (size_t i = 0; i < run->count; i++)
        count += run->suspects[i].chosen && (run->suspects[i].quantized || !quantized);
    return count;
}

/* ---- one layer ---- */

/* The chain with one graph of another form, the others as in `around`. */
static void place(const struct sensitivity *run, const struct pith_graph *const *around,
                  size_t graph, const struct pith_graph *form, const struct pith_graph **out)
{
    for (size_t i = 0; i < run->graph_count; i++)
        out[i] = i == graph ? form : around[i];
}

static int time_layer(struct sensitivity *run, struct suspect *suspect,
                      const struct pith_graph *alone, const struct pith_graph *others,
                      struct pith_error *err)
{
    const struct pith_graph *forms[] = {run->options->graphs[suspect->graph],
                                        run->whole[suspect->graph], alone, others};
    double us[4];
    int rc = sensitivity_time(run, suspect->graph, forms, 4, us, err);

    if (rc == 0) {
        suspect->time_gained_us = us[3] - us[1];
        suspect->time_gained_alone_us = us[0] - us[2];
    }
    return rc;
}

static int measure(struct sensitivity *run, struct suspect *suspect, struct pith_error *err)
{
    const struct pith_graph *chain[PITH_MANIFEST_MAX_GRAPHS];
    struct pith_graph *alone = NULL, *others = NULL;
    int rc = sensitivity_quantize(run, suspect->graph, "only", suspect->name, &alone, NULL, err);

    if (rc == 0)
        rc = sensitivity_quantize(run, suspect->graph, "keep", suspect->name, &others, NULL, err);
    if (rc == 0)
        rc = sensitivity_local(run, suspect, alone, err);
    if (rc == 0) {
        place(run, run->options->graphs, suspect->graph, alone, chain);
        rc = sensitivity_effect(run, chain, suspect->name, &suspect->alone, err);
    }
    if (rc == 0) {
        place(run, (const struct pith_graph *const *) run->whole, suspect->graph, others, chain);
        rc = sensitivity_effect(run, chain, suspect->name, &suspect->others, err);
    }
    if (rc == 0)
        rc = time_layer(run, suspect, alone, others, err);
    pith_graph_free(alone);
    pith_graph_free(others);
    return rc;
}

/* ---- all layers ---- */

static int noisiest_first(const void *a, const void *b)
{
    const struct suspect *x = *(const struct suspect *const *) a,
                         *y = *(const struct suspect *const *) b;

    if (x->noise != y->noise)
        return x->noise > y->noise ? -1 : 1;
    return x < y ? -1 : x > y;
}

static int measure_all(struct sensitivity *run, struct pith_error *err)
{
    struct suspect **order = calloc(run->count + 1, sizeof *order);
    size_t count = 0;
    int rc = order ? 0 : -ENOMEM;

    for (size_t i = 0; rc == 0 && i < run->count; i++)
        if (run->suspects[i].chosen && run->suspects[i].quantized)
            order[count++] = &run->suspects[i];
    if (count > 1)
        qsort(order, count, sizeof *order, noisiest_first);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct pith_error why = {0};

        rc = measure(run, order[i], &why);
        order[i]->measured = rc == 0;
        if (rc == -ETIME)
            break;
        why.code = rc;
        if (is_fault_of_form(rc)) { /* no engine runs it so, say: the others still tell */
            (void) snprintf(order[i]->reason, sizeof order[i]->reason, "%s", pith_error_text(&why));
            rc = 0;
        } else if (rc < 0) {
            rc = pith_fail(err, rc, "%s", pith_error_text(&why));
        }
    }
    free(order);
    return rc == -ETIME ? 0 : rc;
}

static int time_whole(struct sensitivity *run, struct pith_error *err)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < run->graph_count; i++) {
        const struct pith_graph *forms[] = {run->options->graphs[i], run->whole[i]};
        double us[2];

        rc = sensitivity_time(run, i, forms, 2, us, err);
        if (rc == 0) {
            run->original_us[i] = us[0];
            run->whole_us[i] = us[1];
        }
    }
    return rc;
}

static int walk(struct sensitivity *run, struct pith_error *err)
{
    uint64_t deadline_ns = run->deadline_ns;
    int rc = sensitivity_draw(run, err);

    run->deadline_ns = 0; /* of the layers: the whole is measured in any case */
    if (rc == 0)
        rc = make_whole(run, err);
    if (rc == 0 && count_wanted(run, false) == 0)
        rc = pith_fail(err, -EINVAL,
                       run->options->pattern_count
                           ? "no layer with float weights matches; pith inspect lists layers"
                           : "no layer has float weights: there is nothing to quantize");
    run->todo = 2 + 2 * (double) count_wanted(run, true);
    if (rc == 0)
        rc = sensitivity_baseline(run, err);
    if (rc == 0)
        rc = sensitivity_effect(run, (const struct pith_graph *const *) run->whole,
                                "all layers quantized", &run->all, err);
    if (rc == 0)
        rc = time_whole(run, err);
    run->deadline_ns = deadline_ns;
    return rc < 0 ? rc : measure_all(run, err);
}

static void done(struct sensitivity *run)
{
    for (size_t i = 0; i < run->graph_count; i++) {
        pith_samples_done(&run->samples[i]);
        pith_graph_free(run->whole[i]);
        pith_graph_free(run->prepared[i]);
        json_decref(run->reports[i]);
    }
    for (size_t i = 0; i < run->count; i++)
        free(run->suspects[i].name);
    free(run->suspects);
    pith_outcomes_done(&run->baseline);
    pith_metric_free(run->baseline_metric);
    free(run);
}

int pith_sensitivity(const struct pith_sensitivity_options *options, json_t **out,
                     struct pith_error *err)
{
    struct sensitivity *run = calloc(1, sizeof *run);
    json_t *made = NULL;
    int rc;

    if (!run)
        return pith_fail(err, -ENOMEM, "no memory for the report");
    run->options = options;
    run->graph_count = options->manifest->graph_count;
    if (options->time_ms > 0)
        run->deadline_ns = pith_monotonic_ns() + options->time_ms * UINT64_C(1000000);
    if (options->data->count == 0 || options->calibration->count == 0)
        rc = pith_fail(err, -ENODATA, "there are no samples to judge layers by");
    else
        rc = walk(run, err);
    if (rc == 0) {
        made = sensitivity_json(run);
        rc = made ? 0 : pith_fail(err, -ENOMEM, "no memory for the report");
    }
    done(run);
    if (rc == 0)
        *out = made;
    return rc;
}
