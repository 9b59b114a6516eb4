/* Token strings and their ids, both ways: open addressing over one block of bytes. */
#ifndef MLTF_TOKENIZERS_TOK_VOCAB_H
#define MLTF_TOKENIZERS_TOK_VOCAB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "base/str.h"

typedef struct tok_vocab {
    char *bytes;
    size_t bytes_n, bytes_cap;
    uint32_t *at; /* [n + 1] where token i begins; i counts insertions */
    int32_t *ids; /* [n] */
    size_t n, cap;
    uint64_t *slots; /* hash's upper half | i + 1 */
    size_t mask;     /* slots - 1; 0 before the first insertion */
    uint32_t *by_id; /* id → i + 1, or sorted pairs where ids are sparse */
    size_t by_id_n;
    bool sparse;
    int32_t max_id;
    size_t live; /* distinct tokens */
} tok_vocab;

/* Room for that many tokens; not needed, only faster. */
bool vocab_reserve(tok_vocab *v, size_t n, size_t bytes);
/* A token that is there already gets the new id. */
bool vocab_put(tok_vocab *v, mltf_str token, int32_t id);
int32_t vocab_find(const tok_vocab *v, const char *p, size_t n); /* -1: none */
/* After the last vocab_put(), before vocab_token(). */
bool vocab_index(tok_vocab *v);
/* After vocab_index(): an id whose token went to a later id shows that token too, as in a list of tokens. */
void vocab_show_again(tok_vocab *v, mltf_str token, int32_t id);
mltf_str vocab_token(const tok_vocab *v, int32_t id); /* p NULL: none */
static inline mltf_str vocab_at(const tok_vocab *v, size_t i)
{
    return (mltf_str){v->bytes + v->at[i], v->at[i + 1] - v->at[i]};
}
void vocab_release(tok_vocab *v);

#endif
