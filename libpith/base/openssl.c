/* Opening OpenSSL's libcrypto by its soname: see openssl.h. */
#include "libpith/base/openssl.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

static const struct call {
    const char *name;
    size_t offset;
} calls[] = {
#define OPENSSL_CALL(name) {#name, offsetof(struct openssl, name)},
    OPENSSL_CALLS(OPENSSL_CALL)
#undef OPENSSL_CALL
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct openssl found;
static _Atomic(const struct openssl *) ready; /* &found, once all of it is filled in */

static int find_calls(void *library, struct pith_error *err)
{
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        void *call = dlsym(library, calls[i].name);

        if (!call)
            return pith_fail(err, -ELIBACC, CRYPTO_LIBRARY " has no %s; install OpenSSL 3",
                             calls[i].name);
        memcpy((char *) &found + calls[i].offset, &call, sizeof call);
    }
    return 0;
}

static int load(struct pith_error *err)
{
    void *library = dlopen(CRYPTO_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    int rc;

    if (!library)
        return pith_fail(err, -ELIBACC,
                         "the cryptographic library can't be opened (%s); install " CRYPTO_LIBRARY,
                         dlerror());
    rc = find_calls(library, err);
    if (rc < 0)
        (void) dlclose(library);
    else
        atomic_store_explicit(&ready, &found, memory_order_release);
    return rc;
}

int openssl_open(const struct openssl **out, struct pith_error *err)
{
    int rc = 0;

    *out = atomic_load_explicit(&ready, memory_order_acquire);
    if (*out)
        return 0;
    (void) pthread_mutex_lock(&lock);
    if (!atomic_load_explicit(&ready, memory_order_relaxed))
        rc = load(err);
    (void) pthread_mutex_unlock(&lock);
    if (rc == 0)
        *out = &found;
    return rc;
}
