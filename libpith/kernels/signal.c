/* DFT and STFT, window functions, mel weights; computed in float64. A length that is a power of two
 * goes through the fast transform, another one through its sum: lengths of models are short. */
#include "libpith/kernels/families.h"
#include "libpith/kernels/numbers.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define DFT_MAX_LENGTH (INT64_C(1) << 24)

/* ---- one transform ---- */

/* Memory for length n: the input, the output, and the turns e^(2 pi i k / n). */
struct transform {
    int64_t n;
    double *re, *im, *out_re, *out_im, *cos, *sin;
};
#define TRANSFORM_BYTES(n) ((size_t) (n) *6 * sizeof(double))

static void transform_init(struct transform *t, void *scratch, int64_t n, bool inverse)
{
    const double turn = (inverse ? 2 : -2) * M_PI / (double) n;
    double *memory = scratch;

    *t = (struct transform){
        n, memory, memory + n, memory + 2 * n, memory + 3 * n, memory + 4 * n, memory + 5 * n};
    for (int64_t k = 0; k < n; k++) {
        t->cos[k] = cos(turn * (double) k);
        t->sin[k] = sin(turn * (double) k);
    }
}

static void transform_sum(struct transform *t)
{
    for (int64_t k = 0; k < t->n; k++) {
        double re = 0, im = 0;
        int64_t at = 0; /* k * i modulo n */

        for (int64_t i = 0; i < t->n; i++) {
            re += t->re[i] * t->cos[at] - t->im[i] * t->sin[at];
            im += t->re[i] * t->sin[at] + t->im[i] * t->cos[at];
            at += k;
            at -= at >= t->n ? t->n : 0;
        }
        t->out_re[k] = re;
        t->out_im[k] = im;
    }
}

/* Cooley and Tukey 1965: bits of the index reversed, then butterflies of growing width. */
static void transform_fast(struct transform *t)
{
    for (int64_t i = 0, j = 0; i < t->n; i++) {
        int64_t bit = t->n >> 1;

        t->out_re[j] = t->re[i];
        t->out_im[j] = t->im[i];
        for (; j & bit; bit >>= 1)
            j ^= bit;
        j |= bit;
    }
    for (int64_t width = 2; width <= t->n; width *= 2)
        for (int64_t from = 0; from < t->n; from += width)
            for (int64_t i = 0; i < width / 2; i++) {
                const int64_t turn = i * (t->n / width), a = from + i, b = a + width / 2;
                const double re = t->out_re[b] * t->cos[turn] - t->out_im[b] * t->sin[turn];
                const double im = t->out_re[b] * t->sin[turn] + t->out_im[b] * t->cos[turn];

                t->out_re[b] = t->out_re[a] - re;
                t->out_im[b] = t->out_im[a] - im;
                t->out_re[a] += re;
                t->out_im[a] += im;
            }
}

static void transform_run(struct transform *t)
{
    if ((t->n & (t->n - 1)) == 0)
        transform_fast(t);
    else
        transform_sum(t);
}

/* Reads n elements, of which `have` are there, each `parts` numbers (real, or real and imaginary),
 * `step` elements apart; times the window where there is one. */
static void transform_load(struct transform *t, int32_t dtype, const char *from, int64_t step,
                           int64_t parts, int64_t have, const double *window)
{
    const int64_t bytes = (int64_t) numbers_bytes(dtype);

    have = have < t->n ? have : t->n;
    memset(t->re, 0, (size_t) t->n * sizeof(double));
    memset(t->im, 0, (size_t) t->n * sizeof(double));
    numbers_load_f64(dtype, from, step * parts, t->re, have);
    if (parts == 2)
        numbers_load_f64(dtype, from + bytes, step * parts, t->im, have);
    for (int64_t i = 0; window && i < have; i++) {
        t->re[i] *= window[i];
        t->im[i] *= window[i];
    }
}

static void transform_store(const struct transform *t, int32_t dtype, char *to, int64_t step,
                            int64_t count, double scale)
{
    const int64_t bytes = (int64_t) numbers_bytes(dtype);

    for (int64_t i = 0; i < count; i++) {
        const double pair[2] = {t->out_re[i] * scale, t->out_im[i] * scale};

        numbers_store_f64(dtype, to + i * step * 2 * bytes, pair, 2);
    }
}

/* ---- DFT ---- */

