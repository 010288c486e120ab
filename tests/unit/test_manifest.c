/* Tests manifest.c, stages.c and desired.c: what is read, and one clear sentence for each way it
 * can be wrong. */
#include "tests/testing.h"

#include <errno.h>

#include "libpith/base/buffer.h"
#include "libpith/model/manifest.h"

#define SHA  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define BLOB "{\"sha256\": \"" SHA "\", \"bytes\": 1000}"

static const char sample[] =
    "{ \"model\": \"wakeword\", \"version\": \"1.2.0\", \"generation\": 7,\n"
    "  \"graphs\": { \"mel\": " BLOB ", \"embedding\": {\"sha256\": \"" SHA "\", \"bytes\": 900,"
    " \"encoding\": \"zstd\", \"raw_bytes\": 1326578}, \"hey_rhasspy\": " BLOB ", \"alexa\": " BLOB
    " },\n"
    "  \"input\": {\"type\": \"float32\", \"rate_hz\": 16000},\n"
    "  \"stages\": [ {\"window\": {\"size\": 1760, \"hop\": 1280}}, {\"graph\": \"mel\"}, "
    "{\"map\": \"x / 10 + 2\"},\n"
    "    {\"window\": {\"size\": 76, \"hop\": 8}}, {\"graph\": \"embedding\"}, {\"window\": "
    "{\"size\": 16, \"hop\": 1}},\n"
    "    {\"heads\": [\"hey_rhasspy\", \"alexa\"]}, {\"decide\": {\"threshold\": 0.5, "
    "\"hold_off_ms\": 1500}} ],\n"
    "  \"data\": {\"calibration\": {\"x\": " BLOB "}, \"validation\": {\"x\": " BLOB
    ", \"y\": " BLOB "}},\n"
    "  \"recipe\": \"balanced\", \"budget\": {\"accuracy_drop_points\": 1.0, \"latency_ms\": 5},\n"
    "  \"gates\": {\"min_fidelity\": 0.98, \"max_energy_ratio\": 1.0, \"watch\": \"24h\"} }";

/* The sample with one piece of text replaced; the buffer's. */
static void edit(struct pith_buffer *out, const char *from, const char *to)
{
    const char *at = strstr(sample, from);

    assert_non_null(at);
    pith_buffer_append(out, sample, (size_t) (at - sample));
    pith_buffer_text(out, to);
    pith_buffer_text(out, at + strlen(from));
}

static void manifest_reads_the_sample(void **state)
{
    struct pith_manifest *manifest;
    struct pith_error err = {0};

    (void) state;
    assert_ok(pith_manifest_parse(&manifest, sample, strlen(sample), &err), &err);
    assert_string_equal(manifest->model, "wakeword");
    assert_int_equal(manifest->graph_count, 4);
    assert_string_equal(manifest->graphs[3].name, "alexa");
    assert_true(manifest->graphs[1].blob.zstd);
    assert_int_equal(manifest->graphs[1].blob.raw_bytes, 1326578);
    assert_int_equal(manifest->graphs[0].blob.raw_bytes, 1000);
    assert_int_equal(manifest->stage_count, 8);
    assert_int_equal(manifest->stages[3].size, 76);
    assert_int_equal(manifest->stages[3].hop, 8);
    assert_string_equal(manifest->stages[2].expression, "x / 10 + 2");
    assert_int_equal(manifest->stages[6].kind, PITH_STAGE_HEADS);
    assert_int_equal(manifest->stages[6].graph_count, 2);
    assert_int_equal(manifest->stages[6].graph[0], 2);
    assert_int_equal(manifest->stages[7].hold_off_ms, 1500);
    assert_int_equal(manifest->stages[7].smooth_count, 1);
    assert_int_equal(manifest->input_dtype, PITH_FLOAT32);
    assert_int_equal(manifest->input_row.rank, 0);
    assert_true(manifest->calibration.present && !manifest->calibration.labelled);
    assert_true(manifest->validation.labelled);
    assert_string_equal(manifest->recipe_json, "\"balanced\"");
    assert_int_equal(manifest->watch_ms, 24 * 3600 * 1000);
    assert_true(manifest->accuracy_drop_points == 1.0 && manifest->budget_latency_ms == 5);
    pith_manifest_free(manifest);
}

