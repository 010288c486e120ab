/* Log lines on stderr: built whole and written with one call, so that lines of threads don't mix.
 */
#include "libpith/base/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOG_LINE_BYTES                                                                             \
    2048 /* longer lines are cut: journald splits at 48 KiB, people stop reading long before */

static _Atomic uint32_t log_level = PITH_LOG_INFO;

static const struct {
    uint32_t level;
    const char *name;
} level_names[] = {
    {PITH_LOG_ERROR, "error"}, {PITH_LOG_WARNING, "warning"}, {PITH_LOG_NOTICE, "notice"},
    {PITH_LOG_INFO, "info"},   {PITH_LOG_DEBUG, "debug"},
};

void pith_log_set_level(uint32_t level)
{
    atomic_store_explicit(&log_level, level, memory_order_relaxed);
}

/* Appends text with control characters escaped, and with `quotes` quotes and backslashes too. Stops
 * at `room`, and never within an escape. Returns the new end. */
static size_t append_escaped(char *to, size_t used, size_t room, const char *text, bool quotes)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char) *text;
        char escape[5] = {'\\', 0, 0, 0, 0};
        size_t length = 2;

        if (c == '\n')
            escape[1] = 'n';
        else if (c == '\t')
            escape[1] = 't';
        else if (c == '\r')
            escape[1] = 'r';
        else if (c < 0x20 || c == 0x7f)
            length = (size_t) snprintf(escape, sizeof escape, "\\x%02x", (unsigned) c);
        else if (quotes && (c == '"' || c == '\\'))
            escape[1] = (char) c;
        else {
            escape[0] = (char) c;
            length = 1;
        }
        if (used + length > room)
            break;
        memcpy(to + used, escape, length);
        used += length;
    }
    return used;
}

const char *pith_log_quote(const char *text, char *quoted, size_t quoted_bytes)
{
    size_t used = 1;

    if (quoted_bytes < 3) {
        if (quoted_bytes)
            quoted[0] = 0;
        return quoted;
    }
    quoted[0] = '"';
    used = append_escaped(quoted, used, quoted_bytes - 2, text, true);
    quoted[used++] = '"';
    quoted[used] = 0;
    return quoted;
}

void pith_log(uint32_t level, const char *event, const char *format, ...)
{
    char body[LOG_LINE_BYTES], line[LOG_LINE_BYTES + 64];
    int saved_errno = errno; /* a log line between a failure and its handling must not change it */
    bool journal = getenv("JOURNAL_STREAM") != NULL;
    const char *name = "debug";
    size_t used;
    va_list arguments;

    if (level > atomic_load_explicit(&log_level, memory_order_relaxed))
        return;
    for (size_t i = 0; i < sizeof level_names / sizeof *level_names; i++)
        if (level_names[i].level == level)
            name = level_names[i].name;
    va_start(arguments, format);
    (void) vsnprintf(body, sizeof body, format, arguments); /* cut where longer */
    va_end(arguments);
    if (journal)
        used = (size_t) snprintf(line, sizeof line, "<%u>event=%.64s", (unsigned) level, event);
    else
        used = (size_t) snprintf(line, sizeof line, "%s event=%.64s", name, event);
    if (body[0] && used < sizeof line - 1) {
        line[used++] = ' ';
        /* Outside text that a caller didn't quote can't begin a line of its own. */
        used = append_escaped(line, used, sizeof line - 1, body, false);
    }
    line[used < sizeof line ? used : sizeof line - 1] = '\n';
    for (size_t at = 0, bytes = used + 1; at < bytes;) {
        ssize_t written = write(STDERR_FILENO, line + at, bytes - at);

        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            break; /* nowhere to say it */
        at += (size_t) written;
    }
    errno = saved_errno;
}
