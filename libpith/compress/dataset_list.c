/* Folders are walked without following links; names are sorted, so that the order is the same
 * everywhere. */
#include "libpith/compress/dataset_files.h"

#include "libpith/formats/csv.h"
#include "libpith/formats/tar.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define DEEPEST 16

/* Cameras and some data sets write extensions in capitals. */
bool dataset_has_extension(const char *name, const char *extension)
{
    size_t length = strlen(name), end = strlen(extension);

    return length > end && !strcasecmp(name + length - end, extension);
}

static bool is_sample(const char *name)
{
    static const char *const ends[] = {".jpg", ".jpeg", ".wav", ".flac", ".npy"};

    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (dataset_has_extension(name, ends[i]))
            return true;
    return false;
}

static int add(struct dataset_list *list, const char *name, uint64_t offset, uint64_t bytes,
               struct pith_error *err)
{
    if (list->count == PITH_DATASET_MAX_FILES)
        return pith_fail(err, -EFBIG, "more than %d files", PITH_DATASET_MAX_FILES);
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 256;
        struct dataset_file *grown = realloc(list->files, capacity * sizeof *grown);

        if (!grown)
            return pith_fail(err, -ENOMEM, "no memory for a list of files");
        list->files = grown;
        list->capacity = capacity;
    }
    list->files[list->count] = (struct dataset_file){
        .name = strdup(name), .offset = offset, .bytes = bytes, .class_index = -1};
    return list->files[list->count].name ? (int) (list->count++, 0)
                                         : pith_fail(err, -ENOMEM, "no memory for a list of files");
}

/* below: the path from the folder on, "" at its top. */
static int walk(struct dataset_list *list, const char *folder, const char *below, int depth,
                struct pith_error *err)
{
    char path[PATH_MAX];
    int rc = 0;

    (void) snprintf(path, sizeof path, "%s/%s", folder, below);
    DIR *opened = opendir(path);

    if (!opened)
        return pith_fail(err, -errno, "%s: %s", path, strerror(errno));
    for (const struct dirent *entry; rc == 0 && (entry = readdir(opened));) {
        char name[PATH_MAX];
        struct stat status;

        if (entry->d_name[0] == '.' ||
            snprintf(name, sizeof name, "%s%s%s", below, *below ? "/" : "", entry->d_name) >=
                (int) sizeof name ||
            snprintf(path, sizeof path, "%s/%s", folder, name) >= (int) sizeof path ||
            lstat(path, &status) < 0)
            continue;
        if (S_ISDIR(status.st_mode) && depth < DEEPEST)
            rc = walk(list, folder, name, depth + 1, err);
        else if (S_ISREG(status.st_mode) && is_sample(name))
            rc = add(list, name, 0, (uint64_t) status.st_size, err);
    }
    (void) closedir(opened);
    return rc;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct dataset_file *) a)->name, ((const struct dataset_file *) b)->name);
}

int dataset_list_folder(struct dataset_list *list, const char *folder, struct pith_error *err)
{
    int rc = walk(list, folder, "", 0, err);

    if (rc == 0 && list->count > 0)
        qsort(list->files, list->count, sizeof *list->files, by_name);
    return rc;
}

int dataset_list_archive(struct dataset_list *list, struct pith_stream *archive,
                         struct pith_error *err)
{
    struct pith_tar_entry entry;
    uint64_t at = 0;
    int rc;

    while ((rc = pith_tar_next(archive, &at, &entry, err)) == 1) {
        rc = is_sample(entry.name) ? add(list, entry.name, entry.offset, entry.bytes, err) : 0;
        if (rc < 0)
            return rc;
    }
    return rc;
}

void dataset_list_done(struct dataset_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->files[i].name);
    free(list->files);
    dataset_classes_done(&list->classes);
    *list = (struct dataset_list){0};
}

/* ---- classes ---- */

static int sort_classes(struct dataset_list *list, struct pith_error *err)
{
    char **was;
    int rc = dataset_classes_sort(&list->classes, &was, err);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < list->count; i++)
        if (list->files[i].class_index >= 0 && (size_t) list->files[i].class_index < list->classes.count)
            list->files[i].class_index =
                dataset_class_of(&list->classes, was[list->files[i].class_index]);
    free(was);
    return 0;
}

static bool all_of_one_class(const struct dataset_list *list)
{
    for (size_t i = 1; i < list->count; i++)
        if (list->files[i].class_index != list->files[0].class_index)
            return false;
    return true;
}

/* "test/bird/0001.jpg" -> "bird" */
static int label_by_folder(struct dataset_list *list, bool open, struct pith_error *err)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < list->count; i++) {
        char folder[NAME_MAX + 1];
        const char *name = list->files[i].name, *slash = strrchr(name, '/'), *start = slash;

        if (!slash)
            continue;
        while (start > name && start[-1] != '/')
            start--;
        (void) snprintf(folder, sizeof folder, "%.*s", (int) (slash - start), start);
        rc = dataset_classes_take(&list->classes, folder, open, &list->files[i].class_index, err);
        list->labelled = list->labelled || list->files[i].class_index >= 0;
    }
    /* One folder around all files tells nothing apart. */
    if (rc == 0 && open && all_of_one_class(list)) {
        list->labelled = false;
        for (size_t i = 0; i < list->count; i++)
            list->files[i].class_index = -1;
        dataset_classes_done(&list->classes);
    }
    return rc;
}

/* ---- the index ---- */

struct index { /* of a CSV file: which fields matter */
    size_t fields, path, label, where;
    char *where_name, *where_value; /* own */
};

#define NO_FIELD SIZE_MAX

