"""Writes tests/fixtures/jinja_cases.json: templates of differential_jinja.py with the answers of the real Jinja2.

    python tests/interop/make_jinja_cases.py"""
import copy
import json
import os
import random
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import differential_jinja as D
from transformers.utils.chat_template_utils import _compile_jinja_template

rng = random.Random(5)
cases = [t for t in D.TEMPLATES if "strftime" not in t]
for line in D.EXPRESSIONS.strip().split("\n"):
    parts = line.split("|")
    cases += ["{{ %s }}" % p for p in parts] + ["{{ %s|%s }}" % p for p in zip(parts, parts[1:])]
for f in D.FILTERS:
    cases += ["{{ (%s)|%s }}" % (v, f) for v in rng.sample(D.VALUES, 4)]
for m in D.METHODS:
    cases += ["{{ (%s)%s%s }}" % (v, "" if m[0] == "[" else ".", m) for v in rng.sample(["s", "u", "ws", "lines", "d", "l", "i", "f", "e"], 3)]
for t in D.TESTS:
    cases += ["{{ %s is %s }}" % (v, t) for v in rng.sample(D.VALUES, 4)]
out = []
for t in dict.fromkeys(cases):
    if "d.keys() -" in t or "map('string'))|" in t:
        continue
    try:
        text = _compile_jinja_template(t).render(**copy.deepcopy(D.CONTEXT))
    except Exception as e:
        out.append({"template": t, "error": str(e) if type(e).__name__ == "TemplateError" else True})
        continue
    if " at 0x" not in text:
        out.append({"template": t, "text": text})
with open(os.path.join(HERE, "..", "fixtures", "jinja_cases.json"), "w") as f:
    f.write('{"made_by": "Jinja2 3.1.6 on Python 3.11, set up by transformers 4.57.6",\n"context": %s,\n"cases": [\n' % json.dumps(D.CONTEXT))
    f.write(",\n".join(json.dumps(c) for c in out) + "\n]}\n")
print(len(out), "cases")
