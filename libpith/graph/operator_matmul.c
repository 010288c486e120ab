/* Types and shapes of matrix products. */
#include "libpith/graph/infer.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

/* numpy.matmul: vectors get a dimension that goes away again, what lies before the last two
 * broadcasts. */
static int matmul_shape(const struct infer *in, size_t left, size_t right, struct pith_shape *out,
                        bool *out_known)
{
    const struct pith_shape *a = infer_shape(in, left), *b = infer_shape(in, right);
    struct pith_shape a2, b2, batch = {0}, part;
    char one[PITH_SHAPE_TEXT_BYTES], other[PITH_SHAPE_TEXT_BYTES];
    int rc = infer_rank(in, left, "left side", 1, PITH_MAX_RANK);

    if (rc == 0)
        rc = infer_rank(in, right, "right side", 1, PITH_MAX_RANK);
    *out_known = a && b;
    if (rc < 0 || !a || !b)
        return rc;
    a2 = a->rank == 1 ? (struct pith_shape){.rank = 2, .dim = {1, a->dim[0]}} : *a;
    b2 = b->rank == 1 ? (struct pith_shape){.rank = 2, .dim = {b->dim[0], 1}} : *b;
    if (infer_dims_clash(a2.dim[a2.rank - 1], b2.dim[b2.rank - 2]))
        return infer_fail(in, "%s times %s: the inner dimensions %lld and %lld differ",
                          infer_text(in, left, one), infer_text(in, right, other),
                          (long long) a2.dim[a2.rank - 1], (long long) b2.dim[b2.rank - 2]);
    part = a2;
    part.rank -= 2;
    rc = infer_broadcast_shape(in, &part, &batch);
    part = b2;
    part.rank -= 2;
    if (rc == 0)
        rc = infer_broadcast_shape(in, &part, &batch);
    if (rc < 0)
        return rc;
    if (a->rank > 1)
        batch.dim[batch.rank++] = a2.dim[a2.rank - 2];
    if (b->rank > 1)
        batch.dim[batch.rank++] = b2.dim[b2.rank - 1];
    *out = batch;
    return 0;
}

static int matmul_at(struct infer *in, size_t left, size_t right, int32_t dtype)
{
    struct pith_shape out;
    bool known;
    int rc = matmul_shape(in, left, right, &out, &known);

    return rc < 0 ? rc : infer_set(in, 0, dtype, known ? &out : NULL);
}

int infer_matmul(struct infer *in)
{
    return matmul_at(in, 0, 1, infer_dtype(in, 0));
}

int infer_matmul_integer(struct infer *in)
{
    return matmul_at(in, 0, 1, PITH_INT32);
}

int infer_qlinear_matmul(struct infer *in)
{
    return matmul_at(in, 0, 3, infer_dtype(in, 7));
}

int infer_gemm(struct infer *in)
{
    const struct pith_shape *a = infer_shape(in, 0), *b = infer_shape(in, 1),
                            *c = infer_shape(in, 2);
    bool trans_a = infer_int(in, "transA", 0) != 0, trans_b = infer_int(in, "transB", 0) != 0;
    struct pith_shape out = {.rank = 2, .dim = {PITH_DIM_UNKNOWN, PITH_DIM_UNKNOWN}}, wide;
    char one[PITH_SHAPE_TEXT_BYTES], other[PITH_SHAPE_TEXT_BYTES];
    int rc = infer_rank(in, 0, "left side", 2, 2);

    if (rc == 0)
        rc = infer_rank(in, 1, "right side", 2, 2);
    if (rc == 0)
        rc = infer_rank(in, 2, "bias", 0, 2);
    if (rc < 0)
        return rc;
    if (a)
        out.dim[0] = a->dim[trans_a ? 1 : 0];
    if (b)
        out.dim[1] = b->dim[trans_b ? 0 : 1];
    if (a && b && infer_dims_clash(a->dim[trans_a ? 0 : 1], b->dim[trans_b ? 1 : 0]))
        return infer_fail(in, "%s%s times %s%s: the inner dimensions differ",
                          infer_text(in, 0, one), trans_a ? " transposed" : "",
                          infer_text(in, 1, other), trans_b ? " transposed" : "");
    wide = out;
    if (c && infer_broadcast_shape(in, c, &wide) < 0)
        return -EINVAL;
    for (uint32_t i = 0; c && i < 2; i++)
        if (infer_dims_clash(wide.dim[i], out.dim[i]))
            return infer_fail(in, "bias %s does not broadcast to %s", infer_text(in, 2, one),
                              pith_shape_text(&out, other, sizeof other));
    return infer_set(in, 0, infer_dtype(in, 0), &out);
}

int infer_det(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0);
    struct pith_shape out;
    char text[PITH_SHAPE_TEXT_BYTES];
    int rc = infer_rank(in, 0, "input", 2, PITH_MAX_RANK);

    if (rc < 0 || !x)
        return rc < 0 ? rc : infer_set(in, 0, infer_dtype(in, 0), NULL);
    if (infer_dims_clash(x->dim[x->rank - 1], x->dim[x->rank - 2]))
        return infer_fail(in, "the matrices of %s are not square", infer_text(in, 0, text));
    out = *x;
    out.rank -= 2;
    out.dim[out.rank] = out.dim[out.rank + 1] = 0;
    return infer_set(in, 0, infer_dtype(in, 0), &out);
}

/* ---- Einsum ---- */

