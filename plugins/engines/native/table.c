/* Functions of one element between grids of 8 bits: whatever operators a model writes them in (Hardswish as HardSigmoid and
 * Mul, or as Add, Clip, Mul and Div; x * sigmoid(x); Gelu by Erf), there are 256 values that go in, so the operators run over
 * these when the plan is made, and a table is left. What comes out is what executing Q and DQ literally gives. */
#include "plugins/engines/native/plan.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES    256
#define MOST_NODES 12 /* of one function */
#define MOST_PORTS 3  /* inputs of one of its nodes */

struct function {
    uint32_t x, y; /* values on grids; y: PITH_NO_VALUE until it is found */
    const struct pith_shape *shape;
    uint32_t nodes[MOST_NODES];
    size_t count;
};

static bool maps(const char *op)
{
    static const char *const list[] = {
        "Relu",        "LeakyRelu", "Clip",       "Sigmoid", "Tanh",
        "HardSigmoid", "HardSwish", "Elu",        "Selu",    "Celu",
        "Softplus",    "Softsign",  "Abs",        "Neg",     "Exp",
        "Log",         "Sqrt",      "Reciprocal", "Erf",     "Gelu",
        "Mish",        "Floor",     "Ceil",       "Round",   "ThresholdedRelu",
        "Max",         "Min",       "Add",        "Sub",     "Mul",
        "Div",         "Pow",       "PRelu",      "Identity", NULL};

    return plan_is_one_of(op, list);
}

static bool is_number(const struct plan *plan, const struct function *f, uint32_t value)
{
    const struct pith_tensor *constant = pith_value_constant(plan->graph, value);

    return constant && pith_shape_elements(&constant->shape) == 1 &&
           constant->shape.rank <= f->shape->rank;
}

static bool has_node(const struct function *f, uint32_t node)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->nodes[i] == node)
            return true;
    return false;
}

/* ---- which nodes belong to it ---- */

/* Takes the node in, and those before it that make its inputs of x; false where something else goes in. */
static bool take(const struct plan *plan, struct function *f, uint32_t node)
{
    const struct pith_graph *graph = plan->graph;

    if (has_node(f, node))
        return true;
    if (f->count == MOST_NODES || plan->absorbed[node] || pith_node_domain(graph, node)[0] != 0 ||
        !maps(pith_node_op(graph, node)) || pith_node_output_count(graph, node) != 1 ||
        pith_node_output(graph, node, 0) == PITH_NO_VALUE ||
        pith_node_input_count(graph, node) > MOST_PORTS)
        return false;
    f->nodes[f->count++] = node;
    for (size_t i = 0; i < pith_node_input_count(graph, node); i++) {
        const uint32_t value = pith_node_input(graph, node, i);
        uint32_t from;

        if (value == PITH_NO_VALUE || value == f->x || is_number(plan, f, value))
            continue;
        from = pith_value_quantization(graph, value) ? PITH_NO_NODE
                                                     : pith_value_producer(graph, value);
        if (from == PITH_NO_NODE || !take(plan, f, from))
            return false;
    }
    return true;
}

/* Whether something besides the function's nodes reads the value, or nothing. */
static bool is_open(const struct plan *plan, const struct function *f, uint32_t value)
{
    size_t count = 0, uses = 0;
    const uint32_t *users = pith_value_users(plan->graph, value, &count);

    if (pith_value_is_captured(plan->graph, value) || pith_value_is_output(plan->graph, value))
        return true;
    for (size_t i = 0; i < count; i++)
        uses += has_node(f, users[i]);
    return uses < count || count == 0;
}

/* Goes on with what reads the function's open values, until one is left that lies on a grid. */
static bool complete(const struct plan *plan, struct function *f)
{
    for (;;) {
        uint32_t open = PITH_NO_VALUE;
        size_t open_count = 0, count = 0;
        const uint32_t *users;

        for (size_t i = 0; i < f->count; i++) {
            const uint32_t value = pith_node_output(plan->graph, f->nodes[i], 0);

            if (!is_open(plan, f, value))
                continue;
            open_count++;
            if (open == PITH_NO_VALUE || pith_value_quantization(plan->graph, open))
                open = value;
        }
        if (open_count == 0)
            return false;
        if (open_count == 1 && pith_value_quantization(plan->graph, open)) {
            f->y = open;
            return form_is_eight_bits(pith_value_quantization(plan->graph, open));
        }
        if (pith_value_quantization(plan->graph, open) ||
            pith_value_is_captured(plan->graph, open) || pith_value_is_output(plan->graph, open))
            return false;
        users = pith_value_users(plan->graph, open, &count);
        for (size_t i = 0; i < count; i++)
            if (!take(plan, f, users[i]))
                return false;
    }
}

