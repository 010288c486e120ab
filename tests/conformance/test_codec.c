/* Every codec plugin that is built: what the ABI promises, whatever the payload. And what ours make
 * of real messages. */
#include "libpith/plugin/plugins.h"
#include "tests/testing.h"

#include <errno.h>
#include <math.h>
#include <pith/codec.h>

struct opened {
    const struct pith_codec_ops *ops;
    struct pith_codec *codec;
    struct pith_codec_stream stream;
    struct pith_options options;
};

struct rows { /* what a codec emitted */
    const struct pith_codec_stream *stream;
    size_t count, call_count;
    double value[8192];
    size_t value_count;
    int stop; /* returned by the callback */
};

static struct pith_plugins *plugins;

static int open_codec(struct opened *out, const char *name, const char *options_json,
                      struct pith_error *err)
{
    const struct pith_plugin *plugin;
    json_t *object = json_loads(options_json, 0, NULL);
    int rc;

    assert_non_null(object);
    *out = (struct opened){0};
    assert_ok(pith_plugins_find(plugins, PITH_KIND_CODEC, name, &plugin, err), err);
    rc = pith_options_from_json(&out->options, plugin->options, object, name, err);
    out->ops = plugin->ops;
    if (rc == 0)
        rc = out->ops->open(&(struct pith_host){.size_bytes = sizeof(struct pith_host)},
                            out->options.values, &out->codec, &out->stream, err);
    if (rc < 0)
        pith_options_done(&out->options);
    json_decref(object);
    return rc;
}

static void close_codec(struct opened *opened)
{
    opened->ops->close(opened->codec);
    pith_options_done(&opened->options);
}

/* Each emitted tensor is as the stream promised. */
static int keep(void *user, const struct pith_tensor *tensor)
{
    struct rows *rows = user;
    int64_t elements = pith_shape_elements(&tensor->shape);

    assert_int_equal(tensor->dtype, rows->stream->dtype);
    assert_int_equal(tensor->shape.rank, rows->stream->shape.rank + 1);
    for (uint32_t i = 0; i < rows->stream->shape.rank; i++)
        if (rows->stream->shape.dim[i] != PITH_DIM_UNKNOWN)
            assert_int_equal(tensor->shape.dim[i + 1], rows->stream->shape.dim[i]);
    assert_true(elements > 0);
    assert_int_equal(tensor->bytes, pith_tensor_bytes(tensor->dtype, &tensor->shape));
    assert_true(pith_tensor_aligned(tensor));
    for (int64_t i = 0; i < elements; i++) {
        double value = pith_tensor_get(tensor, i);
        assert_true(isfinite(value));
        if (rows->value_count < 8192)
            rows->value[rows->value_count++] = value;
    }
    rows->count += (size_t) tensor->shape.dim[0];
    rows->call_count++;
    return rows->stop;
}

static int feed(struct opened *opened, const void *payload, size_t bytes, struct rows *rows,
                struct pith_error *err)
{
    *rows = (struct rows){.stream = &opened->stream, .stop = rows->stop};
    *err = (struct pith_error){0};
    return opened->ops->feed(opened->codec, payload, bytes, keep, rows, err);
}

static void takes(struct opened *opened, const void *payload, size_t bytes, size_t count, ...)
{
    struct rows rows = {0};
    struct pith_error err;
    va_list values;

    assert_ok(feed(opened, payload, bytes, &rows, &err), &err);
    assert_int_equal(rows.value_count, count);
    va_start(values, count);
    for (size_t i = 0; i < count; i++)
        assert_float_equal(rows.value[i], va_arg(values, double), 1e-5);
    va_end(values);
}

static void refuses(struct opened *opened, const void *payload, size_t bytes, const char *with)
{
    struct rows rows = {0};
    struct pith_error err;

    assert_int_equal(feed(opened, payload, bytes, &rows, &err), -EBADMSG);
    assert_int_equal(rows.call_count, 0);
    if (!strstr(err.text, with))
        fail_msg("\"%s\" is not in: %s", with, err.text);
}

#define takes_text(opened, text, ...)    takes(opened, text, strlen(text), __VA_ARGS__)
#define refuses_text(opened, text, with) refuses(opened, text, strlen(text), with)

/* ---- every codec ---- */

static uint32_t noise_state = 1;

static uint8_t noise(void)
{
    noise_state = noise_state * 1664525 + 1013904223;
    return (uint8_t) (noise_state >> 24);
}

/* Refused with a sentence and nothing emitted, or taken and all as promised; never anything else.
 */
