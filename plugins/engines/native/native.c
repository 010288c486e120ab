/* The engine `native`: compiles a graph into a plan (plan.h) over the kernels of libpith/kernels.
 */
#include <pith/engine.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpith/graph/pages.h"
#include "plugins/engines/native/plans.h"

struct pith_session {
    struct plans plans;
    struct plan *plan; /* of `plans`, that of the last run; NULL: none yet */
    /* Where dimensions vary: what is compiled for each shape that comes. NULL: all are known. */
    struct pith_graph *graph;  /* own */
    struct pith_shape *shapes; /* of the inputs, with what is known of them; own */
    struct plan_options options;
    struct pith_step_description *steps; /* of the last describe */
};

enum { OPTION_QUANTIZED, OPTION_MEMORY_LIMIT, OPTION_LAYOUT }; /* in the order of the table */

static const char *const quantized_choices[] = {"integer", "plain", NULL};

static const char *const layout_choices[] = {"channels_last", "planar", NULL};

static const struct pith_option options[] = {
    {.name = "quantized",
     .type = PITH_OPTION_CHOICE,
     .otherwise = "integer",
     .choices = quantized_choices,
     .help = "how quantized values are computed: with integer kernels, or literally, in floats "
             "rounded to their grid"},
    {.name = "memory_limit_mb",
     .type = PITH_OPTION_INT,
     .minimum = 1,
     .maximum = 1 << 20,
     .otherwise = "2048",
     .help = "the most memory that activations and scratch of one session may take"},
    {.name = "layout",
     .type = PITH_OPTION_CHOICE,
     .otherwise = "channels_last",
     .choices = layout_choices,
     .help =
         "how pictures and sequences lie between convolutions: channels last, which is faster, or "
         "planar, as the model has them"},
    {0},
};

#define KERNEL_NAME_BYTES  64
#define MEMORY_LIMIT_BYTES (UINT64_C(2048) << 20) /* where the host gives no options */

/* ---- supports ---- */

struct support {
    bool widened; /* look for kernels of the types that pith_graph_widen would give */
    void (*unsupported)(void *user, uint32_t node, const char *why);
    void *user;
    int rc;
    struct pith_error *err;
};

static void refuse(struct support *support, const struct pith_graph *graph, uint32_t node,
                   uint32_t report, const char *why)
{
    if (support->unsupported)
        support->unsupported(support->user, report, why);
    if (support->rc == 0)
        support->rc =
            pith_fail(support->err, -ENOTSUP, "node %u \"%s\" (%s, opset %lld): %s", node,
                      pith_node_name(graph, node), pith_node_op(graph, node),
                      (long long) pith_graph_opset(graph, pith_node_domain(graph, node)), why);
}

/* report: the node of the outermost graph that a node in a sub-graph counts for. */
static void check_graph(struct support *support, const struct pith_graph *graph, uint32_t report,
                        unsigned depth)
{
    static const char *const bodies[] = {"then_branch", "else_branch", "body"};
    size_t count = 0;
    const uint32_t *order = pith_graph_order(graph, &count);

    for (size_t i = 0; i < count; i++) {
        const uint32_t top = report == PITH_NO_NODE ? order[i] : report;
        const char *why = NULL;

        if (!control_is(graph, order[i])) {
            if (!plan_find_kernel(graph, order[i], support->widened, &why))
                refuse(support, graph, order[i], top, why);
            continue;
        }
        if (depth >= PLAN_MAX_DEPTH) {
            refuse(support, graph, order[i], top, "sub-graphs are nested too deep");
            continue;
        }
        for (size_t b = 0; b < sizeof bodies / sizeof bodies[0]; b++) {
            const struct pith_graph *body = pith_node_graph(graph, order[i], bodies[b]);

            if (body)
                check_graph(support, body, top, depth + 1);
        }
    }
}

/* 16-bit floats are computed with where every node has a kernel for them, else in float32. */
static bool wants_widening(const struct pith_graph *graph)
{
    struct pith_error unread = {0};
    struct support support = {.err = &unread};

    if (!pith_graph_has_halves(graph))
        return false;
    check_graph(&support, graph, PITH_NO_NODE, 0);
    return support.rc < 0;
}

static int native_supports(const struct pith_graph *graph,
                           void (*unsupported)(void *user, uint32_t node, const char *why),
                           void *user, struct pith_error *err)
{
    struct support support = {
        .widened = wants_widening(graph), .unsupported = unsupported, .user = user, .err = err};

    check_graph(&support, graph, PITH_NO_NODE, 0);
    return support.rc;
}

/* ---- compile and run ---- */

static void native_close(struct pith_session *session)
{
    if (!session)
        return;
    plans_done(&session->plans);
    pith_graph_free(session->graph);
    free(session->shapes);
    free(session->steps);
    free(session);
}

