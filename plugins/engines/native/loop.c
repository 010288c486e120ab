/* Loop and Scan. The body is compiled for the shapes that its state has, and again when they change
 * from round to round. State is copied between rounds, since a body's outputs lie in its own arena.
 */
#include "plugins/engines/native/control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What a scan output has collected, round behind round. */
struct pile {
    uint8_t *data;
    size_t bytes, capacity;
    struct pith_shape shape; /* of one round */
    int32_t dtype;
    int64_t rounds;
};

struct rounds { /* one run of a Loop or Scan */
    struct plan *plan;
    struct plan_step *step;
    struct body *body;
    struct pith_tensor *state; /* own memory each */
    size_t state_count;
    struct pile *piles;
    size_t pile_count;
};

static int rounds_init(struct rounds *r, struct plan *plan, struct plan_step *step, size_t states,
                       struct pith_error *err)
{
    const size_t outputs = step->step.output_count;

    *r = (struct rounds){
        .plan = plan, .step = step, .body = &step->control->body[0], .state_count = states};
    if (outputs < states)
        return pith_fail(err, -EINVAL, "%s \"%s\" has %zu outputs for %zu states",
                         step->kernel_name, step->step.name, outputs, states);
    r->pile_count = outputs - states;
    r->state = calloc(states + 1, sizeof *r->state);
    r->piles = calloc(r->pile_count + 1, sizeof *r->piles);
    body_capture(r->body, step);
    return r->state && r->piles ? 0 : -ENOMEM;
}

static void rounds_done(struct rounds *r)
{
    for (size_t i = 0; r->state && i < r->state_count; i++)
        pith_tensor_free(&r->state[i]);
    for (size_t i = 0; r->piles && i < r->pile_count; i++)
        free(r->piles[i].data);
    free(r->state);
    free(r->piles);
}

static int replace_state(struct rounds *r, size_t index, const struct pith_tensor *from,
                         struct pith_error *err)
{
    struct pith_tensor copy;
    int rc;

    if (r->state[index].data && r->state[index].dtype == from->dtype &&
        pith_shape_equal(&r->state[index].shape, &from->shape)) {
        if (from->bytes)
            memcpy(r->state[index].data, from->data, from->bytes);
        return 0;
    }
    rc = pith_tensor_copy(&copy, from, err);
    if (rc < 0)
        return rc;
    pith_tensor_free(&r->state[index]);
    r->state[index] = copy;
    return 0;
}

static int pile_add(struct rounds *r, struct pile *pile, const struct pith_tensor *from,
                    struct pith_error *err)
{
    const size_t wanted = pile->bytes + from->bytes;

    if (pile->rounds == 0) {
        pile->shape = from->shape;
        pile->dtype = from->dtype;
    } else if (pile->dtype != from->dtype || !pith_shape_equal(&pile->shape, &from->shape)) {
        return pith_fail(err, -EINVAL,
                         "%s \"%s\": a collected output changes its shape from round to round",
                         r->step->kernel_name, r->step->step.name);
    }
    if (wanted > r->plan->options.limit_bytes)
        return pith_fail(err, -ENOMEM, "%s \"%s\" collects more than the engine's memory limit",
                         r->step->kernel_name, r->step->step.name);
    if (wanted > pile->capacity) {
        uint8_t *grown = realloc(pile->data, 2 * wanted);

        if (!grown)
            return -ENOMEM;
        pile->data = grown;
        pile->capacity = 2 * wanted;
    }
    if (from->bytes)
        memcpy(pile->data + pile->bytes, from->data, from->bytes);
    pile->bytes = wanted;
    pile->rounds++;
    return 0;
}

/* Runs the body once; its outputs from `first_state` on are states, then collected outputs. */
static int one_round(struct rounds *r, size_t first_state, struct pith_error *err)
{
    int rc = body_compile(r->body, &r->step->control->options, err);

    if (rc == 0 && r->body->plan->output_count != first_state + r->state_count + r->pile_count)
        rc = pith_fail(err, -EINVAL, "%s \"%s\": the body gives %zu outputs, %zu are needed",
                       r->step->kernel_name, r->step->step.name, r->body->plan->output_count,
                       first_state + r->state_count + r->pile_count);
    if (rc == 0)
        rc = body_run(r->body, err);
    for (size_t i = 0; i < r->pile_count && rc == 0; i++) {
        struct pith_tensor from;

        plan_output(r->body->plan, first_state + r->state_count + i, &from);
        rc = pile_add(r, &r->piles[i], &from, err);
    }
    for (size_t i = 0; i < r->state_count && rc == 0; i++) {
        struct pith_tensor from;

        plan_output(r->body->plan, first_state + i, &from);
        rc = replace_state(r, i, &from, err);
    }
    return rc;
}

