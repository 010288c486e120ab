/* Samples in files: a folder of them, or an archive. A file is read whole, and so bounded. */
#include "libpith/compress/dataset_files.h"

#include "libpith/base/names.h"
#include "libpith/formats/flac.h"
#include "libpith/formats/jpeg.h"
#include "libpith/formats/npy.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_MAX_BYTES  (256u << 20)
#define BOXES_MAX       4096 /* of one picture */
#define BOXES_MAX_BYTES (1u << 20)

struct files {
    struct dataset_source source;
    struct dataset_list list;
    char *folder;                /* own; NULL: an archive */
    char *box_folder;            /* own; of .txt files; NULL: no boxes */
    struct pith_stream *archive; /* own */
    int channels;                /* of pictures */
    struct pith_buffer file;     /* of the sample under way */
    struct pith_tensor x;        /* own */
    struct pith_box *boxes;      /* own; BOXES_MAX */
};

static bool is_picture(const char *name)
{
    return dataset_has_extension(name, ".jpg") || dataset_has_extension(name, ".jpeg");
}

static int load(struct files *files, const struct dataset_file *entry, struct pith_error *err)
{
    char path[PATH_MAX];

    files->file.bytes = 0;
    files->file.failed = false;
    if (files->folder) {
        (void) snprintf(path, sizeof path, "%s/%s", files->folder, entry->name);
        return pith_file_read(path, FILE_MAX_BYTES, &files->file, err);
    }
    if (entry->bytes > FILE_MAX_BYTES)
        return pith_fail(err, -EFBIG, "it has %llu bytes; %u are allowed",
                         (unsigned long long) entry->bytes, FILE_MAX_BYTES);
    if (pith_buffer_reserve(&files->file, (size_t) entry->bytes) < 0)
        return pith_fail(err, -ENOMEM, "no memory for %llu bytes",
                         (unsigned long long) entry->bytes);
    files->file.bytes = (size_t) entry->bytes;
    return pith_stream_read_all(files->archive, entry->offset, files->file.data, files->file.bytes,
                                err);
}

static int decode(struct files *files, const char *name, struct pith_error *err)
{
    struct pith_tensor view;
    int rc;

    pith_tensor_free(&files->x);
    if (is_picture(name))
        return pith_jpeg_decode(&files->x, files->file.data, files->file.bytes, files->channels,
                                err);
    if (dataset_has_extension(name, ".wav"))
        return pith_wav_decode(&files->x, NULL, files->file.data, files->file.bytes, err);
    if (dataset_has_extension(name, ".flac"))
        return pith_flac_decode(&files->x, NULL, files->file.data, files->file.bytes, err);
    rc = pith_npy_view(&view, files->file.data, files->file.bytes, err);
    return rc < 0 ? rc : pith_tensor_copy(&files->x, &view, err);
}

/* ---- boxes ---- */

/* "class cx cy w h", shares of the picture. */
static int read_box(const char *line, struct pith_box *out)
{
    double cx, cy, w, h;
    int class_index, end = 0;

    if (sscanf(line, "%d %lf %lf %lf %lf %n", &class_index, &cx, &cy, &w, &h, &end) < 5 ||
        line[end] || class_index < 0 || !isfinite(cx + cy + w + h) || w < 0 || h < 0)
        return -EBADMSG;
    *out = (struct pith_box){.x0 = (float) (cx - w / 2),
                             .y0 = (float) (cy - h / 2),
                             .x1 = (float) (cx + w / 2),
                             .y1 = (float) (cy + h / 2),
                             .class_index = class_index,
                             .score = 1};
    return 0;
}

/* A picture without a file has no boxes. */
static int read_boxes(struct files *files, const char *name, struct pith_sample *out,
                      struct pith_error *err)
{
    const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;
    struct pith_buffer text = {0};
    char path[PATH_MAX], *save = NULL;
    int rc;

