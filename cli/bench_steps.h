/* What the steps of a compiled model take, one by one. */
#ifndef PITH_CLI_BENCH_STEPS_H
#define PITH_CLI_BENCH_STEPS_H

#include "cli/cli.h"
#include "libpith/compress/measure.h"

#include <jansson.h>

/* Runs the contender's graph `runs` times with a clock reading around each step. *out: a list of objects with name, kernel,
 * shape, macs and time_us, the mean of a run; a new reference, NULL where the engine tells no steps. */
int bench_steps(const struct pith_contender *contender, const struct pith_tensor *inputs, size_t input_count,
                uint32_t threads, uint32_t runs, json_t **out, struct pith_error *err) PITH_CHECKED;
/* The rows that have a list "steps", each as a table. */
void bench_steps_print(const json_t *rows);

#endif
