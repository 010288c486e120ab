/* A plan: a graph as a flat list of steps over slots of memory, everything decided. Private to the
 * native engine.
 *
 * Slots are what steps read and write: one a value of the graph, and further ones for what the
 * engine puts in between (a float copy of a quantized value, folded weights). A slot is a constant,
 * an input of the plan, a piece of the arena, or heap memory where its size is only known in a run.
 * A view or an in-place result shares its root's memory. A step whose shapes or parameters depend
 * on data is `late`: it is inferred and prepared again in each run in which they changed.
 * Sub-graphs (If, Loop, Scan) are plans of their own; what they capture are further inputs. */
#ifndef PITH_NATIVE_PLAN_H
#define PITH_NATIVE_PLAN_H

#include "libpith/graph/grids.h"
#include "libpith/kernels/kernel.h"
#include "plugins/engines/native/fused.h"
#include "plugins/engines/native/team.h"
#include <pith/engine.h>

struct pith_operator;

#define PLAN_NO_SLOT   UINT32_MAX
#define PLAN_ALIGNMENT 64
#define PLAN_MAX_DEPTH 16 /* of sub-graphs in sub-graphs */

enum slot_place {
    SLOT_NOWHERE,
    SLOT_CONSTANT,
    SLOT_INPUT,
    SLOT_ARENA,
    SLOT_HEAP,
    SLOT_ROWS, /* between two steps of a row group: never there but for some rows, in scratch */
};

struct slot {
    struct pith_tensor tensor;                    /* dtype and shape as stored */
    bool known;                                   /* the shape is known before a run */
    const struct pith_quantization *quantization; /* of stored integers; NULL: plain */
    enum slot_place place;
    uint32_t root;       /* the slot whose memory this one has; itself in most cases */
    size_t input;        /* SLOT_INPUT: which */
    uint32_t next_form;  /* the same value laid out or stored another way: a ring of slots */
    uint32_t unrounded;  /* the floats that this slot has rounded to its grid, or PLAN_NO_SLOT */
    /* Where it lies channels-last. While the plan is built the halo grows with what its readers
     * need; strides, lead and the tensor's bytes are set when it is settled. */
    struct pith_image image;
    bool fixed;            /* an image in another slot's memory: no halo, and none to be had */
    uint32_t wide;         /* the slot in whose channels it lies, or PLAN_NO_SLOT */
    int64_t wide_channel;  /* the first of them */
    size_t lead_bytes;     /* from the memory's first byte to tensor.data */
    size_t first, last;    /* steps that need the memory, for a root */
    size_t offset;         /* SLOT_ARENA, for a root */
    size_t heap_bytes;     /* SLOT_HEAP: capacity of `heap` */
    void *heap;            /* own */
};

struct control; /* If, Loop, Scan: control.c */
struct row_group; /* steps that run together, a band of rows after the other: row_groups.c */

/* How much of a plan its team shares: a step never, or if it is short or long; and from which of them on (NONE: no step). */
enum plan_shared { SHARED_NEVER, SHARED_SHORT, SHARED_LONG, SHARED_NONE };

/* How a step sees channels-last operands. */
enum step_form {
    STEP_PLANAR,  /* it has none */
    STEP_IMAGE,   /* as images: a kernel made for them, or one of the engine's own */
    STEP_BLINDLY, /* as dense N,H,W,C tensors, halos included: a planar kernel that works element by
                     element */
};

