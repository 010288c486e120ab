/* One temporary folder for all tests of a program: a group's setup and teardown. */
#ifndef PITH_TESTS_UNIT_ROOT_FOLDER_H
#define PITH_TESTS_UNIT_ROOT_FOLDER_H

#include "tests/testing.h"

#include "libpith/base/file.h"

static char root[64];

static inline int make_root(void **unused)
{
    (void) unused;
    (void) snprintf(root, sizeof root, "/tmp/pith-test-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static inline int remove_root(void **unused)
{
    (void) unused;
    return pith_remove_tree(root, NULL);
}

/* "<root>/<name>", which the fourth call from here on writes over. */
static inline const char *in_root(const char *name)
{
    static char paths[4][256];
    static int next;
    char *path = paths[next++ % 4];

    (void) snprintf(path, sizeof paths[0], "%s/%s", root, name);
    return path;
}

#endif
