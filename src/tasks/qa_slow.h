/* Question answering with tokenizers that know no offsets (squad_convert_example_to_features of transformers 4.57.6,
 * data/processors/squad.py): the context is cut into words at blanks, each word into tokens, and an answer is whole
 * words. Pieces of a long context overlap by what doc_stride leaves. */
#ifndef MLTF_TASKS_QA_SLOW_H
#define MLTF_TASKS_QA_SLOW_H

#include "tasks/task.h"

typedef struct qa_context {
    mltf_str text;
    /* [n_words] bytes of text; end: where the next word begins, or the text's end */
    tok_span *words;
    size_t n_words;
    int32_t *ids;      /* [n] tokens of all words */
    uint32_t *word_of; /* [n] */
    size_t n;
} qa_context;

/* What one piece of a context is: which of its tokens may be in an answer, and their words. */
typedef struct qa_piece {
    const qa_context *context;
    bool *allowed; /* [the piece's tokens] */
    size_t first_key, n_keys,
        first_token; /* token first_key + i is context token first_token + i; with padding on
                                            * the left the count begins at the padding, as there */
} qa_piece;

typedef struct qa_slow_options {
    size_t max_seq_len, doc_stride, max_question_len;
} qa_slow_options;

/* The pieces of one example, appended to seqs; *pieces in the call's arena. PREDICT_FAILED in Python's words. */
mltf_status qa_slow_encode(const task_call *c, const qa_slow_options *o, mltf_str question,
                           mltf_str context, task_seqs *seqs, qa_piece **pieces, size_t *n_pieces,
                           mltf_err *err);

/* The answer from token s to token e: *text its words with a blank between, *start the first byte, *last the byte
 * where the last character before the next word begins. A token that has no word is a KeyError. */
mltf_status qa_slow_answer(const task_call *c, const qa_piece *p, size_t s, size_t e,
                           mltf_str *text, uint32_t *start, uint32_t *last, mltf_err *err);

#endif
