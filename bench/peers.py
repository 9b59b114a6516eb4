"""mltf beside its peers, on this machine: the rows of `make bench`.

    python bench/peers.py BUILD MODELS [--threads N] [--rounds N] [--only GROUP,...] [--json FILE]

BUILD holds mltf and bench/*, MODELS is what tools/models.sh prints. Every row compares the same model, threads and dtype. Each
side is a process that waits for a line before each round, and rounds take turns: a busy minute hits both. Figures
are medians over the rounds; the ratio is mltf's speed over the peer's (for times: the peer's time over mltf's).
With one thread, time is the process's CPU time, so that other work on the machine counts for less.
Groups: start, encode, generate, families, summarize, llama-1b, serve, json. `--only families:albert` takes one row.
"""
import argparse
import http.client
import json
import os
import pathlib
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import random_models

MIXED = [8, 16, 24, 32, 48, 64, 96, 128, 192, 256]
PROMPT, NEW = 512, 64
FAMILY_LENGTH = 128  # tokens of the text of an encoder family
SOURCE, SUMMARY = 256, 32
PROMPT_1B, NEW_1B = 128, 12
GB = 1 << 30


# ---- workers: peers in processes of their own -----------------------------------------------------------------


clock = time.perf_counter


def use_threads(n):
    global clock
    if n == 1:
        clock = time.process_time


def answer_rounds(run):
    """Warm up, say ready, then one round a line."""
    run()
    print("ready", flush=True)
    for _ in sys.stdin:
        print("round", *(f"{t:.6f}" for t in run()), flush=True)


def repeated(call, seconds=0.1):
    start, n = clock(), 0
    while (t := clock() - start) < seconds:
        call()
        n += 1
    return (t / n,)


def worker_torch_encode(model_dir, dtype, lengths, threads):
    import torch
    from transformers import AutoModel

    torch.set_num_threads(threads)
    model = AutoModel.from_pretrained(model_dir, dtype=getattr(torch, dtype)).eval()
    ids = [torch.randint(1000, 20000, (1, n)) for n in lengths]
    longest = max(lengths)
    padded = torch.zeros(len(lengths), longest, dtype=torch.long)
    mask = torch.zeros_like(padded)
    for i, row in enumerate(ids):
        padded[i, : row.shape[1]] = row
        mask[i, : row.shape[1]] = 1

    def one_by_one():
        for row in ids:
            model(row)

    def batch():
        model(padded, attention_mask=mask)

    with torch.inference_mode():
        one_by_one(), batch()
        way = one_by_one if repeated(one_by_one) < repeated(batch) else batch
        answer_rounds(lambda: repeated(way))


def worker_onnx_encode(model_dir, dtype, lengths, threads):
    import numpy as np
    import onnxruntime as ort

    file = pathlib.Path(model_dir).parent / "minilm.onnx"
    if not file.exists():
        import torch
        from transformers import AutoModel

        model = AutoModel.from_pretrained(model_dir, attn_implementation="eager").eval()
        model.config.return_dict = False
        x = torch.ones(2, 7, dtype=torch.long)
        axes = {0: "batch", 1: "tokens"}
        names = ["input_ids", "attention_mask", "token_type_ids"]
        torch.onnx.export(model, (x, x, 0 * x), str(file), input_names=names, output_names=["hidden"],
                          dynamic_axes={n: axes for n in names}, dynamo=False)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    out = [session.get_outputs()[0].name]

    def feed(ids, mask):
        return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}

    alone = [feed(np.random.randint(1000, 20000, (1, n)), np.ones((1, n), np.int64)) for n in lengths]
    longest = max(lengths)
    together = feed(np.zeros((len(lengths), longest), np.int64), np.zeros((len(lengths), longest), np.int64))
    for i, f in enumerate(alone):
        together["input_ids"][i, : lengths[i]] = f["input_ids"][0]
        together["attention_mask"][i, : lengths[i]] = 1

    def one_by_one():
        for f in alone:
            session.run(out, f)

    def batch():
        session.run(out, together)

    one_by_one(), batch()
    way = one_by_one if repeated(one_by_one) < repeated(batch) else batch
    answer_rounds(lambda: repeated(way))


