/* Models that are run over the same samples, in turns: what `pith eval` and `pith compare` share. */
#ifndef PITH_CLI_CONTEST_H
#define PITH_CLI_CONTEST_H

#include "cli/data.h"
#include "libpith/compress/evaluate.h"

struct contestant {
    const char *path;
    struct model *model;
    struct model_engine engine;
    struct pith_chain *chain;
    struct pith_outcomes outcomes;
    struct pith_metric *metric; /* NULL where there are no labels */
    double energy_uj;           /* of one result, measured; NAN: no meter could tell */
};
/* data: not settled yet. */
int contestant_open(struct contestant *one, const char *path, const struct pith_plugins *plugins,
                    const char *engine_name, uint32_t threads, const struct data *data,
                    struct pith_error *err) PITH_CHECKED;
void contestant_close(struct contestant *one);

/* Runs all samples through each, A B B A A B ..., so that a machine that warms up or is shared treats them alike. */
int contest_run(struct contestant *ones, size_t count, const struct data *data, struct pith_dataset *dataset,
                struct pith_error *err) PITH_CHECKED;
/* Where a meter of the whole machine is there, each runs alone for a while, in turns, and energy_uj is set: what the machine
 * took over what it takes at rest. Without one nothing happens. */
int contest_meter(struct contestant *ones, size_t count, const struct pith_plugins *plugins, struct pith_dataset *dataset,
                  struct pith_error *err) PITH_CHECKED;

/* Everything that is known of one, as JSON. cpu_power_mw: 0 where unknown. NULL: out of memory, *err says so. */
json_t *contestant_json(struct contestant *one, double cpu_power_mw, struct pith_error *err);
/* How b differs from a. */
json_t *contest_difference(const struct contestant *a, const struct contestant *b, struct pith_error *err);
/* Rows as a table: a figure a line, a model a column; with two, the ratio or difference too. comparison: NULL, or of them. */
void contest_print(const json_t *rows, const json_t *comparison);

#endif
