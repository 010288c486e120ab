/* The whole wake-word chain on real graphs and recordings: the native engine through
 * libpith/pipeline, against the scores that ONNX Runtime gave (golden/chain_scores.csv: a clip with
 * 32000 zero samples before and after it). */
#include "libpith/formats/npy.h"
#include "libpith/formats/onnx.h"
#include "libpith/pipeline/chain.h"
#include "libpith/plugin/plugins.h"
#include "tests/testing.h"

#include <math.h>

#define SILENCE 32000
#define HEADS   3

static const char *const names[] = {"melspectrogram", "embedding_model", "hey_jarvis_v0.1",
                                    "hey_mycroft_v0.1", "hey_rhasspy_v0.1"};

struct fixture {
    struct pith_plugins *plugins;
    const struct pith_plugin *engine;
    struct pith_options options;
    struct pith_manifest manifest;
    struct pith_graph *graphs[5];
};

static void path_of(char *path, size_t bytes, const char *rest)
{
    (void) snprintf(path, bytes, "%s/models/openwakeword/%s", testing_data(), rest);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct pith_error err = {0};
    char path[512], file[128];

    *state = f;
    assert_non_null(f);
    if (!testing_data())
        return 0;
    assert_ok(pith_plugins_open(&f->plugins, NULL, &err), &err);
    assert_ok(pith_plugins_find(f->plugins, PITH_KIND_ENGINE, "native", &f->engine, &err), &err);
    assert_ok(pith_options_from_json(&f->options, f->engine->options, NULL, "native", &err), &err);
    for (size_t i = 0; i < 5; i++) {
        (void) snprintf(file, sizeof file, "%s.onnx", names[i]);
        path_of(path, sizeof path, file);
        assert_ok(pith_graph_open(&f->graphs[i], path, 1 << 28, &err), &err);
        (void) snprintf(f->manifest.graphs[i].name, PITH_NAME_BYTES, "%s", names[i]);
    }
    f->manifest.graph_count = 5;
    f->manifest.input_rate_hz = 16000;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < 5; i++)
        pith_graph_free(f->graphs[i]);
    pith_options_done(&f->options);
    pith_plugins_free(f->plugins);
    free(f);
    return 0;
}

/* mel_window, mel_hop: samples; the rest is as the model wants it. */
static struct pith_chain *open_chain(struct fixture *f, int64_t mel_window, int64_t mel_hop)
{
    struct pith_stage *s = f->manifest.stages;
    struct pith_chain_options options = {
        .engine = f->engine->ops, .engine_options = f->options.values, .threads = 1};
    struct pith_error err = {0};
    struct pith_chain *chain;

    s[0] = (struct pith_stage){.kind = PITH_STAGE_WINDOW, .size = mel_window, .hop = mel_hop};
    s[1] = (struct pith_stage){.kind = PITH_STAGE_GRAPH, .graph = {0}, .graph_count = 1};
    s[2] = (struct pith_stage){.kind = PITH_STAGE_MAP,
                               .expression = (char *) (uintptr_t) "x / 10 + 2"};
    s[3] = (struct pith_stage){.kind = PITH_STAGE_WINDOW, .size = 76, .hop = 8};
    s[4] = (struct pith_stage){.kind = PITH_STAGE_GRAPH, .graph = {1}, .graph_count = 1};
    s[5] = (struct pith_stage){.kind = PITH_STAGE_WINDOW, .size = 16, .hop = 1};
    s[6] = (struct pith_stage){.kind = PITH_STAGE_HEADS, .graph = {2, 3, 4}, .graph_count = HEADS};
    s[7] = (struct pith_stage){
        .kind = PITH_STAGE_DECIDE, .threshold = 0.5, .hold_off_ms = 1500, .smooth_count = 1};
    f->manifest.stage_count = 8;
    assert_ok(pith_chain_open(&chain, &f->manifest, (const struct pith_graph *const *) f->graphs,
                              &options, &err),
              &err);
    return chain;
}

/* The clip between silences, as the codec would give it. */
static void read_clip(struct pith_tensor *out, const char *clip)
{
    struct pith_tensor wav;
    struct pith_error err = {0};
    char path[512], file[128];
    double rate_hz;
    int64_t count;

    (void) snprintf(file, sizeof file, "golden/%s", clip);
    path_of(path, sizeof path, file);
    assert_ok(pith_wav_read(&wav, &rate_hz, path, &err), &err);
    assert_float_equal(rate_hz, 16000, 0);
    count = wav.shape.dim[0] + 2 * SILENCE;
    assert_ok(
        pith_tensor_alloc(out, PITH_INT16, &(struct pith_shape){.rank = 1, .dim = {count}}, &err),
        &err);
    memcpy((int16_t *) out->data + SILENCE, wav.data, wav.bytes);
    pith_tensor_free(&wav);
}

struct scores {
    size_t count;
    float score[128][HEADS];
    unsigned fired[HEADS];
    float greatest[HEADS];
};

