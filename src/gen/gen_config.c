/* GenerationConfig: defaults, merging, validation (transformers 4.57, generation/configuration_utils.py and the
 * constructors in generation/logits_process.py, whose messages these are). */
#include "gen/gen_config.h"

#include <stddef.h>
#include <string.h>

#include "base/pytext.h"
#include "gen/gen_class_defaults.h"

typedef enum {
    KIND_INT,
    KIND_FLOAT,
    KIND_BOOL,
    KIND_IDS,
    KIND_WORDS,
    KIND_STRINGS,
    KIND_EARLY,
    KIND_BIAS,
    KIND_DECAY,
    KIND_FORCE,
    KIND_WATERMARK,
    KIND_NOTE,
    KIND_REFUSE,
} field_kind;

typedef struct field_info {
    const char *name;
    size_t offset, size;
    field_kind kind;
} field_info;

static const field_info fields[GEN_F_COUNT] = {
#define F(name, kind, fallback)                                                                    \
    {#name, offsetof(gen_config, name), sizeof(GEN_TYPE_##kind), KIND_##kind},
    GEN_CONFIG_FIELDS(F)
#undef F
};

/* Arguments of generate() that are no fields and mean nothing here: padding is not ours to mask, and the rest
 * steers torch. What a caller passes in them does not change the answer. */
static const char *const silent_arguments[] = {
    "attention_mask",     "position_ids",
    "token_type_ids",     "synced_gpus",
    "use_model_defaults", "output_router_logits",
    "past_key_values",    "cache_position",
    "logits_to_keep",     NULL,
};

void gen_config_init(gen_config *cfg)
{
    *cfg = (gen_config){
#define F(name, kind, fallback) .name = fallback,
        GEN_CONFIG_FIELDS(F)
#undef F
    };
}

static int find_field(mltf_str key)
{
    for (int f = 0; f < GEN_F_COUNT; f++)
        if (str_is(key, fields[f].name)) return f;
    return -1;
}

bool gen_config_is_field(mltf_str key)
{
    return find_field(key) >= 0;
}

/* ---- values from JSON ---------------------------------------------------------------------- */

/* "`top_k` has to be an integer, but is 'x'": the value as JSON shows it, cut where long. */
static mltf_status wrong_type(const char *name, const char *wanted, const json *v, mltf_err *err)
{
    mltf_buf text = MLTF_BUF_INIT;
    json_write(&text, v, NULL);
    const mltf_status st = mltf_fail(err, MLTF_INVALID_INPUT, "`%s` has to be %s, but is %.200s",
                                     name, wanted, text.p ? text.p : "?");
    mltf_buf_release(&text);
    return st;
}

/* An integer, also written as a double without fraction (a DataFrame makes 20.0 of 20). */
static bool as_int(int64_t *out, const json *v)
{
    if (json_is(v, JSON_INT)) {
        *out = v->i;
        return *out != GEN_NONE;
    }
    if (json_is(v, JSON_DOUBLE) && v->d == floor(v->d) && fabs(v->d) < 9e15) {
        *out = (int64_t)v->d;
        return true;
    }
    return false;
}

static bool as_id(int32_t *out, const json *v)
{
    int64_t i;
    if (!as_int(&i, v) || i < INT32_MIN || i > INT32_MAX) return false;
    *out = (int32_t)i;
    return true;
}

static mltf_status parse_ids(gen_ids *out, const char *name, const char *wanted, const json *v,
                             mltf_arena *arena, mltf_err *err)
{
    const size_t n = json_is(v, JSON_ARRAY) ? v->a.n : 1;
    int32_t *ids = arena_calloc(arena, n ? n : 1, sizeof *ids);
    if (!ids) return mltf_fail_memory(err);
    for (size_t i = 0; i < n; i++)
        if (!as_id(&ids[i], json_is(v, JSON_ARRAY) ? &v->a.items[i] : v))
            return wrong_type(name, wanted, v, err);
    *out = (gen_ids){ids, n};
    return MLTF_OK;
}

static mltf_status parse_words(gen_words *out, const char *name, const json *v, mltf_arena *arena,
                               mltf_err *err)
{
    if (!json_is(v, JSON_ARRAY)) return wrong_type(name, "a list of lists of token ids", v, err);
    gen_ids *words = arena_calloc(arena, v->a.n ? v->a.n : 1, sizeof *words);
    if (!words) return mltf_fail_memory(err);
    for (size_t i = 0; i < v->a.n; i++) {
        if (!json_is(&v->a.items[i], JSON_ARRAY))
            return wrong_type(name, "a list of lists of token ids", v, err);
        TRY(parse_ids(&words[i], name, "a list of lists of token ids", &v->a.items[i], arena, err));
    }
    *out = (gen_words){words, v->a.n};
    return MLTF_OK;
}

/* force_words_ids: a list whose items are words (lists of ids) or lists of words. */
static mltf_status parse_force(gen_force *out, const char *name, const json *v, mltf_arena *arena,
                               mltf_err *err)
{
    if (!json_is(v, JSON_ARRAY)) return wrong_type(name, "a list of lists of token ids", v, err);
    gen_words *p = arena_calloc(arena, v->a.n ? v->a.n : 1, sizeof *p);
    if (!p) return mltf_fail_memory(err);
    for (size_t i = 0; i < v->a.n; i++) {
        const json *item = &v->a.items[i];
        if (json_is(json_at(item, 0), JSON_ARRAY)) {
            TRY(parse_words(&p[i], name, item, arena, err));
        } else {
            gen_ids *one = arena_calloc(arena, 1, sizeof *one);
            if (!one) return mltf_fail_memory(err);
            if (!json_is(item, JSON_ARRAY))
                return wrong_type(name, "a list of lists of token ids", v, err);
            TRY(parse_ids(one, name, "a list of lists of token ids", item, arena, err));
            p[i] = (gen_words){one, 1};
        }
    }
    *out = (gen_force){p, v->a.n};
    return MLTF_OK;
}

static mltf_status parse_strings(gen_strings *out, const char *name, const json *v,
                                 mltf_arena *arena, mltf_err *err)
{
    const size_t n = json_is(v, JSON_ARRAY) ? v->a.n : 1;
    mltf_str *strings = arena_calloc(arena, n ? n : 1, sizeof *strings);
    if (!strings) return mltf_fail_memory(err);
    for (size_t i = 0; i < n; i++) {
        const json *item = json_is(v, JSON_ARRAY) ? &v->a.items[i] : v;
        if (!json_is(item, JSON_STRING))
            return wrong_type(name, "a string or a list of strings", v, err);
        strings[i] = arena_str(arena, item->s);
        if (!strings[i].p) return mltf_fail_memory(err);
    }
    *out = (gen_strings){strings, n};
    return MLTF_OK;
}

static mltf_status parse_bias(gen_biases *out, const char *name, const json *v, mltf_arena *arena,
                              mltf_err *err)
{
    static const char wanted[] = "a non-empty list of pairs of token ids and a float";
    if (!json_is(v, JSON_ARRAY) || v->a.n == 0) return wrong_type(name, wanted, v, err);
    gen_bias *p = arena_calloc(arena, v->a.n, sizeof *p);
    if (!p) return mltf_fail_memory(err);
    for (size_t i = 0; i < v->a.n; i++) {
        const json *ids = json_at(&v->a.items[i], 0), *bias = json_at(&v->a.items[i], 1);
        if (!json_is(ids, JSON_ARRAY) || ids->a.n == 0 || !json_is_number(bias))
            return wrong_type(name, wanted, v, err);
        TRY(parse_ids(&p[i].ids, name, wanted, ids, arena, err));
        p[i].bias = (float)json_double(bias, 0);
    }
    *out = (gen_biases){p, v->a.n};
    return MLTF_OK;
}

/* The integer or boolean of a SynthIDTextWatermarkingConfig, if it has that key; false: another type. */
static bool synthid_number(int64_t *out, const json *v, const char *key)
{
    const json *x = json_get(v, key);
    if (json_is(x, JSON_BOOL)) *out = x->b;
    return !x || json_is(x, JSON_BOOL) || as_int(out, x);
}

static mltf_status parse_synthid(gen_synthid *w, const char *name, const json *v, mltf_arena *arena,
                                 mltf_err *err)
{
    static const char *const known[] = {"ngram_len",
                                        "keys",
                                        "context_history_size",
                                        "sampling_table_seed",
                                        "sampling_table_size",
                                        "skip_first_ngram_calls",
                                        "debug_mode",
                                        NULL};
    static const char wanted[] = "a SynthIDTextWatermarkingConfig: ngram_len (at least 1), keys "
                                 "(integers), context_history_size, sampling_table_seed, "
                                 "sampling_table_size, skip_first_ngram_calls and debug_mode";
    const json *keys = json_get(v, "keys");
    int64_t skip = 0, debug = 0;
    *w = (gen_synthid){.table_size = 1 << 16, .history = 1024};
    bool ok = json_is(keys, JSON_ARRAY) && synthid_number(&w->ngram_len, v, known[0]) &&
              synthid_number(&w->history, v, known[2]) &&
              synthid_number(&w->table_seed, v, known[3]) &&
              synthid_number(&w->table_size, v, known[4]) && synthid_number(&skip, v, known[5]) &&
              synthid_number(&debug, v, known[6]);
    for (size_t i = 0; i < json_len(v); i++) {
        bool is_known = false;
        for (const char *const *k = known; *k; k++) is_known |= str_is(v->o.members[i].key, *k);
        ok &= is_known;
    }
    int64_t *numbers = arena_calloc(arena, json_len(keys) + 1, sizeof *numbers);
    if (!numbers) return mltf_fail_memory(err);
    for (size_t i = 0; i < json_len(keys); i++) ok &= as_int(&numbers[i], json_at(keys, i));
    if (!ok || w->ngram_len < 1 || w->ngram_len > 1000 || w->history < 1 || w->table_size < 1)
        return wrong_type(name, wanted, v, err);
    if (w->table_size > 1 << 24)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "Some of the keys in `%s` are defined incorrectly. `sampling_table_size` "
                         "should be < 2**24` but found %lld",
                         name, (long long)w->table_size);
    w->keys = numbers;
    w->n_keys = json_len(keys);
    w->skip_first = skip;
    w->debug = debug;
    return MLTF_OK;
}

