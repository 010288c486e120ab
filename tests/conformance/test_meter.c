/* Every meter plugin that is built, and rapl and hwmon on made-up sysfs trees: wraps, resets, what
 * is missing or barred. */
#include "libpith/plugin/plugins.h"
#include "tests/testing.h"

#include <errno.h>
#include <pith/meter.h>
#include <sys/stat.h>
#include <time.h>

static struct pith_plugins *plugins;
static char root[64];

struct opened {
    const struct pith_meter_ops *ops;
    struct pith_meter *meter;
    struct pith_options options;
};

static int open_meter(struct opened *out, const char *name, json_t *taken_options,
                      struct pith_error *err)
{
    const struct pith_plugin *plugin;
    int rc;

    *out = (struct opened){0};
    *err = (struct pith_error){0};
    assert_ok(pith_plugins_find(plugins, PITH_KIND_METER, name, &plugin, err), err);
    assert_ok(pith_options_from_json(&out->options, plugin->options, taken_options, name, err),
              err);
    json_decref(taken_options);
    out->ops = plugin->ops;
    rc = out->ops->open(&(struct pith_host){.size_bytes = sizeof(struct pith_host)},
                        out->options.values, &out->meter, err);
    if (rc < 0)
        pith_options_done(&out->options);
    return rc;
}

static void close_meter(struct opened *opened)
{
    opened->ops->close(opened->meter);
    pith_options_done(&opened->options);
}

static struct pith_meter_reading read_meter(struct opened *opened)
{
    struct pith_meter_reading reading;
    struct pith_error err = {0};

    assert_ok(opened->ops->read(opened->meter, &reading, &err), &err);
    return reading;
}

/* root/folder/file with this text; the folder is made. */
static void put(const char *folder, const char *file, const char *text)
{
    char path[256];
    FILE *out;

    (void) snprintf(path, sizeof path, "%s/%s", root, folder);
    (void) mkdir(path, 0755); /* it may be there */
    (void) snprintf(path, sizeof path, "%s/%s/%s", root, folder, file);
    out = fopen(path, "we");
    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    assert_int_equal(fclose(out), 0);
}

static int make_root(void **state)
{
    (void) state;
    strcpy(root, "/tmp/pith-sysfs-XXXXXX");
    assert_non_null(mkdtemp(root));
    return 0;
}

static int drop_root(void **state)
{
    char command[128];

    (void) state;
    (void) snprintf(command, sizeof command, "rm -rf %s", root);
    assert_int_equal(system(command), 0);
    return 0;
}

/* ---- every meter ---- */

static void every_meter_reads_or_says_why_not(void **state)
{
    size_t count = 0;

    (void) state;
    for (size_t i = 0; i < pith_plugins_count(plugins); i++) {
        const struct pith_plugin *plugin = pith_plugins_entry(plugins, i)->plugin;
        struct pith_meter_reading a, b;
        struct pith_error err;
        struct opened meter;
        int rc;
        if (!plugin || plugin->kind != PITH_KIND_METER)
            continue;
        count++;
        for (const struct pith_option *option = plugin->options; option && option->name; option++)
            assert_true(option->help && *option->help);
        ((const struct pith_meter_ops *) plugin->ops)->close(NULL);
        rc = open_meter(&meter, plugin->name, json_object(), &err);
        if (rc < 0) { /* this machine has no such sensor, or bars it: said so in words */
            assert_true(rc == -ENODEV || rc == -EACCES);
            assert_true(err.text[0]);
            print_message("# %s: %s\n", plugin->name, err.text);
            continue;
        }
        a = read_meter(&meter);
        b = read_meter(&meter);
        print_message("# %s reads\n", plugin->name);
        assert_true(a.source == PITH_ENERGY_MEASURED || a.source == PITH_ENERGY_ESTIMATED);
        assert_true(a.scope == PITH_METER_MACHINE || a.scope == PITH_METER_THREAD);
        assert_true(a.energy_uj != UINT64_MAX || a.power_mw != UINT64_MAX);
        assert_true(a.energy_uj == UINT64_MAX || b.energy_uj >= a.energy_uj);
        close_meter(&meter);
    }
    assert_true(count >= 3);
}

static void cputime_is_cpu_time_times_watts(void **state)
{
    struct opened meter;
    struct pith_error err;
    struct pith_meter_reading a, b;
    struct timespec before, from, to; /* of the first reading, after it, after the second */
    double spent_us;

    (void) state;
    assert_ok(open_meter(&meter, "cputime", json_pack("{s:f}", "watts", 4.0), &err), &err);
    assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before), 0);
    a = read_meter(&meter);
    assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from), 0);
    do
        assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to), 0);
    while ((to.tv_sec - from.tv_sec) * 1000000000 + to.tv_nsec - from.tv_nsec < 20000000);
    b = read_meter(&meter);
    assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to), 0);
    spent_us =
        (double) (to.tv_sec - before.tv_sec) * 1e6 + (double) (to.tv_nsec - before.tv_nsec) / 1e3;
    assert_int_equal(a.source, PITH_ENERGY_ESTIMATED);
    assert_int_equal(a.scope, PITH_METER_THREAD);
    assert_true((double) (b.energy_uj - a.energy_uj) >= 20000 * 4);
    assert_true((double) (b.energy_uj - a.energy_uj) <= spent_us * 4 + 1);
    close_meter(&meter);
}

