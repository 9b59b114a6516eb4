#!/usr/bin/env python3
"""Our tokens against those of the real `tokenizers`: tokenizers trained here, put together at random, and real ones.

    python tests/interop/differential_tokenizers.py [--megabytes 22] [--pipelines 150] [--parity build/parity] [DIR ...]

Texts: source code, words of many scripts, random Unicode, runs without a space, and code points (--code-points all:
every one) next to letters, digits, spaces and apostrophes. Ids, offsets, word numbers and the decoded text must be
equal. DIR: folders with a tokenizer.json of which nothing but that file counts (they are copied alone), or with the
files of a slow tokenizer; those that tools/tokenizers.sh gets from packages when $MODELS is set.
MLTF_DIFFERENTIAL_SECONDS: stop after that many (each tokenizer then gets a share of less text), for CI.
Ends with "N passed, N failed".
"""
import argparse
import glob
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders as D, models as M, normalizers as N, pre_tokenizers as P, processors as PP, trainers as T

LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace("{1,3}", "")
UP, LOW = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
CON = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
PRE, TAIL = r"[^\r\n\p{L}\p{N}]?", r"\s*[\r\n]+|\s+(?!\S)|\s+"
O200K = "|".join([PRE + UP + "*" + LOW + "+" + CON, PRE + UP + "+" + LOW + "*" + CON, r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", TAIL])
TEKKEN = "|".join([PRE + UP + "*" + LOW + "+", PRE + UP + "+" + LOW + "*", r"\p{N}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", TAIL])
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CLIP = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"
DEEPSEEK = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# none of the hand-written ones: through the regular expression engine
OTHER = r"\w+|[^\w\s]+|\s+"
OTHER2 = r"\p{Lu}\p{Ll}*|\d{1,3}(?=(?:\d{3})*\b)|\P{L}|[^\p{Lu}\s]+|\S"

SCRIPTS = [(0x61, 0x7A), (0x41, 0x5A), (0xC0, 0x17F), (0x391, 0x3C9), (0x410, 0x44F), (0x5D0, 0x5EA), (0x621, 0x64A), (0x905, 0x939), (0x985, 0x9B9), (0xE01, 0xE3A),
           (0x3041, 0x3096), (0x30A1, 0x30FA), (0x4E00, 0x9FA5), (0xAC00, 0xD7A3), (0x10A0, 0x10FF), (0x1200, 0x135A), (0x1F300, 0x1F64F), (0x30, 0x39), (0x660, 0x669), (0x300, 0x36F), (0x1100, 0x11FF)]


def texts(rnd, megabytes):
    """Documents of a kilobyte or two, of all kinds in turn."""
    code = []
    for p in sorted(glob.glob(os.path.join(os.path.dirname(os.__file__), "*.py")))[:150]:
        try:
            code.append(open(p, encoding="utf-8").read())
        except Exception:
            pass
    code = "\n".join(code)
    total, k = 0, 0
    while total < megabytes * 1e6:
        kind = k % 5
        k += 1
        if kind == 0:
            at = rnd.randrange(max(1, len(code) - 2000))
            d = code[at:at + 2000]
        elif kind == 1:
            w = []
            for _ in range(200):
                a, b = rnd.choice(SCRIPTS)
                w.append("".join(chr(rnd.randint(a, b)) for _ in range(rnd.randint(1, 9))) + rnd.choice(["", "", "", ",", ".", "!", "'s", "'LL", "\n", "\u0301", "-"]))
            d = rnd.choice([" ", " ", "  ", "\u00a0", "\u3000"]).join(w)
        elif kind == 2:
            d = "".join(chr(c) for c in (rnd.choice([rnd.randrange(0x250), rnd.randrange(0x3000), rnd.randrange(0x10000), rnd.randrange(0x110000)]) for _ in range(600)) if not 0xD800 <= c < 0xE000)
        elif kind == 3:
            a, b = rnd.choice(SCRIPTS)
            d = "".join(chr(rnd.randint(a, b)) for _ in range(1000))
        else:
            at = rnd.randrange(max(1, len(code) - 1500))
            s = code[at:at + 1500]
            d = "".join(rnd.choice([c, c, c, c.upper(), c + " ", " " + c, c + "\n", c + "\t", c + "'t", "\r\n" + c, c + "<s>", c + "▁"]) if rnd.random() < 0.2 else c for c in s)
        total += len(d.encode())
        yield d


def code_points(every):
    """All of them, or those of the first two planes and a sample of the rest, where whole planes are alike."""
    d = []
    for c in range(0x110000):
        if 0xD800 <= c < 0xE000 or (not every and c >= 0x20000 and c % 61 and not 0x2A6D0 <= c < 0x31400 and not 0xE0000 <= c < 0xE0200):
            continue
        x = chr(c)
        d.append("a%sb 1%s2 %s%s A%s '%sx \n%s" % (x, x, x, x, x, x, x))
        if len(d) == 64:
            yield "|".join(d)
            d = []
    yield "|".join(d)


def byte_level(pre, sample, normalizer=None, **kw):
    t = Tokenizer(M.BPE(**kw))
    if normalizer:
        t.normalizer = normalizer
    t.pre_tokenizer = pre
    t.decoder = D.ByteLevel()
    t.train_from_iterator(sample, T.BpeTrainer(vocab_size=3000, initial_alphabet=P.ByteLevel.alphabet(), special_tokens=["<s>"], show_progress=False))
    return t


def split(rx, **kw):
    return P.Sequence([P.Split(Regex(rx), behavior="isolated", **kw), P.ByteLevel(add_prefix_space=False, use_regex=False)])


def kinds(sample):
    BL = P.ByteLevel
    yield "gpt2", lambda: byte_level(BL(add_prefix_space=False), sample)
    yield "gpt2-prefix", lambda: byte_level(BL(add_prefix_space=True), sample)
    yield "llama3", lambda: byte_level(split(LLAMA3), sample)
    yield "qwen2", lambda: byte_level(split(QWEN2), sample, N.NFC())
    yield "o200k", lambda: byte_level(split(O200K), sample)
    yield "tekken", lambda: byte_level(split(TEKKEN), sample)
    yield "bloom", lambda: byte_level(split(BLOOM), sample)
    yield "deepseek", lambda: byte_level(P.Sequence([P.Split(Regex(r"\p{N}{1,3}"), behavior="isolated"), P.Split(Regex(r"[一-龥぀-ゟ゠-ヿ]+"), behavior="isolated"),
                                                     P.Split(Regex(DEEPSEEK), behavior="isolated"), BL(add_prefix_space=False, use_regex=False)]), sample)
    yield "starcoder", lambda: byte_level(P.Sequence([P.Digits(individual_digits=True), BL(add_prefix_space=False)]), sample)
    yield "falcon", lambda: byte_level(P.Sequence([P.Punctuation(behavior="contiguous"), BL(add_prefix_space=False), P.Digits(individual_digits=False),
                                                   P.Split(Regex("[0-9][0-9][0-9]"), behavior="isolated")]), sample)
    yield "regex", lambda: byte_level(split(OTHER), sample)
    yield "regex2", lambda: byte_level(split(OTHER2), sample)

    def clip():
        t = byte_level(P.Sequence([P.Split(Regex(CLIP), behavior="removed", invert=True), BL(add_prefix_space=False)]), sample,
                       N.Sequence([N.NFC(), N.Replace(Regex(r"\s+"), " "), N.Lowercase()]))
        return t
    yield "clip", clip

    def wordpiece(**kw):
        t = Tokenizer(M.WordPiece(unk_token="[UNK]"))
        t.normalizer = N.BertNormalizer(**kw)
        t.pre_tokenizer = P.BertPreTokenizer()
        t.train_from_iterator(sample, T.WordPieceTrainer(vocab_size=4000, special_tokens=["[UNK]", "[CLS]", "[SEP]", "<s>"], show_progress=False))
        t.post_processor = PP.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
        return t
    yield "bert-uncased", lambda: wordpiece()
    yield "bert-cased", lambda: wordpiece(lowercase=False)
    yield "bert-raw", lambda: wordpiece(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)

    def unigram(norm, pre):
        t = Tokenizer(M.Unigram())
        t.normalizer = norm
        t.pre_tokenizer = pre
        few = [d for d in sample if len(set(d)) < 120]  # every character needs a piece
        t.train_from_iterator(few, T.UnigramTrainer(vocab_size=4000 + len(set("".join(few))), special_tokens=["<unk>", "<s>"], unk_token="<unk>", show_progress=False))
        return t
    yield "unigram", lambda: unigram(N.Sequence([N.Nmt(), N.NFKC(), N.Replace(Regex(" {2,}"), " ")]), P.Metaspace())
    yield "unigram-nfkd", lambda: unigram(N.Sequence([N.NFKD(), N.StripAccents(), N.Lowercase()]), P.Sequence([P.UnicodeScripts(), P.Metaspace(prepend_scheme="first")]))

    def spm_bpe():
        t = Tokenizer(M.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
        t.normalizer = N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")])
        t.pre_tokenizer = P.Metaspace()
        t.train_from_iterator(sample, T.BpeTrainer(vocab_size=3000, special_tokens=["<unk>", "<s>"] + ["<0x%02X>" % i for i in range(256)], show_progress=False, limit_alphabet=400))
        t.pre_tokenizer = None
        return t
    yield "spm-bpe", spm_bpe

    def words():
        t = Tokenizer(M.WordLevel(unk_token="[UNK]"))
        t.normalizer = N.Sequence([N.NFD(), N.Strip()])
        t.pre_tokenizer = P.Sequence([P.Whitespace(), P.Digits(), P.Punctuation(behavior="merged_with_previous")])
        t.train_from_iterator(sample, T.WordLevelTrainer(vocab_size=4000, special_tokens=["[UNK]", "<s>"], show_progress=False))
        t.add_tokens([AddedToken("def", single_word=True), AddedToken("self", lstrip=True, rstrip=True), AddedToken("Ab", normalized=True)])
        return t
    yield "words", words


# ---------------------------------------------------------------- pipelines at random

def some_normalizer(rnd):
    one = lambda: rnd.choice([
        lambda: N.NFC(), lambda: N.NFD(), lambda: N.NFKC(), lambda: N.NFKD(), lambda: N.Lowercase(), lambda: N.StripAccents(), lambda: N.Nmt(),
        lambda: N.Strip(left=rnd.random() < 0.7, right=rnd.random() < 0.7), lambda: N.Prepend(rnd.choice(["▁", "xy", "é"])),
        lambda: N.Replace(rnd.choice([" ", "e", "the", "\n", "é"]), rnd.choice(["▁", "", "ab", " "])),
        lambda: N.Replace(Regex(rnd.choice([r"\s+", r"[0-9]+", r"(?i)the", r"\p{Lu}", r"^.", r"x?", r"[^a-z ]{2,}"])), rnd.choice([" ", "", "Q", "ü"])),
        lambda: N.BertNormalizer(clean_text=rnd.random() < 0.5, handle_chinese_chars=rnd.random() < 0.5, strip_accents=rnd.choice([None, True, False]), lowercase=rnd.random() < 0.5),
    ])()
    n = rnd.choice([0, 1, 1, 2, 3])
    return None if n == 0 else one() if n == 1 else N.Sequence([one() for _ in range(n)])


def some_pretokenizer(rnd, last=None):
    behaviour = lambda: rnd.choice(["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"])
    one = lambda: rnd.choice([
        lambda: P.BertPreTokenizer(), lambda: P.Whitespace(), lambda: P.WhitespaceSplit(), lambda: P.Punctuation(behavior=behaviour()), lambda: P.Digits(individual_digits=rnd.random() < 0.5),
        lambda: P.CharDelimiterSplit(rnd.choice(["e", "-", " ", "é"])), lambda: P.UnicodeScripts(), lambda: P.FixedLength(length=rnd.randint(1, 7)),
        lambda: P.Metaspace(replacement=rnd.choice(["▁", "▁", "_"]), prepend_scheme=rnd.choice(["always", "first", "never"]), split=rnd.random() < 0.6),
        lambda: P.Split(rnd.choice([" ", "e", "ing", "\n"]), behavior=behaviour(), invert=rnd.random() < 0.3),
        lambda: P.Split(Regex(rnd.choice([r"\s+", r"\p{L}+", r"\w+|[^\w\s]", r"\d{1,3}", r"[aeiou]", r"(?<=[a-z])(?=[A-Z])", GPT2, LLAMA3, QWEN2, O200K, CLIP, BLOOM])), behavior=behaviour(), invert=rnd.random() < 0.3),
    ])()
    parts = [one() for _ in range(rnd.choice([0, 1, 1, 2, 3]))] + ([last] if last else [])
    return None if not parts else parts[0] if len(parts) == 1 else P.Sequence(parts)


def some_decoder(rnd, natural):
    if rnd.random() < 0.5:
        return natural
    one = lambda: rnd.choice([lambda: D.ByteFallback(), lambda: D.Fuse(), lambda: D.Metaspace(prepend_scheme=rnd.choice(["always", "never"])), lambda: D.WordPiece(cleanup=rnd.random() < 0.5), lambda: D.BPEDecoder(),
                              lambda: D.CTC(pad_token="<pad>", cleanup=rnd.random() < 0.5), lambda: D.Strip(" ", rnd.randint(0, 2), 0), lambda: D.Replace(rnd.choice(["▁", "e"]), rnd.choice([" ", ""])), lambda: D.ByteLevel()])()
    n = rnd.choice([0, 1, 2, 3, 4])
    return None if n == 0 else one() if n == 1 else D.Sequence([one() for _ in range(n)])


def some_pipeline(rnd, sample):
    """A tokenizer whose parts are drawn at random."""
    kind = rnd.choice(["bytes", "bytes", "bpe", "bpe", "wordpiece", "unigram", "wordlevel"])
    few = rnd.sample(sample, 60)
    special = ["<unk>", "<s>", "</s>", "<pad>"]
    if kind == "bytes":
        t = Tokenizer(M.BPE(ignore_merges=rnd.random() < 0.3))
        t.normalizer = some_normalizer(rnd)
        t.pre_tokenizer = some_pretokenizer(rnd, P.ByteLevel(add_prefix_space=rnd.random() < 0.3, use_regex=rnd.random() < 0.5))
        alphabet = P.ByteLevel.alphabet()
        trainer, natural = T.BpeTrainer(vocab_size=rnd.choice([400, 1500]), initial_alphabet=alphabet if rnd.random() < 0.8 else [], special_tokens=special, show_progress=False), D.ByteLevel()
    elif kind == "bpe":
        fallback = rnd.random() < 0.4
        given = {"unk_token": ("<unk>", 0.8), "continuing_subword_prefix": ("##", 0.2), "end_of_word_suffix": ("</w>", 0.2)}
        kw = {k: v for k, (v, often) in given.items() if rnd.random() < often}
        fallback = fallback and not set(kw) - {"unk_token"}  # bytes of a prefix get offsets outside the text there
        t = Tokenizer(M.BPE(fuse_unk=rnd.random() < 0.5, byte_fallback=fallback, **kw))
        kw.pop("unk_token", None)
        t.normalizer, t.pre_tokenizer = some_normalizer(rnd), some_pretokenizer(rnd)
        trainer = T.BpeTrainer(vocab_size=rnd.choice([500, 1500]), limit_alphabet=rnd.choice([60, 400]), max_token_length=16, special_tokens=special + (["<0x%02X>" % i for i in range(256)] if fallback else []),
                               show_progress=False, **kw)
        natural = D.BPEDecoder() if "end_of_word_suffix" in kw else D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse(), D.Strip(" ", 1, 0)])
    elif kind == "wordpiece":
        t = Tokenizer(M.WordPiece(unk_token="<unk>", max_input_chars_per_word=rnd.choice([5, 100])))
        t.normalizer, t.pre_tokenizer = some_normalizer(rnd), some_pretokenizer(rnd) or P.Whitespace()
        trainer, natural = T.WordPieceTrainer(vocab_size=1200, limit_alphabet=300, special_tokens=special, show_progress=False), D.WordPiece()
    elif kind == "unigram":
        t = Tokenizer(M.Unigram())
        t.normalizer, t.pre_tokenizer = some_normalizer(rnd), some_pretokenizer(rnd) or P.Metaspace()
        few = [d for d in sample if len(set(d)) < 100][:60]
        trainer, natural = T.UnigramTrainer(vocab_size=1200 + len(set("".join(few))), special_tokens=special, unk_token="<unk>", show_progress=False), D.Metaspace()
    else:
        t = Tokenizer(M.WordLevel(unk_token="<unk>"))
        t.normalizer, t.pre_tokenizer = some_normalizer(rnd), some_pretokenizer(rnd) or P.Whitespace()
        trainer, natural = T.WordLevelTrainer(vocab_size=1500, special_tokens=special, show_progress=False), None
    t.train_from_iterator(few, trainer)
    t.decoder = some_decoder(rnd, natural)
    for _ in range(rnd.choice([0, 1, 3])):
        word = rnd.choice(["def", "self", "Ab", "e", "ing", " the", "é", "日本", "<mask>", "İ", "==", "_"])
        token = AddedToken(word, single_word=rnd.random() < 0.3, lstrip=rnd.random() < 0.3, rstrip=rnd.random() < 0.3, normalized=rnd.random() < 0.5)
        if token.normalized and t.normalizer and not t.normalizer.normalize_str(word):
            token.normalized = False  # a token that normalizes to nothing matches everywhere: the library breaks down
        (t.add_special_tokens if rnd.random() < 0.5 else t.add_tokens)([token])
    ids = {s: t.token_to_id(s) for s in ("<s>", "</s>")}
    post = rnd.random()
    if post < 0.3:
        t.post_processor = PP.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=list(ids.items()))
    elif post < 0.5:
        t.post_processor = PP.RobertaProcessing(sep=("</s>", ids["</s>"]), cls=("<s>", ids["<s>"]), trim_offsets=rnd.random() < 0.5, add_prefix_space=rnd.random() < 0.5)
    elif post < 0.7:
        t.post_processor = PP.ByteLevel(trim_offsets=rnd.random() < 0.5)
    return t


