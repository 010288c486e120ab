/* JPEG pictures -> uint8 [height, width, channels], through libjpeg where it was there at build time. */
#ifndef PITH_FORMATS_JPEG_H
#define PITH_FORMATS_JPEG_H

#include <pith/tensor.h>

#define PITH_JPEG_MAX_PIXELS (64 << 20)

/* channels: 3 (RGB) or 1 (grey). *out: from pith_tensor_alloc. -EBADMSG for broken data, -EFBIG past
 * PITH_JPEG_MAX_PIXELS, -ENOTSUP for colours that don't convert or a build without libjpeg. */
int pith_jpeg_decode(struct pith_tensor *out, const void *data, size_t bytes, int channels,
                     struct pith_error *err) PITH_CHECKED;

#endif
