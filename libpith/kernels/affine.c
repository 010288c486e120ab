/* AffineGrid: where each place of the output looks in the input, by an affine map; float32 computed
 * in float64. */
#include "libpith/kernels/families.h"
#include "libpith/kernels/numbers.h"

#include <errno.h>

struct affine {
    int64_t batch, size[3]; /* (depth,) height, width: the spatial dimensions, `rank` of them */
    int64_t rank;
    bool align_corners;
};

static int affine_prepare(struct pith_step *step, struct pith_error *err)
{
    const struct pith_shape *theta = &step->input[0].shape;
    struct pith_shape out = {0};
    struct affine *a;
    int64_t size[5];
    size_t count;
    int rc = pith_step_ints(step, 1, size, 5, &count, err);

    if (rc < 0)
        return rc;
    a = pith_step_alloc(step, sizeof *a);
    if (!a)
        return -ENOMEM;
    if (count < 4 || theta->rank != 3)
        return pith_step_fail(step, err, -EINVAL, "size must have 4 or 5 entries, theta rank 3");
    a->rank = (int64_t) count - 2;
    a->batch = size[0];
    out.dim[out.rank++] = size[0];
    for (int64_t i = 0; i < a->rank; i++)
        out.dim[out.rank++] = a->size[i] = size[i + 2];
    out.dim[out.rank++] = a->rank;
    a->align_corners = pith_node_int(step->graph, step->node, "align_corners", 0) != 0;
    if (theta->dim[0] != a->batch || theta->dim[1] != a->rank || theta->dim[2] != a->rank + 1 ||
        !pith_shape_equal(&out, &step->output[0].shape) ||
        step->output[0].dtype != step->input[0].dtype)
        return pith_step_fail(step, err, -EINVAL, "theta does not fit the size");
    step->params = a;
    return 0;
}

/* -1 .. 1 over `size` places: at their corners, or at their middles. */
static double place(const struct affine *a, int64_t i, int64_t size)
{
    if (a->align_corners)
        return size > 1 ? -1 + 2 * (double) i / (double) (size - 1) : 0;
    return -1 + (2 * (double) i + 1) / (double) size;
}

static int affine_run(struct pith_step *step, struct pith_error *err)
{
    const struct affine *a = step->params;
    const int32_t dtype = step->input[0].dtype;
    const int64_t bytes = (int64_t) numbers_bytes(dtype),
                  places = pith_dims_product(&step->output[0].shape, 1, (uint32_t) a->rank + 1);
    char *to = step->output[0].data;

    (void) err;
    for (int64_t b = 0; b < a->batch; b++) {
        double theta[12];

        numbers_load_f64(dtype,
                         (const char *) step->input[0].data + b * a->rank * (a->rank + 1) * bytes,
                         1, theta, a->rank * (a->rank + 1));
        for (int64_t p = 0; p < places; p++, to += a->rank * bytes) {
            double at[4] = {0}, looks[3] = {0}; /* x first: the last dimension */
            int64_t rest = p;

            for (int64_t k = 0; k < a->rank; k++) {
                at[k] = place(a, rest % a->size[a->rank - 1 - k], a->size[a->rank - 1 - k]);
                rest /= a->size[a->rank - 1 - k];
            }
            at[a->rank] = 1;
            for (int64_t row = 0; row < a->rank; row++)
                for (int64_t k = 0; k <= a->rank; k++)
                    looks[row] += theta[row * (a->rank + 1) + k] * at[k];
            numbers_store_f64(dtype, to, looks, a->rank);
        }
    }
    return 0;
}

const struct pith_kernel pith_kernels_affine[] = {
    {.op = "AffineGrid",
     .name = "affine_grid",
     .types = {PITH_FLOATS},
     .prepare = affine_prepare,
     .run = affine_run},
    {0},
};