static int keep(void *user, const struct pith_result *result)
{
    struct scores *scores = user;

    assert_int_equal(result->score_count, HEADS);
    assert_true(scores->count < 128);
    for (size_t i = 0; i < HEADS; i++) {
        scores->score[scores->count][i] = result->scores[i].score;
        scores->greatest[i] = fmaxf(scores->greatest[i], result->scores[i].score);
    }
    if (result->fired >= 0)
        scores->fired[result->fired]++;
    scores->count++;
    return 0;
}

static void run(struct pith_chain *chain, const struct pith_tensor *clip, int64_t piece,
                struct scores *scores)
{
    struct pith_error err = {0};

    for (int64_t at = 0; at < clip->shape.dim[0]; at += piece) {
        int64_t count = clip->shape.dim[0] - at < piece ? clip->shape.dim[0] - at : piece;
        struct pith_tensor part = {PITH_INT16, pith_shape_of(1, &count),
                                   (int16_t *) clip->data + at, (size_t) count * 2};
        assert_ok(pith_chain_feed(chain, &part, keep, scores, &err), &err);
    }
}

/* The greatest difference from the golden scores; *out_steps: how many of them there are for one
 * model. */
static double worst_difference(const char *clip, const struct scores *scores, size_t *out_steps)
{
    char path[512], line[256], name[64], model[64];
    double score, worst = 0;
    unsigned step;
    FILE *file;

    *out_steps = 0;
    path_of(path, sizeof path, "golden/chain_scores.csv");
    file = fopen(path, "re");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%63[^,],%63[^,],%u,%lf", name, model, &step, &score) != 4 ||
            strcmp(name, clip) != 0)
            continue;
        for (size_t i = 0; i < HEADS; i++)
            if (strcmp(model, names[2 + i]) == 0) {
                if (step < scores->count)
                    worst = fmax(worst, fabs((double) scores->score[step][i] - score));
                *out_steps = step + 1 > *out_steps ? step + 1 : *out_steps;
            }
    }
    (void) fclose(file);
    return worst;
}

/* The spectrogram is relative to the loudest moment of what it sees, so the golden scores, made of
 * whole clips, come out of one window over the whole clip. */
static void whole_clip_reproduces_the_golden_scores(void **state)
{
    static const char *const clips[] = {"hey_mycroft_test.wav", "hey_jane.wav"};

    skip_without_data();
    for (size_t i = 0; i < 2; i++) {
        struct pith_tensor clip;
        struct pith_chain *chain;
        struct scores scores = {0};
        size_t steps;
        double worst;

        read_clip(&clip, clips[i]);
        chain = open_chain(*state, clip.shape.dim[0], clip.shape.dim[0]);
        run(chain, &clip, clip.shape.dim[0], &scores);
        worst = worst_difference(clips[i], &scores, &steps);
        print_message("# %s: %zu steps, worst difference %.2g\n", clips[i], steps, worst);
        assert_int_equal(scores.count, steps);
        assert_true(steps > 30);
        assert_true(worst < 1e-4);
        pith_chain_close(chain);
        pith_tensor_free(&clip);
    }
}

/* Live, each mel window sees 110 ms: the same frames but for that one normalization, and the same
 * decisions. */
static void streaming_decides_as_the_whole_clip(void **state)
{
    struct pith_tensor clip;
    struct pith_chain *chain;
    struct scores wakes = {0}, quiet = {0}, again = {0};

    skip_without_data();
    chain = open_chain(*state, 1760, 1280);
    read_clip(&clip, "hey_mycroft_test.wav");
    run(chain, &clip, 1280, &wakes);
    print_message("# hey_mycroft_test.wav: jarvis %.4f mycroft %.4f rhasspy %.4f\n",
                  wakes.greatest[0], wakes.greatest[1], wakes.greatest[2]);
    assert_int_equal(wakes.fired[0], 0);
    assert_int_equal(wakes.fired[1], 1);
    assert_int_equal(wakes.fired[2], 0);
    pith_chain_reset(chain);
    run(chain, &clip, 37, &again); /* however the samples are cut up */
    assert_memory_equal(&wakes, &again, sizeof wakes);
    pith_tensor_free(&clip);

    pith_chain_reset(chain);
    read_clip(&clip, "hey_jane.wav");
    run(chain, &clip, 4000, &quiet);
    print_message("# hey_jane.wav: jarvis %.4f mycroft %.4f rhasspy %.4f\n", quiet.greatest[0],
                  quiet.greatest[1], quiet.greatest[2]);
    assert_int_equal(quiet.fired[0] + quiet.fired[1] + quiet.fired[2], 0);
    assert_true(pith_chain_memory_bytes(chain) > 0);
    pith_tensor_free(&clip);
    pith_chain_close(chain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(whole_clip_reproduces_the_golden_scores, setup, teardown),
        cmocka_unit_test_setup_teardown(streaming_decides_as_the_whole_clip, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
