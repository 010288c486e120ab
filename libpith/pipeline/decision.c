/* From scores to a decision: moving average, threshold, hold-off in input time. */
#include "libpith/pipeline/stages.h"

#include "libpith/base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SCORES       4096  /* above any set of labels; larger outputs are read as a tensor */
#define INDEX_NAME_BYTES 24    /* any size_t */
#define MAX_HISTORY      65536 /* scores that smoothing may keep */

/* Labels: the manifest's, or the heads' graphs' names, or the index. */
static int name_scores(struct decision *decision, const struct pith_manifest *manifest,
                       const struct runner *runners, size_t runner_count, struct pith_error *err)
{
    if (manifest->label_count > 0 && manifest->label_count != decision->score_count &&
        decision->decides)
        return pith_fail(err, -EINVAL,
                         "labels: the manifest has %zu, but the last graph gives %zu scores",
                         manifest->label_count, decision->score_count);
    if (manifest->label_count == decision->score_count) {
        for (size_t i = 0; i < decision->score_count; i++)
            decision->scores[i].label = manifest->labels[i];
        return 0;
    }
    if (runner_count == decision->score_count) {
        for (size_t i = 0; i < decision->score_count; i++)
            decision->scores[i].label = runners[i].name;
        return 0;
    }
    decision->names = calloc(decision->score_count, INDEX_NAME_BYTES);
    if (!decision->names)
        return -ENOMEM;
    for (size_t i = 0; i < decision->score_count; i++) {
        char *name = decision->names + i * INDEX_NAME_BYTES;
        (void) snprintf(name, INDEX_NAME_BYTES, "%zu", i);
        decision->scores[i].label = name;
    }
    return 0;
}

/* Scores of one graph compete (a classifier); heads are independent. Where a window came between,
 * all compete. */
static int group_scores(struct decision *decision, const struct runner *runners,
                        size_t runner_count)
{
    size_t end = 0;

    decision->group_end = calloc(runner_count + 1, sizeof *decision->group_end);
    if (!decision->group_end)
        return -ENOMEM;
    for (size_t i = 0; i < runner_count; i++) {
        end += (size_t) runners[i].output_elements;
        decision->group_end[i] = end;
    }
    decision->group_count = runner_count;
    if (end != decision->score_count) {
        decision->group_end[0] = decision->score_count;
        decision->group_count = 1;
    }
    return 0;
}

static int take_settings(struct decision *decision, const struct pith_manifest *manifest,
                         const struct pith_stage *stage, struct pith_error *err)
{
    double ticks_per_ms;

    decision->decides = true;
    decision->threshold = stage->threshold;
    decision->smooth_count = stage->smooth_count > 1 ? (size_t) stage->smooth_count : 1;
    if (decision->smooth_count > MAX_HISTORY / decision->score_count)
        return pith_fail(err, -EINVAL,
                         "smoothing %zu scores over %zu inferences is more than %d values",
                         decision->score_count, decision->smooth_count, MAX_HISTORY);
    decision->ticks_are_rows = manifest->input_rate_hz > 0;
    ticks_per_ms = decision->ticks_are_rows ? manifest->input_rate_hz / 1e3 : 1e6;
    decision->hold_off_ticks =
        stage->hold_off_ms > 0 ? (uint64_t) ((double) stage->hold_off_ms * ticks_per_ms) : 0;
    return 0;
}

int decision_open(struct decision *decision, const struct pith_manifest *manifest,
                  const struct pith_stage *stage, const struct runner *runners, size_t runner_count,
                  int64_t elements, struct pith_error *err)
{
    int rc;

    if (elements > MAX_SCORES && stage)
        return pith_fail(err, -EINVAL,
                         "the stage before gives %lld scores; at most %d are decided on",
                         (long long) elements, MAX_SCORES);
    decision->score_count = elements > MAX_SCORES ? 0 : (size_t) elements;
    decision->smooth_count = 1;
    if (decision->score_count == 0)
        return 0;
    if (stage) {
        rc = take_settings(decision, manifest, stage, err);
        if (rc < 0)
            return rc;
    }
    decision->scores = calloc(decision->score_count, sizeof *decision->scores);
    decision->history =
        calloc(decision->score_count * decision->smooth_count, sizeof *decision->history);
    decision->reported_tick = calloc(decision->score_count, sizeof *decision->reported_tick);
    if (!decision->scores || !decision->history || !decision->reported_tick)
        return -ENOMEM;
    rc = name_scores(decision, manifest, runners, runner_count, err);
    return rc < 0 ? rc : group_scores(decision, runners, runner_count);
}

