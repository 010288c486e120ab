/* Doubling and then bisection over layers ranked by what each costs alone: O(log layers) checks of
 * the whole graph, and an answer in any case. */
#include "plugins/techniques/quantize/sensitivity.h"

#include "plugins/techniques/quantize/bias.h"
#include "plugins/techniques/quantize/write.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

/* At most so many layers are measured alone, on so few samples, or on more where layers are few; the rest are ranked by
 * their estimate. */
#define RANKED_LAYERS   128
#define RANKING_SAMPLES 8

struct ranked {
    size_t layer;
    double cost; /* the outputs' error with only this layer so, or an estimate that is comparable
                    between layers; its square by weight where the next form is larger */
};

static int dearest_first(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;

    if (x->cost != y->cost)
        return x->cost > y->cost ? -1 : 1;
    return x->layer < y->layer ? -1 : x->layer > y->layer;
}

/* Points of accuracy that the graph loses, or of decisions that differ where there are no labels. */
static int drop_points(const struct sensitivity *sensitivity, const struct pith_graph *graph,
                       double *out, struct pith_error *err)
{
    struct pith_evaluation evaluation = {0};
    int rc = sensitivity->host->evaluate(sensitivity->host->context, graph, &evaluation, err);

    if (rc < 0)
        return rc;
    double was = sensitivity->float_graph.accuracy_ratio;

    *out = was >= 0 && evaluation.accuracy_ratio >= 0 ? 100 * (was - evaluation.accuracy_ratio)
                                                      : 100 * (1 - evaluation.fidelity_ratio);
    if (!isfinite(*out))
        *out = HUGE_VAL;
    return 0;
}

/* Writes the plan as it is, and measures the outputs' error, or the points that it loses. */
static int attempt(struct sensitivity *sensitivity, struct plan *plan, uint64_t samples,
                   struct pith_graph **out, double *out_error, struct pith_error *err)
{
    struct pith_graph *graph = NULL;
    int rc = plan_mark(plan);

    if (rc == 0)
        rc = write_graph(plan, &graph, err);
    if (rc == 0 && sensitivity->by_accuracy && samples == UINT64_MAX)
        rc = drop_points(sensitivity, graph, out_error, err);
    else if (rc == 0)
        rc = reference_error_ratio(sensitivity->reference, graph, sensitivity->host, samples,
                                   out_error, err);
    if (sensitivity->passes_left > 0 && samples == UINT64_MAX)
        sensitivity->passes_left--;
    if (rc < 0) {
        pith_graph_free(graph);
        return rc;
    }
    *out = graph;
    return 0;
}

/* Noise of the layer's input and weights, relative to their signal: what its result errs by,
 * roughly. */
static double estimate(const struct plan *plan, const struct layer *layer)
{
    double noise = pow(10, -layer->weight_sqnr_db / 10);
    uint32_t input = pith_node_input(plan->graph, layer->node, 0);

    if (form_is_static(layer->form) && plan->group_of[input] != NO_GROUP) {
        const struct group *group = &plan->groups[plan->group_of[input]];

        noise += pow(10, -range_sqnr_db(&group->histogram, group->range) / 10);
    }
    return sqrt(noise);
}

/* The error with only this layer as it is and all others float. */
static int measure_alone(struct sensitivity *sensitivity, struct plan *plan, size_t index,
                         uint64_t samples, double *out, struct pith_error *err)
{
    struct plan alone = *plan; /* shares everything but the layers' forms */
    struct pith_graph *graph = NULL;
    int rc = 0;

    alone.layers = calloc(plan->layer_count, sizeof *alone.layers);
    alone.bits = calloc((size_t) pith_graph_value_limit(plan->graph) + 1, sizeof *alone.bits);
    if (!alone.layers || !alone.bits)
        rc = -ENOMEM;
    for (size_t i = 0; rc == 0 && i < plan->layer_count; i++) {
        alone.layers[i] = plan->layers[i];
        alone.layers[i].bias_shift = NULL; /* it makes up for layers before it, which are float here */
        if (i != index)
            alone.layers[i].form = FORM_FLOAT;
    }
    if (rc == 0)
        rc = attempt(sensitivity, &alone, samples, &graph, out, err);
    pith_graph_free(graph);
    free(alone.layers);
    free(alone.bits);
    return rc;
}

static int64_t weight_count(const struct plan *plan, const struct layer *layer)
{
    const int64_t count = pith_shape_elements(pith_value_shape(plan->graph, layer->weight));

    return count > 0 ? count : 1;
}

