#include "mlflow/schema.h"

#include <string.h>

/* ---- names --------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    np_type np;
    const char *printed; /* how numpy prints the type in messages */
} kinds[ST_KIND_COUNT] = {
    [ST_BOOLEAN] = {"boolean", NP_BOOL, "bool"},
    [ST_INTEGER] = {"integer", NP_INT32, "int32"},
    [ST_LONG] = {"long", NP_INT64, "int64"},
    [ST_FLOAT] = {"float", NP_FLOAT32, "float32"},
    [ST_DOUBLE] = {"double", NP_FLOAT64, "float64"},
    [ST_STRING] = {"string", NP_STR, "<U0"},
    [ST_BINARY] = {"binary", NP_BYTES, "|S0"},
    [ST_DATETIME] = {"datetime", NP_DATETIME, "datetime64[ns]"},
    [ST_ARRAY] = {"array", NP_OBJECT, "object"},
    [ST_OBJECT] = {"object", NP_OBJECT, "object"},
    [ST_MAP] = {"map", NP_OBJECT, "object"},
    [ST_ANY] = {"any", NP_OBJECT, "object"},
    [ST_SPARKML_VECTOR] = {"sparkml_vector", NP_OBJECT, "object"},
};

const char *schema_kind_name(schema_kind k)
{
    return kinds[k].name;
}

static schema_kind kind_from(mltf_str name)
{
    for (schema_kind k = 0; k < ST_KIND_COUNT; k++)
        if (str_is(name, kinds[k].name)) return k;
    return ST_KIND_COUNT;
}

np_type schema_kind_numpy(schema_kind k)
{
    return kinds[k].np;
}

const char *schema_numpy_print(np_type t)
{
    return t == NP_STR ? "<U0" : t == NP_BYTES ? "|S0" : np_name(t);
}

/* ---- reading ------------------------------------------------------------------------------- */

static void *take(mltf_arena *a, size_t n, size_t size)
{
    void *p = arena_alloc_small(a, (n ? n : 1) * size); // n is bounded by the size of a parsed text
    if (p) memset(p, 0, (n ? n : 1) * size);
    return p;
}

static mltf_status parse_type(mltf_arena *a, schema_type *out, const json *v, int depth,
                              mltf_err *err);

static mltf_status parse_props(mltf_arena *a, schema_type *out, const json *map, int depth,
                               mltf_err *err)
{
    if (!json_is(map, JSON_OBJECT) || map->o.n == 0)
        return mltf_fail(err, MLTF_INVALID_INPUT, "signature: an object type needs properties");
    out->props = take(a, map->o.n, sizeof *out->props);
    if (!out->props) return mltf_fail_memory(err);
    for (size_t i = 0; i < map->o.n; i++) {
        schema_prop p = {.name = map->o.members[i].key,
                         .required =
                             json_bool(json_get(&map->o.members[i].value, "required"), true)};
        TRY(parse_type(a, &p.type, &map->o.members[i].value, depth + 1, err));
        size_t at = out->n_props++;
        for (; at > 0; at--) { // sorted by name, as MLflow keeps them
            const mltf_str before = out->props[at - 1].name;
            const size_t n = before.n < p.name.n ? before.n : p.name.n;
            const int c = n ? memcmp(before.p, p.name.p, n) : 0;
            if (c < 0 || (c == 0 && before.n <= p.name.n)) break;
            out->props[at] = out->props[at - 1];
        }
        out->props[at] = p;
    }
    return MLTF_OK;
}

