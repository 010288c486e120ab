/* A graph in a chain: its input bound to what the stages before give, its session, its outputs as
 * float32. */
#include "libpith/pipeline/stages.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct pith_host no_host = {.size_bytes = sizeof no_host};

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
    if (unknown_count > 1)
        return pith_fail(
            err, -EINVAL,
            "takes %s: more than a batch and one dimension are open; give them in the model", text);
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

static int bind_input(struct runner *runner, const struct pith_graph *graph,
                      const struct flow *flow, struct pith_error *err)
{
    uint32_t value;
    const struct pith_shape *declared;
    int rc;

    if (pith_graph_input_count(graph) != 1)
        return pith_fail(err, -ENOTSUP, "has %zu inputs; a stage gives one",
                         pith_graph_input_count(graph));
    if (pith_graph_output_count(graph) < 1)
        return pith_fail(err, -EINVAL, "has no output");
    value = pith_graph_input(graph, 0);
    declared = pith_value_shape(graph, value);
    if (!declared)
        return pith_fail(err, -EINVAL, "has an input \"%s\" of unknown rank",
                         pith_value_name(graph, value));
    runner->input.dtype = pith_value_dtype(graph, value);
    runner->input.shape = *declared;
    if (pith_dtype_bits(runner->input.dtype) == 0)
        return pith_fail(err, -ENOTSUP, "takes elements of type %s",
                         pith_dtype_name(runner->input.dtype));
    rc = bind_shape(&runner->input.shape, flow, err);
    if (rc < 0)
        return rc;
    if (pith_shape_elements(&runner->input.shape) > STAGE_MAX_ELEMENTS)
        return pith_fail(err, -EINVAL, "takes more than 1 GiB of input");
    runner->input.bytes = (size_t) pith_tensor_bytes(runner->input.dtype, &runner->input.shape);
    runner->converts = runner->input.dtype != PITH_FLOAT32;
    return 0;
}

static int compile(struct runner *runner, const struct pith_graph *graph,
                   const struct pith_chain_options *options, struct pith_error *err)
{
    const struct pith_engine_ops *chosen =
        options->engines ? options->engines[runner->graph_index] : NULL;
    struct pith_session_description description = {0};
    struct pith_engine_options engine_options = {
        .size_bytes = sizeof engine_options,
        .threads = options->threads ? options->threads : 1,
        .profile = options->profile,
        .input_shapes = &runner->input.shape,
        .options = options->engine_options,
    };
    int rc;

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

/* Runs over zeros and keeps what the first output is like. */
static int try_run(struct runner *runner, struct pith_error *err)
{
    struct pith_tensor zeros;
    const struct pith_tensor *output = &runner->outputs[0];
    int rc;

    rc = pith_tensor_alloc(&zeros, runner->input.dtype, &runner->input.shape, err);
    if (rc < 0)
        return rc;
    rc =
        runner->engine->run(runner->session, &zeros, 1, runner->outputs, runner->output_count, err);
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
    if (rc == 0 && runner->converts)
        runner->input.data = zeros.data; /* kept: what values are converted into */
    else
        pith_tensor_free(&zeros);
    return rc;
}

int runner_open(struct runner *runner, const struct pith_manifest *manifest, size_t graph_index,
                const struct pith_graph *graph, const struct pith_chain_options *options,
                const struct flow *flow, struct pith_error *err)
{
    int rc;

    runner->graph_index = graph_index;
    runner->name = manifest->graphs[graph_index].name;
    rc = bind_input(runner, graph, flow, err);
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
    return pith_shape_elements(&runner->input.shape);
}

int runner_run(struct runner *runner, const float *data, pith_chain_tap *tap, void *tap_user,
               const float **out, struct pith_error *err)
{
    struct pith_tensor input = runner->input;
    int rc;

    if (runner->converts)
        floats_to_tensor(&runner->input, data);
    else
        input.data = (void *) (uintptr_t) data; /* a session only reads its inputs */
    if (tap) {
        rc = tap(tap_user, runner->graph_index, &input, 1);
        if (rc < 0)
            return rc;
    }
    rc =
        runner->engine->run(runner->session, &input, 1, runner->outputs, runner->output_count, err);
    if (rc < 0)
        return pith_fail_in(err, rc, "graph \"%s\"", runner->name);
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

void runner_close(struct runner *runner)
{
    if (runner->session)
        runner->engine->close(runner->session);
    if (runner->converts)
        pith_tensor_free(&runner->input);
    free(runner->converted);
    free(runner->outputs);
    *runner = (struct runner){0};
}
