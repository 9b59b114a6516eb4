"""The real openai client against `mltf models serve`: chat, completions, embeddings, streams, errors, cancelling."""
import json
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
        self.url = found.group(1)
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        self.client = openai.OpenAI(base_url=self.url + "/v1", api_key="none", max_retries=0, timeout=60)

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
    # log probabilities in a stream are those of the whole reply
    probs = client.chat.completions.create(model="tiny", messages=messages, max_tokens=5, logprobs=True, top_logprobs=2, temperature=0)
    chunks = list(client.chat.completions.create(model="tiny", messages=messages, max_tokens=5, logprobs=True, top_logprobs=2,
                                                 temperature=0, stream=True))
    told = [t for c in chunks if c.choices and c.choices[0].logprobs for t in c.choices[0].logprobs.content]
    check([(t.token, t.logprob) for t in told] == [(t.token, t.logprob) for t in probs.choices[0].logprobs.content], told)
    # scoring a text, as evaluation harnesses do
    scored = client.completions.create(model="tiny", prompt="The baker sells", max_tokens=0, echo=True, logprobs=1)
    lp = scored.choices[0].logprobs
    check(scored.choices[0].text == "The baker sells" and scored.usage.completion_tokens == 0, scored)
    check(lp.token_logprobs[0] is None and all(x <= 0 for x in lp.token_logprobs[1:]) and len(lp.tokens) == len(lp.text_offset), lp)
    both = client.completions.create(model="tiny", prompt="The baker sells", max_tokens=4, echo=True, logprobs=0, temperature=0)
    check(both.choices[0].text == "The baker sells" + plain.choices[0].text, both)
    check(both.choices[0].logprobs.token_logprobs[1:len(lp.tokens)] == lp.token_logprobs[1:], "the prompt's part is the same")
    several = client.completions.create(model="tiny", prompt=["The baker sells", "In winter"], max_tokens=3, n=2, temperature=0)
    check([c.index for c in several.choices] == [0, 1, 2, 3] and several.choices[0].text == several.choices[1].text, several)
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object", "properties": {"n": {"type": "integer"}},
                                                                           "required": ["n"], "additionalProperties": False}}}
    try:  # whether the tiny vocabulary has braces depends on the recording
        shaped = client.chat.completions.create(model="tiny", messages=messages, max_tokens=40, temperature=0, response_format=form)
        check(shaped.choices[0].finish_reason != "stop" or isinstance(json.loads(shaped.choices[0].message.content)["n"], int), shaped)
    except openai.BadRequestError as e:
        check("its vocabulary lacks" in str(e) and "response_format" in str(e), e)
    tools = [{"type": "function", "function": {"name": "find", "parameters": {"type": "object", "properties": {
        "where": {"enum": ["mill", "river"]}}, "required": ["where"], "additionalProperties": False}}}]
    try:
        called = client.chat.completions.create(model="tiny", messages=messages, tools=tools, tool_choice="required", max_tokens=80,
                                                temperature=0)
    except openai.BadRequestError as e:
        check("its vocabulary lacks" in str(e) or "maximum context length" in str(e), e)
        called = None
    if called and called.choices[0].finish_reason == "tool_calls":
        call = called.choices[0].message.tool_calls[0]
        check(call.function.name == "find" and json.loads(call.function.arguments)["where"] in ("mill", "river"), call)
        follow = [*messages, called.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "by the river"}]
        check(client.chat.completions.create(model="tiny", messages=follow, tools=tools, max_tokens=3).choices[0].message, "a tool's answer")
    for kw, word in (({"logprobs": True, "top_logprobs": 99}, "top_logprobs"), ({"n": 0}, "'n'"), ({"max_tokens": 0}, "max_tokens"),
                     ({"response_format": {"type": "nonsense"}}, "response_format"), ({"extra_body": {"bogus": 1}}, "bogus"),
                     ({"tools": tools, "tool_choice": {"type": "function", "function": {"name": "other"}}}, "other")):
        try:
            client.chat.completions.create(model="tiny", messages=messages, **kw)
            check(False, "must be an error: %s" % kw)
        except openai.BadRequestError as e:
            check(word in str(e) and e.type == "invalid_request_error", (kw, e))
    try:
        client.completions.create(model="tiny", prompt="a", suffix="b")
        check(False, "a suffix must be an error")
    except openai.BadRequestError as e:
        check("suffix" in str(e), e)
    try:
        client.embeddings.create(model="tiny", input="a")
    except openai.BadRequestError as e:
        check(True, e)
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
    short = client.embeddings.create(model="x", input="The baker sells bread", dimensions=8).data[0].embedding
    check(len(short) == 8 and abs(sum(x * x for x in short) - 1) < 1e-4, "dimensions")
    ids = client.embeddings.create(model="x", input=[[5, 6, 7], [8]])
    check([d.index for d in ids.data] == [0, 1] and ids.usage.prompt_tokens == 4, ids.usage)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(client.embeddings.create(
        model="x", input="The baker sells bread", encoding_format="float").data[0].embedding)) for _ in range(24)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check(answers == [two.data[0].embedding] * 24, "embeddings computed together are those computed alone")
    for bad in ({"input": []}, {"input": "a", "encoding_format": "hex"}, {"input": [""]}, {"input": "a", "dimensions": 0}):
        try:
            client.embeddings.create(model="x", **bad)
            check(False, "must be an error: %s" % bad)
        except openai.BadRequestError as e:
            check(e.type == "invalid_request_error", e)

