/* The engine `xnnpack`: a graph of convolutions, dense layers, poolings and activations as an
 * XNNPACK runtime, in float32 and in int8. Pictures are turned to channels-last on the way in and
 * back on the way out. */
#include <pith/engine.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "plugins/engines/xnnpack/subgraph.h"

struct port {
    struct xnn_port as;        /* in the subgraph */
    struct pith_tensor tensor; /* type and shape as the graph says; an output's memory is own */
    void
        *external; /* own: what XNNPACK reads or writes, with room for what it reads past the end */
};

struct pith_session {
    xnn_runtime_t runtime;
    pthreadpool_t threads;
    size_t input_count, output_count;
    struct port *inputs, *outputs;
    uint64_t arena_bytes, weight_bytes;
    bool profile;
    struct pith_step_description step; /* the whole graph */
    char *name;
};

/* ---- supports ---- */

/* A clone of known shapes. shapes: of the inputs; NULL: as declared, and 1 for what is open where
 * `open_as_one`. */
static int size_graph(const struct pith_graph *graph, const struct pith_shape *shapes,
                      bool open_as_one, struct pith_graph **out, struct pith_error *err)
{
    const size_t count = pith_graph_input_count(graph);
    struct pith_shape *known = calloc(count + 1, sizeof *known);
    struct pith_graph *clone = NULL;
    int rc = known ? 0 : pith_fail(err, -ENOMEM, "no memory for a session");

    if (rc == 0 && pith_graph_capture_count(graph))
        rc = pith_fail(err, -ENOTSUP, "a sub-graph can't be run alone");
    for (size_t i = 0; rc == 0 && i < count; i++) {
        const uint32_t value = pith_graph_input(graph, i);
        const struct pith_shape *declared = shapes ? &shapes[i] : pith_value_shape(graph, value);

        if (declared)
            known[i] = *declared;
        for (uint32_t axis = 0; axis < known[i].rank && open_as_one; axis++)
            if (known[i].dim[axis] < 0)
                known[i].dim[axis] = 1;
        if (!declared || !pith_shape_known(&known[i]))
            rc = pith_fail(err, open_as_one ? -ENOTSUP : -EINVAL,
                           "input \"%s\" has a shape that is not known; give one",
                           pith_value_name(graph, value));
    }
    if (rc == 0)
        rc = pith_graph_clone(graph, &clone, err);
    if (rc == 0)
        rc = pith_graph_infer(clone, known, err);
    free(known);
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
    struct subgraph subgraph = {0};
    xnn_runtime_t runtime = NULL;
    int rc = xnnpack_open(err);

    if (rc == 0)
        rc = size_graph(graph, NULL, true, &sized, err);
    if (rc == 0)
        rc = subgraph_make(&subgraph, sized, unsupported, user, err);
    /* The last word is the runtime's: some pairs of scales it takes only then, or not. */
    if (rc == 0 && xnnpack.create_runtime_v2(subgraph.made, NULL, 0, &runtime) != xnn_status_success)
        rc = pith_fail(err, -ENOTSUP,
                       "XNNPACK has no kernels for some of its types, scales or sizes");
    if (runtime)
        (void) xnnpack.delete_runtime(runtime);
    subgraph_done(&subgraph);
    pith_graph_free(sized);
    return rc == 0 || rc == -ENOMEM ? rc : -ENOTSUP;
}

/* ---- compile ---- */

static void close_session(struct pith_session *session)
{
    if (!session)
        return;
    if (session->runtime)
        (void) xnnpack.delete_runtime(session->runtime);
    if (session->threads)
        xnnpack.destroy_threads(session->threads);
    for (size_t i = 0; session->inputs && i < session->input_count; i++)
        free(session->inputs[i].external);
    for (size_t i = 0; session->outputs && i < session->output_count; i++) {
        free(session->outputs[i].external);
        pith_tensor_free(&session->outputs[i].tensor);
    }
    free(session->inputs);
    free(session->outputs);
    free(session->name);
    free(session);
}

static int open_port(struct pith_session *session, struct port *port,
                     const struct pith_graph *graph, uint32_t value, bool output,
                     struct pith_error *err)
{
    const struct pith_shape *shape = pith_value_shape(graph, value);
    const int32_t dtype = pith_value_dtype(graph, value);
    const int64_t bytes = shape ? pith_tensor_bytes(dtype, shape) : -1;
    int rc = bytes < 0 ? pith_fail(err, -EINVAL, "\"%s\" has no known size",
                                   pith_value_name(graph, value))
                       : 0;