static mltf_status parse_watermark(gen_watermark *w, const char *name, const json *v,
                                   mltf_arena *arena, mltf_err *err)
{
    if (!json_is(v, JSON_OBJECT)) return wrong_type(name, "a WatermarkingConfig", v, err);
    if (json_get(v, "ngram_len") || json_get(v, "keys")) {
        *w = (gen_watermark){.on = true};
        return parse_synthid(&w->synthid, name, v, arena, err);
    }
    *w = (gen_watermark){.on = true,
                         .greenlist_ratio = 0.25,
                         .bias = 2.0,
                         .hashing_key = 15485863,
                         .context_width = 1};
    for (size_t i = 0; i < json_len(v); i++) {
        const mltf_str key = v->o.members[i].key;
        const json *x = &v->o.members[i].value;
        bool ok = json_is_number(x);
        if (str_is(key, "greenlist_ratio"))
            w->greenlist_ratio = json_double(x, -1);
        else if (str_is(key, "bias"))
            w->bias = json_double(x, 0);
        else if (str_is(key, "hashing_key"))
            ok = as_int(&w->hashing_key, x);
        else if (str_is(key, "context_width"))
            ok = as_int(&w->context_width, x);
        else if (str_is(key, "seeding_scheme"))
            ok = (w->selfhash = str_is(json_string(x, STR("")), "selfhash")) ||
                 str_is(json_string(x, STR("")), "lefthash");
        else
            return mltf_fail(err, MLTF_UNSUPPORTED,
                             "`%s` with \"" STR_FMT "\" is not supported: it may hold "
                             "greenlist_ratio, bias, hashing_key, seeding_scheme (`lefthash` or "
                             "`selfhash`) and context_width",
                             name, STR_ARG(key));
        const double ratio = w->greenlist_ratio;
        ok = ok && ratio > 0 && ratio < 1 && w->context_width >= 1;
        if (!ok)
            return mltf_fail(err, MLTF_INVALID_INPUT,
                             "Some of the keys in `%s` are defined incorrectly. `" STR_FMT
                             "` should be %s",
                             name, STR_ARG(key),
                             str_is(key, "seeding_scheme")    ? "[`selfhash`, `lefthash`]"
                             : str_is(key, "greenlist_ratio") ? "in range between 0.0 and 1.0"
                             : str_is(key, "bias")            ? "a number"
                                                              : "a positive integer");
    }
    return MLTF_OK;
}

