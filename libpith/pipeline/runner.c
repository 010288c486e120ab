/* A graph in a chain: its input bound to what the stages before give, its session, its outputs as
 * float32. */
#include "libpith/pipeline/stages.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct pith_host no_host = {.size_bytes = sizeof no_host};

/* The unknown dimensions of `shape` from those of what flows in, from the last on; what is in front of them is a batch of one.
 * false, and nothing is changed, where they don't match. */
static bool take_dims(struct pith_shape *shape, const struct pith_shape *from)
{
    struct pith_shape taken = *shape;

    for (uint32_t back = 1; back <= shape->rank || back <= from->rank; back++) {
        const int64_t size = back <= from->rank ? from->dim[from->rank - back] : 1;

        if (back > shape->rank) {
            if (size != 1)
                return false;
            continue;
        }
        if (taken.dim[shape->rank - back] == PITH_DIM_UNKNOWN)
            taken.dim[shape->rank - back] = size;
        if (taken.dim[shape->rank - back] != size)
            return false;
    }
    *shape = taken;
    return true;
}

/* The unknown dimensions of `shape` from what flows in. With two unknowns the first is a batch, of
 * one. */
static int bind_shape(struct pith_shape *shape, const struct flow *flow, struct pith_error *err)
{
    char text[PITH_SHAPE_TEXT_BYTES];
    uint32_t unknown[PITH_MAX_RANK];
    uint32_t unknown_count = 0;
    int64_t known = 1;
    int64_t rows = flow->window_size > 0 ? flow->window_size : 1;
    int64_t wanted = flow->window_size > 0 ? rows * flow->row_elements : flow->elements;

    (void) pith_shape_text(shape, text, sizeof text);
    for (uint32_t i = 0; i < shape->rank; i++) {
        if (shape->dim[i] == PITH_DIM_UNKNOWN)
            unknown[unknown_count++] = i;
        else if (shape->dim[i] < 1 || known > STAGE_MAX_ELEMENTS / shape->dim[i])
            return pith_fail(err, -EINVAL, "takes %s, which no stage can give", text);
        else
            known *= shape->dim[i];
    }
    if (unknown_count > 0 && unknown[0] == 0 &&
        (unknown_count == 2 || (wanted % known && shape->rank > 1))) {
        shape->dim[0] = 1;
        unknown[0] = unknown[--unknown_count];
    }
    if (unknown_count > 1 && flow->shape.rank > 0 && take_dims(shape, &flow->shape))
        return 0;
    if (unknown_count > 1)
        return pith_fail(
            err, -EINVAL,
            "takes %s: more than a batch and one dimension are open, and what comes before it does not say "
            "them; give them in the model",
            text);
    if (unknown_count == 1) {
        if (wanted % known)
            return pith_fail(err, -EINVAL, "takes %s, which %lld values don't fill", text,
                             (long long) wanted);
        shape->dim[unknown[0]] = wanted / known;
        return 0;
    }
    if (flow->window_size > 0 && known % rows)
        return pith_fail(err, -EINVAL,
                         "takes %s, %lld values, which a window of %lld rows can't divide", text,
                         (long long) known, (long long) rows);
    if (flow->window_size == 0 && known != flow->elements)
        return pith_fail(err, -EINVAL, "takes %s, %lld values, but the stage before gives %lld",
                         text, (long long) known, (long long) flow->elements);
    return 0;
}

static int find_output(const struct pith_graph *graph, const char *name, size_t *out)
{
    for (size_t i = 0; i < pith_graph_output_count(graph); i++)
        if (!strcmp(pith_value_name(graph, pith_graph_output(graph, i)), name)) {
            *out = i;
            return 0;
        }
    return -ENOENT;
}

static int fix_values(struct pith_tensor *tensor, const struct pith_stage_input *from,
                      struct pith_error *err)
{
    int64_t count = pith_shape_elements(&tensor->shape);

    if (from->value_count != 1 && from->value_count != (size_t) count)
        return pith_fail(err, -EINVAL, "input \"%s\" takes %lld numbers; %zu are given", from->name,
                         (long long) count, from->value_count);
    for (int64_t i = 0; i < count; i++)
        pith_tensor_set(tensor, i, from->values[from->value_count == 1 ? 0 : i]);
    return 0;
}

