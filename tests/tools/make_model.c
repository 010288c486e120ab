/* Makes what a deployment needs as files, for tests that publish them with faults of their own:
 *   make_model KEY FOLDER MODEL VERSION GENERATION GRAPH|BYTES [MANIFEST-MEMBERS]
 * GRAPH: an ONNX file; BYTES: a graph of about so many, another for each version. Leaves
 *   FOLDER/blob/<sha256>/<n>   chunks        FOLDER/desired   the signed document
 *   FOLDER/graph, FOLDER/manifest            the digests, one line each
 * "absent" as GRAPH makes a document that removes the model. */
#include "libpith/base/buffer.h"
#include "libpith/base/digest.h"
#include "libpith/base/file.h"
#include "libpith/formats/onnx.h"
#include "libpith/model/envelope.h"
#include "libpith/model/manifest.h"

#include <errno.h>
#include <pith/graph.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(int rc, const struct pith_error *err)
{
    if (rc < 0) {
        (void) fprintf(stderr, "make_model: %s\n", pith_error_text(err));
        exit(1);
    }
}

static void write_text(const char *folder, const char *name, const void *data, size_t bytes)
{
    struct pith_error err = {0};
    char path[4096];

    (void) snprintf(path, sizeof path, "%s/%s", folder, name);
    check(pith_file_write(path, data, bytes, 0644, &err), &err);
}

static void write_blob(const char *folder, const char *name, const void *data, size_t bytes,
                       char hex[PITH_SHA256_HEX + 1])
{
    uint8_t digest[PITH_SHA256_BYTES];
    struct pith_error err = {0};
    char path[4096];
    size_t at, chunk = 0;

    check(pith_sha256(data, bytes, digest), &err);
    pith_hex_encode(hex, digest, sizeof digest);
    (void) snprintf(path, sizeof path, "%s/blob/%s", folder, hex);
    check(pith_mkdirs(path, 0755, &err), &err);
    for (at = 0; at < bytes; at += PITH_CHUNK_BYTES, chunk++) {
        size_t left = bytes - at < PITH_CHUNK_BYTES ? bytes - at : PITH_CHUNK_BYTES;

        (void) snprintf(path, sizeof path, "blob/%s/%zu", hex, chunk);
        write_text(folder, path, (const char *) data + at, left);
    }
    write_text(folder, name, hex, PITH_SHA256_HEX);
}

/* y (1,N) = x (1,1) * w (1,N). */
static void make_graph(size_t bytes, const char *version, struct pith_buffer *out)
{
    int64_t count = (int64_t) (bytes / sizeof(float)) + 1;
    float *weights = calloc((size_t) count, sizeof *weights);
    struct pith_tensor w = {.dtype = PITH_FLOAT32,
                            .shape = {.rank = 2, .dim = {1, count}},
                            .data = weights,
                            .bytes = (size_t) count * sizeof *weights};
    struct pith_shape one = {.rank = 2, .dim = {1, 1}};
    struct pith_graph *graph = NULL;
    struct pith_error err = {0};
    uint32_t inputs[2], y = 0, node, state = 2166136261u;
    int64_t i;

    for (; *version; version++)
        state = (state ^ (uint8_t) *version) * 16777619u;
    for (i = 0; weights && i < count; i++)
        weights[i] = (float) ((state = state * 1664525u + 1013904223u) >> 8) / 16777216.0f;
    check(weights ? pith_graph_new(&graph, "tiny", &err) : -ENOMEM, &err);
    check(pith_graph_set_opset(graph, "", 13), &err);
    check(pith_graph_add_value(graph, "x", PITH_FLOAT32, &one, &inputs[0], &err), &err);
    check(pith_graph_add_constant(graph, "w", &w, &inputs[1], &err), &err);
    check(pith_graph_add_value(graph, "y", PITH_FLOAT32, &w.shape, &y, &err), &err);
    check(pith_graph_add_node(graph, "", "MatMul", "product", inputs, 2, &y, 1, &node, &err), &err);
    check(pith_graph_add_input(graph, inputs[0]), &err);
    check(pith_graph_add_output(graph, y), &err);
    check(pith_onnx_write(graph, out, &err), &err);
    pith_graph_free(graph);
    free(weights);
}

static void read_graph(const char *what, const char *version, struct pith_buffer *out)
{
    struct pith_error err = {0};
    char *end;
    unsigned long bytes = strtoul(what, &end, 10);

    if (*end)
        check(pith_file_read(what, 1 << 28, out, &err), &err);
    else
        make_graph(bytes, version, out);
}

int main(int argc, char **argv)
{
    struct pith_buffer graph = {0}, manifest = {0}, envelope = {0};
    struct pith_signing_key *key = NULL;
    struct pith_desired desired = {0};
    struct pith_error err = {0};
    char hex[PITH_SHA256_HEX + 1];
    char *payload;

    if (argc < 7)
        return 2;
    check(pith_mkdirs(argv[2], 0755, &err), &err);
    check(pith_signing_key_open(&key, argv[1], &err), &err);
    (void) snprintf(desired.model, sizeof desired.model, "%s", argv[3]);
    desired.generation = atoll(argv[5]);
    desired.absent = strcmp(argv[6], "absent") == 0;
    if (!desired.absent) {
        (void) snprintf(desired.version, sizeof desired.version, "%s", argv[4]);
        read_graph(argv[6], argv[4], &graph);
        write_blob(argv[2], "graph", graph.data, graph.bytes, hex);
        pith_buffer_printf(
            &manifest,
            "{\"model\": \"%s\", \"version\": \"%s\", \"graphs\": {\"g\": {\"sha256\": \"%s\", "
            "\"bytes\": %zu}}, \"input\": {\"type\": \"float32\"}, \"stages\": [{\"graph\": "
            "\"g\"}]%s%s}",
            argv[3], argv[4], hex, graph.bytes, argc > 7 ? ", " : "", argc > 7 ? argv[7] : "");
        write_blob(argv[2], "manifest", manifest.data, manifest.bytes, desired.manifest.sha256);
        desired.manifest.bytes = desired.manifest.raw_bytes = (int64_t) manifest.bytes;
    }
    payload = pith_desired_text(&desired);
    check(payload ? pith_envelope_seal(&envelope, "desired", payload, strlen(payload), key, &err)
                  : -ENOMEM,
          &err);
    write_text(argv[2], "desired", envelope.data, envelope.bytes);
    free(payload);
    pith_signing_key_free(key);
    pith_buffer_done(&envelope);
    pith_buffer_done(&manifest);
    pith_buffer_done(&graph);
    return 0;
}
