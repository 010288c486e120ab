/* Entries are found by SHA-256 over the graph's id, the engine and the inputs' bytes, and stay
 * until the memo goes: what is remembered depends on the order of runs alone, never on time. */
#include "libpith/compress/memo.h"

#include "libpith/base/digest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SLOTS 1024 /* a power of two */

struct entry {
    uint8_t key[PITH_SHA256_BYTES];
    struct pith_tensor *outputs; /* own, with the data behind them */
    size_t output_count;
};

struct pith_memo {
    struct entry *slots; /* own; open addressing; outputs NULL: free */
    size_t slot_count, used;
    size_t bytes, limit_bytes;
    uint64_t hits;
};

struct pith_session {
    struct pith_memo *memo;
    const struct pith_engine_ops *inner;
    struct pith_session *inner_session;
    uint8_t prefix[PITH_SHA256_BYTES]; /* of graph and engine */
};

/* ---- the table ---- */

struct pith_memo *pith_memo_new(size_t limit_bytes)
{
    struct pith_memo *memo = calloc(1, sizeof *memo);

    if (!memo)
        return NULL;
    memo->slots = calloc(FIRST_SLOTS, sizeof *memo->slots);
    memo->slot_count = FIRST_SLOTS;
    memo->limit_bytes = limit_bytes;
    if (memo->slots)
        return memo;
    free(memo);
    return NULL;
}

void pith_memo_free(struct pith_memo *memo)
{
    for (size_t i = 0; memo && i < memo->slot_count; i++)
        free(memo->slots[i].outputs);
    if (memo)
        free(memo->slots);
    free(memo);
}

uint64_t pith_memo_hits(const struct pith_memo *memo)
{
    return memo->hits;
}

size_t pith_memo_bytes(const struct pith_memo *memo)
{
    return memo->bytes;
}

static struct entry *find(struct entry *slots, size_t slot_count,
                          const uint8_t key[PITH_SHA256_BYTES])
{
    uint64_t start;

    memcpy(&start, key, sizeof start);
    for (size_t i = (size_t) start & (slot_count - 1);; i = (i + 1) & (slot_count - 1))
        if (!slots[i].outputs || !memcmp(slots[i].key, key, PITH_SHA256_BYTES))
            return &slots[i];
}

/* Half full at most. False: no memory for more slots, and nothing has changed. */
static bool grow(struct pith_memo *memo)
{
    size_t slot_count = memo->slot_count * 2;
    struct entry *slots;

    if (memo->used * 2 < memo->slot_count)
        return true;
    slots = calloc(slot_count, sizeof *slots);
    if (!slots)
        return false;
    for (size_t i = 0; i < memo->slot_count; i++)
        if (memo->slots[i].outputs)
            *find(slots, slot_count, memo->slots[i].key) = memo->slots[i];
    free(memo->slots);
    memo->slots = slots;
    memo->slot_count = slot_count;
    return true;
}

/* Outputs and their data in one piece. What doesn't fit is left out. */
static void remember(struct pith_memo *memo, const uint8_t key[PITH_SHA256_BYTES],
                     const struct pith_tensor *outputs, size_t count)
{
    size_t head = (count * sizeof *outputs + 63) & ~(size_t) 63, bytes = head;
    struct pith_tensor *copy;
    struct entry *entry;
    uint8_t *data;

    for (size_t i = 0; i < count; i++) {
        if (outputs[i].bytes > memo->limit_bytes)
            return;
        bytes += (outputs[i].bytes + 63) & ~(size_t) 63;
    }
    if (count == 0 || bytes + 2 * sizeof *entry > memo->limit_bytes - memo->bytes || !grow(memo))
        return;
    copy = aligned_alloc(64, bytes);
    if (!copy)
        return;
    data = (uint8_t *) copy + head;
    for (size_t i = 0; i < count; i++) {
        copy[i] = outputs[i];
        copy[i].data = data;
        if (outputs[i].bytes > 0)
            memcpy(data, outputs[i].data, outputs[i].bytes);
        data += (outputs[i].bytes + 63) & ~(size_t) 63;
    }
    entry = find(memo->slots, memo->slot_count, key);
    memcpy(entry->key, key, PITH_SHA256_BYTES);
    entry->outputs = copy;
    entry->output_count = count;
    memo->used++;
    memo->bytes += bytes + 2 * sizeof *entry;
}

