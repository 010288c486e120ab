/* An engine around an engine that remembers what graphs gave for inputs that it has seen: forms of a chain that differ in
 * a later graph alone, or in one head, don't run the graphs before again. Bounded in memory: what doesn't fit is not
 * remembered and runs. For judging alone: times are those of remembering. Thread: one at a time. */
#ifndef PITH_COMPRESS_MEMO_H
#define PITH_COMPRESS_MEMO_H

#include <pith/engine.h>

struct pith_memo;

struct pith_memo_engine { /* goes where the options of pith_memo_ops are asked for */
    struct pith_option_value options; /* first: its address is what is handed over */
    struct pith_memo *memo;
    const struct pith_engine_ops *inner;
    const struct pith_option_value *inner_options;
    const char *graph_id; /* graphs of equal id give equal outputs; borrowed until the session is open */
};
extern const struct pith_engine_ops pith_memo_ops;

/* NULL: out of memory. */
struct pith_memo *pith_memo_new(size_t limit_bytes);
void pith_memo_free(struct pith_memo *memo);
uint64_t pith_memo_hits(const struct pith_memo *memo);
size_t pith_memo_bytes(const struct pith_memo *memo);

#endif