static int find_plan(struct pith_session *session, const struct pith_graph *graph,
                     const struct pith_tensor *inputs, struct pith_error *err)
{
    const struct plans_request request = {.graph = graph,
                                          .inputs = inputs,
                                          .own_count = pith_graph_input_count(graph),
                                          .options = &session->options};

    return plans_find(&session->plans, &request, &session->plan, err);
}

/* What the host says of an input's shape, or the graph. NULL: not even its rank. */
static const struct pith_shape *shape_of(const struct pith_graph *graph,
                                         const struct pith_engine_options *how, size_t index)
{
    return how->input_shapes ? &how->input_shapes[index]
                             : pith_value_shape(graph, pith_graph_input(graph, index));
}

/* Where dimensions of inputs are open, all that can be told now is that there are kernels. */
static int open_session(struct pith_session *session, const struct pith_graph *graph,
                        const struct pith_engine_options *how, struct pith_error *err)
{
    const size_t count = pith_graph_input_count(graph);
    int rc = native_supports(graph, NULL, NULL, err);

    if (rc < 0)
        return rc;
    session->shapes = calloc(count + 1, sizeof *session->shapes);
    if (!session->shapes)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        session->shapes[i] = *shape_of(graph, how, i);
    return pith_graph_clone(graph, &session->graph, err);
}

static int compile(struct pith_session *session, const struct pith_graph *graph,
                   const struct pith_engine_options *how, struct pith_error *err)
{
    const size_t count = pith_graph_input_count(graph);
    struct pith_tensor *inputs;
    bool open = false;
    int rc;

    if (pith_graph_capture_count(graph))
        return pith_fail(err, -EINVAL, "a sub-graph can't be run alone");
    for (size_t i = 0; i < count; i++) {
        const struct pith_shape *shape = shape_of(graph, how, i);

        if (!shape)
            return pith_fail(err, -EINVAL, "the rank of input \"%s\" is not known: give its shape",
                             pith_value_name(graph, pith_graph_input(graph, i)));
        open = open || !pith_shape_known(shape);
    }
    if (open)
        return open_session(session, graph, how, err);
    inputs = calloc(count + 1, sizeof *inputs);
    if (!inputs)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        inputs[i].shape = *shape_of(graph, how, i);
    rc = find_plan(session, graph, inputs, err);
    free(inputs);
    return rc;
}

/* *out: a copy in float32, the caller's; NULL where the graph is run as it is. */
static int widened_copy(const struct pith_graph *graph, struct pith_graph **out,
                        struct pith_error *err)
{
    struct pith_graph *copy = NULL;
    int rc = 0;

    *out = NULL;
    if (!wants_widening(graph))
        return 0;
    rc = pith_graph_clone(graph, &copy, err);
    if (rc == 0)
        rc = pith_graph_widen(copy, err);
    if (rc < 0)
        pith_graph_free(copy);
    else
        *out = copy;
    return rc;
}

static int native_compile(const struct pith_host *host, const struct pith_graph *graph,
                          const struct pith_engine_options *how, struct pith_session **out,
                          struct pith_error *err)
{
    struct pith_session *session = calloc(1, sizeof *session);
    struct pith_graph *wide;
    int rc;

    (void) host;
    if (!session)
        return pith_fail(err, -ENOMEM, "no memory for a session");
    session->options = (struct plan_options){
        .profile = how->profile != 0, .threads = how->threads, .limit_bytes = MEMORY_LIMIT_BYTES};
    if (how->options) {
        session->options.plain = how->options[OPTION_QUANTIZED].integer == 1;
        session->options.planar = how->options[OPTION_LAYOUT].integer == 1;
        session->options.limit_bytes = (uint64_t) how->options[OPTION_MEMORY_LIMIT].integer << 20;
    }
    rc = widened_copy(graph, &wide, err);
    if (rc == 0)
        rc = compile(session, wide ? wide : graph, how, err);
    pith_graph_free(wide);
    if (session->plan)
        pith_graph_forget_pages(graph); /* they are packed; what a run reads comes back */
    if (rc < 0) {
        native_close(session);
        return rc;
    }
    *out = session;
    return 0;
}

