/* One event, one line: a name, then key=value with units in the keys and text quoted.
 * Under systemd (JOURNAL_STREAM is set) the line starts with <N>, the sd-daemon level. Goes to stderr.
 *
 * error = someone must act; warning = we went on without it (say how); notice = lifecycle; info = one line a job;
 * debug = the rest. Nothing in libpith or a plugin logs an error that it returns. Thread: any. */
#ifndef PITH_BASE_LOG_H
#define PITH_BASE_LOG_H

#include <pith/plugin.h>

void pith_log_set_level(uint32_t level); /* enum pith_log_level; lines above it are dropped. INFO at start */
void pith_log(uint32_t level, const char *event, const char *format, ...) PITH_PRINTF(3, 4);
/* Into text, with quotes, backslashes and control characters escaped, quoted: for key=%s of outside text. */
const char *pith_log_quote(const char *text, char *quoted, size_t quoted_bytes);

#define log_error(event, ...) pith_log(PITH_LOG_ERROR, event, __VA_ARGS__)
#define log_warn(event, ...) pith_log(PITH_LOG_WARNING, event, __VA_ARGS__)
#define log_notice(event, ...) pith_log(PITH_LOG_NOTICE, event, __VA_ARGS__)
#define log_info(event, ...) pith_log(PITH_LOG_INFO, event, __VA_ARGS__)
#define log_debug(event, ...) pith_log(PITH_LOG_DEBUG, event, __VA_ARGS__)

#endif
