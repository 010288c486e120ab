/* Attention of many heads, and a product with a bias: what the native engine makes of a graph's
 * nodes (domain `pith.fused`; a model that names them is checked like any other). Scores stay in
 * scratch for a block of queries at a time; transposes in front and behind are strides.
 *
 * Attention: y = softmax(kept(scale * q k^T) + mask) v, of q (.., S, D), k (.., T, D), v (.., T, E),
 * mask of what broadcasts to (.., S, T), or left out, and so `keep` (bool): what is kept where it
 * says `keeps_true`, and is `fill` elsewhere. Attributes: scale; keeps_true, fill; q_perm, k_perm,
 * v_perm, y_perm: axis i of what is said here is axis perm[i] of the operand. Vaswani et al. 2017,
 * arXiv:1706.03762, section 3.2. */
#include "libpith/kernels/families.h"
#include "libpith/kernels/gemm.h"
#include "libpith/kernels/rows_f32.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define AXES 4
#define BLOCK_ROWS                                                                                 \
    48 /* queries whose scores are held at once: a multiple of the products' tiles                 \
        */
#define MOST_PARTS 16

struct operand { /* dimensions and strides in elements, axes as above; missing ones in front are 1
                  */
    int64_t dim[AXES], step[AXES];
};

struct attention {
    const struct pith_gemm_form *form;
    const struct pith_rows_form *rows; /* NULL: plain C */
    struct operand q, k, v, y, mask, keep;
    float scale, fill;
    uint8_t keeps; /* the bool with which a score stays */
    int64_t queries, keys, depth, width; /* S, T, D, E */
    int64_t k_packed, v_packed, scores;  /* floats of a part's scratch */
    int64_t spread; /* the same: a row of the mask, where it has one number for all keys; else 0 */
};

/* ---- prepare ---- */

static int read_operand(struct pith_step *step, const struct pith_shape *shape, const char *name,
                        struct operand *out, struct pith_error *err)
{
    size_t count = 0;
    const int64_t *perm = pith_node_ints(step->graph, step->node, name, &count);
    int64_t strides[AXES], next = 1;
    uint32_t seen = 0;

    if (shape->rank < 2 || shape->rank > AXES || (perm && count != shape->rank))
        return pith_step_fail(step, err, -EINVAL, "%s does not fit rank %u", name, shape->rank);
    for (uint32_t i = shape->rank; i-- > 0;) {
        strides[i] = next;
        next *= shape->dim[i];
    }
    for (uint32_t i = 0; i < AXES; i++) {
        const uint32_t from = i - (AXES - shape->rank);
        int64_t axis;

        out->dim[i] = 1;
        out->step[i] = 0;
        if (i < AXES - shape->rank)
            continue;
        axis = perm ? perm[from] : from;
        if (axis < 0 || axis >= (int64_t) shape->rank || (seen >> axis & 1))
            return pith_step_fail(step, err, -EINVAL, "%s is no permutation", name);
        seen |= UINT32_C(1) << axis;
        out->dim[i] = shape->dim[axis];
        out->step[i] = strides[axis];
    }
    return 0;
}

static int64_t to_line(int64_t floats)
{
    return (floats + 15) / 16 * 16;
}

static int read_mask(struct pith_step *step, const struct attention *a, size_t input,
                     struct operand *mask, struct pith_error *err)
{
    const int64_t want[AXES] = {a->q.dim[0], a->q.dim[1], a->queries, a->keys};
    const struct pith_shape *shape = &step->input[input].shape;
    int64_t next = 1;

    if (!pith_step_has(step, input))
        return 0;
    if (shape->rank > AXES)
        return pith_step_fail(step, err, -EINVAL, "the mask does not fit the scores");
    for (uint32_t i = 0; i < shape->rank; i++) {
        const uint32_t axis = AXES - 1 - i;
        const int64_t dim = shape->dim[shape->rank - 1 - i];

        if (dim != 1 && dim != want[axis])
            return pith_step_fail(step, err, -EINVAL, "the mask does not fit the scores");
        mask->step[axis] = dim == 1 ? 0 : next;
        next *= dim;
    }
    return 0;
}

static int read_masks(struct pith_step *step, struct attention *a, struct pith_error *err)
{
    int rc = read_mask(step, a, 3, &a->mask, err);

    if (rc == 0)
        rc = read_mask(step, a, 4, &a->keep, err);
    if (rc == 0 && pith_step_has(step, 4) && step->input[4].dtype != PITH_BOOL)
        rc = pith_step_fail(step, err, -EINVAL, "what is kept is said by bools");
    a->spread = pith_step_has(step, 3) && a->mask.step[AXES - 1] == 0 && a->keys != 1
                    ? to_line(a->keys)
                    : 0;
    a->fill = pith_node_float(step->graph, step->node, "fill", -INFINITY);
    a->keeps = pith_node_int(step->graph, step->node, "keeps_true", 1) != 0;
    return rc;
}