/* The plan for a run's shapes, where they are ones that the session is open for. */
static int choose_plan(struct pith_session *session, const struct pith_tensor *inputs,
                       size_t input_count, struct pith_error *err)
{
    char have_text[PITH_SHAPE_TEXT_BYTES], want_text[PITH_SHAPE_TEXT_BYTES];

    if (input_count != pith_graph_input_count(session->graph))
        return pith_fail(err, -EINVAL, "%zu inputs for a graph that has %zu", input_count,
                         pith_graph_input_count(session->graph));
    for (size_t i = 0; i < input_count; i++) {
        const struct pith_shape *have = &inputs[i].shape, *want = &session->shapes[i];
        const uint32_t value = pith_graph_input(session->graph, i);
        const int32_t dtype = pith_value_quantization(session->graph, value)
                                  ? PITH_FLOAT32
                                  : pith_value_dtype(session->graph, value);
        bool fits = have->rank == want->rank && pith_shape_known(have);

        if (inputs[i].dtype != dtype)
            return pith_fail(err, -EINVAL, "input %zu is %s, and must be %s", i,
                             pith_dtype_name(inputs[i].dtype), pith_dtype_name(dtype));
        for (uint32_t axis = 0; fits && axis < want->rank; axis++)
            fits = want->dim[axis] < 0 || have->dim[axis] == want->dim[axis];
        if (!fits)
            return pith_fail(err, -EINVAL, "input %zu is %s, the session was compiled for %s", i,
                             pith_shape_text(have, have_text, sizeof have_text),
                             pith_shape_text(want, want_text, sizeof want_text));
    }
    return find_plan(session, session->graph, inputs, err);
}

static int check_input(const struct plan *plan, size_t index, const struct pith_tensor *input,
                       struct pith_error *err)
{
    const struct pith_tensor *want = &plan->slots[plan->input_slots[index]].tensor;
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

static int native_run(struct pith_session *session, const struct pith_tensor *inputs,
                      size_t input_count, struct pith_tensor *outputs, size_t output_count,
                      struct pith_error *err)
{
    int rc = session->graph ? choose_plan(session, inputs, input_count, err) : 0;
    struct plan *plan = session->plan;

    if (rc < 0)
        return rc;
    if (input_count != plan->input_count || output_count != plan->output_count)
        return pith_fail(err, -EINVAL,
                         "%zu inputs and %zu outputs for a graph that has %zu and %zu", input_count,
                         output_count, plan->input_count, plan->output_count);
    for (size_t i = 0; i < input_count && rc == 0; i++)
        rc = check_input(plan, i, &inputs[i], err);
    if (rc == 0)
        rc = plan_run(plan, inputs, input_count, err);
    for (size_t i = 0; i < output_count && rc == 0; i++)
        plan_output(plan, i, &outputs[i]);
    return rc;
}

/* The time of a row group is that of its last step, and so are the products of all its links. */
static uint64_t step_macs(const struct plan *plan, size_t index)
{
    const struct plan_step *step = plan->steps[index];

    if (!step->group)
        return step->step.macs;
    return row_group_last(step->group) == index ? row_group_step(step->group)->macs : 0;
}

static int native_describe(struct pith_session *session, struct pith_session_description *out)
{
    const struct plan *plan = session->plan;
    const size_t step_count = plan ? plan->step_count : 0;
    struct pith_step_description *steps =
        calloc(step_count + 1, sizeof *steps + KERNEL_NAME_BYTES);
    char *names = (char *) (steps + step_count + 1);

    if (!steps)
        return -ENOMEM;
    free(session->steps);
    session->steps = steps;
    *out = (struct pith_session_description){.arena_bytes = plans_arena_bytes(&session->plans),
                                             .weight_bytes = plans_weight_bytes(&session->plans),
                                             .steps = steps,
                                             .step_count = step_count};
    for (size_t i = 0; i < step_count; i++) {
        const struct plan_step *step = plan->steps[i];
        const uint32_t first = step->step.output_count ? step->out[0] : PLAN_NO_SLOT;
        char *name = names + i * KERNEL_NAME_BYTES;

        (void) snprintf(name, KERNEL_NAME_BYTES, "%s%s%s%s", step->kernel_name,
                        step->step.form ? " " : "", step->step.form ? step->step.form : "",
                        !step->group                     ? ""
                        : row_group_last(step->group) == i ? ", by rows"
                                                         : ", by rows with the next");
        steps[i] = (struct pith_step_description){.name = step->step.name,
                                                  .kernel = name,
                                                  .macs = step_macs(plan, i),
                                                  .run_count = step->run_count,
                                                  .time_ns = step->time_ns};
        if (first != PLAN_NO_SLOT)
            steps[i].shape = plan->slots[first].tensor.shape;
    }
    return 0;
}

static const struct pith_engine_ops ops = {
    .size_bytes = sizeof ops,
    .supports = native_supports,
    .compile = native_compile,
    .run = native_run,
    .describe = native_describe,
    .close = native_close,
};

const struct pith_plugin pith_plugin = {
    .size_bytes = sizeof pith_plugin,
    .abi_major = PITH_ABI_MAJOR,
    .abi_minor = PITH_ABI_MINOR,
    .kind = PITH_KIND_ENGINE,
    .name = "native",
    .version = "0.1.0",
    .summary = "pith's own kernels: float32 and int8, compiled into one static plan",
    .ops = &ops,
    .options = options,
};
