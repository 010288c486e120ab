/* YAML through libyaml, checked against tables: every fault is told at once, each as
 * `file:line:column: what, and what would be right`. Aliases, tags, duplicate keys, deep nesting and files past
 * 1 MiB are refused. Whoever reads a file describes it by tables of struct pith_yaml_field; adding a key is one line. */
#ifndef PITH_BASE_YAML_H
#define PITH_BASE_YAML_H

#include "libpith/base/buffer.h"
#include <pith/error.h>
#include <pith/plugin.h>
#include <stdbool.h>
#include <stdint.h>

struct pith_yaml;      /* a parsed document */
struct pith_yaml_node; /* a place in it; lives as long as the document */

/* path: of the file, or its name in messages where text is given. A syntax error is one fault. */
int pith_yaml_open(struct pith_yaml **out, const char *path, struct pith_error *err) PITH_CHECKED;
int pith_yaml_parse(struct pith_yaml **out, const char *name, const void *text, size_t bytes,
                    struct pith_error *err) PITH_CHECKED;
void pith_yaml_free(struct pith_yaml *yaml);
const struct pith_yaml_node *pith_yaml_root(const struct pith_yaml *yaml);

enum pith_yaml_kind { PITH_YAML_SCALAR, PITH_YAML_LIST, PITH_YAML_MAP };
enum pith_yaml_kind pith_yaml_kind(const struct pith_yaml_node *node);
const char *pith_yaml_scalar(const struct pith_yaml_node *node);                  /* NULL unless a scalar */
bool pith_yaml_is_null(const struct pith_yaml_node *node); /* ~, null or empty, unquoted: as if the key were missing */
size_t pith_yaml_count(const struct pith_yaml_node *node);                        /* of a list or map */
const struct pith_yaml_node *pith_yaml_item(const struct pith_yaml_node *node, size_t index); /* of a list; value in a map */
const char *pith_yaml_key(const struct pith_yaml_node *map, size_t index);
const struct pith_yaml_node *pith_yaml_key_node(const struct pith_yaml_node *map, size_t index); /* for faults about it */
const struct pith_yaml_node *pith_yaml_find(const struct pith_yaml_node *map, const char *key); /* or NULL */

/* Faults, collected. One line each; past the hundredth none is added. */
void pith_yaml_fault(struct pith_yaml *yaml, const struct pith_yaml_node *at, const char *format, ...) PITH_PRINTF(3, 4);
size_t pith_yaml_fault_count(const struct pith_yaml *yaml);
const char *pith_yaml_faults(const struct pith_yaml *yaml); /* all lines, sorted by place */

/* What a scalar means. Units are part of the words: "10s", "2h", "90d" -> ms; "200MB", "64KiB" -> bytes. */
enum pith_yaml_type {
    PITH_YAML_TEXT,        /* const char *, the document's */
    PITH_YAML_NAME,        /* const char *, checked by pith_name_valid */
    PITH_YAML_INT,         /* int64_t, in [minimum, maximum] */
    PITH_YAML_NUMBER,      /* double, in [minimum, maximum] */
    PITH_YAML_BOOL,        /* bool: true or false */
    PITH_YAML_DURATION_MS, /* int64_t, in [minimum, maximum] ms */
    PITH_YAML_SIZE_BYTES,  /* int64_t, in [minimum, maximum] bytes */
    PITH_YAML_CHOICE,      /* int: index into choices */
    PITH_YAML_NODE,        /* const struct pith_yaml_node *: any; read by whoever asked, with another table */
    PITH_YAML_MAP_NODE,    /* the same, must be a map */
    PITH_YAML_LIST_NODE,   /* the same, must be a list */
};

struct pith_yaml_field {
    const char *key;
    enum pith_yaml_type type;
    size_t offset; /* of the member in the struct that is filled; members of missing keys are left as they were */
    bool required;
    double minimum, maximum; /* both 0: no range */
    const char *const *choices;
    const char *help; /* what would be right, for messages: "an MQTT URL such as mqtt://127.0.0.1" */
};

/* The words alone, for whoever keeps a table of another kind. 0, or -EINVAL with *out untouched. */
int pith_yaml_read_int(const char *text, int64_t *out) PITH_CHECKED;
int pith_yaml_read_number(const char *text, double *out) PITH_CHECKED; /* decimal and finite */
int pith_yaml_read_bool(const char *text, bool *out) PITH_CHECKED;
int pith_yaml_read_duration_ms(const char *text, double *out) PITH_CHECKED;
int pith_yaml_read_size_bytes(const char *text, double *out) PITH_CHECKED;
/* The fault "... is not known here", with the nearest of `known` (ends with NULL). */
void pith_yaml_unknown_key(struct pith_yaml *yaml, const struct pith_yaml_node *key, const char *const *known);

/* Reads the map's members into `into` by the table (ends with a NULL key). Unknown keys, wrong types and missing
 * ones become faults; what is right is filled in all the same. A node that is no map is one fault. */
void pith_yaml_read(struct pith_yaml *yaml, const struct pith_yaml_node *map, const struct pith_yaml_field *fields,
                    void *into);

#endif
