/* Recipes: what is right is read, what is wrong is told with its place. */
#include "libpith/compress/recipe.h"
#include "tests/testing.h"

#include <errno.h>

static struct pith_plugins *plugins;

static int open_plugins(void **unused)
{
    struct pith_error err = {0};

    (void) unused;
    return pith_plugins_open(&plugins, NULL, &err);
}

static int close_plugins(void **unused)
{
    (void) unused;
    pith_plugins_free(plugins);
    return 0;
}

static int parse(const char *text, struct pith_recipe **out, struct pith_error *err)
{
    *out = NULL;
    return pith_recipe_parse(out, "test.yaml", text, strlen(text), plugins, err);
}

static void recipe_reads_steps_options_and_budget(void **unused)
{
    static const char *const text =
        "summary: a test\n"
        "budget: {accuracy_drop_points: 0.5, max_bytes: 900000, evaluations: 3}\n"
        "steps:\n"
        "  - quantize: {activations: uint8, keep: [first, last], percentile: 99.9}\n"
        "  - quantize\n";
    struct pith_error err = {0};
    struct pith_recipe *recipe;

    (void) unused;
    assert_ok(parse(text, &recipe, &err), &err);
    assert_string_equal(recipe->name, "test");
    assert_string_equal(recipe->summary, "a test");
    assert_true(recipe->budget.accuracy_drop_points == 0.5);
    assert_int_equal(recipe->budget.max_bytes, 900000);
    assert_int_equal(recipe->budget.evaluations, 3);
    assert_int_equal(recipe->step_count, 2);
    json_t *told = pith_recipe_json(recipe, true);
    json_t *options =
        json_object_get(json_array_get(json_object_get(told, "steps"), 0), "quantize");

    assert_string_equal(json_string_value(json_object_get(options, "activations")), "uint8");
    assert_string_equal(json_string_value(json_object_get(options, "weights")), "int8");
    assert_int_equal(json_array_size(json_object_get(options, "keep")), 2);
    /* What is told is a recipe again. */
    char *again = json_dumps(told, JSON_INDENT(1));
    struct pith_recipe *second;

    assert_ok(parse(again, &second, &err), &err);
    json_t *told_again = pith_recipe_json(second, true);

    assert_true(json_equal(told, told_again));
    free(again);
    json_t *given = pith_recipe_json(recipe, false);

    options = json_object_get(json_array_get(json_object_get(given, "steps"), 0), "quantize");
    assert_int_equal(json_object_size(options), 3);
    assert_string_equal(json_string_value(json_object_get(options, "activations")), "uint8");
    json_decref(given);
    json_decref(told_again);
    json_decref(told);
    pith_recipe_free(second);
    pith_recipe_free(recipe);
}

static void recipe_tells_each_fault_with_its_place(void **unused)
{
    static const struct {
        const char *text, *told;
    } wrong[] = {
        {"steps:\n  - quantise: {}\n",
         "test.yaml:2:5: there is no technique \"quantise\"; did you mean \"quantize\"?"},
        {"steps:\n  - quantize: {weights: int9}\n", "test.yaml:2:25: "},
        {"steps:\n  - quantize: {percentile: 200}\n", "test.yaml:2:28: "},
        {"steps:\n  - quantize:\n      schemes:\n        - conv1=int8\n        - dense=int7\n",
         "test.yaml:5:11: schemes: \"dense=int7\" is not right; it must end in = and one of int4, "
         "int8, w4a16, w8a16, weights-int4, weights-int8, weights-float16, weights-bfloat16, "
         "float32; did you mean int4?"},
        {"steps:\n  - quantize: {schemes: [dense]}\n",
         "test.yaml:2:26: schemes: \"dense\" is not right; it must end in = and one of int4, "},
        {"steps:\n  - quantize: {schemes: [=int8]}\n",
         "test.yaml:2:26: schemes: \"=int8\" is not right; "},
        {"steps:\n  - quantize: {wieghts: int8}\n", "\"weights\""},
        {"steps:\n  - quantize: 8\n", "test.yaml:2:15: the options of quantize must be a map"},
        {"steps:\n  - [quantize]\n", "test.yaml:2:5: a step is one technique"},
        {"steps:\n  - {quantize: {}, prune: {}}\n", "test.yaml:2:5: a step is one technique"},
        {"steps: quantize\n", "test.yaml:1:8: "},
        {"budget: {accuracy_drop_points: 101}\nsteps: []\n", "test.yaml:1:32: "},
        {"budget: {accuracy: 1}\nsteps: []\n", "test.yaml:1:10: "},
        {"budget: {}\n", "steps"},
        {"steps: [quantize\n", "test.yaml:"},
        {"", "test.yaml"},
    };
    struct pith_recipe *recipe;

    (void) unused;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct pith_error err = {0};

        if (parse(wrong[i].text, &recipe, &err) >= 0 || !strstr(err.text, wrong[i].told))
            fail_msg("%s: told \"%s\", not \"%s\"", wrong[i].text, err.text, wrong[i].told);
    }
}

