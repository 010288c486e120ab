/* One operator by itself: a graph of one node is inferred, its kernel prepared and run. Inputs are
 * given as numbers, of whatever type. In `dynamic` mode the inputs' data is not there before the
 * run, as in the middle of a graph. */
#ifndef PITH_TESTS_ONE_STEP_H
#define PITH_TESTS_ONE_STEP_H

#include "tests/testing.h"

#include <errno.h>
#include <pith/graph.h>

#include "libpith/graph/operator.h"
#include "libpith/kernels/kernel.h"

#define ONE_STEP_OUTPUTS 4
#define DIMS(...)        (const int64_t[]){__VA_ARGS__}, (uint32_t) (sizeof((int64_t[]){__VA_ARGS__}) / 8)
#define SCALAR           NULL, 0
#define NUMBERS(...)                                                                               \
    (const double[])                                                                               \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

struct one_step {
    struct pith_graph *graph;
    uint32_t node;
    size_t input_count, output_count;
    uint32_t value[PITH_STEP_PORTS], output_value[ONE_STEP_OUTPUTS];
    struct pith_tensor data[PITH_STEP_PORTS]; /* own */
    struct pith_tensor input[PITH_STEP_PORTS], output[PITH_STEP_PORTS];
    bool dynamic;
    struct pith_step step;
    struct pith_error err;
};

static inline void one_step_init(struct one_step *s, int64_t opset)
{
    *s = (struct one_step){0};
    assert_int_equal(pith_graph_new(&s->graph, "test", NULL), 0);
    assert_int_equal(pith_graph_set_opset(s->graph, "", opset), 0);
}

static inline struct pith_tensor *one_step_input(struct one_step *s, int32_t dtype,
                                                 const int64_t *dims, uint32_t rank,
                                                 const double *numbers)
{
    struct pith_shape shape = {.rank = rank};
    struct pith_tensor *tensor = &s->data[s->input_count];

    if (rank)
        memcpy(shape.dim, dims, rank * sizeof *dims);
    assert_ok(pith_tensor_alloc(tensor, dtype, &shape, &s->err), &s->err);
    for (int64_t i = 0; numbers && i < pith_shape_elements(&shape); i++)
        pith_tensor_set(tensor, i, numbers[i]);
    assert_ok(
        pith_graph_add_value(s->graph, NULL, dtype, &shape, &s->value[s->input_count], &s->err),
        &s->err);
    s->input_count++;
    return tensor;
}

static inline void one_step_left_out(struct one_step *s)
{
    s->value[s->input_count++] = PITH_NO_VALUE;
}

/* The node is there from here on; attributes may be set on it. */
static inline void one_step_node(struct one_step *s, const char *op, size_t output_count)
{
    s->output_count = output_count;
    for (size_t i = 0; i < output_count; i++)
        assert_ok(pith_graph_add_value(s->graph, NULL, PITH_DTYPE_NONE, NULL, &s->output_value[i],
                                       &s->err),
                  &s->err);
    assert_ok(pith_graph_add_node(s->graph, "", op, "n", s->value, s->input_count, s->output_value,
                                  output_count, &s->node, &s->err),
              &s->err);
}

static inline void one_step_int(struct one_step *s, const char *name, int64_t value)
{
    assert_int_equal(pith_node_set_int(s->graph, s->node, name, value), 0);
}

static inline int one_step_resize(struct pith_step *step, size_t index,
                                  const struct pith_shape *shape, struct pith_error *err)
{
    int32_t dtype = step->output[index].dtype;

    pith_tensor_free(&step->output[index]);
    return pith_tensor_alloc(&step->output[index], dtype, shape, err);
}

static inline int one_step_infer(struct one_step *s, bool with_values)
{
    for (size_t i = 0; i < s->input_count; i++)
        if (with_values && s->value[i] != PITH_NO_VALUE)
            assert_int_equal(pith_value_set_constant(s->graph, s->value[i], &s->data[i]), 0);
    return pith_graph_infer_node(s->graph, s->node, &s->err);
}

static inline bool one_step_shapes_known(const struct one_step *s)
{
    for (size_t i = 0; i < s->output_count; i++) {
        const struct pith_shape *shape = pith_value_shape(s->graph, s->output_value[i]);

        if (!shape || !pith_shape_known(shape))
            return false;
    }
    return true;
}

