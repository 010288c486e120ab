/* Every instruction set that this CPU has, one after the other, and the one that was set before behind them:
 *     for (struct each_isa each = {0}; each_isa(&each);) ... pith_isa() ... */
#ifndef PITH_TESTS_EACH_ISA_H
#define PITH_TESTS_EACH_ISA_H

#include "libpith/kernels/isa.h"

struct each_isa {
    int next;
    enum pith_isa before;
};

static inline bool each_isa(struct each_isa *each)
{
    if (each->next == 0)
        each->before = pith_isa();
    while (each->next < PITH_ISA_COUNT && !pith_isa_runs((enum pith_isa) each->next))
        each->next++;
    pith_isa_set(each->next < PITH_ISA_COUNT ? (enum pith_isa) each->next : each->before);
    return each->next++ < PITH_ISA_COUNT;
}

#endif
