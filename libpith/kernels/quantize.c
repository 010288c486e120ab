/* Between reals and integers on a grid: QuantizeLinear, DequantizeLinear (per tensor, per axis, in
 * blocks), DynamicQuantizeLinear, and the engine's own forms of them for values that carry their
 * quantization (domain "pith"). q = saturate(round half to even(x / scale) + zero_point); x = (q -
 * zero_point) * scale. */
#include "libpith/kernels/byte_grid.h"
#include "libpith/kernels/byte_table.h"
#include "libpith/kernels/families.h"

#include <errno.h>
#include <math.h>
#include <string.h>

struct grid { /* where an element's scale lies: entry (outer, axis / block, inner) or (axis) */
    int64_t outer, axis, inner; /* the tensor as three dimensions */
    int64_t block;              /* 0: one scale an axis entry; axis 1 then means per tensor */
    int64_t scales_axis;        /* blocks along the axis */
    int64_t count;              /* scales */
    int32_t dtype;              /* of the integers */
    int32_t least, greatest;
    const float *scale;        /* NULL: from input 1, in each run */
    const int32_t *zero_point; /* NULL: from input 2, or none */
};

static bool grid_range(int32_t dtype, int32_t *least, int32_t *greatest)
{
    switch (dtype) {
    case PITH_INT8:
        return *least = -128, *greatest = 127, true;
    case PITH_UINT8:
        return *least = 0, *greatest = 255, true;
    case PITH_INT16:
        return *least = -32768, *greatest = 32767, true;
    case PITH_UINT16:
        return *least = 0, *greatest = 65535, true;
    case PITH_INT4:
        return *least = -8, *greatest = 7, true;
    case PITH_UINT4:
        return *least = 0, *greatest = 15, true;
    case PITH_INT32:
        return *least = INT32_MIN, *greatest = INT32_MAX, true;
    default:
        return false;
    }
}

static int plan_axis(struct pith_step *step, struct grid *g, const struct pith_shape *x,
                     uint32_t axis, int64_t block, struct pith_error *err)
{
    g->outer = pith_dims_product(x, 0, axis);
    g->axis = x->dim[axis];
    g->inner = pith_dims_product(x, axis + 1, x->rank);
    g->block = block;
    g->scales_axis = block ? g->axis / block + (g->axis % block != 0) : g->axis;
    g->count = block ? g->outer * g->scales_axis * g->inner : g->axis;
    (void) step;
    (void) err;
    return 0;
}

/* Geometry from the operator's attributes and the shape of its scale. */
static int plan_operator(struct pith_step *step, struct grid *g, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape, *scale = &step->input[1].shape;
    const int64_t block = pith_node_int(step->graph, step->node, "block_size", 0);
    const int64_t entries = pith_shape_elements(scale);
    uint32_t axis = 0;
    int rc;

    if (block < 0)
        return pith_step_fail(step, err, -EINVAL, "block_size is %lld", (long long) block);
    if (block == 0 && (scale->rank == 0 || (scale->rank == 1 && entries == 1))) {
        *g = (struct grid){
            .outer = 1, .axis = 1, .inner = pith_shape_elements(x), .scales_axis = 1, .count = 1};
    } else {
        rc = pith_step_axis(step, pith_node_int(step->graph, step->node, "axis", 1), x->rank, &axis,
                            err);
        if (rc == 0)
            rc = plan_axis(step, g, x, axis, block, err);
        if (rc < 0)
            return rc;
        if (entries != g->count || (block == 0 && scale->rank != 1))
            return pith_step_fail(step, err, -EINVAL, "%lld scales where %lld are needed",
                                  (long long) entries, (long long) g->count);
    }
    if (pith_step_has(step, 2) && pith_shape_elements(&step->input[2].shape) != entries)
        return pith_step_fail(step, err, -EINVAL, "as many zero points as scales are needed");
    return 0;
}

/* Geometry from a value's quantization. */
static int plan_value(struct pith_step *step, struct grid *g, const struct pith_quantization *q,
                      struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape;

    if (q->count == 1 && q->block_size == 0) {
        *g = (struct grid){
            .outer = 1, .axis = 1, .inner = pith_shape_elements(x), .scales_axis = 1, .count = 1};
    } else {
        if (q->axis < 0 || (uint32_t) q->axis >= x->rank)
            return pith_step_fail(step, err, -EINVAL,
                                  "the quantization's axis %d is outside of rank %u", q->axis,
                                  x->rank);
        plan_axis(step, g, x, (uint32_t) q->axis, q->block_size, err);
        if ((int64_t) q->count != g->count)
            return pith_step_fail(step, err, -EINVAL, "%zu scales where %lld are needed", q->count,
                                  (long long) g->count);
    }
    g->scale = q->scale;
    g->zero_point = q->zero_point;
    g->dtype = q->dtype;
    return 0;
}

