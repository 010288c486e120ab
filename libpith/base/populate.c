/* Asking for pages together: see populate.h. */
#include "libpith/base/populate.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#define LEAST_BYTES ((size_t) 16 << 10) /* below, the call costs what it saves */

void pith_populate(void *memory, size_t bytes)
{
#ifdef MADV_POPULATE_WRITE
    const uintptr_t page = (uintptr_t) sysconf(_SC_PAGESIZE), start = (uintptr_t) memory,
                    from = (start + page - 1) / page * page, to = (start + bytes) / page * page;

    if (bytes >= LEAST_BYTES && from < to)
        (void) madvise((void *) from, to - from, MADV_POPULATE_WRITE); /* kernels before 5.14 refuse */
#else
    (void) memory;
    (void) bytes;
#endif
}
