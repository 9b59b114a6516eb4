#include "formats/pickle.h"

#include <stdlib.h>

#include "base/array.h"

typedef struct reader {
    const uint8_t *p, *end;
    const uint8_t *start;
    mltf_arena *arena;
    pickle_value **stack;
    size_t depth, stack_cap;
    size_t *marks; // depths
    size_t n_marks, marks_cap;
    pickle_value **memo; // NULL where unset
    size_t memo_cap, next_memo;
    mltf_err *err;
} reader;

static const struct {
    const char *module, *name;
    pickle_global global;
    mltf_dtype dtype;
} globals[] = {
    {"collections", "OrderedDict", PICKLE_G_ORDERED_DICT, DT_U8},
    {"torch._utils", "_rebuild_tensor", PICKLE_G_REBUILD_TENSOR, DT_U8},
    {"torch._utils", "_rebuild_tensor_v2", PICKLE_G_REBUILD_TENSOR_V2, DT_U8},
    {"torch._utils", "_rebuild_tensor_v3", PICKLE_G_REBUILD_TENSOR_V3, DT_U8},
    {"torch._utils", "_rebuild_parameter", PICKLE_G_REBUILD_PARAMETER, DT_U8},
    {"torch._utils", "_rebuild_parameter_with_state", PICKLE_G_REBUILD_PARAMETER_STATE, DT_U8},
    {"torch", "Size", PICKLE_G_SIZE, DT_U8},
    {"torch", "UntypedStorage", PICKLE_G_UNTYPED_STORAGE, DT_U8},
    {"torch.storage", "UntypedStorage", PICKLE_G_UNTYPED_STORAGE, DT_U8},
    {"torch", "FloatStorage", PICKLE_G_STORAGE, DT_F32},
    {"torch", "DoubleStorage", PICKLE_G_STORAGE, DT_F64},
    {"torch", "HalfStorage", PICKLE_G_STORAGE, DT_F16},
    {"torch", "BFloat16Storage", PICKLE_G_STORAGE, DT_BF16},
    {"torch", "LongStorage", PICKLE_G_STORAGE, DT_I64},
    {"torch", "IntStorage", PICKLE_G_STORAGE, DT_I32},
    {"torch", "ShortStorage", PICKLE_G_STORAGE, DT_I16},
    {"torch", "CharStorage", PICKLE_G_STORAGE, DT_I8},
    {"torch", "ByteStorage", PICKLE_G_STORAGE, DT_U8},
    {"torch", "BoolStorage", PICKLE_G_STORAGE, DT_BOOL},
    {"torch", "float32", PICKLE_G_DTYPE, DT_F32},
    {"torch", "float64", PICKLE_G_DTYPE, DT_F64},
    {"torch", "float16", PICKLE_G_DTYPE, DT_F16},
    {"torch", "bfloat16", PICKLE_G_DTYPE, DT_BF16},
    {"torch", "int64", PICKLE_G_DTYPE, DT_I64},
    {"torch", "int32", PICKLE_G_DTYPE, DT_I32},
    {"torch", "int16", PICKLE_G_DTYPE, DT_I16},
    {"torch", "int8", PICKLE_G_DTYPE, DT_I8},
    {"torch", "uint8", PICKLE_G_DTYPE, DT_U8},
    {"torch", "uint16", PICKLE_G_DTYPE, DT_U16},
    {"torch", "uint32", PICKLE_G_DTYPE, DT_U32},
    {"torch", "uint64", PICKLE_G_DTYPE, DT_U64},
    {"torch", "bool", PICKLE_G_DTYPE, DT_BOOL},
    {"torch", "float8_e4m3fn", PICKLE_G_DTYPE, DT_F8_E4M3},
    {"torch", "float8_e5m2", PICKLE_G_DTYPE, DT_F8_E5M2},
};

static mltf_status broken(reader *r, const char *why)
{
    return mltf_fail(r->err, MLTF_CORRUPT_FILE, "the pickle is damaged near byte %zu: %s",
                     (size_t)(r->p - r->start), why);
}

/* ---- stack and memo ------------------------------------------------------------------------ */

