/* One engine with one model, in a process of its own: so that its memory and load time are its own, and a library that
 * crashes or spins harms nobody else. The parent asks, the child answers with a line of JSON. */
#ifndef PITH_BENCH_CONTESTANT_H
#define PITH_BENCH_CONTESTANT_H

#include <jansson.h>
#include <pith/error.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#define CONTESTANT_ROUNDS_MAX 1000

/* ---- the parent's side ---- */

struct contestant {
    const char *engine; /* the plugin's name */
    pid_t pid;
    FILE *to, *from;
    bool ready;
    char reason[PITH_ERROR_TEXT_BYTES]; /* why not ready */
    double cosine; /* of its outputs to those that all are compared with; NAN: not ready */
    bool is_off;   /* a peer whose outputs differ too much, and that is timed all the same */
    double load_ms, rss_bytes, arena_bytes, weight_bytes, macs;
    char kernel[64]; /* library and version, where the engine tells */
    double quiet_us[CONTESTANT_ROUNDS_MAX], median_us[CONTESTANT_ROUNDS_MAX]; /* of each round */
    size_t rounds;
};

struct contestant_setup {
    const char *plugin_path; /* folder of the plugins */
    const char *model;       /* file */
    const char *shapes;      /* of the inputs: "1x576 2x1x128 -", "-" as declared; "" all as declared */
    const char *output_path; /* where the child writes its outputs for the fixed input, as float64 */
    int64_t integer;         /* what integer inputs are filled with */
    int threads;
    int cpu;                 /* to be pinned to, with one thread; -1: none */
};

/* Starts it; it loads, runs once and stops. A child that fails is not ready, with its reason: no error. */
int contestant_start(struct contestant *out, const char *engine, const struct contestant_setup *setup,
                     struct pith_error *err);
/* Wakes it for about round_ms; one round more in its lists. A child that fails is not ready from then on. */
void contestant_round(struct contestant *contestant, double round_ms);
void contestant_stop(struct contestant *contestant);

/* ---- the child's side ---- */

/* main() of a child: argv as contestant_start made it. Speaks on stdin and stdout. */
int contestant_main(int argc, char **argv);

#endif
