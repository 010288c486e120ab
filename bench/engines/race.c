/* The race of engines: each model on every engine that is here, in turns of short rounds, each
 * engine in a process of its own. Engines whose outputs differ from the others' are refused before
 * anything is timed. `bench/engine` calls it. */
#include "bench/engines/contestant.h"
#include "bench/engines/models.h"
#include "bench/engines/peak.h"
#include "bench/engines/report.h"

#include "libpith/kernels/isa.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ENGINES_MAX        8
#define LEAST_COSINE_FLOAT 0.9999
#define LEAST_COSINE_INT8                                                                          \
    0.99 /* rounding differs by a step here and there, and goes on through the layers */
#define LEAST_COSINE_PEER 0.9 /* what is further off computes something else */

struct settings {
    const char *models, *engines, *plugin_path, *data, *made;
    char
        peers[PATH_MAX]; /* folder of the peers that are no engine of pith's: beside this program */
    int threads, rounds;
    double round_ms;
    bool json;
};

static const char usage[] =
    "usage: bench/engine [options]\n"
    "  --models LIST    names with ',' between them: kws, kws_int8, int8, ... (all)\n"
    "  --engines LIST   native,onnxruntime,xnnpack,onednn (all)\n"
    "  --threads N      of each session (1)\n"
    "  --rounds N       turns of each engine (12)\n"
    "  --round-ms N     length of a turn (200)\n"
    "  --quick          5 turns of 40 ms\n"
    "  --json           print JSON\n"
    "  --data FOLDER    the test data ($PITH_DATA)\n"
    "  --made FOLDER    where bench/engine has made models\n"
    "  --plugins FOLDER where the engines are ($PITH_PLUGIN_PATH)\n";

/* ---- outputs ---- */

struct outputs {
    double *values; /* own */
    size_t count;
};

static int read_outputs(struct outputs *out, const char *path)
{
    FILE *file = fopen(path, "rb");
    long bytes = -1;

    *out = (struct outputs){0};
    if (file && fseek(file, 0, SEEK_END) == 0)
        bytes = ftell(file);
    if (bytes > 0) {
        out->values = malloc((size_t) bytes);
        rewind(file);
        if (out->values)
            out->count =
                fread(out->values, sizeof *out->values, (size_t) bytes / sizeof *out->values, file);
    }
    if (file)
        (void) fclose(file);
    return out->count > 0 ? 0 : -EIO;
}

static double cosine(const struct outputs *a, const struct outputs *b)
{
    double ab = 0, aa = 0, bb = 0;

    if (a->count != b->count)
        return NAN;
    for (size_t i = 0; i < a->count; i++) {
        ab += a->values[i] * b->values[i];
        aa += a->values[i] * a->values[i];
        bb += b->values[i] * b->values[i];
    }
    return aa == 0 && bb == 0 ? 1 : ab / sqrt(aa * bb);
}

static void refuse(struct contestant *contestant, const char *than, double likeness, double least)
{
    contestant_stop(contestant);
    (void) snprintf(contestant->reason, sizeof contestant->reason,
                    "its outputs differ from those of %s: cosine %.5f, and at least %.5f is wanted",
                    than, likeness, least);
}

/* The first peer that is ready is what the others are compared with; it is a library that many have
 * checked. A peer that is somewhat off (its instructions saturate, say) is marked and stays in the race; we don't. */
static void compare_outputs(struct race *race, char paths[][PATH_MAX])
{
    const double least =
        strcmp(race->model->type, "int8") == 0 ? LEAST_COSINE_INT8 : LEAST_COSINE_FLOAT;
    struct outputs reference = {0};
    const char *than = NULL;

    for (size_t turn = 0; turn < 2 * race->count; turn++) { /* first without us, then all */
        struct contestant *c = &race->contestants[turn % race->count];
        const bool ours = strcmp(c->engine, "native") == 0;
        struct outputs outputs;
        double likeness;

        if (!c->ready || (turn < race->count && (ours || than)))
            continue;
        if (read_outputs(&outputs, paths[turn % race->count]) < 0) {
            refuse(c, than ? than : "any", NAN, least);
        } else if (!than) {
            than = c->engine;
            reference = outputs;
            race->reference = than;
            continue;
        } else {
            likeness = cosine(&outputs, &reference);
            c->cosine = likeness;
            c->is_off = !ours && likeness < least && likeness >= LEAST_COSINE_PEER;
            if (!(likeness >= least) && !c->is_off)
                refuse(c, than, likeness, least);
        }
        free(outputs.values);
    }
    free(reference.values);
}

