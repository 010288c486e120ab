/* Calibration inputs of one graph: an even draw of all that passed, bounded in number and bytes, kept as .npy files. */
#ifndef PITH_COMPRESS_SAMPLES_H
#define PITH_COMPRESS_SAMPLES_H

#include <pith/tensor.h>

#define PITH_SAMPLES_MAX_BYTES (64 << 20) /* of one graph's inputs; fewer samples are kept of large ones */
#define PITH_SAMPLES_MAX_INPUTS 16

struct pith_samples {
    size_t input_count;
    struct pith_tensor inputs[PITH_SAMPLES_MAX_INPUTS]; /* own; [capacity, ...shape] */
    uint64_t capacity, count; /* count of them are there */
    uint64_t seen;            /* that were offered */
    uint64_t random;          /* state of the draw */
};
void pith_samples_init(struct pith_samples *samples, uint64_t capacity, uint64_t seed);
/* Offers one set of inputs (vitter's algorithm R: each set is kept with the same chance). Sets of other shapes than the
 * first are left out. */
int pith_samples_offer(struct pith_samples *samples, const struct pith_tensor *inputs, size_t input_count,
                       struct pith_error *err) PITH_CHECKED;
/* Input `input` of sample `index`: a view. */
void pith_samples_get(const struct pith_samples *samples, uint64_t index, size_t input, struct pith_tensor *out);
/* <prefix>.<input>.npy each. */
int pith_samples_save(const struct pith_samples *samples, const char *prefix, struct pith_error *err) PITH_CHECKED;
int pith_samples_load(struct pith_samples *out, const char *prefix, size_t input_count,
                      struct pith_error *err) PITH_CHECKED;
void pith_samples_done(struct pith_samples *samples);

/* xorshift64*; the same on every machine. state: not 0. */
uint64_t pith_random(uint64_t *state);

#endif