static int give_tensor(struct rounds *r, size_t output, const struct pith_tensor *from,
                       struct pith_error *err)
{
    const uint32_t slot = r->step->out[output];
    int rc;

    if (slot == PLAN_NO_SLOT)
        return 0;
    if (r->plan->slots[slot].tensor.dtype != from->dtype)
        return pith_fail(err, -EINVAL, "%s \"%s\": output %zu is %s and was to be %s",
                         r->step->kernel_name, r->step->step.name, output,
                         pith_dtype_name(from->dtype),
                         pith_dtype_name(r->plan->slots[slot].tensor.dtype));
    rc = plan_size_slot(r->plan, slot, &from->shape, err);
    if (rc == 0 && from->bytes)
        memcpy(r->plan->slots[slot].tensor.data, from->data, from->bytes);
    return rc;
}

/* Of all rounds together, along `axis`. Of no round it is what was known before, and 0 for what was not. */
static int stacked_shape(const struct rounds *r, size_t index, int64_t axis, struct pith_shape *out,
                         uint32_t *out_at, struct pith_error *err)
{
    const struct pile *pile = &r->piles[index];
    const struct pith_shape *given = &r->step->control->given[r->state_count + index];
    const bool none = pile->rounds == 0 && given->rank > 0;
    const int64_t rank = none ? given->rank : (int64_t) pile->shape.rank + 1,
                  at = axis < 0 ? axis + rank : axis;

    if (at < 0 || at >= rank || rank > PITH_MAX_RANK)
        return pith_fail(
            err, -EINVAL, "%s \"%s\": axis %lld of a collected output is outside of rank %lld",
            r->step->kernel_name, r->step->step.name, (long long) axis, (long long) rank);
    *out = (struct pith_shape){.rank = (uint32_t) rank};
    for (uint32_t i = 0, from = 0; i < out->rank; i++)
        out->dim[i] = i == (uint32_t) at ? pile->rounds
                      : !none            ? pile->shape.dim[from++]
                      : given->dim[i] > 0 ? given->dim[i]
                                          : 0;
    *out_at = (uint32_t) at;
    return 0;
}

/* Stacks what was collected along `axis`, last round first where backward. */
static int give_pile(struct rounds *r, size_t index, int64_t axis, bool backward,
                     struct pith_error *err)
{
    struct pile *pile = &r->piles[index];
    const uint32_t slot = r->step->out[r->state_count + index];
    struct pith_shape shape;
    size_t inner_bytes, outer = 1;
    uint32_t at = 0;
    int rc;

    if (slot == PLAN_NO_SLOT)
        return 0;
    rc = stacked_shape(r, index, axis, &shape, &at, err);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < at; i++)
        outer *= (size_t) shape.dim[i];
    rc = plan_size_slot(r->plan, slot, &shape, err);
    if (rc < 0 || pile->bytes == 0)
        return rc;
    inner_bytes = pile->bytes / (size_t) pile->rounds / outer;
    for (int64_t round = 0; round < pile->rounds; round++)
        for (size_t o = 0; o < outer; o++)
            memcpy((uint8_t *) r->plan->slots[slot].tensor.data +
                       (o * (size_t) pile->rounds +
                        (size_t) (backward ? pile->rounds - 1 - round : round)) *
                           inner_bytes,
                   pile->data + ((size_t) round * outer + o) * inner_bytes, inner_bytes);
    return 0;
}

/* ---- Loop ---- */

static int read_trip(const struct plan_step *step, int64_t *out_trip, uint8_t *out_condition,
                     struct pith_error *err)
{
    const struct pith_tensor *trip = &step->step.input[0], *condition = &step->step.input[1];

    *out_trip = INT64_MAX;
    *out_condition = 1;
    if (step->step.input_count > 0 && step->in[0] != PLAN_NO_SLOT) {
        if (trip->dtype != PITH_INT64 || trip->bytes < sizeof(int64_t))
            return pith_fail(err, -EINVAL, "Loop \"%s\": the trip count is no int64",
                             step->step.name);
        *out_trip = pith_tensor_get_int(trip, 0);
    }
    if (step->step.input_count > 1 && step->in[1] != PLAN_NO_SLOT) {
        if (condition->dtype != PITH_BOOL || condition->bytes < 1)
            return pith_fail(err, -EINVAL, "Loop \"%s\": the condition is no boolean",
                             step->step.name);
        *out_condition = *(const uint8_t *) condition->data != 0;
    }
    return 0;
}

