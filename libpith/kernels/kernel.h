/* The calling convention of kernels, and the one table that picks a kernel for a node.
 *
 * A graph becomes a flat list of steps. Everything is decided when a step is prepared (types and shapes are known then,
 * and constants are at hand): parameters, scratch, packed weights, whether the output may lie where an input lies.
 * Running a step only computes: it allocates nothing and looks at no attribute.
 *
 * A family of kernels is a file, libpith/kernels/<family>.c, that ends in a table:
 *
 *     const struct pith_kernel pith_kernels_pool[] = {
 *         {.op = "MaxPool", .name = "max_pool_f32", .types = {PITH_BIT(FLOAT32)}, .prepare = ..., .run = ...},
 *         {0},
 *     };
 *
 * and a line in kernel.c. Of several entries that fit, the first in the table wins: put fast forms before general ones. */
#ifndef PITH_KERNELS_KERNEL_H
#define PITH_KERNELS_KERNEL_H

#include <pith/graph.h>

#include "libpith/kernels/blocks.h"
#include "libpith/kernels/image.h"

#define PITH_BIT(dtype) (UINT32_C(1) << PITH_##dtype)
#define PITH_FLOATS (PITH_BIT(FLOAT32) | PITH_BIT(FLOAT64) | PITH_BIT(FLOAT16))
#define PITH_SIGNED_INTS (PITH_BIT(INT8) | PITH_BIT(INT16) | PITH_BIT(INT32) | PITH_BIT(INT64))
#define PITH_UNSIGNED_INTS (PITH_BIT(UINT8) | PITH_BIT(UINT16) | PITH_BIT(UINT32) | PITH_BIT(UINT64))
#define PITH_INTS (PITH_SIGNED_INTS | PITH_UNSIGNED_INTS)
#define PITH_NUMBERS (PITH_FLOATS | PITH_INTS)

/* Of nodes that stand for several of a model's, and that an engine makes. Their kernels check them like any other. */
#define PITH_FUSED_DOMAIN "pith.fused"

#define PITH_STEP_MAX_BYTES (INT64_C(1) << 32) /* of packed weights or scratch of one step: far past any edge model */

/* What a producer applies to its result x before it stores it: x < 0 ? slope * x : x, then no less than low and no more than
 * high. That is Relu, Clip, LeakyRelu, and LeakyRelu with a Max behind it. NaN stays NaN. */
struct pith_activation {
    bool set; /* false: nothing is applied, and the fields below are slope 1, low -INFINITY, high INFINITY */
    float slope, low, high;
};
#define PITH_ACTIVATION_NONE ((struct pith_activation){false, 1.0F, -__builtin_inff(), __builtin_inff()})

static inline float pith_activate(const struct pith_activation *a, float x)
{
    x = x < 0.0F ? a->slope * x : x;
    x = x < a->low ? a->low : x;
    return x > a->high ? a->high : x;
}

/* An addition behind a convolution or product, done before the store: what comes out is
 * after(round(activation(x)) + residual), x being the product with its bias and `activation` the step's. */
struct pith_residual {
    bool set;
    size_t input; /* which entry of step->input is added; its shape and layout are the output's */
    /* Quantized steps: the grid on which the value between product and addition lies, to which it is rounded as if it were
     * stored, so that fusing changes no bit. NULL: it is added unrounded. */
    const struct pith_quantization *between;
    struct pith_activation after;
};

/* Rows of one picture that a step can compute by themselves: output row r reads rows r * stride + first to r * stride + last
 * of input 0 (those before the first and past the last are its halo's), and row r of every other activation. */
struct pith_rows {
    int64_t count; /* of the output; 0: this step has no such rows */
    int64_t stride, first, last;
};

struct pith_kernel;

