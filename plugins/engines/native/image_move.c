/* What only moves elements of channels-last values, mostly without moving any: a Transpose at the
 * edge of a graph that was made for the other layout, a Reshape behind a pooling, a Concat whose
 * inputs are written where they belong. */
#include "plugins/engines/native/plan.h"

#include <errno.h>
#include <string.h>

static bool is_op(const struct plan *plan, uint32_t node, const char *op)
{
    return strcmp(pith_node_op(plan->graph, node), op) == 0;
}

int plan_add_alias(struct plan *plan, uint32_t slot, const struct pith_shape *shape,
                   bool channels_last, uint32_t *out)
{
    int rc = plan_add_slot(plan, plan->slots[slot].tensor.dtype, shape, out);
    struct slot *alias;

    if (rc < 0)
        return rc;
    alias = &plan->slots[*out];
    alias->quantization = plan->slots[slot].quantization;
    alias->place = SLOT_ARENA;
    alias->root = plan->slots[slot].root;
    alias->image.channels_last = channels_last;
    alias->fixed = channels_last;
    return 0;
}

/* What a moved value's own quantization may be: none, or the grid that its elements come on. */
static bool keeps_grid(const struct plan *plan, uint32_t from, uint32_t to)
{
    const struct pith_quantization *grid = pith_value_quantization(plan->graph, to);

    return !grid || form_same_grid(plan->slots[plan->slot_of_value[from]].quantization, grid);
}

/* ---- Transpose ---- */

enum turn { TURN_OTHER, TURN_TO_PLANAR, TURN_TO_CHANNELS_LAST };

static enum turn read_turn(const struct plan *plan, uint32_t node, uint32_t rank)
{
    static const int64_t to_planar[2][4] = {{0, 2, 1}, {0, 3, 1, 2}},
                         to_last[2][4] = {{0, 2, 1}, {0, 2, 3, 1}};
    size_t count;
    const int64_t *perm = pith_node_ints(plan->graph, node, "perm", &count);

    if (!perm || count != rank || rank < 3 || rank > 4)
        return TURN_OTHER;
    /* of rank 3 both are the same: what lies channels-last is meant */
    if (memcmp(perm, to_last[rank - 3], rank * sizeof *perm) == 0 &&
        image_lies(plan, pith_node_input(plan->graph, node, 0)))
        return TURN_TO_CHANNELS_LAST;
    return memcmp(perm, to_planar[rank - 3], rank * sizeof *perm) == 0 ? TURN_TO_PLANAR
                                                                       : TURN_OTHER;
}

static bool feeds_convolution(const struct plan *plan, uint32_t value)
{
    size_t count;
    const uint32_t *users = pith_value_users(plan->graph, value, &count);

    for (size_t i = 0; i < count; i++)
        if (is_op(plan, users[i], "Conv") && pith_node_input(plan->graph, users[i], 0) == value)
            return true;
    return false;
}

/* N,H,W,C to N,C,H,W: what the bytes are is a channels-last value without a halo. */
static int to_planar(struct plan *plan, uint32_t x, uint32_t y, struct pith_error *err)
{
    const struct pith_shape *shape = pith_value_shape(plan->graph, y);
    uint32_t from, floats, alias;
    int rc;

    if (image_lies(plan, x) || !shape || !feeds_convolution(plan, y))
        return 0;
    rc = plan_slot(plan, x, &from);
    if (rc < 0)
        return rc;
    rc = plan_add_alias(plan, from, shape, true, &alias);
    if (rc < 0)
        return rc;
    plan->slot_of_value[y] = alias;
    floats = plan->slots[from].unrounded;
    if (floats != PLAN_NO_SLOT && !plan->slots[floats].image.channels_last) {
        rc = plan_add_alias(plan, floats, shape, true, &floats);
        plan->slots[alias].unrounded = floats;
    }
    (void) err;
    return rc < 0 ? rc : 1;
}

/* How channels-last steps that only move elements to planar ones take them: bytes as they are stored, and all else as floats. */
static int32_t dtype_of(const struct slot *slot)
{
    return slot->tensor.dtype == PITH_FLOAT32 || form_is_sixteen_bits(slot->quantization)
               ? PITH_FLOAT32
               : pith_image_integer_dtype();
}

