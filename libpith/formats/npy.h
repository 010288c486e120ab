/* NumPy .npy files, format 1.0 and 2.0, little endian, C order. */
#ifndef PITH_FORMATS_NPY_H
#define PITH_FORMATS_NPY_H

#include "libpith/base/buffer.h"
#include "libpith/base/file.h"
#include <pith/tensor.h>

#define PITH_NPY_HEADER_BYTES 4096 /* longer ones are refused; a rank of 8 takes under 200 */
/* What a file holds, from its first bytes (all of them, or PITH_NPY_HEADER_BYTES). *out_start: where the values begin. */
int pith_npy_header(const void *data, size_t bytes, int32_t *out_dtype, struct pith_shape *out_shape, size_t *out_start,
                    struct pith_error *err) PITH_CHECKED;
/* A view into bytes: out->data points into data. */
int pith_npy_view(struct pith_tensor *out, const void *data, size_t bytes, struct pith_error *err) PITH_CHECKED;
/* Reads path (.npy or .npy.zst) into memory of its own; freed with pith_tensor_free. */
int pith_npy_read(struct pith_tensor *out, const char *path, struct pith_error *err) PITH_CHECKED;
/* The header alone, appended to *out: the values follow it, in C order. -ENOTSUP for a type that NumPy doesn't have. */
int pith_npy_write_header(struct pith_buffer *out, int32_t dtype, const struct pith_shape *shape,
                    struct pith_error *err) PITH_CHECKED;
int pith_npy_write(const char *path, const struct pith_tensor *tensor, struct pith_error *err) PITH_CHECKED;
/* RIFF WAVE, PCM 16 bit: int16 samples, shape [frames] for mono and [frames, channels] otherwise. */
int pith_wav_decode(struct pith_tensor *out, double *rate_hz, const void *data, size_t bytes,
                    struct pith_error *err) PITH_CHECKED;
int pith_wav_read(struct pith_tensor *out, double *rate_hz, const char *path, struct pith_error *err) PITH_CHECKED;

#endif