# ---------------------------------------------------------------- comparing

class Slow:
    """A tokenizer that has only Python's form, seen as one of `tokenizers`."""

    def __init__(self, t):
        self.t = t

    def encode(self, text):
        ids = self.t(text)["input_ids"]
        return type("E", (), {"ids": ids, "offsets": None, "word_ids": None})

    def decode(self, ids):
        return self.t.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def reference(folder):
    path = os.path.join(folder, "tokenizer.json")
    if os.path.exists(path):
        t = Tokenizer.from_file(path)
    else:
        from transformers import AutoTokenizer
        from transformers.utils import logging
        logging.set_verbosity_error()
        os.environ["TIKTOKEN_CACHE_DIR"] = ""  # its cache goes by path
        t = AutoTokenizer.from_pretrained(folder)
        if not t.is_fast:
            return Slow(t)
        t = t.backend_tokenizer
    t.no_truncation()
    t.no_padding()
    t.encode_special_tokens = False
    return t


PANIC = object()


def answer(t, text):
    """What the library says: ids, offsets and words in a table, and the decoded text; None where it refuses, PANIC
    where it breaks down."""
    try:
        e = t.encode(text)
    except BaseException as error:  # pyo3's panic is no Exception
        if isinstance(error, KeyboardInterrupt):
            raise
        return (None if isinstance(error, Exception) else PANIC), None
    want = np.zeros((len(e.ids), 4), np.int64)
    want[:, 0] = e.ids
    if e.offsets is not None and len(e.ids):
        want[:, 1:3] = e.offsets
        want[:, 3] = [-1 if w is None else w for w in e.word_ids]
    try:
        return want, t.decode(e.ids)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return want, None


