/* Inference against the official ONNX cases: whatever it says about an output, of its type and
 * shape, must be so. Each case is inferred twice: from its inputs' shapes alone, and with its
 * inputs as constants, so that shapes that follow from values are known too. One TAP line an
 * operator, with how many outputs were known. */
#include "tests/conformance/onnx_cases.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libpith/formats/onnx.h"

#define MODEL_LIMIT_BYTES ((size_t) 64 << 20)
#define MAX_OPERATORS     512
#define OPERATOR_BYTES    64

struct tally {
    char operator_name[OPERATOR_BYTES];
    int outputs, known, by_values, wrong; /* known from shapes alone; known once values are */
};

static struct tally tallies[MAX_OPERATORS];
static size_t tally_count;
static int unread, wrong;

static struct tally *tally_of(const char *operators)
{
    const char *key = strchr(operators, '+') ? "several operators" : operators;

    for (size_t i = 0; i < tally_count; i++)
        if (strcmp(tallies[i].operator_name, key) == 0)
            return &tallies[i];
    if (tally_count == MAX_OPERATORS)
        return &tallies[MAX_OPERATORS - 1];
    (void) snprintf(tallies[tally_count].operator_name, OPERATOR_BYTES, "%.63s", key);
    return &tallies[tally_count++];
}

/* Whether what is known of a value contradicts the tensor. *known: its type and whole shape are. */
static bool contradicts(const struct pith_graph *graph, uint32_t value,
                        const struct pith_tensor *want, bool *known)
{
    const struct pith_shape *shape = pith_value_shape(graph, value);
    const int32_t dtype = pith_value_dtype(graph, value);

    *known = dtype != PITH_DTYPE_NONE && shape && pith_shape_known(shape);
    if (dtype != PITH_DTYPE_NONE && dtype != want->dtype)
        return true;
    if (!shape)
        return false;
    if (shape->rank != want->shape.rank)
        return true;
    for (uint32_t i = 0; i < shape->rank; i++)
        if (shape->dim[i] != PITH_DIM_UNKNOWN && shape->dim[i] != want->shape.dim[i])
            return true;
    return false;
}

static void compare(const struct pith_graph *graph, const struct case_tensors *wanted,
                    const char *name, struct tally *tally, int *known_count)
{
    for (size_t i = 0; i < wanted->count && i < pith_graph_output_count(graph); i++) {
        uint32_t value = pith_graph_output(graph, i);
        const struct pith_shape *shape = pith_value_shape(graph, value);
        char got[PITH_SHAPE_TEXT_BYTES] = "?", want[PITH_SHAPE_TEXT_BYTES];
        bool known;

        if (contradicts(graph, value, &wanted->item[i], &known)) {
            printf("# WRONG %s: output %zu is %s %s, inferred as %s %s\n", name, i,
                   pith_dtype_name(wanted->item[i].dtype),
                   pith_shape_text(&wanted->item[i].shape, want, sizeof want),
                   pith_dtype_name(pith_value_dtype(graph, value)),
                   shape ? pith_shape_text(shape, got, sizeof got) : "?");
            tally->wrong++;
            wrong++;
        }
        *known_count += known;
    }
}

static int infer_with_values(struct pith_graph *graph, const struct case_tensors *inputs,
                             struct pith_error *err)
{
    uint32_t values[CASE_MAX_PORTS];
    int rc = 0;

    for (size_t i = 0; i < inputs->count;
         i++) /* a constant is no input any more, so the numbers come first */
        values[i] = pith_graph_input(graph, i);
    for (size_t i = 0; i < inputs->count && rc == 0; i++)
        rc = pith_value_set_constant(graph, values[i], &inputs->item[i]);
    return rc < 0 ? rc : pith_graph_infer(graph, NULL, err);
}

static void infer_case(const char *folder, const char *name, struct tally *tally)
{
    struct case_tensors inputs = {0}, wanted = {0};
    struct pith_shape shapes[CASE_MAX_PORTS] = {{0}};
    struct pith_graph *graph = NULL;
    struct pith_error err = {0};
    char path[16384];
    int rc;

    (void) snprintf(path, sizeof path, "%s/model.onnx", folder);
    rc = pith_graph_open(&graph, path, MODEL_LIMIT_BYTES, &err);
    if (rc < 0 || case_read_set(folder, 0, "input", &inputs, &err) < 0 ||
        case_read_set(folder, 0, "output", &wanted, &err) < 0 ||
        inputs.count != pith_graph_input_count(graph)) {
        printf("# not read %s: %s\n", name, pith_error_text(&err));
        unread++;
        goto done;
    }
    tally->outputs += (int) wanted.count;
    for (size_t i = 0; i < inputs.count; i++)
        shapes[i] = inputs.item[i].shape;
    rc = pith_graph_infer(graph, shapes, &err);
    if (rc == 0)
        compare(graph, &wanted, name, tally, &tally->known);
    if (rc == 0)
        rc = infer_with_values(graph, &inputs, &err);
    if (rc == 0)
        compare(graph, &wanted, name, tally, &tally->by_values);
    if (rc < 0) {
        printf("# WRONG %s: refused: %s\n", name, pith_error_text(&err));
        tally->wrong++;
        wrong++;
    }
done:
    case_tensors_free(&inputs);
    case_tensors_free(&wanted);
    pith_graph_free(graph);
}

static void infer_all(const char *folder)
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
        char name[256], operators[512];

        if (sscanf(line, "%255[^,],%*[^,],%*[^,],%511[^,],", name, operators) != 2)
            continue;
        (void) snprintf(path, sizeof path, "%s/%s", folder, name);
        infer_case(path, name, tally_of(operators));
    }
    (void) fclose(index); /* only read */
}

int main(void)
{
    const char *data = getenv("PITH_DATA"), *folder;

    if (!data || access(data, R_OK) != 0) {
        printf("1..0 # SKIP PITH_DATA names no folder with the test data\n");
        return 0;
    }
    folder = case_folder();
    if (!folder) {
        printf("Bail out! the cases can't be unpacked\n");
        return 1;
    }
    infer_all(folder);
    printf("1..%zu\n", tally_count + 1);
    for (size_t i = 0; i < tally_count; i++)
        printf("%s %zu - %s: %d outputs, %d known from shapes, %d with values\n",
               tallies[i].wrong ? "not ok" : "ok", i + 1, tallies[i].operator_name,
               tallies[i].outputs, tallies[i].known, tallies[i].by_values);
    printf("%s %zu - nothing inferred is wrong (%d cases could not be read)\n",
           wrong ? "not ok" : "ok", tally_count + 1, unread);
    return wrong > 0;
}
