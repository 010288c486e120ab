/* See bench_steps.h. */
#include "cli/bench_steps.h"
#include "cli/output.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define WARM_UP_RUNS 3

static json_t *describe_shape(const struct pith_shape *shape)
{
    json_t *dims = json_array();

    for (uint32_t i = 0; i < shape->rank; i++)
        (void) json_array_append_new(dims, json_integer(shape->dim[i]));
    return dims;
}

static uint64_t total_ns(const struct pith_step_description *step)
{
    return step->run_count ? step->time_ns / step->run_count : 0;
}

static int describe(const struct pith_engine_ops *engine, struct pith_session *session,
                    json_t **out, struct pith_error *err)
{
    struct pith_session_description all = {0};
    json_t *list;

    if (engine->describe(session, &all) < 0)
        return pith_fail(err, -ENOMEM, "no memory for the list of steps");
    if (all.step_count == 0)
        return 0;
    list = json_array();
    for (size_t i = 0; i < all.step_count; i++)
        (void) json_array_append_new(list, json_pack("{ss ss so sI sf}", "name", all.steps[i].name,
                                                     "kernel", all.steps[i].kernel, "shape",
                                                     describe_shape(&all.steps[i].shape), "macs",
                                                     (json_int_t) all.steps[i].macs, "time_us",
                                                     (double) total_ns(&all.steps[i]) / 1e3));
    *out = list;
    return 0;
}

int bench_steps(const struct pith_contender *contender, const struct pith_tensor *inputs,
                size_t input_count, uint32_t threads, uint32_t runs, json_t **out,
                struct pith_error *err)
{
    static const struct pith_host no_host = {.size_bytes = sizeof no_host};
    const struct pith_engine_ops *engine = contender->engine;
    const size_t output_count = pith_graph_output_count(contender->graph);
    struct pith_shape *shapes = calloc(input_count + 1, sizeof *shapes);
    struct pith_tensor *outputs = calloc(output_count + 1, sizeof *outputs);
    struct pith_engine_options how = {.size_bytes = sizeof how,
                                      .threads = threads,
                                      .profile = 1,
                                      .input_shapes = shapes,
                                      .options = contender->options};
    struct pith_session *session = NULL;
    int rc = shapes && outputs ? 0 : pith_fail(err, -ENOMEM, "no memory for a run");

    *out = NULL;
    for (size_t i = 0; rc == 0 && i < input_count; i++)
        shapes[i] = inputs[i].shape;
    if (rc == 0 && engine->describe)
        rc = engine->compile(&no_host, contender->graph, &how, &session, err);
    for (uint32_t i = 0; session && rc == 0 && i < runs + WARM_UP_RUNS; i++)
        rc = engine->run(session, inputs, input_count, outputs, output_count, err);
    if (session && rc == 0)
        rc = describe(engine, session, out, err);
    if (session)
        engine->close(session);
    free(shapes);
    free(outputs);
    return rc;
}

static void print_shape(const json_t *dims, char *text, size_t bytes)
{
    size_t at = 0, index;
    json_t *dim;

    text[0] = 0;
    json_array_foreach(dims, index, dim)
    {
        const int written = snprintf(text + at, bytes - at, "%s%lld", index ? "x" : "",
                                     (long long) json_integer_value(dim));

        if (written < 0 || (size_t) written >= bytes - at)
            return;
        at += (size_t) written;
    }
}

static void print_steps(const json_t *steps)
{
    struct table *table = table_new(7);
    double total = 0.0;
    size_t index;
    json_t *step;

    json_array_foreach(steps, index, step) total += number_of(step, "time_us");
    table_row(table,
              (const char *const[]){"step", "kernel", "output", "MACs", "time", "share", "GMAC/s"});
    json_array_foreach(steps, index, step)
    {
        const double us = number_of(step, "time_us"), macs = number_of(step, "macs");
        char shape[96], rate[FIGURE_BYTES], text[3][FIGURE_BYTES];

        print_shape(json_object_get(step, "shape"), shape, sizeof shape);
        (void) snprintf(rate, sizeof rate, "%.1f", us > 0.0 ? macs / us / 1e3 : 0.0);
        table_row(table,
                  (const char *const[]){json_string_value(json_object_get(step, "name")),
                                        json_string_value(json_object_get(step, "kernel")), shape,
                                        macs > 0.0 ? figure_count(macs, text[0]) : NULL,
                                        figure_us(us, text[1]),
                                        figure_percent(total > 0.0 ? us / total : 0.0, text[2]),
                                        macs > 0.0 ? rate : NULL});
    }
    table_print(table);
    table_free(table);
}

void bench_steps_print(const json_t *rows)
{
    size_t index;
    json_t *row;

    json_array_foreach(rows, index, row)
    {
        const json_t *steps = json_object_get(row, "steps");

        if (!steps)
            continue;
        printf("\n%s, %s\n", json_string_value(json_object_get(row, "file")),
               json_string_value(json_object_get(row, "engine")));
        print_steps(steps);
    }
}
