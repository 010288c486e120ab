/* Opening a chain: each stage is bound to what the one before gives. Feeding it: blocks are pushed
 * through the stages. */
#include "libpith/pipeline/chain.h"

#include "libpith/base/clock.h"
#include "libpith/pipeline/stages.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SCRATCH_ELEMENTS                                                                           \
    4096 /* rows are converted and mapped in pieces of about so many: 16 KiB, stays in L1 */

struct stage {
    enum pith_stage_kind kind;
    struct window window;
    struct pith_expression *expression; /* own */
    const char *expression_text;        /* the manifest's */
    struct runner *runners;             /* own; of a graph stage one, of heads several */
    size_t runner_count;
    float *block; /* own; what a map or several heads write their result into */
    int64_t block_elements;
};

struct pith_chain {
    struct stage *stages; /* own */
    size_t stage_count;   /* without the decide stage */
    struct decision decision;
    struct stage *last_graphs;   /* the last stage that runs graphs; NULL: none */
    struct window *first_window; /* that input rows reach through maps alone; NULL: none */
    int64_t row_elements;
    float *scratch; /* own; input rows as float32 */
    int64_t scratch_rows;
    uint64_t row; /* fed so far */
    bool foreign; /* the block under way rests on rows of pith_chain_take_state */
    uint64_t latency_from_ns;
    uint64_t cpu_from_ns, cpu_carried_ns;
    pith_chain_emit *emit;
    void *emit_user;
    pith_chain_tap *tap;
    void *tap_user;
};

static int open_window(struct stage *stage, const struct pith_stage *from, struct flow *flow,
                       struct pith_error *err)
{
    if (flow->window_size > 0)
        return pith_fail(err, -EINVAL,
                         "two windows follow each other; a graph has to be between them");
    if (from->size < 1 || from->size > STAGE_MAX_ELEMENTS || from->hop < 1 || from->before < 0 ||
        from->before >= from->size ||
        from->hop > STAGE_MAX_ELEMENTS)
        return pith_fail(err, -EINVAL, "size and hop must be 1 or more, and at most 2^28");
    stage->window.size = from->size;
    stage->window.hop = from->hop;
    stage->window.before = from->before;
    flow->window_size = from->size;
    flow->shape.rank = 0;
    return 0;
}

/* A window is given its memory once the input that takes it has said what a row is. */
static int bind_window(struct pith_chain *chain, size_t at, struct flow *flow, int64_t taken,
                       struct pith_error *err)
{
    struct stage *window = NULL;
    int64_t row_elements;

    if (flow->window_size == 0)
        return 0;
    for (size_t i = at; i-- > 0 && !window;)
        if (chain->stages[i].kind == PITH_STAGE_WINDOW)
            window = &chain->stages[i];
    assert(window); /* it is what set window_size */
    row_elements = taken / flow->window_size;
    if (flow->elements % row_elements)
        return pith_fail(err, -EINVAL,
                         "takes rows of %lld values, but what comes before the window of %lld "
                         "gives %lld at a time",
                         (long long) row_elements, (long long) flow->window_size,
                         (long long) flow->elements);
    return window_open(&window->window, window->window.size, window->window.hop,
                       window->window.before, row_elements, err);
}

static int open_map(struct stage *stage, const struct pith_stage *from, struct pith_error *err)
{
    stage->expression_text = from->expression;
    return pith_expression_compile(&stage->expression, from->expression ? from->expression : "",
                                   err);
}

static int open_graphs(struct pith_chain *chain, size_t at, const struct pith_stage *from,
                       const struct pith_manifest *manifest, const struct pith_graph *const *graphs,
                       const struct pith_chain_options *options, struct flow *flow,
                       struct pith_error *err)
{
    struct stage *stage = &chain->stages[at];
    int64_t taken = 0;
    int64_t given = 0;
    int rc;

