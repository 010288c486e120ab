/* TensorFlow Lite models in engine native against what TensorFlow Lite itself gives: real models,
 * and the single-operator models of its micro interpreter (bit exact there; 16-bit activations run
 * in float here, which rounds to the nearest where fixed-point arithmetic may round twice). One TAP
 * line a model or a group of operators. */
#include "tests/conformance/onnx_cases.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libpith/base/file.h"
#include "libpith/formats/npy.h"
#include "libpith/formats/open.h"

#define MODEL_LIMIT_BYTES ((size_t) 64 << 20)
#define EQUAL_RATIO       0.99 /* of the elements are the same; the others are one step off */
#define FLOAT_RATIO       1e-4 /* of the output's range */
#define MOST_ELEMENTS     (1 << 20)
#define PICTURE           96

static const char *data;
static const struct pith_engine_ops *engine;
static int line_number, failed;

struct model {
    struct pith_graph *graph;
    struct pith_session *session;
};

struct steps { /* how far integers are from what they should be */
    int64_t count, equal, worst;
};

/* ---- reporting ---- */

static void line(bool good, const char *what, const char *said)
{
    failed += !good;
    printf("%s %d - %s: %s\n", good ? "ok" : "not ok", ++line_number, what, said);
    (void) fflush(stdout);
}

static void report_steps(const char *what, int rc, const struct pith_error *err,
                         const struct steps *steps, double least_equal)
{
    char said[PITH_ERROR_TEXT_BYTES];

    if (rc < 0)
        (void) snprintf(said, sizeof said, "%s", pith_error_text(err));
    else
        (void) snprintf(said, sizeof said, "%lld of %lld equal, at most %lld off",
                        (long long) steps->equal, (long long) steps->count,
                        (long long) steps->worst);
    line(rc == 0 && steps->count > 0 && steps->worst <= 1 &&
             (double) steps->equal >= least_equal * (double) steps->count,
         what, said);
}

static void count_step(struct steps *steps, int64_t got, int64_t want)
{
    int64_t off = got > want ? got - want : want - got;

    steps->count++;
    steps->equal += off == 0;
    steps->worst = off > steps->worst ? off : steps->worst;
}

/* ---- models ---- */

static int model_open(struct model *model, const char *path, const struct pith_shape *shapes,
                      struct pith_error *err)
{
    struct pith_engine_options options = {
        .size_bytes = sizeof options, .threads = 1, .input_shapes = shapes};
    int rc = pith_graph_open(&model->graph, path, MODEL_LIMIT_BYTES, err);

    return rc < 0 ? rc : engine->compile(NULL, model->graph, &options, &model->session, err);
}

static void model_close(struct model *model)
{
    engine->close(model->session);
    pith_graph_free(model->graph);
}

/* The grid of an input or output that is stored as integers. */
static const struct pith_quantization *input_grid(const struct model *model)
{
    size_t count;
    const uint32_t *users =
        pith_value_users(model->graph, pith_graph_input(model->graph, 0), &count);

    return count
               ? pith_value_quantization(model->graph, pith_node_output(model->graph, users[0], 0))
               : NULL;
}

static const struct pith_quantization *output_grid(const struct model *model)
{
    uint32_t node = pith_value_producer(model->graph, pith_graph_output(model->graph, 0));

    return pith_value_quantization(model->graph, pith_node_input(model->graph, node, 0));
}

static int read_npy(const char *name, struct pith_tensor *out, struct pith_error *err)
{
    char path[4096];

    (void) snprintf(path, sizeof path, "%s/%s", data, name);
    return pith_npy_read(out, path, err);
}

/* ---- MLPerf Tiny: samples of floats or pixels in, floats of the output's grid out ---- */

static int8_t to_grid(double x, const struct pith_quantization *grid)
{
    double q = nearbyint(x / (double) grid->scale[0]) + grid->zero_point[0];

    return (int8_t) (q < -128 ? -128 : q > 127 ? 127 : q);
}