/* One value, not null, into the field at `place`. */
static mltf_status parse_field(void *place, const field_info *f, const json *v, mltf_arena *arena,
                               mltf_err *err)
{
    switch (f->kind) {
    case KIND_INT:
        if (!as_int(place, v)) return wrong_type(f->name, "an integer", v, err);
        return MLTF_OK;
    case KIND_FLOAT:
        if (!json_is_number(v) || isnan(json_double(v, NAN)))
            return wrong_type(f->name, "a float", v, err);
        *(double *)place = json_double(v, 0);
        return MLTF_OK;
    case KIND_BOOL:
        // Python takes 0 and 1 for the same thing
        if (!json_is(v, JSON_BOOL) && !(json_is(v, JSON_INT) && (v->i == 0 || v->i == 1)))
            return wrong_type(f->name, "a boolean", v, err);
        *(bool *)place = json_is(v, JSON_BOOL) ? v->b : v->i != 0;
        return MLTF_OK;
    case KIND_IDS:
        return parse_ids(place, f->name, "a token id or a list of token ids", v, arena, err);
    case KIND_WORDS:
        return parse_words(place, f->name, v, arena, err);
    case KIND_STRINGS:
        return parse_strings(place, f->name, v, arena, err);
    case KIND_EARLY:
        if (json_is(v, JSON_BOOL)) {
            *(gen_early_stopping *)place = v->b ? GEN_EARLY_TRUE : GEN_EARLY_FALSE;
        } else if (json_is(v, JSON_INT) && (v->i == 0 || v->i == 1)) {
            *(gen_early_stopping *)place = v->i ? GEN_EARLY_TRUE : GEN_EARLY_FALSE;
        } else if (json_is(v, JSON_STRING) && str_is(v->s, "never")) {
            *(gen_early_stopping *)place = GEN_EARLY_NEVER;
        } else {
            const mltf_str s = json_string(v, STR("?"));
            return mltf_fail(err, MLTF_INVALID_INPUT,
                             "`early_stopping` must be a boolean or 'never', but is " STR_FMT ".",
                             STR_ARG(s));
        }
        return MLTF_OK;
    case KIND_BIAS:
        return parse_bias(place, f->name, v, arena, err);
    case KIND_DECAY: {
        gen_decay *d = place;
        if (json_len(v) != 2 || !as_int(&d->start, json_at(v, 0)) || !json_is_number(json_at(v, 1)))
            return wrong_type(f->name, "a list of a start index and a factor", v, err);
        d->factor = json_double(json_at(v, 1), 1);
        return MLTF_OK;
    }
    case KIND_FORCE:
        return parse_force(place, f->name, v, arena, err);
    case KIND_WATERMARK:
        return parse_watermark(place, f->name, v, arena, err);
    case KIND_NOTE:
    case KIND_REFUSE:
        *(const json **)place = json_clone(arena, v);
        return *(const json **)place ? MLTF_OK : mltf_fail_memory(err);
    }
    return MLTF_OK;
}

