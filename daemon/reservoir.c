/* Kept samples in a folder: see reservoir.h. */
#include "daemon/reservoir.h"

#include "libpith/base/file.h"
#include "libpith/formats/npy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VALIDATES_FROM 6 /* samples; of fewer, all calibrate */
#define VALIDATES_EACH 3 /* every third */
#define EXPORT_TRIES   5

struct names {
    uint64_t *number; /* own; in rising order */
    size_t count;
};

static const char *file_path(char path[PATH_MAX], const char *folder, uint64_t number)
{
    (void) snprintf(path, PATH_MAX, "%.*s/%" PRIu64 ".npy", PATH_MAX - 64, folder, number);
    return path;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

    return (x > y) - (x < y);
}

static int add_name(struct names *names, uint64_t number)
{
    uint64_t *grown = realloc(names->number, (names->count + 1) * sizeof *grown);

    if (!grown)
        return -ENOMEM;
    names->number = grown;
    names->number[names->count++] = number;
    return 0;
}

/* No folder is an empty one. What a write left that was cut off has another name, and goes. */
static int list(struct names *out, const char *folder, struct pith_error *err)
{
    struct names names = {0};
    struct dirent *entry;
    DIR *open_folder = opendir(folder);
    int rc = 0;

    if (!open_folder && errno != ENOENT)
        return pith_fail(err, -errno, "%s: %s", folder, strerror(errno));
    while (rc == 0 && open_folder && (entry = readdir(open_folder))) {
        char path[PATH_MAX];
        char *end;
        uint64_t number = strtoull(entry->d_name, &end, 10);

        if (entry->d_name[0] == '.')
            continue;
        if (end != entry->d_name && strcmp(end, ".npy") == 0) {
            rc = add_name(&names, number);
        } else {
            (void) snprintf(path, sizeof path, "%.*s/%.255s", PATH_MAX - 300, folder,
                            entry->d_name);
            (void) unlink(path); /* best effort */
        }
    }
    if (open_folder)
        closedir(open_folder);
    if (rc < 0) {
        free(names.number);
        return pith_fail(err, rc, "%s: out of memory", folder);
    }
    if (names.count > 1)
        qsort(names.number, names.count, sizeof *names.number, by_number);
    *out = names;
    return 0;
}

static int drop_at(struct names *names, const char *folder, size_t at, struct pith_error *err)
{
    char path[PATH_MAX];

    if (unlink(file_path(path, folder, names->number[at])) < 0 && errno != ENOENT)
        return pith_fail(err, -errno, "%s: %s", path, strerror(errno));
    names->count--;
    memmove(names->number + at, names->number + at + 1,
            (names->count - at) * sizeof *names->number);
    return 0;
}

/* Which one goes is left to chance, as the draw was. */
static int trim(struct names *names, const char *folder, size_t count, uint64_t random,
                struct pith_error *err)
{
    int rc = 0;

    while (rc == 0 && names->count > count)
        rc = drop_at(names, folder, (size_t) (random % names->count), err);
    return rc;
}

static bool alike(const struct pith_tensor *a, const struct pith_tensor *b)
{
    return a->dtype == b->dtype && pith_shape_equal(&a->shape, &b->shape);
}

/* Whether the samples that are there are of this one's shape; a file that can't be read is not. */
static bool fits(const struct names *names, const char *folder, const struct pith_tensor *sample)
{
    struct pith_tensor there = {0};
    char path[PATH_MAX];
    bool fit = names->count == 0 ||
               (pith_npy_read(&there, file_path(path, folder, names->number[0]), NULL) == 0 &&
                alike(&there, sample));

    pith_tensor_free(&there);
    return fit;
}

int reservoir_offer(const char *folder, const struct reservoir_limits *limits,
                    const struct pith_tensor *sample, uint64_t *seen, uint64_t random,
                    struct pith_error *err)
{
    struct names names = {0};
    char path[PATH_MAX];
    uint64_t number, place;
    int64_t capacity = sample->bytes > 0 ? limits->bytes / (int64_t) sample->bytes : 0;
    int rc;

