/* Names of classes, and their numbers. */
#include "libpith/compress/dataset_source.h"

#include "libpith/base/file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CLASSES_MAX_BYTES (1 << 20)

/* Spaces before a name are nobody's. */
static char *name_of(const char *line)
{
    while (*line == ' ' || *line == '\t')
        line++;
    return strdup(line);
}

int dataset_classes_read(struct dataset_classes *out, const char *path, struct pith_error *err)
{
    struct pith_buffer text = {0};
    struct dataset_classes made = {0};
    char *save = NULL;
    int rc;

    if (!path)
        return 0;
    rc = pith_file_read(path, CLASSES_MAX_BYTES, &text, err);
    if (rc == 0)
        made.names = calloc(PITH_DATASET_MAX_CLASSES, sizeof *made.names);
    if (rc == 0 && !made.names)
        rc = -ENOMEM;
    for (char *line = rc == 0 && text.data ? strtok_r((char *) text.data, "\r\n", &save) : NULL;
         rc == 0 && line; line = strtok_r(NULL, "\r\n", &save)) {
        if (made.count == PITH_DATASET_MAX_CLASSES)
            rc = pith_fail(err, -EFBIG, "%s: more than %d classes", path, PITH_DATASET_MAX_CLASSES);
        else if (!(made.names[made.count] = name_of(line)))
            rc = -ENOMEM;
        else
            made.count++;
    }
    if (rc == 0 && made.count == 0)
        rc = pith_fail(err, -EBADMSG, "%s: it names no class; write one a line", path);
    pith_buffer_done(&text);
    if (rc < 0) {
        dataset_classes_done(&made);
        return rc;
    }
    *out = made;
    return 0;
}

void dataset_classes_done(struct dataset_classes *classes)
{
    for (size_t i = 0; i < classes->count; i++)
        free(classes->names[i]);
    free(classes->names);
    *classes = (struct dataset_classes){0};
}

int dataset_classes_take(struct dataset_classes *classes, const char *name, bool open, int64_t *out,
                         struct pith_error *err)
{
    *out = dataset_class_of(classes, name);
    if (*out >= 0 || !open)
        return 0;
    if (!classes->names)
        classes->names = calloc(PITH_DATASET_MAX_CLASSES, sizeof *classes->names);
    if (!classes->names)
        return pith_fail(err, -ENOMEM, "no memory for the names of classes");
    if (classes->count == PITH_DATASET_MAX_CLASSES)
        return pith_fail(err, -EFBIG, "more than %d classes", PITH_DATASET_MAX_CLASSES);
    classes->names[classes->count] = strdup(name);
    if (!classes->names[classes->count])
        return pith_fail(err, -ENOMEM, "no memory for the names of classes");
    *out = (int64_t) classes->count++;
    return 0;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *) a, *(char *const *) b);
}

int dataset_classes_sort(struct dataset_classes *classes, char ***was, struct pith_error *err)
{
    if (was) {
        *was = malloc((classes->count + 1) * sizeof **was);
        if (!*was)
            return pith_fail(err, -ENOMEM, "no memory for the names of classes");
    }
    if (classes->count == 0)
        return 0;
    if (was)
        memcpy(*was, classes->names, classes->count * sizeof **was);
    qsort(classes->names, classes->count, sizeof *classes->names, by_text);
    return 0;
}

int64_t dataset_class_of(const struct dataset_classes *classes, const char *name)
{
    char *end;
    long long number;

    for (size_t i = 0; i < classes->count; i++)
        if (!strcmp(classes->names[i], name))
            return (int64_t) i;
    number = strtoll(name, &end, 10);
    while (*end == ' ')
        end++;
    return end != name && *end == 0 && number >= 0 && number < INT32_MAX ? number : -1;
}
