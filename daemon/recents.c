#include "daemon/recents.h"

uint64_t recents_label(const char *label)
{
    uint64_t digest = UINT64_C(14695981039346656037); /* FNV-1a, 64 bit */

    if (!label || !*label)
        return 0;
    for (; *label; label++)
        digest = (digest ^ (uint8_t) *label) * UINT64_C(1099511628211);
    return digest ? digest : 1;
}

void recents_add(struct recents *recents, const struct recent *recent)
{
    recents->ring[recents->at] = *recent;
    recents->at = (recents->at + 1) % RECENTS_COUNT;
    if (recents->count < RECENTS_COUNT)
        recents->count++;
}

bool recents_judge_one(const struct recents *recents, uint64_t sequence, uint64_t label,
                       bool *out_correct)
{
    for (size_t i = 0; i < recents->count; i++)
        if (recents->ring[i].sequence == sequence) {
            *out_correct = recents->ring[i].label == label;
            return true;
        }
    return false;
}

bool recents_judge_window(const struct recents *recents, bool by_row, uint64_t from_row,
                          int64_t from_wall_ms, uint64_t label)
{
    bool any = false;

    for (size_t i = 0; i < recents->count; i++) {
        const struct recent *recent = &recents->ring[i];
        if (recent->label == 0 ||
            (by_row ? recent->row <= from_row : recent->wall_ms < from_wall_ms))
            continue;
        if (recent->label != label)
            return false;
        any = true;
    }
    return any == (label != 0);
}