/* ---- rapl ---- */

static int open_rapl(struct opened *out, const char *domain, struct pith_error *err)
{
    return open_meter(out, "rapl", json_pack("{s:s, s:s}", "root", root, "domain", domain), err);
}

static void rapl_tree(void)
{
    put("intel-rapl", "enabled", "1\n");
    put("intel-rapl:0", "name", "package-0\n");
    put("intel-rapl:0", "energy_uj", "1000\n");
    put("intel-rapl:0", "max_energy_range_uj", "1000000\n");
    put("intel-rapl:1", "name", "package-1\n");
    put("intel-rapl:1", "energy_uj", "500\n");
    put("intel-rapl:1", "max_energy_range_uj", "1000000\n");
    put("intel-rapl:0:0", "name", "dram\n");
    put("intel-rapl:0:0", "energy_uj", "7\n");
    put("intel-rapl-mmio:0", "name", "package-0\n");
    put("intel-rapl-mmio:0", "energy_uj", "1000\n");
}

static void rapl_adds_up_sockets(void **state)
{
    struct opened meter;
    struct pith_error err;
    struct pith_meter_reading reading;

    (void) state;
    rapl_tree();
    assert_ok(open_rapl(&meter, "package", &err), &err);
    reading = read_meter(&meter);
    assert_int_equal(reading.energy_uj, 0);
    assert_int_equal(reading.source, PITH_ENERGY_MEASURED);
    assert_int_equal(reading.scope, PITH_METER_MACHINE);
    put("intel-rapl:0", "energy_uj", "1400\n");
    put("intel-rapl:1", "energy_uj", "600\n");
    put("intel-rapl-mmio:0", "energy_uj", "99999\n");
    assert_int_equal(read_meter(&meter).energy_uj, 500);
    close_meter(&meter);
    assert_ok(open_rapl(&meter, "dram", &err), &err);
    put("intel-rapl:0:0", "energy_uj", "10\n");
    assert_int_equal(read_meter(&meter).energy_uj, 3);
    close_meter(&meter);
}

static void rapl_tells_wraps_from_resets(void **state)
{
    struct opened meter;
    struct pith_error err;

    (void) state;
    put("intel-rapl:0", "name", "package-0\n");
    put("intel-rapl:0", "energy_uj", "999000\n");
    put("intel-rapl:0", "max_energy_range_uj", "1000000\n");
    assert_ok(open_rapl(&meter, "package", &err), &err);
    put("intel-rapl:0", "energy_uj", "500\n"); /* wrapped: 1000 to the end, and 500 */
    assert_int_equal(read_meter(&meter).energy_uj, 1500);
    put("intel-rapl:0", "energy_uj", "300000\n");
    assert_int_equal(read_meter(&meter).energy_uj, 301000);
    put("intel-rapl:0", "energy_uj", "100\n"); /* a wrap would be 700100: it was reset */
    assert_int_equal(read_meter(&meter).energy_uj, 301000);
    put("intel-rapl:0", "energy_uj", "300\n");
    assert_int_equal(read_meter(&meter).energy_uj, 301200);
    put("intel-rapl:0", "energy_uj", "900000\n"); /* no processor takes that between two readings */
    assert_int_equal(read_meter(&meter).energy_uj, 301200);
    close_meter(&meter);
}

static void rapl_says_what_is_wrong(void **state)
{
    struct opened meter;
    struct pith_error err;
    struct pith_meter_reading reading;
    char path[256];

    (void) state;
    assert_int_equal(open_rapl(&meter, "package", &err), -ENODEV);
    assert_non_null(strstr(err.text, "virtual machines have none"));
    put("intel-rapl:0", "name", "package-0\n");
    put("intel-rapl:0", "max_energy_range_uj", "nonsense\n");
    put("intel-rapl:0", "energy_uj", "nonsense\n");
    assert_int_equal(open_rapl(&meter, "package", &err), -EBADMSG);
    put("intel-rapl:0", "energy_uj", "-5\n");
    assert_int_equal(open_rapl(&meter, "package", &err), -EBADMSG);
    put("intel-rapl:0", "energy_uj", "5\n");
    assert_ok(open_rapl(&meter, "package", &err), &err);
    (void) snprintf(path, sizeof path, "%s/intel-rapl:0/energy_uj", root);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(meter.ops->read(meter.meter, &reading, &err), -ENOENT);
    assert_non_null(strstr(err.text, "energy_uj"));
    close_meter(&meter);
    assert_int_equal(open_meter(&meter, "rapl", json_pack("{s:s}", "root", "/nonexistent"), &err),
                     -ENODEV);
}

