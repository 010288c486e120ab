/* Recipes are YAML, and JSON is YAML too: one reader for both, so that a fault has a line and a
 * column in either. */
#include "libpith/compress/recipe.h"

#include "libpith/base/file.h"
#include "libpith/base/json.h"
#include "libpith/base/names.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define INSTALLED_RECIPES PITH_CONF_DIR "/recipes"

struct recipe_fields {
    const char *name, *summary;
    const struct pith_yaml_node *budget, *steps;
};

static const struct pith_yaml_field recipe_table[] = {
    {.key = "name",
     .type = PITH_YAML_NAME,
     .offset = offsetof(struct recipe_fields, name),
     .help = PITH_NAME_RULE},
    {.key = "summary",
     .type = PITH_YAML_TEXT,
     .offset = offsetof(struct recipe_fields, summary),
     .help = "one line of text"},
    {.key = "budget",
     .type = PITH_YAML_MAP_NODE,
     .offset = offsetof(struct recipe_fields, budget),
     .help = "limits such as accuracy_drop_points: 1.0"},
    {.key = "steps",
     .type = PITH_YAML_LIST_NODE,
     .offset = offsetof(struct recipe_fields, steps),
     .required = true,
     .help = "a list of techniques, such as - quantize: {activations: int8}"},
    {.key = NULL},
};

static const struct pith_yaml_field budget_table[] = {
    {.key = "accuracy_drop_points",
     .type = PITH_YAML_NUMBER,
     .offset = offsetof(struct pith_budget, accuracy_drop_points),
     .minimum = 0,
     .maximum = 100,
     .help = "points of accuracy that may be lost, 0 to 100"},
    {.key = "bytes_ratio",
     .type = PITH_YAML_NUMBER,
     .offset = offsetof(struct pith_budget, bytes_ratio),
     .minimum = 1e-6,
     .maximum = 1,
     .help = "a share of the original's bytes at rest, 16-bit floats counted as float32; above 0 and at most 1"},
    {.key = "max_bytes",
     .type = PITH_YAML_INT,
     .offset = offsetof(struct pith_budget, max_bytes),
     .minimum = 1,
     .maximum = 1e15,
     .help = "a number of bytes, 1 or more"},
    {.key = "latency_ms",
     .type = PITH_YAML_NUMBER,
     .offset = offsetof(struct pith_budget, latency_ms),
     .minimum = 1e-6,
     .maximum = 1e9,
     .help = "milliseconds, above 0"},
    {.key = "energy_ratio",
     .type = PITH_YAML_NUMBER,
     .offset = offsetof(struct pith_budget, energy_ratio),
     .minimum = 1e-6,
     .maximum = 1e6,
     .help = "a share of the original's energy, above 0"},
    {.key = "evaluations",
     .type = PITH_YAML_INT,
     .offset = offsetof(struct pith_budget, evaluations),
     .minimum = 1,
     .maximum = 1000,
     .help = "a number of evaluations, 1 to 1000"},
    {.key = NULL},
};

/* ---- reading ---- */

/* The techniques there are, for suggestions. */
static void unknown_technique(struct pith_yaml *yaml, const struct pith_yaml_node *at,
                              const char *word, const struct pith_plugins *plugins)
{
    const char *known[64] = {NULL};
    size_t count = 0;

    for (size_t i = 0; i < pith_plugins_count(plugins) && count + 1 < sizeof known / sizeof *known;
         i++) {
        const struct pith_plugin *plugin = pith_plugins_entry(plugins, i)->plugin;

        if (plugin && plugin->kind == PITH_KIND_TECHNIQUE)
            known[count++] = plugin->name;
    }
    const char *nearest = pith_nearest_name(word, known);

    if (nearest)
        pith_yaml_fault(yaml, at, "there is no technique \"%s\"; did you mean \"%s\"?", word,
                        nearest);
    else
        pith_yaml_fault(
            yaml, at, "there is no technique \"%s\"; `pith plugins` lists those that are installed",
            word);
}

