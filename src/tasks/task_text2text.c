/* text2text-generation, summarization, translation (and translation_XX_to_YY): encoder-decoders.
 *
 * Mirrors Text2TextGenerationPipeline and its two subclasses (transformers 4.57.6,
 * pipelines/text2text_generation.py).
 * Input     text, or list of texts. The model's prefix (config.json's, or task_specific_params') goes in front.
 * Keywords  return_tensors, return_text, clean_up_tokenization_spaces (false), truncation, stop_sequence (its
 *           first token ends a text); translation: src_lang, tgt_lang. All others are arguments of generate().
 *           Defaults: max_new_tokens 256, num_beams 4.
 * Output    one text: [{"K_text": text}, …], num_return_sequences of them; a list of texts: one object a text
 *           where each has one, else one list a text. K is generated, summary or translation; with
 *           return_tensors [{"K_token_ids": [id, …]}].
 *
 * Easy to get wrong: mBART, M2M100, NLLB and PLBart write the source language into the input (before or behind
 * the text, by class) and force the target language as first token; all other models ignore both keywords. */
#include "tasks/task.h"

#include <stdlib.h>

typedef struct text2text {
    const task_call *c;
    const char *name; /* "generated", "summary", "translation" */
    bool tensors, clean_up;
    task_tok_args tok;
    json *generate;
    gen_config cfg;
    int32_t before[2], behind[2]; /* language and end tokens around the text */
    size_t n_before, n_behind;
    bool by_language;
    json *outputs;
} text2text;

/* ---- languages ---- */

/* How a tokenizer class writes languages. `token` makes the token of a code; `source` is where its own goes. */
typedef struct language_form {
    const char *tokenizer_class;
    const char *token; /* "%s" or "__%s__" */
    enum { LANGUAGE_FIRST, EOS_THEN_LANGUAGE, LANGUAGE_THEN_EOS } source;
} language_form;

static const language_form language_forms[] = {
    {"MBartTokenizer", "", EOS_THEN_LANGUAGE},    {"MBart50Tokenizer", "", LANGUAGE_FIRST},
    {"NllbTokenizer", "", LANGUAGE_FIRST},        {"M2M100Tokenizer", "__", LANGUAGE_FIRST},
    {"PLBartTokenizer", "__", EOS_THEN_LANGUAGE},
};

static const language_form *find_form(const tokenizer *tk)
{
    const mltf_str cls = str_from(tokenizer_class(tk));
    for (size_t i = 0; i < sizeof language_forms / sizeof *language_forms; i++) {
        const size_t n = strlen(language_forms[i].tokenizer_class);
        if (str_starts(cls, language_forms[i].tokenizer_class) &&
            (cls.n == n || str_ends(cls, "Fast")))
            return &language_forms[i];
    }
    return NULL;
}

/* "de" -> id of "__de__" (M2M100); "de_DE" -> id of itself (mBART, NLLB). */
static int32_t language_id(const task_call *c, const language_form *f, mltf_str code)
{
    char *name = arena_printf(c->arena, "%s" STR_FMT "%s", f->token, STR_ARG(code), f->token);
    int32_t id = name ? tokenizer_token_to_id(c->p->tk, str_from(name)) : -1;
    if (id < 0) id = tokenizer_token_to_id(c->p->tk, code);
    return id;
}

static mltf_status set_languages(const task_call *c, text2text *t, mltf_err *err)
{
    mltf_str src = json_string(task_arg(c, "src_lang"), (mltf_str){0}),
             tgt = json_string(task_arg(c, "tgt_lang"), (mltf_str){0});
    const bool named = strncmp(c->p->task, "translation_", 12) == 0; // translation_XX_to_YY
    const char *xx = c->p->task + 12, *to_yy = named ? strstr(xx, "_to_") : NULL;
    if (to_yy && !src.p) src = (mltf_str){xx, (size_t)(to_yy - xx)};
    if (to_yy && !tgt.p) tgt = str_from(to_yy + 4);
    const language_form *f = find_form(c->p->tk);
    if (!f) return MLTF_OK;
    if (!src.p || !tgt.p)
        return mltf_fail(err, MLTF_PREDICT_FAILED,
                         "Translation requires a `src_lang` and a `tgt_lang` for this model");
    const int32_t from = language_id(c, f, src), to = language_id(c, f, tgt);
    const int32_t eos = tokenizer_special_id(c->p->tk, TOK_EOS);
    if (from < 0 || to < 0)
        return mltf_fail(err, MLTF_PREDICT_FAILED, "the tokenizer has no language \"" STR_FMT "\"",
                         STR_ARG(from < 0 ? src : tgt));
    t->by_language = true;
    // NLLB's first releases put the language behind the text
    const bool legacy = json_bool(json_get(tokenizer_config(c->p->tk), "legacy_behaviour"), false);
    if (f->source == LANGUAGE_FIRST && !legacy) {
        t->before[t->n_before++] = from;
        if (eos >= 0) t->behind[t->n_behind++] = eos;
    } else {
        if (eos >= 0) t->behind[t->n_behind++] = eos;
        t->behind[t->n_behind++] = from;
    }
    json_set(c->arena, t->generate, "forced_bos_token_id", json_new_int(c->arena, to));
    return MLTF_OK;
}

