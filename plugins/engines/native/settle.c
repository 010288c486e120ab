/* Settling a plan over channels-last values, when all its steps are known: what nothing reads is
 * dropped, halos are what their readers need, slices find their place in wider values, and then the
 * steps that waited for all that are prepared. */
#include "plugins/engines/native/plan.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* ---- dropping steps ---- */

static bool is_own(const struct plan_step *step)
{
    return step->step.node == PITH_NO_NODE && !step->control;
}

static bool is_read(const struct plan *plan, const bool *read, uint32_t slot)
{
    return read[slot] || plan->slots[slot].wide != PLAN_NO_SLOT;
}

/* An alias is read as what it is an alias of. */
static void mark(struct plan *plan, bool *read, uint32_t slot)
{
    if (slot == PLAN_NO_SLOT)
        return;
    read[slot] = true;
    read[plan->slots[slot].root] = true;
}

/* Conversions were added when they might be wanted; those that nothing came to read go. */
static int drop_unread(struct plan *plan)
{
    bool *read = calloc(plan->slot_count + (size_t) 1, sizeof *read);
    size_t kept = plan->step_count;

    if (!read)
        return -ENOMEM;
    for (size_t i = 0; i < plan->output_count; i++)
        mark(plan, read, plan->output_slots[i]);
    for (size_t s = plan->step_count; s-- > 0;) {
        struct plan_step *step = plan->steps[s];

        if (is_own(step) && !is_read(plan, read, step->out[0])) {
            plan_step_free(step);
            continue;
        }
        for (size_t i = 0; i < step->step.input_count; i++)
            mark(plan, read, step->in[i]);
        plan->steps[--kept] = step;
    }
    if (kept > 0)
        memmove(plan->steps, plan->steps + kept, (plan->step_count - kept) * sizeof *plan->steps);
    plan->step_count -= kept;
    free(read);
    return 0;
}

/* ---- halos ---- */

static bool widen(struct pith_image *to, const struct pith_image *from)
{
    bool changed = false;

#define SIDE(side)                                                                                 \
    if (from->side > to->side) {                                                                   \
        to->side = from->side;                                                                     \
        changed = true;                                                                            \
    }
    SIDE(top)
    SIDE(bottom)
    SIDE(left) SIDE(right)
#undef SIDE
        return changed;
}

/* Both get the greater halo of the two. */
static bool widen_both(struct pith_image *a, struct pith_image *b)
{
    const bool first = widen(a, b), second = widen(b, a);

    return first || second;
}

/* Blind steps go through their operands' blocks halos and all, so these must be alike; slices have
 * the halo of the value around them. */
static bool spread_halos(struct plan *plan)
{
    bool changed = false;

    for (size_t s = plan->step_count; s-- > 0;) {
        const struct plan_step *step = plan->steps[s];
        struct pith_image *out =
            step->form == STEP_BLINDLY ? &plan->slots[step->out[0]].image : NULL;

        for (size_t i = 0; out && i < step->step.input_count; i++) {
            struct slot *in = step->in[i] == PLAN_NO_SLOT ? NULL : &plan->slots[step->in[i]];

            if (in && in->image.channels_last)
                changed = widen_both(&in->image, out) || changed;
        }
    }
    for (uint32_t i = 0; i < plan->slot_count; i++) {
        struct slot *slot = &plan->slots[i];

        if (slot->wide != PLAN_NO_SLOT)
            changed = widen_both(&plan->slots[slot->wide].image, &slot->image) || changed;
    }
    return changed;
}

/* ---- strides ---- */

/* A block of its own: strides, lead and bytes. -EFBIG past any size that makes sense. */
static int lay_block(struct slot *slot)
{
    const struct pith_image_dims d = pith_image_dims(&slot->tensor.shape);
    const int64_t element = pith_dtype_bits(slot->tensor.dtype) / 8;
    struct pith_image *image = &slot->image;
    int64_t rows, total, lead;

    image->pixel = d.c;
    if (__builtin_mul_overflow(d.w + image->left + image->right, d.c, &image->row) ||
        __builtin_add_overflow(d.h, (int64_t) image->top + image->bottom, &rows) ||
        __builtin_mul_overflow(image->row, rows, &image->picture) ||
        __builtin_mul_overflow(image->picture, d.n * element, &total) ||
        total > PITH_TENSOR_MAX_BYTES)
        return -EFBIG;
    lead = image->top * image->row + image->left * image->pixel;
    slot->lead_bytes = (size_t) (lead * element);
    slot->tensor.bytes = (size_t) total;
    return 0;
}

