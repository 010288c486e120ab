/* The parts that a chain is made of; for libpith/pipeline alone. Between stages data are blocks of
 * float32. */
#ifndef PITH_PIPELINE_STAGES_H
#define PITH_PIPELINE_STAGES_H

#include "libpith/pipeline/chain.h"
#include "libpith/pipeline/expression.h"

#define STAGE_MAX_ELEMENTS                                                                         \
    (INT64_C(1) << 28) /* of one block: 1 GiB, above any input that a gateway takes */

/* What one stage hands to the next. */
struct flow {
    int64_t elements;     /* of a block; 0: any number of rows */
    int64_t row_elements; /* of a row; of the last dimension after a graph */
    int64_t window_size;  /* rows of the window that was passed and not yet bound; 0: none */
    struct pith_shape shape; /* of a block; rank 0: elements are all that is known */
};

struct window {
    int64_t size, hop, row_elements;
    int64_t before; /* rows of zeros that it begins with */
    int64_t filled; /* rows in `rows` */
    int64_t skip;   /* rows that a hop beyond the size still leaves out */
    int64_t foreign; /* the rows up to the last that another chain's graphs gave */
    float *rows;    /* own */
};
/* before: less than size. */
int window_open(struct window *window, int64_t size, int64_t hop, int64_t before, int64_t row_elements,
                struct pith_error *err);
/* Rows that it still takes until it hands on the next block. */
int64_t window_rows_missing(const struct window *window);
/* Takes up to as many rows as are missing; returns how many. Full where window_rows_missing is then
 * 0. */
int64_t window_take(struct window *window, const float *rows, int64_t count);
void window_move_on(struct window *window); /* by hop, after the full window was used */
void window_reset(struct window *window);
void window_close(struct window *window);

struct runner { /* one graph and its session */
    size_t graph_index;
    const char *name; /* the manifest's */
    const struct pith_engine_ops *engine;
    struct pith_session *session;
    struct pith_tensor inputs[PITH_STAGE_MAX_INPUTS + 1]; /* in the graph's order; data own but for `input`'s, see there */
    size_t input_count;
    size_t input;                /* what data flow into; its data: own where converted, else set for each run */
    struct carried {             /* from an output to an input of the next run; zeros at first */
        size_t input, output;
    } carried[PITH_STAGE_MAX_INPUTS];
    size_t carried_count;
    bool converts;               /* the graph takes another type than float32 */
    struct pith_tensor *outputs; /* as the session gave them last */
    size_t output_count;
    struct pith_shape output_shape;
    int64_t output_elements;
    float *converted; /* own; outputs[0] as float32; NULL where it is that already */
    uint64_t session_bytes;
};
/* Binds the graph's input to what `flow` gives, compiles, and runs once over zeros: so that shapes
 * that only running tells are known, and the first real input meets a session that has been through
 * everything. */
int runner_open(struct runner *runner, const struct pith_manifest *manifest,
                const struct pith_stage *stage, size_t graph_index,
                const struct pith_graph *graph, const struct pith_chain_options *options,
                const struct flow *flow, struct pith_error *err);
/* *out: outputs[0] as float32, the runner's until its next run. */
int runner_run(struct runner *runner, const float *data, pith_chain_tap *tap, void *tap_user,
               const float **out, struct pith_error *err);
int64_t runner_input_elements(const struct runner *runner);
void runner_reset(struct runner *runner); /* what it carries becomes zeros */
bool runner_carries_alike(const struct runner *a, const struct runner *b);
void runner_take_state(struct runner *runner, const struct runner *from); /* which carries alike */
uint64_t runner_memory_bytes(const struct runner *runner); /* of inputs */
void runner_close(struct runner *runner);

struct decision { /* smoothing, threshold and hold-off; also where a chain has no decide stage, to
                     name the scores */
    bool decides;
    double threshold;
    uint64_t hold_off_ticks;
    bool ticks_are_rows; /* else nanoseconds */
    size_t score_count;
    struct pith_score *scores; /* own */
    char *names; /* own; what labels point to where the manifest has none; NULL: none were made */
    size_t *group_end; /* own; scores of one graph compete, those of different heads don't */
    size_t group_count;
    float *history; /* own; smooth_count rows of score_count */
    size_t smooth_count, history_count, history_at;
    size_t foreign_count; /* results until the history holds none of another chain's */
    uint64_t *reported_tick; /* own; of each label, plus one; 0: never */
};
/* runners: of the last graph stage. stage: NULL where there is no decide stage. */
int decision_open(struct decision *decision, const struct pith_manifest *manifest,
                  const struct pith_stage *stage, const struct runner *runners, size_t runner_count,
                  int64_t elements, struct pith_error *err);
/* Sets scores, and fired, choice and own of result. foreign: whether the scores rest on another chain's rows. */
void decision_take(struct decision *decision, const float *scores, bool foreign, struct pith_result *result);
void decision_reset(struct decision *decision);
void decision_take_state(struct decision *decision, const struct decision *from);
uint64_t decision_memory_bytes(const struct decision *decision);
void decision_close(struct decision *decision);

/* Whether all are numbers, none infinite. */
bool floats_finite(const float *values, int64_t count);
/* count elements of tensor, from the element `first`, as float32. */
void floats_from_tensor(float *out, const struct pith_tensor *tensor, int64_t first, int64_t count);
/* Into tensor, all of it; integers are rounded and held in range. */
void floats_to_tensor(const struct pith_tensor *tensor, const float *values);

#endif
