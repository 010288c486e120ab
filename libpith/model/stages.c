/* The stages of a manifest: one reader a kind, in a table; then what must hold for the chain as a
 * whole. */
#include "libpith/model/manifest_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW_MAX_ROWS      (1 << 24)
#define EXPRESSION_MAX_BYTES 256
#define HOLD_OFF_MAX_MS      (24 * 3600 * 1000)
#define SMOOTH_MAX_COUNT     1000

static int find_graph(const struct pith_manifest *manifest, const char *name, const char *where,
                      size_t *out, struct pith_error *err)
{
    const char *known[PITH_MANIFEST_MAX_GRAPHS + 1] = {0};
    const char *nearest;

    for (size_t i = 0; i < manifest->graph_count; i++) {
        known[i] = manifest->graphs[i].name;
        if (strcmp(known[i], name) == 0) {
            *out = i;
            return 0;
        }
    }
    nearest = pith_nearest_name(name, known);
    if (nearest)
        return pith_fail(err, -EBADMSG, "%s: there is no graph \"%.64s\"; did you mean \"%s\"?",
                         where, name, nearest);
    return pith_fail(err, -EBADMSG, "%s: there is no graph \"%.64s\"", where, name);
}

static int read_window(const struct pith_manifest *manifest, struct pith_stage *stage,
                       const json_t *value, const char *where, struct pith_error *err)
{
    static const char *const known[] = {"size", "hop", "before", NULL};
    int rc;

    (void) manifest;
    if (!json_is_object(value))
        return pith_fail(err, -EBADMSG, "%s: must be an object with size and hop", where);
    if ((rc = pith_json_only(value, where, known, err)) < 0 ||
        (rc = pith_json_int(value, where, "size", 1, WINDOW_MAX_ROWS, &stage->size, err)) < 0)
        return rc;
    rc = pith_json_int_or(value, where, "hop", 1, WINDOW_MAX_ROWS, stage->size, &stage->hop, err);
    return rc < 0 ? rc
                  : pith_json_int_or(value, where, "before", 0, stage->size - 1, 0, &stage->before,
                                     err);
}

static int read_map(const struct pith_manifest *manifest, struct pith_stage *stage,
                    const json_t *value, const char *where, struct pith_error *err)
{
    const char *text = json_string_value(value);

    (void) manifest;
    if (!text || !text[0] || strlen(text) > EXPRESSION_MAX_BYTES)
        return pith_fail(err, -EBADMSG,
                         "%s: must be an expression in x of 1 to %d bytes, such as \"x / 10 + 2\"",
                         where, EXPRESSION_MAX_BYTES);
    stage->expression = strdup(text);
    return stage->expression ? 0 : manifest_no_memory(err);
}

static int read_graph(const struct pith_manifest *manifest, struct pith_stage *stage,
                      const json_t *value, const char *where, struct pith_error *err)
{
    if (!json_is_string(value))
        return pith_fail(err, -EBADMSG, "%s: must be the name of one of the graphs", where);
    stage->graph_count = 1;
    return find_graph(manifest, json_string_value(value), where, &stage->graph[0], err);
}

/* ---- what a graph's other inputs get ---- */

#define INPUT_MAX_VALUES 4096
#define INPUT_MAX_NAME   256

static int new_input(struct pith_stage *stage, const char *name, const char *where,
                     struct pith_stage_input **out, struct pith_error *err)
{
    struct pith_stage_input *inputs;

    if (!name[0] || strlen(name) > INPUT_MAX_NAME)
        return pith_fail(err, -EBADMSG, "%s: names of inputs have 1 to %d bytes", where,
                         INPUT_MAX_NAME);
    if (stage->input_count == PITH_STAGE_MAX_INPUTS)
        return pith_fail(err, -EBADMSG, "%s: more than %d inputs", where, PITH_STAGE_MAX_INPUTS);
    for (size_t i = 0; i < stage->input_count; i++)
        if (strcmp(stage->inputs[i].name, name) == 0)
            return pith_fail(err, -EBADMSG, "%s: \"%s\" is there already", where, name);
    inputs = realloc(stage->inputs, (stage->input_count + 1) * sizeof *inputs);
    if (!inputs)
        return manifest_no_memory(err);
    stage->inputs = inputs;
    *out = &inputs[stage->input_count];
    **out = (struct pith_stage_input){.name = strdup(name)};
    if (!(*out)->name)
        return manifest_no_memory(err);
    stage->input_count++;
    return 0;
}

/* A number, or a list of them. */
static int read_values(struct pith_stage_input *input, const json_t *value, const char *where,
                       struct pith_error *err)
{
    size_t count = json_is_array(value) ? json_array_size(value) : 1;