/* The value channels-last without halo or gaps, then seen planar under another shape. */
static int see_compact(struct plan *plan, uint32_t x, uint32_t y, struct pith_error *err)
{
    uint32_t compact, alias;
    int rc = image_slot(plan, x, dtype_of(&plan->slots[plan->slot_of_value[x]]),
                        (struct form){.compact = true}, &compact, err);

    if (rc == 0)
        rc = plan_add_alias(plan, compact, pith_value_shape(plan->graph, y), false, &alias);
    if (rc < 0)
        return rc;
    plan->slot_of_value[y] = alias;
    if (form_is_sixteen_bits(pith_value_quantization(plan->graph, x)))
        plan->slots[alias].quantization = pith_value_quantization(plan->graph, x);
    return 1;
}

static int build_transpose(struct plan *plan, uint32_t node, struct pith_error *err)
{
    const uint32_t x = pith_node_input(plan->graph, node, 0),
                   y = pith_node_output(plan->graph, node, 0);
    const struct pith_shape *shape = pith_value_shape(plan->graph, y);

    if (!image_may_lie(plan, x) || !keeps_grid(plan, x, y) || !shape || !pith_shape_known(shape))
        return 0;
    switch (read_turn(plan, node, shape->rank)) {
    case TURN_TO_PLANAR:
        return to_planar(plan, x, y, err);
    case TURN_TO_CHANNELS_LAST:
        return see_compact(plan, x, y, err);
    default:
        return 0;
    }
}

/* ---- Reshape and its kin, where one pixel or one channel is left ---- */

static int build_reshape(struct plan *plan, uint32_t node, struct pith_error *err)
{
    const uint32_t x = pith_node_input(plan->graph, node, 0),
                   y = pith_node_output(plan->graph, node, 0);
    const struct pith_shape *to = pith_value_shape(plan->graph, y), *from;

    if (!image_lies(plan, x) || !to || !pith_shape_known(to) || !keeps_grid(plan, x, y))
        return 0;
    from = &plan->slots[plan->slot_of_value[x]].tensor.shape;
    if (from->dim[1] != 1 && pith_dims_product(from, 2, from->rank) != 1)
        return 0;
    return pith_shape_elements(from) == pith_shape_elements(to) ? see_compact(plan, x, y, err) : 0;
}

/* ---- Concat of channels ---- */

static bool may_concat(const struct plan *plan, uint32_t node)
{
    const uint32_t y = pith_node_output(plan->graph, node, 0),
                   first = pith_node_input(plan->graph, node, 0);
    const struct pith_shape *shape = pith_value_shape(plan->graph, y);
    const int64_t axis = pith_node_int(plan->graph, node, "axis", 0);
    size_t lying = 0, count = pith_node_input_count(plan->graph, node);

    if (!shape || !pith_shape_known(shape) || !form_has_image(shape) || !image_may_round(plan, y) ||
        (axis < 0 ? axis + (int64_t) shape->rank : axis) != 1 || !image_may_lie(plan, first))
        return false;
    for (size_t i = 0; i < count; i++) {
        const uint32_t x = pith_node_input(plan->graph, node, i);

        if (!image_may_lie(plan, x))
            return false;
        lying += image_lies(plan, x);
    }
    return 2 * lying >= count;
}

/* Whether what a Concat takes is all on one grid, or on none, and what it gives too. */
static bool is_on_one_grid(const struct plan *plan, uint32_t node)
{
    const uint32_t y = pith_node_output(plan->graph, node, 0),
                   first = pith_node_input(plan->graph, node, 0);
    const struct pith_quantization *of_first = plan->slots[plan->slot_of_value[first]].quantization;

    for (size_t i = 0; i < pith_node_input_count(plan->graph, node); i++) {
        const uint32_t x = pith_node_input(plan->graph, node, i);
        const struct pith_quantization *grid = plan->slots[plan->slot_of_value[x]].quantization;

        if ((grid || of_first) && !form_same_grid(grid, of_first))
            return false;
    }
    return of_first ? keeps_grid(plan, first, y) : !pith_value_quantization(plan->graph, y);
}

/* Whether the slot's producer may as well write into a wider one. */
static bool may_be_slice(const struct plan *plan, uint32_t slot)
{
    const struct slot *s = &plan->slots[slot];

    if (s->place != SLOT_ARENA || s->root != slot || s->fixed || s->wide != PLAN_NO_SLOT)
        return false;
    for (size_t i = 0; i < plan->step_count; i++) { /* blind kernels know no gaps */
        const struct plan_step *step = plan->steps[i];

        for (size_t j = 0; step->form == STEP_BLINDLY && j < step->step.input_count; j++)
            if (step->in[j] == slot)
                return false;
        if (step->form == STEP_BLINDLY && step->out[0] == slot)
            return false;
    }
    return true;
}

