/* The official ONNX operator cases through engine native: one TAP line an operator, with how many
 * passed, failed and are unsupported. A wrong answer fails; so does falling below the floor, which
 * is what has been reached. */
#include "tests/conformance/onnx_cases.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FLOOR_PASSED   1190 /* of 1230 */
#define LIGHT_PASSED   9    /* of 9 */
#define MAX_OPERATORS  512
#define OPERATOR_BYTES 64

struct tally {
    char operator_name[OPERATOR_BYTES];
    int count[3]; /* by outcome */
};

static struct tally tallies[MAX_OPERATORS];
static size_t tally_count;
static int totals[3];

/* Cases whose expected output contradicts the standard's text: it says saturate, and the sums in
 * them are wrapped around to 8 bits (-235 became 21). Counted as unsupported. */
static const char *const disputed[] = {
    "node/test_qlinearmatmul_2D_int8_float16",
    "node/test_qlinearmatmul_2D_int8_float32",
    "node/test_qlinearmatmul_3D_int8_float16",
    "node/test_qlinearmatmul_3D_int8_float32",
};

static bool is_disputed(const char *name)
{
    for (size_t i = 0; i < sizeof disputed / sizeof disputed[0]; i++)
        if (strcmp(disputed[i], name) == 0)
            return true;
    return false;
}

/* Cases with one operator count for it; graphs of several for what their name says they test. */
static struct tally *tally_of(const char *name, const char *operators)
{
    char key[OPERATOR_BYTES];

    if (strchr(operators, '+'))
        (void) snprintf(key, sizeof key, "several operators%s",
                        strstr(name, "_expanded") ? " (functions)" : "");
    else
        (void) snprintf(key, sizeof key, "%.63s", operators);
    for (size_t i = 0; i < tally_count; i++)
        if (strcmp(tallies[i].operator_name, key) == 0)
            return &tallies[i];
    if (tally_count == MAX_OPERATORS)
        return &tallies[MAX_OPERATORS - 1];
    (void) snprintf(tallies[tally_count].operator_name, OPERATOR_BYTES, "%s", key);
    return &tallies[tally_count++];
}

static void note(struct tally *tally, const char *name, enum case_outcome outcome, const char *why)
{
    static const char *const words[] = {"passed", "FAILED", "unsupported"};

    tally->count[outcome]++;
    totals[outcome]++;
    if (outcome != CASE_PASSED)
        printf("# %s %s: %s\n", words[outcome], name, why);
    (void) fflush(stdout);
}

static void run_all(const struct pith_engine_ops *engine, const char *folder, const char *only)
{
    char path[8192], line[1024];
    FILE *index;

    (void) snprintf(path, sizeof path, "%s/index.csv", folder);
    index = fopen(path, "r");
    if (!index || !fgets(line, sizeof line, index)) {
        printf("Bail out! %s can't be read\n", path);
        exit(1);
    }
    while (fgets(line, sizeof line, index)) {
        char name[256], operators[512], why[1024] = "";

        if (sscanf(line, "%255[^,],%*[^,],%*[^,],%511[^,],", name, operators) != 2)
            continue;
        if (only && !strstr(name, only))
            continue;
        (void) snprintf(path, sizeof path, "%s/%s", folder, name);
        if (is_disputed(name))
            note(tally_of(name, operators), name, CASE_UNSUPPORTED,
                 "its expected output wraps around");
        else
            note(tally_of(name, operators), name, case_run(engine, path, why, sizeof why), why);
    }
    (void) fclose(index); /* only read */
}

static int run_light(const struct pith_engine_ops *engine, const char *folder, const char *only)
{
    static const char *const nets[] = {"bvlc_alexnet", "densenet121", "inception_v1",
                                       "inception_v2", "resnet50",    "shufflenet",
                                       "squeezenet",   "vgg19",       "zfnet512"};
    int passed = 0;

    for (size_t i = 0; i < sizeof nets / sizeof nets[0]; i++) {
        char model[8192], output[8192], why[1024] = "";
        enum case_outcome outcome;

        if (only && !strstr("light", only))
            continue;
        (void) snprintf(model, sizeof model, "%s/light/light_%s.onnx", folder, nets[i]);
        (void) snprintf(output, sizeof output, "%s/light/light_%s_output_0.pb", folder, nets[i]);
        outcome = case_run_light(engine, model, output, why, sizeof why);
        passed += outcome == CASE_PASSED;
        if (outcome != CASE_PASSED)
            printf("# %s light/%s: %s\n", outcome == CASE_FAILED ? "FAILED" : "unsupported",
                   nets[i], why);
        totals[CASE_FAILED] += outcome == CASE_FAILED;
    }
    return passed;
}

/* An argument, or PITH_CASES in the environment, runs only the cases whose name has it in it. */
int main(int argc, char **argv)
{
    const char *data = getenv("PITH_DATA"), *folder, *only = argc > 1 ? argv[1] : getenv("PITH_CASES");
    const struct pith_engine_ops *engine;
    int light;

    if (!data || access(data, R_OK) != 0) {
        printf("1..0 # SKIP PITH_DATA names no folder with the test data\n");
        return 0;
    }
    folder = case_folder();
    if (!folder) {
        printf("Bail out! the cases can't be unpacked\n");
        return 1;
    }
    engine = case_engine("native");
    run_all(engine, folder, only);
    light = run_light(engine, folder, only);
    printf("1..%zu\n", tally_count + 3);
    for (size_t i = 0; i < tally_count; i++)
        printf("%s %zu - %s: %d passed, %d failed, %d unsupported\n",
               tallies[i].count[CASE_FAILED] ? "not ok" : "ok", i + 1, tallies[i].operator_name,
               tallies[i].count[CASE_PASSED], tallies[i].count[CASE_FAILED],
               tallies[i].count[CASE_UNSUPPORTED]);
    printf("%s %zu - no wrong answer: %d failed\n", totals[CASE_FAILED] ? "not ok" : "ok",
           tally_count + 1, totals[CASE_FAILED]);
    printf("%s %zu - %d cases passed, %d unsupported; at least %d must pass\n",
           totals[CASE_PASSED] >= FLOOR_PASSED || only ? "ok" : "not ok", tally_count + 2,
           totals[CASE_PASSED], totals[CASE_UNSUPPORTED], FLOOR_PASSED);
    printf("%s %zu - %d of 9 whole nets passed; at least %d must pass\n",
           light >= LIGHT_PASSED || only ? "ok" : "not ok", tally_count + 3, light, LIGHT_PASSED);
    return totals[CASE_FAILED] ||
           (!only && (totals[CASE_PASSED] < FLOOR_PASSED || light < LIGHT_PASSED));
}