static int read_columns(struct index *index, struct pith_csv_cursor *at, const char *label,
                        struct pith_error *err)
{
    struct pith_csv_field field = {0};

    index->path = index->label = index->where = NO_FIELD;
    pith_csv_skip_blank_lines(at);
    for (; !field.last; index->fields++) {
        int rc = pith_csv_next_field(at, &field, err);
        char *name = rc < 0 ? NULL : pith_csv_text(&field);

        if (!name)
            return rc < 0 ? rc : -ENOMEM;
        if (!strcmp(name, "path"))
            index->path = index->fields;
        if (!strcmp(name, label))
            index->label = index->fields;
        if (index->where_name && !strcmp(name, index->where_name))
            index->where = index->fields;
        free(name);
    }
    if (index->path == NO_FIELD)
        return pith_fail(err, -EBADMSG, "it has no column \"path\"");
    if (index->label == NO_FIELD)
        return pith_fail(err, -EINVAL, "it has no column \"%s\"; name the one with --labels",
                         label);
    if (index->where_name && index->where == NO_FIELD)
        return pith_fail(err, -EINVAL, "it has no column \"%s\"", index->where_name);
    return 0;
}

static struct dataset_file *find(struct dataset_file *sorted, size_t count, const char *name)
{
    struct dataset_file key = {.name = (char *) (uintptr_t) name};

    return bsearch(&key, sorted, count, sizeof key, by_name);
}

/* One row: *file gets its class, or stays left out. */
static int read_index_row(struct dataset_list *list, const struct index *index, bool open,
                          struct pith_csv_cursor *at, struct dataset_file *sorted,
                          struct pith_error *err)
{
    struct pith_csv_field field = {0};
    char *texts[3] = {NULL, NULL, NULL}; /* path, label, where */
    const size_t wanted[3] = {index->path, index->label, index->where};
    int64_t class_index = -1;
    int rc = 0;

    for (size_t i = 0; rc == 0 && !field.last; i++) {
        rc = pith_csv_next_field(at, &field, err);
        for (size_t k = 0; rc == 0 && k < 3; k++)
            if (i == wanted[k] && !(texts[k] = pith_csv_text(&field)))
                rc = -ENOMEM;
    }
    if (rc == 0 && (!texts[0] || !texts[1]))
        rc = pith_fail(err, -EBADMSG, "line %zu has too few fields", at->line - 1);
    bool taken =
        rc == 0 && (!index->where_name || (texts[2] && !strcmp(texts[2], index->where_value)));

    if (taken) {
        struct dataset_file *file = find(sorted, list->count, texts[0]);

        rc = dataset_classes_take(&list->classes, texts[1], open, &class_index, err);
        if (rc == 0 && file) {
            file->class_index = class_index;
            file->left_out = false;
        }
    }
    for (size_t k = 0; k < 3; k++)
        free(texts[k]);
    return rc;
}

/* The index is walked over files sorted by name; their order in the archive is restored after. */
static int by_offset(const void *a, const void *b)
{
    const struct dataset_file *x = a, *y = b;

    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return by_name(a, b);
}

static int walk_index(struct dataset_list *list, struct index *index, const char *label, bool open,
                      const struct pith_mapping *file, struct pith_error *err)
{
    struct pith_csv_cursor at =
        pith_csv_begin(file->bytes ? (const char *) file->data : "", file->bytes);
    int rc = read_columns(index, &at, label, err);

    for (size_t i = 0; i < list->count; i++)
        list->files[i].left_out = true;
    for (pith_csv_skip_blank_lines(&at); rc == 0 && at.at < at.end; pith_csv_skip_blank_lines(&at))
        rc = read_index_row(list, index, open, &at, list->files, err);
    return rc;
}

static int label_by_index(struct dataset_list *list, const struct pith_dataset_options *options,
                          bool open, struct pith_error *err)
{
    const char *equals = options->where ? strchr(options->where, '=') : NULL;
    struct index index = {0};
    struct pith_mapping file;
    int rc = pith_mapping_open(&file, options->index, err);

    if (rc < 0)
        return rc;
    if (options->where && !equals)
        rc = pith_fail(err, -EINVAL, "where: \"%s\" isn't \"column=value\"", options->where);
    if (equals) {
        index.where_name = strndup(options->where, (size_t) (equals - options->where));
        index.where_value = strdup(equals + 1);
        rc = index.where_name && index.where_value ? 0 : -ENOMEM;
    }
    qsort(list->files, list->count, sizeof *list->files, by_name);
    if (rc == 0)
        rc =
            walk_index(list, &index, options->labels ? options->labels : "label", open, &file, err);
    qsort(list->files, list->count, sizeof *list->files, by_offset);
    free(index.where_name);
    free(index.where_value);
    pith_mapping_close(&file);
    list->labelled = true;
    return rc < 0 ? pith_fail_in(err, rc, "%s", options->index) : 0;
}

static void drop_left_out(struct dataset_list *list)
{
    size_t kept = 0;

    for (size_t i = 0; i < list->count; i++) {
        if (list->files[i].left_out)
            free(list->files[i].name);
        else
            list->files[kept++] = list->files[i];
    }
    list->count = kept;
}

int dataset_list_label(struct dataset_list *list, const struct pith_dataset_options *options,
                       struct pith_error *err)
{
    bool open = !options->classes;
    int rc = dataset_classes_read(&list->classes, options->classes, err);

    if (rc < 0 || list->count == 0)
        return rc;
    rc = options->index ? label_by_index(list, options, open, err)
                        : label_by_folder(list, open, err);
    if (rc == 0 && open)
        rc = sort_classes(list, err);
    if (rc == 0)
        drop_left_out(list);
    return rc;
}