/* ---- arguments ---- */

static mltf_status read_stop_sequence(const task_call *c, text2text *t, mltf_err *err)
{
    const json *v = task_arg(c, "stop_sequence");
    if (!v || v->type == JSON_NULL) return MLTF_OK;
    if (!json_is(v, JSON_STRING))
        return mltf_fail(err, MLTF_PREDICT_FAILED, "stop_sequence must be a text, not %s",
                         json_type_name(v));
    const tok_options o = {.no_special_tokens = true};
    tok_encoding enc = TOK_ENCODING_INIT;
    mltf_status st = tokenizer_encode(c->p->tk, &enc, v->s, (mltf_str){0}, &o, err);
    if (!st && enc.n == 0) st = mltf_fail(err, MLTF_PREDICT_FAILED, "list index out of range");
    if (!st) json_set(c->arena, t->generate, "eos_token_id", json_new_int(c->arena, enc.ids[0]));
    tok_encoding_release(&enc);
    return st;
}

static mltf_status read_args(const task_call *c, text2text *t, mltf_err *err)
{
    static const char *const own[] = {
        "return_tensors", "return_text",   "return_type", "clean_up_tokenization_spaces",
        "truncation",     "stop_sequence", NULL};
    const bool translates = strcmp(t->name, "translation") == 0;
    t->generate = json_new_object(c->arena);
    for (size_t i = 0; c->kwargs && i < c->kwargs->o.n; i++) {
        const json_member *m = &c->kwargs->o.members[i];
        bool mine = translates && (str_is(m->key, "src_lang") || str_is(m->key, "tgt_lang"));
        for (size_t k = 0; own[k] && !mine; k++) mine = str_is(m->key, own[k]);
        if (!mine) json_add_str(c->arena, t->generate, m->key, &m->value);
    }
    t->tensors = json_bool(task_arg(c, "return_tensors"), false);
    const json *type = task_arg(c, "return_type");
    if (json_is(type, JSON_INT)) t->tensors = type->i == 0;
    t->clean_up = json_bool(task_arg(c, "clean_up_tokenization_spaces"), false);
    t->tok.truncation_given = true; // do_not_truncate unless told
    if (task_arg_given(c, "truncation"))
        TRY(task_tok_arg(c, &t->tok, STR("truncation"), task_arg(c, "truncation"), err));
    TRY(task_tok_args_finish(c, &t->tok, err));
    TRY(read_stop_sequence(c, t, err));
    if (translates) TRY(set_languages(c, t, err));
    if (c->arena->failed) return mltf_fail_memory(err);
    return task_gen_config(c, t->generate, &t->cfg, err);
}

/* ---- preprocess ---- */

/* The text's own tokens between those of its language. */
static mltf_status encode_with_language(const text2text *t, tok_encoding *enc, mltf_str text,
                                        mltf_err *err)
{
    tok_options o = t->tok.opts;
    const size_t around = t->n_before + t->n_behind;
    if (o.truncation != TOK_TRUNCATE_NONE) {
        const size_t max = o.max_length ? o.max_length : tokenizer_model_max_length(t->c->p->tk);
        if (max != SIZE_MAX) o.max_length = max > around ? max - around : 1;
    }
    o.no_special_tokens = true;
    tok_encoding plain = TOK_ENCODING_INIT;
    TRY(tokenizer_encode(t->c->p->tk, &plain, text, (mltf_str){0}, &o, err));
    int32_t *ids = malloc((plain.n + around) * sizeof *ids);
    if (!ids) {
        tok_encoding_release(&plain);
        return mltf_fail_memory(err);
    }
    size_t n = 0;
    for (size_t i = 0; i < t->n_before; i++) ids[n++] = t->before[i];
    if (plain.n) memcpy(ids + n, plain.ids, plain.n * sizeof *ids);
    n += plain.n;
    for (size_t i = 0; i < t->n_behind; i++) ids[n++] = t->behind[i];
    tok_encoding_release(&plain);
    tok_encoding_release(enc);
    *enc = (tok_encoding){.ids = ids, .n = n, .cap = n};
    return MLTF_OK;
}

