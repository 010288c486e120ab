/* JSON: jansson, strict. Duplicate keys, trailing text, NaN, deep nesting and invalid UTF-8 are refused with
 * line and column. Typed reading that names the key and what would be right. */
#ifndef PITH_BASE_JSON_H
#define PITH_BASE_JSON_H

#include <jansson.h>
#include <pith/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PITH_JSON_MAX_DEPTH 32

/* *out: a new reference, an object or an array. what: for the sentence ("manifest"). -EBADMSG, -EFBIG. */
int pith_json_parse(json_t **out, const void *text, size_t bytes, size_t limit_bytes, const char *what,
                    struct pith_error *err) PITH_CHECKED;
/* Compact text with sorted keys: the same value gives the same bytes. Freed with free(). NULL: out of memory. */
char *pith_json_text(const json_t *value);

/* Members of an object. `where`: the document and the path in it, for the sentence ("manifest", "manifest: stages[2]").
 * The plain forms refuse a missing member (-EBADMSG); *_or gives `otherwise` for it. All refuse another type. */
/* The place of a member: "manifest" and "model" give "manifest: model"; "manifest: stages[2]" and "map" give
 * "manifest: stages[2].map". Into path; returns path. */
const char *pith_json_path(char *path, size_t path_bytes, const char *where, const char *key);
#define PITH_JSON_PATH_BYTES 256

int pith_json_string(const json_t *object, const char *where, const char *key, const char **out,
                     struct pith_error *err) PITH_CHECKED;
int pith_json_string_or(const json_t *object, const char *where, const char *key, const char *otherwise,
                        const char **out, struct pith_error *err) PITH_CHECKED;
int pith_json_int(const json_t *object, const char *where, const char *key, int64_t minimum, int64_t maximum,
                  int64_t *out, struct pith_error *err) PITH_CHECKED;
int pith_json_int_or(const json_t *object, const char *where, const char *key, int64_t minimum, int64_t maximum,
                     int64_t otherwise, int64_t *out, struct pith_error *err) PITH_CHECKED;
int pith_json_number_or(const json_t *object, const char *where, const char *key, double minimum, double maximum,
                        double otherwise, double *out, struct pith_error *err) PITH_CHECKED;
int pith_json_bool_or(const json_t *object, const char *where, const char *key, bool otherwise, bool *out,
                      struct pith_error *err) PITH_CHECKED;
/* *out: borrowed; NULL where it is missing and not required. */
int pith_json_object(const json_t *object, const char *where, const char *key, bool required, json_t **out,
                     struct pith_error *err) PITH_CHECKED;
int pith_json_array(const json_t *object, const char *where, const char *key, bool required, json_t **out,
                    struct pith_error *err) PITH_CHECKED;
/* Refuses members that `known` (ends with NULL) does not name, with the nearest known name as a suggestion. */
int pith_json_only(const json_t *object, const char *where, const char *const *known, struct pith_error *err) PITH_CHECKED;

#endif