static int run_golden(struct model *model, const struct pith_tensor *in,
                      const struct pith_tensor *want, struct steps *steps, struct pith_error *err)
{
    const struct pith_quantization *from = input_grid(model), *to = output_grid(model);
    const int64_t samples = in->shape.dim[0];
    const int64_t size = pith_shape_elements(&in->shape) / samples;
    const int64_t width = pith_shape_elements(&want->shape) / samples;
    struct pith_tensor x = {0}, y;
    struct pith_shape shape = in->shape;
    int rc = from && to ? 0 : pith_fail(err, -1, "its ends are not quantized");

    shape.dim[0] = 1;
    if (rc == 0)
        rc = pith_tensor_alloc(&x, PITH_INT8, &shape, err);
    for (int64_t n = 0; n < samples && rc == 0; n++) {
        for (int64_t k = 0; k < size; k++) {
            double value = pith_tensor_get(in, n * size + k);

            ((int8_t *) x.data)[k] =
                in->dtype == PITH_UINT8 ? (int8_t) (value - 128) : to_grid(value, from);
        }
        rc = engine->run(model->session, &x, 1, &y, 1, err);
        for (int64_t k = 0; k < width && rc == 0; k++)
            count_step(steps, ((const int8_t *) y.data)[k],
                       to_grid(pith_tensor_get(want, n * width + k), to));
    }
    pith_tensor_free(&x);
    return rc;
}

static void check_golden(const char *name)
{
    char path[4096], file[256];
    struct pith_tensor in = {0}, want = {0};
    struct model model = {0};
    struct steps steps = {0};
    struct pith_error err = {0};
    struct pith_shape shape;
    int rc;

    (void) snprintf(file, sizeof file, "models/mlperf_tiny/golden/%s_in.npy", name);
    rc = read_npy(file, &in, &err);
    (void) snprintf(file, sizeof file, "models/mlperf_tiny/golden/%s_out.npy", name);
    if (rc == 0)
        rc = read_npy(file, &want, &err);
    shape = in.shape;
    shape.dim[0] = 1;
    (void) snprintf(path, sizeof path, "%s/models/mlperf_tiny/%s.tflite", data, name);
    if (rc == 0)
        rc = model_open(&model, path, &shape, &err);
    if (rc == 0)
        rc = run_golden(&model, &in, &want, &steps, &err);
    report_steps(name, rc, &err, &steps, EQUAL_RATIO);
    model_close(&model);
    pith_tensor_free(&in);
    pith_tensor_free(&want);
}

/* ---- float models ---- */

static void check_float(const char *name, const char *in_file, const char *want_file)
{
    char path[4096], said[PITH_ERROR_TEXT_BYTES];
    struct pith_tensor in = {0}, want = {0}, y = {0};
    struct model model = {0};
    struct pith_error err = {0};
    double low = 0, high = 1e-6, worst = 0;
    int rc = read_npy(in_file, &in, &err);

    if (rc == 0)
        rc = read_npy(want_file, &want, &err);
    (void) snprintf(path, sizeof path, "%s/models/%s", data, name);
    if (rc == 0)
        rc = model_open(&model, path, &in.shape, &err);
    if (rc == 0)
        rc = engine->run(model.session, &in, 1, &y, 1, &err);
    if (rc == 0 && pith_shape_elements(&y.shape) != pith_shape_elements(&want.shape))
        rc = pith_fail(&err, -1, "its output has another size");
    for (int64_t k = 0; rc == 0 && k < pith_shape_elements(&want.shape); k++) {
        double wanted = pith_tensor_get(&want, k), off = fabs(pith_tensor_get(&y, k) - wanted);

        low = fmin(low, wanted);
        high = fmax(high, wanted);
        worst = !(off <= worst) ? off : worst;
    }
    if (rc == 0)
        (void) snprintf(said, sizeof said, "off by %.2g of a range of %.4g", worst, high - low);
    line(rc == 0 && worst <= FLOAT_RATIO * fmax(high - low, 1.0), name,
         rc == 0 ? said : pith_error_text(&err));
    model_close(&model);
    pith_tensor_free(&in);
    pith_tensor_free(&want);
}