static int64_t scale_index(const struct grid *g, int64_t outer, int64_t axis, int64_t inner)
{
    return g->block ? (outer * g->scales_axis + axis / g->block) * g->inner + inner : axis;
}

static float scale_at(const struct pith_step *step, const struct grid *g, int64_t index)
{
    if (g->scale)
        return g->scale[index];
    return step->input[1].dtype == PITH_FLOAT32 ? ((const float *) step->input[1].data)[index]
                                                : (float) pith_tensor_get(&step->input[1], index);
}

static int32_t zero_at(const struct pith_step *step, const struct grid *g, int64_t index)
{
    if (g->zero_point)
        return g->zero_point[index];
    return !g->scale && pith_step_has(step, 2)
               ? (int32_t) pith_tensor_get_int(&step->input[2], index)
               : 0;
}

/* NaN becomes the least integer's neighbour 0 of ONNX Runtime: saturating a NaN is not defined, so
 * it is made 0. */
static int32_t to_grid(float x, float scale, int32_t zero, int32_t least, int32_t greatest)
{
    const float q = nearbyintf(x / scale) + (float) zero;

    if (!(q >= (float) least))
        return isnan(q) ? zero : least;
    return q >= (float) greatest ? greatest : (int32_t) q;
}

/* Runs of elements with one scale. */
#define RUN_OF(g) ((g)->block ? 1 : (g)->inner)

static void quantize_run(const struct pith_step *step, const struct grid *g, int64_t at,
                         int64_t count, float scale, int32_t zero)
{
    const struct pith_tensor *x = &step->input[0];
    struct pith_tensor *y = &step->output[0];

    if (x->dtype == PITH_FLOAT32 && (g->dtype == PITH_UINT8 || g->dtype == PITH_INT8)) {
        pith_byte_grid_form()->quantize(&(struct pith_byte_grid){scale, zero, g->least},
                                        (const float *) x->data + at, (uint8_t *) y->data + at,
                                        count);
        return;
    }
    for (int64_t i = at; i < at + count; i++)
        pith_tensor_set(y, i,
                        to_grid((float) pith_tensor_get(x, i), scale, zero, g->least, g->greatest));
}

#define ROUND_BLOCK 256

static void round_run(const struct pith_step *step, const struct grid *g, int64_t at, int64_t count,
                      float scale, int32_t zero)
{
    const struct pith_float_grid grid = {scale, zero, g->least, g->greatest};
    const float *from = (const float *) step->input[0].data + at;
    float *to = (float *) step->output[0].data + at;
    float block[ROUND_BLOCK]; /* the output may lie where the input lies */

    if (g->dtype == PITH_INT32) { /* which floats don't hold exactly */
        for (int64_t i = 0; i < count; i++)
            to[i] = (float) (to_grid(from[i], scale, zero, g->least, g->greatest) - zero) * scale;
        return;
    }
    for (int64_t i = 0; i < count; i += ROUND_BLOCK) {
        const int64_t n = count - i < ROUND_BLOCK ? count - i : ROUND_BLOCK;

        pith_byte_grid_form()->round(&grid, from + i, block, n);
        memcpy(to + i, block, (size_t) n * sizeof *to);
    }
}

static void dequantize_run(const struct pith_step *step, const struct grid *g, int64_t at,
                           int64_t count, float scale, int32_t zero)
{
    const struct pith_tensor *x = &step->input[0];
    struct pith_tensor *y = &step->output[0];

    if (y->dtype == PITH_FLOAT32 && (x->dtype == PITH_UINT8 || x->dtype == PITH_INT8)) {
        const struct pith_byte_grid_form *rows = pith_byte_grid_form();

        (x->dtype == PITH_INT8 ? rows->from_s8 : rows->from_u8)(
            &(struct pith_byte_grid){scale, zero, g->least}, (const uint8_t *) x->data + at,
            (float *) y->data + at, count);
    } else {
        for (int64_t i = at; i < at + count; i++)
            pith_tensor_set(y, i, (double) ((float) (pith_tensor_get_int(x, i) - zero) * scale));
    }
}