/* An input that the stage names: state that the graph carries, or fixed numbers. Its open
 * dimensions are 1, as a chain runs one sample at a time. */
static int bind_other(struct runner *runner, const struct pith_graph *graph, size_t at,
                      const struct pith_stage_input *from, struct pith_error *err)
{
    uint32_t value = pith_graph_input(graph, at);
    const struct pith_shape *declared = pith_value_shape(graph, value);
    struct pith_shape shape;
    size_t output = 0;
    int rc;

    if (!declared)
        return pith_fail(err, -EINVAL, "has an input \"%s\" of unknown rank", from->name);
    shape = *declared;
    for (uint32_t i = 0; i < shape.rank; i++)
        if (shape.dim[i] == PITH_DIM_UNKNOWN)
            shape.dim[i] = 1;
    if (pith_dtype_bits(pith_value_dtype(graph, value)) < 8 ||
        pith_shape_elements(&shape) > STAGE_MAX_ELEMENTS)
        return pith_fail(err, -ENOTSUP, "input \"%s\" is too large, or of a type that can't be fed",
                         from->name);
    rc = pith_tensor_alloc(&runner->inputs[at], pith_value_dtype(graph, value), &shape, err);
    if (rc < 0)
        return rc;
    if (!from->output)
        return fix_values(&runner->inputs[at], from, err);
    if (find_output(graph, from->output, &output) < 0)
        return pith_fail(err, -EINVAL, "has no output \"%s\" for its input \"%s\"", from->output,
                         from->name);
    if (output == 0)
        return pith_fail(err, -EINVAL,
                         "carries its first output, which is what the next stage takes");
    runner->carried[runner->carried_count++] = (struct carried){.input = at, .output = output};
    return 0;
}

static const struct pith_stage_input *named(const struct pith_stage *stage, const char *name)
{
    for (size_t i = 0; i < stage->input_count; i++)
        if (!strcmp(stage->inputs[i].name, name))
            return &stage->inputs[i];
    return NULL;
}

/* The one input that the stage doesn't name is what data flow into. */
static int bind_others(struct runner *runner, const struct pith_stage *stage,
                       const struct pith_graph *graph, struct pith_error *err)
{
    size_t count = pith_graph_input_count(graph), bound = 0;
    int rc = 0;

    if (count != stage->input_count + 1)
        return pith_fail(err, -ENOTSUP,
                         "has %zu inputs; a stage gives one, and what the others get has to stand "
                         "beside it in the manifest, under state or inputs",
                         count);
    runner->input_count = count;
    runner->input = count;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        const struct pith_stage_input *from =
            named(stage, pith_value_name(graph, pith_graph_input(graph, i)));

        if (from)
            rc = bind_other(runner, graph, i, from, err);
        else
            runner->input = i;
        bound += from != NULL;
    }
    if (rc == 0 && bound != stage->input_count)
        rc = pith_fail(err, -EINVAL, "has no input of some name that stands under state or inputs");
    return rc;
}

static int bind_input(struct runner *runner, const struct pith_stage *stage,
                      const struct pith_graph *graph, const struct flow *flow,
                      struct pith_error *err)
{
    struct pith_tensor *input;
    uint32_t value;
    const struct pith_shape *declared;
    int rc;

    if (pith_graph_output_count(graph) < 1)
        return pith_fail(err, -EINVAL, "has no output");
    rc = bind_others(runner, stage, graph, err);
    if (rc < 0)
        return rc;
    input = &runner->inputs[runner->input];
    value = pith_graph_input(graph, runner->input);
    declared = pith_value_shape(graph, value);
    if (!declared)
        return pith_fail(err, -EINVAL, "has an input \"%s\" of unknown rank",
                         pith_value_name(graph, value));
    input->dtype = pith_value_dtype(graph, value);
    input->shape = *declared;
    if (pith_dtype_bits(input->dtype) == 0)
        return pith_fail(err, -ENOTSUP, "takes elements of type %s", pith_dtype_name(input->dtype));
    rc = bind_shape(&input->shape, flow, err);
    if (rc < 0)
        return rc;
    if (pith_shape_elements(&input->shape) > STAGE_MAX_ELEMENTS)
        return pith_fail(err, -EINVAL, "takes more than 1 GiB of input");
    input->bytes = (size_t) pith_tensor_bytes(input->dtype, &input->shape);
    runner->converts = input->dtype != PITH_FLOAT32;
    return 0;
}

