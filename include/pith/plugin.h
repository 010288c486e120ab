/* The plugin descriptor: one constant symbol, `pith_plugin`, that the host reads before it runs anything of yours.
 *
 * A plugin is one shared object that exports `pith_plugin` and nothing else:
 *
 *     cc -shared -fPIC -fvisibility=hidden $(pkg-config --cflags pith) -o median.so median.c $(pkg-config --libs pith)
 *     install -m 644 median.so /usr/local/lib/pith/plugins/
 *     pith plugins
 *
 * examples/ has one of each kind to copy. Rules that hold for all kinds:
 * - State lives in what open or compile returned, never in a static: a plugin opens many times.
 * - One call at a time per object; different objects may be used in parallel. Threads you start are joined before
 *   the call that started them returns.
 * - Inputs are const and borrowed for the call. Results are new objects. On an error nothing was handed over.
 * - Memory: allocate and free within the plugin; what the host frees says so.
 * - No constructors, no output to stdout, no exit(). The host never unloads a plugin. */
#ifndef PITH_PLUGIN_H
#define PITH_PLUGIN_H

#include <pith/error.h>
#include <stddef.h>
#include <stdint.h>

#define PITH_ABI_MAJOR 1
#define PITH_ABI_MINOR 2
#define PITH_EXPORT __attribute__((visibility("default")))

enum pith_kind {
    PITH_KIND_ENGINE = 1,
    PITH_KIND_TECHNIQUE = 2,
    PITH_KIND_CODEC = 3,
    PITH_KIND_METER = 4,
};

struct pith_plugin {       /* fields are only ever added at the end */
    uint32_t size_bytes;   /* sizeof in the plugin's build: what lies past it isn't there */
    uint16_t abi_major;    /* equal to the host's, or refused with both told */
    uint16_t abi_minor;    /* at most the host's, or refused with both told */
    uint32_t kind;         /* enum pith_kind (fixed width: an enum has none) */
    const char *name;      /* as the config writes it: [a-z][a-z0-9_]*, the file's name without .so */
    const char *version;   /* the plugin's own */
    const char *summary;   /* one line for `pith plugins` */
    const void *ops;       /* struct pith_engine_ops, pith_technique_ops, pith_codec_ops or pith_meter_ops */
    const struct pith_option *options; /* what open / apply / compile takes; ends with a NULL name. NULL: none */
};
PITH_EXPORT extern const struct pith_plugin pith_plugin;

/* One option. The host checks what the user wrote against this table and fills in defaults, so that checks, help and
 * documentation come from one place; the plugin receives the values in the order of its table. */
enum pith_option_type {
    PITH_OPTION_INT = 1,
    PITH_OPTION_FLOAT = 2,
    PITH_OPTION_BOOL = 3,
    PITH_OPTION_STRING = 4,
    PITH_OPTION_CHOICE = 5, /* a string out of `choices` */
    PITH_OPTION_STRINGS = 6, /* a list of strings */
};

struct pith_option {
    const char *name; /* lower case, with its unit: "rate_hz"; NULL ends the table */
    uint32_t type;    /* enum pith_option_type */
    double minimum, maximum;      /* INT and FLOAT: inclusive; both 0: any */
    const char *otherwise;        /* the default, written as in YAML; NULL: must be given */
    const char *const *choices;   /* CHOICE: ends with NULL. STRINGS: NULL, or what must stand behind the last = of each */
    const char *help;             /* one sentence */
};

struct pith_option_value {
    int64_t integer;              /* INT, BOOL (0, 1), CHOICE (index into choices) */
    double number;                /* FLOAT; INT too */
    const char *text;             /* STRING, CHOICE; NULL where an optional string was left out (default "~") */
    const char *const *texts;     /* STRINGS */
    size_t text_count;
    int given;                    /* 1: the user wrote it; 0: the default */
};

/* What a plugin gets from whoever runs it. Size-prefixed: check size_bytes before using a field newer than 1.0.
 * A NULL function is not offered. Callable from the thread that made the call into the plugin. */
struct pith_graph;
struct pith_tensor;
struct pith_evaluation {
    double accuracy_ratio;  /* agreement with labels, 0..1; negative where there are no labels */
    double fidelity_ratio;  /* agreement of decisions with the original, 0..1 */
    double error_ratio;     /* root mean square of output minus original's, relative to the original's deviation */
    uint64_t sample_count;
};
enum pith_log_level { PITH_LOG_ERROR = 3, PITH_LOG_WARNING = 4, PITH_LOG_NOTICE = 5, PITH_LOG_INFO = 6, PITH_LOG_DEBUG = 7 };

/* Called for one value of one sample; tensor is borrowed for the call. A negative return stops the run. */
typedef int pith_observer(void *user, size_t value_index, uint64_t sample, const struct pith_tensor *tensor);

struct pith_host {
    uint32_t size_bytes;
    void *context; /* handed back in each call */
    void (*log)(void *context, uint32_t level, const char *event, const char *text);
    void (*progress)(void *context, double done_ratio); /* 0..1 of the call under way */
    int (*cancelled)(void *context);                    /* 1: stop soon with -ECANCELED */
    uint64_t (*sample_count)(void *context);            /* of calibration samples; 0: none */
    /* Runs `graph` over samples [first, first + count) and shows `values` of it, each sample in order. */
    int (*observe)(void *context, const struct pith_graph *graph, uint64_t first, uint64_t count,
                   const uint32_t *values, size_t value_count, pith_observer *observer, void *user,
                   struct pith_error *err);
    /* Measures a candidate against the validation samples and the original. */
    int (*evaluate)(void *context, const struct pith_graph *graph, struct pith_evaluation *out,
                    struct pith_error *err);
};

#endif
