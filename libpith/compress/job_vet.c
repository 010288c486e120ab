/* Vetting: the first time that a model is read, compiled and run. Whatever is wrong with it is
 * found here, in the worker's sandbox, and told in a sentence. */
#include "libpith/compress/job_parts.h"

#include "libpith/base/clock.h"
#include "libpith/base/file.h"
#include "libpith/formats/onnx.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_RUN_MAX_ELEMENTS                                                                     \
    (INT64_C(1) << 26)       /* fed without a result: the windows never fill                       \
                              */
#define FIRST_RUN_BLOCK 4096 /* elements fed at a time, about */

/* ---- reading ---- */

static bool find_original(const struct job *job, struct job_graph *graph)
{
    job_path(job, graph->file, "original/%s.onnx", graph->name);
    if (job_file_exists(graph->file))
        return true;
    job_path(job, graph->file, "original/%s.onnx.zst", graph->name);
    return job_file_exists(graph->file);
}

static int digest_of(const struct pith_buffer *file, char hex[PITH_SHA256_HEX + 1])
{
    uint8_t digest[PITH_SHA256_BYTES];
    int rc = pith_sha256(file->data, file->bytes, digest);

    if (rc == 0)
        pith_hex_encode(hex, digest, sizeof digest);
    return rc;
}

static void weigh_constants(const struct pith_graph *graph, double *halves, double *all)
{
    for (uint32_t value = 0; value < pith_graph_value_limit(graph); value++) {
        const struct pith_tensor *constant = pith_value_constant(graph, value);

        if (!constant)
            continue;
        *all += (double) constant->bytes;
        if (constant->dtype == PITH_FLOAT16 || constant->dtype == PITH_BFLOAT16)
            *halves += (double) constant->bytes;
    }
    for (uint32_t node = 0; node < pith_graph_node_limit(graph); node++)
        for (size_t i = 0; pith_node_exists(graph, node) && i < pith_node_attribute_count(graph, node);
             i++)
            if (pith_node_attribute_kind(graph, node, i) == PITH_ATTRIBUTE_GRAPH)
                weigh_constants(
                    pith_node_graph(graph, node, pith_node_attribute_name(graph, node, i)), halves,
                    all);
}

/* Bytes at rest are those of the file as delivered, packed as variants are: so both are counted
 * alike. */
static int size_original(struct job *job, struct job_graph *graph, struct pith_error *err)
{
    size_t limit = (size_t) job->settings.graph_max_bytes;
    struct pith_buffer file = {0}, raw = {0}, packed = {0};
    bool zstd = strlen(graph->file) > 4 && !strcmp(graph->file + strlen(graph->file) - 4, ".zst");
    int rc = pith_file_read(graph->file, limit, &file, err);

    if (rc == 0)
        rc = digest_of(&file, graph->sha256);
    if (rc == 0 && zstd)
        rc = pith_zstd_decompress(file.data, file.bytes, limit, &raw, err);
    const struct pith_buffer *unpacked = zstd ? &raw : &file;
    double halves = 0, all = 0;

    if (rc == 0)
        rc = pith_zstd_compress(unpacked->data, unpacked->bytes, PITH_ZSTD_LEVEL, &packed, err);
    if (rc == 0)
        pith_facts_of_graph(&graph->facts, graph->original, packed.bytes, unpacked->bytes);
    weigh_constants(graph->original, &halves, &all);
    graph->half_ratio = all > 0 ? halves / all : 0;
    pith_buffer_done(&file);
    pith_buffer_done(&raw);
    pith_buffer_done(&packed);
    return rc;
}

static int read_original(struct job *job, struct job_graph *graph, struct pith_error *err)
{
    int rc;

    if (!find_original(job, graph))
        return pith_fail(err, -ENOENT, "original/%s.onnx is missing", graph->name);
    rc = pith_graph_open(&graph->original, graph->file, (size_t) job->settings.graph_max_bytes, err);
    if (rc == 0)
        rc = job_pick_engine(job, graph->original, &graph->engine, err);
    if (rc < 0)
        return pith_fail_in(err, rc, "graph %s", graph->name);
    pith_facts_init(&graph->facts);
    return size_original(job, graph, err);
}

