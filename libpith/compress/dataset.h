/* Recorded samples with what is true of them: arrays, tables, sounds or pictures in a folder or an archive. They stream:
 * one sample is in memory at a time, whatever the size of the whole. Samples pass in the order of the file, so that packed
 * files are read once; a split is a set of samples, drawn by a seed.
 *
 * Where samples come from, by the name of `data`:
 *   X.npy, X.npy.zst           [samples, ...], labels in Y.npy: integers one a sample, or numbers to be predicted
 *   X.csv                      a row a sample: float32 [columns]; the column of labels by its name
 *   folder/, X.tar, X.tar.zst  .jpg, .wav, .flac or .npy files; labels from an index (CSV with header; columns path and label),
 *                              from the last folder in a file's path, or boxes from .txt files beside or in ../labels */
#ifndef PITH_COMPRESS_DATASET_H
#define PITH_COMPRESS_DATASET_H

#include "libpith/model/manifest.h"

#define PITH_DATASET_MAX_CLASSES 4096
#define PITH_DATASET_MAX_FILES   (4 << 20)

enum pith_label_kind { PITH_LABEL_NONE, PITH_LABEL_CLASS, PITH_LABEL_VALUES, PITH_LABEL_BOXES };
enum pith_split { PITH_SPLIT_ALL, PITH_SPLIT_CALIBRATION, PITH_SPLIT_VALIDATION, PITH_SPLIT_TEST };
extern const char *const pith_split_names[]; /* ends with NULL */

struct pith_box { /* corners, as shares of the picture's width and height */
    float x0, y0, x1, y1;
    int32_t class_index;
    float score; /* 1 where it is a label */
};

struct pith_sample { /* views, until the next read */
    struct pith_tensor x;
    int64_t class_index;           /* PITH_LABEL_CLASS: -1 or past the end for none of them */
    struct pith_tensor values;     /* PITH_LABEL_VALUES */
    const struct pith_box *boxes;  /* PITH_LABEL_BOXES */
    size_t box_count;
};

/* What happens to a sample before the model's first stage gets it. All zero: nothing. */
/* What samples are turned into, from the other order. Pictures, uint8 [height, width, channels], are NHWC already. */
enum pith_layout { PITH_LAYOUT_AS_IS, PITH_LAYOUT_NCHW, PITH_LAYOUT_NHWC };
enum pith_channels { PITH_CHANNELS_RGB, PITH_CHANNELS_BGR, PITH_CHANNELS_GREY };
#define PITH_PREPARE_MAX_CHANNELS 16
struct pith_prepare {
    int64_t width, height;         /* pictures are resized, bilinear; 0: as they are */
    int channels;                  /* enum pith_channels, of pictures */
    int layout;                    /* enum pith_layout, of samples of rank 3 */
    double mean[PITH_PREPARE_MAX_CHANNELS], scale[PITH_PREPARE_MAX_CHANNELS]; /* (x - mean) * scale, by the last dimension */
    size_t mean_count, scale_count; /* 0: none; 1: the same for all; else as many as the last dimension */
};

struct pith_dataset_options {      /* strings are borrowed for the call */
    const char *data;
    const char *labels;            /* Y.npy; a column of X.csv; NULL: none, or as the files tell */
    const char *index;             /* of files; NULL: none */
    const char *classes;           /* a file with a class a line, in the order of the model's labels; NULL: sorted names */
    const char *where;             /* "column=value" of the index: the others are left out; NULL: all */
    struct pith_prepare prepare;
    uint64_t seed;                 /* of the shuffle that splits are cut from */
    uint64_t calibration, validation; /* samples of these splits; the others are the test split */
    uint64_t limit;                /* most samples of a split, the first of the shuffle; 0: all */
};

struct dataset_source;
struct pith_dataset {
    uint64_t count;                /* samples of the split */
    enum pith_label_kind labels;
    struct dataset_source *source; /* own; the rest is the module's */
    struct pith_prepare prepare;
    uint64_t *indices;             /* own; of the split's samples in the source, ascending */
    uint64_t current;              /* sample that is read; UINT64_MAX: none */
    struct pith_sample sample;
    void *prepared, *resized;      /* own */
    size_t prepared_bytes, resized_bytes;
};
/* -EINVAL where a split asks for more samples than there are, -ENOENT, -EBADMSG. */
int pith_dataset_open(struct pith_dataset *out, const struct pith_dataset_options *options, enum pith_split split,
                      struct pith_error *err) PITH_CHECKED;
void pith_dataset_close(struct pith_dataset *dataset);
/* Sample `index` of the split, prepared. Cheapest in ascending order. Thread: one at a time. */
int pith_dataset_read(struct pith_dataset *dataset, uint64_t index, const struct pith_sample **out,
                      struct pith_error *err) PITH_CHECKED;
/* Writes the split's samples as arrays, one at a time: x_path [samples, ...], and classes as int64 to y_path (NULL, or where
 * there are none: not). All samples must be of one shape. Not atomic: for a folder that nobody reads yet. */
int pith_dataset_save(struct pith_dataset *dataset, const char *x_path, const char *y_path,
                      struct pith_error *err) PITH_CHECKED;

/* Whether its samples are what the model's first stage takes: [rows, ...row] each, or one row each. Reads the first. */
int pith_dataset_check(struct pith_dataset *dataset, const struct pith_manifest *manifest,
                       struct pith_error *err) PITH_CHECKED;
/* A sample's x as rows of the manifest's input: a view. */
int pith_sample_rows(const struct pith_sample *sample, const struct pith_manifest *manifest, struct pith_tensor *out,
                     struct pith_error *err) PITH_CHECKED;

#endif
