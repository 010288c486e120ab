/* One request, from either door to its answer. */
#ifndef PITHD_CONTROL_CALL_H
#define PITHD_CONTROL_CALL_H

#include "daemon/control.h"

#define CONTROL_REQUEST_MAX_BYTES (64 * 1024)

/* Where an answer goes; called once. text: one line of JSON without its end, freed by the callee
 * with free(); NULL: there was no memory for one. */
typedef void control_answer(void *user, char *text);

/* Finds the method and runs it; each way leads to one answer. method may be of any bytes. params:
 * NULL for {}. */
void control_run(struct daemon *daemon, const char *method, const json_t *params, bool may_change,
                 control_answer *answer, void *user);
/* The answer to what isn't even a request. */
void control_refuse_request(const struct pith_error *err, control_answer *answer, void *user);

/* The doors; both part of struct control. */
struct control_socket;
int control_socket_open(struct control_socket **out, struct daemon *daemon,
                        struct pith_error *err) PITH_CHECKED;
void control_socket_close(struct control_socket *door, void (*closed)(void *user), void *user);
int control_mqtt_open(struct daemon *daemon, struct pith_error *err) PITH_CHECKED;
void control_mqtt_close(struct daemon *daemon);

#endif
