"""What mltf saves, real MLflow loads with equal predictions, as pyfunc and natively; what real MLflow saves, mltf
predicts with equally. Each row: a recorded model as checkpoint, a task, options, and inputs."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", MLFLOW_DISABLE_TELEMETRY="true")
ROOT = pathlib.Path(__file__).resolve().parents[2]
MLTF = os.environ.get("MLTF", str(ROOT / "build" / "mltf"))
TMP = pathlib.Path(tempfile.mkdtemp(prefix="mltf-flavor-"))
os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{TMP}/mlflow.db"
os.chdir(TMP)

import mlflow  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import transformers  # noqa: E402
from mlflow.pyfunc.scoring_server import predictions_to_json  # noqa: E402

transformers.logging.set_verbosity_error()
PIP = ["mlflow", "transformers", "torch"]
TEXT = "The small river runs past the old stone mill."
TEXTS = [TEXT, "A grey cat sleeps on the warm roof."]
PAIR = {"question": "What does the baker sell?", "context": "The baker sells bread and honey cakes."}
TABLE = {"query": "how many people live in Thorn?",
         "table": json.dumps({"village": ["Ashby", "Thorn", "Wick"], "people": ["120", "75", "310"]})}
ZERO = {"sequences": TEXT, "candidate_labels": json.dumps(["weather", "food"]), "hypothesis_template": "About {}."}

# case, saved model, task, options of `mltf models save`, inputs of the scoring server
ROWS = [
    ("text_classification", "model", "text-classification", {}, [TEXT, TEXTS]),
    ("text_classification", "model", "text-classification", {"--model-config": '{"top_k": 2}'}, [TEXTS]),
    ("text_classification", "model", "text-classification",
     {"--input-example": json.dumps(TEXT), "--input-example-params": '{"function_to_apply": "sigmoid"}'}, [TEXT]),
    ("fill_mask", "model", "fill-mask", {}, ["The small [MASK] runs.", ["The [MASK] runs.", "A [MASK] cat."]]),
    ("text_generation", "model", "text-generation", {}, ["The small river", ["The baker sells", "My neighbour"]]),
    ("text_generation", "model", "text-generation",
     {"--prompt-template": "Say: {prompt}", "--model-config": '{"max_new_tokens": 7}', "--metadata": '{"team": "x"}'}, ["The baker"]),
    ("text_generation", "model", "text-generation", {"--layout": "checkpoint"}, ["The small river"]),
    ("text_generation", "model", "text-generation", {"--layout": "components", "--max-shard-size": "40KB"}, ["The small river"]),
    ("token_classification", "model", "token-classification", {}, [TEXT, TEXTS]),
    ("feature_extraction", "model", "feature-extraction", {}, [TEXT]),
    ("question_answering", "model", "question-answering", {}, [PAIR]),
    ("zero_shot", "model", "zero-shot-classification", {}, [ZERO]),
    ("text2text", "model", "text2text-generation", {}, ["the train leaves at seven"]),
    ("summarization", "model", "summarization", {}, [TEXT]),
    ("translation", "model", "translation_en_to_fr", {}, ["the cat sleeps"]),
    ("table_qa", "model", "table-question-answering", {}, [TABLE]),
]


def place(case):
    for base in (ROOT.parent / "shared" / "golden", ROOT / "tests" / "fixtures" / "golden"):
        if (base / case / "model" / "MLmodel").exists():
            return base / case
    return None


def checkpoint(case, sub):
    """The saved model's parts in one folder, as a checkpoint lies on the hub."""
    out = TMP / f"checkpoint-{case}-{sub}"
    if not out.exists():
        out.mkdir()
        for part in ("model", "components/tokenizer"):
            for f in (place(case) / sub / part).iterdir():
                shutil.copy(f, out / f.name)
    return out


def mltf(*args, stdin=None):
    done = subprocess.run([MLTF, *map(str, args)], input=stdin, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"mltf {' '.join(map(str, args))}: {done.stderr.strip()}")
    return done.stdout


def ours(path, data):
    return json.loads(mltf("models", "predict", "-m", path, stdin=json.dumps({"inputs": data})))