static mltf_status parse_type(mltf_arena *a, schema_type *out, const json *v, int depth,
                              mltf_err *err)
{
    if (depth > 64)
        return mltf_fail(err, MLTF_INVALID_INPUT, "signature: types are nested too deeply");
    const json *name = json_get(v, "type");
    if (!name) name = json_get(v, "dtype"); // the spelling of old releases
    if (!json_is(name, JSON_STRING))
        return mltf_fail(err, MLTF_INVALID_INPUT, "signature: a column has no \"type\"");
    out->kind = kind_from(name->s);
    switch (out->kind) {
    case ST_KIND_COUNT:
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "Unsupported type '" STR_FMT
                         "', expected instance of DataType, Array, Object, "
                         "Map, AnyType or one of ['boolean', 'integer', 'long', 'float', 'double', "
                         "'string', 'binary', 'datetime']",
                         STR_ARG(name->s));
    case ST_ARRAY:
    case ST_MAP: {
        const json *item = json_get(v, out->kind == ST_ARRAY ? "items" : "values");
        if (!item)
            return mltf_fail(err, MLTF_INVALID_INPUT, "signature: type \"%s\" lacks \"%s\"",
                             kinds[out->kind].name, out->kind == ST_ARRAY ? "items" : "values");
        out->item = take(a, 1, sizeof *out->item);
        if (!out->item) return mltf_fail_memory(err);
        return parse_type(a, out->item, item, depth + 1, err);
    }
    case ST_OBJECT:
        return parse_props(a, out, json_get(v, "properties"), depth, err);
    default:
        return MLTF_OK;
    }
}

static mltf_status parse_tensor(mltf_arena *a, schema_column *c, const json *v, mltf_err *err)
{
    const json *spec = json_get(v, "tensor-spec");
    const json *shape = json_get(spec, "shape");
    const mltf_str dtype = json_string(json_get(spec, "dtype"), STR(""));
    if (!json_is(shape, JSON_ARRAY))
        return mltf_fail(err, MLTF_INVALID_INPUT, "signature: a tensor has no shape");
    c->dtype = np_from_name(dtype);
    if (c->dtype == NP_COUNT)
        return mltf_fail(err, MLTF_INVALID_INPUT, "signature: unknown tensor dtype \"" STR_FMT "\"",
                         STR_ARG(dtype));
    c->ndim = shape->a.n;
    c->shape = take(a, c->ndim, sizeof *c->shape);
    if (!c->shape) return mltf_fail_memory(err);
    for (size_t i = 0; i < c->ndim; i++) c->shape[i] = json_int(&shape->a.items[i], -1);
    return MLTF_OK;
}

static mltf_status parse_text(mltf_arena *a, json **out, mltf_str text, mltf_err *err)
{
    const mltf_status st = json_parse_in(a, out, text.p, text.n, NULL, err);
    if (st) {
        mltf_err_wrap(err, "signature is not valid JSON");
        return st;
    }
    if (!json_is(*out, JSON_ARRAY))
        return mltf_fail(err, MLTF_INVALID_INPUT, "signature: expected a list of columns");
    return MLTF_OK;
}

mltf_status schema_parse(mltf_arena *a, schema **out, mltf_str text, mltf_err *err)
{
    json *list = NULL;
    TRY(parse_text(a, &list, text, err));
    schema *s = take(a, 1, sizeof *s);
    if (!s) return mltf_fail_memory(err);
    s->n = list->a.n;
    s->columns = take(a, s->n, sizeof *s->columns);
    if (!s->columns) return mltf_fail_memory(err);
    for (size_t i = 0; i < s->n; i++) {
        const json *v = &list->a.items[i];
        const json *name = json_get(v, "name");
        schema_column *c = &s->columns[i];
        const bool tensor = str_is(json_string(json_get(v, "type"), STR("")), "tensor");
        if (i == 0) s->tensors = tensor;
        if (tensor != s->tensors)
            return mltf_fail(
                err, MLTF_INVALID_INPUT,
                "Schema.__init__ only accepts List[ColSpec] or List[TensorSpec], got a mix");
        c->name = name ? pv_from_json(a, name) : pv_none();
        if (c->name.kind != PV_NONE && c->name.kind != PV_STR && c->name.kind != PV_INT)
            return mltf_fail(err, MLTF_INVALID_INPUT, "signature: a column's name is a %s",
                             pv_class(&c->name));
        if ((c->name.kind != PV_NONE) != (s->columns[0].name.kind != PV_NONE))
            return mltf_fail(
                err, MLTF_INVALID_INPUT,
                "Creating Schema with a combination of named and unnamed inputs is not allowed");
        c->required = json_bool(json_get(v, "required"), true);
        TRY(tensor ? parse_tensor(a, c, v, err) : parse_type(a, &c->type, v, 0, err));
    }
    *out = s;
    return MLTF_OK;
}

