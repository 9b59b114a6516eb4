/* What is Whisper's own: the tokens before a text, and which tokens decoding leaves out. */
#include "tokenizers/tok_convert.h"

/* In the order of their tokens, which follow <|startoftranscript|>. */
static const struct {
    const char *code, *name;
} languages[] = {
    // clang-format off
    {"en", "english"},
    {"zh", "chinese"},
    {"de", "german"},
    {"es", "spanish"},
    {"ru", "russian"},
    {"ko", "korean"},
    {"fr", "french"},
    {"ja", "japanese"},
    {"pt", "portuguese"},
    {"tr", "turkish"},
    {"pl", "polish"},
    {"ca", "catalan"},
    {"nl", "dutch"},
    {"ar", "arabic"},
    {"sv", "swedish"},
    {"it", "italian"},
    {"id", "indonesian"},
    {"hi", "hindi"},
    {"fi", "finnish"},
    {"vi", "vietnamese"},
    {"he", "hebrew"},
    {"uk", "ukrainian"},
    {"el", "greek"},
    {"ms", "malay"},
    {"cs", "czech"},
    {"ro", "romanian"},
    {"da", "danish"},
    {"hu", "hungarian"},
    {"ta", "tamil"},
    {"no", "norwegian"},
    {"th", "thai"},
    {"ur", "urdu"},
    {"hr", "croatian"},
    {"bg", "bulgarian"},
    {"lt", "lithuanian"},
    {"la", "latin"},
    {"mi", "maori"},
    {"ml", "malayalam"},
    {"cy", "welsh"},
    {"sk", "slovak"},
    {"te", "telugu"},
    {"fa", "persian"},
    {"lv", "latvian"},
    {"bn", "bengali"},
    {"sr", "serbian"},
    {"az", "azerbaijani"},
    {"sl", "slovenian"},
    {"kn", "kannada"},
    {"et", "estonian"},
    {"mk", "macedonian"},
    {"br", "breton"},
    {"eu", "basque"},
    {"is", "icelandic"},
    {"hy", "armenian"},
    {"ne", "nepali"},
    {"mn", "mongolian"},
    {"bs", "bosnian"},
    {"kk", "kazakh"},
    {"sq", "albanian"},
    {"sw", "swahili"},
    {"gl", "galician"},
    {"mr", "marathi"},
    {"pa", "punjabi"},
    {"si", "sinhala"},
    {"km", "khmer"},
    {"sn", "shona"},
    {"yo", "yoruba"},
    {"so", "somali"},
    {"af", "afrikaans"},
    {"oc", "occitan"},
    {"ka", "georgian"},
    {"be", "belarusian"},
    {"tg", "tajik"},
    {"sd", "sindhi"},
    {"gu", "gujarati"},
    {"am", "amharic"},
    {"yi", "yiddish"},
    {"lo", "lao"},
    {"uz", "uzbek"},
    {"fo", "faroese"},
    {"ht", "haitian creole"},
    {"ps", "pashto"},
    {"tk", "turkmen"},
    {"nn", "nynorsk"},
    {"mt", "maltese"},
    {"sa", "sanskrit"},
    {"lb", "luxembourgish"},
    {"my", "myanmar"},
    {"bo", "tibetan"},
    {"tl", "tagalog"},
    {"mg", "malagasy"},
    {"as", "assamese"},
    {"tt", "tatar"},
    {"haw", "hawaiian"},
    {"ln", "lingala"},
    {"ha", "hausa"},
    {"ba", "bashkir"},
    {"jw", "javanese"},
    {"su", "sundanese"},
    {"yue", "cantonese"},
    // clang-format on
};
static const struct {
    const char *code, *name;
} other_names[] = {
    // clang-format off
    {"my", "burmese"},
    {"ca", "valencian"},
    {"nl", "flemish"},
    {"ht", "haitian"},
    {"lb", "letzeburgesch"},
    {"ps", "pushto"},
    {"pa", "panjabi"},
    {"ro", "moldavian"},
    {"ro", "moldovan"},
    {"si", "sinhalese"},
    {"es", "castilian"},
    {"zh", "mandarin"},
    // clang-format on
};
#define COUNT(a) (sizeof(a) / sizeof *(a))