static int check_operands(struct pith_step *step, const struct attention *a, struct pith_error *err)
{
    for (int i = 0; i < 2; i++)
        if (a->k.dim[i] != a->q.dim[i] || a->v.dim[i] != a->q.dim[i] || a->y.dim[i] != a->q.dim[i])
            return pith_step_fail(step, err, -EINVAL, "the operands' heads differ");
    if (a->k.dim[3] != a->depth || a->v.dim[2] != a->keys || a->y.dim[2] != a->queries ||
        a->y.dim[3] != a->width)
        return pith_step_fail(step, err, -EINVAL, "the operands don't fit each other");
    if (a->v.step[3] != 1 || a->y.step[3] != 1)
        return pith_step_fail(step, err, -ENOTSUP, "values of a head that lie apart");
    return 0;
}

static int64_t part_floats(const struct attention *a)
{
    return a->k_packed + a->v_packed + a->scores + a->spread;
}

static int attention_prepare(struct pith_step *step, struct pith_error *err)
{
    struct attention *a = pith_step_alloc(step, sizeof *a);
    int64_t heads, part;
    int rc;

    if (!a)
        return -ENOMEM;
    rc = read_operand(step, &step->input[0].shape, "q_perm", &a->q, err);
    if (rc == 0)
        rc = read_operand(step, &step->input[1].shape, "k_perm", &a->k, err);
    if (rc == 0)
        rc = read_operand(step, &step->input[2].shape, "v_perm", &a->v, err);
    if (rc == 0)
        rc = read_operand(step, &step->output[0].shape, "y_perm", &a->y, err);
    a->queries = a->q.dim[2];
    a->depth = a->q.dim[3];
    a->keys = a->k.dim[2];
    a->width = a->v.dim[3];
    if (rc == 0)
        rc = check_operands(step, a, err);
    if (rc == 0)
        rc = read_masks(step, a, err);
    if (rc < 0)
        return rc;
    a->form = pith_gemm_form();
    a->rows = pith_rows_form();
    a->scale = pith_node_float(step->graph, step->node, "scale", 1.0F);
    heads = a->q.dim[0] * a->q.dim[1];
    a->k_packed = to_line(pith_gemm_packed(a->form, a->depth, a->keys));
    a->v_packed = to_line(pith_gemm_packed(a->form, a->keys, a->width));
    a->scores = to_line((a->queries < BLOCK_ROWS ? a->queries : BLOCK_ROWS) * a->keys);
    part = part_floats(a);
    if (part > PITH_STEP_MAX_BYTES / 4 / MOST_PARTS)
        return pith_step_fail(step, err, -EINVAL, "it is too large");
    step->parts = pith_parts_with_scratch(step, heads, MOST_PARTS);
    step->scratch_bytes = (size_t) (part * (step->parts ? step->parts : 1)) * sizeof(float);
    step->macs = (uint64_t) (heads * a->queries * a->keys * (a->depth + a->width));
    step->params = a;
    return 0;
}

/* ---- run ---- */

static float exponentials_plain(float *x, int64_t count, float scale, const float *mask)
{
    float most = -INFINITY, sum = 0.0F;

    for (int64_t i = 0; i < count; i++) {
        x[i] = x[i] * scale + (mask ? mask[i] : 0.0F);
        most = x[i] > most ? x[i] : most;
    }
    for (int64_t i = 0; i < count; i++) {
        x[i] = expf(x[i] - most);
        sum += x[i];
    }
    return sum;
}

/* Rows of y are divided when they are summed: they are shorter than rows of scores, mostly. Without
 * keys they stay 0, as a product over none is. */
static void finish_rows(const struct attention *a, float *y, int64_t rows, const float *sum)
{
    for (int64_t i = 0; i < rows && a->keys > 0; i++, y += a->y.step[2]) {
        const float by = 1.0F / sum[i];

        if (a->rows)
            a->rows->multiply(y, a->width, by);
        else
            for (int64_t j = 0; j < a->width; j++)
                y[j] *= by;
    }
}

/* The row of the mask for a query. */
static const float *mask_row(const struct attention *a, const float *mask, int64_t query,
                             float *spread)
{
    if (!mask)
        return NULL;
    mask += query * a->mask.step[2];
    for (int64_t i = 0; i < a->keys && a->spread; i++)
        spread[i] = *mask;
    return a->spread ? spread : mask;
}

