/* Names: one rule for all that become topics, paths and SQL values, and the guess at what a
 * misspelt word was meant to be. */
#include "libpith/base/names.h"

#include <ctype.h>
#include <fnmatch.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

bool pith_name_valid(const char *name)
{
    size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-.");

    return length >= 1 && length < PITH_NAME_BYTES && !name[length] && !strchr("_-.", name[0]);
}

#define NEAREST_MAX_LENGTH 64 /* longer words get no suggestion */

/* Optimal string alignment distance: insert, delete, replace, or swap two neighbours, letter case
 * aside. */
static size_t distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    uint8_t rows[3][NEAREST_MAX_LENGTH + 1];
    uint8_t *before = rows[0], *above = rows[1], *row = rows[2];

    for (size_t j = 0; j <= b_length; j++)
        above[j] = (uint8_t) j;
    for (size_t i = 1; i <= a_length; i++) {
        uint8_t *next = before;
        int a1 = tolower((unsigned char) a[i - 1]);

        row[0] = (uint8_t) i;
        for (size_t j = 1; j <= b_length; j++) {
            int b1 = tolower((unsigned char) b[j - 1]);
            uint8_t best = (uint8_t) (above[j - 1] + (a1 != b1));

            if (above[j] + 1 < best)
                best = (uint8_t) (above[j] + 1);
            if (row[j - 1] + 1 < best)
                best = (uint8_t) (row[j - 1] + 1);
            if (i > 1 && j > 1 && a1 == tolower((unsigned char) b[j - 2]) &&
                b1 == tolower((unsigned char) a[i - 2]) && before[j - 2] + 1 < best)
                best = (uint8_t) (before[j - 2] + 1);
            row[j] = best;
        }
        before = above;
        above = row;
        row = next;
    }
    return above[b_length];
}

const char *pith_nearest_name(const char *word, const char *const *known)
{
    size_t length = strlen(word);
    const char *nearest = NULL, *longer = NULL; /* longer: one that begins with the word, as rate_hz with rate */
    size_t least = length / 3 + 2; /* a third of the letters wrong, and one more, is no near miss */

    if (length == 0 || length > NEAREST_MAX_LENGTH)
        return NULL;
    for (; *known; known++) {
        size_t known_length = strlen(*known);
        size_t d;

        if (known_length > NEAREST_MAX_LENGTH)
            continue;
        if (!longer && length >= 3 && strncmp(*known, word, length) == 0)
            longer = *known;
        d = distance(word, length, *known, known_length);
        if (d < least && d < length) {
            least = d;
            nearest = *known;
        }
    }
    return nearest ? nearest : longer;
}

char *pith_name_pattern(const char *name)
{
    char *text = malloc(2 * strlen(name) + 1), *at = text;

    if (!text)
        return NULL;
    for (; *name; name++) {
        if (strchr("*?[\\", *name))
            *at++ = '\\';
        *at++ = *name;
    }
    *at = 0;
    return text;
}

bool pith_name_matches(const char *name, const char *pattern)
{
    /* A name may hold what a pattern reads otherwise: brackets, say. */
    return !strcmp(name, pattern) || !fnmatch(pattern, name, 0);
}

bool pith_ends_with(const char *text, const char *end)
{
    const size_t length = strlen(text), end_length = strlen(end);

    return length > end_length && strcmp(text + length - end_length, end) == 0;
}

char *pith_disarm(char *text, const char *kept)
{
    for (unsigned char *c = (unsigned char *) text; *c; c++)
        if ((*c < 0x20 || *c == 0x7f) && !strchr(kept, *c))
            *c = '?';
        else if (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0) /* one of 8 bits, in UTF-8 */
            c[0] = c[1] = '?';
    return text;
}