static mltf_status encode_text(const text2text *t, tok_encoding *enc, const json *input,
                               mltf_err *err)
{
    if (!json_is(input, JSON_STRING))
        return mltf_fail(err, MLTF_PREDICT_FAILED,
                         " `args[0]`: %s have the wrong format. The should be either of type `str` "
                         "or type `list`",
                         task_repr(t->c, input));
    if (t->by_language) return encode_with_language(t, enc, input->s, err);
    mltf_buf text = MLTF_BUF_INIT;
    buf_put_str(&text, t->c->p->prefix);
    buf_put_str(&text, input->s);
    mltf_status st = buf_status(&text, err);
    if (!st)
        st = tokenizer_encode(t->c->p->tk, enc, text.p ? buf_str(&text) : STR(""), (mltf_str){0},
                              &t->tok.opts, err);
    mltf_buf_release(&text);
    return st;
}

/* ---- postprocess ---- */

static mltf_status add_records(void *user, const task_generated *r, mltf_err *err)
{
    text2text *t = user;
    mltf_arena *a = t->c->arena;
    json *records = json_new_array(a);
    char *text_key = arena_printf(a, "%s_text", t->name),
         *ids_key = arena_printf(a, "%s_token_ids", t->name);
    if (!text_key || !ids_key) return mltf_fail_memory(err);
    for (size_t i = 0; i < r->n; i++) {
        const gen_sequence *s = &r->seqs[i];
        json *record = json_new_object(a);
        if (t->tensors) {
            json *ids = json_new_array(a);
            for (size_t k = 0; k < r->width; k++)
                json_push(a, ids, json_new_int(a, k < s->n ? s->ids[k] : r->fill));
            json_set(a, record, ids_key, ids);
        } else {
            mltf_buf text = MLTF_BUF_INIT;
            const mltf_status st =
                tokenizer_decode(t->c->p->tk, &text, s->ids, s->n, true, t->clean_up, err);
            if (!st)
                json_set(a, record, text_key,
                         json_new_string(a, text.p ? buf_str(&text) : STR("")));
            mltf_buf_release(&text);
            TRY(st);
        }
        json_push(a, records, record);
    }
    if (a->failed) return mltf_fail_memory(err);
    t->outputs->a.items[r->prompt] = *records;
    return MLTF_OK;
}

static mltf_status call_as(const task_call *c, const char *name, json **out, mltf_err *err)
{
    text2text t = {.c = c, .name = name, .outputs = json_new_array(c->arena)};
    TRY(read_args(c, &t, err));
    const bool many = json_is(c->input, JSON_ARRAY);
    const size_t n = many ? c->input->a.n : 1;
    task_seqs seqs = {0};
    mltf_status st = MLTF_OK;
    for (size_t i = 0; i < n && !st; i++) {
        tok_encoding *enc = task_seqs_add(&seqs);
        st = enc ? encode_text(&t, enc, many ? json_at(c->input, i) : c->input, err)
                 : mltf_fail_memory(err);
        json_push(c->arena, t.outputs, json_new_null(c->arena));
    }
    if (!st && c->arena->failed) st = mltf_fail_memory(err);
    if (!st) st = task_generate(c, &t.cfg, &seqs, NULL, NULL, add_records, &t, err);
    task_seqs_release(&seqs);
    if (st) return st;
    bool single = many; // each text has one record: the lists of one are opened
    for (size_t i = 0; i < n && single; i++) single = json_len(&t.outputs->a.items[i]) == 1;
    for (size_t i = 0; i < n && single; i++)
        t.outputs->a.items[i] = t.outputs->a.items[i].a.items[0];
    *out = many ? t.outputs : &t.outputs->a.items[0];
    return MLTF_OK;
}

static mltf_status call_generated(const task_call *c, json **out, mltf_err *err)
{
    return call_as(c, "generated", out, err);
}
static mltf_status call_summary(const task_call *c, json **out, mltf_err *err)
{
    return call_as(c, "summary", out, err);
}
static mltf_status call_translation(const task_call *c, json **out, mltf_err *err)
{
    return call_as(c, "translation", out, err);
}

static const char suffix[] = "ForConditionalGeneration";
static const char *const also[] = {"MTModel", "EncoderDecoderModel", NULL}; // marian
static const char defaults[] = "{\"max_new_tokens\": 256, \"num_beams\": 4}";
const task_def task_text2text_generation = {
    .info = {"text2text-generation", "Text2TextGenerationPipeline", NULL, "AutoModelForSeq2SeqLM",
             true},
    .class_suffix = suffix,
    .class_also = also,
    .gen_defaults = defaults,
    .call = call_generated,
};
const task_def task_summarization = {
    .info = {"summarization", "SummarizationPipeline", NULL, "AutoModelForSeq2SeqLM", true},
    .class_suffix = suffix,
    .class_also = also,
    .gen_defaults = defaults,
    .call = call_summary,
};
const task_def task_translation = {
    .info = {"translation", "TranslationPipeline", NULL, "AutoModelForSeq2SeqLM", true},
    .class_suffix = suffix,
    .class_also = also,
    .gen_defaults = defaults,
    .call = call_translation,
};
