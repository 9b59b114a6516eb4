/* tokenizer_config.json and the files around it, with the precedence of transformers 4.57
 * (tokenization_utils_base.py, _from_pretrained(), and the __init__ of the classes).
 *
 * A class is found by name; its defaults come from tok_classes.c. Where transformers rewrites parts of the
 * stored tokenizer (normalizer, post-processor, added tokens), so does this. */
#include "tokenizers/tok_config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/limits.h"
#include "base/pytext.h"
#include "tokenizers/tok_parts.h"

static const char *const special_names[TOK_SPECIAL_COUNT] = {
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"};

/* ---- files ---- */

mltf_status tok_read_json(json_doc *doc, const char *dir, const char *name, bool *found,
                          mltf_err *err)
{
    *found = false;
    char *path = path_join(dir, name);
    if (!path) return mltf_fail_memory(err);
    mltf_status st = MLTF_OK;
    if (file_exists(path)) {
        *found = true;
        st = json_parse_file(doc, path, NULL, err);
        if (st != MLTF_OK) mltf_err_wrap(err, "could not read \"%s\"", path);
    }
    free(path);
    return st;
}

bool tok_has_file(const char *dir, const char *name)
{
    char *path = path_join(dir, name);
    const bool has = path && file_exists(path);
    free(path);
    return has;
}

mltf_status tok_read_text(mltf_str *out, mltf_arena *arena, const char *dir, const char *name,
                          mltf_err *err)
{
    *out = (mltf_str){NULL, 0};
    char *path = path_join(dir, name);
    if (!path) return mltf_fail_memory(err);
    mltf_buf text = MLTF_BUF_INIT;
    mltf_status st = MLTF_OK;
    if (file_exists(path)) {
        st = file_read(&text, path, LIMIT_JSON_BYTES, err);
        if (st == MLTF_OK && !utf8_valid(text.p ? text.p : "", text.n))
            st = mltf_fail(err, MLTF_CORRUPT_FILE, "\"%s\" is not UTF-8", path);
        if (st == MLTF_OK) *out = pytext_newlines(arena, buf_str(&text));
        if (st == MLTF_OK && arena->failed) st = mltf_fail_memory(err);
    }
    mltf_buf_release(&text);
    free(path);
    return st;
}

/* ---- classes ---- */

const tok_class *tok_class_find(mltf_str name)
{
    if (str_ends(name, "Fast")) name.n -= 4;
    for (size_t i = 0; i < tok_n_classes; i++)
        if (str_is(name, tok_classes[i].name)) return &tok_classes[i];
    return NULL;
}

bool tok_is_class(const tok_settings *s, const char *name)
{
    if (!s->cls) return false;
    return strcmp(s->cls->name, name) == 0 ||
           (strcmp(s->cls->name, "MT5Tokenizer") == 0 && strcmp(name, "T5Tokenizer") == 0);
}

static const tok_class *class_of(const json *config, const char *dir, mltf_err *err,
                                 mltf_status *st)
{
    *st = MLTF_OK;
    mltf_str name = json_string(json_get(config, "tokenizer_class"), (mltf_str){NULL, 0});
    json_doc model = JSON_DOC_INIT;
    const tok_class *c = NULL;
    if (!name.p) {
        bool found;
        *st = tok_read_json(&model, dir, "config.json", &found, err);
        if (*st == MLTF_OK && found) {
            name = json_string(json_get(model.root, "tokenizer_class"), (mltf_str){NULL, 0});
            const mltf_str type = json_string(json_get(model.root, "model_type"), STR(""));
            for (size_t i = 0; !name.p && i < tok_n_model_types; i++)
                if (str_is(type, tok_model_types[i].model_type))
                    name = str_from(tok_model_types[i].class_name);
        }
    }
    if (name.p) c = tok_class_find(name);
    json_doc_release(&model);
    return c;
}

/* ---- special tokens ---- */

static mltf_status token_from_json(tok_added_token *t, const json *v, bool force_special,
                                   mltf_err *err)
{
    *t = (tok_added_token){.id = -1};
    if (json_is(v, JSON_STRING)) {
        t->content = v->s;
        t->special = force_special;
        t->normalized = !force_special;
        return MLTF_OK;
    }
    const json *content = json_get(v, "content");
    if (!json_is(content, JSON_STRING))
        return mltf_fail(err, MLTF_CORRUPT_FILE,
                         "a special token is neither a string nor has a content");
    t->content = content->s;
    t->special = force_special || json_bool(json_get(v, "special"), false);
    t->single_word = json_bool(json_get(v, "single_word"), false);
    t->lstrip = json_bool(json_get(v, "lstrip"), false);
    t->rstrip = json_bool(json_get(v, "rstrip"), false);
    t->normalized = json_bool(json_get(v, "normalized"), !t->special);
    return MLTF_OK;
}

static bool push_token(tok_token_list *l, tok_added_token t)
{
    if (!ARRAY_RESERVE(l->v, l->cap, l->n + 1)) return false;
    l->v[l->n++] = t;
    return true;
}

static const tok_added_token *find_token(const tok_token_list *l, mltf_str content)
{
    for (size_t i = l->n; i-- > 0;)
        if (str_eq(l->v[i].content, content)) return &l->v[i];
    return NULL;
}

static void settings_release(tok_settings *s)
{
    free(s->decoder.v);
    free(s->extra.v);
    json_doc_release(&s->config);
    json_doc_release(&s->map);
    json_doc_release(&s->added);
}

static int by_token_id(const void *a, const void *b)
{
    const tok_added_token *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* What added_tokens_decoder says, or in older files the others. */
static mltf_status read_added_decoder(tok_settings *s, const char *dir, const json *tokenizer_json,
                                      mltf_err *err)
{
    const json *listed = json_get(s->config.root, "added_tokens_decoder");
    bool found;
    if (json_is(listed, JSON_OBJECT)) {
        for (size_t i = 0; i < listed->o.n; i++) {
            tok_added_token t;
            TRY(token_from_json(&t, &listed->o.members[i].value, false, err));
            char digits[24];
            const mltf_str key = listed->o.members[i].key;
            if (key.n >= sizeof digits)
                return mltf_fail(err, MLTF_CORRUPT_FILE,
                                 "added_tokens_decoder has the key \"" STR_FMT "\"", STR_ARG(key));
            memcpy(digits, key.p, key.n);
            digits[key.n] = '\0';
            char *end;
            const long long id = strtoll(digits, &end, 10);
            if (*end || end == digits || id < 0 || id > INT32_MAX)
                return mltf_fail(err, MLTF_CORRUPT_FILE,
                                 "added_tokens_decoder has the key \"" STR_FMT "\"", STR_ARG(key));
            t.id = (int32_t)id;
            if (!push_token(&s->decoder, t)) return mltf_fail_memory(err);
        }
    } else {
        s->legacy = true;
        TRY(tok_read_json(&s->map, dir, "special_tokens_map.json", &found, err));
        TRY(tok_read_json(&s->added, dir, "added_tokens.json", &found, err));
        for (size_t i = 0; json_is(s->added.root, JSON_OBJECT) && i < s->added.root->o.n; i++) {
            const json_member *m = &s->added.root->o.members[i];
            const int64_t id = json_int(&m->value, -1);
            if (id < 0 || id > INT32_MAX)
                return mltf_fail(err, MLTF_CORRUPT_FILE,
                                 "added_tokens.json gives \"" STR_FMT "\" no id", STR_ARG(m->key));
            tok_added_token t = {.content = m->key, .id = (int32_t)id, .normalized = true};
            if (!push_token(&s->decoder, t)) return mltf_fail_memory(err);
        }
        const json *list = json_get(tokenizer_json, "added_tokens");
        for (size_t i = 0; i < json_len(list); i++) {
            tok_added_token t;
            TRY(token_from_json(&t, json_at(list, i), false, err));
            const int64_t id = json_int(json_get(json_at(list, i), "id"), -1);
            if (id < 0 || id > INT32_MAX) continue;
            t.id = (int32_t)id;
            if (!push_token(&s->decoder, t)) return mltf_fail_memory(err);
        }
    }
    return MLTF_OK;
}

static bool takes_lstrip(const char *name)
{
    static const char *const names[] = {
        "RobertaTokenizer",    "BartTokenizer",       "XLMRobertaTokenizer", "AlbertTokenizer",
        "CamembertTokenizer",  "MBartTokenizer",      "MBart50Tokenizer",    "NllbTokenizer",
        "BigBirdTokenizer",    "RemBertTokenizer",    "FNetTokenizer",       "XLNetTokenizer",
        "BarthezTokenizer",    "LEDTokenizer",        "LongformerTokenizer", "MvpTokenizer",
        "DebertaTokenizer",    "BlenderbotTokenizer", "LayoutXLMTokenizer",  "MPNetTokenizer",
        "LayoutLMv3Tokenizer", "MarkupLMTokenizer",   "LukeTokenizer",       "MLukeTokenizer",
        "CpmTokenizer",        "XGLMTokenizer",       "ErnieMTokenizer",     "BartphoTokenizer",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0) return true;
    return false;
}

/* The special tokens as the class gets them: file, then default. */
static mltf_status read_specials(tok_settings *s, mltf_err *err)
{
    const json *c = s->config.root;
    for (int i = 0; i < TOK_SPECIAL_COUNT; i++) {
        const json *v = json_get(c, special_names[i]);
        const bool in_config = v != NULL;
        bool special = false;
        if (s->legacy && json_get(s->map.root, special_names[i])) {
            v = json_get(s->map.root, special_names[i]);
            special = json_is(v, JSON_OBJECT);
        }
        tok_special_value *to = &s->special[i];
        if (v && v->type != JSON_NULL) {
            TRY(token_from_json(&to->token, v, special, err));
            to->set = true;
            to->plain = to->was_string = json_is(v, JSON_STRING);
        } else if (!in_config && s->cls && s->cls->special[i]) {
            to->token = (tok_added_token){.content = str_from(s->cls->special[i]), .id = -1};
            to->set = to->plain = to->was_string = to->is_default = true;
        }
        const tok_added_token *known =
            to->set && !to->is_default ? find_token(&s->decoder, to->token.content) : NULL;
        if (known) {
            to->token = *known;
            to->plain = to->was_string = false;
        }
        if (i == TOK_MASK && to->set && to->plain && s->cls && takes_lstrip(s->cls->name)) {
            const bool normalized = !tok_is_class(s, "RobertaTokenizer") &&
                                    !tok_is_class(s, "AlbertTokenizer") &&
                                    !tok_is_class(s, "XLMRobertaTokenizer");
            to->token = (tok_added_token){
                .content = to->token.content, .id = -1, .lstrip = true, .normalized = normalized};
            to->plain = false;
        }
    }
    const json *lists[2] = {json_get(c, "additional_special_tokens"),
                            s->legacy ? json_get(s->map.root, "additional_special_tokens") : NULL};
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < json_len(lists[k]); i++) {
            tok_added_token t;
            const json *v = json_at(lists[k], i);
            TRY(token_from_json(&t, v, k == 1 && json_is(v, JSON_OBJECT), err));
            t.id = json_is(v, JSON_STRING) ? -2 : -1; // -2: a plain string
            if (find_token(&s->extra, t.content)) continue;
            if (!push_token(&s->extra, t)) return mltf_fail_memory(err);
        }
    if (s->legacy) // added_tokens.json: those that are special tokens by name
        for (size_t i = 0; i < s->decoder.n; i++) {
            tok_added_token *t = &s->decoder.v[i];
            if (!json_get_str(s->added.root, t->content)) continue;
            bool special = find_token(&s->extra, t->content) != NULL;
            for (int k = 0; k < TOK_SPECIAL_COUNT; k++)
                special = special || (s->special[k].set && !s->special[k].is_default &&
                                      str_eq(s->special[k].token.content, t->content));
            if (special) {
                t->special = true;
                t->normalized = false;
            }
        }
    return MLTF_OK;
}

static mltf_status settings_read(tok_settings *s, const char *dir, const json *tokenizer_json,
                                 mltf_err *err)
{
    *s = (tok_settings){0};
    bool found;
    TRY(tok_read_json(&s->config, dir, "tokenizer_config.json", &found, err));
    if (found && !json_is(s->config.root, JSON_OBJECT))
        return mltf_fail(err, MLTF_CORRUPT_FILE, "tokenizer_config.json is not an object");
    mltf_status st;
    s->cls = class_of(s->config.root, dir, err, &st);
    TRY(st);
    TRY(read_added_decoder(s, dir, tokenizer_json, err));
    return read_specials(s, err);
}

bool tok_settings_bool(const tok_settings *s, const char *key, bool fallback)
{
    return json_bool(json_get(s->config.root, key), fallback);
}

/* ---- what a class does to the stored tokenizer ---- */

static mltf_status add_one(tokenizer *tk, tok_added_token t, bool special, mltf_err *err)
{
    t.special = t.special || special;
    return tok_added_add(&tk->added, tk->model, &t, err);
}

static bool is_special_name(const tok_settings *s, mltf_str content)
{
    for (int i = 0; i < TOK_SPECIAL_COUNT; i++)
        if (s->special[i].set && str_eq(s->special[i].token.content, content)) return true;
    return find_token(&s->extra, content) != NULL;
}

static bool same(const tok_added_token *a, const tok_added_token *b)
{
    return a->single_word == b->single_word && a->lstrip == b->lstrip && a->rstrip == b->rstrip &&
           a->normalized == b->normalized && a->special == b->special;
}

static mltf_status settings_add_tokens(tokenizer *tk, tok_settings *s, mltf_err *err)
{
    tok_token_list todo = {0};
    mltf_status st = MLTF_OK;
    // those the stored tokenizer does not have, or not so
    if (s->decoder.n) qsort(s->decoder.v, s->decoder.n, sizeof *s->decoder.v, by_token_id);
    for (size_t i = 0; i < s->decoder.n && st == MLTF_OK; i++) {
        const tok_added_token *t = &s->decoder.v[i];
        const int32_t id = vocab_find(&tk->added.by_content, t->content.p, t->content.n);
        const tok_added_token *have = id >= 0 ? tok_added_by_id(&tk->added, id) : NULL;
        if (have && same(have, t)) continue;
        if (!push_token(&todo, *t)) st = mltf_fail_memory(err);
    }
    // special tokens: strings that are not there yet, and all that carry attributes
    for (int i = 0; i < TOK_SPECIAL_COUNT && st == MLTF_OK; i++) {
        const tok_special_value *v = &s->special[i];
        if (!v->set) continue;
        bool seen = false;
        for (int k = 0; k < i; k++)
            seen = seen ||
                   (s->special[k].set && str_eq(s->special[k].token.content, v->token.content));
        if (seen) continue;
        const bool listed =
            vocab_find(&tk->added.by_content, v->token.content.p, v->token.content.n) >= 0 ||
            find_token(&todo, v->token.content);
        if (v->plain && listed) continue;
        tok_added_token t = v->token;
        if (v->plain) t = (tok_added_token){.content = t.content, .special = true};
        if (!push_token(&todo, t)) st = mltf_fail_memory(err);
    }
    for (size_t i = 0; i < s->extra.n && st == MLTF_OK; i++) {
        tok_added_token t = s->extra.v[i];
        const bool plain = t.id == -2;
        if (plain && (vocab_find(&tk->added.by_content, t.content.p, t.content.n) >= 0 ||
                      find_token(&todo, t.content))) {
            // in the list and in added_tokens_decoder: special, whatever the decoder says
            const tok_added_token *known = s->legacy ? NULL : find_token(&s->decoder, t.content);
            if (known && !known->special && !find_token(&todo, t.content)) {
                t = *known;
                t.special = true;
                if (!push_token(&todo, t)) st = mltf_fail_memory(err);
            }
            continue;
        }
        if (plain) t = (tok_added_token){.content = t.content, .special = true};
        if (!push_token(&todo, t)) st = mltf_fail_memory(err);
    }
    for (size_t i = 0; i < todo.n && st == MLTF_OK; i++)
        st = add_one(tk, todo.v[i], is_special_name(s, todo.v[i].content), err);
    free(todo.v);
    return st;
}

static mltf_status class_bos_eos(tokenizer *tk, bool bos, bool eos, mltf_err *err)
{
    if (bos && !tk->special[TOK_BOS].p)
        return mltf_fail(err, MLTF_CORRUPT_FILE, "add_bos_token = True but bos_token = None");
    if (eos && !tk->special[TOK_EOS].p)
        return mltf_fail(err, MLTF_CORRUPT_FILE, "add_eos_token = True but eos_token = None");
    return tok_set_template(tk, &tk->special[TOK_BOS], bos, &tk->special[TOK_EOS], eos, true, err);
}

static mltf_status class_changes(tokenizer *tk, const tok_settings *s, mltf_err *err)
{
    const tok_class *c = s->cls;
    const json *config = s->config.root;
    const json *prefix = json_get(config, "add_prefix_space");
    const bool prefix_space = json_bool(prefix, c && (c->flags & TOK_CLASS_PREFIX_SPACE));
    if (!prefix || prefix->type == JSON_BOOL) tok_pretok_set_prefix_space(tk->pretok, prefix_space);
    if (!c) return MLTF_OK;
    tk->no_split_words = (c->flags & TOK_CLASS_NEEDS_PREFIX_SPACE) && !prefix_space;
    if (c->flags & TOK_CLASS_BERT_NORMALIZER) {
        const json *accents = json_get(config, "strip_accents");
        tok_normalizer_set_bert(tk->normalizer, tok_settings_bool(s, "do_lower_case", true),
                                json_is(accents, JSON_BOOL) ? accents->b : -1,
                                tok_settings_bool(s, "tokenize_chinese_chars", true));
    }
    if (c->flags & TOK_CLASS_ROBERTA_POST)
        tok_post_set_trim(tk->post, prefix_space, tok_settings_bool(s, "trim_offsets", true));
    if (c->flags & TOK_CLASS_BOS_EOS_POST) {
        const bool bos = tok_settings_bool(s, "add_bos_token", (c->flags & TOK_CLASS_ADD_BOS) != 0);
        const bool eos = tok_settings_bool(s, "add_eos_token", (c->flags & TOK_CLASS_ADD_EOS) != 0);
        TRY(class_bos_eos(tk, bos, eos, err));
    }
    return tok_class_language(tk, s, err);
}

static size_t max_length_of(const json *config)
{
    const json *v = json_get(config, "model_max_length");
    if (!v || v->type == JSON_NULL) v = json_get(config, "max_len");
    if (!json_is_number(v) || v->type == JSON_BIGINT) return SIZE_MAX;
    const double d = json_double(v, INFINITY);
    return d >= 0 && d < 1e15 ? (size_t)d : SIZE_MAX;
}

static mltf_status add_template(tokenizer *tk, mltf_str name, mltf_str source, mltf_err *err)
{
    for (size_t i = 0; i < tk->n_templates; i++)
        if (str_eq(tk->template_names[i], name)) {
            tk->templates[i] = source;
            return MLTF_OK;
        }
    mltf_str *names = arena_alloc_small(&tk->arena, (tk->n_templates + 1) * sizeof *names);
    mltf_str *texts = arena_alloc_small(&tk->arena, (tk->n_templates + 1) * sizeof *texts);
    if (!names || !texts) return mltf_fail_memory(err);
    if (tk->n_templates) {
        memcpy(names, tk->template_names, tk->n_templates * sizeof *names);
        memcpy(texts, tk->templates, tk->n_templates * sizeof *texts);
    }
    names[tk->n_templates] = arena_str(&tk->arena, name);
    texts[tk->n_templates] = arena_str(&tk->arena, source);
    tk->template_names = names;
    tk->templates = texts;
    tk->n_templates++;
    return tk->arena.failed ? mltf_fail_memory(err) : MLTF_OK;
}

/* Files beside the tokenizer go before what the configuration says. */
static mltf_status read_templates(tokenizer *tk, const char *dir, const json *config, mltf_err *err)
{
    mltf_str text;
    TRY(tok_read_text(&text, &tk->arena, dir, "chat_template.jinja", err));
    if (text.p) TRY(add_template(tk, STR("default"), text, err));
    char *folder = path_join(dir, "additional_chat_templates");
    if (!folder) return mltf_fail_memory(err);
    mltf_status st = MLTF_OK;
    if (dir_exists(folder)) {
        dir_list names = {0};
        st = dir_read(&names, folder, err);
        for (size_t i = 0; st == MLTF_OK && i < names.n; i++) {
            mltf_str name = str_from(names.names[i]);
            if (!str_ends(name, ".jinja")) continue;
            st = tok_read_text(&text, &tk->arena, folder, names.names[i], err);
            name.n -= 6;
            if (st == MLTF_OK && text.p) st = add_template(tk, name, text, err);
        }
        dir_list_free(&names);
    }
    free(folder);
    if (st != MLTF_OK || tk->n_templates) return st;
    const json *t = json_get(config, "chat_template");
    if (json_is(t, JSON_STRING)) return add_template(tk, STR("default"), t->s, err);
    for (size_t i = 0; json_is(t, JSON_ARRAY) && i < t->a.n; i++) {
        const json *name = json_get(&t->a.items[i], "name"),
                   *source = json_get(&t->a.items[i], "template");
        if (json_is(name, JSON_STRING) && json_is(source, JSON_STRING))
            TRY(add_template(tk, name->s, source->s, err));
    }
    for (size_t i = 0; json_is(t, JSON_OBJECT) && i < t->o.n; i++)
        if (json_is(&t->o.members[i].value, JSON_STRING))
            TRY(add_template(tk, t->o.members[i].key, t->o.members[i].value.s, err));
    return MLTF_OK;
}

mltf_status tok_settings_apply(tokenizer *tk, tok_settings *s, const char *dir, bool fast,
                               mltf_err *err)
{
    const json *config = s->config.root;
    const unsigned flags = s->cls ? s->cls->flags : TOK_CLASS_TYPE_IDS;
    const mltf_str name =
        json_string(json_get(config, "tokenizer_class"), STR("PreTrainedTokenizerFast"));
    if (s->cls)
        tk->class_name = arena_printf(&tk->arena, "%s%s", s->cls->name,
                                      fast && (flags & TOK_CLASS_FAST) ? "Fast" : "");
    else
        tk->class_name = arena_printf(
            &tk->arena, STR_FMT,
            STR_ARG(str_is(name, "TokenizersBackend") ? STR("PreTrainedTokenizerFast") : name));
    for (int i = 0; i < TOK_SPECIAL_COUNT; i++)
        tk->special[i] = s->special[i].set ? arena_str(&tk->arena, s->special[i].token.content)
                                           : (mltf_str){NULL, 0};
    if (!tk->special[TOK_PAD].p && tk->padding.on && !json_get(config, "pad_token"))
        tk->special[TOK_PAD] = tk->padding.token;
    tk->model_max_length = max_length_of(config);
    tk->pad_type_id =
        s->cls && (tok_is_class(s, "XLNetTokenizer") || tok_is_class(s, "CpmTokenizer")) ? 3 : 0;
    tk->pad_left = (flags & TOK_CLASS_PAD_LEFT) != 0;
    const mltf_str pad = json_string(json_get(config, "padding_side"), (mltf_str){NULL, 0});
    const mltf_str cut = json_string(json_get(config, "truncation_side"), (mltf_str){NULL, 0});
    if (pad.p)
        tk->pad_left = str_is(pad, "left");
    else if (tk->padding.on)
        tk->pad_left = tk->padding.left;
    tk->truncate_left = cut.p ? str_is(cut, "left") : tk->truncation.on && tk->truncation.left;
    tk->adds_type_ids = (flags & TOK_CLASS_TYPE_IDS) != 0;
    const json *inputs = json_get(config, "model_input_names");
    if (json_is(inputs, JSON_ARRAY)) {
        tk->adds_type_ids = false;
        for (size_t i = 0; i < inputs->a.n; i++)
            if (str_is(json_string(&inputs->a.items[i], STR("")), "token_type_ids"))
                tk->adds_type_ids = true;
    }
    tk->clean_up = tok_settings_bool(s, "clean_up_tokenization_spaces", false);
    tk->added.encode_special = tok_settings_bool(s, "split_special_tokens", false);
    if (tok_is_class(s, "CLIPTokenizer")) tk->text_after = TOK_TEXT_CLIP;
    if (tok_is_class(s, "WhisperTokenizer")) tk->text_after = TOK_TEXT_WHISPER;
    if (tk->arena.failed) return mltf_fail_memory(err);
    TRY(read_templates(tk, dir, config, err));
    if (fast) {
        TRY(tok_class_extra(tk, s, err));
        TRY(settings_add_tokens(tk, s, err));
        if (s->make_post) TRY(s->make_post(tk, s, err));
        TRY(class_changes(tk, s, err));
    }
    tk->config = s->config;
    s->config = (json_doc)JSON_DOC_INIT;
    return MLTF_OK;
}

/* ---- loading ---- */

static mltf_status load(tokenizer *tk, const char *dir, mltf_err *err)
{
    json_doc doc = JSON_DOC_INIT;
    tok_settings s = {0};
    bool found;
    mltf_status st = tok_read_json(&doc, dir, "tokenizer.json", &found, err);
    if (st == MLTF_OK) st = settings_read(&s, dir, doc.root, err);
    const bool slow_only = s.cls && !(s.cls->flags & TOK_CLASS_FAST);
    if (st == MLTF_OK && found && !slow_only) {
        st = tokenizer_parse(tk, doc.root, err);
        if (st == MLTF_OK) st = tok_settings_apply(tk, &s, dir, true, err);
    } else if (st == MLTF_OK) {
        st = tok_convert(tk, &s, dir, found ? doc.root : NULL, err);
    }
    if (st == MLTF_OK) st = tok_finish(tk, err);
    json_doc_release(&doc);
    settings_release(&s);
    return st;
}

mltf_status tokenizer_load(tokenizer **out, const char *dir, mltf_err *err)
{
    *out = NULL;
    tokenizer *tk = tok_alloc(err);
    if (!tk) return MLTF_NO_MEMORY;
    const mltf_status st = load(tk, dir, err);
    if (st != MLTF_OK) {
        mltf_err_wrap(err, "could not load the tokenizer in \"%s\"", dir);
        tokenizer_free(tk);
        return st;
    }
    *out = tk;
    return MLTF_OK;
}
