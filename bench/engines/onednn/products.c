/* Convolutions and dense layers. A zero point goes into the bias where nothing is padded, since
 * that costs a run nothing, and clipping by the grid's ends is free. Activations and residual
 * additions are post-operations. */
#include "bench/engines/onednn/work.h"

#include <errno.h>
#include <float.h>
#include <stdlib.h>
#include <string.h>

/* ---- activations and residuals ---- */

/* The node that alone uses the value; PITH_NO_NODE where there is none. */
static uint32_t only_user(const struct pith_graph *graph, uint32_t value)
{
    size_t count = 0;
    const uint32_t *users = pith_value_users(graph, value, &count);

    return count == 1 && pith_value_use_count(graph, value) == 1 &&
                   !pith_value_is_output(graph, value)
               ? users[0]
               : PITH_NO_NODE;
}

/* Activations that alone use the output, unrounded, become post-operations; of one on integers only
 * those that clip. */
static void take_activations(struct work *w, bool integers)
{
    struct post post;

    while (w->post_count < POST_MAX && !pith_value_quantization(w->graph, w->y)) {
        const uint32_t user = only_user(w->graph, w->y);

        if (user == PITH_NO_NODE || !is_activation(w->graph, user, &post) ||
            pith_node_input(w->graph, user, 0) != w->y || (integers && !clips(&post)))
            return;
        w->posts[w->post_count++] = post;
        w->y = pith_node_output(w->graph, user, 0);
        w->net->done[user] = true;
    }
}

static bool dies_at(const struct work *w, uint32_t value, uint32_t node)
{
    size_t count = 0;
    const uint32_t *users = pith_value_users(w->graph, value, &count);

    for (size_t i = 0; i < count; i++)
        if (users[i] == PITH_NO_NODE ||
            (users[i] != node && users[i] != w->node && !w->net->done[users[i]]))
            return false;
    return !pith_value_is_output(w->graph, value) && users != NULL;
}

/* An addition of something that is there already, of the same shape and kind. */
static void take_residual(struct work *w, bool integers)
{
    const uint32_t user = w->post_count == 0 ? only_user(w->graph, w->y) : PITH_NO_NODE;
    struct grid grid;

    if (user == PITH_NO_NODE || strcmp(pith_node_op(w->graph, user), "Add") != 0)
        return;
    const uint32_t sum = pith_node_output(w->graph, user, 0),
                   a = pith_node_input(w->graph, user, 0), b = pith_node_input(w->graph, user, 1),
                   other = a == w->y ? b : a;
    const uint32_t next =
        pith_value_quantization(w->graph, sum) ? PITH_NO_NODE : only_user(w->graph, sum);
    struct post post;
    const bool on_grid =
        grid_of(w->graph, sum, &grid) ||
        (next != PITH_NO_NODE && is_activation(w->graph, next, &post) && clips(&post) &&
         grid_of(w->graph, pith_node_output(w->graph, next, 0), &grid));

    if (a == b || !w->net->values[other].made ||
        !pith_shape_equal(pith_value_shape(w->graph, w->y), pith_value_shape(w->graph, other)) ||
        (integers ? !on_grid || !as_bytes(w->net, other, &grid)
                  : w->net->values[other].grid.quantized))
        return;
    w->residual = other;
    w->residual_dies = dies_at(w, other, user);
    w->y = sum;
    w->net->done[user] = true;
}

/* ---- weights ---- */

struct weights {
    uint32_t value, bias;
    int rank;
    dnnl_dims_t dims;       /* as oneDNN counts them */
    dnnl_dims_t strides;    /* of the constant, in elements */
    int64_t channels, taps; /* outputs; elements of each */
};

static double real_of(const struct pith_graph *graph, uint32_t value, int64_t at, int64_t channel)
{
    const struct pith_quantization *q = pith_value_quantization(graph, value);
    const double stored = pith_tensor_get(pith_value_constant(graph, value), at);
    const size_t entry = q && q->count > 1 ? (size_t) channel : 0;

    return q ? q->scale[entry] * (stored - q->zero_point[entry]) : stored;
}

static bool scales_fit(const struct pith_graph *graph, uint32_t value, int64_t channels)
{
    const struct pith_quantization *q = pith_value_quantization(graph, value);

    return !q || (!q->block_size && (q->count == 1 || q->count == (size_t) channels));
}

static bool integer_weights_fit(const struct pith_graph *graph, const struct weights *weights)
{
    const struct pith_quantization *q = pith_value_quantization(graph, weights->value);

    if (!q || q->dtype != PITH_INT8 || !scales_fit(graph, weights->value, weights->channels))
        return false;
    for (size_t i = 0; i < q->count; i++)
        if (q->zero_point[i] != 0)
            return false;
    return true;
}

