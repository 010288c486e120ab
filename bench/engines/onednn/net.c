/* The list, its buffers and the walk over the graph; what an operator becomes is nodes.c. Buffers
 * get their places in the arena at the end, when it is known which steps touch them. */
#include "bench/engines/onednn/net.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 64

int net_status(dnnl_status_t status, const char **why)
{
    switch (status) {
    case dnnl_success:
        return 0;
    case dnnl_out_of_memory:
        return -ENOMEM;
    default:
        *why = "oneDNN has no primitive for these types, shapes or parameters";
        return -ENOTSUP;
    }
}

/* Room for one more at the end of a list; NULL where there is no memory. */
static void *append(void **list, size_t *count, size_t *room, size_t each)
{
    if (*count == *room) {
        const size_t more = *room ? 2 * *room : 64;
        void *grown = realloc(*list, more * each);

        if (!grown)
            return NULL;
        *list = grown;
        *room = more;
    }
    return (char *) *list + (*count)++ * each;
}

/* ---- descriptors ---- */

static int describe(dnnl_memory_desc_t *out, const struct pith_shape *shape, dnnl_data_type_t type,
                    dnnl_format_tag_t tag, const char **why)
{
    dnnl_dims_t dims;

    if (!shape || shape->rank == 0 || shape->rank > 6 || !pith_shape_known(shape) ||
        pith_shape_elements(shape) == 0) {
        *why = "a value of it is a scalar, empty, of more than 6 dimensions or of no known shape";
        return -ENOTSUP;
    }
    for (uint32_t i = 0; i < shape->rank; i++)
        dims[i] = shape->dim[i];
    return net_status(dnnl_memory_desc_init_by_tag(out, (int) shape->rank, dims, type, tag), why);
}

int net_any(dnnl_memory_desc_t *out, const struct pith_shape *shape, dnnl_data_type_t type,
            const char **why)
{
    return describe(out, shape, type, dnnl_format_tag_any, why);
}

int net_plain(dnnl_memory_desc_t *out, const struct pith_shape *shape, dnnl_data_type_t type,
              const char **why)
{
    static const dnnl_format_tag_t tags[] = {dnnl_a,    dnnl_a,     dnnl_ab,    dnnl_abc,
                                             dnnl_abcd, dnnl_abcde, dnnl_abcdef};

    return describe(out, shape, type, tags[shape && shape->rank <= 6 ? shape->rank : 0], why);
}

/* ---- memory ---- */

static int new_buffer(struct net *net, const dnnl_memory_desc_t *desc, uint32_t *out)
{
    struct buffer *buffer = append((void **) &net->buffers, &net->buffer_count, &net->buffer_room,
                                   sizeof *net->buffers);

    if (!buffer)
        return -ENOMEM;
    *buffer = (struct buffer){.bytes = dnnl_memory_desc_get_size(desc),
                              .input = -1,
                              .first = (int) net->step_count,
                              .last = (int) net->step_count};
    *out = (uint32_t) net->buffer_count - 1;
    return 0;
}

/* A memory object over a buffer, for the step that comes next. */
static int place(struct net *net, const dnnl_memory_desc_t *desc, uint32_t buffer,
                 dnnl_memory_t *out, const char **why)
{
    struct placed *placed =
        append((void **) &net->placed, &net->placed_count, &net->placed_room, sizeof *placed);

    if (!placed)
        return -ENOMEM;
    *placed = (struct placed){.buffer = buffer};
    if (buffer != UINT32_MAX)
        net->buffers[buffer].last = (int) net->step_count;
    int rc = net_status(
        dnnl_memory_create(&placed->memory, desc, net->engine,
                           buffer == UINT32_MAX ? DNNL_MEMORY_ALLOCATE : DNNL_MEMORY_NONE),
        why);
    *out = placed->memory;
    return rc;
}