/* ---- the race ---- */

static int last_cpu(void)
{
    cpu_set_t set;
    int last = -1;

    if (sched_getaffinity(0, sizeof set, &set) == 0)
        for (int i = 0; i < CPU_SETSIZE; i++)
            if (CPU_ISSET((size_t) i, &set))
                last = i;
    return last;
}

static int run_model(const struct settings *settings, struct race *race, const char *folder,
                     struct pith_error *err)
{
    char model[PATH_MAX], outputs[ENGINES_MAX][PATH_MAX];
    struct contestant_setup setup = {
        .model = bench_model_path(race->model, settings->data, settings->made, model, sizeof model),
        .shapes = race->model->shapes,
        .integer = race->model->integer,
        .threads = settings->threads,
        .cpu = last_cpu(),
    };
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < race->count; i++) {
        (void) snprintf(outputs[i], sizeof outputs[i], "%s/%zu", folder, i);
        setup.output_path = outputs[i];
        setup.plugin_path = strcmp(race->contestants[i].engine, "onednn") == 0
                                ? settings->peers
                                : settings->plugin_path;
        rc = contestant_start(&race->contestants[i], race->contestants[i].engine, &setup, err);
    }
    if (rc == 0)
        compare_outputs(race, outputs);
    for (int round = 0; rc == 0 && round < settings->rounds; round++)
        for (size_t i = 0; i < race->count; i++)
            contestant_round(&race->contestants[i], settings->round_ms);
    for (size_t i = 0; i < race->count; i++) {
        const bool ran = race->contestants[i].ready;

        contestant_stop(&race->contestants[i]);
        race->contestants[i].ready = ran;
        (void) unlink(outputs[i]);
    }
    return rc;
}

static size_t list_engines(const struct settings *settings, const char *engines[ENGINES_MAX])
{
    static const char *const all[] = {"native", "onnxruntime", "xnnpack", "onednn"};
    size_t count = 0;

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        const char *at = settings->engines ? strstr(settings->engines, all[i]) : all[i];

        if (at)
            engines[count++] = all[i];
    }
    return count;
}

static void say_machine(const struct settings *settings, const struct peak *peak)
{
    (void) printf(
        "%s, %d thread%s; at most %.1f GMAC/s in float32 (%s), %.1f in int8 (%s), each core\n",
        getenv("PITH_ISA") ? pith_isa_name(pith_isa()) : "all instruction sets", settings->threads,
        settings->threads == 1 ? "" : "s", peak->f32_gmacs, peak->f32_by, peak->int8_gmacs,
        peak->int8_by);
    if (getenv("PITH_ISA"))
        (void) puts("* can't be capped: it uses what the CPU has, and counts in no ratio");
}

static int run_all(const struct settings *settings, struct pith_error *err)
{
    char folder[] = "/tmp/pith-bench-XXXXXX";
    const char *engines[ENGINES_MAX];
    struct contestant *contestants = calloc(ENGINES_MAX, sizeof *contestants);
    struct peak peak;
    json_t *rows = json_array();
    int rc = contestants && rows ? 0 : -ENOMEM;
    const size_t count = list_engines(settings, engines);

    if (rc == 0 && !mkdtemp(folder))
        rc = pith_fail(err, -errno, "%s: %s", folder, strerror(errno));
    peak_measure(&peak);
    if (!settings->json) {
        say_machine(settings, &peak);
        report_head();
    }
    for (size_t m = 0; rc == 0 && m < bench_model_count; m++) {
        struct race race = {&bench_models[m], &peak, settings->threads, contestants, count};

        if (!bench_model_wanted(race.model, settings->models))
            continue;
        for (size_t i = 0; i < count; i++)
            contestants[i] = (struct contestant){.engine = engines[i], .cosine = NAN};
        rc = run_model(settings, &race, folder, err);
        if (rc == 0 && settings->json)
            report_add(rows, &race);
        else if (rc == 0)
            report_print(&race);
    }
    if (rc == 0 && settings->json) {
        json_t *all = json_pack("{s:s, s:b, s:f, s:f, s:O}", "isa", pith_isa_name(pith_isa()),
                                "capped", getenv("PITH_ISA") != NULL, "peak_f32_gmacs",
                                peak.f32_gmacs, "peak_int8_gmacs", peak.int8_gmacs, "rows", rows);

        (void) json_dumpf(all, stdout, JSON_INDENT(1));
        (void) putchar('\n');
        json_decref(all);
    }
    (void) rmdir(folder);
    json_decref(rows);
    free(contestants);
    return rc;
}

