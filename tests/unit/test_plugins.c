/* Tests plugins.c and check.c: what is loaded, and a sentence for each thing that is not. */
#include "tests/testing.h"
#include "tests/unit/folder.h"

#include "libpith/plugin/plugins.h"

#include <errno.h>
#include <sys/stat.h>

static void built_path(char path[512], const char *rest)
{
    const char *build = getenv("PITH_BUILD");

    (void) snprintf(path, 512, "%s/%s", build ? build : ".", rest);
}

/* The entry of that file in the folder of plugins that are built to be refused. */
static const struct pith_plugin_entry *entry_of(const struct pith_plugins *plugins,
                                                const char *name)
{
    char end[64];

    (void) snprintf(end, sizeof end, "/%s.so", name);
    for (size_t i = 0; i < pith_plugins_count(plugins); i++) {
        const struct pith_plugin_entry *entry = pith_plugins_entry(plugins, i);
        size_t length = strlen(entry->path), end_length = strlen(end);

        if (length > end_length && strcmp(entry->path + length - end_length, end) == 0)
            return entry;
    }
    fail_msg("%s was not found", name);
    return NULL;
}

static void plugins_are_refused_with_a_reason(void **state)
{
    static const struct {
        const char *name, *reason;
    } cases[] = {
        {"other_abi",
         "it is built for plugin ABI 9.2, this is 1.2; build it again with these headers"},
        {"newer_abi", "it is built for plugin ABI 1.99, this is only 1.2; update pith"},
        {"small_descriptor", "its descriptor is 24 bytes, ABI 1.2 has at least "},
        {"large_descriptor", "its descriptor says 4096 bytes, its symbol has "},
        {"wrong_name", "it calls itself \"right_name\"; the file must then be right_name.so"},
        {"bad_name", "its name is not as a config can write it"},
        {"no_symbol", "it exports no symbol pith_plugin"},
        {"wrong_kind",
         "its kind is 77; it must be 1 (engine), 2 (technique), 3 (codec) or 4 (meter)"},
        {"no_ops", "its descriptor has no ops"},
        {"missing_function", "its codec ops lack the function feed"},
        {"bad_option", "its option \"Rate Hz\" has no proper name"},
        {"bad_default", "its option table has a default that is wrong: rate_hz: 50 is not right; "
                        "it must be a whole "
                        "number between 1 and 10"},
        {"bad_choice", "its option format has no choices"},
    };
    struct pith_plugins *plugins;
    struct pith_error err = {0};
    char path[512];

    (void) state;
    built_path(path, "tests/plugins/.libs");
    assert_ok(pith_plugins_open(&plugins, path, &err), &err);
    assert_non_null(entry_of(plugins, "good")->plugin);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct pith_plugin_entry *entry = entry_of(plugins, cases[i].name);

        assert_null(entry->plugin);
        if (!strstr(entry->refusal, cases[i].reason))
            fail_msg("%s: \"%s\" where \"%s\" was expected", cases[i].name, entry->refusal,
                     cases[i].reason);
    }
    pith_plugins_free(plugins);
    pith_plugins_free(NULL);
}

static void copy_to(const struct folder *folder, const char *from, const char *name, unsigned mode)
{
    struct pith_mapping file;
    struct pith_error err = {0};
    char source[512], path[512];

    built_path(source, from);
    folder_path(folder, path, name);
    assert_ok(pith_mapping_open(&file, source, &err), &err);
    assert_ok(pith_file_write(path, file.data, file.bytes, mode, &err), &err);
    pith_mapping_close(&file);
}

static const char *refusal_in(const struct folder *folder, size_t index, char text[512])
{
    struct pith_plugins *plugins;
    struct pith_error err = {0};
    const struct pith_plugin_entry *entry;

    assert_ok(pith_plugins_open(&plugins, folder->path, &err), &err);
    entry = pith_plugins_entry(plugins, index);
    assert_non_null(entry);
    (void) snprintf(text, 512, "%s", entry->refusal ? entry->refusal : "");
    pith_plugins_free(plugins);
    return text;
}

static void plugins_that_others_may_write_are_not_loaded(void **state)
{
    const struct folder *folder = *state;
    char text[512], path[512];

    copy_to(folder, "tests/plugins/.libs/good.so", "good.so", 0666);
    assert_non_null(strstr(refusal_in(folder, 0, text),
                           "may be written by anyone else than its owner; run chmod go-w on it"));
    folder_path(folder, path, "good.so");
    assert_int_equal(chmod(path, 0664), 0);
    assert_non_null(strstr(refusal_in(folder, 0, text),
                           "may be written by others of its group than its owner"));
    assert_int_equal(chmod(path, 0644), 0);
    assert_string_equal(refusal_in(folder, 0, text), "");
    assert_int_equal(chmod(folder->path, 0777), 0);
    assert_non_null(strstr(refusal_in(folder, 0, text), "the folder "));
    assert_int_equal(chmod(folder->path, 0700), 0);
    if (geteuid() == 0) { /* only root can give a file away */
        assert_int_equal(chown(path, 12345, (gid_t) -1), 0);
        assert_non_null(strstr(refusal_in(folder, 0, text),
                               "belongs to user 12345; it must belong to root or to user 0"));
    }
}

