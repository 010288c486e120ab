/* What changed in operators from opset to opset, as far as it can't be read with the older meaning:
 * attributes that became inputs, defaults that changed, operators that got another name. Each step
 * takes a graph of the opset before `to`. */
#include "libpith/formats/onnx_upgrade.h"

#include <errno.h>
#include <string.h>

#define OLDEST_OPSET 7 /* before it, operators broadcast by an attribute of their own */

struct step {
    int64_t to; /* applied where the graph is older and what is asked for is not */
    const char *op;
    int (*apply)(struct pith_graph *graph, uint32_t node, struct pith_error *err);
};

static int refuse(const struct pith_graph *graph, uint32_t node, const char *why,
                  struct pith_error *err)
{
    return pith_fail(err, -ENOTSUP, "node \"%.120s\" (%s) has no form in a newer opset: %s",
                     pith_node_name(graph, node), pith_node_op(graph, node), why);
}

/* ---- attributes that became inputs ---- */

static int put_tensor(struct pith_graph *graph, uint32_t node, size_t index,
                      const struct pith_tensor *tensor)
{
    uint32_t value;
    int rc = pith_graph_add_constant(graph, NULL, tensor, &value, NULL);

    return rc < 0 ? rc : pith_node_set_input(graph, node, index, value);
}

static int put_ints(struct pith_graph *graph, uint32_t node, size_t index, const int64_t *ints,
                    size_t count)
{
    const struct pith_tensor tensor = {.dtype = PITH_INT64,
                                       .shape = {.rank = 1, .dim = {(int64_t) count}},
                                       .data = (void *) (uintptr_t) ints,
                                       .bytes = count * sizeof *ints};

    return put_tensor(graph, node, index, &tensor);
}

static int ints_to_input(struct pith_graph *graph, uint32_t node, const char *attribute,
                         size_t index)
{
    size_t count;
    const int64_t *ints = pith_node_ints(graph, node, attribute, &count);
    int rc = ints ? put_ints(graph, node, index, ints, count) : 0;

    pith_node_remove_attribute(graph, node, attribute);
    return rc;
}

/* A scalar of the type of the node's data. */
static int float_to_input(struct pith_graph *graph, uint32_t node, const char *attribute,
                          size_t index)
{
    const struct pith_shape scalar = {0};
    uint32_t input = pith_node_input(graph, node, 0);
    int32_t dtype = input == PITH_NO_VALUE ? PITH_DTYPE_NONE : pith_value_dtype(graph, input);
    struct pith_tensor tensor;
    int rc;

    if (!pith_node_has(graph, node, attribute))
        return 0;
    rc = pith_tensor_alloc(&tensor, dtype == PITH_DTYPE_NONE ? PITH_FLOAT32 : dtype, &scalar, NULL);
    if (rc < 0)
        return rc;
    pith_tensor_set(&tensor, 0, pith_node_float(graph, node, attribute, 0));
    rc = put_tensor(graph, node, index, &tensor);
    pith_tensor_free(&tensor);
    pith_node_remove_attribute(graph, node, attribute);
    return rc;
}

static int axes_to_input(struct pith_graph *graph, uint32_t node, struct pith_error *err)
{
    (void) err;
    return ints_to_input(graph, node, "axes", 1);
}

static int split_13(struct pith_graph *graph, uint32_t node, struct pith_error *err)
{
    (void) err;
    return ints_to_input(graph, node, "split", 1);
}

static int split_18(struct pith_graph *graph, uint32_t node, struct pith_error *err)
{
    (void) err;
    if (pith_node_input(graph, node, 1) != PITH_NO_VALUE)
        return 0;
    return pith_node_set_int(graph, node, "num_outputs",
                             (int64_t) pith_node_output_count(graph, node));
}

static int slice_10(struct pith_graph *graph, uint32_t node, struct pith_error *err)
{
    int rc = ints_to_input(graph, node, "starts", 1);

    (void) err;
    if (rc == 0)
        rc = ints_to_input(graph, node, "ends", 2);
    return rc == 0 ? ints_to_input(graph, node, "axes", 3) : rc;
}

