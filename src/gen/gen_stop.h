/* Stop strings: does the text end where the newest token made a stop string complete?
 *
 * As in transformers, the text is that of the tokens one by one, special ones included and without clean-up (so
 * "2" made of the byte <0x32> is seen even where the bytes around it are no character); a stop string counts when
 * its end lies in the newest token, wherever it began, the prompt included; what the token has beyond it does
 * not matter. */
#ifndef MLTF_GEN_GEN_STOP_H
#define MLTF_GEN_GEN_STOP_H

#include "gen/gen_config.h"
#include "gen/token_bytes.h"

typedef struct gen_stop {
    const tokenizer *tk;
    gen_strings strings;
    size_t longest; /* bytes */
    gen_vocab_form form;
    mltf_buf before, after;
} gen_stop;

/* INVALID_INPUT in transformers' words when there are strings but no tokenizer. */
mltf_status gen_stop_init(gen_stop *s, const gen_strings *strings, const tokenizer *tk,
                          mltf_err *err);
void gen_stop_release(gen_stop *s);
/* *which: the string that ends in ids[n-1], or SIZE_MAX. */
mltf_status gen_stop_check(gen_stop *s, const int32_t *ids, size_t n, size_t *which, mltf_err *err);

#endif
