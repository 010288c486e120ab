/* Contestants: run, measured, told. */
#include "cli/contest.h"

#include "cli/output.h"
#include "libpith/base/clock.h"
#include "libpith/compress/measure.h"

#include <errno.h>
#include <math.h>
#include <pith/meter.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int contestant_open(struct contestant *one, const char *path, const struct pith_plugins *plugins,
                    const char *engine_name, uint32_t threads, const struct data *data,
                    struct pith_error *err)
{
    int rc = model_open(&one->model, path, err);

    one->path = path;
    one->energy_uj = NAN;
    if (rc == 0)
        rc = data_show(data, one->model, err);
    if (rc == 0)
        rc = model_engine_open(&one->engine, plugins, engine_name, one->model, err);
    return rc < 0 ? rc : model_chain_open(&one->chain, one->model, &one->engine, threads, err);
}

void contestant_close(struct contestant *one)
{
    pith_outcomes_done(&one->outcomes);
    pith_metric_free(one->metric);
    pith_chain_close(one->chain);
    model_engine_done(&one->engine);
    model_close(one->model);
}

/* ---- running ---- */

int contest_run(struct contestant *ones, size_t count, const struct data *data,
                struct pith_dataset *dataset, struct pith_error *err)
{
    int rc = 0;

    for (size_t k = 0; rc == 0 && k < count; k++) {
        rc = pith_dataset_check(dataset, ones[k].model->manifest, err);
        if (rc == 0)
            rc = data_metric(data, dataset, &ones[k].metric, err);
    }
    for (uint64_t i = 0; rc == 0 && i < dataset->count; i++) {
        for (size_t k = 0; rc == 0 && k < count; k++) {
            struct contestant *one = &ones[(i + k) % count];

            rc = pith_evaluate_sample(one->chain, one->model->manifest, dataset, i, &one->outcomes,
                                      one->metric, err);
            if (rc < 0)
                rc = pith_fail_in(err, rc, "%s", one->path);
        }
        if (i % 16 == 0)
            progress_show(count > 1 ? "comparing" : "evaluating",
                          (double) i / (double) dataset->count);
    }
    progress_end();
    return rc;
}

#define METER_ROUNDS   3
#define METER_ROUND_MS 1000 /* a sensor's slowest period, some times over */

struct metering {
    const struct pith_meter_ops *ops;
    struct pith_meter *meter;
};

/* The first meter that counts the energy of the whole machine. */
static bool open_meter(struct metering *metering, const struct pith_plugins *plugins)
{
    for (size_t i = 0; i < pith_plugins_count(plugins); i++) {
        const struct pith_plugin *plugin = pith_plugins_entry(plugins, i)->plugin;
        struct pith_host host = {.size_bytes = sizeof host};
        struct pith_meter_reading reading;
        struct pith_options options = {0};
        struct pith_error why = {0};

        if (!plugin || plugin->kind != PITH_KIND_METER)
            continue;
        metering->ops = plugin->ops;
        if (pith_options_from_json(&options, plugin->options, NULL, plugin->name, &why) == 0 &&
            metering->ops->open(&host, options.values, &metering->meter, &why) == 0) {
            if (metering->ops->read(metering->meter, &reading, &why) == 0 &&
                reading.scope == PITH_METER_MACHINE && reading.source == PITH_ENERGY_MEASURED &&
                reading.energy_uj != UINT64_MAX) {
                pith_options_done(&options);
                return true;
            }
            metering->ops->close(metering->meter);
        }
        pith_options_done(&options);
    }
    return false;
}

static int energy_now(const struct metering *metering, uint64_t *out, struct pith_error *err)
{
    struct pith_meter_reading reading;
    int rc = metering->ops->read(metering->meter, &reading, err);

    *out = rc == 0 ? reading.energy_uj : 0;
    return rc;
}