static inline int one_step_prepare(struct one_step *s, bool with_data)
{
    int32_t types[PITH_STEP_PORTS] = {0};
    const char *why = "";

    pith_step_done(&s->step);
    memset(s->input, 0, sizeof s->input);
    for (size_t i = 0; i < PITH_STEP_PORTS; i++)
        pith_tensor_free(&s->output[i]);
    for (size_t i = 0; i < s->input_count; i++) {
        s->input[i] = s->data[i];
        types[i] = s->data[i].dtype;
        if (!with_data)
            s->input[i].data = NULL;
    }
    s->step = (struct pith_step){.graph = s->graph,
                                 .node = s->node,
                                 .opset = pith_graph_opset(s->graph, ""),
                                 .name = "n",
                                 .input_count = s->input_count,
                                 .output_count = s->output_count,
                                 .input = s->input,
                                 .output = s->output,
                                 .resize = one_step_resize};
    for (size_t i = 0; i < s->output_count; i++) {
        const struct pith_shape *shape = pith_value_shape(s->graph, s->output_value[i]);

        s->output[i].dtype = pith_value_dtype(s->graph, s->output_value[i]);
        if (shape)
            s->output[i].shape = *shape;
    }
    s->step.kernel = pith_kernel_find("", pith_node_op(s->graph, s->node), s->step.opset, types,
                                      s->input_count, s->output[0].dtype, false, &why);
    if (!s->step.kernel)
        return pith_fail(&s->err, -ENOTSUP, "%s", why);
    return pith_step_prepare(&s->step, &s->err);
}

/* 0, or what inference, prepare or run said. The outputs are in s->output. */
static inline int one_step_run(struct one_step *s)
{
    int rc = one_step_infer(s, !s->dynamic);

    if (rc == 0 && s->dynamic && !one_step_shapes_known(s))
        rc = one_step_infer(s, true);
    if (rc == 0)
        rc = one_step_prepare(s, !s->dynamic);
    if (rc == -EAGAIN)
        rc = one_step_prepare(s, true);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < s->input_count; i++)
        s->input[i].data = s->data[i].data;
    for (size_t i = 0; i < s->output_count; i++)
        if (!(s->step.kernel->flags & PITH_KERNEL_SIZES_OUTPUT)) {
            struct pith_shape shape = s->output[i].shape;

            assert_ok(pith_tensor_alloc(&s->output[i], s->output[i].dtype, &shape, &s->err),
                      &s->err);
        }
    if (s->step.view >= 0) {
        memcpy(s->output[0].data, s->input[s->step.view].data, s->input[s->step.view].bytes);
        return 0;
    }
    if (s->step.scratch_bytes) {
        s->step.scratch = malloc(s->step.scratch_bytes);
        assert_non_null(s->step.scratch);
    }
    rc = s->step.kernel->run(&s->step, &s->err);
    free(s->step.scratch);
    return rc;
}

static inline void one_step_done(struct one_step *s)
{
    pith_step_done(&s->step);
    for (size_t i = 0; i < PITH_STEP_PORTS; i++) {
        pith_tensor_free(&s->data[i]);
        pith_tensor_free(&s->output[i]);
    }
    pith_graph_free(s->graph);
}

/* Runs, compares output 0 exactly and ends. */
static inline void one_step_gives(struct one_step *s, int64_t count, const double *want)
{
    assert_ok(one_step_run(s), &s->err);
    assert_int_equal(pith_shape_elements(&s->output[0].shape), count);
    for (int64_t i = 0; i < count; i++)
        if (pith_tensor_get(&s->output[0], i) != want[i])
            fail_msg("%s: element %lld is %.17g, not %.17g", s->step.kernel->op, (long long) i,
                     pith_tensor_get(&s->output[0], i), want[i]);
    one_step_done(s);
}

/* Runs, expects a refusal with that sentence, and ends. */
static inline void one_step_refuses(struct one_step *s, const char *sentence)
{
    assert_int_equal(one_step_run(s), -EINVAL);
    assert_string_equal(pith_error_text(&s->err), sentence);
    one_step_done(s);
}

#endif