/* Faults go to the document; -ENOMEM is returned, for a step must not get lost. */
static int read_step(struct pith_recipe *recipe, const struct pith_yaml_node *node,
                     const struct pith_plugins *plugins)
{
    struct pith_recipe_step *step = &recipe->steps[recipe->step_count];
    const struct pith_yaml_node *options = NULL, *at = node;
    const char *word = pith_yaml_scalar(node);
    int rc;

    if (pith_yaml_kind(node) == PITH_YAML_MAP && pith_yaml_count(node) == 1) {
        word = pith_yaml_key(node, 0);
        at = pith_yaml_key_node(node, 0);
        options = pith_yaml_item(node, 0);
        if (pith_yaml_is_null(options))
            options = NULL;
    }
    if (!word || !word[0]) {
        pith_yaml_fault(recipe->yaml, node,
                        "a step is one technique with its options, such as quantize: "
                        "{activations: int8}");
        return 0;
    }
    if (options && pith_yaml_kind(options) != PITH_YAML_MAP) {
        pith_yaml_fault(recipe->yaml, options,
                        "the options of %s must be a map, such as {activations: int8}", word);
        return 0;
    }
    if (pith_plugins_find(plugins, PITH_KIND_TECHNIQUE, word, &step->technique, NULL) < 0) {
        unknown_technique(recipe->yaml, at, word, plugins);
        return 0;
    }
    rc = pith_options_from_yaml(&step->options, step->technique->options, recipe->yaml, options,
                                NULL);
    if (rc == 0)
        recipe->step_count++;
    return rc == -ENOMEM ? rc : 0;
}

static int read_recipe(struct pith_recipe *recipe, const struct pith_plugins *plugins,
                       struct pith_error *err)
{
    struct recipe_fields fields = {0};

    pith_yaml_read(recipe->yaml, pith_yaml_root(recipe->yaml), recipe_table, &fields);
    if (fields.budget)
        pith_yaml_read(recipe->yaml, fields.budget, budget_table, &recipe->budget);
    if (fields.steps && pith_yaml_count(fields.steps) > PITH_RECIPE_MAX_STEPS)
        pith_yaml_fault(recipe->yaml, fields.steps, "there are %zu steps; %d is the most",
                        pith_yaml_count(fields.steps), PITH_RECIPE_MAX_STEPS);
    else
        for (size_t i = 0; fields.steps && i < pith_yaml_count(fields.steps); i++)
            if (read_step(recipe, pith_yaml_item(fields.steps, i), plugins) < 0)
                return -ENOMEM;
    if (pith_yaml_fault_count(recipe->yaml) > 0)
        return pith_fail(err, -EINVAL, "%s", pith_yaml_faults(recipe->yaml));
    if (fields.name) {
        free(recipe->name);
        recipe->name = strdup(fields.name);
    }
    recipe->summary = fields.summary ? strdup(fields.summary) : NULL;
    return !recipe->name || (fields.summary && !recipe->summary) ? -ENOMEM : 0;
}

/* "recipes/balanced.yaml" -> "balanced" */
static char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *name = strdup(slash ? slash + 1 : path);
    char *dot = name ? strstr(name, ".yaml") : NULL;

    if (dot)
        *dot = 0;
    return name;
}

int pith_recipe_parse(struct pith_recipe **out, const char *name, const void *text, size_t bytes,
                      const struct pith_plugins *plugins, struct pith_error *err)
{
    struct pith_recipe *recipe;
    int rc;

    if (bytes > PITH_RECIPE_MAX_BYTES)
        return pith_fail(err, -EINVAL, "%s: a recipe of %zu bytes; %d is the most", name, bytes,
                         PITH_RECIPE_MAX_BYTES);
    recipe = calloc(1, sizeof *recipe);
    if (!recipe)
        return -ENOMEM;
    recipe->budget = PITH_BUDGET_NONE;
    recipe->name = base_name(name);
    rc = recipe->name ? pith_yaml_parse(&recipe->yaml, name, text, bytes, err) : -ENOMEM;
    if (rc == 0)
        rc = read_recipe(recipe, plugins, err);
    if (rc < 0) {
        pith_recipe_free(recipe);
        return rc;
    }
    *out = recipe;
    return 0;
}

int pith_recipe_find(struct pith_recipe **out, const char *name, const char *path,
                     const struct pith_plugins *plugins, struct pith_error *err)
{
    struct pith_buffer text = {0};
    int rc = -ENOENT;

    if (!pith_name_valid(name))
        return pith_fail(err, -EINVAL, "\"%.80s\" can't be a recipe's name: " PITH_NAME_RULE, name);
    if (!path || !path[0])
        path = INSTALLED_RECIPES;
    for (const char *folder = path; *folder && rc == -ENOENT;) {
        size_t length = strcspn(folder, ":");
        char file[PATH_MAX];

        (void) snprintf(file, sizeof file, "%.*s/%s.yaml", (int) length, folder, name);
        rc = pith_file_read(file, PITH_RECIPE_MAX_BYTES, &text, err);
        if (rc == 0)
            rc = pith_recipe_parse(out, file, text.data ? (const char *) text.data : "", text.bytes,
                                   plugins, err);
        folder += length + (folder[length] == ':');
    }
    pith_buffer_done(&text);
    if (rc == -ENOENT)
        return pith_fail(err, rc, "there is no recipe \"%s\" (%s.yaml) in %s", name, name, path);
    return rc;
}