static void try_payload(struct opened *opened, const void *payload, size_t bytes)
{
    struct rows rows = {0};
    struct pith_error err;
    int rc = feed(opened, payload, bytes, &rows, &err);

    if (rc == 0)
        return;
    assert_int_equal(rc, -EBADMSG);
    assert_int_equal(rows.call_count, 0);
    assert_true(err.text[0]);
}

static void try_hostile(struct opened *opened)
{
    static const char *const texts[] = {
        "",    "{}",  "[]",     "null",    "0",         "1e999",         "-1",
        "\"x", "[[[", "{\"a\"", "[1,2,3]", "{\"a\":1}", "\x93NUMPY\x01", "NaN"};
    uint8_t payload[4096];

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        try_payload(opened, texts[i], strlen(texts[i]));
    for (int round = 0; round < 300; round++) {
        size_t bytes = ((size_t) noise() << 8 | noise()) % sizeof payload;
        for (size_t i = 0; i < bytes; i++)
            payload[i] = noise();
        try_payload(opened, payload, bytes);
    }
    memset(payload, '[', sizeof payload);
    try_payload(opened, payload, sizeof payload);
    memset(payload, 0xff, sizeof payload);
    try_payload(opened, payload, sizeof payload);
}

static void every_codec_keeps_its_promises(void **state)
{
    size_t codec_count = 0;

    (void) state;
    for (size_t i = 0; i < pith_plugins_count(plugins); i++) {
        const struct pith_plugin_entry *entry = pith_plugins_entry(plugins, i);
        struct opened a, b;
        struct pith_error err = {0};
        if (!entry->plugin || entry->plugin->kind != PITH_KIND_CODEC)
            continue;
        codec_count++;
        print_message("# %s\n", entry->plugin->name);
        assert_true(entry->plugin->summary && *entry->plugin->summary);
        assert_ok(open_codec(&a, entry->plugin->name, "{}", &err), &err);
        assert_ok(open_codec(&b, entry->plugin->name, "{}", &err), &err); /* it opens twice */
        assert_true(a.codec != b.codec);
        assert_true(pith_dtype_bits(a.stream.dtype) > 0);
        assert_true(a.stream.rate_hz >= 0);
        try_hostile(&a);
        close_codec(&a);
        try_hostile(&b);
        close_codec(&b);
        a.ops->close(NULL);
        for (const struct pith_option *option = entry->plugin->options; option && option->name;
             option++)
            assert_true(option->help && *option->help);
    }
    assert_true(codec_count >= 3);
}

/* ---- pcm ---- */

static void pcm_reads_each_format(void **state)
{
    struct opened c;
    struct pith_error err = {0};

    (void) state;
    assert_ok(open_codec(&c, "pcm", "{}", &err), &err);
    assert_float_equal(c.stream.rate_hz, 16000, 0);
    takes(&c, "\x01\x00\xff\xff\x00\x80\xff\x7f", 8, (size_t) 4, 1.0, -1.0, -32768.0, 32767.0);
    refuses(&c, "\x01\x00\x02", 3, "3 bytes; s16le with 1 channel comes in multiples of 2 bytes");
    refuses(&c, "", 0, "multiples of 2");
    close_codec(&c);
    assert_ok(open_codec(&c, "pcm", "{\"format\": \"u8\"}", &err), &err);
    takes(&c, "\x80\x00\xff", 3, (size_t) 3, 0.0, -128.0, 127.0);
    close_codec(&c);
    assert_ok(open_codec(&c, "pcm", "{\"format\": \"s24le\"}", &err), &err);
    takes(&c, "\x01\x00\x00\xff\xff\xff\x00\x00\x80", 9, (size_t) 3, 1.0, -1.0, -8388608.0);
    close_codec(&c);
    assert_ok(open_codec(&c, "pcm", "{\"format\": \"s32le\"}", &err), &err);
    takes(&c, "\xfe\xff\xff\xff", 4, (size_t) 1, -2.0);
    close_codec(&c);
    assert_ok(open_codec(&c, "pcm", "{\"format\": \"f32le\"}", &err), &err);
    takes(&c, "\x00\x00\x80\x3f\x00\x00\x00\xbf", 8, (size_t) 2, 1.0, -0.5);
    refuses(&c, "\x00\x00\x80\x3f\x00\x00\xc0\x7f", 8, "sample 1 is NaN or infinite");
    refuses(&c, "\x00\x00\x80\xff", 4, "sample 0 is NaN or infinite");
    close_codec(&c);
}

