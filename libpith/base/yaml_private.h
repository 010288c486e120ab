/* Inside the YAML reader: yaml.c makes the tree, yaml_read.c gives it meaning. */
#ifndef PITH_BASE_YAML_PRIVATE_H
#define PITH_BASE_YAML_PRIVATE_H

#include "libpith/base/yaml.h"

struct pith_yaml_node {
    enum pith_yaml_kind kind;
    bool quoted;                   /* a scalar in quotes or a block: text, whatever it looks like */
    size_t line, column;           /* from 1 */
    char *text;                    /* of a scalar; own */
    struct pith_yaml_node **items; /* of a list or map; own array, the document's nodes */
    struct pith_yaml_node **keys;  /* of a map */
    size_t count, capacity;
    struct pith_yaml_node *next_made; /* all nodes of the document, for freeing */
};

struct pith_yaml_fault_line {
    size_t line, column;
    size_t number; /* in the order they were found: what is sorted last by */
    char *text;    /* own */
};

struct pith_yaml {
    char *name;
    struct pith_yaml_node *root;
    struct pith_yaml_node *made;
    size_t node_count;
    struct pith_yaml_fault_line *faults;
    size_t fault_count, fault_capacity;
    bool fault_lost; /* for want of memory; counted as one more */
    struct pith_buffer told; /* what pith_yaml_faults gave out last */
};

#endif
