/* Recipes: an ordered list of techniques with options, and a budget. Written as YAML (recipes/<name>.yaml) or as JSON
 * (in a manifest or job.json); schemas/recipe.json and pith-recipe(5) say the same. */
#ifndef PITH_COMPRESS_RECIPE_H
#define PITH_COMPRESS_RECIPE_H

#include "libpith/base/yaml.h"
#include "libpith/plugin/plugins.h"
#include <jansson.h>

#define PITH_RECIPE_MAX_BYTES (64 * 1024)
#define PITH_RECIPE_MAX_STEPS 16

struct pith_budget {
    double accuracy_drop_points; /* most points to lose, of accuracy or, without labels, of fidelity; negative: none given */
    double bytes_ratio;          /* of the original's bytes at rest; 0: none given */
    int64_t max_bytes;           /* at rest; 0: none given */
    double latency_ms;           /* median of one result; 0: none given */
    double energy_ratio;         /* of the original's; 0: none given */
    int64_t evaluations;         /* most candidates to evaluate */
};
#define PITH_BUDGET_NONE ((struct pith_budget){.accuracy_drop_points = -1, .evaluations = 12})

struct pith_recipe_step {
    const struct pith_plugin *technique;
    struct pith_options options;
};

struct pith_recipe {
    char *name;               /* own */
    char *summary;            /* own; NULL: none */
    struct pith_budget budget;
    struct pith_recipe_step steps[PITH_RECIPE_MAX_STEPS];
    size_t step_count;
    struct pith_yaml *yaml;   /* own: what options point into */
};

/* name: of the file in faults ("recipes/balanced.yaml", "manifest: recipe"). Every fault is told, a line each, as
 * file:line:column: what, and what would be right, as far as *err holds. -EINVAL. */
int pith_recipe_parse(struct pith_recipe **out, const char *name, const void *text, size_t bytes,
                      const struct pith_plugins *plugins, struct pith_error *err) PITH_CHECKED;
/* <name>.yaml in the first folder of path (':' between them; NULL: the installed recipes) that has it. -ENOENT, with
 * where it was looked for. */
int pith_recipe_find(struct pith_recipe **out, const char *name, const char *path,
                     const struct pith_plugins *plugins, struct pith_error *err) PITH_CHECKED;
void pith_recipe_free(struct pith_recipe *recipe);
/* As checked. whole: every option with its value, else those that it gives. A new reference; NULL: out of memory. */
json_t *pith_recipe_json(const struct pith_recipe *recipe, bool whole);
json_t *pith_budget_json(const struct pith_budget *budget);
/* Members of `object` (NULL is fine) override those of *budget. */
int pith_budget_override(struct pith_budget *budget, const json_t *object, const char *where,
                         struct pith_error *err) PITH_CHECKED;

#endif
