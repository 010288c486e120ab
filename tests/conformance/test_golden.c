/* Golden tensors of the real ONNX models, reproduced by engine native: the greatest absolute error
 * is at most 1e-4 of the output's range. One TAP line a model; silero_vad runs over a minute of
 * speech with its state carried over. */
#include "tests/conformance/onnx_cases.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libpith/formats/npy.h"
#include "libpith/formats/onnx.h"

#define GOLDEN_RATIO      1e-4
#define MODEL_LIMIT_BYTES ((size_t) 64 << 20)
#define VAD_CHUNK         512
#define VAD_CONTEXT       64

static const char *data;
static const struct pith_engine_ops *engine;
static int line_number, failed;

static void report(const char *what, int rc, const struct pith_error *err, double worst,
                   double range)
{
    const bool good = rc == 0 && worst <= GOLDEN_RATIO * range;

    failed += !good;
    printf("%s %d - %s: ", good ? "ok" : "not ok", ++line_number, what);
    if (rc < 0)
        printf("%s\n", pith_error_text(err));
    else
        printf("off by %.2g of a range of %.4g\n", worst, range);
    (void) fflush(stdout);
}

/* Nobody but the session has the graph then, so that it runs on what it has kept of the constants. */
static int open_model(const char *file, const struct pith_shape *shapes,
                      struct pith_session **session, struct pith_error *err)
{
    struct pith_graph *graph = NULL;
    struct pith_engine_options options = {
        .size_bytes = sizeof options, .threads = 1, .input_shapes = shapes};
    char path[4096];
    int rc;

    (void) snprintf(path, sizeof path, "%s/models/%s", data, file);
    rc = pith_graph_open(&graph, path, MODEL_LIMIT_BYTES, err);
    if (rc == 0)
        rc = engine->compile(NULL, graph, &options, session, err);
    pith_graph_free(graph);
    return rc;
}

static int read_golden(const char *file, struct pith_tensor *out, struct pith_error *err)
{
    char path[4096];

    (void) snprintf(path, sizeof path, "%s/models/%s", data, file);
    return pith_npy_read(out, path, err);
}

struct range {
    double low, high, worst;
};

static void compare(struct range *range, double got, double want)
{
    const double error = fabs(got - want);

    range->low = want < range->low ? want : range->low;
    range->high = want > range->high ? want : range->high;
    range->worst = !(error <= range->worst) ? error : range->worst; /* NaN is the worst */
}

/* A score's range is what it can be, 0 to 1, also where the golden file has one entry only. */
static void report_range(const char *what, int rc, const struct pith_error *err,
                         const struct range *range)
{
    report(what, rc, err, range->worst, range->high > range->low ? range->high - range->low : 1.0);
}

/* wanted: one file an output, NULL where the output is not compared. */
static void check_model(const char *model, const char *input, const char *const *wanted,
                        size_t count)
{
    struct pith_tensor in = {0}, outputs[8] = {{0}};
    struct pith_session *session = NULL;
    struct pith_error err = {0};
    struct range range = {INFINITY, -INFINITY, 0.0};
    int rc = read_golden(input, &in, &err);

    if (rc == 0)
        rc = open_model(model, &in.shape, &session, &err);
    if (rc == 0)
        rc = engine->run(session, &in, 1, outputs, count, &err);
    for (size_t i = 0; i < count && rc == 0; i++) {
        struct pith_tensor want = {0};

        range = (struct range){INFINITY, -INFINITY, 0.0};
        rc = read_golden(wanted[i], &want, &err);
        for (int64_t e = 0; rc == 0 && e < pith_shape_elements(&want.shape); e++)
            compare(&range, pith_tensor_get(&outputs[i], e), pith_tensor_get(&want, e));
        if (rc == 0 && pith_shape_elements(&want.shape) != pith_shape_elements(&outputs[i].shape))
            range.worst = INFINITY;
        pith_tensor_free(&want);
        if (rc == 0)
            report_range(wanted[i], rc, &err, &range);
    }
    if (rc < 0)
        report(model, rc, &err, 0.0, 0.0);
    engine->close(session);
    pith_tensor_free(&in);
}

/* ---- silero_vad ---- */

struct vad {
    float input[VAD_CONTEXT + VAD_CHUNK];
    float state[2 * 128];
    int64_t rate_hz;
    struct pith_tensor in[3];
};