static void set_none(void *place, const field_info *f)
{
    switch (f->kind) {
    case KIND_INT:
        *(int64_t *)place = GEN_NONE;
        break;
    case KIND_FLOAT:
        *(double *)place = NAN;
        break;
    case KIND_BOOL:
        *(bool *)place = false;
        break;
    default:
        memset(place, 0, f->size);
        break; // EARLY: False; lists and the rest: None
    }
}

static bool is_silent_argument(mltf_str key)
{
    for (const char *const *a = silent_arguments; *a; a++)
        if (str_is(key, *a)) return true;
    return false;
}

mltf_status gen_config_merge(gen_config *cfg, const json *object, gen_origin origin,
                             mltf_arena *arena, mltf_err *err)
{
    if (!object || json_is(object, JSON_NULL)) return MLTF_OK;
    if (!json_is(object, JSON_OBJECT))
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "generation settings have to be an object, but are %s",
                         json_type_name(object));

    gen_config next = *cfg; // untouched on failure
    mltf_buf unknown = {.max = 600};
    for (size_t i = 0; i < object->o.n; i++) {
        const json_member *m = &object->o.members[i];
        const int f = find_field(m->key);
        const bool null = json_is(&m->value, JSON_NULL);
        if (f < 0) {
            if (origin != GEN_FROM_CALL || null || is_silent_argument(m->key)) continue;
            buf_puts(&unknown, unknown.n ? ", " : "");
            pytext_repr(&unknown, m->key, false);
            continue;
        }
        void *place = (char *)&next + fields[f].offset;
        if (null) {
            set_none(place, &fields[f]);
        } else {
            const mltf_status st = parse_field(place, &fields[f], &m->value, arena, err);
            if (st) {
                mltf_buf_release(&unknown);
                return st;
            }
        }
        next.set[f >> 6] |= (uint64_t)1 << (f & 63);
        if (origin == GEN_FROM_CALL && !null) next.call[f >> 6] |= (uint64_t)1 << (f & 63);
    }
    if (unknown.n) {
        const mltf_status st = mltf_fail(
            err, MLTF_INVALID_INPUT,
            "The following `model_kwargs` are not used by the model: [%s] (note: typos in "
            "the generate arguments will also show up in this list)",
            unknown.p);
        mltf_buf_release(&unknown);
        return st;
    }
    *cfg = next;
    return MLTF_OK;
}

