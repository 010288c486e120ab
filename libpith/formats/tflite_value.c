/* Tensors of a TensorFlow Lite file as values of the graph: made when an operator first asks, in
 * the form that it asks for. What this file decides is where a Transpose goes: nowhere but between
 * a value and a form that it doesn't have. */
#include "libpith/formats/tflite_read.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- axes ---- */

uint32_t tflite_axis_in(enum tflite_form form, uint32_t axis, uint32_t rank)
{
    if (form == FORM_PLAIN || axis == 0 || rank < 3)
        return axis;
    return axis == rank - 1 ? 1 : axis + 1;
}

/* The permutations between both forms: out[k] is the axis that comes k-th. */
static void planar_order(uint32_t rank, uint32_t out[PITH_MAX_RANK])
{
    for (uint32_t axis = 0; axis < rank; axis++)
        out[tflite_axis_in(FORM_PLANAR, axis, rank)] = axis;
}

static void plain_order(uint32_t rank, uint32_t out[PITH_MAX_RANK])
{
    for (uint32_t axis = 0; axis < rank; axis++)
        out[axis] = tflite_axis_in(FORM_PLANAR, axis, rank);
}

/* Whether both forms have their elements in the same order: one channel, or one place. */
static bool same_order(const struct pith_shape *shape)
{
    bool one_place = true;

    for (uint32_t i = 1; i + 1 < shape->rank; i++)
        one_place = one_place && shape->dim[i] == 1;
    return shape->rank < 3 || one_place || shape->dim[shape->rank - 1] == 1;
}

/* Whether the sizes behind the first axis are known and none is 0, so that Reshape can name them.
 */
static bool sizes_known(const struct pith_shape *shape)
{
    for (uint32_t i = 1; i < shape->rank; i++)
        if (shape->dim[i] < 1)
            return false;
    return shape->rank > 0;
}

#define FUSED_NAMES 100 /* values that may share their first name */

/* ---- values ---- */

static bool name_is_free(const struct pith_graph *graph, const char *name)
{
    return pith_graph_find_value(graph, name) == PITH_NO_VALUE;
}

/* What operators were fused into one has the names of all of them, joined by ';': hundreds of letters. The
 * first of them says what it is, with a number where it is taken. Malloc'ed. */
static char *short_name(const struct pith_graph *graph, const char *name)
{
    int length = (int) strcspn(name, ";");
    char *made = NULL;

    for (unsigned i = 1; i < FUSED_NAMES; i++) {
        int rc = i == 1 ? asprintf(&made, "%.*s", length, name) : asprintf(&made, "%.*s_%u", length, name, i);

        if (rc < 0)
            return NULL;
        if (made[0] && name_is_free(graph, made))
            return made;
        free(made);
    }
    return strdup(name);
}

static uint32_t add_value(struct tflite_node *node, const char *name, int32_t dtype)
{
    struct pith_graph *graph = node->reader->graph;
    uint32_t value = PITH_NO_VALUE;
    char *fused = NULL;

    if (node->rc < 0)
        return PITH_NO_VALUE;
    if (name && strchr(name, ';')) {
        fused = short_name(graph, name);
        if (!fused)
            node->rc = -ENOMEM;
        name = fused;
    }
    if (name && (!name[0] || !name_is_free(graph, name)))
        name = NULL;
    if (node->rc == 0)
        node->rc = pith_graph_add_value(graph, name, dtype, NULL, &value, node->err);
    free(fused);
    return node->rc < 0 ? PITH_NO_VALUE : value;
}

uint32_t tflite_temporary(struct tflite_node *node, int32_t dtype)
{
    return add_value(node, NULL, dtype);
}

static void set_grid(struct tflite_node *node, uint32_t value, const struct pith_quantization *grid,
                     int32_t axis)
{
    struct pith_quantization moved = *grid;

    if (node->rc < 0)
        return;
    moved.axis = axis;
    node->rc = pith_value_set_quantization(node->reader->graph, value, &moved);
}