def theirs(model, data):
    import io
    out = io.StringIO()
    predictions_to_json(model.predict(data), out)
    return json.loads(out.getvalue())


def same(a, b):
    if isinstance(a, float) or isinstance(b, float):
        return abs(a - b) <= 1e-4 * abs(a) + 1e-5
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    return a == b


failed = checked = skipped = 0


def judge(what, want, have):
    global failed, checked
    checked += 1
    if not same(want, have):
        failed += 1
        print(f"FAIL {what}\n  python {str(want)[:300]}\n  mltf   {str(have)[:300]}")


def row(number, case, sub, task, options, inputs):
    global skipped
    if not place(case):
        skipped += 1
        return
    source = checkpoint(case, sub)
    mine, python = TMP / f"mltf-{number}", TMP / f"python-{number}"
    flags = [x for pair in options.items() for x in pair]
    try:
        mltf("models", "save", "-m", source, "-o", mine, "--task", task, *flags)
    except RuntimeError as e:
        if "not served by this version" in str(e):
            skipped += 1
            return
        raise
    name = f"{case} {options or ''}"
    loaded = mlflow.pyfunc.load_model(str(mine))
    for data in inputs:
        judge(f"{name}: saved by mltf, {str(data)[:40]}", theirs(loaded, data), ours(mine, data))
    pipe = mlflow.transformers.load_model(str(mine))
    assert pipe.task == task or task.startswith("translation"), (pipe.task, task)
    assert mlflow.models.Model.load(str(mine)).get_model_info().signature is not None

    kwargs = {}
    if "--model-config" in options:
        kwargs["model_config"] = json.loads(options["--model-config"])
    if "--prompt-template" in options:
        kwargs["prompt_template"] = options["--prompt-template"]
    if "--input-example" in options:
        kwargs["input_example"] = (json.loads(options["--input-example"]), json.loads(options["--input-example-params"]))
    mlflow.transformers.save_model(pipe, path=str(python), pip_requirements=PIP, **kwargs)
    loaded = mlflow.pyfunc.load_model(str(python))
    for data in inputs:
        judge(f"{name}: saved by Python, {str(data)[:40]}", theirs(loaded, data), ours(python, data))


def llm(case, task, body, answer):
    """An llm/v1 task: one request, and a frame of two rows. answer: what of a reply is compared."""
    mine = TMP / f"mltf-{case}"
    mltf("models", "save", "-m", checkpoint(case, "model"), "-o", mine, "--task", task)
    loaded = mlflow.pyfunc.load_model(str(mine))
    have = json.loads(mltf("models", "predict", "-m", mine, stdin=json.dumps(body)))
    judge(task, answer(loaded.predict(body)), answer(have))
    if task != "llm/v1/embeddings":
        judge(f"{task}, two rows", len(loaded.predict(pd.DataFrame([body, body]))), 2)


def chat():
    body = {"messages": [{"role": "system", "content": "You are a guide."}, {"role": "user", "content": "Where is the mill?"}]}
    llm("llm_chat", "llm/v1/chat", body, lambda r: r[0]["choices"][0]["message"]["content"])


def completions():
    llm("llm_completions", "llm/v1/completions", {"prompt": "The small river"}, lambda r: r[0]["choices"][0]["text"])


def embeddings():
    llm("llm_embeddings", "llm/v1/embeddings", {"input": TEXTS}, lambda r: [[float(x) for x in d["embedding"]] for d in r["data"]])


def dtype():
    """The recorded dtype is the one that Python loads in."""
    for name in ("bfloat16", "float16"):
        mine = TMP / f"mltf-{name}"
        mltf("models", "save", "-m", checkpoint("text_generation", "model"), "-o", mine, "--task", "text-generation",
             "--torch-dtype", name)
        judge(f"dtype {name}", f"torch.{name}", str(mlflow.transformers.load_model(str(mine)).model.dtype))


