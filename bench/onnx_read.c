/* bench/onnx_read [FILE...]: how long it takes to open ONNX models, next to read() of the same file
 * into memory, and how much memory of its own the graph takes. Without files: the models of
 * PITH_DATA, and one of 50 MB that is made here. */
#include "bench/own_memory.h"
#include "libpith/base/clock.h"
#include "libpith/formats/onnx.h"

#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RUNS        15
#define LIMIT_BYTES ((size_t) 1 << 32)
#define LAYERS      22
#define CHANNELS    256 /* 22 layers of 256 x 256 x 3 x 3 floats are 52 MB */

static int by_time(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;

    return (*x > *y) - (*x < *y);
}

static uint64_t time_read(const char *path, size_t bytes)
{
    uint64_t start = pith_monotonic_ns();
    char *memory = malloc(bytes + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t done = 0;

    while (memory && fd >= 0 && done < bytes) {
        ssize_t n = read(fd, memory + done, bytes - done);

        if (n <= 0)
            break;
        done += (size_t) n;
    }
    if (fd >= 0)
        close(fd);
    free(memory);
    return pith_monotonic_ns() - start;
}

static int bench(const char *path)
{
    uint64_t opens[RUNS];
    uint64_t reads[RUNS];
    struct pith_graph_size size = {0};
    struct stat status;
    long memory_kib = 0;

    if (stat(path, &status) < 0) {
        perror(path);
        return 1;
    }
    for (int i = 0; i < RUNS; i++) {
        struct pith_graph *graph = NULL;
        struct pith_error err = {0};
        long before = own_memory_kib();
        uint64_t start = pith_monotonic_ns();

        if (pith_graph_open(&graph, path, LIMIT_BYTES, &err) < 0) {
            fprintf(stderr, "onnx_read: %s\n", pith_error_text(&err));
            return 1;
        }
        opens[i] = pith_monotonic_ns() - start;
        if (i == 0) {
            memory_kib = own_memory_kib() - before;
            pith_graph_measure(graph, &size);
        }
        pith_graph_free(graph);
        reads[i] = time_read(path, (size_t) status.st_size);
    }
    qsort(opens, RUNS, sizeof opens[0], by_time);
    qsort(reads, RUNS, sizeof reads[0], by_time);
    printf("%-28.28s %9.2f %7u %10.3f %10.3f %12ld\n",
           strrchr(path, '/') ? strrchr(path, '/') + 1 : path, (double) status.st_size / 1e6,
           size.nodes, (double) opens[RUNS / 2] / 1e6, (double) reads[RUNS / 2] / 1e6, memory_kib);
    return 0;
}

/* Convolutions one behind the other. */
static int make_large(const char *path)
{
    const int64_t dims[] = {CHANNELS, CHANNELS, 3, 3};
    const int64_t image[] = {1, CHANNELS, 8, 8};
    const int64_t pads[] = {1, 1, 1, 1};
    struct pith_shape weights = pith_shape_of(4, dims);
    struct pith_shape shape = pith_shape_of(4, image);
    struct pith_graph *graph = NULL;
    struct pith_tensor tensor = {0};
    uint32_t inputs[2];
    uint32_t node;
    int rc = pith_graph_new(&graph, "large", NULL);

    if (rc == 0)
        rc = pith_graph_set_opset(graph, "", 13);
    if (rc == 0)
        rc = pith_tensor_alloc(&tensor, PITH_FLOAT32, &weights, NULL);
    if (rc == 0)
        rc = pith_graph_add_value(graph, "x", PITH_FLOAT32, &shape, &inputs[0], NULL);
    if (rc == 0)
        rc = pith_graph_add_input(graph, inputs[0]);
    for (int i = 0; i < LAYERS && rc == 0; i++) {
        uint32_t output = PITH_NO_VALUE;

        rc = pith_graph_add_constant(graph, NULL, &tensor, &inputs[1], NULL);
        if (rc == 0)
            rc = pith_graph_add_value(graph, NULL, PITH_FLOAT32, &shape, &output, NULL);
        if (rc == 0)
            rc = pith_graph_add_node(graph, "", "Conv", NULL, inputs, 2, &output, 1, &node, NULL);
        if (rc == 0)
            rc = pith_node_set_ints(graph, node, "pads", pads, 4);
        inputs[0] = output;
    }
    if (rc == 0)
        rc = pith_graph_add_output(graph, inputs[0]);
    if (rc == 0)
        rc = pith_onnx_save(graph, path, NULL, NULL);
    pith_tensor_free(&tensor);
    pith_graph_free(graph);
    return rc;
}

static int bench_all(void)
{
    const char *data = getenv("PITH_DATA");
    char folder[] = "/tmp/pith-bench-XXXXXX";
    char text[512];
    glob_t found = {0};
    int bad = 0;

    (void) snprintf(text, sizeof text, "%s/models/*/*.onnx", data ? data : "");
    if (!data || glob(text, 0, NULL, &found) != 0)
        printf("PITH_DATA names no folder with models: only the one that is made here\n");
    for (size_t i = 0; i < found.gl_pathc; i++)
        bad += bench(found.gl_pathv[i]);
    globfree(&found);
    if (!mkdtemp(folder))
        return 1;
    (void) snprintf(text, sizeof text, "%s/large.onnx", folder);
    bad += make_large(text) < 0 || bench(text);
    (void) unlink(text);
    (void) rmdir(folder);
    return bad;
}

int main(int argc, char **argv)
{
    int bad = 0;

    printf("%-28s %9s %7s %10s %10s %12s\n", "model", "MB", "nodes", "open ms", "read() ms",
           "own KiB");
    for (int i = 1; i < argc; i++)
        bad += bench(argv[i]);
    if (argc == 1)
        bad = bench_all();
    return bad > 0;
}
