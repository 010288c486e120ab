/* What went wrong, in words that an operator can act on.
 * A call that can fail returns 0 or a negative errno; the one that finds the fault writes the sentence, once. */
#ifndef PITH_ERROR_H
#define PITH_ERROR_H

#include <stdarg.h>

#define PITH_PUBLIC __attribute__((visibility("default")))
#define PITH_PRINTF(at, first) __attribute__((format(printf, at, first)))
#define PITH_CHECKED __attribute__((warn_unused_result))

#define PITH_ERROR_TEXT_BYTES 512

struct pith_error {
    int code;                         /* the negative errno that was returned, 0 where nothing failed */
    char text[PITH_ERROR_TEXT_BYTES]; /* one sentence, cut where it is longer; "" means the code says it all */
};

/* Fills *err (may be NULL) and returns `code`, so that a call site reads `return pith_fail(...)`.
 * code: a negative errno. */
PITH_PUBLIC int pith_fail(struct pith_error *err, int code, const char *format, ...) PITH_PRINTF(3, 4);
PITH_PUBLIC int pith_vfail(struct pith_error *err, int code, const char *format, va_list arguments)
    PITH_PRINTF(3, 0);

/* Puts "prefix: " before what *err already says; for the one place above that knows which file or
 * layer was being handled. Returns the code. */
PITH_PUBLIC int pith_fail_in(struct pith_error *err, int code, const char *format, ...) PITH_PRINTF(3, 4);

/* The text of *err, or of its code where there is none. Never NULL. */
PITH_PUBLIC const char *pith_error_text(const struct pith_error *err);

#endif
