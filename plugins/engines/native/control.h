/* What If, Loop and Scan share: sub-graphs as plans, compiled for the shapes that they are run
 * with. */
#ifndef PITH_NATIVE_CONTROL_H
#define PITH_NATIVE_CONTROL_H

#include "plugins/engines/native/plans.h"

enum control_kind { CONTROL_IF, CONTROL_LOOP, CONTROL_SCAN };

struct body {
    const struct pith_graph *graph; /* the node's, in the outer plan's clone; NULL: it is compiled, and gone */
    struct plans plans;
    struct plan *plan;              /* of `plans`, for the inputs that it was compiled for last; NULL: none */
    size_t capture_first;           /* entry of the step's inputs where its captures begin */
    struct pith_tensor *inputs;     /* room for a run's: its own, then the captures */
    bool *constant;                 /* a capture: the same data in each run */
    size_t own_count, capture_count;
    /* Not 0: it can't be compiled for these shapes, which matters only if it is taken. A model that
     * serves two sampling rates has a branch for each, and an input fits one of them. */
    struct pith_error refusal;
};

struct control {
    enum control_kind kind;
    struct plan_options options; /* of bodies */
    struct body body[2];         /* If: else, then. Loop, Scan: the first */
    size_t body_count;
    /* Loop, Scan: shapes of the outputs as far as inference tells them, for where no round runs; rank 0: not known. Own. */
    struct pith_shape *given;
    /* Scan */
    size_t scan_inputs;
    int64_t *axes;  /* of scan inputs, then of scan outputs; own */
    bool *backward; /* likewise */
};

/* Makes body->plan the one for the types and shapes in body->inputs. */
int body_compile(struct body *body, const struct plan_options *options, struct pith_error *err);
/* Brings this run's captures to body->inputs. */
void body_capture(struct body *body, const struct plan_step *step);
int body_run(struct body *body, struct pith_error *err);

/* ---- loop.c ---- */
int loop_run(struct plan *plan, struct plan_step *step, struct pith_error *err);
int scan_read(const struct pith_graph *graph, uint32_t node, struct control *control,
              struct pith_error *err);
int scan_run(struct plan *plan, struct plan_step *step, struct pith_error *err);

#endif
