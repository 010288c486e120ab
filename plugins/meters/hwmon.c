/* hwmon: power and energy sensors of the kernel's hwmon folders: INA219, INA226, INA3221, LTC,
 * board controllers. */
#include "plugins/meters/sysfs.h"

#include <dirent.h>
#include <errno.h>
#include <pith/meter.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_BYTES  64
#define MAX_CHANNEL 16

enum form { ENERGY, POWER_AVERAGE, POWER, CURRENT };

struct pith_meter {
    char folder[SYSFS_PATH_BYTES];
    enum form form;
    long channel;
    int64_t last_uj;
    uint64_t energy_uj;
};

enum { OPTION_ROOT, OPTION_CHIP, OPTION_CHANNEL };
static const struct pith_option options[] = {
    {.name = "root",
     .type = PITH_OPTION_STRING,
     .otherwise = "/sys/class/hwmon",
     .help = "the folder with the kernel's hwmon* folders"},
    {.name = "chip",
     .type = PITH_OPTION_STRING,
     .otherwise = "~",
     .help = "the sensor's name as in its file `name`, such as ina226; left out: the first that "
             "measures power"},
    {.name = "channel",
     .type = PITH_OPTION_INT,
     .minimum = 0,
     .maximum = MAX_CHANNEL,
     .otherwise = "0",
     .help =
         "the number in power1_input, energy1_input or curr1_input; 0: the first that there is"},
    {0},
};

/* "power1_input" of form and channel; the file of a current is the current's. */
static void file_name(enum form form, long channel, char *name, size_t name_bytes)
{
    static const char *const patterns[][2] = {
        [ENERGY] = {"energy", "input"},
        [POWER_AVERAGE] = {"power", "average"},
        [POWER] = {"power", "input"},
        [CURRENT] = {"curr", "input"},
    };

    (void) snprintf(name, name_bytes, "%s%ld_%s", patterns[form][0], channel, patterns[form][1]);
}

static int read_raw(const struct pith_meter *meter, int64_t *out)
{
    char name[NAME_BYTES];
    int64_t millivolts;
    int rc;

    file_name(meter->form, meter->channel, name, sizeof name);
    rc = sysfs_number(meter->folder, name, out);
    if (rc < 0 || meter->form != CURRENT)
        return rc;
    (void) snprintf(name, sizeof name, "in%ld_input", meter->channel);
    rc = sysfs_number(meter->folder, name, &millivolts);
    if (rc == 0 && __builtin_mul_overflow(*out, millivolts, out)) /* mA x mV = uW */
        rc = -ERANGE;
    return rc;
}

static int fault(const struct pith_meter *meter, int rc, struct pith_error *err)
{
    char name[NAME_BYTES];

    file_name(meter->form, meter->channel, name, sizeof name);
    if (rc == -EACCES || rc == -EPERM)
        return pith_fail(
            err, -EACCES,
            "hwmon: %.300s/%s can't be read: no permission; let the daemon's group read it",
            meter->folder, name);
    return pith_fail(err, rc, "hwmon: %.300s/%s can't be read: %s", meter->folder, name,
                     strerror(-rc));
}

/* Looks for the sensor in the chip's folder, the form that says most first. */
static int find_sensor(struct pith_meter *meter, long wanted, struct pith_error *err)
{
    for (int form = ENERGY; form <= CURRENT; form++)
        for (long channel = wanted ? wanted : 1; channel <= (wanted ? wanted : MAX_CHANNEL);
             channel++) {
            int64_t value;
            int rc;
            meter->form = (enum form) form;
            meter->channel = channel;
            rc = read_raw(meter, &value);
            if (rc == -EACCES || rc == -EPERM)
                return fault(meter, rc, err);
            if (rc == 0) {
                meter->last_uj = value;
                return 0;
            }
        }
    return -ENOENT;
}

static int find_chip(struct pith_meter *meter, const struct pith_option_value *values,
                     struct pith_error *err)
{
    const char *root = values[OPTION_ROOT].text;
    const char *chip = values[OPTION_CHIP].text;
    struct dirent **entries;
    int count = scandir(root, &entries, NULL, versionsort);
    int rc = -ENOENT;

    if (count < 0)
        return pith_fail(err, -ENODEV, "hwmon: this machine has no %.300s", root);
    for (int i = 0; i < count; i++) {
        char name[NAME_BYTES];
        bool fits = rc == -ENOENT && entries[i]->d_name[0] != '.' &&
                    (size_t) snprintf(meter->folder, sizeof meter->folder, "%s/%s", root,
                                      entries[i]->d_name) < sizeof meter->folder &&
                    sysfs_line(meter->folder, "name", name, sizeof name) == 0 &&
                    (!chip || strcmp(chip, name) == 0);
        if (fits)
            rc = find_sensor(meter, values[OPTION_CHANNEL].integer, err);
        free(entries[i]);
    }
    free(entries);
    if (rc == -ENOENT)
        return pith_fail(err, -ENODEV, "hwmon: no %s%s in %.300s measures power, energy or current",
                         chip ? "sensor " : "sensor", chip ? chip : "", root);
    return rc;
}

static int hwmon_open(const struct pith_host *host, const struct pith_option_value *values,
                      struct pith_meter **out, struct pith_error *err)
{
    struct pith_meter *meter = calloc(1, sizeof *meter);
    int rc;

    (void) host;
    if (!meter)
        return -ENOMEM;
    rc = find_chip(meter, values, err);
    if (rc < 0) {
        free(meter);
        return rc;
    }
    *out = meter;
    return 0;
}

/* Power alone gives no energy: a reading now and then says nothing of the time between. */
static int hwmon_read(struct pith_meter *meter, struct pith_meter_reading *out,
                      struct pith_error *err)
{
    int64_t value;
    int rc = read_raw(meter, &value);

    if (rc < 0)
        return fault(meter, rc, err);
    *out = (struct pith_meter_reading){
        .source = PITH_ENERGY_MEASURED,
        .scope = PITH_METER_MACHINE,
        .energy_uj = UINT64_MAX,
        .power_mw = UINT64_MAX,
    };
    if (meter->form == ENERGY) {
        /* A step back is a reset: hwmon tells no range. */
        meter->energy_uj += value > meter->last_uj ? (uint64_t) (value - meter->last_uj) : 0;
        meter->last_uj = value;
        out->energy_uj = meter->energy_uj;
    } else {
        out->power_mw =
            value > 0 ? (uint64_t) value / 1000 : 0; /* a battery that charges reads negative */
    }
    return 0;
}

static void hwmon_close(struct pith_meter *meter)
{
    free(meter);
}

static const struct pith_meter_ops ops = {
    .size_bytes = sizeof ops,
    .open = hwmon_open,
    .read = hwmon_read,
    .close = hwmon_close,
};

PITH_EXPORT const struct pith_plugin pith_plugin = {
    .size_bytes = sizeof pith_plugin,
    .abi_major = PITH_ABI_MAJOR,
    .abi_minor = PITH_ABI_MINOR,
    .kind = PITH_KIND_METER,
    .name = "hwmon",
    .version = "1.0",
    .summary = "power and energy sensors: INA2xx and others that the kernel knows",
    .ops = &ops,
    .options = options,
};