mltf_status param_schema_parse(mltf_arena *a, param_schema **out, mltf_str text, mltf_err *err)
{
    json *list = NULL;
    TRY(parse_text(a, &list, text, err));
    param_schema *p = take(a, 1, sizeof *p);
    if (!p) return mltf_fail_memory(err);
    p->n = list->a.n;
    p->params = take(a, p->n, sizeof *p->params);
    if (!p->params) return mltf_fail_memory(err);
    for (size_t i = 0; i < p->n; i++) {
        const json *v = &list->a.items[i];
        param_spec *s = &p->params[i];
        s->name = json_string(json_get(v, "name"), STR(""));
        if (s->name.n == 0)
            return mltf_fail(err, MLTF_INVALID_INPUT, "signature: a param has no name");
        TRY(parse_type(a, &s->type, v, 0, err));
        s->is_list = json_is(json_get(v, "shape"), JSON_ARRAY);
        s->default_value = pv_from_json(a, json_get(v, "default"));
    }
    *out = p;
    return MLTF_OK;
}

mltf_status signature_parse(mltf_arena *a, signature *out, const json *map, mltf_err *err)
{
    *out = (signature){0};
    static const char *const parts[] = {"inputs", "outputs", "params"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const json *part = json_get(map, parts[i]);
        if (part && !json_is(part, JSON_STRING) && !json_is(part, JSON_NULL))
            return mltf_fail(
                err, MLTF_INVALID_INPUT,
                "signature: \"%s\" must be a text that holds a JSON list, as in MLmodel, "
                "not %s",
                parts[i], json_type_name(part));
    }
    const json *in = json_get(map, "inputs"), *outs = json_get(map, "outputs");
    const json *params = json_get(map, "params");
    if (json_is(in, JSON_STRING)) TRY(schema_parse(a, &out->inputs, in->s, err));
    if (json_is(outs, JSON_STRING)) TRY(schema_parse(a, &out->outputs, outs->s, err));
    if (json_is(params, JSON_STRING)) TRY(param_schema_parse(a, &out->params, params->s, err));
    return MLTF_OK;
}

/* ---- writing ------------------------------------------------------------------------------- */

static void write_type(mltf_buf *out, const schema_type *t) // without braces
{
    buf_printf(out, "\"type\": \"%s\"", kinds[t->kind].name);
    if (t->kind == ST_ARRAY || t->kind == ST_MAP) {
        buf_printf(out, ", \"%s\": {", t->kind == ST_ARRAY ? "items" : "values");
        write_type(out, t->item);
        buf_putc(out, '}');
    } else if (t->kind == ST_OBJECT) {
        buf_puts(out, ", \"properties\": {");
        for (size_t i = 0; i < t->n_props; i++) {
            if (i > 0) buf_puts(out, ", ");
            json_write_string(out, t->props[i].name, true);
            buf_puts(out, ": {");
            write_type(out, &t->props[i].type);
            buf_printf(out, ", \"required\": %s}", t->props[i].required ? "true" : "false");
        }
        buf_putc(out, '}');
    }
}

static void write_name(mltf_buf *out, const pv *name)
{
    buf_puts(out, "\"name\": ");
    if (name->kind == PV_INT)
        buf_printf(out, "%lld", (long long)name->i);
    else
        json_write_string(out, name->s, true);
}

void schema_write(mltf_buf *out, const schema *s)
{
    buf_putc(out, '[');
    for (size_t i = 0; i < s->n; i++) {
        const schema_column *c = &s->columns[i];
        const bool named = c->name.kind != PV_NONE;
        buf_puts(out, i ? ", {" : "{");
        if (s->tensors) {
            if (named) write_name(out, &c->name);
            buf_printf(out,
                       "%s\"type\": \"tensor\", \"tensor-spec\": {\"dtype\": \"%s\", \"shape\": [",
                       named ? ", " : "", np_name(c->dtype));
            for (size_t d = 0; d < c->ndim; d++)
                buf_printf(out, "%s%lld", d ? ", " : "", (long long)c->shape[d]);
            buf_puts(out, "]}}");
        } else {
            write_type(out, &c->type);
            if (named) {
                buf_puts(out, ", ");
                write_name(out, &c->name);
            }
            buf_printf(out, ", \"required\": %s}", c->required ? "true" : "false");
        }
    }
    buf_putc(out, ']');
}

