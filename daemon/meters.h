/* The meters of the configuration: one that reads the whole machine, and one that lanes read for their own thread.
 * Where the configuration names none, those that this machine has are used: rapl, hwmon, cputime. */
#ifndef PITHD_METERS_H
#define PITHD_METERS_H

#include "daemon/daemon.h"
#include <pith/meter.h>

/* A meter that can't be used is logged and left out; none at all is fine: energy is then unknown. */
int meters_open(struct meters **out, struct daemon *daemon, struct pith_error *err) PITH_CHECKED;
/* Another config, whose meters are the same: their options lie in that one from now on. */
void meters_reload(struct meters *meters, const struct config *config);
void meters_close(struct meters *meters);

/* The machine's energy and the CPU time of all that ran on it, from _begin to _end. False: no meter tells. */
void meters_begin(struct meters *meters);
/* Takes a reading in between, at most one a second: for sensors that tell power alone. */
void meters_sample(struct meters *meters);
bool meters_end(struct meters *meters, uint64_t *out_energy_uj, uint64_t *out_busy_cpu_ns);

/* A meter of one thread. NULL where there is none; then energy per thread is unknown. */
struct thread_meter;
struct thread_meter *thread_meter_open(const struct meters *meters);
uint64_t thread_meter_read_on_thread(struct thread_meter *meter, uint32_t *out_source); /* UINT64_MAX: unknown */
void thread_meter_close(struct thread_meter *meter);

#endif
