/* Products of many pairs of matrices. See batches.h. */
#include "libpith/kernels/batches.h"

#include <errno.h>

int pith_batches_plan(struct pith_step *step, const struct pith_shape *a, int64_t a_matrix,
                      const struct pith_shape *b, int64_t b_matrix, struct pith_batches *out,
                      struct pith_error *err)
{
    const uint32_t rank = a->rank > b->rank ? a->rank : b->rank;

    *out = (struct pith_batches){.count = 1, .shape = {.rank = rank - 2}};
    for (uint32_t i = rank - 2; i-- > 0;) {
        const int64_t da = pith_dim_or_one(a, rank, i), db = pith_dim_or_one(b, rank, i);

        if (da != db && da != 1 && db != 1)
            return pith_step_fail(step, err, -EINVAL, "batches of %lld and %lld don't broadcast",
                                  (long long) da, (long long) db);
        out->shape.dim[i] = da == 1 ? db : da;
        out->a_step[i] = da == 1 ? 0 : a_matrix;
        out->b_step[i] = db == 1 ? 0 : b_matrix;
        out->b_batched = out->b_batched || out->b_step[i] != 0;
        a_matrix *= da;
        b_matrix *= db;
        out->count *= out->shape.dim[i];
    }
    return 0;
}

void pith_batches_join(struct pith_batches *batches)
{
    batches->count = 1;
    batches->shape.rank = 0;
}

void pith_batches_at(const struct pith_batches *batches, int64_t batch, int64_t *out_a,
                     int64_t *out_b)
{
    *out_a = *out_b = 0;
    for (uint32_t i = batches->shape.rank; i-- > 0;) {
        const int64_t at = batch % batches->shape.dim[i];

        *out_a += at * batches->a_step[i];
        *out_b += at * batches->b_step[i];
        batch /= batches->shape.dim[i];
    }
}
