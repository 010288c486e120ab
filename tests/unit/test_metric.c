/* Metrics against cases worked out by hand. */
#include "libpith/compress/metric.h"

#include "tests/testing.h"

#include <errno.h>
#include <math.h>

static struct pith_error err;

#define NEAR(a, b) assert_true(fabs((a) - (b)) < 1e-9)

static struct pith_tensor floats(float *x, int64_t count)
{
    return (struct pith_tensor){.dtype = PITH_FLOAT32,
                                .shape = pith_shape_of(1, &count),
                                .data = x,
                                .bytes = (size_t) count * sizeof *x};
}

static struct pith_metric *new_metric(int kind, enum pith_label_kind labels)
{
    struct pith_metric_options options = {.kind = kind, .peak = 1, .detect = PITH_DETECT_DEFAULT};
    struct pith_metric *metric;

    assert_ok(pith_metric_new(&metric, &options, labels, &err), &err);
    return metric;
}

static void see(struct pith_metric *metric, int64_t label, float *scores, int64_t count)
{
    struct pith_tensor output = floats(scores, count);
    struct pith_sample sample = {.class_index = label};

    assert_int_equal(pith_metric_begin(metric), 0);
    assert_ok(pith_metric_see(metric, &sample, &output, 1, &err), &err);
}

static struct pith_measurement measure(const struct pith_metric *metric)
{
    struct pith_measurement measured;

    assert_ok(pith_metric_measure(metric, &measured, &err), &err);
    return measured;
}

/* Labels 0 0 1 1 1 2, predicted 0 1 1 1 2 2: F1 of 0: 2/3, of 1: 2*2/(3+3) = 2/3, of 2: 2/3. */
static void top1_and_macro_f1_are_the_textbooks(void **unused)
{
    static const int64_t labels[] = {0, 0, 1, 1, 1, 2}, predicted[] = {0, 1, 1, 1, 2, 2};
    struct pith_metric *top1 = new_metric(PITH_METRIC_TOP1, PITH_LABEL_CLASS);
    struct pith_metric *f1 = new_metric(PITH_METRIC_F1, PITH_LABEL_CLASS);

    (void) unused;
    for (size_t i = 0; i < 6; i++) {
        float scores[3] = {0};

        scores[predicted[i]] = 1;
        see(top1, labels[i], scores, 3);
        see(f1, labels[i], scores, 3);
    }
    NEAR(measure(top1).value, 4.0 / 6);
    assert_string_equal(measure(top1).interval, "wilson");
    NEAR(measure(f1).value, 2.0 / 3);
    assert_true(measure(f1).low <= measure(f1).value && measure(f1).high >= measure(f1).value);
    pith_metric_free(top1);
    pith_metric_free(f1);
}

/* One score, at least 0.5 is class 1: labels 1 1 0 0, scores .9 .4 .6 .1. One of three is both. */
static void f1_of_one_score_is_that_of_class_1(void **unused)
{
    static const int64_t labels[] = {1, 1, 0, 0};
    float scores[] = {0.9f, 0.4f, 0.6f, 0.1f};
    struct pith_metric *f1 = new_metric(PITH_METRIC_F1, PITH_LABEL_CLASS);

    (void) unused;
    for (size_t i = 0; i < 4; i++)
        see(f1, labels[i], &scores[i], 1);
    NEAR(measure(f1).value, 0.5);
    pith_metric_free(f1);
}

/* Pairs (1, 0): (.35, .1) right, (.35, .4) wrong, (.8, .1), (.8, .4) right: 3/4, scikit-learn's
 * example. A tie counts half. */
static void auc_counts_pairs_in_order(void **unused)
{
    static const int64_t labels[] = {0, 0, 1, 1};
    float scores[] = {0.1f, 0.4f, 0.35f, 0.8f}, tied[] = {0.5f, 0.5f, 0.5f, 0.8f};
    struct pith_metric *auc = new_metric(PITH_METRIC_AUC, PITH_LABEL_CLASS);
    struct pith_metric *ties = new_metric(PITH_METRIC_AUC, PITH_LABEL_CLASS);

    (void) unused;
    assert_true(isnan(measure(auc).value));
    for (size_t i = 0; i < 4; i++) {
        see(auc, labels[i], &scores[i], 1);
        see(ties, labels[i], &tied[i], 1);
    }
    NEAR(measure(auc).value, 0.75);
    NEAR(measure(ties).value, 0.75);
    pith_metric_free(auc);
    pith_metric_free(ties);
}

