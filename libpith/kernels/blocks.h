/* The memory of steps and plans: lists of zeroed blocks, and what is packed once and then only read, of which a process
 * has one copy, however many sessions packed the same.
 *
 * Two sessions of one graph, two wake words behind one melspectrogram, a plan for each shape of one graph: each packs its
 * weights, hands the finished block in, and gets the block that is there already, if there is one with the same bytes. So
 * nothing has to be said about how they were packed, and no two that differ are taken for the same: a hash finds
 * candidates, and their bytes decide. */
#ifndef PITH_KERNELS_BLOCKS_H
#define PITH_KERNELS_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pith_block;

/* Blocks of one owner, freed together; zeroes are an empty list. Thread: one at a time per list. */
struct pith_blocks {
    struct pith_block *first;
    uint64_t bytes; /* of all, shared ones too */
};

/* Zeroed, aligned to 64 bytes. NULL: out of memory. A large block is a mapping: its pages go back to the system when it is
 * freed. The first is for what is written whole at once; of the second the system gives a page when it is touched. */
void *pith_blocks_alloc(struct pith_blocks *blocks, size_t bytes);
void *pith_blocks_alloc_sparse(struct pith_blocks *blocks, size_t bytes);
/* Frees one block of the list, or takes the list's hand off a shared one. NULL is fine. */
void pith_blocks_free(struct pith_blocks *blocks, const void *memory);
void pith_blocks_done(struct pith_blocks *blocks);
bool pith_blocks_have(const struct pith_blocks *blocks, const void *memory); /* NULL: no */

/* Gives up a block of the list for one with the same bytes that any lists may share; the block itself where it is the first
 * of its kind, too small to be worth it, or there is no memory to keep count. From then on nobody writes to it. It can't
 * fail; NULL gives NULL. Thread: any, for different lists. */
const void *pith_blocks_share(struct pith_blocks *blocks, const void *memory);

/* For tests and figures: blocks that are shared or could be, and their bytes, each counted once. */
struct pith_blocks_shared {
    size_t count;
    uint64_t bytes;
};
struct pith_blocks_shared pith_blocks_shared(void);

#endif