struct dft {
    int64_t outer, have, inner, parts; /* along the axis: elements that are there */
    int64_t n, bins;                   /* length of the transform, and of what is stored */
    bool inverse;
};

static int one_integer(struct pith_step *step, size_t input, int64_t *out, struct pith_error *err)
{
    size_t count;
    int rc = pith_step_ints(step, input, out, 1, &count, err);

    if (rc == 0 && count != 1)
        rc = pith_step_fail(step, err, -EINVAL, "input %zu must be one number", input);
    return rc;
}

static int dft_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape;
    struct pith_shape out = *x;
    bool onesided = pith_node_int(step->graph, step->node, "onesided", 0) != 0;
    int64_t axis = step->opset < 20 ? pith_node_int(step->graph, step->node, "axis", 1) : -2,
            n = -1;
    struct dft *d;
    uint32_t at;
    int rc = 0;

    if (step->opset >= 20 && pith_step_has(step, 2))
        rc = one_integer(step, 2, &axis, err);
    if (rc == 0 && pith_step_has(step, 1))
        rc = one_integer(step, 1, &n, err);
    if (rc == 0)
        rc = pith_step_axis(step, axis, x->rank, &at, err);
    if (rc < 0)
        return rc;
    d = pith_step_alloc(step, sizeof *d);
    if (!d)
        return -ENOMEM;
    d->inverse = pith_node_int(step->graph, step->node, "inverse", 0) != 0;
    if (at + 1 >= x->rank || x->dim[x->rank - 1] < 1 || x->dim[x->rank - 1] > 2)
        return pith_step_fail(step, err, -EINVAL,
                              "its input must end in a dimension of 1 (real) or 2 (complex)");
    if (onesided && d->inverse)
        return pith_step_fail(step, err, -ENOTSUP, "no inverse of one side");
    d->n = pith_step_has(step, 1) ? n : x->dim[at];
    if (d->n < 1 || d->n > DFT_MAX_LENGTH)
        return pith_step_fail(step, err, -EINVAL, "a length of %lld is not possible",
                              (long long) d->n);
    d->bins = onesided ? d->n / 2 + 1 : d->n;
    d->parts = x->dim[x->rank - 1];
    d->have = x->dim[at];
    d->outer = pith_dims_product(x, 0, at);
    d->inner = pith_dims_product(x, at + 1, x->rank - 1);
    out.dim[at] = d->bins;
    out.dim[x->rank - 1] = 2;
    if (!pith_shape_equal(&out, &step->output[0].shape) ||
        step->output[0].dtype != step->input[0].dtype)
        return pith_step_fail(step, err, -EINVAL,
                              "its output does not have the bins of its transform");
    step->scratch_bytes = TRANSFORM_BYTES(d->n);
    step->params = d;
    return 0;
}

static int dft_run(struct pith_step *step, struct pith_error *err)
{
    const struct dft *d = step->params;
    const int32_t dtype = step->input[0].dtype;
    const int64_t bytes = (int64_t) numbers_bytes(dtype);
    struct transform t;

    (void) err;
    transform_init(&t, step->scratch, d->n, d->inverse);
    for (int64_t o = 0; o < d->outer; o++)
        for (int64_t i = 0; i < d->inner; i++) {
            transform_load(&t, dtype,
                           (const char *) step->input[0].data +
                               (o * d->have * d->inner + i) * d->parts * bytes,
                           d->inner, d->parts, d->have, NULL);
            transform_run(&t);
            transform_store(
                &t, dtype, (char *) step->output[0].data + (o * d->bins * d->inner + i) * 2 * bytes,
                d->inner, d->bins, d->inverse ? 1 / (double) d->n : 1);
        }
    return 0;
}

/* ---- STFT: transforms of frames that overlap ---- */

struct stft {
    int64_t batch, length, parts; /* of the signal */
    int64_t step, n, frames, bins;
};

