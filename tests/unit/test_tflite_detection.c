/* TFLite_Detection_PostProcess beside a plain form of what TensorFlow Lite's own does, and the options that it reads. */
#include "tests/unit/native_plugin.h"
#include "tests/unit/tflite_build.h"

#include "libpith/formats/flexbuffer.h"
#include "libpith/formats/open.h"

#include <errno.h>
#include <math.h>

/* ---- options, as FlexBuffers has them ---- */

struct entry {
    const char *key;
    bool is_float;
    double value;
};

/* A map of numbers of 4 bytes each; keys in their order. Returns the bytes. */
static uint32_t put_map(uint8_t *out, const struct entry *entries, uint32_t count)
{
    enum { FLEX_INT = 1, FLEX_FLOAT = 3, FLEX_MAP = 9, WIDE = 2 /* 4 bytes, as types say it */ };
    uint32_t key_at[16], at = 0, keys, map;

    for (uint32_t i = 0; i < count; i++) {
        key_at[i] = at;
        memcpy(out + at, entries[i].key, strlen(entries[i].key) + 1);
        at += (uint32_t) strlen(entries[i].key) + 1;
    }
    at = (at + 3) / 4 * 4;
    memcpy(out + at, &count, 4);
    keys = at + 4;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t back = keys + 4 * i - key_at[i];

        memcpy(out + keys + 4 * i, &back, 4);
    }
    map = keys + 4 * count + 12;
    memcpy(out + map - 12, &(uint32_t){map - 12 - keys}, 4);
    memcpy(out + map - 8, &(uint32_t){4}, 4);
    memcpy(out + map - 4, &count, 4);
    for (uint32_t i = 0; i < count; i++) {
        const float real = (float) entries[i].value;
        const int32_t integer = (int32_t) entries[i].value;

        memcpy(out + map + 4 * i, entries[i].is_float ? (const void *) &real : &integer, 4);
        out[map + 4 * count + i] = (uint8_t) ((entries[i].is_float ? FLEX_FLOAT : FLEX_INT) << 2 | WIDE);
    }
    at = map + 5 * count;
    out[at] = (uint8_t) (at - map);
    out[at + 1] = FLEX_MAP << 2 | WIDE;
    out[at + 2] = 1;
    return at + 3;
}

static void numbers_of_a_map_are_found_by_name(void **state)
{
    /* {"a": -2, "b": 1.5, "c": true}: slots of one byte, from which b leads to a double */
    static const uint8_t small[] = {'a', 0, 'b', 0, 'c', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 3, 17, 16, 15,
                                    3,   1, 3,   0xfe, 16, 1, 4, 35, 104, 6, 0x24, 1};
    uint8_t bytes[256];
    const struct entry entries[] = {{"height", true, 0.25}, {"most", false, 1000}, {"one", false, -1}};
    double value = 0;

    (void) state;
    assert_int_equal(pith_flexbuffer_number(small, sizeof small, "a", &value), 1);
    assert_true(value == -2);
    assert_int_equal(pith_flexbuffer_number(small, sizeof small, "b", &value), 1);
    assert_true(value == 1.5);
    assert_int_equal(pith_flexbuffer_number(small, sizeof small, "c", &value), 1);
    assert_true(value == 1);
    assert_int_equal(pith_flexbuffer_number(small, sizeof small, "d", &value), 0);

    const uint32_t count = put_map(bytes, entries, 3);

    for (int i = 0; i < 3; i++) {
        assert_int_equal(pith_flexbuffer_number(bytes, count, entries[i].key, &value), 1);
        assert_true(value == entries[i].value);
    }
    assert_int_equal(pith_flexbuffer_number(bytes, count, "mos", &value), 0);
    assert_int_equal(pith_flexbuffer_number(bytes, count, "mosty", &value), 0);
}

