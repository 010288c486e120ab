/* How far samples to come may reach beyond those that came. Few samples show too little of a
 * range, and what lies outside is lost, which costs far more than the levels that room takes. */
#ifndef PITH_QUANTIZE_UNSEEN_H
#define PITH_QUANTIZE_UNSEEN_H

#include "plugins/techniques/quantize/range.h"

struct unseen {       /* extremes of one group of activations, sample by sample */
    uint64_t samples; /* that are complete */
    uint64_t current; /* number of the sample under way, while `open` */
    int open;
    double end[2]; /* least and greatest of the sample under way */
    struct {
        double mean, squares; /* squares: sum about the mean */
        double extreme;       /* of all samples */
    } of[2];
};
/* A zeroed struct is empty. One call for each tensor of a sample, samples one after the other. */
void unseen_add(struct unseen *unseen, uint64_t sample, double low, double high);
/* `range`, with each end moved out to where the extreme of the next sample stays inside in 39 of 40
 * cases: a prediction limit by Student's t over the samples' own extremes. Never beyond twice what
 * was seen. From 50 samples on the greatest of them is that limit, and the range stays as it is. */
struct range unseen_widen(const struct unseen *unseen, struct range range);

#endif
