/* Facts and how they are taken. Latency is timed in alternation with warm-up; medians and the 95th
 * percentile survive a shared machine better than means. */
#include "libpith/compress/measure.h"

#include "libpith/base/clock.h"
#include "libpith/compress/entropy.h"
#include "libpith/compress/statistics.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WARM_UP_RUNS 2
#define LEAST_RUNS   3 /* whatever the time */

static const struct {
    const char *name;
    size_t offset;
} fact_table[] = {
    {"bytes", offsetof(struct pith_facts, bytes)},
    {"raw_bytes", offsetof(struct pith_facts, raw_bytes)},
    {"weight_bytes", offsetof(struct pith_facts, weight_bytes)},
    {"entropy_bytes", offsetof(struct pith_facts, entropy_bytes)},
    {"parameters", offsetof(struct pith_facts, parameters)},
    {"nonzero", offsetof(struct pith_facts, nonzero)},
    {"macs", offsetof(struct pith_facts, macs)},
    {"peak_activation_bytes", offsetof(struct pith_facts, peak_activation_bytes)},
    {"arena_bytes", offsetof(struct pith_facts, arena_bytes)},
    {"latency_p50_us", offsetof(struct pith_facts, latency_p50_us)},
    {"latency_p95_us", offsetof(struct pith_facts, latency_p95_us)},
    {"latency_runs", offsetof(struct pith_facts, latency_runs)},
    {"cpu_us", offsetof(struct pith_facts, cpu_us)},
    {"energy_uj", offsetof(struct pith_facts, energy_uj)},
    {"accuracy_ratio", offsetof(struct pith_facts, accuracy_ratio)},
    {"accuracy_low_ratio", offsetof(struct pith_facts, accuracy_low_ratio)},
    {"accuracy_high_ratio", offsetof(struct pith_facts, accuracy_high_ratio)},
    {"accuracy_samples", offsetof(struct pith_facts, accuracy_samples)},
    {"fidelity_ratio", offsetof(struct pith_facts, fidelity_ratio)},
    {"error_ratio", offsetof(struct pith_facts, error_ratio)},
};
#define FACTS (sizeof fact_table / sizeof *fact_table)

static double *fact(const struct pith_facts *facts, size_t index)
{
    return (double *) ((char *) facts + fact_table[index].offset);
}

void pith_facts_init(struct pith_facts *facts)
{
    *facts = (struct pith_facts){0};
    for (size_t i = 0; i < FACTS; i++)
        *fact(facts, i) = NAN;
}

/* Counts are whole numbers in the file, and read back the same. */
static json_t *number(double x)
{
    if (!isfinite(x))
        return json_null();
    return x == floor(x) && fabs(x) < 9e15 ? json_integer((json_int_t) x) : json_real(x);
}

json_t *pith_facts_json(const struct pith_facts *facts)
{
    json_t *object = json_object();

    for (size_t i = 0; i < FACTS; i++)
        (void) json_object_set_new(object, fact_table[i].name, number(*fact(facts, i)));
    (void) json_object_set_new(
        object, "energy_source",
        facts->energy_source == PITH_ENERGY_MEASURED    ? json_string("measured")
        : facts->energy_source == PITH_ENERGY_ESTIMATED ? json_string("estimated")
                                                        : json_null());
    return object;
}

void pith_facts_read(struct pith_facts *out, const json_t *object)
{
    const char *source = json_string_value(json_object_get(object, "energy_source"));

    pith_facts_init(out);
    for (size_t i = 0; i < FACTS; i++) {
        const json_t *value = json_object_get(object, fact_table[i].name);

        if (json_is_number(value))
            *fact(out, i) = json_number_value(value);
    }
    if (source)
        out->energy_source =
            !strcmp(source, "measured") ? PITH_ENERGY_MEASURED : PITH_ENERGY_ESTIMATED;
}

static void take_work(struct pith_facts *facts, const struct pith_graph_size *size)
{
    facts->macs = size->macs > 0 ? (double) size->macs : NAN;
    facts->peak_activation_bytes =
        size->peak_activation_bytes > 0 ? (double) size->peak_activation_bytes : NAN;
}

void pith_facts_of_graph(struct pith_facts *facts, const struct pith_graph *graph, uint64_t bytes,
                         uint64_t raw_bytes)
{
    struct pith_graph_size size;

    pith_graph_measure(graph, &size);
    facts->bytes = (double) bytes;
    facts->raw_bytes = (double) raw_bytes;
    facts->weight_bytes = (double) size.weight_bytes;
    facts->entropy_bytes = pith_graph_entropy_bytes(graph);
    facts->parameters = (double) size.parameters;
    facts->nonzero = (double) size.nonzero;
    take_work(facts, &size);
}

void pith_facts_of_work(struct pith_facts *facts, const struct pith_graph *graph,
                        const struct pith_shape *shapes)
{
    struct pith_graph *clone = NULL;
    struct pith_graph_size size;

    if (pith_graph_clone(graph, &clone, NULL) < 0)
        return;
    if (pith_graph_infer(clone, shapes, NULL) == 0) {
        pith_graph_measure(clone, &size);
        take_work(facts, &size);
    }
    pith_graph_free(clone);
}

void pith_facts_sum(struct pith_facts *total, const struct pith_facts *part)
{
    total->bytes += part->bytes;
    total->raw_bytes += part->raw_bytes;
    total->weight_bytes += part->weight_bytes;
    total->entropy_bytes += part->entropy_bytes;
    total->parameters += part->parameters;
    total->nonzero += part->nonzero;
    total->macs += part->macs;
    total->arena_bytes += part->arena_bytes;
    if (!(total->peak_activation_bytes >= part->peak_activation_bytes))
        total->peak_activation_bytes = part->peak_activation_bytes;
}

