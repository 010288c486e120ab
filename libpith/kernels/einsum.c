/* Einsum: sums of products over named dimensions. One table of strides an operand over all names,
 * those of the output first; plain loops, in float32 or float64. */
#include "libpith/kernels/families.h"

#include <errno.h>
#include <string.h>

#define EINSUM_INPUTS 16
#define EINSUM_NAMES  32 /* distinct dimensions */
#define DOTS          '.' /* stands for the dimensions of "...", which get names of their own past it */

struct einsum {
    size_t inputs;
    uint32_t names, outer; /* all; those of the output, which come first */
    int64_t size[EINSUM_NAMES];
    int64_t step[EINSUM_INPUTS][EINSUM_NAMES]; /* elements to move on in operand i along a name; 0:
                                                  not its dimension */
    int64_t out_count, sum_count;
};

struct term { /* the names of one operand, "..." spelled out */
    int name[PITH_MAX_RANK];
    uint32_t rank;
};

#define DOT_NAME(i) (256 + (int) (i))

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Letters that a term has, and whether it has dots; returns past its end. NULL: something else is
 * in it. */
static const char *scan_term(const char *text, uint32_t *out_letters, bool *out_dots)
{
    *out_letters = 0;
    *out_dots = false;
    for (; *text && *text != ',' && *text != '-'; text++) {
        if (*text == ' ')
            continue;
        if (strncmp(text, "...", 3) == 0 && !*out_dots) {
            *out_dots = true;
            text += 2;
        } else if (is_letter(*text)) {
            (*out_letters)++;
        } else {
            return NULL;
        }
    }
    return text;
}

/* dots: dimensions that this term's "..." stands for; of all, so the last ones where it has fewer.
 */
static bool read_term(const char *text, const char *end, uint32_t dots, uint32_t all_dots,
                      struct term *out)
{
    out->rank = 0;
    for (; text < end; text++) {
        if (*text == ' ')
            continue;
        if (*text == DOTS) {
            for (uint32_t i = all_dots - dots; i < all_dots; i++) {
                if (out->rank == PITH_MAX_RANK)
                    return false;
                out->name[out->rank++] = DOT_NAME(i);
            }
            text += 2;
            continue;
        }
        if (out->rank == PITH_MAX_RANK)
            return false;
        out->name[out->rank++] = *text;
    }
    return true;
}

static int find_name(struct einsum *e, int *names, int name)
{
    for (uint32_t i = 0; i < e->names; i++)
        if (names[i] == name)
            return (int) i;
    if (e->names == EINSUM_NAMES)
        return -1;
    names[e->names] = name;
    e->size[e->names] = 1;
    return (int) e->names++;
}

static int add_operand(struct pith_step *step, struct einsum *e, int *names, size_t input,
                       const struct term *term, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[input].shape;
    int64_t next = 1;

    for (uint32_t d = x->rank; d-- > 0;) {
        const int at = find_name(e, names, term->name[d]);

        if (at < 0 || (e->size[at] != 1 && x->dim[d] != 1 && e->size[at] != x->dim[d]))
            return pith_step_fail(step, err, -EINVAL,
                                  "operand %zu: dimension %u of %lld doesn't fit", input, d,
                                  (long long) x->dim[d]);
        if (x->dim[d] != 1) {
            e->size[at] = x->dim[d];
            e->step[input][at] += next; /* a name met twice: the diagonal */
        }
        next *= x->dim[d];
    }
    return 0;
}

/* Names that appear once, in the order of the alphabet, behind the dots: what is meant where "->"
 * is left out. */
static void implied_output(const struct term *terms, size_t count, uint32_t dots, struct term *out)
{
    out->rank = 0;
    for (uint32_t i = 0; i < dots && out->rank < PITH_MAX_RANK; i++)
        out->name[out->rank++] = DOT_NAME(i);
    for (int letter = 'A'; letter <= 'z'; letter++) {
        int met = 0;

        for (size_t t = 0; t < count; t++)
            for (uint32_t d = 0; d < terms[t].rank; d++)
                met += terms[t].name[d] == letter;
        if (met == 1 && out->rank < PITH_MAX_RANK)
            out->name[out->rank++] = letter;
    }
}

/* Splits the equation into one term an operand and the output's. */
static int parse(struct pith_step *step, const char *equation, struct term *terms, struct term *out,
                 struct pith_error *err)
{
    const char *begin[EINSUM_INPUTS + 1], *end[EINSUM_INPUTS + 1], *at = equation;
    uint32_t dots[EINSUM_INPUTS + 1] = {0}, most = 0;
    bool given = false;
    size_t count = 0;