/* The function of the node's only input that is no number. */
static bool find(struct plan *plan, uint32_t node, struct function *f)
{
    *f = (struct function){.x = PITH_NO_VALUE, .y = PITH_NO_VALUE};
    if (!maps(pith_node_op(plan->graph, node)))
        return false;
    for (size_t i = 0; i < pith_node_input_count(plan->graph, node); i++) {
        const uint32_t value = pith_node_input(plan->graph, node, i);

        if (value == PITH_NO_VALUE || pith_value_constant(plan->graph, value))
            continue;
        if (f->x != PITH_NO_VALUE && f->x != value)
            return false;
        f->x = value;
    }
    for (size_t i = 0; f->x != PITH_NO_VALUE && i < pith_node_input_count(plan->graph, node); i++)
        if (pith_node_input(plan->graph, node, i) == f->x &&
            integer_stored_input(plan, node, i) == PLAN_NO_SLOT)
            return false;
    if (f->x == PITH_NO_VALUE || !plan->slots[plan->slot_of_value[f->x]].known)
        return false;
    f->shape = pith_value_shape(plan->graph, f->x);
    return f->shape && take(plan, f, node) && complete(plan, f);
}

/* ---- its table ---- */

/* The inputs of a node: the values that x or a node of the function has, and numbers. */
static int bind_inputs(struct plan *plan, const struct function *f, struct plan_step *step,
                       uint32_t node, float (*results)[ENTRIES], float *x, struct pith_error *err)
{
    for (size_t i = 0; i < step->step.input_count; i++) {
        const uint32_t value = pith_node_input(plan->graph, node, i);
        float *values = value == f->x ? x : NULL;
        uint32_t slot;
        int rc;

        if (value == PITH_NO_VALUE)
            continue;
        for (size_t n = 0; n < f->count && !values; n++)
            if (pith_node_output(plan->graph, f->nodes[n], 0) == value)
                values = results[n];
        if (values) {
            step->step.input[i] =
                (struct pith_tensor){PITH_FLOAT32, {1, {ENTRIES}}, values, sizeof *results};
            continue;
        }
        rc = plan_plain_slot(plan, value, &slot, err);
        if (rc < 0)
            return rc;
        step->step.input[i] = plan->slots[slot].tensor;
        if (step->step.input[i].shape.rank > 1)
            step->step.input[i].shape = (struct pith_shape){1, {1}};
    }
    return 0;
}

/* Runs the float kernel of node `at` over all entries. -ENOTSUP: it has none for that. */
static int run_node(struct plan *plan, const struct function *f, size_t at,
                    float (*results)[ENTRIES], float *x, struct pith_error *err)
{
    const uint32_t node = f->nodes[at];
    const struct pith_kernel *kernel = plan_find_kernel(plan->graph, node, false, NULL);
    struct plan_step *step;
    int rc;

    if (!kernel)
        return -ENOTSUP;
    rc = plan_step_new(plan, NULL, pith_node_input_count(plan->graph, node), 1, &step);
    if (rc < 0)
        return rc;
    rc = bind_inputs(plan, f, step, node, results, x, err);
    step->step.output[0] =
        (struct pith_tensor){PITH_FLOAT32, {1, {ENTRIES}}, results[at], sizeof *results};
    step->step.kernel = kernel;
    step->step.graph = plan->graph;
    step->step.node = node;
    step->step.name = pith_node_name(plan->graph, node);
    step->step.opset = pith_graph_opset(plan->graph, "");
    if (rc == 0)
        rc = pith_step_prepare(&step->step, err);
    if (rc == 0 && step->step.scratch_bytes)
        rc = -ENOTSUP;
    if (rc == 0 && step->step.view >= 0)
        memcpy(results[at], step->step.input[step->step.view].data, sizeof *results);
    else if (rc == 0)
        rc = kernel->run(&step->step, err);
    plan_step_free(step);
    return rc;
}

