/* Inside the plugin loader: what a descriptor must be like. check.c judges it, plugins.c finds it,
 * options.c reads what users write for its options. */
#ifndef PITH_PLUGIN_CHECK_H
#define PITH_PLUGIN_CHECK_H

#include "libpith/base/names.h"
#include <pith/plugin.h>

/* The size that the shared object's symbol table gives for the symbol at this address; 0 where it
 * isn't known. */
size_t pith_plugin_symbol_bytes(const void *symbol);
/* plugin: its first symbol_bytes bytes may be read (0: not known). name: of the file, without .so.
 */
int pith_plugin_check(const struct pith_plugin *plugin, size_t symbol_bytes, const char *name,
                      struct pith_error *err) PITH_CHECKED;
/* Whether every default is one that its own option allows. -ENOEXEC. */
int pith_options_check_defaults(const struct pith_option *table,
                                struct pith_error *err) PITH_CHECKED;
#define PITH_OPTIONS_MAX 64 /* entries in a plugin's option table */

#endif