static void smooth(struct decision *decision, const float *scores)
{
    size_t count = decision->score_count;
    float *row = decision->history + decision->history_at * count;

    memcpy(row, scores, count * sizeof *row);
    decision->history_at = (decision->history_at + 1) % decision->smooth_count;
    if (decision->history_count < decision->smooth_count)
        decision->history_count++;
    for (size_t i = 0; i < count; i++) {
        double sum = 0;
        for (size_t k = 0; k < decision->history_count; k++)
            sum += decision->history[k * count + i];
        decision->scores[i].score = (float) (sum / (double) decision->history_count);
    }
}

static bool held_off(const struct decision *decision, size_t label, uint64_t tick)
{
    uint64_t reported = decision->reported_tick[label];

    return reported > 0 && tick - (reported - 1) < decision->hold_off_ticks;
}

/* The greatest score of scores [first, end). */
static size_t greatest(const struct decision *decision, size_t first, size_t end)
{
    size_t best = first;

    for (size_t i = first + 1; i < end; i++)
        if (decision->scores[i].score > decision->scores[best].score)
            best = i;
    return best;
}

static int32_t better(const struct decision *decision, int32_t best, size_t candidate)
{
    if (best >= 0 && decision->scores[best].score >= decision->scores[candidate].score)
        return best;
    return (int32_t) candidate;
}

static void decide(struct decision *decision, struct pith_result *result)
{
    uint64_t tick = decision->ticks_are_rows ? result->row : pith_monotonic_ns();
    size_t first = 0;

    for (size_t i = 0; i < decision->group_count; i++) {
        size_t best = greatest(decision, first, decision->group_end[i]);
        first = decision->group_end[i];
        if (decision->scores[best].score < decision->threshold)
            continue;
        result->choice = better(decision, result->choice, best);
        if (!held_off(decision, best, tick))
            result->fired = better(decision, result->fired, best);
    }
    if (result->fired >= 0)
        decision->reported_tick[result->fired] = tick + 1;
}

void decision_take(struct decision *decision, const float *scores, bool foreign,
                   struct pith_result *result)
{
    result->fired = -1;
    result->choice = -1;
    result->own = !foreign && decision->foreign_count <= 1;
    if (foreign)
        decision->foreign_count = decision->smooth_count;
    else if (decision->foreign_count > 0)
        decision->foreign_count--;
    if (decision->score_count == 0)
        return;
    smooth(decision, scores);
    if (decision->decides)
        decide(decision, result);
    else if (decision->score_count > 1)
        result->choice = (int32_t) greatest(decision, 0, decision->score_count);
}

void decision_reset(struct decision *decision)
{
    decision->history_count = 0;
    decision->history_at = 0;
    decision->foreign_count = 0;
    if (decision->reported_tick)
        memset(decision->reported_tick, 0, decision->score_count * sizeof *decision->reported_tick);
}

void decision_take_state(struct decision *decision, const struct decision *from)
{
    if (decision->score_count == 0)
        return;
    memcpy(decision->history, from->history,
           decision->score_count * decision->smooth_count * sizeof *decision->history);
    memcpy(decision->reported_tick, from->reported_tick,
           decision->score_count * sizeof *decision->reported_tick);
    decision->history_count = from->history_count;
    decision->history_at = from->history_at;
    decision->foreign_count = from->history_count;
}

uint64_t decision_memory_bytes(const struct decision *decision)
{
    return decision->score_count * (sizeof *decision->scores + sizeof *decision->reported_tick +
                                    decision->smooth_count * sizeof *decision->history +
                                    (decision->names ? INDEX_NAME_BYTES : 0));
}

void decision_close(struct decision *decision)
{
    free(decision->scores);
    free(decision->names);
    free(decision->group_end);
    free(decision->history);
    free(decision->reported_tick);
    *decision = (struct decision){0};
}
