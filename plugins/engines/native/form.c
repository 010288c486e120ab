/* The forms of a value. A value may be wanted planar or channels-last, as floats or as integers of
 * either signedness; each form is a slot, made by one step from another one, and kept for whoever
 * wants it next. The forms of a value are a ring of slots. Steps that turn out to make a form that
 * nothing reads are dropped when the plan is settled. */
#include "plugins/engines/native/plan.h"

#include <errno.h>

bool form_is_eight_bits(const struct pith_quantization *q)
{
    return q && q->count == 1 && q->block_size == 0 &&
           (q->dtype == PITH_INT8 || q->dtype == PITH_UINT8);
}

bool form_is_sixteen_bits(const struct pith_quantization *q)
{
    return q && q->count == 1 && q->block_size == 0 &&
           (q->dtype == PITH_INT16 || q->dtype == PITH_UINT16);
}

bool form_has_image(const struct pith_shape *shape)
{
    return shape->rank == 3 || shape->rank == 4;
}

/* How far the zero points of a grid lie below those of the signed type's. */
static int32_t offset_of(int32_t dtype)
{
    return dtype == PITH_UINT8 ? 128 : dtype == PITH_UINT16 ? 32768 : 0;
}

/* The zero point as it would be among int8, or int16. */
static int32_t signed_zero(const struct pith_quantization *q)
{
    return q->zero_point[0] - offset_of(q->dtype);
}

bool form_same_grid(const struct pith_quantization *a, const struct pith_quantization *b)
{
    if (!a || !b || a->count != 1 || b->count != 1 || a->block_size || b->block_size ||
        a->scale[0] != b->scale[0])
        return false;
    if ((form_is_eight_bits(a) && form_is_eight_bits(b)) ||
        (form_is_sixteen_bits(a) && form_is_sixteen_bits(b)))
        return signed_zero(a) == signed_zero(b);
    return a->dtype == b->dtype && a->zero_point[0] == b->zero_point[0];
}

const struct pith_quantization *form_grid(struct plan *plan, const struct pith_quantization *grid,
                                          int32_t dtype)
{
    struct {
        struct pith_quantization grid;
        int32_t zero_point;
    } * made;

    if (grid->dtype == dtype)
        return grid;
    made = plan_alloc(plan, sizeof *made);
    if (!made)
        return NULL;
    made->grid = *grid; /* the scale stays where it is */
    made->grid.dtype = dtype;
    made->grid.zero_point = &made->zero_point;
    made->zero_point = signed_zero(grid) + offset_of(dtype);
    return &made->grid;
}

void form_join(struct plan *plan, uint32_t slot, uint32_t form)
{
    plan->slots[form].next_form = plan->slots[slot].next_form;
    plan->slots[slot].next_form = form;
}

static bool fits(const struct plan *plan, const struct slot *slot, const struct form *form)
{
    const bool image = form->channels_last && form_has_image(&slot->tensor.shape);

    if (slot->image.channels_last != image || (slot->tensor.dtype == PITH_FLOAT32) != form->real)
        return false;
    if (image && ((form->halo && slot->fixed) || (form->dense && slot->wide != PLAN_NO_SLOT) ||
                  (form->compact && !slot->fixed)))
        return false;
    if (image && slot->fixed && plan->slots[slot->root].place != SLOT_ARENA)
        return false; /* kernels may read a little behind an image */
    return form->real || form->dtype == PITH_DTYPE_NONE || slot->tensor.dtype == form->dtype;
}

/* The floats before they were rounded say as much as the integers do, where integers are wanted;
 * one step then rounds and lays out. */
static uint32_t source_of(const struct plan *plan, uint32_t slot, const struct form *form)
{
    const uint32_t unrounded = plan->slots[slot].unrounded;

    return form->real || unrounded == PLAN_NO_SLOT ? slot : unrounded;
}

static int add_form(struct plan *plan, uint32_t slot, const struct form *form, uint32_t *out)
{
    const struct slot from = plan->slots[slot];
    const int32_t dtype = form->real                       ? PITH_FLOAT32
                          : form->dtype != PITH_DTYPE_NONE ? form->dtype
                                                           : from.tensor.dtype;
    const struct pith_quantization *grid = NULL;
    int rc;

    if (!form->real && from.quantization) {
        grid = form_grid(plan, from.quantization, dtype);
        if (!grid)
            return -ENOMEM;
    }
    rc = plan_add_slot(plan, dtype, &from.tensor.shape, out);
    if (rc < 0)
        return rc;
    plan->slots[*out].quantization = grid;
    plan->slots[*out].image.channels_last =
        form->channels_last && form_has_image(&from.tensor.shape);
    plan->slots[*out].fixed = form->compact;
    return 0;
}

int form_of_slot(struct plan *plan, uint32_t slot, const struct form *form, uint32_t *out,
                 struct pith_error *err)
{
    uint32_t at = slot, made, source;
    struct plan_call call = {.node = PITH_NO_NODE,
                             .in = &source,
                             .out = &made,
                             .in_count = 1,
                             .out_count = 1,
                             .activation = PITH_ACTIVATION_NONE,
                             .form = STEP_IMAGE};
    int rc;

    do {
        if (fits(plan, &plan->slots[at], form)) {
            *out = at;
            return 0;
        }
        at = plan->slots[at].next_form;
    } while (at != slot);
    rc = add_form(plan, slot, form, &made);
    if (rc < 0)
        return rc;
    source = source_of(plan, slot, form);
    call.kernel = plan_own_kernel(plan->slots[made].image.channels_last ? "ToImage" : "ToPlanar",
                                  plan->slots[source].tensor.dtype, plan->slots[made].tensor.dtype);
    if (!call.kernel)
        return pith_fail(err, -ENOTSUP, "no way from %s to %s",
                         pith_dtype_name(plan->slots[source].tensor.dtype),
                         pith_dtype_name(plan->slots[made].tensor.dtype));
    rc = plan_add_step(plan, &call, err);
    if (rc < 0)
        return rc;
    form_join(plan, slot, made);
    *out = made;
    return 0;
}