/* A slice of a value that is laid already: it shares rows and pixels, and begins further on. */
static void lay_slice(struct plan *plan, uint32_t number)
{
    struct slot *slot = &plan->slots[number];
    const struct slot *wide = &plan->slots[slot->wide];
    const size_t element = pith_dtype_bits(slot->tensor.dtype) / 8;

    slot->image = wide->image;
    slot->lead_bytes = wide->lead_bytes + (size_t) slot->wide_channel * element;
    slot->tensor.bytes = wide->tensor.bytes;
    for (uint32_t i = 0; i < plan->slot_count; i++)
        if (plan->slots[i].root == number)
            plan->slots[i].root = wide->root;
}

/* A slice's number is lower than that of the value it lies in, whose Concat came later, but for
 * slices that were copied there; so a few rounds lay everything. */
static int lay_images(struct plan *plan)
{
    bool *laid = calloc(plan->slot_count + (size_t) 1, sizeof *laid);
    bool more = true;
    int rc = laid ? 0 : -ENOMEM;

    for (uint32_t i = 0; i < plan->slot_count && rc == 0; i++)
        if (plan->slots[i].image.channels_last && plan->slots[i].wide == PLAN_NO_SLOT) {
            rc = lay_block(&plan->slots[i]);
            laid[i] = true;
        }
    while (more && rc == 0) {
        more = false;
        for (uint32_t i = plan->slot_count; i-- > 0;)
            if (plan->slots[i].wide != PLAN_NO_SLOT && !laid[i] && laid[plan->slots[i].wide]) {
                lay_slice(plan, i);
                laid[i] = more = true;
            }
    }
    free(laid);
    return rc;
}

/* ---- preparing ---- */

static void describe_images(struct plan *plan, struct plan_step *step)
{
    if (step->form != STEP_IMAGE)
        return;
    for (size_t i = 0; i < step->step.input_count; i++)
        if (step->in[i] != PLAN_NO_SLOT)
            step->in_image[i] = plan->slots[step->in[i]].image;
    for (size_t i = 0; i < step->step.output_count; i++)
        if (step->out[i] != PLAN_NO_SLOT)
            step->out_image[i] = plan->slots[step->out[i]].image;
}

static void describe_blind(const struct plan *plan, struct plan_step *step)
{
    const struct slot *out = &plan->slots[step->out[0]];

    step->blind.image = out->image;
    step->blind.dims = pith_image_dims(&out->tensor.shape);
    step->blind.lead_bytes = out->lead_bytes;
    step->blind.zero =
        out->tensor.dtype != PITH_FLOAT32 ? (uint8_t) out->quantization->zero_point[0] : 0;
}

/* The output is its input's memory from here on, and so is what was an alias of the output. */
static bool take_view(struct plan *plan, struct plan_step *step)
{
    const uint32_t out = step->out[0], in = step->in[step->step.view];
    const uint32_t root = plan->slots[in].root;

    if (plan->slots[out].wide != PLAN_NO_SLOT || plan->slots[in].wide != PLAN_NO_SLOT ||
        plan->slots[out].root != out || plan->slots[root].place != SLOT_ARENA)
        return false; /* also: nothing may be read behind memory that isn't the plan's */
    for (uint32_t i = 0; i < plan->slot_count; i++)
        if (plan->slots[i].root == out)
            plan->slots[i].root = root;
    step->kernel_name = "view";
    return true;
}