def worker_torch_family(model_dir, threads):
    import torch
    from transformers import AutoModel

    torch.set_num_threads(threads)
    model = AutoModel.from_pretrained(model_dir).eval()
    ids = torch.randint(1000, 8000, (1, FAMILY_LENGTH))
    with torch.inference_mode():
        answer_rounds(lambda: repeated(lambda: model(ids)))


def worker_onnx_family(model_dir, threads):
    """The family's graph, traced for exactly this length."""
    import numpy as np
    import onnxruntime as ort

    file = pathlib.Path(model_dir) / "model.onnx"
    if not file.exists():
        import torch
        from transformers import AutoModel

        model = AutoModel.from_pretrained(model_dir, attn_implementation="eager").eval()
        model.config.return_dict = False
        new = file.with_suffix(".new")
        torch.onnx.export(model, (torch.full((1, FAMILY_LENGTH), 1000),), str(new), input_names=["input_ids"],
                          output_names=["hidden"], dynamo=False)
        new.rename(file)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    out, feed = [session.get_outputs()[0].name], {"input_ids": np.random.randint(1000, 8000, (1, FAMILY_LENGTH))}
    answer_rounds(lambda: repeated(lambda: session.run(out, feed)))


def worker_torch_summarize(model_dir, source, new, threads):
    import torch
    from transformers import AutoModelForSeq2SeqLM

    torch.set_num_threads(threads)
    model = AutoModelForSeq2SeqLM.from_pretrained(model_dir).eval()
    ids = torch.randint(1000, 30000, (1, source))

    def run():
        with torch.inference_mode():
            start = clock()
            states = model.get_encoder()(ids)
            middle = clock()
            token, past = torch.zeros(1, 1, dtype=torch.long), None
            for _ in range(new):
                out = model(encoder_outputs=states, decoder_input_ids=token, past_key_values=past, use_cache=True)
                token, past = out.logits[:, -1:].argmax(-1), out.past_key_values
            return middle - start, clock() - middle

    answer_rounds(run)


def worker_torch_generate(model_dir, dtype, prompt, new, threads):
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=getattr(torch, dtype)).eval()
    ids = torch.randint(1000, 40000, (1, prompt))

    def run():
        with torch.inference_mode():
            start = clock()
            out = model(ids, use_cache=True, logits_to_keep=1)
            middle = clock()
            for _ in range(new):
                token = out.logits[:, -1:].argmax(-1)
                out = model(token, past_key_values=out.past_key_values, use_cache=True)
            return middle - start, clock() - middle

    answer_rounds(run)


def worker_llama_cpp(gguf_file, prompt, new, threads):
    import llama_cpp
    import numpy as np

    model = llama_cpp.Llama(gguf_file, n_ctx=prompt + new + 8, n_threads=threads, n_threads_batch=threads,
                            n_batch=prompt, n_ubatch=prompt, verbose=False)
    ids = [1000 + i * 37 % 40000 for i in range(prompt)]

    def token():
        logits = llama_cpp.llama_get_logits_ith(model._ctx.ctx, -1)
        return int(np.ctypeslib.as_array(logits, shape=(model.n_vocab(),)).argmax())

    def run():
        model.reset()
        model._ctx.kv_cache_clear()
        start = clock()
        model.eval(ids)
        middle = clock()
        for _ in range(new):
            model.eval([token()])
        return middle - start, clock() - middle

    answer_rounds(run)


def write_gguf(source, target, kind):
    """The same model with all matrices as BF16, Q8_0 or Q4_1."""
    import gguf
    import numpy as np

    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    skip = ("general.architecture", "general.quantization_version", "general.file_type")
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key in skip:
            continue
        if field.types[0] == gguf.GGUFValueType.ARRAY:
            writer.add_key_value(key, field.contents(), field.types[0], sub_type=field.types[-1])
        else:
            writer.add_key_value(key, field.contents(), field.types[0])
    quant = gguf.GGMLQuantizationType[kind]
    for t in reader.tensors:
        a = gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32)
        a = a.reshape([int(n) for n in t.shape][::-1])
        if a.ndim == 1:
            writer.add_tensor(t.name, a)
        else:
            writer.add_tensor(t.name, gguf.quants.quantize(a, quant), raw_dtype=quant)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# ---- the driver -------------------------------------------------------------------------------------------------