/* ---- from config.json ---------------------------------------------------------------------- */

/* The fields that the object has and that are not null; `over` (may be NULL): but for those that it names. */
static mltf_status merge_not_null(gen_config *cfg, const json *object, const json *over,
                                  mltf_arena *arena, mltf_err *err)
{
    for (size_t i = 0; i < json_len(object); i++) {
        const json_member *m = &object->o.members[i];
        const int f = find_field(m->key);
        if (f < 0 || json_is(&m->value, JSON_NULL)) continue;
        if (over && json_get(over, fields[f].name)) continue;
        TRY(parse_field((char *)cfg + fields[f].offset, &fields[f], &m->value, arena, err));
        cfg->set[f >> 6] |= (uint64_t)1 << (f & 63);
    }
    return MLTF_OK;
}

/* Files of bart and mvp from before 4.10 say forced_bos_token_id in these words. */
static void force_bos_as_before(gen_config *cfg, const json *config)
{
    const mltf_str type = json_string(json_get(config, "model_type"), STR(""));
    const bool forced = json_bool(json_get(config, "force_bos_token_to_be_generated"), false);
    if (!forced || cfg->forced_bos_token_id != GEN_NONE || cfg->bos_token_id == GEN_NONE) return;
    if (!str_is(type, "bart") && !str_is(type, "mvp")) return;
    const int f = find_field(STR("forced_bos_token_id"));
    cfg->forced_bos_token_id = cfg->bos_token_id;
    cfg->set[f >> 6] |= (uint64_t)1 << (f & 63);
}

static mltf_status merge_with_class(gen_config *cfg, const json *config, mltf_arena *arena,
                                    mltf_err *err)
{
    const mltf_str type = json_string(json_get(config, "model_type"), STR(""));
    for (const gen_class_defaults *d = gen_class_table; d->model_type; d++) {
        if (!str_is(type, d->model_type)) continue;
        json *own = NULL;
        TRY(json_parse_in(arena, &own, d->fields, strlen(d->fields), NULL, err));
        TRY(merge_not_null(cfg, own, config, arena, err));
    }
    TRY(merge_not_null(cfg, config, NULL, arena, err));
    force_bos_as_before(cfg, config);
    return MLTF_OK;
}

mltf_status gen_config_from_model_config(gen_config *cfg, const json *config, mltf_arena *arena,
                                         mltf_err *err)
{
    if (!json_is(config, JSON_OBJECT)) return MLTF_OK;
    TRY(merge_with_class(cfg, config, arena, err));
    cfg->transformers_version = NULL; // the settings are made by the library that reads them
    // a composite model: what the outer config leaves open comes from its text decoder
    static const char *const inner[] = {"decoder", "text_config", "generator", NULL};
    for (const char *const *k = inner; *k; k++) {
        const json *sub = json_get(config, *k);
        if (!json_is(sub, JSON_OBJECT)) continue;
        gen_config from_class;
        gen_config_init(&from_class);
        TRY(merge_with_class(&from_class, sub, arena, err));
        gen_config_inherit(cfg, &from_class);
        break;
    }
    return MLTF_OK;
}

/* ---- comparing with the defaults ----------------------------------------------------------- */

static bool ids_equal(gen_ids a, gen_ids b)
{
    return (a.p == NULL) == (b.p == NULL) && a.n == b.n &&
           (a.n == 0 || memcmp(a.p, b.p, a.n * sizeof *a.p) == 0);
}

