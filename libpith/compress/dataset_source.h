/* Where a data set's samples come from: what dataset.c asks of arrays, tables and files. */
#ifndef PITH_COMPRESS_DATASET_SOURCE_H
#define PITH_COMPRESS_DATASET_SOURCE_H

#include "libpith/compress/dataset.h"

struct dataset_source_ops {
    /* Sample `index` as it is stored; views until the next call. */
    int (*read)(struct dataset_source *source, uint64_t index, struct pith_sample *out, struct pith_error *err);
    void (*close)(struct dataset_source *source);
};
struct dataset_source { /* first in each kind's own struct */
    const struct dataset_source_ops *ops;
    uint64_t count;
    enum pith_label_kind labels;
    bool pictures; /* samples are uint8 [height, width, channels] */
};
int dataset_open_arrays(struct dataset_source **out, const struct pith_dataset_options *options, struct pith_error *err);
int dataset_open_table(struct dataset_source **out, const struct pith_dataset_options *options, struct pith_error *err);
int dataset_open_files(struct dataset_source **out, const struct pith_dataset_options *options, struct pith_error *err);

/* An index, and what it chooses by, are for files: where samples are rows of an array or table, -EINVAL. */
int dataset_refuse_index(const struct pith_dataset_options *options, struct pith_error *err);

/* Names of classes in the order of their numbers. */
struct dataset_classes {
    char **names; /* own */
    size_t count;
};
/* path: a class a line; NULL leaves it empty. */
int dataset_classes_read(struct dataset_classes *out, const char *path, struct pith_error *err);
void dataset_classes_done(struct dataset_classes *classes);
/* The number of a class; a name that is new becomes the last class where `open`. */
int dataset_classes_take(struct dataset_classes *classes, const char *name, bool open, int64_t *out,
                         struct pith_error *err);
/* Names that came as the samples did are put in alphabetical order. was: NULL, or receives them as they came, malloc'ed; the
 * names themselves stay in `classes`. */
int dataset_classes_sort(struct dataset_classes *classes, char ***was, struct pith_error *err);
/* The number of a class: its name's place, or the number that the name is where there are no names. -1: none. */
int64_t dataset_class_of(const struct dataset_classes *classes, const char *name);


#endif