typedef void grid_run(const struct pith_step *step, const struct grid *g, int64_t at, int64_t count,
                      float scale, int32_t zero);

static void each_run(const struct pith_step *step, const struct grid *g, grid_run *run)
{
    const int64_t count = RUN_OF(g);

    for (int64_t o = 0; o < g->outer; o++)
        for (int64_t a = 0; a < g->axis; a++)
            for (int64_t i = 0; i < g->inner; i += count) {
                const int64_t index = scale_index(g, o, a, i);

                run(step, g, (o * g->axis + a) * g->inner + i, count, scale_at(step, g, index),
                    zero_at(step, g, index));
            }
}

static int quantize_prepare(struct pith_step *step, struct pith_error *err)
{
    struct grid *g = pith_step_alloc(step, sizeof *g);
    int rc;

    if (!g)
        return -ENOMEM;
    rc = plan_operator(step, g, err);
    g->dtype = step->output[0].dtype;
    if (rc == 0 && !grid_range(g->dtype, &g->least, &g->greatest))
        rc = pith_step_fail(step, err, -ENOTSUP, "quantizing to %s", pith_dtype_name(g->dtype));
    step->params = g;
    return rc;
}

static int dequantize_prepare(struct pith_step *step, struct pith_error *err)
{
    struct grid *g = pith_step_alloc(step, sizeof *g);
    int rc;

    if (!g)
        return -ENOMEM;
    rc = plan_operator(step, g, err);
    g->dtype = step->input[0].dtype;
    step->params = g;
    return rc;
}

/* The engine's own steps: the quantization is the value's. Round gives floats on the grid. */
static int own_prepare(struct pith_step *step, struct pith_error *err)
{
    const bool from_grid = strcmp(step->kernel->op, "Dequantize") == 0;
    const struct pith_quantization *q =
        from_grid ? step->input_quantization[0] : step->output_quantization[0];
    struct grid *g = pith_step_alloc(step, sizeof *g);
    int rc;

    if (!g)
        return -ENOMEM;
    rc = plan_value(step, g, q, err);
    if (rc == 0 && !grid_range(g->dtype, &g->least, &g->greatest))
        rc = pith_step_fail(step, err, -ENOTSUP, "values quantized to %s",
                            pith_dtype_name(g->dtype));
    if (strcmp(step->kernel->op, "Round") == 0)
        step->in_place = 1;
    step->params = g;
    return rc;
}

static int quantize_step(struct pith_step *step, struct pith_error *err)
{
    (void) err;
    each_run(step, step->params, quantize_run);
    return 0;
}

static int dequantize_step(struct pith_step *step, struct pith_error *err)
{
    (void) err;
    each_run(step, step->params, dequantize_run);
    return 0;
}

static int round_step(struct pith_step *step, struct pith_error *err)
{
    (void) err;
    each_run(step, step->params, round_run);
    return 0;
}

/* ---- DynamicQuantizeLinear: the range of this very tensor, with 0 in it ---- */

#define RANGE_LANES 16 /* as many ranges side by side as the compiler has lanes for */

/* The least and the greatest, with what *low and *high are; no NaN. */
static void range_of(const float *x, int64_t count, float *low, float *high)
{
    float lows[RANGE_LANES], highs[RANGE_LANES];
    int64_t i = 0;

    for (int k = 0; k < RANGE_LANES; k++) {
        lows[k] = *low;
        highs[k] = *high;
    }
    for (; i + RANGE_LANES <= count; i += RANGE_LANES)
        for (int k = 0; k < RANGE_LANES; k++) {
            lows[k] = x[i + k] < lows[k] ? x[i + k] : lows[k];
            highs[k] = x[i + k] > highs[k] ? x[i + k] : highs[k];
        }
    for (; i < count; i++) {
        lows[0] = x[i] < lows[0] ? x[i] : lows[0];
        highs[0] = x[i] > highs[0] ? x[i] : highs[0];
    }
    for (int k = 0; k < RANGE_LANES; k++) {
        *low = lows[k] < *low ? lows[k] : *low;
        *high = highs[k] > *high ? highs[k] : *high;
    }
}

static int dynamic_prepare(struct pith_step *step, struct pith_error *err)
{
    (void) step;
    (void) err;
    return 0;
}