int job_pick_engine(const struct job *job, const struct pith_graph *graph,
                    const struct job_engine **out, struct pith_error *err)
{
    struct pith_error first = {0};

    for (size_t i = 0; i < job->engine_count; i++) {
        struct pith_error why = {0};

        if (job->engines[i].ops->supports(graph, NULL, NULL, &why) == 0) {
            *out = &job->engines[i];
            return 0;
        }
        if (i == 0)
            first = why;
    }
    return pith_fail(err, -ENOTSUP, "no engine here runs it; %s: %s", job->engines[0].plugin->name,
                     pith_error_text(&first));
}

/* ---- first runs ---- */

struct first_run {
    struct job *job;
    bool result;
    bool finite;
};

static int keep_inputs(void *user, size_t graph_index, const struct pith_tensor *inputs,
                       size_t input_count)
{
    struct first_run *run = user;
    struct job_graph *graph = &run->job->graphs[graph_index];

    if (graph->samples.seen > 0)
        return 0;
    return pith_samples_offer(&graph->samples, inputs, input_count, NULL);
}

static int see_result(void *user, const struct pith_result *result)
{
    struct first_run *run = user;

    run->result = true;
    for (size_t i = 0; i < result->score_count; i++)
        if (!isfinite(result->scores[i].score))
            run->finite = false;
    return 0;
}

/* Uniform noise of a size that is usual for the type. */
static void fill_rows(struct pith_tensor *rows, bool noise, uint64_t *random)
{
    int64_t elements = pith_shape_elements(&rows->shape);

    memset(rows->data, 0, rows->bytes);
    for (int64_t i = 0; noise && i < elements; i++) {
        double u = (double) (pith_random(random) >> 11) / 9007199254740992.0;

        switch (rows->dtype) {
        case PITH_UINT8:
            u = floor(u * 256);
            break;
        case PITH_INT8:
            u = floor(u * 256) - 128;
            break;
        case PITH_FLOAT32:
        case PITH_FLOAT64:
        case PITH_FLOAT16:
        case PITH_BFLOAT16:
            u = u * 2 - 1;
            break;
        case PITH_BOOL:
            u = u < 0.5;
            break;
        case PITH_INT32: /* as wide as indices of a table are, of which a larger one may not be there */
            u = floor(u * 2);
            break;
        default:
            u = floor(u * 2000) -
                (rows->dtype == PITH_UINT16 || rows->dtype == PITH_UINT32 ? 0 : 1000);
        }
        pith_tensor_set(rows, i, u);
    }
}

/* Feeds until the first result. */
static int feed_until_result(struct job *job, struct pith_chain *chain, bool noise,
                             struct first_run *run, struct pith_error *err)
{
    int64_t row = pith_shape_elements(&job->manifest->input_row), fed = 0;
    int64_t rows = row > 0 && row < FIRST_RUN_BLOCK ? FIRST_RUN_BLOCK / row : 1;
    uint64_t random = 0x5851f42d4c957f2du;
    int64_t dims[PITH_MAX_RANK] = {rows};
    struct pith_tensor block = {0};
    int rc;

    memcpy(dims + 1, job->manifest->input_row.dim, (PITH_MAX_RANK - 1) * sizeof *dims);
    struct pith_shape shape = pith_shape_of(job->manifest->input_row.rank + 1, dims);

    if (job->manifest->input_row.rank >= PITH_MAX_RANK)
        return pith_fail(err, -EINVAL, "rows of rank %d; %d is the most", PITH_MAX_RANK,
                         PITH_MAX_RANK - 1);
    rc = pith_tensor_alloc(&block, job->manifest->input_dtype, &shape, err);
    while (rc == 0 && !run->result && fed < FIRST_RUN_MAX_ELEMENTS) {
        fill_rows(&block, noise, &random);
        rc = job_check_cancelled(job, err);
        if (rc == 0)
            rc = pith_chain_feed(chain, &block, see_result, run, err);
        fed += rows * row;
    }
    if (rc == 0 && !run->result)
        rc = pith_fail(err, -EBADMSG,
                       "gives no result after %lld values of input: its windows never fill",
                       (long long) fed);
    pith_tensor_free(&block);
    return rc;
}