    if (rc < 0)
        return rc;
    if (output)
        rc = pith_tensor_alloc(&port->tensor, dtype, shape, err);
    else
        port->tensor = (struct pith_tensor){dtype, *shape, NULL, (size_t) bytes};
    port->external = calloc(1, (size_t) bytes + XNN_EXTRA_BYTES);
    if (rc == 0 && !port->external)
        rc = pith_fail(err, -ENOMEM, "no memory for a session");
    session->arena_bytes += (uint64_t) bytes * (output ? 2 : 1);
    return rc;
}

static int open_ports(struct pith_session *session, const struct subgraph *subgraph,
                      struct pith_error *err)
{
    const struct pith_graph *graph = subgraph->graph;
    struct xnn_external_value *external;
    int rc = 0;

    session->input_count = pith_graph_input_count(graph);
    session->output_count = pith_graph_output_count(graph);
    session->inputs = calloc(session->input_count + 1, sizeof *session->inputs);
    session->outputs = calloc(session->output_count + 1, sizeof *session->outputs);
    external = calloc(session->input_count + session->output_count + 1, sizeof *external);
    if (!session->inputs || !session->outputs || !external)
        rc = pith_fail(err, -ENOMEM, "no memory for a session");
    for (size_t i = 0; rc == 0 && i < session->input_count; i++) {
        rc = open_port(session, &session->inputs[i], graph, pith_graph_input(graph, i), false, err);
        session->inputs[i].as = subgraph->inputs[i];
        external[i] =
            (struct xnn_external_value){subgraph->inputs[i].id, session->inputs[i].external};
    }
    for (size_t i = 0; rc == 0 && i < session->output_count; i++) {
        rc =
            open_port(session, &session->outputs[i], graph, pith_graph_output(graph, i), true, err);
        session->outputs[i].as = subgraph->outputs[i];
        external[session->input_count + i] =
            (struct xnn_external_value){subgraph->outputs[i].id, session->outputs[i].external};
    }
    if (rc == 0 && xnnpack.setup_runtime(session->runtime, session->input_count + session->output_count,
                                     external) != xnn_status_success)
        rc = pith_fail(err, -ENOTSUP, "XNNPACK could not set up its runtime");
    free(external);
    return rc;
}

static int describe_step(struct pith_session *session, const struct pith_graph *graph)
{
    struct pith_graph_size size;

    pith_graph_measure(graph, &size);
    session->name = strdup(pith_graph_name(graph));
    session->step = (struct pith_step_description){
        .name = session->name, .kernel = "xnnpack runtime", .macs = size.macs};
    if (session->output_count > 0)
        session->step.shape = session->outputs[0].tensor.shape;
    return session->name ? 0 : -ENOMEM;
}

static int make_runtime(struct pith_session *session, const struct subgraph *subgraph,
                        uint32_t threads, struct pith_error *err)
{
    if (threads > 1) {
        session->threads = xnnpack.create_threads(threads);
        if (!session->threads)
            return pith_fail(err, -ENOMEM, "no memory for %u threads", threads);
    }
    session->weight_bytes = subgraph->weight_bytes;
    if (xnnpack.create_runtime_v2(subgraph->made, session->threads, 0, &session->runtime) !=
        xnn_status_success)
        return pith_fail(err, -ENOTSUP,
                         "XNNPACK has no kernels for some of its types, scales or sizes");
    return 0;
}

static int compile(const struct pith_host *host, const struct pith_graph *graph,
                   const struct pith_engine_options *how, struct pith_session **out,
                   struct pith_error *err)
{
    struct pith_session *session = calloc(1, sizeof *session);
    struct pith_graph *sized = NULL;
    struct subgraph subgraph = {0};
    int rc = session ? xnnpack_open(err) : pith_fail(err, -ENOMEM, "no memory for a session");

    (void) host;
    if (rc == 0)
        rc = size_graph(graph, how->input_shapes, false, &sized, err);
    if (rc == 0)
        rc = subgraph_make(&subgraph, sized, NULL, NULL, err);
    if (rc == 0)
        rc = make_runtime(session, &subgraph, how->threads, err);
    if (rc == 0)
        rc = open_ports(session, &subgraph, err);
    if (rc == 0)
        rc = describe_step(session, sized);
    subgraph_done(&subgraph);
    pith_graph_free(sized);
    if (rc < 0) {
        close_session(session);
        return rc;
    }
    session->profile = how->profile != 0;
    *out = session;
    return 0;
}

/* ---- run ---- */