/* A row of scores, scaled where they stay; for vectors. */
static void keep_scores(const struct attention *a, float *restrict row, const uint8_t *restrict keep)
{
    const float scale = a->scale, fill = a->fill;
    const uint8_t drops = a->keeps ? 0 : 1;
    const int64_t keys = a->keys;

    if (a->keep.step[AXES - 1] == 0) { /* one for all keys */
        const bool stays = (*keep != 0) != drops;

        for (int64_t i = 0; i < keys; i++)
            row[i] = stays ? row[i] * scale : fill;
        return;
    }
    for (int64_t i = 0; i < keys; i++) {
        const float scaled = row[i] * scale;

        row[i] = (uint8_t) (keep[i] != 0) == drops ? fill : scaled;
    }
}

static void attend_block(const struct attention *a, const float *q, const float *mask,
                         const uint8_t *keep, float *y, int64_t rows, float *scratch)
{
    const float scale = keep ? 1.0F : a->scale;
    float *scores = scratch + a->k_packed + a->v_packed, sum[BLOCK_ROWS];

    a->form->f32(&(struct pith_gemm_f32){.rows = rows,
                                         .cols = a->keys,
                                         .depth = a->depth,
                                         .a = q,
                                         .a_row = a->q.step[2],
                                         .a_depth = a->q.step[3],
                                         .b = scratch,
                                         .c = scores,
                                         .c_row = a->keys,
                                         .activation = PITH_ACTIVATION_NONE});
    for (int64_t i = 0; i < rows; i++) {
        float *row = scores + i * a->keys;
        const float *masked = mask_row(a, mask, i, scores + a->scores);

        if (keep)
            keep_scores(a, row, keep + i * a->keep.step[2]);
        sum[i] = a->rows ? a->rows->exponentials(row, row, a->keys, scale, masked)
                         : exponentials_plain(row, a->keys, scale, masked);
    }
    a->form->f32(&(struct pith_gemm_f32){.rows = rows,
                                         .cols = a->width,
                                         .depth = a->keys,
                                         .a = scores,
                                         .a_row = a->keys,
                                         .a_depth = 1,
                                         .b = scratch + a->k_packed,
                                         .c = y,
                                         .c_row = a->y.step[2],
                                         .activation = PITH_ACTIVATION_NONE});
    finish_rows(a, y, rows, sum);
}

static const float *head_of(const struct operand *o, const void *data, int64_t i, int64_t j)
{
    return (const float *) data + i * o->step[0] + j * o->step[1];
}

static void attend(const struct pith_step *step, int64_t head, float *scratch)
{
    const struct attention *a = step->params;
    const int64_t i = head / a->q.dim[1], j = head % a->q.dim[1];
    const float *q = head_of(&a->q, step->input[0].data, i, j);
    const float *mask =
        pith_step_has(step, 3) ? head_of(&a->mask, step->input[3].data, i, j) : NULL;
    const uint8_t *keep = pith_step_has(step, 4) ? (const uint8_t *) step->input[4].data +
                                                       i * a->keep.step[0] + j * a->keep.step[1]
                                                 : NULL;
    float *y = (float *) step->output[0].data + i * a->y.step[0] + j * a->y.step[1];

    pith_gemm_pack_f32(a->form, scratch, head_of(&a->k, step->input[1].data, i, j), a->k.step[3],
                       a->k.step[2], a->depth, a->keys);
    pith_gemm_pack_f32(a->form, scratch + a->k_packed, head_of(&a->v, step->input[2].data, i, j),
                       a->v.step[2], a->v.step[3], a->keys, a->width);
    for (int64_t row = 0; row < a->queries; row += BLOCK_ROWS) {
        const int64_t left = a->queries - row;

        attend_block(a, q + row * a->q.step[2], mask ? mask + row * a->mask.step[2] : NULL,
                     keep ? keep + row * a->keep.step[2] : NULL, y + row * a->y.step[2], left < BLOCK_ROWS ? left : BLOCK_ROWS, scratch);
    }
}

static void attention_run_part(struct pith_step *step, uint32_t part, uint32_t count)
{
    const struct attention *a = step->params;
    const int64_t heads = a->q.dim[0] * a->q.dim[1];
    float *scratch = (float *) step->scratch + part * part_floats(a);

    for (int64_t head = pith_part_begin(heads, part, count);
         head < pith_part_begin(heads, part + 1, count); head++)
        attend(step, head, scratch);
}

static int attention_run(struct pith_step *step, struct pith_error *err)
{
    (void) err;
    attention_run_part(step, 0, 1);
    return 0;
}

const struct pith_kernel pith_kernels_attention[] = {
    {.op = "Attention",
     .domain = PITH_FUSED_DOMAIN,
     .name = "attention_f32",
     .types = {PITH_BIT(FLOAT32), PITH_BIT(FLOAT32), PITH_BIT(FLOAT32), PITH_BIT(FLOAT32)},
     .prepare = attention_prepare,
     .run = attention_run,
     .run_part = attention_run_part},
    {0},
};
