/* An engine to copy: runs graphs that are made of Relu and Add on float32 tensors of one shape.
 * Everything is decided in compile: which buffer each value lives in, and one step a node. run then
 * only computes. It leaves to others what makes an engine fast: reusing buffers, fusing steps,
 * threads. */
#include <pith/engine.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct step {
    const float *a, *b; /* b: NULL for Relu */
    float *out;
    size_t count;
    uint32_t node;
};

struct pith_session {
    struct pith_graph *graph; /* own, a clone: names are described long after compile */
    struct pith_shape shape;  /* of every value */
    size_t count;             /* elements of it */
    float **buffers;          /* own; by value number, NULL where no step uses the value */
    size_t buffer_count;
    struct step *steps;                      /* own */
    struct pith_step_description *described; /* own */
    size_t step_count;
    uint64_t arena_bytes;
};

static const char *why_not(const struct pith_graph *graph, uint32_t node)
{
    const char *op = pith_node_op(graph, node);

    if (strcmp(op, "Relu") != 0 && strcmp(op, "Add") != 0)
        return "this engine knows Relu and Add alone";
    for (size_t i = 0; i < pith_node_input_count(graph, node); i++) {
        uint32_t value = pith_node_input(graph, node, i);

        if (pith_value_dtype(graph, value) != PITH_FLOAT32 || pith_value_quantization(graph, value))
            return "it takes float32 alone";
    }
    return NULL;
}

static int engine_supports(const struct pith_graph *graph,
                           void (*unsupported)(void *user, uint32_t node, const char *why),
                           void *user, struct pith_error *err)
{
    size_t count;
    const uint32_t *order = pith_graph_order(graph, &count);
    int rc = 0;

    for (size_t i = 0; i < count; i++) {
        const char *why = why_not(graph, order[i]);

        if (!why)
            continue;
        if (unsupported)
            unsupported(user, order[i], why);
        if (rc == 0) /* the first one is the sentence, each one is told */
            rc = pith_fail(err, -ENOTSUP, "node \"%s\" (%s): %s", pith_node_name(graph, order[i]),
                           pith_node_op(graph, order[i]), why);
    }
    return rc;
}

static void engine_close(struct pith_session *session)
{
    if (!session)
        return;
    for (size_t i = 0; i < session->buffer_count && session->buffers; i++)
        free(session->buffers[i]);
    free(session->buffers);
    free(session->steps);
    free(session->described);
    pith_graph_free(session->graph);
    free(session);
}

/* The buffer of a value; a constant is copied into its own, as its data may lie unaligned in a
 * mapped file. */
static float *buffer_of(struct pith_session *session, uint32_t value, struct pith_error *err)
{
    const struct pith_tensor *constant = pith_value_constant(session->graph, value);

    if (constant && !pith_shape_equal(&constant->shape, &session->shape)) {
        (void) pith_fail(err, -ENOTSUP, "value \"%s\": this engine doesn't broadcast",
                         pith_value_name(session->graph, value));
        return NULL;
    }
    if (!session->buffers[value]) {
        session->buffers[value] = calloc(session->count ? session->count : 1, sizeof(float));
        if (!session->buffers[value])
            (void) pith_fail(err, -ENOMEM, "no memory for %zu floats", session->count);
        else if (constant)
            memcpy(session->buffers[value], constant->data, session->count * sizeof(float));
        session->arena_bytes += session->count * sizeof(float);
    }
    return session->buffers[value];
}

static int make_step(struct pith_session *session, size_t index, uint32_t node,
                     struct pith_error *err)
{
    struct step *step = &session->steps[index];
    bool add = strcmp(pith_node_op(session->graph, node), "Add") == 0;

    step->node = node;
    step->count = session->count;
    step->a = buffer_of(session, pith_node_input(session->graph, node, 0), err);
    step->b =
        add && step->a ? buffer_of(session, pith_node_input(session->graph, node, 1), err) : NULL;
    step->out = step->a && (step->b || !add)
                    ? buffer_of(session, pith_node_output(session->graph, node, 0), err)
                    : NULL;
    session->described[index] =
        (struct pith_step_description){.name = pith_node_name(session->graph, node),
                                       .kernel = add ? "add_f32" : "relu_f32",
                                       .shape = session->shape};
    return step->out ? 0 : -EINVAL;
}

