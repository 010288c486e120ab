/* Names that become topics, paths and SQL values: models, gateways, groups, pipelines, graphs. */
#ifndef PITH_BASE_NAMES_H
#define PITH_BASE_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#define PITH_NAME_BYTES 65 /* 64 characters and the 0 */
#define PITH_NAME_RULE "lower-case letters, digits, '_', '-' and '.', 1 to 64 of them, starting with a letter or digit"
bool pith_name_valid(const char *name);
/* The entry of `known` (ends with NULL) that `word` was most likely meant to be, or NULL where none is near. */
const char *pith_nearest_name(const char *word, const char *const *known);
/* A shell pattern (fnmatch) that matches this name alone. malloc'ed; NULL: out of memory. */
char *pith_name_pattern(const char *name);
/* Whether the name is the pattern, or matches it as a shell has it; '*' passes '/' too. */
bool pith_name_matches(const char *name, const char *pattern);
/* Whether a name or path ends in `end`, such as ".zst", and something stands before it. */
bool pith_ends_with(const char *text, const char *end);
/* Names of models, files and peers are printed, and may hold what a terminal obeys: escape sequences begin with control
 * characters. These become '?', in place, but for those in `kept`. Returns text. */
char *pith_disarm(char *text, const char *kept);

#endif
