/* The two MQTT connections and what the gateway says of itself on them: availability and info. */
#ifndef PITHD_LINKS_H
#define PITHD_LINKS_H

#include "daemon/daemon.h"

/* Opens `home` and, where it is another, `fleet`. Connecting begins when the loop runs. */
int links_open(struct daemon *daemon, struct pith_error *err) PITH_CHECKED;
/* Points the links at what another config says. */
int links_reload(struct daemon *daemon, const struct config *config,
                 struct pith_error *err) PITH_CHECKED;
void links_say_info(struct daemon *daemon); /* on both, retained: it has changed */
/* Says `offline`, waits until the brokers know, a second at most, and closes. */
void links_close(struct daemon *daemon, void (*closed)(struct daemon *daemon));
json_t *links_status(const struct daemon *daemon);

#endif