/* Energy of a round, and the results that came in it. one: NULL: the machine at rest. */
static int meter_round(const struct metering *metering, struct contestant *one,
                       struct pith_dataset *dataset, double *energy_uj, double *results,
                       double *elapsed_ns, struct pith_error *err)
{
    uint64_t before, after, start = pith_monotonic_ns(), now = start;
    struct pith_outcomes outcomes = {0};
    int rc = energy_now(metering, &before, err);

    for (uint64_t i = 0; rc == 0 && now - start < METER_ROUND_MS * UINT64_C(1000000); i++) {
        if (one)
            rc = pith_evaluate_sample(one->chain, one->model->manifest, dataset, i % dataset->count,
                                      &outcomes, NULL, err);
        else
            (void) nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
        now = pith_monotonic_ns();
    }
    if (rc == 0)
        rc = energy_now(metering, &after, err);
    if (rc == 0) {
        *energy_uj += (double) (after - before);
        *results += (double) outcomes.results;
        *elapsed_ns += (double) (now - start);
    }
    pith_outcomes_done(&outcomes);
    return rc;
}

int contest_meter(struct contestant *ones, size_t count, const struct pith_plugins *plugins,
                  struct pith_dataset *dataset, struct pith_error *err)
{
    double energy[8] = {0}, results[8] = {0}, elapsed[8] = {0}; /* the last: at rest */
    struct metering metering = {.ops = NULL};
    int rc = 0;

    if (count > 7 || !open_meter(&metering, plugins))
        return 0;
    for (int round = 0; rc == 0 && round < METER_ROUNDS; round++)
        for (size_t k = 0; rc == 0 && k <= count; k++)
            rc = meter_round(&metering, k < count ? &ones[k] : NULL, dataset,
                             &energy[k < count ? k : 7], &results[k < count ? k : 7],
                             &elapsed[k < count ? k : 7], err);
    for (size_t k = 0; rc == 0 && k < count; k++) {
        double rest = energy[7] / elapsed[7] * elapsed[k];

        if (results[k] > 0)
            ones[k].energy_uj = fmax(energy[k] - rest, 0) / results[k];
    }
    metering.ops->close(metering.meter);
    return rc;
}

/* ---- telling ---- */

/* Shapes that a graph runs with: a dimension that is open counts as one. */
static void take_work(const struct pith_graph *graph, struct pith_facts *facts)
{
    struct pith_shape shapes[16];
    size_t count = pith_graph_input_count(graph);
    struct pith_facts work;

    if (count > sizeof shapes / sizeof *shapes)
        return;
    for (size_t i = 0; i < count; i++) {
        const struct pith_shape *shape = pith_value_shape(graph, pith_graph_input(graph, i));

        if (!shape)
            return;
        shapes[i] = *shape;
        for (uint32_t d = 0; d < shape->rank; d++)
            if (shapes[i].dim[d] < 0)
                shapes[i].dim[d] = 1;
    }
    work = *facts;
    pith_facts_of_work(&work, graph, shapes);
    *facts = work;
}

/* What the engine's session takes for activations. */
static double arena_of(const struct contestant *one, size_t graph)
{
    struct pith_session_description description = {0};
    const struct pith_engine_ops *engine;
    struct pith_session *session = pith_chain_session(one->chain, graph, &engine);

    if (!session || !engine->describe || engine->describe(session, &description) < 0)
        return NAN;
    return (double) description.arena_bytes;
}

static void take_facts(struct contestant *one, double cpu_power_mw, struct pith_facts *out)
{
    const struct model *model = one->model;

    for (size_t i = 0; i < model->manifest->graph_count; i++) {
        struct pith_facts part;

        pith_facts_init(&part);
        pith_facts_of_graph(&part, model->graphs[i], (uint64_t) model->file_bytes[i],
                            (uint64_t) model->raw_bytes[i]);
        take_work(model->graphs[i], &part);
        part.arena_bytes = arena_of(one, i);
        if (i == 0)
            *out = part;
        else
            pith_facts_sum(out, &part);
    }
    pith_outcomes_latency(&one->outcomes, &out->latency_p50_us, &out->latency_p95_us, &out->cpu_us);
    out->latency_runs = (double) one->outcomes.results;
    pith_facts_estimate_energy(out, cpu_power_mw);
    if (isfinite(one->energy_uj)) {
        out->energy_uj = one->energy_uj;
        out->energy_source = PITH_ENERGY_MEASURED;
    }
}

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