struct plan_step {
    struct pith_step step; /* first, so that a kernel's step leads to it */
    uint32_t *in, *out; /* slots; PLAN_NO_SLOT where left out. Behind the struct, as all that is listed for each operand */
    size_t in_ports, out_ports; /* entries of each list of operands; those past the counts are left out */
    enum step_form form;
    struct pith_image *in_image, *out_image; /* own; NULL but for STEP_IMAGE */
    const struct pith_quantization **in_quantization, **out_quantization;
    const char *kernel_name;
    struct control *control; /* own; NULL for kernels */
    struct row_group *group;     /* the plan's; that it is a link of, or NULL */
    enum plan_shared shared; /* it, or the row group that it is the last link of */
    struct { /* STEP_BLINDLY: what is done to the output's halo after the kernel has run over it */
        struct pith_image image;
        struct pith_image_dims dims;
        size_t lead_bytes;
        uint32_t zero;
    } blind;
    int (*run)(struct pith_step *step, struct pith_error *err); /* NULL: a view */
    bool late;
    bool prepared;
    bool pending; /* prepared when the plan is settled */
    struct pith_shape *late_shapes; /* own; a late step's inputs when it was prepared last; NULL: not yet run */
    bool late_data;                 /* its preparation read data, so it holds for one run only */
    uint64_t run_count, time_ns;
};

struct plan_fixup { /* an operand that lies in an input of the plan */
    struct pith_tensor *operand;
    size_t input;
};

struct plan_entry { /* a step that computes, where nothing is decided in the run */
    int (*run)(struct pith_step *step, struct pith_error *err); /* NULL: control flow */
    struct pith_step *step;
    enum plan_shared shared; /* NEVER, or how long it takes alone */
};

#define PLAN_WAYS 3

struct plan_sharing { /* share.c */
    enum plan_shared least;          /* of what is shared now */
    unsigned period, runs_left;      /* between trials; until they begin anew */
    unsigned trial;                  /* runs of those under way */
    uint64_t spent_ns, slowest_ns;   /* by the counted runs of the way that is tried, and by one of them */
    uint64_t least_ns[PLAN_WAYS];    /* of a way's rounds */
};

struct plan_options {
    bool planar; /* every value lies as ONNX has it */
    bool plain; /* quantized values are executed literally: float, rounded to the grid */
    bool profile;
    uint32_t threads;
    uint64_t limit_bytes; /* of arena and heap together */
    unsigned depth;       /* of this plan among sub-graphs */
};

/* What kernels have said of a node when it was prepared. */
enum plan_refusal {
    REFUSED_NOT,
    REFUSED_INTEGERS, /* of channels-last values: floats may do */
    REFUSED_IMAGES,   /* no channels-last kernel takes it */
};

struct plan {
    struct pith_graph *graph; /* own clone; NULL once no run reads it */
    struct pith_grids grids;  /* what was the graph's, then */
    char *step_names;         /* own: the same */
    struct plan_options options;
    const char *name;
    struct slot *slots;
    uint32_t slot_count, slot_capacity;
    uint32_t *slot_of_value; /* a graph value's slot in stored form, or PLAN_NO_SLOT */
    uint32_t *user;          /* a value's only user, or PITH_NO_NODE */
    bool *absorbed;          /* a node that an earlier step does as well */
    uint8_t *refused;        /* a node's enum plan_refusal; who builds the plan owns it */
    struct plan_step **steps;
    size_t step_count, step_capacity;
    struct row_group **row_groups; /* own, in the order of their steps */
    size_t row_group_count;
    size_t input_count; /* graph inputs, then captures */
    uint32_t *input_slots;
    uint32_t *capture_outer; /* value in the graph around, a capture */
    size_t capture_count;
    size_t output_count;
    uint32_t *output_slots; /* plain form */
    bool has_late;
    bool reads_graph; /* runs do; told by plan_release_constants */
    struct plan_entry *entries;
    size_t entry_count;
    struct team *team; /* own; NULL: one thread */
    struct plan_sharing sharing;
    struct plan_fixup *fixups;
    size_t fixup_count;
    uint8_t *arena; /* one of `blocks`; scratch lies behind the slots */
    uint64_t arena_bytes, weight_bytes, heap_bytes;
    size_t scratch_offset;
    struct pith_blocks blocks; /* what plan_alloc gave */
};

/* ---- plan.c ---- */
/* graph: cloned. input_shapes: as many as it has inputs. captures: tensors for what it captures, in
 * its order: dtype and shape; data where constant. */