static void an_autoencoder_is_scored_by_its_error(void **unused)
{
    float x[] = {1, 2}, good[] = {1, 2.5f}, bad[] = {4, 2};
    struct pith_metric *auc = new_metric(PITH_METRIC_ANOMALY_AUC, PITH_LABEL_CLASS);
    struct pith_metric *mse = new_metric(PITH_METRIC_MSE, PITH_LABEL_NONE);

    (void) unused;
    for (int i = 0; i < 4; i++) {
        struct pith_tensor output = floats(i % 2 ? bad : good, 2);
        struct pith_sample sample = {.x = floats(x, 2), .class_index = i % 2};

        assert_int_equal(pith_metric_begin(auc), 0);
        assert_ok(pith_metric_see(auc, &sample, &output, 1, &err), &err);
        assert_int_equal(pith_metric_begin(mse), 0);
        assert_ok(pith_metric_see(mse, &sample, &output, 1, &err), &err);
    }
    NEAR(measure(auc).value, 1);
    NEAR(measure(mse).value, (0.125 + 4.5) / 2);
    pith_metric_free(auc);
    pith_metric_free(mse);
}

static void a_metric_refuses_labels_that_don_t_fit(void **unused)
{
    struct pith_metric_options options = {.kind = PITH_METRIC_AUC};
    struct pith_metric *metric;

    (void) unused;
    assert_int_equal(pith_metric_new(&metric, &options, PITH_LABEL_BOXES, &err), -EINVAL);
    assert_non_null(strstr(err.text, "auc wants a class"));
}

/* ---- comparing ---- */

/* 10 samples; a is right in all, b in all but the first three. McNemar, exact: 2 * (1/2)^3. */
static void models_are_compared_on_the_same_samples(void **unused)
{
    struct pith_metric *a = new_metric(PITH_METRIC_TOP1, PITH_LABEL_CLASS);
    struct pith_metric *b = new_metric(PITH_METRIC_TOP1, PITH_LABEL_CLASS);
    struct pith_difference difference;

    (void) unused;
    for (int i = 0; i < 10; i++) {
        float right[] = {0, 1}, wrong[] = {1, 0};

        see(a, 1, right, 2);
        see(b, 1, i < 3 ? wrong : right, 2);
    }
    assert_ok(pith_metric_compare(a, b, &difference, &err), &err);
    NEAR(difference.value, -0.3);
    NEAR(difference.p, 0.25);
    assert_int_equal(difference.only_a, 3);
    assert_int_equal(difference.only_b, 0);
    assert_true(difference.low >= -0.7 && difference.low <= -0.4 && difference.high <= 0);
    pith_metric_free(a);
    pith_metric_free(b);
}

/* The interval of a mean of n draws is about 1.96 deviations over sqrt(n) to each side. */
static void a_bootstrap_interval_is_as_wide_as_the_normal_one(void **unused)
{
    struct pith_metric *mse = new_metric(PITH_METRIC_MSE, PITH_LABEL_VALUES);
    double sum = 0, squares = 0;
    int count = 400;

    (void) unused;
    for (int i = 0; i < count; i++) {
        float y = 0, x = sqrtf((float) (i % 20));
        struct pith_tensor output = floats(&x, 1);
        struct pith_sample sample = {.values = floats(&y, 1)};

        assert_int_equal(pith_metric_begin(mse), 0);
        assert_ok(pith_metric_see(mse, &sample, &output, 1, &err), &err);
        sum += i % 20;
        squares += (i % 20) * (i % 20);
    }
    double mean = sum / count, half = 1.96 * sqrt((squares / count - mean * mean) / count);
    struct pith_measurement measured = measure(mse);

    assert_true(fabs(measured.value - mean) < 1e-5);
    assert_true(fabs((measured.high - measured.low) / (2 * half) - 1) < 0.15);
    pith_metric_free(mse);
}

/* ---- detections ---- */

static void overlap_is_intersection_over_union(void **unused)
{
    struct pith_box a = {0, 0, 0.4f, 0.4f, 0, 1}, b = {0.2f, 0.2f, 0.6f, 0.6f, 0, 1};

    (void) unused;
    assert_true(fabs(pith_box_overlap(&a, &b) - 0.04 / 0.28) < 1e-6);
    b.x0 = 0.5f;
    assert_true(pith_box_overlap(&a, &b) == 0);
}

/* Scores of three boxes, classes: background, one. The second is the first one told again. */
static void a_list_is_decoded_and_what_is_told_twice_goes(void **unused)
{
    float scores[] = {0.1f, 0.9f, 0.2f, 0.8f, 0.9f, 0.05f};
    float boxes[] = {0.1f, 0.1f, 0.3f, 0.3f, 0.11f, 0.1f, 0.3f, 0.3f, 0.6f, 0.6f, 0.9f, 0.9f};
    struct pith_tensor outputs[2] = {floats(scores, 6), floats(boxes, 12)};
    struct pith_detect how = PITH_DETECT_DEFAULT;
    struct pith_detections found = {0};

    (void) unused;
    outputs[0].shape = pith_shape_of(3, (int64_t[]){1, 3, 2});
    outputs[1].shape = pith_shape_of(3, (int64_t[]){1, 3, 4});
    how.background = 0;
    assert_ok(pith_detect(&how, outputs, 2, &found, &err), &err);
    assert_int_equal(found.count, 2);
    assert_int_equal(found.boxes[0].class_index, 0);
    assert_true(found.boxes[0].score == 0.9f && found.boxes[1].score == 0.05f);
    how.boxes_output = 2;
    assert_int_equal(pith_detect(&how, outputs, 2, &found, &err), -EINVAL);
    pith_detections_done(&found);
}