/* Whatever the bytes say, only they are read: a sanitizer sees it. */
static void bent_maps_are_survived(void **state)
{
    uint8_t whole[256];
    const struct entry entries[] = {{"height", true, 0.25}, {"most", false, 1000}, {"one", false, -1}};
    const uint32_t count = put_map(whole, entries, 3);
    double value;

    (void) state;
    assert_int_equal(pith_flexbuffer_number(whole, count, "most", &value), 1);
    for (uint32_t bytes = 0; bytes <= count; bytes++) {
        uint8_t *cut = malloc(bytes ? bytes : 1);

        assert_non_null(cut);
        memcpy(cut, whole + count - bytes, bytes);
        for (uint32_t at = 0; at < bytes; at++)
            for (int bend = 0; bend < 256; bend += bend < 4 ? 1 : 31) {
                cut[at] = (uint8_t) (cut[at] + bend);
                int rc = pith_flexbuffer_number(cut, bytes, "most", &value);

                assert_true(rc == 0 || rc == 1 || rc == -EBADMSG);
                cut[at] = (uint8_t) (cut[at] - bend);
            }
        assert_true(bytes > 3 || pith_flexbuffer_number(cut, bytes, "most", &value) == -EBADMSG);
        free(cut);
    }
}

/* ---- detections ---- */

#define ANCHORS 40
#define CLASSES 5
#define MOST    12

struct form {
    bool by_class;
    int64_t most, classes_each, most_of_a_class;
    int background; /* scores of one class more */
    float threshold, overlap, scale[4];
};

struct detections {
    float boxes[4 * MOST * CLASSES], classes[MOST * CLASSES], scores[MOST * CLASSES], count;
};

static float anchors[ANCHORS][4], encoded[ANCHORS][4], scores[ANCHORS * (CLASSES + 1)];

static float random_share(void)
{
    static uint32_t seed = 7;

    seed = seed * 1664525U + 1013904223U;
    return (float) (seed >> 8) / (float) (1 << 24);
}

static void fill(void)
{
    for (int i = 0; i < ANCHORS; i++)
        for (int k = 0; k < 4; k++) {
            anchors[i][k] = k < 2 ? random_share() : 0.2F + 0.3F * random_share();
            encoded[i][k] = 2 * random_share() - 1;
        }
    for (int i = 0; i < ANCHORS * (CLASSES + 1); i++)
        scores[i] = random_share();
}

static float overlap_of(const float *a, const float *b)
{
    const float height = fminf(a[2], b[2]) - fmaxf(a[0], b[0]), width = fminf(a[3], b[3]) - fmaxf(a[1], b[1]);
    const float both = fmaxf(height, 0) * fmaxf(width, 0);

    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both);
}

/* The indices of boxes that stay, those of greater score first. */
static int suppress(float (*boxes)[4], const float *score, const struct form *form, int64_t most, int *out)
{
    bool gone[ANCHORS] = {false};
    int count = 0;

    while (count < most) {
        int best = -1;

        for (int i = 0; i < ANCHORS; i++)
            if (!gone[i] && score[i] >= form->threshold && (best < 0 || score[i] > score[best]))
                best = i;
        if (best < 0)
            break;
        out[count++] = best;
        for (int i = 0; i < ANCHORS; i++)
            gone[i] = gone[i] || i == best || overlap_of(boxes[i], boxes[best]) > form->overlap;
    }
    return count;
}

static float score_of(int anchor, int class_index, const struct form *form)
{
    return scores[anchor * (CLASSES + form->background) + form->background + class_index];
}

static void list(struct detections *out, int row, const float *box, int class_index, float score)
{
    memcpy(out->boxes + (size_t) 4 * row, box, 4 * sizeof *box);
    out->classes[row] = (float) class_index;
    out->scores[row] = score;
}

/* The class of this rank for an anchor. */
static int ranked_class(int anchor, int rank, const struct form *form)
{
    for (int c = 0; c < CLASSES; c++) {
        int better = 0;

        for (int other = 0; other < CLASSES; other++)
            better += score_of(anchor, other, form) > score_of(anchor, c, form);
        if (better == rank)
            return c;
    }
    return -1;
}

