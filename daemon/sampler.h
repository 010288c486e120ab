/* Cuts samples out of a stream's input, now and then, for the reservoir: stretches as long as twice what the chain needs for a
 * result. On the lane's thread alone. */
#ifndef PITHD_SAMPLER_H
#define PITHD_SAMPLER_H

#include <pith/tensor.h>
#include <stdbool.h>
#include <stdint.h>

struct sampler { /* zeroed: off */
    uint64_t every_ns; /* between the beginnings of two; 0: off */
    uint64_t next_ns;
    int64_t row_count;     /* of a sample; 0: not known yet */
    uint64_t version_row;  /* the chain's row when the version took over */
    struct pith_tensor rows; /* own; the sample under way; data NULL: none */
    int64_t filled;        /* rows of it */
};

/* every_ns: 0 turns it off, and forgets what is under way. */
void sampler_set(struct sampler *sampler, uint64_t every_ns);
/* Another version runs from that row of the chain on. */
void sampler_begin_version(struct sampler *sampler, uint64_t row);
/* The first result that rests on the version's rows alone tells how many it needs. */
void sampler_result(struct sampler *sampler, uint64_t row, bool own);
/* Rows that the chain took. True: *out is a sample, [rows, ...row], the caller's to free. */
bool sampler_rows(struct sampler *sampler, const struct pith_tensor *rows, uint64_t now_ns, struct pith_tensor *out);
void sampler_spoil(struct sampler *sampler); /* rows were refused: what is under way has a gap */
void sampler_done(struct sampler *sampler);

#endif
