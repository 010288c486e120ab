#include "daemon/shadow.h"

#include <stdlib.h>
#include <string.h>

#define STRETCH_MAX_BYTES   (512 * 1024) /* of input: 16 s of 16 kHz audio */
#define STRETCH_MAX_RESULTS 128
#define PIECE_BYTES                                                                                \
    4096 /* of input that is run at once: a payload that arrives waits no longer than for that */
#define KEEP_SHARE_RATIO                                                                           \
    0.25 /* from here on opening the original anew for each stretch costs more than its memory */

enum state { WAITING, ASKING, READY, RECORDING, RUNNING, IMPOSSIBLE };

struct shadow {
    enum state state;
    double share_ratio;
    uint64_t rows_seen, rows_run; /* since the version began */
    struct pith_chain *original;  /* own; NULL while none is open */
    /* The stretch: */
    struct pith_tensor rows; /* own; [as many as fit, ...]; bytes: its memory */
    int64_t row_capacity, row_count, row_at;
    int32_t choice[STRETCH_MAX_RESULTS]; /* of the live chain's results, in order */
    size_t result_count, result_at;
    uint32_t agreed_count, compared_count;
};

struct shadow *shadow_new(double share_ratio)
{
    struct shadow *shadow = calloc(1, sizeof *shadow);

    if (shadow) {
        shadow->share_ratio = share_ratio;
        shadow->state = IMPOSSIBLE; /* until a version says otherwise */
    }
    return shadow;
}

static void drop_rows(struct shadow *shadow)
{
    pith_tensor_free(&shadow->rows);
    shadow->row_capacity = shadow->row_count = shadow->row_at = 0;
    shadow->result_count = shadow->result_at = 0;
    shadow->agreed_count = shadow->compared_count = 0;
}

void shadow_free(struct shadow *shadow)
{
    if (!shadow)
        return;
    drop_rows(shadow);
    pith_chain_close(shadow->original);
    free(shadow);
}

struct pith_chain *shadow_restart(struct shadow *shadow, bool possible)
{
    struct pith_chain *original = shadow->original;

    drop_rows(shadow);
    shadow->original = NULL;
    shadow->rows_seen = shadow->rows_run = 0;
    shadow->state = possible && shadow->share_ratio > 0 ? WAITING : IMPOSSIBLE;
    return original;
}

bool shadow_begin(struct shadow *shadow, const struct pith_chain *live)
{
    struct pith_error err = {0};

    if (shadow->state == WAITING &&
        (double) shadow->rows_run <= shadow->share_ratio * (double) shadow->rows_seen) {
        shadow->state = shadow->original ? READY : ASKING;
        return shadow->state == ASKING;
    }
    if (shadow->state != READY)
        return false;
    pith_chain_reset(shadow->original);
    shadow->state =
        pith_chain_take_state(shadow->original, live, &err) < 0 ? IMPOSSIBLE : RECORDING;
    return false;
}

void shadow_give(struct shadow *shadow, struct pith_chain *original)
{
    if (shadow->state != ASKING) { /* another version came in between; it has its own */
        pith_chain_close(original);
        return;
    }
    shadow->original = original;
    shadow->state = original ? READY : IMPOSSIBLE;
}

static bool take_memory(struct shadow *shadow, const struct pith_tensor *rows)
{
    struct pith_shape shape = rows->shape;
    int64_t row_bytes;

    shape.dim[0] = 1;
    row_bytes = pith_tensor_bytes(rows->dtype, &shape);
    if (row_bytes < 1)
        return false;
    shape.dim[0] = row_bytes < STRETCH_MAX_BYTES ? STRETCH_MAX_BYTES / row_bytes : 1;
    if (pith_tensor_alloc(&shadow->rows, rows->dtype, &shape, NULL) < 0)
        return false;
    shadow->row_capacity = shape.dim[0];
    return true;
}

void shadow_rows(struct shadow *shadow, const struct pith_tensor *rows)
{
    size_t row_bytes;

    if (rows->shape.rank < 1)
        return; /* the live chain refuses it */
    shadow->rows_seen += (uint64_t) rows->shape.dim[0];
    if (shadow->state != RECORDING)
        return;
    if (!shadow->rows.data && !take_memory(shadow, rows)) {
        shadow->state = IMPOSSIBLE;
        return;
    }
    if (rows->shape.dim[0] > shadow->row_capacity - shadow->row_count) {
        shadow->state = RUNNING; /* full: what was recorded is what is compared */
        return;
    }
    row_bytes = shadow->rows.bytes / (size_t) shadow->row_capacity;
    memcpy((uint8_t *) shadow->rows.data + (size_t) shadow->row_count * row_bytes, rows->data,
           (size_t) rows->shape.dim[0] * row_bytes);
    shadow->row_count += rows->shape.dim[0];
}

void shadow_result(struct shadow *shadow, const struct pith_result *result)
{
    if (shadow->state != RECORDING)
        return;
    shadow->choice[shadow->result_count++] = result->choice;
    if (shadow->result_count == STRETCH_MAX_RESULTS)
        shadow->state = RUNNING;
}

void shadow_spoil(struct shadow *shadow)
{
    if (shadow->state != RECORDING && shadow->state != RUNNING)
        return;
    drop_rows(shadow);
    shadow->state = WAITING;
}

static int compare(void *user, const struct pith_result *result)
{
    struct shadow *shadow = user;

    if (shadow->result_at >= shadow->result_count)
        return 0; /* rows that were recorded after the last result */
    if (result->own) {
        shadow->compared_count++;
        shadow->agreed_count += result->choice == shadow->choice[shadow->result_at];
    }
    shadow->result_at++;
    return 0;
}

bool shadow_run(struct shadow *shadow, bool *out_done, struct shadow_outcome *outcome)
{
    struct pith_tensor piece = shadow->rows;
    struct pith_error err = {0};
    size_t row_bytes;
    int64_t count;

    *out_done = false;
    if (shadow->state != RUNNING)
        return false;
    row_bytes = shadow->rows.bytes / (size_t) shadow->row_capacity;
    count = row_bytes < PIECE_BYTES ? (int64_t) (PIECE_BYTES / row_bytes) : 1;
    if (count > shadow->row_count - shadow->row_at)
        count = shadow->row_count - shadow->row_at;
    piece.data = (uint8_t *) shadow->rows.data + (size_t) shadow->row_at * row_bytes;
    piece.shape.dim[0] = count;
    piece.bytes = (size_t) count * row_bytes;
    shadow->row_at += count;
    if (count > 0 && pith_chain_feed(shadow->original, &piece, compare, shadow, &err) < 0)
        shadow->row_at = shadow->row_count; /* the original can't; the results so far count */
    if (shadow->row_at < shadow->row_count && shadow->result_at < shadow->result_count)
        return true;
    *out_done = true;
    *outcome = (struct shadow_outcome){.agreed_count = shadow->agreed_count,
                                       .compared_count = shadow->compared_count};
    shadow->rows_run += (uint64_t) shadow->row_count;
    drop_rows(shadow);
    if (shadow->share_ratio < KEEP_SHARE_RATIO) {
        outcome->original = shadow->original;
        shadow->original = NULL;
    }
    shadow->state = WAITING;
    return true;
}
