/* Values: names, types, constants, quantizations, and who uses them. */
#include "libpith/graph/graph_internal.h"
#include "libpith/graph/grids.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GENERATED_NAME_BYTES 32

struct value *graph_value(const struct pith_graph *graph, uint32_t value)
{
    assert(value < graph->value_count);
    return graph->values[value];
}

/* ---- reading ---- */

const char *pith_value_name(const struct pith_graph *graph, uint32_t value)
{
    return graph_value(graph, value)->name;
}

int32_t pith_value_dtype(const struct pith_graph *graph, uint32_t value)
{
    return graph_value(graph, value)->dtype;
}

const struct pith_shape *pith_value_shape(const struct pith_graph *graph, uint32_t value)
{
    const struct value *of = graph_value(graph, value);

    return of->has_shape ? &of->shape : NULL;
}

const struct pith_tensor *pith_value_constant(const struct pith_graph *graph, uint32_t value)
{
    const struct value *of = graph_value(graph, value);

    return of->constant.backing ? &of->constant.tensor : NULL;
}

const struct pith_quantization *pith_value_quantization(const struct pith_graph *graph,
                                                        uint32_t value)
{
    return graph_value(graph, value)->quantization;
}

uint32_t pith_value_producer(const struct pith_graph *graph, uint32_t value)
{
    return graph_value(graph, value)->producer;
}

size_t pith_value_use_count(const struct pith_graph *graph, uint32_t value)
{
    const struct value *of = graph_value(graph, value);

    return of->user_count + of->output_uses;
}

const uint32_t *pith_value_users(const struct pith_graph *graph, uint32_t value, size_t *out_count)
{
    const struct value *of = graph_value(graph, value);

    *out_count = of->user_count;
    return of->users;
}

bool pith_value_is_input(const struct pith_graph *graph, uint32_t value)
{
    return graph_value(graph, value)->is_input;
}

bool pith_value_is_output(const struct pith_graph *graph, uint32_t value)
{
    return graph_value(graph, value)->output_uses > 0;
}

bool pith_value_is_captured(const struct pith_graph *graph, uint32_t value)
{
    return graph_value(graph, value)->is_captured;
}

/* ---- writing ---- */

/* A name that no value of the graph has. */
static const char *make_name(struct pith_graph *graph, char text[GENERATED_NAME_BYTES])
{
    do
        (void) snprintf(text, GENERATED_NAME_BYTES, "pith_%lu", (unsigned long) graph->next_name++);
    while (pith_graph_find_value(graph, text) != PITH_NO_VALUE);
    return text;
}

static int check_type(int32_t dtype, const struct pith_shape *shape, const char *name,
                      struct pith_error *err)
{
    if (dtype != PITH_DTYPE_NONE && !strcmp(pith_dtype_name(dtype), "unknown"))
        return pith_fail(err, -EINVAL, "value \"%s\": %d is no element type", name, (int) dtype);
    if (!shape)
        return 0;
    if (shape->rank > PITH_MAX_RANK)
        return pith_fail(err, -EINVAL, "value \"%s\" has rank %u; %d is the most", name,
                         (unsigned) shape->rank, PITH_MAX_RANK);
    for (uint32_t i = 0; i < shape->rank; i++)
        if (shape->dim[i] < PITH_DIM_UNKNOWN)
            return pith_fail(err, -EINVAL, "value \"%s\": dimension %u is %lld", name, (unsigned) i,
                             (long long) shape->dim[i]);
    return 0;
}

static int reserve_value(struct pith_graph *graph)
{
    size_t capacity = graph->value_capacity;
    int rc = graph->value_count < PITH_NO_VALUE - 2 ? 0 : -EOVERFLOW;

    if (rc == 0)
        rc = grow(&graph->values, sizeof(struct value *), graph->value_count, &capacity);
    if (rc == 0)
        graph->value_capacity = (uint32_t) capacity;
    return rc;
}

static void store_type(struct value *value, int32_t dtype, const struct pith_shape *shape)
{
    value->dtype = dtype;
    value->has_shape = shape != NULL;
    if (shape)
        value->shape = pith_shape_of(shape->rank, shape->dim);
}

int pith_graph_add_value(struct pith_graph *graph, const char *name, int32_t dtype,
                         const struct pith_shape *shape, uint32_t *out_value,
                         struct pith_error *err)
{
    char made[GENERATED_NAME_BYTES];
    struct value *value;
    int rc;

