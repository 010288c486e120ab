/* The static memory plan: which steps need which memory, in-place results, and offsets in one
 * arena. */
#include "plugins/engines/native/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct slot *root_of(struct plan *plan, uint32_t slot)
{
    return &plan->slots[plan->slots[slot].root];
}

static bool in_arena(const struct plan *plan, uint32_t slot)
{
    return plan->slots[plan->slots[slot].root].place == SLOT_ARENA;
}

static void extend(struct plan *plan, uint32_t slot, size_t step)
{
    struct slot *root = root_of(plan, slot);

    root->last = step > root->last ? step : root->last;
}

static void touch(struct plan *plan, const uint32_t *slots, size_t count, size_t step)
{
    for (size_t i = 0; i < count; i++)
        if (slots[i] != PLAN_NO_SLOT)
            extend(plan, slots[i], step);
}

/* Links of a row group take turns, so that what they read or write is needed from the first to the last of them. */
static void stretch_over_group(struct plan *plan, const struct row_group *group)
{
    const size_t first = row_group_first(group), last = row_group_last(group);

    for (size_t s = first; s <= last; s++) {
        const struct plan_step *step = plan->steps[s];

        touch(plan, step->in, step->step.input_count, last);
        for (size_t i = 0; i < step->step.output_count; i++)
            if (step->out[i] != PLAN_NO_SLOT && root_of(plan, step->out[i])->first > first)
                root_of(plan, step->out[i])->first = first;
    }
}

/* Last uses, views counted to their roots. Outputs live past the last step. */
static void find_live_ranges(struct plan *plan)
{
    for (uint32_t i = 0; i < plan->slot_count; i++) {
        plan->slots[i].first = SIZE_MAX;
        plan->slots[i].last = 0;
    }
    for (size_t s = 0; s < plan->step_count; s++) {
        const struct plan_step *step = plan->steps[s];

        for (size_t i = 0; i < step->step.output_count; i++)
            if (step->out[i] != PLAN_NO_SLOT && s < root_of(plan, step->out[i])->first)
                root_of(plan, step->out[i])->first = s; /* of several slices, the first one's */
        touch(plan, step->in, step->step.input_count, s);
        touch(plan, step->out, step->step.output_count, s);
    }
    for (size_t c = 0; c < plan->row_group_count; c++)
        stretch_over_group(plan, plan->row_groups[c]);
    touch(plan, plan->output_slots, plan->output_count, plan->step_count);
}

/* Whether another operand of the step lies in the same memory: a view of another shape would be
 * overwritten while it is still read. */
static bool read_twice(const struct plan *plan, const struct plan_step *step, size_t input)
{
    for (size_t i = 0; i < step->step.input_count; i++)
        if (i != input && step->in[i] != PLAN_NO_SLOT &&
            plan->slots[step->in[i]].root == plan->slots[step->in[input]].root)
            return true;
    return false;
}

/* Whether two slots' bytes lie alike, from the first one of their memory on. */
static bool lie_alike(const struct slot *a, const struct slot *b)
{
    return a->wide == PLAN_NO_SLOT && b->wide == PLAN_NO_SLOT &&
           a->tensor.bytes == b->tensor.bytes && a->lead_bytes == b->lead_bytes &&
           a->image.channels_last == b->image.channels_last && a->image.pixel == b->image.pixel &&
           a->image.row == b->image.row && a->image.picture == b->image.picture;
}

