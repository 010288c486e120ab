/* rapl: the energy counters of Intel and AMD processors, through the kernel's powercap folders. */
#include "plugins/meters/sysfs.h"

#include <dirent.h>
#include <errno.h>
#include <pith/meter.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ZONES  16
#define NAME_BYTES 64

struct zone {
    char folder[SYSFS_PATH_BYTES];
    int64_t last_uj;
    int64_t range_uj; /* where the counter wraps; 0: not known */
};

struct pith_meter {
    struct zone zones[MAX_ZONES];
    size_t zone_count;
    uint64_t energy_uj;
};

enum { OPTION_ROOT, OPTION_DOMAIN };
static const struct pith_option options[] = {
    {.name = "root",
     .type = PITH_OPTION_STRING,
     .otherwise = "/sys/class/powercap",
     .help = "the folder with the kernel's intel-rapl:* zones"},
    {.name = "domain",
     .type = PITH_OPTION_STRING,
     .otherwise = "package",
     .help = "zones whose name begins with it are added up: package (all sockets), psys (the whole "
             "board, where it "
             "is wired), dram"},
    {0},
};

/* "intel-rapl:0" and "intel-rapl:0:2", but not "intel-rapl" itself, and not the same counters again
 * through MMIO. */
static bool is_zone(const char *name)
{
    return strncmp(name, "intel-rapl:", 11) == 0;
}

static int read_counter(const struct zone *zone, int64_t *out_uj, struct pith_error *err)
{
    int rc = sysfs_number(zone->folder, "energy_uj", out_uj);

    if (rc == -EACCES || rc == -EPERM)
        return pith_fail(
            err, -EACCES,
            "rapl: %.300s/energy_uj may be read by root alone, as Linux has it since 5.10; let the "
            "daemon's group read it: chgrp pith, chmod 440, by a udev rule or at boot",
            zone->folder);
    if (rc < 0)
        return pith_fail(err, rc, "rapl: %.300s/energy_uj can't be read: %s", zone->folder,
                         strerror(-rc));
    if (*out_uj < 0)
        return pith_fail(err, -EBADMSG, "rapl: %.300s/energy_uj is negative", zone->folder);
    return 0;
}

static int add_zone(struct pith_meter *meter, const char *root, const char *entry,
                    const char *domain, struct pith_error *err)
{
    struct zone *zone = &meter->zones[meter->zone_count];
    char name[NAME_BYTES];

    if (meter->zone_count == MAX_ZONES ||
        (size_t) snprintf(zone->folder, sizeof zone->folder, "%s/%s", root, entry) >=
            sizeof zone->folder ||
        sysfs_line(zone->folder, "name", name, sizeof name) < 0 ||
        strncmp(name, domain, strlen(domain)) != 0)
        return 0; /* another domain, or one that went away meanwhile */
    if (sysfs_number(zone->folder, "max_energy_range_uj", &zone->range_uj) < 0 ||
        zone->range_uj < 0)
        zone->range_uj = 0;
    meter->zone_count++;
    return read_counter(zone, &zone->last_uj, err);
}

static int find_zones(struct pith_meter *meter, const char *root, const char *domain,
                      struct pith_error *err)
{
    DIR *folder = opendir(root);
    const struct dirent *entry;
    int rc = 0;

    if (!folder)
        return errno == EACCES
                   ? pith_fail(err, -EACCES, "rapl: %.300s can't be listed: no permission", root)
                   : pith_fail(err, -ENODEV, "rapl: this machine has no %.300s", root);
    while (rc == 0 && (entry = readdir(folder)))
        if (is_zone(entry->d_name))
            rc = add_zone(meter, root, entry->d_name, domain, err);
    (void) closedir(folder);
    if (rc == 0 && meter->zone_count == 0)
        rc = pith_fail(err, -ENODEV,
                       "rapl: no zone in %.300s is named %.40s*; virtual machines have none", root,
                       domain);
    return rc;
}

static int rapl_open(const struct pith_host *host, const struct pith_option_value *values,
                     struct pith_meter **out, struct pith_error *err)
{
    struct pith_meter *meter = calloc(1, sizeof *meter);
    int rc;

    (void) host;
    if (!meter)
        return -ENOMEM;
    rc = find_zones(meter, values[OPTION_ROOT].text, values[OPTION_DOMAIN].text, err);
    if (rc < 0) {
        free(meter);
        return rc;
    }
    *out = meter;
    return 0;
}

/* A step back is a wrap where that makes a step of under half the range: no processor takes as much
 * between two readings a minute apart (a range is about an hour at full power). Otherwise the
 * counter was reset: a new base. */
static uint64_t step_of(const struct zone *zone, int64_t now_uj)
{
    int64_t step = now_uj - zone->last_uj;

    if (step < 0)
        step = zone->range_uj > 0 && now_uj <= zone->range_uj && zone->last_uj <= zone->range_uj
                   ? zone->range_uj - zone->last_uj + now_uj
                   : 0;
    if (zone->range_uj > 0 && step > zone->range_uj / 2)
        step = 0;
    return (uint64_t) step;
}

static int rapl_read(struct pith_meter *meter, struct pith_meter_reading *out,
                     struct pith_error *err)
{
    for (size_t i = 0; i < meter->zone_count; i++) {
        struct zone *zone = &meter->zones[i];
        int64_t now_uj;
        int rc = read_counter(zone, &now_uj, err);
        if (rc < 0)
            return rc;
        meter->energy_uj += step_of(zone, now_uj);
        zone->last_uj = now_uj;
    }
    *out = (struct pith_meter_reading){
        .source = PITH_ENERGY_MEASURED,
        .scope = PITH_METER_MACHINE,
        .energy_uj = meter->energy_uj,
        .power_mw = UINT64_MAX,
    };
    return 0;
}

static void rapl_close(struct pith_meter *meter)
{
    free(meter);
}

static const struct pith_meter_ops ops = {
    .size_bytes = sizeof ops,
    .open = rapl_open,
    .read = rapl_read,
    .close = rapl_close,
};

PITH_EXPORT const struct pith_plugin pith_plugin = {
    .size_bytes = sizeof pith_plugin,
    .abi_major = PITH_ABI_MAJOR,
    .abi_minor = PITH_ABI_MINOR,
    .kind = PITH_KIND_METER,
    .name = "rapl",
    .version = "1.0",
    .summary = "energy counters of Intel and AMD processors",
    .ops = &ops,
    .options = options,
};