static void pcm_takes_channels_together_or_one(void **state)
{
    struct opened c;
    struct pith_error err = {0};

    (void) state;
    assert_ok(open_codec(&c, "pcm", "{\"channels\": 2}", &err), &err);
    assert_int_equal(c.stream.shape.rank, 1);
    assert_int_equal(c.stream.shape.dim[0], 2);
    takes(&c, "\x01\0\x02\0\x03\0\x04\0", 8, (size_t) 4, 1.0, 2.0, 3.0, 4.0);
    refuses(&c, "\x01\0\x02\0\x03\0", 6, "multiples of 4 bytes");
    close_codec(&c);
    assert_ok(open_codec(&c, "pcm", "{\"channels\": 2, \"channel\": 2}", &err), &err);
    assert_int_equal(c.stream.shape.rank, 0);
    takes(&c, "\x01\0\x02\0\x03\0\x04\0", 8, (size_t) 2, 2.0, 4.0);
    close_codec(&c);
    assert_int_equal(open_codec(&c, "pcm", "{\"channels\": 2, \"channel\": 3}", &err), -EINVAL);
    assert_non_null(strstr(err.text, "channel 3 of 2"));
}

static void pcm_takes_long_payloads_in_pieces(void **state)
{
    static int16_t samples[20000];
    struct opened c;
    struct rows rows = {0};
    struct pith_error err = {0};

    (void) state;
    for (int i = 0; i < 20000; i++)
        samples[i] = (int16_t) i;
    assert_ok(open_codec(&c, "pcm", "{}", &err), &err);
    assert_ok(feed(&c, samples, sizeof samples, &rows, &err), &err);
    assert_int_equal(rows.count, 20000);
    assert_float_equal(rows.value[8191], 8191, 0);
    rows.stop = -ECANCELED;
    assert_int_equal(feed(&c, samples, sizeof samples, &rows, &err), -ECANCELED);
    assert_int_equal(rows.call_count, 1);
    close_codec(&c);
}

/* ---- json ---- */

static void json_reads_the_fields_that_are_named(void **state)
{
    struct opened c;
    struct pith_error err = {0};

    (void) state;
    assert_ok(open_codec(&c, "json",
                         "{\"fields\": [\"temperature\", \"battery.0.level\", \"occupancy\"]}",
                         &err),
              &err);
    takes_text(&c,
               "{\"occupancy\": true, \"temperature\": 21.5, \"battery\": [{\"level\": 90}], "
               "\"linkquality\": 255}",
               (size_t) 3, 21.5, 90.0, 1.0);
    refuses_text(&c, "{\"temperature\": 21.5, \"occupancy\": false}",
                 "\"battery.0.level\" is missing");
    refuses_text(&c,
                 "{\"temperature\": \"21.5\", \"battery\": [{\"level\": 90}], \"occupancy\": true}",
                 "\"temperature\" is a text where a number should be; texts: true");
    refuses_text(&c, "{\"temperature\": null}", "\"temperature\" is null");
    refuses_text(&c, "{\"temperature\": NaN}", "line 1, column");
    refuses_text(&c, "{\"temperature\": 1e999}", "json: line 1");
    refuses_text(&c, "{\"temperature\": 1e300, \"battery\": [{\"level\": 90}], \"occupancy\": 1}",
                 "range of float32");
    refuses_text(&c, "{\"temperature\": 1, \"temperature\": 2}", "duplicate");
    refuses_text(&c, "[1,", "json: line 1");
    refuses_text(&c, "5", "a row is a number where an object should be");
    close_codec(&c);
}

static void json_fills_in_what_is_missing(void **state)
{
    struct opened c;
    struct pith_error err = {0};

    (void) state;
    assert_ok(
        open_codec(
            &c, "json",
            "{\"fields\": [\"t\", \"h\"], \"missing\": \"last\", \"scale\": 2, \"offset\": 1}",
            &err),
        &err);
    refuses_text(&c, "{\"t\": 1}", "no earlier payload had it");
    takes_text(&c, "{\"t\": 1, \"h\": 10}", (size_t) 2, 3.0, 21.0);
    takes_text(&c, "{\"t\": 2}", (size_t) 2, 5.0, 21.0);
    refuses_text(&c, "{\"t\": {}}", "an object");
    takes_text(&c, "{\"h\": 0}", (size_t) 2, 5.0, 1.0);
    close_codec(&c);
    assert_ok(open_codec(&c, "json",
                         "{\"fields\": [\"t\"], \"missing\": \"otherwise\", \"otherwise\": -1}",
                         &err),
              &err);
    takes_text(&c, "{}", (size_t) 1, -1.0);
    close_codec(&c);
    assert_ok(open_codec(&c, "json", "{\"fields\": [\"t\", \"state\"], \"texts\": true}", &err),
              &err);
    takes_text(&c, "{\"t\": \"-3.5\", \"state\": \"ON\"}", (size_t) 2, -3.5, 1.0);
    refuses_text(&c, "{\"t\": \"3.5 C\", \"state\": \"OFF\"}", "\"t\" is a text");
    refuses_text(&c, "{\"t\": \"nan\", \"state\": \"OFF\"}", "\"t\" is a text");
    close_codec(&c);
}