static int plan(struct pith_session *session, struct pith_error *err)
{
    size_t count;
    const uint32_t *order = pith_graph_order(session->graph, &count);
    int rc;

    session->buffer_count = pith_graph_value_limit(session->graph);
    session->buffers = calloc(session->buffer_count + 1, sizeof *session->buffers);
    session->steps = calloc(count + 1, sizeof *session->steps);
    session->described = calloc(count + 1, sizeof *session->described);
    if (!session->buffers || !session->steps || !session->described)
        return pith_fail(err, -ENOMEM, "no memory for a session");
    for (size_t i = 0; i < pith_graph_input_count(session->graph); i++)
        if (!buffer_of(session, pith_graph_input(session->graph, i), err))
            return -ENOMEM;
    for (session->step_count = 0; session->step_count < count; session->step_count++) {
        rc = make_step(session, session->step_count, order[session->step_count], err);
        if (rc < 0)
            return rc;
    }
    for (size_t i = 0; i < pith_graph_output_count(session->graph);
         i++) /* one may be an input handed through */
        if (!buffer_of(session, pith_graph_output(session->graph, i), err))
            return -EINVAL;
    return 0;
}

static int engine_compile(const struct pith_host *host, const struct pith_graph *graph,
                          const struct pith_engine_options *options, struct pith_session **out,
                          struct pith_error *err)
{
    struct pith_session *session;
    int rc = engine_supports(graph, NULL, NULL, err);

    (void) host;
    if (rc < 0)
        return rc;
    if (pith_graph_input_count(graph) == 0 || pith_graph_output_count(graph) == 0)
        return pith_fail(err, -ENOTSUP, "a graph without inputs or outputs");
    session = calloc(1, sizeof *session);
    if (!session)
        return pith_fail(err, -ENOMEM, "no memory for a session");
    session->shape = options->input_shapes ? options->input_shapes[0]
                                           : *pith_value_shape(graph, pith_graph_input(graph, 0));
    rc = pith_graph_clone(graph, &session->graph, err); /* for the names that it describes */
    if (rc == 0 && pith_shape_elements(&session->shape) < 0)
        rc = pith_fail(err, -EINVAL, "the input's shape must be known");
    for (size_t i = 1; rc == 0 && i < pith_graph_input_count(graph); i++) {
        const struct pith_shape *other = options->input_shapes
                                             ? &options->input_shapes[i]
                                             : pith_value_shape(graph, pith_graph_input(graph, i));

        if (!pith_shape_equal(other, &session->shape))
            rc = pith_fail(err, -ENOTSUP,
                           "inputs of different shapes: this engine doesn't broadcast");
    }
    session->count = rc == 0 ? (size_t) pith_shape_elements(&session->shape) : 0;
    if (rc == 0)
        rc = plan(session, err);
    if (rc < 0) {
        engine_close(session);
        return rc;
    }
    *out = session;
    return 0;
}

static void run_step(const struct step *step)
{
    for (size_t i = 0; i < step->count; i++) {
        if (step->b)
            step->out[i] = step->a[i] + step->b[i];
        else
            step->out[i] = step->a[i] > 0 ? step->a[i] : 0;
    }
}

static int engine_run(struct pith_session *session, const struct pith_tensor *inputs,
                      size_t input_count, struct pith_tensor *outputs, size_t output_count,
                      struct pith_error *err)
{
    if (input_count != pith_graph_input_count(session->graph) ||
        output_count != pith_graph_output_count(session->graph))
        return pith_fail(err, -EINVAL, "%zu inputs and %zu outputs were given", input_count,
                         output_count);
    for (size_t i = 0; i < input_count; i++) {
        if (inputs[i].dtype != PITH_FLOAT32 || !pith_shape_equal(&inputs[i].shape, &session->shape))
            return pith_fail(err, -EINVAL, "input %zu is not of the compiled type and shape", i);
        memcpy(session->buffers[pith_graph_input(session->graph, i)], inputs[i].data,
               session->count * sizeof(float));
    }
    for (size_t i = 0; i < session->step_count; i++)
        run_step(&session->steps[i]);
    for (size_t i = 0; i < output_count; i++)
        outputs[i] =
            (struct pith_tensor){.dtype = PITH_FLOAT32,
                                 .shape = session->shape,
                                 .data = session->buffers[pith_graph_output(session->graph, i)],
                                 .bytes = session->count * sizeof(float)};
    return 0;
}

static int engine_describe(struct pith_session *session, struct pith_session_description *out)
{
    *out = (struct pith_session_description){.arena_bytes = session->arena_bytes,
                                             .steps = session->described,
                                             .step_count = session->step_count};
    return 0;
}

static const struct pith_engine_ops ops = {
    .size_bytes = sizeof ops,
    .supports = engine_supports,
    .compile = engine_compile,
    .run = engine_run,
    .describe = engine_describe,
    .close = engine_close,
};

const struct pith_plugin pith_plugin = {
    .size_bytes = sizeof pith_plugin,
    .abi_major = PITH_ABI_MAJOR,
    .abi_minor = PITH_ABI_MINOR,
    .kind = PITH_KIND_ENGINE,
    .name = "relu_add",
    .version = "1.0",
    .summary = "example: runs graphs of Relu and Add",
    .ops = &ops,
};
