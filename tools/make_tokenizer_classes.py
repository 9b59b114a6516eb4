#!/usr/bin/env python3
"""Writes src/tokenizers/tok_classes.c: the tokenizer classes of transformers 4.57 and the defaults in their signatures.

    python tools/make_tokenizer_classes.py > src/tokenizers/tok_classes.c
"""
import inspect
import json
import sys

import transformers
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES, tokenizer_class_from_name

assert transformers.__version__.startswith("4.57.")
SPECIALS = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"]


def known(name):
    try:
        c = tokenizer_class_from_name(name)
        return c if inspect.isclass(c) and hasattr(c, "vocab_files_names") else None
    except Exception:
        return None


names = {}
for pair in TOKENIZER_MAPPING_NAMES.values():
    for n in pair:
        if n:
            names[n[:-4] if n.endswith("Fast") else n] = 1
names["PreTrainedTokenizer"] = 1


def text(v):
    if v is None:
        return "NULL"
    return '"%s"' % "".join(c if " " <= c < "\x7f" and c not in "\"\\" else "".join("\\%03o" % b for b in c.encode()) for c in str(v))


print("/* Made by tools/make_tokenizer_classes.py from transformers %s. Do not edit. */" % transformers.__version__)
print("// clang-format off\n#include \"tokenizers/tok_classes.h\"\n")
print("const tok_class tok_classes[] = {")
n = 0
for name in sorted(names):
    fast, slow = known(name + "Fast"), known(name)
    cls = fast or slow
    if cls is None:
        continue
    sig, found = {}, set()
    for c in cls.__mro__:
        if "__init__" not in c.__dict__:
            continue
        for k, p in inspect.signature(c.__init__).parameters.items():
            if p.default is not inspect.Parameter.empty and k not in sig:
                sig[k] = p.default
    f = []
    if fast:
        f.append("TOK_CLASS_FAST")
    if slow:
        f.append("TOK_CLASS_SLOW")
    if getattr(cls, "padding_side", "right") == "left" or sig.get("padding_side") == "left":
        f.append("TOK_CLASS_PAD_LEFT")
    if "token_type_ids" in cls.model_input_names:
        f.append("TOK_CLASS_TYPE_IDS")
    if sig.get("add_prefix_space") is True:
        f.append("TOK_CLASS_PREFIX_SPACE")
    if sig.get("add_bos_token") is True:
        f.append("TOK_CLASS_ADD_BOS")
    if sig.get("add_eos_token") is True:
        f.append("TOK_CLASS_ADD_EOS")
    src = inspect.getsource(fast) if fast and fast.__name__ != "PreTrainedTokenizerFast" else ""
    if "update_post_processor()" in src:
        f.append("TOK_CLASS_BOS_EOS_POST")
    if "is_split_into_words" in src and "add_prefix_space=True" in src:
        f.append("TOK_CLASS_NEEDS_PREFIX_SPACE")
    if "normalizer_state" in src or "normalizer.__getstate__" in src:
        f.append("TOK_CLASS_BERT_NORMALIZER")
    if 'tokenizer_component = "post_processor"' in src:
        f.append("TOK_CLASS_ROBERTA_POST")
    print("    {%s, %s, {%s}}," % (text(name), " | ".join(f) or "0", ", ".join(text(sig.get(s)) for s in SPECIALS)))
    n += 1
print("};\nconst size_t tok_n_classes = %d;\n" % n)
print("const tok_model_type tok_model_types[] = {")
k = 0
for mt, pair in sorted(TOKENIZER_MAPPING_NAMES.items()):
    c = next((x for x in pair if x), None)
    if c:
        print("    {%s, %s}," % (text(mt), text(c[:-4] if c.endswith("Fast") else c)))
        k += 1
print("};\nconst size_t tok_n_model_types = %d;" % k)


def codes(name, xs):
    print("\nconst char *const tok_codes_%s[] = {" % name)
    for i in range(0, len(xs), 10):
        print("    " + ", ".join(text(x) for x in xs[i:i + 10]) + ",")
    print("    NULL,\n};")


from transformers.models.m2m_100.tokenization_m2m_100 import FAIRSEQ_LANGUAGE_CODES as M2M
from transformers.models.mbart.tokenization_mbart import FAIRSEQ_LANGUAGE_CODES as MBART
from transformers.models.mbart50.tokenization_mbart50 import FAIRSEQ_LANGUAGE_CODES as MBART50
from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES as NLLB

codes("mbart", MBART)
codes("mbart50", MBART50)
codes("nllb", NLLB)
codes("m2m100", M2M["m2m100"])
codes("wmt21", M2M["wmt21"])
print("%d classes, %d model types" % (n, k), file=sys.stderr)