/* A value of the tensor in the form, which nothing makes yet. */
static uint32_t declare(struct tflite_node *node, int32_t number, enum tflite_form form)
{
    struct tflite_tensor *tensor = &node->reader->tensors[number];
    bool grid = tflite_on_grid(tensor);
    bool first =
        tensor->value[FORM_PLAIN] == PITH_NO_VALUE && tensor->value[FORM_PLANAR] == PITH_NO_VALUE;
    char text[TFLITE_TENSOR_TEXT_BYTES];
    uint32_t value;

    if (grid && tensor->quantization.count > 1) {
        tflite_fail(node, -ENOTSUP, "%s is computed, and has a scale for each channel",
                    tflite_tensor_text(node->reader, number, text, sizeof text));
        return PITH_NO_VALUE;
    }
    value = add_value(node, first && !tensor->is_interface ? tensor->name : NULL,
                      grid ? PITH_FLOAT32 : tensor->dtype);
    if (grid)
        set_grid(node, value, &tensor->quantization, 0);
    if (node->rc < 0)
        return PITH_NO_VALUE;
    tensor->value[form] = value;
    if (first)
        tensor->home = form;
    return value;
}

/* Takes over `permuted` (own memory), or lies in the file where that is NULL. */
static uint32_t add_constant(struct tflite_node *node, const char *name, struct pith_tensor *taken,
                             const struct pith_tensor *in_file)
{
    const struct pith_tensor *tensor = taken ? taken : in_file;
    uint32_t value = add_value(node, name, tensor->dtype);

    if (node->rc == 0)
        node->rc = pith_value_set_type(node->reader->graph, value, tensor->dtype, &tensor->shape);
    if (node->rc == 0)
        node->rc = taken ? pith_value_take_constant(node->reader->graph, value, taken)
                         : pith_value_adopt_constant(node->reader->graph, value, in_file,
                                                     node->reader->backing);
    if (taken)
        pith_tensor_free(taken); /* where it was not taken */
    return node->rc < 0 ? PITH_NO_VALUE : value;
}

/* The constant with its axes in the order `perm`; NULL: as they are. */
static uint32_t constant_value(struct tflite_node *node, const struct tflite_tensor *tensor,
                               const char *name, const uint32_t *perm)
{
    struct pith_tensor copy = {0};
    struct pith_quantization grid = tensor->quantization;
    uint32_t value;

    if (node->rc < 0)
        return PITH_NO_VALUE;
    if (perm) {
        node->rc = tflite_permute(node->reader, &tensor->constant, perm, &copy, node->err);
    } else if (tensor->own) {
        node->rc = tflite_count_copy(node->reader, tensor->constant.bytes, node->err);
        if (node->rc == 0)
            node->rc = pith_tensor_copy(&copy, &tensor->constant, node->err);
    }
    if (node->rc < 0)
        return PITH_NO_VALUE;
    value = add_constant(node, name, perm || tensor->own ? &copy : NULL, &tensor->constant);
    for (uint32_t k = 0; perm && grid.count > 1 && k < tensor->shape.rank; k++)
        if ((int32_t) perm[k] == tensor->quantization.axis)
            grid.axis = (int32_t) k;
    if (tflite_on_grid(tensor))
        set_grid(node, value, &grid, grid.axis);
    return value;
}

/* From the form that the tensor has to the one that is wanted. */
static uint32_t change_form(struct tflite_node *node, int32_t number, enum tflite_form form)
{
    const struct tflite_tensor *tensor = &node->reader->tensors[number];
    const uint32_t rank = tensor->shape.rank;
    uint32_t from = tensor->value[form == FORM_PLAIN ? FORM_PLANAR : FORM_PLAIN];
    uint32_t order[PITH_MAX_RANK];
    int64_t dims[PITH_MAX_RANK];
    uint32_t value = declare(node, number, form);

    if (same_order(&tensor->shape) && sizes_known(&tensor->shape)) {
        for (uint32_t i = 0; i < rank; i++)
            dims[tflite_axis_in(form, i, rank)] = i ? tensor->shape.dim[i] : 0; /* 0: as it is */
        return tflite_emit2(node, "Reshape", from, tflite_constant_ints(node, dims, rank), value);
    }
    if (form == FORM_PLAIN)
        plain_order(rank, order);
    else
        planar_order(rank, order);
    return tflite_transpose(node, from, order, rank, value);
}

