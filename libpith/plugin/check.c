/* What a plugin's descriptor must be like before anything of it is called. Each refusal is a
 * sentence for the plugin's author. */
#include "libpith/plugin/check.h"

#include "libpith/plugin/plugins.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pith/codec.h>
#include <pith/engine.h>
#include <pith/meter.h>
#include <pith/technique.h>
#include <string.h>

size_t pith_plugin_symbol_bytes(const void *symbol)
{
    const ElfW(Sym) *entry = NULL;
    Dl_info info;

    if (!dladdr1(symbol, &info, (void **) &entry, RTLD_DL_SYMENT) || !entry)
        return 0;
    return (size_t) entry->st_size;
}

/* [a-z][a-z0-9_]*, as the config writes it. */
static int is_word(const char *name)
{
    return name && name[0] >= 'a' && name[0] <= 'z' && strlen(name) < PITH_NAME_BYTES &&
           !name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_")];
}

static int check_abi(const struct pith_plugin *plugin, size_t symbol_bytes, struct pith_error *err)
{
    if (symbol_bytes && symbol_bytes < offsetof(struct pith_plugin, kind))
        return pith_fail(err, -ENOEXEC, "its pith_plugin is %zu bytes, too few for a descriptor",
                         symbol_bytes);
    if (plugin->abi_major != PITH_ABI_MAJOR)
        return pith_fail(
            err, -ENOEXEC,
            "it is built for plugin ABI %u.%u, this is %d.%d; build it again with these headers",
            plugin->abi_major, plugin->abi_minor, PITH_ABI_MAJOR, PITH_ABI_MINOR);
    if (plugin->abi_minor > PITH_ABI_MINOR)
        return pith_fail(err, -ENOEXEC,
                         "it is built for plugin ABI %u.%u, this is only %d.%d; update pith",
                         plugin->abi_major, plugin->abi_minor, PITH_ABI_MAJOR, PITH_ABI_MINOR);
    if (plugin->size_bytes < sizeof *plugin) /* all fields are of 1.0 */
        return pith_fail(err, -ENOEXEC, "its descriptor is %u bytes, ABI %d.%d has at least %zu",
                         plugin->size_bytes, PITH_ABI_MAJOR, PITH_ABI_MINOR, sizeof *plugin);
    if (symbol_bytes && plugin->size_bytes > symbol_bytes)
        return pith_fail(err, -ENOEXEC, "its descriptor says %u bytes, its symbol has %zu",
                         plugin->size_bytes, symbol_bytes);
    return 0;
}

/* A table of functions: its size, and which of them must be there. */
struct ops_rule {
    uint32_t kind;
    size_t least_bytes;
    struct {
        const char *name;
        size_t offset;
    } must[4];
};

#define MUST(type, member)                                                                         \
    {                                                                                              \
#member, offsetof(struct type, member)                                                     \
    }
static const struct ops_rule ops_rules[] = {
    {PITH_KIND_ENGINE,
     offsetof(struct pith_engine_ops, close) + sizeof(void (*)(void)),
     {MUST(pith_engine_ops, supports), MUST(pith_engine_ops, compile), MUST(pith_engine_ops, run),
      MUST(pith_engine_ops, close)}},
    {PITH_KIND_TECHNIQUE,
     offsetof(struct pith_technique_ops, apply) + sizeof(void (*)(void)),
     {MUST(pith_technique_ops, needs), MUST(pith_technique_ops, apply)}},
    {PITH_KIND_CODEC,
     offsetof(struct pith_codec_ops, close) + sizeof(void (*)(void)),
     {MUST(pith_codec_ops, open), MUST(pith_codec_ops, feed), MUST(pith_codec_ops, close)}},
    {PITH_KIND_METER,
     offsetof(struct pith_meter_ops, close) + sizeof(void (*)(void)),
     {MUST(pith_meter_ops, open), MUST(pith_meter_ops, read), MUST(pith_meter_ops, close)}},
};