class Side:
    """A process that answers a line with a round's times."""

    def __init__(self, name, command):
        self.name, self.times, self.errors = name, [], tempfile.TemporaryFile("w+", errors="replace")
        self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.errors, text=True)
        self.ready = False
        for line in self.process.stdout:
            if line.strip() == "ready":
                self.ready = True
                break

    def round(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline().split()
        if not line or line[0] != "round":
            raise RuntimeError(f"{self.name} stopped")
        self.times.append([float(t) for t in line[1:]])

    def why(self):
        """The last line of what a process that did not start had to say."""
        self.process.wait()
        self.errors.seek(0)
        lines = [x.strip() for x in self.errors if x.strip()]
        return lines[-1][:160] if lines else f"exit status {self.process.returncode}"

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def take_turns(sides, rounds):
    """Median time of each side, per figure; sides that did not start are left out."""
    for s in sides:
        if not s.ready:
            print(f"  ({s.name} did not start: {s.why()})", flush=True)
    sides = [s for s in sides if s.ready]
    for _ in range(rounds):
        for s in sides:
            s.round()
            time.sleep(0.3)  # spinning threads of the one just run go to sleep: onnxruntime's took 10 % of the next one's time
    for s in sides:
        s.close()
    return {s.name: [statistics.median(t[i] for t in s.times) for i in range(len(s.times[0]))] for s in sides}


class Table:
    def __init__(self):
        self.rows = []

    def add(self, what, unit, figures, faster_is_more=True):
        """figures: name -> value; mltf first."""
        mine = figures.get("mltf")
        for name, value in figures.items():
            if name == "mltf" or mine is None:
                continue
            ratio = mine / value if faster_is_more else value / mine
            self.rows.append({"what": what, "unit": unit, "mltf": mine, "peer": name, "value": value, "ratio": ratio})
            print(f"{what:44s} {mine:10.1f} {unit:9s} {name:12s} {value:10.1f}   x{ratio:.2f}", flush=True)


def bench_start(t, build, models, rounds):
    """A process from exec to its first answer, and the most memory it held."""
    work = models / "bench"
    work.mkdir(exist_ok=True)
    saved, request = work / "minilm-mlflow", work / "request.json"
    request.write_text(json.dumps({"inputs": ["a happy person is a happy person"]}))
    if not saved.exists():
        subprocess.run([build / "mltf", "models", "save", "-m", models / "minilm", "-o", saved, "--task",
                        "feature-extraction"], check=True, capture_output=True)
    answer = work / "answer.json"
    arguments = ["models", "predict", "-m", str(saved), "-i", str(request), "-o", str(answer)]
    python = ["-t", "json", "--env-manager", "local"]
    commands = {"mltf": [build / "mltf", *arguments],
                "mlflow": [sys.executable, "-m", "mlflow", *arguments, *python]}
    seconds, memory = {n: [] for n in commands}, {n: [] for n in commands}
    for r in range(rounds + 1):
        for name, command in commands.items():
            if name == "mlflow" and r > 3:
                continue  # ten seconds each
            start = time.perf_counter()
            p = subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                 env={**os.environ, "PYTHONWARNINGS": "ignore"})
            _, status, usage = os.wait4(p.pid, 0)
            p.returncode = status
            if status != 0:
                raise RuntimeError(f"{name} failed: {command}")
            if r > 0:  # the first fills the page cache
                seconds[name].append(time.perf_counter() - start)
                memory[name].append(usage.ru_maxrss / 1024)
    t.add("MiniLM: exec to first answer", "ms", {n: 1e3 * statistics.median(v) for n, v in seconds.items()}, False)
    t.add("MiniLM: most memory held", "MB", {n: statistics.median(v) for n, v in memory.items()}, False)