static void plugins_reached_through_a_link_are_judged_where_they_lie(void **state)
{
    const struct folder *folder = *state;
    struct pith_error err = {0};
    char open_folder[512], target[512], link[512], text[512];

    folder_path(folder, open_folder, "open");
    assert_ok(pith_mkdirs(open_folder, 0755, &err), &err);
    copy_to(folder, "tests/plugins/.libs/good.so", "open/good.so", 0644);
    folder_path(folder, target, "open/good.so");
    folder_path(folder, link, "good.so");
    assert_int_equal(symlink(target, link), 0);
    assert_string_equal(refusal_in(folder, 0, text), "");
    assert_int_equal(chmod(open_folder, 0777), 0);
    assert_non_null(strstr(refusal_in(folder, 0, text), "may be written by anyone else"));
}

static void plugins_that_are_no_shared_objects_are_refused(void **state)
{
    const struct folder *folder = *state;
    struct pith_error err = {0};
    char path[512], text[512];

    folder_path(folder, path, "a.so");
    assert_ok(pith_file_write(path, "no ELF at all", 13, 0644, &err), &err);
    assert_non_null(strstr(refusal_in(folder, 0, text), "it can't be loaded: "));
    assert_ok(pith_file_write(path, "", 0, 0644, &err), &err);
    assert_non_null(strstr(refusal_in(folder, 0, text), "it can't be loaded: "));
    assert_int_equal(unlink(path), 0);
    assert_ok(pith_mkdirs(path, 0755, &err), &err);
    assert_string_equal(refusal_in(folder, 0, text), "it is no regular file");
}

static void plugins_survive_every_truncation_of_one(void **state)
{
    const struct folder *folder = *state;
    struct pith_mapping file;
    struct pith_error err = {0};
    char source[512], path[512], text[512];

    built_path(source, "tests/plugins/.libs/good.so");
    folder_path(folder, path, "good.so");
    assert_ok(pith_mapping_open(&file, source, &err), &err);
    for (size_t bytes = 1; bytes < 512;
         bytes += 61) { /* within the ELF header; past it the loader's own checks end */
        assert_ok(pith_file_write(path, file.data, bytes, 0644, &err), &err);
        assert_non_null(strstr(refusal_in(folder, 0, text), "it can't be loaded: "));
    }
    pith_mapping_close(&file);
}

static void plugins_found_first_win(void **state)
{
    const struct folder *folder = *state;
    const struct pith_plugin *found;
    struct pith_plugins *plugins;
    struct pith_error err = {0};
    char path[1200], built[512];

    copy_to(folder, "tests/plugins/.libs/good.so", "good.so", 0644);
    built_path(built, "tests/plugins/.libs");
    (void) snprintf(path, sizeof path, "%s::%s:/nowhere", folder->path, built);
    assert_ok(pith_plugins_open(&plugins, path, &err), &err);
    assert_non_null(pith_plugins_entry(plugins, 0)->plugin);
    assert_non_null(strstr(entry_of(plugins, "good")->path, folder->path));
    for (size_t i = 1; i < pith_plugins_count(plugins); i++)
        if (strstr(pith_plugins_entry(plugins, i)->path, "/good.so"))
            assert_non_null(strstr(pith_plugins_entry(plugins, i)->refusal, "was found first"));
    assert_non_null(strstr(pith_plugins_entry(plugins, pith_plugins_count(plugins) - 1)->refusal,
                           "No such file"));
    assert_ok(pith_plugins_find(plugins, PITH_KIND_CODEC, "good", &found, &err), &err);
    assert_int_equal(pith_plugins_find(plugins, PITH_KIND_CODEC, "goood", &found, &err), -ENOENT);
    assert_string_equal(err.text, "there is no codec \"goood\"; did you mean \"good\"?");
    assert_int_equal(pith_plugins_find(plugins, PITH_KIND_METER, "good", &found, &err), -ENOENT);
    assert_int_equal(pith_plugins_find(plugins, PITH_KIND_CODEC, "no_ops", &found, &err), -ENOENT);
    assert_non_null(strstr(err.text, "was refused: its descriptor has no ops"));
    pith_plugins_free(plugins);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plugins_are_refused_with_a_reason),
        folder_test(plugins_that_others_may_write_are_not_loaded),
        folder_test(plugins_reached_through_a_link_are_judged_where_they_lie),
        folder_test(plugins_that_are_no_shared_objects_are_refused),
        folder_test(plugins_survive_every_truncation_of_one),
        folder_test(plugins_found_first_win),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