/* Index in the constant of an element of an output channel. */
static int64_t element(const struct weights *weights, int64_t channel, int64_t tap)
{
    const int first_tap_axis = weights->rank == 5 ? 2 : 1; /* groups come first */
    int64_t at = 0;

    for (int axis = weights->rank; axis-- > first_tap_axis;) {
        at += tap % weights->dims[axis] * weights->strides[axis];
        tap /= weights->dims[axis];
    }
    for (int axis = first_tap_axis; axis-- > 0;) {
        at += channel % weights->dims[axis] * weights->strides[axis];
        channel /= weights->dims[axis];
    }
    return at;
}

/* The constant in row-major order of oneDNN's dimensions: int8, or float32. */
static int put_weights(struct work *w, const struct weights *weights, bool integers,
                       const dnnl_memory_desc_t *desc, dnnl_memory_t *out)
{
    static const dnnl_format_tag_t tags[6] = {0, 0, dnnl_ab, 0, dnnl_abcd, dnnl_abcde};
    const struct pith_tensor *tensor = pith_value_constant(w->graph, weights->value);
    const size_t each = integers ? 1 : sizeof(float);
    void *data = malloc((size_t) (weights->channels * weights->taps) * each);
    dnnl_memory_desc_t plain;
    int rc = data ? 0 : -ENOMEM;

    for (int64_t c = 0, i = 0; rc == 0 && c < weights->channels; c++)
        for (int64_t t = 0; t < weights->taps; t++, i++) {
            const int64_t at = element(weights, c, t);

            if (integers)
                ((int8_t *) data)[i] = ((const int8_t *) tensor->data)[at];
            else
                ((float *) data)[i] = (float) real_of(w->graph, weights->value, at, c);
        }
    if (rc == 0)
        rc = net_status(dnnl_memory_desc_init_by_tag(&plain, weights->rank, weights->dims,
                                                     integers ? dnnl_s8 : dnnl_f32,
                                                     tags[weights->rank]),
                        w->why);
    if (rc == 0)
        rc = net_constant(w->net, &plain, data, desc, out, w->why);
    free(data);
    return rc;
}

/* ---- convolutions and dense layers ---- */

struct arithmetic { /* of one that has weights */
    bool integers;
    bool attribute_zero; /* the input's zero point is an attribute, and not in the bias */
    struct grid in, out, residual;
    float *scales, *bias; /* one an output channel; own */
};

/* dst = scale * (sum + bias) + residual_scale * residual, all zero points in the bias. */
static int plan_integers(struct work *w, const struct weights *weights, struct arithmetic *a)
{
    const struct pith_quantization *q = pith_value_quantization(w->graph, weights->value);
    const struct pith_tensor *tensor = pith_value_constant(w->graph, weights->value);

    a->scales = calloc((size_t) weights->channels, sizeof *a->scales);
    if (!a->scales)
        return -ENOMEM;
    for (int64_t c = 0; c < weights->channels; c++) {
        const double product = (double) a->in.scale * q->scale[q->count > 1 ? (size_t) c : 0],
                     scale = product / a->out.scale;
        double bias = a->bias[c] / product + a->out.zero_point / scale;
        int64_t sum = 0;

        for (int64_t t = 0; t < weights->taps; t++)
            sum += ((const int8_t *) tensor->data)[element(weights, c, t)];
        if (!a->attribute_zero)
            bias -= (double) sum * a->in.zero_point;
        if (w->residual != PITH_NO_VALUE)
            bias -= (double) a->residual.scale * a->residual.zero_point / a->out.scale / scale;
        a->scales[c] = (float) scale;
        a->bias[c] = (float) bias;
    }
    return 0;
}

static dnnl_status_t append_clip(dnnl_post_ops_t ops, const struct post *post,
                                 const struct grid *out)
{
    const bool relu = post->kind == dnnl_eltwise_relu;
    float low = relu ? 0 : post->alpha, high = relu ? FLT_MAX : post->beta;

    low = low <= -FLT_MAX ? low : low / out->scale + (float) out->zero_point;
    high = high >= FLT_MAX ? high : high / out->scale + (float) out->zero_point;
    if (low < 0.5F && high > 254.5F)
        return dnnl_success; /* where the bytes end */
    return dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_clip, low, high);
}

