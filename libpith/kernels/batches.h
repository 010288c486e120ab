/* Products of many pairs of matrices, as MatMul has them: what lies left of the last two dimensions broadcasts, as in NumPy. */
#ifndef PITH_KERNELS_BATCHES_H
#define PITH_KERNELS_BATCHES_H

#include "libpith/kernels/kernel.h"

struct pith_batches {
    int64_t count;
    struct pith_shape shape;                                  /* of the output's batch dimensions */
    int64_t a_step[PITH_MAX_RANK], b_step[PITH_MAX_RANK];     /* elements to move on along each of them; 0: broadcast */
    bool b_batched;                                           /* b has a matrix for each batch */
};

/* a, b: of rank 2 at least; a_matrix, b_matrix: elements of one matrix. -EINVAL with the sentence where they don't broadcast. */
int pith_batches_plan(struct pith_step *step, const struct pith_shape *a, int64_t a_matrix, const struct pith_shape *b,
                      int64_t b_matrix, struct pith_batches *out, struct pith_error *err) PITH_CHECKED;
/* All of them as one, for who makes the batches of a more rows. */
void pith_batches_join(struct pith_batches *batches);
/* Where a batch's matrices begin, in elements. */
void pith_batches_at(const struct pith_batches *batches, int64_t batch, int64_t *out_a, int64_t *out_b);

/* Dimension i of `rank`, of a shape that may have fewer; those on the left are 1. */
static inline int64_t pith_dim_or_one(const struct pith_shape *shape, uint32_t rank, uint32_t i)
{
    return i + shape->rank < rank ? 1 : shape->dim[i + shape->rank - rank];
}

#endif
