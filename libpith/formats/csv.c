/* CSV. See csv.h. */
#include "libpith/formats/csv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_MOST_BYTES 64

int pith_csv_next_field(struct pith_csv_cursor *text, struct pith_csv_field *out,
                        struct pith_error *err)
{
    const char *at = text->at;
    bool quoted = at < text->end && *at == '"';
    size_t line = text->line;

    if (at == text->end) { /* "1,2," has a third field, which is empty */
        *out = (struct pith_csv_field){.at = at, .last = true};
        return 0;
    }
    out->at = quoted ? ++at : at;
    out->quoted = quoted;
    if (quoted) {
        for (; at < text->end && !(at[0] == '"' && (at + 1 == text->end || at[1] != '"')); at++) {
            if (*at == '\n')
                text->line++;
            if (*at == '"')
                at++; /* the second of two */
        }
        if (at == text->end)
            return pith_fail(err, -EBADMSG, "line %zu: a quote is not closed", line);
        out->bytes = (size_t) (at++ - out->at);
        if (at < text->end && *at != ',' && *at != '\n' && *at != '\r')
            return pith_fail(err, -EBADMSG, "line %zu: text follows a closing quote", text->line);
    } else {
        while (at < text->end && *at != ',' && *at != '\n' && *at != '\r')
            at++;
        out->bytes = (size_t) (at - out->at);
    }
    out->last = at == text->end || *at != ',';
    if (at < text->end && *at == '\r')
        at++;
    if (at < text->end && (*at == ',' || *at == '\n'))
        at++;
    if (out->last)
        text->line++;
    text->at = at;
    return 0;
}

struct pith_csv_cursor pith_csv_begin(const char *text, size_t bytes)
{
    struct pith_csv_cursor start = {text, text + bytes, 1};

    if (bytes >= 3 &&
        !memcmp(text, "\xef\xbb\xbf", 3)) /* a byte order mark, as spreadsheets write it */
        start.at += 3;
    return start;
}

char *pith_csv_text(const struct pith_csv_field *field)
{
    char *text = malloc(field->bytes + 1);
    size_t used = 0;

    for (size_t i = 0; text && i < field->bytes; i++) {
        text[used++] = field->at[i];
        if (field->quoted && field->at[i] == '"')
            i++; /* the second of two */
    }
    if (text)
        text[used] = 0;
    return text;
}

static bool at_blank_line(const struct pith_csv_cursor *text)
{
    return *text->at == '\n' ||
           (*text->at == '\r' && text->at + 1 < text->end && text->at[1] == '\n');
}

void pith_csv_skip_blank_lines(struct pith_csv_cursor *text)
{
    while (text->at < text->end && at_blank_line(text)) {
        text->at += *text->at == '\r' ? 2 : 1;
        text->line++;
    }
}

/* Spaces around it are fine. */
bool pith_csv_number(const struct pith_csv_field *field, locale_t plain, float *out)
{
    char text[NUMBER_MOST_BYTES];
    char *end;

    if (field->bytes == 0 || field->bytes >= sizeof text || memchr(field->at, 0, field->bytes))
        return false;
    memcpy(text, field->at, field->bytes);
    text[field->bytes] = 0;
    *out = strtof_l(text, &end, plain);
    while (*end == ' ' || *end == '\t')
        end++;
    return end != text && *end == 0;
}