bool gen_config_is_default(const gen_config *cfg, gen_field f)
{
    static const gen_config defaults = {
#define F(name, kind, fallback) .name = fallback,
        GEN_CONFIG_FIELDS(F)
#undef F
    };
    const void *a = (const char *)cfg + fields[f].offset,
               *b = (const char *)&defaults + fields[f].offset;
    switch (fields[f].kind) {
    case KIND_INT:
        return *(const int64_t *)a == *(const int64_t *)b;
    case KIND_FLOAT: {
        const double x = *(const double *)a, y = *(const double *)b;
        return x == y || (isnan(x) && isnan(y));
    }
    case KIND_BOOL:
        return *(const bool *)a == *(const bool *)b;
    case KIND_EARLY:
        return *(const gen_early_stopping *)a == *(const gen_early_stopping *)b;
    case KIND_DECAY:
        return ((const gen_decay *)a)->factor == 0;
    case KIND_WATERMARK:
        return !((const gen_watermark *)a)->on;
    case KIND_IDS:
        return ids_equal(*(const gen_ids *)a, *(const gen_ids *)b);
    case KIND_NOTE:
    case KIND_REFUSE:
        return *(const json *const *)a == NULL;
    case KIND_WORDS:
        return ((const gen_words *)a)->p == NULL;
    case KIND_STRINGS:
        return ((const gen_strings *)a)->p == NULL;
    case KIND_BIAS:
        return ((const gen_biases *)a)->p == NULL;
    case KIND_FORCE:
        return ((const gen_force *)a)->p == NULL;
    }
    return false;
}

void gen_config_inherit(gen_config *cfg, const gen_config *model)
{
    for (int f = 0; f < GEN_F_COUNT; f++) {
        if (!gen_config_is_default(cfg, (gen_field)f) || gen_config_is_default(model, (gen_field)f))
            continue;
        memcpy((char *)cfg + fields[f].offset, (const char *)model + fields[f].offset,
               fields[f].size);
    }
    // temperature 0 with do_sample False, on a model whose own default is to sample
    if (cfg->temperature == 0.0) cfg->do_sample = false;
}

/* ---- checks -------------------------------------------------------------------------------- */

#define REFUSE_IF(cond, ...)                                                                       \
    do {                                                                                           \
        if (cond) return mltf_fail(err, MLTF_INVALID_INPUT, __VA_ARGS__);                          \
    } while (0)

/* A float as Python's str() shows it. */
static const char *float_text(char out[40], double d)
{
    mltf_buf b = MLTF_BUF_INIT;
    json_write_double(&b, d);
    const size_t n = b.n < 39 ? b.n : 39;
    if (b.p) memcpy(out, b.p, n);
    out[b.p ? n : 0] = 0;
    mltf_buf_release(&b);
    return out;
}

static mltf_status validate_sampling(const gen_config *c, mltf_err *err)
{
    char t[40];
    REFUSE_IF(!isnan(c->temperature) && c->temperature == 0.0,
              "`temperature` (=0.0) has to be a strictly positive float, otherwise your next token "
              "scores will be "
              "invalid. If you're looking for greedy decoding strategies, set `do_sample=False`.");
    REFUSE_IF(c->temperature < 0 || isinf(c->temperature),
              "`temperature` (=%s) has to be a strictly positive float, otherwise your next token "
              "scores will be invalid.",
              float_text(t, c->temperature));
    REFUSE_IF(c->top_k != GEN_NONE && c->top_k < 0,
              "`top_k` has to be a strictly positive integer, but is %lld", (long long)c->top_k);
    REFUSE_IF(c->top_p < 0, "`top_p` has to be a float > 0 and < 1, but is %s",
              float_text(t, c->top_p));
    REFUSE_IF(c->min_p < 0 || c->min_p > 1,
              "`min_p` has to be a float in the [0, 1] interval, but is %s",
              float_text(t, c->min_p));
    REFUSE_IF(c->typical_p <= 0, "`typical_p` has to be a float > 0 and < 1, but is %s",
              float_text(t, c->typical_p));
    return MLTF_OK;
}