static int vad_chunk(struct vad *vad, struct pith_session *session,
                     const struct pith_tensor *speech, int64_t chunk, float *out,
                     struct pith_error *err)
{
    struct pith_tensor outputs[2];
    int rc;

    memmove(vad->input, vad->input + VAD_CHUNK, VAD_CONTEXT * sizeof *vad->input);
    for (int64_t i = 0; i < VAD_CHUNK; i++)
        vad->input[VAD_CONTEXT + i] =
            (float) pith_tensor_get(speech, chunk * VAD_CHUNK + i) / 32768.0F;
    rc = engine->run(session, vad->in, 3, outputs, 2, err);
    if (rc < 0)
        return rc;
    *out = *(const float *) outputs[0].data;
    memcpy(vad->state, outputs[1].data, sizeof vad->state);
    return 0;
}

static void check_vad(const char *model, const char *golden)
{
    const struct pith_shape shapes[3] = {{2, {1, VAD_CONTEXT + VAD_CHUNK}}, {3, {2, 1, 128}}, {0}};
    struct vad vad = {.rate_hz = 16000};
    struct pith_tensor speech = {0}, want = {0};
    struct pith_session *session = NULL;
    struct pith_error err = {0};
    struct range range = {INFINITY, -INFINITY, 0.0};
    double rate_hz;
    char path[4096];
    int rc;

    vad.in[0] = (struct pith_tensor){PITH_FLOAT32, shapes[0], vad.input, sizeof vad.input};
    vad.in[1] = (struct pith_tensor){PITH_FLOAT32, shapes[1], vad.state, sizeof vad.state};
    vad.in[2] = (struct pith_tensor){PITH_INT64, shapes[2], &vad.rate_hz, sizeof vad.rate_hz};
    (void) snprintf(path, sizeof path, "%s/models/silero_vad/golden/speech_60s.wav", data);
    rc = pith_wav_read(&speech, &rate_hz, path, &err);
    if (rc == 0)
        rc = read_golden(golden, &want, &err);
    if (rc == 0)
        rc = open_model(model, shapes, &session, &err);
    for (int64_t chunk = 0; rc == 0 && chunk < pith_shape_elements(&want.shape); chunk++) {
        float probability;

        rc = vad_chunk(&vad, session, &speech, chunk, &probability, &err);
        if (rc == 0)
            compare(&range, (double) probability, pith_tensor_get(&want, chunk));
    }
    report_range(model, rc, &err, &range);
    engine->close(session);
    pith_tensor_free(&speech);
    pith_tensor_free(&want);
}

int main(void)
{
    data = getenv("PITH_DATA");
    if (!data || access(data, R_OK) != 0) {
        printf("1..0 # SKIP PITH_DATA names no folder with the test data\n");
        return 0;
    }
    engine = case_engine("native");
    check_model("openwakeword/melspectrogram.onnx", "openwakeword/golden/mel_in.npy",
                (const char *const[]){"openwakeword/golden/mel_out.npy"}, 1);
    check_model("openwakeword/embedding_model.onnx", "openwakeword/golden/embedding_in.npy",
                (const char *const[]){"openwakeword/golden/embedding_out.npy"}, 1);
    check_model("openwakeword/hey_jarvis_v0.1.onnx", "openwakeword/golden/wakeword_in.npy",
                (const char *const[]){"openwakeword/golden/hey_jarvis_v0.1_out.npy"}, 1);
    check_model("openwakeword/hey_rhasspy_v0.1.onnx", "openwakeword/golden/wakeword_in.npy",
                (const char *const[]){"openwakeword/golden/hey_rhasspy_v0.1_out.npy"}, 1);
    check_model("face/version-RFB-320.onnx", "face/golden/in.npy",
                (const char *const[]){"face/golden/out_scores.npy", "face/golden/out_boxes.npy"},
                2);
    check_model("object_detection/FastestDet.onnx", "object_detection/golden/in.npy",
                (const char *const[]){"object_detection/golden/out_758.npy"}, 1);
    check_vad("silero_vad/silero_vad.onnx", "silero_vad/golden/silero_vad_prob.npy");
    check_vad("silero_vad/silero_vad_16k_op15.onnx",
              "silero_vad/golden/silero_vad_16k_op15_prob.npy");
    printf("1..%d\n", line_number);
    return failed != 0;
}
