/* Engine plugins: compile a graph into a session, and run it. */
#ifndef PITH_ENGINE_H
#define PITH_ENGINE_H

#include <pith/graph.h>
#include <pith/plugin.h>

struct pith_session; /* the engine's own */

struct pith_engine_options {
    uint32_t size_bytes;
    uint32_t threads;   /* 1 or more */
    uint32_t profile;   /* 1: keep a time per step; costs a clock reading a step */
    /* As many as the graph has inputs. NULL: what the graph declares. An engine may refuse unknown dimensions; where it
     * takes them (engine native does) they may differ from run to run, and the first run of a shape compiles for it. */
    const struct pith_shape *input_shapes;
    const struct pith_option_value *options; /* of the plugin's table */
};

struct pith_step_description {
    const char *name;    /* the node it came from */
    const char *kernel;  /* what runs it: "conv_s8", "image_conv_s8 sparse avx512vnni", "reshape (no copy)" */
    struct pith_shape shape; /* of its first output */
    uint64_t macs;
    uint64_t run_count;  /* with profile */
    uint64_t time_ns;    /* sum over runs, with profile */
};

struct pith_session_description {
    uint64_t arena_bytes;  /* activations and scratch */
    uint64_t weight_bytes; /* packed or converted copies; constants used where they lie are not counted */
    const struct pith_step_description *steps; /* the session's, until its next run or close */
    size_t step_count;
};

struct pith_engine_ops {
    uint32_t size_bytes;
    /* Calls `unsupported` (may be NULL) once for each node that this engine can't run. Returns 0 where it runs them all,
     * -ENOTSUP with *err naming the first otherwise. */
    int (*supports)(const struct pith_graph *graph,
                    void (*unsupported)(void *user, uint32_t node, const char *why), void *user,
                    struct pith_error *err);
    /* Everything is decided and all memory taken here. graph is borrowed for the call: a session that needs it later clones
     * it, which shares the constants. */
    int (*compile)(const struct pith_host *host, const struct pith_graph *graph,
                   const struct pith_engine_options *options, struct pith_session **out, struct pith_error *err);
    /* inputs: in the order of the graph's inputs, of the compiled shapes (else -EINVAL).
     * outputs: as many structs as the graph has outputs; filled, their data is the session's and valid until its next run.
     * Allocates nothing where all shapes are known when compiled. */
    int (*run)(struct pith_session *session, const struct pith_tensor *inputs, size_t input_count,
               struct pith_tensor *outputs, size_t output_count, struct pith_error *err);
    /* Optional; then bytes and steps are unknown. */
    int (*describe)(struct pith_session *session, struct pith_session_description *out);
    void (*close)(struct pith_session *session); /* NULL is fine */
    /* Optional, since ABI 1.1. Opens what the engine needs from outside itself (a library that is looked for at run time),
     * for a host that is about to give up the right to open files. Any number of calls. Returns 0, or why this engine can
     * run nothing here: `supports` then refuses every graph with the same sentence. */
    int (*prepare)(struct pith_error *err);
};

#endif
