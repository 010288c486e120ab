/* The engine `onednn`: for bench/engine alone, never installed. What a program gets that builds a
 * network out of oneDNN's primitives, as OpenVINO and PyTorch do on a CPU. */
#include "bench/engines/onednn/net.h"

#include <errno.h>
#include <pith/engine.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* libgomp's, whose header clang has not: oneDNN takes its threads from it. */
void omp_set_num_threads(int threads);

struct pith_session {
    struct net net;
    size_t input_count, output_count;
    struct pith_tensor *inputs, *outputs; /* types and shapes; outputs' data is in the arena */
    char kernel[32];
    struct pith_step_description step; /* the whole graph */
};

/* PITH_ISA caps us; it caps oneDNN alike. Only before its first primitive, and the same in one
 * process ever after. */
static int cap(struct pith_error *err)
{
    static const struct {
        const char *ours;
        dnnl_cpu_isa_t theirs;
    } caps[] = {{"plain", dnnl_cpu_isa_sse41}, /* the least that it has */
                {"sse2", dnnl_cpu_isa_sse41},
                {"avx2", dnnl_cpu_isa_avx2},
                {"avx512", dnnl_cpu_isa_avx512_core},
                {"avx512vnni", dnnl_cpu_isa_avx512_core_vnni}};
    const char *wanted = getenv("PITH_ISA");

    for (size_t i = 0; wanted && i < sizeof caps / sizeof caps[0]; i++)
        if (strcmp(wanted, caps[i].ours) == 0) {
            (void) dnnl_set_max_cpu_isa(caps[i].theirs);
            return dnnl_get_effective_cpu_isa() <= caps[i].theirs
                       ? 0
                       : pith_fail(err, -ENOTSUP, "oneDNN can't be capped to %s", wanted);
        }
    return 0;
}

static int size_graph(const struct pith_graph *graph, const struct pith_shape *shapes,
                      struct pith_graph **out, struct pith_error *err)
{
    struct pith_graph *clone = NULL;
    int rc = pith_graph_clone(graph, &clone, err);

    if (rc == 0)
        rc = pith_graph_infer(clone, shapes, err);
    if (rc < 0)
        pith_graph_free(clone);
    else
        *out = clone;
    return rc;
}

static int supports(const struct pith_graph *graph,
                    void (*unsupported)(void *user, uint32_t node, const char *why), void *user,
                    struct pith_error *err)
{
    struct pith_graph *sized = NULL;
    struct net net = {0};
    int rc = cap(err);

    if (rc == 0)
        rc = size_graph(graph, NULL, &sized, err);
    if (rc == 0)
        rc = net_make(&net, sized, unsupported, user, err);
    net_done(&net);
    pith_graph_free(sized);
    return rc;
}

static void close_session(struct pith_session *session)
{
    if (!session)
        return;
    net_done(&session->net);
    free(session->inputs);
    free(session->outputs);
    free(session);
}

static struct pith_tensor port(const struct pith_graph *graph, uint32_t value)
{
    struct pith_tensor tensor = {.dtype = pith_value_dtype(graph, value),
                                 .shape = *pith_value_shape(graph, value)};

    tensor.bytes = (size_t) pith_shape_elements(&tensor.shape) * pith_dtype_bits(tensor.dtype) / 8;
    return tensor;
}

static int open_ports(struct pith_session *session, const struct pith_graph *graph,
                      struct pith_error *err)
{
    session->input_count = pith_graph_input_count(graph);
    session->output_count = pith_graph_output_count(graph);
    session->inputs = calloc(session->input_count + 1, sizeof *session->inputs);
    session->outputs = calloc(session->output_count + 1, sizeof *session->outputs);
    if (!session->inputs || !session->outputs)
        return pith_fail(err, -ENOMEM, "no memory for a session");
    for (size_t i = 0; i < session->input_count; i++)
        session->inputs[i] = port(graph, pith_graph_input(graph, i));
    for (size_t i = 0; i < session->output_count; i++) {
        session->outputs[i] = port(graph, pith_graph_output(graph, i));
        session->outputs[i].data = net_output(&session->net, pith_graph_output(graph, i));
    }
    return 0;
}

static void name_step(struct pith_session *session, const struct pith_graph *graph)
{
    const dnnl_version_t *version = dnnl_version();
    struct pith_graph_size size;

    pith_graph_measure(graph, &size);
    (void) snprintf(session->kernel, sizeof session->kernel, "oneDNN %d.%d.%d", version->major,
                    version->minor, version->patch);
    session->step = (struct pith_step_description){
        .name = "graph", .kernel = session->kernel, .macs = size.macs};
}

static int compile(const struct pith_host *host, const struct pith_graph *graph,
                   const struct pith_engine_options *how, struct pith_session **out,
                   struct pith_error *err)
{
    struct pith_session *session = calloc(1, sizeof *session);
    struct pith_graph *sized = NULL;
    int rc = session ? cap(err) : pith_fail(err, -ENOMEM, "no memory for a session");

    (void) host;
    omp_set_num_threads((int) how->threads);
    if (rc == 0)
        rc = size_graph(graph, how->input_shapes, &sized, err);
    if (rc == 0)
        rc = net_make(&session->net, sized, NULL, NULL, err);
    if (rc == 0)
        rc = open_ports(session, sized, err);
    if (rc == 0)
        name_step(session, sized);
    pith_graph_free(sized);
    if (rc < 0)
        close_session(session);
    else
        *out = session;
    return rc;
}

static int run(struct pith_session *session, const struct pith_tensor *inputs, size_t input_count,
               struct pith_tensor *outputs, size_t output_count, struct pith_error *err)
{
    int rc;

    if (input_count != session->input_count || output_count != session->output_count)
        return pith_fail(err, -EINVAL, "%zu inputs and %zu outputs for a graph of %zu and %zu",
                         input_count, output_count, session->input_count, session->output_count);
    for (size_t i = 0; i < input_count; i++)
        if (inputs[i].dtype != session->inputs[i].dtype ||
            !pith_shape_equal(&inputs[i].shape, &session->inputs[i].shape) ||
            inputs[i].bytes < session->inputs[i].bytes)
            return pith_fail(err, -EINVAL, "input %zu is not what the session was compiled for", i);
    rc = net_run(&session->net, inputs, input_count);
    if (rc < 0)
        return pith_fail(err, rc, "oneDNN failed to run");
    for (size_t i = 0; i < output_count; i++)
        outputs[i] = session->outputs[i];
    return 0;
}

static int describe(struct pith_session *session, struct pith_session_description *out)
{
    *out = (struct pith_session_description){.arena_bytes = session->net.arena_bytes,
                                             .weight_bytes = session->net.weight_bytes,
                                             .steps = &session->step,
                                             .step_count = 1};
    return 0;
}

static const struct pith_engine_ops ops = {
    .size_bytes = sizeof ops,
    .supports = supports,
    .compile = compile,
    .run = run,
    .describe = describe,
    .close = close_session,
};

const struct pith_plugin pith_plugin = {
    .size_bytes = sizeof pith_plugin,
    .abi_major = PITH_ABI_MAJOR,
    .abi_minor = PITH_ABI_MINOR,
    .kind = PITH_KIND_ENGINE,
    .name = "onednn",
    .version = "0.1.0",
    .summary = "oneDNN: a peer to measure by",
    .ops = &ops,
};
