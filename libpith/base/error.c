/* Errors as sentences. See include/pith/error.h. */
#include <pith/error.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "libpith/base/names.h"

int pith_vfail(struct pith_error *err, int code, const char *format, va_list arguments)
{
    if (err) {
        err->code = code;
        (void) vsnprintf(err->text, sizeof err->text, format, arguments); /* cut where longer */
        pith_disarm(err->text, "\n\t"); /* some faults are several lines */
    }
    return code;
}

int pith_fail(struct pith_error *err, int code, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    pith_vfail(err, code, format, arguments);
    va_end(arguments);
    return code;
}

int pith_fail_in(struct pith_error *err, int code, const char *format, ...)
{
    char rest[PITH_ERROR_TEXT_BYTES];
    va_list arguments;
    size_t used;

    if (!err)
        return code;
    (void) snprintf(rest, sizeof rest, "%s", err->text[0] ? err->text : strerror(-code));
    va_start(arguments, format);
    pith_vfail(err, code, format, arguments);
    va_end(arguments);
    used = strlen(err->text);
    (void) snprintf(err->text + used, sizeof err->text - used, ": %s", rest);
    return code;
}

const char *pith_error_text(const struct pith_error *err)
{
    if (err->text[0])
        return err->text;
    /* Memory alone runs out without a word: what failed for want of it returns the bare number. */
    return strerror(err->code ? -err->code : ENOMEM);
}
