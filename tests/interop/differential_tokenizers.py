#!/usr/bin/env python3
"""Our tokens against those of the real `tokenizers`, on tokenizers trained here and on given ones.

    python tests/interop/differential_tokenizers.py [--megabytes 22] [--parity build/parity] [DIR ...]

Texts: source code, words of many scripts, random Unicode, runs without a space, and code points (--code-points all:
every one) next to letters, digits, spaces and apostrophes. Ids and offsets must be equal. DIR: folders with a tokenizer.json of which
nothing but that file counts (they are copied alone). Ends with "N passed, N failed".
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
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    for p in sorted(glob.glob(os.path.join(os.path.dirname(os.__file__), "*.py")))[:150] + sorted(glob.glob(here + "/src/*/*.c")):
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


def compare(parity, name, folder, docs, report):
    t = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    t.no_truncation()
    t.no_padding()
    t.encode_special_tokens = False
    p = subprocess.Popen([parity, "--tokenize", folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    bad = n = nbytes = 0
    import threading

    def feed():
        for d in docs:
            p.stdin.write(json.dumps(d).encode() + b"\n")
        p.stdin.close()
    th = threading.Thread(target=feed)
    th.start()
    for d in docs:
        line = p.stdout.readline()
        e = t.encode(d)
        want = np.empty((len(e.ids), 3), np.int64)
        want[:, 0] = e.ids
        if len(e.ids):
            want[:, 1:] = e.offsets
        got = np.array(line.split(), np.int64) if not line.startswith(b"error") else np.array([-1])
        n += 1
        nbytes += len(d.encode())
        if got.size != want.size or not np.array_equal(got.reshape(-1, 3), want):
            bad += 1
            if bad <= 3:
                g = got.reshape(-1, 3) if got.size % 3 == 0 else got[:0].reshape(0, 3)
                k = next((i for i in range(min(len(g), len(want))) if not np.array_equal(g[i], want[i])), min(len(g), len(want)))
                at = int(want[k][1]) if k < len(want) else 0
                print("  %s: token %d is %s, expected %s near %r" % (name, k, g[k].tolist() if k < len(g) else None, want[k].tolist() if k < len(want) else None, d[max(0, at - 12):at + 12]))
    th.join()
    p.wait()
    if p.returncode:
        bad += 1
    report[0] += n - bad
    report[1] += bad
    print("%-16s %6d texts, %6.2f MB, %d differ" % (name, n, nbytes / 1e6, bad), flush=True)


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--megabytes", type=float, default=22)
    ap.add_argument("--parity", default=os.path.join(os.environ.get("BUILD", "build"), "parity"))
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--only", nargs="*", default=[])
    ap.add_argument("--code-points", choices=["all", "most", "none"], default="most")
    ap.add_argument("dirs", nargs="*", help="default: those in $MODELS")
    a = ap.parse_args()
    if not a.dirs and os.environ.get("MODELS"):
        a.dirs = [os.path.dirname(p) for p in sorted(glob.glob(os.path.join(os.environ["MODELS"], "*", "tokenizer.json")))]
    rnd = random.Random(a.seed)
    sample = list(texts(rnd, 0.4))
    report = [0, 0]
    todo = [(n, f) for n, f in kinds(sample) if not a.only or n in a.only]
    share = a.megabytes / (len(todo) + len(a.dirs))
    cps = list(code_points(a.code_points == "all")) if a.code_points != "none" else []
    with tempfile.TemporaryDirectory() as tmp:
        for name, make in todo:
            folder = os.path.join(tmp, name)
            os.makedirs(folder)
            make().save(os.path.join(folder, "tokenizer.json"))
            compare(a.parity, name, folder, list(texts(rnd, share)), report)
            if cps and name in ("gpt2", "llama3", "qwen2", "o200k", "tekken", "bloom", "deepseek", "falcon", "clip", "bert-uncased", "unigram", "words", "regex", "unigram-nfkd"):
                compare(a.parity, name + "/all", folder, cps, report)
        for d in a.dirs:
            folder = os.path.join(tmp, "given%d" % len(os.listdir(tmp)))
            os.makedirs(folder)
            shutil.copy(os.path.join(d, "tokenizer.json"), folder)
            compare(a.parity, os.path.basename(os.path.normpath(d)), folder, list(texts(rnd, share)), report)
    print("%d passed, %d failed" % tuple(report))
    return 1 if report[1] else 0


if __name__ == "__main__":
    sys.exit(main())