static int dynamic_run(struct pith_step *step, struct pith_error *err)
{
    const float *x = step->input[0].data;
    const int64_t count = pith_shape_elements(&step->input[0].shape);
    float low = 0.0F, high = 0.0F, scale;
    int32_t zero;

    (void) err;
    range_of(x, count, &low, &high);
    scale = (high - low) / 255.0F;
    zero = scale > 0.0F ? to_grid(-low, scale, 0, 0, 255) : 0;
    if (step->output[0].dtype != PITH_DTYPE_NONE && scale > 0.0F)
        pith_byte_grid_form()->quantize(&(struct pith_byte_grid){scale, zero, 0}, x,
                                        step->output[0].data, count);
    else if (step->output[0].dtype != PITH_DTYPE_NONE)
        memset(step->output[0].data, 0, (size_t) count);
    if (pith_step_gives(step, 1))
        *(float *) step->output[1].data = scale;
    if (pith_step_gives(step, 2))
        *(uint8_t *) step->output[2].data = (uint8_t) zero;
    return 0;
}

/* ---- Table: any function of one 8-bit value; Copy ---- */

static int table_prepare(struct pith_step *step, struct pith_error *err)
{
    if (pith_shape_elements(&step->input[1].shape) != 256)
        return pith_step_fail(step, err, -EINVAL, "a table of 8-bit values has 256 entries");
    step->in_place = 1;
    return 0;
}

static int table_run(struct pith_step *step, struct pith_error *err)
{
    const uint8_t *x = step->input[0].data, *table = step->input[1].data;
    uint8_t *y = step->output[0].data;
    const int64_t count = pith_shape_elements(&step->output[0].shape);

    (void) err;
    pith_byte_table()(table, x, y, count);
    return 0;
}

static int copy_prepare(struct pith_step *step, struct pith_error *err)
{
    (void) step;
    (void) err;
    return 0;
}

static int copy_run(struct pith_step *step, struct pith_error *err)
{
    (void) err;
    if (step->output[0].bytes)
        memcpy(step->output[0].data, step->input[0].data, step->output[0].bytes);
    return 0;
}

#define EIGHT_BITS (PITH_BIT(INT8) | PITH_BIT(UINT8))
#define GRID_TYPES                                                                                 \
    (EIGHT_BITS | PITH_BIT(INT16) | PITH_BIT(UINT16) | PITH_BIT(INT4) | PITH_BIT(UINT4) |          \
     PITH_BIT(INT32))
#define REALS (PITH_BIT(FLOAT32) | PITH_BIT(FLOAT16) | PITH_BIT(BFLOAT16))

const struct pith_kernel pith_kernels_quantize[] = {
    {.op = "QuantizeLinear",
     .name = "quantize",
     .types = {REALS | PITH_BIT(INT32), REALS, GRID_TYPES},
     .prepare = quantize_prepare,
     .run = quantize_step},
    {.op = "DequantizeLinear",
     .name = "dequantize",
     .types = {GRID_TYPES, REALS, GRID_TYPES},
     .prepare = dequantize_prepare,
     .run = dequantize_step},
    {.op = "DynamicQuantizeLinear",
     .name = "quantize_dynamic",
     .types = {PITH_BIT(FLOAT32)},
     .prepare = dynamic_prepare,
     .run = dynamic_run},
    {.op = "Quantize",
     .domain = "pith",
     .name = "quantize",
     .types = {PITH_BIT(FLOAT32)},
     .output_type = GRID_TYPES,
     .prepare = own_prepare,
     .run = quantize_step},
    {.op = "Dequantize",
     .domain = "pith",
     .name = "dequantize",
     .types = {GRID_TYPES},
     .output_type = PITH_BIT(FLOAT32),
     .prepare = own_prepare,
     .run = dequantize_step},
    {.op = "Round",
     .domain = "pith",
     .name = "round_to_grid",
     .types = {PITH_BIT(FLOAT32)},
     .output_type = PITH_BIT(FLOAT32),
     .prepare = own_prepare,
     .run = round_step},
    {.op = "Table",
     .domain = "pith",
     .name = "table_8",
     .types = {EIGHT_BITS, PITH_BIT(UINT8)},
     .output_type = EIGHT_BITS,
     .prepare = table_prepare,
     .run = table_run},
    {.op = "Copy", .domain = "pith", .name = "copy", .prepare = copy_prepare, .run = copy_run},
    {0},
};