static dnnl_status_t make_attr(const struct work *w, const struct weights *weights,
                               const struct arithmetic *a, dnnl_primitive_attr_t *out)
{
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t ops = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(&attr);

    if (status == dnnl_success)
        status = dnnl_post_ops_create(&ops);
    if (status == dnnl_success && a->integers)
        status = dnnl_primitive_attr_set_output_scales(attr, weights->channels, 1 << 1, a->scales);
    if (status == dnnl_success && a->integers && a->attribute_zero)
        status = dnnl_primitive_attr_set_zero_points(attr, DNNL_ARG_SRC, 1, 0, &a->in.zero_point);
    if (status == dnnl_success && w->residual != PITH_NO_VALUE)
        status = dnnl_post_ops_append_sum(ops, a->integers ? a->residual.scale / a->out.scale : 1);
    for (int i = 0; status == dnnl_success && i < w->post_count; i++)
        status = a->integers ? append_clip(ops, &w->posts[i], &a->out)
                             : dnnl_post_ops_append_eltwise(ops, 1, w->posts[i].kind,
                                                            w->posts[i].alpha, w->posts[i].beta);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_post_ops(attr, ops);
    if (ops)
        (void) dnnl_post_ops_destroy(ops);
    *out = attr;
    return status;
}

/* Fills the five descriptors and makes the primitive's; a window: a convolution, else a dense
 * layer. */
static int describe_product(const struct work *w, const struct weights *weights,
                            const struct window *win, const struct arithmetic *a,
                            dnnl_primitive_desc_t *out)
{
    const dnnl_data_type_t type = a->integers ? dnnl_u8 : dnnl_f32;
    const dnnl_dims_t channels = {weights->channels};
    dnnl_memory_desc_t x, y, filter, bias;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_convolution_desc_t conv;
    dnnl_inner_product_desc_t product;
    int rc = net_any(&x, pith_value_shape(w->graph, w->x), type, w->why);

    if (rc == 0)
        rc = net_any(&y, pith_value_shape(w->graph, w->y), type, w->why);
    if (rc < 0)
        return rc;
    dnnl_status_t status =
        dnnl_memory_desc_init_by_tag(&filter, weights->rank, weights->dims,
                                     a->integers ? dnnl_s8 : dnnl_f32, dnnl_format_tag_any);
    if (status == dnnl_success)
        status = dnnl_memory_desc_init_by_tag(&bias, 1, channels, dnnl_f32, dnnl_a);
    if (status == dnnl_success && win)
        status = dnnl_dilated_convolution_forward_desc_init(
            &conv, dnnl_forward_inference, dnnl_convolution_auto, &x, &filter, &bias, &y,
            win->strides, win->dilations, win->begin, win->end);
    else if (status == dnnl_success)
        status = dnnl_inner_product_forward_desc_init(&product, dnnl_forward_inference, &x, &filter,
                                                      &bias, &y);
    if (status == dnnl_success)
        status = make_attr(w, weights, a, &attr);
    if (status == dnnl_success)
        status = dnnl_primitive_desc_create(out, win ? (const void *) &conv : &product, attr,
                                            w->net->engine, NULL);
    if (attr)
        (void) dnnl_primitive_attr_destroy(attr);
    return net_status(status, w->why);
}

static int step_product(struct work *w, const struct weights *weights, const struct arithmetic *a,
                        dnnl_primitive_desc_t pd)
{
    struct net_argument arguments[4] = {{.which = DNNL_ARG_SRC},
                                        {.which = DNNL_ARG_WEIGHTS},
                                        {.which = DNNL_ARG_BIAS},
                                        {.which = DNNL_ARG_DST}};
    const dnnl_memory_desc_t *x = dnnl_primitive_desc_query_md(pd, dnnl_query_src_md, 0),
                             *y = dnnl_primitive_desc_query_md(pd, dnnl_query_dst_md, 0),
                             *filter = dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0),
                             *bias = dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 1);
    int rc = put_weights(w, weights, a->integers, filter, &arguments[1].memory);

    if (rc == 0)
        rc = net_constant(w->net, bias, a->bias, bias, &arguments[2].memory, w->why);
    if (rc == 0)
        rc = net_read(w->net, w->x, x, &a->in, &arguments[0].memory, w->why);
    if (rc == 0 && w->residual != PITH_NO_VALUE)
        rc = net_take_over(w->net, w->y, w->residual, w->residual_dies, y, &a->out,
                           &arguments[3].memory, w->why);
    else if (rc == 0)
        rc = net_write(w->net, w->y, y, &a->out, &arguments[3].memory, w->why);
    if (rc < 0) {
        (void) dnnl_primitive_desc_destroy(pd);
        return rc;
    }
    return net_step(w->net, pd, arguments, 4, w->why);
}

