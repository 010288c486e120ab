/* Ctrl-C in a command that has something to tidy up: it is told, ends by itself, and the signal then does what it would have
 * done at once. The second one does not wait. */
#ifndef PITH_CLI_INTERRUPT_H
#define PITH_CLI_INTERRUPT_H

#include <stdbool.h>

/* From here on SIGINT, SIGTERM and SIGHUP are noted, but for those that are ignored. */
void interrupt_watch(void);
bool interrupt_seen(void);
/* Ends the process by the signal that was noted; returns where there was none. */
void interrupt_pass_on(void);

#endif