static int topk_10(struct pith_graph *graph, uint32_t node, struct pith_error *err)
{
    int64_t k = pith_node_int(graph, node, "k", 0);
    int rc = put_ints(graph, node, 1, &k, 1);

    (void) err;
    pith_node_remove_attribute(graph, node, "k");
    return rc;
}

static int clip_11(struct pith_graph *graph, uint32_t node, struct pith_error *err)
{
    int rc = float_to_input(graph, node, "min", 1);

    (void) err;
    return rc == 0 ? float_to_input(graph, node, "max", 2) : rc;
}

static int pad_11(struct pith_graph *graph, uint32_t node, struct pith_error *err)
{
    int rc = ints_to_input(graph, node, "pads", 1);

    (void) err;
    return rc == 0 ? float_to_input(graph, node, "value", 2) : rc;
}

static int dft_20(struct pith_graph *graph, uint32_t node, struct pith_error *err)
{
    int64_t axis = pith_node_int(graph, node, "axis", 1);
    const struct pith_tensor scalar = {.dtype = PITH_INT64, .data = &axis, .bytes = sizeof axis};

    (void) err;
    pith_node_remove_attribute(graph, node, "axis");
    return put_tensor(graph, node, 2, &scalar);
}

/* ---- other names and defaults ---- */

static int batch_norm_9(struct pith_graph *graph, uint32_t node, struct pith_error *err)
{
    if (pith_node_int(graph, node, "spatial", 1) == 0)
        return refuse(graph, node, "it normalizes each place for itself (spatial = 0)", err);
    pith_node_remove_attribute(graph, node, "spatial");
    return 0;
}

static int batch_norm_14(struct pith_graph *graph, uint32_t node, struct pith_error *err)
{
    if (pith_node_output_count(graph, node) > 1)
        return refuse(graph, node, "it is in training mode", err);
    return 0;
}

static int upsample_9(struct pith_graph *graph, uint32_t node, struct pith_error *err)
{
    size_t count;
    const float *scales = pith_node_floats(graph, node, "scales", &count);
    struct pith_tensor tensor = {.dtype = PITH_FLOAT32,
                                 .shape = {.rank = 1, .dim = {(int64_t) count}},
                                 .data = (void *) (uintptr_t) scales,
                                 .bytes = count * sizeof *scales};
    int rc;

    (void) err;
    if (!scales)
        return 0;
    rc = put_tensor(graph, node, 1, &tensor);
    pith_node_remove_attribute(graph, node, "scales");
    return rc;
}

static int upsample_10(struct pith_graph *graph, uint32_t node, struct pith_error *err)
{
    (void) err;
    return pith_node_set_op(graph, node, "Resize");
}

/* Resize of opset 10 takes (x, scales), from the corner; the nearest is the one before, or behind
 * when it shrinks. */
static int resize_11(struct pith_graph *graph, uint32_t node, struct pith_error *err)
{
    uint32_t scales = pith_node_input(graph, node, 1);
    const struct pith_tensor *constant =
        scales == PITH_NO_VALUE ? NULL : pith_value_constant(graph, scales);
    const char *nearest = "floor";
    int rc;

    if (!constant)
        return refuse(graph, node, "its scales are not constant", err);
    for (int64_t i = 0; i < pith_shape_elements(&constant->shape); i++)
        if (pith_tensor_get(constant, i) < 1)
            nearest = "ceil";
    rc = pith_node_set_input(graph, node, 2, scales);
    if (rc == 0)
        rc = pith_node_set_input(graph, node, 1, PITH_NO_VALUE);
    if (rc == 0)
        rc = pith_node_set_string(graph, node, "coordinate_transformation_mode", "asymmetric");
    return rc == 0 ? pith_node_set_string(graph, node, "nearest_mode", nearest) : rc;
}

