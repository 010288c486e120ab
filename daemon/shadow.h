/* Fidelity: stretches of input are recorded with the decisions of the variant, and run through the original when the lane
 * has nothing else to do. The original starts from the variant's windows, so that both look at the same rows; results
 * that still rest on rows which the variant's graphs gave are left out. On the lane's thread alone. */
#ifndef PITHD_SHADOW_H
#define PITHD_SHADOW_H

#include "daemon/version.h"

struct shadow;

struct shadow_outcome {
    uint32_t agreed_count, compared_count;
    struct pith_chain *original; /* to be closed; NULL: kept for the next stretch */
};

/* share_ratio: of the input; 0: never. NULL: out of memory. */
struct shadow *shadow_new(double share_ratio);
void shadow_free(struct shadow *shadow);
/* Another version runs: forgets the stretch under way. Returns the original that is to be closed, or NULL. */
struct pith_chain *shadow_restart(struct shadow *shadow, bool possible);
/* Before rows are fed. True once for a stretch: the original is then wanted. */
bool shadow_begin(struct shadow *shadow, const struct pith_chain *live);
void shadow_give(struct shadow *shadow, struct pith_chain *original); /* taken; NULL: there is none, stop asking */
void shadow_rows(struct shadow *shadow, const struct pith_tensor *rows); /* that the live chain took */
void shadow_result(struct shadow *shadow, const struct pith_result *result); /* that it gave */
void shadow_spoil(struct shadow *shadow); /* rows that were told were refused: the stretch under way is worthless */
/* A piece of work. False: there is none. *out_done: the stretch is through, and *outcome says how it went. */
bool shadow_run(struct shadow *shadow, bool *out_done, struct shadow_outcome *outcome);

#endif