def compare(parity, name, folder, docs, report, seconds=None):
    t = reference(folder)
    p = subprocess.Popen([parity, "--tokenize", folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    bad = n = nbytes = panics = 0
    stop = threading.Event()

    def feed():
        try:
            for d in docs:
                if stop.is_set():
                    break
                p.stdin.write(json.dumps(d).encode() + b"\n")
            p.stdin.close()
        except BrokenPipeError:
            pass
    th = threading.Thread(target=feed)
    th.start()
    until = None
    for d in docs:
        if until and time.monotonic() > until and n >= 10:
            stop.set()
            break
        line = p.stdout.readline()
        if seconds and not until:
            until = time.monotonic() + seconds  # from the first answer on: reading the files does not count
        want, text = answer(t, d)
        n += 1
        nbytes += len(d.encode())
        if want is PANIC:
            panics += 1
            continue
        if line.startswith(b"error") or want is None:
            wrong = not line.startswith(b"error") or want is not None
            if wrong:
                print("  %s: ours %r, theirs %s, for %r" % (name, line[:120], "an error" if want is None else "tokens", d[:60]))
            bad += wrong
            continue
        table, _, decoded = line.partition(b"\t")
        got = np.array(table.split(), np.int64)
        if isinstance(t, Slow):
            got = got.reshape(-1, 4)
            got[:, 1:] = 0
            got = got.reshape(-1)
        same = got.size == want.size and np.array_equal(got.reshape(-1, 4), want)
        if not same or (text is not None and (decoded.startswith(b"error") or json.loads(decoded) != text)):
            bad += 1
            if bad <= 3 and not same:
                g = got.reshape(-1, 4)
                k = next((i for i in range(min(len(g), len(want))) if not np.array_equal(g[i], want[i])), min(len(g), len(want)))
                at = int(want[k][1]) if k < len(want) else 0
                print("  %s: token %d is %s, expected %s near %r" % (name, k, g[k].tolist() if k < len(g) else None, want[k].tolist() if k < len(want) else None, d[max(0, at - 12):at + 12]))
            elif bad <= 3:
                ours = "" if decoded.startswith(b"error") else json.loads(decoded)
                k = next((i for i in range(min(len(ours), len(text))) if ours[i] != text[i]), min(len(ours), len(text)))
                print("  %s: decoded %r, expected %r" % (name, ours[max(0, k - 20):k + 20], text[max(0, k - 20):k + 20]))
    while stop.is_set() and p.stdout.readline():
        pass
    th.join()
    p.wait()
    if p.returncode:
        print("  %s: ended with status %d" % (name, p.returncode))
        bad += 1
    report[0] += n - panics - min(bad, n - panics)
    report[1] += bad
    report[2] += nbytes
    return n, nbytes, bad


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--megabytes", type=float, default=22)
    ap.add_argument("--pipelines", type=int, default=150, help="tokenizers put together at random")
    ap.add_argument("--parity", default=os.path.join(os.environ.get("BUILD", "build"), "parity"))
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--only", nargs="*", default=None)
    ap.add_argument("--keep", help="a folder for the tokenizers made here")
    ap.add_argument("--code-points", choices=["all", "most", "none"], default="most")
    ap.add_argument("dirs", nargs="*", help="default: those in $MODELS")
    a = ap.parse_args()
    limit = float(os.environ.get("MLTF_DIFFERENTIAL_SECONDS", "0"))
    began = time.monotonic()
    if not a.dirs and os.environ.get("MODELS"):
        more = os.path.dirname(os.path.abspath(__file__)) + "/../../tools/tokenizers.sh"
        got = subprocess.run(["sh", more], stdout=subprocess.PIPE)
        a.dirs = [os.path.dirname(p) for p in sorted(glob.glob(os.path.join(os.environ["MODELS"], "*", "tokenizer.json")))]
        a.dirs += sorted(glob.glob(got.stdout.decode().strip() + "/*/")) if got.returncode == 0 else []
        began = time.monotonic()  # getting them does not count
    rnd = random.Random(a.seed)
    sample = list(texts(rnd, 0.2 if limit else 0.4))
    report = [0, 0, 0]
    todo = [(n, f) for n, f in kinds(sample) if a.only is None or n in a.only]
    share = a.megabytes / max(1, len(todo) + len(a.dirs))
    cps = list(code_points(a.code_points == "all")) if a.code_points != "none" else []
    show = lambda name, r: print("%-16s %6d texts, %6.2f MB, %d differ" % (name, r[0], r[1] / 1e6, r[2]), flush=True)
    with tempfile.TemporaryDirectory() as tmp:
        if a.keep:
            tmp = a.keep
        jobs = []  # (name, how to make its folder, texts)

        def made(name, make):
            folder = os.path.join(tmp, name)
            if not os.path.exists(os.path.join(folder, "tokenizer.json")):
                t = make()
                os.makedirs(folder, exist_ok=True)
                t.save(os.path.join(folder, "tokenizer.json"))
            return folder

        def given(d):
            if not os.path.exists(os.path.join(d, "tokenizer.json")):
                return d
            folder = os.path.join(tmp, "given-" + os.path.basename(os.path.normpath(d)))
            os.makedirs(folder, exist_ok=True)
            shutil.copy(os.path.join(d, "tokenizer.json"), folder)
            return folder
        for name, make in todo:
            jobs.append((name, lambda name=name, make=make: made(name, make), lambda: list(texts(rnd, share))))
            if cps and name in ("gpt2", "llama3", "qwen2", "o200k", "tekken", "bloom", "deepseek", "falcon", "clip", "bert-uncased", "unigram", "words", "regex", "unigram-nfkd"):
                jobs.append((name + "/all", lambda name=name, make=make: made(name, make), lambda: rnd.sample(cps, len(cps)) if limit else cps))
        for d in a.dirs:
            jobs.append((os.path.basename(os.path.normpath(d)), lambda d=d: given(d), lambda: list(texts(rnd, share))))
        pipelines = [0, 0, 0]
        for k in range(a.pipelines):
            jobs.append(("pipeline-%d" % k, lambda k=k: made("pipeline-%d" % k, lambda: some_pipeline(random.Random("%d %d" % (a.seed, k)), sample)), lambda: rnd.sample(sample, 40)))
        late = None
        if limit:
            rnd.shuffle(jobs)
        for k, (name, folder, docs) in enumerate(jobs):
            if limit:  # an equal share of the time that is left
                left = began + limit - time.monotonic()
                if left < 0:
                    late = late or name
                    continue
                late = None
            try:
                where = folder()
            except BaseException as error:  # a trainer that breaks down on a strange pipeline
                if isinstance(error, KeyboardInterrupt) or not name.startswith("pipeline-"):
                    raise
                continue
            seconds = max(0.5, 2 * (began + limit - time.monotonic()) / (len(jobs) - k)) if limit else None
            r = compare(a.parity, name, where, docs(), report, seconds)
            if not name.startswith("pipeline-") or r[2]:
                show(name, r)
            if name.startswith("pipeline-"):
                pipelines = [x + y for x, y in zip(pipelines, r)]
        if a.pipelines:
            show("pipelines", pipelines)
        if late:
            print("%g seconds were over before %s" % (limit, late))
    print("%.2f MB" % (report[2] / 1e6))
    print("%d passed, %d failed" % tuple(report[:2]))
    return 1 if report[1] else 0


if __name__ == "__main__":
    sys.exit(main())