static int check_input(const struct port *port, const struct pith_tensor *input, size_t index,
                       struct pith_error *err)
{
    const struct pith_tensor *want = &port->tensor;
    char have_text[PITH_SHAPE_TEXT_BYTES], want_text[PITH_SHAPE_TEXT_BYTES];

    if (input->dtype == want->dtype && pith_shape_equal(&input->shape, &want->shape) &&
        input->bytes >= want->bytes && (input->data || want->bytes == 0))
        return 0;
    return pith_fail(
        err, -EINVAL, "input %zu is %s %s of %zu bytes, the session was compiled for %s %s", index,
        pith_dtype_name(input->dtype), pith_shape_text(&input->shape, have_text, sizeof have_text),
        input->bytes, pith_dtype_name(want->dtype),
        pith_shape_text(&want->shape, want_text, sizeof want_text));
}

/* Between the graph's order and theirs: to[outer][b][a] = from[outer][a][b]. */
static void turn(void *to, const void *from, size_t bytes, int64_t outer, int64_t a, int64_t b)
{
    for (int64_t n = 0; n < outer; n++)
        for (int64_t i = 0; i < a; i++)
            for (int64_t j = 0; j < b; j++) {
                const int64_t source = (n * a + i) * b + j, target = (n * b + j) * a + i;

                if (bytes == 4)
                    ((uint32_t *) to)[target] = ((const uint32_t *) from)[source];
                else
                    ((uint8_t *) to)[target] = ((const uint8_t *) from)[source];
            }
}

static void copy_port(const struct port *port, void *to, const void *from, bool inwards)
{
    const struct pith_shape *shape = &port->tensor.shape;
    const size_t element_bytes = pith_dtype_bits(port->tensor.dtype) / 8;

    if (port->as.channels_last) {
        const int64_t area = shape->dim[2] * shape->dim[3];

        turn(to, from, element_bytes, shape->dim[0], inwards ? shape->dim[1] : area,
             inwards ? area : shape->dim[1]);
    } else if (port->tensor.bytes) {
        memcpy(to, from, port->tensor.bytes);
    }
    for (size_t i = 0; port->as.dtype == PITH_UINT8 && i < port->tensor.bytes; i++)
        ((uint8_t *) to)[i] ^= 0x80; /* 128 less, or more */
}

static uint64_t now_ns(void)
{
    struct timespec now;

    (void) clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t) now.tv_sec * 1000000000 + (uint64_t) now.tv_nsec;
}

static int run(struct pith_session *session, const struct pith_tensor *inputs, size_t input_count,
               struct pith_tensor *outputs, size_t output_count, struct pith_error *err)
{
    const uint64_t start_ns = session->profile ? now_ns() : 0;

    if (input_count != session->input_count || output_count != session->output_count)
        return pith_fail(err, -EINVAL,
                         "%zu inputs and %zu outputs for a graph that has %zu and %zu", input_count,
                         output_count, session->input_count, session->output_count);
    for (size_t i = 0; i < input_count; i++) {
        int rc = check_input(&session->inputs[i], &inputs[i], i, err);

        if (rc < 0)
            return rc;
        copy_port(&session->inputs[i], session->inputs[i].external, inputs[i].data, true);
    }
    if (xnnpack.invoke_runtime(session->runtime) != xnn_status_success)
        return pith_fail(err, -EIO, "XNNPACK failed to run");
    for (size_t i = 0; i < output_count; i++) {
        copy_port(&session->outputs[i], session->outputs[i].tensor.data,
                  session->outputs[i].external, false);
        outputs[i] = session->outputs[i].tensor;
    }
    if (session->profile) {
        session->step.run_count++;
        session->step.time_ns += now_ns() - start_ns;
    }
    return 0;
}

/* XNNPACK doesn't tell what its runtime takes; known are inputs and outputs, which are ours, and
 * the weights. */
static int describe(struct pith_session *session, struct pith_session_description *out)
{
    *out = (struct pith_session_description){.arena_bytes = session->arena_bytes,
                                             .weight_bytes = session->weight_bytes,
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
    .prepare = xnnpack_open,
};

const struct pith_plugin pith_plugin = {
    .size_bytes = sizeof pith_plugin,
    .abi_major = PITH_ABI_MAJOR,
    .abi_minor = PITH_ABI_MINOR,
    .kind = PITH_KIND_ENGINE,
    .name = "xnnpack",
    .version = "0.1.0",
    .summary = "XNNPACK: convolutional and dense networks, float32 and int8",
    .ops = &ops,
};