    if (from->graph_count < 1 || from->graph_count > manifest->graph_count)
        return pith_fail(err, -EINVAL, "names no graph, or more than there are");
    stage->runners = calloc(from->graph_count, sizeof *stage->runners);
    if (!stage->runners)
        return -ENOMEM;
    for (size_t i = 0; i < from->graph_count; i++) {
        struct runner *runner = &stage->runners[i];
        if (from->graph[i] >= manifest->graph_count)
            return pith_fail(err, -EINVAL, "names graph %zu of %zu", from->graph[i],
                             manifest->graph_count);
        stage->runner_count++;
        rc = runner_open(runner, manifest, from, from->graph[i], graphs[from->graph[i]], options,
                         flow, err);
        if (rc < 0)
            return rc;
        if (i > 0 && runner_input_elements(runner) != taken)
            return pith_fail(err, -EINVAL, "graph \"%s\" takes %lld values where \"%s\" takes %lld",
                             runner->name, (long long) runner_input_elements(runner),
                             stage->runners[0].name, (long long) taken);
        taken = runner_input_elements(runner);
        given += runner->output_elements;
    }
    rc = bind_window(chain, at, flow, taken, err);
    if (rc < 0)
        return rc;
    flow->window_size = 0;
    flow->elements = flow->row_elements = given;
    flow->shape.rank = 0;
    if (stage->runner_count == 1)
        flow->shape = stage->runners[0].output_shape;
    if (stage->runner_count == 1 && stage->runners[0].output_shape.rank > 0)
        flow->row_elements =
            stage->runners[0].output_shape.dim[stage->runners[0].output_shape.rank - 1];
    chain->last_graphs = stage;
    return 0;
}

static const char *kind_name(enum pith_stage_kind kind)
{
    static const char *const names[] = {
        [PITH_STAGE_WINDOW] = "window", [PITH_STAGE_MAP] = "map",
        [PITH_STAGE_GRAPH] = "graph",   [PITH_STAGE_HEADS] = "heads",
        [PITH_STAGE_DECIDE] = "decide",
    };

    return names[kind];
}

static int open_stages(struct pith_chain *chain, const struct pith_manifest *manifest,
                       const struct pith_graph *const *graphs,
                       const struct pith_chain_options *options, struct pith_error *err)
{
    struct flow flow = {.elements = chain->row_elements,
                        .row_elements = chain->row_elements,
                        .shape = manifest->input_row};
    const struct pith_stage *decide = NULL;
    int rc = 0;

    for (size_t i = 0; i < manifest->stage_count; i++) {
        const struct pith_stage *from = &manifest->stages[i];
        if (decide)
            return pith_fail(err, -EINVAL,
                             "stages[%zu] comes after decide, which has to be the last", i);
        if (from->kind == PITH_STAGE_DECIDE) {
            decide = from;
            continue;
        }
        chain->stages[i].kind = from->kind;
        chain->stage_count = i + 1;
        if (from->kind == PITH_STAGE_WINDOW)
            rc = open_window(&chain->stages[i], from, &flow, err);
        else if (from->kind == PITH_STAGE_MAP)
            rc = open_map(&chain->stages[i], from, err);
        else
            rc = open_graphs(chain, i, from, manifest, graphs, options, &flow, err);
        if (rc < 0)
            return pith_fail_in(err, rc, "stages[%zu] (%s)", i, kind_name(from->kind));
    }
    rc = bind_window(chain, chain->stage_count, &flow, flow.window_size * flow.row_elements, err);
    if (rc < 0)
        return rc;
    if (flow.window_size > 0)
        flow.elements = flow.window_size * flow.row_elements;
    rc = decision_open(
        &chain->decision, manifest, decide, chain->last_graphs ? chain->last_graphs->runners : NULL,
        chain->last_graphs ? chain->last_graphs->runner_count : 0, flow.elements, err);
    return rc < 0 ? pith_fail_in(err, rc, "stages[%zu] (decide)", chain->stage_count) : 0;
}

/* Maps and heads write into a block of their own; its size follows from the stages before. */
static int take_blocks(struct pith_chain *chain)
{
    int64_t elements = chain->scratch_rows * chain->row_elements;

    for (size_t i = 0; i < chain->stage_count; i++) {
        struct stage *stage = &chain->stages[i];
        if (stage->kind == PITH_STAGE_WINDOW) {
            elements = stage->window.size * stage->window.row_elements;
            continue;
        }
        if (stage->runner_count > 0) {
            elements = 0;
            for (size_t k = 0; k < stage->runner_count; k++)
                elements += stage->runners[k].output_elements;
        }
        if (stage->runner_count == 1)
            continue;
        stage->block = calloc((size_t) elements, sizeof *stage->block);
        if (!stage->block)
            return -ENOMEM;
        stage->block_elements = elements;
    }
    return 0;
}

static int check_input(struct pith_chain *chain, const struct pith_manifest *manifest,
                       struct pith_error *err)
{
    char text[PITH_SHAPE_TEXT_BYTES];

