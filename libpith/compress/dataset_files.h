/* The list of a data set's files: names, where they lie, and their classes. */
#ifndef PITH_COMPRESS_DATASET_FILES_H
#define PITH_COMPRESS_DATASET_FILES_H

#include "libpith/base/stream.h"
#include "libpith/compress/dataset_source.h"

struct dataset_file {
    char *name;             /* own; below the folder, or in the archive */
    uint64_t offset, bytes; /* in the archive */
    int64_t class_index;
    bool left_out;
};

struct dataset_list {
    struct dataset_file *files; /* own */
    size_t count, capacity;
    struct dataset_classes classes;
    bool labelled;
};
/* Whether the name ends so, in capitals or not. extension: such as ".jpg". */
bool dataset_has_extension(const char *name, const char *extension);
/* What is in a folder, by name; in an archive, in its order. Files of other kinds are passed over. */
int dataset_list_folder(struct dataset_list *list, const char *folder, struct pith_error *err);
int dataset_list_archive(struct dataset_list *list, struct pith_stream *archive, struct pith_error *err);
/* Gives each file its class: by the index where there is one, else by the folder it lies in. Those that the index doesn't
 * name, or `where` leaves out, are dropped. */
int dataset_list_label(struct dataset_list *list, const struct pith_dataset_options *options, struct pith_error *err);
void dataset_list_done(struct dataset_list *list);

#endif
