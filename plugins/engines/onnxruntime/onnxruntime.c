/* The engine `onnxruntime`: hands the graph to ONNX Runtime as the bytes of an ONNX file.
 * A session keeps what runs need: tensors over the caller's inputs, made anew only where those have
 * moved, and outputs in memory of its own where their shapes are known. ONNX Runtime itself
 * allocates while it runs; that is out of our hands. */
#include <pith/engine.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "plugins/engines/onnxruntime/library.h"

struct port {                  /* an input or output of the graph */
    const char *name;          /* the graph's */
    struct pith_tensor tensor; /* input: as compiled, data where `value` points; output: own memory,
                                  or the last run's */
    struct ort_value *value;   /* NULL: not made yet */
    bool open; /* output: its shape is known in a run alone, ONNX Runtime makes it */
};

struct pith_session {
    const struct ort *ort;
    struct pith_graph *graph; /* a clone, with the shapes compiled for */
    struct ort_env *env;
    struct ort_memory_info *memory;
    struct ort_session *session;
    size_t input_count, output_count;
    struct port *inputs, *outputs;
    const char **names;        /* of the inputs, then of the outputs */
    struct ort_value **values; /* likewise: what a run takes */
    bool profile;
    char kernel[64];
    struct pith_step_description
        step; /* the whole graph: ONNX Runtime doesn't tell more while it runs */
};

/* ---- a graph as a session of theirs ---- */

/* On x86-64 the integer kernels want unsigned activations and signed weights. The same real numbers
 * with 128 added to integer and zero point: exact, and what ONNX Runtime makes of signed ones is 1
 * to 3 times slower there. */
static int make_activations_unsigned(struct pith_graph *graph)
{
#if defined __x86_64__
    for (uint32_t value = 0; value < pith_graph_value_limit(graph); value++) {
        const struct pith_quantization *from = pith_value_quantization(graph, value);
        struct pith_quantization to;
        int32_t *zero_point;
        int rc;

        if (!from || from->dtype != PITH_INT8 || pith_value_constant(graph, value))
            continue;
        to = *from;
        zero_point = calloc(from->count + 1, sizeof *zero_point);
        if (!zero_point)
            return -ENOMEM;
        for (size_t i = 0; i < from->count; i++)
            zero_point[i] = from->zero_point[i] + 128;
        to.dtype = PITH_UINT8;
        to.zero_point = zero_point;
        rc = pith_value_set_quantization(graph, value, &to);
        free(zero_point);
        if (rc < 0)
            return rc;
    }
#else
    (void) graph;
#endif
    return 0;
}

/* A session over the graph; nothing of the graph is used afterwards. */
static int open_theirs(const struct ort *ort, const struct ort_env *env,
                       const struct pith_graph *graph, uint32_t threads, int optimization,
                       struct ort_session **out, struct pith_error *err)
{
    struct ort_session_options *options = NULL;
    void *model = NULL;
    size_t bytes = 0;
    int rc = pith_graph_write_onnx(graph, &model, &bytes, err);

    if (rc == 0)
        rc = ort_check(ort, ort->create_options(&options), -ENOMEM, "options", err);
    if (rc == 0)
        rc = ort_check(ort, ort->set_log_level(options, ORT_LOG_FATAL), -EINVAL, "options", err);
    if (rc == 0)
        rc = ort_check(ort, ort->set_optimization(options, optimization), -EINVAL, "options", err);
    if (rc == 0)
        rc = ort_check(ort, ort->set_threads(options, (int) threads), -EINVAL, "options", err);
    if (rc == 0)
        rc = ort_check(ort, ort->create_session(env, model, bytes, options, out), -ENOTSUP,
                       "can't load the graph", err);
    if (options)
        ort->release_options(options);
    free(model);
    return rc;
}

/* ---- supports ---- */

static int prepare(struct pith_error *err)
{
    const struct ort *ort;

    return ort_open(&ort, err);
}

/* The node whose name the message has in quotes or brackets; the longest, as one name may be a part
 * of another. */
static uint32_t node_in(const struct pith_graph *graph, const char *message)
{
    uint32_t best = PITH_NO_NODE;
    size_t best_length = 0;

    for (uint32_t node = 0; node < pith_graph_node_limit(graph); node++) {
        const char *name = pith_node_exists(graph, node) ? pith_node_name(graph, node) : "";
        const size_t length = strlen(name);

        if (length > best_length && strstr(message, name)) {
            best = node;
            best_length = length;
        }
    }
    return best;
}

/* Asks the library by loading the graph, unoptimized. It stops at the first fault, so no more than
 * one node is named. */
static int supports(const struct pith_graph *graph,
                    void (*unsupported)(void *user, uint32_t node, const char *why), void *user,
                    struct pith_error *err)
{
    const struct ort *ort = NULL;
    struct ort_env *env = NULL;
    struct ort_session *session = NULL;
    struct pith_error why = {0};
    int rc = ort_open(&ort, &why);

