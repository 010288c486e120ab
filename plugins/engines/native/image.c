/* Steps over channels-last values. Convolutions begin such a stretch of the graph; poolings and
 * what works element by element go on in it where their inputs lie so already. Kernels made for the
 * layout are taken where there are some; a planar kernel that works element by element is run
 * blindly, on the whole block as a dense tensor. What has neither is built planar, and form.c
 * converts. */
#include "plugins/engines/native/plan.h"

#include <errno.h>
#include <string.h>

#define IMAGE_INPUTS 16 /* a node with more is built planar */

/* ---- kernels for channels-last values ---- */

struct candidate { /* a step that is being put together */
    uint32_t node;
    int32_t dtype; /* of its activations as they are stored: FLOAT32, INT16, or pith_image_integer_dtype() */
    bool integer;  /* they are no floats */
    const struct pith_kernel *kernel;
    const struct pith_quantization *moved; /* the grid of integers that it only moves; else NULL */
    uint32_t value; /* that it gives */
    uint32_t added; /* the value of its residual, or PITH_NO_VALUE */
    uint32_t in[IMAGE_INPUTS];
    size_t in_count;
    struct pith_activation activation;
    struct pith_residual residual;
};

static bool is_activation(const struct plan *plan, uint32_t value)
{
    return value != PITH_NO_VALUE && !pith_value_constant(plan->graph, value);
}

/* The first activation among a node's inputs, or PITH_NO_VALUE. */
static uint32_t first_activation(const struct plan *plan, uint32_t node)
{
    for (size_t i = 0; i < pith_node_input_count(plan->graph, node); i++)
        if (is_activation(plan, pith_node_input(plan->graph, node, i)))
            return pith_node_input(plan->graph, node, i);
    return PITH_NO_VALUE;
}

static bool stored_as_integers(const struct plan *plan, uint32_t value)
{
    const uint32_t slot = plan->slot_of_value[value];

    return slot != PLAN_NO_SLOT && form_is_eight_bits(plan->slots[slot].quantization) &&
           plan->slots[slot].tensor.dtype != PITH_FLOAT32;
}

/* Whether the value can be had as `dtype`, or is so already; words: as it is on a grid of them. */
static bool stored_as(const struct plan *plan, uint32_t value, int32_t dtype)
{
    const uint32_t slot = plan->slot_of_value[value];

    if (dtype == PITH_INT16)
        return slot != PLAN_NO_SLOT && form_is_sixteen_bits(plan->slots[slot].quantization);
    return stored_as_integers(plan, value) == (dtype != PITH_FLOAT32);
}

static int32_t type_of_input(const struct plan *plan, uint32_t value, int32_t dtype)
{
    const struct pith_quantization *q;

    if (value == PITH_NO_VALUE)
        return PITH_DTYPE_NONE;
    q = pith_value_quantization(plan->graph, value);
    if (dtype == PITH_FLOAT32)
        return q ? PITH_FLOAT32 : pith_value_dtype(plan->graph, value);
    if (is_activation(plan, value))
        return dtype;
    return q ? q->dtype : pith_value_dtype(plan->graph, value);
}

/* A Mul that is no product of a picture with one number a channel is for planar kernels. */
static bool scales_channels(const struct plan *plan, uint32_t node)
{
    const struct pith_shape *y =
        pith_value_shape(plan->graph, pith_node_output(plan->graph, node, 0));
    bool found = false;

    if (!y)
        return false;
    for (size_t i = 0; i < pith_node_input_count(plan->graph, node); i++) {
        const uint32_t value = pith_node_input(plan->graph, node, i);
        const struct pith_shape *x =
            is_activation(plan, value) ? pith_value_shape(plan->graph, value) : NULL;

        if (!x || x->rank != y->rank)
            return false;
        found = found || !pith_shape_equal(x, y);
    }
    return found;
}

static const struct pith_kernel *find_kernel(const struct plan *plan, uint32_t node, int32_t dtype)
{
    int32_t types[4];

    for (size_t i = 0; i < 4; i++)
        types[i] = type_of_input(plan, pith_node_input(plan->graph, node, i), dtype);
    return pith_kernel_find(pith_node_domain(plan->graph, node), pith_node_op(plan->graph, node),
                            pith_graph_opset(plan->graph, ""), types, 4, dtype,
                            PITH_KERNEL_CHANNELS_LAST |
                                (dtype != PITH_FLOAT32 ? PITH_KERNEL_QUANTIZED : 0),
                            NULL);
}

