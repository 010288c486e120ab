/* From one type or grid to another. */
#include "libpith/formats/tflite_read.h"

#include <errno.h>
#include <math.h>

enum { FAKE_MIN = 0, FAKE_MAX = 1, FAKE_BITS = 2, FAKE_NARROW = 3 };

static void cast(struct tflite_node *node)
{
    const struct tflite_tensor *y = tflite_output(node, 0);
    uint32_t x, emitted;

    if (tflite_on_grid(tflite_input(node, 0)) || tflite_on_grid(y)) {
        /* It looks at what is stored. */
        uint32_t integers = tflite_cast(node, tflite_take_integers(node, 0), y->dtype);

        if (tflite_on_grid(y))
            tflite_emit_linear(node, "DequantizeLinear", &y->quantization, integers,
                               tflite_result(node, 0, FORM_PLAIN));
        else
            (void) tflite_emit1(node, "Identity", integers, tflite_result(node, 0, FORM_PLAIN));
        return;
    }
    x = tflite_take(node, 0, tflite_home(node, 0));
    emitted = tflite_emit1(node, "Cast", x, tflite_result(node, 0, tflite_home(node, 0)));
    tflite_set_int(node, emitted, "to", y->dtype);
}

/* Input 0 as reals; sums (int32) by their scale. */
static uint32_t take_reals(struct tflite_node *node, enum tflite_form form)
{
    const struct tflite_tensor *x = tflite_input(node, 0);
    uint32_t value = tflite_take(node, 0, form);

    if (x->dtype != PITH_INT32 || x->quantization.count != 1)
        return value;
    value = tflite_cast(node, value, PITH_FLOAT32);
    if (x->quantization.zero_point[0])
        value = tflite_chain2(node, "Sub", value,
                              tflite_constant_float(node, (float) x->quantization.zero_point[0]),
                              PITH_FLOAT32);
    return tflite_chain2(node, "Mul", value, tflite_constant_float(node, x->quantization.scale[0]),
                         PITH_FLOAT32);
}

/* A number that every type has, as float64. */
static uint32_t exact(struct tflite_node *node, uint32_t constant)
{
    return tflite_cast(node, constant, PITH_FLOAT64);
}

/* To sums (int32), which no value can be rounded to: in float64, which has room for all of their
 * bits. */
static void quantize_by_hand(struct tflite_node *node)
{
    const struct tflite_tensor *x = tflite_input(node, 0), *y = tflite_output(node, 0);
    const struct pith_quantization *from = &x->quantization, *to = &y->quantization;
    uint32_t inputs[3], steps, emitted;

    if (to->count != 1 || to->zero_point[0] != 0 || y->dtype != PITH_INT32) {
        tflite_fail(node, -ENOTSUP, "it quantizes to %s without a scale, or with a zero point",
                    pith_dtype_name(y->dtype));
        return;
    }
    steps = exact(node, tflite_take_integers(node, 0));
    if (from->count == 1) {
        steps = tflite_chain2(node, "Sub", steps,
                              exact(node, tflite_constant_int(node, from->zero_point[0])),
                              PITH_FLOAT64);
        steps =
            tflite_chain2(node, "Mul", steps,
                          exact(node, tflite_constant_float(node, from->scale[0])), PITH_FLOAT64);
    }
    steps = tflite_chain2(node, "Div", steps,
                          exact(node, tflite_constant_float(node, to->scale[0])), PITH_FLOAT64);
    inputs[0] = tflite_chain1(node, "Round", steps, PITH_FLOAT64);
    inputs[1] = exact(node, tflite_constant_int(node, INT32_MIN));
    inputs[2] = exact(node, tflite_constant_int(node, INT32_MAX));
    steps = tflite_temporary(node, PITH_FLOAT64);
    (void) tflite_emit(node, "Clip", inputs, 3, &steps, 1);
    emitted = tflite_emit1(node, "Cast", steps, tflite_result(node, 0, FORM_PLAIN));
    tflite_set_int(node, emitted, "to", PITH_INT32);
}

/* The value that it makes is on the grid; nothing else need be done. */
static void quantize(struct tflite_node *node)
{
    enum tflite_form form = tflite_home(node, 0);

    if (!tflite_on_grid(tflite_output(node, 0))) {
        quantize_by_hand(node);
        return;
    }
    (void) tflite_emit1(node, "Identity", take_reals(node, form), tflite_result(node, 0, form));
}

/* The output becomes a constant of its own, so that all that looks for weights finds them: y of
 * that type. */
static struct tflite_tensor *constant_output(struct tflite_node *node)
{
    struct tflite_tensor *y = &node->reader->tensors[node->outputs[0]];

    if (node->rc == 0 && (y->constant.data || y->value[FORM_PLAIN] != PITH_NO_VALUE))
        tflite_fail(node, -EBADMSG, "what it makes is there already");
    return node->rc == 0 ? y : NULL;
}