static mltf_status push(reader *r, pickle_value *v)
{
    if (!ARRAY_RESERVE(r->stack, r->stack_cap, r->depth + 1)) return mltf_fail_memory(r->err);
    r->stack[r->depth++] = v;
    return MLTF_OK;
}

static mltf_status push_new(reader *r, pickle_value v)
{
    pickle_value *p = arena_alloc_small(r->arena, sizeof *p);
    if (!p) return mltf_fail_memory(r->err);
    *p = v;
    return push(r, p);
}

/* Nothing below the last mark may be taken. */
static size_t available(const reader *r)
{
    return r->depth - (r->n_marks ? r->marks[r->n_marks - 1] : 0);
}

static mltf_status pop(reader *r, pickle_value **out)
{
    if (available(r) == 0) return broken(r, "it takes more from its stack than it put there");
    *out = r->stack[--r->depth];
    return MLTF_OK;
}

/* Takes all above the last mark; they stay readable in the stack until the next push. */
static mltf_status pop_mark(reader *r, pickle_value ***items, size_t *n)
{
    if (r->n_marks == 0) return broken(r, "it takes a mark that it did not set");
    const size_t base = r->marks[--r->n_marks];
    *items = r->stack ? r->stack + base : NULL;
    *n = r->depth - base;
    r->depth = base;
    return MLTF_OK;
}

static mltf_status memo_put(reader *r, size_t index)
{
    if (available(r) == 0) return broken(r, "it remembers nothing");
    // writers count up from 0, so a memo larger than the pickle is a lie
    if (index > (size_t)(r->end - r->start))
        return broken(r, "it remembers at an impossible place");
    const size_t before = r->memo_cap;
    if (!ARRAY_RESERVE(r->memo, r->memo_cap, index + 1)) return mltf_fail_memory(r->err);
    if (r->memo_cap > before) memset(r->memo + before, 0, (r->memo_cap - before) * sizeof *r->memo);
    r->memo[index] = r->stack[r->depth - 1];
    return MLTF_OK;
}

static mltf_status memo_get(reader *r, size_t index)
{
    if (index >= r->memo_cap || !r->memo[index])
        return broken(r, "it recalls what it never remembered");
    return push(r, r->memo[index]);
}

/* ---- bytes --------------------------------------------------------------------------------- */

static mltf_status take(reader *r, const uint8_t **out, uint64_t n)
{
    if (n > (uint64_t)(r->end - r->p)) return broken(r, "it ends in the middle");
    *out = r->p;
    r->p += n;
    return MLTF_OK;
}

static mltf_status take_uint(reader *r, int bytes, uint64_t *out)
{
    const uint8_t *p = NULL;
    TRY(take(r, &p, (uint64_t)bytes));
    *out = 0;
    for (int i = bytes - 1; i >= 0; i--) *out = *out << 8 | p[i];
    return MLTF_OK;
}

static mltf_status take_line(reader *r, mltf_str *out)
{
    const uint8_t *nl = memchr(r->p, '\n', (size_t)(r->end - r->p));
    if (!nl) return broken(r, "it ends in the middle");
    *out = (mltf_str){(const char *)r->p, (size_t)(nl - r->p)};
    r->p = nl + 1;
    return MLTF_OK;
}

static mltf_status line_to_int(reader *r, mltf_str line, int64_t *out)
{
    size_t i = 0;
    const bool negative = line.n > 0 && line.p[0] == '-';
    if (negative) i++;
    if (line.n > i && line.p[line.n - 1] == 'L') line.n--;
    if (i == line.n || line.n - i > 18) return broken(r, "a number is no number");
    int64_t v = 0;
    for (; i < line.n; i++) {
        if (line.p[i] < '0' || line.p[i] > '9') return broken(r, "a number is no number");
        v = v * 10 + (line.p[i] - '0');
    }
    *out = negative ? -v : v;
    return MLTF_OK;
}

static mltf_status push_text(reader *r, pickle_type type, int length_bytes)
{
    uint64_t n;
    const uint8_t *p = NULL;
    TRY(take_uint(r, length_bytes, &n));
    TRY(take(r, &p, n));
    return push_new(r, (pickle_value){.type = type, .s = {(const char *)p, (size_t)n}});
}