# requests that are sent again after a refusal are computed once: OpenAI's client and MLflow's, when there is no room and when another server takes over
os.environ["MLFLOW_HTTP_REQUEST_BACKOFF_JITTER"] = "0"
from mlflow.utils.rest_utils import MlflowHostCreds, http_request

TEXT = "The baker sells bread"


def metrics(server):
    return http_request(MlflowHostCreds(server.url), "/metrics", "GET").text


def fill_up(server):
    """One long request at work, and one that waits: a further one follows where the first ended too soon for that."""
    long = []
    while any(gauge + " 1\n" not in metrics(server) for gauge in ("mltf_running_requests", "mltf_queued_requests")):
        if sum(t.is_alive() for t in long) < 2:
            long.append(threading.Thread(target=server.client.embeddings.create, kwargs={"model": "x", "input": [TEXT * 4] * 40000}))
            long[-1].start()
        time.sleep(0.01)
    return long


def counted(server, route, status):
    found = re.search(r'mltf_requests_total{route="%s",status="%d"} (\d+)' % (route, status), metrics(server))
    return int(found.group(1)) if found else 0


def score(url):
    return http_request(MlflowHostCreds(url), "/invocations", "POST", json={"input": TEXT}).json()


full = Server(os.path.join(GOLDEN, "llm_embeddings", "model"), "--workers", "1", "--queue", "1", "--max-body-mb", "100")
with full:
    alone = score(full.url)
    long = fill_up(full)
    try:
        full.client.embeddings.create(model="x", input=TEXT)
        check(False, "there must be no room")
    except openai.InternalServerError as e:
        check(e.status_code == 503 and e.response.headers["retry-after"] == "1", e)
    check(len(full.client.with_options(max_retries=60).embeddings.create(model="x", input=TEXT).data) == 1, "the retry is answered")
    for t in long:
        t.join()
    counts = counted(full, "/v1/embeddings", 200), counted(full, "/v1/embeddings", 503)
    check(counts[0] == len(long) + 1 and counts[1] > 1, "refused, then computed once: %s" % (counts,))
    long = fill_up(full)
    check(score(full.url) == alone, "the retry is answered as a request alone")
    for t in long:
        t.join()
    counts = counted(full, "/invocations", 200), counted(full, "/invocations", 503)
    check(counts[0] == 2 and counts[1] > 0, "refused, then computed once: %s" % (counts,))
    long = fill_up(full)
    full.process.terminate()
    answers = []
    asking = threading.Thread(target=lambda: answers.append(score(full.url)))
    asking.start()
    for t in long:
        t.join()
check(not answers, "a server that stops takes no more")
with Server(os.path.join(GOLDEN, "llm_embeddings", "model"), "--port", full.url.rsplit(":", 1)[1]):
    asking.join()
    check(answers == [alone], "the next server answers the retry")
print("%d checks passed" % checks)
