/* cputime: an estimate for machines without a power sensor: CPU time of the calling thread times
 * what a busy core takes. */
#include <errno.h>
#include <pith/meter.h>
#include <stdlib.h>
#include <time.h>

struct pith_meter {
    double watts;
};

enum { OPTION_WATTS };
static const struct pith_option options[] = {
    {.name = "watts",
     .type = PITH_OPTION_FLOAT,
     .minimum = 0.001,
     .maximum = 1000,
     .otherwise = "2.0",
     .help = "what one busy core adds to the machine's power, in watts; measure it once with a "
             "plug: about 1 on small "
             "ARM boards, 2 to 4 on mini PCs, 10 and more on desktops"},
    {0},
};

static int cputime_open(const struct pith_host *host, const struct pith_option_value *values,
                        struct pith_meter **out, struct pith_error *err)
{
    struct pith_meter *meter = malloc(sizeof *meter);

    (void) host;
    (void) err;
    if (!meter)
        return -ENOMEM;
    meter->watts = values[OPTION_WATTS].number;
    *out = meter;
    return 0;
}

static int cputime_read(struct pith_meter *meter, struct pith_meter_reading *out,
                        struct pith_error *err)
{
    struct timespec spent;

    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent) != 0)
        return pith_fail(err, -errno, "cputime: the thread's CPU clock can't be read");
    *out = (struct pith_meter_reading){
        .source = PITH_ENERGY_ESTIMATED,
        .scope = PITH_METER_THREAD,
        .energy_uj = (uint64_t) (((double) spent.tv_sec * 1e6 + (double) spent.tv_nsec / 1e3) *
                                 meter->watts),
        .power_mw = UINT64_MAX,
    };
    return 0;
}

static void cputime_close(struct pith_meter *meter)
{
    free(meter);
}

static const struct pith_meter_ops ops = {
    .size_bytes = sizeof ops,
    .open = cputime_open,
    .read = cputime_read,
    .close = cputime_close,
};

PITH_EXPORT const struct pith_plugin pith_plugin = {
    .size_bytes = sizeof pith_plugin,
    .abi_major = PITH_ABI_MAJOR,
    .abi_minor = PITH_ABI_MINOR,
    .kind = PITH_KIND_METER,
    .name = "cputime",
    .version = "1.0",
    .summary = "energy estimated from a thread's CPU time",
    .ops = &ops,
    .options = options,
};