static void manifest_refuses_with_one_sentence_and_the_place(void **state)
{
    static const struct {
        const char *from, *to, *sentence;
    } cases[] = {
        {"\"size\": 76", "\"size\": 0",
         "manifest: stages[3].window.size: 0 is not between 1 and 16777216"},
        {"\"size\": 76", "\"size\": \"76\"",
         "manifest: stages[3].window.size: must be a whole number, not a string"},
        {"\"size\": 76", "\"sise\": 76",
         "manifest: stages[3].window.sise: is not known; did you mean \"size\"?"},
        {"\"hop\": 8", "\"hop\": 1e9",
         "manifest: stages[3].window.hop: must be a whole number, not a number"},
        {"{\"graph\": \"mel\"}", "{\"graph\": \"mle\"}",
         "manifest: stages[1].graph: there is no graph \"mle\"; did you mean \"mel\"?"},
        {"{\"graph\": \"mel\"}", "{\"graph\": 3}",
         "manifest: stages[1].graph: must be the name of one of the graphs"},
        {"{\"graph\": \"mel\"}", "{\"grahp\": \"mel\"}",
         "manifest: stages[1].grahp: is not known; did you mean \"graph\"?"},
        {"{\"graph\": \"mel\"}", "{\"graph\": \"mel\", \"map\": \"x\"}",
         "manifest: stages[1]: must be an object with one of window, map, graph, heads, decide"},
        {"{\"graph\": \"mel\"}", "[]",
         "manifest: stages[1]: must be an object with one of window, map, graph, heads, decide"},
        {"{\"graph\": \"embedding\"}", "{\"graph\": \"mel\"}",
         "manifest: stages[4]: graph \"mel\" is used by an earlier stage too"},
        {"{\"graph\": \"mel\"}, ", "", "manifest: graphs.mel: no stage uses it"},
        {"\"x / 10 + 2\"", "\"\"",
         "manifest: stages[2].map: must be an expression in x of 1 to 256 bytes, such as \"x / 10 "
         "+ 2\""},
        {"[\"hey_rhasspy\", \"alexa\"]", "[\"alexa\", \"alexa\"]",
         "manifest: stages[6].heads[1]: \"alexa\" is there already"},
        {"\"threshold\": 0.5", "\"threshold\": 1.5",
         "manifest: stages[7].decide.threshold: 1.5 is not between 0 and 1"},
        {"\"mel\": {\"sha256\": \"0", "\"mel\": {\"sha256\": \"G",
         "manifest: graphs.mel.sha256: must be 64 lower-case hex digits"},
        {"\"mel\": {\"sha256\": \"0", "\"mel\": {\"sha256\": \"../../etc/0",
         "manifest: graphs.mel.sha256: must be 64 lower-case hex digits"},
        {"\"bytes\": 1000", "\"bytes\": 4294967297",
         "manifest: graphs.mel.bytes: 4294967297 is not between 1 and 4294967296"},
        {"\"bytes\": 1000", "\"bytes\": -1",
         "manifest: graphs.mel.bytes: -1 is not between 1 and 4294967296"},
        {"\"encoding\": \"zstd\"", "\"encoding\": \"gzip\"",
         "manifest: graphs.embedding.encoding: \"gzip\" is not known; there is: zstd"},
        {", \"raw_bytes\": 1326578", "",
         "manifest: graphs.embedding.raw_bytes: is missing; a packed blob says how large it is "
         "unpacked"},
        {"\"model\": \"wakeword\"", "\"model\": \"../x\"",
         "manifest: model: \"../x\" is no name; a name is " PITH_NAME_RULE},
        {"\"model\": \"wakeword\"", "\"modle\": \"wakeword\"",
         "manifest: modle: is not known; did you mean \"model\"?"},
        {"\"version\": \"1.2.0\", ", "", "manifest: version: is missing; it must be a string"},
        {"\"float32\"", "\"string\"",
         "manifest: input.type: \"string\" is not right; it must be float32, uint8, int8, int16 or "
         "int32"},
        {"\"rate_hz\": 16000", "\"row\": [16777216, 2]",
         "manifest: input.row: a row of more than 16777216 elements"},
        {"\"rate_hz\": 16000", "\"row\": [0]",
         "manifest: input.row[0]: must be a whole number between 1 and 16777216"},
        {"\"balanced\"", "3",
         "manifest: recipe: must be a recipe's name, or an object with its steps"},
        {"\"24h\"", "\"soon\"",
         "manifest: gates.watch: \"soon\" is not right; it must be a duration up to 90d, such as "
         "24h"},
        {"\"min_fidelity\": 0.98", "\"min_fidelity\": 98",
         "manifest: gates.min_fidelity: 98 is not between 0 and 1"},
        {"\"accuracy_drop_points\": 1.0", "\"acuracy_drop_points\": 1.0",
         "manifest: budget.acuracy_drop_points: is not known; did you mean "
         "\"accuracy_drop_points\"?"},
        {"\"recipe\": \"balanced\"", "\"labels\": [\"a\", \"b\", \"c\"]",
         "manifest: labels: 3 of them for 2 heads"},
        {"\"recipe\": \"balanced\"", "\"labels\": [\"a\", \"a\"]",
         "manifest: labels[1]: \"a\" is there already"},
        {"\"recipe\": \"balanced\"", "\"model\": \"b\"",
         "manifest: line 8, column 9: not valid JSON: duplicate object key near '\"model\"'"},
        {", {\"decide\": {\"threshold\": 0.5, \"hold_off_ms\": 1500}}",
         ", {\"decide\": {}}, {\"map\": \"x\"}",
         "manifest: stages[7].decide: must be the last stage"},
        {"\"data\": {\"calibration\": {\"x\": ", "\"data\": {\"calibration\": {\"y\": ",
         "manifest: data.calibration.x: must be a blob: an object with sha256 and bytes"},
    };

    (void) state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pith_manifest *manifest = NULL;
        struct pith_buffer text = {0};
        struct pith_error err = {0};

        edit(&text, cases[i].from, cases[i].to);
        assert_int_equal(pith_manifest_parse(&manifest, text.data, text.bytes, &err), -EBADMSG);
        assert_string_equal(err.text, cases[i].sentence);
        assert_null(manifest);
        pith_buffer_done(&text);
    }
}