void param_schema_write(mltf_buf *out, const param_schema *p)
{
    mltf_arena a = MLTF_ARENA_INIT;
    buf_putc(out, '[');
    for (size_t i = 0; i < p->n; i++) {
        const param_spec *s = &p->params[i];
        buf_puts(out, i ? ", {\"name\": " : "{\"name\": ");
        json_write_string(out, s->name, true);
        buf_puts(out, ", \"default\": ");
        const json *value = pv_to_json(&a, &s->default_value);
        if (value) json_write(out, value, NULL);
        buf_printf(out, ", \"shape\": %s, ", s->is_list ? "[-1]" : "null");
        write_type(out, &s->type);
        buf_putc(out, '}');
    }
    buf_putc(out, ']');
    arena_release(&a);
}

json *signature_to_json(mltf_arena *a, const signature *s)
{
    json *map = json_new_object(a);
    mltf_buf b = MLTF_BUF_INIT;
    const char *const keys[] = {"inputs", "outputs", "params"};
    for (int i = 0; i < 3; i++) {
        buf_clear(&b);
        if (i == 0 && s->inputs) schema_write(&b, s->inputs);
        if (i == 1 && s->outputs) schema_write(&b, s->outputs);
        if (i == 2 && s->params) param_schema_write(&b, s->params);
        json_set(a, map, keys[i], b.n ? json_new_string(a, buf_str(&b)) : json_new_null(a));
    }
    mltf_buf_release(&b);
    return map;
}

/* ---- printing ------------------------------------------------------------------------------ */

void schema_type_print(mltf_buf *out, const schema_type *t)
{
    switch (t->kind) {
    case ST_ARRAY:
        buf_puts(out, "Array(");
        schema_type_print(out, t->item);
        buf_putc(out, ')');
        break;
    case ST_MAP:
        buf_puts(out, "Map(str -> ");
        if (t->item->kind <= ST_DATETIME) buf_puts(out, "DataType.");
        schema_type_print(out, t->item);
        buf_putc(out, ')');
        break;
    case ST_OBJECT:
        buf_putc(out, '{');
        for (size_t i = 0; i < t->n_props; i++) {
            if (i > 0) buf_puts(out, ", ");
            buf_put_str(out, t->props[i].name);
            buf_puts(out, ": ");
            schema_type_print(out, &t->props[i].type);
            buf_puts(out, t->props[i].required ? " (required)" : " (optional)");
        }
        buf_putc(out, '}');
        break;
    case ST_ANY:
        buf_puts(out, "Any");
        break;
    case ST_SPARKML_VECTOR:
        buf_puts(out, "SparkML vector");
        break;
    default:
        buf_puts(out, kinds[t->kind].name);
    }
}

void schema_print(mltf_buf *out, const schema *s)
{
    buf_putc(out, '[');
    for (size_t i = 0; i < s->n; i++) {
        const schema_column *c = &s->columns[i];
        if (i > 0) buf_puts(out, ", ");
        if (c->name.kind != PV_NONE) {
            pv_repr(out, &c->name);
            buf_puts(out, ": ");
        }
        if (s->tensors) {
            buf_printf(out, "Tensor('%s', (", np_name(c->dtype));
            for (size_t d = 0; d < c->ndim; d++)
                buf_printf(out, "%s%lld", d ? ", " : "", (long long)c->shape[d]);
            buf_puts(out, c->ndim == 1 ? ",))" : "))");
        } else {
            schema_type_print(out, &c->type);
            buf_puts(out, c->required ? " (required)" : " (optional)");
        }
    }
    buf_putc(out, ']');
}

/* ---- equality ------------------------------------------------------------------------------ */

bool schema_equal(const schema *a, const schema *b)
{
    mltf_buf x = MLTF_BUF_INIT, y = MLTF_BUF_INIT;
    if (a) schema_write(&x, a);
    if (b) schema_write(&y, b);
    const bool same = str_eq(buf_str(&x), buf_str(&y));
    mltf_buf_release(&x);
    mltf_buf_release(&y);
    return same;
}
