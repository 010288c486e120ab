/* Telemetry: what pipelines and deployments measured, a row a minute and pipeline, and a summary on MQTT. */
#ifndef PITHD_TELEMETRY_H
#define PITHD_TELEMETRY_H

#include "daemon/daemon.h"

int telemetry_open(struct telemetry **out, struct daemon *daemon, struct pith_error *err) PITH_CHECKED;
/* Counted on the loop, as results come back from the lanes. */
struct telemetry_inference {
    const char *pipeline, *model, *version, *variant;
    uint32_t inference_count;
    uint32_t fired_count;
    uint64_t latency_ns; /* of the slowest in the batch, counted inference_count times */
    uint64_t cpu_ns;     /* sum */
};
void telemetry_add(struct telemetry *telemetry, const struct telemetry_inference *inference);
void telemetry_feedback(struct telemetry *telemetry, const char *pipeline, const char *model, const char *version,
                        const char *variant, bool correct);
void telemetry_fidelity(struct telemetry *telemetry, const char *pipeline, const char *model, const char *version,
                        const char *variant, bool agreed);
enum telemetry_drop { TELEMETRY_DROP_QUEUE, TELEMETRY_DROP_REFUSED };
void telemetry_dropped(struct telemetry *telemetry, const char *pipeline, enum telemetry_drop why, uint64_t count);
/* Writes what the running minute has, then stops. */
void telemetry_close(struct telemetry *telemetry);

#endif