    if (!name)
        name = make_name(graph, made);
    else if (pith_graph_find_value(graph, name) != PITH_NO_VALUE)
        return pith_fail(err, -EEXIST, "two values have the name \"%s\"", name);
    rc = check_type(dtype, shape, name, err);
    if (rc < 0)
        return rc;
    rc = reserve_value(graph);
    value = rc == 0 ? arena_alloc(&graph->arena, sizeof *value) : NULL;
    if (value)
        value->name = arena_text(&graph->arena, name);
    if (!value || !value->name)
        return pith_fail(err, -ENOMEM, "no memory for value \"%s\"", name);
    value->producer = PITH_NO_NODE;
    store_type(value, dtype, shape);
    graph->values[graph->value_count] = value;
    rc = graph_index_name(graph, graph->value_count);
    if (rc < 0)
        return pith_fail(err, rc, "no memory for value \"%s\"", name);
    *out_value = graph->value_count++;
    return 0;
}

int pith_graph_add_constant(struct pith_graph *graph, const char *name,
                            const struct pith_tensor *constant, uint32_t *out_value,
                            struct pith_error *err)
{
    struct constant copy = {0};
    int rc = constant_copy(&copy, constant);
    uint32_t value;

    if (rc < 0)
        return pith_fail(err, rc, "constant \"%s\" can't be copied: %s", name ? name : "",
                         rc == -ENOMEM ? "no memory" : "its bytes don't match its shape");
    rc = pith_graph_add_value(graph, name, constant->dtype, &constant->shape, &value, err);
    if (rc < 0) {
        constant_clear(&copy);
        return rc;
    }
    graph->values[value]->constant = copy;
    *out_value = value;
    return 0;
}

int pith_value_set_name(struct pith_graph *graph, uint32_t value, const char *name)
{
    struct value *of = graph_value(graph, value);
    uint32_t other = pith_graph_find_value(graph, name);
    const char *old = of->name;
    char *copy;
    int rc;

    if (other != PITH_NO_VALUE)
        return other == value ? 0 : -EEXIST;
    copy = arena_text(&graph->arena, name);
    if (!copy)
        return -ENOMEM;
    graph_unindex_name(graph, value);
    of->name = copy;
    rc = graph_index_name(graph, value);
    if (rc < 0) {
        of->name = old;
        (void) graph_index_name(graph, value); /* its old slot is free, so this can't fail */
    }
    return rc;
}

int pith_value_set_type(struct pith_graph *graph, uint32_t value, int32_t dtype,
                        const struct pith_shape *shape)
{
    struct value *of = graph_value(graph, value);
    int rc = check_type(dtype, shape, of->name, NULL);

    if (rc < 0)
        return rc;
    store_type(of, dtype, shape);
    return 0;
}

int pith_value_set_dim_name(struct pith_graph *graph, uint32_t value, uint32_t axis,
                            const char *name)
{
    struct value *of = graph_value(graph, value);
    const char *copy;

    assert(axis < PITH_MAX_RANK);
    copy = arena_text(&graph->arena, name);
    if (copy && !of->dim_names)
        of->dim_names = arena_alloc(&graph->arena, PITH_MAX_RANK * sizeof *of->dim_names);
    if (!copy || !of->dim_names)
        return -ENOMEM;
    of->dim_names[axis] = copy;
    of->dim_names_rank = of->shape.rank;
    return 0;
}

int pith_value_set_declared(struct pith_graph *graph, uint32_t value,
                            const struct pith_shape *shape)
{
    struct pith_shape *copy = arena_alloc(&graph->arena, sizeof *copy);

    if (!copy)
        return -ENOMEM;
    *copy = *shape;
    graph_value(graph, value)->declared = copy;
    return 0;
}

const struct pith_shape *pith_value_declared(const struct pith_graph *graph, uint32_t value)
{
    return graph_value(graph, value)->declared;
}

const char *pith_value_dim_name(const struct pith_graph *graph, uint32_t value, uint32_t axis)
{
    const struct value *of = graph_value(graph, value);

    return of->dim_names && of->has_shape && of->shape.rank == of->dim_names_rank &&
                   axis < of->shape.rank
               ? of->dim_names[axis]
               : NULL;
}