static mltf_status validate_penalties(const gen_config *c, mltf_err *err)
{
    char t[40];
    REFUSE_IF(c->repetition_penalty <= 0,
              "`penalty` has to be a strictly positive float, but is %s",
              float_text(t, c->repetition_penalty));
    REFUSE_IF(c->encoder_repetition_penalty <= 0,
              "`penalty` has to be a strictly positive float, but is %s",
              float_text(t, c->encoder_repetition_penalty));
    REFUSE_IF(!(fabs(c->frequency_penalty) <= 2.0),
              "`frequency_penalty` has to be between -2 and 2, but is %s",
              float_text(t, c->frequency_penalty));
    REFUSE_IF(!(fabs(c->presence_penalty) <= 2.0),
              "`presence_penalty` has to be between -2 and 2, but is %s",
              float_text(t, c->presence_penalty));
    REFUSE_IF(c->bad_words_ids.p && c->bad_words_ids.n == 0,
              "`bad_words_ids` has to be a non-empty list, but is [].");
    for (size_t i = 0; i < c->bad_words_ids.n; i++)
        for (size_t k = 0; k < c->bad_words_ids.p[i].n; k++)
            REFUSE_IF(
                c->bad_words_ids.p[i].p[k] < 0,
                "Each list in `bad_words_ids` has to be a list of positive integers, but holds %d.",
                c->bad_words_ids.p[i].p[k]);
    for (size_t i = 0; i < c->sequence_bias.n; i++)
        for (size_t k = 0; k < c->sequence_bias.p[i].ids.n; k++)
            REFUSE_IF(c->sequence_bias.p[i].ids.p[k] < 0,
                      "Each element in `sequence_bias` has to be a non-empty list of lists of "
                      "positive integers and "
                      "float, but holds %d.",
                      c->sequence_bias.p[i].ids.p[k]);
    for (size_t i = 0; i < c->forced_eos_token_id.n; i++)
        REFUSE_IF(c->forced_eos_token_id.p[i] < 0,
                  "`eos_token_id` has to be a list of positive integers, but holds %d",
                  c->forced_eos_token_id.p[i]);
    REFUSE_IF(c->exponential_decay_length_penalty.factor != 0 && !c->eos_token_id.p,
              "`exponential_decay_length_penalty` needs an `eos_token_id`");
    return MLTF_OK;
}

static mltf_status validate_beams(const gen_config *c, mltf_err *err)
{
    REFUSE_IF(c->num_beams < 1,
              "`num_beams` has to be an integer strictly greater than 0, but is %lld.",
              (long long)c->num_beams);
    REFUSE_IF(c->num_beams > 1024, "`num_beams` is %lld; at most 1024 are supported",
              (long long)c->num_beams);
    REFUSE_IF(c->num_return_sequences < 1,
              "`num_return_sequences` has to be an integer strictly greater than 0, but is %lld.",
              (long long)c->num_return_sequences);
    REFUSE_IF(c->num_return_sequences > 1024,
              "`num_return_sequences` is %lld; at most 1024 are supported",
              (long long)c->num_return_sequences);
    if (gen_config_has_groups(c)) {
        REFUSE_IF(c->num_beam_groups > c->num_beams,
                  "`num_beam_groups` has to be an integer smaller or equal than `num_beams`");
        REFUSE_IF(c->num_beams % c->num_beam_groups != 0,
                  "`num_beams` should be divisible by `num_beam_groups` for group beam search");
        REFUSE_IF(!(c->diversity_penalty > 0), "`diversity_penalty` should be greater than 0.0, "
                                               "otherwise your beam groups will be identical.");
        REFUSE_IF(c->do_sample, "`do_sample` is set to `True`. Diverse beam search does not "
                                "sample: set `do_sample=False`.");
        REFUSE_IF(c->force_words_ids.p,
                  "`force_words_ids` cannot be combined with `num_beam_groups` > 1.");
    }
    if (c->force_words_ids.p) {
        REFUSE_IF(c->num_beams == 1, "`num_beams` needs to be greater than 1 for constrained "
                                     "generation (`force_words_ids`).");
        REFUSE_IF(c->do_sample, "`do_sample` needs to be false for constrained generation.");
        REFUSE_IF(c->force_words_ids.n == 0,
                  "`force_words_ids` has to either be a `List[List[List[int]]]` or "
                  "`List[List[int]]` of positive integers, but is [].");
        for (size_t i = 0; i < c->force_words_ids.n; i++) {
            REFUSE_IF(c->force_words_ids.p[i].n == 0, "`force_words_ids` has an empty constraint");
            for (size_t k = 0; k < c->force_words_ids.p[i].n; k++)
                REFUSE_IF(c->force_words_ids.p[i].p[k].n == 0,
                          "`force_words_ids` has an empty word");
        }
    }
    return MLTF_OK;
}