static void detect_by_class(float (*boxes)[4], const struct form *form, struct detections *out)
{
    struct {
        int anchor, class_index;
    } all[ANCHORS * CLASSES], swap;
    int count = 0, kept[ANCHORS];
    float of_class[ANCHORS];

    for (int c = 0; c < CLASSES; c++) {
        for (int i = 0; i < ANCHORS; i++)
            of_class[i] = score_of(i, c, form);
        const int found = suppress(boxes, of_class, form, form->most_of_a_class, kept);

        for (int i = 0; i < found; i++) {
            all[count].anchor = kept[i];
            all[count++].class_index = c;
        }
    }
    for (int row = 0; row < count && row < form->most; row++) {
        for (int i = row + 1; i < count; i++)
            if (score_of(all[i].anchor, all[i].class_index, form) > score_of(all[row].anchor, all[row].class_index, form))
                swap = all[i], all[i] = all[row], all[row] = swap;
        list(out, row, boxes[all[row].anchor], all[row].class_index, score_of(all[row].anchor, all[row].class_index, form));
    }
    out->count = (float) (count < form->most ? count : form->most);
}

static void detect(const struct form *form, struct detections *out)
{
    float boxes[ANCHORS][4], best[ANCHORS];
    int kept[ANCHORS];

    memset(out, 0, sizeof *out);
    for (int i = 0; i < ANCHORS; i++)
        for (int k = 0; k < 2; k++) {
            const float centre = encoded[i][k] / form->scale[k] * anchors[i][2 + k] + anchors[i][k],
                        half = 0.5F * expf(encoded[i][2 + k] / form->scale[2 + k]) * anchors[i][2 + k];

            boxes[i][k] = centre - half;
            boxes[i][2 + k] = centre + half;
        }
    if (form->by_class) {
        detect_by_class(boxes, form, out);
        return;
    }
    for (int i = 0; i < ANCHORS; i++)
        best[i] = score_of(i, ranked_class(i, 0, form), form);
    const int count = suppress(boxes, best, form, form->most, kept), each = (int) form->classes_each;

    for (int i = 0; i < count; i++)
        for (int k = 0; k < each; k++) {
            const int c = ranked_class(kept[i], k, form);

            list(out, i * each + k, boxes[kept[i]], c, score_of(kept[i], c, form));
        }
    out->count = (float) count;
}

/* 0, 1, 2: boxes, scores, anchors; 3 to 6: what is detected. */
static void put_detector(struct build *b, const struct form *form, const uint8_t *options, uint32_t option_bytes)
{
    static const int32_t codes[] = {32};
    const struct built_tensor tensors[] = {{"boxes", 3, {1, ANCHORS, 4}, TFLITE_FLOAT32, NULL, 0, 0},
                                           {"scores", 3, {1, ANCHORS, CLASSES + form->background}, TFLITE_FLOAT32, NULL, 0, 0},
                                           {"anchors", 2, {ANCHORS, 4}, TFLITE_FLOAT32, anchors, 0, 0},
                                           {"found", 0, {0}, TFLITE_FLOAT32, NULL, 0, 0},
                                           {"class", 0, {0}, TFLITE_FLOAT32, NULL, 0, 0},
                                           {"score", 0, {0}, TFLITE_FLOAT32, NULL, 0, 0},
                                           {"count", 0, {0}, TFLITE_FLOAT32, NULL, 0, 0}};
    const struct built_operator op = {0, {0, 1, 2}, {3, 4, 5, 6}, 3, 4, .custom = options, .custom_bytes = option_bytes};
    const struct built_graph model = {tensors, &op, 7, 1, 0, 3, 1, 3};

    put_model(b, codes, 1, "TFLite_Detection_PostProcess", &model, 1);
}

static uint32_t put_options(uint8_t *out, const struct form *form)
{
    const struct entry entries[] = {
        {"detections_per_class", false, (double) form->most_of_a_class},
        {"h_scale", true, (double) form->scale[2]},
        {"max_classes_per_detection", false, (double) form->classes_each},
        {"max_detections", false, (double) form->most},
        {"nms_iou_threshold", true, (double) form->overlap},
        {"nms_score_threshold", true, (double) form->threshold},
        {"num_classes", false, CLASSES},
        {"use_regular_nms", false, form->by_class},
        {"w_scale", true, (double) form->scale[3]},
        {"x_scale", true, (double) form->scale[1]},
        {"y_scale", true, (double) form->scale[0]},
    };

    return put_map(out, entries, sizeof entries / sizeof *entries);
}

