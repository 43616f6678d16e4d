#include "model/paths.h"
#include "base/arena.h"
#include "base/file.h"
#include <string.h>
#include <yaml.h>

#define DEFINE_MAX (1u << 20)
#define ROWS_MAX   4096

static const char *scalar(yaml_document_t *doc, int id)
{
    yaml_node_t *n = yaml_document_get_node(doc, id);
    return n && n->type == YAML_SCALAR_NODE ? (const char *)n->data.scalar.value : NULL;
}

static yaml_node_t *mapping(yaml_document_t *doc, yaml_node_t *in, const char *key)
{
    if (!in || in->type != YAML_MAPPING_NODE) return NULL;
    for (yaml_node_pair_t *p = in->data.mapping.pairs.start; p < in->data.mapping.pairs.top; p++) {
        const char *k = scalar(doc, p->key);
        if (k && strcmp(k, key) == 0) return yaml_document_get_node(doc, p->value);
    }
    return NULL;
}

struct rows {
    struct define_row *row;
    size_t n, cap;
};

static status more_rows(struct ctx *cx, struct rows *r)
{
    size_t cap = r->cap ? 2 * r->cap : 16;
    struct define_row *more = NEW(cx, struct define_row, cap);
    if (!more) return FAIL(cx, NOMEM, "%zu rows", cap);
    if (r->n) memcpy(more, r->row, r->n * sizeof *more);
    r->row = more, r->cap = cap;
    return OK;
}

/* The rows of a component stand together, those before are of others: a name comes twice only when YAML's map has it
 * twice, which YAML's parsers let pass. */
static status check_row(struct ctx *cx, const struct rows *r, const struct define_row *row)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct define_row *old = &r->row[i];
        if (strcmp(old->component, row->component) != 0) continue;
        if (!old->alias || !row->alias || strcmp(old->name, row->name) == 0)
            return FAIL(cx, FORMAT, "define_meta.yaml: %s %s stands there twice", row->component,
                        row->name ? row->name : "");
        if (strcmp(old->alias, row->alias) != 0)
            return FAIL(cx, FORMAT, "define_meta.yaml: %s has two models, %s and %s", row->component,
                        old->alias, row->alias);
    }
    return OK;
}

static status add_row(struct ctx *cx, struct rows *r, struct define_row row)
{
    if (r->n == ROWS_MAX) return FAIL(cx, LIMIT, "define_meta.yaml: more than %d entries", ROWS_MAX);
    const char **text[] = {&row.component, &row.module, &row.alias, &row.name, &row.proto};
    for (size_t i = 0; i < LEN(text); i++) {
        if (!*text[i]) continue;
        TRY_IN(cx, model_check_stored_name(cx, "name", *text[i]), "define_meta.yaml");
        *text[i] = arena_strdup(cx->mem, *text[i]);
        if (!*text[i]) return FAIL(cx, NOMEM, "a name");
    }
    TRY(check_row(cx, r, &row));
    if (r->n == r->cap) TRY(more_rows(cx, r));
    r->row[r->n++] = row;
    return OK;
}

/* {alias: {name: proto}}, or none of it. */
static status read_aliases(struct ctx *cx, yaml_document_t *doc, const yaml_node_t *aliases,
                           struct define_row row, struct rows *out)
{
    size_t before = out->n;
    bool any = aliases && aliases->type == YAML_MAPPING_NODE;
    for (yaml_node_pair_t *a = any ? aliases->data.mapping.pairs.start : NULL;
         any && a < aliases->data.mapping.pairs.top; a++) {
        const yaml_node_t *names = yaml_document_get_node(doc, a->value);
        struct define_row r = row;
        r.alias = scalar(doc, a->key);
        if (!r.alias || !names || names->type != YAML_MAPPING_NODE)
            return FAIL(cx, FORMAT, "define_meta.yaml: model_proto of %s is not a map of maps",
                        row.component);
        for (yaml_node_pair_t *b = names->data.mapping.pairs.start; b < names->data.mapping.pairs.top; b++) {
            r.name = scalar(doc, b->key), r.proto = scalar(doc, b->value);
            if (!r.name || !r.proto)
                return FAIL(cx, FORMAT, "define_meta.yaml: model_proto of %s: not text", row.component);
            TRY(add_row(cx, out, r));
        }
    }
    return out->n == before ? add_row(cx, out, row) : OK;
}

