/* YAML: libyaml's events made into a small tree that knows the place of every node. Everything that
 * a settings file has no use for (aliases, tags, several documents, deep nesting) is refused here,
 * before anyone looks at the tree. What scalars mean is in yaml_read.c. */
#include "libpith/base/yaml_private.h"

#include "libpith/base/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define YAML_MAX_BYTES (1024 * 1024)
#define YAML_MAX_DEPTH 32
#define YAML_MAX_NODES 100000 /* a file of 1 MiB of "[" and "," would be one of half a million */
#define YAML_MAX_KEYS  4096   /* of one map, each compared with those before it */

struct builder {
    struct pith_yaml *yaml;
    yaml_parser_t parser;
    struct pith_yaml_node *open[YAML_MAX_DEPTH]; /* the lists and maps that are under way */
    struct pith_yaml_node *key[YAML_MAX_DEPTH];  /* in a map: the key that waits for its value */
    unsigned depth;
    struct pith_error *err;
};

static int refuse(struct builder *builder, yaml_mark_t mark, const char *format, ...)
    PITH_PRINTF(3, 4);
static int refuse(struct builder *builder, yaml_mark_t mark, const char *format, ...)
{
    va_list arguments;
    int rc;

    va_start(arguments, format);
    (void) pith_vfail(builder->err, -EBADMSG, format, arguments);
    va_end(arguments);
    rc = pith_fail_in(builder->err, -EBADMSG, "%s:%zu:%zu", builder->yaml->name, mark.line + 1,
                      mark.column + 1);
    return rc;
}

static int out_of_memory(struct builder *builder)
{
    return pith_fail(builder->err, -ENOMEM, "%s: no memory to read it", builder->yaml->name);
}

static struct pith_yaml_node *node_new(struct builder *builder, enum pith_yaml_kind kind,
                                       yaml_mark_t mark)
{
    struct pith_yaml *yaml = builder->yaml;
    struct pith_yaml_node *node = calloc(1, sizeof *node);

    if (!node)
        return NULL;
    node->kind = kind;
    node->line = mark.line + 1;
    node->column = mark.column + 1;
    node->next_made = yaml->made;
    yaml->made = node;
    yaml->node_count++;
    return node;
}

/* Room for one more item; the arrays double. */
static int node_grow(struct pith_yaml_node *node)
{
    size_t capacity = node->capacity ? node->capacity * 2 : 4;
    void *items, *keys;

    if (node->count < node->capacity)
        return 0;
    items = realloc(node->items, capacity * sizeof *node->items);
    if (!items)
        return -ENOMEM;
    node->items = items;
    if (node->kind == PITH_YAML_MAP) {
        keys = realloc(node->keys, capacity * sizeof *node->keys);
        if (!keys)
            return -ENOMEM;
        node->keys = keys;
    }
    node->capacity = capacity;
    return 0;
}

static void note_duplicate(struct builder *builder, const struct pith_yaml_node *map,
                           const struct pith_yaml_node *key)
{
    for (size_t i = 0; i < map->count; i++)
        if (strcmp(map->keys[i]->text, key->text) == 0) {
            pith_yaml_fault(builder->yaml, key,
                            "\"%.80s\" is given twice, first in line %zu; keep one of them",
                            key->text, map->keys[i]->line);
            return;
        }
}

/* Puts a finished node where it belongs: the root, the next item of a list, a key or the value of
 * one. */
static int place(struct builder *builder, struct pith_yaml_node *node, yaml_mark_t mark)
{
    struct pith_yaml_node *parent, *key;

    if (builder->depth == 0) {
        builder->yaml->root = node;
        return 0;
    }
    parent = builder->open[builder->depth - 1];
    key = builder->key[builder->depth - 1];
    if (parent->kind == PITH_YAML_MAP && !key) {
        if (node->kind != PITH_YAML_SCALAR)
            return refuse(builder, mark, "a key must be a word, not a list or a map");
        if (parent->count == YAML_MAX_KEYS)
            return refuse(builder, mark, "more than %d keys in one map", YAML_MAX_KEYS);
        builder->key[builder->depth - 1] = node;
        return 0;
    }
    if (node_grow(parent) < 0)
        return out_of_memory(builder);
    if (key) {
        note_duplicate(builder, parent, key);
        parent->keys[parent->count] = key;
        builder->key[builder->depth - 1] = NULL;
    }
    parent->items[parent->count++] = node;
    return 0;
}