uint32_t tflite_value(struct tflite_node *node, int32_t number, enum tflite_form form)
{
    struct tflite_tensor *tensor = &node->reader->tensors[number];
    char text[TFLITE_TENSOR_TEXT_BYTES];
    uint32_t order[PITH_MAX_RANK];

    if (node->rc < 0)
        return PITH_NO_VALUE;
    if (tensor->shape.rank < 3)
        form = FORM_PLAIN;
    if (tensor->value[form] != PITH_NO_VALUE)
        return tensor->value[form];
    if (tensor->constant.data) {
        planar_order(tensor->shape.rank, order);
        tensor->value[form] =
            constant_value(node, tensor, tensor->is_interface ? NULL : tensor->name,
                           form == FORM_PLANAR ? order : NULL);
        return tensor->value[form];
    }
    if (tensor->value[FORM_PLAIN] != PITH_NO_VALUE || tensor->value[FORM_PLANAR] != PITH_NO_VALUE)
        return change_form(node, number, form);
    tflite_fail(node, -EBADMSG, "%s is taken before anything makes it",
                tflite_tensor_text(node->reader, number, text, sizeof text));
    return PITH_NO_VALUE;
}

static bool is_free(struct tflite_node *node, int32_t number)
{
    const struct tflite_tensor *tensor = &node->reader->tensors[number];
    char text[TFLITE_TENSOR_TEXT_BYTES];

    if (node->rc < 0)
        return false;
    if (tensor->constant.data || tensor->value[FORM_PLAIN] != PITH_NO_VALUE ||
        tensor->value[FORM_PLANAR] != PITH_NO_VALUE) {
        tflite_fail(node, -EBADMSG, "it makes %s, which is already %s",
                    tflite_tensor_text(node->reader, number, text, sizeof text),
                    tensor->constant.data ? "a constant" : "there");
        return false;
    }
    return true;
}

uint32_t tflite_make(struct tflite_node *node, int32_t number, enum tflite_form form)
{
    const struct tflite_tensor *tensor = &node->reader->tensors[number];
    char text[TFLITE_TENSOR_TEXT_BYTES];

    if (!is_free(node, number))
        return PITH_NO_VALUE;
    if (tensor->dtype == PITH_DTYPE_NONE) {
        tflite_fail(node, -ENOTSUP, "%s is of a type that is not read: strings or resources",
                    tflite_tensor_text(node->reader, number, text, sizeof text));
        return PITH_NO_VALUE;
    }
    return declare(node, number, tensor->shape.rank < 3 ? FORM_PLAIN : form);
}

void tflite_alias(struct tflite_node *node, int32_t number, int32_t of)
{
    struct tflite_reader *reader = node->reader;

    if (!is_free(node, number))
        return;
    memcpy(reader->tensors[number].value, reader->tensors[of].value,
           sizeof reader->tensors[number].value);
    reader->tensors[number].home = reader->tensors[of].home;
}

/* ---- operands ---- */

const struct tflite_tensor *tflite_input(const struct tflite_node *node, uint32_t i)
{
    return i < node->input_count && node->inputs[i] != TFLITE_NO_TENSOR
               ? &node->reader->tensors[node->inputs[i]]
               : NULL;
}

const struct tflite_tensor *tflite_output(const struct tflite_node *node, uint32_t i)
{
    return &node->reader->tensors[node->outputs[i]];
}

bool tflite_is_constant(const struct tflite_node *node, uint32_t i)
{
    const struct tflite_tensor *tensor = tflite_input(node, i);

    return tensor && tensor->constant.data;
}

enum tflite_form tflite_home(const struct tflite_node *node, uint32_t i)
{
    const struct tflite_tensor *tensor = tflite_input(node, i);

    return tensor && !tensor->constant.data ? tensor->home : FORM_PLAIN;
}

uint32_t tflite_take(struct tflite_node *node, uint32_t i, enum tflite_form form)
{
    return tflite_input(node, i) ? tflite_value(node, node->inputs[i], form) : PITH_NO_VALUE;
}

uint32_t tflite_take_in_order(struct tflite_node *node, uint32_t i)
{
    const struct tflite_tensor *tensor = tflite_input(node, i);

    if (tensor && same_order(&tensor->shape))
        return tflite_take(node, i, tflite_home(node, i));
    return tflite_take(node, i, FORM_PLAIN);
}

/* What operators see of the tensor's elements. */
static int32_t seen_type(const struct tflite_tensor *tensor)
{
    return tflite_on_grid(tensor) ? PITH_FLOAT32 : tensor->dtype;
}

