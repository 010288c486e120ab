/* Elements as bytes: copying runs with a step, filling. What all data movement stands on. */
#ifndef PITH_KERNELS_MOVE_H
#define PITH_KERNELS_MOVE_H

#include <stddef.h>
#include <stdint.h>

/* Copies n elements of `bytes`; the source moves on by step elements each time (0: the same one,
 * negative: backwards). */
void move_run(void *to, const void *from, int64_t step, int64_t n, size_t bytes);
/* Copies `count` blocks of `bytes`, that lie to_step and from_step bytes apart. */
void move_blocks(void *to, int64_t to_step, const void *from, int64_t from_step, int64_t count, size_t bytes);
void move_fill(void *to, const void *element, int64_t n, size_t bytes);

#endif