/* 1: prepared; 0: refused by its kernel. */
static int prepare(struct plan *plan, struct plan_step *step, struct pith_error *err)
{
    struct pith_error why = {0};
    int rc;

    describe_images(plan, step);
    plan_bind(plan, step);
    rc = pith_step_prepare(&step->step, &why);
    if (rc == -ENOMEM || (rc < 0 && is_own(step)))
        return pith_fail(err, rc, "%s", pith_error_text(&why));
    if (rc < 0) {
        const bool integers = step->step.kernel->flags & PITH_KERNEL_QUANTIZED;

        plan->refused[step->step.node] = integers && step->form == STEP_IMAGE ? REFUSED_INTEGERS : REFUSED_IMAGES;
        return 0;
    }
    if (step->step.scratch_bytes > plan->options.limit_bytes)
        return pith_fail(err, -EFBIG,
                         "%s \"%s\" needs %zu bytes of scratch, more than the engine's limit",
                         step->step.kernel->op, step->step.name, step->step.scratch_bytes);
    step->prepared = true;
    plan->weight_bytes += step->step.blocks.bytes;
    if (step->form == STEP_BLINDLY) {
        describe_blind(plan, step);
        step->step.view = -1; /* a view would leave the halo as it is */
    }
    if (step->step.view >= 0 && !take_view(plan, step))
        step->step.view = -1; /* its kernel copies as well */
    return 1;
}

int plan_settle(struct plan *plan, bool *out_refused, struct pith_error *err)
{
    int rc = drop_unread(plan);

    while (rc == 0 && spread_halos(plan))
        ;
    if (rc == 0)
        rc = lay_images(plan);
    if (rc == -EFBIG)
        return pith_fail(err, rc, "a value of the graph \"%s\" is too large", plan->name);
    for (size_t s = 0; s < plan->step_count && rc == 0; s++) {
        if (!plan->steps[s]->pending)
            continue;
        rc = prepare(plan, plan->steps[s], err);
        if (rc < 0)
            return rc;
        *out_refused = *out_refused || rc == 0;
        rc = 0;
    }
    return rc;
}

/* ---- blind steps ---- */

/* The block as a dense tensor N,H,W,C, the halo part of the picture. */
static void bind_block(const struct slot *slot, struct pith_tensor *operand)
{
    const struct pith_image_dims d = pith_image_dims(&slot->tensor.shape);
    const struct pith_image *image = &slot->image;

    operand->shape = (struct pith_shape){
        4, {d.n, d.h + image->top + image->bottom, d.w + image->left + image->right, d.c}};
    if (operand->data)
        operand->data = (uint8_t *) operand->data - slot->lead_bytes;
}

/* A constant of one element a channel, whose channels are the last axis here. */
static void bind_constant(const struct pith_shape *y, struct pith_tensor *operand)
{
    const struct pith_shape *shape = &operand->shape;
    const uint32_t axis = shape->rank + 1 - y->rank;

    if (shape->rank + 1 < y->rank || shape->rank > y->rank || shape->dim[axis] != y->dim[1] ||
        pith_shape_elements(shape) != y->dim[1])
        return;
    operand->shape = (struct pith_shape){1, {y->dim[1]}};
}

void blind_bind(const struct plan *plan, struct plan_step *step)
{
    const struct slot *out = &plan->slots[step->out[0]];

    for (size_t i = 0; i < step->step.input_count; i++) {
        if (step->in[i] == PLAN_NO_SLOT)
            continue;
        if (plan->slots[step->in[i]].image.channels_last)
            bind_block(&plan->slots[step->in[i]], &step->step.input[i]);
        else
            bind_constant(&out->tensor.shape, &step->step.input[i]);
    }
    bind_block(out, &step->step.output[0]);
}

int blind_run(struct pith_step *step, struct pith_error *err)
{
    const struct plan_step *of = (const struct plan_step *) (const void *) step;
    int rc = step->kernel->run(step, err);

    if (rc == 0)
        pith_image_fill_halo(&of->blind.image, &of->blind.dims,
                             (uint8_t *) step->output[0].data + of->blind.lead_bytes,
                             pith_dtype_bits(step->output[0].dtype) / 8, &of->blind.zero);
    return rc;
}