static int resize_13(struct pith_graph *graph, uint32_t node, struct pith_error *err)
{
    if (!strcmp(pith_node_string(graph, node, "coordinate_transformation_mode", ""),
                "tf_half_pixel_for_nn"))
        return refuse(graph, node, "its mode tf_half_pixel_for_nn is gone", err);
    return 0;
}

static int scatter_11(struct pith_graph *graph, uint32_t node, struct pith_error *err)
{
    (void) err;
    return pith_node_set_op(graph, node, "ScatterElements");
}

static int dropout_12(struct pith_graph *graph, uint32_t node, struct pith_error *err)
{
    (void) err;
    pith_node_remove_attribute(graph, node, "ratio"); /* means nothing outside of training */
    return 0;
}

static int roi_align_16(struct pith_graph *graph, uint32_t node, struct pith_error *err)
{
    (void) err;
    if (pith_node_has(graph, node, "coordinate_transformation_mode"))
        return 0;
    return pith_node_set_string(graph, node, "coordinate_transformation_mode", "output_half_pixel");
}

static int grid_sample_20(struct pith_graph *graph, uint32_t node, struct pith_error *err)
{
    const char *mode = pith_node_string(graph, node, "mode", "bilinear");

    (void) err;
    if (!strcmp(mode, "nearest"))
        return 0;
    return pith_node_set_string(graph, node, "mode", !strcmp(mode, "bicubic") ? "cubic" : "linear");
}

static int group_norm_21(struct pith_graph *graph, uint32_t node, struct pith_error *err)
{
    return refuse(graph, node, "its scale and bias are then given by channel, not by group", err);
}

/* ---- Softmax and its like ---- */

/* Before 13 everything from axis on was one dimension. x -> Flatten -> here -> Reshape to the shape
 * of x. */
static int flatten_around(struct pith_graph *graph, uint32_t node, int64_t axis)
{
    uint32_t x = pith_node_input(graph, node, 0);
    uint32_t y = pith_node_output(graph, node, 0);
    int32_t dtype = pith_value_dtype(graph, x);
    uint32_t made[3]; /* the shape of x, x as a matrix, the result as a matrix */
    uint32_t flatten;
    int rc = 0;

    for (size_t i = 0; i < 3 && rc == 0; i++)
        rc = pith_graph_add_value(graph, NULL, i ? dtype : PITH_INT64, NULL, &made[i], NULL);
    if (rc == 0)
        rc = pith_graph_add_node(graph, "", "Shape", NULL, &x, 1, &made[0], 1, NULL, NULL);
    if (rc == 0)
        rc = pith_graph_add_node(graph, "", "Flatten", NULL, &x, 1, &made[1], 1, &flatten, NULL);
    if (rc == 0)
        rc = pith_node_set_int(graph, flatten, "axis", axis);
    if (rc == 0)
        rc = pith_node_set_input(graph, node, 0, made[1]);
    if (rc == 0)
        rc = pith_node_set_output(graph, node, 0, made[2]);
    if (rc == 0)
        rc = pith_node_set_int(graph, node, "axis", 1);
    if (rc == 0)
        rc = pith_graph_add_node(graph, "", "Reshape", NULL, (const uint32_t[]){made[2], made[0]},
                                 2, &y, 1, NULL, NULL);
    return rc;
}

static int softmax_13(struct pith_graph *graph, uint32_t node, struct pith_error *err)
{
    uint32_t x = pith_node_input(graph, node, 0);
    const struct pith_shape *shape = x == PITH_NO_VALUE ? NULL : pith_value_shape(graph, x);
    int64_t axis = pith_node_int(graph, node, "axis", 1);
    bool alone = true;

    if (!shape)
        return refuse(graph, node, "the rank of its input is not known", err);
    if (axis < 0)
        axis += shape->rank;
    if (axis < 0 || axis > shape->rank)
        return refuse(graph, node, "its axis lies outside of its input", err);
    for (uint32_t i = (uint32_t) axis + 1; i < shape->rank; i++)
        alone = alone && shape->dim[i] == 1;
    for (uint32_t i = 0; i < shape->rank;
         i++) /* of nothing: and Reshape would take a 0 for a copy */
        alone = alone || shape->dim[i] == 0;
    if (axis < shape->rank && alone)
        return pith_node_set_int(graph, node, "axis", axis);
    return flatten_around(graph, node, axis);
}