static void json_reads_rows_and_bare_numbers(void **state)
{
    struct opened c;
    struct pith_error err = {0};

    (void) state;
    assert_ok(open_codec(&c, "json", "{}", &err), &err);
    assert_int_equal(c.stream.shape.rank, 0);
    takes_text(&c, "21.5", (size_t) 1, 21.5);
    refuses_text(&c, "[1]", "an array");
    close_codec(&c);
    assert_ok(open_codec(&c, "json", "{\"width\": 3, \"rows\": \"data.samples\"}", &err), &err);
    takes_text(&c, "{\"data\": {\"samples\": [[1,2,3],[4,5,6]]}}", (size_t) 6, 1.0, 2.0, 3.0, 4.0,
               5.0, 6.0);
    refuses_text(&c, "{\"data\": {\"samples\": [[1,2,3],[4,5]]}}", "an array of 3 numbers");
    refuses_text(&c, "{\"data\": {\"samples\": []}}", "0 rows");
    refuses_text(&c, "{\"data\": 7}", "\"data.samples\" is missing where an array");
    close_codec(&c);
    assert_ok(open_codec(&c, "json", "{\"rows\": \".\", \"fields\": [\"v\"]}", &err), &err);
    takes_text(&c, "[{\"v\": 1}, {\"v\": 2}]", (size_t) 2, 1.0, 2.0);
    close_codec(&c);
    assert_int_equal(open_codec(&c, "json", "{\"fields\": [\"a..b\"]}", &err), -EINVAL);
    assert_int_equal(open_codec(&c, "json", "{\"fields\": [\"a\"], \"width\": 2}", &err), -EINVAL);
}

/* ---- tensor ---- */

static void tensor_reads_raw_and_npy(void **state)
{
    static const char npy[] =
        "\x93NUMPY\x01\x00\x4a\x00{'descr': '<i2', 'fortran_order': False, 'shape': (2, 2), }"
        "              \n\x01\x00\x02\x00\x03\x00\x04\x00";
    uint8_t payload[sizeof npy - 1];
    struct opened c;
    struct pith_error err = {0};
    float raw[4] = {1, -2, 3.5f, 4};

    (void) state;
    assert_ok(open_codec(&c, "tensor", "{\"shape\": [\"2\"]}", &err), &err);
    takes(&c, raw, sizeof raw, (size_t) 4, 1.0, -2.0, 3.5, 4.0);
    refuses(&c, raw, 12, "12 bytes; rows of float32 [2] come in multiples of 8 bytes");
    raw[1] = NAN;
    refuses(&c, raw, sizeof raw, "value 1 is NaN or infinite");
    close_codec(&c);

    assert_ok(open_codec(&c, "tensor",
                         "{\"format\": \"npy\", \"dtype\": \"int16\", \"shape\": [\"2\"]}", &err),
              &err);
    memcpy(payload, npy, sizeof payload);
    takes(&c, payload, sizeof payload, (size_t) 4, 1.0, 2.0, 3.0, 4.0);
    for (size_t bytes = 0; bytes < sizeof payload; bytes++)
        refuses(&c, payload, bytes, "tensor: ");
    payload[8] = 0xff;
    refuses(&c, payload, sizeof payload, "header of 255 bytes");
    payload[8] = 0x4a;
    payload[21] = '>';
    refuses(&c, payload, sizeof payload, "is not that of int16 [2]");
    close_codec(&c);
    assert_int_equal(open_codec(&c, "tensor", "{\"shape\": [\"0\"]}", &err), -EINVAL);
    assert_int_equal(open_codec(&c, "tensor", "{\"shape\": [\"99999999\", \"99999999\"]}", &err),
                     -EINVAL);
}

static int find_plugins(void **state)
{
    struct pith_error err = {0};

    (void) state;
    assert_ok(pith_plugins_open(&plugins, NULL, &err), &err);
    return 0;
}

static int drop_plugins(void **state)
{
    (void) state;
    pith_plugins_free(plugins);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_codec_keeps_its_promises),
        cmocka_unit_test(pcm_reads_each_format),
        cmocka_unit_test(pcm_takes_channels_together_or_one),
        cmocka_unit_test(pcm_takes_long_payloads_in_pieces),
        cmocka_unit_test(json_reads_the_fields_that_are_named),
        cmocka_unit_test(json_fills_in_what_is_missing),
        cmocka_unit_test(json_reads_rows_and_bare_numbers),
        cmocka_unit_test(tensor_reads_raw_and_npy),
    };

    return cmocka_run_group_tests(tests, find_plugins, drop_plugins);
}