    if (count < 1 || count > INPUT_MAX_VALUES)
        return pith_fail(err, -EBADMSG, "%s: must be a number, or a list of 1 to %d", where,
                         INPUT_MAX_VALUES);
    input->values = calloc(count, sizeof *input->values);
    if (!input->values)
        return manifest_no_memory(err);
    input->value_count = count;
    for (size_t i = 0; i < count; i++) {
        const json_t *number = json_is_array(value) ? json_array_get(value, i) : value;

        if (!json_is_number(number))
            return pith_fail(err, -EBADMSG, "%s: must be a number, or a list of numbers", where);
        input->values[i] = json_number_value(number);
    }
    return 0;
}

static int read_inputs(struct pith_stage *stage, const json_t *object, const char *where,
                       struct pith_error *err)
{
    json_t *state, *fixed, *value;
    struct pith_stage_input *input;
    const char *name;
    char at[PITH_JSON_PATH_BYTES];
    int rc = pith_json_object(object, where, "state", false, &state, err);

    if (rc == 0)
        rc = pith_json_object(object, where, "inputs", false, &fixed, err);
    if (rc < 0)
        return rc;
    pith_json_path(at, sizeof at, where, "state");
    json_object_foreach(state, name, value)
    {
        const char *output = json_string_value(value);

        if (!output || !output[0] || strlen(output) > INPUT_MAX_NAME)
            return pith_fail(err, -EBADMSG,
                             "%s: each input names the output that it gets, such as "
                             "{\"state\": \"stateN\"}",
                             at);
        rc = new_input(stage, name, at, &input, err);
        if (rc < 0)
            return rc;
        input->output = strdup(output);
        if (!input->output)
            return manifest_no_memory(err);
    }
    pith_json_path(at, sizeof at, where, "inputs");
    json_object_foreach(fixed, name, value)
    {
        rc = new_input(stage, name, at, &input, err);
        if (rc == 0)
            rc = read_values(input, value, at, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

void manifest_stage_done(struct pith_stage *stage)
{
    for (size_t i = 0; i < stage->input_count; i++) {
        free(stage->inputs[i].name);
        free(stage->inputs[i].output);
        free(stage->inputs[i].values);
    }
    free(stage->inputs);
    free(stage->expression);
}

static int read_heads(const struct pith_manifest *manifest, struct pith_stage *stage,
                      const json_t *value, const char *where, struct pith_error *err)
{
    if (!json_is_array(value) || json_array_size(value) < 1 ||
        json_array_size(value) > PITH_MANIFEST_MAX_GRAPHS)
        return pith_fail(err, -EBADMSG, "%s: must be a list of 1 to %d graphs' names", where,
                         PITH_MANIFEST_MAX_GRAPHS);
    for (size_t i = 0; i < json_array_size(value); i++) {
        const char *name = json_string_value(json_array_get(value, i));
        char at[PITH_JSON_PATH_BYTES];
        int rc;

        (void) snprintf(at, sizeof at, "%s[%zu]", where, i);
        if (!name)
            return pith_fail(err, -EBADMSG, "%s: must be the name of one of the graphs", at);
        rc = find_graph(manifest, name, at, &stage->graph[i], err);
        if (rc < 0)
            return rc;
        for (size_t before = 0; before < i; before++)
            if (stage->graph[before] == stage->graph[i])
                return pith_fail(err, -EBADMSG, "%s: \"%s\" is there already", at, name);
        stage->graph_count++;
    }
    return 0;
}

static int read_decide(const struct pith_manifest *manifest, struct pith_stage *stage,
                       const json_t *value, const char *where, struct pith_error *err)
{
    static const char *const known[] = {"threshold", "hold_off_ms", "smooth_count", "every", NULL};
    int rc;

    (void) manifest;
    if (!json_is_object(value))
        return pith_fail(err, -EBADMSG, "%s: must be an object, such as {\"threshold\": 0.5}",
                         where);
    if ((rc = pith_json_only(value, where, known, err)) < 0 ||
        (rc = pith_json_number_or(value, where, "threshold", 0, 1, 0.5, &stage->threshold, err)) <
            0 ||
        (rc = pith_json_int_or(value, where, "hold_off_ms", 0, HOLD_OFF_MAX_MS, 0,
                               &stage->hold_off_ms, err)) < 0 ||
        (rc = pith_json_int_or(value, where, "smooth_count", 1, SMOOTH_MAX_COUNT, 1,
                               &stage->smooth_count, err)) < 0)
        return rc;
    return pith_json_bool_or(value, where, "every", false, &stage->every, err);
}

static const struct {
    const char *name;
    enum pith_stage_kind kind;
    int (*read)(const struct pith_manifest *manifest, struct pith_stage *stage, const json_t *value,
                const char *where, struct pith_error *err);
} stage_readers[] = {
    {"window", PITH_STAGE_WINDOW, read_window}, {"map", PITH_STAGE_MAP, read_map},
    {"graph", PITH_STAGE_GRAPH, read_graph},    {"heads", PITH_STAGE_HEADS, read_heads},
    {"decide", PITH_STAGE_DECIDE, read_decide},
};
#define STAGE_KINDS (sizeof stage_readers / sizeof *stage_readers)

static int read_stage(struct pith_manifest *manifest, const json_t *object, const char *where,
                      struct pith_error *err)
{
    struct pith_stage *stage = &manifest->stages[manifest->stage_count];
    const char *known[STAGE_KINDS + 3] = {0};
    bool is_graph = json_object_get(object, "graph") != NULL;
    char path[PITH_JSON_PATH_BYTES];
    int rc;

    size_t kinds = 0;

    for (size_t i = 0; i < STAGE_KINDS; i++) {
        known[i] = stage_readers[i].name;
        kinds += json_object_get(object, known[i]) != NULL;
    }
    if (is_graph) { /* which is told more of, beside it */
        static const char *const of_graph[] = {"graph", "state", "inputs"};

        memset(known, 0, sizeof known);
        memcpy(known, of_graph, sizeof of_graph);
    }
    if (!json_is_object(object) || kinds > 1 || (!is_graph && json_object_size(object) != 1))
        return pith_fail(err, -EBADMSG,
                         "%s: must be an object with one of window, map, graph, heads, decide",
                         where);
    rc = pith_json_only(object, where, known, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < STAGE_KINDS; i++) {
        const json_t *value = json_object_get(object, stage_readers[i].name);

        if (!value)
            continue;
        stage->kind = stage_readers[i].kind;
        pith_json_path(path, sizeof path, where, stage_readers[i].name);
        rc = stage_readers[i].read(manifest, stage, value, path, err);
    }
    if (rc == 0 && is_graph)
        rc = read_inputs(stage, object, where, err);
    if (rc == 0)
        manifest->stage_count++;
    return rc;
}

/* What no single stage can see. */
static int check_chain(const struct pith_manifest *manifest, struct pith_error *err)
{
    bool used[PITH_MANIFEST_MAX_GRAPHS] = {false};
    size_t graph_stages = 0;

    for (size_t i = 0; i < manifest->stage_count; i++) {
        const struct pith_stage *stage = &manifest->stages[i];
        const struct pith_stage *next = i + 1 < manifest->stage_count ? stage + 1 : NULL;

        if (stage->kind == PITH_STAGE_DECIDE && next)
            return pith_fail(err, -EBADMSG, MANIFEST ": stages[%zu].decide: must be the last stage",
                             i);
        if (stage->kind == PITH_STAGE_DECIDE && graph_stages == 0)
            return pith_fail(err, -EBADMSG,
                             MANIFEST ": stages[%zu].decide: no graph before it gives scores", i);
        if (stage->kind == PITH_STAGE_HEADS && next && next->kind != PITH_STAGE_DECIDE)
            return pith_fail(err, -EBADMSG,
                             MANIFEST ": stages[%zu].heads: only a decide stage may follow", i);
        for (size_t g = 0; g < stage->graph_count; g++) {
            if (used[stage->graph[g]])
                return pith_fail(err, -EBADMSG,
                                 MANIFEST
                                 ": stages[%zu]: graph \"%s\" is used by an earlier stage too",
                                 i, manifest->graphs[stage->graph[g]].name);
            used[stage->graph[g]] = true;
        }
        if (stage->kind == PITH_STAGE_HEADS && manifest->label_count &&
            manifest->label_count != stage->graph_count)
            return pith_fail(err, -EBADMSG, MANIFEST ": labels: %zu of them for %zu heads",
                             manifest->label_count, stage->graph_count);
        graph_stages += stage->kind == PITH_STAGE_GRAPH || stage->kind == PITH_STAGE_HEADS;
    }
    for (size_t g = 0; g < manifest->graph_count; g++)
        if (!used[g])
            return pith_fail(err, -EBADMSG, MANIFEST ": graphs.%s: no stage uses it",
                             manifest->graphs[g].name);
    return 0;
}

int manifest_stages(struct pith_manifest *manifest, struct pith_error *err)
{
    json_t *list;
    int rc = pith_json_array(manifest->json, MANIFEST, "stages", true, &list, err);

    if (rc < 0)
        return rc;
    if (json_array_size(list) < 1 || json_array_size(list) > PITH_MANIFEST_MAX_STAGES)
        return pith_fail(err, -EBADMSG, MANIFEST ": stages: %zu of them; there must be 1 to %d",
                         json_array_size(list), PITH_MANIFEST_MAX_STAGES);
    for (size_t i = 0; i < json_array_size(list); i++) {
        char where[64];

        (void) snprintf(where, sizeof where, MANIFEST ": stages[%zu]", i);
        rc = read_stage(manifest, json_array_get(list, i), where, err);
        if (rc < 0)
            return rc;
    }
    return check_chain(manifest, err);
}
