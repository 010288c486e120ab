/* pith plugins: what was found in the plugin folders, what was refused, and why. */
#include "cli/cli.h"
#include "cli/output.h"

#include "libpith/plugin/plugins.h"

#include <stdio.h>
#include <string.h>

static json_t *describe_options(const struct pith_option *option)
{
    json_t *list = json_array();

    for (; option && option->name; option++)
        (void) json_array_append_new(list,
                                     json_pack("{ss ss? ss?}", "name", option->name, "default",
                                               option->otherwise, "help", option->help));
    return list;
}

static json_t *describe(const struct pith_plugin_entry *entry)
{
    const struct pith_plugin *plugin = entry->plugin;

    if (!plugin)
        return json_pack("{ss ss}", "path", entry->path, "refusal", entry->refusal);
    return json_pack("{ss ss ss ss? ss so}", "path", entry->path, "kind",
                     pith_kind_name(plugin->kind), "name", plugin->name, "summary", plugin->summary,
                     "version", plugin->version, "options", describe_options(plugin->options));
}

static void print_found(const struct pith_plugins *plugins)
{
    struct table *table = table_new(4);

    table_row(table, (const char *const[]){"kind", "name", "version", "what it does"});
    for (uint32_t kind = PITH_KIND_ENGINE; kind <= PITH_KIND_METER; kind++)
        for (size_t i = 0; i < pith_plugins_count(plugins); i++) {
            const struct pith_plugin *plugin = pith_plugins_entry(plugins, i)->plugin;

            if (plugin && plugin->kind == kind)
                table_row(table, (const char *const[]){pith_kind_name(kind), plugin->name,
                                                       plugin->version, plugin->summary});
        }
    table_print(table);
    table_free(table);
    for (size_t i = 0; i < pith_plugins_count(plugins); i++) {
        const struct pith_plugin_entry *entry = pith_plugins_entry(plugins, i);

        if (entry->refusal)
            printf("refused  %s: %s\n", entry->path, entry->refusal);
    }
}

/* One plugin with its options: what a recipe or config may write. */
static int print_one(const struct pith_plugins *plugins, const char *name)
{
    int code = CLI_USAGE;

    for (size_t i = 0; i < pith_plugins_count(plugins); i++) {
        const struct pith_plugin *plugin = pith_plugins_entry(plugins, i)->plugin;

        if (!plugin || strcmp(plugin->name, name) != 0)
            continue;
        printf("%s %s %s: %s\n%s\n", pith_kind_name(plugin->kind), plugin->name, plugin->version,
               plugin->summary ? plugin->summary : "", pith_plugins_entry(plugins, i)->path);
        for (const struct pith_option *option = plugin->options; option && option->name; option++)
            printf("  %-20s %s (%s%s)\n", option->name, option->help ? option->help : "",
                   option->otherwise ? "default: " : "must be given",
                   option->otherwise ? option->otherwise : "");
        code = CLI_OK;
    }
    if (code != CLI_OK)
        fprintf(stderr, "pith: there is no plugin \"%s\"; pith plugins lists them\n", name);
    return code;
}

static int run_plugins(const struct cli_command *command, int argc, char **argv)
{
    bool json = false;
    const char *path = NULL;
    const struct cli_option options[] = {
        {"json", CLI_FLAG, &json, NULL, "print JSON"},
        {"plugin-path", CLI_TEXT, &path, "FOLDERS",
         "where to look, ':' between folders (PITH_PLUGIN_PATH; " PITH_PLUGIN_DIR ")"},
        {0}};
    struct pith_plugins *plugins = NULL;
    struct cli_arguments arguments;
    struct pith_error err = {0};
    int code = cli_parse(command, (const struct cli_option *const[]){options, NULL}, 0, 1, argc,
                         argv, &arguments);

    if (code != CLI_GO_ON)
        return code;
    if (pith_plugins_open(&plugins, path, &err) < 0)
        return cli_fail(&err);
    if (pith_plugins_prepare(plugins, &err) < 0) {
        pith_plugins_free(plugins);
        return cli_fail(&err);
    }
    code = CLI_OK;
    if (json) {
        json_t *list = json_array();

        for (size_t i = 0; i < pith_plugins_count(plugins); i++)
            (void) json_array_append_new(list, describe(pith_plugins_entry(plugins, i)));
        print_json(list);
        json_decref(list);
    } else if (arguments.count) {
        code = print_one(plugins, arguments.given[0]);
    } else {
        print_found(plugins);
    }
    pith_plugins_free(plugins);
    return code;
}

const struct cli_command command_plugins = {
    .name = "plugins",
    .arguments = "[NAME]",
    .summary = "list plugins, and why some were refused",
    .text = "With NAME: that plugin's options, as a recipe or pithd.yaml may write them.\n\n"
            "example: pith plugins quantize",
    .run = run_plugins,
};
