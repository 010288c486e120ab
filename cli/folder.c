/* A model's folder made into what travels: files become blobs (compressed where that helps), and
 * the manifest names them by digest. */
#include "cli/folder.h"

#include "cli/output.h"
#include "libpith/base/file.h"
#include "libpith/base/json.h"
#include "libpith/base/names.h"
#include "libpith/formats/onnx.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_MAX_BYTES  ((size_t) 1 << 31)
#define GRAPH_MAX_BYTES ((size_t) 1 << 31) /* unpacked */
#define WORTH_PACKING(raw)                                                                         \
    ((raw) - (raw) / 32) /* less than 3 % saved is not worth unpacking on every gateway */

static int check_file_name(const char *file, const char *where, struct pith_error *err)
{
    if (!file[0] || file[0] == '/' || strlen(file) > 200 || strcmp(file, "..") == 0 ||
        strncmp(file, "../", 3) == 0 || strstr(file, "/../") || pith_ends_with(file, "/.."))
        return pith_fail(err, -EINVAL,
                         "%s.file: \"%.100s\" must be a path within the model's folder", where,
                         file);
    return 0;
}

/* The bytes as they will travel, and what a manifest says of them. */
static int pack_file(struct folder_blob *out, const struct pith_mapping *file, bool pack,
                     struct pith_error *err)
{
    uint8_t digest[PITH_SHA256_BYTES];
    struct pith_blob *blob = &out->blob;
    int rc;

    blob->raw_bytes = (int64_t) file->bytes;
    if (pith_ends_with(out->path,
                  ".zst")) { /* packed already: how large it is unpacked must still be told */
        struct pith_buffer raw = {0};

        rc = pith_zstd_decompress(file->data, file->bytes, FILE_MAX_BYTES, &raw, err);
        if (rc < 0)
            return pith_fail_in(err, rc, "%s", out->path);
        blob->raw_bytes = (int64_t) raw.bytes;
        blob->zstd = true;
        pith_buffer_done(&raw);
    } else if (pack) {
        rc = pith_zstd_compress(file->data, file->bytes, PITH_ZSTD_LEVEL, &out->packed, err);
        if (rc < 0)
            return pith_fail_in(err, rc, "%s", out->path);
        blob->zstd = out->packed.bytes < WORTH_PACKING(file->bytes);
        if (!blob->zstd)
            pith_buffer_done(&out->packed);
    }
    if (!out->packed.data)
        pith_buffer_append(&out->packed, file->data, file->bytes);
    if (out->packed.failed || pith_sha256(out->packed.data, out->packed.bytes, digest) < 0)
        return pith_fail(err, -ENOMEM, "%s: no memory to prepare it", out->path);
    pith_hex_encode(blob->sha256, digest, sizeof digest);
    blob->bytes = (int64_t) out->packed.bytes;
    return 0;
}

/* Keeps the blob in the folder unless the same bytes are there already. */
static void keep_blob(struct folder *folder, struct folder_blob *blob)
{
    for (size_t i = 0; i < folder->blob_count; i++)
        if (strcmp(folder->blobs[i].blob.sha256, blob->blob.sha256) == 0) {
            pith_buffer_done(&blob->packed);
            return;
        }
    folder->blobs[folder->blob_count++] = *blob;
}

/* Replaces object[key] = {"file": ...} by the blob, and says where the file is. */
static int take_file(struct folder *folder, json_t *object, const char *key, const char *where,
                     bool pack, char out_path[512], struct pith_error *err)
{
    static const char *const known[] = {"file", NULL};
    struct folder_blob blob = {.blob = {.bytes = 0}};
    struct pith_mapping file;
    const char *name;
    json_t *entry = json_object_get(object, key), *filled;
    int rc;

    if (!json_is_object(entry))
        return pith_fail(err, -EINVAL, "%s: must be an object such as {\"file\": \"%s.onnx\"}",
                         where, key);
    if (pith_json_only(entry, where, known, err) < 0 ||
        pith_json_string(entry, where, "file", &name, err) < 0 ||
        check_file_name(name, where, err) < 0)
        return -EINVAL;
    (void) snprintf(blob.path, sizeof blob.path, "%s/%s", folder->path, name);
    (void) snprintf(out_path, 512, "%s", blob.path);
    rc = pith_mapping_open(&file, blob.path, err);
    if (rc < 0)
        return rc;
    if (file.bytes == 0 || file.bytes > FILE_MAX_BYTES)
        rc = pith_fail(err, -EINVAL, "%s: is %s", blob.path, file.bytes ? "too large" : "empty");
    if (rc == 0)
        rc = pack_file(&blob, &file, pack, err);
    pith_mapping_close(&file);
    filled = rc == 0 ? pith_blob_json(&blob.blob) : NULL;
    if (rc == 0 && (!filled || json_object_set_new(object, key, filled) < 0))
        rc = pith_fail(err, -ENOMEM, "%s: no memory", blob.path);
    if (rc == 0 && pack)
        keep_blob(folder, &blob);
    else
        pith_buffer_done(&blob.packed);
    return rc;
}