/* One bit a sample, as a string of 0 and 1: what a later comparison needs. */
static json_t *bits_of(const struct contestant *one)
{
    char *text = calloc(one->outcomes.count + 1, 1);
    json_t *bits;

    for (uint64_t i = 0; text && i < one->outcomes.count; i++)
        text[i] = pith_metric_right(one->metric, i) ? '1' : '0';
    bits = text ? json_string(text) : NULL;
    free(text);
    return bits;
}

static int add_metric(json_t *object, const struct contestant *one, struct pith_facts *facts,
                      struct pith_error *err)
{
    struct pith_measurement measured;
    int rc = pith_metric_measure(one->metric, &measured, err);

    if (rc < 0)
        return rc;
    (void) json_object_set_new(object, "metric",
                               json_pack("{ss so so so ss}", "name", measured.name, "value",
                                         number(measured.value), "low", number(measured.low),
                                         "high", number(measured.high), "interval",
                                         measured.interval));
    if (strcmp(measured.name, "top1") != 0)
        return 0;
    facts->accuracy_ratio = measured.value;
    facts->accuracy_low_ratio = measured.low;
    facts->accuracy_high_ratio = measured.high;
    facts->accuracy_samples = (double) measured.samples;
    (void) json_object_set_new(object, "right", bits_of(one));
    return 0;
}

json_t *contestant_json(struct contestant *one, double cpu_power_mw, struct pith_error *err)
{
    json_t *object = json_pack(
        "{ss ss sI sI sn}", "model", one->path, "engine", one->engine.plugin->name, "samples",
        (json_int_t) one->outcomes.count, "results", (json_int_t) one->outcomes.results, "metric");
    struct pith_facts facts;
    json_t *figures;

    pith_facts_init(&facts);
    take_facts(one, cpu_power_mw, &facts);
    if (one->metric && add_metric(object, one, &facts, err) < 0) {
        json_decref(object);
        return NULL;
    }
    figures = pith_facts_json(&facts);
    (void) json_object_update_missing(object, figures);
    json_decref(figures);
    return object;
}

json_t *contest_difference(const struct contestant *a, const struct contestant *b,
                           struct pith_error *err)
{
    struct pith_comparison comparison;
    struct pith_difference difference;
    json_t *object = json_object();

    pith_outcomes_compare(&a->outcomes, &b->outcomes, &comparison);
    (void) json_object_set_new(object, "samples", json_integer((json_int_t) comparison.samples));
    (void) json_object_set_new(object, "same", json_integer((json_int_t) comparison.same));
    (void) json_object_set_new(
        object, "fidelity_ratio",
        comparison.samples > 0 && !comparison.scoreless
            ? json_real((double) comparison.same / (double) comparison.samples)
            : json_null());
    (void) json_object_set_new(object, "error_ratio", number(comparison.error_ratio));
    if (!a->metric || !b->metric)
        return object;
    if (pith_metric_compare(a->metric, b->metric, &difference, err) < 0) {
        json_decref(object);
        return NULL;
    }
    (void) json_object_set_new(object, "metric",
                               json_pack("{so so so so ss}", "difference", number(difference.value),
                                         "low", number(difference.low), "high",
                                         number(difference.high), "p", number(difference.p), "test",
                                         difference.test));
    if (!strcmp(difference.test, "mcnemar")) {
        (void) json_object_set_new(object, "only_a", json_integer((json_int_t) difference.only_a));
        (void) json_object_set_new(object, "only_b", json_integer((json_int_t) difference.only_b));
    }
    return object;
}