    if (rc == 0 && pith_graph_capture_count(graph))
        rc = pith_fail(&why, -ENOTSUP, "a sub-graph can't be run alone");
    if (rc == 0)
        rc = ort_check(ort, ort->create_env(ORT_LOG_FATAL, "pith", &env), -ENOMEM, "environment",
                       &why);
    if (rc == 0)
        rc = open_theirs(ort, env, graph, 1, ORT_OPTIMIZE_NOTHING, &session, &why);
    if (rc < 0) {
        const uint32_t node = node_in(graph, why.text);

        if (node != PITH_NO_NODE && unsupported)
            unsupported(user, node, why.text);
        rc = pith_fail(err, rc == -ENOMEM ? -ENOMEM : -ENOTSUP, "%s", pith_error_text(&why));
    }
    if (session)
        ort->release_session(session);
    if (env)
        ort->release_env(env);
    return rc;
}

/* ---- compile ---- */

static void close_session(struct pith_session *session)
{
    if (!session)
        return;
    for (size_t i = 0; session->inputs && i < session->input_count; i++)
        session->ort->release_value(session->inputs[i].value);
    for (size_t i = 0; session->outputs && i < session->output_count; i++) {
        session->ort->release_value(session->outputs[i].value);
        if (!session->outputs[i].open)
            pith_tensor_free(&session->outputs[i].tensor);
    }
    session->ort->release_session(session->session);
    session->ort->release_memory_info(session->memory);
    session->ort->release_env(session->env);
    pith_graph_free(session->graph);
    free(session->inputs);
    free(session->outputs);
    free(session->names);
    free(session->values);
    free(session);
}

/* A tensor over memory that stays the caller's. */
static int make_value(const struct pith_session *session, const struct pith_tensor *tensor,
                      struct ort_value **out, struct pith_error *err)
{
    const struct ort *ort = session->ort;
    static char nothing[1]; /* an empty tensor may have no data, but theirs wants an address */

    return ort_check(ort,
                     ort->create_tensor(session->memory, tensor->data ? tensor->data : nothing,
                                        tensor->bytes, tensor->shape.dim, tensor->shape.rank,
                                        tensor->dtype, out),
                     -ENOMEM, "tensor", err);
}

static int open_input(struct pith_session *session, size_t index, const struct pith_shape *given,
                      struct pith_error *err)
{
    const uint32_t value = pith_graph_input(session->graph, index);
    const struct pith_shape *shape = given ? given : pith_value_shape(session->graph, value);
    struct port *port = &session->inputs[index];
    int64_t bytes;

    port->name = pith_value_name(session->graph, value);
    if (!shape || !pith_shape_known(shape))
        return pith_fail(err, -EINVAL, "input \"%s\" has a shape that is not known; give one",
                         port->name);
    port->tensor.dtype = pith_value_dtype(session->graph, value);
    bytes = pith_tensor_bytes(port->tensor.dtype, shape);
    if (bytes < 0)
        return pith_fail(err, -EINVAL, "input \"%s\" is too large", port->name);
    port->tensor.shape = *shape;
    port->tensor.bytes = (size_t) bytes;
    session->names[index] = port->name;
    return 0;
}

static int open_output(struct pith_session *session, size_t index, struct pith_error *err)
{
    const uint32_t value = pith_graph_output(session->graph, index);
    const struct pith_shape *shape = pith_value_shape(session->graph, value);
    struct port *port = &session->outputs[index];

    port->name = pith_value_name(session->graph, value);
    session->names[session->input_count + index] = port->name;
    /* Memory of ours stays unwritten for an output that is an input or a constant. */
    port->open = !shape || !pith_shape_known(shape) ||
                 pith_value_producer(session->graph, value) == PITH_NO_NODE;
    if (port->open)
        return 0;
    int rc = pith_tensor_alloc(&port->tensor, pith_value_dtype(session->graph, value), shape, err);

    if (rc == 0)
        rc = make_value(session, &port->tensor, &port->value, err);
    return rc;
}

static int open_ports(struct pith_session *session, const struct pith_shape *shapes,
                      struct pith_error *err)
{
    struct pith_shape *known;
    int rc = 0;

    session->input_count = pith_graph_input_count(session->graph);
    session->output_count = pith_graph_output_count(session->graph);
    const size_t count = session->input_count + session->output_count;

