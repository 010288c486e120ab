/* The child's side of a contestant: loads one plugin and one model, runs it once over a fixed
 * input, and then times rounds as it is told. */
#include "bench/engines/contestant.h"

#include "libpith/base/clock.h"
#include "libpith/compress/statistics.h"
#include "libpith/formats/open.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <math.h>
#include <pith/engine.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INPUTS_MAX      8
#define OUTPUTS_MAX     8
#define TIMES_MAX       20000
#define LEAST_RUNS      5
#define MODEL_MAX_BYTES ((size_t) 1 << 30)

struct child {
    const struct pith_engine_ops *engine;
    struct pith_graph *graph;
    struct pith_session *session;
    struct pith_tensor inputs[INPUTS_MAX], outputs[OUTPUTS_MAX];
    struct pith_shape shapes[INPUTS_MAX];
    size_t input_count, output_count;
    double load_ms;
    double macs; /* that the graph tells; 0: it can't */
};

static int answer(json_t *object)
{
    int rc = json_dumpf(object, stdout, JSON_COMPACT);

    (void) fputc('\n', stdout);
    (void) fflush(stdout);
    json_decref(object);
    return rc;
}

/* ---- loading ---- */

static int find_engine(struct child *child, const char *name, const char *folder,
                       struct pith_error *err)
{
    char path[PATH_MAX];
    const struct pith_plugin *plugin;
    void *object;

    (void) snprintf(path, sizeof path, "%s/%s.so", folder, name);
    object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    plugin = object ? dlsym(object, "pith_plugin") : NULL;
    if (!plugin)
        return pith_fail(err, -ENOENT, "%s", object ? "it exports no pith_plugin" : dlerror());
    if (plugin->abi_major != PITH_ABI_MAJOR || plugin->kind != PITH_KIND_ENGINE)
        return pith_fail(err, -EINVAL, "%s is no engine of ABI %d", path, PITH_ABI_MAJOR);
    child->engine = plugin->ops;
    return 0;
}

/* "1x576" into shape, and moves *text past it. */
static int read_shape(const char **text, struct pith_shape *shape)
{
    *shape = (struct pith_shape){0};
    do {
        char *end;
        long long dim = strtoll(*text + (**text == 'x'), &end, 10);

        if (shape->rank == PITH_MAX_RANK || dim < 0 || end == *text)
            return -EINVAL;
        shape->dim[shape->rank++] = dim;
        *text = end;
    } while (**text == 'x');
    return 0;
}

static int shape_inputs(struct child *child, const char *text, struct pith_error *err)
{
    struct pith_shape *shapes = child->shapes;

    child->input_count = pith_graph_input_count(child->graph);
    child->output_count = pith_graph_output_count(child->graph);
    if (child->input_count > INPUTS_MAX || child->output_count > OUTPUTS_MAX)
        return pith_fail(err, -ENOTSUP, "more than %d inputs or %d outputs", INPUTS_MAX,
                         OUTPUTS_MAX);
    for (size_t i = 0; i < child->input_count; i++) {
        const struct pith_shape *declared =
            pith_value_shape(child->graph, pith_graph_input(child->graph, i));

        text += strspn(text, " ");
        if (*text && *text != '-') {
            if (read_shape(&text, &shapes[i]) < 0)
                return pith_fail(err, -EINVAL, "\"%s\" is no shape, such as 1x3x224x224", text);
            continue;
        }
        text += *text == '-';
        if (!declared)
            return pith_fail(err, -ENOTSUP, "input %zu has no shape", i);
        shapes[i] = *declared;
        for (uint32_t axis = 0; axis < shapes[i].rank; axis++)
            if (shapes[i].dim[axis] < 0)
                shapes[i].dim[axis] = 1;
    }
    return 0;
}

/* From the file to a session, timed: what a gateway does when it starts. */
static int load(struct child *child, const char *model, const char *shapes_text, int threads,
                struct pith_error *err)
{
    const struct pith_engine_options options = {
        .size_bytes = sizeof options, .threads = (uint32_t) threads, .input_shapes = child->shapes};
    const uint64_t start_ns = pith_monotonic_ns();
    int rc = pith_graph_open(&child->graph, model, MODEL_MAX_BYTES, err);

    if (rc == 0)
        rc = shape_inputs(child, shapes_text, err);
    if (rc == 0)
        rc = child->engine->compile(NULL, child->graph, &options, &child->session, err);
    child->load_ms = (double) (pith_monotonic_ns() - start_ns) / 1e6;
    for (size_t i = 0; rc == 0 && i < child->input_count; i++)
        rc = pith_tensor_alloc(&child->inputs[i],
                               pith_value_dtype(child->graph, pith_graph_input(child->graph, i)),
                               &child->shapes[i], err);
    return rc;
}

/* The same numbers in every process: over the whole grid where an input is quantized, else -1 to 1.
 */
