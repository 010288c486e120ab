/* Places in a tensor that another one names: for gathering and scattering. Indices come from outside; each one is checked in
 * each run, before anything is read or written through it. A negative one counts from the end. */
#ifndef PITH_KERNELS_INDICES_H
#define PITH_KERNELS_INDICES_H

#include "libpith/kernels/kernel.h"

/* Index i of `indices` (int32 or int64), as 0 to limit - 1; -EINVAL with the sentence where it lies outside. */
int pith_index_read(struct pith_step *step, const struct pith_tensor *indices, int64_t i, int64_t limit, int64_t *out,
                    struct pith_error *err) PITH_CHECKED;

/* GatherElements, ScatterElements: an index along one axis for each element; along the others it stays where it is. */
struct pith_element_indices {
    int64_t stride[PITH_MAX_RANK]; /* of the data, in elements; the axis' own is 0: the index takes its place */
    int64_t axis_stride, limit;
};
/* Reads attribute axis; x: the data that input 1's indices point into. */
int pith_element_indices_read(struct pith_step *step, const struct pith_shape *x, struct pith_element_indices *out,
                              struct pith_error *err) PITH_CHECKED;

/* Where the walk over the indices is. Begins as zeros. */
struct pith_element_cursor {
    int64_t i, at[PITH_MAX_RANK], base;
};
/* The data's element that the next index names; moves the cursor on. */
int pith_element_next(struct pith_step *step, const struct pith_element_indices *along, struct pith_element_cursor *cursor,
                      int64_t *element, struct pith_error *err) PITH_CHECKED;

/* GatherND, ScatterND: tuples of `length` indices, which name slices. */
struct pith_index_tuple {
    int64_t length;
    int64_t dim[PITH_MAX_RANK], stride[PITH_MAX_RANK]; /* of the data's axes, in slices */
    int64_t slices;                                    /* that a tuple can name */
};
/* Tuples for the axes of x from `axis` on; there must be as many. */
void pith_index_tuple_plan(const struct pith_shape *x, uint32_t axis, int64_t length, struct pith_index_tuple *out);
/* The slice that tuple i of input 1 names. */
int pith_index_tuple_read(struct pith_step *step, const struct pith_index_tuple *tuple, int64_t i, int64_t *slice,
                          struct pith_error *err) PITH_CHECKED;

#endif
