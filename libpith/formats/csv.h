/* Tables as text, field by field as they pass: commas between fields, quotes where a field needs
 * them. */
#ifndef PITH_FORMATS_CSV_H
#define PITH_FORMATS_CSV_H

#include <locale.h>
#include <pith/tensor.h>

struct pith_csv_cursor {
    const char *at;
    const char *end;
    size_t line; /* from 1 */
};
struct pith_csv_field {
    const char *at; /* between the quotes, where it has some; doubled quotes are still doubled */
    size_t bytes;
    bool quoted;
    bool last; /* of its row */
};
/* Past a byte order mark. */
struct pith_csv_cursor pith_csv_begin(const char *text, size_t bytes);
/* At the end of the text: an empty field, the last of its row. -EBADMSG: a quote that isn't closed. */
int pith_csv_next_field(struct pith_csv_cursor *text, struct pith_csv_field *out,
                        struct pith_error *err) PITH_CHECKED;
void pith_csv_skip_blank_lines(struct pith_csv_cursor *text);
/* plain: the "C" locale. Spaces around it are fine. */
bool pith_csv_number(const struct pith_csv_field *field, locale_t plain, float *out);
/* As it was meant, malloc'ed. NULL: out of memory. */
char *pith_csv_text(const struct pith_csv_field *field);

#define PITH_CSV_MAX_COLUMNS 1024 /* that a reader of tables takes */

#endif
