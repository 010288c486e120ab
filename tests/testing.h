/* What unit tests share: cmocka with its includes in the order it wants, PITH_DATA, and a temporary folder.
 * A test is a sentence: `shape_refuses_rank_9`. */
#ifndef PITH_TESTS_TESTING_H
#define PITH_TESTS_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pith/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define assert_ok(call, err)                                                                       \
    do {                                                                                           \
        int assert_ok_rc = (call);                                                                 \
        if (assert_ok_rc < 0)                                                                      \
            fail_msg("%s: %d: %s", #call, assert_ok_rc, pith_error_text(err));                     \
    } while (0)

/* The folder with the real data, or NULL where it is absent; the test then calls skip_without_data(). */
static inline const char *testing_data(void)
{
    const char *folder = getenv("PITH_DATA");

    return folder && access(folder, R_OK) == 0 ? folder : NULL;
}

/* tests/run.sh puts the reason behind the test's own line, which ./check shows. */
#define skip_because(reason)                                                                       \
    do {                                                                                           \
        print_message("# skipped: " reason "\n");                                                  \
        skip();                                                                                    \
    } while (0)

#define skip_without_data()                                                                        \
    do {                                                                                           \
        if (!testing_data())                                                                       \
            skip_because("PITH_DATA names no folder with the test data");                          \
    } while (0)

#endif