/* An output takes over the memory of an input that nobody needs any more. */
static void share_in_place(struct plan *plan)
{
    for (size_t s = 0; s < plan->step_count; s++) {
        struct plan_step *step = plan->steps[s];
        const uint32_t out = step->step.output_count ? step->out[0] : PLAN_NO_SLOT;

        if (step->late || step->control || step->group || !step->step.in_place || out == PLAN_NO_SLOT ||
            plan->slots[out].root != out)
            continue;
        for (uint32_t i = 0; i < step->step.input_count && i < 32; i++) {
            const uint32_t in = step->in[i];

            if (!(step->step.in_place >> i & 1) || in == PLAN_NO_SLOT || !in_arena(plan, in) ||
                read_twice(plan, step, i) || root_of(plan, in)->last != s ||
                root_of(plan, in)->tensor.bytes != plan->slots[out].tensor.bytes ||
                !lie_alike(&plan->slots[in], &plan->slots[out]))
                continue;
            for (uint32_t v = 0; v < plan->slot_count; v++)
                if (v != out && plan->slots[v].root == out) /* views of the output */
                    plan->slots[v].root = plan->slots[in].root;
            root_of(plan, in)->last = plan->slots[out].last;
            plan->slots[out].root = plan->slots[in].root;
            break;
        }
    }
}

struct block { /* a root in the arena, while offsets are given */
    uint32_t slot;
    size_t bytes;
};

static int larger_first(const void *a, const void *b)
{
    const struct block *x = a, *y = b;

    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x->slot < y->slot ? -1 : 1; /* the same plan each time */
}