/* Body: iteration number, condition, states -> condition, states, collected outputs. */
static int loop_rounds(struct rounds *r, int64_t trip, uint8_t condition, struct pith_error *err)
{
    int64_t round = 0;
    int rc = 0;

    for (; round < trip && condition && rc == 0; round++) {
        struct pith_tensor after;

        r->body->inputs[0] = (struct pith_tensor){PITH_INT64, {0}, &round, sizeof round};
        r->body->inputs[1] = (struct pith_tensor){PITH_BOOL, {0}, &condition, sizeof condition};
        memcpy(&r->body->inputs[2], r->state, r->state_count * sizeof *r->state);
        rc = one_round(r, 1, err);
        if (rc < 0)
            break;
        plan_output(r->body->plan, 0, &after);
        if (after.dtype != PITH_BOOL || after.bytes < 1)
            return pith_fail(err, -EINVAL, "Loop \"%s\": the body's condition is no boolean",
                             r->step->step.name);
        condition = *(const uint8_t *) after.data != 0;
    }
    return rc;
}

int loop_run(struct plan *plan, struct plan_step *step, struct pith_error *err)
{
    const size_t inputs = step->control->body[0].capture_first,
                 states = inputs < 2 ? 0 : inputs - 2;
    struct rounds r;
    int64_t trip;
    uint8_t condition;
    int rc = read_trip(step, &trip, &condition, err);

    if (rc < 0)
        return rc;
    rc = rounds_init(&r, plan, step, states, err);
    if (rc == 0 && r.body->own_count != states + 2)
        rc = pith_fail(err, -EINVAL, "Loop \"%s\": the body takes %zu inputs, %zu are given",
                       step->step.name, r.body->own_count, states + 2);
    for (size_t i = 0; i < states && rc == 0; i++)
        rc = replace_state(&r, i, &step->step.input[2 + i], err);
    if (rc == 0)
        rc = loop_rounds(&r, trip, condition, err);
    for (size_t i = 0; i < states && rc == 0; i++)
        rc = give_tensor(&r, i, &r.state[i], err);
    for (size_t i = 0; i < r.pile_count && rc == 0; i++)
        rc = give_pile(&r, i, 0, false, err);
    rounds_done(&r);
    return rc;
}

/* ---- Scan ---- */

static void read_entry(const int64_t *list, size_t count, size_t index, int64_t *out)
{
    *out = list && index < count ? list[index] : 0;
}

int scan_read(const struct pith_graph *graph, uint32_t node, struct control *control,
              struct pith_error *err)
{
    const int64_t scans = pith_node_int(graph, node, "num_scan_inputs", 0);
    const size_t outputs = pith_node_output_count(graph, node),
                 inputs = pith_node_input_count(graph, node);
    size_t counts[4] = {0};
    const int64_t *lists[4] = {pith_node_ints(graph, node, "scan_input_axes", &counts[0]),
                               pith_node_ints(graph, node, "scan_output_axes", &counts[1]),
                               pith_node_ints(graph, node, "scan_input_directions", &counts[2]),
                               pith_node_ints(graph, node, "scan_output_directions", &counts[3])};

    if (scans < 1 || (uint64_t) scans > inputs)
        return pith_fail(err, -EINVAL, "Scan \"%s\": num_scan_inputs is %lld of %zu inputs",
                         pith_node_name(graph, node), (long long) scans, inputs);
    control->scan_inputs = (size_t) scans;
    control->axes = calloc((size_t) scans + outputs + 1, sizeof *control->axes);
    control->backward = calloc((size_t) scans + outputs + 1, sizeof *control->backward);
    if (!control->axes || !control->backward)
        return -ENOMEM;
    for (size_t i = 0; i < (size_t) scans + outputs; i++) {
        const size_t kind = i < (size_t) scans ? 0 : 1, index = kind ? i - (size_t) scans : i;
        int64_t direction;

        read_entry(lists[kind], counts[kind], index, &control->axes[i]);
        read_entry(lists[2 + kind], counts[2 + kind], index, &direction);
        control->backward[i] = direction == 1;
    }
    return 0;
}

