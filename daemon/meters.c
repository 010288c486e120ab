#include "daemon/meters.h"

#include "libpith/base/clock.h"
#include "libpith/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SAMPLE_NS UINT64_C(1000000000)
#define POWER_MAX_GAP_NS                                                                           \
    (120 * UINT64_C(1000000000)) /* a power reading says nothing of what is further away */

static const struct pith_host no_host = {.size_bytes = sizeof no_host};

struct opened {
    const struct pith_plugin *plugin;
    const struct pith_meter_ops *ops;
    const struct pith_option_value *values; /* the configuration's, or of `options` */
    struct pith_options options;            /* own; empty where the configuration has them */
    struct pith_meter *meter;
    struct pith_meter_reading first; /* as it read when it was opened */
};

struct meters {
    struct opened opened[CONFIG_MAX_METERS + 3];
    size_t count;
    struct opened *machine, *thread; /* the first of each; NULL: none */
    uint64_t begun_energy_uj, begun_cpu_ns;
    uint64_t power_energy_uj; /* summed up from power, where the meter tells no energy */
    uint64_t power_mw, power_at_ns;
};

struct thread_meter {
    const struct pith_meter_ops *ops;
    struct pith_meter *meter;
};

static void say_left_out(const char *name, int rc, bool asked_for, const struct pith_error *err)
{
    char quoted[2 * PITH_ERROR_TEXT_BYTES];

    if (asked_for)
        log_warn("meter_left_out", "meter=%s reason=%s", name,
                 pith_log_quote(pith_error_text(err), quoted, sizeof quoted));
    else
        log_debug("meter_left_out", "meter=%s code=%d reason=%s", name, rc,
                  pith_log_quote(pith_error_text(err), quoted, sizeof quoted));
}

/* Opens and tries a reading: a meter that can't be read is no use. */
static void try_meter(struct meters *meters, const struct pith_plugin *plugin,
                      const struct pith_option_value *values, struct pith_options *own,
                      bool asked_for)
{
    struct opened *opened = &meters->opened[meters->count];
    struct pith_error err = {0};
    int rc;

    *opened = (struct opened){.plugin = plugin, .ops = plugin->ops, .values = values};
    rc = opened->ops->open(&no_host, values, &opened->meter, &err);
    if (rc == 0) {
        rc = opened->ops->read(opened->meter, &opened->first, &err);
        if (rc < 0)
            opened->ops->close(opened->meter);
    }
    if (rc < 0) {
        err.code = rc;
        say_left_out(plugin->name, rc, asked_for, &err);
        pith_options_done(own);
        return;
    }
    if (own)
        opened->options = *own;
    if (opened->first.scope == PITH_METER_THREAD && !meters->thread)
        meters->thread = opened;
    if (opened->first.scope == PITH_METER_MACHINE && !meters->machine)
        meters->machine = opened;
    meters->count++;
}

static void try_usual(struct meters *meters, const struct pith_plugins *plugins)
{
    static const char *const names[] = {"rapl", "hwmon", "cputime"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct pith_plugin *plugin;
        struct pith_options options = {0};
        struct pith_error err = {0};
        if (pith_plugins_find(plugins, PITH_KIND_METER, names[i], &plugin, &err) < 0)
            continue;
        if (pith_options_from_json(&options, plugin->options, NULL, names[i], &err) < 0) {
            say_left_out(names[i], err.code, true, &err);
            continue;
        }
        try_meter(meters, plugin, options.values, &options, false);
    }
}

int meters_open(struct meters **out, struct daemon *daemon, struct pith_error *err)
{
    const struct config *config = daemon->config;
    struct meters *meters = calloc(1, sizeof *meters);

    if (!meters)
        return pith_fail(err, -ENOMEM, "meters: out of memory");
    for (size_t i = 0; i < config->meter_count; i++)
        try_meter(meters, config->meters[i].plugin, config->meters[i].options.values, NULL, true);
    if (config->meter_count == 0)
        try_usual(meters, daemon->plugins);
    for (size_t i = 0; i < meters->count; i++)
        log_info("meter_opened", "meter=%s scope=%s", meters->opened[i].plugin->name,
                 meters->opened[i].first.scope == PITH_METER_THREAD ? "thread" : "machine");
    *out = meters;
    return 0;
}

