/* Channels-last 8-bit pictures times one number a channel, as squeeze-and-excitation scales them (Hu et al. 2018,
 * arXiv:1709.01507): y = saturate(round((x - x zero) * factor) + y zero), where a channel's factor, in float32, is what its
 * number stands for times the scale of x over that of y. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "libpith/kernels/byte_grid.h"
#include "libpith/kernels/families.h"
#include "libpith/kernels/requantize.h"

#define RUN        256 /* elements that a loop goes through at once, at least, where pixels touch */
#define MOST_PARTS 16

struct gate {
    struct pith_image_dims dims;
    size_t picture, number;   /* which input is which */
    int64_t number_picture;   /* elements from one picture's numbers to the next's; 0: the same for all */
    int64_t pixels, run;      /* of a loop; elements in these */
    int64_t factor_bytes;     /* of one part's factors */
    struct pith_byte_scaling scaling;
    float ratio[256]; /* what a stored number makes of one step of x, in steps of y */
    pith_byte_scale_run *scale;
};

static bool is_of_channels(const struct pith_shape *x, const struct pith_shape *y)
{
    for (uint32_t d = 0; d < x->rank; d++)
        if (x->dim[d] != 1 && (d > 1 || x->dim[d] != y->dim[d]))
            return false;
    return x->rank == y->rank && x->dim[1] == y->dim[1];
}

static int plan_grids(struct pith_step *step, struct gate *gate, struct pith_error *err)
{
    const struct pith_quantization *xq = step->input_quantization[gate->picture],
                                   *nq = step->input_quantization[gate->number], *yq = step->output_quantization[0];
    const int32_t stored = pith_image_integer_dtype();

    if (!pith_is_byte_grid(xq) || !pith_is_byte_grid(nq) || !pith_is_byte_grid(yq) || step->input[0].dtype != stored ||
        step->input[1].dtype != stored || step->output[0].dtype != stored)
        return pith_step_fail(step, err, -ENOTSUP, "this quantization is not one for the channels-last kernel");
    gate->scaling = (struct pith_byte_scaling){pith_stored_zero(xq, stored), pith_stored_zero(yq, stored),
                                               stored == PITH_INT8 ? -128 : 0};
    for (int v = 0; v < 256; v++) {
        const int32_t number = pith_image_integer((uint8_t) v) - pith_stored_zero(nq, stored);

        gate->ratio[v] =
            (float) ((double) number * (double) nq->scale[0] * (double) xq->scale[0] / (double) yq->scale[0]);
    }
    gate->scale = stored == PITH_INT8 ? pith_byte_grid_form()->scale_s8 : pith_byte_grid_form()->scale_u8;
    return 0;
}

static int gate_prepare(struct pith_step *step, struct pith_error *err)
{
    struct gate *gate = pith_step_alloc(step, sizeof *gate);
    const struct pith_shape *y = &step->output[0].shape;
    const struct pith_image *x;

    if (!gate)
        return -ENOMEM;
    if (step->input_count != 2 || y->rank < 3 || y->rank > 4 || !pith_step_has(step, 0) || !pith_step_has(step, 1))
        return pith_step_fail(step, err, -ENOTSUP, "this is no product with channels");
    gate->picture = pith_shape_equal(&step->input[0].shape, y) ? 0 : 1;
    gate->number = 1 - gate->picture;
    if (!pith_shape_equal(&step->input[gate->picture].shape, y) || !is_of_channels(&step->input[gate->number].shape, y) ||
        !step->input_image[0].channels_last || !step->input_image[1].channels_last)
        return pith_step_fail(step, err, -ENOTSUP, "this is no product with channels");
    gate->dims = pith_image_dims(y);
    gate->number_picture = step->input[gate->number].shape.dim[0] > 1 ? step->input_image[gate->number].picture : 0;
    x = &step->input_image[gate->picture];
    gate->pixels = 1;
    if (x->pixel == gate->dims.c && step->output_image[0].pixel == gate->dims.c && gate->dims.c > 0)
        gate->pixels = (RUN + gate->dims.c - 1) / gate->dims.c;
    gate->pixels = gate->pixels > gate->dims.w ? gate->dims.w : gate->pixels;
    gate->run = gate->pixels * gate->dims.c;
    gate->factor_bytes = (gate->run * (int64_t) sizeof(float) + 63) / 64 * 64;
    step->parts = pith_parts_with_scratch(step, gate->dims.n * gate->dims.h, MOST_PARTS);
    step->scratch_bytes = (size_t) gate->factor_bytes * (step->parts > 1 ? step->parts : 1);
    step->in_place = pith_image_equal(x, &step->output_image[0]) ? 1U << gate->picture : 0;
    step->params = gate;
    return plan_grids(step, gate, err);
}

static void read_factors(const struct gate *gate, const uint8_t *numbers, float *factors)
{
    for (int64_t c = 0; c < gate->dims.c; c++)
        factors[c] = gate->ratio[numbers[c]];
    for (int64_t i = gate->dims.c; i < gate->run; i++)
        factors[i] = factors[i - gate->dims.c];
}

static void gate_part(struct pith_step *step, uint32_t part, uint32_t count)
{
    const struct gate *gate = step->params;
    const struct pith_image *in = &step->input_image[gate->picture], *out = &step->output_image[0];
    const int64_t rows = gate->dims.n * gate->dims.h, end = pith_part_begin(rows, part + 1, count);
    float *factors = (float *) (void *) ((uint8_t *) step->scratch + part * gate->factor_bytes);
    int64_t picture = -1;

    for (int64_t row = pith_part_begin(rows, part, count); row < end; row++) {
        const int64_t n = row / gate->dims.h, h = row % gate->dims.h;
        const uint8_t *x = (const uint8_t *) step->input[gate->picture].data + n * in->picture + h * in->row;
        uint8_t *y = (uint8_t *) step->output[0].data + n * out->picture + h * out->row;

        if (n != picture)
            read_factors(gate, (const uint8_t *) step->input[gate->number].data + n * gate->number_picture, factors);
        picture = n;
        for (int64_t w = 0; w < gate->dims.w; w += gate->pixels) {
            const int64_t left = gate->dims.w - w;

            gate->scale(&gate->scaling, x + w * in->pixel, factors, y + w * out->pixel,
                        left < gate->pixels ? left * gate->dims.c : gate->run);
        }
    }
    pith_image_zero_halo_part(step, 0, part, count);
}

static int gate_run(struct pith_step *step, struct pith_error *err)
{
    (void) err;
    gate_part(step, 0, 1);
    return 0;
}

const struct pith_kernel pith_kernels_image_gate_s8[] = {
    {.op = "Mul",
     .name = "image_gate_s8",
     .types = {PITH_BIT(UINT8) | PITH_BIT(INT8), PITH_BIT(UINT8) | PITH_BIT(INT8)},
     .output_type = PITH_BIT(UINT8) | PITH_BIT(INT8),
     .flags = PITH_KERNEL_QUANTIZED | PITH_KERNEL_CHANNELS_LAST,
     .prepare = gate_prepare,
     .run = gate_run,
     .run_part = gate_part},
    {0},
};