    if (capacity > limits->count)
        capacity = limits->count;
    if (capacity < 1)
        return 0;
    rc = pith_mkdirs(folder, 0700, err);
    if (rc == 0)
        rc = list(&names, folder, err);
    if (rc == 0 && !fits(&names, folder, sample)) {
        rc = trim(&names, folder, 0, 0, err);
        *seen = 0;
    }
    if (rc == 0)
        rc = trim(&names, folder, (size_t) capacity, random >> 32, err);
    if (rc < 0)
        goto done;
    number = names.count > 0 ? names.number[names.count - 1] + 1 : 0;
    if (number < *seen)
        number = *seen;
    *seen = number + 1;
    place = names.count < (size_t) capacity ? names.count : random % (number + 1);
    if (place >= (uint64_t) capacity)
        goto done; /* as likely for this one as for each that was kept */
    rc = pith_npy_write(file_path(path, folder, number), sample, err);
    if (rc == 0 && place < names.count)
        rc = drop_at(&names, folder, (size_t) place, err);
done:
    free(names.number);
    return rc;
}

int reservoir_trim(const char *folder, int64_t count, struct pith_error *err)
{
    struct names names = {0};
    int rc = count > 0 ? list(&names, folder, err) : pith_remove_tree(folder, err);

    if (rc == 0 && count > 0)
        rc = trim(&names, folder, (size_t) count, 0, err);
    free(names.number);
    return rc;
}

/* ---- for a job ---- */

struct export
{
    const char *folder;
    const struct names *names;
    const struct pith_manifest *manifest;
    struct pith_tensor first; /* own: what all others must be like */
    bool holds_back; /* every third, for validation: by its number, whatever else is there */
};

static bool belongs(const struct export *export, uint64_t number, bool validation)
{
    return !export->holds_back || (number % VALIDATES_EACH == VALIDATES_EACH - 1) == validation;
}

/* Rows as the manifest has them: the codec's may be of another shape with as many elements. */
static bool row_fits(const struct pith_tensor *sample, const struct pith_manifest *manifest)
{
    int64_t row = pith_shape_elements(&manifest->input_row);

    return sample->shape.rank > 0 && sample->shape.dim[0] > 0 && row > 0 &&
           pith_shape_elements(&sample->shape) == sample->shape.dim[0] * row &&
           manifest->input_row.rank + 2 <= PITH_MAX_RANK;
}

static int write_all(int fd, const void *data, size_t bytes)
{
    const uint8_t *at = data;

    while (bytes > 0) {
        ssize_t put = write(fd, at, bytes);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -errno;
        at += put;
        bytes -= (size_t) put;
    }
    return 0;
}

/* The values of those that belong, one after the other. fd: -1 only counts. */
static int write_values(const struct export *export, bool validation, int fd, size_t *out_count,
                        struct pith_error *err)
{
    char path[PATH_MAX];
    int rc = 0;

    *out_count = 0;
    for (size_t i = 0; rc == 0 && i < export->names->count; i++) {
        struct pith_tensor sample = {0};

        if (!belongs(export, export->names->number[i], validation))
            continue;
        rc = pith_npy_read(&sample, file_path(path, export->folder, export->names->number[i]), err);
        if (rc == -ENOENT)
            rc = -EAGAIN; /* another has just taken its place */
        if (rc == 0 && alike(&sample, &export->first)) {
            (*out_count)++;
            rc = fd < 0 ? 0 : write_all(fd, sample.data, sample.bytes);
            if (rc < 0)
                rc = pith_fail(err, rc, "writing kept samples for a job: %s", strerror(-rc));
        }
        pith_tensor_free(&sample);
    }
    return rc;
}

