/* What the targets share: a reader refuses with a sentence, and what it says of itself holds; else
 * the process ends, which libFuzzer takes for a crash. */
#ifndef PITH_TESTS_FUZZ_H
#define PITH_TESTS_FUZZ_H

#include <errno.h>
#include <pith/error.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static inline void fuzz_complain(const char *what, const struct pith_error *err)
{
    fprintf(stderr, "%s: %s\n", what, err->text);
    abort();
}

/* Returns whether rc is that of success. */
static inline bool fuzz_took(int rc, const char *what, const struct pith_error *err)
{
    if (rc < 0 && rc != -ENOMEM && !err->text[0])
        fuzz_complain(what, err);
    return rc >= 0;
}

#endif