void pith_facts_estimate_energy(struct pith_facts *facts, double cpu_power_mw)
{
    if (!(cpu_power_mw > 0) || !isfinite(facts->cpu_us))
        return;
    facts->energy_uj = facts->cpu_us * cpu_power_mw / 1000; /* us * mW = nJ */
    facts->energy_source = PITH_ENERGY_ESTIMATED;
}

/* ---- latency ---- */

struct lane { /* a contender while it is measured */
    struct pith_session *session;
    struct pith_tensor *outputs;
    uint64_t *times_ns;
    uint64_t cpu_ns;
};

static void give_up(struct pith_contender *contender, struct lane *lane,
                    const struct pith_error *why)
{
    contender->timing.supported = false;
    (void) snprintf(contender->timing.reason, sizeof contender->timing.reason, "%s",
                    pith_error_text(why));
    contender->engine->close(lane->session);
    lane->session = NULL;
}

static void open_lane(const struct pith_host *host, struct pith_contender *contender,
                      struct lane *lane, const struct pith_shape *shapes, uint32_t threads)
{
    struct pith_engine_options options = {.size_bytes = sizeof options,
                                          .threads = threads,
                                          .input_shapes = shapes,
                                          .options = contender->options};
    struct pith_session_description description = {0};
    struct pith_error why = {0};
    uint64_t start = pith_monotonic_ns();
    int rc = contender->engine->supports(contender->graph, NULL, NULL, &why);

    contender->timing = (struct pith_timing){.compile_us = NAN,
                                             .arena_bytes = NAN,
                                             .latency_p50_us = NAN,
                                             .latency_p95_us = NAN,
                                             .cpu_us = NAN};
    if (rc == 0)
        rc = contender->engine->compile(host, contender->graph, &options, &lane->session, &why);
    if (rc < 0) {
        why.code = rc;
        give_up(contender, lane, &why);
        return;
    }
    contender->timing.supported = true;
    contender->timing.compile_us = (double) (pith_monotonic_ns() - start) / 1000;
    if (contender->engine->describe &&
        contender->engine->describe(lane->session, &description) == 0)
        contender->timing.arena_bytes = (double) description.arena_bytes;
}

static void run_lane(struct pith_contender *contender, struct lane *lane,
                     const struct pith_tensor *inputs, size_t input_count, uint32_t run)
{
    struct pith_error why = {0};
    uint64_t cpu = pith_thread_cpu_ns(), start = pith_monotonic_ns();
    int rc = contender->engine->run(lane->session, inputs, input_count, lane->outputs,
                                    pith_graph_output_count(contender->graph), &why);
    uint64_t time_ns = pith_monotonic_ns() - start;

    if (rc < 0) {
        why.code = rc;
        give_up(contender, lane, &why);
        return;
    }
    if (run < WARM_UP_RUNS)
        return;
    lane->times_ns[run - WARM_UP_RUNS] = time_ns;
    lane->cpu_ns += pith_thread_cpu_ns() - cpu;
}

static void close_lane(struct pith_contender *contender, struct lane *lane, uint32_t runs)
{
    if (lane->session && lane->times_ns) {
        contender->timing.latency_p50_us = pith_quantile(lane->times_ns, runs, 0.5) / 1000;
        contender->timing.latency_p95_us = pith_quantile(lane->times_ns, runs, 0.95) / 1000;
        contender->timing.cpu_us = (double) lane->cpu_ns / runs / 1000;
        contender->timing.runs = runs;
    }
    if (lane->session)
        contender->engine->close(lane->session);
    free(lane->outputs);
    free(lane->times_ns);
}

int pith_measure_latency(const struct pith_host *host, struct pith_contender *contenders,
                         size_t count, const struct pith_tensor *inputs, size_t input_count,
                         uint32_t threads, uint32_t runs, uint32_t limit_ms, struct pith_error *err)
{
    struct pith_shape *shapes = calloc(input_count + 1, sizeof *shapes);
    struct lane *lanes = calloc(count + 1, sizeof *lanes);
    int rc = shapes && lanes ? 0 : -ENOMEM;
    uint32_t done = 0;

    for (size_t i = 0; rc == 0 && i < input_count; i++)
        shapes[i] = inputs[i].shape;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        lanes[i].outputs =
            calloc(pith_graph_output_count(contenders[i].graph) + 1, sizeof *lanes[i].outputs);
        lanes[i].times_ns = calloc((size_t) runs + 1, sizeof *lanes[i].times_ns);
        if (!lanes[i].outputs || !lanes[i].times_ns)
            rc = -ENOMEM;
        else
            open_lane(host, &contenders[i], &lanes[i], shapes, threads);
    }
    uint64_t start = pith_monotonic_ns();

    for (uint32_t run = 0; rc == 0 && run < runs + WARM_UP_RUNS; run++) {
        if (limit_ms > 0 && run >= LEAST_RUNS + WARM_UP_RUNS &&
            pith_monotonic_ns() - start > (uint64_t) limit_ms * 1000000)
            break;
        if (host && host->cancelled && host->cancelled(host->context))
            rc = -ECANCELED;
        for (size_t i = 0; rc == 0 && i < count; i++)
            if (lanes[i].session)
                run_lane(&contenders[i], &lanes[i], inputs, input_count, run);
        done = run < WARM_UP_RUNS ? 0 : run - WARM_UP_RUNS + 1;
    }
    for (size_t i = 0; lanes && i < count; i++)
        close_lane(&contenders[i], &lanes[i], rc == 0 && done > 0 ? done : 1);
    free(shapes);
    free(lanes);
    return rc < 0 ? pith_fail(err, rc,
                              rc == -ECANCELED ? "cancelled" : "no memory for measuring latency")
                  : 0;
}
