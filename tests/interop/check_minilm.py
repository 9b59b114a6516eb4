"""all-MiniLM-L6-v2 at float32: the last hidden states of 50 texts equal transformers', alone and in one batch."""
import json, os, subprocess, sys, tempfile

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

MLTF, MODELS = os.environ["MLTF"], os.environ["MODELS"]
WORDS = ("The small river runs past the old stone mill and under the wooden bridge. Ünïcödé, 漢字 and ☔ too! "
         "A grey cat sleeps on the warm roof; who feeds it? Nobody knows (yet).").split()
TEXTS = [" ".join(WORDS[(7 * i + k) % len(WORDS)] for k in range(1 + i * i // 20)) for i in range(50)]
BOUND = 2e-5  # of states of size 1; float32 in another order

checkpoint = os.path.join(MODELS, "minilm")
out = os.path.join(tempfile.mkdtemp(prefix="mltf-minilm-"), "model")
subprocess.run([MLTF, "models", "save", "-m", checkpoint, "-o", out, "--task", "feature-extraction"], check=True)


def ours(texts):
    r = subprocess.run([MLTF, "models", "predict", "-m", out], capture_output=True, text=True, input=json.dumps({"inputs": texts}))
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout)["predictions"]


tok, model = AutoTokenizer.from_pretrained(checkpoint), AutoModel.from_pretrained(checkpoint).eval()
batch, worst = ours(TEXTS), 0.0
assert len(batch) == len(TEXTS), len(batch)
for text, together in zip(TEXTS, batch):
    with torch.no_grad():
        want = model(**tok(text, return_tensors="pt", truncation=True)).last_hidden_state[0].numpy()
    got = np.array(together, np.float32)
    got = got.reshape(want.shape)
    worst = max(worst, float(np.abs(got - want).max()))
for i in (0, 20, 49):
    assert np.array_equal(np.array(ours([TEXTS[i]])).ravel(), np.array(batch[i]).ravel()), f"text {i} alone differs from the batch"
print(f"MiniLM: {len(TEXTS)} texts, greatest difference {worst:.2g}")
sys.exit(worst > BOUND)