/* ---- the engine ---- */

static int key_prefix(const struct pith_memo_engine *engine, uint8_t out[PITH_SHA256_BYTES])
{
    struct pith_sha256 *digest = NULL;
    int rc = pith_sha256_new(&digest);

    if (rc == 0)
        rc = pith_sha256_add(digest, engine->graph_id, strlen(engine->graph_id) + 1);
    if (rc == 0)
        rc = pith_sha256_add(digest, (const void *) &engine->inner, sizeof engine->inner);
    if (rc == 0)
        rc = pith_sha256_finish(digest, out);
    pith_sha256_free(digest);
    return rc;
}

static int key_of_inputs(const struct pith_session *session, const struct pith_tensor *inputs,
                         size_t input_count, uint8_t out[PITH_SHA256_BYTES])
{
    struct pith_sha256 *digest = NULL;
    int rc = pith_sha256_new(&digest);

    if (rc == 0)
        rc = pith_sha256_add(digest, session->prefix, sizeof session->prefix);
    for (size_t i = 0; rc == 0 && i < input_count; i++) {
        int64_t form[2] = {inputs[i].dtype, inputs[i].shape.rank};

        rc = pith_sha256_add(digest, form, sizeof form);
        if (rc == 0)
            rc = pith_sha256_add(digest, inputs[i].shape.dim,
                                 inputs[i].shape.rank * sizeof *inputs[i].shape.dim);
        if (rc == 0)
            rc = pith_sha256_add(digest, inputs[i].data, inputs[i].bytes);
    }
    if (rc == 0)
        rc = pith_sha256_finish(digest, out);
    pith_sha256_free(digest);
    return rc;
}

/* Who hands over a memo engine has asked the inner one. */
static int memo_supports(const struct pith_graph *graph,
                         void (*unsupported)(void *user, uint32_t node, const char *why),
                         void *user, struct pith_error *err)
{
    (void) graph;
    (void) unsupported;
    (void) user;
    (void) err;
    return 0;
}

static int memo_compile(const struct pith_host *host, const struct pith_graph *graph,
                        const struct pith_engine_options *options, struct pith_session **out,
                        struct pith_error *err)
{
    const struct pith_memo_engine *engine = (const void *) options->options;
    struct pith_engine_options inner_options = *options;
    struct pith_session *session = calloc(1, sizeof *session);
    int rc;

    if (!session)
        return pith_fail(err, -ENOMEM, "no memory for a session");
    session->memo = engine->memo;
    session->inner = engine->inner;
    inner_options.options = engine->inner_options;
    rc = key_prefix(engine, session->prefix);
    if (rc < 0)
        (void) pith_fail(err, rc, "no memory for a digest");
    else
        rc = engine->inner->compile(host, graph, &inner_options, &session->inner_session, err);
    if (rc < 0)
        free(session);
    else
        *out = session;
    return rc;
}

static int memo_run(struct pith_session *session, const struct pith_tensor *inputs,
                    size_t input_count, struct pith_tensor *outputs, size_t output_count,
                    struct pith_error *err)
{
    uint8_t key[PITH_SHA256_BYTES];
    const struct entry *entry;
    int rc = key_of_inputs(session, inputs, input_count, key);

    if (rc < 0)
        return pith_fail(err, rc, "no memory for a digest");
    entry = find(session->memo->slots, session->memo->slot_count, key);
    if (entry->outputs && entry->output_count == output_count) {
        memcpy(outputs, entry->outputs, output_count * sizeof *outputs);
        session->memo->hits++;
        return 0;
    }
    rc = session->inner->run(session->inner_session, inputs, input_count, outputs, output_count,
                             err);
    if (rc == 0 && !entry->outputs)
        remember(session->memo, key, outputs, output_count);
    return rc;
}

static int memo_describe(struct pith_session *session, struct pith_session_description *out)
{
    return session->inner->describe ? session->inner->describe(session->inner_session, out)
                                    : -ENOTSUP;
}

static void memo_close(struct pith_session *session)
{
    if (session)
        session->inner->close(session->inner_session);
    free(session);
}

const struct pith_engine_ops pith_memo_ops = {
    .size_bytes = sizeof pith_memo_ops,
    .supports = memo_supports,
    .compile = memo_compile,
    .run = memo_run,
    .describe = memo_describe,
    .close = memo_close,
};