int plan_new(struct plan **out, const struct pith_graph *graph,
             const struct pith_shape *input_shapes, const struct pith_tensor *captures,
             const struct plan_options *options, struct pith_error *err);
void plan_free(struct plan *plan);
void *plan_alloc(struct plan *plan,
                 size_t bytes); /* zeroed, aligned, freed with the plan; NULL: no memory */
int plan_add_slot(struct plan *plan, int32_t dtype, const struct pith_shape *shape, uint32_t *out);
/* A constant of the plan's own memory, to be filled. */
int plan_add_constant(struct plan *plan, int32_t dtype, const struct pith_shape *shape,
                      uint32_t *out);
/* The slot of a graph value; for a constant it is made here, with its data aligned. */
int plan_slot(struct plan *plan, uint32_t value, uint32_t *out);
/* The same in float32 where the value is quantized. */
int plan_plain_slot(struct plan *plan, uint32_t value, uint32_t *out, struct pith_error *err);
/* Whether what is in the slot is another in each run, and of a shape that is known before it. */
bool plan_is_varying(const struct plan *plan, uint32_t slot);
/* Whether the operator is in the list, which NULL ends. */
bool plan_is_one_of(const char *op, const char *const *list);
/* Room for one item more in a table: *(void **) table is moved where *capacity is `count` already. 0; -ENOMEM. */
int plan_grow(void *table, size_t item_bytes, size_t count, size_t *capacity);

/* ---- step.c ---- */
struct plan_call { /* a step to be */
    const struct pith_kernel *kernel;
    uint32_t node; /* PITH_NO_NODE: one of the engine's own */
    const uint32_t *in, *out;
    size_t in_count, out_count;
    struct pith_activation activation;
    struct pith_residual residual;
    enum step_form form; /* not STEP_PLANAR: it is prepared when the plan is settled */
};
/* Makes the step and prepares it as far as is possible now. -ENOTSUP: nothing was added. */
int plan_add_step(struct plan *plan, const struct plan_call *call, struct pith_error *err);
/* operator: whose kernel it is for; NULL: any. */
int plan_step_new(const struct plan *plan, const struct pith_operator *operator, size_t in_count,
                  size_t out_count, struct plan_step **out);
int plan_push_step(struct plan *plan, struct plan_step *step);
/* Fills a step's operands from its slots. */
void plan_bind(struct plan *plan, struct plan_step *step);
void plan_step_free(struct plan_step *step);
const struct pith_kernel *plan_own_kernel(const char *op, int32_t in_dtype, int32_t out_dtype);

/* ---- rewrite.c ---- */
/* Takes out nodes that others can do in passing, or that undo each other; -ENOMEM. What the graph gives stays the same. */
int rewrite_graph(struct pith_graph *graph);

/* ---- build.c: node by node ---- */
int plan_build_node(struct plan *plan, uint32_t node, struct pith_error *err);
/* widened: for the types that pith_graph_widen would give. NULL where there is none, and *out_why (may be NULL) says why. */
const struct pith_kernel *plan_find_kernel(const struct pith_graph *graph, uint32_t node, bool widened,
                                           const char **out_why);
/* Sets the outputs' types of a node that inference has left, and gives them slots. */
int plan_output_slot(struct plan *plan, uint32_t value, uint32_t *out);

/* ---- fuse.c: what a producer can do in passing ---- */
/* Follows *value through operators that only it feeds and that an activation can stand for; marks
 * them absorbed. */
void fuse_activation(struct plan *plan, uint32_t *value, struct pith_activation *out);
/* Conv with a constant weight and a BatchNormalization behind it: new weight and bias slots, and
 * the value that it gives. */
int fuse_batch_norm(struct plan *plan, uint32_t node, uint32_t *value, uint32_t in[3],
                    bool *out_fused);
/* The value that an Add behind *value, its only user, adds to it, where that was made before and has
 * the same shape; *value is then what the Add gives. PITH_NO_VALUE: there is none such. */