def adapter():
    """A LoRA adapter over a base by path: saved by mltf, loaded by Python; and its base inside, with clean names."""
    global skipped
    case = place("peft_lora")
    if not case:
        skipped += 1
        return
    from_dir = TMP / "adapter"
    shutil.copytree(case / "base_path" / "peft", from_dir)
    config = json.loads((from_dir / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = str(case / "base_model")
    (from_dir / "adapter_config.json").write_text(json.dumps(config))
    for name, flags in (("reference", ["--base-model-path", case / "base_model"]), ("inside", [])):
        out = TMP / f"mltf-peft-{name}"
        try:
            mltf("models", "save", "-m", from_dir, "-o", out, "--task", "text-generation", *flags)
            have = ours(out, "The small river")
        except RuntimeError as e:
            if "not supported" in str(e):
                skipped += 1
                return
            raise
        judge(f"PEFT, base {name}", theirs(mlflow.pyfunc.load_model(str(out)), "The small river"), have)
    several(case / "base_model", from_dir)


def several(base, adapter_dir):
    """Several adapters side by side as peft saves them: the default one serves and the others come along; one under another name serves;
    two of which none is the default are refused, where Python cannot load what it saved."""
    import peft
    import torch

    def model(*names):
        m = None
        for seed, name in enumerate(names):
            if m is None:
                m = peft.PeftModel.from_pretrained(transformers.AutoModelForCausalLM.from_pretrained(base), adapter_dir, adapter_name=name)
            else:
                m.load_adapter(str(adapter_dir), name)
            g = torch.Generator().manual_seed(seed)
            for n, p in m.named_parameters():
                if "lora_" in n and f".{name}." in n:
                    p.data += 0.1 * torch.randn(p.shape, generator=g)
        m.set_adapter(names[-1])
        return m

    for label, names in (("default and another", ("default", "other")), ("one by name", ("other",))):
        folder, out = TMP / label.replace(" ", "-"), TMP / f"mltf-{label.replace(' ', '-')}"
        model(*names).save_pretrained(folder)
        mltf("models", "save", "-m", folder, "-o", out, "--task", "text-generation", "--base-model-path", base)
        judge(f"PEFT, {label}", theirs(mlflow.pyfunc.load_model(str(out)), "The small river"), ours(out, "The small river"))
        judge(f"PEFT, {label}, files", sorted(p.name for p in (folder if "default" in names else folder / "other").iterdir() if p.name != "README.md"),
              sorted(p.name for p in (out / "peft").iterdir() if p.name != "README.md"))
        shutil.rmtree(out / "peft")  # as Python's MLflow writes it
        shutil.copytree(folder, out / "peft")
        if "default" in names:
            judge(f"PEFT, {label}, as saved by Python", theirs(mlflow.pyfunc.load_model(str(out)), "The small river"), ours(out, "The small river"))
        else:
            judge(f"PEFT, {label}, as saved by Python", theirs(mlflow.pyfunc.load_model(str(restored(out, folder / "other"))), "The small river"), ours(out, "The small river"))
    folder = TMP / "two-by-name"
    model("one", "two").save_pretrained(folder)
    try:
        mltf("models", "save", "-m", folder, "-o", TMP / "mltf-two-by-name", "--task", "text-generation", "--base-model-path", base)
        judge("two adapters by name", "refused", "saved")
    except RuntimeError as e:
        judge("two adapters by name", True, "holds several adapters (one, two) and none is the default" in str(e))


def restored(model, adapter_dir):
    """The model with its adapter where Python looks for it."""
    copy = model.with_name(model.name + "-restored")
    shutil.copytree(model, copy)
    shutil.rmtree(copy / "peft")
    shutil.copytree(adapter_dir, copy / "peft")
    return copy


for i, r in enumerate(ROWS):
    try:
        row(i, *r)
    except Exception as e:
        failed += 1
        print(f"FAIL {r[0]} {r[3]}: {type(e).__name__}: {str(e)[:400]}")
for part in (chat, completions, embeddings, dtype, adapter):
    try:
        part()
    except Exception as e:
        failed += 1
        print(f"FAIL {part.__name__}: {type(e).__name__}: {str(e)[:400]}")
shutil.rmtree(TMP, ignore_errors=True)
print(f"{checked} compared, {failed} failed, {skipped} skipped")
sys.exit(1 if failed or not checked else 0)
