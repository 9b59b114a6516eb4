#!/usr/bin/env python3
"""Checkpoints without a tokenizer.json: our reading of their files against AutoTokenizer's.

    python tests/interop/differential_checkpoints.py [--rounds 1] [--seed 1] [--only CLASS ...]

For each class a vocabulary is trained here, and tokenizer_config.json, special_tokens_map.json and added_tokens.json
get options drawn at random; the real library answers texts, pairs, words, batches, truncation, overflow and decoding, and
build/parity must answer the same. MLTF_DIFFERENTIAL_SECONDS bounds it. Ends with "N passed, N failed".
"""
import argparse
import io
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import sentencepiece as spm
from differential_tokenizers import texts
from tokenizers import Tokenizer, decoders as D, models as M, normalizers as N, pre_tokenizers as P, trainers as T
from transformers import AutoTokenizer
from transformers.utils import logging

logging.set_verbosity_error()
os.environ["TIKTOKEN_CACHE_DIR"] = ""  # its cache goes by path


def dump(value, folder, name):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False)


# ---------------------------------------------------------------- vocabularies

def sentencepiece_model(sample, kind, **options):
    out = io.BytesIO()
    rows = [r for d in sample for r in d.split("\n") if 3 < len(r) < 400 and "\0" not in r]
    characters = {}
    for r in rows:
        for c in r:
            characters[c] = characters.get(c, 0) + 1
    common = {c for c, n in sorted(characters.items(), key=lambda x: -x[1])[:160]}
    rows = [r for r in rows if set(r) <= common]
    spm.SentencePieceTrainer.train(sentence_iterator=iter(rows), model_writer=out, model_type=kind, vocab_size=700, hard_vocab_limit=False, minloglevel=2,
                                   num_threads=1, character_coverage=1.0, **options)
    return out.getvalue()


def byte_level_files(folder, sample, specials, clip=False):
    t = Tokenizer(M.BPE(end_of_word_suffix="</w>") if clip else M.BPE())
    t.pre_tokenizer = P.ByteLevel(add_prefix_space=False)
    alphabet = P.ByteLevel.alphabet()
    t.train_from_iterator(sample, T.BpeTrainer(vocab_size=900, initial_alphabet=alphabet, show_progress=False, special_tokens=specials, **({"end_of_word_suffix": "</w>"} if clip else {})))
    model = json.loads(t.to_str())["model"]
    vocab = dict(model["vocab"])
    for c in alphabet if clip else []:
        vocab.setdefault(c + "</w>", max(vocab.values()) + 1)
    dump(vocab, folder, "vocab.json")
    with open(os.path.join(folder, "merges.txt"), "w", encoding="utf-8") as f:
        f.write("#version: 0.2\n" + "".join("%s %s\n" % (tuple(m) if isinstance(m, list) else tuple(m.split(" "))) for m in model["merges"]))
    return vocab


def wordpiece_file(folder, sample, lower):
    t = Tokenizer(M.WordPiece(unk_token="[UNK]"))
    t.normalizer = N.BertNormalizer(lowercase=lower)
    t.pre_tokenizer = P.BertPreTokenizer()
    t.train_from_iterator(sample, T.WordPieceTrainer(vocab_size=1200, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused1]"], show_progress=False, limit_alphabet=200))
    vocab = t.get_vocab()
    with open(os.path.join(folder, "vocab.txt"), "w", encoding="utf-8") as f:
        f.write("".join(w + "\n" for w in sorted(vocab, key=vocab.get)))


def write(folder, name, data):
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data)


def pieces(data):
    s = spm.SentencePieceProcessor()
    s.LoadFromSerializedProto(data)
    return [s.IdToPiece(i) for i in range(len(s))]


# ---------------------------------------------------------------- classes

RECIPES = {}
LLAMA = dict(unk_id=0, bos_id=1, eos_id=2, pad_id=-1, byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True)
XLMR = dict(unk_id=0, bos_id=1, eos_id=2, pad_id=-1)


def recipe(*names):
    def keep(make):
        for n in names:
            RECIPES[n] = make
        return make
    return keep


