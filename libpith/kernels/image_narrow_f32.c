/* Weights of float convolutions that stay narrow: which ones, packing, and making them floats. See
 * image_narrow_f32.h. */
#include "libpith/kernels/image_narrow_f32.h"

#include <errno.h>
#include <math.h>

/* ---- reading ---- */

static const struct pith_quantization *grid_of(const struct pith_step *step)
{
    return step->input[1].dtype == PITH_FLOAT32 || !step->input_quantization
               ? NULL
               : step->input_quantization[1];
}

static void describe(const struct pith_step *step, struct image_narrow *out)
{
    const struct pith_shape *w = &step->input[1].shape;
    const struct pith_quantization *q = grid_of(step);

    *out = (struct image_narrow){.weights = &step->input[1], .grid = q, .in = w->dim[1], .count = 1};
    out->taps = pith_dims_product(w, 2, w->rank);
    out->size = out->in;
    out->blocked = q && q->block_size > 0;
    if (out->blocked) {
        out->size = q->block_size < out->in ? q->block_size : out->in;
        out->count = (out->in + out->size - 1) / out->size;
    }
}

static int64_t scale_at(const struct image_narrow *n, int64_t m, int64_t i, int64_t tap)
{
    if (n->blocked)
        return (m * n->count + i / n->size) * n->taps + tap;
    return n->grid->count > 1 ? m : 0;
}

static int64_t integer_at(const struct image_narrow *n, int64_t m, int64_t i, int64_t tap)
{
    return pith_tensor_get_int(n->weights, (m * n->in + i) * n->taps + tap) -
           n->grid->zero_point[scale_at(n, m, i, tap)];
}

int pith_image_check_weights(struct pith_step *step, struct pith_error *err)
{
    const struct pith_quantization *q = grid_of(step);
    const int64_t out = step->input[1].shape.dim[0];
    struct image_narrow n;

    if (step->input[1].dtype == PITH_FLOAT32)
        return 0;
    describe(step, &n);
    if (!q || n.in < 1 ||
        (n.blocked ? q->axis != 1 || (int64_t) q->count != out * n.count * n.taps
                   : q->count != 1 && (q->axis != 0 || (int64_t) q->count != out)))
        return pith_step_fail(step, err, -ENOTSUP, "weights with such scales have no kernel");
    return 0;
}

const float *pith_image_float_weights(struct pith_step *step)
{
    const int64_t count = pith_shape_elements(&step->input[1].shape);
    struct image_narrow n;
    float *to;

    if (step->input[1].dtype == PITH_FLOAT32)
        return step->input[1].data;
    describe(step, &n);
    to = pith_step_alloc(step, count * (int64_t) sizeof *to);
    for (int64_t at = 0; to && at < count; at++) {
        const int64_t tap = at % n.taps, i = at / n.taps % n.in, m = at / n.taps / n.in;

        to[at] = (float) integer_at(&n, m, i, tap) * n.grid->scale[scale_at(&n, m, i, tap)];
    }
    return to;
}

/* ---- which ---- */

static bool find_integers(struct image_narrow *n, int64_t out)
{
    int64_t least = 0, most = 0;

    for (int64_t m = 0; m < out; m++)
        for (int64_t i = 0; i < n->in; i++)
            for (int64_t tap = 0; tap < n->taps; tap++) {
                const int64_t v = integer_at(n, m, i, tap);

                least = v < least ? v : least;
                most = v > most ? v : most;
            }
    n->kind = least >= -8 && most <= 7 ? NARROW_FOURTHS : NARROW_BYTES;
    return least >= -128 && most <= 127;
}

static bool find_halves(struct image_narrow *n)
{
    const float *w = n->weights->data;
    const int64_t count = pith_shape_elements(&n->weights->shape);
    bool half = true, brain = true;

    for (int64_t i = 0; i < count && (half || brain); i++) {
        half = half && pith_float16_to_float(pith_float_to_float16(w[i])) == w[i] && isfinite(w[i]);
        brain = brain && pith_bfloat16_to_float(pith_float_to_bfloat16(w[i])) == w[i] &&
                isfinite(w[i]);
    }
    n->kind = brain ? NARROW_BFLOAT16 : NARROW_FLOAT16;
    return half || brain;
}

bool pith_image_narrow_find(const struct pith_step *step, struct image_narrow *out)
{
    describe(step, out);
    return out->grid ? find_integers(out, step->input[1].shape.dim[0]) : find_halves(out);
}

/* ---- packing ---- */

static float value_at(const struct image_narrow *n, int64_t m, int64_t i, int64_t tap)
{
    return n->grid ? (float) integer_at(n, m, i, tap)
                   : ((const float *) n->weights->data)[(m * n->in + i) * n->taps + tap];
}

/* Rows of one scale lie together: all of a block's, or those of a tap that have one. */
static int64_t segment_rows(const struct image_narrow *n, int64_t segment)
{
    const int64_t first = segment % n->count * n->size;

    if (!n->blocked)
        return n->taps * n->in;
    return n->in - first < n->size ? n->in - first : n->size;
}

static int64_t segment_count(const struct image_narrow *n)
{
    return n->blocked ? n->taps * n->count : 1;
}

static void pack_segment(const struct image_narrow *n, int64_t segment, int64_t channel,
                         int64_t valid, int64_t width, uint8_t *packed, float *scale)
{
    const int64_t first = n->blocked ? segment / n->count * n->in + segment % n->count * n->size : 0;

    for (int64_t row = 0; row < segment_rows(n, segment); row++)
        for (int64_t m = 0; m < valid; m++)
            pith_narrow_rows_put(
                n->kind, packed, width, row, m,
                value_at(n, channel + m, (first + row) % n->in, (first + row) / n->in));
    for (int64_t m = 0; scale && m < valid; m++)
        scale[m] = n->grid->scale[scale_at(n, channel + m, first % n->in, first / n->in)];
}

int pith_image_narrow_pack(struct pith_step *step, const struct image_narrow *narrow,
                           struct image_block *block, int64_t channel, int64_t valid, int64_t width)
{
    const int64_t segments = segment_count(narrow);
    int64_t bytes = 0;
    uint8_t *packed, *to;
    float *scale = NULL;

    for (int64_t s = 0; s < segments; s++)
        bytes += pith_narrow_rows_bytes(narrow->kind, segment_rows(narrow, s), width);
    packed = pith_step_alloc(step, bytes);
    if (narrow->grid)
        scale = pith_step_alloc(step, segments * width * (int64_t) sizeof *scale);
    if (!packed || (narrow->grid && !scale))
        return -ENOMEM;
    to = packed;
    for (int64_t s = 0; s < segments; s++) {
        pack_segment(narrow, s, channel, valid, width, to, scale ? scale + s * width : NULL);
        to += pith_narrow_rows_bytes(narrow->kind, segment_rows(narrow, s), width);
    }
    block->narrow = pith_step_share(step, packed);
    block->scale = pith_step_share(step, scale);
    block->width = width;
    return 0;
}

void pith_image_narrow_expand(const struct image_narrow *narrow, const struct image_block *block,
                              float *to)
{
    const uint8_t *packed = block->narrow;

    for (int64_t s = 0; s < segment_count(narrow); s++) {
        const int64_t rows = segment_rows(narrow, s);

        pith_narrow_rows_expand(narrow->kind, packed, rows, block->width,
                                block->scale ? block->scale + s * block->width : NULL, to);
        packed += pith_narrow_rows_bytes(narrow->kind, rows, block->width);
        to += rows * block->width;
    }
}
