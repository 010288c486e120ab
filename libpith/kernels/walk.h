/* Walking over several operands at once, each with its own strides: broadcasting, transposing,
 * slicing and cropping are all a matter of strides. Dimensions that lie together in every operand
 * are walked as one, so that common layouts come down to one long inner run. */
#ifndef PITH_KERNELS_WALK_H
#define PITH_KERNELS_WALK_H

#include "libpith/kernels/kernel.h"

#define WALK_MAX_OPERANDS 4
#define WALK_MAX_RANK     (2 * PITH_MAX_RANK) /* Tile walks each dimension as two */

struct walk {
    uint32_t operand_count;
    uint32_t rank;
    int64_t dim[WALK_MAX_RANK];
    int64_t stride[WALK_MAX_OPERANDS]
                  [WALK_MAX_RANK]; /* in elements; 0: broadcast; negative: backwards */
};

/* One inner run of n: operand k starts offset[k] elements from its start and moves on by step[k].
 */
typedef void walk_run(void *user, const int64_t *offset, const int64_t *step, int64_t n);

void walk_init(struct walk *walk, uint32_t operand_count, const struct pith_shape *shape);
/* Operand k lies in C order in the shape that is walked. */
void walk_dense(struct walk *walk, uint32_t k);
/* Operand k has `shape`, which broadcasts to the one that is walked. False where it doesn't. */
bool walk_broadcast(struct walk *walk, uint32_t k, const struct pith_shape *shape);
/* Adds an innermost dimension; strides are set by the caller. */
void walk_push(struct walk *walk, int64_t dim);
/* Leaves out dimensions of 1, and joins those that lie together in all operands. At least one
 * dimension is left. */
void walk_collapse(struct walk *walk);
/* Of a collapsed walk: takes an inner run of 2, 4 or 8 elements that lie together in all operands into the element, which so
 * becomes as many times wider; for elements of `bytes`, up to 8 bytes. Returns how many times: 1 where nothing changed.
 * start: of each operand, in elements before and after. */
int64_t walk_widen(struct walk *walk, size_t bytes, int64_t *start);
void walk_each(const struct walk *walk, walk_run *run, void *user);

/* Operands 0: output 0; 1 and 2: inputs a and b, which broadcast to it, before opset 7 by `broadcast` and `axis` as well.
 * -EINVAL where they don't. */
int walk_pair(const struct pith_step *step, size_t a, size_t b, struct walk *walk, struct pith_error *err);

/* Strides of a dense tensor. */
void walk_strides(const struct pith_shape *shape, int64_t *out);

#endif
