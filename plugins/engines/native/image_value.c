/* Values that lie channels-last: which may, which do, and their slots. */
#include "plugins/engines/native/plan.h"

#include <errno.h>

bool image_may_lie(const struct plan *plan, uint32_t value)
{
    const uint32_t number = value == PITH_NO_VALUE ? PLAN_NO_SLOT : plan->slot_of_value[value];
    const struct slot *slot = number == PLAN_NO_SLOT ? NULL : &plan->slots[number];

    return slot && plan_is_varying(plan, number) && form_has_image(&slot->tensor.shape) &&
           pith_shape_elements(&slot->tensor.shape) > 0 &&
           (slot->tensor.dtype == PITH_FLOAT32 || form_is_eight_bits(slot->quantization) ||
            form_is_sixteen_bits(slot->quantization));
}

/* Whether some form of the slot's value lies channels-last. dtype: stored so; PITH_DTYPE_NONE: whatever is stored. */
static bool has_image(const struct plan *plan, uint32_t first, int32_t dtype)
{
    uint32_t at = first;

    do {
        if (plan->slots[at].image.channels_last &&
            (dtype == PITH_DTYPE_NONE || plan->slots[at].tensor.dtype == dtype))
            return true;
        at = plan->slots[at].next_form;
    } while (at != first);
    return false;
}

bool image_lies(const struct plan *plan, uint32_t value)
{
    return image_may_lie(plan, value) &&
           has_image(plan, plan->slot_of_value[value], PITH_DTYPE_NONE);
}

bool image_has_words(const struct plan *plan, uint32_t value)
{
    const uint32_t slot = value == PITH_NO_VALUE ? PLAN_NO_SLOT : plan->slot_of_value[value];

    return slot != PLAN_NO_SLOT && form_is_sixteen_bits(plan->slots[slot].quantization) &&
           has_image(plan, slot, PITH_INT16);
}

int image_slot(struct plan *plan, uint32_t value, int32_t dtype, struct form extra, uint32_t *out,
               struct pith_error *err)
{
    extra.channels_last = true;
    extra.real = dtype == PITH_FLOAT32;
    extra.dtype = dtype;
    return form_of_slot(plan, plan->slot_of_value[value], &extra, out, err);
}

int image_output(struct plan *plan, uint32_t value, const struct pith_quantization *grid,
                 int32_t dtype, uint32_t *out)
{
    const struct pith_shape *shape = pith_value_shape(plan->graph, value);
    const struct pith_quantization *own = pith_value_quantization(plan->graph, value);
    int rc;

    if (!shape)
        return -EINVAL;
    grid = dtype == PITH_FLOAT32 ? NULL : own ? own : grid;
    if (dtype != PITH_FLOAT32) {
        grid = form_grid(plan, grid, dtype);
        if (!grid)
            return -ENOMEM;
    }
    rc = plan_add_slot(plan, dtype, shape, out);
    if (rc < 0)
        return rc;
    plan->slots[*out].quantization = grid;
    plan->slots[*out].image.channels_last = form_has_image(shape);
    plan->slot_of_value[value] = *out;
    return 0;
}

bool image_may_round(const struct plan *plan, uint32_t value)
{
    const struct pith_quantization *q = pith_value_quantization(plan->graph, value);

    return !q || (q->count == 1 && q->block_size == 0);
}

int image_round_output(struct plan *plan, uint32_t value, struct pith_error *err)
{
    const struct pith_quantization *grid = pith_value_quantization(plan->graph, value);
    const bool eight_bits = form_is_eight_bits(grid);
    const uint32_t floats = plan->slot_of_value[value];
    struct plan_call call = {.node = PITH_NO_NODE,
                             .in_count = 1,
                             .out_count = 1,
                             .activation = PITH_ACTIVATION_NONE,
                             .form = eight_bits ? STEP_IMAGE : STEP_BLINDLY,
                             .in = &floats};
    uint32_t stored;
    int rc;

    if (!grid)
        return 0;
    rc = image_output(plan, value, NULL, eight_bits ? pith_image_integer_dtype() : PITH_FLOAT32, &stored);
    if (rc < 0)
        return rc;
    if (eight_bits || form_is_sixteen_bits(grid))
        plan->slots[stored].unrounded = floats;
    if (!eight_bits)
        plan->slots[stored].quantization = grid;
    call.out = &stored;
    call.kernel = plan_own_kernel(eight_bits ? "ToImage" : "Round", PITH_FLOAT32,
                                  plan->slots[stored].tensor.dtype);
    return plan_add_step(plan, &call, err);
}
