/* A meter to copy: reads a power in milliwatts from a file that something else keeps up to date (a
 * script that asks a smart plug, a kernel sensor without a driver here) and sums it up to energy. A
 * figure that is old is no figure. */
#include <pith/meter.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { OPTION_PATH, OPTION_STALE_S }; /* in the order of the table below */

static const struct pith_option options[] = {
    {"path", PITH_OPTION_STRING, 0, 0, NULL, NULL,
     "the file; its first word is the power in milliwatts"},
    {"stale_s", PITH_OPTION_INT, 1, 86400, "60", NULL,
     "a file that was not written for so long is not believed"},
    {0},
};

#define MAX_POWER_MW 100000000 /* 100 kW: more is a broken file */

struct pith_meter {
    char *path; /* own */
    int64_t stale_s;
    double energy_uj;
    uint64_t power_mw;  /* of the last reading; UINT64_MAX: unknown */
    struct timespec at; /* monotonic: of the last reading */
};

static void meter_close(struct pith_meter *meter)
{
    if (!meter)
        return;
    free(meter->path);
    free(meter);
}

static int meter_open(const struct pith_host *host, const struct pith_option_value *values,
                      struct pith_meter **out, struct pith_error *err)
{
    struct pith_meter *meter;

    (void) host;
    if (access(values[OPTION_PATH].text, R_OK) <
        0) /* -ENODEV: left out, with this sentence, and nothing fails */
        return pith_fail(err, -ENODEV, "%s: %s", values[OPTION_PATH].text, strerror(errno));
    meter = calloc(1, sizeof *meter);
    if (!meter)
        return pith_fail(err, -ENOMEM, "no memory for the meter");
    meter->stale_s = values[OPTION_STALE_S].integer;
    meter->power_mw = UINT64_MAX;
    meter->path = strdup(values[OPTION_PATH].text); /* option values are borrowed for the call */
    if (!meter->path) {
        meter_close(meter);
        return pith_fail(err, -ENOMEM, "no memory for the meter");
    }
    *out = meter;
    return 0;
}

/* The file's figure; UINT64_MAX where it is old, missing or no number. */
static uint64_t read_power_mw(const struct pith_meter *meter)
{
    int fd = open(meter->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat status;
    char text[32] = "", *end;
    ssize_t got = -1;
    long long power;

    if (fd < 0)
        return UINT64_MAX;
    if (fstat(fd, &status) == 0 && time(NULL) - status.st_mtime <= meter->stale_s)
        got = read(fd, text, sizeof text - 1);
    close(fd);
    if (got <= 0)
        return UINT64_MAX;
    power = strtoll(text, &end, 10);
    if (end == text || !strchr(" \n", *end) || power < 0 || power > MAX_POWER_MW)
        return UINT64_MAX;
    return (uint64_t) power;
}

static int meter_read(struct pith_meter *meter, struct pith_meter_reading *out,
                      struct pith_error *err)
{
    uint64_t before_mw = meter->power_mw;
    struct timespec now, before = meter->at;

    if (clock_gettime(CLOCK_MONOTONIC, &now) < 0)
        return pith_fail(err, -errno, "no clock: %s", strerror(errno));
    meter->power_mw = read_power_mw(meter);
    meter->at = now;
    if (before_mw != UINT64_MAX && meter->power_mw != UINT64_MAX) {
        double seconds =
            (double) (now.tv_sec - before.tv_sec) + (double) (now.tv_nsec - before.tv_nsec) / 1e9;

        /* mW times s is mJ; between two readings the power is taken to have changed evenly. */
        meter->energy_uj += 1000 * seconds * ((double) before_mw + (double) meter->power_mw) / 2;
    }
    *out = (struct pith_meter_reading){
        .source = meter->power_mw == UINT64_MAX ? PITH_ENERGY_UNKNOWN : PITH_ENERGY_MEASURED,
        .scope = PITH_METER_MACHINE,
        .energy_uj = meter->power_mw == UINT64_MAX ? UINT64_MAX : (uint64_t) meter->energy_uj,
        .power_mw = meter->power_mw,
    };
    return 0;
}

static const struct pith_meter_ops ops = {
    .size_bytes = sizeof ops,
    .open = meter_open,
    .read = meter_read,
    .close = meter_close,
};

const struct pith_plugin pith_plugin = {
    .size_bytes = sizeof pith_plugin,
    .abi_major = PITH_ABI_MAJOR,
    .abi_minor = PITH_ABI_MINOR,
    .kind = PITH_KIND_METER,
    .name = "file_power",
    .version = "1.0",
    .summary = "example: power that something else writes to a file",
    .ops = &ops,
    .options = options,
};
