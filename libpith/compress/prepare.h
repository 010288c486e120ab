/* From a sample as it is stored to what the model takes: picture size, colours, numbers, layout. */
#ifndef PITH_COMPRESS_PREPARE_H
#define PITH_COMPRESS_PREPARE_H

#include "libpith/compress/dataset_source.h"

/* Changes dataset->sample.x, which then points into the data set's own memory. */
int dataset_prepare(struct pith_dataset *dataset, struct pith_error *err) PITH_CHECKED;
/* from: [height, width, channels] uint8; to: [to_height, to_width, channels]. Bilinear, half-pixel centres, edges held, as
 * ONNX Resize's default and the usual tools do without antialiasing. */
void pith_picture_resize(const uint8_t *from, int64_t height, int64_t width, int64_t channels, float *to, int64_t to_height,
                    int64_t to_width);

#endif