/* ---- accuracy ---- */

static int64_t greatest(const struct pith_tensor *y)
{
    int64_t best = 0;

    for (int64_t k = 1; k < pith_shape_elements(&y->shape); k++)
        if (pith_tensor_get(y, k) > pith_tensor_get(y, best))
            best = k;
    return best;
}

/* Upstream's own evaluation says 90.2 % of these clips. */
static void check_keywords(void)
{
    char path[4096], said[PITH_ERROR_TEXT_BYTES];
    struct pith_tensor x = {0}, labels = {0}, y, row;
    struct model model = {0};
    struct pith_error err = {0};
    int64_t right = 0, count = 0;
    int rc = read_npy("kws_mlperf_features/x_i8.npy", &x, &err);

    if (rc == 0)
        rc = read_npy("kws_mlperf_features/y.npy", &labels, &err);
    row = x;
    row.shape.dim[0] = 1;
    (void) snprintf(path, sizeof path, "%s/models/mlperf_tiny/kws_ref_model_int8.tflite", data);
    if (rc == 0) {
        count = x.shape.dim[0];
        row.bytes = x.bytes / (size_t) count;
        rc = model_open(&model, path, &row.shape, &err);
    }
    for (int64_t n = 0; n < count && rc == 0; n++) {
        row.data = (uint8_t *) x.data + (size_t) n * row.bytes;
        rc = engine->run(model.session, &row, 1, &y, 1, &err);
        if (rc == 0)
            right += greatest(&y) == pith_tensor_get_int(&labels, n);
    }
    if (rc == 0)
        (void) snprintf(said, sizeof said, "%lld of %lld right", (long long) right,
                        (long long) count);
    line(rc == 0 && right >= count * 9 / 10, "keywords", rc == 0 ? said : pith_error_text(&err));
    model_close(&model);
    pith_tensor_free(&x);
    pith_tensor_free(&labels);
}

/* A picture of signed bytes, as the model takes them; the file's last row comes first. */
static int read_bmp(const char *name, int8_t *out, struct pith_error *err)
{
    struct pith_buffer file = {0};
    char path[4096];
    uint32_t at = 0;
    int rc;

    (void) snprintf(path, sizeof path, "%s/models/tflite_micro/%s", data, name);
    rc = pith_file_read(path, 1 << 20, &file, err);
    if (rc == 0) {
        memcpy(&at, file.data + 10, sizeof at);
        if (at + (size_t) PICTURE * PICTURE > file.bytes)
            rc = pith_fail(err, -1, "%s is cut off", path);
    }
    for (size_t i = 0; rc == 0 && i < (size_t) PICTURE * PICTURE; i++)
        out[i] = (int8_t) file.data[at + (PICTURE - 1 - i / PICTURE) * PICTURE + i % PICTURE];
    pith_buffer_done(&file);
    return rc;
}

static void check_person(const char *picture, int64_t expected)
{
    static int8_t pixels[PICTURE * PICTURE];
    const struct pith_tensor x = {PITH_INT8, {4, {1, PICTURE, PICTURE, 1}}, pixels, sizeof pixels};
    struct pith_tensor y;
    struct model model = {0};
    struct pith_error err = {0};
    char path[4096], said[PITH_ERROR_TEXT_BYTES];
    int rc = read_bmp(picture, pixels, &err);

    (void) snprintf(path, sizeof path, "%s/models/tflite_micro/person_detect.tflite", data);
    if (rc == 0)
        rc = model_open(&model, path, &x.shape, &err);
    if (rc == 0)
        rc = engine->run(model.session, &x, 1, &y, 1, &err);
    if (rc == 0)
        (void) snprintf(said, sizeof said, "no person %d, person %d", ((const int8_t *) y.data)[0],
                        ((const int8_t *) y.data)[1]);
    line(rc == 0 && greatest(&y) == expected, picture, rc == 0 ? said : pith_error_text(&err));
    model_close(&model);
}