static int take_scalar(struct builder *builder, const yaml_event_t *event)
{
    struct pith_yaml_node *node;
    const char *text = (const char *) event->data.scalar.value;
    size_t bytes = event->data.scalar.length;

    if (event->data.scalar.tag || event->data.scalar.anchor)
        return refuse(builder, event->start_mark,
                      "tags and anchors are not used here; write the value itself");
    if (memchr(text, 0, bytes))
        return refuse(builder, event->start_mark, "the text holds a NUL character");
    node = node_new(builder, PITH_YAML_SCALAR, event->start_mark);
    if (!node)
        return out_of_memory(builder);
    node->text = strdup(text);
    if (!node->text)
        return out_of_memory(builder);
    node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    return place(builder, node, event->start_mark);
}

static int take_opening(struct builder *builder, const yaml_event_t *event)
{
    bool map = event->type == YAML_MAPPING_START_EVENT;
    const void *tag = map ? event->data.mapping_start.tag : event->data.sequence_start.tag;
    const void *anchor = map ? event->data.mapping_start.anchor : event->data.sequence_start.anchor;
    struct pith_yaml_node *node;
    int rc;

    if (tag || anchor)
        return refuse(builder, event->start_mark,
                      "tags and anchors are not used here; write the value itself");
    if (builder->depth == YAML_MAX_DEPTH)
        return refuse(builder, event->start_mark, "nested deeper than %d levels", YAML_MAX_DEPTH);
    node = node_new(builder, map ? PITH_YAML_MAP : PITH_YAML_LIST, event->start_mark);
    if (!node)
        return out_of_memory(builder);
    rc = place(builder, node, event->start_mark);
    if (rc < 0)
        return rc;
    builder->open[builder->depth] = node;
    builder->key[builder->depth++] = NULL;
    return 0;
}

static int take_event(struct builder *builder, const yaml_event_t *event)
{
    if (builder->yaml->node_count >= YAML_MAX_NODES)
        return refuse(builder, event->start_mark, "more than %d values in one file",
                      YAML_MAX_NODES);
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return take_scalar(builder, event);
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        return take_opening(builder, event);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        builder->depth--;
        return 0;
    case YAML_ALIAS_EVENT:
        return refuse(builder, event->start_mark,
                      "aliases are not used here; write the value itself");
    case YAML_DOCUMENT_START_EVENT:
        if (builder->yaml->root)
            return refuse(builder, event->start_mark,
                          "a second document begins; one file holds one");
        return 0;
    default:
        return 0;
    }
}

static int syntax_fault(struct builder *builder)
{
    const yaml_parser_t *parser = &builder->parser;

    if (parser->error == YAML_MEMORY_ERROR)
        return out_of_memory(builder);
    if (parser->error == YAML_READER_ERROR)
        return pith_fail(builder->err, -EBADMSG, "%s: byte %zu: not valid UTF-8 text: %s",
                         builder->yaml->name, parser->problem_offset,
                         parser->problem ? parser->problem : "broken character");
    return refuse(builder, parser->problem_mark, "not valid YAML: %s%s%s",
                  parser->problem ? parser->problem : "syntax error", parser->context ? ", " : "",
                  parser->context ? parser->context : "");
}

static int build(struct builder *builder)
{
    for (;;) {
        yaml_event_t event;
        bool end;
        int rc;

        if (!yaml_parser_parse(&builder->parser, &event))
            return syntax_fault(builder);
        end = event.type == YAML_STREAM_END_EVENT;
        rc = take_event(builder, &event);
        yaml_event_delete(&event);
        if (rc < 0 || end)
            return rc;
    }
}