/* Caches are the session's business here: the names of transformers are accepted, others refused in its words. */
static mltf_status validate_cache(const json *name, mltf_err *err)
{
    static const char *const known[] = {"static",
                                        "offloaded_static",
                                        "sliding_window",
                                        "hybrid",
                                        "hybrid_chunked",
                                        "offloaded_hybrid",
                                        "offloaded_hybrid_chunked",
                                        "dynamic",
                                        "dynamic_full",
                                        "offloaded",
                                        "quantized",
                                        NULL};
    if (!name || json_is(name, JSON_NULL)) return MLTF_OK;
    for (const char *const *k = known; *k; k++)
        if (str_is(json_string(name, STR("")), *k)) return MLTF_OK;
    mltf_buf text = MLTF_BUF_INIT;
    for (const char *const *k = known; *k; k++)
        buf_printf(&text, "%s'%s'", k == known ? "" : ", ", *k);
    mltf_buf shown = MLTF_BUF_INIT;
    if (json_is(name, JSON_STRING))
        buf_put_str(&shown, name->s);
    else
        json_write(&shown, name, NULL);
    const mltf_status st = mltf_fail(err, MLTF_INVALID_INPUT,
                                     "Invalid `cache_implementation` (%.200s). Choose one of: (%s)",
                                     shown.p ? shown.p : "", text.p ? text.p : "");
    mltf_buf_release(&shown);
    mltf_buf_release(&text);
    return st;
}

/* What is refused by name, in the words in which the library's pipelines refuse it, where they do. */
static mltf_status refuse_fields(const gen_config *c, mltf_err *err)
{
    // other strategies leave DoLa alone
    const bool contrastive = !c->do_sample && c->top_k > 1 && c->penalty_alpha > 0,
               dola = c->num_beams == 1 && !contrastive && !c->force_words_ids.p;
    const struct {
        const json *value;
        const char *why;
    } rows[] = {
        {c->token_healing,
         "When generating with token healing, you must pass the model's tokenizer "
         "to the `tokenizer` argument of `generate`."},
        {dola ? c->dola_layers : NULL,
         "Dola Generation requires `trust_remote_code=True` in your `generate` "
         "call, since it loads https://hf.co/transformers-community/dola."},
        {c->constraints, "`constraints` is not supported; leave it out, or say `force_words_ids`"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const json *v = rows[i].value;
        if (v && !json_is(v, JSON_NULL) && !(json_is(v, JSON_BOOL) && !v->b))
            return mltf_fail(err, MLTF_UNSUPPORTED, "%s", rows[i].why);
    }
    return MLTF_OK;
}

mltf_status gen_config_validate_own(const gen_config *c, mltf_err *err)
{
    REFUSE_IF(c->max_new_tokens != GEN_NONE && c->max_new_tokens <= 0,
              "`max_new_tokens` must be greater than 0, but is %lld.",
              (long long)c->max_new_tokens);
    TRY(validate_cache(c->cache_implementation, err));
    REFUSE_IF(c->compile_config && !json_is(c->compile_config, JSON_NULL),
              "You provided `compile_config` as an instance of <class '%s'>, but it must be an "
              "instance of `CompileConfig`.",
              json_type_name(c->compile_config));
    REFUSE_IF(c->num_return_sequences != 1 && c->num_beams == 1 && !c->do_sample,
              "Greedy methods without beam search do not support `num_return_sequences` different "
              "than 1 (got %lld).",
              (long long)c->num_return_sequences);
    REFUSE_IF(c->num_beams > 1 && c->num_return_sequences > c->num_beams,
              "`num_return_sequences` (%lld) has to be smaller or equal to `num_beams` (%lld).",
              (long long)c->num_return_sequences, (long long)c->num_beams);
    return MLTF_OK;
}

mltf_status gen_config_validate(const gen_config *c, mltf_err *err)
{
    TRY(refuse_fields(c, err));
    TRY(gen_config_validate_own(c, err));
    REFUSE_IF(c->max_new_tokens == GEN_NONE && c->max_length == GEN_NONE,
              "`max_length` and `max_new_tokens` are both None: set one of them");
    REFUSE_IF(c->min_length != GEN_NONE && c->min_length < 0,
              "`min_length` has to be a non-negative integer, but is %lld",
              (long long)c->min_length);
    REFUSE_IF(c->min_new_tokens != GEN_NONE && c->min_new_tokens < 0,
              "`min_new_tokens` has to be a positive integer, but is %lld",
              (long long)c->min_new_tokens);
    TRY(validate_beams(c, err));
    TRY(validate_penalties(c, err));
    if (c->do_sample) TRY(validate_sampling(c, err));
    if (c->prompt_lookup_num_tokens != GEN_NONE)
        REFUSE_IF(c->prompt_lookup_num_tokens <= 0 ||
                      (c->max_matching_ngram_size != GEN_NONE && c->max_matching_ngram_size <= 0),
                  "Invalid max_matching_ngram_size or num_output_tokens");
    return MLTF_OK;
}
