#!/usr/bin/env python3
"""Tokenizers beside Hugging Face's `tokenizers`, tiktoken and sentencepiece: the rows "tokenizers" of `make bench`.

    python bench/peers_tokenizers.py BUILD MODELS [--megabytes 3] [--rounds 3]

One text for all: the documentation and source that the Python environment carries, in lines of about a kilobyte. One
thread is measured in processor time, two by the wall; each figure is the best round of a process of its own.
Tokenizers: MiniLM (WordPiece), SmolLM2 and DeepSeek (byte-level BPE), Qwen's ranks (tiktoken), Mistral
(sentencepiece's BPE with byte fallback), and a Unigram of 16,000 pieces trained here on the same text.
"""
import argparse
import glob
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent


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


def best(fn, rounds, clock):
    t = []
    for _ in range(rounds):
        s = clock()
        fn()
        t.append(clock() - s)
    return min(t)


def worker(kind, folder, text, threads, rounds):
    threads, rounds = int(threads), int(rounds)
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if threads > 1 else "false"
    os.environ["RAYON_NUM_THREADS"] = str(threads)
    clock = time.process_time if threads == 1 else time.perf_counter
    lines, n = docs(text)
    began = time.process_time()
    out = {}
    if kind == "tokenizers":
        from tokenizers import Tokenizer
        began = time.process_time()
        tk = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
        tk.no_truncation()
        tk.no_padding()
        out["load_ms"] = (time.process_time() - began) * 1e3
        out["all"] = n / best(lambda: tk.encode_batch(lines), rounds, clock) / 1e6
        out["ids"] = n / best(lambda: tk.encode_batch_fast(lines), rounds, clock) / 1e6
        if threads == 1:
            ids = tk.encode("".join(lines[:len(lines) // 4])).ids
            out["decode"] = len(ids) / best(lambda: tk.decode(ids), 1, clock) / 1e6
    elif kind == "tiktoken":
        import base64
        import tiktoken
        sys.path.insert(0, str(HERE.parent / "tests" / "interop"))
        from differential_tokenizers import LLAMA3
        ranks = {base64.b64decode(a): int(b) for a, b in (line.split() for line in open(os.path.join(folder, "tokenizer.model"), "rb") if line.strip())}
        tk = tiktoken.Encoding("ranks", pat_str=LLAMA3, mergeable_ranks=ranks, special_tokens={})
        out["ids"] = n / best(lambda: tk.encode_ordinary_batch(lines, num_threads=threads), rounds, clock) / 1e6
    else:
        import sentencepiece
        tk = sentencepiece.SentencePieceProcessor(glob.glob(os.path.join(folder, "*.model"))[0])
        out["ids"] = n / best(lambda: tk.encode(lines, num_threads=threads) if threads > 1 else [tk.encode(x) for x in lines], rounds, clock) / 1e6
    print(json.dumps(out))


def make_text(work, megabytes):
    path = work / ("text-%g.txt" % megabytes)
    if not path.exists():
        root = pathlib.Path(sys.prefix)
        files = sorted(glob.glob(str(root / "lib/python3*/site-packages/**/*.md"), recursive=True)) + sorted(glob.glob(str(root / "lib/python3*/site-packages/**/METADATA"), recursive=True))
        files += sorted(glob.glob(os.path.dirname(os.__file__) + "/*.py"))
        parts, size = [], 0
        for f in files:
            try:
                parts.append(open(f, encoding="utf-8").read()[:60000])
            except (UnicodeDecodeError, OSError):
                continue
            size += len(parts[-1].encode())
            if size > megabytes * 1e6:
                break
        path.write_text("\n".join(parts), encoding="utf-8")
    return path


def make_unigram(work, text):
    """A sentencepiece model of the text, and what transformers makes of it."""
    folder = work / "unigram"
    if not (folder / "tokenizer.json").exists():
        import sentencepiece
        from transformers import T5TokenizerFast
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        sentencepiece.SentencePieceTrainer.train(input=str(text), model_prefix=str(folder / "spiece"), vocab_size=16000, model_type="unigram", pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
                                                 minloglevel=2, hard_vocab_limit=False, input_sentence_size=20000)
        T5TokenizerFast(str(folder / "spiece.model"), extra_ids=0, legacy=False).backend_tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def with_json(folder, work, name):
    """Hugging Face's form of a checkpoint without one, beside its own files."""
    to = work / name
    if not (to / "tokenizer.json").exists():
        from transformers import AutoTokenizer
        os.environ["TIKTOKEN_CACHE_DIR"] = ""
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(folder, to)
        AutoTokenizer.from_pretrained(str(folder)).backend_tokenizer.save(str(to / "tokenizer.json"))
    return to


def bench_tokenizers(t, build, models, rounds=3, megabytes=3):
    work = models / "bench" / "tokenizers"
    work.mkdir(parents=True, exist_ok=True)
    got = pathlib.Path(subprocess.run(["sh", str(HERE.parent / "tools" / "tokenizers.sh")], check=True, stdout=subprocess.PIPE, text=True).stdout.strip())
    text = make_text(work, megabytes)
    smollm2 = models / "bench" / "smollm2"
    if not smollm2.exists():
        subprocess.run([build / "mltf", "convert", models / "smollm2.gguf", smollm2], check=True, capture_output=True)
    rows = [("MiniLM, WordPiece", models / "minilm", []), ("SmolLM2, byte-level BPE", smollm2, []), ("DeepSeek, byte-level BPE", got / "deepseek", []),
            ("Qwen, byte-level BPE", with_json(got / "qwen", work, "qwen"), ["tiktoken"]), ("Mistral, sentencepiece BPE", with_json(got / "mistral", work, "mistral"), ["sentencepiece"]),
            ("T5-like, Unigram", make_unigram(work, text), ["sentencepiece"])]
    ask = lambda *args: json.loads(subprocess.run([str(a) for a in args], check=True, stdout=subprocess.PIPE, text=True).stdout)
    for name, folder, others in rows:
        mine = ask(build / "bench/bench_tokenizers", folder, text, rounds)
        theirs = {(k, n): ask(sys.executable, __file__, "--worker", k, folder, text, n, rounds) for k in ["tokenizers"] + others for n in (1, 2)}
        for k, words in ((1, "one thread"), (2, "two threads")):
            t.add("%s: offsets too, %s" % (name, words), "MB/s", {"mltf": mine["all"][k - 1], "tokenizers": theirs["tokenizers", k]["all"]})
            t.add("%s: ids, %s" % (name, words), "MB/s", {"mltf": mine["ids"][k - 1], **{o: theirs[o, k]["ids"] for o in ["tokenizers"] + others}})
        t.add("%s: loading" % name, "ms", {"mltf": mine["load_ms"], "tokenizers": theirs["tokenizers", 1]["load_ms"]}, faster_is_more=False)
        t.add("%s: decoding" % name, "M tok/s", {"mltf": mine["decode"], "tokenizers": theirs["tokenizers", 1]["decode"]})
        print("  10 MB of letters without a space: %.0f ms, %.1f times as long as 1 MB" % (mine["long_ms"][1], mine["long_ms"][1] / mine["long_ms"][0]), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(*sys.argv[2:])
    else:
        from peers import Table
        p = argparse.ArgumentParser(description=__doc__)
        p.add_argument("build", type=pathlib.Path)
        p.add_argument("models", type=pathlib.Path)
        p.add_argument("--megabytes", type=float, default=3)
        p.add_argument("--rounds", type=int, default=3)
        o = p.parse_args()
        bench_tokenizers(Table(), o.build.resolve(), o.models.resolve(), o.rounds, o.megabytes)
