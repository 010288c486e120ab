/* A running chain: windows, maps, graphs, heads, decision. The same code runs live in the daemon, over recorded data
 * in evaluation, and in `pith run`.
 *
 * Data are rows in C order. A window collects rows and hands on `size` of them; what a row is follows from the input that
 * takes the window: its elements divided by size (76 frames into (1,76,32,1): rows of 32). So a graph that gives
 * (1,1,8,32) gives 8 such rows. Thread: one at a time per chain; allocates nothing per row once it has run. */
#ifndef PITH_PIPELINE_CHAIN_H
#define PITH_PIPELINE_CHAIN_H

#include "libpith/model/manifest.h"
#include <pith/engine.h>

struct pith_chain;

struct pith_chain_options {
    const struct pith_engine_ops *engine;         /* used for all graphs that `engines` doesn't say otherwise for */
    const struct pith_engine_ops *const *engines; /* NULL, or one a graph of the manifest; an entry may be NULL */
    const struct pith_option_value *engine_options;
    uint32_t threads;
    bool profile;
};

struct pith_score {   /* what a decision stage saw, or the outputs of the last graph where there is none */
    const char *label; /* the chain's */
    float score;
};

struct pith_result {         /* one pass through the last graph (all heads) */
    const struct pith_score *scores; /* after smoothing, one a label; borrowed for the call */
    size_t score_count;
    int32_t fired;           /* index of the label that is reported; -1: none */
    uint64_t row;            /* input rows that had been fed when this came out: the time, at a fixed rate */
    uint64_t latency_ns;     /* of the stages since the last window took the row that completed it */
    uint64_t cpu_ns;         /* thread CPU time for the same */
    const struct pith_tensor *output; /* of the last graph; NULL with several heads */
};
/* A negative return stops the feed and is passed on. */
typedef int pith_chain_emit(void *user, const struct pith_result *result);

/* graphs: one a graph of the manifest, in its order; they must outlive the chain. manifest too. */
int pith_chain_open(struct pith_chain **out, const struct pith_manifest *manifest,
                    const struct pith_graph *const *graphs, const struct pith_chain_options *options,
                    struct pith_error *err) PITH_CHECKED;
/* rows: [count, ...row shape], of the codec's type; converted to what the first graph takes. NaN is -EBADMSG. */
int pith_chain_feed(struct pith_chain *chain, const struct pith_tensor *rows, pith_chain_emit *emit, void *user,
                    struct pith_error *err) PITH_CHECKED;
/* Forgets windows, smoothing and hold-off: a new recording begins. */
void pith_chain_reset(struct pith_chain *chain);
/* Called for each graph before it runs, with its inputs: how calibration sees them. NULL stops it. */
typedef int pith_chain_tap(void *user, size_t graph_index, const struct pith_tensor *inputs, size_t input_count);
void pith_chain_set_tap(struct pith_chain *chain, pith_chain_tap *tap, void *user);
uint64_t pith_chain_memory_bytes(const struct pith_chain *chain);
/* Hot swap: takes over windows, smoothing and hold-off from `from`, which runs the same manifest stages with other
 * graphs, so that no result is lost or repeated. -EINVAL where the stages differ. */
int pith_chain_take_state(struct pith_chain *chain, const struct pith_chain *from, struct pith_error *err) PITH_CHECKED;
void pith_chain_close(struct pith_chain *chain);

#endif
