"""SmolLM2-135M at float32: greedy answers equal transformers' on 50 prompts. At bf16: mltf's logits are not further
from the f32 logits than torch's own bf16 logits are."""
import json, os, subprocess, sys, tempfile

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

MLTF, MODELS, BUILD = os.environ["MLTF"], os.environ["MODELS"], os.environ["BUILD"]
PROMPTS = ["What is the capital of France?", "Name three colours.", "Write a haiku about autumn.", "What is 12 + 30?",
           "Explain photosynthesis to a child.", "Translate 'good morning' into Spanish.", "Who wrote Hamlet?",
           "List the planets of the solar system.", "Why is the sky blue?", "Give me a recipe for pancakes.",
           "What does HTTP stand for?", "Write a Python function that reverses a string.", "Tell me a joke.",
           "What is the boiling point of water?", "Summarize the plot of Romeo and Juliet.", "How do I tie a tie?",
           "What are prime numbers?", "Describe a rainbow.", "Name a famous painter and one of their works.",
           "What should I do when it rains? ☔ Ünïcödé too.",
           "What is a black hole?", "Write one sentence about the sea.", "How many legs does a spider have?",
           "What is the opposite of hot?", "Name a fruit that is yellow.", "What is the largest ocean?",
           "Explain gravity in one sentence.", "What language is spoken in Brazil?", "Write a short poem about a cat.",
           "What is 7 times 8?", "Who painted the Mona Lisa?", "What is machine learning?",
           "How do bees make honey?", "What is the currency of Japan?", "Give three synonyms for happy.",
           "What day comes after Monday?", "How does a bicycle stay upright?", "Write an SQL query that counts rows.",
           "What is the speed of light?", "Name two kinds of cheese.", "What causes tides?",
           "Was ist die Hauptstadt von Deutschland?", "Où est la gare ?", "写一首诗",
           "What is the square root of 81?", "How do I boil an egg?", "What does a lawyer do?",
           "Name the continents.", "What is an algorithm?", "Say goodbye politely."]
work = tempfile.mkdtemp(prefix="mltf-smollm2-")
checkpoint = os.path.join(work, "smollm2")
subprocess.run([MLTF, "convert", os.path.join(MODELS, "smollm2.gguf"), checkpoint], check=True)
model_dir = os.path.join(work, "model")
subprocess.run([MLTF, "models", "save", "-m", checkpoint, "-o", model_dir, "--task", "text-generation", "--torch-dtype",
                "float32"], check=True)

torch.set_num_threads(2)
tok = AutoTokenizer.from_pretrained(checkpoint)
f32 = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
wrong = 0
for p in PROMPTS:
    text = tok.apply_chat_template([{"role": "user", "content": p}], tokenize=False, add_generation_prompt=True)
    ids = tok(text, return_tensors="pt")
    out = f32.generate(**ids, max_new_tokens=24, do_sample=False, pad_token_id=tok.eos_token_id)
    expected = tok.decode(out[0][ids["input_ids"].shape[1]:], skip_special_tokens=True)
    r = subprocess.run([os.path.join(BUILD, "parity"), "--greedy", checkpoint, "float32", "24"], input=json.dumps(
        ids["input_ids"][0].tolist()), capture_output=True, text=True)
    assert r.returncode == 0, r.stderr
    got = json.loads(r.stdout)
    if got != out[0].tolist():
        wrong += 1
        print("DIFFERS", repr(p), "expected", repr(expected), "got", repr(tok.decode(got)))
assert wrong == 0, f"{wrong} of {len(PROMPTS)} prompts differ"

bf16 = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.bfloat16)
worse = []
for p in PROMPTS[:3]:
    ids = tok(p, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        exact = f32(ids).logits[0].double()
        theirs = bf16(ids).logits[0].double()
    r = subprocess.run([os.path.join(BUILD, "parity"), "--logits", checkpoint, "bfloat16"], input=json.dumps(ids[0].tolist()),
                       capture_output=True, text=True)
    assert r.returncode == 0, r.stderr
    ours = torch.tensor(json.loads(r.stdout), dtype=torch.float64)
    a, b = (ours - exact).norm().item(), (theirs - exact).norm().item()
    print(f"distance from f32: mltf {a:.3f}, torch {b:.3f}")
    if a > b:
        worse.append(p)
assert not worse, f"further from f32 than torch: {worse}"
print(f"SmolLM2: {len(PROMPTS)} prompts equal")
