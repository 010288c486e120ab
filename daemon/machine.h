/* What this machine is, for `info` and `status`. Read from /proc, so the same on every
 * architecture. */
#ifndef PITHD_MACHINE_H
#define PITHD_MACHINE_H

#include <jansson.h>
#include <stdint.h>

/* {"architecture", "cpu", "cpu_count", "cpu_features": [...], "memory_bytes", "kernel"}; NULL: out
 * of memory. */
json_t *machine_describe(void);
int64_t machine_resident_bytes(void); /* of this process; -1 where it can't be told */

#endif