static int check_ops(const struct pith_plugin *plugin, struct pith_error *err)
{
    const struct ops_rule *rule = NULL;
    uint32_t size_bytes;

    for (size_t i = 0; i < sizeof ops_rules / sizeof *ops_rules; i++)
        if (ops_rules[i].kind == plugin->kind)
            rule = &ops_rules[i];
    if (!rule)
        return pith_fail(
            err, -ENOEXEC,
            "its kind is %u; it must be 1 (engine), 2 (technique), 3 (codec) or 4 (meter)",
            plugin->kind);
    if (!plugin->ops)
        return pith_fail(err, -ENOEXEC, "its descriptor has no ops");
    memcpy(&size_bytes, plugin->ops, sizeof size_bytes);
    if (size_bytes < rule->least_bytes)
        return pith_fail(err, -ENOEXEC, "its %s ops are %u bytes, ABI %d.%d has at least %zu",
                         pith_kind_name(plugin->kind), size_bytes, PITH_ABI_MAJOR, PITH_ABI_MINOR,
                         rule->least_bytes);
    for (size_t i = 0; i < 4 && rule->must[i].name; i++) {
        void (*function)(void);

        memcpy(&function, (const char *) plugin->ops + rule->must[i].offset, sizeof function);
        if (!function)
            return pith_fail(err, -ENOEXEC, "its %s ops lack the function %s",
                             pith_kind_name(plugin->kind), rule->must[i].name);
    }
    return 0;
}

static int check_option(const struct pith_option *option, struct pith_error *err)
{
    if (!is_word(option->name))
        return pith_fail(
            err, -ENOEXEC,
            "its option \"%.64s\" has no proper name: lower-case letters, digits and '_'",
            option->name);
    if (option->type < PITH_OPTION_INT || option->type > PITH_OPTION_STRINGS)
        return pith_fail(err, -ENOEXEC, "its option %s is of unknown type %u", option->name,
                         option->type);
    if (!(option->minimum <= option->maximum))
        return pith_fail(err, -ENOEXEC, "its option %s has a minimum above its maximum",
                         option->name);
    if (option->type == PITH_OPTION_CHOICE && (!option->choices || !option->choices[0]))
        return pith_fail(err, -ENOEXEC, "its option %s has no choices", option->name);
    return 0;
}

static int check_options(const struct pith_plugin *plugin, struct pith_error *err)
{
    const struct pith_option *table = plugin->options;
    size_t count = 0;
    int rc;

    if (!table)
        return 0;
    for (; table[count].name; count++) {
        if (count == PITH_OPTIONS_MAX)
            return pith_fail(err, -ENOEXEC,
                             "its option table has more than %d entries, or lacks its end",
                             PITH_OPTIONS_MAX);
        rc = check_option(&table[count], err);
        if (rc < 0)
            return rc;
        for (size_t before = 0; before < count; before++)
            if (strcmp(table[before].name, table[count].name) == 0)
                return pith_fail(err, -ENOEXEC, "its option %s is in the table twice",
                                 table[count].name);
    }
    rc = pith_options_check_defaults(table, err); /* a default that its own rule refuses */
    return rc;
}

int pith_plugin_check(const struct pith_plugin *plugin, size_t symbol_bytes, const char *name,
                      struct pith_error *err)
{
    int rc = check_abi(plugin, symbol_bytes, err);

    if (rc < 0)
        return rc;
    if (!is_word(plugin->name))
        return pith_fail(err, -ENOEXEC,
                         "its name is not as a config can write it: a lower-case letter, then "
                         "letters, digits and '_'");
    if (strcmp(plugin->name, name) != 0)
        return pith_fail(err, -ENOEXEC, "it calls itself \"%s\"; the file must then be %s.so",
                         plugin->name, plugin->name);
    if (!plugin->version || !plugin->version[0])
        return pith_fail(err, -ENOEXEC, "its descriptor has no version");
    rc = check_ops(plugin, err);
    return rc < 0 ? rc : check_options(plugin, err);
}
