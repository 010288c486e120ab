/* See models.h. */
#include "bench/engines/models.h"

#include <stdio.h>
#include <string.h>

#define TINY "models/mlperf_tiny/"

const struct bench_model bench_models[] = {
    {"kws", "float32", TINY "kws_ref_model_float32.tflite", "", 0},
    {"kws", "int8", TINY "kws_ref_model_int8.tflite", "", 0},
    {"resnet8", "float32", TINY "resnet8_float32.tflite", "", 0},
    {"resnet8", "int8", TINY "resnet8_int8.tflite", "", 0},
    {"vww", "float32", TINY "vww_96_float.tflite", "", 0},
    {"vww", "int8", TINY "vww_96_int8.tflite", "", 0},
    {"ad01", "float32", TINY "ad01_float32.tflite", "", 0},
    {"ad01", "int8", TINY "ad01_int8.tflite", "", 0},
    {"mobilenetv2", "float32", NULL, "", 0},
    {"mobilenetv2", "int8", NULL, "", 0},
    {"mobilenetv3", "float32", NULL, "", 0},
    {"mobilenetv3", "int8", NULL, "", 0},
    {"mobilenetv3", "w8a16", NULL, "", 0},
    {"resnet18", "float32", NULL, "", 0},
    {"resnet18", "int8", NULL, "", 0},
    {"embedding", "float32", "models/openwakeword/embedding_model.onnx", "1x76x32x1", 0},
    {"silero_vad", "float32", "models/silero_vad/silero_vad.onnx", "1x576 2x1x128 -", 16000},
    {"fastestdet", "float32", "models/object_detection/FastestDet.onnx", "", 0},
    {"rfb320", "float32", "models/face/version-RFB-320.onnx", "", 0},
    {"lstm", "float32", NULL, "", 0},
    {"lstm", "int8", NULL, "", 0},
    {"gru", "float32", NULL, "", 0},
    {"gru", "int8", NULL, "", 0},
    {"encoder", "float32", NULL, "", 0},
    {"encoder", "int8", NULL, "", 0},
    {"encoder", "w8a16", NULL, "", 0},
    {"encoder_dynamic", "float32", NULL, "", 0},
    {"encoder_causal", "float32", NULL, "", 0},
    {"decoder", "float32", NULL, "", 0},
    {"decoder", "int8", NULL, "", 0},
    {"modulated", "float32", NULL, "", 0},
    {"qlinear", "float32", NULL, "", 0},
    {"add1", "float32", NULL, "", 0},
    {"neg10", "float32", NULL, "", 0},
    {"neg50", "float32", NULL, "", 0},
};
const size_t bench_model_count = sizeof bench_models / sizeof bench_models[0];

static bool is_word(const char *word, size_t length, const char *text)
{
    return strlen(text) == length && strncmp(word, text, length) == 0;
}

bool bench_model_wanted(const struct bench_model *model, const char *wanted)
{
    char full[64];

    if (!wanted)
        return true;
    (void) snprintf(full, sizeof full, "%s_%s", model->name, model->type);
    for (const char *word = wanted; *word;) {
        const size_t length = strcspn(word, ",");

        if (is_word(word, length, full) || is_word(word, length, model->name) ||
            is_word(word, length, model->type))
            return true;
        word += length + (word[length] == ',');
    }
    return false;
}

const char *bench_model_path(const struct bench_model *model, const char *data, const char *made,
                             char *text, size_t text_bytes)
{
    if (model->file)
        (void) snprintf(text, text_bytes, "%s/%s", data, model->file);
    else
        (void) snprintf(text, text_bytes, "%s/%s_%s.onnx", made, model->name, model->type);
    return text;
}