static void manifest_survives_every_truncation(void **state)
{
    (void) state;
    for (size_t bytes = 0; bytes < strlen(sample); bytes++) {
        struct pith_manifest *manifest = NULL;
        struct pith_error err = {0};

        assert_int_equal(pith_manifest_parse(&manifest, sample, bytes, &err), -EBADMSG);
        assert_true(err.text[0]);
    }
}

static void manifest_survives_every_changed_byte(void **state)
{
    char text[sizeof sample];

    (void) state;
    for (size_t at = 0; at < strlen(sample); at++) {
        static const char instead[] = {0, '"', '{', ']', '9', '-', '\xff'};

        for (size_t i = 0; i < sizeof instead; i++) {
            struct pith_manifest *manifest = NULL;
            struct pith_error err = {0};

            memcpy(text, sample, sizeof sample);
            text[at] = instead[i];
            if (pith_manifest_parse(&manifest, text, strlen(sample), &err) == 0)
                pith_manifest_free(manifest);
            else
                assert_true(err.text[0]);
        }
    }
}

static void manifest_refuses_what_is_too_large(void **state)
{
    struct pith_manifest *manifest;
    struct pith_error err = {0};
    char *text = malloc(PITH_MANIFEST_MAX_BYTES + 1);

    (void) state;
    assert_non_null(text);
    memset(text, ' ', PITH_MANIFEST_MAX_BYTES + 1);
    assert_int_equal(pith_manifest_parse(&manifest, text, PITH_MANIFEST_MAX_BYTES + 1, &err),
                     -EFBIG);
    free(text);
}