uint32_t fuse_residual(struct plan *plan, uint32_t *value);
/* Of an Add that would be stored with what the node gives: the nodes, in the order to build them in, that lead from what is there
 * already to its other operand. 0: there is none, or what leads there is more than pools, pads and the like. */
#define FUSE_SHORTCUT_NODES 4
size_t fuse_shortcut(const struct plan *plan, uint32_t node, uint32_t out[FUSE_SHORTCUT_NODES]);
/* Takes back what was absorbed between `from` and the value `to` that it led to. */
void fuse_undo(struct plan *plan, uint32_t from, uint32_t to);

/* ---- integer.c: quantized values ---- */
/* 1: done with integer kernels; 0: not one for these, go on in float. */
int integer_build_node(struct plan *plan, uint32_t node, struct pith_error *err);
/* The operator moves elements without computing: what goes in on a grid comes out on it. */
bool integer_moves(const char *op);
/* The planar stored slot of a quantized activation, or PLAN_NO_SLOT. */
uint32_t integer_stored_input(struct plan *plan, uint32_t node, size_t index);
/* Steps between stored integers and floats. */
int integer_dequantize(struct plan *plan, uint32_t slot, uint32_t *out, struct pith_error *err);
int integer_quantize(struct plan *plan, uint32_t float_slot, uint32_t stored_slot,
                     struct pith_error *err);

/* ---- table.c: functions of one element between grids of 8 bits ---- */
/* 1: the node, and those behind it that belong to the function, are one step; 0: there is none; an error. */
int table_build_node(struct plan *plan, uint32_t node, struct pith_error *err);

/* ---- form.c: the forms in which a value is stored ---- */
struct form {
    bool channels_last; /* where the rank is 3 or 4 */
    bool real;          /* floats; else as stored */
    int32_t dtype;      /* of stored integers; PITH_DTYPE_NONE: whichever signedness there is */
    /* Of channels-last ones: may grow a halo; its channels are no part of wider ones; neither halo
     * nor gaps, ever. */
    bool halo, dense, compact;
};
bool form_is_eight_bits(const struct pith_quantization *quantization);
bool form_is_sixteen_bits(const struct pith_quantization *quantization);
bool form_has_image(const struct pith_shape *shape);
/* The value of `slot` in the form; a step that makes it where there is none yet. */
int form_of_slot(struct plan *plan, uint32_t slot, const struct form *form, uint32_t *out,
                 struct pith_error *err);
/* The same grid with its integers of another type of as many bits. NULL: no memory. */
const struct pith_quantization *form_grid(struct plan *plan, const struct pith_quantization *grid,
                                          int32_t dtype);
bool form_same_grid(const struct pith_quantization *a, const struct pith_quantization *b);
/* Makes `form` one more form of what `slot` holds. */
void form_join(struct plan *plan, uint32_t slot, uint32_t form);

/* ---- image.c: steps over channels-last values ---- */
/* 1: done; 0: the node is for planar kernels; an error. */
int image_build_node(struct plan *plan, uint32_t node, struct pith_error *err);
/* The same of stored integers that no kernel takes as they are: as floats. */
int image_build_floats(struct plan *plan, uint32_t node, struct pith_error *err);

/* ---- image_value.c ---- */
/* Whether the value may lie channels-last, and whether some form of it does. */
bool image_may_lie(const struct plan *plan, uint32_t value);
bool image_lies(const struct plan *plan, uint32_t value);
/* Whether some channels-last form of it is int16. */
bool image_has_words(const struct plan *plan, uint32_t value);
/* The value in channels-last form: floats, or integers as kernels here take them (int16, or pith_image_integer_dtype). */
int image_slot(struct plan *plan, uint32_t value, int32_t dtype, struct form extra, uint32_t *out,
               struct pith_error *err);
/* A slot for a value that a channels-last step gives, as floats or on a grid: its own, or where it has none and only elements
 * of a value on `grid` were moved, that one. */