static void run_detector(const struct build *b, const struct form *form, struct pith_graph **graph,
                         struct pith_session **session, struct pith_tensor out[4])
{
    const struct pith_engine_options options = {.size_bytes = sizeof options, .threads = 1};
    const int64_t classes = CLASSES + form->background;
    const struct pith_tensor in[] = {
        {PITH_FLOAT32, {3, {1, ANCHORS, 4}}, encoded, sizeof encoded},
        {PITH_FLOAT32, {3, {1, ANCHORS, classes}}, scores, (size_t) (ANCHORS * classes) * sizeof *scores}};
    struct pith_error err = {0};

    assert_ok(pith_graph_parse(graph, b->bytes, b->used, &err), &err);
    assert_ok(engine->compile(NULL, *graph, &options, session, &err), &err);
    assert_ok(engine->run(*session, in, 2, out, 4, &err), &err);
}

static void assert_near(const struct pith_tensor *got, const float *wanted, int64_t count)
{
    assert_int_equal(pith_shape_elements(&got->shape), count);
    for (int64_t i = 0; i < count; i++)
        assert_float_equal(((const float *) got->data)[i], wanted[i], 1e-6F);
}

static void boxes_are_those_of_tensorflow(void **state)
{
    static const struct form forms[] = {
        {false, 10, 1, 100, 1, 1e-8F, 0.6F, {10, 10, 5, 5}},    /* as TensorFlow's detectors have it */
        {false, 12, 1, 100, 0, 0.5F, 0.1F, {10, 9, 5, 4}},      /* few are left */
        {false, 4, 3, 100, 1, 0.2F, 0.5F, {2, 2, 5, 5}},        /* several classes of one box */
        {false, 5, 5, 100, 1, 2, 0.5F, {2, 2, 5, 5}},           /* none */
        {true, 12, 1, 3, 1, 0.3F, 0.5F, {10, 10, 5, 5}},        /* more than are listed */
        {true, 12, 1, 100, 0, 0.97F, 0.5F, {10, 10, 5, 5}},     /* few */
        {true, 6, 1, 100, 0, 2, 0.5F, {10, 10, 5, 5}},          /* none */
    };

    (void) state;
    fill();
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        const struct form *form = &forms[i];
        const int64_t rows = form->most * (form->by_class ? 1 : form->classes_each);
        struct detections wanted;
        struct pith_tensor out[4];
        struct pith_graph *graph;
        struct pith_session *session;
        uint8_t options[512];
        struct build b;

        put_detector(&b, form, options, put_options(options, form));
        run_detector(&b, form, &graph, &session, out);
        detect(form, &wanted);
        assert_near(&out[0], wanted.boxes, 4 * rows);
        assert_near(&out[1], wanted.classes, rows);
        assert_near(&out[2], wanted.scores, rows);
        assert_near(&out[3], &wanted.count, 1);
        engine->close(session);
        pith_graph_free(graph);
    }
}

static void options_that_say_too_little_are_refused(void **state)
{
    static const struct form form = {false, 10, 1, 100, 1, 1e-8F, 0.6F, {10, 10, 5, 5}};
    static const struct {
        struct entry entry;
        const char *why;
    } wrong[] = {{{"max_detections", false, 10}, "its option max_classes_per_detection is missing"},
                 {{"max_detections", false, 0}, "its option max_detections is out of bounds"},
                 {{"max_detections", true, NAN}, "its option max_detections is missing"},
                 {{"max_classes_per_detection", false, 1}, "its option max_detections is missing"}};
    struct pith_error err = {0};
    struct pith_graph *graph;
    uint8_t options[512];
    struct build b;

    (void) state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        put_detector(&b, &form, options, put_map(options, &wrong[i].entry, 1));
        assert_int_equal(pith_graph_parse(&graph, b.bytes, b.used, &err), -EBADMSG);
        assert_non_null(strstr(err.text, wrong[i].why));
    }
    put_detector(&b, &form, (const uint8_t *) "no map", 6);
    assert_int_equal(pith_graph_parse(&graph, b.bytes, b.used, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "its options are no map of numbers"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_of_a_map_are_found_by_name),
        cmocka_unit_test(bent_maps_are_survived),
        cmocka_unit_test(boxes_are_those_of_tensorflow),
        cmocka_unit_test(options_that_say_too_little_are_refused),
    };

    return cmocka_run_group_tests_name("tflite_detection", tests, open_engine, close_engine);
}
