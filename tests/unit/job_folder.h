/* What tests of compression jobs share: the plugins, and a folder for theirs. */
#ifndef PITH_TESTS_JOB_FOLDER_H
#define PITH_TESTS_JOB_FOLDER_H

#include "libpith/compress/job.h"

#include "libpith/base/digest.h"
#include "libpith/base/file.h"
#include "libpith/base/json.h"
#include "tests/testing.h"

static struct pith_plugins *plugins;
static struct pith_error err;
static char root[64];

static inline int open_plugins(void **unused)
{
    (void) unused;
    (void) snprintf(root, sizeof root, "/tmp/pith-test-job-XXXXXX");
    return mkdtemp(root) && pith_plugins_open(&plugins, NULL, &err) == 0 ? 0 : -1;
}

static inline int close_plugins(void **unused)
{
    (void) unused;
    pith_plugins_free(plugins);
    return pith_remove_tree(root, &err);
}

#endif