/* Inputs come before what is made of them. */
static int run_nodes(struct plan *plan, const struct function *f, float (*results)[ENTRIES],
                     float *x, struct pith_error *err)
{
    size_t count = 0;
    const uint32_t *order = pith_graph_order(plan->graph, &count);
    int rc = 0;

    if (f->count == 1)
        return run_node(plan, f, 0, results, x, err);
    for (size_t i = 0; i < count && rc == 0; i++)
        for (size_t n = 0; n < f->count && rc == 0; n++)
            if (f->nodes[n] == order[i])
                rc = run_node(plan, f, n, results, x, err);
    return rc;
}

static uint8_t stored(const struct pith_quantization *to, float x)
{
    const int32_t low = to->dtype == PITH_INT8 ? -128 : 0;
    const float q = nearbyintf(x / to->scale[0]) + (float) to->zero_point[0];

    return (uint8_t) (!(q > (float) low)                ? low
                      : q > (float) (low + ENTRIES - 1) ? low + ENTRIES - 1
                                                        : (int32_t) q);
}

static int fill(struct plan *plan, const struct function *f, const struct pith_quantization *from,
                const struct pith_quantization *to, uint8_t *table, struct pith_error *err)
{
    const int32_t least = from->dtype == PITH_INT8 ? -128 : 0;
    float(*results)[ENTRIES] = calloc(f->count + 1, sizeof *results);
    float *x = results ? results[f->count] : NULL;
    int rc;

    if (!results)
        return -ENOMEM;
    for (int i = 0; i < ENTRIES; i++)
        x[i] = (float) (least + i - from->zero_point[0]) * from->scale[0];
    rc = run_nodes(plan, f, results, x, err);
    for (size_t n = 0; n < f->count && rc == 0; n++)
        if (pith_node_output(plan->graph, f->nodes[n], 0) == f->y)
            for (int i = 0; i < ENTRIES; i++)
                table[(uint8_t) (least + i)] = stored(to, results[n][i]);
    free(results);
    return rc;
}

/* ---- the step ---- */

/* The nodes behind the first are done with it, and what they give has x's shape. */
static int absorb(struct plan *plan, const struct function *f, uint32_t node)
{
    int rc = 0;

    for (size_t n = 0; n < f->count && rc == 0; n++) {
        plan->absorbed[f->nodes[n]] = f->nodes[n] != node;
        rc = pith_value_set_type(plan->graph, pith_node_output(plan->graph, f->nodes[n], 0),
                                 PITH_FLOAT32, &plan->slots[plan->slot_of_value[f->x]].tensor.shape);
    }
    return rc;
}

int table_build_node(struct plan *plan, uint32_t node, struct pith_error *err)
{
    struct plan_call call = {.node = node,
                             .in_count = 2,
                             .out_count = 1,
                             .activation = PITH_ACTIVATION_NONE};
    const struct pith_quantization *to;
    struct function f;
    uint32_t in[2], out;
    bool image;
    int rc;

    if (!find(plan, node, &f))
        return 0;
    to = pith_value_quantization(plan->graph, f.y);
    image = !plan->options.planar && image_lies(plan, f.x);
    rc = image ? image_slot(plan, f.x, pith_image_integer_dtype(),
                            (struct form){.halo = true, .dense = true}, &in[0], err)
               : plan_slot(plan, f.x, &in[0]);
    if (rc == 0 && image)
        to = form_grid(plan, to, pith_image_integer_dtype());
    if (rc == 0)
        rc = to ? plan_add_constant(plan, PITH_UINT8, &(struct pith_shape){1, {ENTRIES}}, &in[1])
                : -ENOMEM;
    if (rc == 0)
        rc = fill(plan, &f, plan->slots[in[0]].quantization, to, plan->slots[in[1]].tensor.data,
                  err);
    if (rc < 0)
        return rc == -ENOTSUP || rc == -EAGAIN ? 0 : rc;
    rc = absorb(plan, &f, node);
    if (rc == 0)
        rc = image ? image_output(plan, f.y, NULL, pith_image_integer_dtype(), &out)
                   : plan_output_slot(plan, f.y, &out);
    call.kernel = plan_own_kernel("Table", plan->slots[in[0]].tensor.dtype, to->dtype);
    call.in = in;
    call.out = &out;
    call.form = image ? STEP_BLINDLY : STEP_PLANAR;
    if (rc == 0)
        rc = plan_add_step(plan, &call, err);
    return rc < 0 ? rc : 1;
}