/* The model of the sine was trained to 0.1 or so; both forms of it are alike. */
static void check_sine(const char *name)
{
    const struct pith_shape shape = {2, {1, 1}};
    struct model model = {0};
    struct pith_error err = {0};
    char path[4096], said[PITH_ERROR_TEXT_BYTES];
    double worst = 0;
    int rc;

    (void) snprintf(path, sizeof path, "%s/models/tflite_micro/%s", data, name);
    rc = model_open(&model, path, &shape, &err);
    for (int i = 0; i <= 60 && rc == 0; i++) {
        const bool integers = strstr(name, "int8") != NULL;
        const struct pith_quantization *from = integers ? input_grid(&model) : NULL;
        const struct pith_quantization *to = integers ? output_grid(&model) : NULL;
        float angle = (float) i / 10.0F;
        int8_t q = from ? to_grid((double) angle, from) : 0;
        struct pith_tensor y, x = {integers ? PITH_INT8 : PITH_FLOAT32, shape,
                                   integers ? (void *) &q : (void *) &angle, integers ? 1 : 4};
        double sine;

        rc = engine->run(model.session, &x, 1, &y, 1, &err);
        if (rc < 0)
            break;
        sine = pith_tensor_get(&y, 0);
        if (to)
            sine = (sine - to->zero_point[0]) * (double) to->scale[0];
        worst = fmax(worst, fabs(sine - sin((double) angle)));
    }
    (void) snprintf(said, sizeof said, "off by %.2g of a sine", worst);
    line(rc == 0 && worst < 0.2, name, rc == 0 ? said : pith_error_text(&err));
    model_close(&model);
}

/* ---- single operators ---- */

/* Integers with commas between them, into the tensor's type. */
static int read_csv(const char *path, struct pith_tensor *out, struct pith_error *err)
{
    struct pith_buffer file = {0};
    int64_t count = 0;
    int rc = pith_file_read(path, 1 << 24, &file, err);
    char *at = (char *) file.data, *end = NULL;

    if (rc == 0)
        rc = pith_tensor_alloc(out, out->dtype, &out->shape, err);
    while (rc == 0 && at && *at) {
        long long value = strtoll(at, &end, 10);

        if (end == at || count >= pith_shape_elements(&out->shape))
            break;
        pith_tensor_set(out, count++, (double) value);
        at = *end == ',' ? end + 1 : end;
    }
    if (rc == 0 && count != pith_shape_elements(&out->shape))
        rc = pith_fail(err, -1, "%s: %lld numbers where %lld must be", path, (long long) count,
                       (long long) pith_shape_elements(&out->shape));
    pith_buffer_done(&file);
    return rc;
}

/* "<base>_input0_int16.csv": the type is told by the model. */
static int read_case(const char *base, const char *what, struct pith_tensor *out,
                     struct pith_error *err)
{
    char path[5000];

    (void) snprintf(path, sizeof path, "%s_%s_%s.csv", base, what, pith_dtype_name(out->dtype));
    return read_csv(path, out, err);
}