static int stft_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *x = &step->input[0].shape;
    struct stft *s;
    int64_t by = 0, n = 0;
    int rc = one_integer(step, 1, &by, err);

    if (rc == 0 && pith_step_has(step, 3))
        rc = one_integer(step, 3, &n, err);
    if (rc < 0)
        return rc;
    s = pith_step_alloc(step, sizeof *s);
    if (!s)
        return -ENOMEM;
    if (!pith_step_has(step, 3) && pith_step_has(step, 2))
        n = pith_shape_elements(&step->input[2].shape);
    s->parts = x->rank == 3 ? x->dim[2] : 1;
    if (x->rank < 2 || s->parts < 1 || s->parts > 2 || by < 1 || n < 1 || n > DFT_MAX_LENGTH ||
        n > x->dim[1] ||
        (pith_step_has(step, 2) && pith_shape_elements(&step->input[2].shape) != n))
        return pith_step_fail(step, err, -EINVAL,
                              "step, window and frame length do not fit the signal");
    s->batch = x->dim[0];
    s->length = x->dim[1];
    s->step = by;
    s->n = n;
    s->frames = (s->length - n) / by + 1;
    s->bins = pith_node_int(step->graph, step->node, "onesided", 1) != 0 ? n / 2 + 1 : n;
    if (!pith_shape_equal(&(struct pith_shape){.rank = 4, .dim = {s->batch, s->frames, s->bins, 2}},
                          &step->output[0].shape) ||
        step->output[0].dtype != step->input[0].dtype)
        return pith_step_fail(step, err, -EINVAL, "its output does not have its frames and bins");
    step->scratch_bytes = TRANSFORM_BYTES(n) + (size_t) n * sizeof(double);
    step->params = s;
    return 0;
}

static int stft_run(struct pith_step *step, struct pith_error *err)
{
    const struct stft *s = step->params;
    const int32_t dtype = step->input[0].dtype;
    const int64_t bytes = (int64_t) numbers_bytes(dtype);
    double *window = step->scratch;
    char *to = step->output[0].data;
    struct transform t;

    (void) err;
    transform_init(&t, window + s->n, s->n, false);
    if (pith_step_has(step, 2))
        numbers_load_f64(step->input[2].dtype, step->input[2].data, 1, window, s->n);
    for (int64_t b = 0; b < s->batch; b++)
        for (int64_t frame = 0; frame < s->frames; frame++) {
            transform_load(&t, dtype,
                           (const char *) step->input[0].data +
                               (b * s->length + frame * s->step) * s->parts * bytes,
                           1, s->parts, s->n, pith_step_has(step, 2) ? window : NULL);
            transform_run(&t);
            transform_store(&t, dtype, to, 1, s->bins, 1);
            to += s->bins * 2 * bytes;
        }
    return 0;
}

/* ---- BlackmanWindow, HannWindow, HammingWindow: a0 - a1 cos(x) + a2 cos(2x) ---- */

struct window_function {
    int64_t size;
    double a0, a1, a2, divisor;
};

static int window_prepare(struct pith_step *step, struct pith_error *err)
{
    const char *op = step->kernel->op;
    struct window_function *w;
    int64_t size;
    int rc = one_integer(step, 0, &size, err);

    if (rc < 0)
        return rc;
    w = pith_step_alloc(step, sizeof *w);
    if (!w)
        return -ENOMEM;
    w->size = size;
    if (strcmp(op, "BlackmanWindow") == 0)
        w->a0 = 0.42, w->a1 = 0.5, w->a2 = 0.08;
    else if (strcmp(op, "HannWindow") == 0)
        w->a0 = 0.5, w->a1 = 0.5;
    else /* as ONNX has them, 25/46 and its rest */
        w->a0 = 25.0 / 46, w->a1 = 21.0 / 46;
    w->divisor =
        (double) (pith_node_int(step->graph, step->node, "periodic", 1) != 0 ? size : size - 1);
    if (size < 0 || step->output[0].shape.rank != 1 || step->output[0].shape.dim[0] != size)
        return pith_step_fail(step, err, -EINVAL,
                              "its output does not have the size that is asked for");
    step->params = w;
    return 0;
}

static int window_run(struct pith_step *step, struct pith_error *err)
{
    const struct window_function *w = step->params;
    const int32_t dtype = step->output[0].dtype;

    (void) err;
    for (int64_t i = 0; i < w->size; i++) {
        double x = w->divisor > 0 ? 2 * M_PI * (double) i / w->divisor : M_PI;
        double value = w->a0 - w->a1 * cos(x) + w->a2 * cos(2 * x);

        numbers_store_f64(dtype, (char *) step->output[0].data + i * (int64_t) numbers_bytes(dtype),
                          &value, 1);
    }
    return 0;
}

/* ---- MelWeightMatrix ---- */