int net_step(struct net *net, dnnl_primitive_desc_t pd, const struct net_argument *arguments,
             int count, const char **why)
{
    struct step *step =
        append((void **) &net->steps, &net->step_count, &net->step_room, sizeof *step);
    int rc = step ? 0 : -ENOMEM;

    if (rc == 0) {
        *step = (struct step){.argument_count = count};
        for (int i = 0; i < count; i++)
            step->arguments[i] = (dnnl_exec_arg_t){arguments[i].which, arguments[i].memory};
        rc = net_status(dnnl_primitive_create(&step->primitive, pd), why);
    }
    (void) dnnl_primitive_desc_destroy(pd);
    return rc;
}

static int reorder_desc(struct net *net, const dnnl_memory_desc_t *from, const struct grid *has,
                        const dnnl_memory_desc_t *to, const struct grid *wants,
                        dnnl_primitive_desc_t *out, const char **why)
{
    const float scale =
        (has->quantized ? has->scale : 1.0F) / (wants->quantized ? wants->scale : 1.0F);
    const int32_t from_zero = has->quantized ? has->zero_point : 0,
                  to_zero = wants->quantized ? wants->zero_point : 0;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(&attr);

    /* The same step between numbers: only the difference of zero points is left, for one of them.
     */
    const bool shifted =
        scale == 1.0F && from_zero != to_zero && has->quantized && wants->quantized;

    if (status == dnnl_success && scale != 1.0F)
        status = dnnl_primitive_attr_set_output_scales(attr, 1, 0, &scale);
    if (status == dnnl_success && (shifted ? from_zero > to_zero : from_zero != 0)) {
        const int32_t zero = shifted ? from_zero - to_zero : from_zero;

        status = dnnl_primitive_attr_set_zero_points(attr, DNNL_ARG_FROM, 1, 0, &zero);
    }
    if (status == dnnl_success && (shifted ? to_zero > from_zero : to_zero != 0)) {
        const int32_t zero = shifted ? to_zero - from_zero : to_zero;

        status = dnnl_primitive_attr_set_zero_points(attr, DNNL_ARG_TO, 1, 0, &zero);
    }
    if (status == dnnl_success)
        status = dnnl_reorder_primitive_desc_create(out, from, net->engine, to, net->engine, attr);
    (void) dnnl_primitive_attr_destroy(attr);
    return net_status(status, why);
}

static int reorder(struct net *net, struct value *from, const dnnl_memory_desc_t *desc,
                   const struct grid *grid, uint32_t *out_buffer, const char **why)
{
    struct net_argument arguments[2] = {{.which = DNNL_ARG_FROM}, {.which = DNNL_ARG_TO}};
    dnnl_primitive_desc_t pd = NULL;
    int rc = reorder_desc(net, &from->desc, &from->grid, desc, grid, &pd, why);

    if (rc == 0)
        rc = place(net, &from->desc, from->buffer, &arguments[0].memory, why);
    if (rc == 0)
        rc = new_buffer(net, desc, out_buffer);
    if (rc == 0)
        rc = place(net, desc, *out_buffer, &arguments[1].memory, why);
    if (rc < 0) {
        if (pd)
            (void) dnnl_primitive_desc_destroy(pd);
        return rc;
    }
    return net_step(net, pd, arguments, 2, why);
}

static bool same_grid(const struct grid *a, const struct grid *b)
{
    return a->quantized == b->quantized &&
           (!a->quantized || (a->scale == b->scale && a->zero_point == b->zero_point));
}

int net_read(struct net *net, uint32_t value, const dnnl_memory_desc_t *desc,
             const struct grid *grid, dnnl_memory_t *out, const char **why)
{
    struct value *v = &net->values[value];

    if (!dnnl_memory_desc_equal(&v->desc, desc) || !same_grid(&v->grid, grid)) {
        uint32_t buffer;
        int rc = reorder(net, v, desc, grid, &buffer, why);

        if (rc < 0)
            return rc;
        *v = (struct value){.made = true, .desc = *desc, .grid = *grid, .buffer = buffer};
    }
    return place(net, &v->desc, v->buffer, out, why);
}