/* One row of two cells: the second has a box of half the picture around its middle. */
static void a_grid_is_decoded_by_its_activations(void **unused)
{
    float cells[] = {
        /* objectness */ 0, 0.81f, /* box */ 0, 0,    0, 0.5f, 0, 0, 0, 0,
        /* classes */ 1,    0.25f, 0,           0.64f};
    struct pith_tensor output = floats(cells, 14);
    struct pith_detect how = {.form = PITH_DETECT_GRID,
                              .objectness = 0,
                              .first_box = 1,
                              .first_class = 5,
                              .objectness_power = 0.5,
                              .class_power = 0.5,
                              .centre = PITH_ACTIVATION_TANH,
                              .size = PITH_ACTIVATION_SIGMOID,
                              .threshold = 0.1,
                              .nms = 0.5,
                              .most = 10};
    struct pith_detections found = {0};

    (void) unused;
    output.shape = pith_shape_of(4, (int64_t[]){1, 7, 1, 2});
    assert_ok(pith_detect(&how, &output, 1, &found, &err), &err);
    assert_int_equal(found.count, 1);
    assert_int_equal(found.boxes[0].class_index, 1);
    assert_true(fabs((double) found.boxes[0].score - 0.9 * 0.8) < 1e-6);
    assert_true(fabs((double) found.boxes[0].x0 - (0.5 - 0.25)) < 1e-6);
    assert_true(fabs((double) found.boxes[0].y0 - (tanh(0.5) - 0.25)) < 1e-6);
    pith_detections_done(&found);
}

/* Two true boxes of class 0 in two pictures. Detections by score: right (.9), wrong (.8), right
 * (.7): precision 1 up to recall 0.5 (51 of 101 points), then 2/3. */
static void average_precision_is_interpolated_at_101_points(void **unused)
{
    struct pith_metric *map = new_metric(PITH_METRIC_MAP50, PITH_LABEL_BOXES);
    const struct pith_box truth = {0.1f, 0.1f, 0.5f, 0.5f, 0, 1};
    float boxes[] = {0.1f, 0.1f, 0.5f, 0.5f, 0.6f, 0.6f, 0.9f, 0.9f};
    float scores[2][2] = {{0.9f, 0.8f}, {0.7f, 0}};

    (void) unused;
    for (int i = 0; i < 2; i++) {
        struct pith_tensor outputs[2] = {floats(scores[i], 2), floats(boxes, 8)};
        struct pith_sample sample = {.boxes = &truth, .box_count = 1};

        outputs[0].shape = pith_shape_of(3, (int64_t[]){1, 2, 1});
        outputs[1].shape = pith_shape_of(3, (int64_t[]){1, 2, 4});
        assert_int_equal(pith_metric_begin(map), 0);
        assert_ok(pith_metric_see(map, &sample, outputs, 2, &err), &err);
    }
    NEAR(measure(map).value, (51 + 50 * 2.0 / 3) / 101);
    pith_metric_free(map);
}

/* ---- pictures ---- */

static void psnr_and_ssim_are_their_definitions(void **unused)
{
    float a[64], b[64];
    double same, shifted;

    (void) unused;
    for (int i = 0; i < 64; i++) {
        a[i] = (float) (i % 8) / 8;
        b[i] = a[i] + 0.1f;
    }
    assert_true(fabs(pith_psnr(a, b, 64, 1) - 20) < 1e-3); /* 10 log10(1 / 0.01) */
    assert_true(pith_psnr(a, a, 64, 1) == 100);
    assert_int_equal(pith_ssim(a, a, 1, 8, 8, 1, &same), 0);
    NEAR(same, 1);
    assert_int_equal(pith_ssim(a, b, 1, 8, 8, 1, &shifted), 0);
    /* Equal structure, means 7/16 and 7/16 + 0.1: only the luminance term is below 1. */
    double m = 7.0 / 16, n = m + 0.1;

    assert_true(fabs(shifted - (2 * m * n + 1e-4) / (m * m + n * n + 1e-4)) < 1e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(top1_and_macro_f1_are_the_textbooks),
        cmocka_unit_test(f1_of_one_score_is_that_of_class_1),
        cmocka_unit_test(auc_counts_pairs_in_order),
        cmocka_unit_test(an_autoencoder_is_scored_by_its_error),
        cmocka_unit_test(a_metric_refuses_labels_that_don_t_fit),
        cmocka_unit_test(models_are_compared_on_the_same_samples),
        cmocka_unit_test(a_bootstrap_interval_is_as_wide_as_the_normal_one),
        cmocka_unit_test(overlap_is_intersection_over_union),
        cmocka_unit_test(a_list_is_decoded_and_what_is_told_twice_goes),
        cmocka_unit_test(a_grid_is_decoded_by_its_activations),
        cmocka_unit_test(average_precision_is_interpolated_at_101_points),
        cmocka_unit_test(psnr_and_ssim_are_their_definitions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
