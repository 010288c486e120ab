/* Finding libonnxruntime.so.1 and its table of functions. What is known of the table is its order:
 * entries are taken by their number, so neither its headers nor its library are needed to build. */
#include "plugins/engines/onnxruntime/library.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define LIBRARY          "libonnxruntime.so.1"
#define LIBRARY_VARIABLE "PITH_ONNXRUNTIME"
#define API_VERSION      1
#define API_ENTRIES      102 /* of version 1 */

typedef void function(void);

struct api_base { /* OrtApiBase */
    function *const *(*get_api)(uint32_t version);
    const char *(*get_version)(void);
};

static const struct {
    unsigned number; /* in OrtApi */
    size_t offset;   /* in struct ort */
} entries[] = {
    {2, offsetof(struct ort, message_of)},           /* GetErrorMessage */
    {3, offsetof(struct ort, create_env)},           /* CreateEnv */
    {8, offsetof(struct ort, create_session)},       /* CreateSessionFromArray */
    {9, offsetof(struct ort, run)},                  /* Run */
    {10, offsetof(struct ort, create_options)},      /* CreateSessionOptions */
    {22, offsetof(struct ort, set_log_level)},       /* SetSessionLogSeverityLevel */
    {23, offsetof(struct ort, set_optimization)},    /* SetSessionGraphOptimizationLevel */
    {24, offsetof(struct ort, set_threads)},         /* SetIntraOpNumThreads */
    {49, offsetof(struct ort, create_tensor)},       /* CreateTensorWithDataAsOrtValue */
    {50, offsetof(struct ort, is_tensor)},           /* IsTensor */
    {51, offsetof(struct ort, data_of)},             /* GetTensorMutableData */
    {60, offsetof(struct ort, type_of)},             /* GetTensorElementType */
    {61, offsetof(struct ort, rank_of)},             /* GetDimensionsCount */
    {62, offsetof(struct ort, dims_of)},             /* GetDimensions */
    {65, offsetof(struct ort, shape_of)},            /* GetTensorTypeAndShape */
    {69, offsetof(struct ort, create_memory_info)},  /* CreateCpuMemoryInfo */
    {92, offsetof(struct ort, release_env)},         /* ReleaseEnv */
    {93, offsetof(struct ort, release_status)},      /* ReleaseStatus */
    {94, offsetof(struct ort, release_memory_info)}, /* ReleaseMemoryInfo */
    {95, offsetof(struct ort, release_session)},     /* ReleaseSession */
    {96, offsetof(struct ort, release_value)},       /* ReleaseValue */
    {99, offsetof(struct ort, release_shape_info)},  /* ReleaseTensorTypeAndShapeInfo */
    {100, offsetof(struct ort, release_options)},    /* ReleaseSessionOptions */
};

/* The library is the process's, as the loader keeps one copy of it; so is what was found of it. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct ort found;

static int read_table(void *library, const char *path, struct ort *out, struct pith_error *err)
{
    const struct api_base *(*get_base)(void);
    const struct api_base *base;
    function *const *table;
    const char *version;

    *(void **) &get_base = dlsym(library, "OrtGetApiBase");
    base = get_base ? get_base() : NULL;
    if (!base)
        return pith_fail(err, -ENOTSUP, "%s is no ONNX Runtime: it has no OrtGetApiBase", path);
    version = base->get_version();
    if (!version || strncmp(version, "1.", 2) != 0)
        return pith_fail(err, -ENOTSUP, "%s is ONNX Runtime %s; this engine knows version 1.x",
                         path, version ? version : "of no version");
    table = base->get_api(API_VERSION);
    if (!table)
        return pith_fail(err, -ENOTSUP,
                         "%s (ONNX Runtime %s) has no table of functions, version %d", path,
                         version, API_VERSION);
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++)
        memcpy((char *) out + entries[i].offset, &table[entries[i].number], sizeof(function *));
    out->version = version;
    return 0;
}

static int open_library(struct ort *out, struct pith_error *err)
{
    const char *configured = getenv(LIBRARY_VARIABLE);
    const char *path = configured && configured[0] ? configured : LIBRARY;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    int rc;

    if (!library)
        return pith_fail(err, -ENOTSUP,
                         "ONNX Runtime is not here (%s); install " LIBRARY
                         ", or set " LIBRARY_VARIABLE " to its path",
                         dlerror());
    rc = read_table(library, path, out, err);
    if (rc < 0)
        (void) dlclose(library); /* another one may be configured later */
    return rc;
}

int ort_open(const struct ort **out, struct pith_error *err)
{
    int rc = 0;

    (void) pthread_mutex_lock(&lock);
    if (!found.version) {
        struct ort ort = {0};

        rc = open_library(&ort, err);
        if (rc == 0)
            found = ort;
    }
    (void) pthread_mutex_unlock(&lock);
    if (rc == 0)
        *out = &found;
    return rc;
}

int ort_check(const struct ort *ort, struct ort_status *status, int code, const char *what,
              struct pith_error *err)
{
    if (!status)
        return 0;
    (void) pith_fail(err, code, "ONNX Runtime %s: %s", what, ort->message_of(status));
    ort->release_status(status);
    return code;
}

_Static_assert(sizeof(struct ort) ==
                   sizeof(char *) + sizeof entries / sizeof entries[0] * sizeof(function *),
               "each function of struct ort has its number");