/* After a constant was put behind the value. */
static void constant_arrived(struct pith_graph *graph, uint32_t value)
{
    struct value *of = graph_value(graph, value);
    int32_t dtype = of->constant.tensor.dtype;

    if (of->quantization && of->quantization->dtype == dtype)
        dtype = of->dtype; /* integers that stand for reals */
    store_type(of, dtype, &of->constant.tensor.shape);
    if (of->is_input)
        graph_forget_input(graph, value);
}

int pith_value_set_constant(struct pith_graph *graph, uint32_t value,
                            const struct pith_tensor *constant)
{
    struct value *of = graph_value(graph, value);
    int rc;

    if (!constant) {
        constant_clear(&of->constant);
        return 0;
    }
    rc = constant_copy(&of->constant, constant);
    if (rc == 0)
        constant_arrived(graph, value);
    return rc;
}

int pith_value_take_constant(struct pith_graph *graph, uint32_t value, struct pith_tensor *taken)
{
    int rc = constant_take(&graph_value(graph, value)->constant, taken);

    if (rc < 0)
        return rc;
    constant_arrived(graph, value);
    *taken = (struct pith_tensor){0};
    return 0;
}

int pith_value_adopt_constant(struct pith_graph *graph, uint32_t value,
                              const struct pith_tensor *constant, struct pith_backing *backing)
{
    constant_share(&graph_value(graph, value)->constant, constant, backing);
    constant_arrived(graph, value);
    return 0;
}

struct pith_quantization *quantization_copy(const struct pith_quantization *from)
{
    struct pith_quantization *copy;
    float *scale;
    int32_t *zero_point;

    if (from->count > SIZE_MAX / 16)
        return NULL;
    copy = malloc(sizeof *copy + from->count * (sizeof *scale + sizeof *zero_point));
    if (!copy)
        return NULL;
    *copy = *from;
    scale = (float *) (copy + 1);
    zero_point = (int32_t *) (scale + from->count);
    memcpy(scale, from->scale, from->count * sizeof *scale);
    memcpy(zero_point, from->zero_point, from->count * sizeof *zero_point);
    copy->scale = scale;
    copy->zero_point = zero_point;
    return copy;
}

static bool is_float_type(int32_t dtype)
{
    return dtype == PITH_FLOAT32 || dtype == PITH_FLOAT16 || dtype == PITH_BFLOAT16;
}

int pith_value_set_quantization(struct pith_graph *graph, uint32_t value,
                                const struct pith_quantization *quantization)
{
    struct value *of = graph_value(graph, value);
    struct pith_quantization *copy = NULL;

    if (quantization) {
        copy = quantization_copy(quantization);
        if (!copy)
            return -ENOMEM;
    }
    free(of->quantization);
    of->quantization = copy;
    if (copy && !is_float_type(of->dtype))
        of->dtype = PITH_FLOAT32;
    if (!copy && of->constant.backing)
        of->dtype = of->constant.tensor.dtype;
    return 0;
}

int pith_graph_take_grids(struct pith_graph *graph, struct pith_grids *out)
{
    size_t count = 0;

    for (uint32_t v = 0; v < graph->value_count; v++)
        count += graph->values[v]->quantization != NULL;
    *out = (struct pith_grids){0};
    if (count == 0)
        return 0;
    out->grid = malloc(count * sizeof *out->grid);
    if (!out->grid)
        return -ENOMEM;
    for (uint32_t v = 0; v < graph->value_count; v++) {
        struct value *value = graph->values[v];

        if (value->quantization)
            out->grid[out->count++] = value->quantization;
        value->quantization = NULL;
    }
    return 0;
}

void pith_grids_done(struct pith_grids *grids)
{
    for (size_t i = 0; i < grids->count; i++)
        free(grids->grid[i]);
    free(grids->grid);
    *grids = (struct pith_grids){0};
}

/* ---- users ---- */

int value_add_user(struct pith_graph *graph, uint32_t value, uint32_t node)
{
    struct value *of = graph_value(graph, value);
    int rc = grow(&of->users, sizeof *of->users, of->user_count, &of->user_capacity);

    if (rc == 0)
        of->users[of->user_count++] = node;
    return rc;
}

void value_remove_user(struct pith_graph *graph, uint32_t value, uint32_t node)
{
    struct value *of = graph_value(graph, value);

    for (size_t i = of->user_count; i-- > 0;)
        if (of->users[i] == node) {
            of->user_count--;
            memmove(of->users + i, of->users + i + 1, (of->user_count - i) * sizeof *of->users);
            return;
        }
}
