/* What systemd is told of the daemon's state, over the socket that it names in NOTIFY_SOCKET. Does
 * nothing without one. */
#ifndef PITHD_NOTIFY_H
#define PITHD_NOTIFY_H

#include <pith/error.h>
#include <stdint.h>

/* lines: "READY=1\nSTATUS=...". Never blocks; what can't be sent is lost, as sd_notify's is. */
void notify(const char *format, ...) PITH_PRINTF(1, 2);
/* How often WATCHDOG=1 is due, half of what systemd waits for; 0: never. */
uint64_t notify_watchdog_ms(void);

#endif