struct einsum {
    int64_t size['z' + 1]; /* by letter; 0: not seen; PITH_DIM_UNKNOWN */
    bool seen['z' + 1];
    unsigned times['z' + 1];    /* for the output where the equation leaves it out */
    struct pith_shape ellipsis; /* of all terms, broadcast */
};

/* One letter of an input term along a dimension. */
static int einsum_letter(const struct infer *in, struct einsum *e, char letter, int64_t dim)
{
    unsigned at = (unsigned char) letter;

    if (!isalpha(at) || at > 'z')
        return infer_fail(in, "the equation has '%c', where a letter belongs", letter);
    e->times[at]++;
    if (e->seen[at] && infer_dims_clash(e->size[at], dim) && e->size[at] != 1 && dim != 1)
        return infer_fail(in, "'%c' of the equation is %lld and %lld", letter,
                          (long long) e->size[at], (long long) dim);
    if (!e->seen[at] || e->size[at] == PITH_DIM_UNKNOWN || e->size[at] == 1)
        e->size[at] = dim;
    e->seen[at] = true;
    return 0;
}

/* The term text[0..bytes) against an input's shape. */
static int einsum_term(const struct infer *in, struct einsum *e, size_t input, const char *text,
                       size_t bytes)
{
    const struct pith_shape *shape = infer_shape(in, input);
    uint32_t letters = 0, axis = 0;

    for (size_t i = 0; i < bytes; i++)
        letters += isalpha((unsigned char) text[i]) ? 1 : 0;
    if (letters > shape->rank)
        return infer_fail(in, "term %zu of the equation has %u letters, its input has rank %u",
                          input + 1, letters, shape->rank);
    for (size_t i = 0; i < bytes; i++) {
        int rc;

        if (text[i] == ' ')
            continue;
        if (text[i] == '.') {
            struct pith_shape part = {.rank = shape->rank - letters};

            if (bytes - i < 3 || text[i + 1] != '.' || text[i + 2] != '.')
                return infer_fail(in, "the equation has a single '.', an ellipsis is three");
            for (uint32_t k = 0; k < part.rank; k++)
                part.dim[k] = shape->dim[axis + k];
            rc = infer_broadcast_shape(in, &part, &e->ellipsis);
            axis += part.rank;
            i += 2;
        } else if (axis < shape->rank) {
            rc = einsum_letter(in, e, text[i], shape->dim[axis++]);
        } else {
            rc = infer_fail(in,
                            "term %zu of the equation has more letters than its input dimensions",
                            input + 1);
        }
        if (rc < 0)
            return rc;
    }
    if (axis != shape->rank)
        return infer_fail(in, "term %zu of the equation names %u of its input's %u dimensions",
                          input + 1, axis, shape->rank);
    return 0;
}

static int einsum_push(const struct infer *in, struct pith_shape *out, int64_t dim)
{
    if (out->rank == PITH_MAX_RANK)
        return infer_fail(in, "the equation's output has more than %d dimensions", PITH_MAX_RANK);
    out->dim[out->rank++] = dim;
    return 0;
}

static int einsum_output(const struct infer *in, const struct einsum *e, const char *text,
                         struct pith_shape *out)
{
    int rc = 0;

    for (uint32_t k = 0; !text && k < e->ellipsis.rank; k++)
        if ((rc = einsum_push(in, out, e->ellipsis.dim[k])) < 0)
            return rc;
    for (unsigned letter = 'A'; !text && letter <= 'z'; letter++)
        if (e->times[letter] == 1 && (rc = einsum_push(in, out, e->size[letter])) < 0)
            return rc;
    for (; text && *text && rc == 0; text++) {
        if (*text == ' ')
            continue;
        if (strncmp(text, "...", 3) == 0) {
            for (uint32_t k = 0; k < e->ellipsis.rank && rc == 0; k++)
                rc = einsum_push(in, out, e->ellipsis.dim[k]);
            text += 2;
        } else if (isalpha((unsigned char) *text) && *text <= 'z' &&
                   e->seen[(unsigned char) *text]) {
            rc = einsum_push(in, out, e->size[(unsigned char) *text]);
        } else {
            return infer_fail(in, "the equation's output has '%c', which no input has", *text);
        }
    }
    return rc;
}

int infer_einsum(struct infer *in)
{
    const char *equation = pith_node_string(in->graph, in->node, "equation", NULL);
    const char *arrow, *at, *end;
    struct einsum e = {0};
    struct pith_shape out = {0};
    size_t input = 0;
    int rc;

    if (!equation)
        return infer_fail(in, "attribute equation is missing");
    for (size_t i = 0; i < infer_input_count(in); i++)
        if (!infer_shape(in, i))
            return infer_set(in, 0, infer_dtype(in, 0), NULL);
    arrow = strstr(equation, "->");
    end = arrow ? arrow : equation + strlen(equation);
    for (at = equation; at <= end; input++) {
        const char *comma = memchr(at, ',', (size_t) (end - at));
        size_t bytes = (size_t) ((comma ? comma : end) - at);

        if (input >= infer_input_count(in))
            return infer_fail(in, "the equation has more terms than the node has inputs");
        rc = einsum_term(in, &e, input, at, bytes);
        if (rc < 0)
            return rc;
        at += bytes + 1;
    }
    if (input != infer_input_count(in))
        return infer_fail(in, "the equation has %zu terms, the node has %zu inputs", input,
                          infer_input_count(in));
    rc = einsum_output(in, &e, arrow ? arrow + 2 : NULL, &out);
    return rc < 0 ? rc : infer_set(in, 0, infer_dtype(in, 0), &out);
}