    for (;; count++) {
        uint32_t letters;
        bool dotted;

        if (count == step->input_count + (given ? 1 : 0))
            return pith_step_fail(step, err, -EINVAL,
                                  "equation \"%s\" has more terms than there are inputs", equation);
        begin[count] = at;
        at = scan_term(at, &letters, &dotted);
        if (!at)
            return pith_step_fail(step, err, -EINVAL, "equation \"%s\" can't be read", equation);
        end[count] = at;
        if (!given) {
            const uint32_t rank = step->input[count].shape.rank;

            if (letters > rank || (!dotted && letters != rank))
                return pith_step_fail(step, err, -EINVAL,
                                      "equation \"%s\": term %zu doesn't have rank %u", equation,
                                      count, rank);
            dots[count] = rank - letters;
            most = dots[count] > most ? dots[count] : most;
        }
        if (given || *at == 0)
            break;
        if (*at == '-') {
            if (at[1] != '>' || count + 1 != step->input_count)
                return pith_step_fail(step, err, -EINVAL, "equation \"%s\" can't be read",
                                      equation);
            given = true;
            at++;
        }
        at++;
    }
    if (*at != 0 || count + (given ? 0 : 1) != step->input_count)
        return pith_step_fail(step, err, -EINVAL,
                              "equation \"%s\" doesn't have a term for each input", equation);
    for (size_t i = 0; i < step->input_count; i++)
        if (!read_term(begin[i], end[i], dots[i], most, &terms[i]))
            return pith_step_fail(step, err, -EINVAL, "equation \"%s\" has a term that is too long",
                                  equation);
    if (!given)
        implied_output(terms, step->input_count, most, out);
    else if (!read_term(begin[count], end[count], most, most, out))
        return pith_step_fail(step, err, -EINVAL, "equation \"%s\" has a term that is too long",
                              equation);
    return 0;
}

/* Operands past the fourth are not in the kernel table's types. */
static bool one_type(const struct pith_step *step)
{
    for (size_t i = 0; i < step->input_count; i++)
        if (step->input[i].dtype != step->output[0].dtype)
            return false;
    return true;
}

static int einsum_prepare(struct pith_step *step, struct pith_error *err)
{
    const char *equation = pith_node_string(step->graph, step->node, "equation", "");
    const struct pith_shape *y = &step->output[0].shape;
    struct term terms[EINSUM_INPUTS], out = {0};
    struct einsum *e = pith_step_alloc(step, sizeof *e);
    int names[EINSUM_NAMES];
    int rc;

    if (!e)
        return -ENOMEM;
    if (step->input_count < 1 || step->input_count > EINSUM_INPUTS)
        return pith_step_fail(step, err, -ENOTSUP, "%zu operands; 1 to %d can be run",
                              step->input_count, EINSUM_INPUTS);
    if (!one_type(step))
        return pith_step_fail(step, err, -EINVAL, "the operands differ in type");
    rc = parse(step, equation, terms, &out, err);
    if (rc < 0)
        return rc;
    e->inputs = step->input_count;
    for (uint32_t d = 0; d < out.rank; d++)
        if (find_name(e, names, out.name[d]) != (int) d)
            return pith_step_fail(step, err, -EINVAL,
                                  "equation \"%s\" names a dimension of the output twice",
                                  equation);
    e->outer = e->names;
    for (size_t i = 0; i < e->inputs && rc == 0; i++)
        rc = add_operand(step, e, names, i, &terms[i], err);
    if (rc < 0)
        return rc;
    e->out_count = e->sum_count = 1;
    for (uint32_t i = 0; i < e->names; i++) {
        if (i < e->outer && (y->rank != e->outer || y->dim[i] != e->size[i]))
            return pith_step_fail(step, err, -EINVAL,
                                  "equation \"%s\" doesn't give the output's shape", equation);
        if (__builtin_mul_overflow(i < e->outer ? e->out_count : e->sum_count, e->size[i],
                                   i < e->outer ? &e->out_count : &e->sum_count))
            return pith_step_fail(step, err, -EINVAL, "equation \"%s\" is too large", equation);
    }
    step->macs = (uint64_t) e->out_count * (uint64_t) e->sum_count;
    step->params = e;
    return 0;
}

/* Offsets of all operands at combination `at` of the names first..last-1. */
static void offsets(const struct einsum *e, uint32_t first, uint32_t last, int64_t at,
                    int64_t out[EINSUM_INPUTS])
{
    for (uint32_t n = last; n-- > first;) {
        const int64_t along = at % e->size[n];

        for (size_t i = 0; i < e->inputs; i++)
            out[i] += along * e->step[i][n];
        at /= e->size[n];
    }
}

static double product_at(const struct pith_step *step, const struct einsum *e,
                         const int64_t at[EINSUM_INPUTS])
{
    double product = 1.0;

    for (size_t i = 0; i < e->inputs; i++)
        product *= step->input[i].dtype == PITH_FLOAT32
                       ? (double) ((const float *) step->input[i].data)[at[i]]
                       : ((const double *) step->input[i].data)[at[i]];
    return product;
}

static int einsum_run(struct pith_step *step, struct pith_error *err)
{
    const struct einsum *e = step->params;

    (void) err;
    for (int64_t o = 0; o < e->out_count; o++) {
        int64_t base[EINSUM_INPUTS] = {0};
        double sum = 0.0;

        offsets(e, 0, e->outer, o, base);
        for (int64_t s = 0; s < e->sum_count; s++) {
            int64_t at[EINSUM_INPUTS];

            memcpy(at, base, sizeof at);
            offsets(e, e->outer, e->names, s, at);
            sum += product_at(step, e, at);
        }
        pith_tensor_set(&step->output[0], o, sum);
    }
    return 0;
}

const struct pith_kernel pith_kernels_einsum[] = {
    {.op = "Einsum",
     .name = "einsum_f32",
     .types = {PITH_BIT(FLOAT32), PITH_BIT(FLOAT32)},
     .prepare = einsum_prepare,
     .run = einsum_run},
    {.op = "Einsum",
     .name = "einsum_f64",
     .types = {PITH_BIT(FLOAT64), PITH_BIT(FLOAT64)},
     .prepare = einsum_prepare,
     .run = einsum_run},
    {0},
};
