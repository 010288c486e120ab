/* A recursive-descent compiler to a postfix program, and a loop that runs the program over blocks
 * of elements, so that each operation is one vectorized loop. */
#include "libpith/pipeline/expression.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_STEPS      256
#define MAX_DEPTH      32 /* of nested parentheses, calls and signs: bounds the parser's recursion */
#define MAX_STACK      16  /* operands that wait at once */
#define BLOCK_ELEMENTS 128 /* MAX_STACK blocks of floats are 8 KiB of stack */
#define NUMBER_BYTES   48

enum operation {
    PUSH_NUMBER,
    PUSH_X,
    NEGATE,
    ADD,
    SUBTRACT,
    MULTIPLY,
    DIVIDE,
    ABS,
    EXP,
    LOG,
    LOG2,
    LOG10,
    SQRT,
    TANH,
    SIGMOID,
    SIN,
    COS,
    FLOOR,
    ROUND,
    RELU,
    MIN,
    MAX,
    POW,
    CLIP,
};

struct step {
    enum operation operation;
    float number;
};

struct pith_expression {
    size_t step_count;
    struct step steps[];
};

struct parser {
    const char *text;
    const char *at;
    struct step steps[MAX_STEPS];
    size_t step_count;
    unsigned depth;
    unsigned stack; /* operands that the program has left on the stack so far */
    struct pith_error *err;
};

static const struct function {
    const char *name;
    enum operation operation;
    unsigned arguments;
} functions[] = {
    {"abs", ABS, 1},     {"exp", EXP, 1},   {"log", LOG, 1},     {"log2", LOG2, 1},
    {"log10", LOG10, 1}, {"sqrt", SQRT, 1}, {"tanh", TANH, 1},   {"sigmoid", SIGMOID, 1},
    {"sin", SIN, 1},     {"cos", COS, 1},   {"floor", FLOOR, 1}, {"round", ROUND, 1},
    {"relu", RELU, 1},   {"min", MIN, 2},   {"max", MAX, 2},     {"pow", POW, 2},
    {"clip", CLIP, 3},
};

static size_t column(const struct parser *parser, const char *at)
{
    return (size_t) (at - parser->text) + 1;
}

static int fault(struct parser *parser, const char *at, const char *wanted)
{
    char found[16];

    if (!*at)
        (void) strcpy(found, "the end");
    else if (*at > ' ' && *at < 127)
        (void) snprintf(found, sizeof found, "'%c'", *at);
    else
        (void) snprintf(found, sizeof found, "byte 0x%02x", (unsigned char) *at);
    return pith_fail(parser->err, -EBADMSG, "character %zu of \"%.200s\" is %s where %s should be",
                     column(parser, at), parser->text, found, wanted);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return c >= 'a' && c <= 'z';
}

static char next(struct parser *parser)
{
    while (*parser->at == ' ' || *parser->at == '\t')
        parser->at++;
    return *parser->at;
}

/* Takes `operands` off the stack and leaves one result. */
static int add_step(struct parser *parser, enum operation operation, unsigned operands,
                    float number)
{
    if (parser->step_count == MAX_STEPS)
        return pith_fail(parser->err, -EBADMSG, "\"%.200s\" has more than %d operations",
                         parser->text, MAX_STEPS);
    if (parser->stack - operands + 1 > MAX_STACK)
        return pith_fail(parser->err, -EBADMSG,
                         "character %zu of \"%.200s\": more than %d operands wait for an operator",
                         column(parser, parser->at), parser->text, MAX_STACK);
    parser->stack = parser->stack - operands + 1;
    parser->steps[parser->step_count++] = (struct step){operation, number};
    return 0;
}

static int parse_number(struct parser *parser)
{
    char number[NUMBER_BYTES];
    const char *start = parser->at;
    const char *at = start;
    char *end;
    double value;

    while (is_digit(*at) || *at == '.')
        at++;
    if (*at == 'e' || *at == 'E') {
        at++;
        if (*at == '+' || *at == '-')
            at++;
        while (is_digit(*at))
            at++;
    }
    if ((size_t) (at - start) >= sizeof number)
        return fault(parser, start, "a shorter number");
    memcpy(number, start, (size_t) (at - start));
    number[at - start] = 0;
    value = strtod(number, &end);
    if (*end || end == number || !isfinite((float) value))
        return fault(parser, start, "a decimal number in the range of float32");
    parser->at = at;
    return add_step(parser, PUSH_NUMBER, 0, (float) value);
}

