/* What this machine is: see machine.h. */
#include "daemon/machine.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

/* Those that decide which kernels run. */
static const char *const features[] = {
    "sse4_1",      "avx",         "avx2",     "fma",      "f16c", "avx512f", "avx512bw", "avx512vl",
    "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_int8", "neon", "vfpv4",   "asimd",    "asimdhp",
    "asimddp",     "i8mm",        "bf16",     "sve",      "sve2", NULL,
};

static bool has_word(const char *line, const char *word)
{
    size_t bytes = strlen(word);

    for (const char *at = strstr(line, word); at; at = strstr(at + 1, word))
        if (at != line && strchr(" \t", at[-1]) &&
            strchr(" \t\n", at[bytes])) /* '\0' is found by strchr too */
            return true;
    return false;
}

static void read_cpuinfo(json_t *machine)
{
    FILE *file = fopen("/proc/cpuinfo", "re");
    json_t *list = json_array();
    char line[8192];
    bool named = false, listed = false;

    while (file && (!named || !listed) && fgets(line, sizeof line, file)) {
        const char *value = strchr(line, ':');

        if (!value)
            continue;
        if (!named && (strncmp(line, "model name", 10) == 0 || strncmp(line, "Model", 5) == 0)) {
            (void) json_object_set_new(machine, "cpu",
                                       json_stringn(value + 2, strcspn(value + 2, "\n")));
            named = true;
        } else if (!listed &&
                   (strncmp(line, "flags", 5) == 0 || strncmp(line, "Features", 8) == 0)) {
            for (size_t i = 0; features[i]; i++)
                if (has_word(value, features[i]))
                    (void) json_array_append_new(list, json_string(features[i]));
            listed = true;
        }
    }
    if (file)
        (void) fclose(file);
    (void) json_object_set_new(machine, "cpu_features", list);
}

json_t *machine_describe(void)
{
    json_t *machine = json_object();
    struct utsname names;
    long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);

    if (!machine)
        return NULL;
    if (uname(&names) == 0) {
        (void) json_object_set_new(machine, "architecture", json_string(names.machine));
        (void) json_object_set_new(machine, "kernel", json_string(names.release));
    }
    (void) json_object_set_new(machine, "cpu_count", json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
    if (pages > 0 && page_bytes > 0)
        (void) json_object_set_new(machine, "memory_bytes",
                                   json_integer((json_int_t) pages * page_bytes));
    read_cpuinfo(machine);
    return machine;
}

int64_t machine_resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    long long total = 0, resident = -1;

    if (!file)
        return -1;
    if (fscanf(file, "%lld %lld", &total, &resident) != 2)
        resident = -1;
    (void) fclose(file);
    return resident < 0 ? -1 : resident * sysconf(_SC_PAGESIZE);
}
