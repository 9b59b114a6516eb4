"""The real openai client against `mltf models serve`: chat, completions, embeddings, streams, errors, cancelling."""
import os
import re
import subprocess
import sys
import threading
import time

import openai

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
MLTF = os.environ.get("MLTF", os.path.join(ROOT, "build", "mltf"))
GOLDEN = os.path.join(ROOT, "..", "shared", "golden")
if not os.path.isdir(GOLDEN):
    GOLDEN = os.path.join(ROOT, "tests", "fixtures", "golden")


class Server:
    def __init__(self, model, *options):
        self.process = subprocess.Popen([MLTF, "models", "serve", "-m", model, "-p", "0", *options], stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            found = re.search(r"serving .* on (http\S+)", line)
            if found:
                break
        else:
            sys.exit("the server did not start")
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        self.client = openai.OpenAI(base_url=found.group(1) + "/v1", api_key="none", max_retries=0, timeout=60)

    def __enter__(self):
        return self.client

    def __exit__(self, *_):
        self.process.terminate()
        assert self.process.wait(10) == 0


checks = 0


def check(condition, what):
    global checks
    checks += 1
    if not condition:
        sys.exit("FAIL: %s" % (what,))


with Server(os.path.join(GOLDEN, "llm_chat", "model"), "--served-model-name", "tiny") as client:
    check([m.id for m in client.models.list()] == ["tiny"], "models.list")
    check(client.models.retrieve("tiny").id == "tiny", "models.retrieve")
    messages = [{"role": "user", "content": "The baker sells"}]
    whole = client.chat.completions.create(model="tiny", messages=messages, max_tokens=8, temperature=0)
    text = whole.choices[0].message.content
    check(text and whole.choices[0].finish_reason == "length", whole)
    check(whole.usage.completion_tokens == 8 and whole.usage.total_tokens == whole.usage.prompt_tokens + 8, whole.usage)
    parts = list(client.chat.completions.create(model="tiny", messages=messages, max_tokens=8, temperature=0, stream=True,
                                                stream_options={"include_usage": True}))
    check("".join(p.choices[0].delta.content or "" for p in parts if p.choices) == text, parts)
    check(parts[-1].usage and parts[-1].usage.completion_tokens == 8 and not parts[-1].choices, parts[-1])
    check([p.choices[0].finish_reason for p in parts if p.choices][-1] == "length", parts)
    many = client.chat.completions.create(model="tiny", messages=messages, max_tokens=4, n=3, seed=7, temperature=1.0)
    check(len(many.choices) == 3 and [c.index for c in many.choices] == [0, 1, 2], many)
    again = client.chat.completions.create(model="tiny", messages=messages, max_tokens=4, n=3, seed=7, temperature=1.0)
    check([c.message.content for c in many.choices] == [c.message.content for c in again.choices], "the same seed tells the same")
    probs = client.chat.completions.create(model="tiny", messages=messages, max_tokens=3, logprobs=True, top_logprobs=2, temperature=0)
    check(len(probs.choices[0].logprobs.content) == 3 and len(probs.choices[0].logprobs.content[0].top_logprobs) == 2, probs)
    stopped = client.chat.completions.create(model="tiny", messages=messages, max_tokens=20, temperature=0, stop=[text[4:7]])
    check(text[4:7] not in stopped.choices[0].message.content and stopped.choices[0].finish_reason == "stop", stopped)
    plain = client.completions.create(model="tiny", prompt="The baker sells", max_tokens=4, temperature=0)
    check(plain.choices[0].text and plain.object == "text_completion", plain)
    streamed = list(client.completions.create(model="tiny", prompt="The baker sells", max_tokens=4, temperature=0, stream=True))
    check("".join(p.choices[0].text for p in streamed if p.choices) == plain.choices[0].text, streamed)
    try:
        client.chat.completions.create(model="tiny", messages=[])
        check(False, "no messages must be an error")
    except openai.BadRequestError as e:
        check(e.status_code == 400 and e.body["message"], e)
    try:
        client.chat.completions.create(model="tiny", messages=messages, temperature=-1)
        check(False, "a negative temperature must be an error")
    except openai.BadRequestError as e:
        check("temperature" in str(e), e)
    try:
        client.models.retrieve("other")
        check(False, "an unknown model must be an error")
    except openai.NotFoundError as e:
        check(e.code == "model_not_found", e)
    with client.chat.completions.create(model="tiny", messages=messages, max_tokens=100, stream=True) as stream:
        next(iter(stream))  # and leave
    began = time.time()
    answers = []

    def ask():
        answers.append(client.chat.completions.create(model="tiny", messages=messages, max_tokens=8, temperature=0).choices[0].message.content)

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check(answers == [text] * 16, "sixteen at once: %r" % answers)

with Server(os.path.join(GOLDEN, "llm_embeddings", "model")) as client:
    one = client.embeddings.create(model="x", input="The baker sells bread")  # the client asks for base64
    two = client.embeddings.create(model="x", input=["The baker sells bread", "no"], encoding_format="float")
    check(len(two.data) == 2 and len(two.data[0].embedding) == len(one.data[0].embedding), "shapes")
    check(max(abs(a - b) for a, b in zip(one.data[0].embedding, two.data[0].embedding)) < 1e-5, "base64 and floats are the same")
    check(two.usage.prompt_tokens > 0, two.usage)
print("%d checks passed" % checks)
