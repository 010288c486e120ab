/* A temporary folder a test: made before it, removed with all that is in it after. */
#ifndef PITH_TESTS_UNIT_FOLDER_H
#define PITH_TESTS_UNIT_FOLDER_H

#include "tests/testing.h"

#include "libpith/base/file.h"

struct folder {
    char path[64];
};

static inline int folder_setup(void **state)
{
    struct folder *folder = calloc(1, sizeof *folder);

    if (!folder)
        return -1;
    (void) snprintf(folder->path, sizeof folder->path, "/tmp/pith-test-XXXXXX");
    *state = folder;
    return mkdtemp(folder->path) ? 0 : -1;
}

static inline int folder_teardown(void **state)
{
    struct folder *folder = *state;
    int rc = pith_remove_tree(folder->path, NULL);

    free(folder);
    return rc;
}

/* "<folder>/<name>" into path. */
static inline void folder_path(const struct folder *folder, char path[512], const char *name)
{
    (void) snprintf(path, 512, "%s/%s", folder->path, name);
}

#define folder_test(test) cmocka_unit_test_setup_teardown(test, folder_setup, folder_teardown)

#endif
