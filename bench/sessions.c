/* bench/sessions MODEL[=SHAPE]...: opens a session of each model, one after the other, in one process,
 * as a gateway with several pipelines does: how long each takes to load, what memory it adds, and
 * what of its packed weights was there already. A model may be named twice. SHAPE (1x76x32x1) is
 * that of every input; without it open dimensions are 1. */
#include "bench/own_memory.h"
#include "libpith/base/clock.h"
#include "libpith/formats/open.h"
#include "libpith/kernels/blocks.h"
#include "libpith/plugin/plugins.h"

#include <errno.h>
#include <malloc.h>
#include <pith/engine.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUTS_MAX  8
#define LIMIT_BYTES ((size_t) 1 << 30)

static int shape_inputs(const struct pith_graph *graph, const char *text, struct pith_shape *shapes,
                        struct pith_error *err)
{
    if (pith_graph_input_count(graph) > INPUTS_MAX)
        return pith_fail(err, -ENOTSUP, "more than %d inputs", INPUTS_MAX);
    for (size_t i = 0; i < pith_graph_input_count(graph); i++) {
        const struct pith_shape *declared = pith_value_shape(graph, pith_graph_input(graph, i));
        const char *at = text;

        if (!declared)
            return pith_fail(err, -ENOTSUP, "input %zu has no shape", i);
        shapes[i] = *declared;
        for (uint32_t axis = 0; axis < shapes[i].rank; axis++) {
            char *end = NULL;

            if (at && *at)
                shapes[i].dim[axis] = strtoll(at, &end, 10);
            else if (shapes[i].dim[axis] < 0)
                shapes[i].dim[axis] = 1;
            at = end ? end + (*end == 'x') : NULL;
        }
    }
    return 0;
}

/* The session lives on: what it holds is what is looked at. The graph goes, as it does in pithd. */
static int open_one(const struct pith_engine_ops *engine, const char *path, const char *shape,
                    struct pith_error *err)
{
    struct pith_shape shapes[INPUTS_MAX];
    const struct pith_engine_options options = {
        .size_bytes = sizeof options, .threads = 1, .input_shapes = shapes};
    const long before_kib = own_memory_kib();
    const uint64_t start_ns = pith_monotonic_ns(), shared = pith_blocks_shared().bytes;
    struct pith_session_description about = {0};
    struct pith_session *session = NULL;
    struct pith_graph *graph;
    double load_ms;
    int rc = pith_graph_open(&graph, path, LIMIT_BYTES, err);

    if (rc < 0)
        return rc;
    rc = shape_inputs(graph, shape, shapes, err);
    if (rc == 0)
        rc = engine->compile(NULL, graph, &options, &session, err);
    load_ms = (double) (pith_monotonic_ns() - start_ns) / 1e6;
    pith_graph_free(graph);
    if (rc < 0)
        return rc;
    (void) malloc_trim(0);
    (void) engine->describe(session, &about);
    printf("%-32.32s %9.2f %11ld %11.0f %13.0f %9.0f\n",
           strrchr(path, '/') ? strrchr(path, '/') + 1 : path, load_ms,
           own_memory_kib() - before_kib, (double) about.weight_bytes / 1024,
           (double) (pith_blocks_shared().bytes - shared) / 1024,
           (double) about.arena_bytes / 1024);
    return 0;
}

int main(int argc, char **argv)
{
    struct pith_plugins *plugins = NULL;
    const struct pith_plugin *native;
    struct pith_error err = {0};
    int rc;

    if (argc < 2) {
        (void) fprintf(stderr, "usage: bench/sessions MODEL[=SHAPE]...\n");
        return 2;
    }
    rc = pith_plugins_open(&plugins, NULL, &err);
    if (rc == 0)
        rc = pith_plugins_find(plugins, PITH_KIND_ENGINE, "native", &native, &err);
    if (rc == 0)
        printf("%-32s %9s %11s %11s %13s %9s\n", "model", "load ms", "memory kB", "weights kB",
               "of them new", "arena kB");
    for (int i = 1; i < argc && rc == 0; i++) {
        char *shape = strchr(argv[i], '=');

        if (shape)
            *shape++ = 0;
        rc = open_one(native->ops, argv[i], shape, &err);
    }
    pith_plugins_free(plugins);
    if (rc < 0)
        (void) fprintf(stderr, "bench/sessions: %s\n", pith_error_text(&err));
    return rc < 0;
}