static int parse_sum(struct parser *parser);

static int parse_call(struct parser *parser, const struct function *function, const char *name_at)
{
    if (next(parser) != '(')
        return fault(parser, parser->at, "'(' and the function's arguments");
    for (unsigned i = 0; i < function->arguments; i++) {
        parser->at++; /* past '(' or ',' */
        int rc = parse_sum(parser);
        if (rc < 0)
            return rc;
        if (next(parser) != (i + 1 < function->arguments ? ',' : ')')) {
            if (*parser->at == ',' || *parser->at == ')')
                return pith_fail(parser->err, -EBADMSG,
                                 "character %zu of \"%.200s\": %s takes %u argument%s",
                                 column(parser, name_at), parser->text, function->name,
                                 function->arguments, function->arguments == 1 ? "" : "s");
            return fault(parser, parser->at, i + 1 < function->arguments ? "','" : "')'");
        }
    }
    parser->at++;
    return add_step(parser, function->operation, function->arguments, 0);
}

static int parse_word(struct parser *parser)
{
    const char *start = parser->at;
    size_t length = 0;

    while (is_letter(start[length]) || is_digit(start[length]))
        length++;
    parser->at += length;
    if (length == 1 && *start == 'x')
        return add_step(parser, PUSH_X, 0, 0);
    if (length == 2 && memcmp(start, "pi", 2) == 0)
        return add_step(parser, PUSH_NUMBER, 0, (float) M_PI);
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (strlen(functions[i].name) == length && memcmp(functions[i].name, start, length) == 0)
            return parse_call(parser, &functions[i], start);
    return pith_fail(
        parser->err, -EBADMSG,
        "character %zu of \"%.200s\": \"%.*s\" is unknown; there are x, pi, abs, exp, log, "
        "log2, log10, sqrt, tanh, sigmoid, sin, cos, floor, round, relu, min, max, pow "
        "and clip",
        column(parser, start), parser->text, (int) (length > 20 ? 20 : length), start);
}

static int parse_atom(struct parser *parser)
{
    char c = next(parser);
    int rc;

    if (is_digit(c) || c == '.')
        return parse_number(parser);
    if (is_letter(c))
        return parse_word(parser);
    if (c != '(')
        return fault(parser, parser->at, "a number, x, a function or '('");
    parser->at++;
    rc = parse_sum(parser);
    if (rc < 0)
        return rc;
    if (next(parser) != ')')
        return fault(parser, parser->at, "')'");
    parser->at++;
    return 0;
}

static int parse_signed(struct parser *parser)
{
    unsigned minus_count = 0;
    int rc;

    while (next(parser) == '-' || *parser->at == '+')
        minus_count += *parser->at++ == '-';
    rc = parse_atom(parser);
    if (rc < 0 || minus_count % 2 == 0)
        return rc;
    return add_step(parser, NEGATE, 1, 0);
}

static int parse_product(struct parser *parser)
{
    int rc = parse_signed(parser);

    while (rc == 0 && (next(parser) == '*' || *parser->at == '/')) {
        enum operation operation = *parser->at++ == '*' ? MULTIPLY : DIVIDE;
        rc = parse_signed(parser);
        if (rc == 0)
            rc = add_step(parser, operation, 2, 0);
    }
    return rc;
}

static int parse_sum(struct parser *parser)
{
    int rc;

    if (++parser->depth > MAX_DEPTH)
        return pith_fail(parser->err, -EBADMSG,
                         "character %zu of \"%.200s\": nested deeper than %d levels",
                         column(parser, parser->at), parser->text, MAX_DEPTH);
    rc = parse_product(parser);
    while (rc == 0 && (next(parser) == '+' || *parser->at == '-')) {
        enum operation operation = *parser->at++ == '+' ? ADD : SUBTRACT;
        rc = parse_product(parser);
        if (rc == 0)
            rc = add_step(parser, operation, 2, 0);
    }
    parser->depth--;
    return rc;
}

