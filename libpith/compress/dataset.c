/* Splits, and one sample at a time. */
#include "libpith/compress/dataset_source.h"

#include "libpith/base/names.h"
#include "libpith/compress/prepare.h"
#include "libpith/compress/samples.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const char *const pith_split_names[] = {"all", "calibration", "validation", "test", NULL};

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

    return x < y ? -1 : x > y;
}

/* Fisher-Yates from a seed: the same samples on every machine. */
static void shuffle(uint64_t *indices, uint64_t count, uint64_t seed)
{
    uint64_t random = seed * 2 + 0x9e3779b97f4a7c15u;

    if (random == 0)
        random = 1;
    for (uint64_t i = count; i > 1; i--) {
        uint64_t at = pith_random(&random) % i, moved = indices[i - 1];

        indices[i - 1] = indices[at];
        indices[at] = moved;
    }
}

int dataset_refuse_index(const struct pith_dataset_options *options, struct pith_error *err)
{
    if (!options->index && !options->where)
        return 0;
    return pith_fail(err, -EINVAL, "%s: %s is for data that are a folder or an archive of files",
                     options->data, options->index ? "an index" : "where, which chooses rows of an index,");
}

/* Which part of the shuffle a split is. */
static int place_split(const struct pith_dataset_options *options, enum pith_split split,
                       uint64_t count, uint64_t *first, uint64_t *many, struct pith_error *err)
{
    uint64_t calibration = options->calibration, validation = options->validation;

    if (calibration > count || validation > count - calibration)
        return pith_fail(err, -EINVAL,
                         "%s: %llu samples can't be split into %llu for calibration, %llu for "
                         "validation and a rest",
                         options->data, (unsigned long long) count,
                         (unsigned long long) calibration, (unsigned long long) validation);
    *first = split == PITH_SPLIT_VALIDATION ? calibration
             : split == PITH_SPLIT_TEST     ? calibration + validation
                                            : 0;
    *many = split == PITH_SPLIT_ALL           ? count
            : split == PITH_SPLIT_CALIBRATION ? calibration
            : split == PITH_SPLIT_VALIDATION  ? validation
                                              : count - calibration - validation;
    if (options->limit > 0 && *many > options->limit)
        *many = options->limit;
    if (*many == 0)
        return pith_fail(err, -EINVAL, "%s: its %s split has no samples; there are %llu in all",
                         options->data, pith_split_names[split], (unsigned long long) count);
    return 0;
}

static int choose(struct pith_dataset *made, const struct pith_dataset_options *options,
                  enum pith_split split, struct pith_error *err)
{
    uint64_t count = made->source->count, first = 0, many = 0;
    int rc = place_split(options, split, count, &first, &many, err);

    if (rc < 0)
        return rc;
    if (count > SIZE_MAX / sizeof *made->indices)
        return pith_fail(err, -EFBIG, "%s: too many samples", options->data);
    made->indices = malloc((size_t) count * sizeof *made->indices);
    if (!made->indices)
        return pith_fail(err, -ENOMEM, "no memory to choose among %llu samples",
                         (unsigned long long) count);
    for (uint64_t i = 0; i < count; i++)
        made->indices[i] = i;
    if (many < count)
        shuffle(made->indices, count, options->seed);
    memmove(made->indices, made->indices + first, (size_t) many * sizeof *made->indices);
    qsort(made->indices, (size_t) many, sizeof *made->indices, by_number);
    made->count = many;
    return 0;
}

int pith_dataset_open(struct pith_dataset *out, const struct pith_dataset_options *options,
                      enum pith_split split, struct pith_error *err)
{
    struct pith_dataset made = {.prepare = options->prepare, .current = UINT64_MAX};
    const char *data = options->data;
    int rc;

    if (pith_ends_with(data, ".npy") || pith_ends_with(data, ".npy.zst") || pith_ends_with(data, ".npz"))
        rc = dataset_open_arrays(&made.source, options, err);
    else if (pith_ends_with(data, ".csv"))
        rc = dataset_open_table(&made.source, options, err);
    else
        rc = dataset_open_files(&made.source, options, err);
    if (rc == 0)
        rc = choose(&made, options, split, err);
    if (rc < 0) {
        pith_dataset_close(&made);
        return rc;
    }
    made.labels = made.source->labels;
    *out = made;
    return 0;
}

void pith_dataset_close(struct pith_dataset *dataset)
{
    if (dataset->source)
        dataset->source->ops->close(dataset->source);
    free(dataset->indices);
    free(dataset->prepared);
    free(dataset->resized);
    *dataset = (struct pith_dataset){0};
}

int pith_dataset_read(struct pith_dataset *dataset, uint64_t index, const struct pith_sample **out,
                      struct pith_error *err)
{
    int rc = 0;

    if (index >= dataset->count)
        return pith_fail(err, -EINVAL, "sample %llu of %llu was asked for",
                         (unsigned long long) index, (unsigned long long) dataset->count);
    if (index != dataset->current) {
        dataset->current = UINT64_MAX;
        dataset->sample = (struct pith_sample){.class_index = -1};
        rc = dataset->source->ops->read(dataset->source, dataset->indices[index], &dataset->sample,
                                        err);
        if (rc == 0)
            rc = dataset_prepare(dataset, err);
        if (rc == 0)
            dataset->current = index;
    }
    if (rc == 0)
        *out = &dataset->sample;
    return rc;
}

/* Whether x is [...row] after `between` dimensions. */
static bool row_fits(const struct pith_shape *x, const struct pith_shape *row, uint32_t between)
{
    if (x->rank != between + row->rank)
        return false;
    for (uint32_t i = 0; i < row->rank; i++)
        if (x->dim[between + i] != row->dim[i])
            return false;
    return true;
}

int pith_sample_rows(const struct pith_sample *sample, const struct pith_manifest *manifest,
                     struct pith_tensor *out, struct pith_error *err)
{
    const struct pith_tensor *x = &sample->x;
    char text[PITH_SHAPE_TEXT_BYTES], row[PITH_SHAPE_TEXT_BYTES];

    if (row_fits(&x->shape, &manifest->input_row, 1)) {
        *out = *x;
        return 0;
    }
    if (!row_fits(&x->shape, &manifest->input_row, 0))
        return pith_fail(err, -EBADMSG,
                         "a sample of shape %s isn't made of rows %s, which the model takes: it "
                         "must be [rows, ...row] or one row",
                         pith_shape_text(&x->shape, text, sizeof text),
                         pith_shape_text(&manifest->input_row, row, sizeof row));
    int64_t dims[PITH_MAX_RANK] = {1};

    for (uint32_t i = 0; i < x->shape.rank; i++)
        dims[i + 1] = x->shape.dim[i];
    *out = *x;
    out->shape = pith_shape_of(x->shape.rank + 1, dims);
    return 0;
}

int pith_dataset_check(struct pith_dataset *dataset, const struct pith_manifest *manifest,
                       struct pith_error *err)
{
    const struct pith_sample *first;
    struct pith_tensor rows;
    int rc = pith_dataset_read(dataset, 0, &first, err);

    return rc < 0 ? rc : pith_sample_rows(first, manifest, &rows, err);
}
