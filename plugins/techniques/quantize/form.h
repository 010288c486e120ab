/* Forms: how one layer is stored and what flows into it, and which form the options give to which
 * layer. One vocabulary for the options `schemes` and `keep`, the report and the ladder. */
#ifndef PITH_QUANTIZE_FORM_H
#define PITH_QUANTIZE_FORM_H

#include <pith/plugin.h>
#include <stdbool.h>

enum form { /* wNaM: weights of N bits, activations of M; without a: activations stay float */
            FORM_W4A8,
            FORM_W8A8,
            FORM_W4A16,
            FORM_W8A16,
            FORM_W4,
            FORM_W8,
            FORM_FLOAT16, /* weights stored so, computed as float32 */
            FORM_BFLOAT16,
            FORM_FLOAT, /* as it was */
            FORMS
};
extern const char *const form_names[]; /* by form; ends with NULL */

unsigned form_weight_bits(enum form form);     /* 4, 8, 16 or 32 */
unsigned form_activation_bits(enum form form); /* 8, 16; 0: float */
bool form_is_static(enum form form);           /* integer activations */
bool form_is_integer(enum form form);          /* integer weights */
/* The form of so many bits; `otherwise` where there is none. */
enum form form_with(unsigned weights, unsigned activations, enum form otherwise);
/* The same with float activations. */
enum form form_without_activations(enum form form);

struct rules {               /* of the options; strings are borrowed */
    enum form form;          /* of layers that no rule names */
    const char *why;         /* why that is finer than asked for; NULL: it is as asked */
    const char *const *keep; /* patterns of layers that stay float */
    size_t keep_count;
    const char *const *only; /* patterns of the only layers that don't; none: all */
    size_t only_count;
    const char *const *schemes; /* "PATTERN=FORM"; the first that matches counts */
    size_t scheme_count;
};
/* Whether a layer's name is the pattern, or matches it as a file's name does in a shell. Of a
 * scheme, the part before the last '=' is the pattern. */
bool rule_matches(const char *rule, bool is_scheme, const char *name);
/* Refuses schemes that have no form or one that isn't known. */
int rules_check(const struct rules *rules, struct pith_error *err);
/* Whether some layer may get integer activations. */
bool rules_want_samples(const struct rules *rules);
/* keep goes before only, and only before schemes. *out_why: why it stays float, or NULL. */
enum form rules_form(const struct rules *rules, const char *name, const char **out_why);

#endif
