/* The tokenizer classes of transformers: what they do when nothing is said. */
#ifndef MLTF_TOKENIZERS_TOK_CLASSES_H
#define MLTF_TOKENIZERS_TOK_CLASSES_H

#include <stddef.h>

enum {
    TOK_CLASS_FAST = 1 << 0, /* there is a class of that name with "Fast" behind it */
    TOK_CLASS_SLOW = 1 << 1,
    TOK_CLASS_PAD_LEFT = 1 << 2,
    TOK_CLASS_TYPE_IDS = 1 << 3,     /* token_type_ids among the model's inputs */
    TOK_CLASS_PREFIX_SPACE = 1 << 4, /* add_prefix_space=True */
    TOK_CLASS_ADD_BOS = 1 << 5,
    TOK_CLASS_ADD_EOS = 1 << 6,
    TOK_CLASS_BOS_EOS_POST =
        1 << 7, /* makes its post-processor from add_bos_token and add_eos_token */
    TOK_CLASS_NEEDS_PREFIX_SPACE = 1 << 8, /* refuses split words without add_prefix_space */
    TOK_CLASS_BERT_NORMALIZER =
        1 << 9, /* do_lower_case and its like override the stored normalizer */
    TOK_CLASS_ROBERTA_POST =
        1 << 10, /* add_prefix_space, trim_offsets override the stored post-processor */
};

typedef struct tok_class {
    const char *name; /* without "Fast" */
    unsigned flags;
    const char *special[7]; /* in the order of tok_special; NULL: none */
} tok_class;

typedef struct tok_model_type {
    const char *model_type, *class_name;
} tok_model_type;

extern const tok_class tok_classes[];
extern const size_t tok_n_classes;
extern const tok_model_type tok_model_types[];
extern const size_t tok_n_model_types;

/* Language codes, each list ended by NULL. */
extern const char *const tok_codes_mbart[],
    *const tok_codes_mbart50[], *const tok_codes_nllb[], *const tok_codes_m2m100[],
                                                             *const tok_codes_wmt21[];

#endif
