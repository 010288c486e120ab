/* Is it worse, or is it chance? Intervals and tests for accuracy on few samples. */
#ifndef PITH_COMPRESS_STATISTICS_H
#define PITH_COMPRESS_STATISTICS_H

#include <stddef.h>
#include <stdint.h>

/* Wilson's score interval for `hits` of `count`, at 95 %. count 0: 0 and 1. */
void pith_wilson(uint64_t hits, uint64_t count, double *out_low, double *out_high);
/* Two-sided p value of McNemar's test for two models on the same samples, where only one of them is right `only_a` and
 * `only_b` times: exact (binomial) up to 10000 such samples, chi square with continuity correction past them. */
double pith_mcnemar(uint64_t only_a, uint64_t only_b);
/* Two counts over the same samples: 1 where `a` is so much more than `b` that it can't be chance, -1 where so much less, else
 * 0. At the least all that they differ by fell one way: McNemar's p is then below 0.05 from six samples on. */
int pith_surely_more(uint64_t a, uint64_t b);
/* The value that a share (0..1) of them does not pass: the nearest rank. Sorts values in place. count: at least 1. */
double pith_quantile(uint64_t *values, size_t count, double share);

#endif
