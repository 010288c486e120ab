/* Telemetry: what pipelines measured, a row a minute, pipeline, version and variant, and a summary on MQTT.
 * Counted in memory on the loop; handed to the database's writer when the minute ends. Nothing ticks while nothing runs. */
#ifndef PITHD_TELEMETRY_H
#define PITHD_TELEMETRY_H

#include "daemon/daemon.h"

struct telemetry_key { /* empty texts where unknown: a payload may be refused before a version is there */
    const char *pipeline, *model, *version, *variant;
};

struct telemetry_batch { /* what one or more payloads led to */
    uint32_t payload_count;
    uint32_t inference_count;
    uint32_t fired_count;
    const uint32_t *latency_us; /* inference_count of them */
    uint64_t cpu_ns;            /* sum */
    uint64_t energy_uj;         /* sum, as a thread's meter tells it; UINT64_MAX: unknown */
    uint32_t energy_source;     /* enum pith_energy_source */
};

enum telemetry_drop { TELEMETRY_DROP_QUEUE, TELEMETRY_DROP_REFUSED };

int telemetry_open(struct telemetry **out, struct daemon *daemon, struct pith_error *err) PITH_CHECKED;
void telemetry_add(struct telemetry *telemetry, const struct telemetry_key *key, const struct telemetry_batch *batch);
void telemetry_feedback(struct telemetry *telemetry, const struct telemetry_key *key, bool correct);
void telemetry_fidelity(struct telemetry *telemetry, const struct telemetry_key *key, uint32_t agreed_count,
                        uint32_t compared_count);
void telemetry_dropped(struct telemetry *telemetry, const struct telemetry_key *key, enum telemetry_drop why,
                       uint32_t count);
/* Hands what the running minute has to the database, then stops. Before database_close. */
void telemetry_close(struct telemetry *telemetry, void (*closed)(void *user), void *user);

#endif
