/* Inside the store: names on disk. */
#ifndef PITH_MODEL_STORE_PRIVATE_H
#define PITH_MODEL_STORE_PRIVATE_H

#include "libpith/model/store.h"

#include <limits.h>

#define STORE_PART       ".part"
#define STORE_HAVE       ".have"
#define STORE_NAME_BYTES 128 /* more than a digest, a suffix and that of a temporary file */

struct pith_store {
    char folder[PATH_MAX];
};

void store_path(const struct pith_store *store, const char *sha256, const char *suffix,
                char path[PATH_MAX]);

#endif