int net_write(struct net *net, uint32_t value, const dnnl_memory_desc_t *desc,
              const struct grid *grid, dnnl_memory_t *out, const char **why)
{
    struct value *v = &net->values[value];
    int rc = new_buffer(net, desc, &v->buffer);

    if (rc < 0)
        return rc;
    v->made = true;
    v->desc = *desc;
    v->grid = *grid;
    return place(net, desc, v->buffer, out, why);
}

int net_take_over(struct net *net, uint32_t value, uint32_t from, bool from_dies,
                  const dnnl_memory_desc_t *desc, const struct grid *grid, dnnl_memory_t *out,
                  const char **why)
{
    struct value *old = &net->values[from], *v = &net->values[value];
    uint32_t buffer = old->buffer;
    int rc = 0;

    if (!from_dies || old->shared || net->buffers[buffer].input >= 0 ||
        !dnnl_memory_desc_equal(&old->desc, desc))
        rc = reorder(net, old, desc, &old->grid, &buffer, why);
    if (rc < 0)
        return rc;
    *v = (struct value){.made = true, .desc = *desc, .grid = *grid, .buffer = buffer};
    return place(net, desc, buffer, out, why);
}

/* Runs a primitive once, now. */
static int run_now(struct net *net, dnnl_primitive_desc_t pd, dnnl_memory_t from, dnnl_memory_t to,
                   const char **why)
{
    const dnnl_exec_arg_t arguments[2] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    dnnl_primitive_t primitive = NULL;
    dnnl_status_t status = dnnl_primitive_create(&primitive, pd);

    if (status == dnnl_success)
        status = dnnl_primitive_execute(primitive, net->stream, 2, arguments);
    if (status == dnnl_success)
        status = dnnl_stream_wait(net->stream);
    if (primitive)
        (void) dnnl_primitive_destroy(primitive);
    return net_status(status, why);
}

int net_constant(struct net *net, const dnnl_memory_desc_t *plain, const void *data,
                 const dnnl_memory_desc_t *desc, dnnl_memory_t *out, const char **why)
{
    const struct grid none = {0};
    dnnl_primitive_desc_t pd = NULL;
    dnnl_memory_t from = NULL;
    int rc = place(net, desc, UINT32_MAX, out, why);

    if (rc == 0)
        rc = net_status(dnnl_memory_create(&from, plain, net->engine, (void *) data), why);
    if (rc == 0)
        rc = reorder_desc(net, plain, &none, desc, &none, &pd, why);
    if (rc == 0)
        rc = run_now(net, pd, from, *out, why);
    if (pd)
        (void) dnnl_primitive_desc_destroy(pd);
    if (from)
        (void) dnnl_memory_destroy(from);
    net->weight_bytes += dnnl_memory_desc_get_size(desc);
    return rc;
}

/* ---- the arena ---- */