static status read_document(struct ctx *cx, yaml_document_t *doc, struct rows *out)
{
    yaml_node_t *root = yaml_document_get_root_node(doc);
    yaml_node_t *define = mapping(doc, root, "component_define"), *proto = mapping(doc, root, "model_proto");
    if (!define || define->type != YAML_MAPPING_NODE)
        return FAIL(cx, FORMAT, "define_meta.yaml: no component_define");
    for (yaml_node_pair_t *p = define->data.mapping.pairs.start; p < define->data.mapping.pairs.top; p++) {
        yaml_node_t *d = yaml_document_get_node(doc, p->value), *m = mapping(doc, d, "module_name");
        struct define_row row = {.component = scalar(doc, p->key)};
        if (m && m->type == YAML_SCALAR_NODE) row.module = (const char *)m->data.scalar.value;
        if (!row.component || !row.module)
            return FAIL(cx, FORMAT, "define_meta.yaml: a component without module_name");
        TRY(read_aliases(cx, doc, mapping(doc, proto, row.component), row, out));
    }
    return OK;
}

status define_read(struct ctx *cx, const char *folder, struct define_row **out, size_t *n)
{
    struct bytes text;
    struct rows rows = {0};
    PATH(cx, file, "%s/define/define_meta.yaml", folder);
    TRY(file_read(cx, file, DEFINE_MAX, &text));
    yaml_parser_t parser;
    yaml_document_t doc;
    if (!yaml_parser_initialize(&parser)) return FAIL(cx, NOMEM, "YAML parser");
    yaml_parser_set_input_string(&parser, text.p, text.n);
    status st;
    if (!yaml_parser_load(&parser, &doc)) {
        st = FAIL(cx, FORMAT, "define_meta.yaml: line %zu: %s", parser.problem_mark.line + 1,
                  parser.problem ? parser.problem : "not YAML");
    } else {
        st = read_document(cx, &doc, &rows);
        yaml_document_delete(&doc);
    }
    yaml_parser_delete(&parser);
    TRY(st);
    *out = rows.row, *n = rows.n;
    return OK;
}

/* Quoted: "true", "12" or "#1" would be something else to YAML. */
status define_write(struct ctx *cx, const char *folder, const struct define_row *rows, size_t n)
{
    CLEANUP(buf_free) struct buf b = {0};
    buf_printf(&b, "component_define:\n");
    for (size_t i = 0; i < n; i++)
        if (i == 0 || strcmp(rows[i].component, rows[i - 1].component) != 0)
            buf_printf(&b, "  \"%s\":\n    module_name: \"%s\"\n", rows[i].component, rows[i].module);
    buf_printf(&b, "model_proto:%s\n", n ? "" : " {}");
    for (size_t i = 0; i < n; i++) {
        bool first = i == 0 || strcmp(rows[i].component, rows[i - 1].component) != 0;
        if (first) buf_printf(&b, "  \"%s\":%s\n", rows[i].component, rows[i].alias ? "" : " {}");
        if (first && rows[i].alias) buf_printf(&b, "    \"%s\":\n", rows[i].alias);
        if (rows[i].alias) buf_printf(&b, "      \"%s\": \"%s\"\n", rows[i].name, rows[i].proto);
    }
    TRY(buf_ok(cx, &b));
    PATH(cx, dir, "%s/define", folder);
    PATH(cx, file, "%s/define_meta.yaml", dir);
    TRY(dir_make(cx, dir, 0700));
    return file_write(cx, file, b.p, b.n, 0600);
}