static int check_arenas(struct job *job, struct pith_chain *chain, struct pith_error *err)
{
    for (size_t i = 0; i < job->graph_count; i++) {
        const struct pith_engine_ops *ops = NULL;
        struct pith_session *session = pith_chain_session(chain, i, &ops);
        struct pith_session_description description = {0};

        if (!session || !ops->describe || ops->describe(session, &description) < 0)
            continue;
        job->graphs[i].facts.arena_bytes = (double) description.arena_bytes;
        if (job->settings.activation_max_bytes > 0 &&
            description.arena_bytes > (uint64_t) job->settings.activation_max_bytes)
            return pith_fail(err, -EFBIG,
                             "graph %s takes %llu bytes for activations; %lld is the most here",
                             job->graphs[i].name, (unsigned long long) description.arena_bytes,
                             (long long) job->settings.activation_max_bytes);
    }
    return 0;
}

/* A model may divide by the size of silence, so NaN is forgiven on zeros; on noise it is not. */
static int first_runs(struct job *job, struct pith_error *err)
{
    struct first_run run = {.job = job, .finite = true};
    struct pith_chain *chain = NULL;
    int rc = job_open_chain(job, NULL, NULL, false, &chain, err);

    if (rc < 0)
        return rc;
    rc = check_arenas(job, chain, err);
    for (size_t i = 0; i < job->graph_count; i++)
        pith_samples_init(&job->graphs[i].samples, 1, 1);
    if (rc == 0) {
        rc = feed_until_result(job, chain, false, &run, err);
        if (rc == -EBADMSG && !run.result)
            rc = 0; /* the noise below says whether it was the zeros */
    }
    if (rc == 0) {
        run = (struct first_run){.job = job, .finite = true};
        pith_chain_reset(chain);
        pith_chain_set_tap(chain, keep_inputs, &run);
        rc = feed_until_result(job, chain, true, &run, err);
    }
    if (rc == 0 && !run.finite)
        rc = pith_fail(err, -EBADMSG, "gives NaN or infinite scores for noise");
    pith_chain_close(chain);
    return rc;
}

void job_measure_work(const struct job *job, size_t graph, const struct pith_graph *form,
                      struct pith_facts *facts)
{
    const struct pith_samples *samples = &job->graphs[graph].samples;
    struct pith_shape shapes[PITH_SAMPLES_MAX_INPUTS];

    if (samples->count == 0 || samples->input_count != pith_graph_input_count(form))
        return; /* no stage reaches this graph */
    for (size_t i = 0; i < samples->input_count; i++) {
        struct pith_tensor input;

        pith_samples_get(samples, 0, i, &input);
        shapes[i] = input.shape;
    }
    pith_facts_of_work(facts, form, shapes);
}

static void add_vet_step(struct job *job, uint64_t started_ns)
{
    struct pith_facts total;
    char text[160];

    pith_facts_init(&total);
    total = job->graphs[0].facts;
    for (size_t i = 1; i < job->graph_count; i++)
        pith_facts_sum(&total, &job->graphs[i].facts);
    (void) snprintf(text, sizeof text, "%zu graph%s read, checked and run on zeros and noise",
                    job->graph_count, job->graph_count == 1 ? "" : "s");
    job_add_step(job, "vet", text, NULL, &total, started_ns);
}

int job_vet(struct job *job, struct pith_error *err)
{
    uint64_t started_ns = pith_monotonic_ns();
    int rc = 0;

    job_say(job, "vetting", 0, 0.05, "reading the model");
    for (size_t i = 0; rc == 0 && i < job->graph_count; i++) {
        job->graphs[i].name = job->manifest->graphs[i].name;
        rc = read_original(job, &job->graphs[i], err);
        if (rc == 0)
            rc = job_check_cancelled(job, err);
    }
    if (rc == 0)
        rc = first_runs(job, err);
    for (size_t i = 0; rc == 0 && i < job->graph_count; i++)
        job_measure_work(job, i, job->graphs[i].original, &job->graphs[i].facts);
    if (rc == 0)
        add_vet_step(job, started_ns);
    job->rejected = rc < 0 && rc != -ECANCELED && rc != -ENOMEM && rc != -ENOENT && rc != -EIO;
    /* Whoever asked for the job tells a model at fault by one of two codes: what it holds, or what
     * nothing here runs. Stages and graphs that don't fit come as a bad argument of the chain's. */
    return job->rejected && rc != -ENOTSUP && rc != -EBADMSG
               ? pith_fail_in(err, -EBADMSG, "model %s", job->manifest->model)
               : rc;
}
