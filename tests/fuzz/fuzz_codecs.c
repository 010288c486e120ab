/* libFuzzer target: what sensors send, through every codec. The first byte says which, and how it
 * is set; the second how much of the rest is a payload of its own before the others. */
#include "libpith/plugin/plugins.h"
#include "tests/fuzz/fuzz.h"

#include <jansson.h>
#include <math.h>
#include <pith/codec.h>
#include <string.h>

#define KINDS 16

static const char *const kinds[KINDS][2] = {
    {"json", "{\"fields\": [\"a\", \"b.0.c\"]}"},
    {"json", "{\"width\": 3}"},
    {"json", "{}"},
    {"json", "{\"rows\": \"x\", \"width\": 2}"},
    {"json",
     "{\"rows\": \".\", \"fields\": [\"a\", \"b\"], \"missing\": \"last\", \"texts\": true}"},
    {"json", "{\"fields\": [\"a\"], \"missing\": \"otherwise\", \"scale\": 1e30}"},
    {"pcm", "{}"},
    {"pcm", "{\"format\": \"u8\", \"channels\": 3, \"channel\": 2}"},
    {"pcm", "{\"format\": \"f32le\", \"channels\": 2}"},
    {"pcm", "{\"channels\": 2}"},
    {"tensor", "{}"},
    {"tensor", "{\"shape\": [\"3\"]}"},
    {"tensor", "{\"format\": \"npy\", \"shape\": [\"2\", \"2\"]}"},
    {"tensor", "{\"format\": \"npy\"}"},
    {"tensor", "{\"dtype\": \"int8\"}"},
    {"tensor", "{\"dtype\": \"float16\", \"shape\": [\"2\"]}"},
};

struct opened {
    const struct pith_codec_ops *ops;
    struct pith_options options;
};

static void open_kinds(struct opened *opened)
{
    static struct pith_plugins *plugins; /* for ever */
    const struct pith_plugin *plugin;
    struct pith_error err = {0};

    if (pith_plugins_open(&plugins, NULL, &err) < 0)
        fuzz_complain("plugins", &err);
    for (size_t i = 0; i < KINDS; i++) {
        json_t *options = json_loads(kinds[i][1], 0, NULL);

        if (pith_plugins_find(plugins, PITH_KIND_CODEC, kinds[i][0], &plugin, &err) < 0 ||
            pith_options_from_json(&opened[i].options, plugin->options, options, "codec", &err) < 0)
            fuzz_complain(kinds[i][1], &err);
        opened[i].ops = plugin->ops;
        json_decref(options);
    }
}

/* As the stream promised. */
static int check(void *user, const struct pith_tensor *rows)
{
    const struct pith_codec_stream *stream = user;

    if (rows->dtype != stream->dtype || rows->shape.rank != stream->shape.rank + 1 ||
        rows->bytes != (size_t) pith_tensor_bytes(rows->dtype, &rows->shape))
        abort();
    for (int64_t i = 0; i < pith_shape_elements(&rows->shape); i++)
        if (!isfinite(pith_tensor_get(rows, i)))
            abort();
    return 0;
}

/* From memory that ends where the payload does. */
static void feed(const struct pith_codec_ops *ops, struct pith_codec *codec,
                 struct pith_codec_stream *stream, const uint8_t *data, size_t bytes)
{
    uint8_t *exact = malloc(bytes ? bytes : 1);
    struct pith_error err = {0};

    if (!exact)
        abort();
    memcpy(exact, data, bytes);
    (void) fuzz_took(ops->feed(codec, exact, bytes, check, stream, &err), "payload", &err);
    free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct opened opened[KINDS];
    const struct pith_host host = {.size_bytes = sizeof host};
    struct pith_codec_stream stream;
    struct pith_codec *codec;
    struct pith_error err = {0};
    const struct opened *with;
    size_t first;

    if (!opened[0].ops)
        open_kinds(opened);
    if (bytes < 2)
        return 0;
    with = &opened[data[0] % KINDS];
    first = data[1] < bytes - 2 ? data[1] : bytes - 2;
    if (!fuzz_took(with->ops->open(&host, with->options.values, &codec, &stream, &err), "options",
                   &err))
        return 0;
    feed(with->ops, codec, &stream, data + 2, first);
    feed(with->ops, codec, &stream, data + 2 + first, bytes - 2 - first);
    with->ops->close(codec);
    return 0;
}
