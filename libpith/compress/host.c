/* The host of techniques. To show values inside a graph, a clone gets them as outputs: any engine
 * can then show them. */
#include "libpith/compress/host.h"

#include "libpith/base/log.h"

#include <errno.h>
#include <stdlib.h>

static void host_log(void *context, uint32_t level, const char *event, const char *text)
{
    char quoted[512];

    (void) context;
    pith_log(level, event, "text=%s", pith_log_quote(text, quoted, sizeof quoted));
}

static void host_progress(void *context, double done_ratio)
{
    const struct pith_technique_host *host = context;

    if (host->progress)
        host->progress(host->user, done_ratio);
}

static int host_cancelled(void *context)
{
    const struct pith_technique_host *host = context;

    return host->cancelled ? host->cancelled(host->user) : 0;
}

static uint64_t host_sample_count(void *context)
{
    const struct pith_technique_host *host = context;

    return host->samples ? host->samples->count : 0;
}

enum seen_as { SEEN_AS_OUTPUT, SEEN_AS_INPUT, SEEN_AS_CONSTANT };

struct observation {
    const struct pith_technique_host *host;
    struct pith_graph *graph; /* own clone */
    struct pith_session *session;
    struct pith_tensor *inputs, *outputs;
    size_t input_count, output_count;
    const uint32_t *values;
    size_t value_count;
    enum seen_as *seen_as; /* a value */
    size_t *slot;          /* a value: of the input or output */
};

static int place_value(struct observation *seen, size_t index, struct pith_error *err)
{
    uint32_t value = seen->values[index];
    int rc;

    if (value >= pith_graph_value_limit(seen->graph))
        return pith_fail(err, -EINVAL,
                         "a technique asked for value %u, which the graph doesn't have", value);
    if (pith_value_constant(seen->graph, value)) {
        seen->seen_as[index] = SEEN_AS_CONSTANT;
        return 0;
    }
    for (size_t i = 0; i < pith_graph_input_count(seen->graph); i++)
        if (pith_graph_input(seen->graph, i) == value &&
            !pith_value_quantization(seen->graph, value)) {
            seen->seen_as[index] = SEEN_AS_INPUT;
            seen->slot[index] = i;
            return 0;
        }
    seen->seen_as[index] = SEEN_AS_OUTPUT;
    for (size_t i = 0; i < pith_graph_output_count(seen->graph); i++)
        if (pith_graph_output(seen->graph, i) == value) {
            seen->slot[index] = i;
            return 0;
        }
    seen->slot[index] = pith_graph_output_count(seen->graph);
    rc = pith_graph_add_output(seen->graph, value);
    return rc < 0 ? pith_fail(err, rc, "value \"%s\" can't be observed",
                              pith_value_name(seen->graph, value))
                  : 0;
}

static int open_observation(struct observation *seen, const struct pith_graph *graph,
                            struct pith_error *err)
{
    const struct pith_technique_host *host = seen->host;
    struct pith_shape shapes[PITH_SAMPLES_MAX_INPUTS];
    struct pith_engine_options options = {.size_bytes = sizeof options,
                                          .threads = host->threads > 0 ? host->threads : 1,
                                          .input_shapes = shapes,
                                          .options = host->engine_options};
    int rc = pith_graph_clone(graph, &seen->graph, err);

    if (rc < 0)
        return rc;
    seen->seen_as = calloc(seen->value_count + 1, sizeof *seen->seen_as);
    seen->slot = calloc(seen->value_count + 1, sizeof *seen->slot);
    if (!seen->seen_as || !seen->slot)
        return -ENOMEM;
    for (size_t i = 0; rc == 0 && i < seen->value_count; i++)
        rc = place_value(seen, i, err);
    if (rc == 0)
        rc = pith_graph_validate(seen->graph, err);
    if (rc < 0)
        return rc;
    seen->input_count = pith_graph_input_count(seen->graph);
    seen->output_count = pith_graph_output_count(seen->graph);
    if (seen->input_count != host->samples->input_count)
        return pith_fail(err, -EINVAL, "the samples have %zu inputs, the graph takes %zu",
                         host->samples->input_count, seen->input_count);
    seen->inputs = calloc(seen->input_count + 1, sizeof *seen->inputs);
    seen->outputs = calloc(seen->output_count + 1, sizeof *seen->outputs);
    if (!seen->inputs || !seen->outputs)
        return -ENOMEM;
    for (size_t i = 0; i < seen->input_count; i++) {
        pith_samples_get(host->samples, 0, i, &seen->inputs[i]);
        shapes[i] = seen->inputs[i].shape;
    }
    return host->engine->compile(&host->host, seen->graph, &options, &seen->session, err);
}

static void close_observation(struct observation *seen)
{
    if (seen->session)
        seen->host->engine->close(seen->session);
    free(seen->inputs);
    free(seen->outputs);
    free(seen->seen_as);
    free(seen->slot);
    pith_graph_free(seen->graph);
}

static int show_sample(struct observation *seen, uint64_t sample, pith_observer *observer,
                       void *user, struct pith_error *err)
{
    int rc;

    for (size_t i = 0; i < seen->input_count; i++)
        pith_samples_get(seen->host->samples, sample, i, &seen->inputs[i]);
    rc = seen->host->engine->run(seen->session, seen->inputs, seen->input_count, seen->outputs,
                                 seen->output_count, err);
    for (size_t i = 0; rc == 0 && i < seen->value_count; i++) {
        const struct pith_tensor *tensor = seen->seen_as[i] == SEEN_AS_INPUT
                                               ? &seen->inputs[seen->slot[i]]
                                           : seen->seen_as[i] == SEEN_AS_OUTPUT
                                               ? &seen->outputs[seen->slot[i]]
                                               : pith_value_constant(seen->graph, seen->values[i]);

        rc = observer(user, i, sample, tensor);
    }
    return rc;
}

static int host_observe(void *context, const struct pith_graph *graph, uint64_t first,
                        uint64_t count, const uint32_t *values, size_t value_count,
                        pith_observer *observer, void *user, struct pith_error *err)
{
    const struct pith_technique_host *host = context;
    struct observation seen = {.host = host, .values = values, .value_count = value_count};
    uint64_t there = host_sample_count(context);
    int rc;

    if (first > there || count > there - first)
        return pith_fail(err, -EINVAL, "samples %llu to %llu were asked for, there are %llu",
                         (unsigned long long) first, (unsigned long long) (first + count),
                         (unsigned long long) there);
    if (count == 0)
        return 0;
    rc = open_observation(&seen, graph, err);
    for (uint64_t i = first; rc == 0 && i < first + count; i++) {
        rc = host_cancelled(context) ? -ECANCELED : show_sample(&seen, i, observer, user, err);
    }
    close_observation(&seen);
    return rc;
}

static int host_evaluate(void *context, const struct pith_graph *graph, struct pith_evaluation *out,
                         struct pith_error *err)
{
    const struct pith_technique_host *host = context;

    return host->evaluate(host->user, graph, out, err);
}

void pith_technique_host_init(struct pith_technique_host *host)
{
    host->host = (struct pith_host){
        .size_bytes = sizeof host->host,
        .context = host,
        .log = host_log,
        .progress = host_progress,
        .cancelled = host_cancelled,
        .sample_count = host_sample_count,
        .observe = host_observe,
        .evaluate = host->evaluate ? host_evaluate : NULL,
    };
}
