/* Reading and building values: what needs no text. */
#include "formats/json.h"

#include <math.h>
#include <stdlib.h>

#include "base/c_locale.h"
#include "formats/decimal.h"

/* ---- read ---------------------------------------------------------------------------------- */

const json *json_get_str(const json *object, mltf_str key)
{
    if (!object || object->type != JSON_OBJECT) return NULL;
    for (size_t i = object->o.n; i-- > 0;) { // the last one counts
        if (str_eq(object->o.members[i].key, key)) return &object->o.members[i].value;
    }
    return NULL;
}

const json *json_get(const json *object, const char *key)
{
    return json_get_str(object, str_from(key));
}

const json *json_at(const json *array, size_t i)
{
    if (!array || array->type != JSON_ARRAY || i >= array->a.n) return NULL;
    return &array->a.items[i];
}

size_t json_len(const json *v)
{
    if (!v) return 0;
    return v->type == JSON_ARRAY ? v->a.n : v->type == JSON_OBJECT ? v->o.n : 0;
}

bool json_is(const json *v, json_type type)
{
    return v && v->type == type;
}

bool json_is_number(const json *v)
{
    return v && (v->type == JSON_INT || v->type == JSON_BIGINT || v->type == JSON_DOUBLE ||
                 v->type == JSON_FLOAT);
}

bool json_bool(const json *v, bool fallback)
{
    return json_is(v, JSON_BOOL) ? v->b : fallback;
}

int64_t json_int(const json *v, int64_t fallback)
{
    if (!v) return fallback;
    if (v->type == JSON_INT) return v->i;
    if ((v->type == JSON_DOUBLE || v->type == JSON_FLOAT) && v->d >= -0x1p63 && v->d < 0x1p63 &&
        v->d == floor(v->d))
        return (int64_t)v->d;
    return fallback;
}

double json_double(const json *v, double fallback)
{
    if (!v) return fallback;
    switch (v->type) {
    case JSON_INT:
        return (double)v->i;
    case JSON_DOUBLE:
    case JSON_FLOAT:
        return v->d;
    case JSON_BIGINT:
        return c_strtod(v->s.p, NULL);
    default:
        return fallback;
    }
}

mltf_str json_string(const json *v, mltf_str fallback)
{
    return json_is(v, JSON_STRING) ? v->s : fallback;
}

const char *json_type_name(const json *v)
{
    if (!v) return "NoneType";
    switch (v->type) {
    case JSON_NULL:
        return "NoneType";
    case JSON_BOOL:
        return "bool";
    case JSON_INT:
    case JSON_BIGINT:
        return "int";
    case JSON_DOUBLE:
    case JSON_FLOAT:
        return "float";
    case JSON_STRING:
        return "str";
    case JSON_ARRAY:
        return "list";
    case JSON_OBJECT:
        return "dict";
    }
    return "object";
}

static bool has_duplicate(const json *o)
{
    for (size_t i = 0; i < o->o.n; i++) {
        if (json_get_str(o, o->o.members[i].key) != &o->o.members[i].value) return true;
    }
    return false;
}

static size_t distinct_keys(const json *o)
{
    size_t n = 0;
    for (size_t i = 0; i < o->o.n; i++)
        n += json_get_str(o, o->o.members[i].key) == &o->o.members[i].value;
    return n;
}

static bool objects_equal(const json *a, const json *b)
{
    size_t i = 0;
    if (a->o.n == b->o.n) { // the usual case: the same keys in the same order
        while (i < a->o.n && str_eq(a->o.members[i].key, b->o.members[i].key)) i++;
        if (i == a->o.n && (i > 64 || !has_duplicate(a))) {
            for (i = 0; i < a->o.n; i++) {
                if (!json_equal(&a->o.members[i].value, &b->o.members[i].value)) return false;
            }
            return true;
        }
    }
    if (distinct_keys(a) != distinct_keys(b)) return false;
    for (i = 0; i < a->o.n; i++) {
        const json *x = json_get_str(a, a->o.members[i].key);
        const json *y = json_get_str(b, a->o.members[i].key);
        if (!y || !json_equal(x, y)) return false;
    }
    return true;
}

bool json_equal(const json *a, const json *b)
{
    if (!a || !b) return a == b;
    if (json_is_number(a) && json_is_number(b)) {
        if (a->type == JSON_INT && b->type == JSON_INT) return a->i == b->i;
        if (a->type == JSON_BIGINT && b->type == JSON_BIGINT) return str_eq(a->s, b->s);
        return json_double(a, 0) == json_double(b, 0);
    }
    if (a->type != b->type) return false;
    switch (a->type) {
    case JSON_NULL:
        return true;
    case JSON_BOOL:
        return a->b == b->b;
    case JSON_STRING:
        return str_eq(a->s, b->s);
    case JSON_ARRAY:
        if (a->a.n != b->a.n) return false;
        for (size_t i = 0; i < a->a.n; i++) {
            if (!json_equal(&a->a.items[i], &b->a.items[i])) return false;
        }
        return true;
    case JSON_OBJECT:
        return objects_equal(a, b);
    default:
        return false;
    }
}

/* ---- build --------------------------------------------------------------------------------- */

static json *new_value(mltf_arena *a, json v)
{
    json *p = arena_alloc_small(a, sizeof *p);
    if (p) *p = v;
    return p;
}