/* For the same elements in another place: on the grid that they are on. */
static uint32_t moved_value(struct tflite_node *node, const struct tflite_tensor *tensor)
{
    uint32_t value = tflite_temporary(node, seen_type(tensor));

    if (tflite_on_grid(tensor) && tensor->quantization.count == 1)
        set_grid(node, value, &tensor->quantization, 0);
    return value;
}

uint32_t tflite_moved(struct tflite_node *node, uint32_t i)
{
    return moved_value(node, tflite_input(node, i));
}

uint32_t tflite_moved_result(struct tflite_node *node)
{
    return moved_value(node, tflite_output(node, 0));
}

uint32_t tflite_transpose(struct tflite_node *node, uint32_t input, const uint32_t *perm,
                          uint32_t rank, uint32_t output)
{
    uint32_t emitted = tflite_emit1(node, "Transpose", input, output);
    int64_t order[PITH_MAX_RANK];

    for (uint32_t i = 0; i < rank; i++)
        order[i] = perm[i];
    tflite_set_ints(node, emitted, "perm", order, rank);
    return output;
}

/* Whether the order changes nothing in memory: axes of size 1 move no element. */
static bool moves_nothing(const struct pith_shape *shape, const uint32_t *perm)
{
    uint32_t last = 0;

    for (uint32_t k = 0; k < shape->rank; k++) {
        if (shape->dim[perm[k]] == 1)
            continue;
        if (perm[k] < last)
            return false;
        last = perm[k];
    }
    return true;
}

uint32_t tflite_take_permuted(struct tflite_node *node, uint32_t i, const uint32_t *perm)
{
    const struct tflite_tensor *tensor = tflite_input(node, i);
    struct tflite_tensor view;

    if (!tensor || node->rc < 0)
        return PITH_NO_VALUE;
    if (!tensor->constant.data)
        return tflite_transpose(node, tflite_take(node, i, FORM_PLAIN), perm, tensor->shape.rank,
                                moved_value(node, tensor));
    if (tensor->own || !moves_nothing(&tensor->shape, perm))
        return constant_value(node, tensor, tensor->name, perm);
    view = *tensor; /* the file's own bytes under another shape */
    for (uint32_t k = 0; k < tensor->shape.rank; k++) {
        view.constant.shape.dim[k] = tensor->shape.dim[perm[k]];
        if (tensor->quantization.count > 1 && (int32_t) perm[k] == tensor->quantization.axis)
            view.quantization.axis = (int32_t) k;
    }
    return constant_value(node, &view, tensor->name, NULL);
}

/* The constant with its channels first and then the shape `dims`. */
static uint32_t broadcast_constant(struct tflite_node *node, const struct tflite_tensor *tensor,
                                   const uint32_t *order, const int64_t *dims, uint32_t rank)
{
    struct pith_tensor copy = {0};
    struct pith_quantization grid = tensor->quantization;
    uint32_t value;

    node->rc = tflite_permute(node->reader, &tensor->constant, order, &copy, node->err);
    if (node->rc < 0)
        return PITH_NO_VALUE;
    copy.shape = pith_shape_of(rank, dims);
    value = add_constant(node, NULL, &copy, NULL);
    if (grid.count > 1 && grid.axis + 1 != (int32_t) tensor->shape.rank)
        tflite_fail(node, -ENOTSUP, "an operand has a scale for each index of an inner axis");
    if (tflite_on_grid(tensor))
        set_grid(node, value, &grid, grid.count > 1 ? 1 : 0);
    return value;
}

/* An operand of lower rank lies against the last axes: its channels come first, then its places. */
uint32_t tflite_take_broadcast(struct tflite_node *node, uint32_t i, uint32_t rank,
                               enum tflite_form form)
{
    const struct tflite_tensor *tensor = tflite_input(node, i);
    const struct pith_shape *shape = tensor ? &tensor->shape : NULL;
    uint32_t order[PITH_MAX_RANK] = {0}, value;
    int64_t dims[PITH_MAX_RANK];

