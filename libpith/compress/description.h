/* A data set and what is measured on it, described in a small file (YAML or JSON; pith-data(5)):
 *
 *   data: images.tar.zst            # as in dataset.h; paths are taken from the file's folder
 *   labels: y.npy                   # or a column, or a folder of boxes
 *   index: index.csv
 *   classes: classes.txt
 *   where: split=test
 *   prepare: {resize: [32, 32], channels: rgb, layout: nchw, mean: [127.5], scale: [0.00784]}
 *   splits: {seed: 1, calibration: 100, validation: 100}
 *   metric: top1
 *   detect: {form: grid, ...}       # for map50 */
#ifndef PITH_COMPRESS_DESCRIPTION_H
#define PITH_COMPRESS_DESCRIPTION_H

#include "libpith/compress/dataset.h"
#include "libpith/compress/metric.h"

struct pith_description {
    struct pith_dataset_options data;
    struct pith_metric_options metric; /* kind: -1 where none was named */
    struct pith_yaml *yaml;            /* own */
    char *paths[4];                    /* own: what data, labels, index and classes point to */
};
void pith_description_init(struct pith_description *description);
/* Every fault is told, a line each, as file:line:column. */
int pith_description_read(struct pith_description *out, const char *path, struct pith_error *err) PITH_CHECKED;
void pith_description_done(struct pith_description *description);

#endif