def bench_encode(t, build, models, rounds, threads):
    me, here = [build / "bench/bench_model", models / "minilm"], [sys.executable, __file__, "--worker"]
    for dtype in ("float32", "bfloat16"):
        for lengths in ([8], [32], [128], [256], MIXED):
            text = ",".join(str(n) for n in lengths)
            name = f"{len(lengths)} texts of 8-256" if len(lengths) > 1 else f"1 text of {text}"
            sides = [Side("mltf", [*me, "--gate", "--threads", threads, "--rounds", rounds, "--dtype", dtype, "encode", text]),
                     Side("torch", [*here, "torch_encode", models / "minilm", dtype, text, threads])]
            if dtype == "float32":
                sides.append(Side("onnxruntime", [*here, "onnx_encode", models / "minilm", dtype, text, threads]))
            median = take_turns(sides, rounds)
            t.add(f"MiniLM {dtype}: {name}", "tokens/s", {n: sum(lengths) / v[0] for n, v in median.items()})


def bench_generate(t, build, models, rounds, threads):
    work = models / "bench"
    work.mkdir(exist_ok=True)
    checkpoint = work / "smollm2"
    if not checkpoint.exists():
        subprocess.run([build / "mltf", "convert", models / "smollm2.gguf", checkpoint], check=True, capture_output=True)
    here = [sys.executable, __file__, "--worker"]
    me = [build / "bench/bench_model", checkpoint, "--gate", "--threads", threads, "--rounds", rounds, "--dtype", "bfloat16"]
    task = ["generate", PROMPT, NEW]
    for what, options, kind in (("bfloat16", [], "BF16"), ("int8", ["--quantize", "int8"], "Q8_0"),
                                ("int4", ["--quantize", "int4"], "Q4_1")):
        file = work / f"smollm2-{kind}.gguf"
        if not file.exists():
            write_gguf(models / "smollm2.gguf", file, kind)
        sides = [Side("mltf", [*me, *options, *task]), Side("llama.cpp", [*here, "llama_cpp", file, PROMPT, NEW, threads])]
        if what == "bfloat16":
            sides.append(Side("torch", [*here, "torch_generate", checkpoint, what, PROMPT, NEW, threads]))
        median = take_turns(sides, rounds)
        t.add(f"SmolLM2-135M {what}: prefill of {PROMPT}", "tokens/s", {n: PROMPT / v[0] for n, v in median.items()})
        t.add(f"SmolLM2-135M {what}: decode", "tokens/s", {n: NEW / v[1] for n, v in median.items()})


def random_checkpoint(models, name):
    target = models / "bench" / f"random-{name}"
    if not target.exists():
        subprocess.run([sys.executable, random_models.__file__, name, target], check=True, capture_output=True)
    return target


def bench_families(t, build, models, rounds, threads, names):
    """One layer is like the next: few of them, base shapes, one text, f32."""
    here = [sys.executable, __file__, "--worker"]
    for name in names or random_models.ENCODERS:
        checkpoint = random_checkpoint(models, name)
        me = [build / "bench/bench_model", checkpoint, "--gate", "--threads", threads, "--rounds", rounds]
        sides = [Side("mltf", [*me, "encode", FAMILY_LENGTH]),
                 Side("torch", [*here, "torch_family", checkpoint, threads]),
                 Side("onnxruntime", [*here, "onnx_family", checkpoint, threads])]
        median = take_turns(sides, rounds)
        t.add(f"{name} float32: 1 text of {FAMILY_LENGTH}", "tokens/s", {n: FAMILY_LENGTH / v[0] for n, v in median.items()})


def bench_summarize(t, build, models, rounds, threads):
    here = [sys.executable, __file__, "--worker"]
    for name in ("t5-small", "bart-base"):
        checkpoint = random_checkpoint(models, name)
        me = [build / "bench/bench_model", checkpoint, "--gate", "--threads", threads, "--rounds", rounds]
        median = take_turns([Side("mltf", [*me, "summarize", SOURCE, SUMMARY]),
                             Side("torch", [*here, "torch_summarize", checkpoint, SOURCE, SUMMARY, threads])], rounds)
        t.add(f"{name} float32: encode {SOURCE}", "tokens/s", {n: SOURCE / v[0] for n, v in median.items()})
        t.add(f"{name} float32: decode", "tokens/s", {n: SUMMARY / v[1] for n, v in median.items()})


def available_memory():
    return int(next(x for x in open("/proc/meminfo") if x.startswith("MemAvailable")).split()[1]) * 1024


