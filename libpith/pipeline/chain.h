/* A running chain: windows, maps, graphs, heads, decision. The same code runs live in the daemon, over recorded data
 * in evaluation, and in `pith run`.
 *
 * Data are rows in C order. A window collects rows and hands on `size` of them; what a row is follows from the input that
 * takes the window: its elements divided by size (76 frames into (1,76,32,1): rows of 32). So a graph that gives
 * (1,1,8,32) gives 8 such rows. A graph's open dimensions follow from the window before it too; of two, the first is a
 * batch of one. Where more are open, they follow from the row's shape, or from that of what the graph before gives. Values
 * between stages are float32. Thread: one at a time per chain; feeding allocates nothing. */
#ifndef PITH_PIPELINE_CHAIN_H
#define PITH_PIPELINE_CHAIN_H

#include "libpith/model/manifest.h"
#include <pith/engine.h>

struct pith_chain;

struct pith_chain_options {
    const struct pith_engine_ops *engine;         /* used for all graphs that `engines` doesn't say otherwise for */
    const struct pith_engine_ops *const *engines; /* NULL, or one a graph of the manifest; an entry may be NULL */
    const struct pith_option_value *engine_options; /* of `engine` */
    const struct pith_option_value *const *graph_options; /* NULL, or one a graph: of `engines`' entry, where it isn't `engine` */
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
    int32_t choice;          /* the same but for hold-off; without a decide stage the greatest of several scores, or -1 */
    bool own;                /* all that it rests on was made by this chain, nothing came by pith_chain_take_state */
    uint64_t row;            /* input rows that had been fed when this came out: the time, at a fixed rate */
    uint64_t latency_ns;     /* since the row that completed it was taken, or since the result before, if it gave several */
    uint64_t cpu_ns;         /* thread CPU time of the chain since the result before: the sum is all that was spent */
    const struct pith_tensor *output; /* all outputs of the last graph; NULL with several heads. The first is what scores
                                         are made of and is finite; the others are as the engine gave them */
    size_t output_count;
};
/* A negative return stops the feed and is passed on. */
typedef int pith_chain_emit(void *user, const struct pith_result *result);

/* graphs: one a graph of the manifest, in its order; borrowed for the call. manifest must outlive the chain. */
int pith_chain_open(struct pith_chain **out, const struct pith_manifest *manifest,
                    const struct pith_graph *const *graphs, const struct pith_chain_options *options,
                    struct pith_error *err) PITH_CHECKED;
/* rows: [count, ...row shape], of the codec's type; converted to what the first graph takes. Rows of another size, NaN and
 * infinities are -EBADMSG, and nothing of the block was used. Emits each pass through the last graph, fired or not. */
int pith_chain_feed(struct pith_chain *chain, const struct pith_tensor *rows, pith_chain_emit *emit, void *user,
                    struct pith_error *err) PITH_CHECKED;
/* Forgets windows, smoothing and hold-off: a new recording begins. */
void pith_chain_reset(struct pith_chain *chain);
/* Called for each graph before it runs, with its inputs: how calibration sees them. NULL stops it. */
typedef int pith_chain_tap(void *user, size_t graph_index, const struct pith_tensor *inputs, size_t input_count);
void pith_chain_set_tap(struct pith_chain *chain, pith_chain_tap *tap, void *user);
uint64_t pith_chain_row(const struct pith_chain *chain); /* input rows that were fed since the chain was opened or reset */
uint64_t pith_chain_memory_bytes(const struct pith_chain *chain);
/* What results will hold: labels in the order of their scores. 0 where the last output is too large for scores. */
size_t pith_chain_score_count(const struct pith_chain *chain);
const char *pith_chain_label(const struct pith_chain *chain, size_t index);
/* The session of a graph of the manifest, and what runs it; NULL where no stage uses that graph. */
struct pith_session *pith_chain_session(const struct pith_chain *chain, size_t graph_index,
                                        const struct pith_engine_ops **out_engine);
/* Hot swap: takes over windows, smoothing and hold-off from `from`, which runs the same manifest stages with other
 * graphs, so that no result is lost or repeated. -EINVAL where the stages differ. */
int pith_chain_take_state(struct pith_chain *chain, const struct pith_chain *from, struct pith_error *err) PITH_CHECKED;
void pith_chain_close(struct pith_chain *chain);

#endif
