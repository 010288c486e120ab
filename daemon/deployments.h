/* Deployments: desired documents -> fetching, verifying, vetting, compressing, evaluating, active. Each step is in the
 * database before it is acted on; a start goes on where the last run stopped. */
#ifndef PITHD_DEPLOYMENTS_H
#define PITHD_DEPLOYMENTS_H

#include "daemon/daemon.h"

/* Reads the database: hands active versions to the pipelines at once, resumes what was under way once connected. */
int deployments_open(struct deployments **out, struct daemon *daemon, struct pith_error *err) PITH_CHECKED;
void deployments_connected(struct deployments *deployments, bool session_present); /* the fleet link is up */
int deployments_reload(struct deployments *deployments, const struct config *config, struct pith_error *err) PITH_CHECKED;
void deployments_close(struct deployments *deployments, void (*closed)(void *user), void *user);

#endif