    if (!tensor || node->rc < 0 || form == FORM_PLAIN || rank < 3 ||
        pith_shape_elements(shape) == 1)
        return tflite_take(node, i, FORM_PLAIN);
    if (shape->rank >= rank)
        return tflite_take(node, i, form);
    for (uint32_t k = 0; k < shape->rank; k++)
        order[k] = k == 0 ? shape->rank - 1 : k - 1;
    for (uint32_t axis = 0; axis < rank; axis++) {
        uint32_t missing = rank - shape->rank;
        int64_t size = axis < missing ? 1 : shape->dim[axis - missing];

        dims[tflite_axis_in(form, axis, rank)] = size;
        if (size < 0)
            tflite_fail(node, -ENOTSUP, "input %u has an open size where it is broadcast",
                        (unsigned) i);
    }
    if (tensor->constant.data && node->rc == 0)
        return broadcast_constant(node, tensor, order, dims, rank);
    value =
        shape->rank > 1 ? tflite_take_permuted(node, i, order) : tflite_take(node, i, FORM_PLAIN);
    return tflite_emit2(node, "Reshape", value, tflite_constant_ints(node, dims, rank),
                        moved_value(node, tensor));
}

uint32_t tflite_take_integers(struct tflite_node *node, uint32_t i)
{
    const struct tflite_tensor *tensor = tflite_input(node, i);
    uint32_t value = tflite_take(node, i, FORM_PLAIN), integers;

    if (!tensor || !tflite_on_grid(tensor))
        return value;
    integers = tflite_temporary(node, tensor->dtype);
    tflite_emit_linear(node, "QuantizeLinear", &tensor->quantization, value, integers);
    return integers;
}

uint32_t tflite_result(struct tflite_node *node, uint32_t i, enum tflite_form form)
{
    return tflite_make(node, node->outputs[i], form);
}

uint32_t tflite_result_activated(struct tflite_node *node, int activation, enum tflite_form form)
{
    uint32_t result = tflite_result(node, 0, form);

    if (activation == ACTIVATION_NONE)
        return result;
    return tflite_activate(node, activation, result);
}

/* ---- what constants say ---- */

uint32_t tflite_ints(struct tflite_node *node, uint32_t i, int64_t *out, uint32_t limit)
{
    const struct tflite_tensor *tensor = tflite_input(node, i);
    int64_t count;

    if (node->rc < 0 || !tensor)
        return 0;
    count = pith_shape_elements(&tensor->constant.shape);
    if (!tensor->constant.data || (tensor->dtype != PITH_INT32 && tensor->dtype != PITH_INT64) ||
        count > limit) {
        tflite_fail(node, -ENOTSUP, "its input %u is no constant list of at most %u integers",
                    (unsigned) i, (unsigned) limit);
        return 0;
    }
    for (int64_t k = 0; k < count; k++)
        out[k] = pith_tensor_get_int(&tensor->constant, k);
    return (uint32_t) count;
}

void tflite_custom_ints(struct tflite_node *node, int32_t *out, uint32_t count)
{
    const struct flat_vector bytes = node->custom_options;

    if (bytes.count < count * sizeof *out)
        tflite_fail(node, -EBADMSG, "its options hold %u bytes where %u must be",
                    (unsigned) bytes.count, (unsigned) (count * sizeof *out));
    for (uint32_t i = 0; i < count; i++) {
        out[i] = 0;
        for (uint32_t k = 0; k < sizeof *out && node->rc == 0; k++)
            out[i] |= (int32_t) ((uint32_t) flat_item_u8(bytes, 4 * i + k) << (8 * k));
    }
}

float tflite_real(struct tflite_node *node, uint32_t i)
{
    const struct tflite_tensor *tensor = tflite_input(node, i);
    const struct pith_quantization *grid;
    float stored;

    if (node->rc < 0)
        return 0.0F;
    if (!tensor || !tensor->constant.data || pith_shape_elements(&tensor->shape) != 1) {
        tflite_fail(node, -ENOTSUP, "its input %u is no constant of one element", (unsigned) i);
        return 0.0F;
    }
    grid = &tensor->quantization;
    stored = (float) pith_tensor_get(&tensor->constant, 0);
    return tflite_on_grid(tensor) ? (stored - (float) grid->zero_point[0]) * grid->scale[0]
                                  : stored;
}

uint32_t tflite_axis(struct tflite_node *node, int64_t axis, uint32_t rank)
{
    if (axis >= -(int64_t) rank && axis < (int64_t) rank)
        return (uint32_t) (axis < 0 ? axis + rank : axis);
    tflite_fail(node, -EBADMSG, "axis %lld is none of a tensor with %u", (long long) axis,
                (unsigned) rank);
    return 0;
}
