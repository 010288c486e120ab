/* A codec that does nothing, with one fault that the build asks for: the loader must refuse it and
 * say why. */
#include <pith/codec.h>

#ifndef NAME
#define NAME "refused"
#endif
#ifndef MAJOR
#define MAJOR PITH_ABI_MAJOR
#endif
#ifndef MINOR
#define MINOR PITH_ABI_MINOR
#endif
#ifndef SIZE
#define SIZE sizeof(struct pith_plugin)
#endif
#ifndef KIND
#define KIND PITH_KIND_CODEC
#endif
#ifndef OPS
#define OPS &ops
#endif
#ifndef FEED
#define FEED codec_feed
#endif
#ifndef OPTION
#define OPTION                                                                                     \
    {                                                                                              \
        "rate_hz", PITH_OPTION_INT, 1, 10, "5", NULL, "help"                                       \
    }
#endif

static int codec_open(const struct pith_host *host, const struct pith_option_value *values,
                      struct pith_codec **out, struct pith_codec_stream *out_stream,
                      struct pith_error *err)
{
    (void) host, (void) values, (void) out, (void) out_stream, (void) err;
    return 0;
}

__attribute__((unused)) static int codec_feed(struct pith_codec *codec, const void *payload,
                                              size_t payload_bytes, pith_codec_emit *emit,
                                              void *user, struct pith_error *err)
{
    (void) codec, (void) payload, (void) payload_bytes, (void) emit, (void) user, (void) err;
    return 0;
}

static void codec_close(struct pith_codec *codec)
{
    (void) codec;
}

__attribute__((unused)) static const struct pith_codec_ops ops = {
    .size_bytes = sizeof ops, .open = codec_open, .feed = FEED, .close = codec_close};
static const struct pith_option options[] = {OPTION, {0}};

#ifdef OTHER_SYMBOL
#define SYMBOL other_symbol
PITH_EXPORT extern const struct pith_plugin SYMBOL;
#else
#define SYMBOL pith_plugin
#endif
const struct pith_plugin SYMBOL = {
    .size_bytes = SIZE,
    .abi_major = MAJOR,
    .abi_minor = MINOR,
    .kind = KIND,
    .name = NAME,
    .version = "1.0",
    .summary = "a test",
    .ops = OPS,
    .options = options,
};