static int add_slice(struct plan *plan, uint32_t x, uint32_t wide, int64_t channel,
                     struct pith_error *err)
{
    struct plan_call call = {.node = PITH_NO_NODE,
                             .in_count = 1,
                             .out_count = 1,
                             .activation = PITH_ACTIVATION_NONE,
                             .form = STEP_IMAGE};
    uint32_t from, slice;
    int rc = image_slot(plan, x, plan->slots[wide].tensor.dtype, (struct form){0}, &from, err);

    if (rc < 0)
        return rc;
    slice = from;
    if (!may_be_slice(plan, from)) {
        rc = plan_add_slot(plan, plan->slots[from].tensor.dtype, &plan->slots[from].tensor.shape,
                           &slice);
        if (rc < 0)
            return rc;
        plan->slots[slice].quantization = plan->slots[from].quantization;
        plan->slots[slice].image.channels_last = true;
        call.kernel = plan_own_kernel("ToImage", plan->slots[from].tensor.dtype,
                                      plan->slots[slice].tensor.dtype);
        call.in = &from;
        call.out = &slice;
        rc = plan_add_step(plan, &call, err);
    }
    plan->slots[slice].wide = wide;
    plan->slots[slice].wide_channel = channel;
    return rc;
}

/* How the values of a Concat are stored in what it gives. Words stay words where half of them come so. */
static int32_t dtype_of_concat(const struct plan *plan, uint32_t node,
                               const struct pith_quantization *grid)
{
    const size_t count = pith_node_input_count(plan->graph, node);
    size_t words = 0;

    if (!grid)
        return PITH_FLOAT32;
    if (form_is_eight_bits(grid))
        return pith_image_integer_dtype();
    for (size_t i = 0; i < count; i++)
        words += image_has_words(plan, pith_node_input(plan->graph, node, i));
    return words > 0 && 2 * words >= count ? PITH_INT16 : PITH_FLOAT32;
}

/* The inputs become slices of the output's channels: their producers write there. From several grids they meet as floats. */
static int build_concat(struct plan *plan, uint32_t node, struct pith_error *err)
{
    const uint32_t y = pith_node_output(plan->graph, node, 0);
    const struct pith_quantization *grid;
    int64_t channel = 0;
    uint32_t wide, first;
    int32_t dtype;
    int rc;

    if (!may_concat(plan, node))
        return 0;
    first = plan->slot_of_value[pith_node_input(plan->graph, node, 0)];
    grid = is_on_one_grid(plan, node) ? plan->slots[first].quantization : NULL;
    dtype = dtype_of_concat(plan, node, grid);
    if (dtype != PITH_FLOAT32) {
        grid = form_grid(plan, grid, dtype);
        if (!grid)
            return -ENOMEM;
    }
    rc = plan_add_slot(plan, dtype, pith_value_shape(plan->graph, y), &wide);
    if (rc < 0)
        return rc;
    plan->slots[wide].quantization = grid;
    plan->slots[wide].place = SLOT_ARENA;
    plan->slots[wide].image.channels_last = true;
    for (size_t i = 0; i < pith_node_input_count(plan->graph, node) && rc == 0; i++) {
        const uint32_t x = pith_node_input(plan->graph, node, i);

        rc = add_slice(plan, x, wide, channel, err);
        channel += plan->slots[plan->slot_of_value[x]].tensor.shape.dim[1];
    }
    plan->slot_of_value[y] = wide;
    if (rc == 0 && !grid)
        rc = image_round_output(plan, y, err);
    return rc < 0 ? rc : 1;
}

int image_build_move(struct plan *plan, uint32_t node, struct pith_error *err)
{
    static const char *const reshapes[] = {"Reshape", "Flatten", "Squeeze", "Unsqueeze"};

    if (pith_node_output_count(plan->graph, node) != 1 ||
        pith_node_output(plan->graph, node, 0) == PITH_NO_VALUE)
        return 0;
    if (is_op(plan, node, "Transpose"))
        return build_transpose(plan, node, err);
    if (is_op(plan, node, "Concat"))
        return build_concat(plan, node, err);
    for (size_t i = 0; i < sizeof reshapes / sizeof reshapes[0]; i++)
        if (is_op(plan, node, reshapes[i]))
            return build_reshape(plan, node, err);
    return 0;
}