struct pith_step {
    /* ---- filled in before prepare; a kernel only reads it ---- */
    const struct pith_kernel *kernel;
    const struct pith_graph *graph; /* for attributes: valid in prepare only */
    uint32_t node;
    int64_t opset;                  /* that the graph imports for the node's domain */
    const char *name;               /* the node's, for sentences */
    size_t input_count, output_count;
    /* dtype PITH_DTYPE_NONE: left out (also the entries past the count: see PITH_STEP_PORTS). Shapes are known.
     * data: in run always there, aligned to the element; in prepare only where it is known by then (a constant), else
     * NULL. A constant may lie elsewhere when it is run than when it was prepared: so prepare keeps no pointer into it. */
    struct pith_tensor *input;
    /* dtype and shape as inferred and known, but for kernels flagged PITH_KERNEL_SIZES_OUTPUT. data only in run. An
     * output that nobody takes has dtype PITH_DTYPE_NONE, and is not written. */
    struct pith_tensor *output;
    /* How the integers of an operand stand for reals, for steps that compute on quantized values as they are stored:
     * then input[i].dtype is the stored type. An entry is NULL where the operand is what its type says. */
    const struct pith_quantization *const *input_quantization;
    const struct pith_quantization *const *output_quantization;
    struct pith_activation activation; /* not set but for kernels flagged PITH_KERNEL_FUSES_ACTIVATION */
    struct pith_residual residual;     /* not set but for kernels flagged PITH_KERNEL_FUSES_RESIDUAL */
    /* How operands lie, for kernels flagged PITH_KERNEL_CHANNELS_LAST; as many as ports, else all planar. */
    const struct pith_image *input_image, *output_image;
    uint32_t threads; /* that run its parts at a time, at most; 0: not known */

    /* ---- decided by prepare ---- */
    void *params;         /* the kernel's own; from pith_step_alloc, freed with the step */
    size_t scratch_bytes; /* that run wants at `scratch`, aligned to 64; contents are lost between runs */
    uint32_t in_place;    /* bit i: output 0 may lie exactly where input i lies. run must be right either way */
    int32_t view;         /* -1, or i: output 0 is input i's bytes under another shape; run is then never called */
    uint32_t taken_in;    /* bit i: run does not read input i, which prepare has packed; its data may be gone */
    uint64_t macs;        /* for describe; 0 where the operator has none */
    const char *form;     /* static, for people: which of the kernel's forms runs, "sparse avx512vnni"; NULL: it has one */
    uint32_t parts;       /* the most parts that run_part may be cut into; 0: it has none for this step */
    struct pith_rows rows; /* that run_rows may be called for */

    /* ---- there in run ---- */
    void *scratch;
    /* Only for PITH_KERNEL_SIZES_OUTPUT: gives output `index` its shape and memory (input memory stays). */
    int (*resize)(struct pith_step *step, size_t index, const struct pith_shape *shape, struct pith_error *err);
    void *owner; /* of who made the step */

    struct pith_blocks blocks; /* what pith_step_alloc gave */
};

/* Input and output arrays have at least so many entries, or as many as the kernel's operator can have where those are fewer,
 * the unused ones zeroed: QLinearConv's inputs, and no operator whose inputs aren't all alike has more. */
#define PITH_STEP_PORTS 9

enum pith_kernel_flags {
    /* The output's shape follows from data (NonZero, Compress, Unique, NonMaxSuppression): outputs may have unknown
     * dimensions in prepare, and run calls step->resize for each output that is taken before it writes it.
     * Where the shape follows from the *value of an input* (Reshape, Slice, TopK, Range) no flag is needed: prepare
     * returns pith_step_needs(step, i) while input i has no data. The step is then prepared in each run, when all inputs
     * have data and inference with them has made the shapes known. */
    PITH_KERNEL_SIZES_OUTPUT = 1,
    PITH_KERNEL_FUSES_ACTIVATION = 2, /* applies step->activation */
    PITH_KERNEL_QUANTIZED = 4,        /* wants the operands of quantized values as stored, with their quantization */
    PITH_KERNEL_NOT_FOLDED = 8,       /* never run at compile time (random numbers) */
    PITH_KERNEL_FUSES_RESIDUAL = 16,  /* applies step->residual */
    /* Takes and gives channels-last values (image.h): every activation of the step, of rank 3 or 4, lies so; constants
     * and lists do not. With PITH_KERNEL_QUANTIZED the stored type is the one that pith_image_integer_dtype names. */
    PITH_KERNEL_CHANNELS_LAST = 32,
    /* Takes input 1, where it is constant and of one of the kernel's integer types, as it is stored, with its quantization,
     * though all else is floats. */
    PITH_KERNEL_NARROW_WEIGHTS = 64,
    PITH_KERNEL_GIVES_FLOATS = 128, /* with PITH_KERNEL_QUANTIZED: output 0 may be float32 on no grid, too */
};

