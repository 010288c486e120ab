/* The last results of a stream, so that feedback can be matched with them. */
#ifndef PITHD_RECENTS_H
#define PITHD_RECENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libpith/base/names.h"

#define RECENTS_COUNT 256
#define RECENTS_RUNS  8 /* versions that ran one after the other, whose results are still known */

struct recents_run { /* what gave a stretch of results */
    uint64_t number; /* counts from 1 */
    char version[PITH_NAME_BYTES], variant[PITH_NAME_BYTES];
};

struct recent {
    uint64_t sequence; /* of the result's id; counts from 1 */
    uint64_t row;      /* input rows before it */
    uint64_t at_ns;    /* monotonic: a clock that is set must not move results into or out of a window */
    uint64_t label; /* recents_label of the label that fired; 0: none did */
    uint64_t run;   /* that gave it; set by recents_add */
};

struct recents {
    struct recent ring[RECENTS_COUNT];
    size_t count, at; /* at: where the next one goes */
    struct recents_run runs[RECENTS_RUNS];
    uint64_t run_count; /* all that there were; the last one runs */
};

uint64_t recents_label(const char *label); /* a digest of it, never 0; 0 for "" and NULL */
/* From here on results are of this version and variant. keeps_rows: rows are counted on; otherwise from 0 again, and only
 * their ids tell earlier results apart. */
void recents_begin_run(struct recents *recents, const char *version, const char *variant, bool keeps_rows);
void recents_add(struct recents *recents, const struct recent *recent); /* within a run */

struct judgement {
    bool correct;
    const struct recents_run *run; /* that gave the result: the feedback is about it */
};
/* Whether the result is known; out->correct: whether it fired that label (0: none). */
bool recents_judge_one(const struct recents *recents, uint64_t sequence, uint64_t label, struct judgement *out);
/* out->correct: whether what fired since from_row (or, where not by_row, since from_ns) is that label and no other;
 * 0: nothing fired. It is about the run that fired last in that window, or else the one that runs. False where none does. */
bool recents_judge_window(const struct recents *recents, bool by_row, uint64_t from_row, uint64_t from_ns,
                          uint64_t label, struct judgement *out);

#endif