static int run_operator(const char *base, struct steps *steps, struct pith_error *err)
{
    struct pith_tensor x[4] = {{0}}, y[4] = {{0}}, want = {0};
    struct model model = {0};
    char path[5000], what[32];
    size_t count = 0;
    int rc;

    (void) snprintf(path, sizeof path, "%s.tflite", base);
    rc = model_open(&model, path, NULL, err);
    if (rc == 0)
        count = pith_graph_input_count(model.graph);
    if (count > 4)
        rc = pith_fail(err, -1, "it has %zu inputs", count);
    for (size_t i = 0; i < count && rc == 0; i++) {
        uint32_t value = pith_graph_input(model.graph, i);

        x[i].dtype = pith_value_dtype(model.graph, value);
        x[i].shape = *pith_value_shape(model.graph, value);
        (void) snprintf(what, sizeof what, "input%zu", i);
        rc = read_case(base, what, &x[i], err);
    }
    if (rc == 0)
        rc = engine->run(model.session, x, count, y, 1, err);
    if (rc == 0) {
        want.dtype = y[0].dtype;
        want.shape = y[0].shape;
        rc = read_case(base, "golden", &want, err);
    }
    for (int64_t k = 0; rc == 0 && k < pith_shape_elements(&want.shape); k++)
        count_step(steps, pith_tensor_get_int(&y[0], k), pith_tensor_get_int(&want, k));
    for (size_t i = 0; i < 4; i++)
        pith_tensor_free(&x[i]);
    pith_tensor_free(&want);
    model_close(&model);
    return rc;
}

static void check_operator(const char *folder, const char *group, double least_equal)
{
    char path[4200], base[4600], what[64];
    struct steps steps = {0};
    struct pith_error err = {0};
    struct dirent *entry;
    int rc = 0, files = 0;
    DIR *list;

    (void) snprintf(path, sizeof path, "%s/tflite_op_tests/%s", folder, group);
    list = opendir(path);
    while (list && rc == 0 && (entry = readdir(list))) {
        size_t length = strlen(entry->d_name);

        if (length < 7 || strcmp(entry->d_name + length - 7, ".tflite") != 0)
            continue;
        (void) snprintf(base, sizeof base, "%s/%.*s", path, (int) length - 7, entry->d_name);
        rc = run_operator(base, &steps, &err);
        files++;
    }
    if (list)
        (void) closedir(list);
    (void) snprintf(what, sizeof what, "%s (%d models)", group, files);
    report_steps(what, rc, &err, &steps, least_equal);
}

static void check_operators(void)
{
    /* Where TensorFlow Lite multiplies 16-bit sums by a factor that it has rounded to 16 bits, its
     * result is up to half a step off, so that the nearest integer is another one in ten times. */
    static const struct {
        const char *name;
        double least_equal;
    } groups[] = {
        {"add", EQUAL_RATIO},      {"conv", 0.9},
        {"leaky_relu", 0.9},       {"pad", 1},
        {"quantize", EQUAL_RATIO}, {"strided_slice", 1},
        {"sub", EQUAL_RATIO},      {"transpose_conv", 0.9},
    };
    const char *build = getenv("PITH_BUILD"), *source = getenv("PITH_SOURCE");
    char folder[4096], command[9000];

    if (!build || !source)
        return;
    (void) snprintf(folder, sizeof folder, "%s/tests/conformance/cases", build);
    (void) snprintf(command, sizeof command,
                    "sh '%s/tests/conformance/unpack.sh' '%s' tflite_op_tests", source, folder);
    if (system(command) != 0) {
        line(false, "single operators", "their archive could not be unpacked");
        return;
    }
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        check_operator(folder, groups[i].name, groups[i].least_equal);
}

int main(void)
{
    data = getenv("PITH_DATA");
    if (!data || access(data, R_OK) != 0) {
        printf("1..0 # SKIP PITH_DATA names no folder with the test data\n");
        return 0;
    }
    engine = case_engine("native");
    check_golden("resnet8_int8");
    check_golden("vww_96_int8");
    check_golden("ad01_int8");
    check_keywords();
    check_float("openwakeword/embedding_model.tflite",
                "models/openwakeword/golden/embedding_in.npy",
                "models/openwakeword/golden/embedding_out.npy");
    check_person("no_person.bmp", 0);
    check_person("person.bmp", 1);
    check_sine("hello_world_float.tflite");
    check_sine("hello_world_int8.tflite");
    check_operators();
    printf("1..%d\n", line_number);
    return failed != 0;
}