struct pith_kernel {
    const char *op;     /* "Conv"; NULL ends a table */
    const char *domain; /* NULL or "": ONNX's own */
    const char *name;   /* for people: "conv_f32" */
    int32_t opset_first, opset_last; /* inclusive; 0: no limit */
    uint32_t types[4];  /* of the first inputs, bits PITH_BIT(t); 0: any. One that is left out always fits */
    uint32_t output_type; /* the same for output 0 */
    uint32_t flags;     /* enum pith_kernel_flags */
    /* 0; -ENOTSUP where this form of the operator has no kernel (the sentence says what); -EINVAL where the model is wrong:
     * shapes that contradict each other, attributes out of range. Everything here is hostile: check before relying on it.
     * Inference has checked ranks and shapes only as far as it needs to. */
    int (*prepare)(struct pith_step *step, struct pith_error *err);
    /* 0; -EINVAL where data can't be right (an index out of range): pith_step_fail names the node. NULL: always a view. */
    int (*run)(struct pith_step *step, struct pith_error *err);
    /* Optional: part `part` of `count` (count <= step->parts) of what run does; parts write different bytes, share no
     * scratch but what is cut by part, and can't fail. Any order, any threads at the same time. */
    void (*run_part)(struct pith_step *step, uint32_t part, uint32_t count);
    /* Optional: rows from..to-1 of picture 0, and the halo beside them, above the first row and below the last. Operands
     * need hold no other rows than these and those that step->rows says they read, where `data` says they would lie. No
     * scratch; any order, any threads at the same time for different rows. */
    void (*run_rows)(struct pith_step *step, int64_t from, int64_t to);
};

/* The kernel for an operator with these input types (count of them; PITH_DTYPE_NONE: left out, or not known yet, which
 * fits any) and first output type. NULL where there is none; *out_why (may be NULL) then says whether it is the
 * operator, its opset or its types. form: of PITH_KERNEL_QUANTIZED and PITH_KERNEL_CHANNELS_LAST, what the kernel's flags
 * must be; 0: planar, and operands are what their types say. */
const struct pith_kernel *pith_kernel_find(const char *domain, const char *op, int64_t opset, const int32_t *types,
                                           size_t type_count, int32_t output_type, uint32_t form,
                                           const char **out_why);

/* The 8-bit type in which channels-last integer activations are stored here, because its instructions take them so: uint8 on
 * x86-64, int8 on aarch64. Who compiles a graph brings values of the other type to it (zero point 128 off) where they enter. */
static inline int32_t pith_image_integer_dtype(void)
{
#if defined __aarch64__
    return PITH_INT8;
#else
    return PITH_UINT8;
#endif
}
/* What a byte that is stored so stands for. */
static inline int32_t pith_image_integer(uint8_t byte)
{
    return pith_image_integer_dtype() == PITH_INT8 ? (int8_t) byte : byte;
}

/* ---- for prepare ---- */
/* Zeroed memory, aligned to 64 bytes, that lives as long as the step. NULL: out of memory, or past PITH_STEP_MAX_BYTES. */
void *pith_step_alloc(struct pith_step *step, int64_t bytes);
/* For packed weights, when they are finished: gives up that memory of pith_step_alloc's for what is kept of it, which may
 * be another session's block with the same bytes (blocks.h). Nobody writes to it any more. It can't fail; NULL gives NULL. */
