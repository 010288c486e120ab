/* For benchmarks: packs WAV clips into a data set, runs a compression job on a folder and prints
 * its table. */
#include "libpith/compress/job.h"
#include "libpith/base/file.h"
#include "libpith/base/json.h"
#include "libpith/formats/npy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_CLIPS 100000

static int fail(const struct pith_error *err)
{
    (void) fprintf(stderr, "job: %s\n", pith_error_text(err));
    return 1;
}

/* ---- pack LIST X Y: a line of LIST is "file label" ---- */

struct packing {
    struct pith_tensor x, y;
    int64_t clips, frames;
};

static int add_clip(struct packing *packing, int64_t at, const char *file, long label,
                    struct pith_error *err)
{
    struct pith_tensor clip = {0};
    double rate_hz;
    int rc = pith_wav_read(&clip, &rate_hz, file, err);

    if (rc == 0 && packing->frames == 0) {
        packing->frames = clip.shape.dim[0];
        struct pith_shape shape = pith_shape_of(2, (int64_t[]){packing->clips, packing->frames});

        rc = pith_tensor_alloc(&packing->x, PITH_INT16, &shape, err);
    }
    if (rc == 0 && (clip.shape.rank != 1 || clip.shape.dim[0] != packing->frames))
        rc = pith_fail(err, -1, "%s: clips must be mono and all of one length", file);
    if (rc == 0) {
        memcpy((int16_t *) packing->x.data + at * packing->frames, clip.data, clip.bytes);
        ((int32_t *) packing->y.data)[at] = (int32_t) label;
    }
    pith_tensor_free(&clip);
    return rc;
}

static int pack(const char *list_path, const char *x_path, const char *y_path,
                struct pith_error *err)
{
    struct pith_buffer list = {0};
    struct packing packing = {0};
    int64_t at = 0;
    int rc = pith_file_read(list_path, 16 << 20, &list, err);

    for (size_t i = 0; rc == 0 && i < list.bytes; i++)
        packing.clips += list.data[i] == '\n';
    struct pith_shape shape = pith_shape_of(1, &packing.clips);

    if (rc == 0)
        rc = pith_tensor_alloc(&packing.y, PITH_INT32, &shape, err);
    char *save = NULL;

    for (char *line = rc == 0 ? strtok_r((char *) list.data, "\n", &save) : NULL; line && rc == 0;
         line = strtok_r(NULL, "\n", &save)) {
        char *space = strrchr(line, ' ');

        if (!space)
            continue;
        *space = 0;
        rc = add_clip(&packing, at++, line, strtol(space + 1, NULL, 10), err);
    }
    if (rc == 0)
        rc = pith_npy_write(x_path, &packing.x, err);
    if (rc == 0)
        rc = pith_npy_write(y_path, &packing.y, err);
    pith_tensor_free(&packing.x);
    pith_tensor_free(&packing.y);
    pith_buffer_done(&list);
    return rc;
}

/* ---- run FOLDER [BYTES_RATIO FIDELITY] ---- */

static double member(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return json_is_number(value) ? json_number_value(value) : -1;
}

static void row(const char *name, const json_t *facts, const json_t *original)
{
    (void) printf("%-24s %9.0f %6.3f %9.0f %10.0f %9.0f %9.4f %9.4f %9.4f\n", name,
                  member(facts, "bytes"), member(facts, "bytes") / member(original, "bytes"),
                  member(facts, "parameters"), member(facts, "macs"),
                  member(facts, "latency_p50_us"), member(facts, "accuracy_ratio"),
                  member(facts, "fidelity_ratio"), member(facts, "error_ratio"));
}

static void print_table(const json_t *result)
{
    const json_t *graph, *total = json_object_get(result, "total"),
                         *original = json_object_get(total, "original");
    size_t i;

    (void) printf("\n%-24s %9s %6s %9s %10s %9s %9s %9s %9s\n", "", "bytes", "ratio", "params",
                  "MACs", "p50 us", "accuracy", "fidelity", "error");
    json_array_foreach(json_object_get(result, "graphs"), i, graph)
    {
        const json_t *was = json_object_get(graph, "original");
        char name[64];

        (void) snprintf(name, sizeof name, "%.15s original",
                        json_string_value(json_object_get(graph, "name")));
        row(name, was, was);
        row(json_string_value(json_object_get(graph, "form")), json_object_get(graph, "variant"),
            was);
    }
    row("total, original", original, original);
    row("total, variant", json_object_get(total, "variant"), original);
    (void) printf("\n%s\n", json_string_value(json_object_get(result, "reason")));
}

static void say(void *user, const char *state, double done_ratio, const char *text)
{
    int *percent = user, now = (int) (done_ratio * 100);

    if (now == *percent || !isatty(STDERR_FILENO))
        return;
    *percent = now;
    (void) fprintf(stderr, "\r%3d %% %-12s %-48.48s", now, state, text);
}

static int run(const char *folder, double most_bytes, double least_fidelity, struct pith_error *err)
{
    struct pith_plugins *plugins = NULL;
    struct pith_buffer text = {0};
    char path[4096];
    json_t *result = NULL;
    int percent = -1, rc = pith_plugins_open(&plugins, NULL, err);
    struct pith_job_options options = {
        .folder = folder, .plugins = plugins, .progress = say, .user = &percent};

    if (rc == 0)
        rc = pith_job_run(&options, err);
    (void) snprintf(path, sizeof path, "%s/result.json", folder);
    if (rc == 0)
        rc = pith_file_read(path, 64 << 20, &text, err);
    if (rc == 0)
        rc = pith_json_parse(&result, text.data, text.bytes, 64 << 20, path, err);
    if (rc == 0) {
        const json_t *total = json_object_get(result, "total"),
                     *variant = json_object_get(total, "variant");
        double ratio =
            member(variant, "bytes") / member(json_object_get(total, "original"), "bytes");

        print_table(result);
        if (ratio > most_bytes || member(variant, "fidelity_ratio") < least_fidelity)
            rc = pith_fail(
                err, -1,
                "not held: %.3f of the bytes (at most %.3f), %.4f of the decisions (at least %.4f)",
                ratio, most_bytes, member(variant, "fidelity_ratio"), least_fidelity);
    }
    json_decref(result);
    pith_buffer_done(&text);
    pith_plugins_free(plugins);
    return rc;
}

int main(int argc, char **argv)
{
    struct pith_error err = {0};

    if (argc == 5 && !strcmp(argv[1], "pack"))
        return pack(argv[2], argv[3], argv[4], &err) < 0 ? fail(&err) : 0;
    if ((argc == 3 || argc == 5) && !strcmp(argv[1], "run"))
        return run(argv[2], argc == 5 ? strtod(argv[3], NULL) : 1e9,
                   argc == 5 ? strtod(argv[4], NULL) : -1, &err) < 0
                   ? fail(&err)
                   : 0;
    (void) fprintf(stderr,
                   "usage: job pack LIST X.npy Y.npy | job run FOLDER [BYTES_RATIO FIDELITY]\n");
    return 64;
}