    (void) snprintf(path, sizeof path, "%s/%.*s.txt", files->box_folder,
                    (int) (strrchr(base, '.') - base), base);
    out->boxes = files->boxes;
    rc = pith_file_read(path, BOXES_MAX_BYTES, &text, err);
    if (rc == -ENOENT)
        return 0;
    for (char *line = rc == 0 && text.data ? strtok_r((char *) text.data, "\r\n", &save) : NULL;
         rc == 0 && line; line = strtok_r(NULL, "\r\n", &save)) {
        if (out->box_count == BOXES_MAX)
            rc = pith_fail(err, -EFBIG, "%s: more than %d boxes", path, BOXES_MAX);
        else if (read_box(line, &files->boxes[out->box_count]) < 0)
            rc = pith_fail(err, -EBADMSG,
                           "%s: \"%.40s\" isn't a box; a line is: class cx cy width height", path,
                           line);
        else
            out->box_count++;
    }
    pith_buffer_done(&text);
    return rc;
}

static int files_read(struct dataset_source *source, uint64_t index, struct pith_sample *out,
                      struct pith_error *err)
{
    struct files *files = (struct files *) source;
    const struct dataset_file *entry = &files->list.files[index];
    int rc = load(files, entry, err);

    if (rc == 0)
        rc = decode(files, entry->name, err);
    if (rc == 0 && files->box_folder)
        rc = read_boxes(files, entry->name, out, err);
    if (rc < 0)
        return pith_fail_in(err, rc, "%s", entry->name);
    out->x = files->x;
    out->class_index = entry->class_index;
    return 0;
}

static void files_close(struct dataset_source *source)
{
    struct files *files = (struct files *) source;

    dataset_list_done(&files->list);
    pith_stream_close(files->archive);
    pith_buffer_done(&files->file);
    pith_tensor_free(&files->x);
    free(files->boxes);
    free(files->folder);
    free(files->box_folder);
    free(files);
}

static const struct dataset_source_ops files_ops = {.read = files_read, .close = files_close};

static bool is_folder(const char *path)
{
    struct stat status;

    return path && stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

static int list_files(struct files *files, const struct pith_dataset_options *options,
                      struct pith_error *err)
{
    bool archive =
        pith_ends_with(options->data, ".tar") || pith_ends_with(options->data, ".tar.zst");
    int rc;

    if (archive) {
        rc = pith_stream_open(&files->archive, options->data, err);
        return rc < 0 ? rc : dataset_list_archive(&files->list, files->archive, err);
    }
    if (!is_folder(options->data))
        return pith_fail(err, -EINVAL,
                         "%s is no data set: it must be .npy, .npy.zst, .csv, .tar, .tar.zst or a "
                         "folder of pictures, sounds or arrays",
                         options->data);
    files->folder = strdup(options->data);
    return files->folder ? dataset_list_folder(&files->list, files->folder, err) : -ENOMEM;
}

static int settle(struct files *files, const struct pith_dataset_options *options,
                  struct pith_error *err)
{
    bool boxes = is_folder(options->labels);
    int rc = list_files(files, options, err);

    if (rc < 0)
        return rc;
    if (boxes) {
        files->box_folder = strdup(options->labels);
        files->boxes = calloc(BOXES_MAX, sizeof *files->boxes);
        rc = files->box_folder && files->boxes ? 0 : -ENOMEM;
    } else {
        rc = dataset_list_label(&files->list, options, err);
    }
    if (rc < 0)
        return rc;
    if (files->list.count == 0)
        return pith_fail(err, -EINVAL, "%s: no .jpg, .wav, .flac or .npy file is in it%s", options->data,
                         options->index ? " that the index names" : "");
    files->channels = options->prepare.channels == PITH_CHANNELS_GREY ? 1 : 3;
    files->source.count = files->list.count;
    files->source.pictures = is_picture(files->list.files[0].name);
    files->source.labels = boxes                  ? PITH_LABEL_BOXES
                           : files->list.labelled ? PITH_LABEL_CLASS
                                                  : PITH_LABEL_NONE;
    return 0;
}

int dataset_open_files(struct dataset_source **out, const struct pith_dataset_options *options,
                       struct pith_error *err)
{
    struct files *files = calloc(1, sizeof *files);
    int rc;

    if (!files)
        return pith_fail(err, -ENOMEM, "no memory for a data set");
    files->source.ops = &files_ops;
    rc = settle(files, options, err);
    if (rc < 0) {
        files_close(&files->source);
        return rc;
    }
    *out = &files->source;
    return 0;
}