def bench_llama_1b(t, build, models, rounds, threads, widths):
    """A llama of 1.24 billion random weights; the files take 7 GB in the cache."""
    here, work = [sys.executable, __file__, "--worker"], models / "bench"
    work.mkdir(exist_ok=True)
    if available_memory() < 10 * GB:
        return print(f"  (llama-1b left out: three copies need 10 GB, {available_memory() / GB:.1f} GB of memory are free)")
    if not (work / "random-llama-1b").exists() and shutil.disk_usage(work).free < 12 * GB:
        return print("  (llama-1b left out: its files need 12 GB on the disk)")
    checkpoint = random_checkpoint(models, "llama-1b")
    me = [build / "bench/bench_model", checkpoint, "--gate", "--threads", threads, "--rounds", rounds, "--dtype", "bfloat16"]
    for what, options, kind in (("bfloat16", [], "BF16"), ("int8", ["--quantize", "int8"], "Q8_0"),
                                ("int4", ["--quantize", "int4"], "Q4_0")):
        if widths and what not in widths:
            continue
        file, wide = work / f"random-llama-1b-{kind}.gguf", work / "random-llama-1b-BF16.gguf"
        if what == "int4":  # as llama.cpp's own program makes it, with the table of embeddings in Q6_K
            file = work / "random-llama-1b-Q4_0-Q6_K.gguf"
            random_models.write_llama_gguf(models / "smollm2.gguf", wide, "BF16")
            random_models.quantize_gguf(wide, file)
        else:
            random_models.write_llama_gguf(models / "smollm2.gguf", file, kind)
        sides = [Side("mltf", [*me, *options, "generate", PROMPT_1B, NEW_1B]),
                 Side("llama.cpp", [*here, "llama_cpp", file, PROMPT_1B, NEW_1B, threads])]
        if what == "bfloat16":
            sides.append(Side("torch", [*here, "torch_generate", checkpoint, what, PROMPT_1B, NEW_1B, threads]))
        median = take_turns(sides, rounds)
        t.add(f"llama-1b {what}: prefill of {PROMPT_1B}", "tokens/s", {n: PROMPT_1B / v[0] for n, v in median.items()})
        t.add(f"llama-1b {what}: decode", "tokens/s", {n: NEW_1B / v[1] for n, v in median.items()})


def resident(pid):
    """MB that a process and its children hold."""
    total = 0
    for p in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            lines = dict(x.split(":", 1) for x in (p / "status").read_text().splitlines() if ":" in x)
        except OSError:
            continue
        if int(p.name) == pid:
            total += int(lines["VmRSS"].split()[0]) / 1024
        elif int(lines["PPid"]) == pid:
            total += resident(int(p.name))
    return total


def requests_a_second(port, seconds, clients=4):
    body, done = json.dumps({"inputs": ["a happy person is a happy person"]}), []

    def client():
        connection, n = http.client.HTTPConnection("127.0.0.1", port, timeout=60), 0
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                return
            n += 1
        done.append(n)

    all_clients = [threading.Thread(target=client) for _ in range(clients)]
    for c in all_clients:
        c.start()
    for c in all_clients:
        c.join()
    if len(done) < clients:
        raise RuntimeError("a request to the server failed")
    return sum(done) / seconds


def bench_serve(t, build, models):
    """Four clients, short texts, MiniLM: answers a second and what the server holds."""
    saved = models / "bench" / "minilm-mlflow"
    if not saved.exists():
        subprocess.run([build / "mltf", "models", "save", "-m", models / "minilm", "-o", saved, "--task",
                        "feature-extraction"], check=True, capture_output=True)
    rates, memory = {}, {}
    for name, command in (("mltf", [build / "mltf"]), ("mlflow", [sys.executable, "-m", "mlflow"])):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        command = [*command, "models", "serve", "-m", saved, "-h", "127.0.0.1", "-p", port, "--env-manager", "local"]
        path = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"  # mlflow looks for uvicorn there
        server = subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                  env={**os.environ, "PATH": path})
        try:
            for _ in range(1200):
                time.sleep(0.1)
                if server.poll() is not None:
                    raise RuntimeError(f"exit status {server.returncode}")
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    pass
            requests_a_second(port, 1)
            rates[name] = requests_a_second(port, 4)
            memory[name] = resident(server.pid)
        except (OSError, RuntimeError, http.client.HTTPException) as e:
            print(f"  ({name} did not serve: {e})")
        server.terminate()
        server.wait()
    t.add("MiniLM served to 4 clients", "answers/s", rates)
    t.add("MiniLM served: memory held", "MB", memory, False)