static bool is_convolution(const struct plan *plan, uint32_t node)
{
    static const char *const heavy[] = {"Conv", "ConvTranspose", NULL};

    return plan_is_one_of(pith_node_op(plan->graph, node), heavy);
}

/* Whether the node's activations allow a step over channels-last values, and whether it is worth
 * it: something heavy, or something that lies so already. *out_integer: whether all are stored as integers. */
static bool inputs_allow(const struct plan *plan, uint32_t node, bool *out_integer)
{
    bool worth = is_convolution(plan, node),
         integer = stored_as_integers(plan, first_activation(plan, node));

    for (size_t i = 0; i < pith_node_input_count(plan->graph, node); i++) {
        const uint32_t value = pith_node_input(plan->graph, node, i);

        if (!is_activation(plan, value))
            continue;
        if (!image_may_lie(plan, value))
            return false;
        worth = worth || image_lies(plan, value);
        integer = integer && stored_as_integers(plan, value);
    }
    *out_integer = integer;
    return worth;
}

/* Products of matrices, which no layout concerns: integers alone have a form here, the stored type.
 */
static bool is_integer_product(const struct plan *plan, uint32_t node)
{
    static const char *const products[] = {"Gemm", "MatMul", NULL};
    const uint32_t x = pith_node_input(plan->graph, node, 0);

    if (!plan_is_one_of(pith_node_op(plan->graph, node), products) || !is_activation(plan, x) ||
        !stored_as_integers(plan, x) ||
        plan->slots[plan->slots[plan->slot_of_value[x]].root].place == SLOT_HEAP)
        return false;
    for (size_t i = 1; i < pith_node_input_count(plan->graph, node); i++)
        if (is_activation(plan, pith_node_input(plan->graph, node, i)))
            return false;
    return plan->slots[plan->slot_of_value[x]].known &&
           plan->slots[plan->slot_of_value[x]].tensor.shape.rank == 2;
}

static bool grid_fits(const struct pith_quantization *q, int32_t dtype)
{
    return dtype == PITH_INT16 ? form_is_sixteen_bits(q) : form_is_eight_bits(q);
}

static bool result_fits(const struct plan *plan, uint32_t value, int32_t dtype)
{
    return dtype == PITH_FLOAT32 ? image_may_round(plan, value)
                                 : grid_fits(pith_value_quantization(plan->graph, value), dtype);
}

/* Whether the result can be stored as the step gives it. */
static bool candidate_fits(const struct plan *plan, const struct candidate *c)
{
    return result_fits(plan, c->value, c->dtype) ||
           (c->moved && !pith_value_quantization(plan->graph, c->value));
}

/* An Add behind the product, and what follows that one. */
static void add_residual(struct plan *plan, struct candidate *c)
{
    const uint32_t product = c->value;
    const struct pith_quantization *between = pith_value_quantization(plan->graph, product);
    struct pith_activation after;

    if (!(c->kernel->flags & PITH_KERNEL_FUSES_RESIDUAL) || c->in_count >= IMAGE_INPUTS ||
        (between && (!c->integer || !grid_fits(between, c->dtype))))
        return;
    c->added = fuse_residual(plan, &c->value);
    if (c->added == PITH_NO_VALUE)
        return;
    fuse_activation(plan, &c->value, &after);
    if (!image_may_lie(plan, c->added) || (c->integer && !stored_as(plan, c->added, c->dtype)) ||
        !result_fits(plan, c->value, c->dtype)) {
        fuse_undo(plan, product, c->value);
        c->value = product;
        c->added = PITH_NO_VALUE;
        return;
    }
    c->residual = (struct pith_residual){.set = true, .between = between, .after = after};
}

/* One channel in and one out a group. The forms that are made for it store bytes alone, and any other
 * takes many times as long as floats do. */
static bool is_depthwise(const struct plan *plan, const struct candidate *c)
{
    const uint32_t w = pith_node_input(plan->graph, c->node, 1);
    const struct pith_shape *shape = w == PITH_NO_VALUE ? NULL : pith_value_shape(plan->graph, w);
    const int64_t groups = pith_node_int(plan->graph, c->node, "group", 1);

    return groups > 1 && shape && shape->rank > 1 && shape->dim[1] == 1 && shape->dim[0] == groups;
}

/* A convolution of integers whose result is on no grid, or on one of another width, gives floats: its sums are the same
 * integers. */