static bool alive_together(const struct slot *a, const struct slot *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* The lowest place where the block meets none of those placed before that live at the same time. */
static size_t find_place(const struct plan *plan, const struct block *blocks, size_t placed,
                         const struct block *block)
{
    const struct slot *slot = &plan->slots[block->slot];
    size_t offset = 0;
    bool moved = true;

    while (moved) {
        moved = false;
        for (size_t i = 0; i < placed; i++) {
            const struct slot *other = &plan->slots[blocks[i].slot];

            if (alive_together(slot, other) && offset < other->offset + blocks[i].bytes &&
                other->offset < offset + block->bytes) {
                offset = other->offset + blocks[i].bytes;
                moved = true;
            }
        }
    }
    return offset;
}

static size_t round_up(size_t bytes)
{
    return (bytes + PLAN_ALIGNMENT - 1) / PLAN_ALIGNMENT * PLAN_ALIGNMENT;
}

/* Larger blocks first, each as low as it goes: close to optimal on real graphs, and the same each
 * time. */
static int place_blocks(struct plan *plan, size_t *out_bytes)
{
    struct block *blocks = malloc((plan->slot_count + (size_t) 1) * sizeof *blocks);
    size_t count = 0;

    if (!blocks)
        return -ENOMEM;
    for (uint32_t i = 0; i < plan->slot_count; i++)
        if (plan->slots[i].place == SLOT_ARENA && plan->slots[i].root == i)
            blocks[count++] =
                (struct block){i, round_up(plan->slots[i].tensor.bytes + PITH_IMAGE_SLACK_BYTES)};
    qsort(blocks, count, sizeof *blocks, larger_first);
    for (size_t i = 0; i < count; i++) {
        const size_t offset = find_place(plan, blocks, i, &blocks[i]);

        plan->slots[blocks[i].slot].offset = offset;
        *out_bytes = offset + blocks[i].bytes > *out_bytes ? offset + blocks[i].bytes : *out_bytes;
    }
    free(blocks);
    return 0;
}

static void point_slots(struct plan *plan)
{
    for (uint32_t i = 0; i < plan->slot_count; i++) {
        const struct slot *root = root_of(plan, i);

        if (root->place == SLOT_ARENA)
            plan->slots[i].tensor.data = plan->arena + root->offset + plan->slots[i].lead_bytes;
        else if (root->place == SLOT_CONSTANT)
            plan->slots[i].tensor.data = root->tensor.data;
    }
}

/* Operands in inputs of the plan get their pointers in each run. */
static int find_fixups(struct plan *plan)
{
    size_t operands = 0;

    for (size_t s = 0; s < plan->step_count; s++)
        operands += plan->steps[s]->step.input_count;
    plan->fixups = calloc(operands + 1, sizeof *plan->fixups);
    if (!plan->fixups)
        return -ENOMEM;
    for (size_t s = 0; s < plan->step_count; s++) {
        struct plan_step *step = plan->steps[s];

        for (size_t i = 0; i < step->step.input_count; i++)
            if (step->in[i] != PLAN_NO_SLOT && root_of(plan, step->in[i])->place == SLOT_INPUT)
                plan->fixups[plan->fixup_count++] =
                    (struct plan_fixup){&step->step.input[i], root_of(plan, step->in[i])->input};
    }
    return 0;
}

/* A plan's output is its own memory, also where it is one of its inputs: a copy then. */
static int copy_input_outputs(struct plan *plan, struct pith_error *err)
{
    const struct pith_kernel *copy = plan_own_kernel("Copy", PITH_DTYPE_NONE, PITH_DTYPE_NONE);

    for (size_t i = 0; i < plan->output_count; i++) {
        const uint32_t from = plan->output_slots[i];
        uint32_t to;
        int rc;

        if (root_of(plan, from)->place != SLOT_INPUT)
            continue;
        rc = plan_add_slot(plan, plan->slots[from].tensor.dtype, &plan->slots[from].tensor.shape,
                           &to);
        if (rc == 0)
            rc = plan_add_step(plan,
                               &(struct plan_call){.kernel = copy,
                                                   .node = PITH_NO_NODE,
                                                   .in = &from,
                                                   .out = &to,
                                                   .in_count = 1,
                                                   .out_count = 1,
                                                   .activation = PITH_ACTIVATION_NONE},
                               err);
        if (rc < 0)
            return rc;
        plan->output_slots[i] = to;
    }
    return 0;
}

int plan_lay_out(struct plan *plan, struct pith_error *err)
{
    size_t slots_bytes = 0, scratch_bytes = 0;
    int rc = copy_input_outputs(plan, err);

    if (rc < 0)
        return rc;
    rc = plan_find_row_groups(plan);
    if (rc < 0)
        return rc;
    find_live_ranges(plan);
    share_in_place(plan);
    rc = place_blocks(plan, &slots_bytes);
    if (rc < 0)
        return rc;
    for (size_t s = 0; s < plan->step_count; s++)
        if (!plan->steps[s]->late && plan->steps[s]->step.scratch_bytes > scratch_bytes)
            scratch_bytes = plan->steps[s]->step.scratch_bytes;
    for (size_t c = 0; c < plan->row_group_count; c++)
        if (row_group_step(plan->row_groups[c])->scratch_bytes > scratch_bytes)
            scratch_bytes = row_group_step(plan->row_groups[c])->scratch_bytes;
    plan->scratch_offset = slots_bytes;
    plan->arena_bytes = slots_bytes + round_up(scratch_bytes);
    if (plan->arena_bytes > plan->options.limit_bytes)
        return pith_fail(err, -EFBIG,
                         "the graph \"%s\" needs %llu bytes for activations, more than the "
                         "engine's limit of %llu",
                         plan->name, (unsigned long long) plan->arena_bytes,
                         (unsigned long long) plan->options.limit_bytes);
    plan->arena = pith_blocks_alloc_sparse(&plan->blocks, plan->arena_bytes + PLAN_ALIGNMENT);
    if (!plan->arena)
        return -ENOMEM;
    point_slots(plan);
    for (size_t s = 0; s < plan->step_count; s++) {
        plan_bind(plan, plan->steps[s]);
        plan->steps[s]->step.scratch = plan->arena + plan->scratch_offset;
        if (!plan->steps[s]->control && plan->steps[s]->step.view < 0)
            plan->steps[s]->run =
                plan->steps[s]->form == STEP_BLINDLY ? blind_run : plan->steps[s]->step.kernel->run;
    }
    for (size_t c = 0; c < plan->row_group_count; c++)
        row_group_step(plan->row_groups[c])->scratch = plan->arena + plan->scratch_offset;
    rc = find_fixups(plan);
    return rc < 0 ? rc : plan_list_entries(plan);
}