/* Weights that came as integers go no further than back to these. */
static bool may_move(const struct layer *layer, enum form from, enum form to)
{
    return layer->form == from && !layer->as_it_came &&
           (layer->came_bits == 0 || layer->came != PITH_NO_VALUE || form_weight_bits(to) <= layer->came_bits);
}

/* Layers that move from one form to another, those first whose move promises most: where it makes weights larger, by byte,
 * so that a budget of accuracy is kept in few bytes. Layers err independently, so that it is squares that add up. */
static int rank_layers(struct sensitivity *sensitivity, struct plan *plan, enum form from,
                       enum form to, struct ranked **out, size_t *out_count,
                       struct pith_error *err)
{
    struct ranked *ranked = calloc(plan->layer_count + 1, sizeof *ranked);
    size_t count = 0;
    int rc = ranked ? 0 : -ENOMEM;

    for (size_t i = 0; rc == 0 && i < plan->layer_count; i++)
        if (may_move(&plan->layers[i], from, to))
            ranked[count++] = (struct ranked){.layer = i, .cost = estimate(plan, &plan->layers[i])};
    if (rc == 0 && count > 0)
        qsort(ranked, count, sizeof *ranked, dearest_first);
    size_t measured = count < RANKED_LAYERS ? count : RANKED_LAYERS;

    if (!sensitivity->reference->outputs)
        measured = 0;
    for (size_t i = 0; rc == 0 && i < measured; i++) {
        rc = measure_alone(sensitivity, plan, ranked[i].layer,
                           RANKED_LAYERS * RANKING_SAMPLES / measured, &ranked[i].cost, err);
        plan->layers[ranked[i].layer].output_error_ratio = ranked[i].cost;
    }
    if (rc < 0) {
        free(ranked);
        return rc;
    }
    for (size_t i = 0; form_weight_bits(to) > form_weight_bits(from) && i < count; i++)
        ranked[i].cost *=
            ranked[i].cost / (double) weight_count(plan, &plan->layers[ranked[i].layer]);
    if (count > 0) {
        qsort(ranked, measured, sizeof *ranked, dearest_first);
        qsort(ranked + measured, count - measured, sizeof *ranked, dearest_first);
    }
    *out = ranked;
    *out_count = count;
    return 0;
}

static void move_first(struct plan *plan, const struct ranked *ranked, size_t count, size_t moved,
                       enum form from, enum form to, const char *why)
{
    for (size_t i = 0; i < count; i++) {
        struct layer *layer = &plan->layers[ranked[i].layer];

        layer_set_form(layer, i < moved ? to : from);
        layer->why = i < moved ? why : NULL;
    }
}

struct search { /* over how many of the ranked layers are moved */
    struct plan *plan;
    struct ranked *ranked;
    size_t count;
    enum form from, to;
    const char *why;
    size_t best;              /* moved in *graph */
    struct pith_graph *graph; /* of the best */
    double error_ratio;       /* of the best */
};

/* Tries `moved` layers, and keeps the graph where it is better: within the limit with fewer moved,
 * or nearer to it. */
static int try_moved(struct sensitivity *sensitivity, struct search *search, size_t moved,
                     double *out_error, struct pith_error *err)
{
    struct pith_graph *graph = NULL;
    double limit = sensitivity->max_error_ratio;
    bool done = true;
    int rc;

    move_first(search->plan, search->ranked, search->count, moved, search->from, search->to,
               search->why);
    rc = sensitivity->corrects_biases
             ? correct_biases(search->plan, sensitivity->host, sensitivity->samples, true, &done, err)
             : 0;
    sensitivity->biases_are_old |= !done;
    if (rc == 0)
        rc = attempt(sensitivity, search->plan, UINT64_MAX, &graph, out_error, err);
    if (rc < 0)
        return rc;
    /* Above the limit the finer of two that err alike, as the next rung goes on from it. */
    bool better = search->error_ratio > limit ? *out_error <= search->error_ratio
                                              : *out_error <= limit && moved < search->best;

    if (better) {
        pith_graph_free(search->graph);
        search->graph = graph;
        search->best = moved;
        search->error_ratio = *out_error;
    } else {
        pith_graph_free(graph);
    }
    return 0;
}

static int search_count(struct sensitivity *sensitivity, struct search *search,
                        struct pith_error *err)
{
    size_t below = 0, at = 0; /* `below` misses the limit, `at` keeps it */
    double error = search->error_ratio;
    int rc = 0;

