/* ONNX Runtime's C library as far as this engine calls it: declared here, found when the program runs.
 * Its functions are entries of one table, OrtApi, that is only ever appended to: an entry keeps its number from version
 * 1.0 on, and OrtGetApiBase()->GetApi(n) is a table that has at least the entries of version n. We ask for the table of
 * version 1, so any ONNX Runtime 1.x will do. */
#ifndef PITH_ONNXRUNTIME_LIBRARY_H
#define PITH_ONNXRUNTIME_LIBRARY_H

#include <pith/error.h>
#include <stddef.h>
#include <stdint.h>

/* Theirs, and never looked into. A call that fails returns a status, which the caller releases; NULL means success. */
struct ort_status;
struct ort_env;
struct ort_session;
struct ort_session_options;
struct ort_run_options;
struct ort_value;
struct ort_memory_info;
struct ort_shape_info;

enum ort_optimization { ORT_OPTIMIZE_NOTHING = 0, ORT_OPTIMIZE_ALL = 99 };
enum ort_logging { ORT_LOG_FATAL = 4 }; /* what fails comes back as a status; nothing is to be printed */
enum ort_allocator { ORT_ALLOCATOR_DEVICE = 0 };
enum ort_memory { ORT_MEMORY_DEFAULT = 0 };

/* The entries that are called. Their numbers in OrtApi stand beside their names in library.c. Element types are those of
 * enum pith_dtype: both took them from TensorProto. */
struct ort {
    const char *version; /* "1.20.1" */
    const char *(*message_of)(const struct ort_status *status);
    struct ort_status *(*create_env)(int logging, const char *name, struct ort_env **out);
    struct ort_status *(*create_session)(const struct ort_env *env, const void *model, size_t bytes,
                                         const struct ort_session_options *options, struct ort_session **out);
    struct ort_status *(*run)(struct ort_session *session, const struct ort_run_options *options,
                              const char *const *input_names, const struct ort_value *const *inputs,
                              size_t input_count, const char *const *output_names, size_t output_count,
                              struct ort_value **outputs);
    struct ort_status *(*create_options)(struct ort_session_options **out);
    struct ort_status *(*set_log_level)(struct ort_session_options *options, int level);
    struct ort_status *(*set_optimization)(struct ort_session_options *options, int level);
    struct ort_status *(*set_threads)(struct ort_session_options *options, int threads);
    struct ort_status *(*create_tensor)(const struct ort_memory_info *memory, void *data, size_t bytes,
                                        const int64_t *dims, size_t rank, int type, struct ort_value **out);
    struct ort_status *(*is_tensor)(const struct ort_value *value, int *out);
    struct ort_status *(*data_of)(struct ort_value *value, void **out);
    struct ort_status *(*type_of)(const struct ort_shape_info *info, int *out);
    struct ort_status *(*rank_of)(const struct ort_shape_info *info, size_t *out);
    struct ort_status *(*dims_of)(const struct ort_shape_info *info, int64_t *dims, size_t rank);
    struct ort_status *(*shape_of)(const struct ort_value *value, struct ort_shape_info **out);
    struct ort_status *(*create_memory_info)(int allocator, int memory, struct ort_memory_info **out);
    /* Each takes NULL. */
    void (*release_env)(struct ort_env *env);
    void (*release_status)(struct ort_status *status);
    void (*release_memory_info)(struct ort_memory_info *memory);
    void (*release_session)(struct ort_session *session);
    void (*release_value)(struct ort_value *value);
    void (*release_shape_info)(struct ort_shape_info *info);
    void (*release_options)(struct ort_session_options *options);
};

/* The library, opened by the first call and kept until the process ends: $PITH_ONNXRUNTIME where that is set, else
 * libonnxruntime.so.1 where the loader looks for libraries. -ENOTSUP, with where it was looked for. Thread: any. */
int ort_open(const struct ort **out, struct pith_error *err);

/* Takes the status: 0 where it is NULL, else `code` with `what` and its message in *err. */
int ort_check(const struct ort *ort, struct ort_status *status, int code, const char *what, struct pith_error *err);

#endif