int pith_yaml_parse(struct pith_yaml **out, const char *name, const void *text, size_t bytes,
                    struct pith_error *err)
{
    struct builder builder = {.err = err};
    int rc;

    if (bytes > YAML_MAX_BYTES)
        return pith_fail(err, -EFBIG, "%s: is larger than the %d bytes that are allowed", name,
                         YAML_MAX_BYTES);
    builder.yaml = calloc(1, sizeof *builder.yaml);
    if (!builder.yaml)
        return pith_fail(err, -ENOMEM, "%s: no memory to read it", name);
    builder.yaml->name = strdup(name);
    if (!builder.yaml->name || !yaml_parser_initialize(&builder.parser)) {
        pith_yaml_free(builder.yaml);
        return pith_fail(err, -ENOMEM, "%s: no memory to read it", name);
    }
    yaml_parser_set_input_string(&builder.parser, bytes ? text : (const void *) "", bytes);
    yaml_parser_set_encoding(&builder.parser, YAML_UTF8_ENCODING);
    rc = build(&builder);
    yaml_parser_delete(&builder.parser);
    if (rc == 0 && !builder.yaml->root) { /* an empty file: no value, at its first place */
        builder.yaml->root = node_new(&builder, PITH_YAML_SCALAR, (yaml_mark_t){0});
        if (!builder.yaml->root || !(builder.yaml->root->text = strdup("")))
            rc = out_of_memory(&builder);
    }
    if (rc < 0) {
        pith_yaml_free(builder.yaml);
        return rc;
    }
    *out = builder.yaml;
    return 0;
}

int pith_yaml_open(struct pith_yaml **out, const char *path, struct pith_error *err)
{
    struct pith_buffer text = {0};
    int rc = pith_file_read(path, YAML_MAX_BYTES, &text, err);

    if (rc == 0)
        rc = pith_yaml_parse(out, path, text.data, text.bytes, err);
    pith_buffer_done(&text);
    return rc;
}

void pith_yaml_free(struct pith_yaml *yaml)
{
    if (!yaml)
        return;
    for (struct pith_yaml_node *node = yaml->made, *next; node; node = next) {
        next = node->next_made;
        free(node->text);
        free(node->items);
        free(node->keys);
        free(node);
    }
    for (size_t i = 0; i < yaml->fault_count; i++)
        free(yaml->faults[i].text);
    free(yaml->faults);
    pith_buffer_done(&yaml->told);
    free(yaml->name);
    free(yaml);
}

const struct pith_yaml_node *pith_yaml_root(const struct pith_yaml *yaml)
{
    return yaml->root;
}

enum pith_yaml_kind pith_yaml_kind(const struct pith_yaml_node *node)
{
    return node->kind;
}

const char *pith_yaml_scalar(const struct pith_yaml_node *node)
{
    return node->kind == PITH_YAML_SCALAR ? node->text : NULL;
}

bool pith_yaml_is_null(const struct pith_yaml_node *node)
{
    return node->kind == PITH_YAML_SCALAR && !node->quoted &&
           (!node->text[0] || strcmp(node->text, "~") == 0 || strcmp(node->text, "null") == 0);
}

size_t pith_yaml_count(const struct pith_yaml_node *node)
{
    return node->count;
}

const struct pith_yaml_node *pith_yaml_item(const struct pith_yaml_node *node, size_t index)
{
    return index < node->count ? node->items[index] : NULL;
}

const char *pith_yaml_key(const struct pith_yaml_node *map, size_t index)
{
    return map->kind == PITH_YAML_MAP && index < map->count ? map->keys[index]->text : NULL;
}

const struct pith_yaml_node *pith_yaml_key_node(const struct pith_yaml_node *map, size_t index)
{
    return map->kind == PITH_YAML_MAP && index < map->count ? map->keys[index] : NULL;
}

const struct pith_yaml_node *pith_yaml_find(const struct pith_yaml_node *map, const char *key)
{
    if (map->kind != PITH_YAML_MAP)
        return NULL;
    for (size_t i = 0; i < map->count; i++)
        if (strcmp(map->keys[i]->text, key) == 0)
            return map->items[i];
    return NULL;
}
