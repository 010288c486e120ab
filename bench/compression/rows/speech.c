/* Nets that listen. silero_vad carries a state from chunk to chunk, so a form is run over the recording as
 * it would live: its own state comes back to it. Ranges are from the first third of the recording, the
 * test is the last half. */
#include "bench/compression/rows/rows.h"

#include "libpith/compress/statistics.h"
#include "libpith/formats/npy.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK   512
#define CONTEXT 64 /* samples of the chunk before */
#define RATE_HZ 16000
#define STATE   (2 * 128)

struct ear { /* a graph that listens */
    const struct pith_engine_ops *engine;
    struct pith_session *session;
    float sound[CONTEXT + CHUNK], state[STATE];
    int64_t rate_hz;
    struct pith_tensor inputs[3], outputs[2];
};

static void ear_open(struct ear *ear, const struct lab *lab, const struct pith_graph *graph)
{
    struct pith_technique_host host = {.engine = lab->native->ops};
    struct pith_shape shapes[3] = {pith_shape_of(2, (int64_t[]){1, CONTEXT + CHUNK}),
                                   pith_shape_of(3, (int64_t[]){2, 1, STATE / 2}), pith_shape_of(0, NULL)};
    struct pith_engine_options options = {.size_bytes = sizeof options,
                                          .threads = 1,
                                          .input_shapes = shapes,
                                          .options = lab->engine_options.values};
    struct pith_error err = {0};

    *ear = (struct ear){.engine = lab->native->ops, .rate_hz = RATE_HZ};
    ear->inputs[0] = (struct pith_tensor){PITH_FLOAT32, shapes[0], ear->sound, sizeof ear->sound};
    ear->inputs[1] = (struct pith_tensor){PITH_FLOAT32, shapes[1], ear->state, sizeof ear->state};
    ear->inputs[2] = (struct pith_tensor){PITH_INT64, shapes[2], &ear->rate_hz, sizeof ear->rate_hz};
    pith_technique_host_init(&host);
    lab_must(ear->engine->compile(&host.host, graph, &options, &ear->session, &err), &err, "compile");
}

/* The next chunk: how probably somebody speaks. */
static double ear_hear(struct ear *ear, const int16_t *sound)
{
    struct pith_error err = {0};

    memmove(ear->sound, ear->sound + CHUNK, CONTEXT * sizeof *ear->sound);
    for (size_t i = 0; i < CHUNK; i++)
        ear->sound[CONTEXT + i] = (float) sound[i] / 32768;
    lab_must(ear->engine->run(ear->session, ear->inputs, 3, ear->outputs, 2, &err), &err, "run");
    double said = pith_tensor_get(&ear->outputs[0], 0);

    memcpy(ear->state, ear->outputs[1].data, sizeof ear->state);
    return said;
}

static void ear_close(struct ear *ear)
{
    ear->engine->close(ear->session);
}

static void gather(struct subject *subject, const int16_t *sound, uint64_t chunks)
{
    struct ear ear;
    struct pith_error err = {0};

    ear_open(&ear, subject->lab, subject->graph);
    pith_samples_init(&subject->samples, chunks, 1);
    for (uint64_t i = 0; i < chunks; i++) {
        /* What it will hear, with the state from before. */
        struct ear next = ear;
        float state[STATE];

        memcpy(state, ear.state, sizeof state);
        (void) ear_hear(&ear, sound + i * CHUNK);
        next.inputs[0].data = ear.sound;
        next.inputs[1].data = state;
        next.inputs[2].data = &ear.rate_hz;
        lab_must(pith_samples_offer(&subject->samples, next.inputs, 3, &err), &err, "samples");
    }
    ear_close(&ear);
}

struct heard {
    uint64_t same, only_base, only_other, speech;
    double difference; /* mean magnitude, of probabilities */
    double base_us, other_us; /* of a chunk, mean */
};

static struct heard compare(const struct lab *lab, const struct pith_graph *base, const struct pith_graph *other,
                            const int16_t *sound, uint64_t chunks)
{
    struct ear ears[2];
    struct heard heard = {0};

    ear_open(&ears[0], lab, base);
    ear_open(&ears[1], lab, other);
    for (uint64_t i = 0; i < chunks; i++) {
        double from = lab_now_s(), a = ear_hear(&ears[0], sound + i * CHUNK), between = lab_now_s();
        double b = ear_hear(&ears[1], sound + i * CHUNK);

        heard.base_us += 1e6 * (between - from) / (double) chunks;
        heard.other_us += 1e6 * (lab_now_s() - between) / (double) chunks;

        heard.difference += fabs(b - a) / (double) chunks;
        heard.speech += a > 0.5;
        heard.same += (a > 0.5) == (b > 0.5);
        heard.only_base += a > 0.5 && !(b > 0.5);
        heard.only_other += b > 0.5 && !(a > 0.5);
    }
    ear_close(&ears[0]);
    ear_close(&ears[1]);
    return heard;
}