@recipe("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer", "FunnelTokenizer", "LayoutLMTokenizer", "ConvBertTokenizer", "SqueezeBertTokenizer", "LxmertTokenizer")
def bert(folder, cls, sample, rnd):
    lower = rnd.random() < 0.6
    wordpiece_file(folder, sample, lower)
    c = {"do_lower_case": lower}
    if rnd.random() < 0.4:
        c["strip_accents"] = rnd.random() < 0.5
    if rnd.random() < 0.4:
        c["tokenize_chinese_chars"] = rnd.random() < 0.5
    return c


@recipe("MPNetTokenizer")
def mpnet(folder, cls, sample, rnd):
    lower = rnd.random() < 0.6
    wordpiece_file(folder, sample, lower)
    return {"do_lower_case": lower}


@recipe("GPT2Tokenizer", "CodeGenTokenizer")
def gpt2(folder, cls, sample, rnd):
    byte_level_files(folder, sample, ["<|endoftext|>"])
    return {"add_prefix_space": rnd.random() < 0.3}


@recipe("Qwen2Tokenizer")
def qwen2(folder, cls, sample, rnd):
    vocab = byte_level_files(folder, sample, [])
    n = len(vocab)
    if rnd.random() < 0.5:
        dump({"<|endoftext|>": n, "<|im_start|>": n + 1, "<|im_end|>": n + 2}, folder, "added_tokens.json")
    return {"additional_special_tokens": ["<|im_start|>", "<|im_end|>"], "eos_token": "<|im_end|>"}


