/* Layers of their own form: how a technique is told. Ours come first, as the first rule that
 * matches counts. */
#include "libpith/compress/job_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int job_rules_option(const struct pith_plugin *technique)
{
    for (int i = 0; technique->options && technique->options[i].name; i++)
        if (!strcmp(technique->options[i].name, "schemes") &&
            technique->options[i].type == PITH_OPTION_STRINGS)
            return i;
    return -1;
}

/* rules->texts holds the recipe's own after ours, see job_layers.c. */
void job_rules_set(const struct job_rules *rules, struct pith_option_value *value)
{
    if (rules->count == 0)
        return;
    value->texts = (const char *const *) rules->texts;
    value->text_count = rules->count;
    value->given = 1;
}

void job_rules_done(struct job_rules *rules)
{
    for (size_t i = 0; i < rules->count; i++)
        free(rules->texts[i]);
    free(rules->texts);
    free(rules->text);
    *rules = (struct job_rules){0};
}