static void manifest_refuses_65_stages(void **state)
{
    struct pith_manifest *manifest;
    struct pith_buffer text = {0}, stages = {0};
    struct pith_error err = {0};

    (void) state;
    pith_buffer_text(&stages, "\"stages\": [ ");
    for (int i = 0; i < 65; i++)
        pith_buffer_text(&stages, "{\"map\": \"x\"}, ");
    edit(&text, "\"stages\": [ ", (const char *) stages.data);
    assert_int_equal(pith_manifest_parse(&manifest, text.data, text.bytes, &err), -EBADMSG);
    assert_string_equal(err.text, "manifest: stages: 73 of them; there must be 1 to 64");
    pith_buffer_done(&stages);
    pith_buffer_done(&text);
}

static void desired_comes_back_as_it_was_written(void **state)
{
    struct pith_desired desired = {.generation = 7, .manifest = {.bytes = 100, .raw_bytes = 100}},
                        again;
    struct pith_error err = {0};
    char *text;

    (void) state;
    strcpy(desired.model, "wakeword");
    strcpy(desired.version, "1.2.0");
    strcpy(desired.manifest.sha256, SHA);
    text = pith_desired_text(&desired);
    assert_non_null(text);
    assert_ok(pith_desired_parse(&again, text, strlen(text), &err), &err);
    assert_memory_equal(&again, &desired, sizeof desired);
    free(text);
    desired = (struct pith_desired){.generation = 8, .absent = true};
    strcpy(desired.model, "wakeword");
    text = pith_desired_text(&desired);
    assert_non_null(text);
    assert_ok(pith_desired_parse(&again, text, strlen(text), &err), &err);
    assert_true(again.absent && again.generation == 8);
    free(text);
}

static void desired_refuses_what_is_wrong(void **state)
{
    static const struct {
        const char *text, *sentence;
    } cases[] = {
        {"[]", "desired: must be an object"},
        {"{\"model\":\"a\",\"version\":\"1\",\"generation\":0,\"manifest\":" BLOB "}",
         "desired: generation: 0 is not between 1 and 9223372036854775807"},
        {"{\"model\":\"a\",\"version\":\"1\",\"generation\":9223372036854775808,\"manifest\":" BLOB
         "}",
         "desired: line 1, column 59: not valid JSON: too big integer near '9223372036854775808'"},
        {"{\"model\":\"a\",\"version\":\"1\",\"generation\":1}",
         "desired: manifest: must be a blob: an object with sha256 and bytes"},
        {"{\"model\":\"a\",\"version\":\"1\",\"generation\":1,\"manifest\":{\"sha256\":\"" SHA
         "\",\"bytes\":262145}}",
         "desired: manifest.bytes: 262145 are more than the 262144 that are allowed"},
        {"{\"model\":\"a\",\"version\":\"1\",\"generation\":1,\"absent\":true}",
         "desired: absent: a model that should be gone has no version or manifest"},
        {"{\"model\":\"A/b\",\"version\":\"1\",\"generation\":1}",
         "desired: model: \"A/b\" is no name; a name is " PITH_NAME_RULE},
    };

    (void) state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pith_desired desired;
        struct pith_error err = {0};

        assert_int_equal(pith_desired_parse(&desired, cases[i].text, strlen(cases[i].text), &err),
                         -EBADMSG);
        assert_string_equal(err.text, cases[i].sentence);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(manifest_reads_the_sample),
        cmocka_unit_test(manifest_refuses_with_one_sentence_and_the_place),
        cmocka_unit_test(manifest_survives_every_truncation),
        cmocka_unit_test(manifest_survives_every_changed_byte),
        cmocka_unit_test(manifest_refuses_what_is_too_large),
        cmocka_unit_test(manifest_refuses_65_stages),
        cmocka_unit_test(desired_comes_back_as_it_was_written),
        cmocka_unit_test(desired_refuses_what_is_wrong),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