@recipe("RobertaTokenizer", "BartTokenizer", "LongformerTokenizer", "LEDTokenizer", "MvpTokenizer", "BlenderbotTokenizer")
def roberta(folder, cls, sample, rnd):
    byte_level_files(folder, sample, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    return {"add_prefix_space": rnd.random() < 0.4, "trim_offsets": rnd.random() < 0.6}


@recipe("DebertaTokenizer")
def deberta(folder, cls, sample, rnd):
    byte_level_files(folder, sample, ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"])
    return {"add_prefix_space": rnd.random() < 0.4}


@recipe("CLIPTokenizer")
def clip(folder, cls, sample, rnd):
    byte_level_files(folder, sample, ["<|startoftext|>", "<|endoftext|>"], clip=True)
    return {}


@recipe("WhisperTokenizer")
def whisper(folder, cls, sample, rnd):
    vocab = byte_level_files(folder, sample, [])
    names = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    dump({t: len(vocab) + i for i, t in enumerate(names)}, folder, "added_tokens.json")
    dump({}, folder, "normalizer.json")
    c = {"bos_token": "<|endoftext|>", "additional_special_tokens": names[1:]}
    if rnd.random() < 0.5:
        c.update(language=rnd.choice(["en", "English", "chinese", "Mandarin"]), task=rnd.choice(["transcribe", "translate"]), predict_timestamps=rnd.random() < 0.5)
    return c


@recipe("LlamaTokenizer", "CodeLlamaTokenizer")
def llama(folder, cls, sample, rnd):
    write(folder, "tokenizer.model", sentencepiece_model(sample, "bpe", **LLAMA))
    c = {"legacy": rnd.random() < 0.5, "add_bos_token": rnd.random() < 0.7, "add_eos_token": rnd.random() < 0.4}
    if rnd.random() < 0.3 and cls == "LlamaTokenizer":
        c["add_prefix_space"] = rnd.random() < 0.5
    return c


@recipe("GemmaTokenizer")
def gemma(folder, cls, sample, rnd):
    write(folder, "tokenizer.model", sentencepiece_model(sample, "bpe", pad_id=0, eos_id=1, bos_id=2, unk_id=3, byte_fallback=True, normalization_rule_name="identity",
                                                         remove_extra_whitespaces=False, add_dummy_prefix=False))
    return {"add_bos_token": rnd.random() < 0.7, "add_eos_token": rnd.random() < 0.4}


@recipe("T5Tokenizer", "MT5Tokenizer")
def t5(folder, cls, sample, rnd):
    write(folder, "spiece.model", sentencepiece_model(sample, "unigram", pad_id=0, eos_id=1, unk_id=2, bos_id=-1))
    return {"extra_ids": rnd.choice([0, 5, 100]), "legacy": rnd.random() < 0.5}


@recipe("AlbertTokenizer", "FNetTokenizer")
def albert(folder, cls, sample, rnd):
    write(folder, "spiece.model", sentencepiece_model([d.lower() for d in sample], "unigram", pad_id=0, unk_id=1, bos_id=-1, eos_id=-1, control_symbols=["[CLS]", "[SEP]", "[MASK]"]))
    return {"do_lower_case": rnd.random() < 0.6, "remove_space": rnd.random() < 0.6, "keep_accents": rnd.random() < 0.4}


@recipe("XLNetTokenizer")
def xlnet(folder, cls, sample, rnd):
    write(folder, "spiece.model", sentencepiece_model(sample, "unigram", unk_id=0, bos_id=1, eos_id=2, pad_id=-1, control_symbols=["<pad>", "<cls>", "<sep>", "<mask>"]))
    return {"do_lower_case": rnd.random() < 0.4, "keep_accents": rnd.random() < 0.4}


@recipe("XLMRobertaTokenizer", "XGLMTokenizer", "BarthezTokenizer")
def xlmr(folder, cls, sample, rnd):
    write(folder, "sentencepiece.bpe.model", sentencepiece_model(sample, "unigram", **XLMR))
    return {}


@recipe("CamembertTokenizer")
def camembert(folder, cls, sample, rnd):
    write(folder, "sentencepiece.bpe.model", sentencepiece_model(sample, "unigram", **XLMR))
    return {}


@recipe("MBartTokenizer")
def mbart(folder, cls, sample, rnd):
    write(folder, "sentencepiece.bpe.model", sentencepiece_model(sample, "unigram", **XLMR))
    return {"src_lang": rnd.choice(["en_XX", "de_DE", "zh_CN"]), "tgt_lang": "fr_XX"}


@recipe("MBart50Tokenizer")
def mbart50(folder, cls, sample, rnd):
    write(folder, "sentencepiece.bpe.model", sentencepiece_model(sample, "unigram", **XLMR))
    return {"src_lang": rnd.choice(["en_XX", "de_DE", "zh_CN"]), "tgt_lang": "fr_XX"}


@recipe("NllbTokenizer")
def nllb(folder, cls, sample, rnd):
    write(folder, "sentencepiece.bpe.model", sentencepiece_model(sample, "bpe" if rnd.random() < 0.3 else "unigram", **XLMR))
    return {"src_lang": rnd.choice(["eng_Latn", "deu_Latn", "zho_Hans"]), "tgt_lang": "fra_Latn", "legacy_behaviour": rnd.random() < 0.4}


@recipe("M2M100Tokenizer")
def m2m100(folder, cls, sample, rnd):
    data = sentencepiece_model(sample, "bpe" if rnd.random() < 0.5 else "unigram", **XLMR)
    write(folder, "sentencepiece.bpe.model", data)
    own = pieces(data)[3:]
    rnd.shuffle(own)
    dump({t: i for i, t in enumerate(["<s>", "<pad>", "</s>", "<unk>"] + own)}, folder, "vocab.json")
    return {"src_lang": rnd.choice(["en", "de"]), "tgt_lang": "fr"}


@recipe("MarianTokenizer")
def marian(folder, cls, sample, rnd):
    a, b = sentencepiece_model(sample, "unigram", **XLMR), sentencepiece_model(sample[::2], "bpe", **XLMR)
    write(folder, "source.spm", a)
    write(folder, "target.spm", b)
    names = ["</s>", "<unk>"] + sorted((set(pieces(a)) | set(pieces(b))) - {"</s>", "<unk>"}) + [">>de<<", "<pad>"]
    dump({t: i for i, t in enumerate(names)}, folder, "vocab.json")
    return {"source_lang": "en", "target_lang": "de", "separate_vocabs": False}


@recipe("PegasusTokenizer")
def pegasus(folder, cls, sample, rnd):
    write(folder, "spiece.model", sentencepiece_model(sample, "unigram", pad_id=0, eos_id=1, unk_id=2, bos_id=-1))
    return {} if rnd.random() < 0.6 else {"offset": 20}


@recipe("DebertaV2Tokenizer")
def deberta_v2(folder, cls, sample, rnd):
    write(folder, "spm.model", sentencepiece_model(sample, "unigram", pad_id=0, unk_id=3, bos_id=1, eos_id=2, pad_piece="[PAD]", unk_piece="[UNK]", bos_piece="[CLS]", eos_piece="[SEP]"))
    return {"do_lower_case": rnd.random() < 0.4, "split_by_punct": rnd.random() < 0.4}


@recipe("BigBirdTokenizer")
def big_bird(folder, cls, sample, rnd):
    write(folder, "spiece.model", sentencepiece_model(sample, "unigram", pad_id=0, eos_id=1, bos_id=2, unk_id=3, control_symbols=["[SEP]", "[CLS]", "[MASK]"]))
    return {}


@recipe("RemBertTokenizer")
def rembert(folder, cls, sample, rnd):
    write(folder, "sentencepiece.model", sentencepiece_model(sample, "unigram", pad_id=0, unk_id=1, bos_id=-1, eos_id=-1, control_symbols=["[CLS]", "[SEP]", "[MASK]"]))
    return {"do_lower_case": rnd.random() < 0.4}


@recipe("SiglipTokenizer")
def siglip(folder, cls, sample, rnd):
    write(folder, "spiece.model", sentencepiece_model(sample, "unigram", pad_id=0, eos_id=1, unk_id=2, bos_id=-1))
    return {"do_lower_case": True}


@recipe("ReformerTokenizer")
def reformer(folder, cls, sample, rnd):
    write(folder, "spiece.model", sentencepiece_model(sample, "bpe", unk_id=0, eos_id=1, bos_id=-1, pad_id=-1))
    return {}


@recipe("tiktoken", "tekken")
def byte_ranks(folder, cls, sample, rnd):
    """Files of ranked byte strings: made from merges, as tiktoken and mistral-common store them."""
    import base64
    t = Tokenizer(M.BPE())
    t.pre_tokenizer = P.ByteLevel(add_prefix_space=False)
    t.train_from_iterator(sample, T.BpeTrainer(vocab_size=900, initial_alphabet=P.ByteLevel.alphabet(), show_progress=False))
    vocab = t.get_vocab()
    to_byte = {c: b for b, c in __import__("transformers").models.gpt2.tokenization_gpt2.bytes_to_unicode().items()}
    ranked = sorted(vocab, key=vocab.get)
    ranked = sorted((w for w in ranked if len(w) == 1), key=lambda w: to_byte[w]) + [w for w in ranked if len(w) > 1]
    raw = [bytes(to_byte[c] for c in w) for w in ranked]
    if cls == "tiktoken":
        write(folder, "tokenizer.model", b"".join(base64.b64encode(r) + b" %d\n" % i for i, r in enumerate(raw)))
        return {"tokenizer_class": "PreTrainedTokenizerFast", "additional_special_tokens": ["<|begin_of_text|>", "<|end_of_text|>"]}
    pattern = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    special = [{"rank": i, "token_str": s, "is_control": True} for i, s in enumerate(["<unk>", "<s>", "</s>", "[INST]", "[/INST]"])]
    dump({"config": {"pattern": pattern, "num_vocab_tokens": len(raw), "default_vocab_size": len(raw) + len(special), "default_num_special_tokens": len(special), "version": "v7"},
          "vocab": [{"rank": i, "token_bytes": base64.b64encode(r).decode(), "token_str": None} for i, r in enumerate(raw)], "special_tokens": special}, folder, "tekken.json")
    return {"tokenizer_class": "PreTrainedTokenizerFast"}


# ---------------------------------------------------------------- configuration at random

def token(rnd, content, special=True):
    if rnd.random() < 0.5:
        return content
    return {"__type": "AddedToken", "content": content, "lstrip": rnd.random() < 0.3, "rstrip": rnd.random() < 0.3, "single_word": rnd.random() < 0.2, "normalized": rnd.random() < 0.3,
            "special": special}


def configure(folder, cls, config, rnd):
    config.setdefault("tokenizer_class", cls)
    if rnd.random() < 0.5:
        config["model_max_length"] = rnd.choice([16, 64, 512, 1000000000000000019884624838656])
    if rnd.random() < 0.4:
        config["padding_side"] = rnd.choice(["left", "right"])
    if rnd.random() < 0.3:
        config["truncation_side"] = rnd.choice(["left", "right"])
    if rnd.random() < 0.4:
        config["clean_up_tokenization_spaces"] = rnd.random() < 0.5
    if cls not in ("tiktoken", "tekken", "WhisperTokenizer", "Qwen2Tokenizer", "M2M100Tokenizer"):
        if rnd.random() < 0.4:
            config["additional_special_tokens"] = ["<extra>", "<more>"][:rnd.randint(1, 2)]
        if rnd.random() < 0.3:
            dump({k: token(rnd, v) for k, v in (("pad_token", "<newpad>"), ("mask_token", "<newmask>")) if rnd.random() < 0.6}, folder, "special_tokens_map.json")
        if rnd.random() < 0.25:
            config["pad_token"] = token(rnd, "<cfgpad>")
    elif rnd.random() < 0.5 and cls != "M2M100Tokenizer":  # its new tokens get ids of languages
        config["pad_token"] = "<|pad|>"
    dump(config, folder, "tokenizer_config.json")


# ---------------------------------------------------------------- questions

MARKS = ["<mask>", "<s>", "</s>", "[MASK]", "[SEP]", " <mask> ", "<unk>", "<|endoftext|>", "<extra_id_0>", "<extra>", "<more>x", "<newpad>", "<newmask>", "<cfgpad>", "  ", "\u00a0", " n't", " 's", " .", "?! ,", "ſ",
         "ﬁ", "①", "İ", "\u0345", "é", "가", "\ufeff", "\x00", "\x85", "\u2028", "▁", "▁▁", "##ed", "Ġ", "</w>", "[INST]", "<|begin_of_text|>", ">>de<<", "en_XX", "eng_Latn", "__de__", "<0x41>", "1234567", "I'M we'Re"]


def line(rnd, docs):
    out = ""
    for _ in range(rnd.randint(1, 5)):
        d = rnd.choice(docs)
        at = rnd.randrange(max(1, len(d) - 40))
        out += rnd.choice([d[at:at + rnd.randint(1, 40)], rnd.choice(MARKS)])
    return out


def decoded(t, ids):
    return {"skip%d_clean%d" % (s, c): t.decode(ids, skip_special_tokens=bool(s), clean_up_tokenization_spaces=bool(c)) for s in (0, 1) for c in (0, 1)}


def encoded(t, text, pair=None, **kw):
    e = t(text, pair, return_offsets_mapping=t.is_fast, return_token_type_ids=True, return_special_tokens_mask=True, **kw)
    row = {"ids": e["input_ids"], "tokens": t.convert_ids_to_tokens(e["input_ids"])}
    if any(e["token_type_ids"]):
        row["type_ids"] = e["token_type_ids"]
    if any(e["special_tokens_mask"]):
        row["special_mask"] = e["special_tokens_mask"]
    if t.is_fast:
        row["offsets"] = [list(o) for o in e["offset_mapping"]]
        row["word_ids"] = e.word_ids(0)
        if pair is not None:
            row["sequence_ids"] = e.sequence_ids(0)
    return row


def questions(t, rnd, docs):
    rows = []

    def ask(op, fn, **given):
        row = {"op": op, **given}
        try:
            row.update(fn())
        except BaseException as e:  # pyo3's panic is no Exception
            if isinstance(e, KeyboardInterrupt):
                raise
            row["error"] = type(e).__name__
            if op == "batch":
                return
        rows.append(row)

    for _ in range(40):
        text = line(rnd, docs)

        def whole():
            row = encoded(t, text)
            row["ids_without_special"] = t(text, add_special_tokens=False)["input_ids"]
            row["decode"] = decoded(t, row["ids"])
            return row
        ask("encode", whole, text=text)
    for _ in range(0 if "CodeLlama" in type(t).__name__ else 10):  # there, pairs are infilling
        a, b = line(rnd, docs), line(rnd, docs)
        ask("pair", lambda: encoded(t, a, b), text=a, pair=b)
    for _ in range(12):
        ids = [rnd.randrange(len(t)) for _ in range(rnd.choice([1, 3, 30]))]
        if rnd.random() < 0.3 and "Whisper" in type(t).__name__:
            ids = t.convert_tokens_to_ids(["<|startofprev|>"]) + ids + t.convert_tokens_to_ids(["<|startoftranscript|>"])[:rnd.randint(0, 1)] + ids
        ask("decode", lambda: {"decode": decoded(t, ids)}, ids=ids)
    if t.is_fast:
        for _ in range(5):
            words = [line(rnd, docs) for _ in range(rnd.randint(0, 4))]
            ask("words", lambda: encoded(t, words, is_split_into_words=True), words=words)
    if t.pad_token is None or "CodeLlama" in type(t).__name__:
        return rows
    for _ in range(10):
        batch = [line(rnd, docs) for _ in range(rnd.randint(1, 4))]
        kw = rnd.choice([dict(padding=True), dict(padding="longest", padding_side="left"), dict(padding="max_length", max_length=rnd.randint(4, 30), truncation=True),
                         dict(padding=True, pad_to_multiple_of=8), dict(padding=True, truncation=True, max_length=rnd.randint(3, 20))])

        def padded():
            e = t(batch, return_token_type_ids=True, return_attention_mask=True, **kw)
            return {"ids": e["input_ids"], "mask": e["attention_mask"], "type_ids": e["token_type_ids"]}
        ask("batch", padded, texts=batch, kwargs=kw)
    for _ in range(12):
        a, b = line(rnd, docs), line(rnd, docs)
        how = dict(strategy=rnd.choice(["longest_first", "only_first", "only_second"]), side=t.truncation_side if t.truncation_side == "left" else rnd.choice(["left", "right"]), max_length=rnd.randint(4, 40))

        def cut():
            old, t.truncation_side = t.truncation_side, how["side"]
            try:
                e = t(a, b, truncation=how["strategy"], max_length=how["max_length"], return_token_type_ids=True)
                return {"ids": e["input_ids"], "type_ids": e["token_type_ids"]}
            finally:
                t.truncation_side = old
        ask("truncate_pair", cut, text=a, pair=b, **how)
    for _ in range(6 if t.is_fast else 0):
        a, b = line(rnd, docs), line(rnd, docs) + line(rnd, docs) + line(rnd, docs)
        strategy, n, stride = rnd.choice(["only_second", "only_first", "longest_first"]), rnd.randint(12, 60), rnd.choice([0, 1, 5])

        def over():
            e = t(a, b, truncation=strategy, max_length=n, stride=stride, return_overflowing_tokens=True, return_offsets_mapping=True, return_token_type_ids=True,
                  return_attention_mask=True, padding="max_length")
            return {"ids": e["input_ids"], "mask": e["attention_mask"], "offsets": [[list(o) for o in x] for x in e["offset_mapping"]]}
        ask("overflow", over, text=a, pair=b, strategy=strategy, max_length=n, stride=stride)
    return rows


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--rounds", type=int, default=2)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--only", nargs="*", default=[])
    ap.add_argument("--keep", help="a folder for the checkpoints")
    ap.add_argument("--parity", default=os.path.join(os.environ.get("BUILD", "build"), "parity"))
    a = ap.parse_args()
    limit = float(os.environ.get("MLTF_DIFFERENTIAL_SECONDS", "0"))
    began = time.monotonic()
    rnd = random.Random(a.seed)
    docs = list(texts(rnd, 0.25))
    passed = failed = refused = 0
    with tempfile.TemporaryDirectory() as tmp:
        todo = [(r, n) for r in range(a.rounds) for n in RECIPES if not a.only or n in a.only]
        if limit:
            rnd.shuffle(todo)
        for k, (number, name) in enumerate(todo):
            if limit and time.monotonic() - began > limit:
                print("%d of %d checkpoints in %g s" % (k, len(todo), limit))
                break
            folder = os.path.join(a.keep or tmp, "%s-%d" % (name, number))
            os.makedirs(folder, exist_ok=True)
            here = random.Random("%d %s %d" % (a.seed, name, number))
            configure(folder, name, RECIPES[name](folder, name, docs, here), here)
            try:
                t = AutoTokenizer.from_pretrained(folder)
            except BaseException as e:
                print("%s: the library refuses: %s" % (os.path.basename(folder), str(e).split("\n")[0][:160]))
                refused += 1
                continue
            with open(os.path.join(folder, "cases.jsonl"), "w", encoding="utf-8", newline="\n") as f:
                for row in questions(t, here, docs):
                    f.write(json.dumps(row) + "\n")
            ours = subprocess.run([a.parity, "--tokenizer", folder], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            text = ours.stdout.decode("utf-8", "replace")
            m = re.findall(r"(\d+) passed, (\d+) failed", text)
            p, f = (int(m[-1][0]), int(m[-1][1])) if m else (0, 1)
            passed, failed = passed + p, failed + f
            if f:
                print("%s (%s):\n%s" % (os.path.basename(folder), type(t).__name__, "\n".join(text.split("\n")[:4])[:1500]), flush=True)
    print("%d checkpoints refused by the library" % refused)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
