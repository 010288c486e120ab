/* The engine `native`: compiles a graph into a plan (plan.h) over the kernels of libpith/kernels.
 */
#include <pith/engine.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/engines/native/plan.h"

struct pith_session {
    struct plan *plan;
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
            if (!plan_find_kernel(graph, order[i], &why))
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

static int native_supports(const struct pith_graph *graph,
                           void (*unsupported)(void *user, uint32_t node, const char *why),
                           void *user, struct pith_error *err)
{
    struct support support = {unsupported, user, 0, err};

    check_graph(&support, graph, PITH_NO_NODE, 0);
    return support.rc;
}

/* ---- compile and run ---- */

static void native_close(struct pith_session *session)
{
    if (!session)
        return;
    plan_free(session->plan);
    free(session->steps);
    free(session);
}

static int native_compile(const struct pith_host *host, const struct pith_graph *graph,
                          const struct pith_engine_options *how, struct pith_session **out,
                          struct pith_error *err)
{
    struct plan_options plan_options = {
        .profile = how->profile != 0, .threads = how->threads, .limit_bytes = MEMORY_LIMIT_BYTES};
    struct pith_session *session = calloc(1, sizeof *session);
    int rc;

    (void) host;
    if (!session)
        return pith_fail(err, -ENOMEM, "no memory for a session");
    if (how->options) {
        plan_options.plain = how->options[OPTION_QUANTIZED].integer == 1;
        plan_options.planar = how->options[OPTION_LAYOUT].integer == 1;
        plan_options.limit_bytes = (uint64_t) how->options[OPTION_MEMORY_LIMIT].integer << 20;
    }
    rc = pith_graph_capture_count(graph)
             ? pith_fail(err, -EINVAL, "a sub-graph can't be run alone")
             : plan_new(&session->plan, graph, how->input_shapes, NULL, &plan_options, err);
    if (rc < 0) {
        native_close(session);
        return rc;
    }
    *out = session;
    return 0;
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
    struct plan *plan = session->plan;
    int rc = 0;

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

static int native_describe(struct pith_session *session, struct pith_session_description *out)
{
    const struct plan *plan = session->plan;
    struct pith_step_description *steps =
        calloc(plan->step_count + 1, sizeof *steps + KERNEL_NAME_BYTES);
    char *names = (char *) (steps + plan->step_count + 1);

    if (!steps)
        return -ENOMEM;
    free(session->steps);
    session->steps = steps;
    *out = (struct pith_session_description){.arena_bytes = plan->arena_bytes + plan->heap_bytes,
                                             .weight_bytes = plan->weight_bytes,
                                             .steps = steps,
                                             .step_count = plan->step_count};
    for (size_t i = 0; i < plan->step_count; i++) {
        const struct plan_step *step = plan->steps[i];
        const uint32_t first = step->step.output_count ? step->out[0] : PLAN_NO_SLOT;
        char *name = names + i * KERNEL_NAME_BYTES;

        (void) snprintf(name, KERNEL_NAME_BYTES, "%s%s%s", step->kernel_name,
                        step->step.form ? " " : "", step->step.form ? step->step.form : "");
        steps[i] = (struct pith_step_description){.name = step->step.name,
                                                  .kernel = name,
                                                  .macs = step->step.macs,
                                                  .run_count = step->run_count,
                                                  .time_ns = step->time_ns};
        if (first != PLAN_NO_SLOT)
            steps[i].shape = plan->slots[first].tensor.shape;
        if (step->control)
            out->arena_bytes += control_arena_bytes(step->control);
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