static void recipe_tells_all_faults_at_once(void **unused)
{
    struct pith_error err = {0};
    struct pith_recipe *recipe;

    (void) unused;
    assert_true(
        parse("budget: {latency_ms: fast}\nsteps:\n  - prun: {}\n  - quantize: {samples: -1}\n",
              &recipe, &err) < 0);
    assert_non_null(strstr(err.text, "test.yaml:1:"));
    assert_non_null(strstr(err.text, "test.yaml:3:"));
    assert_non_null(strstr(err.text, "test.yaml:4:"));
}

static void recipe_is_found_by_name_in_its_folders(void **unused)
{
    const char *source = getenv("PITH_SOURCE");
    char path[4096];
    struct pith_error err = {0};
    struct pith_recipe *recipe;

    (void) unused;
    if (!source)
        skip_because("PITH_SOURCE names no folder with the recipes");
    (void) snprintf(path, sizeof path, "/nowhere:%s/etc/recipes", source);
    static const char *const names[] = {"fast", "balanced", "careful"};

    for (size_t i = 0; i < 3; i++) {
        assert_ok(pith_recipe_find(&recipe, names[i], path, plugins, &err), &err);
        assert_string_equal(recipe->name, names[i]);
        assert_int_equal(recipe->step_count, 1);
        pith_recipe_free(recipe);
    }
    assert_int_equal(pith_recipe_find(&recipe, "baked", path, plugins, &err), -ENOENT);
    assert_non_null(strstr(err.text, "baked.yaml"));
    assert_int_equal(pith_recipe_find(&recipe, "../fast", path, plugins, &err), -EINVAL);
}

static void budget_members_are_overridden_one_by_one(void **unused)
{
    struct pith_budget budget = PITH_BUDGET_NONE;
    struct pith_error err = {0};
    json_t *object = json_pack("{s:f, s:i}", "bytes_ratio", 0.3, "evaluations", 5);

    (void) unused;
    assert_ok(pith_budget_override(&budget, object, "job.json: budget", &err), &err);
    assert_true(budget.bytes_ratio == 0.3 && budget.evaluations == 5 &&
                budget.accuracy_drop_points == -1);
    (void) json_object_set_new(object, "bytes_ratio", json_real(2));
    assert_true(pith_budget_override(&budget, object, "job.json: budget", &err) < 0);
    assert_true(budget.bytes_ratio == 0.3);
    json_decref(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recipe_reads_steps_options_and_budget),
        cmocka_unit_test(recipe_tells_each_fault_with_its_place),
        cmocka_unit_test(recipe_tells_all_faults_at_once),
        cmocka_unit_test(recipe_is_found_by_name_in_its_folders),
        cmocka_unit_test(budget_members_are_overridden_one_by_one),
    };

    return cmocka_run_group_tests(tests, open_plugins, close_plugins);
}
