#!/usr/bin/env python3
"""Processor time of the same texts through Hugging Face tokenizers (and tiktoken's GPT-2 where its file is at hand), one thread.

    python bench/peers_tokenizers.py DIR TEXT...
"""
import os
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
from tokenizers import Tokenizer


def docs(path):
    b = open(path, "rb").read()
    out, at = [], 0
    while at < len(b):
        end = min(at + 1000, len(b))
        nl = b.find(b"\n", end)
        end = nl + 1 if nl >= 0 and end < len(b) else len(b)
        out.append(b[at:end].decode("utf-8"))
        at = end
    return out, len(b)


def best(fn, rounds=3):
    t = []
    for _ in range(rounds):
        s = time.process_time()
        fn()
        t.append(time.process_time() - s)
    return min(t)


s = time.process_time()
tk = Tokenizer.from_file(os.path.join(sys.argv[1], "tokenizer.json"))
tk.no_truncation()
tk.no_padding()
print("%s: loaded in %.1f ms" % (sys.argv[1], (time.process_time() - s) * 1e3))
for path in sys.argv[2:]:
    d, n = docs(path)
    n1 = best(lambda: tk.encode_batch(d))
    n2 = best(lambda: tk.encode_batch_fast(d))
    print("%s: tokenizers %.2f MB/s with offsets, %.2f MB/s encode_batch_fast, one thread" % (path, n / n1 / 1e6, n / n2 / 1e6))
    ids = tk.encode("".join(d)).ids
    t = best(lambda: tk.decode(ids))
    print("%s: tokenizers decodes %.2f M tokens/s" % (path, len(ids) / t / 1e6))
