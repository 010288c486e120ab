/* Running official ONNX cases through an engine: model, data sets, comparison. */
#ifndef PITH_TESTS_ONNX_CASES_H
#define PITH_TESTS_ONNX_CASES_H

#include <pith/engine.h>

#define CASE_MAX_PORTS 64 /* inputs or outputs of a case */

struct case_tensors {
    struct pith_tensor item[CASE_MAX_PORTS];
    size_t count;
};

enum case_outcome { CASE_PASSED, CASE_FAILED, CASE_UNSUPPORTED };

/* The engine plugin of that name, from $PITH_PLUGIN_PATH; exits with a sentence where there is
 * none. */
const struct pith_engine_ops *case_engine(const char *name);
/* folder: holds model.onnx and test_data_set_N. why: what failed, or what isn't supported. */
enum case_outcome case_run(const struct pith_engine_ops *engine, const char *folder, char *why,
                           size_t why_bytes);
/* A "light" net: model file, expected output file; its input is counted up from 0 to 1. */
enum case_outcome case_run_light(const struct pith_engine_ops *engine, const char *model,
                                 const char *output, char *why, size_t why_bytes);
/* Unpacks the cases into the build folder with unpack.sh and returns the path of their folder, or
 * NULL. */
const char *case_folder(void);

/* The tensors of data set `set`; kind: "input" or "output". Freed with case_tensors_free. */
int case_read_set(const char *folder, int set, const char *kind, struct case_tensors *out,
                  struct pith_error *err);
void case_tensors_free(struct case_tensors *tensors);

#endif
