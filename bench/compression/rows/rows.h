/* The rows of bench/compression/ptq: each a function that prints itself. */
#ifndef PITH_BENCH_ROWS_ROWS_H
#define PITH_BENCH_ROWS_ROWS_H

#include "bench/compression/rows/table.h"

typedef void row_function(const struct lab *lab);
/* MLPerf Tiny: int8 beside the float model, MLPerf's own int8 file and ONNX Runtime's settings. */
row_function row_kws, row_resnet8, row_vww, row_ad01;
/* The same with 4-bit weights. */
row_function row_kws_int4, row_resnet8_int4, row_vww_int4;
/* One of them for another row: "kws", "resnet8", "vww". */
void open_tiny(struct subject *subject, const struct lab *lab, const char *name);
/* Arrays for kws from clips that are not among its own maps: int8 maps, and classes. */
void make_keyword_maps(const struct lab *lab, const char *x_path, const char *y_path);
/* Settings of ONNX Runtime's quantizer, in ours. */
#define OTHER_SETTINGS 4
extern const struct other_setting {
    const char *name, *options;
} other_settings[OTHER_SETTINGS];
row_function row_rescue, row_same;
/* The part of row_same that runs in a process of its own. */
void same_inside(const struct lab *lab, char **argv);
/* A net with a state, and a chain that the command's front compresses. */
row_function row_silero, row_wakeword;
/* Detectors. */
row_function row_fastestdet, row_rfb;
/* Time and memory. */
row_function row_mobilenetv2, row_ranges, row_vgg16;
/* The part of them that runs in a process of its own. */
void size_inside(const struct lab *lab, char **argv);

#endif
