/* Blobs on disk. The one rule that everything here follows: a name without a suffix is a blob that
 * was read back and verified; what is not certain has a suffix. So a kill or power cut at any
 * instant leaves either the whole blob, or a part with a bitmap that claims no more than is on
 * disk, or less. Fetching is fetch.c. */
#include "libpith/model/store_private.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void remove_leftovers(const struct pith_store *store);

int pith_store_open(struct pith_store **out, const char *folder, struct pith_error *err)
{
    struct pith_store *store;
    int rc;

    if (strlen(folder) + STORE_NAME_BYTES >= PATH_MAX)
        return pith_fail(err, -ENAMETOOLONG, "%.200s...: the path of the store is too long",
                         folder);
    rc = pith_mkdirs(folder, 0750, err);
    if (rc < 0)
        return rc;
    store = calloc(1, sizeof *store);
    if (!store)
        return pith_fail(err, -ENOMEM, "%s: no memory for the store", folder);
    (void) snprintf(store->folder, sizeof store->folder, "%s", folder);
    remove_leftovers(store);
    *out = store;
    return 0;
}

void pith_store_close(struct pith_store *store)
{
    free(store);
}

void store_path(const struct pith_store *store, const char *sha256, const char *suffix,
                char path[PATH_MAX])
{
    (void) snprintf(path, PATH_MAX, "%.*s/%.64s%s", PATH_MAX - STORE_NAME_BYTES, store->folder,
                    sha256, suffix);
}

void pith_store_path(const struct pith_store *store, const struct pith_blob *blob, char *path,
                     size_t path_bytes)
{
    (void) snprintf(path, path_bytes, "%s/%.64s", store->folder, blob->sha256);
}

bool pith_store_has(const struct pith_store *store, const struct pith_blob *blob)
{
    char path[PATH_MAX];
    struct stat status;

    if (!pith_sha256_is_hex(blob->sha256))
        return false;
    store_path(store, blob->sha256, "", path);
    return lstat(path, &status) == 0 && S_ISREG(status.st_mode) && status.st_size == blob->bytes;
}

int pith_store_remove(struct pith_store *store, const char *sha256, struct pith_error *err)
{
    static const char *const suffixes[] = {"", STORE_HAVE, STORE_PART};

    if (!pith_sha256_is_hex(sha256))
        return pith_fail(err, -EINVAL, "\"%.80s\" is no blob's name", sha256);
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        char path[PATH_MAX];

        store_path(store, sha256, suffixes[i], path);
        if (unlink(path) < 0 && errno != ENOENT)
            return pith_fail(err, -errno, "%s: can't be removed: %s", path, strerror(errno));
    }
    return 0;
}

/* Calls `visit` with the name of each file in the store that begins with a digest, and the digest.
 */
static int each_name(const struct pith_store *store,
                     int (*visit)(void *user, const char *name, const char *sha256), void *user)
{
    DIR *folder = opendir(store->folder);
    struct dirent *entry;
    int rc = 0;

    if (!folder)
        return -errno;
    while (rc == 0 && (errno = 0, entry = readdir(folder))) {
        char sha256[PITH_SHA256_HEX + 1];

        (void) snprintf(sha256, sizeof sha256, "%.64s", entry->d_name);
        if (pith_sha256_is_hex(sha256))
            rc = visit(user, entry->d_name, sha256);
    }
    if (rc == 0 && errno)
        rc = -errno;
    closedir(folder);
    return rc;
}

struct sweep {
    const struct pith_store *store;
    const char *const *keep;
    size_t count;
};

static int sweep_name(void *user, const char *name, const char *sha256)
{
    const struct sweep *sweep = user;
    char path[PATH_MAX];

    for (size_t i = 0; i < sweep->count; i++)
        if (strcmp(sweep->keep[i], sha256) == 0)
            return 0;
    if (strlen(name) >= STORE_NAME_BYTES) /* longer than any name that is ours */
        return 0;
    store_path(sweep->store, sha256, name + PITH_SHA256_HEX, path);
    return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

int pith_store_sweep(struct pith_store *store, const char *const *keep, size_t count,
                     struct pith_error *err)
{
    struct sweep sweep = {.store = store, .keep = keep, .count = count};
    int rc = each_name(store, sweep_name, &sweep);

    return rc < 0 ? pith_fail(err, rc, "%s: can't be swept: %s", store->folder, strerror(-rc)) : 0;
}

static int remove_temporary(void *user, const char *name, const char *sha256)
{
    char path[PATH_MAX];

    if (strncmp(name + PITH_SHA256_HEX, STORE_HAVE ".tmp.", strlen(STORE_HAVE ".tmp.")) != 0 ||
        strlen(name) >= STORE_NAME_BYTES)
        return 0;
    store_path(user, sha256, name + PITH_SHA256_HEX, path);
    (void) unlink(path); /* best effort: it costs room, nothing else */
    return 0;
}

/* Bitmaps that a killed process was writing. */
static void remove_leftovers(const struct pith_store *store)
{
    (void) each_name(store, remove_temporary, (void *) (uintptr_t) store);
}
