/* Files and memory -> graphs. The bytes become a backing, which lives as long as the last graph
 * with a constant in it. */
#include "libpith/formats/open.h"

#include "libpith/base/file.h"
#include "libpith/base/names.h"
#include "libpith/formats/onnx_read.h"
#include "libpith/formats/tflite.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static int read_graph(struct pith_graph **out, struct pith_backing *backing, const uint8_t *data,
                      size_t bytes, struct pith_error *err)
{
    return pith_is_tflite(data, bytes) ? pith_tflite_read(out, backing, data, bytes, err)
                                       : onnx_read_model(out, backing, data, bytes, err);
}

/* ---- from memory ---- */

static void release_memory(const void *data, size_t bytes)
{
    (void) bytes;
    free((void *) (uintptr_t) data);
}

/* Reads memory of malloc, which is the graph's or freed from here on. */
static int read_own(struct pith_graph **out, uint8_t *data, size_t bytes, struct pith_error *err)
{
    struct pith_backing *backing;
    int rc = pith_backing_new(&backing, data, bytes, release_memory);

    if (rc < 0) {
        free(data);
        return pith_fail(err, rc, "no memory to read the model");
    }
    rc = read_graph(out, backing, data, bytes, err);
    pith_backing_drop(backing);
    return rc;
}

int pith_graph_parse(struct pith_graph **out, const void *data, size_t bytes,
                     struct pith_error *err)
{
    uint8_t *copy = aligned_alloc(64, (bytes / 64 + 1) * 64);

    if (!copy)
        return pith_fail(err, -ENOMEM, "no memory for a model of %zu bytes", bytes);
    if (bytes)
        memcpy(copy, data, bytes);
    return read_own(out, copy, bytes, err);
}

/* ---- from a file ---- */

static void release_mapping(const void *data, size_t bytes)
{
    struct pith_mapping mapping = {.data = data, .bytes = bytes};

    pith_mapping_close(&mapping);
}

/* The mapping is private and never written to, so the next reader finds the file's bytes again. */
static void forget_mapping(const void *data, size_t bytes)
{
    if (data)
        (void) madvise((void *) (uintptr_t) data, bytes, MADV_DONTNEED);
}

static int open_plain(struct pith_graph **out, struct pith_mapping *mapping, struct pith_error *err)
{
    struct pith_backing *backing;
    int rc = pith_backing_new(&backing, mapping->data, mapping->bytes, release_mapping);

    if (rc < 0) {
        pith_mapping_close(mapping);
        return pith_fail(err, rc, "no memory to read the model");
    }
    pith_backing_may_forget(backing, forget_mapping);
    rc = read_graph(out, backing, mapping->data, mapping->bytes, err);
    pith_backing_drop(backing);
    return rc;
}

static int open_compressed(struct pith_graph **out, struct pith_mapping *mapping,
                           size_t limit_bytes, struct pith_error *err)
{
    struct pith_buffer unpacked = {0};
    int rc = pith_zstd_decompress(mapping->data, mapping->bytes, limit_bytes, &unpacked, err);

    pith_mapping_close(mapping);
    if (rc < 0) {
        pith_buffer_done(&unpacked);
        return rc;
    }
    return read_own(out, unpacked.data, unpacked.bytes, err);
}

int pith_graph_open(struct pith_graph **out, const char *path, size_t limit_bytes,
                    struct pith_error *err)
{
    struct pith_mapping mapping;
    int rc = pith_mapping_open(&mapping, path, err);

    if (rc < 0)
        return rc;
    if (pith_ends_with(path, ".zst"))
        rc = open_compressed(out, &mapping, limit_bytes, err);
    else
        rc = open_plain(out, &mapping, err);
    return rc < 0 ? pith_fail_in(err, rc, "%s", path) : 0;
}