    session->inputs = calloc(session->input_count + 1, sizeof *session->inputs);
    session->outputs = calloc(session->output_count + 1, sizeof *session->outputs);
    session->names = calloc(count + 1, sizeof *session->names);
    session->values = calloc(count + 1, sizeof *session->values);
    known = calloc(session->input_count + 1, sizeof *known);
    if (!session->inputs || !session->outputs || !session->names || !session->values || !known)
        rc = pith_fail(err, -ENOMEM, "no memory for a session");
    for (size_t i = 0; rc == 0 && i < session->input_count; i++) {
        rc = open_input(session, i, shapes ? &shapes[i] : NULL, err);
        known[i] = session->inputs[i].tensor.shape;
    }
    if (rc == 0)
        rc = pith_graph_infer(session->graph, known, err);
    if (rc == -ENOTSUP) /* operators that theirs may know: what these give stays open */
        rc = 0;
    free(known);
    for (size_t i = 0; rc == 0 && i < session->output_count; i++)
        rc = open_output(session, i, err);
    return rc;
}

/* They get the shapes that the graph declares, not those compiled for: a branch of If that these
 * shapes never take may not fit them, and ONNX Runtime then refuses the whole graph. */
static int load_theirs(struct pith_session *session, const struct pith_graph *graph,
                       uint32_t threads, struct pith_error *err)
{
    struct pith_graph *clone = NULL;
    int rc = pith_graph_clone(graph, &clone, err);

    if (rc == 0 && make_activations_unsigned(clone) < 0)
        rc = pith_fail(err, -ENOMEM, "no memory for the quantization of activations");
    if (rc == 0)
        rc = open_theirs(session->ort, session->env, clone, threads, ORT_OPTIMIZE_ALL,
                         &session->session, err);
    pith_graph_free(clone);
    return rc;
}

static void describe_step(struct pith_session *session)
{
    struct pith_graph_size size;

    pith_graph_measure(session->graph, &size);
    (void) snprintf(session->kernel, sizeof session->kernel, "onnxruntime %s",
                    session->ort->version);
    session->step = (struct pith_step_description){
        .name = pith_graph_name(session->graph), .kernel = session->kernel, .macs = size.macs};
}

static int compile(const struct pith_host *host, const struct pith_graph *graph,
                   const struct pith_engine_options *how, struct pith_session **out,
                   struct pith_error *err)
{
    const struct ort *ort;
    struct pith_session *session;
    int rc = ort_open(&ort, err);

    (void) host;
    if (rc < 0)
        return rc;
    session = calloc(1, sizeof *session);
    if (!session)
        return pith_fail(err, -ENOMEM, "no memory for a session");
    session->ort = ort;
    session->profile = how->profile != 0;
    if (pith_graph_capture_count(graph))
        rc = pith_fail(err, -EINVAL, "a sub-graph can't be run alone");
    if (rc == 0)
        rc = ort_check(ort, ort->create_env(ORT_LOG_FATAL, "pith", &session->env), -ENOMEM,
                       "environment", err);
    if (rc == 0)
        rc = ort_check(
            ort,
            ort->create_memory_info(ORT_ALLOCATOR_DEVICE, ORT_MEMORY_DEFAULT, &session->memory),
            -ENOMEM, "memory", err);
    if (rc == 0)
        rc = pith_graph_clone(graph, &session->graph, err);
    if (rc == 0)
        rc = open_ports(session, how->input_shapes, err);
    if (rc == 0)
        rc = load_theirs(session, graph, how->threads, err);
    if (rc < 0) {
        close_session(session);
        return rc;
    }
    describe_step(session);
    *out = session;
    return 0;
}

/* ---- run ---- */

static int check_input(const struct port *port, const struct pith_tensor *input,
                       struct pith_error *err)
{
    const struct pith_tensor *want = &port->tensor;
    char have_text[PITH_SHAPE_TEXT_BYTES], want_text[PITH_SHAPE_TEXT_BYTES];

    if (input->dtype == want->dtype && pith_shape_equal(&input->shape, &want->shape) &&
        input->bytes >= want->bytes && (input->data || want->bytes == 0))
        return 0;
    return pith_fail(
        err, -EINVAL, "input \"%s\" is %s %s of %zu bytes, the session was compiled for %s %s",
        port->name, pith_dtype_name(input->dtype),
        pith_shape_text(&input->shape, have_text, sizeof have_text), input->bytes,
        pith_dtype_name(want->dtype), pith_shape_text(&want->shape, want_text, sizeof want_text));
}

static int bind_input(struct pith_session *session, struct port *port,
                      const struct pith_tensor *input, struct pith_error *err)
{
    int rc = check_input(port, input, err);

    if (rc < 0 || (port->value && port->tensor.data == input->data))
        return rc;
    session->ort->release_value(port->value);
    port->value = NULL;
    port->tensor.data = input->data;
    return make_value(session, &port->tensor, &port->value, err);
}

