/* Types and shapes of signal operators: windows, DFT, STFT, mel weights. */
#include "libpith/graph/infer.h"

static int32_t asked_dtype(const struct infer *in, const char *name)
{
    int64_t dtype = infer_int(in, name, PITH_FLOAT32);

    return dtype > 0 && dtype <= PITH_INT4 ? (int32_t) dtype : PITH_FLOAT32;
}

/* The value of a known scalar, PITH_DIM_UNKNOWN where it isn't known; refused where negative. */
static int read_length(struct infer *in, size_t input, int64_t *out)
{
    struct known known;

    *out = PITH_DIM_UNKNOWN;
    if (!infer_ints(in, input, &known) || known.count != 1)
        return 0;
    if (known.v[0] < 0 || known.v[0] > PITH_TENSOR_MAX_BYTES)
        return infer_fail(in, "a length of %lld is not possible", (long long) known.v[0]);
    *out = known.v[0];
    return 0;
}

/* BlackmanWindow, HannWindow, HammingWindow. */
int infer_window_function(struct infer *in)
{
    struct pith_shape out = {.rank = 1};
    int rc = read_length(in, 0, &out.dim[0]);

    return rc < 0 ? rc : infer_set(in, 0, asked_dtype(in, "output_datatype"), &out);
}

/* x [..., n, ..., 1 or 2]; the axis is an attribute up to opset 19, an input since. */
int infer_dft(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0);
    bool onesided = infer_int(in, "onesided", 0) != 0;
    struct pith_shape out;
    struct known at;
    int64_t axis = in->opset < 20 ? infer_int(in, "axis", 1) : -2, length;
    uint32_t resolved;
    int rc = read_length(in, 1, &length);

    if (rc == 0)
        rc = infer_rank(in, 0, "input", 2, PITH_MAX_RANK);
    if (rc < 0 || !x)
        return rc < 0 ? rc : infer_set(in, 0, infer_dtype(in, 0), NULL);
    out = *x;
    out.dim[out.rank - 1] = 2;
    if (in->opset >= 20 && infer_has(in, 2)) {
        if (!infer_ints(in, 2, &at) || at.count != 1) {
            for (uint32_t i = 0; i + 1 < out.rank; i++)
                out.dim[i] = PITH_DIM_UNKNOWN;
            return infer_set(in, 0, infer_dtype(in, 0), &out);
        }
        axis = at.v[0];
    }
    rc = infer_axis(in, axis, x->rank, &resolved);
    if (rc < 0)
        return rc;
    if (resolved == x->rank - 1)
        return infer_fail(in, "the axis is the one of the complex parts");
    if (infer_has(in, 1))
        out.dim[resolved] = length;
    if (onesided && out.dim[resolved] != PITH_DIM_UNKNOWN)
        out.dim[resolved] = out.dim[resolved] / 2 + 1;
    return infer_set(in, 0, infer_dtype(in, 0), &out);
}

/* signal [N, L, 1 or 2], step, window, length -> [N, frames, bins, 2]. */
int infer_stft(struct infer *in)
{
    const struct pith_shape *x = infer_shape(in, 0), *window = infer_shape(in, 2);
    bool onesided = infer_int(in, "onesided", 1) != 0;
    struct pith_shape out = {.rank = 4,
                             .dim = {PITH_DIM_UNKNOWN, PITH_DIM_UNKNOWN, PITH_DIM_UNKNOWN, 2}};
    int64_t step, length;
    int rc = infer_rank(in, 0, "signal", 2, 3);

    if (rc == 0)
        rc = read_length(in, 1, &step);
    if (rc == 0)
        rc = read_length(in, 3, &length);
    if (rc < 0)
        return rc;
    if (step == 0)
        return infer_fail(in, "a frame step of 0 never arrives");
    if (!infer_has(in, 3) && window && window->rank == 1)
        length = window->dim[0];
    if (x)
        out.dim[0] = x->dim[0];
    if (length == 0)
        return infer_fail(in, "a frame length of 0 is not possible");
    if (length != PITH_DIM_UNKNOWN) {
        out.dim[2] = onesided ? length / 2 + 1 : length;
        if (x && x->dim[1] != PITH_DIM_UNKNOWN && step != PITH_DIM_UNKNOWN) {
            if (length > x->dim[1])
                return infer_fail(in, "a frame of %lld is longer than the signal of %lld",
                                  (long long) length, (long long) x->dim[1]);
            out.dim[1] = (x->dim[1] - length) / step + 1;
        }
    }
    return infer_set(in, 0, infer_dtype(in, 0), &out);
}

int infer_mel_weight_matrix(struct infer *in)
{
    struct pith_shape out = {.rank = 2};
    int64_t length;
    int rc = read_length(in, 0, &out.dim[1]);

    if (rc == 0)
        rc = read_length(in, 1, &length);
    if (rc < 0)
        return rc;
    out.dim[0] = length == PITH_DIM_UNKNOWN ? PITH_DIM_UNKNOWN : length / 2 + 1;
    return infer_set(in, 0, asked_dtype(in, "output_datatype"), &out);
}