def bench_tokenizers(t, build, models):
    import peers_tokenizers
    peers_tokenizers.bench_tokenizers(t, build, models)


def bench_json(t, build, models, rounds):
    """Reading and writing tokenizer.json-like text; Python's own json is what MLflow uses."""
    file = models / "minilm" / "tokenizer.json"
    text = file.read_text()
    out = subprocess.run([build / "bench/bench_json", file], check=True, capture_output=True, text=True).stdout
    print("  " + out.strip().replace("\n", "\n  "))
    size, reads, writes = len(text.encode()) / 1e6, [], []
    for _ in range(rounds):
        start = time.perf_counter()
        value = json.loads(text)
        middle = time.perf_counter()
        json.dumps(value)
        reads.append(size / (middle - start))
        writes.append(size / (time.perf_counter() - middle))
    print(f"  Python json: read {max(reads):.0f} MB/s, write {max(writes):.0f} MB/s")


def main():
    if len(sys.argv) > 2 and sys.argv[1] == "--worker":
        kind, args = sys.argv[2], sys.argv[3:]
        use_threads(int(args[-1]))
        if kind in ("torch_encode", "onnx_encode"):
            lengths = [int(n) for n in args[2].split(",")]
            (worker_torch_encode if kind == "torch_encode" else worker_onnx_encode)(args[0], args[1], lengths, int(args[3]))
        else:
            work = globals()[f"worker_{kind}"]
            work(*(int(a) if a.isdigit() else a for a in args))
        return
    p = argparse.ArgumentParser()
    p.add_argument("build", type=pathlib.Path)
    p.add_argument("models", type=pathlib.Path)
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--only", default="start,encode,generate,families,summarize,llama-1b,serve,tokenizers,json")
    p.add_argument("--json", help="also write the rows here")
    o = p.parse_args()
    build, models, t = o.build.resolve(), o.models.resolve(), Table()
    print(f"{platform.processor() or platform.machine()}, {o.threads} threads, {o.rounds} rounds in turns, medians; "
          f"load average {os.getloadavg()[0]:.1f}")
    print(f"{'':44s} {'mltf':>10s} {'':9s} {'peer':12s} {'':>10s}   times faster (or smaller)")
    only = {}
    for group in o.only.split(","):  # "families:bert:albert"
        name, *rows = group.split(":")
        only[name] = only.get(name, []) + rows
    few = min(o.rounds, 3)
    groups = {"start": lambda _: bench_start(t, build, models, o.rounds),
              "encode": lambda _: bench_encode(t, build, models, o.rounds, o.threads),
              "generate": lambda _: bench_generate(t, build, models, o.rounds, o.threads),
              "families": lambda rows: bench_families(t, build, models, few, o.threads, rows),
              "summarize": lambda _: bench_summarize(t, build, models, o.rounds, o.threads),
              "llama-1b": lambda rows: bench_llama_1b(t, build, models, few, o.threads, rows),
              "serve": lambda _: bench_serve(t, build, models),
              "tokenizers": lambda _: bench_tokenizers(t, build, models),
              "json": lambda _: bench_json(t, build, models, o.rounds)}
    unknown = [n for n in only if n not in groups]
    if unknown:
        p.error(f"--only knows {', '.join(groups)}, not {', '.join(unknown)}")
    (models / "bench").mkdir(exist_ok=True)
    for name, rows in only.items():
        groups[name](rows)
    behind = [r for r in t.rows if r["ratio"] < 1]
    print(f"{len(t.rows)} rows, {len(t.rows) - len(behind)} ahead" + "".join(f"; behind: {r['what']} ({r['peer']})" for r in behind))
    if o.json:
        pathlib.Path(o.json).write_text(json.dumps(t.rows, indent=1))


if __name__ == "__main__":
    main()
