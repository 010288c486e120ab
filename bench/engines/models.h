/* The models that are raced. */
#ifndef PITH_BENCH_MODELS_H
#define PITH_BENCH_MODELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bench_model {
    const char *name;   /* "kws" */
    const char *type;   /* "float32" or "int8" */
    const char *file;   /* below the data folder; NULL: made by make_model */
    const char *shapes; /* of inputs that the file leaves open, as contestant.h says */
    int64_t integer;    /* what integer inputs are filled with */
};

extern const struct bench_model bench_models[];
extern const size_t bench_model_count;

/* Whether `wanted` (names with ',' between them, each "kws", "kws_int8", "int8" or "float32"; NULL: all) names it. */
bool bench_model_wanted(const struct bench_model *model, const char *wanted);
/* Its file below these folders. text: its length is text_bytes. Returns text. */
const char *bench_model_path(const struct bench_model *model, const char *data, const char *made, char *text,
                             size_t text_bytes);

#endif