    chain->row_elements = pith_shape_elements(&manifest->input_row);
    if (chain->row_elements < 1 || chain->row_elements > STAGE_MAX_ELEMENTS)
        return pith_fail(err, -EINVAL,
                         "input: rows of shape %s; each dimension must be known, 1 or more",
                         pith_shape_text(&manifest->input_row, text, sizeof text));
    chain->scratch_rows =
        chain->row_elements < SCRATCH_ELEMENTS ? SCRATCH_ELEMENTS / chain->row_elements : 1;
    return 0;
}

/* Input rows reach the first window through maps alone, or each is a block of its own. */
static void find_first_window(struct pith_chain *chain)
{
    for (size_t i = 0; i < chain->stage_count; i++) {
        if (chain->stages[i].kind == PITH_STAGE_WINDOW)
            chain->first_window = &chain->stages[i].window;
        if (chain->stages[i].kind != PITH_STAGE_MAP)
            break;
    }
    if (!chain->first_window)
        chain->scratch_rows = 1;
}

int pith_chain_open(struct pith_chain **out, const struct pith_manifest *manifest,
                    const struct pith_graph *const *graphs,
                    const struct pith_chain_options *options, struct pith_error *err)
{
    struct pith_chain *chain = calloc(1, sizeof *chain);
    int rc;

    *out = NULL;
    if (!chain)
        return -ENOMEM;
    rc = check_input(chain, manifest, err);
    if (rc < 0)
        goto failed;
    chain->stages = calloc(manifest->stage_count + 1, sizeof *chain->stages);
    rc = chain->stages ? open_stages(chain, manifest, graphs, options, err) : -ENOMEM;
    if (rc < 0)
        goto failed;
    find_first_window(chain);
    chain->scratch =
        calloc((size_t) (chain->scratch_rows * chain->row_elements), sizeof *chain->scratch);
    rc = chain->scratch ? take_blocks(chain) : -ENOMEM;
    if (rc < 0)
        goto failed;
    *out = chain;
    return 0;

failed:
    pith_chain_close(chain);
    return rc;
}

void pith_chain_close(struct pith_chain *chain)
{
    if (!chain)
        return;
    for (size_t i = 0; i < chain->stage_count; i++) {
        struct stage *stage = &chain->stages[i];
        window_close(&stage->window);
        pith_expression_free(stage->expression);
        for (size_t k = 0; k < stage->runner_count; k++)
            runner_close(&stage->runners[k]);
        free(stage->runners);
        free(stage->block);
    }
    decision_close(&chain->decision);
    free(chain->stages);
    free(chain->scratch);
    free(chain);
}

static int emit_result(struct pith_chain *chain, const float *scores)
{
    const struct stage *last = chain->last_graphs;
    uint64_t now_ns, cpu_ns;
    struct pith_result result = {
        .scores = chain->decision.scores,
        .score_count = chain->decision.score_count,
        .row = chain->row,
        .output = last && last->runner_count == 1 ? &last->runners[0].outputs[0] : NULL,
        .output_count = last && last->runner_count == 1 ? last->runners[0].output_count : 0,
    };
    int rc;

    decision_take(&chain->decision, scores, chain->foreign, &result);
    now_ns = pith_monotonic_ns();
    cpu_ns = pith_thread_cpu_ns();
    result.latency_ns = now_ns - chain->latency_from_ns;
    result.cpu_ns = chain->cpu_carried_ns + (cpu_ns - chain->cpu_from_ns);
    chain->cpu_carried_ns = 0;
    rc = chain->emit(chain->emit_user, &result);
    chain->latency_from_ns = pith_monotonic_ns();
    chain->cpu_from_ns = pith_thread_cpu_ns();
    return rc;
}

static int push(struct pith_chain *chain, size_t at, const float *data, int64_t elements,
                struct pith_error *err);

static int push_window(struct pith_chain *chain, size_t at, const float *data, int64_t elements,
                       struct pith_error *err)
{
    struct window *window = &chain->stages[at].window;
    int64_t rows = elements / window->row_elements;
    bool foreign = chain->foreign;

    while (rows > 0) {
        int64_t taken = window_take(window, data, rows);
        if (foreign)
            window->foreign = window->filled;
        data += taken * window->row_elements;
        rows -= taken;
        if (window_rows_missing(window) == 0) {
            int rc;
            chain->foreign = window->foreign > 0;
            rc = push(chain, at + 1, window->rows, window->size * window->row_elements, err);
            chain->foreign = foreign;
            window_move_on(window);
            if (rc < 0)
                return rc;
        }
    }
    return 0;
}

static int push_map(struct pith_chain *chain, size_t at, const float *data, int64_t elements,
                    struct pith_error *err)
{
    struct stage *stage = &chain->stages[at];

