/* Calls to the daemon on this machine, through its Unix socket. */
#ifndef PITH_CLI_DAEMON_CALL_H
#define PITH_CLI_DAEMON_CALL_H

#include "cli/cli.h"

struct daemon_link;
/* -ECONNREFUSED where no daemon listens, -EPERM where we may not. */
int daemon_open(struct daemon_link **out, const char *socket_path, struct pith_error *err) PITH_CHECKED;
/* params: borrowed, may be NULL. *out: a new reference. -EPROTO with the daemon's sentence where it refused. */
int daemon_call(struct daemon_link *link, const char *method, const json_t *params, json_t **out,
                struct pith_error *err) PITH_CHECKED;
void daemon_close(struct daemon_link *link);

#endif