static bool meet(const struct buffer *a, const struct buffer *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* The lowest place that is free while the buffer lives; those before it in the list have theirs. */
static size_t find_place(const struct net *net, size_t index)
{
    const struct buffer *buffer = &net->buffers[index];
    size_t offset = 0;

    for (bool moved = true; moved;) {
        moved = false;
        for (size_t i = 0; i < index; i++) {
            const struct buffer *other = &net->buffers[i];
            const size_t end =
                (other->offset + other->bytes + ALIGNMENT - 1) & ~(size_t) (ALIGNMENT - 1);

            if (other->input < 0 && meet(buffer, other) && other->offset < offset + buffer->bytes &&
                offset < end) {
                offset = end;
                moved = true;
            }
        }
    }
    return offset;
}

static int place_buffers(struct net *net)
{
    for (size_t i = 0; i < net->buffer_count; i++) {
        struct buffer *buffer = &net->buffers[i];

        if (buffer->input >= 0)
            continue;
        buffer->offset = find_place(net, i);
        if (buffer->offset + buffer->bytes > net->arena_bytes)
            net->arena_bytes = buffer->offset + buffer->bytes;
    }
    net->arena_bytes = (net->arena_bytes + ALIGNMENT) & ~(size_t) (ALIGNMENT - 1);
    net->arena = aligned_alloc(ALIGNMENT, net->arena_bytes);
    if (!net->arena)
        return -ENOMEM;
    memset(net->arena, 0, net->arena_bytes);
    for (size_t i = 0; i < net->placed_count; i++) {
        const struct placed placed = net->placed[i];

        if (placed.buffer == UINT32_MAX)
            continue;
        if (net->buffers[placed.buffer].input < 0) {
            (void) dnnl_memory_set_data_handle(
                placed.memory, (char *) net->arena + net->buffers[placed.buffer].offset);
            continue;
        }
        net->placed[i] = net->placed[net->input_count];
        net->placed[net->input_count++] = placed;
    }
    return 0;
}

/* ---- inputs, outputs, the walk ---- */

static dnnl_data_type_t type_of(int32_t dtype)
{
    switch (dtype) {
    case PITH_FLOAT32:
        return dnnl_f32;
    case PITH_INT8:
        return dnnl_s8;
    case PITH_UINT8:
        return dnnl_u8;
    default:
        return dnnl_data_type_undef;
    }
}

static int port_desc(const struct net *net, uint32_t value, dnnl_memory_desc_t *out,
                     struct grid *grid, const char **why)
{
    const dnnl_data_type_t type = type_of(pith_value_dtype(net->graph, value));

    *why = "its inputs and outputs are not float32, int8 or uint8";
    /* Integers whose grid a node states stand for themselves until then. */
    *grid = (struct grid){.quantized = type != dnnl_f32, .scale = 1};
    return type == dnnl_data_type_undef
               ? -ENOTSUP
               : net_plain(out, pith_value_shape(net->graph, value), type, why);
}

static int add_input(struct net *net, size_t index, const char **why)
{
    const uint32_t value = pith_graph_input(net->graph, index);
    struct value *v = &net->values[value];
    int rc = port_desc(net, value, &v->desc, &v->grid, why);

    if (rc == 0)
        rc = new_buffer(net, &v->desc, &v->buffer);
    if (rc == 0)
        net->buffers[v->buffer].input = (int) index;
    v->made = rc == 0;
    return rc;
}

static int add_output(struct net *net, size_t index, const char **why)
{
    const uint32_t value = pith_graph_output(net->graph, index);
    struct value *v = &net->values[value];
    dnnl_memory_desc_t desc;
    struct grid grid;
    dnnl_memory_t memory;
    int rc = port_desc(net, value, &desc, &grid, why);

    *why = "an output is made by none of its nodes";
    if (rc == 0 && !v->made)
        rc = -ENOTSUP;
    if (rc == 0 && grid.quantized) { /* as its last node states, in the output's type */
        const int32_t offset =
            (v->desc.data_type == dnnl_u8 ? 128 : 0) - (desc.data_type == dnnl_u8 ? 128 : 0);

        grid = v->grid;
        grid.zero_point -= offset;
    }
    if (rc == 0)
        rc = net_read(net, value, &desc, &grid, &memory, why);
    if (rc == 0 && net->buffers[v->buffer].input >= 0) { /* nothing was computed: a copy */
        uint32_t buffer;

        rc = reorder(net, v, &desc, &grid, &buffer, why);
        v->buffer = buffer;
    }
    if (rc == 0)
        net->buffers[v->buffer].last = INT_MAX;
    return rc;
}

struct refusals {
    net_refusal *refused;
    void *user;
    struct pith_error *err;
    int rc;
};

static void refuse(const struct net *net, struct refusals *refusals, uint32_t node, const char *why)
{
    if (refusals->refused)
        refusals->refused(refusals->user, node, why);
    if (refusals->rc == 0)
        refusals->rc =
            pith_fail(refusals->err, -ENOTSUP, "oneDNN has not node \"%s\" (%s): %s",
                      pith_node_name(net->graph, node), pith_node_op(net->graph, node), why);
}

/* A node that is refused leaves its outputs unmade, and those that need them say nothing more. */
static bool has_inputs(const struct net *net, uint32_t node)
{
    for (size_t i = 0; i < pith_node_input_count(net->graph, node); i++) {
        const uint32_t value = pith_node_input(net->graph, node, i);

        if (value != PITH_NO_VALUE && !net->values[value].made &&
            !pith_value_constant(net->graph, value))
            return false;
    }
    return true;
}

static int make_nodes(struct net *net, struct refusals *refusals)
{
    size_t count = 0;
    const uint32_t *order = pith_graph_order(net->graph, &count);

    if (!order)
        return pith_fail(refusals->err, -ENOTSUP, "a graph without nodes");
    for (size_t i = 0; i < count; i++) {
        const char *why = "";
        int rc = 0;

        if (net->done[order[i]] || !has_inputs(net, order[i]))
            continue;
        rc = node_make(net, order[i], &why);
        net->done[order[i]] = true;
        if (rc == -ENOMEM)
            return pith_fail(refusals->err, rc, "no memory for a session");
        if (rc < 0)
            refuse(net, refusals, order[i], why);
    }
    return refusals->rc;
}

int net_make(struct net *out, const struct pith_graph *graph, net_refusal *refused, void *user,
             struct pith_error *err)
{
    struct net net = {.graph = graph};
    struct refusals refusals = {refused, user, err, 0};
    const char *why = "oneDNN can't be started";
    int rc;

    net.values = calloc(pith_graph_value_limit(graph) + 1, sizeof *net.values);
    net.done = calloc(pith_graph_node_limit(graph) + 1, sizeof *net.done);
    rc = net.values && net.done ? 0 : -ENOMEM;
    if (rc == 0)
        rc = net_status(dnnl_engine_create(&net.engine, dnnl_cpu, 0), &why);
    if (rc == 0)
        rc = net_status(dnnl_stream_create(&net.stream, net.engine, dnnl_stream_default_flags),
                        &why);
    for (size_t i = 0; rc == 0 && i < pith_graph_input_count(graph); i++)
        rc = add_input(&net, i, &why);
    if (rc == 0) {
        rc = make_nodes(&net, &refusals);
        why = NULL;
    }
    for (size_t i = 0; rc == 0 && i < pith_graph_output_count(graph); i++)
        rc = add_output(&net, i, &why);
    if (rc == 0)
        rc = place_buffers(&net);
    if (rc < 0) {
        net_done(&net);
        return rc == -ENOMEM || why ? pith_fail(err, rc, "%s", why ? why : "no memory") : rc;
    }
    free(net.done);
    net.done = NULL;
    net.graph = NULL;
    *out = net;
    return 0;
}

void net_done(struct net *net)
{
    for (size_t i = 0; i < net->step_count; i++)
        if (net->steps[i].primitive)
            (void) dnnl_primitive_destroy(net->steps[i].primitive);
    for (size_t i = 0; i < net->placed_count; i++)
        if (net->placed[i].memory)
            (void) dnnl_memory_destroy(net->placed[i].memory);
    if (net->stream)
        (void) dnnl_stream_destroy(net->stream);
    if (net->engine)
        (void) dnnl_engine_destroy(net->engine);
    free(net->steps);
    free(net->placed);
    free(net->buffers);
    free(net->values);
    free(net->done);
    free(net->arena);
    *net = (struct net){0};
}

void *net_output(const struct net *net, uint32_t value)
{
    return (char *) net->arena + net->buffers[net->values[value].buffer].offset;
}

int net_run(struct net *net, const struct pith_tensor *inputs, size_t input_count)
{
    for (size_t i = 0; i < net->input_count; i++) {
        const size_t input = (size_t) net->buffers[net->placed[i].buffer].input;

        if (input >= input_count ||
            dnnl_memory_set_data_handle(net->placed[i].memory, inputs[input].data) != dnnl_success)
            return -EINVAL;
    }
    for (size_t i = 0; i < net->step_count; i++)
        if (dnnl_primitive_execute(net->steps[i].primitive, net->stream,
                                   net->steps[i].argument_count,
                                   net->steps[i].arguments) != dnnl_success)
            return -EIO;
    return dnnl_stream_wait(net->stream) == dnnl_success ? 0 : -EIO;
}