    pith_expression_run(stage->expression, data, stage->block, (size_t) elements);
    if (!floats_finite(stage->block, elements))
        return pith_fail(err, -EBADMSG,
                         "stages[%zu] (map): \"%s\" gives NaN or an infinity for this input", at,
                         stage->expression_text);
    return push(chain, at + 1, stage->block, elements, err);
}

static int push_graphs(struct pith_chain *chain, size_t at, const float *data,
                       struct pith_error *err)
{
    struct stage *stage = &chain->stages[at];
    const float *output = NULL;
    int64_t elements = 0;

    for (size_t i = 0; i < stage->runner_count; i++) {
        int rc = runner_run(&stage->runners[i], data, chain->tap, chain->tap_user, &output, err);
        if (rc < 0)
            return rc;
        if (stage->runner_count > 1)
            memcpy(stage->block + elements, output,
                   (size_t) stage->runners[i].output_elements * sizeof *stage->block);
        elements += stage->runners[i].output_elements;
    }
    return push(chain, at + 1, stage->runner_count > 1 ? stage->block : output, elements, err);
}

/* Recursion is bounded by the number of stages, PITH_MANIFEST_MAX_STAGES. */
static int push(struct pith_chain *chain, size_t at, const float *data, int64_t elements,
                struct pith_error *err)
{
    if (at == chain->stage_count)
        return emit_result(chain, data);
    switch (chain->stages[at].kind) {
    case PITH_STAGE_WINDOW:
        return push_window(chain, at, data, elements, err);
    case PITH_STAGE_MAP:
        return push_map(chain, at, data, elements, err);
    default:
        return push_graphs(chain, at, data, err);
    }
}

static int check_rows(const struct pith_chain *chain, const struct pith_tensor *rows,
                      struct pith_error *err)
{
    char text[PITH_SHAPE_TEXT_BYTES];
    int64_t elements = pith_shape_elements(&rows->shape);
    int64_t bytes = pith_tensor_bytes(rows->dtype, &rows->shape);

    if (rows->shape.rank < 1 || elements < 0 || elements % chain->row_elements ||
        elements / chain->row_elements != rows->shape.dim[0])
        return pith_fail(err, -EBADMSG, "got rows as %s, where the model takes %lld values a row",
                         pith_shape_text(&rows->shape, text, sizeof text),
                         (long long) chain->row_elements);
    if (bytes < 0 || (size_t) bytes > rows->bytes)
        return pith_fail(err, -EBADMSG, "got %zu bytes for %s %s", rows->bytes,
                         pith_dtype_name(rows->dtype),
                         pith_shape_text(&rows->shape, text, sizeof text));
    for (int64_t i = 0;
         i < elements && (rows->dtype == PITH_FLOAT32 || rows->dtype == PITH_FLOAT64 ||
                          rows->dtype == PITH_FLOAT16 || rows->dtype == PITH_BFLOAT16);) {
        float piece[256];
        int64_t count = elements - i < 256 ? elements - i : 256;
        floats_from_tensor(piece, rows, i, count);
        if (!floats_finite(piece, count))
            return pith_fail(err, -EBADMSG,
                             "among values %lld to %lld is NaN or one out of float32's range",
                             (long long) i, (long long) (i + count - 1));
        i += count;
    }
    return 0;
}

int pith_chain_feed(struct pith_chain *chain, const struct pith_tensor *rows, pith_chain_emit *emit,
                    void *user, struct pith_error *err)
{
    int64_t left, at = 0;
    int rc = check_rows(chain, rows, err);

    if (rc < 0)
        return rc;
    chain->emit = emit;
    chain->emit_user = user;
    chain->foreign = false;
    chain->cpu_from_ns = pith_thread_cpu_ns();
    for (left = rows->shape.dim[0]; left > 0 && rc == 0;) {
        int64_t count = left < chain->scratch_rows ? left : chain->scratch_rows;
        /* No further than the row that completes a window, so that each result knows its row. */
        if (chain->first_window) {
            const struct window *window = chain->first_window;
            int64_t missing = window_rows_missing(window) * window->row_elements;
            int64_t needed = (missing + chain->row_elements - 1) / chain->row_elements;
            count = count < needed ? count : needed;
        }
        chain->row += (uint64_t) count;
        chain->latency_from_ns = pith_monotonic_ns();
        floats_from_tensor(chain->scratch, rows, at * chain->row_elements,
                           count * chain->row_elements);
        rc = push(chain, 0, chain->scratch, count * chain->row_elements, err);
        at += count;
        left -= count;
    }
    chain->cpu_carried_ns += pith_thread_cpu_ns() - chain->cpu_from_ns;
    return rc < 0 ? rc : 0;
}