/* Type, shape and data of what ONNX Runtime made. */
static int read_output(const struct ort *ort, struct port *port, struct pith_error *err)
{
    struct ort_shape_info *info = NULL;
    struct pith_tensor *tensor = &port->tensor;
    int64_t bytes;
    size_t rank = 0;
    int type = PITH_DTYPE_NONE, is_tensor = 0;
    int rc = ort_check(ort, ort->is_tensor(port->value, &is_tensor), -EINVAL, "output", err);

    if (rc == 0 && !is_tensor)
        rc = pith_fail(err, -ENOTSUP, "output \"%s\" is no tensor", port->name);
    if (rc == 0)
        rc = ort_check(ort, ort->shape_of(port->value, &info), -EINVAL, "output", err);
    if (rc == 0)
        rc = ort_check(ort, ort->type_of(info, &type), -EINVAL, "output", err);
    if (rc == 0)
        rc = ort_check(ort, ort->rank_of(info, &rank), -EINVAL, "output", err);
    if (rc == 0 && rank > PITH_MAX_RANK)
        rc = pith_fail(err, -ENOTSUP, "output \"%s\" has %zu dimensions, more than %d", port->name,
                       rank, PITH_MAX_RANK);
    tensor->shape = (struct pith_shape){.rank = (uint32_t) rank};
    if (rc == 0)
        rc = ort_check(ort, ort->dims_of(info, tensor->shape.dim, rank), -EINVAL, "output", err);
    if (info)
        ort->release_shape_info(info);
    if (rc == 0)
        rc = ort_check(ort, ort->data_of(port->value, &tensor->data), -EINVAL, "output", err);
    bytes = rc == 0 ? pith_tensor_bytes(type, &tensor->shape) : 0;
    if (bytes < 0)
        rc = pith_fail(err, -ENOTSUP, "output \"%s\" has a type that is not known", port->name);
    tensor->dtype = type;
    tensor->bytes = rc == 0 ? (size_t) bytes : 0;
    return rc;
}

static int run_bound(struct pith_session *session, struct pith_error *err)
{
    const struct ort *ort = session->ort;
    struct ort_value **outputs = session->values + session->input_count;
    struct ort_status *status;
    int rc;

    for (size_t i = 0; i < session->input_count; i++)
        session->values[i] = session->inputs[i].value;
    for (size_t i = 0; i < session->output_count; i++) {
        if (session->outputs[i].open) {
            ort->release_value(session->outputs[i].value);
            session->outputs[i].value = NULL;
        }
        outputs[i] = session->outputs[i].value;
    }
    status = ort->run(session->session, NULL, session->names,
                      (const struct ort_value *const *) session->values, session->input_count,
                      session->names + session->input_count, session->output_count, outputs);
    for (size_t i = 0; i < session->output_count; i++)
        session->outputs[i].value = outputs[i];
    rc = ort_check(ort, status, -EINVAL, "run", err);
    for (size_t i = 0; rc == 0 && i < session->output_count; i++)
        if (session->outputs[i].open)
            rc = read_output(ort, &session->outputs[i], err);
    return rc;
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
    int rc = 0;

    if (input_count != session->input_count || output_count != session->output_count)
        return pith_fail(err, -EINVAL,
                         "%zu inputs and %zu outputs for a graph that has %zu and %zu", input_count,
                         output_count, session->input_count, session->output_count);
    for (size_t i = 0; rc == 0 && i < input_count; i++)
        rc = bind_input(session, &session->inputs[i], &inputs[i], err);
    if (rc == 0)
        rc = run_bound(session, err);
    for (size_t i = 0; rc == 0 && i < output_count; i++)
        outputs[i] = session->outputs[i].tensor;
    if (rc == 0 && session->profile) {
        session->step.run_count++;
        session->step.time_ns += now_ns() - start_ns;
    }
    return rc;
}

/* ---- describe ---- */

/* What ONNX Runtime's arena holds it doesn't tell by this table; known are the outputs, which are
 * ours. */
static int describe(struct pith_session *session, struct pith_session_description *out)
{
    *out = (struct pith_session_description){.steps = &session->step, .step_count = 1};
    for (size_t i = 0; i < session->output_count; i++)
        out->arena_bytes += session->outputs[i].tensor.bytes;
    if (session->output_count > 0)
        session->step.shape = session->outputs[0].tensor.shape;
    return 0;
}

static const struct pith_engine_ops ops = {
    .size_bytes = sizeof ops,
    .supports = supports,
    .compile = compile,
    .run = run,
    .describe = describe,
    .close = close_session,
    .prepare = prepare,
};

const struct pith_plugin pith_plugin = {
    .size_bytes = sizeof pith_plugin,
    .abi_major = PITH_ABI_MAJOR,
    .abi_minor = PITH_ABI_MINOR,
    .kind = PITH_KIND_ENGINE,
    .name = "onnxruntime",
    .version = "0.1.0",
    .summary = "ONNX Runtime, where libonnxruntime.so.1 is installed or PITH_ONNXRUNTIME names it",
    .ops = &ops,
};