/* ---- options ---- */

static int read_number(const char *text, int least, int most, int *out)
{
    char *end;
    long number = strtol(text, &end, 10);

    if (*end || end == text || number < least || number > most)
        return -EINVAL;
    *out = (int) number;
    return 0;
}

static int read_options(struct settings *settings, int argc, char **argv)
{
    static const struct option options[] = {
        {"models", 1, NULL, 'm'},  {"engines", 1, NULL, 'e'},  {"threads", 1, NULL, 't'},
        {"rounds", 1, NULL, 'r'},  {"round-ms", 1, NULL, 'l'}, {"quick", 0, NULL, 'q'},
        {"json", 0, NULL, 'j'},    {"data", 1, NULL, 'd'},     {"made", 1, NULL, 'o'},
        {"plugins", 1, NULL, 'p'}, {NULL, 0, NULL, 0}};
    int letter, number, rc = 0;

    while (rc == 0 && (letter = getopt_long(argc, argv, "", options, NULL)) != -1)
        switch (letter) {
        case 'm':
            settings->models = optarg;
            break;
        case 'e':
            settings->engines = optarg;
            break;
        case 't':
            rc = read_number(optarg, 1, 64, &settings->threads);
            break;
        case 'r':
            rc = read_number(optarg, 1, CONTESTANT_ROUNDS_MAX, &settings->rounds);
            break;
        case 'l':
            rc = read_number(optarg, 1, 60000, &number);
            settings->round_ms = rc == 0 ? number : 0;
            break;
        case 'q':
            settings->rounds = 5;
            settings->round_ms = 40;
            break;
        case 'j':
            settings->json = true;
            break;
        case 'd':
            settings->data = optarg;
            break;
        case 'o':
            settings->made = optarg;
            break;
        case 'p':
            settings->plugin_path = optarg;
            break;
        default:
            rc = -EINVAL;
        }
    return optind < argc ? -EINVAL : rc;
}

/* Where libtool leaves modules that are built beside this program. */
static void find_peers(struct settings *settings)
{
    const ssize_t length = readlink("/proc/self/exe", settings->peers, sizeof settings->peers - 1);
    char *slash;

    settings->peers[length > 0 ? length : 0] = '\0';
    slash = strrchr(settings->peers, '/');
    if (slash)
        *slash = '\0';
}

int main(int argc, char **argv)
{
    struct settings settings = {.threads = 1,
                                .rounds = 12,
                                .round_ms = 200,
                                .data = getenv("PITH_DATA"),
                                .made = ".",
                                .plugin_path = getenv("PITH_PLUGIN_PATH")};
    struct pith_error err = {0};

    if (argc > 1 && strcmp(argv[1], "--contestant") == 0)
        return contestant_main(argc, argv);
    if (read_options(&settings, argc, argv) < 0) {
        (void) fputs(usage, stderr);
        return 2;
    }
    find_peers(&settings);
    if (!settings.data)
        settings.data = ".";
    if (!settings.plugin_path)
        settings.plugin_path = PITH_PLUGIN_DIR;
    if (run_all(&settings, &err) < 0) {
        (void) fprintf(stderr, "bench/engine: %s\n", pith_error_text(&err));
        return 1;
    }
    return 0;
}