static int make_product(struct work *w, const struct weights *weights, const struct window *win)
{
    struct arithmetic a = {0};
    dnnl_primitive_desc_t pd = NULL;
    const bool bytes = as_bytes(w->net, w->x, &a.in);
    int rc;

    if (!pith_value_constant(w->graph, weights->value) ||
        (weights->bias != PITH_NO_VALUE && !pith_value_constant(w->graph, weights->bias)))
        return not_here(w, "its weights or bias are no constants");
    if (!scales_fit(w->graph, weights->value, weights->channels) ||
        (weights->bias != PITH_NO_VALUE && !scales_fit(w->graph, weights->bias, weights->channels)))
        return not_here(w, "its weights' scales are not those of output channels");
    a.integers = bytes && integer_weights_fit(w->graph, weights);
    take_residual(w, a.integers);
    take_activations(w, a.integers);
    a.integers = grid_of(w->graph, w->y, &a.out) && a.integers;
    if (!a.integers && w->residual != PITH_NO_VALUE && w->net->values[w->residual].grid.quantized)
        return not_here(w, "its residual is quantized and it is not");
    if (!a.integers)
        a.in = a.out = (struct grid){0};
    else if (w->residual != PITH_NO_VALUE)
        (void) as_bytes(w->net, w->residual, &a.residual);
    a.attribute_zero = a.integers && win && win->padded && a.in.zero_point != 0;
    a.bias = calloc((size_t) weights->channels, sizeof *a.bias);
    rc = a.bias ? 0 : -ENOMEM;
    for (int64_t c = 0; rc == 0 && c < weights->channels; c++)
        a.bias[c] =
            weights->bias == PITH_NO_VALUE ? 0 : (float) real_of(w->graph, weights->bias, c, c);
    if (rc == 0 && a.integers)
        rc = plan_integers(w, weights, &a);
    if (rc == 0)
        rc = describe_product(w, weights, win, &a, &pd);
    if (rc == 0)
        rc = step_product(w, weights, &a, pd);
    free(a.scales);
    free(a.bias);
    return rc == 0 && !a.integers ? onto_grid(w) : rc;
}

int node_conv(struct work *w)
{
    struct weights weights = {.value = pith_node_input(w->graph, w->node, 1),
                              .bias = pith_node_input(w->graph, w->node, 2)};
    const struct pith_shape *shape = pith_value_shape(w->graph, weights.value);
    const int64_t groups = pith_node_int(w->graph, w->node, "group", 1);
    struct window win = {0};
    int rc = read_window(w, &win);

    if (rc < 0)
        return rc;
    if (!shape || shape->rank != 4)
        return not_here(w, "it is not two-dimensional");
    const int first = groups > 1;
    weights.rank = 4 + first;
    weights.channels = shape->dim[0];
    weights.taps = shape->dim[1] * shape->dim[2] * shape->dim[3];
    for (int i = 0; i < 4; i++)
        weights.dims[first + i] = shape->dim[i];
    weights.dims[first] /= groups;
    if (first)
        weights.dims[0] = groups;
    weights.strides[weights.rank - 1] = 1;
    for (int i = weights.rank - 1; i > 0; i--)
        weights.strides[i - 1] = weights.strides[i] * weights.dims[i];
    return make_product(w, &weights, &win);
}

int node_dense(struct work *w)
{
    const bool gemm = strcmp(pith_node_op(w->graph, w->node), "Gemm") == 0;
    const bool turned = gemm && pith_node_int(w->graph, w->node, "transB", 0);
    struct weights weights = {.value = pith_node_input(w->graph, w->node, 1),
                              .bias = gemm ? pith_node_input(w->graph, w->node, 2) : PITH_NO_VALUE,
                              .rank = 2};
    const struct pith_shape *shape = pith_value_shape(w->graph, weights.value),
                            *in = pith_value_shape(w->graph, w->x),
                            *bias = weights.bias == PITH_NO_VALUE
                                        ? NULL
                                        : pith_value_shape(w->graph, weights.bias);

    if (!shape || shape->rank != 2 || !in || in->rank != 2)
        return not_here(w, "it is not a product of two matrices");
    if (gemm && (pith_node_int(w->graph, w->node, "transA", 0) ||
                 pith_node_float(w->graph, w->node, "alpha", 1) != 1 ||
                 pith_node_float(w->graph, w->node, "beta", 1) != 1))
        return not_here(w, "transA, alpha or beta is not as in a dense layer");
    weights.channels = shape->dim[turned ? 0 : 1];
    weights.taps = shape->dim[turned ? 1 : 0];
    if (bias && pith_shape_elements(bias) != weights.channels)
        return not_here(w, "its bias is not one a channel");
    weights.dims[0] = weights.channels;
    weights.dims[1] = weights.taps;
    weights.strides[0] = turned ? weights.taps : 1;
    weights.strides[1] = turned ? 1 : weights.channels;
    return make_product(w, &weights, NULL);
}