    for (size_t moved = 1; rc == 0 && at == 0 && search->count > 0; moved *= 2) {
        size_t tried = moved < search->count ? moved : search->count;

        if (sensitivity->passes_left < 2)
            tried = search->count; /* the last look is at the finest */
        rc = try_moved(sensitivity, search, tried, &error, err);
        if (error <= sensitivity->max_error_ratio)
            at = tried;
        else
            below = tried;
        if (tried == search->count)
            break;
    }
    while (rc == 0 && at > below + 1 && sensitivity->passes_left > 0) {
        size_t middle = below + (at - below) / 2;

        rc = try_moved(sensitivity, search, middle, &error, err);
        if (error <= sensitivity->max_error_ratio)
            at = middle;
        else
            below = middle;
    }
    return rc;
}

/* One rung of the ladder: as few layers as needed move from a form to the next finer one. */
static int move_layers(struct sensitivity *sensitivity, struct plan *plan, enum form from,
                       enum form to, const char *why, struct pith_graph **graph,
                       struct pith_error *err)
{
    struct search search = {.plan = plan, .from = from, .to = to, .why = why, .graph = *graph};
    int rc = plan_count(plan, from) == 0
                 ? 0
                 : rank_layers(sensitivity, plan, from, to, &search.ranked, &search.count, err);

    if (rc < 0 || search.count == 0) {
        free(search.ranked);
        return rc;
    }
    search.error_ratio = sensitivity->error_ratio;
    rc = search_count(sensitivity, &search, err);
    move_first(plan, search.ranked, search.count, search.best, from, to, why);
    if (rc == 0)
        rc = plan_mark(plan);
    *graph = search.graph;
    sensitivity->error_ratio = search.error_ratio;
    free(search.ranked);
    return rc;
}

/* Whether the engine multiplies 16-bit activations here: elsewhere it would only round what it computes in floats. */
#ifdef __x86_64__
#define WORDS_ARE_MULTIPLIED 1
#else
#define WORDS_ARE_MULTIPLIED 0
#endif

/* From coarse to fine: bits of weights first, as the levels are what 4-bit weights lack, then
 * integers between layers, then integers at all. */
static const struct {
    enum form from, to;
    const char *why;
} rungs[] = {
    {FORM_W4A8, FORM_W8A8, "4-bit weights here move the graph's outputs too far"},
    {FORM_W4A16, FORM_W8A16, "4-bit weights here move the graph's outputs too far"},
    {FORM_W4, FORM_W8, "4-bit weights here move the graph's outputs too far"},
    {FORM_W8A8, FORM_W8, "integer activations here move the graph's outputs too far"},
    {FORM_W8A16, FORM_W8, "integer activations here move the graph's outputs too far"},
    {FORM_W8, FORM_FLOAT16, "8-bit weights here move the graph's outputs too far"},
};

/* Weights far from layers go back to floats where it is they that err. */
static int try_far_floats(struct sensitivity *sensitivity, struct plan *plan,
                              struct pith_graph **graph, struct pith_error *err)
{
    struct pith_graph *tried = NULL;
    size_t count = plan->far_count;
    double error;

    plan->far_stay = true;
    int rc = attempt(sensitivity, plan, UINT64_MAX, &tried, &error, err);

    if (rc < 0)
        return rc;
    if (error < 0.9 * sensitivity->error_ratio) { /* else they aren't what errs */
        pith_graph_free(*graph);
        *graph = tried;
        sensitivity->error_ratio = error;
        return 0;
    }
    plan->far_stay = false;
    plan->far_count = count;
    pith_graph_free(tried);
    return 0;
}

/* Of the multiplications that were to be of 8-bit activations, the share whose activations are floats now. */
static double share_of_floats(const struct plan *plan, const enum form *asked)
{
    double all = 0, floats = 0;

    for (size_t i = 0; i < plan->layer_count; i++) {
        const double macs = (double) pith_node_macs(plan->graph, plan->layers[i].node);

        if (asked[i] != FORM_W8A8)
            continue;
        all += macs;
        floats += form_is_static(plan->layers[i].form) ? 0 : macs;
    }
    return all > 0 ? floats / all : 0;
}

/* Where 8-bit activations left most of a graph to floats, 16 bits all through are faster if the engine multiplies such: kept
 * where the outputs err no more, or as much as they may. */
static int try_words(struct sensitivity *sensitivity, struct plan *plan, const enum form *asked,
                     struct pith_graph **graph, struct pith_error *err)
{
    struct layer *was = calloc(plan->layer_count + 1, sizeof *was);
    struct pith_graph *tried = NULL;
    double error = HUGE_VAL;
    bool done = true;
    int rc = was ? 0 : -ENOMEM;