static void fill_inputs(struct child *child, int64_t integer)
{
    uint32_t seed = 1;

    for (size_t i = 0; i < child->input_count; i++) {
        const struct pith_quantization *q =
            pith_value_quantization(child->graph, pith_graph_input(child->graph, i));
        struct pith_tensor *input = &child->inputs[i];
        const bool small = input->dtype == PITH_INT8 || input->dtype == PITH_UINT8;
        const double lowest = q && q->dtype == PITH_UINT8 ? 0 : -128;

        for (int64_t at = 0; at < pith_shape_elements(&input->shape); at++) {
            seed = seed * 1664525u + 1013904223u;
            double u = (double) (seed >> 8) / (1 << 24);

            if (input->dtype == PITH_FLOAT32)
                pith_tensor_set(input, at,
                                q ? q->scale[0] * (floor(u * 256) + lowest - q->zero_point[0])
                                  : 2 * u - 1);
            else
                pith_tensor_set(input, at,
                                small ? floor(u * 256) - (input->dtype == PITH_INT8 ? 128 : 0)
                                      : (double) integer);
        }
    }
}

static int run_once(struct child *child, struct pith_error *err)
{
    return child->engine->run(child->session, child->inputs, child->input_count, child->outputs,
                              child->output_count, err);
}

static int write_outputs(const struct child *child, const char *path, struct pith_error *err)
{
    FILE *file = fopen(path, "wb");
    bool good = file != NULL;

    for (size_t i = 0; good && i < child->output_count; i++)
        for (int64_t at = 0; good && at < pith_shape_elements(&child->outputs[i].shape); at++) {
            const double x = pith_tensor_get(&child->outputs[i], at);

            good = fwrite(&x, sizeof x, 1, file) == 1;
        }
    if (file && fclose(file) != 0)
        good = false;
    return good ? 0 : pith_fail(err, -EIO, "%s can't be written", path);
}

static double resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long all = 0, resident = 0;

    if (file) {
        if (fscanf(file, "%ld %ld", &all, &resident) != 2)
            resident = 0;
        (void) fclose(file);
    }
    return (double) resident * (double) sysconf(_SC_PAGESIZE);
}

/* What is left of a graph is what a gateway keeps: it lets go of it once its session is open, and of freed heap. */
static void let_go_of_graph(struct child *child)
{
    struct pith_graph_size size = {0};

    if (pith_graph_infer(child->graph, child->shapes, NULL) == 0)
        pith_graph_measure(child->graph, &size);
    child->macs = (double) size.macs;
    pith_graph_free(child->graph);
    child->graph = NULL;
    (void) malloc_trim(0);
}

static json_t *describe(struct child *child)
{
    struct pith_session_description about = {0};
    const char *kernel = "";
    const double rss_bytes = resident_bytes(); /* before describing takes memory too */
    double macs = 0;

    if (child->engine->describe && child->engine->describe(child->session, &about) == 0) {
        for (size_t i = 0; i < about.step_count; i++)
            macs += (double) about.steps[i].macs;
        if (about.step_count == 1 && about.steps[0].kernel)
            kernel = about.steps[0].kernel;
    }
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:s}", "load_ms", child->load_ms, "rss_bytes",
                     rss_bytes, "arena_bytes", (double) about.arena_bytes, "weight_bytes",
                     (double) about.weight_bytes, "macs", child->macs > 0 ? child->macs : macs,
                     "kernel", kernel);
}

/* ---- rounds ---- */

static int time_round(struct child *child, double round_ms, struct pith_error *err)
{
    static uint64_t times_ns[TIMES_MAX];
    const uint64_t end_ns = pith_monotonic_ns() + (uint64_t) (round_ms * 1e6);
    uint64_t now_ns = 0;
    size_t count = 0;
    int rc = run_once(child, err); /* caches are another's */

    while (rc == 0 && count < TIMES_MAX && (count < LEAST_RUNS || now_ns < end_ns)) {
        const uint64_t start_ns = pith_monotonic_ns();

        rc = run_once(child, err);
        now_ns = pith_monotonic_ns();
        times_ns[count++] = now_ns - start_ns;
    }
    if (rc < 0)
        return rc;
    return answer(json_pack("{s:f, s:f, s:i}", "quiet_us",
                            pith_quantile(times_ns, count, 0.1) / 1e3, "median_us",
                            pith_quantile(times_ns, count, 0.5) / 1e3, "runs", (int) count));
}

static void pin(int cpu)
{
    cpu_set_t set;

    if (cpu < 0)
        return;
    CPU_ZERO(&set);
    CPU_SET((size_t) cpu, &set);
    (void) sched_setaffinity(0, sizeof set, &set); /* unpinned it is noisier, no more */
}

int contestant_main(int argc, char **argv)
{
    struct child child = {0};
    struct pith_error err = {0};
    double round_ms;
    int rc;

    if (argc != 10)
        return 2;
    pin(atoi(argv[9]));
    rc = find_engine(&child, argv[2], argv[3], &err);
    if (rc == 0)
        rc = load(&child, argv[4], argv[5], atoi(argv[8]), &err);
    if (rc == 0) {
        fill_inputs(&child, atoll(argv[7]));
        let_go_of_graph(&child);
        rc = run_once(&child, &err);
    }
    if (rc == 0)
        rc = write_outputs(&child, argv[6], &err);
    if (rc == 0)
        rc = run_once(&child, &err);
    if (rc == 0)
        (void) answer(describe(&child));
    while (rc == 0 && scanf("%lf", &round_ms) == 1)
        rc = time_round(&child, round_ms, &err);
    if (rc < 0)
        (void) answer(json_pack("{s:s}", "error", pith_error_text(&err)));
    (void) fflush(stdout);
    _exit(rc < 0 ? 1 : 0); /* libraries' exit handlers are no part of this */
}