static mltf_status push_long(reader *r, int length_bytes)
{
    uint64_t n;
    const uint8_t *p = NULL;
    TRY(take_uint(r, length_bytes, &n));
    TRY(take(r, &p, n));
    if (n > 8)
        return push_new(r, (pickle_value){.type = PICKLE_LONG, .s = {(const char *)p, (size_t)n}});
    uint64_t v = n && p[n - 1] & 0x80 ? ~(uint64_t)0 : 0;
    for (uint64_t i = n; i-- > 0;) v = v << 8 | p[i];
    return push_new(r, (pickle_value){.type = PICKLE_INT, .i = (int64_t)v});
}

/* ---- containers and calls ------------------------------------------------------------------ */

static mltf_status push_list(reader *r, pickle_type type, pickle_value *const *items, size_t n)
{
    pickle_value *v = arena_alloc_small(r->arena, sizeof *v);
    pickle_value **copy = n ? arena_alloc_small(r->arena, n * sizeof *copy) : NULL;
    if (!v || (n && !copy)) return mltf_fail_memory(r->err);
    if (n) memcpy(copy, items, n * sizeof *copy);
    *v = (pickle_value){.type = type, .list = {copy, n, n}};
    return push(r, v);
}

static mltf_status extend(reader *r, pickle_value *to, pickle_value *const *items, size_t n)
{
    if (!ARENA_RESERVE(r->arena, to->list.items, to->list.cap, to->list.n + n))
        return mltf_fail_memory(r->err);
    if (n) memcpy(to->list.items + to->list.n, items, n * sizeof *items);
    to->list.n += n;
    return MLTF_OK;
}

static mltf_status add_to(reader *r, pickle_type type, pickle_value *const *items, size_t n)
{
    if (available(r) == 0) return broken(r, "it fills a container that is not there");
    pickle_value *to = r->stack[r->depth - 1];
    if (to->type != type) return broken(r, "it fills what is no container of that kind");
    if (type == PICKLE_DICT && n % 2) return broken(r, "a key has no value");
    return extend(r, to, items, n);
}

static mltf_status push_global(reader *r, mltf_str module, mltf_str name)
{
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++) {
        if (str_is(module, globals[i].module) && str_is(name, globals[i].name))
            return push_new(r, (pickle_value){.type = PICKLE_GLOBAL,
                                              .global = globals[i].global,
                                              .dtype = globals[i].dtype});
    }
    if (module.n > 100) module.n = 100;
    if (name.n > 100) name.n = 100;
    return mltf_fail(
        r->err, MLTF_UNSUPPORTED,
        "the pickle wants to use " STR_FMT "." STR_FMT
        ", which is refused because it could run code; save the weights as safetensors",
        STR_ARG(module), STR_ARG(name));
}

/* function(*args): only the known ones, none of which does more than describe. */
static mltf_status call(reader *r)
{
    pickle_value *args = NULL, *fn = NULL;
    TRY(pop(r, &args));
    TRY(pop(r, &fn));
    if (fn->type != PICKLE_GLOBAL || args->type != PICKLE_TUPLE)
        return broken(r, "it calls what cannot be called");
    pickle_value **a = args->list.items;
    const size_t n = args->list.n;
    pickle_value v = {.type = PICKLE_TENSOR};
    switch (fn->global) {
    case PICKLE_G_ORDERED_DICT:
        if (n != 0) break;
        return push_list(r, PICKLE_DICT, NULL, 0);
    case PICKLE_G_SIZE:
        if (n != 1) break;
        return push(r, a[0]);
    case PICKLE_G_REBUILD_TENSOR_V3:
        if (n < 7 || a[6]->type != PICKLE_GLOBAL || a[6]->global != PICKLE_G_DTYPE) break;
        v.tensor.has_dtype = true;
        v.dtype = a[6]->dtype;
        __attribute__((fallthrough));
    case PICKLE_G_REBUILD_TENSOR:
    case PICKLE_G_REBUILD_TENSOR_V2:
        if (n < 4) break;
        v.tensor.storage = a[0];
        v.tensor.offset = a[1];
        v.tensor.size = a[2];
        v.tensor.stride = a[3];
        return push_new(r, v);
    case PICKLE_G_REBUILD_PARAMETER:
    case PICKLE_G_REBUILD_PARAMETER_STATE:
        if (n < 1 || a[0]->type != PICKLE_TENSOR) break;
        return push(r, a[0]);
    default:
        break;
    }
    return broken(r, "it calls a function of PyTorch with the wrong arguments");
}