const void *pith_step_share(struct pith_step *step, const void *memory);
/* Frees what pith_step_alloc gave this step, before the step is done: what only prepare needs. NULL is fine. */
void pith_step_release(struct pith_step *step, const void *memory);
/* Returns -EAGAIN: the value of input i is needed to decide. */
int pith_step_needs(struct pith_step *step, size_t input);
/* The integers of a known int32 or int64 input of rank 0 or 1, at most `limit`; *out_count. -EAGAIN where the input has no
 * data yet, -EINVAL where it is no such list or longer. A left-out input gives count 0. */
int pith_step_ints(struct pith_step *step, size_t input, int64_t *out, size_t limit, size_t *out_count,
                   struct pith_error *err) PITH_CHECKED;
/* axis in -rank..rank-1 to 0..rank-1; -EINVAL with the sentence. */
int pith_step_axis(struct pith_step *step, int64_t axis, uint32_t rank, uint32_t *out, struct pith_error *err) PITH_CHECKED;
/* Elements of a known shape; asserts that it is known. dims from..to-1. */
int64_t pith_dims_product(const struct pith_shape *shape, uint32_t from, uint32_t to);
/* Whether an optional input or output is there. */
static inline bool pith_step_has(const struct pith_step *step, size_t input)
{
    return input < step->input_count && step->input[input].dtype != PITH_DTYPE_NONE;
}
static inline bool pith_step_gives(const struct pith_step *step, size_t output)
{
    return output < step->output_count && step->output[output].dtype != PITH_DTYPE_NONE;
}
/* Whether run reads the bytes of that input, which prepare has not packed. */
static inline bool pith_step_reads(const struct pith_step *step, size_t input)
{
    return input >= 32 || !(step->taken_in >> input & 1);
}
/* A convolution's bias, input 2, in whose place a fused residual may stand. */
static inline bool pith_step_has_bias(const struct pith_step *step)
{
    return pith_step_has(step, 2) && !(step->residual.set && step->residual.input == 2);
}

/* ---- for prepare and run ---- */
/* Like pith_fail, with `Conv "name": ` before it. */
int pith_step_fail(const struct pith_step *step, struct pith_error *err, int code, const char *format, ...) PITH_PRINTF(4, 5);

/* Where part `part` of `count` begins among `total` units of work: it ends where the next one begins. */
static inline int64_t pith_part_begin(int64_t total, uint32_t part, uint32_t count)
{
    return total / count * part + (total % count < part ? total % count : part);
}
/* How many parts `units` of work may be cut into, for step->parts. */
static inline uint32_t pith_parts_of(int64_t units)
{
    return units < UINT32_MAX ? (uint32_t) units : UINT32_MAX;
}
/* The same for a kernel each of whose parts wants scratch of its own: no more parts than threads, nor than `most`. */
static inline uint32_t pith_parts_with_scratch(const struct pith_step *step, int64_t units, uint32_t most)
{
    const uint32_t parts = pith_parts_of(units), limit = step->threads && step->threads < most ? step->threads : most;

    return parts < limit ? parts : limit;
}

/* Fills the halo of channels-last output `output` with what stands for 0, on a grid its zero point; or part `part` of `count`
 * of it. */
void pith_image_zero_halo(const struct pith_step *step, size_t output);
void pith_image_zero_halo_part(const struct pith_step *step, size_t output, uint32_t part, uint32_t count);
/* For run_rows, of picture 0: what lies right and left of rows from..to-1, and above row 0 and below the last where they are
 * among them. */
void pith_image_zero_halo_rows(const struct pith_step *step, size_t output, int64_t from, int64_t to);

/* ---- for whoever makes steps ---- */
/* Calls the kernel's prepare. On failure the step holds nothing. */
int pith_step_prepare(struct pith_step *step, struct pith_error *err) PITH_CHECKED;
/* Frees what prepare took; the step may be prepared again. */
void pith_step_done(struct pith_step *step);

#endif
