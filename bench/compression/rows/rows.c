/* The command's own part: which rows, in which order. bench/compression/ptq sets up what it needs.
 *
 *   rows [--json] [--list] [ROW...] */
#include "bench/compression/rows/rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    row_function *run;
} all[] = {
    {"kws", row_kws},           {"resnet8", row_resnet8},           {"vww", row_vww}, {"ad01", row_ad01},
    {"kws_int4", row_kws_int4}, {"resnet8_int4", row_resnet8_int4}, {"vww_int4", row_vww_int4},
    {"rescue", row_rescue}, {"same", row_same}, {"wakeword", row_wakeword}, {"silero_vad", row_silero}, {"fastestdet", row_fastestdet}, {"rfb", row_rfb},
    {"mobilenetv2", row_mobilenetv2}, {"ranges", row_ranges}, {"vgg16", row_vgg16},
};
#define ROWS (sizeof all / sizeof *all)

static void list(FILE *to)
{
    for (size_t i = 0; i < ROWS; i++)
        (void) fprintf(to, "%s%s", all[i].name, i + 1 < ROWS ? " " : "\n");
}

static bool is_asked(char **names, const char *name)
{
    for (; *names; names++)
        if (!strcmp(*names, name))
            return true;
    return false;
}

static void check_names(char **names)
{
    for (; *names; names++) {
        bool known = false;

        for (size_t i = 0; i < ROWS; i++)
            known = known || !strcmp(*names, all[i].name);
        if (known)
            continue;
        (void) fprintf(stderr, "ptq: there is no row \"%s\"; the rows are: ", *names);
        list(stderr);
        exit(64);
    }
}

/* Rows start this program again for what wants a process of its own. */
static bool run_inside(struct lab *lab, const char *what, char **argv, int count)
{
    bool is_size = !strcmp(what, "--inside") && count == 5, is_same = !strcmp(what, "--same") && count == 3;

    if (!is_size && !is_same)
        return false;
    lab_open(lab);
    if (is_size)
        size_inside(lab, argv);
    else
        same_inside(lab, argv);
    lab_close(lab);
    return true;
}

int main(int argc, char **argv)
{
    struct lab lab = {.data = getenv("PITH_DATA"), .made = getenv("PITH_MADE"), .threads = 2};
    bool as_json = false;
    char **names = argv + 1;

    for (; names < argv + argc && !strncmp(*names, "--", 2); names++) {
        if (!strcmp(*names, "--list")) {
            list(stdout);
            return 0;
        }
        if (run_inside(&lab, *names, names + 1, argc - 2))
            return 0;
        if (strcmp(*names, "--json"))
            lab_die("%s is not an option: [--json] [--list] [ROW...]", *names);
        as_json = true;
    }
    check_names(names);
    if (!lab.data)
        lab_die("PITH_DATA names no folder with the data");
    lab_open(&lab);
    table_begin(as_json);
    for (size_t i = 0; i < ROWS; i++)
        if (!*names || is_asked(names, all[i].name))
            all[i].run(&lab);
    lab_close(&lab);
    return table_end() > 0;
}