/* Attributes of an object: PyTorch sets `_metadata` on state dicts, which has no use here. */
static mltf_status build(reader *r)
{
    pickle_value *attributes = NULL, *object = NULL;
    TRY(pop(r, &attributes));
    TRY(pop(r, &object));
    if ((object->type != PICKLE_DICT && object->type != PICKLE_TENSOR) ||
        (attributes->type != PICKLE_DICT && attributes->type != PICKLE_TUPLE))
        return broken(r, "it sets attributes of what has none");
    return push(r, object);
}

static mltf_status step(reader *r, uint8_t op)
{
    uint64_t u = 0;
    int64_t i = 0;
    mltf_str line = {0}, second = {0};
    pickle_value *a = NULL, *b = NULL, **items = NULL;
    size_t n = 0;
    const uint8_t *p = NULL;
    switch (op) {
    case 0x80: // PROTO
        TRY(take_uint(r, 1, &u));
        if (u > 5) return broken(r, "its protocol is unknown");
        return MLTF_OK;
    case 0x95:
        return take(r, &p, 8); // FRAME: its length is of use to streams only
    case '(':
        if (!ARRAY_RESERVE(r->marks, r->marks_cap, r->n_marks + 1)) return mltf_fail_memory(r->err);
        r->marks[r->n_marks++] = r->depth;
        return MLTF_OK;
    case '0':
        return pop(r, &a);
    case '1':
        return pop_mark(r, &items, &n);
    case '2':
        if (available(r) == 0) return broken(r, "it doubles nothing");
        return push(r, r->stack[r->depth - 1]);

    case 'N':
        return push_new(r, (pickle_value){.type = PICKLE_NONE});
    case 0x88:
    case 0x89:
        return push_new(r, (pickle_value){.type = PICKLE_BOOL, .b = op == 0x88});
    case 'J':
        TRY(take_uint(r, 4, &u));
        return push_new(r, (pickle_value){.type = PICKLE_INT, .i = (int32_t)(uint32_t)u});
    case 'K':
    case 'M':
        TRY(take_uint(r, op == 'K' ? 1 : 2, &u));
        return push_new(r, (pickle_value){.type = PICKLE_INT, .i = (int64_t)u});
    case 'I':
        TRY(take_line(r, &line));
        if (str_is(line, "00") || str_is(line, "01"))
            return push_new(r, (pickle_value){.type = PICKLE_BOOL, .b = line.p[1] == '1'});
        TRY(line_to_int(r, line, &i));
        return push_new(r, (pickle_value){.type = PICKLE_INT, .i = i});
    case 'L':
        TRY(take_line(r, &line));
        TRY(line_to_int(r, line, &i));
        return push_new(r, (pickle_value){.type = PICKLE_INT, .i = i});
    case 0x8a:
        return push_long(r, 1);
    case 0x8b:
        return push_long(r, 4);
    case 'G': {
        TRY(take(r, &p, 8));
        u = 0;
        for (int k = 0; k < 8; k++) u = u << 8 | p[k];
        pickle_value v = {.type = PICKLE_FLOAT};
        memcpy(&v.d, &u, sizeof v.d);
        return push_new(r, v);
    }

    case 'X':
        return push_text(r, PICKLE_STR, 4);
    case 0x8c:
        return push_text(r, PICKLE_STR, 1);
    case 0x8d:
        return push_text(r, PICKLE_STR, 8);
    case 'T':
        return push_text(r, PICKLE_STR, 4); // Python 2
    case 'U':
        return push_text(r, PICKLE_STR, 1);
    case 'V':
        TRY(take_line(r, &line));
        return push_new(r, (pickle_value){.type = PICKLE_STR, .s = line});
    case 'B':
        return push_text(r, PICKLE_BYTES, 4);
    case 'C':
        return push_text(r, PICKLE_BYTES, 1);
    case 0x8e:
        return push_text(r, PICKLE_BYTES, 8);

    case ')':
        return push_list(r, PICKLE_TUPLE, NULL, 0);
    case ']':
        return push_list(r, PICKLE_LIST, NULL, 0);
    case '}':
        return push_list(r, PICKLE_DICT, NULL, 0);
    case 't':
    case 'l':
        TRY(pop_mark(r, &items, &n));
        return push_list(r, op == 't' ? PICKLE_TUPLE : PICKLE_LIST, items, n);
    case 'd':
        TRY(pop_mark(r, &items, &n));
        if (n % 2) return broken(r, "a key has no value");
        return push_list(r, PICKLE_DICT, items, n);
    case 0x85:
    case 0x86:
    case 0x87:
        n = (size_t)(op - 0x84);
        if (available(r) < n) return broken(r, "it takes more from its stack than it put there");
        r->depth -= n;
        return push_list(r, PICKLE_TUPLE, r->stack + r->depth, n);
    case 'a':
        TRY(pop(r, &a));
        return add_to(r, PICKLE_LIST, &a, 1);
    case 'e':
        TRY(pop_mark(r, &items, &n));
        return add_to(r, PICKLE_LIST, items, n);
    case 's': {
        TRY(pop(r, &b));
        TRY(pop(r, &a));
        pickle_value *pair[2] = {a, b};
        return add_to(r, PICKLE_DICT, pair, 2);
    }
    case 'u':
        TRY(pop_mark(r, &items, &n));
        return add_to(r, PICKLE_DICT, items, n);

    case 'q':
    case 'r':
        TRY(take_uint(r, op == 'q' ? 1 : 4, &u));
        return memo_put(r, (size_t)u);
    case 'h':
    case 'j':
        TRY(take_uint(r, op == 'h' ? 1 : 4, &u));
        return memo_get(r, (size_t)u);
    case 'p':
    case 'g':
        TRY(take_line(r, &line));
        TRY(line_to_int(r, line, &i));
        if (i < 0) return broken(r, "it remembers at an impossible place");
        return op == 'p' ? memo_put(r, (size_t)i) : memo_get(r, (size_t)i);
    case 0x94:
        return memo_put(r, r->next_memo++);

    case 'c':
        TRY(take_line(r, &line));
        TRY(take_line(r, &second));
        return push_global(r, line, second);
    case 0x93:
        TRY(pop(r, &b));
        TRY(pop(r, &a));
        if (a->type != PICKLE_STR || b->type != PICKLE_STR)
            return broken(r, "a global has no name");
        return push_global(r, a->s, b->s);
    case 'R':
    case 0x81:
        return call(r);
    case 'b':
        return build(r);
    case 'Q':
        TRY(pop(r, &a));
        if (a->type != PICKLE_TUPLE) return broken(r, "a persistent id is not a tuple");
        return push_new(r, (pickle_value){.type = PICKLE_STORAGE, .list = a->list});
    default:
        break;
    }
    return mltf_fail(r->err, MLTF_UNSUPPORTED,
                     "the pickle uses the operation 0x%02x, which files of weights do not need; "
                     "save the weights as safetensors",
                     op);
}

mltf_status pickle_read(pickle_value **out, size_t *used, mltf_arena *arena, const uint8_t *p,
                        size_t n, mltf_err *err)
{
    *out = NULL;
    reader r = {.p = p, .start = p, .end = p + n, .arena = arena, .err = err};
    mltf_status st = MLTF_OK;
    bool stopped = false;
    while (!st && !stopped) {
        if (r.p == r.end) {
            st = broken(&r, "its end mark is missing");
        } else if (*r.p == '.') {
            r.p++;
            stopped = true;
        } else {
            const uint8_t op = *r.p++;
            st = step(&r, op);
        }
    }
    if (!st) st = pop(&r, out);
    if (!st && used) *used = (size_t)(r.p - p);
    free(r.stack);
    free(r.marks);
    free(r.memo);
    return st;
}
