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

/* Names of classes in the order of their numbers. */
struct dataset_classes {
    char **names; /* own */
    size_t count;
};
/* path: a class a line; NULL leaves it empty. */
int dataset_classes_read(struct dataset_classes *out, const char *path, struct pith_error *err);
void dataset_classes_done(struct dataset_classes *classes);
/* The number of a class: its name's place, or the number that the name is where there are no names. -1: none. */
int64_t dataset_class_of(const struct dataset_classes *classes, const char *name);


#endif
