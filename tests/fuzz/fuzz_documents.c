/* libFuzzer target: the documents that come over MQTT or lie beside models. The first byte says of
 * which kind the rest is. */
#include "libpith/base/json.h"
#include "libpith/compress/recipe.h"
#include "libpith/model/envelope.h"
#include "libpith/model/manifest.h"
#include "libpith/pipeline/expression.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void read_manifest(const char *text, size_t bytes, struct pith_error *err)
{
    struct pith_manifest *manifest;

    if (fuzz_took(pith_manifest_parse(&manifest, text, bytes, err), "manifest", err))
        pith_manifest_free(manifest);
}

static void read_desired(const char *text, size_t bytes, struct pith_error *err)
{
    struct pith_desired desired = {0};

    if (fuzz_took(pith_desired_parse(&desired, text, bytes, err), "desired", err))
        free(pith_desired_text(&desired));
}

static void read_envelope(const char *text, size_t bytes, struct pith_error *err)
{
    static const struct pith_public_key nobody;
    struct pith_buffer payload = {0};
    char signer[17];

    if (fuzz_took(pith_envelope_open(&payload, signer, "desired", text, bytes, &nobody, 1, err),
                  "envelope", err))
        fuzz_complain("nobody's signature was taken", err);
    pith_buffer_done(&payload);
}

static void read_expression(const char *text, size_t bytes, struct pith_error *err)
{
    char ended[PITH_EXPRESSION_MAX_BYTES + 2] = {0};
    const float x[3] = {0.0F, -1.0F, 3.0F};
    struct pith_expression *expression;
    float y[3];

    memcpy(ended, text, bytes < sizeof ended ? bytes : sizeof ended - 1);
    if (fuzz_took(pith_expression_compile(&expression, ended, err), "expression", err)) {
        pith_expression_run(expression, x, y, 3);
        pith_expression_free(expression);
    }
}

static void read_recipe(const char *text, size_t bytes, struct pith_error *err)
{
    static struct pith_plugins *plugins;
    struct pith_recipe *recipe;

    if (!plugins && pith_plugins_open(&plugins, NULL, err) < 0)
        fuzz_complain("plugins", err);
    if (fuzz_took(pith_recipe_parse(&recipe, "recipe", text, bytes, plugins, err), "recipe", err)) {
        json_decref(pith_recipe_json(recipe, true));
        pith_recipe_free(recipe);
    }
}

static void read_json(const char *text, size_t bytes, struct pith_error *err)
{
    json_t *value;

    if (fuzz_took(pith_json_parse(&value, text, bytes, 1 << 20, "document", err), "JSON", err)) {
        free(pith_json_text(value));
        json_decref(value);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static void (*const readers[])(const char *, size_t, struct pith_error *) = {
        read_manifest, read_desired, read_envelope, read_expression, read_recipe, read_json};
    struct pith_error err = {0};

    if (bytes > 0)
        readers[data[0] % 8 % 6]((const char *) data + 1, bytes - 1, &err);
    return 0;
}