/* ---- all of them ---- */

static const struct step steps[] = {
    {9, "BatchNormalization", batch_norm_9},
    {9, "Upsample", upsample_9},
    {10, "Upsample", upsample_10},
    {10, "Slice", slice_10},
    {10, "TopK", topk_10},
    {11, "Resize", resize_11},
    {11, "Clip", clip_11},
    {11, "Pad", pad_11},
    {11, "Scatter", scatter_11},
    {12, "Dropout", dropout_12},
    {13, "Resize", resize_13},
    {13, "Squeeze", axes_to_input},
    {13, "Unsqueeze", axes_to_input},
    {13, "ReduceSum", axes_to_input},
    {13, "Split", split_13},
    {13, "Softmax", softmax_13},
    {13, "LogSoftmax", softmax_13},
    {13, "Hardmax", softmax_13},
    {14, "BatchNormalization", batch_norm_14},
    {16, "RoiAlign", roi_align_16},
    {18, "Split", split_18},
    {18, "ReduceL1", axes_to_input},
    {18, "ReduceL2", axes_to_input},
    {18, "ReduceLogSum", axes_to_input},
    {18, "ReduceLogSumExp", axes_to_input},
    {18, "ReduceMax", axes_to_input},
    {18, "ReduceMean", axes_to_input},
    {18, "ReduceMin", axes_to_input},
    {18, "ReduceProd", axes_to_input},
    {18, "ReduceSumSquare", axes_to_input},
    {20, "GridSample", grid_sample_20},
    {20, "DFT", dft_20},
    {21, "GroupNormalization", group_norm_21},
};

static int upgrade_node(struct pith_graph *graph, uint32_t node, int64_t from, int64_t to,
                        struct pith_error *err)
{
    int rc = 0;

    if (pith_node_domain(graph, node)[0])
        return 0;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0] && rc == 0; i++)
        if (from < steps[i].to && to >= steps[i].to &&
            !strcmp(pith_node_op(graph, node), steps[i].op)) {
            rc = steps[i].apply(graph, node, err);
            if (rc < 0 && rc != -ENOTSUP)
                (void) pith_fail(err, rc, "node \"%.120s\" (%s): no memory to raise its opset",
                                 pith_node_name(graph, node), pith_node_op(graph, node));
        }
    return rc;
}

static int upgrade_nodes(struct pith_graph *graph, int64_t from, int64_t to, struct pith_error *err)
{
    uint32_t count = pith_graph_node_limit(graph); /* those that are added are of the newer opset */
    int rc = 0;

    for (uint32_t i = 0; i < count && rc == 0; i++) {
        if (!pith_node_exists(graph, i))
            continue;
        rc = upgrade_node(graph, i, from, to, err);
        for (size_t k = 0; k < pith_node_attribute_count(graph, i) && rc == 0; k++) {
            struct pith_graph *inside =
                pith_node_edit_graph(graph, i, pith_node_attribute_name(graph, i, k));

            if (inside)
                rc = upgrade_nodes(inside, from, to, err);
        }
    }
    return rc;
}

int onnx_upgrade(struct pith_graph *graph, int64_t opset, struct pith_error *err)
{
    int64_t from = pith_graph_opset(graph, "");
    int rc = 0;

    if (from && from < OLDEST_OPSET)
        return pith_fail(
            err, -ENOTSUP,
            "the model is of opset %lld, and what was done to it needs %lld: export it "
            "again with a newer opset",
            (long long) from, (long long) opset);
    if (from) /* else it has no operators of ONNX */
        rc = upgrade_nodes(graph, from, opset, err);
    return rc == 0 ? pith_graph_set_opset(graph, "", opset) : rc;
}