struct mel {
    int64_t bands, bins, length;
};

static double mel_of_hz(double hz)
{
    return 2595 * log10(1 + hz / 700);
}

static double hz_of_mel(double mel)
{
    return 700 * (pow(10, mel / 2595) - 1);
}

static int mel_prepare(struct pith_step *step, struct pith_error *err)
{
    struct mel *m;
    int64_t bands, length;
    int rc = one_integer(step, 0, &bands, err);

    if (rc == 0)
        rc = one_integer(step, 1, &length, err);
    if (rc < 0)
        return rc;
    m = pith_step_alloc(step, sizeof *m);
    if (!m)
        return -ENOMEM;
    for (size_t i = 2; i < 5; i++)
        if (pith_shape_elements(&step->input[i].shape) != 1)
            return pith_step_fail(step, err, -EINVAL, "input %zu must be one number", i);
    *m = (struct mel){bands, length / 2 + 1, length};
    if (bands < 0 || length < 0 || step->output[0].shape.rank != 2 ||
        step->output[0].shape.dim[0] != m->bins || step->output[0].shape.dim[1] != bands)
        return pith_step_fail(step, err, -EINVAL,
                              "its output does not have %lld bins of %lld bands",
                              (long long) m->bins, (long long) bands);
    step->params = m;
    return 0;
}

/* The bin of edge `i` of the bands + 2 that lie evenly on the mel scale, limited to the spectrum.
 */
static int64_t mel_edge(const struct mel *m, double low, double high, double rate, int64_t i)
{
    double hz = hz_of_mel(low + (double) i * (high - low) / (double) (m->bands + 2));
    double bin = floor((double) (m->length + 1) * hz / rate);

    return !(bin > 0) ? 0 : bin > (double) m->bins ? m->bins : (int64_t) bin;
}

static int mel_run(struct pith_step *step, struct pith_error *err)
{
    const struct mel *m = step->params;
    const struct pith_tensor *in = step->input;
    const int32_t dtype = step->output[0].dtype;
    const int64_t bytes = (int64_t) numbers_bytes(dtype);
    double rate, low, high;
    char *out = step->output[0].data;

    (void) err;
    numbers_load_f64(in[2].dtype, in[2].data, 1, &rate, 1);
    numbers_load_f64(in[3].dtype, in[3].data, 1, &low, 1);
    numbers_load_f64(in[4].dtype, in[4].data, 1, &high, 1);
    low = mel_of_hz(low);
    high = mel_of_hz(high);
    memset(out, 0, (size_t) (m->bins * m->bands * bytes));
    for (int64_t band = 0; band < m->bands; band++) {
        const int64_t from = mel_edge(m, low, high, rate, band),
                      middle = mel_edge(m, low, high, rate, band + 1),
                      to = mel_edge(m, low, high, rate, band + 2);

        for (int64_t bin = from; bin <= middle && bin < m->bins; bin++) {
            double value = middle == from ? 1 : (double) (bin - from) / (double) (middle - from);

            numbers_store_f64(dtype, out + (bin * m->bands + band) * bytes, &value, 1);
        }
        for (int64_t bin = middle; bin < to && bin < m->bins; bin++) {
            double value = (double) (to - bin) / (double) (to - middle);

            numbers_store_f64(dtype, out + (bin * m->bands + band) * bytes, &value, 1);
        }
    }
    return 0;
}

#define REALS   (PITH_FLOATS | PITH_BIT(BFLOAT16))
#define NUMERIC (REALS | PITH_INTS)
#define WINDOW(operator)                                                                           \
    {                                                                                              \
        .op = operator, .name = "window_function", .output_type = NUMERIC,                         \
        .prepare = window_prepare, .run = window_run                                               \
    }

const struct pith_kernel pith_kernels_signal[] = {
    {.op = "DFT", .name = "dft", .types = {REALS}, .prepare = dft_prepare, .run = dft_run},
    {.op = "STFT",
     .name = "stft",
     .types = {REALS, 0, REALS},
     .prepare = stft_prepare,
     .run = stft_run},
    WINDOW("BlackmanWindow"),
    WINDOW("HannWindow"),
    WINDOW("HammingWindow"),
    {.op = "MelWeightMatrix",
     .name = "mel_weights",
     .output_type = NUMERIC,
     .prepare = mel_prepare,
     .run = mel_run},
    {0},
};
