/* The arithmetic behind the sensitivity report, and its picture. */
#include "cli/sensitivity_plot.h"
#include "libpith/base/names.h"
#include "libpith/compress/divergence.h"
#include "tests/testing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void divergence_is_what_its_definition_gives(void **unused)
{
    static const float a[] = {1, -2, 3, 0.5f, 7}, b[] = {1.5f, -2, 2, 0.25f, 7.5f};
    struct pith_divergence divergence = {0};
    double mean = (1 - 2 + 3 + 0.5 + 7) / 5, spread = 0, error = 0, signal = 0, product = 0,
           length = 0;

    (void) unused;
    for (size_t i = 0; i < 5; i++) {
        spread += ((double) a[i] - mean) * ((double) a[i] - mean);
        error += ((double) b[i] - (double) a[i]) * ((double) b[i] - (double) a[i]);
        signal += (double) a[i] * (double) a[i];
        length += (double) b[i] * (double) b[i];
        product += (double) a[i] * (double) b[i];
    }
    pith_divergence_add(&divergence, a, b, 2); /* in pieces, as samples come */
    pith_divergence_add(&divergence, a + 2, b + 2, 0);
    pith_divergence_add(&divergence, a + 2, b + 2, 3);
    assert_true(fabs(pith_divergence_error_ratio(&divergence) - sqrt(error / spread)) < 1e-12);
    assert_true(fabs(pith_divergence_sqnr_db(&divergence) - 10 * log10(signal / error)) < 1e-12);
    assert_true(fabs(pith_divergence_cosine(&divergence) - product / sqrt(signal * length)) <
                1e-12);
}

static void divergence_of_nothing_is_not_known(void **unused)
{
    struct pith_divergence divergence = {0};

    (void) unused;
    assert_true(isnan(pith_divergence_error_ratio(&divergence)));
    assert_true(isnan(pith_divergence_sqnr_db(&divergence)));
    assert_true(isnan(pith_divergence_cosine(&divergence)));
}

static void divergence_has_answers_at_its_edges(void **unused)
{
    static const float zero[3] = {0}, constant[] = {2, 2, 2}, off[] = {3, 3, 3},
                       back[] = {-2, -2, -2};
    struct pith_divergence same = {0}, both_zero = {0}, flat = {0}, against = {0}, lost = {0};

    (void) unused;
    pith_divergence_add(&same, off, off, 3);
    assert_true(pith_divergence_error_ratio(&same) == 0);
    assert_true(pith_divergence_sqnr_db(&same) == 200);
    pith_divergence_add(&both_zero, zero, zero, 3);
    assert_true(pith_divergence_cosine(&both_zero) == 1);
    pith_divergence_add(&flat, constant, off, 3); /* it doesn't deviate: relative to its size */
    assert_true(fabs(pith_divergence_error_ratio(&flat) - 0.5) < 1e-12);
    pith_divergence_add(&against, constant, back, 3);
    assert_true(fabs(pith_divergence_cosine(&against) + 1) < 1e-12);
    pith_divergence_add(&lost, constant, zero, 3);
    assert_true(pith_divergence_cosine(&lost) == 0);
    assert_true(fabs(pith_divergence_sqnr_db(&lost)) < 1e-12);
}

static void a_name_as_pattern_matches_itself_alone(void **unused)
{
    static const char *const names[] = {"conv[1]*", "a?b\\c", "/head/conv_1", "[", "", "a*b;c=d"};

    (void) unused;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (size_t j = 0; j < sizeof names / sizeof *names; j++) {
            char *pattern = pith_name_pattern(names[i]);

            assert_non_null(pattern);
            assert_int_equal(pith_name_matches(names[j], pattern), i == j);
            free(pattern);
        }
    assert_true(pith_name_matches("conv[1]", "conv[1]")); /* a name as it stands, too */
    assert_true(pith_name_matches("/head/conv_1", "/head/*"));
    assert_false(pith_name_matches("/neck/conv_1", "/head/*"));
}

static void ticks_are_round_and_cover_the_range(void **unused)
{
    static const struct {
        double low, high, first, step;
    } known[] = {{0, 1, 0, 0.5},
                 {0, 100, 0, 50},
                 {-3, 9, 0, 5},
                 {0.7, 4.4, 1, 1},
                 {-0.021, 0.003, -0.02, 0.01},
                 {5, 5, 5, 1}};

    (void) unused;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        double first, step;

        plot_ticks(known[i].low, known[i].high, 4, &first, &step);
        assert_true(fabs(step - known[i].step) < 1e-9 * known[i].step);
        assert_true(fabs(first - known[i].first) < 1e-9);
    }
}

static size_t count_of(const char *text, const char *word)
{
    size_t count = 0;

    for (; (text = strstr(text, word)); text += strlen(word))
        count++;
    return count;
}

static void the_plot_escapes_names_and_leaves_unknowns_blank(void **unused)
{
    json_t *report = json_pack(
        "{ss ss sn sI s{sf sn} s[{ss ss sf sn sf s{sf} s{sf} sn sb} {ss sn sn sn sn sn sn sn sb}]}",
        "form", "int8", "text", "a < b & c", "metric", "samples", (json_int_t) 3, "whole",
        "error_ratio", 0.25, "metric_change", "layers", "layer", "<evil> & \"co\"", "op", "Conv",
        "weight_sqnr_db", 40.0, "input_sqnr_db", "output_error_ratio", 0.01, "alone", "error_ratio",
        0.1, "others", "error_ratio", 0.2, "time_gained_us", "measured", 1, "layer", "b", "op",
        "weight_sqnr_db", "input_sqnr_db", "output_error_ratio", "alone", "others",
        "time_gained_us", "measured", 0);
    struct pith_buffer out = {0};

    (void) unused;
    assert_non_null(report);
    sensitivity_plot(report, "m<o>del", &out);
    assert_false(out.failed);
    pith_buffer_printf(&out, "%c", 0);
    const char *svg = (const char *) out.data;

    assert_null(strstr(svg, "<evil>"));
    assert_non_null(strstr(svg, "&lt;evil&gt; &amp; &quot;co&quot;"));
    assert_non_null(strstr(svg, "b (): not measured"));
    assert_null(strstr(svg, "nan"));
    assert_null(strstr(svg, "inf"));
    /* Seven in the heads of the four panels that need no labels, and those of the first layer. */
    assert_int_equal(count_of(svg, "<circle"), count_of(svg, "</circle>"));
    assert_int_equal(count_of(svg, "<circle"), 7 + 3);
    assert_int_equal(count_of(svg, "height=\"10\""), 1);
    pith_buffer_done(&out);
    json_decref(report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(divergence_is_what_its_definition_gives),
        cmocka_unit_test(divergence_of_nothing_is_not_known),
        cmocka_unit_test(divergence_has_answers_at_its_edges),
        cmocka_unit_test(a_name_as_pattern_matches_itself_alone),
        cmocka_unit_test(ticks_are_round_and_cover_the_range),
        cmocka_unit_test(the_plot_escapes_names_and_leaves_unknowns_blank),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