/* The place of a language given by code or name in any case; COUNT(languages) if unknown. */
static size_t language_index(mltf_str given)
{
    char low[32];
    if (given.n >= sizeof low) return COUNT(languages);
    for (size_t i = 0; i < given.n; i++)
        low[i] = (char)(given.p[i] >= 'A' && given.p[i] <= 'Z' ? given.p[i] + 32 : given.p[i]);
    mltf_str want = {low, given.n};
    for (size_t i = 0; i < COUNT(other_names); i++)
        if (str_is(want, other_names[i].name)) want = str_from(other_names[i].code);
    for (size_t i = 0; i < COUNT(languages); i++)
        if (str_is(want, languages[i].code) || str_is(want, languages[i].name)) return i;
    return COUNT(languages);
}

static void put_token(mltf_buf *b, const tokenizer *tk, mltf_str token)
{
    if (!token.p || tokenizer_token_to_id(tk, token) < 0) return;
    buf_put_str(b, token);
    buf_puts(b, ":0 ");
}

/* <|startoftranscript|> [language] [task] [<|notimestamps|>] ... <|endoftext|> */
mltf_status tok_post_whisper(tokenizer *tk, tok_settings *s, mltf_err *err)
{
    const json *lang = json_get(s->config.root, "language"),
               *task = json_get(s->config.root, "task");
    const mltf_str start = STR("<|startoftranscript|>");
    mltf_buf single = MLTF_BUF_INIT, pair = MLTF_BUF_INIT;
    put_token(&single, tk, start);
    mltf_status st = MLTF_OK;
    if (json_is(lang, JSON_STRING)) {
        const size_t i = language_index(lang->s);
        if (i == COUNT(languages))
            st = mltf_fail(err, MLTF_INVALID_INPUT,
                           "language \"" STR_FMT
                           "\" of tokenizer_config.json is not one of Whisper's",
                           STR_ARG(lang->s));
        else
            put_token(&single, tk,
                      tokenizer_id_to_token(tk, tokenizer_token_to_id(tk, start) + 1 + (int32_t)i));
    }
    if (json_is(task, JSON_STRING) && st == MLTF_OK) {
        if (str_is(task->s, "translate"))
            put_token(&single, tk, STR("<|translate|>"));
        else if (str_is(task->s, "transcribe"))
            put_token(&single, tk, STR("<|transcribe|>"));
        else
            st = mltf_fail(err, MLTF_INVALID_INPUT,
                           "task \"" STR_FMT "\" of tokenizer_config.json is neither "
                           "\"transcribe\" nor \"translate\"",
                           STR_ARG(task->s));
    }
    if (!tok_settings_bool(s, "predict_timestamps", false))
        put_token(&single, tk, STR("<|notimestamps|>"));
    buf_put_str(&pair, buf_str(&single));
    buf_puts(&single, "$A:0 %e:0");
    buf_puts(&pair, "$A:0 $B:1 %e:1");
    if (st == MLTF_OK) st = buf_status(&single, err);
    if (st == MLTF_OK) st = buf_status(&pair, err);
    if (st == MLTF_OK) st = tok_set_template_words(tk, single.p, pair.p, err);
    mltf_buf_release(&single);
    mltf_buf_release(&pair);
    return st;
}

void tok_whisper_strip_prompt(const tokenizer *tk, const int32_t **ids, size_t *n)
{
    const int32_t prompt = tokenizer_token_to_id(tk, STR("<|startofprev|>")),
                  start = tokenizer_token_to_id(tk, STR("<|startoftranscript|>"));
    if (!*n || prompt < 0 || (*ids)[0] != prompt) return;
    while (*n && (*ids)[0] != start) ++*ids, --*n;
}