static int compile(struct runner *runner, const struct pith_graph *graph,
                   const struct pith_chain_options *options, struct pith_error *err)
{
    const struct pith_engine_ops *chosen =
        options->engines ? options->engines[runner->graph_index] : NULL;
    struct pith_session_description description = {0};
    struct pith_shape shapes[PITH_STAGE_MAX_INPUTS + 1];
    struct pith_engine_options engine_options = {
        .size_bytes = sizeof engine_options,
        .threads = options->threads ? options->threads : 1,
        .profile = options->profile,
        .input_shapes = shapes,
        .options = options->engine_options,
    };
    int rc;

    for (size_t i = 0; i < runner->input_count; i++)
        shapes[i] = runner->inputs[i].shape;
    if (chosen && chosen != options->engine && options->graph_options)
        engine_options.options = options->graph_options[runner->graph_index];
    runner->engine = chosen ? chosen : options->engine;
    if (!runner->engine)
        return pith_fail(err, -EINVAL, "no engine was given");
    rc = runner->engine->compile(&no_host, graph, &engine_options, &runner->session, err);
    if (rc < 0)
        return rc;
    if (runner->engine->describe && runner->engine->describe(runner->session, &description) == 0)
        runner->session_bytes = description.arena_bytes + description.weight_bytes;
    return 0;
}

/* What is carried must fit where it goes, run after run. */
static int check_carried(const struct runner *runner, struct pith_error *err)
{
    for (size_t i = 0; i < runner->carried_count; i++) {
        const struct pith_tensor *from = &runner->outputs[runner->carried[i].output],
                                 *to = &runner->inputs[runner->carried[i].input];

        if (from->dtype != to->dtype || from->bytes != to->bytes)
            return pith_fail(
                err, -EINVAL, "carries an output of %zu bytes of %s to an input of %zu of %s",
                from->bytes, pith_dtype_name(from->dtype), to->bytes, pith_dtype_name(to->dtype));
    }
    return 0;
}

/* Runs over zeros and keeps what the first output is like. */
static int try_run(struct runner *runner, struct pith_error *err)
{
    struct pith_tensor *input = &runner->inputs[runner->input];
    struct pith_tensor zeros;
    const struct pith_tensor *output = &runner->outputs[0];
    int rc;

    rc = pith_tensor_alloc(&zeros, input->dtype, &input->shape, err);
    if (rc < 0)
        return rc;
    input->data = zeros.data;
    rc = runner->engine->run(runner->session, runner->inputs, runner->input_count, runner->outputs,
                             runner->output_count, err);
    if (rc == 0)
        rc = check_carried(runner, err);
    if (rc == 0 && (!pith_shape_known(&output->shape) || pith_shape_elements(&output->shape) < 1 ||
                    pith_shape_elements(&output->shape) > STAGE_MAX_ELEMENTS))
        rc = pith_fail(err, -EINVAL, "gives an output of no or too many values");
    if (rc == 0 && pith_dtype_bits(output->dtype) == 0)
        rc = pith_fail(err, -ENOTSUP, "gives elements of type %s", pith_dtype_name(output->dtype));
    if (rc == 0) {
        runner->output_shape = output->shape;
        runner->output_elements = pith_shape_elements(&output->shape);
    }
    if (rc == 0 && output->dtype != PITH_FLOAT32) {
        runner->converted = calloc((size_t) runner->output_elements, sizeof *runner->converted);
        if (!runner->converted)
            rc = -ENOMEM;
    }
    if (rc < 0 || !runner->converts) { /* else kept: what values are converted into */
        pith_tensor_free(&zeros);
        input->data = NULL;
    }
    return rc;
}

int runner_open(struct runner *runner, const struct pith_manifest *manifest,
                const struct pith_stage *stage, size_t graph_index, const struct pith_graph *graph,
                const struct pith_chain_options *options, const struct flow *flow,
                struct pith_error *err)
{
    int rc;

    runner->graph_index = graph_index;
    runner->name = manifest->graphs[graph_index].name;
    rc = bind_input(runner, stage, graph, flow, err);
    if (rc < 0)
        return pith_fail_in(err, rc, "graph \"%s\"", runner->name);
    runner->output_count = pith_graph_output_count(graph);
    runner->outputs = calloc(runner->output_count, sizeof *runner->outputs);
    if (!runner->outputs)
        return -ENOMEM;
    rc = compile(runner, graph, options, err);
    if (rc == 0)
        rc = try_run(runner, err);
    return rc < 0 ? pith_fail_in(err, rc, "graph \"%s\"", runner->name) : 0;
}