static int take_graphs(struct folder *folder, json_t *json, bool pack, struct pith_error *err)
{
    json_t *graphs = json_object_get(json, "graphs");
    size_t count = 0;
    const char *name;
    json_t *entry;
    void *next;

    if (json_object_size(graphs) > PITH_MANIFEST_MAX_GRAPHS)
        return pith_fail(err, -EINVAL, "manifest: graphs: more than %d", PITH_MANIFEST_MAX_GRAPHS);
    json_object_foreach_safe(graphs, next, name, entry)
    {
        char label[128], where[PITH_JSON_PATH_BYTES];
        struct pith_graph *graph = NULL;
        int rc;

        (void) snprintf(where, sizeof where, "manifest: graphs.%.64s", name);
        (void) snprintf(label, sizeof label, "preparing %.64s", name);
        if (pack)
            progress_show(label, (double) count / (double) json_object_size(graphs));
        rc = take_file(folder, graphs, name, where, pack, folder->graph_path[count], err);
        if (rc == 0)
            rc = pith_graph_open(&graph, folder->graph_path[count], GRAPH_MAX_BYTES, err);
        pith_graph_free(graph);
        if (rc < 0)
            return rc;
        count++;
    }
    return 0;
}

static int take_data(struct folder *folder, json_t *json, bool pack, struct pith_error *err)
{
    static const char *const sets[] = {"calibration", "validation"}, *const parts[] = {"x", "y"};
    json_t *data = json_object_get(json, "data");

    for (size_t i = 0; i < 4; i++) {
        const char *set = sets[i / 2], *part = parts[i % 2];
        json_t *object = json_object_get(data, set);
        char where[64];
        int rc;

        if (!json_object_get(object, part))
            continue;
        (void) snprintf(where, sizeof where, "manifest: data.%s.%s", set, part);
        if (pack)
            progress_show("preparing data", (double) i / 4);
        rc = take_file(folder, object, part, where, pack, folder->data_path[i], err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* The manifest as it will be signed for: the last blob. */
static int finish_manifest(struct folder *folder, const json_t *json, bool pack,
                           struct pith_error *err)
{
    struct folder_blob blob = {.path = "manifest.json"};
    uint8_t digest[PITH_SHA256_BYTES];
    int rc;

    folder->manifest_text = json_dumps(json, JSON_COMPACT);
    if (!folder->manifest_text)
        return pith_fail(err, -ENOMEM, "manifest: no memory");
    rc = pith_manifest_parse(&folder->manifest, folder->manifest_text,
                             strlen(folder->manifest_text), err);
    if (rc < 0 || !pack)
        return rc;
    pith_buffer_text(&blob.packed, folder->manifest_text);
    if (blob.packed.failed || pith_sha256(blob.packed.data, blob.packed.bytes, digest) < 0)
        return pith_fail(err, -ENOMEM, "manifest: no memory");
    pith_hex_encode(blob.blob.sha256, digest, sizeof digest);
    blob.blob.bytes = blob.blob.raw_bytes = (int64_t) blob.packed.bytes;
    folder->blobs[folder->blob_count++] = blob;
    return 0;
}

static int read_manifest(json_t **out, struct folder *folder, const char *path,
                         struct pith_error *err)
{
    struct pith_buffer text = {0};
    struct stat status;
    char file[300];
    int rc;

    if (stat(path, &status) < 0)
        return pith_fail(err, -ENOENT, "%s: %s", path, strerror(errno));
    if (strlen(path) >= sizeof folder->path - 16)
        return pith_fail(err, -EINVAL, "%.100s...: the path is too long", path);
    (void) snprintf(folder->path, sizeof folder->path, "%s", path);
    if (!S_ISDIR(status.st_mode)) {
        char *slash = strrchr(folder->path, '/');

        if (!pith_ends_with(path, ".json"))
            return pith_fail(err, -EINVAL,
                             "%s: is no model's folder: it must be a folder with a manifest.json",
                             path);
        (void) snprintf(slash ? slash : folder->path, slash ? 1 : 2, "%s", slash ? "" : ".");
        (void) snprintf(file, sizeof file, "%s", path);
    } else {
        (void) snprintf(file, sizeof file, "%s/manifest.json", path);
    }
    rc = pith_file_read(file, PITH_MANIFEST_MAX_BYTES, &text, err);
    if (rc == -ENOENT)
        rc = pith_fail(err, -ENOENT, "%s: holds no manifest.json; pith(1) shows how to write one",
                       path);
    if (rc == 0)
        rc = pith_json_parse(out, text.data, text.bytes, PITH_MANIFEST_MAX_BYTES, "manifest", err);
    pith_buffer_done(&text);
    return rc;
}

int folder_open(struct folder **out, const char *path, bool pack, struct pith_error *err)
{
    struct folder *folder = calloc(1, sizeof *folder);
    json_t *json = NULL;
    int rc;

    if (!folder)
        return pith_fail(err, -ENOMEM, "no memory for the model");
    rc = read_manifest(&json, folder, path, err);
    if (rc == 0)
        rc = take_graphs(folder, json, pack, err);
    if (rc == 0)
        rc = take_data(folder, json, pack, err);
    if (rc == 0)
        rc = finish_manifest(folder, json, pack, err);
    json_decref(json);
    if (rc < 0) {
        if (pack)
            progress_end();
        folder_close(folder);
        return rc == -EBADMSG ? pith_fail_in(err, -EINVAL, "%s", path) : rc;
    }
    *out = folder;
    return 0;
}

void folder_close(struct folder *folder)
{
    if (!folder)
        return;
    for (size_t i = 0; i < folder->blob_count; i++)
        pith_buffer_done(&folder->blobs[i].packed);
    pith_manifest_free(folder->manifest);
    free(folder->manifest_text);
    free(folder);
}