/* [samples, rows, ...row], in pieces, as all of it may be more than the daemon should hold. */
static int export_file(const struct export *export, const char *path, bool validation,
                       size_t *out_count, struct pith_error *err)
{
    struct pith_shape shape = {.rank = export->manifest->input_row.rank + 2};
    struct pith_buffer header = {0};
    char temporary[PATH_MAX + 8];
    size_t written = 0;
    int fd = -1;
    int rc = write_values(export, validation, -1, out_count, err);

    if (rc < 0 || *out_count == 0 || access(path, F_OK) == 0)
        return rc;
    shape.dim[0] = (int64_t) *out_count;
    shape.dim[1] = export->first.shape.dim[0];
    for (uint32_t i = 0; i < export->manifest->input_row.rank; i++)
        shape.dim[2 + i] = export->manifest->input_row.dim[i];
    (void) snprintf(temporary, sizeof temporary, "%s.part", path);
    rc = pith_npy_write_header(&header, export->first.dtype, &shape, err);
    if (rc == 0) {
        fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
            rc = pith_fail(err, -errno, "%s: %s", temporary, strerror(errno));
    }
    if (rc == 0 && (rc = write_all(fd, header.data, header.bytes)) < 0)
        rc = pith_fail(err, rc, "%s: %s", temporary, strerror(-rc));
    if (rc == 0)
        rc = write_values(export, validation, fd, &written, err);
    if (rc == 0 && (fsync(fd) < 0 || rename(temporary, path) < 0))
        rc = pith_fail(err, -errno, "%s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    pith_buffer_done(&header);
    return rc;
}

/* Calibration is written last: where it is there, all is done. */
static int export_both(struct export *export, const char *data, bool validates, size_t *out_count,
                       struct pith_error *err)
{
    char calibration[PATH_MAX], validation[PATH_MAX];
    size_t held_back = 0;
    int rc = 0;

    (void) snprintf(calibration, sizeof calibration, "%.*s/calibration_x.npy", PATH_MAX - 64, data);
    (void) snprintf(validation, sizeof validation, "%.*s/validation_x.npy", PATH_MAX - 64, data);
    if (access(calibration, F_OK) == 0)
        return 0;
    export->holds_back =
        validates && (export->names->count >= VALIDATES_FROM || access(validation, F_OK) == 0);
    if (export->holds_back)
        rc = export_file(export, validation, true, &held_back, err);
    if (rc == 0)
        rc = export_file(export, calibration, false, out_count, err);
    *out_count += held_back;
    return rc;
}

static int export_once(const char *folder, const struct pith_manifest *manifest, const char *data,
                       bool validates, size_t *out_count, struct pith_error *err)
{
    struct names names = {0};
    struct export export = {.folder = folder, .names = &names, .manifest = manifest};
    char path[PATH_MAX];
    int rc = list(&names, folder, err);

    *out_count = 0;
    if (rc == 0 && names.count > 0)
        rc = pith_npy_read(&export.first, file_path(path, folder, names.number[names.count - 1]),
                           err);
    if (rc == -ENOENT)
        rc = -EAGAIN;
    if (rc == 0 && export.first.data && row_fits(&export.first, manifest))
        rc = export_both(&export, data, validates, out_count, err);
    pith_tensor_free(&export.first);
    free(names.number);
    return rc;
}

/* Samples are kept meanwhile, and one may give way while it is read: then it begins anew. */
int reservoir_export(const char *folder, const struct pith_manifest *manifest, const char *data,
                     bool validates, size_t *out_count, struct pith_error *err)
{
    int rc = -EAGAIN;

    for (int i = 0; i < EXPORT_TRIES && rc == -EAGAIN; i++)
        rc = export_once(folder, manifest, data, validates, out_count, err);
    return rc;
}

int reservoir_unexport(const char *data, bool validates, bool *out_there, struct pith_error *err)
{
    static const char *const files[] = {"calibration_x.npy", "calibration_x.npy.part",
                                        "validation_x.npy", "validation_x.npy.part"};
    char path[PATH_MAX];

    *out_there = false;
    for (size_t i = 0; i < (validates ? 4 : 2); i++) {
        (void) snprintf(path, sizeof path, "%.*s/%s", PATH_MAX - 64, data, files[i]);
        if (unlink(path) == 0)
            *out_there = true;
        else if (errno != ENOENT)
            return pith_fail(err, -errno, "%s: %s", path, strerror(errno));
    }
    return 0;
}