int64_t runner_input_elements(const struct runner *runner)
{
    return pith_shape_elements(&runner->inputs[runner->input].shape);
}

/* A state that is no number would spoil all that comes after: it begins anew. */
static int carry(struct runner *runner, struct pith_error *err)
{
    for (size_t i = 0; i < runner->carried_count; i++) {
        const struct pith_tensor *from = &runner->outputs[runner->carried[i].output],
                                 *to = &runner->inputs[runner->carried[i].input];

        if (from->bytes != to->bytes ||
            (from->dtype == PITH_FLOAT32 &&
             !floats_finite(from->data, (int64_t) (from->bytes / sizeof(float))))) {
            runner_reset(runner);
            return pith_fail(err, -EBADMSG,
                             "graph \"%s\" gave a state of another size, or with NaN or an "
                             "infinity; it begins anew",
                             runner->name);
        }
        memmove(to->data, from->data, to->bytes); /* an output may be an input, handed on */
    }
    return 0;
}

int runner_run(struct runner *runner, const float *data, pith_chain_tap *tap, void *tap_user,
               const float **out, struct pith_error *err)
{
    struct pith_tensor *input = &runner->inputs[runner->input];
    int rc = 0;

    if (runner->converts)
        floats_to_tensor(input, data);
    else
        input->data = (void *) (uintptr_t) data; /* a session only reads its inputs */
    if (tap)
        rc = tap(tap_user, runner->graph_index, runner->inputs, runner->input_count);
    if (rc == 0) {
        rc = runner->engine->run(runner->session, runner->inputs, runner->input_count,
                                 runner->outputs, runner->output_count, err);
        if (rc < 0)
            rc = pith_fail_in(err, rc, "graph \"%s\"", runner->name);
    }
    if (!runner->converts)
        input->data = NULL;
    if (rc == 0)
        rc = carry(runner, err);
    if (rc < 0)
        return rc;
    if (!pith_shape_equal(&runner->outputs[0].shape, &runner->output_shape))
        return pith_fail(err, -EBADMSG,
                         "graph \"%s\" gave an output of another shape than at first",
                         runner->name);
    *out = runner->outputs[0].data;
    if (runner->converted) {
        floats_from_tensor(runner->converted, &runner->outputs[0], 0, runner->output_elements);
        *out = runner->converted;
    }
    if (!floats_finite(*out, runner->output_elements))
        return pith_fail(err, -EBADMSG, "graph \"%s\" gave NaN or an infinity", runner->name);
    return 0;
}

void runner_reset(struct runner *runner)
{
    for (size_t i = 0; i < runner->carried_count; i++) {
        struct pith_tensor *state = &runner->inputs[runner->carried[i].input];

        memset(state->data, 0, state->bytes);
    }
}

bool runner_carries_alike(const struct runner *a, const struct runner *b)
{
    if (a->carried_count != b->carried_count)
        return false;
    for (size_t i = 0; i < a->carried_count; i++) {
        const struct pith_tensor *x = &a->inputs[a->carried[i].input],
                                 *y = &b->inputs[b->carried[i].input];

        if (x->dtype != y->dtype || x->bytes != y->bytes)
            return false;
    }
    return true;
}

void runner_take_state(struct runner *runner, const struct runner *from)
{
    for (size_t i = 0; i < runner->carried_count; i++)
        memcpy(runner->inputs[runner->carried[i].input].data,
               from->inputs[from->carried[i].input].data,
               runner->inputs[runner->carried[i].input].bytes);
}

uint64_t runner_memory_bytes(const struct runner *runner)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < runner->input_count; i++)
        bytes += i != runner->input || runner->converts ? runner->inputs[i].bytes : 0;
    return bytes;
}

void runner_close(struct runner *runner)
{
    if (runner->session)
        runner->engine->close(runner->session);
    for (size_t i = 0; i < runner->input_count; i++)
        pith_tensor_free(&runner->inputs[i]);
    free(runner->converted);
    free(runner->outputs);
    *runner = (struct runner){0};
}