/* One slice of a scan input along its axis, into a tensor of its own. */
static int take_slice(const struct pith_tensor *from, int64_t axis, int64_t index,
                      struct pith_tensor *slice, struct pith_error *err)
{
    const uint32_t at = (uint32_t) (axis < 0 ? axis + from->shape.rank : axis);
    size_t outer = 1, inner_bytes;

    if (!slice->data) {
        struct pith_shape shape = {.rank = from->shape.rank - 1};
        int rc;

        for (uint32_t i = 0; i < shape.rank; i++)
            shape.dim[i] = from->shape.dim[i < at ? i : i + 1];
        rc = pith_tensor_alloc(slice, from->dtype, &shape, err);
        if (rc < 0)
            return rc;
    }
    for (uint32_t i = 0; i < at; i++)
        outer *= (size_t) from->shape.dim[i];
    inner_bytes = outer ? slice->bytes / outer : 0;
    for (size_t o = 0; o < outer && inner_bytes; o++)
        memcpy((uint8_t *) slice->data + o * inner_bytes,
               (const uint8_t *) from->data +
                   (o * (size_t) from->shape.dim[at] + (size_t) index) * inner_bytes,
               inner_bytes);
    return 0;
}

static int scan_length(const struct plan_step *step, size_t states, int64_t *out,
                       struct pith_error *err)
{
    *out = -1;
    for (size_t i = 0; i < step->control->scan_inputs; i++) {
        const struct pith_shape *shape = &step->step.input[states + i].shape;
        const int64_t axis = step->control->axes[i], at = axis < 0 ? axis + shape->rank : axis;

        if (at < 0 || at >= (int64_t) shape->rank)
            return pith_fail(err, -EINVAL, "Scan \"%s\": axis %lld is outside of rank %u",
                             step->step.name, (long long) axis, shape->rank);
        if (*out >= 0 && shape->dim[at] != *out)
            return pith_fail(err, -EINVAL, "Scan \"%s\": inputs of %lld and %lld slices",
                             step->step.name, (long long) *out, (long long) shape->dim[at]);
        *out = shape->dim[at];
    }
    return 0;
}

static int scan_rounds(struct rounds *r, struct pith_tensor *slices, int64_t length,
                       struct pith_error *err)
{
    const struct control *control = r->step->control;
    int rc = 0;

    for (int64_t round = 0; round < length && rc == 0; round++) {
        memcpy(r->body->inputs, r->state, r->state_count * sizeof *r->state);
        for (size_t i = 0; i < control->scan_inputs && rc == 0; i++) {
            rc = take_slice(&r->step->step.input[r->state_count + i], control->axes[i],
                            control->backward[i] ? length - 1 - round : round, &slices[i], err);
            r->body->inputs[r->state_count + i] = slices[i];
        }
        if (rc == 0)
            rc = one_round(r, 0, err);
    }
    return rc;
}

int scan_run(struct plan *plan, struct plan_step *step, struct pith_error *err)
{
    const struct control *control = step->control;
    const size_t states = control->body[0].capture_first - control->scan_inputs;
    struct pith_tensor *slices = calloc(control->scan_inputs + 1, sizeof *slices);
    struct rounds r;
    int64_t length = 0;
    int rc = rounds_init(&r, plan, step, states, err);

    if (!slices)
        rc = -ENOMEM;
    if (rc == 0 && r.body->own_count != control->body[0].capture_first)
        rc = pith_fail(err, -EINVAL, "Scan \"%s\": the body takes %zu inputs, %zu are given",
                       step->step.name, r.body->own_count, control->body[0].capture_first);
    if (rc == 0)
        rc = scan_length(step, states, &length, err);
    for (size_t i = 0; i < states && rc == 0; i++)
        rc = replace_state(&r, i, &step->step.input[i], err);
    if (rc == 0)
        rc = scan_rounds(&r, slices, length, err);
    for (size_t i = 0; i < states && rc == 0; i++)
        rc = give_tensor(&r, i, &r.state[i], err);
    for (size_t i = 0; i < r.pile_count && rc == 0; i++)
        rc = give_pile(&r, i, control->axes[control->scan_inputs + i],
                       control->backward[control->scan_inputs + i], err);
    for (size_t i = 0; slices && i < control->scan_inputs; i++)
        pith_tensor_free(&slices[i]);
    free(slices);
    rounds_done(&r);
    return rc;
}
