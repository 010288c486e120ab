/* Finding the library that XNNPACK's header belongs to. */
#include "plugins/engines/xnnpack/library.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>

struct xnnpack xnnpack;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool opened;

static const struct {
    const char *symbol;
    size_t offset; /* in struct xnnpack */
} entries[] = {
#define XNNPACK_ENTRY(name) {"xnn_" #name, offsetof(struct xnnpack, name)},
    XNNPACK_FUNCTIONS(XNNPACK_ENTRY)
#undef XNNPACK_ENTRY
        {"pthreadpool_create", offsetof(struct xnnpack, create_threads)},
    {"pthreadpool_destroy", offsetof(struct xnnpack, destroy_threads)},
};

static int find_functions(void *library, struct pith_error *err)
{
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++) {
        void *function = dlsym(library, entries[i].symbol);

        if (!function)
            return pith_fail(err, -ENOTSUP,
                             XNNPACK_LIBRARY " has no %s; install the one this engine was built for",
                             entries[i].symbol);
        *(void **) ((char *) &xnnpack + entries[i].offset) = function;
    }
    return 0;
}

static int open_library(struct pith_error *err)
{
    void *library = dlopen(XNNPACK_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    int rc;

    if (!library)
        return pith_fail(err, -ENOTSUP, "XNNPACK is not here (%s); install " XNNPACK_LIBRARY,
                         dlerror());
    rc = find_functions(library, err);
    if (rc < 0) {
        (void) dlclose(library);
        return rc;
    }
    switch (xnnpack.initialize(NULL)) {
    case xnn_status_success:
        return 0;
    case xnn_status_unsupported_hardware:
        return pith_fail(err, -ENOTSUP, "XNNPACK does not know this CPU");
    default:
        return pith_fail(err, -ENOTSUP, "XNNPACK could not be started");
    }
}

int xnnpack_open(struct pith_error *err)
{
    int rc = 0;

    (void) pthread_mutex_lock(&lock);
    if (!opened)
        rc = open_library(err);
    opened = rc == 0;
    (void) pthread_mutex_unlock(&lock);
    return rc;
}