void pith_recipe_free(struct pith_recipe *recipe)
{
    if (!recipe)
        return;
    for (size_t i = 0; i < PITH_RECIPE_MAX_STEPS; i++)
        pith_options_done(&recipe->steps[i].options);
    pith_yaml_free(recipe->yaml);
    free(recipe->name);
    free(recipe->summary);
    free(recipe);
}

/* ---- telling ---- */

static json_t *option_json(const struct pith_option *option, const struct pith_option_value *value)
{
    json_t *list;

    switch (option->type) {
    case PITH_OPTION_INT:
        return json_integer(value->integer);
    case PITH_OPTION_FLOAT:
        return json_real(value->number);
    case PITH_OPTION_BOOL:
        return json_boolean(value->integer);
    case PITH_OPTION_STRINGS:
        list = json_array();
        for (size_t i = 0; i < value->text_count; i++)
            (void) json_array_append_new(list, json_string(value->texts[i]));
        return list;
    default:
        return value->text ? json_string(value->text) : json_null();
    }
}

static json_t *step_json(const struct pith_recipe_step *step, bool whole)
{
    json_t *options = json_object();

    for (size_t i = 0; step->technique->options && step->technique->options[i].name; i++)
        if (whole || step->options.values[i].given)
            (void) json_object_set_new(
                options, step->technique->options[i].name,
                option_json(&step->technique->options[i], &step->options.values[i]));
    return json_pack("{s:o}", step->technique->name, options);
}

json_t *pith_budget_json(const struct pith_budget *budget)
{
    json_t *object = json_object();

    if (budget->accuracy_drop_points >= 0)
        (void) json_object_set_new(object, "accuracy_drop_points",
                                   json_real(budget->accuracy_drop_points));
    if (budget->bytes_ratio > 0)
        (void) json_object_set_new(object, "bytes_ratio", json_real(budget->bytes_ratio));
    if (budget->max_bytes > 0)
        (void) json_object_set_new(object, "max_bytes", json_integer(budget->max_bytes));
    if (budget->latency_ms > 0)
        (void) json_object_set_new(object, "latency_ms", json_real(budget->latency_ms));
    if (budget->energy_ratio > 0)
        (void) json_object_set_new(object, "energy_ratio", json_real(budget->energy_ratio));
    (void) json_object_set_new(object, "evaluations", json_integer(budget->evaluations));
    return object;
}

json_t *pith_recipe_json(const struct pith_recipe *recipe, bool whole)
{
    json_t *steps = json_array();

    for (size_t i = 0; i < recipe->step_count; i++)
        (void) json_array_append_new(steps, step_json(&recipe->steps[i], whole));
    return json_pack("{s:s, s:s*, s:o, s:o}", "name", recipe->name, "summary", recipe->summary,
                     "budget", pith_budget_json(&recipe->budget), "steps", steps);
}

int pith_budget_override(struct pith_budget *budget, const json_t *object, const char *where,
                         struct pith_error *err)
{
    static const char *const known[] = {
        "accuracy_drop_points", "bytes_ratio", "max_bytes", "latency_ms",
        "energy_ratio",         "evaluations", NULL};
    struct pith_budget made = *budget;
    int rc;

    if (!object)
        return 0;
    rc = pith_json_only(object, where, known, err);
    if (rc == 0)
        rc = pith_json_number_or(object, where, known[0], 0, 100, made.accuracy_drop_points,
                                 &made.accuracy_drop_points, err);
    if (rc == 0)
        rc = pith_json_number_or(object, where, known[1], 1e-6, 1, made.bytes_ratio,
                                 &made.bytes_ratio, err);
    if (rc == 0)
        rc = pith_json_int_or(object, where, known[2], 1, INT64_C(1) << 50, made.max_bytes,
                              &made.max_bytes, err);
    if (rc == 0)
        rc = pith_json_number_or(object, where, known[3], 1e-6, 1e9, made.latency_ms,
                                 &made.latency_ms, err);
    if (rc == 0)
        rc = pith_json_number_or(object, where, known[4], 1e-6, 1e6, made.energy_ratio,
                                 &made.energy_ratio, err);
    if (rc == 0)
        rc = pith_json_int_or(object, where, known[5], 1, 1000, made.evaluations, &made.evaluations,
                              err);
    if (rc == 0)
        *budget = made;
    return rc;
}