void pith_chain_reset(struct pith_chain *chain)
{
    for (size_t i = 0; i < chain->stage_count; i++) {
        window_reset(&chain->stages[i].window);
        for (size_t k = 0; k < chain->stages[i].runner_count; k++)
            runner_reset(&chain->stages[i].runners[k]);
    }
    decision_reset(&chain->decision);
    chain->row = 0;
    chain->cpu_carried_ns = 0;
}

void pith_chain_set_tap(struct pith_chain *chain, pith_chain_tap *tap, void *user)
{
    chain->tap = tap;
    chain->tap_user = user;
}

static bool same_stage(const struct stage *a, const struct stage *b)
{
    if (a->kind != b->kind || a->runner_count != b->runner_count)
        return false;
    if (a->kind == PITH_STAGE_MAP)
        return strcmp(a->expression_text, b->expression_text) == 0;
    for (size_t i = 0; i < a->runner_count; i++)
        if (!runner_carries_alike(&a->runners[i], &b->runners[i]))
            return false;
    return a->window.size == b->window.size && a->window.hop == b->window.hop &&
           a->window.row_elements == b->window.row_elements;
}

int pith_chain_take_state(struct pith_chain *chain, const struct pith_chain *from,
                          struct pith_error *err)
{
    bool same = chain->stage_count == from->stage_count &&
                chain->row_elements == from->row_elements &&
                chain->decision.score_count == from->decision.score_count &&
                chain->decision.smooth_count == from->decision.smooth_count &&
                chain->decision.ticks_are_rows == from->decision.ticks_are_rows;

    for (size_t i = 0; same && i < chain->stage_count; i++)
        same = same_stage(&chain->stages[i], &from->stages[i]);
    if (!same)
        return pith_fail(
            err, -EINVAL,
            "the stages differ from those of the chain that runs: its windows can't be kept");
    for (size_t i = 0; i < chain->stage_count; i++) {
        struct window *to = &chain->stages[i].window;
        const struct window *was = &from->stages[i].window;
        to->filled = was->filled;
        to->skip = was->skip;
        to->foreign =
            to == chain->first_window ? 0 : was->filled; /* input rows are the same for all */
        if (was->filled > 0)
            memcpy(to->rows, was->rows,
                   (size_t) (was->filled * was->row_elements) * sizeof *to->rows);
    }
    for (size_t i = 0; i < chain->stage_count; i++)
        for (size_t k = 0; k < chain->stages[i].runner_count; k++)
            runner_take_state(&chain->stages[i].runners[k], &from->stages[i].runners[k]);
    decision_take_state(&chain->decision, &from->decision);
    chain->row = from->row;
    chain->cpu_carried_ns = from->cpu_carried_ns;
    return 0;
}

uint64_t pith_chain_row(const struct pith_chain *chain)
{
    return chain->row;
}

uint64_t pith_chain_memory_bytes(const struct pith_chain *chain)
{
    uint64_t bytes = (uint64_t) (chain->scratch_rows * chain->row_elements) * sizeof(float);

    for (size_t i = 0; i < chain->stage_count; i++) {
        const struct stage *stage = &chain->stages[i];
        bytes +=
            (uint64_t) (stage->window.size * stage->window.row_elements + stage->block_elements) *
            sizeof(float);
        for (size_t k = 0; k < stage->runner_count; k++) {
            const struct runner *runner = &stage->runners[k];
            bytes += runner->session_bytes + runner_memory_bytes(runner) +
                     (runner->converted ? (uint64_t) runner->output_elements * sizeof(float) : 0);
        }
    }
    return bytes + decision_memory_bytes(&chain->decision);
}

size_t pith_chain_score_count(const struct pith_chain *chain)
{
    return chain->decision.score_count;
}

const char *pith_chain_label(const struct pith_chain *chain, size_t index)
{
    return chain->decision.scores[index].label;
}

struct pith_session *pith_chain_session(const struct pith_chain *chain, size_t graph_index,
                                        const struct pith_engine_ops **out_engine)
{
    for (size_t i = 0; i < chain->stage_count; i++)
        for (size_t k = 0; k < chain->stages[i].runner_count; k++)
            if (chain->stages[i].runners[k].graph_index == graph_index) {
                *out_engine = chain->stages[i].runners[k].engine;
                return chain->stages[i].runners[k].session;
            }
    return NULL;
}