    for (size_t i = 0; rc == 0 && i < plan->layer_count; i++) {
        struct layer *layer = &plan->layers[i];

        was[i] = *layer;
        if (asked[i] == FORM_W8A8) {
            layer_set_form(layer, FORM_W8A16);
            layer->why = "8-bit activations move the graph's outputs too far in most of it";
        }
    }
    if (rc == 0 && sensitivity->corrects_biases)
        rc = correct_biases(plan, sensitivity->host, sensitivity->samples, true, &done, err);
    if (rc == 0)
        rc = attempt(sensitivity, plan, UINT64_MAX, &tried, &error, err);
    if (rc == 0 && error <= fmax(sensitivity->error_ratio, sensitivity->max_error_ratio)) {
        pith_graph_free(*graph);
        *graph = tried;
        sensitivity->error_ratio = error;
        sensitivity->biases_are_old = !done;
    } else if (rc == 0) {
        pith_graph_free(tried);
        for (size_t i = 0; i < plan->layer_count; i++) {
            plan->layers[i].form = was[i].form;
            plan->layers[i].as_it_came = was[i].as_it_came;
            plan->layers[i].why = was[i].why;
        }
        sensitivity->biases_are_old |= sensitivity->corrects_biases; /* they are those of the trial */
        rc = plan_mark(plan);
    }
    free(was);
    return rc;
}

/* Once for all that moved, where it was too dear in each trial. */
static int correct_once(struct sensitivity *sensitivity, struct plan *plan, struct pith_graph **graph,
                        struct pith_error *err)
{
    struct pith_graph *tried = NULL;
    double error = HUGE_VAL;
    int rc = correct_biases(plan, sensitivity->host, sensitivity->samples, false, NULL, err);

    if (rc == 0)
        rc = attempt(sensitivity, plan, UINT64_MAX, &tried, &error, err);
    if (rc == 0 && error <= sensitivity->error_ratio) {
        struct pith_graph *was = *graph;

        *graph = tried;
        tried = was;
        sensitivity->error_ratio = error;
    }
    pith_graph_free(tried);
    return rc;
}

int sensitivity_settle(struct sensitivity *sensitivity, struct plan *plan, struct pith_graph **out,
                       struct pith_error *err)
{
    struct pith_graph *graph = NULL;
    enum form *asked = plan_forms(plan);
    int rc = asked ? attempt(sensitivity, plan, UINT64_MAX, &graph, &sensitivity->error_ratio, err)
                   : -ENOMEM;

    if (rc == 0 && plan->far_count > 0 &&
        sensitivity->error_ratio > sensitivity->max_error_ratio)
        rc = try_far_floats(sensitivity, plan, &graph, err);
    for (size_t i = 0; i < sizeof rungs / sizeof *rungs && rc == 0; i++)
        if (sensitivity->error_ratio > sensitivity->max_error_ratio)
            rc = move_layers(sensitivity, plan, rungs[i].from, rungs[i].to, rungs[i].why, &graph,
                             err);
    if (rc == 0 && WORDS_ARE_MULTIPLIED && share_of_floats(plan, asked) > 0.5)
        rc = try_words(sensitivity, plan, asked, &graph, err);
    if (rc == 0 && sensitivity->biases_are_old)
        rc = correct_once(sensitivity, plan, &graph, err);
    free(asked);
    if (rc < 0) {
        pith_graph_free(graph);
        return rc;
    }
    *out = graph;
    return 0;
}

static size_t count_finer(const struct plan *plan, const enum form *before)
{
    size_t count = 0;

    for (size_t i = 0; i < plan->layer_count; i++)
        count += layer_form(&plan->layers[i]) != before[i];
    return count;
}

int sensitivity_keep_budget(struct sensitivity *sensitivity, struct plan *plan, double points,
                            const struct pith_graph *original, struct pith_graph **graph,
                            struct kept_budget *out, struct pith_error *err)
{
    struct sensitivity search = *sensitivity;
    enum form *before = plan_forms(plan);
    int rc = before ? 0 : -ENOMEM;

    *out = (struct kept_budget){.points = points, .drop_points = -1};
    if (points < 0 || !search.host->evaluate) {
        free(before);
        return rc;
    }
    search.by_accuracy = true;
    search.max_error_ratio = points;
    if (rc == 0)
        rc = search.host->evaluate(search.host->context, original, &search.float_graph, err);
    if (rc == 0)
        rc = drop_points(&search, *graph, &search.error_ratio, err);
    for (size_t i = 0; i < sizeof rungs / sizeof *rungs && rc == 0; i++)
        if (search.error_ratio > points)
            rc = move_layers(&search, plan, rungs[i].from, rungs[i].to,
                             "the budget of accuracy is not kept with it coarser", graph, err);
    if (rc == 0) {
        out->asked = true;
        out->drop_points = search.error_ratio;
        out->moved = count_finer(plan, before);
    }
    free(before);
    return rc;
}