static bool gives_floats(const struct plan *plan, const struct candidate *c)
{
    return (!is_depthwise(plan, c) || c->dtype == PITH_INT16) && c->integer &&
           (c->kernel->flags & PITH_KERNEL_GIVES_FLOATS) && !c->residual.set &&
           !candidate_fits(plan, c) && result_fits(plan, c->value, PITH_FLOAT32);
}

/* What the step does in passing. False: it gives what can't be stored here. */
static int fuse(struct plan *plan, struct candidate *c)
{
    const uint32_t first = c->value;
    bool folded = false;
    int rc;

    if (!c->integer && strcmp(c->kernel->op, "Conv") == 0) {
        rc = fuse_batch_norm(plan, c->node, &c->value, c->in, &folded);
        if (rc < 0)
            return rc;
        c->in_count = folded ? 3 : c->in_count;
    }
    if (c->kernel->flags & PITH_KERNEL_FUSES_ACTIVATION)
        fuse_activation(plan, &c->value, &c->activation);
    add_residual(plan, c);
    if (candidate_fits(plan, c) || gives_floats(plan, c))
        return 1;
    fuse_undo(plan, first, c->value);
    return 0;
}

/* Weights that the float kernel takes as they are stored; not those that a normalization behind it
 * would change. */
static bool stay_narrow(const struct plan *plan, const struct candidate *c, size_t input,
                        uint32_t value)
{
    const struct pith_quantization *q = pith_value_quantization(plan->graph, value);
    const uint32_t user = plan->user[c->value];

    return input == 1 && q && (c->kernel->flags & PITH_KERNEL_NARROW_WEIGHTS) &&
           (c->kernel->types[1] >> q->dtype & 1) &&
           (user == PITH_NO_NODE ||
            strcmp(pith_node_op(plan->graph, user), "BatchNormalization") != 0);
}