void meters_reload(struct meters *meters, const struct config *config)
{
    for (size_t i = 0; i < meters->count; i++) {
        struct opened *opened = &meters->opened[i];
        if (opened->options.values)
            continue; /* its own */
        opened->values = NULL;
        for (size_t k = 0; k < config->meter_count && !opened->values; k++)
            if (config->meters[k].plugin == opened->plugin)
                opened->values = config->meters[k].options.values;
    }
}

void meters_close(struct meters *meters)
{
    if (!meters)
        return;
    for (size_t i = 0; i < meters->count; i++) {
        meters->opened[i].ops->close(meters->opened[i].meter);
        pith_options_done(&meters->opened[i].options);
    }
    free(meters);
}

/* CPU time of all that runs on the machine, from the first line of /proc/stat: user nice system
 * idle iowait irq softirq steal, in ticks. 0 where it can't be read. */
static uint64_t busy_cpu_ns(void)
{
    unsigned long long t[8] = {0};
    long ticks_per_s = sysconf(_SC_CLK_TCK);
    FILE *file = fopen("/proc/stat", "re");
    int got;

    if (!file)
        return 0;
    got = fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &t[0], &t[1], &t[2], &t[3],
                 &t[4], &t[5], &t[6], &t[7]);
    (void) fclose(file); /* read only */
    if (got < 8 || ticks_per_s < 1)
        return 0;
    return (t[0] + t[1] + t[2] + t[5] + t[6] + t[7]) * (1000000000 / (unsigned long) ticks_per_s);
}

/* The machine meter's energy; one that tells power alone is summed up by trapezoids. */
static uint64_t machine_energy_uj(struct meters *meters)
{
    struct pith_meter_reading reading;
    struct pith_error err = {0};
    uint64_t now_ns = pith_monotonic_ns();
    uint64_t gap_ns = now_ns - meters->power_at_ns;

    if (!meters->machine || meters->machine->ops->read(meters->machine->meter, &reading, &err) < 0)
        return UINT64_MAX;
    if (reading.energy_uj != UINT64_MAX || reading.power_mw == UINT64_MAX)
        return reading.energy_uj;
    if (meters->power_at_ns > 0 && gap_ns < POWER_MAX_GAP_NS)
        meters->power_energy_uj +=
            (uint64_t) ((double) (reading.power_mw + meters->power_mw) / 2 * (double) gap_ns / 1e6);
    meters->power_mw = reading.power_mw;
    meters->power_at_ns = now_ns;
    return meters->power_energy_uj;
}

void meters_begin(struct meters *meters)
{
    if (!meters)
        return;
    meters->power_at_ns = 0;
    meters->begun_energy_uj = machine_energy_uj(meters);
    meters->begun_cpu_ns = busy_cpu_ns();
}

void meters_sample(struct meters *meters)
{
    if (meters && meters->power_at_ns > 0 && pith_monotonic_ns() - meters->power_at_ns >= SAMPLE_NS)
        (void) machine_energy_uj(meters);
}

bool meters_end(struct meters *meters, uint64_t *out_energy_uj, uint64_t *out_busy_cpu_ns)
{
    uint64_t energy_uj, cpu_ns;

    if (!meters || !meters->machine)
        return false;
    energy_uj = machine_energy_uj(meters);
    cpu_ns = busy_cpu_ns();
    if (energy_uj == UINT64_MAX || meters->begun_energy_uj == UINT64_MAX ||
        cpu_ns <= meters->begun_cpu_ns)
        return false;
    *out_energy_uj = energy_uj - meters->begun_energy_uj;
    *out_busy_cpu_ns = cpu_ns - meters->begun_cpu_ns;
    return true;
}

struct thread_meter *thread_meter_open(const struct meters *meters)
{
    struct thread_meter *meter;
    struct pith_error err = {0};

    if (!meters || !meters->thread || !meters->thread->values)
        return NULL;
    meter = calloc(1, sizeof *meter);
    if (!meter)
        return NULL;
    meter->ops = meters->thread->ops;
    if (meter->ops->open(&no_host, meters->thread->values, &meter->meter, &err) < 0) {
        free(meter);
        return NULL;
    }
    return meter;
}

uint64_t thread_meter_read_on_thread(struct thread_meter *meter, uint32_t *out_source)
{
    struct pith_meter_reading reading;
    struct pith_error err = {0};

    if (!meter || meter->ops->read(meter->meter, &reading, &err) < 0)
        return UINT64_MAX;
    *out_source = reading.source;
    return reading.energy_uj;
}

void thread_meter_close(struct thread_meter *meter)
{
    if (!meter)
        return;
    meter->ops->close(meter->meter);
    free(meter);
}