json *json_new_null(mltf_arena *a)
{
    return new_value(a, (json){.type = JSON_NULL});
}
json *json_new_bool(mltf_arena *a, bool b)
{
    return new_value(a, (json){.type = JSON_BOOL, .b = b});
}
json *json_new_int(mltf_arena *a, int64_t i)
{
    return new_value(a, (json){.type = JSON_INT, .i = i});
}
json *json_new_double(mltf_arena *a, double d)
{
    return new_value(a, (json){.type = JSON_DOUBLE, .d = d});
}
json *json_new_float(mltf_arena *a, float f)
{
    return new_value(a, (json){.type = JSON_FLOAT, .d = (double)f});
}
json *json_new_array(mltf_arena *a)
{
    return new_value(a, (json){.type = JSON_ARRAY});
}
json *json_new_object(mltf_arena *a)
{
    return new_value(a, (json){.type = JSON_OBJECT});
}

json *json_new_string(mltf_arena *a, mltf_str s)
{
    const char *p = arena_strdup(a, s.p, s.n);
    return p ? new_value(a, (json){.type = JSON_STRING, .s = {p, s.n}}) : NULL;
}

json *json_new_cstr(mltf_arena *a, const char *s)
{
    return json_new_string(a, str_from(s));
}

/* Room for one more of `size` bytes each; the old place is left to the arena. */
static void *room(mltf_arena *a, void *items, size_t n, uint32_t *cap, size_t size)
{
    if (n < *cap) return items;
    const size_t wanted = n < 4 ? 4 : n * 2;
    if (wanted > UINT32_MAX) {
        a->failed = true;
        return NULL;
    }
    char *p = arena_alloc_small(a, wanted * size);
    if (!p) return NULL;
    if (n) memcpy(p, items, n * size);
    *cap = (uint32_t)wanted;
    return p;
}

json *json_push(mltf_arena *a, json *array, const json *value)
{
    if (!array || !value || array->type != JSON_ARRAY) return NULL;
    const json v = *value; // may lie in the items that move
    json *items = room(a, array->a.items, array->a.n, &array->cap, sizeof *items);
    if (!items) return NULL;
    array->a.items = items;
    items[array->a.n] = v;
    return &items[array->a.n++];
}

json *json_add_str(mltf_arena *a, json *object, mltf_str key, const json *value)
{
    if (!object || !value || object->type != JSON_OBJECT) return NULL;
    const json v = *value;
    const char *name = arena_strdup(a, key.p, key.n);
    json_member *m = room(a, object->o.members, object->o.n, &object->cap, sizeof *m);
    if (!m || !name) return NULL;
    object->o.members = m;
    m[object->o.n] = (json_member){{name, key.n}, v};
    return &m[object->o.n++].value;
}

json *json_set_str(mltf_arena *a, json *object, mltf_str key, const json *value)
{
    if (!object || !value || object->type != JSON_OBJECT) return NULL;
    for (size_t i = object->o.n; i-- > 0;) {
        if (str_eq(object->o.members[i].key, key)) {
            object->o.members[i].value = *value;
            return &object->o.members[i].value;
        }
    }
    return json_add_str(a, object, key, value);
}

json *json_set(mltf_arena *a, json *object, const char *key, const json *value)
{
    return json_set_str(a, object, str_from(key), value);
}

bool json_remove(json *object, const char *key)
{
    if (!object || object->type != JSON_OBJECT) return false;
    const mltf_str name = str_from(key);
    size_t kept = 0;
    for (size_t i = 0; i < object->o.n; i++) {
        if (!str_eq(object->o.members[i].key, name))
            object->o.members[kept++] = object->o.members[i];
    }
    const bool removed = kept != object->o.n;
    object->o.n = kept;
    return removed;
}

static bool clone_into(mltf_arena *a, json *to, const json *from)
{
    *to = *from;
    to->cap = 0;
    switch (from->type) {
    case JSON_BIGINT:
    case JSON_STRING: {
        const char *p = arena_strdup(a, from->s.p, from->s.n);
        if (!p) return false;
        to->s.p = p;
        return true;
    }
    case JSON_ARRAY:
        if (from->a.n == 0) return true;
        to->a.items = arena_alloc_small(a, from->a.n * sizeof(json));
        if (!to->a.items) return false;
        for (size_t i = 0; i < from->a.n; i++) {
            if (!clone_into(a, &to->a.items[i], &from->a.items[i])) return false;
        }
        to->cap = from->a.n <= UINT32_MAX ? (uint32_t)from->a.n : 0;
        return true;
    case JSON_OBJECT:
        if (from->o.n == 0) return true;
        to->o.members = arena_alloc_small(a, from->o.n * sizeof(json_member));
        if (!to->o.members) return false;
        for (size_t i = 0; i < from->o.n; i++) {
            const json_member *m = &from->o.members[i];
            const char *key = arena_strdup(a, m->key.p, m->key.n);
            if (!key) return false;
            to->o.members[i].key = (mltf_str){key, m->key.n};
            if (!clone_into(a, &to->o.members[i].value, &m->value)) return false;
        }
        to->cap = from->o.n <= UINT32_MAX ? (uint32_t)from->o.n : 0;
        return true;
    default:
        return true;
    }
}

json *json_clone(mltf_arena *a, const json *v)
{
    if (!v) return NULL;
    json *copy = arena_alloc_small(a, sizeof *copy);
    return copy && clone_into(a, copy, v) ? copy : NULL;
}
