/* The last results of a stream: see recents.h. */
#include "daemon/recents.h"

#include <stdio.h>

uint64_t recents_label(const char *label)
{
    uint64_t digest = UINT64_C(14695981039346656037); /* FNV-1a, 64 bit */

    if (!label || !*label)
        return 0;
    for (; *label; label++)
        digest = (digest ^ (uint8_t) *label) * UINT64_C(1099511628211);
    return digest ? digest : 1;
}

static const struct recents_run *find_run(const struct recents *recents, uint64_t number)
{
    const struct recents_run *run = &recents->runs[number % RECENTS_RUNS];

    return number > 0 && run->number == number ? run : NULL;
}

void recents_begin_run(struct recents *recents, const char *version, const char *variant,
                       bool keeps_rows)
{
    uint64_t number = ++recents->run_count;
    struct recents_run *run = &recents->runs[number % RECENTS_RUNS];

    run->number = number;
    (void) snprintf(run->version, sizeof run->version, "%s", version);
    (void) snprintf(run->variant, sizeof run->variant, "%s", variant);
    for (size_t i = 0; i < recents->count && !keeps_rows; i++)
        recents->ring[i].row = 0; /* before any window */
}

void recents_add(struct recents *recents, const struct recent *recent)
{
    recents->ring[recents->at] = *recent;
    recents->ring[recents->at].run = recents->run_count;
    recents->at = (recents->at + 1) % RECENTS_COUNT;
    if (recents->count < RECENTS_COUNT)
        recents->count++;
}

bool recents_judge_one(const struct recents *recents, uint64_t sequence, uint64_t label,
                       struct judgement *out)
{
    for (size_t i = 0; i < recents->count; i++) {
        const struct recent *recent = &recents->ring[i];
        const struct recents_run *run = find_run(recents, recent->run);

        if (recent->sequence != sequence || !run)
            continue;
        *out = (struct judgement){.correct = recent->label == label, .run = run};
        return true;
    }
    return false;
}

bool recents_judge_window(const struct recents *recents, bool by_row, uint64_t from_row,
                          uint64_t from_ns, uint64_t label, struct judgement *out)
{
    const struct recents_run *run = find_run(recents, recents->run_count);
    uint64_t last = 0;
    bool right = false, wrong = false;

    if (!run)
        return false;
    for (size_t i = 0; i < recents->count; i++) {
        const struct recent *recent = &recents->ring[i];
        const struct recents_run *of = find_run(recents, recent->run);

        if (recent->label == 0 || !of ||
            (by_row ? recent->row <= from_row : recent->at_ns < from_ns))
            continue;
        if (recent->label == label)
            right = true;
        else
            wrong = true;
        if (recent->sequence > last) {
            last = recent->sequence;
            run = of;
        }
    }
    *out = (struct judgement){.correct = !wrong && right == (label != 0), .run = run};
    return true;
}
