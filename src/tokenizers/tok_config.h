/* What the files around a tokenizer say, before it is one. */
#ifndef MLTF_TOKENIZERS_TOK_CONFIG_H
#define MLTF_TOKENIZERS_TOK_CONFIG_H

#include "tokenizers/tok_classes.h"
#include "tokenizers/tok_internal.h"

typedef struct tok_token_list {
    tok_added_token *v;
    size_t n, cap;
} tok_token_list;

typedef struct tok_special_value {
    tok_added_token token;
    bool set, plain, is_default; /* plain: a string without attributes */
    bool was_string;
} tok_special_value;

typedef struct tok_settings tok_settings;
struct tok_settings {
    json_doc config, map,
        added;              /* tokenizer_config.json, special_tokens_map.json, added_tokens.json */
    const tok_class *cls;   /* NULL: unknown, or none named */
    bool legacy;            /* no added_tokens_decoder: the other files count */
    tok_token_list decoder; /* added_tokens_decoder; ids set */
    tok_special_value special[TOK_SPECIAL_COUNT];
    tok_token_list extra; /* additional_special_tokens */
    /* Converted checkpoints: the post-processor, once all tokens have ids; or NULL. */
    mltf_status (*make_post)(tokenizer *tk, tok_settings *s, mltf_err *err);
};

bool tok_settings_bool(const tok_settings *s, const char *key, bool fallback);
bool tok_is_class(const tok_settings *s, const char *name); /* or one that behaves as it does */
/* Into tk, whose parts are there; `fast`: with what PreTrainedTokenizerFast does. Takes s->config. */
mltf_status tok_settings_apply(tokenizer *tk, tok_settings *s, const char *dir, bool fast,
                               mltf_err *err);
const tok_class *tok_class_find(mltf_str name);

mltf_status tok_read_json(json_doc *doc, const char *dir, const char *name, bool *found,
                          mltf_err *err);
mltf_status tok_read_text(mltf_str *out, mltf_arena *arena, const char *dir, const char *name,
                          mltf_err *err); /* p NULL: no file */
bool tok_has_file(const char *dir, const char *name);

/* additional_special_tokens that a class has of its own. */
mltf_status tok_class_extra(tokenizer *tk, tok_settings *s, mltf_err *err);
/* Language codes and other things that belong to one class. */
mltf_status tok_class_language(tokenizer *tk, const tok_settings *s, mltf_err *err);

/* A checkpoint without tokenizer.json (or whose class has no fast form): convert it in memory. */
mltf_status tok_convert(tokenizer *tk, tok_settings *s, const char *dir, const json *tokenizer_json,
                        mltf_err *err);

#endif
