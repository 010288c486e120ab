/* Resize and Upsample of planar values: nearest, linear and cubic, with antialiasing. Each axis that
 * changes is one pass with a table of taps and weights (resize.h). Nearest moves elements of any type;
 * linear and cubic compute in float32. */
#include "libpith/kernels/families.h"
#include "libpith/kernels/resize.h"

#include <errno.h>
#include <string.h>

static int resize_prepare(struct pith_step *step, struct pith_error *err)
{
    struct pith_resize *r = pith_step_alloc(step, sizeof *r);
    int rc;

    if (!r)
        return -ENOMEM;
    rc = pith_resize_read(step, r, err);
    step->params = r;
    step->scratch_bytes = r->pass_count > 1 ? 2 * r->buffer_bytes : 0;
    return rc;
}

/* ---- run ---- */

static void interpolate(const struct pith_resize *r, const struct pith_resize_pass *p, const float *x, float *y)
{
    for (int64_t o = 0; o < p->outer; o++)
        for (int64_t i = 0; i < p->out; i++) {
            const int64_t *from = p->from + i * p->taps;
            const float *weight = p->weight + i * p->taps;
            float *to = y + (o * p->out + i) * p->inner;

            for (int64_t k = 0; k < p->inner; k++)
                to[k] = from[0] < 0 ? r->extrapolation : 0.0F;
            for (int64_t t = 0; t < p->taps && from[0] >= 0; t++) {
                const float *at = x + (o * p->in + from[t]) * p->inner;

                if (weight[t] == 0.0F) /* also keeps an infinity beside it from becoming NaN */
                    continue;
                for (int64_t k = 0; k < p->inner; k++)
                    to[k] += weight[t] * at[k];
            }
        }
}

static void pick(const struct pith_step *step, const struct pith_resize *r, const struct pith_resize_pass *p,
                 const uint8_t *x, uint8_t *y)
{
    const size_t row_bytes = (size_t) p->inner * r->element_bytes;

    for (int64_t o = 0; o < p->outer; o++)
        for (int64_t i = 0; i < p->out; i++) {
            uint8_t *to = y + (size_t) (o * p->out + i) * row_bytes;

            if (p->from[i] >= 0) {
                memcpy(to, x + (size_t) (o * p->in + p->from[i]) * row_bytes, row_bytes);
            } else {
                struct pith_tensor fill = {step->input[0].dtype, {1, {p->inner}}, to, row_bytes};

                for (int64_t k = 0; k < p->inner; k++)
                    pith_tensor_set(&fill, k, (double) r->extrapolation);
            }
        }
}

static int resize_run(struct pith_step *step, struct pith_error *err)
{
    const struct pith_resize *r = step->params;
    const void *x = step->input[0].data;

    (void) err;
    if (step->output[0].bytes == 0)
        return 0;
    if (r->pass_count == 0)
        memcpy(step->output[0].data, x, step->output[0].bytes);
    for (uint32_t i = 0; i < r->pass_count; i++) {
        void *y = i + 1 == r->pass_count ? step->output[0].data
                                         : (uint8_t *) step->scratch + i % 2 * r->buffer_bytes;

        if (r->mode == PITH_RESIZE_NEAREST)
            pick(step, r, &r->pass[i], x, y);
        else
            interpolate(r, &r->pass[i], x, y);
        x = y;
    }
    return 0;
}

#define MOVABLE (PITH_NUMBERS | PITH_BIT(BOOL) | PITH_BIT(BFLOAT16))

const struct pith_kernel pith_kernels_resize[] = {
    {.op = "Resize",
     .name = "resize",
     .types = {MOVABLE},
     .prepare = resize_prepare,
     .run = resize_run},
    {.op = "Upsample",
     .name = "upsample",
     .types = {MOVABLE},
     .prepare = resize_prepare,
     .run = resize_run},
    {0},
};
