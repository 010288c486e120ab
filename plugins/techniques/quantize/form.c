/* Forms and the rules that give them to layers. A rule is a name or a shell pattern, so that a
 * block of a net ("/head/...") is one rule. What a layer can't do is plan's to know. */
#include "plugins/techniques/quantize/form.h"

#include <errno.h>
#include <fnmatch.h>
#include <string.h>

const char *const form_names[] = {
    [FORM_W4A8] = "int4",
    [FORM_W8A8] = "int8",
    [FORM_W4A16] = "w4a16",
    [FORM_W8A16] = "w8a16",
    [FORM_W4] = "weights-int4",
    [FORM_W8] = "weights-int8",
    [FORM_FLOAT16] = "weights-float16",
    [FORM_BFLOAT16] = "weights-bfloat16",
    [FORM_FLOAT] = "float32",
    [FORMS] = NULL,
};

static const struct {
    unsigned weights, activations;
} bits_of[] = {
    [FORM_W4A8] = {4, 8},     [FORM_W8A8] = {8, 8},      [FORM_W4A16] = {4, 16},
    [FORM_W8A16] = {8, 16},   [FORM_W4] = {4, 0},        [FORM_W8] = {8, 0},
    [FORM_FLOAT16] = {16, 0}, [FORM_BFLOAT16] = {16, 0}, [FORM_FLOAT] = {32, 0},
};

unsigned form_weight_bits(enum form form)
{
    return bits_of[form].weights;
}

unsigned form_activation_bits(enum form form)
{
    return bits_of[form].activations;
}

bool form_is_static(enum form form)
{
    return bits_of[form].activations > 0;
}

bool form_is_integer(enum form form)
{
    return bits_of[form].weights <= 8;
}

enum form form_with(unsigned weights, unsigned activations, enum form otherwise)
{
    for (int form = 0; form < FORMS; form++)
        if (bits_of[form].weights == weights && bits_of[form].activations == activations)
            return (enum form) form;
    return otherwise;
}

enum form form_without_activations(enum form form)
{
    return form_is_static(form) ? form_with(bits_of[form].weights, 0, form) : form;
}

static size_t pattern_bytes(const char *rule, bool is_scheme)
{
    const char *end = is_scheme ? strrchr(rule, '=') : NULL;

    return end ? (size_t) (end - rule) : strlen(rule);
}

#define PATTERN_MAX_BYTES 1024

bool rule_matches(const char *rule, bool is_scheme, const char *name)
{
    size_t bytes = pattern_bytes(rule, is_scheme);
    char pattern[PATTERN_MAX_BYTES];

    if (strlen(name) == bytes && !memcmp(rule, name, bytes))
        return true; /* a name may hold what a pattern reads otherwise: brackets, say */
    if (bytes >= sizeof pattern)
        return false;
    memcpy(pattern, rule, bytes);
    pattern[bytes] = 0;
    return !fnmatch(pattern, name, 0);
}

static enum form scheme_form(const char *scheme)
{
    const char *end = strrchr(scheme, '=');

    for (int form = 0; end && form < FORMS; form++)
        if (!strcmp(end + 1, form_names[form]))
            return (enum form) form;
    return FORMS;
}

int rules_check(const struct rules *rules, struct pith_error *err)
{
    for (size_t i = 0; i < rules->scheme_count; i++)
        if (scheme_form(rules->schemes[i]) == FORMS)
            return pith_fail(err, -EINVAL,
                             "quantize: schemes has \"%.100s\"; write LAYER=FORM with int8, int4, "
                             "w8a16, w4a16, weights-int8, weights-int4, weights-float16, "
                             "weights-bfloat16 or float32",
                             rules->schemes[i]);
    return 0;
}

bool rules_want_samples(const struct rules *rules)
{
    bool wanted = form_is_static(rules->form);

    for (size_t i = 0; i < rules->scheme_count; i++)
        wanted |= scheme_form(rules->schemes[i]) != FORMS &&
                  form_is_static(scheme_form(rules->schemes[i]));
    return wanted;
}

static bool matches_any(const char *const *list, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (rule_matches(list[i], false, name))
            return true;
    return false;
}

enum form rules_form(const struct rules *rules, const char *name, const char **out_why)
{
    *out_why = NULL;
    if (matches_any(rules->keep, rules->keep_count, name)) {
        *out_why = "kept float by the option keep";
        return FORM_FLOAT;
    }
    if (rules->only_count > 0 && !matches_any(rules->only, rules->only_count, name)) {
        *out_why = "the option only doesn't name it";
        return FORM_FLOAT;
    }
    for (size_t i = 0; i < rules->scheme_count; i++)
        if (rule_matches(rules->schemes[i], true, name))
            return scheme_form(rules->schemes[i]);
    *out_why = rules->why;
    return rules->form;
}