/* Constants, as stored or as floats. Activations follow when it is sure that the step is made. */
static int gather_constants(struct plan *plan, struct candidate *c, struct pith_error *err)
{
    for (size_t i = 0; i < IMAGE_INPUTS; i++) {
        const uint32_t value = pith_node_input(plan->graph, c->node, i);
        int rc;

        c->in[i] = PLAN_NO_SLOT;
        if (value == PITH_NO_VALUE || is_activation(plan, value))
            continue;
        rc = c->integer || stay_narrow(plan, c, (size_t) i, value)
                 ? plan_slot(plan, value, &c->in[i])
                 : plan_plain_slot(plan, value, &c->in[i], err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int32_t greater(int32_t a, int64_t b)
{
    return b > a ? (int32_t) b : a;
}

static int gather_activations(struct plan *plan, struct candidate *c, const struct halo *halo,
                              struct pith_error *err)
{
    const bool has_halo = halo->top || halo->bottom || halo->left || halo->right;
    int rc = 0;

    for (size_t i = 0; i < pith_node_input_count(plan->graph, c->node) && rc == 0; i++) {
        const uint32_t value = pith_node_input(plan->graph, c->node, i);
        struct pith_image *image;

        if (!is_activation(plan, value))
            continue;
        rc = image_slot(plan, value, c->dtype, (struct form){.halo = i == 0 && has_halo},
                        &c->in[i], err);
        if (rc < 0 || i > 0)
            continue;
        image = &plan->slots[c->in[i]].image;
        image->top = greater(image->top, halo->top);
        image->bottom = greater(image->bottom, halo->bottom);
        image->left = greater(image->left, halo->left);
        image->right = greater(image->right, halo->right);
    }
    if (rc < 0 || !c->residual.set)
        return rc;
    c->in_count = c->in_count < 3 ? 3 : c->in_count; /* weights and bias keep their places */
    c->residual.input = c->in_count;
    if (c->residual.between) {
        c->residual.between = form_grid(plan, c->residual.between, c->dtype);
        if (!c->residual.between)
            return -ENOMEM;
    }
    return image_slot(plan, c->added, c->dtype, (struct form){0}, &c->in[c->in_count++], err);
}

/* What goes in on a grid comes out on it. */
static bool moves_elements(const struct plan *plan, uint32_t node)
{
    static const char *const moves[] = {"MaxPool", "GlobalMaxPool", "Pad", "Channels", NULL};

    return plan_is_one_of(pith_node_op(plan->graph, node), moves);
}

static int build_as(struct plan *plan, uint32_t node, int32_t dtype, bool product,
                    struct pith_error *err)
{
    struct candidate c = {.node = node,
                          .dtype = dtype,
                          .integer = dtype != PITH_FLOAT32,
                          .added = PITH_NO_VALUE,
                          .value = pith_node_output(plan->graph, node, 0),
                          .in_count = pith_node_input_count(plan->graph, node),
                          .activation = PITH_ACTIVATION_NONE};
    struct plan_call call;
    struct halo halo;
    bool floats;
    uint32_t out;
    int rc;

    c.kernel = find_kernel(plan, node, dtype);
    if (c.integer && moves_elements(plan, node))
        c.moved = plan->slots[plan->slot_of_value[pith_node_input(plan->graph, node, 0)]].quantization;
    if (!c.kernel || (!product && !image_window_halo(plan, node, &halo)))
        return 0;
    if (product)
        halo = (struct halo){0};
    rc = gather_constants(plan, &c, err);
    if (rc == 0)
        rc = fuse(plan, &c);
    if (rc <= 0)
        return rc;
    floats = !c.integer || gives_floats(plan, &c);
    rc = gather_activations(plan, &c, &halo, err);
    if (rc == 0)
        rc = image_output(plan, c.value, c.moved, floats ? PITH_FLOAT32 : dtype, &out);
    if (rc < 0)
        return rc;
    call = (struct plan_call){c.kernel, node,         c.in,       &out,      c.in_count,
                              1,        c.activation, c.residual, STEP_IMAGE};
    rc = plan_add_step(plan, &call, err);
    if (rc == 0 && floats)
        rc = image_round_output(plan, c.value, err);
    return rc < 0 ? rc : 1;
}

/* A convolution of what lies on a grid of 16 bits, to such a grid; or what moves such values, where they are stored so. */
static bool takes_words(const struct plan *plan, uint32_t node)
{
    const uint32_t x = pith_node_input(plan->graph, node, 0);

    return is_convolution(plan, node) ? stored_as(plan, x, PITH_INT16) : image_has_words(plan, x);
}

/* As integers where they come so. A convolution whose result goes on no grid of as many bits, or whose
 * integers its kernel refuses, is for floats all the same. */
static int build_kernel(struct plan *plan, uint32_t node, struct pith_error *err)
{
    const bool refused = plan->refused[node] == REFUSED_INTEGERS;
    bool integer = false;
    int rc = 0;

    if (!refused && is_integer_product(plan, node))
        return build_as(plan, node, pith_image_integer_dtype(), true, err);
    if (!inputs_allow(plan, node, &integer))
        return 0;
    if (integer && !is_convolution(plan, node) &&
        (refused ||
         (strcmp(pith_node_op(plan->graph, node), "Mul") == 0 && !scales_channels(plan, node))))
        return 0;
    if (!refused && takes_words(plan, node))
        rc = build_as(plan, node, PITH_INT16, false, err);
    if (rc == 0 && !(refused && integer))
        rc = build_as(plan, node, integer ? pith_image_integer_dtype() : PITH_FLOAT32, false, err);
    return rc == 0 && integer && is_convolution(plan, node)
               ? build_as(plan, node, PITH_FLOAT32, false, err)
               : rc;
}

/* ---- planar kernels, run blindly ---- */

static bool works_by_element(const char *op)
{
    static const char *const list[] = {
        "Relu",        "LeakyRelu", "Clip",       "Sigmoid", "Tanh",
        "HardSigmoid", "HardSwish", "Elu",        "Selu",    "Celu",
        "Softplus",    "Softsign",  "Abs",        "Neg",     "Exp",
        "Log",         "Sqrt",      "Reciprocal", "Erf",     "Gelu",
        "Mish",        "Floor",     "Ceil",       "Round",   "ThresholdedRelu",
        "Add",         "Sub",       "Mul",        "Div",     "Pow",
        "Max",         "Min",       "PRelu",      "Sin",     "Cos",
        NULL};

    return plan_is_one_of(op, list);
}

/* A constant of one element, or of one a channel: (C,1,1) and the like. */
static bool is_broadcast(const struct pith_tensor *constant, const struct pith_shape *y)
{
    const struct pith_shape *shape = &constant->shape;

    if (pith_shape_elements(shape) == 1)
        return shape->rank <= y->rank;
    for (uint32_t d = 0; d < shape->rank; d++)
        if (shape->dim[d] != (d + y->rank == shape->rank + 1 ? y->dim[1] : 1))
            return false;
    return shape->rank == y->rank || shape->rank == y->rank - 1;
}

static bool operands_are_plain(const struct plan *plan, uint32_t node)
{
    const struct pith_shape *y =
        pith_value_shape(plan->graph, pith_node_output(plan->graph, node, 0));

    if (!y || !pith_shape_known(y))
        return false;
    for (size_t i = 0; i < pith_node_input_count(plan->graph, node); i++) {
        const uint32_t value = pith_node_input(plan->graph, node, i);

        if (value == PITH_NO_VALUE)
            continue;
        if (is_activation(plan, value)
                ? !pith_shape_equal(&plan->slots[plan->slot_of_value[value]].tensor.shape, y)
                : pith_value_quantization(plan->graph, value) ||
                      !is_broadcast(pith_value_constant(plan->graph, value), y))
            return false;
    }
    return true;
}

static int build_blindly(struct plan *plan, uint32_t node, struct pith_error *err)
{
    struct candidate c = {.node = node,
                          .added = PITH_NO_VALUE,
                          .value = pith_node_output(plan->graph, node, 0),
                          .in_count = pith_node_input_count(plan->graph, node),
                          .activation = PITH_ACTIVATION_NONE};
    struct plan_call call;
    uint32_t out;
    int rc;

    if (!works_by_element(pith_node_op(plan->graph, node)) ||
        !inputs_allow(plan, node, &c.integer) || !operands_are_plain(plan, node))
        return 0;
    c.dtype = c.integer ? pith_image_integer_dtype() : PITH_FLOAT32;
    if (c.integer) {
        const int32_t dtype = c.dtype;

        c.kernel =
            pith_kernel_find("", pith_node_op(plan->graph, node), pith_graph_opset(plan->graph, ""),
                             (int32_t[]){dtype, dtype}, c.in_count < 2 ? c.in_count : 2, dtype,
                             PITH_KERNEL_QUANTIZED, NULL);
    } else {
        c.kernel = plan_find_kernel(plan->graph, node, false, NULL);
    }
    if (!c.kernel)
        return 0;
    rc = gather_constants(plan, &c, err);
    if (rc == 0)
        rc = fuse(plan, &c);
    if (rc <= 0)
        return rc;
    for (size_t i = 0; i < c.in_count && rc >= 0; i++) {
        const uint32_t value = pith_node_input(plan->graph, node, i);

        if (is_activation(plan, value))
            rc = image_slot(plan, value, c.dtype, (struct form){.halo = true, .dense = true},
                            &c.in[i], err);
    }
    if (rc >= 0)
        rc = image_output(plan, c.value, NULL, c.dtype, &out);
    if (rc < 0)
        return rc;
    call = (struct plan_call){c.kernel, node,         c.in,       &out,        c.in_count,
                              1,        c.activation, c.residual, STEP_BLINDLY};
    rc = plan_add_step(plan, &call, err);
    if (rc == 0 && !c.integer)
        rc = image_round_output(plan, c.value, err);
    return rc < 0 ? rc : 1;
}

static bool is_for_images(const struct plan *plan, uint32_t node)
{
    return !plan->options.planar && !plan->options.plain &&
           plan->refused[node] != REFUSED_IMAGES &&
           (pith_node_domain(plan->graph, node)[0] == 0 ||
            strcmp(pith_node_domain(plan->graph, node), PITH_FUSED_DOMAIN) == 0) &&
           pith_node_input_count(plan->graph, node) >= 1 &&
           pith_node_input_count(plan->graph, node) <= IMAGE_INPUTS - 2 &&
           first_activation(plan, node) != PITH_NO_VALUE;
}

int image_build_floats(struct plan *plan, uint32_t node, struct pith_error *err)
{
    bool integer = false;

    return is_for_images(plan, node) && pith_node_output_count(plan->graph, node) == 1 &&
                   inputs_allow(plan, node, &integer) && integer
               ? build_as(plan, node, PITH_FLOAT32, false, err)
               : 0;
}

int image_build_node(struct plan *plan, uint32_t node, struct pith_error *err)
{
    int rc;

    if (!is_for_images(plan, node))
        return 0;
    rc = image_build_move(plan, node, err);
    if (rc != 0 || pith_node_output_count(plan->graph, node) != 1)
        return rc;
    rc = build_kernel(plan, node, err);
    return rc == 0 ? build_blindly(plan, node, err) : rc;
}