/* Root may read all, so the child of another user looks. */
static void rapl_says_who_may_read_it(void **state)
{
    struct opened meter;
    struct pith_error err;
    char path[256];

    (void) state;
    if (geteuid() == 0)
        assert_int_equal(seteuid(65534), 0);
    (void) drop_root(state);
    assert_int_equal(make_root(state), 0);
    put("intel-rapl:0", "name", "package-0\n");
    put("intel-rapl:0", "energy_uj", "5\n");
    (void) snprintf(path, sizeof path, "%s/intel-rapl:0/energy_uj", root);
    assert_int_equal(chmod(path, 0), 0);
    assert_int_equal(open_rapl(&meter, "package", &err), -EACCES);
    assert_non_null(strstr(err.text, "root alone"));
    assert_non_null(strstr(err.text, "chgrp pith"));
    if (getuid() == 0)
        assert_int_equal(seteuid(0), 0);
}

/* ---- hwmon ---- */

static int open_hwmon(struct opened *out, const char *chip, int channel, struct pith_error *err)
{
    json_t *options = json_pack("{s:s, s:i}", "root", root, "channel", channel);

    if (chip)
        (void) json_object_set_new(options, "chip", json_string(chip));
    return open_meter(out, "hwmon", options, err);
}

static void hwmon_prefers_energy_to_power_to_current(void **state)
{
    struct opened meter;
    struct pith_error err;
    struct pith_meter_reading reading;

    (void) state;
    put("hwmon0", "name", "coretemp\n");
    put("hwmon0", "temp1_input", "45000\n");
    put("hwmon2", "name", "ina219\n");
    put("hwmon2", "in1_input", "5000\n");
    put("hwmon2", "curr1_input", "1200\n");
    assert_ok(open_hwmon(&meter, NULL, 0, &err), &err);
    reading = read_meter(&meter);
    assert_int_equal(reading.power_mw, 6000);
    assert_true(reading.energy_uj == UINT64_MAX);
    put("hwmon2", "curr1_input", "-300\n"); /* a battery that charges */
    assert_int_equal(read_meter(&meter).power_mw, 0);
    close_meter(&meter);

    put("hwmon2", "power1_input", "7000000\n");
    assert_ok(open_hwmon(&meter, "ina219", 1, &err), &err);
    assert_int_equal(read_meter(&meter).power_mw, 7000);
    close_meter(&meter);

    put("hwmon10", "name", "amd_energy\n");
    put("hwmon10", "energy3_input", "1000\n");
    assert_ok(open_hwmon(&meter, "amd_energy", 0, &err), &err);
    assert_int_equal(read_meter(&meter).energy_uj, 0);
    put("hwmon10", "energy3_input", "3500\n");
    assert_int_equal(read_meter(&meter).energy_uj, 2500);
    put("hwmon10", "energy3_input", "100\n"); /* reset: a new base */
    assert_int_equal(read_meter(&meter).energy_uj, 2500);
    put("hwmon10", "energy3_input", "200\n");
    assert_int_equal(read_meter(&meter).energy_uj, 2600);
    close_meter(&meter);
}

static void hwmon_says_what_is_missing(void **state)
{
    struct opened meter;
    struct pith_error err;

    (void) state;
    assert_int_equal(open_hwmon(&meter, NULL, 0, &err), -ENODEV);
    put("hwmon0", "name", "ina226\n");
    put("hwmon0", "power1_input", "what\n");
    assert_int_equal(open_hwmon(&meter, "ina226", 0, &err), -ENODEV);
    put("hwmon0", "power1_input", "5\n");
    assert_int_equal(open_hwmon(&meter, "ina3221", 0, &err), -ENODEV);
    assert_non_null(strstr(err.text, "ina3221"));
    assert_int_equal(open_hwmon(&meter, "ina226", 2, &err), -ENODEV);
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
        cmocka_unit_test(every_meter_reads_or_says_why_not),
        cmocka_unit_test(cputime_is_cpu_time_times_watts),
        cmocka_unit_test_setup_teardown(rapl_adds_up_sockets, make_root, drop_root),
        cmocka_unit_test_setup_teardown(rapl_tells_wraps_from_resets, make_root, drop_root),
        cmocka_unit_test_setup_teardown(rapl_says_what_is_wrong, make_root, drop_root),
        cmocka_unit_test_setup_teardown(rapl_says_who_may_read_it, make_root, drop_root),
        cmocka_unit_test_setup_teardown(hwmon_prefers_energy_to_power_to_current, make_root,
                                        drop_root),
        cmocka_unit_test_setup_teardown(hwmon_says_what_is_missing, make_root, drop_root),
    };

    return cmocka_run_group_tests(tests, find_plugins, drop_plugins);
}