int image_output(struct plan *plan, uint32_t value, const struct pith_quantization *grid, int32_t dtype, uint32_t *out);
/* Whether the value is on no grid, or on one for all of it, so that floats can be rounded however they lie. */
bool image_may_round(const struct plan *plan, uint32_t value);
/* A value on a grid that a step gives as floats: these are rounded to it, to integers of 8 bits or, on a wider grid, to
 * floats. */
int image_round_output(struct plan *plan, uint32_t value, struct pith_error *err);

/* ---- image_halo.c ---- */
struct halo { /* pixels */
    int64_t top, bottom, left, right;
};
/* How far the node's window reaches past the picture. False: its attributes are for the kernel to
 * refuse. */
bool image_window_halo(const struct plan *plan, uint32_t node, struct halo *out);

/* ---- image_move.c: what only moves elements of channels-last values, mostly without a step ---- */
int image_build_move(struct plan *plan, uint32_t node, struct pith_error *err);
/* The slot's memory under another shape: planar, or channels-last without a halo. */
int plan_add_alias(struct plan *plan, uint32_t slot, const struct pith_shape *shape,
                   bool channels_last, uint32_t *out);

/* ---- settle.c: halos, strides, and what was left unprepared ---- */
/* *out_refused: nodes were refused by their kernels and marked; the plan must be built anew. */
int plan_settle(struct plan *plan, bool *out_refused, struct pith_error *err);
/* A blind step's operands as its kernel sees them. */
void blind_bind(const struct plan *plan, struct plan_step *step);
int blind_run(struct pith_step *step, struct pith_error *err);

/* ---- constants.c ---- */
/* Lets go of constants that the steps have packed and no run reads: behind plan_settle, before plan_lay_out. From here on
 * the plan's graph has none. */
int plan_release_constants(struct plan *plan);
/* Lets go of the graph itself and of what only building needs, where no run reads it: behind plan_lay_out. */
int plan_release_graph(struct plan *plan);

/* ---- memory.c ---- */
int plan_lay_out(struct plan *plan, struct pith_error *err);

/* ---- row_groups.c: steps that run together, a band of rows after the other ---- */
/* Finds row_groups among the settled steps; their inner values are SLOT_ROWS from here on. */
int plan_find_row_groups(struct plan *plan);
void row_group_free(struct row_group *group);
struct pith_step *row_group_step(struct row_group *group); /* what runs all links */
/* Places of its first and last link among the plan's steps. */
size_t row_group_first(const struct row_group *group);
size_t row_group_last(const struct row_group *group);

/* ---- share.c ---- */
/* The list that a run goes through, and a team where the steps are worth one. */
int plan_list_entries(struct plan *plan);
/* With the team, in the way that takes the least time. */
int plan_run_shared(struct plan *plan, struct pith_error *err);

/* ---- run.c ---- */
/* Goes through the entries; those that are `least` or more, the team's. */
int plan_run_entries(struct plan *plan, enum plan_shared least, struct pith_error *err);
/* inputs: the graph's, then the captures. */
int plan_run(struct plan *plan, const struct pith_tensor *inputs, size_t input_count,
             struct pith_error *err);
/* Gives a heap slot room and sets its tensor. */
int plan_size_slot(struct plan *plan, uint32_t slot, const struct pith_shape *shape,
                   struct pith_error *err);
void plan_output(const struct plan *plan, size_t index, struct pith_tensor *out);

/* ---- control.c ---- */
bool control_is(const struct pith_graph *graph, uint32_t node);
int control_build(struct plan *plan, uint32_t node, struct pith_error *err);
int control_run(struct plan *plan, struct plan_step *step, struct pith_error *err);
void control_free(struct control *control);
/* An If whose branches are compiled once and for all: it needs their graphs no more. */
bool control_has_settled(const struct plan_step *step);
void control_drop_graphs(struct plan *plan, struct plan_step *step);
uint64_t control_arena_bytes(const struct control *control);
uint64_t control_weight_bytes(const struct control *control);

#endif
