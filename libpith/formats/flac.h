/* FLAC recordings -> int16 samples, through libFLAC where it was there at build time. */
#ifndef PITH_FORMATS_FLAC_H
#define PITH_FORMATS_FLAC_H

#include <pith/tensor.h>

#define PITH_FLAC_MAX_SAMPLES (256 << 20) /* of all channels together: an hour and a half of stereo at 22 kHz */

/* *out: from pith_tensor_alloc, [frames] for mono and [frames, channels] otherwise; samples of other widths than 16 bits are
 * scaled to those, finer ones cut off. rate_hz: may be NULL. data is hostile until decoded: -EBADMSG for what is broken, cut
 * off or fails its checksum, -EFBIG past PITH_FLAC_MAX_SAMPLES, -ENOTSUP in a build without libFLAC.
 * Thread: any. Format: RFC 9639. */
int pith_flac_decode(struct pith_tensor *out, double *rate_hz, const void *data, size_t bytes,
                     struct pith_error *err) PITH_CHECKED;

#endif