/* float16 weights as float32. */
static void widen_constant(struct tflite_node *node)
{
    const struct tflite_tensor *x = tflite_input(node, 0);
    struct tflite_tensor *y = constant_output(node);
    const int64_t total = pith_shape_elements(&x->constant.shape);
    struct pith_tensor wide;

    if (y)
        node->rc = tflite_count_copy(node->reader, (uint64_t) total * sizeof(float), node->err);
    if (node->rc == 0)
        node->rc = pith_tensor_alloc(&wide, PITH_FLOAT32, &x->constant.shape, node->err);
    if (node->rc < 0)
        return;
    for (int64_t i = 0; i < total; i++)
        ((float *) wide.data)[i] = (float) pith_tensor_get(&x->constant, i);
    y->constant = wide;
    y->own = true;
    y->shape = wide.shape;
    y->dtype = PITH_FLOAT32;
}

/* The same constant under another number. */
static void same_constant(struct tflite_node *node)
{
    const struct tflite_tensor *x = tflite_input(node, 0);
    struct tflite_tensor *y = constant_output(node);

    if (y && x->own) {
        node->rc = tflite_count_copy(node->reader, x->constant.bytes, node->err);
        if (node->rc == 0)
            node->rc = pith_tensor_copy(&y->constant, &x->constant, node->err);
        y->own = node->rc == 0;
    } else if (y) {
        y->constant = x->constant;
    }
    if (node->rc < 0)
        return;
    y->shape = x->shape;
    y->dtype = x->dtype;
    y->quantization = x->quantization;
}

/* The same values under another number. */
static void same_values(struct tflite_node *node)
{
    (void) tflite_take(node, 0, tflite_home(node, 0));
    if (node->rc == 0)
        tflite_alias(node, node->outputs[0], node->inputs[0]);
}

/* A quantized value is a real to all operators; only what is stored as float16 is not there yet. */
static void dequantize(struct tflite_node *node)
{
    const struct tflite_tensor *x = tflite_input(node, 0);
    enum tflite_form form = tflite_home(node, 0);
    uint32_t emitted;

    if (x->constant.data && (x->dtype == PITH_FLOAT16 || x->dtype == PITH_BFLOAT16)) {
        widen_constant(node);
    } else if (tflite_on_grid(x)) {
        if (x->constant.data && !tflite_output(node, 0)->is_interface)
            same_constant(node);
        else
            same_values(node);
    } else if (x->dtype == PITH_INT32 && x->quantization.count == 1) {
        (void) tflite_emit1(node, "Identity", take_reals(node, form), tflite_result(node, 0, form));
    } else if (x->dtype == PITH_FLOAT16) {
        emitted =
            tflite_emit1(node, "Cast", tflite_take(node, 0, form), tflite_result(node, 0, form));
        tflite_set_int(node, emitted, "to", PITH_FLOAT32);
    } else {
        tflite_fail(node, -ENOTSUP, "it takes %s without a scale", pith_dtype_name(x->dtype));
    }
}

/* Sparse tensors are dense here as soon as they are read. */
static void densify(struct tflite_node *node)
{
    if (tflite_is_constant(node, 0))
        same_constant(node);
    else
        same_values(node);
}

/* Rounds to 2^bits - 1 steps between two bounds that are moved so that 0 is on the grid, as
 * TensorFlow nudges them. */
static void fake_quant(struct tflite_node *node)
{
    const float low = flat_float(node->options, FAKE_MIN, 0);
    const float high = flat_float(node->options, FAKE_MAX, 0);
    const int32_t bits = flat_i32(node->options, FAKE_BITS, 8);
    const float least = flat_u8(node->options, FAKE_NARROW, 0) ? 1 : 0;
    enum tflite_form form = tflite_home(node, 0);
    float most, scale, zero;
    uint32_t x = tflite_take(node, 0, form), inputs[3], y;

    if (bits < 2 || bits > 16 || !(low < high) || !isfinite(low) || !isfinite(high)) {
        tflite_fail(node, -EBADMSG, "its bounds or its number of bits can't be right");
        return;
    }
    most = (float) ((1 << bits) - 1);
    scale = (high - low) / (most - least);
    zero = roundf(fminf(fmaxf(least - low / scale, least), most));
    y = tflite_chain2(node, "Div", x, tflite_constant_float(node, scale), PITH_FLOAT32);
    y = tflite_chain1(node, "Round", y, PITH_FLOAT32);
    inputs[0] = y;
    inputs[1] = tflite_constant_float(node, least - zero);
    inputs[2] = tflite_constant_float(node, most - zero);
    y = tflite_temporary(node, PITH_FLOAT32);
    (void) tflite_emit(node, "Clip", inputs, 3, &y, 1);
    tflite_emit2(node, "Mul", y, tflite_constant_float(node, scale), tflite_result(node, 0, form));
}

const struct tflite_operator tflite_type_operators[] = {
    {53, "CAST", cast, OPTIONS_NONE, 1, 1, "Cast"},
    {114, "QUANTIZE", quantize, OPTIONS_NONE, 1, 1, NULL},
    {6, "DEQUANTIZE", dequantize, OPTIONS_NONE, 1, 1, NULL},
    {124, "DENSIFY", densify, OPTIONS_NONE, 1, 1, NULL},
    {80, "FAKE_QUANT", fake_quant, OPTIONS_FAKE_QUANT, 1, 1, NULL},
    {0},
};