/* Goes finer until the validation chunks bear it: first the outputs may err less, so that more layers stay
 * finer, then integers leave the activations. */
static const char *const ladder[] = {"{}", "{\"max_error_ratio\":0.05}", "{\"max_error_ratio\":0.025}",
                                     "{\"finer\":1}"};
#define RUNGS (sizeof ladder / sizeof *ladder)

static double differ(struct heard heard, uint64_t chunks)
{
    return 100 * (1 - (double) heard.same / (double) chunks);
}

void row_silero(const struct lab *lab)
{
    const char *file = lab_path(lab->data, "models/silero_vad/golden/speech_60s.wav");
    struct subject subject = {.points = 100};
    struct pith_tensor wav = {0};
    struct pith_error err = {0};
    double rate_hz;
    bool done = false;

    table_row("silero_vad", "decisions of the last 30 s of a recording, with its state; ranges from the first 20 s, "
                            "validation on the 10 s between");
    subject_open(&subject, lab, lab_path(lab->data, "models/silero_vad/silero_vad_16k_op15.onnx"));
    lab_must(pith_wav_read(&wav, &rate_hz, file, &err), &err, file);
    uint64_t chunks = (uint64_t) wav.shape.dim[0] / CHUNK, third = chunks / 3, half = chunks / 2;
    const int16_t *sound = wav.data;

    gather(&subject, sound, third);
    for (size_t i = 0; i < RUNGS && !done; i++) {
        struct outcome outcome = {0};
        struct pith_graph *graph = subject_quantize(&subject, ladder[i], -1, &outcome);
        struct heard seen = compare(lab, subject.graph, graph, sound + third * CHUNK, half - third);

        table_note("%s: %.2f %% of the %d validation decisions differ", ladder[i], differ(seen, half - third),
                   (int) (half - third));
        done = differ(seen, half - third) <= 1 || i + 1 == RUNGS;
        if (done) {
            struct heard heard = compare(lab, subject.graph, graph, sound + half * CHUNK, chunks - half);

            table_figure("decisions of the test", (double) (chunks - half), "");
            table_figure("of them speech, by the float model", (double) heard.speech, "");
            table_figure("a chunk, float32", heard.base_us, "us");
            table_figure("a chunk, int8", heard.other_us, "us");
            table_figure("mean difference of the probability", 100 * heard.difference, "points");
            table_hold(differ(heard, chunks - half) <= 1 ? HELD : MISSED,
                       "%.2f %% of the decisions differ, at most 1 (speech for one alone %d and %d, p %.3f)",
                       differ(heard, chunks - half), (int) heard.only_base, (int) heard.only_other,
                       pith_mcnemar(heard.only_base, heard.only_other));
            table_hold_bytes(&subject, &outcome, 0.30);
        }
        pith_graph_free(graph);
        outcome_done(&outcome);
    }
    pith_tensor_free(&wav);
    subject_close(&subject);
}

/* ---- a chain ---- */

static double member(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return json_is_number(value) ? json_number_value(value) : NAN;
}

/* What `pith compress` made and `pith compare` found, on words spoken by voices of the test alone. */
void row_wakeword(const struct lab *lab)
{
    const char *path = lab_path(lab->made ? lab->made : ".", "wakeword.json");
    json_error_t fault;
    json_t *found = json_load_file(path, 0, &fault);
    const json_t *comparison = json_object_get(found, "comparison"), *models = json_object_get(found, "models");
    const json_t *original = json_array_get(models, 0), *variant = json_array_get(models, 1);

    if (!found)
        lab_die("%s: %s: run bench/compression/ptq", path, fault.text);
    double samples = member(comparison, "samples"), same = member(comparison, "same");
    double ratio = member(variant, "bytes") / member(original, "weight_bytes");

    table_row("wakeword", "openWakeWord's chain (mel, embedding, two wake words) with recipe balanced, budget 2 points");
    table_figure("utterances", samples, "");
    table_figure("right in float32 alone", member(comparison, "only_a"), "");
    table_figure("right in the variant alone", member(comparison, "only_b"), "");
    table_figure("float32: a step, median", member(original, "latency_p50_us"), "us");
    table_figure("variant: a step, median", member(variant, "latency_p50_us"), "us");
    table_hold(100 * (1 - same / samples) <= 1 ? HELD : MISSED, "%.2f %% of the decisions differ, at most 1",
               100 * (1 - same / samples));
    table_hold(ratio <= 0.30 ? HELD : MISSED, "%.3f of the bytes of float32 weights, at most 0.30", ratio);
    json_decref(found);
}
