/* The control table: methods with two doors, a Unix socket in the run folder and MQTT `call`
 * topics. Same JSON, same answers. Socket: one JSON object a line, {"method": "...", "params":
 * {...}}; the answer is one line,
 * {"ok": true, "result": ...} or {"ok": false, "code": "...", "error": "a sentence"}.
 * MQTT: gw/<gw>/call/<method>, payload = params (or nothing); the answer goes to the response topic
 * with the correlation data. The response topic must be below <root>/answer/, so that a caller
 * can't have a gateway write where it may not itself. */
#ifndef PITHD_CONTROL_H
#define PITHD_CONTROL_H

#include "daemon/daemon.h"

struct control_call; /* one request under way */
/* Answers later or at once; each call is answered exactly once. result: taken, may be NULL for {}.
 */
void control_reply(struct control_call *call, json_t *result);
void control_refuse(struct control_call *call, int code, const char *format, ...) PITH_PRINTF(3, 4);

struct control_method {
    const char *name;
    const char *help; /* one line, for `describe` and the man page */
    bool changes;     /* changes state: on the MQTT door only where config allows it */
    void (*run)(struct daemon *daemon, const json_t *params, struct control_call *call);
};
/* Each part gives its own methods; the table is the sum. */
extern const struct control_method
    control_methods[]; /* status, describe, plugins, reload; control.c */
extern const struct control_method
    deployments_methods[]; /* deployments, activate, rollback, cancel; deployments.c */
extern const struct control_method pipelines_methods[]; /* pipelines, label; pipelines.c */
extern const struct control_method telemetry_methods[]; /* telemetry; telemetry.c */

int control_open(struct control **out, struct daemon *daemon, struct pith_error *err) PITH_CHECKED;
/* Closes both doors. Answers to calls that are still under way go nowhere. */
void control_close(struct control *control, void (*closed)(void *user), void *user);

#endif
