/* Meter plugins: read energy or power. */
#ifndef PITH_METER_H
#define PITH_METER_H

#include <pith/plugin.h>

struct pith_meter; /* the meter's own */

enum pith_energy_source { /* how a figure is known; it travels with the figure into SQLite */
    PITH_ENERGY_UNKNOWN = 0,
    PITH_ENERGY_MEASURED = 1,
    PITH_ENERGY_ESTIMATED = 2,
};

enum pith_meter_scope {
    PITH_METER_MACHINE = 1, /* reads what the whole machine takes */
    PITH_METER_THREAD = 2,  /* reads what the calling thread has cost */
};

struct pith_meter_reading {
    uint32_t source;    /* enum pith_energy_source */
    uint32_t scope;     /* enum pith_meter_scope */
    uint64_t energy_uj; /* a counter that only grows (wraps and resets are the meter's business); UINT64_MAX: unknown */
    uint64_t power_mw;  /* at this moment; UINT64_MAX: unknown */
};

struct pith_meter_ops {
    uint32_t size_bytes;
    /* -ENODEV where this machine has no such sensor: not an error, the meter is left out and said so. */
    int (*open)(const struct pith_host *host, const struct pith_option_value *options, struct pith_meter **out,
                struct pith_error *err);
    /* Takes under 1 ms. */
    int (*read)(struct pith_meter *meter, struct pith_meter_reading *out, struct pith_error *err);
    void (*close)(struct pith_meter *meter); /* NULL is fine */
};

#endif