int pith_expression_compile(struct pith_expression **out, const char *text, struct pith_error *err)
{
    struct parser *parser;
    struct pith_expression *expression;
    size_t bytes;
    int rc;

    *out = NULL;
    if (strnlen(text, PITH_EXPRESSION_MAX_BYTES + 1) > PITH_EXPRESSION_MAX_BYTES)
        return pith_fail(err, -EBADMSG, "an expression has at most %d characters",
                         PITH_EXPRESSION_MAX_BYTES);
    parser = calloc(1, sizeof *parser);
    if (!parser)
        return -ENOMEM;
    parser->text = parser->at = text;
    parser->err = err;
    rc = parse_sum(parser);
    if (rc == 0 && next(parser))
        rc = fault(parser, parser->at, "an operator or the end");
    if (rc == 0) {
        bytes = parser->step_count * sizeof *parser->steps;
        expression = malloc(sizeof *expression + bytes);
        if (expression) {
            expression->step_count = parser->step_count;
            memcpy(expression->steps, parser->steps, bytes);
            *out = expression;
        } else {
            rc = -ENOMEM;
        }
    }
    free(parser);
    return rc;
}

void pith_expression_free(struct pith_expression *expression)
{
    free(expression);
}

#define EACH(value)                                                                                \
    do {                                                                                           \
        for (size_t i = 0; i < count; i++)                                                         \
            a[i] = (value);                                                                        \
    } while (0)

/* a: the first operand and the result; b and c: those after it. */
static void run_step(const struct step *step, float *restrict a, const float *restrict b,
                     const float *restrict c, const float *restrict x, size_t count)
{
    /* clang-format off: one line an operation reads as a table */
    switch (step->operation) {
    case PUSH_NUMBER:
        EACH(step->number);
        break;
    case PUSH_X:
        memcpy(a, x, count * sizeof *a);
        break;
    case NEGATE:
        EACH(-a[i]);
        break;
    case ADD:
        EACH(a[i] + b[i]);
        break;
    case SUBTRACT:
        EACH(a[i] - b[i]);
        break;
    case MULTIPLY:
        EACH(a[i] * b[i]);
        break;
    case DIVIDE:
        EACH(a[i] / b[i]);
        break;
    case ABS:
        EACH(fabsf(a[i]));
        break;
    case EXP:
        EACH(expf(a[i]));
        break;
    case LOG:
        EACH(logf(a[i]));
        break;
    case LOG2:
        EACH(log2f(a[i]));
        break;
    case LOG10:
        EACH(log10f(a[i]));
        break;
    case SQRT:
        EACH(sqrtf(a[i]));
        break;
    case TANH:
        EACH(tanhf(a[i]));
        break;
    case SIGMOID:
        EACH(1.0f / (1.0f + expf(-a[i])));
        break;
    case SIN:
        EACH(sinf(a[i]));
        break;
    case COS:
        EACH(cosf(a[i]));
        break;
    case FLOOR:
        EACH(floorf(a[i]));
        break;
    case ROUND:
        EACH(rintf(a[i]));
        break;
    case RELU:
        EACH(a[i] > 0 ? a[i] : 0);
        break;
    case MIN:
        EACH(a[i] < b[i] ? a[i] : b[i]);
        break;
    case MAX:
        EACH(a[i] > b[i] ? a[i] : b[i]);
        break;
    case POW:
        EACH(powf(a[i], b[i]));
        break;
    case CLIP:
        EACH(a[i] < b[i] ? b[i] : a[i] > c[i] ? c[i] : a[i]);
        break;
    }
    /* clang-format on */
}

static unsigned operand_count(enum operation operation)
{
    if (operation == PUSH_NUMBER || operation == PUSH_X)
        return 0;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (functions[i].operation == operation)
            return functions[i].arguments;
    return operation == NEGATE ? 1 : 2;
}

void pith_expression_run(const struct pith_expression *expression, const float *x, float *y,
                         size_t count)
{
    float stack[MAX_STACK + 2]
               [BLOCK_ELEMENTS]; /* two past the top, for the unused operands of run_step */

    while (count > 0) {
        size_t block = count < BLOCK_ELEMENTS ? count : BLOCK_ELEMENTS;
        size_t top = 0;
        for (size_t i = 0; i < expression->step_count; i++) {
            const struct step *step = &expression->steps[i];
            top -= operand_count(step->operation);
            run_step(step, stack[top], stack[top + 1], stack[top + 2], x, block);
            top++;
        }
        memcpy(y, stack[0], block * sizeof *y);
        x += block;
        y += block;
        count -= block;
    }
}
