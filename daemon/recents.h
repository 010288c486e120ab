/* The last results of a stream, so that feedback can be matched with them. */
#ifndef PITHD_RECENTS_H
#define PITHD_RECENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECENTS_COUNT 256

struct recent {
    uint64_t sequence; /* of the result's id; counts from 1 */
    uint64_t row;      /* input rows before it */
    int64_t wall_ms;
    uint64_t label; /* recents_label of the label that fired; 0: none did */
};

struct recents {
    struct recent ring[RECENTS_COUNT];
    size_t count, at; /* at: where the next one goes */
};

uint64_t recents_label(const char *label); /* a digest of it, never 0; 0 for "" and NULL */
void recents_add(struct recents *recents, const struct recent *recent);
/* Whether the result is known; *out_correct: whether it fired that label (0: none). */
bool recents_judge_one(const struct recents *recents, uint64_t sequence, uint64_t label, bool *out_correct);
/* Whether what fired since `row` (or, where rate_hz is 0, since wall_ms) is that label and no other; 0: nothing fired. */
bool recents_judge_window(const struct recents *recents, bool by_row, uint64_t from_row, int64_t from_wall_ms,
                          uint64_t label);

#endif
